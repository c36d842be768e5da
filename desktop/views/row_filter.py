"""Which rows of a result table: from a time, to a time, of these symbols."""

from __future__ import annotations

import datetime as dt

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, Qt, QTimer
from PySide6.QtGui import QFocusEvent
from PySide6.QtWidgets import QCompleter, QHBoxLayout, QLineEdit, QSizePolicy, QWidget

from desktop.bridge import Bridge
from desktop.models.table import TablePage
from desktop.theme import styled
from quarterdeck.errors import QuarterdeckError
from quarterdeck.results import Selection

__all__ = ["RowFilter", "moment"]

_LONG = 2_000_000


def moment(text: str, *, end: bool = False) -> dt.datetime | None:
    """A time as it is typed, in UTC; None for nothing. `end`: a day without a time is meant to its end.

    Raises:
        ValueError: it is no time.
    """
    text = text.strip()
    if not text:
        return None
    time = dt.datetime.fromisoformat(text)
    if end and len(text) <= 10:
        time = dt.datetime.combine(time, dt.time.max)
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time


class _Several(QCompleter):
    """Completes the last of several words with commas between."""

    def splitPath(self, path: str) -> list[str]:
        return [path.rpartition(",")[2].strip()]

    def pathFromIndex(self, index: QModelIndex | QPersistentModelIndex) -> str:
        line = self.widget()
        before = line.text().rpartition(",")[0] if isinstance(line, QLineEdit) else ""
        word = str(index.data())
        return f"{before}, {word}" if before else word


class _Symbols(QLineEdit):
    """Asks for the table's symbols when it is first used."""

    def __init__(self, page: TablePage, bridge: Bridge) -> None:
        super().__init__(placeholderText="Symbols")
        self._page = page
        self._bridge = bridge
        self._asked = False

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        if not self._asked and self._page.table.rows <= _LONG:
            self._asked = True
            self._bridge.start(self, self._know())

    async def _know(self) -> None:
        try:
            names = await self._bridge.call(self._page.symbols)
        except QuarterdeckError:
            return  # one can type without being offered anything
        completer = _Several(names, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.setCompleter(completer)


class RowFilter(QWidget):
    """The filters that a table's columns allow; they take effect shortly after typing."""

    def __init__(self, page: TablePage, bridge: Bridge) -> None:
        super().__init__()
        self._page = page
        timed, named = page.has("time"), page.has("symbol")
        zone = "UTC"
        tip = f"A day or a time, such as 2024-01-31 or 2024-01-31 09:30 ({zone})"
        self.start = styled(QLineEdit(placeholderText="From"), tip=tip, called="From time", visible=timed)
        self.end = styled(QLineEdit(placeholderText="To"), tip=tip, called="To time", visible=timed)
        self.symbols = styled(_Symbols(page, bridge), tip="Several with commas between", called="Symbols")
        self.symbols.setVisible(named)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMaximumWidth(142 * 2 + 150 + 12)
        self._timer = QTimer(self, singleShot=True, interval=350)
        self._timer.timeout.connect(self.apply)
        for part, width in ((self.start, 142), (self.end, 142), (self.symbols, 150)):
            part.setMinimumWidth(64)
            part.setMaximumWidth(width)
            part.setClearButtonEnabled(True)
            part.textChanged.connect(lambda: self._timer.start())
            part.returnPressed.connect(self.apply)
            line.addWidget(part)

    def focus(self) -> None:
        """To the first of them."""
        part = next((one for one in (self.symbols, self.start) if not one.isHidden()), None)
        if part is not None:
            part.setFocus()
            part.selectAll()

    def apply(self) -> None:
        """Choose the rows; a time that is none is marked, and counts for nothing."""
        self._timer.stop()
        symbols = tuple(sorted({word.strip() for word in self.symbols.text().split(",") if word.strip()}))
        self._page.choose(
            Selection(
                start=self._time(self.start, False),
                end=self._time(self.end, True),
                symbols=symbols if symbols else None,
            )
        )

    @staticmethod
    def _time(line: QLineEdit, end: bool) -> dt.datetime | None:
        try:
            found = moment(line.text(), end=end)
            wrong = False
        except ValueError:
            found, wrong = None, True
        if line.property("wrong") != wrong:
            line.setProperty("wrong", wrong)
            line.style().polish(line)
        return found
