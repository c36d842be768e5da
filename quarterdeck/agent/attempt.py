"""One attempt at a task on this node: carries out what `decide.Machine` says, and feeds it with what happens."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quarterdeck.agent import decide
from quarterdeck.agent.account import Accounts
from quarterdeck.agent.channel import Record, Spool
from quarterdeck.agent.delivery import Delivery, patiently
from quarterdeck.agent.held import Held
from quarterdeck.agent.launch import Child, Launcher
from quarterdeck.agent.output import Log
from quarterdeck.agent.store import Order, Store
from quarterdeck.agent.supply import Supply
from quarterdeck.database import Fenced
from quarterdeck.errors import QuarterdeckError

__all__ = ["Attempt", "tidy"]

_log = logging.getLogger("quarterdeck.agent")
_STUCK = 5.0


class Attempt:
    """Runs in threads of its own until it is over; `abort`, `shutdown`, `give_up` may be called from any thread."""

    def __init__(
        self,
        *,
        store: Store,
        launcher: Launcher,
        accounts: Accounts,
        node: str,
        runs: Mapping[str, str],
        folder: Path,
        queue_id: int | None,
        task: int,
        attempt: int,
        spool_limit: int,
        on_over: Callable[[Attempt], None],
    ) -> None:
        self.queue_id = queue_id
        self.task = task
        self.attempt = attempt
        self.folder = folder / f"{task}-{attempt}"
        self._store = store
        self._launcher = launcher
        self._accounts = accounts
        self._node = node
        self._runs = runs
        self._spool_limit = spool_limit
        self._on_over = on_over
        self._machine = decide.Machine(node=node, task=str(task), attempt=attempt)
        self._events: queue.SimpleQueue[decide.Event] = queue.SimpleQueue()
        self._given_up = False
        self._held: Held | None = None
        self._order: Order | None = None
        self._log: Log | None = None
        self._spool: Spool | None = None
        self._delivery: Delivery | None = None
        self._lock = threading.Lock()
        self._meta: dict[str, Any] = {}

    def start(self) -> None:
        threading.Thread(target=self._live, name=f"attempt {self.task}-{self.attempt}", daemon=True).start()

    def abort(self) -> None:
        self._events.put(decide.Abort())

    def shutdown(self) -> None:
        self._events.put(decide.Shutdown())

    def give_up(self) -> None:
        """The agent stops without the database: what is not delivered stays on disk for the next start."""
        self._given_up = True
        if self._delivery is not None:
            self._delivery.give_up()

    def note_tree(self, parents: dict[int, int]) -> None:
        """Record who is in the tree now, in memory and on disk."""
        if self._held is not None and self._held.record(parents):
            self._save(tree=self._held.known())

    # --- the actor

    def _live(self) -> None:
        try:
            self._take()
            while self._machine.phase is not decide.Phase.OVER:
                try:
                    event = self._events.get(timeout=_STUCK if self._machine.emptied else None)
                except queue.Empty:
                    self._unstick()
                    continue
                for instruction in self._machine.handle(event):
                    self._carry_out(instruction)
        except Exception:
            _log.exception("task %d: the node's own error", self.task)
            self._emergency()
        finally:
            self._on_over(self)

    def _take(self) -> None:
        try:
            self._order = patiently(lambda: self._store.start_task(self.task, self.attempt), lambda: self._given_up)
        except QuarterdeckError as error:
            if not isinstance(error, Fenced):
                _log.error("task %d can't be started: %s", self.task, error)
            self._finish_row()
            self._events.put(decide.Fenced())
            return
        if self._order is None:
            self._events.put(decide.Fenced())
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._accounts.example is not None:
            self.folder.chmod(0o711)
        self._spool = Spool(self.folder / "spool", limit=self._spool_limit)
        self._log = Log(self._spool)
        self._delivery = Delivery(
            self._store,
            self._spool,
            self._log,
            self.task,
            self.attempt,
            on_fenced=lambda: self._events.put(decide.Fenced()),
            on_failed=lambda text: self._events.put(decide.Failed(text)),
            answer=self._answer,
        )
        scratch = self.folder / "scratch"
        self._held = Held(
            self._launcher,
            self._accounts,
            self._node,
            self.task,
            scratch,
            emit=self._events.put,
            log=self._log,
            spool=self._spool,
            delivery=self._delivery,
        )
        self._save(task=self.task, attempt=self.attempt, queue_id=self.queue_id, mark=str(scratch))
        threading.Thread(target=self._deliver, name=f"deliver {self.task}", daemon=True).start()
        self._events.put(decide.Taken())

    def _carry_out(self, instruction: decide.Instruction) -> None:
        held, log, delivery = self._held, self._log, self._delivery
        match instruction:
            case decide.Launch() if held is not None and self._order is not None:
                held.launch(self._order, self._runs.get(self._order.kind, ""), self.attempt, self._supply)
                self._save(warden=held.warden)
            case decide.Note(pid, started) if held is not None and delivery is not None:
                held.note(pid, started)
                self._save(pid=pid, started=started)
                delivery.process(pid, started)
            case decide.Said(text, level) if log is not None:
                log.say(text, level)
            case decide.Kill() if held is not None:
                held.kill()
            case decide.End():
                self._end(instruction)
            case decide.Drop():
                if self._spool is not None:
                    self._spool.drop()
                if delivery is not None:
                    delivery.give_up()
            case decide.Release():
                self._release()

    def _supply(self, child: Child) -> Supply:
        account = self._held.account if self._held is not None else None
        return Supply(self._store, self.task, self.attempt, self.folder / "inputs", account, child.send, self._is_over)

    # --- the end

    def _end(self, end: decide.End) -> None:
        spool, log = self._spool, self._log
        if spool is None or log is None:
            return
        log.flush()
        while log.waiting and not self._given_up and not self._machine.fenced:
            time.sleep(0.02)  # the spool is full: the delivery makes room
            log.flush()
        receipt = end.receipt
        meta = {
            "outcome": end.outcome,
            "exit_code": end.exit_code,
            "error": end.error.replace("\0", ""),
            "receipt": receipt,
            "cpu": end.cpu,
            "peak": end.peak,
            "queue_id": self.queue_id,
        }
        spool.put(Record("end", meta), force=True)

    def _deliver(self) -> None:
        delivery = self._delivery
        if delivery is None:
            return
        try:
            delivered = delivery.run()
        except Exception:
            _log.exception("task %d: delivery failed", self.task)
            delivered = False
            self._events.put(decide.Fenced())
        if delivered:
            self._events.put(decide.Delivered())
        elif self._given_up:
            self._events.put(decide.Fenced())

    def _answer(self, number: int, error: QuarterdeckError | None) -> None:
        meta: dict[str, Any] = {"id": number}
        if error is not None:
            meta |= {"error": str(error), "type": type(error).__name__}
        if self._held is not None:
            self._held.send(Record("answer", meta))

    def _release(self) -> None:
        if self._held is not None:
            self._held.close()
        if self._machine.fenced and not self._given_up and self._order is not None:
            _log.warning("task %d, attempt %d: no longer this node's; it was ended here", self.task, self.attempt)
            self._finish_row()
        keep = self._given_up and self._spool is not None and self._spool.waiting > 0
        if self._spool is not None:
            self._spool.close(keep=keep)
        if not keep:
            tidy(self.folder)

    def _finish_row(self) -> None:
        """End the row in the queue of a task that is none of ours; it may be gone, or be another's business."""
        if not self._given_up:
            with contextlib.suppress(QuarterdeckError):
                self._store.finish(self.queue_id)

    def _unstick(self) -> None:
        """No process lives, but a pipe is open: somebody outside the tree holds it. Reading ends here."""
        spool = self._spool
        if self._machine.output_ended or self._machine.killing or (spool is not None and not spool.room()):
            return
        self._events.put(decide.OutputEnded())

    def _emergency(self) -> None:
        with contextlib.suppress(Exception):
            if self._held is not None:
                self._held.kill_now()
        with contextlib.suppress(Exception):
            if self._order is not None:
                end = {"outcome": "failed", "error": "the node had an error of its own; see its log"}
                self._store.end_task(self.task, self.attempt, end, self.queue_id)

    def _is_over(self) -> bool:
        """Whether what the task asked for is of no use any more."""
        machine = self._machine
        return self._given_up or machine.fenced or machine.exit_seen or bool(machine.reason)

    def _save(self, **more: Any) -> None:
        """What the next start of the agent must know if this one is killed."""
        with self._lock:
            self._meta |= more
            path = self.folder / "attempt.json"
            temporary = path.with_suffix(".new")
            with contextlib.suppress(OSError):
                temporary.write_text(json.dumps(self._meta), encoding="utf-8")
                temporary.replace(path)


def tidy(folder: Path) -> None:
    """Remove an attempt's folder, whatever the task has put there."""

    def loosen(function: Callable[..., Any], path: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o700)
            function(path)

    shutil.rmtree(folder, onerror=loosen)
