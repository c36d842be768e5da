"""The composition root: makes the application's parts, joins them, and ends them in order."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from typing import Literal

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication

from desktop import bridge as bridges
from desktop import resources, theme
from desktop.bridge import Bridge, Listening, Source
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.views.sign_in import SignIn, StartLocal
from desktop.views.window import Window
from quarterdeck import profile as profiles
from quarterdeck.client import Client
from quarterdeck.errors import Conflict, Invalid, QuarterdeckError
from quarterdeck.feed import Changed, Feed, Lost, Resync

__all__ = ["Desk", "application", "local_starter", "main"]


def main(profile: str | None = None) -> int:
    """Show the desktop, signed in by that profile if its password is kept; the exit code."""
    app = application()
    settings = Settings()
    theme.apply(app, chosen_theme(app, settings))
    notices = Notices()
    notices.install()
    return bridges.run(app, lambda: Desk(app, notices, settings).run(profile))


def application() -> QApplication:
    """The application, with fonts and icon; one a process."""
    existing = QApplication.instance()
    app = existing if isinstance(existing, QApplication) else QApplication(sys.argv[:1])
    app.setApplicationName("Quarterdeck")
    app.setDesktopFileName("quarterdeck")
    app.setQuitOnLastWindowClosed(False)
    app.setWindowIcon(resources.application_icon())
    resources.load_fonts()
    return app


def chosen_theme(app: QApplication, settings: Settings) -> Literal["light", "dark"]:
    """The theme that was chosen, else the system's."""
    kept = settings.text("theme")
    dark = kept == "dark" or (not kept and app.styleHints().colorScheme() == Qt.ColorScheme.Dark)
    return "dark" if dark else "light"


def local_starter(remark: Callable[[str], None]) -> StartLocal | None:
    """What starts this computer's own cluster; None where the embedded server is not installed.

    One that runs already is taken as it is, wherever its folder is.
    """
    if importlib.util.find_spec("quarterdeck.embedded") is None:
        return None

    def start(said: Callable[[str], None]) -> str:
        with contextlib.suppress(QuarterdeckError):
            Client.connect(profiles.LOCAL).close()
            return profiles.LOCAL
        embedded = importlib.import_module("quarterdeck.embedded")
        cluster = embedded.start(said=said)
        for text in cluster.said:
            remark(text)
        return str(cluster.profile.name)

    return start


def feed(client: Client) -> Callable[[Listening], Source]:
    """What listens for a client's notifications."""

    def make(listening: Listening) -> Source:
        def on_event(event: Changed | Resync | Lost) -> None:
            if isinstance(event, Changed):
                listening.tell(event.ids)
            elif isinstance(event, Resync):
                listening.tell_connection(None)
            else:
                if event.silent:  # calls that are under way would wait as long as the system lets them
                    client.abandon()
                listening.tell_connection(event.text)

        return Feed(client.login, None, on_event, interval=0.05)

    return make


class Desk:
    """Sign-in and window, one after the other, until the user closes the window."""

    PATIENCE = 0.5
    """Seconds after which somebody who is being signed in sees it."""

    def __init__(self, app: QApplication, notices: Notices, settings: Settings) -> None:
        self._app = app
        self._notices = notices
        self._settings = settings
        self._again = False
        self.window: Window | None = None
        self.dialog: SignIn | None = None

    async def run(self, profile: str | None) -> int:
        """Until the user has had enough; the exit code."""
        bridges.watch(self._notices.error)
        ask = False
        while True:
            bridge = Bridge(self._notices.error)
            try:
                signed = await self._sign_in(bridge, profile, ask)
                if signed is None:
                    return 0
                client, name = signed
                await self._show(bridge, client, name)
            finally:
                await bridge.close()
            if not self._again:
                return 0
            ask = True

    async def _sign_in(self, bridge: Bridge, profile: str | None, ask: bool) -> tuple[Client, str] | None:
        name = profile or os.environ.get("QUARTERDECK_PROFILE") or self._settings.text("profile")
        dialog = self.dialog = SignIn(bridge, local_starter(self._notices.info), name or None)
        signed = False
        if name and not ask and self._can_be_chosen(dialog, name):
            dialog.sign_in()
            # who is signed in at once needs no dialog
            with contextlib.suppress(Conflict):
                await bridge.until(lambda: dialog.client is not None or not dialog.busy, self.PATIENCE)
            signed = dialog.client is not None
        if signed:
            dialog.deleteLater()
        else:
            signed = await bridge.ask(dialog)
        client, name = dialog.client, dialog.profile_name
        for remark in dialog.remarks:
            self._notices.info(remark)
        self.dialog = None
        return (client, name) if signed and client is not None else None

    def _can_be_chosen(self, dialog: SignIn, name: str) -> bool:
        if dialog.chosen() != name:
            try:
                profiles.load(name)
            except Invalid as error:
                dialog.complain(str(error))
        return dialog.chosen() == name

    async def _show(self, bridge: Bridge, client: Client, name: str) -> None:
        closed = bridges.closing()
        self._again = False

        def sign_out() -> None:
            self._again = True
            closed.set()

        listening = bridge.listen(feed(client))
        self._settings.set("profile", name)
        self.window = Window(client, bridge, listening, self._notices, self._settings, name, closed.set, sign_out)
        self.window.show()
        try:
            await closed.wait()
        finally:
            window, self.window = self.window, None
            if self._again:
                # signed out: the next start asks, too
                self._settings.set("profile", "")
            window.remember()
            window.commands.close_all()
            window.hide()
            await bridge.close()
            window.deleteLater()
            client.close()
