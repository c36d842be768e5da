"""The rules of structure that import-linter can't say, read from the source by `ast`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FORBIDDEN_NAMES = {"manager", "helper", "helpers", "util", "utils", "common", "misc", "base", "service", "handler"}


def _files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)


def _said(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_is_something_to_check() -> None:
    assert len(_files("desktop")) > 10
    assert len(_files("quarterdeck")) > 10


def test_models_know_no_widgets() -> None:
    wrong = [
        f"{_said(path)}: {name}"
        for path in _files("desktop/models")
        for name in _imports(_tree(path))
        if name.startswith(("PySide6", "pyqtgraph")) and not name.startswith("PySide6.QtCore") and name != "PySide6"
    ]
    assert not wrong


def test_only_the_bridge_joins_loop_threads_and_qt() -> None:
    wrong = [
        f"{_said(path)}: {name}"
        for path in _files("desktop")
        if path.name != "bridge.py"
        for name in _imports(_tree(path))
        if name.split(".")[0] in {"asyncio", "threading", "concurrent", "qasync"}
        # it takes what other threads raise, and starts none
        and (path.name, name) != ("notices.py", "threading")
    ]
    assert not wrong


def test_the_desktop_speaks_no_sql() -> None:
    statement = re.compile(r"^\s*(select|insert|update|delete|listen|call)\s+\S+", re.IGNORECASE)
    wrong = []
    for path in _files("desktop"):
        tree = _tree(path)
        wrong += [
            f"{_said(path)}: {name}"
            for name in _imports(tree)
            if name.split(".")[0] in {"sqlalchemy", "psycopg"} or name.startswith("quarterdeck.database")
        ]
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        wrong += [
            f"{_said(path)}:{node.lineno}: {node.value[:40]}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and re.search(r"\b(from|into|where|set)\b", node.value, re.IGNORECASE)
            and statement.match(node.value)
            and "qd." in node.value
        ]
    assert not wrong


def test_dialogs_are_opened_never_executed() -> None:
    wrong = [
        f"{_said(path)}:{node.lineno}"
        for path in _files("desktop")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"exec", "exec_"}
        # the application's own loop is the bridge's
        and path.name != "bridge.py"
    ]
    assert not wrong


def test_charts_are_drawn_in_panels_only() -> None:
    wrong = [
        f"{_said(path)}: {name}"
        for path in _files("desktop")
        if "panels" not in path.parts
        for name in _imports(_tree(path))
        if name.split(".")[0] == "pyqtgraph"
    ]
    assert not wrong


def test_item_models_by_hand_are_few() -> None:
    """A hand-written item model is wrong more often than one thinks: each is listed, and tested by Qt's own tester."""
    found = {
        f"{_said(path)}:{node.name}"
        for path in _files("desktop")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ClassDef)
        and any(
            "AbstractItemModel" in ast.unparse(one)
            or "AbstractTableModel" in ast.unparse(one)
            or "AbstractListModel" in ast.unparse(one)
            for one in node.bases
        )
    }
    tested = (ROOT / "tests" / "gui").rglob("*.py")
    words = " ".join(path.read_text(encoding="utf-8") for path in tested)
    untested = sorted(one for one in found if one.rpartition(":")[2] not in words)
    assert found
    assert not untested
    assert "qtmodeltester" in words or "QAbstractItemModelTester" in words


def test_files_and_classes_stay_small() -> None:
    long = [
        f"{_said(path)}: {count} lines"
        for path in _files("quarterdeck", "desktop")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > 520
    ]
    large = [
        f"{_said(path)}: {node.name} has {count} methods"
        for path in _files("quarterdeck", "desktop")
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ClassDef)
        and (count := sum(isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef) for one in node.body)) > 24
    ]
    assert not long
    assert not large


def test_modules_are_nouns() -> None:
    wrong = [
        _said(path)
        for path in _files("quarterdeck", "desktop", "benchmarks")
        if FORBIDDEN_NAMES & set(re.split(r"[_.]", path.name))
    ]
    assert not wrong


@pytest.mark.parametrize(
    "folder", ["quarterdeck", "desktop", "tests", "benchmarks", "docs", "packaging", "resources", ".ci"]
)
def test_no_paths_of_a_machine(folder: str) -> None:
    pattern = re.compile(r"(?<![\w.])/(?:work|home/\w+|Users/\w+)/")
    wrong = [
        f"{_said(path)}:{number}"
        for path in sorted((ROOT / folder).rglob("*"))
        if not {".hypothesis", "__pycache__"} & set(path.parts)
        and path.suffix in {".py", ".md", ".sql", ".sh", ".toml", ".json", ""}
        and path.is_file()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line) and "pattern = re" not in line
    ]
    assert not wrong
