"""A job's details in a window of their own, so that several stand side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QCloseEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop import resources
from desktop.bridge import Bridge
from desktop.settings import Settings
from desktop.views.details_page import DetailsPage
from quarterdeck.client import Client
from quarterdeck.job import Job
from quarterdeck.kinds import Kind

if TYPE_CHECKING:
    from desktop.views.commands import Commands

__all__ = ["DetailsWindow"]

_STEP = 28
_STEPS = 6


class DetailsWindow(QWidget):
    """One job's details; the window's size is remembered. `others` windows of its like are open already.

    Signals:
        ended(): it is closed
    """

    ended = Signal()

    def __init__(
        self,
        job: Job,
        kind: Kind,
        client: Client,
        bridge: Bridge,
        commands: Commands,
        settings: Settings,
        others: int = 0,
    ) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(f"{job.name} (job {job.id}) — Quarterdeck")
        self.setWindowIcon(resources.application_icon())
        self.setMinimumSize(800, 480)
        self._settings = settings
        self.page = DetailsPage(job, kind, client, bridge, commands, windowed=True)
        self.page.closed.connect(self.close)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.page)
        self.resize(1080, 720)
        if (state := settings.state("details/geometry")) is not None:
            self.restoreGeometry(state)
        if others:
            step = _STEP * (1 + (others - 1) % _STEPS)
            self.move(self.x() + step, self.y() + step)
        QShortcut(QKeySequence("Ctrl+W"), self).activated.connect(self.close)
        QShortcut(QKeySequence("F5"), self).activated.connect(self.page.reread)

    def closeEvent(self, event: QCloseEvent) -> None:
        self._settings.set_state("details/geometry", self.saveGeometry())
        super().closeEvent(event)
        self.ended.emit()
