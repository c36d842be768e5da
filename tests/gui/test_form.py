"""Forms made from parameters."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit
from pytestqt.qtbot import QtBot

from desktop.bridge import Bridge
from desktop.views.editors import CodeEdit, PairsEdit
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
