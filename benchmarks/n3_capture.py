"""N3, capture: 100,000 lines/s a node, none lost, none out of order.

    python -m benchmarks.n3_capture [--lines 1000000] [--tasks 2]

Tasks print numbered lines as fast as they can; measured from the call of submit to the job's end, by which all are
in the database. Then every line is read back, counted and compared with its place.
"""

from __future__ import annotations

import argparse
import time

from benchmarks.cluster import cluster
from quarterdeck.logs import decode_chunk


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--tasks", type=int, default=2)
    options = parser.parse_args()
    with cluster() as made:
        made.node(slots=options.tasks)
        each = options.lines // options.tasks
        began = time.perf_counter()
        job = made.submit([{"lines": each} for _ in range(options.tasks)])
        made.ended(job)
        seconds = time.perf_counter() - began
        wrong = found = 0
        for (task,) in made.sql("select id from qd.task where job_id = %s", job):
            lines = []
            for chunk, body in made.sql("select id, body from qd.log_chunk where task_id = %s order by id", task):
                lines += [
                    (one.time, chunk, one.offset, one.text) for one in decode_chunk(body) if one.stream == "stdout"
                ]
            lines.sort(key=lambda line: line[:3])
            found += len(lines)
            wrong += sum(int(line[3][5:14]) != place for place, line in enumerate(lines))
    lost = options.tasks * each - found
    print(
        f"{found} lines of {options.tasks} tasks in {seconds:.1f} s: {found / seconds:,.0f} lines/s (target 100,000); "
        f"lost {lost}, out of order {wrong} (target 0)"
    )


if __name__ == "__main__":
    main()
