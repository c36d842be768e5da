"""The fields of a connection: which server, as whom, with which certificate (P3)."""

from __future__ import annotations

import getpass
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)

from desktop import resources
from desktop.theme import current, styled
from quarterdeck import profile
from quarterdeck.errors import Invalid
from quarterdeck.profile import Profile

__all__ = ["ProfileForm"]


class ProfileForm(QWidget):
    """What is entered for a connection. `keep` says whether the password shall be kept."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = styled(QLineEdit(placeholderText="a name of your choice"), called="Name of this connection")
        self.host = styled(QLineEdit(placeholderText="db.example.com"), called="Server")
        self.port = styled(QLineEdit(), called="Port")
        self.database = styled(QLineEdit(), called="Database")
        self.user = styled(QLineEdit(), called="User")
        self.password = styled(QLineEdit(echoMode=QLineEdit.EchoMode.Password), called="Password")
        self.keep = QCheckBox()
        self.certificate = styled(QLineEdit(placeholderText="the system's authorities"), called="Certificate")
        self.certificate.setClearButtonEnabled(True)
        self.choose = styled(QPushButton("Choose…", autoDefault=False), called="Choose a certificate file")
        self.choose.setIcon(resources.icon("certificate-outline", current().muted))
        self._saved: Profile | None = None
        self._lay_out()
        self.choose.clicked.connect(self._ask_certificate)
        for one in (self.name, self.host, self.port, self.database, self.user, self.password, self.certificate):
            one.textEdited.connect(lambda _, one=one: self._mark(one, wrong=False))
        self.clear()

    def clear(self) -> None:
        """As for a new connection."""
        self._saved = None
        for field, text in (
            (self.name, ""),
            (self.host, ""),
            (self.port, "5432"),
            (self.database, "quarterdeck"),
            (self.user, getpass.getuser()),
            (self.certificate, ""),
        ):
            field.setText(text)
            self._mark(field, wrong=False)
        self.show_kept("")
        self.keep.setChecked(True)

    def show_profile(self, saved: Profile) -> None:
        """A saved connection."""
        self.clear()
        self._saved = saved
        self.name.setText(saved.name)
        self.host.setText(saved.host)
        self.port.setText(str(saved.port))
        self.database.setText(saved.database)
        self.user.setText(saved.user)
        self.certificate.setText(str(saved.root_certificate or ""))

    def show_kept(self, place: str, keeper: str = "") -> None:
        """Where its password is kept (keyring, file, environment, or nowhere: ""), and what would keep a new one.

        `keeper` is keyring or file, or "" while that is not known.
        """
        self.password.clear()
        self._mark(self.password, wrong=False)
        words = {"": "", "environment": "given by QUARTERDECK_PASSWORD"}
        self.password.setPlaceholderText(words.get(place, "kept by this computer"))
        where = {
            "keyring": " in this computer's keyring",
            "file": " in a file only you can read (no keyring here)",
        }
        self.keep.setText("Keep the password" + where.get("file" if place == "file" else keeper, ""))
        self.keep.setToolTip(self.keep.text())

    def entered(self) -> Profile:
        """The connection as it stands in the fields.

        Raises:
            Invalid: a field can't be used; it is marked and has the keyboard.
        """
        text = self.certificate.text().strip()
        host = self.host.text().strip()
        try:
            if not host:
                raise Invalid("The server's name is needed.", field="host")
            if not self.port.text().strip().isdecimal():
                raise Invalid(f"The port is a number between 1 and 65535, not “{self.port.text()}”.", field="port")
            if not self.user.text().strip():
                raise Invalid("Your name on the server is needed.", field="user")
            if not self.database.text().strip():
                raise Invalid("The database's name is needed.", field="database")
            return Profile(
                name=self.name.text().strip() or host.replace(":", "-").strip("[]"),
                host=host,
                port=int(self.port.text()),
                database=self.database.text().strip(),
                user=self.user.text().strip(),
                tls="loopback" if profile.is_loopback(host) and not text else "verify-full",
                root_certificate=Path(text).expanduser() if text else None,
            )
        except Invalid as error:
            self.point_at(error.field)
            raise

    def elsewhere(self, entered: Profile) -> bool:
        """Whether this is another server or person than the kept password is for."""
        saved = self._saved
        return saved is None or (saved.host, saved.user) != (entered.host, entered.user)

    def point_at(self, field: str | None) -> None:
        """Mark a field as wrong, and give it the keyboard."""
        found = {
            "name": self.name,
            "host": self.host,
            "server": self.host,
            "port": self.port,
            "database": self.database,
            "user": self.user,
            "password": self.password,
            "tls": self.certificate,
        }.get(field or "")
        if found is not None:
            self._mark(found, wrong=True)
            found.setFocus()
            found.selectAll()

    def _mark(self, field: QLineEdit, *, wrong: bool) -> None:
        if bool(field.property("wrong")) != wrong:
            field.setProperty("wrong", wrong)
            field.style().unpolish(field)
            field.style().polish(field)

    def _lay_out(self) -> None:
        fields = QFormLayout(self)
        fields.setContentsMargins(0, 0, 0, 0)
        fields.setHorizontalSpacing(16)
        fields.setVerticalSpacing(10)
        fields.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        fields.addRow("&Name", self.name)
        server = QHBoxLayout()
        server.setSpacing(8)
        server.addWidget(self.host, 1)
        port = styled(QLabel("P&ort"), name="muted")
        port.setBuddy(self.port)
        server.addWidget(port)
        self.port.setFixedWidth(70)
        server.addWidget(self.port)
        fields.addRow(_label("&Server", self.host), server)
        fields.addRow("&Database", self.database)
        fields.addRow("&User", self.user)
        fields.addRow("&Password", self.password)
        fields.addRow("", self.keep)
        certificate = QHBoxLayout()
        certificate.setSpacing(8)
        certificate.addWidget(self.certificate, 1)
        certificate.addWidget(self.choose)
        fields.addRow(_label("&Certificate", self.certificate), certificate)

    def _ask_certificate(self) -> None:
        dialog = QFileDialog(self, "The server's certificate authority")
        dialog.setNameFilters(["Certificates (*.pem *.crt *.cer)", "All files (*)"])
        dialog.fileSelected.connect(self.certificate.setText)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()


def _label(words: str, buddy: QWidget) -> QLabel:
    label = QLabel(words)
    label.setBuddy(buddy)
    return label
