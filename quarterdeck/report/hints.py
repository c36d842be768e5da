"""What may have been meant by a name that there is not."""

from __future__ import annotations

import difflib
from collections.abc import Collection

__all__ = ["hint", "near"]


def near(word: str, words: Collection[str]) -> str:
    """ "did you mean 'x'?", or nothing when nothing is near."""
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"did you mean '{found[0]}'?" if found else ""


def hint(word: str, words: Collection[str]) -> str:
    """'; did you mean 'x'?', or '; there are a, b, c' with at most eight of them."""
    if found := near(word, words):
        return f"; {found}"
    names = sorted(words)
    return f"; there are {', '.join(names[:8])}{' and others' if len(names) > 8 else ''}" if names else ""
