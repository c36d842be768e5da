"""A job's log as people read it: one unified log of all tasks, by position, followed, searched, saved (M6).

The order of the unified log is (time, chunk id, place in the chunk). Any position of it is found from what is known of
the chunks without their texts (`outline`), and only the lines that were asked for are fetched (`chunks`).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sqlalchemy as sa

from quarterdeck.ansi import plain
from quarterdeck.chunks import SETTLE, Chunks, Stored, in_order
from quarterdeck.export import replaced
from quarterdeck.finding import Finding, Wanted
from quarterdeck.job import Level, LogLine, Stream
from quarterdeck.lines import (
    CHUNK_LINES,
    LINE_BYTES,
    Chunk,
    Line,
    decode_chunk,
    encode_lines,
    into_chunks,
    micros_of,
    split_text,
    time_of,
)
from quarterdeck.outline import LEVELS, Cursor, Numbers

__all__ = [
    "CHUNK_LINES",
    "LINE_BYTES",
    "Chunk",
    "Cursor",
    "Finding",
    "Growth",
    "Line",
    "Log",
    "Saved",
    "Searched",
    "Tail",
    "decode_chunk",
    "encode_lines",
    "into_chunks",
    "line_text",
    "split_text",
]


@dataclass(frozen=True, slots=True)
class Searched:
    """A part of a search: the next lines that were found, in order, and the share (0 to 1) of the log looked at."""

    lines: tuple[LogLine, ...]
    share: float


class Saved(NamedTuple):
    """How far a file is: lines written, and the share (0 to 1) of the log looked at."""

    lines: int
    share: float


class Growth(NamedTuple):
    """What of a log there is: how many lines, how many of the first ones are as they were, and up to where it is known.

    The first `same` lines stand where they stood when the growth given to `Log.growth` was told.
    """

    total: int
    same: int
    known: int


class Log:
    """The log of one job. `task` is a task's ordinal, `level` the least severe level to show; None means all.

    Lines have positions, from 0 to `count()` - 1, in the log as narrowed by `task` and `level`; `page` gives the lines
    at any position, `position` tells a line's, `position_at` a time's. Positions are exact. A line that is written
    late, with an earlier time than others, moves those after it.

    Every call reads what the database holds now, under the rights of the signed-in person, and raises `Disconnected`
    when it can't be reached. Usable from several threads. Keep it while the log is looked at: it knows what it has
    seen.
    """

    def __init__(self, engine: sa.Engine, job_id: int) -> None:
        self.job_id = job_id
        self._chunks = Chunks(engine, job_id)

    def count(self, *, task: int | None = None, level: Level | None = None) -> int:
        """How many lines there are."""
        return self._chunks.outline(task, Wanted(task, level).severity).total

    def page(
        self, position: int, n: int = 200, *, task: int | None = None, level: Level | None = None
    ) -> list[LogLine]:
        """The lines from a position on, `n` at most: fewer, or none, only at the end."""
        outline = self._chunks.outline(task, Wanted(task, level).severity)
        first, last = max(position, 0), min(position + n, outline.total) - 1
        if last < first:
            return []
        rows, before = outline.holding(first, last)
        chunks = outline.chunks.taken(rows)
        return self._chunks.lines(chunks, outline.lines(first, last, before, self._chunks.marked(chunks)))

    def position(self, line: LogLine | Cursor, *, task: int | None = None, level: Level | None = None) -> int:
        """How many lines stand before a line: its position, if it is one of those asked for."""
        return self._place(Cursor.of(line) if isinstance(line, LogLine) else line, task, level)[0]

    def position_at(self, moment: dt.datetime, *, task: int | None = None, level: Level | None = None) -> int:
        """How many lines were written before a time: the position of the first one from then on."""
        return self._place(Cursor(micros_of(moment), -1, -1), task, level)[0]

    def _place(self, cursor: Cursor, task: int | None, level: Level | None) -> tuple[int, bool]:
        outline = self._chunks.outline(task, Wanted(task, level).severity)
        rows, before = outline.at(cursor.micros)
        if not len(rows):
            return before, False
        return outline.number(cursor, before, rows, self._chunks.marked(outline.chunks.taken(rows)))

    def newest(self, n: int = 200, *, task: int | None = None, level: Level | None = None) -> list[LogLine]:
        """The last `n` lines, oldest of them first."""
        total = self.count(task=task, level=level)
        return self.page(max(total - n, 0), n, task=task, level=level)

    def before(
        self, cursor: Cursor, n: int = 200, *, task: int | None = None, level: Level | None = None
    ) -> list[LogLine]:
        """The `n` lines before a place, oldest of them first."""
        position, _ = self._place(cursor, task, level)
        return self.page(max(position - n, 0), min(n, position), task=task, level=level)

    def after(
        self, cursor: Cursor | None, n: int = 200, *, task: int | None = None, level: Level | None = None
    ) -> list[LogLine]:
        """The `n` lines after a place (None: from the first line on)."""
        if cursor is None:
            return self.page(0, n, task=task, level=level)
        position, there = self._place(cursor, task, level)
        return self.page(position + there, n, task=task, level=level)

    def near(
        self, position: int, n: int = 200, *, task: int | None = None, level: Level | None = None
    ) -> list[LogLine]:
        """The lines from a position on; the last `n` if there are none."""
        return self.page(position, n, task=task, level=level) or self.newest(n, task=task, level=level)

    def at(
        self, moment: dt.datetime, n: int = 200, *, task: int | None = None, level: Level | None = None
    ) -> list[LogLine]:
        """The `n` lines from a time on."""
        return self.after(Cursor(micros_of(moment), -1, -1), n, task=task, level=level)

    def growth(self, since: Growth | None = None, *, task: int | None = None, level: Level | None = None) -> Growth:
        """How many lines there are now, and which of them stand where they stood at an earlier call, as narrowed."""
        outline, known, low = self._chunks.grown(since.known if since else 0, task, Wanted(task, level).severity)
        total = outline.total
        if since is None:
            return Growth(total, 0, known)
        if low is None or total == since.total:  # lines are only ever added
            return Growth(total, total, known)
        return Growth(total, min(self._place(Cursor(low, -1, -1), task, level)[0], since.total), known)

    def span(self) -> tuple[dt.datetime, dt.datetime] | None:
        """The times of the first and the last line of all; None if there is none."""
        chunks = self._chunks.outline().chunks
        return (time_of(int(chunks.low.min())), time_of(int(chunks.high.max()))) if len(chunks.id) else None

    def exists(self) -> bool:
        """Whether the job is (still) there, for the signed-in person."""
        return self._chunks.exists()

    def first_error(self, *, task: int | None = None) -> LogLine | None:
        """The first line of level error over all tasks, or one task."""
        return next(iter(self.page(0, 1, task=task, level=Level.ERROR)), None)

    def search(
        self,
        text: str,
        n: int = 1000,
        *,
        task: int | None = None,
        level: Level | None = None,
        case: bool = False,
        regular: bool = False,
        after: Cursor | None = None,
        before: Cursor | None = None,
    ) -> list[LogLine]:
        """The first `n` lines that contain a text, over the whole log (after a place: the next ones).

        With `before`, the last `n` such lines before that place. Upper and lower case are the same unless `case`.
        `regular`: the text is a regular expression as PostgreSQL has them.
        """
        found = self.hits(text, task=task, level=level, case=case, regular=regular, after=after, before=before)
        return list(islice(found, n))

    def hits(
        self,
        text: str,
        *,
        task: int | None = None,
        level: Level | None = None,
        case: bool = False,
        regular: bool = False,
        after: Cursor | None = None,
        before: Cursor | None = None,
    ) -> Iterator[LogLine]:
        """The same one by one, as they are found, so that the first one is there early; with `before`, backward.

        Raises:
            Invalid: there is no text to search for, or it is no regular expression.
        """
        for part in self.searching(
            text, task=task, level=level, case=case, regular=regular, after=after, before=before
        ):
            yield from part.lines

    def searching(
        self,
        text: str,
        *,
        task: int | None = None,
        level: Level | None = None,
        case: bool = False,
        regular: bool = False,
        after: Cursor | None = None,
        before: Cursor | None = None,
    ) -> Iterator[Searched]:
        """The same in parts, with how much of the log has been searched, until all of it has: for a running count.

        `before` and `after` may both be given to search between them, forward. Ends at once when closed.

        Raises:
            Invalid: there is no text to search for, or it is no regular expression.
        """
        wanted = Wanted(task, level, text, case, regular)
        if not wanted.possible:
            return iter(())
        backward = before is not None and after is None
        return self._scan(wanted, after, before, backward=backward)

    def finding(
        self,
        text: str,
        *,
        task: int | None = None,
        level: Level | None = None,
        case: bool = False,
        regular: bool = False,
    ) -> Finding:
        """All places of a text, counted and in order, without the lines: see `Finding`."""
        return Finding(self._chunks, Wanted(task, level, text, case, regular))

    def lines(self, *, task: int | None = None, level: Level | None = None) -> Iterator[LogLine]:
        """All lines in order, fetched as they are taken."""
        for part in self._scan(Wanted(task, level), None, None, backward=False):
            yield from part.lines

    def tail(self, *, task: int | None = None, level: Level | None = None) -> Tail:
        """Follow the log from now on: see `Tail`."""
        return Tail(self._chunks, self.job_id, task, level)

    def save(
        self,
        path: str | Path,
        *,
        task: int | None = None,
        level: Level | None = None,
        text: str = "",
        case: bool = False,
        regular: bool = False,
    ) -> int:
        """Write the log to a text file: all of it, or as narrowed, or only the lines with a text; how many lines.

        Each line is written as `line_text` does, without terminals' escape sequences. The file appears whole or not at
        all.

        Raises:
            Invalid: the file can't be written, or the text is no regular expression.
        """
        count = 0
        for saved in self.saving(path, task=task, level=level, text=text, case=case, regular=regular):
            count = saved.lines
        return count

    def saving(
        self,
        path: str | Path,
        *,
        task: int | None = None,
        level: Level | None = None,
        text: str = "",
        case: bool = False,
        regular: bool = False,
    ) -> Iterator[Saved]:
        """The same in parts, with how far it is; the file is there after the last one. Leaves nothing when closed."""
        wanted = Wanted(task, level, text, case, regular)
        count = 0
        with replaced(Path(path)) as part, part.open("w", encoding="utf-8", newline="\n") as file:
            if text and not wanted.possible:
                return
            for found in self._scan(wanted, None, None, backward=False):
                file.write("".join([f"{line_text(line, raw=False)}\n" for line in found.lines]))
                count += len(found.lines)
                yield Saved(count, found.share)

    def _scan(
        self, wanted: Wanted, after: Cursor | None, before: Cursor | None, *, backward: bool
    ) -> Iterator[Searched]:
        """The wanted lines between two places in order, one way or the other.

        Chunks come in the order of the end that is met first. What is still unread lies beyond the last chunk's end,
        so that lines up to there are final; the others wait.
        """
        outline = self._chunks.outline(wanted.task, wanted.severity)
        order = in_order(outline, backward=backward)
        if after is not None:
            order = order[outline.chunks.high[order] >= after.micros]
        if before is not None:
            order = order[outline.chunks.low[order] <= before.micros]
        ids = outline.chunks.id[order]
        if wanted.text:
            order = order[np.isin(ids, self._chunks.likely(ids, wanted.condition()))]
            ids = outline.chunks.id[order]
        sign = -1 if backward else 1
        ends = sign * (outline.chunks.high if backward else outline.chunks.low)[order]
        read: Callable[[Sequence[int]], list[tuple[Stored, list[int]]]] = self._chunks.whole
        if wanted.text:
            read = partial(self._chunks.matching, condition=wanted.condition())
        least, most = (2, 256) if wanted.text else (32, 64)
        picked = _picker(wanted, after, before)
        merge = _Merge(sign)
        for looked, batch in self._chunks.streamed(ids, read, most, least):
            for chunk, places in batch:
                merge.add(chunk, *picked(chunk, places))
            everything = looked == len(ids)
            final = None if everything else (int(ends[looked - 1]), sign * int(ids[looked - 1]))
            yield Searched(tuple(merge.taken(final)), looked / len(ids))


class _Merge:
    """Puts lines of many chunks in order; `sign` is -1 for the way back."""

    def __init__(self, sign: int) -> None:
        self._sign = sign
        self._fresh: list[Numbers] = []
        self._keys: Numbers = np.empty((0, 3), np.int64)
        self._texts: dict[int, tuple[Stored, dict[int, str]]] = {}

    def add(self, chunk: Stored, micros: list[int], texts: dict[int, str]) -> None:
        """Lines of a chunk: their times, and their texts by their places."""
        if micros:
            keys = np.empty((len(micros), 3), np.int64)
            keys[:, 0], keys[:, 1], keys[:, 2] = micros, chunk.id, list(texts)
            self._fresh.append(self._sign * keys)
            self._texts[chunk.id] = (chunk, texts)

    def taken(self, final: tuple[int, int] | None) -> Iterator[LogLine]:
        """Those up to a time and a chunk's id (None: all), in order; they go from here."""
        keys = np.concatenate([self._keys, *self._fresh])
        self._fresh = []
        if final is None:
            ready = np.ones(len(keys), np.bool_)
        else:
            ready = (keys[:, 0] < final[0]) | ((keys[:, 0] == final[0]) & (keys[:, 1] <= final[1]))
        self._keys, keys = keys[~ready], keys[ready]
        keys = self._sign * keys[np.lexsort((keys[:, 2], keys[:, 1], keys[:, 0]))]
        for _, number, place in keys.tolist():
            chunk, texts = self._texts[number]
            yield chunk.line(texts.pop(place), place)
            if not texts:
                del self._texts[number]


class Tail:
    """Follows a log: each `poll()` gives the lines that came since, in order among themselves.

    A chunk may be committed after one with a later id or time; none is missed: what is younger than a minute is
    looked over again at each poll, and known chunks are passed over.
    """

    def __init__(self, chunks: Chunks, job_id: int, task: int | None, level: Level | None) -> None:
        self._chunks = chunks
        self._job = job_id
        self._wanted = Wanted(task, level)
        self._known: set[int] = set()
        self._floor = 0
        self._marks: list[tuple[float, int]] = []
        self._new_chunks()

    def poll(self) -> list[LogLine]:
        """The lines that came since the last call."""
        ids = self._new_chunks()
        picked = _picker(self._wanted, None, None)
        found: list[LogLine] = []
        for start in range(0, len(ids), 64):
            for chunk, places in self._chunks.whole(ids[start : start + 64]):
                if self._wanted.task is None or chunk.ordinal == self._wanted.task:
                    found += [chunk.line(text, place) for place, text in picked(chunk, places)[1].items()]
        found.sort(key=Cursor.of)
        return found

    def _new_chunks(self) -> list[int]:
        with self._chunks.connection() as connection:
            ids = set(
                connection.execute(
                    sa.text("select c.id from qd.log_chunk as c where c.job_id = :job and c.id > :floor"),
                    {"job": self._job, "floor": self._floor},
                ).scalars()
            )
        new = sorted(ids - self._known)
        self._known |= ids
        now = time.monotonic()
        self._marks.append((now, max(self._known, default=0)))
        # ids are given in order: what lies below an id seen a minute ago will not come any more
        while self._marks and self._marks[0][0] < now - SETTLE:
            self._floor = max(self._floor, self._marks.pop(0)[1])
        self._known = {one for one in self._known if one > self._floor}
        return new


def line_text(line: LogLine, *, task: bool = True, raw: bool = True) -> str:
    """A line as a file or a terminal shows it: time (UTC), task, stream, level, text.

    Without `raw`, terminals' escape sequences are left out of the text.
    """
    at = line.time.astimezone(dt.UTC).isoformat(" ", "milliseconds")[:23]
    who = "" if not task else f"[{'job' if line.ordinal is None else f'task {line.ordinal}'}] "
    mark = f"{line.level.value.upper():7} " if line.level is not Level.INFO else ""
    name = "" if line.stream in (Stream.STDOUT, Stream.LOGGING) else f"{line.stream.value}: "
    return f"{at} {who}{mark}{name}{line.text if raw else plain(line.text)}"


def _picker(
    wanted: Wanted, after: Cursor | None, before: Cursor | None
) -> Callable[[Stored, list[int]], tuple[list[int], dict[int, str]]]:
    """What picks the wanted lines out of lines of a chunk and their places in it: times, and texts by place."""
    letters = LEVELS[wanted.severity :]
    everything = len(letters) == len(LEVELS) and after is None and before is None

    def picked(chunk: Stored, places: list[int]) -> tuple[list[int], dict[int, str]]:
        lines = chunk.body.split("\n")
        if everything:
            return [int(text[: text.find("\t")]) for text in lines], dict(zip(places, lines, strict=True))
        micros = []
        texts = {}
        for offset, text in zip(places, lines, strict=True):
            tab = text.find("\t")
            if text[tab + 2 : tab + 3] not in letters:
                continue
            key = Cursor(int(text[:tab]), chunk.id, offset)
            if (after is not None and key <= after) or (before is not None and key >= before):
                continue
            micros.append(key.micros)
            texts[offset] = text
        return micros, texts

    return picked
