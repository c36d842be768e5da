"""What a run was computed with: versions of Python, Quarterdeck and the packages that make numbers (F1)."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PACKAGES", "table"]

PACKAGES = ("quarterdeck", "numpy", "polars", "pandas", "pyarrow", "scipy")


def table() -> pa.Table:
    """A table (item, value), to be written as `environment`; packages that are not installed are left out."""
    import pyarrow as pa

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    found["system"] = f"{platform.system()} {platform.machine()}"
    return pa.table({"item": list(found), "value": list(found.values())})
