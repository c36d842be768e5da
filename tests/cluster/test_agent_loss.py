"""What is lost, and what is not, when an agent, the database or the network goes away."""

from __future__ import annotations

import json
import os
import shutil
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import sqlalchemy as sa

from quarterdeck import admin
from quarterdeck.server import Server
from tests.cluster.conftest import Cluster, lives, until
from tests.cluster.test_agent_end import told
from tests.conftest import Database


@pytest.mark.spec("G1")
def test_kill_9_of_the_agent_leaves_no_orphan_and_the_next_start_says_so(cluster: Any, tmp_path: Path) -> None:
    agent = cluster.start()
    job = cluster.submit({"do": "tree", "tell": str(tmp_path / "pids")})
    again = cluster.submit({"do": "progress", "seconds": 3, "tell": str(tmp_path / "again"), "restartable": True})
    pids = told(tmp_path / "pids") + told(tmp_path / "again")
    until(lambda: "tree is up" in cluster.texts(job, "stdout"), 5)
    agent.kill()
    until(lambda: not [pid for pid in pids if lives(pid)], 5, "orphans live on")
    assert cluster.status(job) == "in_progress"
    cluster.start()
    assert cluster.ended(job) == "failed"
    assert cluster.error(job) == "node lost"
    assert "tree is up" in cluster.texts(job, "stdout")
    assert any("the agent of node n1 was killed" in text for text in cluster.texts(job, "execution"))
    assert cluster.ended(again) == "success"
    assert [one.outcome for one in cluster.attempts(again)] == ["lost", "success"]


@pytest.mark.spec("G1")
def test_kill_9_of_agent_and_warden_is_swept_at_the_next_start(cluster: Any, tmp_path: Path) -> None:
    agent = cluster.start()
    job = cluster.submit({"do": "tree", "tell": str(tmp_path / "pids")})
    root, child, daemon = told(tmp_path / "pids")
    record = next((cluster.data / "n1" / "attempts").rglob("attempt.json"))
    until(lambda: daemon in [pid for pid, _ in json.loads(record.read_text()).get("tree", [])], 15)
    warden = psutil.Process(root).ppid()
    nursery = psutil.Process(warden).ppid()
    # all at once, as when a machine's memory runs out: nobody is left to clean up
    for pid in (warden, nursery, agent.pid):
        os.kill(pid, signal.SIGSTOP)
    for pid in (warden, nursery, agent.pid):
        os.kill(pid, signal.SIGKILL)
    agent.process.wait()
    until(lambda: not lives(root), 5, "the task outlives its warden")
    assert lives(child)
    assert lives(daemon)
    cluster.start()
    assert cluster.ended(job) == "failed"
    assert not lives(child)
    assert not lives(daemon)
    named = {one["pid"] for one in cluster.attempts(job)[0].receipt["processes"]}
    assert {child, daemon} <= named
    assert any(f"killed process {daemon} (" in text for text in cluster.texts(job, "execution"))


@pytest.mark.spec("G3", "G1")
def test_a_node_that_was_cut_off_is_refused_and_ends_its_task(cluster: Any, tmp_path: Path) -> None:
    agent = cluster.start("n1")
    job = cluster.submit({"do": "sleep", "tell": str(tmp_path / "pids"), "queue": "any", "restartable": True})
    pids = told(tmp_path / "pids")
    (tmp_path / "pids").unlink()
    agent.process.send_signal(signal.SIGSTOP)
    cluster.start("n2")
    # n2's agent finds it silent for more than ten seconds
    until(lambda: len(cluster.attempts(job)) == 2, 40, "the task is not given to another node")
    second = told(tmp_path / "pids")
    agent.process.send_signal(signal.SIGCONT)
    until(lambda: not [pid for pid in pids if lives(pid)], 15, "the late one runs on")
    assert lives(second[0])
    assert [(one.node, one.outcome) for one in cluster.attempts(job)] == [("n1", "lost"), ("n2", "")]
    until(lambda: "no longer this node's" in agent.log(), 5)
    # and it is of use again
    assert cluster.ended(cluster.submit({"queue": "node:n1"}), 20) == "success"
    cluster.database.sql("alice", "select qd.terminate_job(:j)", j=job)
    assert cluster.ended(job, 10) == "failed"


@pytest.fixture
def own(postgres_bin: Path, open_folder: Path, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Own]:
    """A server of the test's own, that it may stop, with a node's cluster on it."""
    made = Own(Server(open_folder / f"own-{uuid.uuid4().hex[:8]}", postgres_bin), tmp_path)
    try:
        yield made
    finally:
        made.close()


class Own:
    """A cluster whose server can be stopped and started; the passwords stay the same."""

    def __init__(self, server: Server, tmp_path: Path) -> None:
        self.server = server
        started = server.ensure({"fsync": "off"})
        with psycopg.connect(started.conninfo(), autocommit=True) as connection:
            connection.execute("create database quarterdeck")
        passwords = {"alice": "password of alice", "boss": "password of boss"}
        conninfo = started.conninfo("quarterdeck")
        engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo))
        admin.create_schema(engine)
        admin.create_user(engine, "alice", passwords["alice"])
        admin.create_user(engine, "boss", passwords["boss"], True)
        passwords["node_n1"] = admin.create_node(engine, "n1")
        engine.dispose()
        self.database = Database("quarterdeck", started, passwords)
        self.cluster = Cluster(self.database, tmp_path / "nodes")

    def stop(self) -> None:
        self.server.stop("fast")

    def begin(self) -> None:
        # the superuser's password is a new one after each start
        self.database.close()
        self.database.__init__("quarterdeck", self.server.ensure({"fsync": "off"}), self.database._passwords)  # type: ignore[misc]

    def close(self) -> None:
        self.cluster.close()
        self.database.close()
        self.server.stop("immediate")
        shutil.rmtree(self.server.data, ignore_errors=True)


@pytest.mark.spec("G2")
def test_tasks_run_on_while_the_database_is_away_and_are_delivered_later(own: Own, tmp_path: Path) -> None:
    own.cluster.start()
    tell = tmp_path / "pids"
    long = own.cluster.submit({"do": "chatter", "seconds": 8, "tell": str(tell)})
    short = own.cluster.submit({"do": "chatter", "seconds": 2, "tell": str(tmp_path / "short")})
    pids = told(tell) + told(tmp_path / "short")
    own.stop()
    until(lambda: not lives(pids[1]), 10, "the short task does not end")
    assert lives(pids[0]), "the task was ended with the database"
    own.begin()
    assert {own.cluster.ended(long, 40), own.cluster.ended(short, 40)} == {"success"}
    for job in (long, short):
        said = own.cluster.texts(job, "stdout")
        assert said == [f"word {number}" for number in range(len(said))]
        assert len(said) > 10
        assert [one.outcome for one in own.cluster.attempts(job)] == ["success"]
        assert own.database.value("postgres", "select rows from qd.result_table where job_id = :j", j=job) == len(said)


@pytest.mark.spec("G2", "M5")
def test_after_a_restart_of_the_database_work_and_terminate_arrive_at_once(own: Own, tmp_path: Path) -> None:
    own.cluster.start()
    job = own.cluster.submit({"do": "sleep", "tell": str(tmp_path / "pids")})
    pids = told(tmp_path / "pids")
    own.stop()
    own.begin()
    assert own.cluster.ended(own.cluster.submit({}), 20) == "success"
    assert lives(pids[0])
    own.database.sql("alice", "select qd.terminate_job(:j)", j=job)
    assert own.cluster.ended(job, 5) == "failed"
    assert not lives(pids[0])
    assert own.cluster.attempts(job)[0].outcome == "terminated"


@pytest.mark.spec("G1", "G2")
def test_work_that_finished_while_the_database_was_away_survives_a_kill_of_the_agent(own: Own, tmp_path: Path) -> None:
    agent = own.cluster.start()
    job = own.cluster.submit({"do": "chatter", "seconds": 1.5, "tell": str(tmp_path / "pids")})
    pids = told(tmp_path / "pids")
    own.stop()
    until(lambda: not lives(pids[0]), 10)
    folder = own.cluster.data / "n1" / "attempts"
    until(lambda: any(b'"outcome":"success"' in path.read_bytes() for path in folder.rglob("*.spool")), 10)
    agent.kill()
    own.begin()
    own.cluster.start()
    assert own.cluster.ended(job, 20) == "success"
    said = own.cluster.texts(job, "stdout")
    assert said == [f"word {number}" for number in range(len(said))]
    assert own.database.value("postgres", "select rows from qd.result_table where job_id = :j", j=job) == len(said)
    until(lambda: not list(folder.iterdir()), 5, "the attempt's folder is left")
