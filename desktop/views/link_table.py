"""A table of rows with a link, painted cells and actions at a row's end, for the cluster and the audit."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import (
    QEvent,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import (
    QAction,
    QColor,
    QContextMenuEvent,
    QFont,
    QFontMetrics,
    QGuiApplication,
    QKeySequence,
    QMouseEvent,
    QPainter,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QMenu,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QWidget,
)

from desktop import resources
from desktop.models.rows import ROW, RowsModel
from desktop.settings import Settings
from desktop.theme import ROW_HEIGHT, current, interface_font, theme

__all__ = ["ACTIONS", "Act", "LinkTable", "Look"]

ACTIONS = "actions"
"""The key of the column where a row's actions are painted."""
_PAD = 8
Index = QModelIndex | QPersistentModelIndex
Paint = Callable[[QPainter, QRect, Any, str], None]


@dataclass(frozen=True, slots=True)
class Act:
    """What may be done to a row: its key, its words, its icon; a keyboard shortcut if there is one."""

    key: str
    words: str
    picture: str
    shortcut: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How a table shows its rows.

    `widths` are a column's least width in pixels and its share of the room that is left; `painted` paints cells of a
    column that are not plain text: painter, place, row, words.
    """

    name: str
    widths: Mapping[str, tuple[int, int]]
    link: str = ""
    linked: Callable[[Any], bool] = lambda row: True
    link_words: str = "Open Job"
    acts: Callable[[Any], Sequence[Act]] = lambda row: ()
    painted: Mapping[str, Paint] | None = None
    quiet: frozenset[str] = frozenset()
    faint: Callable[[Any], bool] = lambda row: False
    tip: Callable[[Any, str], str] = lambda row, key: ""
    many: bool = False
    sortable: bool = False


class _Cells(QStyledItemDelegate):
    def __init__(self, table: LinkTable) -> None:
        super().__init__(table)
        self._table = table
        self._link = interface_font(13, QFont.Weight.Medium)
        self._hot_link = QFont(self._link)
        self._hot_link.setUnderline(True)
        self._plain = interface_font(13)
        self._button = interface_font(12, QFont.Weight.Medium)

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        words = str(index.data() or "")
        return QSize(QFontMetrics(self._plain).horizontalAdvance(words) + 2 * _PAD + 4, ROW_HEIGHT)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        t = current()
        look = self._table.look
        rect: QRect = option.rect
        hovered = index.row() == self._table.hover[0]
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        if selected or hovered:
            painter.fillRect(rect, QColor(t.selected if selected else t.hover))
        painter.fillRect(rect.left(), rect.bottom(), rect.width(), 1, QColor(t.line))
        row = index.data(ROW)
        inner = rect.adjusted(_PAD, 0, -_PAD, 0)
        if row is None:
            painter.fillRect(inner.adjusted(0, 12, -rect.width() // 3, -12), QColor(t.line))
            return
        key = self._table.rows.headings[index.column()].key
        if key == ACTIONS:
            self._paint_acts(painter, rect, row, index.row())
            return
        words = str(index.data() or "")
        if look.painted and key in look.painted:
            look.painted[key](painter, inner, row, words)
            return
        link = key == look.link and look.linked(row)
        hot = link and self._table.hover == (index.row(), key)
        painter.setFont(self._hot_link if hot else self._link if link else self._plain)
        quiet = key in look.quiet or look.faint(row)
        painter.setPen(QColor(t.link if link else t.muted if quiet else t.text))
        elided = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, inner.width())
        right = self._table.rows.headings[index.column()].align == "right"
        side = Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
        painter.drawText(inner, int(side | Qt.AlignmentFlag.AlignVCenter), elided)

    def _paint_acts(self, painter: QPainter, rect: QRect, row: Any, number: int) -> None:
        t = current()
        painter.setFont(self._button)
        for act, area in self.buttons(rect, row):
            hot = self._table.hover == (number, act.key)
            ink = t.link if hot else t.text if number == self._table.hover[0] else t.muted
            if hot:
                painter.save()
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(t.selected))
                painter.drawRoundedRect(area, 5, 5)
                painter.restore()
            resources.paint_icon(painter, QRect(area.left() + 6, area.center().y() - 7, 15, 15), act.picture, ink)
            painter.setPen(QColor(ink))
            painter.drawText(area.adjusted(25, 0, 0, 0), int(Qt.AlignmentFlag.AlignVCenter), act.words)

    def buttons(self, rect: QRect, row: Any) -> list[tuple[Act, QRect]]:
        """Where each action of the row is painted."""
        metrics = QFontMetrics(self._button)
        left, places = rect.left() + 2, []
        for act in self._table.look.acts(row):
            width = metrics.horizontalAdvance(act.words) + 34
            places.append((act, QRect(left, rect.center().y() - 11, width, 23)))
            left += width + 2
        return places

    def target(self, where: QPoint) -> tuple[int, str]:
        """The row there and the key of what a click does to it: the link's column, an act's; empty for nothing."""
        index = self._table.indexAt(where)
        row = index.data(ROW) if index.isValid() else None
        if row is None:
            return (index.row() if index.isValid() else -1, "")
        rect = self._table.visualRect(index)
        look, key = self._table.look, self._table.rows.headings[index.column()].key
        if key == look.link and look.linked(row):
            words = QFontMetrics(self._link).horizontalAdvance(str(index.data() or ""))
            return (index.row(), key if where.x() <= rect.left() + min(words + 2 * _PAD, rect.width()) else "")
        if key == ACTIONS:
            hit = next((act.key for act, area in self.buttons(rect, row) if area.contains(where)), "")
            return (index.row(), hit)
        return (index.row(), "")


class LinkTable(QTableView):
    """Rows of a `RowsModel`.

    Signals:
        acted(object, str): that is wanted of a row: the key of the link's column or of an act
        ordered(str, bool): another order is wanted: by the column of that key ('' for none), descending or not
    """

    acted = Signal(object, str)
    ordered = Signal(str, bool)

    def __init__(
        self, rows: RowsModel[Any], look: Look, settings: Settings | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.rows = rows
        self.look = look
        self.hover: tuple[int, str] = (-1, "")
        self.menu: QMenu | None = None
        self._settings = settings
        self._anchor: tuple[object, int] | None = None
        self._kept: set[Hashable] = set()
        self._fitting = False
        self.chosen_widths = False
        self.setModel(rows)
        self.cells = _Cells(self)
        self.setItemDelegate(self.cells)
        self._dress()
        rows.patching.connect(self._before_patch)
        rows.patched.connect(self._after_patch)
        rows.modelAboutToBeReset.connect(self._before_reset)
        rows.modelReset.connect(self._after_reset)
        theme.changed.connect(self.viewport().update)
        self._shortcut(("Return", "Enter"), self.open_current)
        self._shortcut(("Ctrl+C",), self.copy)

    def _shortcut(self, keys: Sequence[str], act: Callable[[], None]) -> None:
        shortcut = QAction(self, shortcutContext=Qt.ShortcutContext.WidgetShortcut)
        shortcut.setShortcuts([QKeySequence(key) for key in keys])
        shortcut.triggered.connect(lambda: act())
        self.addAction(shortcut)

    def _dress(self) -> None:
        mode = QAbstractItemView.SelectionMode
        self.setObjectName("rows")
        self.setAccessibleName(self.look.name)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(mode.ExtendedSelection if self.look.many else mode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        lines = self.verticalHeader()
        lines.hide()
        lines.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        lines.setDefaultSectionSize(ROW_HEIGHT)
        head = self.horizontalHeader()
        head.setFixedHeight(32)
        head.setHighlightSections(False)
        head.setSectionsMovable(True)
        head.setMinimumSectionSize(40)
        head.setStretchLastSection(True)
        if self.look.sortable:
            head.setSectionsClickable(True)
            head.setSortIndicatorShown(True)
            head.setSortIndicatorClearable(True)
            head.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
            head.sortIndicatorChanged.connect(self._order)
        head.sectionResized.connect(self._resized)
        head.sectionMoved.connect(self._resized)
        if self._settings is not None and (state := self._settings.state(self._place)) is not None:
            self.chosen_widths = head.restoreState(state)

    @property
    def _place(self) -> str:
        return f"columns/{self.look.name}"

    def recall_order(self) -> None:
        """Ask for the order that was chosen before."""
        if self.look.sortable:
            head = self.horizontalHeader()
            self._order(head.sortIndicatorSection(), head.sortIndicatorOrder())

    def remember(self) -> None:
        """Write the columns' widths and order into the settings, where the user chose them."""
        if self._settings is not None and self.chosen_widths:
            self._settings.set_state(self._place, self.horizontalHeader().saveState())

    def selected(self) -> list[Any]:
        """The selected rows that are loaded, from above."""
        numbers = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [row for number in numbers if (row := self.rows.row(number)) is not None]

    def open_current(self) -> None:
        """What a click on the selected row's link does."""
        rows = self.selected()
        if len(rows) == 1 and self.look.link and self.look.linked(rows[0]):
            self.acted.emit(rows[0], self.look.link)

    def copy(self) -> None:
        """The selected rows as text, columns set apart by tabs."""
        columns = [n for n, heading in enumerate(self.rows.headings) if heading.title]
        numbers = sorted(index.row() for index in self.selectionModel().selectedRows())
        lines = ["\t".join(str(self.rows.index(row, n).data() or "") for n in columns) for row in numbers]
        if lines:
            QGuiApplication.clipboard().setText("\n".join(lines))

    # Live: the scroll position stays with its row; the selection does so by itself

    def _before_patch(self) -> None:
        top = self.rowAt(0)
        at_top = self.verticalScrollBar().value() == 0
        row = self.rows.row(top)
        self._anchor = None if at_top or row is None else (self.rows.key_of(row), self.rowViewportPosition(top))

    def _after_patch(self) -> None:
        if self._anchor is not None:
            key, y = self._anchor
            if (row := self.rows.find(key)) is not None:
                self.updateGeometries()
                self.verticalScrollBar().setValue(row * ROW_HEIGHT - y)

    def _before_reset(self) -> None:
        self._kept = {self.rows.key_of(row) for row in self.selected()}

    def _after_reset(self) -> None:
        kept, self._kept = self._kept, set()
        for key in kept:
            if (number := self.rows.find(key)) is not None:
                flags = QItemSelectionModel.SelectionFlag
                self.selectionModel().select(self.rows.index(number, 0), flags.Select | flags.Rows)
                if len(kept) == 1:
                    self.setCurrentIndex(self.rows.index(number, 0))

    # Columns

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        width = self.viewport().width()
        if self.chosen_widths or width < 100:
            return
        wishes = [self.look.widths[heading.key] for heading in self.rows.headings]
        spare = max(0, width - sum(least for least, _ in wishes)) / max(1, sum(share for _, share in wishes))
        self._fitting = True
        for number, (least, share) in enumerate(wishes):
            self.setColumnWidth(number, int(least + spare * share))
        self._fitting = False

    def _order(self, section: int, order: Qt.SortOrder) -> None:
        key = self.rows.headings[section].key if 0 <= section < len(self.rows.headings) else ""
        self.chosen_widths = self.chosen_widths or bool(key)
        self.ordered.emit("" if key == ACTIONS else key, order == Qt.SortOrder.DescendingOrder)

    def _resized(self) -> None:
        # while the left button is down it is the user who resizes
        if not self._fitting and QGuiApplication.mouseButtons() & Qt.MouseButton.LeftButton:
            self.chosen_widths = True

    # Mouse and menu

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        target = self.cells.target(event.position().toPoint())
        if target != self.hover:
            self.hover = target
            hand = Qt.CursorShape.PointingHandCursor if target[1] else Qt.CursorShape.ArrowCursor
            self.viewport().setCursor(hand)
            self.viewport().update()
        super().mouseMoveEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.hover = (-1, "")
        self.viewport().update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        number, key = self.cells.target(event.position().toPoint())
        if event.button() == Qt.MouseButton.LeftButton and key and event.modifiers() == Qt.KeyboardModifier.NoModifier:
            self.acted.emit(self.rows.row(number), key)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        super().mouseDoubleClickEvent(event)
        if not self.cells.target(event.position().toPoint())[1]:
            self.open_current()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        number = self.rowAt(event.pos().y())
        if event.reason() == QContextMenuEvent.Reason.Keyboard:
            number = self.currentIndex().row()
        row = self.rows.row(number)
        if row is None:
            return
        if number not in {index.row() for index in self.selectionModel().selectedRows()}:
            self.selectRow(number)
        self.menu = menu = QMenu(self)
        muted = current().muted
        if self.look.link and self.look.linked(row):
            item = menu.addAction(resources.icon("open-in-app", muted), f"{self.look.link_words}\tReturn")
            item.triggered.connect(self._chooser(row, self.look.link))
        for act in self.look.acts(row):
            words = f"{act.words}\t{act.shortcut}" if act.shortcut else act.words
            item = menu.addAction(resources.icon(act.picture, muted), words)
            item.triggered.connect(self._chooser(row, act.key))
        menu.addAction(resources.icon("content-copy", muted), "Copy\tCtrl+C").triggered.connect(self.copy)
        self.rows.hold(True)
        menu.aboutToHide.connect(self._menu_closed)
        menu.popup(event.globalPos())

    def _chooser(self, row: Any, key: str) -> Callable[[], None]:
        return lambda: self.acted.emit(row, key)

    def _menu_closed(self) -> None:
        if self.menu is not None:
            self.menu.deleteLater()
            self.menu = None
        self.rows.hold(False)
