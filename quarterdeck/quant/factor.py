"""Values of a factor: one number for a symbol at a time, as every way of computing a factor gives them."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from quarterdeck.errors import Invalid

__all__ = ["FactorValues", "by_symbol", "factor_values"]


@dataclass(frozen=True, slots=True)
class FactorValues:
    """A factor's values, and how many rows had none.

    `frame`: time (as in the source), symbol (String), value (Float64, finite), sorted by time then symbol.
    `dropped`: rows left out because their value was null, NaN or infinite.
    """

    frame: pl.DataFrame
    dropped: int


def by_symbol(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """`frame` sorted by symbol then time, which no two rows share and no row lacks; symbol is an Enum in order of name.

    `what` names the frame in the error, "the table" for instance. Raises `Invalid`.
    """
    for name in ("time", "symbol"):
        if name not in frame.columns:
            raise Invalid(f"{what} has no column '{name}'; a factor needs the columns time and symbol")
        missing = frame[name].null_count()
        if missing:
            raise Invalid(f"{what} has {missing} rows without a {name}; remove them or give them one")
    if not (frame.schema["time"].is_temporal() or frame.schema["time"].is_integer()):
        raise Invalid(f"the time of {what} is {frame.schema['time']} and no time; convert it")
    if not (frame.schema["symbol"] in (pl.String, pl.Categorical, pl.Enum) or frame.schema["symbol"].is_integer()):
        raise Invalid(f"the symbol of {what} is {frame.schema['symbol']} and not text; convert it")
    symbols = frame["symbol"].cast(pl.String)
    # two stable sorts by one column each take half the time of one by both
    names = pl.Enum(symbols.unique().sort())
    ordered = frame.with_columns(symbols.cast(names)).sort("time").sort("symbol", maintain_order=True)
    again = (pl.col("symbol") == pl.col("symbol").shift()) & (pl.col("time") == pl.col("time").shift())
    twice = ordered.filter(again)
    if twice.height:
        first = twice.row(0, named=True)
        raise Invalid(
            f"{what} has more than one row of symbol '{first['symbol']}' at {first['time']}; "
            "a factor needs one row a symbol and time"
        )
    return ordered


def factor_values(frame: pl.DataFrame) -> FactorValues:
    """Keep the rows of (time, symbol, value), in the order of `by_symbol`, whose value is a finite number."""
    kept = frame.filter(pl.col("value").is_finite()).sort("time", maintain_order=True)
    return FactorValues(kept.with_columns(pl.col("symbol").cast(pl.String)), frame.height - kept.height)
