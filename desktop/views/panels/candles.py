"""Prices as candles, with volume below and signals at their prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPolygonF
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from desktop.views.panels.axes import NumberAxis, PlainAxis, TimeAxis, number_text, time_text
from desktop.views.panels.chart import Chart
from desktop.views.panels.drawing import Entry, Pick, Reading
from desktop.views.panels.plane import Shape, finite_span
from quarterdeck.report.shapes import Candles, Floats, Marks
from quarterdeck.report.template import CandlestickPanel

__all__ = ["CandleChart"]

_DAY = 86400.0
_UP = frozenset({"buy", "long", "entry", "open", "cover", "enter"})


class _Bodies(Shape):
    """Wicks and bodies of the bars in view; rising ones are hollow, so that colour is not all that tells."""

    def __init__(self, chart: CandleChart) -> None:
        super().__init__()
        self._chart = chart

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        chart, view = self._chart, self.viewRect()
        first = max(0, int(np.floor(view.left())) - 1)
        stop = min(len(chart.data.time), int(np.ceil(view.right())) + 2)
        opens, highs, lows, closes = (one[first:stop].tolist() for one in chart.levels)
        wide, _ = chart.px.size()
        narrow = 1 / wide < 3.0  # pixels a bar: too few for a body
        half = 0.34
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        for rising in (True, False):
            wicks: list[QLineF] = []
            bodies: list[QRectF] = []
            for at, (begin, high, low, end) in enumerate(zip(opens, highs, lows, closes, strict=True), first):
                if not (begin == begin and end == end) or (end >= begin) != rising:
                    continue
                bottom, top = (begin, end) if rising else (end, begin)
                if narrow:
                    wicks.append(QLineF(at, low, at, high))
                    continue
                if high > top:
                    wicks.append(QLineF(at, top, at, high))
                if low < bottom:
                    wicks.append(QLineF(at, low, at, bottom))
                if top == bottom:
                    wicks.append(QLineF(at - half, top, at + half, top))
                else:
                    bodies.append(QRectF(at - half, bottom, 2 * half, top - bottom))
            color = QColor(chart.ink.charts.rise if rising else chart.ink.charts.fall)
            painter.setPen(chart.ink.pen(color.name()))
            painter.drawLines(wicks)
            painter.setBrush(QColor(chart.ink.tokens.surface) if rising and not chart.dense else color)
            painter.drawRects(bodies)


class _Volume(Shape):
    """Volumes in the lowest part of the view, at a scale of their own."""

    def __init__(self, chart: CandleChart, volume: Floats) -> None:
        super().__init__()
        self._chart, self._volume = chart, volume
        self.setZValue(-50)

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        chart, view = self._chart, QRectF(self.viewRect())
        first = max(0, int(np.floor(view.left())) - 1)
        stop = min(len(self._volume), int(np.ceil(view.right())) + 2)
        part = np.nan_to_num(self._volume[first:stop])
        most = float(part.max(initial=0.0))
        if most <= 0:
            return
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        painter.setPen(Qt.PenStyle.NoPen)
        heights = part / most * view.height() * 0.16
        rising = (chart.data.close >= chart.data.open)[first:stop]
        for up, color in ((True, chart.ink.charts.rise), (False, chart.ink.charts.fall)):
            painter.setBrush(chart.ink.wash(QColor(color), 90))
            painter.drawRects(
                [
                    QRectF(at + first - 0.34, view.top(), 0.68, heights[at])
                    for at in np.flatnonzero(rising == up).tolist()
                ]
            )


class _Signals(Shape):
    """Triangles of one kind of signal."""

    def __init__(self, chart: CandleChart, x: Floats, y: Floats, color: QColor, *, up: bool) -> None:
        super().__init__()
        self._chart, self._color = chart, color
        self._points = list(zip(x.tolist(), y.tolist(), strict=True))
        side = 1.0 if up else -1.0  # a buy points up from below, a sale down from above
        self._shape = QPolygonF([QPointF(0, 2 * side), QPointF(5.2, 11 * side), QPointF(-5.2, 11 * side)])
        self.setZValue(20)

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        view = QRectF(self.viewRect())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(self._color)
        painter.setPen(self._chart.ink.pen(self._chart.ink.tokens.surface))
        for x, y in self._points:
            if view.left() <= x <= view.right() and y == y:
                painter.drawPolygon(self._chart.px.around(x, y).map(self._shape))


class CandleChart(Chart):
    """The panel candlestick. Bars stand beside each other whatever time lies between them."""

    panel: CandlestickPanel
    data: Candles
    can_log = True

    def axes(self) -> tuple[PlainAxis, PlainAxis]:
        left = NumberAxis("left", self.ink, self.panel.options.format, log=self.log)
        if (span := finite_span([self.data.low])) is not None and span[0] >= 0:
            left.floor = 0.0  # the room for volumes may lie below
        return left, TimeAxis("bottom", self.ink, self.data.time)

    def entries(self) -> list[Entry]:
        return [
            Entry(one.kind, self._color(number), "up" if _is_up(one) else "down", number not in self.hidden)
            for number, one in enumerate(self.data.signals)
        ]

    def _color(self, number: int) -> QColor:
        kinds = [_is_up(one) for one in self.data.signals]
        if len(kinds) == 2 and kinds[0] != kinds[1]:  # buy and sell
            return self.ink.series(0 if kinds[number] else 1)
        return self.ink.series(number)

    def build(self) -> None:
        data = self.data
        self.levels = [self.scaled(one) for one in (data.open, data.high, data.low, data.close)]
        self.dense = len(data.time) > 1_500
        if data.volume is not None:
            self.add(_Volume(self, data.volume))
        self.add(_Bodies(self))
        for number, one in enumerate(data.signals):
            if number not in self.hidden:
                x = np.array([self._bar(time) for time in one.time.tolist()])
                self.add(_Signals(self, x, self.scaled(one.price), self._color(number), up=_is_up(one)))

    def _bar(self, time: float) -> float:
        """The bar that a time falls into; NaN outside."""
        times = self.data.time
        if not len(times) or time < times[0]:
            return float("nan")
        at = int(np.searchsorted(times, time, "right")) - 1
        return float(at) if time <= times[-1] + max(self.data.width, _DAY) else float("nan")

    def place_of(self, time: float) -> float | None:
        if not len(self.data.time):
            return None
        return float(np.clip(np.searchsorted(self.data.time, time, "right") - 1, 0, len(self.data.time) - 1))

    def time_of(self, x: float) -> float | None:
        if not len(self.data.time):
            return None
        return float(self.data.time[int(np.clip(round(x), 0, len(self.data.time) - 1))])

    def across(self) -> tuple[float, float]:
        return -0.8, max(len(self.data.time), 1) - 0.2

    def upward(self, low: float, high: float) -> tuple[float, float] | None:
        first, stop = max(0, int(np.floor(low))), int(np.ceil(high)) + 1
        found = finite_span([one[first:stop] for one in self.levels])
        if found is None:
            return None
        room = (found[1] - found[0]) * 0.06
        below = (found[1] - found[0]) * 0.22 if self.data.volume is not None else room
        return found[0] - below, found[1] + room

    def read(self, x: float, y: float | None) -> tuple[Reading, float | None, list[tuple[float, float, QColor]]] | None:
        at = round(x)
        data = self.data
        if not 0 <= at < len(data.time):
            return None
        form = self.panel.options.format
        words = [
            f"{name} {number_text(float(values[at]), form)}"
            for name, values in (("O", data.open), ("H", data.high), ("L", data.low), ("C", data.close))
        ]
        if data.volume is not None:
            words.append(f"V {number_text(float(data.volume[at]), 'integer')}")
        marks: dict[int, str] = {}
        for number, one in enumerate(data.signals):
            here = [where for where, time in enumerate(one.time.tolist()) if self._bar(time) == at]
            if here and number not in self.hidden:
                size = float(one.size[here[0]])
                sized = f"{number_text(size)} at " if np.isfinite(size) else ""
                marks[number] = f"{sized}{number_text(float(one.price[here[0]]), form)}"
        time = float(data.time[at])
        return Reading(time_text(time), marks, "   ".join(words), time), float(at), []

    def pick(self, x: float, y: float) -> Pick | None:
        time = self.time_of(x)
        if time is None or "time" not in self.panel.links.sets:
            return None
        return Pick(times=(time, time + _DAY - 1e-3) if time % _DAY == 0 else (time, time))

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        data = self.data
        names = ["time", "open", "high", "low", "close"]
        columns: list[Sequence[Any]] = [[time_text(one) for one in data.time.tolist()]]
        columns += [one.tolist() for one in (data.open, data.high, data.low, data.close)]
        if data.volume is not None:
            names.append("volume")
            columns.append(data.volume.tolist())
        return names, columns


def _is_up(marks: Marks) -> bool:
    return any(word in _UP for word in marks.kind.lower().replace("-", " ").replace("_", " ").split())
