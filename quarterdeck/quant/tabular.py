"""Sources whose values have types: Parquet, Excel sheets, the answer of a SQL query. Read in blocks, none as a whole
but a sheet (which has at most 1,048,576 rows)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from quarterdeck.errors import Disconnected, Invalid
from quarterdeck.quant.source import Block, Fault, Lines, shortened

__all__ = ["ExcelSheet", "ParquetFile", "QueryAnswer", "TypedBlock"]

_ROWS = 65_536
_ERRORS = {
    "Div0": "#DIV/0!",
    "NA": "#N/A (an error)",
    "Name": "#NAME?",
    "Null": "#NULL!",
    "Num": "#NUM!",
    "Ref": "#REF!",
    "Value": "#VALUE!",
    "GettingData": "#GETTING_DATA",
}


@dataclass
class TypedBlock:
    """Records that are columns already; `lines` are rows of a sheet or numbers of records."""

    data: pa.Table
    lines: Lines
    faults: list[Fault] = field(default_factory=list)

    def table(self, types: Mapping[str, pa.DataType], decimal: str) -> pa.Table:
        return self.data

    def text(self, record: int) -> str:
        row = self.data.slice(record, 1).to_pylist()[0]
        return shortened(",".join("" if value is None else str(value) for value in row.values()))


class ParquetFile:
    """A Parquet file, read by row groups. Raises Invalid when it is none, or has columns of lists, structures or
    bytes."""

    typed = True
    relaxed_times = False

    def __init__(self, path: Path, *, label: str) -> None:
        self.label = label
        self.notes: list[str] = []
        self.size = path.stat().st_size
        self._rows = 0
        try:
            self._file = pq.ParquetFile(path)
            self._total = max(1, self._file.metadata.num_rows)
            schema = self._file.schema_arrow
        except (OSError, pa.ArrowException) as error:
            raise Invalid(
                f"{label} is no Parquet file, or a damaged one ({_first_line(error)}).", field="path"
            ) from error
        self._batches = self._file.iter_batches(_ROWS)
        self.names: Sequence[str] = _checked_names(list(schema.names), label)
        for entry in schema:
            _check_type(entry.name, entry.type, label)

    def position(self) -> int:
        return int(self.size * self._rows // self._total)

    def blocks(self) -> Iterator[Callable[[], Block]]:
        while True:
            try:
                batch = next(self._batches)
            except StopIteration:
                return
            except (OSError, pa.ArrowException) as error:
                raise Invalid(
                    f"{self.label} can't be read beyond record {self._rows} ({_first_line(error)}).", field="path"
                ) from error
            lines = np.arange(self._rows + 1, self._rows + 1 + batch.num_rows, dtype=np.int64)
            self._rows += batch.num_rows
            yield partial(TypedBlock, pa.Table.from_batches([batch]), lines)

    def close(self) -> None:
        self._file.close()


class ExcelSheet:
    """A sheet of a workbook (xlsx, xlsb, xls, ods): cells as text, as exact as they are stored; error cells stay
    errors.

    `sheet` is a name, or a number from 1; None: the first. `header_row` is the sheet's row number with the names;
    None: the first row that isn't blank.
    """

    typed = False
    relaxed_times = True

    def __init__(
        self, path: Path, *, label: str, sheet: str | int | None = None, header_row: int | None = None
    ) -> None:
        import fastexcel  # loaded only where a workbook is read

        self.label = label
        self.notes: list[str] = []
        self.size = path.stat().st_size
        self._done = False
        try:
            reader = fastexcel.read_excel(path)
            names = reader.sheet_names
            chosen = _sheet(sheet, names, label)
            sheet_as = partial(reader.load_sheet, chosen, header_row=None, skip_rows=0)
            batch, errors = sheet_as(dtypes="string").to_arrow_with_errors()
            numbers, _ = sheet_as(dtypes="float").to_arrow_with_errors()
        except (OSError, fastexcel.FastExcelError) as error:
            raise Invalid(f"{label} can't be read as a workbook ({_first_line(error)}).", field="path") from error
        if len(names) > 1:
            self.notes.append(f"sheet {chosen} of {len(names)}")
        columns = [_exact(texts, floats) for texts, floats in zip(batch.columns, numbers.columns, strict=True)]
        for cell in errors.errors if errors is not None else ():
            row, column = cell.position
            found = re.search(r"Error\((\w+)\)", cell.detail)
            columns[column][row] = _ERRORS.get(found[1], found[1]) if found else cell.detail
        arrays = [pa.array(column, pa.string()) for column in columns]
        blank = np.ones(batch.num_rows, bool)
        for array in arrays:
            blank &= array.is_null().to_numpy(zero_copy_only=False)
        rows = np.flatnonzero(~blank)
        if not len(rows):
            raise Invalid(f"The sheet {chosen} of {label} is empty.", field="sheet")
        header = int(rows[0]) if header_row is None else header_row - 1
        if header >= batch.num_rows or (header >= 0 and blank[header]):
            raise Invalid(f"Row {header + 1} of {label}, which should name the columns, is blank.", field="header_row")
        titles = [column[header] if header >= 0 else None for column in columns]
        self.names: Sequence[str] = _checked_names(
            [(title or "").strip() or f"column_{i}" for i, title in enumerate(titles, 1)], label
        )
        if header > 0:
            self.notes.append(f"header in row {header + 1}, the rows before it are not read")
        rows = rows[rows > header]
        filled = [array.fill_null("").take(pa.array(rows)) for array in arrays]
        self._table, self._lines = pa.table(filled, names=list(self.names)), rows.astype(np.int64) + 1

    def position(self) -> int:
        return self.size if self._done else 0

    def blocks(self) -> Iterator[Callable[[], Block]]:
        if not self._done:
            self._done = True
            for start in range(0, self._table.num_rows, _ROWS):
                part = self._table.slice(start, _ROWS).combine_chunks()
                yield partial(TypedBlock, part, self._lines[start : start + _ROWS])

    def close(self) -> None:
        self._done = True


class QueryAnswer:
    """The rows that a SQL query answers, streamed. The address may not hold a password: the node has its own sign-in
    (~/.pgpass, a service file, …). Raises Invalid for what the database or the driver refuses."""

    typed = True
    relaxed_times = True
    size = 0

    def __init__(self, url: str, query: str, *, label: str = "query") -> None:
        self.label = label
        self.notes: list[str] = []
        self._rows = 0
        try:
            address = sa.make_url(url)
        except sa.exc.ArgumentError as error:
            raise Invalid(
                "url is no address that SQLAlchemy knows, such as postgresql://server/database.", field="url"
            ) from error
        if address.password is not None:
            raise Invalid(
                "url may not hold a password: use the node's own configuration, such as ~/.pgpass.", field="url"
            )
        if address.drivername == "postgresql":
            # SQLAlchemy's own choice is a driver that this program does not bring
            address = address.set(drivername="postgresql+psycopg")
        try:
            self._engine = sa.create_engine(address)
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise Invalid(
                f"This node has no driver for {address.drivername} ({_first_line(error)}).", field="url"
            ) from error
        try:
            self._connection = self._engine.connect().execution_options(stream_results=True, yield_per=_ROWS)
        except sa.exc.SQLAlchemyError as error:
            self._engine.dispose()
            raise Disconnected(f"The database of url can't be reached ({_first_line(error)}).") from error
        try:
            self._result = self._connection.execute(sa.text(query))
            if not self._result.returns_rows:
                raise Invalid("The query answers no rows: give one that selects.", field="query")
            self.names: Sequence[str] = _checked_names(list(self._result.keys()), label)
        except sa.exc.SQLAlchemyError as error:
            self.close()
            raise Invalid(f"The database refuses the query ({_first_line(error)}).", field="query") from error
        except BaseException:
            self.close()
            raise
        self._parts = self._result.partitions(_ROWS)

    def position(self) -> int:
        return 0

    def blocks(self) -> Iterator[Callable[[], Block]]:
        while True:
            try:
                rows = next(self._parts, None)
            except sa.exc.SQLAlchemyError as error:
                raise Invalid(
                    f"The query ended after {self._rows} rows ({_first_line(error)}).", field="query"
                ) from error
            if rows is None:
                return
            columns = list(zip(*rows, strict=True))
            lines = np.arange(self._rows + 1, self._rows + 1 + len(rows), dtype=np.int64)
            self._rows += len(rows)
            yield partial(TypedBlock, self._table(columns), lines)

    def _table(self, columns: Sequence[Sequence[Any]]) -> pa.Table:
        for name, values in zip(self.names, columns, strict=True):
            if any(isinstance(value, bytes | bytearray | memoryview) for value in values):
                raise Invalid(f"The column {name} of the query holds bytes, which a table can't hold.", field="query")
        return pa.table([_array(values) for values in columns], names=list(self.names))

    def close(self) -> None:
        self._connection.close()
        self._engine.dispose()


def _exact(texts: pa.Array, floats: pa.Array) -> list[str | None]:
    """Cells as text. The reader rounds numbers to nine decimals when it makes text of them: those are put right."""
    rough = pl.Series(values=pl.from_arrow(texts.cast(pa.string())))
    stored = pl.Series(values=pl.from_arrow(floats.cast(pa.float64())))
    cells: list[str | None] = rough.to_list()
    for row in (rough.cast(pl.Float64, strict=False) != stored).fill_null(False).arg_true().to_list():
        cells[row] = repr(stored[row])
    return cells


def _array(values: Sequence[Any]) -> pa.Array:
    """Values as the type that they all have, or else as text. A whole number among fractions stays exact in text."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) == 1:
        try:
            array = pa.array(values)
            _check_type("", array.type, "")
            return array
        except (pa.ArrowException, OverflowError, Invalid):
            pass
    return pa.array([None if value is None else _as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str:
    return value.isoformat(sep=" ") if hasattr(value, "tzinfo") and hasattr(value, "date") else str(value)


def _check_type(name: str, kind: pa.DataType, label: str) -> None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise Invalid(f"The column {name} of {label} has the type {kind}, which a table can't hold.", field="path")


def _checked_names(names: list[str], label: str) -> list[str]:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise Invalid(f"{label} names the column {twice[0]} twice.", field="path")
    if not names:
        raise Invalid(f"{label} has no columns.", field="path")
    return names


def _sheet(sheet: str | int | None, names: Sequence[str], label: str) -> str:
    if isinstance(sheet, str) and sheet in names:
        return sheet
    number = 1 if sheet is None else int(sheet) if str(sheet).isdigit() else 0
    if not 1 <= number <= len(names):
        raise Invalid(f"{label} has no sheet {sheet}: it has {', '.join(names)}.", field="sheet")
    return names[number - 1]


def _first_line(error: Exception) -> str:
    """The driver's own words, without statements and links."""
    origin = getattr(error, "orig", None) or error
    lines = str(origin).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
