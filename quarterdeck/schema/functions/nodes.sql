-- The nodes of the cluster: how they report, and what people see of them.

create function qd.register_node(slots integer, labels text[], host text, version text, cpus integer,
                                 memory_total bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_name text := qd.node_name();
  v_bad text;
begin
  if (register_node.slots between 1 and 1024) is not true then
    raise exception 'A node has 1 to 1,024 slots, not %.', register_node.slots using errcode = 'QD003', column = 'slots';
  end if;
  select l into v_bad from unnest(register_node.labels) as x(l) where l is null or l !~ '^[a-z0-9][a-z0-9-]{0,29}$' limit 1;
  if found or cardinality(register_node.labels) > 50 then
    raise exception 'A label is up to 30 small letters, digits and hyphens, at most 50 a node; ''%'' can''t be used.', left(v_bad, 60)
      using errcode = 'QD003', column = 'labels';
  end if;
  update qd.node as n set state = 'up', slots = register_node.slots, labels = coalesce(register_node.labels, '{}'),
         host = left(coalesce(register_node.host, ''), 255), version = left(coalesce(register_node.version, ''), 100),
         cpus = coalesce(register_node.cpus, 0), memory_total = coalesce(register_node.memory_total, 0),
         registered = clock_timestamp(), heartbeat = clock_timestamp()
   where n.name = v_name;
  return v_name;
end $$;

create function qd.node_heartbeat(load double precision, memory_free bigint) returns text
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_name text := qd.node_name();
  v_state text;
begin
  update qd.node as n set heartbeat = clock_timestamp(), load = coalesce(node_heartbeat.load, 0),
         memory_free = coalesce(node_heartbeat.memory_free, 0),
         state = case when n.state = 'draining' then 'draining' else 'up' end
   where n.name = v_name returning n.state into v_state;
  return v_state;
end $$;

create function qd.unregister_node() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_name text := qd.node_name();
begin
  update qd.node as n set state = 'down', heartbeat = clock_timestamp() where n.name = v_name;
end $$;

-- This node's queues, and the channel that wakes it for each (see queue.sql: nobody else can guess them).
create function qd.queue_channels(out queue text, out channel text) returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select x.q, queue.channel(x.q)
    from qd.node as n, unnest(array['any', 'node:' || n.name] || array(select 'label:' || l from unnest(n.labels) as l)) as x(q)
   where n.name = qd.node_name()
$$;

-- All nodes for people; `running` counts tasks of everybody, which no one could count under the policies.
create function qd.list_nodes(out name text, out state text, out slots integer, out running integer, out labels text[],
                              out host text, out heartbeat timestamptz, out cpus integer, out load real,
                              out memory_total bigint, out memory_free bigint, out version text) returns setof record
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select n.name, case when n.state in ('up', 'draining') and n.heartbeat < clock_timestamp() - interval '10 seconds'
                      then 'lost' else n.state end,
         n.slots, (select count(*) from qd.task as t where t.node = n.name and t.status = 'in_progress')::integer,
         n.labels, n.host, n.heartbeat, n.cpus, n.load, n.memory_total, n.memory_free, n.version
    from qd.node as n order by n.name
$$;
