"""Lines, areas and bars over time, numbers or texts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPolygonF
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from desktop.views.panels.axes import NumberAxis, PlacesAxis, PlainAxis, number_text, time_text
from desktop.views.panels.chart import Chart
from desktop.views.panels.drawing import Entry, Pick, Reading
from desktop.views.panels.plane import Dots, Shape, axis_for, finite_span
from quarterdeck.report.shapes import Axis, Bars, Floats, Lines, Series
from quarterdeck.report.template import AreaPanel, BarPanel, LinePanel

__all__ = ["BarChart", "LineChart", "at_text", "thinned"]

_DAY = 86400.0


def at_text(axis: Axis, value: float) -> str:
    """A value of that axis in a read-out."""
    if axis.kind == "time":
        return time_text(value)
    if axis.kind == "text":
        place = round(value)
        return axis.labels[place] if 0 <= place < len(axis.labels) else ""
    return number_text(value)


def thinned(x: Floats, y: Floats, most: int) -> tuple[Floats, Floats]:
    """At most some `most` points, of which each stretch keeps its lowest, highest and a gap."""
    if len(x) <= most:
        return x, y
    size = -(-len(x) // max(1, most // 2))
    padded = np.full(-(-len(x) // size) * size, np.nan)
    padded[: len(y)] = y
    parts = padded.reshape(-1, size)
    good = np.isfinite(parts)
    first = np.arange(len(parts)) * size
    low = first + np.where(good, parts, np.inf).argmin(axis=1)
    high = first + np.where(good, parts, -np.inf).argmax(axis=1)
    keep = np.unique(np.concatenate((low, high)))
    return x[keep], y[keep]


class _Fill(Shape):
    """Areas between a lower and an upper line, with gaps where either has one."""

    def __init__(self, x: Floats, low: Floats, high: Floats, brush: Any, *, fine: bool) -> None:
        super().__init__()
        self._brush = brush
        self._path = QPainterPath()
        self._parts: list[QPolygonF] = []
        good = np.isfinite(low) & np.isfinite(high)
        edges = np.flatnonzero(np.diff(np.concatenate(([0], good.view(np.int8), [0]))))
        for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            if stop - first > 150 and not fine:
                # part by part: a polygon of a thousand corners takes a third of a second as a whole
                sides = zip(*(one[first:stop].tolist() for one in (x, low, high)), strict=True)
                edges_ = [(QPointF(a, b), QPointF(a, c)) for a, b, c in sides]
                self._parts += [QPolygonF([*one, *other[::-1]]) for one, other in pairwise(edges_)]
                continue
            xs = np.concatenate((x[first:stop], x[first:stop][::-1]))
            ys = np.concatenate((high[first:stop], low[first:stop][::-1]))
            self._path.addPolygon([QPointF(a, b) for a, b in zip(xs.tolist(), ys.tolist(), strict=True)])

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._brush)
        painter.drawPath(self._path)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        for part in self._parts:
            painter.drawConvexPolygon(part)


class _Together(Chart):
    """What line and bar charts share: a legend of series, reading at the nearest place, picking."""

    panel: LinePanel | AreaPanel | BarPanel
    data: Lines | Bars
    can_log = True

    def entries(self) -> list[Entry]:
        if len(self.data.series) < 2 and not any(one.group for one in self.data.series):
            return []
        mark: Any = "line" if isinstance(self.data, Lines) else "box"
        return [
            Entry(self._name(one), self.ink.series(number), mark, number not in self.hidden)
            for number, one in enumerate(self.data.series)
        ]

    def _name(self, one: Series) -> str:
        """A series' name; a number alone says nothing: the column's name stands before it."""
        split = self.panel.fields.color
        bare = one.name.replace(".", "", 1).lstrip("-").isdigit()
        return f"{split} {one.name}" if split and bare else one.name

    def shown(self) -> list[tuple[int, Series]]:
        return [(number, one) for number, one in enumerate(self.data.series) if number not in self.hidden]

    def place_of(self, time: float) -> float | None:
        return time if self.data.x.kind == "time" else None

    def time_of(self, x: float) -> float | None:
        return x if self.data.x.kind == "time" else None

    def nearest(self, x: float) -> float | None:
        """The place of a value that is nearest to x."""
        best: float | None = None
        for _, one in self.shown():
            if not len(one.x):
                continue
            at = int(np.searchsorted(one.x, x))
            for near in (max(0, at - 1), min(len(one.x) - 1, at)):
                value = float(one.x[near])
                if best is None or abs(value - x) < abs(best - x):
                    best = value
        return best

    def level(self, number: int, one: Series, place: int) -> float:
        """Where the series stands at the y axis."""
        return float(self.scaled(one.y[place : place + 1])[0])

    def read(self, x: float, y: float | None) -> tuple[Reading, float | None, list[tuple[float, float, QColor]]] | None:
        best = self.nearest(x)
        if best is None:
            return None
        values: dict[int, str] = {}
        dots: list[tuple[float, float, QColor]] = []
        for number, one in self.shown():
            place = int(np.searchsorted(one.x, best))
            if place < len(one.x) and one.x[place] == best:
                values[number] = number_text(float(one.y[place]), self.panel.options.format)
                dots.append((best, self.level(number, one, place), self.ink.series(number)))
        more = "" if self.entries() else next(iter(values.values()), "")
        return Reading(at_text(self.data.x, best), values, more, self.time_of(best)), best, dots

    def pick(self, x: float, y: float) -> Pick | None:
        best = self.nearest(x)
        if best is None:
            return None
        times = symbols = None
        if "time" in self.panel.links.sets and self.data.x.kind == "time":
            times = (best, best + _DAY - 1e-3) if best % _DAY == 0 else (best, best)
        if "symbol" in self.panel.links.sets:
            found = [
                (abs(self.level(number, one, place) - y), one.group)
                for number, one in self.shown()
                if one.group and (place := min(int(np.searchsorted(one.x, best)), len(one.x) - 1)) >= 0
            ]
            symbols = (min(found)[1],) if found else None
        return None if times is None and symbols is None else Pick(times, symbols)

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        names, xs, ys = [], [], []
        for one in self.data.series:
            names += [one.name] * len(one.x)
            xs += [at_text(self.data.x, value) if self.data.x.kind != "number" else value for value in one.x.tolist()]
            ys += [value if np.isfinite(value) else None for value in one.y.tolist()]
        return ["series", self.data.x.name or "x", "value"], [names, xs, ys]


class LineChart(_Together):
    """The panels line and area."""

    panel: LinePanel | AreaPanel
    data: Lines

    def axes(self) -> tuple[PlainAxis, PlainAxis]:
        left = NumberAxis("left", self.ink, self.panel.options.format, log=self.log)
        return left, axis_for("bottom", self.ink, self.data.x)

    def build(self) -> None:
        options = self.panel.options
        length = self._length()
        self.drawn: list[tuple[int, Floats, Floats]] = []
        self.curves: list[tuple[pg.PlotCurveItem, Floats, Floats]] = []
        below: Floats | None = None
        places = np.empty(0)
        stacked = isinstance(self.panel, AreaPanel) and self.panel.options.stacked
        if stacked:
            places = np.unique(np.concatenate([one.x for _, one in self.shown()] or [np.empty(0)]))
        for number, one in self.shown():
            pen = self.ink.series_pen(number, length)
            x, y = one.x, one.y
            if stacked:
                at = np.searchsorted(places, x)
                filled = np.zeros(len(places))
                filled[at] = np.nan_to_num(y)
                floor = np.zeros(len(places)) if below is None else below
                x, y, below = places, floor + filled, floor + filled
                self._area(x, self.scaled(floor), self.scaled(y), number, 150)
            elif isinstance(self.panel, AreaPanel):
                floor = np.full(len(x), options.baseline or 0.0)
                self._area(x, self.scaled(floor), self.scaled(y), number, 46 if len(self.data.series) > 1 else 60)
            y = self.scaled(y)
            if self.ink.fine:
                x, y = thinned(x, y, 1400)
            self._line(x, y, pen, number)
            self.drawn.append((number, x, y))
            if isinstance(self.panel, LinePanel) and self.panel.options.mean and np.isfinite(one.mean):
                mean = float(self.scaled(np.array([one.mean]))[0])
                if np.isfinite(mean):
                    dash = self.ink.pen(self.ink.series(number).name(), 1.0, Qt.PenStyle.DashLine)
                    self.add(pg.InfiniteLine(mean, 0, dash))
        self.baselines = [0.0] if not self.log else []
        if options.baseline is not None:
            level = float(self.scaled(np.array([options.baseline]))[0])
            self.baselines.append(level)

    def _length(self) -> float:
        """How many pixels long all lines are together, on a plot of 1,200 by 250."""
        seen = [self.scaled(one.y) for _, one in self.shown()]
        span = finite_span(seen)
        if span is None or not span[1] > span[0]:
            return 0.0
        with np.errstate(all="ignore"):
            ups = sum(float(np.nansum(np.abs(np.diff(one / (span[1] - span[0]))))) for one in seen)
        return ups * 250 + 1_200 * len(seen) if np.isfinite(ups) else 0.0

    def _line(self, x: Floats, y: Floats, pen: Any, number: int) -> None:
        step = isinstance(self.panel, LinePanel) and self.panel.options.step
        if len(x):
            curve = pg.PlotCurveItem(x, y, pen=pen, connect="finite", stepMode="right" if step else None)
            # each stretch by itself: a wide line with a thousand turns takes a fifth of a second as a whole
            curve.setSegmentedLineMode("off" if self.ink.fine else "on")
            curve.opts["antialias"] = True
            self.add(curve)
            self.curves.append((curve, x, y))
        # a value between two gaps is no line: it is shown as a dot
        good = np.isfinite(y)
        around = np.concatenate(([False], good, [False]))
        alone = good & ~around[:-2] & ~around[2:]
        wanted = isinstance(self.panel, LinePanel) and self.panel.options.points and len(x) <= 500
        if wanted or alone.any():
            which = good if wanted else alone
            self.add(Dots(self, x[which], y[which], self.ink.series(number), 4.5 if wanted else 3.5))

    def fit(self, *_: Any) -> None:
        """Of lines with more points than pixels, only what can be seen is painted."""
        super().fit()
        (low, high), _y = self.box.viewRange()
        most = max(600, int(2 * self.box.width()))
        for curve, x, y in self.curves:
            if len(x) > most and not self.ink.fine:
                first = max(0, int(np.searchsorted(x, low)) - 1)
                part = slice(first, int(np.searchsorted(x, high, "right")) + 1)
                curve.setData(*thinned(x[part], y[part], most))

    def _area(self, x: Floats, low: Floats, high: Floats, number: int, alpha: int) -> None:
        if self.log:  # there is no zero: down to the lowest value
            span = finite_span([self.scaled(one.y) for _, one in self.shown()])
            low = np.where(np.isfinite(low), low, span[0] if span else 0.0)
        if len(x) > 1400:
            x2, high = thinned(x, high, 1400)
            low = np.interp(x2, x, low)
            x = x2
        self.add(_Fill(x, low, high, self.ink.wash(self.ink.series(number), alpha), fine=self.ink.fine))

    def level(self, number: int, one: Series, place: int) -> float:
        for which, x, y in self.drawn:  # stacked ones stand on the others
            if which == number:
                at = int(np.searchsorted(x, one.x[place]))
                return float(y[at]) if at < len(x) and x[at] == one.x[place] else float("nan")
        return float("nan")

    def across(self) -> tuple[float, float]:
        span = finite_span([one.x for one in self.data.series]) or (0.0, 0.0)
        if self.data.x.kind == "text":
            return span[0] - 0.5, span[1] + 0.5
        return span

    def upward(self, low: float, high: float) -> tuple[float, float] | None:
        seen: list[Floats] = []
        for _, x, y in self.drawn:
            first = max(0, int(np.searchsorted(x, low)) - 1)
            seen.append(y[first : int(np.searchsorted(x, high, "right")) + 1])
        found = finite_span(seen)
        if found is None:
            return None
        bottom, top = found
        if isinstance(self.panel, AreaPanel) and not self.log:
            bottom, top = min(bottom, self.panel.options.baseline or 0.0), max(top, self.panel.options.baseline or 0.0)
        room = (top - bottom) * 0.06
        return bottom - room, top + room


class _BarItems(Shape):
    """Bars of one series, without outlines."""

    def __init__(self, rects: list[QRectF], color: QColor) -> None:
        super().__init__()
        self._rects = rects
        self._color = color

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, len(self._rects) < 400)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._color)
        painter.drawRects(self._rects)


class BarChart(_Together):
    """The panel bar: beside each other, stacked, or lying."""

    panel: BarPanel
    data: Bars

    @property
    def lying(self) -> bool:
        return self.panel.options.horizontal

    def _along(self, side: str) -> PlainAxis:
        places = np.unique(np.concatenate([one.x for one in self.data.series] or [np.empty(0)]))
        if self.data.x.kind == "number" and 0 < len(places) <= 40 and np.isfinite(places).all():
            return PlacesAxis(side, self.ink, places)
        return axis_for(side, self.ink, self.data.x)

    def axes(self) -> tuple[PlainAxis, PlainAxis]:
        form = self.panel.options.format
        if self.lying:
            self.box.invertY(True)
            self.grid = (True, False)
            return self._along("left"), NumberAxis("bottom", self.ink, form, log=self.log)
        return NumberAxis("left", self.ink, form, log=self.log), self._along("bottom")

    def build(self) -> None:
        shown = self.shown()
        stacked = self.panel.options.stacked
        width = self.data.width * 0.78
        each = width if stacked else width / max(1, len(shown))
        floor = self._floor()
        rise: dict[float, float] = {}
        fall: dict[float, float] = {}
        self.tops: list[tuple[int, Floats, Floats]] = []
        for order, (number, one) in enumerate(shown):
            rects: list[QRectF] = []
            ends: list[float] = []
            for x, y in zip(one.x.tolist(), one.y.tolist(), strict=True):
                start, end = floor, y
                if stacked:
                    pile = rise if y >= 0 else fall
                    start = pile.get(x, 0.0)
                    end = start + y
                    if np.isfinite(y):
                        pile[x] = end
                low, high = self.scaled(np.array([start, end], dtype=float)).tolist()
                ends.append(high)
                if self.log and not np.isfinite(low):
                    low = floor
                if np.isfinite(low) and np.isfinite(high):
                    begin = x - width / 2 + (0 if stacked else order * each)
                    if self.lying:
                        rects.append(QRectF(min(low, high), begin, abs(high - low), each * 0.96))
                    else:
                        rects.append(QRectF(begin, min(low, high), each * 0.96, abs(high - low)))
            self.add(_BarItems(rects, self.ink.series(number)))
            self.tops.append((number, one.x, np.array(ends, dtype=float)))
        if not self.log and not self.lying:
            self.baselines = [0.0]

    def _floor(self) -> float:
        if not self.log:
            return self.panel.options.baseline or 0.0
        span = finite_span([self.scaled(one.y) for _, one in self.shown()])
        return span[0] - max(0.05, (span[1] - span[0]) * 0.05) if span else 0.0

    def level(self, number: int, one: Series, place: int) -> float:
        return next((float(ends[place]) for which, _, ends in self.tops if which == number), float("nan"))

    def read(self, x: float, y: float | None) -> tuple[Reading, float | None, list[tuple[float, float, QColor]]] | None:
        if self.lying:
            if y is None:
                return None
            found = super().read(y, None)
            return None if found is None else (found[0], None, [])
        found = super().read(x, y)
        return None if found is None else (found[0], found[1], [])

    def across(self) -> tuple[float, float]:
        return self._values(-np.inf, np.inf) or (0.0, 1.0) if self.lying else self._places()

    def upward(self, low: float, high: float) -> tuple[float, float] | None:
        return self._places() if self.lying else self._values(low, high)

    def _places(self) -> tuple[float, float]:
        span = finite_span([one.x for one in self.data.series]) or (0.0, 0.0)
        room = self.data.width * 0.5
        return span[0] - room, span[1] + room

    def _values(self, low: float, high: float) -> tuple[float, float] | None:
        seen = [ends[(x >= low - self.data.width) & (x <= high + self.data.width)] for _, x, ends in self.tops]
        found = finite_span([*seen, np.array([self._floor()])])
        if found is None or not any(np.isfinite(one).any() for one in seen):
            return None
        room = (found[1] - found[0]) * 0.06
        return (found[0] - (room if found[0] < 0 or self.log else 0.0), found[1] + (room if found[1] > 0 else 0.0))
