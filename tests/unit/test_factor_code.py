"""Factors as Python code: what it may return, and how its errors are told."""

from __future__ import annotations

import sys
import textwrap
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.errors import Invalid
from quarterdeck.quant.expression import FactorCodeError, check_code, evaluate_code
from quarterdeck.quant.program import values_of_code

START = datetime(2024, 1, 1, tzinfo=UTC)
DAYS = [START + timedelta(days=day) for day in range(3)]
FRAME = pl.DataFrame(
    {
        "symbol": ["B", "A", "A", "B", "A", "B"],
        "time": [DAYS[0], DAYS[1], DAYS[0], DAYS[2], DAYS[2], DAYS[1]],
        "close": [8.0, 3.0, 2.0, 2.0, 6.0, 4.0],
    }
)
# close / close of a day before: A 1.5, 2; B 0.5, 0.5
EXPECTED = [(DAYS[1], "A", 1.5), (DAYS[1], "B", 0.5), (DAYS[2], "A", 2.0), (DAYS[2], "B", 0.5)]

PROGRAMS = {
    "pandas, wide": """
        def factor(frame):
            close = frame.pivot(index="time", columns="symbol", values="close")
            return close / close.shift(1)
        """,
    "pandas, long": """
        import pandas

        def factor(data: pandas.DataFrame) -> pandas.DataFrame:
            data = data.sort_values(["symbol", "time"])
            data["value"] = data["close"] / data.groupby("symbol")["close"].shift(1)
            return data[["value", "symbol", "time"]]
        """,
    "pandas, one column of values": """
        def ratio(data):
            data["ratio"] = data["close"] / data.groupby("symbol")["close"].shift(1)
            return data.drop(columns="close")
        """,
    "pandas, a value a row": """
        def factor(data):
            return data["close"] / data.groupby("symbol")["close"].shift(1)
        """,
    "pandas, the index of a groupby": """
        def factor(data):
            return data.groupby("symbol")["close"].rolling(2).apply(lambda x: x.iloc[1] / x.iloc[0])
        """,
    "pandas, a series by time and symbol": """
        def factor(data):
            close = data.set_index(["time", "symbol"])["close"]
            return close / close.groupby("symbol").shift(1)
        """,
    "pandas, a frame by symbol and time": """
        def factor(data):
            close = data.set_index(["symbol", "time"])[["close"]]
            return close / close.groupby("symbol").shift(1)
        """,
    "pandas, an index without names": """
        def factor(data):
            close = data.set_index(["symbol", "time"])["close"]
            result = close / close.groupby("symbol").shift(1)
            return result.rename_axis([None, None])
        """,
    "pandas, times without a zone": """
        def factor(data):
            close = data.pivot(index="time", columns="symbol", values="close")
            close.index = close.index.tz_localize(None)
            return close / close.shift(1)
        """,
    "polars, long": """
        def factor(data: pl.DataFrame) -> pl.DataFrame:
            value = pl.col("close") / pl.col("close").shift().over("symbol")
            return data.select("time", "symbol", value=value)
        """,
    "polars, lazy": """
        import polars as pl

        def factor(data: "pl.LazyFrame"):
            return data.with_columns(value=pl.col("close") / pl.col("close").shift().over("symbol"))
        """,
    "polars, imported by name": """
        from polars import DataFrame, col

        def factor(data: DataFrame):
            return data.select("time", "symbol", value=col("close") / col("close").shift().over("symbol"))
        """,
    "polars, wide": """
        def factor(data: pl.DataFrame):
            wide = data.pivot("symbol", index="time", values="close")
            return wide.select("time", (pl.exclude("time") / pl.exclude("time").shift()))
        """,
    "polars, a value a row": """
        def factor(data: pl.DataFrame) -> pl.Series:
            return data.select(pl.col("close") / pl.col("close").shift().over("symbol"))["close"]
        """,
    "several functions, a class, from __future__": """
        from __future__ import annotations
        from dataclasses import dataclass

        @dataclass
        class Setting:
            days: int = 1

        def _before(data, setting: Setting):
            return data.groupby("symbol")["close"].shift(setting.days)

        def factor(data, unused: int = 3, *more):
            return data["close"] / _before(data, Setting())
        """,
}


def source(text: str) -> str:
    return textwrap.dedent(text).lstrip("\n")


@pytest.mark.spec("K2", "T2")
@pytest.mark.parametrize("program", PROGRAMS)
def test_code_gives_a_factor(program: str) -> None:
    code = source(PROGRAMS[program])
    check_code(code)
    before = FRAME.clone()
    result = evaluate_code(code, FRAME)
    assert result.rows() == EXPECTED
    assert result.schema == {"time": pl.Datetime("us", "UTC"), "symbol": pl.String, "value": pl.Float64}
    assert FRAME.equals(before)
    assert "factor_code" not in sys.modules


@pytest.mark.spec("K2")
def test_it_says_how_many_values_were_left_out() -> None:
    result = values_of_code("def factor(data):\n    return (data['close'] - 2) / (data['close'] - 2)", FRAME)
    assert (result.frame.height, result.dropped) == (4, 2)


@pytest.mark.spec("K2")
def test_days_stay_days_and_an_empty_table_gives_an_empty_factor() -> None:
    days = FRAME.with_columns(pl.col("time").dt.date())
    result = evaluate_code(source(PROGRAMS["pandas, wide"]), days)
    assert result.rows() == [(time.date(), symbol, value) for time, symbol, value in EXPECTED]
    empty = evaluate_code(source(PROGRAMS["polars, long"]), FRAME.clear())
    assert empty.schema == {"time": pl.Datetime("us", "UTC"), "symbol": pl.String, "value": pl.Float64}
    assert empty.is_empty()


@pytest.mark.spec("K2", "G4")
def test_an_error_in_the_code_is_told_by_its_own_lines() -> None:
    code = source(
        """
        def helper(data):
            return data["clsoe"]

        def factor(data):
            return helper(data) + 1
        """
    )
    with pytest.raises(FactorCodeError) as caught:
        evaluate_code(code, FRAME)
    assert str(caught.value) == "factor code, line 2: KeyError: 'clsoe'"
    assert (caught.value.line, caught.value.field) == (2, "code")
    assert caught.value.traceback.splitlines() == [
        "factor code, line 5, in factor",
        "    return helper(data) + 1",
        "factor code, line 2, in helper",
        '    return data["clsoe"]',
        "KeyError: 'clsoe'",
    ]


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ("1 / 0", "factor code, line 2: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "factor code, line 2: SystemExit: 3"),
        ("raise ValueError('first\\nsecond')", "factor code, line 2: ValueError: first"),
        ("return factor(frame)", "factor code, line 2: RecursionError: maximum recursion depth exceeded"),
        ("pass", "factor returned nothing; end it with a return"),
        ("return 5", "factor returned int; return a frame with the columns time, symbol and value"),
        (
            "return frame[['close']]",
            "factor returned a frame without times; return the columns time, symbol and value, or times as the index",
        ),
        ("return frame.drop(columns='time').set_index('symbol')", "factor returned a frame without symbols; "),
        (
            "return frame['close'].head(2)",
            "factor returned a Series of 2 values for 6 rows; "
            "return one for each row of the frame, or with the index (time, symbol)",
        ),
        (
            "return frame.assign(value='x')",
            "factor returned values of type String; return numbers",
        ),
        (
            "return frame.assign(value=1, symbol='Z' + frame['symbol'])",
            "factor returned the symbol 'ZA', which the table does not have; return its own symbols",
        ),
        ("return frame.assign(value=1, time='x')", "factor returned times of type String; "),
        (
            "return frame.assign(value=1, symbol='A')",
            "what factor returned has more than one row of symbol 'A' at 2024-01-01 00:00:00+00:00; ",
        ),
        (
            "return frame.assign(open=1)",
            "factor returned 2 columns of values and none called value; return time, symbol and value",
        ),
        (
            "return frame.assign(value=1, symbol=None)",
            "what factor returned has 6 rows without a symbol; ",
        ),
        ("return pl.from_pandas(frame).select(pl.col('nope'))", "factor code, line 2: ColumnNotFoundError: "),
    ],
)
def test_what_code_does_wrong_is_told_in_one_sentence(body: str, sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        evaluate_code(f"def factor(frame):\n    {body}\n", FRAME)
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


@pytest.mark.spec("K2", "G4")
@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("", "the code is empty; define a function factor(frame) that returns a frame"),
        ("x = 1", "the code defines no function; define factor(frame) that returns a frame"),
        ("def factor(frame):\n  return (", "factor code, line 2: '(' was never closed; correct the Python there"),
        ("return 1", "factor code, line 1: 'return' outside function; correct the Python there"),
        (
            "def a(frame): ...\ndef b(frame): ...",
            "the code defines several functions (a, b); call the one to use factor",
        ),
        ("\ndef factor(): ...", "factor code, line 2: factor must take one argument, the frame of market data"),
        ("def f(a, b): ...", "factor code, line 1: f must take one argument, the frame of market data"),
        ("async def f(a): ...", "factor code, line 1: f is async; define it with def alone"),
        (
            "def f(a: int): ...",
            "factor code, line 1: f takes int; annotate pd.DataFrame or pl.DataFrame",
        ),
        ("def f(a):\n\0", None),
        ("-" * 100_000 + "1", None),
        ("#" * 1_000_001, "the code has 1,000,001 characters, more than the 1,000,000 allowed; shorten it"),
    ],
    ids=lambda value: str(value)[:20].encode("unicode_escape").decode(),
)
def test_code_that_is_no_factor_is_refused_without_running_it(code: str, sentence: str | None) -> None:
    with pytest.raises(FactorCodeError) as caught:
        check_code(code)
    assert sentence is None or str(caught.value) == sentence
    assert "\n" not in str(caught.value)


@pytest.mark.spec("K2")
def test_checking_runs_nothing() -> None:
    assert check_code("raise SystemExit\ndef momentum(frame): raise SystemExit") == "momentum"


@pytest.mark.spec("G4")
@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.text("def f(x):=+\n\t 'return\\'#\0\"", max_size=80))
def test_any_text_is_code_or_invalid(text: str) -> None:
    try:
        name = check_code(text)
    except FactorCodeError:
        return
    assert name.isidentifier()
