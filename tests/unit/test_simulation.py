"""Backtests on bars: fills by hand, the crossing strategy against pandas, the ledger by its identities (Q4, T3)."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.demonstration import stocks_file
from quarterdeck.errors import Invalid
from quarterdeck.quant.bars import Market
from quarterdeck.quant.ledger import tables
from quarterdeck.quant.simulation import Costs, Rules, Run, simulate
from quarterdeck.quant.strategies import BuyAndHold, FactorRank, MaCross, made
from quarterdeck.quant.strategy import ALL, Bar, Order, Strategy, Trade

BEGIN = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)

Prices = tuple[float, float, float, float]


def market(rows: Mapping[str, Sequence[Prices | None]], volume: float = 1e9, fill: str = "next_open") -> Market:
    """Daily bars of (open, high, low, close); None is no bar."""
    return Market(
        pl.DataFrame(
            [
                (symbol, BEGIN + n * DAY, *bar, volume)
                for symbol, bars in rows.items()
                for n, bar in enumerate(bars)
                if bar is not None
            ],
            schema=["symbol", "time", "open", "high", "low", "close", "volume"],
            orient="row",
        ),
        fill=fill,
    )


def flat(*prices: float) -> list[Prices | None]:
    """Bars of a price each."""
    return [(price, price, price, price) for price in prices]


class Plan(Strategy):
    """Does at each step what the test says."""

    def __init__(self, acts: Mapping[int, Callable[[Strategy], Any]]) -> None:
        self.acts = acts
        self.step = -1
        self.orders: list[tuple[str, str]] = []
        self.closed: list[Trade] = []

    def on_bars(self, bars: Mapping[str, Bar]) -> None:
        self.step += 1
        if self.step in self.acts:
            self.acts[self.step](self)

    def on_order(self, order: Order) -> None:
        self.orders.append((order.symbol, order.status))

    def on_trade(self, trade: Trade) -> None:
        self.closed.append(trade)


def played(bars: Market, acts: Mapping[int, Callable[[Strategy], Any]], **rules: Any) -> Run:
    return simulate(bars, Plan(acts), Rules(**{"cash": 10_000.0, **rules}))


def filled(run: Run) -> list[tuple[int, float, float]]:
    return [(fill.time, fill.size, fill.price) for fill in run.fills]


@pytest.mark.spec("Q4")
def test_a_market_order_fills_at_the_next_open_or_at_the_close() -> None:
    bars = {"A": [(10.0, 12.0, 9.0, 11.0), (13.0, 14.0, 12.0, 12.5), (12.0, 12.0, 12.0, 12.0)]}
    buy = {0: lambda desk: desk.buy("A", 100)}
    assert filled(played(market(bars), buy)) == [(1, 100, 13.0)]
    assert filled(played(market(bars), buy, fill="close")) == [(0, 100, 11.0)]


@pytest.mark.spec("Q4")
def test_an_order_waits_for_its_symbols_own_next_bar() -> None:
    bars: dict[str, list[Prices | None]] = {
        "A": [(10, 10, 10, 10), None, (12, 12, 12, 12)],
        "B": flat(1, 2, 3),
    }
    run = played(market(bars), {0: lambda desk: (desk.buy("A", 1), desk.buy("B", 1))})
    assert [(run.market.symbols[fill.symbol], fill.time, fill.price) for fill in run.fills] == [
        ("B", 1, 2),
        ("A", 2, 12),
    ]


@pytest.mark.spec("Q4")
def test_a_close_is_that_of_the_symbols_own_bar() -> None:
    bars: dict[str, list[Prices | None]] = {"A": [None, (11, 11, 11, 12), None], "B": flat(1, 2, 3)}
    run = played(market(bars), {0: lambda desk: desk.buy("A", 1), 2: lambda desk: desk.sell("A", 1)}, fill="close")
    assert filled(run) == [(1, 1, 12)]
    assert [order.status for order in run.orders] == ["filled", "expired"]


@pytest.mark.spec("Q4")
@pytest.mark.parametrize(
    ("act", "bar", "price"),
    [
        # reached within the bar, missed, and gapped through at the open
        (lambda desk: desk.buy("A", 1, limit=9.0), (10, 11, 8.5, 10), 9.0),
        (lambda desk: desk.buy("A", 1, limit=9.0), (10, 11, 9.5, 10), None),
        (lambda desk: desk.buy("A", 1, limit=9.0), (8, 11, 7.5, 10), 8.0),
        (lambda desk: desk.sell("A", 1, limit=11.0), (10, 11.5, 9.5, 10), 11.0),
        (lambda desk: desk.sell("A", 1, limit=11.0), (10, 10.9, 9.5, 10), None),
        (lambda desk: desk.sell("A", 1, limit=11.0), (12, 12.5, 9.5, 10), 12.0),
        (lambda desk: desk.buy("A", 1, stop=11.0), (10, 11.5, 9.5, 10), 11.0),
        (lambda desk: desk.buy("A", 1, stop=11.0), (12, 12.5, 9.5, 10), 12.0),
        (lambda desk: desk.buy("A", 1, stop=11.0), (10, 10.9, 9.5, 10), None),
        (lambda desk: desk.sell("A", 1, stop=9.0), (10, 10.5, 8.5, 10), 9.0),
        (lambda desk: desk.sell("A", 1, stop=9.0), (8, 10.5, 7.5, 10), 8.0),
        (lambda desk: desk.sell("A", 1, stop=9.0), (10, 10.5, 9.1, 10), None),
    ],
)
def test_limits_and_stops(act: Callable[[Strategy], Any], bar: Prices, price: float | None) -> None:
    run = played(market({"A": [(10, 10, 10, 10), bar]}), {0: act})
    assert [fill.price for fill in run.fills] == ([] if price is None else [price])
    assert run.orders[0].status == ("expired" if price is None else "filled")


@pytest.mark.spec("K4")
def test_slippage_costs_and_tax_by_hand() -> None:
    costs = Costs(rate=0.001, per_share=0.01, minimum=2.0, tax=0.002)
    run = played(
        market({"A": flat(10, 10, 20, 20)}),
        {0: lambda desk: desk.buy("A", 100), 1: lambda desk: desk.sell("A", 100)},
        costs=costs,
        slippage=0.01,
    )
    # 100 at 10.10: 1.01 + 1.00 = 2.01 of costs; 100 at 19.80: 1.98 + 1.00 = 2.98, and 3.96 of tax
    assert [(fill.time, fill.size) for fill in run.fills] == [(1, 100), (2, -100)]
    assert [fill.price for fill in run.fills] == pytest.approx([10.1, 19.8])
    assert [fill.cost for fill in run.fills] == pytest.approx([2.01, 6.94])
    account = tables(run).frames["account"]
    assert account["cash"].to_list() == pytest.approx([10_000, 8_987.99, 10_961.05, 10_961.05])
    (trade,) = run.trades
    assert trade.pnl == pytest.approx(970 - 8.95)
    assert trade.commission == pytest.approx(8.95)


@pytest.mark.spec("K4")
def test_a_volume_limit_fills_in_parts() -> None:
    bars = market({"A": flat(10, 11, 12, 13)}, volume=200)
    run = played(bars, {0: lambda desk: desk.buy("A", 50)}, volume_limit=0.1)
    assert filled(run) == [(1, 20, 11), (2, 20, 12), (3, 10, 13)]
    assert run.orders[0].status == "filled"
    assert run.orders[0].fill_price == pytest.approx((20 * 11 + 20 * 12 + 10 * 13) / 50)
    run = played(bars, {0: lambda desk: desk.buy("A", 100)}, volume_limit=0.1)
    assert (run.orders[0].status, run.orders[0].filled) == ("partially filled", 60)


@pytest.mark.spec("K4", "Q4")
def test_all_the_cash_in_whole_shares_at_the_price_of_the_fill() -> None:
    run = played(market({"A": flat(90, 101, 101)}), {0: lambda desk: desk.buy("A", ALL)}, cash=1_000.0)
    assert filled(run) == [(1, 9, 101)]
    exact = played(market({"A": flat(90, 0.1, 0.1)}), {0: lambda desk: desk.buy("A", ALL)}, cash=1_000.0)
    assert filled(exact) == [(1, 10_000, 0.1)]
    dear = played(market({"A": flat(90, 2_000)}), {0: lambda desk: desk.buy("A", ALL)}, cash=1_000.0)
    assert dear.orders[0].status == "rejected"
    assert "buys no share at 2,000" in dear.orders[0].reason
    costly = played(
        market({"A": flat(90, 100)}), {0: lambda desk: desk.buy("A", ALL)}, cash=1_000.0, costs=Costs(minimum=5.0)
    )
    assert filled(costly) == [(1, 9, 100)]


@pytest.mark.spec("K4")
def test_what_the_equity_does_not_bear_is_rejected() -> None:
    bars = market({"A": flat(10, 10, 10), "B": flat(10, 10, 10)})
    run = played(bars, {0: lambda desk: (desk.buy("A", 700), desk.buy("B", 700))})
    assert [order.status for order in run.orders] == ["filled", "rejected"]
    assert "would exceed 1 times the equity of 10,000.00" in run.orders[1].reason
    lent = played(bars, {0: lambda desk: (desk.buy("A", 700), desk.buy("B", 700))}, leverage=2.0)
    assert [order.status for order in lent.orders] == ["filled", "filled"]
    account = tables(lent).frames["account"]
    assert account["cash"][-1] == pytest.approx(-4_000)
    assert account["margin"][-1] == pytest.approx(7_000)
    # what sells pays for what buys at the same open, in whatever order they were sent
    swap = {0: lambda desk: desk.buy("A", 1_000), 1: lambda desk: (desk.buy("B", 1_000), desk.sell("A", 1_000))}
    assert [order.status for order in played(bars, swap).orders] == ["filled", "filled", "filled"]
    # and what covers a short makes room for another one
    turn = {0: lambda desk: desk.sell("A", 1_000), 1: lambda desk: (desk.sell("B", 1_000), desk.buy("A", 1_000))}
    assert [order.status for order in played(bars, turn).orders] == ["filled", "filled", "filled"]


@pytest.mark.spec("K4", "T3")
def test_shorts_and_a_flip_through_nothing() -> None:
    acts = {
        0: lambda desk: desk.sell("A", 100),
        1: lambda desk: desk.buy("A", 300),
        2: lambda desk: desk.sell("A", 200),
    }
    run = played(market({"A": flat(10, 10, 8, 9, 9)}), acts)
    assert [(trade.side, trade.size, trade.entry_price, trade.exit_price, trade.pnl) for trade in run.trades] == [
        ("short", 100, 10, 8, 200),
        ("long", 200, 8, 9, 200),
    ]
    assert [fill.position for fill in run.fills] == [-100, 200, 0]
    never = played(market({"A": flat(10, 10)}), {0: lambda desk: desk.sell("A", 1)}, short=False)
    assert never.orders[0].status == "rejected"
    assert "does not allow" in never.orders[0].reason


@pytest.mark.spec("T3", "Q4")
def test_a_position_open_at_the_end_stays_open_and_is_marked_at_the_last_close() -> None:
    run = played(market({"A": flat(10, 10, 15)}), {0: lambda desk: desk.buy("A", 100)})
    found = tables(run).frames
    assert found["trades"].row(0, named=True) | {"entry_time": None} == {
        "symbol": "A",
        "side": "long",
        "entry_time": None,
        "entry_price": 10.0,
        "exit_time": None,
        "exit_price": None,
        "size": 100.0,
        "pnl": 0.0,
        "commission": 0.0,
    }
    assert found["account"]["equity"].to_list() == [10_000, 10_000, 10_500]
    assert found["account"]["unrealized_pnl"].to_list() == [0, 0, 500]
    assert found["returns"]["daily_return"].to_list() == pytest.approx([0, 0, 0.05])
    assert found["returns"]["net_value"].to_list() == pytest.approx([1, 1, 1.05])


@pytest.mark.spec("T3")
def test_the_tables_have_the_columns_that_are_promised() -> None:
    idle = played(market({"A": flat(10, 11)}), {})
    busy = played(
        market({"A": flat(10, 11, 12)}), {0: lambda desk: desk.buy("A", 10), 1: lambda desk: desk.sell("A", 10)}
    )
    for run in (idle, busy):
        found = tables(run).frames
        assert {name: frame.columns for name, frame in found.items() if name != "drawdowns"} == {
            "summary": ["metric", "value"],
            "returns": ["time", "daily_return", "net_value", "total_return", "benchmark_return"],
            "trades": [
                "symbol", "side", "entry_time", "entry_price", "exit_time", "exit_price", "size", "pnl", "commission",
            ],
            "signals": ["symbol", "time", "kind", "price", "size"],
            "positions": [
                "time", "symbol", "long_size", "short_size", "average_price", "last_price", "market_value",
                "unrealized_pnl", "realized_pnl",
            ],
            "account": [
                "time", "cash", "frozen", "market_value", "equity", "realized_pnl", "unrealized_pnl", "commission",
                "margin",
            ],
            "orders": [
                "order_id", "symbol", "side", "type", "sent_time", "price", "size", "status", "fill_time", "fill_price",
                "fill_size", "label", "reason",
            ],
        }  # fmt: skip
        schemas = {name: frame.schema for name, frame in found.items()}
        assert all(schemas["trades"][name] == pl.Datetime("us", "UTC") for name in ("entry_time", "exit_time"))
        assert schemas["orders"]["fill_time"] == pl.Datetime("us", "UTC")
    busy_orders = tables(busy).frames["orders"]
    assert busy_orders["fill_time"].to_list() == [BEGIN + DAY, BEGIN + 2 * DAY]
    assert tables(busy).frames["positions"]["long_size"].to_list() == [10, 0]


@pytest.mark.spec("K4")
def test_orders_expire_are_taken_back_and_say_so() -> None:
    def cancel(desk: Strategy) -> None:
        for order in desk.open_orders("A"):
            if order.label == "mine":
                desk.cancel(order)

    acts = {
        0: lambda desk: (
            desk.buy("A", 1, limit=1, bars=2),
            desk.buy("A", 2, limit=1, label="mine"),
            desk.buy("A", 3, limit=1),
        ),
        1: cancel,
    }
    plan = Plan(acts)
    run = simulate(market({"A": flat(10, 10, 10, 10)}), plan, Rules())
    assert [order.status for order in run.orders] == ["expired", "cancelled", "expired"]
    assert [order.ended for order in run.orders] == [2, 1, 3]
    assert plan.orders == [("A", "cancelled"), ("A", "expired"), ("A", "expired")]
    frozen = tables(run).frames["account"]["frozen"].to_list()
    assert frozen == [6, 4, 3, 0]


@pytest.mark.spec("G4", "K4")
@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda desk: desk.buy("Z", 1), "there are no bars of a symbol 'Z'"),
        (lambda desk: desk.buy("A", 0), 'the size of an order is above 0, or "all", not 0'),
        (lambda desk: desk.buy("A", math.nan), 'the size of an order is above 0, or "all", not nan'),
        (lambda desk: desk.buy("A", "some"), "not 'some'"),
        (lambda desk: desk.buy("A", 1, limit=-1.0), "the price of a limit order is above 0, not -1.0"),
        (lambda desk: desk.buy("A", 1, limit=1.0, stop=2.0), "a limit or a stop, not both"),
        (lambda desk: desk.history("A", 1, "vwap"), "the bars have no column of numbers 'vwap'"),
    ],
)
def test_orders_that_can_not_be_are_refused(act: Callable[[Strategy], Any], sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence.replace("(", r"\(")):
        played(market({"A": flat(10, 10)}), {0: act})


@pytest.mark.spec("G4", "K4")
def test_bars_that_can_not_be_used_are_refused() -> None:
    row = {"symbol": ["A"], "time": [BEGIN], "open": [1.0], "high": [1.0], "low": [1.0], "close": [1.0]}
    with pytest.raises(Invalid, match="no column 'open'"):
        Market(pl.DataFrame(row).drop("open"))
    assert Market(pl.DataFrame(row).drop("open"), fill="close").open.tolist() == [1.0]
    with pytest.raises(Invalid, match="A has a price of 0 at 2024-01-01"):
        Market(pl.DataFrame(row | {"close": [0.0]}))
    with pytest.raises(Invalid, match="A has a price of -1 at"):
        Market(pl.DataFrame(row | {"low": [-1.0]}))
    with pytest.raises(Invalid, match="A has two bars at 2024-01-01"):
        Market(pl.concat([pl.DataFrame(row)] * 2))
    with pytest.raises(Invalid, match="there are no bars"):
        Market(pl.DataFrame(row).clear())
    with pytest.raises(Invalid, match="has a close"):
        Market(pl.DataFrame(row | {"close": [math.nan]}))


def crossing(
    prices: pd.DataFrame, fast: int, slow: int, size: int | None, cash: float
) -> tuple[list[Any], pd.Series[Any]]:
    """The crossing strategy written anew with pandas: fills (date, size, price) and the equity at each close."""
    quick, calm = prices["close"].rolling(fast).mean(), prices["close"].rolling(slow).mean()
    above = (quick > calm).where(calm.notna())
    fills, held, equity = [], 0, []
    wanted = None
    for n in range(len(prices)):
        opened = prices["open"].iloc[n]
        if wanted == "in":
            held = size if size is not None else int(cash // opened)
            cash -= held * opened
            fills.append((prices["time"].iloc[n], held, opened))
        elif wanted == "out":
            cash += held * opened
            fills.append((prices["time"].iloc[n], -held, opened))
            held = 0
        wanted = None
        if n > 0 and pd.notna(above.iloc[n - 1]):
            if above.iloc[n] and not above.iloc[n - 1] and not held:
                wanted = "in"
            elif not above.iloc[n] and above.iloc[n - 1] and held:
                wanted = "out"
        equity.append(cash + held * prices["close"].iloc[n])
    return fills, pd.Series(equity)


@pytest.fixture(scope="module")
def stocks() -> pd.DataFrame:
    frame = pd.read_csv(stocks_file())
    frame.columns = pd.Index(
        [{"ticker": "symbol", "date": "time"}.get(one.lower(), one.lower()) for one in frame.columns]
    )
    frame["time"] = pd.to_datetime(frame["time"], utc=True)
    return frame


@pytest.mark.spec("K4", "Q4", "T3")
@pytest.mark.parametrize("symbol", ["AAPL", "IBM", "MSFT"])
@pytest.mark.parametrize(("size", "fast", "slow"), [(100, 10, 30), (None, 10, 30), (100, 5, 100), (None, 20, 50)])
def test_the_crossing_strategy_equals_pandas_fill_by_fill(
    stocks: pd.DataFrame, symbol: str, size: int | None, fast: int, slow: int
) -> None:
    prices = stocks[stocks["symbol"] == symbol].sort_values("time").reset_index(drop=True)
    expected, equity = crossing(prices, fast, slow, size, 100_000.0)
    strategy = made(MaCross, {"fast": fast, "slow": slow, "size": "all" if size is None else float(size)})
    run = simulate(Market(pl.from_pandas(prices)), strategy, Rules(cash=100_000.0))
    times = [run.market.time(fill.time) for fill in run.fills]
    assert [(time, fill.size, fill.price) for time, fill in zip(times, run.fills, strict=True)] == expected
    assert len(expected) > 20
    account = tables(run).frames["account"]
    np.testing.assert_allclose(account["equity"].to_numpy(), equity.to_numpy(), rtol=1e-12)


@pytest.mark.spec("K4")
def test_equal_averages_are_no_cross() -> None:
    # averages of 1 and 2: below, equal, above again; then equal, and below
    closes = [10, 9, 9, 9.5, 9.5, 9.5, 9.5, 9.0]
    run = simulate(market({"A": flat(*closes, 9.0)}), made(MaCross, {"fast": 1, "slow": 2, "size": 1.0}), Rules())
    # from 9 to 9.5 the fast one crosses; at 9.5, 9.5 they are equal; at 9.0 it has crossed back
    assert [(fill.time, fill.size) for fill in run.fills] == [(4, 1), (8, -1)]


@pytest.mark.spec("K4")
def test_the_built_in_strategies_hold_what_they_say() -> None:
    rising = {f"S{n}": flat(*(10.0 + n * day / 10 for day in range(8))) for n in range(5)}
    kept = simulate(market(rising), made(BuyAndHold, {}), Rules(cash=10_000.0))
    assert sorted((kept.market.symbols[fill.symbol], fill.size) for fill in kept.fills) == [
        (f"S{n}", 200 if n == 0 else pytest.approx(200, abs=40)) for n in range(5)
    ]
    assert min(tables(kept).frames["account"]["cash"].to_list()) >= 0
    one = simulate(market({"A": flat(10, 7)}), made(BuyAndHold, {}), Rules(cash=100.0))
    assert filled(one) == [(1, 14, 7)]

    frame = market(rising).frame
    ranked = Market(frame.with_columns(pl.col("symbol").str.slice(1).cast(pl.Float64).alias("factor")))
    run = simulate(ranked, made(FactorRank, {"every": 3, "quantiles": 5}), Rules(cash=10_000.0))
    first = {run.market.symbols[fill.symbol]: fill.size for fill in run.fills if fill.time == 1}
    assert first == {"S0": -475, "S4": 475}  # 95 % of the equity, half on each side, at the closes of 10
    longs = simulate(ranked, made(FactorRank, {"every": 3, "quantiles": 5, "short": False}), Rules(cash=10_000.0))
    assert {longs.market.symbols[fill.symbol] for fill in longs.fills} == {"S4"}


@pytest.mark.spec("G4", "K4")
def test_parameters_of_a_strategy_are_checked() -> None:
    with pytest.raises(Invalid, match="no parameter 'fsat'; it has fast, slow, size"):
        made(MaCross, {"fsat": 1})
    with pytest.raises(Invalid, match="parameter 'fast' of the strategy: it should be a valid integer, not '1'"):
        made(MaCross, {"fast": "1"})
    with pytest.raises(Invalid, match="fast is at least 1 and below slow, not 9 and 3"):
        made(MaCross, {"fast": 9, "slow": 3})


@pytest.mark.spec("Q4", "T3")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_ledger_adds_up_whatever_is_ordered(data: st.DataObject) -> None:
    price = st.floats(1, 100).map(lambda one: round(one, 2))
    bar = st.tuples(price, price, price, price).map(lambda p: (p[0], max(p), min(p), p[3]))
    count = data.draw(st.integers(3, 12))
    rows = {
        symbol: data.draw(st.lists(st.one_of(bar, bar, bar, st.none()), min_size=count, max_size=count))
        for symbol in ("A", "B")
    }
    if not all(any(one is not None for one in bars) for bars in rows.values()):
        return
    order = st.tuples(
        st.sampled_from(["A", "B"]),
        st.booleans(),
        st.one_of(st.integers(1, 500), st.just(ALL)),
        st.sampled_from(["market", "limit", "stop"]),
        price,
    )
    plans = data.draw(st.dictionaries(st.integers(0, count - 1), st.lists(order, max_size=4), max_size=count))

    def act(orders: Sequence[tuple[str, bool, Any, str, float]]) -> Callable[[Strategy], Any]:
        def orders_of(desk: Strategy) -> None:
            for symbol, buys, size, kind, at in orders:
                send = desk.buy if buys else desk.sell
                send(symbol, size, limit=at if kind == "limit" else None, stop=at if kind == "stop" else None)

        return orders_of

    rules: dict[str, Any] = {
        "leverage": data.draw(st.sampled_from([1.0, 2.0])),
        "costs": Costs(rate=0.001, minimum=1.0, tax=0.001),
        "volume_limit": data.draw(st.sampled_from([None, 0.5])),
        "fill": data.draw(st.sampled_from(["next_open", "close"])),
        "slippage": data.draw(st.sampled_from([0.0, 0.01])),
    }
    run = played(market(rows, volume=300.0), {step: act(orders) for step, orders in plans.items()}, **rules)
    found = tables(run).frames
    account = found["account"]
    # independently, from the fills alone
    cash, held, mark, equities = 10_000.0, {"A": 0.0, "B": 0.0}, {"A": 0.0, "B": 0.0}, []
    by_step: dict[int, list[Any]] = {}
    for fill in run.fills:
        by_step.setdefault(fill.time, []).append(fill)
    for step in range(len(run.market.times)):
        now = run.market.time(step)
        for symbol, bars in rows.items():
            here = bars[(now - BEGIN).days]
            if here is not None:
                mark[symbol] = here[3]
        for fill in by_step.get(step, []):
            symbol = run.market.symbols[fill.symbol]
            cash -= fill.size * fill.price + fill.cost
            held[symbol] += fill.size
        equities.append(cash + sum(held[one] * mark[one] for one in held))
    np.testing.assert_allclose(account["equity"].to_numpy(), equities, rtol=1e-9, atol=1e-6)
    identity = 10_000.0 + account["realized_pnl"] + account["unrealized_pnl"] - account["commission"]
    np.testing.assert_allclose(account["equity"].to_numpy(), identity.to_numpy(), rtol=1e-9, atol=1e-6)
    closed = found["trades"].filter(pl.col("exit_time").is_not_null())
    assert closed.height + found["trades"].filter(pl.col("exit_time").is_null()).height == len(run.trades)
    pnl, costs = (sum(found["trades"][name].to_list()) for name in ("pnl", "commission"))
    assert costs == pytest.approx(account["commission"][-1], abs=1e-6)
    assert pnl + costs == pytest.approx(account["realized_pnl"][-1], abs=1e-6)
    assert min(account["frozen"].to_list()) >= 0
    whole = found["orders"].filter(pl.col("status") == "filled")
    assert whole["size"].to_list() == pytest.approx(whole["fill_size"].to_list())
