"""Lines from a task's pipes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.agent.channel import Spool
from quarterdeck.agent.output import Log, lines_of, read_lines, read_raw
from quarterdeck.job import Level, Stream
from quarterdeck.logs import Line, decode_chunk

NOW = 1_800_000_000_000_000


@pytest.mark.spec("M6")
def test_lines_keep_time_stream_level_and_text() -> None:
    text = f"{NOW - 5}\toi\ta\tb\n{NOW - 4}\tle\t\n{NOW - 3}\txw\té\n"
    assert lines_of(text, NOW) == [
        (NOW - 5, Stream.STDOUT, Level.INFO, "a\tb"),
        (NOW - 4, Stream.LOGGING, Level.ERROR, ""),
        (NOW - 3, Stream.EXECUTION, Level.WARNING, "é"),
    ]


@pytest.mark.spec("M6", "R3")
def test_times_from_the_future_or_long_ago_are_not_believed() -> None:
    assert [line[0] for line in lines_of(f"{NOW + 1}\toi\ta\n1\toi\tb\n", NOW)] == [NOW, NOW]


@pytest.mark.spec("R3", "G4")
@given(st.text())
def test_any_text_becomes_lines_that_a_chunk_can_hold(text: str) -> None:
    for _, _, _, line in lines_of(text.replace("\n", " ") + "\n", NOW):
        assert not set(line) & set("\0\n\r")


def through(read: Callable[[int, Callable[[list[Line]], None]], None], *writes: bytes) -> list[str]:
    reader, writer = os.pipe()
    found: list[str] = []
    thread = threading.Thread(target=read, args=(reader, lambda lines: found.extend(line[3] for line in lines)))
    thread.start()
    for data in writes:
        os.write(writer, data)
    os.close(writer)
    thread.join(10)
    os.close(reader)
    return found


@pytest.mark.spec("M6")
def test_lines_cut_anywhere_come_out_whole() -> None:
    data = "".join(f"{NOW + n}\toi\tline {n}\n" for n in range(200)).encode()
    for step in (1, 7, 100):
        parts = [data[at : at + step] for at in range(0, len(data), step)]
        assert through(read_lines, *parts) == [f"line {n}" for n in range(200)]


@pytest.mark.spec("M6")
def test_raw_output_is_split_at_every_kind_of_break() -> None:
    def read(handle: int, add: Callable[[list[Line]], None]) -> None:
        read_raw(handle, Stream.STDERR, add)

    assert through(read, b"a\nb\r", b"\nc\n\xff\nno end") == ["a", "b", "c", "\ufffd", "no end"]
    assert through(read, b"\r10%", b"\r20%\n") == ["10%", "20%"]


@pytest.mark.spec("N3", "M6")
def test_lines_of_several_sources_are_put_in_order_of_time(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    log = Log(spool)
    log.add([(NOW + 3, Stream.STDOUT, Level.INFO, "3")])
    log.add([(NOW + 1, Stream.STDERR, Level.INFO, "1"), (NOW + 2, Stream.STDERR, Level.INFO, "2")])
    log.flush()
    log.add([(NOW + n, Stream.STDOUT, Level.ERROR, str(n)) for n in range(4, 1204)])
    log.flush()
    records = spool.read(0)
    assert [one.meta["first"] for one in records] == [0, 3, 503, 1003]
    assert [one.meta["lines"] for one in records] == [3, 500, 500, 200]
    assert records[1].meta["levels"] == [0, 0, 0, 500]
    texts = [line.text for one in records for line in decode_chunk(one.data.decode())]
    assert texts == [str(n) for n in range(1, 1204)]
    spool.close()
