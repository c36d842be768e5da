"""Text files with delimiters (CSV), cut into records with their physical line numbers, nothing lost and nothing
guessed.

A record ends at a line feed outside of quotes; `"` quotes a whole field and is doubled inside. A line with a quote
anywhere else, or with one that is never closed, is a fault by itself, and reading goes on at the next line.
"""

from __future__ import annotations

import codecs
import io
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from quarterdeck.errors import Invalid
from quarterdeck.quant.source import Block, Fault, Lines, Mask, PackedFile, UnreadError, shortened

__all__ = ["MISSING", "DelimitedFile"]

MISSING = ("", "NA", "N/A", "#N/A", "<NA>", "null", "NULL", "Null", "NaN", "nan", "NAN", "-nan", "-NaN", "None", "none")
"""The cells that mean "no value" in a column of numbers, truth values or dates."""

_CHUNK = 4 << 20
_HEAD = 1 << 16
_LONGEST_RECORD = 1 << 20
_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UNREADABLE = "\udcff"
_UNREADABLE_BYTES = _UNREADABLE.encode("utf-8", "surrogatepass")
_LF, _CR, _QUOTE = 10, 13, 34
_NOT_READ = re.compile(r"In CSV column #(\d+): ")

Bytes = npt.NDArray[np.uint8]


def _mark_unreadable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _UNREADABLE, error.end


# What an encoding can't read becomes a lone surrogate, which is no UTF-8 either: the line is found and refused later.
codecs.register_error("quarterdeck-unreadable", _mark_unreadable)


@dataclass
class _Piece:
    """Whole records as bytes; `ends` and `malformed` are given only when the piece has quotes."""

    data: bytes
    first_line: int
    ends: Lines | None = None
    malformed: Mask | None = None
    at_end: bool = False


@dataclass
class DelimitedBlock:
    """Records of a text file, checked for their number of fields, encoding and stray characters."""

    piece: _Piece
    names: Sequence[str]
    delimiter: str
    encoding: str
    _good: Bytes | bytes = field(init=False, default=b"")
    _starts: Lines = field(init=False)
    _ends: Lines = field(init=False)
    _quoted: bool = field(init=False)
    lines: Lines = field(init=False)
    faults: list[Fault] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        data = self.piece.data
        buffer = np.frombuffer(data, np.uint8)
        feeds = np.flatnonzero(buffer == _LF)
        self._quoted = b'"' in data
        ends = feeds if self.piece.ends is None else self.piece.ends
        if len(data) and (not len(ends) or ends[-1] < len(data) - 1):
            ends = np.append(ends, len(data))
        starts = np.empty(len(ends), np.int64)
        if len(ends):
            starts[0] = 0
            starts[1:] = ends[:-1] + 1
        lines = self.piece.first_line + (
            np.arange(len(ends)) if self.piece.ends is None else np.searchsorted(feeds, starts)
        ).astype(np.int64)
        content = ends - ((ends > starts) & (buffer[np.maximum(ends - 1, 0)] == _CR)) if len(ends) else ends
        blank = content <= starts
        problems = self._problems(buffer, starts, ends, content)
        bad = np.zeros(len(ends), bool)
        for record, reason in problems.items():
            if not blank[record]:
                bad[record] = True
                text = _shown(data[starts[record] : content[record]])
                self.faults.append(Fault(int(lines[record]), "", reason, text))
        keep = ~(bad | blank)
        if keep.all():
            self._good = data
        else:
            edges = np.diff(np.concatenate(([0], keep.view(np.int8), [0])))
            firsts, lasts = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1) - 1
            view = memoryview(data)
            self._good = b"".join(view[starts[a] : ends[b] + 1] for a, b in zip(firsts, lasts, strict=True))
            starts, content, lines = starts[keep], content[keep], lines[keep]
        self._starts, self._ends, self.lines = starts, content, lines

    def _problems(self, buffer: Bytes, starts: Lines, ends: Lines, content: Lines) -> dict[int, str]:
        """The reason for each record that can't be split into as many fields as there are columns."""
        data, count = self.piece.data, len(starts)
        problems: dict[int, str] = {}
        if not count:
            return {}
        wanted = len(self.names) - 1
        malformed = self.piece.malformed if self.piece.malformed is not None else np.zeros(count, bool)
        quotes = None
        if self._quoted:
            quotes = np.flatnonzero(buffer == _QUOTE)
            if malformed.any():
                # their quotes are no pairs, and must not turn what comes after them inside out
                quotes = quotes[~malformed[np.searchsorted(ends, quotes)]]
        outside = _outside(quotes)
        commas = outside(np.flatnonzero(buffer == ord(self.delimiter)))
        fits = False
        if wanted and len(commas) == count * wanted:
            grid = commas.reshape(count, wanted)
            fits = bool((grid[:, 0] >= starts).all() and (grid[:, -1] < ends).all())
        if not fits:
            edges = np.searchsorted(commas, np.append(starts, ends[-1] + 1))
            fields = np.diff(edges)
            for record in np.flatnonzero(fields != wanted).tolist():
                problems[record] = f"has {_fields(int(fields[record]) + 1)} where the header has {wanted + 1}"
            if self.piece.at_end and fields[-1] < wanted and not data.endswith(b"\n"):
                problems[count - 1] = "the file ends within this line"
        for record in np.flatnonzero(malformed).tolist():
            problems[record] = "a quote stands inside a field, or is opened and never closed"
            if self.piece.at_end and record == count - 1 and not data.endswith(b"\n"):
                problems[record] = "the file ends within this line: a quote is opened and never closed"
        if b"\r" in data:
            stray = outside(np.flatnonzero(buffer == _CR))
            owner = np.searchsorted(ends, stray)
            for record in np.unique(owner[stray != content[owner]]).tolist():
                problems[record] = "a carriage return stands inside the line"
        if b"\0" in data:
            for record in np.unique(np.searchsorted(ends, np.flatnonzero(buffer == 0))).tolist():
                problems[record] = "holds a null byte, which is no text"
        if not _readable(data):
            for record in range(count):
                if not _readable(data[starts[record] : ends[record]]):
                    problems[record] = f"is not text in the encoding {self.encoding}"
        return dict(sorted(problems.items()))

    def table(self, types: Mapping[str, pa.DataType], decimal: str) -> pa.Table:
        if not len(self.lines):
            return pa.table({name: pa.array([], pa.string()) for name in self.names})
        try:
            table = self._parsed(types, decimal)
        except pa.ArrowInvalid as error:
            found = _NOT_READ.match(str(error))
            place = int(found[1]) if found else len(self.names)
            raise UnreadError(self.names[place] if place < len(self.names) else "") from error
        if table.num_rows != len(self.lines):
            raise Invalid(
                f"Lines {self.lines[0]} to {self.lines[-1]} were split into {table.num_rows} records instead of "
                f"{len(self.lines)}: please report this file."
            )
        return table

    def _parsed(self, types: Mapping[str, pa.DataType], decimal: str) -> pa.Table:
        return pyarrow.csv.read_csv(
            pa.BufferReader(pa.py_buffer(self._good)),
            pyarrow.csv.ReadOptions(
                column_names=list(self.names), block_size=min(len(self._good) + 64, 2**31 - 1), use_threads=False
            ),
            pyarrow.csv.ParseOptions(
                delimiter=self.delimiter,
                quote_char='"' if self._quoted else False,
                newlines_in_values=self._quoted,
            ),
            pyarrow.csv.ConvertOptions(
                column_types={name: types.get(name, pa.string()) for name in self.names},
                null_values=list(MISSING),
                strings_can_be_null=False,
                check_utf8=False,
                decimal_point=decimal,
            ),
        )

    def text(self, record: int) -> str:
        return _shown(self.piece.data[self._starts[record] : self._ends[record]])


class DelimitedFile:
    """A text file, plain or packed: its dialect, its column names, and its records in blocks.

    encoding   None: UTF-8, or UTF-16 when the file begins with its mark
    delimiter  None: the one of , ; tab | that splits the header and the first lines alike
    header_row the physical line with the column names; None: the first that isn't blank; 0: none, the columns are
               named column_1, column_2, …
    Raises Invalid for an empty or binary file, an unknown encoding, a header that can't be used.
    """

    typed = False
    relaxed_times = False

    def __init__(
        self,
        path: Path,
        *,
        label: str,
        encoding: str | None = None,
        delimiter: str | None = None,
        header_row: int | None = None,
    ) -> None:
        self.label = label
        self.notes: list[str] = []
        self._file = PackedFile(path)
        self._decoder: Any = None
        self._cr_only = False
        try:
            self._begin(encoding)
            self._header(delimiter, header_row)
        except BaseException:
            self._file.close()
            raise

    @property
    def names(self) -> Sequence[str]:
        return self._names

    @property
    def size(self) -> int:
        return self._file.size

    def position(self) -> int:
        return self._file.position()

    def close(self) -> None:
        self._file.close()

    def blocks(self) -> Iterator[Callable[[], Block]]:
        for piece in self._pieces():
            yield partial(DelimitedBlock, piece, self._names, self.delimiter, self.encoding)

    def _begin(self, encoding: str | None) -> None:
        head = self._file.read(_CHUNK)
        if not head:
            raise Invalid(f"{self.label} is empty.", field="path")
        marked = next((name for mark, name in _MARKS if head.startswith(mark)), None)
        try:
            # refuses codecs that are no encodings of text (base64, zip) with the same error
            io.TextIOWrapper(io.BytesIO(), encoding=encoding or marked or "utf-8").close()
            name = codecs.lookup(encoding or marked or "utf-8").name
        except LookupError as error:
            raise Invalid(
                f"The encoding {encoding} is not known: give utf-8, latin-1, cp1252, …", field="encoding"
            ) from error
        self.encoding = name
        if name in ("utf-8", "utf-8-sig"):
            self.encoding = "utf-8"
            head = head.removeprefix(codecs.BOM_UTF8)
        else:
            try:
                self._decoder = codecs.getincrementaldecoder(name)("quarterdeck-unreadable")
            except LookupError as error:
                raise Invalid(f"{encoding} is not an encoding of text.", field="encoding") from error
            head = self._decode(head)
        # a stream may give little at first: what is told from the beginning needs some of it
        while len(head) < _HEAD and (more := self._more()):
            head += more
        if self.encoding != "utf-8" or marked:
            self.notes.append(f"encoding {self.encoding}" + (", with a byte order mark" if marked else ""))
        if b"\0" in head[:65536]:
            raise Invalid(f"{self.label} is not a text file (it holds null bytes).", field="path")
        if b"\n" not in head and b"\r" in head:
            self._cr_only = True
            self.notes.append("lines end with a carriage return")
            head = head.replace(b"\r", b"\n")
        if not head.strip():
            raise Invalid(f"{self.label} is empty: it has only blank lines.", field="path")
        self._carry = head
        self._line = 1

    def _decode(self, data: bytes) -> bytes:
        text: str = self._decoder.decode(data, final=not data)
        return text.encode("utf-8", "surrogatepass")

    def _more(self) -> bytes:
        while True:
            data = self._file.read(_CHUNK)
            if self._decoder is None:
                break
            decoded = self._decode(data)
            if decoded or not data:
                data = decoded
                break
        return data.replace(b"\r", b"\n") if self._cr_only else data

    def _header(self, delimiter: str | None, header_row: int | None) -> None:
        if (found := re.match(rb"(?i)sep=(.)\r?\n", self._carry)) and header_row is None:
            delimiter = delimiter or found[1].decode("latin-1")
            self._drop(found.end())
        if header_row is None:
            while blank := re.match(rb"[ \t]*\r?\n", self._carry):
                self._drop(blank.end())
        else:
            while self._line < header_row:
                end = self._carry.find(b"\n")
                if end < 0:
                    raise Invalid(f"{self.label} has no line {header_row} for the header.", field="header_row")
                self._drop(end + 1)
        if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n' or ord(delimiter) > 127):
            raise Invalid("A delimiter is one character such as , ; | or a tab.", field="delimiter")
        lines = self._carry[: 256 << 10].split(b"\n")[:100]
        sample = [line.decode("utf-8", "replace") for line in lines if line.strip()]
        if not sample or not lines[0].strip():
            raise Invalid(
                f"Line {self._line} of {self.label}, which should name the columns, is blank.", field="header_row"
            )
        self.delimiter = delimiter or self._sniffed(sample)
        if not delimiter and self.delimiter != ",":
            self.notes.append(f"delimiter {_NAMES[self.delimiter]}")
        match = _record_pattern(self.delimiter).match(self._carry, 0, _LONGEST_RECORD)
        if match is None or b"\0" in match[0]:
            raise Invalid(f"The header in line {self._line} of {self.label} can't be read: its quotes don't pair.")
        if not _readable(match[0]):
            raise Invalid(f"The header of {self.label} is not text in the encoding {self.encoding}.", field="encoding")
        header = match[0].decode("utf-8").rstrip("\r\n")
        fields = _split(header, self.delimiter)
        if header_row == 0:
            self._names = [f"column_{i}" for i in range(1, len(fields) + 1)]
            return
        if self._line > 1:
            self.notes.append(f"header in line {self._line}, the lines before it are not read")
        self._drop(match.end())
        self._names = [name.strip() or f"column_{i}" for i, name in enumerate(fields, 1)]
        twice = [name for name, count in Counter(self._names).items() if count > 1]
        if twice:
            raise Invalid(f"The header of {self.label} names the column {twice[0]} twice.", field="path")

    def _sniffed(self, sample: Sequence[str]) -> str:
        best: tuple[float, int, str] | None = None
        for delimiter in _DELIMITERS:
            counts = [len(_split(line, delimiter)) for line in sample]
            if counts[0] > 1:
                rank = (sum(count == counts[0] for count in counts) / len(counts), counts[0], delimiter)
                best = max(best, rank) if best else rank
        if best is None:
            raise Invalid(
                f"Line {self._line} of {self.label} has no comma, semicolon, tab or bar: give delimiter or header_row.",
                field="delimiter",
            )
        return best[2]

    def _drop(self, size: int) -> None:
        self._line += self._carry.count(b"\n", 0, size)
        self._carry = self._carry[size:]

    def _pieces(self) -> Iterator[_Piece]:
        """The rest of the file as pieces of whole records."""
        ended = False
        while True:
            if not ended and len(self._carry) < _CHUNK // 2:
                data = self._more()
                ended = not data
                self._carry += data
            if ended and not self._carry:
                return
            piece, size = self._piece(ended)
            if size:
                self._carry = self._carry[size:]
                self._line += piece.data.count(b"\n")
                yield piece
            elif not ended:
                data = self._more()
                ended = not data
                self._carry += data

    def _piece(self, ended: bool) -> tuple[_Piece, int]:
        data = self._carry
        if b'"' not in data:
            size = len(data) if ended else data.rfind(b"\n") + 1
            if not size and len(data) > 16 * _LONGEST_RECORD:
                raise Invalid(
                    f"Line {self._line} of {self.label} is longer than 16 MB: this is no table.", field="path"
                )
            return _Piece(data if size == len(data) else data[:size], self._line, at_end=ended), size
        ends = _quoted_ends(data, self.delimiter, ended)
        malformed = None
        if ends is None or (not len(ends) and len(data) > _LONGEST_RECORD):
            ends, malformed = _walk(data, self.delimiter, ended)
        size = int(ends[-1]) + 1 if len(ends) else 0
        size = min(size, len(data))
        return _Piece(data[:size], self._line, ends, malformed, at_end=ended and size == len(data)), size


def _outside(quotes: Lines | None) -> Callable[[Lines], Lines]:
    """What chooses, of positions in a text, those that are not within quotes; `quotes` are the positions of these."""
    if quotes is None:
        return lambda positions: positions
    # an even number of quotes stands before
    return lambda positions: positions[np.searchsorted(quotes, positions) & 1 == 0]


def _quoted_ends(data: bytes, delimiter: str, ended: bool) -> Lines | None:
    """Where records end when every quote opens or closes a field or is doubled inside one; None when one does not.

    A carriage return before a line feed is the line's, one elsewhere is found later.
    """
    buffer = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(buffer == _QUOTE)
    ends = _outside(quotes)(np.flatnonzero(buffer == _LF))
    if ended and (not len(ends) or ends[-1] != len(data) - 1):
        if len(quotes) & 1:
            return None
        ends = np.append(ends, len(data))
    if not len(ends):
        return ends
    quotes = quotes[quotes < ends[-1]]
    comma = ord(delimiter)
    opening, closing = quotes[0::2], quotes[1::2]
    before = buffer[np.maximum(opening - 1, 0)]
    fair = (opening == 0) | (before == comma) | (before == _LF)
    # a quote right after a closing one is the second of a pair inside the field
    fair[1:] |= opening[1:] == closing[: len(opening) - 1] + 1
    padded = np.append(buffer, np.uint8(_LF))
    after = padded[closing + 1]
    shut = (after == comma) | (after == _LF) | (after == _QUOTE)
    shut |= (after == _CR) & (padded[np.minimum(closing + 2, len(data))] == _LF)
    return ends if bool(fair.all() and shut.all()) else None


def _walk(data: bytes, delimiter: str, ended: bool) -> tuple[Lines, Mask]:
    """The same, line by line: a line where the quotes don't pair is a record by itself, marked."""
    pattern = _record_pattern(delimiter)
    ends: list[int] = []
    malformed: list[bool] = []
    start, size = 0, len(data)
    while start < size:
        match = pattern.match(data, start, min(size, start + _LONGEST_RECORD))
        closed = match is not None and (data[match.end() - 1] == _LF or (ended and match.end() == size))
        if match is not None and closed:
            end = match.end() - 1 if data[match.end() - 1] == _LF else size
            malformed.append(False)
        elif not ended and size - start < _LONGEST_RECORD:
            break
        else:
            end = data.find(b"\n", start)
            if end < 0:
                if not ended:
                    break
                end = size
            malformed.append(True)
        ends.append(end)
        start = end + 1
    return np.array(ends, np.int64), np.array(malformed, bool)


def _record_pattern(delimiter: str) -> re.Pattern[bytes]:
    comma = re.escape(delimiter.encode())
    cell = rb'(?:"(?:[^"]|"")*+"(?!")|[^"\n' + comma + rb"]*+)"
    return re.compile(cell + rb"(?:" + comma + cell + rb")*+(?:\r?\n|\Z)")


def _split(line: str, delimiter: str) -> list[str]:
    """The fields of one line, quotes taken off; a line that is badly quoted is split at each delimiter."""
    fields = re.findall(
        rf'(?:^|{re.escape(delimiter)})("(?:[^"]|"")*"|[^{re.escape(delimiter)}]*)', line.rstrip("\r\n")
    )
    return [f[1:-1].replace('""', '"') if len(f) > 1 and f[0] == f[-1] == '"' else f for f in fields]


def _fields(count: int) -> str:
    return "1 field" if count == 1 else f"{count} fields"


def _readable(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _shown(data: bytes) -> str:
    text = data[:4096].replace(_UNREADABLE_BYTES, "\ufffd".encode()).decode("utf-8", "backslashreplace")
    return shortened(text.replace("\0", "\\x00"))
