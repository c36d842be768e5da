"""Records between agent and task, and the bounded buffer on disk that holds them while the database is away.

A record is a kind, a small JSON document and bytes; the same form goes through the pipes and into the buffer's files.
Lines of the log do not come as records: they are text already, one line each, in the form of `quarterdeck.lines`.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["Broken", "Record", "Spool", "read_record", "write_record"]

_HEAD = struct.Struct("<16sII")
_META_LIMIT = 1 << 26
_DATA_LIMIT = 1 << 28
_SEGMENT = 16 << 20


class Broken(Exception):
    """What came through a pipe, or lies in a file, is not a record."""


@dataclass(frozen=True, slots=True)
class Record:
    kind: str
    meta: dict[str, Any] = field(default_factory=dict)
    data: bytes = b""

    def encoded(self) -> bytes:
        meta = json.dumps(self.meta, separators=(",", ":")).encode()
        if len(meta) > _META_LIMIT or len(self.data) > _DATA_LIMIT:
            raise Broken(f"a '{self.kind}' record of {len(meta) + len(self.data)} bytes is too large")
        return _HEAD.pack(self.kind.encode(), len(meta), len(self.data)) + meta + self.data


def _head(head: bytes) -> tuple[str, int, int]:
    kind, meta, data = _HEAD.unpack(head)
    try:
        name = kind.rstrip(b"\0").decode("ascii")
    except UnicodeDecodeError:
        raise Broken("a record has no name") from None
    if not name.isidentifier() or meta > _META_LIMIT or data > _DATA_LIMIT:
        raise Broken("a record's head is not one")
    return name, meta, data


def _document(text: bytes) -> dict[str, Any]:
    try:
        meta = json.loads(text)
    except (ValueError, RecursionError):
        raise Broken("a record's document is not JSON") from None
    if not isinstance(meta, dict):
        raise Broken("a record's document is not an object")
    return meta


def read_record(stream: BinaryIO) -> Record | None:
    """The next record of a blocking binary stream; None at its end.

    Raises:
        Broken: the stream ends inside a record, or holds something else.
    """
    head = stream.read(_HEAD.size)
    if not head:
        return None
    if len(head) < _HEAD.size:
        raise Broken("the stream ends inside a record")
    kind, meta_size, data_size = _head(head)
    meta, data = stream.read(meta_size), stream.read(data_size)
    if len(meta) < meta_size or len(data) < data_size:
        raise Broken("the stream ends inside a record")
    return Record(kind, _document(meta), data)


def write_record(handle: int, record: Record) -> None:
    """Write a record to a blocking file descriptor, all of it."""
    view = memoryview(record.encoded())
    while view:
        view = view[os.write(handle, view) :]


class Spool:
    """A queue of records in files of a folder: one writer side, one reader side, bounded in bytes.

    `put` blocks while `limit` bytes wait to be delivered, which is what holds up a task that prints without end. The
    reader reads ahead and acknowledges; what was not acknowledged is read again by the next `Spool` of the folder, also
    after a crash of the process (records must be idempotent).
    """

    def __init__(self, folder: Path, *, limit: int = 256 << 20, reserve: int = 256 << 20) -> None:
        """`limit`: bytes that may wait. `reserve`: bytes that stay free on the disk: then `put` blocks as well."""
        self.folder = folder
        self.limit = limit
        self.reserve = reserve
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Condition()
        self._dropped = self._woken = False
        self._waiting = 0
        # (segment, offset) of the first record that is not acknowledged, and those read ahead with their ends
        self._ahead: list[tuple[int, int, int]] = []
        self._segments = sorted(int(path.stem) for path in folder.glob("*.spool"))
        for number in self._segments:
            self._waiting += self._cut(number)
        if not self._segments:
            self._segments = [1]
        self._at = (self._segments[0], 0)
        self._writer: BinaryIO = self._path(self._segments[-1]).open("ab", buffering=0)
        self._written = self._path(self._segments[-1]).stat().st_size
        self._reader: tuple[int, BinaryIO] | None = None

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08d}.spool"

    def _cut(self, number: int) -> int:
        """Cut off a record that was only partly written when the last process ended; the file's sound size."""
        path, sound = self._path(number), 0
        with path.open("rb") as file, contextlib.suppress(Broken):
            while read_record(file) is not None:
                sound = file.tell()
        if sound < path.stat().st_size:
            os.truncate(path, sound)
        return sound

    @property
    def waiting(self) -> int:
        """Bytes that were put and not yet acknowledged."""
        return self._waiting

    def room(self) -> bool:
        """Whether less than the limit waits."""
        return self._waiting < self.limit and self._room(0)

    def put(self, record: Record, *, force: bool = False) -> bool:
        """Append a record, waiting for room (not with `force`); False when the spool was dropped instead."""
        data = record.encoded()
        with self._lock:
            while not self._dropped and not force and self._waiting and self._waiting + len(data) > self.limit:
                self._lock.wait()
            while not self._dropped and not self._append(data):
                self._lock.wait(1.0)
            if self._dropped:
                return False
            self._waiting += len(data)
            self._lock.notify_all()
            return True

    def _append(self, data: bytes) -> bool:
        if self._written >= _SEGMENT:
            self._roll()
        if self._written % (1 << 20) + len(data) >= 1 << 20 and not self._room(len(data)):
            return False
        try:
            view = memoryview(data)
            while view:
                view = view[self._writer.write(view) or 0 :]
        except OSError:  # the disk is full: take back what was written of it
            with contextlib.suppress(OSError):
                self._writer.truncate(self._written)
            return False
        self._written += len(data)
        return True

    def _room(self, size: int) -> bool:
        if not hasattr(os, "statvfs"):
            return True
        state = os.statvfs(self.folder)
        return state.f_bavail * state.f_frsize > self.reserve + size

    def _roll(self) -> None:
        self._writer.close()
        self._segments.append(self._segments[-1] + 1)
        self._writer = self._path(self._segments[-1]).open("ab", buffering=0)
        self._written = 0

    def read(self, timeout: float | None, *, records: int = 64, size: int = 4 << 20) -> list[Record]:
        """The next records that are not acknowledged, about that many and that large; [] after `timeout` seconds.

        Reading again without `acknowledge` gives the same records again.
        """
        with self._lock:
            if not self._waiting and not self._dropped and not self._woken:
                self._lock.wait(timeout)
            self._woken = False
            if self._dropped or not self._waiting:
                return []
            found: list[Record] = []
            self._ahead = []
            number, offset = self._at
            total = 0
            while len(found) < records and total < size:
                step = self._next(number, offset)
                if step is None:
                    if number == self._segments[-1]:
                        break
                    number, offset = self._segments[self._segments.index(number) + 1], 0
                    continue
                record, end = step
                self._ahead.append((number, end, end - offset))
                total += end - offset
                found.append(record)
                offset = end
            return found

    def _next(self, number: int, offset: int) -> tuple[Record, int] | None:
        end = self._written if number == self._segments[-1] else self._path(number).stat().st_size
        if offset >= end:
            return None
        if self._reader is None or self._reader[0] != number:
            if self._reader is not None:
                self._reader[1].close()
            self._reader = (number, self._path(number).open("rb"))
        file = self._reader[1]
        file.seek(offset)
        record = read_record(file)
        return None if record is None else (record, file.tell())

    def acknowledge(self, count: int) -> None:
        """The first `count` records of the last `read` are delivered."""
        with self._lock:
            for number, end, size in self._ahead[:count]:
                self._at = (number, end)
                self._waiting -= size
            del self._ahead[:count]
            if not self._waiting and self._written >= 1 << 20:
                self._roll()
                self._at = (self._segments[-1], 0)
            for number in [one for one in self._segments if one < self._at[0]]:
                self._segments.remove(number)
                if self._reader is not None and self._reader[0] == number:
                    self._reader[1].close()
                    self._reader = None
                self._path(number).unlink(missing_ok=True)
            self._lock.notify_all()

    def wake(self) -> None:
        """Let a waiting `read`, or the next one, return at once."""
        with self._lock:
            self._woken = True
            self._lock.notify_all()

    def drop(self) -> None:
        """Throw everything away; `put` returns False from now on."""
        with self._lock:
            self._dropped = True
            self._lock.notify_all()

    def close(self, *, keep: bool = False) -> None:
        """Close the files; without `keep` they are removed."""
        with self._lock:
            self._dropped = True
            self._writer.close()
            if self._reader is not None:
                self._reader[1].close()
                self._reader = None
            if not keep:
                for path in self.folder.glob("*.spool"):
                    path.unlink(missing_ok=True)
            self._lock.notify_all()


def records(stream: BinaryIO) -> Iterator[Record]:
    """All records of a stream up to its end."""
    while (record := read_record(stream)) is not None:
        yield record
