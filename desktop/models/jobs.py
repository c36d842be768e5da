"""The list of a page: all jobs of a kind that match, of which only those that are looked at are loaded.

Sort and filter happen in the database. The first page is shown as soon as it is there; the ids of the whole list in
order follow, after which every place is one quick reading away. What changed is read again under the user's own rights
and put into its place; where that place can't be known without asking, the order is read again.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from PySide6.QtCore import QObject, Signal

from desktop.bridge import Bridge, Listening
from desktop.models.ordered import Ids, OrderedModel, Steps, places, steps
from desktop.models.reasons import Reasons
from desktop.models.rows import Heading
from quarterdeck.client import Client
from quarterdeck.errors import Disconnected
from quarterdeck.job import Job, Status
from quarterdeck.kinds import Kind
from quarterdeck.query import Filter, Sort, fits

__all__ = ["ACTIONS", "CHECK", "JobsModel", "LiveJobs"]

CHECK = Heading("check", "", 4)
"""The first column of those who may delete, where the view paints the check box."""
ACTIONS = Heading("actions", "", 22)
"""The last column, where the view paints what may be done to the row."""

_STEADY_SORTS = frozenset({"created", "name", "creator", "id", "subject", "origin", "data_type", "strategy_type"})


@dataclass(slots=True, eq=False)
class _News:
    """What happened since the reading of an order began."""

    fresh: list[int] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)


class JobsModel(OrderedModel[Job]):
    """The jobs of one kind under a filter and a sort.

    Signals:
        read_all(): the list is known in full, no more only its first page
        lost(str): the server could not be reached while this was reading, and why
    """

    read_all = Signal()
    lost = Signal(str)

    PAGE = 100
    MARGIN = 40
    BATCH = 1000

    def __init__(self, client: Client, bridge: Bridge, kind: Kind, parent: QObject | None = None) -> None:
        self._now = client.now()
        columns = {column.key: column for column in kind.columns}
        headings = [
            *([CHECK] if client.me.admin else []),
            *(Heading(c.key, c.title, c.width, c.align) for c in kind.columns),
            ACTIONS,
        ]
        shown = [columns.get(heading.key) for heading in headings]
        super().__init__(
            headings,
            key=lambda job: job.id,
            text=lambda job, number: "" if (column := shown[number]) is None else column.text(job, self._now),
            parent=parent,
        )
        self.kind = kind
        self.reasons = Reasons(client, bridge, self)
        self.filter = Filter(kind=kind.key)
        self.order = Sort()
        self.read = False
        self.complete = False
        self._client = client
        self._bridge = bridge
        self._run_time = self.column("run_time")
        self._view: tuple[int, int] | None = None
        self._asked: set[int] = set()
        self._fetching = False
        self._news: list[_News] = []
        self._turn = 0
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
        if self._run_time < 0:
            return False
        first, last = self._view or (0, self.rowCount() - 1)
        for number in range(first, last + 1):
            job = self.row(number)
            if job is not None and job.started is not None and job.ended is None:
                running = True
                cell = self.index(number, self._run_time)
                self.dataChanged.emit(cell, cell)
        return running

    def choose(self, filter: Filter, sort: Sort) -> None:  # noqa: A002
        """Show what matches `filter`, in the order of `sort`, from its beginning."""
        self.filter, self.order = replace(filter, kind=self.kind.key), sort
        self._begin(fresh=True)

    def reread(self, filter: Filter | None = None) -> None:  # noqa: A002
        """Read all again without moving what is looked at; one reading at a time.

        `filter`: what the same words mean now ("the last hour").
        """
        if filter is not None:
            self.filter = replace(filter, kind=self.kind.key)
        self.forget([*self._in_view(), *self.ids[:1].tolist()])
        self._order_again()

    def missed(self, number: int) -> None:
        if len(self._asked) < self.BATCH:
            self._asked.add(int(self.ids[number]))
        if not self._fetching:
            self._fetching = True
            self._bridge.start(self, self._fetch())

    def now(self) -> dt.datetime:
        """The server's time."""
        return self._client.now()

    async def jobs(self, ids: Sequence[int], statuses: frozenset[Status] | None = None) -> list[Job]:
        """The jobs of these ids in this order, loaded or not, as they are known; those of some statuses only."""
        if statuses is not None:
            some = replace(self.filter, statuses=statuses, not_statuses=frozenset())
            open_ = await self._bridge.call(self._client.order, some)
            ids = np.asarray(ids, np.int64)[np.isin(ids, open_)].tolist()
        found = {key: job for key in ids if (job := self.loaded(key)) is not None}
        unknown = [key for key in ids if key not in found]
        for start in range(0, len(unknown), self.BATCH):
            for job in await self._bridge.call(self._client.by_ids, unknown[start : start + self.BATCH]):
                found[job.id] = job
        listed = [found[key] for key in ids if key in found]
        return listed if statuses is None else [job for job in listed if job.status in statuses]

    # What changed

    def change(self, jobs: list[Job], gone: list[int]) -> None:
        """Jobs as they are now, and the ids of those that are no longer there (or no longer to be seen)."""
        if not self.read:
            return
        self._now = self._client.now()
        mine = {job.id: job for job in jobs if job.kind == self.kind.key}
        listed = places(self.ids, mine) if mine else {}
        fit = {key: fits(self.filter, job) for key, job in mine.items()}
        leave = {key for key in listed if fit[key] is False} | set(gone)
        stay = [mine[key] for key in listed if key not in leave]
        fresh = [job for key, job in mine.items() if key not in listed and fit[key] is not False]
        if stay or leave:
            self.when_free(partial(self._change_listed, stay, leave))
        if not fresh and (not stay or (self.order.column in _STEADY_SORTS and self._can_say())):
            return
        top = self.row(0)
        if (
            self.order == Sort()
            and self._can_say()
            and all(top is None or (job.created, job.id) > (top.created, top.id) for job in fresh)
            and (top is not None or not self.ids.size)
        ):
            self.when_free(partial(self._add_newest, fresh))
        else:
            self._order_again()

    def _change_listed(self, stay: list[Job], leave: set[int]) -> None:
        self.take(stay)
        if leave:
            self.drop(leave)
            for news in self._news:
                news.gone |= leave

    def _add_newest(self, jobs: list[Job]) -> None:
        known = places(self.ids, [job.id for job in jobs])
        new = sorted((j for j in jobs if j.id not in known), key=lambda job: (job.created, job.id), reverse=True)
        self.put(0, np.array([job.id for job in new], np.int64))
        self.take(new)
        for news in self._news:
            news.fresh[:0] = [job.id for job in new]

    def _can_say(self) -> bool:
        """Whether it is known without the database if a job passes the filter."""
        return not self.filter.text and not any(self.filter.not_text)

    def _in_view(self, margin: int = 0) -> list[int]:
        first, last = self._view or (0, self.PAGE - 1)
        ids: list[int] = self.ids[max(0, first - margin) : last + 1 + margin].tolist()
        return ids

    # Reading

    def _order_again(self) -> None:
        if self._reading:
            self._again = True
        else:
            self._begin(fresh=False)

    def _begin(self, *, fresh: bool) -> None:
        self._turn += 1
        self._reading, self._again = True, False
        self._bridge.latest(self, "read", self._read(fresh, self._turn))

    async def _read(self, fresh: bool, turn: int) -> None:
        try:
            if fresh:
                page = await self._bridge.call(self._client.list, self.filter, self.order, limit=self.PAGE)
                whole = len(page) < self.PAGE
                self.when_free(partial(self._start_over, turn, page, whole))
                if whole and not self._again:
                    return
            while True:
                self._again = False
                began = time.monotonic()
                await self._read_order(turn)
                if not fresh:
                    await self._read_view()
                if not self._again:
                    return
                # a long list that changes all the time: the database has other things to do, too
                await self._bridge.pause(min(3.0, 2 * (time.monotonic() - began)))
        except Disconnected as error:
            self.lost.emit(str(error))  # whoever listens says so, and has everything read again
        finally:
            if turn == self._turn:
                self._reading = False

    def _start_over(self, turn: int, page: list[Job], whole: bool) -> None:
        if turn != self._turn:
            return
        self._now = self._client.now()
        self._view = None
        self.complete = whole
        self.read = True
        self.begin(page)
        if whole:
            self.read_all.emit()

    async def _read_order(self, turn: int) -> None:
        news = _News()
        self._news.append(news)
        try:
            ids = await self._bridge.call(self._client.order, self.filter, self.order)
            before = self.ids
            plan = await self._bridge.call(steps, before, ids)
        except BaseException:
            self._news.remove(news)
            raise
        self.when_free(partial(self._settle, turn, news, ids, before, plan))

    def _settle(self, turn: int, news: _News, ids: Ids, before: Ids, plan: Steps) -> None:
        """Take over an order that was read, but for what happened since its reading began."""
        self._news.remove(news)
        if turn != self._turn:
            return
        if news.gone:
            ids = ids[~np.isin(ids, np.fromiter(news.gone, np.int64))]
        if news.fresh:
            later = np.array(news.fresh, np.int64)
            ids = np.concatenate((later[~np.isin(later, ids)], ids))
        self.become(ids, plan if self.ids is before and not (news.gone or news.fresh) else None)
        self.complete = True
        self.read_all.emit()

    async def _read_view(self) -> None:
        wanted = [*self.ids[:1].tolist(), *self._in_view(self.MARGIN)]
        self._arrived(wanted, await self._bridge.call(self._client.by_ids, wanted))

    def _arrived(self, wanted: Iterable[int], jobs: list[Job]) -> None:
        self._now = self._client.now()
        self.take(jobs)
        if vanished := set(wanted) - {job.id for job in jobs}:
            self.when_free(partial(self._change_listed, [], vanished))

    async def _fetch(self) -> None:
        """Load what is in view, and a little around it, as long as something of it is missing."""
        try:
            while wanted := self._wanted():
                self._arrived(wanted, await self._bridge.call(self._client.by_ids, wanted))
        except Disconnected as error:
            self.lost.emit(str(error))
        finally:
            self._fetching = False

    def _wanted(self) -> list[int]:
        asked, self._asked = self._asked, set()
        if self._view is not None:
            if not any(self.loaded(key) is None for key in self._in_view()):
                return []
            asked = {*self._in_view(self.MARGIN), *self.ids[:1].tolist()}  # new jobs are compared with the first one
        return [key for key in asked if self.loaded(key) is None]


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

    def lost(self, trouble: str) -> None:
        """Somebody could not reach the server: say so, and have everything read again as soon as it is there."""
        self._say(trouble)
        self._bridge.latest(self, "soon", self._soon())

    async def _soon(self) -> None:
        await self._bridge.pause(self.RETRY)
        self.read_changes()

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
