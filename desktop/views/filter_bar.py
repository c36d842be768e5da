"""The line above a list: text, status, creator, type."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QMenu, QPushButton, QWidget

from desktop import resources
from desktop.theme import STATUS_ICONS, current, theme
from quarterdeck.job import Origin, Status
from quarterdeck.query import Filter

__all__ = ["FilterBar"]


class _Choice(QPushButton):
    """A button whose menu ticks several values.

    Signals:
        chosen(): another set of values is ticked
    """

    chosen = Signal()

    def __init__(self, title: str, everything: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self._everything = everything
        self.values: frozenset[str] = frozenset()
        self._menu = QMenu(self)
        self.setMenu(self._menu)
        self.setObjectName("choice")
        self._say()

    def offer(self, values: dict[str, str], icons: dict[str, tuple[str, str]] | None = None) -> None:
        """The values to tick: value to word, and value to icon and colour."""
        self._menu.clear()
        for value, word in values.items():
            action = self._menu.addAction(word)
            action.setCheckable(True)
            action.setChecked(value in self.values)
            if icons:
                action.setIcon(resources.icon(*icons[value]))
                action.setIconVisibleInMenu(True)
            action.toggled.connect(partial(self._tick, value))
        self._words = values

    def clear(self) -> None:
        self.values = frozenset()
        for action in self._menu.actions():
            action.blockSignals(True)
            action.setChecked(False)
            action.blockSignals(False)
        self._say()

    def _tick(self, value: str, on: bool) -> None:
        self.values = self.values | {value} if on else self.values - {value}
        self._say()
        self.chosen.emit()

    def _say(self) -> None:
        if not self.values:
            words = self._everything
        elif len(self.values) == 1:
            words = self._words[next(iter(self.values))]
        else:
            words = f"{len(self.values)} chosen"
        self.setText(f"{self._title}: {words}")


class FilterBar(QWidget):
    """What a page shows.

    Signals:
        changed(): `filter()` is another now; text follows a short pause in typing
    """

    changed = Signal()

    def __init__(self, me: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._creators = {me: f"{me} (me)"}
        self.text = QLineEdit(placeholderText="Search by name…", clearButtonEnabled=True)
        self.text.setFixedWidth(230)
        self.text.setAccessibleName("Search by name")
        self.status = _Choice("Status", "all")
        self.creator = QComboBox()
        self.creator.setAccessibleName("Creator")
        self.creator.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.creator.setMinimumWidth(160)
        self.creator.addItem("Creator: everyone", "")
        self.creator.addItem(f"Creator: {me} (me)", me)
        self.origin = _Choice("Type", "all")
        self.origin.offer({one.value: one.title for one in Origin})
        self.clear_button = QPushButton("Clear")
        self.clear_button.setObjectName("flat")
        self.clear_button.hide()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        for part in (self.text, self.status, self.creator, self.origin, self.clear_button):
            layout.addWidget(part)
        self._typed = QTimer(self, singleShot=True, interval=200)
        self._typed.timeout.connect(self._change)
        self.text.textChanged.connect(self._typed.start)
        self.status.chosen.connect(self._change)
        self.origin.chosen.connect(self._change)
        self.creator.activated.connect(self._change)
        self.clear_button.clicked.connect(self.clear)
        self.text.setObjectName("search")
        self._lens = self.text.addAction(
            resources.icon("magnify", current().faint), QLineEdit.ActionPosition.LeadingPosition
        )
        theme.changed.connect(self._dress)
        self._dress()

    def filter(self) -> Filter:
        chosen = self.creator.currentData()
        return Filter(
            text=self.text.text().strip(),
            statuses=frozenset(Status(value) for value in self.status.values),
            creators=frozenset({chosen} if chosen else set()),
            origins=frozenset(Origin(value) for value in self.origin.values),
        )

    def know_creators(self, names: set[str]) -> None:
        """Offer these creators too."""
        for name in sorted(names - self._creators.keys()):
            self._creators[name] = name
            self.creator.addItem(f"Creator: {name}", name)

    def clear(self) -> None:
        self.text.clear()
        self._typed.stop()
        self.status.clear()
        self.origin.clear()
        self.creator.setCurrentIndex(0)
        self._change()

    def _change(self) -> None:
        self.clear_button.setVisible(self.filter() != Filter())
        self.changed.emit()

    def _dress(self) -> None:
        self._lens.setIcon(resources.icon("magnify", current().faint))
        self.status.offer(
            {one.value: one.title for one in Status},
            {one.value: (STATUS_ICONS[one], theme.status_colors(one)[0]) for one in Status},
        )
