"""A window of lines onto a job's log, however long that is: read in pieces around where one looks, followed live."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject

from desktop.bridge import Bridge
from desktop.models.rows import Heading, RowsModel
from quarterdeck.client import Client
from quarterdeck.errors import Disconnected
from quarterdeck.job import Job, Level, LogLine, Task
from quarterdeck.logs import Cursor, Log, Tail, line_text

__all__ = ["LogModel"]

_COLUMN = (Heading("text", "Log", 100),)


class LogModel(RowsModel[LogLine]):
    """The loaded lines; `total` counts all of them, as narrowed to a task (its ordinal) and a level."""

    PIECE = 500
    KEEP = 12_000

    def __init__(self, job: Job, client: Client, bridge: Bridge, parent: QObject | None = None) -> None:
        super().__init__(
            _COLUMN, key=lambda line: (line.chunk, line.offset), text=lambda line, column: line.text, parent=parent
        )
        self.total: int | None = None
        self.at_start = True
        self.at_end = True
        self.longest = 0
        self.moved_by = 0
        self.searched = ""
        self.task_width = 0
        self._names: dict[int, str] = {}
        self._job = job
        self._client = client
        self._bridge = bridge
        self._log: Log | None = None
        self._tail: Tail | None = None
        self._task: int | None = None
        self._level: Level | None = None
        self._busy = False

    def know(self, job: Job, tasks: Sequence[Task]) -> None:
        """The tasks' names, for the lines' marks."""
        self._job = job
        names = {task.ordinal: task.name for task in tasks}
        if names != self._names:
            self._names = names
            self.task_width = min(24, max((len(name) for name in names.values()), default=0)) if len(names) > 1 else 0
            self.when_free(lambda: None)

    def time_words(self, line: LogLine) -> str:
        return line.time.astimezone().strftime("%H:%M:%S.%f")[:-3]

    def task_words(self, line: LogLine) -> str:
        name = "job" if line.ordinal is None else self._names.get(line.ordinal, f"task {line.ordinal}")
        return name if len(name) <= self.task_width else name[: self.task_width - 1] + "…"

    def full_words(self, line: LogLine) -> str:
        """The line as a file shows it."""
        return line_text(line, task=len(self._names) > 1)

    def open(self) -> None:
        """Show the newest lines."""
        self._bridge.latest(self, "open", self._open())

    def narrow(self, task: int | None, level: Level | None) -> None:
        """Show only that task's lines, of that level or a worse one."""
        self._task, self._level = task, level
        self.open()

    def poll(self) -> None:
        """Look for lines that came since."""
        if self._tail is not None and not self._busy:
            self._busy = True
            self._bridge.start(self, self._poll(self._tail))

    def earlier(self) -> None:
        """Load what comes before the loaded lines."""
        if not self.at_start and not self._busy and self.row(0) is not None:
            self._busy = True
            self._bridge.start(self, self._extend(-1))

    def later(self) -> None:
        """Load what comes after them."""
        if not self.at_end and not self._busy and self.rowCount():
            self._busy = True
            self._bridge.start(self, self._extend(1))

    async def look_for(self, text: str, row: int, step: int) -> int | None:
        """The row of the next (step 1) or previous (-1) line with that text, seen from `row`, going round the end."""
        log = await self._get_log()
        line = self.row(row)
        from_here = None if line is None else Cursor.of(line)
        for place in (from_here, None) if from_here is not None else (None,):
            side = {"after": place} if step > 0 else {"before": place or Cursor(2**62, 2**62, 2**31)}
            hits = await self._bridge.call(log.search, text, 1, task=self._task, level=self._level, **side)
            if hits:
                return await self._go_to(log, hits[0])
        return None

    async def first_error(self) -> int | None:
        """The row of the first error over all tasks."""
        log = await self._get_log()
        line = await self._bridge.call(log.first_error)
        if line is None:
            return None
        self._task = self._level = None
        return await self._go_to(log, line)

    async def save(self, path: Path) -> int:
        """Write the log, as it is narrowed, to a file; how many lines."""
        log = await self._get_log()
        return await self._bridge.call(log.save, path, task=self._task, level=self._level)

    async def _get_log(self) -> Log:
        if self._log is None:
            self._log = await self._bridge.call(self._client.log, self._job.id)
        return self._log

    async def _open(self) -> None:
        self._tail = None
        try:
            log = await self._get_log()
            narrowed = {"task": self._task, "level": self._level}
            # before the newest lines: what comes in between comes twice rather than never
            tail = await self._bridge.call(log.tail, **narrowed)
            lines = await self._bridge.call(log.newest, 2 * self.PIECE, **narrowed)
            self.when_free(partial(self._show, lines, len(lines) < 2 * self.PIECE, True))
            self._tail = tail
            self.total = await self._bridge.call(log.count, **narrowed)
            self.when_free(lambda: None)
        except Disconnected:
            return  # the banner says so; the next opening reads again

    def _show(self, lines: list[LogLine], at_start: bool, at_end: bool) -> None:
        self.at_start, self.at_end = at_start, at_end
        self.moved_by = 0
        self.longest = max((len(line.text) for line in lines), default=0)
        self.reset(lines)

    async def _poll(self, tail: Tail) -> None:
        try:
            lines = await self._bridge.call(tail.poll)
            if lines and tail is self._tail:
                self.when_free(partial(self._add_new, lines))
        except Disconnected:
            return
        finally:
            self._busy = False

    def _add_new(self, lines: list[LogLine]) -> None:
        self.moved_by = 0
        lines = [line for line in lines if self.find_row(line) is None]
        self.total = (self.total or 0) + len(lines)
        if not self.at_end:
            return
        if self.rowCount() + len(lines) > 2 * self.KEEP:
            # somebody reads up there and the log grows on: the rest is loaded when it is scrolled to
            self.at_end = False
            return
        last = self.row(self.rowCount() - 1)
        late = [line for line in lines if last is not None and Cursor.of(line) < Cursor.of(last)]
        for line in late:
            place = bisect.bisect(range(self.rowCount()), Cursor.of(line), key=self._cursor_at)
            if place or self.at_start:
                self.insert(place, [line])
        self.insert(self.rowCount(), lines if not late else [line for line in lines if line not in late])
        self.longest = max(self.longest, *(len(line.text) for line in lines), 0) if lines else self.longest

    def find_row(self, line: LogLine) -> int | None:
        """Where that line is loaded."""
        last = self.row(self.rowCount() - 1)
        if last is None or Cursor.of(line) > Cursor.of(last):
            return None
        return self.find((line.chunk, line.offset))

    def _cursor_at(self, row: int) -> Cursor:
        line = self.row(row)
        return Cursor(0, 0, 0) if line is None else Cursor.of(line)

    def trim(self) -> None:
        """Somebody follows the end: forget the oldest of too many lines."""
        if (more := self.rowCount() - self.KEEP) > self.PIECE:
            self.at_start = False
            self.moved_by = 0
            self.drop(0, more)

    async def _extend(self, step: int) -> None:
        try:
            log = await self._get_log()
            edge = self.row(0 if step < 0 else self.rowCount() - 1)
            if edge is None:
                return
            read = log.before if step < 0 else log.after
            lines = await self._bridge.call(read, Cursor.of(edge), self.PIECE, task=self._task, level=self._level)
            if edge == self.row(0 if step < 0 else self.rowCount() - 1):
                self.when_free(partial(self._add_piece, lines, step))
        except Disconnected:
            return
        finally:
            self._busy = False

    def _add_piece(self, lines: list[LogLine], step: int) -> None:
        ended = len(lines) < self.PIECE
        self.longest = max([self.longest, *(len(line.text) for line in lines)])
        self.moved_by = 0
        if step < 0:
            self.at_start = ended
            self.insert(0, lines)
            self.moved_by = len(lines)
            if self.rowCount() > self.KEEP:
                self.at_end = False
                self.drop(self.KEEP, self.rowCount() - self.KEEP)
        else:
            self.at_end = ended
            self.insert(self.rowCount(), lines)
            if (more := self.rowCount() - self.KEEP) > 0:
                self.at_start = False
                self.drop(0, more)
                self.moved_by = -more

    async def _go_to(self, log: Log, line: LogLine) -> int | None:
        row = self.find((line.chunk, line.offset))
        if row is not None:
            return row
        narrowed = {"task": self._task, "level": self._level}
        place = Cursor.of(line)
        before = await self._bridge.call(log.before, place, self.PIECE, **narrowed)
        after = await self._bridge.call(log.after, place, self.PIECE, **narrowed)
        self.when_free(partial(self._show, [*before, line, *after], len(before) < self.PIECE, len(after) < self.PIECE))
        return self.find((line.chunk, line.offset))
