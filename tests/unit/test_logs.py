"""The codec of log chunks."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.job import Level, Stream
from quarterdeck.logs import CHUNK_LINES, LINE_BYTES, decode_chunk, encode_lines, into_chunks, split_text

TIMES = st.integers(min_value=-10_000_000_000, max_value=4_102_444_800_000_000)
LINES = st.tuples(TIMES, st.sampled_from(Stream), st.sampled_from(Level), st.text())


@pytest.mark.spec("M6")
@given(st.lists(LINES, min_size=1, max_size=30))
def test_any_text_survives_line_by_line(raw: list[tuple[int, Stream, Level, str]]) -> None:
    lines = [(at, stream, level, piece) for at, stream, level, text in raw for piece in split_text(text)]
    back = [
        (line.time, line.stream, line.level, line.text)
        for first, chunk in into_chunks(lines)
        for line in decode_chunk(chunk.body, first_line=first)
    ]
    epoch = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    by_chunk = [
        (epoch + dt.timedelta(microseconds=at), stream, level, text)
        for start in range(0, len(lines), CHUNK_LINES)
        for at, stream, level, text in sorted(lines[start : start + CHUNK_LINES], key=lambda line: line[0])
    ]
    assert back == by_chunk


@pytest.mark.spec("M6")
@given(st.text())
def test_split_text_keeps_all_but_breaks_and_nul(text: str) -> None:
    pieces = split_text(text)
    assert pieces
    assert all("\n" not in piece and "\r" not in piece and "\0" not in piece for piece in pieces)
    kept = "".join(char for char in text if char not in "\r\n\0").encode("utf-8", "replace").decode()
    assert "".join(pieces) == kept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [""]),
        ("a", ["a"]),
        ("a\n", ["a"]),
        ("a\r\nb\rc\n\n", ["a", "b", "c", ""]),
        ("tab\tstays", ["tab\tstays"]),
        ("nul\0goes", ["nulgoes"]),
        ("lone \udcff surrogate", ["lone ? surrogate"]),
        ("\u2028stays\x85", ["\u2028stays\x85"]),
    ],
)
def test_split_text(text: str, expected: list[str]) -> None:
    assert split_text(text) == expected


@pytest.mark.parametrize("char", ["x", "é", "€", "𝄞"])
def test_long_lines_are_cut_between_characters(char: str) -> None:
    text = "a" + char * LINE_BYTES
    pieces = split_text(text)
    assert "".join(pieces) == text
    assert all(0 < len(piece.encode()) <= LINE_BYTES for piece in pieces)
    assert all(len(piece.encode()) > LINE_BYTES - 4 for piece in pieces[:-1])


def test_chunk_counts_levels_and_bounds() -> None:
    chunk = encode_lines(
        [
            (2_000_001, Stream.STDERR, Level.ERROR, "later"),
            (1_000_000, Stream.STDOUT, Level.INFO, "first"),
            (1_000_000, Stream.LOGGING, Level.DEBUG, "same time, second"),
            (1_500_000, Stream.EXECUTION, Level.WARNING, ""),
        ]
    )
    assert chunk.body == ("1000000\toi\tfirst\n1000000\tld\tsame time, second\n1500000\txw\t\n2000001\tee\tlater")
    assert chunk.levels == (1, 1, 1, 1)
    assert chunk.time_min == dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)
    assert chunk.time_max == dt.datetime(1970, 1, 1, 0, 0, 2, 1, tzinfo=dt.UTC)


def test_numbers_run_on_over_chunks() -> None:
    lines = [(index, Stream.STDOUT, Level.INFO, str(index)) for index in range(CHUNK_LINES * 2 + 1)]
    chunks = list(into_chunks(lines))
    assert [(first, chunk.lines) for first, chunk in chunks] == [(0, 500), (500, 500), (1000, 1)]
    numbers = [line.number for first, chunk in chunks for line in decode_chunk(chunk.body, first_line=first)]
    assert numbers == list(range(1001))


def test_a_chunk_of_big_lines_stays_small() -> None:
    chunks = list(into_chunks([(0, Stream.STDOUT, Level.INFO, "x" * LINE_BYTES)] * 100))
    assert sum(chunk.lines for _, chunk in chunks) == 100
    assert max(len(chunk.body) for _, chunk in chunks) < 1_200_000


@pytest.mark.parametrize("lines", [[], [(0, Stream.STDOUT, Level.INFO, "x")] * (CHUNK_LINES + 1)])
def test_chunk_sizes_are_checked(lines: list[tuple[int, Stream, Level, str]]) -> None:
    with pytest.raises(ValueError, match="holds 1 to 500 lines"):
        encode_lines(lines)


@pytest.mark.parametrize("text", ["a\nb", "a\0b"])
def test_unsplit_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="split_text"):
        encode_lines([(0, Stream.STDOUT, Level.INFO, text)])


@pytest.mark.parametrize("body", ["", "x\toi\ttext", "1\tq\ttext", "1\toz\ttext", "1 oi text"])
def test_a_spoiled_body_is_named(body: str) -> None:
    with pytest.raises(ValueError, match="line 0 of chunk 7"):
        decode_chunk(body, chunk=7)
