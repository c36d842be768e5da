"""Formulas: small cases by hand, what is refused and how that is said, and what a formula tells about itself."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from quarterdeck.errors import Invalid
from quarterdeck.quant.expression import MAX_WINDOW, OPERATORS, Formula, FormulaError, compile_formula

COLUMNS = ("time", "symbol", "open", "close", "volume", "sector")
START = datetime(2024, 1, 1, tzinfo=UTC)


def table(**columns: dict[str, list[Any]]) -> pl.DataFrame:
    """A frame from each column's values by symbol, a row a day."""
    parts = []
    for symbol in next(iter(columns.values())):
        values = {name: by_symbol[symbol] for name, by_symbol in columns.items()}
        rows = len(next(iter(values.values())))
        times = [START + timedelta(days=day) for day in range(rows)]
        parts.append(pl.DataFrame({"time": times, "symbol": [symbol] * rows, **values}, strict=False))
    return pl.concat(parts, how="vertical_relaxed")


def values(text: str, frame: pl.DataFrame) -> dict[str, list[Any]]:
    """The formula's values by symbol, None where it gives no row."""
    result = frame.select("time", "symbol").join(
        compile_formula(text, frame.columns).evaluate(frame), on=["time", "symbol"], how="left"
    )
    parts = result.sort("symbol", "time").partition_by("symbol", as_dict=True, maintain_order=True)
    return {str(key[0]): part["value"].to_list() for key, part in parts.items()}


@pytest.mark.spec("K2", "T2")
def test_momentum_by_hand() -> None:
    frame = table(close={"A": [10, 11, 12.1, 24.2], "B": [4, 2, 1]})
    result = values("close/delay(close,2)-1", frame)
    assert result["A"] == [None, None, pytest.approx(0.21), pytest.approx(1.2)]
    assert result["B"] == [None, None, -0.75]


@pytest.mark.spec("K2", "T2")
def test_the_result_is_sorted_and_typed_and_says_what_it_left_out() -> None:
    frame = table(close={"B": [1.0, 2.0], "A": [5.0, float("nan"), float("inf"), None, 7.0]})
    result = compile_formula("close", frame.columns).values(frame.reverse())
    assert result.frame.schema == {
        "time": pl.Datetime("us", "UTC"),
        "symbol": pl.String,
        "value": pl.Float64,
    }
    assert result.frame.rows() == [
        (START, "A", 5.0),
        (START, "B", 1.0),
        (START + timedelta(days=1), "B", 2.0),
        (START + timedelta(days=4), "A", 7.0),
    ]
    assert result.dropped == 3


@pytest.mark.spec("K2")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rank(close)", [0.5, 0.5, 1.0]),
        ("-rank(-close)", [-5 / 6, -5 / 6, -1 / 3]),
        ("rank(delay(rank(close), 1) * 0 + close)", [None, None, None]),
        ("zscore(close)", [-(3**-0.5), -(3**-0.5), 2 * 3**-0.5]),
        ("demean(close)", [-1.0, -1.0, 2.0]),
        ("scale(close)", [1 / 6, 1 / 6, 4 / 6]),
        ("scale(close, 12)", [2.0, 2.0, 8.0]),
        ("quantile(close, 3)", [2.0, 2.0, 3.0]),
        ("winsorize(close, 1)", [1.0, 1.0, 2 + 3**0.5]),
        ("group_mean(close, sector)", [1.0, 2.5, 2.5]),
        ("indneutralize(close, sector)", [0.0, -1.5, 1.5]),
        ("group_rank(close, sector)", [1.0, 0.5, 1.0]),
        ("group_mean(close, close > 2)", [1.0, 1.0, 4.0]),
        ("group_mean(close, symbol)", [1.0, 1.0, 4.0]),
        ("group_mean(close, time)", [2.0, 2.0, 2.0]),
        ("group_mean(close, 1)", [2.0, 2.0, 2.0]),
        ("where(close > 1, 1, -1)", [-1.0, -1.0, 1.0]),
        ("1 if close > 1 else -1", [-1.0, -1.0, 1.0]),
        ("0 < close < 2", [1.0, 1.0, 0.0]),
        ("(close > 1) | (close < 0)", [0.0, 0.0, 1.0]),
        ("~(close > 1) & (close != 0)", [1.0, 1.0, 0.0]),
        ("not close > 1 or False", [1.0, 1.0, 0.0]),
        ("close and True", [1.0, 1.0, 1.0]),
        ("(close > 1) & True | is_nan(close)", [0.0, 0.0, 1.0]),
        ("close / (close - 1)", [None, None, 4 / 3]),
        ("close % 3 + close // 3", [1.0, 1.0, 2.0]),
        ("-close ** 2", [-1.0, -1.0, -16.0]),
        ("2 ** -close ** 0.5", [0.5, 0.5, 0.25]),
        ("(close - 4) ** 0.5", [None, None, 0.0]),
        ("SignedPower(close - 5, 2)", [-16.0, -16.0, -1.0]),
        ("log(close - 1)", [None, None, pytest.approx(1.0986122886681098)]),
        ("exp(close * 1000)", [None, None, None]),
        ("9**9**9 + close", [None, None, None]),
        ("max(close, 2, 3) - min(2, close)", [2.0, 2.0, 2.0]),
        ("where(close > 1, None, close)", [1.0, 1.0, None]),
        ("where(nan > close, 1, 2)", [None, None, None]),
        ("ifnull(where(close > 1, null, close), 7)", [1.0, 1.0, 7.0]),
        ("round(close / 3, 2) # two digits", [0.33, 0.33, 1.33]),
        ("(\n  close\n  + 1\n)", [2.0, 2.0, 5.0]),
        (".5 * close + 1e1 + 007", [17.5, 17.5, 19.0]),
    ],
)
def test_one_time_by_hand(text: str, expected: list[Any]) -> None:
    frame = table(
        close={"A": [1], "B": [1], "C": [4]},
        sector={"A": ["bank"], "B": ["oil"], "C": ["oil"]},
    )
    result = values(text, frame)
    assert [result[symbol][0] for symbol in "ABC"] == [v if v is None else pytest.approx(v) for v in expected]


@pytest.mark.spec("K2")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("delay(x, 1)", [None, 3, 1, 4, None, 5]),
        ("delta(x, 1)", [None, -2, 3, None, None, 0]),
        ("ts_mean(x, 2)", [None, 2, 2.5, None, None, 5]),
        ("ts_argmax(x, 3)", [None, None, 0, None, None, None]),
        ("ts_argmin(x, 3)", [None, None, 1, None, None, None]),
        ("ts_argmax(x, 2)", [None, 1, 0, None, None, 0]),
        ("ts_rank(x, 3)", [None, None, 1, None, None, None]),
        ("decay_linear(x, 2)", [None, 5 / 3, 3, None, None, 5]),
        ("product(x, 3)", [None, None, 12, None, None, None]),
        ("ts_backfill(x, 2)", [3, 1, 4, 4, 5, 5]),
        ("ts_count(x > 2, 2)", [None, 1, 1, None, None, 2]),
        ("0 < where(ifnull(x, 0) > -9, 5, 1)", [1, 1, 1, 1, 1, 1]),
        ("ifnull(0 < -None, 0) + (1 < 2) + 0 * ifnull(x, 0)", [1, 1, 1, 1, 1, 1]),
        ("count(isnull(x), 3)", [None, None, 0, 1, 1, 1]),
        ("ema(x, 1)", [3, 1, 4, None, 5, 5]),
        ("ema(x, 3)", [None, None, 3, None, 4, 4.5]),
        ("pct_change(x)", [None, -2 / 3, 3, None, None, 0]),
        ("ts_zscore(x, 2)", [None, -(0.5**0.5), 0.5**0.5, None, None, None]),
        ("sum(x, 1)", [3, 1, 4, None, 5, 5]),
        ("ts_mean(2, 2) * ifnull(x, 0)", [None, 2, 8, 0, 10, 10]),
        ("ts_quantile(x, 3, 0.25)", [None, None, 2, None, None, None]),
    ],
)
def test_one_symbol_by_hand(text: str, expected: list[Any]) -> None:
    frame = table(x={"A": [3, 1, 4, None, 5, 5]})
    assert values(text, frame)["A"] == [v if v is None else pytest.approx(v) for v in expected]


@pytest.mark.spec("K2")
def test_nested_operators_of_both_classes_by_hand() -> None:
    frame = table(
        x={"A": [1, 4, 3], "B": [2, 2, 2], "C": [3, 3, 9]},
    )
    # ranks by day: A 1/3 1 2/3, B 2/3 1/3 1/3, C 1 2/3 1
    assert values("ts_sum(rank(x), 2)", frame) == {
        "A": [None, pytest.approx(4 / 3), pytest.approx(5 / 3)],
        "B": [None, pytest.approx(1), pytest.approx(2 / 3)],
        "C": [None, pytest.approx(5 / 3), pytest.approx(5 / 3)],
    }
    # sums of two days: A 5 7, B 4 4, C 6 12; their ranks by day
    assert values("rank(ts_sum(x, 2)) - rank(delay(rank(x), 1))", frame) == {
        "A": [None, pytest.approx(1 / 3), pytest.approx(-1 / 3)],
        "B": [None, pytest.approx(-1 / 3), 0],
        "C": [None, 0, pytest.approx(1 / 3)],
    }


@pytest.mark.spec("K2")
def test_what_a_formula_reads_and_how_far_back() -> None:
    def facts(text: str) -> tuple[set[str], int]:
        formula = compile_formula(text, COLUMNS)
        return set(formula.columns), formula.lookback

    assert facts("close") == ({"close"}, 0)
    assert facts("close/delay(close,20)-1") == ({"close"}, 20)
    assert facts("rank(ts_mean(volume,5)/ts_mean(volume,60))") == ({"volume"}, 59)
    assert facts("-correlation(rank(open), rank(delta(volume, 3)), 10)") == ({"open", "volume"}, 12)
    assert facts("returns + adv20") == ({"close", "volume"}, 19)
    assert facts("ts_std(returns, 20)") == ({"close"}, 20)
    assert facts("ema(close, 12)") == ({"close"}, 120)
    assert facts("group_mean(close, sector)") == ({"close", "sector"}, 0)


@pytest.mark.spec("K2")
@pytest.mark.parametrize("text", ["ts_rank(delta(ts_mean(close, 4), 3), 5)", "decay_linear(rank(returns), 6)"])
def test_lookback_rows_before_a_time_are_enough_and_needed(text: str) -> None:
    frame = table(close={name: [(i * i * (ord(name) - 60)) % 17 + 1 for i in range(40)] for name in "AB"})
    formula = compile_formula(text, frame.columns)
    last = frame["time"].max()
    whole = formula.evaluate(frame).filter(pl.col("time") == last)

    def from_rows(count: int) -> pl.DataFrame:
        return formula.evaluate(frame.sort("time").group_by("symbol").tail(count)).filter(pl.col("time") == last)

    assert from_rows(formula.lookback + 1).equals(whole)
    assert from_rows(formula.lookback).is_empty()


@pytest.mark.spec("K2")
def test_names_that_the_table_lacks_may_be_built() -> None:
    frame = table(close={"A": [1, 2, 3]}, volume={"A": [1, 3, 5]})
    assert values("adv2", frame)["A"] == [None, 2, 4]
    assert values("returns", frame)["A"] == [None, 1, 0.5]
    own = frame.with_columns(adv2=pl.lit(7), returns=pl.lit(8))
    assert values("adv2 + returns", own)["A"] == [15, 15, 15]
    with pytest.raises(FormulaError, match="'adv20' needs the column 'volume'"):
        compile_formula("adv20", ["close"])


@pytest.mark.spec("K2")
def test_names_of_any_script_and_without_knowing_the_columns() -> None:
    frame = table(收盘价={"A": [1, 2]}, ﬁx={"A": [3, 4]})
    assert values("收盘价 + ﬁx", frame)["A"] == [4, 6]
    assert compile_formula("anything + adv5").columns == {"anything", "volume"}


@pytest.mark.spec("K2", "T1")
def test_columns_of_all_number_types() -> None:
    frame = table(close={"A": [1, 2]}).with_columns(
        whole=pl.lit(3, dtype=pl.UInt8),
        exact=pl.Series([Decimal("1.5"), None]),
        yes=pl.Series([True, False]),
        single=pl.lit(0.5, dtype=pl.Float32),
        kind=pl.Series(["x", "y"], dtype=pl.Categorical),
    )
    assert values("whole - 4 + close * single", frame)["A"] == [-0.5, 0]
    assert values("exact * 2", frame)["A"] == [3, None]
    assert values("where(yes, close, -close)", frame)["A"] == [1, -2]
    assert values("yes & (close > 0)", frame)["A"] == [1, 0]
    assert values("group_mean(close, kind)", frame)["A"] == [1, 2]
    days = frame.with_columns(pl.col("time").dt.date())
    assert compile_formula("close", days.columns).evaluate(days)["time"].to_list() == [
        date(2024, 1, 1),
        date(2024, 1, 2),
    ]


@pytest.mark.spec("K2", "G4")
@pytest.mark.parametrize("rows", [0, 1])
def test_each_operator_on_a_table_of_no_or_one_row(rows: int) -> None:
    frame = table(close={"A": [2.0]}, open={"A": [3.0]}, sector={"A": ["x"]}).head(rows)
    given_text = {"c": "(close>1)", "d": "(open>1)", "x": "close", "y": "open", "group": "sector", "n": "5", "q": "0.5"}
    given_text |= {"std": "2", "total": "1", "buckets": "3", "digits": "1", "lower": "1", "upper": "2"}
    for entry in OPERATORS:
        if "(" in entry.signature:
            text = f"{entry.name}({', '.join(given_text[parameter.name] for parameter in entry.parameters)})"
        else:
            words = entry.signature.replace("-x", "- x").split()
            text = " ".join(given_text.get(word, word) for word in words)
        result = compile_formula(text, frame.columns).values(frame)
        assert result.frame.height + result.dropped == rows, text
        assert result.frame.columns == ["time", "symbol", "value"], text


WINDOW = "the window of ts_mean must be a whole number from 1 to 100,000 at column 16; write ts_mean(x, n)"
REFUSED = {
    "clsoe": "unknown name 'clsoe' at column 1; did you mean 'close'?",
    "1 + Close": "unknown name 'Close' at column 5; did you mean 'close'?",
    "ts_mena(close, 3)": "unknown function 'ts_mena' at column 1; did you mean 'ts_mean' or 'ts_min'?",
    "close +": "something is missing after '+' at column 7; complete the expression",
    "close * / open": "something is missing before '/' at column 9; complete the expression",
    "(close": "the '(' is never closed at column 1; close it with ')'",
    "close)": "the ')' has no '(' at column 6; remove it or open one before",
    "close open": "an operator is missing before 'open' at column 7; write one, such as *",
    "2(close)": "an operator is missing before '(' at column 2; write one, such as *",
    "close(2)": "'close' is a column, no function at column 1; write * to multiply",
    "rank": "'rank' is a function without its arguments at column 1; write rank(x)",
    "rank()": "rank takes 1 argument, not 0, at column 1; write rank(x)",
    "ts_mean(close)": "ts_mean takes 2 arguments, not 1, at column 1; write ts_mean(x, n)",
    "max(close)": "max takes 2 or more arguments, not 1, at column 1; write max(x, y, ...)",
    "round(close, 1, 2)": "round takes 1 to 2 arguments, not 3, at column 1; write round(x, digits=0)",
    "ts_mean(close, -5)": WINDOW,
    "ts_std(close, 1)": WINDOW.replace("_mean", "_std").replace("from 1 to", "from 2 to").replace("16", "15"),
    "ts_mean(close, volume)": WINDOW,
    "ts_mean(close, 2.0)": WINDOW,
    "ts_mean(close, True)": WINDOW,
    "ts_mean(close, 2+3)": WINDOW,
    "ts_quantile(close, 5, 2)": "'q' of ts_quantile must be a number from 0 to 1 at column 23; "
    "write ts_quantile(x, n, q)",
    "winsorize(close, -1)": "'std' of winsorize must be a positive number at column 18; write winsorize(x, std=4)",
    "close.shift(1)": "'.' can't be used in a formula at column 6; a formula has no attributes; "
    "write function(x) rather than x.function()",
    "close[1]": "'[' can't be used in a formula at column 6; use ( ) for grouping and delay(x, n) for earlier rows",
    "lambda x: x": "the word 'lambda' can't be used in a formula at column 1; remove it",
    "rank(close for close in open)": "the word 'for' can't be used in a formula at column 12; remove it",
    "'close'": "''' can't be used in a formula at column 1; a formula has no texts; name columns without quotes",
    'f"{close}"': "'\"' can't be used in a formula at column 2; a formula has no texts; name columns without quotes",
    "(a := close)": "':=' can't be used in a formula at column 4; a formula can't assign; "
    "write the value where it is needed",
    "volume = 3": "'=' can't be used in a formula at column 8; use == to compare",
    "close ^ 2": "'^' can't be used in a formula at column 7; use ** for powers",
    "close > 1 && open": "'&&' can't be used in a formula at column 11; write 'and'",
    "ts_mean(close, n=5)": "'=' can't be used in a formula at column 17; use == to compare",
    "__import__(close)": "the name '__import__' is not allowed at column 1; use a column's name",
    "1j * close": "an operator is missing before 'j' at column 2; write one, such as *",
    "1e999 * close": "the number is too large at column 1; numbers go to about 1.8e308",
    "close if open": "'if' and 'else' don't pair at column 1; write a if condition else b",
    "close > 1 & open > 2": "'&' and '|' bind closer than a comparison at column 9; put the comparisons in parentheses",
    "(close + 1) & (open > 2)": "'&' needs something true or false on both sides at column 1; "
    "put the comparisons in parentheses",
    "time + 1": "'time' is no number at column 1; use it only as the group of a group function",
    "close, open": "the ',' belongs to no function at column 6; remove it",
    "max(close,, open)": "something is missing before ',' at column 11; complete the expression",
    "max(*close)": "something is missing before '*' at column 5; complete the expression",
    "close\n+ opne": "unknown name 'opne' at line 2, column 3; did you mean 'open'?",
    "close × 2": "unexpected character '×' at column 7; remove it",
    "\0": "unexpected character 'U+0000' at column 1; remove it",
    " ": "the formula is empty; write one such as close / delay(close, 20) - 1",
    "9**9**9": "the formula reads no column; write one such as close / delay(close, 20) - 1",
}


@pytest.mark.spec("K2", "G4")
@pytest.mark.parametrize("text", REFUSED)
def test_a_wrong_formula_is_refused_in_one_sentence(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        compile_formula(text, COLUMNS)
    assert str(caught.value) == REFUSED[text]
    assert caught.value.field == "formula"


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "close" + ")" * 5000,
        "(" * 4000 + "close" + ")" * 4000,
        "rank(" * 1500 + "close" + ")" * 1500,
        "-" * 9_990 + "close",
        "not " * 2400 + "close",
        "close" + "+close" * 1600,
        "close" + "**close" * 1400,
        "close if close else " * 490 + "close",
        "close and (" * 900 + "close" + ")" * 900,
        "9" * 9000 + "*close",
        "x" * 10_001,
    ],
    ids=lambda text: text[:12],
)
def test_monsters_are_refused_at_once(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(FormulaError) as caught:
        compile_formula(text, COLUMNS)
    assert any(word in str(caught.value) for word in ("deep", "characters", "too large"))
    assert time.perf_counter() - began < 2


@pytest.mark.spec("K2")
def test_the_deepest_and_widest_formulas_allowed_are_computed() -> None:
    frame = table(close={"A": [1.0, 2.0]})
    assert values("close" + "<=close" * 1400, frame)["A"] == [1, 1]
    assert values("close>1" + " and close>1" * 800, frame)["A"] == [0, 1]
    assert values("max(3" + ",close" * 1600 + ")", frame)["A"] == [3, 3]
    assert values("close" + "+close" * 199, frame)["A"] == [200, 400]
    assert values("(" * 100 + "close" + ")" * 100, frame)["A"] == [1, 2]
    assert values(" + ".join(f"({'+'.join(['close'] * 100)})" for _ in range(16)), frame)["A"] == [1600, 3200]
    assert values(f"ifnull(ts_mean(close, {MAX_WINDOW}), 5)", frame)["A"] == [5, 5]
    assert values(f"ifnull(ts_corr(close, close, {MAX_WINDOW}), 5)", frame)["A"] == [5, 5]


WORDS = [*COLUMNS, "rank", "ts_mean", "where", "if", "else", "and", "not", "for", "in", "lambda", "True", "None"]
WORDS += [
    *"()()(),,+-*/%<>=&|~!.:;[]{}'\"\\@#^?`$ \n\t",
    "**",
    "//",
    "==",
    "!=",
    ":=",
    "1",
    "0",
    "5",
    "1.5",
    "0x1",
    "1e5",
]
WORDS += [
    "__class__",
    "é",
    "\u200b",
    "\ud800",
    "٣",
    "ﬁ",
    "²",
    "1_0",
    "00",
    "9" * 400,
    "f'",
    "async",
    "await",
    "1e",
    "…",
]


@pytest.mark.spec("G4")
@settings(max_examples=600, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(WORDS), max_size=25).map("".join) | st.lists(
    st.sampled_from(WORDS), max_size=25).map(" ".join))  # fmt: skip
@example("close\\\nopen")
@example("\ufeffclose")
@example("٣*close")
@example("1if close else 2")
def test_any_text_is_a_formula_or_invalid(text: str) -> None:
    for columns in (COLUMNS, None):
        formula: Formula | None = None
        with contextlib.suppress(Invalid):
            formula = compile_formula(text, columns)
        assert formula is None or formula.columns


@pytest.mark.spec("K2", "G4")
def test_a_table_that_does_not_fit_is_refused() -> None:
    frame = table(close={"A": [1, 2]}, sector={"A": ["x", "y"]})
    cases = {
        "the table has no column 'colse', which the formula reads; did you mean 'close'?": ("colse", frame),
        "the table has no column 'time'; a factor needs the columns time and symbol": ("close", frame.drop("time")),
        "the column 'sector' holds String where the formula needs numbers; "
        "use it as a group, as in group_mean(x, sector)": ("sector + close", frame),
        "the table has 1 rows without a symbol; remove them or give them one": (
            "close",
            frame.with_columns(symbol=pl.Series(["A", None])),
        ),
        "the table has more than one row of symbol 'A' at 2024-01-01 00:00:00+00:00; "
        "a factor needs one row a symbol and time": ("close", pl.concat([frame, frame.head(1)])),
        "the time of the table is String and no time; convert it": (
            "close",
            frame.with_columns(pl.col("time").cast(pl.String)),
        ),
        "the column 'close' can't be a group; a group is a column of texts or numbers": (
            "group_mean(open, close)",
            frame.with_columns(open=1, close=pl.Series([[1], [2]])),
        ),
    }
    for sentence, (text, source) in cases.items():
        with pytest.raises(Invalid) as caught:
            compile_formula(text).evaluate(source)
        assert str(caught.value) == sentence


def test_the_table_of_operators_is_fit_to_be_shown() -> None:
    names = [entry.name for entry in OPERATORS]
    assert len(set(names)) == len(names) >= 60
    for entry in OPERATORS:
        assert entry.meaning
        assert "\n" not in entry.meaning
        assert entry.kind in ("elementwise", "time-series", "cross-section")
        for alias in entry.aliases:
            assert alias not in names
