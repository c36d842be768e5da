"""What a task's code can reach, and what a stranger can do to a node through the database."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster.conftest import lives, until
from tests.cluster.test_agent_end import told


@pytest.mark.spec("R3", "G5")
def test_a_task_finds_no_credentials(cluster: Any) -> None:
    agent = cluster.start()
    password = cluster.database.login("node_n1").password
    # the parameter would put the whole password into the task: a part of it is as telling
    job = cluster.submit({"do": "secrets", "needle": password[5:25]})
    assert cluster.ended(job) == "success"
    found = json.loads(next(text for text in cluster.texts(job, "stdout") if text.startswith("{")))
    environment = found["environment"]
    assert not [name for name in environment if name.startswith(("PG", "QUARTERDECK"))]
    assert password not in json.dumps(environment)
    assert set(environment) <= {
        "PATH", "LANG", "TZ", "HOME", "TMPDIR", "PYTHONUNBUFFERED", "PYTHONUTF8", "LD_LIBRARY_PATH", "LC_CTYPE",
    }  # fmt: skip
    assert environment["HOME"] == environment["TMPDIR"] == found["cwd"]
    assert str(cluster.data) in found["cwd"]
    assert found["cwd"] not in found["path"]
    assert "" not in found["path"]
    assert found["stdin"] == ""
    assert found["session"]
    handles = {number: target for number, target in found["handles"].items() if not target.startswith("/proc/")}
    assert handles.pop("0") == "/dev/null"
    assert len(handles) == 5
    assert all(target.startswith("pipe:") for target in handles.values()), handles
    assert not any(entry["environ"] is True or entry["cmdline"] is True for entry in found["ancestors"])
    assert found["ancestors"][-1]["name"] == "qd-nursery"
    assert found["ancestors"][-1]["memory"] == 0
    # the agent's own: nothing in what process lists show (for its memory see test_process)
    assert password.encode() not in Path(f"/proc/{agent.pid}/cmdline").read_bytes()
    assert password.encode() not in environment_of(agent.pid)
    for path in cluster.data.rglob("*"):
        if path.is_file():
            assert password.encode() not in path.read_bytes()


@pytest.mark.spec("R3", "G5")
def test_the_needle_is_found_where_it_is() -> None:
    """The search of the test above finds what is there."""
    from tests.cluster.agent_runs import _in_memory

    needle = os.urandom(12).hex().encode()
    assert _in_memory(os.getpid(), needle) > 0


def environment_of(pid: int) -> bytes:
    """What root sees of an agent's environment; to its own account it is closed."""
    file = Path(f"/proc/{pid}/environ")
    if os.geteuid() == 0:
        return file.read_bytes()
    with pytest.raises(PermissionError):
        file.read_bytes()
    return b""


def _channels(cluster: Any) -> list[str]:
    rows = cluster.database.sql("node_n1", "select channel from qd.queue_channels()")
    return [row[0] for row in rows]


@pytest.mark.spec("R3", "M5")
def test_forged_and_broken_notifications_have_no_effect(cluster: Any, tmp_path: Path) -> None:
    cluster.start()
    job = cluster.submit({"do": "sleep", "tell": str(tmp_path / "pids")})
    pids = told(tmp_path / "pids")
    row = cluster.database.value("postgres", "select queue_id from qd.task where job_id = :j", j=job)
    forged = [
        json.dumps({"type": "abort_job_requested", "job_id": row}),
        "garbage",
        "",
        "[]",
        "{}",
        '{"type": "abort_job_requested"}',
        '{"type": "abort_job_requested", "job_id": "1; drop table"}',
        json.dumps({"type": "abort_job_requested", "job_id": 2**70}),
        json.dumps({"type": "job_inserted", "job_id": None}),
        "[" * 3000,
    ]
    names = [*_channels(cluster), "procrastinate_queue_v1#any", "procrastinate_any_queue_v1"]
    # even one who knows the channels, which no login but a node's can read
    for name in names:
        for payload in forged:
            cluster.database.sql("postgres", "select pg_notify(:n, :p)", n=name, p=payload)
    assert cluster.ended(cluster.submit({}), 20) == "success"
    assert lives(pids[0])
    assert cluster.status(job) == "in_progress"
    # and the listener still listens: a real one arrives at once, not by the poll of each second
    cluster.database.sql("alice", "select qd.terminate_job(:j)", j=job)
    until(lambda: not lives(pids[0]), 5)
    assert cluster.ended(job, 5) == "failed"


@pytest.mark.spec("G2", "M5")
def test_a_listener_whose_connection_is_cut_listens_again(cluster: Any, tmp_path: Path) -> None:
    cluster.start()
    assert cluster.ended(cluster.submit({})) == "success"
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'node_n1' and query ilike 'listen%'"
    listening = "select pid from pg_stat_activity where usename = 'node_n1' and query ilike 'listen%'"
    old = cluster.database.value("postgres", listening)
    cluster.database.sql("postgres", cut)

    def again() -> bool:
        rows = cluster.database.sql("postgres", listening)
        return bool(rows) and rows[0][0] != old

    until(again, 10)
    job = cluster.submit({"do": "sleep", "tell": str(tmp_path / "pids")})
    pids = told(tmp_path / "pids")
    cluster.database.sql("alice", "select qd.terminate_job(:j)", j=job)
    assert cluster.ended(job, 5) == "failed"
    assert not lives(pids[0])


@pytest.mark.spec("R3")
def test_a_task_that_breaks_its_pipe_fails_alone(cluster: Any) -> None:
    agent = cluster.start()
    job = cluster.submit({"do": "babble"})
    assert cluster.ended(job) == "failed"
    assert "sent what is not a message" in cluster.error(job)
    assert cluster.ended(cluster.submit({})) == "success"
    assert psutil.pid_exists(agent.pid)
