"""What tests of several folders share.

Environment: QUARTERDECK_TEST_PG is the major version of PostgreSQL to test with (16 or 18, 18 when not set).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keyring
import keyring.backends.fail
import psycopg
import pytest
import sqlalchemy as sa

from quarterdeck import admin
from quarterdeck.database import Login, connect_arguments, engine, translated
from quarterdeck.server import Server, Started, find_binaries
from tests.guard import ended_with_us

# --- keyring: none ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def no_keyring() -> Iterator[None]:
    """No test touches the keyring of who runs it, in this process or in those that it starts.

    The library takes any backend class that it finds for the system's, also one that a test defines.
    """
    before = os.environ.get("PYTHON_KEYRING_BACKEND")
    os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"
    keyring.set_keyring(keyring.backends.fail.Keyring())
    yield
    if before is None:
        del os.environ["PYTHON_KEYRING_BACKEND"]
    else:
        os.environ["PYTHON_KEYRING_BACKEND"] = before


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


@pytest.fixture
def shared_path(open_folder: Path, tmp_path: Path) -> Path:
    """A folder of the test's own for files that tasks read and write: as root, a node runs them as other accounts."""
    folder = open_folder / f"shared-{tmp_path.name}"
    folder.mkdir()
    folder.chmod(0o777)
    return folder


@pytest.fixture(scope="session")
def postgres(postgres_bin: Path, open_folder: Path) -> Iterator[Started]:
    """A running server of the session's: `.port`, `.conninfo(database)` as superuser, `.server`. Don't stop it."""
    server = Server(open_folder / "session", postgres_bin)
    started = server.ensure(_FAST)
    try:
        with ended_with_us(server):
            yield started
    finally:
        server.stop("immediate")
        shutil.rmtree(server.data, ignore_errors=True)


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """A node that is tried within the test's own process makes its files its own; those of later tests are for all."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


# --- databases: cloned from a template for each test ----------------------------------------------------------------

USERS = {"alice": False, "bob": False, "boss": True}
"""People of every test database: name to administrator or not."""

NODES = ("n1", "n2")
"""Nodes of every test database: they have logins and are down."""


class Database:
    """A Quarterdeck database of a test's own: `sql("alice", "select ...", name=value)` runs as a person or a node."""

    def __init__(self, name: str, server: Started, passwords: Mapping[str, str]) -> None:
        self.name = name
        self.port = server.port
        self._conninfo = server.conninfo(name)
        self._passwords = passwords
        self._engines: dict[str, sa.Engine] = {}
        self._connections: list[psycopg.Connection[Any]] = []

    def login(self, user: str) -> Login:
        """How `alice`, `bob`, `boss`, or a node (`node_n1`, `node_n2`) signs in."""
        return Login(
            host="127.0.0.1",
            port=self.port,
            database=self.name,
            user=user,
            password=self._passwords[user],
            tls="loopback",
        )

    def engine(self, user: str) -> sa.Engine:
        """An engine signed in as that user; `postgres` is the superuser. Disposed of after the test."""
        if user not in self._engines:
            self._engines[user] = _superuser(self._conninfo) if user == "postgres" else engine(self.login(user))
        return self._engines[user]

    def connect(self, user: str, *, autocommit: bool = True) -> psycopg.Connection[Any]:
        """A connection of psycopg's own signed in as that user. Closed after the test."""
        if user == "postgres":
            connection = psycopg.connect(self._conninfo, autocommit=autocommit)
        else:
            arguments: dict[str, Any] = dict(connect_arguments(self.login(user)))
            connection = psycopg.connect(**arguments, autocommit=autocommit)
        self._connections.append(connection)
        return connection

    def sql(self, user: str, text: str, **arguments: Any) -> list[Any]:
        """The rows of one statement, in a transaction of its own; errors are quarterdeck.errors'."""
        with translated(), self.engine(user).begin() as connection:
            result = connection.execute(sa.text(text), arguments)
            return list(result) if result.returns_rows else []

    def value(self, user: str, text: str, **arguments: Any) -> Any:
        """The first value of the first row."""
        return self.sql(user, text, **arguments)[0][0]

    def submit(
        self, user: str, tasks: int | Sequence[Mapping[str, Any]] = 1, *, kind: str = "factor", **facts: Any
    ) -> int:
        """A new job of that user: `tasks` is their number, or each one's name, queue, params, restartable."""
        plan = [{"name": f"task {n}"} for n in range(tasks)] if isinstance(tasks, int) else list(tasks)
        job: int = self.value(
            user,
            "select qd.submit_job(:kind, '{}', cast(:facts as jsonb), cast(:tasks as jsonb))",
            kind=kind,
            facts=json.dumps({"name": "a job", **facts}),
            tasks=json.dumps(plan),
        )
        return job

    def tasks(self, job: int) -> list[int]:
        """The ids of a job's tasks, in their order."""
        return [
            row[0] for row in self.sql("postgres", "select id from qd.task where job_id = :j order by ordinal", j=job)
        ]

    def start(self, node: str, task: int, attempt: int = 1) -> Any:
        """What `qd.start_task` tells the node `n1` or `n2`, which is up from then on."""
        self.sql(f"node_{node}", "select qd.register_node(4, '{}', 'here', '0', 2, 1000)")
        return self.sql(f"node_{node}", "select * from qd.start_task(:task, :attempt)", task=task, attempt=attempt)[0]

    def end(self, node: str, task: int, outcome: str = "success", attempt: int = 1, error: str = "") -> None:
        self.sql(
            f"node_{node}",
            "select qd.end_task(:task, :attempt, :outcome, 0, :error, null, 0.5, 1000)",
            task=task,
            attempt=attempt,
            outcome=outcome,
            error=error,
        )

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        for one in self._engines.values():
            one.dispose()


def _superuser(conninfo: str) -> sa.Engine:
    return sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo))


@pytest.fixture(scope="session")
def template(postgres: Started) -> tuple[str, Mapping[str, str]]:
    """The name of a database with schema, users and nodes, and the passwords. Connect to its clones, never to it."""
    with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
        connection.execute("create database quarterdeck_template")
    superuser = _superuser(postgres.conninfo("quarterdeck_template"))
    admin.create_schema(superuser)
    passwords = {name: f"password of {name}" for name in USERS}
    for name, is_admin in USERS.items():
        admin.create_user(superuser, name, passwords[name], is_admin)
    for name in NODES:
        passwords[f"node_{name}"] = admin.create_node(superuser, name)
    superuser.dispose()
    return "quarterdeck_template", passwords


@pytest.fixture
def database(postgres: Started, template: tuple[str, Mapping[str, str]]) -> Iterator[Database]:
    """A fresh database for this test: no jobs, the people `USERS`, the nodes `NODES`."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
        connection.execute(f"create database {name} template {template[0]}".encode())
    made = Database(name, postgres, template[1])
    admin.protect_database(made.engine("postgres"))
    try:
        yield made
    finally:
        made.close()
        with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
            connection.execute(f"drop database {name} with (force)".encode())
