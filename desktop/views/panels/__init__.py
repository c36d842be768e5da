"""Panels of reports: one drawing for each type of panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from desktop.views.panels.candles import CandleChart
from desktop.views.panels.cells import NumberTile, Pie, Table
from desktop.views.panels.drawing import Drawing, Entry, Pick, Reading, State
from desktop.views.panels.grid import HeatMap
from desktop.views.panels.ink import Ink, on_paper, on_screen
from desktop.views.panels.series import BarChart, LineChart
from desktop.views.panels.spread import BoxChart, Histogram, ParallelChart, Scatter

__all__ = ["PANELS", "Drawing", "Entry", "Ink", "Pick", "Reading", "State", "draw", "on_paper", "on_screen"]

PANELS: dict[str, Callable[[Any, Any, Ink], Drawing]] = {
    "line": LineChart,
    "area": LineChart,
    "bar": BarChart,
    "scatter": Scatter,
    "histogram": Histogram,
    "heatmap": HeatMap,
    "box": BoxChart,
    "pie": Pie,
    "candlestick": CandleChart,
    "table": Table,
    "number": NumberTile,
    "parallel": ParallelChart,
    "correlation": HeatMap,
}
"""Type of panel to its drawing."""


def draw(panel: Any, data: Any, ink: Ink) -> Drawing:
    """The drawing of a panel that has something to draw (`data.said` is empty)."""
    return PANELS[panel.type](panel, data, ink)
