"""Alembic's environment: revisions run on the connection that `quarterdeck.admin` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=None,
    version_table_schema="qd",
)
with context.begin_transaction():
    context.run_migrations()
