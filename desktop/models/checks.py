"""Which jobs are checked: some by their ids, or all that a filter lets through but some.

"All of these" is a value, not a list of ids: it holds as many jobs as there are, loaded or not, and none that came
later than the moment at which it was said.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from PySide6.QtCore import QObject, Qt, Signal

from desktop.models.ordered import Ids
from quarterdeck.job import Job
from quarterdeck.query import Filter

__all__ = ["Checked", "Checks"]


@dataclass(frozen=True, slots=True)
class Checked:
    """The jobs with these ids; when there is a filter, those that it lets through but the ones with these ids."""

    ids: frozenset[int] = frozenset()
    filter: Filter | None = None

    def holds(self, job: Job) -> bool:
        """Whether a job of the list is checked."""
        if self.filter is None:
            return job.id in self.ids
        return job.id not in self.ids and (self.filter.until is None or job.created < self.filter.until)

    def __bool__(self) -> bool:
        return self.filter is not None or bool(self.ids)


class Checks(QObject):
    """The check marks of one list.

    Signals:
        changed(): `value` is another now
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.value = Checked()

    def toggle(self, job: Job) -> None:
        self.set([job.id], not self.value.holds(job))

    def set(self, ids: Iterable[int], on: bool) -> None:
        """Check these jobs, or uncheck them."""
        listed = frozenset(ids)
        add = on if self.value.filter is None else not on
        self._become(replace(self.value, ids=self.value.ids | listed if add else self.value.ids - listed))

    def check_all(self, filter: Filter, now: dt.datetime) -> None:  # noqa: A002
        """Check all that the filter lets through now."""
        until = now if filter.until is None else min(now, filter.until.astimezone(dt.UTC))
        self._become(Checked(filter=replace(filter, until=until)))

    def clear(self) -> None:
        self._become(Checked())

    def keep(self, ids: Ids) -> None:
        """The list is this one now: what is not in it is no longer checked, nor an exception."""
        if self.value.ids:
            known = np.fromiter(self.value.ids, np.int64)
            self._become(replace(self.value, ids=frozenset(known[np.isin(known, ids)].tolist())))

    def count(self, total: int) -> int:
        """How many of a list of `total` jobs are checked."""
        return len(self.value.ids) if self.value.filter is None else max(0, total - len(self.value.ids))

    def state(self, total: int) -> Qt.CheckState:
        """What the box over the list shows."""
        checked = self.count(total)
        if not checked:
            return Qt.CheckState.Unchecked
        return Qt.CheckState.Checked if checked >= total else Qt.CheckState.PartiallyChecked

    def _become(self, value: Checked) -> None:
        if value != self.value:
            self.value = value
            self.changed.emit()
