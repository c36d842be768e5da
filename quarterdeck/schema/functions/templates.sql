-- Visualization templates. The database keeps a document as it is; what it says is checked by who reads it, since a
-- person with an SQL tool may store any.

create function qd.save_template(name text, document jsonb, public boolean default false) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_kinds text[] := '{}';
  v_id bigint;
begin
  if save_template.name is null
     or save_template.name !~ '^[A-Za-z0-9]([A-Za-z0-9 ()_+-]{0,61}[A-Za-z0-9)_+-])?$' then
    raise exception 'A template''s name has up to 63 letters, digits, spaces and ( ) _ + -, and begins with a letter or digit; ''%'' can''t be used.',
      left(coalesce(save_template.name, ''), 80) using errcode = 'QD003', column = 'name';
  end if;
  if save_template.public is null or jsonb_typeof(save_template.document) is distinct from 'object'
     or save_template.document ->> 'name' is distinct from save_template.name
     or jsonb_typeof(save_template.document -> 'title') is distinct from 'string'
     or length(save_template.document ->> 'title') not between 1 and 200
     or jsonb_typeof(coalesce(save_template.document -> 'kinds', '[]')) <> 'array' then
    raise exception 'Template % can''t be stored: its document is an object with that name, a title of 1 to 200 characters, and kinds as a list.',
      save_template.name using errcode = 'QD003', column = 'document';
  end if;
  if octet_length(save_template.document::text) > 1000000 then
    raise exception 'Template % is larger than 1 MB: make two of it.', save_template.name
      using errcode = 'QD003', column = 'document';
  end if;
  select coalesce(array_agg(left(k, 40)), '{}') into v_kinds
    from (select k from jsonb_array_elements_text(coalesce(save_template.document -> 'kinds', '[]')) as e(k) limit 20) as one;
  if not exists (select from qd.template as t where t.creator = session_user::text and t.name = save_template.name)
     and (select count(*) from qd.template as t where t.creator = session_user::text) >= 1000 then
    raise exception 'You have 1,000 templates, which is the most: delete one first.' using errcode = 'QD002';
  end if;
  insert into qd.template as t (creator, name, title, kinds, is_public, document)
  values (session_user::text, save_template.name, save_template.document ->> 'title', v_kinds, save_template.public,
          save_template.document)
  on conflict (creator, hashtextextended(name, 0)) do update
    set title = excluded.title, kinds = excluded.kinds, is_public = excluded.is_public, document = excluded.document,
        updated = clock_timestamp()
  returning t.id into v_id;
  return v_id;
end $$;

create function qd.delete_template(name text, creator text default null) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
  v_template qd.template;
  v_creator text := coalesce(delete_template.creator, session_user::text);
begin
  select t.* into v_template from qd.template as t
   where t.name = delete_template.name and t.creator = v_creator
     and (t.creator = session_user::text or t.is_public or qd.is_admin());
  if not found then
    raise exception 'There is no template % that you may see.', left(coalesce(
      case when v_creator <> session_user::text then v_creator || '.' else '' end || delete_template.name, '(no name)'), 130)
      using errcode = 'QD004';
  end if;
  if v_template.creator <> session_user::text and not qd.is_admin() then
    raise exception 'Template % belongs to %: only its creator or an administrator may delete it.', v_template.name, v_template.creator
      using errcode = 'QD001';
  end if;
  delete from qd.template as t where t.id = v_template.id;
  insert into qd.audit (actor, action, detail)
  values (session_user::text, 'delete_template',
          jsonb_build_object('name', v_template.name, 'creator', v_template.creator));
end $$;
