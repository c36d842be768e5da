"""The keyed table model: rows are known by their keys, and changes wait while a menu or an editor is open.

`RowsModel` holds its rows as a list: `replace` and `patch` turn a new list into removals, moves, insertions and changed
cells, so that selection, current row and scroll position stay with their rows. Lists that are too long to be held are
`desktop.models.ordered`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt, Signal

from desktop.tips import plain_tip

__all__ = ["NONE", "ROW", "Heading", "Index", "KeyedModel", "RowsModel"]

Row = TypeVar("Row")
Index = QModelIndex | QPersistentModelIndex

ROW = Qt.ItemDataRole.UserRole
_DISPLAY = Qt.ItemDataRole.DisplayRole
_ALIGN = Qt.ItemDataRole.TextAlignmentRole
_TIP = Qt.ItemDataRole.ToolTipRole
_KNOWN = frozenset({_DISPLAY, _ALIGN, _TIP, ROW})
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
NONE = QModelIndex()


@dataclass(frozen=True, slots=True)
class Heading:
    """A column as the view sees it; `width` is in characters."""

    key: str
    title: str
    width: int = 16
    align: Literal["left", "right"] = "left"


class KeyedModel(QAbstractTableModel, Generic[Row]):
    """Rows with keys; `text(row, column)` gives a cell's words. Where the rows are held is the subclass's.

    Signals:
        patching(): rows are about to change; the view remembers what is at its top
        patched(): they have changed
    """

    patching = Signal()
    patched = Signal()

    def __init__(
        self,
        headings: Sequence[Heading],
        key: Callable[[Row], Hashable],
        text: Callable[[Row, int], str],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.headings = tuple(headings)
        self._key = key
        self._text = text
        self._held = False
        self._waiting: list[Callable[[], None]] = []

    # What Qt asks

    def columnCount(self, parent: Index = NONE) -> int:
        return 0 if parent.isValid() else len(self.headings)

    def data(self, index: Index, role: int = _DISPLAY) -> Any:
        if role not in _KNOWN or not index.isValid():
            return None
        if role == _ALIGN:
            return _RIGHT if self.headings[index.column()].align == "right" else _LEFT
        row = self.row(index.row())
        if row is None:
            self.missed(index.row())
            return "" if role == _DISPLAY else None
        if role == ROW:
            return row
        text = self._text(row, index.column())
        return plain_tip(text) if role == _TIP else text

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = _DISPLAY) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self.headings):
            return None
        if role == _DISPLAY:
            return self.headings[section].title
        if role == _ALIGN:
            return _RIGHT if self.headings[section].align == "right" else _LEFT
        return None

    # What views and their owners ask

    def row(self, number: int) -> Row | None:
        """The row at that place; None when there is none or it is not loaded."""
        raise NotImplementedError

    def key_of(self, row: Row) -> Hashable:
        """What that row is known by."""
        return self._key(row)

    def missed(self, number: int) -> None:
        """A view wanted a row that is not loaded."""

    def column(self, key: str) -> int:
        """The number of the column of that key; -1 when there is none."""
        return next((number for number, heading in enumerate(self.headings) if heading.key == key), -1)

    def text(self, row: Row, column: int) -> str:
        """What a cell of a row says."""
        return self._text(row, column)

    def as_text(self, rows: Iterable[Row], columns: Sequence[int]) -> str:
        """These rows as lines with a tab between their cells, under a line of headings: what other programs paste."""
        lines = [[self.headings[column].title for column in columns]]
        lines += [[self._text(row, column) for column in columns] for row in rows]
        return "\n".join("\t".join(re.sub(r"[\t\r\n]+", " ", cell) for cell in line) for line in lines)

    def hold(self, on: bool) -> None:
        """While a menu or an editor is open, changes wait."""
        self._held = on
        if not on:
            waiting, self._waiting = self._waiting, []
            for change in waiting:
                self.when_free(change)

    def when_free(self, change: Callable[[], None]) -> None:
        """Do `change` now, or when nothing holds the rows any more."""
        if self._held:
            self._waiting.append(change)
            return
        self.patching.emit()
        change()
        self.patched.emit()

    def _announce(self, number: int, old: Row | None, row: Row) -> None:
        """Say which cells of a row differ."""
        columns = range(len(self.headings))
        differ = [c for c in columns if old is None or self._text(old, c) != self._text(row, c)] or list(columns)
        self.dataChanged.emit(self.index(number, differ[0]), self.index(number, differ[-1]))


class RowsModel(KeyedModel[Row]):
    """Rows held as a list."""

    def __init__(
        self,
        headings: Sequence[Heading],
        key: Callable[[Row], Hashable],
        text: Callable[[Row, int], str],
        parent: QObject | None = None,
    ) -> None:
        super().__init__(headings, key, text, parent)
        self._rows: list[Row | None] = []
        self._where: dict[Hashable, int] | None = {}

    def rowCount(self, parent: Index = NONE) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def row(self, number: int) -> Row | None:
        return self._rows[number] if 0 <= number < len(self._rows) else None

    def find(self, key: Hashable) -> int | None:
        """Where the row with that key is; None when it is not loaded."""
        if self._where is None:
            self._where = {self._key(row): number for number, row in enumerate(self._rows) if row is not None}
        return self._where.get(key)

    # Changes

    def replace(self, rows: Sequence[Row]) -> None:
        """Make the rows these, with as few changes as lead there."""
        rows = list(rows)
        self.when_free(lambda: self.patch(0, len(self._rows), rows))

    def reset(self, rows: Sequence[Row | None]) -> None:
        """Make the rows these, as an altogether new list."""
        self.beginResetModel()
        self._rows = list(rows)
        self._where = None
        self.endResetModel()

    def patch(self, first: int, count: int, rows: Sequence[Row]) -> None:
        """Make the `count` rows from `first` on the given ones, whose keys differ from each other."""
        new = {self._key(row) for row in rows}
        count -= self._remove_where(first, count, lambda row: row is None or self._key(row) not in new)
        here = {self._key(row) for row in self._rows[first : first + count] if row is not None} & new
        place = first
        index = 0
        while index < len(rows):
            key = self._key(rows[index])
            if key in here:
                self._bring(key, place)
                self._set(place, rows[index])
                index += 1
                place += 1
                continue
            run = index
            while run < len(rows) and self._key(rows[run]) not in here:
                run += 1
            self.insert(place, rows[index:run])
            place += run - index
            index = run

    def update(self, rows: Iterable[Row]) -> None:
        """Change rows that are loaded, where they are."""
        for row in rows:
            if (number := self.find(self._key(row))) is not None:
                self._set(number, row)

    def insert(self, place: int, rows: Sequence[Row | None]) -> None:
        if not rows:
            return
        self.beginInsertRows(NONE, place, place + len(rows) - 1)
        self._rows[place:place] = rows
        self._where = None
        self.endInsertRows()

    def remove(self, keys: Iterable[Hashable]) -> None:
        """Remove the rows with these keys, those that are loaded."""
        numbers = sorted((n for key in keys if (n := self.find(key)) is not None), reverse=True)
        for number in numbers:
            self.drop(number, 1)

    def resize(self, total: int) -> None:
        """Add rows that are not loaded at the end, or remove rows from there, until there are `total`."""
        have = len(self._rows)
        if total > have:
            self.insert(have, [None] * (total - have))
        elif total < have:
            self.drop(total, have - total)

    def fill(self, first: int, rows: Sequence[Row | None]) -> None:
        """Put rows (or None, to drop them) into places that exist, without moving anything."""
        rows = rows[: max(0, len(self._rows) - first)]
        if not rows:
            return
        self._rows[first : first + len(rows)] = rows
        self._where = None
        self.dataChanged.emit(self.index(first, 0), self.index(first + len(rows) - 1, len(self.headings) - 1))

    def _set(self, number: int, row: Row) -> None:
        old = self._rows[number]
        if old == row:
            return
        self._rows[number] = row
        self._announce(number, old, row)

    def drop(self, first: int, count: int) -> None:
        """Remove rows by their places."""
        self.beginRemoveRows(NONE, first, first + count - 1)
        del self._rows[first : first + count]
        self._where = None
        self.endRemoveRows()

    def _remove_where(self, first: int, count: int, out: Callable[[Row | None], bool]) -> int:
        before = len(self._rows)
        end = min(first + count, before)
        while end > first:
            if not out(self._rows[end - 1]):
                end -= 1
                continue
            start = end - 1
            while start > first and out(self._rows[start - 1]):
                start -= 1
            self.drop(start, end - start)
            end = start
        return before - len(self._rows)

    def _bring(self, key: Hashable, place: int) -> None:
        """Move the row with that key, which is at `place` or after it, to `place`."""
        row = self._rows[place]
        if row is not None and self._key(row) == key:
            return
        start = next(
            n for n in range(place + 1, len(self._rows)) if (r := self._rows[n]) is not None and self._key(r) == key
        )
        self.beginMoveRows(NONE, start, start, NONE, place)
        self._rows.insert(place, self._rows.pop(start))
        self._where = None
        self.endMoveRows()
