"""A job's log: all tasks in one, in order of time, followed live, searched as a whole, copied, saved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from PySide6.QtCore import QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QActionGroup, QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.bridge import Bridge
from desktop.models.log import LogModel, Narrowed
from desktop.models.log_search import LogSearch
from desktop.models.log_text import times
from desktop.settings import Settings
from desktop.theme import current, rule, styled, theme
from desktop.views.log_bar import SearchBar, TaskChoice
from desktop.views.log_commands import LogCommands
from desktop.views.log_lines import LogLines
from quarterdeck.client import Client
from quarterdeck.errors import QuarterdeckError
from quarterdeck.job import Job, Level, Task
from quarterdeck.logs import Cursor

__all__ = ["LogView", "LogWindow"]


class LogView(QWidget):
    """A job's log.

    Signals:
        said(str): something to tell the user, such as where the log was saved
    """

    said = Signal(str)

    POLL = 300

    def __init__(self, job: Job, client: Client, bridge: Bridge, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bridge = bridge
        self._word = ""
        self._ways: dict[str, QAction] = {}
        self._total: int | None = None
        self._place: tuple[int, Cursor] | None = None
        self.model = LogModel(job, client, bridge, self)
        self.hits = LogSearch(self.model, bridge, self)
        self.lines = LogLines(self.model, self.hits)
        self.bar = SearchBar(self.hits)
        self.commands = LogCommands(self.lines, self.bar, self.hits, bridge, self)
        self.task = TaskChoice()
        self.level = styled(QComboBox(), called="Level")
        self.follow = styled(QPushButton("Follow"), tip="Keep the newest line in view (End)")
        self.error = styled(QPushButton("First Error"), tip="Go to the first error of all tasks (F8)")
        self.save = styled(QPushButton("Save…"), tip="Save the log, as it is narrowed, to a file (Ctrl+S)")
        self.more = styled(QToolButton(), tip="More", called="More")
        self.words = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="small")
        self.menu = QMenu(self)
        self.follow.setCheckable(True)
        self.follow.setChecked(True)
        self._lay_out()
        self._fill_menu()
        self._connect()
        theme.changed.connect(self._dress)
        self._dress()
        self._timer = QTimer(self, interval=self.POLL)
        self._timer.timeout.connect(self._poll)
        self._timer.start()
        self.model.poll()

    # --- how it is made -----------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        self.level.addItem("All levels", None)
        for level in (Level.INFO, Level.WARNING, Level.ERROR):
            self.level.addItem(f"{level.value.capitalize()} and above" if level is not Level.ERROR else "Errors", level)
        self.words.setAccessibleName("State of the log")
        bar = QHBoxLayout()
        bar.setContentsMargins(14, 10, 14, 10)
        bar.setSpacing(8)
        bar.addWidget(self.bar, 4)
        bar.addWidget(self.task)
        bar.addWidget(self.level)
        bar.addStretch(1)
        bar.addWidget(self.words)
        for button in (self.error, self.follow, self.save, self.more):
            bar.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(bar)
        layout.addWidget(rule())
        layout.addWidget(self.lines, 1)

    def _fill_menu(self) -> None:
        do = self.commands
        self._act("Copy Lines", "Ctrl+C", do.copy)
        self._act("Choose All Lines", "Ctrl+A", do.choose_all)
        self._act("Show the Whole Line…", "Ctrl+Return", lambda: do.show_whole(self.lines.chosen.current))
        self.menu.addSeparator()
        self._act("Only This Task's Lines", "Ctrl+T", self.only_this_task)
        self._act("Go To…", "Ctrl+G", do.ask_place)
        self._act("First Error", "F8", self.first_error)
        self._act("Find Next", "F3", lambda: self.search_on(1))
        self._act("Find Previous", "Shift+F3", lambda: self.search_on(-1))
        self.menu.addSeparator()
        ways = QActionGroup(self)
        for title, way in (("Time of Day", "clock"), ("Time since the Start", "since")):
            action = self._ways[way] = QAction(title, ways, checkable=True)
            action.triggered.connect(lambda _=False, way=way: times.choose(way))
            self.menu.addAction(action)
        self._show_way()
        times.changed.connect(self._show_way)
        self.menu.addSeparator()
        self._act("Save…", "Ctrl+S", do.ask_file)
        self._act("Save Lines That Match…", "Ctrl+Shift+S", lambda: do.ask_file(matching=True))
        self.more.setMenu(self.menu)
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)

    def _show_way(self) -> None:
        self._ways[times.way].setChecked(True)

    def _act(self, title: str, key: str, act: Callable[[], Any]) -> None:
        action = QAction(title, self)
        action.setShortcut(QKeySequence(key))
        action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        action.triggered.connect(lambda: act())
        self.addAction(action)
        self.menu.addAction(action)

    def _connect(self) -> None:
        self.bar.asked.connect(self.search_on)
        self.task.activated.connect(self._narrow)
        self.level.activated.connect(self._narrow)
        self.error.clicked.connect(self.first_error)
        self.follow.toggled.connect(self.lines.follow)
        self.save.clicked.connect(self.commands.save_or_cancel)
        self.model.changed.connect(self._changed)
        self.model.moved.connect(self._moved)
        self.lines.turned.connect(self.follow.setChecked)
        self.lines.asked.connect(self.commands.show_whole)
        self.commands.worded.connect(self._word_of)
        self.commands.saved.connect(self.said)
        self.lines.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.lines.customContextMenuRequested.connect(self._show_menu)
        self.bar.left.connect(self.lines.setFocus)
        find = QShortcut(QKeySequence("Ctrl+F"), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(self._to_search)

    def _show_menu(self, point: QPoint) -> None:
        self.menu.popup(self.lines.viewport().mapToGlobal(point))

    def _to_search(self) -> None:
        self.bar.field.setFocus()
        self.bar.field.selectAll()

    # --- what there is ------------------------------------------------------------------------------------------------

    def change(self, job: Job, tasks: Sequence[Task]) -> None:
        """The job and its tasks as they are now."""
        self.model.know(job, tasks)
        self.task.know(tasks)
        self.task.setVisible(len(tasks) > 1)

    def _poll(self) -> None:
        if self.isVisible():
            self.model.poll()

    def _changed(self) -> None:
        if self.model.total != self._total:
            if self._total is not None and self.model.total is not None:
                self._word = ""
                self.hits.grown()
            self._total = self.model.total
        self._say()

    def _moved(self, moves: dict[int, int]) -> None:
        if self._place is not None:
            self._place = (moves.get(self._place[0], self._place[0]), self._place[1])

    def _word_of(self, word: str) -> None:
        """A word about what was just done stands at the right until something comes."""
        self._word = word
        self._say()

    def _say(self) -> None:
        total = self.model.total
        lines = "" if total is None else "1 line" if total == 1 else f"{total:,} lines"
        state = "deleted" if self.model.gone else "not connected" if self.model.trouble else lines
        self.words.setText(self._word or state)
        self.words.setToolTip(self.model.empty_words() or self.model.trouble)
        self.save.setText("Cancel" if self.commands.saving else "Save…")

    # --- what is done -------------------------------------------------------------------------------------------------

    def search_on(self, step: int) -> None:
        """Go to the next (1) or previous (-1) line that holds the searched text, in the whole log."""
        if self.bar.field.text():
            self.follow.setChecked(False)
            self._bridge.latest(self, "go", self._find(step))

    def first_error(self) -> None:
        """Go to the first error over all tasks."""
        self.follow.setChecked(False)
        self._bridge.latest(self, "go", self._first_error())

    async def _find(self, step: int) -> None:
        self.bar.take()
        here = self._place[1] if self._place is not None and self._place[0] == self.lines.chosen.current else None
        if here is None and (line := self.lines.current_line) is not None:
            here = Cursor.of(line)
        if not self.hits.complete:
            self.bar.words.setText("searching…")
        self.bar.place = found = await self.hits.step(here, step)
        if found is not None:
            position = await self.model.position(found)
            self._place = (position, found)
            self.lines.go(position)
        self.bar.say()
        if found is None and not self.hits.trouble:
            self.bar.words.setText("no hit")

    async def _first_error(self) -> None:
        log = await self.model.log()
        line = await self._bridge.call(log.first_error)
        if line is None:
            self._word_of("There is no error in this log.")
            return
        if self.model.narrowed.task not in (None, line.ordinal):
            self.task.choose(None)
            self._narrow(near=Cursor.of(line))
            return
        self.lines.go(await self.model.position(Cursor.of(line)))

    def only_this_task(self) -> None:
        """Show only the lines of the chosen line's task; all again where one task's are shown."""
        line = self.lines.current_line
        if self.task.ordinal is not None:
            self.task.choose(None)
        elif line is not None and line.ordinal is not None:
            self.task.choose(line.ordinal)
        if line is not None:
            self.follow.setChecked(False)
        self._narrow()

    def _narrow(self, _: int = 0, *, near: Cursor | None = None) -> None:
        """Show what is chosen above, from the same place on."""
        if near is None and not self.follow.isChecked():
            top = self.model.line(self.lines.top)
            line = self.lines.current_line or (None if top is None else top.line)
            near = None if line is None else Cursor.of(line)
        self._place = None
        self.model.narrow(Narrowed(self.task.ordinal, self.level.currentData()), near)
        self.bar.take()

    def _dress(self) -> None:
        t = current()
        self.error.setIcon(resources.icon("alert-circle-outline", t.bad))
        self.follow.setIcon(resources.icon("arrow-collapse-down", t.muted))
        self.save.setIcon(resources.icon("download", t.muted))
        self.more.setIcon(resources.icon("dots-horizontal", t.muted))


class LogWindow(QWidget):
    """A job's log in a window of its own."""

    def __init__(self, job: Job, client: Client, bridge: Bridge, settings: Settings) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"Log of {job.name} (job {job.id}) — Quarterdeck")
        self.setWindowIcon(resources.application_icon())
        self._settings = settings
        self._client = client
        self._bridge = bridge
        self._job = job
        times.remember(settings.text("log/times", times.way), lambda way: settings.set("log/times", way))
        self.log = LogView(job, client, bridge)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.log)
        self.resize(1160, 680)
        if (state := settings.state("log/geometry")) is not None:
            self.restoreGeometry(state)
        close = QShortcut(QKeySequence("Esc"), self)
        close.activated.connect(self.close)
        self._again = QTimer(self, interval=5000)
        self._again.timeout.connect(self._know)
        self._again.start()
        self._know()
        self.log.lines.setFocus()

    def _know(self) -> None:
        """Read the job and its tasks: anew from time to time while it is not over."""
        if not self.log.model.gone:
            self._bridge.latest(self, "know", self._read())

    async def _read(self) -> None:
        try:
            found = await self._bridge.call(self._client.by_ids, [self._job.id])
            tasks = await self._bridge.call(self._client.tasks, self._job.id)
        except QuarterdeckError:
            return  # the log says so
        job = found[0] if found else self._job
        self.log.change(job, tasks)
        if job.ended is not None:
            self._again.stop()

    def closeEvent(self, event: QCloseEvent) -> None:
        self._settings.set_state("log/geometry", self.saveGeometry())
        super().closeEvent(event)
