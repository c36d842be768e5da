"""The demonstration: real and synthetic data imported, factors computed on two nodes (P1); what is there stays."""

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


def populate(cluster: Cluster, said: Callable[[str], None]) -> None:
    """Start a second node, import the data and compute the factors, where that has not been done before.

    The last factor asks for a column that the prices don't have: a failed job, and its log, belong to the picture.

    Raises:
        Invalid: the demonstration's prices are missing.
        Conflict: the second node does not come up.
    """
    from quarterdeck.quant import synthetic

    if not any(node.name == "n2" and node.pid is not None for node in cluster.nodes):
        said("starting a second node")
        embedded.start_node("n2", slots=2, data=cluster.data, chosen=cluster.profile)
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


def _await(client: Client, jobs: list[tuple[str, int]], done: str, said: Callable[[str], None]) -> None:
    for name, number in jobs:
        job = client.wait(number, 300)
        where = ", ".join(job.nodes)
        if job.status is Status.SUCCESS:
            said(f"{done} {name} (job {number}, on {where})")
        else:
            said(f"{name}: {job.status.title} (job {number}, on {where}): {client.get(number).error}")
