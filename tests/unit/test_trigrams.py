"""The bits by which a search passes over chunks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarterdeck.trigrams import BYTES, WORTH, bits_of, trigrams

LONG = "".join(f"1767600000000000\toi\tstep {n} of the run\n" for n in range(600))


def has(bits: bytes, number: int) -> bool:
    """As PostgreSQL's get_bit(bytea, bigint) counts: from the lowest bit of the first byte on."""
    return bool(bits[number // 8] >> (number % 8) & 1)


@pytest.mark.spec("N3")
@given(st.text(st.characters(exclude_characters="\n\0", exclude_categories=["Cs"])), st.text(max_size=20), st.data())
def test_a_text_that_stands_in_a_body_is_never_passed_over(text: str, before: str, data: st.DataObject) -> None:
    body = LONG + before + text
    made = trigrams(body.encode("utf-8", "replace").decode())
    assert made is not None
    assert len(made) == BYTES
    start = data.draw(st.integers(0, len(text)))
    part = data.draw(st.sampled_from([text[start:], text[start:].upper(), text[start:].lower()]))
    if part.lower() in body.lower() and part.isascii():
        assert all(has(made, bit) for bit in bits_of(part))


@pytest.mark.spec("N3")
def test_what_stands_in_no_body_is_passed_over() -> None:
    made = trigrams(LONG)
    assert made is not None
    for absent in ("zeppelin", "ERROR", "Traceback", "run 5"):
        assert not all(has(made, bit) for bit in bits_of(absent)), absent
    assert all(has(made, bit) for bit in bits_of("STEP 17 OF THE RUN"))


def test_short_ones() -> None:
    assert trigrams(LONG[: WORTH - 1]) is None
    assert trigrams(LONG[:WORTH]) is not None
    assert bits_of("ab") == []
    assert len(bits_of("abc")) == 1
    assert len(bits_of("a long text that is searched for")) == 8
