"""The composition root: makes the application's parts, joins them, and ends them in order."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QMessageLogContext, Qt, QtMsgType, qInstallMessageHandler
from PySide6.QtWidgets import QApplication, QWidget

from desktop import bridge as bridges
from desktop import resources, theme
from desktop.bridge import Bridge, Listening, Source
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.views.details_page import DetailsPage
from desktop.views.sign_in import SignIn, StartLocal
from desktop.views.window import Window
from quarterdeck import profile as profiles
from quarterdeck.client import Client
from quarterdeck.errors import Conflict, Invalid, QuarterdeckError
from quarterdeck.feed import Changed, Feed, Lost, Resync
from quarterdeck.job import Action, Status
from quarterdeck.query import Filter

__all__ = ["Desk", "application", "main", "screenshots"]


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


def _without_window_manager(kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
    """Qt's messages but for two that its offscreen platform gives for each window: that nobody manages it."""
    if text not in ("This plugin does not support propagateSizeHints()", "This plugin does not support raise()"):
        sys.stderr.write(f"{text}\n")


def screenshots(profile: str | None, folder: Path) -> list[Path]:
    """Pictures of each tab, of a job's details and of its log, in light and dark, written to a folder; their paths."""
    qInstallMessageHandler(_without_window_manager)
    app = application()
    name = profile or profiles.load(None).name
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[Path] = []

    async def take() -> int:
        notices = Notices()
        bridge = Bridge(notices.error)
        client = await bridge.call(Client.connect, name)
        try:
            for shade in ("light", "dark"):
                theme.apply(app, "dark" if shade == "dark" else "light")
                # settings of its own: pictures don't depend on what the user chose
                settings = Settings(folder / "settings.json")
                window = Window(client, bridge, None, notices, settings, name, lambda: None, lambda: None)
                window.resize(1280, 800)
                window.show()
                taken.extend(await _photograph(window, client, bridge, folder, shade))
                window.commands.close_all()
                window.hide()
                window.deleteLater()
        finally:
            await bridge.close()
            client.close()
        return 0

    bridges.run(app, take)
    return taken


async def _photograph(window: Window, client: Client, bridge: Bridge, folder: Path, shade: str) -> list[Path]:
    taken: list[Path] = []

    async def picture(widget: QWidget, name: str) -> None:
        await bridge.pause(0.3)
        path = folder / f"{name}-{shade}.png"
        if not widget.grab().save(str(path)):
            raise Invalid(f"the picture {path} can't be written")
        taken.append(path)

    def loaded(details: DetailsPage) -> bool:
        return details.model.details is not None

    for number, page in enumerate(window.pages):
        window.tabs.setCurrentIndex(number)
        await bridge.until(partial(getattr, page.model, "read"), 10)
        await picture(window, f"{number + 1}-{page.kind.key}")
        jobs = await bridge.call(client.list, Filter(kind=page.kind.key), limit=20)
        job = next((one for one in jobs if one.status is Status.SUCCESS and Action.DETAILS in one.actions), None)
        if job is None:
            continue
        page.open(job)
        details = page.details
        if details is None:
            continue
        await bridge.until(partial(loaded, details), 10)
        for place in range(details.tabs.count()):
            details.tabs.setCurrentIndex(place)
            await picture(window, f"{number + 1}-{page.kind.key}-details-{place + 1}")
        page.close_details()
        window.commands.show_log(job)
        await picture(window.commands.logs[job.id], f"{number + 1}-{page.kind.key}-log")
        if page.kind.params is not None and page.kind.run:
            window.commands.new(page.kind)
            await picture(window.commands.forms[-1], f"{number + 1}-{page.kind.key}-form")
            window.commands.forms[-1].reject()
    for name, button, beside in (
        ("8-cluster", window.nodes_button, window.cluster),
        ("9-audit", window.audit_button, window.audit),
    ):
        if beside is not None:
            button.click()
            await bridge.until(partial(getattr, beside.model, "read"), 10)
            await picture(window, name)
    window.stack.show_jobs()
    return taken
