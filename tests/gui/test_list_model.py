"""Lists of any length: ids in order, values where one looks; check marks as a value."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QItemSelectionModel, QPersistentModelIndex, Qt
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from desktop.bridge import Bridge
from desktop.models.checks import Checked, Checks
from desktop.models.deletion import Deletion
from desktop.models.jobs import JobsModel
from desktop.models.ordered import OrderedModel, places, runs, steps
from desktop.models.rows import Heading, KeyedModel, RowsModel
from desktop.views.job_selection import JobSelection
from quarterdeck.client import Client
from quarterdeck.job import Job, Origin, Status
from quarterdeck.kinds import KINDS
from quarterdeck.query import Filter, Sort

MILLION = 1_000_000


@dataclass(frozen=True)
class Thing:
    key: int
    word: str = ""


class Things(OrderedModel[Thing]):
    def __init__(self) -> None:
        headings = (Heading("key", "Key"), Heading("word", "Word"))
        super().__init__(headings, key=lambda t: t.key, text=lambda t, n: t.word if n else str(t.key))


def numbers(*ids: int) -> Any:
    return np.array(ids, np.int64)


ORDERS = st.lists(st.integers(0, 25), unique=True, max_size=16)


@pytest.mark.spec("M7")
@given(orders=st.lists(ORDERS, min_size=2, max_size=5), loaded=st.sets(st.integers(0, 25)))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_becomes_any_other_and_what_points_to_a_row_stays_with_it(
    qtmodeltester: ModelTester, orders: list[list[int]], loaded: set[int]
) -> None:
    assert issubclass(Things, KeyedModel)
    assert issubclass(RowsModel, KeyedModel)
    model = Things()
    model.begin([Thing(key) for key in orders[0]])
    qtmodeltester.check(model)
    held = {key: QPersistentModelIndex(model.index(place, 1)) for place, key in enumerate(orders[0])}
    for order in orders[1:]:
        plan = steps(model.ids, numbers(*order))
        model.become(numbers(*order), plan)
        assert model.ids.tolist() == order
        model.take([Thing(key, "x") for key in sorted(loaded)])
        for place, key in enumerate(order):
            row = model.row(place)
            assert row is None or row.key == key
            assert (row is not None) or key not in loaded
            assert model.find(key) == place
            held.setdefault(key, QPersistentModelIndex(model.index(place, 1)))
        for key in list(held):
            if key in order:
                assert (held[key].row(), held[key].column()) == (order.index(key), 1)
            else:
                assert not held.pop(key).isValid()
    qtmodeltester._cleanup()


@given(old=ORDERS, new=ORDERS)
def test_the_steps_between_two_orders_are_those_of_sets(old: list[int], new: list[int]) -> None:
    plan = steps(numbers(*old), numbers(*new))
    gone = [old[place] for first, count in plan.gone for place in range(first, first + count)]
    fresh = [new[place] for first, count in plan.fresh for place in range(first, first + count)]
    assert gone == [key for key in old if key not in new]
    assert fresh == [key for key in new if key not in old]
    assert plan.moved == ([key for key in old if key in new] != [key for key in new if key in old])


def test_runs_and_places() -> None:
    assert runs(np.array([], np.intp)) == []
    assert runs(np.array([1, 2, 3, 7, 9, 10], np.intp)) == [(1, 3), (7, 1), (9, 2)]
    assert places(numbers(5, 3, 9), [9, 5, 4]) == {5: 0, 9: 2}
    assert places(numbers(5, 3, 9), [3]) == {3: 1}


@pytest.mark.spec("M7")
def test_a_million_rows_change_in_few_signals(qtbot: QtBot) -> None:
    model = Things()
    model.begin([Thing(key) for key in range(MILLION, MILLION - 100, -1)])
    told: list[tuple[int, int]] = []
    model.rowsInserted.connect(lambda parent, first, last: told.append((first, last)))
    model.rowsRemoved.connect(lambda parent, first, last: told.append((first, -last)))
    everything = np.arange(MILLION, 0, -1)
    with qtbot.assertNotEmitted(model.modelReset), qtbot.assertNotEmitted(model.layoutChanged):
        model.become(everything)
        model.put(0, numbers(MILLION + 2, MILLION + 1))
        model.drop([500_000, 499_999, 3])
    assert told == [(100, MILLION - 1), (0, 1), (999_999, -999_999), (500_002, -500_003)]
    assert model.rowCount() == MILLION - 1
    assert model.find(1) == MILLION - 2
    assert model.row(700_000) is None
    model.take([Thing(int(model.ids[700_000]), "here")])
    assert model.index(700_000, 1).data() == "here"


def test_only_so_many_values_are_kept() -> None:
    model = Things()
    model.KEEP = 10
    model.become(np.arange(100))
    model.take([Thing(key) for key in range(50)])
    assert [place for place in range(100) if model.row(place) is not None] == list(range(40, 50))
    model.forget([45])
    assert [place for place in range(100) if model.row(place) is not None] == [45]
    model.drop([45])
    assert model.loaded(45) is None


# --- jobs -----------------------------------------------------------------------------------------------------------


class Slow(Client):
    """A client whose whole orders come when they are let through."""

    gate: threading.Event
    asked: int

    def order(self, filter: Filter = Filter(), sort: Sort = Sort()) -> Any:  # noqa: A002
        ids = super().order(filter, sort)
        self.asked += 1
        assert self.gate.wait(20)
        return ids


@pytest.fixture
def slow(database: Any, bridge: Bridge) -> Any:
    client = Slow.sign_in(database.login("alice"))
    client.gate, client.asked = threading.Event(), 0
    yield client
    client.gate.set()
    client.close()


def fill(database: Any, count: int, creator: str = "alice") -> None:
    database.sql(
        "postgres",
        "insert into qd.job (kind, name, creator, status, created) select 'factor', 'job ' || n, :creator, 'success',"
        " timestamptz '2024-01-01 00:00+00' + n * interval '1 s' from generate_series(1, cast(:count as int)) as n",
        count=count,
        creator=creator,
    )


@pytest.mark.spec("M7")
def test_the_first_page_is_there_before_the_order_and_what_happens_meanwhile_is_not_lost(
    qtbot: QtBot, qtmodeltester: ModelTester, database: Any, bridge: Bridge, slow: Slow
) -> None:
    fill(database, 250)
    model = JobsModel(slow, bridge, KINDS[0])
    qtmodeltester.check(model)
    model.choose(Filter(), Sort())
    qtbot.waitUntil(lambda: model.rowCount() == 100 and slow.asked == 1)
    assert not model.complete
    first = model.row(0)
    assert first is not None
    gone = int(model.ids[5])
    database.sql("boss", "select qd.delete_jobs(array[cast(:job as bigint)])", job=gone)
    new = database.submit("alice")
    model.change(slow.by_ids([new]), [gone])
    assert model.ids[:2].tolist() == [new, first.id]
    slow.gate.set()
    qtbot.waitUntil(lambda: model.complete)
    assert model.ids.tolist() == Client.order(slow, Filter(kind="factor")).tolist()
    assert model.rowCount() == 250


@pytest.mark.spec("M7", "M8")
def test_a_change_makes_a_job_enter_and_leave_a_filtered_list_where_it_belongs(
    qtbot: QtBot, database: Any, bridge: Bridge, sign_in: Any
) -> None:
    client = sign_in()
    model = JobsModel(client, bridge, KINDS[0])
    one, two = database.submit("alice"), database.submit("alice")
    model.choose(Filter(statuses=frozenset({Status.QUEUED})), Sort())
    qtbot.waitUntil(lambda: model.ids.tolist() == [two, one])
    three = database.submit("alice")
    database.start("n1", database.tasks(two)[0])
    model.change(client.by_ids([two, three]), [])
    assert model.ids.tolist() == [three, one]  # at once, without another reading
    assert model.loaded(two) is None
    four = database.submit("bob", public=True)
    with qtbot.assertNotEmitted(model.rowsInserted):
        model.choose(Filter(creators=frozenset({"alice"})), Sort())
        qtbot.waitUntil(lambda: model.ids.tolist() == [three, two, one])
        model.change(client.by_ids([four]), [])
    model.choose(Filter(), Sort("status", descending=False))
    qtbot.waitUntil(lambda: model.complete and model.rowCount() == 4)
    database.end("n1", database.tasks(two)[0])
    model.change(client.by_ids([two]), [])
    qtbot.waitUntil(lambda: model.ids.tolist() == [one, three, four, two])


@pytest.mark.spec("M7")
def test_large_selections_stay_with_their_jobs_through_a_new_order(
    qtbot: QtBot, database: Any, bridge: Bridge, sign_in: Any
) -> None:
    fill(database, 600)
    client = sign_in()
    model = JobsModel(client, bridge, KINDS[0])
    selection = JobSelection(model)
    model.patching.connect(selection.before)
    model.patched.connect(selection.after)
    model.choose(Filter(), Sort())
    qtbot.waitUntil(lambda: model.rowCount() == 600)
    selection.select_rows([(10, 300), (400, 3)])
    chosen = set(selection.ids())
    assert selection.count() == len(chosen) == 303
    model.when_free(lambda: model.become(model.ids[::-1].copy()))
    assert set(selection.ids()) == chosen
    gone = list(chosen)[::2]
    model.when_free(lambda: model.drop(gone))
    assert set(selection.ids()) == chosen - set(gone)
    selection.setCurrentIndex(model.index(0, 0), QItemSelectionModel.SelectionFlag.ClearAndSelect)
    assert selection.ids() == model.ids[:1].tolist()


# --- check marks ----------------------------------------------------------------------------------------------------


def job(number: int, created: dt.datetime) -> Job:
    return Job(
        id=number, kind="factor", name="x", subject="", status=Status.SUCCESS, ending=False,
        origin=Origin.SINGLE, creator="alice", public=False, nodes=(), created=created,
        started=None, ended=None, progress=None, message="", workflow_id=None, backtest_type="", backtest_start=None,
        backtest_end=None, data_type="", strategy_type="", actions=frozenset(),
    )  # fmt: skip


@pytest.mark.spec("M4")
def test_all_for_the_filter_is_a_value_and_holds_none_that_come_later(qtbot: QtBot) -> None:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    old = job(7, now - dt.timedelta(hours=1))
    checks = Checks()
    assert checks.state(3) is Qt.CheckState.Unchecked
    with qtbot.waitSignal(checks.changed):
        checks.check_all(Filter(kind="factor"), now)
    assert checks.value == Checked(filter=Filter(kind="factor", until=now))
    assert checks.value.holds(old)
    assert not checks.value.holds(replace(old, id=8, created=now))
    assert checks.state(3) is Qt.CheckState.Checked
    checks.toggle(old)
    assert not checks.value.holds(old)
    assert checks.count(3) == 2
    assert checks.state(3) is Qt.CheckState.PartiallyChecked
    checks.keep(numbers(1, 2))
    assert checks.value.ids == frozenset()
    checks.check_all(Filter(until=now - dt.timedelta(days=1)), now)
    assert not checks.value.holds(old)
    checks.clear()
    assert not checks.value
    checks.set([1, 2], True)
    checks.set([2, 3], False)
    assert checks.value == Checked(ids=frozenset({1}))
    checks.keep(numbers(2, 3))
    assert not checks.value


@pytest.mark.spec("M4")
def test_all_but_some_are_surveyed_and_deleted_in_batches_until_stopped(
    qtbot: QtBot, database: Any, bridge: Bridge, sign_in: Any
) -> None:
    fill(database, 12, "bob")
    running = database.submit("alice")
    database.start("n1", database.tasks(running)[0])
    waiting = database.submit("alice")
    client = sign_in("boss")
    ids = client.order(Filter(kind="factor")).tolist()
    checked = Checked(ids=frozenset(ids[-3:]), filter=Filter(kind="factor", until=client.now() + dt.timedelta(days=1)))
    deletion = Deletion(client, bridge, checked)
    deletion.BATCH = 2
    asked = bridge.start(deletion, deletion.survey())
    qtbot.waitUntil(asked.done)
    survey = asked.result()
    assert survey.going == {Status.SUCCESS: 9}
    assert survey.staying == {Status.IN_PROGRESS: 1, Status.QUEUED: 1}
    steps_: list[int] = []

    def at_four() -> None:
        steps_.append(deletion.deleted)
        if deletion.deleted == 4:
            deletion.stop()

    deletion.changed.connect(at_four)
    ran = bridge.start(deletion, deletion.run())
    qtbot.waitUntil(ran.done)
    assert steps_ == [0, 2, 4, 4]
    assert deletion.words() == "Stopped: 4 jobs were deleted with logs and results; 5 are left."
    again = Deletion(client, bridge, checked)
    ran = bridge.start(again, again.run())
    qtbot.waitUntil(ran.done)
    assert again.words() == "5 jobs were deleted with logs and results."
    left = client.order(Filter(kind="factor")).tolist()
    assert left == [waiting, running, *ids[-3:]]
    assert database.value("boss", "select count(*) from qd.audit where action = 'delete' and actor = 'boss'") == 9
    refused = Deletion(sign_in("alice"), bridge, Checked(ids=frozenset(left)))
    ran = bridge.start(refused, refused.run())
    qtbot.waitUntil(ran.done)
    assert refused.words() == "Nothing was deleted: Only an administrator may delete jobs."
    assert client.order(Filter(kind="factor")).tolist() == left
