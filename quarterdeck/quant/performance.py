"""Performance of a daily return series (Q2). What is undefined is empty, never 0 or infinite."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Drawdown", "drawdowns", "performance"]

Floats = npt.NDArray[np.float64]

_SHARE = 0.05
"""The tail of value at risk and conditional value at risk: 95 % confidence."""


def performance(
    returns: Floats, benchmark: Floats | None = None, *, per_year: float = 252.0, risk_free: float = 0.0
) -> dict[str, float | None]:
    """The figures of a series of daily returns, in the order in which a report shows them.

    Args:
        returns: daily returns, one a day; 0.01 is one per cent.
        benchmark: the benchmark's returns of the same days, NaN where it has none.
        per_year: trading days of a year.
        risk_free: the yearly rate that Sharpe and Sortino deduct, spread evenly over the days.

    total_return is compounded; annual_return is (1 + total)^(per_year/n) - 1; volatility has ddof 1, times
    sqrt(per_year); sharpe is the mean over the deviation (ddof 1), times sqrt(per_year); sortino divides by the root
    mean square of the negative returns over all days; max_drawdown is the least net value over its earlier peak, minus
    1, of a net value that starts at 1; calmar is annual_return over it; win_rate counts returns > 0 over all days; skew
    and kurtosis (in excess of 3) are those of the population; value_at_risk is the 5 % quantile (linear), and
    conditional_value_at_risk the mean of what does not exceed it; beta is covariance over variance and alpha
    (1 + mean(r - beta b))^per_year - 1, over the days that both have.
    """
    r = np.asarray(returns, np.float64)
    n = len(r)
    known = n > 0 and bool(np.isfinite(r).all())
    total = float(np.prod(1.0 + r) - 1.0) if known else None
    annual = None if total is None or total < -1 else (1.0 + total) ** (per_year / n) - 1.0
    excess = r - risk_free / per_year
    deviation = _deviation(r) if known else None
    below = math.sqrt(float(np.mean(np.minimum(excess, 0.0) ** 2))) if known else 0.0
    mean = float(excess.mean()) if known else 0.0
    worst = min((one.depth for one in drawdowns(r)), default=0.0) if known else None
    ordered = np.sort(r) if known else r
    tail = ordered[: int((n - 1) * _SHARE) + 1] if known else r
    figures: dict[str, float | None] = {
        "total_return": total,
        "annual_return": annual,
        "volatility": None if deviation is None else deviation * math.sqrt(per_year),
        "sharpe": mean / deviation * math.sqrt(per_year) if deviation else None,
        "sortino": mean / below * math.sqrt(per_year) if below > 0 else None,
        "max_drawdown": worst,
        "calmar": annual / -worst if annual is not None and worst else None,
        "win_rate": float(np.mean(r > 0)) if known else None,
        "best_day": float(r.max()) if known else None,
        "worst_day": float(r.min()) if known else None,
        "skew": _moment(r, 3) if deviation else None,
        "kurtosis": _excess(_moment(r, 4)) if deviation else None,
        "value_at_risk": float(np.quantile(r, _SHARE)) if known else None,
        "conditional_value_at_risk": float(tail.mean()) if known else None,
    }
    if benchmark is not None:
        figures |= _against(r, np.asarray(benchmark, np.float64), per_year)
    return {name: value if value is not None and math.isfinite(value) else None for name, value in figures.items()}


def _deviation(values: Floats) -> float | None:
    """With ddof 1; None where it is undefined, 0.0 where the values are equal but for rounding."""
    if len(values) < 2:
        return None
    if values.min() == values.max():
        return 0.0
    return float(values.std(ddof=1))


def _moment(values: Floats, power: int) -> float:
    centred = values - values.mean()
    scale = float(np.abs(centred).max())
    if not scale:
        return math.nan
    centred = centred / scale  # so that the powers stay within the range of floating point
    return float(np.mean(centred**power) / np.mean(centred**2) ** (power / 2))


def _excess(kurtosis: float) -> float:
    return kurtosis - 3.0


def _against(returns: Floats, benchmark: Floats, per_year: float) -> dict[str, float | None]:
    both = np.isfinite(returns) & np.isfinite(benchmark)
    r, b = returns[both], benchmark[both]
    if len(r) < 2 or b.min() == b.max():
        return {"alpha": None, "beta": None, "benchmark_total_return": None}
    beta = float(np.mean((r - r.mean()) * (b - b.mean())) / np.mean((b - b.mean()) ** 2))
    alpha = (1.0 + float(np.mean(r - beta * b))) ** per_year - 1.0
    return {"alpha": alpha, "beta": beta, "benchmark_total_return": float(np.prod(1.0 + b) - 1.0)}


@dataclass(frozen=True, slots=True)
class Drawdown:
    """A fall of the net value below an earlier peak.

    Attributes:
        peak: number of returns before the peak: 0 is the start, before the first return.
        valley: number of returns up to the lowest point.
        recovery: number of returns until the peak was reached again; None while it was not.
        depth: the lowest net value over the peak, minus 1.
    """

    peak: int
    valley: int
    recovery: int | None
    depth: float


def drawdowns(returns: Floats) -> list[Drawdown]:
    """All drawdowns of a return series in order of time; the net value starts at 1 before the first return."""
    net = np.concatenate([[1.0], np.cumprod(1.0 + np.asarray(returns, np.float64))])
    high = np.maximum.accumulate(net)
    under = np.concatenate([[False], net < high, [False]])
    edges = np.flatnonzero(under[1:] != under[:-1])
    found = []
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        valley = int(begin + np.argmin(net[begin:end]))
        depth = float(net[valley] / high[valley] - 1.0)
        found.append(Drawdown(int(begin) - 1, valley, int(end) if end < len(net) else None, depth))
    return found
