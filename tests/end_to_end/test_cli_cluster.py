"""The command line on accounts, nodes and connections, and the command itself, on a real database."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from quarterdeck import profile
from quarterdeck.client import Client
from quarterdeck.job import Level
from tests.end_to_end.command_line import Run, begin, say, submitted

if TYPE_CHECKING:
    from tests.conftest import Database


# --- users, nodes, connections ---------------------------------------------------------------------------------------


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


# --- the command itself ----------------------------------------------------------------------------------------------


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
