"""Which requirements of the specification a test names, and which none does yet."""

from __future__ import annotations

import ast
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


LACKING = {
    "V3": "templates are written as documents; the editor in the desktop, with its live preview",
    "X1": "workflows can't be started",
    "K4": "the engine nautilus, real-time, several tables, an attribution of each task",
    "K5": "Brinson from a backtest with a sector map",
    "Q3": "a published example of linked effects; the papers' formulas are computed in many digits instead",
    "Y6": "the Gantt of tasks, the critical path, expected ends",
    "Y8": "the palette, saved views, links",
    "Y10": "pointer and selection go over the views of one job only",
    "P1": "a job of the kind workflow in the demonstration",
}
"""What is known to lack of requirements that tests prove in part."""

_ORDER = "MRSFEBLAWDVXKQTCYNGP"


def _place(one: str) -> tuple[int, int]:
    return _ORDER.index(one[0]), int(one[1:])


def document() -> str:
    """docs/requirements.md as it must be; `python -m tests.unit.test_requirements` writes it."""
    named = named_by_tests()
    rows = [f"| {one} | {', '.join(f'`{file}`' for file in sorted(named[one]))} |" for one in sorted(named, key=_place)]
    missing: dict[str, list[str]] = {}
    for one in sorted(IDS - set(named), key=_place):
        missing.setdefault(one[0], []).append(one)
    return "\n".join(
        [
            "# Requirements and their proofs",
            "",
            "Each requirement of the specification by its id, with the test files that prove it, or a part of it. A",
            "test holds this page exact (`tests/unit/test_requirements.py`).",
            "",
            "## Proved, wholly or in part",
            "",
            "| id | tests |",
            "|---|---|",
            *rows,
            "",
            "## What lacks of these",
            "",
            *(f"- {one}: {LACKING[one]}." for one in sorted(LACKING, key=_place)),
            "",
            "## Not yet proved by a test",
            "",
            *(f"- {', '.join(ids)}" for ids in missing.values()),
            "",
        ]
    )


def test_marks_name_ids_that_exist() -> None:
    assert sorted(set(named_by_tests()) - IDS) == []


def test_what_lacks_is_of_requirements_that_are_proved_in_part() -> None:
    assert sorted(set(LACKING) - set(named_by_tests())) == []


def test_the_page_of_requirements_is_exact() -> None:
    """It names each requirement that no test proves; one that is now proved must leave that list."""
    assert (ROOT / "docs" / "requirements.md").read_text(encoding="utf-8") == document()


if __name__ == "__main__":
    (ROOT / "docs" / "requirements.md").write_text(document(), encoding="utf-8")
