"""Lines, areas, bars and candles from a source's rows."""

from __future__ import annotations

import numpy as np
import polars as pl

from quarterdeck.errors import Invalid
from quarterdeck.report import columns, reduce
from quarterdeck.report.shapes import Bars, Candles, Floats, Lines, Marks, Series
from quarterdeck.report.sources import Loaded
from quarterdeck.report.template import AreaPanel, BarPanel, CandlestickPanel, LinePanel

__all__ = ["bars", "candles", "lines", "marks"]


def lines(panel: LinePanel | AreaPanel, loaded: Loaded) -> Lines:
    """The series of a line or area panel, each reduced by itself."""
    axis, x = columns.axis(loaded, panel.fields.x)
    groups, note = columns.grouped(loaded, panel.fields.color, panel.options.limit)
    series = []
    for column in panel.fields.y:
        y = _shown(columns.numbers(loaded, column, "y"), panel.options.log)
        series += [
            _line(_name(panel, column, group), column, group, x[rows], y[rows], axis.kind != "text")
            for group, rows in groups
        ]
    series = [one for one in series if one.full]
    return Lines(rows=loaded.frame.height, note=note, x=axis, series=tuple(series), empty=_nothing(panel, series))


def _line(name: str, column: str, group: str, x: Floats, y: Floats, ordered: bool) -> Series:
    known = ~np.isnan(x)
    x, y = (x, y) if known.all() else (x[known], y[known])
    if ordered and len(x) > 1 and (np.diff(x) < 0).any():
        order = np.argsort(x, kind="stable")
        x, y = x[order], y[order]
    full = len(y) if np.isfinite(y).any() else 0
    mean = float(_mean(y))
    kept = reduce.peaks(y)
    return Series(name=name, x=x[kept], y=y[kept], full=full, mean=mean, column=column, group=group)


def _mean(y: Floats) -> float:
    known = y[np.isfinite(y)]
    if not len(known):
        return float("nan")
    with np.errstate(over="ignore"):
        mean = float(known.mean())
    return mean if np.isfinite(mean) else float(np.mean(known / len(known)) * len(known))


def _name(panel: LinePanel | AreaPanel | BarPanel, column: str, group: str) -> str:
    if not group:
        return column
    return group if len(panel.fields.y) == 1 else f"{column}, {group}"


def _shown(y: Floats, log: bool) -> Floats:
    return np.where(y > 0, y, np.nan) if log else y


def _nothing(panel: LinePanel | AreaPanel | BarPanel, series: list[Series]) -> str:
    if series:
        return ""
    names = " and ".join(f"'{column}'" for column in panel.fields.y)
    positive = " positive" if panel.options.log else ""
    return f"There are no{positive} values of {names}."


def bars(panel: BarPanel, loaded: Loaded) -> Bars:
    """The bars of a panel: values at one place and in one series are added up."""
    axis, x = columns.axis(loaded, panel.fields.x)
    groups, note = columns.grouped(loaded, panel.fields.color, panel.options.limit)
    places = np.unique(x[~np.isnan(x)])
    made: list[tuple[str, str, Floats, int]] = []
    for column in panel.fields.y:
        y = _shown(columns.numbers(loaded, column, "y"), panel.options.log)
        for group, rows in groups:
            known = rows[~np.isnan(x[rows]) & ~np.isnan(y[rows])]
            if len(known):
                at = np.searchsorted(places, x[known])
                with np.errstate(over="ignore", invalid="ignore"):
                    heights = np.bincount(at, weights=y[known], minlength=len(places)).astype(np.float64)
                heights[(np.bincount(at, minlength=len(places)) == 0) | ~np.isfinite(heights)] = np.nan
                made.append((column, group, heights, len(known)))
    width = float(np.diff(places).min()) if len(places) > 1 else 1.0
    if len(places) > reduce.MAX_POINTS and made:
        tallest = np.nansum([np.abs(heights) / len(made) for _, _, heights, _ in made], axis=0)
        size = -(-len(places) // reduce.MAX_POINTS)
        kept = np.array(
            [start + int(tallest[start : start + size].argmax()) for start in range(0, len(places), size)], np.int64
        )
        note = "; ".join(part for part in (note, f"the tallest {len(kept):,} of {len(places):,} bars") if part)
        places = places[kept]
        made = [(column, group, heights[kept], full) for column, group, heights, full in made]
        width *= size
    series = [
        Series(
            name=_name(panel, column, group),
            x=places,
            y=heights,
            full=full,
            mean=_mean(heights),
            column=column,
            group=group,
        )
        for column, group, heights, full in made
    ]
    return Bars(
        rows=loaded.frame.height,
        note=note,
        x=axis,
        series=tuple(series),
        width=width,
        empty=_nothing(panel, series),
    )


def candles(panel: CandlestickPanel, loaded: Loaded, signals: Loaded | None) -> Candles:
    """The bars of prices of one symbol, and the signals on them."""
    fields = panel.fields
    if "symbol" in loaded.frame.columns and (count := loaded.column("symbol").n_unique()) > 1:
        raise Invalid(f"a price chart is of one symbol, and the rows are of {count:,}: let a symbol be chosen")
    time = columns.times(loaded, fields.time, "time")
    names = (fields.open, fields.high, fields.low, fields.close)
    prices = [columns.numbers(loaded, name, "a price") for name in names]
    volume = columns.numbers(loaded, fields.volume, "volume") if fields.volume in loaded.frame.columns else None
    known = ~np.isnan(time)
    for one in prices:
        known &= ~np.isnan(_shown(one, panel.options.log))
    order = np.flatnonzero(known)
    order = order[np.argsort(time[order], kind="stable")]
    if not len(order):
        return Candles(rows=loaded.frame.height, empty="There are no rows with all four prices.")
    left_out = len(known) - len(order)
    rows = "1 row" if left_out == 1 else f"{left_out:,} rows"
    notes = [f"{rows} without all four prices left out"] if left_out else []
    width = np.diff(time[order])
    at, merged, summed, size = reduce.bars_of(
        time[order],
        (prices[0][order], prices[1][order], prices[2][order], prices[3][order]),
        None if volume is None else volume[order],
    )
    if size > 1:
        notes.append(f"each bar is {size:,} bars of the table")
    positive = width[width > 0]
    found = () if signals is None else marks(signals)
    if any(len(one.time) == reduce.MAX_POINTS for one in found):
        notes.append(f"at most {reduce.MAX_POINTS:,} signals of a kind are drawn")
    return Candles(
        rows=len(order),
        note="; ".join(notes),
        time=at,
        open=merged[0],
        high=merged[1],
        low=merged[2],
        close=merged[3],
        volume=summed,
        bars=size,
        width=float(np.median(positive)) * size if len(positive) else 86_400.0,
        signals=found,
    )


def marks(loaded: Loaded) -> tuple[Marks, ...]:
    """Signals by kind: columns time, kind, price, and size if there is one."""
    time = columns.times(loaded, "time", "a signal's time")
    price = columns.numbers(loaded, "price", "a signal's price")
    size = columns.numbers(loaded, "size", "a signal's size") if "size" in loaded.frame.columns else None
    kinds = loaded.column("kind").cast(pl.String)
    found = []
    for kind in sorted(kinds.drop_nulls().unique()):
        rows = np.flatnonzero((kinds == kind).fill_null(False).to_numpy() & ~np.isnan(time))
        rows = rows[np.argsort(time[rows], kind="stable")]
        rows = rows[reduce.evenly(len(rows), reduce.MAX_POINTS)]
        sizes = np.full(len(rows), np.nan) if size is None else size[rows]
        found.append(Marks(kind=kind, time=time[rows], price=price[rows], size=sizes))
    return tuple(found)
