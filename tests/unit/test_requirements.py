"""Which requirements of the specification a test names, and which none does yet."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

IDS = {
    *(f"M{n}" for n in range(1, 9)),
    *(f"R{n}" for n in range(1, 4)),
    *(f"S{n}" for n in range(1, 4)),
    *(f"F{n}" for n in range(1, 3)),
    "E1",
    *(f"B{n}" for n in range(1, 9)),
    *(f"L{n}" for n in range(1, 5)),
    "A1",
    "W1",
    *(f"D{n}" for n in range(1, 3)),
    *(f"V{n}" for n in range(1, 4)),
    *(f"X{n}" for n in range(1, 4)),
    *(f"K{n}" for n in range(1, 8)),
    *(f"Q{n}" for n in range(1, 5)),
    *(f"T{n}" for n in range(1, 5)),
    *(f"C{n}" for n in range(1, 6)),
    *(f"Y{n}" for n in range(1, 12)),
    *(f"N{n}" for n in range(1, 11)),
    *(f"G{n}" for n in range(1, 6)),
    *(f"P{n}" for n in range(1, 5)),
}


def named_by_tests() -> dict[str, set[str]]:
    """Each id that a `spec` mark names, with the tests' files that name it."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.spec":
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        found.setdefault(argument.value, set()).add(path.name)
    return found


def unproven() -> list[str]:
    """The ids that no test names, as docs/requirements.md lists them."""
    text = (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8")
    section = text.partition("## Not yet proved by a test")[2]
    return re.findall(r"\b[A-Z]\d{1,2}\b", section)


def test_marks_name_ids_that_exist() -> None:
    assert sorted(set(named_by_tests()) - IDS) == []


def test_the_list_of_unproved_requirements_is_exact() -> None:
    """docs/requirements.md names each requirement that no test proves; one that is now proved must leave it."""
    assert sorted(unproven()) == sorted(IDS - set(named_by_tests()))
