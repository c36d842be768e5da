"""The table of a job page: statuses by colour, icon and word; the name as a link; a row's actions at its end."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import (
    QByteArray,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QRectF,
    QSize,
    Qt,
    QTimer,
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
    QShowEvent,
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
from desktop.models.jobs import JobsModel
from desktop.models.rows import ROW
from desktop.settings import Settings
from desktop.theme import ROW_HEIGHT, STATUS_ICONS, current, interface_font, theme
from quarterdeck.job import Action, Job, Status
from quarterdeck.query import Sort

__all__ = ["ACTION_WORDS", "JobTable", "paint_status", "status_width"]

ACTION_WORDS: dict[Action, tuple[str, str]] = {
    Action.DETAILS: ("Open Details", "open-in-app"),
    Action.LOG: ("View Log", "text-box-outline"),
    Action.TERMINATE: ("Terminate", "stop-circle-outline"),
    Action.RERUN: ("Run Again…", "replay"),
}
_BUTTONS = (Action.LOG, Action.TERMINATE)
_KEYS = {Action.DETAILS: ("Return", "Enter"), Action.LOG: ("Ctrl+L",), Action.TERMINATE: ("Del",)}
_WIDTHS = {
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
_PAD = 8
Index = QModelIndex | QPersistentModelIndex


def status_width(words: str) -> int:
    return QFontMetrics(interface_font(12, QFont.Weight.Medium)).horizontalAdvance(words) + 32


def paint_status(
    painter: QPainter, rect: QRect, status: Status, words: str, ending: bool = False, progress: float | None = None
) -> None:
    """A pill with icon and word, and a thin bar of progress along its lower edge."""
    ink, back = theme.status_colors(status, ending)
    font = interface_font(12, QFont.Weight.Medium)
    width = min(status_width(words), rect.width())
    pill = QRectF(rect.left(), rect.center().y() - 10 + 0.5, width, 21)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(back))
    painter.drawRoundedRect(pill, 5, 5)
    if progress is not None and status is Status.IN_PROGRESS:
        painter.setBrush(QColor(ink))
        bar = QRectF(pill.left() + 5, pill.bottom() - 2.5, (pill.width() - 10) * progress, 2)
        painter.drawRoundedRect(bar, 1, 1)
    resources.paint_icon(painter, QRect(int(pill.left()) + 6, int(pill.top()) + 3, 15, 15), STATUS_ICONS[status], ink)
    painter.setPen(QColor(ink))
    painter.setFont(font)
    room = pill.adjusted(25, -0.5, -4, -0.5)
    text = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, int(room.width()))
    painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter), text)
    painter.restore()


class _Cells(QStyledItemDelegate):
    def __init__(self, table: JobTable) -> None:
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
        rect: QRect = option.rect
        hovered = index.row() == self._table.hover_row
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        if selected or hovered:
            painter.fillRect(rect, QColor(t.selected if selected else t.hover))
        painter.fillRect(rect.left(), rect.bottom(), rect.width(), 1, QColor(t.line))
        job = index.data(ROW)
        if not isinstance(job, Job):
            painter.fillRect(rect.adjusted(_PAD, 12, -rect.width() // 3, -12), QColor(t.line))
            return
        inner = rect.adjusted(_PAD, 0, -_PAD, 0)
        key = self._table.jobs.headings[index.column()].key
        if key == "actions":
            self._paint_actions(painter, rect, job, hovered)
            return
        words = str(index.data() or "")
        if key == "status":
            paint_status(painter, inner, job.status, words, job.ending, job.progress)
            return
        link = key == "name" and Action.DETAILS in job.actions
        hot = link and self._table.hover_cell == (index.row(), index.column())
        painter.setFont(self._hot_link if hot else self._link if key == "name" else self._plain)
        quiet = key in {"started", "created", "creator", "nodes", "origin"}
        painter.setPen(QColor(t.link if link else t.muted if quiet else t.text))
        if key == "name" and job.workflow_id is not None:
            resources.paint_icon(
                painter, QRect(inner.right() - 15, inner.center().y() - 7, 15, 15), "sitemap-outline", t.muted
            )
            inner = inner.adjusted(0, 0, -20, 0)
        elided = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, inner.width())
        side = Qt.AlignmentFlag.AlignRight if key == "run_time" else Qt.AlignmentFlag.AlignLeft
        painter.drawText(inner, int(side | Qt.AlignmentFlag.AlignVCenter), elided)

    def _paint_actions(self, painter: QPainter, rect: QRect, job: Job, hovered: bool) -> None:
        t = current()
        painter.setFont(self._button)
        for action, area in self.buttons(rect, job):
            hot = self._table.hover_action == (job.id, action)
            dangerous = action is Action.TERMINATE
            ink = (t.bad if dangerous else t.link) if hot else t.text if hovered else t.muted
            if hot:
                painter.save()
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(t.bad_back if dangerous else t.selected))
                painter.drawRoundedRect(area, 5, 5)
                painter.restore()
            words, picture = ACTION_WORDS[action]
            resources.paint_icon(painter, QRect(area.left() + 6, area.center().y() - 7, 15, 15), picture, ink)
            painter.setPen(QColor(ink))
            painter.drawText(area.adjusted(24, 0, 0, 0), int(Qt.AlignmentFlag.AlignVCenter), words)

    def buttons(self, rect: QRect, job: Job) -> list[tuple[Action, QRect]]:
        """Where each offered action of the row is painted."""
        metrics = QFontMetrics(self._button)
        left = rect.left() + 2
        places = []
        for action in _BUTTONS:
            width = metrics.horizontalAdvance(ACTION_WORDS[action][0]) + 32
            if action in job.actions:
                places.append((action, QRect(left, rect.center().y() - 11, width, 23)))
            left += width + 2
        return places

    def target(self, where: QPoint) -> tuple[Job, Action] | None:
        """The job and what a click there wants of it."""
        index = self._table.indexAt(where)
        job = index.data(ROW) if index.isValid() else None
        if not isinstance(job, Job):
            return None
        rect = self._table.visualRect(index)
        key = self._table.jobs.headings[index.column()].key
        if key == "name" and Action.DETAILS in job.actions:
            words = QFontMetrics(self._link).horizontalAdvance(job.name)
            if where.x() <= rect.left() + min(words + 2 * _PAD, rect.width()):
                return job, Action.DETAILS
        if key == "actions":
            return next(((job, action) for action, area in self.buttons(rect, job) if area.contains(where)), None)
        return None


class _Head(QHeaderView):
    """Columns that share the width by their wishes until the user sets them; a menu to choose them."""

    def __init__(self, table: JobTable) -> None:
        super().__init__(Qt.Orientation.Horizontal, table)
        self._headings = table.jobs.headings
        self.chosen = False
        self._fitting = False
        self.setFixedHeight(32)
        self.setHighlightSections(False)
        self.setSectionsMovable(True)
        self.setMinimumSectionSize(50)
        self.setSectionsClickable(True)
        self.setSortIndicatorShown(True)
        self.setStretchLastSection(True)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._choose)
        self.sectionResized.connect(self._resized)
        self.sectionMoved.connect(self._resized)

    def recall(self, state: QByteArray | None) -> None:
        if state is not None and self.restoreState(state):
            self.chosen = True

    def fit(self, width: int) -> None:
        if self.chosen or width < 200:
            return
        metrics = QFontMetrics(interface_font(12, QFont.Weight.Medium))
        actions = sum(metrics.horizontalAdvance(ACTION_WORDS[a][0]) + 34 for a in _BUTTONS) + 6
        least = [max(_WIDTHS[h.key], metrics.horizontalAdvance(h.title) + 20) for h in self._headings[:-1]]
        shares = [_SHARES.get(h.key, 0) for h in self._headings[:-1]]
        spare = max(0, width - actions - sum(least)) / max(1, sum(shares))
        self._fitting = True
        wishes = [int(wish + spare * share) for wish, share in zip(least, shares, strict=True)]
        for number, wish in enumerate(wishes):
            self.resizeSection(number, wish)
        self.resizeSection(len(wishes), actions)
        self._fitting = False

    def _resized(self) -> None:
        # while the left button is down it is the user who resizes
        if not self._fitting and QGuiApplication.mouseButtons() & Qt.MouseButton.LeftButton:
            self.chosen = True

    def _choose(self, where: QPoint) -> None:
        menu = QMenu(self)
        for number, heading in enumerate(self._headings[:-1]):
            action = menu.addAction(heading.title)
            action.setCheckable(True)
            action.setChecked(not self.isSectionHidden(number))
            action.setEnabled(heading.key != "name")
            action.toggled.connect(partial(self._show_column, number))
        menu.addSeparator()
        menu.addAction("Reset Columns").triggered.connect(self._reset)
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(self.mapToGlobal(where))

    def _show_column(self, number: int, on: bool) -> None:
        self.setSectionHidden(number, not on)
        self.chosen = True

    def _reset(self) -> None:
        for number in range(self.count()):
            self.setSectionHidden(number, False)
            self.moveSection(self.visualIndex(number), number)
        self.chosen = False
        self.fit(self.viewport().width())


class JobTable(QTableView):
    """A page's jobs.

    Signals:
        acted(Job, Action): the user wants that of that job
    """

    acted = Signal(object, object)

    def __init__(self, model: JobsModel, settings: Settings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.jobs = model
        self.hover_row = -1
        self.hover_cell = (-1, -1)
        self.hover_action: tuple[int, Action] | None = None
        self.menu: QMenu | None = None
        self._settings = settings
        self._anchor: tuple[object, int] | None = None
        self._chosen: object = None
        self._state = f"columns/{model.kind.key}"
        self.setModel(model)
        self.cells = _Cells(self)
        self.setItemDelegate(self.cells)
        self._dress()
        self._time = QTimer(self, interval=100)
        self._time.timeout.connect(self._tick)
        model.patching.connect(self._before_patch)
        model.patched.connect(self._after_patch)
        model.modelReset.connect(self._after_patch)
        theme.changed.connect(self.viewport().update)
        for action, keys in _KEYS.items():
            shortcut = QAction(self, shortcutContext=Qt.ShortcutContext.WidgetShortcut)
            shortcut.setShortcuts([QKeySequence(one) for one in keys])
            shortcut.triggered.connect(lambda checked=False, action=action: self.act_on_current(action))
            self.addAction(shortcut)

    def _dress(self) -> None:
        self.setObjectName("jobs")
        self.setAccessibleName(f"{self.jobs.kind.title} jobs")
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setMouseTracking(True)
        self.setTabKeyNavigation(False)
        rows = self.verticalHeader()
        rows.hide()
        rows.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        rows.setDefaultSectionSize(ROW_HEIGHT)
        columns = self.jobs.kind.columns
        created = next((n for n, c in enumerate(columns) if c.sort == "created"), -1)
        self.head = _Head(self)
        self.setHorizontalHeader(self.head)
        self.head.recall(self._settings.state(self._state))
        self.head.setSortIndicator(created, Qt.SortOrder.DescendingOrder)
        self.head.sortIndicatorChanged.connect(self._sort)

    def current_job(self) -> Job | None:
        rows = self.selectionModel().selectedRows()
        return self.jobs.row(rows[0].row()) if rows else None

    def act_on_current(self, action: Action) -> None:
        job = self.current_job()
        if job is not None and action in job.actions:
            self.acted.emit(job, action)

    def remember(self) -> None:
        """Write what was chosen of the columns into the settings."""
        if self.head.chosen:
            self._settings.set_state(self._state, self.head.saveState())

    # Live: selection and scroll position stay with their rows

    def _before_patch(self) -> None:
        job = self.current_job()
        self._chosen = None if job is None else job.id
        top = self.rowAt(0)
        row = self.jobs.row(top)
        at_top = self.verticalScrollBar().value() == 0
        self._anchor = None if at_top or row is None else (row.id, self.rowViewportPosition(top))

    def _after_patch(self) -> None:
        if self._anchor is not None:
            key, y = self._anchor
            if (row := self.jobs.find(key)) is not None:
                bar = self.verticalScrollBar()
                self.updateGeometries()
                bar.setValue(row * ROW_HEIGHT - y)
        if self._chosen is not None and (row := self.jobs.find(self._chosen)) is not None:
            now = self.current_job()
            if now is None or now.id != self._chosen:
                self.selectRow(row)
        self._look()

    def _look(self) -> None:
        last = self.rowAt(self.viewport().height() - 1)
        self.jobs.look(max(0, self.rowAt(0)), last if last >= 0 else self.jobs.rowCount() - 1)
        if self.isVisible() and not self._time.isActive():
            self._time.start()

    def _tick(self) -> None:
        if not self.isVisible() or not self.jobs.tick():
            self._time.stop()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._look()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.head.fit(self.viewport().width())
        self._look()

    def scrollContentsBy(self, dx: int, dy: int) -> None:
        super().scrollContentsBy(dx, dy)
        self._look()

    def _sort(self, column: int, order: Qt.SortOrder) -> None:
        columns = self.jobs.kind.columns
        if not 0 <= column < len(columns):
            self.jobs.choose(self.jobs.filter, Sort())
            return
        self.jobs.choose(
            self.jobs.filter, Sort(column=columns[column].sort, descending=order == Qt.SortOrder.DescendingOrder)
        )

    # Mouse and menu

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        where = event.position().toPoint()
        index = self.indexAt(where)
        target = self.cells.target(where)
        before = (self.hover_row, self.hover_cell, self.hover_action)
        self.hover_row = index.row() if index.isValid() else -1
        on_link = target is not None and target[1] is Action.DETAILS
        self.hover_cell = (index.row(), index.column()) if on_link else (-1, -1)
        self.hover_action = (target[0].id, target[1]) if target is not None and not on_link else None
        if before != (self.hover_row, self.hover_cell, self.hover_action):
            shape = Qt.CursorShape.ArrowCursor if target is None else Qt.CursorShape.PointingHandCursor
            self.viewport().setCursor(shape)
            self.viewport().update()
        if not event.buttons():
            super().mouseMoveEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.hover_row, self.hover_cell, self.hover_action = -1, (-1, -1), None
        self.viewport().update()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        if event.button() != Qt.MouseButton.LeftButton:
            return
        target = self.cells.target(event.position().toPoint())
        current_job = self.current_job()
        if target is not None and current_job is not None and target[0].id == current_job.id:
            self.acted.emit(*target)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        super().mouseDoubleClickEvent(event)
        if self.cells.target(event.position().toPoint()) is None:
            self.act_on_current(Action.DETAILS)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        row = self.rowAt(event.pos().y())
        if row >= 0:
            self.selectRow(row)
        job = self.current_job()
        if job is None:
            return
        self.menu = menu = QMenu(self)
        t = current()
        for action, (words, picture) in ACTION_WORDS.items():
            if action in job.actions:
                ink = t.bad if action is Action.TERMINATE else t.muted
                item = menu.addAction(resources.icon(picture, ink), words)
                if action in _KEYS:
                    item.setText(f"{words}\t{_KEYS[action][0]}")
                item.triggered.connect(lambda checked=False, job=job, action=action: self.acted.emit(job, action))
        if menu.isEmpty():
            menu.addAction("Nothing may be done to this job").setEnabled(False)
        self.jobs.hold(True)
        menu.aboutToHide.connect(self._menu_closed)
        menu.popup(event.globalPos())

    def _menu_closed(self) -> None:
        if self.menu is not None:
            self.menu.deleteLater()
            self.menu = None
        self.jobs.hold(False)
