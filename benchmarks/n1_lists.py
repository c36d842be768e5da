"""N1, the database's part: lists of 1,000,000 jobs as a regular user. The page in the window is the desktop's part.

    python -m benchmarks.n1_lists [--times 7] [--all] [the options of benchmarks.loader]

Each line: median and worst of the calls, beside its target. Pages have 100 jobs. Sorts are of the largest tab by every
column, both ways; `order` is what a list of any order asks for once, after which each place is a `by_ids` away.
"""

from __future__ import annotations

import datetime as dt
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil

from benchmarks.loader import ADMIN, PERSON, Loaded, arguments, loaded
from quarterdeck import kinds
from quarterdeck.client import Client, Filter, Sort
from quarterdeck.job import Origin, Status
from quarterdeck.query import SORTABLE

PAGE = 50.0
CHANGE = 300.0
KIND = "factor"


class Table:
    """Measures calls and prints them; remembers which missed their target."""

    def __init__(self, times: int) -> None:
        self._times = times
        self.missed = 0

    def __call__(self, what: str, target: float, call: Callable[..., Any], *given: Any, **named: Any) -> Any:
        call(*given, **named)  # what the server reads from disk for the first time is the disk's figure
        spent = []
        for _ in range(self._times):
            began = time.perf_counter()
            found = call(*given, **named)
            spent.append((time.perf_counter() - began) * 1000)
        middle = statistics.median(spent)
        self.missed += middle > target
        mark = "" if middle <= target else "   MISSED"
        print(f"  {what:58} {middle:8.1f} ms  (worst {max(spent):7.1f})  target {target:5.0f}{mark}", flush=True)
        return found


def measure(made: Loaded, table: Table, user: str) -> None:
    with Client.sign_in(made.login(user)) as client:
        everything = client.count()
        print(f"as {user}: {everything:,} of {made.sizes.jobs:,} jobs are visible")
        for kind in kinds.KINDS:
            table(f"first page of {kind.key}", PAGE, client.list, Filter(kind=kind.key))
        table("first page of all kinds", PAGE, client.list)

        tab = Filter(kind=KIND)
        total = table(f"count of {KIND}", CHANGE, client.count, tab)
        for share in (0.1, 0.5, 0.9, 1.0):
            offset = max(round(total * share) - 100, 0)
            table(f"page at {offset:,} of {total:,}", PAGE, client.list, tab, offset=offset)
        last = client.list(tab, offset=total // 2)[-1]
        table("page after a job in the middle", PAGE, client.list, tab, after=last)

        for column in SORTABLE:
            for descending in (True, False):
                sort = Sort(column, descending)
                way = "descending" if descending else "ascending"
                table(f"sort by {column}, {way}", CHANGE, client.list, tab, sort)
        for column in ("name", "run_time", "nodes"):
            sort = Sort(column)
            middle = total // 2
            table(
                f"sort by {column}: page in the middle by offset",
                CHANGE,
                client.list,
                tab,
                sort,
                offset=middle,
            )
            ids = table(f"sort by {column}: order of all {total:,}", CHANGE, client.order, tab, sort)
            some = ids[middle : middle + 100].tolist()
            table(f"sort by {column}: page in the middle by its ids", PAGE, client.by_ids, some)

        now = dt.datetime.now(dt.UTC)
        filters: dict[str, dict[str, Any]] = {
            "status failed": {"statuses": frozenset({Status.FAILED})},
            "status in progress": {"statuses": frozenset({Status.IN_PROGRESS})},
            "not success": {"not_statuses": frozenset({Status.SUCCESS})},
            "own": {"creators": frozenset({PERSON})},
            "another creator": {"creators": frozenset({"person17"})},
            "not own": {"not_creators": frozenset({PERSON})},
            "one node": {"nodes": frozenset({"n7"})},
            "no such node": {"nodes": frozenset({"n99"})},
            "not one node": {"not_nodes": frozenset({"n7"})},
            "origin batch": {"origins": frozenset({Origin.BATCH})},
            "origin recorded (none)": {"origins": frozenset({Origin.RECORDED})},
            "last week": {"since": now - dt.timedelta(days=7)},
            "a month a year ago": {"since": now - dt.timedelta(days=395), "until": now - dt.timedelta(days=365)},
            "text, frequent": {"text": "momentum"},
            "text, rare": {"text": "UNICORN"},
            "text, nowhere": {"text": "no such words"},
            "without a text": {"not_text": ("momentum",)},
            "failed on a node with a text": {
                "statuses": frozenset({Status.FAILED}),
                "nodes": frozenset({"n7"}),
                "text": "value",
            },
        }
        for name, fields in filters.items():
            wanted = Filter(kind=KIND, **fields)
            table(f"filter {name}: first page", CHANGE, client.list, wanted)
            found = table(f"filter {name}: count", CHANGE, client.count, wanted)
            deep = max(found // 2, 0)
            table(f"filter {name}: page at {deep:,}", CHANGE, client.list, wanted, offset=deep)
        table("text in all kinds", CHANGE, client.list, Filter(text="unicorn"))
        table("sort of all kinds by name", CHANGE, client.list, sort=Sort("name"))
        table("count of all kinds", CHANGE, client.count)
        snapshot = client.changes().snapshot
        table("what changed since", PAGE, client.changes, snapshot)


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--times", type=int, default=7)
    parser.add_argument("--all", action="store_true", help="as an administrator, too (no target of N1)")
    options = parser.parse_args()
    table = Table(options.times)
    with loaded(options) as made:
        measure(made, table, PERSON)
        missed = table.missed
        if options.all:
            measure(made, table, ADMIN)
    print(f"missed: {missed}; memory of this process {psutil.Process().memory_info().rss >> 20} MB")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
