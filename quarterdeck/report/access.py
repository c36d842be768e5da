"""Where a report's rows come from: what it needs of them, and the same over a job's tables and imported ones."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from quarterdeck.errors import Invalid, NotFound
from quarterdeck.report.checks import PARAMETER
from quarterdeck.report.hints import hint

if TYPE_CHECKING:
    from quarterdeck.job import Dataset, TableInfo, Task
    from quarterdeck.results import By, Results

__all__ = ["TASK", "Access", "Door", "Extract", "JobTables", "Stored"]

TASK = "task"
"""The column with a task's name, where a table itself has none of that name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Extract:
    """Which part of a table: `columns` (None: all) and rows, pruned by block where the table has time and symbol.

    A part by times or symbols leaves out rows without them; both ends are included.
    """

    columns: frozenset[str] | None = None
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    symbols: tuple[str, ...] | None = None


class Stored(Protocol):
    """A table that can be read."""

    name: str
    """What to call it in a sentence, as "table 'returns'"."""
    columns: Mapping[str, pa.DataType]
    """Its columns, in order."""

    paged: bool
    """Whether `page` and `take` work: else its rows must be read to be put in order."""

    def count(self, part: Extract) -> int:
        """How many rows that part has."""
        ...

    def batches(self, part: Extract) -> Iterator[pa.Table]:
        """The rows of that part in order, a bounded number at a time."""
        ...

    def page(self, part: Extract, offset: int, limit: int, sort: By | None) -> pa.Table:
        """Some rows of that part in the sort's order, else as written, with all columns."""
        ...

    def take(self, places: Sequence[int]) -> pa.Table:
        """The rows at these places, from 0 as written, in this order, with all columns."""
        ...


class Access(Protocol):
    """What a report may read."""

    def table(self, name: str, *, job: int | None = None, task: int | None = None) -> Stored:
        """A result table: of the report's job or another one, of all tasks or one. Raises NotFound."""
        ...

    def dataset(self, name: str) -> Stored:
        """An imported table; `${params.NAME}` is the one that the job's parameter names. Raises NotFound, Invalid."""
        ...

    def refresh(self) -> None:
        """Forget what is known of tables, so that new ones and new rows are seen."""
        ...


class Door(Protocol):
    """What a report needs of a client."""

    @property
    def results(self) -> Results: ...
    def tables(self, job_id: int) -> list[TableInfo]: ...
    def tasks(self, job_id: int) -> list[Task]: ...
    def datasets(self) -> list[Dataset]: ...


class JobTables:
    """A report's access through a client: the tables of `job` (of one task of it, if `task` is its number), others by
    their job's number, and imported tables. Usable from several threads.

    `params`: the job's parameters; `creator`: whose job it is, for the names of imported tables.
    """

    def __init__(
        self,
        client: Door,
        job: int | None = None,
        params: Mapping[str, Any] | None = None,
        task: int | None = None,
        creator: str | None = None,
    ) -> None:
        self._client = client
        self._job = job
        self._params = dict(params or {})
        self._task = task
        self._creator = creator
        self._lock = threading.Lock()
        self._tables: dict[int, list[TableInfo]] = {}

    def refresh(self) -> None:
        with self._lock:
            self._tables.clear()

    def table(self, name: str, *, job: int | None = None, task: int | None = None) -> Stored:
        number = self._job if job is None else job
        if number is None:
            raise NotFound(f"table '{name}' is a job's, and this report is of no job: name one in the source")
        tables = self._infos(number)
        chosen = task if task is not None else self._task if job is None else None
        found = [one for one in tables if one.name == name and (chosen is None or one.ordinal == chosen)]
        if not found:
            where = f"job {number}" if chosen is None else f"task {chosen} of job {number}"
            names = {one.name for one in tables}
            cure = hint(name, names - {name}) if names else ", nor any other that you may see"
            raise NotFound(f"{where} has no table '{name}'{cure}")
        return _JobTable(self._client, number, name, found)

    def dataset(self, name: str) -> Stored:
        match = PARAMETER.fullmatch(name)
        if match is not None:
            value = self._params.get(match[1])
            if not isinstance(value, str):
                what = "is not among them" if value is None else f"is {value!r:.60}, no table's name"
                raise Invalid(f"the source needs the job's parameter '{match[1]}', which {what}")
            name = value
        found = self._dataset(name)
        if found.folder is not None:
            raise Invalid(f"table '{name}' is a folder of files on the nodes, which a report can't read")
        return _Parts(self._client, f"table '{name}'", found.parts)

    def _dataset(self, name: str) -> Dataset:
        """As a task of the job finds it: its creator's own, then CREATOR.NAME, then the only public one."""
        datasets = self._client.datasets()
        own = [one for one in datasets if one.creator == self._creator and one.name == name]
        full = [one for one in datasets if f"{one.creator}.{one.name}" == name]
        named = [one for one in datasets if one.name == name and (one.public or self._creator is None)]
        found = own or full or named
        if not found:
            raise NotFound(f"there is no table '{name}'{hint(name, {one.name for one in datasets})}")
        if len(found) > 1:
            owners = ", ".join(f"{one.creator}.{name}" for one in found)
            raise NotFound(f"several people have a table '{name}': name one of {owners}")
        return found[0]

    def _infos(self, job: int) -> list[TableInfo]:
        with self._lock:
            if job not in self._tables:
                self._tables[job] = self._client.tables(job)
            return self._tables[job]


class _Parts:
    """Tables of one schema, read as one."""

    paged = True

    def __init__(self, client: Door, name: str, tables: Sequence[int]) -> None:
        self.name = name
        self._results = client.results
        self._tables = tuple(tables)
        schema = self._results.schema(self._tables)
        self.columns: Mapping[str, pa.DataType] = dict(zip(schema.names, schema.types, strict=True))

    def count(self, part: Extract) -> int:
        return self._results.count(self._tables, **_selection(part))

    def batches(self, part: Extract) -> Iterator[pa.Table]:
        columns = None if part.columns is None else sorted(part.columns)
        return self._results.batches(self._tables, columns=columns, **_selection(part))

    def page(self, part: Extract, offset: int, limit: int, sort: By | None) -> pa.Table:
        return self._results.page(self._tables, offset=offset, limit=limit, sort=sort, **_selection(part))

    def take(self, places: Sequence[int]) -> pa.Table:
        return self._results.take(self._tables, places)


class _JobTable:
    """A table that several tasks of a job have: one after the other, those that have the same columns as one."""

    def __init__(self, client: Door, job: int, name: str, infos: Sequence[TableInfo]) -> None:
        self.name = f"table '{name}'"
        self._client = client
        self._job = job
        self._infos = list(infos)
        self._whole = [_Parts(client, self.name, ids) for ids in self._alike(infos)]
        columns: dict[str, pa.DataType] = {}
        for one in self._whole:
            for column, kind in one.columns.items():
                columns.setdefault(column, kind)
        self._named = TASK not in columns
        if self._named:
            columns[TASK] = pa.string()
        self.columns: Mapping[str, pa.DataType] = columns
        self.paged = len(self._whole) == 1

    @staticmethod
    def _alike(infos: Iterable[TableInfo]) -> list[list[int]]:
        runs: list[tuple[tuple[tuple[str, str], ...], list[int]]] = []
        for one in infos:
            if runs and runs[-1][0] == one.columns:
                runs[-1][1].append(one.id)
            else:
                runs.append((one.columns, [one.id]))
        return [ids for _, ids in runs]

    def count(self, part: Extract) -> int:
        return sum(one.count(part) for one in self._whole)

    def batches(self, part: Extract) -> Iterator[pa.Table]:
        if self._named and part.columns is not None and TASK in part.columns:
            own = dataclasses.replace(part, columns=part.columns - {TASK})
            names = {one.id: one.name for one in self._client.tasks(self._job)}
            for info in self._infos:
                name = pa.scalar(names.get(info.task_id or 0, ""))
                for rows in _Parts(self._client, self.name, [info.id]).batches(own):
                    yield rows.append_column(TASK, pa.repeat(name, rows.num_rows))
            return
        for one in self._whole:
            yield from one.batches(part)

    def page(self, part: Extract, offset: int, limit: int, sort: By | None) -> pa.Table:
        (whole,) = self._whole
        return whole.page(part, offset, limit, sort)

    def take(self, places: Sequence[int]) -> pa.Table:
        (whole,) = self._whole
        return whole.take(places)


def _selection(part: Extract) -> dict[str, Any]:
    return {
        name: value
        for name, value in (("start", part.start), ("end", part.end), ("symbols", part.symbols))
        if value is not None
    }
