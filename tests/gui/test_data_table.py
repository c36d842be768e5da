"""Result tables: sort, filters, digits, copy, download."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop.bridge import Bridge
from desktop.models.table import Digits, exact_text
from desktop.views.data_table import DataTable
from desktop.views.row_filter import moment
from quarterdeck.errors import Disconnected
from quarterdeck.results import Results, encode_block, schema_bytes

DAY = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
ROWS = 40


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def table(
    qtbot: QtBot, database: Any, sign_in: Any, bridge: Bridge, told: list[str]
) -> Callable[[pa.Table], DataTable]:
    """Shows a table that a task wrote."""

    def make(rows: pa.Table) -> DataTable:
        job = database.submit("alice")
        (task,) = database.tasks(job)
        database.start("n1", task)
        number = database.value(
            "node_n1", "select qd.open_table(:t, 1, 'values', :s)", t=task, s=schema_bytes(rows.schema)
        )
        for place, start in enumerate(range(0, rows.num_rows, 15)):
            block = encode_block(rows.slice(start, 15))
            database.sql(
                "node_n1",
                "select qd.write_block(:t, 1, :table, :number, :rows, :low, :high, :first, :last, :data)",
                t=task, table=number, number=place, rows=block.rows, low=block.time_min, high=block.time_max,
                first=block.symbol_min, last=block.symbol_max, data=block.data,
            )  # fmt: skip
        database.sql("node_n1", "select qd.close_table(:t, 1, :table, 1)", t=task, table=number)
        database.end("n1", task)
        client = sign_in()
        view = DataTable(client.tables(job)[0], client, bridge, told.append)
        qtbot.addWidget(view)
        view.resize(900, 500)
        view.show()
        qtbot.waitUntil(lambda: view.page.model.rowCount() == min(10, rows.num_rows))
        return view

    return make


def prices() -> pa.Table:
    """Two symbols by turns, one row a day; values 0, 1/3, 2/3, ... from the last day back."""
    return pa.table(
        {
            "time": pa.array([DAY + dt.timedelta(days=n) for n in range(ROWS)], pa.timestamp("us", "UTC")),
            "symbol": ["AAPL" if n % 2 == 0 else "MSFT" for n in range(ROWS)],
            "value": pa.array([(ROWS - 1 - n) / 3 for n in range(ROWS)], pa.float64()),
        }
    )


def _excel(path: Path) -> pd.DataFrame:
    return pl.read_excel(path).to_pandas()


def column(view: DataTable, number: int) -> list[str]:
    model = view.page.model
    return [model.index(row, number).data() for row in range(model.rowCount())]


@pytest.mark.spec("F2")
def test_a_click_on_a_heading_sorts_the_whole_table(qtbot: QtBot, table: Any) -> None:
    view = table(prices())
    head = view.view.horizontalHeader()
    assert column(view, 2)[0] == "13.00000"  # as written; thirds need seven digits

    def click() -> None:
        x = head.sectionViewportPosition(2) + head.sectionSize(2) // 2
        qtbot.mouseClick(head.viewport(), Qt.MouseButton.LeftButton, pos=head.viewport().rect().topLeft() + _at(x))

    click()
    qtbot.waitUntil(lambda: column(view, 2)[0].startswith("0.0"))
    assert column(view, 0)[0] == "2024-02-10"
    click()
    qtbot.waitUntil(lambda: column(view, 2)[0].startswith("13.0"))
    assert head.sortIndicatorOrder() is Qt.SortOrder.DescendingOrder
    click()
    qtbot.waitUntil(lambda: view.page.sort is None)
    qtbot.waitUntil(lambda: column(view, 0)[0] == "2024-01-02")


def _at(x: int) -> Any:
    from PySide6.QtCore import QPoint

    return QPoint(x, 10)


@pytest.mark.spec("F2")
def test_filters_by_time_and_symbol_page_and_save_only_what_they_let_through(
    qtbot: QtBot, table: Any, tmp_path: Any
) -> None:
    view = table(prices())
    view.filter.symbols.setFocus()
    view.filter.symbols.setText("MSFT")
    view.filter.start.setText("2024-01-05")
    view.filter.end.setText("2024-01-31")
    qtbot.keyClick(view.filter.end, Qt.Key.Key_Return)
    # MSFT's days are 3, 5, 7 ... of January: 5 to 31 are 14 of them
    qtbot.waitUntil(lambda: "of 14" in view.where.text())
    assert set(column(view, 1)) == {"MSFT"}
    assert column(view, 0)[0] == "2024-01-05"
    view.next.click()
    qtbot.waitUntil(lambda: column(view, 0) == ["2024-01-25", "2024-01-27", "2024-01-29", "2024-01-31"])
    with qtbot.waitSignal(view.saved):
        view.save(tmp_path / "some.parquet")
    assert pd.read_parquet(tmp_path / "some.parquet")["symbol"].tolist() == ["MSFT"] * 14
    view.filter.end.setText("yesterday")
    qtbot.keyClick(view.filter.end, Qt.Key.Key_Return)
    assert view.filter.end.property("wrong") is True
    view.filter.symbols.setText("NOBODY")
    qtbot.waitUntil(lambda: view.nothing.isVisible())
    assert view.nothing.text() == "No row matches."


@pytest.mark.spec("F2")
def test_copied_rows_have_all_digits_and_the_zone(qtbot: QtBot, table: Any) -> None:
    view = table(prices())
    view.view.selectRow(1)
    view.copy()
    assert QApplication.clipboard().text() == f"2024-01-03T00:00:00+00:00\tMSFT\t{38 / 3!r}"
    view.view.clearSelection()
    view.copy()
    lines = QApplication.clipboard().text().splitlines()
    assert lines[0] == "time\tsymbol\tvalue"
    assert len(lines) == 11
    assert view.page.model.headerData(0, Qt.Orientation.Horizontal) == "time (UTC)"


@pytest.mark.spec("F2")
@pytest.mark.parametrize("ending", ["csv", "parquet", "xlsx"])
def test_a_download_holds_what_the_table_holds(
    qtbot: QtBot, table: Any, tmp_path: Any, told: list[str], ending: str
) -> None:
    view = table(prices())
    path = tmp_path / f"values.{ending}"
    with qtbot.waitSignal(view.saved):
        view.save(path)
        assert not view.download.isEnabled()
        assert not view.stop.isHidden()
    read = {"csv": pd.read_csv, "parquet": pd.read_parquet, "xlsx": _excel}[ending](path)
    assert read["value"].tolist() == pytest.approx([(ROWS - 1 - n) / 3 for n in range(ROWS)])
    assert told == [f"values is saved as values.{ending}: 40 rows."]
    assert view.stop.isHidden()
    assert view.download.isEnabled()


@pytest.mark.spec("F2")
def test_a_stopped_download_leaves_the_old_file(
    qtbot: QtBot, table: Any, tmp_path: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = table(prices())
    path = tmp_path / "values.csv"
    path.write_text("what was there")
    seen: list[float] = []
    blocks = Results._blocks

    def slowly(*args: Any, **kwargs: Any) -> Any:
        for block in blocks(*args, **kwargs):
            view.running.stop()  # as the button does, before the first block is written
            seen.append(1)
            yield block

    monkeypatch.setattr(Results, "_blocks", slowly)
    with qtbot.waitSignal(view.saved):
        view.save(path)
    assert seen
    assert told == ["values.csv is not written: the download was stopped."]
    assert path.read_text() == "what was there"
    assert [one.name for one in tmp_path.iterdir() if one.suffix == ".part"] == []


@pytest.mark.spec("F2")
def test_a_download_goes_on_when_its_table_is_closed(qtbot: QtBot, table: Any, tmp_path: Any, told: list[str]) -> None:
    view = table(prices())
    view.save(tmp_path / "values.csv")
    view.hide()
    view.setParent(None)
    view.deleteLater()
    qtbot.waitUntil(lambda: told == ["values is saved as values.csv: 40 rows."])
    assert len(pd.read_csv(tmp_path / "values.csv")) == ROWS


def test_the_numbers_of_a_column_have_equal_digits() -> None:
    digits = Digits(2)
    words = digits.words([[1.0, 0.25, None, float("nan"), 1e-13], [12000.0, 9000.0]])
    assert words[1] == ["12,000", "9,000"]
    assert words[0] == ["1.00", "0.25", "–", "NaN", "1.00e-13"]
    # another page needs fewer: what was shown stays as wide
    assert digits.words([[3.5], [1.0]])[0] == ["3.50"]
    # the largest has seven digits, the others as many decimals
    assert Digits(1).words([[1234.5678912, 1 / 3]])[0] == ["1,234.5679", "0.3333"]
    assert Digits(1).words([[0.00123456789, -0.5]])[0] == ["0.0012346", "-0.5000000"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.1 + 0.2, "0.30000000000000004"),
        (dt.datetime(2024, 1, 2, 9, 30, tzinfo=dt.UTC), "2024-01-02T09:30:00+00:00"),
        ("two\nlines", "two lines"),
        (True, "True"),
    ],
)
def test_copies_are_exact(value: Any, text: str) -> None:
    assert exact_text(value) == text


def test_a_day_ends_with_its_last_moment() -> None:
    assert moment("2024-01-31") == dt.datetime(2024, 1, 31, tzinfo=dt.UTC)
    assert moment("2024-01-31", end=True) == dt.datetime(2024, 1, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    assert moment("2024-01-31 09:30", end=True) == dt.datetime(2024, 1, 31, 9, 30, tzinfo=dt.UTC)
    assert moment(" ") is None
    with pytest.raises(ValueError, match="yesterday"):
        moment("yesterday")


@pytest.mark.spec("G2", "F2")
def test_rows_stay_while_the_server_is_away_and_are_read_again(
    qtbot: QtBot, table: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = table(prices())
    page = Results.page

    def away(*args: Any, **kwargs: Any) -> Any:
        raise Disconnected("the server can't be reached")

    monkeypatch.setattr(Results, "page", away)
    view.next.click()
    qtbot.waitUntil(lambda: not view.page.reading)
    assert view.middle.currentWidget() is view.view
    assert column(view, 0)[0] == "2024-01-02"
    monkeypatch.setattr(Results, "page", page)
    view.change(view.page.table)
    qtbot.waitUntil(lambda: column(view, 0)[0] == "2024-01-12")
