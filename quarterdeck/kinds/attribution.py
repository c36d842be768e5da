"""The kind `attribution`: where a portfolio's return came from (A1)."""

from __future__ import annotations

from quarterdeck import columns
from quarterdeck.kinds.kind import Kind

KIND = Kind(
    key="attribution",
    title="Attribution",
    columns=(
        columns.name("Attribution Template"),
        columns.STATUS,
        columns.RUN_TIME,
        columns.CREATION_TIME,
        columns.CREATOR,
        columns.NODE,
    ),
)
