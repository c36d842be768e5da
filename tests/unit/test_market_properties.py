"""Any table, written in any dialect, is read back exactly; any damage loses no line without a word."""

from __future__ import annotations

import csv
import io
import math
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from market_trial import Imported, imported, utc

from quarterdeck.errors import Invalid
from quarterdeck.quant import delimited

pytestmark = pytest.mark.spec("D2", "K1", "T1", "G4")

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=("Cs",)), max_size=12)
SYMBOLS = st.text(st.characters(categories=("Lu", "Nd"), max_codepoint=0x2FF), min_size=1, max_size=4)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53).map(float)
ROWS = st.lists(
    st.tuples(SYMBOLS.filter(lambda s: s != "NULL"), st.integers(0, 10**9), NUMBERS, TEXTS),
    min_size=1,
    max_size=40,
    unique_by=lambda row: (row[0], row[1]),
)
EASY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _one_sentence(error: Invalid) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < 2_000


def read(content: bytes, **options: Any) -> Imported:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "a.csv"
        file.write_bytes(content)
        return imported(file, Path(name), **options)


@EASY
@given(
    rows=ROWS,
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    comma=st.booleans(),
    last=st.booleans(),
    chunk=st.sampled_from([64, 150, 1 << 22]),
)
def test_what_was_written_is_read(
    rows: list[tuple[str, int, float | None, str]],
    delimiter: str,
    end: str,
    quoting: Any,
    encoding: str,
    comma: bool,
    last: bool,
    chunk: int,
) -> None:
    start = utc(2020, 1, 1)
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(["symbol", "time", "close", "note"])
    for symbol, seconds, number, text in rows:
        shown = "" if number is None else repr(number)
        moment = (start + timedelta(seconds=seconds)).strftime("%Y-%m-%d %H:%M:%S")
        # a word before the text: a column of numbers only would be one of numbers
        writer.writerow([symbol, moment, shown.replace(".", ",") if comma else shown, "n" + text])
    content = out.getvalue()
    if not last:
        content = content.removesuffix(end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_CHUNK", chunk)
        patch.setattr(delimited, "_HEAD", min(chunk, 64))
        got = read(content.encode(encoding), delimiter=delimiter, decimal="," if comma else ".")
    assert got.refused == []
    wanted = sorted(rows, key=lambda row: (row[1], row[0]))
    assert got.column("symbol") == [row[0] for row in wanted]
    assert got.column("time") == [start + timedelta(seconds=row[1]) for row in wanted]
    assert got.column("close") == [row[2] for row in wanted]
    assert got.column("note") == ["n" + row[3] for row in wanted]


@EASY
@given(
    count=st.integers(1, 30),
    damage=st.lists(
        st.tuples(st.integers(0, 10_000), st.binary(max_size=6), st.integers(0, 8)), min_size=1, max_size=4
    ),
    chunk=st.sampled_from([64, 150, 1 << 22]),
)
def test_damage_loses_no_line_without_a_word(count: int, damage: list[tuple[int, bytes, int]], chunk: int) -> None:
    """Bytes are put in and taken out anywhere after the header. Each physical line that is whole is a row,
    or within the text of a rejected line, or a double of one; the counts add up (checked by `imported`)."""
    header = b"symbol,time,close,note\n"
    lines = [b'S%d,2024-01-02 10:%02d:00,%d.5,"n,%d"\n' % (i, i, i, i) for i in range(count)]
    body = b"".join(lines)
    for place, inserted, removed in damage:
        at = place % (len(body) + 1)
        body = body[:at] + inserted + body[at + removed :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "_CHUNK", chunk)
        patch.setattr(delimited, "_HEAD", min(chunk, 64))
        try:
            got = read(header + body, delimiter=",", decimal=".", time_format="iso")
        except Invalid as error:
            _one_sentence(error)
            return
    texts = "\n".join(r["text"] for r in got.rejects)
    rows = {(row[0], row[2], row[3]) for row in got.rows}
    for index, line in enumerate(lines):
        if b"\n" + line in b"\n" + body:
            row = (f"S{index}", index + 0.5, f"n,{index}")
            shown = line.decode().rstrip("\n")
            assert row in rows or shown in texts or f"S{index} at" in " ".join(r["reason"] for r in got.rejects)
    for symbol, close, note in rows:
        # nothing is made up: what was read stands in the file
        assert symbol.encode() in body
        assert close is None or math.isfinite(close)
        assert not isinstance(note, str) or note.replace('"', '""').encode() in body


@EASY
@given(data=st.binary(max_size=300), tail=st.booleans())
def test_any_bytes_give_rows_or_one_sentence(data: bytes, tail: bool) -> None:
    content = data + (b"\nsymbol,time,close\nA,2024-01-02,1\n" if tail else b"")
    try:
        read(content)
    except Invalid as error:
        _one_sentence(error)


@EASY
@given(texts=st.lists(st.text("0123456789+-.,eE infaNx_'", max_size=9), min_size=1, max_size=20))
def test_numbers_are_read_as_python_reads_them_or_refused(texts: list[str]) -> None:
    """What float() takes, bar words and underscores, is read to the last bit; what it does not take is refused."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["symbol", "time", "close"])
    for index, text in enumerate(texts):
        writer.writerow(["A", index, text])
    got = read(out.getvalue().encode(), time_format="epoch_s", decimal=".")
    values = {int(row[1].timestamp()): row[2] for row in got.rows}
    for index, text in enumerate(texts):
        plain = text.strip()
        if plain in delimited.MISSING:
            assert values[index] is None
            continue
        try:
            number = float(plain) if "_" not in plain else math.inf
        except ValueError:
            number = math.inf
        if math.isfinite(number):
            assert values[index] == number
        else:
            assert index not in values
