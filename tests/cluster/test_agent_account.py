"""Tasks as an account of their own, where root starts the node; and what is closed to them where another one does."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from quarterdeck.agent import view
from quarterdeck.agent.account import Accounts
from quarterdeck.errors import Invalid
from tests.cluster.conftest import Agent, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="how Linux keeps processes apart")
needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give accounts")
needs_view = pytest.mark.skipif(
    os.geteuid() == 0 and bool(view.trouble(Accounts(None).example)),
    reason="Python lies where no other account gets, and this system does not let that be opened for tasks alone",
)
# as another account the same is tested for the account that runs the tests: see `ordinary`

SERVICE = "daemon"
"""An account of the system that is nobody's and, unlike nobody, not the database's in these tests."""


@pytest.fixture
def opened(cluster: Any, open_folder: Path, tmp_path: Path) -> Any:
    """The cluster with its nodes' files where every account gets."""
    cluster.data = open_folder / tmp_path.name / "nodes"
    cluster.data.mkdir(parents=True)
    for folder in (cluster.data, cluster.data.parent):
        folder.chmod(0o755)
    return cluster


def nursery_of(agent: Agent) -> int:
    return int(next(one.pid for one in psutil.Process(agent.pid).children() if one.name() == "qd-nursery"))


def secrets(folder: Path, owner: int | None = None) -> list[Path]:
    """A file of passwords as profiles have it, and a database's folder: closed to all but their owner."""
    places = [folder / "config" / "credentials", folder / "pg" / "PG_VERSION"]
    for place in places:
        place.parent.mkdir(mode=0o700)
        place.write_text("secret", encoding="utf-8")
        place.chmod(0o600)
        if owner is not None:
            for one in (place, place.parent):
                os.chown(one, owner, -1)
    return places


def burgled(cluster: Any, agent: Agent, paths: list[Path], *, signal: bool) -> dict[str, Any]:
    places = [str(one) for path in paths for one in (path, path.parent)]
    covers = [str(path.parent) for path in paths]
    params = {"agent": agent.pid, "nursery": nursery_of(agent), "paths": places, "covers": covers, "signal": signal}
    job = cluster.submit({"do": "burgle", **params})
    assert cluster.ended(job) == "success", cluster.error(job)
    found: dict[str, Any] = json.loads(next(text for text in cluster.texts(job, "stdout") if text.startswith("{")))
    return found


def gained(found: dict[str, Any]) -> dict[str, Any]:
    """What hostile code got at."""
    refused: tuple[object, ...] = (
        "Permission denied",
        "No such file or directory",
        "Operation not permitted",
        "Invalid argument",
        False,
        [],
    )
    return {name: answer for name, answer in found.items() if name != "status" and answer and answer not in refused}


@needs_root
@pytest.mark.spec("R3", "G5")
@pytest.mark.parametrize("run_as", [None, SERVICE])
@needs_view
def test_hostile_code_on_roots_node_gains_nothing(opened: Any, tmp_path: Path, run_as: str | None) -> None:
    agent = opened.start(run_as=run_as)
    log = opened.data / "n1" / "agent.log"
    until(log.exists)
    paths = [*secrets(tmp_path), log]
    found = burgled(opened, agent, paths, signal=True)
    assert gained(found) == {}
    assert psutil.pid_exists(agent.pid)
    status = found["status"]
    ids = {int(number) for number in status["Uid"].split()}
    entry = pwd.getpwnam(SERVICE)
    assert ids == ({entry.pw_uid} if run_as else ids - {0, entry.pw_uid})
    assert len(ids) == 1
    assert "0" not in [*status["Gid"].split(), *status["Groups"].split()]
    assert status["NoNewPrivs"] == "1"


@needs_root
@pytest.mark.spec("R3")
def test_the_same_code_as_root_gains_all(opened: Any, tmp_path: Path) -> None:
    """The attempts of the test above are attempts."""
    agent = opened.start(run_as="root")
    found = burgled(opened, agent, secrets(tmp_path), signal=False)
    assert found["memory"] == "open"
    assert found["environment"] == "read"
    assert found["root"] == "root"
    assert found[str(tmp_path / "config" / "credentials")] == "secret"
    assert found["ptrace"] == "attached"


@pytest.mark.spec("R3", "G5")
@needs_view
def test_hostile_code_on_an_ordinary_accounts_node(opened: Any, tmp_path: Path) -> None:
    """The account's own files are the task's too: those of passwords and of the database are covered."""
    account = pwd.getpwnam(SERVICE) if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
    opened.data.chmod(0o700)
    folder = opened.data.parent / "secret"
    folder.mkdir()
    folder.chmod(0o755)
    paths = secrets(folder, account.pw_uid)
    os.chown(opened.data, account.pw_uid, account.pw_gid)
    agent = opened.start(node_account=account.pw_name, run_as=None, hidden=[path.parent for path in paths])
    found = burgled(opened, agent, paths, signal=False)
    hides = "see all that it sees" not in agent_log(opened)
    if hides:
        assert {*gained(found)} <= {"environments", "others' folders"}, found
        assert agent.pid not in found["environments"]
    else:  # this system makes no namespaces for ordinary accounts: the agent itself is closed all the same
        assert (found["memory"], found["environment"], found["ptrace"]) == (
            "Permission denied", "Permission denied", "Operation not permitted",
        )  # fmt: skip
    assert paths[0].read_text() == "secret"


def agent_log(cluster: Any) -> str:
    return str(cluster.agents[-1].log())


@needs_root
@pytest.mark.spec("X1", "R3")
@pytest.mark.parametrize("node_account", [None, SERVICE])
@needs_view
def test_a_task_of_another_account_works_as_ever(opened: Any, tmp_path: Path, node_account: str | None) -> None:
    """Of root's node, and of an ordinary account's with a part of the file system covered."""
    if node_account:
        os.chown(opened.data, pwd.getpwnam(node_account).pw_uid, -1)
    opened.start(run_as=None, node_account=node_account, hidden=[path.parent for path in secrets(tmp_path)])
    assert opened.ended(opened.submit({"do": "publish", "name": "prices"})) == "success"
    job = opened.submit({"do": "at_home", "name": "prices"}, {"do": "at_home", "name": "prices"})
    assert opened.ended(job) == "success", opened.error(job)
    texts = opened.texts(job, "stdout")
    assert texts.count("by the device") == 2
    found = [json.loads(text) for text in texts if text.startswith("{")]
    for one in found:
        assert (one["rows"], one["program"], one["left"], one["sqlite"]) == (1000, "polars", [], True)
        assert one["groups"] == []
    assert len({one["uid"] for one in found}) == (1 if node_account else 2), "a number for each task of root's node"
    until(lambda: not list((opened.data / "n1" / "attempts").iterdir()))


@needs_root
@pytest.mark.spec("N4", "M5", "G1")
@needs_view
def test_its_tree_is_ended_by_roots_agent(opened: Any, tmp_path: Path) -> None:
    agent = opened.start(run_as=None)
    job = opened.submit({"do": "tree"})
    until(lambda: "tree is up" in opened.texts(job))
    uid = psutil.Process(opened.attempts(job)[0].pid).uids().real
    assert len(of(uid)) == 3
    opened.database.sql("alice", "select qd.terminate_job(:j)", j=job)
    assert opened.ended(job, 5) == "failed"
    assert of(uid) == []
    # and they die with the agent
    job = opened.submit({"do": "tree"})
    until(lambda: "tree is up" in opened.texts(job))
    uid = psutil.Process(opened.attempts(job)[0].pid).uids().real
    agent.kill()
    until(lambda: of(uid) == [], 10)


def of(uid: int) -> list[int]:
    found = []
    for one in psutil.process_iter():
        try:
            if one.uids().real == uid and one.status() != psutil.STATUS_ZOMBIE:
                found.append(one.pid)
        except psutil.Error:
            continue
    return found


@needs_root
@pytest.mark.spec("R3")
@needs_view
def test_the_agent_follows_no_links_of_a_task(opened: Any, tmp_path: Path) -> None:
    opened.start(run_as=None)
    assert opened.ended(opened.submit({"do": "publish", "name": "prices"})) == "success"
    target = tmp_path / "target"
    target.mkdir()
    job = opened.submit({"do": "trap", "name": "prices", "target": str(target)})
    assert opened.ended(job) == "failed"
    assert opened.texts(job, "stdout")[0] == "PermissionError"
    assert "could not be read on this node" in opened.error(job)
    assert list(target.iterdir()) == []


@needs_root
@pytest.mark.spec("G4", "R3")
def test_an_account_that_is_none_is_refused() -> None:
    with pytest.raises(Invalid, match="this machine has no account 'no-such-account' for tasks to run as"):
        Accounts("no-such-account")


@needs_root
@pytest.mark.spec("R3")
def test_numbers_are_given_once_and_again_when_given_back() -> None:
    accounts = Accounts(None)
    first, second = accounts.take(7), accounts.take(7)
    assert first is not None
    assert second is not None
    assert 0 < first.uid != second.uid > 0
    accounts.give_back(first)
    assert accounts.take(7) == first


@needs_root
@pytest.mark.spec("G4", "D2")
@needs_view
def test_a_file_that_the_account_can_not_read_is_named_with_the_account(
    opened: Any, open_folder: Path, tmp_path: Path
) -> None:
    file = open_folder / f"{tmp_path.name}.csv"
    file.write_text("symbol,time,close\nA,2024-01-02,1\n", encoding="utf-8")
    file.chmod(0o600)
    opened.start(run_as=SERVICE, runs={"data_import": "quarterdeck.kinds.data_import:run"})
    for path in (file, tmp_path / "closed.csv"):
        job = opened.submit({"path": str(path), "table": "p"}, kind="data_import")
        assert opened.ended(job) == "failed"
        assert str(path) in opened.error(job)
        assert f"as the account '{SERVICE}'" in opened.error(job)
    file.chmod(0o644)
    job = opened.submit({"path": str(file), "table": "p"}, kind="data_import")
    assert opened.ended(job) == "success", opened.error(job)


_NARROW = """
import sys
from quarterdeck.agent import view
from quarterdeck.agent.account import Account
try:
    print(view.narrow(Account("number 61184", 61184, 61184), sys.argv[1:], []))
except view.Blocked as error:
    print(error)
"""


@needs_root
@pytest.mark.spec("R3", "G4")
def test_without_the_right_to_mount_the_node_says_what_keeps_its_tasks_out(tmp_path: Path) -> None:
    needed = tmp_path / "closed" / "python"
    needed.mkdir(parents=True)
    needed.parent.chmod(0o700)
    command = ["setpriv", "--bounding-set=-sys_admin", sys.executable, "-c", _NARROW, str(needed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "this node's tasks run as another account (number 61184), which can't get into /" in done.stdout
    assert "say --run-as root, with which a job's code can read the node's password" in done.stdout
    assert done.stdout.count("\n") == 1


_TROUBLE = """
import sys
from quarterdeck.agent import view
from quarterdeck.agent.account import Account
print(view.trouble(Account("number 61184", 61184, 61184), sys.argv[1:]))
print(view.trouble(Account("number 61184", 61184, 61184)) and "Python is out of reach")
"""


@needs_root
@pytest.mark.spec("R3", "G4")
def test_what_would_keep_tasks_out_is_known_before(tmp_path: Path) -> None:
    needed = tmp_path / "closed" / "python"
    needed.mkdir(parents=True)
    needed.parent.chmod(0o700)
    tried = [sys.executable, "-c", _TROUBLE, str(needed)]
    command = ["setpriv", "--bounding-set=-sys_admin", *tried]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "which can't get into /" in done.stdout.splitlines()[0]
    # asked twice, it changes nothing for the one who asks
    free = subprocess.run(tried, capture_output=True, text=True, check=True, timeout=60)
    assert free.stdout.count("\n") == 2
