"""The `start` and `end` of parameters: days or moments, the last day to its end; without a zone they are UTC."""

from __future__ import annotations

import datetime as dt

__all__ = ["Moment", "first", "last", "misplaced"]

Moment = dt.date | dt.datetime


def first(moment: Moment) -> dt.datetime:
    """The first moment that is meant."""
    return _utc(moment if isinstance(moment, dt.datetime) else dt.datetime.combine(moment, dt.time.min))


def last(moment: Moment) -> dt.datetime:
    """The last moment that is meant."""
    return _utc(moment if isinstance(moment, dt.datetime) else dt.datetime.combine(moment, dt.time.max))


def misplaced(start: Moment | None, end: Moment | None) -> str:
    """What is wrong with the two; empty if nothing is."""
    if start is not None and end is not None and first(start) > last(end):
        return f"start {start} lies after end {end}"
    return ""


def _utc(time: dt.datetime) -> dt.datetime:
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)
