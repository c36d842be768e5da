"""Chunks of logs: how up to 500 lines are encoded for the database. No I/O.

A chunk's body holds one log line a text line: microseconds since the epoch, tab, a letter of the stream (o e l x), a
letter of the level (d i w e), tab, text. Lines of a chunk are in order of time. The unified log of a job is ordered by
(time, chunk id, place in the chunk).
"""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from quarterdeck.job import Level, LogLine, Stream

__all__ = [
    "CHUNK_LINES",
    "LINE_BYTES",
    "Chunk",
    "Line",
    "decode_chunk",
    "decode_line",
    "encode_lines",
    "into_chunks",
    "micros_of",
    "split_text",
    "time_of",
]

CHUNK_LINES = 500
LINE_BYTES = 65_536
_CHUNK_BYTES = 1_000_000

Line = tuple[int, Stream, Level, str]
"""Microseconds since the epoch (UTC), stream, level, and a text without line break (see `split_text`)."""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)
_STREAMS = {Stream.STDOUT: "o", Stream.STDERR: "e", Stream.LOGGING: "l", Stream.EXECUTION: "x"}
_LEVELS = {Level.DEBUG: "d", Level.INFO: "i", Level.WARNING: "w", Level.ERROR: "e"}
_STREAM_OF = {letter: stream for stream, letter in _STREAMS.items()}
_LEVEL_OF = {letter: level for level, letter in _LEVELS.items()}
_MARKS = {(stream, level): f"\t{a}{b}\t" for stream, a in _STREAMS.items() for level, b in _LEVELS.items()}
_BREAK = re.compile(r"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Chunk:
    """An encoded chunk as `qd.write_log` takes it. `levels` counts its debug, info, warning and error lines."""

    lines: int
    time_min: dt.datetime
    time_max: dt.datetime
    levels: tuple[int, int, int, int]
    body: str


def split_text(text: str) -> list[str]:
    """A text as the lines that a log can hold, at least one.

    Splits at line breaks (the last one ends a line, it begins none), removes NUL, replaces what UTF-8 can't hold, and
    cuts a line of more than `LINE_BYTES` bytes into several.
    """
    if "\n" in text or "\r" in text:
        lines = _BREAK.split(text)
        if not lines[-1]:
            lines.pop()
    else:
        lines = [text]
    return [piece for line in lines for piece in _clean(line)]


def _clean(line: str) -> list[str]:
    if "\0" in line:
        line = line.replace("\0", "")
    if line.isascii():
        if len(line) <= LINE_BYTES:
            return [line]
        return [line[start : start + LINE_BYTES] for start in range(0, len(line), LINE_BYTES)]
    data = line.encode("utf-8", "replace")
    if len(data) <= LINE_BYTES:
        return [data.decode()]
    pieces = []
    start = 0
    while start < len(data):
        end = min(start + LINE_BYTES, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:  # never inside a character
            end -= 1
        pieces.append(data[start:end].decode())
        start = end
    return pieces


def encode_lines(lines: Sequence[Line]) -> Chunk:
    """Encode 1 to `CHUNK_LINES` lines as one chunk, in order of time (lines of one time keep their order).

    Raises:
        ValueError: no line, too many, or a text with a line break or NUL (it did not go through `split_text`).
    """
    if not 0 < len(lines) <= CHUNK_LINES:
        raise ValueError(f"a chunk holds 1 to {CHUNK_LINES} lines, not {len(lines)}")
    if any(later[0] < earlier[0] for earlier, later in itertools.pairwise(lines)):
        lines = sorted(lines, key=lambda line: line[0])
    body = "\n".join([f"{micros}{_MARKS[stream, level]}{text}" for micros, stream, level, text in lines])
    if body.count("\n") != len(lines) - 1 or "\0" in body:
        raise ValueError("a line's text contains a line break or NUL: split it by split_text first")
    counts = dict.fromkeys(_LEVELS, 0)
    for line in lines:
        counts[line[2]] += 1
    debug, info, warning, error = counts.values()
    return Chunk(
        lines=len(lines),
        time_min=time_of(lines[0][0]),
        time_max=time_of(lines[-1][0]),
        levels=(debug, info, warning, error),
        body=body,
    )


def into_chunks(lines: Iterable[Line]) -> Iterator[tuple[int, Chunk]]:
    """Encode any number of lines as chunks of `CHUNK_LINES` lines and about 1 MB at most: (first index, chunk)."""
    first, size, part = 0, 0, list[Line]()
    for line in lines:
        part.append(line)
        size += len(line[3])
        if len(part) == CHUNK_LINES or size >= _CHUNK_BYTES:
            yield first, encode_lines(part)
            first, size, part = first + len(part), 0, []
    if part:
        yield first, encode_lines(part)


def decode_chunk(
    body: str,
    *,
    task_id: int | None = None,
    ordinal: int | None = None,
    first_line: int | None = None,
    chunk: int = 0,
) -> list[LogLine]:
    """The lines of a chunk's body. `first_line` is the number of its first line in the attempt (None: counted from 0).

    Raises:
        ValueError: the body is not a chunk's.
    """
    return [
        decode_line(text, offset, task_id=task_id, ordinal=ordinal, first_line=first_line or 0, chunk=chunk)
        for offset, text in enumerate(body.split("\n"))
    ]


def decode_line(
    text: str, offset: int, *, task_id: int | None, ordinal: int | None, first_line: int, chunk: int
) -> LogLine:
    try:
        micros, mark, rest = text.split("\t", 2)
        return LogLine(
            task_id=task_id,
            ordinal=ordinal,
            number=first_line + offset,
            time=time_of(int(micros)),
            stream=_STREAM_OF[mark[0]],
            level=_LEVEL_OF[mark[1]],
            text=rest,
            chunk=chunk,
            offset=offset,
        )
    except (ValueError, KeyError, IndexError):
        raise ValueError(f"line {offset} of chunk {chunk} is not a log line: {text[:80]!r}") from None


def time_of(micros: int) -> dt.datetime:
    """The time, in UTC, of microseconds since the epoch."""
    return EPOCH + dt.timedelta(microseconds=micros)


def micros_of(time: dt.datetime) -> int:
    """Microseconds since the epoch of an aware time, exactly."""
    return (time - EPOCH) // _MICROSECOND
