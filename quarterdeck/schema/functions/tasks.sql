-- A task's life on a node. Every call names the attempt: a late writer, whose task was given away, is refused (G3).

-- The name of the signed-in node.
create function qd.node_name() returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_name text;
begin
  select n.name into v_name from qd.node as n where n.login = session_user::text;
  if v_name is null then
    raise exception 'The login % is not a node of this cluster.', session_user using errcode = 'QD001';
  end if;
  return v_name;
end $$;

create function qd.raise_over(task bigint, attempt integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  raise exception 'Attempt % of task % is over, or is not this node''s.', coalesce(attempt::text, '?'), coalesce(task::text, '?')
    using errcode = 'QD005';
end $$;

-- The running task, if this attempt of it is the current one and this node's; shared-locked, so that no requeue slips in.
create function qd.held_task(task bigint, attempt integer) returns qd.task
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_task qd.task;
begin
  select t.* into v_task from qd.task as t
   where t.id = held_task.task and t.attempt = held_task.attempt and t.status = 'in_progress' and t.node = qd.node_name()
     for share;
  if not found then
    perform qd.raise_over(held_task.task, held_task.attempt);
  end if;
  return v_task;
end $$;

create function qd.start_task(task bigint, attempt integer, out job_id bigint, out kind text, out task_name text,
                              out ordinal integer, out params jsonb, out job_params jsonb, out creator text, out tasks integer)
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_node qd.node;
  v_job qd.job;
  v_task qd.task;
begin
  select n.* into v_node from qd.node as n where n.name = qd.node_name();
  select j.* into v_job from qd.job as j
   where j.id = (select t.job_id from qd.task as t where t.id = start_task.task) for no key update;
  select t.* into v_task from qd.task as t
   where t.id = start_task.task and t.attempt = start_task.attempt for no key update;
  if v_job.id is null or v_task.id is null then
    perform qd.raise_over(start_task.task, start_task.attempt);
  end if;
  if not (v_task.queue = 'any' or v_task.queue = 'node:' || v_node.name
          or (v_task.queue like 'label:%' and split_part(v_task.queue, ':', 2) = any (v_node.labels))) then
    raise exception 'Task % is for %, not for node %.', v_task.id, v_task.queue, v_node.name using errcode = 'QD001';
  end if;
  if v_task.status = 'queued' and not v_job.ending then
    update qd.task as t set status = 'in_progress', node = v_node.name, started = clock_timestamp(), ended = null,
           progress = null, message = '', exit_code = null, error = ''
     where t.id = v_task.id;
    insert into qd.attempt (task_id, number, job_id, creator, node)
    values (v_task.id, v_task.attempt, v_job.id, v_job.creator, v_node.name);
    if v_job.status = 'queued' or not v_node.name = any (v_job.nodes) then
      update qd.job as j set status = 'in_progress', started = coalesce(j.started, clock_timestamp()),
             nodes = case when v_node.name = any (j.nodes) then j.nodes else j.nodes || v_node.name end
       where j.id = v_job.id;
    end if;
    perform qd.log_line(v_job.id, v_task.id, v_task.attempt, 'i', 'started on node ' || v_node.name
      || case when v_task.attempt > 1 then ', attempt ' || v_task.attempt else '' end);
  elsif not exists (select from qd.attempt as a
                     where a.task_id = v_task.id and a.number = v_task.attempt and a.node = v_node.name
                       and v_task.status = 'in_progress' and a.ended is null and a.pid is null) then
    -- otherwise the answer to an earlier call got lost with the connection: give it again
    perform qd.raise_over(start_task.task, start_task.attempt);
  end if;
  select v_job.id, v_job.kind, v_task.name, v_task.ordinal, v_task.params, d.params, v_job.creator,
         (select count(*) from qd.task as t where t.job_id = v_job.id)::integer
    into start_task.job_id, start_task.kind, start_task.task_name, start_task.ordinal, start_task.params,
         start_task.job_params, start_task.creator, start_task.tasks
    from qd.job_detail as d where d.job_id = v_job.id;
end $$;

create function qd.task_process(task bigint, attempt integer, pid integer, process_started double precision) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  perform qd.held_task(task_process.task, task_process.attempt);
  update qd.attempt as a set pid = task_process.pid, process_started = task_process.process_started
   where a.task_id = task_process.task and a.number = task_process.attempt;
end $$;

-- The share of a job's work that is done: ended tasks count whole.
create function qd.job_progress(job bigint) returns real
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select least(1, (count(*) filter (where t.status not in ('queued', 'in_progress'))
                   + coalesce(sum(t.progress) filter (where t.status = 'in_progress'), 0)) / count(*))::real
    from qd.task as t where t.job_id = job_progress.job
$$;

-- A tick of progress costs the task's row; the job's row, which wakes the desktops, at most once a second.
create function qd.set_progress(task bigint, attempt integer, progress double precision, message text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_job qd.job;
  v_alone boolean;
begin
  if set_progress.progress is not null and (set_progress.progress between 0 and 1) is not true then
    raise exception 'A task''s progress lies between 0 and 1, not %.', set_progress.progress using errcode = 'QD003';
  end if;
  select j.* into v_job from qd.job as j
   where j.id = (select t.job_id from qd.task as t where t.id = set_progress.task)
     and (j.ticked is null or j.ticked <= clock_timestamp() - interval '1 second')
     for no key update skip locked;
  perform qd.held_task(set_progress.task, set_progress.attempt);
  update qd.task as t set progress = set_progress.progress, message = left(coalesce(set_progress.message, ''), 1000)
   where t.id = set_progress.task;
  if v_job.id is not null then
    v_alone := not exists (select from qd.task as t where t.job_id = v_job.id and t.id <> set_progress.task);
    update qd.job as j set ticked = clock_timestamp(),
           progress = case when v_alone then set_progress.progress else qd.job_progress(j.id) end,
           -- a public job's row is everybody's, what its code says is not
           message = case when v_alone and not j.is_public then left(coalesce(set_progress.message, ''), 1000)
                          else j.message end
     where j.id = v_job.id;
  end if;
end $$;

-- Puts a task into the queue once more, under the next attempt's number: by a new row, as a late finish of the old one
-- would end it. The caller holds job and task.
create function qd.requeue_task(task bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_task qd.task;
begin
  delete from qd.result_table as r
   where r.task_id = requeue_task.task and (r.dataset_id is null);
  update qd.task as t set status = 'queued', attempt = t.attempt + 1, node = null, started = null, ended = null,
         progress = null, message = '', exit_code = null, error = '', queue_id = null
   where t.id = requeue_task.task returning t.* into v_task;
  perform qd.defer_tasks(array[v_task.id]);
end $$;

-- Takes away a task's row in the queue, wherever it stands.
create function qd.forget_queue_row(queue_id bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  delete from queue.procrastinate_jobs as q where q.id = forget_queue_row.queue_id
$$;

-- Ends the current attempt of a task. The caller has locked job and task and checked the attempt.
create function qd.close_attempt(p_job qd.job, p_task qd.task, p_outcome text, p_exit_code integer, p_error text,
                                 p_receipt jsonb, p_cpu_seconds double precision, p_peak_memory bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_outcome text := p_outcome;
  v_error text := left(coalesce(p_error, ''), 10000);
  v_status text;
begin
  if v_outcome = 'success' then
    update qd.result_table as r set complete = true
     where r.task_id = p_task.id and r.attempt = p_task.attempt and not r.complete;
  end if;
  if v_outcome = 'success' and exists (select from qd.result_table as r where r.task_id = p_task.id
                                        and r.attempt = p_task.attempt and r.publish is not null) then
    begin
      perform qd.publish_tables(p_task.id, p_task.attempt);
    exception when sqlstate 'QD002' or sqlstate 'QD004' then
      v_outcome := 'failed';
      v_error := sqlerrm;
    end;
  end if;
  update qd.attempt as a set ended = clock_timestamp(), outcome = v_outcome, exit_code = p_exit_code, receipt = p_receipt,
         cpu_seconds = p_cpu_seconds, peak_memory = p_peak_memory
   where a.task_id = p_task.id and a.number = p_task.attempt;
  if v_outcome = 'lost' and p_task.restartable and not p_job.ending and p_task.attempt < 5 then
    perform qd.log_line(p_job.id, p_task.id, p_task.attempt, 'w', format('node %s lost; the task is queued again', p_task.node));
    perform qd.forget_queue_row(p_task.queue_id);
    perform qd.requeue_task(p_task.id);
    return;
  end if;
  if v_outcome <> 'success' then
    delete from qd.result_table as r where r.task_id = p_task.id and not r.complete;
  end if;
  v_status := case v_outcome when 'lost' then case when p_job.ending then 'terminated' else 'failed' end else v_outcome end;
  if v_outcome = 'lost' then
    v_error := 'node lost';
    perform qd.forget_queue_row(p_task.queue_id);
  elsif v_outcome = 'failed' and v_error = '' then
    v_error := 'failed' || coalesce(' with exit code ' || p_exit_code, '');
  elsif v_outcome = 'terminated' and v_error = '' then
    v_error := 'terminated' || coalesce(' by ' || p_job.terminated_by, '');
  end if;
  update qd.task as t set status = v_status, ended = clock_timestamp(), exit_code = p_exit_code, error = v_error,
         progress = case when v_status = 'success' then 1 else t.progress end
   where t.id = p_task.id;
  perform qd.log_line(p_job.id, p_task.id, p_task.attempt,
    case v_status when 'success' then 'i' when 'terminated' then 'w' else 'e' end,
    case v_status when 'success' then 'finished' else v_status end || coalesce(', exit code ' || p_exit_code, '')
      || case when v_error <> '' then ': ' || v_error else '' end);
  if not qd.settle_job(p_job.id) and (p_job.ticked is null or p_job.ticked <= clock_timestamp() - interval '1 second') then
    update qd.job as j set ticked = clock_timestamp(), progress = qd.job_progress(j.id) where j.id = p_job.id;
  end if;
end $$;

create function qd.end_task(task bigint, attempt integer, outcome text, exit_code integer, error text, receipt jsonb,
                            cpu_seconds double precision, peak_memory bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_node text := qd.node_name();
  v_job qd.job;
  v_task qd.task;
begin
  if end_task.outcome is null or end_task.outcome not in ('success', 'failed', 'terminated', 'lost') then
    raise exception 'A task ends with success, failed, terminated or lost, not ''%''.', left(end_task.outcome, 60)
      using errcode = 'QD003';
  end if;
  if octet_length(end_task.receipt::text) > 1048576 then
    raise exception 'A kill receipt may have at most 1 MB.' using errcode = 'QD003';
  end if;
  select j.* into v_job from qd.job as j
   where j.id = (select t.job_id from qd.task as t where t.id = end_task.task) for no key update;
  select t.* into v_task from qd.task as t
   where t.id = end_task.task and t.attempt = end_task.attempt and t.status = 'in_progress' and t.node = v_node
     for no key update;
  if v_job.id is null or v_task.id is null then
    perform qd.raise_over(end_task.task, end_task.attempt);
  end if;
  perform qd.close_attempt(v_job, v_task, end_task.outcome, end_task.exit_code, end_task.error, end_task.receipt,
                           end_task.cpu_seconds, end_task.peak_memory);
end $$;

-- What this node was running when its agent last stopped, so that the new one can sweep it up.
create function qd.open_attempts(out task_id bigint, out attempt integer, out pid integer, out process_started double precision)
returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select a.task_id, a.number, a.pid, a.process_started
    from qd.task as t join qd.attempt as a on a.task_id = t.id and a.number = t.attempt
   where t.status = 'in_progress' and t.node = qd.node_name() and a.ended is null
   order by a.task_id
$$;

-- Looks after what nobody else ends: tasks of silent nodes, and tasks whose place in the queue is gone. Any node may
-- call it at any time; returns how many tasks it ended or queued again.
create function qd.reap(seconds double precision) returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_since timestamptz := clock_timestamp() - make_interval(secs => seconds);
  v_found record;
  v_job qd.job;
  v_task qd.task;
  v_count integer := 0;
begin
  perform qd.node_name();
  -- a node that asks for less would have others' tasks ended between two of their heartbeats
  if seconds is null or (seconds between 10 and 86400) is not true then
    raise exception 'A node is lost after 10 to 86,400 seconds of silence, not %.', seconds using errcode = 'QD003';
  end if;
  perform qd.close_idle_sessions();
  update qd.node as n set state = 'lost'
   where n.name in (select s.name from qd.node as s
                     where s.state in ('up', 'draining') and (s.heartbeat is null or s.heartbeat < v_since)
                       for no key update skip locked);
  for v_found in
    select t.job_id, t.id, t.attempt, t.status from qd.task as t
      left join qd.node as n on n.name = t.node
      left join qd.attempt as a on a.task_id = t.id and a.number = t.attempt
      left join queue.procrastinate_jobs as q on q.id = t.queue_id
      left join queue.procrastinate_workers as w on w.id = q.worker_id
     where (t.status = 'in_progress'
            and (n.name is null or n.state = 'lost' or (n.state = 'down' and n.heartbeat < v_since)
                 or (a.started < v_since and (q.id is null or q.status not in ('todo', 'doing')))))
        or (t.status = 'queued' and t.created < v_since
            and (q.id is null or q.status not in ('todo', 'doing')
                 or (q.status = 'doing' and (w.id is null or w.last_heartbeat < v_since))))
     order by t.job_id, t.id
  loop
    select j.* into v_job from qd.job as j where j.id = v_found.job_id for no key update;
    select t.* into v_task from qd.task as t
     where t.id = v_found.id and t.attempt = v_found.attempt and t.status = v_found.status for no key update;
    continue when v_job.id is null or v_task.id is null;
    if v_task.status = 'in_progress' then
      perform qd.close_attempt(v_job, v_task, 'lost', null, null, null, null, null);
    else
      perform qd.log_line(v_job.id, v_task.id, v_task.attempt, 'w', 'its place in the queue was lost; queued again');
      perform qd.forget_queue_row(v_task.queue_id);
      perform qd.requeue_task(v_task.id);
    end if;
    v_count := v_count + 1;
  end loop;
  delete from queue.procrastinate_jobs as q
   where q.id in (select o.id from queue.procrastinate_jobs as o
                   where o.status not in ('todo', 'doing')
                     and not exists (select from qd.task as t where t.queue_id = o.id and t.status in ('queued', 'in_progress'))
                   limit 5000 for update skip locked);
  return v_count;
end $$;
