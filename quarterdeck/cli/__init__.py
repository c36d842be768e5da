"""The command `quarterdeck` (C).

0  all is well (`wait`, `--wait`: the job succeeded)
1  an error, said in one line on standard error
2  wrong usage
3  `wait`: the job failed; `cluster status`: it does not run
4  `wait`: the job partially failed
5  `wait`: the job was terminated
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from quarterdeck.cli import audit, cluster, jobs, report, start, tables, templates, window
from quarterdeck.cli.output import Choice, fail
from quarterdeck.errors import QuarterdeckError

__all__ = ["app", "main"]

app = typer.Typer(
    name="quarterdeck",
    help="The jobs of a cluster: start, list, follow, end them; read their results. "
    "Exit codes: 0 all is well, 1 an error, 2 wrong usage; of wait: 3 failed, 4 partially failed, 5 terminated.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
start.add_to(app)
jobs.add_to(app)
tables.add_to(app)
report.add_to(app)
templates.add_to(app)
cluster.add_to(app)
audit.add_to(app)
window.add_to(app)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        sys.stdout.write(f"quarterdeck {version('quarterdeck')}\n")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", metavar="NAME", help="The connection to use; without it QUARTERDECK_PROFILE, or 'local'."
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    """Options before the command."""
    context.obj = Choice(profile)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code. No traceback reaches the user: what is unexpected goes to a file."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    command = typer.main.get_command(app)
    usage_error = typer.BadParameter.__bases__[0]
    try:
        code = command.main(arguments, prog_name="quarterdeck", standalone_mode=False)
        sys.stdout.flush()
    except QuarterdeckError as error:
        return fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except BrokenPipeError:
        # the reader of a pipe has enough (head); nothing more may be written, not even at the interpreter's end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if isinstance(error, usage_error):
            return _wrong_usage(error)
        return fail(_unexpected(error))
    return code if isinstance(code, int) else 0


def _wrong_usage(error: Exception) -> int:
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "quarterdeck"
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    if message:  # without arguments the help has been shown
        fail(f"{message.rstrip('.')}; see '{where} --help'")
    return 2


def _unexpected(error: Exception) -> str:
    """Writes the traceback to a file and says where it is."""
    import platformdirs

    what = f"an unexpected error ({type(error).__name__})"
    try:
        folder = Path(os.environ.get("QUARTERDECK_LOG") or platformdirs.user_log_path("quarterdeck", appauthor=False))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "command.log"
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", encoding="utf-8") as file:
            file.write("".join(traceback.format_exception(error)) + "\n")
    except OSError:
        return f"{what}; its traceback could not be written"
    return f"{what}; its traceback is in {path}"
