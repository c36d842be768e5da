"""What a hostile person can do with templates: nothing to others' rows, and nothing to others' machines (R3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors

from quarterdeck.client import Client
from quarterdeck.errors import Invalid, NotFound
from quarterdeck.report import Frames, JobTables

if TYPE_CHECKING:
    from tests.conftest import Database

pytestmark = pytest.mark.spec("R2", "R3")

SECRET = "the_secret_of_alice"

GOOD: dict[str, Any] = {
    "name": "shared",
    "title": "Shared",
    "sources": {"s": {"table": "factor"}},
    "panels": [
        {"id": "p", "type": "line", "source": "s", "fields": {"x": "time", "y": ["value"]}, "place": {"row": 0}}
    ],
}


def save(database: Database, person: str, document: dict[str, Any], *, public: bool) -> None:
    """Past the client, as anybody with an SQL tool can."""
    database.sql(
        person,
        "select qd.save_template(:name, cast(:document as jsonb), :public)",
        name=document["name"],
        document=json.dumps(document).replace('"DEEP"', "[" * 3_000 + "]" * 3_000),
        public=public,
    )


@pytest.fixture
def bob(database: Database) -> Iterator[psycopg.Connection[Any]]:
    save(database, "alice", {**GOOD, "name": "private", "title": SECRET}, public=False)
    save(database, "alice", GOOD, public=True)
    yield database.connect("bob")
    rows = database.sql("postgres", "select name, creator, title, is_public from qd.template where creator = 'alice'")
    assert {tuple(row) for row in rows} == {
        ("private", "alice", SECRET, False),
        ("shared", "alice", "Shared", True),
    }


def test_others_private_templates_do_not_exist(bob: psycopg.Connection[Any]) -> None:
    assert bob.execute("select name, creator from qd.template").fetchall() == [("shared", "alice")]
    # neither by a condition that tells by an error or by time, nor by counting, nor by an id
    for attack in (
        "select count(*) from qd.template where title like '%secret%'",
        "select count(*) from qd.template where 1 / (case when not is_public then 0 else 1 end) > 1",
        "select count(*) from qd.template as t where (t.document ->> 'title')::text ~ 'secret'",
    ):
        row = bob.execute(attack.encode()).fetchone()
        assert row == (0,), attack
    for name, state in (("private", "QD004"), ("shared", "QD001"), ("nothing", "QD004")):
        with pytest.raises(psycopg.Error) as caught:
            bob.execute("select qd.delete_template(%s, 'alice')", (name,))
        assert caught.value.sqlstate == state
        assert SECRET not in str(caught.value)
    with pytest.raises(psycopg.Error) as caught:
        bob.execute("select qd.delete_template('private')")
    assert caught.value.sqlstate == "QD004"


def test_nothing_is_written_past_the_functions(bob: psycopg.Connection[Any]) -> None:
    for attack in (
        "insert into qd.template (creator, name, title, document) values ('alice', 'x', 'x', '{}')",
        "insert into qd.template (creator, name, title, document) values ('bob', 'x', 'x', '{}')",
        "update qd.template set title = 'mine'",
        "update qd.template set is_public = true",
        "delete from qd.template",
        "truncate qd.template",
        "select * from qd.template for update",
        "do $$ begin lock table qd.template in exclusive mode nowait; end $$",
        "copy qd.template from stdin",
        "alter table qd.template disable row level security",
        "create policy p on qd.template using (true)",
        "create trigger t before insert on qd.template execute function qd.is_admin()",
        "drop table qd.template",
        "alter function qd.save_template owner to bob",
        "create or replace function qd.save_template(name text, document jsonb, public boolean default false)"
        " returns bigint language sql as 'select 1'",
    ):
        with pytest.raises((errors.InsufficientPrivilege, errors.InvalidFunctionDefinition)):
            bob.execute(attack.encode())


def test_a_template_is_always_its_savers(database: Database, bob: psycopg.Connection[Any]) -> None:
    document = json.dumps({**GOOD, "creator": "alice", "id": 1})
    bob.execute("select set_config('session.user', 'alice', false)")
    bob.execute("select qd.save_template('shared', %s, true)", (document,))
    # a search path of one's own changes no function
    bob.execute("set search_path = pg_temp, public, qd")
    bob.execute("select qd.save_template('other', %s, true)", (json.dumps({**GOOD, "name": "other"}),))
    rows = database.sql("postgres", "select creator, name from qd.template where creator <> 'alice' order by name")
    assert [tuple(row) for row in rows] == [("bob", "other"), ("bob", "shared")]


@pytest.mark.spec("G4")
def test_a_strangers_document_is_refused_or_harmless(database: Database, bob: psycopg.Connection[Any]) -> None:
    """Public documents are opened by others: whatever was stored, the reader gets a sentence."""
    traps: dict[str, dict[str, Any]] = {
        "code": {"sources": {"s": {"table": "f", "derive": {"x": "__import__('os').system('true')"}}}},
        "attribute": {"sources": {"s": {"table": "f", "where": "value.__class__ == 1"}}},
        "call": {"sources": {"s": {"table": "f", "where": 'open("/etc/passwd") == 1'}}},
        "deep": {"sources": {"s": {"table": "f", "columns": "DEEP"}}},
        "long": {"sources": {"s": {"table": "f", "where": "1 < " + "9" * 9_000}}},
        "nested": {"sources": {"s": {"table": "f", "where": "(" * 900 + "1 < 2" + ")" * 900}}},
        "many": {"panels": [{**GOOD["panels"][0], "id": f"p{n}"} for n in range(5_000)]},
        "circle": {"sources": {"s": {"source": "t"}, "t": {"source": "s"}}},
        "number": {"version": 10**4000},
        "types": {"panels": {"0": None}, "sources": [1]},
        "control": {"title": "\x1b]0;owned\x07", "sources": {}},
        "unknown": {"script": "alert(1)"},
    }
    with Client.sign_in(database.login("alice")) as alice:
        for name, trap in traps.items():
            save(database, "bob", {**GOOD, "name": name, **trap}, public=True)
            with pytest.raises(Invalid) as caught:
                alice.template(f"bob.{name}")
            assert str(caught.value).startswith(f"template 'bob.{name}' of bob can't be used: "), name
            assert len(str(caught.value)) < 600
            assert str(caught.value).isprintable(), name
        assert {one.name for one in alice.templates() if one.creator == "bob"} == set(traps)


def test_a_strangers_template_reads_with_ones_own_rights_only(database: Database, bob: psycopg.Connection[Any]) -> None:
    """It may name any job and table: who opens it sees of them what he may see, and its author sees nothing."""
    job = database.submit("alice")
    trap = {**GOOD, "name": "look", "sources": {"s": {"table": "factor", "job": job}}}
    save(database, "boss", trap, public=True)
    with Client.sign_in(database.login("bob")) as client:
        panel = Frames(client.template("look"), JobTables(client)).read().panels["p"]
        assert panel.problem == f"Job {job} has no table 'factor', nor any other that you may see."
        with pytest.raises(NotFound, match="there is no template 'private'"):
            client.template("private")
