"""Several nodes: who takes what, and what a node refuses."""

from __future__ import annotations

import getpass
from dataclasses import replace
from typing import Any

import pytest

from quarterdeck.agent import run
from quarterdeck.errors import Disconnected, Invalid
from tests.cluster.conftest import until


@pytest.mark.spec("X1", "M2")
def test_two_nodes_share_the_tasks_of_a_job(cluster: Any) -> None:
    cluster.start("n1")
    cluster.start("n2")
    job = cluster.submit(*({"do": "sleep", "seconds": 0.2} for _ in range(20)))
    assert cluster.ended(job) == "success"
    nodes = [one.node for one in cluster.attempts(job)]
    assert len(nodes) == 20
    assert set(nodes) == {"n1", "n2"}
    assert set(cluster.database.value("postgres", "select nodes from qd.job where id = :j", j=job)) == {"n1", "n2"}


@pytest.mark.spec("X1", "S1")
def test_a_task_waits_for_its_own_node_or_label(cluster: Any) -> None:
    cluster.start("n1")
    own = cluster.submit({"queue": "node:n2"})
    label = cluster.submit({"queue": "label:gpu"})
    assert cluster.ended(cluster.submit({})) == "success"
    assert {cluster.status(own), cluster.status(label)} == {"queued"}
    cluster.start("n2", labels=("gpu",))
    assert {cluster.ended(own), cluster.ended(label)} == {"success"}
    assert {one.node for job in (own, label) for one in cluster.attempts(job)} == {"n2"}


def test_a_draining_node_takes_nothing_until_it_may_again(cluster: Any) -> None:
    cluster.start("n1")
    cluster.database.sql("boss", "select qd.drain_node('n1', true)")
    folder = cluster.data / "n1"
    before = cluster.database.value("postgres", "select heartbeat from qd.node where name = 'n1'")
    now = "select heartbeat from qd.node where name = 'n1'"
    until(lambda: cluster.database.value("postgres", now) > before, 10)
    until(lambda: cluster.database.value("postgres", now) > before, 10)
    assert folder.is_dir()
    job = cluster.submit({})
    later = cluster.database.value("postgres", now)
    until(lambda: cluster.database.value("postgres", now) > later, 10)
    assert cluster.status(job) == "queued"
    cluster.database.sql("boss", "select qd.drain_node('n1', false)")
    assert cluster.ended(job) == "success"


@pytest.mark.spec("G4")
def test_a_second_agent_of_the_same_name_is_refused_in_one_sentence(cluster: Any) -> None:
    agent = cluster.start("n1")
    process = cluster.begin("n1")
    assert process.wait(20) == 1
    assert process.stderr is not None
    said = process.stderr.read()
    assert f"node n1 runs already on this machine (process {agent.pid}): stop it, or take another name" in said
    assert "Traceback" not in said
    assert cluster.ended(cluster.submit({})) == "success"


@pytest.mark.spec("G4", "G5")
def test_a_wrong_password_is_said_at_once(database: Any, tmp_path: Any) -> None:
    login = replace(database.login("node_n1"), password="wrong password")
    with pytest.raises(Disconnected, match="the user name or the password is wrong"):
        run(login, "n1", 1, (), tmp_path, runs={}, run_as=getpass.getuser())


@pytest.mark.spec("G4")
@pytest.mark.parametrize(("slots", "labels", "word"), [(0, (), "slots"), (1, ("Big Label",), "label")])
def test_settings_that_can_not_be_used_are_refused(
    database: Any, tmp_path: Any, slots: int, labels: tuple[str, ...], word: str
) -> None:
    with pytest.raises(Invalid, match=word):
        run(database.login("node_n1"), "n1", slots, labels, tmp_path, runs={}, run_as=getpass.getuser())


@pytest.mark.spec("G4")
def test_a_kind_that_the_node_does_not_know_fails_with_a_sentence(cluster: Any) -> None:
    cluster.start("n1", runs={"template": "tests.cluster.agent_runs:run"})
    job = cluster.submit({})
    assert cluster.ended(job) == "failed"
    assert cluster.error(job) == "this node can't run jobs of the kind 'factor'"


@pytest.mark.spec("G4")
def test_a_run_that_can_not_be_loaded_fails_the_task_only(cluster: Any) -> None:
    cluster.start("n1", runs={"factor": "tests.cluster.agent_runs:none", "template": "tests.cluster.agent_runs:run"})
    job = cluster.submit({})
    assert cluster.ended(job) == "failed"
    assert "AttributeError" in cluster.error(job)
