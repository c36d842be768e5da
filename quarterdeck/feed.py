"""Hints from the database that jobs changed: one listening connection in a thread of its own (M7).

A hint is never data: it says which jobs to read again. Hints sent while the connection was away are lost, so every
connection begins with `Resync`: read everything again.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import conninfo, pq, sql

from quarterdeck.database import CONNECT_TIMEOUT, Login, connect_arguments, translate
from quarterdeck.errors import QuarterdeckError

__all__ = ["Changed", "Event", "Feed", "Lost", "Resync"]

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE = 0.2
_LONGEST_PAUSE = 5.0
_ANSWER = 5.0
"""Seconds within which a server answers that is there."""


class _Silent(psycopg.OperationalError):
    """The server does not answer, and nobody closed the connection."""


class _Stopped(Exception):
    """The feed was stopped while it waited."""


@dataclass(frozen=True, slots=True)
class Changed:
    """These jobs changed, came or went; None: so many that everything should be read again."""

    ids: frozenset[int] | None


@dataclass(frozen=True, slots=True)
class Resync:
    """Listening begins, for the first time or again: what happened before is unknown, so read everything."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone, and is being sought again; `text` says why. Comes once for each time it goes.

    `silent`: nobody closed it, but the server stopped answering, so that other connections to it wait in vain, too.
    """

    text: str
    silent: bool = False


Event = Changed | Resync | Lost


class Feed:
    """Listens until it is stopped, and reconnects by itself.

    `on_event` is called in the feed's thread, one call at a time, with at most one `Changed` an `interval` (seconds):
    hints in between are gathered, and an event after a quiet time comes at once. `channels` None: those of the
    signed-in person, asked for at each connection. After `pulse` seconds without a word from the server it is asked for
    one: a network that drops everything in silence is found out in `pulse` and 5 seconds at most.

    A context manager that starts and stops it.
    """

    def __init__(
        self,
        login: Login,
        channels: Sequence[str] | None,
        on_event: Callable[[Event], None],
        *,
        interval: float = 0.1,
        pulse: float = 10.0,
    ) -> None:
        self._arguments = connect_arguments(login, application="quarterdeck feed")
        self._channels = channels
        self._on_event = on_event
        self._interval = interval
        self._pulse = pulse
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._wake, self._waker = socket.socketpair()

    def start(self) -> None:
        """Begin to listen; the first event is `Resync`, or `Lost` where there is no server."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="quarterdeck feed")
            self._thread.start()

    def stop(self) -> None:
        """End the thread and the connection; after it no event comes. At once, whatever the network does."""
        if self._stopped:
            return
        self._stopped = True
        self._waker.send(b"x")
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._wake.close()
        self._waker.close()

    def __enter__(self) -> Feed:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        pause, said = _FIRST_PAUSE, False
        while not self._stopped:
            connection: pq.abc.PGconn | None = None
            try:
                connection = self._connected()
                if connection is None:
                    return
                self._listen(connection)
                self._tell(Resync())
                pause, said = _FIRST_PAUSE, False
                self._hear(connection)
            except _Stopped:
                return
            except (psycopg.Error, OSError) as error:
                if not said:
                    self._tell(Lost(_reason(error), silent=isinstance(error, _Silent)))
                    said = True
            finally:
                if connection is not None:
                    connection.finish()
            self._idle(pause * random.uniform(0.8, 1.2))  # many desktops shall not come back in one moment
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _connected(self) -> pq.abc.PGconn | None:
        """A new connection; None when the feed was stopped meanwhile."""
        text = conninfo.make_conninfo("", **self._arguments)
        connection = pq.PGconn.connect_start(text.encode())
        deadline = time.monotonic() + CONNECT_TIMEOUT
        try:
            while (state := connection.connect_poll()) != pq.PollingStatus.OK:
                if state == pq.PollingStatus.FAILED:
                    raise psycopg.OperationalError(connection.get_error_message())
                left = deadline - time.monotonic()
                if left <= 0:
                    raise psycopg.OperationalError("timeout expired")
                self._wait(connection, left, writing=state == pq.PollingStatus.WRITING)
                if self._stopped:
                    connection.finish()
                    return None
        except BaseException:
            connection.finish()
            raise
        return connection

    def _listen(self, connection: pq.abc.PGconn) -> None:
        channels = self._channels
        if channels is None:
            result = self._execute(connection, b"select * from qd.my_channels()")
            channels = [(result.get_value(row, 0) or b"").decode() for row in range(result.ntuples)]
        for channel in channels:
            self._execute(connection, b"listen " + sql.Identifier(channel).as_bytes())

    def _hear(self, connection: pq.abc.PGconn) -> None:
        """Passes hints on until the feed is stopped or the connection fails, which raises."""
        ids: set[int] = set()
        everything = False
        told = -self._interval
        heard = time.monotonic()
        while not self._stopped:
            connection.consume_input()
            while (notice := connection.notifies()) is not None:
                found = _ids(notice.extra)
                everything = everything or found is None
                ids |= found or set()
            due = told + self._interval - time.monotonic()
            if (ids or everything) and due <= 0:
                self._tell(Changed(None if everything else frozenset(ids)))
                ids.clear()
                everything = False
                told = time.monotonic()
            elif ids or everything:
                self._wait(connection, due)
            elif self._wait(connection, max(0.0, heard + self._pulse - time.monotonic())):
                heard = time.monotonic()
            elif not self._stopped and time.monotonic() >= heard + self._pulse:
                self._execute(connection, b"")
                heard = time.monotonic()

    def _execute(self, connection: pq.abc.PGconn, statement: bytes) -> pq.abc.PGresult:
        """A statement's result. Unlike the driver's own it waits for a few seconds only, and is ended by `stop`."""
        deadline = time.monotonic() + _ANSWER
        connection.send_query(statement)
        result: pq.abc.PGresult | None = None
        writing = connection.flush() == 1
        while True:
            while not connection.is_busy():
                following = connection.get_result()
                if following is None:
                    return _checked(connection, result)
                result = following
            left = deadline - time.monotonic()
            if left <= 0:
                raise _Silent("timeout expired")
            self._wait(connection, left, writing=writing)
            if self._stopped:
                raise _Stopped
            connection.consume_input()
            writing = connection.flush() == 1

    def _wait(self, connection: pq.abc.PGconn, seconds: float | None, *, writing: bool = False) -> bool:
        """Until the connection has something to say, or can be written to, or the feed is stopped, or time is up.

        True when there is something to read.
        """
        peer = connection.socket
        watched: list[socket.socket | int] = [self._wake] if writing else [self._wake, peer]
        readable, _, _ = select.select(watched, [peer] if writing else [], [], seconds)
        return peer in readable

    def _idle(self, seconds: float) -> None:
        if not self._stopped:
            select.select([self._wake], [], [], seconds)

    def _tell(self, event: Event) -> None:
        if self._stopped:
            return
        try:
            self._on_event(event)
        except Exception:
            _LOG.exception("an event of the feed could not be handled")


def _checked(connection: pq.abc.PGconn, result: pq.abc.PGresult | None) -> pq.abc.PGresult:
    good = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK, pq.ExecStatus.EMPTY_QUERY)
    if result is None or result.status not in good:
        raise psycopg.OperationalError((result or connection).get_error_message())
    return result


def _ids(payload: bytes) -> set[int] | None:
    """The ids of a hint; None for "everything". What is neither is nothing: whoever knows the channel may send."""
    if payload == b"*":
        return None
    try:
        found = {int(one) for one in payload.split(b",")} if len(payload) <= 4000 else set()
    except ValueError:
        return set()
    return {one for one in found if 0 < one < 2**63}


def _reason(error: psycopg.Error | OSError) -> str:
    known: QuarterdeckError | None = translate(error) if isinstance(error, psycopg.Error) else None
    return str(known) if known is not None else f"The connection to the server was lost ({error})."
