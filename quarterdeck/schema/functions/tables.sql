-- Result tables and datasets. A table belongs to a task, or as a part to a dataset, or to both: a dataset's parts
-- outlive the job that wrote them.

create function qd.check_name(name text, what text) returns void
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
  if name is null or name !~ '^[A-Za-z_][A-Za-z0-9_-]{0,62}$' then
    raise exception 'A %''s name has up to 63 letters, digits, _ and -, and does not begin with a digit; ''%'' can''t be used.',
      what, left(coalesce(name, ''), 80) using errcode = 'QD003', column = 'name';
  end if;
end $$;

-- The dataset that a publication goes to, locked; null when it is to be made. Raises where mode and state disagree.
create function qd.publication_target(p_creator text, publish jsonb, schema bytea) returns qd.dataset
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_dataset qd.dataset;
  v_first bytea;
begin
  select d.* into v_dataset from qd.dataset as d
   where d.creator = p_creator and d.name = publish ->> 'name' for no key update;
  if found and publish ->> 'mode' = 'create' then
    raise exception 'You already have a table named %; choose another name, or append or replace.', v_dataset.name
      using errcode = 'QD002';
  end if;
  if publish ->> 'mode' = 'append' then
    if v_dataset.id is null then
      raise exception 'You have no table named % to append to.', publish ->> 'name' using errcode = 'QD004';
    end if;
    select r.schema into v_first from qd.result_table as r where r.dataset_id = v_dataset.id order by r.id limit 1;
    if v_dataset.folder is not null or v_first is distinct from publication_target.schema then
      raise exception 'Table % has other columns or column types: nothing can be appended to it.', v_dataset.name
        using errcode = 'QD002';
    end if;
  end if;
  return v_dataset;
end $$;

create function qd.open_table(task bigint, attempt integer, name text, schema bytea, publish jsonb default null)
returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_task qd.task := qd.held_task(open_table.task, open_table.attempt);
  v_table qd.result_table;
  v_publish jsonb := open_table.publish;
begin
  perform qd.check_name(open_table.name, 'result table');
  if open_table.schema is null or octet_length(open_table.schema) not between 1 and 4194304 then
    raise exception 'Table % has no description of its columns, or one of more than 4 MB.', open_table.name using errcode = 'QD003';
  end if;
  select r.* into v_table from qd.result_table as r
   where r.task_id = v_task.id and r.attempt = v_task.attempt and r.name = open_table.name;
  if found then
    if v_table.schema <> open_table.schema then
      raise exception 'Table % was opened with other columns before.', open_table.name using errcode = 'QD002';
    end if;
    return v_table.id;
  end if;
  if (select count(*) from qd.result_table as r where r.task_id = v_task.id and r.attempt = v_task.attempt) >= 1000 then
    raise exception 'A task writes at most 1,000 tables.' using errcode = 'QD003';
  end if;
  if jsonb_typeof(v_publish) = 'null' then
    v_publish := null;
  end if;
  if v_publish is not null then
    if jsonb_typeof(v_publish) <> 'object' or coalesce(v_publish ->> 'mode', 'create') not in ('create', 'append', 'replace')
       or jsonb_typeof(coalesce(v_publish -> 'public', 'false')) <> 'boolean'
       or jsonb_typeof(coalesce(v_publish -> 'synthetic', 'false')) <> 'boolean'
       or length(v_publish ->> 'folder') not between 1 and 4000
       or (v_publish ->> 'folder' is not null and v_publish ->> 'mode' = 'append') then
      raise exception 'Table % can''t be published that way: mode is create, append or replace, public and synthetic are true or false, and a folder is never appended to.',
        open_table.name using errcode = 'QD003';
    end if;
    v_publish := v_publish || jsonb_build_object('mode', coalesce(v_publish ->> 'mode', 'create'));
    perform qd.check_name(v_publish ->> 'name', 'table');
    perform qd.publication_target(v_task.creator, v_publish, open_table.schema);
  end if;
  insert into qd.result_table (job_id, task_id, attempt, creator, name, schema, publish)
  values (v_task.job_id, v_task.id, v_task.attempt, v_task.creator, open_table.name, open_table.schema, v_publish)
  on conflict (task_id, attempt, hashtextextended(name, 0)) do nothing
  returning id into v_table.id;
  if v_table.id is null then
    select r.id into v_table.id from qd.result_table as r
     where r.task_id = v_task.id and r.attempt = v_task.attempt and r.name = open_table.name;
  end if;
  return v_table.id;
end $$;

-- The open table of a running task, locked.
create function qd.held_table(task bigint, attempt integer, table_id bigint) returns qd.result_table
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
  v_table qd.result_table;
begin
  perform qd.held_task(held_table.task, held_table.attempt);
  select r.* into v_table from qd.result_table as r
   where r.id = held_table.table_id and r.task_id = held_table.task and r.attempt = held_table.attempt for no key update;
  if not found then
    raise exception 'Task % has no table %.', held_table.task, coalesce(held_table.table_id::text, '?') using errcode = 'QD004';
  end if;
  return v_table;
end $$;

create function qd.write_block(task bigint, attempt integer, table_id bigint, number integer, rows integer,
                               time_min timestamptz, time_max timestamptz, symbol_min text, symbol_max text, data bytea)
returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_table qd.result_table := qd.held_table(write_block.task, write_block.attempt, write_block.table_id);
  v_next integer;
begin
  select coalesce(max(b.number) + 1, 0) into v_next from qd.result_block as b where b.table_id = v_table.id;
  if write_block.number >= 0 and write_block.number < v_next then
    return;
  end if;
  if v_table.complete then
    raise exception 'Table % is closed.', v_table.name using errcode = 'QD002';
  end if;
  if write_block.number is distinct from v_next then
    raise exception 'Block % of table % came out of turn; the next one is %.', coalesce(write_block.number::text, '?'),
      v_table.name, v_next using errcode = 'QD003';
  end if;
  if write_block.rows is null or write_block.rows < 0 or write_block.data is null
     or octet_length(write_block.data) > 16777216 then
    raise exception 'Block % of table % has no data, or more than 16 MB of it.', write_block.number, v_table.name
      using errcode = 'QD003';
  end if;
  if length(write_block.symbol_min) > 200 or length(write_block.symbol_max) > 200 then
    raise exception 'A symbol in table % has more than 200 characters.', v_table.name using errcode = 'QD003';
  end if;
  insert into qd.result_block (table_id, number, creator, is_public, first_row, rows, time_min, time_max, symbol_min,
                               symbol_max, data)
  values (v_table.id, write_block.number, v_table.creator, v_table.is_public, v_table.rows, write_block.rows,
          write_block.time_min, write_block.time_max, write_block.symbol_min, write_block.symbol_max, write_block.data);
  update qd.result_table as r set rows = r.rows + write_block.rows, bytes = r.bytes + octet_length(write_block.data),
         time_min = least(r.time_min, write_block.time_min), time_max = greatest(r.time_max, write_block.time_max)
   where r.id = v_table.id;
end $$;

create function qd.close_table(task bigint, attempt integer, table_id bigint, symbols bigint) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
  perform qd.held_table(close_table.task, close_table.attempt, close_table.table_id);
  update qd.result_table as r set complete = true, symbols = close_table.symbols where r.id = close_table.table_id;
end $$;

-- Makes a succeeded task's tables parts of the datasets that they are to be published as.
create function qd.publish_tables(task bigint, attempt integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_table qd.result_table;
  v_dataset qd.dataset;
  v_public boolean;
begin
  for v_table in
    select r.* from qd.result_table as r
     where r.task_id = publish_tables.task and r.attempt = publish_tables.attempt and r.publish is not null
     order by r.publish ->> 'name', r.id
  loop
    v_dataset := qd.publication_target(v_table.creator, v_table.publish, v_table.schema);
    v_public := coalesce((v_table.publish ->> 'public')::boolean, false);
    if v_dataset.id is null then
      insert into qd.dataset (creator, name, is_public, folder, job_id, synthetic)
      values (v_table.creator, v_table.publish ->> 'name', v_public, v_table.publish ->> 'folder', v_table.job_id,
              coalesce((v_table.publish ->> 'synthetic')::boolean, false))
      on conflict (creator, hashtextextended(name, 0)) do nothing
      returning * into v_dataset;
      if v_dataset.id is null then
        v_dataset := qd.publication_target(v_table.creator, v_table.publish, v_table.schema);
      end if;
    elsif v_table.publish ->> 'mode' = 'replace' then
      delete from qd.result_table as r where r.dataset_id = v_dataset.id;
      update qd.dataset as d set is_public = v_public, folder = v_table.publish ->> 'folder', job_id = v_table.job_id,
             updated = clock_timestamp(), synthetic = coalesce((v_table.publish ->> 'synthetic')::boolean, false)
       where d.id = v_dataset.id;
    else
      -- what is appended takes on the visibility that the dataset has
      v_public := v_dataset.is_public;
      update qd.dataset as d set updated = clock_timestamp(), job_id = v_table.job_id where d.id = v_dataset.id;
    end if;
    update qd.result_table as r set dataset_id = v_dataset.id, is_public = v_public where r.id = v_table.id;
    if v_public then
      update qd.result_block as b set is_public = true where b.table_id = v_table.id;
    end if;
  end loop;
end $$;

create function qd.drop_dataset(name text, creator text default null) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_dataset qd.dataset;
  v_creator text := coalesce(drop_dataset.creator, session_user::text);
begin
  select d.* into v_dataset from qd.dataset as d
   where d.name = drop_dataset.name and d.creator = v_creator
     and (d.creator = session_user::text or d.is_public or qd.is_admin());
  if not found then
    raise exception 'There is no table % that you may see.', left(coalesce(
      case when v_creator <> session_user::text then v_creator || '.' else '' end || drop_dataset.name, '(no name)'), 130)
      using errcode = 'QD004';
  end if;
  if v_dataset.creator <> session_user::text and not qd.is_admin() then
    raise exception 'Table % belongs to %: only its creator or an administrator may delete it.', v_dataset.name, v_dataset.creator
      using errcode = 'QD001';
  end if;
  delete from qd.dataset as d where d.id = v_dataset.id;
  insert into qd.audit (actor, action, detail)
  values (session_user::text, 'drop_dataset', jsonb_build_object('name', v_dataset.name, 'creator', v_dataset.creator));
end $$;

-- May this person (not necessarily the signed-in one) see everything? A login that is gone may not.
create function qd.person_is_admin(person text) returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
  select coalesce((select pg_has_role(r.oid, 'qd_admin', 'member') and not r.rolsuper from pg_roles as r
                    where r.rolname = person_is_admin.person), false)
$$;

-- How alike two names are, by their pairs of letters: 0 to 1 (Dice's coefficient).
create function qd.likeness(a text, b text) returns double precision
language sql immutable set search_path = pg_catalog, pg_temp as $$
  with x as (select distinct substr(lower(' ' || a || ' '), i, 2) as p from generate_series(1, length(a) + 1) as i),
       y as (select distinct substr(lower(' ' || b || ' '), i, 2) as p from generate_series(1, length(b) + 1) as i)
  select 2.0 * (select count(*) from x join y using (p))
         / greatest(1, (select count(*) from x) + (select count(*) from y))
$$;

-- A dataset's parts, for a running task, under the rights of its job's creator.
create function qd.task_dataset(task bigint, attempt integer, name text, out table_id bigint, out schema bytea,
                                out rows bigint, out folder text, out dataset text) returns setof record
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_task qd.task := qd.held_task(task_dataset.task, task_dataset.attempt);
  v_all boolean := qd.person_is_admin(v_task.creator);
  v_found qd.dataset;
  v_count bigint;
  v_names text;
begin
  select d.* into v_found from qd.dataset as d where d.creator = v_task.creator and d.name = task_dataset.name;
  if not found then
    select d.* into v_found from qd.dataset as d
     where d.creator || '.' || d.name = task_dataset.name and (d.is_public or v_all);
  end if;
  if v_found.id is null then
    select count(*), string_agg(d.creator || '.' || d.name, ', ' order by d.creator) into v_count, v_names
      from qd.dataset as d where d.name = task_dataset.name and d.is_public;
    if v_count > 1 then
      raise exception 'Several people have a public table %: say which by %.', task_dataset.name, left(v_names, 500)
        using errcode = 'QD003', column = 'table';
    end if;
    select d.* into v_found from qd.dataset as d where d.name = task_dataset.name and d.is_public;
  end if;
  if v_found.id is null then
    select string_agg(c.name, ', ' order by c.likeness desc) into v_names from (
      select case when d.creator = v_task.creator then d.name else d.creator || '.' || d.name end as name,
             qd.likeness(d.name, left(task_dataset.name, 63)) as likeness
        from qd.dataset as d where d.creator = v_task.creator or d.is_public
       order by 2 desc limit 3) as c where c.likeness > 0.3;
    raise exception 'There is no table % that % may read%.', left(coalesce(task_dataset.name, '(no name)'), 130), v_task.creator,
      coalesce('; close names are ' || v_names, '') using errcode = 'QD004', column = 'table';
  end if;
  return query
    select r.id, r.schema, r.rows, v_found.folder, v_found.creator || '.' || v_found.name
      from qd.result_table as r where r.dataset_id = v_found.id and r.complete order by r.id;
end $$;

-- A job's result table (each task's, or one task's), for a running task, under the rights of its job's creator.
create function qd.task_result(task bigint, attempt integer, job bigint, name text, ordinal integer default null,
                               out table_id bigint, out schema bytea, out rows bigint, out task_ordinal integer)
returns setof record
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_task qd.task := qd.held_task(task_result.task, task_result.attempt);
begin
  return query
    select r.id, r.schema, r.rows, t.ordinal
      from qd.result_table as r join qd.task as t on t.id = r.task_id and t.attempt = r.attempt
     where r.job_id = task_result.job and r.name = task_result.name and r.complete
       and (task_result.ordinal is null or t.ordinal = task_result.ordinal)
       and (r.creator = v_task.creator or qd.person_is_admin(v_task.creator))
     order by t.ordinal;
  if not found then
    raise exception 'Job % has no table % that % may read.', coalesce(task_result.job::text, '?'),
      left(coalesce(task_result.name, '(no name)'), 80), v_task.creator using errcode = 'QD004', column = 'table';
  end if;
end $$;

-- Blocks of a table that may hold rows of the times (inclusive) and symbols asked for, after block `after` (-1: from the
-- first), at most `count` (and 64) of them.
create function qd.task_blocks(task bigint, attempt integer, table_id bigint, time_from timestamptz, time_to timestamptz,
                               symbols text[], after integer, count integer, out number integer, out rows integer,
                               out data bytea) returns setof record
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_task qd.task := qd.held_task(task_blocks.task, task_blocks.attempt);
begin
  perform from qd.result_table as r
   where r.id = task_blocks.table_id
     and (r.creator = v_task.creator or r.is_public or qd.person_is_admin(v_task.creator));
  if not found then
    raise exception 'There is no table % that % may read.', coalesce(task_blocks.table_id::text, '?'), v_task.creator
      using errcode = 'QD004', column = 'table';
  end if;
  return query
    select b.number, b.rows, b.data from qd.result_block as b
     where b.table_id = task_blocks.table_id and b.number > coalesce(task_blocks.after, -1)
       and (task_blocks.time_from is null or b.time_max is null or b.time_max >= task_blocks.time_from)
       and (task_blocks.time_to is null or b.time_min is null or b.time_min <= task_blocks.time_to)
       and (task_blocks.symbols is null or b.symbol_min is null
            or exists (select from unnest(task_blocks.symbols) as s(v)
                        where s.v collate "C" >= b.symbol_min and s.v collate "C" <= b.symbol_max))
     order by b.number limit least(coalesce(task_blocks.count, 16), 64);
end $$;
