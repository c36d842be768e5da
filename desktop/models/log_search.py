"""A search through a whole log: the next hit at once, all hits counted meanwhile, walked back and forth."""

from __future__ import annotations

import re
from collections.abc import Iterator

from PySide6.QtCore import QObject, Signal

from desktop.bridge import Bridge
from desktop.models.log import LogModel
from desktop.models.log_text import Shown
from quarterdeck.errors import QuarterdeckError
from quarterdeck.finding import Finding, Wanted
from quarterdeck.outline import END, Cursor

__all__ = ["LogSearch"]

_MARKED = 200


class LogSearch(QObject):
    """What is searched for in a log, and what was found so far.

    Signals:
        changed(): more was found, or the search ended
    """

    changed = Signal()

    def __init__(self, model: LogModel, bridge: Bridge, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.share: float | None = None
        self.trouble = ""
        self._model = model
        self._bridge = bridge
        self.wanted = Wanted()
        self._finding: Finding | None = None
        self._turn = 0
        self._marker: re.Pattern[str] | None = None

    @property
    def text(self) -> str:
        """What is searched for."""
        return self.wanted.text

    @property
    def running(self) -> bool:
        """Whether hits are being counted."""
        return self.share is not None

    def look_for(self, text: str, *, case: bool, regular: bool) -> None:
        """Search for that from now on; `step` goes to hits, and counts them."""
        wanted = Wanted(*self._model.narrowed, text, case, regular)
        if wanted != self.wanted:
            self.stop()
            self.wanted = wanted
            self._finding = None
            self.trouble = ""
            self._marker = _marker(wanted)
            self.changed.emit()

    def stop(self) -> None:
        """Count no more; what was found stays."""
        self._turn += 1
        if self.share is not None:
            self.share = None
            self.changed.emit()

    async def step(self, here: Cursor | None, direction: int) -> Cursor | None:
        """The next (1) or previous (-1) hit seen from a place, going round at the ends; None if there is none."""
        wanted = self.wanted
        if not wanted.text:
            return None
        log = await self._model.log()
        if self._finding is None:
            self._finding = log.finding(
                wanted.text, task=wanted.task, level=wanted.level, case=wanted.case, regular=wanted.regular
            )
        finding = self._finding
        try:
            if finding.walkable:
                return _walked(finding, here, direction)
            for edge in (here, None) if here is not None else (None,):
                limits = {"after": edge} if direction > 0 else {"before": edge or END}
                found = await self._bridge.call(
                    log.search,
                    wanted.text,
                    1,
                    task=wanted.task,
                    level=wanted.level,
                    case=wanted.case,
                    regular=wanted.regular,
                    **limits,
                )
                if found:
                    return Cursor.of(found[0])
            return None
        except QuarterdeckError as error:
            self.trouble = str(error)
            self.changed.emit()
            return None
        finally:
            # after the first hit, so that it comes as soon as it can
            if finding is self._finding and not finding.complete and not self.running and not self.trouble:
                self.go_on()

    def go_on(self) -> None:
        """Count on, through what has not been looked at."""
        if (finding := self._finding) is not None and not self.running:
            self._turn += 1
            self.share = 0.0
            self._bridge.start(self, self._count(finding, self._turn))

    def grown(self) -> None:
        """The log grew: count on if all of it was counted."""
        if self._finding is not None and self._finding.complete:
            self.go_on()

    async def _count(self, finding: Finding, turn: int) -> None:
        steps = finding.steps()
        try:
            while turn == self._turn and (share := await self._bridge.call(_next, steps)) is not None:
                if turn == self._turn:
                    self.share = share
                    self.changed.emit()
        except QuarterdeckError as error:
            if turn == self._turn:
                self.trouble = str(error)
        finally:
            if turn == self._turn:
                self.share = None
                self.changed.emit()
        # in a thread: it waits for what is being read
        await self._bridge.call(_close, steps)

    @property
    def count(self) -> int | None:
        """How many hits were found so far; None when nothing was searched."""
        return None if self._finding is None else self._finding.count

    @property
    def complete(self) -> bool:
        """Whether the whole log has been looked at."""
        return self._finding is not None and self._finding.complete

    def words(self, place: Cursor | None) -> str:
        """How the search stands, seen from a place: "3 of 1,204"."""
        if self.trouble:
            return self.trouble
        finding = self._finding
        if finding is None:
            return ""
        count = f"{finding.count:,}{'' if finding.complete else '+'}"
        if not finding.count:
            return "no hit" if finding.complete else ""
        if place is not None:
            number = finding.number(place)
            if finding.at(number) == place:
                return f"{number + 1:,} of {count}"
        return f"{count} {'hit' if count == '1' else 'hits'}"

    def marks(self, line: Shown, first: int, last: int) -> list[tuple[int, int]]:
        """Where the text stands in a line, as columns, between two columns."""
        if self._marker is None:
            return []
        if line.columns is None:
            start, end = max(first - 200, 0), min(last + 200, len(line.text))
        else:
            start, end = 0, min(len(line.text), 4000)
        found: list[tuple[int, int]] = []
        for match in self._marker.finditer(line.text, start, end):
            if match.end() > match.start():
                found.append((line.column(match.start()), line.column(match.end())))
            if len(found) == _MARKED:
                break
        return found


def _marker(wanted: Wanted) -> re.Pattern[str] | None:
    """What marks hits on the screen. Expressions that could take long (Python's are not PostgreSQL's) mark nothing."""
    if not wanted.text:
        return None
    pattern = wanted.text if wanted.regular else re.escape(wanted.text)
    if wanted.regular and ("(" in pattern or sum(map(pattern.count, "*+{?")) > 2):
        return None
    try:
        return re.compile(pattern, re.NOFLAG if wanted.case else re.IGNORECASE)
    except re.error:
        return None


def _walked(finding: Finding, here: Cursor | None, direction: int) -> Cursor | None:
    if not finding.count:
        return None
    if direction > 0:
        number = 0 if here is None else finding.number(here)
        if here is not None and finding.at(number) == here:
            number += 1
    else:
        number = finding.count - 1 if here is None else finding.number(here) - 1
    return finding.at(number % finding.count)


def _next(steps: Iterator[float]) -> float | None:
    return next(steps, None)


def _close(steps: Iterator[float]) -> None:
    close = getattr(steps, "close", None)
    if close is not None:
        close()
