"""The kind `workflow`: a graph of jobs of the other kinds (W1)."""

from __future__ import annotations

from quarterdeck import columns
from quarterdeck.kinds.kind import Kind

KIND = Kind(
    key="workflow",
    title="Workflow",
    columns=(
        columns.name("Name"),
        columns.STATUS,
        columns.RUN_TIME,
        columns.CREATION_TIME,
        columns.CREATOR,
        columns.NODE,
    ),
)
