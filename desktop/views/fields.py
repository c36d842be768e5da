"""One field of a form from one field of a pydantic model: the widget, its value, its error."""

from __future__ import annotations

import datetime as dt
import enum
import json
import pathlib
import textwrap
import types
import typing
from collections.abc import Callable
from typing import Any, Literal

from pydantic.fields import FieldInfo
from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from desktop.theme import styled
from desktop.views.editors import CodeEdit, FormulaEdit, PairsEdit

__all__ = ["MISSING", "Field", "field_title"]

MISSING = object()
"""What an empty field gives: the parameter is left out, and its default holds."""


def field_title(name: str, info: FieldInfo) -> str:
    """The words for a parameter: its own title, or its name in words."""
    extra = info.json_schema_extra
    given = info.title or (extra.get("title") if isinstance(extra, dict) else None)
    words = str(given or name.replace("_", " "))
    return words[:1].upper() + words[1:]


def _plain(annotation: Any) -> tuple[list[Any], bool]:
    """The alternatives of a type, without None; and whether None was one of them."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _plain(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds: list[Any] = []
        optional = False
        for one in typing.get_args(annotation):
            if one is type(None):
                optional = True
            else:
                inner, maybe = _plain(one)
                kinds += inner
                optional = optional or maybe
        return kinds, optional
    return [annotation], False


class Field(QWidget):
    """A parameter: name, control, what it means, and its error.

    Signals:
        edited(): the value is another now
    """

    edited = Signal()

    def __init__(self, name: str, info: FieldInfo, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = name
        self.title = field_title(name, info)
        self.required = info.is_required()
        self._default = None if self.required else info.get_default(call_default_factory=True)
        kinds, self._optional = _plain(info.annotation)
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        self.code = extra.get("code") is not None or name in {"code", "formula", "query"}
        self.chosen = True
        self.advanced = not self.required and not self.code and name != "path" and self._default in (None, [], {}, ())
        if "shown" in extra:
            self.advanced = not extra["shown"]
        self._narrow = False
        self._examples = [str(one) for one in info.examples or ()]
        self._get: Callable[[], Any] = lambda: MISSING
        self._put: Callable[[Any], None] = lambda value: None
        self.control = self._build(kinds, extra)
        self.control.setAccessibleName(self.title)
        self.control.setAccessibleDescription(info.description or "")
        if isinstance(self.control, QComboBox) and (line := self.control.lineEdit()) is not None:
            line.setAccessibleName(self.title)
        self._description = ""
        self.help = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), name="small")
        self.error = styled(QLabel(wordWrap=True), name="error", visible=False)
        self.error.setTextFormat(Qt.TextFormat.PlainText)
        self._lay_out(info.description or "")
        if self._default is not None:
            self.put(self._default)

    def _lay_out(self, description: str) -> None:
        label = styled(QLabel(self.title, wordWrap=True), name="fieldname")
        label.setFixedWidth(150)
        label.setAlignment(Qt.AlignmentFlag.AlignTop)
        label.setContentsMargins(0, 6, 0, 0)
        label.setBuddy(self.control)
        right = QVBoxLayout()
        right.setSpacing(3)
        if self.name == "path":
            line = QHBoxLayout()
            line.setSpacing(8)
            line.addWidget(self.control, 1)
            browse = QPushButton("Choose…")
            browse.clicked.connect(self._choose_file)
            line.addWidget(browse)
            right.addLayout(line)
        elif self._narrow:
            right.addWidget(self.control, 0, Qt.AlignmentFlag.AlignLeft)
        else:
            right.addWidget(self.control)
        if description and isinstance(self.control, QCheckBox):
            # a check box does not wrap its words, and would make the whole form wider than its dialog
            self.control.setText(textwrap.fill(description[:1].upper() + description[1:], 68))
            label.setContentsMargins(0, 2, 0, 0)
        if not isinstance(self.control, QCheckBox):
            self._description = description[:1].upper() + description[1:]
            self.help.setText(self._description)
            self.help.setVisible(bool(description))
            right.addWidget(self.help)
        right.addWidget(self.error)
        right.addStretch(1)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(14)
        layout.addWidget(label)
        layout.addLayout(right, 1)
        if not self.code:  # the room that is left belongs to what is written in, not to gaps
            self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)

    def value(self) -> Any:
        """What was entered, as JSON-like value; MISSING when empty or as by default."""
        return self._get()

    def filled(self) -> bool:
        """Was anything entered, right or wrong, that is not the default?"""
        try:
            value = self.value()
            return value is not MISSING and value != self._default
        except ValueError:
            return True

    def put(self, value: Any) -> None:
        """Show a value."""
        self._put(value)

    def complain(self, sentence: str) -> None:
        """Show what is wrong, or nothing with ''."""
        self.error.setText(sentence)
        self.error.setVisible(bool(sentence))
        self.control.setProperty("wrong", bool(sentence))
        self.control.style().polish(self.control)

    def explain(self, words: str) -> None:
        """Say something more below the control; '' for what its description says."""
        self.help.setText(words or self._description)
        self.help.setVisible(bool(self.help.text()))

    def suggest(self, values: list[str]) -> None:
        """Offer values for a text."""
        if isinstance(self.control, QComboBox) and self.control.isEditable():
            text = self.control.currentText()
            with QSignalBlocker(self.control):  # nobody edits: a sentence that stands there stays
                self.control.clear()
                self.control.addItems(values)
                self.control.setCurrentText(text)

    def _build(self, kinds: list[Any], extra: dict[str, Any]) -> QWidget:
        only = kinds[0] if len(kinds) == 1 else None
        if extra.get("pairs") is not None or kinds == [dict[str, str]]:
            return self._pairs(extra.get("pairs"), extra.get("words"))
        if self.code:
            return self._editor(str, python=extra.get("code") == "python" or self.name == "code")
        if only is bool:
            return self._tick()
        words = self._choices(only)
        if words:
            return self._choice(words)
        if extra.get("factor") or (only is str and self.name in {"table", "dataset", "factors", "returns"}):
            return self._suggesting()
        if any(kind in (str, int, float, dt.date, dt.datetime, dt.time) or self._is_path(kind) for kind in kinds):
            return self._line(kinds)
        if typing.get_origin(only) in (list, tuple, set, frozenset) and self._simple_items(only):
            return self._list(typing.get_args(only)[0])
        return self._editor(json.loads)

    @staticmethod
    def _choices(kind: Any) -> dict[str, str]:
        if typing.get_origin(kind) is Literal:
            return {str(one): str(one).replace("_", " ") for one in typing.get_args(kind)}
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return {str(one.value): str(one.value).replace("_", " ") for one in kind}
        return {}

    @staticmethod
    def _is_path(kind: Any) -> bool:
        return isinstance(kind, type) and issubclass(kind, pathlib.PurePath)

    @staticmethod
    def _simple_items(kind: Any) -> bool:
        items = typing.get_args(kind)
        return bool(items) and all(one in (str, int, float) for one in items)

    def _tick(self) -> QWidget:
        box = QCheckBox()
        self._get = box.isChecked
        self._put = lambda value: box.setChecked(bool(value))
        box.toggled.connect(self.edited)
        return box

    def _choice(self, words: dict[str, str]) -> QWidget:
        box = QComboBox()
        if self._optional or self.required:
            box.addItem("—", None)
        for value, word in words.items():
            box.addItem(word, value)
        self._get = lambda: MISSING if box.currentData() is None else box.currentData()
        self._put = lambda value: box.setCurrentIndex(max(0, box.findData(getattr(value, "value", value))))
        box.currentIndexChanged.connect(self.edited)
        box.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        box.setMinimumWidth(180)
        self._narrow = True
        return box

    def _suggesting(self) -> QWidget:
        box = QComboBox(editable=True)
        box.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._get = lambda: box.currentText().strip() or MISSING
        self._put = lambda value: box.setCurrentText(str(value))
        box.currentTextChanged.connect(self.edited)
        return box

    def _line(self, kinds: list[Any]) -> QWidget:
        line = QLineEdit()
        if dt.date in kinds or dt.datetime in kinds:
            line.setPlaceholderText("YYYY-MM-DD" + (" or YYYY-MM-DD HH:MM" if dt.datetime in kinds else ""))
            line.setFixedWidth(260)
            self._narrow = True
        elif str not in kinds and (int in kinds or float in kinds):
            line.setFixedWidth(180)
            self._narrow = True
        lists = any(typing.get_origin(kind) is list for kind in kinds)

        def get() -> Any:
            text = line.text().strip()
            if not text:
                return MISSING
            if lists and ";" in text:
                return [part.strip() for part in text.split(";") if part.strip()]
            if str not in kinds:
                for number in (int, float):
                    if number in kinds:
                        try:
                            return number(text)
                        except ValueError:
                            continue
            return text

        def put(value: Any) -> None:
            line.setText("; ".join(map(str, value)) if isinstance(value, list | tuple) else _shown(value))

        self._get, self._put = get, put
        line.textChanged.connect(self.edited)
        return line

    def _list(self, item: type) -> QWidget:
        line = QLineEdit(placeholderText="several, with commas between")

        def get() -> Any:
            parts = [part.strip() for part in line.text().split(",") if part.strip()]
            if not parts:
                return MISSING
            try:
                return [item(part) for part in parts]
            except ValueError:
                return parts

        self._get = get
        self._put = lambda value: line.setText(", ".join(map(str, value)))
        line.textChanged.connect(self.edited)
        return line

    def _pairs(self, names: Any, words: Any) -> QWidget:
        editor = PairsEdit(5, list(names) if names is not None else None, words)

        def get() -> Any:
            found = editor.pairs()
            return MISSING if found is None else found

        self._get, self._put = get, editor.put
        editor.textChanged.connect(self.edited)
        return editor

    def _editor(self, read: Callable[[str], Any], *, python: bool = False) -> QWidget:
        formula = read is str and self.name == "formula"
        editor = FormulaEdit(3) if formula else CodeEdit(12 if python else 4, indents=python)
        if self._examples:
            editor.setPlaceholderText(self._examples[0])
        if read is json.loads:
            editor.setPlaceholderText("JSON")

        def get() -> Any:
            text = editor.toPlainText()
            if not text.strip():
                return MISSING
            if read is str:
                return text
            try:
                return read(text)
            except ValueError as error:
                raise ValueError(f"{self.title} is not valid JSON: {error}.") from None

        self._get = get
        self._put = lambda value: editor.setPlainText(value if isinstance(value, str) else json.dumps(value, indent=2))
        editor.textChanged.connect(self.edited)
        return editor

    def _choose_file(self) -> None:
        dialog = QFileDialog(self.window(), self.title)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
        dialog.setNameFilters(["Data files (*.csv *.txt *.tsv *.parquet *.xlsx *.xls *.gz)", "All files (*)"])
        dialog.filesSelected.connect(lambda names: self.put(names if len(names) > 1 else names[0]))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()


def _shown(value: Any) -> str:
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    return str(getattr(value, "value", value))
