"""The section of a details page that shows the job's report."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel

from desktop.bridge import Bridge
from desktop.models.details import JobDetails
from desktop.theme import styled
from desktop.views.printing import fitting
from desktop.views.report_view import ReportView
from desktop.views.section import SectionView
from quarterdeck.client import Client
from quarterdeck.errors import QuarterdeckError
from quarterdeck.job import Details
from quarterdeck.kinds import Section

__all__ = ["Report"]


class Report(SectionView):
    """The visualization report, by the kind's own template or another one that fits."""

    def __init__(self, section: Section, job: JobDetails, client: Client, bridge: Bridge) -> None:
        super().__init__(section, job, client, bridge)
        self.view: ReportView | None = None
        self.nothing = styled(QLabel(alignment=Qt.AlignmentFlag.AlignCenter), name="muted")
        self.rows.addWidget(self.nothing)

    def show_details(self, details: Details) -> None:
        if self.view is not None:
            self.view.show_details(details)
            return
        templates = fitting(details.job.kind, details.params, self.section.options.get("template", ""))
        if not details.tables or not templates:
            running = details.job.ended is None
            self.nothing.setText("There are no results yet." if running else "There are no results to report on.")
            return
        self.view = ReportView(self.client, self.bridge, details, templates)
        self.nothing.hide()
        self.rows.addWidget(self.view, 1)
        self.bridge.start(self, self._offer(self.view, details.job.kind))

    async def _offer(self, view: ReportView, kind: str) -> None:
        """The templates that people made stand below the built-in ones."""
        try:
            stored = await self.bridge.call(self.client.templates)
        except QuarterdeckError:
            return  # the built-in ones are there all the same
        mine = self.client.me.login
        view.offer(
            [
                (one.title, one.name if one.creator == mine else f"{one.creator}.{one.name}")
                for one in stored
                if not one.builtin and (not one.kinds or kind in one.kinds)
            ]
        )
