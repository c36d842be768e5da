"""The main part of a task's process: make the process clean, then call the kind's run, and say how it ended.

There is no database here, no password, and nothing inherited but five pipes: three to the agent for what the task
prints (lines, descriptors 1 and 2), one for records, and one back with the order and with what was asked for.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib
import io
import itertools
import json
import os
import queue
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pyarrow as pa

from quarterdeck import errors
from quarterdeck.agent import capture, process
from quarterdeck.agent.account import Account, become
from quarterdeck.agent.channel import Broken, Record, read_record, write_record
from quarterdeck.blocks import decode_block, encode_block, schema_bytes, schema_from
from quarterdeck.context import Context, Source
from quarterdeck.errors import Disconnected, Invalid, QuarterdeckError

__all__ = ["PRELOADED", "Handles", "live", "preload"]

PRELOADED = (
    "numpy",
    "pyarrow",
    "pyarrow.compute",
    "pyarrow.dataset",
    "pandas",
    "polars",
    "quarterdeck.blocks",
    "quarterdeck.kinds",
)
"""Imported before any task is there; imports only: a thread pool that has run would not survive a fork."""

_PROGRESS_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class Handles:
    """The task's ends of its pipes: file descriptors."""

    lines: int
    out: int
    err: int
    frames: int
    orders: int


def live(handles: Handles, message: dict[str, Any], parent: int | None) -> NoReturn:
    """Be the task's process until its end. `message`: environment and folder; `parent`: whose death is ours too."""
    code = 70
    try:
        kept = _enter(handles, message, parent)
        code = _work(kept)
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            capture.finish()
        os._exit(code)


def _enter(handles: Handles, message: dict[str, Any], parent: int | None) -> Handles:
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(PermissionError):  # it leads a session already when it was spawned
            os.setsid()
        if message.get("account") is not None:
            become(Account.from_json(message["account"]), handles.out, handles.err)
        process.dumpable()
        if parent is not None:
            process.die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        handles = _keep_only(handles)
    process.name_process("qd-task")
    os.environ.clear()
    os.environ.update(message["environment"])
    os.umask(0o077)
    os.chdir(message["scratch"])
    # what the task starts by multiprocessing must not run the nursery's main module again
    sys.modules["__main__"] = types.ModuleType("__main__")
    sys.argv = ["quarterdeck-task"]
    with contextlib.suppress(ImportError):
        import numpy

        numpy.random.seed()  # else all tasks draw the numbers of the nursery
    return handles


def _keep_only(handles: Handles) -> Handles:
    """Descriptors 0, 1, 2 become nothing, out and err; ours become 3, 4, 5; all others are closed."""
    null = os.open(os.devnull, os.O_RDONLY)
    moved = [
        os.dup(handle) for handle in (null, handles.out, handles.err, handles.lines, handles.frames, handles.orders)
    ]
    # twice, as a descriptor may stand where another one has to go
    high = [_move(handle, 100 + place) for place, handle in enumerate(moved)]
    for place, handle in enumerate(high):
        os.dup2(handle, place, inheritable=place < 3)
    os.closerange(6, _limit())
    return Handles(lines=3, out=1, err=2, frames=4, orders=5)


def _move(handle: int, least: int) -> int:
    import fcntl

    return fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, least)


def _limit() -> int:
    folder = Path("/proc/self/fd")
    if folder.is_dir():
        return max(int(path.name) for path in folder.iterdir()) + 1
    return min(os.sysconf("SC_OPEN_MAX"), 65_536)


def _work(handles: Handles) -> int:
    lines = capture.Lines(handles.lines)
    capture.install(lines)
    orders = os.fdopen(handles.orders, "rb", buffering=1 << 16)
    order = read_record(orders)
    if order is None:
        return 1
    port = _Pipe(handles.frames, orders)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=port.close)
    outcome, error = _run(order.meta, port, lines)
    capture.finish()
    port.end(outcome, error)
    return 0 if outcome == "success" else 1


def _run(order: Mapping[str, Any], port: _Pipe, lines: capture.Lines) -> tuple[str, str]:
    try:
        run = _load(order["run"])
        context = Context(
            job_id=order["job_id"],
            task_name=order["task_name"],
            ordinal=order["ordinal"],
            tasks=order["tasks"],
            attempt=order["attempt"],
            scratch=Path(order["scratch"]),
            job_params=order["job_params"],
            port=port,
        )
        run(context, order["params"])
        port.flush()
    except QuarterdeckError as error:
        lines.say(traceback.format_exc(), "debug")
        return "failed", str(error) or type(error).__name__
    except SystemExit as error:
        if error.code is None or error.code == 0:
            port.flush()
            return "success", ""
        return "failed", f"the run ended itself with exit code {error.code}"
    except BaseException as error:
        lines.say(_traceback(error), "error")
        with contextlib.suppress(Exception):
            return "failed", _short(f"{type(error).__name__}: {error}")
        return "failed", type(error).__name__
    return "success", ""


def _traceback(error: BaseException) -> str:
    """The traceback without our own two frames at its top."""
    found = traceback.TracebackException.from_exception(error)
    while found.stack and found.stack[0].filename == __file__:
        del found.stack[0]
    return "".join(found.format())


def _short(text: str) -> str:
    text = " ".join(text.replace("\0", "").split())
    return text if len(text) <= 2000 else f"{text[:2000]}…"


def _load(name: str) -> Callable[[Context, dict[str, Any]], object]:
    module, _, function = name.partition(":")
    if not module or not function:
        raise Invalid(f"this kind of job can't be run by this version of the node (it names '{name}')")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


class _Pipe:
    """The port of a context: records to the agent, and what the agent answers."""

    def __init__(self, frames: int, orders: BinaryIO) -> None:
        self._frames = frames
        self._orders = orders
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._answers: dict[int, queue.SimpleQueue[Record | None]] = {}
        self._listening = False
        self._progress: dict[str, Any] | None = None
        self._progress_sent = 0.0
        self._blocks: dict[str, int] = {}
        self._closed = False

    # --- to the agent

    def _send(self, record: Record) -> None:
        if self._closed:
            raise Invalid(
                "only the task's own process can write tables, read data or say progress, none forked from it"
            )
        with self._lock:
            try:
                write_record(self._frames, record)
            except OSError:
                raise Disconnected("the node's agent is gone") from None
            except Broken as error:
                raise Invalid(str(error)) from None

    def close(self) -> None:
        """In a forked process: this pipe is not its own."""
        self._closed = True
        with contextlib.suppress(OSError):
            os.close(self._frames)

    def end(self, outcome: str, error: str) -> None:
        with contextlib.suppress(QuarterdeckError):
            self._send(Record("end", {"outcome": outcome, "error": error}))

    def progress(self, fraction: float | None, message: str) -> None:
        import time

        self._progress = {"fraction": fraction, "message": _short(message)[:200]}
        if time.monotonic() - self._progress_sent >= _PROGRESS_EVERY:
            self.flush()
            self._progress_sent = time.monotonic()

    def flush(self) -> None:
        """Send the last progress that was held back."""
        pending, self._progress = self._progress, None
        if pending is not None:
            self._send(Record("progress", pending))

    # --- tables

    def open_table(self, name: str, schema: pa.Schema, publish: Mapping[str, Any] | None) -> None:
        if name in self._blocks:
            raise Invalid(f"the task has written a table '{name}' already")
        self._blocks[name] = 0
        data = schema_bytes(schema)
        if publish is None:
            self._send(Record("open", {"name": name, "publish": None}, data))
            return
        meta = {"name": name, "publish": json.loads(json.dumps(dict(publish), default=str))}
        for answer in self._ask(Record("open", meta, data)):
            _raise_error(answer)
            return

    def write_block(self, name: str, rows: pa.Table) -> None:
        block = encode_block(rows)
        number = self._blocks[name]
        self._blocks[name] = number + 1
        meta = {key: _text(value) for key, value in asdict(block).items() if key != "data"}
        self._send(Record("block", {"name": name, "number": number, **meta}, block.data))

    def close_table(self, name: str, symbols: int) -> None:
        self._send(Record("close", {"name": name, "symbols": symbols}))

    # --- data

    def dataset(self, name: str, selection: Mapping[str, Any]) -> Source:
        return self._source(Record("read", {"dataset": name, **selection}))

    def result(self, job: int, table: str, ordinal: int | None) -> Source:
        return self._source(Record("read", {"job": job, "table": table, "ordinal": ordinal}))

    def _source(self, request: Record) -> Source:
        answers = self._ask(request)
        first = next(answers)
        _raise_error(first)
        schema = schema_from(first.data) if first.data else None
        return Source(schema, _batches(answers), first.meta.get("folder"))

    def _ask(self, request: Record) -> Iterator[Record]:
        number = next(self._numbers)
        mine = self._answers[number] = queue.SimpleQueue()
        with self._lock:
            if not self._listening:
                self._listening = True
                threading.Thread(target=self._listen, name="quarterdeck-answers", daemon=True).start()
        self._send(Record(request.kind, {**request.meta, "id": number}, request.data))
        try:
            while (answer := mine.get()) is not None:
                yield answer
                if not answer.meta.get("more"):
                    return
            raise Disconnected("the node's agent is gone")
        finally:
            self._answers.pop(number, None)

    def _listen(self) -> None:
        with contextlib.suppress(Broken, OSError, ValueError):
            while (answer := read_record(self._orders)) is not None:
                waiting = self._answers.get(answer.meta.get("id", 0))
                if waiting is not None:
                    waiting.put(answer)
        for waiting in list(self._answers.values()):
            waiting.put(None)


def _batches(answers: Iterator[Record]) -> Iterator[pa.Table]:
    for answer in answers:
        _raise_error(answer)
        for name in answer.meta.get("files", ()):
            path = Path(name)
            if not path.stat().st_size:
                continue
            with pa.memory_map(name) as file:
                table = decode_block(file.read_buffer())
            yield table
            path.unlink(missing_ok=True)


def _raise_error(answer: Record) -> None:
    text = answer.meta.get("error")
    if text:
        kind = getattr(errors, str(answer.meta.get("type")), Invalid)
        raise kind(text)


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, dt.datetime) else value


def preload() -> None:
    """Have done what takes long before there is a task."""
    for name in PRELOADED:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def main() -> NoReturn:
    """A process started by spawn (Windows): the order's first record says what the descriptors are."""
    preload()
    stdin = os.fdopen(os.dup(0), "rb", buffering=0)
    first = read_record(io.BufferedReader(_Exact(stdin), 1))
    if first is None:
        os._exit(0)  # a spare that was not needed
    if sys.platform == "win32":
        import msvcrt

        lines, frames = (msvcrt.open_osfhandle(first.meta[name], os.O_WRONLY) for name in ("lines", "frames"))
    else:
        lines, frames = first.meta["lines"], first.meta["frames"]
    live(Handles(lines, 1, 2, frames, stdin.fileno()), first.meta, None)


class _Exact(io.RawIOBase):
    """Reads no byte more than asked for: what follows on the pipe belongs to the next reader."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


if __name__ == "__main__":
    main()
