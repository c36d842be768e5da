"""Files of tables: CSV, Parquet and Excel, by their ending; a file appears whole or not at all."""

from __future__ import annotations

import datetime as dt
import decimal
import itertools
import json
import math
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from quarterdeck.errors import Invalid

__all__ = ["SHEET_ROWS", "TableFile", "opened", "replaced"]

SHEET_ROWS = 1_048_576
"""Rows of an Excel sheet, its heading included."""
_SHEET_COLUMNS = 16_384
_CELL_CHARACTERS = 32_767
_EXACT_INTEGER = 2**53


class TableFile:
    """A file to be: `write` fills it, once."""

    def __init__(self, path: Path, part: Path) -> None:
        self._path = path
        self._part = part

    def write(self, name: str, schema: pa.Schema, blocks: Iterable[pa.Table], *, at_most: int) -> int:
        """Write a table's blocks; how many rows. `at_most`: no more rows will come.

        Raises:
            Invalid: an Excel sheet can't hold the table.
        """
        write = {".csv": _write_csv, ".parquet": _write_parquet, ".xlsx": _write_xlsx}[self._path.suffix.lower()]
        return write(self._part, name, schema, blocks, at_most)


@contextmanager
def opened(path: Path) -> Iterator[TableFile]:
    """A file for a table, which is there after the block, unless an error leaves it.

    Raises:
        Invalid: the ending is not .csv, .parquet or .xlsx, or there can't be such a file.
    """
    if path.suffix.lower() not in (".csv", ".parquet", ".xlsx"):
        ending = f"'{path.suffix}'" if path.suffix else "no ending"
        raise Invalid(f"{path.name} has {ending}: a table is exported to .csv, .parquet or .xlsx", field="path")
    with replaced(path) as part:
        yield TableFile(path, part)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A new file beside `path` to write to; it takes the place of `path` at the end, or goes if an error comes.

    Raises:
        Invalid: there can't be such a file.
    """
    if "\0" in str(path):
        raise Invalid("a file's name can't contain a NUL character", field="path")
    part = path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}.part")
    try:
        if path.is_dir():
            raise Invalid(f"{path} is a folder: name a file in it", field="path")
        try:
            part.touch(exist_ok=False)
            yield part
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        if isinstance(error, FileNotFoundError) and not path.parent.is_dir():
            raise Invalid(f"{path} can't be written: there is no folder {path.parent}", field="path") from None
        raise Invalid(f"{path} can't be written: {error.strerror or error}", field="path") from None


def _write_parquet(part: Path, name: str, schema: pa.Schema, blocks: Iterable[pa.Table], at_most: int) -> int:
    import pyarrow.parquet as pq

    rows = 0
    with pq.ParquetWriter(part, schema, compression="zstd") as writer:
        for block in blocks:
            writer.write_table(block.cast(schema))
            rows += block.num_rows
    return rows


def _write_csv(part: Path, name: str, schema: pa.Schema, blocks: Iterable[pa.Table], at_most: int) -> int:
    import polars as pl

    rows = 0
    with part.open("wb") as file:
        for block in itertools.chain([schema.empty_table()], blocks):  # the first writes the heading
            columns = [_csv_series(pl, name, column) for name, column in zip(schema.names, block.columns, strict=True)]
            heading = file.tell() == 0
            pl.DataFrame(columns).write_csv(file, include_header=heading, date_format="%Y-%m-%d")
            rows += block.num_rows
    return rows


def _csv_series(pl: Any, name: str, column: pa.ChunkedArray) -> Any:
    """A column as text where CSV has no form for it: times as ISO 8601 (UTC with Z), lists and groups as JSON."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_timestamp(kind):
        zone = "" if kind.tz is None else "Z"
        utc = column.cast(pa.timestamp(kind.unit, None if kind.tz is None else "UTC"))
        return pl.Series(name, utc).dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}")
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pl.Series(name, [_text(value) for value in column.to_pylist()], dtype=pl.String)
    if pa.types.is_null(kind):
        return pl.Series(name, [None] * len(column), dtype=pl.String)
    return pl.Series(name, column)


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | dict):
        return json.dumps(value, default=str, ensure_ascii=False)
    return str(value)


def _write_xlsx(part: Path, name: str, schema: pa.Schema, blocks: Iterable[pa.Table], at_most: int) -> int:
    import xlsxwriter

    if at_most >= SHEET_ROWS:
        raise Invalid(
            f"table '{name}' has up to {at_most:,} rows and an Excel sheet holds {SHEET_ROWS - 1:,} below its heading: "
            "export to .csv or .parquet, or fewer rows",
            field="path",
        )
    if len(schema) > _SHEET_COLUMNS:
        raise Invalid(
            f"table '{name}' has {len(schema):,} columns and an Excel sheet holds {_SHEET_COLUMNS:,}: "
            "export to .csv or .parquet",
            field="path",
        )
    row = 0
    with part.open("wb") as file:
        book = xlsxwriter.Workbook(
            file, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
        )
        sheet = book.add_worksheet(_sheet_name(name))
        bold = book.add_format({"bold": True})
        formats = {
            "date": book.add_format({"num_format": "yyyy-mm-dd"}),
            "time": book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss.000"}),
        }
        try:
            sheet.freeze_panes(1, 0)
            for place, field in enumerate(schema):
                sheet.set_column(place, place, 20 if pa.types.is_timestamp(field.type) else 12)
                sheet.write_string(0, place, field.name[:_CELL_CHARACTERS], bold)
            for block in blocks:
                columns = [_cells(column) for column in block.columns]
                for values in zip(*columns, strict=True):
                    row += 1
                    for place, value in enumerate(values):
                        if value is not None:
                            _write_cell(sheet, row, place, value, formats, schema.names[place])
        finally:
            book.close()
    return row


def _sheet_name(name: str) -> str:
    cleaned = "".join("_" if char in "[]:*?/\\" else char for char in name)[:31].strip("'")
    return cleaned if cleaned and cleaned.lower() != "history" else "table"


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """Values of a column as Python's; times of nanoseconds to the microsecond, in UTC (a sheet knows no time zones)."""
    kind = column.type
    if pa.types.is_timestamp(kind):
        if kind.tz is not None:
            column = column.cast(pa.timestamp(kind.unit, "UTC"))
        column = column.cast(pa.timestamp("us", None if kind.tz is None else "UTC"), safe=False)
        try:
            return [None if value is None else value.replace(tzinfo=None) for value in column.to_pylist()]
        except (OverflowError, ValueError):
            return column.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]
    return column.to_pylist()  # type: ignore[no-any-return]


def _write_cell(sheet: Any, row: int, place: int, value: Any, formats: dict[str, Any], column: str) -> None:
    if isinstance(value, bool):
        sheet.write_boolean(row, place, value)
    elif isinstance(value, int) and abs(value) <= _EXACT_INTEGER:
        sheet.write_number(row, place, value)
    elif isinstance(value, float):
        if math.isfinite(value):
            sheet.write_number(row, place, value)
        elif not math.isnan(value):
            sheet.write_string(row, place, str(value))
    elif isinstance(value, decimal.Decimal) and value.is_finite():
        sheet.write_number(row, place, float(value))
    elif isinstance(value, dt.date) and value.year >= 1900:  # a sheet counts days from there
        is_time = isinstance(value, dt.datetime)
        sheet.write_datetime(row, place, value, formats["time" if is_time else "date"])
    else:
        text = value.isoformat(" ") if isinstance(value, dt.datetime) else _text(value) or ""
        if len(text) > _CELL_CHARACTERS:
            raise Invalid(
                f"row {row} has a text of {len(text):,} characters in column '{column}' and an Excel cell holds "
                f"{_CELL_CHARACTERS:,}: export to .csv or .parquet",
                field="path",
            )
        sheet.write_string(row, place, text)
