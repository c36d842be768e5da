"""The command `audit`: who did what, and when."""

from __future__ import annotations

from typing import Annotated

import typer

from quarterdeck.cli.jobs import moment
from quarterdeck.cli.output import AsJson, print_json, print_table, say, time_json
from quarterdeck.columns import time_text
from quarterdeck.errors import Invalid

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add this command."""
    app.command("audit")(audit)


def audit(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option("--since", help="Only since: 2d, 3h, 30m, or 2026-01-31, or with a time.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Only before: as --since.")] = None,
    person: Annotated[str | None, typer.Option("--person", help="Only what this person did.")] = None,
    action: Annotated[
        str | None, typer.Option("--action", help="Only this act, such as terminate, delete, create_user, drain_node.")
    ] = None,
    job: Annotated[int | None, typer.Option("--job", metavar="JOB", help="Only what was done to this job.")] = None,
    text: Annotated[str, typer.Option("--text", help="Only with this text in names and details.")] = "",
    limit: Annotated[int, typer.Option("--limit", min=0, help="At most so many.")] = 50,
    offset: Annotated[int, typer.Option("--offset", min=0, help="Pass over so many first.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Say who did what to which job, account or node, newest first. Admins only.

    JSON: a list of id, time (ISO 8601 in UTC), person, action (terminate, delete, delete_results, drop_dataset,
    delete_template, create_user, disable_user, enable_user, set_password, create_node, drain_node, resume_node,
    upgrade_schema), job (null where it concerns none), detail (name, and what else is known).
    """
    from quarterdeck.audit import ACTIONS, Selection

    if action is not None and action not in ACTIONS:
        raise Invalid(f"there is no act '{action}': it is one of {', '.join(ACTIONS)}")
    with context.obj.client() as client:
        now = client.now()
        selection = Selection(
            person=client.me.login if person == "me" else person,
            action=action,
            job_id=job,
            since=moment(since, now),
            until=moment(until, now),
            text=text,
        )
        found = client.audit(selection, offset=offset, limit=limit)
        total = None if as_json or len(found) < limit else client.audit_count(selection)
    if as_json:
        print_json(
            [
                {
                    "id": entry.id,
                    "time": time_json(entry.time),
                    "person": entry.person,
                    "action": entry.action,
                    "job": entry.job_id,
                    "detail": dict(entry.detail),
                }
                for entry in found
            ]
        )
        return
    print_table(
        ["Time", "Person", "Act", "Job", "Name", "Details"],
        [
            (
                time_text(entry.time),
                entry.person,
                entry.title,
                "" if entry.job_id is None else str(entry.job_id),
                entry.subject,
                entry.words,
            )
            for entry in found
        ],
        right=(3,),
    )
    if total is not None and total > offset + len(found):
        say(f"{offset + 1:,} to {offset + len(found):,} of {total:,} records: see --limit and --offset")
