"""A form to start a job of a kind, made from the kind's parameters."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QScrollArea, QVBoxLayout, QWidget

from desktop import resources
from desktop.bridge import Bridge
from desktop.theme import current, styled
from desktop.views.fields import MISSING, Field, field_title
from quarterdeck.client import Client
from quarterdeck.errors import Invalid, QuarterdeckError
from quarterdeck.kinds import Kind

__all__ = ["FormDialog", "complaints"]


def given_names(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The parameters by the names under which they are given."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def complaints(model: type[BaseModel], error: ValidationError) -> dict[str, str]:
    """What is wrong: parameter to one sentence; '' for what concerns no single one."""
    names = given_names(model)
    found: dict[str, str] = {}
    for one in error.errors(include_url=False):
        place = str(one["loc"][0]) if one["loc"] else ""
        info = names.get(place)
        title = field_title(place, info) if info is not None else ""
        text = one["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if one["type"] == "missing":
            text = f"{title} is needed."
        else:
            inner = ".".join(str(part) for part in one["loc"][1:] if not isinstance(part, str) or part.isidentifier())
            text = f"{inner}: {text}" if inner and len(one["loc"]) > 2 else text
            text = _sentence(text)
        found.setdefault(place if info is not None else "", text)
    return found


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


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
        self._kept = dict(params or {})
        title = f"New {kind.title}" if rerun_of is None else f"Run Job {rerun_of} Again"
        self.setWindowTitle(title)
        self.resize(720, 640)
        self.fields = {name: Field(name, info) for name, info in given_names(self._model).items()}
        for name, value in self._kept.items():
            if name in self.fields and value is not None:
                self.fields[name].put(value)
        self.problem = styled(QLabel(wordWrap=True), name="problem", visible=False)
        self.problem.setTextFormat(Qt.TextFormat.PlainText)
        self.more = styled(QPushButton("More settings"), name="flat")
        self.more.setCheckable(True)
        self.submit = styled(QPushButton("Start"), name="primary")
        self.submit.setDefault(True)
        self.cancel = QPushButton("Cancel")
        self._lay_out(title)
        for field in self.fields.values():
            field.edited.connect(self._edited)
        self.more.toggled.connect(self._show_more)
        self._show_more(any(f.advanced and f.value() is not MISSING for f in self.fields.values()))
        self.submit.clicked.connect(lambda: bridge.latest(self, "submit", self._submit()))
        self.cancel.clicked.connect(self.reject)
        if any(name in self.fields for name in ("table", "factor")) and kind.key != "data_import":
            bridge.start(self, self._suggest())

    def _lay_out(self, title: str) -> None:
        rows = QVBoxLayout()
        rows.setContentsMargins(24, 18, 24, 18)
        rows.setSpacing(16)
        for field in self.fields.values():
            if not field.advanced:
                rows.addWidget(field)
        if any(field.advanced for field in self.fields.values()):
            line = QHBoxLayout()
            line.addWidget(self.more)
            line.addStretch()
            rows.addLayout(line)
        for field in self.fields.values():
            if field.advanced:
                rows.addWidget(field)
        rows.addStretch()
        inside = styled(QWidget(), "section")
        inside.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        inside.setLayout(rows)
        area = QScrollArea(widgetResizable=True)
        area.setWidget(inside)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        head = styled(QLabel(title), name="title")
        head.setContentsMargins(24, 18, 24, 12)
        below = styled(QWidget(), name="head")
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
        layout.addWidget(area, 1)
        layout.addWidget(below)

    def values(self) -> dict[str, Any]:
        """The parameters as entered.

        Raises:
            Invalid: a field's text can't be read as what it must be; names the field.
        """
        found = {}
        for name, field in self.fields.items():
            try:
                value = field.value()
            except ValueError as error:
                raise Invalid(str(error), field=name) from None
            if value is not MISSING:
                found[name] = value
        return found

    def _show_more(self, on: bool) -> None:
        self.more.setChecked(on)
        self.more.setIcon(resources.icon("chevron-down" if on else "chevron-right", current().muted))
        for field in self.fields.values():
            if field.advanced:
                field.setVisible(on)

    def _edited(self) -> None:
        field = self.sender()
        if isinstance(field, Field):
            field.complain("")
        self.problem.hide()

    async def _suggest(self) -> None:
        try:
            datasets = await self._bridge.call(self._client.datasets)
        except QuarterdeckError:
            return  # a suggestion less; submitting says what is wrong
        names = [one.name for one in datasets]
        for name in ("table", "factor"):
            if name in self.fields:
                self.fields[name].suggest(names)

    async def _submit(self) -> None:
        for field in self.fields.values():
            field.complain("")
        self.problem.hide()
        self.submit.setEnabled(False)
        try:
            params = self.values()
            # validation may compile code, which takes a while: not here in the window's thread
            checked = await self._bridge.call(self._model.model_validate, params)
            number = await self._bridge.call(self._client.submit, self._kind.key, params, rerun_of=self._rerun_of)
        except ValidationError as error:
            self._complain(complaints(self._model, error))
        except Invalid as error:
            self._complain({error.field or "": _sentence(str(error))})
        except QuarterdeckError as error:
            self._complain({"": _sentence(str(error))})
        else:
            name = self._kind.facts(checked).name if self._kind.facts is not None else self._kind.title
            self.submitted.emit(number, name)
            self.accept()
        finally:
            self.submit.setEnabled(True)

    def _complain(self, found: dict[str, str]) -> None:
        first: Field | None = None
        for name, sentence in found.items():
            field = self.fields.get(name)
            if field is None:
                self.problem.setText(sentence)
                self.problem.show()
                continue
            if field.advanced:
                self._show_more(True)
            field.complain(sentence)
            first = first or field
        if first is not None:
            first.control.setFocus()
            area = self.findChild(QScrollArea)
            if area is not None:
                area.ensureWidgetVisible(first)
