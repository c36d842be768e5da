"""A job's log: all tasks in one, in order of time, followed live, searched as a whole, saved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QColor, QFontMetrics, QKeySequence, QPainter, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.bridge import Bridge
from desktop.models.log import LogModel
from desktop.models.rows import ROW
from desktop.settings import Settings
from desktop.theme import LOG_ROW_HEIGHT, current, level_color, monospaced, rule, styled, theme
from quarterdeck.client import Client
from quarterdeck.job import Job, Level, LogLine, Stream, Task

__all__ = ["LogView", "LogWindow"]

_MARGIN = 14
Index = QModelIndex | QPersistentModelIndex


class _Lines(QStyledItemDelegate):
    """Paints time, task and text of a line, coloured by its level."""

    def __init__(self, view: QTableView, model: LogModel) -> None:
        super().__init__(view)
        self._model = model
        self._view = view
        self._font = monospaced(12)
        self._advance = QFontMetrics(self._font).horizontalAdvance("0")

    def text_left(self) -> int:
        return _MARGIN + self._advance * (14 + (self._model.task_width + 2 if self._model.task_width else 0))

    def width(self, characters: int) -> int:
        return self.text_left() + self._advance * (characters + 2)

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        return QSize(100, LOG_ROW_HEIGHT)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        line = index.data(ROW)
        if not isinstance(line, LogLine):
            return
        t = current()
        rect: QRect = option.rect
        selected = self._view.selectionModel().isRowSelected(index.row(), QModelIndex())
        if selected:
            painter.fillRect(rect, QColor(t.selected))
        elif line.level is Level.ERROR:
            painter.fillRect(rect, QColor(t.bad_back))
        painter.setFont(self._font)
        middle = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        left = rect.left() + _MARGIN
        painter.setPen(QColor(t.faint))
        painter.drawText(QRect(left, rect.top(), 200, rect.height()), middle, self._model.time_words(line))
        left += self._advance * 14
        if self._model.task_width:
            painter.setPen(QColor(t.link if line.task_id is not None else t.faint))
            painter.drawText(QRect(left, rect.top(), 400, rect.height()), middle, self._model.task_words(line))
        quiet = line.stream is Stream.EXECUTION and line.level is Level.INFO
        painter.setPen(QColor(t.muted if quiet else level_color(line.level)))
        left = rect.left() + self.text_left()
        found = self._model.searched
        if found and (at := line.text.lower().find(found.lower())) >= 0:
            mark = QRect(left + at * self._advance, rect.top() + 2, len(found) * self._advance, rect.height() - 4)
            painter.fillRect(mark, QColor(t.warn_back))
        text = line.text if len(line.text) < 4000 else line.text[:4000] + " …"
        painter.drawText(
            QRect(left, rect.top(), max(10, rect.right() - left), rect.height()), middle, text.replace("\t", "    ")
        )


class LogView(QWidget):
    """A job's log.

    Signals:
        said(str): something to tell the user, such as where the log was saved
    """

    said = Signal(str)

    POLL = 300

    def __init__(self, job: Job, client: Client, bridge: Bridge, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bridge = bridge
        self._job = job
        self._patching = False
        self.model = LogModel(job, client, bridge, self)
        self.view = QTableView()
        self.view.setModel(self.model)
        self._lines = _Lines(self.view, self.model)
        self.view.setItemDelegate(self._lines)
        self.search = QLineEdit(placeholderText="Search the whole log…", clearButtonEnabled=True)
        self.search.setAccessibleName("Search the log")
        self.task = styled(QComboBox(), called="Task")
        self.level = styled(QComboBox(), called="Level")
        self.follow = styled(QPushButton("Follow"), tip="Keep the newest line in view (End)")
        self.error = styled(QPushButton("First Error"), tip="Go to the first error of all tasks (F8)")
        self.save = styled(QPushButton("Save…"), tip="Save the whole log to a file (Ctrl+S)")
        self.up = styled(QToolButton(), tip="Find the previous one (Shift+F3)", called="Find previous")
        self.down = styled(QToolButton(), tip="Find the next one (F3)", called="Find next")
        self.words = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="small")
        self.follow.setCheckable(True)
        self.follow.setChecked(True)
        self._dress_view()
        self._lay_out()
        self._connect()
        theme.changed.connect(self._dress)
        self._dress()
        self._timer = QTimer(self, interval=self.POLL)
        self._timer.timeout.connect(self._poll)
        self._timer.start()
        self.model.open()

    def _dress_view(self) -> None:
        view = self.view
        view.setAccessibleName("Log lines")
        view.setShowGrid(False)
        view.setWordWrap(False)
        view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        view.horizontalHeader().hide()
        view.horizontalHeader().setMinimumSectionSize(20)
        view.verticalHeader().hide()
        view.verticalHeader().setMinimumSectionSize(LOG_ROW_HEIGHT)
        view.verticalHeader().setDefaultSectionSize(LOG_ROW_HEIGHT)

    def _lay_out(self) -> None:
        self.search.setMinimumWidth(220)
        self.level.addItem("All levels", None)
        for level in (Level.INFO, Level.WARNING, Level.ERROR):
            self.level.addItem(f"{level.value.capitalize()} and above" if level is not Level.ERROR else "Errors", level)
        self.task.addItem("All tasks", None)
        self.task.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        bar = QHBoxLayout()
        bar.setContentsMargins(14, 10, 14, 10)
        bar.setSpacing(8)
        bar.addWidget(self.search)
        bar.addWidget(self.up)
        bar.addWidget(self.down)
        bar.addWidget(self.task)
        bar.addWidget(self.level)
        bar.addStretch()
        bar.addWidget(self.words)
        bar.addWidget(self.error)
        bar.addWidget(self.follow)
        bar.addWidget(self.save)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(bar)
        layout.addWidget(rule())
        layout.addWidget(self.view, 1)

    def _connect(self) -> None:
        self.search.returnPressed.connect(lambda: self.search_on(1))
        self.search.textChanged.connect(self._typed)
        self.down.clicked.connect(lambda: self.search_on(1))
        self.up.clicked.connect(lambda: self.search_on(-1))
        self.task.activated.connect(self._narrow)
        self.level.activated.connect(self._narrow)
        self.error.clicked.connect(self.first_error)
        self.follow.toggled.connect(self._followed)
        self.save.clicked.connect(self._ask_file)
        self.model.patching.connect(self._before_patch)
        self.model.patched.connect(self._after_patch)
        self.view.verticalScrollBar().valueChanged.connect(self._scrolled)
        keys = {
            "F3": lambda: self.search_on(1),
            "Shift+F3": lambda: self.search_on(-1),
            "F8": self.first_error,
            "Ctrl+F": self.search.setFocus,
            "Ctrl+S": self._ask_file,
            "Ctrl+C": self.copy,
        }
        for key, act in keys.items():
            shortcut = QShortcut(QKeySequence(key), self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(act)
        end = QShortcut(QKeySequence("End"), self.view, context=Qt.ShortcutContext.WidgetShortcut)
        end.activated.connect(lambda: self.follow.setChecked(True))

    def change(self, job: Job, tasks: Sequence[Task]) -> None:
        """The job and its tasks as they are now."""
        self._job = job
        self.model.know(job, tasks)
        if self.task.count() - 1 != len(tasks):
            chosen = self.task.currentData()
            self.task.clear()
            self.task.addItem("All tasks", None)
            for task in tasks:
                self.task.addItem(task.name, task.ordinal)
            self.task.setCurrentIndex(max(0, self.task.findData(chosen)))
        self.task.setVisible(len(tasks) > 1)

    def copy(self) -> None:
        """The chosen lines, else all that are loaded, to the clipboard."""
        rows = sorted(index.row() for index in self.view.selectionModel().selectedRows())
        lines = [line for row in rows if (line := self.model.row(row)) is not None]
        if lines:
            QApplication.clipboard().setText("\n".join(self.model.full_words(line) for line in lines))

    def search_on(self, step: int) -> None:
        """Go to the next (1) or previous (-1) line that holds the searched text, in the whole log."""
        if self.search.text():
            self.follow.setChecked(False)
            self._bridge.latest(self, "find", self._find(self.search.text(), step))

    def first_error(self) -> None:
        """Go to the first error over all tasks."""
        self.follow.setChecked(False)
        self._bridge.latest(self, "find", self._first_error())

    async def _find(self, text: str, step: int) -> None:
        self.words.setText("searching…")
        rows = self.view.selectionModel().selectedRows()
        row = rows[0].row() if rows else -1 if step > 0 else self.model.rowCount()
        place = await self.model.look_for(text, row, step)
        self._go(place, f"“{text}” does not occur.")

    async def _first_error(self) -> None:
        self.level.setCurrentIndex(0)
        place = await self.model.first_error()
        self._go(place, "There is no error in this log.")

    def _go(self, row: int | None, otherwise: str) -> None:
        if row is None:
            self.words.setText(otherwise)
            return
        self.view.selectRow(row)
        self.view.scrollTo(self.model.index(row, 0), QAbstractItemView.ScrollHint.PositionAtCenter)
        self._say()

    def _typed(self, text: str) -> None:
        self.model.searched = text
        self.view.viewport().update()

    def _narrow(self) -> None:
        self.model.narrow(self.task.currentData(), self.level.currentData())

    def _poll(self) -> None:
        if self.isVisible():
            self.model.poll()

    def _followed(self, on: bool) -> None:
        if on:
            if not self.model.at_end:
                self.model.open()
            self.view.scrollToBottom()

    def _scrolled(self, value: int) -> None:
        bar = self.view.verticalScrollBar()
        if self._patching:
            return
        if value < bar.maximum() - LOG_ROW_HEIGHT and self.follow.isChecked():
            self.follow.setChecked(False)
        if value < 40 * LOG_ROW_HEIGHT:
            self.model.earlier()
        elif value > bar.maximum() - 40 * LOG_ROW_HEIGHT:
            self.model.later()

    def _before_patch(self) -> None:
        self._patching = True

    def _after_patch(self) -> None:
        if self.follow.isChecked():
            self.model.trim()
        self.view.setColumnWidth(0, max(self.view.viewport().width(), self._lines.width(min(4000, self.model.longest))))
        self.view.updateGeometries()
        if self.model.moved_by:
            bar = self.view.verticalScrollBar()
            bar.setValue(bar.value() + self.model.moved_by * LOG_ROW_HEIGHT)
            self.model.moved_by = 0
        if self.follow.isChecked():
            self.view.scrollToBottom()
        self._patching = False
        self._say()

    def _say(self) -> None:
        total = self.model.total
        self.words.setText("" if total is None else "1 line" if total == 1 else f"{total:,} lines")

    def _ask_file(self) -> None:
        dialog = QFileDialog(self.window(), "Save Log")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(["Log (*.log)", "Text (*.txt)", "All files (*)"])
        dialog.setDefaultSuffix("log")
        dialog.selectFile(f"job-{self._job.id}.log")
        dialog.fileSelected.connect(lambda name: self._bridge.start(self, self.save_to(Path(name))))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    async def save_to(self, path: Path) -> None:
        """Write the whole log (as it is narrowed) to a file."""
        self.save.setEnabled(False)
        try:
            await self.model.save(path)
            self.words.setText(f"saved as {path.name}")
            self.said.emit(f"The log of job {self._job.id} is saved as {path.name}.")
        finally:
            self.save.setEnabled(True)

    def _dress(self) -> None:
        t = current()
        self.up.setIcon(resources.icon("chevron-up", t.muted))
        self.down.setIcon(resources.icon("chevron-down", t.muted))
        self.error.setIcon(resources.icon("alert-circle-outline", t.bad))
        self.follow.setIcon(resources.icon("arrow-collapse-down", t.muted))
        self.save.setIcon(resources.icon("download", t.muted))


class LogWindow(QWidget):
    """A job's log in a window of its own."""

    def __init__(self, job: Job, client: Client, bridge: Bridge, settings: Settings) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"Log of {job.name} (job {job.id}) — Quarterdeck")
        self.setWindowIcon(resources.application_icon())
        self._settings = settings
        self._client = client
        self._bridge = bridge
        self.log = LogView(job, client, bridge)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.log)
        self.resize(1040, 640)
        if (state := settings.state("log/geometry")) is not None:
            self.restoreGeometry(state)
        close = QShortcut(QKeySequence("Esc"), self)
        close.activated.connect(self.close)
        bridge.start(self, self._know(job))

    async def _know(self, job: Job) -> None:
        self.log.change(job, await self._bridge.call(self._client.tasks, job.id))

    def closeEvent(self, event: QCloseEvent) -> None:
        self._settings.set_state("log/geometry", self.saveGeometry())
        super().closeEvent(event)
