"""A source's rows: read with only the columns, times and symbols that are needed, then filtered, derived, grouped."""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl
import pyarrow as pa

from quarterdeck.errors import Invalid
from quarterdeck.report.access import Access, Extract, Stored
from quarterdeck.report.checks import derived
from quarterdeck.report.formula import RowFormula, kind_of, plain
from quarterdeck.report.hints import hint
from quarterdeck.report.template import Choice, Source, Template

__all__ = [
    "MAX_READ",
    "PLACE",
    "Columns",
    "Loaded",
    "Picked",
    "Wanted",
    "load",
    "matching",
    "moment",
    "needs",
    "number",
    "opened",
    "places",
    "pruned",
    "times_of",
]

PLACE = "\x1fplace"
MAX_READ = 256_000_000
"""Bytes of a table's columns, at most, that are held to draw it; what is beyond is left out, and that is said."""

Columns = frozenset[str] | None
"""Names of columns; None means all that there are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picked:
    """A report's selection: a span of times (both ends included, naive ones are UTC), symbols, and the symbol of the
    selected row; empty means all."""

    start: dt.datetime | None = None
    end: dt.datetime | None = None
    symbols: tuple[str, ...] = ()
    row: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """What a source is read for: the selection, and the values that its choices must have."""

    picked: Picked = Picked()
    values: tuple[tuple[Choice, tuple[Any, ...]], ...] = ()

    @property
    def key(self) -> Any:
        """What tells it from others."""
        return self.picked, tuple((choice.name, values) for choice, values in self.values)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Loaded:
    """A source's rows. `columns` has what could be read of it; `broken` says why a column is not there; `note` what was
    left out; `name` what to call it in a sentence."""

    frame: pl.DataFrame
    columns: frozenset[str]
    broken: Mapping[str, str] = field(default_factory=dict)
    note: str = ""
    name: str = ""

    def column(self, name: str) -> pl.Series:
        """A column in its plain form. Raises `Invalid` as `require` does."""
        self.require(name)
        return self.frame.select(plain(name, self.frame.schema[name])).to_series()

    def require(self, name: str) -> None:
        """Raises `Invalid` where a column is not there, or holds what can't be drawn."""
        if name in self.broken:
            raise Invalid(self.broken[name])
        if name not in self.frame.columns:
            raise Invalid(f"{self.name} has no column '{name}'{hint(name, self.columns - {name})}")
        dtype = self.frame.schema[name]
        if kind_of(dtype) is None:
            raise Invalid(f"the column '{name}' of {self.name} holds {dtype}, which can't be drawn")


def needs(template: Template, wanted: Mapping[str, Columns]) -> dict[str, Columns]:
    """The columns that each source must give so that those `wanted` of some of them can be had."""
    found: dict[str, Columns] = dict(wanted)
    depth = {name: _depth(template, name) for name in template.sources}
    for name in sorted(template.sources, key=lambda one: -depth[one]):
        parent = template.sources[name].source
        if parent is not None and name in found:
            inputs, _ = _plan(template, template.sources[name], found[name])
            found[parent] = _both(found.get(parent, frozenset()), inputs)
    return found


def opened(access: Access, source: Source) -> Stored:
    """The table behind a source that reads one."""
    if source.dataset is not None:
        return access.dataset(source.dataset)
    return access.table(source.table or "", job=source.job, task=source.task)


def load(
    template: Template, access: Access, name: str, needed: Mapping[str, Columns], wanted: Wanted, parent: Loaded | None
) -> Loaded:
    """The rows of a source; `parent` are those of the source that it reads, if it reads one.

    Raises:
        Invalid, NotFound: the table is not there, or the condition, grouping or a choice can't be computed.
    """
    source = template.sources[name]
    inputs, made = _plan(template, source, needed.get(name))
    if parent is None:
        loaded = _read(opened(access, source), source, inputs, wanted)
    else:
        frame = matching(parent.frame, parent.columns, wanted.values, parent.name)
        loaded = Loaded(
            frame=_where(frame, source, parent.name) if source.where else frame,
            columns=parent.columns,
            broken=parent.broken,
            note=parent.note,
            name=parent.name,
        )
    return _worked(name, source, made, loaded)


# --- which columns ---------------------------------------------------------------------------------------------------


def _both(one: Columns, other: Columns) -> Columns:
    return None if one is None or other is None else one | other


def _depth(template: Template, name: str) -> int:
    depth, source = 0, template.sources[name]
    while source.source is not None:
        depth, source = depth + 1, template.sources[source.source]
    return depth


def _plan(template: Template, source: Source, needed: Columns) -> tuple[Columns, frozenset[str]]:
    """What a source must read so that it has the needed columns, and which of its derived ones it must compute."""
    grouped = bool(source.group or source.aggregate)
    if grouped:
        given: Columns = frozenset([*source.group, *source.aggregate])
    elif needed is not None:
        given = needed | {column.removeprefix("-") for column in source.sort}
    else:
        given = None if source.columns is None else frozenset(source.columns)
    every = given is None or (needed is None and not grouped)
    ahead = [column for column in source.derive if every or column in (given or ())]
    read, made = set[str](given or ()), set[str]()
    while ahead:
        column = ahead.pop()
        if column not in made:
            made.add(column)
            inputs = RowFormula(source.derive[column]).columns
            read |= inputs
            ahead.extend(one for one in inputs if one in source.derive)
    read -= made
    read.update(one.column for one in template.choices if one.name in source.choices)
    if source.where:
        read |= RowFormula(source.where).columns
    return (None if given is None else frozenset(read)), frozenset(made)


# --- reading ---------------------------------------------------------------------------------------------------------


def pruned(stored: Stored, wanted: Wanted) -> tuple[Extract, str | None]:
    """What can be left out when the table is read, and the column of times to select by afterwards, if another than
    `time` holds them."""
    columns = stored.columns
    start, end = wanted.picked.start, wanted.picked.end
    symbols: tuple[str, ...] | None = None
    after: str | None = None
    if (start is not None or end is not None) and not ("time" in columns and _is_time(columns["time"])):
        after = times_of(columns)
        start = end = None
    if "symbol" in columns and _is_text(columns["symbol"]):
        symbols = wanted.picked.symbols or None
    for choice, values in wanted.values:
        if choice.column == "symbol" and "symbol" in columns and _is_text(columns["symbol"]):
            texts = {str(value) for value in values}
            symbols = tuple(sorted(texts if symbols is None else texts & set(symbols)))
        if choice.column == "time" and "time" in columns and _is_time(columns["time"]) and values:
            times = [moment(value) for value in values]
            if choice.day:
                times = [bound for time in times for bound in _bounds(time)]
            start = min(times) if start is None else max(_utc(start), min(times))
            end = max(times) if end is None else min(_utc(end), max(times))
    return Extract(start=start, end=end, symbols=symbols), after


def _read(stored: Stored, source: Source, inputs: Columns, wanted: Wanted) -> Loaded:
    part, after = pruned(stored, wanted)
    available = frozenset(stored.columns)
    columns = None if inputs is None else inputs & available
    if columns is not None:
        columns |= {after} if after else set()
        columns |= {choice.column for choice, _ in wanted.values if choice.column in available}
        columns = columns or frozenset(list(stored.columns)[:1])  # rows without columns can't be counted
    part = Extract(columns=columns, start=part.start, end=part.end, symbols=part.symbols)
    condition = RowFormula(source.where) if source.where else None
    whole = bool(source.group or source.aggregate or source.sort or (condition and not condition.by_row))
    whole = whole or any(not RowFormula(text).by_row for text in source.derive.values())
    enough = source.limit if source.limit is not None and not whole else None
    parts: list[pl.DataFrame] = []
    rows = size = 0
    note = ""
    with contextlib.closing(cast("Any", stored.batches(part))) as batches:
        for batch in batches:
            if size > MAX_READ:
                note = f"only the first {rows:,} rows that were read; pick symbols or times to see others"
                break
            frame = _polars(batch)
            frame = matching(frame, available, wanted.values, stored.name)
            if after is not None:
                frame = _within(frame, after, wanted.picked)
            if condition is not None and condition.by_row:
                frame = _where(frame, source, stored.name)
            parts.append(frame)
            rows += frame.height
            size += int(frame.estimated_size())
            if enough is not None and rows >= enough:
                break
    frame = pl.concat(parts, how="diagonal_relaxed", rechunk=False) if parts else _empty(stored, columns)
    if condition is not None and not condition.by_row:
        frame = _where(frame, source, stored.name)
    return Loaded(frame=frame, columns=available, note=note, name=stored.name)


def places(loaded: Loaded, kinds: Mapping[str, pa.DataType], wanted: Wanted) -> pl.DataFrame:
    """Of all rows of a table those that are wanted, with their places in the table in the column `PLACE`."""
    frame = loaded.frame.with_row_index(PLACE)
    frame = matching(frame, loaded.columns, wanted.values, loaded.name)
    picked = wanted.picked
    if picked.symbols and "symbol" in kinds and _is_text(kinds["symbol"]):
        frame = frame.filter(plain("symbol", frame.schema["symbol"]).is_in(list(picked.symbols)))
    times = times_of(kinds)
    if times is not None and (picked.start is not None or picked.end is not None):
        frame = _within(frame, times, picked)
    return frame


def times_of(kinds: Mapping[str, pa.DataType]) -> str | None:
    """The column by which a span of times selects: `time`, or the first one of times."""
    names = [name for name, kind in kinds.items() if _is_time(kind)]
    return "time" if "time" in names else names[0] if names else None


def _polars(batch: pa.Table) -> pl.DataFrame:
    frame = cast("pl.DataFrame", pl.from_arrow(batch))
    return frame.with_columns(pl.col(pl.Categorical, pl.Enum).cast(pl.String))


def _empty(stored: Stored, columns: Columns) -> pl.DataFrame:
    fields = [pa.field(name, kind) for name, kind in stored.columns.items() if columns is None or name in columns]
    return _polars(pa.schema(fields).empty_table())


def matching(
    frame: pl.DataFrame, known: frozenset[str], values: Sequence[tuple[Choice, tuple[Any, ...]]], name: str
) -> pl.DataFrame:
    """The rows that have one of the picked values of each choice."""
    for choice, picked in values:
        if choice.column not in frame.columns:
            cure = hint(choice.column, known - {choice.column})
            raise Invalid(f"{name} has no column '{choice.column}', by which '{choice.name}' chooses{cure}")
        dtype = frame.schema[choice.column]
        column = plain(choice.column, dtype)
        match kind_of(dtype):
            case "number":
                mask = column.is_in(pl.Series([number(value) for value in picked], dtype=pl.Float64).implode())
            case "time":
                picked = tuple(_bounds(moment(value))[0] for value in picked) if choice.day else picked
                column = column.dt.truncate("1d") if choice.day else column
                mask = column.is_in(pl.Series([moment(value) for value in picked]).cast(_TIME).implode())
            case "truth":
                mask = column.is_in(pl.Series([value in (True, "true", "True", 1) for value in picked]).implode())
            case "text":
                mask = column.is_in(pl.Series([str(value) for value in picked], dtype=pl.String).implode())
            case _:
                raise Invalid(f"nothing can be chosen by the column '{choice.column}', which holds {dtype}")
        frame = frame.filter(mask)
    return frame


_TIME = pl.Datetime("us", "UTC")


def number(value: Any) -> float:
    """A picked value as a number. Raises `Invalid`."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise Invalid(f"'{value!s:.60}' is no number to choose by") from None


def moment(value: Any) -> dt.datetime:
    """A picked value as a time; texts are ISO 8601, and without a zone UTC. Raises `Invalid`."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            raise Invalid(f"'{value:.60}' is no time to choose by: write 2024-01-31 or 2024-01-31 14:30") from None
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        value = dt.datetime(value.year, value.month, value.day, tzinfo=dt.UTC)
    if not isinstance(value, dt.datetime):
        raise Invalid(f"'{value!s:.60}' is no time to choose by")
    return _utc(value)


def _bounds(time: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """The first and the last microsecond of its day."""
    first = time.replace(hour=0, minute=0, second=0, microsecond=0)
    return first, first.replace(hour=23, minute=59, second=59, microsecond=999_999)


def _utc(time: dt.datetime) -> dt.datetime:
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _within(frame: pl.DataFrame, column: str, picked: Picked) -> pl.DataFrame:
    times = plain(column, frame.schema[column])
    if picked.start is not None:
        frame = frame.filter(times >= pl.lit(_utc(picked.start)).cast(_TIME))
    if picked.end is not None:
        frame = frame.filter(times <= pl.lit(_utc(picked.end)).cast(_TIME))
    return frame


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


# --- working on what was read ----------------------------------------------------------------------------------------


def _where(frame: pl.DataFrame, source: Source, name: str) -> pl.DataFrame:
    try:
        return frame.filter(RowFormula(source.where).condition(frame))
    except Invalid as error:
        raise Invalid(f"where, of {name}: {error}") from None


def _worked(name: str, source: Source, made: frozenset[str], loaded: Loaded) -> Loaded:
    frame, broken = loaded.frame, dict(loaded.broken)
    grouped = bool(source.group or source.aggregate)
    for column, formula in derived(name, source):
        if column not in made:
            continue
        try:
            for one in sorted(formula.columns):
                if one in broken:
                    raise Invalid(broken[one])
                if one not in frame.columns and one not in source.derive:
                    cure = hint(one, loaded.columns - {one})
                    raise Invalid(f"{loaded.name} has no column '{one}'{cure}")
            frame = frame.with_columns(formula.column(frame).alias(column))
        except Invalid as error:
            broken[column] = f"'{column}' can't be computed: {error}"
    known = loaded.columns | frozenset(source.derive)
    if grouped:
        frame, broken = _grouped(name, source, frame, broken, known)
        known = frozenset([*source.group, *source.aggregate])
    if source.sort:
        frame = _sorted(name, source, frame, broken)
    if source.limit is not None:
        frame = frame.head(source.limit)
    if source.columns is not None and not grouped:
        frame = frame.select([one for one in [*source.columns, *source.derive] if one in frame.columns])
        known = frozenset([*source.columns, *source.derive])
    return Loaded(frame=frame, columns=known, broken=broken, note=loaded.note, name=loaded.name)


def _present(name: str, column: str, frame: pl.DataFrame, broken: Mapping[str, str], known: frozenset[str]) -> None:
    if column in broken:
        raise Invalid(broken[column])
    if column not in frame.columns:
        raise Invalid(f"source '{name}' has no column '{column}'{hint(column, known - {column})}")


def _grouped(
    name: str, source: Source, frame: pl.DataFrame, broken: Mapping[str, str], known: frozenset[str]
) -> tuple[pl.DataFrame, dict[str, str]]:
    for column in source.group:
        _present(name, column, frame, broken, known)
    made, missing = [], dict[str, str]()
    for column, how in source.aggregate.items():
        try:
            _present(name, column, frame, broken, known)
            made.append(_aggregate(name, column, how, frame.schema[column]))
        except Invalid as error:
            missing[column] = str(error)
    if source.group:
        return frame.group_by(source.group, maintain_order=True).agg(made), missing
    one = frame.select(made)
    return (one if frame.height else one.head(0)), missing


def _aggregate(name: str, column: str, how: str, dtype: pl.DataType) -> pl.Expr:
    values = pl.col(column)
    match how:
        case "count":
            return values.count().cast(pl.Float64)
        case "unique":
            return values.drop_nulls().n_unique().cast(pl.Float64)
        case "first":
            return values.first()
        case "last":
            return values.last()
    kind = kind_of(dtype)
    if kind is None or (kind != "number" and how in ("mean", "sum", "std", "median") and dtype != pl.Boolean):
        raise Invalid(f"source '{name}': there is no {how} of the column '{column}', which holds {dtype}")
    values = plain(column, dtype)
    if kind == "truth":
        values = values.cast(pl.Float64)
    return cast("pl.Expr", values.std(ddof=1) if how == "std" else getattr(values, how)())


def _sorted(name: str, source: Source, frame: pl.DataFrame, broken: Mapping[str, str]) -> pl.DataFrame:
    columns = [column.removeprefix("-") for column in source.sort]
    for column in columns:
        _present(name, column, frame, broken, frozenset(frame.columns))
        if kind_of(frame.schema[column]) is None:
            raise Invalid(f"source '{name}' can't be sorted by '{column}', which holds {frame.schema[column]}")
    return frame.sort(
        columns, descending=[one.startswith("-") for one in source.sort], nulls_last=True, maintain_order=True
    )
