"""The audit's page on a real database: newest first, live, narrowed, copied, exported; for admins only."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from desktop.bridge import Bridge
from desktop.models.audit import AuditModel
from desktop.views.audit_page import AuditPage
from desktop.views.window import Window
from quarterdeck.audit import Selection
from quarterdeck.errors import Refused

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(autouse=True)
def _empty(database: Any) -> None:
    """Nothing is recorded yet."""
    database.sql("postgres", "truncate qd.audit restart identity")


def fill(database: Any, count: int) -> None:
    """Records 1 to `count` of three people about jobs of the same numbers, a second after another in 2024."""
    database.sql(
        "postgres",
        "insert into qd.audit (at, actor, action, job_id, detail) select timestamptz '2024-05-01 09:00Z'"
        " + n * interval '1 s', (array['alice', 'bob', 'boss'])[1 + n % 3], (array['terminate', 'delete'])[1 + n % 2],"
        " n, jsonb_build_object('kind', 'factor', 'name', 'job ' || n, 'creator', 'alice')"
        " from generate_series(1, :count) as n",
        count=count,
    )


def opened(qtbot: QtBot, window: Any, sign_in: Any, user: str = "boss") -> tuple[Window, AuditPage]:
    shown: Window = window(sign_in(user))
    qtbot.mouseClick(shown.audit_button, LEFT)
    page = shown.audit
    assert page is not None
    qtbot.waitUntil(lambda: page.model.read)
    return shown, page


def jobs(page: AuditPage) -> list[int | None]:
    rows = [page.model.row(n) for n in range(page.model.rowCount())]
    return [row.job_id for row in rows if row is not None]


def cells(page: AuditPage, row: int) -> list[str]:
    return [str(page.model.index(row, n).data()) for n in range(page.model.columnCount())]


def place(page: AuditPage, row: int, key: str) -> QPoint:
    column = [heading.key for heading in page.model.headings].index(key)
    rect = page.table.visualRect(page.model.index(row, column))
    return QPoint(rect.left() + 12, rect.center().y())


@pytest.mark.spec("M4", "M5", "M7")
def test_acts_appear_by_themselves_newest_first(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    _, page = opened(qtbot, window, sign_in)
    assert page.model.rowCount() == 0
    assert page.empty.text() == "Nothing is recorded yet."
    assert not page.empty.isHidden()
    job = database.submit("alice", name="long one")
    database.sql("alice", "select qd.terminate_job(:job)", job=job)
    qtbot.waitUntil(lambda: jobs(page) == [job], timeout=4000)
    database.sql("boss", "select qd.delete_jobs(:jobs)", jobs=[job])
    qtbot.waitUntil(lambda: jobs(page) == [job, job], timeout=4000)
    assert cells(page, 0)[1:] == ["boss", "Delete job", str(job), "long one", "factor of alice, was failed"]
    assert cells(page, 1)[1:] == ["alice", "Terminate job", str(job), "long one", "factor of alice, was queued"]
    assert page.total.text() == "2 records"
    assert page.empty.isHidden()


@pytest.mark.spec("M7", "M8")
def test_a_long_audit_is_read_where_it_is_looked_at_and_stands_still_when_it_grows(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    fill(database, 3000)
    _, page = opened(qtbot, window, sign_in)
    qtbot.waitUntil(lambda: page.model.rowCount() == 3000)
    assert len(jobs(page)) < 400
    page.table.scrollToBottom()
    qtbot.waitUntil(lambda: page.model.row(2999) is not None)
    assert page.model.row(2999).job_id == 1
    page.table.verticalScrollBar().setValue(1500 * 30 + 11)
    qtbot.waitUntil(lambda: page.model.row(page.table.rowAt(0)) is not None)
    top = page.model.row(page.table.rowAt(0))
    page.table.selectRow(1503)
    chosen = page.model.row(1503)
    assert (top.job_id, chosen.job_id) == (1500, 1497)
    y = page.table.rowViewportPosition(page.table.rowAt(0))
    database.sql("postgres", "insert into qd.audit (actor, action, job_id) values ('bob', 'delete', 9001)")
    qtbot.waitUntil(lambda: page.model.rowCount() == 3001, timeout=4000)
    assert page.model.row(0).job_id == 9001
    now = page.model.row(page.table.rowAt(0))
    assert (now.job_id, page.table.rowViewportPosition(page.table.rowAt(0))) == (1500, y)
    assert [entry.job_id for entry in page.table.selected()] == [1497]
    page.table.verticalScrollBar().setValue(800 * 30)
    qtbot.waitUntil(lambda: page.model.row(800) is not None)
    assert page.model.row(800).job_id == 3000 - 799


@pytest.mark.spec("M8")
def test_it_is_narrowed_by_person_action_job_time_and_text(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    fill(database, 12)
    _, page = opened(qtbot, window, sign_in)
    qtbot.waitUntil(lambda: page.model.rowCount() == 12)

    def choose(box: Any, words: str) -> None:
        number = box.findText(words)
        assert number >= 0, [box.itemText(n) for n in range(box.count())]
        box.setCurrentIndex(number)
        box.activated.emit(number)

    choose(page.person, "bob")
    qtbot.waitUntil(lambda: jobs(page) == [10, 7, 4, 1])
    choose(page.action, "Terminate job")
    qtbot.waitUntil(lambda: jobs(page) == [10, 4])
    assert not page.clear.isHidden()
    # what comes and does not match stays out, what matches comes in
    database.sql("postgres", "insert into qd.audit (actor, action, job_id) values ('boss', 'terminate', 70)")
    database.sql("postgres", "insert into qd.audit (actor, action, job_id) values ('bob', 'terminate', 71)")
    qtbot.waitUntil(lambda: jobs(page) == [71, 10, 4], timeout=4000)
    qtbot.mouseClick(page.clear, LEFT)
    qtbot.waitUntil(lambda: page.model.rowCount() == 14)
    qtbot.keyClicks(page.job, "7")
    qtbot.waitUntil(lambda: jobs(page) == [7])
    page.job.clear()
    page.text.setText("JOB 1")
    qtbot.waitUntil(lambda: jobs(page) == [12, 11, 10, 1])
    page.text.clear()
    choose(page.span, "Last hour")
    qtbot.waitUntil(lambda: jobs(page) == [71, 70])
    choose(page.span, "Between…")
    assert not page.since.isHidden()
    page.since.setDateTime(page.since.dateTime().fromSecsSinceEpoch(1_714_554_000))  # 2024-05-01 09:00 UTC
    page.until.setDateTime(page.until.dateTime().fromSecsSinceEpoch(1_714_554_000 + 5))
    qtbot.waitUntil(lambda: jobs(page) == [4, 3, 2, 1])
    page.text.setText("nothing like it")
    qtbot.waitUntil(lambda: page.model.rowCount() == 0)
    assert page.empty.text() == "Nothing matches these filters."
    assert not page.save.isEnabled()
    qtbot.mouseClick(page.clear, LEFT)
    qtbot.waitUntil(lambda: page.model.rowCount() == 14)
    assert page.since.isHidden()


@pytest.mark.spec("M8")
def test_records_are_copied_and_exported(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, bridge: Bridge, tmp_path: Path
) -> None:
    fill(database, 250)
    shown, page = opened(qtbot, window, sign_in)
    qtbot.waitUntil(lambda: page.model.rowCount() == 250)
    page.table.selectRow(0)
    page.table.setFocus()
    qtbot.waitUntil(page.table.hasFocus)
    qtbot.keyClick(page.table, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClick(page.table, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    lines = [line.split("\t")[1:] for line in QGuiApplication.clipboard().text().splitlines()]
    assert lines == [
        ["bob", "Terminate job", "250", "job 250", "factor of alice"],
        ["alice", "Delete job", "249", "job 249", "factor of alice"],
    ]
    page.model.choose(Selection(person="boss"))
    qtbot.waitUntil(lambda: page.model.rowCount() == 83)
    bridge.start(page, page.export(tmp_path / "audit.csv"))
    qtbot.waitUntil(lambda: shown.toast.label.text() == "83 records of the audit are saved as audit.csv.")
    with (tmp_path / "audit.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["job"]) for row in rows] == list(range(248, 0, -3))
    assert {row["person"] for row in rows} == {"boss"}


@pytest.mark.spec("M3")
def test_a_click_on_a_job_opens_it_and_says_when_it_is_gone(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    stays, goes = database.submit("alice", name="stays"), database.submit("alice", name="goes")
    for job in (stays, goes):
        database.sql("alice", "select qd.terminate_job(:job)", job=job)
    database.sql("boss", "select qd.delete_jobs(:jobs)", jobs=[goes])
    shown, page = opened(qtbot, window, sign_in)
    assert jobs(page) == [goes, goes, stays]
    qtbot.mouseClick(page.table.viewport(), LEFT, pos=place(page, 0, "job"))  # the deletion itself: no link
    assert shown.stack.currentWidget() is page
    page.table.selectRow(1)
    page.table.open_current()
    qtbot.waitUntil(lambda: shown.toast.label.text() == f"Job {goes} is not there any more: it was deleted.")
    page.table.selectRow(2)
    page.table.open_current()
    qtbot.waitUntil(lambda: shown.stack.currentWidget() is shown.pages[0])
    assert shown.pages[0].details is not None


@pytest.mark.spec("R2", "R3")
def test_the_model_shows_a_user_nothing(
    qtbot: QtBot, database: Any, sign_in: Any, bridge: Bridge, errors: list[BaseException]
) -> None:
    fill(database, 3)
    model = AuditModel(sign_in("alice"), bridge)
    model.choose(Selection())
    qtbot.waitUntil(lambda: len(errors) == 1)
    assert isinstance(errors[0], Refused)
    assert model.rowCount() == 0


def test_the_audit_model_is_sound_while_it_grows(
    qtbot: QtBot, qtmodeltester: ModelTester, database: Any, sign_in: Any, bridge: Bridge
) -> None:
    fill(database, 145)
    insert = "insert into qd.audit (id, actor, action) overriding system value select n, 'bob', 'delete' from unnest"
    database.sql("postgres", f"{insert}(array[156, 157, 158, 159, 160]) as n")
    model = AuditModel(sign_in("boss"), bridge)
    qtmodeltester.check(model)
    model.choose(Selection())
    qtbot.waitUntil(lambda: model.rowCount() == 150)
    # a record that is committed later than its number says comes to its place
    database.sql("postgres", f"{insert}(array[150, 170]) as n")
    model.refresh()
    qtbot.waitUntil(lambda: model.rowCount() == 152)
    assert [model.row(n).id for n in range(8)] == [170, 160, 159, 158, 157, 156, 150, 145]
    assert model.data(model.index(151, 0)) is not None
    qtbot.waitUntil(lambda: model.row(151) is not None)
    assert model.row(151).id == 1
