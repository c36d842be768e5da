"""Result tables, read and exported through the client from a real database."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quarterdeck import export
from quarterdeck.blocks import encode_block, schema_bytes
from quarterdeck.client import Client
from quarterdeck.errors import Conflict, Invalid, NotFound
from quarterdeck.results import By, Results

if TYPE_CHECKING:
    from tests.conftest import Database

UTC = dt.UTC
START = dt.datetime(2026, 1, 5, 9, 30, tzinfo=UTC)
SYMBOLS = ("AAPL", "GOOG", "MSFT", "Ä")


@pytest.fixture
def alice(database: Database) -> Iterator[Client]:
    with Client.sign_in(database.login("alice")) as client:
        yield client


def write(database: Database, tables: dict[str, tuple[pa.Table, int]]) -> tuple[int, dict[str, int]]:
    """A job of alice's, ended well, with these tables in blocks of so many rows; its id and the tables'."""
    job = database.submit("alice")
    (task,) = [row[0] for row in database.sql("alice", "select id from qd.task where job_id = :job", job=job)]
    node = "node_n1"
    database.sql(node, "select qd.register_node(8, '{}', 'host', '1', 2, 1)")
    database.sql(node, "select * from qd.start_task(:task, 1)", task=task)
    ids = {}
    for name, (table, rows) in tables.items():
        ids[name] = database.value(
            node,
            "select qd.open_table(:task, 1, :name, :schema)",
            task=task,
            name=name,
            schema=schema_bytes(table.schema),
        )
        for number, start in enumerate(range(0, table.num_rows, rows)):
            block = encode_block(table.slice(start, rows))
            database.sql(
                node,
                "select qd.write_block(:task, 1, :id, :number, :rows, :a, :z, :s, :t, :data)",
                task=task,
                id=ids[name],
                number=number,
                rows=block.rows,
                a=block.time_min,
                z=block.time_max,
                s=block.symbol_min,
                t=block.symbol_max,
                data=block.data,
            )
        database.sql(node, "select qd.close_table(:task, 1, :id, null)", task=task, id=ids[name])
    database.sql(node, "select qd.end_task(:task, 1, 'success', 0, '', null, 0, 0)", task=task)
    return job, ids


def prices(rows: int = 1000) -> pa.Table:
    """Minute prices of four symbols, in order of time."""
    chance = np.random.default_rng(3)
    return pa.table(
        {
            "time": pa.array([START + dt.timedelta(minutes=n // 4) for n in range(rows)], pa.timestamp("us", "UTC")),
            "symbol": pa.array([SYMBOLS[n % 4] for n in range(rows)]),
            "close": pa.array(chance.normal(100, 5, rows).round(2)),
            "note": pa.array([None if n % 3 else f"n{n % 7}" for n in range(rows)]),
        }
    )


def test_pages_and_filters_are_those_of_pandas(database: Database, alice: Client) -> None:
    table = prices()
    _, ids = write(database, {"orders": (table, 90)})
    frame = table.to_pandas()
    for offset, limit in ((0, 10), (85, 10), (990, 100), (5000, 10), (0, 0), (200, 400)):
        assert alice.page(ids["orders"], offset=offset, limit=limit).equals(table.slice(offset, limit))
    start, end = START + dt.timedelta(minutes=50), START + dt.timedelta(minutes=119)
    for chosen, expected in (
        ({"symbols": ["GOOG", "Ä"]}, frame[frame.symbol.isin(["GOOG", "Ä"])]),
        ({"symbols": ["none"]}, frame[:0]),
        ({"symbols": []}, frame[:0]),
        ({"start": start}, frame[frame.time >= start]),
        ({"end": end}, frame[frame.time <= end]),
        (
            {"start": start, "end": end, "symbols": ["MSFT"]},
            frame[(frame.time >= start) & (frame.time <= end) & (frame.symbol == "MSFT")],
        ),
        ({"start": end, "end": start}, frame[:0]),
        ({"start": start.replace(tzinfo=None)}, frame[frame.time >= start]),
        ({"start": dt.datetime(1, 1, 1, tzinfo=UTC), "end": dt.datetime(9999, 1, 1, tzinfo=UTC)}, frame),
    ):
        expected = expected.reset_index(drop=True)
        pd.testing.assert_frame_equal(alice.frame(ids["orders"], **chosen), expected)
        assert alice.results.count(ids["orders"], **chosen) == len(expected)
        got = alice.page(ids["orders"], offset=7, limit=20, **chosen).to_pandas()
        pd.testing.assert_frame_equal(got, expected[7:27].reset_index(drop=True))
    assert alice.results.symbols(ids["orders"]) == ["AAPL", "GOOG", "MSFT", "Ä"]


@pytest.mark.parametrize("column", ["time", "symbol", "close", "note"])
@pytest.mark.parametrize("descending", [False, True])
def test_sorts_are_those_of_pandas(database: Database, alice: Client, column: str, descending: bool) -> None:
    table = prices(300)
    _, ids = write(database, {"orders": (table, 64)})
    # by bytes, as "Ä" follows "MSFT" in both; stable, empty values last
    expected = table.to_pandas().sort_values(column, ascending=not descending, kind="stable", na_position="last")
    got = alice.page(ids["orders"], offset=40, limit=250, sort=By(column, descending)).to_pandas()
    pd.testing.assert_frame_equal(got, expected[40:290].reset_index(drop=True))
    filtered = expected[expected.symbol == "GOOG"].reset_index(drop=True)
    got = alice.page(ids["orders"], limit=1000, symbols=["GOOG"], sort=By(column, descending)).to_pandas()
    pd.testing.assert_frame_equal(got, filtered)


def test_only_blocks_that_can_match_are_read(
    database: Database, alice: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = prices(400).sort_by([("symbol", "ascending"), ("time", "ascending")])
    _, ids = write(database, {"orders": (table, 50)})  # two blocks a symbol
    read: list[int] = []
    original = Results._read

    def counted(self: Results, cursor: Any, blocks: Any, *how: Any) -> Any:
        read.extend(block.number for block in blocks)
        return original(self, cursor, blocks, *how)

    monkeypatch.setattr(Results, "_read", counted)
    assert alice.page(ids["orders"], symbols=["GOOG"], limit=1000).num_rows == 100
    assert read == [2, 3]
    read.clear()
    assert alice.page(ids["orders"], offset=120, limit=20).num_rows == 20
    assert read == [2]
    read.clear()
    alice.page(ids["orders"], end=START + dt.timedelta(minutes=10), symbols=["Ä"], limit=5)
    assert read == [6]


def test_several_tables_read_as_one(database: Database, alice: Client) -> None:
    table = prices(100)
    _, ids = write(database, {"b": (table.slice(0, 60), 25), "a": (table.slice(60), 7)})
    both = [ids["b"], ids["a"]]
    assert alice.page(both, offset=50, limit=30).equals(table.slice(50, 30))
    assert alice.results.arrow(both).equals(table)
    pd.testing.assert_frame_equal(alice.frame(both[::-1], symbols=["GOOG"]).sort_values("time", ignore_index=True),
                                  table.to_pandas().query("symbol == 'GOOG'").reset_index(drop=True))  # fmt: skip


def test_tables_are_described(database: Database, alice: Client) -> None:
    job, ids = write(database, {"orders": (prices(), 300), "empty": (prices(0), 1)})
    found = {one.name: one for one in alice.tables(job)}
    assert {name: one.id for name, one in found.items()} == ids
    orders = found["orders"]
    assert (orders.rows, orders.complete, orders.ordinal, orders.stream) == (1000, True, 0, False)
    assert orders.columns[:2] == (("time", "timestamp[us, tz=UTC]"), ("symbol", "string"))
    assert (orders.time_min, orders.time_max) == (START, START + dt.timedelta(minutes=249))
    assert orders.bytes > 1000
    assert alice.page(found["empty"].id).num_rows == 0
    assert alice.frame(found["empty"].id).columns.to_list() == ["time", "symbol", "close", "note"]


@pytest.mark.parametrize(
    ("call", "kind", "match"),
    [
        (lambda client, table: client.page(10**15), NotFound, "there is no table 1000000000000000 that you may see"),
        (lambda client, table: client.page([]), NotFound, "there is no table"),
        (lambda client, table: client.page(table, offset=-1), Invalid, "begins at 0"),
        (lambda client, table: client.page(table, sort=By("nmae")), Invalid, "no column 'nmae'; did you mean 'name'"),
        (lambda client, table: client.page(table, sort=By("parts")), Invalid, "can't be sorted by 'parts'"),
        (lambda client, table: client.page(table, symbols=["A"]), Invalid, "no column 'symbol'"),
        (lambda client, table: client.frame(table, start=START), Invalid, "no column 'time' of times"),
    ],
)
@pytest.mark.spec("G4")
def test_wrong_questions_get_a_sentence(
    database: Database, alice: Client, call: Any, kind: type[Exception], match: str
) -> None:
    _, ids = write(database, {"odd": (pa.table({"name": ["x"], "time": [1], "parts": [[1, 2]]}), 1)})
    with pytest.raises(kind, match=match):
        call(alice, ids["odd"])


@pytest.mark.spec("R2")
def test_others_tables_do_not_exist(database: Database, alice: Client) -> None:
    job, ids = write(database, {"orders": (prices(), 300)})
    with Client.sign_in(database.login("bob")) as bob:
        assert bob.tables(job) == []
        for call in (bob.page, bob.frame):
            with pytest.raises(NotFound, match="that you may see"):
                call(ids["orders"])
    with Client.sign_in(database.login("boss")) as boss:
        assert boss.page(ids["orders"], limit=2000).num_rows == 1000


def every_type() -> pa.Table:
    """Columns of all types that a table may have, with what is hard to write."""
    return pa.table(
        {
            "time": pa.array(
                [START, None, dt.datetime(1850, 1, 1, tzinfo=UTC)], pa.timestamp("ns", "America/New_York")
            ),
            "naive": pa.array([1_767_605_400_250, None, None], pa.timestamp("ms")),
            "day": pa.array([dt.date(2026, 1, 5), None, dt.date(1899, 12, 31)]),
            "text": ['comma, "quote"\nline', None, "=1+1"],
            "side": pa.array(["buy", None, "sell"]).dictionary_encode(),
            "number": pa.array([1.5, float("nan"), float("inf")]),
            "whole": pa.array([2**60, None, -1], pa.int64()),
            "flag": [True, None, False],
            "list": [[1, 2], None, []],
            "nothing": pa.nulls(3),
        }
    )


@pytest.mark.spec("C4")
def test_csv_parquet_and_excel_hold_the_table(database: Database, alice: Client, tmp_path: Path) -> None:
    table = prices()
    _, ids = write(database, {"orders": (table, 90)})
    for name in ("orders.csv", "orders.parquet", "orders.XLSX"):
        path = tmp_path / name
        assert alice.export(ids["orders"], path) == 1000
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "orders.parquet"), table.to_pandas())
    csv = pd.read_csv(tmp_path / "orders.csv", parse_dates=["time"])
    expected = table.to_pandas()
    assert (csv.time == expected.time).all()
    assert (csv.close == expected.close).all()
    assert csv.note.isna().equals(expected.note.isna())
    assert (
        (tmp_path / "orders.csv").read_text(encoding="utf-8").splitlines()[1].startswith("2026-01-05T09:30:00Z,AAPL,")
    )
    sheet = pl.read_excel(tmp_path / "orders.XLSX", engine="calamine")
    assert sheet.columns == table.column_names
    assert sheet["close"].to_list() == table["close"].to_pylist()
    assert sheet["time"].to_list() == [time.replace(tzinfo=None) for time in table["time"].to_pylist()]
    assert alice.export(ids["orders"], tmp_path / "one.csv", symbols=["GOOG"]) == 250
    assert sorted(one.name for one in tmp_path.iterdir()) == ["one.csv", "orders.XLSX", "orders.csv", "orders.parquet"]


def test_every_type_can_be_exported(database: Database, alice: Client, tmp_path: Path) -> None:
    table = every_type()
    _, ids = write(database, {"types": (table, 2)})
    for ending in ("csv", "parquet", "xlsx"):
        assert alice.export(ids["types"], tmp_path / f"types.{ending}") == 3
    stored = pq.read_table(tmp_path / "types.parquet")
    assert stored.schema.equals(table.schema)
    assert pl.DataFrame(stored).equals(pl.DataFrame(table))  # not-a-number equals itself there
    csv = pl.read_csv(tmp_path / "types.csv", infer_schema=False)
    assert csv["text"].to_list() == ['comma, "quote"\nline', None, "=1+1"]
    assert csv["whole"].to_list() == [str(2**60), None, "-1"]
    assert csv["list"].to_list() == ["[1, 2]", None, "[]"]
    assert csv["side"].to_list() == ["buy", None, "sell"]
    assert csv["time"].to_list() == ["2026-01-05T09:30:00Z", None, "1850-01-01T00:00:00Z"]
    assert csv["naive"].to_list() == ["2026-01-05T09:30:00.250", None, None]
    assert csv["day"].to_list() == ["2026-01-05", None, "1899-12-31"]
    assert csv["flag"].to_list() == ["true", None, "false"]
    sheet = pl.read_excel(tmp_path / "types.xlsx", engine="calamine", infer_schema_length=None, drop_empty_rows=False)
    assert sheet["text"].to_list()[2] == "=1+1"  # a text, not a formula
    assert str(2**60) in [str(value) for value in sheet["whole"].to_list()]
    assert json.loads(sheet["list"].to_list()[0]) == [1, 2]


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("orders.txt", r"orders.txt has '.txt': a table is exported to .csv, .parquet or .xlsx"),
        ("orders", "has no ending"),
        ("none/orders.csv", "there is no folder"),
        ("folder.csv", "is a folder"),
        ("x" * 300 + ".csv", "File name too long"),
        ("nul\0.csv", "can't contain a NUL"),
    ],
)
def test_a_file_that_can_not_be_is_said(
    database: Database, alice: Client, tmp_path: Path, name: str, match: str
) -> None:
    (tmp_path / "folder.csv").mkdir()
    _, ids = write(database, {"orders": (prices(10), 5)})
    with pytest.raises(Invalid, match=match):
        alice.export(ids["orders"], tmp_path / name)
    assert [one.name for one in tmp_path.iterdir()] == ["folder.csv"]


@pytest.mark.spec("G4")
def test_a_failed_export_leaves_the_old_file(
    database: Database, alice: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, ids = write(database, {"orders": (prices(), 300)})
    path = tmp_path / "orders.xlsx"
    path.write_text("old")
    monkeypatch.setattr(export, "SHEET_ROWS", 1000)
    with pytest.raises(Invalid, match=r"up to 1,000 rows and an Excel sheet holds 999 below its heading"):
        alice.export(ids["orders"], path)
    monkeypatch.undo()
    original = Results._read

    def goes_away(self: Results, cursor: Any, blocks: Any, *how: Any) -> Any:
        database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=job)
        return original(self, cursor, blocks, *how)

    monkeypatch.setattr(Results, "_read", goes_away)
    with pytest.raises(Conflict, match="deleted while it was read"):
        alice.export(ids["orders"], path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["orders.xlsx"]


def test_the_sheet_holds_excels_rows() -> None:
    assert export.SHEET_ROWS == 1_048_576  # Excel's own specification
