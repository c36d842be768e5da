"""The values that every part speaks of: job, task, log line, node, status, action. All frozen; no I/O."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

__all__ = [
    "ENDED",
    "Action",
    "Changes",
    "Dataset",
    "Deleted",
    "Details",
    "Job",
    "Level",
    "LogLine",
    "Node",
    "Origin",
    "Status",
    "Stream",
    "TableInfo",
    "Task",
    "run_time",
]


class Status(StrEnum):
    """A job's or task's status as the database stores it; `title` is the word on the screen (S1, S2)."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    PARTIALLY_FAILED = "partially_failed"
    FAILED = "failed"
    TERMINATED = "terminated"
    RESULTS_DELETED = "results_deleted"

    @property
    def title(self) -> str:  # type: ignore[override]
        if self is Status.RESULTS_DELETED:
            return "Backtest Results Deleted"
        return self.value.replace("_", " ").title()


ENDED = frozenset(Status) - {Status.QUEUED, Status.IN_PROGRESS}


class Action(StrEnum):
    """What a user may do to a job now; computed by the SQL function `qd.job_actions` and nowhere else."""

    DETAILS = "details"
    LOG = "log"
    TERMINATE = "terminate"
    DELETE = "delete"
    DELETE_RESULTS = "delete_results"
    RERUN = "rerun"


class Origin(StrEnum):
    """How a job came about: the column *type* of M2."""

    SINGLE = "single"
    BATCH = "batch"
    WORKFLOW = "workflow"
    RERUN = "rerun"
    RECORDED = "recorded"

    @property
    def title(self) -> str:  # type: ignore[override]
        return {"single": "Single test", "batch": "Batch test"}.get(self.value, self.value.capitalize())


class Stream(StrEnum):
    """Where a log line came from. `EXECUTION` lines are Quarterdeck's own: queued, started, progress, ended."""

    STDOUT = "stdout"
    STDERR = "stderr"
    LOGGING = "logging"
    EXECUTION = "execution"


class Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One row of a job list: what the database shows of a job to the signed-in user. Times are aware, UTC."""

    id: int
    kind: str
    name: str
    subject: str
    status: Status
    ending: bool
    origin: Origin
    creator: str
    public: bool
    nodes: tuple[str, ...]
    created: dt.datetime
    started: dt.datetime | None
    ended: dt.datetime | None
    progress: float | None
    message: str
    workflow_id: int | None
    backtest_type: str
    backtest_start: dt.datetime | None
    backtest_end: dt.datetime | None
    data_type: str
    strategy_type: str
    actions: frozenset[Action]


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One task (subtask) of a job."""

    id: int
    job_id: int
    ordinal: int
    name: str
    status: Status
    queue: str
    node: str | None
    attempt: int
    started: dt.datetime | None
    ended: dt.datetime | None
    progress: float | None
    message: str
    exit_code: int | None
    error: str
    attribution_status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TableInfo:
    """A result table of a task. `columns` are (name, Arrow type); `bytes` is its size as stored.

    `complete`: its writer has closed it; until then (and for a stream) rows may still be added.
    """

    id: int
    task_id: int | None
    ordinal: int | None
    name: str
    columns: tuple[tuple[str, str], ...]
    rows: int
    bytes: int
    complete: bool
    stream: bool
    symbols: int | None
    time_min: dt.datetime | None
    time_max: dt.datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Details:
    """All that the database tells of a job to its creator and the admins.

    `waiting` says why it waits, or what its end waits for; empty when it does neither (S1, M5).
    """

    job: Job
    params: dict[str, Any]
    template: dict[str, Any]
    error: str
    tasks: tuple[Task, ...]
    tables: tuple[TableInfo, ...]
    rerun_of: int | None
    terminated_by: str | None
    waiting: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Dataset:
    """Imported data under a name. `parts` are its tables' ids in order; `folder` is set for Parquet by reference."""

    id: int
    creator: str
    name: str
    public: bool
    folder: str | None
    synthetic: bool
    job_id: int | None
    created: dt.datetime
    updated: dt.datetime
    rows: int
    bytes: int
    time_min: dt.datetime | None
    time_max: dt.datetime | None
    parts: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What became of jobs since a snapshot. `everything`: too much to list; read the whole list again."""

    snapshot: str
    jobs: tuple[Job, ...]
    gone: tuple[int, ...]
    everything: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Deleted:
    """What a deletion did: how many jobs went, and the ids of those that stay because they have not ended."""

    count: int
    running: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One line of a log; `text` has no line break.

    `task_id` and `ordinal` are None for what concerns the whole job. `number` counts an attempt's captured lines from 0
    (execution lines that the database wrote itself: the place in their chunk). (`time`, `chunk`, `offset`) is the
    line's place in the unified log.
    """

    task_id: int | None
    ordinal: int | None
    number: int
    time: dt.datetime
    stream: Stream
    level: Level
    text: str
    chunk: int = 0
    offset: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A machine (or a part of one) that runs tasks. `memory` figures are in bytes, `load` is the 1-minute average."""

    name: str
    state: str
    slots: int
    running: int
    labels: tuple[str, ...]
    host: str
    heartbeat: dt.datetime | None
    cpus: int
    load: float
    memory_total: int
    memory_free: int
    version: str


def run_time(job: Job | Task, now: dt.datetime) -> dt.timedelta | None:
    """How long the job or task ran, or has been running at `now`; None while it is queued."""
    if job.started is None:
        return None
    return max((job.ended or now) - job.started, dt.timedelta())
