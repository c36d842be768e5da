"""Pages of a table panel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl
import pyarrow as pa

from quarterdeck.errors import Invalid
from quarterdeck.report.formula import kind_of
from quarterdeck.report.hints import hint
from quarterdeck.report.sources import Loaded
from quarterdeck.report.template import Source, TablePanel, Template
from quarterdeck.results import By

__all__ = ["as_stored", "kinds", "page_of", "require", "rows_as_stored", "sorted_by"]


def as_stored(template: Template, panel: TablePanel) -> bool:
    """Whether the panel's rows are a table's own, of which a page can be read alone."""
    source = template.sources[panel.source]
    return rows_as_stored(source) and not source.sort and source.columns is None and "task" not in panel.fields.columns


def rows_as_stored(source: Source) -> bool:
    """Whether a source has the rows of its table, all and only them."""
    worked = source.where or source.derive or source.group or source.aggregate
    return source.source is None and not worked and source.limit is None


def require(names: Iterable[str], known: Sequence[str], name: str) -> None:
    """Raises `Invalid` for a column that there is not."""
    for column in names:
        if column not in known:
            raise Invalid(f"{name} has no column '{column}'{hint(column, known)}")


def page_of(rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """The panel's columns of a page, in its order; all if it names none."""
    return rows.select(list(names)) if names else rows


def sorted_by(loaded: Loaded, sort: By) -> pl.DataFrame:
    """All rows in order, those without a value last. Raises `Invalid`."""
    require([sort.column], loaded.frame.columns, loaded.name)
    if kind_of(loaded.frame.schema[sort.column]) is None:
        raise Invalid(f"rows can't be sorted by '{sort.column}': it holds {loaded.frame.schema[sort.column]}")
    return loaded.frame.sort(sort.column, descending=sort.descending, nulls_last=True, maintain_order=True)


def kinds(rows: pa.Table) -> tuple[tuple[str, str], ...]:
    """The columns of a page and what they hold: number, integer, text, time, date, truth, or other."""
    return tuple((field.name, _kind(field.type)) for field in rows.schema)


def _kind(kind: pa.DataType) -> str:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    tests = (
        ("truth", pa.types.is_boolean),
        ("integer", pa.types.is_integer),
        ("number", lambda one: pa.types.is_floating(one) or pa.types.is_decimal(one)),
        ("time", pa.types.is_timestamp),
        ("date", pa.types.is_date),
        ("text", lambda one: pa.types.is_string(one) or pa.types.is_large_string(one) or pa.types.is_string_view(one)),
    )
    return next((name for name, test in tests if test(kind)), "other")
