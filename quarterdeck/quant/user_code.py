"""A user's source text: read without running it, run as a module, and its errors told by its own lines."""

from __future__ import annotations

import ast
import contextlib
import linecache
import sys
import traceback
import types
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from quarterdeck.errors import Invalid

__all__ = ["CodeError", "UserCode", "first_line"]

MAX_SOURCE = 1_000_000


class CodeError(Invalid):
    """A user's code failed. `traceback` shows the lines of that code only; `line` is the last of them."""

    def __init__(self, text: str, *, line: int | None = None, traceback: str = "") -> None:
        super().__init__(text, field="code")
        self.line = line
        self.traceback = traceback


@dataclass(frozen=True, slots=True)
class UserCode:
    """`what` is what it is called in sentences ("factor code"); `must` what it has to define."""

    what: str
    must: str

    @property
    def file(self) -> str:
        return f"<{self.what}>"

    def tree(self, source: str) -> ast.Module:
        """The source as Python.

        Raises:
            CodeError: it is empty, too long, or no Python; the sentence names the line.
        """
        if len(source) > MAX_SOURCE:
            raise CodeError(
                f"the code has {len(source):,} characters, more than the {MAX_SOURCE:,} allowed; shorten it"
            )
        if not source.strip():
            raise CodeError(f"the code is empty; {self.must}")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(source, self.file)
                # some errors, such as a return outside of a function, are only found by the compiler
                compile(source, self.file, "exec", dont_inherit=True)
        except SyntaxError as error:
            raise CodeError(
                f"{self.what}, line {error.lineno or 1}: {error.msg}; correct the Python there", line=error.lineno
            ) from None
        except (RecursionError, MemoryError, ValueError, OverflowError) as error:
            raise CodeError(f"the code can't be read as Python: {first_line(error)}") from None
        return tree

    @contextlib.contextmanager
    def running(self, source: str, **names: Any) -> Iterator[types.ModuleType]:
        """The module that the source makes, run with `names` known to it; whatever fails in the block is its error.

        Raises:
            CodeError: the code failed, with the traceback of its own lines.
        """
        # tracebacks, also those that the code prints itself, show its lines
        linecache.cache[self.file] = (len(source), None, source.splitlines(keepends=True), self.file)
        module = types.ModuleType(self.what.replace(" ", "_"))
        vars(module).update(names)
        # dataclasses and pickle look their module up
        sys.modules[module.__name__] = module
        try:
            exec(compile(source, self.file, "exec", dont_inherit=True), vars(module))
            yield module
        except (KeyboardInterrupt, GeneratorExit):
            raise
        # also SystemExit and a panic of Polars: an end of the code is no end of the task
        except BaseException as error:
            raise self.failure(error) from None
        finally:
            sys.modules.pop(module.__name__, None)

    def failure(self, error: BaseException) -> CodeError:
        """The error as one sentence with the line of the code, and a traceback of its lines."""
        own = [entry for entry in traceback.extract_tb(error.__traceback__) if entry.filename == self.file]
        # a recursion without end has a thousand of the same lines
        shown = own if len(own) <= 20 else own[:10] + own[-10:]
        lines = []
        for entry in shown:
            place = "" if entry.name == "<module>" else f", in {entry.name}"
            lines.append(f"{self.what}, line {entry.lineno}{place}")
            lines.append(f"    {entry.line}")
        lines.extend("".join(traceback.format_exception_only(error)).rstrip().splitlines())
        line = own[-1].lineno if own else None
        where = f"{self.what}, line {line}" if line else self.what
        text = str(error) if isinstance(error, Invalid) and str(error) else first_line(error)
        return CodeError(f"{where}: {text}", line=line, traceback="\n".join(lines))


def first_line(error: BaseException) -> str:
    """An error's type and the first line of its text, at most 300 characters."""
    lines = str(error).strip().splitlines()
    text = type(error).__name__ + (f": {lines[0]}" if lines else "")
    return text if len(text) <= 300 else text[:299] + "…"
