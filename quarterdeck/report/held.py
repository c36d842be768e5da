"""What was made once and is kept, up to a size; the longest unused goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

__all__ = ["Held"]

Made = TypeVar("Made")


class Held:
    """Things by key. Usable from several threads; two that ask for the same thing at once may both make it."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._things: OrderedDict[Hashable, tuple[object, int]] = OrderedDict()
        self._size = 0
        self._era = 0

    def get(self, key: Hashable, make: Callable[[], Made], size: Callable[[Made], int]) -> Made:
        """The thing of that key, made now if it is not there. What alone is too large is not kept."""
        with self._lock:
            if key in self._things:
                self._things.move_to_end(key)
                return self._things[key][0]  # type: ignore[return-value]
            era = self._era
        made = make()
        weight = size(made)
        with self._lock:
            if era == self._era and key not in self._things and weight <= self._most:
                self._things[key] = (made, weight)
                self._size += weight
                while self._size > self._most:
                    _, (_, freed) = self._things.popitem(last=False)
                    self._size -= freed
        return made

    def find(self, key: Hashable) -> object | None:
        """The thing of that key, if it is there."""
        with self._lock:
            return self._things[key][0] if key in self._things else None

    def clear(self) -> None:
        """Forget all; what is being made meanwhile is not kept."""
        with self._lock:
            self._things.clear()
            self._size = 0
            self._era += 1
