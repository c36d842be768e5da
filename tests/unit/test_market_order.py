"""Order, duplicates, and imports larger than their memory: checked against pandas and by counting."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from market_trial import imported, utc

from quarterdeck.errors import Invalid
from quarterdeck.quant import delimited
from quarterdeck.quant.ordering import BATCH_ROWS

pytestmark = pytest.mark.spec("D2", "T1")


def written(file: Path, rows: int, order: str, *, symbols: int = 50, seed: int = 5) -> pd.DataFrame:
    """A CSV of `rows` rows in an order, and what it holds."""
    index = list(range(rows))
    frame = pd.DataFrame(
        {
            "symbol": [f"S{i % symbols:03}" for i in index],
            "time": [utc(2024, 1, 1) + timedelta(minutes=i // symbols) for i in index],
            "close": [float(i) for i in index],
        }
    )
    if order == "symbol":
        frame = frame.sort_values(["symbol", "time"], ignore_index=True)
    elif order == "none":
        frame = frame.sample(frac=1, random_state=seed, ignore_index=True)
    frame.assign(time=frame.time.dt.strftime("%Y-%m-%d %H:%M:%S")).to_csv(file, index=False)
    return frame


@pytest.mark.parametrize("order", ["time", "symbol", "none"])
@pytest.mark.parametrize("memory", [1 << 16, 1 << 21, 1 << 30])
def test_any_order_and_any_memory_give_the_same_table(
    tmp_path: Path, order: str, memory: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_CHUNK", 1 << 17)
    file = tmp_path / "a.csv"
    frame = written(file, 100_000, order)
    got = imported(file, tmp_path, settings={"memory": memory})
    wanted = frame.sort_values(["time", "symbol"], ignore_index=True)
    assert got.column("close") == wanted.close.tolist()
    assert got.column("symbol") == wanted.symbol.tolist()
    assert got.table.column("time").to_pandas().equals(wanted.time.astype("datetime64[us, UTC]"))
    assert all(16_384 <= size <= BATCH_ROWS for size in got.sizes[:-1])
    assert ("sorted" in {r["action"] for r in got.rejects}) == (order != "time")


@pytest.mark.parametrize("memory", [1 << 16, 1 << 30])
def test_duplicates_far_apart(tmp_path: Path, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first and the last line of a file that doesn't fit into the memory have the same key."""
    monkeypatch.setattr(delimited, "_CHUNK", 1 << 16)
    file = tmp_path / "a.csv"
    written(file, 60_000, "time")
    with file.open("a") as more:
        more.write("S000,2024-01-01 00:00:00,-1\nS001,2024-01-01 00:01:00,-2\n")
    got = imported(file, tmp_path, settings={"memory": memory})
    assert got.refused == [
        (60_002, "symbol, time", "S000 at 2024-01-01 UTC is already in line 2"),
        (60_003, "symbol, time", "S001 at 2024-01-01 00:01:00 UTC is already in line 53"),
    ]
    assert [r["text"] for r in got.rejects if r["action"] == "rejected"] == [
        "S000,2024-01-01,-1.0",
        "S001,2024-01-01 00:01:00,-2.0",
    ]
    assert got.column("close") == [float(i) for i in range(60_000)]


def test_every_row_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_CHUNK", 1 << 16)
    for name in ("a", "b"):
        written(tmp_path / f"{name}.csv", 5_000, "none", seed=ord(name))
    got = imported(tmp_path / "*.csv", tmp_path, settings={"memory": 1 << 16})
    assert got.column("close") == [float(i) for i in range(5_000)]
    assert [(f.rows_written, f.rows_rejected) for f in got.report.files] == [(5_000, 0), (0, 5_000)]


def test_times_and_symbols_too_many_for_one_number(tmp_path: Path) -> None:
    """Microseconds over eight thousand years times many symbols overflow 64 bits; order and duplicates still hold."""
    chance = random.Random(3)
    lines = [f"S{i},{chance.randint(1001, 9990)}-01-01 00:00:00.{i % 1000000:06},{i}" for i in range(3_000)]
    lines += [lines[7].rsplit(",", 1)[0] + ",-1"]
    file = tmp_path / "a.csv"
    file.write_text("symbol,time,close\n" + "\n".join(lines) + "\n")
    got = imported(file, tmp_path)
    assert sorted(got.column("close")) == [float(i) for i in range(3_000)]
    assert [line for line, _, _ in got.refused] == [3_002]


@pytest.mark.parametrize("memory", [1 << 15, 1 << 30])
def test_append_refuses_what_the_table_has(tmp_path: Path, memory: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "_CHUNK", 1 << 14)
    file = tmp_path / "a.csv"
    written(file, 20_000, "symbol")
    asked: list[tuple[datetime, datetime]] = []
    held = pa.table(
        {
            "symbol": ["S000", "S049", "S001", "other", "S002"],
            "time": pa.array(
                [
                    utc(2024, 1, 1),
                    utc(2024, 1, 1, 6, 39),
                    utc(2024, 1, 1, 3),
                    utc(2024, 1, 1, 4),
                    utc(2024, 1, 1, 3, 0, 1),
                ],
                pa.timestamp("us", "UTC"),
            ),
        }
    )

    def existing(low: datetime, high: datetime) -> Iterator[pa.Table]:
        asked.append((low, high))
        yield held

    schema = pa.schema([("symbol", pa.string()), ("time", pa.timestamp("us", "UTC")), ("close", pa.float64())])
    got = imported(file, tmp_path, settings={"memory": memory, "existing": existing, "schema": schema})
    # in order of symbol each symbol has 400 lines: S001 at 03:00 is the 181st of the second
    assert got.refused == [
        (2, "symbol, time", "S000 at 2024-01-01 UTC is already in the table"),
        (582, "symbol, time", "S001 at 2024-01-01 03:00:00 UTC is already in the table"),
        (20_001, "symbol, time", "S049 at 2024-01-01 06:39:00 UTC is already in the table"),
    ]
    assert asked[0][0] == utc(2024, 1, 1)
    assert asked[-1][1] == utc(2024, 1, 1, 6, 39)
    assert (len(asked) > 1) == (memory < 1 << 20)


@pytest.mark.spec("G4")
def test_append_fits_the_table_that_is_there(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("symbol,time,close,count\nA,2024-01-02,1,5\nA,2024-01-03,2,5.5\n")
    schema = pa.schema(
        [
            ("symbol", pa.string()),
            ("time", pa.timestamp("us", "UTC")),
            ("count", pa.int64()),
            ("close", pa.float64()),
            ("open", pa.float64()),
        ]
    )
    got = imported(file, tmp_path, settings={"schema": schema})
    assert got.table.schema == schema
    assert got.rows == [("A", utc(2024, 1, 2), 5, 1.0, None)]
    assert got.refused == [(3, "count", "'5.5' is not a whole number")]
    with pytest.raises(Invalid, match="The table has no column count, which a"):
        imported(file, tmp_path, settings={"schema": schema.remove(2)})


_BOUNDED = """
import resource, sys
from pathlib import Path
from quarterdeck.quant.market import MarketImport, MarketRequest
def highest():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10
def read(path):
    with MarketImport(MarketRequest(path=path), Path(sys.argv[3]), memory=24 << 20) as data:
        data.read()
        return sum(b.num_rows for b in data.batches())
read(sys.argv[1])
read(sys.argv[1])
before = highest()
rows = read(sys.argv[2])
print(rows, highest() - before)
"""


@pytest.mark.spec("N9")
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of memory where Linux tells it")
def test_a_file_larger_than_its_memory(tmp_path: Path) -> None:
    """Rows in no order (90 MB of text, 90 MB as columns) by an import that may hold 24 MB: after one of less than
    half the size, memory hardly grows."""
    sizes = []
    for name, rows in (("small", 1_000_000), ("large", 2_500_000)):
        with (tmp_path / f"{name}.csv").open("w") as file:
            file.write("symbol,time,close,volume\n")
            for start in range(0, rows, 100_000):
                numbers = [(i * 7_368_787) % rows for i in range(start, start + 100_000)]
                file.write("".join(f"S{n % 100:04},{1_700_000_000 + n // 100 * 60},{n}.25,{n}\n" for n in numbers))
        sizes.append((tmp_path / f"{name}.csv").stat().st_size)
    command = [sys.executable, "-c", _BOUNDED, str(tmp_path / "small.csv"), str(tmp_path / "large.csv"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    rows, growth = map(int, done.stdout.split())
    assert rows == 2_500_000
    assert growth < sizes[1] // 2
