"""Searches through logs: what is wanted, as the database is asked for it, and all hits in order, counted (M6)."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from quarterdeck.chunks import Chunks, Condition
from quarterdeck.errors import Invalid
from quarterdeck.job import Level
from quarterdeck.outline import Cursor, Numbers
from quarterdeck.trigrams import bits_of

__all__ = ["Finding", "Wanted"]

_SEVERITY = {Level.DEBUG: 0, Level.INFO: 1, Level.WARNING: 2, Level.ERROR: 3}
_NONE = np.empty((0, 3), np.int64)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which lines: of the task of this ordinal, of this level or a worse one, with this text.

    Upper and lower case are the same unless `case`; `regular`: the text is a regular expression as PostgreSQL has them.
    """

    task: int | None = None
    level: Level | None = None
    text: str = ""
    case: bool = False
    regular: bool = False

    @property
    def severity(self) -> int:
        """The level's number; 0 where any is wanted."""
        return 0 if self.level is None else _SEVERITY[self.level]

    @property
    def possible(self) -> bool:
        """Whether a line can hold the text at all.

        Raises:
            Invalid: there is no text to search for.
        """
        if not self.text:
            raise Invalid("give a text to search the log for", field="text")
        return "\n" not in self.text and "\0" not in self.text

    def condition(self) -> Condition:
        """What the database asks of a line's text, and of a whole body before it is taken apart."""
        if self.regular:
            return self._regular()
        if self.case:
            asked = "strpos({0}, %(text)s) > 0"
            return Condition(asked, asked, {"text": self.text}, bits=bits_of(self.text))
        if self.text.isascii():  # lower case by the rules of C is a tenth of the work, but knows ASCII only
            asked = "strpos({0}, %(text)s) > 0"
            return Condition(asked, asked, {"text": self.text.lower()}, 'lower({0} collate "C")', bits_of(self.text))
        pattern = "%" + "".join(f"!{char}" if char in "!%_" else char for char in self.text) + "%"
        asked = "{0} ilike %(text)s escape '!'"
        return Condition(asked, asked, {"text": pattern})

    def _regular(self) -> Condition:
        asked = f"{{0}} {'~' if self.case else '~*'} %(text)s"
        # what begins or ends at a line, or looks about, does not hold of a body as it does of a line in it
        if any(part in self.text for part in ("^", "$", "\\A", "\\Z", "\\m", "\\M", "\\y", "\\Y", "(?", "[[", "***")):
            return Condition(asked, "true", {"text": self.text})
        return Condition(asked, asked.replace("(text)", "(whole)"), {"text": self.text, "whole": f"(?n){self.text}"})


class Finding:
    """All places of a text in a log, in order, as far as the log has been looked at.

    `steps` runs in one thread at a time, the rest may be asked in any.

    `count` is how many hits there are; the places of the first `KEPT` of them that came are kept for walking.
    """

    KEPT = 2_000_000

    def __init__(self, chunks: Chunks, wanted: Wanted) -> None:
        self.wanted = wanted
        self.count = 0
        self.complete = False
        self._chunks = chunks
        self._looked: Numbers = np.empty(0, np.int64)
        self._places: Numbers = _NONE
        self._size = 0
        self._lock = threading.Lock()

    def steps(self) -> Iterator[float]:
        """Look at what has not been looked at; the share (0 to 1) of that which is done, again and again, 1 at last.

        Ends at once when closed, and goes on from there when called again.

        Raises:
            Invalid: the text is empty, or no regular expression.
        """
        if not self.wanted.possible:
            self.complete = True
            return
        condition = self.wanted.condition()
        outline = self._chunks.outline(self.wanted.task, self.wanted.severity)
        order = outline.starts
        new = outline.chunks.id[order[~np.isin(outline.chunks.id[order], self._looked)]]
        ids = self._chunks.likely(new, condition)
        read = partial(self._chunks.places, condition=condition)
        self.complete = not len(ids)
        before = 0
        for looked, batch in self._chunks.streamed(ids, read, 512):
            found = self._found(batch)
            self._add(found)
            self._looked = np.concatenate([self._looked, ids[before:looked]])
            self.complete = looked == len(ids)
            before = looked
            yield looked / len(ids)
        self._looked = np.concatenate([self._looked, new])

    def _found(self, batch: Sequence[tuple[int, bytes]]) -> Numbers:
        """The hits of some chunks as rows of time, chunk, place."""
        outline = self._chunks.outline(self.wanted.task, self.wanted.severity)
        chunks = outline.chunks.taken(np.searchsorted(outline.chunks.id, [number for number, _ in batch]))
        marked = self._chunks.marked(chunks)
        if not batch or not len(marked.micros):
            return _NONE
        sizes = [len(places) // 2 for _, places in batch]
        places = np.frombuffer(b"".join(places for _, places in batch), ">i2").astype(np.int64)
        at = np.minimum(np.repeat(marked.starts, sizes) + places, len(marked.micros) - 1)
        hits: Numbers = np.stack([marked.micros[at], np.repeat(chunks.id, sizes), places], axis=1)
        kept: Numbers = hits[marked.level[at] >= self.wanted.severity]
        return kept

    def _add(self, found: Numbers) -> None:
        kept = found[: max(0, self.KEPT - self._size)]
        at = self._size
        if len(kept):
            # only what lies at the seam has to be put in order: chunks come by their first lines
            at = int(np.searchsorted(self._places[: self._size, 0], int(kept[:, 0].min()), "left"))
            kept = np.concatenate([self._places[at : self._size], kept])
            kept = kept[np.lexsort((kept[:, 2], kept[:, 1], kept[:, 0]))]
        size = at + len(kept)
        places = self._places
        if size > len(places):
            places = np.empty((2 * size, 3), np.int64)
            places[:at] = self._places[:at]
        with self._lock:  # held for a moment only: those who ask are not kept waiting
            places[at:size] = kept
            self._places, self._size = places, size
            self.count += len(found)

    def number(self, cursor: Cursor) -> int:
        """How many of the kept hits stand before a place."""
        with self._lock:
            places = self._places[: self._size]
            low, high = (int(np.searchsorted(places[:, 0], cursor.micros, side)) for side in ("left", "right"))
            same = places[low:high]
            earlier = (same[:, 1] < cursor.chunk) | ((same[:, 1] == cursor.chunk) & (same[:, 2] < cursor.offset))
            return low + int(np.count_nonzero(earlier))

    def at(self, number: int) -> Cursor | None:
        """The place of the kept hit of that number, from 0; None if there is none."""
        with self._lock:
            return Cursor(*self._places[number].tolist()) if 0 <= number < self._size else None

    @property
    def walkable(self) -> bool:
        """Whether the places of all hits are known."""
        return self.complete and self.count == self._size
