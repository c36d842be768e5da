"""The demonstration: real and synthetic data, and jobs that read it, on two nodes (P1); what is there stays."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from quarterdeck import embedded
from quarterdeck.client import Client
from quarterdeck.embedded import Cluster
from quarterdeck.errors import Invalid
from quarterdeck.job import Status
from quarterdeck.query import Filter, Sort

__all__ = ["populate", "stocks_file"]

_CODE = """\
import pandas as pd


def factor(frame: pd.DataFrame) -> pd.DataFrame:
    \"\"\"Distance of the close from its 60-day high, negative below it.\"\"\"
    frame = frame.sort_values(["symbol", "time"])
    high = frame.groupby("symbol")["close"].transform(lambda close: close.rolling(60).max())
    print(f"{len(frame)} rows, {frame['symbol'].nunique()} symbols")
    return pd.DataFrame({"time": frame["time"], "symbol": frame["symbol"], "value": frame["close"] / high - 1})
"""

_FAULTY = """\
def factor(frame):
    frame["value"] = frame["close"] / frame["vwap"] - 1
    return frame[["time", "symbol", "value"]]
"""

_BATCH = [
    {"name": "reversal5", "formula": "-rank(delta(close, 5) / delay(close, 5))"},
    {"name": "volatility20", "formula": "ts_std(close / delay(close, 1) - 1, 20)"},
    {"name": "volume_shock", "formula": "zscore(log(volume / ts_mean(volume, 20)))"},
    {"name": "price_volume", "formula": "-correlation(rank(close), rank(volume), 10)"},
]


_STRATEGY = """\
class Pullback(Strategy):
    \"\"\"Buys what fell under its average by a limit, and sells with a stop below.\"\"\"

    window: int = 20
    depth: float = 0.05
    share: float = 0.2

    def on_bar(self, bar):
        closes = self.history(bar.symbol, self.window)
        if len(closes) < self.window or self.open_orders(bar.symbol):
            return
        average = closes.mean()
        held = self.position(bar.symbol)
        if held == 0 and bar.close < average * (1 - self.depth):
            size = int(self.equity * self.share // bar.close)
            if size > 0:
                self.buy(bar.symbol, size, limit=bar.close, bars=3, label="pullback")
        elif held > 0 and bar.close > average:
            self.sell(bar.symbol, held, label="back at its average")
        elif held > 0:
            self.sell(bar.symbol, held, stop=bar.close * 0.9, bars=1, label="stop")

    def on_trade(self, trade):
        if trade.pnl < -1000:
            print(f"{trade.symbol}: lost {-trade.pnl:.0f}")
"""


def stocks_file() -> Path:
    """The daily prices of AAPL, FB, GOOG, IBM and MSFT that the package bokeh-sampledata carries (public domain).

    Raises:
        Invalid: the package is not installed.
    """
    spec = importlib.util.find_spec("bokeh_sampledata")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(place) / "_data" / "stocks.csv.gz"
        if file.is_file():
            return file
    raise Invalid("the demonstration's prices are missing: install them by pip install 'quarterdeck[demo]'")


def _imports(files: dict[str, Path]) -> Iterator[dict[str, Any]]:
    yield {"table": "stocks", "path": str(stocks_file()), "public": True}
    yield {"table": "synthetic_daily", "path": str(files["synthetic_daily"]), "public": True, "synthetic": True}
    yield {"table": "synthetic_minute", "path": str(files["synthetic_minute"]), "synthetic": True}
    yield {"table": "synthetic_troubled", "path": str(files["synthetic_troubled"]), "synthetic": True}
    yield {"table": "synthetic_factors", "path": str(files["synthetic_factors"]), "synthetic": True}
    yield {
        "table": "synthetic_sectors",
        "path": str(files["synthetic_sectors"]),
        "columns": {"period": "time", "sector": "symbol"},
        "synthetic": True,
    }


def _factors() -> Iterator[dict[str, Any]]:
    yield {"name": "mom20", "table": "stocks", "formula": "close / delay(close, 20) - 1", "public": True}
    yield {"name": "high60", "table": "stocks", "code": _CODE}
    yield {"name": "daily batch", "table": "synthetic_daily", "factors": _BATCH}
    yield {
        "name": "minute_reversal",
        "table": "synthetic_minute",
        "formula": "-ts_zscore(close / delay(close, 1) - 1, 30)",
        "start": "2023-11-06",
        "end": "2023-11-10",
    }
    yield {"name": "vwap_gap", "table": "stocks", "code": _FAULTY}


def _later(batch: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """What reads the factors; `batch` is the job of a batch test."""
    yield "evaluation", {"factor": batch, "table": "synthetic_daily", "periods": [1, 5, 20]}
    yield "evaluation", {"factor": "mom20", "table": "stocks", "periods": [1, 20], "quantiles": 4}
    cash = 100_000.0
    yield (
        "backtest",
        {"strategy": "ma_cross", "table": "stocks", "symbols": ["AAPL"], "benchmark": "AAPL", "cash": cash},
    )
    yield (
        "backtest",
        {
            "strategy": "ma_cross",
            "grid": {"fast": [5, 10, 20], "slow": [30, 50, 100, 200]},
            "table": "stocks",
            "symbols": ["MSFT"],
            "cash": cash,
        },
    )
    yield "backtest", {"code": _STRATEGY, "table": "stocks", "benchmark": "IBM", "cash": cash, "commission": 0.0005}
    yield (
        "backtest",
        {
            "strategy": "factor_rank",
            "factor": "reversal5",
            "parameters": {"every": 5, "quantiles": 10},
            "table": "synthetic_daily",
            "slippage": 0.0002,
        },
    )
    yield "attribution", {"table": "synthetic_sectors"}


def populate(cluster: Cluster, said: Callable[[str], None]) -> None:
    """Start a second node, import data, compute factors, evaluate, backtest and attribute, where it is not done yet.

    The last factor asks for a column that the prices don't have: a failed job, and its log, belong to the picture.

    Raises:
        Invalid: the demonstration's prices are missing.
        Conflict: the second node does not come up.
    """
    from quarterdeck.quant import synthetic

    if not any(node.name == "n2" and node.pid is not None for node in cluster.nodes):
        said("starting a second node")
        embedded.start_node("n2", slots=2, data=cluster.data, chosen=cluster.profile, run_as=embedded.tasks_account())
    said("writing the synthetic data")
    files = synthetic.write_demonstration(cluster.data / "demonstration")
    with Client.connect(cluster.profile) as client:
        have = {job.name for job in client.list(Filter(kind="factor"), Sort(), limit=1000)}
        tables = {dataset.name for dataset in client.datasets()}
        imports = [
            (params["table"], client.submit("data_import", params))
            for params in _imports(files)
            if params["table"] not in tables
        ]
        _await(client, imports, "imported", said)
        factors = [
            (params["name"], client.submit("factor", params)) for params in _factors() if params["name"] not in have
        ]
        _await(client, factors, "computed", said)
        batch = client.factors("reversal5")[0].job
        have_kinds = {kind for kind in ("evaluation", "backtest", "attribution") if client.count(Filter(kind=kind))}
        later = [
            (f"{kind} {params.get('strategy') or params.get('factor') or params['table']}", client.submit(kind, params))
            for kind, params in _later(batch)
            if kind not in have_kinds
        ]
        _await(client, later, "ran", said)
        if "attribution" not in have_kinds:
            rank = client.list(Filter(kind="backtest", text="factor_rank"), limit=1)
            params = {"method": "factor_model", "backtest": rank[0].id, "factors": "synthetic_factors"}
            _await(client, [("attribution factor_model", client.submit("attribution", params))], "ran", said)


def _await(client: Client, jobs: list[tuple[str, int]], done: str, said: Callable[[str], None]) -> None:
    for name, number in jobs:
        job = client.wait(number, 300)
        where = ", ".join(job.nodes)
        if job.status is Status.SUCCESS:
            said(f"{done} {name} (job {number}, on {where})")
        else:
            said(f"{name}: {job.status.title} (job {number}, on {where}): {client.get(number).error}")
