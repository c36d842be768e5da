"""The feed of hints, against a real server."""

from __future__ import annotations

import dataclasses
import queue
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from quarterdeck.client import Client
from quarterdeck.errors import Disconnected
from quarterdeck.feed import Changed, Event, Feed, Lost, Resync
from tests.links import Link

if TYPE_CHECKING:
    from tests.conftest import Database

pytestmark = pytest.mark.spec("M7")


class Ear:
    """A feed whose events wait in a queue."""

    def __init__(self, database: Database, user: str, **options: float) -> None:
        self.events: queue.Queue[Event] = queue.Queue()
        self.feed = Feed(database.login(user), None, self.events.put, **options)

    def next(self) -> Event:
        return self.events.get(timeout=10)

    def ids(self, wanted: set[int]) -> None:
        """Waits until all these ids were heard."""
        left = set(wanted)
        while left:
            event = self.next()
            assert isinstance(event, Changed)
            left -= event.ids or left


@pytest.fixture
def alice(database: Database) -> Iterator[Ear]:
    ear = Ear(database, "alice")
    with ear.feed:
        assert ear.next() == Resync()
        yield ear
    assert "quarterdeck feed" not in {thread.name for thread in threading.enumerate()}


def test_hears_of_own_jobs_only(database: Database, alice: Ear) -> None:
    database.submit("bob")
    job = database.submit("alice")
    assert alice.next() == Changed(frozenset({job}))
    public = database.submit("bob", public=True)
    assert alice.next() == Changed(frozenset({public}))


def test_admins_hear_of_all(database: Database) -> None:
    boss = Ear(database, "boss")
    with boss.feed:
        assert boss.next() == Resync()
        boss.ids({database.submit("alice"), database.submit("bob")})


def test_hints_are_gathered(database: Database) -> None:
    heard = Ear(database, "alice", interval=0.2)
    with heard.feed:
        assert heard.next() == Resync()
        begun = time.monotonic()
        jobs = {database.submit("alice") for _ in range(60)}
        events, left = 0, set(jobs)  # no more events than intervals went by
        while left:
            event = heard.next()
            assert isinstance(event, Changed)
            events += 1
            left -= event.ids or left
        assert events <= (time.monotonic() - begun) / 0.2 + 2


def test_a_mass_change_means_everything(database: Database, alice: Ear) -> None:
    database.sql(
        "postgres",
        "insert into qd.job (kind, name, creator) select 'factor', 'x', 'alice' from generate_series(1, 101)",
    )
    assert alice.next() == Changed(None)


def test_nonsense_on_the_channel_is_nothing(database: Database, alice: Ear) -> None:
    (channel,) = database.sql("alice", "select channel from qd.channel where member = 'alice'")[0]
    for payload in ("", "garbage", "1,x", "1;2", "9" * 5000, "0,-1", f"{2**63}", "9" * 3000):
        database.sql("bob", "select pg_notify(:channel, :payload)", channel=channel, payload=payload)
    job = database.submit("alice")
    assert alice.next() == Changed(frozenset({job}))


@pytest.mark.spec("G2")
def test_comes_back_by_itself_and_says_so_once(database: Database, alice: Ear) -> None:
    for _ in range(2):
        ended = database.value(
            "postgres",
            "select count(pg_terminate_backend(pid)) from pg_stat_activity"
            " where application_name = 'quarterdeck feed' and datname = current_database()",
        )
        assert ended == 1
        lost = alice.next()
        assert isinstance(lost, Lost)
        assert "connection" in lost.text
        assert alice.next() == Resync()
    job = database.submit("alice")
    assert alice.next() == Changed(frozenset({job}))


@pytest.mark.spec("G2")
def test_without_a_server_it_says_so_once_and_stops_at_once(database: Database) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    events: queue.Queue[Event] = queue.Queue()
    feed = Feed(dataclasses.replace(database.login("alice"), port=port), None, events.put)
    feed.start()
    lost = events.get(timeout=10)
    assert isinstance(lost, Lost)
    assert "No server answers" in lost.text
    with pytest.raises(queue.Empty):
        events.get(timeout=1.0)  # tried again several times, said once
    begun = time.monotonic()
    feed.stop()
    assert time.monotonic() - begun < 0.5


def test_stops_at_once_while_a_silent_server_keeps_it_waiting(database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        events: queue.Queue[Event] = queue.Queue()
        feed = Feed(dataclasses.replace(database.login("alice"), port=silent.getsockname()[1]), None, events.put)
        feed.start()
        peer, _ = silent.accept()
        with peer:
            begun = time.monotonic()
            feed.stop()
            assert time.monotonic() - begun < 0.5
    assert events.empty()
    assert "quarterdeck feed" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.spec("G2")
def test_a_network_that_drops_everything_in_silence_is_found_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quarterdeck.feed._ANSWER", 0.5)
    events: queue.Queue[Event] = queue.Queue()
    with Link(database.port) as link:
        login = dataclasses.replace(database.login("alice"), port=link.port)
        with Feed(login, None, events.put, pulse=0.3):
            assert events.get(timeout=10) == Resync()
            with pytest.raises(queue.Empty):
                events.get(timeout=1.0)  # a server that has nothing to say answers all the same
            begun = time.monotonic()
            link.silent = True
            lost = events.get(timeout=10)
            assert time.monotonic() - begun < 2.0
            assert isinstance(lost, Lost)
            assert lost.silent
            assert lost.text == "The server does not answer: check the network, the server's name and its port."
            job = database.submit("alice")
            link.mend()
            assert events.get(timeout=20) == Resync()
            database.sql("alice", "select qd.terminate_job(:job)", job=job)
            assert events.get(timeout=10) == Changed(frozenset({job}))


@pytest.mark.spec("G2")
def test_calls_that_wait_for_a_silent_network_are_given_up_at_once(database: Database) -> None:
    with (
        Link(database.port) as link,
        Client.sign_in(dataclasses.replace(database.login("alice"), port=link.port)) as client,
    ):
        link.silent = True
        trouble: queue.Queue[Exception] = queue.Queue()

        def count() -> None:
            try:
                client.count()
            except Exception as error:
                trouble.put(error)

        threads = [threading.Thread(target=count) for _ in range(3)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 10
        while client.engine.pool.checkedout() < 1:  # type: ignore[attr-defined]
            assert time.monotonic() < deadline
        begun = time.monotonic()
        link.mend()
        client.abandon()
        for _ in threads:
            try:
                error = trouble.get(timeout=1.0)
            except queue.Empty:
                continue  # one that had not begun yet, and came through on a new connection
            assert isinstance(error, Disconnected)
        for thread in threads:
            thread.join(10)
        assert time.monotonic() - begun < 8
        assert client.count() == 0


def test_a_wrong_password_is_said(database: Database) -> None:
    events: queue.Queue[Event] = queue.Queue()
    with Feed(dataclasses.replace(database.login("alice"), password="wrong"), None, events.put):
        lost = events.get(timeout=10)
    assert isinstance(lost, Lost)
    assert "password is wrong" in lost.text


def test_an_error_of_the_listener_ends_nothing(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    heard: queue.Queue[Event] = queue.Queue()

    def fails_first(event: Event) -> None:
        heard.put(event)
        if event == Resync():
            raise RuntimeError("a bug in the listener")

    with Feed(database.login("alice"), None, fails_first):
        assert heard.get(timeout=10) == Resync()
        job = database.submit("alice")
        assert heard.get(timeout=10) == Changed(frozenset({job}))
    assert "could not be handled" in caplog.text


def test_stop_may_come_twice_or_from_the_event_itself(database: Database) -> None:
    done = threading.Event()
    feeds: list[Feed] = []

    def stops(event: Event) -> None:
        feeds[0].stop()
        done.set()

    feeds.append(Feed(database.login("alice"), None, stops))
    feeds[0].start()
    assert done.wait(10)
    feeds[0].stop()
    deadline = time.monotonic() + 5
    while "quarterdeck feed" in {thread.name for thread in threading.enumerate()}:
        assert time.monotonic() < deadline
