"""What may be done to many jobs of a list at once: terminate, delete, copy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication, QWidget

from desktop.bridge import Bridge
from desktop.models.checks import Checked
from desktop.models.deletion import Deletion
from desktop.models.jobs import JobsModel
from desktop.notices import Notices
from desktop.views.dialogs import DeleteDialog, OutcomeDialog, Question, TerminateManyDialog
from quarterdeck.client import Client
from quarterdeck.errors import Disconnected, Invalid, QuarterdeckError
from quarterdeck.job import ENDED, Action, Status
from quarterdeck.kinds import Kind

__all__ = ["COPIED", "Many"]

COPIED = 100_000
"""So many rows can be copied."""


class Many(QObject):
    """Each with its question, and with its answer when all is done."""

    def __init__(
        self,
        client: Client,
        bridge: Bridge,
        notices: Notices,
        sure: Callable[[Question], Awaitable[bool]],
        window: QWidget,
    ) -> None:
        super().__init__(window)
        self.outcomes: list[OutcomeDialog] = []
        self._surveying = False
        self._client = client
        self._bridge = bridge
        self._notices = notices
        self._sure = sure
        self._window = window

    def terminate(self, ids: Sequence[int], list_of: JobsModel) -> None:
        """End those of the selected jobs of a list that may be ended."""
        self._bridge.start(self, self._terminate(ids, list_of))

    def delete(self, checked: Checked, kind: Kind, begun: Callable[[Deletion], None]) -> None:
        """Ask, and delete the checked jobs; `begun` is called with a deletion that was agreed to."""
        if not self._surveying:  # a second click before the question is there
            self._surveying = True
            self._bridge.start(self, self._delete(checked, kind, begun))

    def copy(self, ids: Sequence[int], list_of: JobsModel, columns: Sequence[int]) -> None:
        """Put the selected rows into the clipboard, as lines with tabs under their headings."""
        self._bridge.latest(self, "copy", self._copy(ids, list_of, columns))

    async def _terminate(self, ids: Sequence[int], list_of: JobsModel) -> None:
        jobs = await list_of.jobs(ids, frozenset(Status) - ENDED)
        jobs = [job for job in jobs if Action.TERMINATE in job.actions]
        if not jobs:
            self._notices.info("None of the selected jobs can be terminated: they have ended, or are not yours.")
            return
        if not await self._sure(TerminateManyDialog(jobs, len(ids), self._client.me.login, self._window)):
            return
        told: list[str] = []
        refused: list[str] = []
        for job in jobs:
            try:
                told.append(await self._bridge.call(self._client.terminate, job.id))
            except Disconnected as error:
                refused.append(f"“{job.name}” and all after it: {error}")
                break
            except QuarterdeckError as error:
                refused.append(f"“{job.name}”: {error}")
        words = _outcome(told)
        if refused:
            outcome = OutcomeDialog(f"{words}; {len(refused):,} refused", refused, self._window)
            self.outcomes.append(outcome)
            outcome.finished.connect(lambda: self.outcomes.remove(outcome))
            outcome.finished.connect(outcome.deleteLater)
            outcome.open()
        else:
            self._notices.info(f"{words}.")

    async def _delete(self, checked: Checked, kind: Kind, begun: Callable[[Deletion], None]) -> None:
        deletion = Deletion(self._client, self._bridge, checked, self)
        try:
            survey = await deletion.survey()
            sure = await self._sure(DeleteDialog(survey, kind.title.lower(), self._window))
        finally:
            self._surveying = False
        if sure:
            begun(deletion)
            await deletion.run()
            self._notices.info(deletion.words())
        deletion.deleteLater()

    async def _copy(self, ids: Sequence[int], list_of: JobsModel, columns: Sequence[int]) -> None:
        if len(ids) > COPIED:
            raise Invalid(
                f"{len(ids):,} rows are too many to copy: select at most {COPIED:,}, or use 'quarterdeck list'"
            )
        jobs = await list_of.jobs(ids)
        QApplication.clipboard().setText(await self._bridge.call(list_of.as_text, jobs, columns))
        self._notices.info("1 row is copied." if len(jobs) == 1 else f"{len(jobs):,} rows are copied.")


def _outcome(told: Sequence[str]) -> str:
    """'2 jobs are ending, 1 job is terminated: nothing of it ran'."""
    ended = told.count("ended")
    ending = len(told) - ended
    parts = [f"{_jobs(ending)} ending"] if ending or not ended else []
    if ended:
        parts.append(f"{_jobs(ended)} terminated: nothing of {'it' if ended == 1 else 'them'} ran")
    return ", ".join(parts)


def _jobs(number: int) -> str:
    return "1 job is" if number == 1 else f"{number:,} jobs are"
