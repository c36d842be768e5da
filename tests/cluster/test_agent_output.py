"""What a task prints, and how it ends, as the database has it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import until


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
    assert words.index("queued") < words.index("started on node n1") < words.index("finished, exit code 0")


@pytest.mark.spec("N3", "M6")
def test_three_streams_keep_one_order_and_lose_nothing(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "order", "count": 9000}, {"do": "order", "count": 9000})
    assert cluster.ended(job) == "success"
    first, second = cluster.database.tasks(job)
    for task in (first, second):
        rows = cluster.database.sql("postgres", "select first_line, lines from qd.log_chunk where task_id = :t", t=task)
        numbers = [
            n for row in rows if row.first_line is not None for n in range(row.first_line, row.first_line + row.lines)
        ]
        assert sorted(numbers) == list(range(len(numbers)))
    texts = cluster.texts(job, "stdout", "stderr", "logging")
    assert Counter(texts) == dict.fromkeys([f"line {number}" for number in range(9000)], 2)
    one = cluster.submit({"do": "order", "count": 5000})
    assert cluster.ended(one) == "success"
    assert cluster.texts(one, "stdout", "stderr", "logging") == [f"line {number}" for number in range(5000)]


@pytest.mark.spec("M6")
def test_what_does_not_come_through_python_is_captured_too(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "raw"})
    assert cluster.ended(job) == "success"
    lines = {(stream, text) for stream, _, text in cluster.lines(job)}
    assert {
        ("stdout", "from Python"),
        ("stdout", "from C"),
        ("stderr", "from a program"),
        ("stdout", "from a fork"),
    } <= lines


@pytest.mark.spec("M6", "G4")
def test_odd_text_becomes_lines_that_the_database_can_hold(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "odd"})
    assert cluster.ended(job) == "success"
    texts = cluster.texts(job, "stdout", "stderr")
    assert "nul  here" in texts
    assert sum(len(text) for text in texts if set(text) == {"x"}) == 200_000
    assert max(len(text) for text in texts) <= 65_536
    assert "tab\there \u2028 é ?" in texts
    assert "\ufffd bytes" in texts
    assert [text for text in texts if text in ("\ufffd raw", "next")] == ["\ufffd raw", "next"]
    assert [text for text in texts if text.startswith("bar")] == ["bar 0", "bar 1", "bar 2"]


@pytest.mark.spec("M6")
def test_the_last_words_before_a_crash_are_kept(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "crash"})
    assert cluster.ended(job) == "failed"
    assert "the last words" in cluster.texts(job, "stdout")
    assert "ended by SIGKILL from outside" in cluster.error(job)
    assert cluster.attempts(job)[0].exit_code == -9


@pytest.mark.spec("M6", "G4")
def test_an_error_is_one_sentence_with_its_traceback_in_the_log(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "fail"})
    assert cluster.ended(job) == "failed"
    assert cluster.error(job) == "ValueError: the price is negative"
    trace = [text for stream, level, text in cluster.lines(job) if level == "error" and stream == "execution"]
    assert trace[0] == "Traceback (most recent call last):"
    assert any(text.endswith("in fail") for text in trace)
    assert not any("agent/task.py" in text for text in trace)
    assert cluster.attempts(job)[0].exit_code == 1


@pytest.mark.spec("G4")
def test_an_error_for_people_has_no_traceback_but_at_debug_level(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "invalid"})
    assert cluster.ended(job) == "failed"
    assert cluster.error(job) == "the table 'prices' has no column 'close'"
    traces = {level for _, level, text in cluster.lines(job) if "Traceback" in text}
    assert traces == {"debug"}


@pytest.mark.spec("M6")
def test_a_run_that_exits_by_itself_says_with_which_code(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "leave"})
    assert cluster.ended(job) == "failed"
    assert cluster.error(job) == "the run ended itself with exit code 3"


@pytest.mark.spec("S1", "M6")
def test_one_of_two_tasks_fails(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "fail"}, {"do": "hello"})
    assert cluster.ended(job) == "partially_failed"


@pytest.mark.spec("M7")
def test_progress_arrives_while_the_task_runs(cluster: Any, tmp_path: Path) -> None:
    cluster.start()
    tell = tmp_path / "pids"
    job = cluster.submit({"do": "progress", "seconds": 2, "tell": str(tell)})

    def shown() -> bool:
        row = cluster.database.sql("postgres", "select progress, message from qd.task where job_id = :j", j=job)[0]
        return (row.progress, row.message) == (0.25, "a quarter")

    until(shown, 10)
    assert cluster.status(job) == "in_progress"
    assert cluster.ended(job) == "success"
    row = cluster.database.sql("postgres", "select progress, message from qd.task where job_id = :j", j=job)[0]
    assert (row.progress, row.message) == (1.0, "three quarters")
    assert "progress 25 %: a quarter" in cluster.texts(job, "execution")


def test_cost_is_recorded(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "order", "count": 20_000})
    assert cluster.ended(job) == "success"
    attempt = cluster.attempts(job)[0]
    assert attempt.outcome == "success"
    assert attempt.cpu_seconds > 0
    assert attempt.peak_memory > 10_000_000
    assert attempt.pid
    assert attempt.process_started > 1.6e9


@pytest.mark.spec("G2", "N3")
def test_a_task_that_prints_without_end_is_held_up_and_fills_neither_memory_nor_disk(
    cluster: Any, tmp_path: Path
) -> None:
    import psutil

    agent = cluster.start(spool_limit=4 << 20)
    job = cluster.submit({"do": "gigabyte", "blocks": 100, "tell": str(tmp_path / "pids")})
    folder = cluster.data / "n1" / "attempts"
    most = [0, 0]

    def over() -> bool:
        files = [path.stat().st_size for path in folder.rglob("*.spool") if path.exists()]
        most[0] = max(most[0], sum(files))
        most[1] = max(most[1], psutil.Process(agent.pid).memory_info().rss)
        return cluster.status(job) not in ("queued", "in_progress")

    until(over, 60)
    assert cluster.status(job) == "success"
    assert len([text for text in cluster.texts(job, "stdout") if text == "y" * 999]) == 100_000
    assert most[0] > 0
    assert most[0] < 40 << 20
    assert most[1] < 300 << 20
