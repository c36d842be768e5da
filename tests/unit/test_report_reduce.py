"""From long columns to small arrays, against numpy, pandas and values worked by hand."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.report import columns, read, reduce
from quarterdeck.report.shapes import Bars, Bins, Boxes, Candles, Grid, Lines, Number, Parallel, Points, Slices
from tests.unit.report_tables import DAYS, START, TIME, Tables, line, template

pytestmark = pytest.mark.spec("V3")


def panel(table: pa.Table, given: dict[str, Any], **source: Any) -> Any:
    return read(template({"s": {"table": "t", **source}}, given), Tables(t=table)).panels["p0"]


# --- peaks -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(10, 60), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.05, 0.9, 1.0]))
def test_peaks_and_gaps_stay(n: int, most: int, seed: int, missing: float) -> None:
    chance = np.random.default_rng(seed)
    y = chance.normal(size=n)
    y[chance.random(n) < missing] = np.nan
    kept = reduce.peaks(y, most)
    assert len(kept) == n if n <= most else len(kept) <= most
    assert (np.diff(kept) > 0).all()
    if n:
        assert kept[0] == 0
        assert kept[-1] == n - 1
    known = y[~np.isnan(y)]
    if len(known):
        assert known.min() in y[kept]
        assert known.max() in y[kept]
    # where nothing is for long, a gap is left
    if n > most and missing == 1.0:
        assert np.isnan(y[kept]).all()


def test_a_single_spike_of_a_million_stays_in_its_place() -> None:
    y = np.sin(np.arange(1_000_000) / 1e5)
    y[345_678], y[765_432] = 50.0, -50.0
    kept = reduce.peaks(y)
    assert len(kept) <= 4_000
    assert {345_678, 765_432} <= set(kept.tolist())
    # what is drawn stays within a stretch of what there is
    drawn = np.interp(np.arange(1_000_000), kept, y[kept])
    calm = np.abs(np.arange(1_000_000) - 345_678) > 1_000
    calm &= np.abs(np.arange(1_000_000) - 765_432) > 1_000
    assert np.abs(drawn - y)[calm].max() < 0.01


def test_a_long_line_is_reduced_and_says_its_length() -> None:
    n = 10_000
    times = [START + dt.timedelta(minutes=one) for one in range(n)]
    values = [float(one % 100) for one in range(n)]
    values[5_000] = -7.0
    found = panel(pa.table({"time": pa.array(times, TIME), "v": values}), line("time", "v"))
    assert isinstance(found, Lines)
    (one,) = found.series
    assert (found.rows, one.full, found.x.kind) == (n, n, "time")
    assert len(one.x) <= 4_000
    assert one.y.min() == -7.0
    assert one.x[one.y.argmin()] == times[5_000].timestamp()
    assert one.mean == pytest.approx(float(np.mean(values)))


def test_rows_in_any_order_are_drawn_in_order() -> None:
    table = pa.table({"time": pa.array([DAYS[2], None, DAYS[0], DAYS[1]], TIME), "v": [3.0, 9.0, 1.0, None]})
    (one,) = panel(table, line("time", "v")).series
    assert one.x.tolist() == [day.timestamp() for day in DAYS[:3]]
    np.testing.assert_array_equal(one.y, [1.0, np.nan, 3.0])


def test_too_many_series_are_cut_and_that_is_said() -> None:
    names = [f"S{n:03}" for n in range(300)]
    table = pa.table({"x": [1.0, 2.0] * 300, "symbol": [name for name in names for _ in range(2)], "v": [1.0] * 600})
    found = panel(table, {**line("x", "v", color="symbol"), "options": {"limit": 5}})
    assert found.note == "5 of 300 symbols"
    assert [one.name for one in found.series] == names[:5]
    two = panel(table, {**line("x", "v", "x", color="symbol"), "options": {"limit": 1}})
    assert [(one.name, one.column, one.group) for one in two.series] == [
        ("v, S000", "v", "S000"),
        ("x, S000", "x", "S000"),
    ]


def test_bars_beyond_count_keep_the_tallest() -> None:
    heights = np.ones(9_000)
    heights[1_234], heights[7_777] = 100.0, -100.0
    found = panel(pa.table({"x": np.arange(9_000.0), "v": heights}), {**line("x", "v"), "type": "bar"})
    assert isinstance(found, Bars)
    assert found.note == "the tallest 3,000 of 9,000 bars"
    assert {1_234.0, 7_777.0} <= set(found.series[0].x)
    assert found.width == 3.0


# --- points ----------------------------------------------------------------------------------------------------------


def test_points_are_thinned_evenly_and_outliers_stay() -> None:
    chance = np.random.default_rng(2)
    x, y = chance.normal(size=50_000), chance.normal(size=50_000)
    x[777], y[777] = 30.0, -30.0
    kept = reduce.thinned(x, y)
    assert len(kept) <= 4_000
    assert 777 in kept
    # each place of a 63 by 63 grid that had a point has one
    edges = [np.linspace(one.min(), one.max(), 64) for one in (x, y)]
    full, _, _ = np.histogram2d(x, y, bins=edges)
    thin, _, _ = np.histogram2d(x[kept], y[kept], bins=edges)
    assert ((full > 0) == (thin > 0)).mean() > 0.999
    assert reduce.thinned(np.zeros(9_000), np.zeros(9_000)).tolist() == [0]


def test_a_scatter_has_colours_sizes_and_a_trend() -> None:
    table = pa.table(
        {
            "time": pa.array(DAYS[:4], TIME), "symbol": ["A", "B", None, "A"], "x": [1.0, 2.0, None, 4.0],
            "y": [3.0, 5.0, 7.0, 8.0], "sector": ["b", "a", "a", None], "money": [10.0, 30.0, 0.0, 20.0],
        }
    )  # fmt: skip
    fields = {"x": "x", "y": "y", "color": "sector", "size": "money"}
    found = panel(table, {"type": "scatter", "fields": fields, "options": {"trend": True}})
    assert isinstance(found, Points)
    assert (found.rows, found.at_x.tolist(), found.at_y.tolist()) == (3, [1, 2, 4], [3, 5, 8])
    assert found.color_axis is not None
    assert found.color_axis.labels == ("a", "b")
    assert found.color is not None
    np.testing.assert_array_equal(found.color, [1, 0, np.nan])
    assert found.size is not None
    assert found.size.tolist() == [1 / 3, 1.0, 2 / 3]
    assert found.time is not None
    assert found.time.tolist() == [DAYS[n].timestamp() for n in (0, 1, 3)]
    assert found.symbol == ("A", "B", "A")
    assert found.trend == pytest.approx(tuple(np.polyfit([1, 2, 4], [3, 5, 8], 1)))
    assert panel(table, {"type": "scatter", "fields": {"x": "sector", "y": "x"}}).x.labels == ("b", "a")


# --- histograms ------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(2, 40))
def test_counts_are_numpys(values: list[float], bins: int) -> None:
    array = np.array(values)
    edges = reduce.bin_edges(array, bins)
    assert (np.diff(edges) > 0).all()
    assert edges[0] <= array.min()
    assert edges[-1] >= array.max()
    expected, _ = np.histogram(array, edges)
    assert reduce.counts(array, edges).tolist() == expected.tolist()


def test_bins_by_the_rule_and_by_number() -> None:
    values = np.random.default_rng(4).normal(size=1_000)
    first, third = np.percentile(values, [25, 75])
    wide = np.ceil((values.max() - values.min()) / (2 * (third - first) / 10))
    assert len(reduce.bin_edges(values, None)) == wide + 1
    assert len(reduce.bin_edges(values, 12)) == 13
    assert len(reduce.bin_edges(np.array([1.0] * 99 + [2.0]), None)) == 31  # no spread between the quartiles
    assert reduce.bin_edges(np.array([3.0]), None).tolist() == [2.5, 3.5]
    assert np.isfinite(reduce.bin_edges(np.array([-1.7e308, 1.7e308]), 4)).all()


def test_histograms_share_their_bins() -> None:
    table = pa.table({"v": [0.0, 1.0, 1.0, 2.0, None, 4.0], "side": ["a", "a", "b", "b", "b", None]})
    found = panel(table, {"type": "histogram", "fields": {"value": "v", "color": "side"}, "options": {"bins": 4}})
    assert isinstance(found, Bins)
    assert found.edges.tolist() == [0.0, 0.5, 1.0, 1.5, 2.0]
    assert [(one.name, one.counts.tolist(), one.mean) for one in found.groups] == [
        ("a", [1, 0, 1, 0], 0.5),
        ("b", [0, 0, 1, 1], 1.5),
    ]
    assert found.rows == 4


# --- heat maps, boxes, pies ------------------------------------------------------------------------------------------


def test_a_heat_map_is_pandas_pivot() -> None:
    chance = np.random.default_rng(6)
    data = pd.DataFrame({"m": chance.integers(1, 13, 500), "s": chance.choice(["x", "y", "z"], 500)})
    data["v"] = chance.normal(size=500)
    data.loc[chance.random(500) < 0.1, "v"] = np.nan
    table = pa.Table.from_pandas(data, preserve_index=False)
    for how in ("mean", "sum", "min", "max", "std", "median", "count"):
        found = panel(
            table, {"type": "heatmap", "fields": {"x": "m", "y": "s", "value": "v"}, "options": {"aggregate": how}}
        )
        assert isinstance(found, Grid)
        expected = data.dropna().pivot_table(index="s", columns="m", values="v", aggfunc=how)
        assert found.x_labels == tuple(str(one) for one in expected.columns)
        assert found.y_labels == tuple(data.s.unique())  # texts in order of appearance
        np.testing.assert_allclose(found.values, expected.loc[list(found.y_labels)].to_numpy(), err_msg=how)
        assert (found.low, found.high) == (np.nanmin(found.values), np.nanmax(found.values))


def test_a_wide_heat_map_is_cut_into_stretches() -> None:
    table = pa.table(
        {
            "time": pa.array([START + dt.timedelta(days=n) for n in range(1_000)], TIME),
            "symbol": [f"S{n % 500:03}" for n in range(1_000)],
            "v": np.arange(1_000.0),
        }
    )
    found = panel(table, {"type": "heatmap", "fields": {"x": "time", "y": "symbol", "value": "v"}})
    assert found.note == "each cell holds 3 times; 400 of 500 symbols"
    assert found.values.shape == (400, 334)
    assert found.x_labels[:2] == ("2024-01-01", "2024-01-04")
    assert found.values[0, 0] == 0.0  # of S000 in the first three days
    assert found.values[1, 0] == 1.0


def test_boxes_by_hand() -> None:
    # of 1..9 and 30: quartiles 3.25, 5.5, 7.75; 1.5 times 4.5 beyond them: whiskers at 1 and 9
    table = pa.table({"g": ["a"] * 10 + ["b"] * 2, "v": [*map(float, range(1, 10)), 30.0, 2.0, 4.0]})
    found = panel(table, {"type": "box", "fields": {"x": "g", "y": "v"}})
    assert isinstance(found, Boxes)
    assert found.labels == ("a", "b")
    assert [one.tolist() for one in (found.low, found.first, found.median, found.third, found.high)] == [
        [1.0, 2.0], [3.25, 2.5], [5.5, 3.0], [7.75, 3.5], [9.0, 4.0],
    ]  # fmt: skip
    assert found.mean.tolist() == [7.5, 3.0]
    assert found.counts.tolist() == [10, 2]
    assert [one.tolist() for one in found.outliers] == [[30.0], []]
    quiet = panel(table, {"type": "box", "fields": {"x": "g", "y": "v"}, "options": {"outliers": False}})
    assert [one.tolist() for one in quiet.outliers] == [[], []]


def test_only_the_farthest_outliers_are_kept() -> None:
    values = np.concatenate([np.random.default_rng(1).uniform(0, 1, 10_000), np.arange(10.0, 310.0)])
    *_, out = reduce.quartiles(values)
    assert out.tolist() == np.arange(210.0, 310.0).tolist()


def test_a_pie_adds_up_and_keeps_the_largest() -> None:
    table = pa.table({"name": ["a", "b", "a", "c", "d", None], "v": [1.0, 5.0, 2.0, 0.5, 0.25, 9.0]})
    found = panel(table, {"type": "pie", "fields": {"label": "name", "value": "v"}, "options": {"limit": 3}})
    assert isinstance(found, Slices)
    assert (found.labels, found.values.tolist()) == (("b", "a", "other"), [5.0, 3.0, 0.75])
    assert found.note == "the largest 2 of 4; the rest is one slice"


# --- correlation, parallel, candles ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["pearson", "spearman"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_correlations_are_pandas(method: Any, missing: float) -> None:
    chance = np.random.default_rng(9)
    data = pd.DataFrame(chance.normal(size=(300, 3)), columns=["a", "b", "c"])
    data["d"] = data.a**3
    data = data.mask(chance.random(data.shape) < missing)
    data["flat"] = 0.1 + 0.2
    found = panel(
        pa.Table.from_pandas(data, preserve_index=False), {"type": "correlation", "options": {"method": method}}
    )
    assert isinstance(found, Grid)
    assert found.x_labels == ("a", "b", "c", "d", "flat")
    expected = data.drop(columns="flat").corr(method=method)
    np.testing.assert_allclose(found.values[:4, :4], expected, atol=1e-12)
    assert np.isnan(found.values[4]).all()
    assert np.isnan(found.values[:, 4]).all()


def test_parallel_coordinates_keep_ends() -> None:
    table = pa.table({"fast": np.arange(5_000), "kind": ["b", "a"] * 2_500, "sharpe": np.arange(5_000) / 7})
    given = {"type": "parallel", "fields": {"columns": ["fast", "kind", "sharpe"], "color": "sharpe"}}
    found = panel(table, given)
    assert isinstance(found, Parallel)
    assert (found.rows, found.values.shape) == (5_000, (2_000, 3))
    assert found.note == "2,000 of 5,000 rows, at even distances"
    assert found.values[0].tolist() == [0, 1, 0]
    assert found.values[-1].tolist() == [4_999, 0, 4_999 / 7]
    assert found.axes[1].labels == ("a", "b")
    assert found.color is not None
    np.testing.assert_array_equal(found.color, found.values[:, 2])


def test_many_bars_become_fewer_as_pandas_does() -> None:
    chance = np.random.default_rng(7)
    n = 10_000
    data = pd.DataFrame(
        {
            "time": pd.date_range("2024-01-01", periods=n, freq="min", tz="UTC"),
            "open": chance.normal(100, 1, n),
            "high": chance.normal(110, 1, n),
            "low": chance.normal(90, 1, n),
            "close": chance.normal(100, 1, n),
            "volume": chance.integers(0, 9, n),
        }
    )
    table = pa.Table.from_pandas(data, preserve_index=False)
    found = panel(table, {"type": "candlestick", "fields": {"volume": "volume"}})
    assert isinstance(found, Candles)
    assert (found.bars, found.note, found.width) == (3, "each bar is 3 bars of the table", 180.0)
    groups = data.groupby(np.arange(n) // 3)
    assert found.volume is not None
    for name, expected in (
        ("time", groups.time.first().map(pd.Timestamp.timestamp)),
        ("open", groups.open.first()),
        ("high", groups.high.max()),
        ("low", groups.low.min()),
        ("close", groups.close.last()),
        ("volume", groups.volume.sum()),
    ):
        np.testing.assert_array_equal(getattr(found, name), expected, err_msg=name)


def test_bars_without_all_prices_are_left_out() -> None:
    table = pa.table(
        {
            "time": pa.array([DAYS[1], DAYS[0], DAYS[2]], TIME), "open": [2.0, 1.0, 3.0], "high": [2.0, 1.0, None],
            "low": [2.0, 1.0, 3.0], "close": [2.0, 1.0, 3.0],
        }
    )  # fmt: skip
    found = panel(table, {"type": "candlestick"})
    assert found.open.tolist() == [1.0, 2.0]
    assert found.note == "1 row without all four prices left out"


# --- values as text --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "how", "digits", "unit", "text"),
    [
        (0.0, "number", None, "", "0"),
        (1234567.0, "number", None, "", "1,234,567"),
        (1234.5678, "number", None, "", "1,235"),
        (12.345678, "number", None, "", "12.35"),
        (-0.0123456, "number", None, "", "−0.01235"),
        (0.00000123, "number", None, "", "1.230e-06"),
        (1.5, "number", 3, "ms", "1.500 ms"),
        (1e18, "number", None, "", "1.000e+18"),
        (2.5, "integer", None, "", "2"),
        (1234.6, "integer", None, "shares", "1,235 shares"),
        (0.12345, "percent", None, "", "12.35%"),  # 12.345 as a double is a little more
        (-0.5, "percent", 0, "", "−50%"),
        (12345.0, "scientific", None, "", "1.234e+04"),
        (None, "number", None, "", "–"),
        (math.nan, "percent", None, "%", "–"),
        ("Success", "number", None, "", "Success"),
    ],
)
def test_numbers_are_written(value: Any, how: str, digits: int | None, unit: str, text: str) -> None:
    assert columns.written(value, how, digits, unit) == text


@pytest.mark.parametrize(("value", "good", "expected"), [
    (1.0, "high", True), (-1.0, "high", False), (0.0, "high", None), (-0.1, "low", True), (0.1, "low", False),
    (1.0, "none", None), (None, "high", None),
])  # fmt: skip
def test_numbers_say_what_is_good(value: float | None, good: str, expected: bool | None) -> None:
    found = panel(
        pa.table({"v": pa.array([value, 5.0], pa.float64())}),
        {"type": "number", "fields": {"value": "v"}, "options": {"good": good}},
    )
    assert isinstance(found, Number)
    assert (found.value, found.good) == (value, expected)


def test_labels() -> None:
    assert columns.labels(pl.Series([1.0, 2.5, None, 1e20])).to_list() == ["1", "2.5", None, "1e+20"]
    times = pl.Series([DAYS[0], None, DAYS[1]]).cast(pl.Datetime("us", "UTC"))
    assert columns.labels(times).to_list() == ["2024-01-01", None, "2024-01-02"]
    clock = times.dt.offset_by("90m")
    assert columns.labels(clock).to_list() == ["2024-01-01 01:30", None, "2024-01-02 01:30"]
    assert columns.labels(pl.Series([True, False])).to_list() == ["true", "false"]
    assert [columns.plural(one) for one in ("symbol", "currency", "day", "class")] == [
        "symbols", "currencies", "days", "class",
    ]  # fmt: skip
