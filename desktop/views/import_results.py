"""What an import read, wrote and rejected: in total, per file, and what the table is now made of (D1)."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from desktop.bridge import Bridge
from desktop.models.details import JobDetails
from desktop.theme import styled
from desktop.views.data_table import DataTable
from desktop.views.run_template import facts_grid
from desktop.views.section import SectionView
from quarterdeck.client import Client
from quarterdeck.errors import QuarterdeckError
from quarterdeck.job import Details, Status, TableInfo
from quarterdeck.kinds import Section

__all__ = ["ImportResults", "type_words"]

_TYPES = {
    "string": "text",
    "large_string": "text",
    "double": "number",
    "float": "number, single precision",
    "bool": "yes or no",
    "date32[day]": "day",
}
_SYMBOLS = 30


def type_words(kind: str) -> str:
    """An Arrow type in words."""
    if kind.startswith("timestamp"):
        unit, _, zone = kind.removeprefix("timestamp[").rstrip("]").partition(", tz=")
        fine = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}.get(unit, unit)
        return f"time, {zone or 'no zone'}, {fine}"
    if kind.startswith(("int", "uint")):
        return "whole number"
    return _TYPES.get(kind, "text" if kind.startswith("dictionary") else kind)


def _time_words(text: str | None) -> str:
    if not text:
        return "–"
    time = dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    return time.strftime("%Y-%m-%d %H:%M:%S").removesuffix(" 00:00:00")


class Card(QFrame):
    """One figure and what it counts."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.setObjectName("card")
        self.figure = styled(QLabel(textFormat=Qt.TextFormat.PlainText), name="figure")
        self.figure.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.title = title
        rows = QVBoxLayout(self)
        rows.setContentsMargins(14, 9, 14, 10)
        rows.setSpacing(2)
        rows.addWidget(styled(QLabel(title), name="small"))
        rows.addWidget(self.figure)

    def show_figure(self, words: str, bad: bool = False) -> None:
        self.figure.setText(words)
        self.figure.setAccessibleName(f"{self.title}: {words}")
        if self.figure.property("bad") != bad:
            self.figure.setProperty("bad", bad)
            self.figure.style().polish(self.figure)


class ImportResults(SectionView):
    """Cards of totals, files, columns and symbols; rejected lines and preview are sections of their own."""

    def __init__(self, section: Section, job: JobDetails, client: Client, bridge: Bridge) -> None:
        super().__init__(section, job, client, bridge)
        self.report: dict[str, Any] = {}
        self.files: DataTable | None = None
        self.cards = {name: Card(name) for name in ("Rows read", "Written", "Rejected", "Symbols", "Times (UTC)")}
        self.nothing = styled(QLabel(alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True), name="muted")
        self.nothing.setContentsMargins(24, 12, 24, 12)
        self.rejected = styled(QPushButton(), name="link")
        self.all_symbols = styled(QPushButton(), name="link")
        self.preview = styled(QPushButton("Preview of the first rows"), name="link")
        self._place = QVBoxLayout()
        self._shape = QVBoxLayout()
        self._asked: int | None = None
        self._built: Any = None
        for button, title in (
            (self.rejected, "Rejected Lines"),
            (self.all_symbols, "Symbols"),
            (self.preview, "Preview"),
        ):
            button.clicked.connect(lambda checked=False, title=title: self.wanted.emit(title))
        self._lay_out()

    def _lay_out(self) -> None:
        inside = QWidget()
        rows = QVBoxLayout(inside)
        rows.setContentsMargins(20, 16, 20, 16)
        rows.setSpacing(12)
        cards = QHBoxLayout()
        cards.setSpacing(10)
        for card in self.cards.values():
            cards.addWidget(card)
        cards.addStretch()
        rows.addLayout(cards)
        links = QHBoxLayout()
        links.setSpacing(18)
        links.addWidget(self.rejected)
        links.addWidget(self.preview)
        links.addStretch()
        rows.addLayout(links)
        rows.addLayout(self._place)
        rows.addLayout(self._shape)
        rows.addStretch()
        area = QScrollArea(widgetResizable=True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAsNeeded)
        area.setWidget(inside)
        place = QWidget()
        self._stack = QStackedLayout(place)
        self._stack.addWidget(self.nothing)
        self._stack.addWidget(area)
        self.rows.addWidget(place, 1)

    def show_details(self, details: Details) -> None:
        tables = {one.name: one for one in details.tables if one.complete}
        report = tables.get("report")
        if report is None:
            self.nothing.setText(self._waiting(details))
            self._stack.setCurrentIndex(0)
            return
        if report.id != self._asked:
            self._asked = report.id
            self.bridge.latest(self, "report", self._read(report.id))
        elif self.report:
            self._build(details)

    @staticmethod
    def _waiting(details: Details) -> str:
        job = details.job
        match job.status:
            case Status.QUEUED:
                return "The import has not begun."
            case Status.IN_PROGRESS:
                share = f" {job.progress:.0%}" if job.progress else ""
                return f"{(job.message or 'importing').capitalize()}…{share}\nThe results stand here at the end."
            case Status.SUCCESS:
                return "This import kept no report."
            case _:
                return "Nothing was imported: the sentence above says why, the execution log what came before."

    async def _read(self, table: int) -> None:
        try:
            page = await self.bridge.call(self.client.page, table, limit=1)
        except QuarterdeckError as error:
            self._asked = None
            self.nothing.setText(str(error))
            return
        self.report = json.loads(page.column("report")[0].as_py())
        if self.job.details is not None:
            self._build(self.job.details)

    def _build(self, details: Details) -> None:
        tables = {one.name: one for one in details.tables if one.complete}
        done = details.job.status
        if (key := (self._asked, done, tables.keys())) == self._built:
            return
        self._built = key
        report = self.report
        rejected = report["rows_rejected"]
        self.cards["Rows read"].show_figure(f"{report['rows_read']:,}")
        self.cards["Written"].show_figure(f"{report['rows_written']:,}")
        self.cards["Rejected"].show_figure(f"{rejected:,}", rejected > 0)
        self.cards["Symbols"].show_figure(f"{report['symbols']:,}")
        first, last = _time_words(report["first_time"]), _time_words(report["last_time"])
        self.cards["Times (UTC)"].show_figure(first if first == last else f"{first} – {last}")
        remarks = tables["rejects"].rows if "rejects" in tables else 0
        self.rejected.setText(self._rejected_words(rejected, remarks))
        self.rejected.setVisible(remarks > 0)
        self.preview.setVisible("preview" in tables)
        if self.files is None and "files" in tables:
            self.files = self._files(tables["files"])
            self._place.addWidget(self.files)
        self._show_shape(details, tables)
        self._stack.setCurrentIndex(1)

    @staticmethod
    def _rejected_words(rejected: int, remarks: int) -> str:
        lines = f"{rejected:,} rejected line{'' if rejected == 1 else 's'}, each with its number and reason"
        others = remarks - rejected
        if others <= 0:
            return lines
        changed = f"{others:,} remark{'' if others == 1 else 's'} on lines that were changed"
        return changed if not rejected else f"{lines}; {changed}"

    def _files(self, info: TableInfo) -> DataTable:
        return DataTable(info, self.client, self.bridge, self.job.tell, size=10, title="Files", compact=True)

    def _show_shape(self, details: Details, tables: dict[str, TableInfo]) -> None:
        while (item := self._shape.takeAt(0)) is not None:
            if (widget := item.widget()) is not None and widget is not self.all_symbols:
                widget.deleteLater()
        sources = self.report.get("sources", {})
        columns = tables["data"].columns if "data" in tables else tuple(self.report["columns"].items())
        facts = [
            (
                name,
                type_words(kind) + (f" — “{sources[name]}” in the source" if sources.get(name, name) != name else ""),
            )
            for name, kind in columns
        ]
        table = details.params.get("table", details.job.name)
        mode = {"append": "added to", "replace": "replaced"}.get(details.params.get("mode", ""), "made new")
        if details.params.get("register"):
            mode = "by reference: the files stay where they are"
        written = details.job.status is Status.SUCCESS
        title = f"Columns of the table “{table}” ({mode})" if written else f"Columns; the table “{table}” is unchanged"
        self._shape.addSpacing(4)
        self._shape.addWidget(styled(QLabel(title, textFormat=Qt.TextFormat.PlainText), name="subheading"))
        self._shape.addWidget(facts_grid(facts, "Columns"))
        names, count = self.report["first_symbols"], self.report["symbols"]
        if names:
            more = f" and {count - len(names[:_SYMBOLS]):,} more" if count > len(names[:_SYMBOLS]) else ""
            self._shape.addSpacing(8)
            self._shape.addWidget(styled(QLabel("Symbols"), name="subheading"))
            self._shape.addWidget(facts_grid([(f"{count:,}", ", ".join(names[:_SYMBOLS]) + more)], "Symbols"))
            if "symbols" in tables:
                self.all_symbols.setText("All symbols, with their rows and times")
                self._shape.addWidget(self.all_symbols, 0, Qt.AlignmentFlag.AlignLeft)
                self.all_symbols.show()
