"""From an attempt's spool into the database: in order, again and again while it is away, and each thing only once."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from quarterdeck.agent.channel import Record, Spool
from quarterdeck.agent.output import Log
from quarterdeck.agent.store import Store
from quarterdeck.database import Fenced
from quarterdeck.errors import Conflict, Disconnected, QuarterdeckError

__all__ = ["Delivery", "patiently"]

T = TypeVar("T")

_log = logging.getLogger("quarterdeck.agent")
_LOG_AGE = 0.1
"""Seconds that a line waits for others to go with it, after a quiet time."""
_LOG_AGE_MOST = 1.0
"""The same of a task that writes on and on: a log of very many tiny chunks would be slow to read."""
_PROGRESS_EVERY = 0.5
_BACK_OFF = (0.1, 0.2, 0.5, 1.0)


def patiently(call: Callable[[], T], given_up: Callable[[], bool]) -> T | None:
    """Call until the database answers; None when `given_up()` says that the answer is not needed any more."""
    tries = 0
    while True:
        try:
            return call()
        except Disconnected:
            pass
        until = time.monotonic() + _BACK_OFF[min(tries, len(_BACK_OFF) - 1)]
        tries += 1
        while time.monotonic() < until:
            if given_up():
                return None
            time.sleep(0.05)


class Delivery:
    """Delivers one attempt. `run` ends when the end record is through, or the attempt is not ours any more.

    `on_fenced`: the database refused the attempt. `on_failed(text)`: it refused a table. `answer(id, error)`: how a
    request to open a published table went; error None when well.
    """

    def __init__(
        self,
        store: Store,
        spool: Spool,
        log: Log,
        task: int,
        attempt: int,
        *,
        on_fenced: Callable[[], None],
        on_failed: Callable[[str], None],
        answer: Callable[[int, QuarterdeckError | None], None],
    ) -> None:
        self._store = store
        self._spool = spool
        self._log = log
        self._key = (task, attempt)
        self._on_fenced = on_fenced
        self._on_failed = on_failed
        self._answer = answer
        # kept on disk: after a crash of the agent the record that opened a table may be gone from the spool
        self._tables_file = spool.folder / "tables.json"
        self._tables: dict[str, int | None] = _read_tables(self._tables_file)
        self._process: tuple[int, float] | None = None
        self._progress: tuple[float | None, str] | None = None
        self._progress_sent = 0.0
        self._lock = threading.Lock()
        self._age = _LOG_AGE
        self._flushed = 0.0
        self._given_up = False
        self.away = False

    def give_up(self) -> None:
        """Stop as soon as possible; what was not delivered stays in the spool."""
        self._given_up = True
        self._spool.wake()

    def process(self, pid: int, started: float) -> None:
        """Have the task's process recorded."""
        with self._lock:
            self._process = (pid, started)
        self._spool.wake()

    def progress(self, fraction: float | None, message: str) -> None:
        """Have the progress shown: only the latest counts."""
        with self._lock:
            self._progress = (fraction, message)

    def run(self, *, until_empty: bool = False) -> bool:
        """Deliver until the end, or until the spool is empty; whether the end is in the database."""
        tries = 0
        while not self._given_up and not (until_empty and not self._spool.waiting):
            try:
                if self._step():
                    return True
                tries = 0
                self.away = False
            except Fenced:
                self._spool.drop()
                self._on_fenced()
                return False
            except Disconnected:
                self.away = True
                until = time.monotonic() + _BACK_OFF[min(tries, len(_BACK_OFF) - 1)]
                tries += 1
                while time.monotonic() < until and not self._given_up:
                    time.sleep(0.02)
        return False

    def _step(self) -> bool:
        self._flush()
        self._state()
        records = self._spool.read(0.05 if self._log.waiting or self._progress else 1.0)
        if records and records[0].kind == "log":
            count = next((place for place, one in enumerate(records) if one.kind != "log"), len(records))
            self._lines(records[:count])
            self._spool.acknowledge(count)
            return False
        if not records:
            return False
        ended = self._record(records[0])
        self._spool.acknowledge(1)
        return ended

    def _flush(self) -> None:
        """Lines that waited long enough become a chunk: soon after a quiet time, later when they keep coming."""
        now = time.monotonic()
        waited = self._log.waiting
        if waited:
            self._log.flush(age=self._age)
            waited = self._log.waiting
            if not waited:
                self._age = min(1.5 * self._age, _LOG_AGE_MOST)
                self._flushed = now
        elif now - self._flushed > _LOG_AGE_MOST:
            self._age = _LOG_AGE

    def _state(self, *, last: bool = False) -> None:
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            try:
                self._store.task_process(*self._key, *process)
            except Disconnected:
                with self._lock:
                    self._process = process
                raise
        now = time.monotonic()
        with self._lock:
            progress = self._progress
            if progress is None or not (last or now - self._progress_sent >= _PROGRESS_EVERY):
                return
            self._progress = None
        try:
            self._store.set_progress(*self._key, *progress)
            self._progress_sent = now
        except Disconnected:
            with self._lock:
                self._progress = self._progress or progress
            raise

    def _lines(self, records: list[Record]) -> None:
        chunks = [(record.meta, record.data.decode("utf-8", "replace")) for record in records]
        try:
            self._store.write_log(*self._key, chunks)
        except (Fenced, Disconnected):
            raise
        except QuarterdeckError as error:
            if len(records) > 1:  # find the one that the database does not take
                for record in records:
                    self._lines([record])
                return
            _log.error("task %d: %d lines were refused: %s", self._key[0], records[0].meta["lines"], error)

    def _record(self, record: Record) -> bool:
        meta = record.meta
        try:
            if record.kind == "open":
                self._open(record)
            elif record.kind == "block":
                table = self._tables.get(meta["name"])
                if table is not None:
                    self._store.write_block(*self._key, table, meta, record.data)
            elif record.kind == "close":
                table = self._tables.get(meta["name"])
                if table is not None:
                    self._store.close_table(*self._key, table, meta["symbols"])
            elif record.kind == "end":
                self._state(last=True)
                self._store.end_task(*self._key, meta, meta.get("queue_id"))
                return True
        except (Fenced, Disconnected):
            raise
        except QuarterdeckError as error:
            if record.kind == "end":
                return self._end_anyhow(meta, error)
            self._tables[meta["name"]] = None
            self._on_failed(f"table '{meta['name']}': {error}")
        return False

    def _open(self, record: Record) -> None:
        meta = record.meta
        request = meta.get("id")
        try:
            self._tables[meta["name"]] = self._store.open_table(
                *self._key, meta["name"], record.data, meta.get("publish")
            )
        except (Fenced, Disconnected):
            raise
        except QuarterdeckError as error:
            self._tables[meta["name"]] = None
            if request is None:
                raise
            self._answer(request, error)  # the run has it raised, and decides
        else:
            if request is not None:
                self._answer(request, None)
        finally:
            self._tables_file.write_text(json.dumps(self._tables), encoding="utf-8")

    def _end_anyhow(self, meta: dict[str, Any], error: QuarterdeckError) -> bool:
        """The end itself was refused: a collision is tried again, anything else ends the task as failed."""
        _log.error("task %d: its end was refused: %s", self._key[0], error)
        if isinstance(error, Conflict):
            raise Disconnected(str(error))
        plain = {"outcome": "failed", "exit_code": meta.get("exit_code"), "error": f"the end was refused: {error}"}
        self._store.end_task(*self._key, plain, meta.get("queue_id"))
        return True


def _read_tables(path: Path) -> dict[str, int | None]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}
