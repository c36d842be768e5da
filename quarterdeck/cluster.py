"""The cluster as it is now, through a session: its nodes, what runs on them, what waits and why; draining."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import sqlalchemy as sa

from quarterdeck.job import Node
from quarterdeck.session import Session, node_from

__all__ = ["Cluster", "Nodes", "Queue", "Running", "Waiting"]

# One statement, and so one moment: what is counted of a node and what is seen of it belong together.
_NODES = sa.text(
    "select n.*, t.id as task_id, t.job_id, t.ordinal, t.name as task, t.started, t.progress, j.name as job, j.kind,"
    " j.creator, j.ending from qd.list_nodes() as n"
    " left join (qd.task as t join qd.job as j on j.id = t.job_id) on t.node = n.name and t.status = 'in_progress'"
    " order by n.name, t.started, t.id"
)
_WAITING = sa.text(
    "select w.*, qd.why_waiting(w.id) as reason from ("
    "select j.id, j.kind, j.name, j.creator, j.created, j.ending, count(*) filter (where t.status = 'queued') as tasks,"
    " count(*) over () as total from qd.task as t join qd.job as j on j.id = t.job_id"
    " where t.status in ('queued', 'in_progress') group by j.id"
    " having j.ending or count(*) filter (where t.status = 'queued') > 0 order by min(t.id) limit :most) as w"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A task that runs on a node and that the signed-in person may see. `progress` is 0 to 1, where it is told."""

    task_id: int
    node: str
    job_id: int
    job: str
    kind: str
    creator: str
    ordinal: int
    task: str
    started: dt.datetime | None
    progress: float | None
    ending: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """A job of which `tasks` tasks are queued (or that waits for its end), and why, in one sentence."""

    job_id: int
    kind: str
    name: str
    creator: str
    created: dt.datetime
    ending: bool
    tasks: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """The nodes and what runs on them, at one moment."""

    nodes: tuple[Node, ...]
    running: tuple[Running, ...]

    def others(self, node: Node) -> int:
        """How many tasks run there that the signed-in person may not see: other people's."""
        return max(0, node.running - sum(task.node == node.name for task in self.running))


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """What waits: the first of `total` jobs, those that came first."""

    jobs: tuple[Waiting, ...]
    total: int


class Nodes(Session):
    """The part of the client that looks after nodes."""

    def cluster(self) -> Cluster:
        """The nodes, and the tasks that run on them.

        Of other people's tasks a regular user gets their number on each node and nothing else.
        """
        with self._reading() as connection:
            rows = connection.execute(_NODES).mappings().all()
        return Cluster(
            nodes=tuple({row["name"]: node_from(row) for row in rows}.values()),
            running=tuple(
                Running(
                    node=row["name"],
                    started=None if row["started"] is None else row["started"].astimezone(dt.UTC),
                    **{name: row[name] for name in _OF_TASK},
                )
                for row in rows
                if row["task_id"] is not None
            ),
        )

    def queue(self, limit: int = 50) -> Queue:
        """The first `limit` jobs that wait and that the signed-in person may see the tasks of, and why they wait."""
        with self._reading() as connection:
            rows = connection.execute(_WAITING, {"most": limit}).mappings().all()
        return Queue(
            jobs=tuple(
                Waiting(
                    job_id=row["id"],
                    created=row["created"].astimezone(dt.UTC),
                    **{name: row[name] for name in ("kind", "name", "creator", "ending", "tasks", "reason")},
                )
                for row in rows
            ),
            total=rows[0]["total"] if rows else 0,
        )

    def drain(self, node: str, on: bool = True) -> None:
        """Let a node take no new tasks (those that run there go on to their end), or take them again.

        Raises:
            Refused: you are no admin.
            NotFound: there is no node of that name that is up or draining.
        """
        with self._writing() as connection:
            connection.execute(sa.text("select qd.drain_node(:name, :on)"), {"name": node, "on": on})


_OF_TASK = ("task_id", "job_id", "job", "kind", "creator", "ordinal", "task", "progress", "ending")
