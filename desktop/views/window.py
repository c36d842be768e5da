"""The main window: seven tabs, the cluster and the audit beside them, who is signed in where, what is to be said."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, QSize, Qt, QTimer
from PySide6.QtGui import QCloseEvent, QHideEvent, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QApplication,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QMenu,
    QTabBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop import theme as themes
from desktop.bridge import Bridge, Listening
from desktop.models.jobs import LiveJobs
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.theme import current, rule, styled, theme
from desktop.views.about import About
from desktop.views.audit_page import AuditPage
from desktop.views.cluster_page import ClusterPage
from desktop.views.commands import Commands
from desktop.views.jobs_page import JobsPage
from desktop.views.places import Places
from quarterdeck.client import Client
from quarterdeck.job import Job
from quarterdeck.kinds import KINDS

__all__ = ["Window"]


class Window(QMainWindow):
    """The desktop of one signed-in user.

    `on_close` is called when the user closes the window, which itself stays until the program ends; `sign_out` when
    another profile shall be chosen.
    """

    def __init__(
        self,
        client: Client,
        bridge: Bridge,
        listening: Listening | None,
        notices: Notices,
        settings: Settings,
        profile: str,
        on_close: Callable[[], None],
        sign_out: Callable[[], None],
    ) -> None:
        super().__init__()
        self._client = client
        self._bridge = bridge
        self._settings = settings
        self._notices = notices
        self._on_close = on_close
        self._sign_out = sign_out
        self._profile = profile
        self._role = "administrator" if client.me.admin else "user"
        self.setWindowTitle(f"{client.me.login} ({self._role}) on {client.me.server} — {profile} — Quarterdeck")
        self.setWindowIcon(resources.application_icon())
        self.setMinimumSize(960, 560)
        self.live = LiveJobs(client, bridge, listening, self._everything, self)
        self.commands = Commands(client, bridge, notices, settings, self.live.refresh, self)
        self.tabs = styled(QTabBar(expanding=False, drawBase=False, usesScrollButtons=True), name="pages")
        self.tabs.setAccessibleName("Pages")
        self.stack = Places(self.tabs)
        self.pages: list[JobsPage] = []
        for kind in KINDS:
            page = JobsPage(kind, client, bridge, settings, self.commands)
            self.pages.append(page)
            self.stack.add_page(page)
        self.cluster = ClusterPage(client, bridge, notices, settings)
        self.audit = AuditPage(client, bridge, notices, settings) if client.me.admin else None
        self.about = About(client.me, profile, self)
        self.nodes_button = styled(QToolButton(), tip="Cluster (Ctrl+8)", called="Cluster")
        self.audit_button = styled(QToolButton(), tip="Audit (Ctrl+9)", called="Audit")
        self.audit_button.setVisible(client.me.admin)
        for place, button in ((self.cluster, self.nodes_button), (self.audit, self.audit_button)):
            if place is not None:
                self.stack.add_place(place, button)
                place.opened.connect(lambda number: bridge.latest(self, "open", self._open(number)))
                place.closed.connect(self.stack.show_jobs)
        self.banner = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="banner", visible=False)
        self.shade = styled(QToolButton(), called="Light or dark")
        self.person = styled(QToolButton(), called="Account")
        self._build()
        self.toast = _Toast(self)
        self.stack.moved.connect(self._dress)
        self.live.changed.connect(self._changed)
        self.live.changed.connect(self.commands.change)
        self.commands.opened.connect(self.show_job)
        self.live.connection.connect(self._connected)
        for page in self.pages:
            page.model.lost.connect(self.live.lost)
        notices.posted.connect(self.toast.say)
        theme.changed.connect(self._dress)
        self._dress()
        self._recall()
        for sort, text in notices.take_waiting():
            self.toast.say(sort, text)
        self.live.begin()

    def show_job(self, job: Job) -> None:
        """The details of a job, on its kind's tab."""
        for number, page in enumerate(self.pages):
            if page.kind.key == job.kind:
                self.stack.show_tab(number)
                page.open(job)

    def closeEvent(self, event: QCloseEvent) -> None:
        # the program ends in order: the main coroutine hears of it, and closes all that is open
        event.ignore()
        self._on_close()

    def remember(self) -> None:
        """Keep geometry, tab and columns for the next start."""
        self._settings.set_state("window/geometry", self.saveGeometry())
        self._settings.set("window/tab", self.tabs.currentIndex())
        for page in self.pages:
            page.remember()
        for place in (self.cluster, self.audit):
            if place is not None:
                place.remember()
        try:
            self._settings.save()
        except OSError as error:
            self._notices.info(f"The settings could not be saved: {error.strerror}.")

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.toast.place()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        if not event.spontaneous():  # not when it is made small
            self.about.close_all()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.ActivationChange and hasattr(self, "toast"):
            self.toast.place()

    def _build(self) -> None:
        bar = styled(QWidget(), name="topbar")
        bar.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        line = QHBoxLayout(bar)
        line.setContentsMargins(12, 0, 12, 0)
        line.setSpacing(4)
        mark = QLabel()
        mark.setPixmap(resources.application_icon().pixmap(QSize(24, 24), self.devicePixelRatioF()))
        line.addWidget(mark)
        line.addSpacing(4)
        line.addWidget(styled(QLabel("Quarterdeck"), name="brand"))
        line.addSpacing(14)
        line.addWidget(self.tabs, 1)
        for button in (self.nodes_button, self.audit_button, self.shade, self.person):
            line.addWidget(button)
        self.person.setMenu(self._menu())
        self.person.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.shade.clicked.connect(self._change_theme)
        inside = QWidget()
        rows = QVBoxLayout(inside)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(0)
        for part in (bar, rule(), self.banner):
            rows.addWidget(part)
        rows.addWidget(self.stack, 1)
        self.setCentralWidget(inside)
        self._build_status()
        self._build_keys()

    def _menu(self) -> QMenu:
        menu = QMenu(self.person)
        entries: list[tuple[str, Callable[[], None]] | None] = [
            ("Cluster\tCtrl+8", self.nodes_button.click),
            ("Audit\tCtrl+9", self.audit_button.click) if self._client.me.admin else None,
            None,
            ("Keyboard Shortcuts\tF1", self.about.keys),
            ("About Quarterdeck", self.about.program),
            None,
            ("Sign Out…", self._sign_out),
            ("Quit\tCtrl+Q", self._on_close),
        ]
        menu.addAction(f"{self._client.me.login} at {self._client.me.server}").setEnabled(False)
        menu.addSeparator()
        for entry in entries:
            if entry is None:
                menu.addSeparator()
            else:
                menu.addAction(entry[0]).triggered.connect(lambda checked=False, act=entry[1]: act())
        return menu

    def _build_status(self) -> None:
        status = self.statusBar()
        status.setSizeGripEnabled(False)
        status.setContentsMargins(8, 0, 8, 0)
        self.light = QLabel()
        me = self._client.me
        self.who = QLabel(f"{me.login} ({self._role})  ·  {me.server}  ·  {self._profile}")
        status.addWidget(self.light)
        status.addWidget(self.who)
        status.addPermanentWidget(QLabel("Enter opens  ·  Ctrl+L log  ·  Del terminate  ·  F5 refresh  ·  F1 all keys"))

    def _build_keys(self) -> None:
        for key, act in {
            "F1": self.about.keys,
            "F5": self._refresh,
            "Ctrl+N": self._new,
            "Ctrl+Q": self._on_close,
            "Ctrl+8": self.nodes_button.click,
            "Ctrl+9": self.audit_button.click,
            "Ctrl+PgDown": lambda: self.stack.step(1),
            "Ctrl+PgUp": lambda: self.stack.step(-1),
        }.items():
            QShortcut(QKeySequence(key), self).activated.connect(act)
        for number in range(len(self.pages)):
            QShortcut(QKeySequence(f"Ctrl+{number + 1}"), self).activated.connect(
                lambda number=number: self.stack.show_tab(number)
            )

    def _recall(self) -> None:
        if (state := self._settings.state("window/geometry")) is None or not self.restoreGeometry(state):
            self.resize(1280, 800)
        self.tabs.setCurrentIndex(max(0, min(self._settings.number("window/tab"), len(self.pages) - 1)))

    def _everything(self) -> None:
        for page in self.pages:
            page.reread()
        self.commands.reread()

    def _changed(self, jobs: list[Job], gone: list[int]) -> None:
        for page in self.pages:
            page.change(jobs, gone)
        self.cluster.changed()

    def _refresh(self) -> None:
        self.live.refresh()
        for place in (self.cluster, self.audit):
            if place is not None and place.isVisible():
                place.model.refresh()

    async def _open(self, number: int) -> None:
        found = await self._bridge.call(self._client.by_ids, [number])
        if found:
            self.show_job(found[0])
        else:
            self._notices.info(f"Job {number} is not there any more: it was deleted.")

    def _connected(self, trouble: str | None) -> None:
        self.banner.setVisible(trouble is not None)
        if trouble is not None:
            self.banner.setText(f"{trouble}  What you see is as it was; trying again…")
        self._dress()

    def _new(self) -> None:
        page = self.pages[self.tabs.currentIndex()]
        if page is self.stack.currentWidget() and not page.new.isHidden():
            self.commands.new(page.kind)

    def _change_theme(self) -> None:
        name = "light" if current().name == "dark" else "dark"
        application = QApplication.instance()
        if isinstance(application, QApplication):
            themes.apply(application, "dark" if name == "dark" else "light")
        self._settings.set("theme", name)

    def _dress(self) -> None:
        t = current()
        self.shade.setIcon(resources.icon("weather-sunny" if t.name == "dark" else "weather-night", t.muted))
        self.shade.setToolTip("Light" if t.name == "dark" else "Dark")
        self.person.setIcon(resources.icon("account-circle-outline", t.muted))
        for button, picture in ((self.nodes_button, "server-network"), (self.audit_button, "shield-account-outline")):
            button.setIcon(resources.icon(picture, t.link if button.isChecked() else t.muted))
        for button in (self.nodes_button, self.audit_button, self.shade, self.person):
            button.setIconSize(QSize(20, 20))
        broken = not self.banner.isHidden()
        dot = resources.icon("circle-medium", t.bad if broken else t.good)
        self.light.setPixmap(dot.pixmap(QSize(18, 18), self.devicePixelRatioF()))
        self.light.setToolTip("not connected" if broken else "connected")


class _Toast(QObject):
    """One short message at a time at the window's lower edge; an error stays longer."""

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self.label = styled(QLabel(window, wordWrap=True), name="toast", visible=False)
        self.label.setTextFormat(Qt.TextFormat.PlainText)
        self.label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._timer = QTimer(self, singleShot=True)
        self._timer.timeout.connect(self.label.hide)

    def say(self, kind: str, text: str) -> None:
        self.label.setProperty("kind", kind)
        self.label.style().polish(self.label)
        self.label.setText(text[:1].upper() + text[1:])
        self.label.show()
        self.label.raise_()
        self.place()
        self._timer.start(9000 if kind == "error" else 5000)

    def place(self) -> None:
        if self.label.isHidden():
            return
        width = min(560, self._window.width() - 40)
        self.label.setFixedWidth(width)
        self.label.adjustSize()
        self.label.move((self._window.width() - width) // 2, self._window.height() - self.label.height() - 44)
