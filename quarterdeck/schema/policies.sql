-- Who may read which rows, and the exact list of all grants. People have SELECT only: whoever could write to a table could
-- also lock it. Nodes have no table at all. Everything else goes through functions.

revoke all on all tables in schema qd, queue from public, qd_user, qd_admin, qd_node;
revoke all on all sequences in schema qd, queue from public, qd_user, qd_admin, qd_node;
revoke all on all functions in schema qd, queue from public, qd_user, qd_admin, qd_node;
revoke all on schema qd, queue from public, qd_user, qd_admin, qd_node;

alter table qd.job enable row level security;
alter table qd.job_detail enable row level security;
alter table qd.task enable row level security;
alter table qd.attempt enable row level security;
alter table qd.log_chunk enable row level security;
alter table qd.dataset enable row level security;
alter table qd.result_table enable row level security;
alter table qd.result_block enable row level security;
alter table qd.template enable row level security;
alter table qd.node enable row level security;
alter table qd.audit enable row level security;
alter table qd.channel enable row level security;
alter table qd.tombstone enable row level security;
alter table qd.alembic_version enable row level security;

-- `(select session_user)` is computed once a statement; any other form costs at each row.
create policy own_or_public on qd.job for select to qd_user using (creator = (select session_user::text) or is_public);
create policy own on qd.job_detail for select to qd_user using (creator = (select session_user::text));
create policy own on qd.task for select to qd_user using (creator = (select session_user::text));
create policy own on qd.attempt for select to qd_user using (creator = (select session_user::text));
create policy own on qd.log_chunk for select to qd_user using (creator = (select session_user::text));
create policy own_or_public on qd.dataset for select to qd_user using (creator = (select session_user::text) or is_public);
create policy own_or_public on qd.result_table for select to qd_user using (creator = (select session_user::text) or is_public);
create policy own_or_public on qd.result_block for select to qd_user using (creator = (select session_user::text) or is_public);
create policy own_or_public on qd.template for select to qd_user using (creator = (select session_user::text) or is_public);
create policy own_or_public on qd.tombstone for select to qd_user using (creator = (select session_user::text) or was_public);
create policy everyone on qd.node for select to qd_user, qd_admin using (true);
create policy own on qd.channel for select to qd_user, qd_admin using (member = (select session_user::text));

create policy administrators on qd.job for select to qd_admin using (true);
create policy administrators on qd.job_detail for select to qd_admin using (true);
create policy administrators on qd.task for select to qd_admin using (true);
create policy administrators on qd.attempt for select to qd_admin using (true);
create policy administrators on qd.log_chunk for select to qd_admin using (true);
create policy administrators on qd.dataset for select to qd_admin using (true);
create policy administrators on qd.result_table for select to qd_admin using (true);
create policy administrators on qd.result_block for select to qd_admin using (true);
create policy administrators on qd.template for select to qd_admin using (true);
create policy administrators on qd.tombstone for select to qd_admin using (true);
create policy administrators on qd.audit for select to qd_admin using (true);
create policy nobody on qd.alembic_version using (false);

grant usage on schema qd to qd_user, qd_admin, qd_node, qd_accounts;
grant usage on schema queue to qd_node, qd_owner;
grant select on qd.job, qd.job_detail, qd.task, qd.attempt, qd.log_chunk, qd.dataset, qd.result_table, qd.result_block,
  qd.template, qd.node, qd.channel, qd.tombstone to qd_user, qd_admin;
grant select on qd.audit to qd_admin;

-- The owner of our functions in the queue.
grant select, delete on queue.procrastinate_jobs to qd_owner;
-- a row lock needs the right to update
grant update on queue.procrastinate_jobs to qd_owner;
grant select on queue.procrastinate_workers to qd_owner;
grant execute on function queue.procrastinate_defer_jobs_v1, queue.procrastinate_cancel_job_v1, queue.channel to qd_owner;

-- What procrastinate's worker needs of a node's login.
grant select (id, status, abort_requested, queue_name) on queue.procrastinate_jobs to qd_node;
grant execute on function queue.procrastinate_register_worker_v1, queue.procrastinate_unregister_worker_v1,
  queue.procrastinate_update_heartbeat_v1, queue.procrastinate_prune_stalled_workers_v1, queue.procrastinate_fetch_job_v2,
  queue.procrastinate_finish_job_v1 to qd_node;

grant execute on function qd.whoami, qd.schema_version to qd_user, qd_admin, qd_node;
grant execute on function qd.my_channels, qd.job_actions, qd.submit_job, qd.terminate_job, qd.delete_jobs, qd.delete_results,
  qd.why_waiting, qd.drop_dataset, qd.save_template, qd.delete_template, qd.list_nodes to qd_user, qd_admin;
grant execute on function qd.create_user, qd.set_verifier, qd.disable_user, qd.enable_user, qd.list_users, qd.create_node,
  qd.drain_node to qd_admin;
grant execute on function qd.register_node, qd.node_heartbeat, qd.unregister_node, qd.queue_channels, qd.open_attempts,
  qd.start_task, qd.task_process, qd.write_log, qd.set_progress, qd.open_table, qd.write_block, qd.close_table, qd.end_task,
  qd.reap, qd.task_dataset, qd.task_result, qd.task_blocks to qd_node;
grant execute on function qd.note_account, qd.note_node, qd.note_draining to qd_accounts;
grant execute on function qd.close_idle_sessions to qd_owner;
