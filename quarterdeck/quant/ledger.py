"""The result tables of a backtest task from its fills, orders and closes (T3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from quarterdeck.quant.performance import Drawdown, drawdowns, performance
from quarterdeck.quant.simulation import Run
from quarterdeck.quant.strategy import ALL

__all__ = ["Tables", "tables"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_TIME = pl.Datetime("us", "UTC")
_DAY = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of T3, and `drawdowns`, by name; `metrics` are the summary's figures, empty where undefined."""

    metrics: dict[str, float | None]
    frames: dict[str, pl.DataFrame]


def tables(
    run: Run,
    *,
    benchmark: pl.DataFrame | None = None,
    per_year: float = 252.0,
    risk_free: float = 0.0,
    samples: Literal["bar", "day"] = "bar",
) -> Tables:
    """All tables of a run.

    Args:
        benchmark: time and close of what the returns are compared with.
        per_year: trading days of a year.
        risk_free: the yearly rate that Sharpe and Sortino deduct.
        samples: whether account and positions have a row for each bar, or for the last bar of each day (UTC).
    """
    fills = _fills(run)
    account = _account(run, fills)
    returns = _returns(run, account, benchmark)
    compared = returns["benchmark_return"].fill_null(math.nan).to_numpy() if benchmark is not None else None
    daily = returns["daily_return"].fill_null(math.nan).to_numpy()
    metrics = performance(daily, compared, per_year=per_year, risk_free=risk_free)
    metrics |= _counts(run, account)
    kept = _last_of_day(run.market.times) if samples == "day" else None
    positions = _positions(run, fills, kept)
    if kept is not None:
        account = account.filter(pl.Series(kept))
    return Tables(
        metrics,
        {
            "summary": pl.DataFrame(
                {"metric": list(metrics), "value": list(metrics.values())},
                schema={"metric": pl.String, "value": pl.Float64},
            ),
            "returns": returns,
            "trades": _trades(run),
            "signals": _signals(run),
            "positions": positions,
            "account": account,
            "orders": _orders(run),
            "drawdowns": _drawdowns(returns, drawdowns(daily)),
        },
    )


@dataclass(frozen=True, slots=True)
class _Fills:
    """The fills by column, in order of time."""

    step: Ints
    code: Ints
    size: Floats
    price: Floats
    cost: Floats
    position: Floats
    average: Floats
    realized: Floats


def _fills(run: Run) -> _Fills:
    found = run.fills
    step = np.array([fill.time for fill in found], np.int64)
    code = np.array([fill.symbol for fill in found], np.int64)
    names = ("size", "price", "cost", "position", "average", "realized")
    return _Fills(step, code, *(np.array([getattr(fill, name) for fill in found], np.float64) for name in names))


def _account(run: Run, fills: _Fills) -> pl.DataFrame:
    """At each time, after its fills, marked at the last closes."""
    count = len(run.market.times)

    def summed(values: Floats) -> Floats:
        return np.cumsum(np.bincount(fills.step, weights=values, minlength=count))

    commission = summed(fills.cost)
    cash = run.rules.cash - summed(fills.size * fills.price + fills.cost)
    value, gross, unrealized = np.zeros(count), np.zeros(count), np.zeros(count)
    for code in np.unique(fills.code).tolist():
        held, average = _held(fills, code, count)
        marked = held * _marks(run, code)
        value += marked
        gross += np.abs(marked)
        unrealized += np.where(held == 0, 0.0, marked - held * average)
    return pl.DataFrame(
        {
            "time": _times(run, np.arange(count)),
            "cash": cash,
            "frozen": _frozen(run),
            "market_value": value,
            "equity": cash + value,
            "realized_pnl": summed(fills.realized),
            "unrealized_pnl": unrealized,
            "commission": commission,
            "margin": gross / run.rules.leverage,
        }
    )


def _held(fills: _Fills, code: int, count: int) -> tuple[Floats, Floats]:
    """A symbol's position and its mean price after the fills of each step."""
    own = np.flatnonzero(fills.code == code)
    step = fills.step[own]
    last = own[np.concatenate([step[1:] != step[:-1], [True]])]  # of several fills in a step, the last one counts
    place = np.searchsorted(fills.step[last], np.arange(count), side="right") - 1
    before = place < 0
    held = np.where(before, 0.0, fills.position[last][place])
    return held, np.where(before, 0.0, fills.average[last][place])


def _marks(run: Run, code: int) -> Floats:
    """A symbol's last close at each step; 0 before its first bar, when nothing can be held."""
    market = run.market
    rows = market.rows_of[code]
    steps = np.searchsorted(market.starts, rows, side="right") - 1
    place = np.searchsorted(steps, np.arange(len(market.times)), side="right") - 1
    return np.where(place < 0, 0.0, market.close[rows][place])


def _frozen(run: Run) -> Floats:
    """The cash that purchases hold back which wait at the end of each step."""
    change = np.zeros(len(run.market.times) + 1)
    for order in run.orders:
        ended = order.ended if order.ended is not None else len(run.market.times)
        if order.reserved and ended > order.sent:
            change[order.sent] += order.reserved
            change[ended] -= order.reserved
    return np.maximum(np.cumsum(change[:-1]).round(9), 0.0)


def _returns(run: Run, account: pl.DataFrame, benchmark: pl.DataFrame | None) -> pl.DataFrame:
    """Of each day (UTC) with bars: its last equity against that of the day before."""
    last = _last_of_day(run.market.times)
    equity = account["equity"].to_numpy()[last]
    before = np.concatenate([[run.rules.cash], equity[:-1]])
    with np.errstate(divide="ignore", invalid="ignore"):
        daily = np.where(before > 0, equity / before - 1.0, math.nan)
    net = equity / run.rules.cash
    times = _times(run, np.flatnonzero(last))
    frame = pl.DataFrame(
        {"time": times, "daily_return": daily, "net_value": net, "total_return": net - 1.0}
    ).with_columns(pl.col("daily_return").fill_nan(None))
    if benchmark is None:
        return frame.with_columns(pl.lit(None, pl.Float64).alias("benchmark_return"))
    day = pl.col("time").cast(_TIME).dt.date().alias("day")
    closes = benchmark.sort("time").group_by(day, maintain_order=True).agg(pl.col("close").last())
    joined = frame.with_columns(day).join(closes, on="day", how="left", maintain_order="left")
    change = pl.col("close") / pl.col("close").shift(1) - 1.0
    return joined.with_columns(change.alias("benchmark_return")).drop("day", "close")


def _last_of_day(times: Ints) -> npt.NDArray[np.bool_]:
    days = times // _DAY
    return np.concatenate([days[1:] != days[:-1], [True]])


def _positions(run: Run, fills: _Fills, kept: npt.NDArray[np.bool_] | None) -> pl.DataFrame:
    """Of each bar of a symbol that is held, or was until this bar."""
    market, count = run.market, len(run.market.times)
    parts = []
    for code in np.unique(fills.code).tolist():
        held, average = _held(fills, code, count)
        own = fills.code == code
        realized = np.cumsum(np.bincount(fills.step[own], weights=fills.realized[own], minlength=count))
        steps = np.searchsorted(market.starts, market.rows_of[code], side="right") - 1
        here = held[steps]
        change = np.bincount(fills.step[own], minlength=count)[steps] > 0
        shown = (here != 0) | change
        if kept is not None:
            shown &= kept[steps]
        steps, here = steps[shown], here[shown]
        last = market.close[market.rows_of[code]][shown]
        parts.append(
            pl.DataFrame(
                {
                    "time": _times(run, steps),
                    "symbol": np.full(len(steps), market.symbols[code], dtype=object),
                    "long_size": np.maximum(here, 0.0),
                    "short_size": np.maximum(-here, 0.0),
                    "average_price": average[steps],
                    "last_price": last,
                    "market_value": here * last,
                    "unrealized_pnl": np.where(here == 0, 0.0, here * (last - average[steps])),
                    "realized_pnl": realized[steps],
                },
                schema_overrides={"symbol": pl.String},
            )
        )
    if not parts:
        numbers = ("long_size", "short_size", "average_price", "last_price", "market_value")
        kinds: dict[str, Any] = {"time": _TIME, "symbol": pl.String}
        kinds |= dict.fromkeys((*numbers, "unrealized_pnl", "realized_pnl"), pl.Float64)
        return pl.DataFrame(schema=kinds)
    empty = pl.when(pl.col("average_price") != 0).then(pl.col("average_price"))
    return pl.concat(parts).with_columns(empty.alias("average_price")).sort("time", "symbol")


def _trades(run: Run) -> pl.DataFrame:
    found = run.trades
    return pl.DataFrame(
        {
            "symbol": [one.symbol for one in found],
            "side": [one.side for one in found],
            "entry_time": _times(run, [one.entry_time for one in found]),
            "entry_price": [one.entry_price for one in found],
            "exit_time": _times(run, [one.exit_time for one in found]),
            "exit_price": [one.exit_price for one in found],
            "size": [one.size for one in found],
            "pnl": [one.pnl for one in found],
            "commission": [one.commission for one in found],
        },
        schema_overrides=_floats("entry_price", "exit_price", "size", "pnl", "commission")
        | {"symbol": pl.String, "side": pl.String},
    ).sort("entry_time", "symbol", maintain_order=True)


def _signals(run: Run) -> pl.DataFrame:
    found = run.signals
    return pl.DataFrame(
        {
            "symbol": [run.market.symbols[code] for _, code, _, _, _ in found],
            "time": _times(run, [step for step, _, _, _, _ in found]),
            "kind": ["buy" if side > 0 else "sell" for _, _, side, _, _ in found],
            "price": [price for _, _, _, price, _ in found],
            "size": [None if size == ALL else size for _, _, _, _, size in found],
        },
        schema_overrides=_floats("price", "size") | {"symbol": pl.String, "kind": pl.String},
    ).with_columns(pl.col("price").fill_nan(None))


def _orders(run: Run) -> pl.DataFrame:
    found = run.orders
    return pl.DataFrame(
        {
            "order_id": [one.id for one in found],
            "symbol": [one.symbol for one in found],
            "side": ["buy" if one.side > 0 else "sell" for one in found],
            "type": [one.type for one in found],
            "sent_time": _times(run, [one.sent for one in found]),
            "price": [one.price for one in found],
            "size": [None if one.size == ALL else one.size for one in found],
            "status": [one.status for one in found],
            "fill_time": _times(run, [one.fill_time for one in found]),
            "fill_price": [one.fill_price for one in found],
            "fill_size": [one.filled for one in found],
            "label": [one.label for one in found],
            "reason": [one.reason for one in found],
        },
        schema_overrides=_floats("price", "size", "fill_price", "fill_size")
        | dict.fromkeys(("symbol", "side", "type", "status", "label", "reason"), pl.String)
        | {"order_id": pl.Int64},
    )


def _drawdowns(returns: pl.DataFrame, found: list[Drawdown]) -> pl.DataFrame:
    """The ten deepest. A peak before the first return has no time."""
    deepest = sorted(found, key=lambda one: one.depth)[:10]
    times = returns["time"].to_list()

    def at(number: int | None) -> Any:
        return None if not number else times[number - 1]

    return pl.DataFrame(
        {
            "peak_time": [at(one.peak) for one in deepest],
            "valley_time": [at(one.valley) for one in deepest],
            "recovery_time": [at(one.recovery) for one in deepest],
            "drawdown": [one.depth for one in deepest],
            "days": [(one.recovery if one.recovery is not None else len(times)) - one.peak for one in deepest],
        },
        schema={
            "peak_time": _TIME,
            "valley_time": _TIME,
            "recovery_time": _TIME,
            "drawdown": pl.Float64,
            "days": pl.Int64,
        },
    )


def _counts(run: Run, account: pl.DataFrame) -> dict[str, float | None]:
    closed = [one for one in run.trades if one.exit_time is not None]
    won = [one.pnl for one in closed if one.pnl > 0]
    lost = [-one.pnl for one in closed if one.pnl < 0]
    return {
        "final_equity": float(account["equity"][-1]),
        "commission": float(account["commission"][-1]),
        "trades": float(len(closed)),
        "open_trades": float(len(run.trades) - len(closed)),
        "winning_trades": len(won) / len(closed) if closed else None,
        "profit_factor": sum(won) / sum(lost) if lost else None,
        "orders": float(len(run.orders)),
        "rejected_orders": float(sum(one.status == "rejected" for one in run.orders)),
    }


def _times(run: Run, steps: Any) -> pl.Series:
    """The times of steps; None where a step is None."""
    if isinstance(steps, np.ndarray):
        return pl.Series(run.market.times[steps], dtype=pl.Int64).cast(_TIME)
    times = run.market.times
    return pl.Series([None if step is None else int(times[step]) for step in steps], dtype=pl.Int64).cast(_TIME)


def _floats(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, pl.Float64)
