"""Editors of a form: formulas with completion, code, and lines of pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QStringListModel, Qt
from PySide6.QtGui import QKeyEvent, QTextCursor
from PySide6.QtWidgets import QCompleter, QListView, QPlainTextEdit

from desktop.theme import interface_font, monospaced

__all__ = ["CodeEdit", "FormulaEdit", "PairsEdit"]

_KEYS_OF_POPUP = frozenset({Qt.Key.Key_Enter, Qt.Key.Key_Return, Qt.Key.Key_Tab, Qt.Key.Key_Escape})
_INDENT = "    "


class CodeEdit(QPlainTextEdit):
    """Text of several lines in a font of equal widths; `indents`: Tab indents instead of moving on."""

    def __init__(self, lines: int, *, indents: bool = False) -> None:
        super().__init__()
        self._indents = indents
        self.setFont(monospaced(13))
        self.setTabChangesFocus(not indents)
        self.setTabStopDistance(4 * self.fontMetrics().horizontalAdvance(" "))
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + 22)
        self.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        plain = event.modifiers() == Qt.KeyboardModifier.NoModifier
        if self._indents and plain and event.key() == Qt.Key.Key_Tab:
            self.insertPlainText(_INDENT)
            return
        if self._indents and plain and event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            line = self.textCursor().block().text()
            before = line[: self.textCursor().positionInBlock()]
            indent = before[: len(before) - len(before.lstrip())] + (_INDENT if before.rstrip().endswith(":") else "")
            super().keyPressEvent(event)
            self.insertPlainText(indent)
            return
        super().keyPressEvent(event)


class FormulaEdit(CodeEdit):
    """A formula; what is typed is completed from the functions and the table's columns (Ctrl+Space: all of them)."""

    def __init__(self, lines: int) -> None:
        super().__init__(lines)
        self.words: dict[str, str] = {}
        self._model = QStringListModel(self)
        self.completer = QCompleter(self._model, self)
        self.completer.setWidget(self)
        self.completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.completer.setFilterMode(Qt.MatchFlag.MatchStartsWith)
        self._offers = QListView()
        self._offers.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self._offers.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._offers.setFont(interface_font(13))
        self._offers.setAccessibleName("Functions and columns")
        self.completer.setPopup(self._offers)
        self.completer.activated.connect(self._complete)

    def know(self, words: Mapping[str, str]) -> None:
        """Offer these words; each with what it means: a function's signature, or that it is a column."""
        self.words = dict(words)
        self._model.setStringList([f"{word}   {meaning}" for word, meaning in sorted(self.words.items())])

    def keyPressEvent(self, event: QKeyEvent) -> None:
        popup = self._offers
        if popup.isVisible() and event.key() in _KEYS_OF_POPUP:
            event.ignore()  # the popup's
            return
        asked = event.key() == Qt.Key.Key_Space and event.modifiers() == Qt.KeyboardModifier.ControlModifier
        if not asked:
            super().keyPressEvent(event)
        word = self._word()
        typed = bool(event.text().strip()) and event.modifiers() in (
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.ShiftModifier,
        )
        if not asked and not (typed and len(word) >= 2):
            popup.hide()
            return
        self.completer.setCompletionPrefix(word)
        matches = self.completer.completionCount()
        if not matches or (not asked and word in self.words and matches == 1):
            popup.hide()
            return
        popup.setCurrentIndex(self.completer.completionModel().index(0, 0))
        place = self.cursorRect()
        place.setWidth(min(760, popup.sizeHintForColumn(0) + popup.verticalScrollBar().sizeHint().width() + 20))
        self.completer.complete(place)

    def _word(self) -> str:
        text = self.textCursor().block().text()[: self.textCursor().positionInBlock()]
        start = len(text)
        while start and (text[start - 1].isalnum() or text[start - 1] == "_"):
            start -= 1
        return text[start:]

    def _complete(self, chosen: str) -> None:
        word = chosen.split("   ")[0]
        cursor = self.textCursor()
        cursor.movePosition(QTextCursor.MoveOperation.Left, QTextCursor.MoveMode.KeepAnchor, len(self._word()))
        function = self.words.get(word, "").startswith(f"{word}(")
        cursor.insertText(f"{word}(" if function else word)
        self.setTextCursor(cursor)


class PairsEdit(CodeEdit):
    """Pairs, one a line as `name = value`; what has no such form is shown, and read, as JSON."""

    def __init__(self, lines: int, names: Sequence[str] | None, words: Sequence[str] | None = None) -> None:
        """`names`: what the two are called where each pair is an object; None where all are one object, whose two sides
        `words` says."""
        super().__init__(lines)
        self._names = names
        left, right = names or words or ("name in the source", "name in the table")
        self.setPlaceholderText(f"one a line:  {left} = {right}")

    def pairs(self) -> Any:
        """What was entered; None for nothing.

        Raises:
            ValueError: a line is no pair, or the JSON can't be read.
        """
        text = self.toPlainText().strip()
        if not text:
            return None
        if text[0] in "[{":
            try:
                return json.loads(text)
            except ValueError as error:
                raise ValueError(f"This begins like JSON, and is none: {error}.") from None
        found: list[tuple[str, str]] = []
        for number, line in enumerate(self.toPlainText().splitlines(), 1):
            if not line.strip():
                continue
            name, sign, value = (part.strip() for part in line.partition("="))
            if not (name and sign and value):
                raise ValueError(f"Line {number} is no pair: write it as name = value.")
            if self._names is None and name in dict(found):
                raise ValueError(f"Line {number}: “{name}” stands there twice.")
            found.append((name, value))
        if self._names is None:
            return dict(found)
        return [dict(zip(self._names, pair, strict=True)) for pair in found]

    def put(self, value: Any) -> None:
        """Show a value."""
        pairs: list[tuple[str, str]] | None = []
        if self._names is None and isinstance(value, Mapping):
            pairs = [(str(name), str(one)) for name, one in value.items()]
        elif self._names is not None and isinstance(value, Sequence):
            left, right = self._names
            for one in value:
                filled = {name: part for name, part in one.items() if part is not None}
                if pairs is None or set(filled) != {left, right}:
                    pairs = None
                    break
                pairs.append((str(filled[left]), str(filled[right])))
        fair = pairs is not None and all(
            part == part.strip() and "\n" not in part and "=" not in name and part for name, part in pairs
        )
        if pairs is not None and fair:
            self.setPlainText("\n".join(f"{name} = {part}" for name, part in pairs))
        else:
            self.setPlainText(json.dumps(value, indent=2, ensure_ascii=False))
