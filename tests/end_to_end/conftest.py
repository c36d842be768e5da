"""The command line: on a real cluster of its own, one for each module of tests that asks for it, or on a database."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import keyring
import keyring.backends.fail
import pandas as pd
import pyarrow as pa
import pytest

from quarterdeck import cli, profile
from quarterdeck.blocks import schema_bytes
from quarterdeck.demonstration import stocks_file
from quarterdeck.profile import Profile
from tests.end_to_end.command_line import Ran

if TYPE_CHECKING:
    from tests.conftest import Database

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


@pytest.fixture
def run(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ran]]:
    """`run("alice", "list", ...)`: the command under the profile of that person, in a folder of the test's own."""
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    monkeypatch.setenv("QUARTERDECK_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("QUARTERDECK_LOG", str(tmp_path / "log"))
    for name in ("QUARTERDECK_PASSWORD", "QUARTERDECK_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for name in ("alice", "bob", "boss"):
        login = database.login(name)
        saved = Profile(name=name, host=login.host, port=login.port, database=login.database, user=name, tls="loopback")
        profile.save(saved, login.password)
    database.sql(
        "postgres",
        "with d as (insert into qd.dataset (creator, name, is_public) values ('carl', 'prices', true) returning id)"
        " insert into qd.result_table (dataset_id, creator, is_public, name, schema, rows, bytes, complete)"
        " select id, 'carl', true, 'prices', :schema, 5, 100, true from d",
        schema=schema_bytes(
            pa.schema([("time", pa.timestamp("us", "UTC")), ("symbol", pa.string()), ("close", pa.float64())])
        ),
    )

    def command(person: str, *arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        code = cli.main(["--profile", person, *arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Ran(code, out, err)

    yield command
    keyring.set_keyring(before)
