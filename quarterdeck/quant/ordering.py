"""Rows in any order, and more of them than memory holds, brought into the order of time and symbol, each key once.

Rows are collected up to a share of the memory given; then they are sorted by time and put into a scratch file (a
*run*). At the end, time is cut into ranges that each fit into memory; of each range the runs' rows are read, sorted
and compared. Every row is written and read once at most, however many runs there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quarterdeck.errors import Invalid
from quarterdeck.quant.source import Mask
from quarterdeck.quant.time_format import TIME

__all__ = ["BATCH_ROWS", "Duplicates", "Existing", "Ordering"]

Existing = Callable[[datetime, datetime], Iterable[pa.RecordBatch | pa.Table]]
"""What a table holds already: from the first and last time of a range to batches with at least `symbol` and `time`."""

BATCH_ROWS = 65_536
_LEAST_BATCH = 16_384
_RUN_BATCH = 8_192
# no column of a table has a space in its name
_CODE, _ORIGIN = "symbol code", "row origin"
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """Rows whose symbol and time another has: where each came from, where the first came from (-1: the table itself),
    and the row as text."""

    origins: list[int]
    firsts: list[int]
    symbols: list[str]
    times: list[str]
    texts: list[str]


@dataclass
class _Run:
    """Rows in order of time, in a scratch file, read once from front to back."""

    path: Path
    firsts: Ints
    next: int = 0
    rest: pa.Table | None = None

    def until(self, end: int | None) -> list[pa.Table]:
        """The rows not yet given whose time is before `end` (None: all)."""
        parts = [] if self.rest is None else [self.rest]
        self.rest = None
        stop = len(self.firsts) if end is None else int(np.searchsorted(self.firsts, end))
        if stop > self.next:
            with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file) as reader:
                parts += [pa.Table.from_batches([reader.get_batch(i)]) for i in range(self.next, stop)]
            self.next = stop
        if end is None or not parts:
            return parts
        last = parts.pop()
        cut = int(np.searchsorted(_micros(last), end))
        if cut < last.num_rows:
            self.rest = last.slice(cut)
        if cut:
            parts.append(last.slice(0, cut))
        # a range may end inside of what an earlier range left
        return parts


@dataclass
class Ordering:
    """Collects the rows of an import, gives them back in order.

    schema   the table's: `symbol`, `time`, and any others
    scratch  an existing folder for runs; removing it is the caller's
    memory   bytes that collected rows may take, roughly
    """

    schema: pa.Schema
    scratch: Path
    memory: int
    symbols: dict[str, int] = field(default_factory=dict)
    written: list[str] = field(default_factory=list)
    _parts: list[pa.Table] = field(default_factory=list)
    _held: int = 0
    _runs: list[_Run] = field(default_factory=list)
    _rest: pa.Table | None = None
    _row_bytes: float = 64.0

    def add(self, columns: Mapping[str, pa.Array], origin: Ints) -> None:
        """Rows as arrays, `symbol` as a dictionary; `origin` is any number that grows in order of arrival."""
        if not len(origin):
            return
        symbol = columns["symbol"]
        indices = symbol.indices.to_numpy()
        names = symbol.dictionary.to_pylist()
        codes = np.zeros(len(names), np.int32)
        for used in np.flatnonzero(np.bincount(indices, minlength=len(names))).tolist():
            codes[used] = self.symbols.setdefault(names[used], len(self.symbols))
        arrays = {_CODE: pa.array(codes[indices]), _ORIGIN: pa.array(origin)}
        arrays |= {name: columns[name] for name in self.schema.names if name != "symbol"}
        table = pa.table(arrays)
        self._parts.append(table)
        self._held += table.nbytes
        if self._held > self.memory // 3:
            self._spill()

    def _spill(self) -> None:
        table = pa.concat_tables(self._parts).combine_chunks()
        self._row_bytes = max(1.0, self._held / table.num_rows)
        self._parts, self._held = [], 0
        times = _micros(table)
        if (times[1:] < times[:-1]).any():
            order = np.argsort(times, kind="stable")
            table, times = table.take(pa.array(order)), times[order]
        path = self.scratch / f"run-{len(self._runs)}.arrow"
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        try:
            with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
                writer.write_table(table, max_chunksize=_RUN_BATCH)
        except OSError as error:
            raise Invalid(f"The scratch folder of this node can't take the rows to sort ({error}).") from error
        self._runs.append(_Run(path, times[::_RUN_BATCH].copy()))

    def batches(
        self,
        duplicates: Callable[[Duplicates], None],
        kept: Callable[[Ints, int, int], None],
        existing: Existing | None,
    ) -> Iterator[pa.RecordBatch]:
        """All rows once, in order of time and then symbol, in batches of 16,384 to 65,536 rows (the last may be
        smaller).

        Of rows with the same symbol and time the first that arrived is given, the others go to `duplicates`, as do
        those that `existing` has. `kept` is told, for each range, the origins of the rows that are given and its first
        and last time in microseconds.
        """
        names = np.array(list(self.symbols), object)
        ranks = np.empty(len(names), np.int64)
        ranks[np.argsort(names)] = np.arange(len(names))
        dictionary = pa.array(names, pa.string())
        written = np.zeros(len(names), bool)
        for table in self._ranges():
            ordered = self._distinct(table, ranks, names, duplicates, existing)
            if ordered.num_rows:
                times = _micros(ordered)
                kept(ordered.column(_ORIGIN).to_numpy(), int(times[0]), int(times[-1]))
                written[ordered.column(_CODE).to_numpy()] = True
                yield from self._cut(self._finished(ordered, dictionary))
        if self._rest is not None and self._rest.num_rows:
            yield from self._rest.combine_chunks().to_batches(max_chunksize=BATCH_ROWS)
            self._rest = None
        self.written = sorted(names[written].tolist())

    def _ranges(self) -> Iterator[pa.Table]:
        if not self._runs:
            parts, self._parts = self._parts, []
            if parts:
                yield pa.concat_tables(parts).combine_chunks()
            return
        if self._parts:
            self._spill()
        firsts = np.sort(np.concatenate([run.firsts for run in self._runs]))
        step = max(1, int(self.memory / 3 / self._row_bytes / _RUN_BATCH))
        ends: list[int | None] = [int(end) for end in np.unique(firsts[step::step])]
        for end in [*ends, None]:
            parts = [part for run in self._runs for part in run.until(end)]
            if parts:
                yield pa.concat_tables(parts).combine_chunks()

    def _distinct(
        self,
        table: pa.Table,
        ranks: Ints,
        names: npt.NDArray[np.object_],
        duplicates: Callable[[Duplicates], None],
        existing: Existing | None,
    ) -> pa.Table:
        times, codes = _micros(table), table.column(_CODE).to_numpy()
        rank = ranks[codes]
        keys, index = _keys(times, rank, len(ranks))
        if (keys[1:] <= keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            table, keys = table.take(pa.array(order)).combine_chunks(), keys[order]
        again = np.concatenate(([False], keys[1:] == keys[:-1]))
        first = np.maximum.accumulate(np.where(again, 0, np.arange(len(keys))))
        held = np.zeros(len(keys), bool)
        if existing is not None:
            held = self._held_already(keys, _micros(table), ranks, index, existing)
        out = again | held
        if not out.any():
            return table
        origin = table.column(_ORIGIN).to_numpy()
        earlier = np.where(held, -1, origin[first])
        rows = np.flatnonzero(out)
        for start in range(0, len(rows), _LEAST_BATCH):
            part = rows[start : start + _LEAST_BATCH]
            duplicates(self._told(table.take(pa.array(part)), origin[part], earlier[part], names))
        return table.filter(pa.array(~out)).combine_chunks()

    def _told(self, rows: pa.Table, origins: Ints, firsts: Ints, names: npt.NDArray[np.object_]) -> Duplicates:
        symbols: list[str] = names[rows.column(_CODE).to_numpy()].tolist()
        times = _texts(rows.column("time"))
        others = [_texts(rows.column(name)) for name in self.schema.names if name not in ("symbol", "time")]
        texts = [",".join(fields) for fields in zip(symbols, times, *others, strict=True)]
        return Duplicates(origins.tolist(), firsts.tolist(), symbols, times, texts)

    def _held_already(self, keys: Ints, times: Ints, ranks: Ints, index: Ints | None, existing: Existing) -> Mask:
        found = np.zeros(len(keys), bool)
        low, high = int(times[0]), int(times[-1])
        for batch in existing(_moment(low), _moment(high)):
            table = pa.table({"symbol": batch.column("symbol"), "time": batch.column("time").cast(TIME)})
            symbol = table.column("symbol").combine_chunks()
            if not pa.types.is_dictionary(symbol.type):
                symbol = symbol.dictionary_encode()
            known = np.array([self.symbols.get(str(name), -1) for name in symbol.dictionary.to_pylist()], np.int64)
            codes, moments = known[symbol.indices.to_numpy()], _micros(table)
            fair = (codes >= 0) & (moments >= low) & (moments <= high)
            if index is not None:
                fair &= np.isin(moments, index)
            theirs, _ = _keys(moments[fair], ranks[codes[fair]], len(ranks), index, low)
            found |= np.isin(keys, theirs)
        return found

    def _finished(self, table: pa.Table, dictionary: pa.Array) -> pa.Table:
        codes = table.column(_CODE).combine_chunks()
        symbol = dictionary.take(codes.chunk(0) if isinstance(codes, pa.ChunkedArray) else codes)
        columns = {"symbol": symbol} | {name: table.column(name) for name in self.schema.names if name != "symbol"}
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)

    def _cut(self, table: pa.Table) -> Iterator[pa.RecordBatch]:
        if self._rest is not None and self._rest.num_rows:
            table = pa.concat_tables([self._rest, table]).combine_chunks()
        size = table.num_rows
        keep = size % BATCH_ROWS
        if keep >= _LEAST_BATCH:
            keep = 0
        self._rest = pa.concat_tables([table.slice(size - keep)]).combine_chunks() if keep else None
        yield from table.slice(0, size - keep).to_batches(max_chunksize=BATCH_ROWS)


def _micros(table: pa.Table) -> Ints:
    values: Ints = table.column("time").cast(pa.int64()).to_numpy()
    return values


def _keys(
    times: Ints, rank: Ints, count: int, index: Ints | None = None, low: int | None = None
) -> tuple[Ints, Ints | None]:
    """One whole number for each time and symbol, in their order; with the distinct times where those had to be
    counted."""
    if not len(times):
        return np.empty(0, np.int64), index
    if index is None:
        start = int(times.min()) if low is None else low
        if (int(times.max()) - start + 1) * max(count, 1) < 1 << 62:
            return (times - start) * count + rank, None
        index = np.unique(times)
    return np.searchsorted(index, times) * count + rank, index


def _moment(micros: int) -> datetime:
    return datetime.fromtimestamp(micros // 1_000_000, UTC).replace(microsecond=micros % 1_000_000)


def _texts(column: pa.ChunkedArray) -> list[str]:
    """A column's values for a message; each distinct time is written once."""
    if pa.types.is_timestamp(column.type):
        coded = (column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()).dictionary_encode()
        known = [*map(_time_text, coded.dictionary.to_pylist()), ""]
        return [known[code] for code in coded.indices.fill_null(len(known) - 1).to_numpy().tolist()]
    return ["" if value is None else str(value) for value in column.to_pylist()]


def _time_text(value: datetime) -> str:
    return str(value).removesuffix("+00:00").removesuffix(" 00:00:00")
