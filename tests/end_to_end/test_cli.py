"""The command line, on a real database, as an admin and as regular users."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keyring
import keyring.backends.fail
import pyarrow as pa
import pytest

from quarterdeck import cli, profile
from quarterdeck.blocks import encode_block, schema_bytes
from quarterdeck.client import Client
from quarterdeck.job import Level, Stream
from quarterdeck.lines import into_chunks
from quarterdeck.profile import Profile

if TYPE_CHECKING:
    from tests.conftest import Database

FACTOR = ("--set", "name=mom", "--set", "table=prices", "--set", "formula=close/delay(close,20)-1")
START = 1_767_605_400_000_000
VALUES = pa.table(
    {"time": pa.array([START, START + 1], pa.timestamp("us", "UTC")), "symbol": ["A", "B"], "value": [1.5, 2.0]}
)


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Run]:
    """`run("alice", "list", ...)`: the command under the profile of that person, in a folder of the test's own."""
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    monkeypatch.setenv("QUARTERDECK_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("QUARTERDECK_LOG", str(tmp_path / "log"))
    for name in ("QUARTERDECK_PASSWORD", "QUARTERDECK_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("alice", "bob", "boss"):
        login = database.login(name)
        saved = Profile(name=name, host=login.host, port=login.port, database=login.database, user=name, tls="loopback")
        profile.save(saved, login.password)
    database.sql(
        "postgres",
        "with d as (insert into qd.dataset (creator, name, is_public) values ('carl', 'prices', true) returning id)"
        " insert into qd.result_table (dataset_id, creator, is_public, name, schema, rows, bytes, complete)"
        " select id, 'carl', true, 'prices', :schema, 5, 100, true from d",
        schema=schema_bytes(
            pa.schema([("time", pa.timestamp("us", "UTC")), ("symbol", pa.string()), ("close", pa.float64())])
        ),
    )

    def command(person: str, *arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = cli.main(["--profile", person, *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Ran(code, out, err)

    yield command
    keyring.set_keyring(before)


def submitted(run: Run, person: str, *more: str) -> int:
    ran = run(person, "submit", "factor", *FACTOR, *more)
    assert ran.code == 0, ran.err
    return int(ran.out)


def begin(database: Database, job: int) -> list[int]:
    """Node n1 starts all tasks of a job; their ids."""
    database.sql("node_n1", "select qd.register_node(8, '{}', 'host', '1', 2, 1000)")
    tasks = [
        row[0] for row in database.sql("postgres", "select id from qd.task where job_id = :job order by id", job=job)
    ]
    for task in tasks:
        database.sql("node_n1", "select * from qd.start_task(:task, 1)", task=task)
    return tasks


def say(database: Database, task: int, lines: list[tuple[Level, str]]) -> None:
    for first, chunk in into_chunks([(START + n, Stream.STDOUT, level, text) for n, (level, text) in enumerate(lines)]):
        database.sql(
            "node_n1",
            "select qd.write_log(:task, 1, array[:first]::bigint[], array[:n]::int[], array[:a]::timestamptz[],"
            " array[:z]::timestamptz[], cast(:levels as int[]), array[:body]::text[])",
            task=task,
            first=first,
            n=chunk.lines,
            a=chunk.time_min,
            z=chunk.time_max,
            levels=list(chunk.levels),
            body=chunk.body,
        )


def table(database: Database, task: int, name: str) -> None:
    block = encode_block(VALUES)
    node = "node_n1"
    id = database.value(  # noqa: A001
        node, "select qd.open_table(:task, 1, :name, :schema)", task=task, name=name, schema=schema_bytes(VALUES.schema)
    )
    database.sql(
        node,
        "select qd.write_block(:task, 1, :id, 0, 2, :a, :z, 'A', 'B', :data)",
        task=task,
        id=id,
        a=block.time_min,
        z=block.time_max,
        data=block.data,
    )
    database.sql(node, "select qd.close_table(:task, 1, :id, 2)", task=task, id=id)


def end(database: Database, task: int, outcome: str = "success", error: str = "") -> None:
    database.sql(
        "node_n1",
        "select qd.end_task(:task, 1, :outcome, 0, :error, null, 0, 0)",
        task=task,
        outcome=outcome,
        error=error,
    )


# --- submit, rerun, kinds -------------------------------------------------------------------------------------------


@pytest.mark.spec("C2")
def test_submit_prints_the_id(run: Run, tmp_path: Path) -> None:
    first = submitted(run, "alice")
    (tmp_path / "p.json").write_text(json.dumps({"name": "of file", "table": "prices", "formula": "close"}))
    by_file = int(run("alice", "submit", "factor", "--params", str(tmp_path / "p.json"), "--set", "public=true").out)
    by_input = int(run("alice", "submit", "factor", "--params", "-", stdin=(tmp_path / "p.json").read_text()).out)
    assert first < by_file < by_input
    shown = run("alice", "show", str(by_file), "--json").json
    assert (shown["name"], shown["public"], shown["params"]["formula"]) == ("of file", True, "close")
    again = int(run("alice", "rerun", str(by_file), "--set", "name=again").out)
    shown = run("alice", "show", str(again), "--json").json
    assert (shown["name"], shown["rerun_of"], shown["origin"]) == ("again", by_file, "rerun")


@pytest.mark.spec("C2")
def test_relative_paths_are_those_of_the_folder(run: Run, tmp_path: Path) -> None:
    job = run("alice", "submit", "data_import", "--set", "path=day/*.csv", "--set", "table=t").out.strip()
    assert run("alice", "show", job, "--json").json["params"]["path"] == str(tmp_path / "here" / "day" / "*.csv")
    job = run("alice", "submit", "data_import", "--set", 'path=["a.csv", "/b.csv"]', "--set", "table=u").out.strip()
    assert run("alice", "show", job, "--json").json["params"]["path"] == [str(tmp_path / "here" / "a.csv"), "/b.csv"]


@pytest.mark.spec("C2", "G4")
@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (["factro"], "", "there is no kind 'factro'"),
        (["backtest"], "", "jobs of kind 'backtest' can't be started"),
        (["factor", "--set", "tabel=x"], "", "unknown parameter 'tabel'; did you mean 'table'?"),
        (["factor", "--set", "table"], "", "--set table: write NAME=VALUE"),
        (["factor", "--set", "name=x", "--set", "formula=close"], "", "parameter 'table' is missing"),
        (["factor", *FACTOR, "--set", "start=yesterday"], "", "parameter 'start': "),
        (["factor", *FACTOR, "--set", "table=pices"], "", "there is no table 'pices'; did you mean 'prices'?"),
        (["factor", "--params", "none.json"], "", "none.json can't be read: No such file or directory"),
        (["factor", "--params", "-"], "{", "standard input is not JSON: "),
        (["factor", "--params", "-"], "[]", "standard input holds no JSON object"),
        (["factor", "--params", "-"], '{"name": "x", "tabel": 1, "table": "prices"}', "unknown parameter 'tabel'"),
    ],
)
def test_a_wrong_submit_is_one_line_and_changes_nothing(
    run: Run, arguments: list[str], stdin: str, sentence: str
) -> None:
    if arguments[0] == "backtest":
        from quarterdeck import kinds

        if kinds.kind("backtest").params is not None:
            pytest.skip("backtests can be started")
    ran = run("alice", "submit", *arguments, stdin=stdin)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"quarterdeck: {sentence}"), ran.err
    assert ran.err.count("\n") == 1
    assert run("boss", "list", "--json").json == []


@pytest.mark.spec("C2")
def test_kinds_have_schemas_with_an_example(run: Run) -> None:
    listed = run("alice", "kinds", "--json").json
    assert [one["key"] for one in listed] == [
        "factor",
        "evaluation",
        "backtest",
        "attribution",
        "workflow",
        "data_import",
        "template",
    ]
    assert run("alice", "kinds").out.splitlines()[1].startswith("factor")
    for one in listed:
        if one["can_start"]:
            schema = run("alice", "kinds", one["key"], "--schema").json
            assert schema["examples"] == [one["example"]]
            assert set(one["example"]) <= set(schema["properties"])
            assert "An example:" in run("alice", "kinds", one["key"]).out
    assert run("alice", "kinds", "nope").code == 1
    assert "name the kind" in run("alice", "kinds", "--schema").err


# --- list and show --------------------------------------------------------------------------------------------------


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


# --- logs -----------------------------------------------------------------------------------------------------------


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


# --- terminate, delete, wait ----------------------------------------------------------------------------------------


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


# --- tables and export ----------------------------------------------------------------------------------------------


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


# --- users, nodes, connections --------------------------------------------------------------------------------------


@pytest.mark.spec("C1", "G5")
def test_accounts_are_made_and_closed(run: Run, database: Database) -> None:
    name = f"dora{os.getpid()}"
    try:
        ran = run("boss", "user", "add", name, "--password-stdin", stdin="a good password\n")
        assert (ran.code, ran.err) == (0, f"made the account {name}\n")
        assert {"name": name, "admin": False, "enabled": True} in run("boss", "user", "list", "--json").json
        assert run("boss", "user", "add", name, "--password-stdin", stdin="a good password\n").code == 1
        add = ("profile", "add", name, "--port", str(database.port), "--database", database.name, "--user", name)
        ran = run(name, *add, "--password-stdin", stdin="wrong\n")
        assert (ran.code, "password is wrong" in ran.err) == (1, True)
        assert name not in profile.names()
        ran = run(name, *add, "--password-stdin", stdin="a good password\n")
        assert ran.code == 0
        assert "has no keyring: the password is in" in ran.err
        assert run(name, "list").code == 0
        assert run("boss", "user", "password", name, "--password-stdin", stdin="another password\n").code == 0
        assert "password is wrong" in run(name, "list").err
        assert run("boss", "user", "disable", name).code == 0
        assert {"name": name, "admin": False, "enabled": False} in run("boss", "user", "list", "--json").json
        assert run("boss", "user", "enable", name).code == 0
        assert run(name, "profile", "remove", name).code == 0
        assert "there is no profile" in run(name, "list").err
    finally:
        database.sql("postgres", f"drop role if exists {name}")


@pytest.mark.spec("C1", "G4")
@pytest.mark.parametrize(
    ("arguments", "stdin", "sentence"),
    [
        (["user", "add", "x"], "", "there is no terminal to ask for the password: pipe it in and say --password-stdin"),
        (["user", "add", "x", "--password-stdin"], "", "standard input holds no password"),
        (["user", "add", "x", "--password-stdin"], "short\n", "a password has 8 to 1000 characters"),
        (["user", "add", "Bad Name", "--password-stdin"], "long enough\n", "A user's name has up to 31"),
        (["user", "disable", "nobody"], "", "There is no user named 'nobody'."),
        (["user", "disable", "boss"], "", "You can't disable your own account."),
        (["node", "drain", "n9"], "", "There is no node named 'n9'"),
        (["schema", "upgrade"], "", "name the server's superuser"),
        (
            ["profile", "add", "p", "--user", "a", "--host", "10.0.0.1", "--tls", "loopback"],
            "",
            "profile 'p': 10.0.0.1 is",
        ),
        (["profile", "add", "p", "--user", "a", "--root-certificate", "none.pem"], "", "there is no certificate file"),
        (["profile", "remove", "none"], "", "there is no profile 'none'"),
    ],
)
def test_wrong_administration_is_one_line(run: Run, arguments: list[str], stdin: str, sentence: str) -> None:
    ran = run("boss", *arguments, stdin=stdin)
    assert (ran.code, ran.out) == (1, ""), ran.err
    assert ran.err.startswith(f"quarterdeck: {sentence}"), ran.err
    assert ran.err.count("\n") == 1


@pytest.mark.spec("C1", "R3")
def test_accounts_are_the_admins(run: Run) -> None:
    for arguments in (["add", "x", "--password-stdin"], ["disable", "bob"], ["enable", "bob"]):
        ran = run("alice", "user", *arguments, stdin="long enough\n")
        assert ran.err == "quarterdeck: The database refused: this account has no right to do that.\n"


@pytest.mark.spec("C1")
def test_nodes_are_listed_and_drained(run: Run, database: Database) -> None:
    database.sql("node_n1", "select qd.register_node(8, '{gpu}', 'host', '1', 2, 1000)")
    assert run("boss", "node", "drain", "n1").code == 0
    nodes = {node["name"]: node for node in run("alice", "node", "list", "--json").json}
    assert (nodes["n1"]["state"], nodes["n1"]["slots"], nodes["n1"]["labels"]) == ("draining", 8, ["gpu"])
    assert run("alice", "node", "resume", "n1").code == 1
    resumed = run("boss", "node", "resume", "n1")
    assert (resumed.code, resumed.err) == (0, "node n1 takes tasks again\n")
    listed = run("alice", "node", "list").out.splitlines()
    assert listed[0].split() == (
        "Node State Running Slots Labels Host Load Memory Free Version Heard Of".split()  # noqa: SIM905
    )
    assert re.match(r"n1 +up +0 +8 +gpu +host +0\.00 of 2 +0 B of 1\.0 kB +1 +\d+\.\d\d s ago$", listed[1])


@pytest.mark.spec("C1", "M4", "M5")
def test_the_audit_is_printed_for_admins(run: Run, database: Database) -> None:
    job = database.submit("alice", name="long one")
    database.sql("boss", "select qd.terminate_job(:job)", job=job)
    database.sql("boss", "select qd.delete_jobs(:jobs)", jobs=[job])
    ran = run("boss", "audit", "--job", str(job), "--json")
    assert [(one["person"], one["action"], one["job"]) for one in ran.json] == [
        ("boss", "delete", job),
        ("boss", "terminate", job),
    ]
    assert set(ran.json[0]) == {"id", "time", "person", "action", "job", "detail"}
    assert ran.json[1]["detail"]["name"] == "long one"
    assert ran.json[1]["detail"]["creator"] == "alice"
    shown = run("boss", "audit", "--limit", "1").out.splitlines()
    assert shown[0].split() == ["Time", "Person", "Act", "Job", "Name", "Details"]
    assert re.search(rf"boss +Delete job +{job} +long one +factor of alice, was failed$", shown[1])
    assert re.match(r"1 to 1 of \d+ records: see --limit and --offset\n", run("boss", "audit", "--limit", "1").err)
    assert (
        run("boss", "audit", "--person", "me", "--action", "terminate", "--since", "1h", "--json").json[0]["job"] == job
    )
    assert run("boss", "audit", "--until", "2020-01-01", "--json").json == []
    assert run("boss", "audit", "--text", "LONG ONE", "--json").json == ran.json
    for arguments, sentence in (
        (("alice", "audit"), "only an administrator may see the audit"),
        (("boss", "audit", "--action", "dance"), "there is no act 'dance': it is one of terminate, delete"),
        (("boss", "audit", "--since", "soon"), "'soon' is no time"),
    ):
        wrong = run(*arguments)
        assert (wrong.code, wrong.out, wrong.err.count("\n")) == (1, "", 1)
        assert wrong.err.startswith(f"quarterdeck: {sentence}")


@pytest.mark.spec("C1", "P3")
def test_schema_upgrade_needs_a_superuser(run: Run) -> None:
    ran = run("boss", "schema", "upgrade", "--superuser", "boss", "--password-stdin", stdin="password of boss\n")
    assert (ran.code, ran.out) == (1, "")
    assert "only a superuser of the server may" in ran.err


@pytest.mark.spec("C5")
def test_profiles_are_listed(run: Run) -> None:
    listed = run("alice", "profile", "list", "--json").json
    assert [one["name"] for one in listed] == ["alice", "bob", "boss"]
    assert set(listed[0]) == {"name", "host", "port", "database", "user", "tls", "root_certificate"}
    assert "there is no profile 'nobody' (saved: alice, bob, boss)" in run("nobody", "list").err


# --- the command itself ---------------------------------------------------------------------------------------------


@pytest.mark.spec("C5", "G4")
def test_what_is_unexpected_is_one_line_and_a_file(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(Client, "list", broken)
    ran = run("alice", "list")
    assert ran.code == 1
    path = tmp_path / "log" / "command.log"
    assert ran.err == f"quarterdeck: an unexpected error (KeyError); its traceback is in {path}\n"
    assert "KeyError: 'a bug'" in path.read_text()


def command(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "quarterdeck.cli", *arguments], capture_output=True, text=True, timeout=60, **options
    )


@pytest.mark.spec("C5")
def test_the_command_as_a_process(run: Run, database: Database) -> None:
    job = submitted(run, "alice")
    (task,) = begin(database, job)
    say(database, task, [(Level.INFO, "x" * 200)] * 2000)
    version = command("--version")
    assert (version.returncode, version.stderr) == (0, "")
    assert re.fullmatch(r"quarterdeck \d+\.\d+\.\d+\n", version.stdout)
    assert command("--profile", "alice", "list", "--json").returncode == 0
    assert command("list", env={**os.environ, "QUARTERDECK_PROFILE": "bob"}).returncode == 0
    script = f'"{sys.executable}" -m quarterdeck.cli --profile alice logs {job} | head -n 1'
    piped = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert piped.stderr == ""
    assert piped.stdout.count("\n") == 1
    wrong = command("--profile", "alice", "list", env={**os.environ, "QUARTERDECK_PASSWORD": "wrong"})
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr == "quarterdeck: The server refused the sign-in: the user name or the password is wrong.\n"


@pytest.mark.spec("C5")
def test_every_command_has_help(run: Run) -> None:
    ran = run("alice", "--help")
    assert ran.code == 0
    groups = {
        "": "submit rerun kinds list show logs terminate delete wait tables export audit desktop",
        "cluster": "start stop status",
        "node": "start list drain resume",
        "user": "add list disable enable password",
        "profile": "add list remove",
        "schema": "upgrade",
    }
    for group, names in groups.items():
        for name in names.split():
            arguments = [group, name] if group else [name]
            ran = run("alice", *arguments, "--help")
            assert ran.code == 0
            assert "Usage" in ran.out


@pytest.mark.spec("C1")
def test_a_cluster_that_is_not_there(run: Run, tmp_path: Path) -> None:
    ran = run("alice", "cluster", "status", "--data", str(tmp_path / "none"))
    assert (ran.code, ran.out) == (3, f"there is no cluster in {tmp_path / 'none'}\n")
    assert run("alice", "cluster", "status", "--data", str(tmp_path / "none"), "--json").json["running"] is False
    assert run("alice", "cluster", "stop", "--data", str(tmp_path / "none")).err == "the cluster does not run\n"
    assert not (tmp_path / "none").exists()
