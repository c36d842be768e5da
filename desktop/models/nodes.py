"""The cluster page's rows: nodes, what runs on them, what waits and why; read every second while somebody looks."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QTimer, Signal

from desktop.bridge import Bridge
from desktop.models.rows import Heading, RowsModel
from quarterdeck.client import Client
from quarterdeck.cluster import Cluster, Queue, Running, Waiting
from quarterdeck.columns import duration_text
from quarterdeck.errors import Conflict, Disconnected, QuarterdeckError
from quarterdeck.job import Node
from quarterdeck.kinds import KINDS

__all__ = ["ClusterModel", "Others", "ago", "memory_text"]

KIND_TITLES = {kind.key: kind.title for kind in KINDS}
_ZERO = dt.timedelta()
_MANY = 200
_NEVER = dt.datetime(1, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Others:
    """Tasks of other people on a node: a number, and nothing else."""

    node: str
    count: int

    @property
    def words(self) -> str:
        return "1 task of others" if self.count == 1 else f"{self.count} tasks of others"


def ago(time: dt.datetime | None, now: dt.datetime) -> str:
    """'3 s ago', '4 min ago', '2 h ago', '5 d ago'; 'never' for None."""
    if time is None:
        return "never"
    seconds = max(now - time, _ZERO).total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return f"{int(seconds)} s ago"


def memory_text(size: int) -> str:
    """Bytes as gigabytes or, below one, megabytes: '15.6 GB', '512 MB'."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def is_heard(node: Node) -> bool:
    """Whether what the node told of its load and memory is of now."""
    return node.state in ("up", "draining")


def _node_text(node: Node, key: str, now: dt.datetime) -> str:
    if key == "slots":
        return f"{node.running} of {node.slots}"
    if key == "load":
        return f"{node.load:.2f} of {node.cpus}" if is_heard(node) else "—"
    if key == "memory":
        if not is_heard(node):
            return "—"
        return f"{memory_text(node.memory_total - node.memory_free)} of {memory_text(node.memory_total)}"
    if key == "heartbeat":
        return ago(node.heartbeat, now)
    if key == "labels":
        return ", ".join(node.labels)
    if key == "state":
        return node.state.capitalize()
    return str(getattr(node, key, ""))


def _running_text(task: Running | Others, key: str, now: dt.datetime) -> str:
    if key == "node":
        return task.node
    if isinstance(task, Others):
        return task.words if key == "job" else ""
    if key == "run_time":
        return "" if task.started is None else duration_text(max(now - task.started, _ZERO))
    if key == "progress":
        return "" if task.progress is None else f"{task.progress:.0%}"
    if key == "kind":
        return KIND_TITLES.get(task.kind, task.kind)
    return str(getattr(task, key, ""))


def _waiting_text(job: Waiting, key: str, now: dt.datetime) -> str:
    if key == "waits":
        return duration_text(max(now - job.created, _ZERO))
    if key == "tasks":
        return f"{job.tasks:,}" if job.tasks else "ending"
    if key == "reason":
        return job.reason[:1].upper() + job.reason[1:]
    return str(getattr(job, key, ""))


def _by(value: Callable[[Any, str], Any], key: str, row: Any) -> Any:
    return value(row, key)


def _node_value(node: Node, key: str) -> Any:
    """What a sort by that column goes by."""
    if key == "slots":
        return node.running
    if key == "load":
        return node.load / max(1, node.cpus) if is_heard(node) else -1.0
    if key == "memory":
        return node.memory_total - node.memory_free if is_heard(node) else -1
    if key == "heartbeat":
        return _NEVER if node.heartbeat is None else node.heartbeat
    return getattr(node, key)


def _running_value(task: Running | Others, key: str) -> Any:
    if key == "node":
        return task.node
    if isinstance(task, Others):  # after all that is seen
        return chr(0x10FFFF) if key in ("job", "task", "kind", "creator") else float("inf")
    if key == "run_time":
        return 0.0 if task.started is None else -task.started.timestamp()
    if key == "progress":
        return -1.0 if task.progress is None else task.progress
    return str(getattr(task, key)).lower()


def _waiting_value(job: Waiting, key: str) -> Any:
    if key == "waits":
        return -job.created.timestamp()
    return getattr(job, key) if key == "tasks" else str(getattr(job, key)).lower()


class ClusterModel(QObject):
    """Nodes, running tasks and waiting jobs, as they are while `watch` is on and `awake()`.

    Signals:
        shown(): the cluster was read; `seen` is it
    """

    shown = Signal()

    EVERY = 1.0
    """Seconds between two readings: nodes change without notifications."""
    SHARE = 0.05
    """Of the time, at most, in which what waits is read: why a hundred thousand tasks wait takes long to find out."""

    def __init__(self, client: Client, bridge: Bridge, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._client = client
        self._bridge = bridge
        self._now = client.now()
        self._poll: Any = None
        self._reading = False
        self._again = False
        self._soon = QTimer(self, singleShot=True, interval=150)
        self._soon.timeout.connect(self.reread)
        self._queue_due = 0.0
        self._orders: dict[RowsModel[Any], tuple[str, bool]] = {}
        self.awake: Callable[[], bool] = lambda: True
        self.seen: Cluster | None = None
        self.queue = Queue(jobs=(), total=0)
        self.node: str | None = None
        last = [Heading("actions", "", 10)] if client.me.admin else []
        self.nodes: RowsModel[Node] = self._rows(
            [
                Heading("name", "Node"),
                Heading("state", "State"),
                Heading("slots", "Slots in Use"),
                Heading("load", "Load of CPUs"),
                Heading("memory", "Memory in Use"),
                Heading("labels", "Labels"),
                Heading("host", "Host"),
                Heading("version", "Version"),
                Heading("heartbeat", "Last Heartbeat"),
                *last,
            ],
            lambda node: node.name,
            _node_text,
        )
        self.running: RowsModel[Running | Others] = self._rows(
            [
                Heading("job", "Job"),
                Heading("task", "Task"),
                Heading("kind", "Kind"),
                Heading("node", "Node"),
                Heading("creator", "Creator"),
                Heading("progress", "Progress", align="right"),
                Heading("run_time", "Run Time", align="right"),
            ],
            lambda task: ("others", task.node) if isinstance(task, Others) else task.task_id,
            _running_text,
        )
        self.waiting: RowsModel[Waiting] = self._rows(
            [
                Heading("name", "Job"),
                Heading("tasks", "Tasks", align="right"),
                Heading("reason", "Why It Waits"),
                Heading("creator", "Creator"),
                Heading("waits", "Since", align="right"),
            ],
            lambda job: job.job_id,
            _waiting_text,
        )

    def _rows(self, headings: list[Heading], key: Any, text: Callable[[Any, str, dt.datetime], str]) -> RowsModel[Any]:
        return RowsModel(headings, key, lambda row, column: text(row, headings[column].key, self._now), self)

    def watch(self, on: bool) -> None:
        """Read now and again and again, or stop that."""
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        if on:
            self._poll = self._bridge.start(self, self._watch())

    def refresh(self) -> None:
        """Read everything at once."""
        self._queue_due = 0.0
        self.reread()

    def reread(self) -> None:
        """Read at once; one reading at a time."""
        if self._reading:
            self._again = True
            return
        self._reading = True
        self._bridge.start(self, self._read())

    def reread_soon(self) -> None:
        """Read in a moment, together with what happens until then."""
        if not self._soon.isActive():
            self._soon.start()

    def order(self, model: RowsModel[Any], key: str, descending: bool) -> None:
        """Show the rows of one of the three in the order of a column, '' for that in which they are read."""
        self._orders[model] = (key, descending)
        if self.seen is not None:
            self._fill(self.seen, model)

    def choose(self, node: str | None) -> None:
        """Show what runs on that node, or on all."""
        self.node = node
        if self.seen is not None:
            self._fill(self.seen)

    def tick(self) -> None:
        """Time has passed: ages and run times count on."""
        self._now = self._client.now()
        for model, key in ((self.nodes, "heartbeat"), (self.running, "run_time"), (self.waiting, "waits")):
            column = next(n for n, heading in enumerate(model.headings) if heading.key == key)
            if model.rowCount():
                model.dataChanged.emit(model.index(0, column), model.index(model.rowCount() - 1, column))

    @property
    def read(self) -> bool:
        """Whether there is something to show."""
        return self.seen is not None

    async def _watch(self) -> None:
        while True:
            if self.awake():
                self.reread()
            await self._bridge.pause(self.EVERY)

    async def _read(self) -> None:
        try:
            while True:
                self._again = False
                cluster = await self._bridge.call(self._client.cluster)
                begun = time.monotonic()
                if begun >= self._queue_due:
                    self.queue = await self._bridge.call(self._client.queue)
                    ended = time.monotonic()
                    self._queue_due = ended + (ended - begun) * (1 / self.SHARE - 1)
                self._show(cluster)
                if not self._again:
                    return
        except (Disconnected, Conflict):
            return  # the banner says so, or the server is busy: what is shown stays
        except QuarterdeckError:
            self.watch(False)  # said once, and not again every second
            raise
        finally:
            self._reading = False

    def _show(self, cluster: Cluster) -> None:
        self.seen = cluster
        self._now = self._client.now()
        self._fill(cluster)
        self.shown.emit()

    def _fill(self, cluster: Cluster, turned: RowsModel[Any] | None = None) -> None:
        """Give the three their rows; `turned` is one whose order is another now."""
        contents: list[tuple[RowsModel[Any], Sequence[Any], Callable[[Any, str], Any]]] = [
            (self.nodes, cluster.nodes, _node_value),
            (self.running, self._tasks(cluster), _running_value),
            (self.waiting, self.queue.jobs, _waiting_value),
        ]
        for model, rows, value in contents:
            key, descending = self._orders.get(model, ("", False))
            rows = sorted(rows, key=partial(_by, value, key), reverse=descending) if key else rows
            if model is turned and len(rows) > _MANY:
                model.when_free(partial(model.reset, rows))  # row by row would take longer than one sees
            else:
                model.replace(rows)

    def _tasks(self, cluster: Cluster) -> list[Running | Others]:
        """What is seen to run, node by node, and after it how much of others'."""
        found: list[Running | Others] = []
        for node in cluster.nodes:
            if self.node in (None, node.name):
                found += [task for task in cluster.running if task.node == node.name]
                if others := cluster.others(node):
                    found.append(Others(node.name, others))
        return found
