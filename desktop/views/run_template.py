"""What a run was made of: code or formula, the table it read, versions, and the configuration as it was run (F1)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QPlainTextEdit, QScrollArea, QVBoxLayout, QWidget

from desktop.bridge import Bridge
from desktop.models.details import JobDetails
from desktop.theme import monospaced, styled
from desktop.views.section import SectionView
from quarterdeck.client import Client
from quarterdeck.columns import time_text
from quarterdeck.errors import QuarterdeckError
from quarterdeck.job import Details
from quarterdeck.kinds import KINDS, Section

__all__ = ["Template", "facts_grid", "ordered"]


_LINES = 30
_NAMES = {"python": "Python", "quarterdeck": "Quarterdeck", "system": "System"}


def ordered(kind: str, params: dict[str, Any]) -> list[tuple[str, Any]]:
    """Parameters in the kind's own order: the database keeps none."""
    model = next((one.params for one in KINDS if one.key == kind), None)
    names = [info.alias or name for name, info in model.model_fields.items()] if model is not None else []
    order = {name: place for place, name in enumerate(names)}
    return sorted(params.items(), key=lambda item: order.get(item[0], len(order)))


def facts_grid(facts: list[tuple[str, str]], name: str) -> QFrame:
    """Names and values below each other; the values can be selected."""
    frame = styled(QFrame(), "card", called=name)
    grid = QGridLayout(frame)
    grid.setContentsMargins(14, 10, 14, 10)
    grid.setHorizontalSpacing(20)
    grid.setVerticalSpacing(5)
    grid.setColumnStretch(1, 1)
    for row, (title, value) in enumerate(facts):
        key = styled(QLabel(title, textFormat=Qt.TextFormat.PlainText), name="muted")
        words = QLabel(value, textFormat=Qt.TextFormat.PlainText, wordWrap=True)
        words.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        words.setAccessibleName(title)
        grid.addWidget(key, row, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(words, row, 1)
    return frame


def _is_code(name: str, value: Any) -> bool:
    return isinstance(value, str) and ("\n" in value or name in {"code", "formula", "query"})


class Template(SectionView):
    """The code or formula, the table read, the versions, and the configuration."""

    def __init__(self, section: Section, job: JobDetails, client: Client, bridge: Bridge) -> None:
        super().__init__(section, job, client, bridge)
        self.area = QScrollArea(widgetResizable=True)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.rows.addWidget(self.area)
        self.versions: dict[str, str] = {}
        self._shown: Any = None
        self._asked: int | None = None

    def show_details(self, details: Details) -> None:
        table = next((one for one in details.tables if one.name == "environment" and one.complete), None)
        if table is not None and table.id != self._asked:
            self._asked = table.id
            self.bridge.latest(self, "versions", self._read(table.id))
        self._build(details)

    async def _read(self, table: int) -> None:
        try:
            found = await self.bridge.call(self.client.page, table, limit=100)
        except QuarterdeckError:
            self._asked = None
            return
        self.versions = dict(zip(found.column("item").to_pylist(), found.column("value").to_pylist(), strict=True))
        if self.job.details is not None:
            self._build(self.job.details)

    def _build(self, details: Details) -> None:
        wanted = (details.params, details.template, self.versions)
        if wanted == self._shown:
            return
        self._shown = (details.params, details.template, dict(self.versions))
        inside = QWidget()
        rows = QVBoxLayout(inside)
        rows.setContentsMargins(20, 16, 20, 16)
        rows.setSpacing(6)
        for title, text, note in self._texts(details):
            rows.addWidget(styled(QLabel(title, textFormat=Qt.TextFormat.PlainText), name="subheading"))
            rows.addWidget(self._code(text, title))
            if note:
                words = styled(QLabel(note, textFormat=Qt.TextFormat.PlainText), name="small")
                words.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
                rows.addWidget(words)
            rows.addSpacing(10)
        for title, facts in (("Table Read", self._table(details)), ("Versions", self._versions(details))):
            if facts:
                rows.addWidget(styled(QLabel(title), name="subheading"))
                rows.addWidget(facts_grid(facts, title))
                rows.addSpacing(10)
        rows.addWidget(styled(QLabel("Configuration as It Was Run"), name="subheading"))
        short = {
            name: value
            for name, value in ordered(details.job.kind, details.params)
            if value is not None and not _is_code(name, value)
        }
        rows.addWidget(self._code(json.dumps(short, indent=2, ensure_ascii=False), "Configuration"))
        rows.addStretch()
        place = self.area.verticalScrollBar().value()
        self.area.setWidget(inside)
        self.area.verticalScrollBar().setValue(place)

    @staticmethod
    def _texts(details: Details) -> Iterator[tuple[str, str, str]]:
        listed = details.template.get("factors")
        hashes = {one.get("name"): one.get("sha256", "") for one in listed} if isinstance(listed, list) else {}

        def walk(owner: str, value: Any) -> Iterator[tuple[str, str, str]]:
            if isinstance(value, dict):
                name = value.get("name")
                here = name if isinstance(name, str) else owner
                for key, one in value.items():
                    if _is_code(key, one):
                        title = " · ".join(part for part in (owner and here, key.capitalize()) if part)
                        note = f"SHA-256 {hashes[here]}" if hashes.get(here) else ""
                        yield title, one, note
                    else:
                        yield from walk(owner, one)
            elif isinstance(value, list):
                for one in value:
                    yield from walk(" ", one)

        yield from walk("", details.params)

    @staticmethod
    def _table(details: Details) -> list[tuple[str, str]]:
        table = details.template.get("table")
        if not isinstance(table, dict):
            return []
        facts = [("Table", f"{table.get('name')} of {table.get('creator')}")]
        if table.get("synthetic"):
            facts.append(("Data", "made up (synthetic)"))
        facts.append(("Columns", ", ".join(map(str, table.get("columns") or ()))))
        if table.get("folder"):
            facts.append(("Read from", str(table["folder"])))
        else:
            facts.append(("Rows", f"{table.get('rows', 0):,}"))
        first, last = _day(table.get("first_time")), _day(table.get("last_time"))
        if first and last:
            facts.append(("Times", f"{first} – {last} (UTC)"))
        facts.append(("As of", f"{_local(table.get('updated'))}, import job {table.get('import_job') or '(deleted)'}"))
        return [(title, words) for title, words in facts if words]

    def _versions(self, details: Details) -> list[tuple[str, str]]:
        found = dict(self.versions)
        submitted = details.template.get("quarterdeck")
        if submitted and not found:
            found["quarterdeck"] = f"{submitted} (when it was started)"
        return [(_NAMES.get(name, name), value) for name, value in found.items()]

    @staticmethod
    def _code(text: str, name: str) -> QPlainTextEdit:
        editor = styled(QPlainTextEdit(text.rstrip("\n"), readOnly=True), name="code", called=name)
        editor.setFont(monospaced(13))
        editor.setTabChangesFocus(True)
        editor.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        lines = max(1, text.rstrip("\n").count("\n") + 1)
        if lines <= _LINES:
            editor.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        longest = max(map(len, text.splitlines()), default=0) > 110
        bar = editor.horizontalScrollBar().sizeHint().height() if longest else 0
        editor.setFixedHeight(min(lines, _LINES) * (editor.fontMetrics().lineSpacing() + 1) + 30 + bar)
        return editor


def _day(text: Any) -> str:
    if not isinstance(text, str):
        return ""
    time = dt.datetime.fromisoformat(text).astimezone(dt.UTC)
    return time.strftime("%Y-%m-%d %H:%M:%S").removesuffix(" 00:00:00")


def _local(text: Any) -> str:
    return time_text(dt.datetime.fromisoformat(text)) if isinstance(text, str) else ""
