"""Formulas over the rows of a report's source: `cumprod(1 + daily_return) - 1`, `metric == "ic_mean" and period == 1`.

Read by the parser of factor formulas (a whitelist over a syntax tree, never evaluated as Python), with texts in quotes
and columns of any name in backticks. What looks at more than one row goes along the rows as they are, or within the
groups of the columns that are named last: `cumsum(pnl, symbol)`. Missing stays missing; what is no finite number is
missing.
"""

from __future__ import annotations

import ast
import datetime as dt
import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import polars as pl

from quarterdeck.errors import Invalid
from quarterdeck.quant import steps
from quarterdeck.quant.expression import BINARY, COMPARISONS, MAX_DEPTH
from quarterdeck.quant.grammar import FormulaError, Source
from quarterdeck.quant.operators import NAMES, SYNTAX
from quarterdeck.report.hints import hint, near

__all__ = ["FUNCTIONS", "Function", "Kind", "RowFormula", "kind_of", "plain"]

Kind = Literal["number", "truth", "text", "time", "any"]
_WORDS = {"number": "a number", "truth": "something true or false", "text": "a text", "time": "a time"}
_EXAMPLE = "cumsum(pnl)"
_TIME = pl.Datetime("us", "UTC")
_DTYPES: dict[str, pl.DataType] = {"number": pl.Float64(), "truth": pl.Boolean(), "text": pl.String(), "time": _TIME}
_STAGE = "\x1f"
"""What names of columns in between begin with: no table's do."""


def kind_of(dtype: pl.DataType | type[pl.DataType]) -> Kind | None:
    """What a column of that type is in a formula and in a panel; None where it can't be used."""
    if dtype == pl.Boolean:
        return "truth"
    if dtype.is_numeric() or dtype in (pl.Null, pl.Duration):
        return "number"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return "text"
    return "time" if dtype in (pl.Datetime, pl.Date) else None


def plain(name: str, dtype: pl.DataType) -> pl.Expr:
    """The column in its plain form: Float64 without what is not finite, Boolean, String, or time in UTC."""
    column = pl.col(name)
    match kind_of(dtype):
        case "number" if dtype == pl.Duration:
            return column.dt.total_microseconds() / 1e6
        case "number" if not dtype.is_float():
            return column.cast(pl.Float64)
        case "number":
            return steps.finite(column.cast(pl.Float64))
        case "text":
            return column.cast(pl.String)
        case "time":
            zoned = isinstance(dtype, pl.Datetime) and dtype.time_zone is not None
            return column.cast(_TIME) if zoned else column.cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return column


@dataclass(frozen=True, slots=True)
class Function:
    """A function of these formulas: how it is written, what it means, and what it takes and gives.

    `takes`: the kinds of its arguments; `whole`: it looks at all rows (then further arguments are the columns of its
    groups); `count`: how many literal whole numbers follow.
    """

    signature: str
    meaning: str
    takes: tuple[Kind, ...]
    gives: Kind
    build: Callable[..., pl.Expr]
    whole: bool = False
    count: int = 0

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]


def _running(signature: str, meaning: str, build: Callable[..., pl.Expr], count: int = 0) -> Function:
    return Function(signature, meaning, ("number",), "number", build, whole=True, count=count)


def _of_time(name: str, meaning: str, build: Callable[[pl.Expr], pl.Expr], gives: Kind = "number") -> Function:
    return Function(f"{name}(x)", meaning, ("time",), gives, build)


FUNCTIONS: dict[str, Function] = {
    one.name: one
    for one in (
        _running("cumsum(x, ...)", "the sum of all rows so far", lambda x: x.cum_sum()),
        _running("cumprod(x, ...)", "the product of all rows so far", lambda x: x.cum_prod()),
        _running("cummax(x, ...)", "the largest so far", lambda x: x.cum_max()),
        _running("cummin(x, ...)", "the smallest so far", lambda x: x.cum_min()),
        _running("lag(x, n, ...)", "x of n rows before", lambda x, n: x.shift(n), 1),
        _running(
            "rolling_mean(x, n, ...)", "the mean of the last n rows", lambda x, n: x.rolling_mean(n, min_samples=n), 1
        ),
        _running(
            "rolling_std(x, n, ...)",
            "the standard deviation (ddof 1) of the last n rows",
            lambda x, n: x.rolling_std(n, min_samples=n) if n > 1 else x * float("nan"),
            1,
        ),
        _running("mean(x, ...)", "the mean of all rows", lambda x: x.mean()),
        _running("sum(x, ...)", "the sum of all rows; missing ones add nothing", lambda x: x.sum()),
        _running("std(x, ...)", "the standard deviation (ddof 1) of all rows", lambda x: x.std(ddof=1)),
        _running("median(x, ...)", "the median of all rows", lambda x: x.median()),
        _running("lowest(x, ...)", "the smallest of all rows", lambda x: x.min()),
        _running("highest(x, ...)", "the largest of all rows", lambda x: x.max()),
        _running("first(x, ...)", "the first one that is not missing", lambda x: x.drop_nulls().first()),
        _running("last(x, ...)", "the last one that is not missing", lambda x: x.drop_nulls().last()),
        _running("rank(x, ...)", "the rank by size from 1, ties averaged", lambda x: x.rank("average")),
        Function("row()", "the row's number from 1", (), "number", lambda: pl.int_range(1, pl.len() + 1), whole=True),
        _of_time("year", "the year of a time, in UTC", lambda x: x.dt.year()),
        _of_time("quarter", "its quarter, 1 to 4", lambda x: x.dt.quarter()),
        _of_time("month", "its month, 1 to 12", lambda x: x.dt.month()),
        _of_time("day", "its day of the month", lambda x: x.dt.day()),
        _of_time("weekday", "its day of the week, 1 (Monday) to 7", lambda x: x.dt.weekday()),
        _of_time("hour", "its hour", lambda x: x.dt.hour()),
        _of_time("minute", "its minute", lambda x: x.dt.minute()),
        _of_time("seconds", "seconds since 1970", lambda x: x.dt.epoch("us") / 1e6),
        _of_time("date", "the beginning of its day", lambda x: x.dt.truncate("1d"), "time"),
        _of_time("month_start", "the beginning of its month", lambda x: x.dt.truncate("1mo"), "time"),
        Function("text(x)", "x as a text", ("any",), "text", lambda x: x),
        Function("lower(x)", "a text in small letters", ("text",), "text", lambda x: x.str.to_lowercase()),
        Function("upper(x)", "a text in capitals", ("text",), "text", lambda x: x.str.to_uppercase()),
        Function(
            "contains(x, y)",
            "is the text y in the text x?",
            ("text", "text"),
            "truth",
            lambda x, y: x.str.contains(y, literal=True),
        ),
        Function(
            "starts(x, y)",
            "does the text x begin with the text y?",
            ("text", "text"),
            "truth",
            lambda x, y: x.str.starts_with(y),
        ),
    )
}
"""The functions that factor formulas don't have, by name. Their elementwise ones can be used, too."""

_CHOOSE = ("where", "if_else")
_ANY = ("isnull", "isnan", "is_nan", "is_null")
_SAME = ("ifnull", "fill", "fillna")


class _Term(NamedTuple):
    kind: Kind
    expr: pl.Expr
    literal: float | str | None = None


class RowFormula:
    """A formula that was read and found right, as far as that can be told without the columns' types.

    `columns` are those that it reads. Raises `FormulaError`, an `Invalid` of one sentence with position and cure.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._source = Source(text, quotes=True, example=_EXAMPLE)
        reader = _Reader(self._source, None)
        self.kind = reader.read(self._source.tree).kind
        self.columns = frozenset(reader.used)
        self.by_row = not reader.stages
        """Whether each row's value needs nothing but that row."""

    def column(self, frame: pl.DataFrame) -> pl.Series:
        """The formula's values for a frame, of its length: Float64, Boolean, String, or time in UTC.

        Raises `Invalid` when a column is missing or of the wrong type.
        """
        reader = _Reader(self._source, {name: kind_of(dtype) for name, dtype in frame.schema.items()})
        term = reader.read(self._source.tree)
        work = frame.select(plain(name, frame.schema[name]) for name in sorted(reader.used))
        if not reader.used:
            work = pl.select(pl.int_range(frame.height).alias(_STAGE))
        for stage in reader.stages:  # one by one: a window inside a window gives wrong values
            work = pl.DataFrame(work.with_columns(stage).get_columns())
        result = work.select(_spread(term.expr).alias("value"))["value"]
        return result.cast(pl.Float64) if term.kind in ("number", "any") else result

    def condition(self, frame: pl.DataFrame) -> pl.Series:
        """The same as a mask: missing is false. Raises `Invalid` also when the formula is no condition."""
        values = self.column(frame)
        if values.dtype != pl.Boolean:
            raise Invalid("a condition is true or false, such as value > 0")
        return values.fill_null(False)


def _spread(value: pl.Expr) -> pl.Expr:
    # a formula without columns has one value, which all rows have
    return pl.when(pl.int_range(pl.len()) >= 0).then(value)


class _Reader:
    """Turns a syntax tree into one expression over plain columns and the stages that must be there before it."""

    def __init__(self, source: Source, kinds: Mapping[str, Kind | None] | None) -> None:
        self._source = source
        self._kinds = kinds
        self.used: set[str] = set()
        self.stages: list[pl.Expr] = []

    def read(self, tree: ast.expr, depth: int = 0) -> _Term:
        if depth > MAX_DEPTH:
            raise self._error(tree, f"the formula is nested more than {MAX_DEPTH} deep", "split it into several")
        depth += 1
        match tree:
            case ast.Constant(value=bool() as value):
                return _Term("truth", pl.lit(value))
            case ast.Constant(value=int() | float() as value):
                return _Term("number", pl.lit(float(value)), float(value))
            case ast.Constant(value=None):
                return _Term("any", pl.lit(None))
            case ast.Name(id=name):
                return self._name(tree, name)
            case ast.Call():
                return self._call(tree, depth)
            case ast.UnaryOp():
                return self._unary(tree, depth)
            case ast.BinOp():
                return self._binary(tree, depth)
            case ast.BoolOp(op=op, values=values):
                build = SYNTAX["and" if isinstance(op, ast.And) else "or"].build
                terms = [self._need(value, "truth", depth).expr for value in values]
                return _Term("truth", functools.reduce(build, terms))
            case ast.Compare():
                return self._compare(tree, depth)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._choose(tree, [test, body, orelse], depth)
        raise self._error(tree, "this can't be used in a formula", "use columns, numbers, texts and functions")

    def _error(self, tree: ast.expr, what: str, cure: str = "") -> FormulaError:
        return self._source.error(what, self._source.position(tree), cure)

    def _need(self, tree: ast.expr, kind: Kind, depth: int) -> _Term:
        return self._held(tree, self.read(tree, depth), kind)

    def _held(self, tree: ast.expr, term: _Term, kind: Kind) -> _Term:
        if term.kind == "any" and kind != "any" and self._kinds is not None:
            return _Term(kind, term.expr.cast(_DTYPES[kind]))
        if kind == "any" or term.kind in (kind, "any"):
            return term
        if term.kind == "truth" and kind == "number":
            return _Term("number", term.expr.cast(pl.Float64))
        if kind == "time" and isinstance(term.literal, str):
            return _Term("time", pl.lit(self._moment(tree, term.literal)).cast(_TIME))
        what = f"the column '{tree.id}' is" if isinstance(tree, ast.Name) and tree.id in self.used else "this is"
        raise self._error(tree, f"{what} {_WORDS[term.kind]} where the formula needs {_WORDS[kind]},", "use another")

    def _moment(self, tree: ast.expr, text: str) -> dt.datetime:
        try:
            moment = dt.datetime.fromisoformat(text.strip())
        except ValueError:
            raise self._error(tree, f"'{text}' is no time", 'write "2024-01-31" or "2024-01-31 14:30"') from None
        return moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)

    def _alike(self, trees: Iterable[ast.expr], depth: int) -> list[_Term]:
        """The terms, all of one kind."""
        trees = list(trees)
        terms = [self.read(tree, depth) for tree in trees]
        kinds = [term.kind for term in terms if term.kind != "any"]
        wanted: Kind = "any"
        if kinds:
            wanted = "time" if "time" in kinds else kinds[0] if len(set(kinds)) == 1 else "number"
        return [self._held(tree, term, wanted) for tree, term in zip(trees, terms, strict=True)]

    def _name(self, tree: ast.expr, name: str) -> _Term:
        quoted = self._source.quoted.get(name)
        if quoted is not None and quoted.kind == "text":
            return _Term("text", pl.lit(quoted.value), quoted.value)
        if quoted is not None:
            name = quoted.value
        elif name in ("nan", "null") and name not in (self._kinds or ()):
            return _Term("any", pl.lit(None))
        if self._kinds is None:
            self.used.add(name)
            return _Term("any", pl.col(name))
        if name not in self._kinds:
            raise self._error(tree, f"there is no column '{name}'", hint(name, self._kinds).removeprefix("; "))
        kind = self._kinds[name]
        if kind is None:
            raise self._error(tree, f"the column '{name}' holds what no formula can use", "leave it out")
        self.used.add(name)
        return _Term(kind, pl.col(name))

    def _unary(self, tree: ast.UnaryOp, depth: int) -> _Term:
        if isinstance(tree.op, ast.Not | ast.Invert):
            return _Term("truth", ~self._need(tree.operand, "truth", depth).expr)
        term = self._need(tree.operand, "number", depth)
        if isinstance(tree.op, ast.UAdd):
            return term
        return _Term("number", -term.expr, -term.literal if isinstance(term.literal, float) else None)

    def _binary(self, tree: ast.BinOp, depth: int) -> _Term:
        name = BINARY.get(type(tree.op))
        if name is None:
            raise self._error(tree, "this operator can't be used in a formula", "use + - * / // % **")
        kind: Kind = "truth" if name in ("and", "or") else "number"
        left, right = self._need(tree.left, kind, depth), self._need(tree.right, kind, depth)
        return _Term(kind, SYNTAX[name].build(left.expr, right.expr))

    def _compare(self, tree: ast.Compare, depth: int) -> _Term:
        parts = [tree.left, *tree.comparators]
        for part in parts:
            if isinstance(part, ast.BinOp) and isinstance(part.op, ast.BitAnd | ast.BitOr):
                raise self._error(
                    part, "'&' and '|' bind closer than a comparison", "put the comparisons in parentheses"
                )
        terms = self._alike(parts, depth)
        compared = []
        for op, left, right in zip(tree.ops, terms, terms[1:], strict=False):
            name = COMPARISONS.get(type(op))
            if name is None:
                raise self._error(tree, "this comparison can't be used in a formula", "use < <= > >= == !=")
            compared.append(SYNTAX[name].build(left.expr, right.expr))
        return _Term("truth", functools.reduce(SYNTAX["and"].build, compared))

    def _choose(self, tree: ast.expr, parts: list[ast.expr], depth: int) -> _Term:
        if len(parts) != 3:
            raise self._error(tree, f"where takes 3 arguments, not {len(parts)},", "write where(c, x, y)")
        condition = self._need(parts[0], "truth", depth)
        then, other = self._alike(parts[1:], depth)
        kind = then.kind if then.kind != "any" else other.kind
        return _Term(kind, SYNTAX["choose"].build(condition.expr, then.expr, other.expr))

    def _call(self, tree: ast.Call, depth: int) -> _Term:
        if not isinstance(tree.func, ast.Name) or tree.func.id in self._source.quoted:
            raise self._error(tree.func, "only a function's name can be called", "write function(x)")
        name = tree.func.id.lower()
        if tree.keywords:
            raise self._error(tree.func, f"the arguments of {name} have no names", "write the values alone")
        if name in _CHOOSE:
            return self._choose(tree, list(tree.args), depth)
        if name == "isin":
            return self._isin(tree, depth)
        if name in FUNCTIONS:
            return self._own(tree, FUNCTIONS[name], depth)
        if name in NAMES and NAMES[name].kind == "elementwise":
            return self._elementwise(tree, name, depth)
        known = {"isin", *FUNCTIONS, *(one for one, entry in NAMES.items() if entry.kind == "elementwise")}
        raise self._error(tree.func, f"unknown function '{tree.func.id}'", near(name, known))

    def _isin(self, tree: ast.Call, depth: int) -> _Term:
        if len(tree.args) < 2:
            raise self._error(tree.func, "isin takes 2 or more arguments,", "write isin(x, a, b)")
        first, *others = self._alike(tree.args, depth)
        return _Term("truth", functools.reduce(SYNTAX["or"].build, [first.expr == one.expr for one in others]))

    def _elementwise(self, tree: ast.Call, name: str, depth: int) -> _Term:
        entry = NAMES[name]
        least = sum(parameter.default is None for parameter in entry.parameters)
        given = len(tree.args)
        if given < least or (given > len(entry.parameters) and not entry.variadic):
            raise self._error(tree.func, f"{name} doesn't take {given} arguments,", f"write {entry.signature}")
        if name in _ANY:
            return _Term("truth", entry.build(self.read(tree.args[0], depth).expr))
        if name in _SAME:
            left, right = self._alike(tree.args, depth)
            return _Term(left.kind if left.kind != "any" else right.kind, entry.build(left.expr, right.expr))
        values = [arg for place, arg in enumerate(tree.args) if not _literal_at(entry.parameters, place)]
        terms = [self._need(arg, "number", depth).expr.cast(pl.Float64) for arg in values]
        literals = [
            self._whole(tree.args[place], 0, 15) if place < given else int(parameter.default or 0)
            for place, parameter in enumerate(entry.parameters)
            if parameter.literal
        ]
        return _Term("number", entry.build(*terms, *literals))

    def _own(self, tree: ast.Call, entry: Function, depth: int) -> _Term:
        fixed = len(entry.takes) + entry.count
        given = len(tree.args)
        if given < fixed or (given > fixed and not entry.whole):
            need = "an argument" if fixed == 1 else f"{fixed} arguments"
            raise self._error(tree.func, f"{entry.name} takes {need}, not {given},", f"write {entry.signature}")
        terms = [self._need(arg, kind, depth) for arg, kind in zip(tree.args, entry.takes, strict=False)]
        if entry.name == "text":
            return _Term("text", _as_text(terms[0]))
        numbers = [self._whole(arg, 1, 1_000_000) for arg in tree.args[len(entry.takes) : fixed]]
        expressions = [term.expr.cast(pl.Float64) if term.kind in ("number", "any") else term.expr for term in terms]
        if entry.takes != ("number",):
            expressions = [term.expr for term in terms]
        if not entry.whole:
            return _Term(entry.gives, entry.build(*expressions, *numbers))
        # every term and group is a column of its own first
        inputs = [self._stage(_spread(one)) for one in expressions]
        groups = [self._stage(_spread(self.read(arg, depth).expr)) for arg in tree.args[fixed:]]
        result = entry.build(*inputs, *numbers).cast(pl.Float64)
        return _Term(entry.gives, self._stage(steps.finite(result.over(groups) if groups else result)))

    def _stage(self, value: pl.Expr) -> pl.Expr:
        name = f"{_STAGE}{len(self.stages)}"
        self.stages.append(value.alias(name))
        return pl.col(name)

    def _whole(self, tree: ast.expr, low: int, high: int) -> int:
        value = tree.value if isinstance(tree, ast.Constant) else None
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._error(tree, f"this must be a whole number from {low} to {high:,}", "write one")
        return value


def _literal_at(parameters: tuple[object, ...], place: int) -> bool:
    return place < len(parameters) and bool(getattr(parameters[place], "literal", False))


def _as_text(term: _Term) -> pl.Expr:
    match term.kind:
        case "time":
            clock = term.expr.dt.truncate("1d") != term.expr
            return (
                pl.when(clock)
                .then(term.expr.dt.strftime("%Y-%m-%d %H:%M:%S"))
                .otherwise(term.expr.dt.strftime("%Y-%m-%d"))
            )
        case "number":
            number = term.expr.cast(pl.Float64)
            whole = (number == number.round()) & (number.abs() < 1e15)
            return (
                pl.when(whole)
                .then(number.cast(pl.Int64, strict=False).cast(pl.String))
                .otherwise(number.cast(pl.String))
            )
    return term.expr.cast(pl.String)
