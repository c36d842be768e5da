"""A panel on paper: its title, legend and drawing, painted by the same drawing as on the screen."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from PySide6.QtCore import QFile, QIODevice, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPixmap
from PySide6.QtSvg import QSvgGenerator

from desktop.views.panels.blank import said
from desktop.views.panels.drawing import Drawing, State
from desktop.views.panels.ink import Ink
from desktop.views.panels.legend import legend_height, paint_legend
from quarterdeck.errors import Invalid
from quarterdeck.report.shapes import Rows

__all__ = ["drawn_for", "paint", "save_csv", "save_png", "save_svg"]


def drawn_for(panel: Any, data: Any, ink: Ink, state: State, size: QSize) -> Drawing:
    """A drawing of that size that is not on the screen; the caller ends it by `end` and deletes its widget."""
    from desktop.views.panels import draw

    drawing = draw(panel, data, ink)
    widget = drawing.widget
    widget.setAttribute(Qt.WidgetAttribute.WA_DontShowOnScreen)
    widget.resize(size)
    widget.show()  # only then it lays itself out
    drawing.restore(state)
    return drawing


def paint(painter: QPainter, place: QRectF, panel: Any, data: Any, ink: Ink, state: State = State()) -> None:
    """Paint a panel into that place."""
    t = ink.tokens
    top = place.top()
    if panel.title:
        font = ink.font(0, QFont.Weight.DemiBold)
        metrics = QFontMetricsF(font)
        painter.setFont(font)
        painter.setPen(QColor(t.muted if panel.type == "number" else t.text))
        title = metrics.elidedText(panel.title, Qt.TextElideMode.ElideRight, place.width() - 4)
        painter.drawText(QPointF(place.left() + 4, top + metrics.ascent()), title)
        top += metrics.height() + 3
    words = said(data)
    notes = [data.note]
    if isinstance(data, Rows) and data.first is not None and data.rows > data.first.num_rows:
        notes.append(f"the first of {data.rows:,} rows")  # only as many as fit stand here
    told = "  ·  ".join(note for note in notes if note)
    if told and not words:
        painter.setFont(ink.font(-1))
        metrics = QFontMetricsF(ink.font(-1))
        painter.setPen(QColor(t.muted))
        note = metrics.elidedText(told, Qt.TextElideMode.ElideRight, place.width() - 4)
        painter.drawText(QPointF(place.left() + 4, top + metrics.ascent()), note)
        top += metrics.height() + 2
    room = QRectF(place.left(), top, place.width(), max(10.0, place.bottom() - top))
    if words:
        painter.setFont(ink.font())
        painter.setPen(QColor(t.bad if data.problem else t.muted))
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(room.adjusted(10, 4, -10, -4), int(flags), words)
        return
    drawing = drawn_for(panel, data, ink, state, QSize(int(room.width()), int(room.height())))
    try:
        entries = [entry for entry in drawing.entries() if entry.shown]
        if entries:
            high = legend_height(entries, room.width() - 12, ink)
            paint_legend(painter, QRectF(room.left() + 6, room.top(), room.width() - 12, high), entries, ink)
            room = room.adjusted(0, high + 2, 0, 0)
            drawing.widget.resize(QSize(int(room.width()), max(20, int(room.height()))))
        painter.save()
        drawing.paint_on(painter, room)
        painter.restore()
    finally:
        drawing.end()
        drawing.widget.deleteLater()


def save_png(path: Path, panel: Any, data: Any, ink: Ink, state: State, size: QSize) -> None:
    """Save the panel as a picture, twice as fine as on the screen."""
    pixmap = QPixmap(size * 2)
    pixmap.setDevicePixelRatio(2)
    pixmap.fill(QColor(ink.tokens.surface))
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.TextAntialiasing)
    paint(painter, QRectF(10, 10, size.width() - 20, size.height() - 20), panel, data, ink, state)
    painter.end()
    if not pixmap.save(str(path), "PNG"):
        raise Invalid(f"{path} can't be written: choose another folder")


def save_svg(path: Path, panel: Any, data: Any, ink: Ink, state: State, size: QSize) -> None:
    """Save the panel as a drawing of lines and texts."""
    generator = QSvgGenerator()
    file = QFile(str(path))
    if not file.open(QIODevice.OpenModeFlag.WriteOnly):
        raise Invalid(f"{path} can't be written: {file.errorString().lower()}")
    generator.setOutputDevice(file)
    generator.setSize(size)
    generator.setViewBox(QRectF(0, 0, size.width(), size.height()))
    generator.setTitle(panel.title or panel.id)
    generator.setResolution(96)
    painter = QPainter(generator)
    painter.fillRect(QRectF(0, 0, size.width(), size.height()), QColor(ink.tokens.surface))
    paint(painter, QRectF(10, 10, size.width() - 20, size.height() - 20), panel, data, ink, state)
    painter.end()
    file.close()


def save_csv(path: Path, drawing: Drawing) -> None:
    """Save what is drawn as comma-separated values."""
    names, columns = drawing.values()
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            writer.writerows(zip(*columns, strict=True))
    except OSError as error:
        raise Invalid(f"{path} can't be written: {error.strerror}") from None
