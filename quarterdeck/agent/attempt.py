"""One attempt at a task on this node: carries out what `decide.Machine` says, and feeds it with what happens."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from quarterdeck.agent import decide
from quarterdeck.agent.channel import Broken, Record, Spool, records
from quarterdeck.agent.delivery import Delivery, patiently
from quarterdeck.agent.launch import Child, Launcher
from quarterdeck.agent.output import Log, read_lines, read_raw
from quarterdeck.agent.process import Identity, Tree, end_all
from quarterdeck.agent.store import Order, Store
from quarterdeck.agent.supply import Supply
from quarterdeck.database import Fenced
from quarterdeck.errors import QuarterdeckError
from quarterdeck.job import Stream

__all__ = ["Attempt", "tidy"]

_log = logging.getLogger("quarterdeck.agent")
_RECEIPT_LIMIT = 2000
_PROGRESS_LINE = 1.0
_STUCK = 5.0


class Attempt:
    """Runs in threads of its own until it is over; `abort`, `shutdown`, `give_up` may be called from any thread."""

    def __init__(
        self,
        *,
        store: Store,
        launcher: Launcher,
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
        self._node = node
        self._runs = runs
        self._spool_limit = spool_limit
        self._on_over = on_over
        self._machine = decide.Machine(node=node, task=str(task), attempt=attempt)
        self._events: queue.SimpleQueue[decide.Event] = queue.SimpleQueue()
        self._given_up = False
        self._child: Child | None = None
        self._tree = Tree(None)
        self._order: Order | None = None
        self._log: Log | None = None
        self._spool: Spool | None = None
        self._delivery: Delivery | None = None
        self._readers = 0
        self._lock = threading.Lock()
        self._said = (0.0, "", -1.0)
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
        if self._child is not None and self._tree.record(parents):
            self._save(tree=[[one.pid, one.started] for one in self._tree.known])

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
        self._save(task=self.task, attempt=self.attempt, queue_id=self.queue_id)
        threading.Thread(target=self._deliver, name=f"deliver {self.task}", daemon=True).start()
        self._events.put(decide.Taken())

    def _carry_out(self, instruction: decide.Instruction) -> None:
        match instruction:
            case decide.Launch():
                self._launch()
            case decide.Note(pid, started):
                self._tree.known.add(Identity(pid, started))
                self._save(pid=pid, started=started)
                if self._delivery is not None:
                    self._delivery.process(pid, started)
            case decide.Said(text, level):
                if self._log is not None:
                    self._log.say(text, level)
            case decide.Kill():
                threading.Thread(target=self._kill, name=f"kill {self.task}", daemon=True).start()
            case decide.End():
                self._end(instruction)
            case decide.Drop():
                if self._spool is not None:
                    self._spool.drop()
                if self._delivery is not None:
                    self._delivery.give_up()
            case decide.Release():
                self._release()

    def _launch(self) -> None:
        order = self._order
        if order is None:
            return
        run = self._runs.get(order.kind, "")
        if not run:
            self._events.put(decide.NotLaunched(f"this node can't run jobs of the kind '{order.kind}'"))
            return
        scratch = self.folder / "scratch"
        try:
            scratch.mkdir(exist_ok=True)
            child = self._launcher.launch(scratch)
        except (OSError, QuarterdeckError) as error:
            self._events.put(decide.NotLaunched(str(error)))
            return
        self._child = child
        self._tree = Tree(child.warden or None, mark=str(scratch))
        self._save(warden=child.warden, mark=str(scratch))
        log, task = self._log, str(self.task)
        if log is None:
            return
        readers: list[Callable[[], None]] = [
            lambda: read_lines(child.lines, log.add),
            lambda: read_raw(child.out, Stream.STDOUT, log.add),
            lambda: read_raw(child.err, Stream.STDERR, log.add),
            lambda: self._frames(child, order, run, scratch),
        ]
        self._readers = len(readers)
        for number, reader in enumerate(readers):
            threading.Thread(target=self._read, args=(reader,), name=f"read {task}/{number}", daemon=True).start()
        threading.Thread(target=self._watch, args=(child,), name=f"watch {task}", daemon=True).start()

    # --- threads that feed the machine

    def _read(self, reader: Callable[[], None]) -> None:
        try:
            reader()
        except OSError:
            pass  # closed under a stuck read
        except Exception:
            _log.exception("task %d: output could not be read", self.task)
        with self._lock:
            self._readers -= 1
            last = self._readers == 0
        if last:
            self._events.put(decide.OutputEnded())

    def _frames(self, child: Child, order: Order, run: str, scratch: Path) -> None:
        child.send(
            Record(
                "start",
                {
                    "run": run,
                    "job_id": order.job_id,
                    "task_name": order.task_name,
                    "ordinal": order.ordinal,
                    "tasks": order.tasks,
                    "attempt": self.attempt,
                    "params": order.params,
                    "job_params": order.job_params,
                    "scratch": str(scratch),
                },
            )
        )
        machine = self._machine

        def over() -> bool:
            return self._given_up or machine.fenced or machine.exit_seen or bool(machine.reason)

        supply = Supply(self._store, self.task, self.attempt, scratch, child.send, over)
        with os.fdopen(os.dup(child.frames), "rb", buffering=1 << 16) as stream:
            try:
                for record in records(stream):
                    self._record(record, supply)
            except Broken as error:
                if not self._machine.killing and not self._machine.exit_seen:
                    self._events.put(decide.Failed(f"the task sent what is not a message ({error})"))
                while stream.read(1 << 16):
                    pass

    def _record(self, record: Record, supply: Supply) -> None:
        spool = self._spool
        match record.kind:
            case "progress":
                self._progress(record.meta)
            case "open" | "block" | "close" if spool is not None:
                if isinstance(record.meta.get("name"), str):
                    spool.put(record)
            case "read":
                supply.serve(record)
            case "end":
                outcome = "success" if record.meta.get("outcome") == "success" else "failed"
                self._events.put(decide.Reported(outcome, str(record.meta.get("error", ""))[:4000]))

    def _progress(self, meta: dict[str, Any]) -> None:
        fraction, message = meta.get("fraction"), str(meta.get("message", ""))[:1000].replace("\0", "")
        if not isinstance(fraction, int | float) or isinstance(fraction, bool) or not 0 <= fraction <= 1:
            fraction = None
        if self._delivery is not None:
            self._delivery.progress(fraction, message)
        at, said, share = self._said
        step = int((fraction or 0) * 10)
        now = time.monotonic()
        if self._log is not None and (message, step) != (said, share) and now - at >= _PROGRESS_LINE:
            self._said = (now, message, step)
            percent = "" if fraction is None else f" {100 * fraction:.0f} %"
            self._log.say(f"progress{percent}{': ' if message else ''}{message}")

    def _watch(self, child: Child) -> None:
        ended = empty = False
        while (event := child.events()) is not None:
            if "pid" in event:
                self._events.put(decide.Started(int(event["pid"]), float(event.get("started") or 0.0)))
            elif "exit" in event:
                ended = True
                self._events.put(decide.Exited(event["exit"], int(event.get("peak", 0)), bool(event.get("left"))))
            elif "empty" in event:
                empty = True
                self._events.put(decide.Emptied(float(event.get("cpu", 0.0)), int(event.get("peak", 0))))
        child.shut()
        if not empty:
            # the warden was killed: what it watched is found by what was recorded, and ended
            if not ended:
                self._events.put(decide.Exited(None, left=True))
            self._tree.root = None
            self._kill(orphans=True)
            self._events.put(decide.Emptied())

    def _kill(self, *, orphans: bool = False) -> None:
        def living(thorough: bool) -> list[Any]:
            found = self._tree.below(thorough)
            if orphans and (nursery := self._launcher.pid) is not None:
                known = {one.pid for one in found}
                found += [one for one in Tree(nursery).stray() if one.pid not in known]
            return found

        victims: list[dict[str, Any]] = []
        tries = 0
        while True:
            ended, alive = end_all(living, grace=0.2 if not tries else 0.0)
            victims += [one.as_json() for one in ended]
            if not alive:
                break
            tries += 1
            names = ", ".join(f"{one.pid}" for one in alive[:5])
            if self._log is not None and tries in (1, 12, 120):
                self._log.say(f"process {names} does not end on node {self._node}; still trying", "error")
        self._events.put(decide.Killed(tuple(victims[:_RECEIPT_LIMIT])))

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
        if self._child is not None:
            meta: dict[str, Any] = {"id": number}
            if error is not None:
                meta |= {"error": str(error), "type": type(error).__name__}
            self._child.send(Record("answer", meta))

    def _release(self) -> None:
        child = self._child
        if child is not None:
            child.close_orders()
            with self._lock:
                stuck = self._readers > 0
            if not stuck:
                for handle in (child.lines, child.out, child.err, child.frames):
                    with contextlib.suppress(OSError):
                        os.close(handle)
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
            if self._child is not None:
                end_all(self._tree.below)
        with contextlib.suppress(Exception):
            if self._order is not None:
                end = {"outcome": "failed", "error": "the node had an error of its own; see its log"}
                self._store.end_task(self.task, self.attempt, end, self.queue_id)

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
