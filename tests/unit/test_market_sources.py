"""Parquet, Excel and SQL as sources, and the parameters of the kind."""

# ruff: noqa: DTZ001 - cells of a workbook and of a database without zones have none

from __future__ import annotations

import datetime as dt
import decimal
import sqlite3
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xlsxwriter
from market_trial import imported, utc
from psycopg.conninfo import conninfo_to_dict
from pydantic import ValidationError

from quarterdeck.errors import Disconnected, Invalid
from quarterdeck.kinds.data_import import DataImport
from quarterdeck.quant.market import MarketRequest
from quarterdeck.server import Started

pytestmark = pytest.mark.spec("D2", "K1", "T1")

D1, D2, D3 = utc(2024, 1, 2), utc(2024, 1, 3), utc(2024, 1, 4)


def parquet(tmp_path: Path, **columns: Any) -> Path:
    file = tmp_path / "p.parquet"
    pq.write_table(pa.table(columns), file, row_group_size=2)
    return file


def test_parquet(tmp_path: Path) -> None:
    file = parquet(
        tmp_path,
        Date=pa.array([dt.date(2024, 1, 3), dt.date(2024, 1, 2), None, dt.date(2024, 1, 4)]),
        Ticker=pa.array(["A", "A", "B", None]).dictionary_encode(),
        Close=pa.array([2.0, float("nan"), 3.0, 4.0], pa.float32()),
        Volume=pa.array([5, None, 6, 7], pa.int64()),
        flag=pa.array([True, None, False, True]),
    )
    got = imported(file, tmp_path)
    assert got.rows == [("A", D1, None, None, None), ("A", D2, 2.0, 5.0, True)]
    assert got.refused == [(3, "Date", "the time is missing"), (4, "Ticker", "the symbol is missing")]


def test_parquet_values_that_do_not_fit(tmp_path: Path) -> None:
    file = parquet(
        tmp_path,
        symbol=["A"] * 5,
        time=pa.array([utc(2024, 1, 2 + i) for i in range(5)], pa.timestamp("ns", "America/New_York")),
        close=["1.5", "x", "inf", "", "1e3"],
        volume=pa.array([1, 2, 3, 4, 2**53 + 1], pa.int64()),
        bid=[1.0, 2.0, 3.0, float("inf"), 5.0],
    )
    got = imported(file, tmp_path)
    assert got.rows == [("A", D1, 1.5, 1.0, 1.0)]
    assert got.refused == [
        (2, "close", "'x' is not a number"),
        (3, "close", "'inf' is not a finite number"),
        (4, "bid", "'inf' is not a finite number"),
        (5, "volume", f"'{2**53 + 1}' has more digits than a 64-bit float can hold"),
    ]


def test_parquet_times(tmp_path: Path) -> None:
    naive = pa.array([1_704_153_600_000_000_000, 1_704_240_000_000_000_123], pa.timestamp("ns"))
    got = imported(parquet(tmp_path, symbol=["A", "A"], time=naive, close=[1, 2]), tmp_path)
    assert got.column("time") == [D1, D2]
    assert [(r["line"], r["action"]) for r in got.rejects] == [(2, "changed")]
    got = imported(parquet(tmp_path, symbol=["A", "A"], time=naive, close=[1, 2]), tmp_path, time_zone="Asia/Tokyo")
    assert got.column("time") == [utc(2024, 1, 1, 15), utc(2024, 1, 2, 15)]
    got = imported(parquet(tmp_path, symbol=["A"], time=["2024-01-02"], close=[1]), tmp_path)
    assert got.column("time") == [D1]
    got = imported(parquet(tmp_path, symbol=["A"], time=[1704153600], close=[decimal.Decimal("1.25")]), tmp_path)
    assert got.rows == [("A", D1, 1.25)]


@pytest.mark.spec("G4")
def test_parquet_of_no_use(tmp_path: Path) -> None:
    file = parquet(tmp_path, symbol=["A"], time=[D1], close=[[1.0]])
    with pytest.raises(Invalid, match=r"The column close of p.parquet has the type list"):
        imported(file, tmp_path)
    with pytest.raises(Invalid, match="holds no numbers"):
        imported(parquet(tmp_path, symbol=["A"], time=[D1], close=[True]), tmp_path)
    with pytest.raises(Invalid, match="holds no times"):
        imported(parquet(tmp_path, symbol=["A"], time=[1.5], close=[1.0]), tmp_path)
    with pytest.raises(Invalid, match="but no rows"):
        imported(parquet(tmp_path, symbol=pa.array([], pa.string()), time=pa.array([], pa.date32())), tmp_path)
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(Invalid, match="no Parquet file, or a damaged one"):
        imported(file, tmp_path)
    file.write_text("symbol,time\n")
    with pytest.raises(Invalid, match="no Parquet file"):
        imported(file, tmp_path)


def workbook(tmp_path: Path) -> Path:
    file = tmp_path / "w.xlsx"
    book = xlsxwriter.Workbook(str(file))
    first = book.add_worksheet("notes")
    first.write(0, 0, "nothing here")
    sheet = book.add_worksheet("data")
    day = book.add_format({"num_format": "yyyy-mm-dd"})
    sheet.write(0, 1, "Prices")
    for column, name in enumerate(("Date", "Symbol", "Close", "Volume")):
        sheet.write(2, 1 + column, name)
    rows: list[tuple[Any, ...]] = [
        (dt.datetime(2024, 1, 2), "A", 1.5, 100),
        (dt.datetime(2024, 1, 3), "A", "abc", 100),
        (None, None, None, None),
        ("not a day", "A", 2, 100),
        (dt.datetime(2024, 1, 3, 12, 30), "A", 1.234567890123456e-7, 1),
        (dt.datetime(2024, 1, 4), "A", "#DIV/0!", 1),
    ]
    for index, row in enumerate(rows, 3):
        for column, value in enumerate(row, 1):
            if isinstance(value, dt.datetime):
                sheet.write_datetime(index, column, value, day)
            elif value == "#DIV/0!":
                sheet.write_formula(index, column, "=1/0", None, "#DIV/0!")
            elif value is not None:
                sheet.write(index, column, value)
    book.close()
    return file


@pytest.mark.parametrize("sheet", ["data", 2, "2"])
def test_excel(tmp_path: Path, sheet: str | int) -> None:
    got = imported(workbook(tmp_path), tmp_path, sheet=sheet, header_row=3)
    assert got.rows == [("A", D1, 1.5, 100.0), ("A", utc(2024, 1, 3, 12, 30), 1.234567890123456e-7, 1.0)]
    assert got.refused == [
        (5, "Close", "'abc' is not a number"),
        (7, "Date", "'not a day' is not a time as YYYY-MM-DD, with or without HH:MM:SS"),
        (9, "Close", "'#DIV/0!' is not a number"),
    ]


@pytest.mark.spec("G4")
def test_excel_of_no_use(tmp_path: Path) -> None:
    file = workbook(tmp_path)
    with pytest.raises(Invalid, match="has no sheet prices: it has notes, data"):
        imported(file, tmp_path, sheet="prices")
    with pytest.raises(Invalid, match="has no column of times"):
        imported(file, tmp_path)
    with pytest.raises(Invalid, match=r"Row 2 of w.xlsx, which should name the columns, is blank"):
        imported(file, tmp_path, sheet="data", header_row=2)
    file.write_text("no workbook")
    with pytest.raises(Invalid, match=r"can't be read as a workbook"):
        imported(file, tmp_path)


def database(tmp_path: Path, rows: list[tuple[Any, ...]]) -> str:
    file = tmp_path / "d.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("create table bar (ticker, date, close, volume)")
    connection.executemany("insert into bar values (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return f"sqlite:///{file}"


def test_sql(tmp_path: Path) -> None:
    url = database(
        tmp_path,
        [
            ("A", "2024-01-02", 1.5, 100),
            ("A", "2024-01-03", "x", 100),
            ("A", "2024-01-04", 3, None),
            (None, "2024-01-04", 1.5, 1),
            ("A", "2024-01-02", 4.0, 1),
        ],
    )
    got = imported(None, tmp_path, url=url, query="select * from bar order by rowid")
    assert got.rows == [("A", D1, 1.5, 100.0), ("A", D3, 3.0, None)]
    assert got.refused == [
        (2, "close", "'x' is not a number"),
        (4, "ticker", "the symbol is missing"),
        (5, "symbol, time", "A at 2024-01-02 UTC is already in line 1"),
    ]


def test_sql_in_parts(tmp_path: Path) -> None:
    """More rows than one part; a column that has values only in a later one."""
    start = dt.datetime(2024, 1, 1)
    rows = [("A", str(start + dt.timedelta(minutes=i)), float(i), None if i < 70_000 else i) for i in range(150_000)]
    got = imported(None, tmp_path, url=database(tmp_path, rows), query="select * from bar order by rowid")
    assert got.column("close") == [float(i) for i in range(150_000)]
    assert got.column("volume")[69_999:70_001] == [None, 70_000.0]


def test_sql_from_postgresql(tmp_path: Path, postgres: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    """Types as a real server gives them: text, timestamptz, numeric, double, bigint, boolean, date, time. The password
    comes from the node's own configuration."""
    login = conninfo_to_dict(postgres.conninfo())
    monkeypatch.setenv("PGPASSWORD", str(login["password"]))
    query = """
        select 'A' as ticker, timestamptz '2024-01-02 00:00+01' + i * interval '1 hour' as ts, 1.25 * i as close,
               case when i = 3 then 'Infinity'::float8 else i end as volume, i::bigint as n, i % 2 = 0 as flag,
               date '2024-01-02' + i as day, time '09:30' as clock
        from generate_series(1, 4) i"""
    url = f"postgresql://{login['user']}@127.0.0.1:{postgres.port}/postgres"
    got = imported(None, tmp_path, url=url, query=query)
    assert {field.name: field.type for field in got.table.schema} == {
        "symbol": pa.string(),
        "time": pa.timestamp("us", "UTC"),
        "close": pa.float64(),
        "volume": pa.float64(),
        "n": pa.int64(),
        "flag": pa.bool_(),
        "day": pa.date32(),
        "clock": pa.string(),
    }
    assert got.rows[0] == ("A", D1, 1.25, 1.0, 1, False, dt.date(2024, 1, 3), "09:30:00.000000")
    assert got.column("n") == [1, 2, 4]
    assert got.refused == [(3, "volume", "'inf' is not a finite number")]
    with pytest.raises(Invalid, match=r'refuses the query .*relation "absent" does not exist'):
        imported(None, tmp_path, url=url, query="select * from absent")
    with pytest.raises(Invalid, match="The column close of the query holds bytes"):
        imported(None, tmp_path, url=url, query="select 'A' as symbol, now() as time, 'x'::bytea as close")
    monkeypatch.setenv("PGPASSWORD", "wrong")
    with pytest.raises(Disconnected, match=r"can't be reached .*password authentication failed") as caught:
        imported(None, tmp_path, url=url, query=query)
    assert "wrong" not in str(caught.value)


@pytest.mark.spec("G4")
def test_sql_of_no_use(tmp_path: Path) -> None:
    url = database(tmp_path, [("A", "2024-01-02", 1.5, 100)])
    for query, words in (
        ("select * from absent", "refuses the query .*no such table: absent"),
        ("create table x (a)", "answers no rows"),
        ("select date, close from bar", "answers no symbol"),
        ("select ticker from bar", "no column of times"),
        ("select * from bar where 1=0", "but no rows"),
        ("select date, date as date from bar", "names the column date twice"),
    ):
        with pytest.raises(Invalid, match=words):
            imported(None, tmp_path, url=url, query=query)
    with pytest.raises(Invalid, match="no address"):
        imported(None, tmp_path, url="nowhere", query="select 1")
    with pytest.raises(Invalid, match="has no driver"):
        imported(None, tmp_path, url="oracle://server/x", query="select 1")
    with pytest.raises(Invalid, match="may not hold a password"):
        imported(None, tmp_path, url="postgresql://u:secret@server/x", query="select 1")
    with pytest.raises(Disconnected, match="can't be reached"):
        imported(None, tmp_path, url="sqlite:////nowhere/at/all.db", query="select 1")


def test_parameters_are_those_of_the_reader() -> None:
    params = DataImport.model_validate({"table": "prices", "path": ["a.csv"], "register": False, "mode": "append"})
    request = MarketRequest(**params.reading())
    assert request.path == ["a.csv"]
    assert set(params.reading()) == set(MarketRequest.__dataclass_fields__)
    names = set(DataImport.model_json_schema()["properties"])
    assert names == {
        *("table", "path", "url", "query", "format", "encoding", "delimiter", "decimal", "sheet", "header_row"),
        *("columns", "time_format", "time_zone", "mode", "on_error", "register", "public", "synthetic"),
    }
    assert DataImport.model_json_schema()["properties"]["path"]["path"] is True
    assert all(p.get("description") for p in DataImport.model_json_schema()["properties"].values())


@pytest.mark.spec("G4", "G5")
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"path": "a.csv"}, "Field required"),
        ({"table": "a b", "path": "a.csv"}, "letters, digits and _"),
        ({"table": "1a", "path": "a.csv"}, "begins with no digit"),
        ({"table": "a" * 64, "path": "a.csv"}, "63 characters at most"),
        ({"table": "a\n", "path": "a.csv"}, "letters, digits and _"),
        ({"table": "t"}, "give either path, or url and query"),
        (
            {"table": "t", "path": "a.csv", "url": "sqlite://", "query": "select 1"},
            "give either path, or url and query",
        ),
        ({"table": "t", "url": "sqlite://"}, "url needs a query"),
        ({"table": "t", "path": "a.csv", "query": "select 1"}, "query needs the url"),
        ({"table": "t", "path": ""}, "path is empty"),
        ({"table": "t", "path": []}, "path is empty"),
        ({"table": "t", "path": "a.csv", "colour": 1}, "Extra inputs are not permitted"),
        ({"table": "t", "url": "postgresql://me:x@server/d", "query": "select 1"}, "may not hold a password"),
        ({"table": "t", "url": "postgresql://server/d?password=x", "query": "select 1"}, "may not hold a password"),
        ({"table": "t", "url": "postgresql://server/d?user=a&PWD=x", "query": "select 1"}, "may not hold a password"),
        ({"table": "t", "url": "server", "query": "select 1"}, "url is an address"),
        ({"table": "t", "path": "a.csv", "delimiter": "ab"}, "one character"),
        ({"table": "t", "path": "a.csv", "delimiter": '"'}, "one character"),
        ({"table": "t", "path": "a.csv", "time_zone": "Mars"}, "no time zone Mars"),
        ({"table": "t", "path": "a.csv", "columns": {"a": "b c"}}, "letters, digits and _"),
        ({"table": "t", "path": "a.csv", "columns": {"a": "x", "b": "x"}}, "two columns would be named x"),
        ({"table": "t", "path": "a.csv", "header_row": -1}, "greater than or equal to 0"),
        ({"table": "t", "path": "a.csv", "format": "json"}, "'csv', 'parquet' or 'excel'"),
        ({"table": "t", "path": "a.csv", "register": True, "format": "csv"}, "only Parquet"),
        ({"table": "t", "url": "sqlite://", "query": "select 1", "register": True}, "register needs the path"),
    ],
)
def test_parameters_that_are_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        DataImport.model_validate(given)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
