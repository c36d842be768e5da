"""The parameters of a backtest: what is refused before anything is stored, and the tasks that are planned (K4, G4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from quarterdeck import parameters
from quarterdeck.errors import Invalid
from quarterdeck.kinds import kind
from quarterdeck.kinds.kind import Computed

BACKTEST = kind("backtest")
CODE = """
class Base(Strategy):
    fast: int = 3

class Mine(Base):
    slow: int = 9

    def on_bar(self, bar):
        self.buy(bar.symbol, 1)
"""


class Tables:
    """One table and one factor."""

    def own(self) -> frozenset[str]:
        return frozenset({"prices"})

    def columns(self, name: str) -> Sequence[str]:
        return ("symbol", "time", "close") if name == "closes" else ("symbol", "time", "open", "close")

    def described(self, name: str) -> dict[str, Any]:
        return {"name": name, "first_time": "2020-01-01T00:00:00+00:00", "last_time": "2020-12-31T00:00:00+00:00"}

    def template(self, name: str) -> dict[str, Any]:
        raise AssertionError(name)

    def factors(self, reference: int | str) -> Sequence[Computed]:
        several = [Computed(7, 0, "mom"), Computed(7, 1, "rev")]
        return several if reference == 7 else several[:1]


def resolved(**given: Any) -> Any:
    model = parameters.validated(BACKTEST, {"table": "prices", **given})
    assert BACKTEST.check
    assert BACKTEST.resolve
    BACKTEST.check(model, Tables())
    return BACKTEST.resolve(model, Tables())


@pytest.mark.spec("K4", "M2")
def test_a_grid_is_one_task_a_combination_that_fits_together() -> None:
    model = resolved(strategy="ma_cross", grid={"fast": [5, 10, 20], "slow": [10, 20]}, parameters={"size": 100})
    assert BACKTEST.tasks
    assert BACKTEST.facts
    plans = BACKTEST.tasks(model)
    assert [plan.name for plan in plans] == ["fast=5, slow=10", "fast=5, slow=20", "fast=10, slow=20"]
    assert plans[0].params["backtest"]["parameters"] == {"size": 100, "fast": 5, "slow": 10}
    facts = BACKTEST.facts(model)
    assert (facts.name, facts.backtest_type, facts.data_type, facts.strategy_type) == (
        "ma_cross",
        "historical",
        "daily",
        "stock",
    )
    assert (facts.backtest_start, facts.backtest_end) == ("2020-01-01T00:00:00+00:00", "2020-12-31T00:00:00+00:00")
    single = resolved(code=CODE, parameters={"slow": 5}, start="2020-02-01", end="2020-03-01")
    assert [plan.name for plan in BACKTEST.tasks(single)] == ["Mine"]
    assert BACKTEST.facts(single).backtest_end == "2020-03-01T23:59:59.999999+00:00"


@pytest.mark.spec("K4", "G4")
@pytest.mark.parametrize(
    ("given", "sentence", "field"),
    [
        ({}, "a strategy or code is needed", "strategy"),
        ({"strategy": "ma_cross", "code": CODE}, "give either a strategy or code", "strategy"),
        ({"strategy": "ma_crosss"}, "it should be 'ma_cross', 'buy_and_hold' or 'factor_rank'", "strategy"),
        (
            {"strategy": "ma_cross", "parameters": {"fsat": 3}},
            "no parameter 'fsat'; it has fast, slow, size",
            "parameters",
        ),
        ({"strategy": "ma_cross", "parameters": {"fast": 1.5}}, "parameter 'fast' of the strategy", "parameters"),
        ({"strategy": "ma_cross", "parameters": {"fast": 60}}, "fast is at least 1 and below slow", "parameters"),
        ({"strategy": "ma_cross", "grid": {"fast": []}}, "'fast' has no values", "grid"),
        ({"strategy": "ma_cross", "grid": {}}, "a grid names at least one parameter", "grid"),
        ({"strategy": "ma_cross", "grid": {"fast": [60, 70]}}, "no combination of the grid can be used", "grid"),
        ({"strategy": "ma_cross", "grid": {"fast": ["x"]}}, "parameter 'fast' of the strategy", "parameters"),
        (
            {"strategy": "ma_cross", "grid": {"fast": list(range(200)), "slow": list(range(200))}},
            "it has 40,000 combinations",
            "grid",
        ),
        ({"strategy": "ma_cross", "parameters": {"fast": 3}, "grid": {"fast": [4]}}, "keep one", "grid"),
        ({"strategy": "factor_rank"}, "factor_rank needs a factor", "factor"),
        ({"code": "class Mine(Strategy:"}, "strategy code, line 1", "code"),
        ({"code": "x = 1"}, "defines no class that derives from Strategy", "code"),
        ({"code": "class A(Strategy): pass\nclass B(Strategy): pass"}, "several strategies (A, B)", "code"),
        (
            {"code": CODE, "parameters": {"mid": 3}},
            "the strategy has no parameter 'mid'; it has fast, slow",
            "parameters",
        ),
        ({"strategy": "ma_cross", "start": "2024-02-01", "end": "2024-01-01"}, "lies after end", "end"),
        ({"strategy": "ma_cross", "symbols": []}, "symbols is an empty list", "symbols"),
        ({"strategy": "ma_cross", "cash": 0}, "it should be greater than 0", "cash"),
        ({"strategy": "ma_cross", "commission": -1}, "it should be greater than or equal to 0", "commission"),
        ({"strategy": "ma_cross", "fill": "never"}, "it should be 'next_open' or 'close'", "fill"),
        ({"strategy": "ma_cross", "table": "closes"}, "has no column 'open'", "table"),
        ({"strategy": "factor_rank", "factor": 7}, "several factors (mom, rev): give the name of one", "factor"),
    ],
)
def test_what_can_not_run_is_refused_in_a_sentence(given: dict[str, Any], sentence: str, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        resolved(**given)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.field == field
