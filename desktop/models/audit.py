"""The audit page's rows: newest first, read where they are looked at; what comes is added above what is there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QObject

from desktop.bridge import Bridge
from desktop.models.rows import Heading, RowsModel
from quarterdeck.audit import Entry, Selection
from quarterdeck.client import Client
from quarterdeck.columns import time_text
from quarterdeck.errors import Conflict, Disconnected

__all__ = ["AuditModel"]


def _text(entry: Entry, key: str) -> str:
    if key == "time":
        return time_text(entry.time)
    if key == "job":
        return "" if entry.job_id is None else str(entry.job_id)
    return str(getattr(entry, key))


class AuditModel(RowsModel[Entry]):
    """The entries of a selection. Nothing in the audit ever changes or goes: it only grows, at its top."""

    PAGE = 100
    EVERY = 2.0
    """Seconds between two looks whether something came: the audit tells of nothing by itself."""

    def __init__(self, client: Client, bridge: Bridge, parent: QObject | None = None) -> None:
        headings = [
            Heading("time", "Time"),
            Heading("person", "Person"),
            Heading("title", "Action"),
            Heading("job", "Job", align="right"),
            Heading("subject", "Name"),
            Heading("words", "Details"),
        ]
        super().__init__(
            headings,
            key=lambda entry: entry.id,
            text=lambda entry, column: _text(entry, headings[column].key),
            parent=parent,
        )
        self.selection = Selection()
        self.people: list[str] = []
        self.awake: Callable[[], bool] = lambda: True
        self.read = False
        self._client = client
        self._bridge = bridge
        self._poll: Any = None
        self._newest = 0
        self._generation = 0
        self._fetching: set[int] = set()

    def watch(self, on: bool) -> None:
        """Read now, and then whatever comes while `awake()`; or stop that."""
        if self._poll is not None:
            self._poll.cancel()
            self._poll = None
        if on:
            self._poll = self._bridge.start(self, self._watch())

    def choose(self, selection: Selection) -> None:
        """Show these, from the newest on."""
        self.selection = selection
        self._bridge.latest(self, "read", self._read(anew=True))

    def refresh(self) -> None:
        """Read again: what stands there stays where it is."""
        self._bridge.latest(self, "read", self._read(anew=False))

    def missed(self, number: int) -> None:
        page = number // self.PAGE
        if page not in self._fetching:
            self._fetching.add(page)
            self._bridge.start(self, self._fetch(page))

    async def _watch(self) -> None:
        await self._read(anew=not self.read)
        while True:
            await self._bridge.pause(self.EVERY)
            if not self.awake():
                continue
            try:
                last = await self._bridge.call(self._client.audit, limit=1)
            except (Disconnected, Conflict):
                self._newest = -1  # whatever is there then, it is read again
                continue
            if self._newest != (last[0].id if last else 0):
                await self._read(anew=False)

    async def _read(self, *, anew: bool) -> None:
        selection = self.selection
        try:
            last = await self._bridge.call(self._client.audit, limit=1)
            upto = last[0].id if last else 0
            top = await self._bridge.call(self._client.audit, selection, limit=self.PAGE, upto=upto)
            total = await self._bridge.call(self._client.audit_count, selection, upto=upto)
            if anew:
                self.people = await self._bridge.call(self._client.audit_people)
        except (Disconnected, Conflict):
            return  # the banner says so, or the server is busy: what is shown stays
        if selection == self.selection:
            self.when_free(partial(self._show, top, total, upto, anew))

    def _show(self, top: list[Entry], total: int, upto: int, anew: bool) -> None:
        self._newest = upto
        self._generation += 1
        self.people = sorted({*self.people, *(entry.person for entry in top)})
        self.read = True
        first = self.row(0)
        place = None if first is None else next((n for n, entry in enumerate(top) if entry.id == first.id), None)
        if anew or place is None:
            self.reset([*top, *([None] * (total - len(top)))])
            return
        self.insert(0, top[:place])
        # one that was committed later than its number says comes to its place
        self.patch(0, min(len(top), self.rowCount()), top)
        self.resize(total)

    async def _fetch(self, page: int) -> None:
        try:
            while True:
                generation, selection = self._generation, self.selection
                rows = await self._bridge.call(
                    self._client.audit, selection, offset=page * self.PAGE, limit=self.PAGE, upto=self._newest
                )
                if generation == self._generation:
                    self.when_free(partial(self._take, generation, page, rows))
                    return
        except Disconnected:
            return
        finally:
            self._fetching.discard(page)

    def _take(self, generation: int, page: int, rows: list[Entry]) -> None:
        if generation == self._generation:
            self.fill(page * self.PAGE, rows)
