"""Where each line of a log stands, known without its text: bounds, counts and marks of the chunks. No I/O.

A log is the lines of all its chunks in the order of (time, chunk id, place in the chunk). A chunk's marks (see
schema/tables.sql) give time and level of each of its lines. To find the lines at some place only those chunks are asked
for their marks that can hold them by their bounds: as many as were written at that time, however long the log is.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from quarterdeck.job import LogLine
from quarterdeck.lines import CHUNK_LINES, micros_of

__all__ = ["END", "LEVELS", "Bounds", "Cursor", "Marked", "Outline", "Places", "marks_of", "unmarked"]

Numbers = npt.NDArray[np.int64]

LEVELS = "diwe"
"""The letters of the levels in a chunk's body; their place is the level's number in marks and counts."""


class Cursor(NamedTuple):
    """A line's place in the unified log."""

    micros: int
    chunk: int
    offset: int

    @classmethod
    def of(cls, line: LogLine) -> Cursor:
        """The place of a line."""
        return cls(micros_of(line.time), line.chunk, line.offset)


END = Cursor(2**62, 2**62, 2**31)
"""Behind any line."""


class Bounds(NamedTuple):
    """What is known of chunks, in order of their ids: one number a chunk in each; `counts` is (chunks, 4) by level.

    `task` is a task's id, 0 for chunks about the whole job. `low` and `high` are the times of the first and last line.
    """

    id: Numbers
    task: Numbers
    low: Numbers
    high: Numbers
    counts: Numbers

    @classmethod
    def none(cls) -> Bounds:
        empty = np.empty(0, np.int64)
        return cls(empty, empty, empty, empty, np.empty((0, len(LEVELS)), np.int64))

    def taken(self, rows: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Bounds:
        """Some of the chunks."""
        return Bounds(*(column[rows] for column in self))

    def joined(self, other: Bounds) -> Bounds:
        """These chunks and others, in order of their ids."""
        columns = [np.concatenate(pair) for pair in zip(self, other, strict=True)]
        return Bounds(*columns).taken(np.argsort(columns[0]))


class Marked(NamedTuple):
    """All lines of some chunks, chunk by chunk: their times and levels, and at which of them each chunk begins."""

    micros: Numbers
    level: Numbers
    starts: Numbers

    def places(self, lines: npt.NDArray[np.intp]) -> Places:
        """Where some of the lines stand."""
        row = np.searchsorted(self.starts, lines, "right") - 1
        return Places(row, lines - self.starts[row])


class Places(NamedTuple):
    """Lines, one entry each: which of a list of chunks, and the place in that chunk."""

    row: npt.NDArray[np.intp]
    offset: Numbers


class Outline:
    """The chunks that hold lines of one task (its id; None: of all) and of one level (its number) or a worse one."""

    def __init__(self, chunks: Bounds, task: int | None = None, level: int = 0) -> None:
        counts = chunks.counts[:, level:].sum(axis=1)
        kept = counts > 0 if task is None else (counts > 0) & (chunks.task == task)
        self._level = level
        self._counts: Numbers = counts[kept]
        self.chunks = chunks.taken(kept)
        self.total = int(self._counts.sum())

    @cached_property
    def starts(self) -> npt.NDArray[np.intp]:
        """The chunks in order of their first lines."""
        return np.lexsort((self.chunks.id, self.chunks.low))

    @cached_property
    def ends(self) -> npt.NDArray[np.intp]:
        """The chunks in order of their last lines."""
        return np.lexsort((self.chunks.id, self.chunks.high))

    @cached_property
    def _started(self) -> Numbers:
        return np.cumsum(self._counts[self.starts])

    @cached_property
    def _ended(self) -> Numbers:
        return np.cumsum(self._counts[self.ends])

    @cached_property
    def _highs(self) -> Numbers:
        return self.chunks.high[self.ends]

    def holding(self, first: int, last: int) -> tuple[npt.NDArray[np.intp], int]:
        """The chunks that can hold the lines of these numbers (0 <= first <= last < total), and how many lines stand in
        chunks that end before all of those."""
        # so many lines have begun by `low` that number `first` is not before it, and number `last` not after `high`
        low = self.chunks.low[self.starts[np.searchsorted(self._started, first, "right")]]
        high = self._highs[np.searchsorted(self._ended, last, "right")]
        rows = np.flatnonzero((self.chunks.high >= low) & (self.chunks.low <= high))
        return rows, self._before(int(low))

    def at(self, micros: int) -> tuple[npt.NDArray[np.intp], int]:
        """The chunks that were written at a time, and how many lines stand in chunks that end before it."""
        return np.flatnonzero((self.chunks.low <= micros) & (self.chunks.high >= micros)), self._before(micros)

    def _before(self, micros: int) -> int:
        ended = int(np.searchsorted(self._highs, micros, "left"))
        return int(self._ended[ended - 1]) if ended else 0

    def lines(self, first: int, last: int, before: int, marked: Marked) -> Places:
        """The lines of these numbers in order, out of all lines of the chunks that `holding` gave."""
        wanted = None if self._level == 0 else np.flatnonzero(marked.level >= self._level)
        micros = marked.micros if wanted is None else marked.micros[wanted]
        if not len(micros):
            return Places(np.empty(0, np.intp), np.empty(0, np.int64))
        first, last = max(first - before, 0), min(last - before, len(micros) - 1)
        # only what lies between the times of the first and the last has to be put in order
        low, high = np.partition(micros, (first, last))[[first, last]]
        near = np.flatnonzero((micros >= low) & (micros <= high))
        skipped = int(np.count_nonzero(micros < low))
        # lines of one time are in order of chunk and place as they are
        near = near[np.argsort(micros[near], kind="stable")][first - skipped : last - skipped + 1]
        return marked.places(near if wanted is None else wanted[near])

    def number(self, cursor: Cursor, before: int, rows: npt.NDArray[np.intp], marked: Marked) -> tuple[int, bool]:
        """How many lines stand before a place, and whether a line stands there; from the chunks that `at` gave."""
        wanted = marked.level >= self._level
        earlier = int(np.count_nonzero((marked.micros < cursor.micros) & wanted))
        row, offset = marked.places(np.flatnonzero((marked.micros == cursor.micros) & wanted))
        chunk = self.chunks.id[rows][row]
        same = chunk == cursor.chunk
        earlier += int(np.count_nonzero((chunk < cursor.chunk) | (same & (offset < cursor.offset))))
        return before + earlier, bool((same & (offset == cursor.offset)).any())


def marks_of(lows: Numbers, lines: Numbers, marks: Sequence[bytes]) -> Marked:
    """The lines of chunks, whose first times, numbers of lines and marks are given.

    Raises:
        ValueError: marks are not those of so many lines.
    """
    sizes = np.array([len(one) for one in marks], np.int64)
    long = sizes == 8 * lines
    if not (long | (sizes == 4 * lines)).all():
        raise ValueError("a chunk's marks are not those of its lines")
    if long.any():
        values = np.concatenate(
            [
                np.frombuffer(one, ">i8" if wide else ">u4").astype(np.int64)
                for one, wide in zip(marks, long, strict=True)
            ]
        )
    else:
        values = np.frombuffer(b"".join(marks), ">u4").astype(np.int64)
    return Marked((values >> 2) + np.repeat(lows, lines), values & 3, np.cumsum(lines) - lines)


def unmarked(body: str, low: int, lines: int, chunk: int) -> bytes:
    """The marks of a chunk that was stored without them.

    Raises:
        ValueError: the body is not one of so many log lines.
    """
    texts = body.split("\n")
    values = []
    for offset, text in enumerate(texts):
        micros, tab, rest = text.partition("\t")
        if not tab or not micros.lstrip("-").isdecimal() or rest[1:2] not in LEVELS:
            raise ValueError(f"line {offset} of chunk {chunk} is not a log line: {text[:80]!r}")
        values.append((int(micros) - low) * 4 + LEVELS.index(rest[1]))
    if len(texts) != lines or not 0 < lines <= CHUNK_LINES:
        raise ValueError(f"chunk {chunk} does not hold the {lines} lines that it names")
    return np.array(values, ">i8").tobytes()
