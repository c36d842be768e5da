"""How values are spread: scatter, histogram, boxes, parallel coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QLineF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from desktop.views.panels.axes import NumberAxis, PlainAxis, TextAxis, number_text
from desktop.views.panels.chart import Chart
from desktop.views.panels.drawing import Entry, Pick, Reading
from desktop.views.panels.ink import Ink
from desktop.views.panels.plane import Dots, Shape, axis_for, finite_span, log10, paint_dots
from desktop.views.panels.scale import Scale
from desktop.views.panels.series import at_text
from quarterdeck.report.shapes import Axis, Bins, Boxes, Floats, Parallel, Points
from quarterdeck.report.template import BoxPanel, HistogramPanel, ParallelPanel, ScatterPanel

__all__ = ["BoxChart", "Histogram", "ParallelChart", "Scatter"]

_Found = tuple[Reading, float | None, list[tuple[float, float, QColor]]] | None
_STEPS = 16


def _shares(values: Floats) -> tuple[Floats, float, float]:
    """Where each value is between the lowest (0) and the highest (1), and these two."""
    low, high = finite_span([values]) or (0.0, 0.0)
    return (values - low) / (high - low) if high > low else np.full(len(values), 0.5), low, high


class Scatter(Chart):
    """The panel scatter."""

    panel: ScatterPanel
    data: Points
    can_log = True

    def axes(self) -> tuple[PlainAxis, PlainAxis]:
        form = self.panel.options.format
        return (
            axis_for("left", self.ink, self.data.y, form, log=self.log),
            axis_for("bottom", self.ink, self.data.x, log=self.panel.options.log_x),
        )

    def titles(self) -> None:
        self.bottom.title(self.data.x.name, self.box.width())

    def entries(self) -> list[Entry]:
        axis = self.data.color_axis
        if axis is None or axis.kind != "text":
            return []
        return [
            Entry(label, self.ink.series(number), "dot", number not in self.hidden)
            for number, label in enumerate(axis.labels[:20])
        ]

    def build(self) -> None:
        data = self.data
        self.grid = (True, True)
        self.x = log10(data.at_x) if self.panel.options.log_x else data.at_x
        self.y = self.scaled(data.at_y)
        self.seen = np.isfinite(self.x) & np.isfinite(self.y)
        axis = data.color_axis
        colors = [self.ink.series(0)]
        which = np.zeros(len(self.x), dtype=int)
        if axis is not None and data.color is not None and axis.kind == "text":
            which = np.where(np.isfinite(data.color), np.nan_to_num(data.color), -1).astype(int)
            colors = [self.ink.series(number) for number in range(len(axis.labels))]
            self.seen &= ~np.isin(which, list(self.hidden))
        elif axis is not None and data.color is not None:
            share, low, high = _shares(data.color)
            which = np.where(np.isfinite(share), np.nan_to_num(share) * (_STEPS - 1), -1).astype(int)
            diverging = low < 0 < high
            if diverging:  # zero is in the middle
                top = max(-low, high)
                share = (data.color / top + 1) / 2
                low, high = -top, top
                which = np.where(np.isfinite(share), np.nan_to_num(share) * (_STEPS - 1), -1).astype(int)
            colors = self.ink.scale(diverging, _STEPS, slight=True)
            self.layout_.addItem(Scale(self.ink, diverging, low, high, slight=True), 0, 2)
        self.which, self.colors = which, colors
        heavy = len(self.x) > 1500
        sizes = np.full(len(self.x), 4 if heavy else 6) if data.size is None else 3 + np.round(data.size * 5) * 2
        for color in range(-1, len(colors)):
            for size in np.unique(sizes[np.isfinite(sizes)]).tolist():
                chosen = self.seen & (which == color) & (sizes == size)
                if chosen.any():
                    tone = QColor(self.ink.tokens.faint if color < 0 else colors[color])
                    tone.setAlpha(150 if heavy else 190)
                    self.add(
                        Dots(self, self.x[chosen], self.y[chosen], tone, float(size) * (0.8 if self.ink.fine else 1))
                    )
        self._trend()
        self.caption = self.data.y.name

    def _trend(self) -> None:
        if self.panel.options.trend and self.data.trend is not None and len(self.x):
            slope, intercept = self.data.trend
            span = finite_span([self.data.at_x])
            if span is not None and np.isfinite([slope, intercept]).all():
                at = np.linspace(*span, 200)
                x = log10(at) if self.panel.options.log_x else at
                y = self.scaled(slope * at + intercept)
                pen = self.ink.pen(self.ink.tokens.text, 1.0, Qt.PenStyle.DashLine)
                self.add(pg.PlotCurveItem(x, y, pen=pen, connect="finite", antialias=True))

    def across(self) -> tuple[float, float]:
        low, high = finite_span([self.x]) or (0.0, 1.0)
        room = (high - low) * 0.04 or 0.5
        return low - room, high + room

    def upward(self, low: float, high: float) -> tuple[float, float] | None:
        found = finite_span([self.y[self.seen & (self.x >= low) & (self.x <= high)]])
        if found is None:
            return None
        room = (found[1] - found[0]) * 0.06
        return found[0] - room, found[1] + room

    def place_of(self, time: float) -> float | None:
        return time if self.data.x.kind == "time" else None

    def time_of(self, x: float) -> float | None:
        return x if self.data.x.kind == "time" else None

    def nearest(self, x: float, y: float | None) -> int | None:
        if not self.seen.any():
            return None
        wide, high = self.px.size()
        away = ((self.x - x) / wide) ** 2 + (0 if y is None else ((self.y - y) / high) ** 2)
        return int(np.where(self.seen, away, np.inf).argmin())

    def read(self, x: float, y: float | None) -> _Found:
        at = self.nearest(x, y)
        if at is None:
            return None
        data = self.data
        words = [
            f"{data.x.name} {at_text(data.x, data.at_x[at])}",
            f"{data.y.name} {number_text(float(data.at_y[at]), self.panel.options.format)}",
        ]
        if data.color is not None and data.color_axis is not None:
            words.append(f"{data.color_axis.name} {at_text(data.color_axis, data.color[at])}")
        where = data.symbol[at] if data.symbol is not None else ""
        if data.time is not None and np.isfinite(data.time[at]):
            where = f"{where} {at_text(Axis(kind='time'), data.time[at])}".strip()
        color = self.ink.series(0) if self.which[at] < 0 else self.colors[self.which[at]]
        time = None if data.time is None else float(data.time[at])
        return Reading(where, {}, "   ".join(words), time), float(self.x[at]), [(self.x[at], self.y[at], color)]

    def pick(self, x: float, y: float) -> Pick | None:
        at = self.nearest(x, y)
        if at is None:
            return None
        time, symbol = self.data.time, self.data.symbol
        return Pick(
            times=(float(time[at]), float(time[at])) if time is not None and "time" in self.panel.links.sets else None,
            symbols=(symbol[at],) if symbol is not None and "symbol" in self.panel.links.sets else None,
        )

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        data = self.data
        names = [data.x.name or "x", data.y.name or "y"]
        columns: list[Sequence[Any]] = [
            [at_text(data.x, v) if data.x.kind != "number" else v for v in data.at_x.tolist()]
        ]
        columns.append(data.at_y.tolist())
        if data.color is not None and data.color_axis is not None:
            names.append(data.color_axis.name or "color")
            columns.append([at_text(data.color_axis, v) for v in data.color.tolist()])
        if data.symbol is not None:
            names.append("symbol")
            columns.append(data.symbol)
        if data.time is not None:
            names.append("time")
            columns.append([at_text(Axis(kind="time"), v) for v in data.time.tolist()])
        return names, columns


class _Steps(Shape):
    """A histogram: filled bars, and their outline where several lie over each other."""

    def __init__(self, ink: Ink, edges: Floats, tops: Floats, floor: float, color: QColor, *, several: bool) -> None:
        super().__init__()
        self._rects: list[QRectF] = []
        self._outline = QPainterPath()
        self._ink, self._color, self._several = ink, color, several
        before: float | None = None
        for low, high, top in zip(edges[:-1].tolist(), edges[1:].tolist(), tops.tolist(), strict=True):
            if not np.isfinite(top) or top <= floor:
                if before is not None:
                    self._outline.lineTo(low, floor)
                before = None
                continue
            self._rects.append(QRectF(low, floor, high - low, top - floor))
            if before is None:
                self._outline.moveTo(low, floor)
            self._outline.lineTo(low, top)
            self._outline.lineTo(high, top)
            before = high
        if before is not None:
            self._outline.lineTo(before, floor)

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(Qt.PenStyle.NoPen)
        light = QColor(self._color)
        light.setAlpha(50 if self._several else 165)
        painter.setBrush(light)
        painter.drawRects(self._rects)
        painter.setPen(self._ink.pen(self._color))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawPath(self._outline)


class Histogram(Chart):
    """The panel histogram."""

    panel: HistogramPanel
    data: Bins
    can_log = True

    def axes(self) -> tuple[PlainAxis, PlainAxis]:
        left = NumberAxis("left", self.ink, "integer", log=self.log)
        if self.data.x.kind == "number":
            return left, NumberAxis("bottom", self.ink, self.panel.options.format)
        return left, axis_for("bottom", self.ink, self.data.x)

    def titles(self) -> None:
        self.bottom.title(self.data.x.name, self.box.width())

    def entries(self) -> list[Entry]:
        if len(self.data.groups) < 2:
            return []
        return [
            Entry(one.name, self.ink.series(number), "box", number not in self.hidden)
            for number, one in enumerate(self.data.groups)
        ]

    def build(self) -> None:
        for number, one in enumerate(self.data.groups):
            if number in self.hidden:
                continue
            color = self.ink.series(number)
            tops = self.scaled(one.counts.astype(float))
            self.add(
                _Steps(
                    self.ink, self.data.edges, tops, -0.3 if self.log else 0.0, color, several=len(self.data.groups) > 1
                )
            )
            if self.panel.options.mean and np.isfinite(one.mean):
                self.add(pg.InfiniteLine(one.mean, 90, self.ink.pen(color.name(), 1.0, Qt.PenStyle.DashLine)))

    def across(self) -> tuple[float, float]:
        edges = self.data.edges
        if not len(edges):
            return 0.0, 1.0
        room = float(edges[-1] - edges[0]) * 0.02
        return float(edges[0]) - room, float(edges[-1]) + room

    def upward(self, low: float, high: float) -> tuple[float, float] | None:
        counts = [self.scaled(one.counts) for n, one in enumerate(self.data.groups) if n not in self.hidden]
        found = finite_span(counts)
        if found is None:
            return None
        return (-0.3, found[1] + 0.15) if self.log else (0.0, max(found[1], 1.0) * 1.08)

    def read(self, x: float, y: float | None) -> _Found:
        edges = self.data.edges
        if len(edges) < 2 or not edges[0] <= x <= edges[-1]:
            return None
        at = min(int(np.searchsorted(edges, x, "right")) - 1, len(edges) - 2)
        form = self.panel.options.format

        def word(value: float) -> str:
            return number_text(value, form) if self.data.x.kind == "number" else at_text(self.data.x, value)

        where = f"{word(float(edges[at]))} to {word(float(edges[at + 1]))}"
        values = {
            number: f"{one.counts[at]:,.0f}" for number, one in enumerate(self.data.groups) if number not in self.hidden
        }
        total = sum(float(one.counts.sum()) for one in self.data.groups)
        more = ""
        if len(self.data.groups) == 1:
            count = float(self.data.groups[0].counts[at])
            more = f"{count:,.0f} values, {count / total:.1%}" if total else ""
        return Reading(where, values, more), float(edges[at] + edges[at + 1]) / 2, []

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        edges = self.data.edges.tolist()
        return (
            ["from", "to", *(one.name or "count" for one in self.data.groups)],
            [edges[:-1], edges[1:], *(one.counts.tolist() for one in self.data.groups)],
        )


class _Boxes(Shape):
    """Boxes with whiskers at the whole numbers."""

    def __init__(self, chart: BoxChart, width: float) -> None:
        super().__init__()
        self._chart, self._width = chart, width

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        chart, half = self._chart, self._width / 2
        color = chart.ink.series(0)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        for at, (low, first, median, third, high, mean) in enumerate(zip(*chart.levels, strict=True)):
            painter.setPen(chart.ink.pen(color.name()))
            whiskers = [
                QLineF(at, a, at, b) for a, b in ((low, first), (third, high)) if np.isfinite(a) and np.isfinite(b)
            ]
            whiskers += [QLineF(at - half / 2, end, at + half / 2, end) for end in (low, high) if np.isfinite(end)]
            painter.drawLines(whiskers)
            if np.isfinite(first) and np.isfinite(third):
                painter.setBrush(chart.ink.wash(color, 60))
                painter.drawRect(QRectF(at - half, first, 2 * half, third - first))
            painter.setPen(chart.ink.pen(color.name(), 2.0))
            if np.isfinite(median):
                painter.drawLine(QLineF(at - half, median, at + half, median))
            if np.isfinite(mean):
                points = chart.px.points(np.array([float(at)]), np.array([mean]))
                paint_dots(painter, chart.px.corner(), points, QColor(chart.ink.tokens.text), 4.0)


class BoxChart(Chart):
    """The panel box."""

    panel: BoxPanel
    data: Boxes
    can_log = True

    def axes(self) -> tuple[PlainAxis, PlainAxis]:
        left = NumberAxis("left", self.ink, self.panel.options.format, log=self.log)
        return left, TextAxis("bottom", self.ink, self.data.labels)

    def titles(self) -> None:
        self.bottom.title(self.data.x.name, self.box.width())

    def build(self) -> None:
        data = self.data
        parts = (data.low, data.first, data.median, data.third, data.high, data.mean)
        self.levels = [self.scaled(one).tolist() for one in parts]
        self.outside: list[Floats] = []
        if self.panel.options.outliers:
            at = [np.full(len(one), float(number)) for number, one in enumerate(data.outliers)]
            self.outside = [self.scaled(one) for one in data.outliers]
            if at:
                tone = self.ink.series(0)
                tone.setAlpha(130)
                self.add(Dots(self, np.concatenate(at), np.concatenate(self.outside), tone, 3.0))
        self.add(_Boxes(self, 0.56))
        if not self.log:
            self.baselines = [0.0]

    def across(self) -> tuple[float, float]:
        return -0.6, max(len(self.data.labels), 1) - 0.4

    def upward(self, low: float, high: float) -> tuple[float, float] | None:
        found = finite_span([np.array(self.levels[0]), np.array(self.levels[4]), *self.outside])
        if found is None:
            return None
        room = (found[1] - found[0]) * 0.06
        return found[0] - room, found[1] + room

    def read(self, x: float, y: float | None) -> _Found:
        at = round(x)
        if not 0 <= at < len(self.data.labels):
            return None
        data, form = self.data, self.panel.options.format
        words = [
            f"{name} {number_text(float(values[at]), form)}"
            for name, values in (
                ("median", data.median),
                ("mean", data.mean),
                ("quartiles", data.first),
                ("to", data.third),
                ("whiskers", data.low),
                ("to", data.high),
            )
        ]
        return Reading(f"{data.labels[at]}   n {data.counts[at]:,.0f}", {}, "   ".join(words)), float(at), []

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        data = self.data
        names = ["label", "low", "first_quartile", "median", "third_quartile", "high", "mean", "count"]
        parts = (data.low, data.first, data.median, data.third, data.high, data.mean, data.counts)
        return names, [data.labels, *(one.tolist() for one in parts)]


class ParallelChart(Chart):
    """The panel parallel: a line for each row across one axis for each column."""

    panel: ParallelPanel
    data: Parallel

    def axes(self) -> tuple[PlainAxis, PlainAxis]:
        self.grid = (True, False)
        return _Silent("left", self.ink), TextAxis("bottom", self.ink, [one.name for one in self.data.axes])

    def build(self) -> None:
        data = self.data
        count = len(data.axes)
        self.ends: list[tuple[float, float]] = []
        self.shares = np.full(data.values.shape, np.nan)
        for column in range(count):
            self.shares[:, column], low, high = _shares(data.values[:, column])
            self.ends.append((low, high))
        which = np.full(len(data.values), _STEPS - 1)
        colors = [self.ink.series(0)] * _STEPS
        axis = data.color_axis
        if data.color is not None and axis is not None and axis.kind == "text":
            which = np.where(np.isfinite(data.color), np.nan_to_num(data.color), 0).astype(int) % 7
            colors = [self.ink.series(number) for number in range(7)]
        elif data.color is not None:
            share, low, high = _shares(data.color)
            which = np.where(np.isfinite(share), np.nan_to_num(share) * (_STEPS - 1), 0).astype(int)
            colors = self.ink.scale(False, _STEPS, slight=True)
            self.layout_.addItem(Scale(self.ink, False, low, high, slight=True), 0, 2)
        self.which, self.colors = which, colors
        few = len(data.values) <= 200
        alpha = 200 if len(data.values) <= 60 else 110 if len(data.values) <= 400 else 60
        places = np.arange(count, dtype=float)
        for color in np.unique(which).tolist():  # the highest last, above the others
            rows = self.shares[which == color]
            x = np.tile(np.concatenate((places, [count])), len(rows))
            y = np.concatenate((rows, np.full((len(rows), 1), np.nan)), axis=1).ravel()
            tone = QColor(colors[color])
            tone.setAlpha(alpha)
            pen = self.ink.pen(tone, 1.0 if few else 1 / self.ink.ratio)
            curve = pg.PlotCurveItem(x, y, pen=pen, connect="finite", antialias=True)
            curve.setSegmentedLineMode("off" if self.ink.fine else "on")
            self.add(curve)
        self.bright = pg.PlotCurveItem(pen=self.ink.pen(self.ink.tokens.text, 2.0), connect="finite", antialias=True)
        self.add(self.bright)
        self.add(_Ends(self))

    def across(self) -> tuple[float, float]:
        return -0.35, max(len(self.data.axes), 1) - 0.65

    def upward(self, low: float, high: float) -> tuple[float, float] | None:
        return -0.16, 1.12

    def read(self, x: float, y: float | None) -> _Found:
        if y is None or not len(self.shares):
            return None
        at = int(np.clip(np.floor(x), 0, max(0, len(self.data.axes) - 2)))
        part = np.clip(x - at, 0, 1)
        level = self.shares[:, at] * (1 - part) + self.shares[:, at + 1] * part
        if not np.isfinite(level).any():
            return None
        row = int(np.nanargmin(np.abs(level - y)))
        self.bright.setData(np.arange(len(self.data.axes), dtype=float), self.shares[row])
        words = [
            f"{axis.name} {at_text(axis, float(value))}"
            for axis, value in zip(self.data.axes, self.data.values[row], strict=True)
        ]
        if self.data.color is not None and self.data.color_axis is not None:
            words.append(f"{self.data.color_axis.name} {at_text(self.data.color_axis, float(self.data.color[row]))}")
        return Reading("", {}, "   ".join(words)), None, []

    def unpoint(self, *, own: bool = True) -> None:
        self.bright.setData([], [])
        super().unpoint(own=own)

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        names = [one.name for one in self.data.axes]
        columns: list[Sequence[Any]] = [
            [at_text(axis, v) if axis.kind != "number" else v for v in self.data.values[:, number].tolist()]
            for number, axis in enumerate(self.data.axes)
        ]
        if self.data.color is not None and self.data.color_axis is not None:
            names.append(self.data.color_axis.name or "color")
            columns.append([at_text(self.data.color_axis, v) for v in self.data.color.tolist()])
        return names, columns


class _Silent(NumberAxis):
    """No labels: each column has an axis of its own."""

    def ticks(self, low: float, high: float, size: float) -> list[tuple[float, str]]:
        return []


class _Ends(Shape):
    """The lowest and highest value of each axis, at its ends."""

    def __init__(self, chart: ParallelChart) -> None:
        super().__init__()
        self._chart = chart

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        chart = self._chart
        painter.setPen(chart.ink.pen(chart.ink.charts.axis))
        painter.drawLines([QLineF(at, 0, at, 1) for at in range(len(chart.ends))])
        painter.setPen(QColor(chart.ink.tokens.muted))
        painter.setFont(chart.ink.font(-1))
        for at, (low, high) in enumerate(chart.ends):
            for level, value, shift in ((0.0, low, 3.0), (1.0, high, -17.0)):
                painter.save()
                painter.setTransform(chart.px.around(at, level), True)
                words = at_text(chart.data.axes[at], value)
                painter.drawText(QRectF(-60, shift, 120, 14), Qt.AlignmentFlag.AlignCenter, words)
                painter.restore()
