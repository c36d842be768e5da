"""What an import did: counts per file and in total, the table's columns and range, remarks, and the rejected lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quarterdeck.errors import Invalid
from quarterdeck.quant.source import Fault
from quarterdeck.quant.time_format import TIME

if TYPE_CHECKING:
    import polars as pl

__all__ = ["FILES", "REJECTS", "SYMBOLS", "FileReport", "ImportReport", "Rejects", "SymbolTally", "registered"]

REJECTS = pa.schema(
    [
        ("file", pa.string()),
        ("line", pa.int64()),
        ("column", pa.string()),
        ("action", pa.string()),
        ("reason", pa.string()),
        ("text", pa.string()),
    ]
)
"""T1's table of the lines that were rejected, and of changes that were made (action: rejected, changed, sorted)."""

FILES = pa.schema(
    [
        ("file", pa.string()),
        ("rows_read", pa.int64()),
        ("rows_written", pa.int64()),
        ("rows_rejected", pa.int64()),
        ("first_time", TIME),
        ("last_time", TIME),
        ("notes", pa.string()),
    ]
)
SYMBOLS = pa.schema([("symbol", pa.string()), ("rows", pa.int64()), ("first_time", TIME), ("last_time", TIME)])
"""The symbols that were written: how many rows, from when to when."""
_HELD = 20_000
_TALLIED = 200_000


def _moment(micros: int | None) -> datetime | None:
    if micros is None:
        return None
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)


@dataclass
class FileReport:
    """One source's counts. `rows_read` is always `rows_written + rows_rejected` once the import has ended; blank
    lines are no rows. `notes` are sentences for people."""

    file: str
    rows_read: int = 0
    rows_written: int = 0
    rows_rejected: int = 0
    first: int | None = None
    last: int | None = None
    notes: list[str] = field(default_factory=list)
    changes: dict[tuple[str, str], tuple[int, int, str]] = field(default_factory=dict)
    low_prices: int = 0
    unsorted_line: int = 0
    _latest: int | None = None

    def arrived(self, times: npt.NDArray[np.int64], lines: npt.NDArray[np.int64]) -> None:
        """Keep the range of times, and where they first go back."""
        low, high = int(times.min()), int(times.max())
        self.first = low if self.first is None else min(self.first, low)
        self.last = high if self.last is None else max(self.last, high)
        if not self.unsorted_line:
            early = times[1:] < times[:-1]
            if self._latest is not None and times[0] < self._latest:
                self.unsorted_line = int(lines[0])
            elif early.any():
                self.unsorted_line = int(lines[int(np.argmax(early)) + 1])
        self._latest = int(times[-1])


@dataclass
class ImportReport:
    """The import results of D1: per file and in total.

    `columns` are the table's columns and their Arrow types, `sources` what each was called where it came from.
    """

    files: list[FileReport] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    symbols: int = 0
    first_symbols: list[str] = field(default_factory=list)
    first: int | None = None
    last: int | None = None

    @property
    def rows_read(self) -> int:
        return sum(entry.rows_read for entry in self.files)

    @property
    def rows_written(self) -> int:
        return sum(entry.rows_written for entry in self.files)

    @property
    def rows_rejected(self) -> int:
        return sum(entry.rows_rejected for entry in self.files)

    @property
    def first_time(self) -> datetime | None:
        return _moment(self.first)

    @property
    def last_time(self) -> datetime | None:
        return _moment(self.last)

    def span(self, first: int, last: int) -> None:
        """Widen the range of times (microseconds) of what was written."""
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def files_table(self) -> pa.Table:
        """One row a source, with its notes joined by semicolons."""
        rows = [
            {
                "file": entry.file,
                "rows_read": entry.rows_read,
                "rows_written": entry.rows_written,
                "rows_rejected": entry.rows_rejected,
                "first_time": _moment(entry.first),
                "last_time": _moment(entry.last),
                "notes": "; ".join(entry.notes),
            }
            for entry in self.files
        ]
        return pa.Table.from_pylist(rows, FILES)

    def to_dict(self) -> dict[str, Any]:
        """The whole report in JSON's types; times in ISO form."""
        files = [
            {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
            for row in self.files_table().to_pylist()
        ]
        for row, entry in zip(files, self.files, strict=True):
            row["notes"] = list(entry.notes)
        return {
            "rows_read": self.rows_read,
            "rows_written": self.rows_written,
            "rows_rejected": self.rows_rejected,
            "columns": dict(self.columns),
            "sources": dict(self.sources),
            "symbols": self.symbols,
            "first_symbols": list(self.first_symbols),
            "first_time": self.first_time.isoformat() if self.first_time else None,
            "last_time": self.last_time.isoformat() if self.last_time else None,
            "files": files,
        }


class SymbolTally:
    """Counts the rows of each symbol, and finds their first and last times, batch by batch."""

    def __init__(self) -> None:
        self._parts: list[pa.Table] = []
        self._held = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch with the columns symbol and time."""
        symbols = batch.column("symbol").cast(pa.string())
        count = pa.repeat(pa.scalar(1, pa.int64()), batch.num_rows)
        times = batch.column("time").cast(TIME)
        self._parts.append(self._grouped(pa.table([symbols, count, times, times], SYMBOLS)))
        self._held += self._parts[-1].num_rows
        if self._held > _TALLIED and len(self._parts) > 1:
            self._parts = [self._grouped(pa.concat_tables(self._parts))]
            self._held = self._parts[0].num_rows

    def table(self) -> pa.Table:
        """One row a symbol, in alphabetical order."""
        if not self._parts:
            return SYMBOLS.empty_table()
        return self._grouped(pa.concat_tables(self._parts)).sort_by("symbol")

    @staticmethod
    def _grouped(table: pa.Table) -> pa.Table:
        grouped = table.group_by("symbol").aggregate([("rows", "sum"), ("first_time", "min"), ("last_time", "max")])
        return grouped.select(["symbol", "rows_sum", "first_time_min", "last_time_max"]).rename_columns(SYMBOLS.names)


def registered(folder: Path, scan: pl.LazyFrame) -> tuple[ImportReport, pa.Table]:
    """The report, and the table of symbols, of Parquet files below a folder that stay where they are.

    Raises Invalid when a file can't be read.
    """
    import polars as pl

    schema = scan.collect_schema()
    file = next(name for name in ("file", "file_", "file__") if name not in schema)
    try:
        whole = pl.scan_parquet(folder / "**" / "*.parquet", include_file_paths=file)
        spans = (pl.len().alias("rows"), pl.col("time").min().alias("first"), pl.col("time").max().alias("last"))
        files = whole.group_by(file).agg(*spans).sort(file).collect()
        symbols = scan.group_by(pl.col("symbol").cast(pl.String)).agg(*spans).sort("symbol").collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Invalid(f"the folder {folder} can't be read as Parquet: {str(error).splitlines()[0]}") from None
    report = ImportReport(columns={name: str(kind) for name, kind in schema.items()}, symbols=symbols.height)
    report.first_symbols = symbols["symbol"].head(20).to_list()
    for name, rows, first, last in files.iter_rows():
        low, high = _micros(first), _micros(last)
        relative = Path(name).relative_to(folder)
        report.files.append(FileReport(str(relative), rows, rows, 0, low, high, ["stays where it is"]))
        if low is not None and high is not None:
            report.span(low, high)
    times = [[_moment(_micros(value)) for value in symbols[name]] for name in ("first", "last")]
    return report, pa.table([symbols["symbol"].to_list(), symbols["rows"].to_list(), *times], SYMBOLS)


def _micros(time: datetime | date | None) -> int | None:
    if time is None:
        return None
    moment = time if isinstance(time, datetime) else datetime(time.year, time.month, time.day, tzinfo=UTC)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


class Rejects:
    """Rejected lines, kept in a scratch file, so that a file of nothing else takes no memory either."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "rejects.arrow"
        self._held: tuple[list[Any], ...] = tuple([] for _ in REJECTS)
        self._sink: Any = None
        self._writer: Any = None

    def add(self, file: str, fault: Fault) -> None:
        self.extend([file], [fault.line], fault.column, fault.action, [fault.reason], [fault.text])

    def extend(
        self,
        files: Sequence[str],
        lines: Sequence[int],
        column: str,
        action: str,
        reasons: Sequence[str],
        texts: Sequence[str],
    ) -> None:
        """Add lines of one column and action."""
        count = len(lines)
        for held, more in zip(
            self._held, (files, lines, [column] * count, [action] * count, reasons, texts), strict=True
        ):
            held.extend(more)
        if len(self._held[0]) >= _HELD:
            if self._writer is None:
                self._sink = pa.OSFile(str(self._path), "wb")
                self._writer = pa.ipc.new_stream(self._sink, REJECTS)
            self._writer.write_batch(self._batch())
            self._held = tuple([] for _ in REJECTS)

    def _batch(self) -> pa.RecordBatch:
        texts = self._held[-1]
        try:
            last = pa.array(texts, pa.string())
        except (pa.ArrowException, UnicodeError):  # half a surrogate pair, which is no text
            last = pa.array([text.encode("utf-8", "backslashreplace").decode() for text in texts], pa.string())
        columns = [pa.array(held, kind.type) for held, kind in zip(self._held[:-1], REJECTS, strict=False)]
        return pa.record_batch([*columns, last], schema=REJECTS)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All of them, in the order in which they were found."""
        if self._writer is not None:
            self.close()
            with pa.OSFile(str(self._path)) as file, pa.ipc.open_stream(file) as reader:
                yield from reader
        if self._held[0]:
            yield self._batch()

    def close(self) -> None:
        if self._writer is not None and not self._sink.closed:
            self._writer.close()
            self._sink.close()
