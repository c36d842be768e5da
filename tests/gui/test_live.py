"""A desktop whose server goes away, or whose network is cut or drops everything in silence (G2); nothing is missed."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from desktop import app
from desktop.bridge import Bridge
from desktop.views.window import Window
from quarterdeck import admin
from quarterdeck.client import Client
from quarterdeck.errors import Disconnected
from quarterdeck.feed import Feed
from quarterdeck.job import Action, Job, Status
from quarterdeck.server import Server, Started
from tests.links import Link

LEFT = Qt.MouseButton.LeftButton
AWAY = 20_000


@pytest.fixture
def link(database: Any) -> Iterator[Link]:
    with Link(database.port) as made:
        yield made


@pytest.fixture
def shown(qtbot: QtBot, database: Any, link: Link, window: Any, bridge: Bridge, sign_in: Any) -> Iterator[Window]:
    """alice's window, connected through the link, with a running, a queued and an ended job."""
    running = database.submit("alice", name="running")
    database.start("n1", *database.tasks(running))
    ended = database.submit("alice", name="ended")
    database.start("n1", *database.tasks(ended))
    database.end("n1", *database.tasks(ended))
    database.submit("alice", name="queued")
    with pytest.MonkeyPatch.context() as patch:
        # signed in by the fixture, which closes it after the bridge
        there = dataclasses.replace(database.login("alice"), port=link.port)
        patch.setattr(database, "login", lambda _: there)
        client = sign_in()
    made = window(client)
    qtbot.waitUntil(lambda: names(made) == {"running", "ended", "queued"})
    yield made
    link.mend()
    qtbot.waitUntil(made.banner.isHidden, timeout=AWAY)


def jobs(window: Window) -> dict[str, Job]:
    model = window.pages[0].model
    found = [model.row(n) for n in range(model.rowCount())]
    return {job.name: job for job in found if job is not None}


def names(window: Window) -> set[str]:
    return set(jobs(window))


def meanwhile(database: Any, window: Window) -> None:
    """What happens in the cluster while the desktop is away: one comes, one ends, one goes."""
    before = jobs(window)
    database.submit("alice", name="new")
    database.end("n1", *database.tasks(before["running"].id))
    database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=before["ended"].id)


def caught_up(window: Window) -> bool:
    found = jobs(window)
    return set(found) == {"running", "queued", "new"} and found["running"].status is Status.SUCCESS


@pytest.mark.spec("G2", "M7")
def test_a_cut_network_is_said_what_is_shown_stays_and_all_is_caught_up(
    qtbot: QtBot, database: Any, link: Link, shown: Window
) -> None:
    table = shown.pages[0].table
    chosen = jobs(shown)["queued"]
    row = shown.pages[0].model.find(chosen.id)
    assert row is not None
    table.selectRow(row)
    shown.commands.new(shown.pages[0].kind)
    form = shown.commands.forms[-1]
    form.fields["name"].put("half written")
    form.fields["formula"].put("close / delay(")
    link.cut()
    qtbot.waitUntil(lambda: not shown.banner.isHidden(), timeout=AWAY)
    assert "What you see is as it was; trying again" in shown.banner.text()
    assert "\n" not in shown.banner.text()
    meanwhile(database, shown)
    assert names(shown) == {"running", "ended", "queued"}
    assert form.isVisible()
    # an action that fails says so
    heard: list[tuple[str, str]] = []
    shown._notices.posted.connect(lambda kind, text: heard.append((kind, text)))
    shown.commands.act(chosen, Action.RERUN)
    link.mend()
    qtbot.waitUntil(lambda: caught_up(shown), timeout=AWAY)
    qtbot.waitUntil(shown.banner.isHidden, timeout=AWAY)
    assert form.isVisible()
    assert (form.fields["name"].value(), form.fields["formula"].value()) == ("half written", "close / delay(")
    current = table.currentIndex()
    assert shown.pages[0].model.row(current.row()).id == chosen.id  # type: ignore[union-attr]
    # and is live again
    database.submit("alice", name="newer")
    qtbot.waitUntil(lambda: "newer" in names(shown))


@pytest.mark.spec("G2")
def test_an_action_that_fails_says_so_and_can_be_repeated(
    qtbot: QtBot, database: Any, link: Link, shown: Window, bridge: Bridge, errors: list[BaseException]
) -> None:
    job = jobs(shown)["queued"]
    link.cut()
    qtbot.waitUntil(lambda: not shown.banner.isHidden(), timeout=AWAY)
    shown.commands.act(job, Action.TERMINATE)
    qtbot.waitUntil(lambda: bool(errors), timeout=AWAY)
    assert isinstance(errors[0], Disconnected)
    assert str(errors[0]).endswith(".")
    assert "\n" not in str(errors[0])
    errors.clear()
    link.mend()
    qtbot.waitUntil(shown.banner.isHidden, timeout=AWAY)
    shown.commands.act(job, Action.TERMINATE)
    qtbot.waitUntil(lambda: bool(shown.commands.questions))
    # cut while the question is open: it stays, and its yes fails with a word
    link.cut()
    qtbot.waitUntil(lambda: not shown.banner.isHidden(), timeout=AWAY)
    assert shown.commands.questions[-1].isVisible()
    link.mend()
    qtbot.waitUntil(shown.banner.isHidden, timeout=AWAY)
    shown.commands.questions[-1].accept()
    qtbot.waitUntil(lambda: jobs(shown)["queued"].status is Status.FAILED, timeout=AWAY)
    assert not errors


@pytest.mark.spec("G2", "M7")
def test_a_network_that_drops_everything_in_silence_is_noticed_and_overcome(
    qtbot: QtBot, database: Any, link: Link, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr("quarterdeck.feed._ANSWER", 0.5)
    monkeypatch.setattr(app, "Feed", functools.partial(Feed, pulse=0.3))
    shown: Window = request.getfixturevalue("shown")
    link.silent = True
    # calls that are under way hang in it
    shown.live.refresh()
    shown.pages[0].model.reread()
    qtbot.waitUntil(lambda: not shown.banner.isHidden(), timeout=AWAY)
    assert "does not answer" in shown.banner.text()
    meanwhile(database, shown)
    assert names(shown) == {"running", "ended", "queued"}
    link.mend()
    qtbot.waitUntil(lambda: caught_up(shown), timeout=AWAY)
    qtbot.waitUntil(shown.banner.isHidden, timeout=AWAY)


@pytest.mark.spec("G2")
def test_sessions_that_an_administrator_ends_come_back(qtbot: QtBot, database: Any, shown: Window) -> None:
    for _ in range(3):
        database.sql(
            "postgres",
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'"
            " and application_name like 'quarterdeck%' and datname = current_database()",
        )
        qtbot.waitUntil(lambda: not shown.banner.isHidden(), timeout=AWAY)
        qtbot.waitUntil(shown.banner.isHidden, timeout=AWAY)
    meanwhile(database, shown)
    qtbot.waitUntil(lambda: caught_up(shown), timeout=AWAY)


@pytest.mark.spec("G2")
def test_a_reading_that_is_cut_off_alone_is_made_up_for(qtbot: QtBot, database: Any, shown: Window) -> None:
    """Its session is ended while all others live on: the list must not stay as it was."""
    blocker = database.connect("postgres", autocommit=False)
    blocker.execute("lock table qd.job in access exclusive mode")
    shown.pages[1].model.reread()  # begins to wait
    shown.tabs.setCurrentIndex(1)
    waiting = (
        "select pid from pg_stat_activity where usename = 'alice' and wait_event_type = 'Lock'"
        " and datname = current_database()"
    )
    qtbot.waitUntil(lambda: len(database.sql("postgres", waiting)) >= 1)
    blocker.execute("insert into qd.job (kind, name, creator) values ('evaluation', 'late', 'alice')")
    for (pid,) in database.sql("postgres", waiting):
        database.sql("postgres", "select pg_terminate_backend(:pid)", pid=pid)
    qtbot.waitUntil(lambda: not shown.banner.isHidden(), timeout=AWAY)
    blocker.commit()
    model = shown.pages[1].model
    qtbot.waitUntil(lambda: [model.row(n).name for n in range(model.rowCount())] == ["late"], timeout=AWAY)
    qtbot.waitUntil(shown.banner.isHidden, timeout=AWAY)


# --- a server of one's own, to restart and to kill -------------------------------------------------------------------


class Own:
    """A server with Quarterdeck's schema, alice and a node."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        from tests.conftest import Database, _superuser

        self.server = Server(folder, binaries)
        self.started = self.server.ensure({"fsync": "off"})
        with psycopg.connect(self.started.conninfo(), autocommit=True) as connection:
            connection.execute("create database own")
        superuser = _superuser(self.started.conninfo("own"))
        admin.create_schema(superuser)
        passwords = {"alice": "password of alice"}
        admin.create_user(superuser, "alice", passwords["alice"])
        superuser.dispose()
        self.database = Database("own", self.started, passwords)

    def restart(self, how: str) -> Callable[[], Started]:
        """Stops or kills it; what starts it again."""
        if how == "stop":
            self.server.stop("fast")
        else:
            pid = self.server.running()
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        return self.server.start


@pytest.mark.spec("G2")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_server_that_is_restarted_or_killed(
    qtbot: QtBot,
    database: Any,
    open_folder: Path,
    postgres_bin: Path,
    how: str,
    window: Any,
    sign_in: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = Own(open_folder / f"own-{how}", postgres_bin)
    try:
        own.database.submit("alice", name="before")
        monkeypatch.setattr(database, "login", own.database.login)
        shown: Window = window(sign_in())
        qtbot.waitUntil(lambda: names(shown) == {"before"})
        start = own.restart(how)
        qtbot.waitUntil(lambda: not shown.banner.isHidden(), timeout=AWAY)
        text = shown.banner.text()
        assert text.count("What you see is as it was") == 1
        assert "psycopg" not in text
        assert "FATAL" not in text
        assert names(shown) == {"before"}
        started = start()
        assert started.port == own.started.port
        own.database.engine("alice").dispose()
        own.database.submit("alice", name="after")
        qtbot.waitUntil(lambda: names(shown) == {"before", "after"}, timeout=AWAY)
        qtbot.waitUntil(shown.banner.isHidden, timeout=AWAY)
    finally:
        own.database.close()
        own.server.stop("immediate")


# --- nothing missed --------------------------------------------------------------------------------------------------


@pytest.mark.spec("M7")
def test_a_change_that_is_committed_late_is_not_missed_without_any_hint(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    """The older transaction commits last: what lies behind the newest number seen must still be found."""
    first = database.submit("alice", name="first")
    shown: Window = window(sign_in(), live=False)
    qtbot.waitUntil(lambda: names(shown) == {"first"})
    older = database.connect("alice", autocommit=False)
    facts = '{"name": "of the older transaction"}'
    older.execute("select qd.submit_job('factor', '{}', %s, '[{\"name\": \"t\"}]')", (facts,))
    changer = database.connect("postgres", autocommit=False)
    changer.execute("update qd.job set message = 'changed late' where id = %s", (first,))
    newer = database.submit("alice", name="of the newer one")
    shown.live.read_changes()
    qtbot.waitUntil(lambda: "of the newer one" in names(shown))
    for _ in range(3):
        shown.live.read_changes()
        qtbot.waitUntil(lambda: not shown.live._reading)
    assert names(shown) == {"first", "of the newer one"}
    (task,) = database.tasks(newer)
    database.start("n1", task)
    shown.live.read_changes()
    qtbot.waitUntil(lambda: jobs(shown)["of the newer one"].status is Status.IN_PROGRESS)
    older.commit()
    changer.commit()
    shown.live.read_changes()
    qtbot.waitUntil(lambda: "of the older transaction" in names(shown))
    qtbot.waitUntil(lambda: jobs(shown)["first"].message == "changed late")


@pytest.mark.spec("M7", "N2")
def test_many_overlapping_changes_end_in_what_the_database_holds(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    shown: Window = window(sign_in())
    connections = [database.connect("postgres", autocommit=False) for _ in range(4)]
    for turn in range(60):
        connection = connections[turn % 4]
        connection.execute("insert into qd.job (kind, name, creator) values ('factor', %s, 'alice')", (f"job {turn}",))
        if turn % 3 == 0:
            connection.execute("delete from qd.job where name = %s", (f"job {turn - 4}",))
        # committed in another order than begun
        connections[(turn * 3 + 1) % 4].commit()
    for connection in reversed(connections):
        connection.commit()
    held = {row[0] for row in database.sql("postgres", "select name from qd.job")}
    qtbot.waitUntil(lambda: names(shown) == held, timeout=AWAY)


@pytest.mark.spec("R3")
def test_a_flood_of_forged_hints_costs_a_reading_a_second(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, monkeypatch: pytest.MonkeyPatch, errors: list[BaseException]
) -> None:
    """Whoever knows a group's channel can send on it: everything is read again, but not for each message."""
    shown: Window = window(sign_in())
    count = 0
    changes = Client.changes

    def counted(self: Client, since: str | None = None) -> Any:
        nonlocal count
        count += since is None
        return changes(self, since)

    monkeypatch.setattr(Client, "changes", counted)
    attacker = database.connect("bob")
    channels = [row[0] for row in attacker.execute("select * from qd.my_channels()").fetchall()]
    sent = 0

    def flood() -> bool:
        nonlocal sent
        for channel in channels:
            for payload in ("*", f"{2**70}", "1,2,3", "-5", "rubbish"):
                attacker.execute("select pg_notify(%s, %s)", (channel, payload))
                sent += 1
        return sent >= 600

    qtbot.waitUntil(flood, timeout=30_000)
    job = database.submit("alice", name="real")
    qtbot.waitUntil(lambda: shown.pages[0].model.find(job) is not None)
    assert count <= 30 + 2  # not more than one a second, of hundreds
    assert not errors
