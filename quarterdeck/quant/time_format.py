"""How times are written in a column of text: found from a sample, never guessed, then read strictly.

A column has one format; what does not fit it is no time. Days before months and months before days are told apart
only by a day above 12 in the sample: without one the caller is asked. All times become microseconds since 1970 in UTC.
"""

from __future__ import annotations

import datetime as dt
import functools
import itertools
import zoneinfo
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from quarterdeck.errors import Invalid
from quarterdeck.quant.source import Mask

__all__ = ["TIME", "TimeFormat", "Times", "detected", "given", "localized", "zone_named"]

TIME = pa.timestamp("us", "UTC")
"""The type of all times: microseconds, UTC."""

_CUT = r"(\.\d{6})\d+"
_FINE = r"\.\d{6}\d*[1-9]"
_EPOCHS = {"epoch_s": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1, "epoch_ns": -1_000}


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """`title` is for people; `pattern` is the regular expression that a text must match as a whole; `code` is a
    strptime format, `iso`, or `epoch_s` and its like; `zoned` tells that the text carries its offset from UTC."""

    title: str
    pattern: str
    code: str
    zoned: bool = False

    def read(self, texts: pa.Array, zone: str | None) -> Times:
        """Times of an array of text; without an offset in the text they are in `zone` (UTC when None)."""
        if isinstance(texts, pa.DictionaryArray):
            return self._read_distinct(texts.dictionary, zone).taken(texts.indices.to_numpy(zero_copy_only=False))
        if self.code == "iso" and (quick := self._read_all(texts, zone)) is not None:
            return quick
        head = texts.slice(0, 1000)
        if pc.count_distinct(head).as_py() * 2 > len(head):
            return self._read_distinct(texts, zone)
        coded = texts.dictionary_encode()
        return self._read_distinct(coded.dictionary, zone).taken(coded.indices.to_numpy(zero_copy_only=False))

    def _read_all(self, texts: pa.Array, zone: str | None) -> Times | None:
        """Arrow's own reader, for arrays in which all is well; None when something is not."""
        if not len(texts) or texts.null_count:
            return None
        lengths = pc.min_max(pc.binary_length(texts))
        low, high = lengths["min"].as_py(), lengths["max"].as_py()
        if self is ISO_DATE:
            fair = low == high == 10
        else:
            fair = low >= 16 if self is not ISO else (low >= 16 or low == high == 10)
        if not fair:
            return None
        try:
            values = pc.cast(texts, TIME if self.zoned else pa.timestamp("us"))
        except pa.ArrowInvalid:
            return None
        micros = values.cast(pa.int64()).to_numpy()
        if micros.min() < _FIRST_MICROSECOND:
            return None
        return Times.of(micros, np.ones(len(micros), bool), None if self.zoned else zone)

    def _read_distinct(self, texts: pa.Array, zone: str | None) -> Times:
        series = pl.Series(values=pl.from_arrow(texts.cast(pa.string()))).fill_null("").str.strip_chars(" \t")
        count = len(series)
        matches = series.str.contains(f"^(?:{self.pattern})$") if self.pattern else pl.repeat(True, count, eager=True)
        cut = np.zeros(count, bool)
        if self.code in _EPOCHS:
            factor = _EPOCHS[self.code]
            numbers = series.cast(pl.Int64, strict=False)
            limit = (1 << 62) // max(factor, 1)
            ok = (matches & numbers.is_not_null() & numbers.is_between(-limit, limit)).fill_null(False).to_numpy()
            values = numbers.fill_null(0).to_numpy()
            if factor > 0:
                micros = np.where(ok, values, 0) * factor
            else:
                micros = np.floor_divide(values, -factor)
                cut = ok & (values % -factor != 0)
        else:
            cut = (series.str.contains(_FINE) & matches).to_numpy() if ".f" in self.code or self.code == "iso" else cut
            parsed = self._parsed(series.str.replace(_CUT, "$1"))
            micros = parsed.to_physical().fill_null(0).to_numpy()
            ok = (matches & parsed.is_not_null()).to_numpy()
        micros = micros.astype(np.int64)
        ok = ok & (micros >= _FIRST_MICROSECOND) & (micros <= _LAST_MICROSECOND)
        times = Times.of(micros, ok, None if self.zoned else zone)
        return Times(times.micros, times.ok, times.clock, cut & times.ok)

    def _parsed(self, series: pl.Series) -> pl.Series:
        if self.code != "iso":
            kind = pl.Datetime("us", "UTC") if "%z" in self.code else pl.Datetime("us")
            return series.str.strptime(kind, self.code, strict=False)
        full = series.str.replace(r"^(\d{4}-\d{2}-\d{2})$", "${1}T00:00").str.replace(" ", "T", literal=True)
        full = full.str.replace(r"^(.{10}T\d{2}:\d{2})($|[Z+-])", "${1}:00$2")
        if not self.zoned:
            return full.str.strptime(pl.Datetime("us"), "%Y-%m-%dT%H:%M:%S%.f", strict=False)
        full = full.str.replace(r"Z$", "+00:00").str.replace(r"([+-]\d{2})$", "${1}:00")
        return full.str.strptime(pl.Datetime("us", "UTC"), "%Y-%m-%dT%H:%M:%S%.f%z", strict=False)


@dataclass(frozen=True, slots=True)
class Times:
    """`micros` since 1970 UTC, valid where `ok`; `clock` marks local times that a change of the clocks skips or
    repeats; `cut` marks those that were finer than a microsecond."""

    micros: npt.NDArray[np.int64]
    ok: Mask
    clock: Mask
    cut: Mask

    @classmethod
    def of(cls, micros: npt.NDArray[np.int64], ok: Mask, zone: str | None) -> Times:
        none = np.zeros(len(micros), bool)
        if zone is None or zone == "UTC":
            return cls(micros, ok, none, none)
        moved, known = localized(np.where(ok, micros, 0), zone)
        return cls(moved, ok & known, ok & ~known, none)

    def taken(self, indices: npt.NDArray[np.integer]) -> Times:
        return Times(self.micros[indices], self.ok[indices], self.clock[indices], self.cut[indices])


def localized(micros: npt.NDArray[np.int64], zone: str) -> tuple[npt.NDArray[np.int64], Mask]:
    """Local clock readings in microseconds to UTC, and which of them exist exactly once in that zone."""
    local = pl.Series(values=micros, dtype=pl.Int64).cast(pl.Datetime("us"))
    moved = local.dt.replace_time_zone(zone, ambiguous="null", non_existent="null").dt.convert_time_zone("UTC")
    return moved.to_physical().fill_null(0).to_numpy(), moved.is_not_null().to_numpy()


def zone_named(name: str | None) -> str | None:
    """The name, checked against the zones that there are (`Europe/Berlin`)."""
    if name is not None:
        try:
            zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise Invalid(
                f"There is no time zone {name}: give a name such as America/New_York.", field="time_zone"
            ) from error
    return name


def _microseconds(year: int) -> int:
    return int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp()) * 1_000_000


_FIRST_MICROSECOND, _LAST_MICROSECOND = _microseconds(1000), _microseconds(9999)
_DATE, _CLOCK = r"\d{4}-\d{2}-\d{2}", r"\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?"
ISO_DATE = TimeFormat("YYYY-MM-DD", _DATE, "iso")
ISO_NAIVE = TimeFormat("YYYY-MM-DD HH:MM:SS", rf"{_DATE}[ T]{_CLOCK}", "iso")
ISO_ZONED = TimeFormat("YYYY-MM-DD HH:MM:SS+HH:MM", rf"{_DATE}[ T]{_CLOCK}(?:Z|[+-]\d{{2}}(?::?\d{{2}})?)", "iso", True)
ISO = TimeFormat("YYYY-MM-DD, with or without HH:MM:SS", rf"{_DATE}(?:[ T]{_CLOCK})?", "iso")


@functools.cache
def _known() -> tuple[TimeFormat, ...]:
    """All formats that are told from each other by a sample."""
    formats = [ISO_DATE, ISO_NAIVE, ISO_ZONED]
    days = [("YYYYMMDD", r"[12]\d{7}", "%Y%m%d"), ("YYYY/MM/DD", r"\d{4}/\d{1,2}/\d{1,2}", "%Y/%m/%d")]
    days.append(("YYYY.MM.DD", r"\d{4}\.\d{1,2}\.\d{1,2}", "%Y.%m.%d"))
    for sign in "/.-":
        pattern = rf"\d{{1,2}}{'[.]' if sign == '.' else sign}\d{{1,2}}{'[.]' if sign == '.' else sign}\d{{4}}"
        days.append((f"MM{sign}DD{sign}YYYY", pattern, f"%m{sign}%d{sign}%Y"))
        days.append((f"DD{sign}MM{sign}YYYY", pattern, f"%d{sign}%m{sign}%Y"))
    days.append(("DD-Mon-YYYY", r"\d{1,2}-[A-Za-z]{3}-\d{4}", "%d-%b-%Y"))
    days.append(("DD Mon YYYY", r"\d{1,2} [A-Za-z]{3} \d{4}", "%d %b %Y"))
    days.append(("Mon DD, YYYY", r"[A-Za-z]{3} \d{1,2}, \d{4}", "%b %d, %Y"))
    clocks = [
        ("", "", ""),
        (" HH:MM", r" \d{1,2}:\d{2}", " %H:%M"),
        (" HH:MM:SS", r" \d{1,2}:\d{2}:\d{2}(?:\.\d{1,9})?", " %H:%M:%S%.f"),
        (" HH:MM AM", r" \d{1,2}:\d{2} [AaPp][Mm]", " %I:%M %p"),
        (" HH:MM:SS AM", r" \d{1,2}:\d{2}:\d{2} [AaPp][Mm]", " %I:%M:%S %p"),
    ]
    for (day, day_pattern, day_code), (clock, clock_pattern, clock_code) in itertools.product(days, clocks):
        formats.append(TimeFormat(day + clock, day_pattern + clock_pattern, day_code + clock_code))
    formats.append(TimeFormat("YYYYMMDDHHMM", r"[12]\d{11}", "%Y%m%d%H%M"))
    formats.append(TimeFormat("YYYYMMDDHHMMSS", r"[12]\d{13}", "%Y%m%d%H%M%S"))
    for code, title, digits in (
        ("epoch_s", "seconds", "9,10"),
        ("epoch_ms", "milliseconds", "12,13"),
        ("epoch_us", "microseconds", "15,16"),
        ("epoch_ns", "nanoseconds", "18,19"),
    ):
        formats.append(TimeFormat(f"{title} since 1970", rf"-?\d{{{digits}}}", code, True))
    return tuple(formats)


def given(text: str) -> TimeFormat:
    """The format that a person named: `iso`, `epoch_s`, `epoch_ms`, `epoch_us`, `epoch_ns`, or in strptime's
    letters."""
    if text == "iso":
        return ISO
    if text in _EPOCHS:
        return TimeFormat(f"{text.replace('_', ' in ')}", r"-?\d{1,19}", text, True)
    code = text.replace(".%f", "%.f")
    probe = dt.datetime(2024, 11, 25, 13, 45, 57, tzinfo=dt.UTC)
    form = TimeFormat(text, "", code, "%z" in code)
    fair = "%" in text and text.isprintable()
    if fair:
        times = form.read(pa.array([probe.strftime(text)]), None)
        fair = bool(times.ok[0]) and times.micros[0] // 86_400_000_000 == 20052
    if not fair:
        raise Invalid(
            f"time_format {text!r} does not tell a day: write it as %d/%m/%Y %H:%M:%S, or iso, epoch_s, epoch_ms.",
            field="time_format",
        )
    return form


def detected(sample: pa.Array, *, column: str, label: str, relaxed: bool = False) -> TimeFormat:
    """The one format of a column, by a sample of its texts.

    Raises Invalid when no known format fits any, or when two formats would both do and give other times. `relaxed`:
    days with and without a time of day are one format.
    """
    texts = pl.Series(values=pl.from_arrow(sample.cast(pa.string()))).drop_nulls().unique(maintain_order=True)
    texts = texts.str.strip_chars(" \t")
    texts = texts.filter(texts != "")
    if not len(texts):
        raise Invalid(f"The time column {column} of {label} is empty.", field="columns")
    head = texts.head(1000)
    formats = [f for f in _known() if head.str.contains(f"^(?:{f.pattern})$").any()]
    if relaxed:
        formats = [f for f in formats if f not in (ISO_DATE, ISO_NAIVE)] + [ISO]
    fits = [(form, form.read(texts.to_arrow(), None)) for form in formats]
    counts = [int(times.ok.sum()) for _, times in fits]
    best = max(counts, default=0)
    if not best:
        raise Invalid(
            f"The column {column} of {label} holds {texts[0]!r}, which is no known form of time: give time_format.",
            field="time_format",
        )
    chosen, read = fits[counts.index(best)]
    rivals = [
        form
        for (form, times), count in zip(fits, counts, strict=True)
        if form is not chosen and _disputes(chosen, read, form, times, count, best)
    ]
    if rivals:
        _ask(chosen, rivals, texts, column, label)
    return chosen


def _disputes(chosen: TimeFormat, read: Times, form: TimeFormat, times: Times, count: int, best: int) -> bool:
    if form.pattern == chosen.pattern:
        # the same digits, day and month exchanged: the chosen one needs a day above 12 on its side, the other none
        return count == best or bool((times.ok & ~read.ok).any())
    both = read.ok & times.ok
    return count == best and bool((read.micros[both] != times.micros[both]).any())


def _ask(chosen: TimeFormat, rivals: Sequence[TimeFormat], texts: pl.Series, column: str, label: str) -> None:
    titles = " or ".join(form.title for form in (chosen, *rivals))
    codes = " or ".join(form.code.replace("%.f", "") for form in (chosen, *rivals))
    raise Invalid(
        f"The column {column} of {label} ({texts[0]!r}, …) may be read as {titles}: give time_format, {codes}.",
        field="time_format",
    )
