"""What every part of a details page is."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from desktop.bridge import Bridge
from desktop.models.details import JobDetails
from quarterdeck.client import Client
from quarterdeck.job import Details
from quarterdeck.kinds import Section

__all__ = ["SectionView"]


class SectionView(QWidget):
    """A part of a details page; `show_details` gives it what it shows, again whenever that changed.

    Signals:
        wanted(str): the user wants to the section of that title
    """

    wanted = Signal(str)

    def __init__(self, section: Section, job: JobDetails, client: Client, bridge: Bridge) -> None:
        super().__init__()
        self.section = section
        self.job = job
        self.client = client
        self.bridge = bridge
        self.rows = QVBoxLayout(self)
        self.rows.setContentsMargins(0, 0, 0, 0)
        self.rows.setSpacing(0)
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setObjectName("section")

    def show_details(self, details: Details) -> None:
        raise NotImplementedError
