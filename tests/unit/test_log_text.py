"""Lines of a log as columns of a fixed font, times, and places that one may go to."""

from __future__ import annotations

import contextlib
import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from desktop.models.log_chosen import Chosen
from desktop.models.log_text import place_of, shown, since_words
from quarterdeck.errors import Invalid
from quarterdeck.job import Level, LogLine, Stream

START = dt.datetime(2026, 1, 5, 9, 0, tzinfo=dt.UTC)


def line(text: str) -> LogLine:
    return LogLine(
        task_id=1, ordinal=0, number=0, time=START, stream=Stream.STDOUT, level=Level.INFO, text=text, chunk=1, offset=0
    )


@pytest.mark.spec("M6")
@pytest.mark.parametrize(
    ("text", "width", "columns"),
    [
        ("abc", 3, [0, 1, 2]),
        ("a\tb\tc", 17, [0, 1, 8, 9, 16]),
        ("漢字x", 5, [0, 2, 4]),
        ("e\u0301x", 2, [0, 1, 1]),
        ("a\u200bb", 2, [0, 1, 1]),
        ("😀x", 3, [0, 2]),
        ("👩\u200d👧x", 3, [0, 2, 2, 2]),
        ("größer", 6, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_columns(text: str, width: int, columns: list[int]) -> None:
    made = shown(line(text))
    assert made.width == width
    assert [made.column(at) for at in range(len(made.text))] == columns


@pytest.mark.spec("M6")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nul\0 bell\x07", "nul␀ bell␇"),
        ("del\x7f", "del␡"),
        ("nel\x85 ls\u2028", "nel� ls�"),
        ("\u202egnp.exe", "�gnp.exe"),  # nothing turns the order of letters round
        ("\x1b[31mred\x1b[0m", "red"),
        ("10 %\r20 %", "10 %␍20 %"),
    ],
)
def test_control_characters_are_shown_not_obeyed(text: str, expected: str) -> None:
    assert shown(line(text)).text == expected


@pytest.mark.spec("M6")
@given(
    st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\t\x1b漢\u0301\u200d😀a "), max_size=60),
    st.integers(0, 40),
    st.integers(1, 40),
)
def test_what_is_painted_is_what_is_in_view(text: str, first: int, count: int) -> None:
    made = shown(line(text))
    assert all(char.isprintable() or char in "\t\u200d" or ord(char) > 127 for char in made.text)
    everything = list(made.pieces(0, made.width + 1))
    assert "".join(piece.text for piece in everything) == made.text
    assert [piece.column for piece in everything] == sorted(piece.column for piece in everything)
    assert sum(piece.columns for piece in everything) == made.width
    # a part of it: all that lies between the columns, and little more
    part = list(made.pieces(first, first + count))
    cells = {(piece.column + n) for piece in part for n in range(piece.columns)}
    assert cells >= set(range(first, min(first + count, made.width)))
    assert all(first - 8 <= cell <= first + count + 8 for cell in cells)
    assert "".join(made.wrapped(count)) == made.text


@pytest.mark.spec("M6")
def test_a_line_of_64_kb_costs_what_is_seen_of_it() -> None:
    made = shown(line("漢\x1b[31mx\x1b[0m" * 8000))
    assert made.width == 24_000
    assert len(list(made.pieces(12_000, 12_100))) < 100


@pytest.mark.spec("M6")
def test_time_since_the_start() -> None:
    assert since_words(START + dt.timedelta(hours=30, minutes=2, seconds=3.0045), START) == "+30:02:03.004"
    assert since_words(START - dt.timedelta(seconds=1.5), START) == "-00:00:01.500"


@pytest.mark.spec("M6")
@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("1", 0),
        ("1,204", 1203),
        ("99999999", 1999),
        ("0", 0),
        ("50 %", 1000),
        ("100%", 1999),
        ("+5 m", START + dt.timedelta(minutes=5)),
        ("+0:05:00.5", START + dt.timedelta(minutes=5, seconds=0.5)),
        ("-2s", START - dt.timedelta(seconds=2)),
        ("10:31", dt.datetime(2026, 1, 5, 10, 31).astimezone()),
        ("10:31:05.25", dt.datetime(2026, 1, 5, 10, 31, 5, 250_000).astimezone()),
        ("2026-1-7 9:05", dt.datetime(2026, 1, 7, 9, 5).astimezone()),
        ("2026-01-07T09:05:00+00:00", dt.datetime(2026, 1, 7, 9, 5, tzinfo=dt.UTC)),
        ("2026-01-07", dt.datetime(2026, 1, 7).astimezone()),
    ],
)
def test_places(text: str, place: int | dt.datetime) -> None:
    assert place_of(text, total=2000, start=START, day=START.date()) == place


@pytest.mark.spec("M6", "G4")
@given(st.text(max_size=20))
def test_any_text_is_a_place_or_is_refused_in_words(text: str) -> None:
    place: object = None
    with contextlib.suppress(Invalid):
        place = place_of(text, total=1000, start=START, day=START.date())
    assert place is None or isinstance(place, dt.datetime) or place in range(1000)


@pytest.mark.spec("M6", "G4")
@pytest.mark.parametrize(
    "text", ["", "soon", "25:00", "10:61", "2026-13-01 10:00", "+5 x", "-5", "1e9", "+" + "9" * 40 + " d"]
)
def test_no_places(text: str) -> None:
    with pytest.raises(Invalid, match="is no place in a log: give a line's number"):
        place_of(text, total=1000, start=START, day=START.date())


@pytest.mark.spec("M6")
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["plain", "extend", "more"])), min_size=1, max_size=12))
def test_what_is_chosen(steps: list[tuple[int, str]]) -> None:
    """Against the plain rule: a set of lines."""
    chosen = Chosen()
    expected: set[int] = set()
    others: set[int] = set()
    anchor = None
    for position, way in steps:
        if way == "more":
            if position in expected:
                expected = others = expected - {position}
                anchor = None
            else:
                others = set(expected)
                anchor = position
                expected = others | {position}
        elif way == "extend":
            anchor = position if anchor is None else anchor
            expected = others | set(range(min(anchor, position), max(anchor, position) + 1))
        else:
            others, anchor, expected = set(), position, {position}
        chosen.choose(position, extend=way == "extend", one_more=way == "more")
        assert {at for first, last in chosen.ranges() for at in range(first, last + 1)} == expected
        assert all(chosen.holds(at) == (at in expected) for at in range(31))
        assert chosen.current == position
