"""Which groups of three bytes occur in a chunk of a log, so that a search reads only what can match. No I/O.

A text of three bytes or more can stand in a body only if the bits of all its groups of three are set: a Bloom filter
with one hash function over the groups of the text in lower case (of ASCII: other letters are taken as they are). Groups
may share a bit; then the body is read, and does not match.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["BYTES", "WORTH", "bits_of", "trigrams"]

BYTES = 1536
"""Bytes of a chunk's bits: so many that two chunks' known facts still lie in one page of the database."""

WORTH = 8 * BYTES
"""Bytes of a body from which on the bits are worth their place: shorter ones are read in no time."""

_BITS = 8 * BYTES
_SPREAD = np.uint32(2_654_435_769)
"""2 to the 32nd by the golden ratio (Knuth, The Art of Computer Programming 3, 6.4)."""


def trigrams(body: str) -> bytes | None:
    """The bits of a body, as `bytea` has them (`get_bit`); None for a short one, which is simply read."""
    data = body.encode()
    if len(data) < WORTH:
        return None
    flags = np.zeros(_BITS, np.bool_)
    flags[_numbers(data)] = True
    return np.packbits(flags, bitorder="little").tobytes()


def bits_of(text: str, most: int = 8) -> list[int]:
    """The bits that are set of every body with this text, `most` of them; none can be told of a text of two bytes.

    Those of the rarest characters come first: figures and spaces are in every log.
    """
    data = text.encode("utf-8", "replace")
    numbers = _numbers(data).tolist()
    groups = [data[at : at + 3] for at in range(len(numbers))]
    order = sorted(range(len(numbers)), key=lambda at: sum(char in b" 0123456789.-:etaoinsr" for char in groups[at]))
    return list(dict.fromkeys(numbers[at] for at in order))[:most]


def _numbers(data: bytes) -> npt.NDArray[np.intp]:
    """The bit of each group of three bytes."""
    codes = np.frombuffer(data.lower(), np.uint8).astype(np.uint32)
    if len(codes) < 3:
        return np.empty(0, np.intp)
    # in place, and without a division: this is done for each line that a task writes
    groups = codes[:-2] << np.uint32(16)
    groups |= codes[1:-1] << np.uint32(8)
    groups |= codes[2:]
    groups *= _SPREAD
    groups >>= np.uint32(16)
    groups *= np.uint32(_BITS)
    groups >>= np.uint32(16)
    return groups.astype(np.intp)
