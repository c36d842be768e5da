"""Trailing windows that Polars does not have, or not accurately, over one long column of numbers.

All take and give arrays of the same length; missing is NaN. The value at row i is that of rows i-n+1 ... i; the first
n-1 are NaN, and so is each window with a NaN in it. Rows of several symbols may follow each other in an array when
the caller discards the windows that begin in the symbol before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["correlation", "covariance", "decay_linear", "product", "since_max", "since_min"]

Numbers = NDArray[np.float64]

# elements of a block of windows: large enough for numpy's speed, small enough to stay near the processor
BLOCK = 1 << 19
STRIPE = 1 << 13


def _each(n: int, reduce: Callable[..., Numbers], *columns: Numbers) -> Numbers:
    rows = len(columns[0])
    out = np.full(rows, np.nan)
    step = max(1, BLOCK // n)
    with np.errstate(all="ignore"):
        for start in range(n - 1, rows, step):
            stop = min(start + step, rows)
            out[start:stop] = reduce(*(sliding_window_view(column[start - n + 1 : stop], n) for column in columns))
    return out


def _missing(n: int, column: Numbers) -> NDArray[np.bool_]:
    counts = np.concatenate(([0], np.cumsum(np.isnan(column))))
    missing = np.ones(len(column), dtype=bool)
    if len(column) >= n:
        missing[n - 1 :] = counts[n:] > counts[:-n]
    return missing


def _moments(x: Numbers, y: Numbers, n: int) -> tuple[Numbers, Numbers, Numbers]:
    """The sums of products of deviations from the window's means: of x and y, of x twice, of y twice.

    In two passes, one row of each window at a time. The means are taken of differences to the oldest row, so that a
    window of equal numbers has sums of exactly zero.
    """
    rows = len(x)
    sums = tuple(np.full(rows, np.nan) for _ in range(3))
    with np.errstate(all="ignore"):
        for start in range(n - 1, rows, STRIPE):
            stop = min(start + STRIPE, rows)
            size = stop - start
            a, b = x[start - n + 1 : stop], y[start - n + 1 : stop]
            a_mean, b_mean = np.zeros(size), np.zeros(size)
            for row in range(1, n):
                a_mean += a[row : row + size] - a[:size]
                b_mean += b[row : row + size] - b[:size]
            a_mean, b_mean = a[:size] + a_mean / n, b[:size] + b_mean / n
            xy, xx, yy = np.zeros(size), np.zeros(size), np.zeros(size)
            for row in range(n):
                u, v = a[row : row + size] - a_mean, b[row : row + size] - b_mean
                xy += u * v
                u *= u
                v *= v
                xx += u
                yy += v
            for total, part in zip(sums, (xy, xx, yy), strict=True):
                total[start:stop] = part
    return sums[0], sums[1], sums[2]


def covariance(x: Numbers, y: Numbers, n: int) -> Numbers:
    """The sample covariance (ddof 1) of the last n pairs."""
    return _moments(x, y, n)[0] / (n - 1)


def correlation(x: Numbers, y: Numbers, n: int) -> Numbers:
    """Pearson's correlation of the last n pairs; NaN where either side does not vary."""
    xy, xx, yy = _moments(x, y, n)
    with np.errstate(all="ignore"):
        # one root after the other: the product of two small sums would underflow
        ratio: Numbers = np.clip(xy / (np.sqrt(xx) * np.sqrt(yy)), -1.0, 1.0)
    return ratio


def decay_linear(x: Numbers, n: int) -> Numbers:
    """The mean weighted n for the latest row down to 1 for the oldest."""
    weights = np.arange(1, n + 1, dtype=np.float64)
    weights /= weights.sum()
    return _each(n, lambda windows: windows @ weights, x)


def product(x: Numbers, n: int) -> Numbers:
    """The product of the last n numbers."""
    return _each(n, lambda windows: windows.prod(axis=1), x)


def since_max(x: Numbers, n: int) -> Numbers:
    """Rows since the largest of the last n numbers: 0 is the current row; of equal ones the latest counts."""
    rows = _each(n, lambda windows: windows[:, ::-1].argmax(axis=1).astype(np.float64), x)
    rows[_missing(n, x)] = np.nan
    return rows


def since_min(x: Numbers, n: int) -> Numbers:
    """Rows since the smallest of the last n numbers: 0 is the current row; of equal ones the latest counts."""
    return since_max(-x, n)
