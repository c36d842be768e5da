"""The codec of result blocks."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pyarrow as pa
import pytest

from quarterdeck.results import decode_block, encode_block, schema_bytes, schema_from

UTC = dt.UTC


def test_a_block_survives_with_its_bounds() -> None:
    table = pa.table(
        {
            "time": pa.array(
                [dt.datetime(2024, 1, 3, tzinfo=UTC), None, dt.datetime(2024, 1, 2, tzinfo=UTC)],
                pa.timestamp("us", "UTC"),
            ),
            "symbol": ["MSFT", "AAPL", None],
            "value": [1.5, None, -0.0],
            "nested": [[1, 2], [], None],
        }
    )
    block = encode_block(table.to_batches()[0])
    assert decode_block(block.data).equals(table)
    assert block.rows == 3
    assert (block.time_min, block.time_max) == (
        dt.datetime(2024, 1, 2, tzinfo=UTC),
        dt.datetime(2024, 1, 3, tzinfo=UTC),
    )
    assert (block.symbol_min, block.symbol_max) == ("AAPL", "MSFT")


def test_nanoseconds_round_outward() -> None:
    block = encode_block(pa.table({"time": pa.array([-1, 1_999], pa.timestamp("ns"))}))
    assert block.time_min == dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert block.time_max == dt.datetime(1970, 1, 1, 0, 0, 0, 2, tzinfo=UTC)


@pytest.mark.parametrize("kind", [pa.date32(), pa.date64(), pa.timestamp("s"), pa.timestamp("ms", "America/New_York")])
def test_bounds_of_every_time_type(kind: pa.DataType) -> None:
    days = [dt.date(2024, 2, 29), dt.date(2023, 12, 31)]
    times = (
        pa.array(days, pa.date32())
        .cast(kind if not pa.types.is_timestamp(kind) else pa.timestamp(kind.unit))
        .cast(kind)
    )
    block = encode_block(pa.table({"time": times}))
    assert (block.time_min, block.time_max) == (
        dt.datetime(2023, 12, 31, tzinfo=UTC),
        dt.datetime(2024, 2, 29, tzinfo=UTC),
    )


@pytest.mark.parametrize(
    "symbols",
    [
        pa.array(["b", "a", "é"]),
        pa.array(["b", "a", "é"], pa.large_string()),
        pa.array(["b", "a", "é"], pa.string_view()),
        pa.array(["b", "a", "é"]).dictionary_encode(),
    ],
)
def test_bounds_of_every_symbol_type(symbols: pa.Array) -> None:
    block = encode_block(pa.table({"symbol": symbols}))
    assert (block.symbol_min, block.symbol_max) == ("a", "é")  # by bytes, as the database compares with collation C
    assert decode_block(block.data).column("symbol").to_pylist() == ["b", "a", "é"]


def test_unused_dictionary_values_do_not_widen_the_bounds() -> None:
    symbols = pa.DictionaryArray.from_arrays([1, 1], ["a", "m", "z"])
    block = encode_block(pa.table({"symbol": symbols}))
    assert (block.symbol_min, block.symbol_max) == ("m", "m")


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"value": [1.0]}),
        pa.table({"time": [5], "symbol": [7]}),
        pa.table({"time": pa.array([], pa.timestamp("us")), "symbol": pa.array([], pa.string())}),
        pa.table({"time": pa.array([None], pa.timestamp("us")), "symbol": pa.array([None], pa.string())}),
        pa.table({"time": pa.array([2**62], pa.timestamp("s")), "symbol": ["a\0"]}),
    ],
)
def test_what_can_not_be_bounded_has_no_bounds(table: pa.Table) -> None:
    block = encode_block(table)
    assert (block.time_min, block.time_max, block.symbol_min, block.symbol_max) == (None, None, None, None)
    assert decode_block(block.data).num_rows == table.num_rows


def test_frames_of_polars_survive() -> None:
    frame = pl.DataFrame({"symbol": ["x", "y"], "side": ["buy", "sell"]}, schema_overrides={"side": pl.Categorical})
    block = encode_block(frame.to_arrow())
    assert pl.DataFrame(decode_block(block.data)).equals(frame)


def test_schema_survives() -> None:
    schema = pa.schema([("time", pa.timestamp("ns", "UTC")), ("symbol", pa.dictionary(pa.int32(), pa.string()))])
    assert schema_from(schema_bytes(schema)).equals(schema)
