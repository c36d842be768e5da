"""Columns of the job lists: title, value, sort key, text, for the desktop and the command line alike (M2, M8)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from quarterdeck.job import Job, run_time

__all__ = ["Column", "duration_text", "time_text"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A column of a job list.

    `text(job, now)` is what is shown; `sort` the name of the column of `qd.job` by which the database sorts.
    `width` is in characters.
    """

    key: str
    title: str
    text: Callable[[Job, dt.datetime], str]
    sort: str
    width: int = 16
    align: Literal["left", "right"] = "left"


def duration_text(duration: dt.timedelta | None) -> str:
    """'0.42 s', '59.99 s', '3:07', '1:02:03', '2 d 03:04:05'; empty when there is none (M8: decimals below 60 s)."""
    if duration is None:
        return ""
    seconds = duration.total_seconds()
    if seconds < 59.995:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02}:{minutes:02}:{rest:02}"
    if hours:
        return f"{hours}:{minutes:02}:{rest:02}"
    return f"{minutes}:{rest:02}"


def time_text(time: dt.datetime | None) -> str:
    """Local time to the second; empty when there is none."""
    return "" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _period(job: Job) -> str:
    if job.backtest_start is None or job.backtest_end is None:
        return ""
    return f"{job.backtest_start:%Y-%m-%d} – {job.backtest_end:%Y-%m-%d}"


def _status(job: Job) -> str:
    return f"{job.status.title} (ending)" if job.ending else job.status.title


def name(title: str) -> Column:
    """The column whose click opens the details."""
    return Column(key="name", title=title, text=lambda job, now: job.name, sort="name", width=24)


SUBJECT = Column(key="subject", title="Factor Name", text=lambda job, now: job.subject, sort="subject", width=20)
STATUS = Column(key="status", title="Status", text=lambda job, now: _status(job), sort="status", width=16)
RUN_TIME = Column(
    key="run_time",
    title="Run Time",
    text=lambda job, now: duration_text(run_time(job, now)),
    sort="run_time",
    width=12,
    align="right",
)
START_TIME = Column(
    key="started", title="Start Time", text=lambda job, now: time_text(job.started), sort="started", width=20
)
CREATION_TIME = Column(
    key="created", title="Creation Time", text=lambda job, now: time_text(job.created), sort="created", width=20
)
ORIGIN = Column(key="origin", title="Type", text=lambda job, now: job.origin.title, sort="origin", width=12)
CREATOR = Column(key="creator", title="Creator", text=lambda job, now: job.creator, sort="creator", width=14)
NODE = Column(key="nodes", title="Node", text=lambda job, now: ", ".join(job.nodes), sort="nodes", width=14)
BACKTEST_TYPE = Column(
    key="backtest_type", title="Backtest Type", text=lambda job, now: job.backtest_type, sort="backtest_type", width=13
)
BACKTEST_TIME = Column(
    key="backtest_start", title="Backtest Time", text=lambda job, now: _period(job), sort="backtest_start", width=24
)
DATA_TYPE = Column(key="data_type", title="Data Type", text=lambda job, now: job.data_type, sort="data_type", width=10)
STRATEGY_TYPE = Column(
    key="strategy_type", title="Strategy Type", text=lambda job, now: job.strategy_type, sort="strategy_type", width=13
)
