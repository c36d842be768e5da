"""The performance figures against another library's and cases worked by hand (Q2)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quarterdeck.quant.performance import drawdowns, performance

PUBLISHED = {
    0: {
        "total_return": 0.1783588674416694,
        "annual_return": 0.06086452448201518,
        "volatility": 0.08617591196924018,
        "sharpe": 0.7287057281205706,
        "sortino": 1.0886253053668429,
        "max_drawdown": -0.1339598380003286,
        "calmar": 0.45434904513594504,
        "value_at_risk": -0.00895854463870153,
        "conditional_value_at_risk": -0.00982017446868929,
        "alpha": 0.01852112048438892,
        "beta": 0.7067437364503513,
    },
    1000: {
        "total_return": 0.4224989664096017,
        "annual_return": 0.13526880756338944,
        "volatility": 0.08594015964156332,
        "sharpe": 1.519508972866329,
        "sortino": 2.3440090713583888,
        "max_drawdown": -0.1071068716032158,
        "calmar": 1.2629330456453,
        "value_at_risk": -0.008405494243284224,
        "conditional_value_at_risk": -0.009572926631145317,
        "alpha": 0.055682904129966015,
        "beta": 0.6238637826985558,
    },
}
"""What empyrical-reloaded 0.7.1 gives for `series`, by its shift, against `0.6 * series(shift + 31) + 0.3 * series`."""


def series(shift: int) -> npt.NDArray[np.float64]:
    day = np.arange(700, dtype=np.float64) + shift
    values: npt.NDArray[np.float64] = 0.0004 + 0.011 * np.sin(1.7 * day) * np.cos(0.37 * day * day)
    return values


@pytest.mark.spec("Q2")
@pytest.mark.parametrize("shift", PUBLISHED)
def test_the_figures_equal_those_of_another_library(shift: int) -> None:
    returns = series(shift)
    found = performance(returns, 0.6 * series(shift + 31) + 0.3 * returns)
    expected = PUBLISHED[shift] | {"skew": stats.skew(returns), "kurtosis": stats.kurtosis(returns)}
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-9), name
    assert found["win_rate"] == (returns > 0).sum() / len(returns)


@pytest.mark.spec("Q2")
def test_a_case_worked_by_hand() -> None:
    # net values 1.10, 0.99, 1.188, 0.594, 0.6534
    found = performance(np.array([0.1, -0.1, 0.2, -0.5, 0.1]), per_year=5)
    assert found["total_return"] == pytest.approx(0.6534 - 1)
    assert found["annual_return"] == pytest.approx(0.6534 - 1)
    assert found["max_drawdown"] == pytest.approx(-0.5)
    assert found["calmar"] == pytest.approx((0.6534 - 1) / 0.5)
    assert found["win_rate"] == pytest.approx(0.6)
    # mean -0.04; squared deviations 0.0196 + 0.0036 + 0.0576 + 0.2116 + 0.0196 = 0.312
    assert found["volatility"] == pytest.approx((0.312 / 4 * 5) ** 0.5)
    assert found["sharpe"] == pytest.approx(-0.04 / (0.312 / 4) ** 0.5 * 5**0.5)
    assert found["sortino"] == pytest.approx(-0.04 / ((0.01 + 0.25) / 5) ** 0.5 * 5**0.5)
    assert performance(np.array([0.1, -0.1]), risk_free=0.252)["sharpe"] == pytest.approx(
        (0 - 0.001) / (0.02**0.5) * 252**0.5
    )


@pytest.mark.spec("Q2")
def test_drawdowns_have_peak_valley_and_recovery() -> None:
    first, second = drawdowns(np.array([0.1, -0.1, 0.2, -0.5, 0.1]))
    assert (first.peak, first.valley, first.recovery) == (1, 2, 3)
    assert first.depth == pytest.approx(-0.1)
    assert (second.peak, second.valley, second.recovery) == (3, 4, None)
    assert second.depth == pytest.approx(-0.5)
    # a fall from the start: the net value of 1 before the first return is a peak
    (only,) = drawdowns(np.array([-0.2, 0.25, 0.1]))
    assert (only.peak, only.valley, only.recovery) == (0, 1, 2)
    assert only.depth == pytest.approx(-0.2)
    assert drawdowns(np.array([0.1, 0.0, 0.1])) == []


@pytest.mark.spec("Q2", "G4")
def test_what_is_undefined_is_empty_and_never_infinite() -> None:
    nothing = performance(np.array([]))
    assert set(nothing.values()) == {None}
    flat = performance(np.zeros(10))
    assert (flat["sharpe"], flat["sortino"], flat["calmar"], flat["skew"]) == (None, None, None, None)
    assert (flat["total_return"], flat["max_drawdown"], flat["win_rate"]) == (0, 0, 0)
    steady = performance(np.full(10, 0.01))
    assert (steady["volatility"], steady["sharpe"], steady["sortino"]) == (0, None, None)
    ruined = performance(np.array([0.1, -1.0, 0.0]))
    assert (ruined["total_return"], ruined["annual_return"], ruined["max_drawdown"]) == (-1, -1, -1)
    assert performance(np.array([0.1, np.nan]))["sharpe"] is None
    alone = performance(np.array([0.1, 0.2]), np.array([np.nan, 0.1]))
    assert (alone["alpha"], alone["beta"]) == (None, None)


@pytest.mark.spec("Q2")
@given(st.lists(st.floats(-0.9, 2.0), max_size=50))
def test_figures_are_numbers_or_empty(returns: list[float]) -> None:
    found = performance(np.array(returns))
    assert all(value is None or np.isfinite(value) for value in found.values())
    depth = found["max_drawdown"]
    assert depth is None or -1 <= depth <= 0
