"""Under which account of the system a task runs, and giving up all rights but that account's (R3).

A node that root starts holds the node's password in a process of root's. Its tasks are another account's, so that they
can read neither that process nor the files of this machine's services: without a wish, each has a number of its own
for as long as it runs, so that tasks of several people are closed to each other as well.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quarterdeck.agent import process
from quarterdeck.errors import Invalid

__all__ = ["OWN", "Account", "Accounts", "become", "drop_capabilities"]

OWN = "root"
"""What to say for tasks that are root's, as the node is: they can read the node's password."""

# what systemd gives to services that want a number for as long as they run: no account of a person or a package has it
_FIRST, _COUNT = 61184, 4096


@dataclass(frozen=True, slots=True)
class Account:
    """An account of the system, or just a number. `groups`: which it is in besides its own."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Account:
        return cls(found["name"], found["uid"], found["gid"], tuple(found["groups"]))


class Accounts:
    """Which account each task of a node gets; safe from any thread."""

    def __init__(self, wished: str | None) -> None:
        """`wished`: an account's name; None for what is right by itself.

        Raises:
            Invalid: there is no such account, or only root may run tasks as another one.
        """
        self.fixed: Account | None = None
        self._own_numbers = False
        self._lock = threading.Lock()
        self._taken: set[int] = set()
        if sys.platform == "win32":
            if wished is not None:
                raise Invalid("on Windows a node's tasks run as the node's own account", field="run_as")
            return
        import pwd

        if os.geteuid() != 0:
            if wished is not None and wished != pwd.getpwuid(os.geteuid()).pw_name:
                raise Invalid(
                    f"only a node that root starts can run its tasks as another account ('{wished}')", field="run_as"
                )
            return
        if wished is None:
            self._own_numbers = True
            return
        try:
            entry = pwd.getpwnam(wished)
        except KeyError:
            raise Invalid(
                f"this machine has no account '{wished}' for tasks to run as: make it, or name another one",
                field="run_as",
            ) from None
        if entry.pw_uid != 0:
            groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
            self.fixed = Account(entry.pw_name, entry.pw_uid, entry.pw_gid, tuple(groups))

    @property
    def example(self) -> Account | None:
        """One like those that tasks get; None when they are the agent's own."""
        return _numbered(_FIRST) if self._own_numbers else self.fixed

    def take(self, task: int) -> Account | None:
        """The account for a task that starts now; None for the agent's own. Give it back when no process of it lives.

        Raises:
            Invalid: none is free.
        """
        if not self._own_numbers:
            return self.fixed
        with self._lock:
            used = self._taken | _running()
            for step in range(_COUNT):
                uid = _FIRST + (task + step) % _COUNT
                if uid not in used and not _named(uid):
                    self._taken.add(uid)
                    return _numbered(uid)
        raise Invalid(f"no number from {_FIRST} to {_FIRST + _COUNT - 1} is free for a task to run as")

    def give_back(self, account: Account | None) -> None:
        if account is not None:
            with self._lock:
                self._taken.discard(account.uid)


def _numbered(uid: int) -> Account:
    return Account(f"number {uid}", uid, uid)


def _named(uid: int) -> bool:
    import pwd

    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _running() -> set[int]:
    """Numbers whose processes run, another node's on this machine too."""
    found = set()
    with contextlib.suppress(OSError), os.scandir("/proc") as entries:
        for entry in entries:
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    found.add(entry.stat().st_uid)
    return found


def become(account: Account, *handles: int) -> None:
    """Be that account for good, without any right of root's; the descriptors become the account's too.

    A death signal that was set before is gone with it.
    """
    for handle in handles:
        # whoever opens /dev/stdout opens the pipe anew
        os.fchown(handle, account.uid, account.gid)
    process.no_new_privileges()
    _drop_bounds()
    os.setgroups(account.groups)
    if hasattr(os, "setresuid"):
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
    else:  # macOS: as root both set the saved one too
        os.setgid(account.gid)
        os.setuid(account.uid)


_CAPABILITIES = 64
_VERSION_3 = 0x20080522


def _drop_bounds() -> None:
    """What no program that is started from here on can have."""
    process.clear_ambient()
    for number in range(_CAPABILITIES):
        process.drop_bound(number)


def drop_capabilities() -> None:
    """Give up every single right of root's, also those in a user namespace of one's own (Linux)."""
    process.no_new_privileges()
    _drop_bounds()
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, nothing) != 0:
        raise OSError(ctypes.get_errno(), "the capabilities can't be dropped")
