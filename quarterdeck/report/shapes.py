"""What a panel draws: small arrays, reduced from tables of any length. Frozen; no I/O.

Times are seconds since 1970 UTC as float64. A column of texts becomes whole numbers from 0, the texts being in `labels`
in order. Gaps are NaN. Nothing is infinite.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = [
    "Axis",
    "AxisKind",
    "Bars",
    "Bins",
    "Boxes",
    "Candles",
    "Floats",
    "Grid",
    "Group",
    "Lines",
    "Marks",
    "Number",
    "PanelData",
    "Parallel",
    "Points",
    "Report",
    "Rows",
    "Series",
    "Slices",
]

Floats = npt.NDArray[np.float64]
AxisKind = Literal["number", "time", "text"]


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Axis:
    """What an array holds: the column's name, its kind, and for texts their list (values are indexes into it)."""

    name: str = ""
    kind: AxisKind = "number"
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class PanelData:
    """What is common to all panels. With `problem`, `waiting` or `empty` (at most one is set) there is nothing to draw.

    `rows`: the rows that the drawing stands for. `note`: what the drawing leaves out, as "5 of 300 symbols", else
    empty. `problem`: a sentence on what is wrong with the panel's columns. `waiting`: the titles' sentence on the
    choices that are still to be made ("choose a symbol"). `empty`: a sentence on why there is nothing.
    """

    rows: int = 0
    note: str = ""
    problem: str = ""
    waiting: str = ""
    empty: str = ""

    @property
    def said(self) -> str:
        """The sentence to show in the panel's place, if there is nothing to draw."""
        return self.problem or self.waiting or self.empty


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Series:
    """One line, area or row of bars. x ascending for lines and areas whose x are numbers or times; shapes (n,).

    At most 4,000 points, reduced so that the lowest and highest value of each stretch stay. `full`: points before that.
    `mean`: over all of them (NaN if there is none).
    """

    name: str
    x: Floats
    y: Floats
    full: int
    mean: float
    column: str = ""
    group: str = ""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Lines(PanelData):
    """A line or area panel."""

    x: Axis = field(default_factory=Axis)
    series: tuple[Series, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Bars(PanelData):
    """A bar panel. All series share the places of x, which are sorted and distinct; `width` is the room of one place,
    in x's unit (the smallest distance between two; 1 for texts)."""

    x: Axis = field(default_factory=Axis)
    series: tuple[Series, ...] = ()
    width: float = 1.0


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Points(PanelData):
    """A scatter panel: arrays of shape (n,), n at most 4,000, thinned so that each place that had points keeps one.

    `color` and `size` are None where the panel has none; `size` is from 0 to 1 by the values' range. `time` and
    `symbol` are those of the points where the source has such columns, for selections. `trend`: slope and
    intercept over all rows, by least squares.
    """

    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    at_x: Floats = field(default_factory=lambda: np.empty(0))
    at_y: Floats = field(default_factory=lambda: np.empty(0))
    color_axis: Axis | None = None
    color: Floats | None = None
    size_axis: Axis | None = None
    size: Floats | None = None
    time: Floats | None = None
    symbol: tuple[str, ...] | None = None
    trend: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Group:
    """One histogram of a panel: its name and the counts in the bins, shape (bins,); the mean of its values."""

    name: str
    counts: Floats
    mean: float


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Bins(PanelData):
    """A histogram panel: `edges` of shape (bins + 1,), ascending; a value on an edge is in the bin above it (the last
    edge: below)."""

    x: Axis = field(default_factory=Axis)
    edges: Floats = field(default_factory=lambda: np.empty(0))
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Grid(PanelData):
    """A heat map or correlation: `values` of shape (len(y_labels), len(x_labels)), NaN where there is none.

    The first row of values belongs to the first label of y, which is drawn at the top. Labels of times and numbers are
    ascending. At most 400 by 400; longer axes are cut into stretches, whose labels name their beginnings.
    """

    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    x_labels: tuple[str, ...] = ()
    y_labels: tuple[str, ...] = ()
    values: Floats = field(default_factory=lambda: np.empty((0, 0)))
    low: float = 0.0
    high: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Boxes(PanelData):
    """A box panel: arrays of shape (n,) for n labels. Quartiles are interpolated linearly; the whiskers end at the last
    value within 1.5 times the interquartile range. `outliers`: an array for each box, at most 100, the farthest."""

    x: Axis = field(default_factory=Axis)
    y: Axis = field(default_factory=Axis)
    labels: tuple[str, ...] = ()
    low: Floats = field(default_factory=lambda: np.empty(0))
    first: Floats = field(default_factory=lambda: np.empty(0))
    median: Floats = field(default_factory=lambda: np.empty(0))
    third: Floats = field(default_factory=lambda: np.empty(0))
    high: Floats = field(default_factory=lambda: np.empty(0))
    mean: Floats = field(default_factory=lambda: np.empty(0))
    counts: Floats = field(default_factory=lambda: np.empty(0))
    outliers: tuple[Floats, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Slices(PanelData):
    """A pie panel: positive values by label, the largest first, "other" last."""

    labels: tuple[str, ...] = ()
    values: Floats = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Marks:
    """Signals of one kind (buy, sell, ...) on a price chart; shapes (n,). `size` is NaN where there is none."""

    kind: str
    time: Floats
    price: Floats
    size: Floats


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Candles(PanelData):
    """A candlestick panel: arrays of shape (n,), times ascending. With more than 4,000 bars several become one (first
    open, highest high, lowest low, last close, summed volume, the first's time): `bars` of them."""

    time: Floats = field(default_factory=lambda: np.empty(0))
    open: Floats = field(default_factory=lambda: np.empty(0))
    high: Floats = field(default_factory=lambda: np.empty(0))
    low: Floats = field(default_factory=lambda: np.empty(0))
    close: Floats = field(default_factory=lambda: np.empty(0))
    volume: Floats | None = None
    bars: int = 1
    width: float = 1.0
    signals: tuple[Marks, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Rows(PanelData):
    """A table panel: `columns` (name, kind) in order, `first` the first page, of `rows` rows in all.

    Further pages: `Frames.page(panel, offset, limit)`.
    """

    columns: tuple[tuple[str, str], ...] = ()
    first: pa.Table = None


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Number(PanelData):
    """A single number: its value (a float, a text, or None) and how it is written; `good` if that can be said."""

    value: float | str | None = None
    text: str = ""
    good: bool | None = None


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Parallel(PanelData):
    """Parallel coordinates: `values` of shape (rows, axes), at most 2,000 rows; `color` of shape (rows,)."""

    axes: tuple[Axis, ...] = ()
    values: Floats = field(default_factory=lambda: np.empty((0, 0)))
    color_axis: Axis | None = None
    color: Floats | None = None


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Report:
    """What was read of a template: the data of each panel by its id, and the values picked for each choice."""

    panels: dict[str, PanelData]
    choices: dict[str, tuple[Any, ...]]
