"""Processes of tasks: what belongs to a tree, ending all of it, and a receipt of what was ended.

A task's tree is what descends from its warden (see `nursery`), a subreaper on Linux: a daemon that forked twice and
called setsid still descends from it. Where a warden died or the system has no subreapers, two traces find the rest:
the identities recorded while the tree lived, and the environment mark (the attempt's own TMPDIR).
"""

from __future__ import annotations

import ctypes
import datetime as dt
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

__all__ = [
    "MARK",
    "Identity",
    "Tree",
    "Victim",
    "child_subreaper",
    "clear_ambient",
    "die_with_parent",
    "drop_bound",
    "dumpable",
    "end_all",
    "name_process",
    "no_new_privileges",
    "undumpable",
]

MARK = "TMPDIR" if sys.platform != "win32" else "TEMP"
"""The environment variable whose value, an attempt's own folder, marks all processes of that attempt."""

_GRACE = 0.2  # for those that end properly on SIGTERM; the whole has one second (N4)
_POLL = 0.003
_ROUND = 0.25
_SLACK = 0.02  # create times are rounded to clock ticks


@dataclass(frozen=True, slots=True)
class Identity:
    """A process for good: its number, and when it was created (seconds since the epoch), as numbers are used again."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The identity of a process that exists now, else None."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.Error:
            return None

    def process(self) -> psutil.Process | None:
        """The process, if it is still this one and lives (a zombie is dead)."""
        try:
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.started) > _SLACK or found.status() == psutil.STATUS_ZOMBIE:
                return None
        except psutil.Error:
            return None
        return found


@dataclass(frozen=True, slots=True)
class Victim:
    """A process that was ended: the last signal it got, and when it was seen dead (UTC)."""

    pid: int
    name: str
    signal: str
    ended: dt.datetime

    def as_json(self) -> dict[str, Any]:
        return {"pid": self.pid, "name": self.name, "signal": self.signal, "ended": self.ended.isoformat()}


class Tree:
    """All processes of one attempt, found by descent, by record, and by mark."""

    def __init__(self, root: int | None, *, mark: str = "", known: Iterable[Identity] = ()) -> None:
        """`root`: the warden's number, itself not part of the tree; None when it is gone."""
        self.root = root
        self.mark = mark
        self.known = set(known)

    def record(self, parents: dict[int, int] | None = None) -> bool:
        """Note who is in the tree now; whether that has changed."""
        now = {Identity(one.pid, one.create_time()) for one in _sound(self._descendants(parents))}
        if now <= self.known:
            return False
        self.known |= now
        return True

    def below(self, thorough: bool = False) -> list[psutil.Process]:
        """Who of it lives. `thorough` also looks for the mark in every process's environment."""
        found = {one.pid: one for one in _sound(self._descendants(None))}
        for identity in list(self.known):
            if identity.pid not in found and (process := identity.process()) is not None:
                found[identity.pid] = process
        outside = [one for pid, one in found.items() if Identity(pid, one.create_time()) in self.known]
        for one in outside:  # the children of one that lost its warden
            found.update((child.pid, child) for child in _sound(_children(one)))
        if thorough and self.mark:
            for one in psutil.process_iter():
                if one.pid not in found and one.pid not in (self.root, os.getpid()) and _marked(one, self.mark):
                    found[one.pid] = one
        found.pop(os.getpid(), None)
        return [one for one in found.values() if _lives(one)]

    def stray(self) -> list[psutil.Process]:
        """Direct children of the nursery that are no wardens, with all below them: they lost their warden."""
        if self.root is None:
            return []
        try:
            children = psutil.Process(self.root).children()
        except psutil.Error:
            return []
        found = []
        for one in children:
            try:
                if one.name() not in ("qd-warden", "qd-nursery") and one.status() != psutil.STATUS_ZOMBIE:
                    found += [one, *_children(one)]
            except psutil.Error:
                continue
        return [one for one in _sound(found) if _lives(one)]

    def _descendants(self, parents: dict[int, int] | None) -> list[psutil.Process]:
        if self.root is None:
            return []
        if parents is None:
            try:
                return _children(psutil.Process(self.root))
            except psutil.Error:
                return []
        members, grown = {self.root}, True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in members} - members
            members |= more
            grown = bool(more)
        found = []
        for pid in members - {self.root}:
            try:
                found.append(psutil.Process(pid))
            except psutil.Error:
                continue
        return found


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.Error:
        return []


def _sound(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those whose create time can be read, and so told apart from a later process of the same number."""
    found = []
    for one in processes:
        try:
            one.create_time()
        except psutil.Error:
            continue
        found.append(one)
    return found


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True


def _marked(process: psutil.Process, mark: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == mark)
    except (psutil.Error, OSError):
        return False


class _Target:
    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.signal = ""
        self.ended: dt.datetime | None = None
        try:
            self.name = process.name() or "?"
        except psutil.Error:
            self.name = "?"

    def send(self, number: signal.Signals) -> None:
        try:
            if sys.platform == "win32":
                self.process.kill()
            else:
                self.process.send_signal(number)
        except psutil.Error:
            return
        if number in (signal.SIGTERM, _KILL):
            self.signal = number.name

    def look(self) -> bool:
        """Whether it lives; notes the time at which it was first seen dead."""
        if self.ended is None and not _lives(self.process):
            self.ended = dt.datetime.now(dt.UTC)
        return self.ended is None


_KILL = signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL
_STOP = None if sys.platform == "win32" else signal.SIGSTOP


def end_all(
    find: Callable[[bool], Sequence[psutil.Process]], *, grace: float = _GRACE, patience: float = 5.0
) -> tuple[list[Victim], list[psutil.Process]]:
    """End every process that `find(thorough)` finds, again and again until it finds none: (who ended, who still lives).

    First SIGTERM and `grace` seconds for those that end properly; then each round stops what it finds until nothing new
    appears, so that nothing can be forked in between, and kills it. Zombies count as dead. Gives up after `patience`
    seconds: who lives then sits in the kernel, and is named.
    """
    deadline = time.monotonic() + patience
    targets: dict[tuple[int, float], _Target] = {}

    def fresh(thorough: bool) -> list[_Target]:
        new = []
        for one in find(thorough):
            try:
                key = (one.pid, one.create_time())
            except psutil.Error:
                continue
            if key not in targets:
                targets[key] = _Target(one)
                new.append(targets[key])
        return new

    def wait(seconds: float) -> None:
        until = time.monotonic() + seconds
        while sum([one.look() for one in targets.values()]) and time.monotonic() < until:
            time.sleep(_POLL)

    if grace > 0 and sys.platform != "win32":
        for one in fresh(False):
            one.send(signal.SIGTERM)
        wait(grace)
    while True:
        thorough = not any(one.look() for one in targets.values())
        fresh(thorough)
        for _ in range(20):
            if _STOP is None:
                break
            for one in targets.values():
                if one.look() and not one.signal:
                    one.send(_STOP)
            if not fresh(False):
                break
        alive = [one for one in targets.values() if one.look()]
        if not alive and thorough:
            break
        for one in alive:
            one.send(_KILL)
        wait(_ROUND)
        if time.monotonic() > deadline:
            break
    ended = [Victim(t.process.pid, t.name, t.signal or "none", t.ended) for t in targets.values() if t.ended]
    return ended, [one.process for one in targets.values() if one.ended is None]


_DEATH_SIGNAL, _DUMPABLE, _NAME, _DROP_BOUND, _SUBREAPER, _NO_NEW_PRIVILEGES, _AMBIENT = 1, 4, 15, 24, 36, 38, 47
_CLEAR_AMBIENT = 4


def _prctl(option: int, value: int | bytes) -> bool:
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    argument = ctypes.c_char_p(value) if isinstance(value, bytes) else ctypes.c_ulong(value)
    zero = ctypes.c_ulong(0)
    return bool(libc.prctl(ctypes.c_int(option), argument, zero, zero, zero) == 0)


def child_subreaper() -> bool:
    """Become the parent of descendants that lose theirs (Linux); whether the system can do that."""
    return _prctl(_SUBREAPER, 1)


def die_with_parent() -> bool:
    """Get SIGKILL when the parent dies (Linux). Call it right after the fork, then compare the parent's number."""
    return _prctl(_DEATH_SIGNAL, 9)


def undumpable() -> bool:
    """Close this process's memory to other processes of the same account (Linux): it holds the database's password.

    A process forked from it is closed too, a program started by it is open again.
    """
    return _prctl(_DUMPABLE, 0)


def dumpable() -> bool:
    """Open this process's memory to its account again, which closes with a change of account, and by `undumpable`."""
    return _prctl(_DUMPABLE, 1)


def no_new_privileges() -> bool:
    """No program started from here on has more rights than this process: setuid does nothing (Linux)."""
    return _prctl(_NO_NEW_PRIVILEGES, 1)


def drop_bound(capability: int) -> bool:
    """Take a capability out of what programs started from here on can have (Linux); False for those it has not."""
    return _prctl(_DROP_BOUND, capability)


def clear_ambient() -> bool:
    """Hand no capability on to programs that are started (Linux)."""
    return _prctl(_AMBIENT, _CLEAR_AMBIENT)


def name_process(name: str) -> None:
    """The name that process lists show (Linux, 15 bytes)."""
    _prctl(_NAME, name.encode()[:15])
