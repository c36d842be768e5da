-- Binds the queue's functions, which are procrastinate's, to their schema and owner, and hardens them. Applied as a whole
-- after each change of the queue's schema; as it comes, the queue trusts whoever knows its channels' names.

create table if not exists queue.channel_key (key bytea not null);
insert into queue.channel_key
select decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
 where not exists (select from queue.channel_key);

-- The channel on which a queue's workers are woken. Nobody who can't read the key can guess, overhear or forge it.
create or replace function queue.channel(queue_name text) returns text
language sql stable as $$
  select 'q' || left(encode(sha256(k.key || convert_to(queue_name, 'UTF8')), 'hex'), 40) from queue.channel_key as k
$$;

create or replace function queue.procrastinate_notify_queue_abort_job_v1() returns trigger
language plpgsql as $$
begin
  perform pg_notify(queue.channel(new.queue_name), json_build_object('type', 'abort_job_requested', 'job_id', new.id)::text);
  return new;
end $$;

-- One wake-up a queue and statement, not two a row: a worker fetches until nothing is left.
create or replace function queue.notify_inserted() returns trigger
language plpgsql as $$
begin
  perform pg_notify(queue.channel(s.queue_name), json_build_object('type', 'job_inserted', 'job_id', s.id)::text)
    from (select r.queue_name, min(r.id) as id from rows as r where r.status = 'todo' group by r.queue_name) as s;
  return null;
end $$;

drop trigger if exists procrastinate_jobs_notify_queue_job_inserted_v1 on queue.procrastinate_jobs;
drop trigger if exists notify_inserted on queue.procrastinate_jobs;
create trigger notify_inserted after insert on queue.procrastinate_jobs referencing new table as rows
  for each statement execute function queue.notify_inserted();

do $$
declare
  f regprocedure;
begin
  for f in select oid::regprocedure from pg_proc where pronamespace = 'queue'::regnamespace loop
    execute format('alter function %s security definer', f);
    execute format('alter function %s set search_path = queue, pg_catalog, pg_temp', f);
    execute format('revoke all on function %s from public', f);
  end loop;
end $$;
