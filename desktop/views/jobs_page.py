"""A tab of the window: the list of a kind, and the details of the job that was opened from it."""

from __future__ import annotations

import contextlib

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.bridge import Bridge
from desktop.models.checks import Checks
from desktop.models.deletion import Deletion
from desktop.models.jobs import JobsModel
from desktop.settings import Settings
from desktop.theme import current, rule, styled, theme
from desktop.views.commands import Commands
from desktop.views.details_page import DetailsPage
from desktop.views.filter_bar import FilterBar
from desktop.views.job_table import JobTable
from quarterdeck.client import Client
from quarterdeck.errors import Disconnected
from quarterdeck.job import Action, Job
from quarterdeck.kinds import Kind

__all__ = ["JobsPage"]


class DeletionStrip(QWidget):
    """How far a deletion is, and the button that stops it; hidden when there is none."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.words = styled(QLabel(), name="muted")
        self.bar = QProgressBar(textVisible=False)
        self.stop = QPushButton("Stop")
        self.deletion: Deletion | None = None
        row = QHBoxLayout(self)
        row.setContentsMargins(16, 0, 16, 10)
        row.setSpacing(10)
        row.addWidget(self.words)
        row.addWidget(self.bar, 1)
        row.addWidget(self.stop)
        self.stop.clicked.connect(self._stop)
        self.hide()

    def follow(self, deletion: Deletion) -> None:
        self.deletion = deletion
        self.stop.setEnabled(True)
        deletion.changed.connect(self._show)
        self._show()

    def _stop(self) -> None:
        if self.deletion is not None:
            self.deletion.stop()
        self.stop.setEnabled(False)

    def _show(self) -> None:
        deletion = self.deletion
        if deletion is None or deletion.ended:
            self.deletion = None
            self.hide()
            return
        done = deletion.deleted + deletion.stayed
        self.words.setText(f"Deleting: {done:,} of {deletion.total:,}" if deletion.total else "Deleting…")
        self.bar.setMaximum(max(1, deletion.total))
        self.bar.setValue(done)
        self.show()


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
        self._settings = settings
        self._stale = True
        self.model = JobsModel(client, bridge, kind, self)
        self.checks = Checks(self) if client.me.admin else None
        self.filters = FilterBar(self.model, client.me.login, settings.text(f"filter/{kind.key}"))
        self.table = JobTable(self.model, settings, self.checks)
        self.delete = styled(QPushButton("Batch Delete"), name="danger", visible=self.checks is not None)
        self.columns = styled(QPushButton(), name="flat", tip="Columns")
        self.progress = DeletionStrip()
        self.total = styled(QLabel(), name="muted")
        self.refresh = styled(QPushButton(), name="flat", tip="Read everything again (F5)")
        self.refresh.setAccessibleName("Refresh")
        self.new = styled(QPushButton(f"New {kind.title}"), name="primary")
        self.new.setVisible(kind.params is not None and bool(kind.run))
        self.empty = styled(QLabel(self.table.viewport(), alignment=Qt.AlignmentFlag.AlignCenter), name="muted")
        self.empty.hide()
        page = self._list()
        self.addWidget(page)
        self.filters.changed.connect(self._filter)
        self.table.acted.connect(self._act)
        self.table.asked.connect(self._ask)
        self.table.head.sorted.connect(lambda sort: self.model.choose(self.filters.filter(), sort))
        self.columns.clicked.connect(self._choose_columns)
        self.delete.clicked.connect(self._delete)
        self.model.read_all.connect(self._known)
        if self.checks is not None:
            self.checks.changed.connect(self._counted)
        if self.table.marks is not None:
            self.table.head.ticked.connect(self.table.marks.all)
        self.new.clicked.connect(lambda: commands.new(kind))
        self.refresh.clicked.connect(commands.refresh_all)
        for signal in (self.model.modelReset, self.model.rowsInserted, self.model.patched):
            signal.connect(self._counted)
        self.model.rowsRemoved.connect(self._known)
        self.table.selected.selectionChanged.connect(self._counted)
        theme.changed.connect(self._dress)
        self._dress()
        # the list's only: in a job's details the key is that of the log or the table there
        find = QShortcut(QKeySequence("Ctrl+F"), page, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(self._find)
        leave = QShortcut(QKeySequence("Esc"), self.filters.text, context=Qt.ShortcutContext.WidgetShortcut)
        leave.activated.connect(self.table.setFocus)
        self._slide = QTimer(self, interval=60_000)
        self._slide.timeout.connect(lambda: self._freshen() if self.isVisible() and self.filters.slides() else None)
        self._slide.start()

    def _list(self) -> QWidget:
        page = QWidget()
        bar = QHBoxLayout()
        bar.setSpacing(10)
        bar.addWidget(self.filters.text, 1)
        for part in (self.total, self.delete, self.columns, self.refresh, self.new):
            bar.addWidget(part)
        top = QVBoxLayout()
        top.setContentsMargins(16, 12, 16, 10)
        top.setSpacing(8)
        top.addLayout(bar)
        top.addWidget(self.filters)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        layout.addWidget(self.progress)
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
            self.model.reread(self.filters.filter())
        else:
            self.model.choose(self.filters.filter(), self.table.head.remembered_sort())
            self._bridge.start(self, self._read_nodes())
        if self.details is not None:
            self.details.reread()

    def remember(self) -> None:
        """Write filter, sort and columns into the settings."""
        self._settings.set(f"filter/{self.kind.key}", self.filters.line)
        self.table.head.remember()

    def _filter(self) -> None:
        if self.checks is not None:
            self.checks.clear()  # what is no longer seen is no longer meant
        self.model.choose(self.filters.filter(), self.model.order)

    def _find(self) -> None:
        self.filters.text.setFocus()
        self.filters.text.selectAll()

    def _choose_columns(self) -> None:
        self.table.head.offer(self.columns.mapToGlobal(self.columns.rect().bottomLeft()))

    async def _read_nodes(self) -> None:
        with contextlib.suppress(Disconnected):
            self.filters.know("node", [node.name for node in await self._bridge.call(self._client.nodes)])

    def _ask(self, what: str, value: object) -> None:
        if isinstance(value, int):
            self._commands.open_job(value)
        elif isinstance(value, Job):
            self._commands.open_window(value)
        elif isinstance(value, list) and what == "terminate":
            self._commands.many.terminate(value, self.model)
        elif isinstance(value, list):
            shown = [self.table.head.logicalIndex(place) for place in range(self.table.head.count())]
            columns = [n for n in shown if self.model.headings[n].title and not self.table.head.isSectionHidden(n)]
            self._commands.many.copy(value, self.model, columns)

    def _delete(self) -> None:
        if self.checks is not None and self.checks.value:
            self._commands.many.delete(self.checks.value, self.kind, self._begun)

    def _begun(self, deletion: Deletion) -> None:
        if self.checks is not None:
            self.checks.clear()
        self.progress.follow(deletion)

    def _known(self) -> None:
        """The list is known in full, or has lost rows: what is not in it is not checked any more."""
        if self.checks is not None and self.model.complete:
            self.checks.keep(self.model.ids)
        self._counted()

    def _act(self, job: Job, action: Action) -> None:
        if action is Action.DETAILS:
            if QApplication.keyboardModifiers() & Qt.KeyboardModifier.ControlModifier:
                self._commands.open_window(job)
            else:
                self.open(job)
        else:
            self._commands.act(job, action)

    def _counted(self) -> None:
        total = self.model.rowCount()
        words = "1 job" if total == 1 else f"{total:,} jobs"
        if not self.model.complete:
            words = f"{total:,}+ jobs"
        if (selected := self.table.selected.count()) > 1:
            words = f"{selected:,} of {words} selected"
        self.total.setText(words if self.model.read else "")
        if self.checks is not None:
            checked = self.checks.count(total)
            self.delete.setText(f"Batch Delete ({checked:,})" if checked else "Batch Delete")
            self.delete.setEnabled(checked > 0)
        self.filters.know("creator", {job.creator for n in range(min(total, 200)) if (job := self.model.row(n))})
        nothing = self.model.read and total == 0
        if nothing:
            none_yet = f"No {self.kind.title.lower()} has run yet."
            if not self.new.isHidden():
                none_yet += f"\nStart one with “{self.new.text()}”."
            self.empty.setText("Nothing matches these filters." if self.filters.line else none_yet)
            self.empty.setGeometry(self.table.viewport().rect())
        self.empty.setVisible(nothing)

    def _dress(self) -> None:
        self.columns.setIcon(resources.icon("view-column-outline", current().muted))
        self.refresh.setIcon(resources.icon("refresh", current().muted))
        self.new.setIcon(resources.icon("plus", current().on_accent))
