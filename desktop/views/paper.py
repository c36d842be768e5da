"""A report on paper: pages of panels and tables with the run and its parameters at their head (V2, C4).

Pages are recorded panel by panel, so that a window stays alive meanwhile, and then played on any device: a PDF, a
printer, a preview. All is measured at 96 pixels an inch, where axes and texts come out as on the screen.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PySide6.QtCore import QMarginsF, QPointF, QRectF, QSizeF, Qt
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QPagedPaintDevice,
    QPageLayout,
    QPageSize,
    QPainter,
    QPdfWriter,
    QPicture,
    QTextOption,
)

from desktop.views.panels import State, cells, on_paper, sheet
from quarterdeck.errors import Invalid
from quarterdeck.report.shapes import Rows
from quarterdeck.report.template import Template

__all__ = ["A4", "DPI", "ROWS", "Head", "Paper", "play", "save_pdf", "set_up"]

DPI = 96
ROWS = 100
"""Rows of a table that are printed."""
A4 = QSizeF(794, 1123)
_EDGE, _TOP, _BOTTOM = 52.0, 54.0, 56.0
_UNIT, _GAP = 40.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Head:
    """What stands above a report: its title, the run's facts in a line, its parameters, the values of the choices."""

    title: str
    name: str
    facts: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[tuple[str, str], ...] = ()

    def lines(self) -> list[tuple[str, str]]:
        """Parameters and choices as texts of one line each."""
        found = [(name.replace("_", " ").capitalize(), _words(value)) for name, value in self.parameters.items()]
        return [(name, text) for name, text in found if text] + list(self.choices)


def _words(value: Any) -> str:
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        text = ", ".join(str(one) for one in value)
    lines = text.strip().splitlines()
    return text.strip() if len(lines) < 2 else f"{lines[0]} … ({len(lines)} lines)"


class Paper:
    """The pages of one report. `steps` makes them; `pages` holds them."""

    def __init__(
        self,
        head: Head,
        template: Template,
        panels: Mapping[str, Any],
        *,
        states: Mapping[str, State] | None = None,
        rows: Mapping[str, Any] | None = None,
        size: QSizeF = A4,
    ) -> None:
        self.head = head
        self.pages: list[QPicture] = []
        self.size = size
        self._template, self._panels, self._states, self._rows = template, panels, states or {}, rows or {}
        self._ink = on_paper()
        self._painter: QPainter | None = None
        self._room = QRectF(_EDGE, _TOP, size.width() - 2 * _EDGE, size.height() - _TOP - _BOTTOM)
        self._y = 0.0

    def steps(self) -> Iterator[None]:
        """Makes the pages, a panel a step."""
        self.pages.clear()
        self._new_page()
        try:
            self._paint_head()
            yield
            for section, panels in self._template.sections().items():
                yield from self._section(section, panels)
        finally:
            self._end_page()

    # Pages

    def _new_page(self) -> None:
        self._end_page()
        picture = QPicture()
        self.pages.append(picture)
        self._painter = QPainter(picture)
        self._painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._y = self._room.top()

    def _end_page(self) -> None:
        if self._painter is not None:
            self._painter.end()
            self._painter = None

    @property
    def _brush(self) -> QPainter:
        if self._painter is None:
            raise RuntimeError("there is no page to paint on")
        return self._painter

    def _need(self, height: float) -> None:
        """A new page, unless there is so much room on this one."""
        if self._y + height > self._room.bottom() and self._y > self._room.top():
            self._new_page()

    # What stands on them

    def _text(self, place: QRectF, text: str, font: QFont, color: str, flags: Any = Qt.AlignmentFlag.AlignLeft) -> None:
        painter = self._brush
        painter.setFont(font)
        painter.setPen(QColor(color))
        words = QFontMetricsF(font).elidedText(text, Qt.TextElideMode.ElideRight, place.width())
        painter.drawText(place, int(flags | Qt.AlignmentFlag.AlignVCenter), words)

    def _rule(self, color: str) -> None:
        self._brush.setPen(self._ink.pen(color))
        self._brush.drawLine(QPointF(self._room.left(), self._y), QPointF(self._room.right(), self._y))

    def _paint_head(self) -> None:
        t, room = self._ink.tokens, self._room
        small = self._ink.font()
        self._text(
            QRectF(room.left(), self._y, room.width(), 24),
            self.head.name,
            self._ink.font(9, QFont.Weight.DemiBold),
            t.text,
        )
        self._y += 25
        self._text(QRectF(room.left(), self._y, room.width(), 15), self.head.title, self._ink.font(2), t.muted)
        self._y += 18
        if self.head.facts:
            self._text(QRectF(room.left(), self._y, room.width(), 14), "  ·  ".join(self.head.facts), small, t.muted)
            self._y += 17
        self._y += 3
        self._rule(t.line_strong)
        self._y += 7
        lines = self.head.lines()
        names = max((QFontMetricsF(small).horizontalAdvance(name) for name, _ in lines), default=0.0) + 14
        half = (room.width() - 24) / 2
        short = [one for one in lines if QFontMetricsF(small).horizontalAdvance(one[1]) <= half - names]
        long = [one for one in lines if one not in short]
        rows = -(-len(short) // 2)
        for number, (name, text) in enumerate(short):
            left = room.left() + (number // max(1, rows)) * (half + 24)
            y = self._y + number % max(1, rows) * 14
            self._text(QRectF(left, y, names, 14), name, small, t.muted)
            self._text(QRectF(left + names, y, half - names, 14), text, small, t.text)
        self._y += rows * 14
        for name, text in long:
            self._wrapped(name, text, names)
        if lines:
            self._y += 6
            self._rule(t.line)
        self._y += 12

    def _wrapped(self, name: str, text: str, names: float) -> None:
        """A parameter that needs more than a line: at most six."""
        small, t, room = self._ink.font(), self._ink.tokens, self._room
        width = room.width() - names
        option = QTextOption(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        option.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self._text(QRectF(room.left(), self._y, names, 14), name, small, t.muted)
        self._brush.save()
        self._brush.setPen(QColor(t.text))
        self._brush.setFont(small)
        needed = self._brush.boundingRect(QRectF(0, 0, width, 10_000), text, option).height()
        height = min(needed, 6 * QFontMetricsF(small).lineSpacing())
        place = QRectF(room.left() + names, self._y + 1, width, height + 1)
        self._brush.setClipRect(place)
        self._brush.drawText(place, text, option)
        self._brush.restore()
        self._y += height + 3

    def _section(self, title: str, panels: list[Any]) -> Iterator[None]:
        bands = _bands(panels)
        first = self._height(bands[0]) if bands else 0.0
        if title:
            self._need(30 + min(first, 200.0))
            place = QRectF(self._room.left(), self._y, self._room.width(), 20)
            self._text(place, title, self._ink.font(4, QFont.Weight.DemiBold), self._ink.tokens.text)
            self._y += 22
            self._rule(self._ink.tokens.line_strong)
            self._y += 8
        for band in bands:
            if len(band) == 1 and isinstance(self._panels.get(band[0].id), Rows):
                yield from self._table(band[0])
            else:
                yield from self._band(band)
        self._y += 6

    def _height(self, band: list[Any]) -> float:
        top = min(panel.place.row for panel in band)
        units = max(panel.place.row + panel.place.height for panel in band) - top
        each = 24.0 if all(panel.type == "number" for panel in band) else _UNIT
        return float(min(units * each, self._room.height() - 40))

    def _band(self, band: list[Any]) -> Iterator[None]:
        """Panels beside each other, which a page's end never divides."""
        height = self._height(band)
        self._need(height)
        top = min(panel.place.row for panel in band)
        units = max(panel.place.row + panel.place.height for panel in band) - top
        each = height / units
        column = (self._room.width() + _GAP) / 12
        for panel in band:
            place = QRectF(
                self._room.left() + panel.place.column * column,
                self._y + (panel.place.row - top) * each,
                min(panel.place.width, 12 - panel.place.column) * column - _GAP,
                panel.place.height * each - _GAP,
            )
            data = self._panels.get(panel.id)
            if data is not None:
                sheet.paint(self._brush, place, panel, data, self._ink, self._states.get(panel.id, State()))
            yield
        self._y += height

    def _table(self, panel: Any) -> Iterator[None]:
        """Rows over as many pages as they need, the head on each."""
        data = self._panels[panel.id]
        t = self._ink.tokens
        if data.said:
            place = QRectF(self._room.left(), self._y, self._room.width(), 40)
            self._need(40)
            place.moveTop(self._y)
            sheet.paint(self._brush, place, panel, data, self._ink)
            self._y += 48
            yield
            return
        page = self._rows.get(panel.id, data.first)
        done = 0
        while done < page.num_rows or done == 0:
            self._need(70)
            left = page.slice(done)
            title = panel.title if not done else f"{panel.title} (continued)"
            self._text(
                QRectF(self._room.left() + 4, self._y, self._room.width(), 14),
                title,
                self._ink.font(0, QFont.Weight.DemiBold),
                t.text,
            )
            self._y += 16
            place = QRectF(self._room.left(), self._y, self._room.width(), self._room.bottom() - self._y - 16)
            fitted = cells.paint_rows(self._brush, place, self._ink, data, panel, left, widths_of=page)
            if not fitted:
                break
            done += fitted
            self._y += cells.row_height(self._ink) * (fitted + 1) + 4
            if done < page.num_rows:
                self._new_page()
            yield
        if data.rows > done:
            words = f"The first {done:,} of {data.rows:,} rows."
            self._text(QRectF(self._room.left() + 4, self._y, self._room.width(), 14), words, self._ink.font(), t.muted)
            self._y += 16
        self._y += 10


def _bands(panels: list[Any]) -> list[list[Any]]:
    """Panels that overlap in their rows stand together; in order from above."""
    bands: list[list[Any]] = []
    bottom = -1
    for panel in sorted(panels, key=lambda one: (one.place.row, one.place.column)):
        if bands and panel.place.row < bottom:
            bands[-1].append(panel)
        else:
            bands.append([panel])
        bottom = max(bottom, panel.place.row + panel.place.height)
    return bands


def set_up(device: QPagedPaintDevice, size: QPageSize | None = None) -> None:
    """A4 in portrait, painted to the edges: the margins are the pages' own."""
    page = size or QPageSize(QPageSize.PageSizeId.A4)
    device.setPageLayout(QPageLayout(page, QPageLayout.Orientation.Portrait, QMarginsF(0, 0, 0, 0)))


def play(
    paper: Paper, painter: QPainter, device: QPagedPaintDevice, scale: float, numbers: range | None = None
) -> None:
    """Paint the pages, with their running heads and numbers; `scale`: the device's pixels in one of the pages'."""
    ink = on_paper()
    total = len(paper.pages)
    printed = f"{dt.datetime.now():%Y-%m-%d %H:%M}"  # noqa: DTZ005 - the reader's own clock
    for place, number in enumerate(numbers or range(total)):
        if place:
            device.newPage()
        painter.save()
        painter.scale(scale, scale)
        painter.drawPicture(QPointF(0, 0), paper.pages[number])
        painter.setFont(ink.font(-1))
        painter.setPen(QColor(ink.tokens.muted))
        width, height = paper.size.width(), paper.size.height()
        line = QRectF(_EDGE, height - _BOTTOM + 18, width - 2 * _EDGE, 14)
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft, f"Quarterdeck  ·  {printed}")
        painter.drawText(line, Qt.AlignmentFlag.AlignRight, f"Page {number + 1} of {total}")
        if number:
            line = QRectF(_EDGE, _TOP - 26, width - 2 * _EDGE, 14)
            words = QFontMetricsF(ink.font(-1)).elidedText(
                f"{paper.head.name}  ·  {paper.head.title}", Qt.TextElideMode.ElideRight, line.width()
            )
            painter.drawText(line, Qt.AlignmentFlag.AlignLeft, words)
        painter.restore()


def save_pdf(paper: Paper, path: Path) -> None:
    """Write the pages to a PDF file; it appears whole or not at all.

    Raises:
        Invalid: the file can't be written.
    """
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.open("wb").close()
    except OSError as error:
        raise Invalid(f"{path} can't be written: {error.strerror}") from None
    writer = QPdfWriter(str(fresh))
    writer.setResolution(DPI)
    writer.setTitle(f"{paper.head.name} - {paper.head.title}")
    writer.setCreator("Quarterdeck")
    set_up(writer, QPageSize(paper.size * 72 / DPI, QPageSize.Unit.Point, "", QPageSize.SizeMatchPolicy.FuzzyMatch))
    painter = QPainter(writer)
    play(paper, painter, writer, writer.width() / paper.size.width())
    painter.end()
    try:
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise Invalid(f"{path} can't be written: {error.strerror}") from None
