"""Files that come with the program: fonts and our own icon; and the icon font, in the theme's colours."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import qtawesome
from PySide6.QtGui import QFontDatabase, QIcon

__all__ = ["application_icon", "folder", "icon", "load_fonts"]


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


@cache
def icon(name: str, color: str) -> QIcon:
    """An icon of the Material Design set (`name` without prefix) in one colour."""
    made: QIcon = qtawesome.icon(f"mdi6.{name}", color=color)
    return made
