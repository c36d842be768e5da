"""Starting task processes where there is no fork (Windows): a spare waits for its order with all imports done.

A spare becomes the task itself: nothing of the agent is in it but the ends of its pipes. On Windows each is put into a
job object that ends with its last handle, so that its tree dies with the agent.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import psutil

from quarterdeck.agent.account import Account
from quarterdeck.agent.channel import Record, write_record
from quarterdeck.agent.launch import Child, module_command, task_environment
from quarterdeck.agent.process import Identity
from quarterdeck.errors import Conflict

__all__ = ["Spares"]


class _Spare:
    """A process that waits for its order: standard input takes it, two more pipes bring lines and records."""

    def __init__(self) -> None:
        self.lines, lines = os.pipe()
        self.frames, frames = os.pipe()
        order, self.orders = os.pipe()
        self.out, out = os.pipe()
        self.err, err = os.pipe()
        self.given = (_given(lines), _given(frames))
        settings: dict[str, Any] = {"pass_fds": (lines, frames), "start_new_session": True}
        if sys.platform == "win32":
            information = subprocess.STARTUPINFO(lpAttributeList={"handle_list": list(self.given)})
            flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
            settings = {"startupinfo": information, "creationflags": flags, "close_fds": True}
        try:
            self.process = subprocess.Popen(
                module_command("quarterdeck.agent.task"),
                stdin=order,
                stdout=out,
                stderr=err,
                env=task_environment(),
                cwd=Path(sys.executable).anchor,
                **settings,
            )
        finally:
            for handle in (lines, frames, order, out, err):
                os.close(handle)
        self.job = _job(self.process)

    def discard(self) -> None:
        for handle in (self.lines, self.frames, self.orders, self.out, self.err):
            with contextlib.suppress(OSError):
                os.close(handle)
        self.process.kill()
        self.process.wait()


class Spares:
    """Keeps one process in reserve."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spare: _Spare | None = None

    @property
    def pid(self) -> int | None:
        return None  # nobody's orphans are collected here

    def start(self) -> None:
        with self._lock:
            self._spare = self._spare or _Spare()

    def settled(self) -> bool:
        return False

    def launch(self, scratch: Path, account: Account | None = None) -> Child:
        if account is not None:
            raise Conflict("a waiting process can't become another account's")
        try:
            with self._lock:
                spare, self._spare = self._spare, None
            if spare is None or spare.process.poll() is not None:
                if spare is not None:
                    spare.discard()
                spare = _Spare()
            lines, frames = spare.given
            first = {
                "scratch": str(scratch),
                "environment": task_environment(scratch),
                "lines": lines,
                "frames": frames,
            }
            write_record(spare.orders, Record("become", first))
        except OSError as error:
            raise Conflict(f"no process could be started: {error.strerror}") from None
        threading.Thread(target=self._refill, name="spare", daemon=True).start()
        events: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
        threading.Thread(target=_watch, args=(spare, events), name=f"wait {spare.process.pid}", daemon=True).start()
        # the process itself is the root of what is recorded and ended: there is no warden
        return Child(0, spare.lines, spare.out, spare.err, spare.frames, spare.orders, events.get, lambda: None)

    def _refill(self) -> None:
        with contextlib.suppress(OSError):
            self.start()

    def stop(self) -> None:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None:
            spare.discard()


def _watch(spare: _Spare, events: SimpleQueue[dict[str, Any] | None]) -> None:
    pid = spare.process.pid
    started = getattr(Identity.of(pid), "started", 0.0)
    events.put({"pid": pid, "started": started})
    cpu, peak, family = 0.0, 0, set[Identity]()
    while True:
        # a child is known only while its parent lives: look while it does
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            used, memory = process.cpu_times(), process.memory_info()
            cpu = used.user + used.system
            peak = max(peak, int(getattr(memory, "peak_wset", memory.rss)))
            family |= {Identity(one.pid, one.create_time()) for one in process.children(recursive=True)}
        try:
            code = spare.process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
        break
    left = any(one.process() is not None for one in family)
    events.put({"exit": code, "peak": peak, "left": left})
    _close_job(spare.job)
    while any(one.process() is not None for one in family):
        threading.Event().wait(0.05)
    events.put({"empty": True, "cpu": cpu, "peak": peak})
    events.put(None)


def _given(handle: int) -> int:
    """The number under which the other process finds a pipe's end."""
    if sys.platform == "win32":
        import msvcrt

        handle = msvcrt.get_osfhandle(handle)
        os.set_handle_inheritable(handle, True)
    return handle


def _job(process: subprocess.Popen[bytes]) -> int | None:
    """A job object that ends all its processes when its last handle, ours, is closed; Windows only."""
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = ctypes.c_void_p
        job = kernel.CreateJobObjectW(None, None)
        if job:
            # JOBOBJECT_EXTENDED_LIMIT_INFORMATION; its LimitFlags stand after two 64-bit numbers
            size = 144 if ctypes.sizeof(ctypes.c_void_p) == 8 else 112
            limits = ctypes.create_string_buffer(size)
            ctypes.memmove(ctypes.addressof(limits) + 16, (0x2000).to_bytes(4, "little"), 4)  # KILL_ON_JOB_CLOSE
            if kernel.SetInformationJobObject(ctypes.c_void_p(job), 9, limits, size):
                handle = ctypes.c_void_p(int(getattr(process, "_handle")))  # noqa: B009
                kernel.AssignProcessToJobObject(ctypes.c_void_p(job), handle)
            return int(job)
    return None


def _close_job(job: int | None) -> None:
    if sys.platform == "win32" and job is not None:
        import ctypes

        ctypes.WinDLL("kernel32").CloseHandle(ctypes.c_void_p(job))
