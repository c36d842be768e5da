"""From columns of any length to arrays small enough to draw. numpy only; missing is NaN, nothing is infinite."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quarterdeck.report.shapes import Floats

__all__ = [
    "MAX_POINTS",
    "Indices",
    "bars_of",
    "bin_edges",
    "counts",
    "evenly",
    "peaks",
    "quartiles",
    "thinned",
    "trend",
]

Indices = npt.NDArray[np.int64]
MAX_POINTS = 4_000


def peaks(y: Floats, most: int = MAX_POINTS) -> Indices:
    """Which of the values to draw, in order: the first and last, and of each stretch the lowest, the highest, and where
    it has gaps one gap. All of them when there are no more than `most`."""
    n = len(y)
    if n <= most:
        return np.arange(n)
    gaps = np.isnan(y)
    stretches = (most - 2) // (3 if gaps.any() else 2)
    size = -(-n // stretches)
    whole = -(-n // size)
    padded = np.full(whole * size, np.nan)
    padded[:n] = y
    table = padded.reshape(whole, size)
    starts = np.arange(whole) * size
    low = np.where(np.isnan(table), np.inf, table).argmin(axis=1) + starts
    high = np.where(np.isnan(table), -np.inf, table).argmax(axis=1) + starts
    chosen = [np.array([0, n - 1]), low, high]
    if gaps.any():
        missing = np.isnan(table)
        first = missing.argmax(axis=1)
        chosen.append((first + starts)[missing.any(axis=1)])
    found = np.unique(np.concatenate(chosen))
    return found[found < n].astype(np.int64)


def evenly(n: int, most: int) -> Indices:
    """`most` of `n` places at even distances, the first and the last among them; all when there are no more."""
    if n <= most:
        return np.arange(n)
    return np.unique(np.linspace(0, n - 1, most).round().astype(np.int64))


def thinned(x: Floats, y: Floats, most: int = MAX_POINTS) -> Indices:
    """Which of the points to draw: the first one of each place of a grid over them, so that outliers stay."""
    n = len(x)
    if n <= most:
        return np.arange(n)
    side = int(np.sqrt(most))
    cells = _places(x, side) * side + _places(y, side)
    first = np.full(side * side, -1, np.int64)
    first[cells[::-1]] = np.arange(n - 1, -1, -1)  # of several writes to one place the last one stays
    return np.sort(first[first >= 0])


def _places(values: Floats, places: int) -> Indices:
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return np.zeros(len(values), np.int64)
    half = high / 2 - low / 2  # the whole span may be beyond what a float holds
    share = np.clip((values / 2 - low / 2) / half, 0, 1)
    return np.minimum((share * places).astype(np.int64), places - 1)


def bin_edges(values: Floats, bins: int | None) -> Floats:
    """The edges of a histogram: `bins` equal ones, or by Freedman and Diaconis (2 IQR / n^(1/3)) from 5 to 100; one bin
    around a constant."""
    low, high = float(values.min()), float(values.max())
    if low == high:
        half = max(abs(low) * 0.01, 0.5)
        return np.array([max(low - half, -np.finfo(float).max), min(low + half, np.finfo(float).max)])
    if bins is None:
        first, third = np.percentile(values, [25, 75])
        width = 2 * (third - first) / len(values) ** (1 / 3)
        half_span = high / 2 - low / 2
        bins = int(np.clip(np.ceil(half_span / (width / 2)), 5, 100)) if width > 0 else 30
    edges = np.linspace(low / 2, high / 2, bins + 1) * 2
    edges[0], edges[-1] = low, high
    return np.unique(edges)


def counts(values: Floats, edges: Floats) -> Floats:
    """How many values are in each bin; a value on an edge is in the bin above it, on the last one in the last bin."""
    place = np.searchsorted(edges, values, side="right") - 1
    inside = (values >= edges[0]) & (values <= edges[-1])
    place = np.minimum(place[inside], len(edges) - 2)
    return np.bincount(place, minlength=len(edges) - 1).astype(np.float64)


def quartiles(values: Floats) -> tuple[float, float, float, float, float, Floats]:
    """Lower whisker, quartiles, upper whisker, and what is beyond the whiskers, the farthest 100 of it."""
    first, median, third = (float(one) for one in np.percentile(values, [25, 50, 75]))
    reach = 1.5 * (third - first)
    inside = values[(values >= first - reach) & (values <= third + reach)]
    low, high = (float(inside.min()), float(inside.max())) if len(inside) else (first, third)
    out = values[(values < low) | (values > high)]
    if len(out) > 100:
        distance = np.abs(out - median)
        out = out[np.argsort(-distance, kind="stable")[:100]]
    return min(low, first), first, median, third, max(high, third), np.sort(out)


def trend(x: Floats, y: Floats) -> tuple[float, float] | None:
    """Slope and intercept by least squares; None where x does not vary or they are not finite."""
    if len(x) < 2:
        return None
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        middle_x, middle_y = x.mean(), y.mean()
        away = x - middle_x
        spread = float((away * away).sum())
        if not spread > 0:
            return None
        slope = float((away * (y - middle_y)).sum() / spread)
        intercept = float(middle_y - slope * middle_x)
    return (slope, intercept) if np.isfinite(slope) and np.isfinite(intercept) else None


def bars_of(
    time: Floats, prices: tuple[Floats, Floats, Floats, Floats], volume: Floats | None, most: int = MAX_POINTS
) -> tuple[Floats, tuple[Floats, Floats, Floats, Floats], Floats | None, int]:
    """Bars of prices (open, high, low, close), several as one where there are more than `most`; how many are one."""
    n = len(time)
    size = -(-n // most) if n > most else 1
    if size == 1:
        return time, prices, volume, 1
    starts = np.arange(0, n, size)
    ends = np.minimum(starts + size, n) - 1
    opens, highs, lows, closes = prices
    merged = (opens[starts], np.maximum.reduceat(highs, starts), np.minimum.reduceat(lows, starts), closes[ends])
    summed = None if volume is None else np.add.reduceat(np.nan_to_num(volume), starts)
    return time[starts], merged, summed, size
