"""Attribution against published examples, statistics by another way, and identities (Q3)."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal, getcontext

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quarterdeck.errors import Invalid
from quarterdeck.quant.attribution import brinson, factor_model

Row = tuple[str, str, float | None, float | None, float | None, float | None]
COLUMNS = ["period", "sector", "portfolio_weight", "portfolio_return", "benchmark_weight", "benchmark_return"]

# the worked example of Bacon, Practical Portfolio Performance Measurement and Attribution, chapter on Brinson models
BACON: list[Row] = [
    ("Q1", "UK equities", 0.4, 0.20, 0.4, 0.10),
    ("Q1", "Japanese equities", 0.3, -0.05, 0.2, -0.04),
    ("Q1", "US equities", 0.3, 0.06, 0.4, 0.08),
]


def frame(rows: list[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=COLUMNS, orient="row")


def percent(found: pl.DataFrame, period: str, column: str) -> dict[str, float]:
    rows = found.filter(pl.col("period") == period)
    return dict(zip(rows["sector"], (rows[column] * 100).round(6), strict=True))


@pytest.mark.spec("Q3")
def test_a_published_example_of_one_period() -> None:
    hood = brinson(frame(BACON), method="brinson_hood_beebower").effects
    assert percent(hood, "Q1", "allocation") == {"UK equities": 0, "Japanese equities": -0.4, "US equities": -0.8}
    assert percent(hood, "Q1", "selection") == {"UK equities": 4, "Japanese equities": -0.2, "US equities": -0.8}
    assert percent(hood, "Q1", "interaction") == {"UK equities": 0, "Japanese equities": -0.1, "US equities": 0.2}
    fachler = brinson(frame(BACON))
    assert percent(fachler.effects, "Q1", "allocation") == {
        "UK equities": 0,
        "Japanese equities": -1.04,
        "US equities": -0.16,
    }
    together = brinson(frame(BACON), interaction="in_selection").effects
    assert percent(together, "Q1", "selection") == {"UK equities": 4, "Japanese equities": -0.3, "US equities": -0.6}
    assert percent(together, "Q1", "interaction") == {"UK equities": 0, "Japanese equities": 0, "US equities": 0}
    totals = fachler.totals.row(0, named=True)
    assert (totals["portfolio_return"], totals["benchmark_return"]) == (pytest.approx(0.083), pytest.approx(0.064))
    assert totals["allocation"] == pytest.approx(-0.012)
    # one period is linked to itself
    assert percent(fachler.effects, "linked", "total") == pytest.approx(percent(fachler.effects, "Q1", "total"))


@pytest.mark.spec("Q3")
def test_a_side_that_does_not_hold_a_sector_has_weight_nothing() -> None:
    rows: list[Row] = [
        ("1", "A", 1.0, 0.10, 0.5, 0.08),
        ("1", "B", None, None, 0.5, 0.02),
        ("2", "A", 0.5, 0.01, 1.0, 0.03),
        ("2", "C", 0.5, 0.04, 0.0, None),
    ]
    found = brinson(frame(rows))
    # B: (0 - 0.5)(0.02 - 0.05) = 1.5 %; nothing is selected in what is not held
    assert percent(found.effects, "1", "allocation")["B"] == pytest.approx(1.5)
    assert percent(found.effects, "1", "selection")["B"] == 0
    # C: 0.5 (0.04 - 0.03) = 0.5 %
    assert percent(found.effects, "2", "allocation")["C"] == pytest.approx(0.5)
    for row in found.totals.iter_rows(named=True):
        assert row["allocation"] + row["selection"] + row["interaction"] == pytest.approx(row["excess_return"])


def random_rows(seed: int, periods: int) -> list[Row]:
    chance = np.random.default_rng(seed)
    rows: list[Row] = []
    for period in range(periods):
        wp, wb = chance.dirichlet(np.ones(4)), chance.dirichlet(np.ones(4))
        rp, rb = chance.normal(0.01, 0.08, 4), chance.normal(0.01, 0.06, 4)
        rows += [(f"{period:03}", f"S{n}", float(wp[n]), float(rp[n]), float(wb[n]), float(rb[n])) for n in range(4)]
    return rows


@pytest.mark.spec("Q3")
@pytest.mark.parametrize("linking", ["carino", "menchero"])
def test_linked_effects_equal_the_papers_formulas_in_many_digits(linking: str) -> None:
    getcontext().prec = 50
    rows = random_rows(4, 12)
    found = brinson(frame(rows), linking="carino" if linking == "carino" else "menchero")
    portfolio: dict[str, Decimal] = {}
    benchmark: dict[str, Decimal] = {}
    for period, _, wp, rp, wb, rb in rows:
        portfolio[period] = portfolio.get(period, Decimal(0)) + Decimal(wp or 0) * Decimal(rp or 0)
        benchmark[period] = benchmark.get(period, Decimal(0)) + Decimal(wb or 0) * Decimal(rb or 0)
    one = Decimal(1)
    growth_p = math.prod((one + value for value in portfolio.values()), start=one)
    growth_b = math.prod((one + value for value in benchmark.values()), start=one)
    excess = growth_p - growth_b
    if linking == "carino":
        whole = (growth_p.ln() - growth_b.ln()) / excess
        scale = {
            t: ((one + portfolio[t]).ln() - (one + benchmark[t]).ln()) / (portfolio[t] - benchmark[t]) / whole
            for t in portfolio
        }
    else:
        count = Decimal(len(portfolio))
        natural = excess / count / (growth_p ** (one / count) - growth_b ** (one / count))
        single = {t: portfolio[t] - benchmark[t] for t in portfolio}
        left = (excess - natural * sum(single.values())) / sum(value**2 for value in single.values())
        scale = {t: natural + left * value for t, value in single.items()}
    expected: dict[str, Decimal] = {}
    for period, sector, wp, _, wb, rb in rows:
        effect = (Decimal(wp or 0) - Decimal(wb or 0)) * (Decimal(rb or 0) - benchmark[period])
        expected[sector] = expected.get(sector, Decimal(0)) + scale[period] * effect
    ours = found.effects.filter(pl.col("period") == "linked")
    for sector, value in zip(ours["sector"], ours["allocation"], strict=True):
        assert value == pytest.approx(float(expected[sector]), abs=1e-14)
    assert float(ours["total"].sum()) == pytest.approx(float(excess), abs=1e-14)


@pytest.mark.spec("Q3")
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 24), st.sampled_from(["carino", "menchero"]), st.booleans())
def test_linked_effects_add_up_to_the_compounded_excess(seed: int, periods: int, linking: str, same: bool) -> None:
    rows = random_rows(seed, periods)
    if same:  # portfolio and benchmark have the same returns in every period: the limits of the formulas
        rows = [(period, sector, wb, rb, wb, rb) for period, sector, _, _, wb, rb in rows]
    for method in ("brinson_fachler", "brinson_hood_beebower"):
        found = brinson(
            frame(rows),
            method="brinson_fachler" if method == "brinson_fachler" else "brinson_hood_beebower",
            linking="carino" if linking == "carino" else "menchero",
        )
        last = found.totals.row(-1, named=True)
        assert last["period"] == "linked"
        total = last["allocation"] + last["selection"] + last["interaction"]
        assert total == pytest.approx(last["excess_return"], abs=1e-12)
        assert last["excess_return"] == pytest.approx(last["portfolio_return"] - last["benchmark_return"])


@pytest.mark.spec("Q3", "G4")
@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("1", "A", 0.9, 0.1, 1.0, 0.1)], "the portfolio weights of period 1 add up to 0.9000, not to 1"),
        ([("1", "A", 1.0, 0.1, 0.5, 0.1)], "the benchmark weights of period 1 add up to 0.5000, not to 1"),
        ([("1", "A", 0.5, 0.1, 0.5, 0.1)] * 2, "sector A stands twice in period 1"),
        ([("1", "A", 1.0, None, 1.0, 0.1)], "sector A of period 1 has a portfolio weight but no portfolio return"),
        ([("1", "A", 1.0, -1.0, 1.0, 0.1)], "a return of period 1 is -100 % or less"),
        ([], "there are no sectors"),
    ],
)
def test_what_can_not_be_attributed_is_said(rows: list[Row], sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence.replace("(", r"\(")):
        brinson(frame(rows))


def series(values: np.ndarray, name: str = "return") -> pl.DataFrame:
    begin = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    times = [begin + n * dt.timedelta(days=1) for n in range(len(values))]
    return pl.DataFrame({"time": times, name: values})


@pytest.mark.spec("Q3", "T4")
def test_one_factor_equals_scipys_regression() -> None:
    chance = np.random.default_rng(5)
    market = chance.normal(0.0004, 0.01, 300)
    returns = 0.0002 + 1.3 * market + chance.normal(0, 0.004, 300)
    found = factor_model(series(returns), series(market, "market"))
    line = stats.linregress(market, returns)
    rows = {row["name"]: row for row in found.factors.iter_rows(named=True)}
    assert list(rows) == ["market", "alpha", "residual"]
    assert rows["market"]["exposure"] == pytest.approx(line.slope, rel=1e-10)
    assert rows["market"]["t_stat"] == pytest.approx(line.slope / line.stderr, rel=1e-9)
    assert rows["alpha"]["exposure"] == pytest.approx(line.intercept, rel=1e-9)
    assert rows["alpha"]["t_stat"] == pytest.approx(line.intercept / line.intercept_stderr, rel=1e-9)
    assert rows["market"]["contribution"] == pytest.approx(line.slope * market.sum(), rel=1e-9)
    assert rows["alpha"]["contribution"] == pytest.approx(line.intercept * 300, rel=1e-9)
    assert rows["residual"]["contribution"] == pytest.approx(0, abs=1e-12)
    assert sum(row["contribution"] for row in rows.values()) == pytest.approx(returns.sum(), rel=1e-10)
    summary = dict(found.summary.iter_rows())
    assert summary["r_squared"] == pytest.approx(line.rvalue**2, rel=1e-9)
    assert summary["observations"] == 300


@pytest.mark.spec("Q3")
def test_three_factors_of_unlike_size_equal_the_normal_equations() -> None:
    chance = np.random.default_rng(6)
    x = chance.normal(0, [0.01, 5.0, 1e-6], (500, 3))
    y = 0.001 + x @ [0.8, 0.002, 3000.0] + chance.normal(0, 0.003, 500)
    factors = series(x[:, 0], "a").with_columns(pl.Series("b", x[:, 1]), pl.Series("c", x[:, 2]))
    found = factor_model(series(y), factors)
    # the covariance form of the same estimate, by another way than least squares
    centred = x - x.mean(axis=0)
    slopes = np.linalg.solve(centred.T @ centred, centred.T @ (y - y.mean()))
    residual = (y - y.mean()) - centred @ slopes
    errors = np.sqrt(residual @ residual / 496 * np.diag(np.linalg.inv(centred.T @ centred)))
    assert found.factors["exposure"].to_list()[:3] == pytest.approx(slopes.tolist(), rel=1e-8)
    assert found.factors["t_stat"].to_list()[:3] == pytest.approx((slopes / errors).tolist(), rel=1e-8)


@pytest.mark.spec("Q3", "G4")
def test_factors_that_explain_nothing_are_refused() -> None:
    chance = np.random.default_rng(7)
    y, a = chance.normal(size=50), chance.normal(size=50)
    both = series(a, "a").with_columns(pl.Series("b", 2 * a))
    with pytest.raises(Invalid, match="depend on each other"):
        factor_model(series(y), both)
    with pytest.raises(Invalid, match="factor a does not vary"):
        factor_model(series(y), series(np.ones(50), "a"))
    with pytest.raises(Invalid, match="1 factors need more than 2 times"):
        factor_model(series(y[:2]), series(a[:2], "a"))
    with pytest.raises(Invalid, match="no column of numbers"):
        factor_model(series(y), series(a, "a").drop("a"))
