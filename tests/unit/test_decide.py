"""The decisions of an attempt, over every order in which events may come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.agent.decide import (
    Abort,
    Delivered,
    Drop,
    Emptied,
    End,
    Event,
    Exited,
    Failed,
    Fenced,
    Instruction,
    Kill,
    Killed,
    Launch,
    Machine,
    Note,
    NotLaunched,
    OutputEnded,
    Phase,
    Release,
    Reported,
    Said,
    Shutdown,
    Started,
    Taken,
    may_fetch,
)

VICTIM = {"pid": 7, "name": "python", "signal": "SIGKILL", "ended": "2026-11-24T08:00:00+00:00"}


def play(*events: Event) -> tuple[Machine, list[Instruction]]:
    machine = Machine(node="n1", task="1")
    return machine, [one for event in events for one in machine.handle(event)]


def end_of(instructions: list[Instruction]) -> End:
    (found,) = [one for one in instructions if isinstance(one, End)]
    return found


@pytest.mark.spec("X1")
def test_the_ordinary_life_of_an_attempt() -> None:
    machine, done = play(
        Taken(), Started(7, 1.0), Reported("success"), Exited(0, peak=10), Emptied(0.5, 5), OutputEnded(), Delivered()
    )
    assert [type(one) for one in done if not isinstance(one, Said)] == [Launch, Note, End, Release]
    assert end_of(done) == End("success", 0, "", None, 0.5, 10)
    assert machine.phase is Phase.OVER


@pytest.mark.spec("M5")
def test_an_aborted_attempt_ends_only_after_its_kill_and_its_output() -> None:
    machine, done = play(Taken(), Started(7, 1.0), Abort())
    assert isinstance(done[-1], Kill)
    for event in (Exited(-9), Emptied(), OutputEnded()):
        assert not any(isinstance(one, End) for one in machine.handle(event))
    done = machine.handle(Killed((VICTIM,)))
    assert end_of(done).outcome == "terminated"
    assert end_of(done).receipt == {"node": "n1", "processes": [VICTIM]}
    assert any("killed process 7 (python) on node n1 with SIGKILL" in one.text for one in done if isinstance(one, Said))


@pytest.mark.spec("M5")
@pytest.mark.parametrize("before", [[], [Taken()]])
def test_an_abort_before_there_is_a_process_is_not_forgotten(before: list[Event]) -> None:
    machine, done = play(*before, Abort())
    assert not any(isinstance(one, Kill | End) for one in done)
    if before:
        done = machine.handle(Started(7, 1.0))
        assert isinstance(done[-1], Kill)
    else:
        done = machine.handle(Taken())
        assert not any(isinstance(one, Launch) for one in done)
        assert end_of(done).outcome == "terminated"


@pytest.mark.spec("G1")
def test_who_outlives_the_task_is_killed() -> None:
    _, done = play(Taken(), Started(7, 1.0), Reported("success"), Exited(0, left=True))
    assert isinstance(done[-1], Kill)


@pytest.mark.spec("G3")
def test_a_fenced_attempt_is_killed_and_delivers_nothing() -> None:
    machine, done = play(Taken(), Started(7, 1.0), Fenced())
    assert [type(one) for one in done[-2:]] == [Drop, Kill]
    rest = [one for event in (Exited(-9), Killed((VICTIM,)), Emptied(), OutputEnded()) for one in machine.handle(event)]
    assert rest == [Release()]


@pytest.mark.parametrize(
    ("events", "outcome", "error"),
    [
        ((Reported("failed", "ValueError: x"), Exited(1)), "failed", "ValueError: x"),
        ((Exited(-11),), "failed", "the task's process was ended by SIGSEGV from outside"),
        ((Exited(-9),), "failed", "the task's process was ended by SIGKILL from outside: the system may have run out"),
        ((Exited(3),), "failed", "the task's process ended with exit code 3 before the run was through"),
        ((Exited(0),), "failed", "the task's process ended with exit code 0 before the run was through"),
        ((Exited(None),), "failed", "the task's process went away without a word"),
        ((Reported("success"), Exited(-11)), "failed", "the task's process was ended by SIGSEGV"),
        ((Failed("table 'x' is refused"), Reported("success"), Killed(), Exited(0)), "failed", "table 'x' is refused"),
    ],
)
@pytest.mark.spec("M6", "G4")
def test_how_it_ended_is_said_in_one_sentence(events: tuple[Event, ...], outcome: str, error: str) -> None:
    _, done = play(Taken(), Started(7, 1.0), *events, Emptied(), OutputEnded())
    assert end_of(done).outcome == outcome
    assert end_of(done).error.startswith(error)


@pytest.mark.spec("G4")
def test_without_a_process_the_attempt_fails_with_the_reason() -> None:
    _, done = play(Taken(), NotLaunched("no process could be started: too many"))
    assert end_of(done) == End("failed", None, "no process could be started: too many", None, 0.0, 0)


@pytest.mark.spec("G1")
def test_a_failure_before_the_start_is_known_still_kills() -> None:
    machine, done = play(Taken(), Failed("broken"))
    assert not any(isinstance(one, End) for one in done)
    assert isinstance(machine.handle(Started(7, 1.0))[-1], Kill)


@pytest.mark.spec("G1")
def test_a_task_that_ended_by_itself_just_before_the_node_stops_keeps_its_end() -> None:
    _, done = play(Taken(), Started(7, 1.0), Reported("success"), Exited(0), Shutdown(), Emptied(), OutputEnded())
    assert end_of(done).outcome == "success"


EVENTS: st.SearchStrategy[Any] = st.one_of(
    st.just(Taken()),
    st.just(Started(7, 1.0)),
    st.sampled_from([Reported("success"), Reported("failed", "x")]),
    st.builds(Exited, st.sampled_from([0, 1, -9, None]), st.just(0), st.booleans()),
    st.just(Emptied()),
    st.sampled_from([Killed(), Killed((VICTIM,))]),
    st.just(OutputEnded()),
    st.just(Abort()),
    st.just(Shutdown()),
    st.just(Fenced()),
    st.just(NotLaunched("x")),
    st.just(Failed("x")),
    st.just(Delivered()),
)


@pytest.mark.spec("M5", "G1", "G3")
@settings(max_examples=2000, deadline=None)
@given(st.lists(EVENTS, max_size=25))
def test_whatever_comes_in_whatever_order(events: list[Event]) -> None:
    machine = Machine(node="n1", task="1")
    seen: list[Event] = []
    done: list[Instruction] = []
    open_kills = 0
    for event in events:
        was = machine.phase
        now = machine.handle(event)
        seen.append(event)
        if was is Phase.OVER:
            assert now == []
            continue
        if isinstance(event, Killed):
            open_kills = max(0, open_kills - 1)
        # from the launch on there may be a process, until somebody says that there will be none
        launched = any(isinstance(x, Launch) for x in done) and not isinstance(event, NotLaunched)
        for one in now:
            done.append(one)
            if isinstance(one, Kill):
                open_kills += 1
                assert open_kills == 1, "two kills at a time"
            if isinstance(one, End):
                if launched:
                    assert machine.emptied, "ended while a process may live"
                    assert machine.output_ended, "ended before its output was read"
                assert open_kills == 0, "ended during a kill"
                assert not any(isinstance(x, Drop) for x in done), "a fenced attempt writes its end"
    assert sum(isinstance(one, End) for one in done) <= 1
    assert sum(isinstance(one, Release) for one in done) <= 1
    assert sum(isinstance(one, Launch) for one in done) <= 1
    assert not any(isinstance(one, Launch) for one in done) or any(isinstance(x, Taken) for x in seen)
    ends = [one for one in done if isinstance(one, End)]
    if ends and ends[0].outcome == "success":
        assert Reported("success") in seen
        assert not machine.error
        assert machine.reason != "terminated"
    if any(isinstance(one, Release) for one in done):
        assert machine.phase is Phase.OVER


@pytest.mark.spec("M5", "G1")
@settings(max_examples=500, deadline=None)
@given(
    st.permutations([Exited(-9), Emptied(), OutputEnded(), Killed((VICTIM,))]),
    st.sampled_from([Abort(), Shutdown(), Fenced(), Failed("x")]),
)
def test_every_cut_comes_to_its_end_in_any_order_of_what_follows(rest: list[Event], cut: Event) -> None:
    machine, done = play(Taken(), Started(7, 1.0), cut)
    assert sum(isinstance(one, Kill) for one in done) == 1
    for event in rest:
        done += machine.handle(event)
    done += machine.handle(Delivered())
    assert machine.phase is Phase.OVER, (rest, machine)
    assert isinstance(done[-1], Release)
    assert sum(isinstance(one, Kill) for one in done) == 1
    expected = {Abort: "terminated", Shutdown: "lost", Failed: "failed"}
    if type(cut) in expected:
        assert end_of(done).outcome == expected[type(cut)]


@pytest.mark.parametrize(
    ("changes", "may"),
    [
        ({}, True),
        ({"running": 2}, False),
        ({"draining": True}, False),
        ({"stopping": True}, False),
        ({"connected": False}, False),
    ],
)
def test_when_a_node_may_take_another_task(changes: dict[str, Any], may: bool) -> None:
    state: dict[str, Any] = {"slots": 2, "running": 1, "draining": False, "stopping": False, "connected": True}
    assert may_fetch(**(state | changes)) is may
