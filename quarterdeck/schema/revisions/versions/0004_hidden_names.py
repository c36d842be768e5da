"""No index by which names could be guessed."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

# EXPLAIN ANALYZE says how many rows an index found and row security removed. Comparisons of texts are leakproof to the
# server, so that they are looked up in an index before the policy is asked: range by range, anybody could read the
# names of other people's private tables, and the channels. A hash is not, and has no ranges.
_INDEXES = """
alter table qd.dataset drop constraint dataset_creator_name_key;
create unique index dataset_name on qd.dataset (creator, hashtextextended(name, 0));
alter index qd.dataset_name alter column 2 set statistics 0;
alter table qd.template drop constraint template_creator_name_key;
create unique index template_name on qd.template (creator, hashtextextended(name, 0));
alter index qd.template_name alter column 2 set statistics 0;
alter table qd.result_table drop constraint result_table_task_id_attempt_name_key;
create unique index result_table_name on qd.result_table (task_id, attempt, hashtextextended(name, 0));
alter index qd.result_table_name alter column 3 set statistics 0;
alter table qd.channel drop constraint channel_channel_key;
"""


def upgrade() -> None:
    op.get_bind().connection.cursor().execute(_INDEXES)
