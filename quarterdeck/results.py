"""Result tables: Arrow blocks of any schema in the database, read in pages, as frames, and exported to files."""

from __future__ import annotations

import bisect
import datetime as dt
import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import sqlalchemy as sa

from quarterdeck.blocks import (
    BLOCK_BYTES,
    BLOCK_ROWS,
    EPOCH,
    PER_SECOND,
    Block,
    decode_block,
    encode_block,
    schema_bytes,
    schema_from,
)
from quarterdeck.database import reading
from quarterdeck.errors import Conflict, Invalid, NotFound
from quarterdeck.query import close_match

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BLOCK_BYTES",
    "BLOCK_ROWS",
    "Block",
    "By",
    "Results",
    "Selection",
    "decode_block",
    "encode_block",
    "schema_bytes",
    "schema_from",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which rows of a table: times from `start` to `end`, both included (naive ones are UTC), and only these symbols.

    A selection by time or symbol leaves out rows that have none.
    """

    start: dt.datetime | None = None
    end: dt.datetime | None = None
    symbols: tuple[str, ...] | None = None

    def __bool__(self) -> bool:
        return bool(self.columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it looks at."""
        times = self.start is not None or self.end is not None
        return ("time",) * times + ("symbol",) * (self.symbols is not None)


@dataclass(frozen=True, slots=True)
class By:
    """A sort by a column of a table. Rows without a value come last either way; equal ones stay as written."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class _Stored:
    """A stored block, without its data."""

    table: int
    number: int
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Head:
    """What is known of the tables before any block is read: of the blocks, those that the selection may touch."""

    name: str
    schema: pa.Schema
    blocks: tuple[_Stored, ...]

    @property
    def rows(self) -> int:
        return sum(block.rows for block in self.blocks)


_HEAD = """
select r.id, r.name, r.schema, b.number, b.rows, octet_length(b.data)
  from qd.result_table as r left join qd.result_block as b on b.table_id = r.id
   and (%(start)s::timestamptz is null or b.time_max is null or b.time_max >= %(start)s)
   and (%(end)s::timestamptz is null or b.time_min is null or b.time_min <= %(end)s)
   and (%(symbols)s::text[] is null or b.symbol_min is null or exists (
        select from unnest(%(symbols)s::text[]) as s(v)
         where s.v between (b.symbol_min collate "C") and (b.symbol_max collate "C")))
 where r.id = any(%(tables)s)
 order by array_position(%(tables)s, r.id), b.number
"""
_DATA = "select number, data from qd.result_block where table_id = %s and number = any(%s)"
_FETCH_BYTES = 16_000_000
_KEEP_BYTES = 64_000_000
_VIEW_BYTES = 512_000_000


class Results:
    """Reads result tables. `tables` is a table's id, or several ids of one schema that are read as one table.

    Usable from several threads. Blocks never change, so the last ones read are kept (64 MB), as is the last table that
    was sorted or filtered.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        self._kept_bytes = 0
        self._view: tuple[Any, pa.Table] | None = None

    def schema(self, tables: int | Sequence[int]) -> pa.Schema:
        """The columns of a table.

        Raises:
            NotFound: there is no such table that you may see.
        """
        with self._cursor() as cursor:
            return _head(cursor, _ids(tables), Selection()).schema

    def count(self, tables: int | Sequence[int], **selection: Any) -> int:
        """How many rows the table has, or `selection` (start, end, symbols) picks. Raises as `page` does."""
        chosen = _selection(**selection)
        with self._cursor() as cursor:
            head = _head(cursor, _ids(tables), chosen)
            if not chosen:
                return head.rows
            return int(self._selected(cursor, head, chosen, None).num_rows)

    def symbols(self, tables: int | Sequence[int]) -> list[str]:
        """The different symbols of a table, in alphabetical order; none if it has no such column."""
        with self._cursor() as cursor:
            head = _head(cursor, _ids(tables), Selection())
            found: set[str] = set()
            if "symbol" in head.schema.names:
                for block in self._blocks(cursor, head.blocks):
                    found.update(value for value in pc.unique(block.column("symbol")).to_pylist() if value is not None)
        return sorted(found)

    def page(
        self,
        tables: int | Sequence[int],
        *,
        offset: int = 0,
        limit: int = 10,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        symbols: Sequence[str] | None = None,
        sort: By | None = None,
    ) -> pa.Table:
        """Rows `offset` to `offset + limit` of what the selection picks, in the sort's order, else as written.

        Raises:
            NotFound: there is no such table that you may see.
            Invalid: it has no column of that name, or none of times or symbols to select by.
            Conflict: the table was deleted while it was read.
        """
        if offset < 0 or limit < 0:
            raise Invalid("a page begins at 0 and has at least 0 rows", field="limit")
        chosen = _selection(start, end, symbols)
        with self._cursor() as cursor:
            head = _head(cursor, _ids(tables), chosen)
            if not chosen and sort is None:
                return self._slice(cursor, head, offset, limit)
            return self._selected(cursor, head, chosen, sort).slice(offset, limit)

    def take(self, tables: int | Sequence[int], places: Sequence[int]) -> pa.Table:
        """The rows at these places (from 0, as written), in this order; only their blocks are read.

        Raises:
            NotFound: there is no such table that you may see.
            Invalid: there is no such place.
            Conflict: the table was deleted while it was read.
        """
        with self._cursor() as cursor:
            head = _head(cursor, _ids(tables), Selection())
            starts = list(itertools.accumulate((block.rows for block in head.blocks), initial=0))
            if any(place < 0 or place >= head.rows for place in places):
                raise Invalid(f"table '{head.name}' has {head.rows:,} rows: there is no such place", field="places")
            inside: dict[int, list[int]] = {}
            for place in sorted(set(places)):
                number = bisect.bisect_right(starts, place) - 1
                inside.setdefault(number, []).append(place - starts[number])
            blocks = self._blocks(cursor, [head.blocks[number] for number in inside])
            parts = [block.take(pa.array(at, pa.int64())) for block, at in zip(blocks, inside.values(), strict=True)]
        where = {place: number for number, place in enumerate(sorted(set(places)))}
        return _joined(parts, head.schema).take(pa.array([where[place] for place in places], pa.int64()))

    def arrow(self, tables: int | Sequence[int], **selection: Any) -> pa.Table:
        """All rows that `selection` (start, end, symbols) picks, as written. Raises as `page` does."""
        chosen = _selection(**selection)
        with self._cursor() as cursor:
            head = _head(cursor, _ids(tables), chosen)
            _check(head, chosen)
            parts = [_filter(block, chosen) for block in self._blocks(cursor, head.blocks, keep=False)]
        return _joined(parts, head.schema)

    def frame(self, tables: int | Sequence[int], **selection: Any) -> pd.DataFrame:
        """The same as a pandas frame."""
        return self.arrow(tables, **selection).to_pandas()  # type: ignore[no-any-return]

    def batches(
        self, tables: int | Sequence[int], *, columns: Sequence[str] | None = None, **selection: Any
    ) -> Iterator[pa.Table]:
        """The same block by block, for tables larger than memory. With `columns` only those that a block has of them,
        in the table's order; the others' data are not unpacked."""
        chosen = _selection(**selection)
        with self._cursor() as cursor:
            head = _head(cursor, _ids(tables), chosen)
            _check(head, chosen)
            read = None if columns is None else sorted({*columns, *chosen.columns})
            for block in self._blocks(cursor, head.blocks, keep=False, columns=read):
                rows = _filter(block, chosen)
                yield rows if columns is None else _narrowed(rows, columns)

    def export(
        self,
        tables: int | Sequence[int],
        path: str | Path,
        *,
        progress: Callable[[int, int], None] | None = None,
        **selection: Any,
    ) -> int:
        """Write the rows to a file, by its ending .csv, .parquet or .xlsx; how many rows were written.

        The file appears whole or not at all; a file of that name is replaced. CSV and Parquet are written block by
        block. `progress` is told how many rows of how many have been read; what it raises ends the export.

        Raises:
            Invalid: the ending is unknown, the file can't be written, or an Excel sheet can't hold the table.
            NotFound, Conflict: as by `page`.
        """
        from quarterdeck import export

        chosen = _selection(**selection)
        with export.opened(Path(path)) as file, self._cursor() as cursor:
            head = _head(cursor, _ids(tables), chosen)
            _check(head, chosen)

            def blocks() -> Iterator[pa.Table]:
                done = 0
                for block in self._blocks(cursor, head.blocks, keep=False):
                    if progress is not None:
                        progress(done, head.rows)
                    done += block.num_rows
                    yield _filter(block, chosen)

            return int(file.write(head.name, head.schema, blocks(), at_most=head.rows))

    @contextmanager
    def _cursor(self) -> Iterator[psycopg.Cursor[Any]]:
        with reading(self._engine) as connection:
            driver = connection.connection.driver_connection
            if not isinstance(driver, psycopg.Connection):
                raise TypeError("the engine must be one of psycopg's")
            with driver.cursor(binary=True) as cursor:
                yield cursor

    def _slice(self, cursor: psycopg.Cursor[Any], head: _Head, offset: int, limit: int) -> pa.Table:
        first, wanted, skipped = 0, list[_Stored](), 0
        for block in head.blocks:
            if first + block.rows > offset and first < offset + limit:
                if not wanted:
                    skipped = offset - first
                wanted.append(block)
            first += block.rows
        return _joined(list(self._blocks(cursor, wanted)), head.schema).slice(skipped, limit)

    def _selected(self, cursor: psycopg.Cursor[Any], head: _Head, chosen: Selection, sort: By | None) -> pa.Table:
        _check(head, chosen)
        if sort is not None and sort.column not in head.schema.names:
            hint = close_match(sort.column, head.schema.names)
            raise Invalid(f"table '{head.name}' has no column '{sort.column}'{hint}", field="sort")
        key = (head.blocks, chosen, None if sort is None else (sort.column, sort.descending))
        with self._lock:
            if self._view is not None and self._view[0] == key:
                return self._view[1]
        view = _joined([_filter(block, chosen) for block in self._blocks(cursor, head.blocks)], head.schema)
        if sort is not None:
            view = _sorted(view, sort)
        if view.nbytes <= _VIEW_BYTES:
            with self._lock:
                self._view = (key, view)
        return view

    def _blocks(
        self,
        cursor: psycopg.Cursor[Any],
        blocks: Sequence[_Stored],
        *,
        keep: bool = True,
        columns: Sequence[str] | None = None,
    ) -> Iterator[pa.Table]:
        """The blocks' rows, in order, a few megabytes at a time."""
        start = 0
        while start < len(blocks):
            stop, size = start, 0
            while (
                stop < len(blocks)
                and blocks[stop].table == blocks[start].table
                and (stop == start or size < _FETCH_BYTES)
            ):
                size += blocks[stop].bytes
                stop += 1
            yield from self._read(cursor, blocks[start:stop], keep, columns)
            start = stop

    def _read(
        self, cursor: psycopg.Cursor[Any], blocks: Sequence[_Stored], keep: bool, columns: Sequence[str] | None
    ) -> list[pa.Table]:
        found: dict[int, pa.Table] = {}
        with self._lock:
            for block in blocks:
                kept = self._kept.get((block.table, block.number))
                if kept is not None:
                    self._kept.move_to_end((block.table, block.number))
                    found[block.number] = kept if columns is None else _narrowed(kept, columns)
        missing = [block.number for block in blocks if block.number not in found]
        if missing:
            rows = cursor.execute(_DATA, (blocks[0].table, missing)).fetchall()
            if len(rows) < len(missing):
                raise Conflict("the table was deleted while it was read")
            for number, data in rows:
                found[number] = decode_block(data, columns)
                if keep and columns is None:
                    self._keep((blocks[0].table, number), found[number])
        return [found[block.number] for block in blocks]

    def _keep(self, key: tuple[int, int], block: pa.Table) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = block
            self._kept_bytes += block.nbytes
            while self._kept_bytes > _KEEP_BYTES and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= oldest.nbytes


def _ids(tables: int | Sequence[int]) -> list[int]:
    return [tables] if isinstance(tables, int) else list(tables)


def _selection(
    start: dt.datetime | None = None, end: dt.datetime | None = None, symbols: Sequence[str] | None = None
) -> Selection:
    return Selection(
        start=_aware(start), end=_aware(end), symbols=None if symbols is None else tuple(sorted(set(symbols)))
    )


def _aware(time: dt.datetime | None) -> dt.datetime | None:
    return time.replace(tzinfo=dt.UTC) if time is not None and time.tzinfo is None else time


def _head(cursor: psycopg.Cursor[Any], tables: list[int], chosen: Selection) -> _Head:
    rows = cursor.execute(
        _HEAD,
        {
            "tables": tables,
            "start": chosen.start,
            "end": chosen.end,
            "symbols": None if chosen.symbols is None else list(chosen.symbols),
        },
    ).fetchall()
    missing = set(tables) - {row[0] for row in rows}
    if missing or not rows:
        raise NotFound(f"there is no table {min(missing, default='without a number')} that you may see")
    return _Head(
        name=rows[0][1],
        schema=schema_from(rows[0][2]),
        blocks=tuple(_Stored(row[0], row[3], row[4], row[5]) for row in rows if row[3] is not None),
    )


def _narrowed(rows: pa.Table, columns: Sequence[str]) -> pa.Table:
    return rows.select([name for name in rows.schema.names if name in columns])


def _joined(parts: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    if not parts:
        return schema.empty_table()
    table = pa.concat_tables(parts, promote_options="permissive") if len(parts) > 1 else parts[0]
    return table.unify_dictionaries() if len(parts) > 1 else table


def _check(head: _Head, chosen: Selection) -> None:
    if chosen.start is not None or chosen.end is not None:
        index = head.schema.get_field_index("time")
        if index < 0 or not _is_time(head.schema.field(index).type):
            raise Invalid(f"table '{head.name}' has no column 'time' of times to select by", field="start")
    if chosen.symbols is not None and "symbol" not in head.schema.names:
        raise Invalid(f"table '{head.name}' has no column 'symbol' to select by", field="symbols")


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _filter(block: pa.Table, chosen: Selection) -> pa.Table:
    if not chosen:
        return block
    masks = []
    if chosen.start is not None or chosen.end is not None:
        column = block.column("time")
        unit = "ms" if pa.types.is_date(column.type) else column.type.unit
        if pa.types.is_date(column.type):
            column = column.cast(pa.timestamp("ms"))
        ticks = column.cast(pa.int64())
        if chosen.start is not None:
            masks.append(pc.greater_equal(ticks, _ticks(chosen.start, unit, up=True)))
        if chosen.end is not None:
            masks.append(pc.less_equal(ticks, _ticks(chosen.end, unit, up=False)))
    if chosen.symbols is not None:
        column = block.column("symbol")
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_string_view(column.type):
            column = column.cast(pa.large_string())
        masks.append(pc.is_in(column, pa.array(chosen.symbols, column.type)))
    mask = masks[0]
    for other in masks[1:]:
        mask = pc.and_(mask, other)
    return block.filter(mask)


def _ticks(time: dt.datetime, unit: str, *, up: bool) -> pa.Scalar:
    micros = (time - EPOCH) // dt.timedelta(microseconds=1)
    per = PER_SECOND[unit]
    value = -(-micros * per // 1_000_000) if up else micros * per // 1_000_000
    return pa.scalar(max(-(2**63), min(2**63 - 1, value)), pa.int64())


def _sorted(table: pa.Table, sort: By) -> pa.Table:
    column = table.column(sort.column)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    try:  # a stable sort, with nulls at the end
        indices = pc.sort_indices(
            pa.table({"key": column.combine_chunks()}),
            sort_keys=[("key", "descending" if sort.descending else "ascending")],
        )
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, TypeError):
        raise Invalid(f"rows can't be sorted by '{sort.column}': it holds {column.type}", field="sort") from None
    return table.take(indices)
