"""Reading a report: its sources once each, with only what its panels need, and each panel's data reduced from them.

One bad panel never spoils the others: what is wrong with it is a sentence of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from quarterdeck.errors import Invalid
from quarterdeck.report.access import Access, Extract, Stored
from quarterdeck.report.checks import check
from quarterdeck.report.drawing import SHAPES, columns_read, drawn
from quarterdeck.report.hints import hint
from quarterdeck.report.reader import FAULTS, Choices, Given, Reader, Values, overridden, words
from quarterdeck.report.rows import as_stored, kinds, page_of, require, sorted_by
from quarterdeck.report.shapes import PanelData, Report, Rows
from quarterdeck.report.sources import PLACE, Columns, Picked, Wanted, needs, places, pruned, times_of
from quarterdeck.report.template import CandlestickPanel, TablePanel, Template
from quarterdeck.results import By

__all__ = ["MAX_CHOICES", "Frames", "Picked", "read"]

MAX_CHOICES = 10_000
MAX_PLACES = 10_000_000
"""Rows of a table, at most, of which the places of the picked and sorted ones are kept."""


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
        self._reader = Reader(self.template, access)
        self._choices = Choices(self._reader)
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
        self._reader.refresh()

    def values(self, choice: str) -> list[Any]:
        """What a choice offers, ascending: texts, numbers, true and false, or times in UTC; at most 10,000, of times
        the latest.

        Raises:
            Invalid, NotFound: the template has no such choice, its table is not there or lacks the column.
            Disconnected, Refused: the database can't be reached, or gives no right to it.
        """
        every = self._choices.offered(self._choices.find(choice))
        return list(every.tail(MAX_CHOICES) if isinstance(every.dtype, pl.Datetime) else every.head(MAX_CHOICES))

    def read(
        self,
        choices: Mapping[str, Any] | None = None,
        picked: Picked = Picked(),
        panels: Iterable[str] | None = None,
    ) -> Report:
        """The data of these panels, or of all.

        `choices`: a value or a list of values for each choice's name (None or an empty list: nothing); choices that are
        not named have their initial values. `picked` narrows the panels that follow. `Report.choices` has what was
        picked for each; for those that no panel needed yet, nothing.

        Raises:
            Invalid: there is no such choice or panel, or its values can't be used.
            Disconnected, Refused: the database can't be reached, or gives no right to it.
        """
        chosen = [panel.id for panel in self.template.panels] if panels is None else list(panels)
        given = self._choices.given(choices or {}, self._sources(self._find(name) for name in chosen))
        made = {name: self._panel(self._find(name), given, picked) for name in chosen}
        return Report(panels=made, choices=dict(given.values))

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
        seen = _seen(one, picked)
        given = self._choices.given(choices or {}, self._sources([one])).under(seen)
        return self._rows(one, given.values, seen, offset, limit, sort)[0]

    def _find(self, name: str) -> Any:
        for panel in self.template.panels:
            if panel.id == name:
                return panel
        names = [panel.id for panel in self.template.panels]
        raise Invalid(f"the template has no panel '{name}'{hint(name, names)}", field="panel")

    def _sources(self, panels: Iterable[Any]) -> list[str]:
        """All sources that these panels need."""
        found: list[str] = []
        for panel in panels:
            found += self._reader.chain(panel.source)
            if isinstance(panel, CandlestickPanel) and panel.options.signals is not None:
                found += self._reader.chain(panel.options.signals)
        return found

    def _panel(self, panel: Any, given: Given, picked: Picked) -> PanelData:
        seen = _seen(panel, picked)
        given = given.under(seen)
        try:
            with np.errstate(all="ignore"):
                waiting = self._waiting(panel, given, seen)
                if waiting:
                    return SHAPES[panel.type](waiting=waiting)
                if isinstance(panel, TablePanel):
                    return self._table(panel, given.values, seen)
                return self._chart(panel, given.values, seen)
        except FAULTS as error:
            return SHAPES[panel.type](problem=_sentence(words(error)))

    def _waiting(self, panel: Any, given: Given, picked: Picked) -> str:
        """What the panel says while a choice that it needs is not made."""
        missing = []
        for choice in self._reader.choices(self._sources([panel])):
            if choice.name in given.broken:
                raise Invalid(given.broken[choice.name])
            made = given.values.get(choice.name) or choice.name in given.settled or overridden(choice, picked)
            if choice.required and not made and self._choices.needed(choice):
                missing.append((choice.title or choice.name.replace("_", " ")).lower())
        return f"Choose {' and '.join(f'a value for {one}' for one in missing)}." if missing else ""

    def _chart(self, panel: Any, values: Values, picked: Picked) -> PanelData:
        loaded = self._reader.load(panel.source, values, picked, self._charts)
        signals = None
        if isinstance(panel, CandlestickPanel) and panel.options.signals is not None:
            signals = self._reader.load(panel.options.signals, values, picked, self._charts)
        for name in self.template.columns_of(panel):
            if not (isinstance(panel, CandlestickPanel) and name == panel.fields.volume):
                loaded.require(name)
        if not loaded.frame.height:
            return SHAPES[panel.type](empty=self._no_rows(panel.source, loaded.name, values, picked))
        return drawn(panel, loaded, signals)

    def _no_rows(self, source: str, name: str, values: Values, picked: Picked) -> str:
        chain = self._reader.chain(source)
        narrowed = any(values.get(choice.name) for choice in self._reader.choices(chain)) or picked != Picked()
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
        reader = self._reader
        if as_stored(self.template, panel):
            stored = reader.stored(panel.source)
            if stored.paged:
                require(names, list(stored.columns), stored.name)
                found = self._stored_rows(panel.source, stored, values, picked, offset, limit, sort)
                if found is not None:
                    return page_of(found[0], names), found[1], "", stored.name
        needed = needs(self.template, {panel.source: frozenset(names) if names else None})
        loaded = reader.load(panel.source, values, picked, needed)
        for name in names:
            loaded.require(name)
        frame = loaded.frame
        if sort is not None:
            key = ("order", sort, reader.key(panel.source, values, picked, needed))
            frame = reader.held.get(key, lambda: sorted_by(loaded, sort), lambda made: int(made.estimated_size()))
        return page_of(frame.slice(offset, limit).to_arrow(), names), frame.height, loaded.note, loaded.name

    def _stored_rows(
        self, name: str, stored: Stored, values: Values, picked: Picked, offset: int, limit: int, sort: By | None
    ) -> tuple[pa.Table, int] | None:
        """A page of a table's own rows and how many there are; None where they must be read for that.

        Where rows are picked or sorted, only the columns for that are read of all rows, and of the page its blocks.
        """
        reader = self._reader
        wanted = reader.wanted(name, values, picked)
        rows = reader.held.get(("count", name), lambda: stored.count(Extract()), lambda _: 100)
        if sort is None and not wanted.values and picked == Picked():
            return stored.page(Extract(), offset, limit, None), rows
        if rows <= MAX_PLACES:
            at = reader.held.get(
                ("places", name, wanted.key, sort),
                lambda: self._places(name, stored, wanted, sort),
                lambda made: 0 if made is None else int(made.estimated_size()),
            )
            if at is not None:
                return stored.take(at.slice(offset, limit).to_list()), len(at)
        part, after = pruned(stored, wanted)
        if after is not None or any(choice.column not in ("symbol", "time") for choice, _ in wanted.values):
            return None
        many = reader.held.get(("count", name, wanted.key), lambda: stored.count(part), lambda _: 100)
        return stored.page(part, offset, limit, sort), many

    def _places(self, name: str, stored: Stored, wanted: Wanted, sort: By | None) -> pl.Series | None:
        """Where in the table the wanted rows are, in order; None where so much can't be held."""
        times = times_of(stored.columns)
        columns = {choice.column for choice, _ in wanted.values}
        columns |= {"symbol"} if wanted.picked.symbols else set()
        columns |= {times} if times is not None and wanted.picked != Picked() else set()
        columns |= {sort.column} if sort is not None else set()
        if sort is not None:
            require([sort.column], list(stored.columns), stored.name)
        loaded = self._reader.columns(name, columns)
        if loaded.note:
            return None
        found = places(loaded, stored.columns, wanted)
        if sort is not None:
            found = sorted_by(dataclasses.replace(loaded, frame=found), sort)
        return found[PLACE]


def _seen(panel: Any, picked: Picked) -> Picked:
    """What of the selection the panel follows; a row counts as its symbol."""
    follows = panel.links.follows
    times = "time" in follows
    symbols = picked.symbols if "symbol" in follows else ()
    if "row" in follows and picked.row:
        symbols = (picked.row,)
    return Picked(start=picked.start if times else None, end=picked.end if times else None, symbols=symbols)


def _sentence(text: str) -> str:
    """With a capital and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
