"""How a line of a log is painted."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter

from desktop.models.log import LogModel
from desktop.models.log_search import LogSearch
from desktop.models.log_text import Piece, Shown, times
from desktop.theme import LOG_ROW_HEIGHT, current, level_color, monospaced, readable, terminal_color
from quarterdeck.ansi import Style
from quarterdeck.job import Level, Stream

__all__ = ["LinePainter"]

_MARGIN = 14


class LinePainter:
    """Paints lines in columns of a fixed font: time, task, text; of the text only what is in view."""

    def __init__(self, model: LogModel, search: LogSearch) -> None:
        self._model = model
        self._search = search
        self._font = monospaced(12)
        self._bold = QFont(self._font)
        self._bold.setBold(True)
        metrics = QFontMetricsF(self._font)
        self.advance = metrics.horizontalAdvance("0" * 100) / 100
        self._base = (LOG_ROW_HEIGHT + metrics.capHeight()) / 2

    @property
    def text_left(self) -> float:
        """Where the texts begin, in pixels, when they are not scrolled aside."""
        task = self._model.task_width
        return _MARGIN + self.advance * (self._time_width + (task + 2 if task else 0))

    @property
    def _time_width(self) -> int:
        return 15 if times.way == "since" else 25 if self._model.days else 14

    def paint(self, painter: QPainter, band: QRectF, line: Shown | None, column: int, *, chosen: bool) -> None:
        """Paint a line (None: it is on its way) into a band, its text from a column on."""
        t = current()
        if chosen:
            painter.fillRect(band, QColor(t.selected))
        elif line is not None and line.line.level is Level.ERROR:
            painter.fillRect(band, QColor(t.bad_back))
        base = band.top() + self._base
        painter.setFont(self._font)
        painter.setPen(QColor(t.faint))
        if line is None:
            painter.drawText(QPointF(_MARGIN, base), "…")
            return
        painter.drawText(QPointF(_MARGIN, base), self._model.time_words(line.line))
        if self._model.task_width:
            painter.setPen(QColor(t.link if line.line.task_id is not None else t.faint))
            left = _MARGIN + self.advance * self._time_width
            painter.drawText(QPointF(left, base), self._model.task_words(line.line))
        painter.setClipRect(band.adjusted(self.text_left - 1, 0, 0, 0))
        self._paint_text(painter, band, line, column, chosen)
        painter.setClipping(False)

    def _paint_text(self, painter: QPainter, band: QRectF, line: Shown, first: int, chosen: bool) -> None:
        t = current()
        last = first + int((band.width() - self.text_left) / self.advance) + 2
        left = self.text_left - first * self.advance
        pieces = list(line.pieces(first, last))

        def place(column: int, columns: int) -> QRectF:
            return QRectF(left + column * self.advance, band.top(), columns * self.advance, band.height())

        for piece in pieces:
            back = piece.style.fore if piece.style.inverse else piece.style.back
            if back is not None or piece.style.inverse:
                color = QColor(t.text) if back is None else terminal_color(back)
                painter.fillRect(place(piece.column, piece.columns), color)
        for start, end in self._search.marks(line, first, last):
            painter.fillRect(place(start, end - start).adjusted(0, 2, 0, -2), QColor(t.warn_back))
        quiet = line.line.stream is Stream.EXECUTION and line.line.level is Level.INFO
        plain = QColor(t.muted if quiet else level_color(line.line.level))
        for piece in pieces:
            if piece.text == "\t":
                continue
            painter.setFont(self._styled(piece))
            painter.setPen(_color(piece.style, plain))
            painter.drawText(QPointF(left + piece.column * self.advance, band.top() + self._base), piece.text)

    def _styled(self, piece: Piece) -> QFont:
        style = piece.style
        if not (style.bold or style.italic or style.underline or style.strike):
            return self._font
        font = QFont(self._bold if style.bold else self._font)
        font.setItalic(style.italic)
        font.setUnderline(style.underline)
        font.setStrikeOut(style.strike)
        return font


def _color(style: Style, plain: QColor) -> QColor:
    t = current()
    fore, back = (style.back, style.fore) if style.inverse else (style.fore, style.back)
    if fore is None:
        color = QColor(t.surface) if style.inverse else QColor(plain)
    else:
        color = QColor(terminal_color(fore, None if style.inverse or back is not None else t.surface))
    if back is not None:
        color = readable(color, terminal_color(back))
    if style.faint:
        color.setAlphaF(0.6)
    return color
