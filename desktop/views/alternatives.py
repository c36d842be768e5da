"""A choice between groups of parameters: a formula, or code; files, or a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QWidget

from desktop.theme import styled
from desktop.views.fields import Field
from quarterdeck.kinds import Choice

__all__ = ["Alternatives"]


class Alternatives(QWidget):
    """Shows the fields of one option; those of the others keep what was entered, and count for nothing.

    Signals:
        changed(): another option is chosen
    """

    changed = Signal()

    def __init__(self, choice: Choice, fields: Mapping[str, Field]) -> None:
        super().__init__()
        self._fields = fields
        self._options = choice.options
        self.names = [name for _, names in choice.options for name in names]
        self.buttons = QButtonGroup(self, exclusive=True)
        title = styled(QLabel(choice.title), name="fieldname")
        title.setFixedWidth(150)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(6)
        line.addWidget(title)
        line.addSpacing(8)
        for number, (words, _) in enumerate(choice.options):
            button = styled(QPushButton(words), name="option", called=f"{choice.title}: {words}")
            button.setCheckable(True)
            button.setAutoDefault(False)
            button.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            self.buttons.addButton(button, number)
            line.addWidget(button)
        line.addStretch()
        self.buttons.idToggled.connect(lambda number, on: self._show(number) if on else None)

    def settle(self, given: Mapping[str, Any]) -> None:
        """Choose what these parameters use, else the first option."""
        used = (
            number
            for number, (_, names) in enumerate(self._options)
            if any(given.get(name) not in (None, "", []) for name in names)
        )
        self.buttons.button(next(used, 0)).setChecked(True)

    def choose(self, name: str) -> None:
        """Show the option with that parameter; where the shown one has it, all stays."""
        for number, (_, names) in enumerate(self._options):
            if name in names:
                self.buttons.button(number).setChecked(True)

    def _show(self, chosen: int) -> None:
        for number, (_, names) in enumerate(self._options):
            for name in names:
                self._fields[name].chosen = number == chosen
                self._fields[name].setVisible(number == chosen)
        self.changed.emit()
