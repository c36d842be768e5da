"""Panels from plain arrays: what they draw, read, choose and save; and that nothing makes them blank or breaks them."""

from __future__ import annotations

import asyncio
import csv
import gc
import itertools
import math
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QImage, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from desktop import theme
from desktop.models.selection import Selection
from desktop.views.panels import PANELS, Reading
from desktop.views.panels.axes import number_text, time_text, time_ticks
from desktop.views.panels.card import Card
from desktop.views.panels.cells import Table
from desktop.views.panels.chart import Chart
from desktop.views.panels.series import thinned
from quarterdeck.report import shapes
from quarterdeck.report import template as documents
from tests.gui.panel_samples import DAY, START, data, panel, series, troubled

Cards = Callable[..., Card]


@pytest.fixture
def cards(qtbot: QtBot, loop: asyncio.AbstractEventLoop) -> Iterator[Cards]:
    """Makes shown cards."""
    made: list[Card] = []

    def make(one: Any, what: Any, selection: Selection | None = None) -> Card:
        problems: list[BaseException] = []
        card = Card(one, selection or Selection(), problems.append)
        card.resize(620, 280)
        card.show_data(what)
        card.show()
        qtbot.waitExposed(card)
        QApplication.processEvents()
        made.append(card)
        return card

    yield make
    for card in made:
        card.end()
        card.hide()
        card.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def chart(card: Card) -> Chart:
    assert isinstance(card.drawing, Chart)
    return card.drawing


def tones(image: QImage) -> set[int]:
    """The different colours of a picture."""
    seen = image.convertToFormat(QImage.Format.Format_RGB32)
    return set(np.frombuffer(seen.constBits(), np.uint32).tolist())


@pytest.mark.spec("V3")
def test_each_type_of_panel_has_a_drawing() -> None:
    assert set(PANELS) == set(documents.PANELS)


@pytest.mark.spec("V3", "F2", "E1")
@pytest.mark.parametrize("shade", ["light", "dark"])
@pytest.mark.parametrize("kind", sorted(PANELS))
def test_each_panel_draws_in_both_themes(cards: Cards, qapp: QApplication, kind: str, shade: str) -> None:
    card = cards(panel(kind), data(kind))
    theme.apply(qapp, "dark" if shade == "dark" else "light")
    QApplication.processEvents()
    image = card.grab().toImage()
    back = QColor(theme.current().surface).rgb()
    assert back in tones(image)
    whole = np.frombuffer(image.convertToFormat(QImage.Format.Format_RGB32).constBits(), np.uint32)
    share = float((whole != back).mean())
    assert share > (0.005 if kind == "number" else 0.02), "nearly nothing is drawn"
    theme.apply(qapp, "light")


@pytest.mark.spec("B3")
def test_prices_have_no_labels_below_zero(cards: Cards) -> None:
    times, one = START + DAY * np.arange(50), np.linspace(1.0, 700.0, 50)
    what = shapes.Candles(time=times, open=one, high=one + 1, low=one - 1, close=one, volume=one, width=DAY)
    drawing = chart(cards(panel("candlestick"), what))
    low, high = drawing.box.viewRange()[1]
    assert low < -100
    assert min(value for value, _ in drawing.left.ticks(low, high, drawing.box.height())) == 0


@pytest.mark.spec("V3", "G4")
@pytest.mark.parametrize("kind", sorted(PANELS))
def test_bad_data_gives_a_drawing_or_a_sentence(cards: Cards, kind: str) -> None:
    for name, what in troubled(kind):
        card = cards(panel(kind), what)
        assert (card.drawing is None) == bool(card.sentence.text()), name
        if card.drawing is None:
            assert card.sentence.text().endswith("."), name
            continue
        if isinstance(card.drawing, Chart):
            (x0, x1), (y0, y1) = card.drawing.box.viewRange()
            assert all(math.isfinite(value) for value in (x0, x1, y0, y1)), name
            assert x1 > x0, name
            assert y1 > y0, name
            card.drawing.point((x0 + x1) / 2, (y0 + y1) / 2)
            if card.drawing.can_log:
                card.drawing.set_log(True)
                card.grab()
        assert len(tones(card.grab().toImage())) > 3, name


@pytest.mark.spec("V3")
def test_a_panels_own_sentence_stands_in_its_place(cards: Cards) -> None:
    words = "The table 'factor' has no column 'velue'; did you mean 'value'?"
    card = cards(panel("line"), shapes.Lines(problem=words))
    assert card.sentence.text() == words
    assert card.sentence.isVisible()
    card.show_data(data("line"))
    assert not card.sentence.isVisible()
    assert card.note.text() == "5 of 300 symbols"


@pytest.mark.spec("V3")
def test_the_crosshair_reads_the_values_at_the_nearest_place(cards: Cards) -> None:
    x = START + DAY * np.arange(4)
    lines = shapes.Lines(
        x=shapes.Axis(kind="time"),
        series=(series("a", x, np.array([1.0, 2.0, np.nan, 4.0])), series("b", x[1:], np.array([0.5, 0.25, 0.125]))),
    )
    card = cards(panel("line"), lines)
    seen: list[Reading] = []
    chart(card).pointed.connect(seen.append)
    chart(card).point(START + 1.2 * DAY, 0.0)
    assert seen[-1].where == "2023-01-03"
    assert seen[-1].values == {0: "2.000", 1: "0.5000"}
    assert card.reading.text() == "2023-01-03"
    chart(card).point(START + 2.1 * DAY, 0.0)
    assert seen[-1].values == {0: "–", 1: "0.2500"}
    chart(card).point(START - DAY, 0.0)
    assert seen[-1].where == "2023-01-02"
    assert seen[-1].values == {0: "1.000"}


@pytest.mark.spec("Y10")
def test_the_pointer_is_shared_by_the_panels_of_a_report(cards: Cards) -> None:
    selection = Selection()
    first, second = (
        cards(panel("line"), data("line"), selection),
        cards(panel("candlestick"), data("candlestick"), selection),
    )
    table = cards(panel("table"), data("table"), selection)
    chart(first).point(START + 14 * DAY, 0.0)
    assert chart(second).cross.at == 10.0  # two weeks later, without the weekends
    assert second.reading.text().startswith("2023-01-16")
    assert table.reading.text() == ""
    chart(first).unpoint()
    assert chart(second).cross.at is None


@pytest.mark.spec("V3")
def test_a_series_is_hidden_by_its_legend(cards: Cards, qtbot: QtBot) -> None:
    x = START + DAY * np.arange(10)
    lines = shapes.Lines(
        x=shapes.Axis(kind="time"), series=(series("low", x, np.arange(10.0)), series("high", x, 100 + np.arange(10.0)))
    )
    card = cards(panel("line"), lines)
    assert chart(card).box.viewRange()[1][1] > 109
    # the second chip begins after the first one
    place = next(
        QPoint(at, 5)
        for at in range(5, card.legend.width())
        if card.legend.grab(card.legend.rect()).toImage().pixelColor(at, 9)
        == QColor(theme.charts(theme.current()).series[1])
    )
    qtbot.mouseClick(card.legend, Qt.MouseButton.LeftButton, pos=place)
    assert chart(card).hidden == {1}
    assert chart(card).box.viewRange()[1][1] < 11
    card.toggle(1)
    assert chart(card).box.viewRange()[1][1] > 109


@pytest.mark.spec("V3")
@pytest.mark.parametrize("kind", ["line", "bar", "scatter", "histogram"])
def test_a_logarithmic_scale(cards: Cards, kind: str) -> None:
    x = START + DAY * np.arange(5)
    y = np.array([1.0, 10.0, 100.0, -5.0, 1000.0])
    time = shapes.Axis(kind="time")
    what: Any = {
        "line": shapes.Lines(x=time, series=(series("a", x, y),)),
        "bar": shapes.Bars(x=time, series=(series("a", x, y),), width=DAY),
        "scatter": shapes.Points(x=time, at_x=x, at_y=y),
        "histogram": shapes.Bins(edges=np.arange(6.0), groups=(shapes.Group(name="", counts=np.abs(y), mean=0.0),)),
    }[kind]
    card = cards(panel(kind), what)
    card.set_log(True)
    low, high = chart(card).box.viewRange()[1]
    assert -0.5 <= low <= 0.0
    assert 3.0 <= high <= 3.5
    labels = [text for _, text in chart(card).left.ticks(low, high, 200)]
    assert {"1", "10", "100"} <= set(labels)
    menu = card.make_menu()
    action = next(one for one in menu.actions() if one.text() == "Logarithmic Scale")
    assert action.isChecked()
    action.trigger()
    assert chart(card).box.viewRange()[1][1] >= 1000


@pytest.mark.spec("V3")
def test_zoom_pan_and_reset(cards: Cards, qtbot: QtBot) -> None:
    card = cards(panel("line"), data("line"))
    drawing = chart(card)
    whole = drawing.box.viewRange()[0]
    drawing.drag(START + 100 * DAY, START + 200 * DAY, done=True)
    assert drawing.box.viewRange()[0] == pytest.approx([START + 100 * DAY, START + 200 * DAY])
    drawing.pan(50 * DAY)
    assert drawing.box.viewRange()[0] == pytest.approx([START + 150 * DAY, START + 250 * DAY])
    drawing.pan(1e12)
    assert drawing.box.viewRange()[0][1] == pytest.approx(whole[1])
    qtbot.keyClick(drawing, Qt.Key.Key_0)
    assert drawing.box.viewRange()[0] == pytest.approx(whole)
    qtbot.keyClick(drawing, Qt.Key.Key_Plus)
    low, high = drawing.box.viewRange()[0]
    assert high - low == pytest.approx((whole[1] - whole[0]) / 2)
    qtbot.mouseDClick(drawing.viewport(), Qt.MouseButton.LeftButton, pos=drawing.viewport().rect().center())
    assert drawing.box.viewRange()[0] == pytest.approx(whole)


@pytest.mark.spec("V3")
def test_the_wheel_zooms_with_control_only(cards: Cards) -> None:
    drawing = chart(cards(panel("line"), data("line")))
    whole = drawing.box.viewRange()[0]
    middle = QPointF(drawing.viewport().rect().center())
    for keys, zoomed in ((Qt.KeyboardModifier.NoModifier, False), (Qt.KeyboardModifier.ControlModifier, True)):
        event = QWheelEvent(
            middle,
            middle,
            QPoint(0, 0),
            QPoint(0, 120),
            Qt.MouseButton.NoButton,
            keys,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(drawing.viewport(), event)
        assert (drawing.box.viewRange()[0] != whole) is zoomed
        assert event.isAccepted() is zoomed


@pytest.mark.spec("V3")
def test_the_keys_move_the_crosshair_from_value_to_value(cards: Cards, qtbot: QtBot) -> None:
    drawing = chart(cards(panel("candlestick"), data("candlestick")))
    drawing.point(10.0, 80.0)
    qtbot.keyClick(drawing, Qt.Key.Key_Right)
    assert drawing.cross.at == 11.0 or drawing.cross.at == 12.0
    qtbot.keyClick(drawing, Qt.Key.Key_Left)
    assert drawing.cross.at is not None


@pytest.mark.spec("B6")
def test_dragging_selects_times_where_the_panel_links_them(cards: Cards) -> None:
    selection = Selection()
    linked = panel("line", links={"sets": ["time"]})
    card, other = cards(linked, data("line"), selection), cards(panel("area"), data("area"), selection)
    before = chart(card).box.viewRange()[0]
    chart(card).drag(START + 10 * DAY, START + 20 * DAY, done=True)
    assert selection.times == (START + 10 * DAY, START + 20 * DAY)
    assert chart(card).box.viewRange()[0] == before
    assert chart(other).bands[0][0] == (START + 10 * DAY, START + 20 * DAY)
    chart(card).click(START + 30.2 * DAY, 0.0)
    assert selection.times == (START + 30 * DAY, START + 31 * DAY - 1e-3)
    chart(card).click(START + 30.2 * DAY, 0.0)
    assert selection.times is None
    assert not chart(other).bands


@pytest.mark.spec("B6")
def test_a_row_of_a_table_is_selected_with_its_time_and_symbol(cards: Cards, qtbot: QtBot) -> None:
    selection = Selection()
    card = cards(panel("table", links={"sets": ["row", "symbol"]}), data("table"), selection)
    assert isinstance(card.drawing, Table)
    view = card.drawing.view
    place = view.visualRect(view.model().index(1, 0)).center()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert selection.row == {"time": START + DAY, "symbol": "MSFT"}
    assert selection.symbols == ("MSFT",)


@pytest.mark.spec("B6")
def test_a_selected_row_is_shown_at_its_time(cards: Cards) -> None:
    selection = Selection()
    card = cards(panel("candlestick", links={"follows": ["row"]}), data("candlestick"), selection)
    other = cards(panel("line"), data("line"), selection)
    chart(card).look(0.0, 20.0)
    selection.pick(row={"time": START + 210 * DAY, "symbol": "AAPL"})
    low, high = chart(card).box.viewRange()[0]
    assert low <= 150.0 <= high  # thirty weeks of five days later
    (((first, last), _),) = chart(card).bands
    assert first <= 150.0 <= last
    assert not chart(other).bands
    assert chart(other).span is None


@pytest.mark.spec("V3")
def test_values_pictures_and_drawings_are_saved(cards: Cards, tmp_path: Path) -> None:
    for kind in sorted(PANELS):
        card = cards(panel(kind), data(kind))
        card.save_png(tmp_path / f"{kind}.png")
        image = QImage(str(tmp_path / f"{kind}.png"))
        assert image.width() == card.width() * 2
        assert len(tones(image)) > 4
        card.save_svg(tmp_path / f"{kind}.svg")
        text = (tmp_path / f"{kind}.svg").read_text()
        assert card.panel.title in text
        assert "<text" in text
        card.save_csv(tmp_path / f"{kind}.csv")
        with (tmp_path / f"{kind}.csv").open(newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) > 1
        assert len({len(row) for row in rows}) == 1
    with (tmp_path / "candlestick.csv").open(newline="") as file:
        first = next(iter(csv.DictReader(file)))
    assert first["time"] == "2023-01-02"
    assert float(first["close"]) == data("candlestick").close[0]


@pytest.mark.spec("G4")
def test_a_file_that_cannot_be_written_is_one_sentence(cards: Cards, tmp_path: Path) -> None:
    problems: list[BaseException] = []
    card = Card(panel("line"), Selection(), problems.append)
    card.show_data(data("line"))
    for save in (card.save_png, card.save_svg, card.save_csv):
        card._save(save, tmp_path / "none" / "file")
    assert len(problems) == 3
    assert all("can't be written" in str(one) for one in problems)
    card.end()
    card.deleteLater()


@pytest.mark.spec("Q1")
def test_the_tool_tip_gives_the_definition(cards: Cards) -> None:
    card = cards(panel("line", help="IC: Pearson, per date."), data("line"))
    assert card.title.toolTip() == card.help.toolTip() == "IC: Pearson, per date."
    assert card.help.isVisible()
    assert not card.toolTip()  # it would hide the chart
    assert not cards(panel("line"), data("line")).help.isVisible()
    assert cards(panel("number", help="Mean."), data("number")).toolTip() == "Mean."


@pytest.mark.spec("V3")
def test_no_label_of_an_axis_is_cut(cards: Cards) -> None:
    x = START + DAY * np.arange(300)
    for y in (np.linspace(-1.23456e9, 9.8e11, 300), np.linspace(-1e-5, 1e-5, 300), 1e9 + np.linspace(0, 1e-4, 300)):
        drawing = chart(cards(panel("line"), shapes.Lines(x=shapes.Axis(kind="time"), series=(series("a", x, y),))))
        low, high = drawing.box.viewRange()[1]
        labels = [text for _, text in drawing.left.ticks(low, high, drawing.box.height())]
        assert len(labels) >= 2
        assert len(set(labels)) == len(labels)
        widest = max(drawing.left.metrics.horizontalAdvance(text) for text in labels)
        assert drawing.left.width() >= widest + 6


def test_numbers_and_times_read_well() -> None:
    assert number_text(1234.5) == "1,234.50"
    assert number_text(-0.012345) == "−0.01235"
    assert number_text(0.1234, "percent") == "12.34 %"
    assert number_text(float("nan")) == "–"
    assert number_text(2.5e20) == "2.500e+20"
    assert time_text(START) == "2023-01-02"
    assert time_text(START + 34_200) == "2023-01-02 09:30"
    assert [text for _, text in time_ticks(START, START + 365 * DAY, 5)] == ["Apr 2023", "Jul", "Oct", "Jan 2024"]
    assert [text for _, text in time_ticks(START + 9 * 3600, START + 11 * 3600, 4)] == [
        "2 Jan 09:00",
        "09:30",
        "10:00",
        "10:30",
        "11:00",
    ]
    assert time_ticks(0, 4e15, 5) == []


def test_thinning_keeps_the_extremes() -> None:
    y = np.zeros(10_000)
    y[1234], y[7777] = 5.0, -3.0
    x, small = thinned(np.arange(10_000.0), y, 400)
    assert len(x) <= 401
    assert small.max() == 5.0
    assert small.min() == -3.0
    assert (np.diff(x) > 0).all()


def test_a_drawing_goes_with_its_card(qtbot: QtBot, loop: asyncio.AbstractEventLoop) -> None:
    card = Card(panel("scatter"), Selection(), print)
    card.show_data(data("scatter"))
    card.show()
    QApplication.processEvents()
    known = weakref.ref(card.drawing)
    card.end()
    card.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    del card
    gc.collect()
    assert known() is None


# Machado, Oliveira and Fernandes (2009), full deficiency; linear sRGB
_EYES = {
    "all": np.eye(3),
    "no green": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no red": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no blue": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def _linear(color: str) -> Any:
    part = np.array(QColor(color).getRgbF()[:3])
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("tokens", [theme.LIGHT, theme.DARK], ids=["light", "dark"])
def test_the_colours_of_series_can_be_told_apart_by_all_eyes(tokens: theme.Tokens) -> None:
    charts = theme.charts(tokens)
    back = float(_linear(tokens.surface) @ [0.2126, 0.7152, 0.0722])
    for color in charts.series:
        light = float(_linear(color) @ [0.2126, 0.7152, 0.0722])
        assert (max(light, back) + 0.05) / (min(light, back) + 0.05) >= 3.0, color
    for eyes, seen in _EYES.items():
        places = [_TO_LAB @ np.cbrt(_TO_LMS @ np.clip(seen @ _linear(color), 0, 1)) for color in charts.series]
        least = min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(places, 2))
        assert least >= 0.08, eyes
