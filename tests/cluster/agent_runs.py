"""Runs that the tests' nodes execute: the kind `factor` is mapped to `run`, whose parameter `do` names one of them."""

# ruff: noqa: T201, PTH109, PTH110, PTH114, PTH115, PTH123, PTH208, UP031

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from quarterdeck.context import Context
from quarterdeck.errors import Invalid


def run(context: Context, params: dict[str, Any]) -> None:
    globals()[params.get("do", "nothing")](context, params)


def nothing(context: Context, params: dict[str, Any]) -> None:
    pass


def hello(context: Context, params: dict[str, Any]) -> None:
    print("one")
    logging.getLogger("maker").warning("two")
    print("three", file=sys.stderr)
    logging.getLogger("maker").debug("four")
    print("five\nsix")
    sys.stdout.write("seven, no break")


def order(context: Context, params: dict[str, Any]) -> None:
    log = logging.getLogger()
    for number in range(params["count"]):
        (
            lambda n: print(f"line {n}"),
            lambda n: print(f"line {n}", file=sys.stderr),
            lambda n: log.info("line %d", n),
        )[number % 3](number)


def lines(context: Context, params: dict[str, Any]) -> None:
    for number in range(params["count"]):
        print("line %d of a task that prints as fast as it can, with a text of usual length" % number)


def raw(context: Context, params: dict[str, Any]) -> None:
    print("from Python")
    os.write(1, b"from C\n")
    subprocess.run([sys.executable, "-c", "import sys; print('from a program', file=sys.stderr)"], check=True)
    pid = os.fork()
    if pid == 0:
        print("from a fork")
        os._exit(0)
    os.waitpid(pid, 0)


def odd(context: Context, params: dict[str, Any]) -> None:
    print("nul \0 here")
    print("x" * 200_000)
    print("tab\there \u2028 é \ud800")
    sys.stdout.buffer.write(b"\xff bytes\n")
    os.write(2, b"\xfe raw\r\nnext\n")
    for number in range(3):
        sys.stderr.write(f"\rbar {number}")
    sys.stderr.write("\n")


def crash(context: Context, params: dict[str, Any]) -> None:
    print("the last words")
    os.kill(os.getpid(), signal.SIGKILL)


def fail(context: Context, params: dict[str, Any]) -> None:
    raise ValueError("the price is\nnegative")


def invalid(context: Context, params: dict[str, Any]) -> None:
    raise Invalid("the table 'prices' has no column 'close'")


def leave(context: Context, params: dict[str, Any]) -> None:
    sys.exit(3)


def sleep(context: Context, params: dict[str, Any]) -> None:
    print("sleeping", flush=True)
    _say(params, os.getpid())
    time.sleep(params.get("seconds", 600))
    print("awake")


def _say(params: dict[str, Any], *pids: int) -> None:
    if "tell" in params:
        path = Path(params["tell"])
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(pids), encoding="utf-8")
        temporary.replace(path)


_STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if len(sys.argv) > 1:
    os.setsid()
    if os.fork():
        os._exit(0)
print(os.getpid(), flush=True)
os.close(1)
time.sleep(600)
"""


def tree(context: Context, params: dict[str, Any]) -> None:
    """A child that ignores SIGTERM, and a daemon: forked twice, in a session of its own, ignoring SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", _STUBBORN], stdout=subprocess.PIPE, text=True)
    daemon = subprocess.Popen([sys.executable, "-c", _STUBBORN, "daemon"], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert daemon.stdout is not None
    pids = int(child.stdout.readline()), int(daemon.stdout.readline())
    daemon.wait()
    print("tree is up")
    _say(params, os.getpid(), *pids)
    if not params.get("leave"):
        time.sleep(600)


def secrets(context: Context, params: dict[str, Any]) -> None:
    """What a task can find out about its surroundings, as JSON lines."""
    found: dict[str, Any] = {
        "environment": dict(os.environ),
        "handles": {
            name: os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if _is_open(name)
        },
        "cwd": os.getcwd(),
        "argv": Path("/proc/self/cmdline").read_bytes().decode(),
        "stdin": sys.stdin.read() if sys.stdin else "",
        "session": os.getsid(0) == os.getpid(),
        "path": sys.path,
    }
    needle = params["needle"].encode()
    pid, ancestors = os.getppid(), []
    while pid > 1:
        stat = Path(f"/proc/{pid}/stat").read_text()
        entry: dict[str, Any] = {"pid": pid, "name": stat[stat.index("(") + 1 : stat.rindex(")")]}
        for part in ("environ", "cmdline"):
            try:
                entry[part] = needle in Path(f"/proc/{pid}/{part}").read_bytes()
            except OSError as error:
                entry[part] = error.strerror
        ancestors.append(entry)
        if entry["name"] == "qd-nursery":
            try:
                entry["memory"] = _in_memory(pid, needle)
            except PermissionError:  # an ordinary account's is closed
                entry["memory"] = 0
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    found["ancestors"] = ancestors
    found["own memory"] = _in_memory(os.getpid(), needle, skip=needle)
    print(json.dumps(found))


def _is_open(name: str) -> bool:
    return os.path.exists(f"/proc/self/fd/{name}") or os.path.islink(f"/proc/self/fd/{name}")


def _in_memory(pid: int, needle: bytes, skip: bytes | None = None) -> int:
    """How many times the needle stands in a process's writable memory."""
    count = 0
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, *_ = line.split()
            if not rights.startswith("rw"):
                continue
            start, end = (int(part, 16) for part in span.split("-"))
            try:
                memory.seek(start)
                count += memory.read(end - start).count(needle)
            except (OSError, ValueError, OverflowError):
                continue
    return count


def progress(context: Context, params: dict[str, Any]) -> None:
    context.progress(0.25, "a quarter")
    _say(params, os.getpid())
    time.sleep(params.get("seconds", 0))
    context.progress(0.75, "three quarters")


def _prices(rows: int) -> pl.DataFrame:
    start = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    return pl.DataFrame(
        {
            "time": [start + dt.timedelta(minutes=number // 4) for number in range(rows)],
            "symbol": ["ABCD"[number % 4] for number in range(rows)],
            "close": [100.0 + number for number in range(rows)],
        }
    )


def tables(context: Context, params: dict[str, Any]) -> None:
    context.write("factor", _prices(params["rows"]))
    context.write("small", pl.DataFrame({"metric": ["a", "b"], "value": [1.5, None]}).to_pandas())


def publish(context: Context, params: dict[str, Any]) -> None:
    rows = _prices(params.get("rows", 1000)).to_arrow()
    meta = {"name": params["name"], "mode": params.get("mode", "create"), "public": params.get("public", False)}
    with context.writer("import", rows.schema, publish=meta) as writer:
        writer.write(rows)


def read(context: Context, params: dict[str, Any]) -> None:
    start = dt.datetime(2024, 1, 1, 1, tzinfo=dt.UTC)
    frame = context.read(params["name"], columns=["time", "symbol", "close"], start=start, symbols=["A", "C"])
    batches = pa.Table.from_batches(list(context.read_batches(params["name"], columns=["close"])))
    print(json.dumps({"rows": frame.height, "first": frame["close"][0], "sum": frame["close"].sum()}))
    print(json.dumps({"all": batches.num_rows, "sum": sum(batches.column("close").to_pylist())}))


def result(context: Context, params: dict[str, Any]) -> None:
    frame = context.result(params["job"], "factor")
    print(json.dumps({"rows": frame.height, "sum": frame["close"].sum()}))


def gigabyte(context: Context, params: dict[str, Any]) -> None:
    line = "y" * 999 + "\n"
    block = line * 1000
    _say(params, os.getpid())
    for _ in range(params["blocks"]):
        os.write(1, block.encode())


def chatter(context: Context, params: dict[str, Any]) -> None:
    """A line every twentieth of a second, and at the end a table with a row for each."""
    _say(params, os.getpid())
    end, number = time.monotonic() + params["seconds"], 0
    while time.monotonic() < end:
        print(f"word {number}")
        number += 1
        time.sleep(0.05)
    context.write("factor", _prices(number))


def babble(context: Context, params: dict[str, Any]) -> None:
    os.write(4, b"this is not a record, but long enough to be taken for one")
    time.sleep(600)


def long_symbol(context: Context, params: dict[str, Any]) -> None:
    context.write("factor", _prices(4).with_columns(symbol=pl.lit("S" * 300)))


def half(context: Context, params: dict[str, Any]) -> None:
    context.write("whole", _prices(10))
    writer = context.writer("half", _prices(1).to_arrow().schema)
    writer.write(_prices(100))
    writer.flush()
    raise Invalid("the rest is missing")


def surroundings(context: Context, params: dict[str, Any]) -> None:
    print(os.getcwd())
    print(os.environ["TMPDIR"])
    print("session", os.getsid(0) == os.getpid())


def child(context: Context, params: dict[str, Any]) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    _say(params, os.getpid(), process.pid)
    time.sleep(600)


def burgle(context: Context, params: dict[str, Any]) -> None:
    """What hostile code gets at: each attempt's answer, as JSON."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    agent, found = params["agent"], {}

    def attempt(name: str, action: Callable[[], Any]) -> None:
        try:
            found[name] = action()
        except OSError as error:
            found[name] = error.strerror

    def ptrace(pid: int) -> str:
        if libc.ptrace(16, pid, 0, 0) != 0:
            return os.strerror(ctypes.get_errno())
        os.waitpid(pid, 0x40000000)
        libc.ptrace(17, pid, 0, 0)
        return "attached"

    def environments() -> list[int]:
        """Processes whose environment can be read: those of other tasks and of this one's own tree don't count."""
        readable = []
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) not in (os.getpid(), os.getppid()):
                try:
                    data = Path(f"/proc/{name}/environ").read_bytes()
                except OSError:
                    continue
                if data:
                    readable.append(int(name))
        return readable

    attempt("memory", lambda: open(f"/proc/{agent}/mem", "rb").close() or "open")
    attempt("environment", lambda: Path(f"/proc/{agent}/environ").read_text() and "read")
    attempt("environments", environments)
    attempt("handles", lambda: os.listdir(f"/proc/{agent}/fd"))
    attempt("ptrace", lambda: ptrace(agent))
    attempt("ptrace of the nursery", lambda: ptrace(params["nursery"]))
    attempt("root", lambda: os.setuid(0) or "root")
    if params["signal"]:
        attempt("signal", lambda: os.kill(agent, signal.SIGTERM) or "sent")
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
    found["status"] = {name: status[name] for name in ("Uid", "Gid", "Groups", "NoNewPrivs", "CapBnd")}
    # a namespace of its own brings no cover off
    libc.unshare(0x10020000)
    for path in params["covers"]:
        attempt(f"uncover {path}", lambda path=path: libc.umount2(path.encode(), 2) == 0)
    for path in params["paths"]:
        attempt(path, lambda path=path: os.listdir(path) if Path(path).is_dir() else Path(path).read_text())
    attempt("others' folders", lambda: os.listdir(context.scratch.parents[1]))
    print(json.dumps(found))


def at_home(context: Context, params: dict[str, Any]) -> None:
    """What a task does every day, whatever account it is."""
    import sqlite3  # not among what was imported before

    (context.scratch / "mine").write_text("x", encoding="utf-8")
    frame = context.read(params["name"])
    done = subprocess.run(
        [sys.executable, "-c", "import polars; print(polars.__name__)"], capture_output=True, text=True
    )
    with open("/dev/stdout", "w", encoding="utf-8") as again:
        again.write("by the device\n")
    left = os.listdir(context.scratch.parent / "inputs")
    told = {"user": os.environ.get("USER"), "rows": frame.height, "program": done.stdout.strip(), "left": left}
    print(json.dumps({**told, "sqlite": bool(sqlite3.sqlite_version), "uid": os.getuid(), "groups": os.getgroups()}))
    if "tell" in params:
        time.sleep(600)


def trap(context: Context, params: dict[str, Any]) -> None:
    """Links where the agent is going to lay files."""
    inputs = context.scratch.parent / "inputs"
    try:
        inputs.symlink_to(params["target"])
        print("laid a link beside the working folder")
    except OSError as error:
        print(type(error).__name__)
    context.read(params["name"])
    for number in range(50):
        for table in range(1, 50):
            for block in range(3):
                name = f"{number}-{table}-{block}.arrow"
                with contextlib.suppress(FileExistsError):
                    (inputs / name).symlink_to(Path(params["target"]) / name)
    context.read(params["name"])
