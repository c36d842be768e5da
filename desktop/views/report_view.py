"""A job's report on the screen: its panels in sections, what is chosen and selected, its data sources, and printing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from desktop import resources
from desktop.bridge import Bridge
from desktop.models.report import ReportModel, sources_of
from desktop.theme import current, styled, theme
from desktop.views.choice_box import ChoiceBox
from desktop.views.panels import State
from desktop.views.panels.axes import time_text
from desktop.views.panels.card import Card
from desktop.views.panels.cells import Table
from desktop.views.printing import Printing, fitting, made_of
from quarterdeck.client import Client
from quarterdeck.errors import QuarterdeckError
from quarterdeck.job import Details, TableInfo
from quarterdeck.report import Template

__all__ = ["ReportBody", "ReportView", "fitting", "made_of"]

_ROW, _GAP = 50, 10


class _Grid(QWidget):
    """Cards at their places on a grid of twelve columns."""

    def __init__(self, panels: Sequence[Any]) -> None:
        super().__init__()
        self._cards: list[Card] = []
        self._first = min(panel.place.row for panel in panels)
        rows = max(panel.place.row + panel.place.height for panel in panels) - self._first
        self.setFixedHeight(rows * (_ROW + _GAP) - _GAP)

    def add(self, card: Card) -> None:
        card.setParent(self)
        self._cards.append(card)
        self._place(card)
        card.show()

    def _place(self, card: Card) -> None:
        place = card.panel.place
        column = (self.width() + _GAP) / 12
        left = round(place.column * column)
        right = round(min(place.column + place.width, 12) * column) - _GAP
        top = (place.row - self._first) * (_ROW + _GAP)
        card.setGeometry(left, top, right - left, place.height * (_ROW + _GAP) - _GAP)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        for card in self._cards:
            self._place(card)


class ReportBody(QScrollArea):
    """The panels of one report, in sections on a grid of twelve columns; made one at a time, so that nothing waits."""

    def __init__(self, model: ReportModel, bridge: Bridge, complain: Callable[[BaseException], None]) -> None:
        super().__init__()
        self.model = model
        self.cards: dict[str, Card] = {}
        self.complete = False
        self._bridge, self._complain = bridge, complain
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName(model.template.title)
        inside = styled(QWidget(), name="filters")
        inside.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._rows = QVBoxLayout(inside)
        self._rows.setContentsMargins(20, 14, 20, 20)
        self._rows.setSpacing(8)
        self._rows.addStretch()
        self.setWidget(inside)
        model.arrived.connect(self._fill)
        bridge.start(self, self._build())

    async def _build(self) -> None:
        for title, panels in self.model.template.sections().items():
            if title:
                heading = styled(QLabel(title, textFormat=Qt.TextFormat.PlainText), name="heading")
                heading.setContentsMargins(0, 6, 0, 0)
                self._rows.insertWidget(self._rows.count() - 1, heading)
            section = _Grid(panels)
            self._rows.insertWidget(self._rows.count() - 1, section)
            for panel in panels:
                card = Card(panel, self.model.selection, self._complain)
                section.add(card)
                self.cards[panel.id] = card
                card.wait()
                if panel.id in self.model.panels:
                    self._fill(panel.id)
                await self._bridge.pause(0)
        self.complete = True

    def _fill(self, name: str) -> None:
        card = self.cards.get(name)
        if card is None:
            return  # it is filled when it is made
        card.show_data(self.model.panels[name])
        if isinstance(card.drawing, Table):
            card.drawing.turn_with(self._bridge, partial(self.model.page, name))

    def states(self) -> dict[str, State]:
        """How the user has the panels."""
        return {name: card.state() for name, card in self.cards.items()}

    def end(self) -> None:
        """Before it is deleted."""
        for card in self.cards.values():
            card.end()


class ReportView(QWidget):
    """A report with its choices, its task, Refresh and Print Report, and the other view on its data sources.

    Signals:
        saved(str): a file was written; the sentence that says so
    """

    saved = Signal(str)

    def __init__(self, client: Client, bridge: Bridge, details: Details, templates: Sequence[Template]) -> None:
        super().__init__()
        self.details = details
        self.templates: list[Template | str] = list(templates)
        self._client, self._bridge = client, bridge
        self._begun = False
        self.model: ReportModel | None = None
        self.body: ReportBody | None = None
        self.sources: ReportBody | None = None
        self.boxes: dict[str, ChoiceBox] = {}
        self.which = self._combo("View", ["Report", "Data Sources"])
        self.template = self._combo("Template", [one.title for one in templates])
        self.task = self._combo("Task", [])
        self.words = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="small")
        self.selected = styled(QPushButton(), name="flat", tip="Nothing selected any more", visible=False)
        self.refresh = styled(QToolButton(), tip="Read everything again")
        self.print = QPushButton("Print Report")
        self.trouble = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), name="problem", visible=False)
        self.stack = QStackedWidget()
        self.printing = Printing(self, client, bridge, self._say, self.complain)
        self._lay_out()
        self.which.currentIndexChanged.connect(self._switch)
        self.template.currentIndexChanged.connect(lambda: self._open(self.template.currentIndex()))
        self.task.currentIndexChanged.connect(self._change_task)
        self.selected.clicked.connect(lambda: self.model.selection.clear() if self.model is not None else None)
        self.refresh.clicked.connect(self.reread)
        QShortcut(
            QKeySequence.StandardKey.Print, self, context=Qt.ShortcutContext.WidgetWithChildrenShortcut
        ).activated.connect(self.show_preview)
        theme.changed.connect(self._dress)
        self._dress()
        self.show_details(details)

    @staticmethod
    def _combo(name: str, texts: list[str]) -> QComboBox:
        box = styled(QComboBox(), called=name, tip=name)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        box.addItems(texts)
        return box

    def _lay_out(self) -> None:
        menu = QMenu(self.print)
        menu.addAction("Preview…").triggered.connect(self.show_preview)
        menu.addAction("Print…").triggered.connect(lambda: self._print(self.printing.ask_printer))
        menu.addAction("Save as PDF…").triggered.connect(self.ask_pdf)
        self.print.setMenu(menu)
        self.refresh.setIconSize(QSize(18, 18))
        head = styled(QWidget(), name="head")
        head.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        above = QVBoxLayout(head)
        above.setContentsMargins(20, 8, 20, 8)
        above.setSpacing(8)
        line = QHBoxLayout()
        line.setSpacing(8)
        above.addLayout(line)
        for box in (self.which, self.template, self.task):
            line.addWidget(box)
        self.below = QWidget()  # choices take as many lines as they need: none is cut
        self.choices = QFlowLayout(self.below)
        self.choices.setContentsMargins(0, 0, 0, 0)
        self.choices.setHorizontalSpacing(8)
        self.choices.setVerticalSpacing(8)
        above.addWidget(self.below)
        line.addWidget(self.selected)
        line.addStretch()
        line.addWidget(self.words)
        line.addWidget(self.refresh)
        line.addWidget(self.print)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(0)
        rows.addWidget(head)
        rows.addWidget(self.trouble)
        rows.addWidget(self.stack, 1)
        self.template.setVisible(len(self.templates) > 1)

    def _dress(self) -> None:
        t = current()
        self.refresh.setIcon(resources.icon("refresh", t.muted))
        self.print.setIcon(resources.icon("printer-outline", t.muted))
        self.selected.setIcon(resources.icon("close", t.muted))

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._begun:
            self._begun = True
            self._open(0)

    def show_details(self, details: Details) -> None:
        """The job as it is now; what grew is read again."""
        grew = _extent(details.tables) != _extent(self.details.tables)
        self.details = details
        with_tables = {one.ordinal for one in details.tables}
        tasks = [one for one in details.tasks if one.ordinal in with_tables] if len(details.tasks) > 1 else []
        if [self.task.itemData(place) for place in range(self.task.count())] != [one.ordinal for one in tasks]:
            chosen = self.task.currentData()
            self.task.blockSignals(True)
            self.task.clear()
            for one in tasks:
                self.task.addItem(one.name, one.ordinal)
            self.task.setCurrentIndex(max(0, self.task.findData(chosen)))
            self.task.blockSignals(False)
            self._change_task()
        self.task.setVisible(len(tasks) > 1)
        if grew and self._begun:
            self.reread()

    def reread(self) -> None:
        """Read everything again."""
        for body in (self.body, self.sources):
            if body is not None:
                body.model.refresh()

    # One template

    def offer(self, templates: Sequence[tuple[str, str]]) -> None:
        """More templates, by title and name: read when they are chosen."""
        for title, name in templates:
            self.templates.append(name)
            self.template.addItem(title)
        self.template.setVisible(len(self.templates) > 1)

    def _open(self, number: int) -> None:
        """Show the report by that template."""
        if not self._begun or not 0 <= number < len(self.templates):
            return
        template = self.templates[number]
        if isinstance(template, str):
            self._bridge.latest(self, "template", self._load(template))
        else:
            self._use(template)

    async def _load(self, name: str) -> None:
        try:
            self._use(await self._bridge.call(self._client.template, name))
        except QuarterdeckError as error:
            self.complain(error)

    def _use(self, template: Template) -> None:
        for body in (self.body, self.sources):
            if body is not None:
                self.stack.removeWidget(body)
                body.end()
                body.model.deleteLater()
                body.deleteLater()
        self.sources = None
        for box in self.boxes.values():
            box.deleteLater()
        self.boxes.clear()
        self.body = self._make(template)
        self.model = self.body.model
        for choice in template.choices:
            box = ChoiceBox(choice.title or choice.name, multiple=choice.multiple, required=choice.required)
            box.picked.connect(partial(self._choose, choice.name))
            self.choices.addWidget(box)
            self.boxes[choice.name] = box
        self.below.setVisible(bool(template.choices))
        self.which.setCurrentIndex(0)
        self._switch()
        self._show()

    def _make(self, template: Template) -> ReportBody:
        job, params = self.details.job, self.details.params
        model = ReportModel(template, self._client, self._bridge, job, params, self.task.currentData(), self)
        body = ReportBody(model, self._bridge, self.complain)
        model.changed.connect(self._show)
        model.selection.changed.connect(self._show)
        self.stack.addWidget(body)
        model.begin()
        return body

    def _switch(self) -> None:
        """The report, or its data sources."""
        if self.model is None or self.body is None:
            return
        if self.which.currentIndex() == 1:
            if self.sources is None:
                self.sources = self._make(sources_of(self.model.template))
                for name, values in self.model.choices.items():
                    self.sources.model.choose(name, values)
            self.stack.setCurrentWidget(self.sources)
        else:
            self.stack.setCurrentWidget(self.body)

    def _choose(self, name: str, values: tuple[Any, ...]) -> None:
        for body in (self.body, self.sources):
            if body is not None:
                body.model.choose(name, values)

    def _change_task(self) -> None:
        for body in (self.body, self.sources):
            if body is not None:
                body.model.change_task(self.task.currentData())

    def _show(self) -> None:
        model = self.model
        if model is None:
            return
        for name, box in self.boxes.items():
            box.show_values(model.choices.get(name, ()), model.offered.get(name))
        self.trouble.setText(model.trouble)
        self.trouble.setVisible(bool(model.trouble))
        self._say("Reading…" if model.reading else "")
        self.selected.setVisible(not model.selection.empty)
        self.selected.setText(self._selection_text())

    def _selection_text(self) -> str:
        if self.model is None:
            return ""
        selection, parts = self.model.selection, list[str]()
        if selection.times is not None:
            low, high = (time_text(one // 86400 * 86400) for one in selection.times)
            parts.append(low if low == high else f"{low} to {high}")
        if selection.symbols is not None:
            parts.append(", ".join(selection.symbols[:3]))
        if selection.row is not None and selection.row.get("symbol") is not None:
            parts.append(str(selection.row["symbol"]))
        return " · ".join(parts)

    def _say(self, words: str) -> None:
        self.words.setText(words)
        if words.startswith("Saved"):
            self.saved.emit(words)

    def complain(self, error: BaseException) -> None:
        """Show what went wrong, as a sentence at the top."""
        if not isinstance(error, QuarterdeckError):
            raise error
        self.trouble.setText(str(error))
        self.trouble.show()

    # Paper

    @property
    def shown(self) -> ReportBody | None:
        """What is printed: the report, or its data sources."""
        return self.sources if self.which.currentIndex() == 1 else self.body

    def show_preview(self) -> None:
        """The pages as they will be printed."""
        self._print(self.printing.show_preview)

    def ask_pdf(self) -> None:
        """Save as PDF: ask for the file."""
        if (body := self.shown) is not None:
            self.printing.ask_pdf(body.model, body.states(), self.details)

    def _print(self, how: Callable[[ReportModel, dict[str, State], Details], Any]) -> None:
        if (body := self.shown) is not None:
            self._bridge.latest(self, "print", how(body.model, body.states(), self.details))


def _extent(tables: Sequence[TableInfo]) -> list[tuple[int, int, bool]]:
    return [(one.id, one.rows, one.complete) for one in tables]
