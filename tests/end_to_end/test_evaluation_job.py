"""A factor evaluated on a real node by the command line: the figures equal scipy's on real prices."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def computed(quarterdeck: Run, prices: pd.DataFrame) -> pd.DataFrame:
    """The table `prices` with the factors `mom` and, in the batch `two`, `rev` and `level` computed on it."""
    mom = {"name": "mom", "table": "prices", "formula": "close/delay(close,20)-1"}
    quarterdeck("submit", "factor", "--params", "-", "--wait", text=json.dumps(mom))
    factors = [{"name": "rev", "formula": "-delta(close,5)"}, {"name": "level", "formula": "close"}]
    batch = {"name": "two", "table": "prices", "factors": factors}
    quarterdeck("submit", "factor", "--params", "-", "--wait", text=json.dumps(batch))
    return prices


def exported(run: Run, job: str, table: str, folder: Path, *more: str) -> pd.DataFrame:
    run("export", job, table, str(folder / f"{table}.csv"), *more)
    return pd.read_csv(folder / f"{table}.csv")


@pytest.mark.spec("K3", "Q1", "T2", "X1", "C2")
def test_an_evaluation_of_real_prices_equals_scipy(quarterdeck: Run, computed: pd.DataFrame, tmp_path: Path) -> None:
    done = quarterdeck(
        "submit", "evaluation", "--set", "factor=mom", "--set", "table=prices", "--set", "periods=[1,5,20]",
        "--set", "quantiles=4", "--set", "start=2005-01-01", "--set", "end=2009-12-31", "--wait",
    )  # fmt: skip
    job = done.stdout.split()[0]
    summary = exported(quarterdeck, job, "summary", tmp_path)
    assert list(summary.columns) == ["period", "metric", "value"]
    figures = summary.set_index(["period", "metric"])["value"]

    rows = computed
    ticker, date = rows.columns[:2]
    rows = rows.rename(columns={ticker: "symbol", date: "time", "Close": "close"}).sort_values(["symbol", "time"])
    rows["value"] = rows.groupby("symbol")["close"].pct_change(20)
    rows = rows[(rows["time"] >= "2005-01-01") & (rows["time"] <= "2009-12-31")].copy()
    for period in (1, 5, 20):
        after = rows.groupby("symbol")["close"].transform(lambda one, h=period: one.shift(-h) / one - 1)
        both = rows.assign(after=after).dropna(subset=["value", "after"])
        groups = [group for _, group in both.groupby("time") if len(group) > 1]
        ic = np.array([stats.pearsonr(one["value"], one["after"]).statistic for one in groups])
        rank = np.array([stats.spearmanr(one["value"], one["after"]).statistic for one in groups])
        assert len(ic) > 1000
        for name, series in (("ic", ic), ("rank_ic", rank)):
            short = name.removesuffix("ic")
            assert figures[period, f"{name}_mean"] == pytest.approx(series.mean(), abs=1e-10)
            assert figures[period, f"{name}_std"] == pytest.approx(series.std(ddof=1), rel=1e-10)
            assert figures[period, f"{short}icir"] == pytest.approx(series.mean() / series.std(ddof=1), abs=1e-10)
            assert figures[period, f"{name}_t_stat"] == pytest.approx(stats.ttest_1samp(series, 0).statistic, abs=1e-9)
            assert figures[period, f"{name}_share_positive"] == pytest.approx((series > 0).mean())
            assert figures[period, f"{name}_share_above_003"] == pytest.approx((series > 0.03).mean())
        quantile = both.groupby("time")["value"].transform(lambda one: pd.qcut(one, 4, labels=False) + 1)
        mean = both.assign(quantile=quantile).groupby(["time", "quantile"])["after"].mean().groupby("quantile").mean()
        for number in range(1, 5):
            assert figures[period, f"quantile_return_{number}"] == pytest.approx(mean[number], rel=1e-9)
        assert figures[period, "long_short"] == pytest.approx(mean[4] - mean[1], rel=1e-9)
        for metric in ("turnover_1", "turnover_4", "rank_autocorrelation"):
            assert -1 <= figures[period, metric] <= 1
    ic_table = exported(quarterdeck, job, "ic", tmp_path)
    assert list(ic_table.columns) == ["time", "period", "ic", "rank_ic"]
    log = quarterdeck("logs", job).stdout
    assert "values of factor mom" in log
    shown = json.loads(quarterdeck("show", job, "--json").stdout)
    assert (shown["name"], shown["subject"], shown["origin"]) == ("Factor Evaluation", "mom", "single")


@pytest.mark.spec("K3")
def test_a_batch_of_factors_is_evaluated_by_a_task_each(
    quarterdeck: Run, computed: pd.DataFrame, tmp_path: Path
) -> None:
    jobs = json.loads(quarterdeck("list", "--kind", "factor", "--text", "two", "--json").stdout)
    batch = str(jobs[0]["id"])
    done = quarterdeck("submit", "evaluation", "--set", f"factor={batch}", "--set", "table=prices", "--wait")
    job = done.stdout.split()[0]
    shown = json.loads(quarterdeck("show", job, "--json").stdout)
    assert [task["name"] for task in shown["tasks"]] == ["rev", "level"]
    assert shown["params"]["factor"] == int(batch)
    level = exported(quarterdeck, job, "summary", tmp_path, "--task", "1").set_index(["period", "metric"])["value"]
    assert level[1, "rank_autocorrelation"] > 0.9
    # a member of the batch by its name
    done = quarterdeck("submit", "evaluation", "--set", "factor=level", "--set", "table=prices", "--wait")
    alone = exported(quarterdeck, done.stdout.split()[0], "summary", tmp_path).set_index(["period", "metric"])["value"]
    pd.testing.assert_series_equal(alone, level)


@pytest.mark.spec("G4", "K3")
def test_what_can_not_be_evaluated_is_refused_before_anything_is_stored(
    quarterdeck: Run, computed: pd.DataFrame
) -> None:
    before = quarterdeck("list", "--kind", "evaluation", "--json").stdout
    for settings, words in (
        (["factor=momm", "table=prices"], "there is no factor 'momm'; did you mean 'mom'?"),
        (["factor=999999", "table=prices"], "job 999999 has no values of a factor that you may read"),
        (["factor=mom", "table=price"], "there is no table 'price'"),
        (["factor=mom", "table=prices", "periods=[0]"], "a holding period is a whole number of rows from 1 to 10,000"),
        (["factor=mom", "table=prices", "quantiles=1"], "quantiles"),
        (["factor=mom", "table=prices", "start=2024-02-01", "end=2024-01-01"], "lies after end"),
        (["factor=mom"], "parameter 'table' is missing"),
    ):
        words_of = [word for one in settings for word in ("--set", one)]
        error = quarterdeck("submit", "evaluation", *words_of, code=1).stderr
        assert words in error
        assert len(error.strip().splitlines()) == 1
    assert quarterdeck("list", "--kind", "evaluation", "--json").stdout == before
