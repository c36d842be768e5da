"""The only place where asyncio, threads and Qt meet.

The client library is synchronous; the window must never wait for it. So slots start coroutines by `start`, coroutines
run client calls in a bounded pool of threads by `call`, and dialogs are opened and awaited by `ask`: a dialog's exec()
inside a coroutine would leave every other coroutine hanging.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import queue
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from PySide6.QtCore import QCoreApplication, QEvent, QObject, Qt, QTimer, Signal
from qasync import QEventLoop

from quarterdeck.cancellation import Cancellation
from quarterdeck.errors import Conflict

if TYPE_CHECKING:
    from PySide6.QtWidgets import QDialog

__all__ = ["Bridge", "Listening", "Source", "closing", "collecting", "run", "watch"]

T = TypeVar("T")
_Call = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]


class Source(Protocol):
    """Something that tells from a thread of its own that the world changed: a Feed."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class _Worker(threading.Thread):
    """One thread of the pool. A daemon, so that a call that hangs never keeps the program from ending."""

    def __init__(self, calls: queue.SimpleQueue[_Call | None], number: int) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self._calls = calls

    def run(self) -> None:
        while (item := self._calls.get()) is not None:
            loop, future, function = item
            if future.cancelled():
                continue
            try:
                outcome: tuple[Any, BaseException | None] = (function(), None)
            except BaseException as error:  # whatever it is belongs to the one who awaits
                outcome = (None, error)
            try:
                loop.call_soon_threadsafe(_settle, future, *outcome)
            except RuntimeError:  # the loop closed meanwhile: nobody waits any more
                return
            # an idle thread holds nothing: the last reference to an object of Qt must not go here
            del item, loop, future, function, outcome


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


class Listening(QObject):
    """What a source told, gathered: `changed` carries the ids that changed, or None for "read everything again".

    Signals:
        changed(object): frozenset of ids, or None; at once after a quiet time, then at most every `INTERVAL` ms; None
            at most once in `EVERYTHING` seconds, as anybody who knows a channel can ask for it
        connection(object): None while connected, else the sentence that says why not
    """

    changed = Signal(object)
    connection = Signal(object)
    _told = Signal()

    INTERVAL = 50
    EVERYTHING = 1.0

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lock = threading.Lock()
        self._ids: set[int] = set()
        self._all = False
        self._news: list[str | None] = []
        self._pending = False
        self._everything_told = -self.EVERYTHING
        self._timer = QTimer(self, singleShot=True, interval=self.INTERVAL)
        self._timer.timeout.connect(self._deliver)
        self._told.connect(self._wake, Qt.ConnectionType.QueuedConnection)

    def tell(self, ids: frozenset[int] | None) -> None:
        """From any thread: these jobs changed; None when nobody knows which."""
        with self._lock:
            if ids is None:
                self._all = True
            else:
                self._ids |= ids
            self._post()

    def tell_connection(self, trouble: str | None) -> None:
        """From any thread: the source lost its connection (why), or has it again (None)."""
        with self._lock:
            self._news.append(trouble)
            self._post()

    def _post(self) -> None:
        if not self._pending:
            self._pending = True
            self._told.emit()

    def _wake(self) -> None:
        if not self._timer.isActive():
            self._deliver()

    def _deliver(self) -> None:
        now = time.monotonic()
        with self._lock:
            held = self._all and now < self._everything_told + self.EVERYTHING
            ids, everything, news = frozenset(self._ids), self._all and not held, self._news
            self._ids, self._all, self._news, self._pending = set(), held, [], held
        for trouble in news:
            self.connection.emit(trouble)
        if everything:
            self._everything_told = now
            self.changed.emit(None)
        elif ids:
            self.changed.emit(ids)
        if everything or ids or held:
            self._timer.start()


class Bridge(QObject):
    """Coroutines for the window: started by slots, bound to an owner, their client calls in threads."""

    PATIENCE = 1.0

    def __init__(self, on_error: Callable[[BaseException], None], *, threads: int = 4) -> None:
        super().__init__()
        self._on_error = on_error
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._latest: dict[tuple[int, str], asyncio.Task[Any]] = {}
        self._sources: list[Source] = []
        self._closed = False
        self._cancels: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._workers = [_Worker(self._calls, number) for number in range(threads)]
        self._workers.append(_Worker(self._cancels, threads))
        for worker in self._workers:
            worker.start()

    async def call(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """`function(*args, **kwargs)` in a thread of the pool; its result or its exception.

        When the awaiting task is cancelled, a call that has not begun is never made; what a running one reads is
        cancelled in the database, and its result is dropped. What it writes is not cut short.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        cancellation = Cancellation()

        def watched() -> T:
            with cancellation.watching():
                return function(*args, **kwargs)

        self._calls.put((loop, future, watched))
        try:
            return await future
        except asyncio.CancelledError:
            # in a thread of its own: it may wait for the network, and all others may be busy
            self._cancels.put((loop, loop.create_future(), cancellation.cancel))
            raise

    def start(self, owner: QObject, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a coroutine from a slot. It is cancelled when its owner is destroyed; its error is shown.

        A closed bridge starts nothing.
        """
        if self._closed:  # the last events of a program that ends: nothing begins any more
            work.close()
            ended_before = asyncio.get_running_loop().create_task(asyncio.sleep(0))
            ended_before.cancel()
            return ended_before
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        connection = owner.destroyed.connect(task.cancel)

        def ended(done: asyncio.Task[Any]) -> None:
            self._tasks.discard(done)
            owner_lives = not done.cancelled()
            if owner_lives:
                try:
                    QObject.disconnect(connection)
                except RuntimeError:  # the owner went in the same turn
                    logging.getLogger(__name__).debug("the owner of %r is gone", done)
                if (error := done.exception()) is not None:
                    self._on_error(error)

        task.add_done_callback(ended)
        return task

    def latest(self, owner: QObject, name: str, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Like `start`, but cancels the owner's earlier coroutine of that name, so that an old answer never wins."""
        key = (id(owner), name)
        if (earlier := self._latest.get(key)) is not None:
            earlier.cancel()
        task = self._latest[key] = self.start(owner, work)
        task.add_done_callback(lambda done: self._latest.pop(key) if self._latest.get(key) is done else None)
        return task

    async def ask(self, dialog: QDialog) -> bool:
        """Open a dialog and wait for its answer; True when it was accepted."""
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        dialog.finished.connect(lambda code: None if answer.done() else answer.set_result(code == 1))
        dialog.open()
        try:
            return await answer
        finally:
            dialog.close()
            dialog.deleteLater()

    async def pause(self, seconds: float) -> None:
        """Wait without holding anything up."""
        await asyncio.sleep(seconds)

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for a condition, looking often.

        Raises:
            Conflict: it did not come true in that time.
        """
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Conflict(f"what was waited for did not happen within {seconds:g} s")
            await asyncio.sleep(0.02)

    def listen(self, make: Callable[[Listening], Source]) -> Listening:
        """Start the source that `make` builds around a Listening; it is stopped with the bridge."""
        listening = Listening(self)
        source = make(listening)
        self._sources.append(source)
        source.start()
        return listening

    async def close(self) -> None:
        """Stop listening, cancel all coroutines and wait for them; calls that run on are let go after a moment."""
        self._closed = True
        for source in self._sources:
            future = self.call(source.stop)
            try:
                await asyncio.wait_for(future, 2)
            except TimeoutError:
                logging.getLogger(__name__).warning("a feed did not stop within 2 s")
        self._sources.clear()
        me = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not me]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in self._workers:
            self._calls.put(None)
        self._cancels.put(None)
        deadline = time.monotonic() + self.PATIENCE
        while any(worker.is_alive() for worker in self._workers) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def collecting() -> Iterator[None]:
    """Garbage is collected in this thread only, between events.

    Python collects wherever a threshold is passed; an object of Qt that a worker thread destroys leaves its timers
    behind, and the program crashes when they fire.
    """
    timer = QTimer(interval=250)

    def collect() -> None:
        for generation in (2, 1, 0):
            if gc.get_count()[generation] > gc.get_threshold()[generation]:
                gc.collect(generation)
                return

    timer.timeout.connect(collect)
    gc.disable()
    gc.collect()
    gc.freeze()  # what is imported stays: later collections needn't look at it
    timer.start()
    try:
        yield
    finally:
        timer.stop()
        gc.unfreeze()
        gc.collect()
        gc.enable()


def run(application: QCoreApplication, main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run the application around `main()` until it returns the exit code."""
    with collecting():
        with asyncio.Runner(loop_factory=lambda: QEventLoop(application)) as runner:
            code = runner.run(main())
        # widgets that wait for deletion go now, while the application still lives
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    return code


def watch(on_error: Callable[[BaseException], None]) -> None:
    """Tell of errors in the running loop that nobody awaits."""

    def tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            on_error(error)
        else:
            logging.getLogger(__name__).error("event loop: %s", context.get("message"))

    asyncio.get_running_loop().set_exception_handler(tell)


def closing() -> asyncio.Event:
    """An event that a window sets when it is closed and the main coroutine awaits."""
    return asyncio.Event()
