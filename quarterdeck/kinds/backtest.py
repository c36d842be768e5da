"""The kind `backtest`: a strategy run over history or live (B, L)."""

from __future__ import annotations

from quarterdeck import columns
from quarterdeck.kinds.kind import Kind

KIND = Kind(
    key="backtest",
    title="Strategy Backtest",
    columns=(
        columns.name("Strategy Name"),
        columns.STATUS,
        columns.BACKTEST_TYPE,
        columns.RUN_TIME,
        columns.BACKTEST_TIME,
        columns.ORIGIN,
        columns.DATA_TYPE,
        columns.STRATEGY_TYPE,
        columns.CREATOR,
        columns.NODE,
    ),
)
