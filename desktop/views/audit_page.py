"""The audit: who did what to which job, account or node, and when. For admins."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from PySide6.QtCore import QDateTime, Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QIntValidator, QKeySequence, QResizeEvent, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QComboBox,
    QDateTimeEdit,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.bridge import Bridge
from desktop.models.audit import AuditModel
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.theme import current, rule, styled, theme
from desktop.views.link_table import LinkTable, Look
from quarterdeck.audit import ACTIONS, Selection
from quarterdeck.client import Client

__all__ = ["AuditPage"]

# least width in pixels, share of the room that is left
_WIDTHS = {
    "time": (160, 0),
    "person": (110, 1),
    "title": (140, 0),
    "job": (70, 0),
    "subject": (180, 3),
    "words": (220, 5),
}
_SPANS = {
    "Any time": None,
    "Last hour": dt.timedelta(hours=1),
    "Last 24 hours": dt.timedelta(days=1),
    "Last 7 days": dt.timedelta(days=7),
    "Last 30 days": dt.timedelta(days=30),
}
_BETWEEN = "Between…"


class AuditPage(QWidget):
    """The records, narrowed by person, action, job, time and text.

    Signals:
        opened(int): the details of that job are wanted
        closed(): the user wants back
    """

    opened = Signal(int)
    closed = Signal()

    def __init__(
        self, client: Client, bridge: Bridge, notices: Notices, settings: Settings, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._client = client
        self._bridge = bridge
        self._notices = notices
        self.model = AuditModel(client, bridge, self)
        self.model.awake = lambda: not self.window().isMinimized()
        self.table = LinkTable(
            self.model,
            Look(
                name="Audit",
                widths=_WIDTHS,
                link="job",
                # of a deleted job its record is all that is left
                linked=lambda entry: entry.job_id is not None and entry.action != "delete",
                quiet=frozenset({"time", "words"}),
                many=True,
            ),
            settings,
        )
        self.text = styled(QLineEdit(placeholderText="Search…", clearButtonEnabled=True), name="search")
        self.person = self._choice("Person")
        self.action = self._choice("Action")
        self.action.addItem("Action: all", None)
        for key, words in ACTIONS.items():
            self.action.addItem(words, key)
        self.job = QLineEdit(placeholderText="Job", clearButtonEnabled=True)
        self.job.setValidator(QIntValidator(1, 2**31 - 1, self))
        self.span = self._choice("Time")
        for words, length in _SPANS.items():
            self.span.addItem(words, length)
        self.span.addItem(_BETWEEN, None)
        self.since, self.until = self._moment("From"), self._moment("To")
        self.clear = styled(QPushButton("Clear"), name="flat", visible=False)
        self.total = styled(QLabel(), name="muted")
        self.refresh = styled(QPushButton(), name="flat", tip="Read everything again (F5)")
        self.refresh.setAccessibleName("Refresh")
        self.save = QPushButton("Export CSV…")
        self.back = styled(QPushButton("Close"), name="flat", tip="Back to the jobs (Esc)")
        self.empty = styled(QLabel(self.table.viewport(), alignment=Qt.AlignmentFlag.AlignCenter), name="muted")
        self.empty.hide()
        self._know_people()
        self._build()
        self._typed = QTimer(self, singleShot=True, interval=200)
        self._typed.timeout.connect(self._choose)
        self._connect()
        self._dress()

    @staticmethod
    def _choice(name: str) -> QComboBox:
        box = styled(QComboBox(), called=name)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        return box

    @staticmethod
    def _moment(name: str) -> QDateTimeEdit:
        edit = styled(QDateTimeEdit(calendarPopup=True), called=name, visible=False)
        edit.setDisplayFormat("yyyy-MM-dd HH:mm")
        return edit

    def _build(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(16, 12, 16, 4)
        head.setSpacing(10)
        head.addWidget(styled(QLabel("Audit"), name="title"))
        head.addSpacing(6)
        head.addWidget(self.total)
        head.addStretch()
        for part in (self.refresh, self.save, self.back):
            head.addWidget(part)
        bar = QHBoxLayout()
        bar.setContentsMargins(16, 4, 16, 12)
        bar.setSpacing(8)
        self.text.setFixedWidth(230)
        self.job.setFixedWidth(90)
        self.text.setAccessibleName("Search the audit")
        self.job.setAccessibleName("Job")
        for field in (
            self.text, self.person, self.action, self.job, self.span, self.since, self.until, self.clear,
        ):  # fmt: skip
            bar.addWidget(field)
        bar.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addLayout(bar)
        layout.addWidget(rule())
        layout.addWidget(self.table, 1)

    def _connect(self) -> None:
        self.text.textChanged.connect(self._typed.start)
        self.job.textChanged.connect(self._typed.start)
        self.person.activated.connect(self._choose)
        self.action.activated.connect(self._choose)
        self.span.activated.connect(self._span_chosen)
        for moment in (self.since, self.until):
            moment.dateTimeChanged.connect(self._typed.start)
        self.clear.clicked.connect(self.clear_all)
        self.refresh.clicked.connect(self.model.refresh)
        self.save.clicked.connect(self._ask_file)
        self.back.clicked.connect(self.closed)
        self.table.acted.connect(lambda entry, key: self.opened.emit(entry.job_id))
        for signal in (self.model.modelReset, self.model.patched):
            signal.connect(self._counted)
        self._lens = self.text.addAction(
            resources.icon("magnify", current().faint), QLineEdit.ActionPosition.LeadingPosition
        )
        inside = Qt.ShortcutContext.WidgetWithChildrenShortcut
        QShortcut(QKeySequence("Esc"), self, context=inside).activated.connect(self.closed)
        QShortcut(QKeySequence("Ctrl+F"), self, context=inside).activated.connect(self.text.setFocus)
        theme.changed.connect(self._dress)

    def selection(self) -> Selection:
        """What the fields say."""
        since = until = None
        if self.span.currentText() == _BETWEEN:
            since, until = (self._utc(moment) for moment in (self.since, self.until))
        elif (length := self.span.currentData()) is not None:
            since = self._client.now() - length
        return Selection(
            person=self.person.currentData(),
            action=self.action.currentData(),
            job_id=int(self.job.text()) if self.job.text() else None,
            since=since,
            until=until,
            text=self.text.text().strip(),
        )

    @staticmethod
    def _utc(moment: QDateTimeEdit) -> dt.datetime:
        return dt.datetime.fromtimestamp(moment.dateTime().toSecsSinceEpoch(), dt.UTC)

    def clear_all(self) -> None:
        """Show everything."""
        for field in (self.text, self.job):
            field.clear()
        for box in (self.person, self.action, self.span):
            box.setCurrentIndex(0)
        self._span_chosen()

    def remember(self) -> None:
        """Keep the columns for the next start."""
        self.table.remember()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.model.watch(True)
        self.table.setFocus()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.model.watch(False)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.empty.setGeometry(self.table.viewport().rect())

    def _span_chosen(self) -> None:
        between = self.span.currentText() == _BETWEEN
        if between and self.since.isHidden():
            now = QDateTime.currentDateTime()
            for moment, value in ((self.since, now.addDays(-1)), (self.until, now.addSecs(60))):
                moment.blockSignals(True)
                moment.setDateTime(value)
                moment.blockSignals(False)
        for moment in (self.since, self.until):
            moment.setVisible(between)
        self._choose()

    def _choose(self) -> None:
        self._typed.stop()
        selection = self.selection()
        self.clear.setVisible(selection != Selection())
        self.model.choose(selection)

    def _know_people(self) -> None:
        chosen = self.person.currentData()
        offered = [self.person.itemData(n) for n in range(1, self.person.count())]
        if self.person.count() and offered == self.model.people:
            return
        self.person.clear()
        self.person.addItem("Person: everyone", None)
        for name in self.model.people:
            self.person.addItem(name, name)
        self.person.setCurrentIndex(max(0, self.person.findData(chosen)) if chosen is not None else 0)

    def _counted(self) -> None:
        total = self.model.rowCount()
        self.total.setText("1 record" if total == 1 else f"{total:,} records")
        self.save.setEnabled(total > 0)
        if not self.person.view().isVisible():
            self._know_people()
        self.empty.setText(
            "Nothing matches these filters." if not self.clear.isHidden() else "Nothing is recorded yet."
        )
        self.empty.setGeometry(self.table.viewport().rect())
        self.empty.setVisible(self.model.read and total == 0)

    def _ask_file(self) -> None:
        dialog = QFileDialog(self.window(), "Export the audit")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setNameFilters(["CSV (*.csv)"])
        dialog.setDefaultSuffix("csv")
        dialog.selectFile("audit.csv")
        dialog.fileSelected.connect(lambda name: self._bridge.start(self, self.export(Path(name))))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    async def export(self, path: Path) -> None:
        """Write all that is selected to a file."""
        self.save.setEnabled(False)
        try:
            count = await self._bridge.call(self._client.export_audit, path, self.model.selection)
            self._notices.info(f"{count:,} records of the audit are saved as {path.name}.")
        finally:
            self.save.setEnabled(self.model.rowCount() > 0)

    def _dress(self) -> None:
        t = current()
        self.refresh.setIcon(resources.icon("refresh", t.muted))
        self.save.setIcon(resources.icon("download", t.muted))
        self.back.setIcon(resources.icon("close", t.muted))
        self._lens.setIcon(resources.icon("magnify", t.faint))
