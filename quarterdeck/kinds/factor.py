"""The kind `factor`: values of one or several factors over a table of market data (K2, T2, F1)."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from quarterdeck import columns
from quarterdeck.errors import Invalid
from quarterdeck.kinds.kind import Choice, Facts, Kind, Misfit, Section, Tables, TaskPlan
from quarterdeck.kinds.period import Moment, first, last, misplaced

if TYPE_CHECKING:
    import polars as pl

    from quarterdeck.context import Context

__all__ = ["KIND", "Factor", "FactorText", "run"]

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_.\- ]{0,79}$")
_FORMULA = "a formula over the table's columns, such as close/delay(close,20)-1"
_EXAMPLE = """\
def factor(frame):
    close = frame.sort_values("time").groupby("symbol")["close"]
    frame["value"] = close.pct_change(20)
    return frame[["time", "symbol", "value"]]
"""
_CODE = "Python source that defines factor(frame) and returns a frame of time, symbol, value"


class FactorText(BaseModel):
    """A factor by its text: exactly one of formula and code."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="the factor's name", json_schema_extra={"title": "Factor name"})
    formula: str | None = Field(None, description=_FORMULA, json_schema_extra={"code": "formula"})
    code: str | None = Field(None, description=_CODE, json_schema_extra={"code": "python"})

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return _checked_name(value)

    @field_validator("formula")
    @classmethod
    def _formula(cls, value: str | None) -> str | None:
        return _checked_formula(value)

    @field_validator("code")
    @classmethod
    def _code(cls, value: str | None) -> str | None:
        return _checked_code(value)

    @model_validator(mode="after")
    def _text(self) -> FactorText:
        _check_text(self.formula, self.code, f"factor '{self.name}'")
        return self


class Factor(BaseModel):
    """Parameters of a factor job (K2): a single test by formula or code, or a batch test by `factors`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(description="the factor's name; of a batch test, the test's name")
    table: str = Field(min_length=1, description="the imported table that the factor reads")
    formula: str | None = Field(None, description=_FORMULA, json_schema_extra={"code": "formula"})
    code: str | None = Field(None, description=_CODE, examples=[_EXAMPLE], json_schema_extra={"code": "python"})
    factors: list[FactorText] | None = Field(
        None,
        description="a batch test: several factors, one task each",
        json_schema_extra={"pairs": ["name", "formula"]},
    )
    start: Moment | None = Field(None, description="first time of the values; empty: all")
    end: Moment | None = Field(None, description="last time of the values (a date: the whole day)")
    symbols: list[str] | None = Field(None, description="only these symbols; empty: all")
    public: bool = Field(False, description="listed for everyone; its details stay with you and the admins")

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return _checked_name(value)

    @field_validator("formula")
    @classmethod
    def _formula(cls, value: str | None) -> str | None:
        return _checked_formula(value)

    @field_validator("code")
    @classmethod
    def _code(cls, value: str | None) -> str | None:
        return _checked_code(value)

    @model_validator(mode="after")
    def _texts(self) -> Factor:
        if self.factors is not None:
            if self.formula is not None or self.code is not None:
                raise Misfit("give either formula or code, or factors for a batch test, not both", "factors")
            if not self.factors:
                raise Misfit("factors is empty: a batch test needs at least one factor", "factors")
            names = [one.name for one in self.factors]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise Misfit(f"factor '{twice[0]}' stands in factors twice: give each a name of its own", "factors")
        else:
            _check_text(self.formula, self.code, f"factor '{self.name}'")
        if self.symbols is not None and not self.symbols:
            raise Misfit("symbols is an empty list: leave it out for all symbols", "symbols")
        if trouble := misplaced(self.start, self.end):
            raise Misfit(trouble, "end")
        return self


def _checked_name(value: str) -> str:
    value = value.strip()
    if not _NAME.match(value):
        raise ValueError(
            f"'{value[:40]}' can't be a factor's name: use up to 80 letters, digits, spaces and _ . -, a letter first"
        )
    return value


def _checked_formula(value: str | None) -> str | None:
    if value is not None:
        from quarterdeck.quant import expression

        try:
            expression.compile_formula(value)
        except Invalid as error:
            raise ValueError(str(error)) from None
    return value


def _checked_code(value: str | None) -> str | None:
    if value is not None:
        from quarterdeck.quant import expression

        try:
            expression.check_code(value)
        except Invalid as error:
            raise ValueError(str(error)) from None
    return value


def _check_text(formula: str | None, code: str | None, owner: str) -> None:
    if (formula is None) == (code is None):
        raise Misfit(
            f"{owner} needs either a formula or code" + (", not both" if formula is not None else ""), "formula"
        )


def _facts(params: Factor) -> Facts:
    if params.factors is None:
        return Facts(name=params.name, subject=params.name, public=params.public)
    names = ", ".join(one.name for one in params.factors)
    return Facts(
        name=params.name,
        subject=names if len(names) <= 200 else f"{names[:190]}, …",
        origin="batch",
        public=params.public,
    )


def _tasks(params: Factor) -> list[TaskPlan]:
    shared = params.model_dump(mode="json", include={"table", "start", "end", "symbols"})
    texts = params.factors or [FactorText(name=params.name, formula=params.formula, code=params.code)]
    return [TaskPlan(name=one.name, params=shared | one.model_dump(mode="json")) for one in texts]


def _check(params: Factor, tables: Tables) -> None:
    columns = tables.columns(params.table)
    from quarterdeck.quant import expression

    try:
        if params.formula is not None:
            expression.compile_formula(params.formula, columns)
    except Invalid as error:
        raise Invalid(str(error), field="formula") from None
    for one in params.factors or ():
        try:
            if one.formula is not None:
                expression.compile_formula(one.formula, columns)
        except Invalid as error:
            raise Invalid(f"factor '{one.name}': {error}", field="factors") from None


def _template(params: Factor, tables: Tables) -> dict[str, Any]:
    import hashlib
    import importlib.metadata

    texts = params.factors or [FactorText(name=params.name, formula=params.formula, code=params.code)]
    return {
        "factors": [
            {
                "name": one.name,
                "by": "formula" if one.formula is not None else "code",
                "sha256": hashlib.sha256((one.formula or one.code or "").encode()).hexdigest(),
            }
            for one in texts
        ],
        "table": tables.described(params.table),
        "quarterdeck": importlib.metadata.version("quarterdeck"),
    }


def run(context: Context, params: dict[str, Any]) -> None:
    """Compute one factor and write the table `factor` (time, symbol, value), sorted by time and symbol; the table
    `environment` (item, value) keeps the versions it was computed with."""
    import logging

    from quarterdeck.kinds import environment
    from quarterdeck.quant import expression, program

    log = logging.getLogger("factor")
    settings = Factor.model_validate(params)
    start = None if settings.start is None else first(settings.start)
    end = None if settings.end is None else last(settings.end)
    context.write("environment", environment.table())
    context.progress(0.0, "reading")
    if settings.formula is not None:
        formula = expression.compile_formula(settings.formula, context.schema(settings.table).names)
        # values at the start need rows from before it: how long before, only each symbol's own rows tell
        frame = context.read(
            settings.table,
            columns=["time", "symbol", *sorted(formula.columns - {"time", "symbol"})],
            start=None if formula.lookback else start,
            end=end,
            symbols=settings.symbols,
        )
        _said(log, frame, settings)
        context.progress(0.3, "computing")
        computed = formula.values(frame)
    else:
        frame = context.read(settings.table, end=end, symbols=settings.symbols)
        _said(log, frame, settings)
        context.progress(0.3, "computing")
        try:
            computed = program.values_of_code(settings.code or "", frame)
        except program.FactorCodeError as error:
            log.error("%s", error.traceback)
            raise
    values = computed.frame
    if start is not None or end is not None:
        values = values.filter(_between(start, end))
    context.progress(0.9, "writing")
    context.write("factor", values)
    log.info("factor %s: %d values of %d symbols", settings.name, values.height, values["symbol"].n_unique())
    if computed.dropped:
        log.info("%d rows have no value: too little history, or nothing that is a number", computed.dropped)
    if not values.height:
        raise Invalid(f"factor '{settings.name}' has no value at all on '{settings.table}': check period and windows")


def _said(log: Any, frame: pl.DataFrame, settings: Factor) -> None:
    if not frame.height:
        raise Invalid(f"table '{settings.table}' has no rows for the chosen period and symbols")
    found = frame["symbol"].unique()
    log.info("read %d rows of %d symbols from table %s", frame.height, len(found), settings.table)
    missing = sorted(set(settings.symbols or ()) - set(found.to_list()))
    if missing:
        raise Invalid(f"table '{settings.table}' has no symbol {', '.join(missing[:5])}")


def _between(start: dt.datetime | None, end: dt.datetime | None) -> Any:
    import polars as pl

    time = pl.col("time")
    return pl.all_horizontal(
        *([time >= start] if start is not None else []), *([time <= end] if end is not None else []), pl.lit(value=True)
    )


KIND = Kind(
    key="factor",
    title="Factor",
    columns=(
        columns.name("Test Name"),
        columns.SUBJECT,
        columns.STATUS,
        columns.RUN_TIME,
        columns.START_TIME,
        columns.ORIGIN,
        columns.CREATOR,
        columns.NODE,
    ),
    params=Factor,
    facts=_facts,
    tasks=_tasks,
    check=_check,
    template=_template,
    run="quarterdeck.kinds.factor:run",
    details=(
        Section(type="parameters", title="Run Parameters"),
        Section(type="template", title="Run Template"),
        Section(type="tasks", title="Tasks"),
        Section(type="table", title="Factor Values", options={"table": "factor"}),
        Section(type="report", title="Report"),
        Section(type="log", title="Execution Log"),
    ),
    choices=(
        Choice(
            "Computed by",
            (("A formula", ("formula",)), ("Python code", ("code",)), ("Several, a batch test", ("factors",))),
        ),
    ),
    example={"name": "mom20", "table": "prices", "formula": "close/delay(close,20)-1"},
    restart=True,
    report=("factor",),
)
