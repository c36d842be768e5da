"""A line of a log as a whole; where to go in a log."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QFontMetricsF, QResizeEvent, QTextOption
from PySide6.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from desktop.models.log import LogModel
from desktop.models.log_text import clock_words, place_of, shown, since_words
from desktop.theme import monospaced, styled
from quarterdeck.ansi import plain
from quarterdeck.errors import Invalid
from quarterdeck.job import LogLine

__all__ = ["JumpDialog", "WholeLine"]


class WholeLine(QDialog):
    """One line, wrapped, with all that is known of it."""

    def __init__(self, line: LogLine, text: str, model: LogModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Line of the Log")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(760, 420)
        self._plain = plain(text)
        self._shown = shown(replace(line, text=text))
        self._columns = 0
        start = model.job.started or model.job.created
        facts = [
            clock_words(line.time, date=True),
            f"{since_words(line.time, start)} since the start",
            model.task_name(line),
            line.stream.value,
            line.level.value,
            f"{len(self._plain):,} characters",
        ]
        words = styled(QLabel("  ·  ".join(facts), wordWrap=True), name="small")
        words.setTextFormat(Qt.TextFormat.PlainText)
        self.text = styled(QPlainTextEdit(), name="code", called="The line")
        self.text.setReadOnly(True)
        self.text.setFont(monospaced(12))
        # a line of a megabyte is laid out in no time when it is broken beforehand
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        self.text.setWordWrapMode(QTextOption.WrapMode.NoWrap)
        self.text.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._wrap = QTimer(self, singleShot=True, interval=60)
        self._wrap.timeout.connect(self.wrap)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        copy = QPushButton("Copy Line")
        buttons.addButton(copy, QDialogButtonBox.ButtonRole.ActionRole)
        copy.clicked.connect(lambda: QApplication.clipboard().setText(self._plain))
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(10)
        layout.addWidget(words)
        layout.addWidget(self.text, 1)
        layout.addWidget(buttons)
        self.wrap()

    def wrap(self) -> None:
        """Break the line to the width there is."""
        advance = QFontMetricsF(self.text.font()).horizontalAdvance("0" * 100) / 100
        columns = max(20, int((self.text.viewport().width() - 12) / advance) - 1)
        if columns != self._columns:
            self._columns = columns
            self.text.setPlainText("\n".join(self._shown.wrapped(columns)))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._wrap.start()


class JumpDialog(QDialog):
    """Asks where to go; `place` is the answer: a position, or a time."""

    def __init__(self, total: int, start: dt.datetime, day: dt.date, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Go To")
        self.place: int | dt.datetime = 0
        self._total, self._start, self._day = total, start, day
        title = styled(QLabel("Go to a line or a time"), name="heading")
        self.field = QLineEdit(placeholderText="10:31:05")
        self.field.setAccessibleName("Line or time")
        self.hint = styled(
            QLabel(
                f"A line's number (1 to {total:,}), a share such as 50 %, a time such as 10:31:05 or 2026-01-05 10:31, "
                "or a time since the start such as +5 m.",
                wordWrap=True,
            ),
            name="small",
        )
        self.error = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), name="error", visible=False)
        go = styled(QPushButton("Go"), name="primary")
        go.setDefault(True)
        go.clicked.connect(self.try_it)
        cancel = QPushButton("Cancel")
        cancel.setAutoDefault(False)
        cancel.clicked.connect(self.reject)
        self.field.textChanged.connect(lambda: self._say(""))
        buttons = QHBoxLayout()
        buttons.addStretch()
        buttons.addWidget(cancel)
        buttons.addWidget(go)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(10)
        for widget in (title, self.field, self.error, self.hint):
            layout.addWidget(widget)
        layout.addLayout(buttons)
        self.field.setFocus()

    def sizeHint(self) -> QSize:
        return super().sizeHint().expandedTo(QSize(440, 0))

    def try_it(self) -> None:
        """Accept what was typed, if it is a place."""
        try:
            self.place = place_of(self.field.text(), total=self._total, start=self._start, day=self._day)
        except Invalid as error:
            self._say(str(error))
            return
        self.accept()

    def _say(self, words: str) -> None:
        self.error.setText(words)
        self.error.setVisible(bool(words))
        self.hint.setVisible(not words)
        self.field.setProperty("wrong", bool(words))
        self.field.style().unpolish(self.field)
        self.field.style().polish(self.field)
