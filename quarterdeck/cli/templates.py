"""Commands on visualization templates (C4)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from quarterdeck.cli.output import AsJson, print_json, print_table, say, time_json, write
from quarterdeck.columns import time_text
from quarterdeck.errors import Invalid

__all__ = ["add_to"]

Name = Annotated[
    str, typer.Argument(metavar="NAME", help="A built-in one, your own, or CREATOR.NAME: see 'template list'.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    template = typer.Typer(help="Visualization templates: documents that say how a report looks.", no_args_is_help=True)
    template.command("list")(list_templates)
    template.command("show")(show)
    template.command("save")(save)
    template.command("delete")(delete)
    app.add_typer(template, name="template")


def list_templates(context: typer.Context, as_json: AsJson = False) -> None:
    """List the templates that you may use: those that come with Quarterdeck, your own, and public ones.

    JSON: a list of name, title, kinds (of jobs that it fits; none means any), creator (empty for a built-in one),
    public, builtin, created, updated (ISO 8601 in UTC, or null).
    """
    with context.obj.client() as client:
        found = client.templates()
    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "title": one.title,
                    "kinds": list(one.kinds),
                    "creator": one.creator,
                    "public": one.public,
                    "builtin": one.builtin,
                    "created": time_json(one.created),
                    "updated": time_json(one.updated),
                }
                for one in found
            ]
        )
        return
    print_table(
        ["Name", "Title", "For", "Creator", "Updated"],
        [
            (
                one.name,
                one.title,
                ", ".join(one.kinds) or "any",
                "built in" if one.builtin else f"{one.creator} (public)" if one.public else one.creator,
                time_text(one.updated),
            )
            for one in found
        ],
    )


def show(context: typer.Context, name: Name) -> None:
    """Print a template's document as JSON, as 'template save' takes it."""
    from quarterdeck.report import dump

    with context.obj.client() as client:
        found = client.template(name)
    write(dump(found))


def save(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A template's document in JSON, or - for standard input.")
    ],
    public: Annotated[bool, typer.Option("--public", help="Everybody may use it.")] = False,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Instead of the document's name.")] = None,
) -> None:
    """Store a template, in the place of your own one of that name if there is one."""
    from quarterdeck.report import load

    template = load(_document(file))
    if name is not None:
        template = load(template.model_copy(update={"name": name}).model_dump_json())
    with context.obj.client() as client:
        client.save_template(template, public=public)
    say(f"template '{template.name}' stored, {'public' if public else 'private'}")


def delete(context: typer.Context, name: Name) -> None:
    """Delete a template of your own; as an admin anyone's, by CREATOR.NAME."""
    with context.obj.client() as client:
        client.delete_template(name)
    say(f"template '{name}' deleted")


def _document(file: str) -> str | bytes:
    from quarterdeck.report.checks import MAX_BYTES

    try:
        if file == "-":
            return sys.stdin.read(MAX_BYTES + 1)
        with Path(file).open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except UnicodeDecodeError:
        raise Invalid("standard input is no text") from None
    except OSError as error:
        raise Invalid(f"'{file}' can't be read: {(error.strerror or str(error)).lower()}") from None
