"""The command line on jobs: lists, logs, ends, waits; on a real database, as an admin and as regular users."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from quarterdeck.client import Client
from quarterdeck.job import Level
from tests.end_to_end.command_line import FACTOR, Run, begin, end, say, submitted, table

if TYPE_CHECKING:
    from tests.conftest import Database


# --- list and show ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("C3")
def test_list_filters_sorts_and_counts(run: Run, database: Database) -> None:
    jobs = [submitted(run, person, "--set", f"name={name}", "--set", f"public={public}") for person, name, public in
            (("alice", "first", "true"), ("alice", "second", "false"), ("bob", "third", "true"))]  # fmt: skip
    (task,) = begin(database, jobs[1])
    end(database, task, "failed")

    def ids(*arguments: str, person: str = "boss") -> list[int]:
        ran = run(person, "list", "--json", *arguments)
        assert ran.code == 0, ran.err
        return [job["id"] for job in ran.json]

    assert ids() == jobs[::-1]
    assert ids(person="bob") == [jobs[2], jobs[0]]
    assert ids("--sort", "name") == jobs
    assert ids("--sort", "-name", "--limit", "1") == [jobs[2]]
    assert ids("--offset", "1", "--limit", "1") == [jobs[1]]
    assert ids("--status", "failed") == [jobs[1]]
    assert ids("--status", "In Progress", "--status", "Queued") == [jobs[2], jobs[0]]
    assert ids("--status", "!failed", "--creator", "!bob") == [jobs[0]]
    assert ids("--creator", "me", person="bob") == [jobs[2]]
    assert ids("--node", "n1") == [jobs[1]]
    assert ids("--node", "!n1") == [jobs[2], jobs[0]]
    assert ids("--text", "SECON") == [jobs[1]]
    assert ids("--kind", "backtest") == []
    assert ids("--type", "single") == jobs[::-1]
    assert ids("--since", "1h") == jobs[::-1]
    assert ids("--until", "1h") == []
    assert ids("--since", "2001-01-31", "--until", "2001-02-01 09:30") == []
    shown = run("boss", "list", "--limit", "1")
    assert [line.split()[:4] for line in shown.out.splitlines()] == [
        ["Job", "Kind", "Name", "Status"],
        [str(jobs[2]), "factor", "third", "Queued"],
    ]
    assert shown.err == "1 to 1 of 3 jobs: see --limit and --offset\n"


@pytest.mark.spec("C3", "G4")
@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["list", "--status", "faild"], 1, "there is no status 'faild'; did you mean 'failed'?"),
        (["list", "--type", "odd"], 1, "there is no type 'odd'"),
        (["list", "--kind", "factors"], 1, "there is no kind 'factors'"),
        (["list", "--since", "yesterday"], 1, "'yesterday' is no time"),
        (["list", "--since", "999999w"], 1, "'999999w' lies too far back"),
        (["list", "--sort", "nmae"], 1, "jobs can't be sorted by 'nmae'; did you mean 'name'?"),
        (["list", "--limit", "-1"], 2, "Invalid value"),
        (["list", "--limt", "1"], 2, "No such option: --limt"),
        (["show", "x"], 2, "Invalid value"),
        (["show", "1000000"], 1, "there is no job 1000000 that you may see"),
        (["nope"], 2, "No such command 'nope'"),
        (["logs", "1000000"], 1, "there is no job 1000000 that you may see"),
        (["tables", "1000000"], 1, "there is no job 1000000 that you may see"),
        (["wait", "1000000"], 1, "there is no job 1000000 that you may see"),
        (["terminate", "1000000"], 1, "There is no job 1000000 that you may see."),
        (["delete", "1000000"], 1, "Only an administrator may delete jobs."),
        (["rerun", "1000000"], 1, "there is no job 1000000 that you may see"),
        (["submit"], 2, "Missing argument"),
        (["user", "list"], 1, "only an administrator may see the accounts"),
        (["node", "drain", "n1"], 1, "The database refused: this account has no right to do that."),
        (["show", str(10**30)], 1, "there is no job"),
    ],
)
def test_wrong_words_are_one_line(run: Run, arguments: list[str], code: int, sentence: str) -> None:
    ran = run("alice", *arguments)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert ran.err.startswith(f"quarterdeck: {sentence}"), ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.spec("C3")
def test_show_tells_all(run: Run, database: Database) -> None:
    job = submitted(run, "alice")
    (task,) = begin(database, job)
    table(database, task, "factor")
    end(database, task, "failed", "ValueError: no \x1b[31mred")
    shown = run("alice", "show", str(job), "--json").json
    assert shown["error"] == "ValueError: no \x1b[31mred"
    assert [(one["name"], one["node"], one["status"], one["exit_code"]) for one in shown["tasks"]] == [
        ("mom", "n1", "failed", 0)
    ]
    assert [(one["name"], one["rows"], one["task"]) for one in shown["tables"]] == [("factor", 2, 0)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", shown["created"])
    text = run("alice", "show", str(job)).out
    assert "ValueError: no \\x1b[31mred" in text  # what others wrote does not command a terminal
    assert "\x1b" not in text
    assert run("bob", "show", str(job)).code == 1


@pytest.mark.spec("C3", "S1")
def test_show_says_why_a_job_waits(run: Run) -> None:
    job = submitted(run, "alice")
    assert "waits for a node: none is up" in run("alice", "show", str(job)).out


# --- logs ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("C3", "M6")
def test_logs_are_printed_narrowed_and_searched(run: Run, database: Database) -> None:
    factors = '[{"name": "one", "formula": "close"}, {"name": "two", "formula": "close+1"}]'
    job = run(
        "alice", "submit", "factor", "--set", "name=b", "--set", "table=prices", "--set", f"factors={factors}"
    ).out.strip()
    for ordinal, task in enumerate(begin(database, int(job))):
        say(
            database,
            task,
            [(Level.INFO, f"hello {ordinal}"), (Level.WARNING, "care"), (Level.ERROR, f"boom {ordinal}")],
        )

    def texts(*arguments: str) -> list[str]:
        ran = run("alice", "logs", job, "--json", *arguments)
        assert ran.code == 0, ran.err
        return [json.loads(line)["text"] for line in ran.out.splitlines()]

    assert len(texts()) == 9  # queued, twice started, six lines
    assert texts("--task", "1", "--level", "error") == ["boom 1"]
    assert texts("--task", "two", "--level", "WARNING") == ["care", "boom 1"]
    assert texts("--grep", "BOOM") == ["boom 0", "boom 1"]
    assert texts("--grep", "boom", "--lines", "1") == ["boom 1"]
    assert texts("--grep", "nothing at all") == []
    assert texts("--lines", "0") == []
    assert texts("--level", "error", "-n", "1") == ["boom 1"]
    line = run("alice", "logs", job, "--grep", "boom 1").out
    assert line == "2026-01-05 09:30:00.000 [task 1] ERROR   boom 1\n"
    for arguments, sentence in (
        (["--task", "9"], "has no task '9': it has 2, numbered from 0"),
        (["--grep", ""], "--grep needs a text"),
    ):
        ran = run("alice", "logs", job, *arguments)
        assert ran.code == 1
        assert sentence in ran.err
    assert run("alice", "logs", job, "--level", "loud").code == 2
    assert "that you may see" in run("bob", "logs", job).err


@pytest.mark.spec("C3", "M6")
def test_logs_follow_to_the_end(run: Run, database: Database) -> None:
    job = submitted(run, "alice")
    (task,) = begin(database, job)
    say(database, task, [(Level.INFO, "before")])

    def goes_on() -> None:
        database.sql(
            "node_n1",
            "select qd.write_log(:task, 1, array[7]::bigint[], array[1], array[now()], array[now()], array[0, 1, 0, 0],"
            " array[(extract(epoch from now()) * 1000000)::bigint || :line])",
            task=task,
            line="\toi\tafterwards",
        )
        end(database, task)

    writer = threading.Timer(0.7, goes_on)
    writer.start()
    ran = run("alice", "logs", str(job), "--follow")
    writer.join()
    texts = [line.partition("] ")[2] for line in ran.out.splitlines()]
    assert texts.count("before") == texts.count("afterwards") == 1
    assert texts[-1] == "execution: ended: success"
    assert len(texts) == len(set(texts))


# --- terminate, delete, wait -----------------------------------------------------------------------------------------


@pytest.mark.spec("C3", "M5", "R2")
def test_terminate_ends_what_one_may(run: Run, database: Database) -> None:
    mine, others, running = (
        submitted(run, "alice"),
        submitted(run, "bob", "--set", "public=true"),
        submitted(run, "alice"),
    )
    begin(database, running)
    ran = run("alice", "terminate", str(mine), str(others), str(running))
    assert ran.code == 1
    assert ran.err.splitlines() == [
        f"job {mine} has ended",
        f"quarterdeck: Job {others} belongs to bob: only its creator or an administrator may terminate it.",
        f"job {running} is ending: its nodes stop its processes",
    ]
    assert [job["id"] for job in run("boss", "list", "--json", "--status", "failed").json] == [mine]
    assert run("boss", "terminate", str(others)).code == 0


@pytest.mark.spec("C3", "M4")
def test_delete_is_for_admins_and_for_ended_jobs(run: Run) -> None:
    ended, queued = submitted(run, "alice"), submitted(run, "alice")
    assert run("alice", "terminate", str(ended)).code == 0
    assert run("alice", "delete", str(ended)).err == "quarterdeck: Only an administrator may delete jobs.\n"
    ran = run("boss", "delete", str(ended), str(queued), "999999")
    assert ran.code == 1
    assert ran.err.splitlines() == [
        "deleted 1 job",
        f"quarterdeck: job {queued} has not ended: it stays",
        "quarterdeck: there is no job 999999 that you may see",
    ]
    assert [job["id"] for job in run("boss", "list", "--json").json] == [queued]


@pytest.mark.spec("C3")
@pytest.mark.parametrize(
    ("outcomes", "code", "word"),
    [
        (["success", "success"], 0, "Success"),
        (["failed", "failed"], 3, "Failed"),
        (["success", "failed"], 4, "Partially Failed"),
    ],
)
def test_wait_tells_by_its_exit_code(run: Run, database: Database, outcomes: list[str], code: int, word: str) -> None:
    factors = '[{"name": "one", "formula": "close"}, {"name": "two", "formula": "close+1"}]'
    job = run(
        "alice", "submit", "factor", "--set", "name=b", "--set", "table=prices", "--set", f"factors={factors}"
    ).out.strip()
    ran = run("alice", "wait", job, "--timeout", "0.1")
    assert (ran.code, ran.err) == (1, f"quarterdeck: job {job} has not ended within 0.1 s\n")
    for task, outcome in zip(begin(database, int(job)), outcomes, strict=True):
        end(database, task, outcome)
    ran = run("alice", "wait", job)
    assert ran.code == code
    assert ran.err.startswith(f"job {job}: {word}, ")


@pytest.mark.spec("C3")
def test_wait_for_a_terminated_real_time_backtest(run: Run, database: Database) -> None:
    job = database.submit("alice", kind="backtest", backtest_type="real-time")
    assert run("alice", "terminate", str(job)).code == 0
    assert run("alice", "wait", str(job)).code == 5


@pytest.mark.spec("C2")
def test_submit_wait_prints_the_id_and_tells_how_it_ended(run: Run, database: Database) -> None:
    database.sql("node_n1", "select qd.register_node(8, '{}', 'host', '1', 2, 1000)")

    def works() -> None:
        with Client.sign_in(database.login("alice")) as client:
            while not (jobs := client.list()):
                pass
        for task in begin(database, jobs[0].id):
            end(database, task, "failed")

    worker = threading.Thread(target=works)
    worker.start()
    ran = run("alice", "submit", "factor", *FACTOR, "--wait")
    worker.join()
    assert ran.code == 3
    assert ran.out.strip().isdigit()


# --- tables and export -----------------------------------------------------------------------------------------------


@pytest.mark.spec("C4")
def test_tables_and_export(run: Run, database: Database, tmp_path: Path) -> None:
    factors = '[{"name": "one", "formula": "close"}, {"name": "two", "formula": "close+1"}]'
    job = run(
        "alice", "submit", "factor", "--set", "name=b", "--set", "table=prices", "--set", f"factors={factors}"
    ).out.strip()
    for task in begin(database, int(job)):
        table(database, task, "factor")
        end(database, task)
    listed = run("alice", "tables", job, "--json").json
    assert [(one["task"], one["name"], one["rows"]) for one in listed] == [(0, "factor", 2), (1, "factor", 2)]
    assert listed[0]["columns"][2] == {"name": "value", "type": "double"}
    assert "time, symbol, value" in run("alice", "tables", job).out
    ran = run("alice", "export", job, "factor", "f.csv")
    assert "2 tasks of job" in ran.err
    assert "choose one by --task" in ran.err
    ran = run("alice", "export", job, "factor", "f.csv", "--task", "two")
    assert (ran.code, ran.err) == (0, f"2 rows of table 'factor' of job {job} written to f.csv\n")
    assert Path("f.csv").read_text() == (
        "time,symbol,value\n2026-01-05T09:30:00Z,A,1.5\n2026-01-05T09:30:00.000001Z,B,2.0\n"
    )
    for arguments, sentence in (
        ([job, "facto", "g.csv"], "has no table 'facto'; did you mean 'factor'?"),
        ([job, "factor", "g.txt", "--task", "0"], "a table is exported to .csv, .parquet or .xlsx"),
        ([job, "factor", "none/g.csv", "--task", "0"], "there is no folder none"),
        ([job, "factor", "g.csv", "--task", "7"], "has no task '7': it has 2"),
    ):
        ran = run("alice", "export", *arguments)
        assert ran.code == 1
        assert sentence in ran.err
        assert ran.err.count("\n") == 1
    assert [one.name for one in Path().iterdir()] == ["f.csv"]
    assert "that you may see" in run("bob", "export", job, "factor", "g.csv").err


@pytest.mark.spec("C4")
def test_tables_alone_are_the_imported_data(run: Run) -> None:
    assert [(one["name"], one["creator"], one["rows"]) for one in run("alice", "tables", "--json").json] == [
        ("prices", "carl", 5)
    ]
    assert "carl (public)" in run("alice", "tables").out
