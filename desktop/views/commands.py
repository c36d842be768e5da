"""What the user can do from anywhere: start a job, run one again, see its details and log, terminate it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication, QWidget

from desktop.bridge import Bridge
from desktop.models.log_text import times
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.views.details_window import DetailsWindow
from desktop.views.dialogs import Question, TerminateDialog
from desktop.views.form import FormDialog
from desktop.views.log_view import LogWindow
from desktop.views.many import Many
from quarterdeck.client import Client
from quarterdeck.errors import NotFound
from quarterdeck.job import Action, Job
from quarterdeck.kinds import KINDS, Kind

__all__ = ["Commands"]


class Commands(QObject):
    """The actions of job lists, details and menus, each with its questions and its answer.

    Signals:
        opened(Job): show the details of that job in its kind's tab
    """

    opened = Signal(object)

    def __init__(
        self,
        client: Client,
        bridge: Bridge,
        notices: Notices,
        settings: Settings,
        refresh: Callable[[], None],
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self._client = client
        self._bridge = bridge
        self._notices = notices
        self._settings = settings
        self._window = window
        self.refresh_all = refresh
        times.remember(settings.text("log/times", times.way), lambda way: settings.set("log/times", way))
        self.forms: list[FormDialog] = []
        self.logs: dict[int, LogWindow] = {}
        self.details: dict[int, DetailsWindow] = {}
        self.questions: list[Question] = []
        self.many = Many(client, bridge, notices, self.sure, window)

    def act(self, job: Job, action: Action) -> None:
        """Do to the job what was chosen."""
        if action is Action.LOG:
            self.show_log(job)
        elif action is Action.TERMINATE:
            self._bridge.latest(self, f"terminate {job.id}", self._terminate(job))
        elif action is Action.RERUN:
            self._bridge.latest(self, f"rerun {job.id}", self._rerun(job))

    def new(self, kind: Kind) -> None:
        """A form for a new job of that kind."""
        self._open_form(FormDialog(kind, self._client, self._bridge, self._window))

    def show_log(self, job: Job) -> None:
        """The job's log in a window of its own; one window a job."""
        if (window := self.logs.get(job.id)) is None:
            window = self.logs[job.id] = LogWindow(job, self._client, self._bridge, self._settings)
            window.destroyed.connect(lambda: self.logs.pop(job.id, None))
        window.show()
        window.raise_()
        window.activateWindow()

    def tell(self, text: str) -> None:
        """Say something in the window, whatever it shows by then."""
        self._notices.info(text)

    def open_window(self, job: Job, section: int = 0) -> None:
        """The job's details in a window of its own; one window a job."""
        if (window := self.details.get(job.id)) is None:
            kind = next(one for one in KINDS if one.key == job.kind)
            window = self.details[job.id] = DetailsWindow(
                job, kind, self._client, self._bridge, self, self._settings, len(self.details)
            )
            window.ended.connect(lambda: self.details.pop(job.id, None))
            window.page.tabs.setCurrentIndex(section)
        window.show()
        window.raise_()
        window.activateWindow()

    def open_job(self, number: int, apart: bool = False) -> None:
        """The details of the job of that number, in its tab or `apart`, in a window of its own."""
        self._bridge.latest(self, "open", self._open(number, apart))

    def change(self, jobs: list[Job], gone: list[int]) -> None:
        """These jobs are like this now, those are gone: for the windows opened from here."""
        for window in list(self.details.values()):
            window.page.change(jobs, gone)

    def reread(self) -> None:
        """Read again what the windows opened from here show."""
        for window in list(self.details.values()):
            window.page.reread()

    def close_all(self) -> None:
        """Close the windows that were opened from here, and what hangs open of a menu."""
        while (popup := QApplication.activePopupWidget()) is not None:
            popup.close()
        for window in [*self.logs.values(), *self.details.values()]:
            window.close()
        for dialog in [*self.forms, *self.questions, *self.many.outcomes]:
            dialog.reject()

    async def _open(self, number: int, apart: bool) -> None:
        job = next(iter(await self._bridge.call(self._client.by_ids, [number])), None)
        if job is None or Action.DETAILS not in job.actions:
            raise NotFound(f"Job {number} is no longer there, or its details are not yours to see.")
        if apart:
            self.open_window(job)
        else:
            self.opened.emit(job)

    async def _terminate(self, job: Job) -> None:
        tasks = await self._bridge.call(self._client.tasks, job.id)
        if not await self.sure(TerminateDialog(job, tasks, self._window)):
            return
        state = await self._bridge.call(self._client.terminate, job.id)
        if state == "ended":
            self._notices.info(f"“{job.name}” is terminated: nothing of it ran.")
        else:
            self._notices.info(f"“{job.name}” is ending: its nodes were told to end all its processes.")

    async def sure(self, question: Question) -> bool:
        """Ask the user; whether the answer is yes."""
        self.questions.append(question)
        try:
            return await self._bridge.ask(question)
        finally:
            self.questions.remove(question)

    async def _rerun(self, job: Job) -> None:
        kind = next(one for one in KINDS if one.key == job.kind)
        details = await self._bridge.call(self._client.get, job.id)
        if kind.params is None:
            number = await self._bridge.call(self._client.rerun, job.id)
            self._notices.info(f"“{job.name}” runs again as job {number}.")
            return
        self._open_form(
            FormDialog(kind, self._client, self._bridge, self._window, params=details.params, rerun_of=job.id)
        )

    def _open_form(self, form: FormDialog) -> None:
        self.forms.append(form)
        form.submitted.connect(lambda number, name: self._notices.info(f"“{name}” is queued as job {number}."))
        form.finished.connect(lambda: self.forms.remove(form))
        form.finished.connect(form.deleteLater)
        form.open()
