"""Choosing a cluster and signing in (P3)."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.bridge import Bridge
from desktop.theme import current, styled
from desktop.views.profile_form import ProfileForm
from quarterdeck import profile, tls
from quarterdeck.client import Client
from quarterdeck.errors import Invalid, QuarterdeckError, Refused
from quarterdeck.profile import Profile

__all__ = ["SignIn", "StartLocal"]

StartLocal = Callable[[Callable[[str], None]], str]
"""Starts this computer's cluster, telling what is under way; its profile's name."""

_NEW = "\n"


class _Attempt:
    """One try to connect, in a thread. Given up, it leaves no connection behind, whenever it comes to its end."""

    def __init__(self, connect: Callable[[], Client]) -> None:
        self._connect = connect
        self._client: Client | None = None
        self._given_up = False

    def run(self) -> Client:
        self._client = self._connect()
        if self._given_up:
            self._client.close()
        elif self._client.me.login.startswith("node_"):
            self._client.close()
            raise Refused(f"The login {self._client.me.login} is a node's: sign in as a person.")
        return self._client

    def give_up(self) -> None:
        self._given_up = True
        if self._client is not None:
            self._client.close()


class SignIn(QDialog):
    """Asks where to sign in, and does it. `remarks` holds what the person should know then.

    `start_local` starts the cluster of this computer; None where there is none.

    Signals:
        signed_in(Client, str): a client, and the profile's name
    """

    signed_in = Signal(object, str)
    _told = Signal(str)

    def __init__(
        self,
        bridge: Bridge,
        start_local: StartLocal | None,
        chosen: str | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._bridge = bridge
        self._start_local = start_local
        self._attempt: _Attempt | None = None
        self.client: Client | None = None
        self.profile_name = ""
        self.remarks: list[str] = []
        self.busy = False
        self.setWindowTitle("Sign in — Quarterdeck")
        self.setWindowIcon(resources.application_icon())
        self.resize(790, 500)
        self.profiles = styled(QListWidget(), name="profiles", called="Clusters")
        self.profiles.setFixedWidth(230)
        self.profiles.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.heading = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="title")
        self.more = styled(QToolButton(), tip="Save, forget or remove this connection")
        self.more.setIcon(resources.icon("dots-horizontal", current().muted))
        self.more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.menu = QMenu(self.more)
        self.more.setMenu(self.menu)
        self.save = self._action("Save Changes", "Ctrl+S", self._save)
        self.forget = self._action("Forget Password", "", self._forget)
        self.remove = self._action("Remove…", "", self._ask_remove)
        self.about = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), name="muted")
        self.problem = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), name="problem", visible=False)
        self.problem.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.progress = styled(
            QProgressBar(minimum=0, maximum=0, textVisible=False), visible=False, called="Connecting"
        )
        self.doing = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="small", visible=False)
        self.connect_button = styled(QPushButton("Sign In", default=True), name="primary")
        self.quit = QPushButton("Quit", autoDefault=False)
        self.form = ProfileForm()
        self._lay_out()
        self._fill(chosen)
        self.profiles.currentItemChanged.connect(self._choose)
        self.profiles.customContextMenuRequested.connect(
            lambda place: self.menu.popup(self.profiles.viewport().mapToGlobal(place))
        )
        self.connect_button.clicked.connect(self.sign_in)
        self.quit.clicked.connect(self.reject)
        self._told.connect(self.doing.setText, Qt.ConnectionType.QueuedConnection)
        self._choose()

    def sign_in(self) -> None:
        """Try what was entered."""
        if not self.busy:
            self.problem.hide()
            self._busy(True)
            self._bridge.latest(self, "sign in", self._sign_in())

    def reject(self) -> None:
        """Give up the attempt that is under way; without one, leave."""
        if self._attempt is not None:
            self._attempt.give_up()
        if self.busy:
            self._bridge.latest(self, "sign in", self._given_up())
        else:
            super().reject()

    def complain(self, sentence: str) -> None:
        """Show what is wrong."""
        text = sentence[:1].upper() + sentence[1:]
        self.problem.setText(text)
        self.problem.setAccessibleName(text)
        self.problem.show()

    # The list

    def _fill(self, chosen: str | None) -> None:
        self.profiles.clear()
        if self._start_local is not None:
            _add(self.profiles, "This computer", profile.LOCAL, "laptop")
        try:
            names = profile.names()
        except Invalid as error:
            names = []
            self.complain(str(error))
        for name in names:
            if name != profile.LOCAL or self._start_local is None:
                _add(self.profiles, name, name, "server-network")
        _add(self.profiles, "Connect to a cluster…", _NEW, "plus")
        wanted = chosen or (names[0] if names else profile.LOCAL)
        for row in range(self.profiles.count()):
            if self.profiles.item(row).data(Qt.ItemDataRole.UserRole) == wanted:
                self.profiles.setCurrentRow(row)
        if self.profiles.currentRow() < 0:
            self.profiles.setCurrentRow(0)

    def chosen(self) -> str:
        """The name of the profile that is chosen in the list."""
        item = self.profiles.currentItem()
        return str(item.data(Qt.ItemDataRole.UserRole)) if item is not None else _NEW

    def _is_local(self) -> bool:
        return self.chosen() == profile.LOCAL and self._start_local is not None

    def _choose(self) -> None:
        chosen, local = self.chosen(), self._is_local()
        new = chosen == _NEW
        self.form.setVisible(not local)
        self.more.setVisible(not local and not new)
        for action in (self.save, self.forget, self.remove):
            action.setEnabled(not local and not new)
        self.problem.hide()
        self.connect_button.setText("Use This Computer" if local else "Sign In")
        self.heading.setText("Use this computer" if local else "Connect to a cluster" if new else chosen)
        self.about.setText(
            "A cluster of your own on this computer: a database and a node, started when they are needed. Nothing "
            "to set up, and nobody else gets in. The first start takes some seconds."
            if local
            else "Ask your administrator for the server's name, your login and the certificate."
        )
        self.about.setVisible(local or new)
        self.form.clear()
        if local:
            return
        if not new:
            try:
                self.form.show_profile(profile.load(chosen))
            except Invalid as error:
                self.complain(str(error))
                return
        self._bridge.latest(self, "kept", self._look_for_password(chosen))

    async def _look_for_password(self, name: str) -> None:
        # in a thread: a keyring may ask its owner to open it, or take its time
        place = ""
        keeper = await self._bridge.call(profile.keeper)
        try:
            if name != _NEW:
                place = await self._bridge.call(profile.kept, name)
        except QuarterdeckError as error:
            if self.chosen() == name:
                self.complain(str(error))
            return
        if self.chosen() == name:
            typed = self.form.password.text()
            self.form.show_kept(place, keeper)
            self.form.password.setText(typed)
            if place == "environment":
                self.form.keep.setChecked(False)

    # What may be done to a saved connection

    def _action(self, words: str, keys: str, act: Callable[[], None]) -> QAction:
        action = QAction(words, self)
        if keys:
            action.setShortcut(QKeySequence(keys))
        action.triggered.connect(act)
        self.addAction(action)
        self.menu.addAction(action)
        return action

    def _save(self) -> None:
        self.problem.hide()
        try:
            entered = self.form.entered()
        except Invalid as error:
            self.complain(str(error))
            return
        given = self.form.password.text() or None
        self._start(partial(_store, self.chosen(), entered, given, keep=self.form.keep.isChecked()))

    def _forget(self) -> None:
        self._start(partial(_forget, self.chosen()))

    def _ask_remove(self) -> None:
        question = RemoveDialog(self.chosen(), self)
        question.accepted.connect(partial(self._start, partial(_remove, self.chosen())))
        question.finished.connect(question.deleteLater)
        question.open()

    def _start(self, act: Callable[[], tuple[str, str]]) -> None:
        self._bridge.latest(self, "act", self._act(act))

    async def _act(self, act: Callable[[], tuple[str, str]]) -> None:
        try:
            # in a thread: a keyring may ask its owner to open it
            name, remark = await self._bridge.call(act)
        except QuarterdeckError as error:
            self.complain(str(error))
            if isinstance(error, Invalid):
                self.form.point_at(error.field)
            return
        self._fill(name)
        self.doing.setText(remark)
        self.doing.setVisible(bool(remark))

    # Signing in

    async def _sign_in(self) -> None:
        try:
            if self._is_local() and self._start_local is not None:
                name = await self._bridge.call(self._start_local, self._tell)
                attempt = self._attempt = _Attempt(partial(Client.connect, name))
                client = await self._bridge.call(attempt.run)
            else:
                before, chosen = self.chosen(), self.form.entered()
                self._check(before, chosen)
                self.doing.setText(f"Connecting to {chosen.host} as {chosen.user}…")
                given = self.form.password.text() or None
                secret = given or await self._bridge.call(_kept_password, before, chosen)
                attempt = self._attempt = _Attempt(partial(Client.connect, chosen, password=secret))
                client = await self._bridge.call(attempt.run)
                name = await self._keep(before, chosen, given)
        except QuarterdeckError as error:
            self._failed(error)
        else:
            self.client, self.profile_name = client, name
            self.form.password.clear()
            self.signed_in.emit(client, name)
            self.accept()
        finally:
            self._attempt = None
            self._busy(False)

    def _check(self, before: str, chosen: Profile) -> None:
        if chosen.root_certificate is not None:
            tls.check_certificate(chosen.root_certificate)
        if before != chosen.name and chosen.name in profile.names():
            raise Invalid(f"There is a connection named {chosen.name} already: choose another name.", field="name")
        if not self.form.password.text() and before != _NEW and self.form.elsewhere(chosen):
            # the kept one is for another server or person
            raise Invalid("The password is needed.", field="password")

    async def _keep(self, before: str, chosen: Profile, given: str | None) -> str:
        keep = self.form.keep.isChecked()
        try:
            name, remark = await self._bridge.call(_store, before, chosen, given, keep=keep)
        except QuarterdeckError as error:
            # signed in all the same
            self.remarks.append(f"The connection could not be saved: {error}.")
            return chosen.name
        if remark:
            self.remarks.append(remark)
        return name

    def _failed(self, error: QuarterdeckError) -> None:
        self.complain(str(error))
        self._busy(False)
        if isinstance(error, Invalid) and error.field:
            self.form.point_at(error.field)
        elif isinstance(error, Refused) or "password" in str(error):
            self.form.point_at("password")
        else:
            self.connect_button.setFocus()

    async def _given_up(self) -> None:
        self._attempt = None
        self._busy(False)
        self.connect_button.setFocus()

    def _tell(self, words: str) -> None:
        """From the thread that starts the cluster, which goes on if this dialog is gone."""
        with contextlib.suppress(RuntimeError):
            self._told.emit(f"{words[:1].upper()}{words[1:]}…")

    def _busy(self, on: bool) -> None:
        self.busy = on
        self.doing.setText("")
        self.progress.setVisible(on)
        self.doing.setVisible(on)
        self.connect_button.setEnabled(not on)
        self.profiles.setEnabled(not on)
        self.form.setEnabled(not on)
        self.more.setEnabled(not on)
        self.quit.setText("Cancel" if on else "Quit")
        if on:
            self.quit.setFocus()

    def _lay_out(self) -> None:
        left = styled(QFrame(), name="card")
        left.setProperty("edge", "flat")
        side = QVBoxLayout(left)
        side.setContentsMargins(0, 16, 0, 12)
        side.setSpacing(8)
        brand = QHBoxLayout()
        brand.setContentsMargins(16, 0, 16, 4)
        mark = QLabel()
        mark.setPixmap(resources.application_icon().pixmap(26, 26))
        brand.addWidget(mark)
        brand.addSpacing(4)
        brand.addWidget(styled(QLabel("Quarterdeck"), name="brand"))
        brand.addStretch()
        side.addLayout(brand)
        side.addWidget(self.profiles, 1)
        top = QHBoxLayout()
        top.addWidget(self.heading, 1)
        top.addWidget(self.more)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self.doing, 1)
        buttons.addStretch()
        buttons.addWidget(self.quit)
        buttons.addWidget(self.connect_button)
        right = QVBoxLayout()
        right.setContentsMargins(28, 26, 28, 20)
        right.setSpacing(12)
        right.addLayout(top)
        for widget in (self.about, self.form, self.problem, self.progress):
            right.addWidget(widget)
        right.addStretch()
        right.addLayout(buttons)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(left)
        layout.addLayout(right, 1)


class RemoveDialog(QDialog):
    """Asks whether a connection shall be removed."""

    def __init__(self, name: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Remove")
        self.setMinimumWidth(420)
        title = styled(QLabel(f"Remove “{name}”?", wordWrap=True), name="heading")
        title.setTextFormat(Qt.TextFormat.PlainText)
        words = QLabel(
            "This computer forgets the connection and its password. The cluster and your jobs stay as they are.",
            wordWrap=True,
        )
        keep = QPushButton("Keep It", default=True)
        self.remove = styled(QPushButton("Remove", autoDefault=False), name="dangerous")
        self.remove.clicked.connect(self.accept)
        keep.clicked.connect(self.reject)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch()
        buttons.addWidget(keep)
        buttons.addWidget(self.remove)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(10)
        layout.addWidget(title)
        layout.addWidget(words)
        layout.addSpacing(8)
        layout.addLayout(buttons)
        keep.setFocus()


def _add(profiles: QListWidget, words: str, name: str, picture: str) -> None:
    item = QListWidgetItem(resources.icon(picture, current().muted), words)
    item.setData(Qt.ItemDataRole.UserRole, name)
    profiles.addItem(item)


def _kept_password(before: str, entered: Profile) -> str:
    """The kept password of the connection that was `before` it was edited.

    Raises:
        Invalid: there is none, or its keyring is locked.
    """
    saved = entered if before == _NEW else dataclasses.replace(entered, name=before)
    found = profile.password(saved)
    if found is None:
        profile.kept(saved.name)  # which says so when the keyring is locked
        raise Invalid("The password is needed.", field="password")
    return found


def _store(before: str, entered: Profile, given: str | None, *, keep: bool) -> tuple[str, str]:
    """Save the connection that was `before` (or is new) as it was entered; its name, and what should be said."""
    if entered.root_certificate is not None:
        tls.check_certificate(entered.root_certificate)
    if before not in (_NEW, entered.name):
        profile.rename(before, entered)
    file = profile.save(entered, given if keep else None)
    if not keep:
        profile.forget(entered.name)
    if file is None:
        return entered.name, ""
    return entered.name, f"This computer has no open keyring: the password is in {file}, which only you can read."


def _forget(name: str) -> tuple[str, str]:
    profile.forget(name)
    return name, "The password is forgotten."


def _remove(name: str) -> tuple[str, str]:
    profile.remove(name)
    return "", ""
