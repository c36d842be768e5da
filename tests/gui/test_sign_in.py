"""Signing in."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from desktop.bridge import Bridge
from desktop.views.sign_in import SignIn
from quarterdeck import profile
from quarterdeck.errors import Conflict

LEFT = Qt.MouseButton.LeftButton


def filled(dialog: SignIn, database: Any, password: str) -> None:
    dialog.profiles.setCurrentRow(dialog.profiles.count() - 1)
    dialog.name.setText("research")
    dialog.host.setText("127.0.0.1")
    dialog.port.setText(str(database.port))
    dialog.database.setText(database.name)
    dialog.user.setText("alice")
    dialog.password.setText(password)


@pytest.mark.spec("P3", "G4")
def test_a_wrong_password_is_one_sentence_and_saves_nothing(qtbot: QtBot, bridge: Bridge, database: Any) -> None:
    dialog = SignIn(bridge, None)
    qtbot.addWidget(dialog)
    dialog.show()
    filled(dialog, database, "wrong")
    qtbot.mouseClick(dialog.connect_button, LEFT)
    qtbot.waitUntil(lambda: not dialog.problem.isHidden() and dialog.connect_button.isEnabled())
    assert "password" in dialog.problem.text().lower()
    assert "\n" not in dialog.problem.text()
    assert dialog.isVisible()
    assert profile.names() == []


@pytest.mark.spec("P3")
def test_signing_in_keeps_the_profile_and_its_password(qtbot: QtBot, bridge: Bridge, database: Any) -> None:
    dialog = SignIn(bridge, None)
    qtbot.addWidget(dialog)
    dialog.show()
    filled(dialog, database, "password of alice")
    with qtbot.waitSignal(dialog.signed_in) as signed:
        qtbot.mouseClick(dialog.connect_button, LEFT)
    client, name = signed.args
    assert (client.me.login, name) == ("alice", "research")
    client.close()
    assert profile.names() == ["research"]
    again = SignIn(bridge, None)
    qtbot.addWidget(again)
    assert again.host.text() == "127.0.0.1"
    assert again.password.text() == ""
    with qtbot.waitSignal(again.signed_in) as signed:
        again.sign_in()
    assert signed.args[0].me.login == "alice"
    signed.args[0].close()


@pytest.mark.spec("P3", "G4")
@pytest.mark.parametrize(
    ("field", "text", "word"), [("port", "many", "port"), ("port", "0", "port"), ("host", "", "server")]
)
def test_what_cant_be_used_is_said_before_anything_is_tried(
    qtbot: QtBot, bridge: Bridge, database: Any, field: str, text: str, word: str
) -> None:
    dialog = SignIn(bridge, None)
    qtbot.addWidget(dialog)
    dialog.show()
    filled(dialog, database, "password of alice")
    getattr(dialog, field).setText(text)
    qtbot.mouseClick(dialog.connect_button, LEFT)
    qtbot.waitUntil(lambda: not dialog.problem.isHidden())
    assert word in dialog.problem.text().lower()


@pytest.mark.spec("P3")
def test_a_server_that_is_not_there(qtbot: QtBot, bridge: Bridge, database: Any) -> None:
    dialog = SignIn(bridge, None)
    qtbot.addWidget(dialog)
    dialog.show()
    filled(dialog, database, "password of alice")
    dialog.port.setText("1")
    qtbot.mouseClick(dialog.connect_button, LEFT)
    qtbot.waitUntil(lambda: not dialog.problem.isHidden() and dialog.connect_button.isEnabled(), timeout=15_000)
    assert "\n" not in dialog.problem.text()


@pytest.mark.spec("P3")
def test_this_computer_is_started_in_the_background_and_its_trouble_said(qtbot: QtBot, bridge: Bridge) -> None:
    release = threading.Event()

    def start() -> str:
        release.wait(10)
        raise Conflict("the cluster's folder is in use by another program")

    dialog = SignIn(bridge, start)
    qtbot.addWidget(dialog)
    dialog.show()
    assert dialog.profiles.currentItem().text() == "This computer"
    assert dialog.form.isHidden()
    qtbot.mouseClick(dialog.connect_button, LEFT)
    qtbot.waitUntil(lambda: not dialog.progress.isHidden())
    release.set()
    qtbot.waitUntil(lambda: not dialog.problem.isHidden())
    assert dialog.problem.text() == "The cluster's folder is in use by another program"
    assert dialog.progress.isHidden()
