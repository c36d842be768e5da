"""A panel's legend: names and colours that switch series on and off, with the values at the pointer."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QMouseEvent, QPainter, QPaintEvent, QPolygonF, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from desktop.views.panels.drawing import Entry
from desktop.views.panels.ink import Ink

__all__ = ["Legend", "legend_height", "paint_legend"]

_MARK, _GAP, _WIDEST = 17.0, 12.0, 190.0


def _places(entries: Sequence[Entry], width: float, ink: Ink, reserved: float) -> list[QRectF]:
    metrics = QFontMetricsF(ink.font())
    high = metrics.height() + 5
    places: list[QRectF] = []
    x = y = 0.0
    for entry in entries:
        wide = min(_MARK + metrics.horizontalAdvance(entry.name) + 2, _WIDEST) + reserved
        if x and x + wide > width:
            x, y = 0.0, y + high
        places.append(QRectF(x, y, wide, high))
        x += wide + _GAP
    return places


def legend_height(entries: Sequence[Entry], width: float, ink: Ink, reserved: float = 0.0) -> float:
    """How high the legend is in that width, in pixels."""
    places = _places(entries, width, ink, reserved)
    return places[-1].bottom() if places else 0.0


def paint_legend(
    painter: QPainter,
    place: QRectF,
    entries: Sequence[Entry],
    ink: Ink,
    values: dict[int, str] | None = None,
    reserved: float = 0.0,
) -> None:
    """Paint it into that place."""
    painter.save()
    painter.translate(place.topLeft())
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    metrics = QFontMetricsF(ink.font())
    painter.setFont(ink.font())
    aligned = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
    for number, (entry, at) in enumerate(zip(entries, _places(entries, place.width(), ink, reserved), strict=True)):
        color = entry.color if entry.shown else QColor(ink.tokens.line_strong)
        _paint_mark(painter, entry, color, at, ink)
        room = at.width() - _MARK - reserved
        name = metrics.elidedText(entry.name, Qt.TextElideMode.ElideMiddle, room + 1)
        painter.setPen(QColor(ink.tokens.muted if entry.shown else ink.tokens.faint))
        painter.drawText(at.adjusted(_MARK, 0, 0, 0), aligned, name)
        if not entry.shown:
            wide = metrics.horizontalAdvance(name)
            painter.drawLine(
                QPointF(at.left() + _MARK, at.center().y()), QPointF(at.left() + _MARK + wide, at.center().y())
            )
        value = (values or {}).get(number, "")
        if value and entry.shown:
            painter.setPen(QColor(ink.tokens.text))
            painter.drawText(at.adjusted(_MARK + metrics.horizontalAdvance(name) + 6, 0, 30, 0), aligned, value)
    painter.restore()


def _paint_mark(painter: QPainter, entry: Entry, color: QColor, at: QRectF, ink: Ink) -> None:
    x, y = at.left(), at.center().y()
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)
    if entry.mark == "line":
        painter.drawRoundedRect(QRectF(x, y - 1.25, 12, 2.5), 1.2, 1.2)
    elif entry.mark == "box":
        painter.drawRoundedRect(QRectF(x + 1, y - 4.5, 9, 9), 2, 2)
    elif entry.mark == "dot":
        painter.drawEllipse(QPointF(x + 6, y), 3.5, 3.5)
    else:
        side = 1 if entry.mark == "up" else -1
        painter.drawPolygon(
            QPolygonF([QPointF(x + 6, y - 4.5 * side), QPointF(x + 11, y + 4 * side), QPointF(x + 1, y + 4 * side)])
        )


class Legend(QWidget):
    """The legend above a drawing.

    Signals:
        toggled(int): an entry was clicked
    """

    toggled = Signal(int)

    def __init__(self, ink: Ink) -> None:
        super().__init__()
        self._entries: list[Entry] = []
        self._values: dict[int, str] = {}
        self._ink = ink
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Legend")
        self.hide()

    def show_entries(self, entries: list[Entry], ink: Ink) -> None:
        self._entries, self._ink = entries, ink
        self.setVisible(bool(entries))
        self._settle()
        self.update()

    def show_values(self, values: dict[int, str]) -> None:
        if values != self._values:
            self._values = values
            self.update()

    @property
    def _reserved(self) -> float:
        """Room for a value after each name, so that nothing moves when one appears."""
        return 56.0 if len(self._entries) <= 12 else 0.0

    def _settle(self) -> None:
        self.setFixedHeight(max(1, int(legend_height(self._entries, max(60, self.width()), self._ink, self._reserved))))

    def sizeHint(self) -> QSize:
        return QSize(200, self.height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._settle()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        values = self._values if self._reserved else {}
        paint_legend(painter, QRectF(self.rect()), self._entries, self._ink, values, self._reserved)
        painter.end()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        for number, place in enumerate(_places(self._entries, self.width(), self._ink, self._reserved)):
            if place.contains(event.position()):
                self.toggled.emit(number)
                return
