"""What an import did: counts per file and in total, the table's columns and range, remarks, and the rejected lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quarterdeck.quant.source import Fault
from quarterdeck.quant.time_format import TIME

__all__ = ["FILES", "REJECTS", "FileReport", "ImportReport", "Rejects"]

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
_HELD = 20_000


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
    """The import results of D1: per file and in total."""

    files: list[FileReport] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
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
            "symbols": self.symbols,
            "first_symbols": list(self.first_symbols),
            "first_time": self.first_time.isoformat() if self.first_time else None,
            "last_time": self.last_time.isoformat() if self.last_time else None,
            "files": files,
        }


class Rejects:
    """Rejected lines, kept in a scratch file, so that a file of nothing else takes no memory either."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "rejects.arrow"
        self._held: list[dict[str, object]] = []
        self._sink: Any = None
        self._writer: Any = None

    def add(self, file: str, fault: Fault) -> None:
        self._held.append(
            {
                "file": file,
                "line": fault.line,
                "column": fault.column,
                "action": fault.action,
                "reason": fault.reason,
                "text": fault.text.encode("utf-8", "backslashreplace").decode(),
            }
        )
        if len(self._held) >= _HELD:
            if self._writer is None:
                self._sink = pa.OSFile(str(self._path), "wb")
                self._writer = pa.ipc.new_stream(self._sink, REJECTS)
            self._writer.write_batch(self._batch())
            self._held = []

    def _batch(self) -> pa.RecordBatch:
        return pa.RecordBatch.from_pylist(self._held, REJECTS)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All of them, in the order in which they were found."""
        if self._writer is not None:
            self.close()
            with pa.OSFile(str(self._path)) as file, pa.ipc.open_stream(file) as reader:
                yield from reader
        if self._held:
            yield self._batch()

    def close(self) -> None:
        if self._writer is not None and not self._sink.closed:
            self._writer.close()
            self._sink.close()
