"""Imports for tests: content into a file, the file through a `MarketImport`, all of what comes out as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from quarterdeck.quant.import_report import REJECTS, ImportReport
from quarterdeck.quant.market import MarketImport, MarketRequest


@dataclass
class Imported:
    table: pa.Table
    rejects: list[dict[str, Any]]
    report: ImportReport
    sizes: list[int]

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.table.to_pylist()]

    @property
    def refused(self) -> list[tuple[int, str, str]]:
        """Line, column and reason of what was rejected, by line."""
        chosen = [r for r in self.rejects if r["action"] == "rejected"]
        return sorted((r["line"], r["column"], r["reason"]) for r in chosen)

    def column(self, name: str) -> list[Any]:
        return list(self.table.column(name).to_pylist())

    @property
    def notes(self) -> list[str]:
        return self.report.files[0].notes


def imported(
    path: Path | list[Path] | None, scratch: Path, *, settings: dict[str, Any] | None = None, **options: Any
) -> Imported:
    """What an import of the files gives; `settings` are MarketImport's own, the rest the request's."""
    if path is not None:
        options["path"] = [str(p) for p in path] if isinstance(path, list) else str(path)
    folder = scratch / "scratch"
    folder.mkdir(exist_ok=True)
    with MarketImport(MarketRequest(**options), folder, **(settings or {})) as data:
        schema = data.read()
        batches = list(data.batches())
        table = pa.Table.from_batches(batches, schema)
        rejects = pa.Table.from_batches(list(data.rejects()), REJECTS).to_pylist()
    assert not list(folder.iterdir()), "the import's own folder is left behind"
    times = table.column("time").cast(pa.int64()).to_pylist()
    keys = list(zip(times, table.column("symbol").to_pylist(), strict=True))
    assert keys == sorted(set(keys)), "not in order of time and symbol, or a key twice"
    assert data.report.rows_written == table.num_rows
    assert data.report.rows_rejected == sum(r["action"] == "rejected" for r in rejects)
    assert data.report.rows_read == data.report.rows_written + data.report.rows_rejected
    return Imported(table, rejects, data.report, [b.num_rows for b in batches])


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]
