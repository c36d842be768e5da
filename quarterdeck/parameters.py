"""A kind's parameters, checked: every mistake becomes one sentence that names the parameter (G4)."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from quarterdeck.errors import Invalid
from quarterdeck.kinds.kind import Kind, Misfit
from quarterdeck.query import close_match

__all__ = ["as_json", "parsed", "startable", "validated"]


def startable(kind: Kind) -> type[BaseModel]:
    """The model of the kind's parameters.

    Raises:
        Invalid: jobs of this kind can be listed, but not started.
    """
    if kind.params is None:
        raise Invalid(f"jobs of kind '{kind.key}' can't be started by this version", field="kind")
    return kind.params


def validated(kind: Kind, params: Mapping[str, Any]) -> BaseModel:
    """The parameters as the kind's model.

    Raises:
        Invalid: a parameter is unknown, missing or can't be used; `field` names it.
    """
    model = startable(kind)
    if not isinstance(params, Mapping):
        raise Invalid(f"the parameters of a job are an object of names and values, not {type(params).__name__}")
    try:
        return model.model_validate(dict(params))
    except ValidationError as error:
        raise _sentence(error, model) from None


def as_json(params: BaseModel | Mapping[str, Any], what: str) -> dict[str, Any]:
    """Parameters as the database can store them.

    Raises:
        Invalid: a value is not JSON (such as not-a-number), or a text holds a NUL character.
    """
    try:
        content = params.model_dump(mode="json", by_alias=True) if isinstance(params, BaseModel) else dict(params)
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise Invalid(f"{what} can't be stored as JSON: {error}") from None
    if "\\u0000" in text and _has_nul(content):
        raise Invalid(f"{what} can't be stored: a text holds a NUL character")
    return content


def parsed(kind: Kind, name: str, text: str) -> Any:
    """A value given as text, as on a command line: JSON where the parameter takes what it says, else the text itself.

    Raises:
        Invalid: the kind has no such parameter.
    """
    model = startable(kind)
    field = model.model_fields.get(name) or next(
        (one for one in model.model_fields.values() if one.alias == name), None
    )
    if field is None:
        raise Invalid(f"unknown parameter '{name}'{close_match(name, _names(model))}", field=name)
    adapter: TypeAdapter[Any] = TypeAdapter(field.annotation or Any)
    try:
        value = json.loads(text)
    except ValueError:
        return text
    for candidate in (value, text):
        try:
            adapter.validate_python(candidate)
        except ValidationError:
            continue
        return candidate
    return value


def _has_nul(value: Any) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, Mapping):
        return any(_has_nul(key) or _has_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(_has_nul(item) for item in value)


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _sentence(error: ValidationError, model: type[BaseModel]) -> Invalid:
    first = error.errors(include_url=False)[0]
    unknown = first["type"] == "extra_forbidden"
    path, inside = _place(first["loc"][:-1] if unknown else first["loc"], model)
    top = str(first["loc"][0]) if first["loc"] else None
    match first["type"]:
        case "extra_forbidden":
            name = str(first["loc"][-1])
            where = f" in {path}" if path else ""
            known = [known for one in inside for known in _names(one)]
            return Invalid(f"unknown parameter '{name}'{where}{close_match(name, known)}", field=top)
        case "missing":
            return Invalid(f"parameter '{path}' is missing", field=top)
        case "value_error":
            cause = first.get("ctx", {}).get("error")
            text = str(cause or first["msg"])
            if isinstance(cause, Misfit) and not first["loc"]:
                top = cause.field
        case _:
            message = first["msg"].replace("Input should", "it should", 1)
            text = f"{message[:1].lower()}{message[1:]}{_given(first['input'])}"
    return Invalid(f"parameter '{path}': {text}" if path else text, field=top)


def _given(value: Any) -> str:
    if isinstance(value, str | int | float | bool) or value is None:
        shown = json.dumps(value, ensure_ascii=False)
        return f", not {shown if len(shown) <= 60 else shown[:57] + '...'}"
    return f", not a {'list' if isinstance(value, list | tuple) else 'group of values'}"


def _place(loc: Sequence[int | str], model: type[BaseModel]) -> tuple[str, list[type[BaseModel]]]:
    """A place in the parameters as people write it, and the models found there; names of union members are left out."""
    path = ""
    here: list[Any] = [model]
    for item in loc:
        inner: list[Any] = []
        for one in here:
            inner.extend(_member(one, item))
        if inner:
            here = [plain for one in inner for plain in _plain(one)]
            path += f"[{item}]" if isinstance(item, int) else f".{item}" if path else item
    return path, [one for one in here if isinstance(one, type) and issubclass(one, BaseModel)]


def _member(holder: Any, item: int | str) -> list[Any]:
    if isinstance(holder, type) and issubclass(holder, BaseModel):
        return [field.annotation for name, field in holder.model_fields.items() if item == (field.alias or name)]
    arguments = get_args(holder)
    origin = get_origin(holder)
    if origin is dict and isinstance(item, str):
        return [arguments[1]]
    if origin in (list, tuple, set) and isinstance(item, int):
        return [arguments[0]]
    return []


def _plain(annotation: Any) -> list[Any]:
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        return [plain for one in get_args(annotation) for plain in _plain(one)]
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    return [annotation]
