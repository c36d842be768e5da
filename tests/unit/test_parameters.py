"""Parameters of kinds: every mistake is one sentence that names the parameter."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from quarterdeck import parameters
from quarterdeck.errors import Invalid
from quarterdeck.kinds import Kind


class Leg(BaseModel):
    model_config = ConfigDict(extra="forbid")

    symbol: str
    size: int = 1


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    table: str
    day: dt.date | dt.datetime | None = None
    mode: Literal["create", "append"] = "create"
    legs: list[Leg] | None = None
    weights: dict[str, float] = {}
    free: Any = None
    save: bool = Field(False, alias="register")
    cash: float | int | str = 0

    @field_validator("table")
    @classmethod
    def _table(cls, value: str) -> str:
        if " " in value:
            raise ValueError("a table's name has no spaces")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Order:
        if self.table == "impossible":
            raise ValueError("these parameters don't go together")
        return self


KIND = Kind(key="order", title="Order", columns=(), params=Order)


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("given", "sentence", "field"),
    [
        ({"tabel": "x", "table": "y"}, "unknown parameter 'tabel'; did you mean 'table'?", "tabel"),
        ({"table": "y", "save": True}, "unknown parameter 'save'; there are ", "save"),
        ({}, "parameter 'table' is missing", "table"),
        ({"table": "a b"}, "parameter 'table': a table's name has no spaces", "table"),
        ({"table": 7}, "parameter 'table': it should be a valid string", "table"),
        ({"table": "impossible"}, "these parameters don't go together", None),
        ({"table": "y", "mode": "crate"}, "parameter 'mode': it should be 'create' or 'append', not \"crate\"", "mode"),
        ({"table": "y", "day": "2026-13-01"}, "parameter 'day': ", "day"),
        ({"table": "y", "legs": [{"symbol": "a"}, {"size": 2}]}, "parameter 'legs[1].symbol' is missing", "legs"),
        (
            {"table": "y", "legs": [{"symbol": "a", "sise": 2}]},
            "unknown parameter 'sise' in legs[0]; did you mean 'size'?",
            "legs",
        ),
        ({"table": "y", "legs": {}}, "parameter 'legs': it should be a valid list, not a group of values", "legs"),
        ({"table": "y", "weights": {"A": "much"}}, "parameter 'weights.A': it should be a valid number", "weights"),
    ],
)
def test_mistakes_are_sentences(given: dict[str, Any], sentence: str, field: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        parameters.validated(KIND, given)
    text = str(caught.value)
    assert text.startswith(sentence), text
    assert caught.value.field == field
    assert "\n" not in text
    assert "Value error" not in text
    assert "pydantic" not in text


def test_what_is_no_object_is_said() -> None:
    with pytest.raises(Invalid, match="are an object of names and values, not list"):
        parameters.validated(KIND, [])  # type: ignore[arg-type]


def test_a_kind_without_parameters_can_not_be_started() -> None:
    with pytest.raises(Invalid, match="can't be started"):
        parameters.startable(Kind(key="later", title="Later", columns=()))


@pytest.mark.spec("C2")
@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("table", "prices", "prices"),
        ("table", "123", "123"),
        ("table", "true", "true"),
        ("table", '"quoted"', "quoted"),
        ("day", "2026-01-05", "2026-01-05"),
        ("day", "null", None),
        ("legs", '[{"symbol": "a"}]', [{"symbol": "a"}]),
        ("legs", "a,b", "a,b"),
        ("weights", '{"A": 1}', {"A": 1}),
        ("register", "true", True),
        ("free", "[1", "[1"),
        ("free", "1", 1),
        ("cash", "1e6", 1e6),
        ("cash", "all", "all"),
    ],
)
def test_values_given_as_text(name: str, text: str, value: Any) -> None:
    assert parameters.parsed(KIND, name, text) == value


def test_an_unknown_name_is_said() -> None:
    with pytest.raises(Invalid, match=r"unknown parameter 'tabel'; did you mean 'table'\?"):
        parameters.parsed(KIND, "tabel", "x")


@pytest.mark.parametrize("value", [math.nan, math.inf, {"a": object()}, "nul\0", {"nul\0": 1}, ["a", ["\0"]]])
def test_what_is_not_json_can_not_be_stored(value: Any) -> None:
    with pytest.raises(Invalid, match="can't be stored"):
        parameters.as_json({"value": value}, "the parameters")


def test_a_text_that_only_looks_like_nul_can() -> None:
    assert parameters.as_json({"value": "\\u0000"}, "the parameters") == {"value": "\\u0000"}
    assert parameters.as_json(Order(table="x", register=True), "the parameters")["register"] is True
