"""The section of a details page that shows the job's report. Charts are loaded when the first report is shown."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QLabel

from desktop.bridge import Bridge
from desktop.models.details import JobDetails
from desktop.theme import styled
from desktop.views.section import SectionView
from quarterdeck.client import Client
from quarterdeck.errors import QuarterdeckError
from quarterdeck.job import Details
from quarterdeck.kinds import Section

if TYPE_CHECKING:
    from desktop.views.report_view import ReportView

__all__ = ["Report"]


class Report(SectionView):
    """The visualization report, by the kind's own template or another one that fits."""

    def __init__(self, section: Section, job: JobDetails, client: Client, bridge: Bridge) -> None:
        super().__init__(section, job, client, bridge)
        self.view: ReportView | None = None
        self._details: Details | None = None
        self._making = self._loaded = False
        self.nothing = styled(QLabel("Reading…", alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True), name="muted")
        self.nothing.setContentsMargins(24, 12, 24, 12)
        self.rows.addWidget(self.nothing)

    def show_details(self, details: Details) -> None:
        self._details = details
        if self.view is not None:
            self.view.show_details(details)
        elif details.tables:
            if self.isVisible():
                self._begin()
            elif not self._loaded:
                self._loaded = True
                self.bridge.start(self, self._load())
        else:
            running = details.job.ended is None
            self.nothing.setText("There are no results yet." if running else "There are no results to report on.")

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._details is not None and self._details.tables:
            self._begin()

    def _begin(self) -> None:
        if self.view is None and not self._making:
            self._making = True
            self.nothing.setText("Reading…")
            self.bridge.start(self, self._make())

    async def _load(self) -> Any:
        """A thread loads what draws, while the first section is looked at: it takes half a second."""
        return await self.bridge.call(importlib.import_module, "desktop.views.report_view")

    async def _make(self) -> None:
        views = await self._load()
        details = self._details
        if details is None:
            return
        wanted = self.section.options.get("template", "")
        templates = await self.bridge.call(
            views.fitting, details.job.kind, details.params, wanted, **views.made_of(details)
        )
        if not templates:
            self.nothing.setText(f"There is no visualization template for jobs of the kind '{details.job.kind}'.")
            return
        self.view = view = views.ReportView(self.client, self.bridge, self._details, templates)
        self.nothing.hide()
        self.rows.addWidget(view, 1)
        await self._offer(view, details.job.kind)

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
