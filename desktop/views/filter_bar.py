"""The line above a list: what to show, by words in a field or by menus; both say the same.

The line of the field is the one truth. A menu writes its words into it, and shows what the line says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial

from PySide6.QtCore import QStringListModel, Qt, QTimer, Signal
from PySide6.QtWidgets import QCompleter, QHBoxLayout, QLabel, QLineEdit, QMenu, QPushButton, QVBoxLayout, QWidget

from desktop import resources
from desktop.models.jobs import JobsModel
from desktop.theme import current, styled, theme
from desktop.views.dialogs import TimeDialog
from desktop.views.tick_menu import TickMenu
from quarterdeck import filter_line
from quarterdeck.columns import time_text
from quarterdeck.errors import Invalid
from quarterdeck.job import Origin, Status
from quarterdeck.query import Filter

__all__ = ["FilterBar"]

_SPANS = {"1h": "Last hour", "1d": "Last day", "1w": "Last week", "30d": "Last 30 days"}


class _Choice(QPushButton):
    """A button whose menu ticks several values.

    Signals:
        chosen(): the user ticked another set of values
    """

    chosen = Signal()

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(title, parent)
        self.setObjectName("choice")
        self.setAccessibleName(title)
        self.values: frozenset[str] = frozenset()
        self._title = title
        self._words: dict[str, str] = {}
        self.ticks = TickMenu(self)
        self.ticks.aboutToShow.connect(self._fill)
        self.setMenu(self.ticks)

    def offer(self, values: Mapping[str, str]) -> None:
        """The values to tick, with their words."""
        self._words = dict(values)

    def show_values(self, values: Collection[str], barred: Collection[str]) -> None:
        """The values that the line names, and those that it excludes."""
        self.values = frozenset(values)
        parts = [self._words.get(one, one) for one in sorted(values)] + [
            f"not {self._words.get(one, one)}" for one in sorted(barred)
        ]
        words = parts[0] if len(parts) == 1 else f"{len(parts)} chosen" if parts else ""
        self.setText(f"{self._title}: {words}" if words else self._title)

    def tick(self, value: str, on: bool) -> None:
        """As the user does in the menu."""
        self.values = self.values | {value} if on else self.values - {value}
        self.chosen.emit()

    def _fill(self) -> None:
        self.ticks.clear()
        for value, word in {**self._words, **{one: one for one in sorted(self.values - self._words.keys())}}.items():
            action = self.ticks.addAction(word)
            action.setCheckable(True)
            action.setChecked(value in self.values)
            action.toggled.connect(partial(self.tick, value))
        if self.values:
            self.ticks.addSeparator()
            self.ticks.addAction("Any").triggered.connect(self._any)
        if self.ticks.isEmpty():
            self.ticks.addAction("None is known yet").setEnabled(False)

    def _any(self) -> None:
        self.values = frozenset()
        self.chosen.emit()


class FilterBar(QWidget):
    """What a page shows: the menus, and the field `text`, which the page puts where it has room.

    Signals:
        changed(): `filter()` is another now; text follows a short pause in typing
    """

    changed = Signal()

    def __init__(self, jobs: JobsModel, me: str, line: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._jobs = jobs
        self._me = me
        self._good = ""
        self._filter = Filter()
        self._known: dict[str, set[str]] = {"creator": {me}, "node": set()}
        self.text = QLineEdit(placeholderText="Search, or status:failed -creator:me last:2d", clearButtonEnabled=True)
        self.text.setMinimumWidth(170)
        self.text.setAccessibleName("Filter")
        self.text.setObjectName("search")
        self.status, self.creator = _Choice("Status"), _Choice("Creator")
        self.node, self.origin = _Choice("Node"), _Choice("Type")
        self.status.offer({one.value: one.title for one in Status})
        self.origin.offer({one.value: one.title for one in Origin})
        self.time = styled(QPushButton("Time"), "choice", called="Time")
        self._times = QMenu(self.time)
        self._times.aboutToShow.connect(self._fill_times)
        self.time.setMenu(self._times)
        self.clear_button = styled(QPushButton("Clear"), "flat", visible=False)
        self.trouble = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), "error", visible=False)
        self.dialog: TimeDialog | None = None
        self._build()
        self._completer = self._completion()
        self._typed = QTimer(self, singleShot=True, interval=200)
        self._typed.timeout.connect(self._read)
        self._patience = QTimer(self, singleShot=True, interval=900)
        self._patience.timeout.connect(self.trouble.show)
        self.text.setText(line)
        self._read()
        self.text.textChanged.connect(self._typed.start)
        self.text.returnPressed.connect(self._now)
        for key, choice in self._choices().items():
            choice.chosen.connect(partial(self._chosen, key))
        self.clear_button.clicked.connect(self.clear)
        theme.changed.connect(self._dress)
        self._dress()

    def _build(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(6)
        for part in (*self._choices().values(), self.time, self.clear_button):
            row.addWidget(part)
        row.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addWidget(self.trouble)
        self._lens = self.text.addAction(
            resources.icon("magnify", current().faint), QLineEdit.ActionPosition.LeadingPosition
        )

    def _choices(self) -> dict[str, _Choice]:
        return {"status": self.status, "creator": self.creator, "node": self.node, "type": self.origin}

    # What it says

    def filter(self) -> Filter:
        """What the line means now: "the last hour" moves on."""
        if self.slides():
            self._filter = self._parsed(self._good)
        return self._filter

    @property
    def line(self) -> str:
        """The last line that could be read."""
        return self._good

    def slides(self) -> bool:
        """Whether what it means depends on the time of the day."""
        return bool({"last", "since", "until"} & filter_line.named(self._good).keys())

    def say(self, line: str) -> None:
        """Show what that line says, at once."""
        self.text.setText(line)
        self._now()

    def know(self, key: str, names: Iterable[str]) -> None:
        """Offer these creators or nodes ("creator", "node"), too."""
        if not self._known[key].issuperset(found := set(names)):
            self._known[key] |= found
            self._offer()

    def clear(self) -> None:
        self.say("")

    # The field

    def _now(self) -> None:
        self._typed.stop()
        self._read()
        if self.text.property("wrong"):
            self.trouble.show()

    def _read(self) -> None:
        line = self.text.text()
        try:
            found = self._parsed(line)
        except Invalid as error:
            self.trouble.setText(f"{str(error)[:1].upper()}{str(error)[1:]}")
            self._mark(True)
            self._patience.start()
            return
        self._mark(False)
        self._patience.stop()
        self.trouble.hide()
        same = found == self._filter
        self._good, self._filter = line.strip(), found
        self._show()
        if not same:
            self.changed.emit()

    def _parsed(self, line: str) -> Filter:
        return filter_line.parse(line, me=self._me, now=self._jobs.now())

    def _mark(self, wrong: bool) -> None:
        if bool(self.text.property("wrong")) != wrong:
            self.text.setProperty("wrong", wrong)
            self.text.style().polish(self.text)

    def _completion(self) -> QCompleter:
        completer = QCompleter(QStringListModel(self), self)
        completer.setCompletionMode(QCompleter.CompletionMode.UnfilteredPopupCompletion)
        completer.setWidget(self.text)
        completer.activated.connect(self._complete)
        self.text.textEdited.connect(self._suggest)
        return completer

    def _suggest(self) -> None:
        known = {"creator": {*self._known["creator"], "me"}, "node": self._known["node"]}
        _, words = filter_line.completions(self.text.text(), self.text.cursorPosition(), known)
        model = self._completer.model()
        if isinstance(model, QStringListModel):
            model.setStringList(words)
        if words:
            place = self.text.cursorRect()
            place.setWidth(220)
            self._completer.complete(place)
        elif (popup := self._completer.popup()) is not None:
            popup.hide()

    def _complete(self, word: str) -> None:
        line, cursor = self.text.text(), self.text.cursorPosition()
        begin, _ = filter_line.completions(line, cursor, self._known)
        word += "" if word.endswith(":") or line[cursor : cursor + 1] == " " else " "
        self.text.setText(line[:begin] + word + line[cursor:])
        self.text.setCursorPosition(begin + len(word))
        if word.endswith(":"):
            self._suggest()

    # The menus

    def _chosen(self, key: str) -> None:
        self._revise({key: self._choices()[key].values})

    def _revise(self, terms: Mapping[str, Collection[str]]) -> None:
        self.say(filter_line.revise(self._good, terms))

    def _fill_times(self) -> None:
        self._times.clear()
        now = filter_line.named(self._good)
        for span, words in {"": "Any time", **_SPANS}.items():
            action = self._times.addAction(words)
            action.setCheckable(True)
            action.setChecked(now.get("last") == [span] if span else not {"last", "since", "until"} & now.keys())
            terms: dict[str, list[str]] = {"since": [], "until": [], "last": [span] if span else []}
            action.triggered.connect(partial(self._revise, terms))
        self._times.addSeparator()
        self._times.addAction("From … To …").triggered.connect(self.ask_time)

    def ask_time(self) -> None:
        """Let the user say from when to when."""
        self.dialog = dialog = TimeDialog(self._filter.since, self._filter.until, self.window())
        dialog.accepted.connect(lambda: self._revise({"last": [], **dialog.terms()}))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _show(self) -> None:
        f = self._filter
        for choice, values, barred in (
            (self.status, f.statuses, f.not_statuses),
            (self.creator, f.creators, f.not_creators),
            (self.node, f.nodes, f.not_nodes),
            (self.origin, f.origins, f.not_origins),
        ):
            choice.show_values([str(one) for one in values], [str(one) for one in barred])
        named = filter_line.named(self._good)
        span = named.get("last", [""])[0]
        words = _SPANS.get(span, f"Last {span}") if span else ""
        if not words and f.since is not None:
            words = f"From {time_text(f.since)[:-3]}"
        if not span and f.until is not None:
            words = f"{words} to {time_text(f.until)[:-3]}" if words else f"To {time_text(f.until)[:-3]}"
        self.time.setText(words or "Time")
        self.clear_button.setVisible(bool(self._good))

    def _offer(self) -> None:
        names = {name: name for name in sorted(self._known["creator"] - {self._me})}
        self.creator.offer({self._me: f"{self._me} (me)", **names})
        self.node.offer({name: name for name in sorted(self._known["node"])})

    def _dress(self) -> None:
        self._lens.setIcon(resources.icon("magnify", current().faint))
        self._offer()
        self._show()
