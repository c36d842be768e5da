"""Two desktops, an administrator's and a user's, on one cluster with a real node: each sees what it may, at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QAbstractItemModel, Qt
from PySide6.QtWidgets import QApplication, QLabel, QWidget
from pytestqt.qtbot import QtBot

from desktop import app
from desktop.bridge import Bridge
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.views.window import Window
from quarterdeck.client import Client
from quarterdeck.job import Action, Job, Status
from tests.cluster.conftest import Cluster

AT_ONCE = 1.0
"""Seconds within which a desktop shows what happened."""

SECRET = "secret of alice"


class Desktop:
    """A window and what it shows."""

    def __init__(self, window: Window, qtbot: QtBot) -> None:
        self.window = window
        self.model = window.pages[0].model
        self.table = window.pages[0].table
        self.slowest = 0.0
        self._qtbot = qtbot

    def jobs(self) -> dict[int, Job]:
        found = (self.model.row(n) for n in range(self.model.rowCount()))
        return {job.id: job for job in found if job is not None}

    def status(self, job: int) -> Status | None:
        found = self.jobs().get(job)
        return None if found is None else found.status

    def texts(self) -> str:
        """All that any model of the window holds."""
        words = []
        for model in self.window.findChildren(QAbstractItemModel):
            for row in range(model.rowCount()):
                for column in range(model.columnCount()):
                    for role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole, Qt.ItemDataRole.UserRole):
                        words.append(repr(model.index(row, column).data(role)))
        return " ".join(words) + repr(self.jobs())


@pytest.fixture
def nodes(database: Any, tmp_path: Path, bridge: Bridge) -> Iterator[Cluster]:
    made = Cluster(database, tmp_path / "nodes")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def desktops(qtbot: QtBot, bridge: Bridge, sign_in: Any, tmp_path: Path) -> Iterator[tuple[Desktop, Desktop]]:
    """boss's and bob's."""
    made: list[Desktop] = []
    for user in ("boss", "bob"):
        client: Client = sign_in(user)
        listening = bridge.listen(app.feed(client))
        settings = Settings(tmp_path / f"{user}.json")
        window = Window(client, bridge, listening, Notices(), settings, user, lambda: None, lambda: None)
        window.resize(1280, 800)
        window.show()
        made.append(Desktop(window, qtbot))
        qtbot.waitUntil(lambda: made[-1].model.read)
    yield made[0], made[1]
    for one in made:
        one.window.commands.close_all()
        one.window.hide()
        one.window.deleteLater()


def within_a_second(qtbot: QtBot, happened: Callable[[], bool], seen: Callable[[], bool]) -> float:
    """How long after it happened in the database it was seen on the desktops."""
    first: list[float] = []

    def both() -> bool:
        if not first and happened():
            first.append(time.monotonic())
        return bool(first) and seen()

    qtbot.waitUntil(both, timeout=30_000)
    return time.monotonic() - first[0]


@pytest.mark.spec("M7", "R1", "R2", "X1")
@pytest.mark.timeout(180)
def test_two_people_watch_a_cluster_at_work(
    qtbot: QtBot, database: Any, nodes: Cluster, desktops: tuple[Desktop, Desktop]
) -> None:
    boss, bob = desktops
    nodes.start("n1", slots=3)
    took: list[float] = []

    def held(job: int) -> str:
        rows = database.sql("postgres", "select status from qd.job where id = :job", job=job)
        return rows[0][0] if rows else "gone"

    def happens(job: int, status: Status | None, *watching: Desktop) -> None:
        """The job comes to this status in the database, and within a second on those desktops."""
        wanted = "gone" if status is None else status.value
        took.append(
            within_a_second(
                qtbot, lambda: held(job) == wanted, lambda: all(one.status(job) is status for one in watching)
            )
        )

    # a job of bob's own, one of alice's that is private, and a public one
    mine = nodes.submit({"do": "chatter", "seconds": 300}, user="bob", name="bob's own")
    private = nodes.submit({"do": "chatter", "seconds": 300}, user="alice", name=SECRET, subject=SECRET)
    public = nodes.submit({"do": "lines", "count": 3}, user="alice", name="published", public=True)
    happens(mine, Status.IN_PROGRESS, boss, bob)
    happens(private, Status.IN_PROGRESS, boss)
    happens(public, Status.SUCCESS, boss, bob)
    assert bob.status(private) is None
    assert [job.nodes for job in bob.jobs().values()] == [("n1",), ("n1",)]
    # what each may do
    assert Action.TERMINATE in boss.jobs()[private].actions
    assert Action.TERMINATE in boss.jobs()[mine].actions
    assert Action.DELETE in boss.jobs()[public].actions
    assert Action.TERMINATE in bob.jobs()[mine].actions
    assert bob.jobs()[public].actions == frozenset()
    # bob ends his own
    bob.window.commands.act(bob.jobs()[mine], Action.TERMINATE)
    qtbot.waitUntil(lambda: bool(bob.window.commands.questions))
    bob.window.commands.questions[-1].accept()
    happens(mine, Status.FAILED, boss, bob)
    # the administrator ends alice's, and deletes it and the public one
    boss.window.commands.act(boss.jobs()[private], Action.TERMINATE)
    qtbot.waitUntil(lambda: bool(boss.window.commands.questions))
    boss.window.commands.questions[-1].accept()
    happens(private, Status.FAILED, boss)
    database.sql("boss", "select qd.delete_jobs(cast(:jobs as bigint[]))", jobs=[private, public])
    happens(private, None, boss)
    happens(public, None, boss, bob)
    assert set(boss.jobs()) == set(bob.jobs()) == {mine}
    assert SECRET not in bob.texts()
    assert max(took) < AT_ONCE, took


@pytest.mark.spec("M7", "R2")
def test_selection_and_place_stay_while_others_work(
    qtbot: QtBot, database: Any, desktops: tuple[Desktop, Desktop]
) -> None:
    boss, bob = desktops
    own = [database.submit("bob", name=f"bob's {n}") for n in range(60)]
    database.sql("node_n1", "select qd.register_node(8, '{}', 'h', '0', 1, 1)")
    qtbot.waitUntil(lambda: len(boss.jobs()) == len(bob.jobs()) == 60)
    kept = {}
    for one in desktops:
        bar = one.table.verticalScrollBar()
        qtbot.waitUntil(lambda bar=bar: bar.maximum() > 400)
        bar.setValue(307)
        assert bar.value() == 307
        row = one.model.find(own[30])
        assert row is not None
        one.table.selectRow(row)
        top = one.table.rowAt(0)
        job = one.model.row(top)
        assert job is not None
        kept[one] = (job.id, one.table.rowViewportPosition(top))
    names = []
    for n in range(12):
        job = database.submit("alice", name=f"{SECRET} {n}")
        names.append(job)
        (task,) = database.tasks(job)
        database.start("n1", task)
        if n % 2:
            database.end("n1", task, "failed", error=SECRET)
    database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=names[1])
    last = database.submit("bob", name="last")
    qtbot.waitUntil(lambda: bob.status(last) is Status.QUEUED)
    qtbot.waitUntil(lambda: len(boss.jobs()) == 72)
    for one in desktops:
        top = one.table.rowAt(0)
        job = one.model.row(top)
        assert job is not None
        assert (job.id, one.table.rowViewportPosition(top)) == kept[one]
        current = one.model.row(one.table.currentIndex().row())
        assert current is not None
        assert current.id == own[30]
        assert [index.row() for index in one.table.selectionModel().selectedRows()] == [one.table.currentIndex().row()]
    assert len(bob.jobs()) == 61
    assert SECRET not in bob.texts()
    assert SECRET in boss.texts()


@pytest.mark.spec("R2")
def test_what_was_public_leaves_the_other_desktop_when_it_is_private(
    qtbot: QtBot, database: Any, desktops: tuple[Desktop, Desktop]
) -> None:
    boss, bob = desktops
    job = database.submit("alice", name=SECRET, public=True)
    qtbot.waitUntil(lambda: boss.status(job) is bob.status(job) is Status.QUEUED)
    database.sql("postgres", "update qd.job set is_public = false where id = :job", job=job)
    qtbot.waitUntil(lambda: bob.status(job) is None)
    assert boss.status(job) is Status.QUEUED
    assert SECRET not in bob.texts()


WILD = "<img src='//evil.example/share/x.png'><h1>big</h1>&amp;"


@pytest.mark.spec("R3", "G4")
def test_what_others_write_is_text_whatever_it_looks_like(
    qtbot: QtBot, database: Any, desktops: tuple[Desktop, Desktop]
) -> None:
    """A name that is markup would open a file of its writer's choice on everybody's computer."""
    boss, bob = desktops
    job = database.submit("alice", [{"name": WILD}], name=WILD, subject=WILD, data_type=WILD[:30], public=True)
    (task,) = database.tasks(job)
    database.start("n1", task)
    database.sql("node_n1", "select qd.set_progress(:task, 1, 0.5, :words)", task=task, words=WILD)
    qtbot.waitUntil(lambda: boss.status(job) is bob.status(job) is Status.IN_PROGRESS)
    for one in desktops:
        for column in range(one.model.columnCount()):
            cell = one.model.index(0, column)
            tip = str(cell.data(Qt.ItemDataRole.ToolTipRole) or "")
            if "img" in str(cell.data()):
                assert "&lt;img src=" in tip
            assert "<img" not in tip
            assert "<h1" not in tip
    boss.window.show_job(boss.jobs()[job])
    boss.window.commands.show_log(boss.jobs()[job])
    boss.window.commands.act(boss.jobs()[job], Action.TERMINATE)
    qtbot.waitUntil(lambda: bool(boss.window.commands.questions))
    qtbot.waitUntil(lambda: "img" in " ".join(label.text() for label in boss.window.findChildren(QLabel)))
    tops = [widget for widget in QApplication.topLevelWidgets() if widget.isVisible()]
    labels = {label for top in tops for label in top.findChildren(QLabel)}
    wrong = [
        label.text() for label in labels if "img" in label.text() and label.textFormat() is not Qt.TextFormat.PlainText
    ]
    assert wrong == []
    tips = [widget.toolTip() for top in tops for widget in top.findChildren(QWidget) if "<img" in widget.toolTip()]
    assert tips == []
    for question in list(boss.window.commands.questions):
        question.reject()
