"""The command line on a real cluster of its own, one for each module of tests that asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from quarterdeck.demonstration import stocks_file

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def quarterdeck(
    request: pytest.FixtureRequest, open_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Run]:
    """The command line on a cluster of its own: `quarterdeck("list", "--json")`; `code` is the exit code wanted."""
    data = open_folder / str(request.module.__name__).rpartition(".")[2]
    config = tmp_path_factory.mktemp("config")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("QUARTERDECK_", "PG"))}
    environment = kept | {
        "QUARTERDECK_CONFIG": str(config),
        # a test leaves nothing in the keyring of who runs it
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }

    def run(*words: str, code: int = 0, text: str | None = None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "quarterdeck.cli", *words],
            env=environment,
            cwd=config,
            input=text,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    run("cluster", "start", "--data", str(data))
    try:
        yield run
    finally:
        run("cluster", "stop", "--data", str(data))


@pytest.fixture(scope="module")
def prices(quarterdeck: Run, open_folder: Path) -> pd.DataFrame:
    """Real daily prices of five stocks, written as a CSV file and imported as the table `prices`."""
    frame = pd.read_csv(stocks_file())
    file = open_folder / "prices.csv"
    frame.to_csv(file, index=False)
    quarterdeck("submit", "data_import", "--set", f"path={file}", "--set", "table=prices", "--wait")
    return frame


@pytest.fixture
def tmp_path(shared_path: Path) -> Path:
    """Files of these tests are read and written by tasks as well."""
    return shared_path
