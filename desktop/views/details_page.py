"""A job's details: head with status and actions, and the sections that its kind declares."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt, QTimer, Signal
from PySide6.QtGui import QKeySequence, QPainter, QPaintEvent, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QStackedWidget, QTabBar, QVBoxLayout, QWidget

from desktop import resources
from desktop.bridge import Bridge
from desktop.models.details import JobDetails
from desktop.theme import current, styled, theme
from desktop.views.commands import Commands
from desktop.views.job_table import paint_status, status_width
from desktop.views.sections import SECTIONS, SectionView
from quarterdeck.client import Client
from quarterdeck.columns import duration_text, time_text
from quarterdeck.job import Action, Job, run_time
from quarterdeck.kinds import Kind, Section

__all__ = ["DetailsPage", "StatusPill"]

_PLAIN = (
    Section(type="parameters", title="Run Parameters"),
    Section(type="tasks", title="Tasks"),
    Section(type="table", title="Results"),
    Section(type="log", title="Execution Log"),
)


class StatusPill(QWidget):
    """A job's status as the lists paint it."""

    def __init__(self, job: Job, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._job = job
        self.setFixedHeight(24)
        self.show_job(job)

    def show_job(self, job: Job) -> None:
        self._job = job
        self.setFixedWidth(status_width(self._words()) + 2)
        self.setAccessibleName(self._words())
        self.update()

    def _words(self) -> str:
        if self._job.ending:
            return f"{self._job.status.title} (ending)"
        share = f" {self._job.progress:.0%}" if self._job.progress and self._job.ended is None else ""
        return self._job.status.title + share

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_status(painter, self.rect(), self._job.status, self._words(), self._job.ending, self._job.progress)
        painter.end()


class DetailsPage(QWidget):
    """The details of one job.

    Signals:
        closed(): the user wants back to the list
    """

    closed = Signal()

    def __init__(
        self, job: Job, kind: Kind, client: Client, bridge: Bridge, commands: Commands, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.model = JobDetails(job, client, bridge, self)
        self._kind = kind
        self._client = client
        self._commands = commands
        self.back = styled(QPushButton(kind.title), name="link")
        self.title = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="title")
        self.status = StatusPill(job)
        self.facts = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="muted")
        self.trouble = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), name="problem", visible=False)
        self.trouble.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.buttons = {
            Action.LOG: QPushButton("View Log"),
            Action.RERUN: QPushButton("Run Again…"),
            Action.TERMINATE: styled(QPushButton("Terminate"), name="danger"),
        }
        self.tabs = styled(QTabBar(expanding=False, drawBase=False), name="sections")
        self.stack = QStackedWidget()
        self.sections: list[SectionView] = []
        for section in kind.details or _PLAIN:
            view = SECTIONS[section.type](section, self.model, client, bridge)
            self.sections.append(view)
            self.tabs.addTab(section.title)
            self.stack.addWidget(view)
        self._lay_out()
        self.tabs.currentChanged.connect(self.stack.setCurrentIndex)
        self.back.clicked.connect(self.closed)
        for action, button in self.buttons.items():
            button.clicked.connect(lambda checked=False, action=action: commands.act(self.model.job, action))
        escape = QShortcut(QKeySequence("Esc"), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        escape.activated.connect(self.closed)
        self._time = QTimer(self, interval=100)
        self._time.timeout.connect(self._tick)
        self._time.start()
        self.model.changed.connect(self._show)
        theme.changed.connect(self._dress)
        self._dress()
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

    def _lay_out(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(12)
        line.addWidget(self.title)
        line.addWidget(self.status)
        line.addStretch()
        for button in self.buttons.values():
            line.addWidget(button)
        head = styled(QWidget(), name="head")
        head.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        rows = QVBoxLayout(head)
        rows.setContentsMargins(20, 12, 20, 0)
        rows.setSpacing(6)
        crumbs = QHBoxLayout()
        crumbs.addSpacing(-7)
        crumbs.addWidget(self.back)
        crumbs.addStretch()
        rows.addLayout(crumbs)
        rows.addLayout(line)
        rows.addWidget(self.facts)
        rows.addWidget(self.trouble)
        rows.addSpacing(4)
        tabs = QHBoxLayout()
        tabs.setContentsMargins(0, 0, 0, 0)
        tabs.addSpacing(-12)
        tabs.addWidget(self.tabs, 1)
        rows.addLayout(tabs)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(head)
        layout.addWidget(self.stack, 1)

    def _show(self) -> None:
        job, details = self.model.job, self.model.details
        self.title.setText(job.name)
        self.status.show_job(job)
        self._tick()
        for action, button in self.buttons.items():
            button.setVisible(action in job.actions and not self.model.gone)
        words = self.model.trouble or (details.error or details.waiting if details is not None else "")
        waiting = details is not None and not self.model.trouble and not details.error
        self.trouble.setObjectName("banner" if waiting else "problem")
        self.trouble.style().polish(self.trouble)
        self.trouble.setText(words)
        self.trouble.setVisible(bool(words))
        if details is not None:
            for view in self.sections:
                view.show_details(details)

    def _tick(self) -> None:
        job, details = self.model.job, self.model.details
        parts = [f"Job {job.id}", job.creator, job.origin.title]
        if job.subject and job.subject != job.name:
            parts.insert(1, job.subject)
        if job.nodes:
            parts.append(", ".join(job.nodes))
        parts.append(f"started {time_text(job.started)}" if job.started else f"queued {time_text(job.created)}")
        if job.started is not None:
            parts.append(duration_text(run_time(job, self._client.now())))
        if details is not None and details.rerun_of:
            parts.append(f"a rerun of job {details.rerun_of}")
        if details is not None and details.terminated_by:
            parts.append(f"terminated by {details.terminated_by}")
        if job.ended is None and job.message:
            parts.append(job.message)
        self.facts.setText("   ·   ".join(parts))
        if job.ended is not None:
            self._time.stop()
        elif not self._time.isActive():
            self._time.start()

    def _dress(self) -> None:
        t = current()
        self.back.setIcon(resources.icon("chevron-left", t.link))
        self.back.setIconSize(QSize(18, 18))
        pictures = {Action.LOG: "text-box-outline", Action.RERUN: "replay", Action.TERMINATE: "stop-circle-outline"}
        for action, button in self.buttons.items():
            button.setIcon(resources.icon(pictures[action], t.bad if action is Action.TERMINATE else t.muted))
