"""The lines of a log that are known, in blocks by position: those looked at last, as many as there is room for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from desktop.models.log_text import Shown

__all__ = ["Blocks"]


class Blocks:
    """Lines by position. Blocks begin at multiples of `SIZE`."""

    SIZE = 128
    """Lines that are fetched and kept together."""

    KEPT = 96
    """Blocks that are kept at most."""

    CHARACTERS = 24_000_000
    """Characters of lines that are kept at most."""

    AHEAD = 40
    """Lines before and after what is looked at that are fetched before they are asked for."""

    def __init__(self) -> None:
        self._blocks: OrderedDict[int, Sequence[Shown]] = OrderedDict()
        self._stale: set[int] = set()
        self._characters = 0

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def line(self, position: int) -> Shown | None:
        """The line at a position, None if it is not known."""
        block = self._blocks.get(position // self.SIZE)
        place = position % self.SIZE
        return block[place] if block is not None and place < len(block) else None

    def missing(self, first: int, last: int, total: int) -> tuple[int, int] | None:
        """First and last position of whole blocks to fetch, so that the lines from `first` to `last` are known."""
        end = (total - 1) // self.SIZE

        def lacking(start: int, stop: int) -> list[int]:
            blocks = range(max(start // self.SIZE, 0), min(stop // self.SIZE, end) + 1)
            return [number for number in blocks if number not in self._blocks or number in self._stale]

        wanted = lacking(first, last) or lacking(last + 1, last + self.AHEAD) or lacking(first - self.AHEAD, first)
        return (wanted[0] * self.SIZE, (wanted[-1] + 1) * self.SIZE - 1) if wanted else None

    def keep(self, first: int, lines: Sequence[Shown], looked_at: tuple[int, int]) -> None:
        """Keep lines from a position on, where a block begins; drop what was kept longest and is not looked at."""
        for at in range(0, len(lines), self.SIZE):
            number = (first + at) // self.SIZE
            self._drop(number)
            self._blocks[number] = lines[at : at + self.SIZE]
            self._characters += sum(len(one.text) for one in self._blocks[number])
        seen = range(looked_at[0] // self.SIZE, looked_at[1] // self.SIZE + 1)
        for number in list(self._blocks):
            if len(self._blocks) <= self.KEPT and self._characters <= self.CHARACTERS:
                return
            if number not in seen:
                self._drop(number)

    def outdate(self, position: int, *, drop: bool) -> None:
        """From that position on lines may be others: fetch them anew when they are looked at. `drop`: they stand
        elsewhere for sure."""
        for number in [number for number in self._blocks if number >= position // self.SIZE]:
            if drop:
                self._drop(number)
            else:
                self._stale.add(number)

    def clear(self) -> None:
        """Know nothing."""
        self._blocks.clear()
        self._stale.clear()
        self._characters = 0

    def widest(self, first: int, last: int) -> int:
        """The columns of the widest known line between two positions."""
        lines = (self.line(position) for position in range(first, last + 1))
        return max((line.width for line in lines if line is not None), default=0)

    def _drop(self, number: int) -> None:
        self._stale.discard(number)
        if (old := self._blocks.pop(number, None)) is not None:
            self._characters -= sum(len(one.text) for one in old)
