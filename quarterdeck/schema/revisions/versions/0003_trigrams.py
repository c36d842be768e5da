"""What a search of a log reads of each chunk before its text."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

_COLUMN = """
-- A bit for each group of three bytes of `body` in lower case (quarterdeck/trigrams.py), as its writer made them: a
-- chunk that lacks a bit of a searched text is not read. Null: it always is.
alter table qd.log_chunk add column trigrams bytea;
-- in the row itself, as the marks are: a search reads those of all chunks
alter table qd.log_chunk alter column trigrams set storage main;
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(_COLUMN)
