"""The seven kinds of job, in the order of the window's tabs (M1)."""

from __future__ import annotations

from quarterdeck.errors import NotFound
from quarterdeck.kinds import attribution, backtest, data_import, evaluation, factor, template, workflow
from quarterdeck.kinds.kind import Choice, Facts, Kind, Misfit, Section, TaskPlan

__all__ = ["KINDS", "Choice", "Facts", "Kind", "Misfit", "Section", "TaskPlan", "kind"]

KINDS: tuple[Kind, ...] = (
    factor.KIND,
    evaluation.KIND,
    backtest.KIND,
    attribution.KIND,
    workflow.KIND,
    data_import.KIND,
    template.KIND,
)

_BY_KEY = {one.key: one for one in KINDS}


def kind(key: str) -> Kind:
    """The kind of that key.

    Raises:
        NotFound: there is none.
    """
    try:
        return _BY_KEY[key]
    except KeyError:
        raise NotFound(f"there is no kind '{key}'; the kinds are {', '.join(_BY_KEY)}") from None
