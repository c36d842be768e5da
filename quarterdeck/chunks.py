"""A log's chunks in the database: what is known of them, lines of them, searches through them (for `logs`)."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import psycopg
import sqlalchemy as sa

from quarterdeck.database import reading
from quarterdeck.job import LogLine
from quarterdeck.lines import decode_line
from quarterdeck.outline import Bounds, Marked, Numbers, Outline, Places, marks_of, unmarked

__all__ = ["SETTLE", "Chunks", "Condition", "Stored"]

_T = TypeVar("_T")

SETTLE = 60.0
"""Seconds after which a chunk's transaction has surely been committed, or was rolled back."""

_MARKED = 8_192
"""Chunks whose marks are kept, 2 to 4 kB each."""
_MANY = 50_000
_EPOCH = 946_684_800_000_000
"""Microseconds from 1970 to 2000, where PostgreSQL's binary times begin."""

_FIELDS = ("id", "task", "low", "high", "debug", "info", "warning", "error")
_ROW = np.dtype(
    [("fields", ">i2")]
    + [pair for name in _FIELDS for pair in ((f"{name} size", ">i4"), (name, ">i8" if name in _FIELDS[:4] else ">i4"))]
)
_ID = np.dtype([("fields", ">i2"), ("size", ">i4"), ("id", ">i8")])
_FEW = 200
"""Chunks that are read at once rather than looked over first."""
_HEAD = 19
"""Bytes before the rows of PostgreSQL's binary COPY format; two more follow them."""


class Stored(NamedTuple):
    """A chunk with its text."""

    id: int
    task_id: int | None
    ordinal: int | None
    first_line: int
    body: str

    def line(self, text: str, offset: int) -> LogLine:
        """A line of the body as a value."""
        return decode_line(
            text, offset, task_id=self.task_id, ordinal=self.ordinal, first_line=self.first_line, chunk=self.id
        )


class Condition(NamedTuple):
    """What the database asks of texts `{0}`: of a line's, and of a body as a whole before it is taken apart.

    A body that holds such a line must let itself through, others may. Both are asked of the texts as `prepared` makes
    them of the stored ones. `bits`: those that the trigrams of such a body have.
    """

    line: str
    body: str
    values: dict[str, Any]
    prepared: str = "{0}"
    bits: Sequence[int] = ()


class Chunks:
    """The chunks of one job, under the rights of the signed-in person. Usable from several threads.

    What is known of them is kept, and only what came since is read again.
    """

    def __init__(self, engine: sa.Engine, job_id: int) -> None:
        self._engine = engine
        self._job = job_id
        self._lock = threading.Lock()
        self._bounds = Bounds.none()
        self._complete = False
        self._next = 0.0
        self._read: list[tuple[float, int]] = []
        self._outlines: dict[tuple[int | None, int], Outline] = {}
        self._added: list[tuple[int, int]] = []
        self._tasks: dict[int, int] = {}
        self._marks: dict[int, bytes] = {}

    def outline(self, task: int | None = None, level: int = 0) -> Outline:
        """The chunks there are now that hold lines of the task of this ordinal and of this level or a worse one."""
        return self.grown(0, task, level)[0]

    def grown(self, known: int, task: int | None = None, level: int = 0) -> tuple[Outline, int, int | None]:
        """The same, with how many chunks are known by now, whatever they hold, and with the time of the first line in
        those beyond the first `known` that came; None if there are none."""
        with self._lock:
            self._refresh()
            outline = self._outlines.get((task, level))
            if outline is None:
                number = None if task is None else self._task_id(task)
                outline = self._outlines[task, level] = Outline(self._bounds, number, level)
            low = min((low for count, low in self._added if count > known), default=None)
            return outline, len(self._bounds.id), low

    def _refresh(self) -> None:
        now = time.monotonic()
        if self._complete or now < self._next:
            return
        self._complete = self._ended_long_ago()
        if not self._complete and len(self._bounds.id) and self._stored_count() == len(self._bounds.id):
            self._rest(now)  # chunks are only ever added
            return
        # ids are given in order: below an id seen a minute ago no chunk will come any more
        settled = [last for at, last in self._read if at < now - SETTLE]
        floor = settled[-1] if settled else -1
        found = self._bounds_above(floor)
        new = ~np.isin(found.id, self._bounds.id)
        if new.any():
            self._bounds = self._bounds.joined(found.taken(new))
            self._outlines.clear()
            self._note(len(self._bounds.id), int(found.low[new].min()))
        if settled:
            self._read = [(0.0, floor), *((at, last) for at, last in self._read if at >= now - SETTLE)]
        last = int(self._bounds.id[-1]) if len(self._bounds.id) else 0
        if not self._read or self._read[-1][1] != last:
            self._read.append((now, last))
        self._rest(now)

    def _note(self, known: int, low: int) -> None:
        """Chunks came, of which the first line has that time. What came long ago is taken together."""
        self._added.append((known, low))
        if len(self._added) > 1000:
            (_, low), (known, other) = self._added[:2]
            self._added[:2] = [(known, min(low, other))]

    def exists(self) -> bool:
        """Whether the job is there, for the signed-in person."""
        with self.connection() as connection:
            query = sa.text("select exists (select from qd.job where id = :job)")
            return bool(connection.execute(query, {"job": self._job}).scalar_one())

    def _rest(self, began: float) -> None:
        """Where there are so many chunks that to look for new ones takes long, do it for a tenth of the time only."""
        now = time.monotonic()
        self._next = now + 10 * (now - began) if len(self._bounds.id) > _MANY else now

    def _ended_long_ago(self) -> bool:
        """Whether nothing will be written any more: all lines of a job are written before it ends."""
        with self.connection() as connection:
            query = sa.text(
                "select exists (select from qd.job where id = :job and ended < now() - make_interval(secs => :settle))"
            )
            return bool(connection.execute(query, {"job": self._job, "settle": SETTLE}).scalar_one())

    def _stored_count(self) -> int:
        with self.connection() as connection:
            query = sa.text("select count(*) from qd.log_chunk as c where c.job_id = :job")
            return int(connection.execute(query, {"job": self._job}).scalar_one())

    def _bounds_above(self, floor: int) -> Bounds:
        """By COPY in binary form: ten times as quick as rows, of which a long log has tens of thousands."""
        query = (
            "copy (select c.id, coalesce(c.task_id, 0), c.time_min, c.time_max, c.levels[1], c.levels[2], c.levels[3],"
            f" c.levels[4] from qd.log_chunk as c where c.job_id = {int(self._job)} and c.id > {int(floor)}"
            " order by c.id) to stdout (format binary)"
        )
        with self.driver() as cursor, cursor.copy(query.encode()) as copy:
            data = b"".join(bytes(part) for part in copy)
        rows = np.frombuffer(data, _ROW, count=(len(data) - _HEAD - 2) // _ROW.itemsize, offset=_HEAD)
        columns = [rows[name].astype(np.int64) for name in _FIELDS]
        return Bounds(
            columns[0], columns[1], columns[2] + _EPOCH, columns[3] + _EPOCH, np.stack(columns[4:], axis=1)
        )  # fmt: skip

    def _task_id(self, ordinal: int) -> int:
        """A task's id by its ordinal; one that no task has if there is none."""
        if ordinal not in self._tasks:
            with self.connection() as connection:
                rows = connection.execute(
                    sa.text("select ordinal, id from qd.task where job_id = :job"), {"job": self._job}
                ).all()
            self._tasks = {row.ordinal: row.id for row in rows}
        return self._tasks.get(ordinal, -1)

    def marked(self, chunks: Bounds) -> Marked:
        """All lines of some chunks, without their texts."""
        wanted = [number for number in chunks.id.tolist() if number not in self._marks]
        lows = dict(zip(chunks.id.tolist(), chunks.low.tolist(), strict=True))
        counts = chunks.counts.sum(axis=1)
        lines = dict(zip(chunks.id.tolist(), counts.tolist(), strict=True))
        fresh: dict[int, bytes] = {}
        if wanted:
            query = (
                "select c.id, c.marks, case when c.marks is null then c.body end from qd.log_chunk as c"
                " where c.id = any (%s)"
            )
            with self.driver() as cursor:
                for number, marks, body in cursor.execute(query, (wanted,)):
                    fresh[number] = unmarked(body, lows[number], lines[number], number) if marks is None else marks
        known = [self._marks.get(number) or fresh.get(number, b"") for number in lows]
        self._keep(fresh)
        # of a job that was deleted in between nothing is left
        counts = np.where([bool(one) for one in known], counts, 0)
        return marks_of(chunks.low, counts, known)

    def _keep(self, fresh: dict[int, bytes]) -> None:
        with self._lock:
            self._marks.update(fresh)
            for number in list(self._marks)[: max(0, len(self._marks) - _MARKED)]:
                del self._marks[number]

    def lines(self, chunks: Bounds, places: Places) -> list[LogLine]:
        """The values of lines, in the order given; only they are fetched."""
        ids = chunks.id[places.row].tolist()
        offsets = places.offset.tolist()
        spans: dict[int, tuple[int, int]] = {}
        for number, offset in zip(ids, offsets, strict=True):
            low, high = spans.get(number, (offset, offset))
            spans[number] = (min(low, offset), max(high, offset))
        query = sa.text(
            "select c.id, c.task_id, t.ordinal, c.first_line,"
            " array_to_string((string_to_array(c.body, E'\\n'))[s.low + 1 : s.high + 1], E'\\n') as body"
            " from unnest(cast(:ids as bigint[]), cast(:lows as int[]), cast(:highs as int[])) as s(id, low, high)"
            " join qd.log_chunk as c on c.id = s.id left join qd.task as t on t.id = c.task_id"
        )
        values = {
            "ids": list(spans),
            "lows": [low for low, _ in spans.values()],
            "highs": [high for _, high in spans.values()],
        }
        with self.connection() as connection:
            rows = connection.execute(query, values).all() if spans else []
        found = {row.id: (Stored(row.id, row.task_id, row.ordinal, row.first_line or 0, ""), row.body) for row in rows}
        texts = {number: body.split("\n") for number, (_, body) in found.items()}
        return [
            found[number][0].line(texts[number][offset - spans[number][0]], offset)
            for number, offset in zip(ids, offsets, strict=True)
            if number in found
        ]

    def stored(self, ids: Sequence[int]) -> list[Stored]:
        """Chunks with their texts, in the order of `ids`."""
        query = sa.text(
            "select c.id, c.task_id, t.ordinal, coalesce(c.first_line, 0) as first_line, c.body"
            " from qd.log_chunk as c left join qd.task as t on t.id = c.task_id"
            " where c.id = any (:ids)"
        )
        with self.connection() as connection:
            rows = connection.execute(query, {"ids": list(ids)}).all()
        found = {row.id: Stored(*row) for row in rows}
        return [found[number] for number in ids if number in found]

    def likely(self, ids: Numbers, condition: Condition) -> Numbers:
        """Those of some chunks, in their order, that can hold a matching line by their trigrams."""
        if not condition.bits or len(ids) < _FEW:
            return ids
        bits = " and ".join(f"get_bit(c.trigrams, {int(bit)}) = 1" for bit in condition.bits)
        query = (
            f"copy (select c.id from qd.log_chunk as c where c.job_id = {int(self._job)}"
            f" and (c.trigrams is null or {bits})) to stdout (format binary)"
        )
        with self.driver() as cursor, cursor.copy(query.encode()) as copy:
            data = b"".join(bytes(part) for part in copy)
        found = np.frombuffer(data, _ID, count=(len(data) - _HEAD - 2) // _ID.itemsize, offset=_HEAD)["id"]
        return ids[np.isin(ids, found.astype(np.int64))]

    def matching(self, ids: Sequence[int], condition: Condition) -> list[tuple[Stored, list[int]]]:
        """Of some chunks, the lines that a condition lets through, and their places in the chunk."""
        query = (
            "select f.id, f.task_id, t.ordinal, f.first_line, f.body, f.places from ("
            " select c.id, c.task_id, c.first_line, string_agg(c.lines[l.place], E'\\n' order by l.place) as body,"
            " array_agg(l.place - 1 order by l.place) as places"
            f" from {self._lines_of(condition)} group by c.id, c.task_id, c.first_line"
            ") as f left join qd.task as t on t.id = f.task_id"
        )
        with self.driver() as cursor:
            rows = cursor.execute(query.encode(), {"ids": list(ids), **condition.values}).fetchall()
        found = {row[0]: (Stored(*row[:5]), list(row[5])) for row in rows}
        return [found[number] for number in ids if number in found]

    def places(self, ids: Sequence[int], condition: Condition) -> list[tuple[int, bytes]]:
        """Of some chunks, those with lines that a condition lets through, and the places of these, an int2 each."""
        query = (
            "select c.id, string_agg(int2send((l.place - 1)::smallint), '')"
            f" from {self._lines_of(condition)} group by c.id"
        )
        with self.driver() as cursor:
            return list(cursor.execute(query.encode(), {"ids": list(ids), **condition.values}).fetchall())

    @staticmethod
    def _lines_of(condition: Condition) -> str:
        """Chunks `c` by their ids, and the lines `l` of each that the condition lets through."""
        body = condition.body.format("c.body")
        # most lines are turned away as they are; of the rest the text alone is looked at
        coarse, line = (
            condition.body.format("l.line"),
            condition.line.format("substr(l.line, strpos(l.line, E'\\t') + 4)"),
        )
        return (
            "(select b.id, b.task_id, coalesce(b.first_line, 0) as first_line,"
            " string_to_array(b.body, E'\\n') as lines,"
            f" {condition.prepared.format('b.body')} as body from qd.log_chunk as b"
            " where b.id = any (%(ids)s::bigint[]) offset 0) as c"  # so that a body is prepared once
            " cross join lateral unnest(string_to_array(c.body, E'\\n')) with ordinality as l(line, place)"
            f" where {body} and {coarse} and {line}"
        )

    def whole(self, ids: Sequence[int]) -> list[tuple[Stored, list[int]]]:
        """All lines of some chunks, with their places."""
        return [(chunk, list(range(chunk.body.count("\n") + 1))) for chunk in self.stored(ids)]

    def streamed(
        self, ids: Numbers, read: Callable[[Sequence[int]], list[_T]], most: int, least: int = 32
    ) -> Iterator[tuple[int, list[_T]]]:
        """What `read` gives for many chunks, in batches that grow from `least` to `most`, read two ahead.

        Gives with each batch how many of `ids` have been looked at.
        """
        cuts = [0]
        while cuts[-1] < len(ids):
            cuts.append(min(len(ids), cuts[-1] + min(least << (len(cuts) - 1), most)))
        if len(cuts) <= 2:
            for start, end in pairwise(cuts):
                yield end, read(ids[start:end].tolist())
            return
        with ThreadPoolExecutor(2, "quarterdeck log") as threads:
            ahead: deque[tuple[int, Future[list[_T]]]] = deque()
            try:
                for start, end in pairwise(cuts):
                    ahead.append((end, threads.submit(read, ids[start:end].tolist())))
                    if len(ahead) > 2:
                        done, first = ahead.popleft()
                        yield done, first.result()
                while ahead:
                    done, first = ahead.popleft()
                    yield done, first.result()
            finally:
                for _, left in ahead:
                    left.cancel()

    @contextmanager
    def connection(self) -> Iterator[sa.Connection]:
        with reading(self._engine) as connection:
            yield connection

    @contextmanager
    def driver(self) -> Iterator[psycopg.Cursor[Any]]:
        """A cursor of the driver itself, which takes and gives values in binary form."""
        with self.connection() as connection:
            driver = connection.connection.driver_connection
            if not isinstance(driver, psycopg.Connection):
                raise TypeError("the engine must be one of psycopg's")
            with driver.cursor(binary=True) as cursor:
                yield cursor


def in_order(outline: Outline, *, backward: bool) -> npt.NDArray[np.intp]:
    """The chunks by the end that is met first on the way through the log."""
    return outline.ends[::-1] if backward else outline.starts
