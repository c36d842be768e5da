"""Formulas against pandas: each operator by itself, and random nests of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.quant.expression import OPERATORS, compile_formula

Series = Any
COLUMNS = ("open", "close", "volume", "sector")


def market(seed: int, *, whole: bool, symbols: int = 5, times: int = 40) -> pd.DataFrame:
    """Sorted by symbol and time; with gaps, late starts, ties, zeros and missing numbers."""
    rng = np.random.default_rng(seed)
    parts = []
    for number in range(symbols):
        start = int(rng.integers(0, times // 2)) if number % 2 else 0
        steps = [t for t in range(start, times) if rng.random() > 0.15]
        size = len(steps)
        if whole:
            values = {name: rng.integers(-3, 5, size).astype(float) for name in ("open", "close", "volume")}
        else:
            walk = 50 * 10.0 ** rng.integers(-2, 3) * np.exp(np.cumsum(rng.normal(0, 0.02, size)))
            values = {"close": walk, "open": walk * np.exp(rng.normal(0, 0.01, size))}
            values["volume"] = rng.integers(0, 6, size).astype(float) * 100
            values["close"][1::7] = values["close"][::7][: len(values["close"][1::7])]
        for column in values.values():
            column[rng.random(size) < 0.06] = np.nan
        dates = pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(steps, unit="D")
        sector = ["bank", "oil", None][number % 3]
        parts.append(pd.DataFrame({"symbol": f"S{number}", "time": dates, "sector": sector, **values}))
    return pd.concat(parts, ignore_index=True)


class Reference:
    """The operators in plain pandas, one symbol, one time and one window after the other."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.largest = 1.0

    def finite(self, value: Series) -> Series:
        value = pd.Series(np.asarray(value, dtype=float), index=self.frame.index)
        value = value.where(np.isfinite(value))
        self.largest = max(self.largest, value.abs().max(), 0.0)
        return value

    def along(self, function: Callable[[Series], Series], *inputs: Series) -> Series:
        parts = []
        for _, group in self.frame.groupby("symbol"):
            table = pd.concat([value.loc[group.index] for value in inputs], axis=1, keys=range(len(inputs)))
            parts.append(pd.Series(np.asarray(function(table), dtype=float), index=group.index))
        return self.finite(pd.concat(parts).loc[self.frame.index])

    def window(self, n: int, function: Callable[..., float], *inputs: Series) -> Series:
        def each(table: pd.DataFrame) -> Series:
            out = np.full(len(table), np.nan)
            values = table.to_numpy()
            for row in range(n - 1, len(table)):
                part = values[row - n + 1 : row + 1]
                if not np.isnan(part).any():
                    out[row] = function(*part.T)
            return out

        return self.along(each, *inputs)

    def across(self, function: Callable[[Series], Series], x: Series, group: Series | None = None) -> Series:
        keys = [self.frame["time"]] if group is None else [self.frame["time"], group]
        return self.finite(x.groupby(keys).transform(function))

    def where(self, c: Series, x: Series, y: Series) -> Series:
        return self.finite(np.where(c.isna(), np.nan, np.where(c != 0, x, y)))

    def truth(self, result: Series, *inputs: Series) -> Series:
        known = np.logical_and.reduce([value.notna() for value in inputs])
        return self.finite(pd.Series(np.asarray(result, dtype=float), index=self.frame.index).where(known))


def varies(values: Any) -> bool:
    return bool(np.ptp(values) > 0)


def sample(method: str, least: int = 1) -> Callable[[Any], float]:
    return lambda values: getattr(pd.Series(values), method)() if varies(values) or least < 3 else math.nan


def correlation(x: Any, y: Any) -> float:
    return float(np.corrcoef(x, y)[0, 1]) if varies(x) and varies(y) else math.nan


def zscore(x: Series) -> Series:
    return (x - x.mean()) / x.std() if x.count() > 1 and x.max() > x.min() else x * np.nan


def winsorized(x: Series, std: float) -> Series:
    if x.count() < 2:
        return x
    return x.clip(x.mean() - std * x.std(), x.mean() + std * x.std())


def backfilled(table: pd.DataFrame, n: int) -> Series:
    return table[0].ffill(limit=n)


def smooth(table: pd.DataFrame, n: int) -> Series:
    known = table[0].dropna()
    return known.ewm(span=n, adjust=False, min_periods=n).mean().reindex(table.index)


def latest(pick: Callable[[Any], Any]) -> Callable[[Any], float]:
    return lambda values: float(pick(values[::-1]))


def kleene(name: str, c: Series, d: Series) -> Series:
    left, right = (pd.Series(np.where(v.isna(), None, v != 0), index=v.index).astype("boolean") for v in (c, d))
    return (left & right if name == "and" else left | right).astype("Float64").to_numpy(dtype=float, na_value=np.nan)


def weighted(x: Any) -> float:
    return float(np.average(x, weights=np.arange(1, len(x) + 1)))


R = Reference
REFERENCES: dict[str, Callable[..., Series]] = {
    "add": lambda r, x, y: r.finite(x + y),
    "subtract": lambda r, x, y: r.finite(x - y),
    "multiply": lambda r, x, y: r.finite(x * y),
    "divide": lambda r, x, y: r.finite(x / y.replace(0, np.nan)),
    "floor_divide": lambda r, x, y: r.finite(np.floor(x / y.replace(0, np.nan))),
    "modulo": lambda r, x, y: r.finite(x % y.replace(0, np.nan)),
    "raise": lambda r, x, y: r.finite(np.power(x.where(x.notna()), y.where(x.notna()))),
    "negate": lambda r, x: r.finite(-x),
    "less": lambda r, x, y: r.truth(x < y, x, y),
    "less_equal": lambda r, x, y: r.truth(x <= y, x, y),
    "greater": lambda r, x, y: r.truth(x > y, x, y),
    "greater_equal": lambda r, x, y: r.truth(x >= y, x, y),
    "equal": lambda r, x, y: r.truth(x == y, x, y),
    "not_equal": lambda r, x, y: r.truth(x != y, x, y),
    "and": lambda r, c, d: r.finite(kleene("and", c, d)),
    "or": lambda r, c, d: r.finite(kleene("or", c, d)),
    "not": lambda r, c: r.truth(c == 0, c),
    "choose": lambda r, c, x, y: r.where(c, x, y),
    "where": lambda r, c, x, y: r.where(c, x, y),
    "abs": lambda r, x: r.finite(x.abs()),
    "sign": lambda r, x: r.finite(np.sign(x)),
    "log": lambda r, x: r.finite(np.log(x.where(x > 0))),
    "exp": lambda r, x: r.finite(np.exp(x)),
    "sqrt": lambda r, x: r.finite(np.sqrt(x.where(x >= 0))),
    "power": lambda r, x, y: r.finite(np.power(x.where(x.notna()), y.where(x.notna()))),
    "signed_power": lambda r, x, y: r.finite(np.sign(x) * np.power(x.abs(), y)),
    "max": lambda r, *values: r.finite(np.max(np.vstack(values), axis=0)),
    "min": lambda r, *values: r.finite(np.min(np.vstack(values), axis=0)),
    "floor": lambda r, x: r.finite(np.floor(x)),
    "ceil": lambda r, x: r.finite(np.ceil(x)),
    "round": lambda r, x, digits=0: r.finite(np.round(x, digits)),
    "clip": lambda r, x, low, high: r.finite(np.minimum(np.maximum(x, low), high)),
    "isnull": lambda r, x: r.finite(x.isna()),
    "ifnull": lambda r, x, y: r.finite(x.fillna(y)),
    "delay": lambda r, x, n: r.along(lambda t: t[0].shift(n), x),
    "delta": lambda r, x, n: r.along(lambda t: t[0] - t[0].shift(n), x),
    "returns": lambda r, x, n=1: r.along(lambda t: t[0] / t[0].shift(n).replace(0, np.nan) - 1, x),
    "ts_mean": lambda r, x, n: r.window(n, np.mean, x),
    "ts_sum": lambda r, x, n: r.window(n, np.sum, x),
    "ts_std": lambda r, x, n: r.window(n, sample("std"), x),
    "ts_var": lambda r, x, n: r.window(n, sample("var"), x),
    "ts_min": lambda r, x, n: r.window(n, np.min, x),
    "ts_max": lambda r, x, n: r.window(n, np.max, x),
    "ts_argmin": lambda r, x, n: r.window(n, latest(np.argmin), x),
    "ts_argmax": lambda r, x, n: r.window(n, latest(np.argmax), x),
    "ts_rank": lambda r, x, n: r.window(n, lambda v: pd.Series(v).rank(pct=True).iloc[-1], x),
    "ts_zscore": lambda r, x, n: r.window(n, lambda v: zscore(pd.Series(v)).iloc[-1], x),
    "ts_median": lambda r, x, n: r.window(n, np.median, x),
    "ts_quantile": lambda r, x, n, q: r.window(n, lambda v: np.quantile(v, q), x),
    "ts_skew": lambda r, x, n: r.window(n, sample("skew", 3), x),
    "ts_kurt": lambda r, x, n: r.window(n, sample("kurt", 4), x),
    "ts_corr": lambda r, x, y, n: r.window(n, correlation, x, y),
    "ts_cov": lambda r, x, y, n: r.window(n, lambda a, b: np.cov(a, b)[0, 1], x, y),
    "decay_linear": lambda r, x, n: r.window(n, weighted, x),
    "ema": lambda r, x, n: r.along(lambda t: smooth(t, n), x),
    "ts_product": lambda r, x, n: r.window(n, np.prod, x),
    "ts_count": lambda r, c, n: r.window(n, lambda v: float(np.count_nonzero(v)), c),
    "ts_scale": lambda r, x, n: r.window(n, lambda v: (v[-1] - v.min()) / np.ptp(v) if varies(v) else math.nan, x),
    "ts_backfill": lambda r, x, n: r.along(lambda t: backfilled(t, n), x),
    "rank": lambda r, x: r.across(lambda s: s.rank(pct=True), x),
    "zscore": lambda r, x: r.across(zscore, x),
    "demean": lambda r, x: r.across(lambda s: s - s.mean(), x),
    "scale": lambda r, x, total=1: r.across(lambda s: s / s.abs().sum() * total if s.abs().sum() else s * np.nan, x),
    "winsorize": lambda r, x, std=4: r.across(lambda s: winsorized(s, std), x),
    "quantile": lambda r, x, buckets: r.across(lambda s: np.ceil(s.rank() * buckets / s.count()), x),
    "group_neutralize": lambda r, x, g: r.across(lambda s: s - s.mean(), x, g),
    "group_mean": lambda r, x, g: r.across(lambda s: s * 0 + s.mean(), x, g),
    "group_rank": lambda r, x, g: r.across(lambda s: s.rank(pct=True), x, g),
    "group_zscore": lambda r, x, g: r.across(zscore, x, g),
}


def assert_same(text: str, frame: pd.DataFrame, expected: Series, largest: float) -> None:
    source = pl.from_pandas(frame).sample(fraction=1, shuffle=True, seed=3)
    result = compile_formula(text, COLUMNS).values(source)
    wanted = frame[["time", "symbol"]].assign(value=expected).dropna(subset="value").sort_values(["time", "symbol"])
    assert result.frame.schema["value"] == pl.Float64, text
    assert result.frame["symbol"].to_list() == wanted["symbol"].to_list(), text
    assert result.frame["time"].to_list() == wanted["time"].to_list(), text
    assert result.dropped == len(frame) - len(wanted), text
    np.testing.assert_allclose(
        result.frame["value"].to_numpy(), wanted["value"].to_numpy(), rtol=1e-8, atol=1e-10 * largest, err_msg=text
    )


# for each parameter of a signature, what is given to it in the text and to the reference
GIVEN: dict[str, tuple[str, Any]] = {
    "x": ("close", "close"),
    "y": ("open", "open"),
    "c": ("(close > open)", ("greater", "close", "open")),
    "d": ("(volume > 100)", ("greater", "volume", 100)),
    "lower": ("-0.5", -0.5),
    "upper": ("volume", "volume"),
    "group": ("sector", "sector"),
    "n": ("6", 6),
    "q": ("0.3", 0.3),
    "std": ("0.8", 0.8),
    "total": ("2", 2),
    "buckets": ("3", 3),
    "digits": ("1", 1),
}
# where prices as they are would say nothing or overflow
INSTEAD: dict[str, tuple[str, Any]] = {
    "raise": ("volume", "volume"),
    "power": ("(close - open)", ("subtract", "close", "open")),
    "signed_power": ("(close - open)", ("subtract", "close", "open")),
    "exp": ("(close - open)", ("subtract", "close", "open")),
    "log": ("volume", "volume"),
    "sqrt": ("(close - open)", ("subtract", "close", "open")),
    "floor": ("(close - open)", ("subtract", "close", "open")),
    "sign": ("(close - open)", ("subtract", "close", "open")),
    "ts_argmax": ("volume", "volume"),
    "ts_argmin": ("volume", "volume"),
    "ts_rank": ("volume", "volume"),
    "rank": ("volume", "volume"),
    "group_rank": ("volume", "volume"),
    "quantile": ("volume", "volume"),
    "ts_zscore": ("volume", "volume"),
    "ts_scale": ("volume", "volume"),
    "ts_skew": ("volume", "volume"),
    "ts_product": ("(close / open)", ("divide", "close", "open")),
}


def value_of(reference: Reference, tree: Any) -> Any:
    """The reference's value of a tree of tuples, names of columns, and numbers."""
    if isinstance(tree, str):
        column = reference.frame[tree]
        return column if tree == "sector" else reference.finite(column)
    if not isinstance(tree, tuple):
        return reference.finite(np.full(len(reference.frame), math.nan if tree is None else float(tree)))
    name, *arguments = tree
    computed = [value_of(reference, part) for part in arguments if not isinstance(part, Literal)]
    return REFERENCES[name](reference, *computed, *(part.value for part in arguments if isinstance(part, Literal)))


class Literal:
    """An argument that is a number and no column of one."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __repr__(self) -> str:
        return str(self.value)


def test_each_operator_has_a_reference() -> None:
    assert {entry.name for entry in OPERATORS} == set(REFERENCES)


@pytest.mark.spec("K2", "T2")
@pytest.mark.parametrize("entry", OPERATORS, ids=lambda entry: entry.name)
@pytest.mark.parametrize("seed", [1, 2])
def test_an_operator_equals_pandas(entry: Any, seed: int) -> None:
    frame = market(seed, whole=False)
    given_here = GIVEN | ({"x": INSTEAD[entry.name]} if entry.name in INSTEAD else {})
    if "(" in entry.signature:
        parts = [given_here[parameter.name] for parameter in entry.parameters]
        literal = [parameter.literal for parameter in entry.parameters]
        text = f"{entry.name}({', '.join(part for part, _ in parts)})"
        order = [value for _, value in parts]
    else:
        words = [given_here.get(word, (word, None)) for word in entry.signature.replace("-x", "- x").split()]
        text = " ".join(part for part, _ in words)
        names = [word for word in entry.signature.replace("-x", "- x").split() if word in given_here]
        order = [given_here[name][1] for name in (sorted(names) if entry.name == "choose" else names)]
        literal = [False] * len(order)
    tree = (entry.name, *(Literal(v) if fixed else v for v, fixed in zip(order, literal, strict=True)))
    reference = Reference(frame)
    expected = value_of(reference, tree)
    assert expected.notna().sum() > 20, "the case says nothing"
    assert_same(text, frame, expected, reference.largest)


# ---- random nests. Steps (comparisons, ranks, rounding, roots of zero) get only exact arguments: whole numbers,
# where no order of summing can turn an equality into a difference

EXACT_ALONG = ("delay", "delta", "ts_sum", "ts_min", "ts_max", "ts_argmin", "ts_argmax", "ts_median", "ts_backfill")
SMOOTH_ALONG = ("ts_mean", "decay_linear", "ema", "delay", "delta", "ts_sum")
STEP_ALONG = ("ts_rank", "ts_zscore", "ts_skew", "ts_scale", "ts_std", "ts_var", "returns")
STEP_ACROSS = ("rank", "zscore", "scale", "winsorize", "demean")
SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "less": "<", "less_equal": "<=", "equal": "=="}
SIGNS |= {"greater": ">", "not_equal": "!=", "and": "and", "or": "or"}

Trees = st.SearchStrategy[Any]
windows = st.integers(1, 6)
wide = st.integers(3, 6)


def joined(names: tuple[str, ...], *parts: Trees) -> Trees:
    return st.tuples(st.sampled_from(names), *parts)


def literal(numbers: st.SearchStrategy[int]) -> Trees:
    return numbers.map(Literal)


leaves = st.sampled_from(["open", "close", "volume"]) | st.integers(0, 3) | st.none()


def exact(children: Trees) -> Trees:
    truths = joined(("less", "less_equal", "greater", "equal", "not_equal"), children, children)
    truths |= joined(("and", "or"), truths, truths) | joined(("not",), truths) | joined(("isnull",), children)
    return (
        joined(("add", "subtract", "multiply", "max", "min", "ifnull"), children, children)
        | joined(("negate", "abs", "sign"), children)
        | joined(EXACT_ALONG, children, literal(windows))
        | joined(("where", "choose"), truths, children, children)
        | joined(("ts_count",), truths, literal(windows))
        | truths
    )


exacts = st.recursive(leaves, exact, max_leaves=5)
stepped = (
    joined(STEP_ALONG, exacts, literal(wide))
    | joined(STEP_ACROSS, exacts)
    | joined(("quantile",), exacts, literal(st.integers(2, 4)))
    | joined(("ts_corr", "ts_cov"), exacts, exacts, literal(wide))
    | joined(("group_rank", "group_neutralize", "group_zscore"), exacts, st.just("sector"))
    | joined(("divide", "modulo"), exacts, exacts)
    | joined(("log", "sqrt"), exacts)
)
trees = st.recursive(
    exacts | stepped,
    lambda children: (
        joined(("add", "subtract", "multiply", "max", "min", "ifnull"), children, children)
        | joined(SMOOTH_ALONG, children, literal(windows))
        | joined(("demean",), children)
        | st.tuples(st.just("group_mean"), children, st.just("sector"))
    ),
    max_leaves=4,
)


def written(tree: Any) -> str:
    if not isinstance(tree, tuple):
        return str(tree)
    name, *parts = tree
    texts = [written(part) for part in parts]
    match name:
        case "choose":
            return f"({texts[1]} if {texts[0]} else {texts[2]})"
        case "negate":
            return f"(-{texts[0]})"
        case "not":
            return f"(not {texts[0]})"
        case "modulo":
            return f"({texts[0]} % {texts[1]})"
    return f"({texts[0]} {SIGNS[name]} {texts[1]})" if name in SIGNS else f"{name}({', '.join(texts)})"


@pytest.mark.spec("K2", "T2")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(trees, st.integers(0, 50))
def test_random_formulas_equal_pandas(tree: Any, seed: int) -> None:
    frame = market(seed, whole=True, symbols=4, times=18)
    reference = Reference(frame)
    # a sum with a column, for a formula must read one; the zeros keep its value
    expected = value_of(reference, ("add", tree, ("ts_count", ("isnull", ("isnull", "close")), Literal(1))))
    text = f"{written(tree)} + ts_count(isnull(isnull(close)), 1)"
    assert_same(text, frame, expected, reference.largest)


@pytest.mark.spec("K2")
def test_large_and_small_symbols_do_not_disturb_each_other() -> None:
    rng = np.random.default_rng(4)
    sizes = {"A": 1e15, "B": 1e-9, "C": 1.0, "D": 1e7}
    frame = pd.concat(
        [
            pd.DataFrame(
                {
                    "symbol": name,
                    "time": pd.date_range("2024-01-01", periods=80, tz="UTC"),
                    "close": size * (1 + 1e-3 * rng.normal(size=80)),
                    "open": size * (1 + 1e-3 * rng.normal(size=80)),
                    "volume": 1.0,
                    "sector": "x",
                }
            )
            for name, size in sizes.items()
        ],
        ignore_index=True,
    )
    # one row out of all proportion, and after it rows that do not vary at all
    frame.loc[30, "close"] = 1e300
    frame.loc[200:215, "close"] = 0.1
    for text, tree in {
        "ts_corr(close, open, 9)": ("ts_corr", "close", "open", Literal(9)),
        "ts_zscore(close, 9)": ("ts_zscore", "close", Literal(9)),
        "ts_mean(close, 5) / close": ("divide", ("ts_mean", "close", Literal(5)), "close"),
        "ts_std(close, 5) / close": ("divide", ("ts_std", "close", Literal(5)), "close"),
    }.items():
        quiet = frame if "corr" in text else frame.assign(close=frame["close"].where(frame["close"] < 1e200))
        reference = Reference(quiet)
        with np.errstate(all="ignore"):
            expected = value_of(reference, tree)
        assert_same(text, quiet, expected, 1.0)
