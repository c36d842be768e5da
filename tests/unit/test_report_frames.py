"""Reading a report: what its sources read and make of it, choices, selections, pages, and what panels say instead."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from quarterdeck.errors import Invalid
from quarterdeck.report import Frames, Picked, read
from quarterdeck.report.shapes import Lines, Number, Rows
from quarterdeck.results import By
from tests.unit.report_tables import DAYS, SECONDS, START, SYMBOL, TIME, Tables, line, prices, template

# --- what is read -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("V3")
def test_only_needed_columns_are_read() -> None:
    tables = Tables(prices=prices())
    sources = {
        "s": {"table": "prices", "where": "lot > 2", "derive": {"double": "value * 2", "unused": "value + 1"}},
        "t": {"source": "s", "group": ["symbol"], "aggregate": {"double": "mean"}},
    }
    read(template(sources, {"type": "bar", "source": "t", "fields": {"x": "symbol", "y": ["double"]}}), tables)
    (part,) = tables.stored["prices"].asked
    assert part.columns == frozenset({"lot", "value", "symbol"})


def test_panels_of_one_source_read_it_once() -> None:
    tables = Tables(prices=prices())
    frames = Frames(template({"s": {"table": "prices"}}, line("time", "value"), line("lot", "value")), tables)
    frames.read()
    frames.read()
    (part,) = tables.stored["prices"].asked
    assert part.columns == frozenset({"time", "value", "lot"})
    frames.refresh()
    frames.read()
    assert len(tables.stored["prices"].asked) == 2


@pytest.mark.spec("L3", "B6")
def test_choices_and_selections_are_pushed_down() -> None:
    tables = Tables(prices=prices())
    sources = {"s": {"table": "prices", "choices": ["symbol"]}, "all": {"table": "prices"}}
    frames = Frames(
        template(sources, line("time", "value", links={"follows": ["time", "symbol"]}), choices=[SYMBOL]), tables
    )
    asked = tables.stored["prices"].asked
    said = frames.read().panels["p0"]
    assert said.waiting == said.said == "Choose a value for stock code."
    assert asked == []  # nothing is read before the choice is made
    panel = frames.read({"symbol": "B"}).panels["p0"]
    assert isinstance(panel, Lines)
    assert panel.series[0].y.tolist() == [100.0 + n for n in range(10)]
    assert asked[-1].symbols == ("B",)
    panel = frames.read({"symbol": "B"}, Picked(start=DAYS[2], end=DAYS[4])).panels["p0"]
    assert isinstance(panel, Lines)
    assert panel.series[0].x.tolist() == SECONDS[2:5]
    assert (asked[-1].start, asked[-1].end, asked[-1].symbols) == (DAYS[2], DAYS[4], ("B",))
    # a selected symbol takes the choice's place, also when none is made
    for given in ({"symbol": "B"}, {}):
        panel = frames.read(given, Picked(symbols=("C",))).panels["p0"]
        assert isinstance(panel, Lines)
        assert panel.series[0].y.tolist() == [200.0 + n for n in range(10)]
    # a row's symbol is nothing to this panel
    assert frames.read({}, Picked(row="C")).panels["p0"].waiting


@pytest.mark.spec("B6")
def test_panels_see_only_what_they_follow() -> None:
    tables = Tables(prices=prices())
    frames = Frames(
        template(
            {"s": {"table": "prices"}},
            line("time", "value", color="symbol"),
            line("time", "value", color="symbol", links={"follows": ["row"]}),
            {"type": "table", "links": {"follows": ["time"]}},
            {"type": "table", "links": {"follows": ["symbol"]}, "fields": {"columns": ["lot", "symbol"]}},
        ),
        tables,
    )
    picked = Picked(start=DAYS[9], symbols=("A",), row="B")
    report = frames.read(picked=picked)
    every, row, time, symbol = report.panels.values()
    assert isinstance(every, Lines)
    assert isinstance(row, Lines)
    assert [one.name for one in every.series] == ["A", "B", "C"]
    assert [one.name for one in row.series] == ["B"]
    assert (time.rows, symbol.rows) == (3, 10)
    assert frames.page("p2", picked=picked)["lot"].to_pylist() == [27, 28, 29]
    assert frames.page("p3", picked=picked, offset=8)["lot"].to_pylist() == [24, 27]
    assert frames.page("p3", picked=picked).schema.names == ["lot", "symbol"]


def test_times_of_another_name_are_followed_too() -> None:
    orders = pa.table({"order_id": [1, 2, 3], "sent_time": pa.array(DAYS[:3], TIME)})
    frames = Frames(
        template({"s": {"table": "orders"}}, {"type": "table", "links": {"follows": ["time"]}}), Tables(orders=orders)
    )
    picked = Picked(start=DAYS[1].replace(tzinfo=None), end=DAYS[1])
    panel = frames.read(picked=picked).panels["p0"]
    assert panel.rows == 1
    assert frames.page("p0", picked=picked)["order_id"].to_pylist() == [2]
    assert frames.page("p0")["order_id"].to_pylist() == [1, 2, 3]


# --- what is made of it -----------------------------------------------------------------------------------------------


def test_a_chain_of_sources_agrees_with_pandas() -> None:
    table = prices()
    sources = {
        "s": {"table": "prices", "where": "symbol != 'B' and value > 1", "derive": {"w": "cumsum(value, symbol) / 2"}},
        "t": {
            "source": "s",
            "derive": {"first": "w", "n": "w", "top": "w", "half": "w", "kinds": "note"},
            "group": ["symbol"],
            "aggregate": {
                "w": "mean", "value": "std", "lot": "sum", "n": "count", "first": "first", "top": "max",
                "half": "median", "kinds": "unique", "time": "last",
            },
            "sort": ["-symbol"],
            "limit": 5,
        },
    }  # fmt: skip
    frames = Frames(template(sources, {"type": "table", "source": "t"}), Tables(prices=table))
    page = frames.page("p0").to_pandas().set_index("symbol")
    data = table.to_pandas().astype({"symbol": str})
    data = data[(data.symbol != "B") & (data.value > 1)]
    data["w"] = data.groupby("symbol").value.cumsum() / 2
    groups = data.groupby("symbol")
    assert page.index.tolist() == ["C", "A"]
    for column, expected in (
        ("w", groups.w.mean()), ("value", groups.value.std()), ("lot", groups.lot.sum()), ("n", groups.w.count()),
        ("first", groups.w.first()), ("top", groups.w.max()), ("half", groups.w.median()),
        ("kinds", groups.note.nunique()),
    ):  # fmt: skip
        pd.testing.assert_series_equal(
            page[column].sort_index().astype(float), expected.astype(float), check_names=False, obj=column
        )
    assert page["time"].dt.tz_convert("UTC").tolist() == [DAYS[9], DAYS[9]]


def test_all_rows_become_one_without_groups() -> None:
    sources = {"s": {"table": "prices", "aggregate": {"value": "sum"}}}
    number = {"type": "number", "fields": {"value": "value"}, "options": {"format": "integer"}}
    panel = read(template(sources, number), Tables(prices=prices())).panels["p0"]
    assert isinstance(panel, Number)
    assert (panel.value, panel.text) == (3 * 45 + 3000.0, "3,135")


def test_limit_without_sort_reads_no_more_than_it_needs() -> None:
    tables = Tables(prices=prices())
    tables.stored["prices"]._size = 4
    read_rows: list[int] = []
    original = tables.stored["prices"].batches

    def counted(part: Any) -> Any:
        for batch in original(part):
            read_rows.append(batch.num_rows)
            yield batch

    tables.stored["prices"].batches = counted  # type: ignore[method-assign]
    panel = read(template({"s": {"table": "prices", "limit": 6}}, line("lot", "value")), tables).panels["p0"]
    assert isinstance(panel, Lines)
    assert panel.series[0].x.tolist() == [0, 1, 2, 3, 4, 5]
    assert read_rows == [4, 4]


def test_a_table_too_large_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.report.sources.MAX_READ", 100)
    tables = Tables(prices=prices())
    tables.stored["prices"]._size = 10
    panel = read(template({"s": {"table": "prices"}}, line("lot", "value")), tables).panels["p0"]
    assert (panel.rows, panel.note) == (
        10, "only the first 10 rows that were read; pick symbols or times to see others",
    )  # fmt: skip


# --- choices ----------------------------------------------------------------------------------------------------------


def test_what_choices_offer_and_begin_with() -> None:
    sources = {
        "all": {"table": "prices"},
        "s": {"table": "prices", "choices": ["symbol", "day", "lot"]},
        "few": {"source": "all", "derive": {"band": "lot // 10"}},
    }
    choices: list[dict[str, Any]] = [
        {**SYMBOL, "multiple": True, "initial": "first", "count": 2},
        {"name": "day", "source": "all", "column": "time", "initial": "last"},
        {"name": "lot", "source": "all", "column": "lot", "required": False},
        {"name": "band", "source": "few", "column": "band"},
        {"name": "other", "source": "all", "column": "nothing", "initial": "first"},
    ]
    tables = Tables(prices=prices())
    frames = Frames(template(sources, line("time", "value", color="symbol", source="s"), choices=choices), tables)
    assert frames.values("symbol") == ["A", "B", "C"]
    assert tables.stored["prices"].asked[-1].columns == frozenset({"symbol"})
    assert frames.values("day") == DAYS
    assert frames.values("lot") == list(range(30))
    assert frames.values("band") == [0, 1, 2]
    report = frames.read()
    assert report.choices == {"symbol": ("A", "B"), "day": (DAYS[9],), "lot": (), "band": (), "other": ()}
    panel = report.panels["p0"]
    assert isinstance(panel, Lines)
    assert [(one.name, one.y.tolist()) for one in panel.series] == [("A", [9.0]), ("B", [109.0])]
    # texts as a command line gives them
    panel = frames.read({"symbol": ["C"], "day": "2024-01-03", "lot": "8"}).panels["p0"]
    assert isinstance(panel, Lines)
    assert panel.series[0].y.tolist() == [202.0]
    assert frames.read({"day": None}).panels["p0"].waiting == "Choose a value for day."
    with pytest.raises(Invalid, match="has no column 'nothing'"):
        frames.values("other")
    for given, said in (
        ({"symbl": "A"}, "the template has no choice 'symbl'; did you mean 'symbol'?"),
        ({"day": [DAYS[0], DAYS[1]]}, "choice 'day' takes one value, not 2"),
        ({"day": {"a": 1}}, "choice 'day' takes texts, numbers and times, not dict"),
    ):
        with pytest.raises(Invalid) as caught:
            frames.read(given)
        assert said in str(caught.value)
    with pytest.raises(Invalid, match="no choice 'x'"):
        frames.values("x")
    assert frames.read({"day": "soon"}).panels["p0"].problem.startswith("'soon' is no time to choose by")
    assert frames.read({"lot": "many"}).panels["p0"].problem == "'many' is no number to choose by."
    assert frames.read({"symbol": "Z"}).panels["p0"].empty == (
        "No rows of table 'prices' fit the conditions, choices and selection."
    )


def test_of_very_many_times_the_latest_are_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.report.frames.MAX_CHOICES", 4)
    sources = {"all": {"table": "prices"}, "s": {"table": "prices", "choices": ["day", "lot"]}}
    choices: list[dict[str, Any]] = [
        {"name": "day", "source": "all", "column": "time", "initial": "first"},
        {"name": "lot", "source": "all", "column": "lot", "initial": "last"},
    ]
    frames = Frames(template(sources, line("time", "value", source="s"), choices=choices), Tables(prices=prices()))
    assert frames.values("day") == DAYS[6:]
    assert frames.values("lot") == [0, 1, 2, 3]
    assert frames.read().choices == {"day": (DAYS[0],), "lot": (29.0,)}


@pytest.mark.spec("B4")
def test_more_than_so_many_rows_are_shown_by_stock_and_day() -> None:
    """Of 30 rows all are shown where up to 30 may be; where 29 may be, one stock's of one day."""

    def orders(beyond: int) -> Frames:
        choices: list[dict[str, Any]] = [
            {"name": "stock", "source": "all", "column": "symbol", "initial": "last", "beyond": beyond},
            {"name": "day", "source": "all", "column": "sent", "initial": "first", "beyond": beyond, "day": True},
        ]
        table = {"type": "table", "source": "shown"}
        sources = {"all": {"table": "orders"}, "shown": {"table": "orders", "choices": ["stock", "day"]}}
        return Frames(template(sources, table, choices=choices), Tables(orders=given))

    stamps = [START + dt.timedelta(hours=8 * n) for n in range(30)]  # three a day
    names = ["A"] * 12 + ["B", "C", "C"] * 6  # C is first traded on the fifth day
    given = pa.table({"id": range(30), "sent": pa.array(stamps, TIME), "symbol": names})
    few = orders(30)
    assert few.read().choices == {"stock": (), "day": ()}
    assert few.read().panels["p0"].rows == 30
    assert few.page("p0", choices={"stock": "B"})["id"].to_pylist() == [12, 15, 18, 21, 24, 27]
    many = orders(29)
    report = many.read()
    assert report.choices == {"stock": ("C",), "day": (DAYS[4],)}
    assert many.page("p0")["id"].to_pylist() == [13, 14]
    assert report.panels["p0"].rows == 2
    assert many.values("day") == DAYS
    # another stock begins with its own first day; another day is any moment of it
    assert many.read({"stock": "A"}).choices["day"] == (DAYS[0],)
    assert many.page("p0", choices={"stock": "A", "day": stamps[10]})["id"].to_pylist() == [9, 10, 11]
    assert many.read({"stock": None}).panels["p0"].waiting == "Choose a value for stock."
    # what nobody traded has all days to choose from
    assert many.read({"stock": "D"}).choices["day"] == (DAYS[0],)


def test_days_are_pushed_down_where_the_time_is_the_tables() -> None:
    choices: list[dict[str, Any]] = [{"name": "day", "source": "all", "column": "time", "day": True}]
    sources = {"all": {"table": "prices"}, "s": {"table": "prices", "choices": ["day"]}}
    tables = Tables(prices=prices())
    panels = ({"type": "table", "source": "s"}, line("lot", "value", source="s"))
    frames = Frames(template(sources, *panels, choices=choices), tables)
    assert frames.page("p0", choices={"day": "2024-01-03 17:00"})["lot"].to_pylist() == [6, 7, 8]
    assert frames.read({"day": DAYS[2]}, panels=["p1"]).panels["p1"].rows == 3
    part = tables.stored["prices"].asked[-1]
    assert (part.start, part.end) == (DAYS[2], DAYS[3] - dt.timedelta(microseconds=1))
    wrong = {**choices[0], "column": "lot"}
    other = Frames(template(sources, {"type": "table", "source": "s"}, choices=[wrong]), tables)
    with pytest.raises(Invalid, match="choice 'day' picks days, and 'lot' of table 'prices' has no times"):
        other.values("day")


def test_a_choice_whose_table_is_not_there_spoils_only_its_panels() -> None:
    sources = {"all": {"table": "gone"}, "s": {"table": "prices", "choices": ["symbol"]}, "t": {"table": "prices"}}
    made = template(
        sources,
        line("time", "value", source="s"),
        line("time", "value", source="t"),
        choices=[{**SYMBOL, "initial": "first"}],
    )
    report = read(made, Tables(prices=prices()))
    assert report.panels["p0"].problem == "Job 1 has no table 'gone'."
    assert report.panels["p1"].said == ""


# --- tables -----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("B4", "V2")
def test_pages_of_a_stored_table_read_one_page() -> None:
    tables = Tables(prices=prices())
    frames = Frames(template({"s": {"table": "prices"}}, {"type": "table"}), tables)
    panel = frames.read().panels["p0"]
    assert isinstance(panel, Rows)
    assert panel.rows == 30
    assert panel.first.num_rows == 10
    assert panel.columns == (
        ("time", "time"), ("symbol", "text"), ("value", "number"), ("lot", "integer"), ("note", "text"),
    )  # fmt: skip
    assert frames.page("p0", offset=25)["lot"].to_pylist() == [25, 26, 27, 28, 29]
    assert frames.page("p0", limit=2, sort=By("value", descending=True))["value"].to_pylist() == [209.0, 208.0]
    assert frames.page("p0", offset=100).num_rows == 0


def test_rows_are_picked_and_sorted_by_the_columns_for_that_alone() -> None:
    tables = Tables(prices=prices())
    sources = {"s": {"table": "prices", "choices": ["symbol", "note"]}, "all": {"table": "prices"}}
    choices: list[dict[str, Any]] = [
        {**SYMBOL, "required": False},
        {"name": "note", "source": "all", "column": "note", "required": False, "multiple": True},
    ]
    frames = Frames(template(sources, {"type": "table", "source": "s"}, choices=choices), tables)
    held = tables.stored["prices"]
    chosen = {"symbol": "B", "note": ["odd"]}
    found = frames.page("p0", choices=chosen, limit=2, offset=1, sort=By("value", descending=True))
    data = prices().to_pandas().query("symbol == 'B' and note == 'odd'").sort_values("value", ascending=False)
    assert found["lot"].to_pylist() == data["lot"].tolist()[1:3]
    assert found.schema.names == ["time", "symbol", "value", "lot", "note"]
    read_columns = {part.columns for part in held.asked}
    assert read_columns == {None, frozenset({"symbol", "note", "value"})}  # None: only counted
    before = len(held.asked)
    assert frames.page("p0", choices=chosen, sort=By("value", descending=True)).num_rows == len(data)
    assert len(held.asked) == before
    assert frames.read(chosen).panels["p0"].rows == len(data)


def test_a_selection_that_a_table_knows_nothing_of_narrows_nothing() -> None:
    plain = pa.table({"x": [3, 1, 2]})
    panel = {"type": "table", "links": {"follows": ["symbol", "time"]}}
    frames = Frames(template({"s": {"table": "plain"}}, panel), Tables(plain=plain))
    picked = Picked(symbols=("A",), start=START)
    assert frames.page("p0", picked=picked)["x"].to_pylist() == [3, 1, 2]
    assert frames.page("p0", picked=picked, sort=By("x"))["x"].to_pylist() == [1, 2, 3]
    assert frames.read(picked=picked).panels["p0"].rows == 3


def test_a_table_of_very_many_rows_is_picked_from_by_its_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.report.frames.MAX_PLACES", 29)
    tables = Tables(prices=prices())
    sources = {"s": {"table": "prices", "choices": ["symbol", "lot"]}, "all": {"table": "prices"}}
    lot = {"name": "lot", "source": "all", "column": "lot", "required": False}
    made = template(sources, {"type": "table", "source": "s"}, choices=[{**SYMBOL, "required": False}, lot])
    frames = Frames(made, tables)
    assert frames.page("p0", choices={"symbol": "C"}, offset=8)["lot"].to_pylist() == [26, 29]
    assert tables.stored["prices"].asked[-1].symbols == ("C",)
    assert frames.page("p0", sort=By("value", descending=True), limit=1)["lot"].to_pylist() == [29]
    assert frames.page("p0", choices={"symbol": "C", "lot": 5})["value"].to_pylist() == [201.0]


def test_pages_of_what_was_computed() -> None:
    sources = {"s": {"table": "prices", "where": "value >= 100", "derive": {"share": "value / sum(value)"}}}
    panel = {"type": "table", "fields": {"columns": ["symbol", "share", "lot"]}, "options": {"rows": 5}}
    frames = Frames(template(sources, panel), Tables(prices=prices()))
    rows = frames.read().panels["p0"]
    assert isinstance(rows, Rows)
    assert (rows.rows, rows.first.num_rows) == (20, 5)
    assert rows.columns == (("symbol", "text"), ("share", "number"), ("lot", "integer"))
    found = frames.page("p0", limit=3, sort=By("share", descending=True))
    assert found["lot"].to_pylist() == [29, 26, 23]
    assert frames.page("p0", offset=18, sort=By("share"))["lot"].to_pylist() == [26, 29]
    for wrong, said in (
        ({"offset": -1}, "a page begins at 0"),
        ({"limit": -1}, "a page begins at 0"),
        ({"sort": By("nothing")}, "has no column 'nothing'"),
    ):
        with pytest.raises(Invalid, match=said):
            frames.page("p0", **wrong)
    with pytest.raises(Invalid, match="the template has no panel 'p9'"):
        frames.page("p9")
    with pytest.raises(Invalid, match="panel 'p0' is no table"):
        Frames(template({"s": {"table": "prices"}}, line("time", "value")), Tables(prices=prices())).page("p0")
