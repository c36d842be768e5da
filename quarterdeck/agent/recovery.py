"""What the last agent of this node left behind when it was killed: processes, undelivered output, open attempts."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quarterdeck.agent.attempt import tidy
from quarterdeck.agent.channel import Spool
from quarterdeck.agent.delivery import Delivery, patiently
from quarterdeck.agent.output import Log
from quarterdeck.agent.process import Identity, Tree, Victim, end_all
from quarterdeck.agent.store import Store
from quarterdeck.errors import Disconnected, QuarterdeckError

__all__ = ["Leftover", "recover", "sweep"]

_log = logging.getLogger("quarterdeck.agent")
_LINES_APART = 1 << 40  # line numbers that the last agent can't have used


@dataclass
class Leftover:
    """An attempt whose agent is gone."""

    task: int
    attempt: int
    folder: Path
    queue_id: int | None
    victims: list[Victim] = field(default_factory=list)


def sweep(folder: Path) -> list[Leftover]:
    """End every process that an attempt's folder tells of; needs no database. What is left to deliver is returned."""
    found = []
    for path in sorted(folder.glob("*-*")):
        task, _, attempt = path.name.partition("-")
        if not (task.isdigit() and attempt.isdigit()):
            continue
        meta = _meta(path)
        queue_id = meta.get("queue_id")
        left = Leftover(int(task), int(attempt), path, queue_id if isinstance(queue_id, int) else None)
        known = [Identity(int(pid), float(at)) for pid, at in meta.get("tree", ())]
        if meta.get("pid"):
            known.append(Identity(int(meta["pid"]), float(meta.get("started") or 0.0)))
        tree = Tree(None, mark=str(meta.get("mark") or path / "scratch"), known=known)
        left.victims, alive = end_all(tree.below, grace=0.0)
        for one in alive:
            _log.error("process %d of task %s, of the last run of this node, does not end", one.pid, task)
        found.append(left)
    return found


def _meta(folder: Path) -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((folder / "attempt.json").read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def recover(store: Store, node: str, leftovers: list[Leftover], stopping: Callable[[], bool]) -> None:
    """Deliver what was left, then end as lost what is still open. Waits for the database."""
    for left in leftovers:
        ended = _redeliver(store, left)
        if stopping():
            return
        _log.info("task %d, attempt %d: left by the last run, %s", left.task, left.attempt, "ended" if ended else "cut")
    attempts = patiently(store.open_attempts, stopping)
    for row in attempts or ():
        left = next(
            (one for one in leftovers if (one.task, one.attempt) == (row.task_id, row.attempt)), None
        ) or Leftover(row.task_id, row.attempt, Path(), None)
        if not left.victims and row.pid:
            known = [Identity(row.pid, row.process_started or 0.0)]
            left.victims, _ = end_all(Tree(None, known=known).below, grace=0.0)
        patiently(lambda left=left: _end_lost(store, node, left), stopping)  # type: ignore[misc]
    for left in leftovers:
        tidy(left.folder)


def _end_lost(store: Store, node: str, left: Leftover) -> None:
    now = time.time_ns() // 1000
    lines = [f"the agent of node {node} was killed; the task was cut short"]
    for one in left.victims:
        lines.append(f"killed process {one.pid} ({one.name}) on node {node} with {one.signal}, ended {one.ended}")
    body = "\n".join(f"{now}\txw\t{text}" for text in lines[:500])
    time_text = _iso(now)
    chunk = {"first": _LINES_APART, "lines": len(lines[:500]), "t0": time_text, "t1": time_text}
    receipt = {"node": node, "processes": [one.as_json() for one in left.victims]}
    end = {"outcome": "lost", "exit_code": None, "error": "node lost", "receipt": receipt}
    try:
        store.write_log(left.task, left.attempt, [({**chunk, "levels": [0, 0, len(lines[:500]), 0]}, body)])
        store.end_task(left.task, left.attempt, end, left.queue_id)
    except Disconnected:
        raise
    except QuarterdeckError as error:
        _log.info("task %d, attempt %d: %s", left.task, left.attempt, error)


def _iso(micros: int) -> str:
    return dt.datetime.fromtimestamp(micros / 1e6, dt.UTC).isoformat()


def _redeliver(store: Store, left: Leftover) -> bool:
    """Deliver the spool as far as it goes; whether it held the end, or the database does not want it any more."""
    folder = left.folder / "spool"
    if not folder.is_dir():
        return False
    spool = Spool(folder)
    over = False

    def fenced() -> None:
        nonlocal over
        over = True

    delivery = Delivery(
        store,
        spool,
        Log(spool, first=_LINES_APART // 2),
        left.task,
        left.attempt,
        on_fenced=fenced,
        on_failed=lambda text: _log.error("task %d: %s", left.task, text),
        answer=lambda number, error: None,
    )
    try:
        return delivery.run(until_empty=True) or over
    finally:
        spool.close(keep=True)
