"""A visualization template run over a job and a table: what it read is kept with it (V1, K7)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]

DOCUMENT = {
    "version": 1,
    "name": "closes and values",
    "title": "Closes and values",
    "sources": {
        "closes": {"dataset": "${params.market}", "columns": ["symbol", "time", "close"], "where": "symbol == 'IBM'"},
        "values": {"table": "factor", "sort": ["time"]},
        "means": {"source": "values", "group": ["symbol"], "aggregate": {"value": "mean"}},
    },
    "panels": [
        {
            "id": "closes", "type": "line", "title": "Closes", "source": "closes",
            "fields": {"x": "time", "y": ["close"]}, "place": {"section": "All", "row": 0},
        },
        {
            "id": "means", "type": "bar", "title": "Means", "source": "means",
            "fields": {"x": "symbol", "y": ["value"]}, "place": {"section": "All", "row": 4},
        },
    ],
}  # fmt: skip


@pytest.mark.spec("K7", "X1", "C2")
def test_a_template_keeps_what_it_read(quarterdeck: Run, prices: pd.DataFrame, tmp_path: Path) -> None:
    factor = {"name": "mom", "table": "prices", "formula": "close/delay(close,20)-1"}
    computed = quarterdeck("submit", "factor", "--params", "-", "--wait", text=json.dumps(factor)).stdout.split()[0]
    params = {"template": DOCUMENT, "jobs": int(computed), "tables": {"market": "prices"}}
    job = quarterdeck("submit", "template", "--params", "-", "--wait", text=json.dumps(params)).stdout.split()[0]
    quarterdeck("export", computed, "factor", str(tmp_path / "factor.csv"))
    quarterdeck("export", job, "values", str(tmp_path / "values.csv"))
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "factor.csv"), pd.read_csv(tmp_path / "values.csv"))
    quarterdeck("export", job, "closes", str(tmp_path / "closes.csv"))
    closes = pd.read_csv(tmp_path / "closes.csv")
    assert list(closes.columns) == ["symbol", "time", "close"]
    assert len(closes) == len(prices)
    shown = json.loads(quarterdeck("show", job, "--json").stdout)
    assert (shown["name"], shown["kind"]) == ("Closes and values", "template")
    document = shown["template"]["document"]
    assert document["sources"]["closes"] == {
        "table": "closes",
        "columns": ["symbol", "time", "close"],
        "where": "symbol == 'IBM'",
    }
    assert document["sources"]["values"] == {"table": "values", "sort": ["time"]}
    assert document["sources"]["means"]["source"] == "values"
    # it stays when what it read is gone
    quarterdeck("delete", computed, "--yes")
    quarterdeck("report", job, str(tmp_path / "report.pdf"))
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.spec("G4", "K7")
def test_what_a_template_lacks_is_said_before_anything_is_stored(quarterdeck: Run, prices: pd.DataFrame) -> None:
    for params, words in (
        ({"template": "evaluatoin", "jobs": 1}, "there is no template 'evaluatoin'; did you mean 'evaluation'?"),
        ({"template": DOCUMENT, "jobs": 1}, "source 'closes' reads an imported table: say which"),
        ({"template": DOCUMENT, "tables": {"market": "prices"}}, "reads the result table 'factor': say of which job"),
        ({"template": DOCUMENT, "jobs": 1, "tables": {"market": "price"}}, "there is no table 'price'"),
        ({"template": DOCUMENT, "jobs": 1, "tables": {"market": "prices", "x": "prices"}}, "no source 'x'"),
        ({"template": {"version": 9}, "jobs": 1}, "of version 9"),
        ({"template": "evaluation", "jobs": 0}, "the number of a job is 1 or more"),
    ):
        error = quarterdeck("submit", "template", "--params", "-", text=json.dumps(params), code=1).stderr
        assert words in error
        assert len(error.strip().splitlines()) == 1
    done = quarterdeck("submit", "template", "--params", "-", "--wait", code=3,
                       text=json.dumps({"template": "evaluation", "jobs": 99999}))  # fmt: skip
    shown = json.loads(quarterdeck("show", done.stdout.split()[0], "--json").stdout)
    assert shown["error"].startswith("Job 99999 has no table")
