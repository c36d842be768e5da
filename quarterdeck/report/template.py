"""The document of a report: sources, choices, panels, their places and links (V1 to V3).

A source works on its rows in this order: choices and selections, `where`, `derive`, `group` with `aggregate`, `sort`,
`limit`. Formulas are those of `report.formula`. `check` finds what a document alone can tell; what depends on the data
is said at each panel when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = [
    "PANELS",
    "VERSION",
    "Aggregate",
    "AreaPanel",
    "BarPanel",
    "BoxPanel",
    "CandlestickPanel",
    "Choice",
    "CorrelationPanel",
    "Format",
    "HeatmapPanel",
    "HistogramPanel",
    "LinePanel",
    "Link",
    "Links",
    "NumberPanel",
    "Panel",
    "ParallelPanel",
    "PiePanel",
    "Place",
    "ScatterPanel",
    "Source",
    "TablePanel",
    "Template",
]

VERSION = 1
"""The version of the document's form that this version of Quarterdeck reads and writes."""

Aggregate = Literal["mean", "sum", "count", "min", "max", "std", "median", "first", "last", "unique"]
Format = Literal["number", "integer", "percent", "scientific"]
Link = Literal["time", "symbol", "row"]
Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
Column = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Label = Annotated[str, StringConstraints(max_length=200)]
Formula = Annotated[str, StringConstraints(max_length=2_000)]
Columns = Annotated[list[Column], Field(max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Source(_Part):
    """Rows to draw. Exactly one of `table`, `dataset` and `source` says where they come from."""

    table: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
    """A result table of the job: of all its tasks one after the other, or of the task that the report is of."""
    dataset: Annotated[str, StringConstraints(min_length=1, max_length=130)] | None = None
    """An imported table by its name; `${params.NAME}` takes the name from the job's parameters."""
    source: Identifier | None = None
    """Another source of this document, whose rows are worked on further."""
    job: Annotated[int, Field(ge=1)] | None = None
    """With `table`: another job than the one that the report is of."""
    task: Annotated[int, Field(ge=0)] | None = None
    """With `table`: one task by its number, from 0."""
    columns: Columns | None = None
    """The columns to read; without it, those that are needed. `task` is the task's name where the table has none."""
    where: Formula = ""
    """A condition that the rows must fulfil, by the columns that are read."""
    derive: Annotated[dict[Column, Formula], Field(max_length=50)] = {}
    """New columns by name, each a formula over the columns and each other."""
    group: Columns = []
    """Rows with equal values in these columns become one row."""
    aggregate: Annotated[dict[Column, Aggregate], Field(max_length=100)] = {}
    """What becomes of the other columns; without `group`, all rows become one."""
    sort: Columns = []
    """Columns to sort by, each descending where a `-` stands before it."""
    limit: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """The first rows only, after sorting."""
    choices: Annotated[list[Identifier], Field(max_length=10)] = []
    """The choices whose values these rows must have."""


class Choice(_Part):
    """What a person picks above the report: values of a column. Nothing that needs a required one is read before."""

    name: Identifier
    title: Label = ""
    source: Identifier
    """Whose column offers the values: a source that itself has no choices."""
    column: Column
    required: bool = True
    """If not, no value means all rows."""
    beyond: Annotated[int, Field(ge=0)] | None = None
    """Required, and with an initial value, only where the source has more rows than this; else all rows are shown. Of
    several such choices over one source each begins with a value that goes with those before it; a selected span of
    times takes the place of what nobody picked."""
    day: bool = False
    """Of a column of times: whole days (in UTC) are picked."""
    multiple: bool = False
    initial: Literal["none", "first", "last"] = "none"
    """What is picked at first."""
    count: Annotated[int, Field(ge=1, le=50)] = 1
    """How many of them `initial` picks, where several may be."""


class Place(_Part):
    """Where a panel is: a section (a heading; sections come in the order of the panels) and a grid of 12 columns."""

    section: Label = ""
    row: Annotated[int, Field(ge=0, le=999)]
    column: Annotated[int, Field(ge=0, le=11)] = 0
    width: Annotated[int, Field(ge=1, le=12)] = 12
    height: Annotated[int, Field(ge=1, le=24)] = 4
    """In rows of the grid, each some 60 pixels high."""


class Links(_Part):
    """How a panel takes part in the report's selection.

    `time`: a span of times; `symbol`: symbols; `row`: one row of a table, with its time and its symbol.
    """

    sets: Annotated[list[Link], Field(max_length=3)] = []
    """What selecting in this panel sets."""
    follows: Annotated[list[Link], Field(max_length=3)] = []
    """What narrows this panel: `time` to rows of that span, `symbol` and `row` to rows of that symbol (`row` also shows
    where its time is). What is selected takes the place of choices: a symbol of those by the column `symbol`, a span of
    those by the column `time` or by day."""


class _Panel(_Part):
    id: Identifier
    title: Label = ""
    help: Annotated[str, StringConstraints(max_length=1_000)] = ""
    """What it shows and how that is defined: the tool tip."""
    source: Identifier
    place: Place
    links: Links = Links()


class _Axis(_Part):
    format: Format = "number"
    """How values are written at the axis and in the read-out."""
    log: bool = False
    """A logarithmic axis; values that are not positive are left out."""


# --- line, area, bar -------------------------------------------------------------------------------------------------


class SeriesFields(_Part):
    x: Column
    y: Annotated[list[Column], Field(min_length=1, max_length=50)]
    color: Column | None = None
    """One series for each value of this column."""


class LineOptions(_Axis):
    limit: Annotated[int, Field(ge=1, le=200)] = 12
    """At most so many series; a note says how many there are."""
    mean: bool = False
    """A line at the mean of each series."""
    baseline: float | None = None
    """A thin line at this value."""
    points: bool = False
    """A dot at each value."""
    step: bool = False
    """A value holds until the next one."""


class AreaOptions(_Axis):
    limit: Annotated[int, Field(ge=1, le=200)] = 12
    baseline: float | None = None
    stacked: bool = False


class BarOptions(_Axis):
    limit: Annotated[int, Field(ge=1, le=200)] = 12
    baseline: float | None = None
    stacked: bool = False
    horizontal: bool = False


class LinePanel(_Panel):
    type: Literal["line"]
    fields: SeriesFields
    options: LineOptions = LineOptions()


class AreaPanel(_Panel):
    type: Literal["area"]
    fields: SeriesFields
    options: AreaOptions = AreaOptions()


class BarPanel(_Panel):
    type: Literal["bar"]
    fields: SeriesFields
    options: BarOptions = BarOptions()


# --- scatter, histogram, heat map, box, pie --------------------------------------------------------------------------


class ScatterFields(_Part):
    x: Column
    y: Column
    color: Column | None = None
    """Numbers give a scale, texts a colour each."""
    size: Column | None = None


class ScatterOptions(_Axis):
    log_x: bool = False
    trend: bool = False
    """The least-squares line."""


class ScatterPanel(_Panel):
    type: Literal["scatter"]
    fields: ScatterFields
    options: ScatterOptions = ScatterOptions()


class HistogramFields(_Part):
    value: Column
    color: Column | None = None
    """One histogram for each value of this column, over the same bins."""


class HistogramOptions(_Axis):
    bins: Annotated[int, Field(ge=2, le=500)] | None = None
    """How many; without it, by the rule of Freedman and Diaconis, from 5 to 100."""
    limit: Annotated[int, Field(ge=1, le=20)] = 6
    mean: bool = False


class HistogramPanel(_Panel):
    type: Literal["histogram"]
    fields: HistogramFields
    options: HistogramOptions = HistogramOptions()


class HeatmapFields(_Part):
    x: Column
    y: Column
    value: Column


class HeatmapOptions(_Part):
    format: Format = "number"
    aggregate: Aggregate = "mean"
    """What becomes of several values in one cell."""
    diverging: bool = False
    """Two colours around zero."""
    text: bool = False
    """Each cell's value is written in it."""


class HeatmapPanel(_Panel):
    type: Literal["heatmap"]
    fields: HeatmapFields
    options: HeatmapOptions = HeatmapOptions()


class BoxFields(_Part):
    x: Column
    y: Column


class BoxOptions(_Axis):
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    outliers: bool = True


class BoxPanel(_Panel):
    type: Literal["box"]
    fields: BoxFields
    options: BoxOptions = BoxOptions()


class PieFields(_Part):
    label: Column
    value: Column


class PieOptions(_Part):
    format: Format = "number"
    limit: Annotated[int, Field(ge=2, le=30)] = 10
    """The largest ones; the rest becomes one slice."""


class PiePanel(_Panel):
    type: Literal["pie"]
    fields: PieFields
    options: PieOptions = PieOptions()


# --- candles, tables, numbers, many columns --------------------------------------------------------------------------


class CandlestickFields(_Part):
    time: Column = "time"
    open: Column = "open"
    high: Column = "high"
    low: Column = "low"
    close: Column = "close"
    volume: Column | None = None
    """Drawn below the prices, where the table has that column."""


class CandlestickOptions(_Axis):
    signals: Identifier | None = None
    """A source of marks with the columns time, kind and price, and size if it has one."""


class CandlestickPanel(_Panel):
    type: Literal["candlestick"]
    fields: CandlestickFields = CandlestickFields()
    options: CandlestickOptions = CandlestickOptions()


class TableFields(_Part):
    columns: Columns = []
    """Which ones in which order; none: all."""


class TableOptions(_Part):
    rows: Annotated[int, Field(ge=1, le=100)] = 10
    """Rows a page."""
    formats: Annotated[dict[Column, Format], Field(max_length=100)] = {}


class TablePanel(_Panel):
    type: Literal["table"]
    fields: TableFields = TableFields()
    options: TableOptions = TableOptions()


class NumberFields(_Part):
    value: Column
    """The first row's value is shown."""


class NumberOptions(_Part):
    format: Format = "number"
    digits: Annotated[int, Field(ge=0, le=10)] | None = None
    unit: Annotated[str, StringConstraints(max_length=20)] = ""
    good: Literal["none", "high", "low"] = "none"
    """Which values are good: above zero (high) or below (low)."""


class NumberPanel(_Panel):
    type: Literal["number"]
    fields: NumberFields
    options: NumberOptions = NumberOptions()


class ParallelFields(_Part):
    columns: Annotated[list[Column], Field(min_length=2, max_length=30)]
    color: Column | None = None


class ParallelOptions(_Part):
    format: Format = "number"


class ParallelPanel(_Panel):
    type: Literal["parallel"]
    fields: ParallelFields
    options: ParallelOptions = ParallelOptions()


class CorrelationFields(_Part):
    columns: Annotated[list[Column], Field(max_length=60)] = []
    """None: all columns of numbers."""


class CorrelationOptions(_Part):
    method: Literal["pearson", "spearman"] = "pearson"
    text: bool = True


class CorrelationPanel(_Panel):
    type: Literal["correlation"]
    fields: CorrelationFields = CorrelationFields()
    options: CorrelationOptions = CorrelationOptions()


Panel = Annotated[
    LinePanel
    | AreaPanel
    | BarPanel
    | ScatterPanel
    | HistogramPanel
    | HeatmapPanel
    | BoxPanel
    | PiePanel
    | CandlestickPanel
    | TablePanel
    | NumberPanel
    | ParallelPanel
    | CorrelationPanel,
    Field(discriminator="type"),
]

PANELS: Mapping[str, type[_Panel]] = {
    "line": LinePanel,
    "area": AreaPanel,
    "bar": BarPanel,
    "scatter": ScatterPanel,
    "histogram": HistogramPanel,
    "heatmap": HeatmapPanel,
    "box": BoxPanel,
    "pie": PiePanel,
    "candlestick": CandlestickPanel,
    "table": TablePanel,
    "number": NumberPanel,
    "parallel": ParallelPanel,
    "correlation": CorrelationPanel,
}
"""Each type of panel and its model."""


class Template(_Part):
    """A report as a document. `report.check` holds what no single part can tell."""

    version: Annotated[int, Field(ge=1)] = VERSION
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9](?:[A-Za-z0-9 ()_+-]{0,61}[A-Za-z0-9)_+-])?$")]
    title: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    description: Annotated[str, StringConstraints(max_length=2_000)] = ""
    kinds: Annotated[list[Identifier], Field(max_length=20)] = []
    """The kinds of jobs that it fits; none: any."""
    whole: bool = False
    """Whether it is of all tasks of a job together, and not of the one that is chosen."""
    sources: Annotated[dict[Identifier, Source], Field(min_length=1, max_length=50)]
    choices: Annotated[list[Choice], Field(max_length=10)] = []
    panels: Annotated[list[Panel], Field(min_length=1, max_length=100)]

    def sections(self) -> dict[str, list[_Panel]]:
        """The panels by section, both in the document's order."""
        found: dict[str, list[_Panel]] = {}
        for panel in self.panels:
            found.setdefault(panel.place.section, []).append(panel)
        return found

    def panel(self, panel_id: str) -> Any:
        """The panel of that id. Raises KeyError."""
        return next(iter(panel for panel in self.panels if panel.id == panel_id))

    def columns_of(self, panel: _Panel) -> Iterator[str]:
        """The columns that a panel's fields name."""
        fields: BaseModel = getattr(panel, "fields")  # noqa: B009
        for value in dict(fields).values():
            if isinstance(value, str):
                yield value
            elif isinstance(value, list):
                yield from value
