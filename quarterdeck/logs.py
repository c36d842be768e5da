"""A job's log as people read it: one unified log of all tasks, in pages, followed, searched, saved (M6).

The order of the unified log is (time, chunk id, place in the chunk). All work is by chunk: the database picks and
orders chunks, and only those that the asked lines need are fetched.
"""

from __future__ import annotations

import datetime as dt
import heapq
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa

from quarterdeck.database import translated
from quarterdeck.errors import Invalid
from quarterdeck.export import replaced
from quarterdeck.job import Level, LogLine, Stream
from quarterdeck.lines import (
    CHUNK_LINES,
    LINE_BYTES,
    Chunk,
    Line,
    decode_chunk,
    decode_line,
    encode_lines,
    into_chunks,
    micros_of,
    split_text,
    time_of,
)

__all__ = [
    "CHUNK_LINES",
    "LINE_BYTES",
    "Chunk",
    "Cursor",
    "Line",
    "Log",
    "Tail",
    "decode_chunk",
    "encode_lines",
    "into_chunks",
    "line_text",
    "split_text",
]

_SEVERITY = {Level.DEBUG: 0, Level.INFO: 1, Level.WARNING: 2, Level.ERROR: 3}
_LETTERS = "diwe"
_SETTLE = 60.0
"""Seconds after which a chunk's transaction has surely been committed, or was rolled back."""


def _of(job_id: int, task: int | None, **values: Any) -> tuple[str, dict[str, Any]]:
    """The condition that picks a job's chunks, or one task's, with its values and others."""
    if task is None:
        return "c.job_id = :job", {"job": job_id, **values}
    chosen = (
        "c.job_id = :job and c.task_id = (select t.id from qd.task as t where t.job_id = :job and t.ordinal = :task)"
    )
    return chosen, {"job": job_id, "task": task, **values}


class Cursor(NamedTuple):
    """A line's place in the unified log."""

    micros: int
    chunk: int
    offset: int

    @classmethod
    def of(cls, line: LogLine) -> Cursor:
        """The place of a line."""
        return cls(micros_of(line.time), line.chunk, line.offset)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which lines: of the task of this ordinal, of this level or a worse one, with this text."""

    task: int | None = None
    level: Level | None = None
    text: str = ""
    case: bool = False

    @property
    def letters(self) -> str:
        return _LETTERS[0 if self.level is None else _SEVERITY[self.level] :]

    @property
    def narrow(self) -> bool:
        """May whole chunks be passed over?"""
        return bool(self.text) or self.level not in (None, Level.DEBUG)

    def finder(self) -> Callable[[str], object] | None:
        if not self.text:
            return None
        if self.case:
            wanted = self.text
            return lambda text: wanted in text
        return re.compile(re.escape(self.text), re.IGNORECASE).search


class _Stored(NamedTuple):
    """A chunk as read; `body` is None where nothing in it is wanted."""

    id: int
    task_id: int | None
    ordinal: int | None
    first_line: int
    micros: int
    body: str | None


class Log:
    """The log of one job. `task` is a task's ordinal, `level` the least severe level to show; None means all.

    Every call reads what the database holds now, under the rights of the signed-in person, and raises `Disconnected`
    when it can't be reached. Usable from several threads.
    """

    def __init__(self, engine: sa.Engine, job_id: int) -> None:
        self._engine = engine
        self.job_id = job_id

    def newest(self, n: int = 200, *, task: int | None = None, level: Level | None = None) -> list[LogLine]:
        """The last `n` lines, oldest of them first."""
        return list(islice(self._backward(_Wanted(task, level), None), n))[::-1]

    def before(
        self, cursor: Cursor, n: int = 200, *, task: int | None = None, level: Level | None = None
    ) -> list[LogLine]:
        """The `n` lines before a place, oldest of them first."""
        return list(islice(self._backward(_Wanted(task, level), cursor), n))[::-1]

    def after(
        self, cursor: Cursor | None, n: int = 200, *, task: int | None = None, level: Level | None = None
    ) -> list[LogLine]:
        """The `n` lines after a place (None: from the first line on)."""
        return list(islice(self._forward(_Wanted(task, level), cursor), n))

    def near(
        self, position: int, n: int = 200, *, task: int | None = None, level: Level | None = None
    ) -> list[LogLine]:
        """About the lines from `position` of `count()` on: what a scroll bar asks for, exact to a chunk."""
        chosen, values = _of(self.job_id, task, position=max(position, 0))
        with self._connection() as connection:
            found = connection.execute(
                sa.text(
                    "select micros from (select (extract(epoch from c.time_min) * 1000000)::bigint as micros,"
                    " c.time_min, c.id, sum(c.lines) over (order by c.time_min, c.id) as total"
                    f" from qd.log_chunk as c where {chosen}) as x"
                    " where total > :position order by time_min, id limit 1"
                ),
                values,
            ).scalar()
        if found is None:
            return self.newest(n, task=task, level=level)
        return self.after(Cursor(found, -1, -1), n, task=task, level=level)

    def at(
        self, moment: dt.datetime, n: int = 200, *, task: int | None = None, level: Level | None = None
    ) -> list[LogLine]:
        """The `n` lines from a time on."""
        return self.after(Cursor(micros_of(moment), -1, -1), n, task=task, level=level)

    def first_error(self, *, task: int | None = None) -> LogLine | None:
        """The first line of level error over all tasks, or one task."""
        return next(self._forward(_Wanted(task, Level.ERROR), None), None)

    def search(
        self,
        text: str,
        n: int = 1000,
        *,
        task: int | None = None,
        level: Level | None = None,
        case: bool = False,
        after: Cursor | None = None,
        before: Cursor | None = None,
    ) -> list[LogLine]:
        """The first `n` lines that contain a text, over the whole log (after a place: the next ones).

        With `before`, the last `n` such lines before that place. Upper and lower case are the same unless `case`.
        """
        return list(islice(self.hits(text, task=task, level=level, case=case, after=after, before=before), n))

    def hits(
        self,
        text: str,
        *,
        task: int | None = None,
        level: Level | None = None,
        case: bool = False,
        after: Cursor | None = None,
        before: Cursor | None = None,
    ) -> Iterator[LogLine]:
        """The same one by one, as they are found, so that the first one is there early; with `before`, backward.

        Raises:
            Invalid: there is no text to search for.
        """
        if not text:
            raise Invalid("give a text to search the log for", field="text")
        wanted = _Wanted(task, level, text, case)
        if "\n" in text or "\0" in text:
            return iter(())
        return self._forward(wanted, after) if before is None else self._backward(wanted, before)

    def count(self, *, task: int | None = None, level: Level | None = None) -> int:
        """How many lines there are."""
        first = 1 if level is None else 1 + _SEVERITY[level]
        lines = "c.lines" if level is None else " + ".join(f"c.levels[{place}]" for place in range(first, 5))
        chosen, values = _of(self.job_id, task)
        statement = sa.text(f"select coalesce(sum({lines}), 0) from qd.log_chunk as c where {chosen}")
        with self._connection() as connection:
            return int(connection.execute(statement, values).scalar_one())

    def lines(self, *, task: int | None = None, level: Level | None = None) -> Iterator[LogLine]:
        """All lines in order, fetched as they are taken."""
        return self._forward(_Wanted(task, level), None)

    def tail(self, *, task: int | None = None, level: Level | None = None) -> Tail:
        """Follow the log from now on: see `Tail`."""
        return Tail(self, task, level)

    def save(self, path: str | Path, *, task: int | None = None, level: Level | None = None) -> int:
        """Write the log (all of it, or as narrowed) to a text file, as `line_text` writes each line; how many lines.

        The file appears whole or not at all.

        Raises:
            Invalid: the file can't be written.
        """
        count = 0
        with replaced(Path(path)) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            for line in self.lines(task=task, level=level):
                file.write(line_text(line))
                file.write("\n")
                count += 1
        return count

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        with translated(), self._engine.connect() as connection:
            yield connection

    def _backward(self, wanted: _Wanted, before: Cursor | None) -> Iterator[LogLine]:
        return self._merged(wanted, before, backward=True)

    def _forward(self, wanted: _Wanted, after: Cursor | None) -> Iterator[LogLine]:
        return self._merged(wanted, after, backward=False)

    def _merged(self, wanted: _Wanted, cursor: Cursor | None, *, backward: bool) -> Iterator[LogLine]:
        """The wanted lines in order from a place on, one way or the other.

        Chunks come in the order of the end that is met first. What is still unread lies beyond the last chunk's end,
        so that lines up to there are final; the others wait in a heap.
        """
        sign = -1 if backward else 1
        limit = 16
        most = 1024 if wanted.narrow else 128
        beyond: tuple[int, int] | None = None
        finder = wanted.finder()
        waiting: list[tuple[tuple[int, int, int], str, _Stored]] = []
        while True:
            chunks = self._chunks(wanted, cursor, beyond, limit, backward)
            for chunk in chunks:
                if chunk.body is not None:
                    for at, text in _picked(chunk, chunk.body, wanted.letters, finder, cursor, backward):
                        waiting.append(((sign * at.micros, sign * at.chunk, sign * at.offset), text, chunk))
            heapq.heapify(waiting)
            last = len(chunks) < limit
            if not last:
                beyond = (chunks[-1].micros, chunks[-1].id)
                final = (sign * beyond[0], sign * beyond[1])
            while waiting and (last or waiting[0][0][:2] <= final):
                key, text, chunk = heapq.heappop(waiting)
                yield _as_line(text, sign * key[2], chunk)
            if last:
                return
            limit = min(limit * 2, most)

    def _chunks(
        self, wanted: _Wanted, cursor: Cursor | None, beyond: tuple[int, int] | None, limit: int, backward: bool
    ) -> list[_Stored]:
        end, way, cut = ("time_max", "desc", "<") if backward else ("time_min", "asc", ">")
        chosen, values = _of(self.job_id, wanted.task, limit=limit)
        conditions = [chosen]
        if cursor is not None:
            conditions.append("c.time_min <= :at" if backward else "c.time_max >= :at")
            values["at"] = time_of(cursor.micros)
        if beyond is not None:
            conditions.append(f"(c.{end}, c.id) {cut} (:end, :last)")
            values |= {"end": time_of(beyond[0]), "last": beyond[1]}
        keep = ["true"]
        if wanted.level is not None and wanted.level is not Level.DEBUG:
            first = 1 + _SEVERITY[wanted.level]
            keep.append(" + ".join(f"c.levels[{place}]" for place in range(first, 5)) + " > 0")
        if wanted.text:
            if wanted.case:
                keep.append("strpos(c.body, :text) > 0")
                values["text"] = wanted.text
            else:
                keep.append("c.body ilike :text escape '!'")
                values["text"] = "%" + re.sub(r"([!%_])", r"!\1", wanted.text) + "%"
        statement = sa.text(
            "select c.id, c.task_id, t.ordinal, c.first_line,"
            f" (extract(epoch from p.{end}) * 1000000)::bigint as micros,"
            f" case when {' and '.join(keep)} then c.body end as body"
            f" from (select c.id, c.{end} from qd.log_chunk as c where {' and '.join(conditions)}"
            f" order by c.{end} {way}, c.id {way} limit :limit) as p"
            " join qd.log_chunk as c on c.id = p.id left join qd.task as t on t.id = c.task_id"
            f" order by p.{end} {way}, c.id {way}"
        )
        with self._connection() as connection:
            rows = connection.execute(statement, values).all()
        return [_Stored(row[0], row[1], row[2], row[3] or 0, row[4], row[5]) for row in rows]


class Tail:
    """Follows a log: each `poll()` gives the lines that came since, in order among themselves.

    A chunk may be committed after one with a later id or time; none is missed: what is younger than a minute is
    looked over again at each poll, and known chunks are passed over.
    """

    def __init__(self, log: Log, task: int | None, level: Level | None) -> None:
        self._log = log
        self._wanted = _Wanted(task, level)
        self._known: set[int] = set()
        self._floor = 0
        self._marks: list[tuple[float, int]] = []
        self._new_chunks()

    def poll(self) -> list[LogLine]:
        """The lines that came since the last call."""
        ids = self._new_chunks()
        found: list[LogLine] = []
        for start in range(0, len(ids), 64):
            found.extend(self._read(ids[start : start + 64]))
        found.sort(key=Cursor.of)
        return found

    def _read(self, ids: list[int]) -> Iterator[LogLine]:
        with self._log._connection() as connection:
            rows = connection.execute(
                sa.text(
                    "select c.id, c.task_id, t.ordinal, c.first_line, 0, c.body from qd.log_chunk as c"
                    " left join qd.task as t on t.id = c.task_id where c.id = any(:ids)"
                ),
                {"ids": ids},
            ).all()
        for row in rows:
            chunk = _Stored(row[0], row[1], row[2], row[3] or 0, row[4], row[5])
            if self._wanted.task is None or chunk.ordinal == self._wanted.task:
                for key, text in _picked(chunk, row[5], self._wanted.letters, None, None, False):
                    yield _as_line(text, key[2], chunk)

    def _new_chunks(self) -> list[int]:
        with self._log._connection() as connection:
            ids = set(
                connection.execute(
                    sa.text("select c.id from qd.log_chunk as c where c.job_id = :job and c.id > :floor"),
                    {"job": self._log.job_id, "floor": self._floor},
                ).scalars()
            )
        new = sorted(ids - self._known)
        self._known |= ids
        now = time.monotonic()
        self._marks.append((now, max(self._known, default=0)))
        # ids are given in order: what lies below an id seen a minute ago will not come any more
        while self._marks and self._marks[0][0] < now - _SETTLE:
            self._floor = max(self._floor, self._marks.pop(0)[1])
        self._known = {one for one in self._known if one > self._floor}
        return new


def line_text(line: LogLine, *, task: bool = True) -> str:
    """A line as a file or a terminal shows it: time (UTC), task, stream, level, text."""
    at = line.time.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    who = "" if not task else f"[{'job' if line.ordinal is None else f'task {line.ordinal}'}] "
    mark = f"{line.level.value.upper():7} " if line.level is not Level.INFO else ""
    name = "" if line.stream in (Stream.STDOUT, Stream.LOGGING) else f"{line.stream.value}: "
    return f"{at} {who}{mark}{name}{line.text}"


def _picked(
    chunk: _Stored,
    body: str,
    letters: str,
    finder: Callable[[str], object] | None,
    cursor: Cursor | None,
    backward: bool,
) -> Iterator[tuple[Cursor, str]]:
    everything = len(letters) == len(_LETTERS)
    for offset, text in enumerate(body.split("\n")):
        tab = text.find("\t")
        if not everything and text[tab + 2 : tab + 3] not in letters:
            continue
        if finder is not None and not finder(text[tab + 4 :]):
            continue
        key = Cursor(int(text[:tab]), chunk.id, offset)
        if cursor is not None and (key >= cursor if backward else key <= cursor):
            continue
        yield key, text


def _as_line(text: str, offset: int, chunk: _Stored) -> LogLine:
    return decode_line(
        text, offset, task_id=chunk.task_id, ordinal=chunk.ordinal, first_line=chunk.first_line, chunk=chunk.id
    )
