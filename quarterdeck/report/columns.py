"""Columns of a source as arrays, and values as text."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import polars as pl

from quarterdeck.errors import Invalid
from quarterdeck.report.reduce import Indices
from quarterdeck.report.shapes import Axis, Floats
from quarterdeck.report.sources import Loaded

__all__ = ["axis", "grouped", "label", "labels", "numbers", "plural", "texts", "times", "written"]


def numbers(loaded: Loaded, name: str, role: str) -> Floats:
    """A column of numbers (or of true and false as 1 and 0); NaN where there is none. Raises `Invalid`."""
    column = loaded.column(name)
    if column.dtype == pl.Boolean:
        column = column.cast(pl.Float64)
    if column.dtype != pl.Float64:
        raise Invalid(f"{role} needs a column of numbers, and '{name}' of {loaded.name} holds {_kind(column.dtype)}")
    return column.to_numpy().astype(np.float64, copy=False)


def times(loaded: Loaded, name: str, role: str) -> Floats:
    """A column of times as seconds since 1970 UTC. Raises `Invalid`."""
    column = loaded.column(name)
    if not isinstance(column.dtype, pl.Datetime):
        raise Invalid(f"{role} needs a column of times, and '{name}' of {loaded.name} holds {_kind(column.dtype)}")
    return _seconds(column)


def axis(loaded: Loaded, name: str, *, ordered: bool = False) -> tuple[Axis, Floats]:
    """Any column as an axis and values on it: texts (and true or false) in order of appearance, or sorted."""
    column = loaded.column(name)
    if column.dtype == pl.Float64:
        return Axis(name=name), column.to_numpy().astype(np.float64, copy=False)
    if isinstance(column.dtype, pl.Datetime):
        return Axis(name=name, kind="time"), _seconds(column)
    column = column.cast(pl.String)
    found = column.drop_nulls().unique(maintain_order=not ordered)
    if ordered:
        found = found.sort()
    places = column.replace_strict(found, pl.int_range(len(found), eager=True).cast(pl.Float64), default=None)
    return Axis(name=name, kind="text", labels=tuple(found)), places.cast(pl.Float64).to_numpy()


def texts(loaded: Loaded, name: str) -> pl.Series:
    """Any column as labels; null where there is no value."""
    return labels(loaded.column(name))


def labels(column: pl.Series) -> pl.Series:
    """Values of a plain column as labels: whole numbers without a point, days without a clock."""
    if column.dtype == pl.Float64:
        distinct = column.unique()
        names = pl.Series([None if one is None else label(one) for one in distinct], dtype=pl.String)
        return column.replace_strict(distinct, names, default=None, return_dtype=pl.String)
    if isinstance(column.dtype, pl.Datetime):
        clock = bool((column.dt.truncate("1d") != column).any())
        seconds = clock and bool((column.dt.truncate("1m") != column).any())
        return column.dt.strftime("%Y-%m-%d" + " %H:%M" * clock + ":%S" * seconds)
    return column.cast(pl.String)


def label(value: Any) -> str:
    """A value as a label."""
    if isinstance(value, float):
        return f"{value:.0f}" if value == round(value) and abs(value) < 1e15 else f"{value:.6g}"
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%d" if value.time() == dt.time() else "%Y-%m-%d %H:%M:%S")
    return str(value)


def grouped(loaded: Loaded, name: str | None, limit: int) -> tuple[list[tuple[str, Indices]], str]:
    """The values of a column that splits a panel, in order, at most `limit`: each one's label and rows; and a note on
    how many there are. Without a column: all rows under no name."""
    if name is None:
        return [("", np.arange(loaded.frame.height))], ""
    column = loaded.column(name)
    distinct = column.drop_nulls().unique().sort()
    shown = distinct.head(limit)
    names = labels(shown)
    note = f"{limit} of {len(distinct):,} {plural(name)}" if len(distinct) > limit else ""
    codes = column.replace_strict(shown, pl.int_range(len(shown), eager=True), default=-1, return_dtype=pl.Int16)
    places = codes.to_numpy()
    order = np.argsort(places, kind="stable")
    bounds = np.searchsorted(places[order], np.arange(len(shown) + 1))
    return [(one, order[bounds[place] : bounds[place + 1]]) for place, one in enumerate(names)], note


def plural(name: str) -> str:
    """A column's name as what several of its values are called."""
    if name.endswith("y") and len(name) > 1 and name[-2] not in "aeiou":
        return name[:-1] + "ies"
    return name if name.endswith("s") else name + "s"


def written(value: float | str | None, how: str, digits: int | None = None, unit: str = "") -> str:
    """A value as text by a format of `template.Format`; a dash where there is none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "–"
    if isinstance(value, str):
        return value
    match how:
        case "integer":
            text = f"{value:,.{digits or 0}f}"
        case "percent":
            text = f"{value:,.{2 if digits is None else digits}%}"
        case "scientific":
            text = f"{value:.{3 if digits is None else digits}e}"
        case _:
            text = f"{value:,.{digits}f}" if digits is not None else _short(value)
    return f"{text} {unit}".strip().replace("-", "−", 1) if text.startswith("-") else f"{text} {unit}".strip()


def _short(value: float) -> str:
    """Four significant digits, or all of the whole part."""
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.3e}"
    if value == round(value):
        return f"{value:,.0f}"
    places = 4 if size == 0 else max(0, 3 - math.floor(math.log10(size)))
    return f"{value:,.{places}f}"


def _seconds(column: pl.Series) -> Floats:
    micros = column.dt.epoch("us")
    return (micros.cast(pl.Float64) / 1e6).to_numpy().astype(np.float64, copy=False)


def _kind(dtype: pl.DataType) -> str:
    if dtype == pl.String:
        return "texts"
    if dtype == pl.Boolean:
        return "true and false"
    return "times" if isinstance(dtype, pl.Datetime) else "numbers"
