"""The command `report`: a job's report as a PDF (C4), on the pages that the desktop prints; no display is needed."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from quarterdeck.cli.output import say
from quarterdeck.errors import Invalid

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(report)


def report(
    context: typer.Context,
    job: Annotated[int, typer.Argument(metavar="JOB", help="The job's number.")],
    file: Annotated[Path, typer.Argument(metavar="FILE.pdf", help="The file; one of that name is replaced.")],
    template: Annotated[
        str | None,
        typer.Option("--template", metavar="NAME", help="The visualization template; without it the kind's own."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option("--task", metavar="NAME", help="A task by its name or number; without it the first with results."),
    ] = None,
) -> None:
    """Write a job's visualization report to a PDF file."""
    # nothing is shown: a display that there may be is not asked
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    app, printing = _part("desktop.app"), _part("desktop.views.printing")
    app.application()
    with context.obj.client() as client:
        pages = printing.write_report(client, job, file, template, task)
    say(f"{file}: {pages} {'page' if pages == 1 else 'pages'}")


def _part(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Invalid(
            f"a report can't be drawn: {error}; it needs the extra 'desktop' (pip install 'quarterdeck[desktop]')"
        ) from None
