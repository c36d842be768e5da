"""The unified log of a job, read through the client from a real database."""

from __future__ import annotations

import datetime as dt
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.client import Client
from quarterdeck.errors import Invalid, NotFound, Refused
from quarterdeck.job import Level, LogLine, Stream
from quarterdeck.lines import Chunk, Line, encode_lines, into_chunks, micros_of
from quarterdeck.logs import Cursor, Log, Searched, line_text

if TYPE_CHECKING:
    from tests.conftest import Database

pytestmark = pytest.mark.spec("M6")

START = micros_of(dt.datetime(2026, 1, 5, 9, 30, tzinfo=dt.UTC))


@pytest.fixture
def alice(database: Database) -> Iterator[Client]:
    with Client.sign_in(database.login("alice")) as client:
        yield client


def started(database: Database, tasks: int) -> tuple[int, list[int]]:
    """A job of alice's with all its tasks in progress on node n1; its id and theirs."""
    job = database.submit("alice", tasks)
    ids = [
        row[0] for row in database.sql("alice", "select id from qd.task where job_id = :job order by ordinal", job=job)
    ]
    database.sql("node_n1", "select qd.register_node(64, '{}', 'host', '1', 2, 1)")
    for task in ids:
        database.sql("node_n1", "select * from qd.start_task(:task, 1)", task=task)
    return job, ids


def write(database: Database, task: int, chunks: list[tuple[int, Chunk]]) -> None:
    database.sql(
        "node_n1",
        "select qd.write_log(:task, 1, cast(:first as bigint[]), cast(:lines as int[]), cast(:low as timestamptz[]),"
        " cast(:high as timestamptz[]), cast(:levels as int[]), cast(:body as text[]))",
        task=task,
        first=[first for first, _ in chunks],
        lines=[chunk.lines for _, chunk in chunks],
        low=[chunk.time_min for _, chunk in chunks],
        high=[chunk.time_max for _, chunk in chunks],
        levels=[count for _, chunk in chunks for count in chunk.levels],
        body=[chunk.body for _, chunk in chunks],
    )


def captured(lines: list[LogLine]) -> list[str]:
    return [line.text for line in lines if line.stream is not Stream.EXECUTION]


def interleaved(database: Database, alice: Client) -> tuple[Log, list[Line], dict[str, int]]:
    """Three tasks whose chunks overlap in time: the log, all lines in order, and each text's task."""
    job, tasks = started(database, 3)
    chance = random.Random(7)
    everything: list[Line] = []
    owner: dict[str, int] = {}
    for ordinal, task in enumerate(tasks):
        at, lines = START + ordinal, []
        for number in range(700):
            at += 3 * chance.randrange(1, 2_000)  # no two tasks at one time
            level = chance.choices(list(Level), [2, 10, 2, 1])[0]
            text = f"task {ordinal} line {number}"
            lines.append((at, Stream.STDOUT, level, text))
            owner[text] = ordinal
        everything += lines
        parts: list[tuple[int, Chunk]] = []
        first = 0
        while first < len(lines):
            size = chance.randrange(1, 60)
            parts.append((first, encode_lines(lines[first : first + size])))
            first += size
        write(database, task, parts)
    everything.sort()
    return alice.log(job), everything, owner


@pytest.fixture
def log(database: Database, alice: Client) -> tuple[Log, list[Line], dict[str, int]]:
    return interleaved(database, alice)


def test_pages_back_and_forth_are_the_whole_log_in_order(log: tuple[Log, list[Line], dict[str, int]]) -> None:
    read, everything, _ = log
    expected = [line[3] for line in everything]
    page = read.newest(100)
    backward = page
    while page:
        page = read.before(Cursor.of(page[0]), 137)
        backward = page + backward
    assert captured(backward) == expected
    forward: list[LogLine] = []
    page = read.after(None, 211)
    while page:
        forward += page
        page = read.after(Cursor.of(page[-1]), 211)
    assert forward == backward
    assert list(read.lines()) == backward
    assert read.count() == len(backward)


def test_lines_carry_their_task_and_number(log: tuple[Log, list[Line], dict[str, int]]) -> None:
    read, _, owner = log
    for line in read.lines():
        if line.stream is Stream.STDOUT:
            assert line.text == f"task {line.ordinal} line {line.number}"
            assert owner[line.text] == line.ordinal


def test_execution_lines_of_job_and_task_are_in_it(log: tuple[Log, list[Line], dict[str, int]]) -> None:
    read, _, _ = log
    found = [(line.ordinal, line.text) for line in read.lines() if line.stream is Stream.EXECUTION]
    assert (None, "queued by alice with 3 tasks") in found
    assert {(ordinal, "started on node n1") for ordinal in range(3)} <= set(found)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.parametrize("task", [None, 1])
def test_narrowed_to_task_and_level(
    log: tuple[Log, list[Line], dict[str, int]], level: Level, task: int | None
) -> None:
    read, everything, owner = log
    worse = list(Level)[list(Level).index(level) :]
    expected = [line[3] for line in everything if line[2] in worse and task in (None, owner[line[3]])]
    assert captured(list(read.lines(task=task, level=level))) == expected
    assert captured(read.newest(10_000, task=task, level=level)) == expected
    assert captured(read.newest(20, task=task, level=level))[-5:] == expected[-5:]
    count = read.count(task=task, level=level)
    assert count == len(list(read.lines(task=task, level=level)))


def test_first_error_over_all_tasks(log: tuple[Log, list[Line], dict[str, int]]) -> None:
    read, everything, owner = log
    first = read.first_error()
    assert first is not None
    assert first.text == next(line[3] for line in everything if line[2] is Level.ERROR)
    second = read.first_error(task=2)
    assert second is not None
    assert second.text == next(line[3] for line in everything if line[2] is Level.ERROR and owner[line[3]] == 2)


def test_search_looks_through_the_whole_log(log: tuple[Log, list[Line], dict[str, int]]) -> None:
    read, everything, owner = log
    expected = [line[3] for line in everything if "LINE 69" in line[3].upper()]
    assert [line.text for line in read.search("LINE 69")] == expected
    assert read.search("LINE 69", case=True) == []
    assert [line.text for line in read.search("line 69", 3, case=True)] == expected[:3]
    assert [line.text for line in read.search("line 69", task=0)] == [text for text in expected if owner[text] == 0]
    third = read.search("line 69", 3)[-1]
    assert [line.text for line in read.search("line 69", after=Cursor.of(third))] == expected[3:]
    assert [line.text for line in read.search("line 69", 2, before=Cursor.of(third))] == expected[:2][::-1]


@pytest.mark.parametrize("text", ["100%", "a_b", "c!d", "\\", "'; drop", "Ünïcode", "tab\tinside", "([x]*"])
def test_search_takes_every_character_as_it_is(database: Database, alice: Client, text: str) -> None:
    job, (task,) = started(database, 1)
    lines = [f"before {text} after", "100x", "axb", "cd", "/", "tab inside"]
    write(
        database, task, list(into_chunks([(START + i, Stream.STDOUT, Level.INFO, one) for i, one in enumerate(lines)]))
    )
    for case in (True, False):
        assert [line.text for line in alice.log(job).search(text, case=case)] == [lines[0]]


def test_search_does_not_find_what_is_no_text(database: Database, alice: Client) -> None:
    job, (task,) = started(database, 1)
    write(
        database,
        task,
        list(into_chunks([(START, Stream.STDOUT, Level.INFO, "x"), (START, Stream.STDOUT, Level.INFO, "y")])),
    )
    log = alice.log(job)
    for text in (str(START), "\toi\t", "x\n", "\0"):
        assert log.search(text) == []
    with pytest.raises(Invalid, match="give a text"):
        log.search("")


@pytest.mark.parametrize("level", [None, Level.WARNING, Level.ERROR])
@pytest.mark.parametrize("task", [None, 1, 99])
def test_positions_and_pages_agree_with_the_whole(
    log: tuple[Log, list[Line], dict[str, int]], task: int | None, level: Level | None
) -> None:
    read, _, _ = log
    whole = list(read.lines(task=task, level=level))
    assert read.count(task=task, level=level) == len(whole)
    for position in (0, 1, 63, len(whole) // 2, len(whole) - 1, len(whole), len(whole) + 5):
        assert read.page(position, 37, task=task, level=level) == whole[max(position, 0) : max(position, 0) + 37]
    for place in range(0, len(whole), 53):
        line = whole[place]
        assert read.position(line, task=task, level=level) == place
        assert read.position(Cursor.of(line), task=task, level=level) == place
        earlier = sum(one.time < line.time for one in whole)
        assert read.position_at(line.time, task=task, level=level) == earlier
    everything = list(read.lines())
    assert read.position_at(everything[0].time - dt.timedelta(days=1), task=task, level=level) == 0
    assert read.position_at(everything[-1].time + dt.timedelta(days=1), task=task, level=level) == len(whole)
    # a line that is not among those asked for has a place all the same
    other = everything[len(everything) // 2]
    before = sum(Cursor.of(one) < Cursor.of(other) for one in whole)
    assert read.position(other, task=task, level=level) == before


def test_an_open_view_sees_what_comes_and_what_goes(database: Database, alice: Client) -> None:
    job, (task,) = started(database, 1)
    log = alice.log(job)
    had = log.count()
    assert len(log.page(0)) == had
    lines = [(START + n, Stream.STDOUT, Level.INFO, f"early {n}") for n in range(3)]
    write(database, task, list(into_chunks(lines)))
    assert [line.text for line in log.page(0, 3)] == ["early 0", "early 1", "early 2"]
    assert log.count() == had + 3
    database.end("n1", task)
    database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=job)
    assert log.page(0) == log.newest() == list(log.lines()) == log.search("early") == []
    assert log.first_error() is None


def test_the_log_of_a_job_long_ended_is_read_once(database: Database, alice: Client) -> None:
    job, (task,) = started(database, 1)
    write(database, task, list(into_chunks([(START, Stream.STDOUT, Level.INFO, "a line")])))
    database.end("n1", task)
    log = alice.log(job)
    lines = log.page(0)
    hidden = "delete from qd.log_chunk where job_id = :job"
    late = (
        "insert into qd.log_chunk (job_id, creator, lines, time_min, time_max, levels, body) select id, '', 1, now(),"
    )
    late += f" now(), '{{0,1,0,0}}', '{START + 1}' || E'\\toi\\tlate' from qd.job where id = :job"
    database.sql("postgres", late, job=job)  # it has ended only now: a chunk may still come
    assert log.count() == len(lines) + 1
    database.sql("postgres", "update qd.job set ended = now() - interval '2 minutes' where id = :job", job=job)
    assert log.count() == len(lines) + 1
    database.sql("postgres", late, job=job)
    assert log.count() == len(lines) + 1
    assert alice.log(job).count() == len(lines) + 2
    database.sql("postgres", hidden, job=job)
    assert log.page(0) == []


def test_the_database_marks_each_line_and_bounds_each_chunk(database: Database) -> None:
    _, (task,) = started(database, 1)
    levels = list(Level)
    short = [(START + 7 * n, Stream.STDOUT, levels[n % 4], f"text\t{n}") for n in range(9)]
    long = [(START + n * 400_000_000, Stream.STDERR, levels[-1 - n], "x") for n in range(3)]
    # what the node says of bounds and counts is not believed
    late = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    wrong = [Chunk(one.lines, late, late, (0, 0, 0, 0), one.body) for one in map(encode_lines, (short, long))]
    write(database, task, [(0, wrong[0]), (9, wrong[1])])
    rows = database.sql(
        "alice", "select marks, time_min, time_max, levels from qd.log_chunk where first_line >= 0 order by id"
    )
    assert rows[0].marks == b"".join(struct.pack(">i", 7 * n * 4 + n % 4) for n in range(9))
    assert rows[1].marks == b"".join(struct.pack(">q", n * 400_000_000 * 4 + 3 - n) for n in range(3))
    assert [micros_of(row.time_min) for row in rows] == [START, START]
    assert [micros_of(row.time_max) for row in rows] == [START + 56, START + 800_000_000]
    assert [row.levels for row in rows] == [[3, 2, 2, 2], [0, 1, 1, 1]]
    spoiled = [Chunk(1, late, late, (0, 1, 0, 0), body) for body in ("no log line", "7\toq\tx", "9" * 30 + "\toi\tx")]
    write(database, task, [(12 + n, one) for n, one in enumerate(spoiled)])
    rows = database.sql("alice", "select marks, time_min from qd.log_chunk where first_line >= 12 order by id")
    assert [tuple(row) for row in rows] == [(None, late)] * 3


def test_chunks_without_marks_are_read_from_their_text(
    database: Database, log: tuple[Log, list[Line], dict[str, int]], alice: Client
) -> None:
    read, _, _ = log
    whole = list(read.lines())
    database.sql("postgres", "update qd.log_chunk set marks = null where id % 2 = 0")
    fresh = alice.log(read.job_id)
    assert fresh.page(0, len(whole)) == whole
    assert [fresh.position(line) for line in whole[::97]] == list(range(0, len(whole), 97))


def test_a_search_tells_how_far_it_is(log: tuple[Log, list[Line], dict[str, int]]) -> None:
    read, everything, _ = log
    parts = list(read.searching("line 6"))
    found = [line.text for part in parts for line in part.lines]
    assert found == [line[3] for line in everything if "line 6" in line[3]]
    shares = [part.share for part in parts]
    assert shares == sorted(shares)
    assert (len(shares) > 1, shares[-1]) == (True, 1.0)
    hits = read.search("line 6")
    between = read.searching("line 6", after=Cursor.of(hits[4]), before=Cursor.of(hits[9]))
    assert [line for part in between for line in part.lines] == hits[5:9]
    stopped = iter(read.hits("line"))
    assert next(stopped).text == everything[0][3]


def test_near_finds_any_position(log: tuple[Log, list[Line], dict[str, int]]) -> None:
    read, everything, _ = log
    whole = list(read.lines())
    for position in (0, 500, 1500, len(whole) - 1):
        page = read.near(position, 10)
        assert page == whole[position : position + 10]
    assert read.near(10**9, 10) == whole[-10:]
    moment = whole[1000].time
    assert read.at(moment, 5) == whole[1000:1005]
    assert everything


def test_tail_gets_every_line_once_also_late_commits(database: Database, alice: Client) -> None:
    job, (task,) = started(database, 1)
    tail = alice.log(job).tail()
    assert tail.poll() == []
    late = database.connect("node_n1", autocommit=False)
    call = (
        "select qd.write_log(%s, 1, array[%s]::bigint[], array[1], array[now()], array[now()],"
        " array[0, 1, 0, 0], array[%s])"
    )
    late.execute(call, (task, 0, f"{START}\toi\tcommitted late"))  # has the lower chunk id
    early = database.connect("node_n1", autocommit=True)
    early.execute(call, (task, 1, f"{START + 1}\toi\tcommitted early"))
    assert [line.text for line in tail.poll()] == ["committed early"]
    late.commit()
    assert [line.text for line in tail.poll()] == ["committed late"]
    assert tail.poll() == []


def test_tail_is_narrowed(database: Database, alice: Client) -> None:
    job, tasks = started(database, 2)
    tails = [alice.log(job).tail(task=1), alice.log(job).tail(level=Level.WARNING)]
    for ordinal, task in enumerate(tasks):
        lines = [(START, Stream.STDOUT, Level.INFO, f"i{ordinal}"), (START, Stream.STDOUT, Level.ERROR, f"e{ordinal}")]
        write(database, task, list(into_chunks(lines)))
    assert [[line.text for line in tail.poll()] for tail in tails] == [["i1", "e1"], ["e0", "e1"]]


def test_save_writes_all_or_nothing(
    log: tuple[Log, list[Line], dict[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, everything, _ = log
    path = tmp_path / "job.log"
    path.write_text("an older file")
    written = read.save(path)
    text = path.read_text(encoding="utf-8").splitlines()
    assert len(text) == written == read.count()
    assert text == [line_text(line) for line in read.lines()]
    assert read.save(path, level=Level.ERROR) == len(path.read_text(encoding="utf-8").splitlines())
    assert all(" ERROR " in line for line in path.read_text(encoding="utf-8").splitlines())
    before = path.read_text(encoding="utf-8")
    monkeypatch.setattr(Log, "_scan", _breaks)
    with pytest.raises(RuntimeError, match="in the middle"):
        read.save(path)
    assert path.read_text(encoding="utf-8") == before
    assert [one.name for one in tmp_path.iterdir()] == ["job.log"]
    with pytest.raises(Invalid, match="there is no folder"):
        read.save(tmp_path / "none" / "job.log")
    with pytest.raises(Invalid, match="is a folder"):
        read.save(tmp_path)
    assert everything


def _breaks(*_: object, **__: object) -> Iterator[Searched]:
    line = LogLine(
        task_id=None,
        ordinal=None,
        number=0,
        time=dt.datetime.now(dt.UTC),
        stream=Stream.STDOUT,
        level=Level.INFO,
        text="",
    )
    yield Searched((line,), 0.5)
    raise RuntimeError("in the middle")


@pytest.mark.spec("R2")
def test_others_logs_stay_closed(database: Database, alice: Client) -> None:
    private = database.submit("alice")
    public = database.submit("alice", public=True)
    with Client.sign_in(database.login("bob")) as bob, Client.sign_in(database.login("boss")) as boss:
        with pytest.raises(NotFound, match=f"there is no job {private} that you may see"):
            bob.log(private)
        with pytest.raises(Refused, match="belongs to alice"):
            bob.log(public)
        assert Log(bob.engine, private).newest() == []
        assert Log(bob.engine, public).count() == 0
        assert Log(bob.engine, private).page(0) == []
        assert database.value("bob", "select count(marks) from qd.log_chunk") == 0
        assert [line.text for line in boss.log(private).newest()] == ["queued by alice"]


CHUNK = st.lists(
    st.tuples(st.integers(0, 40), st.sampled_from(Level), st.sampled_from(["apple", "Pear", "%", ""])),
    min_size=1,
    max_size=6,
)


@pytest.fixture
def job_writer(database: Database, alice: Client) -> Callable[[list[list[tuple[int, Level, str]]]], Log]:
    def fill(chunks: list[list[tuple[int, Level, str]]]) -> Log:
        job, (task,) = started(database, 1)
        first, parts = 0, []
        for chunk in chunks:
            parts.append((first, encode_lines([(START + at, Stream.STDOUT, level, text) for at, level, text in chunk])))
            first += len(chunk)
        write(database, task, parts)
        return alice.log(job)

    return fill


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CHUNK, min_size=1, max_size=12), st.integers(1, 7), st.sampled_from([None, *Level]), st.booleans())
def test_any_chunks_read_in_order(
    job_writer: Callable[[list[list[tuple[int, Level, str]]]], Log],
    chunks: list[list[tuple[int, Level, str]]],
    size: int,
    level: Level | None,
    case: bool,
) -> None:
    log = job_writer(chunks)
    worse = list(Level)[0 if level is None else list(Level).index(level) :]
    # the reference: chunks were stored in this order, so a chunk's place stands for its id
    keyed = [
        (at, place, offset, text)
        for place, chunk in enumerate(chunks)
        for offset, (at, one, text) in enumerate(sorted(chunk, key=lambda line: line[0]))
        if one in worse
    ]
    expected = [text for *_, text in sorted(keyed)]
    assert captured(list(log.lines(level=level))) == expected
    page = log.newest(size, level=level)
    found = page
    while page:
        page = log.before(Cursor.of(page[0]), size, level=level)
        found = page + found
    assert captured(found) == expected
    needle = "APPLE"
    hits = [text for text in expected if (needle in text if case else needle in text.upper())]
    assert [line.text for line in log.search(needle, level=level, case=case)] == hits
