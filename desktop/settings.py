"""What the desktop remembers between starts: one JSON file in the user's configuration folder."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Any

from PySide6.QtCore import QByteArray

from quarterdeck import profile

__all__ = ["Settings", "file"]


def file() -> Path:
    """Where the settings lie: beside the profiles."""
    return profile.folder() / "desktop.json"


class Settings:
    """Values by name. A file that can't be read is as good as none; a value of another type than asked is ignored."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path or file()
        self._values: dict[str, Any] = {}
        try:
            values = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            values = {}
        if isinstance(values, dict):
            self._values = values

    def text(self, name: str, default: str = "") -> str:
        value = self._values.get(name)
        return value if isinstance(value, str) else default

    def number(self, name: str, default: int = 0) -> int:
        value = self._values.get(name)
        return value if isinstance(value, int) and not isinstance(value, bool) else default

    def numbers(self, name: str) -> dict[str, int]:
        """A map from text to whole number, such as column widths."""
        value = self._values.get(name)
        if not isinstance(value, dict):
            return {}
        return {str(key): number for key, number in value.items() if isinstance(number, int)}

    def words(self, name: str) -> list[str]:
        """A list of texts, such as the order of columns."""
        value = self._values.get(name)
        return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []

    def state(self, name: str) -> QByteArray | None:
        """What a widget's saveState gave."""
        try:
            return QByteArray(base64.b64decode(self.text(name), validate=True)) if self.text(name) else None
        except binascii.Error:
            return None

    def set_state(self, name: str, state: QByteArray) -> None:
        self.set(name, base64.b64encode(state.data()).decode("ascii"))

    def set(self, name: str, value: str | int | list[str] | dict[str, int]) -> None:
        self._values[name] = value

    def save(self) -> None:
        """Write the file as a whole; a crash leaves the old one.

        Raises:
            OSError: the folder can't be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self._values, indent=1, sort_keys=True), "utf-8")
        fresh.replace(self._path)
