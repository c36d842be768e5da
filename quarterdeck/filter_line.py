"""The filter line: `status:failed -creator:me node:n3 last:2d momentum` as a `Filter`, and back (M8, Y8).

    line   = term { blank term }
    term   = [ "-" ] ( key ":" value { "," value } | word | quoted )
    key    = status | creator | node | type | since | until | last | workflow
    quoted = '"' any text, a quote doubled '"'

Words and quoted texts that are not negated are one text to look for, in their order; each negated one must not occur.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Iterator

from quarterdeck.errors import Invalid
from quarterdeck.job import Origin, Status
from quarterdeck.query import Filter, close_match

__all__ = ["KEYS", "compose", "parse"]

KEYS = ("status", "creator", "node", "type", "since", "until", "last", "workflow")

_TERM = re.compile(r'(?P<minus>-?)(?:(?P<key>[A-Za-z_]+):)?(?P<value>(?:"(?:[^"]|"")*"|[^\s"])*)')
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SETS = {"status": "statuses", "creator": "creators", "node": "nodes", "type": "origins"}


def parse(line: str, *, me: str = "", now: dt.datetime | None = None, within: Filter | None = None) -> Filter:
    """The filter that a line means. `me` is who `creator:me` is; `within` gives the fields that a line can't name.

    Raises:
        Invalid: an unknown key or value, or a quote that is not closed; it names the position.
    """
    now = now or dt.datetime.now(dt.UTC)
    sets: dict[str, set[str]] = {}
    single: dict[str, object] = {}
    words: list[str] = []
    absent: list[str] = []
    for place, minus, key, values in _terms(line):
        if key is None:
            (absent if minus else words).append(values[0])
        elif key in _SETS:
            name = ("not_" if minus else "") + _SETS[key]
            sets.setdefault(name, set()).update(_member(key, one, place, me) for one in values)
        else:
            field = "since" if key == "last" else "workflow_id" if key == "workflow" else key
            if minus:
                raise Invalid(f"'{key}' at column {place} can't be negated", field="filter")
            if len(values) > 1:
                raise Invalid(f"'{key}' at column {place} takes one value", field="filter")
            if field in single:
                raise Invalid(f"the line has a second '{key}' at column {place}: keep one", field="filter")
            single[field] = _SINGLE[key](values[0], place, now)
    emptied: dict[str, object] = {name: frozenset() for twin in _SETS.values() for name in (twin, f"not_{twin}")}
    emptied |= {"since": None, "until": None, "workflow_id": None}
    named = {name: frozenset(_typed(name, members)) for name, members in sets.items()}
    fields = emptied | single | named | {"text": " ".join(words), "not_text": tuple(absent)}
    return dataclasses.replace(within or Filter(), **fields)  # type: ignore[arg-type]


def compose(filter: Filter) -> str:  # noqa: A002
    """The line that `parse` reads as this filter (its kind apart). Times are written in UTC, to the microsecond."""
    terms: list[str] = []
    for key, twin in _SETS.items():
        for minus, name in (("", twin), ("-", f"not_{twin}")):
            members = sorted(str(one) for one in getattr(filter, name))
            if members:
                terms.append(f"{minus}{key}:{','.join(_quoted(one, ',') for one in members)}")
    for key, time in (("since", filter.since), ("until", filter.until)):
        if time is not None:
            terms.append(f"{key}:{time.astimezone(dt.UTC).isoformat()}")
    if filter.workflow_id is not None:
        terms.append(f"workflow:{filter.workflow_id}")
    if filter.text:
        terms.append(_quoted(filter.text, ":"))
    terms += [f"-{_quoted(one, ':')}" for one in filter.not_text]
    return " ".join(terms)


def _terms(line: str) -> Iterator[tuple[int, bool, str | None, list[str]]]:
    at = 0
    while True:
        while at < len(line) and line[at].isspace():
            at += 1
        if at >= len(line):
            return
        found = _TERM.match(line, at)
        assert found is not None  # it matches the empty text
        end = found.end()
        if end < len(line) and line[end] == '"':
            raise Invalid(f"the quote at column {end + 1} is not closed", field="filter")
        key = found["key"]
        if key is not None:
            key = key.lower()
            if key not in KEYS:
                raise Invalid(
                    f"there is no filter '{key}' (column {at + 1}){close_match(key, KEYS)}; "
                    f'put a text with a colon in quotes: "{key}:…"',
                    field="filter",
                )
            values = [_plain(one) for one in _split(found["value"])]
        else:
            values = [_plain(found["value"])]
        if not all(values):
            what = f"'{key}'" if key else "the term"
            raise Invalid(f"{what} at column {at + 1} names nothing", field="filter")
        yield at + 1, bool(found["minus"]), key, values
        at = end


def _split(text: str) -> list[str]:
    return re.findall(r'(?:^|(?<=,))((?:"(?:[^"]|"")*"|[^,"])*)', text)


def _plain(text: str) -> str:
    return re.sub(r'"((?:[^"]|"")*)"', lambda quoted: quoted[1].replace('""', '"'), text)


def _quoted(text: str, special: str) -> str:
    if text and not re.search(rf'[\s"{special}]', text) and not text.startswith("-"):
        return text
    return '"' + text.replace('"', '""') + '"'


def _member(key: str, value: str, place: int, me: str) -> str:
    if key == "creator":
        return me if value.lower() == "me" and me else value
    if key == "node":
        return value
    words: list[str] = [one.value for one in (Status if key == "status" else Origin)]
    asked = value.lower().replace(" ", "_").replace("-", "_")
    found = [one for one in words if one == asked] or [one for one in words if one.startswith(asked)]
    if len(found) != 1:
        raise Invalid(f"there is no {key} '{value}' (column {place}){close_match(asked, words)}", field="filter")
    return found[0]


def _typed(name: str, members: set[str]) -> Iterator[str]:
    kind: Callable[[str], str] = Status if name.endswith("statuses") else Origin if name.endswith("origins") else str
    return (kind(one) for one in members)


def _time(value: str, place: int, now: dt.datetime) -> dt.datetime:
    try:
        time = dt.datetime.fromisoformat(value)
    except ValueError:
        raise Invalid(
            f"'{value}' (column {place}) is no time: write it as 2024-06-30 or 2024-06-30T14:00", field="filter"
        ) from None
    try:
        return time.astimezone(dt.UTC)
    except (OverflowError, ValueError, OSError):
        raise Invalid(f"'{value}' (column {place}) is outside the calendar", field="filter") from None


def _last(value: str, place: int, now: dt.datetime) -> dt.datetime:
    found = re.fullmatch(r"(\d{1,6})([mhdw])", value.lower())
    if not found:
        raise Invalid(f"'{value}' (column {place}) is no span: write it as 30m, 12h, 2d or 1w", field="filter")
    try:
        return now - dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise Invalid(f"'{value}' (column {place}) goes back beyond the calendar", field="filter") from None


def _workflow(value: str, place: int, now: dt.datetime) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise Invalid(f"'{value}' (column {place}) is no job's number", field="filter")
    return int(value)


_SINGLE: dict[str, Callable[[str, int, dt.datetime], object]] = {
    "since": _time,
    "until": _time,
    "last": _last,
    "workflow": _workflow,
}
