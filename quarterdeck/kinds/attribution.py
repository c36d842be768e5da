"""The kind `attribution`: where a portfolio's return came from (K5, A1, Q3, T4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quarterdeck import columns
from quarterdeck.errors import Invalid
from quarterdeck.kinds.kind import Choice, Facts, Kind, Misfit, Section, Tables, TaskPlan
from quarterdeck.kinds.period import Moment, first, last, misplaced

if TYPE_CHECKING:
    import polars as pl

    from quarterdeck.context import Context

__all__ = ["KIND", "Attribution", "run"]

_SIDES = ("portfolio_weight", "portfolio_return", "benchmark_weight", "benchmark_return")
_TITLES = {
    "brinson_fachler": "Brinson-Fachler Attribution",
    "brinson_hood_beebower": "Brinson-Hood-Beebower Attribution",
    "factor_model": "Factor Model Attribution",
}


class Attribution(BaseModel):
    """Parameters of an attribution (K5)."""

    model_config = ConfigDict(extra="forbid")

    method: Literal["brinson_fachler", "brinson_hood_beebower", "factor_model"] = Field(
        "brinson_fachler", description="effects per sector against a benchmark, or a regression on factors"
    )
    table: str | None = Field(
        None,
        description="Brinson: the imported table with period (or time), sector (or symbol), portfolio_weight,"
        " portfolio_return, benchmark_weight, benchmark_return",
    )
    interaction: Literal["separate", "in_selection"] = Field(
        "separate", description="Brinson: interaction as an effect of its own, or as a part of selection"
    )
    linking: Literal["carino", "menchero"] = Field(
        "carino", description="Brinson: how the effects of the periods add up over time"
    )
    returns: str | None = Field(
        None,
        description="factor model: the imported table of the returns to explain (time, and return or daily_return)",
    )
    backtest: int | None = Field(
        None, ge=1, description="factor model: instead of a table, the job of a backtest whose returns are explained"
    )
    task: int = Field(0, ge=0, description="factor model: which task of that backtest, counted from 0")
    factors: str | None = Field(
        None,
        description="factor model: the imported table of factor returns (time and a column each)",
        json_schema_extra={"shown": True},
    )
    start: Moment | None = Field(None, description="first time; empty: all")
    end: Moment | None = Field(None, description="last time (a date: the whole day)")
    template: str | None = Field(None, min_length=1, max_length=80, description="the report; empty: the method's own")

    @model_validator(mode="after")
    def _whole(self) -> Attribution:
        if self.method == "factor_model":
            if self.factors is None:
                raise Misfit("a factor model needs the table of factor returns", "factors")
            if (self.returns is None) == (self.backtest is None):
                words = "not both" if self.returns else "one of them is needed"
                raise Misfit(f"the returns to explain are those of a table or of a backtest: {words}", "returns")
            if self.table is not None:
                raise Misfit("a factor model has no table of sectors: leave it out", "table")
        else:
            if self.table is None:
                raise Misfit("the table of sectors with their weights and returns is needed", "table")
            given = next((name for name in ("returns", "backtest", "factors") if getattr(self, name) is not None), None)
            if given is not None:
                raise Misfit(f"'{given}' belongs to a factor model: leave it out, or choose that method", given)
        if trouble := misplaced(self.start, self.end):
            raise Misfit(trouble, "end")
        return self


def _check(params: Attribution, tables: Tables) -> None:
    if params.table is not None:
        have = tables.columns(params.table)
        for wanted in (("period", "time"), ("sector", "symbol"), *((one,) for one in _SIDES)):
            _one_of(params.table, have, wanted, "table")
    if params.returns is not None:
        have = tables.columns(params.returns)
        _one_of(params.returns, have, ("time",), "returns")
        _one_of(params.returns, have, ("return", "daily_return"), "returns")
    if params.factors is not None:
        have = tables.columns(params.factors)
        _one_of(params.factors, have, ("time",), "factors")
        if not set(have) - {"time", "symbol"}:
            raise Invalid(
                f"table '{params.factors}' has no column of a factor besides time and symbol", field="factors"
            )


def _one_of(table: str, have: Any, wanted: tuple[str, ...], field: str) -> str:
    found = next((one for one in wanted if one in have), None)
    if found is None:
        names = " or ".join(f"'{one}'" for one in wanted)
        raise Invalid(f"table '{table}' has no column {names}; it has {', '.join(have)}", field=field)
    return found


def _facts(params: Attribution) -> Facts:
    return Facts(name=params.template or _TITLES[params.method])


def _tasks(params: Attribution) -> list[TaskPlan]:
    return [TaskPlan(name=_TITLES[params.method], params=params.model_dump(mode="json"))]


def _template(params: Attribution, tables: Tables) -> dict[str, Any]:
    names = {"table": params.table, "returns": params.returns, "factors": params.factors}
    return {name: tables.described(table) for name, table in names.items() if table is not None}


def run(context: Context, params: dict[str, Any]) -> None:
    """Attribute; write `effects` and `totals`, or `factors`, `summary` and `fitted`."""
    import logging

    from quarterdeck.quant import attribution

    log = logging.getLogger("attribution")
    settings = Attribution.model_validate(params)
    context.progress(0.0, "reading")
    if settings.method == "factor_model":
        model = attribution.factor_model(_returns(context, settings), _factors(context, settings))
        tables = {"factors": model.factors, "summary": model.summary, "fitted": model.fitted}
        log.info("%d times that returns and factors share", model.fitted.height)
    else:
        sectors = _sectors(context, settings)
        log.info("%d periods and %d sectors", sectors["period"].n_unique(), sectors["sector"].n_unique())
        found = attribution.brinson(
            sectors, method=settings.method, interaction=settings.interaction, linking=settings.linking
        )
        tables = {"effects": found.effects, "totals": found.totals}
        log.info("excess return of all periods: %.6f", found.totals["excess_return"][-1])
    context.progress(0.9, "writing")
    for name, table in tables.items():
        context.write(name, table)


def _read(context: Context, table: str, settings: Attribution) -> pl.DataFrame:
    frame = context.read(
        table,
        start=None if settings.start is None else first(settings.start),
        end=None if settings.end is None else last(settings.end),
    )
    if not frame.height:
        raise Invalid(f"table '{table}' has no rows in the chosen period")
    return frame


def _sectors(context: Context, settings: Attribution) -> pl.DataFrame:
    import polars as pl

    table = str(settings.table)
    frame = _read(context, table, settings)
    period = _one_of(table, frame.columns, ("period", "time"), "table")
    sector = _one_of(table, frame.columns, ("sector", "symbol"), "table")
    words = pl.col(period)
    kind = frame.schema[period]
    if isinstance(kind, pl.Datetime):
        midnight = frame.select((pl.col(period).dt.time() == pl.time(0, 0, 0)).all()).item()
        words = words.dt.to_string("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M:%S")
    return frame.select(words.cast(pl.String).alias("period"), pl.col(sector).alias("sector"), *_SIDES)


def _returns(context: Context, settings: Attribution) -> pl.DataFrame:
    import polars as pl

    if settings.backtest is None:
        frame = _read(context, str(settings.returns), settings)
    else:
        frame = context.result(settings.backtest, "returns", settings.task)
        time = pl.col("time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        if settings.start is not None:
            frame = frame.filter(time >= first(settings.start))
        if settings.end is not None:
            frame = frame.filter(time <= last(settings.end))
    column = "return" if "return" in frame.columns else "daily_return"
    _numbers(frame, [column], "the returns")
    return _daily(frame.select("time", pl.col(column).cast(pl.Float64).alias("return")), "the returns")


def _factors(context: Context, settings: Attribution) -> pl.DataFrame:
    import polars as pl

    frame = _read(context, str(settings.factors), settings)
    names = [name for name in frame.columns if name not in ("time", "symbol")]
    _numbers(frame, names, f"table '{settings.factors}'")
    return _daily(frame.select("time", pl.col(names).cast(pl.Float64)), f"table '{settings.factors}'")


def _numbers(frame: pl.DataFrame, names: list[str], what: str) -> None:
    wrong = next((name for name in names if not frame.schema[name].is_numeric()), None)
    if wrong is not None:
        raise Invalid(f"column '{wrong}' of {what} holds {frame.schema[wrong]}, not numbers")


def _daily(frame: pl.DataFrame, what: str) -> pl.DataFrame:
    """By day (UTC): a backtest's returns have the time of the day's last bar, a table of factors perhaps midnight."""
    import polars as pl

    days = frame.with_columns(pl.col("time").dt.date().alias("time"))
    twice = days.filter(pl.col("time").is_duplicated())
    if twice.height:
        raise Invalid(f"{what} have more than one row on {twice['time'][0]}: one return a day is needed")
    return days


KIND = Kind(
    key="attribution",
    title="Attribution",
    columns=(
        columns.name("Attribution Template"),
        columns.STATUS,
        columns.RUN_TIME,
        columns.CREATION_TIME,
        columns.CREATOR,
        columns.NODE,
    ),
    params=Attribution,
    facts=_facts,
    tasks=_tasks,
    check=_check,
    template=_template,
    run="quarterdeck.kinds.attribution:run",
    details=(
        Section(type="table", title="Attribution Result"),
        Section(type="report", title="Report"),
        Section(type="parameters", title="Run Parameters"),
        Section(type="template", title="Run Template"),
        Section(type="tasks", title="Tasks"),
        Section(type="log", title="Execution Log"),
    ),
    choices=(
        Choice(
            "Explain",
            (
                ("Sectors, by Brinson", ("table", "interaction", "linking")),
                ("A table of returns, by factors", ("returns",)),
                ("A backtest, by factors", ("backtest", "task")),
            ),
        ),
    ),
    example={"method": "brinson_fachler", "table": "sectors"},
    restart=True,
    report=("attribution", "factor model"),
)
