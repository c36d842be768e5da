"""A panel on the screen: its title, legend, read-out and menu around the drawing, or a sentence in its place."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, QSize, Qt
from PySide6.QtGui import QAction, QContextMenuEvent, QGuiApplication, QPixmap
from PySide6.QtWidgets import QFileDialog, QFrame, QHBoxLayout, QLabel, QMenu, QSizePolicy, QToolButton, QVBoxLayout

from desktop import resources
from desktop.models.selection import Selection
from desktop.theme import styled, theme
from desktop.views.panels import draw, sheet
from desktop.views.panels.blank import said
from desktop.views.panels.drawing import Drawing, Pick, Reading, State
from desktop.views.panels.ink import on_paper, on_screen
from desktop.views.panels.legend import Legend
from quarterdeck.errors import QuarterdeckError

__all__ = ["Card"]


class _Line(QLabel):
    """A line of text that gives way instead of making its card wider."""

    def __init__(self) -> None:
        super().__init__(textFormat=Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)


class Card(QFrame):
    """One panel of a report. It writes what the user picks into the selection, and draws what is selected."""

    def __init__(self, panel: Any, selection: Selection, complain: Callable[[BaseException], None]) -> None:
        super().__init__()
        self.panel = panel
        self.selection = selection
        self.data: Any = None
        self.drawing: Drawing | None = None
        self._complain = complain
        self._state = State()
        self.setObjectName("card")
        self.setAccessibleName(panel.title or panel.id)
        self.title = styled(QLabel(panel.title, textFormat=Qt.TextFormat.PlainText), name="subheading")
        self.help = styled(QLabel(), called="Definition", visible=bool(panel.help) and panel.type != "number")
        self.note = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="small", visible=False)
        self.reading = styled(_Line(), name="small")
        self.reading.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.button = styled(QToolButton(), name="flat", tip="What this panel can do")
        self.button.setIconSize(QSize(16, 16))
        self.button.clicked.connect(lambda: self._open_menu(self.button.mapToGlobal(QPoint(0, self.button.height()))))
        self.legend = Legend(on_screen())
        self.legend.toggled.connect(self.toggle)
        self.sentence = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), name="muted")
        self.sentence.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.menu: QMenu | None = None
        self._lay_out()
        for part in (self.title, self.note, self.help, *([self] if panel.type == "number" else [])):
            part.setToolTip(panel.help)  # not over a chart, where it would hide what is pointed at
        theme.changed.connect(self._dress)
        selection.changed.connect(self._mark)
        selection.pointed.connect(self._pointed_elsewhere)
        self._dress()

    def _lay_out(self) -> None:
        small = self.panel.type == "number"
        head = QHBoxLayout()
        head.setContentsMargins(12, 7 if not small else 8, 5, 0)
        head.setSpacing(8)
        head.addWidget(self.title)
        head.addWidget(self.help)
        head.addWidget(self.note)
        head.addWidget(self.reading, 1)
        head.addWidget(self.button)
        self.button.setVisible(not small)
        legend = QHBoxLayout()
        legend.setContentsMargins(12, 0, 12, 0)
        legend.addWidget(self.legend)
        self.rows = QVBoxLayout(self)
        self.rows.setContentsMargins(1, 1, 1, 2)
        self.rows.setSpacing(2)
        self.rows.addLayout(head)
        self.rows.addLayout(legend)
        self.rows.addWidget(self.sentence, 1)

    def show_data(self, data: Any) -> None:
        """Draw that; how the user had the panel stays."""
        if self.drawing is not None:
            self._state = self.drawing.state()
        self._take_off()
        self.data = data
        self.note.setText(data.note)
        words = said(data)
        self.note.setVisible(bool(data.note) and not words)
        self.sentence.setObjectName("problem" if data.problem else "muted")
        self.sentence.style().polish(self.sentence)
        self.sentence.setText(words)
        self.sentence.setVisible(bool(words))
        if not words:
            self.drawing = draw(self.panel, data, on_screen())
            if self._state != State():
                self.drawing.restore(self._state)
            self.drawing.pointed.connect(self._pointed)
            self.drawing.picked.connect(self._picked)
            self.rows.addWidget(self.drawing.widget, 1)
            self._mark()
        self._show_legend()
        self.button.setEnabled(self.drawing is not None)

    def wait(self) -> None:
        """Nothing was read yet."""
        self.sentence.setText("Reading…")
        self.button.setEnabled(False)

    def end(self) -> None:
        """Before the card is deleted."""
        self._take_off()

    def _take_off(self) -> None:
        if self.drawing is not None:
            widget = self.drawing.widget
            self.drawing.end()
            self.rows.removeWidget(widget)
            widget.hide()
            widget.deleteLater()
            self.drawing = None

    def toggle(self, number: int) -> None:
        """Show or hide a series."""
        if self.drawing is not None:
            self.drawing.toggle(number)
            self._show_legend()

    def _show_legend(self) -> None:
        self.legend.show_entries(self.drawing.entries() if self.drawing is not None else [], on_screen())
        self.reading.setText("")

    def _dress(self) -> None:
        ink = on_screen()
        self.help.setPixmap(resources.icon("information-outline", ink.tokens.faint).pixmap(QSize(13, 13)))
        self.button.setIcon(resources.icon("dots-horizontal", ink.tokens.faint))
        if self.drawing is not None:
            self.drawing.dress(ink)
        self._show_legend()

    # The pointer and the selection

    def _pointed(self, reading: Reading) -> None:
        self.reading.setText("   ".join(part for part in (reading.where, reading.more) if part))
        self.legend.show_values(reading.values)
        if reading.own:
            self.selection.point(reading.time, self)

    def _pointed_elsewhere(self, source: object) -> None:
        if source is not self and self.drawing is not None and self.isVisible():
            self.drawing.point_time(self.selection.pointer)

    def _picked(self, pick: Pick) -> None:
        self.selection.pick(times=pick.times, symbols=pick.symbols, row=pick.row)

    def _mark(self) -> None:
        """Mark the selected times; where the panel follows rows, the row's time, and see to it that it is in view."""
        if self.drawing is None:
            return
        row = self.selection.row or {}
        at = row.get("time") if "row" in self.panel.links.follows else None
        self.drawing.mark_times(self.selection.times if at is None else (at, at))
        if at is not None:
            self.drawing.reveal(at)

    # The menu

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if self.drawing is not None and self.panel.type != "number":
            self._open_menu(event.globalPos())

    def _open_menu(self, place: QPoint) -> None:
        if self.menu is not None:
            self.menu.deleteLater()
        self.menu = self.make_menu()
        self.menu.popup(place)

    def make_menu(self) -> QMenu:
        """What can be done with the panel now."""
        menu = QMenu(self)
        drawing = self.drawing
        if drawing is None:
            return menu

        def add(words: str, act: Callable[[], Any], to: QMenu = menu) -> QAction:
            action = to.addAction(words)
            action.triggered.connect(lambda checked=False: act())
            return action

        if drawing.can_zoom:
            add("Show All", drawing.reset)
            add("Zoom In", lambda: drawing.zoom(0.5))
            add("Zoom Out", lambda: drawing.zoom(2.0))
        if drawing.can_log:
            log = add("Logarithmic Scale", lambda: self.set_log(not drawing.state().log))
            log.setCheckable(True)
            log.setChecked(bool(drawing.state().log))
        if entries := drawing.entries():
            series = menu.addMenu("Series")
            for number, entry in enumerate(entries):
                one = add(entry.name or "–", partial(self.toggle, number), series)
                one.setCheckable(True)
                one.setChecked(entry.shown)
        if menu.actions():
            menu.addSeparator()
        add("Copy Picture", self.copy)
        add("Save as PNG…", lambda: self._ask_file("png", self.save_png))
        add("Save as SVG…", lambda: self._ask_file("svg", self.save_svg))
        add("Save Values as CSV…", lambda: self._ask_file("csv", self.save_csv))
        return menu

    def set_log(self, on: bool) -> None:
        """The logarithmic scale on or off."""
        if self.drawing is not None:
            self.drawing.set_log(on)

    def _ask_file(self, ending: str, save: Callable[[Path], None]) -> None:
        dialog = QFileDialog(self.window(), f"Save {self.panel.title or self.panel.id}")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters([f"{ending.upper()} (*.{ending})"])
        dialog.setDefaultSuffix(ending)
        dialog.selectFile(f"{self.panel.id}.{ending}")
        dialog.fileSelected.connect(lambda name: self._save(save, Path(name)))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _save(self, save: Callable[[Path], None], path: Path) -> None:
        try:
            save(path)
        except QuarterdeckError as error:
            self._complain(error)

    def state(self) -> State:
        """How the user has the drawing: what is printed is the same."""
        return self._state if self.drawing is None else self.drawing.state()

    def save_png(self, path: Path) -> None:
        """As a picture, in the colours of the screen."""
        sheet.save_png(path, self.panel, self.data, on_screen(), self.state(), self.size())

    def save_svg(self, path: Path) -> None:
        """As a drawing, in the colours of paper."""
        sheet.save_svg(path, self.panel, self.data, on_paper(), self.state(), self.size())

    def save_csv(self, path: Path) -> None:
        """The values that are drawn."""
        if self.drawing is not None:
            sheet.save_csv(path, self.drawing)

    def copy(self) -> None:
        """The picture, to the clipboard."""
        pixmap: QPixmap = self.grab()
        QGuiApplication.clipboard().setPixmap(pixmap)
