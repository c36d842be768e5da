"""The cluster on one computer: started, found, killed, recovered, stopped."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import keyring
import psutil
import pytest
from keyring.backends.fail import Keyring

from quarterdeck import embedded, profile
from quarterdeck.client import Client
from quarterdeck.embedded import Cluster
from quarterdeck.errors import Conflict, Disconnected, QuarterdeckError
from quarterdeck.job import Status
from quarterdeck.session import login_of
from tests.cluster.test_agent_safety import environment_of


def until(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come about in time"
        time.sleep(0.02)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration folder of the test's own, on a computer without a keyring."""
    monkeypatch.setenv("QUARTERDECK_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("QUARTERDECK_PASSWORD", raising=False)
    before = keyring.get_keyring()
    keyring.set_keyring(Keyring())
    yield tmp_path / "config"
    keyring.set_keyring(before)


@pytest.fixture
def cluster(config: Path, open_folder: Path, tmp_path: Path) -> Iterator[Cluster]:
    data = open_folder / tmp_path.name
    try:
        yield embedded.start(data, slots=2)
    finally:
        embedded.stop(data)
        left = [one for one in psutil.process_iter(["cmdline"]) if str(data) in " ".join(one.info["cmdline"] or ())]
        assert left == []


_SLEEPER = "import time\n\ndef factor(frame):\n    print('begun', flush=True)\n    time.sleep(300)\n"


def _begin(client: Client, folder: Path, name: str) -> int:
    prices = folder / "p.csv"
    prices.write_text("symbol,time,close\nA,2024-01-02,1\nA,2024-01-03,2\n", encoding="utf-8")
    if "p" not in {one.name for one in client.datasets()}:
        imported = client.submit("data_import", {"path": str(prices), "table": "p"})
        assert client.wait(imported, 30).status is Status.SUCCESS, client.get(imported).error
    job = client.submit("factor", {"name": name, "table": "p", "code": _SLEEPER})
    until(lambda: any(line.text == "begun" for line in client.log(job).newest(50)))
    return job


@pytest.mark.spec("R3")
def test_other_databases_of_the_server_are_closed_to_its_users(cluster: Cluster) -> None:
    login = login_of(cluster.profile)
    for name in ("postgres", "template1"):
        with pytest.raises(Disconnected, match="may not connect"):
            Client.sign_in(dataclasses.replace(login, database=name))


@pytest.mark.spec("C1", "P3", "G5")
def test_a_start_makes_all_and_a_second_one_finds_it(cluster: Cluster) -> None:
    assert cluster.created
    assert [(node.name, node.pid is not None) for node in cluster.nodes] == [("n1", True)]
    again = embedded.start(cluster.data)
    assert not again.created
    assert (again.port, again.nodes) == (cluster.port, cluster.nodes)
    found = embedded.status(cluster.data)
    assert found.running
    assert found.nodes == cluster.nodes
    with Client.connect() as client:
        assert client.me.admin
        assert [node.name for node in client.nodes()] == ["n1"]


_LEAVES = """
import sys
from pathlib import Path
from quarterdeck import embedded
embedded.start_node("n2", slots=1, data=Path(sys.argv[1]), run_as=embedded.tasks_account())
"""


@pytest.mark.spec("C1")
def test_a_program_that_leaves_a_node_running_ends_without_a_warning(cluster: Cluster) -> None:
    command = [sys.executable, "-W", "always::ResourceWarning", "-c", _LEAVES, str(cluster.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("", "")
    assert [node.name for node in embedded.status(cluster.data).nodes if node.pid is not None] == ["n1", "n2"]


@pytest.mark.spec("G5")
def test_no_password_lies_in_the_folder_or_a_process(cluster: Cluster) -> None:
    secret = profile.password(profile.load())
    assert secret
    for file in cluster.data.rglob("*"):
        if file.is_file() and file.suffix in {".json", ".log", ".conf", ".pid", ""} and file.stat().st_size < 1 << 20:
            assert secret.encode() not in file.read_bytes(), file
    pid = cluster.nodes[0].pid
    assert pid is not None
    assert secret not in " ".join(psutil.Process(pid).cmdline())
    environment = environment_of(pid)
    assert secret.encode() not in environment
    assert [word for word in environment.split(b"\0") if word.startswith((b"QUARTERDECK_", b"PG"))] == []


@pytest.mark.spec("G1", "C1")
def test_killed_as_a_whole_it_recovers_and_the_cut_task_says_so(cluster: Cluster, shared_path: Path) -> None:
    embedded.start_node("n2", slots=1, data=cluster.data, run_as=embedded.tasks_account())
    with Client.connect() as client:
        job = _begin(client, shared_path, "cut")
    before = embedded.status(cluster.data)
    assert before.pid is not None
    for pid in [before.pid, *(node.pid for node in before.nodes)]:
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(Disconnected):
        Client.connect()

    after = embedded.start(cluster.data)
    assert [node.name for node in after.nodes if node.pid is not None] == ["n1", "n2"]
    with Client.connect() as client:
        until(lambda: client.tasks(job)[0].attempt == 2)
        until(lambda: any(line.text == "begun" for line in client.log(job).newest(5)))
        text = "\n".join(line.text for line in client.log(job).newest(50))
        assert "lost" in text
        client.terminate(job)
        assert client.wait(job, 30).status is Status.FAILED


@pytest.mark.spec("G5", "G4")
def test_a_running_cluster_whose_profile_is_gone_says_what_to_do(cluster: Cluster) -> None:
    profile.remove("local")
    with pytest.raises(Conflict, match=r"runs already.*stop and start it"):
        embedded.start(cluster.data)
    embedded.stop(cluster.data)
    embedded.start(cluster.data)
    with Client.connect() as client:
        assert client.me.admin


@pytest.mark.spec("C1")
def test_a_node_that_runs_is_not_started_twice(cluster: Cluster) -> None:
    with pytest.raises(Conflict, match="node n1 runs here already"):
        embedded.start_node("n1", slots=1, data=cluster.data)


@pytest.mark.spec("G4")
def test_status_and_stop_of_nothing(config: Path, tmp_path: Path) -> None:
    found = embedded.status(tmp_path / "none")
    assert not found.exists
    assert not found.running
    assert embedded.stop(tmp_path / "none") is False
    assert not (tmp_path / "none").exists()
    with pytest.raises(QuarterdeckError, match="there is no cluster on this computer yet"):
        Client.connect()


@pytest.mark.spec("G1")
@pytest.mark.parametrize("moment", range(3))
def test_a_server_just_killed_is_started_again_at_once(cluster: Cluster, moment: int) -> None:
    """Its process and its file of the process id outlive the kill for a moment, and the file goes on to say "ready"."""
    pid = embedded.status(cluster.data).pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    embedded.start(cluster.data)
    with Client.connect() as client:
        assert client.me.admin


@pytest.mark.spec("G1", "G2")
@pytest.mark.parametrize("silence", [0.0, 0.7, 1.0, 1.3])
def test_a_node_ends_by_sigterm_also_when_its_server_is_gone(cluster: Cluster, silence: float) -> None:
    found = embedded.status(cluster.data)
    agent = psutil.Process(found.nodes[0].pid)
    server = psutil.Process(found.pid)
    for one in [server, *server.children(recursive=True)]:
        one.kill()
    begun = time.monotonic()
    until(lambda: time.monotonic() - begun >= silence)
    agent.terminate()
    until(lambda: not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE, 8.0)
