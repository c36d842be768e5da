"""Backtests on bars: an event loop over the times of a table, with an exact ledger (Q4).

At each time, in this order: orders that wait are tried against the bar (at its open: what reduces a position, then
sales, then purchases; within the bar stops, then limits, in the order in which they were sent), the strategy sees the
bars, and what it sends is decided at their close. Rules of fills:

- a market order fills at the symbol's next open; where `fill` is "close", at the close at which it was decided, or, if
  the symbol has no bar then, at its next close;
- a limit fills at the open where that is better, else at the limit when the bar reaches it;
- a stop that the open has passed fills at the open (a gap), else at the stop when the bar reaches it;
- slippage moves the price of market and stop orders against the order; a limit is never exceeded;
- with a volume limit, at most that share of a bar's volume fills, and the rest waits for the next bar;
- an order that would take the positions above `leverage` times the equity is rejected whole; one that reduces a
  position never is.
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from quarterdeck.errors import Invalid
from quarterdeck.quant.bars import Market
from quarterdeck.quant.strategy import ALL, Order, OrderType, Size, Strategy, Trade

__all__ = ["Costs", "Fill", "Rules", "Run", "simulate"]

Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-9
"""How far, as a share of the equity, an exact purchase may exceed the cash by rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """What a fill costs: `rate` of its value, `per_share`, at least `minimum`; on sales `tax` of the value besides."""

    rate: float = 0.0
    per_share: float = 0.0
    minimum: float = 0.0
    tax: float = 0.0

    def of(self, side: int, size: float, price: float) -> float:
        value = size * price
        cost = max(value * self.rate + size * self.per_share, self.minimum)
        return cost + value * self.tax if side < 0 else cost


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """The rules of a run; `slippage` is a share of the price (0.0005: five basis points)."""

    cash: float = 1_000_000.0
    fill: Literal["next_open", "close"] = "next_open"
    costs: Costs = Costs()
    slippage: float = 0.0
    volume_limit: float | None = None
    leverage: float = 1.0
    short: bool = True


@dataclass(frozen=True, slots=True)
class Fill:
    """A fill and the position after it. `size` is signed; `realized` is the profit of the closed part, before costs."""

    order: Order
    time: int
    symbol: int
    size: float
    price: float
    cost: float
    position: float
    average: float
    realized: float


@dataclass(slots=True)
class _Cycle:
    """A position's way from nothing on."""

    side: int
    time: int
    bought: float = 0.0
    paid: float = 0.0
    sold: float = 0.0
    got: float = 0.0
    cost: float = 0.0
    realized: float = 0.0


@dataclass(slots=True)
class Run:
    """What happened: `strategy result` of fills and orders, from which all tables are made. Times are step numbers."""

    market: Market
    rules: Rules
    fills: list[Fill] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    signals: list[tuple[int, int, int, float, Size]] = field(default_factory=list)
    """step, symbol, side, close at which it was decided, size."""


def simulate(market: Market, strategy: Strategy, rules: Rules, progress: Any = None) -> Run:
    """Run a strategy over the market; `progress(share)` is called now and then.

    Raises:
        Invalid: an order that can't be (an unknown symbol, a size or price that is not above 0).
    """
    loop = _Loop(market, rules)
    strategy.desk = loop
    loop.strategy = strategy
    strategy.initialize()
    loop.go(progress)
    strategy.finalize()
    loop.end()
    return loop.run


class _Loop:
    """The desk of a strategy on history."""

    def __init__(self, market: Market, rules: Rules) -> None:
        self.run = Run(market, rules)
        self.symbols = market.symbols
        self._market = market
        self._rules = rules
        self._code = {symbol: n for n, symbol in enumerate(market.symbols)}
        self._cash = rules.cash
        count = len(market.symbols)
        self._size = [0.0] * count
        self._average = [0.0] * count
        self._last = [math.nan] * count
        self._seen = [0] * count
        self._cycles: list[_Cycle | None] = [None] * count
        self._held: set[int] = set()
        self._waiting: list[Order] = []
        self._step = -1
        self._columns: dict[tuple[int, str], Floats] = {}
        self.strategy: Strategy

    # What the strategy asks

    @property
    def time(self) -> dt.datetime:
        if self._step < 0:
            raise Invalid("there is no time before the first bar")
        return self._market.time(self._step)

    @property
    def cash(self) -> float:
        return self._cash

    @property
    def equity(self) -> float:
        return self._cash + sum(self._size[code] * self._last[code] for code in self._held)

    def position(self, symbol: str) -> float:
        return self._size[self._of(symbol)]

    def open_orders(self, symbol: str | None) -> list[Order]:
        return [order for order in self._waiting if order.status == "open" and symbol in (None, order.symbol)]

    def seen(self, symbol: str) -> int:
        return self._seen[self._of(symbol)]

    def history(self, symbol: str, rows: int | None, column: str) -> Floats:
        code = self._of(symbol)
        values = self._columns.get((code, column))
        if values is None:
            values = self._columns[code, column] = self._market.column(code, column)
            values.flags.writeable = False
        end = self._seen[code]
        return values[0 if rows is None else max(0, end - rows) : end]

    def _of(self, symbol: str) -> int:
        try:
            return self._code[symbol]
        except KeyError:
            raise Invalid(f"there are no bars of a symbol '{symbol}'") from None

    def send(
        self,
        symbol: str,
        side: int,
        size: Size,
        type: OrderType,  # noqa: A002
        price: float | None,
        bars: int | None,
        label: str,
    ) -> Order:
        code = self._of(symbol)
        if self._step < 0:
            raise Invalid("an order can't be sent before the first bar: send it in on_bar or on_bars")
        if size != ALL and not (isinstance(size, (int, float, np.number)) and 0 < size < math.inf):
            raise Invalid(f'the size of an order is above 0, or "all", not {size!r}')
        if price is not None and not 0 < price < math.inf:
            raise Invalid(f"the price of a {type} order is above 0, not {price!r}")
        if bars is not None and bars < 1:
            raise Invalid(f"an order is good for 1 bar or more, not {bars!r}")
        amount: Size = size if size == ALL else float(size)
        number = len(self.run.orders)
        order = Order(number + 1, symbol, side, amount, type, price, bars, label, self._step, code)
        close = self._last[code]
        if side > 0:
            order.reserved = self._cash if amount == ALL else amount * (price or (0.0 if close != close else close))
        self.run.orders.append(order)
        self.run.signals.append((self._step, code, side, close, amount))
        self._waiting.append(order)
        return order

    def cancel(self, order: Order) -> None:
        if order.status == "open":
            self._close(order, "cancelled", "taken back by the strategy")

    # The loop

    def go(self, progress: Any) -> None:
        market, strategy = self._market, self.strategy
        starts = market.starts.tolist()
        last, seen, waiting = self._last, self._seen, self._waiting
        at_close = self._rules.fill == "close"
        plain = type(strategy).on_bars is Strategy.on_bars
        on_bar, on_bars = strategy.on_bar, strategy.on_bars
        every = max(1, len(market.times) // 100)
        for step, (bars, codes, closes) in enumerate(market.steps()):
            self._step = step
            if waiting:
                self._fill_bars(starts[step], starts[step + 1])
            for code, close in zip(codes, closes, strict=True):
                last[code] = close
                seen[code] += 1
            if plain:
                for bar in bars:
                    on_bar(bar)
            else:
                on_bars({bar.symbol: bar for bar in bars})
            if at_close and waiting:
                self._fill_close(frozenset(codes))
            if progress is not None and step % every == 0:
                progress(step / len(market.times))

    def end(self) -> None:
        """What was not filled has expired; open positions are trades without an exit."""
        for order in list(self._waiting):
            if order.status == "open":
                self._close(order, "expired", "the data ended before it was filled")
        for code in sorted(self._held):
            cycle = self._cycles[code]
            if cycle is not None:
                self.run.trades.append(self._trade(code, cycle, None))

    def _fill_bars(self, begin: int, end: int) -> None:
        """Try what waits against the bars of this step."""
        market = self._market
        here = {int(market.symbol[row]): row for row in range(begin, end)} if end - begin > 1 else None
        only = int(market.symbol[begin])
        at_close = self._rules.fill == "close"
        due = [
            (order, begin if here is None else here[order.code])
            for order in self._waiting
            if order.status == "open"
            and (order.code in here if here is not None else order.code == only)
            and not (at_close and order.type == "market")
        ]
        if not due:
            return
        limit = self._rules.volume_limit
        room = {} if limit is None else {row: math.floor(market.volume[row] * limit) for _, row in due}
        later: list[tuple[Order, int, float]] = []
        at_open: list[tuple[Order, int, float]] = []
        for order, row in due:
            price = _opening(market, order, row)
            if price is not None:
                at_open.append((order, row, price))
            elif order.type != "market" and (price := _inside(market, order, row)) is not None:
                later.append((order, row, price))
        at_open.sort(key=lambda one: self._turn(one[0]))
        later.sort(key=lambda one: (one[0].type != "stop", one[0].id))
        for order, row, price in (*at_open, *later):
            if order.status == "open":  # a strategy may have taken it back when an earlier one was filled
                self._execute(order, price, room, row)
        for order, _ in due:
            if order.status == "open" and order.bars is not None:
                order.bars -= 1
                if order.bars <= 0:
                    self._close(order, "expired", "not filled within its bars")
        self._sweep()

    def _fill_close(self, here: frozenset[int]) -> None:
        """Market orders fill at the close of this step where their symbol has a bar, in the same turn."""
        due = [order for order in self._waiting if order.type == "market" and order.code in here]
        for order in sorted(due, key=self._turn):
            if order.status == "open":
                self._execute(order, self._last[order.code], {}, None)
        self._sweep()

    def _turn(self, order: Order) -> tuple[bool, int, int]:
        """What reduces a position comes first, then sales, which pay for the purchases."""
        have = self._size[order.code]
        reduces = have * order.side < 0 and (order.size == ALL or order.size - order.filled <= abs(have))
        return not reduces, order.side, order.id

    def _sweep(self) -> None:
        self._waiting[:] = [order for order in self._waiting if order.status == "open"]

    def _execute(self, order: Order, price: float, room: dict[int, float], row: int | None) -> None:
        side, code, rules = order.side, order.code, self._rules
        if order.type != "limit":
            price *= 1.0 + side * rules.slippage
        size = self._wanted(order, price)
        if size <= 0:
            return
        if row is not None and row in room:
            size = min(size, room[row])
            if size <= 0:
                return
            room[row] -= size
        trouble = self._trouble(code, side, size, price)
        if trouble:
            self._close(order, "rejected", trouble)
            return
        before = order.filled
        order.filled = before + size
        order.fill_price = (
            price if order.fill_price is None else (order.fill_price * before + price * size) / order.filled
        )
        order.fill_time = self._step
        done = order.size != ALL and order.filled >= order.size - 1e-12
        self._book(order, side * size, price)
        if done:
            order.status, order.ended = "filled", self._step
        self.strategy.on_order(order)

    def _wanted(self, order: Order, price: float) -> float:
        """How many are to be filled; "all" is decided now."""
        if order.size != ALL:
            return order.size - order.filled
        code, costs = order.code, self._rules.costs
        if order.side < 0:
            order.size = whole = max(self._size[code], 0.0)
            if not whole:
                self._close(order, "rejected", "there is no position to sell")
            return whole
        size = math.floor(max(0.0, self._cash) / (price * (1 + costs.rate) + costs.per_share) + _ROUNDING)
        while size > 0 and size * price + costs.of(1, size, price) > self._cash * (1 + _ROUNDING):
            size -= 1
        order.size = whole = float(size)
        if not whole:
            self._close(order, "rejected", f"the cash of {self._cash:,.2f} buys no share at {price:,.4f}")
        return whole

    def _trouble(self, code: int, side: int, size: float, price: float) -> str:
        """Why the fill is not allowed; empty if it is."""
        have = self._size[code]
        if have * side < 0 and size <= abs(have):
            return ""
        after = have + side * size
        if after < 0 and not self._rules.short:
            return f"it would be short {-after:g} shares, which this run does not allow"
        cost = self._rules.costs.of(side, size, price)
        cash = self._cash - side * size * price - cost
        equity, gross = cash + after * price, abs(after) * price
        for other in self._held:
            if other != code:
                value = self._size[other] * self._last[other]
                equity += value
                gross += abs(value)
        if gross <= self._rules.leverage * equity + _ROUNDING * max(self._rules.cash, abs(equity)):
            return ""
        return f"positions of {gross:,.2f} would exceed {self._rules.leverage:g} times the equity of {equity:,.2f}"

    def _book(self, order: Order, size: float, price: float) -> None:
        """Bring a fill into the ledger; one that flips the position closes it first."""
        code = order.code
        side = 1 if size > 0 else -1
        have, average = self._size[code], self._average[code]
        cost = self._rules.costs.of(side, abs(size), price)
        self._cash -= size * price + cost
        closing = min(abs(size), abs(have)) if have * side < 0 else 0.0
        realized = closing * (price - average) * (1 if have > 0 else -1) if closing else 0.0
        after = have + size
        if closing and abs(after) < 1e-12:
            after = 0.0
        opening = abs(size) - closing
        if opening > 0:
            average = price if closing or not have else (average * abs(have) + price * opening) / abs(after)
        elif not after:
            average = 0.0
        self._size[code], self._average[code] = after, average
        if after:
            self._held.add(code)
        else:
            self._held.discard(code)
        self.run.fills.append(Fill(order, self._step, code, size, price, cost, after, average, realized))
        share = closing / abs(size)
        if closing:
            self._advance(code, side, closing, price, cost * share, realized, ended=not after or after * have < 0)
        if opening > 0:
            self._advance(code, side, opening, price, cost * (1 - share), 0.0, ended=False)

    def _advance(
        self, code: int, side: int, size: float, price: float, cost: float, realized: float, *, ended: bool
    ) -> None:
        cycle = self._cycles[code]
        if cycle is None:
            cycle = self._cycles[code] = _Cycle(side, self._step)
        if side == cycle.side:
            cycle.bought += size
            cycle.paid += size * price
        else:
            cycle.sold += size
            cycle.got += size * price
        cycle.cost += cost
        cycle.realized += realized
        if ended:
            self._cycles[code] = None
            trade = self._trade(code, cycle, self._step)
            self.run.trades.append(trade)
            self.strategy.on_trade(trade)

    def _trade(self, code: int, cycle: _Cycle, ended: int | None) -> Trade:
        return Trade(
            self.symbols[code],
            "long" if cycle.side > 0 else "short",
            cycle.time,
            cycle.paid / cycle.bought,
            ended,
            cycle.got / cycle.sold if ended is not None else None,
            cycle.bought,
            cycle.realized - cycle.cost,
            cycle.cost,
        )

    def _close(self, order: Order, status: Literal["cancelled", "rejected", "expired"], reason: str) -> None:
        order.status = "partially filled" if order.filled else status
        order.reason = reason
        order.ended = max(self._step, 0)
        self.strategy.on_order(order)


def _opening(market: Market, order: Order, row: int) -> float | None:
    """The price at which it fills at the open, if it does."""
    opened = float(market.open[row])
    price = order.price
    if price is None:
        return opened
    beyond = opened <= price if (order.side > 0) == (order.type == "limit") else opened >= price
    return opened if beyond else None


def _inside(market: Market, order: Order, row: int) -> float | None:
    """The price at which it fills within the bar, if it does."""
    price = order.price
    if price is None:
        return None
    falls = (order.side > 0) == (order.type == "limit")
    reached = float(market.low[row]) <= price if falls else float(market.high[row]) >= price
    return price if reached else None
