"""The schema of the central database: tables (Alembic revisions), functions, policies, and the queue's schema.

Everything but the tables is applied as a whole at each upgrade, so a file here always says what the database does.
"""

from __future__ import annotations

import hashlib
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

__all__ = ["FUNCTIONS", "REVISION", "REVISIONS", "SCHEMA_VERSION", "sql"]

REVISION = "0004"
"""The newest Alembic revision."""

FUNCTIONS = ("notices", "jobs", "logs", "tasks", "tables", "templates", "nodes", "records", "accounts")
"""The files of functions/, in the order in which they are applied."""

_FOLDER: Traversable = resources.files(__name__)

REVISIONS = Path(__file__).parent / "revisions"
"""The folder of Alembic's environment."""


def sql(name: str) -> str:
    """The text of a file of this folder."""
    return (_FOLDER / name).read_text(encoding="utf-8")


def _version() -> str:
    digest = hashlib.sha256()
    for name in (*(f"functions/{one}.sql" for one in FUNCTIONS), "queue.sql", "policies.sql"):
        digest.update(sql(name).replace("\r\n", "\n").encode())
    return f"{REVISION}-{digest.hexdigest()[:8]}"


SCHEMA_VERSION = _version()
"""What `qd.whoami()` answers of a database that this version of Quarterdeck made or upgraded."""
