"""What tasks see of the file system, where that is less than all: a mount namespace of the nursery's (Linux).

Two things are done in it. A folder that the tasks' account can't get into, such as root's home, is covered by an empty
one in which only what tasks need is found: Python, our own code, the attempts' folders. And folders that hold passwords
or the database itself are covered as they are, which keeps them from tasks that are the agent's own account.
Root may make such a namespace where the system lets it; other accounts within a user namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from quarterdeck.agent.account import Account, become, drop_capabilities

__all__ = ["Blocked", "narrow", "trouble"]

_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _REMOUNT, _BIND, _RECURSIVE, _SLAVE = 1, 2, 4, 32, 4096, 16384, 1 << 19


_PATIENCE = 20.0
"""Seconds that a trial may take."""


class Blocked(Exception):
    """One sentence: what the tasks' account can't get to, and what to do."""


def narrow(account: Account | None, needed: Sequence[str], hidden: Sequence[str]) -> bool:
    """Narrow what this process and its children see; whether what was to be hidden is hidden from them.

    `account`: whose the tasks are; None for this process's own. `needed`: folders that tasks must get to, apart from
    Python's. Call it before anything has started a thread.

    Raises:
        Blocked: the account can't get to what it needs.
    """
    if account is None and (sys.platform != "linux" or os.geteuid() == 0):
        return False  # what root covers, root uncovers
    paths = _paths(needed)
    blocked = _blocked(account, paths) if account is not None else {}
    if sys.platform != "linux":
        _refuse(account, blocked)
        return account is not None

    def narrowed() -> None:
        before = os.umask(0o022)
        _separate(user=account is None)
        _cover(blocked, paths, hidden)
        if account is None:
            drop_capabilities()
        os.umask(before)

    # half of it can't be taken back: some systems make the namespace and then refuse what is to be done in it
    if not _works(narrowed):
        _refuse(account, blocked)
        return account is not None  # its own rights keep it out of what is hidden
    narrowed()
    if account is not None and blocked:
        _refuse(account, _blocked(account, paths))
    return True


def trouble(account: Account | None, needed: Sequence[str] = ()) -> str:
    """Why tasks of that account would find nothing to run, in one sentence; empty where they would. Changes nothing."""
    if account is None or sys.platform == "win32":
        return ""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            try:
                narrow(account, needed, ())
            except Blocked as error:
                os.write(write, str(error).encode("utf-8")[:4000])
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, encoding="utf-8", errors="replace") as answer:
        # a child of a program with threads may never come to its end
        if not select.select([answer], [], [], _PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
        said = answer.read()
    os.waitpid(pid, 0)
    return said


def _works(action: Callable[[], None]) -> bool:
    """Whether a child of this process can do it."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            action()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _refuse(account: Account | None, blocked: dict[str, str]) -> None:
    if account is None:
        return
    for path, where in blocked.items():
        raise Blocked(
            f"this node's tasks run as another account ({account.name}), which can't get into {where}, where {path} "
            "lies: put it below a folder open to all, such as /opt, or say --run-as root, with which a job's code can "
            "read the node's password"
        )


def _paths(needed: Sequence[str]) -> list[str]:
    """What tasks need: with and without symbolic links, in order."""
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, str(Path(sys.executable).parent), *sys.path]
    python.append(str(Path(sys.executable).resolve().parent))
    found: dict[str, None] = {}
    for name in (*python, *needed):
        path = Path(name) if name else None
        if path is not None and path.exists():
            found[str(path.absolute())] = None
            found[str(path.resolve())] = None
    return sorted(found)


def _blocked(account: Account, paths: Sequence[str]) -> dict[str, str]:
    """Which of the paths the account can't get to, with the uppermost folder that keeps it out: tried as it."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(read)
            become(account)
            found = {path: where for path in paths if (where := _barrier(path))}
            with os.fdopen(write, "w") as out:
                json.dump(found, out)
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(pid, 0)
    if not text:
        raise Blocked(
            f"this system does not let root run tasks as another account ({account.name}): start the node as an "
            "ordinary account, or say --run-as root, with which a job's code can read the node's password"
        )
    return {str(path): str(where) for path, where in json.loads(text).items()}


def _barrier(path: str) -> str | None:
    place = Path(path)
    for folder in reversed(place.parents):
        if not os.access(folder, os.X_OK):
            return str(folder)
    wanted = os.R_OK if place.is_file() else os.X_OK
    return None if os.access(place, wanted) else str(place)


def _separate(*, user: bool) -> None:
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(ctypes.c_int(_NEW_MOUNTS | (_NEW_USER if user else 0))) != 0:
        raise OSError(ctypes.get_errno(), "no namespace")
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    _mount(None, "/", flags=_SLAVE | _RECURSIVE)  # what is mounted from here on is seen from here only


def _mount(source: str | None, target: str, kind: str | None = None, *, flags: int = 0, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)

    def text(value: str | None) -> bytes | None:
        return None if value is None else os.fsencode(value)

    done = libc.mount(
        ctypes.c_char_p(text(source)),
        ctypes.c_char_p(text(target)),
        ctypes.c_char_p(text(kind)),
        ctypes.c_ulong(flags),
        ctypes.c_char_p(options.encode() or None),
    )
    if done != 0:
        raise OSError(ctypes.get_errno(), f"{target} can't be mounted")


def _cover(blocked: dict[str, str], paths: Sequence[str], hidden: Sequence[str]) -> None:
    barriers = {where for path, where in blocked.items() if where != path}
    folders = [str(Path(one).resolve()) for one in hidden if Path(one).is_dir()]
    files = [str(Path(one).resolve()) for one in hidden if not Path(one).is_dir() and os.path.lexists(one)]
    covers = _uppermost(barriers | set(folders))
    # opened before anything covers them
    inner = {path: os.open(path, os.O_PATH) for path in paths if any(_below(path, cover) for cover in covers)}
    for cover in covers:
        _mount("none", cover, "tmpfs", flags=_NO_SETUID | _NO_DEVICES, options="mode=0711,size=1m")
    bound: list[str] = []
    for path, handle in inner.items():  # in order: a folder comes before those in it
        if not any(_below(path, above) for above in bound):
            place = Path(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            if _is_folder(handle):
                place.mkdir(exist_ok=True)
            else:
                place.touch()
            _mount(f"/proc/self/fd/{handle}", path, flags=_BIND | _RECURSIVE)
            bound.append(path)
    for cover in covers:
        _mount(None, cover, flags=_REMOUNT | _BIND | _READ_ONLY | _NO_SETUID | _NO_DEVICES)
    for handle in inner.values():
        os.close(handle)
    for file in files:
        if os.path.lexists(file):
            with contextlib.suppress(OSError):
                _mount(os.devnull, file, flags=_BIND)


def _is_folder(handle: int) -> bool:
    import stat

    return stat.S_ISDIR(os.fstat(handle).st_mode)


def _below(path: str, folder: str) -> bool:
    return Path(folder) in Path(path).parents


def _uppermost(folders: set[str]) -> list[str]:
    return sorted(one for one in folders if not any(_below(one, other) for other in folders))
