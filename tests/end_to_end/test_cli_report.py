"""The command `report` (C4)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command_line import Run, begin, end, submitted, table


def words(path: Path) -> str:
    if shutil.which("pdftotext") is None:
        pytest.fail("pdftotext is missing: install poppler-utils (packaging/system_packages.sh does)")
    return subprocess.run(["pdftotext", "-layout", str(path), "-"], check=True, capture_output=True, text=True).stdout


@pytest.mark.spec("C4", "V2", "F2")
def test_a_report_as_pdf(run: Run, database: Any, tmp_path: Path) -> None:
    job = submitted(run, "alice")
    ran = run("alice", "report", str(job), "empty.pdf")
    assert ran.code == 0, ran.err
    assert "has no table 'factor'" in words(tmp_path / "here" / "empty.pdf")
    for task in begin(database, job):
        table(database, task, "factor")
        end(database, task)
    ran = run("alice", "report", str(job), "out.pdf")
    assert ran.code == 0, ran.err
    assert ran.err == "out.pdf: 2 pages\n"
    text = words(tmp_path / "here" / "out.pdf")
    assert f"job {job}" in text
    assert "close/delay(close,20)-1" in text
    assert "Factor values" in text
    assert "2026-01-05" in text


@pytest.mark.spec("C4", "C5", "G4", "R2")
def test_what_cannot_be_reported_is_one_sentence(run: Run, database: Any) -> None:
    job = submitted(run, "alice")
    for person, more, said in (
        ("alice", [str(job), "out.png"], "ends in .pdf"),
        ("alice", [str(job), "none/out.pdf"], "can't be written"),
        ("alice", [str(job), "out.pdf", "--template", "nothing"], "nothing"),
        ("alice", [str(job), "out.pdf", "--task", "nothing"], "nothing"),
        ("alice", ["999999", "out.pdf"], "999999"),
        ("bob", [str(job), "out.pdf"], str(job)),
    ):
        ran = run(person, "report", *more)
        assert ran.code == 1, more
        assert said in ran.err
        assert len(ran.err.strip().splitlines()) == 1
        assert not ran.out
    assert run("alice", "report", str(job)).code == 2
