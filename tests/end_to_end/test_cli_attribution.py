"""Attributions on a real node by the command line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

Run = Callable[..., subprocess.CompletedProcess[str]]

# two quarters; the first is the worked example of Bacon's book, with its printed effects
SECTORS = """\
period,sector,portfolio_weight,portfolio_return,benchmark_weight,benchmark_return
2024-03-31,UK equities,0.4,0.20,0.4,0.10
2024-03-31,Japanese equities,0.3,-0.05,0.2,-0.04
2024-03-31,US equities,0.3,0.06,0.4,0.08
2024-06-30,UK equities,0.7,-0.05,0.4,-0.07
2024-06-30,Japanese equities,0.2,0.03,0.3,0.04
2024-06-30,US equities,0.1,-0.05,0.3,-0.10
"""


def submitted(run: Run, kind: str, code: int = 0, **params: object) -> str:
    done = run("submit", kind, "--params", "-", "--wait", text=json.dumps(params), code=code)
    return done.stdout.split()[0]


def exported(run: Run, job: str, table: str, folder: Path) -> pd.DataFrame:
    run("export", job, table, str(folder / f"{table}.csv"))
    return pd.read_csv(folder / f"{table}.csv")


@pytest.mark.spec("K5", "Q3", "T4", "X1")
def test_brinson_effects_of_an_imported_table(quarterdeck: Run, tmp_path: Path, open_folder: Path) -> None:
    file = open_folder / "sectors.csv"
    file.write_text(SECTORS, encoding="utf-8")
    submitted(
        quarterdeck, "data_import", path=str(file), table="sectors", columns={"period": "time", "sector": "symbol"}
    )
    job = submitted(quarterdeck, "attribution", table="sectors", linking="menchero")
    effects = exported(quarterdeck, job, "effects", tmp_path).set_index(["period", "sector"])
    assert effects.loc[("2024-03-31", "Japanese equities"), "allocation"] == pytest.approx(-0.0104)
    assert effects.loc[("2024-03-31", "US equities"), "allocation"] == pytest.approx(-0.0016)
    assert effects.loc[("2024-03-31", "UK equities"), "selection"] == pytest.approx(0.04)
    assert effects.loc[("2024-03-31", "US equities"), "interaction"] == pytest.approx(0.002)
    portfolio = 1.083 * (1 + 0.7 * -0.05 + 0.2 * 0.03 + 0.1 * -0.05)
    benchmark = 1.064 * (1 + 0.4 * -0.07 + 0.3 * 0.04 + 0.3 * -0.10)
    assert effects.loc["linked"]["total"].sum() == pytest.approx(portfolio - benchmark, rel=1e-9)
    totals = exported(quarterdeck, job, "totals", tmp_path).set_index("period")
    assert totals.loc["linked", "excess_return"] == pytest.approx(portfolio - benchmark, rel=1e-9)
    shown = json.loads(quarterdeck("show", job, "--json").stdout)
    assert shown["name"] == "Brinson-Fachler Attribution"
    failed = submitted(quarterdeck, "attribution", code=3, table="sectors", end="2020-01-01")
    assert "has no rows in the chosen period" in json.loads(quarterdeck("show", failed, "--json").stdout)["error"]


@pytest.mark.spec("K5", "Q3", "T4")
def test_a_backtests_returns_are_explained_by_factors(
    quarterdeck: Run, prices: pd.DataFrame, tmp_path: Path, open_folder: Path
) -> None:
    backtest = submitted(
        quarterdeck, "backtest", strategy="buy_and_hold", table="prices", symbols=["AAPL", "IBM"], cash=1_000_000.0
    )
    returns = exported(quarterdeck, backtest, "returns", tmp_path)
    frame = prices.rename(columns=str.lower)
    ticker, date = frame.columns[:2]
    closes = frame[frame[ticker] == "MSFT"].sort_values(date)
    factors = pd.DataFrame({"time": closes[date], "market": closes["close"].pct_change()}).dropna()
    file = open_folder / "factors.csv"
    factors.to_csv(file, index=False)
    submitted(quarterdeck, "data_import", path=str(file), table="factors")
    job = submitted(quarterdeck, "attribution", method="factor_model", backtest=int(backtest), factors="factors")
    found = exported(quarterdeck, job, "factors", tmp_path).set_index("name")
    both = returns.assign(day=returns["time"].str[:10]).merge(factors.rename(columns={"time": "day"}), on="day")
    line = stats.linregress(both["market"], both["daily_return"])
    assert found.loc["market", "exposure"] == pytest.approx(line.slope, rel=1e-9)
    assert found.loc["market", "t_stat"] == pytest.approx(line.slope / line.stderr, rel=1e-8)
    assert found.loc["alpha", "exposure"] == pytest.approx(line.intercept, rel=1e-7)
    assert found["contribution"].sum() == pytest.approx(both["daily_return"].sum(), rel=1e-9)
    assert found["t_stat"].isna().tolist() == [False, False, True]


@pytest.mark.spec("G4", "K5")
def test_what_does_not_fit_together_is_refused(quarterdeck: Run, prices: pd.DataFrame) -> None:
    for params, words in (
        ({}, "the table of sectors with their weights and returns is needed"),
        ({"table": "prices"}, "table 'prices' has no column 'portfolio_weight'"),
        ({"method": "factor_model"}, "a factor model needs the table of factor returns"),
        ({"method": "factor_model", "factors": "prices"}, "one of them is needed"),
        ({"table": "prices", "backtest": 1}, "'backtest' belongs to a factor model"),
        ({"method": "brinson"}, "it should be 'brinson_fachler', 'brinson_hood_beebower' or 'factor_model'"),
    ):
        error = quarterdeck("submit", "attribution", "--params", "-", text=json.dumps(params), code=1).stderr
        assert words in error
        assert len(error.strip().splitlines()) == 1
