"""Commands that open the window: `desktop`, and the demonstration `demo`."""

from __future__ import annotations

import importlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck.cli.output import say
from quarterdeck.errors import Invalid

if TYPE_CHECKING:
    from quarterdeck.profile import Profile

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    app.command()(desktop)
    app.command()(demo)


def desktop(context: typer.Context) -> None:
    """Open the desktop."""
    if not _has_display():
        raise Invalid("there is no display to open the desktop on: set DISPLAY, or use the other commands")
    raise typer.Exit(int(_part("desktop.app").main(context.obj.profile)))


def demo(
    context: typer.Context,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="The cluster's folder; without it the user's own.")
    ] = None,
    pictures: Annotated[
        Path, typer.Option("--pictures", metavar="DIR", help="Where pictures go when there is no display.")
    ] = Path("out/demo"),
    headless: Annotated[
        bool, typer.Option("--headless", help="Leave pictures instead of opening the desktop.")
    ] = False,
) -> None:
    """Start this computer's cluster with two nodes, import real and synthetic data, compute factors, open the desktop.

    What is there already stays. Without a display, pictures of each page, of details and of a log are left instead.
    """
    from quarterdeck import demonstration, embedded, profile

    began = time.monotonic()

    def told(text: str) -> None:
        say(f"{time.monotonic() - began:6.1f} s  {text}")

    cluster = embedded.start(data, profile_name=context.obj.profile or profile.LOCAL, said=told)
    for remark in cluster.said:
        told(remark)
    demonstration.populate(cluster, told)
    if headless or not _has_display():
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
        told("there is no display: taking pictures" if not headless else "taking pictures")
        taken = _part("desktop.pictures").taken(cluster.profile.name, pictures)
        reports = _reports(cluster.profile, pictures)
        told(f"{len(taken)} pictures and {reports} reports (PDF) are in {pictures}")
    else:
        told("opening the desktop")
        _part("desktop.app").main(cluster.profile.name)
    say("The cluster goes on running; 'quarterdeck cluster stop' stops it.")


def _has_display() -> bool:
    if not sys.platform.startswith("linux"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))


def _reports(chosen: Profile, folder: Path) -> int:
    """The reports of an evaluation, a backtest and an attribution as PDF; how many."""
    from quarterdeck.client import Client
    from quarterdeck.job import Status
    from quarterdeck.query import Filter

    printing = _part("desktop.views.printing")
    done = 0
    with Client.connect(chosen) as client:
        for kind in ("evaluation", "backtest", "attribution"):
            for job in client.list(Filter(kind=kind, statuses=frozenset({Status.SUCCESS})), limit=1):
                printing.write_report(client, job.id, folder / f"{kind}.pdf", None, None)
                done += 1
    return done


def _part(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Invalid(
            f"the desktop can't be opened: {error}; it needs the extra 'desktop' (pip install 'quarterdeck[desktop]')"
        ) from None
