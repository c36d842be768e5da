-- Jobs as people see and handle them. Locks are always taken in the order job (by id), task, table; a row lock is
-- never stronger than NO KEY UPDATE, as a log line's foreign key would wait for it.

-- What the signed-in person may do to a job now (values of quarterdeck.job.Action). The functions that act ask the same.
create function qd.job_actions(j qd.job) returns text[] language sql stable
return case
  when j.creator = session_user::text or pg_catalog.pg_has_role(session_user, 'qd_admin', 'member') then
    pg_catalog.array_remove(array[
      'details', 'log',
      case when j.status in ('queued', 'in_progress') and not j.ending then 'terminate' end,
      case when j.status not in ('queued', 'in_progress')
            and pg_catalog.pg_has_role(session_user, 'qd_admin', 'member') then 'delete' end,
      case when j.kind = 'backtest' and j.backtest_type = 'real-time' and j.status = 'terminated' then 'delete_results' end,
      case when j.origin <> 'recorded' then 'rerun' end], null)
  else '{}'::text[] end;

create function qd.is_admin() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as
$$ select pg_has_role(session_user, 'qd_admin', 'member') $$;

create function qd.whoami(out login text, out is_admin boolean, out schema_version text, out server_time timestamptz)
language sql stable security definer set search_path = pg_catalog, pg_temp as
$$ select session_user::text, qd.is_admin(), qd.schema_version(), clock_timestamp() $$;

-- The status of a job whose tasks have all ended (S1, S2, M5).
create function qd.combined_status(backtest_type text, was_terminated boolean, total bigint, succeeded bigint,
                                   failed bigint) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select case
    when was_terminated then case when backtest_type = 'real-time' then 'terminated' else 'failed' end
    when succeeded = total then 'success'
    when backtest_type = 'real-time' and failed = 0 then 'terminated'
    when succeeded > 0 then 'partially_failed'
    else 'failed' end
$$;

-- The job, locked; to those who may not see it it does not exist.
create function qd.lock_job(job bigint) returns qd.job
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_job qd.job;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    raise exception 'Jobs are changed in read committed transactions only: an older snapshot hides what just ended.'
      using errcode = 'QD002';
  end if;
  select j.* into v_job from qd.job as j
   where j.id = lock_job.job and (j.creator = session_user::text or j.is_public or qd.is_admin());
  if found then
    select j.* into v_job from qd.job as j where j.id = lock_job.job for no key update;
  end if;
  if v_job.id is null then
    raise exception 'There is no job % that you may see.', coalesce(lock_job.job::text, 'without a number')
      using errcode = 'QD004';
  end if;
  return v_job;
end $$;

create function qd.require_owner(j qd.job, act text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if j.creator <> session_user::text and not qd.is_admin() then
    raise exception 'Job % belongs to %: only its creator or an administrator may %.', j.id, j.creator, act
      using errcode = 'QD001';
  end if;
end $$;

create function qd.fact_time(value text, field text) returns timestamptz
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
  v_time timestamptz;
begin
  begin
    v_time := value::timestamptz;
  exception when others then
    raise exception 'The job''s % is not a time: ''%''.', field, left(value, 60) using errcode = 'QD003', column = field;
  end;
  -- what clients can't hold would spoil the lists of all who see the job
  if (v_time between '1000-01-01' and '9999-12-30') is false then
    raise exception 'The job''s % lies outside of the years 1000 to 9999: ''%''.', field, left(value, 60)
      using errcode = 'QD003', column = field;
  end if;
  return v_time;
end $$;

-- A name without what commands terminals or turns the direction of writing: everybody reads it.
create function qd.clean(value text) returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select regexp_replace(value, '[\u0001-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]', ' ', 'g')
$$;

-- Nested deeper than programs that read it can follow?
create function qd.too_deep(document jsonb) returns boolean
language sql immutable set search_path = pg_catalog, pg_temp as $$
  select jsonb_path_exists(document, '$.**{64}')
$$;

create function qd.check_tasks(tasks jsonb) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_bad record;
begin
  if jsonb_typeof(tasks) is distinct from 'array' then
    raise exception 'A job''s tasks must be a list.' using errcode = 'QD003', column = 'tasks';
  end if;
  if jsonb_array_length(tasks) not between 1 and 100000 then
    raise exception 'A job has 1 to 100,000 tasks, not %.', jsonb_array_length(tasks)
      using errcode = 'QD003', column = 'tasks';
  end if;
  select x.n, case
      when jsonb_typeof(x.t) <> 'object' then 'is not an object'
      when jsonb_typeof(x.t -> 'name') is distinct from 'string'
        or length(x.t ->> 'name') not between 1 and 200 then 'needs a name of 1 to 200 characters'
      when jsonb_typeof(coalesce(x.t -> 'params', '{}')) <> 'object' then 'has parameters that are not an object'
      when octet_length((x.t -> 'params')::text) > 1048576 then 'has more than 1 MB of parameters'
      when coalesce(x.t ->> 'queue', 'any') !~ '^(any|(node|label):[a-z0-9][a-z0-9-]{0,29})$'
        then 'names the queue ''' || left(x.t ->> 'queue', 60) || '''; a queue is any, node:NAME or label:NAME'
      when jsonb_typeof(coalesce(x.t -> 'restartable', 'false')) <> 'boolean' then 'has a restartable that is not true or false'
    end as what into v_bad
    from jsonb_array_elements(tasks) with ordinality as x(t, n)
   where jsonb_typeof(x.t) <> 'object'
      or jsonb_typeof(x.t -> 'name') is distinct from 'string'
      or length(x.t ->> 'name') not between 1 and 200
      or jsonb_typeof(coalesce(x.t -> 'params', '{}')) <> 'object'
      or octet_length((x.t -> 'params')::text) > 1048576
      or coalesce(x.t ->> 'queue', 'any') !~ '^(any|(node|label):[a-z0-9][a-z0-9-]{0,29})$'
      or jsonb_typeof(coalesce(x.t -> 'restartable', 'false')) <> 'boolean'
   order by x.n limit 1;
  if found then
    raise exception 'Task % of the job %.', v_bad.n, v_bad.what using errcode = 'QD003', column = 'tasks';
  end if;
end $$;

-- Puts tasks into the queue, within the caller's transaction.
create function qd.defer_tasks(task_ids bigint[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_rows queue.procrastinate_job_to_defer_v1[];
  v_ids bigint[];
begin
  select array_agg(row(t.queue, 'quarterdeck.task', 0, null, null,
           jsonb_build_object('task_id', t.id, 'attempt', t.attempt), null)::queue.procrastinate_job_to_defer_v1
           order by t.id)
    into v_rows from qd.task as t where t.id = any (task_ids);
  v_ids := queue.procrastinate_defer_jobs_v1(v_rows);
  update qd.task as t set queue_id = q.id from queue.procrastinate_jobs as q
   where q.id = any (v_ids) and t.id = (q.args ->> 'task_id')::bigint;
end $$;

-- Writes a job, its tasks and their places in the queue. `creator` and `workflow_id` are the caller's word.
create function qd.insert_job(creator text, workflow_id bigint, kind text, params jsonb, facts jsonb, tasks jsonb,
                              template jsonb, rerun_of bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_job bigint;
  v_tasks bigint[];
  v_name text := btrim(qd.clean(facts ->> 'name'));
  v_subject text := btrim(qd.clean(facts ->> 'subject'));
begin
  if insert_job.kind is null or insert_job.kind not in
     ('factor', 'evaluation', 'backtest', 'attribution', 'workflow', 'data_import', 'template') then
    raise exception 'There is no kind of job ''%''.', left(insert_job.kind, 60) using errcode = 'QD003', column = 'kind';
  end if;
  if jsonb_typeof(insert_job.params) is distinct from 'object' then
    raise exception 'A job''s parameters must be an object.' using errcode = 'QD003', column = 'params';
  end if;
  if octet_length(insert_job.params::text) > 1048576 or octet_length(insert_job.template::text) > 1048576 then
    raise exception 'A job''s parameters and its template may have at most 1 MB each.'
      using errcode = 'QD003', column = 'params';
  end if;
  if qd.too_deep(insert_job.params) or qd.too_deep(insert_job.template) or qd.too_deep(tasks) then
    raise exception 'A job''s parameters are nested more than 60 levels deep.' using errcode = 'QD003', column = 'params';
  end if;
  if jsonb_typeof(facts) is distinct from 'object' or v_name is null or length(v_name) not between 1 and 200 then
    raise exception 'A job needs a name of 1 to 200 characters.' using errcode = 'QD003', column = 'name';
  end if;
  if length(facts ->> 'subject') > 1000 then
    raise exception 'A job''s subject may have at most 1,000 characters.' using errcode = 'QD003', column = 'subject';
  end if;
  if coalesce(facts ->> 'origin', 'single') not in ('single', 'batch') then
    raise exception 'A job''s origin is single or batch, not ''%''.', left(facts ->> 'origin', 60)
      using errcode = 'QD003', column = 'origin';
  end if;
  if jsonb_typeof(coalesce(facts -> 'public', 'false')) <> 'boolean' then
    raise exception 'A job is public or not: true or false.' using errcode = 'QD003', column = 'public';
  end if;
  if coalesce(facts ->> 'backtest_type', '') not in ('', 'historical', 'real-time') then
    raise exception 'A backtest is historical or real-time, not ''%''.', left(facts ->> 'backtest_type', 60)
      using errcode = 'QD003', column = 'backtest_type';
  end if;
  if length(facts ->> 'data_type') > 40 or length(facts ->> 'strategy_type') > 40 then
    raise exception 'The data type and the strategy type may have at most 40 characters each.'
      using errcode = 'QD003', column = 'data_type';
  end if;
  perform qd.check_tasks(tasks);

  insert into qd.job (kind, name, subject, creator, is_public, origin, workflow_id, rerun_of, backtest_type,
                      backtest_start, backtest_end, data_type, strategy_type)
  values (insert_job.kind, v_name,
          -- a batch's many factors: the list shows the first ones, the parameters all
          case when length(v_subject) > 200 then left(v_subject, 199) || '…' else coalesce(v_subject, '') end,
          insert_job.creator,
          coalesce((facts ->> 'public')::boolean, false),
          case when insert_job.workflow_id is not null then 'workflow' when insert_job.rerun_of is not null then 'rerun'
               else coalesce(facts ->> 'origin', 'single') end,
          insert_job.workflow_id, insert_job.rerun_of, coalesce(facts ->> 'backtest_type', ''),
          qd.fact_time(facts ->> 'backtest_start', 'backtest_start'), qd.fact_time(facts ->> 'backtest_end', 'backtest_end'),
          coalesce(qd.clean(facts ->> 'data_type'), ''), coalesce(qd.clean(facts ->> 'strategy_type'), ''))
  returning id into v_job;
  insert into qd.job_detail (job_id, creator, params, template)
  values (v_job, insert_job.creator, insert_job.params, coalesce(insert_job.template, '{}'));
  with added as (
    insert into qd.task (job_id, creator, ordinal, name, params, queue, restartable)
    select v_job, insert_job.creator, x.n - 1, qd.clean(x.t ->> 'name'), coalesce(x.t -> 'params', '{}'),
           coalesce(x.t ->> 'queue', 'any'), coalesce((x.t ->> 'restartable')::boolean, false)
      from jsonb_array_elements(tasks) with ordinality as x(t, n)
    returning id)
  select array_agg(id) into v_tasks from added;
  perform qd.defer_tasks(v_tasks);
  perform qd.log_line(v_job, null, 0, 'i', 'queued by ' || insert_job.creator
    || case when cardinality(v_tasks) > 1 then ' with ' || cardinality(v_tasks) || ' tasks' else '' end);
  return v_job;
end $$;

create function qd.submit_job(kind text, params jsonb, facts jsonb, tasks jsonb, template jsonb default '{}',
                              rerun_of bigint default null) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_job qd.job;
begin
  if submit_job.rerun_of is not null then
    v_job := qd.lock_job(submit_job.rerun_of);
    perform qd.require_owner(v_job, 'run it again');
    if not 'rerun' = any (qd.job_actions(v_job)) then
      raise exception 'Job % was recorded by a script: it can''t be run again from here.', v_job.id using errcode = 'QD002';
    end if;
  end if;
  return qd.insert_job(session_user::text, null, submit_job.kind, submit_job.params, submit_job.facts, submit_job.tasks,
                       submit_job.template, submit_job.rerun_of);
end $$;

-- Ends a job whose tasks have all ended; false if one is still open. The caller holds the job's lock.
create function qd.settle_job(job bigint) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_job qd.job;
  v_status text;
  v_error text;
begin
  if exists (select from qd.task as t where t.job_id = settle_job.job and t.status in ('queued', 'in_progress')) then
    return false;
  end if;
  select j.* into v_job from qd.job as j where j.id = settle_job.job;
  select qd.combined_status(v_job.backtest_type, v_job.ending, count(*), count(*) filter (where t.status = 'success'),
                            count(*) filter (where t.status = 'failed'))
    into v_status from qd.task as t where t.job_id = settle_job.job;
  select t.error into v_error from qd.task as t
   where t.job_id = settle_job.job and t.status <> 'success' and t.error <> ''
   order by t.status = 'failed' desc, t.ordinal limit 1;
  update qd.job as j set status = v_status, ending = false, ended = clock_timestamp(),
         progress = case when v_status = 'success' then 1 else j.progress end
   where j.id = settle_job.job;
  if v_job.ending then
    v_error := 'terminated by ' || v_job.terminated_by;
  end if;
  if v_error is not null then
    update qd.job_detail as d set error = v_error where d.job_id = settle_job.job;
  end if;
  perform qd.log_line(settle_job.job, null, 0, case when v_status in ('success', 'terminated') then 'i' else 'e' end,
                      'ended: ' || replace(v_status, '_', ' '));
  return true;
end $$;

-- What the audit keeps of a job, so that its record says whose and what it was after the job is gone.
create function qd.told_of(j qd.job) returns jsonb language sql stable
return pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('kind', j.kind, 'name', j.name, 'creator', j.creator,
  'status', j.status, 'created', j.created, 'workflow', j.workflow_id));

-- Begins the end of one job that the caller has locked and that is neither ended nor ending.
create function qd.end_job(job bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_waiting bigint[];
begin
  update qd.job as j set ending = true, terminated_by = session_user::text where j.id = end_job.job;
  perform qd.log_line(end_job.job, null, 0, 'w', 'termination requested by ' || session_user);
  insert into qd.audit (actor, action, job_id, detail)
  select session_user::text, 'terminate', j.id, qd.told_of(j) from qd.job as j where j.id = end_job.job;
  with stopped as (
    update qd.task as t set status = 'terminated', ended = clock_timestamp(),
           error = 'terminated by ' || session_user || ' before it started'
     where t.job_id = end_job.job and t.status = 'queued'
    returning t.queue_id)
  select array_agg(queue_id) into v_waiting from stopped;
  delete from queue.procrastinate_jobs as q where q.id = any (v_waiting) and q.status = 'todo';
  perform queue.procrastinate_cancel_job_v1(q.id, true, false) from queue.procrastinate_jobs as q
   where q.id = any (v_waiting) and q.status = 'doing';
  perform queue.procrastinate_cancel_job_v1(t.queue_id, true, false) from qd.task as t
   where t.job_id = end_job.job and t.status = 'in_progress';
  return case when qd.settle_job(end_job.job) then 'ended' else 'ending' end;
end $$;

create function qd.terminate_job(job bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_job qd.job;
  v_result text;
  v_child qd.job;
begin
  v_job := qd.lock_job(terminate_job.job);
  perform qd.require_owner(v_job, 'terminate it');
  if not 'terminate' = any (qd.job_actions(v_job)) then
    if v_job.ending then
      raise exception 'Job % is being terminated already, by %.', v_job.id, v_job.terminated_by using errcode = 'QD002';
    end if;
    raise exception 'Job % has already ended (%).', v_job.id, replace(v_job.status, '_', ' ') using errcode = 'QD002';
  end if;
  v_result := qd.end_job(v_job.id);
  for v_child in select j.* from qd.job as j where j.workflow_id = v_job.id order by j.id for no key update loop
    if v_child.status in ('queued', 'in_progress') and not v_child.ending
       and qd.end_job(v_child.id) = 'ending' then
      v_result := 'ending';
    end if;
  end loop;
  return v_result;
end $$;

create function qd.delete_jobs(jobs bigint[], out deleted bigint, out running bigint[])
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_ended bigint[];
begin
  if not qd.is_admin() then
    raise exception 'Only an administrator may delete jobs.' using errcode = 'QD001';
  end if;
  if cardinality(jobs) > 100000 then
    raise exception 'At most 100,000 jobs can be deleted at once.' using errcode = 'QD003', column = 'jobs';
  end if;
  with locked as materialized (
    select j.id, 'delete' = any (qd.job_actions(j)) as may from qd.job as j
     where j.id = any (jobs) order by j.id for no key update)
  select coalesce(array_agg(l.id) filter (where l.may), '{}'), coalesce(array_agg(l.id) filter (where not l.may), '{}')
    into v_ended, running from locked as l;
  insert into qd.audit (actor, action, job_id, detail)
  select session_user::text, 'delete', j.id, qd.told_of(j) from qd.job as j where j.id = any (v_ended);
  -- a dataset outlives the import that wrote it
  perform from qd.dataset as d
   where d.job_id = any (v_ended) or d.id in
         (select r.dataset_id from qd.result_table as r where r.job_id = any (v_ended) and r.dataset_id is not null)
   order by d.id for no key update;
  update qd.result_table as r set job_id = null, task_id = null
   where r.job_id = any (v_ended) and r.dataset_id is not null;
  delete from qd.job as j where j.id = any (v_ended);
  get diagnostics deleted = row_count;
end $$;

-- S2: of a terminated real-time backtest only the performance summary is kept.
create function qd.delete_results(job bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_job qd.job;
begin
  v_job := qd.lock_job(delete_results.job);
  perform qd.require_owner(v_job, 'delete its results');
  if not 'delete_results' = any (qd.job_actions(v_job)) then
    raise exception 'Only a terminated real-time backtest''s results can be deleted; job % is not one.', v_job.id
      using errcode = 'QD002';
  end if;
  delete from qd.result_table as r where r.job_id = v_job.id and r.name <> 'summary' and r.dataset_id is null;
  update qd.job as j set status = 'results_deleted' where j.id = v_job.id;
  perform qd.log_line(v_job.id, null, 0, 'i', 'result tables deleted by ' || session_user || '; the summary is kept');
  insert into qd.audit (actor, action, job_id, detail)
  values (session_user::text, 'delete_results', v_job.id, qd.told_of(v_job));
end $$;

-- Why a job waits, or what its end waits for, in one sentence; empty when it does neither (S1, M5).
create function qd.why_waiting(job bigint) returns text
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_job qd.job;
  v_queue text;
  v_name text;
  v_where text;
  v_node qd.node;
  v_up bigint;
  v_slots bigint;
  v_busy bigint;
  v_ahead bigint;
begin
  select j.* into v_job from qd.job as j
   where j.id = why_waiting.job and (j.creator = session_user::text or j.is_public or qd.is_admin());
  if not found then
    raise exception 'There is no job % that you may see.', coalesce(why_waiting.job::text, 'without a number')
      using errcode = 'QD004';
  end if;
  if v_job.ending then
    select n.* into v_node from qd.task as t join qd.node as n on n.name = t.node
     where t.job_id = v_job.id and t.status = 'in_progress'
       and (n.state in ('down', 'lost') or n.heartbeat < clock_timestamp() - interval '15 seconds') limit 1;
    if found then
      return format('ending: node %s unreachable', v_node.name);
    end if;
    return 'ending: its processes are being stopped';
  end if;
  select t.queue into v_queue from qd.task as t where t.job_id = v_job.id and t.status = 'queued' order by t.id limit 1;
  if not found then
    return '';
  end if;
  v_name := split_part(v_queue, ':', 2);
  if v_queue like 'node:%' then
    select n.* into v_node from qd.node as n where n.name = v_name;
    if not found then
      return format('waits for node %s, which this cluster does not have', v_name);
    end if;
    if v_node.state in ('down', 'lost') then
      return format('waits for node %s, which is %s', v_name, v_node.state);
    end if;
    if v_node.state = 'draining' then
      return format('waits for node %s, which is draining and takes no new tasks', v_name);
    end if;
  end if;
  v_where := case when v_queue like 'node:%' then 'on node ' || v_name
                  when v_queue like 'label:%' then 'on nodes with ' || v_name else 'on any node' end;
  select count(*), coalesce(sum(n.slots), 0),
         coalesce(sum((select count(*) from qd.task as t where t.node = n.name and t.status = 'in_progress')), 0)
    into v_up, v_slots, v_busy from qd.node as n
   where n.state = 'up' and (v_queue = 'any' or v_queue = 'node:' || n.name or (v_queue like 'label:%' and v_name = any (n.labels)));
  if v_up = 0 then
    return case when v_queue = 'any' then 'waits for a node: none is up'
                else format('waits for a node with %s: none is up', v_name) end;
  end if;
  if v_busy >= v_slots then
    select count(*) into v_ahead from qd.task as t
     where t.status = 'queued' and t.queue = v_queue
       and t.id < (select min(o.id) from qd.task as o where o.job_id = v_job.id and o.status = 'queued');
    return format('no free slot %s (%s of %s busy)', v_where, v_busy, v_slots)
      || case when v_ahead > 0 then format('; %s %s ahead', v_ahead, case when v_ahead = 1 then 'task is' else 'tasks are' end)
              else '' end;
  end if;
  return 'about to start';
end $$;
