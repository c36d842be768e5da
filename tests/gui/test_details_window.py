"""Details in windows of their own, and the head of the details: why it waits, who ended it, where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QPushButton
from pytestqt.qtbot import QtBot

from desktop.settings import Settings
from desktop.views.details_page import DetailsPage
from quarterdeck.job import Action, Status
from tests.gui.test_details import opened

LEFT = Qt.MouseButton.LeftButton


def apart(qtbot: QtBot, shown: Any, client: Any, job: int) -> Any:
    """The job's details in a window of their own, read."""
    shown.commands.open_window(client.by_ids([job])[0])
    window = shown.commands.details[job]
    qtbot.waitUntil(lambda: window.page.model.details is not None)
    return window


@pytest.mark.spec("F1", "M7")
def test_windows_are_live_independent_and_one_a_job(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    one, two = database.submit("alice", name="first"), database.submit("alice", name="second")
    client = sign_in()
    shown = window(client)
    first, second = apart(qtbot, shown, client, one), apart(qtbot, shown, client, two)
    assert apart(qtbot, shown, client, one) is first
    assert first.pos() != second.pos()
    assert "first" in first.windowTitle()
    second.page.open_section("log")
    (task,) = database.tasks(one)
    database.start("n1", task)
    qtbot.waitUntil(lambda: first.page.status.accessibleName() == "In Progress")
    assert second.page.status.accessibleName() == "Queued"
    database.end("n1", task, "failed", error="ValueError: no rows")
    qtbot.waitUntil(lambda: first.page.trouble.text() == "ValueError: no rows.")
    assert second.page.trouble.text().startswith("Waits for") or second.page.trouble.text() == "About to start."
    assert second.page.tabs.tabText(second.page.tabs.currentIndex()) == "Execution Log"
    first.close()
    qtbot.waitUntil(lambda: one not in shown.commands.details)
    assert second.isVisible()
    shown.commands.close_all()
    assert shown.commands.details == {}


@pytest.mark.spec("F1")
def test_a_window_has_the_size_that_the_last_one_had(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, tmp_path: Path
) -> None:
    job = database.submit("alice")
    client = sign_in()
    shown = window(client)
    first = apart(qtbot, shown, client, job)
    first.resize(800, 555)
    first.close()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    again = apart(qtbot, shown, client, job)
    assert (again.width(), again.height()) == (800, 555)
    again.close()
    shown.remember()
    assert Settings(tmp_path / "desktop.json").state("details/geometry") is not None


@pytest.mark.spec("F1", "Y8")
def test_the_details_move_into_a_window_and_the_keyboard_goes_through_them(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    job = database.submit("alice")
    shown = window(sign_in())
    details = opened(qtbot, shown, job)
    titles = [details.tabs.tabText(n) for n in range(details.tabs.count())]
    shown.activateWindow()
    qtbot.waitUntil(shown.isActiveWindow)
    details.setFocus()
    qtbot.waitUntil(details.hasFocus)
    qtbot.keyClick(details, Qt.Key.Key_Tab, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: details.tabs.currentIndex() == 1)
    qtbot.mouseClick(details.head.tear, LEFT)
    apart = shown.commands.details[job]
    assert apart.page.tabs.currentIndex() == 1
    assert [apart.page.tabs.tabText(n) for n in range(apart.page.tabs.count())] == titles
    assert apart.page.head.back.isHidden()
    qtbot.keyClick(apart.page, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: job not in shown.commands.details)
    assert shown.pages[0].details is details
    qtbot.keyClick(details, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: shown.pages[0].details is None)


@pytest.mark.spec("S1")
def test_a_queued_job_says_why_it_waits(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice", [{"name": "one", "queue": "label:gpu"}])
    details = opened(qtbot, window(sign_in()), job)
    assert details.trouble.text() == "Waits for a node with gpu: none is up."
    assert details.trouble.objectName() == "banner"
    assert details.head.error.isHidden()


@pytest.mark.spec("M5", "M3")
def test_the_head_says_who_ended_the_job_and_that_a_node_is_out_of_reach(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    job = database.submit("alice")
    (task,) = database.tasks(job)
    database.start("n1", task)
    details = opened(qtbot, window(sign_in()), job)
    assert not details.buttons[Action.TERMINATE].isHidden()
    database.sql("boss", "select qd.terminate_job(cast(:job as bigint))", job=job)
    qtbot.waitUntil(lambda: details.status.accessibleName() == "In Progress (ending)")
    qtbot.waitUntil(lambda: details.buttons[Action.TERMINATE].isHidden())
    qtbot.waitUntil(lambda: "boss asked for its end" in details.head.facts.text())
    database.sql("postgres", "update qd.node set state = 'lost' where name = 'n1'")
    qtbot.waitUntil(lambda: details.trouble.text() == "Ending: node n1 unreachable.")
    database.end("n1", task, "terminated")
    qtbot.waitUntil(lambda: details.model.job.status is Status.FAILED)
    ended = details.model.job.ended.astimezone()
    qtbot.waitUntil(lambda: details.trouble.text() == f"Terminated by boss, {ended:%Y-%m-%d %H:%M:%S}.")


@pytest.mark.spec("X1", "M1")
def test_a_rerun_links_to_its_job_and_a_workflows_job_to_its_workflow(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    first = database.submit("alice", name="first")
    workflow = database.submit("alice", kind="workflow", name="nightly")
    again = database.value(
        "alice",
        "select qd.submit_job('factor', '{}', cast(:facts as jsonb), '[{\"name\": \"t\"}]', '{}', :job)",
        facts=json.dumps({"name": "again"}),
        job=first,
    )
    database.sql("postgres", "update qd.job set workflow_id = :w where id = :j", w=workflow, j=again)
    client = sign_in()
    shown = window(client)
    details = opened(qtbot, shown, again)
    link: QPushButton = details.head.rerun_of
    assert link.text() == f"rerun of job {first}"
    assert details.head.workflow.text() == f"started by workflow {workflow}"
    qtbot.mouseClick(details.head.workflow, LEFT)
    page = next(one for one in shown.pages if one.kind.key == "workflow")
    qtbot.waitUntil(lambda: page.details is not None and page.details.model.job.id == workflow)
    qtbot.mouseClick(link, LEFT)
    qtbot.waitUntil(lambda: shown.pages[0].details is not None and shown.pages[0].details.model.job.id == first)


@pytest.mark.spec("M7")
def test_reading_again_keeps_the_chosen_task_and_section(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    job = database.submit("alice", 30)
    details: DetailsPage = opened(qtbot, window(sign_in()), job)
    details.open_section("tasks")
    view: Any = next(one for one in details.sections if one.section.type == "tasks")
    view.view.selectRow(20)
    chosen = view.view.currentIndex().data()
    view.view.scrollToBottom()
    place = view.view.verticalScrollBar().value()
    tasks = database.tasks(job)
    for task in tasks[:5]:
        database.start("n1", task)
        database.end("n1", task)
    qtbot.waitUntil(lambda: [view.view.model().index(n, 1).data() for n in range(5)] == ["Success"] * 5)
    assert view.view.currentIndex().data() == chosen
    assert view.view.verticalScrollBar().value() == place
    assert details.stack.currentWidget() is view
    assert "5 of 30 tasks ended" in details.head.facts.text()


@pytest.mark.spec("M4", "M7")
def test_a_window_whose_job_is_deleted_says_so_and_offers_to_close(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    job = database.submit("alice")
    (task,) = database.tasks(job)
    database.start("n1", task)
    database.end("n1", task)
    client = sign_in()
    shown = window(client)
    apart_ = apart(qtbot, shown, client, job)
    assert apart_.page.head.close_page.isHidden()
    database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=job)
    qtbot.waitUntil(lambda: "no longer there" in apart_.page.trouble.text())
    qtbot.mouseClick(apart_.page.head.close_page, LEFT)
    qtbot.waitUntil(lambda: job not in shown.commands.details)


@pytest.mark.spec("R2")
def test_a_link_to_a_job_that_is_gone_is_told_in_one_sentence(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, errors: list[BaseException]
) -> None:
    job = database.submit("bob")
    shown = window(sign_in())
    shown.commands.open_job(job)
    qtbot.waitUntil(lambda: len(errors) == 1)
    assert str(errors[0]) == f"Job {job} is no longer there, or its details are not yours to see."


@pytest.mark.spec("F1", "Y8")
def test_ctrl_click_and_ctrl_enter_open_details_in_a_window(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    one, two = database.submit("alice", name="first"), database.submit("alice", name="second")
    shown = window(sign_in())
    page = shown.pages[0]
    qtbot.waitUntil(lambda: page.model.find(one) is not None and page.model.find(two) is not None)
    shown.activateWindow()
    qtbot.waitUntil(shown.isActiveWindow)
    table = page.table
    table.setFocus()
    table.selectRow(page.model.find(one))
    qtbot.keyClick(table, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: one in shown.commands.details)
    assert page.details is None
    name = next(n for n, heading in enumerate(page.model.headings) if heading.key == "name")
    cell = table.visualRect(page.model.index(page.model.find(two), name))
    where = cell.center()
    where.setX(cell.left() + 14)
    handle = shown.windowHandle()
    place = table.viewport().mapTo(shown, where)
    QTest.mouseClick(handle, LEFT, Qt.KeyboardModifier.ControlModifier, place)
    qtbot.waitUntil(lambda: two in shown.commands.details)
    assert page.details is None
