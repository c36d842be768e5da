"""Where lines stand in a log, held to plain sorting."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.outline import LEVELS, Bounds, Cursor, Marked, Outline, marks_of, unmarked

pytestmark = pytest.mark.spec("M6")

# (time, level) of a chunk's lines, in order of time; some chunks last longer than short marks can say
TIMES = st.integers(0, 30) | st.sampled_from([700_000_000, 700_000_001])
CHUNKS = st.lists(
    st.tuples(st.integers(0, 2), st.lists(st.tuples(TIMES, st.integers(0, 3)), min_size=1, max_size=6).map(sorted)),
    min_size=1,
    max_size=10,
)
Line = tuple[int, int, int]
"""Time, chunk id, place in the chunk: what a log is ordered by."""


def bounds(chunks: list[tuple[int, list[tuple[int, int]]]]) -> Bounds:
    return Bounds(
        np.array([10 + 3 * n for n in range(len(chunks))], np.int64),
        np.array([task for task, _ in chunks], np.int64),
        np.array([lines[0][0] for _, lines in chunks], np.int64),
        np.array([lines[-1][0] for _, lines in chunks], np.int64),
        np.array([[sum(one == level for _, one in lines) for level in range(4)] for _, lines in chunks], np.int64),
    )


def marked(chunks: list[tuple[int, list[tuple[int, int]]]], known: Bounds) -> Marked:
    """The marks as schema/tables.sql has them, of the chunks that are asked for."""
    marks = []
    for number in known.id.tolist():
        lines = chunks[(number - 10) // 3][1]
        low = lines[0][0]
        long = lines[-1][0] - low >= 500_000_000
        marks.append(b"".join(struct.pack(">q" if long else ">i", (at - low) * 4 + level) for at, level in lines))
    return marks_of(known.low, known.counts.sum(axis=1), marks)


def reference(chunks: list[tuple[int, list[tuple[int, int]]]], task: int | None, level: int) -> list[Line]:
    return sorted(
        (at, 10 + 3 * n, place)
        for n, (owner, lines) in enumerate(chunks)
        for place, (at, one) in enumerate(lines)
        if one >= level and task in (None, owner)
    )


@given(CHUNKS, st.none() | st.integers(0, 3), st.integers(0, 3), st.integers(1, 9))
def test_any_page_is_that_part_of_the_sorted_lines(
    chunks: list[tuple[int, list[tuple[int, int]]]], task: int | None, level: int, size: int
) -> None:
    outline = Outline(bounds(chunks), task, level)
    expected = reference(chunks, task, level)
    assert outline.total == len(expected)
    for first in range(len(expected)):
        last = min(first + size, len(expected)) - 1
        rows, before = outline.holding(first, last)
        known = outline.chunks.taken(rows)
        row, offset = outline.lines(first, last, before, marked(chunks, known))
        found = list(zip(known.id[row].tolist(), offset.tolist(), strict=True))
        assert found == [line[1:] for line in expected[first : last + 1]]


@given(CHUNKS, st.none() | st.integers(0, 3), st.integers(0, 3), TIMES, st.integers(8, 40), st.integers(-1, 6))
def test_any_place_has_its_number(
    chunks: list[tuple[int, list[tuple[int, int]]]], task: int | None, level: int, at: int, chunk: int, place: int
) -> None:
    outline = Outline(bounds(chunks), task, level)
    expected = reference(chunks, task, level)
    for cursor in [Cursor(at, chunk, place), *(Cursor(*line) for line in expected)]:
        rows, before = outline.at(cursor.micros)
        known = marked(chunks, outline.chunks.taken(rows))
        number = outline.number(cursor, before, rows, known)
        assert number == (sum(line < cursor for line in expected), tuple(cursor) in expected)


def test_only_chunks_of_that_time_are_asked_for() -> None:
    chunks = [(0, [(100 * n + k, 1) for k in range(50)]) for n in range(1000)]
    outline = Outline(bounds(chunks))
    rows, before = outline.holding(25_010, 25_019)
    assert (rows.tolist(), before) == ([500], 25_000)
    assert outline.at(50_020)[0].tolist() == [500]


def test_chunks_come_by_either_end() -> None:
    outline = Outline(bounds([(0, [(5, 1), (9, 1)]), (0, [(1, 1), (20, 1)]), (0, [(5, 1), (6, 1)])]))
    assert outline.starts.tolist() == [1, 0, 2]
    assert outline.ends.tolist() == [2, 0, 1]
    assert outline.chunks.joined(Bounds.none()).id.tolist() == [10, 13, 16]


def test_marks_of_a_body() -> None:
    body = "1000007\toi\ttext\n1000009\tle\twith\ttabs\n1000009\txd\t"
    data = unmarked(body, 1_000_000, 3, 7)
    found = marks_of(np.array([1_000_000]), np.array([3]), [data])
    assert (found.micros.tolist(), found.level.tolist()) == ([1_000_007, 1_000_009, 1_000_009], [1, 3, 0])
    assert LEVELS == "diwe"


@pytest.mark.parametrize("body", ["", "x\toi\ttext", "1\toz\ttext", "1 oi text"])
def test_a_body_of_another_form_is_named(body: str) -> None:
    with pytest.raises(ValueError, match="line 0 of chunk 7 is not a log line"):
        unmarked(body, 0, 1, 7)


def test_numbers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="chunk 7 does not hold the 2 lines"):
        unmarked("1\toi\ttext", 0, 2, 7)
    with pytest.raises(ValueError, match="not those of its lines"):
        marks_of(np.array([0]), np.array([2]), [b"1234"])
