"""What the program says of itself: all its keys, its version, its licences."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator

from PySide6.QtCore import QObject, QSize, Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.theme import styled
from quarterdeck.client import Me

__all__ = ["KEYS", "About", "AboutDialog", "KeysDialog", "components", "notice"]

KEYS: dict[str, dict[str, str]] = {
    "Everywhere": {
        "Ctrl+1": "Factor; Ctrl+2 to Ctrl+7 the other six pages",
        "Ctrl+PgDown": "The next page",
        "Ctrl+PgUp": "The previous page",
        "Ctrl+8": "Cluster: nodes, what runs there, what waits",
        "Ctrl+9": "Audit (administrators)",
        "Ctrl+N": "A new job of the page's kind",
        "F5": "Read everything again",
        "F1": "These keys",
        "Ctrl+Q": "Quit",
    },
    "In a list of jobs": {
        "Return": "Open the details",
        "Shift+Return": "Open the details in a window of their own",
        "Ctrl+L": "View the log",
        "Del": "Terminate",
        "Space": "Check or uncheck (administrators)",
        "Ctrl+C": "Copy the selected rows",
        "Ctrl+F": "Search and filter",
    },
    "In details": {
        "Ctrl+Tab": "The next section",
        "Ctrl+Shift+Tab": "The section before",
        "Ctrl+L": "View the log",
        "F8": "The first error in the log",
        "Ctrl+Shift+N": "In a window of their own",
        "Ctrl+W": "Close that window",
        "Esc": "Back to the list",
    },
    "In a result table": {
        "Alt+Right": "The next page",
        "Alt+Left": "The page before",
        "Ctrl+F": "Filter",
        "Ctrl+C": "Copy",
        "Ctrl+S": "Download",
    },
    "In a log": {
        "F8": "The first error",
        "Ctrl+F": "Search",
        "F3": "The next hit",
        "Shift+F3": "The hit before",
        "Ctrl+G": "Go to a line or a time",
        "Ctrl+T": "Only the lines of this task",
        "End": "The end, and follow what comes",
        "Ctrl+Return": "The whole line",
        "Ctrl+A": "Choose all lines",
        "Ctrl+C": "Copy the chosen lines",
        "Ctrl+S": "Save to a file",
        "Ctrl+Shift+S": "Save the lines that match",
        "Esc": "Leave the search, then close the window",
    },
    "In a form": {
        "Ctrl+Return": "Submit",
        "Ctrl+Space": "Complete a formula",
    },
    "On the cluster's page": {
        "Return": "Open the job",
        "Ctrl+C": "Copy the selected row",
        "Ctrl+D": "Drain or resume the selected node (administrators)",
        "Esc": "All nodes again, then back to the jobs",
    },
    "In the audit": {
        "Return": "Open the job",
        "Ctrl+C": "Copy the selected records",
        "Ctrl+F": "Search",
        "Esc": "Back to the jobs",
    },
}
"""Every key of the window, by where it works."""


_TOP_LEFT = Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft


class KeysDialog(QDialog):
    """The list of all keys."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keyboard Shortcuts")
        self.resize(820, 640)
        columns = QHBoxLayout()
        columns.setSpacing(36)
        groups = [self._group(title, keys) for title, keys in KEYS.items()]
        for part in (groups[:4], groups[4:]):
            column = QVBoxLayout()
            column.setSpacing(14)
            for group in part:
                column.addLayout(group)
            column.addStretch()
            columns.addLayout(column, 1)
        inside = styled(QWidget(), name="section")
        inside.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        columns.setContentsMargins(24, 20, 24, 20)
        inside.setLayout(columns)
        area = QScrollArea(widgetResizable=True)
        area.setWidget(inside)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 16)
        layout.addWidget(area, 1)
        layout.addLayout(_close_button(self))

    @staticmethod
    def _group(title: str, keys: dict[str, str]) -> QGridLayout:
        grid = QGridLayout()
        grid.setHorizontalSpacing(14)
        grid.setVerticalSpacing(5)
        grid.setColumnMinimumWidth(0, 108)
        grid.setColumnStretch(1, 1)
        grid.addWidget(styled(QLabel(title), name="heading"), 0, 0, 1, 2)
        for row, (key, words) in enumerate(keys.items(), 1):
            native = QKeySequence(key).toString(QKeySequence.SequenceFormat.NativeText)
            grid.addWidget(styled(QLabel(native), name="key"), row, 0, _TOP_LEFT)
            grid.addWidget(QLabel(words, wordWrap=True), row, 1)
        return grid


class AboutDialog(QDialog):
    """Version, server and licences."""

    def __init__(self, me: Me, profile: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("About Quarterdeck")
        self.resize(640, 520)
        mark = QLabel()
        mark.setPixmap(resources.application_icon().pixmap(QSize(56, 56), self.devicePixelRatioF()))
        self.words = QLabel(
            f"Version {importlib.metadata.version('quarterdeck')}\n"
            f"Schema {me.schema_version} on {me.server}, profile {profile}",
            textFormat=Qt.TextFormat.PlainText,
            textInteractionFlags=Qt.TextInteractionFlag.TextSelectableByMouse,
        )
        text = QVBoxLayout()
        text.setSpacing(4)
        text.addWidget(styled(QLabel("Quarterdeck"), name="title"))
        text.addWidget(styled(self.words, name="muted"))
        head = QHBoxLayout()
        head.setSpacing(16)
        head.addWidget(mark, 0, Qt.AlignmentFlag.AlignTop)
        head.addLayout(text, 1)
        self.licences = QTabWidget(documentMode=True)
        self.licences.tabBar().setObjectName("sections")
        # lines of a paragraph flow, short ones are lines of their own
        parts = [("Licence", re.sub(r"(?<=[^\n]{95})\n(?=\S)", " ", notice()))]
        parts.append(("Components", "\n".join(f"{name} {version}: {terms}" for name, version, terms in components())))
        for title, words in parts:
            self.licences.addTab(styled(QPlainTextEdit(words, readOnly=True), name="code", called=title), title)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 22, 24, 16)
        layout.setSpacing(14)
        layout.addLayout(head)
        layout.addWidget(self.licences, 1)
        layout.addLayout(_close_button(self, 0))


class About(QObject):
    """Opens the keys and what is to be said of the program, each once, in windows that stay beside."""

    def __init__(self, me: Me, profile: str, window: QWidget) -> None:
        super().__init__(window)
        self._me = me
        self._profile = profile
        self._window = window
        self.dialogs: list[QDialog] = []

    def keys(self) -> None:
        """All keys."""
        self._open(KeysDialog(self._window))

    def program(self) -> None:
        """Version and licences."""
        self._open(AboutDialog(self._me, self._profile, self._window))

    def close_all(self) -> None:
        """Close what is open."""
        for dialog in list(self.dialogs):
            dialog.reject()

    def _open(self, dialog: QDialog) -> None:
        if (other := next((one for one in self.dialogs if type(one) is type(dialog)), None)) is not None:
            dialog.deleteLater()
            other.raise_()
            other.activateWindow()
            return
        self.dialogs.append(dialog)
        dialog.finished.connect(lambda: self.dialogs.remove(dialog))
        dialog.finished.connect(dialog.deleteLater)
        dialog.show()


def _close_button(dialog: QDialog, margin: int = 24) -> QHBoxLayout:
    button = QPushButton("Close", default=True)
    button.clicked.connect(dialog.accept)
    line = QHBoxLayout()
    line.setContentsMargins(margin, 0, margin, 0)
    line.addStretch()
    line.addWidget(button)
    return line


def notice() -> str:
    """The licence's notice, as it is installed with the program or lies in a checkout."""
    try:
        found = importlib.metadata.distribution("quarterdeck").read_text("licenses/NOTICE")
    except importlib.metadata.PackageNotFoundError:
        found = None
    if found:
        return found
    for folder in (resources.folder(), resources.folder().parent):
        if (file := folder / "NOTICE").is_file():
            return file.read_text(encoding="utf-8")
    return "Licensed under the Apache License, Version 2.0."


def components() -> list[tuple[str, str, str]]:
    """What the program is made of: name, version and licence of each package that it needs and that is installed."""
    return sorted(
        {found for name in _required() if (found := _component(name)) is not None}, key=lambda c: c[0].lower()
    )


def _required() -> Iterator[str]:
    try:
        needed = importlib.metadata.requires("quarterdeck") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for one in needed:
        if "extra == 'dev'" not in one.replace('"', "'"):
            yield re.split(r"[^A-Za-z0-9._-]", one, maxsplit=1)[0]


def _component(name: str) -> tuple[str, str, str] | None:
    try:
        found = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    classes = [one.rpartition(" :: ")[2] for one in found.get_all("Classifier", []) if one.startswith("License ::")]
    said = [line.strip() for text in found.get_all("License", []) for line in text.strip().splitlines()[:1]]
    terms = found.get_all("License-Expression", []) or classes or said or ["see its own notice"]
    return found["Name"], found["Version"], ", ".join(terms)
