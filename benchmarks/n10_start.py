"""N10: embedded cluster 3 s (first time 8 s); desktop usable 2 s after start.

    python -m benchmarks.n10_start [--runs 5]

The cluster counts from the call until its node takes tasks; the desktop, offscreen, from before its process starts
until its first page of jobs is painted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from quarterdeck import embedded
from quarterdeck.client import Client

_DESKTOP = """
import asyncio, sys, time
from desktop import bridge, theme
from desktop.app import Desk, application
from desktop.notices import Notices
from desktop.settings import Settings

app = application()
settings = Settings()
theme.apply(app, "light")
desk = Desk(app, Notices(), settings)

async def main():
    running = asyncio.ensure_future(desk.run("local"))
    while desk.window is None or desk.window.pages[0].model.rowCount() < int(sys.argv[2]):
        await asyncio.sleep(0.002)
    desk.window.grab()
    print(time.time() - float(sys.argv[1]), desk.window.pages[0].model.rowCount())
    desk.window.close()
    await running
    return 0

sys.exit(bridge.run(app, main))
"""


_JOBS = 60


def desktop() -> tuple[float, int]:
    """Seconds from before the process started until its first page is painted, and the rows of that page."""
    done = subprocess.run(
        [sys.executable, "-c", _DESKTOP, repr(time.time()), str(_JOBS)],
        env=os.environ | {"QT_QPA_PLATFORM": "offscreen"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    seconds, rows = done.stdout.split()
    return float(seconds), int(rows)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--runs", type=int, default=5)
    runs: int = arguments.parse_args().runs
    first: list[float] = []
    again: list[float] = []
    window: list[float] = []
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="quarterdeck-n10-") as name:
            folder = Path(name)
            folder.chmod(0o755)
            os.environ["QUARTERDECK_CONFIG"] = str(folder / "config")
            data = folder / "cluster"
            try:
                began = time.perf_counter()
                embedded.start(data)
                first.append(time.perf_counter() - began)
                embedded.stop(data)
                began = time.perf_counter()
                embedded.start(data)
                again.append(time.perf_counter() - began)
                prices = folder / "prices.csv"
                prices.write_text("symbol,time,close\nA,2024-01-02,1\n", encoding="utf-8")
                with Client.connect() as client:
                    client.wait(client.submit("data_import", {"table": "prices", "path": str(prices)}), 30)
                    for number in range(_JOBS):
                        client.submit("factor", {"name": f"f{number}", "table": "prices", "formula": "close"})
                seconds, rows = desktop()
                if rows != _JOBS:
                    raise RuntimeError(f"the first page shows {rows} of {_JOBS} jobs")
                window.append(seconds)
            finally:
                embedded.stop(data)
    for what, seconds_each, target in (
        ("cluster, first start", first, 8.0),
        ("cluster, later start", again, 3.0),
        ("desktop, first page painted", window, 2.0),
    ):
        print(
            f"N10 {what:<28} median {statistics.median(seconds_each):5.2f} s, most {max(seconds_each):5.2f} s"
            f"   target {target:.0f} s"
        )


if __name__ == "__main__":
    main()
