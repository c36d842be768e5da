"""Templates in a real database: saved, listed, read back and deleted through the client (V3); upgrades bring them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from quarterdeck import admin, schema
from quarterdeck.client import Client
from quarterdeck.errors import Conflict, Invalid, NotFound, Refused
from quarterdeck.report import builtins, dump, load

if TYPE_CHECKING:
    from tests.conftest import Database

pytestmark = pytest.mark.spec("V3")


def document(name: str = "mine", title: str = "My report", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "title": title,
        "kinds": ["factor"],
        "sources": {"factor": {"table": "factor", "where": "value > 0 and symbol != 'Ä \"x\"'"}},
        "panels": [
            {
                "id": "line",
                "type": "line",
                "source": "factor",
                "fields": {"x": "time", "y": ["value"]},
                "options": {"baseline": 0.1},
                "place": {"row": 0},
            }
        ],
        **more,
    }


@pytest.fixture
def alice(database: Database) -> Iterator[Client]:
    with Client.sign_in(database.login("alice")) as client:
        yield client


@pytest.fixture
def bob(database: Database) -> Iterator[Client]:
    with Client.sign_in(database.login("bob")) as client:
        yield client


@pytest.fixture
def boss(database: Database) -> Iterator[Client]:
    with Client.sign_in(database.login("boss")) as client:
        yield client


def test_a_template_comes_back_as_it_was_saved(alice: Client) -> None:
    saved = alice.save_template(document())
    assert alice.template("mine") == saved == load(json.dumps(document()))
    assert alice.template("alice.mine") == saved
    (stored,) = [one for one in alice.templates() if not one.builtin]
    assert (stored.name, stored.title, stored.kinds, stored.creator, stored.public) == (
        "mine", "My report", ("factor",), "alice", False,
    )  # fmt: skip
    assert stored.created is not None
    assert stored.updated is not None
    assert abs(stored.updated - stored.created) < dt.timedelta(seconds=10)
    # a text, a template, or JSON's values
    assert alice.save_template(dump(saved)) == alice.save_template(saved) == saved


def test_saving_again_replaces(alice: Client) -> None:
    alice.save_template(document(), public=True)
    alice.save_template(document(title="Another", kinds=[]))
    (stored,) = [one for one in alice.templates() if not one.builtin]
    assert (stored.title, stored.public, stored.kinds) == ("Another", False, ())
    assert stored.updated is not None
    assert stored.created is not None
    assert stored.updated > stored.created
    assert alice.template("mine").title == "Another"


def test_own_comes_before_public_and_public_ones_are_named_by_their_creators(
    alice: Client, bob: Client, boss: Client
) -> None:
    alice.save_template(document(title="of alice"), public=True)
    assert bob.template("mine").title == "of alice"
    boss.save_template(document(title="of boss"), public=True)
    with pytest.raises(NotFound, match=r"several people have a public template 'mine': name one of alice.mine, boss"):
        bob.template("mine")
    assert bob.template("boss.mine").title == "of boss"
    bob.save_template(document(title="of bob"))
    assert bob.template("mine").title == "of bob"
    assert [one.creator for one in bob.templates() if one.name == "mine"] == ["alice", "bob", "boss"]


def test_private_ones_are_nobody_elses_but_admins(alice: Client, bob: Client, boss: Client) -> None:
    alice.save_template(document("quiet"))
    assert [one.name for one in bob.templates() if not one.builtin] == []
    with pytest.raises(NotFound, match=r"there is no template 'alice\.quiet'"):
        bob.template("alice.quiet")
    with pytest.raises(NotFound, match="There is no template quiet that you may see"):
        bob.delete_template("quiet")
    assert boss.template("alice.quiet").name == "quiet"
    with pytest.raises(NotFound, match="there is no template 'quiet'"):
        boss.template("quiet")  # a private one is only found by its creator's name


def test_deletion_is_the_creators_and_admins_and_recorded(alice: Client, bob: Client, boss: Client) -> None:
    alice.save_template(document(), public=True)
    with pytest.raises(Refused, match="Template mine belongs to alice: only its creator or an administrator"):
        bob.delete_template("alice.mine")
    boss.delete_template("alice.mine")
    with pytest.raises(NotFound, match="There is no template mine that you may see"):
        alice.delete_template("mine")
    alice.save_template(document())
    alice.delete_template("mine")
    assert [one for one in alice.templates() if not one.builtin] == []
    entries = [one for one in boss.audit() if one.action == "delete_template"]
    assert [(one.person, one.subject, one.detail["creator"], one.title) for one in entries] == [
        ("alice", "mine", "alice", "Delete template"),
        ("boss", "mine", "alice", "Delete template"),
    ]


def test_built_in_ones_are_there_and_stay(alice: Client, bob: Client, database: Database) -> None:
    assert [one.name for one in alice.templates() if one.builtin] == sorted(builtins())
    assert alice.template("factor") == builtins()["factor"]
    with pytest.raises(Invalid, match="'factor' is the name of a template that comes with Quarterdeck"):
        alice.save_template(document("factor"))
    with pytest.raises(Refused, match="comes with Quarterdeck and can't be deleted"):
        alice.delete_template("factor")
    # one that was stored past the client takes nobody's place
    database.sql(
        "alice",
        "select qd.save_template('factor', cast(:d as jsonb), true)",
        d=json.dumps(document("factor", "A trap")),
    )
    assert bob.template("factor") == builtins()["factor"]
    assert bob.template("alice.factor").title == "A trap"


@pytest.mark.spec("G4")
def test_what_cannot_be_used_is_refused_in_a_sentence(alice: Client, database: Database) -> None:
    with pytest.raises(Invalid, match="unknown source 'nowhere'"):
        alice.save_template(document(panels=[{**document()["panels"][0], "source": "nowhere"}]))
    save = "select qd.save_template(:name, cast(:document as jsonb), :public)"
    good = {"name": "x", "title": "X"}
    for name, given, public, said in (
        ("", good, True, "A template's name has up to 63"),
        ("../x", good, True, "A template's name has up to 63"),
        ("a" * 64, good, True, "A template's name has up to 63"),
        (None, good, True, "A template's name has up to 63"),
        ("y", good, True, "Template y can't be stored"),
        ("x", [], True, "Template x can't be stored"),
        ("x", None, True, "Template x can't be stored"),
        ("x", {"name": "x"}, True, "Template x can't be stored"),
        ("x", {"name": "x", "title": ""}, True, "Template x can't be stored"),
        ("x", {"name": "x", "title": "X" * 201}, True, "Template x can't be stored"),
        ("x", {**good, "kinds": "factor"}, True, "Template x can't be stored"),
        ("x", good, None, "Template x can't be stored"),
        ("x", {**good, "panels": "x" * 1_000_000}, True, "Template x is larger than 1 MB"),
    ):
        with pytest.raises(Invalid, match=said):
            database.sql("alice", save, name=name, document=json.dumps(given), public=public)
    assert [one for one in alice.templates() if not one.builtin] == []
    database.sql("alice", save, name="x", document=json.dumps({**good, "sources": {}}), public=True)
    with pytest.raises(Invalid, match=r"template 'x' of alice can't be used: sources: .*at least 1"):
        alice.template("x")


def test_nobody_fills_the_table(alice: Client, database: Database) -> None:
    with database.connect("postgres") as connection:
        connection.execute(
            "insert into qd.template (creator, name, title, document)"
            " select 'alice', 't' || n, 't', '{}' from generate_series(1, 1000) as n"
        )
    with pytest.raises(Conflict, match="You have 1,000 templates"):
        alice.save_template(document())
    alice.save_template(document("t1"))  # what is there can be replaced
    alice.delete_template("t2")
    alice.save_template(document())


def _at_revision(engine: sa.Engine, revision: str) -> None:
    """The tables as that revision left them, with a row in one of them."""
    with admin._script(engine) as (connection, cursor):
        cursor.execute("drop schema qd cascade")
        cursor.execute(admin._PREPARE.encode())
        cursor.execute("set local role qd_owner")
        config = Config()
        config.set_main_option("script_location", str(schema.REVISIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        cursor.execute("reset role; insert into qd.dataset (creator, name) values ('alice', 'prices')")


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_an_existing_database_gets_them_by_an_upgrade(database: Database, revision: str) -> None:
    superuser = database.engine("postgres")
    _at_revision(superuser, revision)
    there = "select to_regclass('qd.template') is not null"
    assert database.value("postgres", there) is (revision != "0001")
    assert admin.upgrade_schema(superuser) == admin.SCHEMA_VERSION
    assert database.value("postgres", "select version_num from qd.alembic_version") == schema.REVISION
    with Client.sign_in(database.login("alice")) as alice:
        assert [one.name for one in alice.datasets()] == ["prices"]
        alice.save_template(document())
        assert alice.template("mine").title == "My report"
        with pytest.raises(Refused):
            database.sql(
                "alice", "insert into qd.template (creator, name, title, document) values ('bob', 'x', 'x', '{}')"
            )
        assert admin.upgrade_schema(superuser) == admin.SCHEMA_VERSION  # and again, with rows in it
        assert alice.template("mine").title == "My report"
