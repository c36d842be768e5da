"""The shape of a kind of job: a frozen value, no subclasses, no registry."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from pydantic import BaseModel

from quarterdeck.columns import Column

__all__ = ["Choice", "Computed", "Facts", "Kind", "Misfit", "Section", "Tables", "TaskPlan"]


class Misfit(ValueError):
    """Parameters that don't fit together, found by a model's validator; `field` is the one to change."""

    def __init__(self, text: str, field: str) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of a kind's details page. `type` names the widget; `options` are the section's own settings."""

    type: Literal["parameters", "template", "tasks", "log", "table", "import_results", "report"]
    title: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choice:
    """Parameters of which a form shows one group at a time: `options` are what each is called, and its parameters."""

    title: str
    options: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskPlan:
    """One task of a job to be: its name, its own parameters, and the queue (`any`, `node:NAME`, `label:NAME`)."""

    name: str
    params: dict[str, Any]
    queue: str = "any"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What the job list shows of a job's parameters, decided when it is submitted."""

    name: str
    subject: str = ""
    origin: Literal["single", "batch"] = "single"
    public: bool = False
    backtest_type: str = ""
    backtest_start: str | None = None
    backtest_end: str | None = None
    data_type: str = ""
    strategy_type: str = ""


@dataclass(frozen=True, slots=True)
class Computed:
    """A factor's values: the table `factor` of task `ordinal` of that job."""

    job: int
    ordinal: int
    name: str


class Tables(Protocol):
    """The imported tables, and the computed factors, that the person who submits a job may read."""

    def own(self) -> frozenset[str]:
        """The names of his own ones."""
        ...

    def columns(self, name: str) -> Sequence[str]:
        """A table's columns. Raises NotFound, with the names that may have been meant."""
        ...

    def described(self, name: str) -> dict[str, Any]:
        """Which table that is and what is in it now, as JSON: dataset, creator, name, rows, columns, times, updated,
        folder. Raises NotFound."""
        ...

    def template(self, name: str) -> dict[str, Any]:
        """The document of a visualization template. Raises NotFound, with the names that may have been meant."""
        ...

    def factors(self, reference: int | str) -> Sequence[Computed]:
        """The factors that a job computed, by its number; or the newest one of that name, his own first.

        Raises NotFound, with the names that may have been meant.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of job.

    `run` is the dotted name `module:function` of `run(context, params)`, loaded only in a task's process;
    `params` is None while the kind can be listed but not yet started. `restart`: may a task of it run again by itself
    when its node was lost (G1). `check(params, tables)` refuses, before anything is stored, what can't work on the
    tables that there are. `probe(params)` looks, where a form is filled in on the machine that runs the tasks, whether
    the files that the parameters name can be used. `resolve(params, tables)` gives the parameters with what their names
    mean as of now, from which facts, tasks and template are made; the job keeps them as they were given.
    `template(params, tables)` gives what a run was made of, kept with the job as its run template (F1).
    `joined` names the result tables of which each task writes a part; `report` the built-in templates of its report, of
    which the first one whose tables the job has is shown.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    params: type[BaseModel] | None = None
    facts: Callable[[Any], Facts] | None = None
    tasks: Callable[[Any], Sequence[TaskPlan]] | None = None
    check: Callable[[Any, Tables], None] | None = None
    probe: Callable[[Any], None] | None = None
    resolve: Callable[[Any, Tables], BaseModel] | None = None
    template: Callable[[Any, Tables], dict[str, Any]] | None = None
    run: str = ""
    details: tuple[Section, ...] = ()
    choices: tuple[Choice, ...] = ()
    example: dict[str, Any] = field(default_factory=dict)
    restart: bool = False
    joined: tuple[str, ...] = ()
    report: tuple[str, ...] = ()
