"""Factors as Python code: a function from a frame to a frame.

    def factor(frame):                       # pandas; annotate `frame: pl.DataFrame` to get Polars
        close = frame.pivot(index="time", columns="symbol", values="close")
        return close.pct_change(20)

The source defines one function, or several of which one is called `factor`; `pd`, `pl` and `np` need no import.
It gets the market data as a frame sorted by time then symbol and returns one of

- a frame with the columns time, symbol and value, pandas or Polars;
- a frame of times by symbols: pandas with the times as index, Polars with a column time;
- a pandas Series with the index (time, symbol), or a Series with one value for each row it was given.

The code is run as it is: only a process without credentials may call `evaluate_code`.
"""

from __future__ import annotations

import ast
from typing import Any, Literal

import numpy as np
import pandas as pd
import polars as pl

from quarterdeck.quant.factor import FactorValues, by_symbol, factor_values
from quarterdeck.quant.user_code import CodeError, UserCode, first_line

__all__ = ["FactorCodeError", "check_code", "evaluate_code", "values_of_code"]

POLARS_NAMES = frozenset({"pl.DataFrame", "polars.DataFrame"})
LAZY_NAMES = frozenset({"pl.LazyFrame", "polars.LazyFrame"})
PANDAS_NAMES = frozenset({"pd.DataFrame", "pandas.DataFrame", "DataFrame"})

Takes = Literal["pandas", "polars", "lazy"]


FactorCodeError = CodeError
_CODE = UserCode("factor code", "define a function factor(frame) that returns a frame")


def check_code(source: str) -> str:
    """Check, without running it, that `source` is Python and defines the factor's function; gives that function's name.

    Raises `FactorCodeError` with one sentence that names the line.
    """
    return _function(source)[0].name


def evaluate_code(source: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Run `source` on `frame` (symbol, time and more columns): time, symbol, value, sorted by time then symbol.

    Raises `FactorCodeError` when the code fails, with the traceback of its own lines, and also when what it returns is
    no factor; `Invalid` when the frame can't be used.
    """
    return values_of_code(source, frame).frame


def values_of_code(source: str, frame: pl.DataFrame) -> FactorValues:
    """Like `evaluate_code`, and says how many rows had no value."""
    function, takes = _function(source)
    ordered = by_symbol(frame, "the table").sort("time", "symbol").with_columns(pl.col("symbol").cast(pl.String))
    returned = _run(source, function.name, takes, ordered)
    table = _table(returned, ordered, function.name)
    known = set(ordered["symbol"].unique())
    strangers = [symbol for symbol in table["symbol"].unique().drop_nulls() if symbol not in known]
    if strangers:
        raise _wrong(
            function.name, f"the symbol '{min(strangers)}', which the table does not have", "return its own symbols"
        )
    return factor_values(by_symbol(table, f"what {function.name} returned"))


def _wrong(name: str, what: str, cure: str) -> FactorCodeError:
    return FactorCodeError(f"{name} returned {what}; {cure}")


def _function(source: str) -> tuple[ast.FunctionDef, Takes]:
    """The function that computes the factor, and the frame that it takes."""
    tree = _CODE.tree(source)
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    chosen = [node for node in found if node.name == "factor"][-1:] or found
    if not chosen:
        raise FactorCodeError("the code defines no function; define factor(frame) that returns a frame")
    if len(chosen) > 1:
        names = ", ".join(node.name for node in chosen)
        raise FactorCodeError(f"the code defines several functions ({names}); call the one to use factor")
    function = chosen[0]
    if isinstance(function, ast.AsyncFunctionDef):
        raise FactorCodeError(
            f"factor code, line {function.lineno}: {function.name} is async; define it with def alone",
            line=function.lineno,
        )
    arguments = function.args
    places = [*arguments.posonlyargs, *arguments.args]
    needed = len(places) - len(arguments.defaults)
    strict = any(default is None for default in arguments.kw_defaults)
    if strict or needed > 1 or (not places and arguments.vararg is None):
        raise FactorCodeError(
            f"factor code, line {function.lineno}: {function.name} must take one argument, the frame of market data",
            line=function.lineno,
        )
    return function, _takes(function, tree)


def _takes(function: ast.FunctionDef, tree: ast.Module) -> Takes:
    arguments = [*function.args.posonlyargs, *function.args.args]
    annotation = arguments[0].annotation if arguments else None
    if annotation is None:
        return "pandas"
    text = str(annotation.value) if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    imported = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "polars"]
    if any(name.name == text and name.asname is None for node in imported for name in node.names):
        text = f"polars.{text}"
    if text in POLARS_NAMES:
        return "polars"
    if text in LAZY_NAMES:
        return "lazy"
    if text in PANDAS_NAMES:
        return "pandas"
    raise FactorCodeError(
        f"factor code, line {function.lineno}: {function.name} takes {text}; annotate pd.DataFrame or pl.DataFrame",
        line=function.lineno,
    )


def _run(source: str, name: str, takes: Takes, ordered: pl.DataFrame) -> Any:
    given: Any = ordered
    match takes:
        case "pandas":
            given = ordered.to_pandas()
        case "lazy":
            given = ordered.lazy()
    with _CODE.running(source, pd=pd, pl=pl, np=np) as module:
        returned = vars(module)[name](given)
        return returned.collect() if isinstance(returned, pl.LazyFrame) else returned


def _table(returned: Any, ordered: pl.DataFrame, name: str) -> pl.DataFrame:
    """What the code returned as (time, symbol, value) with the table's own type of time."""
    if isinstance(returned, pd.Series | pd.DataFrame):
        returned = _from_pandas(returned, ordered, name)
    elif isinstance(returned, pl.Series):
        if len(returned) != ordered.height:
            raise _wrong(
                name, f"{len(returned)} values for {ordered.height} rows", "return one for each row of the frame"
            )
        returned = ordered.select("time", "symbol").with_columns(returned.alias("value"))
    if returned is None:
        raise _wrong(name, "nothing", "end it with a return")
    if not isinstance(returned, pl.DataFrame):
        raise _wrong(name, f"{type(returned).__name__}", "return a frame with the columns time, symbol and value")
    long = _long(returned, ordered, name)
    return long.select(
        _time(long["time"], ordered.schema["time"], name),
        _symbol(long["symbol"], name),
        _value(long["value"], name),
    )


def _from_pandas(returned: pd.Series[Any] | pd.DataFrame, ordered: pl.DataFrame, name: str) -> pl.DataFrame:
    if isinstance(returned, pd.Series) and _grouped(returned.index):
        returned = returned.droplevel(list(range(returned.index.nlevels - 1)))
    plain = isinstance(returned.index, pd.RangeIndex) or not (
        isinstance(returned.index, pd.MultiIndex | pd.DatetimeIndex) or returned.index.name is not None
    )
    if isinstance(returned, pd.Series):
        if isinstance(returned.index, pd.MultiIndex):
            frame = returned.rename("value").to_frame()
        elif plain and len(returned) == ordered.height:
            # by its index: a groupby gives the rows in another order than it got
            values = returned.sort_index()
            if list(values.index) != list(range(ordered.height)):
                raise _wrong(name, "a Series with an index of its own", "keep the frame's index or use (time, symbol)")
            return ordered.select("time", "symbol").with_columns(_polars(values.rename("value").to_frame(), name))
        else:
            raise _wrong(
                name,
                f"a Series of {len(returned)} values for {ordered.height} rows",
                "return one for each row of the frame, or with the index (time, symbol)",
            )
    else:
        frame = returned
    if isinstance(frame.index, pd.MultiIndex):
        frame = frame.copy(deep=False)
        if frame.index.nlevels != 2:
            raise _wrong(name, f"an index of {frame.index.nlevels} levels", "use the index (time, symbol)")
        if set(frame.index.names) != {"time", "symbol"}:
            dated = pd.api.types.is_datetime64_any_dtype(frame.index.get_level_values(1).dtype)
            frame.index = frame.index.set_names(["symbol", "time"] if dated else ["time", "symbol"])
        frame = frame.reset_index()
    elif "time" not in frame.columns:
        if plain:
            raise _wrong(
                name, "a frame without times", "return the columns time, symbol and value, or times as the index"
            )
        frame = frame.rename_axis(index="time", columns=None).reset_index()
    frame.columns = pd.Index([str(column) for column in frame.columns])
    return _polars(frame, name)


def _grouped(index: pd.Index[Any]) -> bool:
    """Is it the index that rolling and apply of a pandas groupby give: the group, then the row?"""
    if not isinstance(index, pd.MultiIndex) or "time" in index.names:
        return False
    return pd.api.types.is_integer_dtype(index.get_level_values(-1).dtype)


def _polars(frame: pd.DataFrame, name: str) -> pl.DataFrame:
    if frame.columns.has_duplicates:
        raise _wrong(name, "a frame with a column twice", "give each column its own name")
    try:
        return pl.from_pandas(frame)
    except Exception as error:
        raise _wrong(name, f"a frame that can't be read ({first_line(error)})", "return one type a column") from None


def _long(frame: pl.DataFrame, ordered: pl.DataFrame, name: str) -> pl.DataFrame:
    if "time" not in frame.columns:
        raise _wrong(name, "a frame without the column time", "return the columns time, symbol and value")
    if "symbol" in frame.columns:
        values = [column for column in frame.columns if column not in ("time", "symbol")]
        if "value" in values:
            return frame
        if len(values) != 1:
            raise _wrong(
                name, f"{len(values)} columns of values and none called value", "return time, symbol and value"
            )
        return frame.rename({values[0]: "value"})
    symbols = set(ordered["symbol"].unique())
    wide = [column for column in frame.columns if column != "time"]
    if not symbols.intersection(wide):
        raise _wrong(name, "a frame without symbols", "return time, symbol and value, or a column for each symbol")
    numbers = [pl.col("time"), *(_value(frame[column], name).alias(column) for column in wide)]
    return frame.select(numbers).unpivot(index="time", variable_name="symbol", value_name="value")


def _time(times: pl.Series, wanted: pl.DataType, name: str) -> pl.Series:
    try:
        if isinstance(wanted, pl.Datetime):
            if times.dtype == pl.Date or (isinstance(times.dtype, pl.Datetime) and times.dtype.time_zone is None):
                # a time without a zone is one of the table's
                return times.cast(pl.Datetime(wanted.time_unit)).dt.replace_time_zone(wanted.time_zone).alias("time")
            if isinstance(times.dtype, pl.Datetime) and wanted.time_zone is None:
                times = times.dt.replace_time_zone(None)
        elif wanted == pl.Date and isinstance(times.dtype, pl.Datetime):
            return times.dt.date().alias("time")
        if times.dtype.is_temporal() == wanted.is_temporal():
            return times.cast(wanted).alias("time")
    except pl.exceptions.PolarsError:
        pass
    raise _wrong(name, f"times of type {times.dtype}", f"return them as in the frame, {wanted}")


def _symbol(symbols: pl.Series, name: str) -> pl.Series:
    if symbols.dtype in (pl.String, pl.Categorical, pl.Enum) or symbols.dtype.is_integer():
        return symbols.cast(pl.String).alias("symbol")
    raise _wrong(name, f"symbols of type {symbols.dtype}", "return texts")


def _value(values: pl.Series, name: str) -> pl.Series:
    if values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Null):
        return values.cast(pl.Float64).alias("value")
    raise _wrong(name, f"values of type {values.dtype}", "return numbers")
