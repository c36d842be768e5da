"""From a formula's text to a syntax tree, with errors that say where.

The text is first cut into the few kinds of tokens that formulas have; only then does Python's own parser see it, so
that strings, brackets, attributes and statements never reach it. Nothing is ever evaluated. Where a formula may have
texts ("AAPL") and columns of any name (`return`), the parser sees a placeholder in the place of each.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
import warnings
from typing import Literal, NamedTuple

from quarterdeck.errors import Invalid

__all__ = ["MAX_LENGTH", "MAX_NESTING", "FormulaError", "Quoted", "Source"]

MAX_LENGTH = 10_000
MAX_NESTING = 100
EXAMPLE = "close / delay(close, 20) - 1"

TOKEN = re.compile(
    r"(?P<space>\s+|\#[^\n]*)"
    r"|(?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>\*\*|//|<=|>=|==|!=|:=|&&|\|\||<>|[-+*/%<>=&|~^!?:;@.,()\[\]{}'\"`\\$])"
)
QUOTE = re.compile(r"'(?P<text1>[^'\n]*)'|\"(?P<text2>[^\"\n]*)\"|`(?P<column>[^`\n]+)`")
OPERATOR_WORDS = frozenset({"and", "or", "not", "if", "else"})
VALUE_WORDS = frozenset({"True", "False", "None"})
SIGNS = frozenset({"+", "-", "*", "/", "//", "%", "**", "<", "<=", ">", ">=", "==", "!=", "&", "|", "~"})
CURES = {
    "=": "use == to compare",
    ":=": "a formula can't assign; write the value where it is needed",
    "&&": "write 'and'",
    "||": "write 'or'",
    "!": "write 'not'",
    "<>": "use != for 'differs from'",
    "^": "use ** for powers",
    "?": "write where(condition, a, b)",
    ":": "write where(condition, a, b) to choose",
    ";": "a formula is one expression",
    ".": "a formula has no attributes; write function(x) rather than x.function()",
    "'": "a formula has no texts; name columns without quotes",
    '"': "a formula has no texts; name columns without quotes",
    "`": "name columns without quotes",
    "[": "use ( ) for grouping and delay(x, n) for earlier rows",
    "]": "use ( ) for grouping and delay(x, n) for earlier rows",
    "{": "use ( ) for grouping",
    "}": "use ( ) for grouping",
}


class FormulaError(Invalid):
    """A formula that can't be used. `position` is the index in its text where the trouble begins."""

    def __init__(self, text: str, position: int) -> None:
        super().__init__(text, field="formula")
        self.position = position


class Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def operand(self) -> bool:
        return self.kind in ("number", "quoted") or (self.kind == "name" and self.text not in OPERATOR_WORDS)


class Quoted(NamedTuple):
    """What stands in quotes: a text, or in backticks a column's name."""

    kind: Literal["text", "column"]
    value: str


class Source:
    """A formula's text and its tree. Raises `FormulaError` when the text is no formula.

    With `quotes` it may have texts and columns in backticks: `quoted` has them by the names that the tree has instead,
    which nobody can write.
    """

    def __init__(self, text: str, *, quotes: bool = False, example: str = EXAMPLE) -> None:
        self.text = text
        self.quoted: dict[str, Quoted] = {}
        self._quotes = quotes
        self._example = example
        if len(text) > MAX_LENGTH:
            raise FormulaError(
                f"the formula has {len(text):,} characters, more than the {MAX_LENGTH:,} allowed; split it", MAX_LENGTH
            )
        self.tokens = self._tokens()
        self._check_order()
        self.tree = self._parse()

    def error(self, what: str, position: int, cure: str = "") -> FormulaError:
        """An error of one sentence: what, at which line and column of the text, and the cure."""
        before = self.text[:position]
        column = position - (before.rfind("\n") + 1) + 1
        where = (
            f"line {before.count(chr(10)) + 1}, column {column}" if "\n" in self.text.strip() else f"column {column}"
        )
        return FormulaError(f"{what} at {where}" + (f"; {cure}" if cure else ""), position)

    def position(self, node: ast.expr) -> int:
        """Where the node begins in the text."""
        # the parser sees the tokens with one space between them, all on one line
        return self._starts.get(node.col_offset, 0)

    def _tokens(self) -> list[Token]:
        tokens: list[Token] = []
        position = 0
        while position < len(self.text):
            if self._quotes and self.text[position] in "'\"`":
                position = self._quote(tokens, position)
                continue
            match = TOKEN.match(self.text, position)
            if match is None:
                shown = self.text[position]
                shown = shown if shown.isprintable() else f"U+{ord(shown):04X}"
                raise self.error(f"unexpected character '{shown}'", position, "remove it")
            kind = match.lastgroup or ""
            if kind != "space":
                tokens.append(Token(kind, match.group(), position))
                self._check(tokens)
            position = match.end()
        if not tokens:
            raise FormulaError(f"the formula is empty; write one such as {self._example}", 0)
        return tokens

    def _quote(self, tokens: list[Token], position: int) -> int:
        match = QUOTE.match(self.text, position)
        if match is None:
            raise self.error(f"the {self.text[position]} is never closed", position, "close it on the same line")
        column = match["column"]
        placeholder = f"__{len(self.quoted)}"
        text = match["text1"] if match["text2"] is None else match["text2"]
        self.quoted[placeholder] = Quoted("text", text) if column is None else Quoted("column", column)
        tokens.append(Token("quoted", placeholder, position))
        return match.end()

    def _check(self, tokens: list[Token]) -> None:
        token = tokens[-1]
        if token.kind == "sign" and token.text not in SIGNS and token.text not in "(),":
            raise self.error(
                f"'{token.text}' can't be used in a formula", token.start, CURES.get(token.text, "remove it")
            )
        if token.kind == "name":
            if token.text.startswith("__"):
                raise self.error(f"the name '{token.text}' is not allowed", token.start, "use a column's name")
            if keyword.iskeyword(token.text) and token.text not in OPERATOR_WORDS | VALUE_WORDS:
                raise self.error(f"the word '{token.text}' can't be used in a formula", token.start, "remove it")
        if token.kind == "number" and token.text.lstrip("0").count("_"):
            raise self.error(f"the number '{token.text}' has an underscore", token.start, "write it without")

    def _check_order(self) -> None:
        opened: list[Token] = []
        calls: list[bool] = []
        last: Token | None = None
        for token in self.tokens:
            ended = last is not None and (last.operand or last.text == ")")
            if token.operand and ended and last is not None:
                shown = self.quoted[token.text].value if token.kind == "quoted" else token.text
                raise self.error(f"an operator is missing before '{shown}'", token.start, "write one, such as *")
            if token.text == "(":
                if last is not None and (
                    last.kind in ("number", "quoted") or last.text == ")" or last.text in VALUE_WORDS
                ):
                    raise self.error("an operator is missing before '('", token.start, "write one, such as *")
                opened.append(token)
                calls.append(last is not None and last.operand)
                if len(opened) > MAX_NESTING:
                    raise self.error(
                        f"the formula is nested more than {MAX_NESTING} deep", token.start, "use fewer parentheses"
                    )
            elif token.text == ")":
                if not opened:
                    raise self.error("the ')' has no '('", token.start, "remove it or open one before")
                empty_call = last is opened[-1] and calls[-1]
                if not ended and not empty_call:
                    raise self.error("something is missing before ')'", token.start, "complete the expression")
                opened.pop()
                calls.pop()
            elif token.text == ",":
                if not opened or not calls[-1]:
                    raise self.error("the ',' belongs to no function", token.start, "remove it")
                if not ended:
                    raise self.error("something is missing before ','", token.start, "complete the expression")
            elif not token.operand and token.text not in ("+", "-", "~", "not") and not ended:
                raise self.error(f"something is missing before '{token.text}'", token.start, "complete the expression")
            last = token
        if opened:
            raise self.error("the '(' is never closed", opened[-1].start, "close it with ')'")
        if last is not None and not (last.operand or last.text == ")"):
            raise self.error(f"something is missing after '{last.text}'", last.start, "complete the expression")

    def _parse(self) -> ast.expr:
        pieces: list[str] = []
        self._starts: dict[int, int] = {}
        length = 0
        for token in self.tokens:
            text = token.text
            if token.kind == "number":
                # a number in full: Python refuses 007 and lengths beyond some 4,000 digits by rules of its own
                text = self._number(token)
            piece = unicodedata.normalize("NFKC", text)
            self._starts[length] = token.start
            pieces.append(piece)
            length += len(piece.encode()) + 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return ast.parse(" ".join(pieces), mode="eval").body
        except SyntaxError as error:
            offset = max(0, (error.offset or 1) - 1)
            sent = len(" ".join(pieces)[:offset].encode())
            words = [token.text for token in self.tokens]
            if words.count("if") != words.count("else"):
                raise self.error("'if' and 'else' don't pair", 0, "write a if condition else b") from None
            near = max((start for start in self._starts if start <= sent), default=0)
            raise self.error(
                "the formula can't be read", self._starts[near], "check the operators and parentheses there"
            ) from None
        except (RecursionError, MemoryError, ValueError, OverflowError):
            raise self.error("the formula is nested too deep", 0, "split it into several") from None

    def _number(self, token: Token) -> str:
        value = float(token.text.replace("_", ""))
        if value in (float("inf"), float("-inf")):
            raise self.error("the number is too large", token.start, "numbers go to about 1.8e308")
        whole = token.text.isdecimal() and value < 1e15
        return str(int(token.text)) if whole else repr(value)
