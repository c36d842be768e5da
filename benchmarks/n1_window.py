"""N1 in the window: with 1,000,000 jobs, as a regular user, from the act to the painted rows.

    python -m benchmarks.n1_window [--user person01] [the options of benchmarks.loader]

Every tab's first and later opening, scrolling to places drawn at random, sorting by every column both ways, filters,
and the memory of the whole desktop after all that. The GUI thread is watched throughout.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import sys
import time
from collections.abc import Callable

import psutil
from PySide6.QtCore import QObject

from benchmarks.desk import Figures, Watch, desk, filled, run, until
from benchmarks.loader import PERSON, Loaded, arguments, loaded
from desktop.views.job_table import JobTable
from desktop.views.window import Window
from quarterdeck.job import Status
from quarterdeck.query import Filter, Sort

TAB, SCROLL, CHANGE, MEMORY = 150.0, 50.0, 300.0, 400.0


async def shown(table: JobTable, act: Callable[[], object], *, anew: bool) -> float:
    """Milliseconds from `act` until the rows are painted; `anew`: the model has to be another one first."""
    changed = not anew

    def change() -> None:
        nonlocal changed
        changed = True

    connections = [table.jobs.modelReset.connect(change), table.jobs.patched.connect(change)]
    began = time.perf_counter()
    act()
    await until(lambda: changed and filled(table))
    table.viewport().repaint()
    spent = (time.perf_counter() - began) * 1000
    for connection in connections:
        QObject.disconnect(connection)
    await asyncio.sleep(0.05)  # what comes after the rows, such as the number of jobs, is not part of the next act
    return spent


async def measure(window: Window, figures: Figures) -> None:
    for visit in ("first", "later"):
        times = []
        for number, page in enumerate(window.pages):
            if visit == "first" and number == 0:
                continue  # it opened with the window
            act = lambda number=number: window.tabs.setCurrentIndex(number)  # noqa: E731
            times.append(await shown(page.table, act, anew=False))
        figures(f"tab to painted page, {visit} opening, {len(times)} tabs", times, TAB)

    window.tabs.setCurrentIndex(0)
    table = window.pages[0].table
    await until(lambda: filled(table))
    chance = random.Random(7)
    bar = table.verticalScrollBar()
    print(f"  {table.jobs.rowCount():,} rows in the list of factors")
    for what, sort in (("newest first", Sort()), ("by name", Sort("name", False)), ("by node", Sort("nodes", True))):
        if sort != Sort():
            await shown(table, lambda sort=sort: table.jobs.choose(Filter(), sort), anew=True)  # type: ignore[misc]
            await asyncio.sleep(1.5)  # the order of all of them is read in the background
        times = [
            await shown(table, lambda: bar.setValue(chance.randrange(bar.maximum())), anew=False) for _ in range(40)
        ]
        figures(f"scroll to any position, {what}", times, SCROLL)
        bar.setValue(0)
        await until(lambda: filled(table))

    for column in dict.fromkeys(column.sort for column in table.jobs.kind.columns):
        times = []
        for descending in (True, False, True, False):
            times.append(
                await shown(
                    table,
                    lambda column=column, down=descending: table.jobs.choose(Filter(), Sort(column, down)),  # type: ignore[misc]
                    anew=True,
                )
            )
        figures(f"sort by {column}", times, CHANGE)
    week = dt.datetime.now(dt.UTC) - dt.timedelta(days=7)
    for what, wanted in {
        "status failed": Filter(statuses=frozenset({Status.FAILED})),
        "not success": Filter(not_statuses=frozenset({Status.SUCCESS})),
        "own": Filter(creators=frozenset({PERSON})),
        "one node": Filter(nodes=frozenset({"n7"})),
        "last week": Filter(since=week),
        "text, frequent": Filter(text="momentum"),
        "text, rare": Filter(text="unicorn"),
        "text, nowhere": Filter(text="no such words"),
    }.items():
        times = [
            await shown(table, lambda w=one: table.jobs.choose(w, Sort()), anew=True)  # type: ignore[misc]
            for one in (wanted, Filter(), wanted, Filter(), wanted)
        ]
        figures(f"filter {what}", times[::2], CHANGE)


async def report(made: Loaded, user: str) -> int:
    figures = Figures()
    watch = Watch()
    async with desk(made, user) as window:
        await until(lambda: filled(window.pages[0].table))
        watch.start()
        await measure(window, figures)
        busy = watch.stop()
        memory = psutil.Process().memory_info().rss / 1e6
    print(busy)
    figures.missed += "MISSED" in busy
    figures("memory of the whole desktop", [memory], MEMORY, "MB")
    print(f"missed: {figures.missed}")
    return 1 if figures.missed else 0


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--user", default=PERSON)
    options = parser.parse_args()
    with loaded(options) as made:
        print(f"{made.sizes.jobs:,} jobs, as {options.user}")
        return run(lambda: report(made, options.user))


if __name__ == "__main__":
    sys.exit(main())
