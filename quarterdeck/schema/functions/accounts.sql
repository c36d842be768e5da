-- People's and nodes' logins, made by administrators. Owned by qd_accounts, which may create roles and nothing else.
-- A password comes as a SCRAM verifier only, never in clear.

create function qd.check_verifier(verifier text) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  if verifier is null or verifier !~ '^SCRAM-SHA-256\$[0-9]{4,7}:[A-Za-z0-9+/]{8,}={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$' then
    raise exception 'A password must be given as its SCRAM verifier.' using errcode = 'QD003', column = 'password';
  end if;
end $$;

-- Is this login a person's: true for an administrator, false for others, null when it is not a person's.
create function qd.person(name text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select bool_or(g.rolname = 'qd_admin')
    from pg_roles as r join pg_auth_members as m on m.member = r.oid join pg_roles as g on g.oid = m.roleid
   where r.rolname = person.name and g.rolname in ('qd_user', 'qd_admin')
     and r.rolname not like 'qd\_%' and not r.rolsuper
$$;

create function qd.require_person(name text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not pg_has_role(session_user, 'qd_admin', 'member') then
    raise exception 'Only an administrator may manage accounts.' using errcode = 'QD001';
  end if;
  if qd.person(require_person.name) is null then
    raise exception 'There is no user named ''%''.', left(require_person.name, 63) using errcode = 'QD004', column = 'name';
  end if;
end $$;

create function qd.close_sessions(login text) returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  select pg_terminate_backend(a.pid) from pg_stat_activity as a
   where a.usename = close_sessions.login and a.datname = current_database() and a.pid <> pg_backend_pid()
$$;

-- Ends sessions of people that hold a transaction open and do nothing, or for hours: anyone can switch off the time limits
-- on his own, and would keep the database from cleaning up, and its notifications from being forgotten.
create function qd.close_idle_sessions() returns void
language sql security definer set search_path = pg_catalog, pg_temp as $$
  select pg_terminate_backend(a.pid) from pg_stat_activity as a
   where a.datname = current_database() and qd.person(a.usename::text) is not null
     and ((a.state like 'idle in transaction%' and a.state_change < clock_timestamp() - interval '2 minutes')
          or a.xact_start < clock_timestamp() - interval '4 hours')
$$;

create function qd.create_user(name text, verifier text, admin boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not pg_has_role(session_user, 'qd_admin', 'member') then
    raise exception 'Only an administrator may manage accounts.' using errcode = 'QD001';
  end if;
  if create_user.name is null or create_user.name !~ '^[a-z][a-z0-9._-]{0,30}$' then
    raise exception 'A user''s name has up to 31 small letters, digits, dots, _ and -, and begins with a letter; ''%'' can''t be used.',
      left(coalesce(create_user.name, ''), 63) using errcode = 'QD003', column = 'name';
  end if;
  if create_user.name ~ '^(pg|qd|node)_' or create_user.name in ('public', 'none') then
    raise exception 'The name % is reserved: choose one that does not begin with pg_, qd_ or node_.', create_user.name
      using errcode = 'QD003', column = 'name';
  end if;
  if exists (select from pg_roles as r where r.rolname = create_user.name) then
    raise exception 'The server already has a login named %.', create_user.name using errcode = 'QD002';
  end if;
  perform qd.check_verifier(create_user.verifier);
  execute format('create role %I login connection limit 40 password %L', create_user.name, create_user.verifier);
  execute format('grant %I to %I', case when create_user.admin then 'qd_admin' else 'qd_user' end, create_user.name);
  perform qd.note_account('create_user', create_user.name, jsonb_build_object('admin', coalesce(create_user.admin, false)));
end $$;

create function qd.set_verifier(name text, verifier text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform qd.require_person(set_verifier.name);
  perform qd.check_verifier(set_verifier.verifier);
  execute format('alter role %I password %L', set_verifier.name, set_verifier.verifier);
  perform qd.note_account('set_password', set_verifier.name, '{}');
end $$;

create function qd.disable_user(name text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform qd.require_person(disable_user.name);
  if disable_user.name = session_user::text then
    raise exception 'You can''t disable your own account.' using errcode = 'QD002';
  end if;
  execute format('alter role %I nologin', disable_user.name);
  perform qd.close_sessions(disable_user.name);
  perform qd.note_account('disable_user', disable_user.name, '{}');
end $$;

create function qd.enable_user(name text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  perform qd.require_person(enable_user.name);
  execute format('alter role %I login', enable_user.name);
  perform qd.note_account('enable_user', enable_user.name, '{}');
end $$;

create function qd.list_users(out name text, out admin boolean, out enabled boolean) returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select r.rolname::text, qd.person(r.rolname::text), r.rolcanlogin from pg_roles as r
   where qd.person(r.rolname::text) is not null and pg_has_role(session_user, 'qd_admin', 'member')
   order by r.rolname
$$;

create function qd.create_node(name text, verifier text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_login text := 'node_' || create_node.name;
begin
  if not pg_has_role(session_user, 'qd_admin', 'member') then
    raise exception 'Only an administrator may add a node.' using errcode = 'QD001';
  end if;
  if create_node.name is null or create_node.name !~ '^[a-z0-9][a-z0-9-]{0,29}$' then
    raise exception 'A node''s name has up to 30 small letters, digits and hyphens; ''%'' can''t be used.',
      left(coalesce(create_node.name, ''), 63) using errcode = 'QD003', column = 'name';
  end if;
  perform qd.check_verifier(create_node.verifier);
  if not exists (select from pg_roles as r where r.rolname = v_login) then
    execute format('create role %I login password %L', v_login, create_node.verifier);
    execute format('grant qd_node to %I', v_login);
  elsif not pg_has_role(v_login, 'qd_node', 'member') then
    raise exception 'The server has a login % that is not a node.', v_login using errcode = 'QD002';
  else
    execute format('alter role %I login password %L', v_login, create_node.verifier);
    -- two agents under one name would both hold its tasks
    perform qd.close_sessions(v_login);
  end if;
  -- procrastinate's own statements name its tables and functions without their schema
  execute format('alter role %I in database %I set search_path = queue, pg_catalog', v_login, current_database());
  perform qd.note_node(create_node.name, v_login);
end $$;

create function qd.drain_node(name text, "on" boolean) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  if not pg_has_role(session_user, 'qd_admin', 'member') then
    raise exception 'Only an administrator may drain a node.' using errcode = 'QD001';
  end if;
  if not qd.note_draining(drain_node.name, drain_node."on") then
    raise exception 'There is no node named ''%'' that is up.', left(coalesce(drain_node.name, ''), 63)
      using errcode = 'QD004', column = 'name';
  end if;
end $$;
