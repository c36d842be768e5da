"""What a job list tells and offers of the job under the mouse: tool tips and the context menu."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QPoint, QRect
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QStyleOptionViewItem, QToolTip

from desktop import resources
from desktop.models.reasons import Reasons
from desktop.models.rows import ROW
from desktop.theme import current
from desktop.tips import plain_tip
from desktop.views.job_cells import ACTION_WORDS
from quarterdeck.job import Action, Job, Status

if TYPE_CHECKING:
    from desktop.views.job_table import JobTable

__all__ = ["KEYS", "JobMenu", "Tips"]

KEYS = {Action.DETAILS: ("Return", "Enter"), Action.LOG: ("Ctrl+L",), Action.TERMINATE: ("Del",)}


def _waits(job: Job) -> bool:
    return job.status is Status.QUEUED or job.ending


class Tips(QObject):
    """Tool tips: why a job waits, what it does, what a cell is too narrow for."""

    def __init__(self, table: JobTable, reasons: Reasons) -> None:
        super().__init__(table)
        self._table = table
        self._reasons = reasons
        self._asked: tuple[int, QPoint, QRect] | None = None
        reasons.told.connect(self._told)

    def tell(self, where: QPoint, screen: QPoint) -> None:
        """Show what there is to say of what is there."""
        self._asked = None
        table = self._table
        index = table.indexAt(where)
        job = index.data(ROW) if index.isValid() else None
        if not isinstance(job, Job):
            QToolTip.hideText()
            return
        rect = table.visualRect(index)
        on_status = table.jobs.headings[index.column()].key == "status"
        words = str(index.data() or "")
        if on_status and _waits(job):
            self._asked = (job.id, screen, rect)
            self._reasons.ask(job.id)
            return
        if table.cells.workflow(where) is not None:
            words = f"Started by workflow {job.workflow_id}: click to open it"
        elif on_status and job.message and job.status is Status.IN_PROGRESS:
            words = job.message
        elif table.cells.sizeHint(QStyleOptionViewItem(), index).width() <= rect.width():
            words = ""
        QToolTip.showText(screen, plain_tip(words), table, rect)

    def moved(self, where: QPoint | None) -> None:
        """The mouse went there, or away."""
        if self._asked is not None and (where is None or not self._asked[2].contains(where)):
            self._asked = None

    def _told(self, job: int, words: str) -> None:
        if self._asked is not None and self._asked[0] == job:
            QToolTip.showText(self._asked[1], plain_tip(words), self._table, self._asked[2])


class JobMenu(QMenu):
    """What may be done to the selected jobs; the list keeps still from its making until it is closed."""

    def __init__(self, table: JobTable, reasons: Reasons) -> None:
        super().__init__(table)
        self._table = table
        self._reason: QAction | None = None
        self._job: int | None = None
        count = table.selected.count()
        job = table.selected.current_job()
        if count == 1 and job is not None:
            self._offer_one(job, reasons)
        elif count > 1 and table.may_terminate():
            words, picture = ACTION_WORDS[Action.TERMINATE]
            item = self.addAction(resources.icon(picture, current().bad), f"{words} {count:,} Jobs…\tDel")
            item.triggered.connect(lambda: table.act_on_selected(Action.TERMINATE))
        if self.isEmpty():
            self.addAction("Nothing may be done to this job").setEnabled(False)
        self.addSeparator()
        copy = self.addAction(resources.icon("content-copy", current().muted), "Copy\tCtrl+C")
        copy.triggered.connect(table.copy)
        if table.marks is not None:
            self.addAction("Check or Uncheck\tSpace").triggered.connect(table.marks.selected)
        self.aboutToHide.connect(self._closed)
        table.jobs.hold(True)

    def _offer_one(self, job: Job, reasons: Reasons) -> None:
        t = current()
        table = self._table
        if _waits(job):
            self._job = job.id
            self._reason = self.addAction(resources.icon("clock-outline", t.muted), "Asking why it waits…")
            self._reason.setEnabled(False)
            reasons.told.connect(self._told)
            reasons.ask(job.id)
        for action, (words, picture) in ACTION_WORDS.items():
            if action not in job.actions:
                continue
            item = self.addAction(resources.icon(picture, t.bad if action is Action.TERMINATE else t.muted), words)
            if action in KEYS:
                item.setText(f"{words}\t{KEYS[action][0]}")
            item.triggered.connect(lambda checked=False, action=action: table.acted.emit(job, action))
            if action is Action.DETAILS:
                apart = self.addAction(resources.icon("open-in-new", t.muted), "Open in New Window\tShift+Return")
                apart.triggered.connect(lambda: table.asked.emit("window", job))
        if job.workflow_id is not None:
            item = self.addAction(resources.icon("sitemap-outline", t.muted), f"Open Workflow {job.workflow_id}")
            item.triggered.connect(lambda: table.asked.emit("workflow", job.workflow_id))

    def _closed(self) -> None:
        self._reason = None
        self._table.menu = None
        self._table.jobs.hold(False)
        self.deleteLater()

    def _told(self, job: int, words: str) -> None:
        if self._reason is not None and job == self._job:
            self._reason.setText(words or "It waits no more")
