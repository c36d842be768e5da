"""What a drawing is drawn with: colours and fonts, those of the screen's theme or those of paper."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
import numpy.typing as npt
from PySide6.QtCore import Qt
from PySide6.QtGui import QBrush, QColor, QFont, QGuiApplication, QPen

from desktop.theme import LIGHT, ChartTokens, Tokens, charts, current, interface_font, monospaced

__all__ = ["PAPER", "SCREEN", "Ink", "on_paper", "on_screen"]

SCREEN, PAPER = 11, 9


@dataclass(frozen=True, kw_only=True, eq=False)
class Ink:
    """Colours and font sizes (pixels) of a drawing. `fine`: series are thinned to what paper can show. `ratio`: the
    device's pixels in one of ours, which pens of constant width must know."""

    tokens: Tokens
    charts: ChartTokens = field(repr=False)
    size: int = SCREEN
    fine: bool = False
    ratio: float = 1.0

    def font(self, larger: int = 0, weight: QFont.Weight = QFont.Weight.Normal) -> QFont:
        """The font of axes and read-outs; `larger` by some pixels."""
        font = interface_font(self.size + larger, weight)
        return _plain(font) if self.fine else font

    def figures(self) -> QFont:
        """The font of numbers in tables, with figures of equal width."""
        return monospaced(self.size - 1) if self.fine else self.font()

    def series(self, number: int) -> QColor:
        """The colour of a series by its number; after the last the first comes again in another shade."""
        color = QColor(self.charts.series[number % len(self.charts.series)])
        shade = number // len(self.charts.series) % 3
        return color if not shade else color.lighter(140) if shade == 1 else color.darker(140)

    def series_pen(self, number: int, length: float = 0.0) -> QPen:
        """The pen of a line: another shade or dash each time the colours begin anew.

        `length`: how long all lines are together, in some pixels; the longer they are the thinner, as painting them
        takes time by their length and width.
        """
        width = (
            1.1
            if self.fine
            else 1.4
            if length < 120_000
            else 1.0
            if length < 600_000 / self.ratio**2
            else 1 / self.ratio
        )
        pen = self.pen(self.series(number), width)
        style = number // len(self.charts.series) % 3
        if style and self.fine:  # a screen would need too long for dashes
            pen.setDashPattern([5, 3] if style == 1 else [1.5, 2.5])
        return pen

    def pen(self, color: str | QColor, width: float = 1.0, style: Qt.PenStyle = Qt.PenStyle.SolidLine) -> QPen:
        """A pen whose width (pixels) does not grow with the drawing's scale."""
        pen = QPen(QColor(color), width * self.ratio, style)
        pen.setCosmetic(True)
        return pen

    def wash(self, color: QColor, alpha: int = 46) -> QBrush:
        """A colour that lets the grid shine through."""
        light = QColor(color)
        light.setAlpha(alpha)
        return QBrush(light)

    def scale(self, diverging: bool, steps: int = 65, *, slight: bool = False) -> list[QColor]:
        """Colours from the low to the high end of a scale; for lines and dots (`slight`) none is pale."""
        c = self.charts
        stops: tuple[str, ...] = (c.low, c.middle, c.high) if diverging else (c.faintest, c.strongest)
        if slight:
            stops = (c.low, self.tokens.faint, c.high) if diverging else stops
        colors = _ramp(stops, steps if diverging or not slight else steps + steps // 2)
        return [QColor(int(r), int(g), int(b)) for r, g, b in colors[-steps:]]


def _plain(font: QFont) -> QFont:
    """Letters as they come: figures of equal width and colons raised between them have no names in a PDF, and could be
    neither copied nor searched."""
    plain = QFont(font)
    plain.clearFeatures()
    plain.setFeature(QFont.Tag("calt"), 0)
    return plain


@cache
def _ramp(stops: tuple[str, ...], steps: int) -> npt.NDArray[np.uint8]:
    tones = [QColor(stop) for stop in stops]
    colors = np.array([[tone.red(), tone.green(), tone.blue()] for tone in tones], dtype=np.float64)
    place = np.linspace(0, len(stops) - 1, steps)
    below = np.minimum(place.astype(int), len(stops) - 2)
    share = (place - below)[:, None]
    mixed: npt.NDArray[np.uint8] = np.round(colors[below] * (1 - share) + colors[below + 1] * share).astype(np.uint8)
    return mixed


def on_screen() -> Ink:
    """The theme in use."""
    tokens = current()
    application = QGuiApplication.instance()
    ratio = application.devicePixelRatio() if isinstance(application, QGuiApplication) else 1.0
    return Ink(tokens=tokens, charts=charts(tokens), ratio=ratio)


def on_paper() -> Ink:
    """Paper: always light."""
    return Ink(tokens=LIGHT, charts=charts(LIGHT), size=PAPER, fine=True)
