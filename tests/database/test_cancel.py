"""Giving up a call: what it reads is cancelled in the database, what it writes is not, and nobody else is hit."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from quarterdeck import database as databases
from quarterdeck.cancellation import Cancellation, Cancelled, interruptible
from quarterdeck.client import Client
from quarterdeck.errors import QuarterdeckError

if TYPE_CHECKING:
    from tests.conftest import Database

pytestmark = pytest.mark.spec("G2")


def until(condition: Callable[[], Any], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@contextmanager
def locked(database: Database, table: str, mode: str) -> Iterator[None]:
    """Whoever needs the table in a conflicting way waits meanwhile."""
    connection = database.connect("postgres", autocommit=False)
    connection.execute(f"lock table qd.{table} in {mode} mode".encode())
    try:
        yield
    finally:
        connection.rollback()


def waiting(database: Database) -> int:
    found: int = database.value(
        "postgres",
        "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
    )
    return found


class Call(threading.Thread):
    """A call of the client in a thread, with what it takes to give it up."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        super().__init__(daemon=True)
        self.cancellation = Cancellation()
        self.result: Any = None
        self.error: BaseException | None = None
        self._function, self._arguments = function, arguments
        self.start()

    def run(self) -> None:
        try:
            with self.cancellation.watching():
                self.result = self._function(*self._arguments)
        except BaseException as error:
            self.error = error


def test_what_a_call_reads_is_cancelled_in_the_database(database: Database) -> None:
    with Client.sign_in(database.login("alice")) as client:
        with locked(database, "job", "access exclusive"):
            call, other = Call(client.count), Call(client.count)
            until(lambda: waiting(database) == 2)
            call.cancellation.cancel()
            call.join(5)
            assert not call.is_alive()
            assert isinstance(call.error, QuarterdeckError)
            assert waiting(database) == 1
        other.join(10)
        assert (other.result, other.error) == (0, None)
        assert client.engine.pool.checkedout() == 0  # type: ignore[attr-defined]
        assert client.count() == 0


def test_what_a_call_writes_is_not_cut_short(database: Database) -> None:
    job = database.submit("alice")
    with Client.sign_in(database.login("alice")) as client:
        with locked(database, "job", "exclusive"):
            call = Call(client.terminate, job)
            until(lambda: waiting(database) == 1)
            call.cancellation.cancel()
            assert waiting(database) == 1
        call.join(10)
        assert call.result == "ended"
        assert client.get(job).job.status == "failed"


def test_a_call_that_was_given_up_begins_no_further_reading(database: Database) -> None:
    with Client.sign_in(database.login("alice")) as client:
        cancellation = Cancellation()
        with cancellation.watching():
            assert client.count() == 0
            cancellation.cancel()
            with pytest.raises(Cancelled):
                client.count()
        assert client.count() == 0
        assert client.engine.pool.checkedout() == 0  # type: ignore[attr-defined]


def test_nobody_elses_statement_is_ever_hit(database: Database) -> None:
    """One connection, used by turns: calls that are given up at any moment, and calls that must come through."""
    engine = databases.engine(database.login("alice"), pool_size=1)

    def read(seconds: float) -> int:
        with databases.reading(engine) as connection:
            connection.execute(sa.text("select pg_sleep(:seconds)"), {"seconds": seconds})
            return int(connection.execute(sa.text("select pg_backend_pid()")).scalar_one())

    chance = random.Random(7)
    hit = 0
    pids = {read(0)}
    end = time.monotonic() + 3
    while time.monotonic() < end:
        call = Call(read, chance.choice((0.0, 0.001, 0.01)))
        time.sleep(chance.random() * 0.008)
        canceller = threading.Thread(target=call.cancellation.cancel)
        canceller.start()
        call.join(5)
        pids.add(read(0.0005))  # raises when the cancel request reaches it
        canceller.join(5)
        hit += call.error is not None
    assert hit > 20
    assert len(pids) == 1  # nor was the connection given up for it
    assert engine.pool.checkedout() == 0  # type: ignore[attr-defined]
    engine.dispose()


def test_an_interruption_that_fails_is_known(database: Database) -> None:
    def fails() -> None:
        raise OSError("no way to the server")

    cancellation = Cancellation()
    with cancellation.watching(), interruptible(fails) as one:
        cancellation.cancel()
    assert one.unsure
    engine = databases.engine(database.login("alice"), pool_size=1)
    with databases.reading(engine) as connection:
        first = connection.execute(sa.text("select pg_backend_pid()")).scalar_one()
    cancellation = Cancellation()
    with cancellation.watching(), pytest.MonkeyPatch.context() as patch, databases.reading(engine) as connection:
        patch.setattr("psycopg.Connection.cancel_safe", lambda *_, **__: fails())
        cancellation.cancel()
        assert connection.execute(sa.text("select pg_backend_pid()")).scalar_one() == first
    with databases.reading(engine) as connection:
        # a request that may still be on its way finds nobody any more
        assert connection.execute(sa.text("select pg_backend_pid()")).scalar_one() != first
    engine.dispose()
