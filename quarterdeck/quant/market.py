"""Importing market data (D2): files or a query in, one checked table in order of time and symbol out, with a report.

    with MarketImport(request, scratch) as data:
        schema = data.read()                  # everything is read and checked; nothing is given out before
        for batch in data.batches(): ...      # the table
        for batch in data.rejects(): ...      # T1's rejects
        data.report                           # D1's import results

Each line of the input is either a row of the table or of the rejects: never lost, never altered without a word.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quarterdeck.errors import Invalid
from quarterdeck.quant import time_format
from quarterdeck.quant.conversion import (
    ARROW,
    FLOATS,
    Column,
    Converted,
    Kind,
    Plan,
    convert,
    decimal_sign,
    kind_of,
    t1_names,
)
from quarterdeck.quant.delimited import DelimitedFile
from quarterdeck.quant.import_report import FileReport, ImportReport, Rejects
from quarterdeck.quant.ordering import Duplicates, Existing, Ordering
from quarterdeck.quant.source import Block, Fault, Format, Source, find_files, format_of
from quarterdeck.quant.tabular import ExcelSheet, ParquetFile, QueryAnswer

__all__ = ["Existing", "ImportReport", "MarketImport", "MarketRequest", "Progress"]

Progress = Callable[[int, int], None]
"""Told how many bytes have been read, and of how many in total (0 when unknown, as with a query)."""

_SAMPLE_ROWS = 100_000
_LINE_BITS = 40
_LINE_MASK = (1 << _LINE_BITS) - 1
_PRICES = ("open", "high", "low", "close", "adj_close", "price", "bid", "ask")


@dataclass(frozen=True, kw_only=True)
class MarketRequest:
    """What to read and how; the names and meanings are those of the parameters of `data_import` (K1)."""

    path: str | Sequence[str] | None = None
    url: str | None = None
    query: str | None = None
    format: Format | None = None
    encoding: str | None = None
    delimiter: str | None = None
    decimal: str | None = None
    sheet: str | int | None = None
    header_row: int | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    time_format: str | None = None
    time_zone: str | None = None
    on_error: Literal["reject", "fail"] = "reject"


@dataclass
class _Input:
    """One file or query of the import, with what was learned of it before reading."""

    label: str
    open: Callable[[], Source]
    stem: str | None
    names: dict[str, str] = field(default_factory=dict)
    kinds: dict[str, Kind | None] = field(default_factory=dict)
    decimal: str = "."
    time: time_format.TimeFormat | None = None
    times_repeat: bool = True
    source: Source | None = None
    first: Block | None = None
    size: int = 0


class MarketImport:
    """One import, from opening the sources to the report.

    scratch   a folder on this node; a folder of this import's own is made in it and removed at the end
    schema    append: the table's schema, which the new rows must fit
    existing  append: what the table holds, to find duplicates
    memory    bytes for rows held at a time, roughly; more go to scratch
    Raises Invalid (or a kin of it) with one sentence when the input can't be used as a whole, and at the first line
    that is rejected when `request.on_error` is `fail`.
    """

    def __init__(
        self,
        request: MarketRequest,
        scratch: Path,
        *,
        schema: pa.Schema | None = None,
        existing: Existing | None = None,
        progress: Progress | None = None,
        memory: int = 256 << 20,
    ) -> None:
        self.report = ImportReport()
        self._request = request
        self._schema, self._existing = schema, existing
        self._progress = progress
        self._memory = memory
        self._parent = scratch
        self._folder: Path | None = None
        self._inputs: list[_Input] = []
        self._rejects: Rejects | None = None
        self._ordering: Ordering | None = None
        self._given = self._peeking = False

    def __enter__(self) -> MarketImport:
        self._folder = Path(tempfile.mkdtemp(prefix="import-", dir=self._parent))
        self._rejects = Rejects(self._folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for entry in self._inputs:
            if entry.source is not None:
                entry.source.close()
        if self._rejects is not None:
            self._rejects.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def read(self) -> pa.Schema:
        """Read and check all input. Returns the table's schema: symbol, time, then the others as they stand in the
        input."""
        if self._folder is None or self._ordering is not None:
            raise RuntimeError("read() is called once, within the with statement")
        kinds = self._learned()
        schema = pa.schema([pa.field(name, ARROW[kind]) for name, kind in kinds.items()])
        self._ordering = Ordering(schema, self._folder, self._memory)
        self.report.columns = {name: str(schema.field(name).type) for name in schema.names}
        total, before = sum(entry.size for entry in self._inputs), 0
        for index, entry in enumerate(self._inputs):
            self._read_input(index, entry, kinds, before, total)
            before += entry.size
        if self._progress:
            self._progress(total, total)
        if not self.report.rows_read:
            raise Invalid(f"There are no rows in {self._inputs[0].label}.", field="path")
        return schema

    def peek(self) -> pa.Schema:
        """The schema that `read` would find, by the beginning of each source; an import that is not to be made.

        Raises Invalid for what `read` would refuse there, and when no time of a sample has the given format.
        """
        self._peeking = True
        kinds = self._learned()
        return pa.schema([pa.field(name, ARROW[kind]) for name, kind in kinds.items()])

    def _learned(self) -> dict[str, Kind]:
        if self._request.time_format:
            time_format.given(self._request.time_format)
        time_format.zone_named(self._request.time_zone)
        if self._request.decimal not in (None, ".", ","):
            raise Invalid("decimal is . or , and nothing else.", field="decimal")
        self._inputs = self._found()
        for entry in self._inputs:
            self._learn(entry, keep=len(self._inputs) == 1)
        return self._kinds()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The table's rows in order of time and symbol, once; the report is whole when they have all been taken."""
        if self._ordering is None or self._given:
            raise RuntimeError("batches() is called once, after read()")
        self._given = True
        yield from self._ordering.batches(self._duplicates, self._kept, self._existing)
        self.report.symbols = len(self._ordering.written)
        self.report.first_symbols = self._ordering.written[:20]
        for entry in self.report.files:
            if entry.rows_written + entry.rows_rejected != entry.rows_read:
                raise RuntimeError(f"rows of {entry.file} were lost: {entry}")

    def rejects(self) -> Iterator[pa.RecordBatch]:
        """T1's rejects (file, line, column, action, reason, text), complete once `batches` has ended."""
        if self._rejects is None:
            raise RuntimeError("rejects() is called within the with statement")
        yield from self._rejects.batches()

    # the sources

    def _found(self) -> list[_Input]:
        request = self._request
        if (request.path is None) == (request.url is None):
            raise Invalid("Give either path, or url and query.", field="path")
        if request.url is not None:
            url, query = request.url, request.query
            if not query:
                raise Invalid("url needs a query to ask there.", field="query")
            return [_Input("query", lambda: QueryAnswer(url, query), None)]
        files = find_files(request.path or [])
        plain = len({file.name for file in files}) == len(files)
        return [self._input(file, file.name if plain else str(file)) for file in files]

    def _input(self, file: Path, label: str) -> _Input:
        request = self._request
        kind = request.format or format_of(file)

        def opened() -> Source:
            if kind == "parquet":
                return ParquetFile(file, label=label)
            if kind == "excel":
                return ExcelSheet(file, label=label, sheet=request.sheet, header_row=request.header_row)
            return DelimitedFile(
                file,
                label=label,
                encoding=request.encoding,
                delimiter=request.delimiter,
                header_row=request.header_row,
            )

        stem = file.name
        for ending in (".gz", ".zst"):
            stem = stem.removesuffix(ending)
        return _Input(label, opened, Path(stem).stem)

    def _learn(self, entry: _Input, *, keep: bool) -> None:
        """Names, kinds, decimal sign and time format of a source, by its first block."""
        source = entry.source = entry.open()
        entry.size = source.size
        entry.names = t1_names(source.names, self._request.columns, entry.label)
        meant = {name: original for original, name in entry.names.items()}
        for name, original in meant.items():
            self.report.sources.setdefault(name, original)
        if "time" not in meant:
            raise Invalid(
                f"{entry.label} has no column of times: it has {', '.join(source.names)}; name it in columns.",
                field="columns",
            )
        if "symbol" not in meant and entry.stem is None:
            raise Invalid("The query answers no symbol: name its column in columns, or select one.", field="columns")
        maker = next(source.blocks(), None)
        entry.first = maker() if maker else None
        if entry.first is not None and (len(entry.first.lines) or entry.first.faults):
            self._sample(entry, source, entry.first, meant)
        elif keep:
            raise Invalid(f"{entry.label} has column names, but no rows.", field="path")
        if not keep:
            source.close()
            entry.source = entry.first = None

    def _sample(self, entry: _Input, source: Source, block: Block, meant: Mapping[str, str]) -> None:
        if not len(block.lines):
            fault = block.faults[0]
            raise Invalid(
                f"No line of {entry.label} can be read by its header: line {fault.line} {fault.reason}.", field="path"
            )
        table = block.table({}, ".").slice(0, _SAMPLE_ROWS)
        if not source.typed:
            numbers = [table.column(original) for name, original in meant.items() if name in FLOATS]
            entry.decimal = self._request.decimal or decimal_sign(numbers, entry.label)
        for name, original in meant.items():
            column = table.column(original).combine_chunks()
            if name == "time":
                entry.time = self._time(column, original, entry, source)
                entry.times_repeat = pc.count_distinct(column).as_py() * 2 < len(column)
                entry.kinds[name] = "time"
            elif name == "symbol":
                entry.kinds[name] = "symbol"
            elif name in FLOATS:
                if pa.types.is_boolean(column.type) or pa.types.is_temporal(column.type):
                    raise Invalid(
                        f"The column {original} of {entry.label} holds no numbers ({column.type}).", field="columns"
                    )
                entry.kinds[name] = "float"
            else:
                entry.kinds[name] = _kind(column, entry.decimal, typed=source.typed)

    def _time(self, column: pa.Array, name: str, entry: _Input, source: Source) -> time_format.TimeFormat | None:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            return None
        if self._request.time_format:
            form = time_format.given(self._request.time_format)
            sample = column.slice(0, 1000).cast(pa.string()).fill_null("")
            if self._peeking and len(sample) and not form.read(sample, None).ok.any():
                raise Invalid(
                    f"No time of {entry.label} can be read as {form.title}: the first is {sample[0].as_py()!r}.",
                    field="time_format",
                )
            return form
        if not (
            pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_integer(column.type)
        ):
            raise Invalid(f"The column {name} of {entry.label} holds no times ({column.type}).", field="columns")
        return time_format.detected(column, column=name, label=entry.label, relaxed=source.relaxed_times)

    def _kinds(self) -> dict[str, Kind]:
        """The table's columns: of the table that is there, or of all sources together."""
        if self._schema is not None:
            kinds = {entry.name: _kind_of_type(entry.name, entry.type) for entry in self._schema}
            for source in self._inputs:
                for original, name in source.names.items():
                    if name not in kinds:
                        raise Invalid(
                            f"The table has no column {name}, which {source.label} ({original}) has.", field="table"
                        )
            return kinds
        found: dict[str, set[Kind]] = {"symbol": {"symbol"}, "time": {"time"}}
        for source in self._inputs:
            for name in source.names.values():
                kind = source.kinds.get(name)
                found.setdefault(name, set()).update({kind} if kind else ())
        return {name: _widest(kinds) for name, kinds in found.items()}

    # the rows

    def _read_input(self, index: int, entry: _Input, kinds: Mapping[str, Kind], before: int, total: int) -> None:
        source = entry.source or entry.open()
        entry.source = source
        meant = {name: original for original, name in entry.names.items()}
        plan = Plan(
            tuple(
                Column(
                    name,
                    meant.get(name),
                    kind,
                    entry.time if name == "time" else None,
                    entry.times_repeat,
                    entry.stem if name == "symbol" else None,
                )
                for name, kind in kinds.items()
            ),
            entry.decimal,
            self._request.time_zone,
        )
        report = FileReport(file=entry.label, notes=[*source.notes, *_renamed(entry)])
        self.report.files.append(report)
        if "symbol" not in meant:
            report.notes.append(f"symbol {entry.stem} from the file's name")
        if entry.decimal == ",":
            report.notes.append("decimal comma")
        if entry.time is not None:
            report.notes.append(f"time as {entry.time.title}")
        lacking = [name for name in kinds if name != "symbol" and name not in meant]
        if lacking:
            report.notes.append(f"without {', '.join(lacking)}")
        first, entry.first = entry.first, None
        makers = chain([lambda: first] if first is not None else [], source.blocks())
        for converted in _in_order(makers, plan):
            self._take(index, report, converted)
            if self._progress:
                self._progress(min(before + source.position(), total), total)
        source.close()
        entry.source = None
        self._conclude(report)

    def _take(self, index: int, report: FileReport, converted: Converted) -> None:
        report.rows_read += converted.records
        for fault in converted.faults:
            self._refuse(report, fault)
        for change in converted.changes:
            column, reason, line, count, text = change
            known = report.changes.get((column, reason))
            report.changes[column, reason] = (known[0], known[1] + count, known[2]) if known else (line, count, text)
        if not len(converted.lines) or self._ordering is None:
            return
        times = converted.columns["time"].cast(pa.int64()).to_numpy()
        report.arrived(times, converted.lines)
        for name in _PRICES:
            if name in converted.columns and (pc.min(converted.columns[name]).as_py() or 1) <= 0:
                low = pc.less_equal(converted.columns[name], 0)
                report.low_prices += int(pc.sum(low).as_py() or 0)
        self._ordering.add(converted.columns, converted.lines + (index << _LINE_BITS))

    def _conclude(self, report: FileReport) -> None:
        for (column, reason), (line, count, text) in report.changes.items():
            words = reason if count == 1 else f"{reason} (in {count} lines, this is the first)"
            self._note(report, Fault(line, column, words, text, "changed"))
            report.notes.append(words if count == 1 else f"{reason}: {count} lines")
        if report.low_prices:
            report.notes.append(f"{report.low_prices} prices are zero or below")
        if report.unsorted_line:
            reason = "the rows were not in order of time and have been sorted"
            report.notes.append(reason)
            self._note(
                report,
                Fault(report.unsorted_line, "time", f"{reason}; this is the first that is too early", "", "sorted"),
            )

    def _refuse(self, report: FileReport, fault: Fault) -> None:
        if self._request.on_error == "fail":
            column = f", column {fault.column}" if fault.column else ""
            raise Invalid(f"{report.file}, line {fault.line}{column}: {fault.reason} ({fault.text!r}).", field="path")
        report.rows_rejected += 1
        self._note(report, fault)

    def _note(self, report: FileReport, fault: Fault) -> None:
        if self._rejects is not None:
            self._rejects.add(report.file, fault)

    def _duplicates(self, twice: Duplicates) -> None:
        places = [self._where(*pair) for pair in zip(twice.firsts, twice.origins, strict=True)]
        reasons = [
            f"{symbol} at {time} UTC is already {place}"
            for symbol, time, place in zip(twice.symbols, twice.times, places, strict=True)
        ]
        lines = [origin & _LINE_MASK for origin in twice.origins]
        owners = [origin >> _LINE_BITS for origin in twice.origins]
        column = "symbol, time"
        if self._request.on_error == "fail":
            self._refuse(self.report.files[owners[0]], Fault(lines[0], column, reasons[0], twice.texts[0]))
        for owner in owners:
            self.report.files[owner].rows_rejected += 1
        if self._rejects is not None:
            files = [self.report.files[owner].file for owner in owners]
            self._rejects.extend(files, lines, column, "rejected", reasons, twice.texts)

    def _where(self, first: int, origin: int) -> str:
        if first < 0:
            return "in the table"
        if first >> _LINE_BITS == origin >> _LINE_BITS:
            return f"in line {first & _LINE_MASK}"
        return f"in line {first & _LINE_MASK} of {self.report.files[first >> _LINE_BITS].file}"

    def _kept(self, origins: np.ndarray[tuple[int], np.dtype[np.int64]], first: int, last: int) -> None:
        counts = np.bincount(origins >> _LINE_BITS, minlength=len(self.report.files))
        for report, count in zip(self.report.files, counts.tolist(), strict=True):
            report.rows_written += count
        self.report.span(first, last)


def _in_order(makers: Iterator[Callable[[], Block]], plan: Plan) -> Iterator[Converted]:
    """Blocks converted by a few threads, in their order, a few ahead at most."""
    workers = max(1, min(4, os.cpu_count() or 1))
    waiting: deque[Future[Converted]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="import") as pool:
        try:
            for maker in makers:
                waiting.append(pool.submit(lambda made=maker: convert(made(), plan)))  # type: ignore[misc]
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _renamed(entry: _Input) -> list[str]:
    return [f"column {original} is {name}" for original, name in entry.names.items() if original != name]


def _kind(column: pa.Array, decimal: str, *, typed: bool) -> Kind | None:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_null(kind):
        return None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return "text" if typed else kind_of(column, decimal)
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "float"
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_date32(kind):
        return "date"
    return "timestamp" if pa.types.is_timestamp(kind) or pa.types.is_date64(kind) else "text"


def _kind_of_type(name: str, kind: pa.DataType) -> Kind:
    if name in ("symbol", "time"):
        return "symbol" if name == "symbol" else "time"
    return _kind(pa.nulls(0, kind), ".", typed=True) or "text"


def _widest(kinds: set[Kind]) -> Kind:
    if len(kinds) == 1:
        return next(iter(kinds))
    if kinds and kinds <= {"integer", "float"}:
        return "float"
    return "timestamp" if kinds and kinds <= {"date", "timestamp"} else "text"
