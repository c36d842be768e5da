"""The place where asyncio, threads and Qt meet; messages; settings; the theme; the program as a whole."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QApplication, QDialog
from pytestqt.qtbot import QtBot

from desktop import theme
from desktop.bridge import Bridge, Listening
from desktop.notices import Notices
from desktop.settings import Settings
from quarterdeck import profile
from quarterdeck.errors import Refused
from quarterdeck.job import Level, Status
from quarterdeck.kinds import KINDS
from quarterdeck.profile import Profile


def test_a_call_runs_in_another_thread_and_gives_its_result(qtbot: QtBot, bridge: Bridge) -> None:
    owner = QObject()
    task = bridge.start(owner, bridge.call(threading.get_ident))
    qtbot.waitUntil(task.done)
    assert task.result() != threading.get_ident()


def test_an_error_that_nobody_catches_is_told(qtbot: QtBot, bridge: Bridge, errors: list[BaseException]) -> None:
    def fail() -> None:
        raise Refused("not yours")

    owner = QObject()
    bridge.start(owner, bridge.call(fail))
    qtbot.waitUntil(lambda: len(errors) == 1)
    assert isinstance(errors[0], Refused)


def test_a_coroutine_ends_with_its_owner(qtbot: QtBot, bridge: Bridge, errors: list[BaseException]) -> None:
    owner = QObject()
    release = threading.Event()
    task = bridge.start(owner, bridge.call(release.wait, 20))
    owner.deleteLater()
    qtbot.waitUntil(task.done)
    release.set()
    assert task.cancelled()
    assert not errors


def test_the_latest_wins(qtbot: QtBot, bridge: Bridge) -> None:
    owner = QObject()
    shown: list[str] = []
    release = threading.Event()

    async def show(text: str, wait: bool) -> None:
        if wait:
            await bridge.call(release.wait, 20)
        shown.append(text)

    old = bridge.latest(owner, "show", show("old", True))
    new = bridge.latest(owner, "show", show("new", False))
    qtbot.waitUntil(lambda: old.done() and new.done())
    release.set()
    assert shown == ["new"]


def waiting(database: Any) -> int:
    found: int = database.value(
        "postgres",
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
    )
    return found


@pytest.mark.spec("N2")
def test_a_newer_call_cancels_the_older_one_in_the_database(
    qtbot: QtBot, bridge: Bridge, database: Any, sign_in: Any, errors: list[BaseException]
) -> None:
    client = sign_in()
    owner = QObject()
    blocker = database.connect("postgres", autocommit=False)
    blocker.execute("lock table qd.job in access exclusive mode")
    tasks = []
    for _ in range(12):  # more than there are threads and connections
        tasks.append(bridge.latest(owner, "count", bridge.call(client.count)))
        qtbot.waitUntil(lambda: waiting(database) == 1)
    qtbot.waitUntil(lambda: all(task.done() for task in tasks[:-1]))
    # all but the last are gone from the database: only its connection is in use
    qtbot.waitUntil(lambda: client.engine.pool.checkedout() == waiting(database) == 1)
    assert not tasks[-1].done()
    blocker.rollback()
    qtbot.waitUntil(tasks[-1].done)
    assert tasks[-1].result() == 0
    assert all(task.cancelled() for task in tasks[:-1])
    assert client.engine.pool.checkedout() == 0
    assert not errors


@pytest.mark.spec("N2")
def test_what_ends_with_its_owner_is_cancelled_in_the_database_but_no_write(
    qtbot: QtBot, bridge: Bridge, database: Any, sign_in: Any, errors: list[BaseException]
) -> None:
    job = database.submit("alice")
    client = sign_in()
    owner = QObject()
    blocker = database.connect("postgres", autocommit=False)
    blocker.execute("lock table qd.job in access exclusive mode")
    tasks = [bridge.start(owner, bridge.call(client.count)), bridge.start(owner, bridge.call(client.terminate, job))]
    qtbot.waitUntil(lambda: waiting(database) == 2)
    owner.deleteLater()
    qtbot.waitUntil(lambda: all(task.done() for task in tasks))
    qtbot.waitUntil(lambda: waiting(database) == 1)
    blocker.rollback()
    qtbot.waitUntil(lambda: database.value("alice", "select status from qd.job") == "failed")
    qtbot.waitUntil(lambda: client.engine.pool.checkedout() == 0)
    assert not errors


def test_calls_that_wait_are_not_made_once_nobody_wants_them(qtbot: QtBot, bridge: Bridge) -> None:
    owner = QObject()
    release, made = threading.Event(), threading.Event()
    blockers = [bridge.start(owner, bridge.call(release.wait, 20)) for _ in range(4)]
    late = bridge.start(owner, bridge.call(made.set))
    turn = asyncio.get_running_loop().create_task(asyncio.sleep(0))
    qtbot.waitUntil(turn.done)
    late.cancel()
    release.set()
    qtbot.waitUntil(lambda: all(task.done() for task in blockers))
    again = bridge.start(owner, bridge.call(int))
    qtbot.waitUntil(again.done)
    assert not made.is_set()


def test_a_closed_bridge_starts_nothing(qtbot: QtBot, loop: Any, errors: list[BaseException]) -> None:
    bridge = Bridge(errors.append)
    closing = loop.create_task(bridge.close())
    qtbot.waitUntil(closing.done)
    ran: list[int] = []

    async def late() -> None:
        ran.append(1)

    owner = QObject()
    task = bridge.start(owner, late())
    qtbot.waitUntil(task.done)
    assert task.cancelled()
    assert not ran
    assert not errors


@pytest.mark.parametrize(("act", "answer"), [("accept", True), ("reject", False), ("close", False)])
def test_a_dialog_is_awaited(qtbot: QtBot, bridge: Bridge, act: str, answer: bool) -> None:
    dialog = QDialog()
    owner = QObject()
    task = bridge.start(owner, bridge.ask(dialog))
    qtbot.waitUntil(dialog.isVisible)
    ticks: list[int] = []
    other = bridge.start(owner, bridge.call(lambda: ticks.append(1)))
    qtbot.waitUntil(other.done)
    getattr(dialog, act)()
    qtbot.waitUntil(task.done)
    assert task.result() is answer
    assert ticks == [1]


def test_what_is_told_in_a_moment_is_delivered_together(qtbot: QtBot, loop: Any) -> None:
    listening = Listening()
    got: list[Any] = []
    listening.changed.connect(got.append)
    for number in range(1000):
        listening.tell(frozenset({number}))
    qtbot.waitUntil(lambda: sum(len(one) for one in got) == 1000)
    assert len(got) <= 3
    listening.tell(frozenset({1}))
    listening.tell(None)
    qtbot.waitUntil(lambda: got[-1] is None)


def test_everything_is_told_once_a_second_whoever_asks_for_it(qtbot: QtBot, loop: Any) -> None:
    listening = Listening()
    got: list[tuple[float, Any]] = []
    listening.changed.connect(lambda ids: got.append((time.monotonic(), ids)))
    begun = time.monotonic()

    def flood() -> bool:
        listening.tell(None)
        listening.tell(frozenset({1}))
        return time.monotonic() - begun > 2.3

    qtbot.waitUntil(flood)
    qtbot.waitUntil(lambda: got[-1][1] is None and got[-1][0] - begun > 2.3, timeout=3000)
    everything = [when for when, ids in got if ids is None]
    assert 3 <= len(everything) <= 5
    assert all(later - earlier >= 0.99 for earlier, later in itertools.pairwise(everything))
    assert len(got) > len(everything)  # single changes are told in between


def test_none_and_true_keep_their_counts(qtbot: QtBot) -> None:
    """PySide6 6.12 on Python 3.11 takes references from them with each event until the program dies."""

    class Sender(QObject):
        told = Signal(bool)

    sender = Sender()
    got: list[bool] = []
    sender.told.connect(got.append)
    gc.collect()
    before = sys.getrefcount(None), sys.getrefcount(True)
    for _ in range(1000):
        sender.told.emit(True)
        QApplication.processEvents()
        sender.setObjectName("name")
    got.clear()
    gc.collect()
    after = sys.getrefcount(None), sys.getrefcount(True)
    assert abs(after[0] - before[0]) < 100
    assert abs(after[1] - before[1]) < 100


def test_errors_of_ours_are_messages_and_faults_a_dialog_once(qtbot: QtBot, loop: Any, caplog: Any) -> None:
    notices = Notices()
    notices.error(Refused("not yours"))
    assert notices.take_waiting() == [("error", "not yours")]
    with qtbot.waitSignal(notices.posted) as posted:
        notices.error(Refused("nor this"))
    assert posted.args == ["error", "nor this"]

    def fault() -> ZeroDivisionError:
        try:
            1 / 0  # noqa: B018
        except ZeroDivisionError as error:
            return error
        raise AssertionError

    for _ in range(3):
        notices.error(fault())
    qtbot.waitUntil(lambda: len(notices.crash_dialogs) == 1)
    QApplication.processEvents()
    (dialog,) = notices.crash_dialogs
    assert "ZeroDivisionError" in dialog.trace.toPlainText()
    dialog.close()
    qtbot.waitUntil(lambda: not notices.crash_dialogs)


def test_settings_survive_and_a_broken_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "desktop.json"
    settings = Settings(path)
    settings.set("theme", "dark")
    settings.set("tab", 3)
    settings.save()
    again = Settings(path)
    assert (again.text("theme"), again.number("tab"), again.text("tab"), again.number("theme", 7)) == ("dark", 3, "", 7)
    path.write_text("{ half")
    assert Settings(path).text("theme") == ""


def luminance(color: str) -> float:
    """WCAG 2's relative luminance."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in QColor(color).getRgbF()[:3]]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("name", ["light", "dark"])
def test_words_are_readable_in_both_themes(qtbot: QtBot, loop: Any, qapp: QApplication, name: Any) -> None:
    """WCAG 2, level AA: 4.5 to 1 for text of this size."""
    theme.apply(qapp, name)
    t = theme.current()
    for status in Status:
        for ending in (False, True):
            assert contrast(*theme.theme.status_colors(status, ending)) >= 4.5
    for back in (t.surface, t.window, t.hover, t.selected):
        assert contrast(t.text, back) >= 4.5
        assert contrast(t.link, back) >= 4.5
        assert contrast(t.muted, back) >= 4.5
    for level in (Level.INFO, Level.WARNING, Level.ERROR):
        assert contrast(theme.level_color(level), t.surface) >= 4.5
    assert contrast(t.on_accent, t.accent) >= 4.5
    theme.apply(qapp, "light")


@pytest.fixture
def saved(database: Any) -> str:
    """A kept profile of alice's."""
    profile.save(
        Profile(
            name="test", host="127.0.0.1", port=database.port, database=database.name, user="alice", tls="loopback"
        ),
        "password of alice",
    )
    return "test"


@pytest.mark.spec("C5")
def test_the_program_starts_shows_its_window_and_ends_in_order(saved: str, database: Any) -> None:
    database.submit("alice", name="a job")
    script = (
        "import sys\n"
        "from PySide6.QtCore import QTimer\n"
        "from desktop import app\n"
        "from desktop.views.window import Window\n"
        "a = app.application()\n"
        "def look():\n"
        "    for one in a.topLevelWidgets():\n"
        "        if isinstance(one, Window) and one.isVisible() and one.pages[0].model.rowCount() == 1:\n"
        "            print('shown', one.windowTitle())\n"
        "            timer.stop()\n"
        "            one.close()\n"
        "timer = QTimer(interval=20)\n"
        "timer.timeout.connect(look)\n"
        "timer.start()\n"
        f"sys.exit(app.main({saved!r}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "ignore", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (
        0,
        f"shown alice (user) on 127.0.0.1:{database.port} — test — Quarterdeck",
    ), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.spec("P1")
def test_screenshots_are_taken_without_a_display(saved: str, database: Any, tmp_path: Path) -> None:
    job = database.submit("alice", name="a job")
    (task,) = database.tasks(job)
    database.start("n1", task)
    database.end("n1", task)
    script = f"import pathlib, sys\nfrom desktop.pictures import taken\ntaken({saved!r}, pathlib.Path(sys.argv[1]))\n"
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "shots")],
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    names = {path.name for path in (tmp_path / "shots").glob("*.png")}
    for shade in ("light", "dark"):
        assert {f"{number + 1}-{key}-{shade}.png" for number, key in enumerate(kind.key for kind in KINDS)} <= names
        assert f"1-factor-log-{shade}.png" in names
        assert f"1-factor-details-1-{shade}.png" in names
