"""What a start does not wait for (N10): libraries that only an open report, a table or an upgrade need."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_LOADED = "import sys, {module}; print(*sorted({names!r} & set(sys.modules)))"


@pytest.mark.spec("N10")
@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("desktop.app", {"pandas", "polars", "pyqtgraph", "alembic", "qtawesome", "pyarrow.dataset", "scipy"}),
        ("quarterdeck.cli", {"pandas", "polars", "pyarrow", "numpy", "sqlalchemy", "alembic", "PySide6"}),
        ("quarterdeck.agent.node", {"pandas", "polars", "alembic", "PySide6"}),
    ],
)
def test_a_start_loads_nothing_that_it_can_do_without(module: str, names: set[str]) -> None:
    command = [sys.executable, "-c", _LOADED.format(module=module, names=names)]
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
