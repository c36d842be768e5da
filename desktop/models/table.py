"""A result table, a page at a time."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Signal

from desktop.bridge import Bridge
from desktop.models.rows import Heading, RowsModel
from quarterdeck.client import Client

if TYPE_CHECKING:
    from quarterdeck.job import TableInfo

__all__ = ["TablePage", "value_text"]

Line = tuple[int, tuple[str, ...]]
_NUMBERS = ("int", "uint", "float", "double", "halffloat", "decimal")


def value_text(value: Any) -> str:
    """A cell's words: numbers to seven digits, times without needless parts, nothing for what is missing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if math.isnan(value):
            return ""
        if value == int(value) and abs(value) < 1e15 if math.isfinite(value) else False:
            return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.1f}"
        return f"{value:,.7g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dt.datetime):
        words = value.replace(tzinfo=None).isoformat(" ")
        return words.removesuffix(" 00:00:00")
    return str(value)


class TablePage(QObject):
    """One page of a result table.

    Signals:
        shown(): `model` holds the asked page now
    """

    shown = Signal()

    def __init__(self, table: TableInfo, client: Client, bridge: Bridge, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.table = table
        self.size = 10
        self.page = 0
        self._client = client
        self._bridge = bridge
        self.model: RowsModel[Line] = RowsModel(
            [
                Heading(
                    name,
                    name,
                    max(10, min(28, len(name) + 3)) if not kind.startswith("timestamp") else 20,
                    "right" if kind.startswith(_NUMBERS) else "left",
                )
                for name, kind in table.columns
            ],
            key=lambda line: line[0],
            text=lambda line, column: line[1][column],
            parent=self,
        )

    @property
    def pages(self) -> int:
        return max(1, -(-self.table.rows // self.size))

    def go(self, page: int, size: int | None = None) -> None:
        """Show that page (from 0), with that many rows."""
        if size is not None and size != self.size:
            page = self.page * self.size // size
            self.size = size
        self.page = max(0, min(page, self.pages - 1))
        self._bridge.latest(self, "page", self._read(self.page * self.size))

    def change(self, table: TableInfo) -> None:
        """The table as it is now; what is shown is read again when it grew."""
        grew = table.rows != self.table.rows or table.complete != self.table.complete
        self.table = table
        if grew:
            self.go(self.page)

    async def _read(self, offset: int) -> None:
        lines = await self._bridge.call(self._lines, offset)
        self.model.replace(lines)
        self.shown.emit()

    def _lines(self, offset: int) -> list[Line]:
        page = self._client.page(self.table.id, offset=offset, limit=self.size)
        columns = [[value_text(value) for value in column.to_pylist()] for column in page.columns]
        return [(offset + number, cells) for number, cells in enumerate(zip(*columns, strict=True))]
