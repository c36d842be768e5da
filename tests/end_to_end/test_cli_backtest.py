"""Backtests on a real node by the command line: fills and figures equal pandas on real prices."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

CASH = 100_000.0


def submitted(run: Run, **params: Any) -> str:
    """Submit a backtest and wait for it; its number."""
    done = run("submit", "backtest", "--params", "-", "--wait", text=json.dumps(params))
    return done.stdout.split()[0]


def exported(run: Run, job: str, table: str, folder: Path, *more: str) -> pd.DataFrame:
    run("export", job, table, str(folder / f"{table}.csv"), *more)
    return pd.read_csv(folder / f"{table}.csv")


def bars(prices: pd.DataFrame, symbol: str) -> pd.DataFrame:
    frame = prices.rename(columns={one: one.lower() for one in prices.columns})
    ticker, date = frame.columns[:2]
    frame = frame.rename(columns={ticker: "symbol", date: "time"})
    return frame[frame["symbol"] == symbol].sort_values("time").reset_index(drop=True)


def crossing(frame: pd.DataFrame, fast: int, slow: int, size: int) -> tuple[list[tuple[str, int, float]], float]:
    """The crossing strategy with pandas: fills at the next open, and the equity at the last close."""
    above = (frame["close"].rolling(fast).mean() > frame["close"].rolling(slow).mean()).to_numpy()
    fills: list[tuple[str, int, float]] = []
    cash, held = CASH, 0
    for n in range(slow, len(frame) - 1):
        turn = size if above[n] and not above[n - 1] and not held else -held if above[n - 1] and not above[n] else 0
        if turn:
            opened = float(frame["open"][n + 1])
            fills.append((str(frame["time"][n + 1]), turn, opened))
            cash -= turn * opened
            held += turn
    return fills, cash + held * float(frame["close"].iloc[-1])


@pytest.mark.spec("K4", "Q4", "T3", "X1", "C2", "Q2")
def test_the_crossing_strategy_on_real_prices_equals_pandas(
    quarterdeck: Run, prices: pd.DataFrame, tmp_path: Path
) -> None:
    job = submitted(
        quarterdeck, strategy="ma_cross", parameters={"fast": 10, "slow": 30, "size": 100}, table="prices",
        symbols=["AAPL"], cash=CASH, benchmark="IBM",
    )  # fmt: skip
    expected, equity = crossing(bars(prices, "AAPL"), 10, 30, 100)
    orders = exported(quarterdeck, job, "orders", tmp_path)
    orders = orders[orders["status"] == "filled"]
    signs = np.where(orders["side"] == "buy", 1, -1)
    found = [
        (time[:10], int(size), price)
        for time, size, price in zip(
            orders["fill_time"], signs * orders["fill_size"], orders["fill_price"], strict=True
        )
    ]
    assert found == expected
    assert len(expected) > 50
    summary = exported(quarterdeck, job, "summary", tmp_path).set_index("metric")["value"]
    assert summary["final_equity"] == pytest.approx(equity, rel=1e-12)
    assert summary["total_return"] == pytest.approx(equity / CASH - 1, rel=1e-9)
    returns = exported(quarterdeck, job, "returns", tmp_path)
    daily = returns["daily_return"]
    assert summary["sharpe"] == pytest.approx(daily.mean() / daily.std() * 252**0.5, rel=1e-9)
    net = (1 + daily).cumprod()
    assert summary["max_drawdown"] == pytest.approx((net / net.cummax().clip(lower=1) - 1).min(), rel=1e-9)
    ibm = bars(prices, "IBM")["close"].pct_change()
    np.testing.assert_allclose(returns["benchmark_return"][1:], ibm[1:], rtol=1e-9)
    assert summary["beta"] == pytest.approx(
        daily[1:].cov(returns["benchmark_return"][1:]) / returns["benchmark_return"][1:].var(), rel=1e-9
    )
    shown = json.loads(quarterdeck("show", job, "--json").stdout)
    assert (shown["name"], shown["backtest_type"], shown["data_type"]) == ("ma_cross", "historical", "daily")
    assert shown["backtest_start"].startswith("2000-03-01")
    names = {line.split()[1] for line in quarterdeck("tables", job).stdout.splitlines()[1:]}
    assert {"summary", "returns", "trades", "signals", "positions", "account", "orders"} <= names


@pytest.mark.spec("K4", "T3")
def test_an_optimization_is_a_task_a_combination(quarterdeck: Run, prices: pd.DataFrame, tmp_path: Path) -> None:
    job = submitted(
        quarterdeck, strategy="ma_cross", grid={"fast": [5, 10, 30], "slow": [30, 60]}, parameters={"size": 100},
        table="prices", symbols=["MSFT"], cash=CASH, metric="total_return",
    )  # fmt: skip
    grid = exported(quarterdeck, job, "grid", tmp_path)
    assert list(grid.columns[:4]) == ["fast", "slow", "final_equity", "total_return"]
    assert sorted(zip(grid["fast"], grid["slow"], strict=True)) == [(5, 30), (5, 60), (10, 30), (10, 60), (30, 60)]
    assert grid["score"].tolist() == grid["total_return"].tolist()
    frame = bars(prices, "MSFT")
    for fast, slow, equity in zip(grid["fast"], grid["slow"], grid["final_equity"], strict=True):
        assert equity == pytest.approx(crossing(frame, fast, slow, 100)[1], rel=1e-12)
    shown = json.loads(quarterdeck("show", job, "--json").stdout)
    assert [task["name"] for task in shown["tasks"]][:2] == ["fast=5, slow=30", "fast=5, slow=60"]


CODE = """
class Buyer(Strategy):
    size: int = 10
    fail_at: int = 0

    def initialize(self):
        print("begins with", self.cash)

    def on_bar(self, bar):
        if self.seen(bar.symbol) == 1:
            self.buy(bar.symbol, self.size, label="first")
        if self.fail_at and self.seen(bar.symbol) == self.fail_at:
            raise KeyError(bar.symbol)

    def on_order(self, order):
        print(order.symbol, order.status, order.fill_price)

    def finalize(self):
        print("ends with", round(self.equity, 2))
"""


@pytest.mark.spec("K4", "M6", "R3", "G4")
def test_a_strategy_of_the_users_own_runs_and_its_errors_name_its_lines(
    quarterdeck: Run, prices: pd.DataFrame, tmp_path: Path
) -> None:
    job = submitted(quarterdeck, code=CODE, table="prices", symbols=["AAPL", "IBM"], parameters={"size": 5}, cash=CASH)
    aapl, ibm = bars(prices, "AAPL"), bars(prices, "IBM")
    log = quarterdeck("logs", job).stdout
    assert f"AAPL filled {aapl['open'][1]}" in log
    equity = CASH + 5 * (aapl["close"].iloc[-1] - aapl["open"][1]) + 5 * (ibm["close"].iloc[-1] - ibm["open"][1])
    assert f"ends with {round(equity, 2)}" in log
    positions = exported(quarterdeck, job, "positions", tmp_path)
    assert set(positions["symbol"]) == {"AAPL", "IBM"}

    done = quarterdeck(
        "submit", "backtest", "--params", "-", "--wait", code=3,
        text=json.dumps({"code": CODE, "table": "prices", "symbols": ["AAPL"], "parameters": {"fail_at": 7}}),
    )  # fmt: skip
    job = done.stdout.split()[0]
    shown = json.loads(quarterdeck("show", job, "--json").stdout)
    assert shown["error"] == "strategy code, line 13: KeyError: 'AAPL'"
    log = quarterdeck("logs", job).stdout
    assert "strategy code, line 13, in on_bar" in log
    assert "quarterdeck/" not in log.split("strategy code, line 13, in on_bar")[1].splitlines()[1]


@pytest.mark.spec("G4", "K4")
def test_what_can_not_run_says_why_and_stores_nothing(quarterdeck: Run, prices: pd.DataFrame) -> None:
    before = quarterdeck("list", "--kind", "backtest", "--json").stdout
    for params, words in (
        ({"strategy": "ma_cross", "table": "price"}, "there is no table 'price'; did you mean 'prices'?"),
        ({"strategy": "ma_cross", "table": "prices", "parameters": {"fsat": 3}}, "no parameter 'fsat'"),
        ({"strategy": "factor_rank", "table": "prices", "factor": "none"}, "there is no factor 'none'"),
        ({"code": "class A(Strategy)\n  pass", "table": "prices"}, "strategy code, line 1: expected ':'"),
    ):
        error = quarterdeck("submit", "backtest", "--params", "-", text=json.dumps(params), code=1).stderr
        assert words in error
        assert len(error.strip().splitlines()) == 1
    assert quarterdeck("list", "--kind", "backtest", "--json").stdout == before
    # what only the rows can tell is told by the task
    done = quarterdeck(
        "submit", "backtest", "--params", "-", "--wait", code=3,
        text=json.dumps({"strategy": "buy_and_hold", "table": "prices", "symbols": ["AAPL", "NOPE"]}),
    )  # fmt: skip
    shown = json.loads(quarterdeck("show", done.stdout.split()[0], "--json").stdout)
    assert shown["error"] == "table 'prices' has no rows of NOPE in the chosen period"


@pytest.mark.spec("K4", "K2")
def test_a_factor_ranks_what_is_held(quarterdeck: Run, prices: pd.DataFrame, tmp_path: Path) -> None:
    mom = {"name": "mom", "table": "prices", "formula": "close/delay(close,20)-1"}
    quarterdeck("submit", "factor", "--params", "-", "--wait", text=json.dumps(mom))
    job = submitted(
        quarterdeck, strategy="factor_rank", factor="mom", table="prices", cash=CASH,
        parameters={"every": 60, "quantiles": 4}, start="2005-01-01", end="2007-12-31",
    )  # fmt: skip
    positions = exported(quarterdeck, job, "positions", tmp_path)
    first = positions[positions["time"] == positions["time"].min()]
    frame = pd.concat([bars(prices, one) for one in ("AAPL", "GOOG", "IBM", "MSFT")])
    frame["value"] = frame.groupby("symbol")["close"].pct_change(20)
    day = frame[frame["time"] == frame[frame["time"] >= "2005-01-01"]["time"].min()].sort_values("value")
    assert first[first["long_size"] > 0]["symbol"].tolist() == [day["symbol"].iloc[-1]]
    assert first[first["short_size"] > 0]["symbol"].tolist() == [day["symbol"].iloc[0]]
