"""The head of a job list: columns by name in the user's order and width, sort, the check box for all."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QItemSelectionModel, QPoint, QRect, Qt, Signal
from PySide6.QtGui import QFont, QFontMetrics, QGuiApplication, QMouseEvent, QPainter
from PySide6.QtWidgets import QHeaderView, QTableView

from desktop import resources
from desktop.models.checks import Checks
from desktop.models.jobs import JobsModel
from desktop.settings import Settings
from desktop.theme import current, interface_font
from desktop.views.job_cells import ACTION_WORDS, BUTTONS, paint_check
from desktop.views.tick_menu import TickMenu
from quarterdeck.errors import Invalid
from quarterdeck.query import Sort

__all__ = ["Head"]

_WIDTHS = {
    "check": 34,
    "name": 140,
    "subject": 120,
    "status": 142,
    "run_time": 80,
    "started": 162,
    "created": 162,
    "origin": 86,
    "creator": 74,
    "nodes": 62,
    "backtest_type": 90,
    "backtest_start": 196,
    "data_type": 74,
    "strategy_type": 84,
}
"""What a column needs, in pixels."""
_SHARES = {"name": 5, "subject": 4, "status": 1, "creator": 2, "nodes": 2, "origin": 1, "data_type": 1}
"""How columns share the room that is left."""
_LEAST = 50


class Head(QHeaderView):
    """Columns that share the width by their wishes until the user sets them.

    Signals:
        sorted(Sort): the user wants another order
        ticked(): the user clicked on the check box
    """

    sorted = Signal(object)
    ticked = Signal()

    def __init__(self, table: QTableView, jobs: JobsModel, settings: Settings, checks: Checks | None) -> None:
        super().__init__(Qt.Orientation.Horizontal, table)
        self.chosen = False
        self._jobs = jobs
        self._settings = settings
        self._checks = checks
        self._keys = [heading.key for heading in jobs.headings]
        self._fixed = {number for number, key in enumerate(self._keys) if key in {"check", "actions"}}
        self._fitting = False
        self.setFixedHeight(32)
        self.setHighlightSections(False)
        self.setSectionsMovable(True)
        self.setFirstSectionMovable(checks is None)
        self.setMinimumSectionSize(30)
        self.setResizeContentsPrecision(0)  # a double click fits a column to the rows in view, not to a thousand
        self.setSectionsClickable(True)
        self.setSortIndicatorShown(True)
        self.setStretchLastSection(True)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(lambda where: self.offer(self.mapToGlobal(where)))
        self.sectionResized.connect(self._resized)
        self.sectionMoved.connect(self._resized)

    def attach(self) -> None:
        """The table has it now: take up what was remembered."""
        # a selection of its own: it would ask each row of a million whether it is selected
        self.setSelectionModel(QItemSelectionModel(self._jobs, self))
        self._recall()
        self.show_sort(self.remembered_sort())
        self.sortIndicatorChanged.connect(self._sort)
        if self._checks is not None:
            self._checks.changed.connect(self.viewport().update)
            self._jobs.patched.connect(self.viewport().update)

    # Remembered by names, so that another version's columns do no harm

    def remember(self) -> None:
        """Write what was chosen into the settings."""
        name = f"columns/{self._jobs.kind.key}"
        order = [self._keys[self.logicalIndex(place)] for place in range(self.count())]
        self._settings.set(f"{name}/order", [key for key in order if key not in {"check", "actions"}])
        self._settings.set(f"{name}/hidden", [k for n, k in enumerate(self._keys) if self.isSectionHidden(n)])
        widths = {key: self.sectionSize(n) for n, key in enumerate(self._keys) if not self.isSectionHidden(n)}
        self._settings.set(f"{name}/widths", widths if self.chosen else {})
        sort = self._jobs.order
        self._settings.set(f"{name}/sort", f"{'-' if sort.descending else ''}{sort.column}")

    def remembered_sort(self) -> Sort:
        """By what the list was sorted at last."""
        words = self._settings.text(f"columns/{self._jobs.kind.key}/sort")
        try:
            return Sort(words.removeprefix("-"), words.startswith("-")) if words else Sort()
        except Invalid:
            return Sort()

    def _recall(self) -> None:
        name = f"columns/{self._jobs.kind.key}"
        first = 0 if self._checks is None else 1
        known = [key for key in self._settings.words(f"{name}/order") if key in self._keys]
        for place, key in enumerate(dict.fromkeys(known)):
            self.moveSection(self.visualIndex(self._keys.index(key)), first + place)
        for key in self._settings.words(f"{name}/hidden"):
            if key in self._keys and key not in {"name", "check", "actions"}:
                self.setSectionHidden(self._keys.index(key), True)
        widths = self._settings.numbers(f"{name}/widths")
        self.chosen = bool(widths)
        for key, width in widths.items():
            if key in self._keys:
                self.resizeSection(self._keys.index(key), max(_LEAST, min(width, 2000)) if key != "check" else 34)

    # Widths

    def fit(self, width: int) -> None:
        """Share that width among the columns, unless the user has set them."""
        if self.chosen or width < 200:
            return
        metrics = QFontMetrics(interface_font(12, QFont.Weight.Medium))
        actions = sum(metrics.horizontalAdvance(ACTION_WORDS[a][0]) + 34 for a in BUTTONS) + 6
        shown = [number for number in range(len(self._keys) - 1) if not self.isSectionHidden(number)]
        least = {n: self._least(n, metrics) for n in shown}
        shares = {n: _SHARES.get(self._keys[n], 0) for n in shown}
        spare = max(0, width - actions - sum(least.values())) / max(1, sum(shares.values()))
        self._fitting = True
        for number in shown:
            self.resizeSection(number, int(least[number] + spare * shares[number]))
        self.resizeSection(len(self._keys) - 1, actions)
        self._fitting = False

    def _least(self, number: int, metrics: QFontMetrics) -> int:
        key = self._keys[number]
        words = 0 if key == "check" else metrics.horizontalAdvance(self._jobs.headings[number].title) + 20
        return max(_WIDTHS.get(key, 80), words)

    def _resized(self) -> None:
        # while the left button is down it is the user who resizes
        if not self._fitting and QGuiApplication.mouseButtons() & Qt.MouseButton.LeftButton:
            self.chosen = True

    # Which columns

    def offer(self, where: QPoint) -> None:
        """The menu of columns at that place of the screen."""
        menu = TickMenu(self)
        for number in (self.logicalIndex(place) for place in range(self.count())):
            if number in self._fixed:
                continue
            action = menu.addAction(self._jobs.headings[number].title)
            action.setCheckable(True)
            action.setChecked(not self.isSectionHidden(number))
            action.setEnabled(self._keys[number] != "name")
            action.toggled.connect(partial(self._show_column, number))
        menu.addSeparator()
        menu.addAction("Reset Columns").triggered.connect(self._reset)
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(where)

    def _show_column(self, number: int, on: bool) -> None:
        self.setSectionHidden(number, not on)
        self.fit(self.viewport().width())

    def _reset(self) -> None:
        for number in range(self.count()):
            self.setSectionHidden(number, False)
            self.moveSection(self.visualIndex(number), number)
        self.chosen = False
        self.fit(self.viewport().width())

    # Sort

    def show_sort(self, sort: Sort) -> None:
        """Point to the column by which the list is sorted."""
        column = next((c.key for c in self._jobs.kind.columns if c.sort == sort.column), "")
        order = Qt.SortOrder.DescendingOrder if sort.descending else Qt.SortOrder.AscendingOrder
        self.blockSignals(True)
        self.setSortIndicator(self._jobs.column(column), order)
        self.blockSignals(False)
        self.viewport().update()

    def _sort(self, number: int, order: Qt.SortOrder) -> None:
        column = next((c for c in self._jobs.kind.columns if number >= 0 and c.key == self._keys[number]), None)
        if column is None:
            self.show_sort(self._jobs.order)
        else:
            self.sorted.emit(Sort(column.sort, order == Qt.SortOrder.DescendingOrder))

    # The check box

    def paintSection(self, painter: QPainter, rect: QRect, number: int) -> None:
        super().paintSection(painter, rect, number)
        if number == self.sortIndicatorSection() and number not in self._fixed:
            self._paint_arrow(painter, rect, number)
        if self._keys[number] == "check" and self._checks is not None:
            paint_check(painter, rect, self._checks.state(self._jobs.rowCount()))

    def _paint_arrow(self, painter: QPainter, rect: QRect, number: int) -> None:
        heading = self._jobs.headings[number]
        words = QFontMetrics(interface_font(12, QFont.Weight.Medium)).horizontalAdvance(heading.title)
        left = rect.right() - 8 - words - 18 if heading.align == "right" else rect.left() + 8 + words + 3
        place = QRect(min(left, rect.right() - 17), rect.center().y() - 8, 16, 16)
        up = self.sortIndicatorOrder() == Qt.SortOrder.AscendingOrder
        resources.paint_icon(painter, place, "menu-up" if up else "menu-down", current().muted)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if not self._on_check(event):
            super().mousePressEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._on_check(event):
            self.ticked.emit()
        else:
            super().mouseReleaseEvent(event)

    def _on_check(self, event: QMouseEvent) -> bool:
        number = self.logicalIndexAt(event.position().toPoint())
        return event.button() == Qt.MouseButton.LeftButton and number >= 0 and self._keys[number] == "check"
