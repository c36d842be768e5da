"""How well a factor foretells returns: information coefficients, quantile returns, turnover, autocorrelation (Q1).

Every figure follows the definitions of the field (Grinold and Kahn, Active Portfolio Management, for the information
coefficient; pandas' `qcut` for the edges of quantiles). Nothing is filled forward, and nothing is known before its
time: a symbol belongs to a quantile by its factor value alone, whether or not a return follows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from quarterdeck.errors import Invalid

__all__ = ["Evaluation", "evaluate"]

_TIME = pl.Datetime("us", "UTC")
_KEY = ["time", "symbol"]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result tables.

    Attributes:
        summary: period, metric, value; empty where a figure is undefined.
        ic: time, period, ic, rank_ic; a date without either is left out.
        quantiles: time, period, quantile, return: the equal-weight mean of each quantile's forward returns.
        turnover: time, period, quantile, turnover.
        autocorrelation: time, period, rank_autocorrelation.
        symbols, dates: how many there are with a factor value and a price.
        unpriced: factor values for whose symbol and time there is no price.
        infinite: factor values that are not finite and were left out.
    """

    summary: pl.DataFrame
    ic: pl.DataFrame
    quantiles: pl.DataFrame
    turnover: pl.DataFrame
    autocorrelation: pl.DataFrame
    symbols: int
    dates: int
    unpriced: int
    infinite: int


def evaluate(factor: pl.DataFrame, prices: pl.DataFrame, periods: Sequence[int], quantiles: int) -> Evaluation:
    """Evaluate a factor.

    Args:
        factor: time, symbol, value.
        prices: time, symbol, close; a symbol's forward return over h rows is close[t+h] / close[t] - 1 on its own rows.
        periods: the holding periods h, in rows.
        quantiles: how many; quantile 1 has the lowest values. A date's edges are those of pandas' qcut (linear
            interpolation, right-closed); equal values are always in the same quantile, the lowest that they reach.

    Raises:
        Invalid: a symbol has two rows of one time, or no factor value has a price.
    """
    values, infinite = _values(factor)
    close = _prices(prices, periods)
    known = values.join(close, on=_KEY, how="left", maintain_order="left")
    priced = known.filter(pl.col("priced"))
    if not priced.height:
        raise Invalid(_apart(values, close))
    ranked = _ranked(values, quantiles)
    grouped = ranked.join(close, on=_KEY, how="left")
    ic = pl.concat([_ic(priced, h) for h in periods])
    returns = pl.concat([_returns(grouped, h) for h in periods])
    turnover = pl.concat([_turnover(ranked, h) for h in periods])
    stability = pl.concat([_autocorrelation(ranked, h) for h in periods])
    return Evaluation(
        summary=_summary(ic, returns, turnover, stability, periods, quantiles),
        ic=ic.filter(pl.col("ic").is_not_null() | pl.col("rank_ic").is_not_null()).sort("period", "time"),
        quantiles=returns.sort("period", "time", "quantile"),
        turnover=turnover.sort("period", "time", "quantile"),
        autocorrelation=stability.drop_nulls().sort("period", "time"),
        symbols=priced["symbol"].n_unique(),
        dates=priced["time"].n_unique(),
        unpriced=known.height - priced.height,
        infinite=infinite,
    )


def _values(factor: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    frame = _keyed(factor, "value", "the factor")
    finite = frame.filter(pl.col("value").is_finite())
    infinite = frame.filter(pl.col("value").is_infinite()).height
    return finite, infinite


def _prices(prices: pl.DataFrame, periods: Sequence[int]) -> pl.DataFrame:
    close = pl.when(pl.col("close").is_finite() & (pl.col("close") != 0)).then(pl.col("close"))
    frame = _keyed(prices, "close", "the table of prices", nulls=True).sort("symbol", "time").with_columns(close)
    return frame.select(
        *_KEY,
        pl.col("close").is_not_null().alias("priced"),
        *((pl.col("close").shift(-h).over("symbol") / pl.col("close") - 1).alias(_forward(h)) for h in periods),
    )


def _keyed(frame: pl.DataFrame, column: str, what: str, *, nulls: bool = False) -> pl.DataFrame:
    time = pl.col("time")
    kind = frame.schema["time"]
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        time = time.dt.convert_time_zone("UTC")
    elif kind == pl.Date or isinstance(kind, pl.Datetime):
        time = time.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    else:
        raise Invalid(f"{what} has no times in its column 'time', but {kind}")
    keyed = frame.select(time.cast(_TIME), pl.col("symbol").cast(pl.String), pl.col(column).cast(pl.Float64))
    keyed = keyed.drop_nulls(_KEY if nulls else [*_KEY, column])
    twice = keyed.filter(pl.struct(_KEY).is_duplicated())
    if twice.height:
        row = twice.row(0, named=True)
        raise Invalid(f"{what} has two rows of {row['symbol']} at {row['time']:%Y-%m-%d %H:%M:%S}: remove one of them")
    return keyed


def _apart(values: pl.DataFrame, close: pl.DataFrame) -> str:
    if not values.height:
        return "the factor has no value in the chosen period"
    if not close.height:
        return "the table has no prices in the chosen period"
    for column in ("symbol", "time"):
        if not set(values[column].unique()) & set(close[column].unique()):
            mine, theirs = str(values[column].min()), str(close[column].min())
            return (
                f"factor and prices have no {column} in common: the factor begins with {mine}, the table with {theirs}"
            )
    return "the table has no price for any symbol and time of the factor"


def _forward(period: int) -> str:
    return f"return {period}"


def _correlation(x: pl.Expr, y: pl.Expr) -> pl.Expr:
    """Pearson's correlation of a group; empty where one of them does not vary."""
    a, b = x - x.mean(), y - y.mean()
    # whatever the unit of the factor is, its squares stay within the range of floating point
    a, b = a / a.abs().max(), b / b.abs().max()
    found = (a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt()
    varies = (x.min() < x.max()) & (y.min() < y.max())
    return pl.when(varies & found.is_finite()).then(found.clip(-1.0, 1.0))


def _ic(priced: pl.DataFrame, period: int) -> pl.DataFrame:
    value, after = pl.col("value"), pl.col(_forward(period))
    return (
        priced.filter(after.is_not_null())
        .group_by("time", maintain_order=True)
        .agg(
            _correlation(value, after).alias("ic"),
            _correlation(value.rank("average"), after.rank("average")).alias("rank_ic"),
        )
        .select("time", pl.lit(period, pl.Int32).alias("period"), "ic", "rank_ic")
    )


def _ranked(values: pl.DataFrame, quantiles: int) -> pl.DataFrame:
    """Each value's average rank on its date, its quantile, and the number of its date."""
    below = pl.col("value").rank("min").over("time").cast(pl.Int64) - 1
    others = pl.len().over("time").cast(pl.Int64) - 1
    # a value lies above the edge k/q of n sorted values when more than k(n-1)/q of them are below it: whole numbers
    quantile = pl.when(others > 0).then((below * quantiles + others - 1) // others).otherwise(1).clip(1, quantiles)
    return values.with_columns(
        pl.col("value").rank("average").over("time").alias("rank"),
        quantile.cast(pl.Int32).alias("quantile"),
        (pl.col("time").rank("dense").cast(pl.Int64) - 1).alias("row"),
    )


def _returns(grouped: pl.DataFrame, period: int) -> pl.DataFrame:
    after = pl.col(_forward(period))
    return (
        grouped.filter(after.is_not_null())
        .group_by("time", "quantile")
        .agg(after.mean().alias("return"))
        .select("time", pl.lit(period, pl.Int32).alias("period"), "quantile", "return")
    )


def _before(ranked: pl.DataFrame, period: int, *columns: str) -> pl.DataFrame:
    return ranked.select((pl.col("row") + period).alias("row"), "symbol", *columns)


def _turnover(ranked: pl.DataFrame, period: int) -> pl.DataFrame:
    was = _before(ranked, period, "quantile").with_columns(pl.lit(value=True).alias("was"))
    return (
        ranked.filter(pl.col("row") >= period)
        .join(was, on=["row", "symbol", "quantile"], how="left")
        .group_by("time", "quantile")
        .agg((1 - pl.col("was").fill_null(value=False).mean()).alias("turnover"))
        .select("time", pl.lit(period, pl.Int32).alias("period"), "quantile", "turnover")
    )


def _autocorrelation(ranked: pl.DataFrame, period: int) -> pl.DataFrame:
    was = _before(ranked, period, "rank").rename({"rank": "rank before"})
    return (
        ranked.join(was, on=["row", "symbol"], how="inner")
        .group_by("time")
        .agg(_correlation(pl.col("rank"), pl.col("rank before")).alias("rank_autocorrelation"))
        .select("time", pl.lit(period, pl.Int32).alias("period"), "rank_autocorrelation")
    )


def _summary(
    ic: pl.DataFrame,
    returns: pl.DataFrame,
    turnover: pl.DataFrame,
    stability: pl.DataFrame,
    periods: Sequence[int],
    quantiles: int,
) -> pl.DataFrame:
    rows: list[tuple[int, str, float | None]] = []
    for period in periods:
        own = pl.col("period") == period
        for name in ("ic", "rank_ic"):
            rows += [(period, metric, value) for metric, value in _of_series(name, ic.filter(own)[name].drop_nulls())]
        mean = _by_quantile(returns.filter(own), "return")
        rows += [(period, f"quantile_return_{q}", mean.get(q)) for q in range(1, quantiles + 1)]
        top, bottom = mean.get(quantiles), mean.get(1)
        rows.append((period, "long_short", None if top is None or bottom is None else top - bottom))
        share = _by_quantile(turnover.filter(own), "turnover")
        rows += [(period, f"turnover_{q}", share.get(q)) for q in range(1, quantiles + 1)]
        rows.append((period, "rank_autocorrelation", _number(stability.filter(own)["rank_autocorrelation"].mean())))
    return pl.DataFrame(
        rows, schema={"period": pl.Int32, "metric": pl.String, "value": pl.Float64}, orient="row", strict=False
    )


def _of_series(name: str, series: pl.Series) -> list[tuple[str, float | None]]:
    count = series.len()
    mean = _number(series.mean())
    # one value, or only equal ones, have no deviation to divide by
    varies = count > 1 and series.min() != series.max()
    deviation = _number(series.std(ddof=1)) if count > 1 else None
    ratio = mean / deviation if varies and mean is not None and deviation else None
    short = name.removesuffix("ic")
    return [
        (f"{name}_mean", mean),
        (f"{name}_std", deviation if varies or count < 2 else 0.0),
        (f"{short}icir", ratio),
        (f"{name}_t_stat", None if ratio is None else ratio * math.sqrt(count)),
        (f"{name}_share_positive", _number((series > 0).mean())),
        (f"{name}_share_above_003", _number((series > 0.03).mean())),
    ]


def _by_quantile(frame: pl.DataFrame, column: str) -> dict[int, float]:
    means = frame.group_by("quantile").agg(pl.col(column).mean())
    return {quantile: value for quantile, value in means.iter_rows() if value is not None}


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
