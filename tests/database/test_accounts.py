"""Accounts of people and nodes: who makes them, which names are good, and what a closed one can do."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from quarterdeck import admin
from quarterdeck.admin import User
from quarterdeck.database import engine, translated
from quarterdeck.errors import Conflict, Disconnected, Invalid, NotFound, Refused

if TYPE_CHECKING:
    from conftest import Database

pytestmark = pytest.mark.spec("G5", "C1")


@pytest.fixture
def accounts(database: Database) -> Iterator[Database]:
    """The database; logins that the test makes are dropped with it: they belong to the server."""
    logins = "select rolname from pg_roles where rolname !~ '^(pg|qd)_'"
    before = {row[0] for row in database.sql("postgres", logins)}
    yield database
    for (name,) in database.sql("postgres", logins):
        if name not in before:
            database.sql("postgres", f'drop owned by "{name}"')
            database.sql("postgres", f'drop role "{name}"')


def sign_in(database: Database, name: str, password: str) -> str:
    made = engine(dataclasses.replace(database.login("alice"), user=name, password=password))
    try:
        with translated(), made.connect() as connection:
            return str(connection.execute(sa.text("select login || ' ' || is_admin from qd.whoami()")).scalar_one())
    finally:
        made.dispose()


@pytest.mark.parametrize("name", ["carol", "root", "a.b-c", "x", "quant_1", "nodes", "user", "all"])
def test_a_new_user_signs_in_at_once(accounts: Database, name: str) -> None:
    admin.create_user(accounts.engine("boss"), name, "correct horse")
    assert sign_in(accounts, name, "correct horse") == f"{name} false"
    assert User(name=name, admin=False, enabled=True) in admin.list_users(accounts.engine("boss"))
    with pytest.raises(Conflict, match=re.escape(f"already has a login named {name}")):
        admin.create_user(accounts.engine("boss"), name, "correct horse")


def test_a_new_administrator_manages_accounts(accounts: Database) -> None:
    admin.create_user(accounts.engine("boss"), "chief", "pässwörd ﬁ✓", admin=True)
    assert sign_in(accounts, "chief", "pässwörd ﬁ✓") == "chief true"
    made = engine(dataclasses.replace(accounts.login("boss"), user="chief", password="pässwörd ﬁ✓"))
    admin.create_user(made, "carol", "correct horse")
    made.dispose()
    record = accounts.sql("boss", "select actor, action, detail from qd.audit order by id desc limit 1")
    assert record == [("chief", "create_user", {"name": "carol", "admin": False})]


_RESERVED = ("pg_x", "qd_x", "qd_admin", "node_x", "node_n1", "public", "none")
_ILL_FORMED = ("", "Carol", "1x", "-x", "a b", "x" * 32, 'x"; drop', "*admins", "a\nb", "a\0b", "ä")


@pytest.mark.spec("G4")
@pytest.mark.parametrize("name", [*_RESERVED, *_ILL_FORMED])
def test_names_that_nobody_gets(accounts: Database, name: str) -> None:
    with pytest.raises(Invalid) as caught:
        admin.create_user(accounts.engine("boss"), name, "correct horse")
    assert caught.value.field == "name"


def test_the_superuser_and_groups_are_no_users(accounts: Database) -> None:
    boss = accounts.engine("boss")
    with pytest.raises(Conflict):
        admin.create_user(boss, "postgres", "correct horse")
    for name in ("postgres", "qd_owner", "qd_accounts", "qd_admin", "node_n1", "absent", "pg_signal_backend"):
        for act in (admin.disable_user, admin.enable_user, lambda e, n: admin.set_password(e, n, "correct horse")):
            with pytest.raises(NotFound, match="There is no user named"):
                act(boss, name)


@pytest.mark.spec("R3")
def test_only_an_administrator_manages_accounts(accounts: Database) -> None:
    for user in ("alice", "node_n1"):
        made = accounts.engine(user)
        with pytest.raises(Refused):
            admin.create_user(made, "carol", "correct horse")
        with pytest.raises(Refused):
            admin.set_password(made, "bob", "correct horse")
        with pytest.raises(Refused):
            admin.disable_user(made, "bob")
        with pytest.raises(Refused):
            admin.enable_user(made, "bob")
        with pytest.raises(Refused):
            admin.create_node(made, "n1")
        with pytest.raises(Refused):
            admin.drain_node(made, "n1")
        with pytest.raises(Refused):
            admin.list_users(made)


def test_a_password_is_never_sent_in_clear(accounts: Database) -> None:
    seen: list[str] = []
    boss = accounts.engine("boss")
    sa.event.listen(boss, "before_cursor_execute", lambda *a: seen.append(f"{a[2]} {a[3]}"))
    admin.create_user(boss, "carol", "correct horse")
    admin.set_password(boss, "carol", "battery staple")
    password = admin.create_node(boss, "n7")
    assert sum("SCRAM-SHA-256$" in one for one in seen) == 3
    for secret in ("correct horse", "battery staple", password):
        assert secret not in " ".join(seen)
    assert sign_in(accounts, "carol", "battery staple") == "carol false"
    for bad in ("clear text", "md5" + "0" * 32, "SCRAM-SHA-256$4096:salt$x:y", ""):
        with pytest.raises(Invalid, match="SCRAM verifier"):
            accounts.sql("boss", "select qd.set_verifier('carol', :v)", v=bad)


@pytest.mark.parametrize("password", ["", "short", "x" * 1001, "nul\0nul\0"])
def test_passwords_that_are_not_taken(accounts: Database, password: str) -> None:
    with pytest.raises(Invalid) as caught:
        admin.create_user(accounts.engine("boss"), "carol", password)
    assert caught.value.field == "password"


def test_a_disabled_account_is_out_at_once(accounts: Database) -> None:
    boss = accounts.engine("boss")
    admin.create_user(boss, "carol", "correct horse")
    login = dataclasses.replace(accounts.login("alice"), user="carol", password="correct horse")
    made = engine(login)
    try:
        with translated(), made.connect() as connection:
            connection.execute(sa.text("select 1"))
            admin.disable_user(boss, "carol")
            with pytest.raises(sa.exc.OperationalError, match="terminating connection"):
                connection.execute(sa.text("select 1"))
        with pytest.raises(Disconnected, match="this account is disabled"), translated():
            made.connect()
    finally:
        made.dispose()
    assert User(name="carol", admin=False, enabled=False) in admin.list_users(boss)
    admin.enable_user(boss, "carol")
    assert sign_in(accounts, "carol", "correct horse") == "carol false"
    with pytest.raises(Conflict, match="your own account"):
        admin.disable_user(boss, "boss")


def test_a_node_gets_a_new_password_and_its_old_agent_is_out(accounts: Database) -> None:
    boss = accounts.engine("boss")
    first = admin.create_node(boss, "n7")
    made = engine(dataclasses.replace(accounts.login("alice"), user="node_n7", password=first))
    try:
        with translated(), made.connect() as connection:
            found = connection.execute(sa.text("select qd.register_node(2, '{}', 'h', '0', 2, 1)")).scalar_one()
            assert found == "n7"
            assert connection.execute(sa.text("show search_path")).scalar_one() == "queue, pg_catalog"
            second = admin.create_node(boss, "n7")
            with pytest.raises(sa.exc.OperationalError, match="terminating connection"):
                connection.execute(sa.text("select 1"))
        assert second != first
        with pytest.raises(Disconnected, match="password is wrong"), translated():
            made.connect()
    finally:
        made.dispose()
    assert sign_in(accounts, "node_n7", second) == "node_n7 false"
    for name in ("", "N7", "a_b", "-a", "x" * 31, "n.7"):
        with pytest.raises(Invalid, match="A node's name"):
            admin.create_node(boss, name)
    with pytest.raises(NotFound, match="no node named 'n9' that is up"):
        admin.drain_node(boss, "n9")
