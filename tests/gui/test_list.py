"""A page's list on a real database: check boxes and batch delete, many jobs at once, filters, columns, keys."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QContextMenuEvent, QHelpEvent
from PySide6.QtWidgets import QApplication, QMenu, QToolTip
from pytestqt.qtbot import QtBot

from desktop.models.deletion import Deletion
from desktop.views.job_table import JobTable
from desktop.views.jobs_page import JobsPage
from desktop.views.window import Window
from quarterdeck.job import Action, Job, Origin, Status
from quarterdeck.query import Filter, Sort

LEFT = Qt.MouseButton.LeftButton
NONE = Qt.KeyboardModifier.NoModifier
CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


def listed(page: JobsPage) -> list[int]:
    ids: list[int] = page.model.ids.tolist()
    return ids


def spot(table: JobTable, job: int, key: str) -> QPoint:
    row = table.jobs.find(job)
    assert row is not None
    return table.visualRect(table.jobs.index(row, table.jobs.column(key))).center()


def click(qtbot: QtBot, table: JobTable, job: int, key: str, keys: Qt.KeyboardModifier = NONE) -> None:
    qtbot.mouseClick(table.viewport(), LEFT, keys, spot(table, job, key))


def head_box(page: JobsPage) -> QPoint:
    head = page.table.head
    number = page.model.column("check")
    return QPoint(head.sectionViewportPosition(number) + head.sectionSize(number) // 2, head.height() // 2)


def menu_words(menu: QMenu) -> list[str]:
    return [action.text().split("\t")[0] for action in menu.actions() if action.text()]


def open_menu(table: JobTable, job: int) -> list[str]:
    where = spot(table, job, "creator")
    table.contextMenuEvent(
        QContextMenuEvent(QContextMenuEvent.Reason.Mouse, where, table.viewport().mapToGlobal(where))
    )
    assert table.menu is not None
    return menu_words(table.menu)


def finish(database: Any, job: int, outcome: str = "success") -> None:
    for task in database.tasks(job):
        database.start("n1", task)
        database.end("n1", task, outcome)


# --- check boxes and batch delete (M4) ------------------------------------------------------------------------------


@pytest.mark.spec("M4")
def test_an_admin_checks_jobs_and_deletes_those_that_have_ended(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    won, lost, kept, running = [database.submit("alice", name=name) for name in ("won", "lost", "kept", "running")]
    finish(database, won)
    finish(database, lost, "failed")
    finish(database, kept)
    database.start("n1", database.tasks(running)[0])
    shown: Window = window(sign_in("boss"))
    page = shown.pages[0]
    qtbot.waitUntil(lambda: len(listed(page)) == 4)
    assert page.model.headings[page.table.head.logicalIndex(0)].key == "check"
    assert not page.delete.isEnabled()
    for one in (won, lost, running):
        click(qtbot, page.table, one, "check")
    assert page.delete.text() == "Batch Delete (3)"
    assert page.checks is not None
    assert page.checks.state(4) is Qt.CheckState.PartiallyChecked
    qtbot.mouseClick(page.delete, LEFT)
    qtbot.waitUntil(lambda: len(shown.commands.questions) == 1)
    question = shown.commands.questions[0]
    words = question.words.text()
    assert "1 Success, 1 Failed: they go with their logs, tasks and results." in words
    assert "1 job has not ended and will stay (1 In Progress)." in words
    qtbot.mouseClick(question.keep, LEFT)
    qtbot.waitUntil(lambda: not shown.commands.questions)
    assert len(listed(page)) == 4
    qtbot.mouseClick(page.delete, LEFT)
    qtbot.waitUntil(lambda: len(shown.commands.questions) == 1)
    qtbot.mouseClick(shown.commands.questions[0].yes, LEFT)
    qtbot.waitUntil(lambda: listed(page) == [running, kept])
    qtbot.waitUntil(lambda: "2 jobs were deleted with logs and results" in shown.toast.label.text())
    assert "1 stays, as it has not ended" in shown.toast.label.text()
    assert not page.checks.value
    audit = database.sql("boss", "select actor, job_id from qd.audit where action = 'delete' order by job_id")
    assert [tuple(row) for row in audit] == [("boss", won), ("boss", lost)]
    assert database.value("boss", "select count(*) from qd.task where job_id = any (:ids)", ids=[won, lost]) == 0


@pytest.mark.spec("M4")
def test_the_box_over_the_list_checks_all_that_the_filter_lets_through(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Deletion, "BATCH", 50)
    database.sql(
        "postgres",
        "insert into qd.job (kind, name, creator, status, created) select 'factor', 'job ' || n, 'alice',"
        " (array['success', 'failed'])[1 + n % 2], timestamptz '2024-01-01 00:00+00' + n * interval '1 s'"
        " from generate_series(1, 400) as n",
    )
    shown: Window = window(sign_in("boss"))
    page = shown.pages[0]
    page.filters.say("status:failed")
    qtbot.waitUntil(lambda: page.model.complete and len(listed(page)) == 200)
    qtbot.mouseClick(page.table.head.viewport(), LEFT, pos=head_box(page))
    assert page.delete.text() == "Batch Delete (200)"
    assert page.model.order == Sort()  # it was no click on a heading
    spared = listed(page)[1]
    click(qtbot, page.table, spared, "check")
    assert page.delete.text() == "Batch Delete (199)"
    late = database.submit("alice", name="late")
    finish(database, late, "failed")
    qtbot.waitUntil(lambda: late in listed(page))
    qtbot.mouseClick(page.delete, LEFT)
    qtbot.waitUntil(lambda: len(shown.commands.questions) == 1)
    question = shown.commands.questions[0]
    assert "199 Failed" in question.words.text()
    qtbot.mouseClick(question.yes, LEFT)
    qtbot.waitUntil(lambda: listed(page) == [late, spared], timeout=20_000)
    qtbot.waitUntil(lambda: not page.progress.isVisible())
    page.filters.clear()
    qtbot.waitUntil(lambda: page.model.complete and len(listed(page)) == 202)


@pytest.mark.spec("M4", "M8")
def test_space_and_shift_check_several_and_another_filter_unchecks_them(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    ids = [database.submit("alice", name=f"job {n}") for n in range(6)]
    page = window(sign_in("boss")).pages[0]
    qtbot.waitUntil(lambda: len(listed(page)) == 6)
    assert page.checks is not None
    click(qtbot, page.table, ids[4], "check")
    click(qtbot, page.table, ids[2], "check", SHIFT)
    assert page.checks.value.ids == {ids[4], ids[3], ids[2]}
    assert page.table.selected.count() == 0
    page.table.selected.choose(0)
    qtbot.keyClick(page.table, Qt.Key.Key_Space)
    assert page.checks.value.ids == {ids[5], ids[4], ids[3], ids[2]}
    qtbot.keyClick(page.table, Qt.Key.Key_Space)
    assert page.checks.value.ids == {ids[4], ids[3], ids[2]}
    page.filters.say("job")
    assert not page.checks.value


@pytest.mark.spec("M4", "M7")
def test_a_job_that_leaves_the_list_is_checked_no_more(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    ids = [database.submit("alice") for _ in range(3)]
    page = window(sign_in("boss")).pages[0]
    page.filters.say("status:queued")
    qtbot.waitUntil(lambda: page.model.complete and listed(page) == ids[::-1])
    assert page.checks is not None
    for job in ids[:2]:
        click(qtbot, page.table, job, "check")
    assert page.delete.text() == "Batch Delete (2)"
    database.start("n1", database.tasks(ids[0])[0])
    qtbot.waitUntil(lambda: listed(page) == [ids[2], ids[1]])
    assert page.checks.value.ids == {ids[1]}
    assert page.delete.text() == "Batch Delete (1)"
    page.table.selectAll()
    assert page.total.text() == "2 of 2 jobs selected"


@pytest.mark.spec("M4", "R2", "R3")
def test_a_regular_user_has_no_check_boxes_and_no_batch_delete(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    job = database.submit("alice")
    shown: Window = window(sign_in())
    page = shown.pages[0]
    qtbot.waitUntil(lambda: listed(page) == [job])
    assert page.checks is None
    assert page.model.column("check") == -1
    assert page.delete.isHidden()
    page.table.selectRow(0)
    qtbot.keyClick(page.table, Qt.Key.Key_Space)
    assert "Check or Uncheck" not in open_menu(page.table, job)
    page.table.menu.close()
    page._delete()
    assert not shown.commands.questions


# --- many at once (M5) ----------------------------------------------------------------------------------------------


@pytest.mark.spec("M5")
def test_several_jobs_are_terminated_with_one_question_and_refusals_are_told_one_by_one(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    mine, other, third = [database.submit(who, name=name) for who, name in (("alice", "a"), ("bob", "b"), ("bob", "c"))]
    ended = database.submit("alice", name="ended")
    finish(database, ended)
    database.start("n1", database.tasks(mine)[0])
    shown: Window = window(sign_in("boss"))
    page = shown.pages[0]
    qtbot.waitUntil(lambda: len(listed(page)) == 4)
    page.table.setFocus()
    page.table.selectAll()
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: len(shown.commands.questions) == 1)
    words = shown.commands.questions[0].words.text()
    assert "2 Queued, 1 In Progress; 2 of bob and 1 of alice." in words
    assert "1 of the selected jobs has ended or may not be terminated by you" in words
    database.sql("bob", "select qd.terminate_job(cast(:job as bigint))", job=other)
    qtbot.mouseClick(shown.commands.questions[0].yes, LEFT)
    qtbot.waitUntil(lambda: len(shown.commands.many.outcomes) == 1)
    outcome = shown.commands.many.outcomes[0]
    assert outcome.text.toPlainText() == f"“b”: Job {other} has already ended (failed)."
    ends = dict(database.sql("boss", "select id, terminated_by from qd.job"))
    assert ends == {mine: "boss", other: "bob", third: "boss", ended: None}
    outcome.accept()
    qtbot.waitUntil(lambda: not shown.commands.many.outcomes)


@pytest.mark.spec("M5", "M3")
def test_a_regular_user_terminates_several_of_his_own_only(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    public = database.submit("alice", public=True)
    own = [database.submit("bob", name=f"own {n}") for n in range(2)]
    shown: Window = window(sign_in("bob"))
    page = shown.pages[0]
    qtbot.waitUntil(lambda: len(listed(page)) == 3)
    click(qtbot, page.table, own[1], "creator")
    click(qtbot, page.table, public, "creator", SHIFT)
    assert page.table.selected.ids() == [own[1], own[0], public]
    assert "Terminate 3 Jobs…" in open_menu(page.table, public)
    page.table.menu.close()
    page.table.act_on_selected(Action.TERMINATE)
    qtbot.waitUntil(lambda: len(shown.commands.questions) == 1)
    assert "2 of yours" in shown.commands.questions[0].words.text()
    qtbot.mouseClick(shown.commands.questions[0].yes, LEFT)
    qtbot.waitUntil(lambda: shown.toast.label.text() == "2 jobs are terminated: nothing of them ran.")
    assert database.value("boss", "select status from qd.job where id = :job", job=public) == "queued"


# --- filters (M8) ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("M8", "Y8")
def test_the_line_and_the_menus_say_the_same(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    ids = [database.submit(who, name=f"{who} {n}", public=True) for n in range(2) for who in ("alice", "bob")]
    finish(database, ids[0], "failed")
    finish(database, ids[1], "failed")
    page = window(sign_in()).pages[0]
    bar = page.filters
    qtbot.waitUntil(lambda: len(listed(page)) == 4)
    bar.status.tick("failed", True)
    assert bar.text.text() == "status:failed"
    qtbot.waitUntil(lambda: listed(page) == [ids[1], ids[0]])
    bar.text.setText("status:failed,queued -creator:me")
    qtbot.waitUntil(lambda: listed(page) == [ids[3], ids[1]])
    assert bar.status.values == {"failed", "queued"}
    assert bar.creator.text() == "Creator: not alice (me)"
    bar.status.tick("failed", False)
    assert bar.text.text() == "status:queued -creator:me"
    qtbot.waitUntil(lambda: listed(page) == [ids[3]])
    bar.node.tick("n1", True)
    bar.origin.tick("batch", True)
    assert bar.filter() == Filter(
        statuses=frozenset({Status.QUEUED}),
        not_creators=frozenset({"alice"}),
        nodes=frozenset({"n1"}),
        origins=frozenset({Origin.BATCH}),
    )
    qtbot.mouseClick(bar.clear_button, LEFT)
    assert (bar.text.text(), bar.filter()) == ("", Filter())
    qtbot.waitUntil(lambda: len(listed(page)) == 4)


@pytest.mark.spec("M8")
def test_a_range_of_time_by_menu_and_by_dialog(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    old, new = database.submit("alice"), database.submit("alice")
    database.sql("postgres", "update qd.job set created = created - interval '3 days' where id = :job", job=old)
    page = window(sign_in()).pages[0]
    bar = page.filters
    qtbot.waitUntil(lambda: len(listed(page)) == 2)
    bar._times.aboutToShow.emit()
    actions = {action.text(): action for action in bar._times.actions()}
    actions["Last day"].trigger()
    assert (bar.text.text(), bar.time.text()) == ("last:1d", "Last day")
    qtbot.waitUntil(lambda: listed(page) == [new])
    actions["From … To …"].trigger()
    assert bar.dialog is not None
    since, until = (bar.dialog._ends[key][0] for key in ("since", "until"))
    assert since.isChecked()
    since.setChecked(False)
    until.setChecked(True)
    edit = bar.dialog._ends["until"][1]
    edit.setDateTime(edit.dateTime().addDays(-1))
    limit = dt.datetime.now().astimezone() - dt.timedelta(days=1)
    bar.dialog.accept()
    assert bar.text.text() == f"until:{edit.dateTime().toString('yyyy-MM-ddTHH:mm')}"
    found = bar.filter()
    assert found.since is None
    assert found.until is not None
    assert abs(found.until - limit) < dt.timedelta(minutes=2)
    qtbot.waitUntil(lambda: listed(page) == [old])


@pytest.mark.spec("M8", "G4")
def test_a_line_that_can_not_be_read_says_why_and_changes_nothing(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    job = database.submit("alice", name="momentum")
    page = window(sign_in()).pages[0]
    bar = page.filters
    qtbot.waitUntil(lambda: listed(page) == [job])
    page.filters.text.setFocus()
    with qtbot.assertNotEmitted(bar.changed, wait=50):
        bar.text.setText("stats:failed")
        qtbot.keyClick(bar.text, Qt.Key.Key_Return)
    assert bar.trouble.isVisible()
    assert bar.trouble.text().startswith("There is no filter 'stats' (column 1); did you mean 'status'?")
    assert listed(page) == [job]
    bar.text.setText("moment")
    qtbot.waitUntil(lambda: not bar.trouble.isVisible())
    assert not bar.text.property("wrong")
    assert bar.filter() == Filter(text="moment")


@pytest.mark.spec("Y8")
def test_words_are_completed_as_they_are_typed(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    page = window(sign_in()).pages[0]
    bar = page.filters
    bar.text.setFocus()
    qtbot.keyClicks(bar.text, "sta")
    popup = bar._completer.popup()
    assert popup is not None
    assert popup.isVisible()
    popup.setCurrentIndex(popup.model().index(0, 0))
    qtbot.keyClick(popup, Qt.Key.Key_Return)
    assert bar.text.text() == "status:"
    bar._completer.activated.emit("failed")
    assert bar.text.text() == "status:failed "
    qtbot.waitUntil(lambda: bar.filter() == Filter(statuses=frozenset({Status.FAILED})))
    popup.hide()


@pytest.mark.spec("M8")
def test_filter_sort_and_columns_are_remembered_between_starts(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    ids = [database.submit("alice", name=name) for name in ("beta", "alpha", "gamma", "other")]
    client = sign_in()
    first: Window = window(client)
    page = first.pages[0]
    head = page.table.head
    qtbot.waitUntil(lambda: len(listed(page)) == 4)
    page.filters.say("-other")
    head.setSortIndicator(page.model.column("name"), Qt.SortOrder.AscendingOrder)
    qtbot.waitUntil(lambda: listed(page) == [ids[1], ids[0], ids[2]])
    head.moveSection(head.visualIndex(page.model.column("creator")), 1)
    head._show_column(page.model.column("subject"), False)
    head.chosen = True
    head.resizeSection(page.model.column("name"), 333)
    first.remember()
    first.hide()
    again: Window = window(sign_in())
    page = again.pages[0]
    qtbot.waitUntil(lambda: listed(page) == [ids[1], ids[0], ids[2]])
    head = page.table.head
    assert page.filters.text.text() == "-other"
    assert page.model.order == Sort("name", descending=False)
    assert head.sortIndicatorSection() == page.model.column("name")
    keys = [page.model.headings[head.logicalIndex(place)].key for place in range(3)]
    assert keys == ["name", "creator", "subject"]
    assert head.isSectionHidden(page.model.column("subject"))
    assert head.sectionSize(page.model.column("name")) == 333
    head._reset()
    assert not head.isSectionHidden(page.model.column("subject"))
    assert head.visualIndex(page.model.column("subject")) == 1


# --- keys, links, reasons -------------------------------------------------------------------------------------------


@pytest.mark.spec("M8")
def test_selected_rows_are_copied_as_lines_with_headings(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    database.submit("alice", name="one", subject="alpha\tbeta")
    database.submit("alice", name="two")
    shown: Window = window(sign_in())
    page = shown.pages[0]
    qtbot.waitUntil(lambda: len(listed(page)) == 2)
    head = page.table.head
    for key in ("run_time", "started", "origin", "nodes"):
        head._show_column(page.model.column(key), False)
    head.moveSection(head.visualIndex(page.model.column("creator")), 0)
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_A, CTRL)
    assert page.table.selected.count() == 2
    qtbot.keyClick(page.table, Qt.Key.Key_C, CTRL)
    qtbot.waitUntil(lambda: "2 rows are copied" in shown.toast.label.text())
    assert QApplication.clipboard().text().split("\n") == [
        "Creator\tTest Name\tFactor Name\tStatus",
        "alice\ttwo\t\tQueued",
        "alice\tone\talpha beta\tQueued",
    ]


@pytest.mark.spec("M8", "N1")
def test_letters_typed_over_a_long_list_ask_no_row_for_its_words(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.sql(
        "postgres",
        "insert into qd.job (kind, name, creator, status) select 'factor', 'job ' || n, 'alice', 'success'"
        " from generate_series(1, 3000) as n",
    )
    page = window(sign_in()).pages[0]
    qtbot.waitUntil(lambda: page.model.complete and page.model.row(5) is not None)
    page.table.selected.choose(5)
    asked: list[int] = []
    monkeypatch.setattr(page.model, "missed", asked.append)
    qtbot.keyClicks(page.table, "zz")
    qtbot.mouseDClick(
        page.table.head.viewport(),
        LEFT,
        pos=QPoint(page.table.head.sectionViewportPosition(1) - 1, page.table.head.height() // 2),
    )
    page.table.selectAll()
    page.table.repaint()
    assert page.table.currentIndex().row() == 5
    assert page.table.selected.count() == 3000
    assert not asked


@pytest.mark.spec("M1")
def test_the_mark_of_a_workflows_job_leads_to_the_workflow(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    flow = database.submit("alice", kind="workflow", name="nightly")
    job = database.submit("alice", name="step")
    database.sql("postgres", "update qd.job set workflow_id = :flow where id = :job", flow=flow, job=job)
    shown: Window = window(sign_in())
    page = shown.pages[0]
    qtbot.waitUntil(lambda: listed(page) == [job])
    assert f"Open Workflow {flow}" in open_menu(page.table, job)
    page.table.menu.close()
    row = page.model.find(job)
    assert row is not None
    rect = page.table.visualRect(page.model.index(row, page.model.column("name")))
    qtbot.mouseClick(page.table.viewport(), LEFT, pos=page.table.cells.mark(rect).center())
    flows = next(one for one in shown.pages if one.kind.key == "workflow")
    qtbot.waitUntil(lambda: flows.details is not None)
    assert flows.details.model.job.id == flow
    assert page.details is None


@pytest.mark.spec("S1")
def test_a_queued_job_says_why_it_waits(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice", [{"name": "one", "queue": "label:gpu"}])
    page = window(sign_in()).pages[0]
    qtbot.waitUntil(lambda: listed(page) == [job])
    where = spot(page.table, job, "status")
    screen = page.table.viewport().mapToGlobal(where)
    QApplication.sendEvent(page.table.viewport(), QHelpEvent(QHelpEvent.Type.ToolTip, where, screen))
    qtbot.waitUntil(lambda: QToolTip.text() == "Waits for a node with gpu: none is up")
    QToolTip.hideText()
    open_menu(page.table, job)
    menu = page.table.menu
    assert menu is not None
    qtbot.waitUntil(lambda: menu_words(menu)[0] == "Waits for a node with gpu: none is up")
    menu.close()


@pytest.mark.spec("M7", "M8")
def test_selection_follows_its_jobs_while_they_move(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    ids = [database.submit("alice", name=f"job {n}") for n in range(5)]
    page = window(sign_in()).pages[0]
    page.model.choose(Filter(), Sort("status", descending=False))
    qtbot.waitUntil(lambda: page.model.complete and listed(page) == ids)
    page.table.selected.select_rows([(1, 2)])
    chosen = page.table.selected.ids()
    finish(database, ids[1])
    finish(database, ids[4])
    qtbot.waitUntil(lambda: listed(page) == [ids[0], ids[2], ids[3], ids[1], ids[4]])
    assert set(page.table.selected.ids()) == set(chosen)

    def current() -> Job | None:
        return page.table.current_job()

    page.table.selectRow(3)
    job = current()
    assert job is not None
    assert job.id == ids[1]


@pytest.mark.spec("M8")
def test_a_menu_stays_open_while_its_entries_are_ticked(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    page = window(sign_in()).pages[0]
    menu = page.filters.status.ticks
    menu.popup(page.mapToGlobal(QPoint(50, 50)))
    entries = {action.text(): action for action in menu.actions()}
    for name in ("Queued", "Failed"):
        qtbot.mouseClick(menu, LEFT, pos=menu.actionGeometry(entries[name]).center())
        assert menu.isVisible()
    assert page.filters.text.text() == "status:failed,queued"
    menu.setActiveAction(entries["Queued"])
    qtbot.keyClick(menu, Qt.Key.Key_Space)
    assert page.filters.text.text() == "status:failed"
    menu.close()
    menu.popup(page.mapToGlobal(QPoint(50, 50)))
    entries = {action.text(): action for action in menu.actions()}
    assert [name for name, action in entries.items() if action.isChecked()] == ["Failed"]
    qtbot.mouseClick(menu, LEFT, pos=menu.actionGeometry(entries["Any"]).center())
    assert not menu.isVisible()
    assert page.filters.text.text() == ""
