"""A node: its loop around the queue's worker, its heartbeat, and the attempts that run on it.

Attempts belong to the node, not to the worker: when the database goes away the worker ends and is started again and
again, while the attempts run on and keep what they print on disk (G2).
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import logging.handlers
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import procrastinate
import psutil

from quarterdeck.agent import decide, process, recovery
from quarterdeck.agent.account import Accounts
from quarterdeck.agent.attempt import Attempt
from quarterdeck.agent.launch import Launcher, View, launcher
from quarterdeck.agent.queue import Connector
from quarterdeck.agent.store import Store
from quarterdeck.database import Login
from quarterdeck.errors import Conflict, Disconnected, QuarterdeckError

__all__ = ["LOST_AFTER", "Node"]

LOST_AFTER = 10.0
"""Seconds of silence after which the others take a node for lost."""

_log = logging.getLogger("quarterdeck.agent")
_BEAT = 2.0
_REAP_EVERY = 3
_FIRST_ANSWER = 60.0
_GRACE = 2.0
_LAST_DELIVERY = 5.0
_BACK_OFF = (0.2, 0.5, 1.0, 2.0)


class Node:
    """One node's agent. `run` blocks until SIGTERM or SIGINT (or `stop` from another thread)."""

    def __init__(
        self,
        login: Login,
        name: str,
        slots: int,
        labels: Sequence[str],
        data: Path,
        *,
        runs: Mapping[str, str],
        spool_limit: int,
        run_as: str | None = None,
        hidden: Sequence[Path] = (),
    ) -> None:
        self.name = name
        self.slots = slots
        self.labels = tuple(labels)
        self.folder = (data / name).resolve()
        self._login = login
        self._runs = runs
        self._spool_limit = spool_limit
        self._store = Store(login, name)
        self._accounts = Accounts(run_as)
        view = View(self._accounts.example, (self.folder / "attempts",), tuple(hidden))
        self._launcher: Launcher = launcher(view)
        self._connector: Connector | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._attempts: dict[int, tuple[Attempt, asyncio.Future[None]]] = {}
        self._owned: set[int] = set()
        self._stopping = threading.Event()
        self._urgent = threading.Event()
        self._stop_event: asyncio.Event | None = None
        self._draining = self._connected = False
        self._connected_since = 0.0

    # --- what the connector asks

    def may_fetch(self) -> bool:
        return decide.may_fetch(
            slots=self.slots,
            running=len(self._attempts),
            draining=self._draining,
            stopping=self._stopping.is_set(),
            connected=self._connected,
        )

    def owns(self, queue_id: int) -> bool:
        return queue_id in self._owned

    def abort(self, queue_id: int) -> None:
        with self._lock:
            found = self._attempts.get(queue_id)
        if found is not None:
            found[0].abort()

    # --- life

    def run(self) -> None:
        """Be the node. Raises what can't be waited for at the start: a wrong password, a node that runs already."""
        process.undumpable()
        os.umask(0o077)
        # through these folders tasks of another account get to their own, and see nothing of the rest
        with _Only(self.folder, self.name, 0o700 if self._accounts.example is None else 0o711):
            process.child_subreaper()
            self._open_log()
            self._launcher.start()
            try:
                leftovers = recovery.sweep(self.folder / "attempts")
                self._tell_tasks()
                self._register(time.monotonic() + _FIRST_ANSWER)
                recovery.recover(self._store, self.name, leftovers, self._stopping.is_set)
                with asyncio.Runner(loop_factory=_loop) as runner:
                    runner.run(self._main())
            finally:
                self._launcher.stop()
                self._store.close()

    def _tell_tasks(self) -> None:
        """Note in the log what tasks run as. Raises where they can't run at all."""
        hidden = self._launcher.settled()
        example = self._accounts.example
        if self._accounts.fixed is not None:
            _log.info("tasks run as %s", self._accounts.fixed.name)
        elif example is not None:
            _log.info("each task runs as a number of its own, from %d on", example.uid)
        else:
            _log.info("tasks run as the node's own account%s", "" if hidden else ", and see all that it sees")

    def stop(self) -> None:
        """End the node soon; a second call ends it at once."""
        if self._stopping.is_set():
            self._urgent.set()
        self._stopping.set()
        loop, event = self._loop, self._stop_event
        if loop is not None and event is not None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)

    def _open_log(self) -> None:
        handler = logging.handlers.RotatingFileHandler(
            self.folder / "agent.log", maxBytes=4 << 20, backupCount=3, encoding="utf-8", delay=True
        )
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        _log.addHandler(handler)
        _log.setLevel(logging.INFO)
        _log.propagate = False
        for name in ("procrastinate", "psycopg"):  # each outage would fill the log with their tracebacks
            logging.getLogger(name).setLevel(logging.CRITICAL)

    def _register(self, deadline: float | None = None) -> None:
        while not self._stopping.is_set():
            try:
                self._store.register(
                    self.slots,
                    self.labels,
                    platform.node(),
                    importlib.metadata.version("quarterdeck"),
                    psutil.cpu_count() or 1,
                    psutil.virtual_memory().total,
                )
            except Disconnected as error:
                if deadline is not None and ("refused the sign-in" in str(error) or time.monotonic() > deadline):
                    raise
                time.sleep(0.5)
            else:
                self._connected = True
                self._connected_since = time.monotonic()
                return

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop_event = asyncio.Event()
        if self._stopping.is_set():
            self._stop_event.set()
        self._signals()
        beat = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
        beat.start()
        worker = asyncio.create_task(self._work())
        _log.info("node %s is up with %d slots", self.name, self.slots)
        await self._stop_event.wait()
        await self._shut_down(worker)
        await asyncio.to_thread(beat.join, 5.0)
        await _cancelled(asyncio.all_tasks() - {asyncio.current_task()})

    def _signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        if sys.platform != "win32" and self._loop is not None:
            # without a handler of the loop's own a signal would wait for the loop's next event
            for number in (signal.SIGTERM, signal.SIGINT):
                self._loop.add_signal_handler(number, self.stop)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    # --- the queue

    async def _work(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            connector = self._connector = Connector(self._login, self.name, self)
            application = procrastinate.App(connector=connector)
            application.task(name="quarterdeck.task", pass_context=True)(self._supervise)
            began = time.monotonic()
            try:
                async with application.open_async():
                    await application.run_worker_async(
                        queues=["any", f"node:{self.name}", *(f"label:{one}" for one in self.labels)],
                        name=self.name,
                        concurrency=self.slots,
                        fetch_job_polling_interval=1.0,
                        abort_job_polling_interval=1.0,
                        shutdown_graceful_timeout=0.0,
                        update_heartbeat_interval=_BEAT,
                        stalled_worker_timeout=600.0,
                        install_signal_handlers=False,
                    )
            except asyncio.CancelledError:
                raise
            except Exception as error:
                _log.info("the queue is away: %s", str(error).strip().partition("\n")[0] or type(error).__name__)
            tries = 0 if time.monotonic() - began > 10 else tries + 1
            if not self._stopping.is_set():
                await asyncio.sleep(_BACK_OFF[min(tries, len(_BACK_OFF) - 1)])

    async def _supervise(self, context: procrastinate.JobContext, task_id: int, attempt: int) -> None:
        """The queue's task: wait until the attempt is over. Cancelled with its worker, it leaves it running."""
        queue_id = context.job.id
        if queue_id is None:
            return
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()
        one = Attempt(
            store=self._store,
            launcher=self._launcher,
            accounts=self._accounts,
            node=self.name,
            runs=self._runs,
            folder=self.folder / "attempts",
            queue_id=queue_id,
            task=int(task_id),
            attempt=int(attempt),
            spool_limit=self._spool_limit,
            on_over=lambda _: self._over(queue_id),
        )
        with self._lock:
            self._attempts[queue_id] = (one, over)
            self._owned.add(queue_id)
        one.start()
        await asyncio.shield(over)

    def _over(self, queue_id: int) -> None:
        loop = self._loop
        with self._lock:
            found = self._attempts.pop(queue_id, None)
        if found is None or loop is None:
            return
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(self._settle, queue_id, found[1])

    def _settle(self, queue_id: int, over: asyncio.Future[None]) -> None:
        if not over.done():
            over.set_result(None)
        loop = asyncio.get_running_loop()
        # the worker's own finish of the row comes right after this, and is ours not to send
        loop.call_later(30.0, self._owned.discard, queue_id)
        if self._connector is not None:
            loop.create_task(self._wake(self._connector))  # noqa: RUF006

    async def _wake(self, connector: Connector) -> None:
        with contextlib.suppress(Exception):
            await connector.wake()

    # --- heartbeat

    def _beat(self) -> None:
        count = 0
        while not self._stopping.wait(_BEAT if self._connected else 0.5):
            count += 1
            self._note_trees()
            try:
                load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
                state = self._store.heartbeat(load, psutil.virtual_memory().available)
                if not self._connected:
                    self._connected, self._connected_since = True, time.monotonic()
                    _log.info("the database is back")
                self._draining = state == "draining"
                # after an outage all nodes look silent: let each say that it lives before anyone judges
                if count % _REAP_EVERY == 0 and time.monotonic() - self._connected_since > LOST_AFTER:
                    self._store.reap(LOST_AFTER)
            except Disconnected as error:
                if self._connected:
                    _log.warning("the database is away; tasks run on: %s", error)
                self._connected = False
            except QuarterdeckError as error:
                _log.error("heartbeat: %s", error)
            except Exception:
                _log.exception("heartbeat")

    def _note_trees(self) -> None:
        with self._lock:
            attempts = [one for one, _ in self._attempts.values()]
        if sys.platform != "win32":
            _reap_orphans(self._launcher.pid)
        if attempts:
            parents = {}
            for one in psutil.process_iter(["ppid"]):
                parents[one.pid] = one.info["ppid"] or 0
            for attempt in attempts:
                attempt.note_tree(parents)

    # --- the end

    async def _shut_down(self, worker: asyncio.Task[None]) -> None:
        _log.info("node %s stops", self.name)
        # it signs off from the queue, for which a database that is gone would make it wait
        await _cancelled({worker})
        await self._until_idle(_GRACE)
        with self._lock:
            attempts = [one for one, _ in self._attempts.values()]
        for one in attempts:
            one.shutdown()
        if not await self._until_idle(_LAST_DELIVERY + 1.0):
            with self._lock:
                attempts = [one for one, _ in self._attempts.values()]
            for one in attempts:
                one.give_up()
            await self._until_idle(2.0, urgent=False)
        with contextlib.suppress(QuarterdeckError):
            await asyncio.to_thread(self._store.unregister)

    async def _until_idle(self, seconds: float, *, urgent: bool = True) -> bool:
        until = time.monotonic() + seconds
        while self._attempts and time.monotonic() < until and not (urgent and self._urgent.is_set()):
            await asyncio.sleep(0.02)
        return not self._attempts


async def _cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks until they end: one whose connection dies meanwhile may lose a cancel, and the loop would wait."""
    for one in tasks:
        one.add_done_callback(_outcome_seen)
    until = time.monotonic() + _GRACE
    while tasks and time.monotonic() < until:
        for one in tasks:
            one.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=0.1)
    for one in tasks:
        _log.warning("%s does not end", one.get_name())


def _outcome_seen(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()  # said where it happened; unread, the loop would print it


def _reap_orphans(nursery: int | None) -> None:
    """Orphans of a nursery that was killed come to us; the nursery itself is its launcher's to wait for."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process().children():
            if child.pid != nursery and child.status() == psutil.STATUS_ZOMBIE:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child.pid, os.WNOHANG)


class _Only:
    """Holds the node's name on this machine."""

    def __init__(self, folder: Path, name: str, mode: int) -> None:
        self._path = folder / "agent.pid"
        self._mode = mode
        self._folder = folder
        self._name = name
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        attempts = self._folder / "attempts"
        attempts.mkdir(exist_ok=True)
        for folder in (self._folder, attempts):
            with contextlib.suppress(OSError):
                folder.chmod(self._mode)
        file = self._path.open("a+b")
        if not _locked(file):
            file.seek(0)
            pid = file.read(20).decode("ascii", "replace").strip() or "unknown"
            file.close()
            raise Conflict(
                f"node {self._name} runs already on this machine (process {pid}): stop it, or take another name"
            )
        file.truncate(0)
        file.write(f"{os.getpid()}\n".encode())
        file.flush()
        self._file = file
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.truncate(0)
            self._file.close()


def _locked(file: BinaryIO) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 20)  # a range after the text, which others may read
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _loop() -> asyncio.AbstractEventLoop:
    # psycopg can't use Windows' default loop
    return asyncio.SelectorEventLoop()
