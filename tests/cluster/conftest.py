"""Nodes for tests: real agents in processes of their own, against the test's database."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from quarterdeck.logs import decode_chunk

ROOT = Path(__file__).parents[2]

_MAIN = """
import json, sys
from pathlib import Path
from quarterdeck.agent import process
order = json.load(sys.stdin)
sys.stdin.close()
if order["account"]:  # an ordinary account's node, also where Python lies in root's home
    from quarterdeck.agent import view
    from quarterdeck.agent.account import Account, become
    account = Account(*order["account"])
    view.narrow(account, [".", order["data"]], [])
    become(account)
from quarterdeck.agent import run
from quarterdeck.database import Login
from quarterdeck.errors import QuarterdeckError
process.die_with_parent()  # a test run that is killed leaves no node behind
try:
    login = Login(**order["login"])
    data, limit = Path(order["data"]), order["spool_limit"]
    more = {"run_as": order["run_as"], "hidden": [Path(one) for one in order["hidden"]]}
    run(login, order["name"], order["slots"], order["labels"], data, runs=order["runs"], spool_limit=limit, **more)
except QuarterdeckError as error:
    sys.exit(str(error))
"""


def until(condition: Callable[[], Any], within: float = 15.0, what: str = "") -> Any:
    """What the condition gives as soon as it is true; fails after `within` seconds."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, what or f"not within {within} s"
        time.sleep(0.01)
    return found


def lives(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


class Agent:
    """A running node: its process and what it stands for."""

    def __init__(self, process: subprocess.Popen[str], name: str, folder: Path) -> None:
        self.process = process
        self.pid = process.pid
        self.name = name
        self.folder = folder

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self, within: float = 15.0) -> int:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(within)

    def log(self) -> str:
        path = self.folder / self.name / "agent.log"
        return path.read_text() if path.exists() else ""


class Cluster:
    """Starts nodes against a database and looks at their jobs."""

    def __init__(self, database: Any, data: Path) -> None:
        self.database = database
        self.data = data
        self.agents: list[Agent] = []

    def begin(
        self,
        name: str = "n1",
        *,
        slots: int = 2,
        labels: tuple[str, ...] = (),
        runs: Mapping[str, str] | None = None,
        spool_limit: int = 256 << 20,
        run_as: str | None = getpass.getuser(),
        hidden: Sequence[Path] = (),
        node_account: str | None = None,
    ) -> subprocess.Popen[str]:
        login: dict[str, Any] = asdict(self.database.login(f"node_{name}"))
        process = subprocess.Popen(
            [sys.executable, "-c", _MAIN],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            start_new_session=True,
        )
        assert process.stdin is not None
        order = {
            "login": login,
            "name": name,
            "slots": slots,
            "labels": labels,
            "data": str(self.data),
            "spool_limit": spool_limit,
            "run_as": run_as,
            "hidden": [str(one) for one in hidden],
            "account": None if node_account in (None, getpass.getuser()) else _account(node_account),
            "runs": runs or {"factor": "tests.cluster.agent_runs:run"},
        }
        process.stdin.write(json.dumps(order))
        process.stdin.close()
        process.stdin = None
        self.agents.append(Agent(process, name, self.data))
        return process

    def start(self, name: str = "n1", **settings: Any) -> Agent:
        """A node that is up and takes tasks."""
        process = self.begin(name, **settings)
        agent = self.agents[-1]

        def up() -> bool:
            assert process.poll() is None, (process.stderr.read() if process.stderr else "") + agent.log()
            return bool(
                self.database.value(
                    "postgres",
                    "select count(*) from qd.node where name = :n and state = 'up' and heartbeat > registered",
                    n=name,
                )
            )

        until(up, 30.0, f"node {name} does not come up")
        return agent

    def submit(self, *tasks: Mapping[str, Any], user: str = "alice", **facts: Any) -> int:
        """A job with a task for each parameter set; `queue` and `restartable` are taken out of it."""
        plan: list[dict[str, Any]] = []
        for number, one in enumerate(tasks):
            params = dict(one)
            extra: dict[str, Any] = {key: params.pop(key) for key in ("queue", "restartable") if key in params}
            plan.append({"name": f"task {number}", "params": params, **extra})
        job: int = self.database.submit(user, plan, **facts)
        return job

    def status(self, job: int) -> str:
        found: str = self.database.value("postgres", "select status from qd.job where id = :j", j=job)
        return found

    def ended(self, job: int, within: float = 30.0) -> str:
        """The job's status at its end."""

        def over() -> str | None:
            status = self.status(job)
            return None if status in ("queued", "in_progress") else status

        try:
            return str(until(over, within))
        except AssertionError:
            raise AssertionError(f"job {job} has not ended; nodes say: {[one.log() for one in self.agents]}") from None

    def running(self, job: int, within: float = 20.0) -> None:
        until(lambda: self.status(job) == "in_progress", within, "the job does not start")

    def lines(self, job: int) -> list[tuple[str, str, str]]:
        """(stream, level, text) of all lines, in the order of the unified log."""
        rows = self.database.sql("postgres", "select id, body from qd.log_chunk where job_id = :j order by id", j=job)
        found = [line for row in rows for line in decode_chunk(row.body, chunk=row.id)]
        found.sort(key=lambda line: (line.time, line.chunk, line.offset))
        return [(line.stream.value, line.level.value, line.text) for line in found]

    def texts(self, job: int, *streams: str) -> list[str]:
        return [text for stream, _, text in self.lines(job) if not streams or stream in streams]

    def attempts(self, job: int) -> list[Any]:
        return list(
            self.database.sql("postgres", "select * from qd.attempt where job_id = :j order by task_id, number", j=job)
        )

    def error(self, job: int) -> str:
        found: str = self.database.value("postgres", "select error from qd.job_detail where job_id = :j", j=job)
        return found

    def close(self) -> None:
        for agent in self.agents:
            with contextlib.suppress(ProcessLookupError):
                os.kill(agent.pid, signal.SIGCONT)
                agent.process.terminate()
        for agent in self.agents:
            try:
                agent.process.wait(12)
            except subprocess.TimeoutExpired:
                agent.process.kill()
                agent.process.wait()
            if agent.process.stderr:
                agent.process.stderr.close()
        left = [one for one in psutil.process_iter() if _marked(one, self.data)]
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.kill()
        assert not left, f"processes survived the test: {left}"


def _account(name: str) -> tuple[str, int, int]:
    import pwd

    entry = pwd.getpwnam(name)
    return entry.pw_name, entry.pw_uid, entry.pw_gid


def _marked(process: psutil.Process, data: Path) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return str(data) in " ".join(process.environ().values()) or process.cwd().startswith(str(data))
    except (psutil.Error, OSError):
        return False


@pytest.fixture
def cluster(database: Any, tmp_path: Path) -> Iterator[Cluster]:
    """Starts nodes; all have ended, with every process of their tasks, when the test is over."""
    made = Cluster(database, tmp_path / "nodes")
    try:
        yield made
    finally:
        made.close()
