"""Reading a report: its sources once each, with only what its panels need, and each panel's data reduced from them.

One bad panel never spoils the others: what is wrong with it is a sentence of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from quarterdeck.errors import Invalid
from quarterdeck.report.access import Access
from quarterdeck.report.checks import check
from quarterdeck.report.drawing import SHAPES, columns_read, drawn
from quarterdeck.report.hints import hint
from quarterdeck.report.reader import FAULTS, Choices, Given, Reader, Values, overridden, words
from quarterdeck.report.rows import as_stored, kinds, page_of, require, sorted_by
from quarterdeck.report.shapes import PanelData, Report, Rows
from quarterdeck.report.sources import Columns, Picked, needs, pruned
from quarterdeck.report.template import CandlestickPanel, TablePanel, Template
from quarterdeck.results import By

__all__ = ["MAX_CHOICES", "Frames", "Picked", "read"]

MAX_CHOICES = 10_000


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
        not named have their initial values. `picked` narrows the panels that follow.

        Raises:
            Invalid: there is no such choice or panel, or its values can't be used.
            Disconnected, Refused: the database can't be reached, or gives no right to it.
        """
        given = self._choices.given(choices or {})
        names = [panel.id for panel in self.template.panels] if panels is None else panels
        made = {name: self._panel(self._find(name), given, picked) for name in names}
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
        return self._rows(one, self._choices.given(choices or {}).under(seen).values, seen, offset, limit, sort)[0]

    def _find(self, name: str) -> Any:
        for panel in self.template.panels:
            if panel.id == name:
                return panel
        names = [panel.id for panel in self.template.panels]
        raise Invalid(f"the template has no panel '{name}'{hint(name, names)}", field="panel")

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
        sources = self._reader.chain(panel.source)
        if isinstance(panel, CandlestickPanel) and panel.options.signals is not None:
            sources += self._reader.chain(panel.options.signals)
        missing = []
        for choice in self._reader.choices(sources):
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
        wanted = reader.wanted(panel.source, values, picked)
        if as_stored(self.template, panel):
            stored = reader.stored(panel.source)
            part, after = pruned(stored, wanted)
            if stored.paged and after is None:
                require(names, list(stored.columns), stored.name)
                # counted first, and once: the table in the order of the last page stays at hand
                rows = reader.held.get(("count", panel.source, wanted.key), lambda: stored.count(part), lambda _: 100)
                return page_of(stored.page(part, offset, limit, sort), names), rows, "", stored.name
        needed = needs(self.template, {panel.source: frozenset(names) if names else None})
        loaded = reader.load(panel.source, values, picked, needed)
        for name in names:
            loaded.require(name)
        frame = loaded.frame
        if sort is not None:
            key = ("order", sort, reader.key(panel.source, values, picked, needed))
            frame = reader.held.get(key, lambda: sorted_by(loaded, sort), lambda made: int(made.estimated_size()))
        return page_of(frame.slice(offset, limit).to_arrow(), names), frame.height, loaded.note, loaded.name


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
