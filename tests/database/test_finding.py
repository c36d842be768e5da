"""Searches through logs in a real database: by bits of three bytes, by text, by expression, counted in order."""

from __future__ import annotations

import datetime as dt
import random
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from quarterdeck.client import Client
from quarterdeck.errors import Invalid
from quarterdeck.job import Level, Stream
from quarterdeck.lines import encode_lines
from quarterdeck.logs import Cursor, Finding, Log
from quarterdeck.trigrams import trigrams

if TYPE_CHECKING:
    from conftest import Database

START = 1_767_600_000_000_000


@pytest.fixture
def alice(database: Database) -> Iterator[Client]:
    client = Client.sign_in(database.login("alice"))
    yield client
    client.close()


def write(database: Database, task: int, first: int, lines: list[tuple[int, Level, str]], *, bits: bool) -> None:
    chunk = encode_lines([(at, Stream.STDOUT, level, text) for at, level, text in lines])
    database.sql(
        "node_n1",
        "select qd.write_log(:task, 1, array[cast(:first as bigint)], array[cast(:n as int)],"
        " cast(:low as timestamptz[]), cast(:high as timestamptz[]), cast(:levels as int[]), array[:body],"
        " cast(:bits as bytea[]))",
        task=task,
        first=first,
        n=chunk.lines,
        low=[chunk.time_min],
        high=[chunk.time_max],
        levels=list(chunk.levels),
        body=chunk.body,
        bits=[trigrams(chunk.body) if bits else None],
    )


@pytest.fixture
def log(database: Database, alice: Client) -> tuple[Log, list[tuple[int, Level, str]]]:
    """A log of two tasks in 400 chunks, half of them with bits; and its lines in order."""
    chance = random.Random(5)
    job = database.submit("alice", 2)
    tasks = database.tasks(job)
    for task in tasks:
        database.start("n1", task)
    database.sql("postgres", "delete from qd.log_chunk where job_id = :job", job=job)
    words = ["Order", "filled", "größer", "100 %", "a_b", "C:\\temp", "ᛖ"]
    everything = []
    for number in range(400):
        lines = []
        for n in range(60):
            at = START + number * 60_000 + n * 1000 * chance.randrange(1, 9)
            word = chance.choice(words) if chance.random() < 0.05 else "done"
            if number in (4, 203, 397) and n == 30:
                word = "Needle in the hay"
            level = Level.WARNING if n % 20 == 0 else Level.INFO
            lines.append((at, level, f"step {number * 60 + n} of the run, {'x' * 190} {word}"))
        lines.sort(key=lambda line: line[0])
        write(database, tasks[number % 2], number * 60, lines, bits=number % 4 < 2)
        everything += lines
    everything.sort(key=lambda line: line[0])
    return alice.log(job), everything


def counted(finding: Finding) -> int:
    shares = list(finding.steps())
    assert shares == sorted(shares)
    assert finding.complete
    return finding.count


@pytest.mark.spec("M6", "N3")
def test_all_hits_are_counted_and_stand_in_order(log: tuple[Log, list[tuple[int, Level, str]]]) -> None:
    read, lines = log
    for text, case, level in (
        ("needle", False, None),
        ("needle", True, None),
        ("Needle in", True, None),
        ("DONE", False, None),
        ("done", False, Level.WARNING),
        ("größer", False, None),
        ("100 %", False, None),
        ("a_b", True, None),
        ("\\temp", False, None),
        ("17", False, None),
        ("o", False, None),
        ("nowhere at all", False, None),
        ("1767600", False, None),  # of the times that stand before the texts in the database
    ):
        wanted = [
            (at, line)
            for at, of, line in lines
            if (text in line if case else text.lower() in line.lower()) and level in (None, of)
        ]
        finding = read.finding(text, case=case, level=level)
        assert counted(finding) == len(wanted), text
        places = [place for n in range(len(wanted)) if (place := finding.at(n)) is not None]
        assert places == sorted(places)
        assert [place.micros for place in places] == [at for at, _ in wanted]
        assert [finding.number(place) for place in places[:50]] == list(range(len(places[:50])))
        assert finding.at(len(wanted)) is None
        # the lines themselves are the same
        hits = list(read.hits(text, case=case, level=level))
        assert [Cursor.of(line) for line in hits] == places
        if places:
            middle = places[len(places) // 2]
            assert [Cursor.of(one) for one in read.search(text, 3, case=case, level=level, after=middle)] == (
                places[len(places) // 2 + 1 :][:3]
            )


@pytest.mark.spec("M6")
@pytest.mark.parametrize(
    ("pattern", "case"),
    [("^step 12\\d of", False), ("needle|filled", False), ("Needle|filled", True), ("hay$", True), ("x{190} C:", True)],
)
def test_regular_expressions(log: tuple[Log, list[tuple[int, Level, str]]], pattern: str, case: bool) -> None:
    read, lines = log
    asked = re.compile(pattern, re.NOFLAG if case else re.IGNORECASE)
    wanted = [at for at, _, line in lines if asked.search(line)]
    assert wanted
    finding = read.finding(pattern, case=case, regular=True)
    assert counted(finding) == len(wanted)
    found = list(read.hits(pattern, case=case, regular=True))
    assert [line.text for line in found] == [line for _, _, line in lines if asked.search(line)]


@pytest.mark.spec("M6", "G4")
def test_what_is_no_expression_is_said(log: tuple[Log, list[tuple[int, Level, str]]]) -> None:
    with pytest.raises(Invalid, match="no regular expression"):
        counted(log[0].finding("order (", regular=True))
    with pytest.raises(Invalid, match="give a text"):
        counted(log[0].finding(""))
    assert counted(log[0].finding("two\nlines")) == 0


@pytest.mark.spec("M6")
def test_what_comes_is_counted_on(database: Database, log: tuple[Log, list[tuple[int, Level, str]]]) -> None:
    read, lines = log
    finding = read.finding("needle")
    assert counted(finding) == 3
    task = database.value("postgres", "select max(id) from qd.task")
    early, late = lines[0][0], lines[-1][0] + 5
    write(database, task, 90_000, [(early, Level.INFO, "needle 0"), (late, Level.INFO, "needle 5")], bits=True)
    assert counted(finding) == 5
    first, last = finding.at(0), finding.at(4)
    assert first is not None
    assert last is not None
    assert (first.micros, last.micros) == (early, late)


@pytest.mark.spec("N3")
def test_chunks_that_can_not_match_are_not_read(
    log: tuple[Log, list[tuple[int, Level, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    read, _ = log
    chunks = read._chunks
    asked: list[int] = []
    places = chunks.places
    monkeypatch.setattr(chunks, "places", lambda ids, condition: (asked.extend(ids), places(ids, condition))[1])
    finding = read.finding("needle")
    assert counted(finding) == 3
    assert 200 < len(asked) < 210  # those without bits, and those with the word


@pytest.mark.spec("M6")
def test_bits_of_another_size_are_not_taken(database: Database, alice: Client) -> None:
    job = database.submit("alice", 1)
    task = database.tasks(job)[0]
    database.start("n1", task)
    body: Any = encode_lines([(START, Stream.STDOUT, Level.INFO, "a needle")]).body
    database.sql(
        "node_n1",
        "select qd.write_log(:task, 1, '{0}', '{1}', '{now}', '{now}', '{0,1,0,0}', array[:body],"
        " array['\\x00'::bytea, '\\x00'::bytea])".replace("::", "\\:\\:"),
        task=task,
        body=body,
    )
    assert database.value("postgres", "select trigrams from qd.log_chunk where body = :body", body=body) is None
    assert alice.log(job).search("needle")[0].time == dt.datetime.fromtimestamp(START / 1e6, dt.UTC)
