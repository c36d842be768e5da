"""Files of other people: what keeps this process out, said with the account that it runs as."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["barrier", "me", "out_of_reach"]


def me() -> str:
    """The account of the system that this process runs as, by its name, or its number where it has none."""
    if sys.platform == "win32":
        import getpass

        return f"the account '{getpass.getuser()}'"
    import pwd

    try:
        return f"the account '{pwd.getpwuid(os.geteuid()).pw_name}'"
    except KeyError:
        return f"the account number {os.geteuid()}"


def barrier(path: str | Path) -> Path | None:
    """What keeps this process from a file or folder: itself, or a folder above it that can't be entered or looked into.

    None when nothing does, and when it is just not there.
    """
    place = Path(path).absolute()
    above = None
    for folder in reversed(place.parents):
        if not os.access(folder, os.X_OK):
            # one that is not there can be told only by looking into the one above
            return folder if _is_there(folder) else above
        above = None if os.access(folder, os.R_OK) else folder
    if not _is_there(place):
        return above
    return None if os.access(place, os.R_OK) else place


def _is_there(path: Path) -> bool:
    try:
        return os.path.lexists(path)
    except OSError:
        return True


def out_of_reach(path: str | Path) -> str | None:
    """One sentence about a file or folder that this process can't get to for want of rights, else None."""
    found = barrier(path)
    if found is None:
        return None
    where = "it" if found == Path(path).absolute() else f"the folder {found}"
    return (
        f"{path} can't be read on this node as {me()}, which its tasks run as: open {where} to that account, "
        "or put the data below a folder open to all"
    )
