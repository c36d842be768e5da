"""The real window, offscreen, signed in to a loaded database, for the benchmarks of N1 and N2."""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QElapsedTimer, QObject, Qt, QTimer

from benchmarks.loader import PASSWORD, PERSON, Loaded
from desktop import bridge, theme
from desktop.app import Desk, application
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.views.job_table import JobTable
from desktop.views.window import Window
from quarterdeck import profile
from quarterdeck.profile import Profile

BUSY = 50.0
"""Milliseconds that the GUI thread may be busy at a stretch (N2)."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """For how long the GUI thread did not come back to its loop, and how much of that it computed, in milliseconds."""

    wall: float
    computed: float
    at: float


class Watch(QObject):
    """Measures how late the event loop comes back to a timer of 2 ms."""

    def __init__(self) -> None:
        super().__init__()
        self.stretches: list[Stretch] = []
        self._clock = QElapsedTimer()
        self._computed = 0.0
        self._timer = QTimer(self, interval=2, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)

    def start(self) -> None:
        self.stretches = []
        self._clock.start()
        self._computed = time.thread_time()
        self._timer.start()

    def _beat(self) -> None:
        wall = self._clock.nsecsElapsed() / 1e6 - 2
        computed = time.thread_time()
        if wall > 10:
            self.stretches.append(Stretch(wall, (computed - self._computed) * 1000, time.time()))
        self._computed = computed
        self._clock.start()

    def stop(self) -> str:
        """What was seen, in words."""
        self._timer.stop()
        worst = max(self.stretches, key=lambda one: one.wall, default=Stretch(0, 0, 0))
        over = sum(one.wall > BUSY for one in self.stretches)
        mark = "" if worst.wall <= BUSY else "   MISSED"
        return (
            f"  GUI thread busy at a stretch: {worst.wall:.0f} ms at most, of which it computed {worst.computed:.0f};"
            f" {over} stretches over {BUSY:.0f}{mark}"
        )


@contextlib.asynccontextmanager
async def desk(made: Loaded, user: str = PERSON) -> AsyncIterator[Window]:
    """The window of that person; it is closed at the end."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-desk-") as name:
        os.environ |= {"QUARTERDECK_CONFIG": name, "QUARTERDECK_PASSWORD": PASSWORD}
        profile.save(Profile(name="bench", host="127.0.0.1", port=made.port, user=user, tls="loopback"), None)
        settings = Settings(Path(name) / "desktop.json")
        app = application()
        theme.apply(app, "light")
        one = Desk(app, Notices(), settings)
        running = asyncio.ensure_future(one.run("bench"))
        try:
            while one.window is None:
                if running.done():
                    raise RuntimeError(f"the window did not open: {running.exception()}")
                await asyncio.sleep(0.005)
            one.window.resize(1280, 800)
            yield one.window
        finally:
            if one.window is not None:
                one.window.close()
            await running


def run(main: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run a coroutine on the window's loop."""
    return bridge.run(application(), main)


async def until(condition: Callable[[], bool], within: float = 30.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within} s")
        await asyncio.sleep(0.001)  # a loop that never waits would keep the window's threads from their work


def in_view(table: JobTable) -> range:
    """The rows that the table shows."""
    first = max(0, table.rowAt(0))
    last = table.rowAt(table.viewport().height() - 1)
    return range(first, (last if last >= 0 else table.jobs.rowCount() - 1) + 1)


def filled(table: JobTable) -> bool:
    """Whether every row that the table shows is loaded."""
    return table.jobs.read and all(table.jobs.row(number) is not None for number in in_view(table))


class Figures:
    """Prints medians beside their targets, and counts what missed."""

    def __init__(self) -> None:
        self.missed = 0

    def __call__(self, what: str, spent: list[float], target: float, unit: str = "ms") -> None:
        middle = statistics.median(spent)
        self.missed += middle > target
        mark = "" if middle <= target else "   MISSED"
        print(
            f"  {what:52} median {middle:7.1f} {unit}, most {max(spent):7.1f}   target {target:4.0f}{mark}", flush=True
        )
