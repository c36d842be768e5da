"""The reports of a backtest that come with Quarterdeck, over the tables that a simulated strategy really writes."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from quarterdeck.quant import ledger, strategies
from quarterdeck.quant.bars import Market
from quarterdeck.quant.simulation import Rules, simulate
from quarterdeck.report import Frames, Picked, builtins
from tests.unit.report_tables import Tables

SECTIONS = [
    "Overview", "Return details", "Trade analysis", "Position details", "Account details", "Order details",
]  # fmt: skip


def _prices(days: int, symbols: int) -> pl.DataFrame:
    chance = np.random.default_rng(3)
    times = pd.date_range("2023-01-02", periods=days, freq="D", tz="UTC")
    close = 100 * np.exp(chance.normal(0, 0.02, (days, symbols)).cumsum(axis=0))
    first = np.vstack([close[:1], close[:-1]])
    return pl.DataFrame(
        {
            "time": pl.Series(times.repeat(symbols)).cast(pl.Datetime("us", "UTC")),
            "symbol": [f"S{n}" for n in range(symbols)] * days,
            "open": first.ravel(),
            "high": (np.maximum(first, close) * 1.01).ravel(),
            "low": (np.minimum(first, close) * 0.99).ravel(),
            "close": close.ravel(),
        }
    )


def _run(days: int, symbols: int) -> tuple[dict[str, pl.DataFrame], Tables]:
    prices = _prices(days, symbols)
    strategy = strategies.made(strategies.BUILT_IN["ma_cross"], {"fast": 3, "slow": 10, "size": 10})
    played = simulate(Market(prices, fill="next_open"), strategy, Rules(cash=100_000.0))
    compared = prices.filter(pl.col("symbol") == "S0").select("time", "close")
    frames = ledger.tables(played, benchmark=compared).frames
    tables = Tables(**{name: frame.to_arrow() for name, frame in frames.items()})
    tables.stored["${params.table}"] = Tables(prices=prices.to_arrow()).stored["prices"]
    return frames, tables


@pytest.mark.spec("B3", "Q2", "B5")
@pytest.mark.parametrize("name", ["Backtest (Default)", "Backtest (Default2)"])
def test_the_six_sections_of_a_backtest(name: str) -> None:
    template = builtins()[name]
    assert [*template.sections()] == SECTIONS
    made, tables = _run(120, 2)
    report = Frames(template, tables).read()
    panels: Any = report.panels
    assert [(name, panel.said) for name, panel in panels.items() if panel.said] == []
    figures = dict(made["summary"].iter_rows())
    for metric in ("total_return", "annual_return", "sharpe", "max_drawdown", "volatility", "sortino", "calmar"):
        assert panels[metric].value == pytest.approx(figures[metric]), metric
    returns = made["returns"].to_pandas()
    strategy, benchmark = panels["overview"].series
    np.testing.assert_allclose(strategy.y, returns.net_value)
    np.testing.assert_allclose(benchmark.y[-1], 1 + figures["benchmark_total_return"])
    assert panels["drawdown"].series[0].y.min() == pytest.approx(figures["max_drawdown"])
    np.testing.assert_allclose(panels["daily_returns"].series[0].y, returns.daily_return)
    months = (1 + returns.daily_return).groupby(returns.time.dt.month).prod() - 1
    np.testing.assert_allclose(panels["monthly"].values, [months])
    # the first stock that was traded, with its fills
    assert report.choices["stock"] == ("S0",)
    assert len(panels["chart"].close) == 120
    own = made["signals"].filter(pl.col("symbol") == "S0")
    assert sum(len(one.time) for one in panels["chart"].signals) == own.height > 2
    assert panels["chart"].volume is None  # the table has none
    held = made["positions"].to_pandas().groupby("time").market_value
    long, short = panels["held"].series
    np.testing.assert_allclose(long.y, held.agg(lambda one: one[one > 0].sum()))
    np.testing.assert_allclose(short.y, held.agg(lambda one: one[one < 0].sum()), atol=1e-9)
    np.testing.assert_allclose(panels["stocks"].series[0].y, held.agg(lambda one: (one != 0).sum()))
    # not long: all rows are shown
    for table in ("orders", "positions", "account", "trades"):
        assert panels[table].rows == made[table].height, table
    assert panels["orders"].columns[0] == ("order_id", "integer")


@pytest.mark.spec("B4")
def test_of_long_tables_one_stock_on_one_day_is_shown() -> None:
    made, tables = _run(1_100, 3)
    assert made["positions"].height > 1_000
    assert made["account"].height > 1_000
    assert made["orders"].height < 1_000
    frames = Frames(builtins()["Backtest (Default)"], tables)
    report = frames.read(panels=["positions", "account", "orders"])
    first = made["positions"].filter(pl.col("symbol") == "S0")["time"].min()
    assert report.choices["position_stock"] == ("S0",)
    assert report.choices["position_day"] == (first,)
    assert report.choices["order_day"] == ()
    assert [panel.rows for panel in report.panels.values()] == [1, 1, made["orders"].height]
    # one filter alone
    held = made["positions"].filter(pl.col("symbol") == "S2")
    chosen = {"position_stock": "S2", "position_day": held["time"][-1]}
    assert frames.page("positions", choices=chosen)["market_value"].to_pylist() == [held["market_value"][-1]]
    some = made["orders"].filter(pl.col("symbol") == "S1")
    assert frames.read({"order_stock": "S1"}, panels=["orders"]).panels["orders"].rows == some.height


@pytest.mark.spec("B6")
def test_the_parts_of_the_second_report_are_linked() -> None:
    made, tables = _run(1_100, 3)
    frames = Frames(builtins()["Backtest (Default2)"], tables)
    start = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
    span = Picked(start=start, end=start + dt.timedelta(days=9))
    inside = pl.col("time").is_between(span.start, span.end)
    report = frames.read(picked=span)
    # the selected dates, of all stocks, whatever day was chosen before
    assert report.panels["positions"].rows == made["positions"].filter(inside).height > 10
    sent = made["orders"].filter(pl.col("sent_time").is_between(span.start, span.end))
    assert report.panels["orders"].rows == sent.height > 0
    assert report.panels["account"].rows == 10
    assert report.panels["net_value"].rows == 1_100  # what sets the dates is not narrowed
    # the row that is clicked: its stock on the price chart
    row = frames.page("orders", picked=span).to_pylist()[-1]
    chart: Any = frames.read(picked=Picked(row=row["symbol"])).panels["chart"]
    own = made["signals"].filter(pl.col("symbol") == row["symbol"])
    assert sum(len(one.time) for one in chart.signals) == own.height
    prices = _prices(1_100, 3).filter(pl.col("symbol") == row["symbol"])
    np.testing.assert_allclose(chart.close, prices["close"])
    # the first report's parts are not
    plain = Frames(builtins()["Backtest (Default)"], tables)
    assert plain.read(picked=span, panels=["positions"]).panels["positions"].rows == 1


@pytest.mark.spec("B3", "G4")
def test_a_strategy_that_never_traded_says_so() -> None:
    prices = _prices(30, 1)
    strategy = strategies.made(strategies.BUILT_IN["ma_cross"], {"fast": 20, "slow": 40, "size": 10})
    frames = ledger.tables(simulate(Market(prices, fill="next_open"), strategy, Rules())).frames
    tables = Tables(**{name: frame.to_arrow() for name, frame in frames.items()})
    tables.stored["${params.table}"] = Tables(prices=prices.to_arrow()).stored["prices"]
    panels = Frames(builtins()["Backtest (Default)"], tables).read().panels
    assert panels["orders"].said == "Table 'orders' has no rows."
    assert panels["held"].said == "Table 'positions' has no rows."
    assert panels["chart"].said == "Choose a value for stock (price chart)."
    assert not panels["net_value"].said
