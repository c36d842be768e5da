"""The cluster: its nodes with state, slots, load and memory; what runs on them; what waits, and why."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import QRect, QRectF, Qt, QTimer, Signal
from PySide6.QtGui import QColor, QFont, QHideEvent, QKeySequence, QPainter, QShortcut, QShowEvent
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSplitter,
    QVBoxLayout,
    QWidget,
)

from desktop import resources
from desktop.bridge import Bridge
from desktop.models.nodes import ClusterModel, Others, is_heard
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.theme import ROW_HEIGHT, current, interface_font, rule, styled, theme
from desktop.views.link_table import ACTIONS, Act, LinkTable, Look
from quarterdeck.client import Client
from quarterdeck.job import Node

__all__ = ["ClusterPage", "DrainDialog"]

# state: icon, colour of ink and ground by their tokens
_STATES = {
    "up": ("check-circle-outline", "good", "good_back"),
    "draining": ("tray-arrow-down", "warn", "warn_back"),
    "down": ("power", "idle", "idle_back"),
    "lost": ("lan-disconnect", "bad", "bad_back"),
}
_DRAIN = Act("drain", "Drain…", "tray-arrow-down", "Ctrl+D")
_RESUME = Act("resume", "Resume…", "play-circle-outline", "Ctrl+D")
_BAR = 52
"""The length of a bar, in pixels."""
# least width in pixels, share of the room that is left
_NODE_WIDTHS = {
    "name": (70, 2),
    "state": (104, 0),
    "slots": (138, 0),
    "load": (160, 0),
    "memory": (210, 0),
    "labels": (60, 2),
    "host": (70, 3),
    "version": (58, 1),
    "heartbeat": (104, 0),
    ACTIONS: (104, 0),
}
_RUNNING_WIDTHS = {
    "job": (140, 3),
    "task": (90, 2),
    "kind": (96, 0),
    "node": (46, 1),
    "creator": (62, 1),
    "progress": (68, 0),
    "run_time": (78, 0),
}
_WAITING_WIDTHS = {"name": (120, 2), "tasks": (56, 0), "reason": (190, 5), "creator": (64, 0), "waits": (74, 0)}


def _paint_state(painter: QPainter, rect: QRect, node: Node, words: str) -> None:
    """A pill with the state's colour, icon and word."""
    picture, ink, back = _STATES.get(node.state, _STATES["down"])
    t = current()
    painter.save()
    painter.setFont(interface_font(12, QFont.Weight.Medium))
    width = min(painter.fontMetrics().horizontalAdvance(words) + 34, rect.width())
    pill = QRectF(rect.left(), rect.center().y() - 9.5, width, 21)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(getattr(t, back)))
    painter.drawRoundedRect(pill, 5, 5)
    resources.paint_icon(painter, QRect(int(pill.left()) + 6, int(pill.top()) + 3, 15, 15), picture, getattr(t, ink))
    painter.setPen(QColor(getattr(t, ink)))
    painter.drawText(pill.adjusted(25, -0.5, -4, -0.5), int(Qt.AlignmentFlag.AlignVCenter), words)
    painter.restore()


def _paint_meter(painter: QPainter, rect: QRect, share: float | None, words: str, ink: str) -> None:
    """A bar that is filled to `share` (0 to 1; None: unknown), and the words beside it."""
    t = current()
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    left = rect.left()
    if share is not None:
        bar = QRectF(left, rect.center().y() - 2.5, _BAR, 6)
        painter.setBrush(QColor(t.line_strong))
        painter.drawRoundedRect(bar, 3, 3)
        if share > 0:
            painter.setBrush(QColor(ink))
            painter.drawRoundedRect(QRectF(bar.left(), bar.top(), max(6.0, _BAR * min(share, 1.0)), 6), 3, 3)
        left += _BAR + 10
    painter.setFont(interface_font(13))
    painter.setPen(QColor(t.text if share is not None else t.muted))
    room = rect.adjusted(left - rect.left(), 0, 0, 0)
    elided = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, room.width())
    painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter), elided)
    painter.restore()


def _paint_slots(painter: QPainter, rect: QRect, node: Node, words: str) -> None:
    _paint_meter(painter, rect, node.running / node.slots if is_heard(node) else None, words, current().accent)


def _paint_load(painter: QPainter, rect: QRect, node: Node, words: str) -> None:
    share = node.load / node.cpus if is_heard(node) and node.cpus else None
    t = current()
    _paint_meter(
        painter, rect, share, words, t.bad if share and share > 1.5 else t.warn if share and share > 1 else t.accent
    )


def _paint_memory(painter: QPainter, rect: QRect, node: Node, words: str) -> None:
    known = is_heard(node) and node.memory_total > 0
    share = 1 - node.memory_free / node.memory_total if known else None
    t = current()
    _paint_meter(
        painter, rect, share, words, t.bad if share and share > 0.95 else t.warn if share and share > 0.85 else t.accent
    )


class DrainDialog(QDialog):
    """Asks whether a node shall be drained, or resumed, and says what that means."""

    def __init__(self, node: Node, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        resume = node.state == "draining"
        word = "Resume" if resume else "Drain"
        self.setWindowTitle(word)
        self.setMinimumWidth(440)
        title = styled(QLabel(f"{word} node {node.name}?"), name="heading")
        self.words = QLabel(self._sentence(node), wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        keep = QPushButton("Cancel")
        self.sure = styled(QPushButton(word), name="primary")
        self.sure.clicked.connect(self.accept)
        keep.clicked.connect(self.reject)
        keep.setDefault(True)
        self.sure.setAutoDefault(False)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addStretch()
        buttons.addWidget(keep)
        buttons.addWidget(self.sure)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(10)
        layout.addWidget(title)
        layout.addWidget(self.words)
        layout.addSpacing(8)
        layout.addLayout(buttons)
        keep.setFocus()

    @staticmethod
    def _sentence(node: Node) -> str:
        if node.state == "draining":
            return "It takes new tasks again at once."
        goes_on = {
            0: "Nothing runs there now.",
            1: "The task that runs there goes on to its end.",
        }.get(node.running, f"The {node.running} tasks that run there go on to their end.")
        return f"It takes no new tasks until it is resumed. {goes_on} Jobs that only this node can run will wait."


class ClusterPage(QWidget):
    """The nodes, and what they do.

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
        self._settings = settings
        self.model = ClusterModel(client, bridge, self)
        self.model.awake = lambda: not self.window().isMinimized()
        self.questions: list[DrainDialog] = []
        admin = client.me.admin
        self.nodes = LinkTable(
            self.model.nodes,
            Look(
                name="Nodes",
                sortable=True,
                widths=_NODE_WIDTHS,
                acts=self._acts if admin else lambda node: (),
                painted={
                    "state": _paint_state,
                    "slots": _paint_slots,
                    "load": _paint_load,
                    "memory": _paint_memory,
                },
                quiet=frozenset({"labels", "host", "version", "heartbeat"}),
            ),
            settings,
        )
        self.running = LinkTable(
            self.model.running,
            Look(
                name="Running tasks",
                sortable=True,
                widths=_RUNNING_WIDTHS,
                link="job",
                linked=lambda task: not isinstance(task, Others),
                quiet=frozenset({"kind", "node", "creator"}),
                faint=lambda task: isinstance(task, Others),
            ),
            settings,
        )
        self.waiting = LinkTable(
            self.model.waiting,
            Look(
                name="Waiting jobs",
                sortable=True,
                widths=_WAITING_WIDTHS,
                link="name",
                quiet=frozenset({"creator", "waits"}),
            ),
            settings,
        )
        self.summary = styled(QLabel(), name="muted")
        self.refresh = styled(QPushButton(), name="flat", tip="Read everything again (F5)")
        self.refresh.setAccessibleName("Refresh")
        self.back = styled(QPushButton("Close"), name="flat", tip="Back to the jobs (Esc)")
        self.running_title = styled(QLabel("Running"), name="heading")
        self.waiting_title = styled(QLabel("Waiting"), name="heading")
        self.all_nodes = styled(QPushButton("All Nodes"), name="link", visible=False)
        self.empty = styled(
            QLabel("Nothing waits.", self.waiting.viewport(), alignment=Qt.AlignmentFlag.AlignCenter), name="muted"
        )
        self.idle = styled(
            QLabel("Nothing runs.", self.running.viewport(), alignment=Qt.AlignmentFlag.AlignCenter), name="muted"
        )
        self._split_chosen = False
        self._build()
        self._time = QTimer(self, interval=500)
        self._time.timeout.connect(self._tick)
        self.model.shown.connect(self._shown)
        self.nodes.selectionModel().selectionChanged.connect(self._selected)
        self.nodes.acted.connect(lambda node, key: self._ask(node))
        self.running.acted.connect(lambda task, key: self.opened.emit(task.job_id))
        self.waiting.acted.connect(lambda job, key: self.opened.emit(job.job_id))
        for table in (self.nodes, self.running, self.waiting):
            table.ordered.connect(partial(self.model.order, table.rows))
            table.recall_order()
        self.all_nodes.clicked.connect(self.nodes.clearSelection)
        self.refresh.clicked.connect(self.model.refresh)
        self.back.clicked.connect(self.closed)
        self._keys(admin)
        theme.changed.connect(self._dress)
        self._dress()

    def _build(self) -> None:
        head = QHBoxLayout()
        head.setContentsMargins(16, 12, 16, 12)
        head.setSpacing(10)
        head.addWidget(styled(QLabel("Cluster"), name="title"))
        head.addSpacing(6)
        head.addWidget(self.summary)
        head.addStretch()
        head.addWidget(self.refresh)
        head.addWidget(self.back)
        self.below = QSplitter(Qt.Orientation.Horizontal, childrenCollapsible=False)
        self.below.addWidget(self._panel(self.running, self.running_title, self.all_nodes))
        self.below.addWidget(self._panel(self.waiting, self.waiting_title))
        self.split = QSplitter(Qt.Orientation.Vertical, childrenCollapsible=False)
        self.split.addWidget(self.nodes)
        self.split.addWidget(self.below)
        self.split.setStretchFactor(1, 1)
        self.nodes.setMinimumHeight(96)
        self.below.setSizes([580, 700])
        for name, splitter in (("cluster/split", self.split), ("cluster/below", self.below)):
            splitter.setHandleWidth(1)
            if (state := self._settings.state(name)) is not None:
                splitter.restoreState(state)
                self._split_chosen = True
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(head)
        layout.addWidget(rule())
        layout.addWidget(self.split, 1)

    @staticmethod
    def _panel(table: LinkTable, title: QLabel, *more: QWidget) -> QWidget:
        panel = styled(QWidget(), name="section")
        panel.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        bar = QHBoxLayout()
        bar.setContentsMargins(16, 0, 12, 0)
        title.setFixedHeight(40)  # alike on both sides, whatever else is in the line
        bar.addWidget(title)
        bar.addStretch()
        for one in more:
            bar.addWidget(one)
        layout = QVBoxLayout(panel)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(bar)
        layout.addWidget(table, 1)
        return panel

    def _keys(self, admin: bool) -> None:
        inside = Qt.ShortcutContext.WidgetWithChildrenShortcut
        QShortcut(QKeySequence("Esc"), self, context=inside).activated.connect(self._escape)
        if admin:
            QShortcut(QKeySequence("Ctrl+D"), self, context=inside).activated.connect(self._ask_selected)

    def remember(self) -> None:
        """Keep how the page was arranged for the next start."""
        for table in (self.nodes, self.running, self.waiting):
            table.remember()
        if self._split_chosen:
            self._settings.set_state("cluster/split", self.split.saveState())
            self._settings.set_state("cluster/below", self.below.saveState())

    def changed(self) -> None:
        """Jobs changed: what runs where did, too."""
        if self.isVisible():
            self.model.reread_soon()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self.model.watch(True)
        self._time.start()
        self.nodes.setFocus()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self.model.watch(False)
        self._time.stop()

    def _tick(self) -> None:
        self.model.tick()

    def _selected(self) -> None:
        node = next(iter(self.nodes.selected()), None)
        self.model.choose(None if node is None else node.name)
        self._titles()

    def _escape(self) -> None:
        if self.nodes.selectionModel().hasSelection():
            self.nodes.clearSelection()
        else:
            self.closed.emit()

    def _acts(self, node: Node) -> Sequence[Act]:
        return {"up": (_DRAIN,), "draining": (_RESUME,)}.get(node.state, ())

    def _ask_selected(self) -> None:
        for node in self.nodes.selected():
            if self._acts(node):
                self._ask(node)

    def _ask(self, node: Node) -> None:
        self._bridge.latest(self, f"drain {node.name}", self._drain(node))

    async def _drain(self, node: Node) -> None:
        dialog = DrainDialog(node, self.window())
        self.questions.append(dialog)
        try:
            sure = await self._bridge.ask(dialog)
        finally:
            self.questions.remove(dialog)
        if not sure:
            return
        on = node.state != "draining"
        await self._bridge.call(self._client.drain, node.name, on)
        self._notices.info(f"Node {node.name} takes {'no new tasks' if on else 'tasks again'}.")
        self.model.reread()

    def _shown(self) -> None:
        seen = self.model.seen
        if seen is None:
            return
        working = [node for node in seen.nodes if node.state in ("up", "draining")]
        slots = sum(node.slots for node in working)
        busy = sum(node.running for node in working)
        total = self.model.queue.total
        counts = [(state, sum(node.state == state for node in seen.nodes)) for state in _STATES]
        parts = [f"{number} {state}" for state, number in counts if number]
        self.summary.setText(
            f"{', '.join(parts) or 'no node yet'}   ·   {busy} of {slots} slots in use   ·   "
            + (f"{total:,} job{'' if total == 1 else 's'} waiting")
        )
        if not self._split_chosen:
            # as tall as its nodes, at most as what is below; from then on as the user wants it
            self._split_chosen = True
            wanted = ROW_HEIGHT * (len(seen.nodes) + 1) + self.nodes.horizontalHeader().height()
            height = self.split.height()
            self.split.setSizes([min(wanted, height // 2), height - min(wanted, height // 2)])
        self._titles()

    def _titles(self) -> None:
        seen = self.model.seen
        if seen is None:
            return
        where = "" if self.model.node is None else f" on {self.model.node}"
        running = sum(node.running for node in seen.nodes if self.model.node in (None, node.name))
        self.running_title.setText(f"Running{where}  ({running})")
        self.all_nodes.setVisible(self.model.node is not None)
        shown, total = len(self.model.queue.jobs), self.model.queue.total
        of_all = f"first {shown} of {total:,}" if shown < total else str(shown)
        self.waiting_title.setText(f"Waiting  ({of_all})")
        for label, table in ((self.empty, self.waiting), (self.idle, self.running)):
            label.setGeometry(table.viewport().rect())
            label.setVisible(table.rows.rowCount() == 0)

    def resizeEvent(self, event: Any) -> None:
        super().resizeEvent(event)
        self._titles()

    def _dress(self) -> None:
        self.refresh.setIcon(resources.icon("refresh", current().muted))
        self.back.setIcon(resources.icon("close", current().muted))
