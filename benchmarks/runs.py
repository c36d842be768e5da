"""What the benchmarks' tasks do; executed in the nodes' task processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from quarterdeck.context import Context

_STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.argv[1:]:
    os.setsid()
    if os.fork():
        os._exit(0)
print(os.getpid(), flush=True)
time.sleep(600)
"""


def run(context: Context, params: dict[str, Any]) -> None:
    if "mark" in params:
        Path(params["mark"]).write_text(f"{time.time()}\n", encoding="utf-8")
    if "lines" in params:
        for number in range(params["lines"]):
            print("line %09d of a task that prints as fast as it can, of a usual length of text" % number)  # noqa: UP031
    if "tree" in params:
        _tree(Path(params["tree"]))


def _tree(file: Path) -> None:
    """Three processes that ignore SIGTERM: this one, a child, and a daemon in a session of its own."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pids = [os.getpid()]
    for extra in ([], ["daemon"]):
        child = subprocess.Popen([sys.executable, "-c", _STUBBORN, *extra], stdout=subprocess.PIPE, text=True)
        if child.stdout is not None:
            pids.append(int(child.stdout.readline()))
    new = file.with_suffix(".new")
    new.write_text(json.dumps(pids), encoding="utf-8")
    new.replace(file)
    time.sleep(600)
