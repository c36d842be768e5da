"""The filter line: `status:failed -creator:me node:n3 last:2d momentum` as a `Filter`, and back (M8, Y8).

    line   = term { blank term }
    term   = [ "-" ] ( key ":" value { "," value } | word | quoted )
    key    = status | creator | node | type | since | until | last | workflow
    quoted = '"' any text, a quote doubled '"'

A value of since and until is a time or a span (2d: two days ago), one of last is a span.

Words and quoted texts that are not negated are one text to look for, in their order; each negated one must not occur.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from quarterdeck.errors import Invalid
from quarterdeck.job import Origin, Status
from quarterdeck.query import Filter, close_match

__all__ = [
    "KEYS",
    "completions",
    "compose",
    "named",
    "parse",
    "read_origin",
    "read_span",
    "read_status",
    "read_time",
    "revise",
]

KEYS = ("status", "creator", "node", "type", "since", "until", "last", "workflow")

_TERM = re.compile(r'(?P<minus>-?)(?:(?P<key>[A-Za-z_]+):)?(?P<value>(?:"(?:[^"]|"")*"|[^\s"])*)')
_SPAN = re.compile(r"(\d{1,6})\s*([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SETS = {"status": "statuses", "creator": "creators", "node": "nodes", "type": "origins"}


class _Term(NamedTuple):
    """A term of a line: its first column (from 1), where it ends, and what it says."""

    place: int
    end: int
    minus: bool
    key: str | None
    values: list[str]


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
    for term in _terms(line):
        place, minus, key, values = term.place, term.minus, term.key, term.values
        where = f" (column {place})"
        if key is None:
            (absent if minus else words).append(values[0])
        elif key in _SETS:
            name = ("not_" if minus else "") + _SETS[key]
            sets.setdefault(name, set()).update(_member(key, one, where, me) for one in values)
        else:
            field = "since" if key == "last" else "workflow_id" if key == "workflow" else key
            if minus:
                raise Invalid(f"'{key}' at column {place} can't be negated", field="filter")
            if len(values) > 1:
                raise Invalid(f"'{key}' at column {place} takes one value", field="filter")
            if field in single:
                raise Invalid(f"the line has a second '{key}' at column {place}: keep one", field="filter")
            single[field] = _single(key, values[0], where, now)
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


def _terms(line: str) -> Iterator[_Term]:
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
        yield _Term(at + 1, end, bool(found["minus"]), key, values)
        at = end


def _split(text: str) -> list[str]:
    return re.findall(r'(?:^|(?<=,))((?:"(?:[^"]|"")*"|[^,"])*)', text)


def _plain(text: str) -> str:
    return re.sub(r'"((?:[^"]|"")*)"', lambda quoted: quoted[1].replace('""', '"'), text)


def _quoted(text: str, special: str) -> str:
    if text and not re.search(rf'[\s"{special}]', text) and not text.startswith("-"):
        return text
    return '"' + text.replace('"', '""') + '"'


def read_status(value: str, where: str = "") -> Status:
    """The status of that name, title or beginning; `where` is put into the sentence that says that there is none.

    Raises:
        Invalid: there is none, or several begin so.
    """
    return Status(_one_of("status", value, {one.value: one.title for one in Status}, where))


def read_origin(value: str, where: str = "") -> Origin:
    """The type of that name, title or beginning; else as `read_status`."""
    return Origin(_one_of("type", value, {one.value: one.title for one in Origin}, where))


def read_time(value: str, now: dt.datetime, where: str = "") -> dt.datetime:
    """A time of ISO 8601 (local if it names no zone), or a span before `now`: 30m, 12h, 2d, 1w.

    Raises:
        Invalid: it is neither, or outside the calendar.
    """
    if _SPAN.fullmatch(value.strip().lower()):
        return read_span(value, now, where)
    try:
        time = dt.datetime.fromisoformat(value.strip())
    except ValueError:
        raise Invalid(
            f"'{value}'{where} is no time: write 2d, 3h, 30m, 2024-06-30 or 2024-06-30T14:00", field="filter"
        ) from None
    try:
        return time.astimezone(dt.UTC)
    except (OverflowError, ValueError, OSError):
        raise Invalid(f"'{value}'{where} is outside the calendar", field="filter") from None


def read_span(value: str, now: dt.datetime, where: str = "") -> dt.datetime:
    """When a span before `now` began: 30m, 12h, 2d, 1w.

    Raises:
        Invalid: it is no span, or begins before the calendar.
    """
    found = _SPAN.fullmatch(value.strip().lower())
    if not found:
        raise Invalid(f"'{value}'{where} is no span: write it as 30m, 12h, 2d or 1w", field="filter")
    try:
        return now - dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        raise Invalid(f"'{value}'{where} lies too far back, beyond the calendar", field="filter") from None


def revise(line: str, terms: Mapping[str, Collection[str]]) -> str:
    """The line with other values for some keys, none for those without values; all else stays as it was written.

    A key's negated terms stay, too.

    Raises:
        Invalid: a quote of the line is not closed, or a term is none.
    """
    kept: list[str] = []
    place: int | None = None
    for term in _terms(line):
        if term.key in terms and not term.minus:
            place = len(kept) if place is None else place
        else:
            kept.append(line[term.place - 1 : term.end])
    new = [f"{key}:{','.join(_quoted(one, ',') for one in sorted(values))}" for key, values in terms.items() if values]
    at = len(kept) if place is None else place
    return " ".join([*kept[:at], *new, *kept[at:]])


def named(line: str) -> dict[str, list[str]]:
    """The keys that a line names without negation, with their values as they are written.

    Raises:
        Invalid: as `revise`.
    """
    found: dict[str, list[str]] = {}
    for term in _terms(line):
        if term.key is not None and not term.minus:
            found.setdefault(term.key, []).extend(term.values)
    return found


def completions(line: str, cursor: int, values: Mapping[str, Collection[str]]) -> tuple[int, list[str]]:
    """What may follow at the cursor: where the word that is being written begins, and what may stand for it.

    `values` are the known creators and nodes by key; statuses, types and spans are known here.
    """
    begin = cursor
    while begin > 0 and not line[begin - 1].isspace():
        begin -= 1
    word = line[begin:cursor].lstrip("-")
    begin = cursor - len(word)
    key, colon, value = word.partition(":")
    if not colon:
        return begin, [f"{one}:" for one in KEYS if word and one.startswith(word.lower())]
    begin, value = cursor - len(value.rpartition(",")[2]), value.rpartition(",")[2]
    own: dict[str, Collection[str]] = {"status": list(Status), "type": list(Origin), "last": ("1h", "1d", "1w", "30d")}
    known = own.get(key.lower(), values.get(key.lower(), ()))
    found = [str(one) for one in known if str(one).lower().startswith(value.lower()) and str(one) != value]
    return begin, [_quoted(one, ",") for one in found]


def _one_of(key: str, value: str, titles: Mapping[str, str], where: str) -> str:
    asked = re.sub(r"[ -]+", "_", value.strip().lower())
    names = {title.lower().replace(" ", "_"): word for word, title in titles.items()} | {word: word for word in titles}
    found = {names[asked]} if asked in names else {word for name, word in names.items() if name.startswith(asked)}
    if len(found) != 1:
        raise Invalid(f"there is no {key} '{value}'{where}{close_match(asked, list(titles))}", field="filter")
    return found.pop()


def _workflow(value: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise Invalid(f"'{value}'{where} is no job's number", field="filter")
    return int(value)


def _member(key: str, value: str, where: str, me: str) -> str:
    if key == "creator":
        return me if value.lower() == "me" and me else value
    if key == "node":
        return value
    return read_status(value, where) if key == "status" else read_origin(value, where)


def _typed(name: str, members: set[str]) -> Iterator[str]:
    kind: Callable[[str], str] = Status if name.endswith("statuses") else Origin if name.endswith("origins") else str
    return (kind(one) for one in members)


def _single(key: str, value: str, where: str, now: dt.datetime) -> object:
    match key:
        case "workflow":
            return _workflow(value, where)
        case "last":
            return read_span(value, now, where)
        case _:
            return read_time(value, now, where)
