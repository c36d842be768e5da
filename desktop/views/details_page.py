"""A job's details: head with status and actions, and the sections that its kind declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from desktop.bridge import Bridge
from desktop.models.details import JobDetails
from desktop.theme import styled
from desktop.views.details_head import DetailsHead, StatusPill
from desktop.views.section import SectionView
from desktop.views.sections import SECTIONS, Log
from quarterdeck.client import Client
from quarterdeck.job import Action, Job
from quarterdeck.kinds import Kind, Section

if TYPE_CHECKING:
    from desktop.views.commands import Commands

__all__ = ["DetailsPage", "StatusPill"]

_PLAIN = (
    Section(type="parameters", title="Run Parameters"),
    Section(type="tasks", title="Tasks"),
    Section(type="table", title="Results"),
    Section(type="log", title="Execution Log"),
)


class DetailsPage(QWidget):
    """The details of one job, in a tab or (`windowed`) in a window of their own.

    Signals:
        closed(): the user wants back to the list, or has seen enough
    """

    closed = Signal()

    def __init__(
        self,
        job: Job,
        kind: Kind,
        client: Client,
        bridge: Bridge,
        commands: Commands,
        parent: QWidget | None = None,
        *,
        windowed: bool = False,
    ) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(f"Details of {job.name}")
        self.model = JobDetails(job, client, bridge, commands.tell, self)
        self._commands = commands
        self._windowed = windowed
        self.head = DetailsHead(self.model, kind, client, windowed=windowed)
        self.title, self.buttons = self.head.title, self.head.buttons
        self.status, self.trouble = self.head.status, self.head.trouble
        self.tabs = styled(QTabBar(expanding=False, drawBase=False), name="sections", called="Sections")
        self.tabs.setUsesScrollButtons(True)
        self.tabs.setElideMode(Qt.TextElideMode.ElideNone)
        self.stack = QStackedWidget()
        self.sections: list[SectionView] = []
        for section in kind.details or _PLAIN:
            view = SECTIONS[section.type](section, self.model, client, bridge)
            self.sections.append(view)
            self.tabs.addTab(section.title)
            self.stack.addWidget(view)
            view.wanted.connect(self._open_titled)
        self._lay_out()
        self.tabs.currentChanged.connect(self.stack.setCurrentIndex)
        self.head.asked.connect(self._asked)
        self._keys()
        self._time = QTimer(self, interval=100)
        self._time.timeout.connect(self._tick)
        self._time.start()
        self.model.changed.connect(self._show)
        self._show()
        self.model.begin()

    def change(self, jobs: list[Job], gone: list[int]) -> None:
        self.model.change(jobs, gone)

    def reread(self) -> None:
        self.model.reread()

    def open_section(self, kind: str) -> None:
        """Show the first section of that type."""
        for number, view in enumerate(self.sections):
            if view.section.type == kind:
                self.tabs.setCurrentIndex(number)
                return

    def first_error(self) -> None:
        """The execution log, at its first error."""
        view = next((one for one in self.sections if isinstance(one, Log)), None)
        if view is not None:
            self.open_section("log")
            view.log.first_error()

    def _open_titled(self, title: str) -> None:
        for number, view in enumerate(self.sections):
            if view.section.title == title:
                self.tabs.setCurrentIndex(number)

    def _lay_out(self) -> None:
        tabs = QHBoxLayout()
        tabs.setContentsMargins(8, 0, 8, 0)
        tabs.addWidget(self.tabs, 1)
        strip = styled(QWidget(), name="sectionbar")
        strip.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        strip.setLayout(tabs)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.head)
        layout.addWidget(strip)
        layout.addWidget(self.stack, 1)

    def _keys(self) -> None:
        keys = {
            "Ctrl+Tab": lambda: self._step(1),
            "Ctrl+Shift+Tab": lambda: self._step(-1),
            "Ctrl+L": lambda: self._asked(Action.LOG.value, False),
            "Ctrl+Shift+N": lambda: self._asked("window", False),
        }
        for key, act in keys.items():
            shortcut = QShortcut(QKeySequence(key), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        # not shortcuts: the log within has some of these keys too, and goes first
        if event.key() == Qt.Key.Key_Escape:
            self.closed.emit()
        elif event.key() == Qt.Key.Key_F8:
            self.first_error()
        else:
            super().keyPressEvent(event)

    def _step(self, step: int) -> None:
        self.tabs.setCurrentIndex((self.tabs.currentIndex() + step) % self.tabs.count())
        if (view := self.stack.currentWidget()) is not None:
            view.setFocus()

    def _asked(self, word: str, apart: bool) -> None:
        job = self.model.job
        if word == "back":
            self.closed.emit()
        elif word == "window":
            if not self._windowed and not self.model.gone:
                self._commands.open_window(job, self.tabs.currentIndex())
        elif word == "error":
            self.first_error()
        elif word.isdigit():
            self._commands.open_job(int(word), apart or self._windowed)
        elif Action(word) in job.actions and not self.model.gone:
            self._commands.act(job, Action(word))

    def _show(self) -> None:
        self.head.refresh()
        details = self.model.details
        if details is not None:
            for view in self.sections:
                view.show_details(details)
        self._run_clock()

    def _tick(self) -> None:
        self.head.tick()
        self._run_clock()

    def _run_clock(self) -> None:
        runs = self.model.job.ended is None and not self.model.gone
        if runs != self._time.isActive():
            if runs:
                self._time.start()
            else:
                self._time.stop()
