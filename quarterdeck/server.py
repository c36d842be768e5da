"""The embedded server: one PostgreSQL on this computer, reached over loopback with scram passwords only.

All that is needed is a folder of PostgreSQL binaries (`find_binaries`) and a folder of its own (`Server.data`):

    server = Server.at(folder)
    started = server.ensure()       # created when missing, started when not running
    started.port                    # where it listens on 127.0.0.1
    started.password                # the superuser's, None when it was running already

No password is stored. The superuser gets a fresh one before each start, by the single-user mode that needs no login;
only the process that started the server knows it, for as long as it needs it.

    data/
      pg/             the database (owned by the account it runs as)
      log/            start.log and a week of server-*.log
      server.lock     held while a start or stop is under way
      postgresql-18.4/    a copy of the binaries, only where the account can't read the original
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import random
import re
import secrets
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import psutil
from platformdirs import user_data_path

from quarterdeck.binaries import (
    OLDEST,
    Tools,
    database_account,
    find_binaries,
    is_root,
    readable_binaries,
    reason,
    version,
)
from quarterdeck.errors import Conflict, Disconnected, Invalid
from quarterdeck.scram import scram_verifier

__all__ = ["OLDEST", "SUPERUSER", "Server", "Started", "default_data", "find_binaries", "scram_verifier", "version"]

SUPERUSER = "postgres"

_STARTING = 600.0  # crash recovery of a large database may take minutes
_RETRY = 15.0  # after a crash, backends of the last run hold the shared memory for seconds
_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")
_ORPHANS = 2.0  # those that have not ended by themselves after this time are ended

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # a socket's path has a limit of 107 bytes, and its folder may be missing
    "unix_socket_directories": "",
    "max_connections": "200",
    # for nodes: people who use up all others keep no task from its database
    "reserved_connections": "20",
    "shared_buffers": "256MB",
    "password_encryption": "scram-sha-256",
    "idle_in_transaction_session_timeout": "5min",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "on",
    "log_directory": "../log",
    "log_filename": "server-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    # a failed ALTER ROLE ... PASSWORD would put the password into the log
    "log_min_error_statement": "panic",
}

_HBA = """\
# Passwords by scram, from this computer only. Others reach the server only with TLS: use hostssl for them.
host all all 127.0.0.1/32 scram-sha-256
host all all ::1/128      scram-sha-256
"""

# what passes by itself: another program took the port, or the last run's processes are not all gone yet
_PASSING = (
    "pre-existing shared memory block",
    'lock file "postmaster.pid" already exists',
    "could not create any TCP/IP sockets",
)


class _Postmaster(NamedTuple):
    pid: int
    port: int
    status: str


@dataclass(frozen=True, slots=True)
class Started:
    """A running server. `password` is the superuser's if this call set it, else None."""

    server: Server
    port: int
    password: str | None = field(default=None, repr=False)

    def conninfo(self, database: str = "postgres") -> str:
        """The superuser's connection string, as psycopg takes it.

        :raises Conflict: the server was running already, so its superuser's password isn't known
        """
        if self.password is None:
            raise Conflict(
                f"The server on port {self.port} was running already, so its superuser's password is not known here; "
                "stop it and start it again."
            )
        return (
            f"host=127.0.0.1 port={self.port} dbname={_conninfo_value(database)} "
            f"user={SUPERUSER} password={_conninfo_value(self.password)}"
        )


def _conninfo_value(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def default_data() -> Path:
    """The folder of the embedded server when none is named.

    For root below /var/lib: the database runs as another account, which can't reach root's home.
    """
    if sys.platform != "win32" and os.geteuid() == 0:
        return Path("/var/lib/quarterdeck")
    return user_data_path("quarterdeck", appauthor=False) / "cluster"


@dataclass(frozen=True, slots=True)
class Server:
    """The embedded server of a folder. Any number of processes may hold one and call it at the same time.

    `data`: the server's folder, made when missing. `binaries`: PostgreSQL's bin folder.
    """

    data: Path
    binaries: Path

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", Path(self.data).resolve())
        object.__setattr__(self, "binaries", Path(self.binaries).resolve())

    @classmethod
    def at(cls, data: Path, setting: Path | None = None) -> Server:
        """The server of `data`, with binaries of the version that created it, or the best ones when it is new."""
        with contextlib.suppress(FileNotFoundError):
            text = _read(data / "pg" / "PG_VERSION", data)
            return cls(data, find_binaries(setting, major=int(text)))
        return cls(data, find_binaries(setting))

    @property
    def pg(self) -> Path:
        """PostgreSQL's own data folder."""
        return self.data / "pg"

    @property
    def created(self) -> bool:
        try:
            _read(self.pg / "PG_VERSION", self.data)
        except FileNotFoundError:
            return False
        return True

    @property
    def port(self) -> int | None:
        """The port it listens on, or will at the next start; None before the first."""
        if running := self._postmaster():
            return running.port
        with contextlib.suppress(FileNotFoundError):
            if found := re.findall(
                r"^port = '(\d+)'", _read(self.pg / "postgresql.auto.conf", self.data), re.MULTILINE
            ):
                return int(found[-1])
        return None

    def running(self) -> int | None:
        """The process id of the running server, None when it does not run."""
        return running.pid if (running := self._postmaster()) else None

    def create(self, superuser_password: str, settings: Mapping[str, str] | None = None) -> None:
        """Create the database, with scram on loopback as the only way in.

        :param settings: more of PostgreSQL's settings, or other values
        :raises Conflict: there is one already
        """
        with self._lock():
            self._create(superuser_password, settings)

    def start(self, *, reset_superuser: bool = False) -> Started:
        """Start it if it does not run already, and wait until it accepts logins.

        :param reset_superuser: give the superuser a fresh password (only when it does not run already)
        :raises Conflict: it does not come up, or is being stopped
        :raises Invalid: it would be reached from other computers without TLS; other binaries or account
        """
        if not self.data.is_dir():
            raise Conflict(f"There is no database in {self.data} yet; create it first.")
        with self._lock():
            return self._start(reset_superuser)

    def ensure(self, settings: Mapping[str, str] | None = None) -> Started:
        """Create it if missing, start it if not running: with the superuser's password unless it ran already."""
        with self._lock():
            if self.created:
                return self._start(reset_superuser=True)
            password = secrets.token_urlsafe(24)
            self._create(password, settings)
            return replace(self._start(reset_superuser=False), password=password)

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast", *, within: float = 60.0) -> bool:
        """Stop it and wait until its process is gone; False when it did not run.

        :raises Conflict: it did not stop within that many seconds
        """
        if not self.data.is_dir():
            return False
        with self._lock():
            running = self._postmaster()
            if running is None:
                return False
            tools = self._tools()
            tools.run("pg_ctl", "stop", "-D", self.pg, "-m", mode, "-w", "-t", max(1, round(within)), quiet=True)
            if not _until(lambda: self._postmaster() is None and not _alive(running.pid), 5.0):
                raise Conflict(
                    f"The server in {self.data} did not stop within {within:g} s; end process {running.pid}."
                )
            return True

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            new = not self.data.exists()
            self.data.mkdir(parents=True, exist_ok=True)
            if new:
                # the account that the database runs as must get through, no one needs to look
                self.data.chmod(0o711 if is_root() else 0o700)
            handle = os.open(self.data / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Invalid(
                f"The server's folder {self.data} can't be written ({error.strerror}); choose another one."
            ) from error
        try:
            if not _until(lambda: _locked(handle), _STARTING):
                raise Conflict(
                    f"Another process is starting or stopping the server in {self.data}; try again when it is done."
                )
            yield
        finally:
            os.close(handle)  # releases the lock

    def _tools(self) -> Tools:
        account = database_account(self.pg)
        return Tools(readable_binaries(self.binaries, account, self.data), account)

    def _postmaster(self) -> _Postmaster | None:
        try:
            lines = _read(self.pg / "postmaster.pid", self.data).splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        if pid < 1 or not _serves(pid, self.pg):  # negative: the single-user mode, which takes no logins
            return None
        return _Postmaster(pid, port, lines[7].strip() if len(lines) > 7 else "starting")

    def _create(self, password: str, settings: Mapping[str, str] | None) -> None:
        if self.created:
            raise Conflict(f"There is a database in {self.data} already; start it, or choose another folder.")
        if not password or "\n" in password or "\0" in password:
            raise Invalid("The superuser's password must be one line of text.", field="superuser_password")
        tools = self._tools()
        chosen = {**_SETTINGS, **(settings or {})}
        # under another name until it is complete, so that an interrupted creation is no half database
        new = self.data / "pg.new"
        shutil.rmtree(new, ignore_errors=True)
        for folder in (new, self.data / "log"):
            folder.mkdir(mode=0o700, exist_ok=True)
            tools.give(folder)
        secret = self.data / f"initdb-{secrets.token_hex(8)}"
        try:
            tools.write(secret, password + "\n")
            options = ["--encoding=UTF8", f"--locale={'C.UTF-8' if sys.platform == 'linux' else 'C'}"]
            if version(tools.binaries)[0] >= 17:
                options += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if chosen.get("fsync") == "off":
                options += ["--no-sync"]
            options += [f"--username={SUPERUSER}", f"--pwfile={secret}", "--auth=scram-sha-256"]
            done = tools.run("initdb", "-D", new, *options)
        finally:
            secret.unlink(missing_ok=True)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Conflict(f"The database in {self.data} could not be created: {why}")
        tools.write(new / "pg_hba.conf", _HBA)
        tools.set(new / "postgresql.auto.conf", {**chosen, "port": str(_free_port())})
        new.rename(self.pg)

    def _start(self, reset_superuser: bool) -> Started:
        if running := self._settled():
            return Started(self, running.port)
        if not self.created:
            raise Conflict(f"There is no database in {self.data} yet; create it first.")
        tools = self._tools()
        _check(tools, self.data)
        password = secrets.token_urlsafe(24) if reset_superuser else None
        verifier = scram_verifier(password) if password else None
        begun = time.monotonic()
        while True:
            self._clear_stale()
            why = _reset_superuser(tools, self.pg, verifier) if verifier else None
            if why is None:
                verifier = None
                self._claim_port(tools)
                why = self._launch(tools)
            if why is None and (running := self._settled()):
                return Started(self, running.port, password)
            waited = time.monotonic() - begun
            if waited > _RETRY or not any(text in (why or "") for text in _PASSING):
                raise Conflict(
                    f"The server in {self.data} does not start: {why or 'it ended at once'} (see {self.data / 'log'})."
                )
            if waited > _ORPHANS and not self._postmaster():
                _end_orphans(self.pg)
            time.sleep(0.1)

    def _settled(self) -> _Postmaster | None:
        """The running server once it accepts logins, None when there is none or it has stopped."""
        seen: list[_Postmaster | None] = []

        def settled() -> bool:
            found = self._postmaster()
            seen[:] = [found]
            # one that was just killed still has its process and a file that says "ready", but it does not answer
            return found is None or (found.status == "ready" and _answers(found.port))

        if not _until(settled, _STARTING):
            raise Conflict(f"The server in {self.data} is neither up nor down ({seen[0]}); see {self.data / 'log'}.")
        return seen[0]

    def _clear_stale(self) -> None:
        """Remove a dead server's pid file if another process has its number now: PostgreSQL would take that for it."""
        file = self.pg / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(_read(file, self.data).splitlines()[0])
            if psutil.pid_exists(abs(pid)) and not _serves(abs(pid), self.pg):
                file.unlink(missing_ok=True)

    def _claim_port(self, tools: Tools) -> None:
        port = self.port
        if port is None or not _is_free(port):
            tools.set(self.pg / "postgresql.auto.conf", {"port": str(_free_port())})

    def _launch(self, tools: Tools) -> str | None:
        folder = self.data / "log"
        start = folder / "start.log"
        start.unlink(missing_ok=True)
        before = {file: file.stat().st_size for file in folder.glob("*.log")}
        done = tools.run("pg_ctl", "start", "-D", self.pg, "-w", "-t", "60", "-l", start, quiet=True)
        if done.returncode == 0 or self._postmaster():
            return None
        written = [file.read_bytes()[before.get(file, 0) :] for file in sorted(folder.glob("*.log"), reverse=True)]
        return reason(b"\n".join(written).decode("utf-8", "replace")) or "no reason given"


def _check(tools: Tools, data: Path) -> None:
    """Refuse what must not start: another version's database, or an open door without TLS."""
    pg = data / "pg"
    have, full = version(tools.binaries)
    need = _read(pg / "PG_VERSION", data).strip()
    if need != str(have):
        raise Invalid(
            f"The database in {data} is of PostgreSQL {need}, but the binaries in {tools.binaries} are {full}; "
            f"use those of {need}, or upgrade it with pg_upgrade."
        )
    addresses = tools.setting(pg, "listen_addresses")
    if all(_is_loopback(address.strip()) for address in addresses.split(",") if address.strip()):
        return
    if not tools.setting(pg, "ssl_library") or tools.setting(pg, "ssl") != "on":
        raise Invalid(
            f"The server in {data} would listen on '{addresses}' without TLS; "
            "set listen_addresses to 127.0.0.1, or use binaries with TLS and set up ssl.",
            field="listen_addresses",
        )


def _reset_superuser(tools: Tools, pg: Path, verifier: str) -> str | None:
    statement = f"ALTER ROLE {SUPERUSER} LOGIN PASSWORD '{verifier}';\n"
    done = tools.run("postgres", "--single", "-D", pg, "--exit_on_error=true", "postgres", stdin=statement)
    return reason(done.stderr) or "single-user mode failed" if done.returncode else None


def _end_orphans(pg: Path) -> None:
    """End a dead server's backends: a busy one would hold the shared memory until its statement is done."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name().startswith("postgres") and Path(process.cwd()) == pg:
                process.kill()


def _read(file: Path, data: Path) -> str:
    try:
        return file.read_text("utf-8")
    except NotADirectoryError as error:
        raise FileNotFoundError(str(file)) from error
    except PermissionError as error:
        raise Invalid(f"The server in {data} belongs to another account; sign in as that one.") from error


def _alive(pid: int) -> bool:
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False


def _serves(pid: int, pg: Path) -> bool:
    """Whether that process is the server of that folder: after a crash another may have its number."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or not process.name().startswith("postgres"):
            return False
        command = process.cmdline()
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
    if "-D" not in command[:-1]:
        return True
    folder = Path(command[command.index("-D") + 1])
    return not folder.is_absolute() or folder.resolve() == pg


def _answers(port: int) -> bool:
    """Whether a PostgreSQL answers there. A mere connection proves nothing: the kernel makes it for a killed one too.

    It is asked whether it speaks TLS (SSLRequest, PostgreSQL's protocol, "Message Formats"): a byte, without a login.
    """
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(_SSL_REQUEST)
            return connection.recv(1) in (b"N", b"S")
    except OSError:
        return False


def _until(condition: Callable[[], bool], within: float) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _locked(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        if sys.platform != "win32":
            # as PostgreSQL does: a port whose last connections linger is free; on Windows this would share a used one
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _free_port() -> int:
    """A free port below those that systems hand out to outgoing connections, so that it stays free."""
    for port in random.sample(range(20000, 32000), 200):
        if _is_free(port):
            return port
    raise Disconnected("No free port was found between 20000 and 32000 on this computer; end programs that hold them.")
