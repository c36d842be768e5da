"""Reports: documents that say which tables are drawn how, and their reading into small arrays. No Qt.

report = read(builtins()["evaluation"], JobTables(client, job), {"period": 5})
report.panels["ic"].series[0].y
"""

from __future__ import annotations

import functools
from importlib import resources

from quarterdeck.report.access import Access, JobTables
from quarterdeck.report.checks import check, dump, load, parse
from quarterdeck.report.frames import Frames, Picked, read
from quarterdeck.report.template import Template

__all__ = ["Access", "Frames", "JobTables", "Picked", "Template", "builtins", "check", "dump", "load", "parse", "read"]


def builtins() -> dict[str, Template]:
    """The templates that come with Quarterdeck, by name."""
    return dict(_builtins())


@functools.cache
def _builtins() -> dict[str, Template]:
    folder = resources.files(__name__) / "builtin"
    found = [load(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".json")]
    return {template.name: template for template in sorted(found, key=lambda one: one.name)}
