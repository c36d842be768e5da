"""N2: from a commit in the database to the painted row, at 100 changes a second; and how busy the GUI thread is.

    python -m benchmarks.n2_live [--seconds 20] [--rate 100] [the options of benchmarks.loader]

Another process submits jobs and terminates them a little later, each in a transaction of its own, and notes when the
commit had returned. The window shows the newest jobs; a change has arrived when a paint of its row has ended.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time

from PySide6.QtCore import QEvent, QObject, QTimer

from benchmarks.cluster import quantile
from benchmarks.desk import Watch, desk, filled, in_view, run, until
from benchmarks.loader import ADMIN, PASSWORD, Loaded, arguments, loaded
from desktop.views.job_table import JobTable
from quarterdeck.client import Client
from quarterdeck.job import Status

TARGET = 150.0

_CHANGES = """
import json, sys, time
import psycopg
order = json.load(sys.stdin)
connection = psycopg.connect(order["conninfo"], autocommit=True)
plan = json.dumps([{"name": "task", "params": {}, "queue": "node:nowhere"}])
submit = "select qd.submit_job('factor', '{}', '{\\"name\\": \\"N2\\"}', %s::jsonb)"
begin = time.monotonic()
waiting, said = [], []
for number in range(int(order["seconds"] * order["rate"])):
    time.sleep(max(0, begin + number / order["rate"] - time.monotonic()))
    if number % 2 and len(waiting) > 5:
        job = waiting.pop(0)
        connection.execute("select qd.terminate_job(%s)", (job,))
        said.append((job, "failed", time.time()))
    else:
        job = connection.execute(submit, (plan,)).fetchone()[0]
        waiting.append(job)
        said.append((job, "queued", time.time()))
json.dump({"said": said, "spent": time.monotonic() - begin}, sys.stdout)
"""


class Painted(QObject):
    """Notes when each job was first painted in each status."""

    def __init__(self, table: JobTable) -> None:
        super().__init__()
        self.seen: dict[tuple[int, Status], float] = {}
        self._table = table
        table.viewport().installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Paint:
            rows = [self._table.jobs.row(number) for number in in_view(self._table)]
            fresh = [key for row in rows if row is not None and (key := (row.id, row.status)) not in self.seen]
            if fresh:
                QTimer.singleShot(0, lambda: self._painted(fresh))  # after this paint
        return False

    def _painted(self, keys: list[tuple[int, Status]]) -> None:
        now = time.time()
        for key in keys:
            self.seen.setdefault(key, now)


async def report(made: Loaded, seconds: float, rate: float) -> int:
    watch = Watch()
    login = made.login()
    async with desk(made) as window:
        table = window.pages[0].table
        await until(lambda: filled(table))
        painted = Painted(table)
        await asyncio.sleep(1)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _CHANGES, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        conninfo = (
            f"host={login.host} port={login.port} dbname={login.database} user={login.user} password='{PASSWORD}'"
        )
        order = {"conninfo": conninfo, "seconds": seconds, "rate": rate}
        watch.start()
        output, _ = await process.communicate(json.dumps(order).encode())
        await asyncio.sleep(1)
        busy = watch.stop()
    told = json.loads(output)
    said = told["said"]
    jobs = {job for job, _, _ in said}
    with Client.sign_in(made.login(ADMIN)) as client:
        for job in jobs - {job for job, status, _ in said if status == Status.FAILED.value}:
            client.terminate(job)
        client.delete(jobs)
    arrived, missing = [], 0
    for job, status, at in said:
        when = painted.seen.get((job, Status(status)))
        if when is None:
            missing += 1
        else:
            arrived.append((when - at) * 1000)
    share = quantile(arrived, 0.95)
    mark = "" if share <= TARGET and not missing else "   MISSED"
    print(f"  {len(said)} changes in {told['spent']:.1f} s; {missing} never painted")
    print(
        f"  commit to painted row: median {quantile(arrived, 0.5):.0f} ms, 95 of 100 within {share:.0f} ms,"
        f" most {max(arrived):.0f} ms   target {TARGET:.0f}{mark}"
    )
    print(busy)
    return 1 if mark or "MISSED" in busy else 0


def main() -> int:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rate", type=float, default=100)
    options = parser.parse_args()
    with loaded(options) as made:
        print(f"{options.rate:.0f} changes a second among {made.sizes.jobs:,} jobs")
        return run(lambda: report(made, options.seconds, options.rate))


if __name__ == "__main__":
    sys.exit(main())
