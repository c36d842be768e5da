"""Formulas over a report's rows, against pandas, Python's own arithmetic, and values worked by hand."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import random

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.errors import Invalid
from quarterdeck.quant.grammar import Source
from quarterdeck.report.formula import FUNCTIONS, RowFormula

UTC = dt.UTC
DAYS = [dt.datetime(2024, 1, 31, 14, 30, tzinfo=UTC) + dt.timedelta(days=n) for n in range(6)]


def table() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "time": pl.Series(DAYS, dtype=pl.Datetime("us", "UTC")),
            "symbol": ["A", "B", "A", "B", "A", None],
            "pnl": [1.0, -2.0, None, 4.5, 0.25, 3.0],
            "size": pl.Series([1, 2, 3, 4, 5, 6], dtype=pl.Int64),
            "return": [0.1, -0.05, 0.02, 0.0, 0.3, -0.9],
            "open trades": [True, False, True, None, False, True],
            "broken": [math.inf, -math.inf, math.nan, 1.0, 2.0, 3.0],
            "day": pl.Series([one.date() for one in DAYS]),
        }
    )


def values(text: str, frame: pl.DataFrame | None = None) -> list[object]:
    return RowFormula(text).column(table() if frame is None else frame).to_list()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pnl + 1", [2, -1, None, 5.5, 1.25, 4]),
        ("size", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        ("2", [2.0] * 6),
        ("-size ** 2 // 4", [-1, -1, -3, -4, -7, -9]),
        ("pnl / 0", [None] * 6),
        ("broken", [None, None, None, 1, 2, 3]),
        ("log(pnl)", [0, None, None, math.log(4.5), math.log(0.25), math.log(3)]),
        ("max(pnl, 1, size / 2)", [1, 1, None, 4.5, 2.5, 3]),
        ("round(`return` * 10, 1)", [1.0, -0.5, 0.2, 0.0, 3.0, -9.0]),
        ("clip(pnl, 0, 3)", [1, 0, None, 3, 0.25, 3]),
        ("symbol == 'A'", [True, False, True, False, True, None]),
        ('symbol != "A" and pnl > 0', [False, False, False, True, False, None]),
        ("0 < pnl <= 3", [True, False, None, False, True, True]),
        ("not `open trades`", [False, True, False, None, True, False]),
        ("isnull(symbol)", [False] * 5 + [True]),
        ("ifnull(symbol, 'none')", ["A", "B", "A", "B", "A", "none"]),
        ("isin(symbol, 'B', 'C')", [False, True, False, True, False, None]),
        ("where(pnl > 0, symbol, 'loss')", ["A", "loss", None, "B", "A", None]),
        ("size if symbol == 'A' else null", [1, None, 3, None, 5, None]),
        ("sum(`open trades`)", [3.0] * 6),
        ("lower(symbol)", ["a", "b", "a", "b", "a", None]),
        ("contains(symbol, 'A') or starts(symbol, 'B')", [True] * 5 + [None]),
        ("text(size)", ["1", "2", "3", "4", "5", "6"]),
        ("text(pnl)", ["1", "-2", None, "4.5", "0.25", "3"]),
        ("text(day) ", [str(one.date()) for one in DAYS]),
        ("year(time) * 100 + month(time)", [202401, 202402, 202402, 202402, 202402, 202402]),
        ("weekday(day)", [3, 4, 5, 6, 7, 1]),  # 2024-01-31 was a Wednesday
        ("hour(time) + minute(time) / 60 + day(time) * 0 + quarter(time) * 0", [14.5] * 6),
        ("(seconds(time) - seconds('2024-01-31')) / 3600", [14.5 + 24 * n for n in range(6)]),
        ("time >= '2024-02-02'", [False, False, True, True, True, True]),
        ('time < "2024-02-01T15:30:00+01:00"', [True, False, False, False, False, False]),
        ("date(time) == month_start(time)", [False, True, False, False, False, False]),
        ("row()", [1, 2, 3, 4, 5, 6]),
        ("row() - size", [0.0] * 6),
        ("lag(size, 2)", [None, None, 1, 2, 3, 4]),
        ("lag(size, 1, symbol)", [None, None, 1, 2, 3, None]),
        ("first(pnl, symbol)", [1, -2, 1, -2, 1, 3]),
        ("last(pnl)", [3.0] * 6),
        ("highest(size, symbol) - lowest(size, symbol)", [4, 2, 4, 2, 4, 0]),
        ("rank(pnl)", [3, 1, None, 5, 2, 4]),
        ("median(pnl)", [1.0] * 6),
        ("rolling_std(size, 1)", [None] * 6),
        ("null", [None] * 6),
        ("nan", [None] * 6),
    ],
)
def test_values_worked_by_hand(text: str, expected: list[object]) -> None:
    found = values(text)
    assert len(found) == 6
    for one, other in zip(found, expected, strict=True):
        assert one == (pytest.approx(other) if isinstance(other, float) and not isinstance(one, bool) else other), text


def test_what_looks_along_the_rows_agrees_with_pandas() -> None:
    chance = np.random.default_rng(5)
    frame = pl.DataFrame(
        {
            "g": [f"g{n}" for n in chance.integers(0, 4, 200)],
            "h": chance.integers(0, 2, 200),
            "x": [None if chance.random() < 0.1 else float(chance.normal()) for _ in range(200)],
        }
    )
    data = frame.to_pandas()
    x, groups = data["x"], data.groupby("g")["x"]
    both = data.groupby(["g", "h"])["x"]
    for text, expected in (
        ("cumsum(x)", x.cumsum()),
        ("cumsum(x, g)", groups.cumsum()),
        ("cumsum(x, g, h)", both.cumsum()),
        ("cumprod(1 + x / 10, g) - 1", (1 + x / 10).groupby(data["g"]).cumprod() - 1),
        ("cummax(x, g)", groups.cummax()),
        ("cummin(x)", x.cummin()),
        ("x - mean(x, g)", x - groups.transform("mean")),
        ("sum(x, g)", groups.transform("sum")),
        ("std(x, g)", groups.transform("std")),
        ("median(x, g)", groups.transform("median")),
        ("rank(x, g)", groups.rank()),
        ("rolling_mean(x, 5)", x.rolling(5).mean()),
        ("rolling_std(x, 5, g)", groups.rolling(5).std().droplevel(0).sort_index()),
        # a running sum of a running sum, each within its own groups
        ("cumsum(cumsum(x, g), h)", groups.cumsum().groupby(data["h"]).cumsum()),
        ("cumsum(x - mean(x, g))", (x - groups.transform("mean")).cumsum()),
        ("std(x)", pd.Series([x.std()] * 200)),
    ):
        found = pd.Series(values(text, frame), dtype=float)
        pd.testing.assert_series_equal(found, expected, check_names=False, obj=text)


@pytest.mark.spec("G4", "V3")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the formula is empty; write one such as cumsum(pnl)"),
        ("pnl +", "something is missing after '+' at column 5"),
        ("pnl = 1", "'=' can't be used in a formula at column 5; use == to compare"),
        ("'abc", "the ' is never closed at column 1; close it on the same line"),
        ("pnl `x`", "an operator is missing before 'x' at column 5"),
        ("pnl 'x'", "an operator is missing before 'x' at column 5"),
        ("'a'(pnl)", "an operator is missing before '(' at column 4"),
        ("return + 1", "the word 'return' can't be used in a formula at column 1"),
        ("pnl.x", "a formula has no attributes"),
        ("pnl[0]", "'[' can't be used in a formula"),
        ("lambda x: x", "the word 'lambda' can't be used"),
        ("__import__('os')", "the name '__import__' is not allowed at column 1"),
        ("__0", "the name '__0' is not allowed"),
        ("open('/etc/passwd')", "unknown function 'open' at column 1"),
        ("eval('1')", "unknown function 'eval' at column 1"),
        ("cumsm(pnl)", "unknown function 'cumsm' at column 1; did you mean 'cumsum'?"),
        ("ts_mean(pnl, 3)", "unknown function 'ts_mean'"),
        ("cumsum()", "cumsum takes an argument, not 0, at column 1; write cumsum(x, ...)"),
        ("year(time, 1)", "year takes an argument, not 2, at column 1; write year(x)"),
        ("lag(pnl)", "lag takes 2 arguments, not 1, at column 1; write lag(x, n, ...)"),
        ("lag(pnl, size)", "this must be a whole number from 1 to 1,000,000"),
        ("lag(pnl, 0)", "this must be a whole number from 1 to 1,000,000"),
        ("abs(pnl, 1)", "abs doesn't take 2 arguments, at column 1; write abs(x)"),
        ("where(pnl)", "where takes 3 arguments, not 1"),
        ("isin(pnl)", "isin takes 2 or more arguments"),
        ("pnl & size > 1", "'&' and '|' bind closer than a comparison"),
        ("pnl if size", "'if' and 'else' don't pair"),
        ("(" * 101 + "1" + ")" * 101, "the formula is nested more than 100 deep"),
        ("-" * 250 + "1", "the formula is nested"),
        ("1" + "+1" * 6000, "the formula has 12,001 characters"),
        ("9" * 400, "the number is too large at column 1"),
    ],
)
def test_what_is_no_formula_is_said_in_a_sentence(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        RowFormula(text)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pnk", "there is no column 'pnk' at column 1; did you mean 'pnl'?"),
        ("1 + `opn trades`", "there is no column 'opn trades' at column 5; did you mean 'open trades'?"),
        ("symbol + 1", "the column 'symbol' is a text where the formula needs a number"),
        ("time * 2", "the column 'time' is a time where the formula needs a number"),
        ("symbol and pnl > 0", "the column 'symbol' is a text where the formula needs something true or false"),
        ("symbol > 1", "where the formula needs"),
        ("time > 'soon'", "'soon' is no time at column 8; write \"2024-01-31\""),
        ("year(pnl)", "the column 'pnl' is a number where the formula needs a time"),
        ("cumsum(symbol)", "the column 'symbol' is a text where the formula needs a number"),
        ("where(pnl > 0, symbol, 1)", "where the formula needs"),
        ("upper(pnl)", "the column 'pnl' is a number where the formula needs a text"),
        ("not pnl", "the column 'pnl' is a number where the formula needs something true or false"),
        ("lists", "the column 'lists' holds what no formula can use"),
    ],
)
def test_columns_that_do_not_fit_are_said_in_a_sentence(text: str, said: str) -> None:
    formula = RowFormula(text)
    with pytest.raises(Invalid) as caught:
        formula.column(table().with_columns(lists=pl.lit([1]).implode()))
    assert said in str(caught.value)


def test_a_condition_is_a_mask() -> None:
    assert RowFormula("pnl > 0").condition(table()).to_list() == [True, False, False, True, True, True]
    with pytest.raises(Invalid, match="a condition is true or false"):
        RowFormula("pnl + 0").condition(table())


def test_no_rows_and_one() -> None:
    for name, function in FUNCTIONS.items():
        arguments = {"number": "pnl", "time": "time", "text": "symbol", "any": "pnl"}
        inner = [*(arguments[kind] for kind in function.takes), *["2"] * function.count]
        formula = RowFormula(f"{name}({', '.join(inner)})")
        for rows in (0, 1):
            assert len(formula.column(table().head(rows))) == rows, name


def test_names_of_columns_are_free() -> None:
    odd = pl.DataFrame(
        {"\x1f0": [1.0, 2.0], "#1": [3.0, 4.0], "a 'b'": [5.0, 6.0], "Größe": [7.0, 8.0], "x": [9.0, 1.0]}
    )
    assert values("cumsum(x) + cumsum(`#1`) + `a 'b'` + Größe", odd) == [24.0, 31.0]


def test_a_factor_formula_has_no_quotes() -> None:
    with pytest.raises(Invalid, match="a formula has no texts"):
        Source("close > 'x'")


# --- properties ------------------------------------------------------------------------------------------------------

_NUMBERS = st.floats(-100, 100).map(lambda one: round(one, 3))
_LEAVES = st.one_of(st.sampled_from(["x", "y", "z"]), _NUMBERS.map(lambda one: f"({one!r})"))
_SUMS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from("+-*"), inner),
        st.builds("(-{})".format, inner),
        st.builds("abs({})".format, inner),
        st.builds("min({}, {})".format, inner, inner),
        st.builds("({} if {} < {} else {})".format, inner, inner, inner, inner),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(_SUMS, _NUMBERS, _NUMBERS, _NUMBERS)
def test_arithmetic_is_pythons(text: str, x: float, y: float, z: float) -> None:
    frame = pl.DataFrame({"x": [x], "y": [y], "z": [z]})
    expected = eval(text, {"__builtins__": {}}, {"x": x, "y": y, "z": z, "abs": abs, "min": min})
    assert values(text, frame) == [pytest.approx(float(expected), rel=1e-9, abs=1e-9)]


_PIECES = [
    "pnl", "size", "symbol", "time", "`return`", "`open trades`", "'A'", '"x"', "1", "2.5", "null", "True",
    "+", "-", "*", "/", "//", "%", "**", "<", "==", "!=", "&", "|", "~", "and", "or", "not", "if", "else",
    "(", ")", ",", *(f"{name}(" for name in (*FUNCTIONS, "where", "isin", "max", "round", "clip", "isnull", "ifnull")),
]  # fmt: skip


def test_whatever_is_written_is_a_formula_or_a_sentence() -> None:
    """Texts of a formula's pieces in any order, and cut ones of good formulas."""
    chance = random.Random(11)
    frame = table()
    good, sentences = 0, list[str]()
    for _ in range(6_000):
        text = " ".join(chance.choice(_PIECES) for _ in range(chance.randint(1, 9)))
        text += ")" * max(0, text.count("(") - text.count(")"))
        try:
            assert len(RowFormula(text).column(frame)) == frame.height, text
            good += 1
        except Invalid as error:
            sentences.append(str(error))
    assert good > 100
    assert all(one and "\n" not in one for one in sentences)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_any_text_is_a_formula_or_a_sentence(text: str) -> None:
    with contextlib.suppress(Invalid):
        assert RowFormula(text).columns is not None
