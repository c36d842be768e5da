"""Terminal escape sequences in lines of a log: colours as spans of plain text, everything else left out. No I/O.

Understood is SGR (ECMA-48 section 8.3.117, with the 256 and true colours of ISO 8613-6, with semicolons or colons).
Other sequences (moves of the cursor, titles, links, device control) have no meaning in a line of a log and go, as do
sequences that are cut off. A line begins without style.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

__all__ = ["PLAIN", "TRUE", "Span", "Style", "colored", "parsed", "plain"]

TRUE = 0x1000000
"""A colour from here on is this plus red, green, blue in a byte each; below 256 it is a number of the palette."""

_SEQUENCE = re.compile(
    r"\x1b(?:"
    r"\[([0-?]*)([ -/]*[@-~]?)"  # CSI
    r"|\][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC
    r"|[PX^_][^\x1b\x9c]*(?:\x1b\\|\x9c)"  # DCS, SOS, PM, APC
    r"|[ -/]*[0-~]?"
    r")|\x9b([0-?]*)([ -/]*[@-~]?)"  # CSI as one character
)
_FLAGS = {1: "bold", 2: "faint", 3: "italic", 4: "underline", 7: "inverse", 9: "strike", 21: "underline"}
_OFF: dict[int, tuple[str, ...]] = {
    22: ("bold", "faint"),
    23: ("italic",),
    24: ("underline",),
    27: ("inverse",),
    29: ("strike",),
}


@dataclass(frozen=True, slots=True)
class Style:
    """How text looks. A colour is None (the view's own), 0 to 255 (a number of the palette), or `TRUE` + 0xrrggbb."""

    fore: int | None = None
    back: int | None = None
    bold: bool = False
    faint: bool = False
    italic: bool = False
    underline: bool = False
    inverse: bool = False
    strike: bool = False


PLAIN = Style()
"""Text without style."""


class Span(NamedTuple):
    """Characters `start` to `end` (exclusive) of a plain text, and their style, which is not `PLAIN`."""

    start: int
    end: int
    style: Style


def plain(text: str) -> str:
    """The text without escape sequences."""
    return _SEQUENCE.sub("", text) if "\x1b" in text or "\x9b" in text else text


def parsed(text: str) -> tuple[str, tuple[Span, ...]]:
    """The text without escape sequences, and the spans of it that have a style, in order, none touching its like."""
    if "\x1b" not in text and "\x9b" not in text:
        return text, ()
    pieces: list[str] = []
    spans: list[Span] = []
    style, length, at = PLAIN, 0, 0

    def add(piece: str) -> None:
        nonlocal length
        if not piece:
            return
        pieces.append(piece)
        start, length = length, length + len(piece)
        if style == PLAIN:
            return
        if spans and spans[-1].end == start and spans[-1].style == style:
            start = spans.pop().start
        spans.append(Span(start, length, style))

    for match in _SEQUENCE.finditer(text):
        add(text[at : match.start()])
        at = match.end()
        values, final = (match[1], match[2]) if match[2] is not None else (match[3], match[4])
        if final == "m":
            style = _styled(style, values)
    add(text[at:])
    return "".join(pieces), tuple(spans)


def colored(text: str) -> str:
    """The text with its colours for a terminal: of the escape sequences only SGR stays, and the style ends with it."""
    if "\x1b" not in text and "\x9b" not in text:
        return text
    kept = False

    def keep(match: re.Match[str]) -> str:
        nonlocal kept
        values, final = (match[1], match[2]) if match[2] is not None else (match[3], match[4])
        if final != "m" or values.strip("0123456789;:"):
            return ""
        kept = True
        return f"\x1b[{values}m"

    found = _SEQUENCE.sub(keep, text)
    return f"{found}\x1b[0m" if kept else found


def _styled(style: Style, values: str) -> Style:
    """The style after an SGR sequence with these values; what is not understood changes nothing."""
    if values in ("", "0"):
        return PLAIN
    if values.strip("0123456789;:"):
        return style
    fields = iter(values.split(";"))
    for field in fields:
        parts = field.split(":")
        code = _number(parts[0])
        if code in (38, 48):
            color = _color(parts[1:]) if len(parts) > 1 else _color_of(fields)
            if color is not None:
                style = replace(style, fore=color) if code == 38 else replace(style, back=color)
        elif code == 4 and len(parts) > 1:
            style = replace(style, underline=_number(parts[1]) != 0)
        else:
            style = _changed(style, code)
    return style


def _changed(style: Style, code: int) -> Style:
    if code == 0:
        return PLAIN
    if code in _FLAGS:
        return replace(style, **{_FLAGS[code]: True})
    if code in _OFF:
        return replace(style, **dict.fromkeys(_OFF[code], False))
    if 30 <= code <= 37 or 90 <= code <= 97:
        return replace(style, fore=code - 30 if code < 40 else code - 82)
    if 40 <= code <= 47 or 100 <= code <= 107:
        return replace(style, back=code - 40 if code < 50 else code - 92)
    if code == 39:
        return replace(style, fore=None)
    return replace(style, back=None) if code == 49 else style


def _color_of(fields: Iterator[str]) -> int | None:
    """The colour that follows a 38 or 48, with semicolons; takes its values."""
    kind = next(fields, "")
    return _color([kind, *islice(fields, {"5": 1, "2": 3}.get(kind, 0))])


def _color(parts: list[str]) -> int | None:
    """5, number; or 2, red, green, blue; or 2, a colour space, red, green, blue."""
    if parts[0] == "5" and len(parts) > 1:
        number = _number(parts[1])
        return number if number < 256 else None
    if parts[0] == "2" and len(parts) > 3:
        red, green, blue = (_number(part) for part in (parts[2:5] if len(parts) > 4 else parts[1:4]))
        return TRUE + (red << 16) + (green << 8) + blue if max(red, green, blue) < 256 else None
    return None


def _number(text: str) -> int:
    """A value of a sequence; one that is left out is 0."""
    return int(text) if 0 < len(text) < 6 else 0 if not text else 65_536
