"""Commands that start jobs, and what the kinds take (C2)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck.cli.output import (
    CODES,
    AsJson,
    JobId,
    print_json,
    print_table,
    say,
    write,
)
from quarterdeck.columns import duration_text
from quarterdeck.errors import Invalid
from quarterdeck.job import Job, run_time

if TYPE_CHECKING:
    from pydantic import BaseModel

    from quarterdeck.client import Client
    from quarterdeck.kinds import Kind

__all__ = ["add_to", "ended_code"]

Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Set one parameter; VALUE is JSON, or text. May be repeated."),
]
Params = Annotated[
    str | None, typer.Option("--params", metavar="FILE", help="A JSON file of parameters; - is standard input.")
]
Wait = Annotated[bool, typer.Option("--wait", help="Wait until it has ended; the exit code tells how, as of wait.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    for command in (submit, rerun, kinds):
        app.command()(command)


def submit(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(metavar="KIND", help="One of 'quarterdeck kinds'.")],
    params: Params = None,
    settings: Set = None,
    until_end: Wait = False,
) -> None:
    """Start a job; its id is printed. Relative paths are taken from the current folder."""
    from quarterdeck import kinds as every

    given = _given(every.kind(kind), params, settings)
    with context.obj.client() as client:
        job = client.submit(kind, given)
        write(str(job))
        if until_end:
            ended_code(client, job, None)


def rerun(
    context: typer.Context, job: JobId, params: Params = None, settings: Set = None, until_end: Wait = False
) -> None:
    """Start a job once more, with the same parameters or some changed; the new job's id is printed."""
    from quarterdeck import kinds as every

    with context.obj.client() as client:
        kind = every.kind(client.get(job).job.kind)
        again = client.rerun(job, _given(kind, params, settings))
        write(str(again))
        if until_end:
            ended_code(client, again, None)


def _given(kind: Kind, file: str | None, settings: Iterable[str] | None) -> dict[str, Any]:
    """The parameters of a file, with the settings in place of its own; paths made absolute."""
    from quarterdeck import parameters

    model = parameters.startable(kind)
    given = _read(file) if file is not None else {}
    for setting in settings or ():
        name, equals, text = setting.partition("=")
        if not equals or not name:
            raise Invalid(f"--set {setting}: write NAME=VALUE, such as --set name=momentum")
        given[name] = parameters.parsed(kind, name, text)
    for name, field in model.model_fields.items():
        extra = field.json_schema_extra
        known = field.alias or name
        if isinstance(extra, Mapping) and extra.get("path") and known in given:
            given[known] = _absolute(given[known])
    return given


def _read(file: str) -> dict[str, Any]:
    name = "standard input" if file == "-" else file
    try:
        content = json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise Invalid(f"{name} can't be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise Invalid(f"{name} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except (UnicodeDecodeError, RecursionError):
        raise Invalid(f"{name} is not JSON in UTF-8") from None
    if not isinstance(content, dict):
        raise Invalid(f"{name} holds no JSON object: parameters are an object of names and values")
    return content


def _absolute(value: Any) -> Any:
    if isinstance(value, list):
        return [_absolute(one) for one in value]
    if not isinstance(value, str) or not value or "://" in value:
        return value
    return os.path.abspath(os.path.expanduser(value))  # noqa: PTH100, PTH111 - patterns stay as they are


def kinds(
    context: typer.Context,
    kind: Annotated[str | None, typer.Argument(metavar="[KIND]")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of the kind's parameters.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the kinds of jobs, or show the parameters of one with an example that runs.

    JSON of the list: key, title, can_start, example.
    """
    from quarterdeck import kinds as every
    from quarterdeck import parameters

    if kind is None:
        if schema:
            raise Invalid("name the kind whose schema to print, such as: quarterdeck kinds factor --schema")
        if as_json:
            print_json(
                [
                    {"key": one.key, "title": one.title, "can_start": one.params is not None, "example": one.example}
                    for one in every.KINDS
                ]
            )
            return
        print_table(
            ["Kind", "Title", "Can be started"],
            [(one.key, one.title, "yes" if one.params is not None else "no") for one in every.KINDS],
        )
        return
    chosen = every.kind(kind)
    model = parameters.startable(chosen)
    described = {**model.model_json_schema(), "examples": [chosen.example]}
    if schema or as_json:
        print_json(described)
        return
    _describe(model, described, chosen.example)


def _describe(model: type[BaseModel], described: dict[str, Any], example: dict[str, Any]) -> None:
    required = set(described.get("required", ()))
    print_table(
        ["Parameter", "Type", "Default", "Meaning"],
        [
            (
                name,
                _type_text(field),
                "(required)" if name in required else json.dumps(field.get("default"), ensure_ascii=False),
                field.get("description", ""),
            )
            for name, field in described["properties"].items()
        ],
    )
    write("\nAn example:")
    print_json(example)


def _type_text(field: Mapping[str, Any]) -> str:
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_type_text(one) for one in field["anyOf"] if one.get("type") != "null"))
    if "enum" in field:
        return ", ".join(str(one) for one in field["enum"])
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if field.get("type") == "array":
        return f"list of {_type_text(field.get('items', {}))}"
    return str(field.get("format") or field.get("const") or field.get("type", "any"))


def ended_code(client: Client, job: int, timeout: float | None) -> None:
    sys.stdout.flush()
    ended: Job = client.wait(job, timeout)
    say(f"job {job}: {ended.status.title}, {duration_text(run_time(ended, client.now())) or 'never started'}")
    code = CODES[ended.status]
    if code:
        raise typer.Exit(code)
