"""docs/templates.md is true: it names every entry, option and function that there is, and its examples work."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
from pydantic import BaseModel

from quarterdeck.report import Picked, dump, load
from quarterdeck.report.access import TASK
from quarterdeck.report.checks import MAX_BYTES
from quarterdeck.report.formula import FUNCTIONS, RowFormula
from quarterdeck.report.frames import Frames
from quarterdeck.report.reduce import MAX_POINTS
from quarterdeck.report.sources import MAX_READ
from quarterdeck.report.spread import MAX_CELLS, MAX_LINES
from quarterdeck.report.template import PANELS, Aggregate, Choice, Format, Link, Links, Place, Source, Template
from tests.unit.report_tables import START, TIME, Tables

pytestmark = pytest.mark.spec("V3")

TEXT = (Path(__file__).parents[2] / "docs" / "templates.md").read_text(encoding="utf-8")
SECTIONS = {
    head.strip("`# "): body
    for head, body in re.findall(r"^(###? .+?)\n(.*?)(?=^###? |\Z)", TEXT, re.MULTILINE | re.DOTALL)
}


def named(section: str) -> set[str]:
    """What stands in backticks in a section."""
    return set(re.findall(r"`([^`\n]+)`", SECTIONS[section]))


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ("The document", Template), ("Sources", Source), ("Choices", Choice), ("Panels", Place), ("Panels", Links),
        *((name, model) for name, model in PANELS.items()),
    ],
)  # fmt: skip
def test_every_entry_is_in_the_page(section: str, model: type[BaseModel]) -> None:
    entries = set(model.model_fields)
    if section in PANELS:
        own = {"fields", "options"}
        assert entries - own <= named("Panels")
        entries = set()
        for part in own:
            inner = model.model_fields[part].annotation
            assert inner is not None
            entries |= set(inner.model_fields)  # type: ignore[attr-defined]
    assert entries - named(section) == set()


def test_every_word_that_an_entry_takes_is_in_the_page() -> None:
    assert set(get_args(Aggregate)) <= named("Sources")
    assert set(get_args(Format)) | set(get_args(Link)) <= named("Panels")
    assert {"none", "first", "last"} <= named("Choices")
    assert {"pearson", "spearman"} <= named("correlation")
    assert {"none", "high", "low"} <= named("number")
    assert TASK in named("Sources")


def test_the_page_names_no_option_that_there_is_not() -> None:
    known = {"line"} | set(get_args(Format)) | set(get_args(Aggregate))
    for name, model in PANELS.items():
        inner = [model.model_fields[part].annotation for part in ("fields", "options")]
        entries = {entry for one in inner for entry in one.model_fields}  # type: ignore[union-attr]
        extra = {"number": {"none", "high", "low"}, "correlation": {"pearson", "spearman"}}.get(name, set())
        assert named(name) - entries - known - extra == set(), name


def test_the_functions_of_the_page_are_those_that_there_are() -> None:
    rows = re.findall(r"^\| `(\w+\(.*?\))` \| (.+?) \|$", SECTIONS["Formulas"], re.MULTILINE)
    documented = dict(rows)
    for function in FUNCTIONS.values():
        assert documented.pop(function.signature) == function.meaning
    assert {name.partition("(")[0] for name in documented} == {"where", "isin", "isnull", "ifnull"}
    for name in re.findall(
        r"`(\w+)`", SECTIONS["Formulas"].partition("of the factors' operators")[2].partition(".")[0]
    ):
        arguments = {"power": "x, y", "signed_power": "x, y", "max": "x, y", "min": "x, y", "clip": "x, y, z"}
        assert RowFormula(f"{name}({arguments.get(name, 'x')})").columns


def test_the_numbers_of_the_page_are_those_of_the_program() -> None:
    assert f"{MAX_BYTES:,} bytes" in TEXT
    assert f"{MAX_READ // 1_000_000} MB" in TEXT
    assert f"at most {MAX_POINTS:,} points" in TEXT
    assert f"at most {MAX_LINES:,} rows" in TEXT
    assert f"than {MAX_CELLS} are cut" in TEXT
    schema = Template.model_json_schema()["properties"]
    counts = (schema["sources"]["maxProperties"], schema["choices"]["maxItems"], schema["panels"]["maxItems"])
    assert "{} sources, {} choices and {} panels".format(*counts) in TEXT


def test_the_example_is_good_and_draws() -> None:
    (text,) = re.findall(r"```json\n(.*?)```", TEXT, re.DOTALL)
    template = load(text)
    assert load(dump(template)) == template
    times = [START + dt.timedelta(days=20 * n) for n in range(4)]  # 1 and 21 January, 10 February, 1 March
    when = pa.array(times, TIME)
    prices = {"time": when, "symbol": ["A"] * 4}
    prices |= {name: [1.0, 2.0, 3.0, 4.0] for name in ("open", "high", "low", "close")}
    tables = Tables(
        returns=pa.table(
            {"time": when, "daily_return": [0.5, 0.1, -0.5, 0.25], "net_value": [1.5, 1.65, 0.825, 1.03125]}
        ),
        orders=pa.table({"sent_time": when, "symbol": ["A"] * 4, "status": ["filled", "sent", "filled", "filled"]}),
        signals=pa.table({"time": when[:1], "symbol": ["A"], "kind": ["buy"], "price": [1.0]}),
        **{"${params.table}": pa.table(prices)},
    )
    frames = Frames(template, tables)
    panels: Any = frames.read(picked=Picked(start=times[1])).panels
    assert panels.pop("chart").waiting == "Choose a value for stock code."
    assert [panel.said for panel in panels.values()] == [""] * 4
    np.testing.assert_allclose(panels["drawdown"].series[0].y, [0.0, 0.0, -0.5, -0.375])
    assert panels["months"].x_labels == ("1", "2", "3")
    np.testing.assert_allclose(panels["months"].values, [[1.5 * 1.1 - 1, -0.5, 0.25]])
    assert panels["orders"].first["sent_time"].to_pylist() == [times[3], times[2]]
    chart: Any = frames.read(picked=Picked(row="A")).panels["chart"]
    assert [one.kind for one in chart.signals] == ["buy"]


def test_the_python_of_the_page_uses_what_there_is() -> None:
    (text,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    compile(text, "templates.md", "exec")
    assert set(re.findall(r"frames\.(\w+)", text)) <= set(dir(Frames))
