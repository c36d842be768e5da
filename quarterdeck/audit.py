"""The audit through a session: who did what to which job, account or node, and when. For admins only."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quarterdeck.errors import Invalid, Refused
from quarterdeck.session import Session

__all__ = ["ACTIONS", "COLUMNS", "Audit", "Entry", "Selection", "cells"]

ACTIONS = {
    "terminate": "Terminate job",
    "delete": "Delete job",
    "delete_results": "Delete results",
    "drop_dataset": "Delete table",
    "delete_template": "Delete template",
    "create_user": "Add account",
    "disable_user": "Disable account",
    "enable_user": "Enable account",
    "set_password": "Set password",
    "create_node": "Add node",
    "drain_node": "Drain node",
    "resume_node": "Resume node",
    "upgrade_schema": "Upgrade schema",
}
"""What is recorded, and the words for it."""

COLUMNS = ("time", "person", "action", "job", "subject", "detail")
"""The columns of a file of the audit."""

_PAGE = 1_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One act. `job_id` is kept when the job is gone; `detail` holds what was acted on, by name."""

    id: int
    time: dt.datetime
    person: str
    action: str
    job_id: int | None
    detail: Mapping[str, Any]

    @property
    def title(self) -> str:
        """What was done, in words."""
        return ACTIONS.get(self.action, self.action.replace("_", " ").capitalize())

    @property
    def subject(self) -> str:
        """The name of what was acted on."""
        return str(self.detail.get("name", ""))

    @property
    def words(self) -> str:
        """The rest of what is known, such as 'factor of alice, was in progress'."""
        detail = self.detail
        if self.action == "upgrade_schema":
            before = detail.get("from")
            return f"from {before} to {detail.get('to')}" if before else f"made as {detail.get('to')}"
        parts = []
        if kind := detail.get("kind"):
            parts.append(str(kind).replace("_", " "))
        if creator := detail.get("creator"):
            parts.append(f"of {creator}")
        said = " ".join(parts)
        if status := detail.get("status"):
            said += f", was {str(status).replace('_', ' ')}"
        if workflow := detail.get("workflow"):
            said += f", of workflow {workflow}"
        if detail.get("admin"):
            said = "administrator"
        if detail.get("again"):
            said = "a new password"
        return said


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which entries: by person, by action, of one job, from `since` on and before `until`, with a text in them."""

    person: str | None = None
    action: str | None = None
    job_id: int | None = None
    since: dt.datetime | None = None
    until: dt.datetime | None = None
    text: str = ""


_TABLE = sa.table(
    "audit",
    sa.column("id", sa.BigInteger),
    sa.column("at", sa.DateTime(timezone=True)),
    sa.column("actor", sa.Text),
    sa.column("action", sa.Text),
    sa.column("job_id", sa.BigInteger),
    sa.column("detail", sa.JSON),
    schema="qd",
)


class Audit(Session):
    """The part of the client that reads the audit.

    All raise `Refused` for anybody but an admin, to whom alone the database shows it.
    """

    def audit(
        self, selection: Selection = Selection(), *, offset: int = 0, limit: int = 100, upto: int | None = None
    ) -> list[Entry]:
        """Entries, newest first, from `offset` on; `upto`: none that came after that entry's id."""
        if offset < 0 or limit < 0:
            raise Invalid("a page begins at 0 and has at least 0 rows", field="limit")
        statement = _select(selection, upto).offset(offset).limit(limit)
        with self._auditing() as connection:
            return [_entry(row) for row in connection.execute(statement)]

    def audit_count(self, selection: Selection = Selection(), *, upto: int | None = None) -> int:
        """How many entries the selection lets through."""
        statement = sa.select(sa.func.count()).select_from(_TABLE).where(*_conditions(selection, upto))
        with self._auditing() as connection:
            return int(connection.execute(statement).scalar_one())

    def audit_people(self) -> list[str]:
        """Everybody who is named in the audit as having done something."""
        with self._auditing() as connection:
            return list(connection.execute(sa.select(_TABLE.c.actor).distinct().order_by(_TABLE.c.actor)).scalars())

    def export_audit(self, path: str | Path, selection: Selection = Selection()) -> int:
        """Write the selected entries, newest first, as CSV with the columns `COLUMNS`; how many.

        Times are ISO 8601 in UTC. The file appears whole or not at all.

        Raises:
            Invalid: the file's name does not end in .csv, or it can't be written.
        """
        from quarterdeck.export import replaced

        path = Path(path)
        if path.suffix.lower() != ".csv":
            raise Invalid(f"{path.name}: the audit is exported to a file that ends in .csv", field="path")
        count = 0
        with replaced(path) as part, part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for entry in self._all(selection):
                writer.writerow(cells(entry))
                count += 1
        return count

    def _all(self, selection: Selection) -> Iterator[Entry]:
        """All entries of the selection, a page at a time; what is added meanwhile is not among them."""
        upto: int | None = None
        while True:
            with self._auditing() as connection:
                page = [_entry(row) for row in connection.execute(_select(selection, upto).limit(_PAGE))]
            yield from page
            if len(page) < _PAGE:
                return
            upto = page[-1].id - 1

    def _auditing(self) -> Any:
        if not self.me.admin:
            raise Refused("only an administrator may see the audit")
        return self._reading()


def cells(entry: Entry) -> tuple[str, ...]:
    """An entry's texts for `COLUMNS`."""
    job = "" if entry.job_id is None else str(entry.job_id)
    time = entry.time.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return (time, entry.person, entry.action, job, entry.subject, entry.words)


def _select(selection: Selection, upto: int | None) -> sa.Select[Any]:
    return sa.select(_TABLE).where(*_conditions(selection, upto)).order_by(_TABLE.c.id.desc())


def _conditions(selection: Selection, upto: int | None) -> list[sa.ColumnElement[bool]]:
    t = _TABLE.c
    found: list[sa.ColumnElement[bool]] = [] if upto is None else [t.id <= upto]
    if selection.person is not None:
        found.append(t.actor == selection.person)
    if selection.action is not None:
        found.append(t.action == selection.action)
    if selection.job_id is not None:
        found.append(t.job_id == selection.job_id)
    if selection.since is not None:
        found.append(t.at >= selection.since)
    if selection.until is not None:
        found.append(t.at < selection.until)
    if text := selection.text.strip():
        words = [word for word, title in ACTIONS.items() if text.lower() in title.lower()]
        values = sa.cast(sa.func.jsonb_path_query_array(t.detail, sa.text("'$.*'")), sa.Text)
        anywhere = sa.func.concat_ws(" ", t.actor, t.action, t.job_id, values)
        found.append(sa.or_(anywhere.icontains(text, autoescape=True), t.action.in_(words)))
    return found


def _entry(row: sa.Row[Any]) -> Entry:
    return Entry(
        id=row.id,
        time=row.at.astimezone(dt.UTC),
        person=row.actor,
        action=row.action,
        job_id=row.job_id,
        detail=row.detail,
    )
