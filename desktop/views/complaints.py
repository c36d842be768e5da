"""What is wrong with parameters: one sentence at each field, in the words of who fills in a form."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from desktop.views.fields import field_title
from quarterdeck.kinds import Misfit

__all__ = ["complaints", "given_names", "sentence"]

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "yes or no",
    "string": "a text",
    "list": "a list",
    "dict": "a group of names and values",
    "date": "a day such as 2024-01-31",
    "datetime": "a time such as 2024-01-31 09:30",
    "time": "a time of day such as 09:30",
}
_LIMITS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
}


def given_names(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The parameters by the names under which they are given."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def complaints(model: type[BaseModel], error: ValidationError) -> dict[str, str]:
    """What is wrong: parameter to one sentence; '' for what concerns no single one."""
    names = given_names(model)
    found: dict[str, str] = {}
    for one in error.errors(include_url=False):
        cause = one.get("ctx", {}).get("error")
        place = str(one["loc"][0]) if one["loc"] else cause.field if isinstance(cause, Misfit) else ""
        info = names.get(place)
        if one["type"] == "missing" and len(one["loc"]) == 1 and info is not None:
            text = f"{field_title(place, info)} is needed."
        else:
            inner = _inside(one["loc"][1:])
            words = sentence(_words(one, cause))
            text = f"{inner}: {words[:1].lower()}{words[1:]}" if inner else words
        found.setdefault(place if info is not None else "", text)
    return found


def sentence(text: str) -> str:
    """With a capital (unless it begins with a file's or a parameter's name) and a full stop; nothing for nothing."""
    first = text.split(" ", 1)[0].rstrip(",:;")
    word = first.isalpha() or not first[:1].islower()
    return (text[:1].upper() + text[1:] if word else text) + ("" if not text or text.endswith((".", "!", "?")) else ".")


def _inside(loc: tuple[int | str, ...]) -> str:
    """Where within a parameter: 'Entry 2, formula'. Names of a union's members are left out."""
    parts = [f"entry {part + 1}" if isinstance(part, int) else part for part in loc]
    if not any(isinstance(part, int) for part in loc):
        return ""
    words = ", ".join(
        part for part in parts if part.startswith("entry ") or (part.isidentifier() and part not in _KINDS)
    )
    return words[:1].upper() + words[1:]


def _words(one: Any, cause: Any) -> str:
    kind, context = str(one["type"]), one.get("ctx", {})
    shown = f"“{str(one['input'])[:60]}”"
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"{shown} won't do: it must be {words} {context.get(name)}"
    if kind in ("literal_error", "enum"):
        return f"{shown} is not one of {context.get('expected')}"
    if kind == "missing":
        return "a value is needed"
    if kind == "extra_forbidden":
        return "there is no such parameter"
    if kind == "string_too_short":
        return "a value is needed"
    root = kind.removesuffix("_from_date_parsing").partition("_")[0]
    if root in _KINDS and kind.endswith(("_parsing", "_type", "_from_float", "_inexact")):
        also = " or a time such as 2024-01-31 09:30" if root == "date" else ""
        return f"{shown} is not {_KINDS[root]}{also}"
    return str(cause) if cause is not None else str(one["msg"])
