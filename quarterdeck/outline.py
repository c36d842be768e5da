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

__all__ = ["LEVELS", "Bounds", "Cursor", "Marked", "Outline", "marks_of", "unmarked"]

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
    """Lines, one entry each: time, level, the place of their chunk in a list of chunks, their place in the chunk."""

    micros: Numbers
    level: Numbers
    row: Numbers
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

    def _wanted(self, marked: Marked) -> Marked:
        if self._level == 0:
            return marked
        kept = marked.level >= self._level
        return Marked(*(column[kept] for column in marked))

    def lines(self, first: int, last: int, before: int, marked: Marked) -> Marked:
        """The lines of these numbers in order, out of all lines of the chunks that `holding` gave."""
        lines = self._wanted(marked)
        if not len(lines.micros):
            return lines
        first, last = max(first - before, 0), min(last - before, len(lines.micros) - 1)
        # only what lies between the times of the first and the last has to be put in order
        ends = np.partition(lines.micros, (first, last))[[first, last]]
        near = np.flatnonzero((lines.micros >= ends[0]) & (lines.micros <= ends[1]))
        skipped = int((lines.micros < ends[0]).sum())
        near = near[np.lexsort((lines.offset[near], lines.row[near], lines.micros[near]))]
        chosen = near[first - skipped : last - skipped + 1]
        return Marked(*(column[chosen] for column in lines))

    def number(self, cursor: Cursor, before: int, rows: npt.NDArray[np.intp], marked: Marked) -> tuple[int, bool]:
        """How many lines stand before a place, and whether a line stands there; from the chunks that `at` gave."""
        lines = self._wanted(marked)
        chunk = self.chunks.id[rows][lines.row]
        same = lines.micros == cursor.micros
        earlier = (lines.micros < cursor.micros) | (
            same & ((chunk < cursor.chunk) | ((chunk == cursor.chunk) & (lines.offset < cursor.offset)))
        )
        there = bool((same & (chunk == cursor.chunk) & (lines.offset == cursor.offset)).any())
        return before + int(earlier.sum()), there


def marks_of(lows: Numbers, lines: Numbers, marks: Sequence[bytes]) -> Marked:
    """The lines of chunks, whose first times, numbers of lines and marks are given.

    Raises:
        ValueError: marks are not those of so many lines.
    """
    sizes = np.array([len(one) for one in marks], np.int64)
    if ((sizes != 4 * lines) & (sizes != 8 * lines)).any():
        raise ValueError("a chunk's marks are not those of its lines")
    long = sizes == 8 * lines
    values = np.empty(int(lines.sum()), np.int64)
    of_long = np.repeat(long, lines)
    values[~of_long] = np.frombuffer(b"".join(one for one, wide in zip(marks, long, strict=True) if not wide), ">u4")
    values[of_long] = np.frombuffer(b"".join(one for one, wide in zip(marks, long, strict=True) if wide), ">i8")
    rows = np.repeat(np.arange(len(lines), dtype=np.int64), lines)
    offsets = np.arange(len(values), dtype=np.int64) - np.repeat(np.cumsum(lines) - lines, lines)
    return Marked((values >> 2) + lows[rows], values & 3, rows, offsets)


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
