"""The processes of one attempt as the agent holds them: started, read, watched, recorded, ended.

What happens to them is told as events of `decide`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quarterdeck.agent import decide
from quarterdeck.agent.account import Account, Accounts
from quarterdeck.agent.channel import Broken, Record, Spool, records
from quarterdeck.agent.delivery import Delivery
from quarterdeck.agent.launch import Child, Launcher
from quarterdeck.agent.output import Log, read_lines, read_raw
from quarterdeck.agent.process import Identity, Tree, end_all
from quarterdeck.agent.store import Order
from quarterdeck.agent.supply import Supply
from quarterdeck.errors import QuarterdeckError
from quarterdeck.job import Stream

__all__ = ["Held"]

_log = logging.getLogger("quarterdeck.agent")
_RECEIPT_LIMIT = 2000
_PROGRESS_LINE = 1.0


class Held:
    """A task's process with its whole tree. `emit` takes events from any thread; `scratch` is the task's folder."""

    def __init__(
        self,
        launcher: Launcher,
        accounts: Accounts,
        node: str,
        task: int,
        scratch: Path,
        *,
        emit: Callable[[decide.Event], None],
        log: Log,
        spool: Spool,
        delivery: Delivery,
    ) -> None:
        self._launcher = launcher
        self._accounts = accounts
        self.account: Account | None = None
        self._node = node
        self._task = task
        self._scratch = scratch
        self._emit = emit
        self._log = log
        self._spool = spool
        self._delivery = delivery
        self._child: Child | None = None
        self._tree = Tree(None, mark=str(scratch))
        self._readers = 0
        self._over = False
        self._lock = threading.Lock()
        self._said = (0.0, "", -1)

    @property
    def warden(self) -> int:
        return self._child.warden if self._child else 0

    def known(self) -> list[list[float]]:
        """Who was seen in the tree so far: (number, create time)."""
        return [[one.pid, one.started] for one in self._tree.known]

    def record(self, parents: dict[int, int]) -> bool:
        """Note who is in the tree now; whether that has changed."""
        return self._child is not None and self._tree.record(parents)

    def note(self, pid: int, started: float) -> None:
        """The task's own process belongs to the tree, whatever becomes of its warden."""
        self._tree.known.add(Identity(pid, started))

    def launch(self, order: Order, run: str, attempt: int, supply: Callable[[Child], Supply]) -> None:
        """Start the task's process and everything that listens to it; NotLaunched if there will be none."""
        if not run:
            self._emit(decide.NotLaunched(f"this node can't run jobs of the kind '{order.kind}'"))
            return
        try:
            self.account = self._accounts.take(self._task)
            self._scratch.mkdir(exist_ok=True)
            if self.account is not None:
                os.chown(self._scratch, self.account.uid, self.account.gid, follow_symlinks=False)
            child = self._launcher.launch(self._scratch, self.account)
        except (OSError, QuarterdeckError) as error:
            self._emit(decide.NotLaunched(str(error)))
            return
        self._child = child
        self._tree.root = child.warden or None
        start = {
            "run": run,
            "job_id": order.job_id,
            "task_name": order.task_name,
            "ordinal": order.ordinal,
            "tasks": order.tasks,
            "attempt": attempt,
            "params": order.params,
            "job_params": order.job_params,
            "scratch": str(self._scratch),
        }
        log = self._log
        readers: list[Callable[[], None]] = [
            lambda: read_lines(child.lines, log.add),
            lambda: read_raw(child.out, Stream.STDOUT, log.add),
            lambda: read_raw(child.err, Stream.STDERR, log.add),
            lambda: self._frames(child, start, supply(child)),
        ]
        self._readers = len(readers)
        for number, reader in enumerate(readers):
            threading.Thread(target=self._read, args=(reader,), name=f"read {self._task}/{number}", daemon=True).start()
        threading.Thread(target=self._watch, args=(child,), name=f"watch {self._task}", daemon=True).start()

    def send(self, record: Record) -> bool:
        """Send a record to the task; False when it is gone."""
        return self._child is not None and self._child.send(record)

    def kill(self) -> None:
        """Begin to end the whole tree; Killed comes when no process of it lives."""
        threading.Thread(target=self._kill, name=f"kill {self._task}", daemon=True).start()

    def kill_now(self) -> None:
        """End the tree as well as can be done in a few seconds, whatever state things are in."""
        end_all(self._tree.below)

    def close(self) -> None:
        """Close our ends of the pipes; those under a reader that is still stuck stay."""
        self._over = True
        self._accounts.give_back(self.account)
        child = self._child
        if child is None:
            return
        child.close_orders()
        with self._lock:
            stuck = self._readers > 0
        if not stuck:
            for handle in (child.lines, child.out, child.err, child.frames):
                with contextlib.suppress(OSError):
                    os.close(handle)

    # --- threads that tell what happens

    def _read(self, reader: Callable[[], None]) -> None:
        try:
            reader()
        except OSError:
            pass  # closed under a stuck read
        except Exception:
            _log.exception("task %d: output could not be read", self._task)
        with self._lock:
            self._readers -= 1
            last = self._readers == 0
        if last:
            self._emit(decide.OutputEnded())

    def _frames(self, child: Child, start: dict[str, Any], supply: Supply) -> None:
        child.send(Record("start", start))
        with os.fdopen(os.dup(child.frames), "rb", buffering=1 << 16) as stream:
            try:
                for record in records(stream):
                    self._record(record, supply)
            except Broken as error:
                if not self._over:  # the last one of a task that was killed is cut
                    self._emit(decide.Failed(f"the task sent what is not a message ({error})"))
                while stream.read(1 << 16):
                    pass

    def _record(self, record: Record, supply: Supply) -> None:
        match record.kind:
            case "progress":
                self._progress(record.meta)
            case "open" | "block" | "close":
                if isinstance(record.meta.get("name"), str):
                    self._spool.put(record)
            case "read":
                supply.serve(record)
            case "end":
                outcome = "success" if record.meta.get("outcome") == "success" else "failed"
                self._emit(decide.Reported(outcome, str(record.meta.get("error", ""))[:4000]))

    def _progress(self, meta: dict[str, Any]) -> None:
        fraction, message = meta.get("fraction"), str(meta.get("message", ""))[:1000].replace("\0", "")
        if not isinstance(fraction, int | float) or isinstance(fraction, bool) or not 0 <= fraction <= 1:
            fraction = None
        self._delivery.progress(fraction, message)
        at, said, share = self._said
        step = int((fraction or 0) * 10)
        now = time.monotonic()
        if (message, step) != (said, share) and now - at >= _PROGRESS_LINE:
            self._said = (now, message, step)
            percent = "" if fraction is None else f" {100 * fraction:.0f} %"
            self._log.say(f"progress{percent}{': ' if message else ''}{message}")

    def _watch(self, child: Child) -> None:
        ended = empty = False
        while (event := child.events()) is not None:
            if "pid" in event:
                self._emit(decide.Started(int(event["pid"]), float(event.get("started") or 0.0)))
            elif "exit" in event:
                ended = self._over = True
                self._emit(decide.Exited(event["exit"], int(event.get("peak", 0)), bool(event.get("left"))))
            elif "empty" in event:
                empty = True
                self._emit(decide.Emptied(float(event.get("cpu", 0.0)), int(event.get("peak", 0))))
        child.shut()
        if not empty:
            # the warden was killed: what it watched is found by what was recorded, and ended
            if not ended:
                self._emit(decide.Exited(None, left=True))
            self._tree.root = None
            self._kill(orphans=True)
            self._emit(decide.Emptied())

    def _kill(self, *, orphans: bool = False) -> None:
        self._over = True
        victims: list[dict[str, Any]] = []
        tries = 0
        while True:
            ended, alive = end_all(lambda thorough: self._find(thorough, orphans), grace=0.2 if not tries else 0.0)
            victims += [one.as_json() for one in ended]
            if not alive:
                break
            tries += 1
            names = ", ".join(f"{one.pid}" for one in alive[:5])
            if tries in (1, 12, 120):
                self._log.say(f"process {names} does not end on node {self._node}; still trying", "error")
        self._emit(decide.Killed(tuple(victims[:_RECEIPT_LIMIT])))

    def _find(self, thorough: bool, orphans: bool) -> list[Any]:
        found = self._tree.below(thorough)
        if orphans and (nursery := self._launcher.pid) is not None:
            known = {one.pid for one in found}
            found += [one for one in Tree(nursery).stray() if one.pid not in known]
        return found
