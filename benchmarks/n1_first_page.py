"""N1: the database's part of "tab to first page painted", as a regular user: the first 100 jobs of each kind.

python -m benchmarks.n1_first_page [--jobs 1000000] [the loader's other options]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from functools import partial

from benchmarks.loader import ADMIN, PERSON, arguments, loaded
from quarterdeck.client import Client
from quarterdeck.kinds import KINDS
from quarterdeck.query import Filter

TARGET = 150.0
"""Milliseconds from the click on a tab to the painted page; the query is a part of it."""


def median_ms(act: Callable[[], object], repeats: int = 30) -> tuple[float, float]:
    """Median and largest of the times of `act`, in milliseconds; the first call is not counted."""
    act()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times), max(times)


def report(client: Client, user: str) -> None:
    """Prints a line for each kind."""
    for kind in KINDS:
        wanted = Filter(kind=kind.key)
        page, worst = median_ms(partial(client.list, wanted, limit=100))
        count, _ = median_ms(partial(client.count, wanted), 5)
        print(
            f"  {user:9} {kind.title:24} first page {page:7.1f} ms (max {worst:.1f}),"
            f" count of {client.count(wanted):>9,}: {count:7.1f} ms"
        )


def main() -> None:
    with loaded(arguments(__doc__).parse_args()) as database:
        print(
            f"{database.sizes.jobs:,} jobs; target: {TARGET:.0f} ms from tab to painted page, the query is a part of it"
        )
        for user in (PERSON, ADMIN):
            with Client.sign_in(database.login(user)) as client:
                report(client, user)


if __name__ == "__main__":
    main()
