"""What panels draw or say instead, and the reports that come with Quarterdeck, from tables at hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from quarterdeck.errors import Disconnected
from quarterdeck.quant.evaluation import evaluate
from quarterdeck.report import Frames, Picked, builtins, read
from quarterdeck.report.shapes import Bars, Candles
from tests.unit.report_tables import DAYS, SECONDS, SYMBOL, TIME, Tables, line, prices, template

# --- what panels say instead ------------------------------------------------------------------------------------------

_ALL_PANELS: dict[str, dict[str, Any]] = {
    "line": line("time", "value"),
    "lines": line("time", "value", "lot", color="symbol", options={"log": True, "mean": True}),
    "text line": line("symbol", "value"),
    "area": {**line("lot", "value"), "type": "area"},
    "bar": {**line("symbol", "value"), "type": "bar"},
    "bars": {**line("time", "value", color="symbol"), "type": "bar"},
    "scatter": {"type": "scatter", "fields": {"x": "value", "y": "lot", "color": "symbol", "size": "value"},
                "options": {"trend": True}},
    "histogram": {"type": "histogram", "fields": {"value": "value"}},
    "histograms": {"type": "histogram", "fields": {"value": "time", "color": "symbol"}, "options": {"bins": 7}},
    "heatmap": {"type": "heatmap", "fields": {"x": "time", "y": "symbol", "value": "value"}},
    "box": {"type": "box", "fields": {"x": "symbol", "y": "value"}},
    "pie": {"type": "pie", "fields": {"label": "symbol", "value": "lot"}},
    "candlestick": {"type": "candlestick", "fields": dict.fromkeys(("open", "high", "low", "close"), "value")},
    "table": {"type": "table"},
    "number": {"type": "number", "fields": {"value": "value"}},
    "parallel": {"type": "parallel", "fields": {"columns": ["value", "lot", "symbol", "time"], "color": "value"}},
    "correlation": {"type": "correlation", "fields": {"columns": ["value", "lot"]}},
    "correlations": {"type": "correlation", "options": {"method": "spearman"}},
}  # fmt: skip


def _column(values: list[float | None], rows: int) -> pa.Table:
    lot = [0 if one is None or not math.isfinite(one) else min(9, abs(int(one))) for one in values]
    return pa.table(
        {
            "time": pa.array(DAYS[:rows], TIME),
            "symbol": pa.array(["A"] * rows),
            "value": pa.array(values, pa.float64()),
            "lot": pa.array(lot, pa.int64()),
        }
    )


CASES = {
    "no rows": _column([], 0),
    "one row": _column([1.5], 1),
    "all missing": _column([None] * 5, 5),
    "not numbers": _column([math.nan] * 5, 5),
    "infinite": _column([math.inf, -math.inf, math.inf, 1.0, 2.0], 5),
    "constant": _column([3.0] * 5, 5),
    "zero": _column([0.0] * 5, 5),
    "huge": _column([1.7e308, -1.7e308, 1.6e308, 1.7e308, 1.0], 5),
    "tiny": _column([5e-324, 0.0, 1e-320, 5e-324, 0.0], 5),
    "gaps": _column([1.0, None, 3.0, math.nan, 5.0], 5),
    "no times": _column([1.0, 2.0], 2).set_column(0, "time", pa.nulls(2, TIME)),
    "no symbols": _column([1.0, 2.0], 2).set_column(1, "symbol", pa.nulls(2, pa.string())),
    "wrong types": pa.table({"time": ["x", "y"], "symbol": [1, 2], "value": ["a", "b"], "lot": [True, False]}),
    "nested": pa.table(
        {"time": [[1], [2]], "symbol": [{"a": 1}, {"a": 2}], "value": [[1.0], [2.0]], "lot": [b"a", b"b"]}
    ),
    "nothing but nulls": pa.table({name: pa.nulls(3) for name in ("time", "symbol", "value", "lot")}),
    "other columns": pa.table({"when": [1], "what": [2]}),
}


@pytest.mark.spec("G4", "V3")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", _ALL_PANELS)
def test_a_panel_draws_or_says_in_a_sentence_why_not(kind: str, case: str) -> None:
    panel = read(template({"s": {"table": "prices"}}, _ALL_PANELS[kind]), Tables(prices=CASES[case])).panels["p0"]
    said = panel.said
    assert [bool(panel.problem), bool(panel.waiting), bool(panel.empty)].count(True) == (1 if said else 0)
    if case == "no rows":
        assert said == "Table 'prices' has no rows."
    if case == "other columns" and kind not in ("table", "correlations"):
        assert said.startswith("Table 'prices' has no column '")
    if case == "nested" and kind != "table":
        assert panel.problem
    if case in ("one row", "constant", "gaps") and "correlation" not in kind:
        assert not said
    if case in ("all missing", "not numbers") and kind in ("line", "area", "bar", "histogram", "heatmap", "box"):
        assert panel.empty
    if said:
        assert said[0].isupper() or said[0] in "'"
        assert said.endswith((".", "?"))
        assert "\n" not in said
        return
    for name in type(panel).__dataclass_fields__:
        for one in _arrays(getattr(panel, name)):
            assert not np.isinf(one).any(), name


def _arrays(value: Any) -> list[Any]:
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return [value]
    if isinstance(value, tuple):
        return [array for one in value for array in _arrays(one)]
    if hasattr(value, "__dataclass_fields__"):
        return [array for name in value.__dataclass_fields__ for array in _arrays(getattr(value, name))]
    return []


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("source", "panel", "said"),
    [
        ({"table": "pricse"}, line("time", "value"), "Job 1 has no table 'pricse'."),
        ({"table": "prices"}, line("time", "valeu"), "Table 'prices' has no column 'valeu'; did you mean 'value'?"),
        (
            {"table": "prices"},
            line("time", "note"),
            "Y needs a column of numbers, and 'note' of table 'prices' holds texts.",
        ),
        (
            {"table": "prices", "where": "vaule > 1"},
            line("time", "value"),
            "Where, of table 'prices': there is no column",
        ),
        (
            {"table": "prices", "where": "note > 1"},
            line("time", "value"),
            "Where, of table 'prices': the column 'note' is",
        ),
        (
            {"table": "prices", "derive": {"a": "note + 1"}},
            line("time", "a"),
            "'a' can't be computed: the column 'note' is a text where the formula needs a number",
        ),
        (
            {"table": "prices", "derive": {"a": "nothing + 1", "b": "a * 2"}},
            line("time", "b"),
            "'b' can't be computed: 'a' can't be computed: table 'prices' has no column 'nothing'",
        ),
        ({"table": "prices", "group": ["nothing"]}, line("nothing", "nothing"), "Source 's' has no column 'nothing'"),
        (
            {"table": "prices", "group": ["time"], "aggregate": {"note": "mean"}},
            line("time", "note"),
            "Source 's': there is no mean of the column 'note', which holds String.",
        ),
        ({"table": "prices", "sort": ["nothing"]}, line("time", "value"), "Source 's' has no column 'nothing'"),
        (
            {"table": "prices"},
            {"type": "candlestick", "fields": {"open": "value", "high": "value", "low": "value", "close": "value"}},
            "A price chart is of one symbol, and the rows are of 3: let a symbol be chosen.",
        ),
        (
            {"table": "prices"},
            {"type": "histogram", "fields": {"value": "note"}},
            "A histogram needs numbers or times, and 'note' of table 'prices' holds texts: use bars.",
        ),
        (
            {"table": "prices", "derive": {"loss": "-value"}},
            {"type": "pie", "fields": {"label": "symbol", "value": "loss"}},
            "A pie needs values that are not negative, and 'loss' has -209.",
        ),
        (
            {"table": "prices"},
            {"type": "correlation", "fields": {"columns": ["value", "symbol"]}},
            "A correlation needs a column of numbers, and 'symbol' of table 'prices' holds texts.",
        ),
        (
            {"table": "prices"},
            {"type": "table", "fields": {"columns": ["lto"]}},
            "Table 'prices' has no column 'lto'; did you mean 'lot'?",
        ),
    ],
)
def test_what_does_not_fit_the_data_is_said_at_the_panel(
    source: dict[str, Any], panel: dict[str, Any], said: str
) -> None:
    good = line("time", "value", source="good")
    report = read(template({"s": source, "good": {"table": "prices"}}, panel, good), Tables(prices=prices()))
    assert report.panels["p0"].problem.startswith(said)
    assert "\n" not in report.panels["p0"].problem
    assert not report.panels["p1"].said  # the others are as they were


def test_a_broken_column_spoils_only_the_panels_that_need_it() -> None:
    source = {"table": "prices", "derive": {"bad": "note + 1", "good": "value + 1"}}
    report = read(template({"s": source}, line("time", "good"), line("time", "bad")), Tables(prices=prices()))
    assert not report.panels["p0"].said
    assert report.panels["p1"].problem


def test_a_lost_server_is_no_fault_of_a_panel() -> None:
    class Gone(Tables):
        def table(self, name: str, *, job: int | None = None, task: int | None = None) -> Any:
            raise Disconnected("the server is gone")

    with pytest.raises(Disconnected):
        read(template({"s": {"table": "prices"}}, line("time", "value")), Gone())


# --- those that come with Quarterdeck ---------------------------------------------------------------------------------


def _evaluation() -> dict[str, pd.DataFrame]:
    """The tables that the evaluation of a factor writes."""
    chance = np.random.default_rng(8)
    keys = {
        "time": pl.Series(pd.date_range("2023-01-02", periods=60, freq="B", tz="UTC").repeat(12)).cast(
            pl.Datetime("us", "UTC")
        ),
        "symbol": [f"S{n:02}" for n in range(12)] * 60,
    }
    close = 100 * np.exp(chance.normal(0, 0.02, (60, 12)).cumsum(axis=0)).ravel()
    factor = pl.DataFrame({**keys, "value": chance.normal(size=720)})
    found = evaluate(factor, pl.DataFrame({**keys, "close": close}), [1, 5], 3)
    names = ("summary", "ic", "quantiles", "turnover", "autocorrelation")
    return {name: getattr(found, name).to_pandas() for name in names}


@pytest.mark.spec("E1", "Q1")
def test_the_report_of_an_evaluation() -> None:
    data = _evaluation()
    tables = Tables(**{name: pa.Table.from_pandas(one, preserve_index=False) for name, one in data.items()})
    frames = Frames(builtins()["evaluation"], tables)
    assert frames.values("period") == [1, 5]
    assert frames.read().choices == {"period": (1,)}
    panels: Any = frames.read({"period": 5}).panels
    assert [(name, panel.said) for name, panel in panels.items() if panel.said] == []
    own = {name: one[one.period == 5] for name, one in data.items()}
    figures = own["summary"].set_index("metric").value
    for name in ("ic_mean", "rank_ic_mean", "icir", "ic_t_stat", "ic_share_positive", "rank_autocorrelation"):
        assert panels[name].value == pytest.approx(figures[name]), name
    assert panels["long_short_mean"].value == pytest.approx(figures["long_short"])
    assert panels["ic_share_positive"].text == f"{figures['ic_share_positive']:.1%}"
    ic = own["ic"]
    np.testing.assert_allclose(panels["ic"].series[0].y, ic.ic)
    assert panels["ic"].series[0].mean == pytest.approx(figures["ic_mean"])
    np.testing.assert_allclose(panels["ic_running"].series[1].y, ic.rank_ic.cumsum())
    months = ic.groupby([ic.time.dt.year, ic.time.dt.month]).ic.mean()
    assert panels["ic_monthly"].y_labels == ("2023",)
    assert panels["ic_monthly"].x_labels == ("1", "2", "3")
    np.testing.assert_allclose(panels["ic_monthly"].values, [months.to_list()])
    assert panels["ic_histogram"].groups[0].counts.sum() == len(ic)
    wide = own["quantiles"].pivot(index="time", columns="quantile", values="return")
    grown = ((1 + wide) ** (1 / 5)).cumprod() - 1
    for one, quantile in zip(panels["quantile_cumulative"].series, (1, 2, 3), strict=True):
        assert one.name == str(quantile)
        np.testing.assert_allclose(one.y, grown[quantile])
    for one, expected in zip(panels["quantile_means"].series[0].y, wide.mean(), strict=True):
        assert one == pytest.approx(expected)
    spread = ((1 + wide[3] - wide[1]) ** (1 / 5)).cumprod() - 1
    np.testing.assert_allclose(panels["long_short"].series[0].y, spread)
    np.testing.assert_allclose(panels["quantile_spread"].median, wide.median())
    turnover = own["turnover"]
    monthly = turnover.groupby([turnover["quantile"], turnover.time.dt.month]).turnover.mean()
    assert [one.name for one in panels["turnover"].series] == ["1", "2", "3"]
    np.testing.assert_allclose([one.y for one in panels["turnover"].series], monthly.unstack())
    np.testing.assert_allclose(panels["autocorrelation"].series[0].y, own["autocorrelation"].rank_autocorrelation)
    assert panels["summary"].rows == len(data["summary"])


@pytest.mark.spec("F2")
def test_the_report_of_a_factor() -> None:
    table = prices().rename_columns(["time", "symbol", "value", "lot", "note"]).select(["time", "symbol", "value"])
    frames = Frames(builtins()["factor"], Tables(factor=table))
    panels: Any = frames.read().panels
    assert [name for name, panel in panels.items() if panel.said] == []
    assert [one.name for one in panels["values"].series] == ["A", "B", "C"]
    assert panels["values"].series[1].y.tolist() == [100.0 + n for n in range(10)]
    assert panels["section"].rows == 3  # the last date's
    assert panels["all_values"].rows == 30
    assert panels["coverage"].series[0].y.tolist() == [3.0] * 10
    assert panels["section_mean"].series[0].y.tolist() == [100.0 + n for n in range(10)]
    assert panels["section_mean"].series[1].y.tolist() == [100.0] * 10  # of v, v + 100, v + 200
    assert panels["table"].rows == 30
    narrow: Any = frames.read({"symbol": ["C"], "date": DAYS[3]}, Picked(start=DAYS[8])).panels
    assert [one.name for one in narrow["values"].series] == ["C"]
    assert narrow["section"].edges[0] == 3.0
    assert narrow["section"].edges[-1] == 203.0
    assert narrow["table"].rows == 6


# --- candles and bars: what needs several sources ---------------------------------------------------------------------


@pytest.mark.spec("B3", "L3")
def test_signals_lie_on_the_price_chart_of_their_symbol() -> None:
    bars = pa.table(
        {
            "time": pa.array([day for day in DAYS for _ in range(2)], TIME),
            "symbol": ["A", "B"] * 10,
            "open": [1.0, 10.0] * 10,
            "high": [2.0, 20.0] * 10,
            "low": [0.5, 5.0] * 10,
            "close": [1.5, 15.0] * 10,
            "volume": pa.array([7, 70] * 10, pa.int64()),
        }
    )
    signals = pa.table(
        {
            "time": pa.array([DAYS[3], DAYS[1], DAYS[2]], TIME),
            "symbol": ["A", "A", "B"],
            "kind": ["sell", "buy", "buy"],
            "price": [1.9, 1.1, 11.0],
            "size": pa.array([None, 5, 6], pa.int64()),
        }
    )
    sources = {
        "all": {"table": "bars"},
        "bars": {"table": "bars", "choices": ["symbol"]},
        "signals": {"table": "signals", "choices": ["symbol"]},
    }
    chart = {"type": "candlestick", "source": "bars", "fields": {"volume": "volume"}, "options": {"signals": "signals"}}
    made = template(sources, {**chart, "links": {"follows": ["row"]}}, choices=[SYMBOL])
    frames = Frames(made, Tables(bars=bars, signals=signals))
    assert frames.read().panels["p0"].waiting == "Choose a value for stock code."
    panel = frames.read({"symbol": "A"}).panels["p0"]
    assert isinstance(panel, Candles)
    assert panel.time.tolist() == SECONDS
    assert (set(panel.high), set(panel.close)) == ({2.0}, {1.5})
    assert panel.volume is not None
    assert set(panel.volume) == {7.0}
    assert (panel.bars, panel.width) == (1, 86_400.0)
    assert [(one.kind, one.time.tolist(), one.price.tolist()) for one in panel.signals] == [
        ("buy", [SECONDS[1]], [1.1]),
        ("sell", [SECONDS[3]], [1.9]),
    ]
    assert panel.signals[0].size.tolist() == [5.0]
    assert math.isnan(panel.signals[1].size[0])
    panel = frames.read({}, Picked(row="B")).panels["p0"]
    assert isinstance(panel, Candles)
    assert [(one.kind, one.price.tolist()) for one in panel.signals] == [("buy", [11.0])]
    assert set(panel.open) == {10.0}


def test_bars_share_their_places_and_add_up() -> None:
    table = pa.table(
        {
            "sector": ["tech", "banks", "tech", "tech", "banks"],
            "side": ["long", "long", "short", "long", None],
            "money": [1.0, 2.0, 4.0, 8.0, 16.0],
        }
    )
    bar = {"type": "bar", "fields": {"x": "sector", "y": ["money"], "color": "side"}}
    panel = read(template({"s": {"table": "t"}}, bar), Tables(t=table)).panels["p0"]
    assert isinstance(panel, Bars)
    assert panel.x.labels == ("tech", "banks")
    assert [one.name for one in panel.series] == ["long", "short"]
    assert panel.series[0].y.tolist() == [9.0, 2.0]
    assert panel.series[1].y[0] == 4.0
    assert math.isnan(panel.series[1].y[1])
