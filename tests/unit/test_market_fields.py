"""Fields of CSV files: numbers, times, symbols, names and kinds of columns; read or refused, by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from market_trial import imported, utc

from quarterdeck.errors import Invalid
from quarterdeck.quant import delimited

pytestmark = pytest.mark.spec("D2", "K1", "T1")

D1, D2, D3, D4 = utc(2024, 1, 2), utc(2024, 1, 3), utc(2024, 1, 4), utc(2024, 1, 5)


def test_a_cell_that_is_no_number(read: Any) -> None:
    got = read("symbol,time,close\nA,2024-01-02,1\nA,2024-01-03,abc\nA,2024-01-04,1.2.3\nA,2024-01-05,0x10\n")
    assert got.rows == [("A", D1, 1.0)]
    assert got.rejects == [
        {
            "file": "prices.csv",
            "line": line,
            "column": "close",
            "action": "rejected",
            "reason": f"'{text}' is not a number",
            "text": f"A,2024-01-0{line},{text}".replace("-02,", "-02,"),
        }
        for line, text in ((3, "abc"), (4, "1.2.3"), (5, "0x10"))
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("inf", "'inf' is not a finite number"),
        ("-Infinity", "'-Infinity' is not a finite number"),
        ("1e400", "'1e400' is not a finite number"),
        ("1_000", "'1_000' is not a number"),
        ("$5", "'$5' is not a number"),
        ("1 000", "'1 000' is not a number: separators of thousands are not read"),
        ('"1,234.5"', "'1,234.5' is not a number: separators of thousands are not read"),
        ("9007199254740993", "'9007199254740993' has more digits than a 64-bit float can hold"),
        ("--1", "'--1' is not a number"),
        ("1e", "'1e' is not a number"),
    ],
)
def test_numbers_that_are_refused(read: Any, text: str, reason: str) -> None:
    got = read(f"symbol,time,close\nA,2024-01-02,1.5\nA,2024-01-03,{text}\nA,2024-01-04,2.5\n")
    assert got.refused == [(3, "close", reason)]
    assert got.rows == [("A", D1, 1.5), ("A", D3, 2.5)]


@pytest.mark.parametrize(
    ("text", "value"),
    [("+1.5", 1.5), (" 1.5 ", 1.5), (".5", 0.5), ("5.", 5.0), ("1E3", 1000.0), ("-0", 0.0), ("0007", 7.0)]
    + [(word, None) for word in ("", "NA", "N/A", "#N/A", "null", "NULL", "NaN", "nan", "None")]
    + [("9007199254740992", 9007199254740992.0), ("9007199254740994", 9007199254740994.0), ("1e300", 1e300)],
)
def test_numbers_that_are_read(read: Any, text: str, value: float | None) -> None:
    got = read(f"symbol,time,close\nA,2024-01-02,1.5\nA,2024-01-03,{text}\n")
    assert got.rows == [("A", D1, 1.5), ("A", D2, value)]
    # the same where another line forces the slow way
    got = read(f"symbol,time,close\nA,2024-01-02,1.5\nA,2024-01-03,{text}\nA,2024-01-04,x\n")
    assert got.rows == [("A", D1, 1.5), ("A", D2, value)]


def test_decimal_comma(read: Any) -> None:
    text = (
        "symbol;time;close;volume\nA;2024-01-02;1,5;100\nA;2024-01-03;-0,25;2,5\n"
        "A;2024-01-04;1.234,5;1\nA;2024-01-05;1.5;1\n"
    )
    got = read(text, decimal=",")
    assert got.rows == [("A", D1, 1.5, 100.0), ("A", D2, -0.25, 2.5)]
    assert got.refused == [
        (4, "close", "'1.234,5' is not a number: separators of thousands are not read"),
        (5, "close", "'1.5' is not a number"),
    ]
    assert "decimal comma" in got.notes
    assert "delimiter semicolon" in got.notes


def test_decimal_comma_is_found(read: Any) -> None:
    got = read("symbol;time;close\nA;2024-01-02;1,5\nA;2024-01-03;1.234,5\n")
    assert got.rows == [("A", D1, 1.5)]
    assert [line for line, _, _ in got.refused] == [3]
    with pytest.raises(Invalid, match="give decimal"):
        read("symbol;time;close\nA;2024-01-02;1,5\nA;2024-01-03;1.5\n")


def test_decimal_comma_in_quotes(read: Any) -> None:
    got = read('symbol,time,close\nA,2024-01-02,"1,5"\nA,2024-01-03,"2,75"\n')
    assert got.rows == [("A", D1, 1.5), ("A", D2, 2.75)]


@pytest.mark.spec("G4")
def test_a_comma_that_may_be_either_is_asked_for(read: Any) -> None:
    text = 'symbol,time,close\nA,2024-01-02,"1,234"\nA,2024-01-03,"2,345"\n'
    with pytest.raises(Invalid, match="give decimal") as caught:
        read(text)
    assert caught.value.field == "decimal"
    assert read(text, decimal=",").rows == [("A", D1, 1.234), ("A", D2, 2.345)]
    assert [r[0] for r in read(text, decimal=".").refused] == [2, 3]


def test_mixed_forms_of_time(read: Any) -> None:
    got = read(
        "symbol,time,close\nA,2024-01-02,1\nA,2024-01-03,1\nA,01/04/2024,1\nA,2024-02-30,1\n"
        "A,20240105,1\nA,2024-01-05 10:00,1\n"
    )
    assert got.rows == [("A", D1, 1.0), ("A", D2, 1.0)]
    assert got.refused == [
        (line, "time", f"'{text}' is not a time as YYYY-MM-DD")
        for line, text in ((4, "01/04/2024"), (5, "2024-02-30"), (6, "20240105"), (7, "2024-01-05 10:00"))
    ]


def test_missing_symbol_and_time(read: Any) -> None:
    got = read("symbol,time,close\nA,2024-01-02,1\n,2024-01-03,2\nA,,3\n  ,2024-01-04,4\nnan,2024-01-04,4\n")
    assert got.rows == [("A", D1, 1.0)]
    assert got.refused == [
        (3, "symbol", "the symbol is missing"),
        (4, "time", "the time is missing"),
        (5, "symbol", "the symbol is missing"),
        (6, "symbol", "'nan' is no symbol"),
    ]


def test_symbols_that_look_like_no_value_or_numbers(read: Any) -> None:
    """NA and NAN are symbols of real shares; a code keeps its zeros."""
    got = read(
        "symbol,time,close\nNA,2024-01-02,1\nNAN,2024-01-02,2\n000001,2024-01-02,3\nTRUE,2024-01-02,4\n1e5,2024-01-02,5\n"
    )
    assert [(row[0], row[2]) for row in got.rows] == [
        ("000001", 3.0),
        ("1e5", 5.0),
        ("NA", 1.0),
        ("NAN", 2.0),
        ("TRUE", 4.0),
    ]


def test_spaces_around_a_symbol_are_told(read: Any) -> None:
    got = read("symbol,time,close\nA,2024-01-02,1\n A ,2024-01-03,2\nA ,2024-01-04,3\n")
    assert [row[0] for row in got.rows] == ["A", "A", "A"]
    assert got.rejects == [
        {
            "file": "prices.csv",
            "line": 3,
            "column": "symbol",
            "action": "changed",
            "reason": "the spaces around the symbol are left out (in 2 lines, this is the first)",
            "text": " A ,2024-01-03,2",
        }
    ]


def test_duplicates(read: Any) -> None:
    got = read("symbol,time,close\nA,2024-01-02,1\nB,2024-01-02,2\nA,2024-01-03,3\nA,2024-01-02,9\nA,2024-01-02,1\n")
    assert got.rows == [("A", D1, 1.0), ("B", D1, 2.0), ("A", D2, 3.0)]
    assert got.refused == [
        (5, "symbol, time", "A at 2024-01-02 UTC is already in line 2"),
        (6, "symbol, time", "A at 2024-01-02 UTC is already in line 2"),
    ]


def test_rows_out_of_order_are_sorted_and_told(read: Any) -> None:
    got = read("symbol,time,close\nA,2024-01-04,3\nA,2024-01-02,1\nA,2024-01-03,2\n")
    assert got.rows == [("A", D1, 1.0), ("A", D2, 2.0), ("A", D3, 3.0)]
    assert [(r["line"], r["action"]) for r in got.rejects] == [(3, "sorted")]
    assert "the rows were not in order of time and have been sorted" in got.notes


def test_names_of_columns(read: Any) -> None:
    got = read("Date,Ticker,Adj Close,Bid Size,OpenInterest\n2024-01-02,A,1,2,3\n")
    assert got.table.column_names == ["symbol", "time", "adj_close", "bid_size", "open_interest"]
    assert got.table.schema.field("bid_size").type == pa.float64()
    assert got.table.schema.field("open_interest").type == pa.int64()
    assert "column Date is time" in got.notes
    got = read("when,what,px\n2024-01-02,A,1\n", columns={"when": "time", "what": "symbol", "px": "price"})
    assert got.rows == [("A", D1, 1.0)]


def test_kinds_of_other_columns(read: Any) -> None:
    got = read(
        "symbol,time,n,x,flag,day,at,code,name\n"
        "A,2024-01-02,1,1.5,true,2024-02-01,2024-02-01 10:00:00,007,x\n"
        "A,2024-01-03,-2,2,False,2024-02-02,2024-02-01T11:00:00,010,\n"
        "A,2024-01-04,,,NA,,,123,NA\n"
    )
    kinds = {field.name: field.type for field in got.table.schema}
    assert kinds == {
        "symbol": pa.string(),
        "time": pa.timestamp("us", "UTC"),
        "n": pa.int64(),
        "x": pa.float64(),
        "flag": pa.bool_(),
        "day": pa.date32(),
        "at": pa.timestamp("us", "UTC"),
        "code": pa.string(),
        "name": pa.string(),
    }
    assert got.column("n") == [1, -2, None]
    assert got.column("x") == [1.5, 2.0, None]
    assert got.column("flag") == [True, False, None]
    assert got.column("day") == [utc(2024, 2, 1).date(), utc(2024, 2, 2).date(), None]
    assert got.column("at") == [utc(2024, 2, 1, 10), utc(2024, 2, 1, 11), None]
    assert got.column("code") == ["007", "010", "123"]
    assert got.column("name") == ["x", "", "NA"]


def test_kinds_are_kept_after_the_sample(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sample says whole numbers; later fractions, codes and words are refused, not rounded."""
    monkeypatch.setattr(delimited, "_CHUNK", 256)
    monkeypatch.setattr(delimited, "_HEAD", 64)
    days = [f"2024-{m:02}-{d:02}" for m in range(1, 4) for d in range(1, 29)]
    lines = [f"A,{day},{i}" for i, day in enumerate(days)]
    lines[70] = lines[70].rsplit(",", 1)[0] + ",70.5"
    lines[75] = lines[75].rsplit(",", 1)[0] + ",075"
    lines[80] = lines[80].rsplit(",", 1)[0] + ",many"
    got = read("symbol,time,count\n" + "\n".join(lines) + "\n")
    assert got.table.schema.field("count").type == pa.int64()
    assert got.refused == [
        (72, "count", "'70.5' is not a whole number"),
        (77, "count", "'075' is not a whole number"),
        (82, "count", "'many' is not a whole number"),
    ]
    assert got.column("count") == [i for i in range(84) if i not in (70, 75, 80)]


def test_the_symbol_is_in_the_name_of_the_file(read: Any) -> None:
    got = read("Date,Close\n2024-01-02,1\n", name="AAPL.csv")
    assert got.rows == [("AAPL", D1, 1.0)]
    assert "symbol AAPL from the file's name" in got.notes


def test_kinds_of_several_files_are_joined(tmp_path: Path) -> None:
    (tmp_path / "A.csv").write_text("time,close,x,y,z\n2024-01-02,1,5,5,\n")
    (tmp_path / "B.csv").write_text("time,close,x,y,z\n2024-01-02,1,5.5,word,2\n")
    got = imported(tmp_path / "*.csv", tmp_path)
    assert got.rows == [("A", D1, 1.0, 5.0, "5", None), ("B", D1, 1.0, 5.5, "word", 2)]
