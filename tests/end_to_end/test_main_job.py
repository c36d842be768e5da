"""The first complete path: the embedded cluster, real prices in, a factor out, equal to pandas."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import psutil
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.spec("X1", "C1", "C2", "C4", "D2", "K1", "K2", "T2", "M6")
def test_a_factor_over_imported_prices_equals_pandas(quarterdeck: Run, prices: pd.DataFrame, tmp_path: Path) -> None:
    done = quarterdeck(
        "submit", "factor", "--set", "name=mom", "--set", "table=prices",
        "--set", "formula=close/delay(close,20)-1", "--wait",
    )  # fmt: skip
    job = done.stdout.split()[0]
    quarterdeck("export", job, "factor", str(tmp_path / "mom.csv"))
    found = pd.read_csv(tmp_path / "mom.csv")
    assert list(found.columns) == ["time", "symbol", "value"]

    ticker, date = prices.columns[:2]
    expected = prices.sort_values([ticker, date])
    expected["value"] = expected.groupby(ticker)["Close"].pct_change(20)
    expected = expected.dropna(subset="value").sort_values([date, ticker])
    assert len(found) == len(expected) > 10_000
    assert found["symbol"].tolist() == expected[ticker].tolist()
    assert pd.to_datetime(found["time"]).dt.strftime("%Y-%m-%d").tolist() == expected[date].tolist()
    pd.testing.assert_series_equal(
        found["value"], expected["value"].reset_index(drop=True), check_names=False, rtol=1e-12
    )

    shown = json.loads(quarterdeck("show", job, "--json").stdout)
    assert shown["status"] == "success"
    assert shown["nodes"] == ["n1"]
    log = quarterdeck("logs", job).stdout
    assert re.search(r"started on node n1", log)
    assert re.search(r"read 12154 rows of 5 symbols", log)


_TREE = """
import os, signal, subprocess, sys, time

GRANDCHILD = (
    "import os, signal, sys, time\\n"
    "os.setsid()\\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n"
    "open(sys.argv[1], 'w').write(str(os.getpid()))\\n"
    "time.sleep(600)\\n"
)
CHILD = (
    "import subprocess, sys, time\\n"
    "subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]])\\n"
    "time.sleep(600)\\n"
)


def factor(frame):
    child = subprocess.Popen([sys.executable, "-c", CHILD, GRANDCHILD, MARK])
    while not (os.path.exists(MARK) and open(MARK).read()):
        time.sleep(0.01)
    print("tree", os.getpid(), child.pid, open(MARK).read(), flush=True)
    time.sleep(600)
"""


@pytest.mark.spec("M5", "C3", "N4")
def test_terminate_ends_the_whole_tree_and_says_so(quarterdeck: Run, prices: pd.DataFrame, tmp_path: Path) -> None:
    mark = tmp_path / "grandchild"
    params = {"name": "tree", "table": "prices", "code": _TREE.replace("MARK", repr(str(mark)))}
    job = quarterdeck("submit", "factor", "--params", "-", text=json.dumps(params)).stdout.split()[0]
    found: list[int] = []
    for _ in range(200):
        line = re.search(r"tree (\d+) (\d+) (\d+)", quarterdeck("logs", job).stdout)
        if line:
            found = [int(one) for one in line.groups()]
            break
    assert len(found) == 3
    assert all(psutil.pid_exists(pid) for pid in found)

    quarterdeck("terminate", job)
    quarterdeck("wait", job, code=3)
    assert not [pid for pid in found if psutil.pid_exists(pid)]
    shown = json.loads(quarterdeck("show", job, "--json").stdout)
    assert shown["status"] == "failed"
    log = quarterdeck("logs", job).stdout
    for pid in found:
        assert re.search(rf"\b{pid}\b.*SIG(TERM|KILL)", log), log
    assert "termination requested by" in log


@pytest.mark.spec("D2", "K1", "T1")
def test_appended_rows_join_the_table_and_repeated_ones_are_rejected(quarterdeck: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("symbol,time,close\nA,2024-01-02,1\nA,2024-01-03,2\nB,2024-01-02,5\n")
    (tmp_path / "b.csv").write_text("symbol,time,close\nA,2024-01-03,2.5\nA,2024-01-04,3\n")
    quarterdeck("submit", "data_import", "--set", f"path={tmp_path}/a.csv", "--set", "table=grown", "--wait")
    done = quarterdeck(
        "submit",
        "data_import",
        "--set",
        f"path={tmp_path}/b.csv",
        "--set",
        "table=grown",
        "--set",
        "mode=append",
        "--wait",
    )
    quarterdeck("export", done.stdout.split()[0], "rejects", str(tmp_path / "rejects.csv"))
    rejects = pd.read_csv(tmp_path / "rejects.csv")
    assert rejects[["file", "line", "action", "text"]].values.tolist() == [["b.csv", 2, "rejected", "A,2024-01-03,2.5"]]
    done = quarterdeck(
        "submit", "factor", "--set", "name=c", "--set", "table=grown", "--set", "formula=close", "--wait"
    )
    quarterdeck("export", done.stdout.split()[0], "factor", str(tmp_path / "c.csv"))
    values = pd.read_csv(tmp_path / "c.csv")
    assert values[["symbol", "value"]].values.tolist() == [["A", 1.0], ["B", 5.0], ["A", 2.0], ["A", 3.0]]


@pytest.mark.spec("D2", "K1", "K2")
def test_a_folder_by_reference_is_read_by_a_factor(quarterdeck: Run, tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    times = pd.to_datetime(["2024-01-02", "2024-01-03", "2024-01-02"])
    frame = pd.DataFrame({"symbol": ["A", "A", "B"], "time": times, "close": [1.0, 3.0, 7.0]})
    frame.to_parquet(tmp_path / "parts" / "one.parquet")
    quarterdeck(
        "submit",
        "data_import",
        "--set",
        f"path={tmp_path}/parts",
        "--set",
        "table=far",
        "--set",
        "register=true",
        "--wait",
    )
    done = quarterdeck(
        "submit", "factor", "--set", "name=r", "--set", "table=far", "--set", "formula=delta(close,1)", "--wait"
    )
    quarterdeck("export", done.stdout.split()[0], "factor", str(tmp_path / "r.csv"))
    assert pd.read_csv(tmp_path / "r.csv")[["symbol", "value"]].values.tolist() == [["A", 2.0]]


@pytest.mark.spec("M8", "C3")
def test_a_filter_line_narrows_the_list(quarterdeck: Run, prices: pd.DataFrame) -> None:
    quarterdeck("submit", "factor", "--set", "name=lined", "--set", "table=prices", "--set", "formula=close", "--wait")
    found = json.loads(quarterdeck("list", "--json", "--filter", "status:success creator:me last:1h lined").stdout)
    assert {job["name"] for job in found} == {"lined"}
    assert json.loads(quarterdeck("list", "--json", "--filter", "-creator:me lined").stdout) == []
    assert "did you mean 'status'" in quarterdeck("list", "--filter", "stats:x", code=1).stderr
    assert "give it alone" in quarterdeck("list", "--filter", "x", "--status", "failed", code=1).stderr


@pytest.mark.spec("G4", "C5")
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("name=x", "table=prices", "formula=clsoe"), r"clsoe.*did you mean 'close'"),
        (("name=x", "table=prices", "formula=close/dlay(close,2)"), r"dlay.*did you mean 'delay'"),
        (("name=x", "table=prices", "formula=close.__class__"), r"column \d+"),
        (("name=x", "table=prices", "formula=__import__('os')"), r"__import__"),
        (("name=x", "table=prics", "formula=close"), r"prics.*prices"),
        (("name=x", "tabel=prices", "formula=close"), r"tabel.*table"),
    ],
)
def test_bad_factors_say_what_and_where(
    quarterdeck: Run, prices: pd.DataFrame, words: tuple[str, ...], sentence: str
) -> None:
    before = quarterdeck("list", "--kind", "factor", "--json").stdout
    command = ["submit", "factor"]
    for word in words:
        command += ["--set", word]
    done = quarterdeck(*command, code=1)
    assert done.stdout == ""
    assert re.search(sentence, done.stderr), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert quarterdeck("list", "--kind", "factor", "--json").stdout == before


@pytest.mark.spec("G4", "D2")
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"missing\.csv"),
        (b"", r"empty"),
        (b"\x7fELF\x00\x01\x02\x00\x00" * 40, r"binary|null|text"),
        (b"symbol,time,close\n", r"no rows"),
    ],
)
def test_bad_files_say_what_and_where(
    quarterdeck: Run, prices: pd.DataFrame, tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    file = tmp_path / "missing.csv"
    if content is not None:
        file.write_bytes(content)
    done = quarterdeck("submit", "data_import", "--set", f"path={file}", "--set", "table=bad", "--wait", code=3)
    job = done.stdout.split()[0]
    assert re.search(sentence, json.loads(quarterdeck("show", job, "--json").stdout)["error"], re.IGNORECASE)
    assert "bad" not in quarterdeck("tables").stdout.split()
