"""What every panel's drawing can do, and the values that it tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor, QPainter
from PySide6.QtWidgets import QWidget

from desktop.views.panels.ink import Ink

__all__ = ["Drawing", "Entry", "Pick", "Reading", "State"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of a panel's legend."""

    name: str
    color: QColor
    mark: Literal["line", "box", "dot", "up", "down"] = "line"
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """What a drawing reads at the pointer: where that is, and the legend's values there by their number.

    `more`: values that are in no legend. `time`: seconds since 1970, where the place is one of times. `own`: the
    pointer is over this drawing, not over another one of the report.
    """

    where: str
    values: dict[int, str] = field(default_factory=dict)
    more: str = ""
    time: float | None = None
    own: bool = True


@dataclass(frozen=True, slots=True)
class Pick:
    """What was selected in a drawing: a span of times, symbols, or a row; None where it says nothing about it."""

    times: tuple[float, float] | None = None
    symbols: tuple[str, ...] | None = None
    row: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class State:
    """How the user has it: hidden entries of the legend, logarithmic or not, the shown range of x (None: all)."""

    hidden: frozenset[int] = frozenset()
    log: bool | None = None
    span: tuple[float, float] | None = None


class Drawing:
    """What a card asks of the widget inside it; a chart, a table, a pie or a number answers what it can.

    Signals of the widgets:
        pointed(object): the Reading at the pointer, None when it left
        picked(object): the Pick that was made
    """

    can_zoom = False
    can_log = False
    pointed: Any
    picked: Any

    @property
    def widget(self) -> QWidget:
        if not isinstance(self, QWidget):
            raise TypeError("a drawing is a widget")
        return self

    def entries(self) -> list[Entry]:
        """The legend; empty where none is needed."""
        return []

    def toggle(self, number: int) -> None:
        """Show or hide an entry of the legend."""

    def state(self) -> State:
        return State()

    def restore(self, state: State) -> None:
        """Draw it as the user had it."""

    def dress(self, ink: Ink) -> None:
        """Draw it with other colours."""

    def point_time(self, time: float | None) -> None:
        """Another drawing's pointer is at that time."""

    def mark_times(self, times: tuple[float, float] | None) -> None:
        """Show which times are selected."""

    def reveal(self, time: float) -> None:
        """See to it that this time is in view."""

    def set_log(self, on: bool) -> None:
        """The logarithmic scale on or off."""

    def zoom(self, factor: float) -> None:
        """Show a part of that size of what is shown."""

    def reset(self) -> None:
        """Show all."""

    def values(self) -> tuple[list[str], list[Sequence[Any]]]:
        """What is drawn, for a file: names of columns, and the columns."""
        return [], []

    def paint_on(self, painter: QPainter, place: QRectF) -> None:
        """Paint it, without its card, into that place; the drawing has the place's size."""
        raise NotImplementedError

    def end(self) -> None:
        """Let go of what could outlive the widget."""
