"""Where task processes come from on Unix: a server that has the large imports done and forks, and a warden a task.

    agent -- nursery (executed afresh: its memory and environment never held the database's password)
               +-- warden of an attempt (a subreaper: whatever the task starts stays below it)
                     +-- the task process, in a session of its own

The warden waits until no process is left below it, and tells the agent of the task's start, exit, and the end of all.
When the agent dies, the warden's socket closes and the warden ends its whole tree. The task dies with its warden.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
from typing import Any, NoReturn

from quarterdeck.agent import process, view
from quarterdeck.agent.account import Account

__all__ = ["HANDLES", "receive", "send"]

HANDLES = 6
_LENGTH = struct.Struct("<I")


def send(connection: socket.socket, message: dict[str, Any], handles: list[int] | None = None) -> None:
    """Send a message, with file descriptors beside it."""
    data = json.dumps(message).encode()
    data = _LENGTH.pack(len(data)) + data
    sent = socket.send_fds(connection, [data], handles) if handles else 0
    connection.sendall(data[sent:])


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The next message with its file descriptors; None when the other side is gone."""
    data, handles, _, _ = socket.recv_fds(connection, _LENGTH.size, HANDLES)
    while data and len(data) < _LENGTH.size:
        more = connection.recv(_LENGTH.size - len(data))
        if not more:
            return None
        data += more
    if not data:
        return None
    (length,) = _LENGTH.unpack(data)
    body = bytearray()
    while len(body) < length:
        more = connection.recv(length - len(body))
        if not more:
            return None
        body += more
    return json.loads(body), list(handles)


def main(handle: int) -> None:
    """Serve on an inherited socket until the agent is gone."""
    connection = socket.socket(fileno=handle)
    connection.set_inheritable(False)
    process.name_process("qd-nursery")
    # if a warden is killed, its orphans stay below us, where the agent finds them
    process.child_subreaper()
    _narrow(connection)  # before anything has started a thread
    process.undumpable()  # one task could else lay code into all later ones
    from quarterdeck.agent.task import preload

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # no zombies: wardens tell their end themselves
    preload()
    gc.collect()
    gc.freeze()
    send(connection, {"ready": True})
    while (request := receive(connection)) is not None:
        message, handles = request
        try:
            pid = os.fork()
        except OSError as error:
            _close(handles)
            send(connection, {"error": f"no process could be started: {error.strerror}"})
            continue
        if pid == 0:
            connection.close()
            _guard(message, handles)
        _close(handles)
        send(connection, {"pid": pid})


def _narrow(connection: socket.socket) -> None:
    """Do as the agent's first message says: what tasks see of the file system. The answer is that of `view.narrow`."""
    first = receive(connection)
    if first is None:
        sys.exit(0)
    asked, _ = first
    account = None if asked["account"] is None else Account.from_json(asked["account"])
    try:
        send(connection, {"hidden": view.narrow(account, asked["needed"], asked["hidden"])})
    except view.Blocked as error:
        send(connection, {"blocked": str(error)})
        sys.exit(1)


def _close(handles: list[int]) -> None:
    for handle in handles:
        os.close(handle)


def _guard(message: dict[str, Any], handles: list[int]) -> NoReturn:
    from quarterdeck.agent.task import Handles, live

    code = 1
    try:
        lines, out, err, frames, orders, status = handles
        os.setsid()
        process.name_process("qd-warden")
        process.child_subreaper()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        warden = os.getpid()
        pid = os.fork()
        if pid == 0:
            os.close(status)
            live(Handles(lines, out, err, frames, orders), message, warden)
        _close([lines, out, err, frames, orders])
        null = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        _watch(pid, socket.socket(fileno=status))
        code = 0
    finally:
        os._exit(code)


def _watch(root: int, agent: socket.socket) -> None:
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK) if hasattr(os, "pipe2") else os.pipe()
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    ended: dict[str, Any] | None = None
    orphaned = not _tell(agent, {"pid": root, "started": getattr(process.Identity.of(root), "started", 0.0)})
    with selectors.DefaultSelector() as selector:
        selector.register(wake_read, selectors.EVENT_READ)
        selector.register(agent, selectors.EVENT_READ)
        while True:
            if orphaned:
                process.end_all(process.Tree(os.getpid()).below, patience=60.0)
            while True:
                try:
                    pid, status, usage = os.wait4(-1, os.WNOHANG)
                except ChildProcessError:
                    if ended is not None:
                        _tell(agent, {**ended, "left": False})
                    _tell(agent, {"empty": True, **_usage()})
                    return
                if pid == 0:
                    if ended is not None:
                        _tell(agent, {**ended, "left": True})
                        ended = None
                    break
                if pid == root:
                    ended = {"exit": os.waitstatus_to_exitcode(status), "peak": _bytes(usage.ru_maxrss)}
            for key, _ in selector.select(1.0 if orphaned else None):
                if key.fileobj == wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 4096)
                elif not agent.recv(64):
                    selector.unregister(agent)
                    orphaned = True


def _tell(agent: socket.socket, message: dict[str, Any]) -> bool:
    try:
        agent.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        return False
    return True


def _usage() -> dict[str, float]:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"cpu": used.ru_utime + used.ru_stime, "peak": _bytes(used.ru_maxrss)}


def _bytes(size: int) -> int:
    return size if sys.platform == "darwin" else size * 1024


if __name__ == "__main__":
    main(int(sys.argv[1]))
