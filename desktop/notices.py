"""Messages, errors and crashes: what the user is told, and how.

An error of ours has text fit for people and becomes a message. Everything else is a bug: one dialog a distinct
traceback, and the window lives on.
"""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import (
    QApplication,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from quarterdeck.errors import QuarterdeckError

__all__ = ["CrashDialog", "Notices"]

Kind = Literal["info", "error"]
_log = logging.getLogger("quarterdeck.desktop")


class Notices(QObject):
    """Where everything that the user must hear goes.

    Signals:
        posted(str, str): kind and text; what comes before the window is there waits for `take_waiting`
    """

    posted = Signal(str, str)
    _crashed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self._seen: set[str] = set()
        self._waiting: list[tuple[Kind, str]] = []
        self._open = False
        self.crash_dialogs: list[CrashDialog] = []
        self._crashed.connect(self._show_crash, Qt.ConnectionType.QueuedConnection)

    def info(self, text: str) -> None:
        self._post("info", text)

    def error(self, error: BaseException) -> None:
        """From any coroutine, slot or hook: show what happened."""
        if not isinstance(error, Exception):  # a cancelled coroutine, an interrupt: nothing to tell
            return
        if isinstance(error, QuarterdeckError):
            self._post("error", str(error))
            return
        _log.error("unexpected error", exc_info=error)
        self._crashed.emit(error)

    def take_waiting(self) -> list[tuple[Kind, str]]:
        """What was said before anybody listened; from now on `posted` tells."""
        self._open = True
        waiting, self._waiting = self._waiting, []
        return waiting

    def install(self) -> None:
        """Catch what nobody caught, in this thread and the others."""
        sys.excepthook = self._uncaught
        threading.excepthook = lambda args: self.error(args.exc_value) if args.exc_value is not None else None

    def _uncaught(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, KeyboardInterrupt):
            QApplication.quit()
            return
        self.error(error)

    def _post(self, kind: Kind, text: str) -> None:
        if self._open:
            self.posted.emit(kind, text)
        else:
            self._waiting.append((kind, text))

    def _show_crash(self, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error))
        frames = "\n".join(f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__))
        if (key := f"{type(error).__qualname__}\n{frames}") in self._seen:
            return
        self._seen.add(key)
        dialog = CrashDialog(text, QApplication.activeWindow())
        self.crash_dialogs.append(dialog)
        dialog.finished.connect(lambda: self.crash_dialogs.remove(dialog))
        dialog.open()


class CrashDialog(QDialog):
    """Says that there is a bug, and gives its traceback to copy."""

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Something went wrong")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(720, 420)
        words = QLabel(
            "This is a fault in Quarterdeck, not something you did. Your jobs on the cluster are not touched, and this "
            "window goes on working. Please send the text below to your administrator."
        )
        words.setWordWrap(True)
        self.trace = QPlainTextEdit(text)
        self.trace.setObjectName("code")
        self.trace.setReadOnly(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        copy = QPushButton("Copy Text")
        buttons.addButton(copy, QDialogButtonBox.ButtonRole.ActionRole)
        copy.clicked.connect(lambda: QApplication.clipboard().setText(text))
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 20, 20, 16)
        layout.setSpacing(12)
        layout.addWidget(words)
        layout.addWidget(self.trace, 1)
        layout.addWidget(buttons)
