"""A report as it is read: its choices, its panels' data one after the other, and what the selection narrows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from PySide6.QtCore import QObject, Signal

from desktop.bridge import Bridge
from desktop.models.selection import Selection
from quarterdeck.errors import Disconnected, QuarterdeckError
from quarterdeck.report import Frames, JobTables, Picked, Template
from quarterdeck.report.template import Place, Source, TablePanel

if TYPE_CHECKING:
    import pyarrow as pa

    from quarterdeck.client import Client
    from quarterdeck.job import Job

__all__ = ["ReportModel", "picked", "sources_of"]


def picked(selection: Selection) -> Picked:
    """The selection as reports read it."""
    start = end = None
    if selection.times is not None:
        start, end = (_time(one) for one in selection.times)
    row = selection.row or {}
    symbol = row.get("symbol")
    return Picked(start=start, end=end, symbols=selection.symbols or (), row="" if symbol is None else str(symbol))


def _time(seconds: float) -> dt.datetime | None:
    try:
        return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)
    except OverflowError:
        return None


def sources_of(template: Template) -> Template:
    """The same sources as tables: each its first ten rows, with pages for the rest (V2)."""
    panels = [
        TablePanel(
            id=name,
            type="table",
            title=_titled(name, source),
            source=name,
            place=Place(section="Data sources", row=number * 7, height=7),
        )
        for number, (name, source) in enumerate(template.sources.items())
    ]
    return template.model_copy(update={"panels": panels})


def _titled(name: str, source: Source) -> str:
    origin = source.table or source.dataset or source.source or ""
    return name if origin == name else f"{name} (from {origin})"


_selections: WeakValueDictionary[tuple[int, int], Selection] = WeakValueDictionary()


def _selection(bridge: Bridge, job: int) -> Selection:
    """One selection for all views of a job's reports: in tabs, of data sources, in other windows (Y10)."""
    key = (id(bridge), job)
    found = _selections.get(key)
    if found is None:
        found = _selections[key] = Selection()
    return found


class ReportModel(QObject):
    """One report of a job.

    Signals:
        changed(): the choices, what they offer, or `trouble` is another now; or a reading began or ended
        arrived(str): the data of the panel of that id is new in `panels`
    """

    changed = Signal()
    arrived = Signal(str)

    def __init__(
        self,
        template: Template,
        client: Client,
        bridge: Bridge,
        job: Job,
        params: dict[str, Any],
        task: int | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.template = template
        self.selection = _selection(bridge, job.id)
        self.panels: dict[str, Any] = {}
        self.choices: dict[str, tuple[Any, ...]] = {}
        self.offered: dict[str, list[Any]] = {}
        self.trouble = ""
        self.reading = False
        self.task = task
        self._given: dict[str, tuple[Any, ...]] = {}
        self._client, self._bridge, self._job, self._params = client, bridge, job, params
        self._frames: Frames | None = None
        self.selection.changed.connect(self._narrow)

    def begin(self) -> None:
        """Read everything."""
        self._bridge.latest(self, "read", self._read([panel.id for panel in self.template.panels], offers=True))

    def refresh(self) -> None:
        """Forget what was read, and read everything again."""
        self._frames = None
        self.begin()

    def change_task(self, task: int | None) -> None:
        """The report of another task of the job."""
        if task != self.task:
            self.task = task
            self._given.clear()
            self.selection.clear()
            self.refresh()

    def choose(self, name: str, values: tuple[Any, ...]) -> None:
        """Pick values for a choice; the panels that depend on it are read again."""
        self._given[name] = values
        self.choices[name] = values
        self.changed.emit()
        wanted = [panel.id for panel in self.template.panels if name in self._choices_of(panel)]
        self._bridge.latest(self, "read", self._read([*wanted, *self._missing(wanted)]))

    def page(self, panel: str, offset: int, limit: int) -> pa.Table:
        """Rows of a table panel; blocking, for a thread of the bridge."""
        return self._reader().page(
            panel, offset=offset, limit=limit, choices=dict(self._given), picked=picked(self.selection)
        )

    def _missing(self, but: Iterable[str]) -> list[str]:
        """Panels that an interrupted reading had not come to."""
        known = {*self.panels, *but}
        return [panel.id for panel in self.template.panels if panel.id not in known]

    def _choices_of(self, panel: Any) -> set[str]:
        found: set[str] = set()
        sources = [panel.source, getattr(panel.options, "signals", None)]
        while sources:
            source = self.template.sources.get(sources.pop() or "")
            if source is not None:
                found.update(source.choices)
                sources.append(source.source)
        return found

    def _narrow(self) -> None:
        follow = [panel.id for panel in self.template.panels if panel.links.follows]
        if follow:
            self._bridge.latest(self, "read", self._read([*follow, *self._missing(follow)]))

    def _reader(self) -> Frames:
        if self._frames is None:
            task = None if self.template.whole else self.task
            access = JobTables(self._client, self._job.id, self._params, task, self._job.creator)
            self._frames = Frames(self.template, access)
        return self._frames

    async def _read(self, panels: list[str], *, offers: bool = False) -> None:
        self.reading = True
        self.changed.emit()
        given, narrowed = dict(self._given), picked(self.selection)
        try:
            frames = await self._bridge.call(self._reader)
            for name in panels:
                report = await self._bridge.call(frames.read, given, narrowed, [name])
                self.panels[name] = report.panels[name]
                if report.choices != self.choices:
                    self.choices = dict(report.choices)
                    self.changed.emit()
                self.arrived.emit(name)
            if offers:
                await self._offer(frames)
        except Disconnected:
            self.trouble = "The connection to the database is lost: what is shown may be old."
        except QuarterdeckError as error:
            self.trouble = str(error)
        else:
            self.trouble = ""
        self.reading = False
        self.changed.emit()

    async def _offer(self, frames: Frames) -> None:
        for choice in self.template.choices:
            try:
                self.offered[choice.name] = await self._bridge.call(frames.values, choice.name)
            except Disconnected:
                raise
            except QuarterdeckError:
                self.offered[choice.name] = []  # the panels that need it say why
            self.changed.emit()
