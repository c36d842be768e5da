"""Commands on jobs: list, show, follow, end (C3)."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from quarterdeck.cli.output import (
    AsJson,
    JobId,
    fail,
    job_json,
    print_json,
    print_table,
    printable,
    printable_colors,
    say,
    size_text,
    table_json,
    task_json,
    time_json,
    write,
)
from quarterdeck.cli.start import ended_code
from quarterdeck.columns import duration_text, time_text
from quarterdeck.errors import Invalid, QuarterdeckError
from quarterdeck.job import ENDED, Level, LogLine, run_time

if TYPE_CHECKING:
    from quarterdeck.client import Client
    from quarterdeck.job import Details

__all__ = ["add_to", "moment"]

T = TypeVar("T")

JobIds = Annotated[list[int], typer.Argument(metavar="JOB...")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    commands: dict[str, Callable[..., None]] = {
        "list": list_jobs,
        "show": show,
        "logs": logs,
        "terminate": terminate,
        "delete": delete,
        "wait": wait,
    }
    for name, command in commands.items():
        app.command(name)(command)


# --- list and show --------------------------------------------------------------------------------------------------


def list_jobs(
    context: typer.Context,
    kind: Annotated[str | None, typer.Option("--kind", help="Only jobs of this kind.")] = None,
    status: Annotated[
        list[str] | None,
        typer.Option("--status", help="Only with this status, such as failed; !failed: all others. May be repeated."),
    ] = None,
    creator: Annotated[
        list[str] | None, typer.Option("--creator", help="Only of this person; me: yourself; !NAME: all others.")
    ] = None,
    node: Annotated[
        list[str] | None, typer.Option("--node", help="Only those that ran on this node; !NAME: not on it.")
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option("--type", help="Only of this type: single, batch, workflow, rerun, recorded; !TYPE: all others."),
    ] = None,
    since: Annotated[
        str | None, typer.Option("--since", help="Only created since: 2d, 3h, 30m, or 2026-01-31, or with a time.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only created before: as --since.")] = None,
    text: Annotated[str, typer.Option("--text", help="Only with this text in name or factor.")] = "",
    workflow: Annotated[
        int | None, typer.Option("--workflow", metavar="JOB", help="Only jobs of this workflow.")
    ] = None,
    line: Annotated[
        str | None,
        typer.Option(
            "--filter", metavar="LINE", help="All of it in a line: 'status:failed -creator:me last:2d momentum'."
        ),
    ] = None,
    sort: Annotated[str, typer.Option("--sort", help="By which column; -COLUMN: descending.")] = "-created",
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many.")] = 50,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Pass over so many first.")] = 0,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first.

    JSON: a list of id, kind, name, subject, status (queued, in_progress, success, partially_failed, failed,
    terminated, results_deleted), ending, origin, creator, public, nodes, created, started, ended, run_time (seconds),
    progress (0 to 1), message, workflow_id, backtest_type, backtest_start, backtest_end, data_type, strategy_type,
    actions. Times are ISO 8601 in UTC; what is not there is null.
    """
    from quarterdeck import filter_line
    from quarterdeck.query import Filter, Sort

    order = Sort(sort.lstrip("-"), sort.startswith("-"))
    with context.obj.client() as client:
        me = client.me.login
        statuses, not_statuses = _sides(status, filter_line.read_status)
        creators, not_creators = _sides(creator, lambda name: me if name == "me" else name)
        nodes, not_nodes = _sides(node, str)
        origins, not_origins = _sides(origin, filter_line.read_origin)
        wanted = Filter(
            kind=None if kind is None else _kind(kind),
            statuses=statuses,
            creators=creators,
            nodes=nodes,
            origins=origins,
            text=text,
            since=moment(since, client.now()),
            until=moment(until, client.now()),
            workflow_id=workflow,
            not_statuses=not_statuses,
            not_creators=not_creators,
            not_nodes=not_nodes,
            not_origins=not_origins,
        )
        if line is not None:
            if wanted != Filter(kind=wanted.kind):
                raise Invalid("--filter says it all: give it alone, or with --kind only")
            wanted = filter_line.parse(line, me=me, now=client.now(), within=wanted)
        found = client.list(wanted, order, offset=offset, limit=limit)
        now = client.now()
        total = None if as_json or len(found) < limit else client.count(wanted)
    if as_json:
        print_json([job_json(job, now) for job in found])
        return
    print_table(
        ["Job", "Kind", "Name", "Status", "Run Time", "Created", "Type", "Creator", "Node"],
        [
            (
                str(job.id),
                job.kind,
                job.name,
                f"{job.status.title} (ending)" if job.ending else job.status.title,
                duration_text(run_time(job, now)),
                time_text(job.created),
                job.origin.title,
                job.creator,
                ", ".join(job.nodes),
            )
            for job in found
        ],
        right=(0, 4),
    )
    if total is not None and total > offset + len(found):
        say(f"{offset + 1} to {offset + len(found)} of {total:,} jobs: see --limit and --offset")


def _sides(values: Iterable[str] | None, read: Callable[[str], T]) -> tuple[frozenset[T], frozenset[T]]:
    given = list(values or ())
    return (
        frozenset(read(value) for value in given if not value.startswith("!")),
        frozenset(read(value[1:]) for value in given if value.startswith("!")),
    )


def _kind(text: str) -> str:
    from quarterdeck import kinds as every

    return every.kind(text).key


def moment(text: str | None, now: dt.datetime) -> dt.datetime | None:
    """The time that an option such as --since means.

    Raises:
        Invalid: it is none.
    """
    from quarterdeck import filter_line

    return None if text is None else filter_line.read_time(text, now)


def show(context: typer.Context, job: JobId, as_json: AsJson = False) -> None:
    """Show a job: its parameters, tasks, result tables, and its error if it has one.

    JSON: the fields of list --json, and params, template, error, waiting, rerun_of, terminated_by, tasks (ordinal,
    id, name, status, queue, node, attempt, started, ended, run_time, progress, message, exit_code, error,
    attribution_status), tables (as of tables --json).
    """
    with context.obj.client() as client:
        details = client.get(job)
        now = client.now()
    if as_json:
        print_json(
            {
                **job_json(details.job, now),
                "params": details.params,
                "template": details.template,
                "error": details.error,
                "waiting": details.waiting,
                "rerun_of": details.rerun_of,
                "terminated_by": details.terminated_by,
                "tasks": [task_json(task, now) for task in details.tasks],
                "tables": [table_json(table) for table in details.tables],
            }
        )
        return
    _show(details, now)


def _show(details: Details, now: dt.datetime) -> None:
    job = details.job
    facts = {
        "Job": str(job.id),
        "Kind": job.kind,
        "Name": job.name,
        "Subject": job.subject,
        "Status": job.status.title,
        "Waiting": details.waiting,
        "Error": details.error,
        "Terminated By": details.terminated_by or "",
        "Progress": "" if job.progress is None or job.status in ENDED else f"{job.progress:.0%} {job.message}",
        "Run Time": duration_text(run_time(job, now)),
        "Created": time_text(job.created),
        "Started": time_text(job.started),
        "Ended": time_text(job.ended),
        "Type": job.origin.title,
        "Workflow": "" if job.workflow_id is None else str(job.workflow_id),
        "Rerun Of": "" if details.rerun_of is None else str(details.rerun_of),
        "Creator": f"{job.creator} (public)" if job.public else job.creator,
        "Node": ", ".join(job.nodes),
    }
    for title, value in facts.items():
        if value:
            write(f"{title + ':':15} {printable(value)}")
    write("\nParameters:")
    print_json(details.params)
    write("\nTasks:")
    print_table(
        ["Task", "Name", "Status", "Run Time", "Node", "Error"],
        [
            (
                str(task.ordinal),
                task.name,
                task.status.title,
                duration_text(run_time(task, now)),
                task.node or "",
                task.error,
            )
            for task in details.tasks
        ],
        right=(0, 3),
    )
    if details.tables:
        write("\nTables:")
        print_table(
            ["Task", "Table", "Rows", "Size"],
            [(str(one.ordinal), one.name, f"{one.rows:,}", size_text(one.bytes)) for one in details.tables],
            right=(0, 2, 3),
        )


# --- logs -----------------------------------------------------------------------------------------------------------


def logs(
    context: typer.Context,
    job: JobId,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with new lines until the job has ended.")
    ] = False,
    task: Annotated[str | None, typer.Option("--task", help="Only of this task, by its number or name.")] = None,
    level: Annotated[
        Level | None, typer.Option("--level", help="Only lines of this level and worse ones.", case_sensitive=False)
    ] = None,
    grep: Annotated[
        str | None, typer.Option("--grep", metavar="TEXT", help="Only lines with this text, in any case.")
    ] = None,
    lines: Annotated[int | None, typer.Option("--lines", "-n", min=0, help="Only the last so many lines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each line as a JSON object.")] = False,
) -> None:
    """Print a job's log: all tasks in order of time (UTC), each line naming its task.

    Colours show in a terminal (not where NO_COLOR is set); elsewhere lines are plain text. JSON of a line: time, task
    (its ordinal; null: the whole job), number, stream, level, text (as it was written).
    """
    from quarterdeck.outline import END

    if grep == "":
        raise Invalid("--grep needs a text to search for")
    with context.obj.client() as client:
        log = client.log(job)
        ordinal = None if task is None else _ordinal(client, job, task)
        tail = log.tail(task=ordinal, level=level) if follow else None
        found: Iterable[LogLine]
        if grep is not None and lines is not None:
            found = log.search(grep, lines, task=ordinal, level=level, before=END)[::-1]
        elif grep is not None:
            found = log.hits(grep, task=ordinal, level=level)
        elif lines is not None:
            found = log.newest(lines, task=ordinal, level=level)
        else:
            found = log.lines(task=ordinal, level=level)
        printed = set[int]()
        for line in found:
            printed.add(line.chunk)
            _print_line(line, as_json)
        while tail is not None:
            ended = client.by_ids([job])
            for line in tail.poll():
                if line.chunk not in printed and (grep is None or grep.lower() in line.text.lower()):
                    _print_line(line, as_json)
            sys.stdout.flush()
            if not ended or ended[0].status in ENDED:  # asked before the poll, so that the last lines are in it
                return
            time.sleep(0.25)


def _ordinal(client: Client, job: int, task: str) -> int:
    tasks = client.tasks(job)
    named = [one.ordinal for one in tasks if one.name == task]
    if len(named) == 1:
        return named[0]
    if task.isascii() and task.isdigit() and any(one.ordinal == int(task) for one in tasks):
        return int(task)
    raise Invalid(f"job {job} has no task '{task}': it has {len(tasks)}, numbered from 0")


def _print_line(line: LogLine, as_json: bool) -> None:
    from quarterdeck.logs import line_text

    if not as_json:
        # into a file or a pipe goes plain text; colours are for people
        write(printable_colors(line_text(line)) if sys.stdout.isatty() else line_text(line, raw=False))
        return
    fields = {
        "time": time_json(line.time),
        "task": line.ordinal,
        "number": line.number,
        "stream": line.stream.value,
        "level": line.level.value,
        "text": line.text,
    }
    write(json.dumps(fields, ensure_ascii=False))


# --- end ------------------------------------------------------------------------------------------------------------


def terminate(context: typer.Context, jobs: JobIds) -> None:
    """End running or queued jobs of your own; as an admin anyone's."""
    failed = False
    with context.obj.client() as client:
        for job in dict.fromkeys(jobs):
            try:
                outcome = client.terminate(job)
            except QuarterdeckError as error:
                failed = True
                fail(str(error))
            else:
                say(f"job {job} {'has ended' if outcome == 'ended' else 'is ending: its nodes stop its processes'}")
    if failed:
        raise typer.Exit(1)


def delete(
    context: typer.Context,
    jobs: JobIds,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask (where a person could be asked).")] = False,
) -> None:
    """Delete ended jobs with their logs, tasks and results. Admins only."""
    with context.obj.client() as client:
        wanted = set(jobs)
        there = {job.id for job in client.by_ids(wanted)}
        if there and not yes and sys.stdin.isatty():
            what = "1 job" if len(there) == 1 else f"{len(there)} jobs"
            typer.confirm(f"Delete {what} with logs and results?", abort=True, err=True)
        outcome = client.delete(wanted)
    say(f"deleted {outcome.count} {'job' if outcome.count == 1 else 'jobs'}")
    problems = [f"job {job} has not ended: it stays" for job in outcome.running]
    problems += [f"there is no job {job} that you may see" for job in sorted(wanted - there)]
    for problem in problems:
        fail(problem)
    if problems:
        raise typer.Exit(1)


def wait(
    context: typer.Context,
    job: JobId,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0, metavar="SECONDS", help="Give up after so long.")
    ] = None,
) -> None:
    """Wait until a job has ended. Exit code: 0 success, 3 failed, 4 partially failed, 5 terminated."""
    with context.obj.client() as client:
        ended_code(client, job, timeout)
