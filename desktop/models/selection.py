"""What is selected in one report: panels write to it and draw from it, and know nothing of each other."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal

__all__ = ["Selection"]


class Selection(QObject):
    """Chosen times (seconds since 1970 UTC, a span), symbols, and one row with its time and symbol.

    Signals:
        changed(): another choice
        pointed(object): the pointer, shared by all drawings, is at another time; the argument is whose pointer it is
    """

    changed = Signal()
    pointed = Signal(object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.times: tuple[float, float] | None = None
        self.symbols: tuple[str, ...] | None = None
        self.row: dict[str, Any] | None = None
        self.pointer: float | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is selected."""
        return self.times is None and self.symbols is None and self.row is None

    def pick(
        self,
        *,
        times: tuple[float, float] | None = None,
        symbols: tuple[str, ...] | None = None,
        row: dict[str, Any] | None = None,
    ) -> None:
        """Choose; what is None stays. The same again takes it back."""
        before = (self.times, self.symbols, self.row)
        if times is not None:
            self.times = None if times == self.times else times
        if symbols is not None:
            self.symbols = None if symbols == self.symbols else symbols
        if row is not None:
            self.row = None if row == self.row else row
        if (self.times, self.symbols, self.row) != before:
            self.changed.emit()

    def clear(self) -> None:
        """Nothing is selected any more."""
        if not self.empty:
            self.times = self.symbols = self.row = None
            self.changed.emit()

    def point(self, time: float | None, source: object) -> None:
        """The pointer of `source` is at that time (None: at none)."""
        if time != self.pointer:
            self.pointer = time
            self.pointed.emit(source)
