"""The kind `backtest`: a strategy run over history (K4, B, Q4, T3)."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from quarterdeck import columns
from quarterdeck.errors import Invalid
from quarterdeck.kinds.kind import Choice, Computed, Facts, Kind, Misfit, Section, Tables, TaskPlan
from quarterdeck.kinds.period import Moment, first, last, misplaced

if TYPE_CHECKING:
    import polars as pl

    from quarterdeck.context import Context
    from quarterdeck.quant.simulation import Rules
    from quarterdeck.quant.strategy import Strategy

__all__ = ["KIND", "Backtest", "run"]

_MOST_COMBINATIONS = 10_000
_METRICS = Literal[
    "total_return", "annual_return", "sharpe", "sortino", "max_drawdown", "calmar", "win_rate", "final_equity"
]
_GRID_METRICS = (
    "final_equity",
    "total_return",
    "annual_return",
    "volatility",
    "sharpe",
    "sortino",
    "max_drawdown",
    "calmar",
    "win_rate",
    "trades",
    "orders",
    "commission",
)


class Backtest(BaseModel):
    """Parameters of a backtest, or with `grid` of an optimization (K4)."""

    model_config = ConfigDict(extra="forbid")

    strategy: Literal["ma_cross", "buy_and_hold", "factor_rank"] | None = Field(
        None,
        description="built in, with its parameters: ma_cross (fast, slow, size), buy_and_hold (invested),"
        " factor_rank (every, quantiles, short, invested)",
    )
    code: str | None = Field(
        None,
        description="Python source that defines a class derived from Strategy",
        json_schema_extra={"code": "python"},
    )
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description='the strategy\'s parameters by name, as JSON, such as {"fast": 10, "slow": 50}',
        json_schema_extra={"shown": True},
    )
    grid: dict[str, list[Any]] | None = Field(
        None,
        description="an optimization: parameters by name, each with a list of values, as JSON; one task a combination",
    )
    metric: _METRICS = Field(
        "sharpe",
        description="what an optimization ranks by: the column score of its grid",
        json_schema_extra={"shown": False},
    )
    table: str = Field(min_length=1, description="the imported table of bars")
    symbols: list[str] | None = Field(
        None, description="only these symbols; empty: all of the table", json_schema_extra={"shown": True}
    )
    factor: int | str | None = Field(
        None,
        description="a factor (its name or its job) for factor_rank, or for code that asks for the column 'factor'",
        json_schema_extra={"factor": True},
    )
    start: Moment | None = Field(None, description="first time; empty: all", json_schema_extra={"shown": True})
    end: Moment | None = Field(None, description="last time (a date: the whole day)", json_schema_extra={"shown": True})
    cash: float = Field(1_000_000.0, gt=0, allow_inf_nan=False, description="cash at the start")
    fill: Literal["next_open", "close"] = Field(
        "next_open", description="where an order decided at a bar's close is filled: the next open, or that close"
    )
    commission: float = Field(0.0, ge=0, lt=1, description="share of a fill's value (0.0005: five basis points)")
    slippage: float = Field(
        0.0, ge=0, lt=1, description="share of the price by which market and stop orders fill worse"
    )
    benchmark: str | None = Field(
        None, description="a symbol of the table to compare with", json_schema_extra={"shown": True}
    )
    commission_per_share: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="besides, for each share", json_schema_extra={"shown": False}
    )
    commission_minimum: float = Field(
        0.0, ge=0, allow_inf_nan=False, description="at least, for each fill", json_schema_extra={"shown": False}
    )
    tax: float = Field(
        0.0, ge=0, lt=1, description="share of the value of each sale", json_schema_extra={"shown": False}
    )
    volume_limit: float | None = Field(
        None, gt=0, le=1, description="share of a bar's volume that fills at most; empty: without limit"
    )
    leverage: float = Field(
        1.0, gt=0, le=100, description="positions up to this many times the equity", json_schema_extra={"shown": False}
    )
    short: bool = Field(True, description="positions may be short", json_schema_extra={"shown": False})
    data_type: Literal["tick", "snapshot", "minute", "daily"] = Field(
        "daily", description="what the bars are of", json_schema_extra={"shown": False}
    )
    strategy_type: Literal["stock", "futures", "option", "bond", "fund", "crypto"] = Field(
        "stock", description="the class of asset", json_schema_extra={"shown": False}
    )
    currency: str = Field(
        "USD", pattern=r"^[A-Z]{3,8}$", description="the currency of the account", json_schema_extra={"shown": False}
    )
    days_per_year: float = Field(
        252.0,
        gt=0,
        le=366,
        description="trading days of a year, for yearly figures",
        json_schema_extra={"shown": False},
    )
    risk_free: float = Field(
        0.0, gt=-1, lt=1, description="yearly rate that Sharpe and Sortino deduct", json_schema_extra={"shown": False}
    )
    engine: Literal["bars"] = Field(
        "bars", description="our own event loop over daily and minute bars", json_schema_extra={"shown": False}
    )
    mode: Literal["historical"] = Field("historical", description="over history", json_schema_extra={"shown": False})

    @field_validator("parameters", "grid")
    @classmethod
    def _named(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        wrong = next((name for name in value or () if not name.isidentifier() or name.startswith("_")), None)
        if wrong is not None:
            raise ValueError(f"'{wrong[:40]}' can't be the name of a parameter")
        return value

    @field_validator("grid")
    @classmethod
    def _lists(cls, value: dict[str, list[Any]] | None) -> dict[str, list[Any]] | None:
        if value is None:
            return None
        if not value:
            raise ValueError("a grid names at least one parameter with its values")
        empty = next((name for name, values in value.items() if not values), None)
        if empty is not None:
            raise ValueError(f"'{empty}' has no values")
        if (count := math.prod(len(values) for values in value.values())) > _MOST_COMBINATIONS:
            raise ValueError(f"it has {count:,} combinations, more than the {_MOST_COMBINATIONS:,} that a job runs")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Backtest:
        if (self.strategy is None) == (self.code is None):
            raise Misfit(
                "give either a strategy or code, not both" if self.code else "a strategy or code is needed", "strategy"
            )
        if trouble := misplaced(self.start, self.end):
            raise Misfit(trouble, "end")
        if self.symbols is not None and not self.symbols:
            raise Misfit("symbols is an empty list: leave it out for all symbols", "symbols")
        if self.strategy == "factor_rank" and self.factor is None:
            raise Misfit("factor_rank needs a factor: its name, or the job that computed it", "factor")
        twice = sorted(self.parameters.keys() & (self.grid or {}).keys())
        if twice:
            raise Misfit(f"'{twice[0]}' stands in parameters and in the grid: keep one", "grid")
        _check_strategy(self)
        return self


class _Resolved(Backtest):
    """With the name, the period and the factor as they are now."""

    name: str
    computed: Computed | None
    first_time: str | None
    last_time: str | None


class _Task(BaseModel):
    """One run of the strategy."""

    model_config = ConfigDict(extra="ignore")

    backtest: Backtest
    combination: dict[str, Any] | None = None
    computed: Computed | None = None


def _check_strategy(params: Backtest) -> None:
    """Names and values of the parameters, as far as they can be known without running anything."""
    from quarterdeck.quant import strategies

    try:
        if params.code is not None:
            _, names = strategies.check_code(params.code)
            for field in ("parameters", "grid"):
                unknown = sorted((getattr(params, field) or {}).keys() - names) if names is not None else []
                if unknown:
                    known = ", ".join(sorted(names or ())) or "none"
                    raise Misfit(f"the strategy has no parameter '{unknown[0]}'; it has {known}", field)
        elif not list(_combinations(params)):
            raise Misfit("no combination of the grid can be used by the strategy", "grid")
    except Invalid as error:
        raise Misfit(str(error), error.field if error.field in Backtest.model_fields else "parameters") from None


def _combinations(params: Backtest) -> list[dict[str, Any]]:
    """The combinations of the grid; of a built-in strategy only those that fit together (fast below slow).

    Raises:
        Invalid: a name or a type is wrong, or the one combination does not fit together.
    """
    from quarterdeck.quant import strategies

    grid = params.grid or {}
    found = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    if params.strategy is None:
        return found
    chosen = strategies.BUILT_IN[params.strategy]
    if params.grid is None:
        strategies.made(chosen, params.parameters)
        return found
    for name, values in grid.items():
        for value in values:
            strategies.typed(chosen, {**params.parameters, name: value})
    return [one for one in found if strategies.fits(chosen, {**params.parameters, **one})]


def _check(params: Backtest, tables: Tables) -> None:
    have = tables.columns(params.table)
    needed = ["symbol", "time", "close", *(["open"] if params.fill == "next_open" else [])]
    missing = [one for one in needed if one not in have]
    if missing:
        raise Invalid(f"table '{params.table}' has no column '{missing[0]}'; it has {', '.join(have)}", field="table")


def _resolve(params: Backtest, tables: Tables) -> _Resolved:
    computed = None
    if params.factor is not None:
        found = tables.factors(params.factor)
        if len(found) > 1:
            names = ", ".join(one.name for one in found)
            raise Invalid(
                f"job {params.factor} computed several factors ({names}): give the name of one", field="factor"
            )
        computed = found[0]
    table = tables.described(params.table)
    start = first(params.start).isoformat() if params.start is not None else table["first_time"]
    end = last(params.end).isoformat() if params.end is not None else table["last_time"]
    return _Resolved(**params.model_dump(), name=_name(params), computed=computed, first_time=start, last_time=end)


def _name(params: Backtest) -> str:
    if params.strategy is not None:
        return params.strategy
    from quarterdeck.quant import strategies

    return strategies.check_code(params.code or "")[0]


def _facts(params: Backtest) -> Facts:
    return Facts(
        name=params.name if isinstance(params, _Resolved) else _name(params),
        origin="single" if params.grid is None else "batch",
        backtest_type="historical",
        backtest_start=params.first_time if isinstance(params, _Resolved) else None,
        backtest_end=params.last_time if isinstance(params, _Resolved) else None,
        data_type=params.data_type,
        strategy_type=params.strategy_type,
    )


def _tasks(params: _Resolved) -> list[TaskPlan]:
    plain = params.model_dump(mode="json", include=set(Backtest.model_fields), exclude={"grid"})
    computed = None
    if params.computed is not None:
        computed = {"job": params.computed.job, "ordinal": params.computed.ordinal, "name": params.computed.name}
    plans = []
    for one in _combinations(params):
        name = ", ".join(f"{key}={value}" for key, value in one.items()) if params.grid is not None else params.name
        task = {
            "backtest": plain | {"parameters": {**params.parameters, **one}},
            "combination": one if params.grid is not None else None,
            "computed": computed,
        }
        plans.append(TaskPlan(name=name[:200], params=task))
    return plans


def _template(params: _Resolved, tables: Tables) -> dict[str, Any]:
    made: dict[str, Any] = {"table": tables.described(params.table), "combinations": len(_combinations(params))}
    if params.code is not None:
        made["code"] = params.code
    if params.computed is not None:
        made["factor"] = {"job": params.computed.job, "task": params.computed.ordinal, "name": params.computed.name}
    return made


def run(context: Context, params: dict[str, Any]) -> None:
    """Run the strategy once and write the tables of T3; of an optimization also this combination's row of `grid`."""
    import logging

    from quarterdeck.quant import strategies, user_code

    log = logging.getLogger("backtest")
    task = _Task.model_validate(params)
    if task.backtest.code is None:
        chosen = strategies.BUILT_IN[str(task.backtest.strategy)]
        _backtest(context, task, strategies.made(chosen, task.backtest.parameters), log)
        return
    try:
        with strategies.of_code(task.backtest.code) as chosen:
            _backtest(context, task, strategies.made(chosen, task.backtest.parameters), log)
    except user_code.CodeError as error:
        log.error("%s", error.traceback or error)
        raise


def _backtest(context: Context, task: _Task, strategy: Strategy, log: Any) -> None:
    import polars as pl

    from quarterdeck.quant import ledger
    from quarterdeck.quant.bars import Market
    from quarterdeck.quant.simulation import simulate

    settings = task.backtest
    context.progress(0.0, "reading")
    frame = _bars(context, task)
    benchmark = None
    if settings.benchmark is not None:
        benchmark = frame.filter(pl.col("symbol") == settings.benchmark).select("time", "close")
        if settings.symbols is not None and settings.benchmark not in settings.symbols:
            frame = frame.filter(pl.col("symbol") != settings.benchmark)
    market = Market(frame, fill=settings.fill)
    log.info(
        "%d bars of %d symbols from %s to %s",
        market.frame.height,
        len(market.symbols),
        market.time(0),
        market.time(len(market.times) - 1),
    )
    if widened := int(market.frame["widened"].sum()):
        log.warning("%d bars have an open or close outside of low and high, which were widened", widened)
    context.progress(0.1, "running")
    played = simulate(
        market,
        strategy,
        _rules(settings),
        lambda share: context.progress(0.1 + 0.7 * share, f"{share:.0%} of the bars"),
    )
    context.progress(0.8, "writing")
    made = ledger.tables(
        played,
        benchmark=benchmark,
        per_year=settings.days_per_year,
        risk_free=settings.risk_free,
        samples="bar" if task.combination is None else "day",
    )
    if benchmark is not None and (lacking := int(made.frames["returns"]["benchmark_return"].null_count()) - 1) > 0:
        log.warning("the benchmark %s has no return on %d days", settings.benchmark, lacking)
    for name, table in made.frames.items():
        context.write(name, table)
    if task.combination is not None:
        figures = {name: made.metrics.get(name) for name in _GRID_METRICS}
        row = {**task.combination, **figures, "score": made.metrics.get(settings.metric)}
        numbers = dict.fromkeys((*_GRID_METRICS, "score"), pl.Float64)
        context.write("grid", pl.DataFrame([row], schema_overrides=numbers))
    rejected = [order for order in played.orders if order.status == "rejected"]
    if rejected:
        log.warning(
            "%d of %d orders were rejected, the first: %s", len(rejected), len(played.orders), rejected[0].reason
        )
    log.info(
        "%d orders, %d trades, final equity %.2f", len(played.orders), len(played.trades), made.metrics["final_equity"]
    )


def _bars(context: Context, task: _Task) -> pl.DataFrame:
    import polars as pl

    settings = task.backtest
    wanted = settings.symbols
    if wanted is not None and settings.benchmark is not None:
        wanted = list(dict.fromkeys([*wanted, settings.benchmark]))
    frame = context.read(
        settings.table,
        start=None if settings.start is None else first(settings.start),
        end=None if settings.end is None else last(settings.end),
        symbols=wanted,
    )
    have = set(frame["symbol"].unique().to_list()) if frame.height else set()
    if not have:
        raise Invalid(f"table '{settings.table}' has no rows for the chosen period and symbols")
    asked = [*(settings.symbols or ()), *([settings.benchmark] if settings.benchmark is not None else [])]
    missing = [one for one in asked if one not in have]
    if missing:
        raise Invalid(f"table '{settings.table}' has no rows of {', '.join(missing[:5])} in the chosen period")
    if task.computed is None:
        return frame
    values = context.result(task.computed.job, "factor", task.computed.ordinal)
    values = values.select("time", "symbol", pl.col("value").cast(pl.Float64).alias("factor"))
    values = values.with_columns(
        pl.col("time").cast(frame.schema["time"]), pl.col("symbol").cast(frame.schema["symbol"])
    )
    joined = frame.drop("factor", strict=False).join(values, on=["time", "symbol"], how="left", maintain_order="left")
    if not joined["factor"].count():
        raise Invalid(
            f"factor '{task.computed.name}' has no value at the times and symbols of table '{settings.table}'"
        )
    return joined


def _rules(settings: Backtest) -> Rules:
    from quarterdeck.quant.simulation import Costs, Rules

    return Rules(
        cash=settings.cash,
        fill=settings.fill,
        costs=Costs(
            rate=settings.commission,
            per_share=settings.commission_per_share,
            minimum=settings.commission_minimum,
            tax=settings.tax,
        ),
        slippage=settings.slippage,
        volume_limit=settings.volume_limit,
        leverage=settings.leverage,
        short=settings.short,
    )


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
    params=Backtest,
    facts=_facts,
    tasks=_tasks,
    check=_check,
    resolve=_resolve,
    template=_template,
    run="quarterdeck.kinds.backtest:run",
    details=(
        Section(type="tasks", title="Strategy Subtasks"),
        Section(type="table", title="Results"),
        Section(type="report", title="Report"),
        Section(type="parameters", title="Run Parameters"),
        Section(type="template", title="Run Template"),
        Section(type="log", title="Execution Log"),
    ),
    choices=(Choice("Strategy from", (("A built-in", ("strategy",)), ("Python code", ("code",)))),),
    example={
        "strategy": "ma_cross",
        "parameters": {"fast": 10, "slow": 50, "size": "all"},
        "table": "stocks",
        "symbols": ["AAPL"],
        "cash": 100000.0,
    },
    restart=True,
    joined=("grid",),
    report=("optimization", "Backtest (Default)"),
)
