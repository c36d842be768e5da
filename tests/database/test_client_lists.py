"""Lists of jobs: filters, sorts, pages and changes against a plain reference in Python."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quarterdeck.client import Client, Filter, Sort
from quarterdeck.errors import Invalid, NotFound
from quarterdeck.job import Action, Job, Origin, Status
from quarterdeck.query import SORTABLE, fits

if TYPE_CHECKING:
    from tests.conftest import Database

pytestmark = pytest.mark.spec("M8")

KINDS = ("factor", "backtest")
NAMES = ("Momentum 20", "momentum%", "Reversal_5", "a\\b", "Größe", "zz")
NODES = ("n1", "n2")
START = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)


def fill(database: Database) -> None:
    """Sixty jobs of all sorts, straight into the table, as no client could."""
    database.sql(
        "postgres",
        """
        insert into qd.job (kind, name, subject, creator, is_public, status, ending, origin, nodes, created, started,
                            ended, progress, backtest_type, backtest_start, data_type)
        select (array['factor', 'backtest'])[1 + i % 2],
               (cast(:names as text[]))[1 + i % 6], (cast(:names as text[]))[1 + (i / 6) % 6],
               (array['alice', 'bob', 'carl'])[1 + i % 3], i % 5 = 0,
               (array['queued', 'in_progress', 'success', 'partially_failed', 'failed', 'terminated'])[1 + (i / 2) % 6],
               i % 12 = 2, (array['single', 'batch', 'workflow', 'rerun'])[1 + (i / 3) % 4],
               (array['{}', '{n1}', '{n2}', '{n1,n2}'])[1 + (i / 4) % 4]::text[],
               cast(:start as timestamptz) + make_interval(hours => i / 2),
               case when (i / 2) % 6 > 0 then cast(:start as timestamptz) + make_interval(hours => i % 7) end,
               case when (i / 2) % 6 > 1
                    then cast(:start as timestamptz) + make_interval(hours => i % 7, secs => i % 9) end,
               case when i % 4 > 0 then (i % 10) / 10.0 end,
               (array['', 'historical', 'real-time'])[1 + i % 3],
               case when i % 3 = 1 then cast(:start as timestamptz) - make_interval(days => i % 8) end,
               (array['minute', 'daily'])[1 + (i / 5) % 2]
          from generate_series(0, 59) as i
        """,
        names=list(NAMES),
        start=START,
    )


@pytest.fixture
def filled(database: Database) -> Iterator[dict[str, Client]]:
    fill(database)
    clients = {name: Client.sign_in(database.login(name)) for name in ("alice", "bob", "boss")}
    try:
        yield clients
    finally:
        for client in clients.values():
            client.close()


def passes(job: Job, wanted: Filter) -> bool:
    """The reference: what a filter means, in plain words."""

    def has(text: str) -> bool:
        return text.lower() in job.name.lower() or text.lower() in job.subject.lower()

    return (
        (wanted.kind is None or job.kind == wanted.kind)
        and (not wanted.statuses or job.status in wanted.statuses)
        and job.status not in wanted.not_statuses
        and (not wanted.creators or job.creator in wanted.creators)
        and job.creator not in wanted.not_creators
        and (not wanted.origins or job.origin in wanted.origins)
        and job.origin not in wanted.not_origins
        and (not wanted.nodes or bool(wanted.nodes & set(job.nodes)))
        and not wanted.not_nodes & set(job.nodes)
        and has(wanted.text)
        and not any(has(text) for text in wanted.not_text if text)
        and (wanted.since is None or job.created >= wanted.since)
        and (wanted.until is None or job.created < wanted.until)
    )


def key_of(job: Job, column: str) -> Any:
    if column == "run_time":
        return None if job.started is None or job.ended is None else job.ended - job.started
    value = getattr(job, column)
    return list(value) if isinstance(value, tuple) else value


def in_order(jobs: list[Job], sort: Sort) -> list[int]:
    by_id = sorted(jobs, key=lambda job: job.id, reverse=sort.descending)
    present = [job for job in by_id if key_of(job, sort.column) is not None]
    absent = [job for job in by_id if key_of(job, sort.column) is None]
    present.sort(key=lambda job: key_of(job, sort.column), reverse=sort.descending)
    return [job.id for job in present + absent]


def test_rights_pick_the_rows(filled: dict[str, Client]) -> None:
    everything = filled["boss"].list(limit=1000)
    assert len(everything) == 60
    for name in ("alice", "bob"):
        visible = filled[name].list(limit=1000)
        assert {job.id for job in visible} == {job.id for job in everything if job.creator == name or job.public}


def test_sorts_by_every_column_with_empty_ones_last(filled: dict[str, Client]) -> None:
    client = filled["alice"]
    for sort in (Sort(column, descending) for column in SORTABLE for descending in (True, False)):
        # running jobs' times grow while we look: leave them out
        running = frozenset({Status.IN_PROGRESS} if sort.column == "run_time" else ())
        wanted = Filter(not_statuses=running)
        jobs = [job for job in client.list(limit=1000) if job.status not in running]
        expected = in_order(jobs, sort)
        assert [job.id for job in client.list(wanted, sort, limit=1000)] == expected, sort
        by_offset = [job.id for start in range(0, 60, 7) for job in client.list(wanted, sort, offset=start, limit=7)]
        assert by_offset == expected, sort
        assert client.order(wanted, sort).tolist() == expected, sort
        if sort.column == "run_time":
            with pytest.raises(Invalid, match="page by offset"):
                client.list(wanted, sort, after=jobs[0])
            continue
        found, last = list[int](), None
        while page := client.list(wanted, sort, limit=7, after=last):
            found += [job.id for job in page]
            last = page[-1]
        assert found == expected, sort


def test_many_nodes_sort_by_the_start_of_their_names(database: Database) -> None:
    with Client.sign_in(database.login("alice")) as client:
        jobs = [database.submit("alice") for _ in range(3)]
        update = "update qd.job set nodes = cast(:nodes as text[]) where id = :id"
        many = [f"node-{number:02}" for number in range(40)]
        for job, nodes in zip(jobs, ([*many[:20], "a"], [*many[:20], "z"], many[1:]), strict=True):
            database.sql("postgres", update, nodes=nodes, id=job)
        found = client.list(sort=Sort("nodes", descending=False))
        assert [job.id for job in found] == jobs
        assert found[0].nodes[-1] == "a"
        assert [job.id for job in client.list(sort=Sort("nodes", descending=False), after=found[0])] == jobs[1:]
        assert [job.id for job in client.list(Filter(nodes=frozenset({"z"})))] == [jobs[1]]


def test_the_longest_texts_fit_the_indexes(database: Database) -> None:
    facts = {"name": "𝄞" * 200, "subject": "𝄢" * 1000, "data_type": "𝄡" * 40, "strategy_type": "𝄡" * 40}
    job = database.submit("alice", kind="backtest", public=True, backtest_type="historical", **facts)
    database.sql("postgres", "update qd.job set nodes = array_fill('𝄞𝄞𝄞𝄞𝄞𝄞𝄞𝄞𝄞'::text, array[500])")
    with Client.sign_in(database.login("alice")) as client:
        found = client.list()[0]
    assert (found.id, found.name, len(found.nodes)) == (job, facts["name"], 500)
    assert found.subject == "𝄢" * 199 + "…"
    with pytest.raises(Invalid, match="at most 40 characters"):
        database.submit("alice", data_type="x" * 41)


TEXTS = st.sampled_from(["", "mom", "MOMENTUM%", "%", "_", "\\", "größe", "zzz", "l_5"])
FILTERS = st.builds(
    Filter,
    kind=st.sampled_from([None, *KINDS]),
    statuses=st.frozensets(st.sampled_from(Status), max_size=3),
    creators=st.frozensets(st.sampled_from(["alice", "bob", "carl", "nobody"]), max_size=2),
    nodes=st.frozensets(st.sampled_from(NODES), max_size=2),
    origins=st.frozensets(st.sampled_from(Origin), max_size=3),
    text=TEXTS,
    since=st.none() | st.integers(0, 30).map(lambda hours: START + dt.timedelta(hours=hours)),
    until=st.none() | st.integers(0, 30).map(lambda hours: START + dt.timedelta(hours=hours)),
    not_statuses=st.frozensets(st.sampled_from(Status), max_size=2),
    not_creators=st.frozensets(st.sampled_from(["bob"]), max_size=1),
    not_nodes=st.frozensets(st.sampled_from(NODES), max_size=1),
    not_origins=st.frozensets(st.sampled_from(Origin), max_size=1),
    not_text=st.lists(TEXTS, max_size=2).map(tuple),
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=FILTERS, name=st.sampled_from(["alice", "boss"]))
def test_any_filter_lists_what_the_reference_does(filled: dict[str, Client], wanted: Filter, name: str) -> None:
    client = filled[name]
    expected = [job for job in client.list(limit=1000) if passes(job, wanted)]
    assert client.list(wanted, limit=1000) == expected
    assert client.count(wanted) == len(expected)
    assert client.ids(wanted) == [job.id for job in expected]
    assert client.order(wanted).tolist() == [job.id for job in expected]
    assert client.list(wanted, offset=2, limit=3) == expected[2:5]
    assert client.tally(wanted) == Counter(job.status for job in expected)
    some = {job.id for job in expected[::2]} | {-1}
    assert client.tally(wanted, ids=some) == Counter(job.status for job in expected[::2])
    assert client.tally(wanted, ids=[]) == {}
    for job in client.list(limit=1000):
        assert fits(wanted, job) in ({True, False} if not wanted.text and not any(wanted.not_text) else {None, False})
        assert fits(wanted, job) is not (job not in expected)


@pytest.mark.spec("M3")
def test_actions_come_with_each_row(filled: dict[str, Client]) -> None:
    for name, client in filled.items():
        for job in client.list(limit=1000):
            mine = name == "boss" or job.creator == name
            running = job.status in (Status.QUEUED, Status.IN_PROGRESS)
            assert (Action.LOG in job.actions) == (Action.DETAILS in job.actions) == mine
            assert (Action.TERMINATE in job.actions) == (mine and running and not job.ending)
            assert (Action.DELETE in job.actions) == (name == "boss" and not running)


def test_wrong_questions_are_refused_in_a_sentence(filled: dict[str, Client]) -> None:
    with pytest.raises(Invalid, match=r"can't be sorted by 'stauts'; did you mean 'status'\?"):
        Sort("stauts")
    with pytest.raises(Invalid, match="begins at 0"):
        filled["alice"].list(offset=-1)
    with pytest.raises(Invalid, match="character that the database can't store"):
        filled["alice"].list(Filter(text="a\0b"))


@pytest.mark.spec("M7")
def test_changes_miss_nothing_that_commits_late(database: Database) -> None:
    with Client.sign_in(database.login("alice")) as client:
        job, other = database.submit("alice"), database.submit("alice")
        snapshot = client.changes().snapshot
        assert client.changes(snapshot).jobs == ()
        update = "update qd.job set message = %s where id = %s"
        late = database.connect("postgres", autocommit=False)
        late.execute(update, ("late", job))  # the older transaction
        database.connect("postgres").execute(update, ("early", other))
        first = client.changes(snapshot)
        assert [(one.id, one.message) for one in first.jobs] == [(other, "early")]
        late.commit()
        second = client.changes(first.snapshot)
        assert [(one.id, one.message) for one in second.jobs] == [(job, "late")]
        assert client.changes(second.snapshot).jobs == ()
        foreign = database.submit("bob")
        database.connect("postgres").execute(
            "update qd.job set status = 'failed', ended = now() where id = %s", (other,)
        )
        database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=other)
        third = client.changes(second.snapshot)
        assert (third.jobs, third.gone, third.everything) == ((), (other,), False)
        assert foreign not in [one.id for one in third.jobs]


@pytest.mark.spec("M7")
def test_too_many_changes_ask_for_a_full_read(filled: dict[str, Client], database: Database) -> None:
    snapshot = filled["boss"].changes().snapshot
    database.sql(
        "postgres",
        "insert into qd.job (kind, name, creator) select 'factor', 'x', 'alice' from generate_series(1, 1001)",
    )
    changes = filled["boss"].changes(snapshot)
    assert changes.everything
    assert not filled["boss"].changes(changes.snapshot).everything


def test_by_ids_gives_those_that_are_visible(filled: dict[str, Client]) -> None:
    everything = filled["boss"].list(limit=1000)
    mine = {job.id for job in filled["alice"].by_ids([*(job.id for job in everything), 10**12])}
    assert mine == {job.id for job in everything if job.creator == "alice" or job.public}
    assert filled["alice"].by_ids([]) == []


def test_values_are_frozen_and_in_utc(filled: dict[str, Client]) -> None:
    job = filled["boss"].list(Filter(statuses=frozenset({Status.SUCCESS})), limit=1)[0]
    assert {time.tzinfo for time in (job.created, job.started, job.ended) if time} == {dt.UTC}
    with pytest.raises(dataclasses.FrozenInstanceError):
        job.name = "other"  # type: ignore[misc]


@pytest.mark.spec("S1", "R2")
def test_why_a_job_waits_is_told_to_those_who_see_it(database: Database) -> None:
    job = database.submit("alice", [{"name": "one", "queue": "label:gpu"}])
    with Client.sign_in(database.login("alice")) as client, Client.sign_in(database.login("bob")) as other:
        assert client.why_waiting(job) == "waits for a node with gpu: none is up"
        with pytest.raises(NotFound, match="no job"):
            other.why_waiting(job)
        database.sql("boss", "select qd.terminate_job(cast(:job as bigint))", job=job)
        assert client.why_waiting(job) == ""
