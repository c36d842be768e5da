"""procrastinate's connector, hardened: it listens on the channels that only a node knows, survives what does not belong
there, listens again after the database was away, asks the database before it believes that a task is to be aborted, and
leaves the end of a queue row to the node, which ends it in one transaction with the task.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Iterable
from typing import Any, Protocol

import psycopg
from procrastinate import PsycopgConnector, exceptions, sql

from quarterdeck.database import Login, connect_arguments

__all__ = ["Connector", "Host"]

_log = logging.getLogger("quarterdeck.agent")
_FETCH, _FINISH, _ABORTS = (sql.queries[name] for name in ("fetch_job", "finish_job", "list_jobs_to_abort"))
_RELISTEN = (0.1, 0.25, 0.5)
_SILENCE = 5.0


class Host(Protocol):
    """What the connector asks of the node, and tells it."""

    def may_fetch(self) -> bool: ...

    def owns(self, queue_id: int) -> bool: ...

    def abort(self, queue_id: int) -> None: ...


class Connector(PsycopgConnector):
    """The connector of one node."""

    def __init__(self, login: Login, name: str, host: Host) -> None:
        arguments = connect_arguments(login, application=f"quarterdeck node {name} queue")
        # procrastinate's statements name its tables without their schema
        arguments["options"] = f"{arguments['options']} -c search_path=queue,pg_catalog"
        super().__init__(
            conninfo="",
            kwargs=arguments,
            min_size=1,
            max_size=4,
            timeout=5.0,
            reconnect_timeout=5.0,
            name=f"node {name}",
        )
        self._host = host
        self._wake: Any = None
        self._heard_count = 0
        self._again: asyncio.Task[None] | None = None

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        if query == _FETCH and not self._host.may_fetch():
            return {"id": None}
        heard = self._heard_count
        found: dict[str, Any] = await super().execute_query_one_async(query, **arguments)
        if query == _FETCH and found["id"] is None and self._heard_count != heard:
            # the worker forgets now what it heard during the fetch, which may have been too early to see it
            self._again = asyncio.get_running_loop().create_task(self.wake())
        return found

    async def execute_query_async(self, query: Any, **arguments: Any) -> None:
        if query == _FINISH and self._host.owns(arguments["job_id"]):
            return
        await super().execute_query_async(query, **arguments)

    async def execute_query_all_async(self, query: Any, **arguments: Any) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = await super().execute_query_all_async(query, **arguments)
        if query != _ABORTS:
            return rows
        for row in rows:
            self._host.abort(row["id"])
        # the worker need not cancel what the node ends: it waits for it
        return [row for row in rows if not self._host.owns(row["id"])]

    async def wake(self) -> None:
        """Let the worker look for work now."""
        self._heard_count += 1
        if self._wake is not None:
            await self._wake(channel="", payload='{"type": "job_inserted", "job_id": 0}')

    async def listen_notify(self, on_notification: Any, channels: Iterable[str]) -> None:
        """Listen until cancelled. `channels`, procrastinate's own, are not used: anybody can send there."""
        self._wake = on_notification
        tries = 0
        while True:
            try:
                async with self._get_standalone_connection() as connection:
                    rows = await (await connection.execute("select channel from qd.queue_channels()")).fetchall()
                    for (channel,) in rows:
                        await connection.execute(psycopg.sql.SQL("listen {}").format(psycopg.sql.Identifier(channel)))
                    tries = 0
                    # what was sent while nobody listened is lost: look for it
                    await self.wake()
                    await self._abort_requested()
                    await self._hear(connection, on_notification)
            except (psycopg.Error, exceptions.ConnectorException, OSError) as error:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    # a connection that dies while the task is cancelled raises its own error in place of the cancel
                    raise asyncio.CancelledError from error
                _log.info("listening for work is interrupted: %s", str(error).strip().partition("\n")[0])
            await asyncio.sleep(_RELISTEN[min(tries, len(_RELISTEN) - 1)])
            tries += 1

    async def _hear(self, connection: Any, on_notification: Any) -> None:
        while True:
            async for notice in connection.notifies(timeout=_SILENCE):
                await self._heard(notice.channel, notice.payload, on_notification)
            await connection.execute("select 1")  # fails on a connection that died silently

    async def _heard(self, channel: str, payload: str, on_notification: Any) -> None:
        message = None
        with contextlib.suppress(ValueError, RecursionError):
            message = json.loads(payload)
        if not isinstance(message, dict) or type(message.get("job_id")) is not int:
            return
        if message.get("type") == "job_inserted":
            self._heard_count += 1
            await on_notification(channel=channel, payload=payload)
        elif message.get("type") == "abort_job_requested":
            await self._abort_requested(message["job_id"])

    async def _abort_requested(self, queue_id: int | None = None) -> None:
        """Abort what the database, not the message, says is to be aborted."""
        if queue_id is not None and not -(2**63) <= queue_id < 2**63:
            return
        rows = await super().execute_query_all_async(
            "select id from procrastinate_jobs where status = 'doing' and abort_requested"
            " and (%(id)s::bigint is null or id = %(id)s)",
            id=queue_id,
        )
        for row in rows:
            self._host.abort(row["id"])
