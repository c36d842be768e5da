"""The deletion of the checked jobs: how many of what would go, then batch by batch, until it is done or stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from PySide6.QtCore import QObject, Signal

from desktop.bridge import Bridge
from desktop.models.checks import Checked
from quarterdeck.client import Client
from quarterdeck.errors import QuarterdeckError
from quarterdeck.job import ENDED, Status
from quarterdeck.query import Filter

__all__ = ["Deletion", "Survey"]


@dataclass(frozen=True, slots=True)
class Survey:
    """How many jobs of each status would be deleted, and how many stay because they have not ended."""

    going: Mapping[Status, int]
    staying: Mapping[Status, int]

    @property
    def total(self) -> int:
        return sum(self.going.values())


class Deletion(QObject):
    """The deletion of what was checked at one moment.

    Signals:
        changed(): more jobs are gone, or it has ended
    """

    changed = Signal()

    BATCH = 500

    def __init__(self, client: Client, bridge: Bridge, checked: Checked, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.total = 0
        self.deleted = 0
        self.stayed = 0
        self.stopped = False
        self.ended = False
        self.trouble = ""
        self._client = client
        self._bridge = bridge
        self._checked = checked

    async def survey(self) -> Survey:
        """How many of what would go."""
        wanted, ids = self._checked.filter, self._checked.ids
        if wanted is None:
            tally = await self._bridge.call(self._client.tally, Filter(), ids=ids)
        else:
            tally = await self._bridge.call(self._client.tally, wanted)
            spared = await self._bridge.call(self._client.tally, wanted, ids=ids) if ids else {}
            tally = {status: left for status, n in tally.items() if (left := n - spared.get(status, 0)) > 0}
        return Survey(
            going={status: tally[status] for status in Status if status in ENDED and tally.get(status)},
            staying={status: tally[status] for status in Status if status not in ENDED and tally.get(status)},
        )

    async def run(self) -> None:
        """Delete them; a job that has not ended stays."""
        try:
            ids = await self._ids()
            self.total = len(ids)
            self.changed.emit()
            for start in range(0, len(ids), self.BATCH):
                if self.stopped:
                    return
                answer = await self._bridge.call(self._client.delete, ids[start : start + self.BATCH])
                self.deleted += answer.count
                self.stayed += len(answer.running)
                self.changed.emit()
        except QuarterdeckError as error:
            self.trouble = str(error)
        finally:
            self.ended = True
            self.changed.emit()

    def stop(self) -> None:
        """Delete no more; what is gone is gone."""
        self.stopped = True

    def words(self) -> str:
        """What it did."""
        done = f"{self.deleted:,} {'job was' if self.deleted == 1 else 'jobs were'} deleted with logs and results"
        rest = ""
        if self.stayed:
            rest = f"; {self.stayed:,} {'stays, as it has' if self.stayed == 1 else 'stay, as they have'} not ended"
        if self.trouble and not self.deleted:
            return f"Nothing was deleted: {self.trouble}"
        if self.trouble:
            return f"{done}{rest}. Then it went no further: {self.trouble}"
        if self.stopped and self.deleted + self.stayed < self.total:
            return f"Stopped: {done}{rest}; {self.total - self.deleted - self.stayed:,} are left."
        return f"{done}{rest}."

    async def _ids(self) -> list[int]:
        wanted, ids = self._checked.filter, self._checked.ids
        if wanted is None:
            return sorted(ids, reverse=True)
        statuses = (wanted.statuses or frozenset(Status)) & ENDED
        if not statuses:
            return []
        order = await self._bridge.call(self._client.order, replace(wanted, statuses=statuses))
        listed: list[int] = order[~np.isin(order, np.fromiter(ids, np.int64))].tolist()
        return listed
