"""The cluster on this computer: its database server, its first administrator, its nodes (C1, P3).

    data/                 `server.default_data()` unless named
      pg/, log/           the server's (see `quarterdeck.server`)
      nodes/NAME/         a node's: start.log, agent.log, node.json (slots, labels), scratch and buffers

Nobody's password is kept in the folder. The superuser's and the nodes' are fresh at each start and live in memory only;
the administrator's is in the keyring, under the profile.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import getpass
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import sqlalchemy as sa

from quarterdeck import admin, database, profile
from quarterdeck.agent import view
from quarterdeck.agent.account import OWN, Accounts
from quarterdeck.agent.launch import module_command
from quarterdeck.binaries import is_root
from quarterdeck.database import Login
from quarterdeck.errors import Conflict, Disconnected, Invalid, QuarterdeckError
from quarterdeck.profile import Profile
from quarterdeck.server import SUPERUSER, Server, Started, default_data
from quarterdeck.session import Session, login_of

__all__ = [
    "DATABASE",
    "Cluster",
    "ClusterStatus",
    "NodeProcess",
    "secret_places",
    "start",
    "start_node",
    "status",
    "stop",
    "tasks_account",
]

DATABASE = "quarterdeck"
_FIRST_NODE = "n1"
_UP_WITHIN = 30.0
_DOWN_WITHIN = 20.0


class _Detached(subprocess.Popen[bytes]):
    """A process that is to outlive this one: that it still runs when this one ends is nothing to warn of."""

    def __del__(self) -> None:
        if self.poll() is None:
            self.returncode = 0


_agents: list[_Detached] = []  # those that this process started: it waits for none


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeProcess:
    """A node's agent on this computer; `pid` is None when it does not run."""

    name: str
    pid: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """A running cluster. `said` holds remarks for the person, such as where a password is kept without a keyring."""

    data: Path
    port: int
    profile: Profile
    nodes: tuple[NodeProcess, ...]
    created: bool
    said: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterStatus:
    """What runs of the cluster in a folder."""

    data: Path
    exists: bool
    pid: int | None
    port: int | None
    nodes: tuple[NodeProcess, ...]

    @property
    def running(self) -> bool:
        return self.pid is not None


def start(
    data: Path | None = None,
    *,
    profile_name: str = profile.LOCAL,
    slots: int | None = None,
    run_as: str | None = None,
    said: Callable[[str], None] = lambda text: None,
) -> Cluster:
    """Start the cluster of a folder with its nodes; what runs already is found, what is missing is made.

    `said` is told, in a few words, what is under way. The first start makes the database, its schema and an
    administrator named as the person signed in to this computer, and saves a profile for him. `run_as` is for nodes
    that are started: see `agent.run`.

    Raises:
        Conflict: the server does not start, or runs already and this profile can't sign in to it.
        Invalid: the folder, the binaries or the profile can't be used.
    """
    folder = _folder(data)
    server = Server.at(folder)
    created = not server.created
    said("creating the database" if created else "starting the database")
    started = server.ensure()
    remarks: list[str] = []
    if started.password is not None:
        said("preparing the schema")
        chosen = _prepare(started, profile_name, remarks)
    else:
        chosen = _known(started, profile_name)
    running = {node.name for node in _nodes(folder) if node.pid is not None}
    wanted = {_FIRST_NODE: (slots or max(2, os.cpu_count() or 2), (), None)} | _remembered(folder)
    for name, (count, labels, account) in wanted.items():
        if name not in running:
            said(f"starting node {name}")
            whose = run_as or account or tasks_account(remarks.append)
            start_node(name, slots=count, labels=labels, data=folder, chosen=chosen, run_as=whose)
    return Cluster(
        data=folder, port=started.port, profile=chosen, nodes=_nodes(folder), created=created, said=tuple(remarks)
    )


def tasks_account(said: Callable[[str], None] = lambda text: None) -> str | None:
    """The account that tasks of this computer's own cluster run as, unless one is named; None: the right one by itself.

    Where root starts it in a place that no other account can get into, and the system does not let that be opened for
    tasks alone, they are root's, and `said` is told why. Who works on a cluster of his own is root there anyway; a node
    of another cluster refuses to start instead.
    """
    why = view.trouble(Accounts(None).example)
    if why:
        said(f"tasks run as root and can read the node's password: {why}")
    return OWN if why else None


def start_node(
    name: str,
    *,
    slots: int,
    labels: tuple[str, ...] = (),
    data: Path | None = None,
    chosen: Profile | str | None = None,
    run_as: str | None = None,
) -> NodeProcess:
    """Start a node's agent on this computer as a process of its own, and wait until it takes tasks.

    It gets its password through a pipe: a fresh one, which the profile's administrator sets. The folder remembers the
    node, so that the cluster's next start brings it along.

    Raises:
        Conflict: a node of that name runs here already, or it does not come up.
        Invalid: `run_as` is no account that tasks can run as.
        Refused: the profile's user is no administrator.
    """
    folder = _folder(data)
    account = Accounts(run_as).fixed  # what is wrong with it is said here, not only in the node's log
    if account is not None and (folder / "pg").is_dir() and (folder / "pg").stat().st_uid == account.uid:
        raise Invalid(
            f"the database runs as '{account.name}', so that a job's code would be let into it: let tasks run as "
            "another account, or name none",
            field="run_as",
        )
    running = next((node for node in _nodes(folder) if node.name == name), None)
    if running is not None and running.pid is not None:
        raise Conflict(f"node {name} runs here already (process {running.pid})")
    with Session.connect(chosen) as session:
        password = admin.create_node(session.engine, name)
        given = _given(chosen)
        login = dataclasses.replace(login_of(given), user=f"node_{name}", password=password)
        since = session.now()
        process = _spawn(login, name, slots, labels, folder, run_as)
        _await_up(session, name, since, process, folder / "nodes" / name / "start.log")
    kept = {"slots": slots, "labels": labels, "run_as": run_as}
    (folder / "nodes" / name / "node.json").write_text(json.dumps(kept), encoding="utf-8")
    return NodeProcess(name=name, pid=process.pid)


def status(data: Path | None = None) -> ClusterStatus:
    """What runs of the cluster in that folder."""
    folder = _folder(data)
    server = _server(folder)
    if server is None:
        return ClusterStatus(data=folder, exists=False, pid=None, port=None, nodes=())
    return ClusterStatus(data=folder, exists=True, pid=server.running(), port=server.port, nodes=_nodes(folder))


def stop(data: Path | None = None, *, said: Callable[[str], None] = lambda text: None) -> bool:
    """Stop the nodes, which end their tasks, then the server. False when nothing ran.

    Raises:
        Conflict: something did not stop in time.
    """
    folder = _folder(data)
    found = [node for node in _nodes(folder) if node.pid is not None]
    if found:
        said("stopping the nodes")
        stop_nodes(found)
    server = _server(folder)
    if server is None or server.running() is None:
        return bool(found)
    said("stopping the database")
    return server.stop() or bool(found)


def stop_nodes(nodes: list[NodeProcess]) -> None:
    """End agents, and wait until they are gone; one that does not end by itself is killed: its tasks die with it."""
    processes = []
    for node in nodes:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(node.pid)
            process.send_signal(signal.SIGTERM)
            processes.append(process)
    _, alive = psutil.wait_procs(processes, timeout=_DOWN_WITHIN)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=_DOWN_WITHIN)
    _agents[:] = _still_running()


def _still_running() -> list[_Detached]:
    return [one for one in _agents if one.poll() is None]


def _folder(data: Path | None) -> Path:
    return (data or default_data()).expanduser().absolute()


def _server(folder: Path) -> Server | None:
    if not folder.is_dir():
        return None
    try:
        server = Server.at(folder)
    except Invalid:
        return None
    return server if server.created else None


def _nodes(folder: Path) -> tuple[NodeProcess, ...]:
    nodes = folder / "nodes"
    if not nodes.is_dir():
        return ()
    return tuple(NodeProcess(name=one.name, pid=_agent_of(one)) for one in sorted(nodes.iterdir()) if one.is_dir())


def _remembered(folder: Path) -> dict[str, tuple[int, tuple[str, ...], str | None]]:
    found: dict[str, tuple[int, tuple[str, ...], str | None]] = {}
    for file in sorted(folder.glob("nodes/*/node.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(file.read_text(encoding="utf-8"))
            found[file.parent.name] = (int(kept["slots"]), tuple(kept["labels"]), kept.get("run_as"))
    return found


def _agent_of(folder: Path) -> int | None:
    """The process of the agent that noted itself in the folder, if it is one and lives."""
    with contextlib.suppress(OSError, ValueError, psutil.Error):
        process = psutil.Process(int((folder / "agent.pid").read_text(encoding="ascii")))
        ours = any("quarterdeck" in word for word in process.cmdline())
        if ours and process.status() != psutil.STATUS_ZOMBIE:
            return int(process.pid)
    return None


def _given(chosen: Profile | str | None) -> Profile:
    return chosen if isinstance(chosen, Profile) else profile.load(chosen)


def _login(started: Started, user: str, password: str | None, database_name: str = DATABASE) -> Login:
    return Login(host="127.0.0.1", port=started.port, database=database_name, user=user, password=password)


def _prepare(started: Started, profile_name: str, remarks: list[str]) -> Profile:
    """Database, schema and administrator, by the superuser's fresh password; returns the saved profile."""
    asked = sa.text("select 1 from pg_database where datname = :name")
    with (
        _engine(_login(started, SUPERUSER, started.password, "postgres")) as engine,
        database.translated(),
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection,
    ):
        if connection.execute(asked, {"name": DATABASE}).first() is None:
            connection.execute(sa.text(f"create database {DATABASE}"))
        for other in ("postgres", "template1"):
            # every login gets into these by default, and could fill the disk there or keep databases from being made
            connection.execute(sa.text(f"revoke connect, temporary on database {other} from public"))
    with _engine(_login(started, SUPERUSER, started.password)) as engine:
        admin.upgrade_schema(engine)
        return _administrator(started, engine, profile_name, remarks)


def _administrator(started: Started, engine: sa.Engine, profile_name: str, remarks: list[str]) -> Profile:
    kept = _saved(profile_name)
    name = kept.user if kept is not None and kept.tls == "loopback" else _own_name()
    chosen = Profile(
        name=profile_name, host="127.0.0.1", port=started.port, database=DATABASE, user=name, tls="loopback"
    )
    known = {user.name for user in admin.list_users(engine)}
    password = profile.password(chosen) if kept == chosen else None
    if name in known and password is not None:
        with contextlib.suppress(QuarterdeckError):
            Session.sign_in(_login(started, name, password)).close()
            return chosen
    password = secrets.token_urlsafe(24)
    if name in known:
        admin.set_password(engine, name, password)
    else:
        admin.create_user(engine, name, password, admin=True)
    file = profile.save(chosen, password)
    if file is not None:
        remarks.append(f"this computer has no keyring: the password of {name} is kept in {file}, readable by you alone")
    return chosen


def _known(started: Started, profile_name: str) -> Profile:
    """The profile of a server that ran before: its superuser's password is not known here."""
    kept = _saved(profile_name)
    reason = "it has no profile here"
    if kept is not None and kept.port == started.port:
        try:
            Session.connect(kept).close()
        except QuarterdeckError as error:
            reason = str(error)
        else:
            return kept
    elif kept is not None:
        reason = f"profile '{profile_name}' is another cluster's, on port {kept.port}"
    raise Conflict(
        f"the cluster in {started.server.data} runs already, but you can't be signed in ({reason}); "
        "name its profile by --profile, or stop and start it"
    )


def _saved(name: str) -> Profile | None:
    return profile.load(name) if name in profile.names() else None


def _own_name() -> str:
    """The person's name on this computer as a login's: small letters, digits and . _ -."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = ""
    name = re.sub(r"[^a-z0-9._-]", "", name.lower())[:31]
    return name if re.match(r"^(?!pg_|qd_|node_)[a-z]", name) and name != SUPERUSER else "admin"


@contextlib.contextmanager
def _engine(login: Login) -> Iterator[sa.Engine]:
    engine = database.engine(login, statement_timeout=300)
    try:
        yield engine
    finally:
        engine.dispose()


def secret_places() -> list[Path]:
    """Where this account's passwords are: our own file of them, and the keyrings of desktops with the ways to them."""
    found = [profile.folder(), *(Path.home() / ".local" / "share" / name for name in ("keyrings", "kwalletd"))]
    if hasattr(os, "getuid"):
        run = Path(f"/run/user/{os.getuid()}")
        found += [run / "bus", run / "keyring"]
    return found


def _spawn(login: Login, name: str, slots: int, labels: tuple[str, ...], data: Path, run_as: str | None) -> _Detached:
    nodes = data / "nodes"
    folder = nodes / name
    folder.mkdir(parents=True, exist_ok=True)
    nodes.chmod(0o711 if is_root() else 0o700)
    asked = {
        "login": {key: value for key, value in dataclasses.asdict(login).items() if key != "root_certificate"},
        "root_certificate": None if login.root_certificate is None else str(login.root_certificate),
        "name": name,
        "slots": slots,
        "labels": list(labels),
        "data": str(nodes),
        "run_as": run_as,
        "hidden": [str(one) for one in (*secret_places(), data / "pg", data / "log")],
    }
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("QUARTERDECK_", "PG"))}
    with open(folder / "start.log", "wb", opener=_private) as log:
        process = _Detached(
            module_command("quarterdeck.agent"),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=folder,
            env=environment,
            start_new_session=True,
            creationflags=0x00000208 if sys.platform == "win32" else 0,
        )
    _agents[:] = [process, *_still_running()]
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:
        process.stdin.write(json.dumps(asked).encode() + b"\n")
    return process


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _await_up(session: Session, name: str, since: dt.datetime, process: _Detached, log: Path) -> None:
    deadline = time.monotonic() + _UP_WITHIN
    while time.monotonic() < deadline:
        if process.poll() is not None:
            last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["no reason given"])[-1]
            raise Conflict(f"node {name} ended at once: {last} (see {log})")
        with contextlib.suppress(Disconnected):
            node = next((one for one in session.nodes() if one.name == name), None)
            if node is not None and node.state == "up" and node.heartbeat is not None and node.heartbeat > since:
                return
        time.sleep(0.05)
    raise Conflict(f"node {name} did not come up within {_UP_WITHIN:g} s (see {log})")
