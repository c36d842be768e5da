"""Terminal escape sequences in lines of logs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.ansi import PLAIN, TRUE, Span, Style, colored, parsed, plain

ESC = "\x1b"
RED = Style(fore=1)
SEQUENCES = st.one_of(
    st.builds("\x1b[{}m".format, st.text("0123456789;:", max_size=12)),
    st.sampled_from(
        [
            "\x1b[2J",
            "\x1b[10;20H",
            "\x1b[?25l",
            "\x1b]0;a title\x07",
            "\x1b]8;;https://example.org\x1b\\",
            "\x1bP1$r0m\x1b\\",
            "\x1b(B",
            "\x1b=",
            "\x1bM",
            "\x9b31m",
        ]
    ),
)
PRINTED = st.text(st.characters(exclude_characters="\x1b\x9b", exclude_categories=["Cs"]), max_size=8)


@pytest.mark.spec("M6")
@pytest.mark.parametrize(
    ("text", "shown", "spans"),
    [
        ("plain", "plain", ()),
        ("", "", ()),
        # the examples of ECMA-48 8.3.117 and of xterm's list of control sequences
        ("\x1b[31mred\x1b[0m not", "red not", (Span(0, 3, RED),)),
        ("\x1b[31mred\x1b[m not", "red not", (Span(0, 3, RED),)),
        ("a\x1b[1;4;92mb", "ab", (Span(1, 2, Style(fore=10, bold=True, underline=True)),)),
        ("\x1b[38;5;208mx", "x", (Span(0, 1, Style(fore=208)),)),
        ("\x1b[48;2;1;2;3mx", "x", (Span(0, 1, Style(back=TRUE + 0x010203)),)),
        ("\x1b[38:2::255:0:16mx", "x", (Span(0, 1, Style(fore=TRUE + 0xFF0010)),)),
        ("\x1b[38:5:9mx", "x", (Span(0, 1, Style(fore=9)),)),
        ("\x1b[38;5;1;7mx", "x", (Span(0, 1, Style(fore=1, inverse=True)),)),
        ("\x1b[4:3mx\x1b[4:0my", "xy", (Span(0, 1, Style(underline=True)),)),
        ("\x1b[1;2;3;9mx\x1b[22;23;29my", "xy", (Span(0, 1, Style(bold=True, faint=True, italic=True, strike=True)),)),
        ("\x1b[31;42mx\x1b[39my\x1b[49mz", "xyz", (Span(0, 1, Style(fore=1, back=2)), Span(1, 2, Style(back=2)))),
        ("\x1b[31ma\x1b[31mb", "ab", (Span(0, 2, RED),)),  # one span of one style
        ("\x1b[31m\x1b[0mx", "x", ()),
        ("\x1b[38;5;999mx\x1b[38;2;1mx\x1b[777mx\x1b[?31mx", "xxxx", ()),  # no colours
        # what has no meaning in a line goes
        ("\x1b[2Ka\x1b[10;5Hb\x1b[?25lc", "abc", ()),
        ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b\x1b]8;;\x1b\\c", "abc", ()),
        ("\x1bPq#0\x1b\\a\x1b(Bb\x1bMc", "abc", ()),
        ("cut off \x1b[3", "cut off ", ()),
        ("cut off \x1b", "cut off ", ()),
        ("title without end \x1b]0;text", "title without end 0;text", ()),
    ],
)
def test_what_is_shown(text: str, shown: str, spans: tuple[Span, ...]) -> None:
    assert parsed(text) == (shown, spans)
    assert plain(text) == shown


@pytest.mark.spec("M6")
@given(st.lists(st.tuples(SEQUENCES, PRINTED), max_size=12))
def test_sequences_go_and_what_is_printed_stays(parts: list[tuple[str, str]]) -> None:
    text = "".join(sequence + printed for sequence, printed in parts)
    expected = "".join(printed for _, printed in parts)
    found, spans = parsed(text)
    assert found == plain(text) == expected
    at = 0
    for start, end, style in spans:
        assert at <= start < end <= len(found)
        assert style != PLAIN
        at = end


@pytest.mark.spec("M6", "G4")
@given(st.text(st.characters(exclude_categories=["Cs"])), st.text("\x1b\x9b[]0123456789;:?mKPX^_\\\x07 a", max_size=80))
def test_any_text_is_taken(any_text: str, odd: str) -> None:
    for text in (any_text, odd, any_text + odd):
        found, spans = parsed(text)
        assert "\x1b" not in found
        assert "\x9b" not in found
        assert found == plain(text) == plain(found)
        assert all(0 <= span.start < span.end <= len(found) for span in spans)
        assert [one for one in found if one not in text] == []
        # for a terminal: colours at most, ended with the line, and the same text
        kept = colored(text)
        assert not re.search("\x1b(?!\\[[0-9;:]*m)|\x9b", kept)
        assert plain(kept) == found
        assert "\x1b" not in kept or kept.endswith("\x1b[0m")


def test_a_long_line_of_nothing_but_sequences_takes_no_time() -> None:
    for part in ("\x1b[31mx", "\x1b]0;", "\x1b[", "\x1bP", "\x1b[" + ";" * 20):
        text = part * (65_536 // len(part))
        parsed(text)
        colored(text)
