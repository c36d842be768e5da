"""A result table, a page at a time: sorted, filtered, in words that line up, and as a file."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from desktop.bridge import Bridge
from desktop.models.rows import Heading, RowsModel
from quarterdeck.client import Client
from quarterdeck.errors import Conflict, Disconnected, QuarterdeckError
from quarterdeck.results import By, Selection

if TYPE_CHECKING:
    from quarterdeck.job import TableInfo

__all__ = ["Digits", "Download", "Line", "TablePage", "exact_text", "value_text"]

_NUMBERS = ("int", "uint", "float", "double", "halffloat", "decimal")
_SIGNIFICANT = 7
_DECIMALS = 10
_LARGE = 1e15


@dataclass(frozen=True, slots=True)
class Line:
    """A row: its place in the table, its values, and the words for them."""

    number: int
    values: tuple[Any, ...]
    words: tuple[str, ...]


def value_text(value: Any, decimals: int | None = None) -> str:
    """A cell's words: a number with that many decimals, else with seven digits; times without needless parts.

    What is missing is a dash, what is not a number is NaN.
    """
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _float_text(value, decimals)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dt.datetime):
        words = value.replace(tzinfo=None).isoformat(" ")
        return words.removesuffix(" 00:00:00")
    if isinstance(value, str):
        return " ".join(value.split("\n")) if "\n" in value else value
    return str(value)


def _float_text(value: float, decimals: int | None) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if abs(value) >= _LARGE:
        return f"{value:.6e}"
    decimals = _decimals(value) if decimals is None else decimals
    if value and abs(value) < 0.5 * 10.0**-decimals:
        return f"{value:.2e}"
    return f"{value:,.{decimals}f}"


def _decimals(value: float) -> int:
    """How many decimals a number needs to show seven digits, and no more than it has."""
    if not math.isfinite(value) or abs(value) >= _LARGE:
        return 0
    mantissa, _, power = f"{value:.{_SIGNIFICANT - 1}e}".partition("e")
    return min(max(len(mantissa.rstrip("0").partition(".")[2]) - int(power), 0), _DECIMALS)


def exact_text(value: Any) -> str:
    """A value in full, as it is copied: all digits, times in ISO 8601 with offset, nothing for what is missing."""
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    return str(value).replace("\t", " ").replace("\n", " ")


class Digits:
    """How many decimals each column shows, so that its numbers align: as many as those on the pages seen so far need,
    as long as the largest has no more than seven digits; a number that is nothing by then is written as a power."""

    def __init__(self, columns: int) -> None:
        self._decimals = [0] * columns

    def words(self, columns: Sequence[Sequence[Any]]) -> list[list[str]]:
        """The words of columns of values."""
        found = []
        for place, values in enumerate(columns):
            numbers = [value for value in values if isinstance(value, float)]
            if numbers:
                self._decimals[place] = max(self._decimals[place], _needed(numbers))
            found.append([value_text(value, self._decimals[place]) for value in values])
        return found


def _needed(numbers: Sequence[float]) -> int:
    sizes = [abs(value) for value in numbers if value and math.isfinite(value) and abs(value) < _LARGE]
    if not sizes:
        return 0
    most = min(max(_SIGNIFICANT - 1 - math.floor(math.log10(max(sizes))), 4), _DECIMALS)
    return max((min(_decimals(size), most) for size in sizes if size >= 0.5 * 10.0**-most), default=0)


def _heading(name: str, kind: str) -> Heading:
    width = 20 if kind.startswith("timestamp") else max(10, min(28, len(name) + 3))
    zone = kind.partition("tz=")[2].rstrip("]") if kind.startswith("timestamp") else ""
    return Heading(name, f"{name} ({zone})" if zone else name, width, "right" if kind.startswith(_NUMBERS) else "left")


class TablePage(QObject):
    """One page of a result table. `sort` and `selection` say of what; `rows` is how many there are.

    Signals:
        shown(): `model` holds the asked page now, or `trouble` says why not
    """

    shown = Signal()

    def __init__(self, table: TableInfo, client: Client, bridge: Bridge, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.table = table
        self.size = 10
        self.page = 0
        self.rows = table.rows
        self.sort: By | None = None
        self.selection = Selection()
        self.trouble = ""
        self.reading = False
        self._missed = False
        self._client = client
        self._bridge = bridge
        self._digits = Digits(len(table.columns))
        self.model: RowsModel[Line] = RowsModel(
            [_heading(name, kind) for name, kind in table.columns],
            key=lambda line: line.number,
            text=lambda line, column: line.words[column],
            parent=self,
        )

    @property
    def pages(self) -> int:
        return max(1, -(-self.rows // self.size))

    def has(self, column: str) -> bool:
        return any(name == column for name, _ in self.table.columns)

    def go(self, page: int, size: int | None = None) -> None:
        """Show that page (from 0), with that many rows."""
        if size is not None and size != self.size:
            page = self.page * self.size // size
            self.size = size
        self.page = max(0, min(page, self.pages - 1))
        self._start(count=False)

    def order(self, sort: By | None) -> None:
        """Sort by a column, or show the rows as they were written; from the first page on."""
        self.sort = sort
        self.go(0)

    def choose(self, selection: Selection) -> None:
        """Only these rows; from the first page on."""
        if selection != self.selection:
            self.selection = selection
            self.page = 0
            self._start(count=True)

    def change(self, table: TableInfo) -> None:
        """The table as it is now; what is shown is read again when it grew."""
        grew = table.rows != self.table.rows or table.complete != self.table.complete
        self.table = table
        if (grew or self._missed) and not self.reading:
            self._start(count=True)

    def _start(self, *, count: bool) -> None:
        self.reading = True
        self._bridge.latest(self, "page", self._read(count))

    async def _read(self, count: bool) -> None:
        try:
            rows, page, lines = await self._bridge.call(self._asked, count, self.page)
        except Disconnected as error:
            # the window says so; what is shown stays, and is read again when the server is back
            self._missed = True
            self.trouble = "" if self.model.rowCount() else str(error)
        except QuarterdeckError as error:
            self._missed = True
            self.trouble = str(error)
        else:
            self._missed = False
            self.trouble = ""
            self.rows, self.page = rows, page
            self.model.replace(lines)
        finally:
            self.reading = False
        self.shown.emit()

    def _asked(self, count: bool, page: int) -> tuple[int, int, list[Line]]:
        chosen = {"start": self.selection.start, "end": self.selection.end, "symbols": self.selection.symbols}
        rows = self.rows
        if count:
            rows = self._client.results.count(self.table.id, **chosen) if self.selection else self.table.rows
            page = max(0, min(page, -(-rows // self.size) - 1))
        offset = page * self.size
        found = self._client.page(self.table.id, offset=offset, limit=self.size, sort=self.sort, **chosen)  # type: ignore[arg-type]
        values = [_values(column) for column in found.columns]
        lines = zip(zip(*values, strict=True), zip(*self._digits.words(values), strict=True), strict=True)
        return rows, page, [Line(offset + number, *line) for number, line in enumerate(lines)]

    def symbols(self) -> list[str]:
        """The table's symbols; a call to the server, not for the window's thread."""
        return self._client.results.symbols(self.table.id)

    def copied(self, lines: Sequence[Line], *, headings: bool) -> str:
        """Rows as text with tabs between, every value in full."""
        rows = [[exact_text(value) for value in line.values] for line in lines]
        if headings:
            rows.insert(0, [name for name, _ in self.table.columns])
        return "\n".join("\t".join(row) for row in rows)


def _values(column: Any) -> list[Any]:
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # times that Python can't hold, such as fractions of a microsecond
        import pyarrow as pa

        return list(column.cast(pa.string()).to_pylist())


class Download(QObject):
    """A table on its way into a file. It goes on when the table is closed; `tell` says how it ended.

    Signals:
        changed(): `share` is another, or it has ended (`ended`)
    """

    changed = Signal()

    INTERVAL = 0.1

    def __init__(
        self, page: TablePage, path: Path, client: Client, bridge: Bridge, tell: Callable[[str], None]
    ) -> None:
        super().__init__(bridge)
        self.path = path
        self.share = 0.0
        self.ended = False
        self._name = page.table.name
        self._table = page.table.id
        self._chosen = page.selection
        self._client = client
        self._bridge = bridge
        self._tell = tell
        self._stopped = False
        self._done = (0, 0)
        bridge.start(self, self._watch())
        bridge.start(self, self._write())

    def stop(self) -> None:
        """Leave it; a file that was there before stays as it was."""
        self._stopped = True

    async def _watch(self) -> None:
        while not self.ended:
            await self._bridge.pause(self.INTERVAL)
            done, total = self._done
            if total and done / total != self.share:
                self.share = done / total
                self.changed.emit()

    async def _write(self) -> None:
        chosen = self._chosen
        try:
            rows = await self._bridge.call(
                self._client.export,
                self._table,
                self.path,
                progress=self._progress,
                start=chosen.start,
                end=chosen.end,
                symbols=chosen.symbols,
            )
        except _Stopped:
            self._tell(f"{self.path.name} is not written: the download was stopped.")
        else:
            self._tell(f"{self._name} is saved as {self.path.name}: {rows:,} row{'' if rows == 1 else 's'}.")
        finally:
            self._stopped = True  # a window that closes ends the writing in its thread too
            self.ended = True
            self.changed.emit()
            self.deleteLater()

    def _progress(self, done: int, total: int) -> None:
        """From the thread that writes."""
        self._done = (done, total)
        if self._stopped:
            raise _Stopped("the download was stopped")


class _Stopped(Conflict):
    pass
