"""A report's document: to text and back, what is wrong with it in a sentence, and those that come with Quarterdeck."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quarterdeck.errors import Invalid
from quarterdeck.report import Template, builtins, check, dump, load, parse
from quarterdeck.report.checks import MAX_BYTES
from quarterdeck.report.template import PANELS

pytestmark = pytest.mark.spec("V3", "G4")

Document = dict[str, Any]


def document() -> Document:
    """One of everything that a check looks at."""
    return {
        "version": 1,
        "name": "Mine (2)",
        "title": "My report",
        "kinds": ["backtest"],
        "sources": {
            "returns": {"table": "returns", "derive": {"drawdown": "net_value / cummax(net_value) - 1"}},
            "prices": {"dataset": "${params.table}", "choices": ["symbol"]},
            "signals": {"table": "signals", "choices": ["symbol"]},
            "orders": {"table": "orders"},
            "monthly": {
                "source": "returns",
                "derive": {"year": "year(time)", "month": "month(time)"},
                "group": ["year", "month"],
                "aggregate": {"daily_return": "sum"},
                "sort": ["year", "-month"],
            },
        },
        "choices": [{"name": "symbol", "title": "Stock code", "source": "orders", "column": "symbol"}],
        "panels": [
            {
                "id": "equity",
                "type": "line",
                "source": "returns",
                "fields": {"x": "time", "y": ["net_value", "drawdown"]},
                "place": {"section": "Returns", "row": 0},
                "links": {"sets": ["time"]},
            },
            {
                "id": "months",
                "type": "heatmap",
                "source": "monthly",
                "fields": {"x": "month", "y": "year", "value": "daily_return"},
                "place": {"section": "Returns", "row": 4},
            },
            {
                "id": "orders",
                "type": "table",
                "source": "orders",
                "place": {"section": "Orders", "row": 0},
                "links": {"sets": ["row"], "follows": ["time"]},
            },
            {
                "id": "trades",
                "type": "candlestick",
                "source": "prices",
                "options": {"signals": "signals"},
                "place": {"section": "Trades", "row": 0},
                "links": {"follows": ["row"]},
            },
        ],
    }


def test_the_document_is_good_and_comes_back() -> None:
    template = parse(document())
    assert load(dump(template)) == template == check(template)
    assert [*template.sections()] == ["Returns", "Orders", "Trades"]
    assert [panel.id for panel in template.sections()["Returns"]] == ["equity", "months"]
    assert load("﻿".encode() + dump(template).encode()) == template


def test_those_that_come_with_quarterdeck_are_good() -> None:
    assert {"factor", "evaluation"} <= set(builtins())
    for name, template in builtins().items():
        assert template.name == name
        assert load(dump(template)) == template
        assert template.description
        for panel in template.panels:
            assert panel.title, (name, panel.id)
            if panel.type != "table":
                assert panel.help, (name, panel.id)  # the definition that the tool tip gives (Q1)


def _at(path: str, value: Any) -> Callable[[Document], None]:
    """Sets what is at a path such as panels.0.fields.x; `...` as a value takes it away."""

    def change(given: Document) -> None:
        *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
        holder: Any = given
        for step in steps:
            holder = holder[step]
        if value is ...:
            del holder[last]
        elif isinstance(holder, list) and last == len(holder):
            holder.append(value)
        else:
            holder[last] = value

    return change


WRONG: list[tuple[str, Any, str]] = [
    # the form
    ("version", 2, "the template is of version 2, and this version of Quarterdeck reads up to 1: update Quarterdeck"),
    ("version", 0, "version: it should be greater than or equal to 1, not 0"),
    ("version", "1", 'version: it should be a valid integer, not "1"'),
    ("name", "../etc", "name: '../etc' can't be used: a template's name has up to 63 letters"),
    ("name", "x" * 64, "a template's name has up to 63 letters"),
    ("name", " x", "a template's name has up to 63 letters"),
    ("name", "", "a template's name has up to 63 letters"),
    ("title", "", 'title: string should have at least 1 character, not ""'),
    ("title", ..., "title is missing"),
    ("titel", "x", "unknown entry 'titel'; did you mean 'title'?"),
    ("sources", {}, "sources: dictionary should have at least 1 item"),
    ("sources", [], "sources: it should be an object, not a list"),
    ("sources", None, "sources: it should be an object, not null"),
    ("panels", [], "panels: list should have at least 1 item"),
    ("panels", {}, "panels: it should be a valid list, not an object"),
    ("kinds", ["no kind"], "kinds[0]: 'no kind' can't be used"),
    # sources
    ("sources/1 x", {"table": "x"}, "source '1 x': name: '1 x' can't be used: a name has up to 40 letters"),
    ("sources/orders", {}, "source 'orders' has none of table, dataset and source: give exactly one"),
    ("sources/orders", {"table": "a", "dataset": "b"}, "source 'orders' has table and dataset of table, dataset"),
    ("sources/orders", "orders", "source 'orders': it should be an object, not \"orders\""),
    ("sources/orders/tabel", "x", "source 'orders': unknown entry 'tabel'; did you mean 'table'?"),
    ("sources/orders/table", 3, "source 'orders': table: it should be a valid string, not 3"),
    ("sources/orders/limit", 0, "source 'orders': limit: it should be greater than or equal to 1, not 0"),
    ("sources/orders/aggregate", {"x": "average"}, "source 'orders': aggregate.x: it should be 'mean', 'sum'"),
    ("sources/orders/where", "size >", "source 'orders': where: something is missing after '>'"),
    ("sources/orders/where", "size + 1", "source 'orders': where is a condition, such as value > 0"),
    ("sources/orders/where", "open('x') == 1", "source 'orders': where: unknown function 'open'"),
    ("sources/orders/derive", {"x": "__class__"}, "source 'orders': derive 'x': the name '__class__' is not allowed"),
    ("sources/orders/derive", {"x": "x" * 2001}, "source 'orders': derive.x: string should have at most 2000"),
    (
        "sources/orders/derive",
        {"a": "b", "b": "c", "c": "a"},
        "source 'orders': derived columns go in a circle: 'a' and",
    ),
    ("sources/orders/derive", {"a": "a + 1"}, "source 'orders': derived columns go in a circle: 'a' needs itself"),
    ("sources/orders/choices", ["symbl"], "source 'orders': unknown choice 'symbl'; did you mean 'symbol'?"),
    ("sources/orders/columns", ["a", "a"], "source 'orders': there are two entries of columns 'a'"),
    ("sources/orders/sort", ["a", "a"], "source 'orders': there are two entries of sort 'a'"),
    ("sources/orders/task", -1, "source 'orders': task: it should be greater than or equal to 0, not -1"),
    ("sources/prices/task", 1, "source 'prices': job and task go with table only"),
    ("sources/prices/dataset", "x${params.a}", "source 'prices': a dataset is a name, or ${params.NAME} alone"),
    ("sources/monthly/source", "retruns", "source 'monthly': unknown source 'retruns'; did you mean 'returns'?"),
    ("sources/monthly/source", "monthly", "sources go in a circle: monthly -> monthly"),
    ("sources/returns", {"source": "monthly"}, "sources go in a circle: returns -> monthly -> returns"),
    ("sources/monthly/aggregate", {"year": "sum"}, "source 'monthly': the column 'year' can't be both grouped by"),
    ("sources/monthly/sort", ["yaer"], "source 'monthly': sort: there is no column 'yaer'; did you mean 'year'?"),
    (
        "sources/orders",
        {"table": "o", "columns": ["a"], "where": "b > 1"},
        "source 'orders': where: there is no column",
    ),
    (
        "sources/orders",
        {"table": "o", "columns": ["a"], "derive": {"c": "b"}},
        "source 'orders': derive 'c': there is no",
    ),
    # choices
    ("choices/0/source", "order", "choice 'symbol': unknown source 'order'; did you mean 'orders'?"),
    ("choices/0/source", "prices", "choice 'symbol': its source 'prices' has choices itself"),
    ("choices/0/source", "monthly", "choice 'symbol': there is no column 'symbol'"),
    ("choices/0/count", 3, "choice 'symbol': count is more than 1, but not multiple"),
    ("choices/0/initial", "some", "choice 'symbol': initial: it should be 'none', 'first' or 'last', not \"some\""),
    ("choices/1", {"name": "symbol", "source": "orders", "column": "x"}, "there are two choices 'symbol'"),
    # panels
    ("panels/0/id", "months", "there are two panels 'months'"),
    ("panels/0/id", "a b", "panel 'a b': id: 'a b' can't be used"),
    ("panels/0/id", ..., "panel 1: id is missing"),
    ("panels/0/type", "lines", "panel 'equity': unknown panel type 'lines'; did you mean 'line'?"),
    ("panels/0/type", ..., "panel 'equity': type is missing: it is one of line, area, bar"),
    ("panels/0", "line", 'panel 1: it should be an object, not "line"'),
    ("panels/0/source", "return", "panel 'equity': unknown source 'return'; did you mean 'returns'?"),
    ("panels/0/fields/x", ..., "panel 'equity': fields.x is missing"),
    ("panels/0/fields/y", [], "panel 'equity': fields.y: list should have at least 1 item"),
    ("panels/0/fields/y", "net_value", "panel 'equity': fields.y: it should be a valid list, not \"net_value\""),
    ("panels/0/fields/z", "a", "panel 'equity': fields: unknown entry 'z'"),
    ("panels/0/fields/value", "a", "panel 'equity': fields: unknown entry 'value'"),
    ("panels/0/options", {"logg": True}, "panel 'equity': options: unknown entry 'logg'; did you mean 'log'?"),
    ("panels/0/options", {"log": 1}, "panel 'equity': options.log: it should be a valid boolean, not 1"),
    ("panels/0/options", {"stacked": True}, "panel 'equity': options: unknown entry 'stacked'"),
    ("panels/1/fields/value", "weekly", "panel 'months': there is no column 'weekly'; there are daily_return, month"),
    ("panels/2/options", {"formats": {"a": "euro"}}, "panel 'orders': options.formats.a: it should be 'number'"),
    ("panels/3/options/signals", "signal", "panel 'trades': unknown source 'signal'; did you mean 'signals'?"),
    ("panels/3/options/signals", "monthly", "panel 'trades': signals: there is no column 'time'"),
    # places and links
    ("panels/1/place/row", 3, "panels 'equity' and 'months' lie on one another in section 'Returns'"),
    ("panels/1/place/row", -1, "panel 'months': place.row: it should be greater than or equal to 0, not -1"),
    ("panels/1/place", {"row": 4, "column": 6, "width": 7}, "panel 'months' is 7 wide from column 6 on"),
    ("panels/1/place", {"row": 4, "width": 0}, "panel 'months': place.width: it should be greater than or equal to 1"),
    ("panels/0/links", {"sets": ["date"]}, "panel 'equity': links.sets[0]: it should be 'time', 'symbol' or 'row'"),
    ("panels/0/links", {"sets": ["time"], "follows": ["time"]}, "panel 'equity' follows the time that it sets itself"),
    ("panels/3/links", {"sets": ["time"], "follows": ["row"]}, "links go in a circle: panels that follow the row set"),
    ("title", "a\0b", "the template can't be stored: a text holds a NUL character"),
    ("title", "\ud800", "title: it should be a text, and holds half a character"),
]


@pytest.mark.parametrize(("path", "value", "said"), WRONG, ids=[f"{path}-{n}" for n, (path, _, _) in enumerate(WRONG)])
def test_what_is_wrong_is_said_in_one_sentence_that_names_the_place(path: str, value: Any, said: str) -> None:
    given = document()
    _at(path, value)(given)
    with pytest.raises(Invalid) as caught:
        parse(given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the template is no JSON: Expecting value at line 1, column 1"),
        ("{", "the template is no JSON"),
        ("[]", "a template is a JSON object, not a list"),
        ("null", "a template is a JSON object, not null"),
        ("3", "a template is a JSON object, not a number"),
        ('"x"', "a template is a JSON object, not a text"),
        ("{}", "name is missing"),
        ('{"name": "a", "name": "b"}', "the template names 'name' twice in one place"),
        ('{"version": NaN}', "the template holds NaN, which is no number of JSON's"),
        ('{"version": -Infinity}', "the template holds -Infinity"),
        ('{"version": ' + "9" * 5000 + "}", "the template holds a number of too many digits"),
        ('{"version": ' + "9" * 50 + "}", "and this version of Quarterdeck reads up to 1"),
        ("[" * 100_000, "the template is nested too deep"),
        ('{"a":' * 50_000 + "1" + "}" * 50_000, "the template is nested too deep"),
        ('{"name": "' + "x" * MAX_BYTES + '"}', "the template has more than 512,000 bytes"),
    ],
    ids=lambda one: one[:20],
)
def test_text_that_is_no_document(text: str, said: str) -> None:
    with pytest.raises(Invalid) as caught:
        load(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 400


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(Invalid, match="the template is no text in UTF-8"):
        load(b"\xff\xfe{}")


def test_a_document_made_in_code_is_bounded_too() -> None:
    panel = document()["panels"][0]
    huge = [{**panel, "id": f"p{n}", "help": "x" * 1_000, "place": {"row": n * 4}} for n in range(100)]
    good = parse({**document(), "panels": huge})
    sources = {f"s{n}": {"table": "t", "derive": {f"c{m}": "1" + " + 1" * 300 for m in range(50)}} for n in range(10)}
    with pytest.raises(Invalid, match="the template has more than 512,000 bytes"):
        check(
            good.model_copy(
                update={
                    "sources": {
                        **good.sources,
                        **parse({**document(), "sources": {**document()["sources"], **sources}}).sources,
                    }
                }
            )
        )


# --- properties ------------------------------------------------------------------------------------------------------

_NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,12}", fullmatch=True)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
_COLUMNS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=15)


def _value(schema: dict[str, Any], definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Anything that the JSON schema of a part allows."""
    if "$ref" in schema:
        return _value(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([_value(one, definitions) for one in schema["anyOf"]])
    match schema.get("type"):
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            low = schema.get("minimum", 0)
            return st.integers(low, min(schema.get("maximum", 1000), low + 50))
        case "number":
            return st.floats(allow_nan=False, allow_infinity=False)
        case "string":
            if "pattern" in schema:
                return _NAMES
            return _COLUMNS if schema.get("minLength") else _TEXTS
        case "array":
            inner = _value(schema["items"], definitions)
            return st.lists(inner, min_size=schema.get("minItems", 0), max_size=3)
        case "object" if "properties" in schema:
            required = schema.get("required", [])
            parts = {name: _value(one, definitions) for name, one in schema["properties"].items()}
            return st.fixed_dictionaries(
                {name: parts[name] for name in parts if name in required},
                optional={name: parts[name] for name in parts if name not in required},
            )
    return st.dictionaries(_COLUMNS, _value(schema["additionalProperties"], definitions), max_size=2)


def _panels() -> st.SearchStrategy[Document]:
    made = []
    for model in PANELS.values():
        schema = model.model_json_schema()
        made.append(_value({**schema, "type": "object"}, schema.get("$defs", {})))
    return st.one_of(made)


@settings(max_examples=200, deadline=None)
@given(_panels(), _TEXTS, st.dictionaries(_COLUMNS, st.sampled_from(["1", "x + 1", "cumsum(`a b`, y)"]), max_size=3))
def test_every_good_document_comes_back_as_it_was(panel: Document, text: str, derive: dict[str, str]) -> None:
    given: Document = {
        "name": "x",
        "title": "x" + text,
        "description": text,
        "sources": {"s": {"table": "t", "derive": {f"{name} 1": one for name, one in derive.items()}}},
        "panels": [{**panel, "source": "s", "links": {}, "place": {"row": 0}}],
    }
    if panel["type"] == "candlestick":
        given["panels"][0]["options"] = {**panel.get("options", {}), "signals": None}
    template = parse(given)
    text_form = dump(template)
    assert load(text_form) == template
    assert dump(load(text_form)) == text_form
    assert Template.model_validate(json.loads(text_form)) == template


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_document_with_anything_in_any_place_is_good_or_a_sentence(data: st.DataObject) -> None:
    given = copy.deepcopy(document())
    places: list[tuple[Any, Any]] = []

    def walk(holder: Any) -> None:
        for key in holder if isinstance(holder, dict) else range(len(holder)):
            places.append((holder, key))
            if isinstance(holder[key], dict | list):
                walk(holder[key])

    walk(given)
    anything = st.one_of(
        st.none(), st.booleans(), st.integers(-2, 2000), st.floats(), st.text(max_size=8),
        st.lists(st.text(max_size=3), max_size=2), st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
        st.sampled_from(["time", "orders", "returns", "symbol", "line", "1 +", "x > 1"]),
    )  # fmt: skip
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(anything)
    try:
        template = parse(given)
    except Invalid as error:
        said = str(error)
    else:
        assert load(dump(template)) == template
        return
    assert said
    assert len(said) < 500
