"""Starting task processes: through the nursery on Unix, as spares that wait for their order on Windows.

A child is the same thing from both: the agent's ends of its pipes, and a stream of what happens to it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from quarterdeck.agent.account import Account
from quarterdeck.agent.channel import Record, write_record
from quarterdeck.errors import Conflict, Invalid

__all__ = ["Child", "Launcher", "View", "launcher", "module_command", "task_environment"]

_PIPE_SIZE = 1 << 20  # so that the agent reads lines in large pieces
_ANSWER = 60.0


def module_command(module: str) -> list[str]:
    """The command that runs one of our modules in a process of its own; in a packaged program, the program itself."""
    if getattr(sys, "frozen", False):
        return [sys.executable, "--run-module", module]
    # no script's folder first on the path, no packages of the account's home
    return [sys.executable, "-P", "-s", "-X", "faulthandler", "-m", module]


def task_environment(scratch: Path | None = None, account: Account | None = None) -> dict[str, str]:
    """The environment of a task's process, made from nothing: no password, no name of ours, no PG* is in it."""
    found = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }
    for name in ("SYSTEMROOT", "SYSTEMDRIVE", "COMSPEC", "PATHEXT", "NUMBER_OF_PROCESSORS", "LD_LIBRARY_PATH"):
        if name in os.environ and (sys.platform == "win32" or name == "LD_LIBRARY_PATH"):
            found[name] = os.environ[name]
    if scratch is not None:
        home = ("USERPROFILE", "TEMP", "TMP") if sys.platform == "win32" else ("HOME", "TMPDIR")
        found |= dict.fromkeys(home, str(scratch))
    if account is not None:  # a mere number has no name that could be looked up
        found |= dict.fromkeys(("USER", "LOGNAME"), account.name.replace(" ", "-"))
    return found


@dataclass
class Child:
    """A task's process as the agent holds it. `warden`: below which its whole tree is; 0 where there is none."""

    warden: int
    lines: int
    out: int
    err: int
    frames: int
    orders: int
    events: Callable[[], dict[str, Any] | None]
    shut: Callable[[], None]
    _order_lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, record: Record) -> bool:
        """Send a record to the task; False when it is gone."""
        with self._order_lock:
            try:
                write_record(self.orders, record)
            except OSError:
                return False
        return True

    def close_orders(self) -> None:
        with self._order_lock:
            if self.orders >= 0:
                with contextlib.suppress(OSError):
                    os.close(self.orders)
                self.orders = -1


class Launcher(Protocol):
    def start(self) -> None:
        """Get ready: what takes long is done before the first task."""

    def settled(self) -> bool:
        """Whether what was to be hidden from tasks is hidden. Raises Invalid where tasks can't run at all."""

    def launch(self, scratch: Path, account: Account | None = None) -> Child:
        """Start a task's process in that working folder, as that account; it then waits for its order."""

    @property
    def pid(self) -> int | None:
        """The process below which orphans of a killed warden are found."""

    def stop(self) -> None: ...


@dataclass(frozen=True, slots=True)
class View:
    """What tasks are to see of the file system: see `view.narrow`."""

    account: Account | None = None
    needed: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()


def launcher(view: View) -> Launcher:
    """The right one for this system."""
    if sys.platform == "win32":
        from quarterdeck.agent.spare import Spares

        return Spares()
    return Nursery(view)


class Nursery:
    """The agent's side of the nursery: one process for the agent's whole life, started again if it dies."""

    def __init__(self, view: View | None = None) -> None:
        self._view = view or View()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._narrowed: bool | None = None
        self._ready = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    def start(self) -> None:
        with self._lock:
            self._begin()

    def _begin(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*module_command("quarterdeck.agent.nursery"), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                env=task_environment(),
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        ours.settimeout(_ANSWER)
        self._socket, self._narrowed, self._ready = ours, None, False
        view = self._view
        asked = {
            "account": None if view.account is None else view.account.as_json(),
            "needed": [str(one) for one in view.needed],
            "hidden": [str(one) for one in view.hidden],
        }
        from quarterdeck.agent import nursery

        with contextlib.suppress(OSError):  # that it is gone is found by who needs it
            nursery.send(ours, asked)

    def settled(self) -> bool:
        with self._lock:
            try:
                return self._settle()
            except (OSError, ValueError):  # each launch tries to start it again, and says so where it can't
                self._end()
                return False

    def _settle(self) -> bool:
        from quarterdeck.agent import nursery

        if self._narrowed is None:
            answer = nursery.receive(self._socket) if self._socket is not None else None
            if answer is None:
                raise OSError("no nursery")
            if "blocked" in answer[0]:
                self._end()
                raise Invalid(answer[0]["blocked"], field="run_as")
            self._narrowed = bool(answer[0]["hidden"])
        return self._narrowed

    def launch(self, scratch: Path, account: Account | None = None) -> Child:
        from quarterdeck.agent import nursery

        (lines, task_lines), (out, task_out), (err, task_err), (frames, task_frames) = (os.pipe() for _ in range(4))
        task_orders, orders = os.pipe()
        status, task_status = socket.socketpair()
        _widen(lines, out, err, frames)
        theirs = [task_lines, task_out, task_err, task_frames, task_orders, task_status.detach()]
        message: dict[str, Any] = {"scratch": str(scratch), "environment": task_environment(scratch, account)}
        if account is not None:
            message["account"] = account.as_json()
        try:
            answer = None
            with self._lock:
                for _ in range(2):
                    try:
                        if self._process is None or self._socket is None or self._process.poll() is not None:
                            self._begin()
                        connection = self._socket
                        if connection is None:
                            raise OSError("no nursery")
                        if not self._ready:
                            self._settle()
                            nursery.receive(connection)
                            self._ready = True
                        nursery.send(connection, message, theirs)
                        answer = nursery.receive(connection)
                    except Invalid as error:
                        answer = {"error": str(error)}, []
                    except (OSError, ValueError):
                        answer = None
                    if answer is not None:
                        break
                    self._end()
        finally:
            for handle in theirs:
                os.close(handle)
        if answer is None or "pid" not in answer[0]:
            for handle in (lines, out, err, frames, orders):
                os.close(handle)
            status.close()
            failed = answer[0].get("error", "") if answer else "no process could be started: the nursery does not start"
            raise Conflict(failed)
        stream = status.makefile("rb")
        return Child(
            answer[0]["pid"], lines, out, err, frames, orders, lambda: _event(stream), lambda: _shut(stream, status)
        )

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        with self._lock:
            self._end()


def _event(stream: BinaryIO) -> dict[str, Any] | None:
    """What the warden says next; None when it is gone."""
    with contextlib.suppress(OSError, ValueError):
        line = stream.readline()
        if line.endswith(b"\n"):
            found = json.loads(line)
            return found if isinstance(found, dict) else None
    return None


def _shut(stream: BinaryIO, status: socket.socket) -> None:
    with contextlib.suppress(OSError):
        stream.close()
        status.close()


def _widen(*handles: int) -> None:
    if sys.platform == "linux":
        import fcntl

        for handle in handles:
            with contextlib.suppress(OSError):  # the account's limit on pipes may be reached
                fcntl.fcntl(handle, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
