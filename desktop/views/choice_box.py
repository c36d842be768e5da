"""Picking values of a report's choice: one, or several, from a list that can be searched."""

from __future__ import annotations

import datetime as dt
from typing import Any

from PySide6.QtCore import QEvent, QObject, QPoint, Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.models.table import value_text
from desktop.theme import current, styled, theme

__all__ = ["ChoiceBox", "choice_text"]

_SHOWN = 500
_VALUE = Qt.ItemDataRole.UserRole


def choice_text(value: Any) -> str:
    """A value as the list writes it: whole numbers without separators, times in UTC."""
    if isinstance(value, dt.datetime):
        return value_text(value.astimezone(dt.UTC) if value.tzinfo else value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value_text(value)


class ChoiceBox(QPushButton):
    """A button that says what is picked, and opens the list.

    Signals:
        picked(object): a tuple of values was picked
    """

    picked = Signal(object)

    def __init__(self, title: str, *, multiple: bool, required: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title, self._multiple, self._required = title, multiple, required
        self._offered: list[Any] = []
        self._texts: list[str] = []
        self._values: tuple[Any, ...] = ()
        self.list: _Popup | None = None
        self.clicked.connect(self.open)
        theme.changed.connect(self._dress)
        self._dress()
        self._say()

    def show_values(self, values: tuple[Any, ...], offered: list[Any] | None) -> None:
        """What is picked, and what there is to pick from (None: not read yet)."""
        if offered is not None and offered != self._offered:
            self._offered = offered
            self._texts = [choice_text(value) for value in offered]
        if values != self._values or offered is not None:
            self._values = values
            self._say()

    def _say(self) -> None:
        texts = [choice_text(value) for value in self._values]
        if not texts:
            words = "choose…" if self._required else "all"
        elif len(texts) <= 3:
            words = ", ".join(texts)
        else:
            words = f"{', '.join(texts[:2])} and {len(texts) - 2} more"
        self.setText(f"{self._title}: {words}")
        self.setAccessibleName(f"{self._title}: {', '.join(texts[:50]) or words}")
        self.setToolTip("" if self._offered else "The values are being read")

    def _dress(self) -> None:
        self.setIcon(resources.icon("chevron-down", current().muted))
        self.setLayoutDirection(Qt.LayoutDirection.RightToLeft)  # the arrow at the end

    def open(self) -> None:
        """Show the list under the button."""
        if self.list is not None:
            self.list.deleteLater()
        self.list = _Popup(self)
        self.list.move(self.mapToGlobal(QPoint(0, self.height() + 3)))
        self.list.show()
        self.list.search.setFocus()

    def take(self, values: tuple[Any, ...]) -> None:
        """Pick those."""
        if values != self._values:
            self._values = values
            self._say()
            self.picked.emit(values)

    @property
    def offered(self) -> list[tuple[str, Any]]:
        return list(zip(self._texts, self._offered, strict=True))

    @property
    def values(self) -> tuple[Any, ...]:
        return self._values

    @property
    def multiple(self) -> bool:
        return self._multiple

    @property
    def required(self) -> bool:
        return self._required


class _Popup(QFrame):
    """The list with its search line; with several values to pick, each change is told after a moment."""

    def __init__(self, box: ChoiceBox) -> None:
        super().__init__(box, Qt.WindowType.Popup)
        self._box = box
        self._wanted = set(box.values)
        self.setObjectName("card")
        self.setFixedWidth(max(220, min(box.width(), 360)))
        self.search = QLineEdit(placeholderText="Search…", clearButtonEnabled=True)
        self.search.setAccessibleName("Search values")
        self.search.textChanged.connect(self._fill)
        self.search.installEventFilter(self)
        self.list = QListWidget()
        self.list.setUniformItemSizes(True)
        self.list.setAccessibleName("Values")
        self.list.itemClicked.connect(self._clicked)
        self.list.itemActivated.connect(self._clicked)
        self.list.setFixedHeight(280)
        rows = QVBoxLayout(self)
        rows.setContentsMargins(8, 8, 8, 8)
        rows.setSpacing(6)
        rows.addWidget(self.search)
        rows.addWidget(self.list)
        if box.multiple or not box.required:
            foot = QHBoxLayout()
            none = styled(QPushButton("All" if not box.required else "None"), name="link")
            none.clicked.connect(self._clear)
            foot.addWidget(none)
            foot.addStretch()
            rows.addLayout(foot)
        self._soon = QTimer(self, singleShot=True, interval=250)
        self._soon.timeout.connect(self._tell)
        self._fill("")

    def _fill(self, wanted: str) -> None:
        wanted = wanted.strip().casefold()
        self.list.clear()
        offered = self._box.offered
        if self._box.multiple:  # the picked ones stand first
            offered.sort(key=lambda one: one[1] not in self._wanted)
        found = [one for one in offered if wanted in one[0].casefold()]
        for text, value in found[:_SHOWN]:
            item = QListWidgetItem(text or "–")
            item.setData(_VALUE, value)
            if self._box.multiple:
                on = value in self._wanted
                item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            self.list.addItem(item)
            if not self._box.multiple and value in self._wanted:
                self.list.setCurrentItem(item)
        if len(found) > _SHOWN:
            more = QListWidgetItem(f"{len(found) - _SHOWN:,} more: search")
            more.setFlags(Qt.ItemFlag.NoItemFlags)
            self.list.addItem(more)
        if not offered:
            more = QListWidgetItem("There are no values.")
            more.setFlags(Qt.ItemFlag.NoItemFlags)
            self.list.addItem(more)

    def _clicked(self, item: QListWidgetItem) -> None:
        if not item.flags():
            return
        value = item.data(_VALUE)
        if not self._box.multiple:
            self._box.take((value,))
            self.close()
            return
        if value in self._wanted:
            self._wanted.discard(value)
        else:
            self._wanted.add(value)
        item.setCheckState(Qt.CheckState.Checked if value in self._wanted else Qt.CheckState.Unchecked)
        self._soon.start()

    def _clear(self) -> None:
        self._wanted.clear()
        self._fill(self.search.text())
        if self._box.multiple:
            self._soon.start()
        else:
            self._tell()
            self.close()

    def _tell(self) -> None:
        self._box.take(tuple(value for _, value in self._box.offered if value in self._wanted))

    def hideEvent(self, event: Any) -> None:
        if self._soon.isActive():
            self._soon.stop()
            self._tell()
        super().hideEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.KeyPress and isinstance(event, QKeyEvent):
            if event.key() in (Qt.Key.Key_Down, Qt.Key.Key_Up):
                step = 1 if event.key() == Qt.Key.Key_Down else -1
                self.list.setCurrentRow(max(0, min(self.list.currentRow() + step, self.list.count() - 1)))
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                item = self.list.currentItem() or self.list.item(0)
                if item is not None:
                    self._clicked(item)
                return True
        return super().eventFilter(watched, event)
