"""The kind `evaluation`: how well a factor foretells returns (E1)."""

from __future__ import annotations

from quarterdeck import columns
from quarterdeck.kinds.kind import Kind

KIND = Kind(
    key="evaluation",
    title="Factor Evaluation",
    columns=(
        columns.name("Evaluation Template"),
        columns.SUBJECT,
        columns.STATUS,
        columns.RUN_TIME,
        columns.START_TIME,
        columns.ORIGIN,
        columns.CREATOR,
        columns.NODE,
    ),
)
