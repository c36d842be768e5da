"""The list of a page: all jobs of a kind that match, of which only the pages that are looked at are loaded.

Sort and filter happen in the database. What changed is read again under the user's own rights and put into its place;
where that place can't be known without asking, the pages in view are read again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from PySide6.QtCore import QObject, Signal

from desktop.bridge import Bridge, Listening
from desktop.models.rows import Heading, RowsModel
from quarterdeck.client import Client
from quarterdeck.errors import Disconnected
from quarterdeck.job import Job
from quarterdeck.kinds import Kind
from quarterdeck.query import Filter, Sort

__all__ = ["ACTIONS", "JobsModel", "LiveJobs"]

ACTIONS = Heading("actions", "", 22)
"""The last column, where the view paints what may be done to the row."""

_STEADY_SORTS = frozenset({"created", "name", "creator", "id"})


class JobsModel(RowsModel[Job]):
    """The jobs of one kind under a filter and a sort."""

    PAGE = 100
    KEEP = 40

    def __init__(self, client: Client, bridge: Bridge, kind: Kind, parent: QObject | None = None) -> None:
        self._now = client.now()
        columns = kind.columns
        super().__init__(
            [*(Heading(c.key, c.title, c.width, c.align) for c in columns), ACTIONS],
            key=lambda job: job.id,
            text=lambda job, number: columns[number].text(job, self._now) if number < len(columns) else "",
            parent=parent,
        )
        self.kind = kind
        self.filter = Filter(kind=kind.key)
        self.order = Sort()
        self.read = False
        self._client = client
        self._bridge = bridge
        self._run_time = next((n for n, c in enumerate(columns) if c.key == "run_time"), None)
        self._pages: OrderedDict[int, None] = OrderedDict()
        self._fetching: set[int] = set()
        self._view = (0, 0)
        self._reading = False
        self._again = False

    # What is looked at

    def look(self, first: int, last: int) -> None:
        """The view shows these rows now."""
        self._view = (max(0, first), max(0, last))

    def tick(self) -> bool:
        """Time has passed: run times in view count on. False when nothing in view runs."""
        self._now = self._client.now()
        running = False
        if self._run_time is None:
            return False
        for number in range(self._view[0], self._view[1] + 1):
            job = self.row(number)
            if job is not None and job.started is not None and job.ended is None:
                running = True
                cell = self.index(number, self._run_time)
                self.dataChanged.emit(cell, cell)
        return running

    def choose(self, filter: Filter, sort: Sort) -> None:  # noqa: A002
        """Show what matches `filter`, in the order of `sort`, from its beginning."""
        self.filter, self.order = replace(filter, kind=self.kind.key), sort
        self._bridge.latest(self, "choose", self._choose())

    def reread(self) -> None:
        """Read again what is looked at, and how many there are; one reading at a time."""
        if self._reading:
            self._again = True
            return
        self._reading = True
        self._bridge.start(self, self._reread())

    def missed(self, number: int) -> None:
        page = number // self.PAGE
        if page not in self._fetching:
            self._fetching.add(page)
            self._bridge.start(self, self._fetch(page))

    # What changed

    def change(self, jobs: list[Job], gone: list[int]) -> None:
        """Jobs as they are now, and the ids of those that are no longer there (or no longer to be seen)."""
        if not self.read:
            return
        self._now = self._client.now()
        mine = [job for job in jobs if job.kind == self.kind.key]
        loaded = [job for job in mine if self.find(job.id) is not None]
        fresh = sorted((job for job in mine if self.find(job.id) is None), key=lambda job: (job.created, job.id))
        lost = [key for key in gone if self.find(key) is not None]
        if loaded or lost:
            self.when_free(partial(self._change_loaded, loaded, lost))
        newest_first = self.order == Sort() and self._steady_filter()
        top = self.row(0)
        if fresh and newest_first and (top is None or fresh[0].created > top.created) and self._only_kind():
            self.when_free(partial(self._add_newest, fresh[::-1]))
        elif fresh or (loaded and not (self._steady_filter() and self.order.column in _STEADY_SORTS)) or lost:
            self.reread()

    def _change_loaded(self, jobs: list[Job], gone: list[int]) -> None:
        self.update(jobs)
        self.remove(gone)

    def _add_newest(self, jobs: list[Job]) -> None:
        self.insert(0, [job for job in jobs if self.find(job.id) is None])
        self._pages.clear()  # what is loaded no longer lies in whole pages

    def _steady_filter(self) -> bool:
        """Whether a change of a job can't make it enter or leave the filter."""
        return not (self.filter.statuses or self.filter.nodes or self.filter.text)

    def _only_kind(self) -> bool:
        return self.filter == Filter(kind=self.kind.key)

    # Reading

    async def _choose(self) -> None:
        self._view = (0, self._view[1] - self._view[0])
        try:
            total, rows = await self._read_window(0, self.PAGE)
        except Disconnected:
            return  # the banner says so, and a full re-read follows
        self.when_free(lambda: self._start_over(total, rows))

    def _start_over(self, total: int, rows: list[Job]) -> None:
        self._now = self._client.now()
        self._pages.clear()
        self.reset([*rows, *([None] * (total - len(rows)))])
        self.read = True

    async def _read_window(self, first: int, count: int) -> tuple[int, list[Job]]:
        chosen, sort = self.filter, self.order
        total = await self._bridge.call(self._client.count, chosen)
        rows = await self._bridge.call(self._client.list, chosen, sort, offset=first, limit=count)
        return total, rows

    async def _reread(self) -> None:
        try:
            while True:
                self._again = False
                chosen = (self.filter, self.order)
                first = self._view[0] // self.PAGE * self.PAGE
                count = (self._view[1] // self.PAGE + 1) * self.PAGE - first
                total, rows = await self._read_window(first, count)
                windows = [(first, count, rows)]
                if first:
                    windows.insert(0, (0, self.PAGE, (await self._read_window(0, self.PAGE))[1]))
                if chosen == (self.filter, self.order):
                    self.when_free(partial(self._merge, windows, total))
                    self.read = True
                if not self._again:
                    return
        except Disconnected:
            return
        finally:
            self._reading = False

    def _merge(self, windows: list[tuple[int, int, list[Job]]], total: int) -> None:
        """Put freshly read windows (first row, rows asked for, rows) into the list."""
        self._now = self._client.now()
        top = windows[0][2] if windows[0][0] == 0 else []
        if (oldest := self.row(0)) is not None:
            self.insert(0, top[: next((n for n, job in enumerate(top) if job.id == oldest.id), 0)])
        for number, row in enumerate(self._rows):
            if row is not None and not any(first <= number < first + count for first, count, _ in windows):
                self._rows[number] = None
        self._where = None
        self._pages.clear()
        for first, count, rows in windows:
            if first > len(self._rows):
                self.resize(first)
            self.patch(first, min(count, len(self._rows) - first), rows)
        first, _, rows = windows[-1]
        self.resize(max(total, first + len(rows)))

    async def _fetch(self, page: int) -> None:
        try:
            chosen = (self.filter, self.order)
            first = page * self.PAGE
            rows = await self._bridge.call(self._client.list, self.filter, self.order, offset=first, limit=self.PAGE)
            if chosen == (self.filter, self.order):
                self.when_free(partial(self._take_page, page, rows))
        except Disconnected:
            return
        finally:
            self._fetching.discard(page)

    def _take_page(self, page: int, rows: list[Job]) -> None:
        self._now = self._client.now()
        first = page * self.PAGE
        places = [self.find(job.id) for job in rows]
        if any(place is not None and not first <= place < first + self.PAGE for place in places):
            self.reread()  # the list moved on between two readings
            return
        self.fill(first, rows)
        self._pages[page] = None
        self._pages.move_to_end(page)
        while len(self._pages) > self.KEEP:
            old, _ = self._pages.popitem(last=False)
            if not self._view[0] // self.PAGE <= old <= self._view[1] // self.PAGE:
                self.fill(old * self.PAGE, [None] * self.PAGE)


class LiveJobs(QObject):
    """Keeps all lists up to date: reads what changed since the last reading, and tells the pages.

    Signals:
        changed(object, object): list of Job as they are now, list of ids that are gone
        connection(object): None while connected, else the sentence that says why not
    """

    changed = Signal(object, object)
    connection = Signal(object)

    POLL = 15.0
    RETRY = 2.0

    def __init__(
        self,
        client: Client,
        bridge: Bridge,
        listening: Listening | None,
        everything: Callable[[], None],
        parent: QObject | None = None,
    ) -> None:
        """`everything()` is called when all lists have to be read again."""
        super().__init__(parent)
        self._client = client
        self._bridge = bridge
        self._everything = everything
        self._snapshot: str | None = None
        self._ids: frozenset[int] = frozenset()
        self._reading = False
        self._again = False
        self._trouble: str | None = None
        if listening is not None:
            listening.changed.connect(self._told)
            listening.connection.connect(self._told_connection)

    def begin(self) -> None:
        """The first full reading, and the slow poll behind all the others."""
        self._resync()
        self._bridge.start(self, self._poll())

    def refresh(self) -> None:
        """An immediate full re-read."""
        self._resync()

    def read_changes(self) -> None:
        if self._reading:
            self._again = True
            return
        self._reading = True
        self._bridge.start(self, self._read())

    def _resync(self) -> None:
        self._snapshot = None
        self.read_changes()

    def _told(self, ids: frozenset[int] | None) -> None:
        if ids is None:
            self._resync()
        else:
            self._ids |= ids
            self.read_changes()

    def _told_connection(self, trouble: str | None) -> None:
        if trouble is not None:
            self._say(trouble)
        else:
            self._resync()

    async def _poll(self) -> None:
        while True:
            await self._bridge.pause(self.RETRY if self._trouble else self.POLL)
            self.read_changes()

    async def _read(self) -> None:
        try:
            while True:
                self._again = False
                since, ids, self._ids = self._snapshot, self._ids, frozenset()
                changes = await self._bridge.call(self._client.changes, since)
                if since is None or self._trouble is not None or changes.everything:
                    self._everything()
                else:
                    gone = set(changes.gone)
                    if unknown := ids - gone - {job.id for job in changes.jobs}:
                        # what is told of and not there any more, for us: a public job that became private
                        gone |= unknown - {job.id for job in await self._bridge.call(self._client.by_ids, unknown)}
                    if changes.jobs or gone:
                        self.changed.emit(list(changes.jobs), sorted(gone))
                if self._snapshot is since:
                    self._snapshot = changes.snapshot
                else:
                    self._again = True
                self._say(None)
                if not self._again:
                    return
        except Disconnected as error:
            self._say(str(error))
        finally:
            self._reading = False

    def _say(self, trouble: str | None) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            self.connection.emit(trouble)
