"""What tests of several folders share.

Environment: QUARTERDECK_TEST_PG is the major version of PostgreSQL to test with (16 or 18, 18 when not set).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quarterdeck.server import Server, Started, find_binaries

# --- server: one for the session (for each worker of pytest-xdist) --------------------------------------------------

# a lost server costs nothing in a test, and syncs cost a lot; nothing else differs from what people run
_FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "100"}


@pytest.fixture(scope="session")
def postgres_bin() -> Path:
    """The bin folder of the PostgreSQL to test with."""
    return find_binaries(major=int(os.environ.get("QUARTERDECK_TEST_PG", "18")))


@pytest.fixture(scope="session")
def open_folder() -> Iterator[Path]:
    """A temporary folder that every account gets into, unlike tmp_path: as root, the server runs as another account."""
    with tempfile.TemporaryDirectory(prefix="quarterdeck-test-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture(scope="session")
def postgres(postgres_bin: Path, open_folder: Path) -> Iterator[Started]:
    """A running server of the session's: `.port`, `.conninfo(database)` as superuser, `.server`. Don't stop it."""
    server = Server(open_folder / "session", postgres_bin)
    started = server.ensure(_FAST)
    try:
        with _ended_with_us(server):
            yield started
    finally:
        server.stop("immediate")
        shutil.rmtree(server.data, ignore_errors=True)


class _ended_with_us:  # noqa: N801 - reads as a statement
    """Ends the server even if the test process is killed: a child waits for our end of its pipe to close."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        if sys.platform != "win32":
            script = 'read -r done || { kill -QUIT "$1"; rm -rf -- "$2"; }'
            command = ["/bin/sh", "-c", script, "sh", str(self._server.running()), str(self._server.data.parent)]
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def __exit__(self, *_: object) -> None:
        if self._child:
            self._child.communicate(b"done\n", timeout=10)


# --- databases: cloned from a template for each test ----------------------------------------------------------------


# --- users, signed in -----------------------------------------------------------------------------------------------
