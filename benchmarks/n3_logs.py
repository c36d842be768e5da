"""N3, reading: a log of 10,000,000 lines of 1,000 tasks that all write at the same time, as its owner.

    python -m benchmarks.n3_logs [--times 5] [the options of benchmarks.loader]

`first look` opens the log anew at each call, as a click on View Log does; the others use a view that is open. Each
line: median and worst of the calls, beside its target. Positions are drawn anew for each call.
"""

from __future__ import annotations

import datetime as dt
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil

from benchmarks.loader import RARE, Loaded, arguments, loaded
from quarterdeck.client import Client
from quarterdeck.job import Level
from quarterdeck.outline import Cursor

NEWEST, POSITION, HIT, WHOLE = 100.0, 150.0, 300.0, 5000.0


class Table:
    def __init__(self, times: int) -> None:
        self._times = times
        self.missed = 0

    def __call__(self, what: str, target: float, call: Callable[[], Any], times: int = 0) -> Any:
        spent = []
        for _ in range(times or self._times):
            began = time.perf_counter()
            found = call()
            spent.append((time.perf_counter() - began) * 1000)
        middle = statistics.median(spent)
        self.missed += middle > target
        mark = "" if middle <= target else "   MISSED"
        print(f"  {what:54} {middle:8.1f} ms  (worst {max(spent):7.1f})  target {target:5.0f}{mark}", flush=True)
        return found


def measure(made: Loaded, table: Table) -> None:
    chance = random.Random(3)
    with Client.sign_in(made.login()) as client:
        job = made.log_job
        client.log(job).newest()  # the server's first read from disk is the disk's figure
        table("first look: newest 200 lines", NEWEST, lambda: client.log(job).newest())
        table("first look: 200 lines in the middle", POSITION, lambda: client.log(job).page(made.sizes.lines // 2))
        table("first look: number of lines", NEWEST, lambda: client.log(job).count())
        table("first look: first error", POSITION, lambda: client.log(job).first_error())
        log = client.log(job)
        total = log.count()
        print(f"  {total:,} lines in an open view")

        def anywhere() -> int:
            return chance.randrange(total)

        def moment() -> dt.datetime:
            return start + (end - start) * chance.random()

        start, end = log.page(0, 1)[0].time, log.newest(1)[0].time
        table("newest 200 lines", NEWEST, lambda: log.newest())
        table("200 lines at any position", POSITION, lambda: log.page(anywhere()), 20)
        place = anywhere()
        table("200 lines a screen further", POSITION, lambda: log.page(place + chance.randrange(2000)))
        table("200 lines from a time on", POSITION, lambda: log.at(moment()), 20)
        table("position of a time", POSITION, lambda: log.position_at(moment()), 20)
        line = log.page(anywhere(), 1)[0]
        table("200 lines before a line", POSITION, lambda: log.before(Cursor.of(line)))
        table("200 lines after a line", POSITION, lambda: log.after(Cursor.of(line)))
        table("newest 200 of one task", NEWEST, lambda: log.newest(task=chance.randrange(made.sizes.tasks)))
        table("200 lines at any position of one task", POSITION, lambda: log.page(5000, task=chance.randrange(999)))
        table("number of errors", POSITION, lambda: log.count(level=Level.ERROR))
        table("newest 200 errors", NEWEST, lambda: log.newest(level=Level.ERROR))
        errors = log.count(level=Level.ERROR)
        table("200 errors at any position", POSITION, lambda: log.page(chance.randrange(errors), level=Level.ERROR), 20)
        warnings = log.count(level=Level.WARNING)
        table(
            "200 warnings at any position", POSITION, lambda: log.page(chance.randrange(warnings), level=Level.WARNING)
        )
        table("first error", POSITION, lambda: log.first_error())
        table("first error of one task", POSITION, lambda: log.first_error(task=chance.randrange(made.sizes.tasks)))

        for word, count in RARE.items():
            table(f"first hit of '{word}' (in {count:,} lines)", HIT, lambda word=word: log.search(word, 1))  # type: ignore[misc]
        middle = Cursor.of(log.page(total // 2, 1)[0])
        for word in ("zeppelin", "quagga"):
            table(f"next '{word}' from the middle", HIT, lambda w=word: log.search(w, 1, after=middle))  # type: ignore[misc]
            table(f"'{word}' before the middle", HIT, lambda w=word: log.search(w, 1, before=middle))  # type: ignore[misc]
        table("first hit of a text in all lines", HIT, lambda: log.search("equity", 1))
        for what, text, case in (
            ("a text that is nowhere", "No Such Text", False),
            ("the same in its case", "No Such Text", True),
            ("text in 20 lines", "Zeppelin", False),
            ("text in 10,000 lines", "quagga", False),
            ("text beyond ASCII", "größer", False),
        ):
            found = table(
                f"whole log searched: {what}",
                WHOLE,
                lambda t=text, c=case: sum(len(part.lines) for part in log.searching(t, case=c)),  # type: ignore[misc]
                1,
            )
            print(f"    {found:,} lines found")


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    table = Table(options.times)
    with loaded(options) as made:
        measure(made, table)
    print(f"missed: {table.missed}; memory of this process {psutil.Process().memory_info().rss >> 20} MB")
    return 1 if table.missed else 0


if __name__ == "__main__":
    sys.exit(main())
