"""The kind `evaluation`: how well a factor foretells returns (K3, E1, Q1, T2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from quarterdeck import columns
from quarterdeck.errors import Invalid
from quarterdeck.kinds.kind import Computed, Facts, Kind, Misfit, Section, Tables, TaskPlan
from quarterdeck.kinds.period import Moment, first, last, misplaced

if TYPE_CHECKING:
    from quarterdeck.context import Context

__all__ = ["KIND", "Evaluation", "run"]

_MOST_PERIODS, _LONGEST, _MOST_QUANTILES = 20, 10_000, 100


class Evaluation(BaseModel):
    """Parameters of a factor evaluation (K3)."""

    model_config = ConfigDict(extra="forbid")

    factor: int | str = Field(
        description="the factor's name (its newest successful run of yours), or the number of the job that computed it",
        json_schema_extra={"factor": True},
    )
    table: str = Field(min_length=1, description="the imported table whose closes give the forward returns")
    periods: list[int] = Field([1, 5, 10], description="holding periods, in rows of the table")
    quantiles: int = Field(
        5, ge=2, le=_MOST_QUANTILES, description="how many groups of symbols; the first has the lowest values"
    )
    template: str = Field(
        "Factor Evaluation", min_length=1, max_length=80, description="the report that shows the result"
    )
    start: Moment | None = Field(
        None, description="first time that is evaluated; empty: all", json_schema_extra={"shown": True}
    )
    end: Moment | None = Field(
        None,
        description="last time of values and prices (a date: the whole day); nothing after it is read",
        json_schema_extra={"shown": True},
    )

    @field_validator("factor")
    @classmethod
    def _factor(cls, value: int | str) -> int | str:
        if isinstance(value, str):
            value = value.strip()
            if not value:
                raise ValueError("the name of a factor is needed, or the number of the job that computed it")
            return int(value) if value.isascii() and value.isdigit() and len(value) < 19 else value
        if value < 1:
            raise ValueError("the number of a job is 1 or more")
        return value

    @field_validator("periods")
    @classmethod
    def _periods(cls, value: list[int]) -> list[int]:
        if not value:
            raise ValueError("at least one holding period is needed, such as 1")
        wrong = next((one for one in value if not 1 <= one <= _LONGEST), None)
        if wrong is not None:
            raise ValueError(f"a holding period is a whole number of rows from 1 to {_LONGEST:,}, not {wrong}")
        if len(set(value)) > _MOST_PERIODS:
            raise ValueError(f"at most {_MOST_PERIODS} holding periods are evaluated at once")
        return sorted(set(value))

    @model_validator(mode="after")
    def _times(self) -> Evaluation:
        if trouble := misplaced(self.start, self.end):
            raise Misfit(trouble, "end")
        return self


class _Resolved(Evaluation):
    """With the factors that `factor` means now, one task each."""

    computed: tuple[Computed, ...]


class _Task(BaseModel):
    """What one task evaluates: the table `factor` of task `ordinal` of `job`."""

    model_config = ConfigDict(extra="ignore")

    job: int
    ordinal: int
    name: str
    table: str
    periods: list[int]
    quantiles: int
    start: Moment | None = None
    end: Moment | None = None


def _check(params: Evaluation, tables: Tables) -> None:
    have = tables.columns(params.table)
    missing = [one for one in ("symbol", "time", "close") if one not in have]
    if missing:
        raise Invalid(
            f"table '{params.table}' has no column '{missing[0]}', which the forward returns need; it has"
            f" {', '.join(have)}",
            field="table",
        )


def _resolve(params: Evaluation, tables: Tables) -> _Resolved:
    return _Resolved(**params.model_dump(), computed=tuple(tables.factors(params.factor)))


def _facts(params: Evaluation) -> Facts:
    found = params.computed if isinstance(params, _Resolved) else ()
    names = ", ".join(one.name for one in found) or str(params.factor)
    return Facts(
        name=params.template,
        subject=names if len(names) <= 200 else f"{names[:190]}, …",
        origin="batch" if len(found) > 1 else "single",
    )


def _tasks(params: _Resolved) -> list[TaskPlan]:
    shared = params.model_dump(mode="json", include={"table", "periods", "quantiles", "start", "end"})
    return [
        TaskPlan(name=one.name, params=shared | {"job": one.job, "ordinal": one.ordinal, "name": one.name})
        for one in params.computed
    ]


def _template(params: _Resolved, tables: Tables) -> dict[str, Any]:
    return {
        "table": tables.described(params.table),
        "factors": [{"job": one.job, "task": one.ordinal, "name": one.name} for one in params.computed],
    }


def run(context: Context, params: dict[str, Any]) -> None:
    """Evaluate one factor; write `summary`, `ic`, `quantiles`, `turnover` and `autocorrelation`."""
    import logging

    import polars as pl

    from quarterdeck.quant import evaluation

    log = logging.getLogger("evaluation")
    settings = _Task.model_validate(params)
    start = None if settings.start is None else first(settings.start)
    end = None if settings.end is None else last(settings.end)
    context.progress(0.0, "reading")
    values = context.result(settings.job, "factor", settings.ordinal)
    time = pl.col("time").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    for limit, after in ((start, True), (end, False)):
        if limit is not None:
            values = values.filter(time >= limit if after else time <= limit)
    symbols = values["symbol"].unique().to_list()
    prices = context.read(settings.table, columns=["time", "symbol", "close"], start=start, end=end, symbols=symbols)
    log.info(
        "read %d values of factor %s (job %d) and %d prices of table %s",
        values.height,
        settings.name,
        settings.job,
        prices.height,
        settings.table,
    )
    context.progress(0.3, "evaluating")
    found = evaluation.evaluate(values, prices, settings.periods, settings.quantiles)
    log.info("%d dates, %d symbols with a value and a price", found.dates, found.symbols)
    if found.unpriced:
        log.warning("%d factor values have no price at their time and are in no coefficient", found.unpriced)
    if found.infinite:
        log.warning("%d factor values are infinite and were left out", found.infinite)
    context.progress(0.9, "writing")
    for name in ("summary", "ic", "quantiles", "turnover", "autocorrelation"):
        context.write(name, getattr(found, name))
    empty = [period for period in settings.periods if not found.ic.filter(pl.col("period") == period).height]
    for period in empty:
        log.warning("period %d has no date with two symbols that differ: its figures are empty", period)
    if len(empty) == len(settings.periods):
        raise Invalid(
            f"no period of factor '{settings.name}' can be evaluated: no date has two symbols with different values and"
            " forward returns"
        )


KIND = Kind(
    key="evaluation",
    title="Factor Evaluation",
    columns=(
        columns.name("Evaluation Template"),
        columns.SUBJECT,
        columns.STATUS,
        columns.RUN_TIME,
        columns.START_TIME,
        columns.ORIGIN,
        columns.CREATOR,
        columns.NODE,
    ),
    params=Evaluation,
    facts=_facts,
    tasks=_tasks,
    check=_check,
    resolve=_resolve,
    template=_template,
    run="quarterdeck.kinds.evaluation:run",
    details=(
        Section(
            type="table",
            title="Evaluation Result",
            options={"tables": ["summary", "ic", "quantiles", "turnover", "autocorrelation"]},
        ),
        Section(type="report", title="Report"),
        Section(type="parameters", title="Run Parameters"),
        Section(type="template", title="Run Template"),
        Section(type="tasks", title="Tasks"),
        Section(type="log", title="Execution Log"),
    ),
    example={"factor": "mom20", "table": "stocks", "periods": [1, 5, 20], "quantiles": 5},
    restart=True,
    report=("evaluation",),
)
