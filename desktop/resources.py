"""Files that come with the program: fonts and our own icon; and the icon font, in the theme's colours."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import qtawesome
from PySide6.QtCore import QRect, QSize
from PySide6.QtGui import QFontDatabase, QIcon, QPainter, QPixmap

__all__ = ["application_icon", "folder", "icon", "load_fonts", "paint_icon"]


def folder() -> Path:
    """The folder of resources: inside the package when it is installed, beside it in a checkout."""
    inside = Path(__file__).parent / "_resources"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "resources"


def load_fonts() -> None:
    """Make the fonts of our own known to Qt."""
    for file in sorted((folder() / "fonts").glob("*.[ot]tf")):
        QFontDatabase.addApplicationFont(str(file))


@cache
def application_icon() -> QIcon:
    return QIcon(str(folder() / "icons" / "quarterdeck.svg"))


def paint_icon(painter: QPainter, place: QRect, name: str, color: str) -> None:
    """Paint that icon; quick enough for each cell of a table."""
    painter.drawPixmap(place, _pixmap(name, color, place.width(), painter.device().devicePixelRatioF()))


@cache
def _pixmap(name: str, color: str, size: int, ratio: float) -> QPixmap:
    return icon(name, color).pixmap(QSize(size, size), ratio)


@cache
def icon(name: str, color: str) -> QIcon:
    """An icon of the Material Design set (`name` without prefix) in one colour."""
    made: QIcon = qtawesome.icon(f"mdi6.{name}", color=color)
    return made
