"""A task's process from both launchers: by fork, and by spawn with a spare, the way of Windows."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.agent.channel import Record, records
from quarterdeck.agent.launch import Child, Launcher, Nursery
from quarterdeck.agent.process import Identity, Tree, end_all
from quarterdeck.agent.spare import Spares
from tests.cluster.conftest import lives, until


@pytest.fixture(params=[Nursery, Spares])
def launcher(request: pytest.FixtureRequest) -> Iterator[Launcher]:
    made: Launcher = request.param()
    made.start()
    try:
        yield made
    finally:
        made.stop()


def order(scratch: Path, **params: Any) -> Record:
    meta = {
        "run": "tests.cluster.agent_runs:run",
        "job_id": 1,
        "task_name": "x",
        "ordinal": 0,
        "tasks": 1,
        "attempt": 1,
    }
    return Record("start", meta | {"params": params, "job_params": {}, "scratch": str(scratch)})


def events(child: Child) -> Iterator[dict[str, Any]]:
    while (event := child.events()) is not None:
        yield event


def closed(child: Child) -> None:
    child.close_orders()
    child.shut()
    for handle in (child.lines, child.out, child.err, child.frames):
        os.close(handle)


def text(handle: int) -> str:
    with os.fdopen(os.dup(handle), "rb") as stream:
        return stream.read().decode()


@pytest.mark.spec("X1", "R3")
def test_it_runs_in_its_folder_and_says_how_it_ended(launcher: Launcher, tmp_path: Path) -> None:
    for number in range(2):  # the second one comes from a new spare
        scratch = tmp_path / str(number)
        scratch.mkdir()
        child = launcher.launch(scratch)
        assert child.send(order(scratch, do="surroundings"))
        found = list(events(child))
        assert found[0]["pid"] > 0
        assert [one["exit"] for one in found if "exit" in one] == [0]
        assert "empty" in found[-1]
        with os.fdopen(os.dup(child.frames), "rb") as stream:
            assert [(one.kind, one.meta["outcome"]) for one in records(stream)] == [("end", "success")]
        lines = [line.split("\t", 2)[2] for line in text(child.lines).splitlines()]
        assert lines == [str(scratch), str(scratch), "session True"]
        closed(child)


@pytest.mark.spec("N4", "G1")
def test_its_tree_can_be_ended(launcher: Launcher, tmp_path: Path) -> None:
    child = launcher.launch(tmp_path)
    assert child.send(order(tmp_path, do="child", tell=str(tmp_path / "pids")))
    stream = events(child)
    first = next(stream)
    until((tmp_path / "pids").exists, 30)
    pids = [int(one) for one in (tmp_path / "pids").read_text().strip("[]").split(",")]
    assert first["pid"] in pids
    tree = Tree(child.warden or None, known=[Identity(first["pid"], first["started"])])
    victims, alive = end_all(tree.below)
    assert not alive
    assert {one.pid for one in victims} == set(pids)
    assert not [pid for pid in pids if lives(pid)]
    rest = list(stream)
    assert next(one["exit"] for one in rest if "exit" in one) in (-9, -15)
    assert "empty" in rest[-1]
    closed(child)


@pytest.mark.spec("G1")
def test_a_nursery_that_was_killed_is_replaced(tmp_path: Path) -> None:
    nursery = Nursery()
    nursery.start()
    try:
        assert nursery.settled() is False  # nothing was to be hidden
        assert nursery.pid is not None
        os.kill(nursery.pid, signal.SIGKILL)
        child = nursery.launch(tmp_path)
        assert child.send(order(tmp_path, do="nothing"))
        assert [one["exit"] for one in events(child) if "exit" in one] == [0]
        closed(child)
    finally:
        nursery.stop()
