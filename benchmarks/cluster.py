"""A whole cluster for a benchmark: an embedded server of its own with its ordinary settings, and nodes as processes."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa

from quarterdeck import admin
from quarterdeck.database import Login
from quarterdeck.server import Server, find_binaries

RUNS = {"factor": "benchmarks.runs:run"}

_NODE = """
import json, sys
from pathlib import Path
from quarterdeck.agent import run
from quarterdeck.database import Login
order = json.load(sys.stdin)
run(Login(**order["login"]), order["name"], order["slots"], (), Path(order["data"]), runs=order["runs"])
"""


class Cluster:
    """`sql` runs as the superuser, `submit` as an ordinary person."""

    def __init__(
        self, folder: Path, conninfo: str, login: Callable[[str, str], Login], passwords: dict[str, str]
    ) -> None:
        self.folder = folder
        self._connection = psycopg.connect(conninfo, autocommit=True)
        self._login = login
        self._passwords = passwords
        person = login("ann", passwords["ann"])
        self.person = psycopg.connect(
            host=person.host,
            port=person.port,
            dbname=person.database,
            user="ann",
            password=person.password,
            autocommit=True,
        )
        self._nodes: list[subprocess.Popen[str]] = []

    def sql(self, text: str, *values: Any) -> list[Any]:
        cursor = self._connection.execute(text.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def node(self, name: str = "n1", slots: int = 2) -> None:
        """Start a node and wait until it has started a first task: from then on it is warm."""
        login = asdict(self._login(f"node_{name}", self._passwords[f"node_{name}"])) | {"root_certificate": None}
        process = subprocess.Popen(
            [sys.executable, "-c", _NODE], stdin=subprocess.PIPE, text=True, start_new_session=True
        )
        self._nodes.append(process)
        order = {"login": login, "name": name, "slots": slots, "data": str(self.folder / "nodes"), "runs": RUNS}
        if process.stdin is not None:
            process.stdin.write(json.dumps(order))
            process.stdin.close()
            process.stdin = None
        for _ in range(3):
            self.ended(self.submit([{}], queue=f"node:{name}"), 60)

    def submit(self, tasks: Sequence[dict[str, Any]], queue: str = "any") -> int:
        plan = [{"name": f"task {n}", "params": one, "queue": queue} for n, one in enumerate(tasks)]
        row = self.person.execute(
            "select qd.submit_job('factor', '{}', '{\"name\": \"bench\"}', %s::jsonb)", (json.dumps(plan),)
        ).fetchone()
        if row is None:
            raise RuntimeError("no job")
        return int(row[0])

    def ended(self, job: int, within: float = 600.0) -> str:
        return str(until(lambda: self._status(job), within))

    def _status(self, job: int) -> str | None:
        status: str = self.sql("select status from qd.job where id = %s", job)[0][0]
        return None if status in ("queued", "in_progress") else status

    def close(self) -> None:
        for node in self._nodes:
            node.terminate()
        for node in self._nodes:
            node.wait(20)
        self.person.close()
        self._connection.close()


def until(condition: Callable[[], Any], within: float) -> Any:
    deadline = time.monotonic() + within
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {within} s")
        time.sleep(0.005)
    return found


@contextlib.contextmanager
def cluster(nodes: Sequence[str] = ("n1",)) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="quarterdeck-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o777)  # as root, tasks run as other accounts, and tell by files
        server = Server(folder / "server", find_binaries())
        started = server.ensure()
        try:
            with psycopg.connect(started.conninfo(), autocommit=True) as connection:
                connection.execute("create database quarterdeck")
            conninfo = started.conninfo("quarterdeck")
            engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo))
            admin.create_schema(engine)
            passwords = {"ann": "a password of ann"}
            admin.create_user(engine, "ann", passwords["ann"])
            for one in nodes:
                passwords[f"node_{one}"] = admin.create_node(engine, one)
            engine.dispose()

            def login(user: str, password: str) -> Login:
                return Login(host="127.0.0.1", port=started.port, database="quarterdeck", user=user, password=password)

            made = Cluster(folder, conninfo, login, passwords)
            try:
                yield made
            finally:
                made.close()
        finally:
            server.stop("immediate")


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least that share of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * round(share * 1000) // 1000) - 1)]
