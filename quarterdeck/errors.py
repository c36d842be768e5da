"""What can go wrong, in words fit for people.

QuarterdeckError
├── Refused         the database says no: rights
├── Conflict        the thing is in a state that does not allow it
├── Invalid         what was given can't be used: what, where, why
│   └── NotFound    no such job, table, node, profile
└── Disconnected    the server can't be reached or went away
"""

from __future__ import annotations

__all__ = ["Conflict", "Disconnected", "Invalid", "NotFound", "QuarterdeckError", "Refused"]


class QuarterdeckError(Exception):
    """The base of all errors whose text may be shown: one sentence that says what, where, and what to do."""


class Refused(QuarterdeckError):
    """The database refused: the signed-in user has no right to it."""


class Conflict(QuarterdeckError):
    """The thing exists, but its state does not allow this."""


class Invalid(QuarterdeckError):
    """What was given can't be used. `field` names the parameter or column it belongs to, when there is one."""

    def __init__(self, text: str, *, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


class NotFound(Invalid):
    """There is no such job, table, node or profile, or the user may not see it."""


class Disconnected(QuarterdeckError):
    """The server can't be reached, or the connection was lost."""
