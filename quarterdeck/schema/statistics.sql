-- What the planner's statistics would give away: EXPLAIN shows everybody how many rows it expects under any condition, and
-- with it, guess by guess, the names of other people's private jobs. So no statistics are kept of what people write; those
-- of enumerations, times and counts are needed for quick lists.

do $$
declare
  v record;
begin
  for v in select a.attrelid, a.attrelid::regclass as on_table, a.attname, a.attnum, a.attstattarget
             from pg_attribute as a join pg_class as c on c.oid = a.attrelid
            where c.relnamespace = 'qd'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
              and a.atttypid::regtype::text in ('text', 'jsonb', 'bytea', 'text[]')
              and a.attname not in ('creator', 'kind', 'status', 'origin', 'backtest_type', 'queue', 'node', 'nodes', 'state',
                                    'attribution_status', 'outcome') loop
    if v.attstattarget is distinct from 0 then
      execute format('alter table %s alter column %I set statistics 0', v.on_table, v.attname);
    end if;
    delete from pg_statistic as s where s.starelid = v.attrelid and s.staattnum = v.attnum;
  end loop;
end $$;
