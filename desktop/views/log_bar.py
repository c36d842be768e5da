"""What stands above a log: the search through all of it, and the choice of a task."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QEvent, QObject, QStringListModel, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QFocusEvent, QKeyEvent
from PySide6.QtWidgets import QComboBox, QCompleter, QHBoxLayout, QLabel, QLineEdit, QSizePolicy, QToolButton, QWidget

from desktop import resources
from desktop.models.log_search import LogSearch
from desktop.theme import current, styled, theme
from desktop.tips import plain_tip
from quarterdeck.job import Task
from quarterdeck.outline import Cursor

__all__ = ["SearchBar", "TaskChoice"]


class TaskChoice(QComboBox):
    """Chooses a task, or all: by list, or by typing a part of its name. `activated` tells of a choice."""

    ALL = "All tasks"

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._names = QStringListModel([self.ALL], self)
        self._ordinals: list[int | None] = [None]
        self.setModel(self._names)
        self._edit = QLineEdit()
        self.setLineEdit(self._edit)
        self.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(14)
        self.setMaxVisibleItems(20)
        self.setToolTip("Show only one task's lines: type a part of its name")
        self.setAccessibleName("Task")
        completer = QCompleter(self._names, self)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setCompletionMode(QCompleter.CompletionMode.PopupCompletion)
        completer.setMaxVisibleItems(20)
        self.setCompleter(completer)
        self._edit.setAccessibleName("Task")
        self._edit.editingFinished.connect(self._put_back)
        self._edit.installEventFilter(self)

    @property
    def ordinal(self) -> int | None:
        """The chosen task; None for all."""
        return self._ordinals[max(self.currentIndex(), 0)]

    def know(self, tasks: Sequence[Task]) -> None:
        """Offer these tasks; the choice stays."""
        names = [task.name for task in tasks]
        if len(set(names)) < len(names):
            names = [f"{task.name} (task {task.ordinal})" for task in tasks]
        names.insert(0, self.ALL)
        if names == self._names.stringList():
            return
        chosen = self.ordinal
        self._ordinals = [None, *(task.ordinal for task in tasks)]
        self._names.setStringList(names)
        self.choose(chosen)

    def choose(self, ordinal: int | None) -> None:
        """Show that choice, without telling."""
        self.setCurrentIndex(self._ordinals.index(ordinal) if ordinal in self._ordinals else 0)
        self._put_back()

    def _put_back(self) -> None:
        """What was typed and is no task's name goes."""
        self.setEditText(self.itemText(self.currentIndex()))
        self._edit.setCursorPosition(0)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.FocusIn and isinstance(event, QFocusEvent) and watched is self._edit:
            QTimer.singleShot(0, self._edit.selectAll)  # typing begins anew
        return super().eventFilter(watched, event)


class SearchBar(QWidget):
    """The text to search for, how, and what was found.

    Signals:
        asked(int): the next (1) or previous (-1) hit is wanted
        left(): Esc was pressed where there is nothing to stop and nothing to clear
    """

    asked = Signal(int)
    left = Signal()

    def __init__(self, search: LogSearch, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._search = search
        self.place: Cursor | None = None
        self.field = QLineEdit(placeholderText="Search the whole log…", clearButtonEnabled=True)
        self.field.setAccessibleName("Search the log")
        self.field.setMinimumWidth(150)
        self.field.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.field.setMaximumWidth(340)
        self.case = QAction("Match upper and lower case", self, checkable=True)
        self.regular = QAction("Regular expression, as PostgreSQL has them", self, checkable=True)
        self.up = styled(QToolButton(), tip="Find the previous one (Shift+F3)", called="Find previous")
        self.down = styled(QToolButton(), tip="Find the next one (F3)", called="Find next")
        self.words = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="small")
        self.words.setAccessibleName("Hits")
        self.stop = styled(QToolButton(), tip="Stop counting (Esc)", called="Stop counting", visible=False)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        for widget in (self.field, self.switch(self.case), self.switch(self.regular), self.up, self.down):
            row.addWidget(widget)
        row.addSpacing(2)
        row.addWidget(self.words)
        row.addWidget(self.stop)
        self.field.installEventFilter(self)
        self.field.returnPressed.connect(lambda: self.asked.emit(1))
        self.field.textChanged.connect(self.take)
        self.case.toggled.connect(self.take)
        self.regular.toggled.connect(self.take)
        self.up.clicked.connect(lambda: self.asked.emit(-1))
        self.down.clicked.connect(lambda: self.asked.emit(1))
        self.stop.clicked.connect(search.stop)
        search.changed.connect(self.say)
        theme.changed.connect(self._dress)
        self._dress()

    def switch(self, action: QAction) -> QToolButton:
        button = styled(QToolButton(), called=action.text())
        button.setDefaultAction(action)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        return button

    def take(self) -> None:
        """What is searched for is what stands here now."""
        self._search.look_for(self.field.text(), case=self.case.isChecked(), regular=self.regular.isChecked())
        self.say()

    def say(self) -> None:
        """Show what was found."""
        words = self._search.words(self.place)
        share = self._search.share
        if share is not None:
            words = f"{words}  {share:.0%}".strip()
        self.words.setText(words if len(words) < 44 else words[:43] + "…")
        self.words.setToolTip(plain_tip(words) if len(words) >= 44 else "")
        self.stop.setVisible(share is not None)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Esc first stops the count, then clears the text, then leaves; only after that it is the window's."""
        if watched is self.field and isinstance(event, QKeyEvent) and event.key() == Qt.Key.Key_Escape:
            if event.type() == QEvent.Type.ShortcutOverride:
                event.accept()
                return True
            if event.type() == QEvent.Type.KeyPress:
                if self._search.running:
                    self._search.stop()
                elif self.field.text():
                    self.field.clear()
                else:
                    self.left.emit()
                return True
        return super().eventFilter(watched, event)

    def _dress(self) -> None:
        t = current()
        self.up.setIcon(resources.icon("chevron-up", t.muted))
        self.down.setIcon(resources.icon("chevron-down", t.muted))
        self.stop.setIcon(resources.icon("close", t.muted))
        self.case.setIcon(resources.icon("format-letter-case", t.muted))
        self.regular.setIcon(resources.icon("regex", t.muted))
