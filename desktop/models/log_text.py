"""Lines of a log made ready for the screen: plain text in columns, with styles; times; places that one may go to."""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from PySide6.QtCore import QObject, Signal

from quarterdeck.ansi import PLAIN, Span, Style, parsed
from quarterdeck.errors import Invalid
from quarterdeck.job import LogLine

__all__ = ["Piece", "Shown", "Times", "place_of", "shown", "times"]

_TAB = 8
# pictures for the control characters; what would turn the direction of text or break lines is shown as unknown
_CONTROLS = {code: 0x2400 + code for code in range(32) if code != 9} | {127: 0x2421}
_CONTROLS |= dict.fromkeys([*range(0x80, 0xA0), 0x2028, 0x2029, 0x200E, 0x200F, 0x061C], 0xFFFD)
_CONTROLS |= dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD)
_ODD = re.compile(r"[^\x20-\x7e\xa0-\u02ff\u0370-\u052f\u2500-\u259f]")
"""Characters that need a look at how wide they are, or that the fixed font may lack."""
_JOINER = "\u200d"


class Piece(NamedTuple):
    """Text to paint at once: from which column on, how many columns it takes, in which style."""

    column: int
    columns: int
    text: str
    style: Style


@dataclass(frozen=True, slots=True)
class Shown:
    """A line ready to be painted: `text` without control characters but tabs, in `width` columns of a fixed
    font.

    `columns` is the column of each character and the width at last; None if each character takes one.
    """

    line: LogLine
    text: str
    width: int
    spans: tuple[Span, ...] = ()
    columns: array[int] | None = None

    def column(self, place: int) -> int:
        """The column of a character."""
        return place if self.columns is None else self.columns[place]

    def pieces(self, first: int, last: int) -> Iterator[Piece]:
        """What is seen of it between two columns: however long the line is, only that is looked at."""
        if first > self.width:
            return
        if self.columns is None:
            start, end = max(first, 0), min(last, len(self.text))
        else:
            start = max(bisect_right(self.columns, first, 0, len(self.text)) - 1, 0)
            end = bisect_right(self.columns, last, 0, len(self.text))
        for begin, stop, style in self._styles(start, end):
            if self.columns is None:
                yield Piece(begin, stop - begin, self.text[begin:stop], style)
            else:
                yield from self._wide(begin, stop, style, self.columns)

    def wrapped(self, columns: int) -> Iterator[str]:
        """Its text in parts of so many columns (or a character) at most."""
        at = 0
        while at < len(self.text):
            if self.columns is None:
                end = at + columns
            else:
                end = max(bisect_right(self.columns, self.columns[at] + columns, 0, len(self.columns)) - 1, at + 1)
            yield self.text[at:end]
            at = end

    def _styles(self, start: int, end: int) -> Iterator[tuple[int, int, Style]]:
        at = start
        for span in self.spans[bisect_right(self.spans, start, key=lambda one: one.end) :]:
            if span.start >= end:
                break
            if span.start > at:
                yield at, span.start, PLAIN
            at = min(span.end, end)
            yield max(span.start, start), at, span.style
        if at < end:
            yield at, end, PLAIN

    def _wide(self, begin: int, stop: int, style: Style, columns: array[int]) -> Iterator[Piece]:
        """Each character that may have a width of its own by itself, with those combined with it."""
        at = begin
        while at < stop:
            match = _ODD.search(self.text, at, stop)
            odd = match.start() if match else stop
            if odd < stop and odd > at and columns[odd + 1] == columns[odd]:
                odd -= 1  # combined with the one before
            if odd > at:
                yield Piece(columns[at], columns[odd] - columns[at], self.text[at:odd], style)
            if odd == stop:
                return
            at = odd + 1
            while at < stop and columns[at + 1] == columns[at]:
                at += 1  # of no width: it belongs to this one
            yield Piece(columns[odd], columns[at] - columns[odd], self.text[odd:at], style)


def shown(line: LogLine) -> Shown:
    """Make a line ready. For another thread than the window's: a line of 64 kB takes some milliseconds."""
    text, spans = parsed(line.text)
    if text.isascii() and text.isprintable():
        return Shown(line, text, len(text), spans)
    text = text.translate(_CONTROLS)
    if not _ODD.search(text):
        return Shown(line, text, len(text), spans)
    columns = array("i")
    column = 0
    joined = False
    for char in text:
        columns.append(column)
        if char == "\t":
            column += _TAB - column % _TAB
        elif not joined:
            column += _width(char)
        joined = char == _JOINER
    columns.append(column)
    return Shown(line, text, column, spans, columns)


def _width(char: str) -> int:
    if char.isascii():
        return 1
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


class Times(QObject):
    """How log views show times: "clock" (this computer's time of day) or "since" (since the job started).

    Signals:
        changed(): it is another way now
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.way = "clock"
        self._keep: Callable[[str], None] | None = None

    def choose(self, way: str) -> None:
        """Show times that way, in all views, and remember it."""
        if way in ("clock", "since") and way != self.way:
            self.way = way
            if self._keep is not None:
                self._keep(way)
            self.changed.emit()

    def remember(self, way: str, keep: Callable[[str], None]) -> None:
        """Take up the way that was remembered; `keep` is told of a new one."""
        self._keep = None
        self.choose(way)
        self._keep = keep


times = Times()
"""The way in use."""


def clock_words(time: dt.datetime, *, date: bool) -> str:
    """The time of day on this computer, with the date where a log spans days."""
    local = time.astimezone()
    return local.strftime("%Y-%m-%d %H:%M:%S.%f" if date else "%H:%M:%S.%f")[:-3]


def since_words(time: dt.datetime, start: dt.datetime) -> str:
    """Hours, minutes and seconds from a start on; before it with a minus."""
    millis = (time - start) // dt.timedelta(milliseconds=1)
    sign = "-" if millis < 0 else "+"
    seconds, rest = divmod(abs(millis), 1000)
    minutes, second = divmod(seconds, 60)
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}:{second:02}.{rest:03}"


_CLOCK = re.compile(r"(?:(\d{4}-\d{1,2}-\d{1,2})[T ]+)?(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,6}))?)?$")
_SINCE = re.compile(r"([+-])\s*(?:(\d+):(\d{1,2}):(\d{1,2})(?:\.(\d{1,6}))?|(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d))$")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}


def place_of(text: str, *, total: int, start: dt.datetime, day: dt.date) -> int | dt.datetime:
    """What somebody typed to go there: a position from 0, or a time.

    "1,204" is a line's number from 1 on, "50 %" a share of the log, "10:31", "10:31:05.250" or "2026-01-05 10:31" a
    time of this computer (`day` where no date is given), "+5 m" or "+0:05:00" a time since `start`.

    Raises:
        Invalid: it is none of those.
    """
    text = text.strip()
    number = re.sub(r"[,_\s]", "", text)
    if number.isascii() and number.isdecimal() and len(number) < 16:
        return min(max(int(number) - 1, 0), max(total - 1, 0))
    if number.endswith("%") and re.fullmatch(r"\d+(\.\d+)?", number[:-1]):
        return min(int(total * min(float(number[:-1]), 100) / 100), max(total - 1, 0))
    try:
        if match := _CLOCK.match(text):
            date = dt.date.fromisoformat("-".join(p.zfill(2) for p in match[1].split("-"))) if match[1] else day
            fraction = int((match[5] or "").ljust(6, "0"))
            moment = dt.time(int(match[2]), int(match[3]), int(match[4] or 0), fraction)
            return dt.datetime.combine(date, moment).astimezone()
        if match := _SINCE.match(text):
            if match[7]:
                seconds = float(match[6]) * _UNITS[match[7]]
            else:
                seconds = int(match[2]) * 3600 + int(match[3]) * 60 + float(f"{match[4]}.{match[5] or 0}")
            return start + dt.timedelta(seconds=seconds if match[1] == "+" else -seconds)
        return dt.datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):
        raise Invalid(
            f"“{text[:40]}” is no place in a log: give a line's number, a share such as 50 %, a time such as 10:31:05 "
            "or 2026-01-05 10:31, or a time since the start such as +5 m"
        ) from None
