"""What the guides must name: operators, commands, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from quarterdeck.quant.operators import OPERATORS

ROOT = Path(__file__).parents[2]
TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def test_every_operator_is_documented() -> None:
    text = (ROOT / "docs" / "formulas.md").read_text(encoding="utf-8").replace("\\|", "|")
    assert [one.name for one in OPERATORS if f"`{one.signature}`" not in text] == []
    assert [alias for one in OPERATORS for alias in one.aliases if f"`{alias}`" not in text] == []


def test_the_documents_name_no_operator_that_there_is_not() -> None:
    known = {name for one in OPERATORS for name in (one.signature, *one.aliases)}
    rows = re.findall(r"^\| `(.+?)` \|", (ROOT / "docs" / "formulas.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 50
    assert [row for row in rows if row.replace("\\|", "|") not in known] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (path.parent / link).exists()]
    assert missing == []
