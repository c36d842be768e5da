"""Times in text: each form by hand, and none that may be read in two ways without being asked for."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from market_trial import imported, utc

from quarterdeck.errors import Invalid
from quarterdeck.quant.time_format import detected, given

pytestmark = pytest.mark.spec("D2", "K1", "T1")


def read_as(*texts: str, relaxed: bool = False) -> tuple[str, list[datetime | None]]:
    array = pa.array(texts)
    form = detected(array, column="time", label="a.csv", relaxed=relaxed)
    times = form.read(array, None)
    values = pa.array(times.micros).cast(pa.timestamp("us", "UTC")).to_pylist()
    return form.title, [value if ok else None for value, ok in zip(values, times.ok, strict=True)]


@pytest.mark.parametrize(
    ("text", "title", "wanted"),
    [
        ("2024-01-31", "YYYY-MM-DD", utc(2024, 1, 31)),
        ("2024-01-31 09:30", "YYYY-MM-DD HH:MM:SS", utc(2024, 1, 31, 9, 30)),
        ("2024-01-31T09:30:15.25", "YYYY-MM-DD HH:MM:SS", utc(2024, 1, 31, 9, 30, 15, 250_000)),
        ("2024-01-31T09:30:15Z", "YYYY-MM-DD HH:MM:SS+HH:MM", utc(2024, 1, 31, 9, 30, 15)),
        ("2024-01-31 09:30:15+05:30", "YYYY-MM-DD HH:MM:SS+HH:MM", utc(2024, 1, 31, 4, 0, 15)),
        ("2024-01-31T09:30-0500", "YYYY-MM-DD HH:MM:SS+HH:MM", utc(2024, 1, 31, 14, 30)),
        ("20240131", "YYYYMMDD", utc(2024, 1, 31)),
        ("20240131 09:30:15", "YYYYMMDD HH:MM:SS", utc(2024, 1, 31, 9, 30, 15)),
        ("20240131093015", "YYYYMMDDHHMMSS", utc(2024, 1, 31, 9, 30, 15)),
        ("2024/01/31", "YYYY/MM/DD", utc(2024, 1, 31)),
        ("2024/1/31 9:30", "YYYY/MM/DD HH:MM", utc(2024, 1, 31, 9, 30)),
        ("2024.01.31 09:30", "YYYY.MM.DD HH:MM", utc(2024, 1, 31, 9, 30)),
        ("01/31/2024", "MM/DD/YYYY", utc(2024, 1, 31)),
        ("31/01/2024", "DD/MM/YYYY", utc(2024, 1, 31)),
        ("1/31/2024 9:30:15 PM", "MM/DD/YYYY HH:MM:SS AM", utc(2024, 1, 31, 21, 30, 15)),
        ("31.01.2024", "DD.MM.YYYY", utc(2024, 1, 31)),
        ("31-01-2024 09:30:15", "DD-MM-YYYY HH:MM:SS", utc(2024, 1, 31, 9, 30, 15)),
        ("31-Jan-2024", "DD-Mon-YYYY", utc(2024, 1, 31)),
        ("Jan 31, 2024", "Mon DD, YYYY", utc(2024, 1, 31)),
        # 1706693415 is 2024-01-31 09:30:15 UTC (date -u -d @1706693415)
        ("1706693415", "seconds since 1970", utc(2024, 1, 31, 9, 30, 15)),
        ("1706693415250", "milliseconds since 1970", utc(2024, 1, 31, 9, 30, 15, 250_000)),
        ("1706693415250125", "microseconds since 1970", utc(2024, 1, 31, 9, 30, 15, 250_125)),
        ("1706693415250125000", "nanoseconds since 1970", utc(2024, 1, 31, 9, 30, 15, 250_125)),
    ],
)
def test_forms_that_are_found(text: str, title: str, wanted: datetime) -> None:
    assert read_as(text) == (title, [wanted])
    assert read_as(text, "rubbish", text) == (title, [wanted, None, wanted])


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    "texts",
    [
        ("01/02/2024",),
        ("01/02/2024", "03/04/2024"),
        ("01/01/2024",),
        ("05.06.2024 10:00",),
        ("31/01/2024", "01/31/2024", "02/03/2024"),
        ("202401310930",),
    ],
)
def test_forms_that_may_be_two_are_asked_for(texts: tuple[str, ...]) -> None:
    with pytest.raises(Invalid, match=r"may be read as .* or .*: give time_format") as caught:
        read_as(*texts)
    assert caught.value.field == "time_format"


def test_one_day_above_twelve_settles_it() -> None:
    assert read_as("01/02/2024", "02/13/2024") == ("MM/DD/YYYY", [utc(2024, 1, 2), utc(2024, 2, 13)])
    assert read_as("01/02/2024", "13/02/2024") == ("DD/MM/YYYY", [utc(2024, 2, 1), utc(2024, 2, 13)])


@pytest.mark.parametrize(
    "text", ["2024-02-30", "2024-13-01", "2024-1-5", "0024-01-01", "2024-01-01 24:00", "2024-01-01 10:60", "2023-02-29"]
)
def test_days_and_hours_that_are_none(text: str) -> None:
    assert read_as("2024-01-02", "2024-01-03", text)[1][2] is None
    assert not given("iso").read(pa.array([text]), None).ok[0]


@pytest.mark.parametrize(
    ("form", "text", "wanted"),
    [
        ("%d/%m/%Y", "05/06/2024", utc(2024, 6, 5)),
        ("%m/%d/%y %H:%M", "05/06/24 10:30", utc(2024, 5, 6, 10, 30)),
        ("%Y-%m-%dT%H:%M:%S.%f", "2024-05-06T10:30:01.5", utc(2024, 5, 6, 10, 30, 1, 500_000)),
        ("%Y-%m-%d %H:%M:%S %z", "2024-05-06 10:30:01 +0200", utc(2024, 5, 6, 8, 30, 1)),
        ("epoch_s", "0", utc(1970, 1, 1)),
        ("epoch_ms", "-1000", utc(1969, 12, 31, 23, 59, 59)),
        ("epoch_ns", "-1000", utc(1969, 12, 31, 23, 59, 59, 999_999)),
        ("iso", "2024-05-06", utc(2024, 5, 6)),
    ],
)
def test_forms_that_are_given(form: str, text: str, wanted: datetime) -> None:
    times = given(form).read(pa.array([text, "rubbish"]), None)
    assert times.ok.tolist() == [True, False]
    assert pa.array(times.micros[:1]).cast(pa.timestamp("us", "UTC")).to_pylist() == [wanted]


def test_a_time_zone(tmp_path: Path) -> None:
    """New York: 2024-03-10 02:30 was skipped, 2024-11-03 01:30 came twice; offsets -5 and -4 hours."""
    file = tmp_path / "a.csv"
    times = ["2024-01-02 09:30:00", "2024-07-02 09:30:00", "2024-03-10 02:30:00", "2024-11-03 01:30:00"]
    file.write_text("symbol,time,close\n" + "".join(f"A,{time},1\n" for time in times))
    got = imported(file, tmp_path, time_zone="America/New_York")
    assert got.column("time") == [utc(2024, 1, 2, 14, 30), utc(2024, 7, 2, 13, 30)]
    reason = "is skipped or repeated where the clocks change in America/New_York"
    assert got.refused == [(4, "time", f"'{times[2]}' {reason}"), (5, "time", f"'{times[3]}' {reason}")]
    file.write_text("symbol,time,close\nA,2024-01-02,1\n")
    assert imported(file, tmp_path, time_zone="America/New_York").column("time") == [utc(2024, 1, 2, 5)]
    file.write_text("symbol,time,close\nA,2024-01-02T09:30:00Z,1\n")
    assert imported(file, tmp_path, time_zone="America/New_York").column("time") == [utc(2024, 1, 2, 9, 30)]


@pytest.mark.parametrize(
    "text", ["2024-01-02 09:30:00.123456789", "01/31/2024 09:30:00.123456789", "1706693415123456789"]
)
def test_finer_than_a_microsecond_is_told(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.csv"
    file.write_text(f"symbol,time,close\nA,{text},1\n")
    got = imported(file, tmp_path)
    assert got.column("time")[0].microsecond == 123_456
    assert [(r["line"], r["action"], r["reason"]) for r in got.rejects] == [
        (2, "changed", "the time is cut to microseconds")
    ]


def test_a_fraction_of_zeros_is_no_change(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("symbol,time,close\nA,2024-01-02 09:30:00.123456000,1\n")
    got = imported(file, tmp_path)
    assert got.column("time") == [utc(2024, 1, 2, 9, 30, 0, 123_456)]
    assert got.rejects == []


def test_a_given_form_refuses_the_others(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("symbol,time,close\nA,31/01/2024,1\nA,01/02/2024,1\nA,02/13/2024,1\nA,2024-01-02,1\n")
    got: Any = imported(file, tmp_path, time_format="%d/%m/%Y")
    assert got.column("time") == [utc(2024, 1, 31), utc(2024, 2, 1)]
    assert [line for line, _, _ in got.refused] == [4, 5]
