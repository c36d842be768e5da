-- What the functions of accounts.sql write: their owner has no rights on the tables.

create function qd.note_account(action text, name text, detail jsonb) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  insert into qd.channel (member) select note_account.name where note_account.action = 'create_user' on conflict do nothing;
  insert into qd.audit (actor, action, detail)
  values (session_user::text, note_account.action, jsonb_build_object('name', note_account.name) || note_account.detail)
$$;

create function qd.note_node(name text, login text) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  with made as (
    insert into qd.node (name, login, slots, state) values (note_node.name, note_node.login, 1, 'down')
    on conflict do nothing returning name)
  insert into qd.audit (actor, action, detail)
  select session_user::text, 'create_node', jsonb_strip_nulls(jsonb_build_object(
           'name', note_node.name, 'again', case when not exists (select from made) then true end))
$$;

create function qd.note_draining(name text, draining boolean) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  update qd.node as n set state = case when note_draining.draining then 'draining' else 'up' end
   where n.name = note_draining.name and n.state in ('up', 'draining');
  if not found then
    return false;
  end if;
  insert into qd.audit (actor, action, detail)
  values (session_user::text, case when note_draining.draining then 'drain_node' else 'resume_node' end,
          jsonb_build_object('name', note_draining.name));
  return true;
end $$;
