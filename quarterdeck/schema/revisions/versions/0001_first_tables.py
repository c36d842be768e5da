"""The first tables."""

from __future__ import annotations

from alembic import op

from quarterdeck.schema import sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    cursor = op.get_bind().connection.cursor()
    cursor.execute(sql("tables.sql"))
    cursor.close()
