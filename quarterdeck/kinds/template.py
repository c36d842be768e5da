"""The kind `template`: a visualization template drawn over chosen jobs and tables (V1)."""

from __future__ import annotations

from quarterdeck import columns
from quarterdeck.kinds.kind import Kind

KIND = Kind(
    key="template",
    title="Visualization Template",
    columns=(
        columns.name("Name"),
        columns.STATUS,
        columns.RUN_TIME,
        columns.CREATION_TIME,
        columns.DATA_TYPE,
        columns.CREATOR,
        columns.NODE,
    ),
)
