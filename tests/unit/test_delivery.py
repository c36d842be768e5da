"""How an attempt's lines become chunks of its log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quarterdeck.agent import delivery, output
from quarterdeck.agent.channel import Record, Spool
from quarterdeck.agent.delivery import Delivery
from quarterdeck.agent.output import Log
from quarterdeck.job import Level, Stream


class Clock:
    """The time of both modules, moved by the test."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(delivery, "time", made)
    monkeypatch.setattr(output.time, "monotonic", made.monotonic)
    yield made
    monkeypatch.undo()


class Written(Spool):
    """A spool that tells when each chunk went into it, and of how many lines; lines are written to it by `run`."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        super().__init__(folder)
        self._clock = clock
        self.chunks: list[tuple[float, int]] = []
        self._log = Log(self)
        nothing: Any = None
        self._delivery = Delivery(nothing, self, self._log, 1, 1, on_fenced=nothing, on_failed=nothing, answer=nothing)

    def put(self, record: Record, *, force: bool = False) -> bool:
        self.chunks.append((self._clock.now, record.meta["lines"]))
        return super().put(record, force=force)

    def run(self, seconds: float, *, every: float) -> None:
        """Write a line `every` so many seconds; the node looks each 50 ms."""
        end, line = self._clock.now + seconds, self._clock.now
        while self._clock.now < end:
            while line <= self._clock.now:
                self._log.add([(int(line * 1e6), Stream.STDOUT, Level.INFO, "x")])
                line += every
            self._delivery._flush()
            self._clock.now += 0.05


@pytest.fixture
def written(tmp_path: Path, clock: Clock) -> Iterator[Written]:
    made = Written(tmp_path, clock)
    yield made
    made.close()


@pytest.mark.spec("M6", "N3")
def test_a_task_that_writes_on_and_on_makes_few_chunks_and_stays_live(written: Written, clock: Clock) -> None:
    begin = clock.now
    written.run(60, every=0.1)
    assert written.chunks[0][0] - begin <= 0.21  # the first lines are there at once
    assert len(written.chunks) < 70  # one a second; ten a second were 600
    gaps = [after[0] - before[0] for before, after in zip(written.chunks, written.chunks[1:], strict=False)]
    assert max(gaps) < 1.2  # nothing waits longer than that
    assert sum(lines for _, lines in written.chunks) > 580


@pytest.mark.spec("M6")
def test_after_a_quiet_time_a_line_is_there_at_once(written: Written, clock: Clock) -> None:
    written.run(20, every=0.1)
    written.run(3, every=100)  # one line at its beginning, then silence
    written.run(2, every=100)
    before = len(written.chunks)
    at = clock.now
    written.run(1, every=100)
    assert written.chunks[before][0] - at <= 0.21
