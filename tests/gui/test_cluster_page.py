"""The cluster's page on a real database: nodes, what runs and waits, draining, rights; the window around it."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction, QContextMenuEvent, QGuiApplication, QShortcut
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from desktop import theme
from desktop.bridge import Bridge
from desktop.models.nodes import ClusterModel, Others, ago, memory_text
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.views.about import KEYS, AboutDialog, KeysDialog, components, notice
from desktop.views.cluster_page import ClusterPage, DrainDialog
from desktop.views.link_table import LinkTable
from desktop.views.window import Window
from quarterdeck import cluster as clusters
from quarterdeck.client import Client
from quarterdeck.errors import Refused

LEFT = Qt.MouseButton.LeftButton
NOW = dt.datetime(2026, 5, 1, 12, 0, tzinfo=dt.UTC)


@pytest.fixture(autouse=True)
def _nodes(database: Any) -> None:
    """n1 is up with two slots; n2 is down."""
    up(database)


def up(database: Any, node: str = "n1", slots: int = 2, load: float = 0.5) -> None:
    database.sql(f"node_{node}", "select qd.register_node(:s, '{gpu}', 'box', '1.2', 8, 16000000000)", s=slots)
    database.sql(f"node_{node}", "select qd.node_heartbeat(:load, 4000000000)", load=load)


def opened(qtbot: QtBot, window: Any, client: Client, *, live: bool = True) -> tuple[Window, ClusterPage]:
    shown: Window = window(client, live=live)
    qtbot.mouseClick(shown.nodes_button, LEFT)
    qtbot.waitUntil(lambda: shown.cluster.model.seen is not None)
    return shown, shown.cluster


def words(table: LinkTable, row: int, key: str) -> str:
    column = [heading.key for heading in table.rows.headings].index(key)
    return str(table.rows.index(row, column).data())


def place(table: LinkTable, row: int, key: str) -> QPoint:
    column = [heading.key for heading in table.rows.headings].index(key)
    rect = table.visualRect(table.rows.index(row, column))
    return QPoint(rect.left() + 20, rect.center().y())


@pytest.mark.spec("Y6", "M1")
def test_nodes_show_state_slots_load_memory_and_labels(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    database.start("n1", database.tasks(database.submit("alice"))[0])
    up(database, load=1.5)
    shown, page = opened(qtbot, window, sign_in())
    told = {key: words(page.nodes, 0, key) for key in ("name", "state", "slots", "load", "memory", "labels", "host")}
    assert told == {
        "name": "n1",
        "state": "Up",
        "slots": "1 of 2",
        "load": "1.50 of 8",
        "memory": "12.0 GB of 16.0 GB",
        "labels": "gpu",
        "host": "box",
    }
    assert words(page.nodes, 1, "state") == "Down"
    assert words(page.nodes, 1, "load") == words(page.nodes, 1, "memory") == "—"
    assert re.fullmatch(r"\d s ago", words(page.nodes, 0, "heartbeat"))
    assert "1 up, 1 down" in page.summary.text()
    assert "1 of 2 slots in use" in page.summary.text()
    assert shown.tabs.count() == 7  # a place of its own, no eighth tab


@pytest.mark.spec("Y6", "M7")
def test_what_runs_comes_and_goes_within_a_second_without_a_click(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    job = database.submit("alice", 2, name="momentum")
    _, page = opened(qtbot, window, sign_in())
    qtbot.waitUntil(lambda: page.waiting.rows.rowCount() == 1)
    assert (words(page.waiting, 0, "name"), words(page.waiting, 0, "tasks")) == ("momentum", "2")
    assert words(page.waiting, 0, "reason") == "About to start"
    for task, ordinal in zip(database.tasks(job), (0, 1), strict=True):
        database.start("n1", task)
        begun = time.monotonic()
        qtbot.waitUntil(lambda n=ordinal: page.running.rows.rowCount() == n + 1, timeout=1000)
        assert time.monotonic() - begun < 1
    assert [words(page.running, n, "task") for n in (0, 1)] == ["task 0", "task 1"]
    assert words(page.running, 0, "job") == "momentum"
    qtbot.waitUntil(lambda: words(page.nodes, 0, "slots") == "2 of 4" and page.waiting.rows.rowCount() == 0)
    before = words(page.running, 0, "run_time")
    qtbot.waitUntil(lambda: words(page.running, 0, "run_time") != before)
    for task in database.tasks(job):
        database.end("n1", task)
    qtbot.waitUntil(lambda: page.running.rows.rowCount() == 0, timeout=1000)
    assert not page.idle.isHidden()


@pytest.mark.spec("Y6", "M7", "R2")
def test_others_private_tasks_are_only_a_number_and_come_by_the_poll(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    """No notification tells alice of bob's private job."""
    _, page = opened(qtbot, window, sign_in("alice"))
    tasks = database.tasks(database.submit("bob", 2, name="secret of bob"))
    database.start("n1", tasks[0])
    qtbot.waitUntil(lambda: page.running.rows.rowCount() == 1, timeout=3000)
    (row,) = [page.running.rows.row(0)]
    assert row == Others("n1", 1)
    assert words(page.running, 0, "job") == "1 task of others"
    database.start("n1", tasks[1])
    qtbot.waitUntil(lambda: words(page.running, 0, "job") == "2 tasks of others", timeout=3000)
    assert words(page.nodes, 0, "slots") == "2 of 4"
    assert "secret" not in repr((page.model.seen, page.model.queue))
    # and nothing opens from there
    emitted: list[int] = []
    page.opened.connect(emitted.append)
    page.running.selectRow(0)
    qtbot.mouseClick(page.running.viewport(), LEFT, pos=place(page.running, 0, "job"))
    page.running.open_current()
    assert emitted == []


@pytest.mark.spec("Y6", "R1", "M3")
def test_a_click_on_a_job_opens_its_details(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice", kind="data_import", name="prices")
    database.start("n1", database.tasks(job)[0])
    waiting = database.submit("bob", [{"name": "t", "queue": "label:tpu"}], name="special")
    shown, page = opened(qtbot, window, sign_in("boss"))
    qtbot.waitUntil(lambda: page.running.rows.rowCount() == 1 and page.waiting.rows.rowCount() == 1)
    assert words(page.waiting, 0, "reason") == "Waits for a node with tpu: none is up"
    qtbot.mouseClick(page.running.viewport(), LEFT, pos=place(page.running, 0, "job"))
    imports = next(one for one in shown.pages if one.kind.key == "data_import")
    qtbot.waitUntil(lambda: shown.stack.currentWidget() is imports)
    assert imports.details is not None
    qtbot.mouseClick(shown.nodes_button, LEFT)
    shown.activateWindow()
    page.waiting.selectRow(0)
    page.waiting.setFocus()
    qtbot.waitUntil(page.waiting.hasFocus)
    qtbot.keyClick(page.waiting, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: shown.stack.currentWidget() is shown.pages[0])
    assert database.value("postgres", "select name from qd.job where id = :job", job=waiting) == "special"


@pytest.mark.spec("M7")
def test_live_changes_keep_the_chosen_node_the_scroll_position_and_an_open_menu(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    up(database, "n2", slots=40)
    tasks = database.tasks(database.submit("alice", 30))
    for task in tasks[:25]:
        database.start("n2", task)
    shown, page = opened(qtbot, window, sign_in())
    qtbot.waitUntil(lambda: page.running.rows.rowCount() == 25)
    page.nodes.selectRow(1)
    assert page.running_title.text() == "Running on n2  (25)"
    page.running.verticalScrollBar().setValue(77)
    resets: list[object] = []
    for model in (page.model.nodes, page.model.running, page.model.waiting):
        model.modelReset.connect(lambda: resets.append(1))
    first = tasks[0]
    row = page.model.running.row(3)
    page.running.selectRow(3)
    database.end("n2", first)
    database.start("n2", tasks[25])
    up(database, load=7)
    qtbot.waitUntil(lambda: words(page.nodes, 0, "load") == "7.00 of 8")
    qtbot.waitUntil(lambda: page.model.running.find(tasks[25]) is not None and page.model.running.find(first) is None)
    assert [node.name for node in page.nodes.selected()] == ["n2"]
    assert page.running_title.text() == "Running on n2  (25)"
    assert [task.task_id for task in page.running.selected()] == [row.task_id]
    assert page.running.verticalScrollBar().value() == 77 - 30  # the row above went; those in view stand still
    where = place(page.nodes, 0, "name")
    at = page.nodes.viewport().mapToGlobal(where)
    page.nodes.contextMenuEvent(QContextMenuEvent(QContextMenuEvent.Reason.Mouse, where, at))
    up(database, load=3)
    qtbot.waitUntil(lambda: page.model.seen.nodes[0].load == 3)
    assert page.nodes.menu is not None
    assert page.nodes.menu.isVisible()
    assert words(page.nodes, 0, "load") == "7.00 of 8"
    page.nodes.menu.close()
    qtbot.waitUntil(lambda: words(page.nodes, 0, "load") == "3.00 of 8")
    assert resets == []
    assert shown.stack.beside() is page


@pytest.mark.spec("Y6")
def test_an_admin_drains_and_resumes_when_he_confirms(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    database.start("n1", database.tasks(database.submit("alice"))[0])
    up(database)
    shown, page = opened(qtbot, window, sign_in("boss"))

    def asked(act: Callable[[], None]) -> DrainDialog:
        act()
        qtbot.waitUntil(lambda: len(page.questions) == 1)
        return page.questions[0]

    def state() -> str:
        return str(database.value("postgres", "select state from qd.node where name = 'n1'"))

    def click() -> None:
        column = len(page.nodes.rows.headings) - 1
        rect = page.nodes.visualRect(page.nodes.rows.index(0, column))
        ((act, area),) = page.nodes.cells.buttons(rect, page.nodes.rows.row(0))
        assert act.key in ("drain", "resume")
        qtbot.mouseClick(page.nodes.viewport(), LEFT, pos=area.center())

    question = asked(click)
    assert "takes no new tasks" in question.words.text()
    assert "The task that runs there goes on to its end." in question.words.text()
    question.reject()
    qtbot.waitUntil(lambda: not page.questions)
    assert state() == "up"
    qtbot.mouseClick(asked(click).sure, LEFT)
    qtbot.waitUntil(lambda: words(page.nodes, 0, "state") == "Draining", timeout=1000)
    assert shown.toast.label.text() == "Node n1 takes no new tasks."
    assert state() == "draining"
    shown.activateWindow()
    page.nodes.selectRow(0)
    page.nodes.setFocus()
    qtbot.waitUntil(page.nodes.hasFocus)
    question = asked(lambda: qtbot.keyClick(page.nodes, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier))
    assert question.windowTitle() == "Resume"
    qtbot.mouseClick(question.sure, LEFT)
    qtbot.waitUntil(lambda: words(page.nodes, 0, "state") == "Up", timeout=1000)
    # a node that is down has nothing to be drained
    assert list(page.nodes.look.acts(page.nodes.rows.row(1))) == []


@pytest.mark.spec("Y6", "R3", "M3")
def test_a_user_is_offered_no_drain_and_is_refused_if_he_tries(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, errors: list[BaseException]
) -> None:
    shown, page = opened(qtbot, window, sign_in("alice"))
    assert "actions" not in [heading.key for heading in page.nodes.rows.headings]
    page.nodes.selectRow(0)
    where = place(page.nodes, 0, "name")
    at = page.nodes.viewport().mapToGlobal(where)
    page.nodes.contextMenuEvent(QContextMenuEvent(QContextMenuEvent.Reason.Mouse, where, at))
    assert page.nodes.menu is not None
    assert [action.text() for action in page.nodes.menu.actions()] == ["Copy\tCtrl+C"]
    page.nodes.menu.close()
    qtbot.keyClick(page.nodes, Qt.Key.Key_D, Qt.KeyboardModifier.ControlModifier)
    assert page.questions == []
    # as if it had been offered
    page._ask(page.nodes.rows.row(0))
    qtbot.waitUntil(lambda: len(page.questions) == 1)
    qtbot.mouseClick(page.questions[0].sure, LEFT)
    qtbot.waitUntil(lambda: len(errors) == 1)
    assert isinstance(errors[0], Refused)
    assert database.value("postgres", "select state from qd.node where name = 'n1'") == "up"
    assert shown.cluster is page


@pytest.mark.spec("M7", "G2")
def test_nothing_is_read_while_nobody_looks_and_an_outage_leaves_what_is_shown(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, errors: list[BaseException], monkeypatch: Any
) -> None:
    shown, page = opened(qtbot, window, sign_in())
    readings: list[float] = []
    whole = Client.cluster

    def counted(self: Client) -> clusters.Cluster:
        readings.append(time.monotonic())
        return whole(self)

    monkeypatch.setattr(Client, "cluster", counted)
    qtbot.waitUntil(lambda: len(readings) >= 2, timeout=5000)
    qtbot.mouseClick(shown.nodes_button, LEFT)
    assert shown.stack.beside() is None
    with qtbot.waitSignal(shown.live.changed):
        database.submit("alice")
    before = len(readings)
    qtbot.wait(int(1500 * ClusterModel.EVERY))
    assert len(readings) <= before + 1  # one may have been under way
    qtbot.mouseClick(shown.nodes_button, LEFT)
    qtbot.waitUntil(lambda: len(readings) > before + 1)
    said: list[str | None] = []
    shown.live.connection.connect(said.append)
    database.sql(
        "postgres",
        "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'"
        " and datname = current_database()",
    )
    qtbot.waitUntil(lambda: None in said, timeout=15_000)
    assert shown.banner.isHidden()
    assert words(page.nodes, 0, "name") == "n1"
    database.start("n1", database.tasks(database.submit("alice", name="after"))[0])
    qtbot.waitUntil(lambda: page.running.rows.rowCount() == 1, timeout=5000)
    assert errors == []


@pytest.mark.spec("M8")
def test_a_click_on_a_heading_sorts_and_live_changes_keep_the_order(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    up(database, "n1", load=1)
    up(database, "n2", load=2)
    tasks = database.tasks(database.submit("alice", [{"name": name} for name in ("b", "c", "a")]))
    for task in tasks:
        database.start("n2", task)
    _, page = opened(qtbot, window, sign_in())
    qtbot.waitUntil(lambda: page.running.rows.rowCount() == 3)

    def click(table: LinkTable, key: str) -> None:
        head = table.horizontalHeader()
        section = [heading.key for heading in table.rows.headings].index(key)
        where = QPoint(head.sectionViewportPosition(section) + 20, head.height() // 2)
        qtbot.mouseClick(head.viewport(), LEFT, pos=where)

    def column(table: LinkTable, key: str) -> list[str]:
        return [words(table, row, key) for row in range(table.rows.rowCount())]

    assert column(page.running, "task") == ["b", "c", "a"]
    click(page.running, "task")
    assert column(page.running, "task") == ["a", "b", "c"]
    click(page.running, "task")
    assert column(page.running, "task") == ["c", "b", "a"]
    click(page.running, "task")
    assert column(page.running, "task") == ["b", "c", "a"]
    click(page.nodes, "load")
    assert column(page.nodes, "name") == ["n1", "n2"]
    page.nodes.selectRow(0)
    up(database, "n1", load=17)  # of 8 CPUs; n2 has 2
    qtbot.waitUntil(lambda: column(page.nodes, "name") == ["n2", "n1"])
    assert [node.name for node in page.nodes.selected()] == ["n1"]
    for key in ("name", "state", "slots", "memory", "labels", "host", "version", "heartbeat"):
        click(page.nodes, key)
        assert len(column(page.nodes, "name")) == 2
    for key in ("job", "kind", "node", "creator", "progress", "run_time"):
        click(page.running, key)
        assert page.model.node == "n1"
    page.nodes.clearSelection()
    database.start("n2", database.tasks(database.submit("bob"))[0])
    for key in ("job", "task", "kind", "node", "creator", "progress", "run_time"):
        click(page.running, key)
        qtbot.waitUntil(lambda: isinstance(page.running.rows.row(3), Others), timeout=3000)
    database.submit("alice", name="waits")
    qtbot.waitUntil(lambda: page.waiting.rows.rowCount() == 1)
    for key in ("name", "tasks", "reason", "creator", "waits"):
        click(page.waiting, key)
        assert column(page.waiting, "name") == ["waits"]


@pytest.mark.spec("M7", "M8")
def test_many_running_tasks_are_sorted_at_once_and_the_chosen_one_stays_chosen(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    database.sql(
        "postgres",
        "with j as (insert into qd.job (kind, name, creator, status) values ('factor', 'big', 'alice', 'in_progress')"
        " returning id) insert into qd.task (job_id, creator, ordinal, name, status, node, started)"
        " select j.id, 'alice', n, 'task ' || to_char(n, 'fm0000'), 'in_progress', 'n1', now() - n * interval '1 s'"
        " from j, generate_series(1, 900) as n",
    )
    _, page = opened(qtbot, window, sign_in())
    qtbot.waitUntil(lambda: page.running.rows.rowCount() == 900)
    assert words(page.running, 0, "task") == "task 0900"  # that which runs longest
    page.running.selectRow(10)
    (chosen,) = page.running.selected()
    begun = time.perf_counter()
    page.model.order(page.model.running, "task", False)
    assert time.perf_counter() - begun < 0.5
    assert words(page.running, 0, "task") == "task 0001"
    assert [task.task_id for task in page.running.selected()] == [chosen.task_id]
    qtbot.waitUntil(lambda: words(page.nodes, 0, "slots") == "900 of 2")


@pytest.mark.spec("M8")
def test_rows_are_copied_as_text(qtbot: QtBot, window: Any, sign_in: Any) -> None:
    _, page = opened(qtbot, window, sign_in("boss"))
    page.nodes.selectRow(0)
    page.nodes.setFocus()
    qtbot.waitUntil(page.nodes.hasFocus)
    qtbot.keyClick(page.nodes, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    copied = QGuiApplication.clipboard().text().split("\t")
    assert copied[:4] == ["n1", "Up", "0 of 2", "0.50 of 8"]
    assert len(copied) == 9


def test_the_clusters_models_are_sound_through_live_changes(
    qtbot: QtBot, qtmodeltester: ModelTester, database: Any, sign_in: Any, bridge: Bridge
) -> None:
    model = ClusterModel(sign_in(), bridge)
    for one in (model.nodes, model.running, model.waiting):
        qtmodeltester.check(one)
    first, second = database.tasks(database.submit("alice", 2))
    model.watch(True)
    qtbot.waitUntil(lambda: model.waiting.rowCount() == 1)
    database.start("n1", second)
    qtbot.waitUntil(lambda: model.running.rowCount() == 1)
    database.start("n1", first)
    qtbot.waitUntil(lambda: model.running.rowCount() == 2)
    model.choose("n2")
    assert model.running.rowCount() == 0
    model.choose(None)
    database.end("n1", second)
    qtbot.waitUntil(lambda: model.running.rowCount() == 1)
    model.watch(False)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-5, "0 s ago"), (0, "0 s ago"), (3.9, "3 s ago"), (59, "59 s ago"), (60, "1 min ago"), (3599, "59 min ago"),
     (3600, "1 h ago"), (86_399, "23 h ago"), (86_400, "1 d ago"), (864_000, "10 d ago")],
)  # fmt: skip
def test_ages_in_words(seconds: float, text: str) -> None:
    assert ago(NOW - dt.timedelta(seconds=seconds), NOW) == text
    assert ago(None, NOW) == "never"


def test_memory_in_words() -> None:
    assert [memory_text(size) for size in (0, 512_000_000, 1_000_000_000, 16_600_000_000)] == [
        "0 MB", "512 MB", "1.0 GB", "16.6 GB",
    ]  # fmt: skip


# --- the window around it -------------------------------------------------------------------------------------------


@pytest.mark.spec("M1", "Y6")
def test_button_menu_and_keys_lead_there_and_back(qtbot: QtBot, window: Any, sign_in: Any) -> None:
    shown: Window = window(sign_in("boss"))
    shown.activateWindow()
    control = Qt.KeyboardModifier.ControlModifier

    def at() -> object:
        return shown.stack.currentWidget()

    qtbot.keyClick(shown, Qt.Key.Key_8, control)
    assert at() is shown.cluster
    assert shown.nodes_button.isChecked()
    assert shown.tabs.property("away") is True
    qtbot.keyClick(shown, Qt.Key.Key_9, control)
    assert at() is shown.audit
    assert not shown.nodes_button.isChecked()
    qtbot.keyClick(shown, Qt.Key.Key_9, control)
    assert at() is shown.pages[0]
    assert not shown.audit_button.isChecked()
    assert shown.tabs.property("away") is False
    qtbot.keyClick(shown, Qt.Key.Key_8, control)
    qtbot.keyClick(shown, Qt.Key.Key_1, control)  # the tab that was current all the time
    assert at() is shown.pages[0]
    qtbot.mouseClick(shown.nodes_button, LEFT)
    qtbot.mouseClick(shown.tabs, LEFT, pos=shown.tabs.tabRect(0).center())
    assert at() is shown.pages[0]
    qtbot.mouseClick(shown.nodes_button, LEFT)
    qtbot.mouseClick(shown.tabs, LEFT, pos=shown.tabs.tabRect(4).center())
    assert at() is shown.pages[4]
    entries = {action.text().split("\t")[0]: action for action in shown.person.menu().actions()}
    assert {"Cluster", "Audit", "Keyboard Shortcuts", "About Quarterdeck", "Sign Out…", "Quit"} <= set(entries)
    entries["Cluster"].trigger()
    assert at() is shown.cluster
    qtbot.mouseClick(shown.cluster.back, LEFT)
    assert at() is shown.pages[4]
    entries["Cluster"].trigger()
    qtbot.keyClick(shown.cluster.nodes, Qt.Key.Key_Escape)
    assert at() is shown.pages[4]


@pytest.mark.spec("R2", "M1")
def test_a_regular_user_finds_no_audit(qtbot: QtBot, window: Any, sign_in: Any) -> None:
    shown: Window = window(sign_in("alice"))
    assert shown.audit is None
    assert shown.audit_button.isHidden()
    assert "Audit" not in {action.text().split("\t")[0] for action in shown.person.menu().actions()}
    qtbot.keyClick(shown, Qt.Key.Key_9, Qt.KeyboardModifier.ControlModifier)
    assert shown.stack.currentWidget() is shown.pages[0]


@pytest.mark.spec("M1")
def test_the_window_says_who_is_signed_in_where(window: Any, sign_in: Any, database: Any) -> None:
    for user, role in (("alice", "user"), ("boss", "administrator")):
        shown: Window = window(sign_in(user))
        server = f"127.0.0.1:{database.port}"
        assert shown.windowTitle() == f"{user} ({role}) on {server} — test — Quarterdeck"
        assert shown.who.text() == f"{user} ({role})  ·  {server}  ·  test"


@pytest.mark.spec("P3")
def test_about_names_version_server_and_licences(qtbot: QtBot, window: Any, sign_in: Any) -> None:
    client = sign_in()
    shown: Window = window(client)
    shown.about.program()
    (dialog,) = shown.about.dialogs
    assert isinstance(dialog, AboutDialog)
    assert re.search(r"Version \d+\.\d+\.\d+", dialog.words.text())
    assert client.me.schema_version in dialog.words.text()
    assert "Apache License" in notice()
    assert "PostgreSQL Global Development Group" in notice()
    terms = {name.lower(): licence for name, _, licence in components()}
    assert "LGPL" in terms["psycopg"]
    assert "LGPL" in next(licence for name, licence in terms.items() if name.startswith("pyside6"))
    assert "pytest" not in terms
    shown.about.program()
    assert shown.about.dialogs == [dialog]
    dialog.reject()
    assert shown.about.dialogs == []


def shortcuts(widget: Any) -> set[str]:
    """Every key that something in this widget has."""
    keys = {one.key().toString() for one in widget.findChildren(QShortcut)}
    keys |= {key.toString() for action in widget.findChildren(QAction) for key in action.shortcuts()}
    return {key for key in keys if key}


@pytest.mark.spec("M1")
def test_every_key_of_the_window_is_in_the_list(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("boss")
    shown: Window = window(sign_in("boss"))
    qtbot.waitUntil(lambda: shown.pages[0].model.row(0) is not None)
    row = shown.pages[0].model.row(0)
    assert row is not None
    shown.show_job(row)
    shown.commands.show_log(row)
    shown.commands.new(shown.pages[0].kind)
    listed = {key for keys in KEYS.values() for key in keys} | {f"Ctrl+{n}" for n in range(2, 8)}
    found = shortcuts(shown) | shortcuts(shown.commands.logs[job])
    # the same key on the numeric pad; the two ways to open a window from a list
    twins = {key.replace("Return", "Enter") for key in listed if "Return" in key}
    assert found - listed - twins == set(), "keys that desktop/views/about.py does not list"
    assert {"F1", "F8", "Ctrl+L", "Ctrl+8", "Ctrl+D", "Ctrl+N", "Ctrl+F"} <= found
    shown.commands.close_all()
    qtbot.keyClick(shown, Qt.Key.Key_F1)
    (dialog,) = shown.about.dialogs
    assert isinstance(dialog, KeysDialog)
    shown.hide()
    assert shown.about.dialogs == []


@pytest.mark.spec("M8")
def test_the_last_tab_and_the_clusters_columns_are_remembered(
    qtbot: QtBot, bridge: Bridge, sign_in: Any, tmp_path: Path
) -> None:
    client = sign_in("boss")

    def made() -> Window:
        settings = Settings(tmp_path / "s.json")
        return Window(client, bridge, None, Notices(), settings, "test", lambda: None, lambda: None)

    first = made()
    first.show()
    first.stack.show_tab(3)
    first.nodes_button.click()
    first.cluster.nodes.setColumnWidth(0, 333)
    first.cluster.nodes.chosen_widths = True
    first.remember()
    second = made()
    second.show()
    assert second.stack.currentWidget() is second.pages[3]
    assert second.cluster.nodes.columnWidth(0) == 333
    for one in (first, second):
        one.hide()
        one.deleteLater()


def test_painting_in_both_themes(qtbot: QtBot, qapp: Any, database: Any, window: Any, sign_in: Any) -> None:
    """Every state is painted in colours of its own, and others in the dark."""
    up(database, "n2")
    _, page = opened(qtbot, window, sign_in("boss"))

    def pills() -> set[str]:
        colors = set()
        for state in ("up", "draining", "down", "lost"):
            database.sql("postgres", "update qd.node set state = :s, heartbeat = now() where name = 'n2'", s=state)
            page.refresh.click()
            qtbot.waitUntil(lambda s=state: words(page.nodes, 1, "state") == s.capitalize())
            rect = page.nodes.visualRect(page.nodes.rows.index(1, 1))
            image = page.nodes.viewport().grab().toImage()
            ratio = image.devicePixelRatio()
            colors.add(image.pixelColor(int((rect.left() + 12) * ratio), int((rect.center().y() + 9) * ratio)).name())
        return colors

    light = pills()
    theme.apply(qapp, "dark")
    dark = pills()
    assert len(light) == len(dark) == 4
    assert not light & dark
