"""Fields of imported rows to typed columns, strictly: what can't be read as its column's type is told, never altered.

The columns of market data (T1) have fixed types; those of other columns are found from a sample. A field is accepted
only if its type can hold it exactly as it is written (a decimal fraction is rounded to the nearest 64-bit float).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from quarterdeck.errors import Invalid
from quarterdeck.quant.delimited import MISSING
from quarterdeck.quant.source import Block, Fault, Lines, Mask, UnreadError, shortened
from quarterdeck.quant.time_format import ISO_DATE, ISO_NAIVE, ISO_ZONED, TIME, TimeFormat, Times, localized

__all__ = ["ARROW", "FLOATS", "Column", "Converted", "Kind", "Plan", "convert", "decimal_sign", "kind_of", "t1_names"]

Kind = Literal["symbol", "time", "float", "integer", "boolean", "date", "timestamp", "text"]

FLOATS = frozenset(
    ("open", "high", "low", "close", "adj_close", "price", "bid", "ask", "volume", "size", "bid_size", "ask_size")
)
ARROW: Mapping[Kind, pa.DataType] = {
    "symbol": pa.string(),
    "time": TIME,
    "float": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "timestamp": TIME,
    "text": pa.string(),
}
_WORDS: Mapping[Kind, str] = {
    "float": "is not a number",
    "integer": "is not a whole number",
    "boolean": "is neither true nor false",
    "date": "is not a date as YYYY-MM-DD",
    "timestamp": "is not a time as YYYY-MM-DD HH:MM:SS",
}
_SYNONYMS = {
    "date": "time",
    "datetime": "time",
    "timestamp": "time",
    "time": "time",
    "date_time": "time",
    "trade_date": "time",
    "ts": "time",
    "ticker": "symbol",
    "symbol": "symbol",
    "code": "symbol",
    "adjclose": "adj_close",
    "adj_close_price": "adj_close",
    "adjusted_close": "adj_close",
    "vol": "volume",
    "bidsize": "bid_size",
    "asksize": "ask_size",
}
_EXACT = 1 << 53
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
# spelled like words for "no value", and yet symbols of real shares
_MISSING_SYMBOLS = frozenset(MISSING) - {"NA", "NAN"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table to be: its name, its name in the source (None: the source lacks it, or `constant` is its
    value), and how it is read. `repeats`: most of its texts stand more than once, so that each is read once."""

    name: str
    source: str | None
    kind: Kind
    time_format: TimeFormat | None = None
    repeats: bool = True
    constant: str | None = None

    @property
    def type(self) -> pa.DataType:
        return ARROW[self.kind]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the blocks of one source are read."""

    columns: tuple[Column, ...]
    decimal: str = "."
    zone: str | None = None


@dataclass(slots=True)
class Converted:
    """The records of a block that could be read: columns as planned (the symbol as a dictionary), and their lines.

    `faults` are in order of line; `rejected` counts the records among them; `changes` has a column, a reason, the
    first line and the number of lines for each kind of change that was made.
    """

    columns: dict[str, pa.Array]
    lines: Lines
    faults: list[Fault]
    records: int
    changes: list[tuple[str, str, int, int, str]] = field(default_factory=list)


@dataclass(slots=True)
class _Reading:
    """One column's values, which of them failed, and why (one reason, or one for each failed record)."""

    values: pa.Array
    bad: Mask | None = None
    reason: str | npt.NDArray[np.object_] = ""
    changed: tuple[str, Mask] | None = None


def t1_names(sources: Sequence[str], given: Mapping[str, str], label: str) -> dict[str, str]:
    """Each source column's name in the table: as given, else market data's name for it, else in snake_case.

    Raises Invalid when a given source column is not there, or two columns get one name.
    """
    unknown = [name for name in given if name not in sources]
    if unknown:
        raise Invalid(
            f"{label} has no column {unknown[0]}, which columns names: it has {', '.join(sources)}.", field="columns"
        )
    names: dict[str, str] = {}
    taken = set(given.values())
    plain = {source: _snake(source) for source in sources}
    meanings: dict[str, list[str]] = {}
    for source in sources:
        meant = _SYNONYMS.get(plain[source])
        if source not in given and meant and meant not in taken and meant not in plain.values():
            meanings.setdefault(meant, []).append(source)
    for meant, rivals in meanings.items():
        if len(rivals) > 1:
            raise Invalid(
                f"The columns {' and '.join(rivals)} of {label} may each be the {meant}: name one in columns.",
                field="columns",
            )
    for source in sources:
        name = given.get(source) or plain[source]
        if source in (chosen := meanings.get(_SYNONYMS.get(name, ""), [])) and chosen == [source]:
            name = _SYNONYMS[name]
        if name in names.values() or (source not in given and name in given.values()):
            other = next((s for s, n in (names | dict(given)).items() if n == name and s != source), source)
            raise Invalid(
                f"The columns {other} and {source} of {label} would both be named {name}: tell them apart in columns.",
                field="columns",
            )
        names[source] = name
        taken.add(name)
    return names


def _snake(name: str) -> str:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())
    return re.sub(r"\W+", "_", spaced).strip("_").lower() or "column"


def decimal_sign(columns: Sequence[pa.Array], label: str) -> str:
    """The decimal sign of columns of numbers in text: a comma or a point, found from how they are written.

    Raises Invalid when the texts do not tell it (1,234 alone may be a thousand or one).
    """
    points = commas = grouped = 0
    for column in columns:
        texts = pl.Series(values=pl.from_arrow(column.cast(pa.string()))).str.strip_chars(" \t")
        points += int(texts.str.contains(r"^[+-]?\d*\.\d+(?:[eE][+-]?\d+)?$").sum())
        commas += int(texts.str.contains(r"^[+-]?\d*,\d+(?:[eE][+-]?\d+)?$").sum())
        grouped += int(texts.str.contains(r"^[+-]?[1-9]\d{0,2},\d{3}$").sum())
    if not commas or commas * 9 < points:
        return "."
    if points * 9 < commas and commas > grouped:
        return ","
    raise Invalid(
        f"The commas in the numbers of {label} may be decimal signs or separate thousands: give decimal.",
        field="decimal",
    )


def kind_of(sample: pa.Array, decimal: str) -> Kind | None:
    """The narrowest kind that reads every value of a sample: whole number, number, truth value, date, time, else
    text; None when it has no values."""
    if pa.types.is_dictionary(sample.type):
        sample = sample.dictionary_decode()
    known = sample.filter(pc.invert(_missing(sample)))
    if not len(known):
        return None
    head = known.slice(0, 200)
    kinds: tuple[Kind, ...] = ("integer", "float", "boolean", "date", "timestamp")
    for kind in kinds:
        column = Column("", "", kind)
        if all(not _failed(_from_text(part, column, Plan((), decimal))) for part in (head, known)):
            if kind == "float" and _coded(known):
                return "text"
            return kind
    return "text"


def _failed(reading: _Reading) -> bool:
    return reading.bad is not None and bool(reading.bad.any())


def _coded(texts: pa.Array) -> bool:
    """Are there digits that a number would not keep: leading zeros, or more than a float holds?"""
    series = pl.Series(values=pl.from_arrow(texts.cast(pa.string())))
    return bool(series.str.contains(r"^[+-]?(?:0\d|\d{17,}$)").any())


def convert(block: Block, plan: Plan) -> Converted:
    """Read a block's records as planned. Records that can't be read are left out and told in `faults`."""
    quick = {c.source: kind for c in plan.columns if c.source is not None and (kind := _quick_type(c)) is not None}
    while quick:
        try:
            return _converted(block, block.table(quick, plan.decimal), plan, quick)
        except UnreadError as error:  # only a column with something out of the ordinary goes the slow way
            if quick.pop(error.column, None) is None:
                quick = {}
    return _converted(block, block.table({}, plan.decimal), plan, quick)


def _quick_type(column: Column) -> pa.DataType | None:
    if column.kind == "float":
        return pa.float64()
    coded = column.time_format is not None and column.time_format.code != "iso" and column.repeats
    if column.kind == "symbol" or coded:
        return _DICTIONARY
    return None


def _converted(block: Block, table: pa.Table, plan: Plan, quick: Mapping[str, pa.DataType]) -> Converted:
    count = table.num_rows
    lines = block.lines
    result = Converted({}, lines, list(block.faults), count + len(block.faults))
    bad = np.zeros(count, bool)
    changed: list[tuple[Column, str, Mask]] = []
    faults: list[Fault] = []
    for column in plan.columns:
        if column.source is None:
            result.columns[column.name] = _constant(column, count)
            continue
        cells = _single(table.column(column.source))
        reading = _read(cells, column, plan, quick=column.source in quick)
        result.columns[column.name] = reading.values
        if reading.bad is not None:
            for record in np.flatnonzero(reading.bad & ~bad).tolist():
                reason = reading.reason if isinstance(reading.reason, str) else str(reading.reason[record])
                shown = _cell(cells, record)
                reason = f"{shown!r} {reason}" if shown else f"the {column.name} is missing"
                faults.append(Fault(int(lines[record]), column.source, reason, block.text(record)))
            bad |= reading.bad
        if reading.changed is not None:
            changed.append((column, *reading.changed))
    for column, reason, mask in changed:
        where = np.flatnonzero(mask & ~bad)
        if len(where):
            first = int(where[0])
            text = block.text(first)
            result.changes.append((column.source or "", reason, int(lines[first]), len(where), text))
    if faults:
        keep = ~bad
        chosen = pa.array(keep)
        result.columns = {name: values.filter(chosen) for name, values in result.columns.items()}
        result.lines = lines[keep]
        result.faults = sorted(result.faults + faults, key=lambda fault: fault.line)
    return result


def _constant(column: Column, count: int) -> pa.Array:
    if column.kind == "symbol":
        return pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(count, np.int32)), pa.array([column.constant], pa.string())
        )
    return pa.nulls(count, column.type)


def _single(cells: pa.ChunkedArray) -> pa.Array:
    return cells.chunk(0) if cells.num_chunks == 1 else cells.combine_chunks()


def _cell(cells: pa.Array, record: int) -> str:
    value = cells[record].as_py()
    return shortened(str(value).strip()) if value is not None else ""


def _read(cells: pa.Array, column: Column, plan: Plan, *, quick: bool) -> _Reading:
    kind = cells.type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        cells = cells.cast(pa.string())
    if column.kind == "symbol":
        return _symbols(cells)
    if column.kind == "time" and (pa.types.is_string(cells.type) or pa.types.is_dictionary(cells.type)):
        return _times(cells, column, plan)
    if column.kind == "float" and pa.types.is_float64(cells.type):
        return _floats(cells, column, recheck=quick)
    if pa.types.is_string(cells.type):
        return _from_text(cells, column, plan)
    return _from_typed(cells, column, plan)


def _symbols(cells: pa.Array) -> _Reading:
    if not pa.types.is_dictionary(cells.type):
        cells = cells.cast(pa.string()).dictionary_encode()
    elif cells.type != _DICTIONARY:
        cells = cells.cast(_DICTIONARY)
    given = cells.dictionary.to_pylist()
    stripped = [(text or "").strip() for text in given]
    codes = cells.indices.fill_null(-1).to_numpy()
    missing = np.array([text in _MISSING_SYMBOLS for text in stripped] + [True])
    spaced = np.array([a != b for a, b in zip(given, stripped, strict=True)] + [False])
    changed = ("the spaces around the symbol are left out", spaced[codes]) if spaced.any() else None
    if changed:
        cells = pa.DictionaryArray.from_arrays(cells.indices, pa.array(stripped, pa.string()))
    bad = missing[codes]
    return _Reading(cells, bad if bad.any() else None, "is no symbol", changed)


def _times(cells: pa.Array, column: Column, plan: Plan) -> _Reading:
    form = column.time_format
    if form is None:
        raise Invalid(f"The column {column.source} needs a time_format.", field="time_format")
    return _timely(form.read(cells.fill_null("") if cells.null_count else cells, plan.zone), form.title, plan)


def _timely(times: Times, title: str, plan: Plan) -> _Reading:
    values = pa.array(times.micros).cast(pa.timestamp("us")).cast(TIME)
    changed = ("the time is cut to microseconds", times.cut) if times.cut.any() else None
    if times.ok.all():
        return _Reading(values, None, "", changed)
    reasons = np.full(len(times.ok), f"is not a time as {title}", object)
    reasons[times.clock] = f"is skipped or repeated where the clocks change in {plan.zone}"
    return _Reading(values, ~times.ok, reasons, changed)


def _floats(cells: pa.Array, column: Column, *, recheck: bool) -> _Reading:
    """Numbers that are floats already. NaN is no value; infinite is an error, what may not be exact is asked of the
    text."""
    raw = cells.fill_null(0.0).to_numpy(zero_copy_only=False) if cells.null_count else cells.to_numpy()
    with np.errstate(invalid="ignore"):
        big = ~(np.abs(raw) < _EXACT)
    if not big.any():
        return _Reading(cells)
    if recheck:
        raise UnreadError(column.source or "")
    gone = np.isnan(raw)
    if gone.any():
        cells = pc.if_else(pa.array(gone), pa.scalar(None, pa.float64()), cells)
    return _Reading(cells, np.isinf(raw), "is not a finite number")


def _missing(texts: pa.Array) -> pa.Array:
    return pc.or_kleene(pc.is_null(texts), pc.is_in(pc.utf8_trim(texts, " \t"), pa.array(MISSING))).fill_null(True)


def _from_text(texts: pa.Array, column: Column, plan: Plan) -> _Reading:
    """Text as the column's kind; a missing value is null, except in text, which stays as it is."""
    if column.kind == "text":
        return _Reading(texts)
    gone = _missing(texts).to_numpy(zero_copy_only=False)
    series = pl.Series(values=pl.from_arrow(texts)).str.strip_chars(" \t")
    if column.kind in ("date", "timestamp"):
        return _inferred_times(series, gone, column, plan)
    if column.kind == "float":
        comma = plan.decimal == ","
        numbers = (series.str.replace(",", ".", literal=True) if comma else series).cast(pl.Float64, strict=False)
        read = numbers.is_not_null() & numbers.is_finite().fill_null(False)
        if comma:
            read &= ~series.str.contains(".", literal=True)
        large = (numbers.abs() >= _EXACT).fill_null(False).to_numpy() & read.to_numpy() & ~gone
        bad = ~read.to_numpy() & ~gone
        reasons = np.full(len(series), _WORDS["float"], object)
        grouped = series.str.contains(r"^[+-]?\d{1,3}(?:[,.' \x{a0}]\d{3})+(?:[.,]\d+)?$").fill_null(False).to_numpy()
        reasons[grouped] = "is not a number: separators of thousands are not read"
        reasons[(numbers.is_infinite() | numbers.is_nan()).fill_null(False).to_numpy()] = "is not a finite number"
        for record in np.flatnonzero(large).tolist():
            text = series[record]
            if re.fullmatch(r"[+-]?\d+", text) and int(float(text)) != int(text):
                bad[record], reasons[record] = True, "has more digits than a 64-bit float can hold"
        values = numbers.to_arrow().cast(pa.float64())
        return _Reading(_blanked(values, gone | bad), bad, reasons)
    if column.kind == "integer":
        integers = series.cast(pl.Int64, strict=False)
        fair = (integers.is_not_null() & ~series.str.contains(r"^[+-]?0\d|^\+|^-0$")).fill_null(False).to_numpy()
        bad = ~fair & ~gone
        return _Reading(_blanked(integers.to_arrow(), gone | bad), bad, _WORDS["integer"])
    words = series.str.to_lowercase()
    truth, fair = (words == "true").fill_null(False), words.is_in(["true", "false"]).fill_null(False).to_numpy()
    bad = ~fair & ~gone
    return _Reading(_blanked(truth.to_arrow(), gone | bad), bad, _WORDS["boolean"])


def _inferred_times(series: pl.Series, gone: Mask, column: Column, plan: Plan) -> _Reading:
    texts = series.to_arrow().cast(pa.string())
    if column.kind == "date":
        days = ISO_DATE.read(texts, None)
        bad = ~days.ok & ~gone
        values = pa.array((days.micros // 86_400_000_000).astype(np.int32)).cast(pa.date32())
        return _Reading(_blanked(values, gone | bad), bad, _WORDS["date"])
    naive, zoned = ISO_NAIVE.read(texts, plan.zone), ISO_ZONED.read(texts, None)
    ok = naive.ok | zoned.ok
    micros = np.where(naive.ok, naive.micros, zoned.micros)
    bad, cut = ~ok & ~gone, naive.cut | zoned.cut
    values = pa.array(micros).cast(pa.timestamp("us")).cast(TIME)
    changed = ("the time is cut to microseconds", cut) if cut.any() else None
    return _Reading(_blanked(values, gone | bad), bad, _WORDS["timestamp"], changed)


def _blanked(values: pa.Array, mask: Mask) -> pa.Array:
    return pc.if_else(pa.array(mask), pa.scalar(None, values.type), values) if mask.any() else values


def _from_typed(cells: pa.Array, column: Column, plan: Plan) -> _Reading:
    """Values that have a type already (Parquet, a query's answer) as the column's type, exactly."""
    kind = cells.type
    if pa.types.is_dictionary(kind):
        return _read(cells.dictionary_decode(), column, plan, quick=False)
    if pa.types.is_null(kind):
        missing = np.ones(len(cells), bool) if column.kind == "time" else None
        return _Reading(pa.nulls(len(cells), column.type), missing, "is no time")
    if column.kind in ("time", "timestamp") and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return _typed_times(cells, column, plan)
    if column.kind == "time":
        return _times(cells.cast(pa.string()), column, plan)
    if kind == column.type:
        return _Reading(cells)
    if column.kind == "text":
        return _Reading(cells.cast(pa.string()))
    if column.kind == "float" and pa.types.is_floating(kind):
        return _floats(cells.cast(pa.float64()), column, recheck=False)
    if column.kind == "float" and pa.types.is_decimal(kind):
        return _floats(cells.cast(pa.float64(), safe=False), column, recheck=False)
    if column.kind == "float" and pa.types.is_integer(kind):
        values = cells.cast(pa.float64(), safe=False)
        back = pc.equal(values.cast(kind, safe=False), cells).fill_null(True).to_numpy(zero_copy_only=False)
        return _Reading(values, ~back, "has more digits than a 64-bit float can hold")
    if column.kind == "integer" and pa.types.is_integer(kind):
        values = cells.cast(pa.int64(), safe=False)
        bad = pc.less(values, 0).fill_null(False).to_numpy(zero_copy_only=False) & (kind == pa.uint64())
        return _Reading(values, bad, "is greater than a 64-bit whole number can be")
    return _from_text(cells.cast(pa.string()), column, plan)


def _typed_times(cells: pa.Array, column: Column, plan: Plan) -> _Reading:
    kind = cells.type
    gone = cells.is_null().to_numpy(zero_copy_only=False)
    filled = (
        cells.fill_null(pa.scalar(0, pa.int64()).cast(kind)) if pa.types.is_timestamp(kind) and gone.any() else cells
    )
    if pa.types.is_date(kind):
        filled = cells.cast(pa.timestamp("s")).fill_null(pa.scalar(0, pa.timestamp("s")))
        kind = filled.type
    raw = filled.cast(pa.int64()).to_numpy()
    cut = np.zeros(len(raw), bool)
    if kind.unit == "ns":
        cut, micros = (raw % 1000 != 0) & ~gone, np.floor_divide(raw, 1000)
    else:
        micros = raw * {"s": 1_000_000, "ms": 1_000, "us": 1}[kind.unit]
    known = np.ones(len(raw), bool)
    if kind.tz is None and plan.zone not in (None, "UTC"):
        micros, known = localized(micros, str(plan.zone))
    values = pa.array(micros).cast(pa.timestamp("us")).cast(TIME)
    reasons = np.full(len(raw), f"is skipped or repeated where the clocks change in {plan.zone}", object)
    bad = ~known & ~gone
    if column.kind == "time":
        bad |= gone
    changed = ("the time is cut to microseconds", cut) if cut.any() else None
    return _Reading(_blanked(values, gone), bad if bad.any() else None, reasons, changed)
