"""The command line on visualization templates, on a real database (C4)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from quarterdeck.report import builtins, load
from tests.end_to_end.command_line import Run

pytestmark = pytest.mark.spec("C4", "V3")

DOCUMENT = {
    "name": "Mine (2)",
    "title": "Größe",
    "sources": {"factor": {"table": "factor"}},
    "panels": [{"id": "p", "type": "histogram", "source": "factor", "fields": {"value": "value"}, "place": {"row": 0}}],
}


def test_a_template_is_saved_shown_and_deleted(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(DOCUMENT), "utf-8")
    ran = run("alice", "template", "save", str(file))
    assert (ran.code, ran.out, ran.err) == (0, "", "template 'Mine (2)' stored, private\n")
    assert load(run("alice", "template", "show", "Mine (2)").out) == load(json.dumps(DOCUMENT))
    assert run("bob", "template", "show", "Mine (2)").code == 1
    # what is shown can be stored under another name
    shown = run("alice", "template", "show", "Mine (2)").out
    ran = run("alice", "template", "save", "-", "--public", "--name", "Shared", stdin=shown)
    assert ran.err == "template 'Shared' stored, public\n"
    assert load(run("bob", "template", "show", "alice.Shared").out).title == "Größe"
    listed = run("bob", "template", "list", "--json").json
    assert [one["name"] for one in listed if not one["builtin"]] == ["Shared"]
    assert {"name", "title", "kinds", "creator", "public", "builtin", "created", "updated"} == set(listed[0])
    head, *rows = run("alice", "template", "list").out.splitlines()
    assert head.split() == ["Name", "Title", "For", "Creator", "Updated"]
    names = [*sorted(builtins()), "Mine (2)", "Shared"]
    assert len(rows) == len(names)
    assert all(row.startswith(f"{name} ") for row, name in zip(rows, names, strict=True))
    assert run("bob", "template", "delete", "alice.Shared").code == 1
    assert run("boss", "template", "delete", "alice.Shared").err == "template 'alice.Shared' deleted\n"
    assert run("alice", "template", "delete", "Mine (2)").code == 0
    acts = run("boss", "audit", "--action", "delete_template", "--json").json
    assert [one["detail"]["name"] for one in acts] == ["Mine (2)", "Shared"]


def test_a_built_in_one_is_a_beginning_for_ones_own(run: Run) -> None:
    shown = run("alice", "template", "show", "evaluation").out
    assert load(shown) == builtins()["evaluation"]
    assert run("alice", "template", "save", "-", stdin=shown).err == (
        "quarterdeck: 'evaluation' is the name of a template that comes with Quarterdeck: choose another\n"
    )
    assert run("alice", "template", "save", "-", "--name", "my evaluation", stdin=shown).code == 0
    assert load(run("alice", "template", "show", "my evaluation").out).panels == builtins()["evaluation"].panels


@pytest.mark.spec("C5", "G4")
@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "said"),
    [
        (["template", "save", "nowhere.json"], "", 1, "'nowhere.json' can't be read: no such file or directory"),
        (["template", "save", "."], "", 1, "'.' can't be read: is a directory"),
        (["template", "save", "-"], "", 1, "the template is no JSON: Expecting value at line 1, column 1"),
        (["template", "save", "-"], "{}", 1, "name is missing"),
        (["template", "save", "-"], json.dumps({**DOCUMENT, "panels": []}), 1, "panels: list should have at least 1"),
        (["template", "save", "-"], "x" * 600_000, 1, "the template has more than 512,000 bytes"),
        (["template", "save", "-", "--name", "a/b"], json.dumps(DOCUMENT), 1, "name: 'a/b' can't be used"),
        (["template", "show", "evalution"], "", 1, "there is no template 'evalution'; did you mean 'evaluation'?"),
        (["template", "show", "x\ny"], "", 1, "there is no template 'x y'"),
        (["template", "delete", "evaluation"], "", 1, "template 'evaluation' comes with Quarterdeck"),
        (["template", "delete", "gone"], "", 1, "There is no template gone that you may see."),
        (["template", "delete", "carl.gone"], "", 1, "There is no template carl.gone that you may see."),
        (["template", "save"], "", 2, "Missing argument 'FILE'"),
        (["template", "erase"], "", 2, "No such command 'erase'"),
    ],
)
def test_what_goes_wrong_is_one_line(run: Run, arguments: list[str], stdin: str, code: int, said: str) -> None:
    ran = run("alice", *arguments, stdin=stdin)
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert ran.err.count("\n") == 1
