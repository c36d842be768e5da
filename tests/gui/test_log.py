"""The log view on a real database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from desktop.bridge import Bridge
from desktop.models.log import LogModel
from desktop.views.log_view import LogView
from quarterdeck.job import Level, Stream

START = dt.datetime(2026, 1, 5, 9, 0, tzinfo=dt.UTC)
INFO = (Stream.STDOUT, Level.INFO)


@pytest.fixture
def job(database: Any) -> tuple[int, list[int]]:
    """A job of two tasks that run."""
    number = database.submit("alice", [{"name": "first"}, {"name": "second"}], name="a run")
    tasks = database.tasks(number)
    for task in tasks:
        database.start("n1", task)
    return number, tasks


@pytest.fixture
def view(qtbot: QtBot, bridge: Bridge, sign_in: Any, job: tuple[int, list[int]]) -> Iterator[LogView]:
    """The log of that job."""
    client = sign_in()
    made = LogView(client.get(job[0]).job, client, bridge)
    made.change(client.get(job[0]).job, client.tasks(job[0]))
    made.resize(900, 400)
    made.show()
    qtbot.waitUntil(lambda: made.model.total is not None)
    yield made
    made.hide()
    made.deleteLater()


def texts(view: LogView) -> list[str]:
    return [line.text for n in range(view.model.rowCount()) if (line := view.model.row(n)) is not None]


def shown_row(view: LogView) -> int:
    rows = view.view.selectionModel().selectedRows()
    return rows[0].row() if rows else -1


@pytest.mark.spec("M6")
def test_all_tasks_in_one_by_time_each_line_names_its_task(
    qtbot: QtBot, view: LogView, job: tuple[int, list[int]], write_log: Any
) -> None:
    first, second = job[1]
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    write_log("n1", first, 0, [(*INFO, "a"), (*INFO, "c")], start=ahead, step=2000)
    write_log("n1", second, 0, [(*INFO, "b"), (*INFO, "d")], start=ahead + dt.timedelta(milliseconds=1), step=2000)
    qtbot.waitUntil(lambda: texts(view)[-4:] == ["a", "b", "c", "d"])
    rows = [view.model.row(n) for n in range(view.model.rowCount() - 4, view.model.rowCount())]
    assert [view.model.task_words(line) for line in rows if line is not None] == ["first", "second"] * 2


@pytest.mark.spec("M6")
def test_lines_come_by_themselves_and_following_stops_when_scrolled_up(
    qtbot: QtBot, view: LogView, job: tuple[int, list[int]], write_log: Any
) -> None:
    task = job[1][0]
    write_log("n1", task, 0, [(*INFO, f"line {n}") for n in range(200)])
    qtbot.waitUntil(lambda: "line 199" in texts(view))
    bar = view.view.verticalScrollBar()
    qtbot.waitUntil(lambda: bar.value() == bar.maximum() > 0)
    assert view.follow.isChecked()
    bar.setValue(bar.maximum() // 2)
    assert not view.follow.isChecked()
    value = bar.value()
    write_log("n1", task, 200, [(*INFO, "later")])
    qtbot.waitUntil(lambda: texts(view)[-1] == "later")
    assert bar.value() == value
    view.follow.setChecked(True)
    assert bar.value() == bar.maximum()


@pytest.mark.spec("M6", "N3")
def test_search_goes_over_the_whole_log_not_only_what_is_loaded(
    qtbot: QtBot, bridge: Bridge, sign_in: Any, job: tuple[int, list[int]], write_log: Any
) -> None:
    first, second = job[1]
    lines = [(*INFO, f"line {n}") for n in range(6000)]
    lines[17] = (*INFO, "a NEEDLE in hay")
    lines[41] = (Stream.STDERR, Level.ERROR, "ValueError: first of all")
    write_log("n1", first, 0, lines, start=START)
    write_log("n1", second, 0, [(Stream.STDERR, Level.ERROR, "a later one")], start=START + dt.timedelta(hours=1))
    client = sign_in()
    view = LogView(client.get(job[0]).job, client, bridge)
    view.show()
    qtbot.waitUntil(lambda: view.model.total is not None)
    assert "a NEEDLE in hay" not in texts(view)
    assert view.model.rowCount() == 1000
    view.search.setText("needle")
    qtbot.keyClick(view.search, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: shown_row(view) >= 0)
    assert texts(view)[shown_row(view)] == "a NEEDLE in hay"
    assert not view.follow.isChecked()
    assert texts(view)[:18] == [f"line {n}" for n in range(17)] + ["a NEEDLE in hay"]

    view.first_error()
    qtbot.waitUntil(lambda: shown_row(view) >= 0 and texts(view)[shown_row(view)] == "ValueError: first of all")

    view.search.setText("nowhere to be found")
    view.search_on(1)
    qtbot.waitUntil(lambda: "does not occur" in view.words.text())

    # reading on from here meets the end at last, with no line lost or twice
    while not view.model.at_end:
        before = view.model.rowCount()
        view.model.later()
        qtbot.waitUntil(lambda before=before: view.model.rowCount() > before or view.model.at_end)
    numbers = [int(text.removeprefix("line ")) for text in texts(view) if text.startswith("line ")]
    assert numbers == [n for n in range(6000) if n not in (17, 41)]
    view.hide()
    view.deleteLater()


@pytest.mark.spec("M6")
def test_narrowed_to_a_task_or_level(qtbot: QtBot, view: LogView, job: tuple[int, list[int]], write_log: Any) -> None:
    first, second = job[1]
    write_log("n1", first, 0, [(*INFO, "good"), (Stream.LOGGING, Level.WARNING, "odd")])
    write_log("n1", second, 0, [(Stream.STDERR, Level.ERROR, "bad")])
    qtbot.waitUntil(lambda: {"good", "odd", "bad"} <= set(texts(view)))
    view.level.setCurrentIndex(view.level.findData(Level.WARNING))
    view.level.activated.emit(view.level.currentIndex())
    qtbot.waitUntil(lambda: set(texts(view)) == {"odd", "bad"})
    view.task.setCurrentIndex(view.task.findText("second"))
    view.task.activated.emit(view.task.currentIndex())
    qtbot.waitUntil(lambda: texts(view) == ["bad"])
    write_log("n1", second, 1, [(*INFO, "not shown"), (Stream.STDERR, Level.ERROR, "worse")])
    qtbot.waitUntil(lambda: texts(view) == ["bad", "worse"])


@pytest.mark.spec("M6")
def test_copy_and_save(
    qtbot: QtBot, view: LogView, job: tuple[int, list[int]], write_log: Any, bridge: Bridge, tmp_path: Path
) -> None:
    write_log("n1", job[1][0], 0, [(*INFO, "one"), (Stream.LOGGING, Level.WARNING, "two")])
    qtbot.waitUntil(lambda: texts(view)[-2:] == ["one", "two"])
    view.view.selectRow(view.model.rowCount() - 1)
    view.copy()
    copied = QApplication.clipboard().text()
    assert copied.endswith("two")
    assert "WARNING" in copied
    path = tmp_path / "a.log"
    with qtbot.waitSignal(view.said):
        bridge.start(view, view.save_to(path))
    lines = path.read_text().splitlines()
    assert len(lines) == view.model.total
    assert lines[-1] == copied


@pytest.mark.spec("M6")
def test_a_line_that_is_delivered_late_stands_at_its_time(
    qtbot: QtBot, view: LogView, job: tuple[int, list[int]], write_log: Any
) -> None:
    first, second = job[1]
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    write_log("n1", first, 0, [(*INFO, "early"), (*INFO, "late")], start=ahead, step=1_000_000)
    qtbot.waitUntil(lambda: texts(view)[-2:] == ["early", "late"])
    write_log("n1", second, 0, [(*INFO, "between")], start=ahead + dt.timedelta(milliseconds=500))
    qtbot.waitUntil(lambda: texts(view)[-3:] == ["early", "between", "late"])


def test_the_log_model_is_sound(
    qtbot: QtBot, qtmodeltester: ModelTester, bridge: Bridge, sign_in: Any, job: tuple[int, list[int]], write_log: Any
) -> None:
    write_log("n1", job[1][0], 0, [(*INFO, f"line {n}") for n in range(60)], start=START)
    client = sign_in()
    model = LogModel(client.get(job[0]).job, client, bridge)
    qtmodeltester.check(model)
    model.open()
    qtbot.waitUntil(lambda: model.rowCount() >= 60)
    have = model.rowCount()
    write_log("n1", job[1][0], 60, [(*INFO, "more")])
    qtbot.waitUntil(lambda: (model.poll(), model.rowCount())[1] == have + 1)
    model.narrow(1, None)
    qtbot.waitUntil(lambda: model.rowCount() < 60)
