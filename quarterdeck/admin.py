"""What an administrator does to the central database: its schema, its users, its nodes."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Any

import psycopg
import sqlalchemy as sa

from quarterdeck.database import translated
from quarterdeck.errors import Invalid, Refused
from quarterdeck.schema import FUNCTIONS, REVISIONS, SCHEMA_VERSION, sql
from quarterdeck.scram import scram_verifier

__all__ = [
    "SCHEMA_VERSION",
    "User",
    "create_node",
    "create_schema",
    "create_user",
    "disable_user",
    "drain_node",
    "enable_user",
    "list_users",
    "protect_database",
    "set_password",
    "upgrade_schema",
]

_MINIMUM_PASSWORD = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """A person's account on the server."""

    name: str
    admin: bool
    enabled: bool


# --- schema ---------------------------------------------------------------------------------------------------------

# Roles belong to the server, of which several databases may be Quarterdeck's: another one may just be making them.
_ROLES = """
do $$
declare
  v record;
begin
  for v in select * from (values
      ('qd_owner', 'nologin'), ('qd_queue', 'nologin'), ('qd_accounts', 'nologin createrole'),
      ('qd_user', 'nologin'), ('qd_admin', 'nologin'), ('qd_node', 'nologin')) as r(name, options)
  loop
    begin
      if not exists (select from pg_roles where rolname = v.name) then
        execute format('create role %I %s', v.name, v.options);
      end if;
    exception when duplicate_object or unique_violation then null;
    end;
  end loop;
  begin
    grant pg_use_reserved_connections to qd_node;
  exception when unique_violation or internal_error then null;
  end;
  for v in select * from (values ('qd_user', true), ('qd_admin', true), ('qd_node', true), ('pg_signal_backend', false),
                              ('pg_read_all_stats', false))
             as r(name, admin)
  loop
    if not exists (select from pg_auth_members as m
                    where m.roleid = v.name::regrole and m.member = 'qd_accounts'::regrole
                      and m.admin_option >= v.admin) then
      begin
        if v.admin then
          -- it gives these groups to others and is no member itself
          execute format('grant %I to qd_accounts with admin true, inherit false, set false', v.name);
        else
          execute format('grant %I to qd_accounts', v.name);
        end if;
      exception when unique_violation or internal_error then null;
      end;
    end if;
  end loop;
end $$;
"""

# What a clone of a database (CREATE DATABASE ... TEMPLATE) does not take over.
_DATABASE = """
do $$
declare
  v_name text := current_database();
  v_login text;
begin
  execute format('revoke all on database %I from public', v_name);
  execute format('grant connect on database %I to qd_user, qd_admin, qd_node', v_name);
  execute format('alter database %I set idle_in_transaction_session_timeout = ''60s''', v_name);
  execute format('alter database %I set timezone = ''UTC''', v_name);
  -- a single session's temporary files shall not fill the disk
  execute format('alter database %I set temp_file_limit = ''50GB''', v_name);
  -- procrastinate's own statements name its tables and functions without their schema
  for v_login in select r.rolname from pg_roles as r join pg_auth_members as m on m.member = r.oid
                  where m.roleid = 'qd_node'::regrole and r.rolname like 'node\\_%' loop
    execute format('alter role %I in database %I set search_path = queue, pg_catalog', v_login, v_name);
  end loop;
end $$;
"""

_PREPARE = """
do $$
declare
  f regprocedure;
begin
  -- what every login may do on a fresh server: fill the disk with large objects or the log, use up the table of locks
  for f in select p.oid::regprocedure from pg_proc as p
            where p.pronamespace = 'pg_catalog'::regnamespace
              and (p.proname ~ '^(lo_|lowrite$|loread$)' or p.proname ~ '^pg_(try_)?advisory_'
                   or p.proname = 'pg_logical_emit_message') loop
    execute format('revoke all on function %s from public', f);
  end loop;
end $$;
revoke all on schema public from public;
create schema if not exists qd authorization qd_owner;
create schema if not exists queue authorization qd_queue;
"""

# Triggers go with their functions.
_FORGET = """
do $$
declare
  v record;
begin
  for v in select p.polname, p.polrelid::regclass as on_table from pg_policy as p
             join pg_class as c on c.oid = p.polrelid where c.relnamespace = 'qd'::regnamespace loop
    execute format('drop policy %I on %s', v.polname, v.on_table);
  end loop;
  for v in select p.oid::regprocedure as f from pg_proc as p where p.pronamespace = 'qd'::regnamespace loop
    execute format('drop function if exists %s cascade', v.f);
  end loop;
end $$;
"""


def create_schema(superuser: sa.Engine) -> str:
    """Makes an empty database Quarterdeck's: roles, rights, tables, functions, policies, queue. Returns the version.

    Done in one transaction. A database that has the schema already is upgraded.

    Raises:
        Refused: the login is not a superuser.
        Invalid: the server is older than PostgreSQL 16, or the database is not UTF-8.
    """
    with _script(superuser) as (connection, cursor):
        cursor.execute(
            "select current_setting('server_version_num')::int, current_setting('server_encoding'),"
            " (select rolsuper from pg_roles where rolname = current_user), current_user"
        )
        number, encoding, is_superuser, user = cursor.fetchone() or (0, "", False, "")
        if number < 160000:
            raise Invalid(f"Quarterdeck needs PostgreSQL 16 or newer; this server is version {number // 10000}")
        if encoding != "UTF8":
            raise Invalid(f"Quarterdeck needs a database in UTF-8; this one is in {encoding}")
        if not is_superuser:
            raise Refused(f"only a superuser of the server may make or upgrade the schema; {user} is not one")
        cursor.execute("select pg_advisory_xact_lock(hashtext('quarterdeck schema'))")
        before = _version_before(cursor)
        cursor.execute(_ROLES)
        cursor.execute(_DATABASE)
        cursor.execute(_PREPARE)
        _apply_queue(cursor)
        _apply_tables(connection, cursor)
        _apply_functions(cursor)
        if before != SCHEMA_VERSION:
            cursor.execute(
                "insert into qd.audit (actor, action, detail) values (session_user::text, 'upgrade_schema',"
                " jsonb_strip_nulls(jsonb_build_object('from', %s::text, 'to', %s::text)))",
                (before, SCHEMA_VERSION),
            )
    return SCHEMA_VERSION


def _version_before(cursor: psycopg.Cursor[tuple[Any, ...]]) -> str | None:
    """The version that the database has; None where there is no schema yet."""
    cursor.execute("select to_regprocedure('qd.schema_version()') is not null")
    if (found := cursor.fetchone()) is None or not found[0]:
        return None
    cursor.execute("select qd.schema_version()")
    return None if (row := cursor.fetchone()) is None else str(row[0])


def upgrade_schema(superuser: sa.Engine) -> str:
    """Brings a database to this version's schema. Returns the version. Raises as `create_schema` does."""
    return create_schema(superuser)


def protect_database(superuser: sa.Engine) -> None:
    """Sets the rights and settings that a copy of a database (CREATE DATABASE ... TEMPLATE) does not take over."""
    with _script(superuser) as (_, cursor):
        cursor.execute(_DATABASE)


@contextmanager
def _script(engine: sa.Engine) -> Iterator[tuple[sa.Connection, psycopg.Cursor[tuple[Any, ...]]]]:
    """One transaction; the cursor runs whole scripts, with % and : as they stand."""
    with translated(), engine.begin() as connection:
        driver = connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError("the engine must be one of psycopg's")
        with driver.cursor() as cursor:
            cursor.execute("set local search_path = pg_catalog, pg_temp; set local statement_timeout = 0")
            yield connection, cursor


def _apply_queue(cursor: psycopg.Cursor[tuple[Any, ...]]) -> None:
    cursor.execute("set local role qd_queue; set local search_path = queue, pg_catalog")
    cursor.execute("select to_regclass('queue.procrastinate_jobs')")
    row = cursor.fetchone()
    if row is None or row[0] is None:
        cursor.execute((resources.files("procrastinate") / "sql" / "schema.sql").read_text(encoding="utf-8").encode())
    cursor.execute(sql("queue.sql").encode())
    cursor.execute("set local search_path = pg_catalog, pg_temp; reset role")


def _apply_tables(connection: sa.Connection, cursor: psycopg.Cursor[tuple[Any, ...]]) -> None:
    cursor.execute("set local role qd_owner")
    from alembic import command  # as long to import as all of the rest
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(REVISIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    cursor.execute("reset role")


def _apply_functions(cursor: psycopg.Cursor[tuple[Any, ...]]) -> None:
    cursor.execute(_FORGET)
    # names are looked up when a function is used, so that their order in the files is free
    cursor.execute("set local check_function_bodies = off; grant usage, create on schema qd to qd_accounts")
    for name in FUNCTIONS:
        cursor.execute(f"set local role {'qd_accounts' if name == 'accounts' else 'qd_owner'}".encode())
        cursor.execute(sql(f"functions/{name}.sql").encode())
    cursor.execute("set local role qd_owner")
    cursor.execute(
        "create function qd.schema_version() returns text language sql immutable security definer"
        f" set search_path = pg_catalog, pg_temp as $$ select '{SCHEMA_VERSION}' $$".encode()
    )
    cursor.execute("reset role; revoke create on schema qd from qd_accounts")
    cursor.execute(sql("policies.sql").encode())
    cursor.execute(sql("statistics.sql").encode())
    # here, not at their first use: whoever comes first could keep all others waiting
    cursor.execute("insert into qd.channel (member) values ('*admins'), ('*public') on conflict do nothing")


# --- users and nodes ------------------------------------------------------------------------------------------------


def create_user(engine: sa.Engine, name: str, password: str, admin: bool = False) -> None:
    """Makes a person's account: a regular user's, or an administrator's.

    Raises:
        Refused: the signed-in user is not an administrator.
        Invalid: the name or the password can't be used.
        Conflict: the server has a login of that name.
    """
    _call(engine, "qd.create_user(:name, :verifier, :admin)", name=name, verifier=_verifier(password), admin=admin)


def set_password(engine: sa.Engine, name: str, password: str) -> None:
    """Gives an account a new password. Raises Refused, Invalid, NotFound."""
    _call(engine, "qd.set_verifier(:name, :verifier)", name=name, verifier=_verifier(password))


def disable_user(engine: sa.Engine, name: str) -> None:
    """Closes an account: its sessions end, nobody signs in as it, its jobs stay. Raises Refused, NotFound, Conflict."""
    _call(engine, "qd.disable_user(:name)", name=name)


def enable_user(engine: sa.Engine, name: str) -> None:
    """Opens an account again. Raises Refused, NotFound."""
    _call(engine, "qd.enable_user(:name)", name=name)


def list_users(engine: sa.Engine) -> list[User]:
    """All accounts of people, by name. Raises Refused."""
    with translated(), engine.connect() as connection:
        rows = connection.execute(sa.text("select name, admin, enabled from qd.list_users()"))
        return [User(name=name, admin=admin, enabled=enabled) for name, admin, enabled in rows]


def create_node(engine: sa.Engine, name: str) -> str:
    """Makes the login of a node (or gives it a new password, which ends its open sessions). Returns the password.

    Raises:
        Refused: the signed-in user is not an administrator.
        Invalid: the name can't be used.
    """
    password = secrets.token_urlsafe(32)
    _call(engine, "qd.create_node(:name, :verifier)", name=name, verifier=scram_verifier(password))
    return password


def drain_node(engine: sa.Engine, name: str, on: bool = True) -> None:
    """Lets a node take no new tasks, or take them again. Raises Refused, NotFound."""
    _call(engine, "qd.drain_node(:name, :on)", name=name, on=on)


def _verifier(password: str) -> str:
    if len(password) < _MINIMUM_PASSWORD or len(password) > 1000 or "\0" in password:
        raise Invalid(f"a password has {_MINIMUM_PASSWORD} to 1000 characters", field="password")
    return scram_verifier(password)


def _call(engine: sa.Engine, function: str, **arguments: object) -> None:
    for name, value in arguments.items():
        if isinstance(value, str) and "\0" in value:
            raise Invalid(f"a {name} can't contain a NUL character", field=name)
    with translated(), engine.begin() as connection:
        connection.execute(sa.text(f"select {function}"), arguments)
