"""The cluster through the client: nodes, what runs and waits there, draining; and the audit of every act."""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from quarterdeck import admin
from quarterdeck.audit import ACTIONS, Entry, Selection
from quarterdeck.client import Client
from quarterdeck.errors import Invalid, NotFound, Refused

if TYPE_CHECKING:
    from conftest import Database

SignIn = Callable[[str], Client]


@pytest.fixture
def client(database: Database) -> Iterator[SignIn]:
    made: list[Client] = []

    def sign_in(user: str) -> Client:
        made.append(Client.sign_in(database.login(user)))
        return made[-1]

    yield sign_in
    for one in made:
        one.close()


def up(database: Database, node: str = "n1", slots: int = 2) -> None:
    database.sql(f"node_{node}", "select qd.register_node(:s, '{gpu}', 'box', '1.2', 8, 16000)", s=slots)
    database.sql(f"node_{node}", "select qd.node_heartbeat(1.5, 4000)")


@pytest.mark.spec("Y6", "R2")
def test_a_user_sees_his_own_tasks_on_each_node_and_of_others_only_the_number(
    database: Database, client: SignIn
) -> None:
    mine = database.submit("alice", [{"name": "first"}, {"name": "second"}], name="momentum")
    theirs = database.submit("bob", 1, name="secret of bob", public=True)
    for task in (database.tasks(mine)[1], *database.tasks(theirs)):
        database.start("n1", task)
    up(database)
    seen = client("alice").cluster()
    n1, n2 = seen.nodes
    assert (n1.name, n1.state, n1.slots, n1.running) == ("n1", "up", 2, 2)
    assert (n1.labels, n1.host, n1.version, n1.cpus, n1.load) == (("gpu",), "box", "1.2", 8, 1.5)
    assert (n1.memory_total, n1.memory_free) == (16000, 4000)
    assert (n2.name, n2.state, n2.running) == ("n2", "down", 0)
    (running,) = seen.running
    assert (running.job_id, running.job, running.ordinal, running.task) == (mine, "momentum", 1, "second")
    assert (running.node, running.creator, running.kind) == ("n1", "alice", "factor")
    assert running.started is not None
    assert (seen.others(n1), seen.others(n2)) == (1, 0)
    assert "secret" not in repr(seen)
    everything = client("boss").cluster()
    assert [task.creator for task in everything.running] == ["alice", "bob"]
    assert everything.others(everything.nodes[0]) == 0


@pytest.mark.spec("Y6", "G1")
@pytest.mark.parametrize(
    ("state", "age", "shown"),
    [("up", 8, "up"), ("up", 11, "lost"), ("draining", 11, "lost"), ("down", 99, "down"), ("lost", 1, "lost")],
)
def test_a_node_that_is_not_heard_of_for_ten_seconds_is_lost(
    database: Database, client: SignIn, state: str, age: int, shown: str
) -> None:
    up(database)
    heard = "update qd.node set state = :state, heartbeat = now() - make_interval(secs => :age) where name = 'n1'"
    database.sql("postgres", heard, state=state, age=age)
    assert client("alice").cluster().nodes[0].state == shown


@pytest.mark.spec("S1", "Y6")
def test_what_waits_says_why_and_comes_in_the_order_of_its_coming(database: Database, client: SignIn) -> None:
    gpu = database.submit("alice", [{"name": "t", "queue": "label:tpu"}] * 3, name="special")
    plain = [database.submit("alice", name=f"job {n}") for n in range(4)]
    database.submit("bob", name="secret of bob")
    up(database, slots=1)
    database.start("n1", database.tasks(plain[0])[0])
    database.sql("node_n1", "select qd.register_node(1, '{gpu}', 'box', '1.2', 8, 16000)")
    seen = client("alice").queue(2)
    assert [(one.job_id, one.name, one.tasks) for one in seen.jobs] == [(gpu, "special", 3), (plain[1], "job 1", 1)]
    assert seen.total == 4
    assert seen.jobs[0].reason == "waits for a node with tpu: none is up"
    assert seen.jobs[1].reason.startswith("no free slot on any node (1 of 1 busy)")
    assert "secret" not in repr(seen)
    database.sql("alice", "select qd.terminate_job(:job)", job=plain[0])
    ending = next(one for one in client("alice").queue().jobs if one.job_id == plain[0])
    assert (ending.ending, ending.tasks) == (True, 0)
    assert ending.reason == "ending: its processes are being stopped"


@pytest.mark.spec("Y6", "R3", "C1")
def test_an_admin_drains_and_resumes_a_node_and_nobody_else_does(database: Database, client: SignIn) -> None:
    up(database)
    boss, alice = client("boss"), client("alice")
    boss.drain("n1")
    assert alice.cluster().nodes[0].state == "draining"
    boss.drain("n1", False)
    assert alice.cluster().nodes[0].state == "up"
    with pytest.raises(NotFound, match="no node named 'n2' that is up"):
        boss.drain("n2")
    with pytest.raises(Refused):
        alice.drain("n1")
    # by any SQL tool, with her own password
    hostile = database.connect("alice")
    for text in (
        "select qd.drain_node('n1', true)",
        "select qd.note_draining('n1', true)",
        "select qd.note_node('n1', 'alice')",
        "update qd.node set state = 'draining'",
        "delete from qd.node",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            hostile.execute(text.encode())
    assert alice.cluster().nodes[0].state == "up"
    acts = [(one.person, one.action, one.subject) for one in boss.audit(limit=2)]
    assert acts == [("boss", "resume_node", "n1"), ("boss", "drain_node", "n1")]


def test_a_node_that_starts_again_gets_a_new_password(database: Database, client: SignIn) -> None:
    # logins are the server's: not one that other tests sign in by
    name = database.name.replace("_", "-")
    boss = client("boss")
    try:
        for _ in range(2):
            admin.create_node(database.engine("boss"), name)
        again, first = boss.audit(Selection(action="create_node", text=name))
        assert (first.subject, first.words) == (name, "")
        assert (again.subject, again.words) == (name, "a new password")
    finally:
        database.sql("postgres", f'drop owned by "node_{name}"')
        database.sql("postgres", f'drop role "node_{name}"')


def act_of_every_kind(database: Database) -> tuple[int, int, int]:
    """The acts of `ACTIONS`, each once, by boss, alice or the superuser; the ids of the jobs that they concern."""
    boss = database.engine("boss")
    admin.create_user(boss, database.name[:30], "correct horse")
    for change in (admin.disable_user, admin.enable_user):
        change(boss, database.name[:30])
    admin.set_password(boss, database.name[:30], "battery staple")
    up(database)
    admin.drain_node(boss, "n1")
    admin.drain_node(boss, "n1", False)
    ended, stopped = database.submit("alice", name="old one"), database.submit("alice", 2, name="long one")
    live = database.submit("alice", kind="backtest", name="live one", backtest_type="real-time")
    for job in (ended, live):
        database.start("n1", database.tasks(job)[0])
    database.sql("alice", "select qd.terminate_job(:job)", job=live)
    database.end("n1", database.tasks(live)[0], "terminated")
    database.end("n1", database.tasks(ended)[0])
    database.sql("alice", "select qd.delete_results(:job)", job=live)
    database.sql("boss", "select qd.terminate_job(:job)", job=stopped)
    database.sql("boss", "select qd.delete_jobs(:jobs)", jobs=[ended])
    database.sql("postgres", "insert into qd.dataset (creator, name) values ('alice', 'prices')")
    database.sql("alice", "select qd.drop_dataset('prices')")
    document = '{"name": "mine", "title": "Mine"}'
    database.sql("alice", "select qd.save_template('mine', cast(:document as jsonb))", document=document)
    database.sql("alice", "select qd.delete_template('mine')")
    return ended, stopped, live


@pytest.mark.spec("M4", "M5", "R3")
def test_every_act_leaves_who_did_what_to_which_job_and_when(database: Database, client: SignIn) -> None:
    name = database.name[:30]
    boss = client("boss")
    before, begun = boss.audit(limit=1)[0].id, database.value("postgres", "select clock_timestamp()")
    try:
        ended, stopped, live = act_of_every_kind(database)
        found = [one for one in boss.audit() if one.id > before]
        assert all(begun <= one.time <= begun + dt.timedelta(seconds=60) for one in found)
        assert [(one.person, one.action, one.job_id, one.subject) for one in found] == [
            ("alice", "delete_template", None, "mine"),
            ("alice", "drop_dataset", None, "prices"),
            ("boss", "delete", ended, "old one"),
            ("boss", "terminate", stopped, "long one"),
            ("alice", "delete_results", live, "live one"),
            ("alice", "terminate", live, "live one"),
            ("boss", "resume_node", None, "n1"),
            ("boss", "drain_node", None, "n1"),
            ("boss", "set_password", None, name),
            ("boss", "enable_user", None, name),
            ("boss", "disable_user", None, name),
            ("boss", "create_user", None, name),
        ]
        assert found[2].words == "factor of alice, was success"
        assert found[3].words == "factor of alice, was queued"
        assert found[4].words == "backtest of alice, was terminated"
        assert "battery staple" not in repr(found)
        # made with the test's template, before
        older = {(one.action, one.person, one.subject) for one in boss.audit() if one.id <= before}
        assert {("create_node", "postgres", "n1"), ("create_user", "postgres", "alice")} <= older
        (made,) = boss.audit(Selection(action="upgrade_schema"))
        assert made.words == f"made as {admin.SCHEMA_VERSION}"
        assert {one.action for one in boss.audit()} == set(ACTIONS)
    finally:
        database.sql("postgres", f'drop role if exists "{name}"')


def test_an_upgrade_is_recorded_once_for_each_version(database: Database, client: SignIn) -> None:
    superuser = database.engine("postgres")
    admin.upgrade_schema(superuser)
    boss = client("boss")
    assert boss.audit_count(Selection(action="upgrade_schema")) == 1
    database.sql(
        "postgres",
        "create or replace function qd.schema_version() returns text language sql immutable security definer"
        " set search_path = pg_catalog, pg_temp as $$ select '0001-older' $$",
    )
    admin.upgrade_schema(superuser)
    last = boss.audit(Selection(action="upgrade_schema"), limit=1)[0]
    assert last.words == f"from 0001-older to {admin.SCHEMA_VERSION}"


@pytest.mark.spec("R2", "R3")
def test_nobody_but_an_admin_reads_the_audit(database: Database, client: SignIn, tmp_path: Path) -> None:
    database.sql("alice", "select qd.terminate_job(:job)", job=database.submit("alice"))
    alice = client("alice")
    for call in (
        alice.audit,
        alice.audit_count,
        alice.audit_people,
        lambda: alice.export_audit(tmp_path / "audit.csv"),
    ):
        with pytest.raises(Refused, match="only an administrator"):
            call()
    assert list(tmp_path.iterdir()) == []
    hostile = database.connect("alice")
    for text in (
        "select * from qd.audit",
        "select count(*) from qd.audit",
        "copy qd.audit to stdout",
        "select qd.note_account('create_user', 'x', '{}')",
        "insert into qd.audit (actor, action) values ('bob', 'delete')",
        "delete from qd.audit",
        "select nextval('qd.audit_id_seq')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            hostile.execute(text.encode())
    # an administrator reads it, and changes nothing of it
    chief = database.connect("boss")
    for text in ("delete from qd.audit", "update qd.audit set actor = 'bob'", "truncate qd.audit"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            chief.execute(text.encode())


@pytest.fixture
def history(database: Database) -> None:
    """Nine records of three people: the n-th at 09:0n on a day of long ago, about job 100 + n."""
    database.sql("postgres", "truncate qd.audit restart identity")
    database.sql(
        "postgres",
        "insert into qd.audit (at, actor, action, job_id, detail) select timestamptz '2024-05-01 09:00Z'"
        " + n * interval '1 min', (array['alice', 'bob', 'boss'])[1 + n % 3],"
        " (array['terminate', 'delete'])[1 + n % 2], 100 + n,"
        " jsonb_build_object('kind', 'factor', 'name', 'job_' || n || '%', 'creator', 'alice')"
        " from generate_series(1, 9) as n",
    )


def minute(number: int) -> dt.datetime:
    return dt.datetime(2024, 5, 1, 9, number, tzinfo=dt.UTC)


@pytest.mark.usefixtures("history")
@pytest.mark.parametrize(
    ("selection", "numbers"),
    [
        (Selection(), [9, 8, 7, 6, 5, 4, 3, 2, 1]),
        (Selection(person="bob"), [7, 4, 1]),
        (Selection(action="terminate"), [8, 6, 4, 2]),
        (Selection(person="bob", action="terminate"), [4]),
        (Selection(job_id=103), [3]),
        (Selection(since=minute(8)), [9, 8]),
        (Selection(until=minute(3)), [2, 1]),
        (Selection(since=minute(4), until=minute(6)), [5, 4]),
        (Selection(text="JOB_7"), [7]),
        (Selection(text="b_7%"), [7]),
        (Selection(text="b%7"), []),
        (Selection(text="terminate job"), [8, 6, 4, 2]),
        (Selection(text="105"), [5]),
        (Selection(text="boss"), [8, 5, 2]),
        (Selection(text="kind"), []),
        (Selection(person="nobody"), []),
    ],
)
def test_the_audit_is_narrowed(client: SignIn, selection: Selection, numbers: list[int]) -> None:
    boss = client("boss")
    assert [one.job_id for one in boss.audit(selection)] == [100 + n for n in numbers]
    assert boss.audit_count(selection) == len(numbers)


@pytest.mark.usefixtures("history")
def test_the_audit_comes_in_pages(client: SignIn) -> None:
    boss = client("boss")
    assert [one.id for one in boss.audit(offset=2, limit=3)] == [7, 6, 5]
    assert boss.audit(offset=50) == []
    assert boss.audit_people() == ["alice", "bob", "boss"]
    with pytest.raises(Invalid):
        boss.audit(offset=-1)


def test_all_of_a_long_audit_goes_into_a_file(database: Database, client: SignIn, tmp_path: Path) -> None:
    database.sql("postgres", "truncate qd.audit restart identity")
    database.sql(
        "postgres",
        "insert into qd.audit (at, actor, action, job_id, detail) select timestamptz '2024-05-01 09:00Z',"
        " 'boss', 'delete', n, jsonb_build_object('name', 'a, \"b\"', 'kind', 'factor', 'creator', 'älice')"
        " from generate_series(1, 2500) as n",
    )
    boss = client("boss")
    assert boss.export_audit(tmp_path / "all.csv") == 2500
    with (tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["time", "person", "action", "job", "subject", "detail"]
    assert rows[1] == ["2024-05-01T09:00:00.000000Z", "boss", "delete", "2500", 'a, "b"', "factor of älice"]
    assert [int(row[3]) for row in rows[1:]] == list(range(2500, 0, -1))
    assert boss.export_audit(tmp_path / "few.csv", Selection(text="250")) == 4  # 250, 1250, 2250, 2500
    with pytest.raises(Invalid, match=r"ends in \.csv"):
        boss.export_audit(tmp_path / "all.xlsx")
    with pytest.raises(Invalid, match="there is no folder"):
        boss.export_audit(tmp_path / "none" / "all.csv")


@pytest.mark.parametrize(
    ("action", "detail", "title", "words"),
    [
        ("create_user", {"name": "carol", "admin": True}, "Add account", "administrator"),
        ("create_user", {"name": "carol", "admin": False}, "Add account", ""),
        (
            "terminate",
            {"kind": "data_import", "creator": "bob", "status": "in_progress", "workflow": 7},
            "Terminate job",
            "data import of bob, was in progress, of workflow 7",
        ),
        ("create_node", {"name": "n1", "again": True}, "Add node", "a new password"),
        ("brand_new", {}, "Brand new", ""),
    ],
)
def test_words_of_an_entry(action: str, detail: dict[str, Any], title: str, words: str) -> None:
    entry = Entry(id=1, time=minute(1), person="boss", action=action, job_id=None, detail=detail)
    assert (entry.title, entry.words) == (title, words)
