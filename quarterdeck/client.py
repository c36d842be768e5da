"""The client: list, get, submit, terminate, delete, logs, results. Synchronous, and the only door to the database."""

from __future__ import annotations

import builtins
import dataclasses
import datetime as dt
import time
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from quarterdeck import query
from quarterdeck.audit import Audit
from quarterdeck.cluster import Nodes
from quarterdeck.data import Data
from quarterdeck.errors import Conflict, Disconnected, Invalid, NotFound, Refused
from quarterdeck.job import ENDED, Action, Changes, Deleted, Details, Job, Status, Task
from quarterdeck.query import Filter, Sort
from quarterdeck.session import Me, Session

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from quarterdeck.logs import Log

__all__ = ["Client", "Filter", "Me", "Session", "Sort"]

_ROWS_OF_CHANGES = 1_000
_AWAY = 60.0
"""How many seconds `wait` goes on trying to reach a server that went away."""

_TOMBSTONE = sa.table("tombstone", sa.column("job_id", sa.BigInteger), schema="qd")
_TASKS = sa.text(
    "select id, job_id, ordinal, name, status, queue, node, attempt, started, ended, progress, message, exit_code,"
    " error, attribution_status from qd.task where job_id = :job order by ordinal"
)


class Client(Data, Nodes, Audit):
    """The jobs of a cluster, as the signed-in person may see and handle them.

    All calls raise `Disconnected` when the server can't be reached, and are usable from several threads.
    """

    def list(
        self,
        filter: Filter = Filter(),  # noqa: A002
        sort: Sort = Sort(),
        *,
        offset: int = 0,
        limit: int = 100,
        after: Job | None = None,
    ) -> builtins.list[Job]:
        """A page of jobs: from `offset` on, or those that follow the job `after` (quick at any depth)."""
        if offset < 0 or limit < 0:
            raise Invalid("a page begins at 0 and has at least 0 rows", field="limit")
        statement = query.list_statement(
            filter, sort, offset=0 if after else offset, limit=limit, after=after, viewer=self._viewer
        )
        with self._reading() as connection:
            return [query.job_from(row) for row in connection.execute(statement)]

    def count(self, filter: Filter = Filter()) -> int:  # noqa: A002
        """How many jobs the filter lets through."""
        with self._reading() as connection:
            return int(connection.execute(query.count_statement(filter, self._viewer)).scalar_one())

    def ids(self, filter: Filter = Filter(), *, limit: int = 100_000) -> builtins.list[int]:  # noqa: A002
        """The ids of the jobs that the filter lets through, newest first: what "select all" means when it is used."""
        with self._reading() as connection:
            return list(connection.execute(query.order_statement(filter, Sort(), self._viewer, limit)).scalars())

    def order(
        self,
        filter: Filter = Filter(),  # noqa: A002
        sort: Sort = Sort(),
    ) -> npt.NDArray[np.int64]:
        """The ids of all jobs that the filter lets through, in order: what stands at each place of a list.

        With it any place of a list of any order is a `by_ids` away, and rows stay where they are while jobs change.
        """
        import numpy as np

        ordered = query.order_statement(filter, sort, self._viewer, None).scalar_subquery()
        with self._reading() as connection:
            # one array: half the time of as many rows
            ids = connection.execute(sa.select(sa.func.array(ordered, type_=pg.ARRAY(sa.BigInteger)))).scalar_one()
        return np.array(ids, np.int64)

    def tally(
        self,
        filter: Filter = Filter(),  # noqa: A002
        *,
        ids: Collection[int] | None = None,
    ) -> dict[Status, int]:
        """How many jobs of each status the filter lets through; of those with the given ids only, if any are given."""
        with self._reading() as connection:
            rows = connection.execute(query.tally_statement(filter, self._viewer, ids))
            return {Status(status): int(count) for status, count in rows}

    def why_waiting(self, job_id: int) -> str:
        """Why a job waits, or what its end waits for, in one sentence; empty when it does neither (S1, M5).

        Raises:
            NotFound: there is no such job that you may see.
        """
        with self._reading() as connection:
            statement = sa.text("select qd.why_waiting(cast(:job as bigint))")
            return str(connection.execute(statement, {"job": job_id}).scalar_one())

    @property
    def _viewer(self) -> str | None:
        return None if self.me.admin else self.me.login

    def by_ids(self, ids: Iterable[int]) -> builtins.list[Job]:
        """Those of these jobs that still exist and are visible, in any order: what a notification asks for."""
        with self._reading() as connection:
            return _jobs(connection, query.ID.in_(sorted(set(ids))))

    def get(self, job_id: int) -> Details:
        """All of a job.

        Raises:
            NotFound: there is no such job that you may see.
            Refused: it is another person's public job: listed for all, its details are not.
        """
        with self._reading() as connection:
            job = _one(connection, job_id)
            detail = connection.execute(
                sa.text(
                    "select d.params, d.template, d.error, j.rerun_of, j.terminated_by, qd.why_waiting(j.id) as waiting"
                    " from qd.job_detail as d join qd.job as j on j.id = d.job_id where j.id = :job"
                ),
                {"job": job_id},
            ).one_or_none()
            tasks = _tasks(connection, job_id)
        if detail is None:
            raise _closed(job)
        return Details(
            job=job,
            params=detail.params,
            template=detail.template,
            error=detail.error,
            tasks=tuple(tasks),
            tables=tuple(self.tables(job_id)),
            rerun_of=detail.rerun_of,
            terminated_by=detail.terminated_by,
            waiting=detail.waiting,
        )

    def tasks(self, job_id: int) -> builtins.list[Task]:
        """A job's tasks, by their ordinal; none of a job whose details you may not see."""
        with self._reading() as connection:
            return _tasks(connection, job_id)

    def task_params(self, job_id: int) -> dict[int, dict[str, Any]]:
        """Each task's own parameters, by its ordinal (an optimization's combinations)."""
        with self._reading() as connection:
            rows = connection.execute(
                sa.text("select ordinal, params from qd.task where job_id = :job order by ordinal"), {"job": job_id}
            )
            return {row.ordinal: row.params for row in rows}

    def changes(self, since: str | None = None) -> Changes:
        """What changed since a snapshot that an earlier call gave; without one, only a snapshot to begin with.

        No change is missed, however late it was committed. A job that stopped being public is not in it: its
        notification tells.
        """
        with self._reading() as connection:
            # before the rows: what happens in between comes twice rather than never
            snapshot = str(connection.execute(sa.text("select pg_current_snapshot()::text")).scalar_one())
            if since is None:
                return Changes(snapshot=snapshot, jobs=(), gone=(), everything=False)
            changed = query.changed_condition(since)
            jobs = _jobs(connection, changed, limit=_ROWS_OF_CHANGES + 1)
            gone = sa.select(_TOMBSTONE.c.job_id).where(changed).limit(_ROWS_OF_CHANGES + 1)
            ids = list(connection.execute(gone).scalars())
        if len(jobs) > _ROWS_OF_CHANGES or len(ids) > _ROWS_OF_CHANGES:
            return Changes(snapshot=snapshot, jobs=(), gone=(), everything=True)
        return Changes(snapshot=snapshot, jobs=tuple(jobs), gone=tuple(ids), everything=False)

    def submit(self, kind: str, params: Mapping[str, Any], *, rerun_of: int | None = None) -> int:
        """Start a job; its id.

        Raises:
            Invalid: the kind or a parameter can't be used; `field` names the parameter.
            NotFound: there is no table of the name that the job is to read.
        """
        from quarterdeck import kinds, parameters

        chosen = kinds.kind(kind)
        model = parameters.validated(chosen, params)
        if chosen.facts is None or chosen.tasks is None:
            raise Invalid(f"jobs of kind '{kind}' can't be started by this version", field="kind")
        given, template = model, dict[str, Any]()
        if chosen.check or chosen.resolve or chosen.template:
            tables = self.tables_at_hand()
            if chosen.check is not None:
                chosen.check(model, tables)
            if chosen.resolve is not None:
                model = chosen.resolve(model, tables)
            if chosen.template is not None:
                template = chosen.template(model, tables)
        facts = dataclasses.asdict(chosen.facts(model))
        tasks = [
            {
                **dataclasses.asdict(task),
                "restartable": chosen.restart,
                "params": parameters.as_json(task.params, "a task"),
            }
            for task in chosen.tasks(model)
        ]
        statement = sa.text("select qd.submit_job(:kind, :params, :facts, :tasks, :template, :rerun_of)").bindparams(
            sa.bindparam("params", type_=pg.JSONB),
            sa.bindparam("template", type_=pg.JSONB),
            sa.bindparam("facts", type_=pg.JSONB),
            sa.bindparam("tasks", type_=pg.JSONB),
        )
        values = {
            "kind": kind,
            "params": parameters.as_json(given, "the parameters"),
            "facts": parameters.as_json(facts, "the job's name"),
            "tasks": tasks,
            "template": parameters.as_json(template, "the run template"),
            "rerun_of": rerun_of,
        }
        with self._writing() as connection:
            return int(connection.execute(statement, values).scalar_one())

    def rerun(self, job_id: int, changes: Mapping[str, Any] | None = None) -> int:
        """Start a job once more, with some parameters changed if any are given; the new job's id.

        Raises:
            NotFound, Refused: as by `get`.
            Invalid: a changed parameter can't be used.
        """
        details = self.get(job_id)
        return self.submit(details.job.kind, {**details.params, **(changes or {})}, rerun_of=job_id)

    def terminate(self, job_id: int) -> str:
        """End a running or queued job: 'ended' if nothing of it ran, 'ending' while its nodes end its processes.

        Raises:
            NotFound: there is no such job that you may see.
            Refused: it is neither yours nor are you an admin.
            Conflict: it has ended already, or is being ended.
        """
        with self._writing() as connection:
            return str(
                connection.execute(
                    sa.text("select qd.terminate_job(cast(:job as bigint))"), {"job": job_id}
                ).scalar_one()
            )

    def delete(self, job_ids: Iterable[int]) -> Deleted:
        """Delete jobs with logs, tasks and results; those that have not ended stay, and are named in the answer.

        Raises:
            Refused: you are no admin.
        """
        with self._writing() as connection:
            row = connection.execute(
                sa.text("select * from qd.delete_jobs(cast(:jobs as bigint[]))"), {"jobs": sorted(set(job_ids))}
            ).one()
        return Deleted(count=row.deleted, running=tuple(row.running))

    def delete_results(self, job_id: int) -> None:
        """Delete the result tables of a terminated real-time backtest; its performance summary stays (S2).

        Raises:
            NotFound, Refused, Conflict: there is no such job, it is not yours, or it is not such a backtest.
        """
        with self._writing() as connection:
            connection.execute(sa.text("select qd.delete_results(cast(:job as bigint))"), {"job": job_id})

    def wait(self, job_id: int, timeout: float | None = None) -> Job:
        """Wait until a job has ended, through a server that is away for up to a minute.

        Args:
            job_id: the job.
            timeout: for how many seconds, at most; None: without limit.

        Raises:
            NotFound: there is no such job that you may see (any more).
            Conflict: it has not ended in that time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause, away_since = 0.02, None
        while True:
            try:
                with self._reading() as connection:
                    job = _one(connection, job_id)
            except Disconnected:
                away_since = away_since or time.monotonic()
                if time.monotonic() - away_since > _AWAY:
                    raise
            else:
                away_since = None
                if job.status in ENDED:
                    return job
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                raise Conflict(f"job {job_id} has not ended within {timeout:g} s")
            time.sleep(pause if left is None else min(pause, left))
            pause = min(pause * 1.5, 0.5)

    def log(self, job_id: int) -> Log:
        """A job's log, of all its tasks.

        Raises:
            NotFound, Refused: as by `get`.
        """
        from quarterdeck.logs import Log

        with self._reading() as connection:
            job = _one(connection, job_id)
        if Action.LOG not in job.actions:
            raise _closed(job)
        return Log(self._engine, job_id)


def _jobs(connection: sa.Connection, condition: sa.ColumnElement[bool], limit: int | None = None) -> list[Job]:
    return [query.job_from(row) for row in connection.execute(query.job_statement().where(condition).limit(limit))]


def _one(connection: sa.Connection, job_id: int) -> Job:
    found = _jobs(connection, query.ID.in_([job_id])) if -(2**63) <= job_id < 2**63 else []
    if not found:
        raise NotFound(f"there is no job {job_id} that you may see")
    return found[0]


def _closed(job: Job) -> Refused:
    return Refused(
        f"job {job.id} belongs to {job.creator}: its details and log open for its creator and administrators"
    )


def _tasks(connection: sa.Connection, job_id: int) -> list[Task]:
    return [
        Task(
            **{
                **row,
                "status": Status(row["status"]),
                "started": _utc(row["started"]),
                "ended": _utc(row["ended"]),
            }
        )
        for row in connection.execute(_TASKS, {"job": job_id}).mappings()
    ]


def _utc(time: dt.datetime | None) -> dt.datetime | None:
    return None if time is None else time.astimezone(dt.UTC)
