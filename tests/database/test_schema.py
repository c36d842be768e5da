"""The schema is made, upgraded, and says its version."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from quarterdeck import admin, schema
from quarterdeck.errors import Refused

if TYPE_CHECKING:
    from conftest import Database


def test_the_newest_revision_is_the_one_named() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.REVISIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.REVISION]


def test_every_file_of_functions_is_applied() -> None:
    folder = schema.REVISIONS.parent / "functions"
    assert sorted(file.stem for file in folder.glob("*.sql")) == sorted(schema.FUNCTIONS)


def test_whoami_tells_login_role_and_version(database: Database) -> None:
    for user, is_admin in (("alice", False), ("boss", True)):
        (row,) = database.sql(user, "select login, is_admin, schema_version, server_time - now() from qd.whoami()")
        assert row[:3] == (user, is_admin, admin.SCHEMA_VERSION)
        assert abs(row[3].total_seconds()) < 5


def test_an_upgrade_keeps_rows_and_replaces_functions_and_policies(database: Database) -> None:
    job = database.submit("alice")
    with database.connect("postgres") as connection:
        connection.execute("drop function qd.why_waiting(bigint)")
        connection.execute("create policy left_over on qd.task for select to qd_user using (true)")
        connection.execute("create function qd.left_over() returns int language sql return 1")
        connection.execute("grant insert, select on qd.audit to qd_user")
    assert admin.upgrade_schema(database.engine("postgres")) == admin.SCHEMA_VERSION
    assert database.value("alice", "select qd.why_waiting(:job)", job=job) == "waits for a node: none is up"
    assert database.value("postgres", "select count(*) from pg_policy where polname = 'left_over'") == 0
    assert database.value("postgres", "select count(*) from pg_proc where proname = 'left_over'") == 0
    with pytest.raises(Refused):
        database.sql("alice", "select * from qd.audit")
    # triggers are back too
    assert database.value("alice", "select count(*) from qd.task where creator = 'alice'") == 1
    assert database.submit("alice", 3) > job


def test_function_bodies_are_valid(database: Database) -> None:
    """Bodies are not checked while the files are applied (their order is free): PostgreSQL checks them here."""
    with database.connect("postgres", autocommit=False) as connection:
        connection.execute("set local check_function_bodies = on")
        found = connection.execute(
            "select pg_get_functiondef(oid) from pg_proc where pronamespace::regnamespace::text in ('qd', 'queue')"
        ).fetchall()
        assert len(found) > 60
        for (definition,) in found:
            connection.execute(definition.encode())
        connection.rollback()


def test_only_a_superuser_makes_the_schema(database: Database) -> None:
    with pytest.raises(Refused, match="only a superuser"):
        admin.create_schema(database.engine("boss"))


def test_no_extension_but_plpgsql(database: Database) -> None:
    assert database.sql("postgres", "select extname from pg_extension") == [("plpgsql",)]


def test_a_clone_is_closed_to_everybody_else(database: Database) -> None:
    with database.connect("postgres") as connection:
        name = f"stranger_{database.name}"
        connection.execute(f"create role {name} login password 'stranger1'".encode())
        try:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(
                    host="127.0.0.1", port=database.port, dbname=database.name, user=name, password="stranger1"
                )
        finally:
            connection.execute(f"drop role {name}".encode())
