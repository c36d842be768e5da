"""The lines of a log, painted as they are looked at: as many as the log has, under one scroll bar."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleEvent,
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QAbstractScrollArea, QApplication, QFrame, QWidget

from desktop.models.log import LogModel
from desktop.models.log_chosen import Chosen
from desktop.models.log_search import LogSearch
from desktop.models.log_text import times
from desktop.theme import LOG_ROW_HEIGHT, current, theme
from desktop.views.log_paint import LinePainter
from quarterdeck.job import LogLine

__all__ = ["LogLines"]

_FAR = 2**31 - 1
Key = Qt.Key


class LogLines(QAbstractScrollArea):
    """Shows the lines of a log model. The vertical scroll bar counts lines, the horizontal one columns.

    Lines are chosen as in a list: by click, with Shift up to there, with Ctrl one more, by the keys. `following`: the
    newest line stays in view.

    Signals:
        turned(bool): the user went away from the end (False) or to it (True)
        asked(int): the user wants to see the line at this position as a whole
    """

    turned = Signal(bool)
    asked = Signal(int)

    def __init__(self, model: LogModel, search: LogSearch, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.model = model
        self.following = True
        self.chosen = Chosen()
        self._paint = LinePainter(model, search)
        self._own = False
        self._rest = 0.0
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        self.setAccessibleName("Log lines")
        self.viewport().setCursor(Qt.CursorShape.IBeamCursor)
        self._drag = QTimer(self, interval=40)
        self._drag.timeout.connect(self._drag_on)
        model.held = lambda: [self.top, *self.chosen.edges()]
        model.changed.connect(self._changed)
        model.moved.connect(self._moved)
        search.changed.connect(self.viewport().update)
        times.changed.connect(self.viewport().update)
        theme.changed.connect(self._dress)
        self.verticalScrollBar().valueChanged.connect(self._scrolled)
        self._dress()

    def _dress(self) -> None:
        palette = self.viewport().palette()
        palette.setColor(QPalette.ColorRole.Window, QColor(current().surface))
        self.viewport().setPalette(palette)
        self.viewport().setAutoFillBackground(True)
        self.viewport().update()

    # --- where it is --------------------------------------------------------------------------------------------------

    @property
    def top(self) -> int:
        """The position of the line at the top."""
        return self.verticalScrollBar().value()

    @property
    def rows(self) -> int:
        """How many lines have room, in full."""
        return max(1, self.viewport().height() // LOG_ROW_HEIGHT)

    def go(self, position: int) -> None:
        """Choose the line at a position and bring it into view, in the middle if it was not there."""
        self.choose(position)
        if not self.top <= position < self.top + self.rows:
            self.scroll_to(position - self.rows // 2)

    def scroll_to(self, top: int) -> None:
        """Bring a line to the top."""
        bar = self.verticalScrollBar()
        self._own = True
        bar.setMaximum(max(bar.maximum(), min(top, self.model.last_top(self.rows))))
        bar.setValue(max(0, top))
        self._own = False
        self._want()

    def follow(self, on: bool) -> None:
        """Keep the newest line in view, or no more."""
        self.following = self.model.at_end = on
        if on:
            self.scroll_to(self.model.last_top(self.rows))

    def _want(self) -> None:
        if self.model.total is None:
            self.model.want(0, self.rows)
        else:
            self.model.want(self.top, self.top + self.rows)

    def _changed(self) -> None:
        bar = self.verticalScrollBar()
        self._own = True
        bar.setRange(0, min(self.model.last_top(self.rows), _FAR))
        bar.setPageStep(self.rows)
        if self.following:
            bar.setValue(bar.maximum())
        self._own = False
        if self.model.arrived is not None:
            at, self.model.arrived = self.model.arrived, None
            self.chosen.clear()
            self.go(min(at, max(0, (self.model.total or 0) - 1)))
        elif self.model.total is None:
            self.chosen.clear()
        self._fit()
        self._want()
        self.viewport().update()

    def _fit(self) -> None:
        """The horizontal scroll bar over the widest line in view."""
        room = int((self.viewport().width() - self._paint.text_left) / self._paint.advance) - 1
        across = self.horizontalScrollBar()
        widest = max(
            self.model.blocks.widest(self.top, self.top + self.rows), across.value() + room if across.value() else 0
        )
        across.setRange(0, max(0, widest - max(room, 1)))
        across.setPageStep(max(room, 1))
        across.setSingleStep(8)

    def _scrolled(self) -> None:
        if not self._own and self.following and self.top < self.verticalScrollBar().maximum():
            self.following = self.model.at_end = False
            self.turned.emit(False)
        self._fit()
        self._want()
        self.viewport().update()

    def _moved(self, moves: dict[int, int]) -> None:
        """Lines came in between: what is looked at and what is chosen stay with their lines."""
        top = moves.get(self.top)
        self.chosen.move(moves)
        if top is not None and not self.following:
            self.scroll_to(top)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._changed()

    # --- what is chosen -----------------------------------------------------------------------------------------------

    def choose(self, position: int, *, extend: bool = False, one_more: bool = False) -> None:
        """Choose a line: see `Chosen.choose`."""
        if not self.model.total:
            return
        self.chosen.choose(max(0, min(position, self.model.total - 1)), extend=extend, one_more=one_more)
        if (line := self.model.line(self.chosen.current)) is not None:
            one = line.line
            words = f"{self.model.time_words(one)} {self.model.task_name(one)} {one.level.value}: {line.text[:500]}"
            self.setAccessibleDescription(words)
            QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.DescriptionChanged))
        self.viewport().update()

    @property
    def current_line(self) -> LogLine | None:
        """The line that the keys move from, if it is known."""
        found = self.model.line(self.chosen.current) if self.chosen.current >= 0 else None
        return None if found is None else found.line

    # --- keys and mouse -----------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        shift = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
        here = self.chosen.current if self.chosen.current >= 0 else self.top
        page = max(1, self.rows - 1)
        to = {
            Key.Key_Up: here - 1,
            Key.Key_Down: here + 1,
            Key.Key_PageUp: here - page,
            Key.Key_PageDown: here + page,
            Key.Key_Home: 0,
            Key.Key_End: (self.model.total or 1) - 1,
        }.get(Key(event.key()))
        across = self.horizontalScrollBar()
        if to is not None:
            self._step(to, extend=shift, end=event.key() == Key.Key_End)
        elif event.key() in (Key.Key_Left, Key.Key_Right):
            step = across.pageStep() if event.modifiers() & Qt.KeyboardModifier.ControlModifier else 8
            across.setValue(across.value() + (step if event.key() == Key.Key_Right else -step))
        elif event.key() in (Key.Key_Return, Key.Key_Enter, Key.Key_Space) and self.chosen.current >= 0:
            self.asked.emit(self.chosen.current)
        else:
            super().keyPressEvent(event)

    def _step(self, to: int, *, extend: bool, end: bool) -> None:
        self.choose(to, extend=extend)
        if end:
            self.scroll_to(self.model.last_top(self.rows))
            if not self.following:
                self.following = self.model.at_end = True
                self.turned.emit(True)
            return
        here = self.chosen.current
        if here < self.top:
            self.verticalScrollBar().setValue(here)
        elif here >= self.top + self.rows:
            self.verticalScrollBar().setValue(here - self.rows + 1)

    def position_at(self, point: QPoint) -> int:
        """The position of the line at a point of the viewport."""
        return self.top + point.y() // LOG_ROW_HEIGHT

    def mousePressEvent(self, event: QMouseEvent) -> None:
        position = self.position_at(event.position().toPoint())
        if event.button() == Qt.MouseButton.RightButton and self.chosen.holds(position):
            return
        if event.button() in (Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton):
            keys = event.modifiers()
            self.choose(
                position,
                extend=bool(keys & Qt.KeyboardModifier.ShiftModifier),
                one_more=bool(keys & Qt.KeyboardModifier.ControlModifier),
            )

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton and self.chosen.current >= 0:
            self.choose(self.position_at(event.position().toPoint()), extend=True)
            self._drag.start()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if 0 <= (position := self.position_at(event.position().toPoint())) < (self.model.total or 0):
            self.asked.emit(position)

    def _drag_on(self) -> None:
        """Scroll while the mouse is held beyond an edge."""
        if not QApplication.mouseButtons() & Qt.MouseButton.LeftButton:
            self._drag.stop()
            return
        y = self.viewport().mapFromGlobal(self.cursor().pos()).y()
        beyond = min(y, 0) + max(y - self.viewport().height(), 0)
        if beyond:
            step = beyond // LOG_ROW_HEIGHT or (1 if beyond > 0 else -1)
            self.verticalScrollBar().setValue(self.top + step)
            self.choose(self.top if beyond < 0 else self.top + self.rows - 1, extend=True)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if event.modifiers() & Qt.KeyboardModifier.ShiftModifier or event.angleDelta().x():
            super().wheelEvent(event)
            return
        pixels = event.pixelDelta().y()
        self._rest -= pixels / LOG_ROW_HEIGHT if pixels else event.angleDelta().y() / 40
        lines = int(self._rest)
        self._rest -= lines
        self.verticalScrollBar().setValue(self.top + lines)
        event.accept()

    # --- painting -----------------------------------------------------------------------------------------------------

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self.viewport())
        t = current()
        if words := self.model.empty_words():
            painter.setPen(QColor(t.muted))
            painter.drawText(self.viewport().rect(), Qt.AlignmentFlag.AlignCenter, words)
            return
        column = self.horizontalScrollBar().value()
        for position in range(self.top, min(self.top + self.rows + 1, self.model.total or 0)):
            y = (position - self.top) * LOG_ROW_HEIGHT
            band = QRectF(0, y, self.viewport().width(), LOG_ROW_HEIGHT)
            line = self.model.line(position)
            self._paint.paint(painter, band, line, column, chosen=self.chosen.holds(position))
            if position == self.chosen.current and self.hasFocus():
                painter.fillRect(QRectF(0, y, 2, LOG_ROW_HEIGHT), QColor(t.accent))
