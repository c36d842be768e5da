"""Reading a report: its sources once each, with only what its panels need, and each panel's data reduced from them.

One bad panel never spoils the others: what is wrong with it is a sentence of its own.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from quarterdeck.errors import Conflict, Invalid
from quarterdeck.report.access import Access
from quarterdeck.report.checks import check
from quarterdeck.report.drawing import SHAPES, columns_read, drawn
from quarterdeck.report.held import Held
from quarterdeck.report.hints import hint
from quarterdeck.report.rows import as_stored, kinds, page_of, require, sorted_by
from quarterdeck.report.shapes import PanelData, Report, Rows
from quarterdeck.report.sources import Columns, Loaded, Picked, Wanted, load, needs, opened, pruned
from quarterdeck.report.template import CandlestickPanel, Choice, TablePanel, Template
from quarterdeck.results import By

__all__ = ["MAX_CHOICES", "Frames", "Picked", "read"]

MAX_CHOICES = 10_000
_KEEP_BYTES = 256_000_000
_FAULTS = (Invalid, Conflict, pl.exceptions.PolarsError, pa.ArrowException)

Values = Mapping[str, tuple[Any, ...]]


def read(template: Template, access: Access, choices: Mapping[str, Any] | None = None) -> Report:
    """All panels of a template. Raises as `Frames` and `Frames.read` do."""
    return Frames(template, access).read(choices)


class Frames:
    """Reads one report, again and again while its choices and its selection change.

    Blocking, and usable from several threads. Rows that were read are kept, up to 256 MB, until `refresh`.

    Raises:
        Invalid: the template does not fit together.
    """

    def __init__(self, template: Template, access: Access) -> None:
        self.template = check(template)
        self._access = access
        self._held = Held(_KEEP_BYTES)
        wanted: dict[str, Columns] = {}
        for panel in self.template.panels:
            if not isinstance(panel, TablePanel):
                named = frozenset(self.template.columns_of(panel))
                for source, names in columns_read(panel, named).items():
                    before = wanted.get(source, frozenset())
                    wanted[source] = None if before is None or names is None else before | names
        self._charts = needs(self.template, wanted)

    def refresh(self) -> None:
        """Forget the rows that were read, and which tables there are."""
        self._held.clear()
        self._access.refresh()

    def values(self, choice: str) -> list[Any]:
        """What a choice offers, ascending: texts, numbers, true and false, or times in UTC; at most 10,000, of times
        the latest.

        Raises:
            Invalid, NotFound: the template has no such choice, its table is not there or lacks the column.
            Disconnected, Refused: the database can't be reached, or gives no right to it.
        """
        found = next((one for one in self.template.choices if one.name == choice), None)
        if found is None:
            names = [one.name for one in self.template.choices]
            raise Invalid(f"the template has no choice '{choice}'{hint(choice, names)}", field=choice)
        every = self._offered(found)
        return list(every.tail(MAX_CHOICES) if isinstance(every.dtype, pl.Datetime) else every.head(MAX_CHOICES))

    def read(
        self,
        choices: Mapping[str, Any] | None = None,
        picked: Picked = Picked(),
        panels: Iterable[str] | None = None,
    ) -> Report:
        """The data of these panels, or of all.

        `choices`: a value or a list of values for each choice's name (None or an empty list: nothing); choices that are
        not named have their initial values. `picked` narrows the panels that follow.

        Raises:
            Invalid: there is no such choice or panel, or its values can't be used.
            Disconnected, Refused: the database can't be reached, or gives no right to it.
        """
        values, broken = self._given(choices or {})
        names = [panel.id for panel in self.template.panels] if panels is None else panels
        made = {name: self._panel(self._find(name), values, broken, picked) for name in names}
        return Report(panels=made, choices=dict(values))

    def page(
        self,
        panel: str,
        *,
        offset: int = 0,
        limit: int = 10,
        choices: Mapping[str, Any] | None = None,
        picked: Picked = Picked(),
        sort: By | None = None,
    ) -> pa.Table:
        """Rows of a table panel. Raises as `read` does, and Invalid also for what the panel would say."""
        one = self._find(panel)
        if not isinstance(one, TablePanel):
            raise Invalid(f"panel '{panel}' is no table", field="panel")
        if offset < 0 or limit < 0:
            raise Invalid("a page begins at 0 and has at least 0 rows", field="limit")
        values, _ = self._given(choices or {})
        return self._rows(one, values, _seen(one, picked), offset, limit, sort)[0]

    # --- choices ------------------------------------------------------------------------------------------------------

    def _given(self, choices: Mapping[str, Any]) -> tuple[dict[str, tuple[Any, ...]], dict[str, str]]:
        """The values of each choice, and what is wrong with those that have no values because their source fails."""
        known = [one.name for one in self.template.choices]
        for name in choices:
            if name not in known:
                raise Invalid(f"the template has no choice '{name}'{hint(name, known)}", field=name)
        values: dict[str, tuple[Any, ...]] = {}
        broken: dict[str, str] = {}
        for one in self.template.choices:
            if one.name in choices:
                values[one.name] = _listed(one, choices[one.name])
                continue
            try:
                values[one.name] = self._initial(one)
            except _FAULTS as error:
                values[one.name], broken[one.name] = (), _words(error)
        return values, broken

    def _initial(self, choice: Choice) -> tuple[Any, ...]:
        if choice.initial == "none":
            return ()
        offered = self._offered(choice)
        count = choice.count if choice.multiple else 1
        return tuple(offered.head(count) if choice.initial == "first" else offered.tail(count))

    def _offered(self, choice: Choice) -> pl.Series:
        return self._held.get(("values", choice.name), lambda: self._distinct(choice), _series_size)

    def _distinct(self, choice: Choice) -> pl.Series:
        needed = needs(self.template, {choice.source: frozenset([choice.column])})
        loaded = self._load(choice.source, {}, Picked(), needed, hold=False)
        return loaded.column(choice.column).drop_nulls().unique().sort()

    # --- sources ------------------------------------------------------------------------------------------------------

    def _load(
        self, name: str, values: Values, picked: Picked, needed: Mapping[str, Columns], *, hold: bool = True
    ) -> Loaded:
        source = self.template.sources[name]

        def made() -> Loaded:
            parent = None if source.source is None else self._load(source.source, values, picked, needed, hold=hold)
            return load(self.template, self._access, name, needed, self._wanted(name, values, picked), parent)

        if not hold:
            return made()
        key = self._key(name, values, picked, needed)
        return self._held.get(key, made, lambda one: int(one.frame.estimated_size()))

    def _key(self, name: str, values: Values, picked: Picked, needed: Mapping[str, Columns]) -> Any:
        chain = self._chain(name)
        wanted = tuple(self._wanted(one, values, picked).key for one in chain)
        return "rows", name, tuple(needed.get(one) for one in chain), wanted

    def _chain(self, name: str) -> list[str]:
        found = [name]
        while (parent := self.template.sources[found[-1]].source) is not None:
            found.append(parent)
        return found

    def _wanted(self, name: str, values: Values, picked: Picked) -> Wanted:
        chosen = []
        for choice in self._choices([name]):
            overridden = choice.column == "symbol" and bool(picked.symbols)
            if values.get(choice.name) and not overridden:
                chosen.append((choice, values[choice.name]))
        return Wanted(picked=picked, values=tuple(chosen))

    def _choices(self, sources: Iterable[str]) -> list[Choice]:
        named = {choice for source in sources for choice in self.template.sources[source].choices}
        return [one for one in self.template.choices if one.name in named]

    def _waiting(self, panel: Any, values: Values, broken: Mapping[str, str], picked: Picked) -> PanelData | None:
        """What the panel says while a choice that it needs is not made."""
        sources = self._chain(panel.source)
        if isinstance(panel, CandlestickPanel) and panel.options.signals is not None:
            sources += self._chain(panel.options.signals)
        missing = []
        for choice in self._choices(sources):
            if choice.name in broken:
                return SHAPES[panel.type](problem=_sentence(broken[choice.name]))
            overridden = choice.column == "symbol" and bool(picked.symbols)
            if choice.required and not values.get(choice.name) and not overridden:
                missing.append((choice.title or choice.name.replace("_", " ")).lower())
        if not missing:
            return None
        return SHAPES[panel.type](waiting=f"Choose {' and '.join(f'a value for {one}' for one in missing)}.")

    # --- panels -------------------------------------------------------------------------------------------------------

    def _find(self, name: str) -> Any:
        for panel in self.template.panels:
            if panel.id == name:
                return panel
        names = [panel.id for panel in self.template.panels]
        raise Invalid(f"the template has no panel '{name}'{hint(name, names)}", field="panel")

    def _panel(self, panel: Any, values: Values, broken: Mapping[str, str], picked: Picked) -> PanelData:
        seen = _seen(panel, picked)
        waiting = self._waiting(panel, values, broken, seen)
        if waiting is not None:
            return waiting
        try:
            with np.errstate(all="ignore"):
                if isinstance(panel, TablePanel):
                    return self._table(panel, values, seen)
                return self._chart(panel, values, seen)
        except _FAULTS as error:
            return SHAPES[panel.type](problem=_sentence(_words(error)))

    def _chart(self, panel: Any, values: Values, picked: Picked) -> PanelData:
        loaded = self._load(panel.source, values, picked, self._charts)
        signals = None
        if isinstance(panel, CandlestickPanel) and panel.options.signals is not None:
            signals = self._load(panel.options.signals, values, picked, self._charts)
        for name in self.template.columns_of(panel):
            loaded.require(name)
        if not loaded.frame.height:
            return SHAPES[panel.type](empty=self._no_rows(panel.source, loaded.name, values, picked))
        return drawn(panel, loaded, signals)

    def _no_rows(self, source: str, name: str, values: Values, picked: Picked) -> str:
        chain = self._chain(source)
        narrowed = any(values.get(choice.name) for choice in self._choices(chain)) or picked != Picked()
        if narrowed or any(self.template.sources[one].where for one in chain):
            return f"No rows of {name} fit the conditions, choices and selection."
        return _sentence(f"{name} has no rows")

    def _table(self, panel: TablePanel, values: Values, picked: Picked) -> Rows:
        first, rows, note, name = self._rows(panel, values, picked, 0, panel.options.rows, None)
        empty = "" if rows else self._no_rows(panel.source, name, values, picked)
        return Rows(rows=rows, note=note, empty=empty, columns=kinds(first), first=first)

    def _rows(
        self, panel: TablePanel, values: Values, picked: Picked, offset: int, limit: int, sort: By | None
    ) -> tuple[pa.Table, int, str, str]:
        """A page, how many rows there are, the note, and what to call the table."""
        names = panel.fields.columns
        wanted = self._wanted(panel.source, values, picked)
        if as_stored(self.template, panel):
            stored = opened(self._access, self.template.sources[panel.source])
            part, after = pruned(stored, wanted)
            if stored.paged and after is None:
                require(names, list(stored.columns), stored.name)
                # counted first, and once: the table in the order of the last page stays at hand
                rows = self._held.get(("count", panel.source, wanted.key), lambda: stored.count(part), lambda _: 100)
                return page_of(stored.page(part, offset, limit, sort), names), rows, "", stored.name
        needed = needs(self.template, {panel.source: frozenset(names) if names else None})
        loaded = self._load(panel.source, values, picked, needed)
        for name in names:
            loaded.require(name)
        frame = loaded.frame
        if sort is not None:
            key = ("order", sort, self._key(panel.source, values, picked, needed))
            frame = self._held.get(key, lambda: sorted_by(loaded, sort), lambda made: int(made.estimated_size()))
        return page_of(frame.slice(offset, limit).to_arrow(), names), frame.height, loaded.note, loaded.name


def _seen(panel: Any, picked: Picked) -> Picked:
    """What of the selection the panel follows; a row counts as its symbol."""
    follows = panel.links.follows
    times = "time" in follows
    symbols = picked.symbols if "symbol" in follows else ()
    if "row" in follows and picked.row:
        symbols = (picked.row,)
    return Picked(start=picked.start if times else None, end=picked.end if times else None, symbols=symbols)


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


def _words(error: Exception) -> str:
    if isinstance(error, Invalid | Conflict):
        return str(error)
    return f"its rows can't be computed: {str(error).strip().splitlines()[0][:200] if str(error).strip() else error!r}"


def _sentence(text: str) -> str:
    """With a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


def _series_size(values: pl.Series) -> int:
    return int(values.estimated_size())
