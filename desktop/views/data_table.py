"""A result table: its first rows, pagination, sort, filters by time and symbol, copy, and download."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, Qt, Signal
from PySide6.QtGui import QAction, QColor, QKeySequence, QPalette, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QStackedWidget,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.bridge import Bridge
from desktop.models.rows import ROW
from desktop.models.table import Download, Line, TablePage, exact_text
from desktop.theme import current, interface_font, styled, theme
from desktop.views.row_filter import RowFilter
from quarterdeck.client import Client
from quarterdeck.job import TableInfo
from quarterdeck.results import By

__all__ = ["DataTable", "plain_table"]

_SIZES = (10, 25, 50, 100)
_WIDEST = 560
_FEW = 10


def plain_table(name: str) -> QTableView:
    """A table in the desktop's dress: rows chosen as a whole, no grid, even heights."""
    view = QTableView()
    view.setAccessibleName(name)
    view.setShowGrid(False)
    view.setWordWrap(False)
    view.setAlternatingRowColors(True)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setTabKeyNavigation(False)
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


class _Cells(QStyledItemDelegate):
    """What is missing, or is not a number, stays in the background."""

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        line = index.data(ROW)
        if isinstance(line, Line):
            value = line.values[index.column()]
            if value is None or (isinstance(value, float) and math.isnan(value)):
                for role in (QPalette.ColorRole.Text, QPalette.ColorRole.HighlightedText):
                    option.palette.setColor(role, QColor(current().faint))


class DataTable(QWidget):
    """One result table. `tell` takes the sentence that says how a download ended.

    Signals:
        saved(): a download has ended
    """

    saved = Signal()

    def __init__(
        self,
        table: TableInfo,
        client: Client,
        bridge: Bridge,
        tell: Callable[[str], None],
        parent: QWidget | None = None,
        *,
        size: int = 10,
        title: str = "",
        compact: bool = False,
    ) -> None:
        """`compact`: as high as its rows, within something larger that scrolls."""
        super().__init__(parent)
        self._compact = compact
        self._client = client
        self._bridge = bridge
        self._tell = tell
        self.page = TablePage(table, client, bridge, self)
        self.page.size = size
        self.view = plain_table(f"Table {table.name}")
        self.view.setModel(self.page.model)
        self.view.setItemDelegate(_Cells(self.view))
        self._dress_view()
        self._fitted = False
        self.words = styled(QLabel(), name="small")
        self.filter = RowFilter(self.page, bridge)
        self.download = styled(QPushButton("Download…"), tip="As CSV, Parquet or Excel: the rows that are let through")
        self.loading = styled(QProgressBar(textVisible=False), called="Download", visible=False)
        self.stop = styled(QPushButton("Stop"), tip="Stop the download", visible=False)
        self.running: Download | None = None
        self.nothing = styled(QLabel(alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True), name="muted")
        self.middle = QStackedWidget()
        self.first = self._arrow("page-first", "First page", lambda: 0)
        self.back = self._arrow("chevron-left", "Previous page", lambda: self.page.page - 1)
        self.next = self._arrow("chevron-right", "Next page", lambda: self.page.page + 1)
        self.last = self._arrow("page-last", "Last page", lambda: self.page.pages - 1)
        self.where = styled(QLabel(), name="small")
        self.rows_each = styled(QComboBox(), called="Rows on a page")
        for number in _SIZES:
            self.rows_each.addItem(f"{number} rows", number)
        self.rows_each.setCurrentIndex(max(0, self.rows_each.findData(size)))
        self._lay_out(title or table.name)
        self._connect()
        self._dress()
        self.page.go(0)
        self._shown()

    def _dress_view(self) -> None:
        view = styled(self.view, name="data")
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        for number, heading in enumerate(self.page.model.headings):
            view.setColumnWidth(number, int(heading.width * 7.4) + 22)
        head = view.horizontalHeader()
        head.setSectionsClickable(True)
        head.setSectionsMovable(True)
        head.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        head.setSortIndicatorShown(True)
        head.setToolTip("Click: sort; again: the other way round; once more: as written")

    def _lay_out(self, name: str) -> None:
        top = QHBoxLayout()
        side = 0 if self._compact else 20
        top.setContentsMargins(side, 12, side, 8)
        top.setSpacing(8)
        top.addWidget(styled(QLabel(name), name="subheading" if self._compact else "heading"))
        top.addWidget(self.words)
        top.addStretch()
        top.addWidget(self.filter, 100)
        self.loading.setFixedWidth(120)
        top.addWidget(self.loading)
        top.addWidget(self.stop)
        top.addWidget(self.download)
        self.below = QWidget()
        bottom = QHBoxLayout(self.below)
        bottom.setContentsMargins(side, 8, side, 10)
        bottom.setSpacing(4)
        bottom.addWidget(self.rows_each)
        bottom.addStretch()
        for part in (self.first, self.back, self.where, self.next, self.last):
            bottom.addWidget(part)
        self.middle.addWidget(self.view)
        self.nothing.setContentsMargins(24, 12, 24, 12)
        self.middle.addWidget(self.nothing)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(top)
        middle = QHBoxLayout()
        middle.setContentsMargins(side // 2, 0, side // 2, 0)
        middle.addWidget(self.middle)
        layout.addLayout(middle, 1)
        layout.addWidget(self.below)

    def _connect(self) -> None:
        self.download.clicked.connect(self._ask_file)
        self.stop.clicked.connect(lambda: self.running.stop() if self.running is not None else None)
        self.rows_each.activated.connect(lambda: self.page.go(self.page.page, self.rows_each.currentData()))
        self.view.horizontalHeader().sectionClicked.connect(self._sort)
        self.view.customContextMenuRequested.connect(self._menu)
        self.page.shown.connect(self._shown)
        theme.changed.connect(self._dress)
        for key, act in {
            "Ctrl+C": self.copy,
            "Ctrl+S": self._ask_file,
            "Ctrl+F": self.filter.focus,
            "Alt+Right": self.next.click,
            "Alt+Left": self.back.click,
        }.items():
            shortcut = QShortcut(QKeySequence(key), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)

    def change(self, table: TableInfo) -> None:
        self.page.change(table)
        self._shown()

    def copy(self, headings: bool = False) -> None:
        """The chosen rows, else the whole page, to the clipboard: values in full, with tabs between."""
        chosen = sorted(index.row() for index in self.view.selectionModel().selectedRows())
        rows = chosen or list(range(self.page.model.rowCount()))
        lines = [line for row in rows if (line := self.page.model.row(row)) is not None]
        QApplication.clipboard().setText(self.page.copied(lines, headings=headings or not chosen))

    def _arrow(self, picture: str, words: str, place: Callable[[], int]) -> QToolButton:
        button = styled(QToolButton(), tip=words)
        button.setProperty("picture", picture)
        button.clicked.connect(lambda: self.page.go(place()))
        return button

    def _sort(self, section: int, sort: By | None = None) -> None:
        name = self.page.table.columns[section][0]
        now = self.page.sort
        if sort is None and (now is None or now.column != name):
            sort = By(name)
        elif sort is None and now is not None and not now.descending:
            sort = By(name, descending=True)
        order = Qt.SortOrder.DescendingOrder if sort is not None and sort.descending else Qt.SortOrder.AscendingOrder
        self.view.horizontalHeader().setSortIndicator(-1 if sort is None else section, order)
        self.page.order(sort)

    def _menu(self, where: QPoint) -> None:
        index = self.view.indexAt(where)
        line = index.data(ROW) if index.isValid() else None
        menu = QMenu(self)
        menu.addAction("Copy Rows\tCtrl+C").triggered.connect(lambda: self.copy())
        menu.addAction("Copy Rows with Headings").triggered.connect(lambda: self.copy(headings=True))
        if isinstance(line, Line):
            text = exact_text(line.values[index.column()])
            menu.addAction("Copy Cell").triggered.connect(lambda: QApplication.clipboard().setText(text))
            section, name = index.column(), self.page.table.columns[index.column()][0]
            menu.addSeparator()
            for words, sort in ((f"Sort by {name}", By(name)), (f"Sort by {name}, Descending", By(name, True))):
                action: QAction = menu.addAction(words)
                action.triggered.connect(lambda checked=False, sort=sort: self._sort(section, sort))
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(self.view.viewport().mapToGlobal(where))

    def _shown(self) -> None:
        table, page = self.page.table, self.page
        state = "" if table.complete else " so far"
        self.words.setText(f"{table.rows:,} row{'' if table.rows == 1 else 's'}{state}, {len(table.columns)} columns")
        low = page.page * page.size + 1
        high = min(low + page.size - 1, page.rows)
        through = f" ({table.rows:,} in all)" if page.selection else ""
        self.where.setText(f"  {low:,}–{high:,} of {page.rows:,}{through}  " if page.rows else "  no rows  ")
        for button, on in (
            (self.first, page.page > 0),
            (self.back, page.page > 0),
            (self.next, page.page < page.pages - 1),
            (self.last, page.page < page.pages - 1),
        ):
            button.setEnabled(on)
        self.download.setEnabled(page.rows > 0 and self.running is None)
        self.filter.setVisible(table.rows > _FEW or bool(page.selection))
        empty = page.trouble or (
            "" if page.rows or page.reading else "No row matches." if page.selection else "No rows."
        )
        self.nothing.setText(empty)
        self.middle.setCurrentWidget(self.nothing if empty else self.view)
        if self._compact:
            self.below.setVisible(page.rows > _FEW)
            bar = self.view.horizontalScrollBar().sizeHint().height()
            self.middle.setFixedHeight(30 + 27 * max(1, min(page.size, page.rows)) + bar)
        if not self._fitted and page.model.rowCount():
            # by the first rows and once: what the user made of the widths stays
            self._fitted = True
            head = self.view.horizontalHeader()
            for number in range(page.model.columnCount()):
                needed = min(max(self.view.sizeHintForColumn(number) + 14, head.sectionSizeHint(number) + 8), _WIDEST)
                self.view.setColumnWidth(number, max(self.view.columnWidth(number), needed))

    def _dress(self) -> None:
        for button in (self.first, self.back, self.next, self.last):
            button.setIcon(resources.icon(button.property("picture"), current().muted))
        self.download.setIcon(resources.icon("download", current().muted))

    def _ask_file(self) -> None:
        if not self.download.isEnabled():
            return
        dialog = QFileDialog(self.window(), f"Download {self.page.table.name}")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(["CSV (*.csv)", "Parquet (*.parquet)", "Excel (*.xlsx)"])
        dialog.setDefaultSuffix("csv")
        dialog.filterSelected.connect(lambda words: dialog.setDefaultSuffix(words.rpartition("*.")[2].rstrip(")")))
        dialog.selectFile(f"{self.page.table.name}.csv")
        dialog.fileSelected.connect(lambda name: self.save(Path(name)))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def save(self, path: Path) -> None:
        """Write the rows that the filters let through to a file, in the background."""
        if self.running is None:
            self.running = Download(self.page, path, self._client, self._bridge, self._tell)
            self.running.changed.connect(self._loading)
            self._loading()

    def _loading(self) -> None:
        running = self.running
        if running is not None and running.ended:
            self.running = running = None
            self.saved.emit()
        for part in (self.loading, self.stop):
            part.setVisible(running is not None)
        self.download.setEnabled(running is None and self.page.rows > 0)
        if running is not None:
            self.loading.setRange(0, 1000)
            self.loading.setValue(int(running.share * 1000))
