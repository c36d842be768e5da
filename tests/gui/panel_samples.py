"""Panels of every type with data for them: ordinary ones, and those that break careless drawings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from quarterdeck.report import shapes
from quarterdeck.report.template import PANELS

DAY = 86400.0
START = 1_672_617_600.0  # 2023-01-02


def panel(kind: str, **changes: Any) -> Any:
    """A panel of that type with fields that fit `data`."""
    fields: dict[str, Any] = {
        "line": {"x": "time", "y": ["value"]},
        "area": {"x": "time", "y": ["value"]},
        "bar": {"x": "time", "y": ["value"]},
        "scatter": {"x": "a", "y": "b"},
        "histogram": {"value": "value"},
        "heatmap": {"x": "month", "y": "year", "value": "ic"},
        "box": {"x": "sector", "y": "value"},
        "pie": {"label": "sector", "value": "weight"},
        "candlestick": {},
        "table": {},
        "number": {"value": "value"},
        "parallel": {"columns": ["fast", "slow", "sharpe"]},
        "correlation": {},
    }[kind]
    document = {
        "id": kind,
        "type": kind,
        "title": kind.capitalize(),
        "source": "s",
        "place": {"row": 0},
        "fields": fields,
        **changes,
    }
    return PANELS[kind].model_validate(document)


def series(name: str, x: np.ndarray, y: np.ndarray) -> shapes.Series:
    good = y[np.isfinite(y)]
    return shapes.Series(
        name=name,
        x=x.astype(float),
        y=y.astype(float),
        full=len(x),
        mean=float(good.mean()) if good.size else np.nan,
        group=name,
    )


def walks(count: int = 5, length: int = 500, seed: int = 4) -> list[shapes.Series]:
    rng = np.random.default_rng(seed)
    x = START + DAY * np.arange(length)
    names = ("AAPL", "MSFT", "NVDA", "JPM", "XOM", "KO", "PG", "TSLA", "IBM", "GE", "F", "T")
    return [series(names[n % 12], x, np.cumsum(rng.normal(0, 0.01, length))) for n in range(count)]


def data(kind: str) -> Any:
    """Ordinary data for a panel of that type."""
    rng = np.random.default_rng(7)
    time = shapes.Axis(name="time", kind="time")
    match kind:
        case "line":
            found = walks()
            found[1].y[100:140] = np.nan
            return shapes.Lines(x=time, series=tuple(found), rows=2500, note="5 of 300 symbols")
        case "area":
            return shapes.Lines(x=time, series=tuple(walks(1)), rows=500)
        case "bar":
            x = START + DAY * np.arange(60)
            return shapes.Bars(x=time, series=(series("ic", x, rng.normal(0.01, 0.05, 60)),), width=DAY, rows=60)
        case "scatter":
            a = rng.normal(size=900)
            return shapes.Points(
                x=shapes.Axis(name="factor value"),
                y=shapes.Axis(name="forward return"),
                at_x=a,
                at_y=a * 0.02 + rng.normal(0, 0.03, 900),
                color_axis=shapes.Axis(name="beta"),
                color=rng.normal(size=900),
                trend=(0.02, 0.0),
                rows=900,
            )
        case "histogram":
            counts, edges = np.histogram(rng.normal(0.01, 0.1, 3000), 41)
            one = shapes.Group(name="ic", counts=counts.astype(float), mean=0.01)
            return shapes.Bins(x=shapes.Axis(name="ic"), edges=edges, groups=(one,), rows=3000)
        case "heatmap":
            values = rng.normal(0.01, 0.05, (6, 12))
            values[5, 9:] = np.nan
            months = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
            return shapes.Grid(
                x_labels=months,
                y_labels=tuple(str(year) for year in range(2018, 2024)),
                values=values,
                low=float(np.nanmin(values)),
                high=float(np.nanmax(values)),
                rows=72,
            )
        case "box":
            labels = ("Energy", "Materials", "Industrials", "Consumer Staples", "Health Care", "Financials")
            raw = [rng.normal(n / 100, 0.05 + n / 100, 300) for n in range(6)]
            quartiles = np.array([np.percentile(one, [5, 25, 50, 75, 95]) for one in raw])
            return shapes.Boxes(
                x=shapes.Axis(name="sector"),
                labels=labels,
                low=quartiles[:, 0],
                first=quartiles[:, 1],
                median=quartiles[:, 2],
                third=quartiles[:, 3],
                high=quartiles[:, 4],
                mean=np.array([one.mean() for one in raw]),
                counts=np.full(6, 300.0),
                outliers=tuple(one[np.abs(one) > 0.2] for one in raw),
                rows=1800,
            )
        case "pie":
            labels = ("Technology", "Health Care", "Financials", "Consumer Discretionary", "Energy", "other")
            return shapes.Slices(labels=labels, values=np.array([31.0, 18, 14, 11, 6, 20]), rows=6)
        case "candlestick":
            close = 100 * np.exp(np.cumsum(rng.normal(0, 0.015, 160)))
            opens = close * np.exp(rng.normal(0, 0.008, 160))
            high = np.maximum(opens, close) * 1.008
            low = np.minimum(opens, close) * 0.992
            times = START + DAY * np.array([n for n in range(224) if n % 7 < 5][:160])
            marks = tuple(
                shapes.Marks(
                    kind=word, time=times[at], price=(low if word == "buy" else high)[at], size=np.full(len(at), 100.0)
                )
                for word, at in (("buy", np.array([12, 60, 120])), ("sell", np.array([40, 90, 150])))
            )
            return shapes.Candles(
                time=times,
                open=opens,
                high=high,
                low=low,
                close=close,
                volume=rng.integers(1e5, 9e5, 160).astype(float),
                width=DAY,
                signals=marks,
                rows=160,
            )
        case "table":
            table = pa.table(
                {
                    "time": pa.array(
                        [1_672_617_600_000_000 + n * 86_400_000_000 for n in range(10)], pa.timestamp("us", "UTC")
                    ),
                    "symbol": ["AAPL", "MSFT"] * 5,
                    "value": rng.normal(size=10),
                    "size": pa.array(range(0, 100_000, 10_000), pa.int64()),
                }
            )
            kinds = tuple((field.name, str(field.type)) for field in table.schema)
            return shapes.Rows(columns=kinds, first=table, rows=2_431)
        case "number":
            return shapes.Number(value=0.0342, text="0.034", good=True, rows=1)
        case "parallel":
            values = np.column_stack([rng.integers(5, 50, 200), rng.integers(60, 250, 200), rng.normal(0.8, 0.4, 200)])
            axes = tuple(shapes.Axis(name=name) for name in ("fast", "slow", "sharpe"))
            return shapes.Parallel(
                axes=axes,
                values=values.astype(float),
                color_axis=shapes.Axis(name="sharpe"),
                color=values[:, 2],
                rows=200,
            )
        case "correlation":
            names = ("momentum", "value", "size", "quality", "low volatility")
            values = np.corrcoef(rng.normal(size=(5, 40)))
            return shapes.Grid(x_labels=names, y_labels=names, values=values, low=-1.0, high=1.0, rows=40)
    raise KeyError(kind)


def troubled(kind: str) -> list[tuple[str, Any]]:
    """What a table may hold at worst: nothing, one row, constants, gaps only, the largest numbers."""
    time = shapes.Axis(name="time", kind="time")
    none = np.empty(0)

    def lines(*parts: shapes.Series) -> Any:
        if kind == "bar":
            return shapes.Bars(x=time, series=parts, width=DAY)
        return shapes.Lines(x=time, series=parts)

    match kind:
        case "line" | "area" | "bar":
            x = START + DAY * np.arange(50)
            return [
                ("none", lines()),
                ("empty series", lines(series("a", none, none))),
                ("one", lines(series("a", x[:1], np.array([3.0])))),
                ("constant", lines(series("a", x, np.full(50, 7.0)))),
                ("zero", lines(series("a", x, np.zeros(50)))),
                ("gaps", lines(series("a", x, np.full(50, np.nan)))),
                ("alone", lines(series("a", x, np.where(np.arange(50) % 2, np.nan, 1.0)))),
                ("huge", lines(series("a", x, np.linspace(-1e300, 1e300, 50)))),
                ("tiny", lines(series("a", x, np.linspace(1e-300, 2e-300, 50)))),
                ("close", lines(series("a", x, 1e9 + np.arange(50) * 1e-6))),
                ("infinite", lines(series("a", x, np.where(np.arange(50) % 9, 1.0, np.inf)))),
                ("far times", lines(series("a", np.array([-6e10, 2e11]), np.array([1.0, 2.0])))),
            ]
        case "scatter":
            return [
                ("none", shapes.Points()),
                ("one", shapes.Points(at_x=np.array([1.0]), at_y=np.array([2.0]))),
                ("gaps", shapes.Points(at_x=np.full(3, np.nan), at_y=np.full(3, np.nan))),
                ("constant", shapes.Points(at_x=np.full(3, 2.0), at_y=np.full(3, 2.0), trend=(np.nan, np.nan))),
            ]
        case "histogram":
            one = shapes.Group(name="a", counts=np.array([0.0]), mean=np.nan)
            return [
                ("none", shapes.Bins()),
                ("nothing in it", shapes.Bins(edges=np.array([0.0, 1.0]), groups=(one,))),
                ("one", shapes.Bins(edges=np.array([5.0, 5.0 + 1e-9]), groups=(one,))),
            ]
        case "heatmap" | "correlation":
            gaps = np.full((2, 2), np.nan)
            many = np.random.default_rng(1).normal(size=(400, 400))
            names = tuple(str(n) for n in range(400))
            return [
                ("none", shapes.Grid()),
                ("gaps", shapes.Grid(x_labels=("a", "b"), y_labels=("c", "d"), values=gaps)),
                ("one", shapes.Grid(x_labels=("a",), y_labels=("b",), values=np.ones((1, 1)), low=1.0, high=1.0)),
                ("many", shapes.Grid(x_labels=names, y_labels=names, values=many, low=-4.0, high=4.0)),
            ]
        case "box":
            nan = np.array([np.nan])
            empty = shapes.Boxes(
                labels=("a",),
                low=nan,
                first=nan,
                median=nan,
                third=nan,
                high=nan,
                mean=nan,
                counts=np.zeros(1),
                outliers=(none,),
            )
            return [("none", shapes.Boxes()), ("gaps", empty)]
        case "pie":
            return [("none", shapes.Slices()), ("one", shapes.Slices(labels=("all",), values=np.array([2.0])))]
        case "candlestick":
            one = np.array([5.0])
            gap = np.array([np.nan])
            return [
                ("none", shapes.Candles()),
                ("one", shapes.Candles(time=np.array([START]), open=one, high=one, low=one, close=one)),
                ("gaps", shapes.Candles(time=np.array([START]), open=gap, high=gap, low=gap, close=gap, volume=gap)),
            ]
        case "table":
            return [
                ("none", shapes.Rows()),
                ("no rows", shapes.Rows(columns=(("a", "int64"),), first=pa.table({"a": []}))),
            ]
        case "number":
            return [("none", shapes.Number()), ("text", shapes.Number(value="x" * 300, text="x" * 300))]
        case "parallel":
            axes = (shapes.Axis(name="a"), shapes.Axis(name="b"))
            return [
                ("none", shapes.Parallel(axes=axes, values=np.empty((0, 2)))),
                ("gaps", shapes.Parallel(axes=axes, values=np.full((2, 2), np.nan))),
                ("one", shapes.Parallel(axes=axes, values=np.ones((1, 2)))),
            ]
    raise KeyError(kind)
