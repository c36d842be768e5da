"""Data for a task: the agent fetches blocks and lays them into the attempt's folder, where the task maps them.

Where tasks have another account, the folder is that one's, so that it can remove what it has read. It may then put
there what it likes: the agent makes each file anew in the folder that it has open, and follows no link.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quarterdeck.agent.account import Account
from quarterdeck.agent.channel import Record
from quarterdeck.agent.delivery import patiently
from quarterdeck.agent.store import Store
from quarterdeck.errors import QuarterdeckError

__all__ = ["Supply"]


class Supply:
    """Answers one attempt's requests to read."""

    def __init__(
        self,
        store: Store,
        task: int,
        attempt: int,
        folder: Path,
        account: Account | None,
        send: Callable[[Record], bool],
        given_up: Callable[[], bool],
    ) -> None:
        self._store = store
        self._key = (task, attempt)
        self._folder = folder
        self._account = account
        self._send = send
        self._given_up = given_up

    def serve(self, request: Record) -> None:
        """Answer a request: first schema and folder, then files of blocks as they arrive. Errors are answers too."""
        number = request.meta.get("id")
        try:
            self._serve(request, number)
        except QuarterdeckError as error:
            self._send(Record("answer", {"id": number, "error": str(error), "type": type(error).__name__}))
        except (OSError, ValueError, TypeError, KeyError) as error:
            text = f"the data could not be read on this node: {error}"
            self._send(Record("answer", {"id": number, "error": text, "type": "Invalid"}))

    def _serve(self, request: Record, number: Any) -> None:
        meta = request.meta
        if "dataset" in meta:
            parts = patiently(lambda: self._store.dataset(*self._key, str(meta["dataset"])), self._given_up)
        else:
            parts = patiently(
                lambda: self._store.result(*self._key, int(meta["job"]), str(meta["table"]), meta.get("ordinal")),
                self._given_up,
            )
        if parts is None:
            return
        folder = next((part.folder for part in parts if getattr(part, "folder", None)), None)
        schema = bytes(parts[0].schema) if parts else b""
        more = bool(parts) and folder is None
        if not self._send(Record("answer", {"id": number, "folder": folder, "more": more}, schema)) or not more:
            return
        for part in parts:
            if not self._part(part.table_id, meta, number):
                return
        self._send(Record("answer", {"id": number, "files": [], "more": False}))

    def _part(self, table: int, meta: dict[str, Any], number: Any) -> bool:
        after = -1
        while True:
            rows = patiently(
                lambda after=after: self._store.blocks(  # type: ignore[misc]
                    *self._key, table, meta.get("start"), meta.get("end"), meta.get("symbols"), after
                ),
                self._given_up,
            )
            if rows is None:
                return False
            if not rows:
                return True
            files = []
            for row in rows:
                files.append(self._lay(f"{number}-{table}-{row.number}.arrow", row.data))
                after = row.number
            if not self._send(Record("answer", {"id": number, "files": files, "more": True})):
                return False

    def _lay(self, name: str, data: bytes) -> str:
        """Write a file for the task, which must not be there; its path."""
        account, path = self._account, self._folder / name
        if not self._folder.exists():
            self._folder.mkdir()
            if account is not None:
                os.chown(self._folder, account.uid, account.gid, follow_symlinks=False)
        if account is None:
            path.write_bytes(data)
            return str(path)
        inside = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=inside)
        finally:
            os.close(inside)
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchown(handle, account.uid, account.gid)
        return str(path)
