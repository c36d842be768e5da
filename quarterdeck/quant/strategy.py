"""What a strategy is: a class with `initialize`, `on_bar` or `on_bars`, `on_order`, `on_trade` and `finalize`.

    class Cross(Strategy):
        fast: int = 10                       # parameters: annotated, with a default
        slow: int = 50

        def on_bar(self, bar):
            fast = self.history(bar.symbol, self.fast).mean()
            ...
            self.buy(bar.symbol, 100)

The same class runs on history and live: it sees only what has happened, and it is called in the order of time.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from quarterdeck.errors import Invalid

__all__ = ["ALL", "Bar", "Desk", "Order", "OrderType", "Size", "Status", "Strategy", "Trade"]

ALL: Literal["all"] = "all"
"""As a buy's size: all the cash in whole shares at the price of the fill; as a sale's: the whole position."""

Size = float | Literal["all"]
OrderType = Literal["market", "limit", "stop"]
Status = Literal["open", "filled", "partially filled", "cancelled", "rejected", "expired"]


class Bar(NamedTuple):
    """A symbol's prices over an interval that ends at `time`."""

    symbol: str
    time: dt.datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


@dataclass(slots=True, eq=False)
class Order:
    """An order and what became of it. `side` is 1 (buy) or -1 (sell); `size` is "all" until the fill decides it.

    `bars` is for how many of the symbol's bars it stays open; None: until it is filled or cancelled. `filled` shares at
    `fill_price`, their mean price. `sent`, `fill_time` and `ended` are numbers of the run's times, `code` is the
    symbol's number; `reserved` is the cash that a purchase holds back.
    """

    id: int
    symbol: str
    side: int
    size: Size
    type: OrderType
    price: float | None
    bars: int | None
    label: str
    sent: int
    code: int
    reserved: float = 0.0
    status: Status = "open"
    reason: str = ""
    filled: float = 0.0
    fill_price: float | None = None
    fill_time: int | None = None
    ended: int | None = None


@dataclass(frozen=True, slots=True)
class Trade:
    """A way from no position to no position; while it is open, `exit_time` and `exit_price` are None.

    `size` is how much was bought (long) or sold (short) in all, at the mean `entry_price`; `pnl` is the realized profit
    after `commission`, which holds all costs and taxes. Times are numbers of the run's times.
    """

    symbol: str
    side: Literal["long", "short"]
    entry_time: int
    entry_price: float
    exit_time: int | None
    exit_price: float | None
    size: float
    pnl: float
    commission: float


class Desk(Protocol):
    """What a strategy needs of the one who runs it."""

    @property
    def time(self) -> dt.datetime: ...
    @property
    def cash(self) -> float: ...
    @property
    def equity(self) -> float: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...
    def send(
        self,
        symbol: str,
        side: int,
        size: Size,
        type: OrderType,  # noqa: A002
        price: float | None,
        bars: int | None,
        label: str,
    ) -> Order: ...
    def cancel(self, order: Order) -> None: ...
    def position(self, symbol: str) -> float: ...
    def open_orders(self, symbol: str | None) -> list[Order]: ...
    def history(self, symbol: str, rows: int | None, column: str) -> npt.NDArray[np.float64]: ...
    def seen(self, symbol: str) -> int: ...


class Strategy:
    """Derive from it. Annotated class attributes with a default are the strategy's parameters.

    Orders that are sent while a bar is handled are decided at its close: a market order is filled at the symbol's next
    open, or at that close where the run says so; limits and stops work from the next bar on.
    """

    if TYPE_CHECKING:
        desk: Desk

    # What a strategy overrides

    def check(self) -> None:
        """Raise `Invalid` for parameters that don't fit together; called when they are set, before any bar."""

    def initialize(self) -> None:
        """Before the first bar."""

    def on_bars(self, bars: Mapping[str, Bar]) -> None:
        """All bars of one time, by symbol in alphabetical order; unless overridden, each goes to `on_bar`."""
        for bar in bars.values():
            self.on_bar(bar)

    def on_bar(self, bar: Bar) -> None:
        """A bar of one symbol."""

    def on_order(self, order: Order) -> None:
        """An order was filled, wholly or in part, rejected, cancelled or has expired."""

    def on_trade(self, trade: Trade) -> None:
        """A position was closed."""

    def finalize(self) -> None:
        """After the last bar. What is open stays open."""

    # What it may do

    def buy(
        self,
        symbol: str,
        size: Size,
        *,
        limit: float | None = None,
        stop: float | None = None,
        bars: int | None = None,
        label: str = "",
    ) -> Order:
        """Order to buy: at the market, at `limit` or better, or once the price has risen to `stop`."""
        return self._send(symbol, 1, size, limit, stop, bars, label)

    def sell(
        self,
        symbol: str,
        size: Size,
        *,
        limit: float | None = None,
        stop: float | None = None,
        bars: int | None = None,
        label: str = "",
    ) -> Order:
        """Order to sell: at the market, at `limit` or better, or once the price has fallen to `stop`."""
        return self._send(symbol, -1, size, limit, stop, bars, label)

    def target(self, symbol: str, size: float, *, label: str = "") -> Order | None:
        """A market order that makes the position `size` (negative: short); None if it is that already."""
        difference = size - self.desk.position(symbol)
        if difference == 0:
            return None
        return self._send(symbol, 1 if difference > 0 else -1, abs(difference), None, None, None, label)

    def cancel(self, order: Order) -> None:
        """Take an open order back."""
        self.desk.cancel(order)

    def open_orders(self, symbol: str | None = None) -> list[Order]:
        """The orders that wait, of one symbol or of all."""
        return self.desk.open_orders(symbol)

    def position(self, symbol: str) -> float:
        """Shares held; negative when short."""
        return self.desk.position(symbol)

    @property
    def time(self) -> dt.datetime:
        """The time of the bars that are handled."""
        return self.desk.time

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols of the run, in alphabetical order."""
        return self.desk.symbols

    @property
    def cash(self) -> float:
        """Cash now."""
        return self.desk.cash

    @property
    def equity(self) -> float:
        """Cash and positions at their last closes."""
        return self.desk.equity

    def history(self, symbol: str, rows: int | None = None, column: str = "close") -> npt.NDArray[np.float64]:
        """The last `rows` values of a symbol's column up to now (all, without a number), the newest last."""
        return self.desk.history(symbol, rows, column)

    def seen(self, symbol: str) -> int:
        """How many bars of the symbol there were up to now."""
        return self.desk.seen(symbol)

    def _send(
        self,
        symbol: str,
        side: int,
        size: Size,
        limit: float | None,
        stop: float | None,
        bars: int | None,
        label: str,
    ) -> Order:
        if limit is None and stop is None:
            return self.desk.send(symbol, side, size, "market", None, bars, label)
        if limit is not None and stop is not None:
            raise Invalid("an order has a limit or a stop, not both")
        return self.desk.send(symbol, side, size, "limit" if stop is None else "stop", limit or stop, bars, label)
