"""The kind `data_import` (K1, D1, D2): files or a query's answer become a table that the other kinds read."""

from __future__ import annotations

import re
import urllib.parse
import zoneinfo
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["DataImport"]

_TABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
_SECRET = re.compile(r"(?i)^(password|passwd|pwd|secret|token|api_?key|access_?key)$")


class DataImport(BaseModel):
    """What is imported, how it is read, and where to."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    table: str = Field(title="Table", description="Name of the table: letters, digits and _, at most 63 characters.")
    path: str | list[str] | None = Field(
        None,
        title="Path",
        description="A file on the node, a pattern such as data/*.csv, or a list of them. CSV may be packed (.gz, .zst).",
        json_schema_extra={"path": True},
    )
    url: str | None = Field(
        None,
        title="Database address",
        description="SQLAlchemy's address of a database, such as postgresql://server/prices; never with a password in it.",
    )
    query: str | None = Field(None, title="Query", description="The SQL query to ask there.")
    format: Literal["csv", "parquet", "excel"] | None = Field(
        None, title="Format", description="Format of the files; told by their ending when not given."
    )
    encoding: str | None = Field(
        None, title="Encoding", description="Encoding of CSV files; UTF-8, or UTF-16 by its mark, when not given."
    )
    delimiter: str | None = Field(
        None, title="Delimiter", description="One character; found among comma, semicolon, tab and bar when not given."
    )
    decimal: Literal[".", ","] | None = Field(
        None, title="Decimal sign", description="Point or comma; found from the numbers when not given."
    )
    sheet: str | Annotated[int, Field(ge=1)] | None = Field(
        None, title="Sheet", description="Name of the workbook's sheet, or its number from 1; the first when not given."
    )
    header_row: Annotated[int, Field(ge=0)] | None = Field(
        None,
        title="Header row",
        description="Line with the column names, from 1; the first that isn't blank when not given; 0: the file has none, and "
        "its columns are column_1, column_2, …",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        title="Columns",
        description="Names in the source to names in the table (symbol, time, open, high, low, close, volume, …). Usual names "
        "such as Date and Ticker are known.",
    )
    time_format: str | None = Field(
        None,
        title="Time format",
        description="How times are written: %d/%m/%Y %H:%M:%S and the like, iso, epoch_s, epoch_ms, epoch_us or epoch_ns; "
        "found when not given, and asked for when it can't be told.",
    )
    time_zone: str | None = Field(
        None,
        title="Time zone",
        description="Zone of times that are written without one, such as America/New_York; UTC when not given.",
    )
    mode: Literal["create", "append", "replace"] = Field(
        "create",
        title="Mode",
        description="create: the table must be new; append: add to it; replace: take the place of what it holds.",
    )
    on_error: Literal["reject", "fail"] = Field(
        "reject",
        title="On error",
        description="reject: import the lines that are right and list the others; fail: import nothing at the first wrong line.",
    )
    register_: bool = Field(
        False,
        alias="register",
        title="By reference",
        description="Leave a folder of Parquet files where it is, and read it there; for data too large for the database.",
    )
    public: bool = Field(False, title="Public", description="May all users read the table?")

    @field_validator("table")
    @classmethod
    def _table(cls, value: str) -> str:
        if not re.fullmatch(_TABLE, value):
            raise ValueError(
                "the table's name is made of letters, digits and _, begins with no digit, and has 63 characters at most"
            )
        return value

    @field_validator("path")
    @classmethod
    def _path(cls, value: str | list[str] | None) -> str | list[str] | None:
        if value is not None and (
            not value or any(not entry.strip() for entry in ([value] if isinstance(value, str) else value))
        ):
            raise ValueError("path is empty: name a file")
        if value is not None and any("\0" in entry for entry in ([value] if isinstance(value, str) else value)):
            raise ValueError("path holds a null character")
        return value

    @field_validator("url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        found = re.match(r"^[A-Za-z][\w+.-]*:(?://(?P<login>[^/?#]*)@)?", value)
        if not found:
            raise ValueError("url is an address such as postgresql://server/database")
        options = urllib.parse.parse_qsl(urllib.parse.urlsplit(value).query, keep_blank_values=True)
        if ":" in (found["login"] or "") or any(_SECRET.match(name) for name, _ in options):
            raise ValueError("url may not hold a password: use the node's own configuration, such as ~/.pgpass")
        return value

    @field_validator("delimiter")
    @classmethod
    def _delimiter(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or value in '"\r\n' or ord(value) > 127):
            raise ValueError("the delimiter is one character such as , ; | or a tab")
        return value

    @field_validator("columns")
    @classmethod
    def _columns(cls, value: dict[str, str]) -> dict[str, str]:
        wrong = [name for name in value.values() if not re.fullmatch(_TABLE, name)]
        if wrong:
            raise ValueError(f"the column name {wrong[0]!r} is not made of letters, digits and _")
        twice = [name for name in value.values() if list(value.values()).count(name) > 1]
        if twice:
            raise ValueError(f"two columns would be named {twice[0]}")
        return value

    @field_validator("time_zone")
    @classmethod
    def _zone(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                zoneinfo.ZoneInfo(value)
            except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
                raise ValueError(f"there is no time zone {value}: give a name such as America/New_York") from None
        return value

    @model_validator(mode="after")
    def _source(self) -> DataImport:
        if (self.path is None) == (self.url is None):
            raise ValueError("give either path, or url and query")
        if self.url is not None and not (self.query or "").strip():
            raise ValueError("url needs a query to ask there")
        if self.url is None and self.query is not None:
            raise ValueError("query needs the url of the database to ask")
        if self.register_ and self.path is None:
            raise ValueError("register needs the path of Parquet files")
        if self.register_ and self.format not in (None, "parquet"):
            raise ValueError("only Parquet files can be registered")
        return self
