"""Bars of one or many symbols, checked and laid out for the event loop."""

from __future__ import annotations

import datetime as dt
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from quarterdeck.errors import Invalid
from quarterdeck.quant.strategy import Bar

__all__ = ["Market"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_BEGIN = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_CHUNK = 16_384
_new = tuple.__new__


class Market:
    """Bars by time and symbol, ready for the loop.

    Attributes:
        symbols: in alphabetical order.
        times: of each step, microseconds since 1970 UTC, rising.
        starts: where each step's rows begin, and the end of the last.
        symbol, open, high, low, close, volume: of each row, by time and symbol.
        widened: rows whose high or low did not hold open and close.
    """

    def __init__(self, frame: pl.DataFrame, *, fill: str = "next_open") -> None:
        """From the columns symbol, time, close, and open, high, low, volume where there are any.

        Raises:
            Invalid: no rows, no open where fills need it, a price that is not above 0, or a symbol twice at one time.
        """
        if not frame.height:
            raise Invalid("there are no bars in the chosen period")
        if fill == "next_open" and "open" not in frame.columns:
            raise Invalid(
                "the table has no column 'open', at which orders are filled: import it, or set fill to 'close'"
            )
        frame = _tidy(frame)
        self.symbols = tuple(frame["symbol"].unique().sort().to_list())
        codes = frame["symbol"].cast(pl.Enum(self.symbols)).to_physical().to_numpy().astype(np.int64)
        stamps = frame["time"].to_physical().to_numpy()
        first = np.concatenate([[True], stamps[1:] != stamps[:-1]])
        self.times: Ints = stamps[first]
        self.starts: Ints = np.concatenate([np.flatnonzero(first), [len(stamps)]])
        self.symbol: Ints = codes
        self.open, self.high, self.low, self.close, self.volume = (
            frame[name].to_numpy() for name in ("open", "high", "low", "close", "volume")
        )
        order = np.lexsort((np.arange(len(codes)), codes))
        bounds = np.searchsorted(codes[order], np.arange(len(self.symbols) + 1))
        self.rows_of = [order[bounds[n] : bounds[n + 1]] for n in range(len(self.symbols))]
        self.frame = frame

    def column(self, symbol: int, name: str) -> Floats:
        """A symbol's values of a column in order of time."""
        if name not in self.frame.columns or not self.frame.schema[name].is_numeric():
            numbers = ", ".join(one for one, kind in self.frame.schema.items() if kind.is_numeric())
            raise Invalid(f"the bars have no column of numbers '{name}'; they have {numbers}")
        found: Floats = self.frame[name].to_numpy()[self.rows_of[symbol]].astype(np.float64)
        return found

    def time(self, step: int) -> dt.datetime:
        """A step's time."""
        return _BEGIN + dt.timedelta(microseconds=int(self.times[step]))

    def steps(self) -> Iterator[tuple[list[Bar], list[int], list[float]]]:
        """Of each step, its bars, the numbers of their symbols, and their closes. Few are in memory at a time."""
        names, starts = self.symbols, self.starts
        for first in range(0, len(self.times), _CHUNK):
            last = min(first + _CHUNK, len(self.times))
            begin, end = int(starts[first]), int(starts[last])
            rows = slice(begin, end)
            stamps: list[dt.datetime] = self.times[first:last].astype("datetime64[us]").tolist()
            times = [one.replace(tzinfo=dt.UTC) for one in stamps]
            counts = np.diff(starts[first : last + 1]).tolist()
            codes = self.symbol[rows].tolist()
            closes = self.close[rows].tolist()
            bars = map(
                _bar,
                [names[code] for code in codes],
                itertools.chain.from_iterable(map(itertools.repeat, times, counts)),
                self.open[rows].tolist(),
                self.high[rows].tolist(),
                self.low[rows].tolist(),
                closes,
                self.volume[rows].tolist(),
            )
            at = 0
            for count in counts:
                yield list(itertools.islice(bars, count)), codes[at : at + count], closes[at : at + count]
                at += count


def _bar(*values: Any) -> Bar:
    return _new(Bar, values)


def _tidy(frame: pl.DataFrame) -> pl.DataFrame:
    missing = [one for one in ("symbol", "time", "close") if one not in frame.columns]
    if missing:
        raise Invalid(f"the table of bars has no column '{missing[0]}'")
    close = pl.col("close").cast(pl.Float64)
    have = set(frame.columns)
    opened = pl.col("open").cast(pl.Float64).fill_null(float("nan")).fill_nan(close) if "open" in have else close
    frame = frame.with_columns(
        _utc(frame), pl.col("symbol").cast(pl.String), close.alias("close"), opened.alias("open")
    )
    frame = frame.filter(pl.col("close").is_finite()).sort("time", "symbol", maintain_order=True)
    if not frame.height:
        raise Invalid("no bar in the chosen period has a close")
    body = [pl.col("open"), pl.col("close")]
    high, low = (
        pl.col(name).cast(pl.Float64).fill_nan(None) if name in have else pl.lit(None, pl.Float64)
        for name in ("high", "low")
    )
    volume = pl.col("volume").cast(pl.Float64).fill_null(0.0).fill_nan(0.0) if "volume" in have else pl.lit(math.inf)
    frame = frame.with_columns(
        pl.max_horizontal(high, *body).alias("high"),
        pl.min_horizontal(low, *body).alias("low"),
        volume.alias("volume"),
        (high.lt(pl.max_horizontal(*body)) | low.gt(pl.min_horizontal(*body))).fill_null(value=False).alias("widened"),
    )
    bad = frame.filter(pl.min_horizontal("open", "low", "close") <= 0)
    if bad.height:
        row = bad.row(0, named=True)
        price = min(row["open"], row["low"], row["close"])
        raise Invalid(f"{row['symbol']} has a price of {price:g} at {row['time']}: a backtest needs prices above 0")
    if frame.select(pl.struct("time", "symbol").is_duplicated().any()).item():
        row = frame.filter(pl.struct("time", "symbol").is_duplicated()).row(0, named=True)
        raise Invalid(f"{row['symbol']} has two bars at {row['time']}: remove one of them")
    return frame


def _utc(frame: pl.DataFrame) -> pl.Expr:
    kind = frame.schema["time"]
    if isinstance(kind, pl.Datetime) and kind.time_zone is not None:
        return pl.col("time").dt.convert_time_zone("UTC").cast(pl.Datetime("us", "UTC"))
    if kind == pl.Date or isinstance(kind, pl.Datetime):
        return pl.col("time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    raise Invalid(f"the table of bars has no times in its column 'time', but {kind}")
