"""The lines of a log on the screen: keys, mouse, colours, long lines."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop import theme
from desktop.bridge import Bridge
from desktop.models.log_text import times
from desktop.theme import LOG_ROW_HEIGHT
from desktop.views.log_view import LogView
from tests.gui.log_views import INFO, START, current, seen, wait

Key = Qt.Key
SHIFT = Qt.KeyboardModifier.ShiftModifier
CTRL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def write(database: Any, write_log: Any) -> Any:
    """Writes the lines of a job of one task; the job's number."""

    def make(lines: list[str]) -> int:
        number: int = database.submit("alice", 1, name="a run")
        database.start("n1", database.tasks(number)[0])
        database.sql("postgres", "delete from qd.log_chunk where job_id = :job", job=number)
        write_log("n1", database.tasks(number)[0], 0, [(*INFO, line) for line in lines], start=START)
        return number

    return make


@pytest.fixture
def show(qtbot: QtBot, bridge: Bridge, sign_in: Any) -> Iterator[Any]:
    made: list[LogView] = []

    def make(number: int) -> LogView:
        client = sign_in()
        view = LogView(client.get(number).job, client, bridge)
        view.resize(1000, 420)
        view.show()
        made.append(view)
        wait(qtbot, view)
        view.lines.setFocus()
        return view

    times.remember("clock", lambda way: None)
    yield make
    for view in made:
        view.hide()
        view.deleteLater()


@pytest.mark.spec("M6")
def test_keys_move_choose_and_scroll(qtbot: QtBot, write: Any, show: Any) -> None:
    view = show(write([f"line {n}" for n in range(3000)]))
    lines = view.lines
    qtbot.keyClick(lines, Key.Key_Home)
    wait(qtbot, view)
    assert (current(view), seen(view)[0], view.follow.isChecked()) == ("line 0", "line 0", False)
    qtbot.keyClick(lines, Key.Key_Down)
    qtbot.keyClick(lines, Key.Key_Down, SHIFT)
    assert lines.chosen.ranges() == [(1, 2)]
    assert "line 2" in lines.accessibleDescription()  # what a screen reader says
    qtbot.keyClick(lines, Key.Key_PageDown)
    wait(qtbot, view)
    assert current(view) == f"line {2 + lines.rows - 1}"
    assert current(view) in seen(view)
    qtbot.keyClick(lines, Key.Key_Up)
    assert lines.chosen.ranges() == [(lines.rows, lines.rows)]
    qtbot.keyClick(lines, Key.Key_End)
    wait(qtbot, view)
    assert (current(view), seen(view)[-1], view.follow.isChecked()) == ("line 2999", "line 2999", True)
    qtbot.keyClick(lines, Key.Key_PageUp)
    qtbot.keyClick(lines, Key.Key_PageUp)
    assert not view.follow.isChecked()
    qtbot.keyClick(lines, Key.Key_A, CTRL)
    assert lines.chosen.ranges() == [(0, 2999)]


@pytest.mark.spec("M6")
def test_mouse_chooses_and_scrolls(qtbot: QtBot, write: Any, show: Any) -> None:
    view = show(write([f"line {n}" for n in range(3000)]))
    lines = view.lines
    lines.scroll_to(100)
    view.follow.setChecked(False)
    wait(qtbot, view)

    def click(row: int, keys: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
        QTest.mouseClick(lines.viewport(), Qt.MouseButton.LeftButton, keys, QPoint(300, row * LOG_ROW_HEIGHT + 9))

    click(3)
    assert current(view) == "line 103"
    click(5, SHIFT)
    click(9, CTRL)
    assert lines.chosen.ranges() == [(103, 105), (109, 109)]
    click(104 - 100, CTRL)
    assert lines.chosen.ranges() == [(103, 103), (105, 105), (109, 109)]
    QApplication.clipboard().clear()
    qtbot.keyClick(lines, Key.Key_C, CTRL)
    qtbot.waitUntil(lambda: view.words.text() == "copied 3 lines")
    assert [line[-8:] for line in QApplication.clipboard().text().split("\n")] == ["line 103", "line 105", "line 109"]


@pytest.mark.spec("M6")
@pytest.mark.parametrize("name", ["light", "dark"])
def test_colours_are_painted(qtbot: QtBot, qapp: QApplication, write: Any, show: Any, name: Any) -> None:
    red, green = "\x1b[38;2;250;20;30m██████████\x1b[0m", "\x1b[48;2;10;200;30m          \x1b[0m"
    number = write(["plain", red, green, "\x1b[2Jmoves"])
    theme.apply(qapp, name)
    view = show(number)
    image = view.lines.viewport().grab().toImage()

    def colours(row: int) -> set[str]:
        y = row * LOG_ROW_HEIGHT + LOG_ROW_HEIGHT // 2
        left = int(view.lines._paint.text_left)
        return {QColor(image.pixel(x, y)).name() for x in range(left, left + 90)}

    assert "#fa141e" in colours(1)
    assert "#0ac81e" in colours(2)
    assert not {"#fa141e", "#0ac81e"} & (colours(0) | colours(3))
    theme.apply(qapp, "light")


@pytest.mark.spec("M6")
def test_long_lines_scroll_sideways_and_cost_what_is_seen(qtbot: QtBot, write: Any, show: Any) -> None:
    view = show(write([f"{n:02}" + "x" * 30_000 + "MIDDLE" + "\x1b[31my\x1b[0m漢" * 2000 for n in range(25)]))
    lines = view.lines
    bar = lines.horizontalScrollBar()
    assert bar.maximum() > 30_000
    began = time.monotonic()
    for column in range(0, bar.maximum(), bar.maximum() // 50):
        bar.setValue(column)
        lines.viewport().grab()
    # far below a second for each: what is painted of a line does not depend on how long it is
    assert time.monotonic() - began < 15
    painted = view.model.line(lines.top)
    assert painted is not None
    assert "MIDDLE" in "".join(piece.text for piece in painted.pieces(29_990, 30_020))
    before = bar.value()
    qtbot.keyClick(lines, Key.Key_Left, CTRL)
    assert bar.value() == before - bar.pageStep()


@pytest.mark.spec("M6")
def test_escape_in_the_search_leaves_it_step_by_step(qtbot: QtBot, write: Any, show: Any) -> None:
    view = show(write(["one", "two"]))
    qtbot.keyClick(view.lines, Key.Key_F, CTRL)
    assert view.bar.field.hasFocus()
    qtbot.keyClicks(view.bar.field, "two")
    qtbot.keyClick(view.bar.field, Key.Key_Escape)
    assert view.bar.field.text() == ""
    qtbot.keyClick(view.bar.field, Key.Key_Escape)
    assert view.lines.hasFocus()
    assert view.isVisible()


@pytest.mark.spec("M6")
def test_only_a_lines_task_and_back(qtbot: QtBot, database: Any, write_log: Any, show: Any, sign_in: Any) -> None:
    number = database.submit("alice", [{"name": "first"}, {"name": "second"}], name="a run")
    for ordinal, task in enumerate(database.tasks(number)):
        database.start("n1", task)
        begin = START + dt.timedelta(milliseconds=ordinal)
        write_log("n1", task, 0, [(*INFO, f"{ordinal} {n}") for n in range(50)], start=begin, step=2000)
    view = show(number)
    client = sign_in()
    view.change(client.get(number).job, client.tasks(number))
    view.lines.go(11)
    qtbot.waitUntil(lambda: current(view) == "1 5")
    qtbot.keyClick(view.lines, Key.Key_T, CTRL)
    qtbot.waitUntil(lambda: view.task.currentText() == "second" and current(view) == "1 5")
    assert {text[0] for text in seen(view) if text[1:2] == " "} == {"1"}
    qtbot.keyClick(view.lines, Key.Key_T, CTRL)
    qtbot.waitUntil(lambda: view.model.narrowed.task is None and current(view) == "1 5")
