"""Which shape each type of panel draws, and what it reads for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl

from quarterdeck.report import columns, series, spread
from quarterdeck.report.shapes import (
    Bars,
    Bins,
    Boxes,
    Candles,
    Grid,
    Lines,
    Number,
    PanelData,
    Parallel,
    Points,
    Rows,
    Slices,
)
from quarterdeck.report.sources import Columns, Loaded
from quarterdeck.report.template import CandlestickPanel, CorrelationPanel, NumberPanel, ScatterPanel

__all__ = ["SHAPES", "columns_read", "drawn"]

SHAPES: Mapping[str, type[PanelData]] = {
    "line": Lines,
    "area": Lines,
    "bar": Bars,
    "scatter": Points,
    "histogram": Bins,
    "heatmap": Grid,
    "box": Boxes,
    "pie": Slices,
    "candlestick": Candles,
    "table": Rows,
    "number": Number,
    "parallel": Parallel,
    "correlation": Grid,
}
"""The shape that each type of panel draws."""

_DRAWN: Mapping[str, Callable[[Any, Loaded], PanelData]] = {
    "line": series.lines,
    "area": series.lines,
    "bar": series.bars,
    "scatter": spread.points,
    "histogram": spread.bins,
    "heatmap": spread.grid,
    "box": spread.boxes,
    "pie": spread.slices,
    "parallel": spread.parallel,
    "correlation": spread.correlation,
}


def columns_read(panel: Any, named: frozenset[str]) -> dict[str, Columns]:
    """The columns that a chart reads of each of its sources; `named` are those that its fields name."""
    if isinstance(panel, CorrelationPanel) and not panel.fields.columns:
        return {panel.source: None}
    if isinstance(panel, ScatterPanel):
        return {panel.source: named | {"time", "symbol"}}
    if isinstance(panel, CandlestickPanel):
        found: dict[str, Columns] = {panel.source: named | {"symbol"}}
        if panel.options.signals is not None:
            marks = frozenset(("time", "kind", "price", "size"))
            same = found.get(panel.options.signals, frozenset())
            found[panel.options.signals] = marks | (same or frozenset())
        return found
    return {panel.source: named}


def drawn(panel: Any, loaded: Loaded, signals: Loaded | None) -> PanelData:
    """What a chart draws of its source's rows. Raises `Invalid` where they are of the wrong type."""
    if isinstance(panel, CandlestickPanel):
        made: PanelData = series.candles(panel, loaded, signals)
    elif isinstance(panel, NumberPanel):
        made = _number(panel, loaded)
    else:
        made = _DRAWN[panel.type](panel, loaded)
    notes = [made.note, loaded.note, "" if signals is None else signals.note]
    return dataclasses.replace(made, note="; ".join(dict.fromkeys(note for note in notes if note)))


def _number(panel: NumberPanel, loaded: Loaded) -> Number:
    options = panel.options
    column = loaded.column(panel.fields.value)
    value = column[0]
    if column.dtype != pl.Float64:
        text = None if value is None else columns.label(value)
        return Number(rows=loaded.frame.height, value=text, text=columns.written(text, options.format))
    good = None
    if value and options.good != "none":
        good = (value > 0) == (options.good == "high")
    text = columns.written(value, options.format, options.digits, options.unit)
    return Number(rows=loaded.frame.height, value=value, text=text, good=good)
