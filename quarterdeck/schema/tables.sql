-- The first tables of schema qd, as the first Alembic revision applies them. Later changes are revisions of their own.
-- Each protected table carries `creator`, copied from its job by a trigger: a policy that joins costs 100 ms a page.

create table qd.job (
  id bigint generated always as identity primary key,
  kind text not null,
  name text not null check (length(name) between 1 and 200),
  -- bounded, like all texts of a job's row, because indexes hold them (at most 2,704 bytes a row)
  subject text not null default '' check (length(subject) <= 200),
  creator text not null,
  is_public boolean not null default false,
  status text not null default 'queued' check (status in
    ('queued', 'in_progress', 'success', 'partially_failed', 'failed', 'terminated', 'results_deleted')),
  ending boolean not null default false,
  origin text not null default 'single' check (origin in ('single', 'batch', 'workflow', 'rerun', 'recorded')),
  workflow_id bigint references qd.job on delete set null,
  rerun_of bigint references qd.job on delete set null,
  nodes text[] not null default '{}',
  -- the nodes' names joined by commas, cut to 60 characters: what lists are sorted by (set by a trigger)
  node_names text not null default '' check (length(node_names) <= 60),
  created timestamptz not null default clock_timestamp(),
  started timestamptz,
  ended timestamptz,
  progress real check (progress between 0 and 1),
  message text not null default '',
  ticked timestamptz,
  backtest_type text not null default '',
  backtest_start timestamptz,
  backtest_end timestamptz,
  data_type text not null default '' check (length(data_type) <= 40),
  strategy_type text not null default '' check (length(strategy_type) <= 40),
  terminated_by text,
  changed xid8 not null default pg_current_xact_id()
);

-- What only the creator and admins see of a job.
create table qd.job_detail (
  job_id bigint primary key references qd.job on delete cascade,
  creator text not null,
  params jsonb not null,
  template jsonb not null default '{}',
  error text not null default ''
);

create table qd.task (
  id bigint generated always as identity primary key,
  job_id bigint not null references qd.job on delete cascade,
  creator text not null,
  ordinal integer not null,
  name text not null,
  params jsonb not null default '{}',
  status text not null default 'queued' check (status in
    ('queued', 'in_progress', 'success', 'failed', 'terminated')),
  queue text not null default 'any',
  queue_id bigint,
  restartable boolean not null default false,
  attempt integer not null default 1,
  node text,
  created timestamptz not null default clock_timestamp(),
  started timestamptz,
  ended timestamptz,
  progress real check (progress between 0 and 1),
  message text not null default '',
  exit_code integer,
  error text not null default '',
  facts jsonb not null default '{}',
  attribution_status text not null default '',
  unique (job_id, ordinal)
);

-- One run of a task on a node. The number fences late writers (G3).
create table qd.attempt (
  task_id bigint not null references qd.task on delete cascade,
  number integer not null,
  job_id bigint not null references qd.job on delete cascade,
  creator text not null,
  node text not null,
  started timestamptz not null default clock_timestamp(),
  ended timestamptz,
  outcome text not null default '',
  pid integer,
  process_started double precision,
  exit_code integer,
  receipt jsonb,
  cpu_seconds double precision,
  peak_memory bigint,
  primary key (task_id, number)
);

-- Up to 500 lines a row. `body` holds one line a text line: microseconds since the epoch, tab, stream (o e l x) and
-- level (d i w e), tab, text. `levels` counts debug, info, warning, error. `first_line` is the agent's own count of
-- the attempt's lines, so that a chunk delivered twice is stored once; null in chunks that SQL functions write.
-- `marks` holds for each line (microseconds since time_min) * 4 + level (0 to 3), as big-endian int4, or int8 in a chunk
-- of more than 8 minutes: so that the place of any line in the unified log is known without reading bodies. Null where
-- the body is not of that form.
create table qd.log_chunk (
  id bigint generated always as identity primary key,
  job_id bigint not null references qd.job on delete cascade,
  task_id bigint references qd.task on delete cascade,
  creator text not null,
  attempt integer not null default 0,
  first_line bigint,
  lines integer not null check (lines between 1 and 500),
  time_min timestamptz not null,
  time_max timestamptz not null,
  levels integer[] not null,
  marks bytea,
  body text not null
);
create unique index log_chunk_task on qd.log_chunk (task_id, attempt, first_line);
-- all that is known of a job's chunks, read without their table
create index log_chunk_job on qd.log_chunk (job_id, id) include (creator, task_id, time_min, time_max, lines, levels);
-- in the row itself: a page of a long log reads thousands of them
alter table qd.log_chunk alter column marks set storage main;
-- three times as quick to read as the default, where the server has it
do $$ begin
  alter table qd.log_chunk alter column body set compression lz4;
exception when feature_not_supported or invalid_parameter_value then null;
end $$;

-- Imported data under a name. It is not a job's: it outlives the import that wrote it.
create table qd.dataset (
  id bigint generated always as identity primary key,
  creator text not null,
  name text not null,
  is_public boolean not null default false,
  folder text,
  job_id bigint references qd.job on delete set null,
  created timestamptz not null default clock_timestamp(),
  updated timestamptz not null default clock_timestamp(),
  synthetic boolean not null default false,
  unique (creator, name)
);
create index dataset_job on qd.dataset (job_id);

-- A table of any schema in Arrow blocks: a task's result, or a part of a dataset (parts in order of their ids).
-- `publish` (name, mode, public, folder, synthetic) makes a task's table a part of a dataset when the task succeeds.
create table qd.result_table (
  id bigint generated always as identity primary key,
  job_id bigint references qd.job on delete cascade,
  task_id bigint references qd.task on delete cascade,
  attempt integer,
  dataset_id bigint references qd.dataset on delete cascade,
  creator text not null,
  is_public boolean not null default false,
  name text not null,
  schema bytea not null,
  rows bigint not null default 0,
  bytes bigint not null default 0,
  time_min timestamptz,
  time_max timestamptz,
  symbols bigint,
  is_stream boolean not null default false,
  publish jsonb,
  complete boolean not null default false,
  created timestamptz not null default clock_timestamp(),
  check ((job_id is not null and task_id is not null) or dataset_id is not null),
  unique (task_id, attempt, name)
);
create index result_table_job on qd.result_table (job_id);
create index result_table_dataset on qd.result_table (dataset_id);

create table qd.result_block (
  table_id bigint not null references qd.result_table on delete cascade,
  number integer not null,
  creator text not null,
  is_public boolean not null default false,
  first_row bigint not null,
  rows integer not null,
  time_min timestamptz,
  time_max timestamptz,
  symbol_min text,
  symbol_max text,
  data bytea not null,
  primary key (table_id, number)
);
alter table qd.result_block alter column data set storage external;

create table qd.node (
  name text primary key check (name ~ '^[a-z0-9][a-z0-9-]{0,29}$'),
  login text not null unique,
  slots integer not null check (slots between 1 and 1024),
  labels text[] not null default '{}',
  state text not null default 'up' check (state in ('up', 'draining', 'down', 'lost')),
  host text not null default '',
  version text not null default '',
  cpus integer not null default 0,
  load real not null default 0,
  memory_total bigint not null default 0,
  memory_free bigint not null default 0,
  worker_id bigint,
  registered timestamptz not null default clock_timestamp(),
  heartbeat timestamptz
);

create table qd.audit (
  id bigint generated always as identity primary key,
  at timestamptz not null default clock_timestamp(),
  actor text not null,
  action text not null,
  job_id bigint,
  detail jsonb not null default '{}'
);
create index audit_job on qd.audit (job_id);

-- A person's own unguessable notification channel; the members `*admins` and `*public` are groups.
create table qd.channel (
  member text primary key,
  channel text not null unique default 'c' || replace(gen_random_uuid()::text, '-', '')
);

-- Ids of jobs that went away, so that "changed since" finds deletions too.
create table qd.tombstone (
  job_id bigint primary key,
  creator text not null,
  was_public boolean not null,
  at timestamptz not null default clock_timestamp(),
  changed xid8 not null default pg_current_xact_id()
);
create index tombstone_changed on qd.tombstone (changed);

-- A list is read from two of these, merged: one's own jobs, and others' public ones. They hold all columns of a list, so
-- that a sort or filter by any of them reads no table.
create index job_own on qd.job (creator, kind, created desc, id desc)
  include (is_public, status, origin, name, subject, node_names, started, ended, backtest_type, backtest_start,
           backtest_end, data_type, strategy_type);
create index job_public on qd.job (kind, created desc, id desc)
  include (creator, is_public, status, origin, name, subject, node_names, started, ended, backtest_type, backtest_start,
           backtest_end, data_type, strategy_type) where is_public;
create index job_newest on qd.job (kind, created desc, id desc) include (creator, is_public, status);
create index job_latest on qd.job (created desc, id desc) include (creator, is_public);
create index job_status on qd.job (kind, status, created desc, id desc) include (creator, is_public);
-- lists are read from indexes alone as long as vacuum has been there
alter table qd.job set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02,
  autovacuum_analyze_scale_factor = 0.05);
create index job_changed on qd.job (changed);
create index job_workflow on qd.job (workflow_id) where workflow_id is not null;
create index job_rerun_of on qd.job (rerun_of) where rerun_of is not null;
create index task_open on qd.task (job_id) where status in ('queued', 'in_progress');
create index task_queue on qd.task (queue_id);
create index task_node on qd.task (node, status) where status = 'in_progress';
create index attempt_job on qd.attempt (job_id);
