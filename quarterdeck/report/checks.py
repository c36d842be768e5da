"""A report's document from text and back, and what can be wrong with it: one sentence that names the place (G4)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from quarterdeck.errors import Invalid
from quarterdeck.report.formula import RowFormula
from quarterdeck.report.hints import hint
from quarterdeck.report.template import (
    PANELS,
    VERSION,
    CandlestickPanel,
    Choice,
    Place,
    Source,
    TablePanel,
    Template,
)

__all__ = ["MAX_BYTES", "PARAMETER", "check", "columns_of", "derived", "dump", "load", "parse"]

MAX_BYTES = 512_000
"""The size of a document, at most, as UTF-8."""
PARAMETER = re.compile(r"\$\{params\.([A-Za-z_][A-Za-z0-9_]*)\}")


def load(text: str | bytes) -> Template:
    """A document from JSON text, checked. Raises `Invalid`."""
    return parse(_json(text))


def parse(document: Mapping[str, Any] | Template) -> Template:
    """A document from JSON's values, checked. Raises `Invalid`."""
    if isinstance(document, Template):
        return check(document)
    if not isinstance(document, Mapping):
        raise Invalid(f"a template is a JSON object, not {_kind(document)}")
    version = document.get("version", VERSION)
    if isinstance(version, int) and not isinstance(version, bool) and version > VERSION:
        raise Invalid(
            f"the template is of version {str(version)[:9]}, and this version of Quarterdeck reads up to {VERSION}: "
            "update Quarterdeck",
            field="version",
        )
    try:
        template = Template.model_validate(dict(document))
    except ValidationError as error:
        raise _sentence(error, document) from None
    except RecursionError:
        raise Invalid("the template is nested too deep") from None
    return check(template)


def dump(template: Template) -> str:
    """The document as JSON text, without what has its usual value. `load` gives it back."""
    return json.dumps({"version": VERSION} | template.model_dump(mode="json", exclude_defaults=True), indent=2)


def check(template: Template) -> Template:
    """The same template, when all of it fits together.

    Raises:
        Invalid: an unknown source, choice or column; a formula that can't be read; sources, derived columns or links
            in a circle; panels of one name or in one place; a document that is too large.
    """
    text = dump(template)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise Invalid(f"the template has more than {MAX_BYTES:,} bytes: make two of it")
    if "\\u0000" in text and _has_nul(template.model_dump(mode="json")):
        raise Invalid("the template can't be stored: a text holds a NUL character")
    if template.version != VERSION:
        raise Invalid(f"the template is of version {template.version}, which there never was", field="version")
    names = _unique([one.name for one in template.choices], "choice")
    _unique([one.id for one in template.panels], "panel")
    for name, source in template.sources.items():
        _check_source(template, name, source, names)
    known: dict[str, frozenset[str] | None] = {}
    for name in template.sources:
        columns_of(template, name, known)
    for choice in template.choices:
        _check_choice(template, choice, known)
    for panel in template.panels:
        _check_panel(template, panel, known)
    _check_places(template)
    _check_links(template)
    return template


def columns_of(
    template: Template, name: str, known: dict[str, frozenset[str] | None] | None = None
) -> frozenset[str] | None:
    """The columns that a source has, as far as the document alone says; None if only the table itself can.

    Raises:
        Invalid: sources, or derived columns of one, that need each other; a column that there is not.
    """
    known = {} if known is None else known
    path: list[str] = []
    at: str | None = name
    while at is not None and at not in known:
        if at in path:
            raise Invalid(f"sources go in a circle: {' -> '.join([*path[path.index(at) :], at])}", field="sources")
        path.append(at)
        at = template.sources[at].source
    for one in reversed(path):
        source = template.sources[one]
        known[one] = _columns_after(one, source, None if source.source is None else known[source.source])
    return known[name]


def _columns_after(name: str, source: Source, before: frozenset[str] | None) -> frozenset[str] | None:
    place = f"source '{name}'"
    here = before
    if source.columns is not None:
        _require(source.columns, before, f"{place}: columns")
        here = frozenset(source.columns)
    if source.where:
        _require(_formula(source.where, f"{place}: where").columns, here, f"{place}: where")
    _derive_order(name, source)
    if here is not None:
        here = here | frozenset(source.derive)
    for column, text in source.derive.items():
        _require(RowFormula(text).columns, here, f"{place}: derive '{column}'")
    _require([*source.group, *source.aggregate], here, f"{place}: group and aggregate")
    if source.group or source.aggregate:
        here = frozenset([*source.group, *source.aggregate])
    _require([column.removeprefix("-") for column in source.sort], here, f"{place}: sort")
    return here


def _derive_order(name: str, source: Source) -> list[str]:
    place = f"source '{name}'"
    needs = {
        column: _formula(text, f"{place}: derive '{column}'").columns & frozenset(source.derive)
        for column, text in source.derive.items()
    }
    order: list[str] = []
    while len(order) < len(needs):
        free = [column for column, others in needs.items() if column not in order and others <= frozenset(order)]
        if not free:
            stuck = sorted(column for column in needs if column not in order)
            what = f"'{stuck[0]}' needs itself" if len(stuck) == 1 else f"{_listed(stuck)} need each other"
            raise Invalid(f"{place}: derived columns go in a circle: {what}; give one another name", field="sources")
        order.extend(free)
    return order


def derived(name: str, source: Source) -> list[tuple[str, RowFormula]]:
    """A source's derived columns, each after those that it needs."""
    return [(column, RowFormula(source.derive[column])) for column in _derive_order(name, source)]


def _formula(text: str, place: str) -> RowFormula:
    try:
        return RowFormula(text)
    except Invalid as error:
        raise Invalid(f"{place}: {error}", field="sources") from None


def _require(columns: Iterable[str], known: frozenset[str] | None, place: str) -> None:
    if known is None:
        return
    for column in columns:
        if column not in known and column != "task":
            raise Invalid(f"{place}: there is no column '{column}'{hint(column, known)}", field="sources")


def _check_source(template: Template, name: str, source: Source, choices: frozenset[str]) -> None:
    place = f"source '{name}'"
    given = [key for key in ("table", "dataset", "source") if getattr(source, key) is not None]
    if len(given) != 1:
        what = "none of" if not given else f"{' and '.join(given)} of"
        raise Invalid(f"{place} has {what} table, dataset and source: give exactly one", field="sources")
    if source.source is not None and source.source not in template.sources:
        raise Invalid(f"{place}: unknown source '{source.source}'{hint(source.source, template.sources)}")
    if source.table is None and (source.job is not None or source.task is not None):
        raise Invalid(f"{place}: job and task go with table only", field="sources")
    if source.dataset is not None and "${" in source.dataset and not PARAMETER.fullmatch(source.dataset):
        raise Invalid(f"{place}: a dataset is a name, or ${{params.NAME}} alone, not '{source.dataset}'")
    for key in ("columns", "group", "sort", "choices"):
        _unique(getattr(source, key) or [], f"entry of {key}", f"{place}: ")
    if double := sorted(set(source.group) & set(source.aggregate)):
        raise Invalid(f"{place}: the column '{double[0]}' can't be both grouped by and aggregated", field="sources")
    if source.where:
        kind = _formula(source.where, f"{place}: where").kind
        if kind not in ("truth", "any"):
            raise Invalid(f"{place}: where is a condition, such as value > 0", field="sources")
    for choice in source.choices:
        if choice not in choices:
            raise Invalid(f"{place}: unknown choice '{choice}'{hint(choice, choices)}", field="sources")


def _check_choice(template: Template, choice: Choice, known: Mapping[str, frozenset[str] | None]) -> None:
    place = f"choice '{choice.name}'"
    if choice.source not in template.sources:
        raise Invalid(
            f"{place}: unknown source '{choice.source}'{hint(choice.source, template.sources)}", field="choices"
        )
    _require([choice.column], known[choice.source], place)
    at: str | None = choice.source
    while at is not None:
        source = template.sources[at]
        if source.choices:
            raise Invalid(
                f"{place}: its source '{choice.source}' has choices itself; take one that has none", field="choices"
            )
        at = source.source
    if choice.count > 1 and not choice.multiple:
        raise Invalid(f"{place}: count is more than 1, but not multiple", field="choices")


def _check_panel(template: Template, panel: Any, known: Mapping[str, frozenset[str] | None]) -> None:
    place = f"panel '{panel.id}'"
    wanted = [panel.source]
    if isinstance(panel, CandlestickPanel) and panel.options.signals is not None:
        wanted.append(panel.options.signals)
    for source in wanted:
        if source not in template.sources:
            raise Invalid(f"{place}: unknown source '{source}'{hint(source, template.sources)}", field="panels")
    _require(template.columns_of(panel), known[panel.source], place)
    if isinstance(panel, TablePanel):
        _require(panel.options.formats, known[panel.source], f"{place}: formats")
    if isinstance(panel, CandlestickPanel) and panel.options.signals is not None:
        _require(("time", "kind", "price"), known[panel.options.signals], f"{place}: signals")
    if panel.place.column + panel.place.width > 12:
        raise Invalid(
            f"{place} is {panel.place.width} wide from column {panel.place.column} on, and a page has 12 columns",
            field="panels",
        )


def _check_places(template: Template) -> None:
    for section, panels in template.sections().items():
        for number, one in enumerate(panels):
            for other in panels[:number]:
                if _overlap(one.place, other.place):
                    where = f" in section '{section}'" if section else ""
                    raise Invalid(f"panels '{other.id}' and '{one.id}' lie on one another{where}", field="panels")


def _overlap(one: Place, other: Place) -> bool:
    return (
        one.row < other.row + other.height
        and other.row < one.row + one.height
        and one.column < other.column + other.width
        and other.column < one.column + one.width
    )


def _check_links(template: Template) -> None:
    """Selections must flow one way: what a panel sets may not lead back to what it follows."""
    leads: dict[str, set[str]] = {}
    for panel in template.panels:
        if double := sorted(set(panel.links.sets) & set(panel.links.follows)):
            raise Invalid(f"panel '{panel.id}' follows the {double[0]} that it sets itself", field="panels")
        for link in panel.links.follows:
            leads.setdefault(link, set()).update(panel.links.sets)
    for start in sorted(leads):
        reached, ahead = set[str](), set(leads[start])
        while ahead:
            one = ahead.pop()
            if one == start:
                raise Invalid(
                    f"links go in a circle: panels that follow the {start} set what leads back to it", field="panels"
                )
            if one not in reached:
                reached.add(one)
                ahead |= leads.get(one, set())


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_nul(item) for item in value)


def _unique(values: Sequence[str], what: str, place: str = "") -> frozenset[str]:
    for value in values:
        if values.count(value) > 1:
            raise Invalid(f"{place}there are two {_plural(what)} '{value}'")
    return frozenset(values)


def _plural(what: str) -> str:
    return what.replace("entry", "entries") if what.startswith("entry") else f"{what}s"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"'{name}'" for name in names)


# --- JSON and the model's own errors ---------------------------------------------------------------------------------


def _json(text: str | bytes) -> Any:
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise Invalid("the template is no text in UTF-8") from None
    if len(text) > MAX_BYTES:
        raise Invalid(f"the template has more than {MAX_BYTES:,} bytes: make two of it")
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
    except json.JSONDecodeError as error:
        raise Invalid(f"the template is no JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise Invalid("the template is nested too deep") from None
    except ValueError:
        raise Invalid("the template holds a number of too many digits") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise Invalid(f"the template names '{double}' twice in one place")
    return found


def _constant(text: str) -> NoReturn:
    raise Invalid(f"the template holds {text}, which is no number of JSON's")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return kinds.get(type(value), "an object" if isinstance(value, Mapping) else type(value).__name__)


def _sentence(error: ValidationError, document: Mapping[str, Any]) -> Invalid:
    first = error.errors(include_url=False)[0]
    loc = list(first["loc"])
    top = str(loc[0]) if loc else None
    place, rest, model = _place(loc, document)
    name = ".".join(f"[{item}]" if isinstance(item, int) else str(item) for item in rest).replace(".[", "[")
    match first["type"]:
        case "extra_forbidden":
            last = str(loc[-1])
            text = f"unknown entry '{last}'{hint(last, _entries(rest[:-1], model))}"
            if len(rest) > 1:
                text = f"{name.rpartition('.')[0]}: {text}"
        case "missing":
            text = f"{name} is missing"
        case "union_tag_not_found":
            text = f"type is missing: it is one of {', '.join(PANELS)}"
        case "union_tag_invalid":
            tag = str(first.get("ctx", {}).get("tag", ""))[:60]
            text = f"unknown panel type '{tag}'{hint(tag, PANELS)}"
        case "string_pattern_mismatch":
            rule = _NAMES["" if place or name != "name" else name]
            text = f"{name}: '{str(first['input'])[:60]}' can't be used: {rule}"
        case "string_unicode":
            text = f"{name}: it should be a text, and holds half a character"
        case "model_type" | "model_attributes_type" | "dict_type" | "dataclass_type":
            text = f"{name}: it should be an object{_given(first['input'])}".removeprefix(": ")
        case _:
            message = str(first["msg"]).replace("Input should", "it should", 1)
            text = f"{name}: {message[:1].lower()}{message[1:]}{_given(first['input'])}"
    said = f"{place}: {text}" if place else text
    # names are those of a stranger's document: no half characters, no line breaks
    return Invalid(" ".join(said.encode("utf-8", "replace").decode().split()), field=top)


_NAMES = {
    "name": "a template's name has up to 63 letters, digits, spaces and ( ) _ + -, and begins with a letter or digit",
    "": "a name has up to 40 letters, digits and _, and begins with a letter",
}


def _place(loc: list[Any], document: Mapping[str, Any]) -> tuple[str, list[Any], type[BaseModel]]:
    """Where in the document that is in words, what of the path remains, and the model that the rest is in."""
    match loc:
        case ["sources", str() as name, "[key]", *_]:
            return f"source '{name[:60]}'", ["name"], Source
        case ["sources", str() as name, *_]:
            return f"source '{name[:60]}'", loc[2:], Source
        case ["choices", int() as number, *_]:
            return _named(document, "choices", number, "name", "choice"), loc[2:], Choice
        case ["panels", int() as number, str() as kind, *rest] if kind in PANELS:
            return _named(document, "panels", number, "id", "panel"), list(rest), PANELS[kind]
        case ["panels", int() as number, *rest]:
            return _named(document, "panels", number, "id", "panel"), list(rest), Template
    return "", loc, Template


def _named(document: Mapping[str, Any], key: str, number: int, name: str, what: str) -> str:
    one = document[key][number]
    called = one.get(name) if isinstance(one, Mapping) else None
    return f"{what} '{called[:60]}'" if isinstance(called, str) and called else f"{what} {number + 1}"


def _entries(path: Sequence[Any], model: type[BaseModel]) -> list[str]:
    for item in path:
        field = model.model_fields.get(str(item))
        inner = None if field is None else field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def _given(value: Any) -> str:
    if isinstance(value, str | int | float | bool) or value is None:
        shown = json.dumps(value, ensure_ascii=False)
        return f", not {shown if len(shown) <= 60 else shown[:57] + '...'}"
    return f", not {_kind(value)}"
