"""Where imported rows come from: files found by path, list or pattern, opened and unpacked; and what a block of rows
is.

A *block* is some tens of thousands of consecutive records of one source, with the line number of each. Lines are
physical and count from 1 (a text file's line, a sheet's row; a record's number in Parquet and in a query's answer).
"""

from __future__ import annotations

import glob
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from quarterdeck.errors import Invalid, NotFound
from quarterdeck.reach import out_of_reach

__all__ = [
    "Block",
    "Fault",
    "Format",
    "Lines",
    "Mask",
    "PackedFile",
    "Source",
    "UnreadError",
    "find_files",
    "format_of",
    "shortened",
]

Format = Literal["csv", "parquet", "excel"]
Lines = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_ENDINGS: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xlsx": "excel",
    ".xlsm": "excel",
    ".xlsb": "excel",
    ".xls": "excel",
    ".ods": "excel",
}
_LONGEST_TEXT = 500


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one line: where (an empty `column` means the whole line), why, and the text as it stands.

    `action` is `rejected` (the line is not imported), `changed` (imported with the change that `reason` names) or
    `sorted`.
    """

    line: int
    column: str
    reason: str
    text: str
    action: Literal["rejected", "changed", "sorted"] = "rejected"


class UnreadError(Exception):
    """A field can't be read as its column's type: `column` names it, or is empty where that isn't known."""

    def __init__(self, column: str) -> None:
        super().__init__(column)
        self.column = column


class Block(Protocol):
    """Consecutive records of a source, those that could not even be split into fields left out and told in `faults`."""

    @property
    def lines(self) -> Lines:
        """The line where each record begins, in order."""
        ...

    @property
    def faults(self) -> Sequence[Fault]: ...

    def table(self, types: Mapping[str, pa.DataType], decimal: str) -> pa.Table:
        """The records' fields by source name, those in `types` read as that type where the source is text.

        `decimal` is the sign between whole and fraction. Raises UnreadError when a field can't be read so: ask
        again for that column's text.
        """
        ...

    def text(self, record: int) -> str:
        """The record as it stands in the source, for a message; cut after 500 characters."""
        ...


class Source(Protocol):
    """One file or query, opened: its column names are known, its blocks come in order."""

    label: str
    notes: list[str]
    typed: bool
    relaxed_times: bool

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def size(self) -> int:
        """Bytes that reading to the end will take, 0 when unknown."""
        ...

    def position(self) -> int: ...

    def blocks(self) -> Iterator[Callable[[], Block]]:
        """Each block once, as a call that builds it and may be made in any thread; a second call of this goes on."""
        ...

    def close(self) -> None: ...


def shortened(text: str) -> str:
    """At most 500 characters of a text, with an ellipsis where it was cut."""
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"


def find_files(path: str | Sequence[str]) -> list[Path]:
    """The files that a path, a pattern (`*`, `?`, `[…]`, `**`) or a list of both names, each once, in order of name.

    Raises NotFound for what isn't there, Invalid for a folder or an empty list.
    """
    given = [path] if isinstance(path, str) else list(path)
    if not given:
        raise Invalid("No file is named: give at least one in path.", field="path")
    found: dict[Path, None] = {}
    for entry in given:
        file = Path(entry).expanduser()
        if closed := out_of_reach(_before_magic(file)):
            raise Invalid(f"{closed}.", field="path")
        if file.is_dir():
            raise Invalid(f"{entry} is a folder: give a pattern such as {file / '*.csv'}.", field="path")
        if file.is_file():
            found[file] = None
        elif glob.has_magic(entry):
            matches = sorted(Path(name) for name in glob.glob(str(file), recursive=True) if Path(name).is_file())  # noqa: PTH207
            if not matches:
                raise NotFound(f"No file matches the pattern {entry}.", field="path")
            found.update(dict.fromkeys(matches))
        else:
            raise NotFound(f"There is no file {entry} on this node.", field="path")
    return list(found)


def _before_magic(file: Path) -> Path:
    """The path up to its first part with a wildcard; the whole where a file has that very name."""
    for folder in reversed(file.parents):
        if glob.has_magic(folder.name):
            return folder.parent
    return file.parent if glob.has_magic(file.name) else file


def format_of(path: Path) -> Format:
    """The format that a file's ending tells, a `.gz` or `.zst` after it left out of account."""
    name = path.name.lower()
    for packed in (".gz", ".zst"):
        name = name.removesuffix(packed)
    ending = Path(name).suffix
    if ending not in _ENDINGS:
        raise Invalid(
            f"The ending of {path.name} tells no format: give format as csv, parquet or excel.", field="format"
        )
    return _ENDINGS[ending]


class PackedFile:
    """A file read from start to end, unpacked when its first bytes are those of gzip or Zstandard."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._raw = io.BufferedReader(io.FileIO(path), 1 << 20)
        except OSError as error:
            raise Invalid(f"{path} can't be opened: {error.strerror or error}.", field="path") from error
        self.size = path.stat().st_size
        magic = self._raw.peek(4)[:4]
        self._read: Callable[[int], bytes] = self._raw.read
        self._unpacked: BinaryIO | pa.CompressedInputStream | None = None
        if magic[:2] == b"\x1f\x8b":
            unpacked = gzip.GzipFile(fileobj=self._raw)
            self._unpacked, self._read = unpacked, io.BufferedReader(unpacked, 1 << 20).read
        elif magic == b"\x28\xb5\x2f\xfd":
            self._unpacked = pa.CompressedInputStream(pa.PythonFile(self._raw, mode="r"), "zstd")
            self._read = self._unpacked.read

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer only at the end. Raises Invalid when the file is damaged or cut."""
        parts: list[bytes] = []
        try:
            while size > 0:
                part = self._read(size)
                if not part:
                    break
                parts.append(part)
                size -= len(part)
        except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
            raise Invalid(
                f"{self._path} can't be read to its end: it is cut or damaged ({error}).", field="path"
            ) from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def position(self) -> int:
        return self.size if self._raw.closed else min(self._raw.tell(), self.size)

    def close(self) -> None:
        self._raw.close()
