"""What to list: filter, sort, page, and their SELECT over the jobs that the signed-in user may see (M8)."""

from __future__ import annotations

import datetime as dt
import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg

from quarterdeck.errors import Invalid
from quarterdeck.job import Action, Job, Origin, Status

__all__ = [
    "ID",
    "SORTABLE",
    "Filter",
    "Sort",
    "changed_condition",
    "close_match",
    "count_statement",
    "fits",
    "job_from",
    "job_statement",
    "list_statement",
    "order_statement",
    "tally_statement",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """Which jobs. Empty fields don't filter; a set means any of its members, and its `not_` twin none of them.

    `text` is looked for in name and subject, in any case; `since` and `until` bound the time of creation (since <=
    created < until); naive times are local ones. `nodes`: jobs that ran a task on one of them.
    """

    kind: str | None = None
    statuses: frozenset[Status] = frozenset()
    creators: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()
    origins: frozenset[Origin] = frozenset()
    text: str = ""
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    workflow_id: int | None = None
    not_statuses: frozenset[Status] = frozenset()
    not_creators: frozenset[str] = frozenset()
    not_nodes: frozenset[str] = frozenset()
    not_origins: frozenset[Origin] = frozenset()
    not_text: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sort:
    """By which column (one of `SORTABLE`); rows without a value come last either way, equal ones are ordered by id.

    Several nodes are sorted by their names in a row, of which the first 60 characters count.

    Raises:
        Invalid: there is no such column.
    """

    column: str = "created"
    descending: bool = True

    def __post_init__(self) -> None:
        if self.column not in SORTABLE:
            hint = close_match(self.column, SORTABLE)
            raise Invalid(f"jobs can't be sorted by '{self.column}'{hint}", field="sort")


_JOB = sa.table(
    "job",
    sa.column("id", sa.BigInteger),
    sa.column("kind", sa.Text),
    sa.column("name", sa.Text),
    sa.column("subject", sa.Text),
    sa.column("status", sa.Text),
    sa.column("ending", sa.Boolean),
    sa.column("origin", sa.Text),
    sa.column("creator", sa.Text),
    sa.column("is_public", sa.Boolean),
    sa.column("nodes", pg.ARRAY(sa.Text)),
    sa.column("node_names", sa.Text),
    sa.column("created", sa.DateTime(timezone=True)),
    sa.column("started", sa.DateTime(timezone=True)),
    sa.column("ended", sa.DateTime(timezone=True)),
    sa.column("progress", sa.REAL),
    sa.column("message", sa.Text),
    sa.column("workflow_id", sa.BigInteger),
    sa.column("backtest_type", sa.Text),
    sa.column("backtest_start", sa.DateTime(timezone=True)),
    sa.column("backtest_end", sa.DateTime(timezone=True)),
    sa.column("data_type", sa.Text),
    sa.column("strategy_type", sa.Text),
    schema="qd",
).alias("job")
_C = _JOB.c
ID: sa.ColumnElement[int] = _C.id
"""The column of a job's id, for conditions of one's own."""
_ACTIONS = sa.func.qd.job_actions(sa.literal_column("job"), type_=pg.ARRAY(sa.Text)).label("actions")
_RUN_TIME = sa.func.coalesce(_C.ended, sa.func.now()) - _C.started
_NULLABLE = {"started", "ended", "run_time", "progress", "backtest_start", "backtest_end"}

SORTABLE: tuple[str, ...] = (
    "id",
    "kind",
    "name",
    "subject",
    "status",
    "origin",
    "creator",
    "nodes",
    "created",
    "started",
    "ended",
    "run_time",
    "progress",
    "backtest_type",
    "backtest_start",
    "backtest_end",
    "data_type",
    "strategy_type",
)


def close_match(word: str, words: Collection[str]) -> str:
    """'; did you mean 'x'?', or '; there are a, b, c' when nothing is near."""
    near = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(sorted(words))}" if words else ""


def job_statement() -> sa.Select[Any]:
    """The columns that `job_from` takes, of all visible jobs."""
    return sa.select(*(column for column in _C if column.name != "node_names"), _ACTIONS)


def job_from(row: sa.Row[Any]) -> Job:
    """A row of `job_statement` as a value."""
    (
        id_, kind, name, subject, status, ending, origin, creator, public, nodes, created, started, ended, progress,
        message, workflow_id, backtest_type, backtest_start, backtest_end, data_type, strategy_type, actions,
    ) = cast("Sequence[Any]", row)  # fmt: skip
    return Job(
        id=id_,
        kind=kind,
        name=name,
        subject=subject,
        status=Status(status),
        ending=ending,
        origin=Origin(origin),
        creator=creator,
        public=public,
        nodes=tuple(nodes),
        created=_utc(created),
        started=_utc(started),
        ended=_utc(ended),
        progress=progress,
        message=message,
        workflow_id=workflow_id,
        backtest_type=backtest_type,
        backtest_start=_utc(backtest_start),
        backtest_end=_utc(backtest_end),
        data_type=data_type,
        strategy_type=strategy_type,
        actions=frozenset(Action(action) for action in actions),
    )


def _utc(time: Any) -> Any:
    return None if time is None else time.astimezone(dt.UTC)


def list_statement(
    wanted: Filter, sort: Sort, *, offset: int, limit: int, after: Job | None, viewer: str | None
) -> sa.Select[Any]:
    """A page of jobs: those after the job `after` in this order if it is given, else from `offset` on.

    `viewer` here and below is the signed-in person, None for an administrator. It gives no rights (the database's
    policies do): a person's jobs and other people's public ones are each one range of an index.
    """
    follows = [] if after is None else [_follows(after, sort)]
    ids = _ids(wanted, sort, viewer, follows, offset=offset, limit=limit).subquery("chosen")
    # the rights are asked for the listed rows only, not for all that were sorted
    return job_statement().where(_C.id.in_(sa.select(ids.c.id))).order_by(*_order(sort))


def count_statement(wanted: Filter, viewer: str | None) -> sa.Select[Any]:
    """How many visible jobs the filter lets through."""
    counts = [
        sa.select(sa.func.count().label("n")).select_from(_JOB).where(*_conditions(wanted), *part)
        for part in _parts(wanted, viewer)
    ]
    if len(counts) == 1:
        return counts[0]
    each = sa.union_all(*counts).subquery("each")
    return sa.select(sa.cast(sa.func.sum(each.c.n), sa.BigInteger))


def tally_statement(wanted: Filter, viewer: str | None, ids: Collection[int] | None) -> sa.Select[Any]:
    """Status and number of the visible jobs that the filter lets through, of those with the given ids only if any."""
    among = [] if ids is None else [_C.id == sa.func.any(sa.literal(sorted(ids), pg.ARRAY(sa.BigInteger)))]
    each = sa.union_all(
        *(
            sa.select(_C.status, sa.func.count().label("n"))
            .where(*_conditions(wanted), *among, *part)
            .group_by(_C.status)
            for part in _parts(wanted, viewer)
        )
    ).subquery("each")
    return sa.select(each.c.status, sa.cast(sa.func.sum(each.c.n), sa.BigInteger)).group_by(each.c.status)


def fits(wanted: Filter, job: Job) -> bool | None:
    """Whether the filter lets the job through; None where only the database can say (how it compares texts)."""
    sides: tuple[tuple[set[Any], frozenset[Any], frozenset[Any]], ...] = (
        ({job.status}, wanted.statuses, wanted.not_statuses),
        ({job.creator}, wanted.creators, wanted.not_creators),
        ({job.origin}, wanted.origins, wanted.not_origins),
        (set(job.nodes), wanted.nodes, wanted.not_nodes),
    )
    if (
        (wanted.kind is not None and job.kind != wanted.kind)
        or any((allowed and not allowed & has) or barred & has for has, allowed, barred in sides)
        or (wanted.since is not None and job.created < wanted.since.astimezone(dt.UTC))
        or (wanted.until is not None and job.created >= wanted.until.astimezone(dt.UTC))
        or (wanted.workflow_id is not None and job.workflow_id != wanted.workflow_id)
    ):
        return False
    return None if wanted.text or any(wanted.not_text) else True


def order_statement(wanted: Filter, sort: Sort, viewer: str | None, limit: int | None) -> sa.Select[Any]:
    """The ids of the jobs that the filter lets through, in order, at most `limit` if it is given."""
    return _ids(wanted, sort, viewer, [], offset=0, limit=limit)


def _parts(wanted: Filter, viewer: str | None) -> list[list[sa.ColumnElement[bool]]]:
    """The conditions of the ranges that hold the visible jobs, which have none in common; at least one."""
    if viewer is None:
        return [[]]
    own, others = [_C.creator == viewer], [sa.column("is_public", sa.Boolean), _C.creator != viewer]
    if wanted.creators == {viewer} or (wanted.creators and viewer not in wanted.creators):
        return [own if viewer in wanted.creators else others]
    return [others] if viewer in wanted.not_creators else [own, others]


def _ids(
    wanted: Filter,
    sort: Sort,
    viewer: str | None,
    further: list[sa.ColumnElement[bool]],
    *,
    offset: int,
    limit: int | None,
) -> sa.Select[Any]:
    conditions = [*_conditions(wanted), *further]
    parts = _parts(wanted, viewer)
    if len(parts) == 1:
        return sa.select(_C.id).where(*conditions, *parts[0]).order_by(*_order(sort)).offset(offset).limit(limit)
    selects = [sa.select(_C.id, _key(sort).label("key")).where(*conditions, *part) for part in parts]
    if sort.column == "created" and limit is not None:
        # each index gives this order: the first rows of each are enough
        selects = [
            sa.select(*part.order_by(*_order(sort)).limit(offset + limit).subquery(f"part{number}").c)
            for number, part in enumerate(selects)
        ]
    both = sa.union_all(*selects).subquery("both")
    return sa.select(both.c.id).order_by(*_ordered(sort, both.c.key, both.c.id)).offset(offset).limit(limit)


def changed_condition(snapshot: str) -> sa.ColumnElement[bool]:
    """Rows written by transactions that the snapshot did not see: exact, also for those that commit late."""
    seen = sa.cast(sa.literal(snapshot, sa.Text), _SNAPSHOT)
    changed: sa.ColumnClause[Any] = sa.column("changed")
    return sa.and_(
        changed >= sa.func.pg_snapshot_xmin(seen),
        sa.not_(sa.func.pg_visible_in_snapshot(changed, seen)),
    )


class _Snapshot(sa.types.UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "pg_snapshot"


_SNAPSHOT = _Snapshot()


def _conditions(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    found: list[sa.ColumnElement[bool]] = []
    if wanted.kind is not None:
        found.append(_C.kind == wanted.kind)
    for column, allowed, barred in (
        (_C.status, wanted.statuses, wanted.not_statuses),
        (_C.creator, wanted.creators, wanted.not_creators),
        (_C.origin, wanted.origins, wanted.not_origins),
    ):
        if allowed:
            found.append(column.in_(sorted(str(value) for value in allowed)))
        if barred:
            found.append(column.not_in(sorted(str(value) for value in barred)))
    if wanted.nodes:
        found.append(_C.nodes.bool_op("&&")(_names(wanted.nodes)))
    if wanted.not_nodes:
        found.append(sa.not_(_C.nodes.bool_op("&&")(_names(wanted.not_nodes))))
    if wanted.text:
        found.append(_contains(wanted.text))
    found.extend(sa.not_(_contains(text)) for text in wanted.not_text if text)
    if wanted.since is not None:
        found.append(_C.created >= wanted.since.astimezone(dt.UTC))
    if wanted.until is not None:
        found.append(_C.created < wanted.until.astimezone(dt.UTC))
    if wanted.workflow_id is not None:
        found.append(_C.workflow_id == wanted.workflow_id)
    return found


def _names(names: frozenset[str]) -> sa.ColumnElement[Any]:
    return sa.cast(sa.literal(sorted(names), pg.ARRAY(sa.Text)), pg.ARRAY(sa.Text))


def _contains(text: str) -> sa.ColumnElement[bool]:
    return sa.or_(_C.name.icontains(text, autoescape=True), _C.subject.icontains(text, autoescape=True))


def _key(sort: Sort) -> sa.ColumnElement[Any]:
    if sort.column == "nodes":
        return _C.node_names
    return _RUN_TIME if sort.column == "run_time" else _C[sort.column]


def _order(sort: Sort) -> list[sa.ColumnElement[Any]]:
    return _ordered(sort, _key(sort), _C.id)


def _ordered(sort: Sort, key: sa.ColumnElement[Any], number: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
    by_id = number.desc() if sort.descending else number.asc()
    if sort.column == "id":
        return [by_id]
    by_key = key.desc() if sort.descending else key.asc()
    # an index can't serve NULLS LAST where it was not built so, and columns without nulls don't need it
    return [by_key.nulls_last() if sort.column in _NULLABLE else by_key, by_id]


def _follows(job: Job, sort: Sort) -> sa.ColumnElement[bool]:
    id_follows = _C.id < job.id if sort.descending else _C.id > job.id
    if sort.column == "id":
        return id_follows
    if sort.column == "run_time":
        raise Invalid(
            "a list sorted by run time has no fixed order to continue after a job: page by offset", field="sort"
        )
    key = _key(sort)
    value = _value(job, sort.column)
    if value is None:
        return sa.and_(key.is_(None), id_follows)
    literal = sa.cast(sa.literal(value, key.type), key.type)  # real to real: a double would not be equal
    pair = sa.tuple_(key, _C.id)
    follows = pair < sa.tuple_(literal, job.id) if sort.descending else pair > sa.tuple_(literal, job.id)
    return sa.or_(follows, key.is_(None)) if sort.column in _NULLABLE else follows


def _value(job: Job, column: str) -> Any:
    value = getattr(job, column)
    if isinstance(value, tuple):
        return ",".join(value)[:60]  # as the column `node_names`
    return str(value) if isinstance(value, Status | Origin) else value
