"""The log view on a real database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop.bridge import Bridge
from desktop.models.log_text import times
from desktop.settings import Settings
from desktop.views.log_dialogs import JumpDialog, WholeLine
from desktop.views.log_view import LogView, LogWindow
from quarterdeck.errors import Disconnected
from quarterdeck.job import Level, Stream
from quarterdeck.lines import split_text
from quarterdeck.logs import Log
from tests.gui.log_views import INFO, START, current, seen, settled, texts, wait

Job = tuple[int, list[int]]


@pytest.fixture
def job(database: Any) -> Job:
    """A job of two tasks that run."""
    number = database.submit("alice", [{"name": "first"}, {"name": "second"}], name="a run")
    tasks = database.tasks(number)
    for task in tasks:
        database.start("n1", task)
    return number, tasks


@pytest.fixture
def open_log(qtbot: QtBot, bridge: Bridge, sign_in: Any, job: Job) -> Iterator[Callable[[], LogView]]:
    """Opens the log of that job."""
    made: list[LogView] = []

    def make() -> LogView:
        client = sign_in()
        view = LogView(client.get(job[0]).job, client, bridge)
        view.change(client.get(job[0]).job, client.tasks(job[0]))
        view.resize(1000, 420)
        view.show()
        made.append(view)
        view.lines.setFocus()
        wait(qtbot, view)
        return view

    times.remember("clock", lambda way: None)
    yield make
    for view in made:
        view.hide()
        view.deleteLater()


@pytest.fixture
def view(open_log: Callable[[], LogView]) -> LogView:
    return open_log()


@pytest.mark.spec("M6")
def test_all_tasks_in_one_by_time_each_line_names_its_task(
    qtbot: QtBot, view: LogView, job: Job, write_log: Any
) -> None:
    first, second = job[1]
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=30)
    write_log("n1", first, 0, [(*INFO, "a"), (*INFO, "c")], start=ahead, step=2000)
    write_log("n1", second, 0, [(*INFO, "b"), (*INFO, "d")], start=ahead + dt.timedelta(milliseconds=1), step=2000)
    qtbot.waitUntil(lambda: texts(view)[-4:] == ["a", "b", "c", "d"])
    total = view.model.total or 0
    last = [view.model.line(at) for at in range(total - 4, total)]
    assert [view.model.task_words(one.line) for one in last if one is not None] == ["first", "second"] * 2


@pytest.mark.spec("M6", "M7")
def test_lines_come_by_themselves_and_following_stops_when_scrolled_up(
    qtbot: QtBot, view: LogView, job: Job, write_log: Any
) -> None:
    task = job[1][0]
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    write_log("n1", task, 0, [(*INFO, f"line {n}") for n in range(200)], start=ahead)
    qtbot.waitUntil(lambda: seen(view)[-1:] == ["line 199"])
    bar = view.lines.verticalScrollBar()
    assert bar.value() == bar.maximum() > 0
    assert view.follow.isChecked()
    bar.setValue(bar.maximum() // 2)
    assert not view.follow.isChecked()
    wait(qtbot, view)
    before = seen(view)
    write_log("n1", task, 200, [(*INFO, "later")], start=ahead + dt.timedelta(minutes=1))
    qtbot.waitUntil(lambda: texts(view)[-1:] == ["later"])
    assert seen(view) == before
    view.lines.setFocus()
    qtbot.keyClick(view.lines, Qt.Key.Key_End)
    assert view.follow.isChecked()
    assert bar.value() == bar.maximum()
    write_log("n1", task, 201, [(*INFO, "the last")], start=ahead + dt.timedelta(minutes=2))
    qtbot.waitUntil(lambda: seen(view)[-1:] == ["the last"])


@pytest.mark.spec("M6")
def test_the_scroll_bar_goes_over_the_whole_log(
    qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any
) -> None:
    write_log("n1", job[1][0], 0, [(*INFO, f"line {n}") for n in range(30_000)], start=START)
    view = open_log()
    total = view.model.total
    assert total is not None
    assert total > 30_000
    bar = view.lines.verticalScrollBar()
    assert bar.maximum() == total - view.lines.rows
    assert len(texts(view)) < 1000  # what is not looked at is not fetched
    for place in (0, 12_345, 29_000, 77):
        bar.setValue(place)
        wait(qtbot, view)
        assert seen(view)[:3] == [f"line {n}" for n in range(place, place + 3)]
    for place in range(0, 30_000, 300):
        bar.setValue(place)
        wait(qtbot, view)
    assert len(texts(view)) <= view.model.blocks.KEPT * view.model.blocks.SIZE


@pytest.mark.spec("M6")
def test_a_line_that_is_delivered_late_moves_neither_what_is_seen_nor_what_is_chosen(
    qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any
) -> None:
    first, second = job[1]
    write_log("n1", first, 0, [(*INFO, f"line {n}") for n in range(2000)], start=START, step=1_000_000)
    view = open_log()
    view.lines.scroll_to(1000)
    view.follow.setChecked(False)
    wait(qtbot, view)
    view.lines.choose(1003)
    view.lines.choose(1005, extend=True)
    before, total = seen(view), view.model.total or 0
    late = START + dt.timedelta(seconds=10.5)
    write_log("n1", second, 0, [(*INFO, f"late {n}") for n in range(7)], start=late)
    qtbot.waitUntil(lambda: view.model.total == total + 7 and view.lines.top == 1007)
    wait(qtbot, view)
    assert seen(view) == before
    assert view.lines.chosen.ranges() == [(1010, 1012)]
    view.lines.scroll_to(8)
    qtbot.waitUntil(lambda: seen(view)[:5] == ["line 8", "line 9", "line 10", "late 0", "late 1"])


@pytest.mark.spec("M6", "N3")
def test_search_goes_over_the_whole_log_counts_and_walks(
    qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any
) -> None:
    first, second = job[1]
    lines = [(*INFO, f"line {n}") for n in range(6000)]
    for at in (17, 3000, 5999):
        lines[at] = (*INFO, f"a NEEDLE in hay at {at}")
    write_log("n1", first, 0, lines, start=START)
    write_log("n1", second, 0, [(*INFO, "one more needle")], start=START + dt.timedelta(hours=1))
    view = open_log()
    assert "a NEEDLE in hay at 17" not in texts(view)
    view.bar.field.setFocus()
    qtbot.keyClicks(view.bar.field, "needle")
    qtbot.keyClick(view.bar.field, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: current(view) == "a NEEDLE in hay at 17")
    assert not view.follow.isChecked()
    qtbot.waitUntil(lambda: view.bar.words.text() == "1 of 4")
    found = []
    for key, modifier in (
        (Qt.Key.Key_F3, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_F3, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_F3, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_F3, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_F3, Qt.KeyboardModifier.ShiftModifier),
    ):
        before = view.lines.chosen.current
        qtbot.keyClick(view, key, modifier)
        qtbot.waitUntil(lambda before=before: view.lines.chosen.current != before and bool(current(view)))
        found.append((current(view)[-7:], view.bar.words.text()))
    assert found == [
        ("at 3000", "2 of 4"),
        ("at 5999", "3 of 4"),
        (" needle", "4 of 4"),
        ("y at 17", "1 of 4"),  # round the end
        (" needle", "4 of 4"),
    ]
    view.bar.case.setChecked(True)
    view.search_on(1)
    qtbot.waitUntil(lambda: view.bar.words.text() == "1 of 1")
    view.bar.field.setText("nowhere to be found")
    view.search_on(1)
    qtbot.waitUntil(lambda: view.bar.words.text() == "no hit")


@pytest.mark.spec("M6")
def test_search_by_regular_expression(
    qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any, errors: list[BaseException]
) -> None:
    write_log("n1", job[1][0], 0, [(*INFO, f"order {n} filled") for n in range(1200)], start=START)
    view = open_log()
    view.bar.regular.setChecked(True)
    view.bar.field.setText(r"^order \d*7{2} f")
    view.search_on(1)
    qtbot.waitUntil(lambda: current(view) == "order 77 filled")
    qtbot.waitUntil(lambda: view.bar.words.text() == "1 of 12")  # 77, 177, ... 1177
    view.bar.field.setText("order (")
    view.search_on(1)
    qtbot.waitUntil(lambda: "no regular expression" in view.bar.words.text())
    assert not errors


@pytest.mark.spec("M6")
def test_hits_of_a_log_that_grows_are_counted_on(
    qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any
) -> None:
    write_log("n1", job[1][0], 0, [(*INFO, "a match"), (*INFO, "none")], start=START)
    view = open_log()
    view.bar.field.setText("match")
    view.search_on(1)
    qtbot.waitUntil(lambda: view.bar.words.text() == "1 of 1")
    write_log("n1", job[1][0], 2, [(*INFO, "another match")] * 3, start=START + dt.timedelta(hours=1))
    qtbot.waitUntil(lambda: view.bar.words.text() == "1 of 4")


@pytest.mark.spec("M6")
def test_one_key_goes_to_the_first_error_over_all_tasks(
    qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any
) -> None:
    first, second = job[1]
    lines = [(*INFO, f"line {n}") for n in range(3000)]
    lines[41] = (Stream.STDERR, Level.ERROR, "ValueError: first of all")
    write_log("n1", first, 0, lines, start=START)
    write_log("n1", second, 0, [(Stream.STDERR, Level.ERROR, "a later one")], start=START + dt.timedelta(hours=1))
    view = open_log()
    qtbot.keyClick(view, Qt.Key.Key_F8)
    qtbot.waitUntil(lambda: current(view) == "ValueError: first of all")
    view.task.choose(1)
    view.task.activated.emit(2)
    qtbot.waitUntil(lambda: view.model.narrowed.task == 1 and settled(view))
    assert "ValueError: first of all" not in texts(view)
    view.lines.setFocus()
    qtbot.keyClick(view, Qt.Key.Key_F8)  # over all tasks, also where one is shown
    qtbot.waitUntil(lambda: current(view) == "ValueError: first of all")
    assert view.task.currentText() == "All tasks"


@pytest.mark.spec("M6")
def test_no_error_is_said(qtbot: QtBot, view: LogView) -> None:
    view.first_error()
    qtbot.waitUntil(lambda: view.words.text() == "There is no error in this log.")


@pytest.mark.spec("M6")
def test_narrowed_to_a_task_or_level(qtbot: QtBot, view: LogView, job: Job, write_log: Any) -> None:
    first, second = job[1]
    write_log("n1", first, 0, [(*INFO, "good"), (Stream.LOGGING, Level.WARNING, "odd")])
    write_log("n1", second, 0, [(Stream.STDERR, Level.ERROR, "bad")])
    qtbot.waitUntil(lambda: {"good", "odd", "bad"} <= set(texts(view)))
    view.level.setCurrentIndex(view.level.findData(Level.WARNING))
    view.level.activated.emit(view.level.currentIndex())
    qtbot.waitUntil(lambda: set(texts(view)) == {"odd", "bad"})
    view.task.setFocus()
    edit = view.task.lineEdit()
    assert edit is not None
    edit.selectAll()
    qtbot.keyClicks(edit, "second")  # its name can be typed
    qtbot.keyClick(edit, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: texts(view) == ["bad"])
    later = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1)
    write_log("n1", second, 1, [(*INFO, "not shown"), (Stream.STDERR, Level.ERROR, "worse")], start=later)
    qtbot.waitUntil(lambda: texts(view) == ["bad", "worse"])
    view.task.choose(0)
    view.level.setCurrentIndex(view.level.findData(Level.ERROR))
    view.task.activated.emit(1)
    qtbot.waitUntil(lambda: view.model.empty_words() == "No such lines.")


@pytest.mark.spec("M6")
def test_narrowing_keeps_the_place(qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any) -> None:
    first, second = job[1]
    write_log("n1", first, 0, [(*INFO, f"one {n}") for n in range(3000)], start=START)
    write_log("n1", second, 0, [(*INFO, f"two {n}") for n in range(3000)], start=START + dt.timedelta(microseconds=500))
    view = open_log()
    view.lines.go(3001)
    view.follow.setChecked(False)
    qtbot.waitUntil(lambda: current(view) == "two 1500")
    view.task.choose(1)
    view.task.activated.emit(2)
    qtbot.waitUntil(lambda: view.model.narrowed.task == 1 and current(view) == "two 1500")
    assert view.lines.chosen.current == 1500
    view.task.choose(None)
    view.task.activated.emit(0)
    qtbot.waitUntil(lambda: view.model.narrowed.task is None and current(view) == "two 1500")


@pytest.mark.spec("M6")
def test_copy_of_chosen_lines_as_text(qtbot: QtBot, view: LogView, job: Job, write_log: Any) -> None:
    write_log("n1", job[1][0], 0, [(*INFO, "one"), (Stream.LOGGING, Level.WARNING, "\x1b[31mtwo\x1b[0m"), (*INFO, "3")])
    qtbot.waitUntil(lambda: texts(view)[-1:] == ["3"])
    last = (view.model.total or 0) - 1
    view.lines.setFocus()
    view.lines.choose(last - 2)
    qtbot.keyClick(view.lines, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    QApplication.clipboard().clear()
    qtbot.keyClick(view.lines, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: view.words.text() == "copied 2 lines")
    copied = QApplication.clipboard().text().split("\n")
    assert [line.endswith(end) for line, end in zip(copied, ("] one", "WARNING two"), strict=True)] == [True, True]
    assert "\x1b" not in copied[1]


@pytest.mark.spec("M6")
def test_copy_of_very_many_lines_is_bounded_and_says_so(
    qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log("n1", job[1][0], 0, [(*INFO, f"line {n}") for n in range(6000)], start=START)
    view = open_log()
    monkeypatch.setattr(type(view.model), "COPIED", 5000)
    view.lines.setFocus()
    qtbot.keyClick(view.lines, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    qtbot.keyClick(view.lines, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    total = f"{view.model.total:,}"
    qtbot.waitUntil(lambda: view.words.text() == f"copied the first 5,000 of {total}: save the rest")
    copied = QApplication.clipboard().text().split("\n")
    assert len(copied) == 5000
    assert copied[4999].endswith("line 4999")


@pytest.mark.spec("M6")
def test_save_all_or_what_matches_or_nothing(
    qtbot: QtBot,
    open_log: Callable[[], LogView],
    job: Job,
    write_log: Any,
    bridge: Bridge,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_log("n1", job[1][0], 0, [(*INFO, f"line {n}") for n in range(60_000)], start=START)
    view = open_log()
    path = tmp_path / "a.log"
    with qtbot.waitSignal(view.said):
        bridge.start(view, view.commands.save_to(path))
    lines = path.read_text().splitlines()
    assert len(lines) == view.model.total
    assert lines[41_234].endswith("line 41234")

    view.bar.field.setText("line 1234")
    with qtbot.waitSignal(view.said) as said:
        bridge.start(view, view.commands.save_to(tmp_path / "b.log", matching=True))
    assert said.args is not None
    assert said.args[0].endswith(" b.log: 11 lines.")
    assert len((tmp_path / "b.log").read_text().splitlines()) == 11

    shares = []

    def told(word: str) -> None:
        shares.append(word)
        if word.startswith("saving"):
            view.commands.save_or_cancel()

    view.commands.worded.connect(told)
    bridge.start(view, view.commands.save_to(tmp_path / "c.log"))
    qtbot.waitUntil(lambda: shares[-1:] == ["not saved"])
    assert sorted(one.name for one in tmp_path.glob("*.log*")) == ["a.log", "b.log"]


@pytest.mark.spec("M6")
def test_go_to_a_time_or_a_line(qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any) -> None:
    write_log("n1", job[1][0], 0, [(*INFO, f"line {n}") for n in range(5000)], start=START, step=1_000_000)
    view = open_log()

    def go(text: str) -> None:
        qtbot.waitUntil(lambda: len(view.findChildren(JumpDialog)) == 1)
        dialog = view.findChildren(JumpDialog)[0]
        dialog.field.setText(text)
        dialog.try_it()
        qtbot.waitUntil(lambda: not view.findChildren(JumpDialog))

    qtbot.keyClick(view.lines, Qt.Key.Key_G, Qt.KeyboardModifier.ControlModifier)
    go("1,235")
    qtbot.waitUntil(lambda: current(view) == "line 1234")
    local = (START + dt.timedelta(seconds=4321)).astimezone()
    view.commands.ask_place()
    go(local.strftime("%Y-%m-%d %H:%M:%S"))
    qtbot.waitUntil(lambda: current(view) == "line 4321")
    view.commands.ask_place()
    go(local.replace(second=0).strftime("%H:%M"))  # of that day
    qtbot.waitUntil(lambda: current(view) == f"line {4321 - local.second}")


@pytest.mark.spec("M6")
def test_times_of_day_or_since_the_start_and_it_is_remembered(
    qtbot: QtBot, open_log: Callable[[], LogView], job: Job, database: Any, write_log: Any, tmp_path: Path
) -> None:
    database.sql("postgres", "update qd.job set started = :start where id = :job", start=START, job=job[0])
    write_log("n1", job[1][0], 0, [(*INFO, "x")], start=START + dt.timedelta(hours=30, seconds=1.25))
    settings = Settings(tmp_path / "settings.json")
    times.remember("clock", lambda way: settings.set("log/times", way))
    view = open_log()
    at = next(n for n in range(view.model.total or 0) if texts(view)[n] == "x")
    line = view.model.line(at)
    assert line is not None
    local = (START + dt.timedelta(hours=30, seconds=1.25)).astimezone()
    assert view.model.days  # the job's own lines are of another day
    assert view.model.time_words(line.line) == local.strftime("%Y-%m-%d %H:%M:%S.250")
    action = next(one for one in view.menu.actions() if one.text() == "Time since the Start")
    action.trigger()
    assert view.model.time_words(line.line) == "+30:00:01.250"
    assert settings.text("log/times") == "since"


@pytest.mark.spec("M6", "G2")
def test_while_the_server_is_away_all_stays_and_it_goes_on_by_itself(
    qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log("n1", job[1][0], 0, [(*INFO, f"line {n}") for n in range(300)])
    view = open_log()
    qtbot.waitUntil(lambda: seen(view)[-1:] == ["line 299"])

    def away(*_: Any, **__: Any) -> Any:
        raise Disconnected("The server can't be reached.")

    with monkeypatch.context() as context:
        for name in ("growth", "page", "exists"):
            context.setattr(Log, name, away)
        qtbot.waitUntil(lambda: view.words.text() == "not connected")
        assert seen(view)[-1] == "line 299"
        assert view.words.toolTip() == "The server can't be reached."
        write_log("n1", job[1][0], 300, [(*INFO, "meanwhile")], start=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1))
    qtbot.waitUntil(lambda: seen(view)[-1:] == ["meanwhile"])
    qtbot.waitUntil(lambda: "lines" in view.words.text())


@pytest.mark.spec("M6")
def test_a_deleted_job_is_said(qtbot: QtBot, view: LogView, job: Job, database: Any) -> None:
    for task in job[1]:
        database.end("n1", task)
    database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=job[0])
    qtbot.waitUntil(lambda: view.words.text() == "deleted", timeout=10_000)


@pytest.mark.spec("M6")
def test_nothing_written_yet(qtbot: QtBot, bridge: Bridge, sign_in: Any, database: Any) -> None:
    number = database.submit("alice", 1, name="a run")
    database.sql("postgres", "delete from qd.log_chunk where job_id = :job", job=number)
    client = sign_in()
    view = LogView(client.get(number).job, client, bridge)
    view.show()
    qtbot.waitUntil(lambda: view.model.total == 0)
    assert view.model.empty_words() == "Nothing was written yet."
    view.hide()
    view.deleteLater()


@pytest.mark.spec("M6")
def test_the_whole_line_is_shown_and_what_was_cut_is_put_together(
    qtbot: QtBot, open_log: Callable[[], LogView], job: Job, write_log: Any, bridge: Bridge
) -> None:
    long = "0123456789" * 100_000
    pieces = split_text(long)
    assert len(pieces) == 16
    write_log("n1", job[1][0], 0, [(*INFO, "before"), (*INFO, "short")], start=START)
    write_log("n1", job[1][0], 2, [(*INFO, piece) for piece in pieces], start=START + dt.timedelta(seconds=1), step=0)
    write_log("n1", job[1][0], 18, [(*INFO, "after")], start=START + dt.timedelta(seconds=2))
    view = open_log()
    view.lines.go(10)
    wait(qtbot, view)
    view.lines.setFocus()
    qtbot.keyClick(view.lines, Qt.Key.Key_Return)
    found: list[WholeLine] = []
    qtbot.waitUntil(lambda: bool(found.extend(view.findChildren(WholeLine)) or found))
    assert found[0].text.toPlainText().replace("\n", "") == long
    found[0].reject()


@pytest.mark.spec("M6")
def test_a_window_of_its_own(qtbot: QtBot, bridge: Bridge, sign_in: Any, job: Job, tmp_path: Path) -> None:
    client = sign_in()
    window = LogWindow(client.get(job[0]).job, client, bridge, Settings(tmp_path / "settings.json"))
    window.show()
    qtbot.waitUntil(lambda: window.log.task.count() == 3)
    assert window.log.task.itemText(2) == "second"
    gone = []
    window.destroyed.connect(lambda: gone.append(1))
    qtbot.keyClick(window, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: bool(gone))
