"""What is known of one job: read in one go, read again when it changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from desktop.bridge import Bridge
from desktop.models.rows import Heading, RowsModel
from quarterdeck.client import Client
from quarterdeck.columns import duration_text, time_text
from quarterdeck.errors import Disconnected, NotFound, QuarterdeckError
from quarterdeck.job import ENDED, Details, Job, Task, run_time

__all__ = ["JobDetails", "TasksModel"]

_TASK_COLUMNS = (
    Heading("name", "Task", 26),
    Heading("status", "Status", 18),
    Heading("node", "Node", 12),
    Heading("run_time", "Run Time", 12, "right"),
    Heading("started", "Start Time", 22),
    Heading("attempt", "Attempt", 9, "right"),
    Heading("error", "Message", 44),
)


class TasksModel(RowsModel[Task]):
    """A job's tasks."""

    def __init__(self, client: Client, parent: QObject | None = None) -> None:
        self._client = client
        super().__init__(_TASK_COLUMNS, key=lambda task: task.id, text=self._cell, parent=parent)

    def tick(self) -> bool:
        """Run times count on; False when no task runs."""
        running = False
        for number in range(self.rowCount()):
            task = self.row(number)
            if task is not None and task.started is not None and task.ended is None:
                running = True
                cell = self.index(number, 3)
                self.dataChanged.emit(cell, cell)
        return running

    def _cell(self, task: Task, column: int) -> str:
        match self.headings[column].key:
            case "name":
                return task.name
            case "status":
                share = f" {task.progress:.0%}" if task.progress and task.status not in ENDED else ""
                return task.status.title + share
            case "node":
                return task.node or ""
            case "run_time":
                return duration_text(run_time(task, self._client.now()))
            case "started":
                return time_text(task.started)
            case "attempt":
                return str(task.attempt)
            case _:
                return task.error or (task.message if task.status not in ENDED else "")


class JobDetails(QObject):
    """One job's details.

    Signals:
        changed(): `job`, `details` or `trouble` is another now
    """

    changed = Signal()

    POLL = 1.0

    def __init__(
        self,
        job: Job,
        client: Client,
        bridge: Bridge,
        tell: Callable[[str], None],
        parent: QObject | None = None,
    ) -> None:
        """`tell` takes sentences for the user that outlive the details, such as that a file is written."""
        super().__init__(parent)
        self.job = job
        self.tell = tell
        self.details: Details | None = None
        self.trouble = ""
        self.gone = False
        self.tasks = TasksModel(client, self)
        self._client = client
        self._bridge = bridge
        self._reading = False
        self._again = False

    @property
    def running(self) -> Job:
        """The job with progress and message as its tasks tell them now: the list's own lag a little behind."""
        tasks = self.details.tasks if self.details is not None else ()
        if self.job.ended is not None or not tasks:
            return self.job
        shares = [1.0 if task.status in ENDED else task.progress or 0.0 for task in tasks]
        progress = max(self.job.progress or 0.0, sum(shares) / len(shares)) or None
        message = (tasks[0].message if len(tasks) == 1 else "") or self.job.message
        return dataclasses.replace(self.job, progress=progress, message=message)

    def begin(self) -> None:
        self.reread()
        self._bridge.start(self, self._poll())

    def reread(self) -> None:
        if self._reading:
            self._again = True
            return
        self._reading = True
        self._bridge.start(self, self._read())

    def change(self, jobs: list[Job], gone: list[int]) -> None:
        """What changed in the cluster."""
        if self.gone:
            return
        if self.job.id in gone:
            self._lost()
            return
        for job in jobs:
            if job.id == self.job.id:
                self.job = job
                self.changed.emit()
                self.reread()

    def _lost(self) -> None:
        self.gone = True
        self.trouble = f"Job {self.job.id} is no longer there: it was deleted, or is no longer yours to see."
        self.changed.emit()

    async def _poll(self) -> None:
        """Tasks' progress is not announced by the database: look while the job runs."""
        while not self.gone and self.job.status not in ENDED:
            await self._bridge.pause(self.POLL)
            self.reread()

    async def _read(self) -> None:
        try:
            while True:
                self._again = False
                try:
                    details = await self._bridge.call(self._client.get, self.job.id)
                except Disconnected:
                    return  # the banner says so; what is shown stays
                except NotFound:
                    self._lost()
                    return
                except QuarterdeckError as error:
                    self.trouble = str(error)
                else:
                    self.trouble = ""
                    self.details = details
                    self.job = details.job
                    self.tasks.replace(details.tasks)
                self.changed.emit()
                if not self._again:
                    return
        finally:
            self._reading = False
