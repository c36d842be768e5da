"""The main window on a real database: lists, live changes, rights, actions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QContextMenuEvent
from PySide6.QtWidgets import QMenu
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from desktop.bridge import Bridge
from desktop.models.jobs import JobsModel
from desktop.views.job_table import JobTable
from desktop.views.window import Window
from quarterdeck.job import Action, Job, Status
from quarterdeck.kinds import KINDS
from quarterdeck.query import Filter, Sort

LEFT = Qt.MouseButton.LeftButton

# as the specification has them (M2)
COLUMNS = {
    "Factor": "test name, factor name, status, run time, start time, type, creator, node",
    "Factor Evaluation": "evaluation template, factor name, status, run time, start time, type, creator, node",
    "Strategy Backtest": "strategy name, status, backtest type, run time, backtest time, type, data type, "
    "strategy type, creator, node",
    "Attribution": "attribution template, status, run time, creation time, creator, node",
    "Workflow": "name, status, run time, creation time, creator, node",
    "Data Import": "name, status, run time, start time, creator, node",
    "Visualization Template": "name, status, run time, creation time, data type, creator, node",
}


def rows(table: JobTable) -> list[Job]:
    return [job for n in range(table.jobs.rowCount()) if (job := table.jobs.row(n)) is not None]


def cell(table: JobTable, job: int, key: str) -> QPoint:
    """The middle of what is written in a job's cell."""
    row = table.jobs.find(job)
    assert row is not None
    column = [heading.key for heading in table.jobs.headings].index(key)
    rect = table.visualRect(table.jobs.index(row, column))
    return QPoint(rect.left() + 20, rect.center().y())


def button(table: JobTable, job: int, action: Action) -> QPoint | None:
    row = table.jobs.find(job)
    assert row is not None
    value = table.jobs.row(row)
    assert value is not None
    rect = table.visualRect(table.jobs.index(row, len(table.jobs.headings) - 1))
    return next((area.center() for one, area in table.cells.buttons(rect, value) if one is action), None)


def menu_words(menu: QMenu) -> list[str]:
    return [action.text().split("\t")[0] for action in menu.actions()]


@pytest.mark.spec("M1", "M2")
def test_seven_tabs_with_their_columns_in_order(window: Any, sign_in: Any) -> None:
    shown: Window = window(sign_in())
    titles = [shown.tabs.tabText(number) for number in range(shown.tabs.count())]
    assert titles == list(COLUMNS)
    for page, title in zip(shown.pages, titles, strict=True):
        headings = [heading.title.lower() for heading in page.model.headings if heading.title]
        assert ", ".join(headings) == COLUMNS[title]


@pytest.mark.spec("M1", "M7")
def test_newest_first_and_new_jobs_come_by_themselves(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    first = database.submit("alice", name="one")
    shown: Window = window(sign_in())
    table = shown.pages[0].table
    qtbot.waitUntil(lambda: [job.id for job in rows(table)] == [first])
    second = database.submit("alice", name="two")
    qtbot.waitUntil(lambda: [job.id for job in rows(table)] == [second, first])
    (task,) = database.tasks(second)
    database.start("n1", task)
    qtbot.waitUntil(lambda: rows(table)[0].status is Status.IN_PROGRESS)
    database.end("n1", task)
    qtbot.waitUntil(lambda: rows(table)[0].status is Status.SUCCESS)
    database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=second)
    qtbot.waitUntil(lambda: [job.id for job in rows(table)] == [first])


@pytest.mark.spec("M2")
def test_run_time_counts_while_a_job_runs_and_stands_when_it_ended(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    job = database.submit("alice")
    (task,) = database.tasks(job)
    database.start("n1", task)
    table = window(sign_in()).pages[0].table
    qtbot.waitUntil(lambda: len(rows(table)) == 1)
    column = [heading.key for heading in table.jobs.headings].index("run_time")

    def words() -> str:
        return str(table.jobs.index(0, column).data())

    with qtbot.waitSignals([table.jobs.dataChanged] * 3):
        before = words()
    assert re.fullmatch(r"\d+\.\d\d s", before)
    qtbot.waitUntil(lambda: words() != before)
    database.end("n1", task)
    qtbot.waitUntil(lambda: rows(table)[0].ended is not None)
    assert not table.jobs.tick()


@pytest.mark.spec("M7")
def test_selection_and_scroll_position_stay_with_their_rows(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    ids = [database.submit("alice", name=f"job {n}") for n in range(70)]
    table = window(sign_in()).pages[0].table
    qtbot.waitUntil(lambda: len(rows(table)) == 70)
    table.verticalScrollBar().setValue(307)
    chosen = table.jobs.row(20)
    assert chosen is not None
    table.selectRow(20)
    top = table.jobs.row(table.rowAt(0))
    assert top is not None
    y = table.rowViewportPosition(table.rowAt(0))
    new = [database.submit("alice", name=f"new {n}") for n in range(3)]
    database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=ids[0])
    (task,) = database.tasks(chosen.id)
    database.start("n1", task)
    qtbot.waitUntil(lambda: {job.id for job in rows(table)} >= set(new))
    qtbot.waitUntil(lambda: table.current_job() is not None and table.current_job().status is Status.IN_PROGRESS)
    assert table.current_job().id == chosen.id
    now = table.jobs.row(table.rowAt(0))
    assert now is not None
    assert (now.id, table.rowViewportPosition(table.rowAt(0))) == (top.id, y)


@pytest.mark.spec("M7")
def test_an_open_menu_is_not_disturbed(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice")
    shown: Window = window(sign_in())
    table = shown.pages[0].table
    qtbot.waitUntil(lambda: len(rows(table)) == 1)
    where = cell(table, job, "status")
    table.contextMenuEvent(
        QContextMenuEvent(QContextMenuEvent.Reason.Mouse, where, table.viewport().mapToGlobal(where))
    )
    assert table.menu is not None
    offered = ["Open Details", "Open in New Window", "View Log", "Terminate", "Run Again…", "", "Copy"]
    assert menu_words(table.menu)[1:] == offered  # after the sentence that says why it waits
    with qtbot.waitSignal(shown.live.changed):
        database.submit("alice")
    assert [one.id for one in rows(table)] == [job]
    assert table.menu.isVisible()
    table.menu.close()
    qtbot.waitUntil(lambda: len(rows(table)) == 2)


@pytest.mark.spec("M3", "F1")
def test_a_click_on_the_name_opens_the_details(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice", 3, name="momentum")
    shown: Window = window(sign_in())
    page = shown.pages[0]
    qtbot.waitUntil(lambda: len(rows(page.table)) == 1)
    qtbot.mouseClick(page.table.viewport(), LEFT, pos=cell(page.table, job, "creator"))
    assert page.details is None
    qtbot.mouseClick(page.table.viewport(), LEFT, pos=cell(page.table, job, "name"))
    assert page.details is not None
    details = page.details
    qtbot.waitUntil(lambda: details.model.details is not None)
    assert details.head.title.text() == "momentum"
    assert details.model.tasks.rowCount() == 3
    qtbot.keyClick(details, Qt.Key.Key_Escape)
    qtbot.waitUntil(lambda: page.details is None)
    assert page.currentIndex() == 0


@pytest.mark.spec("M5", "M3")
def test_terminate_asks_and_acts_only_when_confirmed(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice", 2, name="long one")
    database.start("n1", database.tasks(job)[0])
    shown: Window = window(sign_in())
    table = shown.pages[0].table
    qtbot.waitUntil(lambda: len(rows(table)) == 1 and rows(table)[0].status is Status.IN_PROGRESS)

    def ask() -> Any:
        where = button(table, job, Action.TERMINATE)
        assert where is not None
        qtbot.mouseClick(table.viewport(), LEFT, pos=where)
        qtbot.waitUntil(lambda: len(shown.commands.questions) == 1)
        return shown.commands.questions[0]

    question = ask()
    assert "2 tasks" in question.words.text()
    assert "1 running task on 1 node (n1)" in question.words.text()
    assert "1 queued task will not start" in question.words.text()
    assert "becomes Failed" in question.words.text()
    question.reject()
    qtbot.waitUntil(lambda: not shown.commands.questions)
    assert database.value("postgres", "select ending from qd.job where id = :job", job=job) is False
    question = ask()
    qtbot.mouseClick(question.terminate, LEFT)
    qtbot.waitUntil(lambda: rows(table)[0].ending)
    assert database.value("postgres", "select terminated_by from qd.job where id = :job", job=job) == "alice"
    qtbot.waitUntil(lambda: "is ending" in shown.toast.label.text())
    status = [heading.key for heading in table.jobs.headings].index("status")
    assert "ending" in str(table.jobs.index(0, status).data())
    database.end("n1", database.tasks(job)[0], "terminated")
    qtbot.waitUntil(lambda: rows(table)[0].status is Status.FAILED)


@pytest.mark.spec("M3", "R2")
def test_what_a_user_may_not_do_is_not_offered(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    private = database.submit("alice", name="private")
    public = database.submit("alice", name="public", public=True)
    own = database.submit("bob", name="own")
    shown: Window = window(sign_in("bob"))
    page = shown.pages[0]
    qtbot.waitUntil(lambda: [job.id for job in rows(page.table)] == [own, public])
    assert private not in {job.id for job in rows(page.table)}
    assert button(page.table, own, Action.LOG) is not None
    assert button(page.table, own, Action.TERMINATE) is not None
    assert button(page.table, public, Action.LOG) is None
    assert button(page.table, public, Action.TERMINATE) is None
    qtbot.mouseClick(page.table.viewport(), LEFT, pos=cell(page.table, public, "name"))
    assert page.details is None
    for key in (Qt.Key.Key_Return, Qt.Key.Key_Delete):
        qtbot.keyClick(page.table, key)
    qtbot.keyClick(page.table, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    assert page.details is None
    assert not shown.commands.logs
    assert not shown.commands.questions


@pytest.mark.spec("R1")
def test_an_admin_sees_and_may_terminate_all(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice", name="private")
    table = window(sign_in("boss")).pages[0].table
    qtbot.waitUntil(lambda: [one.id for one in rows(table)] == [job])
    assert button(table, job, Action.LOG) is not None
    assert button(table, job, Action.TERMINATE) is not None


@pytest.mark.spec("M3")
def test_keys_open_details_and_log_and_ask_to_terminate(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice")
    shown: Window = window(sign_in())
    page = shown.pages[0]
    qtbot.waitUntil(lambda: len(rows(page.table)) == 1)
    page.table.selectRow(0)
    qtbot.waitUntil(page.table.hasFocus)
    qtbot.keyClick(page.table, Qt.Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    assert list(shown.commands.logs) == [job]
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: len(shown.commands.questions) == 1)
    shown.commands.questions[0].reject()
    qtbot.waitUntil(lambda: not shown.commands.questions)
    shown.activateWindow()
    page.table.setFocus()
    qtbot.waitUntil(page.table.hasFocus)
    qtbot.keyClick(page.table, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: page.details is not None)


@pytest.mark.spec("M7", "G2")
def test_a_lost_connection_shows_a_banner_and_all_is_read_again_afterwards(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    shown: Window = window(sign_in())
    assert shown.banner.isHidden()
    said: list[str | None] = []
    shown.live.connection.connect(said.append)
    database.sql(
        "postgres",
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where usename = 'alice' and application_name = 'quarterdeck feed' and datname = current_database()",
    )
    job = database.submit("alice")
    qtbot.waitUntil(lambda: len(said) >= 2, timeout=15_000)
    assert said[0]
    assert said[-1] is None
    assert shown.banner.isHidden()
    qtbot.waitUntil(lambda: [one.id for one in rows(shown.pages[0].table)] == [job])


@pytest.mark.spec("M8")
def test_filters_and_sorting_are_the_databases(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    names = ["Beta", "alpha", "gamma"]
    ids = {name: database.submit("alice", name=name) for name in names}
    shown: Window = window(sign_in())
    page = shown.pages[0]
    qtbot.waitUntil(lambda: len(rows(page.table)) == 3)
    page.filters.text.setText("ALPH")
    qtbot.waitUntil(lambda: [job.name for job in rows(page.table)] == ["alpha"])
    fresh = database.submit("alice", name="alphabet")
    qtbot.waitUntil(lambda: [job.id for job in rows(page.table)] == [fresh, ids["alpha"]])
    qtbot.mouseClick(page.filters.clear_button, LEFT)
    qtbot.waitUntil(lambda: len(rows(page.table)) == 4)
    page.model.choose(Filter(statuses=frozenset({Status.FAILED})), Sort())
    qtbot.waitUntil(lambda: page.model.rowCount() == 0)
    assert not page.empty.isHidden()
    page.model.choose(Filter(), Sort(column="created", descending=False))
    qtbot.waitUntil(lambda: [job.id for job in rows(page.table)] == [*ids.values(), fresh])


@pytest.mark.spec("M7")
def test_a_job_that_leaves_the_filter_leaves_the_list(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice")
    page = window(sign_in()).pages[0]
    page.model.choose(Filter(statuses=frozenset({Status.QUEUED})), Sort())
    qtbot.waitUntil(lambda: [one.id for one in rows(page.table)] == [job])
    database.start("n1", database.tasks(job)[0])
    qtbot.waitUntil(lambda: page.model.rowCount() == 0)


def test_the_jobs_model_is_sound_through_live_changes(
    qtbot: QtBot, qtmodeltester: ModelTester, database: Any, sign_in: Any, bridge: Bridge
) -> None:
    client = sign_in()
    kind = KINDS[0]
    model = JobsModel(client, bridge, kind)
    ids = [database.submit("alice", name=f"job {n}") for n in range(12)]
    qtmodeltester.check(model)
    model.choose(Filter(), Sort())
    qtbot.waitUntil(lambda: model.rowCount() == 12)
    new = database.submit("alice", name="new")
    database.start("n1", database.tasks(ids[3])[0])
    database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=ids[5])
    model.change(client.by_ids([new, ids[3]]), [ids[5]])
    qtbot.waitUntil(lambda: model.rowCount() == 12 and model.find(ids[5]) is None)
    model.choose(Filter(), Sort(column="name", descending=False))
    qtbot.waitUntil(lambda: model.row(0) is not None and model.row(0).name == "job 0")  # type: ignore[union-attr]
    database.submit("alice", name="a first one")
    model.reread()
    qtbot.waitUntil(lambda: model.row(0) is not None and model.row(0).name == "a first one")  # type: ignore[union-attr]


@pytest.mark.spec("M7")
def test_a_long_list_is_read_where_it_is_looked_at(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, errors: list[BaseException]
) -> None:
    database.sql(
        "postgres",
        "insert into qd.job (kind, name, creator, created) select 'factor', 'job ' || n, 'alice',"
        " timestamptz '2024-01-01 00:00+00' + n * interval '1 s' from generate_series(1, 3000) as n",
    )
    table = window(sign_in()).pages[0].table
    qtbot.waitUntil(lambda: table.jobs.rowCount() == 3000)
    assert len(rows(table)) < 400
    table.scrollToBottom()
    qtbot.waitUntil(lambda: table.jobs.row(2999) is not None)
    assert table.jobs.row(2999).name == "job 1"
    table.verticalScrollBar().setValue(1500 * 30)
    qtbot.waitUntil(lambda: table.jobs.row(1500) is not None)
    assert table.jobs.row(1500).name == "job 1500"
    database.submit("alice", name="new")
    qtbot.waitUntil(lambda: table.jobs.rowCount() == 3001)
    qtbot.waitUntil(lambda: table.jobs.row(table.rowAt(0)) is not None)
    assert table.jobs.row(table.rowAt(0)).name == "job 1500"
    assert not errors


def test_closing_tells_the_program_and_calls_that_run_do_not_hold_it(
    qtbot: QtBot, database: Any, sign_in: Any, bridge: Bridge, tmp_path: Any, loop: Any
) -> None:
    import threading

    from desktop.notices import Notices
    from desktop.settings import Settings

    told: list[bool] = []
    client = sign_in()
    shown = Window(
        client, bridge, None, Notices(), Settings(tmp_path / "s.json"), "test", lambda: told.append(True), lambda: None
    )
    shown.show()
    release, begun = threading.Event(), threading.Event()

    def hang() -> None:
        begun.set()
        release.wait(30)

    task = bridge.start(shown, bridge.call(hang))
    qtbot.waitUntil(begun.is_set)
    shown.close()
    assert told == [True]
    assert shown.isVisible()
    shown.remember()
    closing = loop.create_task(bridge.close())
    qtbot.waitUntil(closing.done, timeout=3000)
    assert task.cancelled()
    shown.hide()
    shown.deleteLater()
    release.set()
    assert (tmp_path / "s.json").exists()
