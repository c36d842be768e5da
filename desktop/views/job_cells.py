"""The cells of a job list: the status by colour, icon and word; the name as a link; a row's actions at its end."""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QPoint, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QTableView

from desktop import resources
from desktop.models.checks import Checks
from desktop.models.jobs import JobsModel
from desktop.models.rows import ROW
from desktop.theme import ROW_HEIGHT, STATUS_ICONS, current, interface_font, theme
from quarterdeck.job import Action, Job, Status

__all__ = ["ACTION_WORDS", "BUTTONS", "Cells", "Hover", "paint_check", "paint_status", "status_width"]

ACTION_WORDS: dict[Action, tuple[str, str]] = {
    Action.DETAILS: ("Open Details", "open-in-app"),
    Action.LOG: ("View Log", "text-box-outline"),
    Action.TERMINATE: ("Terminate", "stop-circle-outline"),
    Action.RERUN: ("Run Again…", "replay"),
}
BUTTONS = (Action.LOG, Action.TERMINATE)
"""The actions that have a place in each row."""
_PAD = 8
_LINK = 15
"""The width of the mark of a job that a workflow started, which leads there."""
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
Index = QModelIndex | QPersistentModelIndex


class Hover(Protocol):
    """What the mouse is on."""

    hover_row: int
    hover_cell: tuple[int, int]
    hover_action: tuple[int, Action] | None


def status_width(words: str) -> int:
    return QFontMetrics(interface_font(12, QFont.Weight.Medium)).horizontalAdvance(words) + 32


def paint_status(
    painter: QPainter, rect: QRect, status: Status, words: str, ending: bool = False, progress: float | None = None
) -> None:
    """A pill with icon and word, and a thin bar of progress along its lower edge."""
    ink, back = theme.status_colors(status, ending)
    font = interface_font(12, QFont.Weight.Medium)
    width = min(status_width(words), rect.width())
    pill = QRectF(rect.left(), rect.center().y() - 10 + 0.5, width, 21)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(back))
    painter.drawRoundedRect(pill, 5, 5)
    if progress is not None and status is Status.IN_PROGRESS:
        painter.setBrush(QColor(ink))
        bar = QRectF(pill.left() + 5, pill.bottom() - 2.5, (pill.width() - 10) * progress, 2)
        painter.drawRoundedRect(bar, 1, 1)
    resources.paint_icon(painter, QRect(int(pill.left()) + 6, int(pill.top()) + 3, 15, 15), STATUS_ICONS[status], ink)
    painter.setPen(QColor(ink))
    painter.setFont(font)
    room = pill.adjusted(25, -0.5, -4, -0.5)
    text = painter.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, int(room.width()))
    painter.drawText(room, int(Qt.AlignmentFlag.AlignVCenter), text)
    painter.restore()


def paint_check(painter: QPainter, rect: QRect, state: Qt.CheckState) -> None:
    """A check box in the middle of a cell."""
    t = current()
    box = QRectF(rect.center().x() - 7.5, rect.center().y() - 7.5, 16, 16)
    on = state != Qt.CheckState.Unchecked
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(QColor(t.accent if on else t.faint), 1))
    painter.setBrush(QColor(t.accent if on else t.surface))
    painter.drawRoundedRect(box, 4, 4)
    if on:
        mark = "check-bold" if state == Qt.CheckState.Checked else "minus-thick"
        resources.paint_icon(painter, QRect(int(box.left()) + 2, int(box.top()) + 2, 12, 12), mark, t.on_accent)
    painter.restore()


@lru_cache(4096)
def _elided(words: str, link: bool, width: int) -> str:
    """The words as they fit; the same ones are painted over and over."""
    metrics = QFontMetrics(interface_font(13, QFont.Weight.Medium if link else QFont.Weight.Normal))
    return metrics.elidedText(words, Qt.TextElideMode.ElideRight, width)


class Cells(QStyledItemDelegate):
    """Paints the cells, and knows what is where in them."""

    def __init__(self, table: QTableView, jobs: JobsModel, hover: Hover, checks: Checks | None) -> None:
        super().__init__(table)
        self._table = table
        self._jobs = jobs
        self._hover = hover
        self._checks = checks
        self._link = interface_font(13, QFont.Weight.Medium)
        self._hot_link = QFont(self._link)
        self._hot_link.setUnderline(True)
        self._plain = interface_font(13)
        self._button = interface_font(12, QFont.Weight.Medium)

    def sizeHint(self, option: QStyleOptionViewItem, index: Index) -> QSize:
        words = str(index.data() or "")
        return QSize(QFontMetrics(self._plain).horizontalAdvance(words) + 2 * _PAD + 4, ROW_HEIGHT)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        t = current()
        rect: QRect = option.rect
        hovered = index.row() == self._hover.hover_row
        selected = bool(option.state & QStyle.StateFlag.State_Selected)
        if selected or hovered:
            painter.fillRect(rect, QColor(t.selected if selected else t.hover))
        painter.fillRect(rect.left(), rect.bottom(), rect.width(), 1, QColor(t.line))
        if rect.left() <= 0 and index.row() == self._table.currentIndex().row() and self._table.hasFocus():
            painter.fillRect(rect.left(), rect.top(), 2, rect.height(), QColor(t.accent))
        job = self._jobs.row(index.row())
        if job is None:
            self._jobs.missed(index.row())
            painter.fillRect(rect.adjusted(_PAD, 12, -rect.width() // 3, -12), QColor(t.line))
            return
        inner = rect.adjusted(_PAD, 0, -_PAD, 0)
        key = self._jobs.headings[index.column()].key
        if key == "actions":
            self._paint_actions(painter, rect, job, hovered)
            return
        if key == "check":
            on = self._checks is not None and self._checks.value.holds(job)
            paint_check(painter, rect, Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)
            return
        words = self._jobs.text(job, index.column())
        if key == "status":
            paint_status(painter, inner, job.status, words, job.ending, job.progress)
            return
        link = key == "name" and Action.DETAILS in job.actions
        hot = link and self._hover.hover_cell == (index.row(), index.column())
        font = self._link if key == "name" else self._plain
        painter.setFont(self._hot_link if hot else font)
        quiet = key in {"started", "created", "creator", "nodes", "origin"}
        painter.setPen(QColor(t.link if link else t.muted if quiet else t.text))
        if key == "name" and job.workflow_id is not None:
            on_mark = self._hover.hover_cell == (index.row(), -1)
            resources.paint_icon(painter, self.mark(rect), "sitemap-outline", t.link if on_mark else t.muted)
            inner = inner.adjusted(0, 0, -20, 0)
        side = _RIGHT if key == "run_time" else _LEFT
        painter.drawText(inner, side, _elided(words, key == "name", inner.width()))

    def _paint_actions(self, painter: QPainter, rect: QRect, job: Job, hovered: bool) -> None:
        t = current()
        painter.setFont(self._button)
        for action, area in self.buttons(rect, job):
            hot = self._hover.hover_action == (job.id, action)
            dangerous = action is Action.TERMINATE
            ink = (t.bad if dangerous else t.link) if hot else t.text if hovered else t.muted
            if hot:
                painter.save()
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(QColor(t.bad_back if dangerous else t.selected))
                painter.drawRoundedRect(area, 5, 5)
                painter.restore()
            words, picture = ACTION_WORDS[action]
            resources.paint_icon(painter, QRect(area.left() + 6, area.center().y() - 7, 15, 15), picture, ink)
            painter.setPen(QColor(ink))
            painter.drawText(area.adjusted(24, 0, 0, 0), int(Qt.AlignmentFlag.AlignVCenter), words)

    def buttons(self, rect: QRect, job: Job) -> list[tuple[Action, QRect]]:
        """Where each offered action of the row is painted."""
        metrics = QFontMetrics(self._button)
        left = rect.left() + 2
        places = []
        for action in BUTTONS:
            width = metrics.horizontalAdvance(ACTION_WORDS[action][0]) + 32
            if action in job.actions:
                places.append((action, QRect(left, rect.center().y() - 11, width, 23)))
            left += width + 2
        return places

    @staticmethod
    def mark(rect: QRect) -> QRect:
        """Where in a name's cell the mark of the job's workflow is."""
        return QRect(rect.right() - _PAD - _LINK, rect.center().y() - 7, _LINK, _LINK)

    def workflow(self, where: QPoint) -> int | None:
        """The workflow whose mark is there."""
        index = self._table.indexAt(where)
        job = index.data(ROW) if index.isValid() else None
        if not isinstance(job, Job) or index.column() != self._jobs.column("name"):
            return None
        around = self.mark(self._table.visualRect(index)).adjusted(-3, -4, 3, 4)
        return job.workflow_id if around.contains(where) else None

    def target(self, where: QPoint) -> tuple[Job, Action] | None:
        """The job and what a click there wants of it."""
        index = self._table.indexAt(where)
        job = index.data(ROW) if index.isValid() else None
        if not isinstance(job, Job):
            return None
        rect = self._table.visualRect(index)
        key = self._jobs.headings[index.column()].key
        if key == "name" and Action.DETAILS in job.actions:
            words = QFontMetrics(self._link).horizontalAdvance(job.name)
            if where.x() <= rect.left() + min(words + 2 * _PAD, rect.width()):
                return job, Action.DETAILS
        if key == "actions":
            return next(((job, action) for action, area in self.buttons(rect, job) if area.contains(where)), None)
        return None
