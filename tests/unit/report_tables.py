"""Tables at hand for a report, without a database: the parts that a reader asks for are cut as it says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from quarterdeck.errors import NotFound
from quarterdeck.report import Template, parse
from quarterdeck.report.access import Extract
from quarterdeck.results import By


class Held:
    """A table in memory, in batches of `size` rows. `asked` keeps what was asked for."""

    paged = True

    def __init__(self, name: str, table: pa.Table, size: int = 1_000) -> None:
        self.name = f"table '{name}'"
        self.columns: Mapping[str, pa.DataType] = dict(zip(table.schema.names, table.schema.types, strict=True))
        self._table = table
        self._size = size
        self.asked: list[Extract] = []

    def _cut(self, part: Extract) -> pa.Table:
        self.asked.append(part)
        frame = pl.from_arrow(self._table)
        assert isinstance(frame, pl.DataFrame)
        keep = pl.repeat(True, frame.height, eager=True)
        if part.symbols is not None:
            keep &= frame["symbol"].cast(pl.String).is_in(list(part.symbols)).fill_null(False)
        if part.start is not None:
            keep &= (frame["time"] >= part.start).fill_null(False)
        if part.end is not None:
            keep &= (frame["time"] <= part.end).fill_null(False)
        rows = self._table.filter(keep.to_arrow())
        if part.columns is None:
            return rows
        return rows.select([name for name in rows.schema.names if name in part.columns])

    def count(self, part: Extract) -> int:
        return int(self._cut(part).num_rows)

    def batches(self, part: Extract) -> Iterator[pa.Table]:
        rows = self._cut(part)
        for start in range(0, rows.num_rows, self._size):
            yield rows.slice(start, self._size)

    def page(self, part: Extract, offset: int, limit: int, sort: By | None) -> pa.Table:
        rows = self._cut(part)
        if sort is not None:
            rows = rows.sort_by([(sort.column, "descending" if sort.descending else "ascending")])
        return rows.slice(offset, limit)

    def take(self, places: Sequence[int]) -> pa.Table:
        return self._table.take(pa.array(places, pa.int64()))


class Tables:
    """A report's access to these tables by name; datasets are those whose names begin with "data"."""

    def __init__(self, **tables: pa.Table) -> None:
        self.stored = {name: Held(name, table) for name, table in tables.items()}

    def table(self, name: str, *, job: int | None = None, task: int | None = None) -> Held:
        if name not in self.stored:
            raise NotFound(f"job 1 has no table '{name}'")
        return self.stored[name]

    def dataset(self, name: str) -> Held:
        return self.table(name)

    def refresh(self) -> None:
        pass


START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
TIME = pa.timestamp("us", "UTC")
DAYS = [START + dt.timedelta(days=n) for n in range(10)]
SECONDS = [one.timestamp() for one in DAYS]


def prices() -> pa.Table:
    """Three symbols over ten days: values 0 to 9, 100 to 109, 200 to 209, in order of time."""
    return pa.table(
        {
            "time": pa.array([day for day in DAYS for _ in range(3)], TIME),
            "symbol": pa.array(["A", "B", "C"] * 10).dictionary_encode(),
            "value": [float(100 * n + day) for day in range(10) for n in range(3)],
            "lot": pa.array(range(30), pa.int64()),
            "note": pa.array(["odd", "even"] * 15),
        }
    )


def template(sources: dict[str, Any], *panels: dict[str, Any], choices: list[dict[str, Any]] | None = None) -> Template:
    made = [
        {"id": f"p{n}", "source": next(iter(sources)), "place": {"row": 4 * n}, **panel}
        for n, panel in enumerate(panels)
    ]
    return parse({"name": "x", "title": "x", "sources": sources, "panels": made, "choices": choices or []})


def line(x: str, *y: str, color: str | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "line", "fields": {"x": x, "y": list(y), **({"color": color} if color else {})}, **more}


SYMBOL = {"name": "symbol", "title": "Stock code", "source": "all", "column": "symbol"}
