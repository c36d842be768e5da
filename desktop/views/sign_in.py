"""Choosing a cluster and signing in (P3)."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QDialog,
    QFileDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.bridge import Bridge
from desktop.theme import current, styled
from quarterdeck import profile
from quarterdeck.client import Client
from quarterdeck.errors import Invalid, QuarterdeckError
from quarterdeck.profile import Profile

__all__ = ["SignIn"]

_NEW = "\n"


class SignIn(QDialog):
    """Asks where to sign in, and does it.

    `start_local()` starts the cluster of this computer and returns its profile's name; None where there is none.

    Signals:
        signed_in(Client, str): a client, and the profile's name
    """

    signed_in = Signal(object, str)

    def __init__(
        self,
        bridge: Bridge,
        start_local: Callable[[], str] | None,
        chosen: str | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._bridge = bridge
        self._start_local = start_local
        self._root: Path | None = None
        self.client: Client | None = None
        self.profile_name = ""
        self.setWindowTitle("Sign in — Quarterdeck")
        self.setWindowIcon(resources.application_icon())
        self.resize(720, 460)
        self.profiles = styled(QListWidget(), name="profiles")
        self.profiles.setFixedWidth(230)
        self.profiles.setAccessibleName("Clusters")
        self.name = QLineEdit(placeholderText="a name of your choice")
        self.host = QLineEdit(placeholderText="db.example.com")
        self.port = QLineEdit("5432")
        self.database = QLineEdit("quarterdeck")
        self.user = QLineEdit(getpass.getuser())
        self.password = QLineEdit(echoMode=QLineEdit.EchoMode.Password)
        self.certificate = QLineEdit(placeholderText="the system's authorities", readOnly=True)
        self.choose = QPushButton("Choose…")
        self.heading = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="title")
        self.about = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), name="muted")
        self.problem = styled(QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText), name="problem", visible=False)
        self.progress = styled(QProgressBar(minimum=0, maximum=0, textVisible=False), visible=False)
        self.connect_button = styled(QPushButton("Sign In", default=True), name="primary")
        self.quit = QPushButton("Quit", autoDefault=False)
        self.form = QWidget()
        self._lay_out()
        self._fill(chosen)
        self.profiles.currentItemChanged.connect(self._choose)
        self.connect_button.clicked.connect(self.sign_in)
        self.quit.clicked.connect(self.reject)
        self.choose.clicked.connect(self._ask_certificate)
        self._choose()

    def sign_in(self) -> None:
        """Try what was entered."""
        self.problem.hide()
        self._bridge.latest(self, "sign in", self._sign_in())

    def _lay_out(self) -> None:
        fields = QFormLayout(self.form)
        fields.setContentsMargins(0, 0, 0, 0)
        fields.setHorizontalSpacing(16)
        fields.setVerticalSpacing(10)
        fields.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        self._profile_label = QLabel("Name")
        fields.addRow(self._profile_label, self.name)
        server = QHBoxLayout()
        server.setSpacing(8)
        server.addWidget(self.host, 1)
        server.addWidget(styled(QLabel("Port"), name="muted"))
        self.port.setFixedWidth(70)
        server.addWidget(self.port)
        fields.addRow("Server", server)
        fields.addRow("Database", self.database)
        fields.addRow("User", self.user)
        fields.addRow("Password", self.password)
        certificate = QHBoxLayout()
        certificate.setSpacing(8)
        certificate.addWidget(self.certificate, 1)
        certificate.addWidget(self.choose)
        fields.addRow("Certificate", certificate)
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
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch()
        buttons.addWidget(self.quit)
        buttons.addWidget(self.connect_button)
        right = QVBoxLayout()
        right.setContentsMargins(28, 26, 28, 20)
        right.setSpacing(12)
        right.addWidget(self.heading)
        right.addWidget(self.about)
        right.addWidget(self.form)
        right.addWidget(self.problem)
        right.addWidget(self.progress)
        right.addStretch()
        right.addLayout(buttons)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(left)
        layout.addLayout(right, 1)

    def _fill(self, chosen: str | None) -> None:
        t = current()
        if self._start_local is not None:
            self._add("This computer", profile.LOCAL, "laptop")
        try:
            names = profile.names()
        except Invalid as error:
            names = []
            self.complain(str(error))
        for name in names:
            if name != profile.LOCAL or self._start_local is None:
                self._add(name, name, "server-network")
        self._add("Connect to a cluster…", _NEW, "plus")
        wanted = chosen or (names[0] if names else profile.LOCAL)
        for row in range(self.profiles.count()):
            item = self.profiles.item(row)
            if item.data(Qt.ItemDataRole.UserRole) == wanted:
                self.profiles.setCurrentRow(row)
        if self.profiles.currentRow() < 0:
            self.profiles.setCurrentRow(0)
        self.choose.setIcon(resources.icon("certificate-outline", t.muted))

    def _add(self, words: str, name: str, picture: str) -> None:
        item = QListWidgetItem(resources.icon(picture, current().muted), words)
        item.setData(Qt.ItemDataRole.UserRole, name)
        self.profiles.addItem(item)

    def _chosen(self) -> str:
        item = self.profiles.currentItem()
        return str(item.data(Qt.ItemDataRole.UserRole)) if item is not None else _NEW

    def _choose(self) -> None:
        chosen = self._chosen()
        local = chosen == profile.LOCAL and self._start_local is not None
        new = chosen == _NEW
        self.form.setVisible(not local)
        self._profile_label.setVisible(new)
        self.name.setVisible(new)
        self.problem.hide()
        self.connect_button.setText("Use This Computer" if local else "Sign In")
        if local:
            self.heading.setText("Use this computer")
            self.about.setText(
                "A cluster of your own on this computer: a database and a node, started when they are needed. Nothing "
                "to set up, and nobody else gets in. The first start takes some seconds."
            )
            return
        self.heading.setText("Connect to a cluster" if new else chosen)
        self.about.setText("Ask your administrator for the server's name and your login." if new else "")
        self.about.setVisible(new)
        self.password.clear()
        if not new:
            try:
                self._show_profile(profile.load(chosen))
            except Invalid as error:
                self.complain(str(error))

    def _show_profile(self, saved: Profile) -> None:
        self.name.setText(saved.name)
        self.host.setText(saved.host)
        self.port.setText(str(saved.port))
        self.database.setText(saved.database)
        self.user.setText(saved.user)
        self._root = saved.root_certificate
        self.certificate.setText(str(saved.root_certificate or ""))
        try:
            kept = profile.password(saved) is not None
        except Invalid:
            kept = False
        self.password.setPlaceholderText("kept by this computer" if kept else "")

    def _entered(self) -> Profile:
        if not self.port.text().strip().isdigit():
            raise Invalid(f"The port is a number between 1 and 65535, not “{self.port.text()}”.", field="port")
        host = self.host.text().strip()
        if not host:
            raise Invalid("The server's name is needed.", field="host")
        return Profile(
            name=self.name.text().strip() or host.replace(":", "-"),
            host=host,
            port=int(self.port.text()),
            database=self.database.text().strip(),
            user=self.user.text().strip(),
            tls="loopback" if profile.is_loopback(host) else "verify-full",
            root_certificate=self._root,
        )

    async def _sign_in(self) -> None:
        self._busy(True)
        try:
            if self._chosen() == profile.LOCAL and self._start_local is not None:
                name = await self._bridge.call(self._start_local)
                client = await self._bridge.call(Client.connect, name)
            else:
                chosen = self._entered()
                name = chosen.name
                given = self.password.text() or None
                client = await self._bridge.call(Client.connect, chosen, password=given)
                await self._bridge.call(profile.save, chosen, given)
        except QuarterdeckError as error:
            self.complain(str(error))
            self.password.setFocus()
            self.password.selectAll()
        else:
            self.client, self.profile_name = client, name
            self.signed_in.emit(client, name)
            self.accept()
        finally:
            self._busy(False)

    def _busy(self, on: bool) -> None:
        self.progress.setVisible(on)
        self.connect_button.setEnabled(not on)
        self.profiles.setEnabled(not on)
        self.form.setEnabled(not on)

    def complain(self, sentence: str) -> None:
        """Show what is wrong."""
        self.problem.setText(sentence[:1].upper() + sentence[1:])
        self.problem.show()

    def _ask_certificate(self) -> None:
        dialog = QFileDialog(self, "The server's certificate authority")
        dialog.setNameFilters(["Certificates (*.pem *.crt *.cer)", "All files (*)"])

        def chosen(name: str) -> None:
            self._root = Path(name)
            self.certificate.setText(name)

        dialog.fileSelected.connect(chosen)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()
