"""The kind `template`: a visualization template drawn over chosen jobs and tables, whose rows it keeps (K7, V1)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from quarterdeck import columns
from quarterdeck.errors import Invalid
from quarterdeck.kinds.kind import Facts, Kind, Section, Tables, TaskPlan

if TYPE_CHECKING:
    import polars as pl

    from quarterdeck.context import Context
    from quarterdeck.report import Template

__all__ = ["KIND", "Visualization", "run"]

_PARAMETER = re.compile(r"\$\{params\.(\w+)\}")
_MOST_BYTES = 1_000_000_000


class Visualization(BaseModel):
    """Parameters of a visualization (K7)."""

    model_config = ConfigDict(extra="forbid")

    template: str | dict[str, Any] = Field(
        description="the template: its name (yours, CREATOR.NAME, or one that comes with Quarterdeck), or a document"
    )
    jobs: int | dict[str, int] | None = Field(
        None,
        description="the job whose result tables are drawn; or as JSON the job of each source by its name",
        json_schema_extra={"shown": True},
    )
    tables: dict[str, str] = Field(
        default_factory=dict,
        description="imported tables by the name of the source, or of the parameter, that they are for",
        json_schema_extra={"shown": True, "words": ["source", "table"]},
    )

    @field_validator("template")
    @classmethod
    def _template(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        if isinstance(value, str):
            value = value.strip()
            if not value:
                raise ValueError("the name of a template is needed, or a document")
            return value
        from quarterdeck.report import parse

        try:
            parse(value)
        except Invalid as error:
            raise ValueError(str(error)) from None
        return value

    @field_validator("jobs")
    @classmethod
    def _jobs(cls, value: int | dict[str, int] | None) -> int | dict[str, int] | None:
        numbers = value.values() if isinstance(value, dict) else [] if value is None else [value]
        if any(one < 1 for one in numbers):
            raise ValueError("the number of a job is 1 or more")
        return value


class _Read(BaseModel):
    """What is kept as the table `source`: a job's result table, or an imported table."""

    source: str
    job: int | None = None
    table: str | None = None
    task: int | None = None
    dataset: str | None = None
    columns: list[str] | None = None


class _Resolved(Visualization):
    """With the document over the job's own tables, and what is read into them."""

    title: str
    document: dict[str, Any]
    reads: list[_Read]


def _resolve(params: Visualization, tables: Tables) -> _Resolved:
    from quarterdeck.report import parse

    found = parse(params.template) if isinstance(params.template, dict) else parse(tables.template(params.template))
    reads = [_read(params, found, name) for name, source in found.sources.items() if source.source is None]
    for one in reads:
        if one.dataset is not None:
            have = tables.columns(one.dataset)
            missing = [name for name in one.columns or () if name not in have]
            if missing:
                raise Invalid(
                    f"table '{one.dataset}' has no column '{missing[0]}'; it has {', '.join(have)}", field="tables"
                )
    unknown = sorted(params.tables.keys() - found.sources.keys() - _parameters(found))
    if unknown:
        raise Invalid(f"the template has no source '{unknown[0]}'; it has {', '.join(found.sources)}", field="tables")
    document = found.model_dump(mode="json", exclude_defaults=True) | {"version": found.version}
    for one in reads:
        source = document["sources"][one.source]
        for name in ("job", "task", "dataset"):
            source.pop(name, None)
        source["table"] = one.source
    title = found.title or found.name
    return _Resolved(**params.model_dump(), title=title, document=document, reads=reads)


def _parameters(found: Template) -> set[str]:
    names = (_PARAMETER.fullmatch(one.dataset or "") for one in found.sources.values())
    return {one[1] for one in names if one is not None}


def _read(params: Visualization, found: Template, name: str) -> _Read:
    source = found.sources[name]
    wanted = None if source.columns is None else list(source.columns)
    if source.dataset is not None:
        parameter = _PARAMETER.fullmatch(source.dataset)
        given = params.tables.get(name) or (params.tables.get(parameter[1]) if parameter else None)
        if given is None and parameter is not None:
            raise Invalid(f"source '{name}' reads an imported table: say which, as {name} = TABLE", field="tables")
        return _Read(source=name, dataset=given or source.dataset, columns=wanted)
    given_job = params.jobs.get(name) if isinstance(params.jobs, dict) else params.jobs
    job = given_job or source.job
    if job is None:
        raise Invalid(f"source '{name}' reads the result table '{source.table}': say of which job", field="jobs")
    return _Read(source=name, job=job, table=source.table, task=source.task, columns=wanted)


def _facts(params: Visualization) -> Facts:
    if isinstance(params, _Resolved):
        return Facts(name=params.title)
    return Facts(name=params.template if isinstance(params.template, str) else str(params.template.get("name", "")))


def _tasks(params: _Resolved) -> list[TaskPlan]:
    return [TaskPlan(name="read", params={"reads": [one.model_dump(mode="json") for one in params.reads]})]


def _kept(params: _Resolved, tables: Tables) -> dict[str, Any]:
    described = {one.dataset: tables.described(one.dataset) for one in params.reads if one.dataset is not None}
    return {"document": params.document, "tables": described}


def run(context: Context, params: dict[str, Any]) -> None:
    """Read what the template's sources need, and keep it as a table of the source's name each."""
    import logging

    log = logging.getLogger("template")
    reads = [_Read.model_validate(one) for one in params["reads"]]
    for number, one in enumerate(reads):
        context.progress(number / len(reads), f"reading {one.source}")
        frame = _rows(context, one)
        if one.columns is not None:
            missing = [name for name in one.columns if name not in frame.columns and name != "task"]
            if missing:
                raise Invalid(f"source '{one.source}' has no column '{missing[0]}'; it has {', '.join(frame.columns)}")
            frame = frame.select([name for name in one.columns if name in frame.columns])
        if frame.estimated_size() > _MOST_BYTES:
            rows = f"{frame.height:,} rows"
            raise Invalid(f"source '{one.source}' has {rows}, more than a report keeps: name the columns that it needs")
        where = f"table {one.dataset}" if one.dataset is not None else f"table {one.table} of job {one.job}"
        log.info("%s: %d rows of %s", one.source, frame.height, where)
        context.write(one.source, frame)


def _rows(context: Context, one: _Read) -> pl.DataFrame:
    if one.dataset is not None:
        return context.read(one.dataset)
    return context.result(int(one.job or 0), str(one.table), one.task)


KIND = Kind(
    key="template",
    title="Visualization Template",
    columns=(
        columns.name("Name"),
        columns.STATUS,
        columns.RUN_TIME,
        columns.CREATION_TIME,
        columns.DATA_TYPE,
        columns.CREATOR,
        columns.NODE,
    ),
    params=Visualization,
    facts=_facts,
    tasks=_tasks,
    resolve=_resolve,
    template=_kept,
    run="quarterdeck.kinds.template:run",
    details=(
        Section(type="report", title="Visualization Report"),
        Section(type="table", title="Execution Result"),
        Section(type="parameters", title="Run Parameters"),
        Section(type="tasks", title="Tasks"),
        Section(type="log", title="Execution Log"),
    ),
    example={"template": "evaluation", "jobs": 1},
    restart=True,
)
