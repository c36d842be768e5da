"""Blocks of result tables: how rows of any schema are encoded for the database. No I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "BLOCK_BYTES",
    "BLOCK_ROWS",
    "EPOCH",
    "PER_SECOND",
    "Block",
    "decode_block",
    "encode_block",
    "schema_bytes",
    "schema_from",
]

BLOCK_ROWS = 65_536
"""Rows of a block, at most, that a writer should aim for."""
BLOCK_BYTES = 8_000_000
"""Size of an encoded block that a writer should stay below."""

_ZSTD = pa.ipc.IpcWriteOptions(compression="zstd")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


@dataclass(frozen=True, slots=True)
class Block:
    """An encoded block as `qd.write_block` takes it.

    The bounds are those of the columns `time` and `symbol` (rounded outward to microseconds); None where the table has
    no such column, or none that can be bounded: then nothing may be left out by it.
    """

    data: bytes
    rows: int
    time_min: dt.datetime | None
    time_max: dt.datetime | None
    symbol_min: str | None
    symbol_max: str | None


def encode_block(batch: pa.RecordBatch | pa.Table) -> Block:
    """Encode rows as one block: an Arrow IPC stream compressed by zstd, with its bounds."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_ZSTD) as writer:
        writer.write(batch)
    time_min, time_max = _time_bounds(batch)
    symbol_min, symbol_max = _symbol_bounds(batch)
    return Block(sink.getvalue().to_pybytes(), batch.num_rows, time_min, time_max, symbol_min, symbol_max)


def decode_block(data: bytes | memoryview, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of an encoded block; with `columns` only those of them that it has: no others are unpacked.

    Raises:
        pyarrow.ArrowInvalid: the data are not a block's.
    """
    if columns is None:
        return pa.ipc.open_stream(pa.py_buffer(data)).read_all()
    names = pa.ipc.read_schema(pa.py_buffer(data)).names
    wanted = [names.index(name) for name in columns if name in names]
    options = pa.ipc.IpcReadOptions(included_fields=wanted)
    if not wanted:  # to Arrow that would mean all of them; rows without columns are still counted
        rows = pa.ipc.open_stream(pa.py_buffer(data)).read_all().num_rows
        return pa.table({"": pa.nulls(rows)}).select([])
    return pa.ipc.open_stream(pa.py_buffer(data), options=options).read_all()


def schema_bytes(schema: pa.Schema) -> bytes:
    """A schema as `qd.open_table` stores it."""
    return bytes(schema.serialize().to_pybytes())


def schema_from(data: bytes | memoryview) -> pa.Schema:
    """The schema that `schema_bytes` encoded."""
    return pa.ipc.read_schema(pa.py_buffer(data))


def _column(batch: pa.RecordBatch | pa.Table, name: str) -> Any:
    index = batch.schema.get_field_index(name)
    return None if index < 0 or batch.num_rows == 0 else batch.column(index)


def _time_bounds(batch: pa.RecordBatch | pa.Table) -> tuple[dt.datetime | None, dt.datetime | None]:
    column = _column(batch, "time")
    if column is None:
        return None, None
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if not pa.types.is_timestamp(column.type):
        return None, None
    units = PER_SECOND[column.type.unit]
    ends = pc.min_max(column.cast(pa.int64()))
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is None:
        return None, None
    try:
        return (
            EPOCH + dt.timedelta(microseconds=low * 1_000_000 // units),
            EPOCH + dt.timedelta(microseconds=-(-high * 1_000_000 // units)),
        )
    except OverflowError:
        return None, None


def _symbol_bounds(batch: pa.RecordBatch | pa.Table) -> tuple[str | None, str | None]:
    column = _column(batch, "symbol")
    if column is None:
        return None, None
    if pa.types.is_dictionary(column.type):
        column = pc.unique(column.cast(column.type.value_type))
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        if not pa.types.is_string_view(column.type):
            return None, None
        column = column.cast(pa.large_string())
    ends = pc.min_max(column)
    low, high = ends["min"].as_py(), ends["max"].as_py()
    if low is None or "\0" in low or "\0" in high:  # PostgreSQL's text holds no NUL
        return None, None
    return low, high
