"""Colours, sizes and fonts: one set of tokens for light, one for dark, and the style made from them.

Nothing else in the desktop names a colour. A density for many rows: 28 px rows, 13 px text, one accent colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeVar

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QPalette
from PySide6.QtWidgets import QApplication, QLabel, QStyleFactory, QWidget

from desktop import resources
from quarterdeck.job import Level, Status

__all__ = [
    "DARK",
    "LIGHT",
    "STATUS_ICONS",
    "ChartTokens",
    "Theme",
    "Tokens",
    "apply",
    "charts",
    "current",
    "level_color",
    "monospaced",
    "theme",
]

W = TypeVar("W", bound=QWidget)

ROW_HEIGHT = 30
LOG_ROW_HEIGHT = 19


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """The colours of one theme, as #rrggbb."""

    name: Literal["light", "dark"]
    window: str
    surface: str
    raised: str
    hover: str
    selected: str
    line: str
    line_strong: str
    text: str
    muted: str
    faint: str
    link: str
    accent: str
    accent_hover: str
    on_accent: str
    good: str
    good_back: str
    bad: str
    bad_back: str
    warn: str
    warn_back: str
    busy: str
    busy_back: str
    idle: str
    idle_back: str


LIGHT = Tokens(
    name="light",
    window="#f3f5f8",
    surface="#ffffff",
    raised="#f8fafc",
    hover="#f0f5fc",
    selected="#dfeafb",
    line="#e6eaf0",
    line_strong="#cfd6e0",
    text="#17202c",
    muted="#586577",
    faint="#8995a6",
    link="#1757c2",
    accent="#1c64d8",
    accent_hover="#1857bd",
    on_accent="#ffffff",
    good="#0f7040",
    good_back="#dff5e8",
    bad="#b3261e",
    bad_back="#fde7e5",
    warn="#8a5300",
    warn_back="#fdf0d5",
    busy="#1757c2",
    busy_back="#e1ecfd",
    idle="#4d5a6b",
    idle_back="#e9edf2",
)

DARK = Tokens(
    name="dark",
    window="#0f141b",
    surface="#151b24",
    raised="#1a222d",
    hover="#1c2633",
    selected="#1d3a63",
    line="#232d3a",
    line_strong="#344152",
    text="#e3e9f1",
    muted="#98a5b6",
    faint="#6f7d8f",
    link="#7fb2ff",
    accent="#2a6fdf",
    accent_hover="#3379ea",
    on_accent="#ffffff",
    good="#5fd69a",
    good_back="#123425",
    bad="#ff8d84",
    bad_back="#431d1c",
    warn="#f2bd5c",
    warn_back="#3b2d10",
    busy="#7fb2ff",
    busy_back="#16305a",
    idle="#a9b5c4",
    idle_back="#252f3c",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChartTokens:
    """The colours of charts in one theme.

    `series`: told apart also by people who see no difference of red and green, or of blue and yellow (the least
    distance of two of them in OKLab is 0.08 under any of the three), each at 3 to 1 or more against the surface.
    `rise` and `fall` differ in lightness too. `low`, `middle` and `high` are the ends and the middle of a scale with
    a sign, `faintest` and `strongest` those of one without.
    """

    series: tuple[str, ...]
    grid: str
    axis: str
    rise: str
    fall: str
    low: str
    middle: str
    high: str
    faintest: str
    strongest: str


CHARTS_LIGHT = ChartTokens(
    series=("#2c4db8", "#d5792a", "#008078", "#66146f", "#d2304f", "#518ee4", "#4a453a"),
    grid="#e9edf2",
    axis="#b9c2ce",
    rise="#0b8a72",
    fall="#b3264a",
    low="#c05a12",
    middle="#f6f6f4",
    high="#2450b4",
    faintest="#eef3fb",
    strongest="#1d3f94",
)

CHARTS_DARK = ChartTokens(
    series=("#90bcea", "#e7a357", "#15986c", "#ac83ee", "#f75d9e", "#256bb7", "#ddd394"),
    grid="#212a36",
    axis="#3c4959",
    rise="#45c4a4",
    fall="#ee6a82",
    low="#ee9a4d",
    middle="#1e2631",
    high="#6ea4ee",
    faintest="#1b2a40",
    strongest="#9cc4ff",
)


def charts(tokens: Tokens) -> ChartTokens:
    """The colours of charts that belong to those tokens; paper uses the light ones."""
    return CHARTS_DARK if tokens.name == "dark" else CHARTS_LIGHT


STATUS_ICONS: dict[Status, str] = {
    Status.QUEUED: "clock-outline",
    Status.IN_PROGRESS: "play-circle-outline",
    Status.SUCCESS: "check-circle-outline",
    Status.PARTIALLY_FAILED: "alert-circle-outline",
    Status.FAILED: "close-circle-outline",
    Status.TERMINATED: "stop-circle-outline",
    Status.RESULTS_DELETED: "delete-outline",
}


class Theme(QObject):
    """The theme in use.

    Signals:
        changed(): the tokens are others now; what paints by itself repaints
    """

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.tokens = LIGHT

    def status_colors(self, status: Status, ending: bool = False) -> tuple[str, str]:
        """Text and background colour of a status."""
        t = self.tokens
        if ending:
            return t.warn, t.warn_back
        return {
            Status.QUEUED: (t.idle, t.idle_back),
            Status.IN_PROGRESS: (t.busy, t.busy_back),
            Status.SUCCESS: (t.good, t.good_back),
            Status.PARTIALLY_FAILED: (t.warn, t.warn_back),
            Status.FAILED: (t.bad, t.bad_back),
            Status.TERMINATED: (t.idle, t.idle_back),
            Status.RESULTS_DELETED: (t.idle, t.idle_back),
        }[status]


theme = Theme()


def current() -> Tokens:
    """The tokens in use."""
    return theme.tokens


def level_color(level: Level) -> str:
    t = theme.tokens
    return {Level.DEBUG: t.faint, Level.INFO: t.text, Level.WARNING: t.warn, Level.ERROR: t.bad}[level]


_TERMINAL = {
    "light": "17202c b3261e 0f7040 8a5300 1757c2 8b2fa0 0b6e78 586577"
    " 4d5a6b d13a30 178a50 a86a00 2a6fdf a63fbe 128a97 8995a6",
    "dark": "6f7d8f ff8d84 5fd69a f2bd5c 7fb2ff d7a3f0 66d0dc c7d0db"
    " 98a5b6 ffaca5 86e3b3 ffd387 a6caff e6c3f7 93e0e8 ffffff",
}
"""The sixteen colours of terminals, tuned so that each can be read on the theme's surface."""


def terminal_color(number: int, on: str | None = None) -> QColor:
    """A colour of a terminal's text: a number of its palette of 256, or 0x1000000 + 0xrrggbb.

    `on`: the surface that it must be readable on; what is not becomes black or white.
    """
    return _terminal_color(number, theme.tokens.name == "dark", on)


@cache
def _terminal_color(number: int, dark: bool, on: str | None) -> QColor:
    if number < 16:
        return QColor(f"#{_TERMINAL['dark' if dark else 'light'].split()[number]}")
    if number >= 0x1000000:
        color = QColor(number >> 16 & 255, number >> 8 & 255, number & 255)
    elif number < 232:
        levels = (0, 95, 135, 175, 215, 255)
        cube = number - 16
        color = QColor(levels[cube // 36], levels[cube // 6 % 6], levels[cube % 6])
    else:
        color = QColor(*[8 + 10 * (number - 232)] * 3)
    return color if on is None else readable(color, QColor(on))


def readable(color: QColor, on: QColor) -> QColor:
    """The colour if it can be read on another, else black or white."""
    if _contrast(color, on) >= 2:
        return color
    return QColor("#10161e" if _luminance(on) > 0.2 else "#ffffff")


def _contrast(one: QColor, other: QColor) -> float:
    """The ratio of two colours' luminances, 1 to 21, as WCAG 2 defines it."""
    low, high = sorted(_luminance(color) for color in (one, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: QColor) -> float:
    parts = [
        part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4
        for part in (color.redF(), color.greenF(), color.blueF())
    ]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def styled(widget: W, name: str = "", *, tip: str = "", called: str = "", visible: bool = True) -> W:
    """The widget under the name that the style sheet knows, with a tool tip and a name for screen readers."""
    if name:
        widget.setObjectName(name)
    if isinstance(widget, QLabel):  # what people name their jobs is text, whatever it looks like
        widget.setTextFormat(Qt.TextFormat.PlainText)
    widget.setToolTip(tip)
    if called or tip:
        widget.setAccessibleName(called or tip)
    if not visible:
        widget.hide()
    return widget


def rule() -> QWidget:
    """A thin line across."""
    line = styled(QWidget(), "rule")
    line.setFixedHeight(1)
    line.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
    return line


@cache
def interface_font(size: int = 13, weight: QFont.Weight = QFont.Weight.Normal) -> QFont:
    """The font of the interface; `size` in pixels. Copy it before you change it.

    Its figures have equal widths, so that columns of numbers align.
    """
    font = QFont("Inter" if QFontDatabase.hasFamily("Inter") else QApplication.font().family())
    font.setPixelSize(size)
    font.setWeight(weight)
    font.setFeature(QFont.Tag("tnum"), 1)
    return font


def monospaced(size: int = 12) -> QFont:
    """The font of logs and code; `size` in pixels."""
    if QFontDatabase.hasFamily("JetBrains Mono"):
        font = QFont("JetBrains Mono")
        font.setFeature(QFont.Tag("calt"), 0)  # no ligatures: a log shows what was written
    else:
        font = QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont)
    font.setPixelSize(size)
    return font


def apply(application: QApplication, name: Literal["light", "dark"]) -> None:
    """Give the application the theme: Fusion with our palette and style."""
    theme.tokens = DARK if name == "dark" else LIGHT
    style = QStyleFactory.create("Fusion")
    if application.style().name().lower() != "fusion" and style is not None:
        application.setStyle(style)
    application.setFont(interface_font())
    application.setPalette(_palette(theme.tokens))
    application.setStyleSheet(_style(theme.tokens))
    theme.changed.emit()


def _palette(t: Tokens) -> QPalette:
    role = QPalette.ColorRole
    palette = QPalette()
    for which, color in (
        (role.Window, t.window),
        (role.WindowText, t.text),
        (role.Base, t.surface),
        (role.AlternateBase, t.raised),
        (role.Text, t.text),
        (role.Button, t.raised),
        (role.ButtonText, t.text),
        (role.BrightText, t.bad),
        (role.ToolTipBase, t.raised),
        (role.ToolTipText, t.text),
        (role.PlaceholderText, t.faint),
        (role.Highlight, t.selected),
        (role.HighlightedText, t.text),
        (role.Link, t.link),
        (role.LinkVisited, t.link),
        (role.Light, t.raised),
        (role.Midlight, t.line),
        (role.Mid, t.line_strong),
        (role.Dark, t.line_strong),
        (role.Shadow, t.line_strong),
        (role.Accent, t.accent),
    ):
        palette.setColor(which, QColor(color))
    for which in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, which, QColor(t.faint))
    return palette


def _style(t: Tokens) -> str:
    icons = (resources.folder() / "icons").as_posix()
    return _STYLE.format_map({name: getattr(t, name) for name in Tokens.__slots__} | {"icons": icons})


# Doubled braces are the style sheet's own.
_STYLE = """
QToolTip {{ background: {raised}; color: {text}; border: 1px solid {line_strong}; padding: 5px 8px; }}
QMainWindow {{ background: {window}; }}
QDialog {{ background: {surface}; }}

QTabBar#pages {{ background: transparent; border: none; qproperty-drawBase: 0; }}
QTabBar#pages::tab {{ padding: 12px 14px 10px 14px; margin: 0; color: {muted}; border: none;
    border-bottom: 2px solid transparent; }}
QTabBar#pages::tab:hover {{ color: {text}; }}
QTabBar#pages::tab:selected {{ color: {text}; border-bottom: 2px solid {accent}; font-weight: 600; }}
QTabBar#pages[away="true"]::tab:selected {{ color: {muted}; border-bottom: 2px solid transparent; font-weight: 400; }}
QTabBar#sections {{ qproperty-drawBase: 0; }}
QTabBar#sections::tab {{ padding: 9px 12px 8px 12px; color: {muted}; border: none;
    border-bottom: 2px solid transparent; }}
QTabBar#sections::tab:hover {{ color: {text}; }}
QTabBar#sections::tab:selected {{ color: {text}; border-bottom: 2px solid {accent}; font-weight: 600; }}

QWidget#topbar {{ background: {surface}; }}
QWidget#rule {{ background: {line}; }}
QWidget#section {{ background: {surface}; }}
QWidget#head {{ background: {surface}; border-bottom: 1px solid {line}; }}
QWidget#filters {{ background: {window}; }}
QWidget#card, QWidget#foot {{ background: {surface}; border-top: 1px solid {line}; }}
QPushButton#option {{ color: {muted}; }}
QPushButton#option:checked {{ background: {selected}; border-color: {accent}; color: {link}; font-weight: 500; }}
QWidget#sectionbar {{ background: {surface}; border-bottom: 1px solid {line}; }}
QTableView#data::item {{ padding: 0 9px; }}
QTableView#data QHeaderView::section {{ padding: 0 12px; }}
QFrame#card {{ background: {surface}; border: 1px solid {line}; border-radius: 8px; }}
QFrame#card[edge="flat"] {{ background: {window}; border: none; border-right: 1px solid {line}; border-radius: 0; }}
QListView#profiles {{ background: transparent; }}
QLabel#brand {{ font-size: 15px; font-weight: 600; color: {text}; }}
QLabel#title {{ font-size: 19px; font-weight: 600; color: {text}; }}
QLabel#heading {{ font-size: 15px; font-weight: 600; color: {text}; }}
QLabel#subheading {{ font-size: 12px; font-weight: 600; color: {muted}; }}
QLabel#muted {{ color: {muted}; }}
QLabel#small {{ color: {muted}; font-size: 12px; }}
QLabel#fieldname {{ font-weight: 500; color: {text}; }}
QLabel#key {{ color: {text}; background: {raised}; border: 1px solid {line_strong}; border-radius: 4px;
    padding: 1px 6px; font-size: 12px; }}
QLabel#error {{ color: {bad}; font-size: 12px; }}
QLabel#problem {{ color: {bad}; background: {bad_back}; border-radius: 6px; padding: 9px 12px; }}
QLabel#banner {{ color: {warn}; background: {warn_back}; padding: 7px 16px; font-weight: 500; }}
QLabel#toast {{ color: {text}; background: {raised}; border: 1px solid {line_strong}; border-left: 3px solid {accent};
    border-radius: 6px; padding: 10px 14px; }}
QLabel#toast[kind="error"] {{ border-left: 3px solid {bad}; }}

QPushButton {{ background: {surface}; color: {text}; border: 1px solid {line_strong}; border-radius: 6px;
    padding: 5px 12px; min-height: 18px; }}
QPushButton:hover {{ background: {hover}; border-color: {faint}; }}
QPushButton:pressed {{ background: {selected}; }}
QPushButton:focus {{ border-color: {accent}; }}
QPushButton:disabled {{ color: {faint}; background: {window}; border-color: {line}; }}
QPushButton#primary {{ background: {accent}; color: {on_accent}; border-color: {accent}; font-weight: 500; }}
QPushButton#primary:hover {{ background: {accent_hover}; }}
QPushButton#primary:disabled {{ background: {line_strong}; border-color: {line_strong}; color: {faint}; }}
QPushButton#danger {{ color: {bad}; }}
QPushButton#danger:hover {{ background: {bad_back}; border-color: {bad}; }}
QPushButton#dangerous {{ background: {bad}; color: {surface}; border-color: {bad}; font-weight: 500; }}
QPushButton#dangerous:disabled {{ background: {line_strong}; border-color: {line_strong}; }}
QPushButton#flat, QToolButton#flat {{ background: transparent; border: 1px solid transparent; color: {muted}; }}
QPushButton#flat:hover, QToolButton#flat:hover {{ background: {hover}; color: {text}; }}
QPushButton#link {{ background: transparent; border: none; color: {link}; padding: 2px 2px; text-align: left; }}
QPushButton#link:hover {{ text-decoration: underline; }}
QToolButton {{ background: transparent; border: 1px solid transparent; border-radius: 6px; padding: 4px; }}
QToolButton:hover {{ background: {hover}; }}
QToolButton:checked {{ background: {selected}; }}
QToolButton::menu-indicator {{ image: none; }}

QLineEdit, QPlainTextEdit, QTextEdit, QSpinBox, QDoubleSpinBox, QDateTimeEdit, QComboBox {{ background: {surface};
    color: {text}; border: 1px solid {line_strong}; border-radius: 6px; padding: 4px 8px; min-height: 20px;
    selection-background-color: {accent}; selection-color: {on_accent}; }}
QPlainTextEdit, QTextEdit {{ padding: 4px; }}
QLineEdit:focus, QPlainTextEdit:focus, QTextEdit:focus, QComboBox:focus {{ border: 1px solid {accent}; }}
QLineEdit[wrong="true"], QPlainTextEdit[wrong="true"], QComboBox[wrong="true"] {{ border: 1px solid {bad}; }}
QLineEdit:disabled, QComboBox:disabled, QDateTimeEdit:disabled {{ background: {window}; color: {faint}; }}
QLineEdit[readOnly="true"] {{ background: {raised}; }}
QFrame#card {{ background: {surface}; border: 1px solid {line}; border-radius: 8px; }}
QLabel#figure {{ font-size: 18px; font-weight: 600; }}
QLabel#figure[bad="true"] {{ color: {bad}; }}
QPlainTextEdit#code {{ background: {surface}; border: 1px solid {line}; border-radius: 8px; padding: 8px; }}
QComboBox {{ padding-right: 22px; }}
QComboBox::drop-down, QDateTimeEdit::drop-down {{ border: none; width: 24px; }}
QComboBox::down-arrow, QDateTimeEdit::down-arrow {{ image: url("{icons}/chevron-{name}.svg"); width: 14px; }}
QComboBox QLineEdit {{ border: none; border-radius: 0; padding: 0; min-height: 0; background: transparent; }}
QPushButton#choice {{ padding: 5px 28px 5px 10px; }}
QPushButton#choice::menu-indicator {{ image: url("{icons}/chevron-{name}.svg"); width: 14px; height: 14px;
    subcontrol-origin: padding; subcontrol-position: right center; right: 6px; }}
QPushButton:checked {{ background: {selected}; border-color: {accent}; color: {link}; }}
QCheckBox::indicator {{ width: 16px; height: 16px; border: 1px solid {faint}; border-radius: 4px;
    background: {surface}; }}
QCheckBox::indicator:hover, QCheckBox::indicator:focus {{ border-color: {accent}; }}
QCheckBox::indicator:checked {{ background: {accent}; border-color: {accent}; image: url("{icons}/check.svg"); }}
QMenu::indicator {{ width: 15px; height: 15px; border: 1px solid {faint}; border-radius: 4px; margin-left: 6px;
    background: {surface}; }}
QMenu::indicator:checked {{ background: {accent}; border-color: {accent}; image: url("{icons}/check.svg"); }}
QComboBox QAbstractItemView {{ background: {surface}; border: 1px solid {line_strong}; padding: 4px; outline: none;
    selection-background-color: {selected}; selection-color: {text}; }}
QCheckBox {{ spacing: 9px; color: {text}; }}
QLineEdit#search {{ padding-left: 0; }}

QTableView, QTreeView, QListView {{ background: {surface}; alternate-background-color: {raised}; border: none;
    outline: none; gridline-color: {line}; selection-background-color: {selected}; selection-color: {text}; }}
QTableView::item, QTreeView::item {{ padding: 0 5px; border: none; }}
QTreeView::item {{ min-height: 26px; }}
QTableView::item:selected, QTreeView::item:selected, QListView::item:selected {{ background: {selected};
    color: {text}; }}
QListView#profiles::item {{ padding: 8px 10px; border-radius: 6px; margin: 1px 6px; }}
QHeaderView {{ background: {surface}; border: none; }}
QHeaderView::section {{ background: {surface}; color: {muted}; border: none; border-bottom: 1px solid {line_strong};
    padding: 0 8px; font-size: 12px; font-weight: 500; }}
QHeaderView::section:hover {{ color: {text}; }}
QTableCornerButton::section {{ background: {surface}; border: none; }}

QScrollBar:vertical {{ background: transparent; width: 11px; margin: 0; }}
QScrollBar:horizontal {{ background: transparent; height: 11px; margin: 0; }}
QScrollBar::handle {{ background: {line_strong}; border-radius: 4px; margin: 2px; min-height: 28px; min-width: 28px; }}
QScrollBar::handle:hover {{ background: {faint}; }}
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {{ background: none;
    border: none; width: 0; height: 0; }}
QAbstractScrollArea::corner {{ background: transparent; }}

QMenu {{ background: {surface}; border: 1px solid {line_strong}; padding: 5px; }}
QMenu::item {{ padding: 6px 28px 6px 10px; border-radius: 4px; }}
QMenu::item:selected {{ background: {hover}; }}
QMenu::item:disabled {{ color: {faint}; }}
QMenu::separator {{ height: 1px; background: {line}; margin: 5px 6px; }}
QMenu::icon {{ padding-left: 8px; }}

QStatusBar {{ background: {surface}; border-top: 1px solid {line}; color: {muted}; }}
QStatusBar::item {{ border: none; }}
QStatusBar QLabel {{ color: {muted}; font-size: 12px; padding: 2px 4px; }}
QProgressBar {{ background: {line}; border: none; border-radius: 3px; max-height: 6px; min-height: 6px; }}
QProgressBar::chunk {{ background: {accent}; border-radius: 3px; }}
QSplitter::handle {{ background: {line}; }}
QScrollArea {{ border: none; background: transparent; }}
"""
