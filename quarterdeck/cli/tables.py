"""Commands on result tables and imported data (C4)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quarterdeck.cli.output import print_json, print_table, say, size_text, table_json, time_json
from quarterdeck.columns import time_text
from quarterdeck.errors import Invalid, NotFound

if TYPE_CHECKING:
    from quarterdeck.client import Client
    from quarterdeck.job import Dataset, TableInfo

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command("tables")(tables)
    app.command("export")(export)


def tables(
    context: typer.Context,
    job: Annotated[int | None, typer.Argument(metavar="[JOB]", help="A job's id; without it: imported data.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List a job's result tables, or without a job the imported data that jobs can read.

    JSON of a job's tables: id, task, name, columns (name, type), rows, bytes, complete, stream, symbols, time_min,
    time_max. JSON of imported data: name, creator, public, folder, synthetic, job, rows, bytes, time_min, time_max,
    created, updated.
    """
    with context.obj.client() as client:
        if job is None:
            _datasets(client.datasets(), as_json)
            return
        found = client.get(job).tables
    if as_json:
        print_json([table_json(one) for one in found])
        return
    print_table(
        ["Task", "Table", "Rows", "Size", "Columns"],
        [
            (
                str(one.ordinal),
                one.name if one.complete else f"{one.name} (being written)",
                f"{one.rows:,}",
                size_text(one.bytes),
                ", ".join(name for name, _ in one.columns),
            )
            for one in found
        ],
        right=(0, 2, 3),
    )


def _datasets(found: list[Dataset], as_json: bool) -> None:
    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "creator": one.creator,
                    "public": one.public,
                    "folder": one.folder,
                    "synthetic": one.synthetic,
                    "job": one.job_id,
                    "rows": one.rows,
                    "bytes": one.bytes,
                    "time_min": time_json(one.time_min),
                    "time_max": time_json(one.time_max),
                    "created": time_json(one.created),
                    "updated": time_json(one.updated),
                }
                for one in found
            ]
        )
        return
    print_table(
        ["Name", "Creator", "Rows", "Size", "From", "To", "Updated"],
        [
            (
                one.name,
                f"{one.creator} (public)" if one.public else one.creator,
                "by reference" if one.folder else f"{one.rows:,}",
                size_text(one.bytes),
                time_text(one.time_min),
                time_text(one.time_max),
                time_text(one.updated),
            )
            for one in found
        ],
        right=(2, 3),
    )


def export(
    context: typer.Context,
    job: Annotated[int, typer.Argument(metavar="JOB")],
    table: Annotated[str, typer.Argument(metavar="TABLE", help="A table's name: see 'quarterdeck tables JOB'.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .csv, .parquet or .xlsx file to write.")],
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Of which task, by its number or name.")
    ] = None,
) -> None:
    """Write a result table to a file: CSV, Parquet or Excel, by its ending. It appears whole or not at all."""
    with context.obj.client() as client:
        chosen = find(client, job, table, task)
        rows = client.export([one.id for one in chosen], file)
    say(f"{rows:,} rows of table '{table}' of job {job} written to {file}")


def find(client: Client, job: int, table: str, task: str | None) -> list[TableInfo]:
    """The table of that name of a job; where several tasks have one, that of the given task.

    It is in several parts where each task wrote a part of it: the grid of an optimization.
    """
    from quarterdeck import kinds
    from quarterdeck.query import close_match

    details = client.get(job)
    named = [one for one in details.tables if one.name == table]
    if not named:
        raise NotFound(f"job {job} has no table '{table}'{close_match(table, {one.name for one in details.tables})}")
    if task is not None:
        ordinals = {one.ordinal for one in details.tasks if task in (str(one.ordinal), one.name)}
        if not ordinals:
            raise NotFound(f"job {job} has no task '{task}': it has {len(details.tasks)}, numbered from 0")
        named = [one for one in named if one.ordinal in ordinals]
        if not named:
            raise NotFound(f"task '{task}' of job {job} has no table '{table}'")
    elif table in kinds.kind(details.job.kind).joined:
        return [one for one in named if one.complete and one.columns == named[0].columns]
    if len(named) > 1:
        raise Invalid(f"{len(named)} tasks of job {job} have a table '{table}': choose one by --task")
    return named
