"""What tests of the log view share."""

from __future__ import annotations

import datetime as dt

from pytestqt.qtbot import QtBot

from desktop.views.log_view import LogView
from quarterdeck.job import Level, Stream

START = dt.datetime(2026, 1, 5, 9, 0, tzinfo=dt.UTC)
INFO = (Stream.STDOUT, Level.INFO)


def texts(view: LogView) -> list[str]:
    """The lines that are known, in order."""
    lines = (view.model.line(at) for at in range(view.model.total or 0))
    return [line.line.text for line in lines if line is not None]


def seen(view: LogView) -> list[str]:
    """The lines in view, in order."""
    lines = (view.model.line(at) for at in range(view.lines.top, view.lines.top + view.lines.rows))
    return [line.line.text for line in lines if line is not None]


def current(view: LogView) -> str:
    """The chosen line."""
    line = view.lines.current_line
    return "" if line is None else line.text


def settled(view: LogView) -> bool:
    """Whether all that is in view is known."""
    total, top = view.model.total, view.lines.top
    if total is None:
        return False
    return all(view.model.line(at) is not None for at in range(top, min(top + view.lines.rows, total)))


def wait(qtbot: QtBot, view: LogView) -> None:
    qtbot.waitUntil(lambda: settled(view))
