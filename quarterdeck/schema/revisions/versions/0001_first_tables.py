"""The first tables."""

from __future__ import annotations

from alembic import op

from quarterdeck.schema import sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    connection = op.get_bind().connection.dbapi_connection
    assert connection is not None
    with connection.cursor() as cursor:
        cursor.execute(sql("tables.sql"))
