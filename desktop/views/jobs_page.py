"""A tab of the window: the list of a kind, and the details of the job that was opened from it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from desktop import resources
from desktop.bridge import Bridge
from desktop.models.jobs import JobsModel
from desktop.settings import Settings
from desktop.theme import current, rule, styled, theme
from desktop.views.commands import Commands
from desktop.views.details_page import DetailsPage
from desktop.views.filter_bar import FilterBar
from desktop.views.job_table import JobTable
from quarterdeck.client import Client
from quarterdeck.job import Action, Job
from quarterdeck.kinds import Kind
from quarterdeck.query import Filter

__all__ = ["JobsPage"]


class JobsPage(QStackedWidget):
    """The jobs of one kind."""

    def __init__(
        self,
        kind: Kind,
        client: Client,
        bridge: Bridge,
        settings: Settings,
        commands: Commands,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.kind = kind
        self.details: DetailsPage | None = None
        self._client = client
        self._bridge = bridge
        self._commands = commands
        self._stale = True
        self.model = JobsModel(client, bridge, kind, self)
        self.filters = FilterBar(client.me.login)
        self.table = JobTable(self.model, settings)
        self.total = styled(QLabel(), name="muted")
        self.refresh = styled(QPushButton(), name="flat", tip="Read everything again (F5)")
        self.refresh.setAccessibleName("Refresh")
        self.new = styled(QPushButton(f"New {kind.title}"), name="primary")
        self.new.setVisible(kind.params is not None and bool(kind.run))
        self.empty = styled(QLabel(self.table.viewport(), alignment=Qt.AlignmentFlag.AlignCenter), name="muted")
        self.empty.hide()
        self.addWidget(self._list())
        self.filters.changed.connect(self._filter)
        self.table.acted.connect(self._act)
        self.new.clicked.connect(lambda: commands.new(kind))
        self.refresh.clicked.connect(commands.refresh_all)
        for signal in (self.model.modelReset, self.model.rowsInserted, self.model.rowsRemoved, self.model.patched):
            signal.connect(self._counted)
        theme.changed.connect(self._dress)
        self._dress()
        find = QShortcut(QKeySequence("Ctrl+F"), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(self.filters.text.setFocus)

    def _list(self) -> QWidget:
        page = QWidget()
        bar = QHBoxLayout()
        bar.setContentsMargins(16, 12, 16, 12)
        bar.setSpacing(10)
        bar.addWidget(self.filters)
        bar.addStretch()
        bar.addWidget(self.total)
        bar.addWidget(self.refresh)
        bar.addWidget(self.new)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(bar)
        layout.addWidget(rule())
        layout.addWidget(self.table, 1)
        return page

    def reread(self) -> None:
        """Read all again; a page that nobody looks at waits until somebody does."""
        self._stale = True
        if self.isVisible():
            self._freshen()

    def change(self, jobs: list[Job], gone: list[int]) -> None:
        """These jobs are like this now, those are gone."""
        self.model.change(jobs, gone)
        if self.details is not None:
            self.details.change(jobs, gone)

    def open(self, job: Job) -> None:
        """Show a job's details in place of the list."""
        self.close_details()
        self.details = DetailsPage(job, self.kind, self._client, self._bridge, self._commands)
        self.details.closed.connect(self.close_details)
        self.addWidget(self.details)
        self.setCurrentWidget(self.details)
        self.details.setFocus()

    def close_details(self) -> None:
        """Back to the list, which is where it was."""
        if self.details is None:
            return
        details, self.details = self.details, None
        self.removeWidget(details)
        details.deleteLater()
        self.setCurrentIndex(0)
        self.table.setFocus()

    def showEvent(self, event: object) -> None:
        super().showEvent(event)  # type: ignore[arg-type]
        if self.details is None:
            self.table.setFocus()
        if self._stale:
            self._freshen()

    def _freshen(self) -> None:
        self._stale = False
        if self.model.read:
            self.model.reread()
        else:
            self._filter()
        if self.details is not None:
            self.details.reread()

    def _filter(self) -> None:
        self.model.choose(self.filters.filter(), self.model.order)

    def _act(self, job: Job, action: Action) -> None:
        if action is Action.DETAILS:
            self.open(job)
        else:
            self._commands.act(job, action)

    def _counted(self) -> None:
        total = self.model.rowCount()
        self.total.setText("" if not self.model.read else "1 job" if total == 1 else f"{total:,} jobs")
        self.filters.know_creators({job.creator for n in range(min(total, 200)) if (job := self.model.row(n))})
        nothing = self.model.read and total == 0
        if nothing:
            filtered = self.filters.filter() != Filter()
            self.empty.setText(
                "Nothing matches these filters."
                if filtered
                else f"No {self.kind.title.lower()} has run yet."
                + (f"\nStart one with “{self.new.text()}”." if not self.new.isHidden() else "")
            )
            self.empty.setGeometry(self.table.viewport().rect())
        self.empty.setVisible(nothing)

    def _dress(self) -> None:
        self.refresh.setIcon(resources.icon("refresh", current().muted))
        self.new.setIcon(resources.icon("plus", current().on_accent))
