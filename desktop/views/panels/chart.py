"""A plot that is read and worked with: crosshair, choosing, zooming by mouse and keys."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QRectF, Qt, Signal
from PySide6.QtGui import QColor, QContextMenuEvent, QKeyEvent, QMouseEvent, QPainter, QWheelEvent

from desktop.views.panels.drawing import Drawing, Pick, Reading, State
from desktop.views.panels.ink import Ink
from desktop.views.panels.plane import Plane

__all__ = ["Chart"]

_Dots = list[tuple[float, float, QColor]]


class Chart(Plane, Drawing):
    """A drawing over two axes, with what is read and picked in it."""

    pointed = Signal(object)
    picked = Signal(object)
    can_zoom = True

    def read(self, x: float, y: float | None) -> tuple[Reading, float | None, _Dots] | None:
        """What is at that place: the reading, the crosshair's x, and the dots."""
        return None

    def pick(self, x: float, y: float) -> Pick | None:
        """What a click there selects."""
        return None

    # Reading and choosing

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        super().mouseMoveEvent(event)
        if event.buttons() == Qt.MouseButton.NoButton:
            place = self.mapToScene(event.position().toPoint())
            if self.box.sceneBoundingRect().contains(place):
                at = self.box.mapSceneToView(place)
                self.point(at.x(), at.y())
            else:
                self.unpoint()

    def leaveEvent(self, event: Any) -> None:
        super().leaveEvent(event)
        self.unpoint()

    def point(self, x: float, y: float | None, *, own: bool = True) -> None:
        """Show the crosshair and tell what is there."""
        found = self.read(x, y)
        if found is None:
            self.unpoint(own=own)
            return
        reading, self.cross.at, self.cross.dots = found
        self.cross.level = y if own and self.cross.at is not None else None
        self.cross.update()
        self.pointed.emit(Reading(reading.where, reading.values, reading.more, reading.time, own))

    def unpoint(self, *, own: bool = True) -> None:
        if self.cross.at is not None or self.cross.dots:
            self.cross.at, self.cross.level, self.cross.dots = None, None, []
            self.cross.update()
        self.pointed.emit(Reading("", own=own))

    def point_time(self, time: float | None) -> None:
        place = None if time is None else self.place_of(time)
        if place is None:
            if self.cross.at is not None:
                self.unpoint(own=False)
        else:
            self.point(place, None, own=False)

    def reveal(self, time: float) -> None:
        place = self.place_of(time)
        (low, high), _ = self.box.viewRange()
        if place is not None and not low <= place <= high:
            self.look(place - (high - low) / 2, place + (high - low) / 2)

    def drag(self, start: float, now: float, *, done: bool) -> None:
        """A span is being dragged: selected where the panel links times, else zoomed to."""
        low, high = sorted((start, now))
        self.bands = [((low, high), self.ink.wash(QColor(self.ink.tokens.accent), 34))]
        if done:
            self.bands = []
            times = (self.time_of(low), self.time_of(high))
            if "time" in self.panel.links.sets and times[0] is not None and times[1] is not None:
                self.picked.emit(Pick(times=(times[0], times[1])))
            else:
                self.look(low, high)
            self.mark_times(self.times)
        self.viewport().update()

    def click(self, x: float, y: float) -> None:
        self.setFocus()
        if self.panel.links.sets and (pick := self.pick(x, y)) is not None:
            self.picked.emit(pick)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        (low, high), _ = self.box.viewRange()
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            step = (high - low) / 100 * (1 if key == Qt.Key.Key_Right else -1)
            at = (low + high) / 2 if self.cross.at is None else self.cross.at
            for _ in range(100):  # to the next value, wherever that is
                at += step
                found = self.read(at, None)
                if found is None or found[1] != self.cross.at or not low <= at <= high:
                    break
            if low <= at <= high:
                self.point(at, None)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(0.5)
        elif key == Qt.Key.Key_Minus:
            self.zoom(2.0)
        elif key in (Qt.Key.Key_0, Qt.Key.Key_Home):
            self.reset()
        else:
            event.ignore()

    def wheelEvent(self, event: QWheelEvent) -> None:
        if not event.modifiers() & Qt.KeyboardModifier.ControlModifier or not event.angleDelta().y():
            event.ignore()  # the page scrolls
            return
        event.accept()
        at = self.box.mapSceneToView(self.mapToScene(event.position().toPoint())).x()
        self.zoom(0.8 if event.angleDelta().y() > 0 else 1.25, at)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        event.ignore()  # the card has the menu

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        super().mouseDoubleClickEvent(event)
        if event.button() == Qt.MouseButton.LeftButton:
            self.reset()

    # What the card asks

    def set_log(self, on: bool) -> None:
        if on != self.log:
            self.log = on
            self.redraw()

    def toggle(self, number: int) -> None:
        self.hidden ^= {number}
        self.redraw()

    def state(self) -> State:
        return State(frozenset(self.hidden), self.log, self.span)

    def restore(self, state: State) -> None:
        self.hidden = set(state.hidden)
        self.log = self.log if state.log is None else state.log
        self.span = state.span
        self.redraw()

    def dress(self, ink: Ink) -> None:
        self.ink = ink
        self.redraw()

    def paint_on(self, painter: QPainter, place: QRectF) -> None:
        self.layout_.layout.activate()  # no event has told it of its size
        self.fit()
        self.render(painter, place, self.viewport().rect(), Qt.AspectRatioMode.IgnoreAspectRatio)

    def end(self) -> None:
        self.finish()
