"""CSV with each kind of trouble: what is read, what is refused, with line, column, reason and text, by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from market_trial import imported, utc

from quarterdeck.errors import Invalid, NotFound
from quarterdeck.quant import delimited

pytestmark = pytest.mark.spec("D2", "K1", "T1")

D1, D2, D3, D4 = utc(2024, 1, 2), utc(2024, 1, 3), utc(2024, 1, 4), utc(2024, 1, 5)


def test_a_plain_file(read: Any) -> None:
    got = read(
        "symbol,time,open,close,volume\nAAPL,2024-01-02,1.5,2,100\nMSFT,2024-01-02,3,-4.25,0.5\nAAPL,2024-01-03,1e2,,\n"
    )
    assert got.table.schema == pa.schema(
        [
            ("symbol", pa.string()),
            ("time", pa.timestamp("us", "UTC")),
            ("open", pa.float64()),
            ("close", pa.float64()),
            ("volume", pa.float64()),
        ]
    )
    assert got.rows == [
        ("AAPL", D1, 1.5, 2.0, 100.0),
        ("MSFT", D1, 3.0, -4.25, 0.5),
        ("AAPL", D2, 100.0, None, None),
    ]
    assert got.rejects == []
    assert got.report.symbols == 2
    assert got.report.first_symbols == ["AAPL", "MSFT"]
    assert (got.report.first_time, got.report.last_time) == (D1, D2)


def test_wrong_numbers_of_fields(read: Any) -> None:
    got = read("symbol,time,close\nA,2024-01-02,1\nA,2024-01-03\nA,2024-01-04,1,5\nA\nA,2024-01-05,2\n")
    assert got.rows == [("A", D1, 1.0), ("A", D4, 2.0)]
    assert [(r["line"], r["column"], r["reason"], r["text"]) for r in got.rejects] == [
        (3, "", "has 2 fields where the header has 3", "A,2024-01-03"),
        (4, "", "has 4 fields where the header has 3", "A,2024-01-04,1,5"),
        (5, "", "has 1 field where the header has 3", "A"),
    ]


def test_fields_that_even_out_are_still_found(read: Any) -> None:
    """One line has a field too many and the next one too few: the total is right, the lines are not."""
    got = read("symbol,time,close\nA,2024-01-02,1,\nA,2024-01-03\nA,2024-01-04,3\n")
    assert [line for line, _, _ in got.refused] == [2, 3]
    assert got.rows == [("A", D3, 3.0)]


def test_a_cut_last_line(read: Any) -> None:
    got = read("symbol,time,close\nA,2024-01-02,1\nA,2024-0")
    assert got.rows == [("A", D1, 1.0)]
    assert got.refused == [(3, "", "the file ends within this line")]
    got = read('symbol,time,close,note\nA,2024-01-02,1,x\nA,2024-01-03,2,"cut')
    assert got.rows == [("A", D1, 1.0, "x")]
    assert got.refused == [(3, "", "the file ends within this line: a quote is opened and never closed")]
    whole = read("symbol,time,close\nA,2024-01-02,1\nA,2024-01-03,2")
    assert whole.rows == [("A", D1, 1.0), ("A", D2, 2.0)]


def test_a_quote_never_closed_costs_its_own_line_only(read: Any) -> None:
    got = read('symbol,time,close,note\nA,2024-01-02,1,"open\nA,2024-01-03,2,x\nA,2024-01-04,3,"y"\nA,2024-01-05,4,z\n')
    assert got.rows == [("A", D2, 2.0, "x"), ("A", D3, 3.0, "y"), ("A", D4, 4.0, "z")]
    assert [(r["line"], r["reason"], r["text"]) for r in got.rejects] == [
        (2, "a quote stands inside a field, or is opened and never closed", 'A,2024-01-02,1,"open')
    ]


def test_a_quote_inside_a_field(read: Any) -> None:
    got = read('symbol,time,close,note\nA,2024-01-02,1,5" pipe\nA,2024-01-03,2,"a"b\nA,2024-01-04,3,"say ""x"""\n')
    assert got.rows == [("A", D3, 3.0, 'say "x"')]
    reason = "a quote stands inside a field, or is opened and never closed"
    assert got.refused == [(2, "", reason), (3, "", reason)]


def test_quoted_delimiters_and_line_ends(read: Any) -> None:
    got = read(
        'symbol,time,close,note\n"A","2024-01-02","1","a,b"\nA,2024-01-03,2,"two\nlines, ""x"""\r\nA,2024-01-04,x,\n'
    )
    assert got.rows == [("A", D1, 1.0, "a,b"), ("A", D2, 2.0, 'two\nlines, "x"')]
    # the record before begins in line 3 and ends in line 4
    assert got.refused == [(5, "close", "'x' is not a number")]


def test_bom_crlf_and_blank_lines(read: Any) -> None:
    got = read(
        "\ufeffsymbol,time,close\r\nA,2024-01-02,1\r\n\r\n\r\nA,2024-01-03,x\r\n\r\nA,2024-01-04,3\r\n\r\n".encode()
    )
    assert got.rows == [("A", D1, 1.0), ("A", D3, 3.0)]
    assert got.refused == [(5, "close", "'x' is not a number")]
    assert got.rejects[0]["text"] == "A,2024-01-03,x"
    assert got.report.rows_read == 3


def test_carriage_returns_alone(read: Any) -> None:
    got = read("symbol,time,close\rA,2024-01-02,1\rA,2024-01-03,x\r")
    assert got.rows == [("A", D1, 1.0)]
    assert got.refused == [(3, "close", "'x' is not a number")]


def test_a_stray_carriage_return(read: Any) -> None:
    got = read("symbol,time,close,note\nA,2024-01-02,1,a\rb\nA,2024-01-03,2,c\n")
    assert got.rows == [("A", D2, 2.0, "c")]
    assert got.refused == [(2, "", "a carriage return stands inside the line")]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_are_found(read: Any, delimiter: str) -> None:
    rows = (("symbol", "time", "close"), ("A", "2024-01-02", "1.5"), ("B", "2024-01-02", "2"))
    text = "".join(delimiter.join(row) + "\n" for row in rows)
    assert read(text).rows == [("A", D1, 1.5), ("B", D1, 2.0)]
    assert read("sep=" + delimiter + "\n" + text).rows == [("A", D1, 1.5), ("B", D1, 2.0)]


def test_another_delimiter_is_given(read: Any) -> None:
    assert read("symbol^time^close\nA^2024-01-02^1\n", delimiter="^").rows == [("A", D1, 1.0)]


def test_header_in_another_line(read: Any) -> None:
    got = read("Prices of today\n\nsymbol,time,close\nA,2024-01-02,x\nA,2024-01-03,1\n", header_row=3)
    assert got.rows == [("A", D2, 1.0)]
    assert got.refused == [(4, "close", "'x' is not a number")]
    got = read(
        "A,2024-01-02,1\n", header_row=0, columns={"column_1": "symbol", "column_2": "time", "column_3": "close"}
    )
    assert got.rows == [("A", D1, 1.0)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1", "cp1252", "utf-8", "utf-8-sig"])
def test_encodings(read: Any, encoding: str) -> None:
    text = "symbol,time,close,note\nA,2024-01-02,1,Müller\nB,2024-01-02,x,é\n"
    got = read(text.encode(encoding), encoding=None if encoding in ("utf-16", "utf-8", "utf-8-sig") else encoding)
    assert got.rows == [("A", D1, 1.0, "Müller")]
    assert got.rejects[0]["text"] == "B,2024-01-02,x,é"


def test_bytes_that_the_encoding_does_not_have(read: Any) -> None:
    got = read("symbol,time,close,note\nA,2024-01-02,1,Müller\nA,2024-01-03,2,ok\n".encode("latin-1"))
    assert got.rows == [("A", D2, 2.0, "ok")]
    assert got.rejects[0]["reason"] == "is not text in the encoding utf-8"
    assert got.rejects[0]["text"] == "A,2024-01-02,1,M\\xfcller"
    got = read(b"symbol,time,close,note\nA,2024-01-02,1,\x81\nA,2024-01-03,2,\x80\n", encoding="cp1252")
    assert got.rows == [("A", D2, 2.0, "€")]
    assert got.refused == [(2, "", "is not text in the encoding cp1252")]
    cut = "symbol,time,close\nA,2024-01-02,1\nA,2024-01-03,2".encode("utf-16")[:-1]
    assert read(cut).refused == [(3, "", "is not text in the encoding utf-16")]


def test_a_null_byte_in_a_line(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    filler = "".join(f"A,{1700000000 + i},1\n" for i in range(9000))
    got = read(b"symbol,time,close\n" + filler.encode() + b"A,17\x0000000000,1\n")
    assert got.refused == [(9002, "", "holds a null byte, which is no text")]
    assert len(got.rows) == 9000


def test_packed_files(read: Any, tmp_path: Path) -> None:
    text = b"symbol,time,close\nA,2024-01-02,1\nA,2024-01-03,x\n"
    assert read(gzip.compress(text), "p.csv.gz").refused == [(3, "close", "'x' is not a number")]
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as packed:
        packed.write(text)
    zstd = sink.getvalue().to_pybytes()
    assert read(zstd, "p.csv.zst").refused == [(3, "close", "'x' is not a number")]
    two = gzip.compress(text[:40]) + gzip.compress(text[40:])
    assert read(two, "p.csv.gz").rows == [("A", D1, 1.0)]


@pytest.mark.spec("G4")
@pytest.mark.parametrize("keep", [0.5, 0.9])
@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_packed_files_that_are_cut(read: Any, ending: str, keep: float) -> None:
    text = b"symbol,time,close\n" + b"".join(b"A,%d,%d\n" % (1700000000 + i * i, i * 7919 % 1000) for i in range(20000))
    if ending == "gz":
        data = gzip.compress(text)
    else:
        sink = pa.BufferOutputStream()
        with pa.CompressedOutputStream(sink, "zstd") as packed:
            packed.write(text)
        data = sink.getvalue().to_pybytes()
    with pytest.raises(Invalid, match="cut or damaged"):
        read(data[: int(len(data) * keep)], f"p.csv.{ending}")


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "prices.csv is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n\r\n\n", "only blank lines"),
        (b"symbol,time,close\n", "has column names, but no rows"),
        (b"symbol,time,close", "has column names, but no rows"),
        (b"symbol,time,close\n\n\n", "has column names, but no rows"),
        (b"\x7fELF\x00\x00\x01", "is not a text file"),
        (b"symbol,close\nA,1\n", "has no column of times: it has symbol, close"),
        (b"symbol,time,close,close\nA,2024-01-02,1,1\n", "names the column close twice"),
        (b"Date,Timestamp,close\n2024-01-02,2024-01-02,1\n", "Date and Timestamp of prices.csv may each be the time"),
        (b"symbol time close\nA 2024-01-02 1\n", "give delimiter or header_row"),
        (b"symbol,time,close\nA,B\nC,D\n", "line 2 has 2 fields where the header has 3"),
        (b"symbol,time,close\nA,yesterday,1\n", "'yesterday', which is no known form of time: give time_format"),
        (b"symbol,time,close\nA,,1\n", "The time column time of prices.csv is empty"),
        (b'symbol,"time,close\nA,B,1\n', "its quotes don't pair"),
        (b"Close,CLOSE,time\n1,2,2024-01-02\n", "would both be named close"),
    ],
)
def test_files_of_no_use_get_one_sentence(read: Any, content: bytes, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(content)
    assert words in str(caught.value)
    assert str(caught.value).count("\n") == 0


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoding": "klingon"}, "encoding klingon is not known"),
        ({"encoding": "base64"}, "encoding base64 is not known"),
        ({"delimiter": ",,"}, "one character"),
        ({"decimal": "x"}, "decimal is . or ,"),
        ({"time_format": "%Q"}, "does not tell a day"),
        ({"time_zone": "Mars/Olympus"}, "no time zone Mars/Olympus"),
        ({"header_row": 99}, "has no line 99"),
        ({"columns": {"nothing": "time"}}, "has no column nothing"),
        ({"columns": {"close": "time"}}, "would both be named time"),
    ],
)
def test_settings_of_no_use_get_one_sentence(read: Any, options: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as caught:
        read("symbol,time,close\nA,2024-01-02,1\n", **options)
    assert words in str(caught.value)


@pytest.mark.spec("G4")
def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        imported(tmp_path / "none.csv", tmp_path)
    with pytest.raises(Invalid, match="is a folder"):
        imported(tmp_path, tmp_path)
    with pytest.raises(NotFound, match="No file matches"):
        imported(tmp_path / "*.csv", tmp_path)
    (tmp_path / "x.doc").write_text("a")
    with pytest.raises(Invalid, match="tells no format"):
        imported(tmp_path / "x.doc", tmp_path)


def test_fail_at_the_first_wrong_line(read: Any) -> None:
    with pytest.raises(Invalid) as caught:
        read("symbol,time,close\nA,2024-01-02,1\nA,2024-01-03,x\nA,2024-01-04,y\n", on_error="fail")
    assert str(caught.value) == "prices.csv, line 3, column close: 'x' is not a number ('A,2024-01-03,x')."
    with pytest.raises(
        Invalid, match=r"prices.csv, line 3, column symbol, time: A at 2024-01-02 UTC is already in line 2"
    ):
        read("symbol,time,close\nA,2024-01-02,1\nA,2024-01-02,1\n", on_error="fail")


def test_several_files(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("symbol,time,close\nA,2024-01-03,2\nA,2024-01-02,8\n")
    (tmp_path / "a.csv").write_text("time,close,volume,symbol\n2024-01-02,1,5,A\n2024-01-04,x,5,A\n")
    got = imported(tmp_path / "*.csv", tmp_path)
    assert got.table.column_names == ["symbol", "time", "close", "volume"]
    assert got.rows == [("A", D1, 1.0, 5.0), ("A", D2, 2.0, None)]
    assert [(r["file"], r["line"], r["action"], r["reason"]) for r in got.rejects if r["action"] == "rejected"] == [
        ("a.csv", 3, "rejected", "'x' is not a number"),
        ("b.csv", 3, "rejected", "A at 2024-01-02 UTC is already in line 2 of a.csv"),
    ]
    assert [(f.file, f.rows_read, f.rows_written, f.rows_rejected) for f in got.report.files] == [
        ("a.csv", 2, 1, 1),
        ("b.csv", 2, 1, 1),
    ]
    assert json.loads(json.dumps(got.report.to_dict()))["files"][0]["rows_rejected"] == 1


@pytest.mark.parametrize("chunk", [64, 200, 4096])
def test_lines_are_right_across_chunks(read: Any, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    """Records with line feeds, blank lines and faults at every place of a chunk's border."""
    monkeypatch.setattr(delimited, "_CHUNK", chunk)
    monkeypatch.setattr(delimited, "_HEAD", 64)
    lines, physical, wanted = [], 2, []
    for i in range(300):
        kind = i % 5
        day = f"2024-01-02 00:{i // 60:02}:{i % 60:02}"
        if kind == 1:
            lines.append(f'A,{day},{i},"two\nlines"\n')
        elif kind == 2:
            lines.append("\n")
        elif kind == 3:
            lines.append(f"A,{day},bad{i},x\n")
            wanted.append((physical, "close", f"'bad{i}' is not a number"))
        else:
            lines.append(f"A,{day},{i},x\n")
        physical += lines[-1].count("\n")
    got = read("symbol,time,close,note\n" + "".join(lines))
    assert got.refused == wanted
    assert got.column("close") == [float(i) for i in range(300) if i % 5 not in (2, 3)]


def test_progress_reaches_the_size_of_the_files(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("symbol,time,close\nA,2024-01-02,1\n")
    seen: list[tuple[int, int]] = []
    imported(file, tmp_path, settings={"progress": lambda done, total: seen.append((done, total))})
    assert seen[-1] == (file.stat().st_size, file.stat().st_size)
    assert all(done <= total for done, total in seen)
