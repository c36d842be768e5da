"""What can be done with lines of a log: copy, show as a whole, go elsewhere, save."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget

from desktop.bridge import Bridge
from desktop.models.log import LogModel
from desktop.models.log_search import LogSearch
from desktop.views.log_bar import SearchBar
from desktop.views.log_dialogs import JumpDialog, WholeLine
from desktop.views.log_lines import LogLines
from quarterdeck.logs import Saved

__all__ = ["LogCommands"]


class LogCommands(QObject):
    """Acts on the lines of a log view.

    Signals:
        worded(str): a word about what is being done, for beside the lines
        saved(str): a sentence about a file that was written
    """

    worded = Signal(str)
    saved = Signal(str)

    def __init__(self, lines: LogLines, bar: SearchBar, search: LogSearch, bridge: Bridge, parent: QWidget) -> None:
        super().__init__(parent)
        self.saving = False
        self._lines = lines
        self._bar = bar
        self._search = search
        self._bridge = bridge
        self._view = parent

    @property
    def model(self) -> LogModel:
        """The log."""
        return self._lines.model

    def copy(self) -> None:
        """The chosen lines to the clipboard, as text."""
        if self._bar.field.hasFocus() and self._bar.field.hasSelectedText():
            self._bar.field.copy()
        elif ranges := self._lines.chosen.ranges():
            self._bridge.latest(self, "copy", self._copy(ranges))

    def choose_all(self) -> None:
        """Choose all lines (in the field of the search: all of its text)."""
        if self._bar.field.hasFocus():
            self._bar.field.selectAll()
        else:
            self._lines.chosen.choose_all(self.model.total or 0)
            self._lines.viewport().update()

    def show_whole(self, position: int) -> None:
        """Show a line as a whole, wrapped."""
        if position >= 0 and self.model.line(position) is not None:
            self._bridge.latest(self, "whole", self._show_whole(position))

    def ask_place(self) -> None:
        """Ask where to go, and go there."""
        self._bridge.latest(self, "go", self._ask_place())

    async def _copy(self, ranges: Sequence[tuple[int, int]]) -> None:
        wanted = sum(last - first + 1 for first, last in ranges)
        if wanted > 1000:
            self.worded.emit("copying…")
        text, count = await self.model.texts(ranges)
        QApplication.clipboard().setText(text)
        lines = "1 line" if count == 1 else f"{count:,} lines"
        self.worded.emit(
            f"copied {lines}" if count >= wanted else f"copied the first {count:,} of {wanted:,}: save the rest"
        )

    async def _show_whole(self, position: int) -> None:
        if (line := self.model.line(position)) is not None:
            WholeLine(line.line, await self.model.whole(line.line), self.model, self._view.window()).open()

    async def _ask_place(self) -> None:
        start = self.model.job.started or self.model.job.created
        seen = range(self._lines.top, self._lines.top + self._lines.rows)
        known = (one.line for at in seen if (one := self.model.line(at)) is not None)
        here = self._lines.current_line or next(known, None)
        day = (start if here is None else here.time).astimezone().date()
        dialog = JumpDialog(self.model.total or 0, start, day, self._view.window())
        if await self._bridge.ask(dialog):
            place = dialog.place
            if not isinstance(place, int):
                place = await self.model.ask((await self.model.log()).position_at, place)
            self._lines.go(place)
            self._lines.turned.emit(False)
            self._lines.setFocus()

    def save_or_cancel(self) -> None:
        """Save, or stop doing it."""
        if self.saving:
            self.saving = False
        else:
            self.ask_file()

    def ask_file(self, *, matching: bool = False) -> None:
        """Ask for a file, and save the log there: as it is narrowed, or only the lines that match the search."""
        if matching and not self._search.text:
            self.worded.emit("Search for something first.")
            return
        dialog = QFileDialog(self._view.window(), "Save Lines That Match" if matching else "Save Log")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(["Log (*.log)", "Text (*.txt)", "All files (*)"])
        dialog.setDefaultSuffix("log")
        dialog.selectFile(f"job-{self.model.job.id}.log")
        dialog.fileSelected.connect(lambda name: self._bridge.start(self, self.save_to(Path(name), matching=matching)))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    async def save_to(self, path: Path, *, matching: bool = False) -> None:
        """Write the log, as it is narrowed (`matching`: only the lines that match the search), to a file."""
        if self.saving:
            return
        self.saving = True
        word = ""
        try:
            saved = await self.model.save(path, self._search.wanted if matching else None, self._saving)
            word = "not saved" if saved is None else f"saved as {path.name}"
        finally:
            self.saving = False
            self.worded.emit(word)
        if saved is not None:
            lines = "1 line" if saved == 1 else f"{saved:,} lines"
            self.saved.emit(f"The log of job {self.model.job.id} is saved as {path.name}: {lines}.")

    def _saving(self, saved: Saved) -> bool:
        self.worded.emit(f"saving… {saved.share:.0%}")
        return self.saving
