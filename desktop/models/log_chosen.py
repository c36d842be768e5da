"""Which lines of a log are chosen, by position: any number of them, however many there are."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["Chosen"]


class Chosen:
    """The current line, from which keys move (-1: none), and all that are chosen."""

    def __init__(self) -> None:
        self.current = -1
        self._anchor = -1
        self._others: list[tuple[int, int]] = []

    def clear(self) -> None:
        """Choose nothing."""
        self.current, self._anchor, self._others = -1, -1, []

    def choose(self, position: int, *, extend: bool = False, one_more: bool = False) -> None:
        """Choose a line; `extend`: all up to it, `one_more`: besides what is chosen (or no more, if it was)."""
        if one_more:
            mine = self.ranges()
            self.current = position
            if any(first <= position <= last for first, last in mine):
                halves = [((first, min(last, position - 1)), (max(first, position + 1), last)) for first, last in mine]
                self._others = [part for pair in halves for part in pair if part[0] <= part[1]]
                self._anchor = -1
                return
            self._others, self._anchor = mine, position
            return
        self.current = position
        if not extend:
            self._others = []
        if not extend or self._anchor < 0:
            self._anchor = position

    def choose_all(self, total: int) -> None:
        """Choose all lines."""
        self._others = []
        self._anchor, self.current = (0, total - 1) if total else (-1, -1)

    def ranges(self) -> list[tuple[int, int]]:
        """What is chosen, in order: first and last position of each part."""
        parts = list(self._others)
        if self._anchor >= 0:
            parts.append((min(self._anchor, self.current), max(self._anchor, self.current)))
        joined: list[tuple[int, int]] = []
        for first, last in sorted(parts):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(joined[-1][1], last))
            else:
                joined.append((first, last))
        return joined

    def holds(self, position: int) -> bool:
        """Whether that line is chosen."""
        return any(first <= position <= last for first, last in self.ranges())

    def edges(self, most: int = 20) -> set[int]:
        """Positions of lines that what is chosen begins and ends with."""
        edges = [edge for part in self._others for edge in part]
        return {edge for edge in (self.current, self._anchor, *edges[:most]) if edge >= 0}

    def move(self, moves: Mapping[int, int]) -> None:
        """Lines stand at other positions: what is chosen stays with them."""
        self.current = moves.get(self.current, self.current)
        self._anchor = moves.get(self._anchor, self._anchor)
        self._others = [(moves.get(first, first), moves.get(last, last)) for first, last in self._others]
