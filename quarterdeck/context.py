"""What a run may do: each kind's `run(context, params)` gets a `Context`: no database, but a port to the node."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

import pyarrow as pa

from quarterdeck.errors import Invalid
from quarterdeck.reach import out_of_reach

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

__all__ = ["Context", "Port", "Source", "TableWriter", "as_table"]

_BLOCK_ROWS = 65_536
_NEVER = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
_BLOCK_BYTES = 8_000_000  # of rows in memory; far less when encoded

Frame = "pl.DataFrame | pd.DataFrame | pa.Table | pa.RecordBatch"


@dataclass(frozen=True, slots=True)
class Source:
    """Rows that were asked for: either batches as stored, or a folder of Parquet files that is read in place."""

    schema: pa.Schema | None
    batches: Iterator[pa.Table]
    folder: str | None = None


class Port(Protocol):
    """What a context needs of the process that runs it."""

    def progress(self, fraction: float | None, message: str) -> None: ...

    def dataset(self, name: str, selection: Mapping[str, Any]) -> Source: ...

    def result(self, job: int, table: str, ordinal: int | None) -> Source: ...

    def open_table(self, name: str, schema: pa.Schema, publish: Mapping[str, Any] | None) -> None: ...

    def write_block(self, name: str, rows: pa.Table) -> None: ...

    def close_table(self, name: str, symbols: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """The surroundings of a run.

    `scratch` is the attempt's own folder, the working folder too, gone after the end. `ordinal` counts the job's tasks
    from 0, `tasks` is how many there are, `attempt` counts from 1.
    """

    job_id: int
    task_name: str
    ordinal: int
    tasks: int
    attempt: int
    scratch: Path
    job_params: dict[str, Any]
    port: Port = field(repr=False)

    def progress(self, fraction: float | None, message: str = "") -> None:
        """Say how far the run is: `fraction` from 0 to 1, None when it can't be known."""
        if fraction is not None:
            fraction = min(max(float(fraction), 0.0), 1.0)
            if fraction != fraction:
                fraction = None
        self.port.progress(fraction, str(message))

    def read(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        symbols: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """A dataset's rows with `start` <= time <= `end` and those symbols, sorted by time and symbol.

        Times without a zone are UTC. Columns that are asked for are returned in the order of the request.

        Raises:
            NotFound: there is no such dataset for the job's creator.
            Invalid: it has no such column.
        """
        import polars as pl

        source = self.port.dataset(name, _selection(start, end, symbols))
        if source.folder is not None:
            frame = _scan(source.folder, name, columns, start, end, symbols)
        else:
            parts = [_chosen(_frame(batch), start, end, symbols) for batch in source.batches]
            if not parts and source.schema is not None:
                parts = [_frame(source.schema.empty_table())]
            frame = pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()
        order = [one for one in ("time", "symbol") if one in frame.columns]
        if order:
            frame = frame.sort(order, maintain_order=True)
        return _columns(frame, name, columns)

    def read_batches(
        self,
        name: str,
        *,
        columns: Sequence[str] | None = None,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        symbols: Sequence[str] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """As `read`, but in batches and in the order in which the rows are stored: for more than fits in memory."""
        source = self.port.dataset(name, _selection(start, end, symbols))
        if source.folder is not None:
            yield from (
                _columns(_scan(source.folder, name, None, start, end, symbols), name, columns).to_arrow().to_batches()
            )
            return
        for batch in source.batches:
            frame = _columns(_chosen(_frame(batch), start, end, symbols), name, columns)
            if frame.height:
                yield from frame.to_arrow().to_batches()

    def schema(self, name: str) -> pa.Schema:
        """The columns of a dataset and their types.

        Raises:
            NotFound: there is no such dataset for the job's creator.
        """
        source = self.port.dataset(name, _selection(_NEVER, _NEVER, None))
        if source.folder is not None:
            import polars as pl

            return (
                pl.scan_parquet(Path(source.folder) / "**" / "*.parquet").collect_schema().to_frame().to_arrow().schema
            )
        return source.schema

    def result(self, job_id: int, table: str, ordinal: int | None = None) -> pl.DataFrame:
        """A result table of an earlier job that the job's creator may read; of task `ordinal`, or of all its tasks."""
        import polars as pl

        source = self.port.result(job_id, table, ordinal)
        parts = [_frame(batch) for batch in source.batches]
        if not parts and source.schema is not None:
            parts = [_frame(source.schema.empty_table())]
        return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()

    def write(self, table: str, frame: pl.DataFrame | pd.DataFrame | pa.Table) -> None:
        """Write a whole result table. Its name and columns are part of the product: see the tables of each kind."""
        rows = as_table(frame, table)
        with self.writer(table, rows.schema) as writer:
            writer.write(rows)

    def writer(self, table: str, schema: pa.Schema, *, publish: Mapping[str, Any] | None = None) -> TableWriter:
        """A result table that is written in parts.

        `publish` (name, mode create, append or replace, public, folder, synthetic) makes it a dataset when the task
        succeeds; what forbids that (the name is taken, another schema) is raised here.
        """
        if not table or len(table) > 80 or "\0" in table:
            raise Invalid("a result table needs a name of 1 to 80 characters")
        self.port.open_table(table, schema, publish)
        return TableWriter(table, schema, self.port.write_block, self.port.close_table)


class TableWriter:
    """Rows of one table, collected into blocks. A context manager: left without an error, the table is complete."""

    def __init__(
        self,
        name: str,
        schema: pa.Schema,
        block: Callable[[str, pa.Table], None],
        close: Callable[[str, int], None],
    ) -> None:
        self.name = name
        self.schema = schema
        self.rows = 0
        self._block = block
        self._close = close
        self._waiting: list[pa.Table] = []
        self._count = self._size = 0
        self._symbols: set[Any] = set()
        self._closed = False

    def write(self, rows: pa.RecordBatch | pa.Table | pl.DataFrame | pd.DataFrame) -> None:
        """Append rows; their columns must be those of the schema, in any order."""
        if self._closed:
            raise Invalid(f"table '{self.name}' is closed already")
        table = _cast(as_table(rows, self.name), self.schema, self.name)
        if not table.num_rows:
            return
        self._note_symbols(table)
        start = 0
        while start < table.num_rows:
            per_row = max(table.nbytes / table.num_rows, 1.0)
            room = min(_BLOCK_ROWS - self._count, int((_BLOCK_BYTES - self._size) / per_row))
            part = table.slice(start, max(room, 1))
            self._waiting.append(part)
            self._count += part.num_rows
            self._size += int(part.num_rows * per_row)
            start += part.num_rows
            if self._count >= _BLOCK_ROWS or self._size >= 0.95 * _BLOCK_BYTES:
                self._flush()
        self.rows += table.num_rows

    def flush(self) -> None:
        """Hand over what was collected, so that others see it now (a live table)."""
        self._flush()

    def _note_symbols(self, table: pa.Table) -> None:
        if "symbol" in self.schema.names:
            self._symbols.update(table.column("symbol").unique().to_pylist())

    def _flush(self) -> None:
        if self._waiting:
            rows = pa.concat_tables(self._waiting).combine_chunks()
            self._waiting, self._count, self._size = [], 0, 0
            self._block(self.name, rows)

    def close(self) -> None:
        """Hand over the rest: the table is complete."""
        if not self._closed:
            self._flush()
            self._closed = True
            self._close(self.name, len(self._symbols))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


def as_table(frame: Any, name: str = "table") -> pa.Table:
    """A Polars, pandas or Arrow frame as an Arrow table; pandas' index becomes columns where it has names."""
    if isinstance(frame, pa.Table):
        return frame
    if isinstance(frame, pa.RecordBatch):
        return pa.Table.from_batches([frame])
    if hasattr(frame, "to_arrow"):
        return frame.to_arrow()
    module = type(frame).__module__.split(".")[0]
    if module == "pandas":
        named = any(one is not None for one in frame.index.names)
        flat = frame.reset_index() if named else frame
        try:
            return pa.Table.from_pandas(flat, preserve_index=False).replace_schema_metadata(None)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise Invalid(f"table '{name}': {error.args[0]}") from None
    raise Invalid(f"table '{name}' must be a Polars, pandas or Arrow frame, not {type(frame).__name__}")


def _cast(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    if table.schema.equals(schema):
        return table
    missing = [one for one in schema.names if one not in table.column_names]
    if missing:
        raise Invalid(f"table '{name}' lacks the column '{missing[0]}'")
    extra = [one for one in table.column_names if one not in schema.names]
    if extra:
        raise Invalid(f"table '{name}' has a column '{extra[0]}' that its schema does not have")
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise Invalid(f"table '{name}' does not fit its schema: {error}") from None


def _frame(table: pa.Table) -> pl.DataFrame:
    import polars as pl

    frame = pl.from_arrow(table)
    return frame.to_frame() if isinstance(frame, pl.Series) else frame


def _utc(time: dt.datetime) -> dt.datetime:
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def _selection(start: dt.datetime | None, end: dt.datetime | None, symbols: Iterable[str] | None) -> dict[str, Any]:
    return {
        "start": None if start is None else _utc(start).isoformat(),
        "end": None if end is None else _utc(end).isoformat(),
        "symbols": None if symbols is None else list(symbols),
    }


def _condition(
    schema: Mapping[str, Any], start: dt.datetime | None, end: dt.datetime | None, symbols: Sequence[str] | None
) -> list[Any]:
    import polars as pl

    found: list[Any] = []
    kind = schema.get("time")
    if kind is not None:
        aware = isinstance(kind, pl.Datetime) and kind.time_zone is not None
        for limit, after in ((start, True), (end, False)):
            if limit is None:
                continue
            value: Any = _utc(limit) if aware else _utc(limit).replace(tzinfo=None)
            if kind == pl.Date:
                value = value.date()
            found.append(pl.col("time") >= value if after else pl.col("time") <= value)
    if symbols is not None and "symbol" in schema:
        found.append(pl.col("symbol").cast(pl.String).is_in(list(symbols)))
    return found


def _chosen(
    frame: Any, start: dt.datetime | None, end: dt.datetime | None, symbols: Sequence[str] | None
) -> pl.DataFrame:
    conditions = _condition(frame.schema, start, end, symbols)
    chosen: pl.DataFrame = frame.filter(*conditions) if conditions else frame
    return chosen


def _scan(
    folder: str,
    name: str,
    columns: Sequence[str] | None,
    start: dt.datetime | None,
    end: dt.datetime | None,
    symbols: Sequence[str] | None,
) -> pl.DataFrame:
    import polars as pl

    if closed := out_of_reach(folder):
        raise Invalid(f"dataset '{name}' lies in a folder out of reach: {closed}")
    if not Path(folder).is_dir():
        raise Invalid(f"dataset '{name}' lies in the folder {folder}, which this node can't reach")
    scan = pl.scan_parquet(Path(folder) / "**" / "*.parquet")
    schema = scan.collect_schema()
    conditions = _condition(schema, start, end, symbols)
    if conditions:
        scan = scan.filter(*conditions)
    if columns is not None:
        missing = [one for one in columns if one not in schema]
        if missing:
            raise Invalid(f"dataset '{name}' has no column '{missing[0]}'; it has {', '.join(schema)}")
        kept = dict.fromkeys([*columns, *(one for one in ("time", "symbol") if one in schema)])
        scan = scan.select(list(kept))
    return scan.collect()


def _columns(frame: pl.DataFrame, name: str, columns: Sequence[str] | None) -> pl.DataFrame:
    if columns is None:
        return frame
    missing = [one for one in columns if one not in frame.columns]
    if missing:
        raise Invalid(f"dataset '{name}' has no column '{missing[0]}'; it has {', '.join(frame.columns)}")
    return frame.select(columns)
