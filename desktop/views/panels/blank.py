"""When there is nothing to see in a panel's data, the sentence that says so."""

from __future__ import annotations

from typing import Any

import numpy as np

from quarterdeck.report import shapes

__all__ = ["said"]

_NONE = "There are no values to show."
_MISSING = "All values are missing."


def said(data: Any) -> str:
    """The sentence in the drawing's place: the data's own, or why its drawing would be empty; else nothing."""
    own: str = data.said
    return own or _nothing(data)


def _seen(values: Any) -> bool:
    return bool(np.isfinite(np.asarray(values, dtype=float)).any())


def _nothing(data: Any) -> str:
    match data:
        case shapes.Lines() | shapes.Bars():
            if not any(len(one.x) for one in data.series):
                return _NONE
            return "" if any((np.isfinite(one.x) & np.isfinite(one.y)).any() for one in data.series) else _MISSING
        case shapes.Points():
            return (
                "" if (np.isfinite(data.at_x) & np.isfinite(data.at_y)).any() else _MISSING if len(data.at_x) else _NONE
            )
        case shapes.Bins():
            return "" if len(data.edges) > 1 and any(one.counts.sum() > 0 for one in data.groups) else _NONE
        case shapes.Grid():
            return "" if _seen(data.values) else _MISSING if data.values.size else _NONE
        case shapes.Boxes():
            return "" if _seen(data.median) else _MISSING if len(data.labels) else _NONE
        case shapes.Slices():
            return "" if len(data.labels) and data.values.sum() > 0 else _NONE
        case shapes.Candles():
            return "" if _seen(data.close) else _MISSING if len(data.time) else _NONE
        case shapes.Rows():
            return "" if data.columns and data.first is not None and data.first.num_rows else "There are no rows."
        case shapes.Parallel():
            return "" if _seen(data.values) else _MISSING if len(data.values) else _NONE
    return ""
