"""Return attribution: Brinson's effects per sector and period, linked over time; and a factor model by regression (Q3).

Sources: Brinson, Hood and Beebower, Determinants of Portfolio Performance (1986); Brinson and Fachler, Measuring
Non-US Equity Portfolio Performance (1985); Carino, Combining Attribution Effects over Time (1999); Menchero, An
Optimized Approach to Linking Attribution Effects over Time (2000).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from quarterdeck.errors import Invalid

__all__ = ["Brinson", "FactorModel", "brinson", "factor_model"]

Floats = npt.NDArray[np.float64]
Method = Literal["brinson_fachler", "brinson_hood_beebower"]
Linking = Literal["carino", "menchero"]

_ADDS_UP = 1e-3
"""How far the weights of a period may be from 1 in all."""

_EFFECTS = ("allocation", "selection", "interaction")


@dataclass(frozen=True, slots=True)
class Brinson:
    """The result tables.

    Attributes:
        effects: period, sector, allocation, selection, interaction, total; of each period and, as period "linked", over
            all of them: these add up to the compounded excess return.
        totals: period, portfolio_return, benchmark_return, excess_return, allocation, selection, interaction.
        missing: returns that a side with a weight did not have.
    """

    effects: pl.DataFrame
    totals: pl.DataFrame


def brinson(
    frame: pl.DataFrame,
    *,
    method: Method = "brinson_fachler",
    interaction: Literal["separate", "in_selection"] = "separate",
    linking: Linking = "carino",
) -> Brinson:
    """Attribute the excess return over a benchmark to sectors.

    Args:
        frame: period (text, sorted as it is), sector, portfolio_weight, portfolio_return, benchmark_weight,
            benchmark_return; weights and returns as shares (0.4, 0.02).
        method: allocation is (wp - wb)(rb - R) with the benchmark's whole return R, or (wp - wb) rb.
        interaction: a column of its own, or added to selection.
        linking: how the effects of the periods add up over time.

    A side that does not hold a sector has weight 0, and the other side's return stands for its own, so that the whole
    difference is allocation.

    Raises:
        Invalid: a sector stands twice in a period, weights don't add up to 1, a side with a weight has no return, or a
            period's return is -100 % or less.
    """
    sides = _sides(frame)
    periods = sides["period"].unique(maintain_order=True).to_list()
    whole = sides.with_columns(
        (pl.col("benchmark_weight") * pl.col("benchmark_return")).sum().over("period").alias("R"),
        (pl.col("portfolio_weight") - pl.col("benchmark_weight")).alias("active"),
        (pl.col("portfolio_return") - pl.col("benchmark_return")).alias("better"),
    )
    against = pl.col("R") if method == "brinson_fachler" else pl.lit(0.0)
    mixed = pl.col("active") * pl.col("better")
    apart = interaction == "separate"
    effects = whole.select(
        "period",
        "sector",
        (pl.col("active") * (pl.col("benchmark_return") - against)).alias("allocation"),
        (pl.col("benchmark_weight") * pl.col("better") + (0.0 if apart else mixed)).alias("selection"),
        (mixed if apart else pl.lit(0.0)).alias("interaction"),
    ).with_columns(pl.sum_horizontal(_EFFECTS).alias("total"))
    returns = whole.group_by("period", maintain_order=True).agg(
        (pl.col("portfolio_weight") * pl.col("portfolio_return")).sum().alias("portfolio_return"),
        pl.col("R").first().alias("benchmark_return"),
    )
    ruined = returns.filter(pl.min_horizontal("portfolio_return", "benchmark_return") <= -1)
    if ruined.height:
        raise Invalid(f"a return of period {ruined['period'][0]} is -100 % or less: periods can't be linked over it")
    factors = _links(returns["portfolio_return"].to_numpy(), returns["benchmark_return"].to_numpy(), linking)
    scale = pl.DataFrame({"period": periods, "scale": factors})
    linked = (
        effects.join(scale, on="period", maintain_order="left")
        .group_by("sector", maintain_order=True)
        .agg((pl.col(name) * pl.col("scale")).sum() for name in (*_EFFECTS, "total"))
        .select(pl.lit("linked").alias("period"), "sector", *_EFFECTS, "total")
    )
    return Brinson(pl.concat([effects, linked]), _totals(returns, effects, linked))


def _sides(frame: pl.DataFrame) -> pl.DataFrame:
    numbers = ("portfolio_weight", "portfolio_return", "benchmark_weight", "benchmark_return")
    frame = frame.select(
        pl.col("period").cast(pl.String),
        pl.col("sector").cast(pl.String),
        *(pl.col(name).cast(pl.Float64).fill_nan(None) for name in numbers),
    )
    if not frame.height:
        raise Invalid("there are no sectors to attribute to in the chosen periods")
    twice = frame.filter(pl.struct("period", "sector").is_duplicated())
    if twice.height:
        raise Invalid(f"sector {twice['sector'][0]} stands twice in period {twice['period'][0]}: keep one row")
    frame = frame.with_columns(pl.col("portfolio_weight", "benchmark_weight").fill_null(0.0))
    for side in ("portfolio", "benchmark"):
        lacking = frame.filter((pl.col(f"{side}_weight") != 0) & pl.col(f"{side}_return").is_null())
        if lacking.height:
            row = lacking.row(0, named=True)
            raise Invalid(f"sector {row['sector']} of period {row['period']} has a {side} weight but no {side} return")
        sums = frame.group_by("period", maintain_order=True).agg(pl.col(f"{side}_weight").sum())
        wrong = sums.filter((pl.col(f"{side}_weight") - 1).abs() > _ADDS_UP)
        if wrong.height:
            period, weight = wrong.row(0)
            raise Invalid(f"the {side} weights of period {period} add up to {weight:.4f}, not to 1")
    return frame.with_columns(
        pl.coalesce("portfolio_return", "benchmark_return").fill_null(0.0).alias("portfolio_return"),
        pl.coalesce("benchmark_return", "portfolio_return").fill_null(0.0).alias("benchmark_return"),
    )


def _links(portfolio: Floats, benchmark: Floats, linking: Linking) -> Floats:
    """What the effects of each period are multiplied with, so that all of them add up to the compounded excess."""
    whole_p, whole_b = float(np.prod(1 + portfolio) - 1), float(np.prod(1 + benchmark) - 1)
    if linking == "carino":
        each = np.array([_log_slope(p, b) for p, b in zip(portfolio, benchmark, strict=True)])
        return np.asarray(each / _log_slope(whole_p, whole_b), np.float64)
    count = len(portfolio)
    growth_p, growth_b = (1 + whole_p) ** (1 / count), (1 + whole_b) ** (1 / count)
    if math.isclose(whole_p, whole_b, rel_tol=0, abs_tol=1e-14):
        natural = (1 + whole_p) ** ((count - 1) / count)
    else:
        natural = (whole_p - whole_b) / count / (growth_p - growth_b)
    excess = portfolio - benchmark
    squares = float(np.sum(excess**2))
    left = whole_p - whole_b - natural * float(np.sum(excess))
    return np.asarray(natural + (left / squares * excess if squares else np.zeros(count)), np.float64)


def _log_slope(p: float, b: float) -> float:
    """(ln(1+p) - ln(1+b)) / (p - b), and its limit where they are equal."""
    difference = (p - b) / (1 + b)
    if abs(difference) < 1e-8:  # two terms of the series are exact to rounding there
        return (1 - difference / 2) / (1 + b)
    return math.log1p(difference) / (p - b)


def _totals(returns: pl.DataFrame, effects: pl.DataFrame, linked: pl.DataFrame) -> pl.DataFrame:
    sums = pl.concat([effects, linked]).group_by("period", maintain_order=True).agg(pl.col(_EFFECTS).sum())
    whole = pl.DataFrame(
        {
            "period": ["linked"],
            "portfolio_return": [float((returns["portfolio_return"] + 1).product()) - 1],
            "benchmark_return": [float((returns["benchmark_return"] + 1).product()) - 1],
        }
    )
    both = pl.concat([returns, whole])
    excess = (pl.col("portfolio_return") - pl.col("benchmark_return")).alias("excess_return")
    return both.with_columns(excess).join(sums, on="period", how="left", maintain_order="left")


@dataclass(frozen=True, slots=True)
class FactorModel:
    """The result tables.

    Attributes:
        factors: name, exposure, contribution, t_stat; the rows of the factors, then "alpha" and "residual".
        summary: metric, value: observations, r_squared, adjusted_r_squared, residual_deviation, total.
        fitted: time, return, fitted, residual.
    """

    factors: pl.DataFrame
    summary: pl.DataFrame
    fitted: pl.DataFrame


def factor_model(returns: pl.DataFrame, factors: pl.DataFrame) -> FactorModel:
    """Explain returns by factors: ordinary least squares with a constant.

    Args:
        returns: time, return.
        factors: time and a column of returns for each factor; only times that both have are used.

    A factor's contribution is its exposure times the sum of its returns; alpha's is the constant times the number of
    returns; the residual's is what is left, which a constant makes 0 but for rounding.

    Raises:
        Invalid: too few common times, a factor that does not vary, or factors that depend on each other.
    """
    names = [name for name in factors.columns if name != "time"]
    if not names:
        raise Invalid("the table of factors has no column of numbers besides the time")
    both = returns.select("time", "return").join(factors, on="time", how="inner").sort("time")
    both = both.drop_nulls().filter(pl.all_horizontal(pl.col("return", *names).is_finite()))
    count, unknown = both.height, len(names) + 1
    if count <= unknown:
        raise Invalid(
            f"{len(names)} factors need more than {unknown} times that returns and factors share, not {count}"
        )
    y = both["return"].to_numpy()
    x = both.select(names).to_numpy().astype(np.float64)
    flat = [name for name, column in zip(names, x.T, strict=True) if column.min() == column.max()]
    if flat:
        raise Invalid(f"factor {flat[0]} does not vary over the period, which the constant can't be told from")
    design = np.column_stack([np.ones(count), x])
    scale = np.linalg.norm(design, axis=0)
    if np.linalg.matrix_rank(design / scale, tol=1e-10) < unknown:
        raise Invalid("the factors depend on each other: one of them is a combination of the others")
    solution, *_ = np.linalg.lstsq(design / scale, y, rcond=None)
    beta = solution / scale
    fitted = design @ beta
    residual = y - fitted
    freedom = count - unknown
    variance = float(residual @ residual) / freedom
    inverse = np.linalg.inv((design / scale).T @ (design / scale))
    error = np.sqrt(variance * np.diag(inverse)) / scale
    around = float(((y - y.mean()) ** 2).sum())
    r_squared = 1 - float(residual @ residual) / around if around > 0 else None
    exposures = [*beta[1:].tolist(), float(beta[0]), None]
    contributions = [*(beta[1:] * x.sum(axis=0)).tolist(), float(beta[0]) * count, float(residual.sum())]
    t_stats = [*_ratios(beta[1:], error[1:]), *_ratios(beta[:1], error[:1]), None]
    adjusted = None if r_squared is None else 1 - (1 - r_squared) * (count - 1) / freedom
    return FactorModel(
        pl.DataFrame(
            {
                "name": [*names, "alpha", "residual"],
                "exposure": exposures,
                "contribution": contributions,
                "t_stat": t_stats,
            },
            schema={"name": pl.String, "exposure": pl.Float64, "contribution": pl.Float64, "t_stat": pl.Float64},
        ),
        pl.DataFrame(
            {
                "metric": ["observations", "r_squared", "adjusted_r_squared", "residual_deviation", "total"],
                "value": [float(count), r_squared, adjusted, math.sqrt(variance), float(y.sum())],
            },
            schema={"metric": pl.String, "value": pl.Float64},
        ),
        both.select("time", "return").with_columns(
            pl.Series("fitted", fitted, pl.Float64), pl.Series("residual", residual, pl.Float64)
        ),
    )


def _ratios(values: Floats, errors: Floats) -> list[float | None]:
    return [float(value / error) if error > 0 else None for value, error in zip(values, errors, strict=True)]
