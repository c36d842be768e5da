"""N8: queued to started within 100 ms on an idle node; an optimization of 1,000 short tasks costs 50 ms a task at most.

    python -m benchmarks.n8_start [--starts 100] [--tasks 1000]

*Started* is the first line of the run in the task's own process, by this machine's clock; *queued* is the moment before
the call that submits the job. The overhead of a task is the time of a job of tasks that do nothing, by their number.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.cluster import Cluster, cluster, quantile, until


def start_times(made: Cluster, count: int) -> tuple[list[float], list[float]]:
    """Seconds from before submit to (the database's start, the run's first line)."""
    recorded, running = [], []
    for number in range(count):
        mark = made.folder / f"mark{number}"
        began = time.time()
        job = made.submit([{"mark": str(mark)}])
        made.ended(job)
        until(mark.exists, 5)
        running.append(float(mark.read_text()) - began)
        recorded.append(
            float(made.sql("select extract(epoch from started) from qd.job where id = %s", job)[0][0]) - began
        )
    return recorded, running


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--starts", type=int, default=100)
    parser.add_argument("--tasks", type=int, default=1000)
    options = parser.parse_args()
    with cluster() as made:
        made.node(slots=2)
        recorded, running = start_times(made, options.starts)
        print(
            f"queued to started (recorded), {options.starts} jobs: median {1e3 * quantile(recorded, 0.5):.1f} ms, "
            f"95 of 100 {1e3 * quantile(recorded, 0.95):.1f} ms, most {1e3 * max(recorded):.1f} ms"
        )
        print(
            f"queued to the run's first line, {options.starts} jobs: median {1e3 * quantile(running, 0.5):.1f} ms, "
            f"95 of 100 {1e3 * quantile(running, 0.95):.1f} ms, most {1e3 * max(running):.1f} ms (target 100 ms)"
        )
        began = time.perf_counter()
        status = made.ended(made.submit([{} for _ in range(options.tasks)]))
        each = (time.perf_counter() - began) / options.tasks
        print(f"{options.tasks} short tasks of one job, 2 slots, {status}: {1e3 * each:.1f} ms a task (target 50 ms)")


if __name__ == "__main__":
    main()
