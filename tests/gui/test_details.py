"""A job's details and its result tables."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QAbstractItemView, QComboBox, QLineEdit, QPlainTextEdit, QTabBar, QWidget
from pytestqt.qtbot import QtBot

from desktop.models.table import value_text
from desktop.views.details_page import DetailsPage
from desktop.views.sections import SECTIONS, Parameters, Tables
from quarterdeck.job import Action, Status
from quarterdeck.kinds import KINDS, Kind, kind
from quarterdeck.results import encode_block, schema_bytes

LEFT = Qt.MouseButton.LeftButton
_NAMED = (QAbstractButton, QAbstractItemView, QComboBox, QLineEdit, QPlainTextEdit, QTabBar)


@pytest.fixture
def write_table(database: Any) -> Callable[..., None]:
    """Writes a complete table of a started task."""

    def write(node: str, task: int, name: str, table: pa.Table) -> None:
        user = f"node_{node}"
        number = database.value(
            user, "select qd.open_table(:t, 1, :n, :s)", t=task, n=name, s=schema_bytes(table.schema)
        )
        block = encode_block(table)
        database.sql(
            user,
            "select qd.write_block(:t, 1, :table, 0, :rows, :low, :high, :first, :last, :data)",
            t=task,
            table=number,
            rows=block.rows,
            low=block.time_min,
            high=block.time_max,
            first=block.symbol_min,
            last=block.symbol_max,
            data=block.data,
        )
        database.sql(user, "select qd.close_table(:t, 1, :table, 1)", t=task, table=number)

    return write


def opened(qtbot: QtBot, shown: Any, job: int) -> DetailsPage:
    page = shown.pages[0]
    qtbot.waitUntil(lambda: page.model.find(job) is not None)
    page.open(page.model.row(page.model.find(job)))
    details: DetailsPage = page.details
    qtbot.waitUntil(lambda: details.model.details is not None)
    return details


def section(details: DetailsPage, chosen: type) -> Any:
    return next(view for view in details.sections if isinstance(view, chosen))


def test_each_type_of_section_that_a_kind_declares_has_a_widget() -> None:
    declared = {section.type for kind in KINDS for section in kind.details}
    assert declared <= SECTIONS.keys()


@pytest.mark.spec("F1")
def test_the_factors_sections(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    details = opened(qtbot, window(sign_in()), database.submit("alice"))
    titles = [details.tabs.tabText(number) for number in range(details.tabs.count())]
    assert titles[:3] == ["Run Parameters", "Run Template", "Tasks"]
    assert "Execution Log" in titles


@pytest.mark.spec("F1", "M7")
def test_status_tasks_and_error_follow_the_job(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice", [{"name": "one"}, {"name": "two"}])
    details = opened(qtbot, window(sign_in()), job)
    tasks = details.model.tasks
    one, two = database.tasks(job)
    database.start("n1", one)
    database.start("n1", two)
    qtbot.waitUntil(lambda: [tasks.index(n, 1).data() for n in range(2)] == ["In Progress"] * 2)
    assert not details.buttons[Action.TERMINATE].isHidden()
    database.end("n1", one)
    database.end("n1", two, "failed", error="ValueError: no rows")
    qtbot.waitUntil(lambda: details.model.job.status is Status.PARTIALLY_FAILED)
    qtbot.waitUntil(lambda: [tasks.index(n, 1).data() for n in range(2)] == ["Success", "Failed"])
    assert tasks.index(1, 6).data() == "ValueError: no rows"
    assert tasks.index(0, 2).data() == "n1"
    qtbot.waitUntil(lambda: details.buttons[Action.TERMINATE].isHidden())
    assert details.status.accessibleName() == "Partially Failed"


@pytest.mark.spec("F1", "M7")
def test_progress_and_message_in_the_head_are_those_of_the_tasks(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    job = database.submit("alice")
    (task,) = database.tasks(job)
    database.start("n1", task)
    details = opened(qtbot, window(sign_in()), job)
    for share, words in ((0.1, "reading"), (0.4, "computing"), (0.75, "writing")):  # more often than the list is told
        database.sql("node_n1", "select qd.set_progress(:t, 1, :share, :words)", t=task, share=share, words=words)
    qtbot.waitUntil(lambda: details.status.accessibleName() == "In Progress 75%")
    qtbot.waitUntil(lambda: details.head.facts.text().endswith("writing"))


@pytest.mark.spec("F1")
@pytest.mark.usefixtures("prices")
def test_parameters_and_the_formula_as_it_was_run(qtbot: QtBot, window: Any, sign_in: Any) -> None:
    client = sign_in()
    formula = "close / delay(close, 20) - 1"
    job = client.submit("factor", {"name": "mom20", "table": "prices", "formula": formula, "symbols": ["AAPL", "MSFT"]})
    details = opened(qtbot, window(client), job)
    tree = section(details, Parameters).tree
    rows = [tree.topLevelItem(n) for n in range(tree.topLevelItemCount())]
    found = {row.text(0): row.text(1) for row in rows}
    assert found["Table"] == "prices"
    assert found["Symbols"] == "AAPL, MSFT"
    assert [row.text(0) for row in rows][:2] == ["Name", "Table"]
    details.open_section("template")
    texts = [editor.toPlainText() for editor in details.stack.currentWidget().findChildren(QPlainTextEdit)]
    assert formula in texts


@pytest.mark.spec("F2")
def test_a_result_table_shows_ten_rows_and_pages_through_all(
    qtbot: QtBot,
    database: Any,
    window: Any,
    sign_in: Any,
    write_table: Any,
    tmp_path: Any,
) -> None:
    job = database.submit("alice")
    (task,) = database.tasks(job)
    database.start("n1", task)
    day = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    table = pa.table(
        {
            "time": pa.array([day + dt.timedelta(days=n) for n in range(25)], pa.timestamp("us", "UTC")),
            "symbol": ["AAPL"] * 25,
            "value": pa.array([None, *(n / 4 for n in range(1, 25))], pa.float64()),
            "reason": ["'abc' is not a number; the line is rejected"] * 25,
        }
    )
    write_table("n1", task, "factor", table)
    database.end("n1", task)
    details = opened(qtbot, window(sign_in()), job)
    tables: Tables = section(details, Tables)
    qtbot.waitUntil(lambda: len(tables.tables) == 1)
    (shown,) = tables.tables.values()
    model = shown.page.model
    qtbot.waitUntil(lambda: model.rowCount() == 10)
    assert [model.index(0, column).data() for column in range(3)] == ["2024-01-02", "AAPL", "–"]
    assert model.index(3, 2).data() == "0.75"
    for column in range(4):
        assert shown.view.columnWidth(column) >= shown.view.sizeHintForColumn(column)
    assert not shown.back.isEnabled()
    qtbot.mouseClick(shown.last, LEFT)
    qtbot.waitUntil(lambda: model.rowCount() == 5)
    assert model.index(4, 0).data() == "2024-01-26"
    assert "21–25 of 25" in shown.where.text()
    assert not shown.next.isEnabled()
    with qtbot.waitSignal(shown.saved):
        shown.save(tmp_path / "factor.csv")
    assert pyarrow.csv.read_csv(tmp_path / "factor.csv").num_rows == 25


@pytest.mark.spec("M4", "M7")
def test_a_job_that_is_deleted_while_it_is_shown_says_so(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any
) -> None:
    job = database.submit("alice")
    (task,) = database.tasks(job)
    database.start("n1", task)
    database.end("n1", task)
    details = opened(qtbot, window(sign_in()), job)
    database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=job)
    qtbot.waitUntil(lambda: details.model.gone)
    assert "no longer there" in details.trouble.text()
    assert all(button.isHidden() for button in details.buttons.values())


@pytest.mark.spec("M1", "M3")
@pytest.mark.parametrize("chosen", KINDS, ids=lambda one: one.key)
def test_a_job_of_any_kind_has_details(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, write_table: Any, chosen: Kind
) -> None:
    job = database.submit("alice", [{"name": "one"}, {"name": "two"}], kind=chosen.key)
    shown = window(sign_in())
    shown.show_job(sign_in().by_ids([job])[0])
    details = shown.pages[KINDS.index(chosen)].details
    qtbot.waitUntil(lambda: details.model.details is not None)
    one, two = database.tasks(job)
    database.start("n1", one)
    write_table("n1", one, "summary", pa.table({"metric": ["sharpe"], "value": [1.25]}))
    database.end("n1", one)
    database.start("n2", two)
    database.end("n2", two, "failed", error="ValueError: no rows")
    qtbot.waitUntil(lambda: details.model.job.status is Status.PARTIALLY_FAILED)
    assert details.tabs.count() >= 4
    assert {"parameters", "tasks", "log"} <= {view.section.type for view in details.sections}
    for number in range(details.tabs.count()):
        details.tabs.setCurrentIndex(number)
        qtbot.waitUntil(lambda: details.stack.currentWidget().isVisible())
    assert details.buttons[Action.RERUN].isHidden() is (chosen.params is None)
    assert not details.buttons[Action.LOG].isHidden()
    tasks = details.model.tasks
    qtbot.waitUntil(lambda: [tasks.index(n, 2).data() for n in range(2)] == ["n1", "n2"])
    if not chosen.details:
        details.open_section("table")
        (table,) = section(details, Tables).tables.values()
        qtbot.waitUntil(lambda: table.page.model.rowCount() == 1)
        assert table.page.model.index(0, 1).data() == "1.25"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "–"),
        (float("nan"), "NaN"),
        (float("inf"), "∞"),
        (True, "yes"),
        (1234567, "1,234,567"),
        (0.1 + 0.2, "0.3"),
        (2.0, "2"),
        (100000.0, "100,000"),
        (1e-9, "0.000000001"),
        (1.5e-12, "1.50e-12"),
        (2.5e17, "2.500000e+17"),
        (dt.datetime(2024, 1, 2, tzinfo=dt.UTC), "2024-01-02"),
        (dt.datetime(2024, 1, 2, 9, 30, tzinfo=dt.UTC), "2024-01-02 09:30:00"),
        (dt.date(2024, 1, 2), "2024-01-02"),
        ("word", "word"),
    ],
)
def test_cells_words(value: Any, words: str) -> None:
    assert value_text(value) == words


@pytest.mark.spec("F1", "X1")
def test_everything_that_takes_the_keyboard_has_a_name(
    qtbot: QtBot, database: Any, window: Any, sign_in: Any, write_table: Any
) -> None:
    job = database.submit("alice", 2)
    one, _ = database.tasks(job)
    database.start("n1", one)
    write_table("n1", one, "factor", pa.table({"symbol": ["A"] * 20, "value": [1.0] * 20}))
    shown = window(sign_in())
    details = opened(qtbot, shown, job)
    shown.commands.new(kind("factor"))
    shown.commands.new(kind("data_import"))
    for whole in (details, *shown.commands.forms):
        for part in whole.findChildren(QWidget):
            reached = bool(part.focusPolicy() & Qt.FocusPolicy.TabFocus) and not part.isHidden()
            # what a choice box drops down is a window of its own
            if reached and isinstance(part, _NAMED) and part.window() is whole.window():
                words = part.accessibleName() or (part.text() if isinstance(part, QAbstractButton) else "")
                assert words, f"{type(part).__name__} {part.objectName()} has no name"


@pytest.mark.spec("F1")
def test_the_head_fits_a_long_name_and_a_narrow_window(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    job = database.submit("alice", name="a_very_long_name_of_a_factor_that_goes_on_" * 4)
    client = sign_in()
    shown = window(client)
    shown.commands.open_window(client.by_ids([job])[0])
    apart = shown.commands.details[job]
    apart.resize(800, 480)
    head = apart.page.head
    qtbot.waitUntil(lambda: head.facts.text() != "" and head.isVisible())
    assert apart.width() == 800
    for button in head.buttons.values():
        if not button.isHidden():
            assert button.geometry().right() <= head.width()
            assert button.width() >= button.sizeHint().width()
    assert "…" in head.title.text()
    assert head.title.whole == head.title.accessibleName() == apart.page.model.job.name
    assert head.title.fontMetrics().horizontalAdvance(head.title.text()) <= head.title.width()
    assert head.status.geometry().left() > head.title.geometry().right()
    assert head.facts.height() >= head.facts.heightForWidth(head.facts.width())


@pytest.mark.spec("F1")
def test_a_job_without_parameters_says_so(qtbot: QtBot, database: Any, window: Any, sign_in: Any) -> None:
    details = opened(qtbot, window(sign_in()), database.submit("alice"))
    view = section(details, Parameters)
    assert view.tree.isHidden()
    assert view.nothing.text() == "This job was started without parameters."
