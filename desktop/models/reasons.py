"""Why jobs wait: asked of the database when somebody wants to know (S1)."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from desktop.bridge import Bridge
from quarterdeck.client import Client
from quarterdeck.errors import QuarterdeckError

__all__ = ["Reasons"]


class Reasons(QObject):
    """One question at a time; a new one drops the old one's answer.

    Signals:
        told(int, str): a job's id, and in one sentence why it waits; empty when it doesn't
    """

    told = Signal(object, str)

    def __init__(self, client: Client, bridge: Bridge, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._client = client
        self._bridge = bridge

    def ask(self, job: int) -> None:
        """Ask why a job waits; `told` tells."""
        self._bridge.latest(self, "ask", self._ask(job))

    async def _ask(self, job: int) -> None:
        try:
            words = await self._bridge.call(self._client.why_waiting, job)
        except QuarterdeckError as error:
            words = str(error)
        self.told.emit(job, words[:1].upper() + words[1:])
