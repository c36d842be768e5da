"""The keyed table model: Qt's own model tester and random lists."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QPersistentModelIndex, Qt
from pytestqt.modeltest import ModelTester
from pytestqt.qtbot import QtBot

from desktop.models.rows import ROW, Heading, RowsModel

HEADINGS = (Heading("key", "Key"), Heading("word", "Word", align="right"))


@dataclass(frozen=True)
class Thing:
    key: int
    word: str = ""


def made(rows: list[Thing | None]) -> RowsModel[Thing]:
    model = RowsModel[Thing](
        HEADINGS, key=lambda t: t.key, text=lambda t, column: str(t.key) if column == 0 else t.word
    )
    model.reset(rows)
    return model


def keys(model: RowsModel[Thing]) -> list[int | None]:
    rows = [model.row(number) for number in range(model.rowCount())]
    return [None if row is None else row.key for row in rows]


def things(size: int = 14) -> st.SearchStrategy[list[Thing]]:
    thing = st.builds(Thing, st.integers(0, 20), st.sampled_from(["", "a", "b"]))
    return st.lists(thing, max_size=size, unique_by=lambda t: t.key)


@pytest.mark.spec("M7")
@given(lists=st.lists(things(), min_size=2, max_size=5))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_replace_gives_the_new_list_and_keeps_each_persistent_index_on_its_row(
    qtmodeltester: ModelTester, lists: list[list[Thing]]
) -> None:
    model = made(list(lists[0]))
    qtmodeltester.check(model)
    held: dict[int, QPersistentModelIndex] = {}
    for new in lists:
        for number, key in enumerate(keys(model)):
            assert key is not None
            held.setdefault(key, QPersistentModelIndex(model.index(number, 0)))
        model.replace(new)
        assert [model.row(number) for number in range(model.rowCount())] == new
        present = {thing.key for thing in new}
        for key, index in list(held.items()):
            if key in present:
                assert index.isValid()
                assert model.data(model.index(index.row(), 0), ROW).key == key
                assert model.find(key) == index.row()
            else:
                assert not index.isValid()
                assert model.find(key) is None
                del held[key]
    qtmodeltester._cleanup()


@pytest.mark.spec("M7")
@given(
    before=st.lists(st.integers(100, 120), unique=True, max_size=6),
    old=things(8),
    new=things(8),
    after=st.lists(st.integers(200, 220), unique=True, max_size=6),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_patch_touches_only_its_part(
    qtmodeltester: ModelTester, before: list[int], old: list[Thing], new: list[Thing], after: list[int]
) -> None:
    model = made([*map(Thing, before), *old, *map(Thing, after)])
    qtmodeltester.check(model)
    model.patch(len(before), len(old), new)
    assert keys(model) == [*before, *(thing.key for thing in new), *after]
    qtmodeltester._cleanup()


def test_only_changed_cells_are_announced(qtbot: QtBot) -> None:
    model = made([Thing(1, "a"), Thing(2, "b"), Thing(3, "c")])
    with qtbot.waitSignal(model.dataChanged) as changed:
        model.replace([Thing(1, "a"), Thing(2, "x"), Thing(3, "c")])
    first, last = changed.args[:2]
    assert (first.row(), first.column(), last.row(), last.column()) == (1, 1, 1, 1)


def test_no_signal_when_nothing_changed(qtbot: QtBot) -> None:
    model = made([Thing(1, "a"), Thing(2, "b")])
    with qtbot.assertNotEmitted(model.dataChanged), qtbot.assertNotEmitted(model.rowsInserted):
        model.replace([Thing(1, "a"), Thing(2, "b")])


@pytest.mark.spec("M7")
def test_changes_wait_while_a_menu_is_open() -> None:
    model = made([Thing(1)])
    model.hold(True)
    model.replace([Thing(2), Thing(1)])
    model.replace([Thing(3), Thing(2)])
    assert keys(model) == [1]
    model.hold(False)
    assert keys(model) == [3, 2]


def test_rows_that_are_not_loaded_ask_for_themselves_and_show_nothing() -> None:
    asked: list[int] = []

    class Sparse(RowsModel[Thing]):
        def missed(self, number: int) -> None:
            asked.append(number)

    model = Sparse(HEADINGS, key=lambda t: t.key, text=lambda t, column: t.word)
    model.reset([Thing(1, "a")])
    model.resize(1_000_000)
    assert model.rowCount() == 1_000_000
    assert model.data(model.index(999_999, 1)) == ""
    assert asked == [999_999]
    model.fill(999_999, [Thing(7, "z")])
    assert model.data(model.index(999_999, 1)) == "z"
    assert model.find(7) == 999_999
    model.resize(1)
    assert keys(model) == [1]


def test_alignment_and_headings() -> None:
    model = made([Thing(1)])
    horizontal = Qt.Orientation.Horizontal
    assert [model.headerData(n, horizontal) for n in range(2)] == ["Key", "Word"]
    assert model.data(model.index(0, 1), Qt.ItemDataRole.TextAlignmentRole) & Qt.AlignmentFlag.AlignRight
    assert model.data(model.index(0, 0), Qt.ItemDataRole.DecorationRole) is None
