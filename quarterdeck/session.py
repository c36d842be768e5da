"""A person's session with the central database: signing in, who one is, what to listen to."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa

from quarterdeck import database, profile, tls
from quarterdeck.database import Login
from quarterdeck.errors import Conflict, Disconnected, Refused
from quarterdeck.job import Node
from quarterdeck.profile import Profile
from quarterdeck.schema import REVISION

__all__ = ["Me", "Session", "login_of", "node_from"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Me:
    """The signed-in person. `clock_offset` is the server's clock minus this computer's, to within half a round trip."""

    login: str
    admin: bool
    server: str
    schema_version: str
    clock_offset: dt.timedelta


def login_of(chosen: Profile, password: str | None = None) -> Login:
    """The login that a profile means, with the given or else the kept password.

    Raises:
        Refused: no password is kept for it.
        Invalid: the keyring that may hold it is locked.
    """
    secret = password if password is not None else profile.password(chosen)
    if secret is None:
        profile.kept(chosen.name)  # which says so when the keyring is locked
        raise Refused(f"no password is kept for profile '{chosen.name}': sign in as {chosen.user} to give it")
    return Login(
        host=chosen.host,
        port=chosen.port,
        database=chosen.database,
        user=chosen.user,
        password=secret,
        tls=chosen.tls,
        root_certificate=chosen.root_certificate,
    )


class Session:
    """A signed-in connection, usable from several threads; a context manager that closes itself."""

    def __init__(self, engine: sa.Engine, me: Me, login: Login) -> None:
        self._engine = engine
        self.me = me
        self.login = login

    @classmethod
    def connect(cls, chosen: Profile | str | None = None, *, password: str | None = None) -> Self:
        """Sign in by a profile (a name, or the default one), with its kept password unless one is given.

        Raises:
            NotFound: there is no such profile.
            Disconnected: the server can't be reached, or refuses the name or the password.
            Refused: no password is kept, or this login is not a person's or node's of this cluster.
            Conflict: the server's schema is older or newer than this version of Quarterdeck.
        """
        if not isinstance(chosen, Profile):
            chosen = profile.load(chosen)
        return cls.sign_in(login_of(chosen, password))

    @classmethod
    def sign_in(cls, login: Login) -> Self:
        """Sign in; see `connect` for what it raises."""
        engine = database.engine(login)
        try:
            with database.translated(), engine.connect() as connection:
                asked = time.time()
                row = connection.execute(sa.text("select * from qd.whoami()")).one()
                answered = time.time()
            _check_version(row.schema_version)
        except BaseException as error:
            engine.dispose()
            if str(error) == database.UNTRUSTED and (
                why := tls.why_untrusted(login.host, login.port, login.root_certificate)
            ):
                raise Disconnected(why) from None
            raise
        here = dt.datetime.fromtimestamp((asked + answered) / 2, dt.UTC)
        me = Me(
            login=row.login,
            admin=row.is_admin,
            server=f"{login.host}:{login.port}",
            schema_version=row.schema_version,
            clock_offset=row.server_time - here,
        )
        return cls(engine, me, login)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def abandon(self) -> None:
        """Give up all connections, from any thread: who waits on one gets Disconnected. Later calls make new ones."""
        database.abandon(self._engine)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def engine(self) -> sa.Engine:
        """The engine behind this session, for `admin`, `results` and `logs`."""
        return self._engine

    def now(self) -> dt.datetime:
        """The server's time, for run times that count up."""
        return dt.datetime.now(dt.UTC) + self.me.clock_offset

    def channels(self) -> list[str]:
        """The notification channels of this person, which `feed.Feed` listens to."""
        with self._writing() as connection:
            return list(connection.execute(sa.text("select * from qd.my_channels()")).scalars())

    def nodes(self) -> list[Node]:
        """The cluster's nodes, by name."""
        with self._reading() as connection:
            rows = connection.execute(sa.text("select * from qd.list_nodes()")).mappings().all()
        return [node_from(row) for row in rows]

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with database.reading(self._engine) as connection:
            yield connection

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        with database.translated(), self._engine.begin() as connection:
            yield connection


def _check_version(server: str) -> None:
    """Revisions are numbered; what follows the number (the state of the functions) has no order and may differ."""
    revision = server.partition("-")[0]
    if revision < REVISION:
        raise Conflict(
            f"the server's schema ({revision}) is older than this version of Quarterdeck ({REVISION}): "
            "its administrator upgrades it by 'quarterdeck schema upgrade'"
        )
    if revision > REVISION:
        raise Conflict(
            f"the server's schema ({revision}) is newer than this version of Quarterdeck ({REVISION}): "
            "update Quarterdeck"
        )


def node_from(row: Mapping[Any, Any]) -> Node:
    """A row of `qd.list_nodes()`, which may have further columns, as a node."""
    fields = {field.name: row[field.name] for field in dataclasses.fields(Node)}
    beat = fields.pop("heartbeat")
    return Node(
        **{**fields, "labels": tuple(fields["labels"])},
        heartbeat=None if beat is None else beat.astimezone(dt.UTC),
    )
