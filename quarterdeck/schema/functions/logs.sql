-- Log lines. Nothing here notifies: open log views poll.

-- One line of Quarterdeck's own (stream x). `task` is null for lines about the job as a whole.
create function qd.log_line(job bigint, task bigint, attempt integer, level text, line text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_now timestamptz := clock_timestamp();
begin
  insert into qd.log_chunk (job_id, task_id, creator, attempt, lines, time_min, time_max, levels, body)
  values (log_line.job, log_line.task, '', log_line.attempt, 1, v_now, v_now,
          array[(level = 'd')::int, (level = 'i')::int, (level = 'w')::int, (level = 'e')::int],
          (extract(epoch from v_now) * 1000000)::bigint || E'\tx' || level || E'\t'
            || left(translate(line, E'\n\r\x0b\f\u0085\u2028\u2029', '       '), 4000));
end $$;

-- The marks, bounds and counts of a chunk are taken from its body, whatever its writer says.
create function qd.mark_lines() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_count bigint;
  v_first bigint;
  v_last bigint;
  v_levels integer[];
  v_marks bytea;
begin
  new.marks := null;
  with line as materialized (
    select left(x.l, x.tab - 1)::bigint as at, strpos('diwe', substr(x.l, x.tab + 2, 1)) - 1 as level
      from (select u.l, strpos(u.l, E'\t') as tab from unnest(string_to_array(new.body, E'\n')) as u(l)) as x),
  bound as materialized (
    select count(*) as lines, min(l.at) as first, max(l.at) as last, min(l.level) as lowest from line as l)
  select b.lines, b.first, b.last,
         -- in the order in which unnest gives the lines
         string_agg(case when b.last - b.first < 500000000 then int4send((l.at - b.first)::integer * 4 + l.level)
                         else int8send((l.at - b.first) * 4 + l.level) end, ''),
         array[count(*) filter (where l.level = 0), count(*) filter (where l.level = 1),
               count(*) filter (where l.level = 2), count(*) filter (where l.level = 3)]
    into v_count, v_first, v_last, v_marks, v_levels
    from bound as b cross join line as l where b.lowest >= 0
   group by b.lines, b.first, b.last;
  if v_count = new.lines then
    new.marks := v_marks;
    new.levels := v_levels;
    new.time_min := timestamptz '1970-01-01 00:00+00' + v_first * interval '1 microsecond';
    new.time_max := timestamptz '1970-01-01 00:00+00' + v_last * interval '1 microsecond';
  end if;
  return new;
exception when data_exception then
  -- not of the form that readers know; they say so when they come to it
  return new;
end $$;

create trigger marks before insert on qd.log_chunk for each row execute function qd.mark_lines();

create function qd.write_log(task bigint, attempt integer, first_line bigint[], lines integer[], time_min timestamptz[],
                             time_max timestamptz[], levels integer[], body text[], trigrams bytea[] default null)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_task qd.task := qd.held_task(write_log.task, write_log.attempt);
  v_count integer := cardinality(write_log.body);
begin
  if (v_count = cardinality(write_log.first_line) and v_count = cardinality(write_log.lines)
      and v_count = cardinality(write_log.time_min) and v_count = cardinality(write_log.time_max)
      and 4 * v_count = cardinality(write_log.levels)) is not true then
    raise exception 'The arrays of a task''s log chunks differ in length.' using errcode = 'QD003';
  end if;
  if exists (select from unnest(write_log.body, write_log.first_line, write_log.lines) as x(b, f, n)
              where octet_length(x.b) > 40000000 or x.f is null or x.n is null or x.n not between 1 and 500) then
    raise exception 'A chunk of a log has 1 to 500 lines, the number of its first one, and at most 40 MB.'
      using errcode = 'QD003';
  end if;
  insert into qd.log_chunk (job_id, task_id, creator, attempt, first_line, lines, time_min, time_max, levels, body,
                            trigrams)
  select v_task.job_id, v_task.id, v_task.creator, write_log.attempt, x.f, x.n, x.a, x.z,
         write_log.levels[4 * x.i - 3 : 4 * x.i], x.b,
         -- bits of another number would be asked for beyond their end
         case when octet_length(x.t) = 1536 then x.t end
    from unnest(write_log.first_line, write_log.lines, write_log.time_min, write_log.time_max, write_log.body,
                write_log.trigrams) with ordinality as x(f, n, a, z, b, t, i)
   where x.i <= v_count
   order by x.i
  on conflict do nothing;
end $$;
