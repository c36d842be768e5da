"""Records through a pipe, and the bounded buffer on disk."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from quarterdeck.agent.channel import Broken, Record, Spool, read_record, write_record

RECORDS = st.builds(
    Record,
    st.sampled_from(["log", "open", "block", "close", "end"]),
    st.dictionaries(st.text(max_size=5), st.one_of(st.integers(), st.text(max_size=20), st.none()), max_size=3),
    st.binary(max_size=200),
)


@pytest.mark.spec("X1")
@given(st.lists(RECORDS, max_size=10))
def test_records_come_out_as_they_went_in(records: list[Record]) -> None:
    stream = io.BytesIO(b"".join(one.encoded() for one in records))
    assert [read_record(stream) for _ in records] == records
    assert read_record(stream) is None


@pytest.mark.spec("G4")
@settings(max_examples=300)
@given(RECORDS, st.data())
def test_a_cut_record_is_told_from_an_end(record: Record, data: Any) -> None:
    whole = record.encoded()
    cut = data.draw(st.integers(1, len(whole) - 1))
    with pytest.raises(Broken):
        read_record(io.BytesIO(whole[:cut]))


@pytest.mark.spec("G4", "R3")
@settings(max_examples=500)
@given(st.binary(min_size=1, max_size=200))
def test_what_is_no_record_is_refused_or_read_but_never_believed_to_be_huge(data: bytes) -> None:
    try:
        record = read_record(io.BytesIO(data))
    except Broken:
        return
    assert record is not None
    assert len(record.data) < len(data)


def test_a_large_record_goes_through_a_pipe() -> None:
    read, write = os.pipe()
    record = Record("block", {"name": "x"}, os.urandom(3_000_000))
    thread = threading.Thread(target=write_record, args=(write, record))
    thread.start()
    with os.fdopen(read, "rb") as stream:
        assert read_record(stream) == record
    thread.join()
    os.close(write)


def numbered(number: int, size: int = 10) -> Record:
    return Record("log", {"n": number}, b"x" * size)


def numbers(records: list[Record]) -> list[int]:
    return [one.meta["n"] for one in records]


@pytest.mark.spec("G2")
def test_what_is_not_acknowledged_is_read_again_also_by_the_next_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(5):
        assert spool.put(numbered(number))
    assert numbers(spool.read(0)) == [0, 1, 2, 3, 4]
    assert numbers(spool.read(0)) == [0, 1, 2, 3, 4]
    spool.acknowledge(2)
    assert numbers(spool.read(0)) == [2, 3, 4]
    # a crash: nothing is closed
    again = Spool(tmp_path)
    assert numbers(again.read(0)) == [0, 1, 2, 3, 4]
    again.acknowledge(5)
    assert again.waiting == 0
    assert again.read(0) == []
    again.close()
    assert not list(tmp_path.glob("*.spool"))
    spool.close()


@pytest.mark.spec("G1")
def test_a_record_that_was_written_in_part_is_cut_off(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(numbered(1))
    spool.close(keep=True)
    (path,) = tmp_path.glob("*.spool")
    with path.open("ab") as file:
        file.write(numbered(2).encoded()[:-3])
    again = Spool(tmp_path)
    again.put(numbered(3))
    assert numbers(again.read(0)) == [1, 3]
    again.close()


@pytest.mark.spec("G2")
def test_put_waits_for_room_and_disk_space_is_given_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit=1 << 20)
    size = 100_000
    done = threading.Event()

    def fill() -> None:
        for number in range(1000):
            spool.put(numbered(number, size))
        done.set()

    thread = threading.Thread(target=fill)
    thread.start()
    seen, most = 0, 0
    while seen < 1000:
        found = spool.read(5.0)
        assert numbers(found) == list(range(seen, seen + len(found)))
        assert spool.waiting <= 1 << 20
        most = max(most, sum(path.stat().st_size for path in tmp_path.glob("*.spool")))
        seen += len(found)
        spool.acknowledge(len(found))
    thread.join(5)
    assert done.is_set()
    assert most < 40 << 20
    spool.close()


@pytest.mark.spec("G3")
def test_a_dropped_spool_lets_a_waiting_writer_go(tmp_path: Path) -> None:
    spool = Spool(tmp_path, limit=1000)
    spool.put(numbered(0, 900))
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(spool.put(numbered(1, 900))))
    thread.start()
    spool.drop()
    thread.join(5)
    assert found == [False]
    assert spool.read(0) == []
    spool.close()


@pytest.mark.spec("G2")
def test_a_full_disk_holds_the_writer_up_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)
    spool.put(numbered(0))
    real, full = spool._writer, True

    class Disk:
        def write(self, data: memoryview) -> int:
            if full and len(data) > 5:
                return real.write(data[: len(data) // 2])
            if full:
                raise OSError(28, "No space left on device")
            return real.write(data)

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    monkeypatch.setattr(spool, "_writer", Disk())
    thread = threading.Thread(target=spool.put, args=(numbered(1),))
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    full = False
    thread.join(5)
    assert numbers(spool.read(0)) == [0, 1]
    spool.close()


class Model(RuleBasedStateMachine):
    """The spool against a plain list."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.spool = Spool(Path(self.folder.name))
        self.waiting: list[int] = []
        self.ahead: list[int] = []
        self.next = 0

    @rule(size=st.sampled_from([1, 1000, 700_000]))
    def put(self, size: int) -> None:
        assert self.spool.put(numbered(self.next, size))
        self.waiting.append(self.next)
        self.next += 1

    @rule(count=st.integers(1, 10))
    def read(self, count: int) -> None:
        self.ahead = numbers(self.spool.read(0, records=count))
        assert self.ahead == self.waiting[: len(self.ahead)]
        assert bool(self.ahead) == bool(self.waiting)

    @precondition(lambda self: self.ahead)
    @rule(data=st.data())
    def acknowledge(self, data: Any) -> None:
        count = data.draw(st.integers(1, len(self.ahead)))
        self.spool.acknowledge(count)
        del self.waiting[:count]
        del self.ahead[:count]

    @invariant()
    def empty_means_empty(self) -> None:
        assert (self.spool.waiting == 0) == (not self.waiting)

    def teardown(self) -> None:
        self.spool.close()
        self.folder.cleanup()


TestSpool = Model.TestCase
TestSpool.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
