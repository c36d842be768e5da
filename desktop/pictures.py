"""Pictures of every page, without a display: what `make run` leaves where there is none, and those of the guides.

python -m desktop.pictures docs/images      # the guides' own, of a demonstration cluster made for it
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from PySide6.QtCore import QMessageLogContext, QtMsgType, qInstallMessageHandler
from PySide6.QtWidgets import QWidget

from desktop import bridge as bridges
from desktop import theme
from desktop.app import application, local_starter
from desktop.bridge import Bridge
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.views.details_page import DetailsPage
from desktop.views.sign_in import SignIn
from desktop.views.window import Window
from quarterdeck.client import Client
from quarterdeck.errors import Invalid
from quarterdeck.job import Action, Job, Status
from quarterdeck.kinds import Section
from quarterdeck.query import Filter

__all__ = ["GUIDE", "taken"]

GUIDE = {
    "1-factor-light": "factor",
    "1-factor-dark": "factor_dark",
    "1-factor-form-light": "factor_form",
    "1-factor-log-light": "log",
    "2-evaluation-details-report-light": "evaluation_report",
    "2-evaluation-details-report-dark": "evaluation_report_dark",
    "3-backtest-light": "backtest",
    "3-backtest-details-report-light": "backtest_report",
    "4-attribution-details-report-light": "attribution_report",
    "5-workflow-light": "workflow",
    "6-data_import-light": "data_import",
    "6-data_import-details-1-light": "import_details",
    "7-template-light": "template",
    "8-cluster-light": "cluster",
    "9-audit-light": "audit",
    "sign_in-light": "sign_in",
}
"""The pictures that the guides show, and the names that they have there."""

_PREFERRED = {"factor": "mom20", "evaluation": "reversal5", "backtest": "Pullback", "data_import": "troubled"}
"""Of which job, by a text in its name or subject, details are shown where there is one."""


def taken(profile: str, folder: Path, *, only: Sequence[str] = ()) -> list[Path]:
    """Take pictures of each tab, of a job's details, log and form, of the cluster and the audit, in light and dark.

    Args:
        profile: who is signed in.
        folder: where they go, as NAME-light.png and NAME-dark.png.
        only: names, with their shade; without them all are taken.

    Raises:
        Invalid: a picture can't be written.
    """
    qInstallMessageHandler(_without_window_manager)
    app = application()
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Path] = []

    async def take() -> int:
        notices = Notices()
        bridge = Bridge(notices.error)
        client = await bridge.call(Client.connect, profile)
        try:
            with tempfile.TemporaryDirectory(prefix="quarterdeck-pictures-") as name:
                for shade in ("light", "dark"):
                    theme.apply(app, "dark" if shade == "dark" else "light")
                    # settings of its own: pictures don't depend on what the user chose
                    settings = Settings(Path(name) / f"{shade}.json")
                    window = Window(client, bridge, None, notices, settings, profile, lambda: None, lambda: None)
                    window.resize(1280, 800)
                    window.show()
                    one = _Photographer(window, client, bridge, folder, shade, frozenset(only))
                    await one.all()
                    made.extend(one.made)
                    window.commands.close_all()
                    window.hide()
                    window.deleteLater()
        finally:
            await bridge.close()
            client.close()
        return 0

    bridges.run(app, take)
    return made


class _Photographer:
    """Goes through a window's pages."""

    def __init__(
        self, window: Window, client: Client, bridge: Bridge, folder: Path, shade: str, only: frozenset[str]
    ) -> None:
        self.made: list[Path] = []
        self._window = window
        self._client = client
        self._bridge = bridge
        self._folder = folder
        self._shade = shade
        self._only = only

    async def all(self) -> None:
        for number, page in enumerate(self._window.pages):
            name = f"{number + 1}-{page.kind.key}"
            self._window.tabs.setCurrentIndex(number)
            await self._bridge.until(partial(getattr, page.model, "read"), 10)
            await self._picture(self._window, name)
            preferred = Filter(kind=page.kind.key, text=_PREFERRED.get(page.kind.key, ""))
            found = await self._bridge.call(self._client.list, preferred, limit=20)
            found += await self._bridge.call(self._client.list, Filter(kind=page.kind.key), limit=20)
            job = next((one for one in found if one.status is Status.SUCCESS and Action.DETAILS in one.actions), None)
            if job is not None:
                page.open(job)
                if page.details is not None:
                    await self._details(page.details, page.kind.details, name)
                page.close_details()
                await self._log(job, name)
            if page.kind.params is not None and page.kind.run and self._wanted(f"{name}-form"):
                self._window.commands.new(page.kind)
                await self._bridge.pause(0.5)
                await self._picture(self._window.commands.forms[-1], f"{name}-form")
                self._window.commands.forms[-1].reject()
        await self._beside()
        if self._wanted("sign_in"):
            dialog = SignIn(self._bridge, local_starter(lambda remark: None), None)
            dialog.show()
            await self._picture(dialog, "sign_in")
            dialog.reject()
            dialog.deleteLater()

    def _wanted(self, name: str) -> bool:
        return not self._only or f"{name}-{self._shade}" in self._only

    async def _details(self, details: DetailsPage, sections: Sequence[Section], name: str) -> None:
        await self._bridge.until(lambda: details.model.details is not None, 10)
        for place in range(details.tabs.count()):
            section = sections[place].type if place < len(sections) else ""
            called = f"{name}-details-report" if section == "report" else f"{name}-details-{place + 1}"
            if self._wanted(called):
                details.tabs.setCurrentIndex(place)
                await self._bridge.pause(2.5 if section == "report" else 0.3)
                await self._picture(self._window, called)

    async def _log(self, job: Job, name: str) -> None:
        if self._wanted(f"{name}-log"):
            self._window.commands.show_log(job)
            await self._bridge.pause(0.5)
            await self._picture(self._window.commands.logs[job.id], f"{name}-log")

    async def _beside(self) -> None:
        for name, button, beside in (
            ("8-cluster", self._window.nodes_button, self._window.cluster),
            ("9-audit", self._window.audit_button, self._window.audit),
        ):
            if beside is not None and self._wanted(name):
                button.click()
                await self._bridge.until(partial(getattr, beside.model, "read"), 10)
                await self._picture(self._window, name)
        self._window.stack.show_jobs()

    async def _picture(self, widget: QWidget, name: str) -> None:
        if not self._wanted(name):
            return
        await self._bridge.pause(0.3)
        path = self._folder / f"{name}-{self._shade}.png"
        if not widget.grab().save(str(path)):
            raise Invalid(f"the picture {path} can't be written")
        self.made.append(path)


def _without_window_manager(kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
    """Qt's messages but for two that its offscreen platform gives for each window: that nobody manages it."""
    if text not in ("This plugin does not support propagateSizeHints()", "This plugin does not support raise()"):
        sys.stderr.write(f"{text}\n")


def _guide(folder: Path) -> None:
    """Make a demonstration cluster, take the guides' pictures of it, and remove it."""
    from quarterdeck import demonstration, embedded

    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    with tempfile.TemporaryDirectory(prefix="quarterdeck-guide-") as name:
        place = Path(name)
        place.chmod(0o755)
        os.environ["QUARTERDECK_CONFIG"] = str(place / "config")
        data = place / "cluster"
        try:
            cluster = embedded.start(data, said=print)
            demonstration.populate(cluster, print)
            for path in taken(cluster.profile.name, place / "pictures", only=list(GUIDE)):
                path.replace(folder / f"{GUIDE[path.stem]}.png")
        finally:
            embedded.stop(data)


if __name__ == "__main__":
    _guide(Path(sys.argv[1]))
