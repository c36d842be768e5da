"""The built-in strategies, and strategies as source text: their parameters, checked before anything runs (K4)."""

from __future__ import annotations

import ast
import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_type_hints

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from quarterdeck.errors import Invalid
from quarterdeck.quant.strategy import ALL, Bar, Order, Size, Strategy
from quarterdeck.quant.user_code import CodeError, UserCode

__all__ = [
    "BUILT_IN",
    "BuyAndHold",
    "FactorRank",
    "MaCross",
    "check_code",
    "fits",
    "made",
    "of_code",
    "parameters",
    "typed",
]

_CODE = UserCode("strategy code", "define a class that derives from Strategy")
_EXACT = 1 << 60
_GRID = 10**6


class MaCross(Strategy):
    """Long only: buys when the fast average of closes crosses the slow one from below, sells when it crosses back.

    A cross is strict: the averages have changed sides; equal ones are on the side where they were. The sums behind the
    averages are exact, so that equal averages are equal and a run can be repeated anywhere.
    """

    fast: int = 10
    slow: int = 50
    size: float | Literal["all"] = ALL

    def check(self) -> None:
        if not 1 <= self.fast < self.slow:
            raise Invalid(f"fast is at least 1 and below slow, not {self.fast} and {self.slow}", field="parameters")
        if self.size != ALL and not 0 < self.size < math.inf:
            raise Invalid(f'size is above 0, or "all", not {self.size}', field="parameters")

    def initialize(self) -> None:
        self._averages: dict[str, _Averages] = {}

    def on_bar(self, bar: Bar) -> None:
        averages = self._averages.get(bar.symbol)
        if averages is None:
            averages = self._averages[bar.symbol] = _Averages(self.fast, self.slow)
        cross = averages.add(bar.close)
        if cross > 0 and self.position(bar.symbol) == 0:
            self.buy(bar.symbol, self.size, label="cross up")
        elif cross < 0 and (held := self.position(bar.symbol)) > 0:
            self.sell(bar.symbol, held, label="cross down")


class _Averages:
    """Two moving averages as exact sums of a symbol's closes."""

    __slots__ = ("_closes", "_fast", "_fast_sum", "_side", "_slow", "_slow_sum")

    def __init__(self, fast: int, slow: int) -> None:
        self._fast, self._slow = fast, slow
        self._fast_sum = self._slow_sum = self._side = 0
        self._closes: list[int] = []

    def add(self, close: float) -> int:
        """1 when the fast average crosses the slow one from below with this close, -1 from above, else 0."""
        grid = round(close * _GRID)
        # a price of up to six decimals is that decimal number, another one exactly what its bits say
        exact = grid * _EXACT if grid / _GRID == close else int(close * _EXACT) * _GRID
        closes = self._closes
        closes.append(exact)
        self._fast_sum += exact
        self._slow_sum += exact
        count = len(closes)
        if count > self._fast:
            self._fast_sum -= closes[-1 - self._fast]
        if count < self._slow:
            return 0
        if count > self._slow:
            self._slow_sum -= closes[-1 - self._slow]
            if count > 4 * self._slow + 1000:
                del closes[: count - self._slow - 1]
        difference = self._fast_sum * self._slow - self._slow_sum * self._fast
        if difference == 0:
            return 0
        side = 1 if difference > 0 else -1
        before, self._side = self._side, side
        return side if before and side != before else 0


class BuyAndHold(Strategy):
    """Buys each symbol at its first bar, equal shares of the cash in whole shares, and keeps it."""

    invested: float = 1.0

    def check(self) -> None:
        if not 0 < self.invested <= 1:
            raise Invalid(
                f"invested is a share of the cash above 0 and up to 1, not {self.invested}", field="parameters"
            )

    def initialize(self) -> None:
        self._each = 0.0
        self._bought: set[str] = set()

    def on_bars(self, bars: Mapping[str, Bar]) -> None:
        self._each = self._each or self.cash * self.invested / len(self.symbols)
        for symbol, bar in bars.items():
            if symbol not in self._bought:
                self._bought.add(symbol)
                if len(self.symbols) == 1 and self.invested == 1.0:
                    self.buy(symbol, ALL, label="buy and hold")
                elif (size := int(self._each // bar.close)) > 0:
                    self.buy(symbol, size, label="buy and hold")

    def on_order(self, order: Order) -> None:
        # opens above the closes have used up more of the cash than was meant: what is left is for the last ones
        if order.status == "rejected" and order.size != ALL:
            self.buy(order.symbol, ALL, label="buy and hold")


class FactorRank(Strategy):
    """Holds the symbols with the highest values of a factor, equally weighted, and is short those with the lowest.

    Every `every` times, from the first on at which enough symbols have a value and a bar, these are ranked; the top and
    the bottom of `quantiles` groups get whole shares for `invested` of the equity: half each side, or all of it on the
    top where `short` is false.
    """

    every: int = 20
    quantiles: int = 5
    short: bool = True
    invested: float = 0.95

    def check(self) -> None:
        if self.every < 1 or self.quantiles < 2:
            raise Invalid("every is at least 1 and quantiles at least 2", field="parameters")
        if not 0 < self.invested <= 1:
            raise Invalid(
                f"invested is a share of the equity above 0 and up to 1, not {self.invested}", field="parameters"
            )

    def initialize(self) -> None:
        self._left = 0

    def on_bars(self, bars: Mapping[str, Bar]) -> None:
        if self._left:
            self._left -= 1
            return
        values = ((float(self.history(symbol, 1, "factor")[-1]), symbol) for symbol in bars)
        ranked = sorted(pair for pair in values if math.isfinite(pair[0]))
        if len(ranked) < self.quantiles:
            return
        self._left = self.every - 1
        group = max(1, len(ranked) // self.quantiles)
        equity = self.equity * self.invested
        side = equity / 2 if self.short else equity
        wanted = {symbol: int(side / group // bars[symbol].close) for _, symbol in ranked[-group:]}
        if self.short:
            wanted |= {symbol: -int(side / group // bars[symbol].close) for _, symbol in ranked[:group]}
        for symbol, bar in bars.items():
            if symbol in wanted or self.position(symbol):
                self.target(bar.symbol, wanted.get(symbol, 0), label="rebalance")


BUILT_IN: dict[str, type[Strategy]] = {"ma_cross": MaCross, "buy_and_hold": BuyAndHold, "factor_rank": FactorRank}


def parameters(strategy: type[Strategy]) -> type[BaseModel]:
    """The strategy's parameters as a model: its annotated class attributes, each with a default."""
    hints = get_type_hints(strategy)
    fields: dict[str, Any] = {
        name: (kind, getattr(strategy, name))
        for name, kind in hints.items()
        if not name.startswith("_") and name != "desk" and hasattr(strategy, name)
    }
    return create_model(strategy.__name__, __config__=ConfigDict(extra="forbid", strict=True), **fields)


def typed(strategy: type[Strategy], given: Mapping[str, Any]) -> BaseModel:
    """The parameters, each of its type.

    Raises:
        Invalid: a parameter is unknown or of another type.
    """
    model = parameters(strategy)
    try:
        return model.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(str(one) for one in first["loc"][:1])
        known = ", ".join(model.model_fields) or "none"
        if first["type"] == "extra_forbidden":
            raise Invalid(f"the strategy has no parameter '{name}'; it has {known}", field="parameters") from None
        message = str(first["msg"]).replace("Input should", "it should", 1)
        raise Invalid(
            f"parameter '{name}' of the strategy: {message}, not {first['input']!r}", field="parameters"
        ) from None


def made(strategy: type[Strategy], given: Mapping[str, Any]) -> Strategy:
    """A strategy with its parameters set.

    Raises:
        Invalid: a parameter is unknown or of another type, or they don't fit together.
    """
    values = typed(strategy, given)
    one = strategy()
    for name in type(values).model_fields:
        setattr(one, name, getattr(values, name))
    one.check()
    return one


def fits(strategy: type[Strategy], given: Mapping[str, Any]) -> bool:
    """Whether parameters of the right types fit together."""
    one = strategy()
    for name, value in given.items():
        setattr(one, name, value)
    try:
        one.check()
    except Invalid:
        return False
    return True


def check_code(source: str) -> tuple[str, frozenset[str] | None]:
    """Check, without running it, that `source` defines one strategy: the name of its class and its parameters' names.

    The names are None where only running the code could tell, because the class derives from an imported one.

    Raises:
        CodeError: one sentence that names the line.
    """
    tree = _CODE.tree(source)
    found = _strategies(tree)
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    names: set[str] = set()
    waiting = [found]
    while waiting:
        node = waiting.pop()
        names |= {
            one.target.id
            for one in node.body
            if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and one.value is not None
        }
        for base in map(ast.unparse, node.bases):
            if base in classes:
                waiting.append(classes.pop(base))
            elif base not in ("Strategy", "object"):
                return found.name, None
    return found.name, frozenset(name for name in names if not name.startswith("_"))


def _strategies(tree: ast.Module) -> ast.ClassDef:
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    derived: dict[str, ast.ClassDef] = {}
    for node in classes:
        bases = [ast.unparse(base) for base in node.bases]
        if any(base.rpartition(".")[2] == "Strategy" or base in derived for base in bases):
            derived[node.name] = node
    parents = {ast.unparse(base) for node in derived.values() for base in node.bases}
    last = [node for node in derived.values() if node.name not in parents]
    if not last:
        raise CodeError("the code defines no class that derives from Strategy; write class Mine(Strategy): …")
    if len(last) > 1:
        names = ", ".join(node.name for node in last)
        raise CodeError(f"the code defines several strategies ({names}); keep one", line=last[1].lineno)
    return last[0]


@contextlib.contextmanager
def of_code(source: str) -> Iterator[type[Strategy]]:
    """The strategy that the source defines, run as a module; what fails in the block is told by the code's lines.

    Raises:
        CodeError: the code failed.
    """
    import pandas as pd
    import polars as pl

    name, _ = check_code(source)
    known = {"Strategy": Strategy, "Bar": Bar, "ALL": ALL, "Size": Size, "np": np, "pd": pd, "pl": pl}
    with _CODE.running(source, **known) as module:
        found = vars(module).get(name)
        if not (isinstance(found, type) and issubclass(found, Strategy)):
            raise CodeError(f"{name} is no class that derives from Strategy once the code has run")
        yield found
