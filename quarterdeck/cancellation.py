"""Giving up a call that runs in another thread: what it reads from the database is cancelled there, too.

A `Cancellation` belongs to one call. While the call runs (`watching`), each reading that it does registers how it is
interrupted (`interruptible`); `cancel`, from another thread, interrupts it and keeps the call from beginning further
ones. What writes never registers: it is done or not done, never cut short.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Cancellation", "Cancelled", "Interruptible", "interruptible"]

_LOG = logging.getLogger(__name__)
_LOCAL = threading.local()


class Cancelled(Exception):
    """The call was given up by whoever made it, who doesn't wait for an answer any more."""


class Interruptible:
    """Something that runs and can be interrupted. `unsure`: an interruption failed, and may still arrive late."""

    def __init__(self, interrupt: Callable[[], None]) -> None:
        self.interrupt = interrupt
        self.unsure = False


class Cancellation:
    """The means to give up one call."""

    AGAIN = 0.05
    """Seconds after which what goes on running is interrupted once more: it may just not have begun at first."""

    PATIENCE = 5.0

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._running: list[Interruptible] = []
        self._cancelled = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """What this thread reads meanwhile belongs to this call."""
        before = getattr(_LOCAL, "cancellation", None)
        _LOCAL.cancellation = self
        try:
            yield
        finally:
            _LOCAL.cancellation = before

    def cancel(self) -> None:
        """Interrupt what the call reads, and keep it from reading on. Returns when it has heard, from any thread."""
        deadline = time.monotonic() + self.PATIENCE
        with self._changed:
            self._cancelled = True
            while self._running and time.monotonic() < deadline:
                # under the lock: what is interrupted can't end, and nothing else begin in its place, meanwhile
                one = self._running[-1]
                try:
                    one.interrupt()
                except Exception as error:  # the driver's, or the network's: the server's time limit remains
                    one.unsure = True
                    _LOG.debug("a call could not be cancelled: %s", type(error).__name__)
                    return
                self._changed.wait(self.AGAIN)

    @contextmanager
    def registered(self, one: Interruptible) -> Iterator[None]:
        """While this lasts, `cancel` interrupts it.

        Raises:
            Cancelled: the call was given up already.
        """
        with self._changed:
            if self._cancelled:
                raise Cancelled
            self._running.append(one)
        try:
            yield
        finally:
            with self._changed:
                self._running.remove(one)
                self._changed.notify_all()


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[Interruptible]:
    """While this lasts, whoever gives up this thread's call interrupts it by `interrupt()`; nobody, if nobody can.

    When it ends, no interruption is under way.

    Raises:
        Cancelled: the call was given up already.
    """
    one = Interruptible(interrupt)
    cancellation: Cancellation | None = getattr(_LOCAL, "cancellation", None)
    if cancellation is None:
        yield one
    else:
        with cancellation.registered(one):
            yield one
