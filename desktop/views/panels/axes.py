"""Axes of numbers, times and texts: where their ticks are and how these read."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetricsF

from desktop.views.panels.ink import Ink
from quarterdeck.report.shapes import Floats
from quarterdeck.report.template import Format

__all__ = ["NumberAxis", "PlacesAxis", "PlainAxis", "TextAxis", "TimeAxis", "number_text", "time_text", "time_ticks"]

_SECOND, _MINUTE, _HOUR, _DAY = 1, 60, 3600, 86400
_STEPS = (
    *(_SECOND * n for n in (1, 2, 5, 10, 30)),
    *(_MINUTE * n for n in (1, 2, 5, 10, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14)),
)
_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200, 6000, 12000)
_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001


def number_text(value: float, form: Format = "number", digits: int = 4) -> str:
    """A value in a read-out: so many digits that count; nothing for what is missing."""
    if not math.isfinite(value):
        return "–"
    if form == "percent":
        return f"{value * 100:,.2f} %".replace("-", "−")
    if form == "integer":
        return f"{value:,.0f}".replace("-", "−")
    if form == "scientific":
        return f"{value:.3e}".replace("-", "−")
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-6:
        return f"{value:.3e}".replace("-", "−")
    if size >= 1000:
        return f"{value:,.{0 if size >= 1e5 else 2}f}".replace("-", "−")
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(size)))
    return f"{value:,.{min(places, 10)}f}".replace("-", "−")


def _moment(seconds: float) -> dt.datetime | None:
    try:
        return _EPOCH + dt.timedelta(seconds=round(seconds, 3))
    except (OverflowError, ValueError):
        return None


def time_text(seconds: float) -> str:
    """A time in a read-out (UTC); a day alone where it is a day's beginning."""
    moment = _moment(seconds) if math.isfinite(seconds) else None
    if moment is None:
        return "–"
    if moment.time() == dt.time():
        return f"{moment:%Y-%m-%d}"
    return f"{moment:%Y-%m-%d %H:%M:%S}" if moment.second or moment.microsecond else f"{moment:%Y-%m-%d %H:%M}"


def time_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """At most some `most` ticks from `low` to `high` (seconds), at round times, each with its label.

    The label of the first tick of a year (a day) names it; the others only say what differs.
    """
    span = high - low
    if not (math.isfinite(span) and span > 0) or _moment(low) is None or _moment(high) is None:
        return []
    wanted = span / max(1, most)
    step = next((one for one in _STEPS if one >= wanted), None)
    if step is not None and step < 20 * _DAY:
        first = math.ceil(low / step) * step
        if step in (7 * _DAY, 14 * _DAY):  # weeks begin on Mondays; 1970 began on a Thursday
            first = math.ceil((low - 4 * _DAY) / step) * step + 4 * _DAY
        times = [first + step * number for number in range(int((high - first) // step) + 1)] if first <= high else []
        return [(time, _label(time, step, times[number - 1] if number else None)) for number, time in enumerate(times)]
    months = next((one for one in _MONTHS if one * 30.44 * _DAY >= wanted), _MONTHS[-1])
    begin = _EPOCH + dt.timedelta(seconds=low)
    count = begin.year * 12 + begin.month - 1
    count -= count % months
    found: list[tuple[float, str]] = []
    while count < 9999 * 12:
        if count >= 12:
            time = (dt.datetime(count // 12, count % 12 + 1, 1) - _EPOCH).total_seconds()  # noqa: DTZ001
            if time > high:
                break
            if time >= low:
                found.append((time, _month_label(count, months, first=not found)))
        count += months
    return found


def _label(time: float, step: float, before: float | None) -> str:
    moment = _EPOCH + dt.timedelta(seconds=time)
    earlier = None if before is None else _EPOCH + dt.timedelta(seconds=before)
    day = f"{moment.day} {moment:%b}"
    if step >= _DAY:
        return f"{day} {moment.year}" if earlier is None or earlier.year != moment.year else day
    if earlier is None or earlier.date() != moment.date():
        return day if moment.time() == dt.time() else f"{day} {moment:%H:%M}"
    return f"{moment:%H:%M:%S}" if step < _MINUTE else f"{moment:%H:%M}"


def _month_label(count: int, months: int, *, first: bool) -> str:
    if months >= 12:
        return str(count // 12)
    name = dt.date(2000, count % 12 + 1, 1).strftime("%b")
    return f"{name} {count // 12}" if first or count % 12 == 0 else name


class PlainAxis(pg.AxisItem):  # type: ignore[misc]
    """An axis without tick marks whose labels are never cut: one level of ticks, told by `ticks(low, high, size)`."""

    def __init__(self, side: str, ink: Ink) -> None:
        super().__init__(side, pen=ink.pen(ink.charts.axis), textPen=ink.pen(ink.tokens.muted), maxTickLength=0)
        self.ink = ink
        self.upright = side in ("left", "right")
        self.enableAutoSIPrefix(False)
        self.metrics = QFontMetricsF(ink.font())
        self.setTickFont(ink.font())
        self.setStyle(
            tickTextOffset=6, autoExpandTextSpace=False, autoReduceTextSpace=False, hideOverlappingLabels=False
        )
        if self.upright:
            self.setPen(ink.pen(ink.tokens.surface))
            self.setPen(None)
            self.room = 38.0
            self.setWidth(self.room)
        else:
            self.setHeight(self.metrics.height() + 8)
        self._labels: dict[float, str] = {}

    def ticks(self, low: float, high: float, size: float) -> list[tuple[float, str]]:
        raise NotImplementedError

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        found = self.ticks(min(low, high), max(low, high), max(1.0, size))
        self._labels = dict(found)
        return [(1.0, [value for value, _ in found])]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        return [self._labels.get(value, "") for value in values]

    def title(self, words: str, room: float) -> None:
        """A name under the axis, shortened to the room (pixels) that there is."""
        self.showLabel(bool(words))
        if words:
            shown = self.metrics.elidedText(words, Qt.TextElideMode.ElideRight, max(40.0, room))
            self.setLabel(text=shown.replace("&", "&amp;").replace("<", "&lt;"))
            self.label.setFont(self.ink.font())
            self.label.setDefaultTextColor(self.ink.tokens.muted)
            self.setHeight(2 * self.metrics.height() + 10)

    def fit(self, low: float, high: float, size: float) -> None:
        """Make room for the labels of an upright axis."""
        wide = max((self.metrics.horizontalAdvance(text) for _, text in self.ticks(low, high, size)), default=0.0)
        room = max(38.0, math.ceil(wide) + 12.0)
        if room != self.room:
            self.room = room
            self.setWidth(room)

    def drawPicture(self, painter: Any, line: Any, marks: Any, texts: Any) -> None:
        super().drawPicture(painter, line, [], texts)  # marks of no length would be dots

    def wheelEvent(self, event: Any) -> None:
        event.ignore()

    def mouseDragEvent(self, event: Any) -> None:
        event.ignore()

    def mouseClickEvent(self, event: Any) -> None:
        event.ignore()


class NumberAxis(PlainAxis):
    """Numbers, also on a logarithmic scale (then values are logarithms to 10)."""

    def __init__(self, side: str, ink: Ink, form: Format = "number", *, log: bool = False) -> None:
        self.form = form
        self.log = log
        self.floor: float | None = None
        """Below it nothing is written."""
        super().__init__(side, ink)

    def ticks(self, low: float, high: float, size: float) -> list[tuple[float, str]]:
        if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
            return []
        each = 27.0 if self.upright else 62.0
        most = max(3 if self.upright else 2, int(size / each))
        if self.log and high - low >= 1:
            jump = max(1, math.ceil((high - low) / most))
            whole = range(math.ceil(low), math.floor(high) + 1, jump)
            marks = (1, 2, 5) if high - low <= most / 3 else (1,)
            values = [power + math.log10(mark) for power in whole for mark in marks]
            return [(value, self._words(10**value, 0)) for value in values if low <= value <= high]
        if self.log:
            return [
                (math.log10(value), self._words(value, step))
                for value, step in _round(10**low, 10**high, most)
                if value > 0
            ]
        least = 1.0 if self.form == "integer" else 0.0
        found = _round(low, high, most, least)
        return [(value, self._words(value, step)) for value, step in found if self.floor is None or value >= self.floor]

    def _words(self, value: float, step: float) -> str:
        if self.form == "percent":
            value, step = value * 100, step * 100
        unit = ""
        size = max(abs(value), step)
        if self.form == "scientific":
            return f"{value:.1e}".replace("-", "−")
        for limit, name in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
            if size >= limit and self.form != "integer":
                scale = 1e3 if name == "k" else limit
                value, step, unit = value / scale, step / scale, name
                break
        if size >= 1e16 or 0 < size < 1e-6:
            text = f"{value:.1e}"
        elif step > 0:
            text = f"{value:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
        else:
            text = f"{value:,.10g}"
        if float(text.replace(",", "")) == 0:
            text, unit = text.lstrip("-") if not unit else "0", ""
        return text.replace("-", "−") + unit + (" %" if self.form == "percent" else "")


def _round(low: float, high: float, most: int, least: float = 0.0) -> list[tuple[float, float]]:
    """Round values from low to high, at most some `most` and not closer than `least`, each with the distance of two."""
    wanted = max((high - low) / most, least)
    if not (math.isfinite(wanted) and wanted > 0):
        return []
    size = 10.0 ** math.floor(math.log10(wanted))
    step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= wanted * 0.999)
    first = math.ceil(low / step - 1e-9)
    if not math.isfinite(first) or abs(first) > 1e15:
        return []
    count = min(200, math.floor(high / step + 1e-9) - int(first) + 1)
    return [((int(first) + number) * step, step) for number in range(count)]


class TextAxis(PlainAxis):
    """Texts at whole numbers; where they don't fit each so many-th is written, shortened to its room."""

    WIDEST = 150.0

    def __init__(self, side: str, ink: Ink, labels: Sequence[str]) -> None:
        self.labels = labels
        super().__init__(side, ink)

    def ticks(self, low: float, high: float, size: float) -> list[tuple[float, str]]:
        if not self.labels or high <= low:
            return []
        each = size / (high - low)
        first, last = max(0, math.ceil(low)), min(len(self.labels) - 1, math.floor(high))
        if self.upright:
            every, room = max(1, math.ceil(self.metrics.height() / max(each, 1e-9))), self.WIDEST
        else:
            shown = self.labels[first : last + 1]
            widest = max((self.metrics.horizontalAdvance(text) for text in shown[:400]), default=0.0) + 6
            every = 1 if each >= 56 else max(1, math.ceil(min(widest, 110.0) / max(each, 1e-9)))
            room = every * each - 6
        first += -first % every
        return [
            (float(number), self.metrics.elidedText(self.labels[number], Qt.TextElideMode.ElideRight, max(room, 8.0)))
            for number in range(first, last + 1, every)
        ]


class PlacesAxis(TextAxis):
    """Few numbers, each of which is written where it fits."""

    def __init__(self, side: str, ink: Ink, places: Floats) -> None:
        self.places = places
        super().__init__(
            side, ink, [number_text(value, "integer" if value == int(value) else "number") for value in places]
        )

    def ticks(self, low: float, high: float, size: float) -> list[tuple[float, str]]:
        seen = [number for number, place in enumerate(self.places.tolist()) if low <= place <= high]
        if not seen or high <= low:
            return []
        wide = 14.0 if self.upright else max(self.metrics.horizontalAdvance(self.labels[one]) for one in seen) + 10
        found: list[tuple[float, str]] = []
        for number in seen:
            place = float(self.places[number])
            if not found or (place - found[-1][0]) / (high - low) * size >= wide:
                found.append((place, self.labels[number]))
        return found


class TimeAxis(PlainAxis):
    """Times: seconds since 1970 (UTC); or, with `times`, the numbers of places whose times these are."""

    def __init__(self, side: str, ink: Ink, times: Floats | None = None) -> None:
        self.times = times
        super().__init__(side, ink)

    def ticks(self, low: float, high: float, size: float) -> list[tuple[float, str]]:
        wide = self.metrics.horizontalAdvance("30 Sep 2024")
        most = max(2, int(size / (wide + 14)))
        # a label that would be cut at an end is none: the first that is written names the year
        room = (high - low) * max(0.0, wide / 2 - 14) / size
        low, high = low + room, high - room
        if high <= low:
            return []
        if self.times is None:
            return time_ticks(low, high, most)
        if not len(self.times):
            return []
        last = len(self.times) - 1
        ends = self.times[[max(0, min(last, math.ceil(low))), max(0, min(last, math.floor(high)))]]
        apart: list[tuple[float, str]] = []
        for time, label in time_ticks(float(ends[0]), float(ends[1]), most):
            place = float(np.searchsorted(self.times, time))
            gap = self.metrics.horizontalAdvance(label) + 8
            if low <= place <= high and (not apart or (place - apart[-1][0]) / (high - low) * size > gap):
                apart.append((place, label))
        return apart
