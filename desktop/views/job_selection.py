"""Which jobs of a list are selected: by places for Qt, by ids for everybody else."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PySide6.QtCore import QItemSelection, QItemSelectionModel, QObject, Qt

from desktop.models.checks import Checks
from desktop.models.jobs import JobsModel
from desktop.models.ordered import Ids, runs
from quarterdeck.job import Job

__all__ = ["JobSelection", "Marks"]

_FEW = 200
"""Selections of more rows are carried through a new order by ids: Qt holds each of their cells."""
_RUNS = 2000
"""A selection that a new order scatters over more runs than this keeps the first ones."""


class JobSelection(QItemSelectionModel):
    """The selected rows of a list of any length. Set it after `attach`: it has to hear of changes before Qt does."""

    def __init__(self, jobs: JobsModel, parent: QObject | None = None) -> None:
        super().__init__(None, parent)  # type: ignore[call-overload]
        self._jobs = jobs
        self._carried: Ids | None = None
        self._chosen: int | None = None
        # before Qt's own part of it hears of it
        jobs.layoutAboutToBeChanged.connect(self._carry)
        self.setModel(jobs)

    # What is selected

    def spans(self) -> list[range]:
        """The selected rows, in order."""
        found = {(part.top(), part.bottom()) for part in self.selection().toList()}
        return [range(top, bottom + 1) for top, bottom in sorted(found)]

    def ids(self) -> list[int]:
        """The ids of the selected jobs, in the order of the list."""
        return [key for rows in self.spans() for key in self._jobs.ids[rows.start : rows.stop].tolist()]

    def count(self) -> int:
        """How many are selected."""
        return sum(len(rows) for rows in self.spans())

    def current_job(self) -> Job | None:
        """The selected job on which the keyboard is, or else the first selected one; None too where it isn't loaded."""
        index = self.currentIndex()
        if index.isValid() and self.isSelected(index):
            return self._jobs.row(index.row())
        spans = self.spans()
        return self._jobs.row(spans[0].start) if spans else None

    def choose(self, row: int) -> None:
        """Select that row alone, whatever keys are held down at the time."""
        flags = QItemSelectionModel.SelectionFlag.ClearAndSelect | QItemSelectionModel.SelectionFlag.Rows
        self.setCurrentIndex(self._jobs.index(row, max(0, self.currentIndex().column())), flags)

    def select_rows(self, parts: Iterable[tuple[int, int]]) -> None:
        """Select these runs (first row, how many), and nothing else."""
        chosen = QItemSelection()
        last = self._jobs.columnCount() - 1
        for first, count in parts:
            chosen.select(self._jobs.index(first, 0), self._jobs.index(first + count - 1, last))
        self.select(chosen, QItemSelectionModel.SelectionFlag.ClearAndSelect)

    # Through changes

    def before(self) -> None:
        """The list is about to change."""
        job = self.current_job()
        self._chosen = None if job is None else job.id

    def after(self) -> int | None:
        """It has changed: all is selected again that Qt has lost. The row that was the current one, if a list that
        begins anew has it."""
        if self._carried is not None:
            carried, self._carried = self._carried, None
            self.select_rows(runs(np.flatnonzero(np.isin(self._jobs.ids, carried)))[:_RUNS])
        elif self._chosen is not None and not self.hasSelection():
            return self._jobs.find(self._chosen)
        return None

    def _carry(self) -> None:
        if self._carried is None and self.count() > _FEW:
            self._carried = np.array(self.ids(), np.int64)
            self.clearSelection()


class Marks:
    """How mouse and keys set the check marks of a list."""

    def __init__(self, jobs: JobsModel, selection: JobSelection, checks: Checks) -> None:
        self.checks = checks
        self._jobs = jobs
        self._selection = selection
        self._last: int | None = None

    def row(self, number: int, extend: bool = False) -> None:
        """Check or uncheck the job at that place; with `extend` all from the last one up to it."""
        job = self._jobs.row(number)
        if job is None:
            return
        on = not self.checks.value.holds(job)
        last = None if self._last is None else self._jobs.find(self._last)
        first, end = sorted((number, last)) if extend and last is not None else (number, number)
        self.checks.set(self._jobs.ids[first : end + 1].tolist(), on)
        self._last = job.id

    def selected(self) -> None:
        """Check the selected jobs, or uncheck them when the current one is checked."""
        job = self._selection.current_job()
        if self._jobs.complete and self._selection.count() == self._jobs.rowCount() > 1:
            self.all()
        elif job is not None:
            self.checks.set(self._selection.ids(), not self.checks.value.holds(job))

    def all(self) -> None:
        """Check all that the filter lets through, or nothing when they are checked."""
        if self.checks.state(self._jobs.rowCount()) == Qt.CheckState.Checked:
            self.checks.clear()
        else:
            self.checks.check_all(self._jobs.filter, self._jobs.now())
