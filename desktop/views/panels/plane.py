"""A plot with axes, grid and a range: what all drawings over two axes have in common."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QLineF, QPointF, QRectF, Qt
from PySide6.QtGui import (
    QBrush,
    QColor,
    QPainter,
    QPen,
    QResizeEvent,
    QTransform,
)
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

from desktop.views.panels.axes import NumberAxis, PlainAxis, TextAxis, TimeAxis
from desktop.views.panels.ink import Ink
from quarterdeck.report.shapes import Axis, Floats

__all__ = ["Cross", "Dots", "Lattice", "Plane", "Shape", "axis_for", "finite_span", "log10"]

_DAY = 86400.0


def log10(values: Floats) -> Floats:
    """Logarithms; NaN for what has none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values > 0, np.log10(np.where(values > 0, values, 1.0)), np.nan)


def finite_span(arrays: Sequence[Floats]) -> tuple[float, float] | None:
    """The lowest and highest of all finite values; None without any."""
    low, high = math.inf, -math.inf
    for array in arrays:
        good = array[np.isfinite(array)]
        if good.size:
            low, high = min(low, float(good.min())), max(high, float(good.max()))
    return (low, high) if low <= high else None


def axis_for(side: str, ink: Ink, axis: Axis, form: Any = "number", *, log: bool = False) -> PlainAxis:
    """The axis of a column's kind."""
    if axis.kind == "time":
        return TimeAxis(side, ink)
    if axis.kind == "text":
        return TextAxis(side, ink, axis.labels)
    return NumberAxis(side, ink, form, log=log)


class _Box(pg.ViewBox):  # type: ignore[misc]
    """The area of a plot. Dragging chooses a span, or moves the view with Shift or the middle button."""

    def __init__(self, chart: Plane) -> None:
        super().__init__(enableMenu=False, defaultPadding=0.0)
        self._chart = chart
        self.setMouseEnabled(x=False, y=False)
        self.disableAutoRange()

    def wheelEvent(self, event: Any, axis: int | None = None) -> None:
        event.ignore()

    def mouseDragEvent(self, event: Any, axis: int | None = None) -> None:
        if axis is not None:
            event.ignore()
            return
        event.accept()
        start = self.mapToView(event.buttonDownPos(event.button()))
        now, last = self.mapToView(event.pos()), self.mapToView(event.lastPos())
        moving = event.button() == Qt.MouseButton.MiddleButton or event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        if moving:
            self._chart.pan(last.x() - now.x())
        elif event.button() == Qt.MouseButton.LeftButton:
            self._chart.drag(start.x(), now.x(), done=event.isFinish())

    def mouseClickEvent(self, event: Any) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        event.accept()
        place = self.mapToView(event.pos())
        if not event.double():
            self._chart.click(place.x(), place.y())


class Pixels:
    """A box measured in pixels."""

    def __init__(self, box: Any) -> None:
        self._box = box

    def size(self) -> tuple[float, float]:
        """A pixel's width and height in the view's coordinates."""
        (x0, x1), (y0, y1) = self._box.viewRange()
        return (x1 - x0) / max(self._box.width(), 1.0), (y1 - y0) / max(self._box.height(), 1.0)

    def points(self, x: Floats, y: Floats) -> list[QPointF]:
        """Places of the view as pixels from its upper left corner."""
        (x0, _), (_, y1) = self._box.viewRange()
        wide, high = self.size()
        return [QPointF(a, b) for a, b in zip(((x - x0) / wide).tolist(), ((y1 - y) / high).tolist(), strict=True)]

    def corner(self) -> QTransform:
        """From pixels at the upper left corner, y downwards, to the view."""
        (x0, _), (_, y1) = self._box.viewRange()
        return self.around(x0, y1)

    def around(self, x: float, y: float) -> QTransform:
        """From pixels around a point, y downwards, to the view."""
        wide, high = self.size()
        return QTransform(wide, 0, 0, -high, x, y)


class Shape(pg.GraphicsObject):  # type: ignore[misc]
    """Something drawn over the whole view; its bounds never matter to the range."""

    def boundingRect(self) -> QRectF:
        return QRectF(self.viewRect())

    def viewRangeChanged(self) -> None:
        self.prepareGeometryChange()
        self.update()

    def dataBounds(self, *_: Any) -> None:
        return None


class Lattice(Shape):
    """The grid behind the drawing, and the spans that are marked."""

    def __init__(self, chart: Plane) -> None:
        super().__init__()
        self._chart = chart
        self.setZValue(-100)

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        chart, view, ink = self._chart, QRectF(self.viewRect()), self._chart.ink
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        for span, color in chart.bands:
            painter.fillRect(QRectF(span[0], view.top(), span[1] - span[0], view.height()), color)
        painter.setPen(ink.pen(ink.charts.grid))
        rows = chart.left.ticks(view.top(), view.bottom(), chart.box.height())
        if chart.grid[1]:
            painter.drawLines([QLineF(view.left(), at, view.right(), at) for at, _ in rows])
        columns = chart.bottom.ticks(view.left(), view.right(), chart.box.width())
        if chart.grid[0]:
            painter.drawLines([QLineF(at, view.top(), at, view.bottom()) for at, _ in columns])
        if chart.caption:
            painter.save()
            painter.setTransform(chart.px.corner(), True)
            painter.setFont(ink.font())
            painter.setPen(QColor(ink.tokens.muted))
            painter.drawText(QPointF(5, painter.fontMetrics().ascent() + 1), chart.caption)
            painter.restore()
        if chart.unseen:
            self._write(painter, chart)
        painter.setPen(ink.pen(ink.charts.axis))
        for at in chart.baselines:
            if view.top() <= at <= view.bottom():
                painter.drawLine(QLineF(view.left(), at, view.right(), at))

    @staticmethod
    def _write(painter: QPainter, chart: Plane) -> None:
        painter.save()
        painter.setTransform(chart.px.corner(), True)
        painter.setFont(chart.ink.font())
        painter.setPen(QColor(chart.ink.tokens.muted))
        words = "No value is above zero." if chart.log else "There is no value here."
        painter.drawText(QRectF(0, 0, chart.box.width(), chart.box.height()), Qt.AlignmentFlag.AlignCenter, words)
        painter.restore()


def paint_dots(
    painter: QPainter, view: QTransform, points: list[QPointF], color: QColor, size: float, *, smooth: bool = True
) -> None:
    """Round dots of that size in pixels; `points` are pixels of the view whose place `view` tells."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, smooth)
    painter.setTransform(view, True)
    painter.setPen(QPen(color, size, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    painter.drawPoints(points)
    painter.restore()


class Dots(Shape):
    """Round dots of one size (pixels) and colour: one call, and vectors on paper."""

    def __init__(self, chart: Plane, x: Floats, y: Floats, color: QColor, size: float) -> None:
        super().__init__()
        good = np.isfinite(x) & np.isfinite(y)
        self._chart, self._x, self._y, self._color, self._size = chart, x[good], y[good], color, size

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        points = self._chart.px.points(self._x, self._y)
        # fine pixels need no smoothing, which would take long for many
        smooth = len(points) < 200 or self._chart.ink.ratio < 1.5
        paint_dots(painter, self._chart.px.corner(), points, self._color, self._size, smooth=smooth)


class Cross(Shape):
    """The pointer's lines and the dots at what it reads."""

    def __init__(self, chart: Plane) -> None:
        super().__init__()
        self._chart = chart
        self._ink = chart.ink
        self.at: float | None = None
        self.level: float | None = None
        self.dots: list[tuple[float, float, QColor]] = []
        self.setZValue(100)

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        view = QRectF(self.viewRect())
        painter.setPen(self._ink.pen(self._ink.tokens.faint, 1.0, Qt.PenStyle.DashLine))
        if self.at is not None and view.left() <= self.at <= view.right():
            painter.drawLine(QLineF(self.at, view.top(), self.at, view.bottom()))
        if self.level is not None and view.top() <= self.level <= view.bottom():
            painter.drawLine(QLineF(view.left(), self.level, view.right(), self.level))
        for x, y, color in self.dots:
            if view.contains(QPointF(x, y)):
                at = self._chart.px.points(np.array([x]), np.array([y]))
                paint_dots(painter, self._chart.px.corner(), at, QColor(self._ink.tokens.surface), 9.0)
                paint_dots(painter, self._chart.px.corner(), at, color, 6.0)


class Plane(pg.GraphicsView):  # type: ignore[misc]
    """The axes, the items and the range of a drawing. Subclasses make them and tell the bounds.

    Their coordinates are the view's: on a logarithmic scale, logarithms.
    """

    def __init__(self, panel: Any, data: Any, ink: Ink) -> None:
        self._ready = False
        super().__init__(background=None)
        self.panel = panel
        self.data = data
        self.ink = ink
        self.hidden: set[int] = set()
        self.log = bool(getattr(panel.options, "log", False))
        self.span: tuple[float, float] | None = None
        self.bands: list[tuple[tuple[float, float], QBrush]] = []
        self.baselines: list[float] = []
        self.caption = ""
        self.unseen = False
        self.grid = (False, True)
        self.times: tuple[float, float] | None = None
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(panel.title or panel.id)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent, False)
        self._fitting = False
        self.draw()

    # What a subclass tells

    def axes(self) -> tuple[PlainAxis, PlainAxis]:
        """The left and the bottom axis."""
        raise NotImplementedError

    def build(self) -> None:
        """Add the items to the box."""
        raise NotImplementedError

    def across(self) -> tuple[float, float]:
        """From where to where x goes."""
        raise NotImplementedError

    def upward(self, low: float, high: float) -> tuple[float, float] | None:
        """From where to where y goes while x is seen from low to high; None without values."""
        raise NotImplementedError

    def place_of(self, time: float) -> float | None:
        """Where on x a time is; None where x has no times."""
        return None

    def time_of(self, x: float) -> float | None:
        """The time at x; None where x has no times."""
        return None

    # Drawing

    def draw(self) -> None:
        """Make axes and items."""
        self._ready = False
        self.setBackground(self.ink.tokens.surface)
        self.layout_ = pg.GraphicsLayout()
        self.layout_.setContentsMargins(2, 6, 14, 2)
        self.layout_.setSpacing(0)
        self.box = _Box(self)
        self.px = Pixels(self.box)
        self.left, self.bottom = self.axes()
        self.layout_.addItem(self.left, 0, 0)
        self.layout_.addItem(self.box, 0, 1)
        self.layout_.addItem(self.bottom, 2, 1)
        self.layout_.layout.setColumnStretchFactor(1, 1)
        self.layout_.layout.setRowStretchFactor(0, 100)
        for axis in (self.left, self.bottom):
            axis.linkToView(self.box)
            axis.setZValue(0.5)
        self.setCentralWidget(self.layout_)
        self.bands = []
        self.baselines = []
        self.cross = Cross(self)
        self.box.addItem(Lattice(self), ignoreBounds=True)
        self.build()
        self.box.addItem(self.cross, ignoreBounds=True)
        self.box.sigXRangeChanged.connect(self.fit)
        self.titles()
        self.mark_times(self.times)
        self.show_span()
        self._ready = True

    def redraw(self) -> None:
        """Build everything anew, as after a change of colours or scale."""
        self.box.sigXRangeChanged.disconnect(self.fit)
        self.draw()
        self.fit()
        self.titles()

    def add(self, item: Any) -> None:
        """Add an item to the box; it never changes the range."""
        self.box.addItem(item, ignoreBounds=True)

    def whole(self) -> tuple[float, float]:
        low, high = self.across()
        if not (math.isfinite(low) and math.isfinite(high)):
            return (0.0, 1.0)
        if high <= low:
            room = _DAY if isinstance(self.bottom, TimeAxis) and self.bottom.times is None else 0.5
            return low - room, high + room
        return low, high

    def show_span(self) -> None:
        low, high = self.span or self.whole()
        self.box.setXRange(low, high, padding=0)
        self.fit()

    def fit(self, *_: Any) -> None:
        if self._fitting:
            return
        self._fitting = True
        try:
            (low, high), _y = self.box.viewRange()
            bounds = self.upward(low, high)
            self.unseen = bounds is None
            if bounds is None:
                bounds = (0.0, 1.0)
            bottom, top = bounds
            if not top > bottom:
                room = abs(top) * 0.1 or 1.0
                bottom, top = bottom - room, top + room
            self.box.setYRange(bottom, top, padding=0)
            self.left.fit(bottom, top, max(self.box.height(), 60.0))
        finally:
            self._fitting = False

    def titles(self) -> None:
        """Names at the axes, where they need one."""

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._ready:
            self.fit()
            self.titles()

    def mark_times(self, times: tuple[float, float] | None) -> None:
        self.times = times
        self.bands = []
        if times is not None:
            low, high = self.place_of(times[0]), self.place_of(times[1])
            if low is not None and high is not None:
                (first, last), _ = self.box.viewRange()
                least = (last - first) / 400
                if high - low < least:
                    low, high = (low + high - least) / 2, (low + high + least) / 2
                self.bands.append(((low, high), self.ink.wash(QColor(self.ink.tokens.accent), 40)))
        self.viewport().update()

    # The range

    def zoom(self, factor: float, at: float | None = None) -> None:
        (low, high), _ = self.box.viewRange()
        middle = (low + high) / 2 if at is None else at
        self.look(middle - (middle - low) * factor, middle + (high - middle) * factor)

    def pan(self, distance: float) -> None:
        """Move the view along x, not beyond the ends."""
        (low, high), _ = self.box.viewRange()
        first, last = self.whole()
        distance = min(max(distance, first - low), last - high)
        if distance and math.isfinite(distance):
            self.look(low + distance, high + distance)

    def look(self, low: float, high: float) -> None:
        first, last = self.whole()
        low, high = max(first, low), min(last, high)
        if not high - low > (last - first) * 1e-5:
            return
        self.span = None if (low, high) == (first, last) else (low, high)
        self.show_span()

    def reset(self) -> None:
        self.span = None
        self.show_span()

    def scaled(self, values: Floats) -> Floats:
        """Values as they stand at the axis."""
        return log10(values) if self.log else values

    def finish(self) -> None:
        """Nothing is drawn any more."""
        self._ready = False
        self._fitting = True
        self.close()

    def drag(self, start: float, now: float, *, done: bool) -> None:
        """A span of x is being dragged."""

    def click(self, x: float, y: float) -> None:
        """A place was clicked."""
