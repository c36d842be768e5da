"""The client's verbs on jobs: sign in, submit, show, run again, terminate, delete, wait."""

from __future__ import annotations

import dataclasses
import datetime as dt
import socket
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from quarterdeck import session
from quarterdeck.blocks import schema_bytes
from quarterdeck.client import Client, Filter
from quarterdeck.errors import Conflict, Disconnected, Invalid, NotFound, Refused
from quarterdeck.job import Status
from quarterdeck.profile import Profile

if TYPE_CHECKING:
    from tests.conftest import Database

MOMENTUM = {"name": "mom", "table": "prices", "formula": "close/delay(close,20)-1"}


@pytest.fixture
def people(database: Database) -> Iterator[dict[str, Client]]:
    """Everybody signed in, and a public table `prices` that their jobs can read."""
    schema = pa.schema([("time", pa.timestamp("us", "UTC")), ("symbol", pa.string()), ("close", pa.float64())])
    dataset(database, "prices", "carl", public=True, schema=schema_bytes(schema))
    clients = {name: Client.sign_in(database.login(name)) for name in ("alice", "bob", "boss")}
    yield clients
    for client in clients.values():
        client.close()


@pytest.fixture
def alice(people: dict[str, Client]) -> Client:
    return people["alice"]


def dataset(database: Database, name: str, creator: str, *, public: bool, schema: bytes = b"") -> None:
    """Imported data of five rows, as far as the catalogue goes."""
    database.sql(
        "postgres",
        "with d as (insert into qd.dataset (creator, name, is_public) values (:creator, :name, :public) returning id)"
        " insert into qd.result_table (dataset_id, creator, is_public, name, schema, rows, bytes, complete)"
        " select id, :creator, :public, :name, :schema, 5, 100, true from d",
        name=name,
        creator=creator,
        public=public,
        schema=schema,
    )


def begin(database: Database, job: int) -> int:
    """Node n1 starts the job's first task; its id."""
    database.sql("node_n1", "select qd.register_node(8, '{gpu}', 'host', '1', 2, 1000)")
    (task,) = database.sql("postgres", "select min(id) from qd.task where job_id = :job", job=job)[0]
    database.sql("node_n1", "select * from qd.start_task(:task, 1)", task=task)
    return int(task)


def end(database: Database, task: int, outcome: str, error: str = "") -> None:
    database.sql(
        "node_n1",
        "select qd.end_task(:task, 1, :outcome, 1, :error, null, 0, 0)",
        task=task,
        outcome=outcome,
        error=error,
    )


# --- sign-in --------------------------------------------------------------------------------------------------------


def test_who_one_is(people: dict[str, Client], database: Database) -> None:
    for name, client in people.items():
        assert (client.me.login, client.me.admin) == (name, name == "boss")
        assert client.me.server == f"127.0.0.1:{database.port}"
        assert abs(client.me.clock_offset) < dt.timedelta(seconds=5)
        assert abs(client.now() - dt.datetime.now(dt.UTC)) < dt.timedelta(seconds=5)


@pytest.mark.spec("G4", "P3")
def test_a_sign_in_that_fails_is_said(database: Database) -> None:
    login = database.login("alice")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for wrong, match in (
        ({"password": "no"}, "user name or the password is wrong"),
        ({"user": "nobody"}, "user name or the password is wrong"),
        ({"database": "none"}, "no such database"),
        ({"port": port}, "No server answers at this address"),
    ):
        with pytest.raises(Disconnected, match=match):
            Client.sign_in(dataclasses.replace(login, **wrong))  # type: ignore[arg-type]
    with pytest.raises(Invalid, match="needs TLS"):
        Client.sign_in(dataclasses.replace(login, host="10.1.2.3"))


@pytest.mark.spec("P3")
def test_a_profile_signs_in(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("QUARTERDECK_CONFIG", str(tmp_path))
    login = database.login("alice")
    chosen = Profile(
        name="desk", host=login.host, port=login.port, database=login.database, user="alice", tls="loopback"
    )
    with Client.connect(chosen, password=login.password) as client:
        assert client.me.login == "alice"
    monkeypatch.setenv("QUARTERDECK_PASSWORD", login.password or "")
    with Client.connect(chosen) as client:
        assert client.me.login == "alice"
    with pytest.raises(NotFound, match="there is no profile 'other'"):
        Client.connect("other")


@pytest.mark.spec("P3")
@pytest.mark.parametrize(
    ("revision", "match"), [("9999", "is older than this version.*schema upgrade"), ("0000", "newer")]
)
def test_another_schema_is_said(database: Database, monkeypatch: pytest.MonkeyPatch, revision: str, match: str) -> None:
    monkeypatch.setattr(session, "REVISION", revision)
    with pytest.raises(Conflict, match=match):
        Client.sign_in(database.login("alice"))


# --- submit and rerun -----------------------------------------------------------------------------------------------


@pytest.mark.spec("X1", "K2")
def test_submit_writes_the_job_and_its_tasks(alice: Client) -> None:
    job = alice.submit("factor", {**MOMENTUM, "public": True})
    details = alice.get(job)
    assert (details.job.name, details.job.kind, details.job.status) == ("mom", "factor", Status.QUEUED)
    assert (details.job.public, details.job.creator, details.job.origin.value) == (True, "alice", "single")
    assert {key: details.params[key] for key in MOMENTUM} == MOMENTUM
    assert [(task.name, task.ordinal, task.status, task.queue) for task in details.tasks] == [
        ("mom", 0, Status.QUEUED, "any")
    ]
    assert details.waiting == "waits for a node: none is up"
    assert alice.task_params(job)[0]["formula"] == MOMENTUM["formula"]
    batch = alice.submit(
        "factor",
        {
            "name": "both",
            "table": "prices",
            "factors": [{"name": f"f{n}", "formula": f"close/delay(close,{n})-1"} for n in (1, 5)],
        },
    )
    assert alice.get(batch).job.origin.value == "batch"
    assert [task.name for task in alice.tasks(batch)] == ["f1", "f5"]


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("kind", "params", "match"),
    [
        ("factro", MOMENTUM, "there is no kind 'factro'"),
        ("factor", {**MOMENTUM, "tabel": "x"}, r"unknown parameter 'tabel'; did you mean 'table'\?"),
        ("factor", {"name": "x", "formula": "close"}, "parameter 'table' is missing"),
        ("factor", {**MOMENTUM, "formula": "close +"}, "missing after"),
        ("factor", {**MOMENTUM, "symbols": ["a\0b"]}, "NUL"),
        ("factor", {**MOMENTUM, "table": "pices"}, r"there is no table 'pices'; did you mean 'prices'\?"),
        ("factor", {**MOMENTUM, "name": ""}, "parameter 'name'"),
        ("factor", [1], "an object of names and values"),
    ],
)
def test_a_wrong_submit_is_said_and_changes_nothing(
    alice: Client, kind: str, params: Any, match: str, database: Database
) -> None:
    with pytest.raises(Invalid, match=match) as caught:
        alice.submit(kind, params)
    assert "\n" not in str(caught.value)
    assert alice.count() == 0
    assert database.value("postgres", "select count(*) from queue.procrastinate_jobs") == 0


@pytest.mark.spec("X1")
def test_rerun_takes_the_same_or_changed_parameters(alice: Client, people: dict[str, Client]) -> None:
    first = alice.submit("factor", MOMENTUM)
    again = alice.rerun(first)
    changed = alice.rerun(first, {"formula": "close/delay(close,5)-1", "name": "mom5"})
    assert alice.get(again).params == alice.get(first).params
    details = alice.get(changed)
    assert details.params == {**alice.get(first).params, "formula": "close/delay(close,5)-1", "name": "mom5"}
    assert (details.rerun_of, details.job.origin.value, details.job.name) == (first, "rerun", "mom5")
    with pytest.raises(Invalid, match="unknown parameter 'formual'"):
        alice.rerun(first, {"formual": "close"})
    assert alice.count() == 3
    with pytest.raises(NotFound):
        people["bob"].rerun(first)
    assert people["boss"].get(people["boss"].rerun(first)).job.creator == "boss"


# --- rights ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("R1", "R2", "M3")
def test_details_open_for_creator_and_admins(people: dict[str, Client]) -> None:
    private = people["alice"].submit("factor", MOMENTUM)
    public = people["alice"].submit("factor", {**MOMENTUM, "public": True})
    assert [job.id for job in people["bob"].list()] == [public]
    with pytest.raises(NotFound, match=f"there is no job {private} that you may see"):
        people["bob"].get(private)
    with pytest.raises(Refused, match=f"job {public} belongs to alice: its details and log open for its creator"):
        people["bob"].get(public)
    assert people["bob"].tasks(public) == []
    assert people["boss"].get(private).params["name"] == "mom"
    for missing in (0, -1, 10**12, 2**63, 10**30):
        with pytest.raises(NotFound, match="there is no job"):
            people["boss"].get(missing)


@pytest.mark.spec("M5", "R2")
def test_terminate(people: dict[str, Client], database: Database) -> None:
    queued, running = (people["alice"].submit("factor", {**MOMENTUM, "public": True}) for _ in range(2))
    task = begin(database, running)
    with pytest.raises(Refused, match=r"belongs to alice: only its creator or an administrator may terminate it"):
        people["bob"].terminate(running)
    assert people["alice"].terminate(queued) == "ended"
    assert people["alice"].get(queued).job.status is Status.FAILED
    assert people["boss"].terminate(running) == "ending"
    details = people["alice"].get(running)
    assert (details.job.ending, details.job.status, details.terminated_by) == (True, Status.IN_PROGRESS, "boss")
    with pytest.raises(Conflict, match="is being terminated already, by boss"):
        people["alice"].terminate(running)
    end(database, task, "terminated")
    details = people["alice"].get(running)
    assert (details.job.ending, details.job.status) == (False, Status.FAILED)
    assert details.error == "terminated by boss"
    with pytest.raises(Conflict, match="has already ended"):
        people["alice"].terminate(running)
    with pytest.raises(NotFound):
        people["alice"].terminate(10**12)
    with pytest.raises(Invalid, match="out of the database's range"):
        people["alice"].terminate(10**30)


@pytest.mark.spec("M4")
def test_delete(people: dict[str, Client], database: Database) -> None:
    alice, boss = people["alice"], people["boss"]
    ended, queued, running = (alice.submit("factor", MOMENTUM) for _ in range(3))
    begin(database, running)
    alice.terminate(ended)
    with pytest.raises(Refused, match="Only an administrator may delete jobs"):
        alice.delete([ended])
    outcome = boss.delete([ended, queued, running, 10**12])
    assert (outcome.count, set(outcome.running)) == (1, {queued, running})
    assert {job.id for job in boss.list()} == {queued, running}
    assert boss.delete([]).count == 0
    assert boss.ids(Filter(creators=frozenset({"alice"}))) == [running, queued]


# --- wait -----------------------------------------------------------------------------------------------------------


def test_wait_returns_the_ended_job(alice: Client, database: Database) -> None:
    job = alice.submit("factor", MOMENTUM)
    task = begin(database, job)
    with pytest.raises(Conflict, match=f"job {job} has not ended within 0.05 s"):
        alice.wait(job, timeout=0.05)
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.append(alice.wait(job, timeout=20)))
    waiter.start()
    end(database, task, "failed", "ValueError: no")
    waiter.join(20)
    assert [one.status for one in found] == [Status.FAILED]
    assert alice.get(job).error == "ValueError: no"
    with pytest.raises(NotFound):
        alice.wait(10**12)


@pytest.mark.spec("G2")
def test_wait_outlives_a_broken_connection(alice: Client, database: Database) -> None:
    job = alice.submit("factor", MOMENTUM)
    task = begin(database, job)
    found: list[Any] = []
    waiter = threading.Thread(target=lambda: found.append(alice.wait(job, timeout=20)))
    waiter.start()
    for _ in range(5):
        database.sql(
            "postgres",
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where usename = 'alice' and datname = current_database()",
        )
    end(database, task, "success")
    waiter.join(20)
    assert [one.status for one in found] == [Status.SUCCESS]


# --- nodes and data -------------------------------------------------------------------------------------------------


def test_nodes_are_listed_for_everyone(people: dict[str, Client], database: Database) -> None:
    begin(database, people["alice"].submit("factor", MOMENTUM))
    database.sql("node_n1", "select qd.node_heartbeat(0.5, 400)")
    for client in people.values():
        nodes = {node.name: node for node in client.nodes()}
        assert set(nodes) == {"n1", "n2"}
        assert (nodes["n1"].state, nodes["n1"].running, nodes["n1"].slots) == ("up", 1, 8)
        assert (nodes["n1"].labels, nodes["n1"].memory_free, nodes["n1"].load) == (("gpu",), 400, 0.5)
        assert nodes["n1"].heartbeat is not None
        assert nodes["n2"].state == "down"


@pytest.mark.spec("D2", "R2")
def test_imported_data_is_listed_and_dropped(people: dict[str, Client], database: Database) -> None:
    dataset(database, "prices", "alice", public=False)
    dataset(database, "prices", "bob", public=True)
    dataset(database, "secret", "bob", public=False)
    assert [(one.name, one.creator, one.rows, len(one.parts)) for one in people["alice"].datasets()] == [
        ("prices", "alice", 5, 1),
        ("prices", "bob", 5, 1),
        ("prices", "carl", 5, 1),
    ]
    assert len(people["boss"].datasets()) == 4
    with pytest.raises(Refused, match="belongs to bob"):
        people["alice"].drop_dataset("prices", "bob")
    with pytest.raises(NotFound):
        people["alice"].drop_dataset("secret", "bob")
    people["alice"].drop_dataset("prices")
    people["boss"].drop_dataset("secret", "bob")
    assert [(one.name, one.creator) for one in people["boss"].datasets()] == [("prices", "bob"), ("prices", "carl")]


def test_channels_are_the_persons_own(people: dict[str, Client]) -> None:
    channels = {name: set(client.channels()) for name, client in people.items()}
    assert all(len(found) == 2 for found in channels.values())
    assert len(channels["alice"] & channels["bob"]) == 1  # of public jobs
    assert not channels["alice"] & channels["boss"]
