"""A job's report in its details: what is read, chosen, selected, paged, and printed; on a real database."""

from __future__ import annotations

import datetime as dt
import gc
import shutil
import subprocess
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QPoint, Qt
from PySide6.QtPrintSupport import QPrintPreviewWidget
from PySide6.QtWidgets import QApplication, QListWidget
from pytestqt.qtbot import QtBot

from desktop.bridge import Bridge
from desktop.models.report import sources_of
from desktop.views.panels.cells import Table
from desktop.views.panels.chart import Chart
from desktop.views.panels.grid import HeatMap
from desktop.views.printing import fitting, write_report
from desktop.views.report_section import Report
from desktop.views.report_view import ReportBody, ReportView
from quarterdeck.blocks import encode_block, schema_bytes
from quarterdeck.client import Client
from quarterdeck.errors import Invalid, NotFound
from quarterdeck.report import builtins, parse

LEFT = Qt.MouseButton.LeftButton
START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
SECONDS = START.timestamp()
DAY = 86400.0

Put = Callable[..., int]


def factor(symbols: int = 4, days: int = 60, add: float = 0.0) -> pa.Table:
    """Symbol n has on day d the value n + d / 100 + add."""
    return pa.table(
        {
            "time": pa.array(
                [START + dt.timedelta(days=day) for day in range(days) for _ in range(symbols)],
                pa.timestamp("us", "UTC"),
            ),
            "symbol": [f"S{n}" for _ in range(days) for n in range(symbols)],
            "value": [n + day / 100 + add for day in range(days) for n in range(symbols)],
        }
    )


@pytest.fixture
def put(database: Any) -> Put:
    """A job of alice's that ended: for each of its tasks, the tables by name."""

    def make(*tasks: dict[str, pa.Table], kind: str = "factor") -> int:
        job: int = database.submit("alice", [{"name": f"task {n}"} for n in range(len(tasks))], kind=kind)
        for task, tables in zip(database.tasks(job), tasks, strict=True):
            database.start("n1", task)
            for name, table in tables.items():
                block = encode_block(table)
                number = database.value(
                    "node_n1", "select qd.open_table(:t, 1, :n, :s)", t=task, n=name, s=schema_bytes(table.schema)
                )
                database.sql(
                    "node_n1",
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
                database.sql("node_n1", "select qd.close_table(:t, 1, :table, 1)", t=task, table=number)
            database.end("n1", task)
        return job

    return make


def evaluation() -> dict[str, pa.Table]:
    """Tables as an evaluation writes them, for two periods, of 300 days."""
    rng = np.random.default_rng(3)
    times = pa.array([START + dt.timedelta(days=n) for n in range(300)], pa.timestamp("us", "UTC"))
    metrics = (
        "ic_mean",
        "ic_std",
        "icir",
        "ic_t_stat",
        "ic_share_positive",
        "rank_ic_mean",
        "long_short",
        "rank_autocorrelation",
    )
    parts: dict[str, list[pa.Table]] = {"ic": [], "quantiles": [], "turnover": [], "autocorrelation": []}
    for period in (1, 5):
        one = pa.array([period] * 300, pa.int64())
        parts["ic"].append(
            pa.table({"time": times, "period": one, "ic": rng.normal(0, 0.1, 300), "rank_ic": rng.normal(0, 0.1, 300)})
        )
        parts["autocorrelation"].append(
            pa.table({"time": times, "period": one, "rank_autocorrelation": rng.random(300)})
        )
        for quantile in (1, 2, 3):
            which = pa.array([quantile] * 300, pa.int64())
            back = pa.table({"time": times, "period": one, "quantile": which, "return": rng.normal(0, 0.01, 300)})
            parts["quantiles"].append(back)
            parts["turnover"].append(
                pa.table({"time": times, "period": one, "quantile": which, "turnover": rng.random(300)})
            )
    periods = pa.array([1] * len(metrics) + [5] * len(metrics), pa.int64())
    summary = pa.table({"period": periods, "metric": list(metrics) * 2, "value": [0.25] * len(metrics) * 2})
    return {name: pa.concat_tables(tables) for name, tables in parts.items()} | {"summary": summary}


def settled(qtbot: QtBot, body: ReportBody | None) -> ReportBody:
    """Wait until all panels are made and read."""
    assert body is not None
    qtbot.waitUntil(lambda: body.complete and not body.model.reading, timeout=30_000)
    QApplication.processEvents()
    return body


@pytest.fixture
def view(qtbot: QtBot, bridge: Bridge, sign_in: Any) -> Any:
    """Shows a job's report in a view of its own."""
    made: list[ReportView] = []

    def make(job: int, *templates: Any) -> ReportView:
        client: Client = sign_in()
        details = client.get(job)
        shown = ReportView(client, bridge, details, templates or fitting(details.job.kind, details.params))
        shown.resize(1200, 800)
        shown.show()
        made.append(shown)
        settled(qtbot, shown.body)
        return shown

    yield make
    for one in made:
        for body in (one.body, one.sources):
            if body is not None:
                body.end()
        one.hide()
        one.deleteLater()


def chart(body: ReportBody, name: str) -> Chart:
    drawing = body.cards[name].drawing
    assert isinstance(drawing, Chart), body.cards[name].sentence.text()
    return drawing


def rows(body: ReportBody, name: str) -> Table:
    drawing = body.cards[name].drawing
    assert isinstance(drawing, Table), body.cards[name].sentence.text()
    return drawing


@pytest.mark.spec("F2", "V2")
def test_the_factors_report_in_its_details(qtbot: QtBot, window: Any, sign_in: Any, put: Put) -> None:
    job = put({"factor": factor()})
    shown = window(sign_in())
    page = shown.pages[0]
    qtbot.waitUntil(lambda: page.model.find(job) is not None)
    page.open(page.model.row(page.model.find(job)))
    details = page.details
    qtbot.waitUntil(lambda: details.model.details is not None)
    details.open_section("report")
    section = next(one for one in details.sections if isinstance(one, Report))
    qtbot.waitUntil(lambda: section.view is not None, timeout=30_000)
    assert section.view is not None
    qtbot.waitUntil(lambda: section.view is not None and section.view.body is not None)
    body = settled(qtbot, section.view.body)
    data = chart(body, "values").data
    assert [one.name for one in data.series] == ["S0", "S1", "S2"]
    assert data.series[2].y.tolist() == pytest.approx([2 + day / 100 for day in range(60)])
    assert data.series[0].x[1] == SECONDS + DAY
    section_at_date = chart(body, "section").data
    assert sum(one.counts.sum() for one in section_at_date.groups) == 4
    assert rows(body, "table").where.text() == "1–10 of 240 rows"
    assert rows(body, "table").model.rowCount() == 10
    assert section.view.print.text() == "Print Report"
    place = section.view.print.mapTo(section.view, QPoint(section.view.print.width(), 0))
    assert place.x() > section.view.width() - 40


@pytest.mark.spec("E1", "Q1")
def test_the_evaluations_report(qtbot: QtBot, view: Any, put: Put) -> None:
    body = view(put(evaluation(), kind="evaluation")).body
    assert [card.sentence.text() for card in body.cards.values() if card.sentence.isVisible()] == []
    assert isinstance(body.cards["ic_monthly"].drawing, HeatMap)
    assert chart(body, "ic").data.series[0].full == 300
    assert "Pearson" in body.cards["ic_mean"].toolTip()


@pytest.mark.spec("F2", "V2")
def test_other_symbols_are_chosen(qtbot: QtBot, view: Any, put: Put) -> None:
    shown = view(put({"factor": factor()}))
    box = shown.boxes["symbol"]
    assert box.text() == "Symbol: S0, S1, S2"
    qtbot.mouseClick(box, LEFT)
    popup = box.list
    popup.search.setText("s3")
    listed: QListWidget = popup.list
    assert listed.count() == 1
    qtbot.keyClick(popup.search, Qt.Key.Key_Return)
    popup.search.setText("")
    assert [listed.item(n).text() for n in range(4)] == ["S0", "S1", "S2", "S3"]
    popup.list.itemClicked.emit(listed.item(0))
    popup.close()
    qtbot.waitUntil(lambda: [one.name for one in chart(shown.body, "values").data.series] == ["S1", "S2", "S3"])
    assert box.text() == "Symbol: S1, S2, S3"
    date = shown.boxes["date"]
    qtbot.mouseClick(date, LEFT)
    date.list.search.setText("2024-01-05")
    qtbot.keyClick(date.list.search, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: shown.model.choices["date"] == (START + dt.timedelta(days=4),))
    settled(qtbot, shown.body)
    assert date.text() == "Date: 2024-01-05"


@pytest.mark.spec("L3")
def test_nothing_is_drawn_before_a_required_choice(qtbot: QtBot, view: Any, put: Put) -> None:
    document = builtins()["factor"].model_dump()
    document["name"] = "mine"
    document["choices"][0]["initial"] = "none"
    shown = view(put({"factor": factor()}), parse(document))
    card = shown.body.cards["values"]
    assert card.drawing is None
    assert card.sentence.text() == "Choose a value for symbol."
    assert shown.boxes["symbol"].text() == "Symbol: choose…"
    shown.boxes["symbol"].take(("S1",))
    qtbot.waitUntil(lambda: card.drawing is not None)
    assert not card.sentence.isVisible()


@pytest.mark.spec("B6", "V3")
def test_selected_times_narrow_what_follows(qtbot: QtBot, view: Any, put: Put) -> None:
    shown = view(put({"factor": factor()}))
    body = shown.body
    chart(body, "values").drag(SECONDS + 10 * DAY, SECONDS + 12.5 * DAY, done=True)
    qtbot.waitUntil(lambda: rows(body, "table").where.text() == "1–10 of 12 rows")
    assert shown.selected.isVisible()
    assert shown.selected.text() == "2024-01-11 to 2024-01-13"
    assert chart(body, "coverage").bands
    qtbot.mouseClick(shown.selected, LEFT)
    qtbot.waitUntil(lambda: rows(body, "table").where.text() == "1–10 of 240 rows")
    assert not chart(body, "coverage").bands


@pytest.mark.spec("Y10")
def test_views_of_one_job_share_selection_and_pointer(qtbot: QtBot, view: Any, put: Put) -> None:
    job = put({"factor": factor()})
    first, torn_off = view(job), view(job)
    chart(first.body, "values").drag(SECONDS + 10 * DAY, SECONDS + 12.5 * DAY, done=True)
    qtbot.waitUntil(lambda: rows(torn_off.body, "table").where.text() == "1–10 of 12 rows")
    chart(first.body, "values").point(SECONDS + 20 * DAY, 1.0)
    assert chart(torn_off.body, "values").cross.at == SECONDS + 20 * DAY
    assert torn_off.body.cards["coverage"].reading.text().startswith("2024-01-21")
    settled(qtbot, first.body)


@pytest.mark.spec("V2", "B4")
def test_pages_of_a_table(qtbot: QtBot, view: Any, put: Put) -> None:
    body = view(put({"factor": factor()})).body
    table = rows(body, "table")
    table.arrows[3][0].click()
    qtbot.waitUntil(lambda: table.where.text() == "231–240 of 240 rows")
    assert not table.arrows[3][0].isEnabled()
    assert table.model.index(9, 1).data() == "S3"
    table.arrows[1][0].click()
    qtbot.waitUntil(lambda: table.where.text() == "221–230 of 240 rows")


@pytest.mark.spec("V2")
def test_the_data_sources(qtbot: QtBot, view: Any, put: Put) -> None:
    shown = view(put({"factor": factor()}))
    shown.which.setCurrentIndex(1)
    body = settled(qtbot, shown.sources)
    assert set(body.cards) == set(builtins()["factor"].sources)
    for name in body.cards:
        assert rows(body, name).model.rowCount() <= 10
    assert rows(body, "chosen").where.text() == "1–10 of 180 rows"
    shown.boxes["symbol"].take(("S1",))
    qtbot.waitUntil(lambda: rows(body, "chosen").where.text() == "1–10 of 60 rows")
    assert shown.stack.currentWidget() is body
    assert sources_of(builtins()["evaluation"]).name == "evaluation"


@pytest.mark.spec("V3", "G4")
def test_a_panel_that_cannot_be_read_says_why_and_the_others_stay(view: Any, put: Put) -> None:
    document = builtins()["factor"].model_dump()
    document["name"] = "mine"
    document["panels"][0]["fields"]["y"] = ["velue"]
    body = view(put({"factor": factor()}), parse(document)).body
    card = body.cards["values"]
    assert "velue" in card.sentence.text()
    assert "value" in card.sentence.text().replace("velue", "")
    assert card.sentence.objectName() == "problem"
    assert body.cards["coverage"].drawing is not None


@pytest.mark.spec("M7", "V2")
def test_refresh_reads_again_and_keeps_how_the_panels_are(qtbot: QtBot, view: Any, put: Put) -> None:
    shown = view(put({"factor": factor()}))
    body = shown.body
    chart(body, "values").toggle(1)
    chart(body, "values").zoom(0.5)
    span = chart(body, "values").box.viewRange()[0]
    before = body.model.panels["values"]
    qtbot.mouseClick(shown.refresh, LEFT)
    qtbot.waitUntil(lambda: body.model.panels["values"] is not before)
    settled(qtbot, body)
    assert chart(body, "values").hidden == {1}
    assert chart(body, "values").box.viewRange()[0] == pytest.approx(span)


@pytest.mark.spec("E1")
def test_each_task_has_its_report(qtbot: QtBot, view: Any, put: Put) -> None:
    shown = view(put({"factor": factor()}, {"factor": factor(add=100.0)}))
    assert [shown.task.itemText(n) for n in range(shown.task.count())] == ["task 0", "task 1"]
    assert chart(shown.body, "values").data.series[0].y[0] == 0.0
    shown.task.setCurrentIndex(1)
    qtbot.waitUntil(lambda: chart(shown.body, "values").data.series[0].y[0] == 100.0)
    settled(qtbot, shown.body)


@pytest.mark.spec("V3", "B5")
def test_a_template_of_ones_own_is_offered(qtbot: QtBot, window: Any, sign_in: Any, put: Put) -> None:
    document = builtins()["factor"].model_dump()
    document |= {"name": "mine", "title": "Mine alone", "panels": document["panels"][:1]}
    client = sign_in()
    client.save_template(parse(document))
    job = put({"factor": factor()})
    shown = window(client)
    page = shown.pages[0]
    qtbot.waitUntil(lambda: page.model.find(job) is not None)
    page.open(page.model.row(page.model.find(job)))
    qtbot.waitUntil(lambda: page.details.model.details is not None)
    page.details.open_section("report")
    section = next(one for one in page.details.sections if isinstance(one, Report))
    qtbot.waitUntil(lambda: section.view is not None and section.view.template.count() == 2, timeout=30_000)
    assert section.view is not None
    section.view.template.setCurrentIndex(1)
    qtbot.waitUntil(lambda: section.view is not None and section.view.model is not None
                    and section.view.model.template.name == "mine")  # fmt: skip
    body = settled(qtbot, section.view.body)
    assert list(body.cards) == ["values"]


@pytest.mark.spec("G4")
def test_a_job_without_results_says_so(qtbot: QtBot, window: Any, sign_in: Any, database: Any) -> None:
    job = database.submit("alice")
    shown = window(sign_in())
    page = shown.pages[0]
    qtbot.waitUntil(lambda: page.model.find(job) is not None)
    page.open(page.model.row(page.model.find(job)))
    qtbot.waitUntil(lambda: page.details.model.details is not None)
    page.details.open_section("report")
    section = next(one for one in page.details.sections if isinstance(one, Report))
    assert section.nothing.text() == "There are no results yet."
    assert section.view is None


# --- paper -----------------------------------------------------------------------------------------------------------


def pdf(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.fail(f"{command[0]} is missing: install poppler-utils (packaging/system_packages.sh does)")
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def pages_of(path: Path) -> list[str]:
    return pdf("pdftotext", "-layout", str(path), "-").split("\f")[:-1]


@pytest.mark.spec("V2")
def test_what_prints_is_what_the_screen_shows(
    qtbot: QtBot, bridge: Bridge, view: Any, put: Put, tmp_path: Path
) -> None:
    shown = view(put({"factor": factor()}))
    shown.body.cards["values"].toggle(1)
    path = tmp_path / "report.pdf"
    saved = bridge.start(shown, shown.printing.save(path, shown.body.model, shown.body.states(), shown.details))
    qtbot.waitUntil(saved.done, timeout=30_000)
    pages = pages_of(path)
    assert shown.words.text() == f"Saved as report.pdf, {len(pages)} pages."
    assert [f"Page {n + 1} of {len(pages)}" in page for n, page in enumerate(pages)] == [True] * len(pages)
    first = " ".join(pages[0].split())
    assert not [letter for letter in "".join(pages) if "\ue000" <= letter <= "\uf8ff"], (
        "text can be copied and searched"
    )
    name = shown.details.job.name
    for words in (
        name,
        "Factor values",
        f"job {shown.details.job.id}",
        "alice",
        "Success",
        "Value over time",
        "S0, S1, S2",
    ):
        assert words in first
    legend = [line for line in pages[0].splitlines() if line.split() == ["S0", "S2"]]
    assert legend, "the hidden series is not in the legend, the others are"
    assert "Jan 2024" in pages[0]
    heads = [page for page in pages if "symbol" in page.split() and "value" in page.split() and "time" in page.split()]
    assert len(heads) >= 2, "the table is broken over pages, its head on each"
    assert "The first 100 of 240 rows." in pages[-1]
    assert pages[-1].count("2024-0") + pages[-2].count("2024-0") >= 100
    assert "A4" in pdf("pdfinfo", str(path))
    images = pdf("pdfimages", "-list", str(path)).splitlines()
    assert len(images) == 2, "all is vectors: no image is listed below the two lines of the head"
    assert path.stat().st_size < 400_000
    assert not [one for one in tmp_path.iterdir() if one.name.endswith(".new")]


@pytest.mark.spec("V2")
def test_the_pages_are_painted(view: Any, qtbot: QtBot, bridge: Bridge, put: Put, tmp_path: Path) -> None:
    shown = view(put(evaluation(), kind="evaluation"))
    path = tmp_path / "report.pdf"
    saved = bridge.start(shown, shown.printing.save(path, shown.body.model, shown.body.states(), shown.details))
    qtbot.waitUntil(saved.done, timeout=30_000)
    pdf("pdftoppm", "-r", "40", "-gray", str(path), str(tmp_path / "page"))
    pictures = sorted(tmp_path.glob("page*.pgm"))
    assert len(pictures) == len(pages_of(path)) >= 3
    for picture in pictures:
        raw = np.frombuffer(picture.read_bytes()[-400_000:], np.uint8)
        assert (raw > 250).mean() > 0.5, "paper is light"
        assert (raw < 200).mean() > 0.004, "a page is empty"


@pytest.mark.spec("V2")
def test_the_preview_is_opened_and_shows_all_pages(qtbot: QtBot, view: Any, put: Put) -> None:
    shown = view(put({"factor": factor()}))
    shown.show_preview()
    qtbot.waitUntil(lambda: shown.printing.preview is not None, timeout=30_000)
    dialog = shown.printing.preview
    preview = dialog.findChild(QPrintPreviewWidget)
    assert isinstance(preview, QPrintPreviewWidget)
    qtbot.waitUntil(lambda: preview.pageCount() >= 2)
    before = preview.pageCount()
    preview.setLandscapeOrientation()
    preview.updatePreview()
    qtbot.waitUntil(lambda: preview.pageCount() != before, timeout=30_000)
    dialog.reject()
    qtbot.waitUntil(lambda: shown.printing.preview is None)


@pytest.mark.spec("C4", "V2", "G4")
def test_a_report_is_written_without_a_window(loop: Any, sign_in: Any, put: Put, tmp_path: Path) -> None:
    client = sign_in()
    job = put({"factor": factor()}, {"factor": factor(add=100.0)})
    path = tmp_path / "out.pdf"
    assert write_report(client, job, path, None, None) == len(pages_of(path))
    assert "task 0" in pages_of(path)[0]
    write_report(client, job, path, "factor", "task 1")
    text = "\n".join(pages_of(path))
    assert "task 1" in text
    assert "100.0" in text
    for wrong, error, words in (
        ((job, tmp_path / "out.png", None, None), Invalid, "ends in .pdf"),
        ((job, path, "nothing", None), NotFound, "nothing"),
        ((job, path, None, "task 7"), NotFound, "task 7"),
        ((job, tmp_path / "none" / "out.pdf", None, None), Invalid, "can't be written"),
        ((10_000, path, None, None), NotFound, "10000"),
    ):
        with pytest.raises(error, match=words):
            write_report(client, *wrong)  # type: ignore[arg-type]


@pytest.mark.spec("V2")
def test_a_closed_report_leaves_no_chart_behind(qtbot: QtBot, bridge: Bridge, sign_in: Any, put: Put) -> None:
    details = sign_in().get(put({"factor": factor()}))
    shown = ReportView(sign_in(), bridge, details, fitting("factor"))
    shown.show()
    settled(qtbot, shown.body)
    charts = [weakref.ref(card.drawing) for card in shown.body.cards.values()] if shown.body is not None else []
    assert len(charts) == 6
    assert all(one() is not None for one in charts)
    shown.close()
    shown.deleteLater()
    del shown
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    qtbot.waitUntil(lambda: gc.collect() >= 0 and not [one for one in charts if one() is not None])


@pytest.mark.spec("V2")
def test_closing_while_it_reads_and_prints_leaves_nothing_behind(
    qtbot: QtBot, bridge: Bridge, sign_in: Any, put: Put, errors: list[BaseException]
) -> None:
    client = sign_in()
    details = client.get(put({"factor": factor(symbols=40)}))
    for turns in (1, 5, 40):
        shown = ReportView(client, bridge, details, fitting("factor"))
        shown.show()
        for _ in range(turns):
            QApplication.processEvents()
        shown.show_preview()
        QApplication.processEvents()
        shown.deleteLater()
        QApplication.processEvents()
    qtbot.wait(50)
    assert not errors
