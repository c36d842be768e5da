"""Values over two axes of labels: heat maps and correlations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from desktop.views.panels.axes import PlainAxis, TextAxis, number_text
from desktop.views.panels.chart import Chart
from desktop.views.panels.drawing import Reading
from desktop.views.panels.plane import Shape
from desktop.views.panels.scale import Scale
from quarterdeck.report.shapes import Grid
from quarterdeck.report.template import CorrelationPanel, Format, HeatmapPanel

__all__ = ["HeatMap"]

_FEW = 6_000


class _Cells(Shape):
    """The cells: one rectangle each where they are few, else an image of one pixel each."""

    def __init__(self, chart: HeatMap) -> None:
        super().__init__()
        self._chart = chart
        rows, columns = chart.places.shape
        self._many = rows * columns > _FEW
        self._image: QImage | None = None
        self._pixels: npt.NDArray[np.uint32] | None = None
        if self._many:
            table = np.array([color.rgba() for color in chart.colors] + [0], dtype=np.uint32)
            self._pixels = np.ascontiguousarray(table[chart.places])
            self._image = QImage(
                self._pixels.data,
                columns,
                rows,
                columns * 4,
                QImage.Format.Format_ARGB32,
            )

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        chart = self._chart
        rows, columns = chart.places.shape
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        if self._image is not None:
            painter.drawImage(QRectF(-0.5, -0.5, columns, rows), self._image)
            return
        wide, high = chart.px.size()
        gap_x, gap_y = (wide if 6 * wide < 1 else 0.0), (high if 6 * high < 1 else 0.0)
        painter.setPen(Qt.PenStyle.NoPen)
        for number, color in enumerate(chart.colors):
            at = np.argwhere(chart.places == number)
            if len(at):
                painter.setBrush(color)
                painter.drawRects([QRectF(x - 0.5, y - 0.5, 1 - gap_x, 1 - gap_y) for y, x in at.tolist()])
        if chart.written:
            self._write(painter, 1 / wide, 1 / high)

    def _write(self, painter: QPainter, wide: float, high: float) -> None:
        """Each cell's value, where all of them fit."""
        chart = self._chart
        values = chart.data.values
        texts = {(y, x): chart.word(values[y, x]) for y, x in np.argwhere(np.isfinite(values)).tolist()}
        for font in (chart.ink.font(), chart.ink.font(-1), chart.ink.font(-2)):
            painter.setFont(font)
            metrics = painter.fontMetrics()
            widest = max((metrics.horizontalAdvance(text) for text in texts.values()), default=0)
            if widest + 4 <= wide and metrics.height() <= high:
                break
        else:
            return
        for (y, x), text in texts.items():
            back = chart.colors[chart.places[y, x]]
            dark = back.lightnessF() < 0.55
            painter.setPen(QColor("#ffffff" if dark else "#17202c"))
            painter.save()
            painter.setTransform(chart.cell(x, y), True)
            painter.drawText(QRectF(-wide / 2, -high / 2, wide, high), Qt.AlignmentFlag.AlignCenter, text)
            painter.restore()


class HeatMap(Chart):
    """The panels heat map and correlation."""

    panel: HeatmapPanel | CorrelationPanel
    data: Grid

    @property
    def form(self) -> Format:
        return self.panel.options.format if isinstance(self.panel, HeatmapPanel) else "number"

    @property
    def written(self) -> bool:
        return self.panel.options.text

    def word(self, value: float) -> str:
        if isinstance(self.panel, CorrelationPanel):
            return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
        return number_text(value, self.form, 3)

    def axes(self) -> tuple[PlainAxis, PlainAxis]:
        self.box.invertY(True)
        self.grid = (False, False)
        return TextAxis("left", self.ink, self.data.y_labels), TextAxis("bottom", self.ink, self.data.x_labels)

    def build(self) -> None:
        data = self.data
        low, high = data.low, data.high
        correlated = isinstance(self.panel, CorrelationPanel)
        diverging = correlated or (isinstance(self.panel, HeatmapPanel) and self.panel.options.diverging)
        if correlated:
            low, high = -1.0, 1.0
        elif diverging:
            top = max(abs(low), abs(high)) or 1.0
            low, high = -top, top
        self.colors = self.ink.scale(diverging)
        steps = len(self.colors)
        with np.errstate(invalid="ignore"):
            share = (
                (data.values - low) / (high - low) if high > low else np.where(np.isfinite(data.values), 0.5, np.nan)
            )
        self.places = np.where(
            np.isfinite(share), np.clip(np.round(np.nan_to_num(share) * (steps - 1)), 0, steps - 1), steps
        ).astype(int)
        self.add(_Cells(self))
        self.layout_.addItem(Scale(self.ink, diverging, low, high, self.form), 0, 2)

    def across(self) -> tuple[float, float]:
        return -0.5, len(self.data.x_labels) - 0.5

    def upward(self, low: float, high: float) -> tuple[float, float] | None:
        return -0.5, len(self.data.y_labels) - 0.5

    def cell(self, x: float, y: float) -> Any:
        """From pixels around a cell's middle to the view, whose y goes downwards."""
        wide, high = self.px.size()
        transform = self.px.around(x, y)
        transform.setMatrix(wide, 0, 0, 0, high, 0, x, y, 1)
        return transform

    def read(self, x: float, y: float | None) -> tuple[Reading, float | None, list[tuple[float, float, QColor]]] | None:
        if y is None:
            return None
        column, row = round(x), round(y)
        if not (0 <= column < len(self.data.x_labels) and 0 <= row < len(self.data.y_labels)):
            return None
        words = self.word(float(self.data.values[row, column]))
        return Reading(f"{self.data.y_labels[row]}, {self.data.x_labels[column]}", {}, words), None, []

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        data = self.data
        columns: list[Sequence[Any]] = [data.y_labels]
        for number in range(len(data.x_labels)):
            columns.append([value if np.isfinite(value) else None for value in data.values[:, number].tolist()])
        return [data.y.name or "row", *data.x_labels], columns
