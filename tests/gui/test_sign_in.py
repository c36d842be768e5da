"""Signing in, connections and their passwords."""

from __future__ import annotations

import dataclasses
import logging
import re
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keyring
import psutil
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAccessible
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from desktop import app
from desktop.bridge import Bridge
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.views.sign_in import RemoveDialog, SignIn
from quarterdeck import profile
from quarterdeck.client import Client
from quarterdeck.errors import Conflict
from quarterdeck.profile import Profile
from quarterdeck.schema import REVISION
from tests.links import Link
from tests.unit.test_profile import Kept

LEFT = Qt.MouseButton.LeftButton
PASSWORD = "password of alice"


@pytest.fixture
def ring() -> Iterator[Kept]:
    before = keyring.get_keyring()
    kept = Kept()
    keyring.set_keyring(kept)
    yield kept
    keyring.set_keyring(before)


@pytest.fixture
def dialog(qtbot: QtBot, bridge: Bridge) -> SignIn:
    made = SignIn(bridge, None)
    qtbot.addWidget(made)
    made.show()
    return made


def saved(database: Any, name: str = "research", password: str | None = PASSWORD, **fields: Any) -> Profile:
    kept = Profile(
        **{
            "name": name,
            "host": "127.0.0.1",
            "port": database.port,
            "database": database.name,
            "user": "alice",
            "tls": "loopback",
            **fields,
        }
    )
    profile.save(kept, password)
    return kept


def filled(dialog: SignIn, database: Any, password: str) -> None:
    dialog.profiles.setCurrentRow(dialog.profiles.count() - 1)
    dialog.form.name.setText("research")
    dialog.form.host.setText("127.0.0.1")
    dialog.form.port.setText(str(database.port))
    dialog.form.database.setText(database.name)
    dialog.form.user.setText("alice")
    dialog.form.password.setText(password)


def pressed(qtbot: QtBot, dialog: SignIn) -> Client:
    with qtbot.waitSignal(dialog.signed_in, timeout=15_000) as signed:
        qtbot.mouseClick(dialog.connect_button, LEFT)
    client: Client = signed.args[0]
    return client


def refused(qtbot: QtBot, dialog: SignIn) -> str:
    qtbot.mouseClick(dialog.connect_button, LEFT)
    qtbot.waitUntil(lambda: not dialog.problem.isHidden() and not dialog.busy, timeout=15_000)
    text = dialog.problem.text()
    assert "\n" not in text
    assert not re.search(r"[.!?] [A-Z]", text)  # one sentence
    assert "Traceback" not in text
    assert dialog.isVisible()
    assert dialog.connect_button.isEnabled()
    return text


def choose(dialog: SignIn, name: str) -> None:
    for row in range(dialog.profiles.count()):
        if dialog.profiles.item(row).text() == name:
            dialog.profiles.setCurrentRow(row)
    assert dialog.chosen() == name


@pytest.mark.spec("P3", "G4")
def test_a_wrong_password_is_one_sentence_and_saves_nothing(qtbot: QtBot, dialog: SignIn, database: Any) -> None:
    filled(dialog, database, "wrong")
    assert "the user name or the password is wrong" in refused(qtbot, dialog)
    assert profile.names() == []
    assert dialog.form.password.hasFocus()
    assert dialog.form.password.selectedText()


@pytest.mark.spec("P3")
def test_signing_in_keeps_the_profile_and_its_password(
    qtbot: QtBot, bridge: Bridge, dialog: SignIn, database: Any, ring: Kept
) -> None:
    filled(dialog, database, PASSWORD)
    client = pressed(qtbot, dialog)
    assert (client.me.login, dialog.profile_name) == ("alice", "research")
    client.close()
    assert profile.names() == ["research"]
    assert ring.secrets == {("quarterdeck", "research"): PASSWORD}
    assert dialog.remarks == []
    assert dialog.form.password.text() == ""
    again = SignIn(bridge, None)
    qtbot.addWidget(again)
    again.show()
    assert again.form.host.text() == "127.0.0.1"
    assert again.form.password.text() == ""
    qtbot.waitUntil(lambda: "kept" in again.form.password.placeholderText())
    pressed(qtbot, again).close()


@pytest.mark.spec("P3", "G5")
def test_a_password_need_not_be_kept(qtbot: QtBot, dialog: SignIn, database: Any, ring: Kept, bridge: Bridge) -> None:
    filled(dialog, database, PASSWORD)
    assert dialog.form.keep.isChecked()
    qtbot.mouseClick(dialog.form.keep, LEFT, pos=QPoint(8, dialog.form.keep.height() // 2))
    assert not dialog.form.keep.isChecked()
    pressed(qtbot, dialog).close()
    assert profile.names() == ["research"]
    assert ring.secrets == {}
    again = SignIn(bridge, None, "research")
    qtbot.addWidget(again)
    again.show()
    assert refused(qtbot, again) == "The password is needed."
    assert again.form.password.hasFocus()
    again.form.password.setText(PASSWORD)
    pressed(qtbot, again).close()


@pytest.mark.spec("P3", "G5")
def test_without_a_keyring_it_is_said_before_and_after(qtbot: QtBot, dialog: SignIn, database: Any) -> None:
    filled(dialog, database, PASSWORD)
    qtbot.waitUntil(lambda: "in a file only you can read" in dialog.form.keep.text())
    pressed(qtbot, dialog).close()
    (remark,) = dialog.remarks
    file = profile.folder() / "credentials"
    assert str(file) in remark
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.spec("P3", "G5")
def test_a_locked_keyring_is_said(qtbot: QtBot, bridge: Bridge, database: Any, ring: Kept) -> None:
    saved(database)
    ring.locked = True
    dialog = SignIn(bridge, None)
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitUntil(lambda: not dialog.problem.isHidden())
    assert "keyring is locked" in dialog.problem.text()
    assert "keyring is locked or does not answer: unlock it and try again" in refused(qtbot, dialog)
    dialog.form.password.setText(PASSWORD)
    pressed(qtbot, dialog).close()
    (remark,) = dialog.remarks
    assert "no open keyring" in remark


@pytest.mark.spec("P3")
def test_connections_are_edited_renamed_and_removed_with_their_passwords(
    qtbot: QtBot, bridge: Bridge, database: Any, ring: Kept
) -> None:
    saved(database)
    saved(database, "other")
    dialog = SignIn(bridge, None, "research")
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.form.port.setText("1")
    dialog.save.trigger()
    qtbot.waitUntil(lambda: profile.load("research").port == 1)
    dialog.form.name.setText("desk")
    dialog.form.port.setText(str(database.port))
    dialog.save.trigger()
    qtbot.waitUntil(lambda: dialog.chosen() == "desk")
    assert profile.names() == ["desk", "other"]
    assert ring.secrets == {("quarterdeck", "desk"): PASSWORD, ("quarterdeck", "other"): PASSWORD}
    pressed(qtbot, dialog).close()
    dialog.show()
    # a name that is taken
    dialog.form.name.setText("other")
    dialog.save.trigger()
    qtbot.waitUntil(lambda: not dialog.problem.isHidden())
    assert "there is a profile 'other' already" in dialog.problem.text().lower()
    # signing in under a new name renames, too, and needs no password again
    choose(dialog, "other")
    choose(dialog, "desk")
    dialog.form.name.setText("floor")
    pressed(qtbot, dialog).close()
    assert profile.names() == ["floor", "other"]
    dialog.show()
    choose(dialog, "other")
    dialog.forget.trigger()
    qtbot.waitUntil(lambda: ring.secrets == {("quarterdeck", "floor"): PASSWORD})
    qtbot.waitUntil(lambda: dialog.doing.text() == "The password is forgotten.")
    assert dialog.chosen() == "other"
    dialog.remove.trigger()
    question = dialog.findChild(RemoveDialog)
    assert question is not None
    qtbot.mouseClick(question.remove, LEFT)
    qtbot.waitUntil(lambda: dialog.chosen() == "floor")
    assert profile.names() == ["floor"]


@pytest.mark.spec("P3", "G5")
def test_a_kept_password_is_never_sent_to_another_server(
    qtbot: QtBot, bridge: Bridge, database: Any, ring: Kept
) -> None:
    saved(database)
    dialog = SignIn(bridge, None, "research")
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.form.host.setText("localhost")
    assert refused(qtbot, dialog) == "The password is needed."
    dialog.form.host.setText("127.0.0.1")
    dialog.form.user.setText("bob")
    assert refused(qtbot, dialog) == "The password is needed."


@pytest.mark.spec("P3", "G4")
@pytest.mark.parametrize(
    ("field", "text", "word"),
    [
        ("port", "many", "port"),
        ("port", "0", "port"),
        ("host", "", "server"),
        ("user", " ", "name"),
        ("database", "", "database"),
        ("name", "a/b", "profile's name"),
        ("certificate", "/no/such/file.pem", "can't be read"),
    ],
)
def test_what_cant_be_used_is_said_before_anything_is_tried(
    qtbot: QtBot, dialog: SignIn, database: Any, field: str, text: str, word: str
) -> None:
    filled(dialog, database, PASSWORD)
    wrong = getattr(dialog.form, field)
    wrong.setText(text)
    assert word in refused(qtbot, dialog)
    assert wrong.property("wrong") is True
    assert wrong.hasFocus()
    QTest.keyClicks(wrong, "x")
    assert wrong.property("wrong") is False
    assert profile.names() == []


def _http(connection: socket.socket) -> None:
    connection.recv(1000)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.spec("P3", "G4", "G5")
@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("down", "No server answers at this address"),
        ("http", "What answers there is not a PostgreSQL server"),
        ("host", "There is no server of this name"),
        ("tls", "The server has no TLS, so nothing was sent to it"),
        ("database", "The server has no such database"),
        ("empty", "was not set up for Quarterdeck: its administrator does it by 'quarterdeck schema upgrade'"),
    ],
)
def test_each_trouble_has_its_sentence(
    qtbot: QtBot, dialog: SignIn, database: Any, case: str, sentence: str, tmp_path: Path
) -> None:
    filled(dialog, database, PASSWORD)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                _http(connection)

        thread = threading.Thread(target=answer, daemon=True)
        if case == "http":
            thread.start()
            dialog.form.port.setText(str(listener.getsockname()[1]))
        elif case == "down":
            dialog.form.port.setText("1")
        elif case == "host":
            dialog.form.host.setText("no-such-host.invalid")
        elif case == "tls":
            dialog.form.certificate.setText(str(_certificate(tmp_path)))
        elif case == "database":
            dialog.form.database.setText("absent")
        else:
            database.sql("postgres", "alter schema qd rename to before")
        try:
            assert sentence in refused(qtbot, dialog)
        finally:
            if case == "empty":
                database.sql("postgres", "alter schema before rename to qd")
        if case == "http":
            thread.join(10)
    assert profile.names() == []


def _certificate(folder: Path) -> Path:
    from tests.security.conftest import Authority

    return Authority(folder, "any").file


@pytest.mark.spec("P3")
@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (
            "0000-aaaaaaaa",
            f"The server's schema (0000) is older than this version of Quarterdeck ({REVISION}): its administrator "
            "upgrades it by 'quarterdeck schema upgrade'",
        ),
        (
            "9999-aaaaaaaa",
            f"The server's schema (9999) is newer than this version of Quarterdeck ({REVISION}): update Quarterdeck",
        ),
    ],
)
def test_another_schema_is_said_with_what_to_do(
    qtbot: QtBot, dialog: SignIn, database: Any, version: str, sentence: str
) -> None:
    database.sql(
        "postgres",
        "create or replace function qd.schema_version() returns text language sql immutable security definer"
        f" set search_path = pg_catalog, pg_temp as $$ select '{version}' $$",
    )
    filled(dialog, database, PASSWORD)
    assert refused(qtbot, dialog) == sentence


@pytest.mark.spec("P3", "R3")
def test_a_nodes_login_is_no_persons(qtbot: QtBot, dialog: SignIn, database: Any) -> None:
    login = database.login("node_n1")
    filled(dialog, database, str(login.password))
    dialog.form.user.setText("node_n1")
    assert refused(qtbot, dialog) == "The login node_n1 is a node's: sign in as a person."
    assert profile.names() == []
    qtbot.waitUntil(lambda: sessions(database, "node_n1") == 0)


@pytest.mark.spec("P3")
@pytest.mark.parametrize("by", ["button", "key"])
def test_an_attempt_that_hangs_can_be_given_up(qtbot: QtBot, dialog: SignIn, database: Any, by: str) -> None:
    with Link(database.port) as link:
        link.silent = True
        filled(dialog, database, PASSWORD)
        dialog.form.port.setText(str(link.port))
        qtbot.mouseClick(dialog.connect_button, LEFT)
        qtbot.waitUntil(lambda: dialog.busy and "Connecting to 127.0.0.1 as alice" in dialog.doing.text())
        assert dialog.quit.text() == "Cancel"
        if by == "button":
            qtbot.mouseClick(dialog.quit, LEFT)
        else:
            qtbot.keyClick(dialog, Qt.Key.Key_Escape)
        qtbot.waitUntil(lambda: not dialog.busy, timeout=1000)
        assert dialog.isVisible()
        assert dialog.quit.text() == "Quit"
        assert dialog.form.isEnabled()
        assert dialog.form.password.text() == PASSWORD
    # and at once again, to where somebody answers
    dialog.form.port.setText(str(database.port))
    pressed(qtbot, dialog).close()


def sessions(database: Any, user: str = "alice") -> int:
    found: int = database.value(
        "postgres",
        "select count(*) from pg_stat_activity where usename = :person and datname = current_database()",
        person=user,
    )
    return found


@pytest.mark.spec("P3")
def test_what_was_given_up_leaves_no_connection_behind(
    qtbot: QtBot, dialog: SignIn, database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, done = threading.Event(), threading.Event()
    connect = Client.connect

    def slow(*arguments: Any, **options: Any) -> Client:
        client = connect(*arguments, **options)
        go_on.wait(10)
        return client

    monkeypatch.setattr(Client, "connect", slow)
    close = Client.close
    monkeypatch.setattr(Client, "close", lambda self: (close(self), done.set()))
    filled(dialog, database, PASSWORD)
    qtbot.mouseClick(dialog.connect_button, LEFT)
    qtbot.waitUntil(lambda: sessions(database) == 1)
    qtbot.mouseClick(dialog.quit, LEFT)
    qtbot.waitUntil(lambda: not dialog.busy)
    go_on.set()
    qtbot.waitUntil(done.is_set)
    qtbot.waitUntil(lambda: sessions(database) == 0)
    assert dialog.client is None
    assert profile.names() == []


@pytest.mark.spec("P3")
def test_this_computer_is_started_in_the_background_and_its_trouble_said(qtbot: QtBot, bridge: Bridge) -> None:
    release = threading.Event()

    def start(said: Callable[[str], None]) -> str:
        said("creating the database")
        release.wait(10)
        raise Conflict("the cluster's folder is in use by another program")

    dialog = SignIn(bridge, start)
    qtbot.addWidget(dialog)
    dialog.show()
    assert dialog.profiles.currentItem().text() == "This computer"
    assert dialog.form.isHidden()
    qtbot.mouseClick(dialog.connect_button, LEFT)
    qtbot.waitUntil(lambda: dialog.doing.text() == "Creating the database…")
    assert not dialog.progress.isHidden()
    release.set()
    qtbot.waitUntil(lambda: not dialog.problem.isHidden())
    assert dialog.problem.text() == "The cluster's folder is in use by another program"
    assert dialog.progress.isHidden()


@pytest.mark.spec("P3")
def test_all_goes_by_the_keyboard_and_everything_has_a_name(
    qtbot: QtBot, bridge: Bridge, database: Any, ring: Kept
) -> None:
    dialog = SignIn(bridge, None)
    qtbot.addWidget(dialog)
    dialog.show()
    qtbot.waitUntil(dialog.isVisible)
    dialog.activateWindow()
    dialog.form.name.setFocus()
    qtbot.waitUntil(dialog.form.name.hasFocus)
    for text in ("keys", "127.0.0.1", str(database.port), database.name, "alice", PASSWORD):
        field = QApplication.focusWidget()
        QTest.keySequence(field, "Ctrl+A")
        QTest.keyClicks(field, text)
        QTest.keyClick(field, Qt.Key.Key_Tab)
    assert QApplication.focusWidget() is dialog.form.keep
    QTest.keyClick(dialog.form.keep, Qt.Key.Key_Backtab)
    with qtbot.waitSignal(dialog.signed_in) as signed:
        QTest.keyClick(dialog.form.password, Qt.Key.Key_Return)
    signed.args[0].close()
    assert profile.load("keys").user == "alice"
    nameless = [
        widget.objectName() or type(widget).__name__
        for widget in dialog.findChildren(QWidget)
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and not widget.objectName().startswith("qt_")
        if not (QAccessible.queryAccessibleInterface(widget).text(QAccessible.Text.Name) or "").strip()
    ]
    assert nameless == []


@pytest.mark.spec("G5")
def test_the_password_is_nowhere(
    qtbot: QtBot,
    dialog: SignIn,
    database: Any,
    ring: Kept,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    errors: list[BaseException],
) -> None:
    """Not in a file, a log, a process's arguments or environment, a representation, or a fault's text."""
    caplog.set_level(logging.DEBUG)
    filled(dialog, database, PASSWORD)
    client = pressed(qtbot, dialog)
    listening = app.feed(client)
    seen = [repr(client.login), str(dataclasses.replace(client.login)), repr(client.engine), repr(client.engine.url)]
    seen += [repr(listening), repr(vars(client)), repr(profile.load("research"))]
    client.close()

    def fault(*_: Any, **__: Any) -> Client:
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr(Client, "connect", fault)
    dialog.form.name.setText("another")
    dialog.form.password.setText(PASSWORD)
    dialog.show()
    qtbot.mouseClick(dialog.connect_button, LEFT)
    qtbot.waitUntil(lambda: len(errors) == 1)
    notices = Notices()
    notices.error(errors[0])
    qtbot.waitUntil(lambda: len(notices.crash_dialogs) == 1)
    seen.append(notices.crash_dialogs[0].trace.toPlainText())
    assert "a fault of the program" in seen[-1]
    notices.crash_dialogs[0].close()
    seen += [file.read_text() for file in profile.folder().rglob("*") if file.is_file()]
    seen.append(caplog.text)
    me = psutil.Process()
    for process in (me, *me.children(recursive=True)):
        try:
            seen += [*process.cmdline(), *process.environ().values()]
        except psutil.Error:
            continue
    assert len(seen) > 10
    assert not [text for text in seen if PASSWORD in text]
    assert ring.secrets == {("quarterdeck", "research"): PASSWORD}


# --- the program: sign-in, window, sign-out --------------------------------------------------------------------------


class Program:
    """The desktop's main coroutine, on the test's loop."""

    def __init__(self, qtbot: QtBot, loop: Any, tmp_path: Path, chosen: str | None = None) -> None:
        self._qtbot = qtbot
        self.settings = Settings(tmp_path / "settings.json")
        application = QApplication.instance()
        assert isinstance(application, QApplication)
        self.notices = Notices()
        self.desk = app.Desk(application, self.notices, self.settings)
        self.task = loop.create_task(self.desk.run(chosen))

    def dialog(self) -> SignIn:
        self._qtbot.waitUntil(lambda: self.desk.dialog is not None and self.desk.dialog.isVisible(), timeout=15_000)
        assert self.desk.dialog is not None
        return self.desk.dialog

    def window(self) -> Any:
        self._qtbot.waitUntil(lambda: self.desk.window is not None and self.desk.window.pages[0].model.read)
        return self.desk.window

    def end(self) -> None:
        if self.desk.window is not None:
            self.desk.window.close()
        elif self.desk.dialog is not None:
            self.desk.dialog.reject()
        self._qtbot.waitUntil(self.task.done, timeout=15_000)
        assert self.task.result() == 0


@pytest.mark.spec("P3", "R2")
def test_signing_out_and_in_as_another(
    qtbot: QtBot, loop: Any, database: Any, ring: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "local_starter", lambda _: None)
    database.submit("alice", name="of alice")
    database.submit("bob", name="of bob")
    for one in ("alice", "bob"):
        database.engine(one).dispose()  # the test's own connections
    saved(database)
    saved(database, "as-bob", "password of bob", user="bob")
    program = Program(qtbot, loop, tmp_path, "research")
    window = program.window()
    assert program.desk.dialog is None  # who is signed in at once sees no dialog
    assert "alice" in window.windowTitle()
    assert sessions(database) > 0
    next(action for action in window.person.menu().actions() if action.text().startswith("Sign Out")).trigger()
    dialog = program.dialog()
    assert program.desk.window is None
    qtbot.waitUntil(lambda: sessions(database) == 0)
    assert Settings(tmp_path / "settings.json").text("profile") == ""  # the next start asks
    assert dialog.form.password.text() == ""
    choose(dialog, "as-bob")
    qtbot.mouseClick(dialog.connect_button, LEFT)
    other = program.window()
    assert "bob" in other.windowTitle()
    names = [other.pages[0].model.row(n).name for n in range(other.pages[0].model.rowCount())]
    assert names == ["of bob"]
    assert sessions(database) == 0
    program.end()
    qtbot.waitUntil(lambda: sessions(database, "bob") == 0)
    assert Settings(tmp_path / "settings.json").text("profile") == "as-bob"


@pytest.mark.spec("P3")
def test_a_server_that_hangs_at_the_start_shows_the_dialog_that_can_give_it_up(
    qtbot: QtBot, loop: Any, database: Any, ring: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "local_starter", lambda _: None)
    with Link(database.port) as link:
        link.silent = True
        saved(database, port=link.port)
        program = Program(qtbot, loop, tmp_path, "research")
        dialog = program.dialog()
        assert dialog.busy
        qtbot.mouseClick(dialog.quit, LEFT)
        qtbot.waitUntil(lambda: not dialog.busy)
        program.end()


@pytest.mark.spec("P3")
def test_a_profile_that_is_not_there_starts_nothing(
    qtbot: QtBot, loop: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bridge: Bridge
) -> None:
    started: list[int] = []
    monkeypatch.setattr(app, "local_starter", lambda _: lambda said: started.append(1) or "local")
    program = Program(qtbot, loop, tmp_path, "reserch")
    dialog = program.dialog()
    assert "There is no profile 'reserch'" in dialog.problem.text()
    assert not dialog.busy
    program.end()
    assert not started
