"""The sources of one report as they are read, each part once, and the values of its choices."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from quarterdeck.errors import Conflict, Invalid
from quarterdeck.report.access import Access, Extract, Stored
from quarterdeck.report.held import Held
from quarterdeck.report.hints import hint
from quarterdeck.report.rows import rows_as_stored
from quarterdeck.report.sources import Columns, Loaded, Picked, Wanted, load, matching, needs, opened
from quarterdeck.report.template import Choice, Template

__all__ = ["FAULTS", "Choices", "Given", "Reader", "Values", "overridden", "words"]

FAULTS = (Invalid, Conflict, pl.exceptions.PolarsError, pa.ArrowException)
"""What is a panel's own trouble, said in its place; all else is everybody's."""
_KEEP_BYTES = 256_000_000

Values = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Given:
    """The values of each choice. `broken`: what is wrong with those that have none because their source fails.

    `automatic`: those that a long table began with, which nobody picked; `settled`: those that needn't be made.
    """

    values: Values
    broken: Mapping[str, str]
    automatic: frozenset[str] = frozenset()
    settled: frozenset[str] = frozenset()

    def under(self, picked: Picked) -> Given:
        """The same under a selection: a span of times takes the place of what was picked automatically."""
        if picked.start is None and picked.end is None:
            return self
        kept = {name: () if name in self.automatic else values for name, values in self.values.items()}
        return dataclasses.replace(self, values=kept, settled=self.automatic)


class Reader:
    """Reads the sources of a template. Rows that were read are kept, up to 256 MB, until `refresh`."""

    def __init__(self, template: Template, access: Access) -> None:
        self.template = template
        self.held = Held(_KEEP_BYTES)
        self._access = access

    def refresh(self) -> None:
        """Forget the rows, and which tables there are."""
        self.held.clear()
        self._access.refresh()

    def stored(self, name: str) -> Stored:
        """The table that a source reads."""
        return opened(self._access, self.template.sources[name])

    def load(
        self, name: str, values: Values, picked: Picked, needed: Mapping[str, Columns], *, hold: bool = True
    ) -> Loaded:
        """The rows of a source with these values of its choices."""
        source = self.template.sources[name]

        def made() -> Loaded:
            parent = None if source.source is None else self.load(source.source, values, picked, needed, hold=hold)
            return load(self.template, self._access, name, needed, self.wanted(name, values, picked), parent)

        if not hold:
            return made()
        return self.held.get(self.key(name, values, picked, needed), made, lambda one: int(one.frame.estimated_size()))

    def columns(self, name: str, wanted: Iterable[str]) -> Loaded:
        """These columns of all rows of a source that has its table's rows; each is read once, whatever source needs it.

        Those that the table lacks are not in the frame.
        """
        source, wanted = self.template.sources[name], set(wanted)
        table = (source.table, source.dataset, source.job, source.task)
        kinds = self.stored(name).columns
        found: dict[str, pl.Series] = {}
        wanted = wanted & kinds.keys() or set(list(kinds)[:1])  # rows without columns can't be counted
        for column in wanted:
            held = self.held.find(("column", table, column))
            if isinstance(held, pl.Series):
                found[column] = held
        if missing := frozenset(wanted - found.keys()):
            loaded = self.load(name, {}, Picked(), {name: missing}, hold=False)
            for series in loaded.frame.get_columns():
                found[series.name] = series
                if not loaded.note:
                    self._keep(("column", table, series.name), series)
            if loaded.note:  # so many rows that they are not all here: none of those at hand fit beside them
                return loaded
        return Loaded(frame=pl.DataFrame(found), columns=frozenset(kinds), name=self.stored(name).name)

    def _keep(self, key: Any, series: pl.Series) -> None:
        self.held.get(key, lambda: series, lambda made: int(made.estimated_size()))

    def key(self, name: str, values: Values, picked: Picked, needed: Mapping[str, Columns]) -> Any:
        """What tells these rows from others."""
        chain = self.chain(name)
        wanted = tuple(self.wanted(one, values, picked).key for one in chain)
        return "rows", name, tuple(needed.get(one) for one in chain), wanted

    def chain(self, name: str) -> list[str]:
        """The source and those that it reads, down to a table's."""
        found = [name]
        while (parent := self.template.sources[found[-1]].source) is not None:
            found.append(parent)
        return found

    def wanted(self, name: str, values: Values, picked: Picked) -> Wanted:
        """The part of a source's rows."""
        chosen = [
            (choice, values[choice.name])
            for choice in self.choices([name])
            if values.get(choice.name) and not overridden(choice, picked)
        ]
        return Wanted(picked=picked, values=tuple(chosen))

    def choices(self, sources: Iterable[str]) -> list[Choice]:
        """The choices of these sources."""
        named = {choice for source in sources for choice in self.template.sources[source].choices}
        return [one for one in self.template.choices if one.name in named]


def overridden(choice: Choice, picked: Picked) -> bool:
    """Whether the selection takes the choice's place: a symbol that of one by symbol, a span that of one by time."""
    if choice.day or choice.column == "time":
        return picked.start is not None or picked.end is not None
    return choice.column == "symbol" and bool(picked.symbols)


class Choices:
    """The choices of a template: what they offer, what they begin with, whether they must be made."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._choices = reader.template.choices
        self._begun: set[str] = set()

    def find(self, name: str) -> Choice:
        """The choice of that name. Raises `Invalid`."""
        for one in self._choices:
            if one.name == name:
                return one
        raise Invalid(f"the template has no choice '{name}'{hint(name, self._names())}", field=name)

    def offered(self, choice: Choice, among: tuple[tuple[Choice, tuple[Any, ...]], ...] = ()) -> pl.Series:
        """The different values, ascending, in rows that have those values of other choices of the same source."""
        key = ("values", choice.name, tuple((one.name, values) for one, values in among))
        return self._reader.held.get(
            key, lambda: self._distinct(choice, among), lambda made: int(made.estimated_size())
        )

    def needed(self, choice: Choice) -> bool:
        """Whether the choice's source has so many rows that a value must be picked."""
        if choice.beyond is None:
            return True
        held = self._reader.held
        return held.get(("rows of", choice.source), lambda: self._count(choice.source), lambda _: 100) > choice.beyond

    def given(self, choices: Mapping[str, Any], sources: Iterable[str]) -> Given:
        """The values that were picked, and initial ones for the others that these sources need or needed before.

        Raises:
            Invalid: there is no such choice, or its values can't be used.
        """
        for name in choices:
            self.find(name)
        values: dict[str, tuple[Any, ...]] = {}
        broken: dict[str, str] = {}
        needed = {one.name for one in self._reader.choices(sources)}
        needed |= {one.name for choice in self._choices if choice.name in needed for one in self._earlier(choice)}
        self._begun |= needed
        automatic = {one.name for one in self._choices if one.beyond is not None and one.name not in choices}
        for one in self._choices:
            if one.name in choices:
                values[one.name] = _listed(one, choices[one.name])
                continue
            if one.name not in self._begun:
                values[one.name] = ()
                continue
            try:
                values[one.name] = self._initial(one, values)
            except FAULTS as error:
                values[one.name], broken[one.name] = (), words(error)
        return Given(values=values, broken=broken, automatic=frozenset(name for name in automatic if values[name]))

    def _names(self) -> list[str]:
        return [one.name for one in self._choices]

    def _initial(self, choice: Choice, made: Values) -> tuple[Any, ...]:
        if choice.initial == "none" or not self.needed(choice):
            return ()
        offered = self.offered(choice, self._before(choice, made))
        if offered.is_empty():
            offered = self.offered(choice)
        count = choice.count if choice.multiple else 1
        return tuple(offered.head(count) if choice.initial == "first" else offered.tail(count))

    def _before(self, choice: Choice, made: Values) -> tuple[tuple[Choice, tuple[Any, ...]], ...]:
        return tuple((one, made[one.name]) for one in self._earlier(choice) if made.get(one.name))

    def _earlier(self, choice: Choice) -> list[Choice]:
        """The choices with whose values this one's automatic value goes."""
        if choice.beyond is None:
            return []
        others = self._choices[: self._choices.index(choice)]
        return [one for one in others if one.source == choice.source and one.beyond is not None]

    def _count(self, name: str) -> int:
        reader = self._reader
        if rows_as_stored(reader.template.sources[name]):
            return reader.stored(name).count(Extract())
        return reader.load(name, {}, Picked(), needs(reader.template, {name: frozenset()}), hold=False).frame.height

    def _distinct(self, choice: Choice, among: tuple[tuple[Choice, tuple[Any, ...]], ...]) -> pl.Series:
        reader = self._reader
        if rows_as_stored(reader.template.sources[choice.source]):
            # of long tables the others will be asked for, too
            others = [one.column for one in self._choices if one.source == choice.source and one.beyond is not None]
            loaded = reader.columns(choice.source, [choice.column, *others])
        else:
            columns = frozenset([choice.column, *(one.column for one, _ in among)])
            needed = needs(reader.template, {choice.source: columns})
            loaded = reader.load(choice.source, {}, Picked(), needed, hold=False)
        loaded = dataclasses.replace(loaded, frame=matching(loaded.frame, loaded.columns, among, loaded.name))
        column = loaded.column(choice.column)
        if choice.day:
            if not isinstance(column.dtype, pl.Datetime):
                raise Invalid(f"choice '{choice.name}' picks days, and '{choice.column}' of {loaded.name} has no times")
            column = column.dt.truncate("1d")
        return column.drop_nulls().unique().sort()


def _listed(choice: Choice, given: Any) -> tuple[Any, ...]:
    values = () if given is None else tuple(given) if isinstance(given, list | tuple | set | frozenset) else (given,)
    for value in values:
        if not isinstance(value, str | int | float | dt.date):
            raise Invalid(
                f"choice '{choice.name}' takes texts, numbers and times, not {type(value).__name__}", field=choice.name
            )
    if len(values) > 1 and not choice.multiple:
        raise Invalid(f"choice '{choice.name}' takes one value, not {len(values)}", field=choice.name)
    return values


def words(error: Exception) -> str:
    """A fault as a sentence."""
    if isinstance(error, Invalid | Conflict):
        return str(error)
    lines = str(error).strip().splitlines()
    return f"its rows can't be computed: {lines[0][:200] if lines else type(error).__name__}"
