"""What commands print: sentences, tables for people, JSON for scripts."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck.ansi import colored, plain
from quarterdeck.job import Job, Status, TableInfo, Task, run_time

if TYPE_CHECKING:
    from quarterdeck.client import Client

__all__ = [
    "CODES",
    "AsJson",
    "Choice",
    "JobId",
    "fail",
    "job_json",
    "print_json",
    "print_table",
    "printable",
    "printable_colors",
    "say",
    "size_text",
    "table_json",
    "task_json",
    "time_json",
    "write",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JobId = Annotated[int, typer.Argument(metavar="JOB")]

CODES = {
    Status.SUCCESS: 0,
    Status.FAILED: 3,
    Status.PARTIALLY_FAILED: 4,
    Status.TERMINATED: 5,
    Status.RESULTS_DELETED: 5,
}
"""The exit code of a job that has ended."""

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}
_CONTROLS_BUT_ESCAPE = {code: shown for code, shown in _CONTROLS.items() if code != 27}


@dataclass(frozen=True, slots=True)
class Choice:
    """What stands before the command."""

    profile: str | None

    def client(self) -> Client:
        """Sign in by the chosen profile; the password is asked for where none is kept and a person is there."""
        from quarterdeck import profile
        from quarterdeck.client import Client

        chosen = profile.load(self.profile)
        password = profile.password(chosen)
        if password is None and sys.stdin.isatty():
            password = str(typer.prompt(f"Password of {chosen.user} at {chosen.host}", hide_input=True, err=True))
        return Client.connect(chosen, password=password)


def write(text: str) -> None:
    """One line on standard output."""
    sys.stdout.write(f"{text}\n")


def say(text: str) -> None:
    """One line on standard error, for the person; scripts read standard output."""
    sys.stderr.write(f"{text}\n")


def fail(text: str) -> int:
    """Say an error in one line; the exit code 1."""
    sys.stderr.write(f"quarterdeck: {printable(' '.join(text.split()))}\n")
    return 1


def printable(text: str) -> str:
    """Without control characters: other people's texts shall not command this terminal."""
    return text.translate(_CONTROLS)


def printable_colors(text: str) -> str:
    """The same, but with the text's colours, unless the person wants none (https://no-color.org)."""
    if os.environ.get("NO_COLOR"):
        return printable(plain(text))
    return colored(text).translate(_CONTROLS_BUT_ESCAPE)  # the escapes that are left are those of colours


def print_json(value: Any) -> None:
    """JSON, indented, on standard output."""
    write(json.dumps(value, indent=2, ensure_ascii=False))


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[int] = ()) -> None:
    """Rows in aligned columns; in a terminal with bold titles, elsewhere never cut."""
    cells = [[printable(cell).replace("\t", " ") for cell in row] for row in rows]
    if sys.stdout.isatty():
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for place, title in enumerate(titles):
            table.add_column(title, justify="right" if place in right else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(cell, style=_style(cell)) for cell in row))
        Console().print(table)
        return
    widths = [max(len(row[place]) for row in [list(titles), *cells]) for place in range(len(titles))]
    for row in [list(titles), *cells]:
        parts = [
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        write("  ".join(parts).rstrip())


def _style(cell: str) -> str:
    return {
        Status.SUCCESS.title: "green",
        Status.FAILED.title: "red",
        Status.PARTIALLY_FAILED.title: "yellow",
        Status.IN_PROGRESS.title: "cyan",
    }.get(cell, "")


def time_json(time: dt.datetime | None) -> str | None:
    """ISO 8601 in UTC to the microsecond, with Z."""
    return None if time is None else time.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _seconds(job: Job | Task, now: dt.datetime) -> float | None:
    took = run_time(job, now)
    return None if took is None else round(took.total_seconds(), 3)


def job_json(job: Job, now: dt.datetime) -> dict[str, Any]:
    """A job as `list --json` prints it: these names stay.

    id, kind, name, subject, status (queued, in_progress, success, partially_failed, failed, terminated,
    results_deleted), ending, origin (single, batch, workflow, rerun, recorded), creator, public, nodes, created,
    started, ended, run_time (seconds), progress (0 to 1), message, workflow_id, backtest_type, backtest_start,
    backtest_end, data_type, strategy_type, actions. Times are ISO 8601 in UTC; what is not there is null.
    """
    return {
        "id": job.id,
        "kind": job.kind,
        "name": job.name,
        "subject": job.subject,
        "status": job.status.value,
        "ending": job.ending,
        "origin": job.origin.value,
        "creator": job.creator,
        "public": job.public,
        "nodes": list(job.nodes),
        "created": time_json(job.created),
        "started": time_json(job.started),
        "ended": time_json(job.ended),
        "run_time": _seconds(job, now),
        "progress": job.progress,
        "message": job.message,
        "workflow_id": job.workflow_id,
        "backtest_type": job.backtest_type,
        "backtest_start": time_json(job.backtest_start),
        "backtest_end": time_json(job.backtest_end),
        "data_type": job.data_type,
        "strategy_type": job.strategy_type,
        "actions": sorted(action.value for action in job.actions),
    }


def task_json(task: Task, now: dt.datetime) -> dict[str, Any]:
    """A task in `show --json`: ordinal, id, name, status, queue, node, attempt, started, ended, run_time (seconds),
    progress, message, exit_code, error, attribution_status."""
    return {
        "ordinal": task.ordinal,
        "id": task.id,
        "name": task.name,
        "status": task.status.value,
        "queue": task.queue,
        "node": task.node,
        "attempt": task.attempt,
        "started": time_json(task.started),
        "ended": time_json(task.ended),
        "run_time": _seconds(task, now),
        "progress": task.progress,
        "message": task.message,
        "exit_code": task.exit_code,
        "error": task.error,
        "attribution_status": task.attribution_status,
    }


def table_json(table: TableInfo) -> dict[str, Any]:
    """A table in `show --json` and `tables --json`: id, task (its ordinal), name, columns (name, type), rows, bytes,
    complete, stream, symbols, time_min, time_max."""
    return {
        "id": table.id,
        "task": table.ordinal,
        "name": table.name,
        "columns": [{"name": name, "type": kind} for name, kind in table.columns],
        "rows": table.rows,
        "bytes": table.bytes,
        "complete": table.complete,
        "stream": table.stream,
        "symbols": table.symbols,
        "time_min": time_json(table.time_min),
        "time_max": time_json(table.time_max),
    }


def size_text(count: int) -> str:
    """Bytes in a unit that is easy to read: '0 B', '1.5 kB', '23 MB'."""
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"
