"""From what a task prints to chunks of its log: three pipes in, lines in order of time out."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable

from quarterdeck.agent.channel import Record, Spool
from quarterdeck.job import Level, Stream
from quarterdeck.lines import CHUNK_LINES, Line, into_chunks, split_text

__all__ = ["Log", "lines_of", "read_lines", "read_raw"]

_READ = 1 << 20
_SMALL = 1 << 14
_PAUSE = 0.004
_PARTIAL_LIMIT = 1 << 20
_LINE = re.compile(r"^(\d{1,18})\t([oelx])([diwe])\t(.*)$", re.MULTILINE)
_STREAMS = {"o": Stream.STDOUT, "e": Stream.STDERR, "l": Stream.LOGGING, "x": Stream.EXECUTION}
_LEVELS = {"d": Level.DEBUG, "i": Level.INFO, "w": Level.WARNING, "e": Level.ERROR}


class Log:
    """Lines of one attempt on their way into the spool. Each has a number, so that a chunk can be delivered twice."""

    def __init__(self, spool: Spool, *, first: int = 0) -> None:
        self._spool = spool
        self._lock = threading.Lock()
        self._lines: list[Line] = []
        self._first = first
        self._since = 0.0

    def add(self, lines: list[Line]) -> None:
        """Take lines; blocks while the spool is full, which holds the task up."""
        if not lines:
            return
        with self._lock:
            if not self._lines:
                self._since = time.monotonic()
                self._spool.wake()
            self._lines += lines
            if len(self._lines) < CHUNK_LINES:
                return
            taken = self._take()
        for record in taken:
            self._spool.put(record)

    def say(self, text: str, level: str = "info") -> None:
        """A line of execution information (several if it has line breaks). Never blocks."""
        now = time.time_ns() // 1000
        with self._lock:
            if not self._lines:
                self._since = time.monotonic()
            self._lines += [(now, Stream.EXECUTION, Level(level), part) for part in split_text(text)]
        self._spool.wake()

    def flush(self, *, age: float = 0.0) -> None:
        """Put waiting lines into the spool if they have waited for `age` seconds. Never blocks: they may wait on."""
        with self._lock:
            if not self._lines or time.monotonic() - self._since < age:
                return
            if not self._spool.room():
                return
            taken = self._take()
        for record in taken:
            self._spool.put(record, force=True)

    @property
    def waiting(self) -> bool:
        return bool(self._lines)

    def _take(self) -> list[Record]:
        lines, self._lines = self._lines, []
        lines.sort(key=_time)
        base = self._first
        self._first += len(lines)
        return [
            Record(
                "log",
                {
                    "first": base + offset,
                    "lines": chunk.lines,
                    "t0": chunk.time_min.isoformat(),
                    "t1": chunk.time_max.isoformat(),
                    "levels": list(chunk.levels),
                },
                chunk.body.encode(),
            )
            for offset, chunk in into_chunks(lines)
        ]


def _time(line: Line) -> int:
    return line[0]


def lines_of(text: str, now: int) -> list[Line]:
    """The lines that a task's process wrote itself, with its own times. What has another form is taken as output.

    `now`: microseconds since the epoch; a later time, or one of more than a day ago, is not believed.
    """
    found = _LINE.findall(text)
    if len(found) != text.count("\n"):
        return [_line(part, now) for part in text.split("\n")[:-1]]
    earliest = now - 86_400_000_000
    lines: list[Line] = []
    for time_text, stream, level, rest in found:
        micros = int(time_text)
        if not earliest <= micros <= now:
            micros = now
        if len(rest) > 16_000 or "\0" in rest or "\r" in rest:
            lines += [(micros, _STREAMS[stream], _LEVELS[level], part) for part in split_text(rest)]
        else:
            lines.append((micros, _STREAMS[stream], _LEVELS[level], rest))
    return lines


def _line(text: str, now: int) -> Line:
    match = _LINE.match(text)
    if match is None:
        return now, Stream.STDOUT, Level.INFO, split_text(text.replace("\r", " "))[0]
    micros = min(int(match[1]), now)
    return micros, _STREAMS[match[2]], _LEVELS[match[3]], split_text(match[4].replace("\r", " "))[0]


def read_lines(handle: int, add: Callable[[list[Line]], None]) -> None:
    """Read the pipe of a task's own lines to its end."""
    rest = b""
    while data := os.read(handle, _READ):
        if len(data) < _SMALL:
            # let more come together: a wake-up for each line would cost more than the line
            time.sleep(_PAUSE)
        data = rest + data
        end = data.rfind(b"\n") + 1
        if not end:
            rest = data
            if len(rest) > _PARTIAL_LIMIT:
                rest = b""
            continue
        rest = data[end:]
        add(lines_of(data[:end].decode("utf-8", "replace"), time.time_ns() // 1000))
    if rest:
        add(lines_of(rest.decode("utf-8", "replace") + "\n", time.time_ns() // 1000))


def read_raw(handle: int, stream: Stream, add: Callable[[list[Line]], None]) -> None:
    """Read a plain output pipe (C code, programs) to its end; a line has the time at which it arrived."""
    rest = b""
    while data := os.read(handle, _READ):
        now = time.time_ns() // 1000
        if len(data) < _SMALL:
            time.sleep(_PAUSE)
        data = rest + data
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end and end == len(data) and data.endswith(b"\r"):
            end -= 1  # its line feed may be still to come
        if not end and len(data) > 1 << 16:
            end = len(data)
        rest = data[end:]
        if end:
            add(_raw(data[:end], stream, now))
    if rest:
        add(_raw(rest, stream, time.time_ns() // 1000))


def _raw(data: bytes, stream: Stream, now: int) -> list[Line]:
    parts = split_text(data.decode("utf-8", "replace"))
    if b"\r" in data:
        parts = [part for part in parts if part]
    return [(now, stream, Level.INFO, part) for part in parts]
