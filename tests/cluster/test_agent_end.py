"""Terminate, and every other way in which a task ends: no process of it lives on."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster.conftest import lives, until


def told(path: Path) -> list[int]:
    until(path.exists, 30, "the task does not start")
    pids: list[int] = json.loads(path.read_text())
    assert all(lives(pid) for pid in pids)
    return pids


@pytest.mark.spec("M5", "N4", "R2")
def test_terminate_ends_a_whole_tree_and_gives_a_receipt(cluster: Any, tmp_path: Path) -> None:
    cluster.start()
    job = cluster.submit({"do": "tree", "tell": str(tmp_path / "pids")})
    pids = told(tmp_path / "pids")
    assert len(pids) == 3
    sessions = {os.getsid(pid) for pid in pids}
    assert len(sessions) == 2, "the daemon has left the task's session"
    before = dt.datetime.now(dt.UTC)
    cluster.database.sql("alice", "select qd.terminate_job(:j)", j=job)
    assert cluster.ended(job, 10) == "failed"
    assert not [pid for pid in pids if lives(pid)]
    attempt = cluster.attempts(job)[0]
    assert attempt.outcome == "terminated"
    receipt = attempt.receipt
    assert receipt["node"] == "n1"
    killed = {one["pid"]: one for one in receipt["processes"]}
    assert set(pids) <= set(killed)
    for pid in pids:
        assert killed[pid]["signal"] == "SIGKILL"
        assert killed[pid]["name"]
        ended = dt.datetime.fromisoformat(killed[pid]["ended"])
        assert before <= ended <= dt.datetime.now(dt.UTC)
    texts = cluster.texts(job, "execution")
    for pid in pids:
        assert any(f"killed process {pid} (" in text and "on node n1 with SIGKILL, ended 20" in text for text in texts)
    assert any("termination requested by alice" in text for text in texts)
    assert "terminated by alice" in cluster.error(job)


@pytest.mark.spec("M5")
def test_terminate_ends_all_tasks_of_a_job_also_the_waiting_ones(cluster: Any, tmp_path: Path) -> None:
    cluster.start(slots=2)
    job = cluster.submit(*({"do": "sleep", "tell": str(tmp_path / f"pids{n}")} for n in range(5)))
    pids = told(tmp_path / "pids0") + told(tmp_path / "pids1")
    cluster.database.sql("boss", "select qd.terminate_job(:j)", j=job)
    assert cluster.ended(job, 10) == "failed"
    assert not [pid for pid in pids if lives(pid)]
    assert len(cluster.attempts(job)) == 2
    # the slots are free again
    assert cluster.ended(cluster.submit({}, {}, {}), 20) == "success"


@pytest.mark.spec("M5", "S2")
def test_a_terminated_realtime_backtest_is_terminated(cluster: Any, tmp_path: Path) -> None:
    cluster.start(runs={"backtest": "tests.cluster.agent_runs:run"})
    plan = [{"name": "live", "params": {"do": "sleep", "tell": str(tmp_path / "pids")}}]
    job = cluster.database.submit("alice", plan, kind="backtest", backtest_type="real-time")
    told(tmp_path / "pids")
    cluster.database.sql("alice", "select qd.terminate_job(:j)", j=job)
    assert cluster.ended(job, 10) == "terminated"


@pytest.mark.spec("G1", "M6")
def test_processes_that_outlive_their_task_are_ended_and_named(cluster: Any, tmp_path: Path) -> None:
    cluster.start()
    job = cluster.submit({"do": "tree", "leave": True, "tell": str(tmp_path / "pids")})
    until((tmp_path / "pids").exists, 30)
    pids = json.loads((tmp_path / "pids").read_text())
    assert cluster.ended(job, 20) == "success"
    assert not [pid for pid in pids if lives(pid)]
    texts = cluster.texts(job, "execution")
    assert any("processes that it started were running; they are ended" in text for text in texts)
    assert any(f"killed process {pids[2]} (" in text for text in texts)


@pytest.mark.spec("G1")
def test_a_killed_warden_leaves_no_process(cluster: Any, tmp_path: Path) -> None:
    cluster.start()
    job = cluster.submit({"do": "tree", "tell": str(tmp_path / "pids")})
    pids = told(tmp_path / "pids")
    warden = psutil.Process(pids[0]).ppid()
    assert psutil.Process(warden).name() == "qd-warden"
    os.kill(warden, signal.SIGKILL)
    assert cluster.ended(job, 15) == "failed"
    assert not [pid for pid in pids if lives(pid)]
    assert "went away without a word" in cluster.error(job)


@pytest.mark.spec("G1")
def test_a_killed_nursery_is_replaced(cluster: Any, tmp_path: Path) -> None:
    agent = cluster.start()
    assert cluster.ended(cluster.submit({})) == "success"
    nursery = next(one for one in psutil.Process(agent.pid).children() if one.name() == "qd-nursery")
    nursery.kill()
    assert cluster.ended(cluster.submit({}, {}), 30) == "success"


@pytest.mark.spec("G1")
def test_sigterm_ends_tasks_as_lost_and_gives_restartable_ones_back(cluster: Any, tmp_path: Path) -> None:
    agent = cluster.start()
    job = cluster.submit({"do": "sleep", "tell": str(tmp_path / "pids")})
    again = cluster.submit({"do": "sleep", "seconds": 5, "tell": str(tmp_path / "again"), "restartable": True})
    pids = told(tmp_path / "pids") + told(tmp_path / "again")
    assert agent.stop() == 0
    assert not [pid for pid in pids if lives(pid)]
    assert cluster.status(job) == "failed"
    assert cluster.error(job) == "node lost"
    assert cluster.database.value("postgres", "select state from qd.node where name = 'n1'") == "down"
    task = cluster.database.sql("postgres", "select status, attempt from qd.task where job_id = :j", j=again)[0]
    assert (task.status, task.attempt) == ("queued", 2)
    cluster.start("n2")
    assert cluster.ended(again) == "success"
    assert not list((cluster.data / "n1" / "attempts").iterdir())


@pytest.mark.spec("G1")
def test_a_short_task_may_finish_while_the_node_stops(cluster: Any, tmp_path: Path) -> None:
    agent = cluster.start()
    job = cluster.submit({"do": "sleep", "seconds": 1, "tell": str(tmp_path / "pids")})
    told(tmp_path / "pids")
    assert agent.stop() == 0
    assert cluster.status(job) == "success"
