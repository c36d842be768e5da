"""Factor evaluation against scipy, pandas and cases worked by hand (Q1)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quarterdeck.errors import Invalid
from quarterdeck.quant.evaluation import Evaluation, evaluate

DAY = dt.timedelta(days=1)
BEGIN = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)

Cell = float | None


def frame(column: str, rows: Mapping[str, Sequence[Cell]]) -> pl.DataFrame:
    """Daily rows of each symbol from `BEGIN` on; None is no row."""
    return pl.DataFrame(
        [
            (BEGIN + n * DAY, symbol, value)
            for symbol, values in rows.items()
            for n, value in enumerate(values)
            if value is not None
        ],
        schema={"time": pl.Datetime("us", "UTC"), "symbol": pl.String, column: pl.Float64},
        orient="row",
    ).sort("time", "symbol")


def figure(found: Evaluation, metric: str, period: int = 1) -> float | None:
    rows = found.summary.filter((pl.col("metric") == metric) & (pl.col("period") == period))
    assert rows.height == 1
    value = rows["value"][0]
    assert value is None or isinstance(value, float)
    return value


def universe(seed: int, *, symbols: int = 30, days: int = 80, ties: bool = False) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Random walks of symbols that start late, are delisted and have gaps, with values that foretell a little."""
    chance = np.random.default_rng(seed)
    closes: dict[str, list[Cell]] = {}
    values: dict[str, list[Cell]] = {}
    for number in range(symbols):
        steps = chance.normal(0, 0.02, days)
        close = 50 * np.exp(np.cumsum(steps))
        first = int(chance.integers(0, days // 3)) if number % 4 == 0 else 0
        last = int(chance.integers(2 * days // 3, days)) if number % 5 == 0 else days
        gap = {int(one) for one in chance.integers(0, days, 3)}
        here = [first <= n < last and n not in gap for n in range(days)]
        ahead = np.append(steps[1:], 0.0)
        signal = ahead + chance.normal(0, 0.05, days)
        if ties:
            signal = np.round(signal * 20) / 20
        closes[f"S{number:02}"] = [float(close[n]) if here[n] else None for n in range(days)]
        values[f"S{number:02}"] = [float(signal[n]) if here[n] and n % 7 != number % 7 else None for n in range(days)]
    return frame("value", values), frame("close", closes)


def reference(factor: pl.DataFrame, prices: pl.DataFrame, period: int) -> pd.DataFrame:
    """Factor values beside forward returns on each symbol's own rows, made by pandas."""
    closes = prices.to_pandas().sort_values(["symbol", "time"])
    closes["forward"] = closes.groupby("symbol")["close"].transform(lambda one: one.shift(-period) / one - 1)
    return factor.to_pandas().merge(closes, on=["time", "symbol"])


@pytest.mark.spec("Q1")
@pytest.mark.parametrize("ties", [False, True])
def test_coefficients_equal_those_of_scipy(ties: bool) -> None:
    factor, prices = universe(3, ties=ties)
    found = evaluate(factor, prices, [1, 5], 5)
    for period in (1, 5):
        rows = reference(factor, prices, period).dropna()
        pearson, spearman = {}, {}
        for time, group in rows.groupby("time"):
            if group["value"].nunique() > 1 and group["forward"].nunique() > 1:
                pearson[time] = stats.pearsonr(group["value"], group["forward"]).statistic
                spearman[time] = stats.spearmanr(group["value"], group["forward"]).statistic
        ours = found.ic.filter(pl.col("period") == period).to_pandas().set_index("time")
        assert len(ours) == len(pearson) > 40
        np.testing.assert_allclose(ours["ic"], pd.Series(pearson).reindex(ours.index), rtol=0, atol=1e-12)
        np.testing.assert_allclose(ours["rank_ic"], pd.Series(spearman).reindex(ours.index), rtol=0, atol=1e-12)
        for name, series in (("ic", pd.Series(pearson)), ("rank_ic", pd.Series(spearman))):
            test = stats.ttest_1samp(series, 0.0)
            short = name.removesuffix("ic")
            assert figure(found, f"{name}_mean", period) == pytest.approx(series.mean(), rel=1e-10)
            assert figure(found, f"{name}_std", period) == pytest.approx(series.std(ddof=1), rel=1e-10)
            assert figure(found, f"{short}icir", period) == pytest.approx(series.mean() / series.std(ddof=1), rel=1e-10)
            assert figure(found, f"{name}_t_stat", period) == pytest.approx(test.statistic, rel=1e-10)
            assert figure(found, f"{name}_share_positive", period) == pytest.approx((series > 0).mean())
            assert figure(found, f"{name}_share_above_003", period) == pytest.approx((series > 0.03).mean())


@pytest.mark.spec("Q1")
def test_quantiles_are_those_of_pandas_and_hold_what_has_no_return() -> None:
    factor, prices = universe(5)
    found = evaluate(factor, prices, [1, 5], 5)
    values = factor.to_pandas()
    # by the value alone: what will be delisted belongs to its quantile until then
    values["quantile"] = values.groupby("time")["value"].transform(lambda one: pd.qcut(one, 5, labels=False) + 1)
    for period in (1, 5):
        rows = reference(factor, prices, period).merge(values[["time", "symbol", "quantile"]], on=["time", "symbol"])
        daily = rows.dropna().groupby(["time", "quantile"])["forward"].mean()
        mean = daily.groupby("quantile").mean()
        for quantile in range(1, 6):
            assert figure(found, f"quantile_return_{quantile}", period) == pytest.approx(mean[quantile], rel=1e-10)
        assert figure(found, "long_short", period) == pytest.approx(mean[5] - mean[1], rel=1e-10)
        ours = found.quantiles.filter(pl.col("period") == period).to_pandas().set_index(["time", "quantile"])["return"]
        np.testing.assert_allclose(ours, daily.reindex(ours.index), rtol=1e-10)


@pytest.mark.spec("Q1")
def test_turnover_and_autocorrelation_against_sets_and_scipy() -> None:
    factor, prices = universe(8, ties=True)
    found = evaluate(factor, prices, [1, 5], 4)
    values = factor.to_pandas()
    dates = sorted(values["time"].unique())
    # pandas' own edges can't be drawn through ties: equal values go to the lowest quantile that they reach
    groups: dict[object, dict[str, int]] = {}
    for time, group in values.groupby("time"):
        edges = np.quantile(group["value"], [0.25, 0.5, 0.75])
        groups[time] = {
            str(row.symbol): 1 + int((row.value > edges + 1e-12).sum()) for row in group.itertuples(index=False)
        }
    ranks = {
        time: dict(zip(group["symbol"], stats.rankdata(group["value"]), strict=True))
        for time, group in values.groupby("time")
    }
    for period in (1, 5):
        shares: dict[int, list[float]] = {1: [], 2: [], 3: [], 4: []}
        together: list[float] = []
        for now in range(period, len(dates)):
            before, here = groups[dates[now - period]], groups[dates[now]]
            for quantile, collected in shares.items():
                names = {one for one, q in here.items() if q == quantile}
                if names:
                    collected.append(len(names - {one for one, q in before.items() if q == quantile}) / len(names))
            both = sorted(ranks[dates[now]].keys() & ranks[dates[now - period]].keys())
            together.append(
                stats.pearsonr(
                    [ranks[dates[now]][one] for one in both], [ranks[dates[now - period]][one] for one in both]
                ).statistic
            )
        for quantile, collected in shares.items():
            assert figure(found, f"turnover_{quantile}", period) == pytest.approx(np.mean(collected), rel=1e-10)
        assert figure(found, "rank_autocorrelation", period) == pytest.approx(np.mean(together), rel=1e-10)


@pytest.mark.spec("Q1")
def test_a_case_worked_by_hand() -> None:
    # forward returns of one row: on day 0 A +10 %, B 0, C -10 %; on day 1 A 0, B +10 %, C +10 %
    prices = frame("close", {"A": [100, 110, 110], "B": [100, 100, 110], "C": [100, 90, 99]})
    factor = frame("value", {"A": [3, 1, 1], "B": [2, 2, 2], "C": [1, 3, 3]})
    found = evaluate(factor, prices, [1, 2], 3)
    # day 0: values 3, 2, 1 against 0.1, 0, -0.1: 1. Day 1: 1, 2, 3 against 0, 0.1, 0.1: sqrt(3)/2, and so are the ranks
    # 1, 2, 3 against 1, 2.5, 2.5
    half = math.sqrt(3) / 2
    assert found.ic.filter(pl.col("period") == 1)["ic"].to_list() == pytest.approx([1, half])
    assert found.ic.filter(pl.col("period") == 1)["rank_ic"].to_list() == pytest.approx([1, half])
    assert figure(found, "ic_mean") == pytest.approx((1 + half) / 2)
    assert figure(found, "ic_std") == pytest.approx((1 - half) / math.sqrt(2))
    assert figure(found, "icir") == pytest.approx((1 + half) / 2 / ((1 - half) / math.sqrt(2)))
    assert figure(found, "ic_t_stat") == pytest.approx((1 + half) / 2 / ((1 - half) / math.sqrt(2)) * math.sqrt(2))
    assert figure(found, "ic_share_positive") == 1
    # quantile 3 holds A (+10 %), then C (+10 %); quantile 1 holds C (-10 %), then A (0)
    assert figure(found, "quantile_return_3") == pytest.approx(0.1)
    assert figure(found, "quantile_return_1") == pytest.approx(-0.05)
    assert figure(found, "long_short") == pytest.approx(0.15)
    # day 1: A and C have changed places, B stays; day 2: nothing has changed
    assert figure(found, "turnover_1") == pytest.approx(0.5)
    assert figure(found, "turnover_2") == 0
    # ranks 1, 2, 3 against 3, 2, 1, then against themselves
    assert figure(found, "rank_autocorrelation") == pytest.approx(0)
    # over two rows only day 0 has a return: A 10 %, B 10 %, C -1 %
    assert found.ic.filter(pl.col("period") == 2).height == 1
    assert figure(found, "ic_std", 2) is None
    assert figure(found, "icir", 2) is None
    assert figure(found, "turnover_1", 2) == 1


@pytest.mark.spec("Q1")
def test_forward_returns_are_on_the_symbols_own_rows_and_never_filled() -> None:
    # B has no row on day 1 and ends on day 3: its returns go from day 0 to 2 and 2 to 3, and none from day 3
    prices = frame("close", {"A": [1, 2, 4, 8, 16], "B": [1, None, 3, 6, None], "C": [1, 1, 1, 1, 1]})
    factor = frame("value", {"A": [1, 1, 1, 1, 1], "B": [2, 2, 2, 2, 2], "C": [3, 3, 3, 3, 3]})
    found = evaluate(factor, prices, [1], 3)
    means = found.quantiles.filter(pl.col("quantile") == 2)
    assert means["time"].to_list() == [BEGIN, BEGIN + 2 * DAY]
    assert means["return"].to_list() == pytest.approx([2.0, 1.0])
    assert found.unpriced == 2
    # without B, A and C still make a coefficient
    assert found.ic["time"].to_list() == [BEGIN + n * DAY for n in range(4)]


@pytest.mark.spec("Q1", "G4")
def test_what_is_undefined_is_empty() -> None:
    prices = frame("close", {"A": [1.0, 1.1, 1.2], "B": [2.0, 2.4, 3.0]})
    constant = evaluate(frame("value", {"A": [0.1, 0.1, 0.1], "B": [0.1, 0.1, 0.1]}), prices, [1], 2)
    assert constant.ic.height == 0
    for metric in ("ic_mean", "ic_std", "icir", "ic_t_stat", "rank_icir", "ic_share_positive", "rank_autocorrelation"):
        assert figure(constant, metric) is None
    assert figure(constant, "quantile_return_2") is None
    assert figure(constant, "long_short") is None
    steady = evaluate(frame("value", {"A": [1, 1, 1], "B": [2, 2, 2]}), prices, [1], 2)
    assert figure(steady, "rank_ic_mean") == 1
    assert figure(steady, "rank_ic_std") == 0
    assert figure(steady, "rank_icir") is None
    assert not found_infinite(steady.summary)


def found_infinite(summary: pl.DataFrame) -> bool:
    return bool(summary.filter(pl.col("value").is_infinite() | pl.col("value").is_nan()).height)


@pytest.mark.spec("Q1", "G4")
def test_values_and_prices_that_are_no_numbers_drop_out() -> None:
    prices = frame("close", {"A": [1, 2, 3], "B": [1, 0, 3], "C": [2, math.nan, 5], "D": [1, 1.5, 1]})
    factor = frame("value", {"A": [1, math.inf, 1], "B": [2, 2, 2], "C": [3, 3, math.nan], "D": [4, 4, 4]})
    found = evaluate(factor, prices, [1], 2)
    assert found.infinite == 1
    assert found.ic["time"].to_list() == [BEGIN]
    # A 2/1 - 1 and D 1.5/1 - 1 on day 0; B's price of nothing and C's missing one make no return
    assert found.quantiles.filter(pl.col("time") == BEGIN)["return"].to_list() == pytest.approx([1.0, 0.5])


@pytest.mark.spec("G4")
def test_what_can_not_be_evaluated_is_said_in_a_sentence() -> None:
    prices = frame("close", {"A": [1, 2]})
    with pytest.raises(Invalid, match="no symbol in common"):
        evaluate(frame("value", {"Z": [1, 2]}), prices, [1], 2)
    with pytest.raises(Invalid, match="no time in common"):
        evaluate(frame("value", {"A": [1]}).with_columns(pl.col("time") + dt.timedelta(hours=1)), prices, [1], 2)
    with pytest.raises(Invalid, match="two rows of A at 2024-01-01"):
        evaluate(pl.concat([frame("value", {"A": [1]})] * 2), prices, [1], 2)
    with pytest.raises(Invalid, match="no value in the chosen period"):
        evaluate(frame("value", {"A": []}), prices, [1], 2)


@pytest.mark.spec("Q1")
@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1e150, 1e150, allow_nan=False), min_size=2, max_size=40, unique=True),
    st.integers(2, 12),
)
def test_quantiles_of_distinct_values_are_those_of_pandas(values: list[float], quantiles: int) -> None:
    prices = frame("close", {f"S{n:02}": [1.0, 1.0 + n] for n in range(len(values))})
    factor = frame("value", {f"S{n:02}": [value] for n, value in enumerate(values)})
    found = evaluate(factor, prices, [1], quantiles)
    # on ranks, whose edges pandas computes without rounding a value to the wrong side
    edges = [(len(values) - 1) * k / quantiles for k in range(1, quantiles)]
    place = {value: n for n, value in enumerate(sorted(values))}
    expected: dict[int, list[float]] = {}
    for number, value in enumerate(values):
        quantile = 1 + sum(place[value] > edge + 1e-9 for edge in edges)
        expected.setdefault(quantile, []).append(float(number))
    ours = dict(found.quantiles.select("quantile", "return").iter_rows())
    assert ours == pytest.approx({quantile: float(np.mean(returns)) for quantile, returns in expected.items()})
    assert found.ic.filter(~pl.col("ic").is_between(-1, 1)).height == 0
