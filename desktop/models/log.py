"""A job's log by position, however long it is: what is looked at is fetched, what is written is followed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from PySide6.QtCore import QObject, Signal

from desktop.bridge import Bridge
from desktop.models.log_blocks import Blocks
from desktop.models.log_text import Shown, clock_words, shown, since_words, times
from quarterdeck.client import Client
from quarterdeck.errors import QuarterdeckError
from quarterdeck.finding import Wanted
from quarterdeck.job import ENDED, Job, Level, LogLine, Task
from quarterdeck.lines import LINE_BYTES
from quarterdeck.logs import Cursor, Growth, Log, Saved, line_text

__all__ = ["LogModel", "Narrowed"]

T = TypeVar("T")

_PIECES = 64
"""Lines of 64 kB that are put together again to the one that was written."""


class Narrowed(NamedTuple):
    """What of the log is looked at: a task's lines (its ordinal), those of a level or a worse one; None: all."""

    task: int | None = None
    level: Level | None = None


class _Asked(NamedTuple):
    """What a look at the database is for: the lines at a place (None: none), by position or around a line; whether to
    look for new ones; where the lines that are held on to stand now."""

    narrowed: Narrowed
    before: Growth | None
    look: bool
    place: tuple[int, int] | None
    seen: tuple[int, int]
    at_end: bool
    near: Cursor | None
    held: dict[int, LogLine]


class _Read(NamedTuple):
    """What one look at the database gave."""

    growth: Growth
    first: int
    lines: list[Shown]
    days: bool
    moved: dict[int, int]
    inserted: bool
    arrived: int | None


class LogModel(QObject):
    """The lines by position; `total` is how many there are (None: not known yet).

    Signals:
        changed(): lines came, or became known, or `trouble` is another
        moved(object): lines that stood at positions (the keys) stand at others now (the values), as lines were written
            late, with earlier times
    """

    changed = Signal()
    moved = Signal(object)

    COPIED = 100_000
    """Lines that are copied at most."""

    def __init__(self, job: Job, client: Client, bridge: Bridge, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.job = job
        self.total: int | None = None
        self.narrowed = Narrowed()
        self.gone = False
        self.trouble = ""
        self.arrived: int | None = None
        self.at_end = True
        self.days = False
        self.task_width = 0
        self.held: Callable[[], Sequence[int]] = tuple
        self._names: dict[int, str] = {}
        self._client = client
        self._bridge = bridge
        self._log: Log | None = None
        self._growth: Growth | None = None
        self.blocks = Blocks()
        self._wanted = (0, 0)
        self._near: Cursor | None = None
        self._reading = False
        self._turn = 0
        self._polls = 0

    # --- what is known ------------------------------------------------------------------------------------------------

    def know(self, job: Job, tasks: Sequence[Task]) -> None:
        """The job and its tasks' names, for the lines' marks."""
        self.job = job
        names = {task.ordinal: task.name for task in tasks}
        if names != self._names:
            self._names = names
            self.task_width = min(24, max((len(name) for name in names.values()), default=0)) if len(names) > 1 else 0
            self.changed.emit()

    def line(self, position: int) -> Shown | None:
        """The line at a position, None while it is not known; tell by `want` what is looked at."""
        return self.blocks.line(position)

    def last_top(self, rows: int) -> int:
        """The position at the top when the end is in view, where there is room for so many lines."""
        return max(0, (self.total or 0) - rows)

    def time_words(self, line: LogLine) -> str:
        """A line's time in the way chosen."""
        if times.way == "since":
            return since_words(line.time, self.job.started or self.job.created)
        return clock_words(line.time, date=self.days)

    def task_words(self, line: LogLine) -> str:
        """Whose line it is."""
        name = self.task_name(line)
        return name if len(name) <= self.task_width else name[: self.task_width - 1] + "…"

    def task_name(self, line: LogLine) -> str:
        return "job" if line.ordinal is None else self._names.get(line.ordinal, f"task {line.ordinal}")

    def empty_words(self) -> str:
        """Why there is nothing to see; empty while there is something, or nothing is known."""
        if self.gone:
            return "This job was deleted, and its log with it." if not self.blocks else ""
        if self.trouble and self.total is None:
            return self.trouble
        if self.total != 0:
            return ""
        if self.narrowed != Narrowed():
            return "No such lines."
        return "Nothing was written." if self.job.status in ENDED else "Nothing was written yet."

    # --- what is looked at --------------------------------------------------------------------------------------------

    def want(self, first: int, last: int) -> None:
        """The lines from `first` to `last` are looked at: fetch what is missing of them, and around them."""
        self._wanted = (first, last)
        if not self._reading and not self.gone and self._missing() is not None:
            self._begin(look=self.total is None)

    def poll(self) -> None:
        """Look for lines that came since."""
        self._polls += 1
        # while there is trouble, one try a second or so
        if not self._reading and not self.gone and (not self.trouble or self._polls % 4 == 0):
            self._begin(look=True)

    def narrow(self, narrowed: Narrowed, near: Cursor | None = None) -> None:
        """Look at other lines: positions are others from now on. `near`: begin at that line, else at the end;
        `arrived` tells where that is."""
        if narrowed != self.narrowed:
            self.narrowed = narrowed
            self._near = near
            self.blocks.clear()
            self.total = None
            self._growth = None
            self.changed.emit()
            self._begin(look=True)

    async def ask(self, question: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """What the library answers about the log as it is narrowed."""
        return await self._bridge.call(question, *arguments, **self.narrowed._asdict(), **options)

    async def log(self) -> Log:
        """The library's view of it."""
        if self._log is None:
            self._log = await self._bridge.call(self._client.log, self.job.id)
        return self._log

    async def position(self, place: Cursor) -> int:
        """Where a line stands, as narrowed now; where it would stand, if it is not among these lines."""
        return await self.ask((await self.log()).position, place)

    async def texts(self, ranges: Sequence[tuple[int, int]]) -> tuple[str, int]:
        """The lines at positions, first and last inclusive, as a file shows them; and how many: `COPIED` at most."""
        log = await self.log()
        parts: list[str] = []
        count = size = 0
        at_once = 500  # as few questions as there can be, but no hundreds of megabytes in one
        for first, last in ranges:
            at = first
            while at <= last and count < self.COPIED and size < 4 * Blocks.CHARACTERS:
                some = min(at_once, last - at + 1, self.COPIED - count)
                part = await self.ask(_texts, log, at, some, many=len(self._names) > 1)
                if not part:
                    break
                parts += part
                at, count, size = at + len(part), count + len(part), size + sum(map(len, part))
                at_once = min(25_000, max(100, 16_000_000 * count // (size + 1)))
        return "\n".join(parts), count

    async def save(self, path: Path, wanted: Wanted | None, told: Callable[[Saved], bool]) -> int | None:
        """Write the log, as it is narrowed, to a file, or only the lines that are wanted; how many lines.

        `told` hears how far it is, and says whether to go on; None when it does not, and no file is left.
        """
        log = await self.log()
        which = Wanted(*self.narrowed) if wanted is None else wanted
        parts = log.saving(
            path, task=which.task, level=which.level, text=which.text, case=which.case, regular=which.regular
        )
        count = 0
        while (saved := await self._bridge.call(_next, parts)) is not None:
            count = saved.lines
            if not told(saved):
                await self._bridge.call(_close, parts)
                return None
        return count

    async def whole(self, line: LogLine) -> str:
        """The text of a line as it was written: what was cut into several lines of 64 kB is put together again."""
        return await self._bridge.call(_whole, await self.log(), line)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _missing(self) -> tuple[int, int] | None:
        """Positions to fetch for what is looked at, without what is known."""
        return self._wanted if self.total is None else self.blocks.missing(*self._wanted, self.total)

    def _begin(self, *, look: bool) -> None:
        self._reading = True
        self._turn += 1
        self._bridge.latest(self, "read", self._go_on(look, self._turn))

    async def _go_on(self, look: bool, turn: int) -> None:
        try:
            lacking = self._missing()
            while not self.gone and (look or lacking is not None):
                before, total = lacking, self.total
                await self._read(look)
                look = False
                if (lacking := self._missing()) == before and self.total == total:
                    break  # there are no such lines now: the next look tells
            self._tell("")
        except QuarterdeckError as error:
            self._tell(str(error))  # what is shown stays; the next look tries again
        finally:
            if turn == self._turn:
                self._reading = False

    async def _read(self, look: bool) -> None:
        narrowed = self.narrowed
        log = await self.log()
        if look and (self.trouble or self._polls % 8 == 7) and not await self._bridge.call(log.exists):
            self._lose()
            return
        first_time = self.total is None
        held = {position: one.line for position in self.held() if (one := self.line(position)) is not None}
        asked = _Asked(
            narrowed=narrowed,
            before=self._growth,
            look=look or first_time,
            place=self._missing(),
            seen=self._wanted,
            at_end=self.at_end,
            near=self._near,
            held={} if first_time else held,
        )
        read = await self._bridge.call(_look, log, asked)
        if narrowed != self.narrowed:
            return
        self._near = None
        nothing = asked.place is not None and not read.lines and read.first < read.growth.total
        # the lines of a job that is there don't go
        if nothing and not await self._bridge.call(log.exists):
            self._lose()
            return
        self._take(read)

    def _lose(self) -> None:
        self.gone = True
        self.changed.emit()

    def _tell(self, trouble: str) -> None:
        if trouble != self.trouble:
            self.trouble = trouble
            self.changed.emit()

    def _take(self, read: _Read) -> None:
        growth = read.growth
        news = growth.total != self.total or read.days != self.days or bool(read.lines)
        if self._growth is None or growth.known != self._growth.known:
            # what is in view comes with this
            self.blocks.outdate(growth.same, drop=read.inserted)
        self._growth, self.total, self.days = growth, growth.total, read.days
        self.blocks.keep(read.first, read.lines, self._wanted)
        if read.arrived is not None:
            self.arrived = read.arrived
        if read.moved:
            self.moved.emit(read.moved)
        if news or read.arrived is not None:
            self.changed.emit()


def _look(log: Log, asked: _Asked) -> _Read:
    """In a thread: what there is now, and the lines at a place."""
    which = asked.narrowed._asdict()
    before = asked.before
    growth = before if before is not None and not asked.look else log.growth(before, **which)
    height = asked.seen[1] - asked.seen[0] + 1
    moved: dict[int, int] = {}
    place, arrived = asked.place, None
    inserted = before is not None and growth.same < before.total
    if before is None:
        # the first look: around a line, or at the end
        first = max(growth.total - height, 0)
        if asked.near is not None:
            arrived = log.position(asked.near, **which)
            first = max(min(first, arrived - height // 2), 0)
        place = (first, first + height)
    elif growth.total != before.total:
        for position, line in asked.held.items():
            if position >= growth.same and (now := log.position(line, **which)) != position:
                moved[position] = now
        if asked.at_end:
            place = (max(growth.total - height, 0), growth.total)
        elif inserted:
            first = moved.get(asked.seen[0], asked.seen[0])
            place = (first, first + height)
    if place is None:
        return _Read(growth, 0, [], _days(log), moved, inserted, arrived)
    first = place[0] - place[0] % Blocks.SIZE
    count = place[1] - first + 1
    lines = [shown(line) for line in log.page(first, count + -count % Blocks.SIZE, **which)]
    return _Read(growth, first, lines, _days(log), moved, inserted, arrived)


def _days(log: Log) -> bool:
    """Whether the log spans days of this computer's calendar."""
    span = log.span()
    return span is not None and span[0].astimezone().date() != span[1].astimezone().date()


def _texts(log: Log, at: int, count: int, *, task: int | None, level: Level | None, many: bool) -> list[str]:
    return [line_text(line, task=many, raw=False) for line in log.page(at, count, task=task, level=level)]


def _next(parts: Iterator[Saved]) -> Saved | None:
    return next(parts, None)


def _close(parts: Iterator[Saved]) -> None:
    close = getattr(parts, "close", None)
    if close is not None:
        close()


def _whole(log: Log, line: LogLine) -> str:
    at = log.position(line, task=line.ordinal)
    first = max(at - _PIECES, 0)
    page = log.page(first, 2 * _PIECES + 1, task=line.ordinal)
    start = end = at - first
    if not start < len(page):
        return line.text
    while start > 0 and _cut(page[start - 1], page[start]):
        start -= 1
    while end + 1 < len(page) and _cut(page[end], page[end + 1]):
        end += 1
    return "".join(one.text for one in page[start : end + 1])


def _cut(line: LogLine, after: LogLine) -> bool:
    """Whether a line goes on in the next one: it is as long as a line can be."""
    same = (line.time, line.stream, line.task_id) == (after.time, after.stream, after.task_id)
    return same and len(line.text) > LINE_BYTES // 4 - 4 and len(line.text.encode()) > LINE_BYTES - 4
