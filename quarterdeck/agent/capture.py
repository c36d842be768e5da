"""In the task's process: standard output, standard error and logging become lines in one order.

Each line is written to the agent at once, so that none is lost when the process crashes right after it. Output that
does not come through Python (C code, programs started by the task) goes to the plain descriptors 1 and 2, which the
agent reads.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterable
from typing import Any

from quarterdeck.lines import split_text

__all__ = ["Lines", "install"]

_QUIET = ("asyncio", "botocore", "fsspec", "h5py", "matplotlib", "numba", "parso", "PIL", "urllib3")
_PARTIAL_LIMIT = 1 << 16


class Lines:
    """The way of lines to the agent: a pipe that takes them as text, one a line."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._lock = threading.RLock()
        self._last = 0

    def write(self, mark: str, texts: Iterable[str]) -> None:
        """Write lines with the present time. `mark`: the letters of stream and level."""
        with self._lock:
            now = time.time_ns() // 1000
            # never back in time: the order of one task's lines is the order of their times
            self._last = now = max(now, self._last)
            data = "".join([f"{now}\t{mark}\t{text}\n" for text in texts]).encode("utf-8", "replace")
            try:
                written = os.write(self._handle, data)
                while written < len(data):
                    data = data[written:]
                    written = os.write(self._handle, data)
            except OSError:
                return  # the agent is gone, and so is this process in a moment

    def say(self, text: str, level: str = "info") -> None:
        """Execution information, of any number of lines."""
        self.write(f"x{level[0]}", split_text(text))


class _Stream(io.TextIOBase):
    """A text stream that becomes lines."""

    def __init__(self, lines: Lines, mark: str, number: int) -> None:
        self._lines = lines
        self._mark = mark
        self._number = number
        self._partial = ""
        self._lock = threading.RLock()
        self.buffer = _Bytes(self)

    encoding = "utf-8"
    errors = "replace"

    @property
    def name(self) -> str:
        return "<stdout>" if self._number == 1 else "<stderr>"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def write(self, text: str, /) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._lock:
            if "\n" not in text and "\r" not in text:
                self._partial += text
                if len(self._partial) > _PARTIAL_LIMIT:
                    self.finish()
            elif text == "\n":
                self._emit(self._partial)
                self._partial = ""
            else:
                whole = self._partial + text
                end = max(whole.rfind("\n"), whole.rfind("\r")) + 1
                self._partial = whole[end:]
                self._emit(whole[:end])
        return len(text)

    def _emit(self, text: str) -> None:
        if text.isascii() and len(text) < _PARTIAL_LIMIT and not ("\n" in text or "\r" in text or "\0" in text):
            self._lines.write(self._mark, (text,))
            return
        lines = split_text(text)
        if "\r" in text:  # progress bars rewrite their line: what they leave empty is no line
            lines = [line for line in lines if line] or [""]
        self._lines.write(self._mark, lines)

    def finish(self) -> None:
        """Write what has no line break yet."""
        with self._lock:
            if self._partial:
                partial, self._partial = self._partial, ""
                self._emit(partial)


class _Bytes(io.RawIOBase):
    """`sys.stdout.buffer`: bytes that become the stream's text."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, data: Any, /) -> int:
        self._stream.write(bytes(data).decode("utf-8", "replace"))
        return len(data)


class _Records(logging.Handler):
    """Logging records with their own levels; tracebacks as further lines."""

    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
            if record.name != "root":
                text = f"{record.name}: {text}"
            if record.exc_info and not record.exc_text and record.exc_info[0] is not None:
                record.exc_text = "".join(traceback.format_exception(*record.exc_info))
            for more in (record.exc_text, record.stack_info):
                if more:
                    text = f"{text}\n{more}"
        except Exception:
            self.handleError(record)
            return
        number = record.levelno
        level = "d" if number < logging.INFO else "i" if number < logging.WARNING else "w" if number < 40 else "e"
        self._lines.write(f"l{level}", split_text(text))


def install(lines: Lines) -> None:
    """Put the streams and the logging handler in place, in this process only: what it forks writes plain output."""
    out, err = _Stream(lines, "oi", 1), _Stream(lines, "ei", 2)
    sys.stdout, sys.stderr = out, err
    sys.__stdout__, sys.__stderr__ = out, err  # type: ignore[misc,assignment]
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    records = _Records(lines)
    root.addHandler(records)
    root.setLevel(logging.DEBUG)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.INFO)

    def forked() -> None:
        # two processes in one pipe would cut each other's lines
        sys.stdout = sys.__stdout__ = open(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # type: ignore[misc]  # noqa: SIM115
        sys.stderr = sys.__stderr__ = open(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)  # type: ignore[misc]  # noqa: SIM115
        root.removeHandler(records)
        plain = logging.StreamHandler(sys.stderr)
        plain.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        root.addHandler(plain)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=forked)


def finish() -> None:
    """Write out partial lines, when the run is over."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, _Stream):
            stream.finish()
