"""A result table with its first rows, pagination and export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.bridge import Bridge
from desktop.models.table import TablePage
from desktop.theme import current, interface_font, styled, theme
from quarterdeck.client import Client
from quarterdeck.job import TableInfo

__all__ = ["DataTable", "plain_table"]

_SIZES = (10, 25, 50, 100)
_WIDEST = 560


def plain_table(name: str) -> QTableView:
    """A table in the desktop's dress: rows chosen as a whole, no grid, even heights."""
    view = QTableView()
    view.setAccessibleName(name)
    view.setShowGrid(False)
    view.setWordWrap(False)
    view.setAlternatingRowColors(True)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
    view.setFont(interface_font(13))
    view.verticalHeader().hide()
    view.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    view.verticalHeader().setDefaultSectionSize(27)
    head = view.horizontalHeader()
    head.setFixedHeight(30)
    head.setHighlightSections(False)
    return view


class DataTable(QWidget):
    """One result table.

    Signals:
        saved(str): a file was written; the sentence that says so
    """

    saved = Signal(str)

    def __init__(self, table: TableInfo, client: Client, bridge: Bridge, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._client = client
        self._bridge = bridge
        self.page = TablePage(table, client, bridge, self)
        self.view = plain_table(f"Table {table.name}")
        self.view.setModel(self.page.model)
        for number, heading in enumerate(self.page.model.headings):
            self.view.setColumnWidth(number, int(heading.width * 7.4) + 22)
        self._fitted = False
        self.words = styled(QLabel(), name="small")
        self.download = QPushButton("Download…")
        self.download.clicked.connect(self._ask_file)
        self.first = self._arrow("page-first", "First page", lambda: 0)
        self.back = self._arrow("chevron-left", "Previous page", lambda: self.page.page - 1)
        self.next = self._arrow("chevron-right", "Next page", lambda: self.page.page + 1)
        self.last = self._arrow("page-last", "Last page", lambda: self.page.pages - 1)
        self.where = styled(QLabel(), name="small")
        self.rows_each = QComboBox()
        for size in _SIZES:
            self.rows_each.addItem(f"{size} rows", size)
        self.rows_each.activated.connect(lambda: self.page.go(self.page.page, self.rows_each.currentData()))
        self._lay_out(table.name)
        self.page.shown.connect(self._shown)
        theme.changed.connect(self._dress)
        self._dress()
        self.page.go(0)

    def _lay_out(self, name: str) -> None:
        top = QHBoxLayout()
        top.setContentsMargins(20, 12, 20, 8)
        top.addWidget(styled(QLabel(name), name="heading"))
        top.addSpacing(8)
        top.addWidget(self.words)
        top.addStretch()
        top.addWidget(self.download)
        bottom = QHBoxLayout()
        bottom.setContentsMargins(20, 8, 20, 10)
        bottom.setSpacing(4)
        bottom.addWidget(self.rows_each)
        bottom.addStretch()
        for part in (self.first, self.back, self.where, self.next, self.last):
            bottom.addWidget(part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        middle = QHBoxLayout()
        middle.setContentsMargins(10, 0, 10, 0)
        middle.addWidget(self.view)
        layout.addLayout(middle, 1)
        layout.addLayout(bottom)

    def change(self, table: TableInfo) -> None:
        self.page.change(table)
        self._shown()

    def _arrow(self, picture: str, words: str, place: Callable[[], int]) -> QToolButton:
        button = styled(QToolButton(), tip=words)
        button.setAccessibleName(words)
        button.setProperty("picture", picture)
        button.clicked.connect(lambda: self.page.go(place()))
        return button

    def _shown(self) -> None:
        table, page = self.page.table, self.page
        state = "" if table.complete else " so far"
        self.words.setText(f"{table.rows:,} rows{state}, {len(table.columns)} columns")
        low = page.page * page.size + 1
        high = min(low + page.size - 1, table.rows)
        self.where.setText(f"  {low:,}–{high:,} of {table.rows:,}  " if table.rows else "  no rows  ")
        self.first.setEnabled(page.page > 0)
        self.back.setEnabled(page.page > 0)
        self.next.setEnabled(page.page < page.pages - 1)
        self.last.setEnabled(page.page < page.pages - 1)
        self.download.setEnabled(table.rows > 0)
        if not self._fitted and page.model.rowCount():
            # by the first rows and once: what the user made of the widths stays
            self._fitted = True
            for number in range(page.model.columnCount()):
                needed = min(self.view.sizeHintForColumn(number) + 14, _WIDEST)
                self.view.setColumnWidth(number, max(self.view.columnWidth(number), needed))

    def _dress(self) -> None:
        for button in (self.first, self.back, self.next, self.last):
            button.setIcon(resources.icon(button.property("picture"), current().muted))
        self.download.setIcon(resources.icon("download", current().muted))

    def _ask_file(self) -> None:
        dialog = QFileDialog(self.window(), f"Download {self.page.table.name}")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(["CSV (*.csv)", "Parquet (*.parquet)", "Excel (*.xlsx)"])
        dialog.setDefaultSuffix("csv")
        dialog.filterSelected.connect(lambda words: dialog.setDefaultSuffix(words.rpartition("*.")[2].rstrip(")")))
        dialog.selectFile(f"{self.page.table.name}.csv")
        dialog.fileSelected.connect(lambda name: self._bridge.start(self, self.export(Path(name))))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    async def export(self, path: Path) -> None:
        """Write the whole table to a file."""
        self.download.setEnabled(False)
        try:
            await self._bridge.call(self._client.export, self.page.table.id, path)
            self.saved.emit(f"{self.page.table.name} is saved as {path.name}.")
        finally:
            self.download.setEnabled(True)
