"""What a task prints, and how it ends, as the database has it."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.spec("X1", "M6")
def test_a_task_runs_and_its_words_arrive_in_order(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "hello"})
    assert cluster.ended(job) == "success"
    lines = [line for line in cluster.lines(job) if line[0] != "execution"]
    assert lines == [
        ("stdout", "info", "one"),
        ("logging", "warning", "maker: two"),
        ("stderr", "info", "three"),
        ("logging", "debug", "maker: four"),
        ("stdout", "info", "five"),
        ("stdout", "info", "six"),
        ("stdout", "info", "seven, no break"),
    ]
    words = " / ".join(cluster.texts(job, "execution"))
    assert "queued" in words
    assert "started on node n1" in words
    assert "finished, exit code 0" in words
