"""N4: terminate; all processes dead within 1 s (95 of 100), also those that ignore SIGTERM or left the process group.

    python -m benchmarks.n4_terminate [--runs 100]

Each job has a process, a child and a daemon (forked twice, in a session of its own), all of which ignore SIGTERM.
Measured from before the call of terminate_job until the last of them is gone or a zombie, and until the job says so.
"""

from __future__ import annotations

import argparse
import json
import time

import psutil

from benchmarks.cluster import Cluster, cluster, quantile, until


def dead(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def once(made: Cluster, number: int) -> tuple[float, float]:
    """Seconds to (all dead, the job's end)."""
    file = made.folder / f"tree{number}.json"
    job = made.submit([{"tree": str(file)}])
    until(file.exists, 30)
    pids = json.loads(file.read_text())
    began = time.perf_counter()
    made.person.execute("select qd.terminate_job(%s)", (job,))
    until(lambda: all(dead(pid) for pid in pids), 30)
    gone = time.perf_counter() - began
    status = made.ended(job, 30)
    if status != "failed":
        raise RuntimeError(f"a terminated job is {status}")
    return gone, time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=100)
    options = parser.parse_args()
    with cluster() as made:
        made.node(slots=2)
        found = [once(made, number) for number in range(options.runs)]
    for what, values in (("all processes dead", [one for one, _ in found]), ("job ended", [two for _, two in found])):
        print(
            f"{what}, {options.runs} runs: median {1e3 * quantile(values, 0.5):.0f} ms, "
            f"95 of 100 {1e3 * quantile(values, 0.95):.0f} ms, most {1e3 * max(values):.0f} ms (target 1000 ms)"
        )


if __name__ == "__main__":
    main()
