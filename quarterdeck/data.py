"""Result tables and imported data through a session: which there are, pages of them, frames, files."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from quarterdeck.errors import NotFound
from quarterdeck.job import Dataset, TableInfo
from quarterdeck.query import close_match
from quarterdeck.templates import Templates

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from quarterdeck.kinds.kind import Computed
    from quarterdeck.results import By, Results

__all__ = ["Data", "TablesAtHand"]

_TABLES = sa.text(
    "select distinct on (t.ordinal, r.name) r.id, r.task_id, t.ordinal, r.name, r.schema, r.rows, r.bytes, r.complete,"
    " r.is_stream, r.symbols, r.time_min, r.time_max"
    " from qd.result_table as r join qd.task as t on t.id = r.task_id"
    " where r.job_id = :job order by t.ordinal, r.name, r.attempt desc"
)
_DATASETS = sa.text(
    "select d.id, d.creator, d.name, d.is_public as public, d.folder, d.synthetic, d.job_id, d.created, d.updated,"
    " coalesce(sum(r.rows), 0)::bigint as rows, coalesce(sum(r.bytes), 0)::bigint as bytes,"
    " min(r.time_min) as time_min, max(r.time_max) as time_max,"
    " coalesce(array_agg(r.id order by r.id) filter (where r.id is not null), '{}') as parts"
    " from qd.dataset as d left join qd.result_table as r on r.dataset_id = d.id and r.complete"
    " group by d.id order by d.name, d.creator"
)
_FACTORS = (
    "select r.job_id, t.ordinal, t.name, r.creator from qd.result_table as r join qd.task as t on t.id = r.task_id"
    " and t.attempt = r.attempt join qd.job as j on j.id = r.job_id"
    " where j.kind = 'factor' and r.name = 'factor' and r.complete"
)
_FACTORS_OF_JOB = sa.text(f"{_FACTORS} and r.job_id = :job order by t.ordinal")
_FACTOR_OF_NAME = sa.text(
    f"{_FACTORS} and t.name = :name and t.status = 'success' order by r.creator = :person desc, r.job_id desc limit 1"
)
_FACTOR_NAMES = sa.text(
    f"select distinct name from ({_FACTORS} and t.status = 'success' order by r.job_id desc limit 10000) as f"
    " order by 1"
)
_SCHEMA = sa.text("select schema from qd.result_table where id = :id")


class Data(Templates):
    """The part of the client that reads tables. `tables` means ids of result tables; several are read as one."""

    def tables(self, job_id: int) -> list[TableInfo]:
        """A job's result tables, by task and name; none of a job whose details you may not see."""
        from quarterdeck.results import schema_from

        with self._reading() as connection:
            rows = connection.execute(_TABLES, {"job": job_id}).all()
        return [
            TableInfo(
                id=row.id,
                task_id=row.task_id,
                ordinal=row.ordinal,
                name=row.name,
                columns=tuple((field.name, str(field.type)) for field in schema_from(row.schema)),
                rows=row.rows,
                bytes=row.bytes,
                complete=row.complete,
                stream=row.is_stream,
                symbols=row.symbols,
                time_min=_utc(row.time_min),
                time_max=_utc(row.time_max),
            )
            for row in rows
        ]

    @cached_property
    def results(self) -> Results:
        """The tables' rows: see `results.Results`, whose `page`, `frame` and `export` stand here too."""
        from quarterdeck.results import Results

        return Results(self._engine)

    def page(
        self,
        tables: int | Sequence[int],
        *,
        offset: int = 0,
        limit: int = 10,
        start: dt.datetime | None = None,
        end: dt.datetime | None = None,
        symbols: Sequence[str] | None = None,
        sort: By | None = None,
    ) -> pa.Table:
        """Rows of a table, filtered and sorted: see `results.Results.page`."""
        return self.results.page(tables, offset=offset, limit=limit, start=start, end=end, symbols=symbols, sort=sort)

    def frame(self, tables: int | Sequence[int], **selection: Any) -> pd.DataFrame:
        """A whole table as a pandas frame: see `results.Results.frame`."""
        return self.results.frame(tables, **selection)

    def export(self, tables: int | Sequence[int], path: str | Path, **selection: Any) -> int:
        """Write a table to a .csv, .parquet or .xlsx file: see `results.Results.export`."""
        return self.results.export(tables, path, **selection)

    def datasets(self) -> list[Dataset]:
        """The imported data that you may read, by name."""
        with self._reading() as connection:
            rows = connection.execute(_DATASETS).mappings().all()
        times = ("created", "updated", "time_min", "time_max")
        return [
            Dataset(**{**row, "parts": tuple(row["parts"]), **{name: _utc(row[name]) for name in times}})
            for row in rows
        ]

    def tables_at_hand(self) -> TablesAtHand:
        """The datasets that a job of yours reads by name: your own, and public ones."""
        return TablesAtHand(self, [one for one in self.datasets() if one.public or one.creator == self.me.login])

    def dataset_columns(self, dataset: Dataset) -> tuple[str, ...]:
        """The names of a dataset's columns."""
        from quarterdeck import results

        with self._reading() as connection:
            schema = connection.execute(_SCHEMA, {"id": dataset.parts[0]}).scalar_one()
        return tuple(results.schema_from(schema).names)

    def factor_names(self) -> list[str]:
        """The names of the factors whose values you may read, in alphabetical order."""
        with self._reading() as connection:
            return list(connection.execute(_FACTOR_NAMES).scalars())

    def factors(self, reference: int | str) -> list[Computed]:
        """The factors that a job computed (its number), or the newest one of that name; one's own first.

        Raises:
            NotFound: there is no such factor that you may read.
        """
        from quarterdeck.kinds.kind import Computed

        with self._reading() as connection:
            if isinstance(reference, int):
                rows = connection.execute(_FACTORS_OF_JOB, {"job": reference}).all() if reference < 2**63 else []
                trouble = f"job {reference} has no values of a factor that you may read"
            else:
                rows = connection.execute(_FACTOR_OF_NAME, {"name": reference, "person": self.me.login}).all()
                trouble = f"there is no factor '{reference}'"
                if not rows:
                    names = list(connection.execute(_FACTOR_NAMES).scalars())
                    trouble += close_match(reference, names) or " with values that you may read: compute it first"
        if not rows:
            raise NotFound(trouble, field="factor")
        return [Computed(row.job_id, row.ordinal, row.name) for row in rows]

    def drop_dataset(self, name: str, creator: str | None = None) -> None:
        """Delete imported data of your own, or as an admin anyone's.

        Raises:
            NotFound: there is none of that name that you may see.
            Refused: it is another person's.
        """
        with self._writing() as connection:
            connection.execute(sa.text("select qd.drop_dataset(:name, :creator)"), {"name": name, "creator": creator})


class TablesAtHand:
    """Datasets by name, as a node finds them: one's own first, then a public one, as NAME or CREATOR.NAME."""

    def __init__(self, data: Data, datasets: Sequence[Dataset]) -> None:
        self._data = data
        self._datasets = datasets

    def own(self) -> frozenset[str]:
        """The names of the person's own datasets."""
        return frozenset(one.name for one in self._datasets if one.creator == self._data.me.login)

    def columns(self, name: str) -> tuple[str, ...]:
        """A dataset's columns.

        Raises:
            NotFound: there is none of that name, or several people have a public one of it.
        """
        return self._data.dataset_columns(self._found(name))

    def described(self, name: str) -> dict[str, Any]:
        """Which dataset that is, and what is in it now, as JSON. Raises as `columns` does."""
        found = self._found(name)
        return {
            "dataset": found.id,
            "creator": found.creator,
            "name": found.name,
            "rows": found.rows,
            "columns": list(self._data.dataset_columns(found)),
            "first_time": None if found.time_min is None else found.time_min.isoformat(),
            "last_time": None if found.time_max is None else found.time_max.isoformat(),
            "updated": found.updated.isoformat(),
            "import_job": found.job_id,
            "folder": found.folder,
            "synthetic": found.synthetic,
        }

    def factors(self, reference: int | str) -> list[Computed]:
        """The factors that a job computed, or the newest one of that name; one's own first.

        Raises:
            NotFound: there is no such factor that you may read.
        """
        return self._data.factors(reference)

    def template(self, name: str) -> dict[str, Any]:
        """The document of a visualization template.

        Raises:
            NotFound: there is none of that name that you may see.
        """
        found = self._data.template(name)
        return found.model_dump(mode="json", exclude_defaults=True) | {"version": found.version}

    def _found(self, name: str) -> Dataset:
        mine = [one for one in self._datasets if one.creator == self._data.me.login and one.name == name]
        full = [one for one in self._datasets if f"{one.creator}.{one.name}" == name]
        public = [one for one in self._datasets if one.public and one.name == name]
        if not (mine or full) and len(public) > 1:
            owners = ", ".join(f"{one.creator}.{name}" for one in public)
            raise NotFound(f"several people have a public table '{name}': name one of {owners}", field="table")
        found = mine or full or public
        if not found:
            near = close_match(name, {one.name for one in self._datasets})
            raise NotFound(f"there is no table '{name}'{near or ' yet: import it first'}", field="table")
        return found[0]


def _utc(time: dt.datetime | None) -> dt.datetime | None:
    return None if time is None else time.astimezone(dt.UTC)
