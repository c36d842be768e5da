"""Values as such: tables, single numbers, shares of a whole."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QModelIndex, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QMouseEvent, QPainter, QPainterPath, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QHeaderView, QLabel, QToolButton, QVBoxLayout, QWidget

from desktop import resources
from desktop.models.rows import Heading, RowsModel
from desktop.models.table import value_text
from desktop.theme import styled
from desktop.views.data_table import plain_table
from desktop.views.panels.axes import number_text
from desktop.views.panels.drawing import Drawing, Pick, Reading
from desktop.views.panels.ink import Ink
from quarterdeck.report.shapes import Number, Rows, Slices
from quarterdeck.report.template import NumberPanel, PiePanel, TablePanel

if TYPE_CHECKING:
    import pyarrow as pa

    from desktop.bridge import Bridge

__all__ = ["NumberTile", "Pie", "Table", "cell_text", "is_number", "paint_rows", "row_height"]

Line = tuple[int, tuple[str, ...]]
_NUMBERS = ("int", "uint", "float", "double", "halffloat", "decimal", "number")


def is_number(kind: str) -> bool:
    """Whether a column of that type is written to the right."""
    return kind.startswith(_NUMBERS)


def cell_text(value: Any, form: Any = None) -> str:
    """A cell's words, as the panel's format for the column wants them."""
    if form is not None and isinstance(value, int | float) and not isinstance(value, bool):
        return number_text(float(value), form) if math.isfinite(value) else ""
    if isinstance(value, dt.datetime):
        return value_text(value.astimezone(dt.UTC) if value.tzinfo else value)
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return value_text(value)


class Table(QWidget, Drawing):
    """The panel table: its first rows, and pages for the rest."""

    pointed = Signal(object)
    picked = Signal(object)

    def __init__(self, panel: TablePanel, data: Rows, ink: Ink) -> None:
        super().__init__()
        self.panel, self.data, self.ink = panel, data, ink
        self.page = 0
        self.shown = data.first
        self._read: Callable[[int, int], pa.Table] | None = None
        self._bridge: Bridge | None = None
        self.model: RowsModel[Line] = RowsModel(
            [
                Heading(name, name, max(8, min(24, len(name) + 2)), "right" if is_number(kind) else "left")
                for name, kind in data.columns
            ],
            key=lambda line: line[0],
            text=lambda line, column: line[1][column],
            parent=self,
        )
        self.view = plain_table(panel.title or panel.id)
        self.view.setModel(self.model)
        self.view.clicked.connect(self._clicked)
        self.where = styled(QLabel(), name="small")
        self.arrows: list[tuple[QToolButton, str]] = []
        foot = QHBoxLayout()
        foot.setContentsMargins(8, 2, 4, 2)
        foot.setSpacing(2)
        foot.addWidget(self.where)
        foot.addStretch()
        for picture, words, place in (
            ("page-first", "First page", lambda: 0),
            ("chevron-left", "Previous page", lambda: self.page - 1),
            ("chevron-right", "Next page", lambda: self.page + 1),
            ("page-last", "Last page", lambda: self.pages - 1),
        ):
            button = styled(QToolButton(), tip=words)
            button.clicked.connect(lambda checked=False, place=place: self.go(place()))
            foot.addWidget(button)
            self.arrows.append((button, picture))
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(0)
        rows.addWidget(self.view, 1)
        self.foot = QWidget()
        self.foot.setLayout(foot)
        rows.addWidget(self.foot)
        self._fitted = False
        self.dress(ink)
        self._show()

    @property
    def pages(self) -> int:
        return max(1, -(-self.data.rows // self.panel.options.rows))

    def turn_with(self, bridge: Bridge, read: Callable[[int, int], pa.Table]) -> None:
        """How other pages are read: `read(offset, limit)`, in a thread of the bridge."""
        self._bridge, self._read = bridge, read

    def go(self, page: int) -> None:
        """Show that page, from 0."""
        page = max(0, min(page, self.pages - 1))
        if self._bridge is not None and self._read is not None:
            self._bridge.latest(self, "page", self._turn(page))

    async def _turn(self, page: int) -> None:
        if self._bridge is None or self._read is None:
            return
        size = self.panel.options.rows
        table = await self._bridge.call(self._read, page * size, size)
        self.page, self.shown = page, table
        self._show()

    def _show(self) -> None:
        offset, size = self.page * self.panel.options.rows, self.panel.options.rows
        columns: list[list[str]] = []
        if self.shown is not None:
            for column, name in zip(self.shown.columns, self.shown.column_names, strict=True):
                form = self.panel.options.formats.get(name)
                columns.append([cell_text(value, form) for value in column.slice(0, size).to_pylist()])
        self.model.replace([(offset + number, cells) for number, cells in enumerate(zip(*columns, strict=True))])
        last = offset + self.model.rowCount()
        self.where.setText(f"{offset + 1:,}–{last:,} of {self.data.rows:,} rows" if last > offset else "no rows")
        self.foot.setVisible(self.pages > 1)
        for (button, _), on in zip(
            self.arrows,
            (self.page > 0, self.page > 0, self.page < self.pages - 1, self.page < self.pages - 1),
            strict=True,
        ):
            button.setEnabled(on)
        if not self._fitted and self.model.rowCount():
            self._fitted = True
            head = self.view.horizontalHeader()
            for number in range(self.model.columnCount()):
                width = max(self.view.sizeHintForColumn(number), head.sectionSizeHint(number)) + 16
                self.view.setColumnWidth(number, min(width, 340))
            # few narrow columns: the last one takes what is left, so that the table has no ragged end
            head.setStretchLastSection(False)
            head.setSectionResizeMode(QHeaderView.ResizeMode.Interactive)

    def _clicked(self, index: QModelIndex) -> None:
        sets = self.panel.links.sets
        if not sets or self.shown is None or not 0 <= index.row() < self.shown.num_rows:
            return
        row = self.shown.slice(index.row(), 1).to_pylist()[0]
        time = next((value for value in row.values() if isinstance(value, dt.datetime)), None)
        time = row["time"] if isinstance(row.get("time"), dt.datetime) else time
        at = None
        if time is not None:
            at = (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp()
        symbol = row.get("symbol")
        self.picked.emit(
            Pick(
                times=(at, at) if at is not None and "time" in sets else None,
                symbols=(str(symbol),) if symbol is not None and "symbol" in sets else None,
                row={"time": at, "symbol": symbol} if "row" in sets else None,
            )
        )

    def dress(self, ink: Ink) -> None:
        self.ink = ink
        for button, picture in self.arrows:
            button.setIcon(resources.icon(picture, ink.tokens.muted))

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        if self.shown is None:
            return [name for name, _ in self.data.columns], []
        return list(self.shown.column_names), [column.to_pylist() for column in self.shown.columns]

    def paint_on(self, painter: QPainter, place: QRectF) -> None:
        paint_rows(painter, place, self.ink, self.data, self.panel, self.shown)


def column_widths(data: Rows, panel: TablePanel, page: Any, ink: Ink, room: float) -> list[float]:
    """Widths of a table's columns on paper, by what is in them, within the room that there is."""
    head = QFontMetricsF(ink.font(0, QFont.Weight.DemiBold))
    wanted: list[float] = []
    for number, (name, kind) in enumerate(data.columns):
        metrics = QFontMetricsF(ink.figures() if is_number(kind) else ink.font())
        form = panel.options.formats.get(name)
        cells = page.column(number).slice(0, 200).to_pylist() if page is not None else []
        widest = max((metrics.horizontalAdvance(cell_text(cell, form)) for cell in cells), default=0.0)
        wanted.append(min(max(widest, head.horizontalAdvance(name)) + 14, 260.0))
    total = sum(wanted)
    if total > room and total > 0:
        return [width * room / total for width in wanted]
    spare = min((room - total) / max(1, len(wanted)), 60.0)
    return [width + spare for width in wanted]


def row_height(ink: Ink) -> float:
    """A row's height on paper."""
    return math.ceil(QFontMetricsF(ink.font()).height()) + 5.0


def paint_rows(
    painter: QPainter, place: QRectF, ink: Ink, data: Rows, panel: TablePanel, page: Any, widths_of: Any = None
) -> int:
    """Paint a head and as many rows of the page as fit; how many did. The columns are as wide as `widths_of` needs."""
    if page is None or not data.columns:
        return 0
    widths = column_widths(data, panel, page if widths_of is None else widths_of, ink, place.width())
    high = row_height(ink)
    fits = max(0, min(int(page.num_rows), int((place.height() - high) // high)))
    kinds = [is_number(kind) for _, kind in data.columns]
    cells = [
        [cell_text(value, panel.options.formats.get(name)) for value in page.column(number).slice(0, fits).to_pylist()]
        for number, (name, _) in enumerate(data.columns)
    ]
    t = ink.tokens
    heading = ink.font(0, QFont.Weight.DemiBold)
    for row in range(-1, fits):
        y = place.top() + (row + 1) * high
        x = place.left()
        painter.setPen(QColor(t.muted if row < 0 else t.text))
        for number, (name, _) in enumerate(data.columns):
            text = name if row < 0 else cells[number][row]
            font = heading if row < 0 else ink.figures() if kinds[number] else ink.font()
            used = QFontMetricsF(font)
            painter.setFont(font)
            shown = used.elidedText(text, Qt.TextElideMode.ElideRight, widths[number] - 8)
            side = Qt.AlignmentFlag.AlignRight if kinds[number] else Qt.AlignmentFlag.AlignLeft
            painter.drawText(QRectF(x + 4, y, widths[number] - 8, high), side | Qt.AlignmentFlag.AlignVCenter, shown)
            x += widths[number]
        painter.setPen(ink.pen(t.line_strong if row < 0 else t.line))
        painter.drawLine(QPointF(place.left(), y + high), QPointF(place.left() + sum(widths), y + high))
    return fits


class _Painted(QWidget, Drawing):
    """A drawing without axes: painted as a whole."""

    pointed = Signal(object)
    picked = Signal(object)

    def __init__(self, panel: Any, data: Any, ink: Ink) -> None:
        super().__init__()
        self.panel, self.data, self.ink = panel, data, ink
        self.setMouseTracking(True)
        self.setAccessibleName(panel.title or panel.id)

    def dress(self, ink: Ink) -> None:
        self.ink = ink
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        self.paint_on(painter, QRectF(self.rect()))
        painter.end()


class NumberTile(_Painted):
    """The panel number."""

    panel: NumberPanel
    data: Number

    def paint_on(self, painter: QPainter, place: QRectF) -> None:
        t = self.ink.tokens
        good = self.data.good
        painter.setPen(QColor(t.text if good is None else t.good if good else t.bad))
        large = 5 if self.ink.fine else 11
        while large > 0:
            font = self.ink.font(large, QFont.Weight.DemiBold)
            if QFontMetricsF(font).horizontalAdvance(self.data.text) <= place.width() - 12:
                break
            large -= 1
        font = self.ink.font(large, QFont.Weight.DemiBold)
        painter.setFont(font)
        words = QFontMetricsF(font).elidedText(self.data.text, Qt.TextElideMode.ElideRight, place.width() - 8)
        edge = 4.0 if self.ink.fine else 11.0
        painter.drawText(
            place.adjusted(edge, 0, -4, -4), Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, words or "–"
        )

    def sizeHint(self) -> QSize:
        return QSize(120, 40)

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        return [self.panel.title or self.panel.id], [[self.data.value]]


class Pie(_Painted):
    """The panel pie: a ring, its parts named beside it."""

    panel: PiePanel
    data: Slices

    def __init__(self, panel: PiePanel, data: Slices, ink: Ink) -> None:
        super().__init__(panel, data, ink)
        self._bright: int | None = None

    def _color(self, number: int) -> QColor:
        last = number == len(self.data.labels) - 1 and self.data.labels[number] == "other" and number > 0
        if last:
            return QColor(self.ink.tokens.faint)
        color = self.ink.series(number)
        return color if number < len(self.ink.charts.series) else color.lighter(135)

    def _ring(self, place: QRectF) -> QRectF:
        side = max(20.0, min(place.height() - 16, place.width() * 0.42))
        return QRectF(place.left() + 8, place.center().y() - side / 2, side, side)

    def paint_on(self, painter: QPainter, place: QRectF) -> None:
        t = self.ink.tokens
        total = float(self.data.values.sum())
        if not total > 0:
            return
        ring = self._ring(place)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(self.ink.pen(t.surface, 1.5))
        start = 90.0
        for number, value in enumerate(self.data.values.tolist()):
            sweep = -360.0 * value / total
            path = QPainterPath()
            path.arcMoveTo(ring, start)
            path.arcTo(ring, start, sweep)
            hole = ring.adjusted(*(ring.width() * part for part in (0.29, 0.29, -0.29, -0.29)))
            path.arcTo(hole, start + sweep, -sweep)
            path.closeSubpath()
            color = self._color(number)
            if self._bright is not None and number != self._bright:
                color.setAlpha(90)
            painter.setBrush(color)
            painter.drawPath(path)
            start += sweep
        self._name(painter, place, ring, total)

    def _name(self, painter: QPainter, place: QRectF, ring: QRectF, total: float) -> None:
        t = self.ink.tokens
        metrics = QFontMetricsF(self.ink.font())
        high = metrics.height() + (3 if self.ink.fine else 5)
        fits = min(len(self.data.labels), max(1, int((place.height() - 8) // high)))
        y = place.center().y() - fits * high / 2
        left = ring.right() + (14 if self.ink.fine else 22)
        right = place.right() - 8
        shares = [f"{value / total:.1%}" for value in self.data.values.tolist()]
        values = self.data.values.tolist()
        form = self.panel.options.format
        if form == "number" and all(value == int(value) for value in values if abs(value) < 1e15):
            form = "integer"
        texts = [number_text(value, form) for value in values]
        share_room = max(metrics.horizontalAdvance(one) for one in shares) + 4
        text_room = max(metrics.horizontalAdvance(one) for one in texts) + 16
        if right - left - share_room - text_room < 70:
            text_room = 0.0
        right = min(right, left + 20 + 170 + share_room + text_room)
        painter.setFont(self.ink.font())
        aligned = Qt.AlignmentFlag.AlignVCenter
        for number in range(fits):
            row = QRectF(left, y + number * high, right - left, high)
            painter.fillRect(QRectF(row.left(), row.center().y() - 4, 8, 8), self._color(number))
            painter.setPen(QColor(t.text))
            room = row.width() - 16 - share_room - text_room
            name = metrics.elidedText(self.data.labels[number], Qt.TextElideMode.ElideRight, room)
            painter.drawText(row.adjusted(16, 0, 0, 0), Qt.AlignmentFlag.AlignLeft | aligned, name)
            painter.drawText(row, Qt.AlignmentFlag.AlignRight | aligned, shares[number])
            painter.setPen(QColor(t.muted))
            if text_room:
                painter.drawText(
                    row.adjusted(0, 0, -share_room, 0), Qt.AlignmentFlag.AlignRight | aligned, texts[number]
                )

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        ring = self._ring(QRectF(self.rect()))
        away = event.position() - ring.center()
        radius = math.hypot(away.x(), away.y())
        found: int | None = None
        total = float(self.data.values.sum())
        if ring.width() * 0.2 <= radius <= ring.width() / 2 and total > 0:
            share = (math.degrees(math.atan2(away.x(), -away.y())) % 360) / 360 * total
            for number, value in enumerate(self.data.values.tolist()):
                share -= value
                if share <= 0:
                    found = number
                    break
        self._point(found)

    def leaveEvent(self, event: Any) -> None:
        super().leaveEvent(event)
        self._point(None)

    def _point(self, number: int | None) -> None:
        if number == self._bright:
            return
        self._bright = number
        self.update()
        if number is None:
            self.pointed.emit(Reading(""))
            return
        value, total = float(self.data.values[number]), float(self.data.values.sum())
        words = f"{number_text(value, self.panel.options.format)}, {value / total:.1%}"
        self.pointed.emit(Reading(self.data.labels[number], {}, words))

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        return ["label", "value"], [self.data.labels, self.data.values.tolist()]
