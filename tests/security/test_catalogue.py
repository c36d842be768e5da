"""The catalogue says that nothing was forgotten: row security, policies, search paths, and the exact list of grants."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from conftest import Database

pytestmark = pytest.mark.spec("R3")

Connection = psycopg.Connection[tuple[str]]


def _found(connection: Connection, query: str) -> set[str]:
    return {row[0] for row in connection.execute(query.encode())}


def unprotected_tables(connection: Connection) -> set[str]:
    """Tables of qd without row security, without a policy, or of an owner that people could be."""
    return _found(
        connection,
        """
        select c.oid::regclass::text from pg_class as c
         where c.relnamespace = 'qd'::regnamespace and c.relkind in ('r', 'p', 'f')
           and not (c.relrowsecurity and exists (select from pg_policy as p where p.polrelid = c.oid)
                    and c.relowner = 'qd_owner'::regrole)
        """,
    )


def leaking_views(connection: Connection) -> set[str]:
    """Views that show their owner's rows, and materialized views, which know no row security."""
    return _found(
        connection,
        """
        select c.oid::regclass::text from pg_class as c
         where c.relnamespace::regnamespace::text in ('qd', 'queue')
           and (c.relkind = 'm' or (c.relkind = 'v'
                and not coalesce('security_invoker=true' = any (c.reloptions), false)))
        """,
    )


def careless_functions(connection: Connection) -> set[str]:
    """Functions that look names up on their caller's search path, or that everybody may call.

    One with an SQL-standard body that runs with its caller's rights needs no search path: its names are bound.
    """
    return _found(
        connection,
        """
        select p.oid::regprocedure::text from pg_proc as p
         where p.pronamespace::regnamespace::text in ('qd', 'queue')
           and ((not (p.prosqlbody is not null and not p.prosecdef)
                 and coalesce(p.proconfig @> case when p.pronamespace = 'qd'::regnamespace
                                then array['search_path=pg_catalog, pg_temp']
                                else array['search_path=queue, pg_catalog, pg_temp'] end, false) is false)
                or exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
                            where a.grantee = 0))
        """,
    )


def functions_of_strangers(connection: Connection) -> set[str]:
    """Functions that run with the rights of anyone but the three owners."""
    return _found(
        connection,
        """
        select p.oid::regprocedure::text from pg_proc as p
         where p.pronamespace::regnamespace::text in ('qd', 'queue')
           and p.proowner::regrole::text not in ('qd_owner', 'qd_queue', 'qd_accounts')
        """,
    )


def grants(connection: Connection) -> set[str]:
    """All rights in qd and queue that anybody but the owner has, as 'grantee: RIGHT on thing'."""
    return _found(
        connection,
        """
        with acl as (
          select c.oid::regclass::text as thing, c.relowner as owner, a.*
            from pg_class as c, aclexplode(c.relacl) as a where c.relnamespace::regnamespace::text in ('qd', 'queue')
          union all
          select c.oid::regclass::text || '.' || t.attname, c.relowner, a.*
            from pg_attribute as t join pg_class as c on c.oid = t.attrelid, aclexplode(t.attacl) as a
           where c.relnamespace::regnamespace::text in ('qd', 'queue')
          union all
          select p.pronamespace::regnamespace::text || '.' || p.proname || '()', p.proowner, a.*
            from pg_proc as p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as a
           where p.pronamespace::regnamespace::text in ('qd', 'queue')
          union all
          select 'schema ' || n.nspname, n.nspowner, a.*
            from pg_namespace as n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) as a
           where n.nspname in ('qd', 'queue', 'public')
          union all
          select 'this database', d.datdba, a.*
            from pg_database as d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) as a
           where d.datname = current_database())
        select case when grantee = 0 then 'PUBLIC' else grantee::regrole::text end
               || ': ' || privilege_type || ' on ' || thing
               || case when is_grantable then ' WITH GRANT OPTION' else '' end
          from acl where grantee <> owner
        """,
    )


def _words(text: str) -> list[str]:
    return text.split()


_READ_BY_PEOPLE = _words("""
    job job_detail task attempt log_chunk dataset result_table result_block template node channel tombstone
""")
_CALLED_BY_PEOPLE = _words("""
    my_channels job_actions submit_job terminate_job delete_jobs delete_results why_waiting drop_dataset save_template
    delete_template list_nodes
""")
_CALLED_BY_ADMINS = _words("create_user set_verifier disable_user enable_user list_users create_node drain_node")
_CALLED_BY_NODES = _words("""
    register_node node_heartbeat unregister_node queue_channels open_attempts start_task task_process write_log
    set_progress open_table write_block close_table end_task reap task_dataset task_result task_blocks
""")
_QUEUE_CALLED_BY_NODES = _words("""
    register_worker_v1 unregister_worker_v1 update_heartbeat_v1 prune_stalled_workers_v1 fetch_job_v2 finish_job_v1
""")
_GROUPS = ("qd_user", "qd_admin", "qd_node")

GRANTS = (
    {f"{group}: SELECT on qd.{table}" for group in ("qd_user", "qd_admin") for table in _READ_BY_PEOPLE}
    | {"qd_admin: SELECT on qd.audit"}
    | {f"{group}: EXECUTE on qd.{name}()" for group in ("qd_user", "qd_admin") for name in _CALLED_BY_PEOPLE}
    | {f"{group}: EXECUTE on qd.{name}()" for group in _GROUPS for name in ("whoami", "schema_version")}
    | {f"qd_admin: EXECUTE on qd.{name}()" for name in _CALLED_BY_ADMINS}
    | {f"qd_node: EXECUTE on qd.{name}()" for name in _CALLED_BY_NODES}
    | {f"qd_node: EXECUTE on queue.procrastinate_{name}()" for name in _QUEUE_CALLED_BY_NODES}
    | {f"qd_node: SELECT on queue.procrastinate_jobs.{c}" for c in ("id", "status", "abort_requested", "queue_name")}
    | {f"qd_accounts: EXECUTE on qd.{name}()" for name in ("note_account", "note_node", "note_draining")}
    | {"qd_owner: EXECUTE on qd.close_idle_sessions()"}
    | {f"qd_owner: EXECUTE on queue.{name}()" for name in (
        "procrastinate_defer_jobs_v1", "procrastinate_cancel_job_v1", "channel")}
    | {f"qd_owner: {right} on queue.procrastinate_jobs" for right in ("SELECT", "DELETE", "UPDATE")}
    | {"qd_owner: SELECT on queue.procrastinate_workers"}
    | {f"{role}: USAGE on schema qd" for role in ("qd_user", "qd_admin", "qd_node", "qd_accounts")}
    | {f"{role}: USAGE on schema queue" for role in ("qd_node", "qd_owner")}
    | {f"{group}: CONNECT on this database" for group in _GROUPS}
)  # fmt: skip


def test_every_table_has_row_security_and_a_policy(database: Database) -> None:
    assert unprotected_tables(database.connect("postgres")) == set()


def test_no_view_shows_its_owners_rows(database: Database) -> None:
    assert leaking_views(database.connect("postgres")) == set()


def test_every_function_has_a_fixed_search_path_and_is_closed_to_the_public(database: Database) -> None:
    connection = database.connect("postgres")
    assert careless_functions(connection) == set()
    assert functions_of_strangers(connection) == set()


def test_grants_are_exactly_these(database: Database) -> None:
    granted = grants(database.connect("postgres"))
    public_schema = {one for one in granted if one.endswith("on schema public")}
    assert granted - public_schema == GRANTS
    assert not {one for one in public_schema if one.startswith("PUBLIC")}


def test_no_function_is_overloaded(database: Database) -> None:
    """So that a name in the list above is one function."""
    names = database.sql(
        "postgres", "select proname from pg_proc where pronamespace::regnamespace::text in ('qd', 'queue')"
    )
    assert len(names) == len(set(names)) > 60


@pytest.mark.parametrize(
    ("mistake", "check"),
    [
        ("create table qd.forgotten (id int)", unprotected_tables),
        ("create table qd.forgotten (id int); alter table qd.forgotten enable row level security", unprotected_tables),
        ("set role qd_owner; create table qd.forgotten (id int); reset role", unprotected_tables),
        ("create view qd.leak as select * from qd.job", leaking_views),
        ("create materialized view qd.leak as select * from qd.job", leaking_views),
        ("create function qd.careless() returns int language sql as 'select 1'", careless_functions),
        (
            "create function qd.careless() returns int language sql set search_path = pg_catalog, pg_temp return 1",
            careless_functions,
        ),
        ("create function qd.careless() returns int language sql security definer return 1", careless_functions),
        ("alter function queue.procrastinate_fetch_job_v2 reset search_path", careless_functions),
        ("create function qd.powerful() returns int language sql as 'select 1'", functions_of_strangers),
    ],
)
def test_the_checks_find_what_was_forgotten(
    database: Database, mistake: str, check: Callable[[Connection], set[str]]
) -> None:
    connection = database.connect("postgres")
    before = check(connection)
    connection.execute(mistake.encode())
    assert before == set()
    assert len(check(connection)) == 1


@pytest.mark.parametrize(
    "mistake",
    [
        "grant insert on qd.job to qd_user",
        "grant select (params) on qd.job_detail to public",
        "grant execute on function qd.end_task to qd_user",
        "grant select on qd.job to qd_node",
        "grant usage on schema queue to qd_user",
        "grant temporary on database {} to qd_user",
        "grant usage on schema public to public",
    ],
)
def test_a_further_grant_is_found(database: Database, mistake: str) -> None:
    connection = database.connect("postgres")
    before = grants(connection)
    connection.execute(mistake.format(database.name).encode())
    assert len(grants(connection) - before) == 1


def test_groups_and_owners_can_not_sign_in(database: Database) -> None:
    rows = database.sql(
        "postgres",
        "select rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles"
        " where rolname like 'qd\\_%' order by 1",
    )
    assert [row[0] for row in rows] == ["qd_accounts", "qd_admin", "qd_node", "qd_owner", "qd_queue", "qd_user"]
    assert [row[0] for row in rows if row[4]] == ["qd_accounts"]
    assert not any(any(row[i] for i in (1, 2, 3, 5, 6)) for row in rows)


def test_people_and_nodes_are_in_one_group_each_and_have_no_attribute(database: Database) -> None:
    rows = database.sql(
        "postgres",
        "select r.rolname, array_agg(g.rolname::text), bool_or(m.admin_option), bool_or(r.rolsuper or r.rolbypassrls or"
        " r.rolcreaterole or r.rolcreatedb or r.rolreplication) from pg_roles r"
        " join pg_auth_members m on m.member = r.oid join pg_roles g on g.oid = m.roleid"
        " where r.rolname in ('alice', 'bob', 'boss', 'node_n1', 'node_n2') group by 1 order by 1",
    )
    assert [tuple(row) for row in rows] == [
        ("alice", ["qd_user"], False, False),
        ("bob", ["qd_user"], False, False),
        ("boss", ["qd_admin"], False, False),
        ("node_n1", ["qd_node"], False, False),
        ("node_n2", ["qd_node"], False, False),
    ]
