"""The table of a job page: what is selected and checked, by mouse and keys, and what is wanted of it."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QItemSelectionModel, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAction,
    QContextMenuEvent,
    QHelpEvent,
    QKeyEvent,
    QKeySequence,
    QMouseEvent,
    QResizeEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from desktop.models.checks import Checks
from desktop.models.jobs import JobsModel
from desktop.settings import Settings
from desktop.theme import ROW_HEIGHT, theme
from desktop.views.job_cells import ACTION_WORDS, Cells, paint_status, status_width
from desktop.views.job_head import Head
from desktop.views.job_menu import KEYS, JobMenu, Tips
from desktop.views.job_selection import JobSelection, Marks
from quarterdeck.job import Action, Job

__all__ = ["ACTION_WORDS", "JobTable", "paint_status", "status_width"]

_LEFT = Qt.MouseButton.LeftButton
_MANY = 1000


class JobTable(QTableView):
    """A page's jobs. `checks` is None for those who may not delete.

    Signals:
        acted(Job, Action): the user wants that of that job
        asked(str, object): "terminate" or "copy" and the ids of the selected jobs, "workflow" and a workflow's id,
            "window" and the Job whose details shall have a window of their own
    """

    acted = Signal(object, object)
    asked = Signal(str, object)

    def __init__(
        self, model: JobsModel, settings: Settings, checks: Checks | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.jobs = model
        self.hover_row = -1
        self.hover_cell = (-1, -1)
        self.hover_action: tuple[int, Action] | None = None
        self.menu: JobMenu | None = None
        self._anchor: tuple[int, int] | None = None
        self._fresh = False
        self._pressed: tuple[int, QPoint] | None = None
        self.selected = JobSelection(model, self)
        self.setModel(model)
        self.setSelectionModel(self.selected)
        self.marks = None if checks is None else Marks(model, self.selected, checks)
        self.cells = Cells(self, model, self, checks)
        self.setItemDelegate(self.cells)
        self.head = Head(self, model, settings, checks)
        self.tips = Tips(self, model.reasons)
        self._dress()
        self._time = QTimer(self, interval=100)
        self._time.timeout.connect(self._tick)
        model.patching.connect(self._before_patch)
        model.patched.connect(self._after_patch)
        model.modelReset.connect(self._begun)
        theme.changed.connect(self.viewport().update)
        if checks is not None:
            checks.changed.connect(self.viewport().update)
        for action, keys in KEYS.items():
            shortcut = QAction(self, shortcutContext=Qt.ShortcutContext.WidgetShortcut)
            shortcut.setShortcuts([QKeySequence(one) for one in keys])
            shortcut.triggered.connect(lambda checked=False, action=action: self.act_on_selected(action))
            self.addAction(shortcut)
        apart = QAction(self, shortcutContext=Qt.ShortcutContext.WidgetShortcut)
        apart.setShortcuts([QKeySequence(key) for key in ("Shift+Return", "Shift+Enter", "Ctrl+Return", "Ctrl+Enter")])
        apart.triggered.connect(self._open_apart)
        self.addAction(apart)

    def _dress(self) -> None:
        self.setObjectName("jobs")
        self.setAccessibleName(f"{self.jobs.kind.title} jobs")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        rows = self.verticalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(ROW_HEIGHT)
        rows.setSelectionModel(QItemSelectionModel(self.jobs, rows))
        self.setHorizontalHeader(self.head)
        self.head.attach()

    # What is selected

    def current_job(self) -> Job | None:
        """The selected job on which the keyboard is, or else the first selected one."""
        return self.selected.current_job()

    def act_on_selected(self, action: Action) -> None:
        """What the user wants of the selected jobs; of one only, where it can't be done to several."""
        if action is Action.TERMINATE and self.selected.count() > 1:
            if self.may_terminate():
                self.asked.emit("terminate", self.selected.ids())
            return
        job = self.current_job()
        if job is not None and action in job.actions:
            self.acted.emit(job, action)

    def _open_apart(self) -> None:
        job = self.current_job()
        if job is not None and Action.DETAILS in job.actions:
            self.asked.emit("window", job)

    def may_terminate(self) -> bool:
        """Whether one of the selected jobs may be terminated, or is not loaded and perhaps may."""
        if self.selected.count() > _MANY:
            return True
        jobs = [self.jobs.row(number) for rows in self.selected.spans() for number in rows]
        return any(job is None or Action.TERMINATE in job.actions for job in jobs)

    def copy(self) -> None:
        """The selected jobs, as text."""
        if self.selected.count():
            self.asked.emit("copy", self.selected.ids())

    # Live: selection and scroll position stay with their rows

    def _before_patch(self) -> None:
        self.selected.before()
        top = self.rowAt(0)
        at_top = self.verticalScrollBar().value() == 0
        self._anchor = None if at_top or top < 0 else (int(self.jobs.ids[top]), self.rowViewportPosition(top))

    def _begun(self) -> None:
        """Another filter or order: the list is looked at from its beginning."""
        self._anchor = None
        self._fresh = True

    def _after_patch(self) -> None:
        fresh, self._fresh = self._fresh, False
        if self._anchor is not None:
            key, y = self._anchor
            if (row := self.jobs.find(key)) is not None:
                bar = self.verticalScrollBar()
                self.updateGeometries()
                bar.setValue(row * ROW_HEIGHT - y)
        if (chosen := self.selected.after()) is not None:
            self.selected.choose(chosen)
        if fresh:
            self.scrollToTop()
        self._look()

    def _look(self) -> None:
        last = self.rowAt(self.viewport().height() - 1)
        self.jobs.look(max(0, self.rowAt(0)), last if last >= 0 else self.jobs.rowCount() - 1)
        if self.isVisible() and not self._time.isActive():
            self._time.start()

    def _tick(self) -> None:
        if not self.isVisible() or not self.jobs.tick():
            self._time.stop()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._look()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.head.fit(self.viewport().width())
        self._look()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        super().scrollContentsBy(dx, dy)
        self._look()

    # Keys and mouse

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.matches(QKeySequence.StandardKey.Copy):
            self.copy()
        elif event.key() == Qt.Key.Key_Space and not event.modifiers() and self.marks is not None:
            self.marks.selected()
        else:
            super().keyPressEvent(event)

    def keyboardSearch(self, search: str) -> None:
        """Nothing: Qt would ask a million rows for their words, of which few are loaded. The filter searches."""

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        where = event.position().toPoint()
        index = self.indexAt(where)
        target = self.cells.target(where)
        before = (self.hover_row, self.hover_cell, self.hover_action)
        self.hover_row = index.row() if index.isValid() else -1
        on_link = target is not None and target[1] is Action.DETAILS
        on_mark = self.cells.workflow(where) is not None
        self.hover_cell = (index.row(), -1 if on_mark else index.column()) if on_link or on_mark else (-1, -1)
        self.hover_action = (target[0].id, target[1]) if target is not None and not on_link else None
        if before != (self.hover_row, self.hover_cell, self.hover_action):
            shape = Qt.CursorShape.ArrowCursor if target is None and not on_mark else Qt.CursorShape.PointingHandCursor
            self.viewport().setCursor(shape)
            self.viewport().update()
        self.tips.moved(where)
        if event.buttons() and self._pressed is None:
            super().mouseMoveEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.hover_row, self.hover_cell, self.hover_action = -1, (-1, -1), None
        self.tips.moved(None)
        self.viewport().update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        where = event.position().toPoint()
        index = self.indexAt(where)
        job = self.jobs.row(index.row()) if index.isValid() else None
        target, workflow = self.cells.target(where), self.cells.workflow(where)
        plain = not event.modifiers() or (
            event.modifiers() == Qt.KeyboardModifier.ControlModifier
            and target is not None
            and target[1] is Action.DETAILS
        )
        wanted = event.button() == _LEFT and plain and (target or workflow) is not None
        self._pressed = (job.id, where) if wanted and job is not None else None
        if event.button() == _LEFT and self.marks is not None and index.column() == self.jobs.column("check"):
            self.marks.row(index.row(), bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier))
            self._pressed = (-1, where)  # dragging on selects nothing
            return
        super().mousePressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        pressed, self._pressed = self._pressed, None
        where = event.position().toPoint()
        if event.button() != _LEFT or pressed is None:
            return
        if (workflow := self.cells.workflow(where)) is not None and self.cells.workflow(pressed[1]) == workflow:
            self.asked.emit("workflow", workflow)
            return
        target = self.cells.target(where)
        # the list may have moved on under the mouse: what was pressed counts
        if target is not None and target[0].id == pressed[0]:
            self.acted.emit(*target)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        where = event.position().toPoint()
        if self.marks is not None and self.columnAt(where.x()) == self.jobs.column("check"):
            self.mousePressEvent(event)
            return
        super().mouseDoubleClickEvent(event)
        if event.button() == _LEFT and self.cells.target(where) is None and self.cells.workflow(where) is None:
            self.act_on_selected(Action.DETAILS)

    def viewportEvent(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            self.tips.tell(event.pos(), event.globalPos())
            return True
        return super().viewportEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        screen = event.globalPos()
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            self.scrollTo(self.currentIndex())
            rect = self.visualRect(self.currentIndex())
            screen = self.viewport().mapToGlobal(rect.bottomLeft() + QPoint(24, 0))
        elif (row := self.rowAt(event.pos().y())) >= 0 and not self.selected.isRowSelected(row):
            self.selected.choose(row)
        if not self.selected.count():
            return
        self.menu = JobMenu(self, self.jobs.reasons)
        self.menu.popup(screen)
