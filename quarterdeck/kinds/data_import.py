"""The kind `data_import` (K1, D1, D2): files or a query's answer become a table that the other kinds read."""

from __future__ import annotations

import datetime as dt
import re
import urllib.parse
import zoneinfo
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from quarterdeck import columns as job_columns
from quarterdeck.errors import Invalid
from quarterdeck.kinds.kind import Choice, Facts, Kind, Misfit, Section, Tables, TaskPlan

if TYPE_CHECKING:
    from pathlib import Path

    import polars as pl

    from quarterdeck.context import Context

__all__ = ["KIND", "DataImport", "run"]

_TABLE = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
_SECRET = re.compile(r"(?i)^(password|passwd|pwd|secret|token|api_?key|access_?key)$")


class DataImport(BaseModel):
    """What is imported, how it is read, and where to."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=False)

    table: str = Field(title="Table", description="Name of the table: letters, digits and _, at most 63 characters.")
    path: str | list[str] | None = Field(
        None,
        title="Path",
        description="A file on the node, a pattern such as data/*.csv, or a list of them; CSV also packed (.gz, .zst).",
        json_schema_extra={"path": True},
    )
    url: str | None = Field(
        None,
        title="Database address",
        description="SQLAlchemy's address of a database, such as postgresql://server/prices; never with a password.",
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
        description="Line with the column names, from 1; the first that isn't blank when not given; 0: the file has "
        "none, and its columns are column_1, column_2, …",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        title="Columns",
        description="Names in the source to names in the table (symbol, time, open, high, low, close, volume, …). "
        "Usual names (Date, Ticker) are known.",
    )
    time_format: str | None = Field(
        None,
        title="Time format",
        description="How times are written: %d/%m/%Y %H:%M:%S and the like, iso, epoch_s, epoch_ms, epoch_us or "
        "epoch_ns; found when not given, and asked for when it can't be told.",
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
        description="reject: import the lines that are right, list the others; fail: import nothing at a wrong one.",
    )
    register_: bool = Field(
        False,
        alias="register",
        title="By reference",
        description="Leave Parquet files where they are, and read them there; for data too large for the database.",
    )
    public: bool = Field(False, title="Public", description="May all users read the table?")
    synthetic: bool = Field(False, title="Synthetic", description="Is the data made up? It is marked so.")

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
        if value is None:
            return None
        entries = [value] if isinstance(value, str) else value
        if not entries or not all(entry.strip() for entry in entries):
            raise ValueError("path is empty: name a file")
        if any("\0" in entry for entry in entries):
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

    def reading(self) -> dict[str, Any]:
        """The fields that say what to read and how: what `quarterdeck.quant.market.MarketRequest` takes."""
        return self.model_dump(exclude={"table", "mode", "register_", "public", "synthetic"}, by_alias=False)

    @model_validator(mode="after")
    def _source(self) -> DataImport:
        if (self.path is None) == (self.url is None):
            raise Misfit("give either path, or url and query", "path")
        if self.url is not None and not (self.query or "").strip():
            raise Misfit("url needs a query to ask there", "query")
        if self.url is None and self.query is not None:
            raise Misfit("query needs the url of the database to ask", "url")
        if self.register_ and self.path is None:
            raise Misfit("register needs the path of Parquet files", "path")
        if self.register_ and self.format not in (None, "parquet"):
            raise Misfit("only Parquet files can be registered", "format")
        return self


def _facts(params: DataImport) -> Facts:
    return Facts(name=params.table, subject=params.table, public=False)


def _tasks(params: DataImport) -> list[TaskPlan]:
    return [TaskPlan(name=params.table, params=params.model_dump(mode="json", by_alias=True))]


def _check(params: DataImport, tables: Tables) -> None:
    if params.mode == "create" and params.table in tables.own():
        raise Invalid(
            f"you have a table '{params.table}' already: set mode to append or replace, or name another", field="table"
        )
    if params.mode == "append" and params.table not in tables.own():
        raise Invalid(f"there is no table '{params.table}' of yours to append to: set mode to create", field="table")


def run(context: Context, params: dict[str, Any]) -> None:
    """Import, and write D1's tables: `rejects` (T1), `files`, `symbols`, `preview` and `report` (JSON); the rows become
    the dataset `table`."""
    import json
    import logging

    import pyarrow as pa

    from quarterdeck.quant.import_report import REJECTS, SymbolTally
    from quarterdeck.quant.market import MarketImport, MarketRequest

    log = logging.getLogger("data_import")
    settings = DataImport.model_validate(params)
    publish = {
        "name": settings.table,
        "mode": settings.mode,
        "public": settings.public,
        "synthetic": settings.synthetic,
    }
    if settings.register_:
        _register(context, settings, publish, log)
        return
    request = MarketRequest(**settings.reading())
    append = settings.mode == "append"

    def existing(first: dt.datetime, last: dt.datetime) -> Any:
        return context.read_batches(settings.table, columns=["symbol", "time"], start=first, end=last)

    def progress(done: int, total: int) -> None:
        context.progress(0.7 * done / total if total else None, "reading")

    with MarketImport(
        request,
        context.scratch,
        schema=context.schema(settings.table) if append else None,
        existing=existing if append else None,
        progress=progress,
    ) as data:
        schema = data.read()
        log.info("columns: %s", ", ".join(f"{field.name} {field.type}" for field in schema))
        preview: list[Any] = []
        tally = SymbolTally()
        with context.writer("data", schema, publish=publish) as writer:
            for batch in data.batches():
                if sum(len(part) for part in preview) < 100:
                    preview.append(batch.slice(0, 100))
                tally.add(batch)
                writer.write(batch)
                context.progress(0.7 + 0.3 * writer.rows / max(data.report.rows_read, 1), "writing")
        with context.writer("rejects", REJECTS) as writer:
            for batch in data.rejects():
                writer.write(batch)
        context.write("files", data.report.files_table())
        context.write("symbols", tally.table())
        if preview:
            context.write("preview", pa.Table.from_batches(preview).slice(0, 100))
        context.write("report", pa.table({"report": [json.dumps(data.report.to_dict())]}))
        if not data.report.rows_written:  # what was read and why nothing came of it stays to be seen
            raise Invalid(
                f"no line of the source could be imported into '{settings.table}': {_first_reason(data.rejects())}"
            )
        for file in data.report.files:
            log.info(
                "%s: %d rows read, %d written, %d rejected",
                file.file,
                file.rows_read,
                file.rows_written,
                file.rows_rejected,
            )
            for note in file.notes:
                log.info("%s: %s", file.file, note)
        if data.report.rows_rejected:
            log.warning("%d lines were rejected; the table rejects says which and why", data.report.rows_rejected)
        log.info(
            "table %s: %d rows of %d symbols from %s to %s",
            settings.table,
            data.report.rows_written,
            data.report.symbols,
            data.report.first_time,
            data.report.last_time,
        )


def _first_reason(rejects: Any) -> str:
    for batch in rejects:
        for row in batch.slice(0, 1).to_pylist():
            return f"{row['file']}, line {row['line']}: {row['reason']}"
    return "there are no lines"


def _register(context: Context, settings: DataImport, publish: dict[str, Any], log: Any) -> None:
    import json

    import polars as pl
    import pyarrow as pa

    from quarterdeck.quant.import_report import registered

    folder, scan, schema = _parquet(settings)
    report, symbols = registered(folder, scan)
    with context.writer("data", schema.to_frame().to_arrow().schema, publish=publish | {"folder": str(folder)}):
        pass
    context.write("files", report.files_table())
    context.write("symbols", symbols)
    context.write("preview", scan.select(pl.all()).head(100).collect())
    context.write("report", pa.table({"report": [json.dumps(report.to_dict())]}))
    log.info(
        "table %s: %d rows of %d symbols in %s, by reference", settings.table, report.rows_read, report.symbols, folder
    )


def _parquet(settings: DataImport) -> tuple[Path, pl.LazyFrame, pl.Schema]:
    from pathlib import Path

    import polars as pl

    if not isinstance(settings.path, str) or not Path(settings.path).is_dir():
        raise Invalid(
            f"register needs one folder of Parquet files that the nodes can read, not {settings.path}", field="path"
        )
    folder = Path(settings.path).resolve()
    try:
        scan = pl.scan_parquet(folder / "**" / "*.parquet")
        schema = scan.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise Invalid(
            f"the folder {folder} can't be read as Parquet: {str(error).splitlines()[0]}", field="path"
        ) from None
    missing = [name for name in ("symbol", "time") if name not in schema]
    if missing:
        raise Invalid(f"the files in {folder} have no column {missing[0]}; they have {', '.join(schema)}", field="path")
    return folder, scan, schema


def _probe(params: DataImport) -> None:
    """What the import would stumble over at the beginning of its sources, found on a machine that has them."""
    import tempfile
    from pathlib import Path

    from quarterdeck.quant.market import MarketImport, MarketRequest

    if params.register_:
        _parquet(params)
        return
    if params.url is not None:
        return  # asking a server twice is not for a form
    with (
        tempfile.TemporaryDirectory(prefix="quarterdeck-") as folder,
        MarketImport(MarketRequest(**params.reading()), Path(folder)) as data,
    ):
        data.peek()


KIND = Kind(
    key="data_import",
    title="Data Import",
    columns=(
        job_columns.name("Name"),
        job_columns.STATUS,
        job_columns.RUN_TIME,
        job_columns.START_TIME,
        job_columns.CREATOR,
        job_columns.NODE,
    ),
    params=DataImport,
    facts=_facts,
    tasks=_tasks,
    check=_check,
    probe=_probe,
    run="quarterdeck.kinds.data_import:run",
    details=(
        Section(type="import_results", title="Import Results"),
        Section(type="table", title="Rejected Lines", options={"table": "rejects", "nothing": "No line was rejected."}),
        Section(type="table", title="Symbols", options={"table": "symbols"}),
        Section(type="table", title="Preview", options={"table": "preview"}),
        Section(type="parameters", title="Import Parameters"),
        Section(type="tasks", title="Tasks"),
        Section(type="log", title="Execution Log"),
    ),
    choices=(Choice("Read from", (("Files", ("path",)), ("A database", ("url", "query")))),),
    example={"path": "prices.csv", "table": "prices"},
    restart=True,
)
