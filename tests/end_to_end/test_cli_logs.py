"""Logs on the command line: colours in a terminal, plain text elsewhere, quick where they are long."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from quarterdeck.job import Level
from tests.end_to_end.command_line import Run, begin, say, submitted

if TYPE_CHECKING:
    from tests.conftest import Database

LINES = [
    (Level.INFO, "\x1b[1;31mred\x1b[0m and \x1b[38;2;1;2;3mtrue"),
    (Level.WARNING, "moves \x1b[2J\x1b[H and a title \x1b]0;mine\x07, a bell \x07"),
]


@pytest.fixture
def job(run: Run, database: Database) -> int:
    number = submitted(run, "alice")
    (task,) = begin(database, number)
    say(database, task, LINES)
    return number


@pytest.mark.spec("C3", "M6")
def test_into_a_pipe_goes_plain_text_and_json_has_what_was_written(run: Run, job: int) -> None:
    plain = run("alice", "logs", str(job), "--level", "info").out
    assert "\x1b" not in plain
    lines = [line.partition("] ")[2] for line in plain.splitlines()]
    assert "red and true" in lines
    assert "WARNING moves  and a title , a bell \x07" in lines
    raw = [json.loads(line)["text"] for line in run("alice", "logs", str(job), "--json").out.splitlines()]
    assert [text for text in raw if "\x1b" in text] == [text for _, text in LINES]


@pytest.mark.spec("C3", "M6")
@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of Unix")
@pytest.mark.parametrize("colors", [True, False])
def test_in_a_terminal_colours_show_and_nothing_else_reaches_it(run: Run, job: int, colors: bool) -> None:
    ours, theirs = os.openpty()
    environment = dict(os.environ) | ({} if colors else {"NO_COLOR": "1"})
    command = [sys.executable, "-m", "quarterdeck.cli", "--profile", "alice", "logs", str(job), "--grep", "and"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert process.wait(timeout=60) == 0
    red, moves = shown.decode().splitlines()
    if colors:
        assert red.endswith("] \x1b[1;31mred\x1b[0m and \x1b[38;2;1;2;3mtrue\x1b[0m")
    else:
        assert red.endswith("] red and true")
    assert moves.endswith("WARNING moves  and a title , a bell \\x07")


@pytest.mark.spec("C3")
def test_the_last_lines_with_a_text_are_the_last_ones_in_order(run: Run, database: Database) -> None:
    number = submitted(run, "alice")
    (task,) = begin(database, number)
    say(database, task, [(Level.INFO, f"hit {n}" if n % 3 == 0 else f"none {n}") for n in range(2000)])
    out = run("alice", "logs", str(number), "--grep", "hit", "-n", "3").out
    assert [line.partition("] ")[2] for line in out.splitlines()] == ["hit 1992", "hit 1995", "hit 1998"]
