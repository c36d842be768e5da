"""The key of a colour scale, beside a drawing."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtCore import QRectF, QSizeF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from desktop.views.panels.axes import number_text
from desktop.views.panels.ink import Ink
from quarterdeck.report.template import Format

__all__ = ["Scale"]


class Scale(pg.GraphicsWidget):  # type: ignore[misc]
    """From the lowest value at the bottom to the highest at the top."""

    def __init__(
        self, ink: Ink, diverging: bool, low: float, high: float, form: Format = "number", *, slight: bool = False
    ) -> None:
        super().__init__()
        self._ink = ink
        self._colors = ink.scale(diverging, slight=slight)
        words = [number_text(low, form, 3), number_text(high, form, 3)]
        if diverging:
            words.insert(1, "0")
        self._words = words
        metrics = QFontMetricsF(ink.font())
        self._height = metrics.height()
        self.setFixedWidth(max(metrics.horizontalAdvance(word) for word in words) + 30)
        self.setPreferredSize(QSizeF(60, 100))

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        room = QRectF(self.rect())
        bar = QRectF(12, 4, 9, max(10.0, min(room.height() - 8, 160.0)))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        each = bar.height() / len(self._colors)
        for number, color in enumerate(reversed(self._colors)):
            painter.fillRect(QRectF(bar.left(), bar.top() + number * each, bar.width(), each + 0.7), color)
        painter.setFont(self._ink.font())
        painter.setPen(QColor(self._ink.tokens.muted))
        for number, word in enumerate(self._words):
            share = 1 - number / (len(self._words) - 1)
            y = bar.top() + share * (bar.height() - self._height)
            painter.drawText(
                QRectF(bar.right() + 5, y, 200, self._height),
                Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter,
                word,
            )
