"""Forms made from parameters."""

from __future__ import annotations

import datetime as dt
import enum
import platform
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit, QPlainTextEdit
from pytestqt.qtbot import QtBot

from desktop.bridge import Bridge
from desktop.views.editors import CodeEdit, FormulaEdit, PairsEdit
from desktop.views.fields import MISSING
from desktop.views.fields import Field as FormField
from desktop.views.form import FormDialog, complaints
from quarterdeck.job import Action
from quarterdeck.kinds import KINDS, Kind, kind

LEFT = Qt.MouseButton.LeftButton


class Side(enum.Enum):
    BUY = "buy"
    SELL = "sell"


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")

    text: str = Field(description="any words")
    whole: int
    share: float = 0.5
    on: bool = True
    mode: Literal["create", "append"] = "create"
    side: Side | None = None
    symbols: list[str] | None = None
    periods: list[int] = [1, 5]
    day: dt.date | dt.datetime | None = None
    columns: dict[str, str] | None = None
    code: str | None = Field(None, json_schema_extra={"code": "python"})
    path: str | list[str] = ""

    @model_validator(mode="after")
    def _check(self) -> Everything:
        if self.whole < 0 and self.share > 0:
            raise ValueError("whole and share contradict each other")
        return self


def fields() -> dict[str, FormField]:
    return {name: FormField(name, info) for name, info in Everything.model_fields.items()}


@pytest.mark.spec("X1")
@pytest.mark.parametrize("key", [one.key for one in KINDS if one.params is not None])
def test_no_field_is_wider_than_the_dialog(qtbot: QtBot, key: str) -> None:
    model = kind(key).params
    assert model is not None
    for name, info in model.model_fields.items():
        field = FormField(name, info)
        qtbot.addWidget(field)
        assert field.minimumSizeHint().width() <= 670, name


def test_each_type_has_its_widget(qtbot: QtBot) -> None:
    made = fields()
    for field in made.values():
        qtbot.addWidget(field)
    types = {name: type(field.control) for name, field in made.items()}
    assert types == {
        "text": QLineEdit,
        "whole": QLineEdit,
        "share": QLineEdit,
        "on": QCheckBox,
        "mode": QComboBox,
        "side": QComboBox,
        "symbols": QLineEdit,
        "periods": QLineEdit,
        "day": QLineEdit,
        "columns": PairsEdit,
        "code": CodeEdit,
        "path": QLineEdit,
    }


def test_what_is_entered_is_what_the_model_gets(qtbot: QtBot) -> None:
    made = fields()
    for field in made.values():
        qtbot.addWidget(field)
    entered = {
        "text": "words, with comma",
        "whole": 7,
        "share": 0.25,
        "on": False,
        "mode": "append",
        "side": "sell",
        "symbols": ["AAPL", "MSFT"],
        "periods": [1, 10],
        "day": "2024-02-29",
        "columns": {"Ticker": "symbol"},
        "code": "def factor(frame):\n    return frame\n",
        "path": ["a.csv", "b.csv"],
    }
    for name, value in entered.items():
        made[name].put(value)
    assert {name: field.value() for name, field in made.items()} == entered
    assert Everything.model_validate(entered).side is Side.SELL


def test_an_empty_field_leaves_its_parameter_out(qtbot: QtBot) -> None:
    made = fields()
    for field in made.values():
        qtbot.addWidget(field)
    left_out = {name for name, field in made.items() if field.value() is MISSING}
    assert left_out == {"text", "whole", "side", "symbols", "day", "columns", "code", "path"}


def test_each_complaint_is_a_sentence_at_its_field() -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError) as wrong:
        Everything.model_validate({"whole": "seven", "share": "x"})
    found = complaints(Everything, wrong.value)
    assert found["text"] == "Text is needed."
    assert found["whole"] == "“seven” is not a whole number."
    assert found["share"] == "“x” is not a number."
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in found.values())
    with pytest.raises(ValidationError) as wrong:
        Everything.model_validate({"text": "a", "whole": -1})
    assert complaints(Everything, wrong.value) == {"": "Whole and share contradict each other."}


STARTABLE = [one for one in KINDS if one.params is not None and one.run]


@pytest.mark.spec("X1")
@pytest.mark.parametrize("chosen", STARTABLE, ids=lambda one: one.key)
def test_each_kind_has_a_form_that_takes_its_example(qtbot: QtBot, bridge: Bridge, sign_in: Any, chosen: Kind) -> None:
    assert chosen.params is not None
    form = FormDialog(chosen, sign_in(), bridge, params=chosen.example)
    qtbot.addWidget(form)
    values = form.values()
    for name, value in chosen.example.items():
        assert values[name] == value
    chosen.params.model_validate(values)


@pytest.mark.spec("X1", "G4")
def test_an_invalid_form_says_so_at_the_field_and_submits_nothing(
    qtbot: QtBot, bridge: Bridge, sign_in: Any, database: Any
) -> None:
    form = FormDialog(kind("factor"), sign_in(), bridge)
    qtbot.addWidget(form)
    form.show()
    form.fields["formula"].put("close / delay(close, 20) - 1")
    qtbot.mouseClick(form.submit, LEFT)
    qtbot.waitUntil(lambda: not form.fields["name"].error.isHidden())
    assert form.fields["name"].error.text() == "Name is needed."
    assert form.fields["table"].error.text() == "Table is needed."
    assert form.fields["formula"].error.isHidden()
    form.fields["name"].put("mom")
    assert form.fields["name"].error.isHidden()
    form.fields["table"].put("prices")
    form.fields["formula"].put("close / delay(close, 20) - 1")
    qtbot.mouseClick(form.submit, LEFT)
    qtbot.waitUntil(lambda: not form.fields["table"].error.isHidden(), timeout=20_000)
    assert form.fields["table"].error.text().startswith("There is no table 'prices'")
    form.fields["formula"].put("close / nothing_known(close)")
    qtbot.mouseClick(form.submit, LEFT)
    qtbot.waitUntil(lambda: not form.problem.isHidden() or not form.fields["formula"].error.isHidden(), timeout=20_000)
    said = form.problem.text() + form.fields["formula"].error.text()
    assert "nothing_known" in said
    assert form.isVisible()
    assert database.value("postgres", "select count(*) from qd.job") == 0


@pytest.mark.spec("X1")
@pytest.mark.usefixtures("prices")
def test_a_valid_form_starts_a_job(qtbot: QtBot, bridge: Bridge, sign_in: Any, database: Any) -> None:
    form = FormDialog(kind("factor"), sign_in(), bridge)
    qtbot.addWidget(form)
    form.show()
    form.fields["name"].put("mom20")
    form.fields["table"].put("prices")
    form.fields["formula"].put("close / delay(close, 20) - 1")
    form.fields["symbols"].put(["AAPL", "MSFT"])
    with qtbot.waitSignal(form.submitted, timeout=20_000) as submitted:
        qtbot.mouseClick(form.submit, LEFT)
    number, name = submitted.args
    assert name == "mom20"
    assert not form.isVisible()
    row = database.sql("alice", "select d.params from qd.job_detail as d where d.job_id = :job", job=number)[0]
    assert row.params["symbols"] == ["AAPL", "MSFT"]
    assert row.params["formula"] == "close / delay(close, 20) - 1"


@pytest.mark.spec("X1")
@pytest.mark.usefixtures("prices")
def test_run_again_begins_with_the_same_parameters(qtbot: QtBot, window: Any, sign_in: Any, database: Any) -> None:
    client = sign_in()
    number = client.submit("factor", {"name": "mom20", "table": "prices", "formula": "close / delay(close, 20) - 1"})
    shown = window(client)
    page = shown.pages[0]
    qtbot.waitUntil(lambda: page.model.rowCount() == 1)
    shown.commands.act(page.model.row(0), Action.RERUN)
    qtbot.waitUntil(lambda: len(shown.commands.forms) == 1)
    form = shown.commands.forms[0]
    assert form.fields["formula"].value() == "close / delay(close, 20) - 1"
    form.fields["name"].put("mom20 again")
    with qtbot.waitSignal(form.submitted, timeout=20_000) as submitted:
        qtbot.mouseClick(form.submit, LEFT)
    assert database.value("postgres", "select rerun_of from qd.job where id = :j", j=submitted.args[0]) == number
    qtbot.waitUntil(lambda: page.model.rowCount() == 2)


@pytest.fixture
def at_home(database: Any) -> None:
    """A node that is up, on this computer: its files are those that the form can look at."""
    database.sql("node_n1", "select qd.register_node(4, '{}', :host, '0', 2, 1000)", host=platform.node())


BAD_FACTORS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "9lives"}, "name", "'9lives' can't be a factor's name"),
    ({"table": "price"}, "table", "There is no table 'price'; did you mean 'prices'?"),
    ({"formula": "clsoe / 2"}, "formula", "Unknown name 'clsoe' at column 1; did you mean 'close'?"),
    ({"formula": "dlay(close, 2)"}, "formula", "Unknown function 'dlay' at column 1; did you mean"),
    ({"formula": "close +"}, "formula", ""),
    ({"formula": "__import__('os')"}, "formula", ""),
    ({"formula": ""}, "formula", "Factor 'mom' needs either a formula or code."),
    ({"code": "def factor(frame:\n    return frame"}, "code", "Factor code, line 1: "),
    ({"code": "x = 1"}, "code", "The code defines no function"),
    ({"factors": "a = close\nb"}, "factors", "Line 2 is no pair: write it as name = value."),
    ({"factors": "a = close\na = open"}, "factors", "Factor 'a' stands in factors twice"),
    ({"factors": "a = close\nb = clsoe"}, "factors", "Factor 'b': unknown name 'clsoe'"),
    ({"factors": "a = close\nb = dlay(close, 1)"}, "factors", "Entry 2, formula: unknown function 'dlay'"),
    ({"factors": "[{"}, "factors", "This begins like JSON, and is none"),
    ({"start": "2024-13-01"}, "start", "“2024-13-01” is not a day such as 2024-01-31 or a time such as"),
    ({"start": "2024-02-01", "end": "2024-01-01"}, "end", "Start 2024-02-01 lies after end 2024-01-01."),
]


def put(field: FormField, value: Any) -> None:
    """As typed."""
    if isinstance(field.control, QPlainTextEdit):
        field.control.setPlainText(value)
    else:
        field.put(value)


def fill(form: FormDialog, values: dict[str, Any]) -> None:
    for name, value in values.items():
        for choice in form.choices:
            if name in choice.names:
                choice.choose(name)
        put(form.fields[name], value)


@pytest.mark.spec("X1", "G4")
@pytest.mark.usefixtures("prices")
@pytest.mark.parametrize(("values", "name", "words"), BAD_FACTORS, ids=lambda one: repr(one)[:50])
def test_each_mistake_in_a_factor_is_one_sentence_at_its_field(
    qtbot: QtBot, bridge: Bridge, sign_in: Any, database: Any, values: dict[str, Any], name: str, words: str
) -> None:
    form = FormDialog(kind("factor"), sign_in(), bridge)
    qtbot.addWidget(form)
    form.show()
    fill(form, {"name": "mom", "table": "prices", "formula": "close"} | values)
    qtbot.mouseClick(form.submit, LEFT)
    error = form.fields[name].error
    qtbot.waitUntil(lambda: not error.isHidden(), timeout=20_000)
    assert error.text().startswith(words)
    assert error.text().endswith((".", "?"))
    assert "\n" not in error.text()
    assert "Traceback" not in error.text()
    assert [one.name for one in form.fields.values() if not one.error.isHidden()] == [name]
    assert form.problem.isHidden()
    assert form.fields[name].isVisible()
    assert form.submit.isEnabled()
    assert database.value("postgres", "select count(*) from qd.job") == 0


GOOD = "symbol,time,close\nA,2024-01-02,1\n"
BAD_IMPORTS: list[tuple[bytes | None, dict[str, Any], str, str]] = [
    (None, {}, "path", "There is no file "),
    (b"", {}, "path", "data.csv is empty."),
    (b"\x00\x01\x02\x03binary\x00", {}, "path", "Data.csv is not a text file"),
    (b"PK\x03\x04 no workbook", {"format": "excel"}, "path", ""),
    (b"PAR1 no table", {"format": "parquet"}, "path", "Data.csv is no Parquet file, or a damaged one"),
    (b"symbol,time,close\n", {}, "path", "Data.csv has column names, but no rows."),
    (
        b"symbol,close\nA,1\n",
        {},
        "columns",
        "Data.csv has no column of times: it has symbol, close; name it in columns.",
    ),
    (GOOD.encode(), {"columns": "Ticker = symbol"}, "columns", ""),
    (GOOD.encode(), {"columns": "symbol"}, "columns", "Line 1 is no pair: write it as name = value."),
    (
        GOOD.encode(),
        {"time_format": "%d/%m/%Y"},
        "time_format",
        "No time of data.csv can be read as %d/%m/%Y: the first is",
    ),
    (GOOD.encode(), {"time_format": "day month"}, "time_format", "Time_format 'day month' does not tell a day"),
    (GOOD.encode(), {"time_zone": "Mars/Olympus"}, "time_zone", "There is no time zone Mars/Olympus"),
    (GOOD.encode(), {"encoding": "klingon"}, "encoding", "The encoding klingon is not known"),
    (GOOD.encode(), {"delimiter": ",,"}, "delimiter", "The delimiter is one character"),
    (GOOD.encode(), {"header_row": "first"}, "header_row", "“first” is not a whole number."),
    (GOOD.encode(), {"header_row": "-1"}, "header_row", "“-1” won't do: it must be at least 0."),
    (GOOD.encode(), {"table": "my prices"}, "table", "The table's name is made of letters, digits and _"),
    (GOOD.encode(), {"table": "prices"}, "table", "You have a table 'prices' already: set mode to append or replace"),
    (GOOD.encode(), {"path": ""}, "path", "Give either path, or url and query."),
    (
        GOOD.encode(),
        {"url": "postgresql://me:secret@server/db", "query": "select 1"},
        "url",
        "Url may not hold a password",
    ),
    (GOOD.encode(), {"url": "postgresql://server/db"}, "query", "Url needs a query to ask there."),
    (b"symbol,time,close\nA,03/04/2024,1\n", {}, "time_format", ""),
]


@pytest.mark.spec("X1", "G4", "D2")
@pytest.mark.usefixtures("prices", "at_home")
@pytest.mark.parametrize(("content", "values", "name", "words"), BAD_IMPORTS, ids=lambda one: repr(one)[:50])
def test_each_mistake_in_an_import_is_one_sentence_at_its_field(
    qtbot: QtBot,
    bridge: Bridge,
    sign_in: Any,
    database: Any,
    tmp_path: Path,
    content: bytes | None,
    values: dict[str, Any],
    name: str,
    words: str,
) -> None:
    path = tmp_path / "data.csv"
    if content is not None:
        path.write_bytes(content)
    form = FormDialog(kind("data_import"), sign_in(), bridge)
    qtbot.addWidget(form)
    form.show()
    fill(form, {"table": "fresh", "path": str(path)} | values)
    qtbot.mouseClick(form.submit, LEFT)
    error = form.fields[name].error
    qtbot.waitUntil(lambda: not error.isHidden(), timeout=20_000)
    assert error.text().lower().startswith(words.lower())
    assert error.text().endswith((".", "?"))
    assert "\n" not in error.text()
    assert [one.name for one in form.fields.values() if not one.error.isHidden()] == [name]
    assert form.fields[name].isVisible()
    assert database.value("postgres", "select count(*) from qd.job") == 0
    assert not (tmp_path / "config").exists() or not list((tmp_path / "config").glob("*.csv"))


@pytest.mark.spec("X1", "K2")
@pytest.mark.usefixtures("prices")
def test_a_batch_is_entered_a_line_each(qtbot: QtBot, bridge: Bridge, sign_in: Any) -> None:
    client = sign_in()
    form = FormDialog(kind("factor"), client, bridge)
    qtbot.addWidget(form)
    form.show()
    fill(form, {"name": "several", "table": "prices", "factors": "a = close\n\nb = close >= delay(close, 1)\n"})
    with qtbot.waitSignal(form.submitted, timeout=20_000) as submitted:
        qtbot.mouseClick(form.submit, LEFT)
    params = client.get(submitted.args[0]).params
    assert [(one["name"], one["formula"]) for one in params["factors"]] == [
        ("a", "close"),
        ("b", "close >= delay(close, 1)"),
    ]
    assert params["formula"] is None
    again = FormDialog(kind("factor"), client, bridge, params=params, rerun_of=submitted.args[0])
    qtbot.addWidget(again)
    assert again.fields["factors"].chosen
    assert not again.fields["formula"].chosen
    editor = again.fields["factors"].control
    assert isinstance(editor, PairsEdit)
    assert editor.toPlainText() == "a = close\nb = close >= delay(close, 1)"


def test_what_has_no_form_as_pairs_is_json(qtbot: QtBot) -> None:
    editor = PairsEdit(5, ["name", "formula"])
    qtbot.addWidget(editor)
    entries = [
        {"name": "a", "formula": None, "code": "def factor(f):\n    return f\n"},
        {"name": "b", "formula": "close"},
    ]
    editor.put(entries)
    assert editor.pairs() == entries
    mapping = PairsEdit(5, None)
    qtbot.addWidget(mapping)
    mapping.put({"Ticker": "symbol", "a=b": "close"})
    assert mapping.pairs() == {"Ticker": "symbol", "a=b": "close"}
    mapping.setPlainText("Ticker = symbol\nDate=time")
    assert mapping.pairs() == {"Ticker": "symbol", "Date": "time"}


@pytest.mark.spec("X1")
@pytest.mark.usefixtures("prices")
def test_a_table_is_offered_with_its_columns_and_a_formula_is_completed(
    qtbot: QtBot, bridge: Bridge, sign_in: Any
) -> None:
    form = FormDialog(kind("factor"), sign_in(), bridge)
    qtbot.addWidget(form)
    form.show()
    table = form.fields["table"].control
    assert isinstance(table, QComboBox)
    qtbot.waitUntil(lambda: table.count() == 1, timeout=20_000)
    assert table.itemText(0) == "prices"
    form.fields["table"].put("prices")
    qtbot.waitUntil(lambda: form.fields["table"].help.text() == "0 rows of alice: symbol, time, close.")
    editor = form.fields["formula"].control
    assert isinstance(editor, FormulaEdit)
    qtbot.waitUntil(lambda: "close" in editor.words and "delay" in editor.words, timeout=20_000)
    editor.setFocus()
    for letter in "del":
        qtbot.keyClick(editor, letter)
    popup = editor.completer.popup()
    qtbot.waitUntil(popup.isVisible)
    offered = [str(editor.completer.completionModel().index(n, 0).data()) for n in range(2)]
    assert offered[0].startswith("delay   delay(x, n)")
    qtbot.keyClick(popup, Qt.Key.Key_Return)
    assert editor.toPlainText() == "delay("
    for letter in "clo":
        qtbot.keyClick(editor, letter)
    qtbot.waitUntil(popup.isVisible)
    qtbot.keyClick(popup, Qt.Key.Key_Return)
    assert editor.toPlainText() == "delay(close"
    assert editor.completer.completionCount() > 0


@pytest.mark.spec("X1")
def test_escape_does_not_lose_what_was_entered_at_once(qtbot: QtBot, bridge: Bridge, sign_in: Any) -> None:
    form = FormDialog(kind("factor"), sign_in(), bridge)
    qtbot.addWidget(form)
    form.show()
    qtbot.keyClick(form, Qt.Key.Key_Escape)
    assert not form.isVisible()
    form.show()
    form.fields["name"].put("mom")
    qtbot.keyClick(form, Qt.Key.Key_Escape)
    assert form.isVisible()
    assert "discards" in form.problem.text()
    qtbot.keyClick(form, Qt.Key.Key_Escape)
    assert not form.isVisible()


@pytest.mark.spec("X1")
@pytest.mark.usefixtures("prices")
def test_ctrl_enter_starts_from_any_field(qtbot: QtBot, bridge: Bridge, sign_in: Any) -> None:
    form = FormDialog(kind("factor"), sign_in(), bridge)
    qtbot.addWidget(form)
    form.show()
    form.activateWindow()
    qtbot.waitUntil(form.isActiveWindow)
    fill(form, {"name": "mom", "table": "prices", "formula": "close"})
    form.fields["formula"].control.setFocus()
    with qtbot.waitSignal(form.submitted, timeout=20_000):
        qtbot.keyClick(form.fields["formula"].control, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)


@pytest.mark.spec("X1")
def test_what_is_offered_late_changes_nothing_that_was_entered_or_complained_of(qtbot: QtBot) -> None:
    model = kind("factor").params
    assert model is not None
    field = FormField("table", model.model_fields["table"])
    qtbot.addWidget(field)
    field.put("pri")
    field.complain("There is no table 'pri'.")
    with qtbot.assertNotEmitted(field.edited):
        field.suggest(["prices", "stocks"])
    assert field.value() == "pri"
    assert field.error.text() == "There is no table 'pri'."
    assert isinstance(field.control, QComboBox)
    assert field.control.count() == 2


@pytest.mark.spec("X1")
def test_a_form_says_when_there_is_nothing_to_read_yet(qtbot: QtBot, bridge: Bridge, sign_in: Any) -> None:
    form = FormDialog(kind("factor"), sign_in(), bridge)
    qtbot.addWidget(form)
    form.show()
    qtbot.waitUntil(lambda: form.fields["table"].help.text().startswith("There is no table yet"), timeout=20_000)
