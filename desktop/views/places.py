"""Which page of the window is shown: one of the tabs', or a place beside them, such as the cluster."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QStackedWidget, QTabBar, QToolButton, QWidget

from desktop.views.jobs_page import JobsPage

__all__ = ["Places"]


class Places(QStackedWidget):
    """The pages under the tabs, and places that have a button instead of a tab.

    Signals:
        moved(): another one is shown
    """

    moved = Signal()

    def __init__(self, tabs: QTabBar, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._tabs = tabs
        self._pages: list[JobsPage] = []
        self._buttons: dict[QWidget, QToolButton] = {}
        tabs.currentChanged.connect(self.show_jobs)
        tabs.tabBarClicked.connect(self._clicked)

    def add_page(self, page: JobsPage) -> None:
        """A further tab."""
        self._pages.append(page)
        self.addWidget(page)
        self._tabs.addTab(page.kind.title)

    def add_place(self, place: QWidget, button: QToolButton) -> None:
        """A place that the button leads to, and back from."""
        self.addWidget(place)
        self._buttons[place] = button
        button.setCheckable(True)
        button.clicked.connect(lambda: self.toggle(place))

    def beside(self) -> QWidget | None:
        """The place that is shown instead of a tab's page."""
        shown = self.currentWidget()
        return shown if shown in self._buttons else None

    def show_jobs(self) -> None:
        """The page of the chosen tab."""
        if self._pages:
            self._go(self._pages[self._tabs.currentIndex()])

    def show_tab(self, number: int) -> None:
        """That tab and its page."""
        self._tabs.setCurrentIndex(number)
        self.show_jobs()

    def step(self, step: int) -> None:
        """The tab so many to the right."""
        self.show_tab((self._tabs.currentIndex() + step) % len(self._pages))

    def toggle(self, place: QWidget) -> None:
        """That place; the jobs again where it is shown already."""
        if self.currentWidget() is place:
            self.show_jobs()
        else:
            self._go(place)

    def _clicked(self, number: int) -> None:
        if number < 0:
            return
        if self.beside() is None:
            self._pages[number].close_details()
        self.show_tab(number)

    def _go(self, page: QWidget) -> None:
        self.setCurrentWidget(page)
        for place, button in self._buttons.items():
            button.setChecked(page is place)
        away = page in self._buttons
        if bool(self._tabs.property("away")) is not away:
            # no tab is marked while another place is shown
            self._tabs.setProperty("away", away)
            self._tabs.style().unpolish(self._tabs)
            self._tabs.style().polish(self._tabs)
        self.moved.emit()
