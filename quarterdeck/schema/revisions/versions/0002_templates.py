"""Visualization templates."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

_TABLE = """
-- A report as a document (V3). What a list shows of it stands beside it, so that a list reads no document.
create table qd.template (
  id bigint generated always as identity primary key,
  creator text not null,
  name text not null check (name ~ '^[A-Za-z0-9]([A-Za-z0-9 ()_+-]{0,61}[A-Za-z0-9)_+-])?$'),
  title text not null check (length(title) between 1 and 200),
  kinds text[] not null default '{}',
  is_public boolean not null default false,
  document jsonb not null,
  created timestamptz not null default clock_timestamp(),
  updated timestamptz not null default clock_timestamp(),
  unique (creator, name)
);
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(_TABLE)
