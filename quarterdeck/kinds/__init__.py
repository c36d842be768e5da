"""The seven kinds of job, in the order of the window's tabs (M1)."""

from __future__ import annotations
