"""The parts of a details page: one widget for each type of section that a kind can declare."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt, QTimer
from PySide6.QtGui import QColor, QKeySequence, QPainter, QShortcut
from PySide6.QtWidgets import (
    QApplication,
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QStackedLayout,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTreeWidget,
    QTreeWidgetItem,
    QWidget,
)

from desktop.bridge import Bridge
from desktop.models.details import JobDetails
from desktop.models.rows import ROW
from desktop.theme import current, styled, theme
from desktop.tips import plain_tip
from desktop.views.complaints import given_names
from desktop.views.data_table import DataTable, plain_table
from desktop.views.fields import field_title
from desktop.views.import_results import ImportResults
from desktop.views.job_table import paint_status
from desktop.views.log_view import LogView
from desktop.views.report_section import Report
from desktop.views.run_template import Template, ordered
from desktop.views.section import SectionView
from quarterdeck.client import Client
from quarterdeck.job import Details, TableInfo, Task
from quarterdeck.kinds import KINDS, Section

__all__ = ["SECTIONS", "SectionView"]


def _words(value: Any) -> str:
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _entry(number: int, value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else None
    return f"{number + 1} · {name}" if isinstance(name, str) else f"{number + 1}"


class Parameters(SectionView):
    """The run's parameters as a tree."""

    def __init__(self, section: Section, job: JobDetails, client: Client, bridge: Bridge) -> None:
        super().__init__(section, job, client, bridge)
        self.tree = QTreeWidget()
        self.tree.setAlternatingRowColors(True)
        self.tree.setUniformRowHeights(True)
        self.tree.setHeaderLabels(["Parameter", "Value"])
        self.tree.setAccessibleName(section.title)
        self.tree.header().setFixedHeight(30)
        self.tree.setColumnWidth(0, 260)
        self.rows.setContentsMargins(10, 4, 10, 0)
        self.nothing = styled(QLabel("This job was started without parameters."), name="muted", visible=False)
        self.nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.rows.addWidget(self.nothing, 1)
        self.rows.addWidget(self.tree)
        theme.changed.connect(self._dress)
        copy = QShortcut(QKeySequence.StandardKey.Copy, self.tree, context=Qt.ShortcutContext.WidgetShortcut)
        copy.activated.connect(self._copy)
        self._shown: dict[str, Any] | None = None

    def show_details(self, details: Details) -> None:
        if details.params == self._shown:
            return
        self._shown = details.params
        self.tree.clear()
        nested = False
        model = next((one.params for one in KINDS if one.key == details.job.kind), None)
        titles = {name: field_title(name, info) for name, info in given_names(model).items()} if model else {}
        for name, value in ordered(details.job.kind, details.params):
            title = titles.get(name, name.replace("_", " ").capitalize())
            nested = self._add(self.tree.invisibleRootItem(), title, None if value in ({}, []) else value) or nested
        self.tree.setRootIsDecorated(nested)
        self.tree.expandAll()
        self.tree.setVisible(bool(details.params))
        self.nothing.setVisible(not details.params)

    def _dress(self) -> None:
        self._shown = None  # names are painted in the theme's colour
        if self.job.details is not None:
            self.show_details(self.job.details)

    def _copy(self) -> None:
        if (item := self.tree.currentItem()) is not None:
            QApplication.clipboard().setText(item.data(1, ROW) or item.text(1))

    def _add(self, parent: QTreeWidgetItem, name: str, value: Any) -> bool:
        inner: Iterable[tuple[str, Any]] = ()
        if isinstance(value, dict):
            inner = ((str(key).replace("_", " "), one) for key, one in value.items())
        if isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
            inner = ((_entry(number, one), one) for number, one in enumerate(value))
            value = f"{len(value)} entries"
        elif isinstance(value, list):
            value = ", ".join(_words(one) for one in value)
        words = whole = "" if isinstance(value, dict) else _words(value)
        if "\n" in words:
            words = f"{words.strip().splitlines()[0]} … ({len(words.splitlines())} lines)"
        item = QTreeWidgetItem(parent, [name, words])
        item.setForeground(0, QColor(current().muted))
        item.setToolTip(1, plain_tip(whole if len(whole) < 2000 else words))
        item.setData(1, ROW, whole)  # what is copied
        some = False
        for key, one in inner:
            some = True
            if one is not None:  # of an inner group only what was given
                self._add(item, key, one)
        return some


class _TaskCells(QStyledItemDelegate):
    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        super().paint(painter, option, index)

    def initStyleOption(self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex) -> None:
        super().initStyleOption(option, index)
        task = index.data(ROW)
        if isinstance(task, Task) and index.column() == 6 and task.error:
            option.palette.setColor(option.palette.ColorRole.Text, QColor(current().bad))


class _StatusCell(QStyledItemDelegate):
    def paint(
        self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> None:
        task = index.data(ROW)
        super().paint(painter, option, QModelIndex())
        if isinstance(task, Task):
            rect: QRect = option.rect
            paint_status(painter, rect.adjusted(8, 0, -4, 0), task.status, str(index.data()), progress=task.progress)


class Tasks(SectionView):
    """The job's tasks with status, node and run time."""

    def __init__(self, section: Section, job: JobDetails, client: Client, bridge: Bridge) -> None:
        super().__init__(section, job, client, bridge)
        self.view = plain_table(section.title)
        self.view.setModel(job.tasks)
        self.view.setItemDelegate(_TaskCells(self.view))
        self.view.setItemDelegateForColumn(1, _StatusCell(self.view))
        self.view.setAlternatingRowColors(False)
        for number, heading in enumerate(job.tasks.headings):
            self.view.setColumnWidth(number, int(heading.width * 7.4) + 12)
        self.view.horizontalHeader().setSectionResizeMode(len(job.tasks.headings) - 1, QHeaderView.ResizeMode.Stretch)
        self.rows.setContentsMargins(10, 4, 10, 0)
        self.rows.addWidget(self.view)
        self._time = QTimer(self, interval=100)
        self._time.timeout.connect(self._tick)

    def show_details(self, details: Details) -> None:
        if not self._time.isActive():
            self._time.start()

    def _tick(self) -> None:
        if self.isVisible() and not self.job.tasks.tick():
            self._time.stop()


class Log(SectionView):
    """The execution log of all tasks."""

    def __init__(self, section: Section, job: JobDetails, client: Client, bridge: Bridge) -> None:
        super().__init__(section, job, client, bridge)
        self.log = LogView(job.job, client, bridge)
        self.log.said.connect(job.tell)
        self.rows.addWidget(self.log)

    def show_details(self, details: Details) -> None:
        self.log.change(details.job, details.tasks)


class Tables(SectionView):
    """A result table of the tasks, or all of them: which one is chosen where there are several."""

    def __init__(self, section: Section, job: JobDetails, client: Client, bridge: Bridge) -> None:
        super().__init__(section, job, client, bridge)
        self.choice = styled(QComboBox(), called="Table")
        self.choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.choice.currentIndexChanged.connect(self._choose)
        self.nothing = styled(QLabel(alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True), name="muted")
        self.nothing.setContentsMargins(24, 12, 24, 12)
        self.line = QWidget()
        line = QHBoxLayout(self.line)
        line.setContentsMargins(20, 10, 20, 0)
        line.addWidget(styled(QLabel("Table"), name="muted"))
        line.addWidget(self.choice)
        line.addStretch()
        self.place = QWidget()
        self.stack = QStackedLayout(self.place)
        self.stack.addWidget(self.nothing)
        self.rows.addWidget(self.line)
        self.rows.addWidget(self.place, 1)
        self.tables: dict[int, DataTable] = {}
        self._infos: dict[int, TableInfo] = {}

    def show_details(self, details: Details) -> None:
        names = self._names()
        infos = {one.id: one for one in details.tables if not names or one.name in names}
        several_tasks = len(details.tasks) > 1
        tasks = {task.ordinal: task.name for task in details.tasks}
        if infos.keys() != self._infos.keys():
            chosen = self.choice.currentData()
            self.choice.blockSignals(True)
            self.choice.clear()
            for one in infos.values():
                owner = tasks.get(one.ordinal or 0, "") if several_tasks else ""
                words = owner if owner and len(names) == 1 else f"{owner} · {one.name}" if owner else one.name
                self.choice.addItem(words, one.id)
            self.choice.setCurrentIndex(max(0, self.choice.findData(chosen)))
            self.choice.blockSignals(False)
        self._infos = infos
        self.line.setVisible(len(infos) > 1)
        for key, table in self.tables.items():
            if key in infos:
                table.change(infos[key])
        ended = str(self.section.options.get("nothing") or "There are no results.")
        self.nothing.setText("There are no results yet." if details.job.ended is None else ended)
        self._choose()

    def _names(self) -> set[str]:
        table = self.section.options.get("table")
        tables = self.section.options.get("tables", [])
        return {*([table] if table else []), *tables}

    def _choose(self) -> None:
        info = self._infos.get(self.choice.currentData())
        if info is None:
            self.stack.setCurrentWidget(self.nothing)
            return
        if info.id not in self.tables:
            table = self.tables[info.id] = DataTable(info, self.client, self.bridge, self.job.tell)
            self.stack.addWidget(table)
        self.stack.setCurrentWidget(self.tables[info.id])


SECTIONS: dict[str, Callable[[Section, JobDetails, Client, Bridge], SectionView]] = {
    "parameters": Parameters,
    "template": Template,
    "tasks": Tasks,
    "log": Log,
    "table": Tables,
    "import_results": ImportResults,
    "report": Report,
}
"""Section type to its widget."""
