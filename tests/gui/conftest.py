"""What GUI tests share: a loop of asyncio on Qt's, the bridge, clients, windows on a real database."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pyarrow as pa
import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot
from qasync import QEventLoop

from desktop import app, theme
from desktop.bridge import Bridge, collecting
from desktop.notices import Notices
from desktop.settings import Settings
from desktop.views.window import Window
from quarterdeck.client import Client
from quarterdeck.job import Level, Stream
from quarterdeck.logs import encode_lines
from quarterdeck.results import schema_bytes


class Clients(Protocol):
    def __call__(self, user: str = "alice") -> Client: ...


class Windows(Protocol):
    def __call__(self, client: Client, *, live: bool = True) -> Window: ...


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # what the offscreen platform says of itself is no fault of ours
    for item in items:
        if "gui" in item.path.parts:
            item.add_marker(pytest.mark.qt_log_ignore("This plugin does not support"))


@pytest.fixture(autouse=True)
def _config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUARTERDECK_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("QUARTERDECK_PROFILE", raising=False)


@pytest.fixture
def loop(qapp: QApplication) -> Iterator[asyncio.AbstractEventLoop]:
    """asyncio's loop on Qt's: coroutines run whenever qtbot waits."""
    app.application()
    theme.apply(qapp, "light")
    with collecting():
        loop = QEventLoop(qapp)
        asyncio._set_running_loop(loop)
        try:
            yield loop
        finally:
            asyncio._set_running_loop(None)
            loop.close()
            QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def errors() -> list[BaseException]:
    """What coroutines raised and nobody caught."""
    return []


@pytest.fixture
def bridge(
    qtbot: QtBot, loop: asyncio.AbstractEventLoop, errors: list[BaseException], sign_in: Clients
) -> Iterator[Bridge]:
    bridge = Bridge(errors.append)
    try:
        yield bridge
    finally:
        closing = loop.create_task(bridge.close())
        qtbot.waitUntil(closing.done)
        closing.result()
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def sign_in(database: Any) -> Iterator[Clients]:
    """Signs a person in."""
    clients: list[Client] = []

    def make(user: str = "alice") -> Client:
        clients.append(Client.sign_in(database.login(user)))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def window(qtbot: QtBot, bridge: Bridge, tmp_path: Path) -> Iterator[Windows]:
    """Opens the main window, listening to the database unless `live` is False."""
    made: list[Window] = []

    def make(client: Client, *, live: bool = True) -> Window:
        listening = bridge.listen(app.feed(client)) if live else None
        settings = Settings(tmp_path / "desktop.json")
        window = Window(client, bridge, listening, Notices(), settings, "test", lambda: None, lambda: None)
        window.resize(1280, 800)
        window.show()
        made.append(window)
        qtbot.waitUntil(lambda: window.pages[0].model.read)
        return window

    yield make
    for one in made:
        one.commands.close_all()
        one.hide()
        one.deleteLater()


@pytest.fixture
def prices(database: Any) -> None:
    """An imported table `prices` of alice's, without rows."""
    schema = pa.schema([("symbol", pa.string()), ("time", pa.timestamp("us", "UTC")), ("close", pa.float64())])
    database.sql(
        "postgres",
        "with d as (insert into qd.dataset (creator, name) values ('alice', 'prices') returning id)"
        " insert into qd.result_table (dataset_id, creator, name, schema, complete)"
        " select id, 'alice', 'prices', :schema, true from d",
        schema=schema_bytes(schema),
    )


Line = tuple[Stream, Level, str]


@pytest.fixture
def write_log(database: Any) -> Callable[..., None]:
    """Writes lines of a started task as its node does: node, task, number of the first line, lines."""

    def write(
        node: str,
        task: int,
        first_line: int,
        lines: Sequence[Line],
        *,
        start: dt.datetime | None = None,
        step: int = 1000,
    ) -> None:
        begin = start or dt.datetime.now(dt.UTC)
        micros = int(begin.timestamp() * 1_000_000)
        for at in range(0, len(lines), 500):
            part = lines[at : at + 500]
            chunk = encode_lines([(micros + (at + n) * step, *line) for n, line in enumerate(part)])
            database.sql(
                f"node_{node}",
                "select qd.write_log(:task, 1, array[cast(:first as bigint)], cast(:lines as int[]),"
                " cast(:low as timestamptz[]), cast(:high as timestamptz[]), cast(:levels as int[]),"
                " cast(:body as text[]))",
                task=task,
                first=first_line + at,
                lines=[chunk.lines],
                low=[chunk.time_min],
                high=[chunk.time_max],
                levels=list(chunk.levels),
                body=[chunk.body],
            )

    return write
