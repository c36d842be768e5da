"""The operators of a factor formula: their names and meanings, as the documentation and the form's help list them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import polars as pl

from quarterdeck.quant import steps, windows
from quarterdeck.quant.steps import Build

__all__ = ["NAMES", "OPERATORS", "SYNTAX", "Class", "Operator", "Parameter"]

Class = Literal["elementwise", "time-series", "cross-section"]

# what a parameter's name in a signature says about the argument; other names are numbers of any kind
PARAMETER_KINDS = {
    "c": "condition",
    "d": "condition",
    "group": "group",
    "n": "window",
    "q": "fraction",
    "std": "positive",
    "total": "positive",
    "buckets": "count",
    "digits": "digits",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of an operator. `kind`: number, condition or group are computed; the others must be literals."""

    name: str
    kind: str
    default: float | None = None

    @property
    def literal(self) -> bool:
        return self.kind not in ("number", "condition", "group")


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator, a row of the table that the documentation and the form's help list.

    `signature` is how it is written, `meaning` one line, `kind` whether it works on a row, along a symbol's rows
    or across the symbols of a time. `least` is the smallest window; `lookback(n)` the rows before the current one that
    a value needs.
    """

    name: str
    signature: str
    meaning: str
    kind: Class
    build: Build
    aliases: tuple[str, ...] = ()
    truth: bool = False
    least: int = 1
    lookback: Callable[[int], int] = lambda n: n - 1
    variadic: bool = False

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters that the signature declares, without the dots of a variadic one."""
        inner = self.signature.partition("(")[2].rpartition(")")[0]
        found = []
        for part in inner.split(","):
            name, _, default = (piece.strip() for piece in part.partition("="))
            if name and name != "...":
                found.append(Parameter(name, PARAMETER_KINDS.get(name, "number"), float(default) if default else None))
        return tuple(found)


def _truth(name: str, signature: str, meaning: str, build: Build, *aliases: str) -> Operator:
    return Operator(name, signature, meaning, "elementwise", build, aliases, truth=True)


def _plain(name: str, signature: str, meaning: str, build: Build, *aliases: str, variadic: bool = False) -> Operator:
    return Operator(name, signature, meaning, "elementwise", build, aliases, variadic=variadic)


def _along(
    signature: str,
    meaning: str,
    build: Build,
    *aliases: str,
    least: int = 1,
    lookback: Callable[[int], int] = lambda n: n - 1,
) -> Operator:
    name = signature.partition("(")[0]
    return Operator(name, signature, meaning, "time-series", build, aliases, least=least, lookback=lookback)


def _across(signature: str, meaning: str, build: Build, *aliases: str) -> Operator:
    return Operator(signature.partition("(")[0], signature, meaning, "cross-section", build, aliases)


def _all(n: int) -> int:
    return n


# what is written with signs and words rather than as a call, by the name of the node
SYNTAX: dict[str, Operator] = {
    entry.name: entry
    for entry in (
        _plain("add", "x + y", "sum", lambda x, y: steps.finite(x + y)),
        _plain("subtract", "x - y", "difference", lambda x, y: steps.finite(x - y)),
        _plain("multiply", "x * y", "product", lambda x, y: steps.finite(x * y)),
        _plain("divide", "x / y", "quotient; null where y is zero", lambda x, y: steps.finite(x / y)),
        _plain(
            "floor_divide",
            "x // y",
            "quotient rounded down; null where y is zero",
            lambda x, y: steps.finite((x / y).floor()),
        ),
        _plain(
            "modulo", "x % y", "remainder, with the sign of y; null where y is zero", lambda x, y: steps.finite(x % y)
        ),
        _plain(
            "raise",
            "x ** y",
            "x to the power of y; null where that is no finite number",
            lambda x, y: steps.finite(x.pow(y)),
        ),
        _plain("negate", "-x", "the negative", lambda x: -x),
        _truth("less", "x < y", "is x smaller? comparisons may be chained: 0 < x < 1", lambda x, y: x < y),
        _truth("less_equal", "x <= y", "is x smaller or equal?", lambda x, y: x <= y),
        _truth("greater", "x > y", "is x larger?", lambda x, y: x > y),
        _truth("greater_equal", "x >= y", "is x larger or equal?", lambda x, y: x >= y),
        _truth("equal", "x == y", "are both equal?", lambda x, y: x == y),
        _truth("not_equal", "x != y", "do they differ?", lambda x, y: x != y),
        _truth(
            "and",
            "c and d",
            "both true (also c & d, with parentheses); false if either is, even beside a null",
            lambda c, d: c & d,
        ),
        _truth(
            "or",
            "c or d",
            "either true (also c | d, with parentheses); true if either is, even beside a null",
            lambda c, d: c | d,
        ),
        _truth("not", "not c", "true becomes false and false true (also ~c)", lambda c: ~c),
        _plain(
            "choose",
            "x if c else y",
            "x where c is true, y where it is false, null where it is null",
            lambda c, x, y: steps.where(c, x, y),
        ),
    )
}

_CALLS: tuple[Operator, ...] = (
    _plain(
        "where",
        "where(c, x, y)",
        "x where c is true, y where it is false, null where it is null",
        steps.where,
        "if_else",
    ),
    _plain("abs", "abs(x)", "the absolute value", lambda x: x.abs()),
    _plain("sign", "sign(x)", "-1, 0 or 1", lambda x: x.sign()),
    _plain(
        "log", "log(x)", "the natural logarithm; null where x is not positive", lambda x: steps.finite(x.log()), "ln"
    ),
    _plain("exp", "exp(x)", "e to the power of x", lambda x: steps.finite(x.exp())),
    _plain("sqrt", "sqrt(x)", "the square root; null where x is negative", lambda x: steps.finite(x.sqrt())),
    _plain("power", "power(x, y)", "x to the power of y, as x ** y", lambda x, y: steps.finite(x.pow(y)), "pow"),
    _plain(
        "signed_power",
        "signed_power(x, y)",
        "sign(x) * abs(x) ** y",
        lambda x, y: steps.finite(x.sign() * x.abs().pow(y)),
        "signedpower",
    ),
    _plain(
        "max",
        "max(x, y, ...)",
        "the largest of two or more, row by row",
        steps.extreme(pl.max_horizontal),
        variadic=True,
    ),
    _plain(
        "min",
        "min(x, y, ...)",
        "the smallest of two or more, row by row",
        steps.extreme(pl.min_horizontal),
        variadic=True,
    ),
    _plain("floor", "floor(x)", "rounded down", lambda x: x.floor()),
    _plain("ceil", "ceil(x)", "rounded up", lambda x: x.ceil()),
    _plain(
        "round",
        "round(x, digits=0)",
        "rounded to so many digits, halves to the even one",
        lambda x, digits: x.round(digits),
    ),
    _plain("clip", "clip(x, lower, upper)", "x held between the two limits", steps.clip),
    _truth("isnull", "isnull(x)", "is x missing?", lambda x: x.is_null(), "isnan", "is_nan", "is_null"),
    _plain("ifnull", "ifnull(x, y)", "x, or y where x is missing", lambda x, y: x.fill_null(y), "fill", "fillna"),
    _along("delay(x, n)", "x of n rows ago", steps.delay, "ts_delay", "lag", lookback=_all),
    _along(
        "delta(x, n)", "x - delay(x, n)", lambda x, n: steps.finite(x - steps.delay(x, n)), "ts_delta", lookback=_all
    ),
    _along(
        "returns(x, n=1)",
        "x / delay(x, n) - 1",
        lambda x, n: steps.finite(x / steps.delay(x, n) - 1),
        "pct_change",
        lookback=_all,
    ),
    _along("ts_mean(x, n)", "mean of the last n rows", steps.rolling("rolling_mean"), "sma", "mean"),
    _along("ts_sum(x, n)", "sum of the last n rows", steps.rolling("rolling_sum"), "sum"),
    _along(
        "ts_std(x, n)",
        "sample standard deviation (ddof 1) of the last n rows",
        steps.rolling("rolling_std", ddof=1),
        "stddev",
        "ts_std_dev",
        "std",
        least=2,
    ),
    _along(
        "ts_var(x, n)",
        "sample variance (ddof 1) of the last n rows",
        steps.rolling("rolling_var", ddof=1),
        "var",
        least=2,
    ),
    _along("ts_min(x, n)", "smallest of the last n rows", steps.rolling("rolling_min")),
    _along("ts_max(x, n)", "largest of the last n rows", steps.rolling("rolling_max")),
    _along(
        "ts_argmin(x, n)",
        "rows since the smallest of the last n: 0 is the current row, of equal ones the latest",
        steps.window(windows.since_min),
        "ts_arg_min",
    ),
    _along(
        "ts_argmax(x, n)",
        "rows since the largest of the last n: 0 is the current row, of equal ones the latest",
        steps.window(windows.since_max),
        "ts_arg_max",
    ),
    _along("ts_rank(x, n)", "rank of x among the last n rows, in (0, 1], ties averaged", steps.ts_rank),
    _along(
        "ts_zscore(x, n)",
        "(x - ts_mean(x, n)) / ts_std(x, n); null where x does not vary",
        steps.varying(steps.zscore),
        least=2,
    ),
    _along("ts_median(x, n)", "median of the last n rows", steps.rolling("rolling_median"), "median"),
    _along("ts_quantile(x, n, q)", "the q quantile (0 to 1) of the last n rows, interpolated", steps.ts_quantile),
    _along(
        "ts_skew(x, n)",
        "sample skewness of the last n rows; null where x does not vary",
        steps.varying(steps.rolling("rolling_skew", bias=False)),
        "ts_skewness",
        least=3,
    ),
    _along(
        "ts_kurt(x, n)",
        "sample excess kurtosis of the last n rows; null where x does not vary",
        steps.varying(steps.rolling("rolling_kurtosis", bias=False)),
        "ts_kurtosis",
        least=4,
    ),
    _along(
        "ts_corr(x, y, n)",
        "correlation over the last n rows; null where x or y does not vary",
        steps.window(windows.correlation),
        "correlation",
        "corr",
        least=2,
    ),
    _along(
        "ts_cov(x, y, n)",
        "sample covariance (ddof 1) over the last n rows",
        steps.window(windows.covariance),
        "covariance",
        "cov",
        "ts_covariance",
        least=2,
    ),
    _along(
        "decay_linear(x, n)",
        "mean of the last n rows, weighted n for the latest down to 1",
        steps.window(windows.decay_linear),
        "ts_decay_linear",
        "decay",
        "wma",
    ),
    _along(
        "ema(x, n)",
        "exponential mean, alpha = 2 / (n + 1), from a symbol's first row, given from the n-th; skips rows without x",
        steps.ema,
        "ts_ema",
        lookback=lambda n: 10 * n,
    ),
    _along("ts_product(x, n)", "product of the last n rows", steps.window(windows.product), "product"),
    _along(
        "ts_count(c, n)",
        "how many of the last n rows are true",
        lambda c, n: c.cast(pl.Float64).rolling_sum(window_size=n, min_samples=n).over(steps.SYMBOL),
        "count",
    ),
    _along("ts_scale(x, n)", "(x - ts_min(x, n)) / (ts_max(x, n) - ts_min(x, n))", steps.ts_scale, least=2),
    _along(
        "ts_backfill(x, n)",
        "x, or where it is missing its latest value of at most n rows ago",
        lambda x, n: x.forward_fill(n).over(steps.SYMBOL),
        lookback=_all,
    ),
    _across(
        "rank(x)", "rank among the symbols of a time, in (0, 1], ties averaged", steps.cross(steps.rank), "cs_rank"
    ),
    _across(
        "zscore(x)",
        "(x - mean) / standard deviation (ddof 1) of a time's symbols; null where x does not vary",
        steps.cross(steps.cs_zscore),
        "cs_zscore",
    ),
    _across("demean(x)", "x less the mean of a time's symbols", steps.cross(steps.demean), "normalize"),
    _across("scale(x, total=1)", "x so that the absolute values of a time sum up to total", steps.cross(steps.scale)),
    _across(
        "winsorize(x, std=4)",
        "x held within so many standard deviations of the mean of a time",
        steps.cross(steps.winsorize),
    ),
    _across(
        "quantile(x, buckets)",
        "the bucket, 1 to buckets, of a time's symbols by the rank of x",
        steps.cross(steps.quantile),
        "bucket",
    ),
    _across(
        "group_neutralize(x, group)",
        "x less the mean of its group at a time; group is a column, such as sector",
        steps.grouped(steps.demean),
        "indneutralize",
    ),
    _across("group_mean(x, group)", "the mean of its group at a time", steps.grouped(steps.cs_mean)),
    _across(
        "group_rank(x, group)", "rank within its group at a time, in (0, 1], ties averaged", steps.grouped(steps.rank)
    ),
    _across(
        "group_zscore(x, group)",
        "(x - mean) / standard deviation (ddof 1) of its group at a time",
        steps.grouped(steps.cs_zscore),
    ),
)

OPERATORS: tuple[Operator, ...] = (*SYNTAX.values(), *_CALLS)
"""All operators, in the order in which they are listed for people."""

NAMES: dict[str, Operator] = {name: entry for entry in _CALLS for name in (entry.name, *entry.aliases)}
"""Operators that are called, by each of their names."""
