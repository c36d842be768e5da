"""The command line that starts jobs and tells what they take, on a real database."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.command_line import FACTOR, Run, submitted

if TYPE_CHECKING:
    pass


# --- submit, rerun, kinds --------------------------------------------------------------------------------------------


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
