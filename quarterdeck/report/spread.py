"""Scatters, histograms, heat maps, boxes, pies, correlations and parallel coordinates from a source's rows."""

from __future__ import annotations

from typing import cast

import numpy as np
import polars as pl

from quarterdeck.errors import Invalid
from quarterdeck.report import columns, reduce
from quarterdeck.report.formula import kind_of
from quarterdeck.report.shapes import Axis, Bins, Boxes, Floats, Grid, Group, Parallel, Points, Slices
from quarterdeck.report.sources import Loaded
from quarterdeck.report.template import (
    BoxPanel,
    CorrelationPanel,
    HeatmapPanel,
    HistogramPanel,
    ParallelPanel,
    PiePanel,
    ScatterPanel,
)

__all__ = ["bins", "boxes", "correlation", "grid", "parallel", "points", "slices"]

MAX_CELLS = 400
MAX_LINES = 2_000
MAX_RANKED = 100_000


def points(panel: ScatterPanel, loaded: Loaded) -> Points:
    """The points of a scatter panel, thinned."""
    fields, options = panel.fields, panel.options
    x_axis, x = columns.axis(loaded, fields.x)
    y_axis, y = columns.axis(loaded, fields.y)
    known = ~np.isnan(x) & ~np.isnan(y)
    known &= (y > 0) if options.log else True
    known &= (x > 0) if options.log_x else True
    rows = np.flatnonzero(known)
    if not len(rows):
        return Points(
            rows=0, x=x_axis, y=y_axis, empty=f"There are no rows with both '{fields.x}' and '{fields.y}' to draw."
        )
    both = x_axis.kind != "text" and y_axis.kind != "text"
    line = reduce.trend(x[rows], y[rows]) if options.trend and both else None
    kept = rows[reduce.thinned(x[rows], y[rows])]
    color_axis, color = (None, None) if fields.color is None else columns.axis(loaded, fields.color, ordered=True)
    size_axis, size = None, None
    if fields.size is not None:
        size_axis, size = Axis(name=fields.size), _share(columns.numbers(loaded, fields.size, "size"))
    times = _times(loaded)
    symbols = columns.texts(loaded, "symbol") if "symbol" in loaded.frame.columns else None
    return Points(
        rows=len(rows),
        note=f"{len(kept):,} of {len(rows):,} points" if len(kept) < len(rows) else "",
        x=x_axis,
        y=y_axis,
        at_x=x[kept],
        at_y=y[kept],
        color_axis=color_axis,
        color=None if color is None else color[kept],
        size_axis=size_axis,
        size=None if size is None else size[kept],
        time=None if times is None else times[kept],
        symbol=None if symbols is None else tuple(one or "" for one in symbols.gather(kept)),
        trend=line,
    )


def _times(loaded: Loaded) -> Floats | None:
    if "time" not in loaded.frame.columns or kind_of(loaded.frame.schema["time"]) != "time":
        return None
    return columns.times(loaded, "time", "time")


def _share(values: Floats) -> Floats:
    known = values[~np.isnan(values)]
    if not len(known) or known.max() == known.min():
        return np.where(np.isnan(values), np.nan, 0.5)
    half = known.max() / 2 - known.min() / 2
    return cast("Floats", (values / 2 - known.min() / 2) / half)


def bins(panel: HistogramPanel, loaded: Loaded) -> Bins:
    """The histograms of a panel, over the same bins."""
    axis, values = columns.axis(loaded, panel.fields.value)
    if axis.kind == "text":
        raise Invalid(f"a histogram needs numbers or times, and '{axis.name}' of {loaded.name} holds texts: use bars")
    groups, note = columns.grouped(loaded, panel.fields.color, panel.options.limit)
    shown = [(name, _known(values[rows])) for name, rows in groups]
    shown = [(name, some) for name, some in shown if len(some)]
    if not shown:
        return Bins(rows=0, x=axis, empty=f"There are no values of '{axis.name}'.")
    edges = reduce.bin_edges(np.concatenate([some for _, some in shown]), panel.options.bins)
    return Bins(
        rows=sum(len(some) for _, some in shown),
        note=note,
        x=axis,
        edges=edges,
        groups=tuple(
            Group(name=name or axis.name, counts=reduce.counts(some, edges), mean=_middle(some)) for name, some in shown
        ),
    )


def _known(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _middle(values: Floats) -> float:
    with np.errstate(over="ignore"):
        mean = float(values.mean())
    return mean if np.isfinite(mean) else float((values / len(values)).sum())


def grid(panel: HeatmapPanel, loaded: Loaded) -> Grid:
    """The cells of a heat map. Texts stand in order of appearance, numbers and times ascending."""
    fields = panel.fields
    how = panel.options.aggregate
    value = loaded.column(fields.value)
    if value.dtype not in (pl.Float64, pl.Boolean) and how not in ("count", "unique"):
        columns.numbers(loaded, fields.value, "a heat map's value")
    x_axis, x_places, x_labels, x_note = _cells(loaded, fields.x)
    y_axis, y_places, y_labels, y_note = _cells(loaded, fields.y)
    values = value.cast(pl.Float64) if value.dtype in (pl.Float64, pl.Boolean) else value
    frame = pl.DataFrame({"x": x_places, "y": y_places, "v": values}).drop_nulls()
    made = _aggregated(frame, how)
    result = np.full((len(y_labels), len(x_labels)), np.nan)
    result[made["y"].to_numpy(), made["x"].to_numpy()] = made["v"].to_numpy()
    result[~np.isfinite(result)] = np.nan
    if not np.isfinite(result).any():
        return Grid(rows=0, x=x_axis, y=y_axis, empty=f"There are no values of '{fields.value}'.")
    return Grid(
        rows=frame.height,
        note="; ".join(note for note in (x_note, y_note) if note),
        x=x_axis,
        y=y_axis,
        x_labels=x_labels,
        y_labels=y_labels,
        values=result,
        low=float(np.nanmin(result)),
        high=float(np.nanmax(result)),
    )


def _aggregated(frame: pl.DataFrame, how: str) -> pl.DataFrame:
    value = pl.col("v")
    by: dict[str, pl.Expr] = {"std": value.std(ddof=1), "unique": value.n_unique(), "count": value.count()}
    one = by.get(how)
    one = getattr(value, how)() if one is None else one
    return frame.group_by("x", "y", maintain_order=True).agg(cast("pl.Expr", one).cast(pl.Float64))


def _cells(loaded: Loaded, name: str) -> tuple[Axis, pl.Series, tuple[str, ...], str]:
    """The cell of each row along one side, the cells' labels, and a note where it has too many values."""
    column = loaded.column(name)
    ordered = column.dtype == pl.Float64 or isinstance(column.dtype, pl.Datetime)
    kind = "time" if isinstance(column.dtype, pl.Datetime) else "number" if ordered else "text"
    column = column if ordered else column.cast(pl.String)
    distinct = column.drop_nulls().unique(maintain_order=not ordered)
    distinct = distinct.sort() if ordered else distinct
    many = len(distinct)
    note = ""
    size = -(-many // MAX_CELLS) if many > MAX_CELLS else 1
    if not ordered and size > 1:
        note, size = f"{MAX_CELLS} of {many:,} {columns.plural(name)}", 1
        distinct = distinct.head(MAX_CELLS)
    elif size > 1:
        note = f"each cell holds {size:,} {columns.plural(name)}"
    places = pl.int_range(len(distinct), eager=True) // size
    cells = column.replace_strict(distinct, places, default=None, return_dtype=pl.Int64)
    heads = distinct.gather_every(size)
    axis = Axis(name=name, kind=kind, labels=() if ordered else tuple(distinct))  # type: ignore[arg-type]
    return axis, cells, tuple(columns.labels(heads)), note


def boxes(panel: BoxPanel, loaded: Loaded) -> Boxes:
    """A box for each value of x."""
    y_axis = Axis(name=panel.fields.y)
    y = columns.numbers(loaded, panel.fields.y, "y")
    x_axis, _ = columns.axis(loaded, panel.fields.x)
    groups, note = columns.grouped(loaded, panel.fields.x, panel.options.limit)
    shown = [(name, _known(y[rows])) for name, rows in groups]
    if panel.options.log:
        shown = [(name, some[some > 0]) for name, some in shown]
    shown = [(name, some) for name, some in shown if len(some)]
    if not shown:
        return Boxes(x=x_axis, y=y_axis, empty=f"There are no values of '{panel.fields.y}'.")
    made = [reduce.quartiles(some) for _, some in shown]
    low, first, median, third, high = (np.array([one[place] for one in made]) for place in range(5))
    return Boxes(
        rows=sum(len(some) for _, some in shown),
        note=note,
        x=x_axis,
        y=y_axis,
        labels=tuple(name for name, _ in shown),
        low=low,
        first=first,
        median=median,
        third=third,
        high=high,
        mean=np.array([_middle(some) for _, some in shown]),
        counts=np.array([float(len(some)) for _, some in shown]),
        outliers=tuple(one[5] if panel.options.outliers else np.empty(0) for one in made),
    )


def slices(panel: PiePanel, loaded: Loaded) -> Slices:
    """The slices of a pie: values of one label are added up, small ones become "other"."""
    value = columns.numbers(loaded, panel.fields.value, "a pie's value")
    least = float(np.nanmin(value)) if np.isfinite(value).any() else 0.0
    if least < 0:
        raise Invalid(f"a pie needs values that are not negative, and '{panel.fields.value}' has {least:,.6g}")
    frame = pl.DataFrame({"label": columns.texts(loaded, panel.fields.label), "value": value}).drop_nulls()
    frame = frame.filter(pl.col("value").is_finite())
    sums = frame.group_by("label", maintain_order=True).agg(pl.col("value").sum())
    sums = sums.filter((pl.col("value") > 0) & pl.col("value").is_finite()).sort(
        "value", descending=True, maintain_order=True
    )
    if not sums.height:
        return Slices(rows=0, empty=f"There are no positive values of '{panel.fields.value}'.")
    names, values = list(sums["label"]), sums["value"].to_numpy()
    most = panel.options.limit
    note = ""
    if len(names) > most:
        note = f"the largest {most - 1} of {len(names):,}; the rest is one slice"
        names = [*names[: most - 1], "other"]
        values = np.append(values[: most - 1], values[most - 1 :].sum())
    return Slices(rows=frame.height, note=note, labels=tuple(names), values=values)


def correlation(panel: CorrelationPanel, loaded: Loaded) -> Grid:
    """Correlations of each two columns over the rows that have both; NaN where one of them does not vary."""
    frame = loaded.frame
    names = (
        panel.fields.columns
        or [name for name, dtype in frame.schema.items() if kind_of(dtype) == "number" and dtype != pl.Null][:60]
    )
    if len(names) < 2:
        raise Invalid(f"a correlation needs two columns of numbers, and {loaded.name} has {len(names)}")
    data = {name: columns.numbers(loaded, name, "a correlation") for name in names}
    rows = frame.height
    note = ""
    if panel.options.method == "spearman" and rows > MAX_RANKED:
        kept = reduce.evenly(rows, MAX_RANKED)
        data = {name: values[kept] for name, values in data.items()}
        note = f"over {MAX_RANKED:,} of {rows:,} rows, at even distances"
    varying = [name for name in names if _varies(data[name])]
    values = np.full((len(names), len(names)), np.nan)
    at = [names.index(name) for name in varying]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        values[np.ix_(at, at)] = _correlations({name: data[name] for name in varying}, panel.options.method)
    values[~np.isfinite(values)] = np.nan
    if not np.isfinite(values).any():
        return Grid(rows=0, empty="No two of the columns vary together: there is no correlation.")
    labels = tuple(names)
    axis = Axis(kind="text", labels=labels)
    return Grid(
        rows=rows, note=note, x=axis, y=axis, x_labels=labels, y_labels=labels, values=values, low=-1.0, high=1.0
    )


def _varies(values: Floats) -> bool:
    known = _known(values)
    return len(known) > 1 and bool(known.min() < known.max())


def _correlations(data: dict[str, Floats], method: str) -> Floats:
    if not data:
        return np.empty((0, 0))
    if method == "pearson" and not any(np.isnan(values).any() for values in data.values()):
        return np.atleast_2d(np.corrcoef(np.array(list(data.values()))))
    import pandas as pd  # takes longer to load than a report to read

    table = pd.DataFrame(data)
    return table.corr(method=method, min_periods=2).to_numpy()  # type: ignore[arg-type]


def parallel(panel: ParallelPanel, loaded: Loaded) -> Parallel:
    """The rows of a parallel-coordinates panel."""
    rows = loaded.frame.height
    kept = reduce.evenly(rows, MAX_LINES)
    made = [columns.axis(loaded, name, ordered=True) for name in panel.fields.columns]
    color_axis, color = (
        (None, None) if panel.fields.color is None else columns.axis(loaded, panel.fields.color, ordered=True)
    )
    values = np.column_stack([values[kept] for _, values in made]) if rows else np.empty((0, len(made)))
    if not np.isfinite(values).any():
        return Parallel(rows=0, axes=tuple(axis for axis, _ in made), empty="There are no values in these columns.")
    return Parallel(
        rows=rows,
        note=f"{len(kept):,} of {rows:,} rows, at even distances" if len(kept) < rows else "",
        axes=tuple(axis for axis, _ in made),
        values=values,
        color_axis=color_axis,
        color=None if color is None else color[kept],
    )
