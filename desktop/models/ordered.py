"""A list of any length: the ids of all its rows in order, and the values of those that were looked at.

A place is found by its id and an id by its place, whether the row is loaded or not, so that selection, current row and
scroll position stay with their rows through any change. A million ids are eight megabytes; what a new order changes is
found by whole arrays, never row by row.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import QObject

from desktop.models.rows import NONE, Heading, Index, KeyedModel

__all__ = ["Ids", "OrderedModel", "Steps", "places", "runs", "steps"]

Row = TypeVar("Row")
Ids = npt.NDArray[np.int64]

_FEW = 6
"""So many runs of removed and inserted rows are announced one by one; more go by one change of the layout."""


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """What leads from one order to another: runs (first row, rows) to remove, counted in the old order, and to insert,
    counted in the new one; `moved`: rows that are in both follow each other differently."""

    gone: tuple[tuple[int, int], ...]
    fresh: tuple[tuple[int, int], ...]
    moved: bool


def steps(old: Ids, new: Ids) -> Steps:
    """What leads from `old` to `new`; each holds an id once."""
    shared = min(old.size, new.size)
    differ = np.flatnonzero(old[:shared] != new[:shared])
    head = int(differ[0]) if differ.size else shared
    rest = shared - head
    differ = np.flatnonzero(old[old.size - rest :][::-1] != new[new.size - rest :][::-1])
    tail = int(differ[0]) if differ.size else rest
    a, b = old[head : old.size - tail], new[head : new.size - tail]
    stay, known = np.isin(a, b, assume_unique=True), np.isin(b, a, assume_unique=True)
    return Steps(
        gone=tuple((head + first, count) for first, count in runs(np.flatnonzero(~stay))),
        fresh=tuple((head + first, count) for first, count in runs(np.flatnonzero(~known))),
        moved=not np.array_equal(a[stay], b[known]),
    )


def runs(numbers: npt.NDArray[np.intp]) -> list[tuple[int, int]]:
    """Rising numbers as runs (first, how many)."""
    if not numbers.size:
        return []
    breaks = np.flatnonzero(np.diff(numbers) != 1) + 1
    starts = np.concatenate(([0], breaks))
    counts = np.diff(np.concatenate((starts, [numbers.size])))
    return list(zip(numbers[starts].tolist(), counts.tolist(), strict=True))


def places(ids: Ids, wanted: Iterable[int]) -> dict[int, int]:
    """Where each of the wanted ids is; those that are not there are left out."""
    sought = np.fromiter(wanted, np.int64)
    # one comparison is quicker than a search for a set of one
    found = np.flatnonzero(ids == sought[0] if sought.size == 1 else np.isin(ids, sought))
    return dict(zip(ids[found].tolist(), found.tolist(), strict=True))


class OrderedModel(KeyedModel[Row]):
    """Ids in order, and the rows that are loaded, by id."""

    KEEP = 4000

    def __init__(
        self,
        headings: Sequence[Heading],
        key: Callable[[Row], int],
        text: Callable[[Row, int], str],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(headings, key, text, parent)
        self.ids: Ids = np.empty(0, np.int64)
        self._id = key
        self._loaded: OrderedDict[int, Row] = OrderedDict()

    def rowCount(self, parent: Index = NONE) -> int:
        return 0 if parent.isValid() else int(self.ids.size)

    def row(self, number: int) -> Row | None:
        return self._loaded.get(int(self.ids[number])) if 0 <= number < self.ids.size else None

    def loaded(self, key: int) -> Row | None:
        """The row of that id, if it is loaded."""
        return self._loaded.get(key)

    def find(self, key: object) -> int | None:
        """Where the row with that id is, loaded or not."""
        found = np.flatnonzero(self.ids == key)
        return int(found[0]) if found.size else None

    # Values

    def take(self, rows: Iterable[Row]) -> None:
        """Values as they are now; rows that are not in the list are passed over."""
        differ = {self._id(row): row for row in rows if self._loaded.get(self._id(row)) != row}
        where = places(self.ids, differ) if differ else {}
        first_ones: list[int] = []
        for key, number in where.items():
            old = self._loaded.get(key)
            self._loaded[key] = differ[key]
            self._loaded.move_to_end(key)
            if old is None:
                first_ones.append(number)
            else:
                self._announce(number, old, differ[key])
        for first, count in runs(np.array(sorted(first_ones), np.intp)):
            self.dataChanged.emit(self.index(first, 0), self.index(first + count - 1, len(self.headings) - 1))
        while len(self._loaded) > self.KEEP:
            self._loaded.popitem(last=False)

    def forget(self, keep: Iterable[int] = ()) -> None:
        """What is loaded may be out of date, but for these: read it again when it is looked at."""
        kept = set(keep)
        self._loaded = OrderedDict((key, row) for key, row in self._loaded.items() if key in kept)

    # Order

    def begin(self, rows: Sequence[Row]) -> None:
        """An altogether new list."""
        self.beginResetModel()
        self.ids = np.array([self._id(row) for row in rows], np.int64)
        self._loaded = OrderedDict((self._id(row), row) for row in rows)
        self.endResetModel()

    def put(self, place: int, ids: Ids) -> None:
        """Insert rows there."""
        if ids.size:
            self.beginInsertRows(NONE, place, place + ids.size - 1)
            self.ids = np.concatenate((self.ids[:place], ids, self.ids[place:]))
            self.endInsertRows()

    def drop(self, keys: Iterable[int]) -> None:
        """Remove the rows with these ids."""
        gone = np.fromiter(keys, np.int64)
        if gone.size:
            self.become(self.ids[~np.isin(self.ids, gone)])

    def become(self, ids: Ids, known: Steps | None = None) -> None:
        """Make the order this one; `known` is what `steps` says of it, if somebody asked already."""
        plan = known or steps(self.ids, ids)
        if plan.gone and self._loaded:
            gone = np.concatenate([self.ids[first : first + count] for first, count in plan.gone])
            loaded = np.fromiter(self._loaded, np.int64)
            for key in loaded[np.isin(loaded, gone)].tolist():
                del self._loaded[key]
        if plan.moved or len(plan.gone) + len(plan.fresh) > _FEW:
            self._rearrange(ids, plan)
        else:
            for first, count in reversed(plan.gone):
                self._cut(first, count)
            for first, count in plan.fresh:
                self.put(first, ids[first : first + count])

    def _cut(self, first: int, count: int) -> None:
        self.beginRemoveRows(NONE, first, first + count - 1)
        self.ids = np.delete(self.ids, slice(first, first + count))
        self.endRemoveRows()

    def _rearrange(self, ids: Ids, plan: Steps) -> None:
        """Many changes at once: what goes is brought to the end and cut there, what comes is brought from there."""
        gone = np.zeros(self.ids.size, bool)
        for first, count in plan.gone:
            gone[first : first + count] = True
        fresh = np.zeros(ids.size, bool)
        for first, count in plan.fresh:
            fresh[first : first + count] = True
        cut = int(gone.sum())
        kept = ids[~fresh]
        self._arrange(np.concatenate((kept, self.ids[gone])))
        if cut:
            self._cut(kept.size, cut)
        self.put(kept.size, ids[fresh])
        self._arrange(ids)

    def _arrange(self, ids: Ids) -> None:
        """The same rows in another order; what points to a row goes with it."""
        if np.array_equal(self.ids, ids):
            return
        self.layoutAboutToBeChanged.emit()
        held = self.persistentIndexList()
        keys = [int(self.ids[index.row()]) for index in held]
        self.ids = ids
        if held:
            where = places(ids, set(keys))
            moved = [self.index(where[key], index.column()) for key, index in zip(keys, held, strict=True)]
            self.changePersistentIndexList(held, moved)
        self.layoutChanged.emit()
