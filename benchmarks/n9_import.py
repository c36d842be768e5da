"""N9: reading CSV, 1,000,000 rows/s with every check on; and a file larger than the memory that the import may take.

    python benchmarks/n9_import.py [--rows 1000000] [--large 10000000]

Prints each figure beside its target. The large file is read in a process of its own, whose peak of resident memory is
shown beside the size of the file; `--limit` sets a hard limit on its address space as well (Linux).
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from quarterdeck.quant.market import MarketImport, MarketRequest

TARGET = 1_000_000
SYMBOLS = 500


def written(path: Path, rows: int, *, order: str) -> int:
    """A made-up file of minute bars: 500 symbols, in order of time, of symbol, or in none. Returns its bytes."""
    random = np.random.default_rng(9)
    names = np.array([f"S{i:05d}" for i in range(SYMBOLS)])
    steps = -(-rows // SYMBOLS)
    with path.open("wb") as file:
        block = 1_000_000
        for start in range(0, rows, block):
            index = np.arange(start, min(rows, start + block))
            if order == "none":
                index = (index * 7_368_787) % rows  # a prime: each row once, far from its neighbours
            symbol = index % SYMBOLS if order != "symbol" else index // steps
            minute = index // SYMBOLS if order != "symbol" else index % steps
            close = np.round(50 + 50 * random.random(len(index)), 2)
            frame = pl.DataFrame(
                {
                    "symbol": names[symbol],
                    "time": pl.Series(minute * 60_000_000 + 1_577_836_800_000_000).cast(pl.Datetime("us")),
                    "open": close - 0.25,
                    "high": close + 0.5,
                    "low": close - 0.75,
                    "close": close,
                    "volume": random.integers(1, 1_000_000, len(index)),
                }
            )
            frame.write_csv(file, include_header=start == 0, datetime_format="%Y-%m-%d %H:%M:%S", float_precision=2)
    return path.stat().st_size


def read(path: Path, folder: Path, rows: int, memory: int) -> float:
    """Seconds to read and check the file and take its batches."""
    start = time.perf_counter()
    with MarketImport(MarketRequest(path=str(path)), folder, memory=memory) as data:
        data.read()
        count = sum(batch.num_rows for batch in data.batches())
        rejected = sum(batch.num_rows for batch in data.rejects() if batch.column("action")[0].as_py() == "rejected")
    seconds = time.perf_counter() - start
    if count != rows or rejected:
        raise SystemExit(f"{path.name}: {count} of {rows} rows, {rejected} rejected")
    return seconds


def large(path: str, folder: str, rows: int, limit: int, results: multiprocessing.Queue[tuple[float, int]]) -> None:
    import resource

    if limit:
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = highest_memory()
    seconds = read(Path(path), Path(folder), rows, 96 << 20)
    results.put((seconds, highest_memory() - before))


def highest_memory() -> int:
    """The most resident memory that this process ever had, in bytes (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=10_000_000)
    parser.add_argument("--limit", type=int, default=0, help="bytes of address space of the large import's process")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for order in ("time", "symbol", "none"):
            path = folder / f"{order}.csv"
            size = written(path, options.rows, order=order)
            seconds = min(read(path, folder, options.rows, 512 << 20) for _ in range(3))
            rate = options.rows / seconds
            print(
                f"N9 CSV, {options.rows:,} rows ({size >> 20} MB), order: {order:6} "
                f"{rate:>12,.0f} rows/s  target {TARGET:,}  {'ok' if rate >= TARGET else 'MISSED'}"
            )
            path.unlink()
        if options.large and sys.platform == "linux":
            path = folder / "large.csv"
            size = written(path, options.large, order="symbol")
            context = multiprocessing.get_context("spawn")
            results: multiprocessing.Queue[tuple[float, int]] = context.Queue()
            process = context.Process(target=large, args=(str(path), name, options.large, options.limit, results))
            process.start()
            seconds, peak = results.get()
            process.join()
            print(
                f"N9 larger than memory, {options.large:,} rows ({size >> 20} MB): "
                f"{options.large / seconds:,.0f} rows/s, "
                f"memory {peak >> 20} MB at most, target {size >> 20} MB  "
                f"{'ok' if peak < size else 'MISSED'}"
            )


if __name__ == "__main__":
    main()
