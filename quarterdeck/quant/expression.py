"""Factor formulas: text such as `rank(close / delay(close, 20) - 1)` becomes stages of Polars expressions.

    formula = compile_formula("rank(ts_mean(volume, 5) / ts_mean(volume, 60))", columns=frame.columns)
    factor = formula.evaluate(frame)        # time, symbol, value

A formula is read by a whitelist over its syntax tree and never evaluated as Python. Each distinct subexpression becomes
one column, computed once; all that depend only on earlier columns are computed together in one stage, so that an
operator along symbols is never nested inside one across them. `operators.OPERATORS` lists what can be written.
"""

from __future__ import annotations

import ast
import difflib
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from quarterdeck.errors import Invalid
from quarterdeck.quant.factor import FactorValues, by_symbol, factor_values
from quarterdeck.quant.grammar import FormulaError, Source
from quarterdeck.quant.operators import NAMES, OPERATORS, SYNTAX, Operator, Parameter
from quarterdeck.quant.program import FactorCodeError, check_code, evaluate_code
from quarterdeck.quant.steps import ROW, SYMBOL

__all__ = [
    "MAX_WINDOW",
    "OPERATORS",
    "FactorCodeError",
    "FactorValues",
    "Formula",
    "FormulaError",
    "check_code",
    "compile_formula",
    "evaluate_code",
]

MAX_WINDOW = 100_000
MAX_DEPTH = 200

BINARY: dict[type[ast.operator], str] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
    ast.Div: "divide",
    ast.FloorDiv: "floor_divide",
    ast.Mod: "modulo",
    ast.Pow: "raise",
    ast.BitAnd: "and",
    ast.BitOr: "or",
}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
}
MISSING_NAMES = frozenset({"nan", "null"})
# a constant as a column, for the operators that look at more than one row
SPREAD = Operator(
    "constant", "constant(x)", "the same in each row", "elementwise", lambda x: pl.when(pl.col(ROW) >= 0).then(x)
)
ADV = re.compile(r"adv([1-9]\d{0,4})")

Shape = Literal["number", "truth", "literal", "group"]


@dataclass(frozen=True, slots=True)
class Node:
    """One distinct subexpression: an operator on earlier nodes, or a column, or a constant.

    `args` are the numbers of those nodes, `params` the literal arguments, `level` the stage that computes it.
    """

    shape: Shape
    level: int
    lookback: int
    operator: Operator | None = None
    args: tuple[int, ...] = ()
    params: tuple[float, ...] = ()
    column: str = ""
    constant: float | None = None


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula that was read and found right.

    `columns` are the columns of market data that it reads; `lookback` is how many rows of a symbol before a time its
    value there needs at most, summed over nesting (ema counts as ten times its window, beyond which two billionths
    of its weight lie).
    """

    text: str
    columns: frozenset[str]
    lookback: int
    _nodes: tuple[Node, ...] = field(repr=False)

    def evaluate(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The factor: time, symbol, value (Float64), only rows with a finite value, sorted by time then symbol.

        `frame` has symbol, time and the formula's columns, one row a symbol and time, in any order. A symbol's own rows
        are its calendar. Raises `Invalid` when a column is missing or of a type that can't be used.
        """
        return self.values(frame).frame

    def values(self, frame: pl.DataFrame) -> FactorValues:
        """Like `evaluate`, and says how many rows had no value."""
        work = self._inputs(frame)
        last_use = {arg: node.level for node in sorted(self._nodes, key=lambda n: n.level) for arg in node.args}
        for level in range(1, max(node.level for node in self._nodes) + 1):
            stage = [
                self._expression(node, node.operator).alias(f"#{index}")
                for index, node in enumerate(self._nodes)
                if node.level == level and node.operator is not None
            ]
            spent = [f"#{index}" for index, used in last_use.items() if used == level]
            # as series of full length: Polars keeps a column of one value as that value, and then fails to compare it
            # with a constant ("length 1 doesn't match")
            work = pl.DataFrame(work.with_columns(stage).drop(spent, strict=False).get_columns())
        return factor_values(work.select("time", "symbol", self._number(len(self._nodes) - 1).alias("value")))

    def _inputs(self, frame: pl.DataFrame) -> pl.DataFrame:
        for name in self.columns:
            if name not in frame.columns:
                cure = _suggest(name, frame.columns) or "name one of its columns"
                raise Invalid(f"the table has no column '{name}', which the formula reads; {cure}")
        wanted = {"time", "symbol", *self.columns}
        ordered = by_symbol(frame.select(name for name in frame.columns if name in wanted), "the table")
        columns = [
            self._input(ordered, node).alias(f"#{index}") for index, node in enumerate(self._nodes) if node.column
        ]
        symbol = pl.col("symbol").rle_id()
        row = pl.int_range(pl.len())
        first = pl.when(symbol != symbol.shift(1, fill_value=-1)).then(row).forward_fill()
        return ordered.select("time", "symbol", symbol.alias(SYMBOL), (row - first).alias(ROW), *columns)

    def _input(self, frame: pl.DataFrame, node: Node) -> pl.Expr:
        name = node.column
        dtype = frame.schema[name]
        if node.shape == "group":
            if dtype.is_nested() or dtype == pl.Object:
                raise Invalid(f"the column '{name}' can't be a group; a group is a column of texts or numbers")
            return pl.col(name)
        if dtype == pl.Null or dtype.is_numeric() or dtype == pl.Boolean:
            value = pl.col(name).cast(pl.Float64)
            return pl.when(value.is_finite()).then(value)
        cure = "use it as a group, as in group_mean(x, " + name + ")" if dtype == pl.String else "leave it out"
        raise Invalid(f"the column '{name}' holds {dtype} where the formula needs numbers; {cure}")

    def _number(self, index: int) -> pl.Expr:
        node = self._nodes[index]
        if node.shape == "literal":
            return pl.lit(node.constant, dtype=pl.Float64)
        column = pl.col(f"#{index}")
        return column.cast(pl.Float64) if node.shape == "truth" else column

    def _truth(self, index: int) -> pl.Expr:
        return pl.col(f"#{index}") if self._nodes[index].shape == "truth" else self._number(index) != 0

    def _expression(self, node: Node, entry: Operator) -> pl.Expr:
        arguments = [
            self._truth(arg) if kind == "condition" else self._number(arg)
            for arg, kind in zip(node.args, _kinds(entry, len(node.args)), strict=True)
        ]
        return entry.build(*arguments, *node.params)


def compile_formula(text: str, columns: Iterable[str] | None = None) -> Formula:
    """Read a formula. `columns` are the columns that its table has; without them, any name is taken for a column.

    `returns` and `adv20` (any number) mean returns(close) and ts_mean(volume, 20) unless `columns` has them.
    Raises `FormulaError`, an `Invalid` of one sentence that names the position and the cure.
    """
    source = Source(text)
    reader = _Reader(source, None if columns is None else frozenset(columns))
    top = reader.read(source.tree)
    nodes = reader.upto(top)
    names = frozenset(node.column for node in nodes if node.column)
    if not names:
        raise FormulaError("the formula reads no column; write one such as close / delay(close, 20) - 1", 0)
    return Formula(text, names, nodes[-1].lookback, nodes)


def _kinds(entry: Operator, count: int) -> list[str]:
    """What each of `count` computed arguments is: number, condition or group."""
    if entry.name in SYNTAX:
        letters = re.findall(r"\b[xycd]\b", entry.signature)
        kinds = ["condition" if letter in "cd" else "number" for letter in letters]
        # `x if c else y` is built as where(c, x, y) is
        return ["condition", "number", "number"] if entry.name == "choose" else kinds
    kinds = [parameter.kind for parameter in entry.parameters if not parameter.literal]
    return kinds + kinds[-1:] * (count - len(kinds))


def _suggest(name: str, known: Iterable[str]) -> str:
    known = sorted(known)
    folded = {candidate.casefold(): candidate for candidate in known}
    if name.casefold() in folded:
        return f"did you mean '{folded[name.casefold()]}'?"
    close = difflib.get_close_matches(name, known, n=2, cutoff=0.6)
    return f"did you mean {' or '.join(repr(candidate) for candidate in close)}?" if close else ""


class _Reader:
    """Turns a syntax tree into nodes, each distinct one once."""

    def __init__(self, source: Source, columns: frozenset[str] | None) -> None:
        self._source = source
        self._columns = columns
        # Python reads names in their NFKC form
        self._written = {unicodedata.normalize("NFKC", name): name for name in columns or ()}
        self._nodes: list[Node] = []
        self._numbers: dict[Node, int] = {}

    def upto(self, top: int) -> tuple[Node, ...]:
        return tuple(self._nodes[: top + 1])

    def read(self, tree: ast.expr, depth: int = 0) -> int:
        """The number of the node that computes `tree`."""
        if depth > MAX_DEPTH:
            raise self._error(tree, f"the formula is nested more than {MAX_DEPTH} deep", "split it into several")
        depth += 1
        match tree:
            case ast.Constant(value=value):
                return self._constant(tree, value)
            case ast.Name(id=name):
                return self._name(tree, name)
            case ast.Call():
                return self._call(tree, depth)
            case ast.UnaryOp():
                return self._unary(tree, depth)
            case ast.BinOp():
                return self._binary(tree, depth)
            case ast.BoolOp(op=op, values=values):
                name = "and" if isinstance(op, ast.And) else "or"
                return self._chain(name, [self.read(value, depth) for value in values])
            case ast.Compare():
                return self._compare(tree, depth)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._apply(SYNTAX["choose"], [self.read(part, depth) for part in (test, body, orelse)])
        raise self._error(tree, "this can't be used in a formula", "use operators, functions, columns and numbers")

    def _error(self, tree: ast.expr, what: str, cure: str = "") -> FormulaError:
        return self._source.error(what, self._source.position(tree), cure)

    def _add(self, node: Node) -> int:
        number = self._numbers.setdefault(node, len(self._nodes))
        if number == len(self._nodes):
            self._nodes.append(node)
        return number

    def _apply(self, entry: Operator, args: list[int], params: tuple[float, ...] = ()) -> int:
        literal = [self._nodes[arg].shape == "literal" for arg in args]
        # nothing but constants would be one row long rather than a column
        if entry is not SPREAD and (entry.kind != "elementwise" or all(literal)):
            args = [self._apply(SPREAD, [arg]) if fixed else arg for arg, fixed in zip(args, literal, strict=True)]
        parts = [self._nodes[arg] for arg in args]
        own = 0
        if entry.kind == "time-series":
            own = entry.lookback(int(params[0]))
        return self._add(
            Node(
                shape="truth" if entry.truth else "number",
                level=1 + max(part.level for part in parts),
                lookback=own + max(part.lookback for part in parts),
                operator=entry,
                args=tuple(args),
                params=params,
            )
        )

    def _chain(self, name: str, args: list[int]) -> int:
        # halves rather than one after the other: a long chain is then no deep one
        if len(args) == 1:
            return args[0]
        middle = len(args) // 2
        return self._apply(SYNTAX[name], [self._chain(name, args[:middle]), self._chain(name, args[middle:])])

    def _constant(self, tree: ast.expr, value: object) -> int:
        if value is None:
            return self._add(Node("literal", 0, 0))
        if isinstance(value, bool | int | float):
            return self._add(Node("literal", 0, 0, constant=float(value)))
        raise self._error(tree, "this value can't be used in a formula", "use numbers")

    def _name(self, tree: ast.expr, name: str) -> int:
        if self._columns is None or name in self._written:
            built = self._columns is None and (name == "returns" or ADV.fullmatch(name) or name in MISSING_NAMES)
            if not built:
                return self._column(tree, self._written.get(name, name))
        if name in MISSING_NAMES:
            return self._constant(tree, None)
        if name == "returns":
            return self._apply(NAMES["returns"], [self._needed(tree, name, "close")], (1,))
        if match := ADV.fullmatch(name):
            return self._apply(NAMES["ts_mean"], [self._needed(tree, name, "volume")], (int(match[1]),))
        if name.lower() in NAMES:
            signature = NAMES[name.lower()].signature
            raise self._error(tree, f"'{name}' is a function without its arguments", f"write {signature}")
        raise self._source.error(
            f"unknown name '{name}'", self._source.position(tree), _suggest(name, {*(self._columns or ()), *NAMES})
        )

    def _column(self, tree: ast.expr, name: str) -> int:
        if name in ("time", "symbol"):
            raise self._error(tree, f"'{name}' is no number", "use it only as the group of a group function")
        return self._add(Node("number", 0, 0, column=name))

    def _needed(self, tree: ast.expr, name: str, column: str) -> int:
        if self._columns is not None and column not in self._columns:
            raise self._error(tree, f"'{name}' needs the column '{column}', which the table lacks", "use another")
        return self._column(tree, column)

    def _unary(self, tree: ast.UnaryOp, depth: int) -> int:
        operand = self.read(tree.operand, depth)
        if isinstance(tree.op, ast.UAdd):
            return operand
        if isinstance(tree.op, ast.USub):
            inner = self._nodes[operand]
            if inner.constant is not None:
                return self._add(Node("literal", 0, 0, constant=-inner.constant))
            return self._apply(SYNTAX["negate"], [operand])
        if isinstance(tree.op, ast.Invert) and self._surely_number(operand):
            raise self._error(tree, "'~' needs something true or false", "put a comparison in parentheses")
        return self._apply(SYNTAX["not"], [operand])

    def _surely_number(self, number: int) -> bool:
        node = self._nodes[number]
        return node.shape != "truth" and not node.column and node.constant not in (0, 1)

    def _binary(self, tree: ast.BinOp, depth: int) -> int:
        name = BINARY.get(type(tree.op))
        if name is None:
            raise self._error(tree, "this operator can't be used in a formula", "use + - * / // % **")
        left, right = self.read(tree.left, depth), self.read(tree.right, depth)
        if name in ("and", "or") and (self._surely_number(left) or self._surely_number(right)):
            sign = "&" if name == "and" else "|"
            raise self._error(
                tree, f"'{sign}' needs something true or false on both sides", "put the comparisons in parentheses"
            )
        return self._apply(SYNTAX[name], [left, right])

    def _compare(self, tree: ast.Compare, depth: int) -> int:
        parts = [tree.left, *tree.comparators]
        for part in parts:
            if isinstance(part, ast.BinOp) and isinstance(part.op, ast.BitAnd | ast.BitOr):
                raise self._error(
                    part, "'&' and '|' bind closer than a comparison", "put the comparisons in parentheses"
                )
        numbers = [self.read(part, depth) for part in parts]
        compared = []
        for op, left, right in zip(tree.ops, numbers, numbers[1:], strict=False):
            name = COMPARISONS.get(type(op))
            if name is None:
                raise self._error(tree, "this comparison can't be used in a formula", "use < <= > >= == !=")
            compared.append(self._apply(SYNTAX[name], [left, right]))
        return self._chain("and", compared)

    def _call(self, tree: ast.Call, depth: int) -> int:
        if not isinstance(tree.func, ast.Name):
            raise self._error(tree.func, "only a function's name can be called", "write function(x)")
        written = tree.func.id
        entry = NAMES.get(written.lower())
        if entry is None:
            if written in self._written:
                raise self._error(tree.func, f"'{written}' is a column, no function", "write * to multiply")
            raise self._source.error(
                f"unknown function '{written}'", self._source.position(tree.func), _suggest(written, NAMES)
            )
        parameters = entry.parameters
        least = sum(parameter.default is None for parameter in parameters)
        given = len(tree.args)
        if given < least or (given > len(parameters) and not entry.variadic) or tree.keywords:
            need = f"{least}" if least == len(parameters) else f"{least} to {len(parameters)}"
            need = f"{least} or more" if entry.variadic else need
            raise self._error(
                tree.func,
                f"{written} takes {need} argument{'' if need == '1' else 's'}, not {given},",
                f"write {entry.signature}",
            )
        return self._arguments(tree, entry, depth)

    def _arguments(self, tree: ast.Call, entry: Operator, depth: int) -> int:
        parameters = list(entry.parameters)
        parameters += [parameters[-1]] * (len(tree.args) - len(parameters))
        args: list[int] = []
        params: list[float] = []
        for index, parameter in enumerate(parameters):
            argument = tree.args[index] if index < len(tree.args) else None
            if argument is None:
                params.append(parameter.default or 0)
            elif parameter.literal:
                params.append(self._literal(argument, parameter, entry))
            elif parameter.kind == "group":
                args.append(self._group(argument, depth))
            else:
                args.append(self.read(argument, depth))
        return self._apply(entry, args, tuple(params))

    def _group(self, tree: ast.expr, depth: int) -> int:
        if isinstance(tree, ast.Name) and (self._columns is None or tree.id in self._written):
            return self._add(Node("group", 0, 0, column=self._written.get(tree.id, tree.id)))
        return self.read(tree, depth)

    def _literal(self, tree: ast.expr, parameter: Parameter, entry: Operator) -> float:
        negative = isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub)
        inner = tree.operand if isinstance(tree, ast.UnaryOp) and negative else tree
        value = inner.value if isinstance(inner, ast.Constant) else None
        number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
        if number is not None and negative:
            number = -number
        wanted: dict[str, tuple[str, float, float, type | tuple[type, ...]]] = {
            "window": (f"a whole number from {entry.least} to {MAX_WINDOW:,}", entry.least, MAX_WINDOW, int),
            "count": ("a whole number from 2 to 1,000", 2, 1000, int),
            "digits": ("a whole number from 0 to 15", 0, 15, int),
            "fraction": ("a number from 0 to 1", 0, 1, (int, float)),
            "positive": ("a positive number", 1e-300, 1e300, (int, float)),
        }
        text, low, high, kinds = wanted[parameter.kind]
        if number is None or not isinstance(number, kinds) or not low <= number <= high:
            subject = "the window" if parameter.kind == "window" else f"'{parameter.name}'"
            raise self._error(tree, f"{subject} of {entry.name} must be {text}", f"write {entry.signature}")
        return number
