-- Hints to the desktops. A notification carries only ids of jobs, on channels that nobody can guess; it means "read
-- these again". Everyone can listen to and send on a channel whose name he knows, so nothing may depend on a message.

-- The channels of the signed-in person: the own one, and the group's: administrators hear of every job, others of public ones.
create function qd.my_channels() returns setof text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into qd.channel (member) values (session_user::text), ('*admins'), ('*public') on conflict do nothing;
  return query
    select c.channel from qd.channel as c
     where c.member = session_user::text
        or c.member = case when pg_has_role(session_user, 'qd_admin', 'member') then '*admins' else '*public' end;
end $$;

create function qd.stamp_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  new.changed := pg_current_xact_id();
  new.node_names := left(array_to_string(new.nodes, ','), 60);
  return new;
end $$;

create trigger changed before insert or update on qd.job for each row execute function qd.stamp_changed();

create function qd.send_hint(member text, ids bigint[]) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  select pg_notify(c.channel, case when cardinality(send_hint.ids) <= 100
                                   then array_to_string(send_hint.ids, ',') else '*' end)
    from qd.channel as c where c.member = send_hint.member
$$;

create function qd.notify_jobs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if tg_op = 'UPDATE' then
    perform qd.send_hint(g.member, g.ids) from (
      select s.member, array_agg(distinct s.id order by s.id) as ids from (
        select r.creator as member, r.id from new_rows as r
        union all select '*admins', r.id from new_rows as r
        union all select '*public', r.id from new_rows as r where r.is_public
        union all select '*public', r.id from old_rows as r where r.is_public
      ) as s group by s.member) as g;
  else
    perform qd.send_hint(g.member, g.ids) from (
      select s.member, array_agg(distinct s.id order by s.id) as ids from (
        select r.creator as member, r.id from rows as r
        union all select '*admins', r.id from rows as r
        union all select '*public', r.id from rows as r where r.is_public
      ) as s group by s.member) as g;
  end if;
  return null;
end $$;

create trigger notify_insert after insert on qd.job referencing new table as rows
  for each statement execute function qd.notify_jobs();
create trigger notify_update after update on qd.job referencing old table as old_rows new table as new_rows
  for each statement execute function qd.notify_jobs();
create trigger notify_delete after delete on qd.job referencing old table as rows
  for each statement execute function qd.notify_jobs();

create function qd.bury_jobs() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into qd.tombstone (job_id, creator, was_public)
  select r.id, r.creator, r.is_public from rows as r
  on conflict (job_id) do nothing;
  return null;
end $$;

create trigger bury after delete on qd.job referencing old table as rows
  for each statement execute function qd.bury_jobs();

-- `creator` of each protected row is copied from what it belongs to, whatever its writer says.
create function qd.copy_creator() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  select j.creator into new.creator from qd.job as j where j.id = new.job_id;
  return new;
end $$;

create trigger creator before insert on qd.job_detail for each row execute function qd.copy_creator();
create trigger creator before insert on qd.task for each row execute function qd.copy_creator();
create trigger creator before insert on qd.attempt for each row execute function qd.copy_creator();
create trigger creator before insert on qd.log_chunk for each row execute function qd.copy_creator();
create trigger creator before insert on qd.result_table for each row when (new.job_id is not null)
  execute function qd.copy_creator();

create function qd.copy_table_creator() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  select t.creator, t.is_public into new.creator, new.is_public from qd.result_table as t where t.id = new.table_id;
  return new;
end $$;

create trigger creator before insert on qd.result_block for each row execute function qd.copy_table_creator();
