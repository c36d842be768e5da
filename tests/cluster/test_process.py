"""Process trees, without a node."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from quarterdeck.agent.process import MARK, Identity, Tree, end_all
from tests.cluster.conftest import lives, until

_SLEEP = "import time; print(1, flush=True); time.sleep(600)"
_STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + _SLEEP
_PARENT = f"""
import subprocess, sys, time
for code in ({_SLEEP!r}, {_STUBBORN!r}):
    subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
time.sleep(600)
"""
_FORKS = """
import os, time
for _ in range(400):
    if os.fork() == 0:
        time.sleep(30)
        os._exit(0)
    time.sleep(0.005)
"""


def begun(code: str, **settings: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **settings)  # type: ignore[call-overload, no-any-return]


@pytest.mark.spec("N4", "M5")
def test_a_tree_is_ended_by_term_and_then_by_kill() -> None:
    parent = begun(_PARENT)
    assert parent.stdout is not None
    assert [parent.stdout.readline() for _ in range(2)] == ["1\n", "1\n"]
    pids = [one.pid for one in psutil.Process(parent.pid).children()]
    tree = Tree(parent.pid)
    began = time.monotonic()
    victims, alive = end_all(tree.below)
    assert time.monotonic() - began < 1.0
    assert not alive
    assert not [pid for pid in pids if lives(pid)]
    assert lives(parent.pid), "the root itself, the warden, is not part of it"
    assert sorted(one.signal for one in victims) == ["SIGKILL", "SIGTERM"]
    assert {one.pid for one in victims} == set(pids)
    parent.kill()
    parent.communicate()


@pytest.mark.spec("N4")
def test_a_process_that_forks_all_the_time_is_ended() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])", _FORKS]
    )
    tree = Tree(parent.pid)
    until(lambda: len(tree.below()) > 20, 10)
    victims, alive = end_all(tree.below, grace=0.05)
    assert not alive
    assert len(victims) > 20
    parent.wait(10)
    assert not tree.below()


@pytest.mark.spec("G1")
def test_a_recorded_process_is_told_from_a_later_one_of_its_number() -> None:
    process = begun(_SLEEP)
    identity = Identity.of(process.pid)
    assert identity is not None
    assert Tree(None, known=[identity]).below()
    stranger = Identity(process.pid, identity.started - 100)
    assert end_all(Tree(None, known=[stranger]).below) == ([], [])
    assert lives(process.pid)
    victims, _ = end_all(Tree(None, known=[identity]).below)
    assert [one.pid for one in victims] == [process.pid]
    process.communicate()
    assert Identity.of(process.pid) is None


@pytest.mark.spec("G1")
def test_a_process_is_found_by_its_mark_alone(tmp_path: Path) -> None:
    marked = begun(_SLEEP, env={MARK: str(tmp_path)}, start_new_session=True)
    other = begun(_SLEEP, env={MARK: str(tmp_path / "other")})
    for one in (marked, other):
        assert one.stdout is not None
        one.stdout.readline()
    victims, alive = end_all(Tree(None, mark=str(tmp_path)).below)
    assert [one.pid for one in victims] == [marked.pid]
    assert not alive
    assert lives(other.pid)
    other.kill()
    for one in (marked, other):
        one.communicate()


_ORDINARY = """
import ctypes, os
if os.geteuid() == 0:
    # as an ordinary account, as root reads everything; the change itself closes the memory, so it is opened again
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)
"""
_READER = """
import sys
try:
    with open(f"/proc/{sys.argv[1]}/mem", "rb"):
        print("open")
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.spec("R3", "G5")
@pytest.mark.skipif(sys.platform != "linux", reason="Linux closes a process's memory by prctl")
@pytest.mark.parametrize(("closed", "said"), [("", "open"), ("process.undumpable()", "PermissionError")])
def test_another_process_of_the_account_can_not_read_the_memory(closed: str, said: str) -> None:
    holder = begun(f"from quarterdeck.agent import process\n{_ORDINARY}\n{closed}\n{_SLEEP}")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "1\n"
    reader = [sys.executable, "-c", _ORDINARY + _READER, str(holder.pid)]
    found = subprocess.run(reader, capture_output=True, text=True, check=True)
    holder.kill()
    holder.communicate()
    assert found.stdout.strip() == said
