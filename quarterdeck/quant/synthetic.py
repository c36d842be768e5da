"""Made-up market data, the same for the same seed: for the demonstration, for tests, never for research."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["daily_bars", "factor_returns", "minute_bars", "sectors", "write_demonstration"]


def _bars(
    symbols: list[str], times: np.ndarray, *, seed: int, volatility: float, drift: float, late: float
) -> pl.DataFrame:
    """Bars of a one-factor market: log returns = beta * market + own part; len(symbols) * len(times) rows less `late`.

    `volatility` and `drift` are a symbol's, per bar. A share `late` of the symbols starts late or ends early.
    """
    random = np.random.default_rng(seed)
    count, length = len(symbols), len(times)
    market = random.standard_t(5, length) * volatility * 0.5
    beta = random.uniform(0.5, 1.5, count)
    own = random.standard_t(5, (count, length)) * volatility * 0.75
    close = random.uniform(8, 250, count)[:, None] * np.exp(np.cumsum(drift + beta[:, None] * market + own, axis=1))
    gap = np.exp(random.normal(0, volatility * 0.2, (count, length)))
    opened = np.concatenate([close[:, :1], close[:, :-1]], axis=1) * gap
    reach = np.exp(np.abs(random.normal(0, volatility * 0.5, (2, count, length))))
    high = np.maximum(opened, close) * reach[0]
    low = np.minimum(opened, close) / reach[1]
    volume = np.round(random.lognormal(11, 0.6, (count, length)) * (1 + 20 * np.abs(own)))
    keep = np.ones((count, length), dtype=bool)
    for row in np.flatnonzero(random.random(count) < late):
        cut = int(random.integers(length // 10, length // 2))
        if random.random() < 0.5:
            keep[row, :cut] = False
        else:
            keep[row, length - cut :] = False
    # a column a time, so that rows come in order of time, then symbol
    chosen = keep.T
    grid = {
        name: np.round(values.T[chosen], 4)
        for name, values in (("open", opened), ("high", high), ("low", low), ("close", close))
    }
    place = np.broadcast_to(np.arange(count), (length, count))[chosen]
    moment = np.broadcast_to(np.arange(length)[:, None], (length, count))[chosen]
    return pl.DataFrame(
        {
            "symbol": np.array(symbols)[place],
            "time": times[moment].astype("datetime64[us]"),
            **grid,
            "volume": volume.T[chosen],
        }
    )


def daily_bars(*, symbols: int = 300, years: int = 5, seed: int = 7) -> pl.DataFrame:
    """Daily bars of made-up symbols SYN001…, weekdays from 2019 on; a tenth starts late or is delisted.

    Columns symbol, time (naive, midnight), open, high, low, close, volume; sorted by time, symbol.
    """
    days = np.arange("2019-01-01", f"{2019 + years}-01-01", dtype="datetime64[D]")
    days = days[np.is_busday(days)]
    names = [f"SYN{number:03}" for number in range(1, symbols + 1)]
    return _bars(names, days, seed=seed, volatility=0.02, drift=0.0003, late=0.1)


def minute_bars(*, symbols: int = 20, days: int = 20, seed: int = 11) -> pl.DataFrame:
    """Minute bars of made-up symbols MIN01…, 390 a weekday from 14:30 UTC, from 2023-11-01 on; columns as daily."""
    dates = np.arange("2023-11-01", "2024-12-31", dtype="datetime64[D]")
    dates = dates[np.is_busday(dates)][:days]
    minutes = np.arange(14 * 60 + 30, 21 * 60, dtype="timedelta64[m]")
    times = (dates[:, None] + minutes[None, :]).ravel()
    names = [f"MIN{number:02}" for number in range(1, symbols + 1)]
    return _bars(names, times, seed=seed, volatility=0.0008, drift=0.0, late=0.0)


def factor_returns(bars: pl.DataFrame) -> pl.DataFrame:
    """Daily factor returns of daily bars: time, market (the mean return) and momentum (past winners minus losers)."""
    change = pl.col("close") / pl.col("close").shift(1) - 1
    past = pl.col("close").shift(2) / pl.col("close").shift(60) - 1
    known = bars.sort("symbol", "time").with_columns(
        change.over("symbol").alias("change"), past.over("symbol").alias("past")
    )
    rank = pl.col("past").rank() / pl.col("past").count()
    mean = pl.col("change").mean()
    return (
        known.drop_nulls(["change", "past"])
        .with_columns(rank.over("time").alias("rank"))
        .group_by("time", maintain_order=True)
        .agg(
            mean.round(8).alias("market"),
            (
                pl.col("change").filter(pl.col("rank") > 0.8).mean()
                - pl.col("change").filter(pl.col("rank") < 0.2).mean()
            )
            .round(8)
            .alias("momentum"),
        )
        .sort("time")
    )


def sectors(*, months: int = 24, seed: int = 13) -> pl.DataFrame:
    """A made-up portfolio's weights and returns by month and sector beside its benchmark's."""
    random = np.random.default_rng(seed)
    names = ["Energy", "Financials", "Health Care", "Industrials", "Technology"]
    rows = []
    for month in range(months):
        benchmark = random.dirichlet(np.full(len(names), 40.0)).round(4)
        portfolio = np.maximum(benchmark + random.normal(0, 0.03, len(names)), 0.02)
        portfolio = (portfolio / portfolio.sum()).round(4)
        benchmark[-1], portfolio[-1] = 1 - benchmark[:-1].sum(), 1 - portfolio[:-1].sum()
        expected = random.normal(0.006, 0.035, len(names))
        achieved = expected + random.normal(0.001, 0.012, len(names))
        day = np.datetime64("2022-01", "M") + month
        rows += [
            (str(day) + "-01", name, *(round(float(one), 6) for one in values))
            for name, *values in zip(names, portfolio, achieved, benchmark, expected, strict=True)
        ]
    columns = ["period", "sector", "portfolio_weight", "portfolio_return", "benchmark_weight", "benchmark_return"]
    return pl.DataFrame(rows, schema=columns, orient="row")


_TROUBLED = """\
Date,Ticker,Open,High,Low,Close,Volume
2024-01-02,SYN001,100.0,101.5,99.2,101.1,12000
2024-01-03,SYN001,101.1,102.0,100.4,abc,15000
2024-01-04,SYN001,101.9,103.2,101.0,102.8,9000
2024-01-04,SYN001,101.9,103.2,101.0,102.9,9100
2024-01-02,SYN002,55.0,55.9,54.1,55.2,30000
05/01/2024,SYN002,55.2,56.0,54.8,55.9,28000
2024-01-04,SYN002,55.9,57.1,55.5
2024-01-05,SYN002,56.8,57.4,56.1,57.0,31000
"""


def write_demonstration(folder: Path) -> dict[str, Path]:
    """Write the demonstration's files, each with 'synthetic' in its name; files that exist are left.

    Returns:
        table's name to file: synthetic_daily (CSV), synthetic_minute (Parquet), synthetic_troubled (a CSV with faults),
        synthetic_factors (daily factor returns), synthetic_sectors (a portfolio's sectors beside its benchmark's).
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "synthetic_daily": folder / "synthetic_daily.csv",
        "synthetic_minute": folder / "synthetic_minute.parquet",
        "synthetic_troubled": folder / "synthetic_troubled.csv",
        "synthetic_factors": folder / "synthetic_factors.csv",
        "synthetic_sectors": folder / "synthetic_sectors.csv",
    }
    if not (daily := files["synthetic_daily"]).exists():
        daily_bars().with_columns(pl.col("time").dt.date()).write_csv(daily)
    if not (minute := files["synthetic_minute"]).exists():
        minute_bars().write_parquet(minute)
    if not (troubled := files["synthetic_troubled"]).exists():
        troubled.write_text(_TROUBLED, encoding="utf-8")
    if not (factors := files["synthetic_factors"]).exists():
        factor_returns(daily_bars()).with_columns(pl.col("time").dt.date()).write_csv(factors)
    if not (groups := files["synthetic_sectors"]).exists():
        sectors().write_csv(groups)
    return files
