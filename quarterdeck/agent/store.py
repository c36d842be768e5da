"""The SQL functions that a node calls, each one statement, on a few connections of its own."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row
from psycopg.types.json import Jsonb

from quarterdeck.database import Login, connect_arguments, translate
from quarterdeck.errors import Invalid

__all__ = ["Order", "Store"]

_TIMEOUT = 60.0
_SHORT = 4096
"""Characters of a chunk that has no trigrams: it is read in no time."""


@dataclass(frozen=True, slots=True)
class Order:
    """What `qd.start_task` says of a task."""

    job_id: int
    kind: str
    task_name: str
    ordinal: int
    params: dict[str, Any]
    job_params: dict[str, Any]
    creator: str
    tasks: int


class Connections:
    """A few connections of one login for any number of threads. Driver errors come out as `quarterdeck.errors`."""

    def __init__(self, login: Login, name: str) -> None:
        self._arguments = connect_arguments(login, application=f"quarterdeck node {name}", statement_timeout=_TIMEOUT)
        self._free: list[psycopg.Connection[Any]] = []
        self._lock = threading.Lock()
        self._closed = False

    def __repr__(self) -> str:
        return "Connections()"

    @contextlib.contextmanager
    def one(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for one call."""
        with self._lock:
            connection = self._free.pop() if self._free else None
        try:
            if connection is None:
                connection = psycopg.connect(**self._arguments, autocommit=True)  # type: ignore[arg-type]
            yield connection
        except psycopg.Error as error:
            if connection is not None and connection.broken:
                self._forget()
            known = translate(error)
            if known is None:
                raise Invalid(f"the database refused what the node sent: {_first_line(error)}") from error
            raise known from error
        finally:
            if connection is not None:
                usable = not connection.closed and not connection.broken
                with self._lock:
                    usable = usable and len(self._free) < 8 and not self._closed
                    if usable:
                        self._free.append(connection)
                if not usable:
                    connection.close()

    def _forget(self) -> None:
        """After one broke, the others are most likely broken too: a server that restarted."""
        with self._lock:
            free, self._free = self._free, []
        for connection in free:
            connection.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._forget()


class Store:
    """A node's calls; usable from any thread."""

    def __init__(self, login: Login, name: str) -> None:
        self._connections = Connections(login, name)
        self._connection = self._connections.one
        self.close = self._connections.close

    def _rows(self, statement: str, *values: Any, binary: bool = False) -> list[Any]:
        with self._connection() as connection, connection.cursor(binary=binary, row_factory=namedtuple_row) as cursor:
            cursor.execute(statement.encode(), values)
            return cursor.fetchall()

    # --- the node

    def register(self, slots: int, labels: Sequence[str], host: str, version: str, cpus: int, memory: int) -> str:
        rows = self._rows(
            "select qd.register_node(%s, %s, %s, %s, %s, %s)", slots, list(labels), host, version, cpus, memory
        )
        return str(rows[0][0])

    def heartbeat(self, load: float, memory_free: int) -> str:
        return str(self._rows("select qd.node_heartbeat(%s::real, %s)", load, memory_free)[0][0])

    def unregister(self) -> None:
        self._rows("select qd.unregister_node()")

    def reap(self, seconds: float) -> int:
        return int(self._rows("select qd.reap(%s)", seconds)[0][0])

    def open_attempts(self) -> list[Any]:
        return self._rows("select task_id, attempt, pid, process_started from qd.open_attempts()")

    # --- a task

    def start_task(self, task: int, attempt: int) -> Order:
        row = self._rows(
            "select job_id, kind, task_name, ordinal, params, job_params, creator, tasks from qd.start_task(%s, %s)",
            task,
            attempt,
        )[0]
        return Order(*row)

    def task_process(self, task: int, attempt: int, pid: int, started: float) -> None:
        self._rows("select qd.task_process(%s, %s, %s, %s)", task, attempt, pid, started)

    def write_log(self, task: int, attempt: int, chunks: Sequence[tuple[dict[str, Any], str]]) -> None:
        """`chunks`: (first, lines, t0, t1, levels), body."""
        metas = [meta for meta, _ in chunks]
        self._rows(
            "select qd.write_log(%s, %s, %s::bigint[], %s::integer[], %s::timestamptz[], %s::timestamptz[],"
            " %s::integer[], %s::text[], %s::bytea[])",
            task,
            attempt,
            [meta["first"] for meta in metas],
            [meta["lines"] for meta in metas],
            [dt.datetime.fromisoformat(meta["t0"]) for meta in metas],
            [dt.datetime.fromisoformat(meta["t1"]) for meta in metas],
            [count for meta in metas for count in meta["levels"]],
            [body for _, body in chunks],
            [_trigrams(body) for _, body in chunks],
        )

    def set_progress(self, task: int, attempt: int, fraction: float | None, message: str) -> None:
        self._rows("select qd.set_progress(%s, %s, %s::real, %s)", task, attempt, fraction, message)

    def open_table(self, task: int, attempt: int, name: str, schema: bytes, publish: dict[str, Any] | None) -> int:
        value = None if publish is None else Jsonb(publish)
        return int(self._rows("select qd.open_table(%s, %s, %s, %b, %s)", task, attempt, name, schema, value)[0][0])

    def write_block(self, task: int, attempt: int, table: int, meta: dict[str, Any], data: bytes) -> None:
        self._rows(
            "select qd.write_block(%s, %s, %s, %s, %s, %s, %s, %s, %s, %b)",
            task,
            attempt,
            table,
            meta["number"],
            meta["rows"],
            _time(meta.get("time_min")),
            _time(meta.get("time_max")),
            meta.get("symbol_min"),
            meta.get("symbol_max"),
            data,
        )

    def close_table(self, task: int, attempt: int, table: int, symbols: int) -> None:
        self._rows("select qd.close_table(%s, %s, %s, %s)", task, attempt, table, symbols)

    def end_task(self, task: int, attempt: int, end: dict[str, Any], queue_id: int | None) -> None:
        """End the attempt, and its row in the queue with it."""
        with self._connection() as connection, connection.transaction():
            receipt = end.get("receipt")
            connection.execute(
                "select qd.end_task(%s, %s, %s, %s, %s, %s, %s, %s)",
                (
                    task,
                    attempt,
                    end["outcome"],
                    end.get("exit_code"),
                    end.get("error") or "",
                    None if receipt is None else Jsonb(receipt),
                    end.get("cpu"),
                    end.get("peak"),
                ),
            )
            self._finish(connection, queue_id)

    def finish(self, queue_id: int | None) -> None:
        """End a row of the queue whose task is none of ours any more."""
        with self._connection() as connection:
            self._finish(connection, queue_id)

    def _finish(self, connection: psycopg.Connection[Any], queue_id: int | None) -> None:
        if queue_id is None:
            return
        # it may be gone already: a requeue takes the old row away
        with contextlib.suppress(psycopg.errors.RaiseException), connection.transaction():
            connection.execute("select queue.procrastinate_finish_job_v1(%s, 'succeeded', false)", (queue_id,))

    # --- data for a task

    def dataset(self, task: int, attempt: int, name: str) -> list[Any]:
        return self._rows(
            "select table_id, schema, rows, folder, dataset from qd.task_dataset(%s, %s, %s)",
            task,
            attempt,
            name,
            binary=True,
        )

    def result(self, task: int, attempt: int, job: int, name: str, ordinal: int | None) -> list[Any]:
        return self._rows(
            "select table_id, schema, rows, task_ordinal from qd.task_result(%s, %s, %s, %s, %s::integer)",
            task,
            attempt,
            job,
            name,
            ordinal,
            binary=True,
        )

    def blocks(
        self,
        task: int,
        attempt: int,
        table: int,
        start: str | None,
        end: str | None,
        symbols: list[str] | None,
        after: int,
    ) -> list[Any]:
        return self._rows(
            "select number, rows, data from qd.task_blocks(%s, %s, %s, %s, %s, %s::text[], %s, 16)",
            task,
            attempt,
            table,
            _time(start),
            _time(end),
            symbols,
            after,
            binary=True,
        )


def _trigrams(body: str) -> bytes | None:
    if len(body) < _SHORT:
        return None
    from quarterdeck.trigrams import trigrams  # NumPy comes with it, which a node of short logs needn't load

    return trigrams(body)


def _time(text: str | None) -> dt.datetime | None:
    return None if text is None else dt.datetime.fromisoformat(text)


def _first_line(error: psycopg.Error) -> str:
    text = error.diag.message_primary or str(error)
    return text.strip().splitlines()[0][:200] if text.strip() else type(error).__name__
