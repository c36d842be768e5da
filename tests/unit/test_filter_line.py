"""The filter line: what each term means, what is refused, and that composing and parsing are inverse."""

from __future__ import annotations

import contextlib
import datetime as dt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from quarterdeck.errors import Invalid
from quarterdeck.filter_line import (
    KEYS,
    completions,
    compose,
    named,
    parse,
    read_origin,
    read_status,
    read_time,
    revise,
)
from quarterdeck.job import Origin, Status
from quarterdeck.query import Filter

NOW = dt.datetime(2024, 7, 1, 12, 0, tzinfo=dt.UTC)


@pytest.mark.spec("M8")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", Filter()),
        ("   ", Filter()),
        ("momentum", Filter(text="momentum")),
        ("two words", Filter(text="two words")),
        ('"a: quoted ""text"""', Filter(text='a: quoted "text"')),
        ("-old", Filter(not_text=("old",))),
        ("status:failed", Filter(statuses=frozenset({Status.FAILED}))),
        ("status:Failed,queued", Filter(statuses=frozenset({Status.FAILED, Status.QUEUED}))),
        ("status:failed status:partial", Filter(statuses=frozenset({Status.FAILED, Status.PARTIALLY_FAILED}))),
        ('status:"in progress"', Filter(statuses=frozenset({Status.IN_PROGRESS}))),
        ("-status:success", Filter(not_statuses=frozenset({Status.SUCCESS}))),
        ("creator:me,bob", Filter(creators=frozenset({"alice", "bob"}))),
        ("type:batch", Filter(origins=frozenset({Origin.BATCH}))),
        ("workflow:12", Filter(workflow_id=12)),
        ("last:2d", Filter(since=dt.datetime(2024, 6, 29, 12, 0, tzinfo=dt.UTC))),
        ("last:90m", Filter(since=dt.datetime(2024, 7, 1, 10, 30, tzinfo=dt.UTC))),
        ("until:2024-06-30T14:00+02:00", Filter(until=dt.datetime(2024, 6, 30, 12, 0, tzinfo=dt.UTC))),
        (
            "status:failed -creator:me node:n3 last:2d",
            Filter(
                statuses=frozenset({Status.FAILED}),
                not_creators=frozenset({"alice"}),
                nodes=frozenset({"n3"}),
                since=dt.datetime(2024, 6, 29, 12, 0, tzinfo=dt.UTC),
            ),
        ),
    ],
)
def test_what_a_line_means(line: str, expected: Filter) -> None:
    assert parse(line, me="alice", now=NOW) == expected


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("stats:failed", r"no filter 'stats' \(column 1\); did you mean 'status'\?"),
        ("a status:faild", r"no status 'faild' \(column 3\); did you mean 'failed'\?"),
        ("status:", r"'status' at column 1 names nothing"),
        ("status:failed,", r"'status' at column 1 names nothing"),
        ("-", r"the term at column 1 names nothing"),
        ('x "open', r"the quote at column 3 is not closed"),
        ("last:soon", r"'soon' \(column 1\) is no span"),
        ("last:999999w", r"beyond the calendar"),
        ("since:yesterday", r"'yesterday' \(column 1\) is no time"),
        ("-last:2d", r"'last' at column 1 can't be negated"),
        ("since:2024-01-01 last:2d", r"a second 'last' at column 18"),
        ("workflow:x", r"'x' \(column 1\) is no job's number"),
        ("type:r", r"no type 'r'"),
    ],
)
def test_what_is_refused(line: str, sentence: str) -> None:
    with pytest.raises(Invalid, match=sentence) as caught:
        parse(line, me="alice", now=NOW)
    assert caught.value.field == "filter"


def test_what_a_line_cannot_name_is_kept() -> None:
    assert parse("x", within=Filter(kind="factor", text="y", nodes=frozenset({"n1"}))) == Filter(
        kind="factor", text="x"
    )


_NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8).filter(str.strip)
_LOGINS = _NAMES.filter(lambda name: name.lower() != "me")
_TIMES = st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2090, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001


@pytest.mark.spec("M8")
@given(
    st.builds(
        Filter,
        statuses=st.frozensets(st.sampled_from(Status)),
        not_statuses=st.frozensets(st.sampled_from(Status)),
        creators=st.frozensets(_LOGINS, max_size=3),
        not_creators=st.frozensets(_LOGINS, max_size=2),
        nodes=st.frozensets(_NAMES, max_size=3),
        not_nodes=st.frozensets(_NAMES, max_size=3),
        origins=st.frozensets(st.sampled_from(Origin)),
        not_origins=st.frozensets(st.sampled_from(Origin)),
        text=st.just("") | _NAMES,
        not_text=st.lists(_NAMES, max_size=2).map(tuple),
        since=st.none() | _TIMES,
        until=st.none() | _TIMES,
        workflow_id=st.none() | st.integers(0, 10**15),
    )
)
def test_composing_and_parsing_are_inverse(chosen: Filter) -> None:
    assert parse(compose(chosen), me="alice") == chosen


@pytest.mark.spec("G4")
@given(st.text(max_size=60) | st.lists(st.sampled_from([*KEYS, ":", "-", '"', ",", " ", "failed", "2d"])).map("".join))
@example('status:"')
@example('-"":')
def test_any_text_is_a_filter_or_one_sentence(line: str) -> None:
    with contextlib.suppress(Invalid):
        assert isinstance(parse(line, me="alice", now=NOW), Filter)


@pytest.mark.spec("M8")
@pytest.mark.parametrize(
    ("line", "terms", "expected"),
    [
        ("", {"status": {"failed"}}, "status:failed"),
        ("momentum", {"status": {"failed", "queued"}}, "momentum status:failed,queued"),
        ("a status:queued b", {"status": {"failed"}}, "a status:failed b"),
        ("a status:queued b status:failed", {"status": set()}, "a b"),
        ("-status:queued status:failed", {"status": set()}, "-status:queued"),
        ("last:2d x", {"last": [], "since": ["2024-01-01T00:00"]}, "since:2024-01-01T00:00 x"),
        ('"a  b" Status:failed', {"creator": {"o' hara"}}, '"a  b" Status:failed creator:"o\' hara"'),
    ],
)
def test_a_menu_changes_its_own_words_of_a_line_only(line: str, terms: dict[str, set[str]], expected: str) -> None:
    assert revise(line, terms) == expected


@pytest.mark.spec("M8")
@given(
    st.builds(Filter, statuses=st.frozensets(st.sampled_from(Status)), creators=st.frozensets(_LOGINS, max_size=3)),
    st.frozensets(st.sampled_from(Status)),
)
def test_revising_and_parsing_agree(before: Filter, statuses: frozenset[Status]) -> None:
    line = revise(compose(before), {"status": [str(one) for one in statuses]})
    assert parse(line, me="alice") == Filter(statuses=statuses, creators=before.creators)
    assert set(named(line).get("status", [])) == {str(one) for one in statuses}


@pytest.mark.spec("M8", "Y8")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("st", (0, ["status:"])),
        ("-cr", (1, ["creator:"])),
        ("", (0, [])),
        ("momentum", (0, [])),
        ("a status:f", (9, ["failed"])),
        ("status:failed,que", (14, ["queued"])),
        ("creator:b", (8, ["bob"])),
        ("node:", (5, ["n1", "n2"])),
        ("last:1", (5, ["1h", "1d", "1w"])),
        ("since:2", (6, [])),
    ],
)
def test_what_may_follow_at_the_cursor(line: str, expected: tuple[int, list[str]]) -> None:
    assert completions(line, len(line), {"creator": ["alice", "bob"], "node": ["n1", "n2"]}) == expected


@pytest.mark.spec("M8", "C3")
def test_words_of_options_are_read_as_those_of_the_line() -> None:
    assert read_status("In Progress") is Status.IN_PROGRESS
    assert read_status("Backtest Results Deleted") is Status.RESULTS_DELETED
    assert read_status("part") is Status.PARTIALLY_FAILED
    assert read_origin("Single test") is Origin.SINGLE
    assert read_time("2d", NOW) == NOW - dt.timedelta(days=2)
    assert read_time("90 s", NOW) == NOW - dt.timedelta(seconds=90)
    assert read_time("2024-06-30 14:00+02:00", NOW) == dt.datetime(2024, 6, 30, 12, tzinfo=dt.UTC)
    assert parse("since:2d", now=NOW) == Filter(since=NOW - dt.timedelta(days=2))
    with pytest.raises(Invalid, match=r"^there is no status 'faild'; did you mean 'failed'\?$"):
        read_status("faild")
