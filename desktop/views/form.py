"""A form to start a job of a kind, made from the kind's parameters."""

from __future__ import annotations

import contextlib
import platform
from typing import Any

from pydantic import ValidationError
from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication, QKeyEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from desktop import resources
from desktop.bridge import Bridge
from desktop.theme import current, styled
from desktop.views.alternatives import Alternatives
from desktop.views.complaints import complaints, given_names, sentence
from desktop.views.editors import FormulaEdit
from desktop.views.fields import MISSING, Field
from quarterdeck.client import Client
from quarterdeck.errors import Invalid, QuarterdeckError
from quarterdeck.job import Dataset
from quarterdeck.kinds import Kind

__all__ = ["FormDialog", "complaints"]


class FormDialog(QDialog):
    """Asks for a job's parameters and starts it.

    Signals:
        submitted(int, str): the new job's id, and its name
    """

    submitted = Signal(int, str)

    def __init__(
        self,
        kind: Kind,
        client: Client,
        bridge: Bridge,
        parent: QWidget | None = None,
        *,
        params: dict[str, Any] | None = None,
        rerun_of: int | None = None,
    ) -> None:
        super().__init__(parent)
        if kind.params is None:
            raise ValueError(f"the kind {kind.key} has no parameters yet")
        self._kind = kind
        self._model = kind.params
        self._client = client
        self._bridge = bridge
        self._rerun_of = rerun_of
        self._datasets: dict[str, Dataset] = {}
        self._columns: dict[int, list[str]] = {}
        self._touched = False
        kept = dict(params or {})
        title = f"New {kind.title}" if rerun_of is None else f"Run Job {rerun_of} Again"
        self.setWindowTitle(title)
        screen = QGuiApplication.primaryScreen().availableGeometry()
        self.resize(min(720, screen.width() - 40), min(660, screen.height() - 60))
        self.fields = {name: Field(name, info) for name, info in given_names(self._model).items()}
        for name, value in kept.items():
            if name in self.fields and value is not None:
                self.fields[name].put(value)
        self.choices = [Alternatives(choice, self.fields) for choice in kind.choices]
        for choice in self.choices:
            choice.settle(kept)
        self.problem = styled(QLabel(wordWrap=True), name="problem", visible=False)
        self.problem.setTextFormat(Qt.TextFormat.PlainText)
        self.more = styled(QPushButton("More settings"), name="flat")
        self.more.setCheckable(True)
        self.submit = styled(QPushButton("Start"), name="primary", tip="Ctrl+Enter")
        self.submit.setDefault(True)
        self.cancel = QPushButton("Cancel")
        self.cancel.setAutoDefault(False)
        self._lay_out(title)
        for field in self.fields.values():
            field.edited.connect(self._edited)
        for choice in self.choices:
            choice.changed.connect(lambda: self._show_more(self.more.isChecked()))
        self.more.toggled.connect(self._show_more)
        self._show_more(any(self._extra(f) and f.filled() for f in self.fields.values()))
        self.submit.clicked.connect(lambda: bridge.latest(self, "submit", self._submit()))
        self.cancel.clicked.connect(self.reject)
        for key in ("Ctrl+Return", "Ctrl+Enter"):
            QShortcut(QKeySequence(key), self).activated.connect(self.submit.click)
        if any(name in self.fields for name in ("table", "factor", "formula")):
            bridge.start(self, self._suggest())
        next(iter(self.fields.values())).control.setFocus()

    def _lay_out(self, title: str) -> None:
        rows = QVBoxLayout()
        rows.setContentsMargins(24, 18, 24, 18)
        rows.setSpacing(16)
        placed: set[str] = set()
        for name, field in self.fields.items():
            choice = next((one for one in self.choices if name in one.names), None)
            if choice is not None and name not in placed:
                rows.addWidget(choice)
                for inner in choice.names:
                    rows.addWidget(self.fields[inner])
                placed |= set(choice.names)
            elif choice is None and not field.advanced:
                rows.addWidget(field)
        if any(self._extra(field) for field in self.fields.values()):
            line = QHBoxLayout()
            line.addWidget(self.more)
            line.addStretch()
            rows.addLayout(line)
        for field in self.fields.values():
            if self._extra(field):
                rows.addWidget(field)
        rows.addStretch()
        inside = styled(QWidget(), "section")
        inside.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        inside.setLayout(rows)
        self.area = QScrollArea(widgetResizable=True)
        self.area.setWidget(inside)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        head = styled(QLabel(title), name="title")
        head.setContentsMargins(24, 18, 24, 12)
        below = styled(QWidget(), name="foot")
        buttons = QHBoxLayout(below)
        buttons.setContentsMargins(24, 12, 24, 14)
        buttons.setSpacing(8)
        buttons.addWidget(self.problem, 1)
        buttons.addStretch()
        buttons.addWidget(self.cancel)
        buttons.addWidget(self.submit)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(head)
        layout.addWidget(self.area, 1)
        layout.addWidget(below)

    def _extra(self, field: Field) -> bool:
        return field.advanced and not any(field.name in choice.names for choice in self.choices)

    def values(self) -> dict[str, Any]:
        """The parameters as entered, of each choice only what is chosen.

        Raises:
            Invalid: a field's text can't be read as what it must be; names the field.
        """
        found = {}
        for name, field in self.fields.items():
            if not field.chosen:
                continue
            try:
                value = field.value()
            except ValueError as error:
                raise Invalid(str(error), field=name) from None
            if value is not MISSING:
                found[name] = value
        return found

    def keyPressEvent(self, event: QKeyEvent) -> None:
        escape = event.key() == Qt.Key.Key_Escape
        if escape and self._touched:
            self._touched = False
            self.problem.setText("What you entered is not started. Escape once more discards it.")
            self.problem.show()
            return
        super().keyPressEvent(event)

    def _show_more(self, on: bool) -> None:
        self.more.setChecked(on)
        self.more.setIcon(resources.icon("chevron-down" if on else "chevron-right", current().muted))
        for field in self.fields.values():
            if self._extra(field):
                field.setVisible(on)

    def _edited(self) -> None:
        field = self.sender()
        self._touched = True
        if isinstance(field, Field):
            field.complain("")
            if field.name == "table":
                self._bridge.latest(self, "columns", self._know_table())
        self.problem.hide()

    async def _suggest(self) -> None:
        with contextlib.suppress(QuarterdeckError):  # a suggestion less; submitting says what is wrong
            await self._offer()

    async def _offer(self) -> None:
        datasets = await self._bridge.call(self._client.datasets)
        mine = self._client.me.login
        usable = [one for one in datasets if one.creator == mine or one.public]
        for one in sorted(usable, key=lambda one: one.creator == mine):
            self._datasets[f"{one.creator}.{one.name}"] = self._datasets[one.name] = one
        imports = self._kind.key == "data_import"
        self._nothing_yet = not usable and not imports
        names = {one.name for one in usable if one.creator == mine or not imports}
        for name in ("table", "returns", "factors"):
            if name in self.fields:
                self.fields[name].suggest(sorted(names))
        await self._know_table()
        if "factor" in self.fields:
            self.fields["factor"].suggest(await self._bridge.call(self._client.factor_names))

    async def _know_table(self) -> None:
        """Say what columns the chosen table has, and offer them to the formula."""
        field, formula = self.fields.get("table"), self.fields.get("formula")
        chosen = self._datasets.get(str(field.value())) if field is not None else None
        words: list[str] = []
        if chosen is not None and chosen.parts:
            try:
                if chosen.id not in self._columns:
                    self._columns[chosen.id] = list(await self._bridge.call(self._client.dataset_columns, chosen))
                words = self._columns[chosen.id]
            except QuarterdeckError:
                words = []
        if field is not None:
            field.explain(self._table_words(chosen, words))
        if formula is not None and isinstance(formula.control, FormulaEdit):
            functions = await self._bridge.call(_functions)
            formula.control.know(functions | dict.fromkeys(words, "a column of the table"))

    def _table_words(self, chosen: Dataset | None, columns: list[str]) -> str:
        if self._nothing_yet:
            return "There is no table yet: import one first, on the page Data Import."
        if chosen is None or not columns:
            return ""
        size = "by reference" if chosen.folder else f"{chosen.rows:,} rows"
        listed = ", ".join(columns[:20]) + (", …" if len(columns) > 20 else "")
        if self._kind.key == "data_import":
            return f"You have this table ({size}; {listed}): choose append or replace below."
        return f"{size} of {chosen.creator}: {listed}."

    async def _submit(self) -> None:
        for field in self.fields.values():
            field.complain("")
        self.problem.hide()
        self.submit.setEnabled(False)
        try:
            params = self.values()
            # validation may compile code, which takes a while: not here in the window's thread
            checked = await self._bridge.call(self._model.model_validate, params)
            if self._kind.probe is not None and await self._bridge.call(self._at_home):
                await self._bridge.call(self._kind.probe, checked)
            number = await self._bridge.call(self._client.submit, self._kind.key, params, rerun_of=self._rerun_of)
        except ValidationError as error:
            self._complain(complaints(self._model, error))
        except Invalid as error:
            self._complain({error.field or "": sentence(str(error))})
        except QuarterdeckError as error:
            self._complain({"": sentence(str(error))})
        else:
            name = self._kind.facts(checked).name if self._kind.facts is not None else self._kind.title
            self.submitted.emit(number, name)
            self.accept()
        finally:
            self.submit.setEnabled(True)

    def _at_home(self) -> bool:
        """Do all nodes that are up run on this computer, so that files here are files there?"""
        hosts = {node.host for node in self._client.nodes() if node.state == "up"}
        return hosts == {platform.node()}

    def _complain(self, found: dict[str, str]) -> None:
        first: Field | None = None
        for name, words in found.items():
            field = self.fields.get(self._shown_name(name))
            if field is None:
                self.problem.setText(words)
                self.problem.show()
                continue
            if self._extra(field):
                self._show_more(True)
            field.complain(words)
            first = first or field
        if first is not None:
            first.control.setFocus()
            # when the sentence has its place
            QTimer.singleShot(0, first, lambda: self.area.ensureWidgetVisible(first, 0, 30))

    def _shown_name(self, name: str) -> str:
        """The parameter, or the shown one of its choice: what is missing is missing there."""
        for choice in self.choices:
            if name in choice.names and not self.fields[name].chosen:
                return next(one for one in choice.names if self.fields[one].chosen)
        return name


def _functions() -> dict[str, str]:
    from quarterdeck.quant import operators

    return {name: f"{entry.signature} — {entry.meaning}" for name, entry in operators.NAMES.items()}
