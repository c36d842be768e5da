"""Details of jobs that a real node ran: an import of several files with mistakes in them, and factors over it."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtWidgets import QLabel, QPlainTextEdit
from pytestqt.qtbot import QtBot

from desktop.views.data_table import DataTable
from desktop.views.details_page import DetailsPage
from desktop.views.import_results import ImportResults, type_words
from desktop.views.run_template import Template
from desktop.views.sections import Parameters
from quarterdeck.job import Level
from quarterdeck.kinds import KINDS
from tests.cluster.conftest import Cluster

RUNS = {one.key: one.run for one in KINDS if one.run}

A = """Ticker,Date,Close,Volume
AAPL,2024-01-02,185.5,100
AAPL,2024-01-03,184.25,200
AAPL,2024-01-04,abc,300
MSFT,2024-01-02,370.75,400
MSFT,2024-01-32,371,500
MSFT,2024-01-04,367.5,600
"""
B = """Ticker;Date;Close;Volume
IBM;2024-01-02;161,5;700
IBM;2024-01-05;160,25;800
;2024-01-05;1,5;900
"""


@pytest.fixture
def cluster(database: Any, tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(database, tmp_path / "nodes")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "a.csv").write_text(A)
    (folder / "b.csv").write_text(B)
    return folder


def opened(qtbot: QtBot, shown: Any, client: Any, job: int) -> DetailsPage:
    shown.show_job(client.by_ids([job])[0])
    details: DetailsPage = next(page.details for page in shown.pages if page.details is not None)
    qtbot.waitUntil(lambda: details.model.details is not None)
    return details


def titled(qtbot: QtBot, details: DetailsPage, title: str) -> Any:
    """The section of that title, shown."""
    number = next(n for n in range(details.tabs.count()) if details.tabs.tabText(n) == title)
    details.tabs.setCurrentIndex(number)
    return details.sections[number]


def rows_of(qtbot: QtBot, table: DataTable) -> list[tuple[str, ...]]:
    qtbot.waitUntil(lambda: table.page.model.rowCount() == min(table.page.size, table.page.table.rows))
    model = table.page.model
    return [tuple(model.index(row, c).data() for c in range(model.columnCount())) for row in range(model.rowCount())]


def texts(widget: Any) -> list[str]:
    return [label.text() for label in widget.findChildren(QLabel) if not label.isHidden()]


@pytest.mark.spec("D1", "D2")
def test_an_imports_results_are_told_per_file_and_in_total(
    qtbot: QtBot, window: Any, sign_in: Any, cluster: Cluster, files: Path
) -> None:
    cluster.start("n1", runs=RUNS)
    client = sign_in()
    paths = [str(files / "a.csv"), str(files / "b.csv")]
    job = client.submit("data_import", {"table": "prices", "path": paths, "time_zone": "UTC"})
    details = opened(qtbot, window(client), client, job)
    results = titled(qtbot, details, "Import Results")
    assert isinstance(results, ImportResults)
    qtbot.waitUntil(lambda: bool(results.report), timeout=60_000)  # shown while it runs, filled in when it has ended

    cards = {name: card.figure.text() for name, card in results.cards.items()}
    assert cards == {
        "Rows read": "9",
        "Written": "6",
        "Rejected": "3",
        "Symbols": "3",
        "Times (UTC)": "2024-01-02 – 2024-01-05",
    }
    assert results.files is not None
    by_file = rows_of(qtbot, results.files)
    assert [row[:6] for row in by_file] == [
        ("a.csv", "6", "4", "2", "2024-01-02", "2024-01-04"),
        ("b.csv", "3", "2", "1", "2024-01-02", "2024-01-05"),
    ]
    assert "delimiter semicolon" in by_file[1][6]
    words = texts(results)
    assert "Columns of the table “prices” (made new)" in words
    assert "time, UTC, microseconds — “Date” in the source" in words
    assert "number — “Close” in the source" in words
    assert "AAPL, IBM, MSFT" in words

    assert results.rejected.text().startswith("3 rejected lines, each with its number and reason")
    results.rejected.click()
    rejects = details.stack.currentWidget()
    (table,) = rejects.tables.values()
    assert [heading.title for heading in table.page.model.headings] == [
        "file", "line", "column", "action", "reason", "text",
    ]  # fmt: skip
    found = [row for row in rows_of(qtbot, table) if row[3] == "rejected"]
    assert [(row[0], row[1], row[2]) for row in found] == [
        ("a.csv", "4", "Close"),
        ("a.csv", "6", "Date"),
        ("b.csv", "4", "Ticker"),
    ]
    assert found[0][4] == "'abc' is not a number"
    assert "2024-01-32" in found[1][4]
    assert found[0][5] == "AAPL,2024-01-04,abc,300"

    (symbols,) = titled(qtbot, details, "Symbols").tables.values()
    assert rows_of(qtbot, symbols) == [
        ("AAPL", "2", "2024-01-02", "2024-01-03"),
        ("IBM", "2", "2024-01-02", "2024-01-05"),
        ("MSFT", "2", "2024-01-02", "2024-01-04"),
    ]
    (preview,) = titled(qtbot, details, "Preview").tables.values()
    assert [row[:3] for row in rows_of(qtbot, preview)] == [
        ("AAPL", "2024-01-02", "185.50"),
        ("IBM", "2024-01-02", "161.50"),
        ("MSFT", "2024-01-02", "370.75"),
        ("AAPL", "2024-01-03", "184.25"),
        ("MSFT", "2024-01-04", "367.50"),
        ("IBM", "2024-01-05", "160.25"),
    ]
    tree = titled(qtbot, details, "Import Parameters").tree
    parameters = {tree.topLevelItem(n).text(0): tree.topLevelItem(n).text(1) for n in range(tree.topLevelItemCount())}
    assert parameters["Table"] == "prices"
    assert parameters["Path"] == ", ".join(paths)
    assert parameters["Time zone"] == "UTC"
    assert parameters["On error"] == "reject"


@pytest.mark.spec("D1", "G4")
def test_an_import_of_nothing_right_still_shows_why(
    qtbot: QtBot, window: Any, sign_in: Any, cluster: Cluster, tmp_path: Path
) -> None:
    cluster.start("n1", runs=RUNS)
    (tmp_path / "c.csv").write_text("symbol,time,close\nA,2024-01-02,one\nA,2024-01-03,two\n")
    client = sign_in()
    job = client.submit("data_import", {"table": "prices", "path": str(tmp_path / "c.csv")})
    fail = client.submit("data_import", {"table": "others", "path": str(tmp_path / "c.csv"), "on_error": "fail"})
    shown = window(client)
    details = opened(qtbot, shown, client, job)
    results = titled(qtbot, details, "Import Results")
    qtbot.waitUntil(lambda: bool(results.report) and details.model.job.ended is not None, timeout=60_000)
    qtbot.waitUntil(lambda: "Columns; the table “prices” is unchanged" in texts(results))
    assert results.cards["Rejected"].figure.text() == "2"
    assert results.cards["Written"].figure.text() == "0"
    assert details.trouble.text().startswith("No line of the source could be imported into 'prices': c.csv, line 2")
    (table,) = titled(qtbot, details, "Rejected Lines").tables.values()
    assert [row[1] for row in rows_of(qtbot, table)] == ["2", "3"]
    client.wait(fail, 60)
    details = opened(qtbot, shown, client, fail)
    assert "line 2" in details.trouble.text()
    qtbot.waitUntil(lambda: titled(qtbot, details, "Import Results").nothing.text().startswith("Nothing was imported"))
    assert client.datasets() == []


@pytest.mark.spec("D1")
def test_files_by_reference_have_results_too(
    qtbot: QtBot, window: Any, sign_in: Any, cluster: Cluster, tmp_path: Path
) -> None:
    import polars as pl

    folder = tmp_path / "far"
    folder.mkdir()
    for number, symbol in enumerate("AB"):
        pl.DataFrame(
            {"symbol": [symbol] * 2, "time": ["2024-01-02", f"2024-01-0{3 + number}"], "close": [1.0, 2.0]}
        ).with_columns(pl.col("time").str.to_datetime(time_zone="UTC")).write_parquet(folder / f"{symbol}.parquet")
    cluster.start("n1", runs=RUNS)
    client = sign_in()
    job = client.submit("data_import", {"table": "far", "path": str(folder), "register": True})
    assert client.wait(job, 60).status == "success", client.get(job).error
    details = opened(qtbot, window(client), client, job)
    results = titled(qtbot, details, "Import Results")
    qtbot.waitUntil(lambda: results.files is not None)
    assert rows_of(qtbot, results.files) == [
        ("A.parquet", "2", "2", "0", "2024-01-02", "2024-01-03", "stays where it is"),
        ("B.parquet", "2", "2", "0", "2024-01-02", "2024-01-04", "stays where it is"),
    ]
    assert results.cards["Times (UTC)"].figure.text() == "2024-01-02 – 2024-01-04"
    assert results.cards["Symbols"].figure.text() == "2"
    (symbols,) = titled(qtbot, details, "Symbols").tables.values()
    assert rows_of(qtbot, symbols)[1] == ("B", "2", "2024-01-02", "2024-01-04")


@pytest.mark.spec("F1", "F2")
def test_a_factors_details_tell_all_of_its_run(
    qtbot: QtBot, window: Any, sign_in: Any, cluster: Cluster, files: Path
) -> None:
    cluster.start("n1", runs=RUNS)
    client = sign_in()
    imported = client.submit("data_import", {"table": "prices", "path": str(files / "a.csv")})
    assert client.wait(imported, 60).status == "success"
    formula = "close / delay(close, 1) - 1"
    batch = [{"name": "change", "formula": formula}, {"name": "double", "formula": "2 * close"}]
    job = client.submit("factor", {"name": "two of them", "table": "prices", "factors": batch})
    details = opened(qtbot, window(client), client, job)
    qtbot.waitUntil(lambda: details.model.job.ended is not None, timeout=60_000)
    assert details.trouble.isHidden()

    template = titled(qtbot, details, "Run Template")
    assert isinstance(template, Template)
    qtbot.waitUntil(lambda: bool(template.versions))
    code = [editor.toPlainText() for editor in template.findChildren(QPlainTextEdit)]
    assert code[:2] == [formula, "2 * close"]
    assert '"table": "prices"' in code[2]
    words = texts(template)
    assert f"SHA-256 {hashlib.sha256(formula.encode()).hexdigest()}" in words
    assert "prices of alice" in words
    assert "symbol, time, close, volume" in words
    assert "2024-01-02 – 2024-01-04 (UTC)" in words
    assert words[words.index("Rows") + 1] == "4"
    assert any(f"import job {imported}" in one for one in words)
    assert words[words.index("Python") + 1] == platform.python_version()
    assert words[words.index("polars") + 1] == importlib.metadata.version("polars")

    tree = titled(qtbot, details, "Run Parameters")
    assert isinstance(tree, Parameters)
    assert tree.tree.topLevelItem(0).text(1) == "two of them"
    titled(qtbot, details, "Tasks")
    tasks = details.model.tasks
    qtbot.waitUntil(lambda: {tasks.index(n, 1).data() for n in range(2)} == {"Success"})
    assert [tasks.index(n, 0).data() for n in range(2)] == ["change", "double"]
    assert [tasks.index(n, 2).data() for n in range(2)] == ["n1", "n1"]
    assert all(tasks.index(n, 3).data().endswith(" s") for n in range(2))

    values = titled(qtbot, details, "Factor Values")
    values.choice.setCurrentIndex(0)
    qtbot.waitUntil(lambda: len(values.tables) >= 1)
    (table, *_) = values.tables.values()
    # 184.25 / 185.5 - 1 and 367.5 / 370.75 - 1
    assert rows_of(qtbot, table) == [
        ("2024-01-03", "AAPL", "-0.006738544"),
        ("2024-01-04", "MSFT", "-0.008766015"),
    ]
    log = titled(qtbot, details, "Execution Log").log
    qtbot.waitUntil(lambda: (log.model.total or 0) > 4)
    qtbot.waitUntil(lambda: all(log.model.line(place) is not None for place in range(log.model.total)))
    lines = [log.model.line(place).line.text for place in range(log.model.total)]
    assert any("started on node n1" in line for line in lines)
    assert any("read 4 rows of 2 symbols from table prices" in line for line in lines)


@pytest.mark.spec("F1", "G4")
def test_a_failed_factor_leads_to_its_traceback(
    qtbot: QtBot, window: Any, sign_in: Any, cluster: Cluster, files: Path
) -> None:
    cluster.start("n1", runs=RUNS)
    client = sign_in()
    imported = client.submit("data_import", {"table": "prices", "path": str(files / "a.csv")})
    client.wait(imported, 60)
    code = "def factor(frame):\n    return frame['vwap']\n"
    job = client.submit("factor", {"name": "gap", "table": "prices", "code": code})
    client.wait(job, 60)
    details = opened(qtbot, window(client), client, job)
    assert details.trouble.text() == "Factor code, line 2: KeyError: 'vwap'."
    assert details.status.accessibleName() == "Failed"
    details.head.error.click()
    assert details.tabs.tabText(details.tabs.currentIndex()) == "Execution Log"
    log = details.stack.currentWidget().log
    qtbot.waitUntil(lambda: log.lines.current_line is not None)
    assert log.lines.current_line.level is Level.ERROR
    # the traceback stands there, from its first line on
    at = log.lines.chosen.current
    found = [log.model.line(place) for place in range(at, log.model.total)]
    assert any("KeyError: 'vwap'" in one.line.text for one in found if one is not None)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("timestamp[us, tz=UTC]", "time, UTC, microseconds"),
        ("timestamp[ns]", "time, no zone, nanoseconds"),
        ("double", "number"),
        ("int64", "whole number"),
        ("string", "text"),
        ("date32[day]", "day"),
        ("bool", "yes or no"),
        ("list<item: double>", "list<item: double>"),
    ],
)
def test_types_in_words(kind: str, words: str) -> None:
    assert type_words(kind) == words
