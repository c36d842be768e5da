"""Files that come with the program: fonts and our own icon; and the icon font, in the theme's colours."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontDatabase, QIcon, QIconEngine, QPainter, QPalette, QPixmap
from PySide6.QtWidgets import QApplication

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
    """An icon of the Material Design set (`name` without prefix) in one colour; greyed where it is disabled.

    Raises KeyError for a name that the set does not have.
    """
    family, glyphs = _glyphs()
    return QIcon(_Glyph(family, chr(glyphs[name]), color))


@cache
def _glyphs() -> tuple[str, dict[str, int]]:
    """The family of the icon font, and the character of each name.

    The files are qtawesome's; running it would import all of Qt and load a dozen fonts, a fifth of the time to start.
    """
    spec = importlib.util.find_spec("qtawesome")
    places = [Path(one) / "fonts" for one in (spec.submodule_search_locations or ())] if spec else []
    for place in places:
        for font in sorted(place.glob("materialdesignicons6-webfont-[0-9]*.ttf")):
            charmap = place / font.name.replace("webfont-", "webfont-charmap-").replace(".ttf", ".json")
            number = QFontDatabase.addApplicationFont(str(font))
            codes: dict[str, str] = json.loads(charmap.read_text(encoding="utf-8"))
            return QFontDatabase.applicationFontFamilies(number)[0], {
                name: int(code, 16) for name, code in codes.items()
            }
    raise FileNotFoundError("the icons are missing: install the package qtawesome")


class _Glyph(QIconEngine):
    """Draws a character of the icon font at any size."""

    def __init__(self, family: str, text: str, color: str) -> None:
        super().__init__()
        self._family = family
        self._text = text
        self._color = color

    def paint(self, painter: QPainter, rect: QRect, mode: QIcon.Mode, state: QIcon.State) -> None:
        font = QFont(self._family)
        # a character is as wide as its font is high, and touches the edges: room for what is drawn beyond them
        font.setPixelSize(max(1, round(0.875 * rect.height())))
        painter.save()
        painter.setFont(font)
        disabled = mode == QIcon.Mode.Disabled
        palette = QApplication.palette()
        grey = palette.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text)
        painter.setPen(grey if disabled else QColor(self._color))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.drawText(rect, Qt.AlignmentFlag.AlignCenter, self._text)
        painter.restore()

    def pixmap(self, size: QSize, mode: QIcon.Mode, state: QIcon.State) -> QPixmap:
        made = QPixmap(size)
        made.fill(Qt.GlobalColor.transparent)
        painter = QPainter(made)
        self.paint(painter, QRect(QPoint(0, 0), size), mode, state)
        painter.end()
        return made

    def clone(self) -> QIconEngine:
        return _Glyph(self._family, self._text, self._color)
