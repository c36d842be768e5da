"""What Polars does for each operator of a factor formula.

Each builder gives one Polars expression over plain columns: a formula's nodes are computed one stage after the other,
since an `over` inside another `over` gives wrong values without an error. The rows are sorted by symbol and time;
`ROW` counts a symbol's rows from 0, `SYMBOL` is a symbol's number. Missing is null, never NaN: a null input gives a
null result unless the operator's meaning says otherwise, and a result that is no finite number is null.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl
from numpy.typing import NDArray

ROW, SYMBOL, TIME = "#row", "#symbol", "time"

Build = Callable[..., pl.Expr]


def finite(value: pl.Expr) -> pl.Expr:
    return pl.when(value.is_finite()).then(value)


def where(condition: pl.Expr, then: pl.Expr, other: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(then).when(~condition).then(other)


def extreme(pick: Callable[..., pl.Expr]) -> Build:
    def build(*values: pl.Expr) -> pl.Expr:
        known = pl.all_horizontal([value.is_not_null() for value in values])
        return pl.when(known).then(pick(*values))

    return build


def clip(x: pl.Expr, lower: pl.Expr, upper: pl.Expr) -> pl.Expr:
    known = x.is_not_null() & lower.is_not_null() & upper.is_not_null()
    return pl.when(known).then(pl.min_horizontal(pl.max_horizontal(x, lower), upper))


# ---- along a symbol's rows


def delay(x: pl.Expr, n: int) -> pl.Expr:
    return pl.when(pl.col(ROW) >= n).then(x.shift(n))


def rolling(method: str, **options: Any) -> Build:
    def build(x: pl.Expr, n: int) -> pl.Expr:
        return finite(getattr(x, method)(window_size=n, min_samples=n, **options).over(SYMBOL))

    return build


def extent(x: pl.Expr, n: int) -> tuple[pl.Expr, pl.Expr]:
    return (
        x.rolling_min(window_size=n, min_samples=n).over(SYMBOL),
        x.rolling_max(window_size=n, min_samples=n).over(SYMBOL),
    )


def varying(build: Build) -> Build:
    # rounding would give a window of equal numbers a tiny spread, and any ratio by it
    def guarded(x: pl.Expr, n: int) -> pl.Expr:
        low, high = extent(x, n)
        return pl.when(high > low).then(build(x, n))

    return guarded


def zscore(x: pl.Expr, n: int) -> pl.Expr:
    mean = x.rolling_mean(window_size=n, min_samples=n).over(SYMBOL)
    return finite((x - mean) / x.rolling_std(window_size=n, min_samples=n).over(SYMBOL))


def ts_scale(x: pl.Expr, n: int) -> pl.Expr:
    low, high = extent(x, n)
    return finite((x - low) / (high - low))


def ts_rank(x: pl.Expr, n: int) -> pl.Expr:
    return x.rolling_rank(window_size=n, min_samples=n, method="average").over(SYMBOL) / n


def ts_quantile(x: pl.Expr, n: int, q: float) -> pl.Expr:
    return x.rolling_quantile(q, interpolation="linear", window_size=n, min_samples=n).over(SYMBOL)


def ema(x: pl.Expr, n: int) -> pl.Expr:
    smooth = x.ewm_mean(span=n, adjust=False, min_samples=n, ignore_nulls=True).over(SYMBOL)
    return pl.when(x.is_not_null()).then(smooth)


def window(function: Callable[..., NDArray[Any]]) -> Build:
    def build(*arguments: Any) -> pl.Expr:
        *inputs, n = arguments

        def apply(columns: Sequence[pl.Series]) -> pl.Series:
            return pl.Series(function(*(column.to_numpy() for column in columns), n), dtype=pl.Float64)

        value = pl.map_batches(inputs, apply, return_dtype=pl.Float64)
        return finite(pl.when(pl.col(ROW) >= n - 1).then(value))

    return build


# ---- across the symbols of a time

Over = Callable[[pl.Expr], pl.Expr]


def cross(build: Callable[..., pl.Expr]) -> Build:
    """An operator over all symbols of a time, or over those of a group there when one is given."""

    def crossed(x: pl.Expr, *more: Any) -> pl.Expr:
        return build(x, lambda value: value.over(TIME), *more)

    return crossed


def grouped(build: Callable[..., pl.Expr]) -> Build:
    def crossed(x: pl.Expr, group: pl.Expr, *more: Any) -> pl.Expr:
        return pl.when(group.is_not_null()).then(build(x, lambda value: value.over(TIME, group), *more))

    return crossed


def rank(x: pl.Expr, over: Over) -> pl.Expr:
    return over(x.rank("average")) / over(x.count())


def demean(x: pl.Expr, over: Over) -> pl.Expr:
    return finite(x - over(x.mean()))


def cs_mean(x: pl.Expr, over: Over) -> pl.Expr:
    return pl.when(x.is_not_null()).then(finite(over(x.mean())))


def cs_zscore(x: pl.Expr, over: Over) -> pl.Expr:
    return finite(pl.when(over(x.max()) > over(x.min())).then((x - over(x.mean())) / over(x.std())))


def scale(x: pl.Expr, over: Over, total: float) -> pl.Expr:
    return finite(x / over(x.abs().sum()) * total)


def winsorize(x: pl.Expr, over: Over, std: float) -> pl.Expr:
    mean, reach = over(x.mean()), over(x.std()) * std
    varies = over(x.max()) > over(x.min())
    limited = pl.min_horizontal(pl.max_horizontal(x, mean - reach), mean + reach)
    return pl.when(x.is_not_null() & varies).then(limited).otherwise(x)


def quantile(x: pl.Expr, over: Over, buckets: int) -> pl.Expr:
    return (over(x.rank("average")) * buckets / over(x.count())).ceil()
