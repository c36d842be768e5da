"""The connection to the central database: sign-in, TLS, time-outs, and driver errors turned into ours."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psycopg
import sqlalchemy as sa
from sqlalchemy import exc

from quarterdeck import tls
from quarterdeck.cancellation import interruptible
from quarterdeck.errors import Conflict, Disconnected, Invalid, NotFound, QuarterdeckError, Refused

__all__ = ["Fenced", "Login", "abandon", "connect_arguments", "engine", "reading", "translate", "translated"]

STATEMENT_TIMEOUT = 60.0
"""Seconds after which a statement of a person's connection is given up."""

UNTRUSTED = "The server's certificate can't be trusted: check the profile's certificate and server name."
"""What is said where the driver doesn't tell why (`tls.why_untrusted` finds out)."""

CONNECT_TIMEOUT = 5
"""Seconds within which a server must answer a sign-in."""


class Fenced(Conflict):
    """A node's attempt at a task is over: the task was ended, or given to another node (G3)."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """Where and as whom to sign in. `tls` "verify-full" is required for every host but this machine's own."""

    host: str
    port: int
    database: str
    user: str
    password: str | None = field(repr=False)
    tls: Literal["loopback", "verify-full"] = "loopback"
    root_certificate: Path | None = None


_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def connect_arguments(
    login: Login, *, application: str = "quarterdeck", statement_timeout: float = STATEMENT_TIMEOUT
) -> dict[str, str | int]:
    """The arguments with which psycopg signs in as `login`; for those who hold a connection of their own.

    Raises:
        Invalid: a host other than this machine without TLS (G5), or a name that no server accepts.
    """
    for what, text in (("server", login.host), ("database", login.database), ("user", login.user)):
        if not text or "\0" in text or (what == "server" and ("," in text or text.startswith("/"))):
            raise Invalid(f"'{text}' can't be the name of a {what}", field=what)
    if not 1 <= login.port <= 65535:
        raise Invalid(f"a port lies between 1 and 65535, not {login.port}", field="port")
    if login.password is not None and "\0" in login.password:
        raise Invalid("a password can't contain a NUL character", field="password")
    arguments: dict[str, str | int] = {
        "host": login.host,
        "port": login.port,
        "dbname": login.database,
        "user": login.user,
        # an empty one is refused by the server; none at all would make the driver look in ~/.pgpass
        "password": login.password or "",
        "passfile": "",
        "application_name": application,
        "connect_timeout": CONNECT_TIMEOUT,
        "options": f"-c statement_timeout={round(statement_timeout * 1000)}",
        "client_encoding": "UTF8",
        "require_auth": "scram-sha-256",
        "gssencmode": "disable",
        "keepalives": 1,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        # keepalives don't run while sent data waits to be acknowledged
        "tcp_user_timeout": 25_000,
    }
    if login.tls == "verify-full":
        arguments["sslmode"] = "verify-full"
        arguments["sslrootcert"] = tls.authorities(login.root_certificate)
    elif login.host in _LOOPBACK:
        # the embedded server has no TLS
        arguments["sslmode"] = "disable"
    else:
        raise Invalid(f"a connection to {login.host} needs TLS: set the profile's tls to verify-full", field="tls")
    return arguments


def engine(
    login: Login,
    *,
    application: str = "quarterdeck",
    statement_timeout: float = STATEMENT_TIMEOUT,
    pool_size: int = 5,
) -> sa.Engine:
    """An engine signed in as `login`. It connects at the first use; use it inside `translated()`.

    A connection that died in the pool is replaced before it is handed out. At most `pool_size` + 5 are open.

    Raises:
        Invalid: see `connect_arguments`.
    """
    arguments = connect_arguments(login, application=application, statement_timeout=statement_timeout)
    made = sa.create_engine(
        sa.URL.create("postgresql+psycopg"),
        connect_args=arguments,
        pool_pre_ping=True,
        pool_size=pool_size,
        max_overflow=5,
        pool_timeout=30,
        hide_parameters=True,
    )
    opened: weakref.WeakSet[psycopg.Connection[Any]] = weakref.WeakSet()

    def connected(connection: psycopg.Connection[Any], _: object) -> None:
        with _OPENING:
            opened.add(connection)

    sa.event.listen(made, "connect", connected)
    _OPENED[made] = opened
    return made


_OPENING = threading.Lock()
_OPENED: weakref.WeakKeyDictionary[sa.Engine, weakref.WeakSet[psycopg.Connection[Any]]] = weakref.WeakKeyDictionary()

_CANCEL_TIMEOUT = 3.0


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A connection to read with, inside `translated()`: a call that is given up meanwhile is cancelled in the database.

    It never reaches another call's statement: the connection goes back to the pool when the cancel request has been
    carried out, and a server ignores one that comes between statements.
    """
    with translated(), engine.connect() as connection:
        driver = connection.connection.driver_connection
        if not isinstance(driver, psycopg.Connection):
            raise TypeError("the engine must be one of psycopg's")
        with interruptible(lambda: driver.cancel_safe(timeout=_CANCEL_TIMEOUT)) as one:
            try:
                yield connection
            finally:
                if one.unsure:
                    connection.invalidate()


def abandon(engine: sa.Engine) -> None:
    """Give up all connections, from any thread: who waits on one gets Disconnected now.

    For a network that drops everything in silence, where they would wait for the system's time limits.
    """
    with _OPENING:
        connections = list(_OPENED.get(engine, ()))
    for connection in connections:
        with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as peer:
            peer.shutdown(socket.SHUT_RDWR)


@contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's errors into Quarterdeck's, each one clear sentence without the driver's text.

    Raises:
        Refused, Conflict, Fenced, Invalid, NotFound, Disconnected: see `quarterdeck.errors`.
    """
    try:
        yield
    except (psycopg.Error, exc.SQLAlchemyError) as error:
        known = translate(error)
        if known is None:
            raise
        raise known from error


_SENTENCES: dict[str, tuple[type[QuarterdeckError], str]] = {
    "28P01": (Disconnected, "The server refused the sign-in: the user name or the password is wrong."),
    "28000": (Disconnected, "The server refused the sign-in: this account is disabled or may not connect from here."),
    "3D000": (Disconnected, "The server has no such database: check the profile's database name."),
    "53300": (Disconnected, "The server has no free connection: try again in a moment."),
    "57P01": (
        Disconnected,
        "The server closed the connection: it is restarting, or an administrator ended the session.",
    ),
    "57P02": (Disconnected, "The server closed the connection after a crash: try again in a moment."),
    "57P03": (Disconnected, "The server is starting up or shutting down: try again in a moment."),
    "57P05": (Disconnected, "The server closed a connection that had been idle for too long."),
    "25P03": (Disconnected, "The server closed a connection whose transaction had been idle for too long."),
    "57014": (Conflict, "The server gave up: the request took longer than the time limit, or was cancelled."),
    "55P03": (Conflict, "Something else holds what is needed: try again in a moment."),
    "40P01": (Conflict, "The request collided with another one: try again."),
    "40001": (Conflict, "The request collided with another one: try again."),
    "42501": (Refused, "The database refused: this account has no right to do that."),
    "53100": (Disconnected, "The server's disk is full: tell its administrator."),
    "53200": (Disconnected, "The server is out of memory: try again later or tell its administrator."),
    "3F000": (
        Invalid,
        "The database was not set up for Quarterdeck: its administrator does it by 'quarterdeck schema upgrade'.",
    ),
    "42P01": (Invalid, "The database's schema does not fit this version of Quarterdeck: upgrade the one or the other."),
    "42883": (Invalid, "The database's schema does not fit this version of Quarterdeck: upgrade the one or the other."),
    "42703": (Invalid, "The database's schema does not fit this version of Quarterdeck: upgrade the one or the other."),
    "22P05": (Invalid, "A text contains a character that the database can't store (NUL)."),
    "22021": (Invalid, "A text contains a character that the database can't store (NUL)."),
    "2201B": (Invalid, "That is no regular expression: check its brackets and repetitions."),
    "22003": (Invalid, "A number is out of the database's range."),
    "22008": (Invalid, "A date or time is out of the database's range."),
    "54000": (Invalid, "What was given is too large for the database."),
    # without a SQLSTATE: see _TEXTS
    "only TLS": (Disconnected, "The server takes connections with TLS only: choose its certificate in the profile."),
    "other name": (
        Disconnected,
        "The server's certificate is made out to another name: check the profile's server name.",
    ),
    "no authority": (
        Disconnected,
        "The profile's certificate can't be read, or its file holds none: choose it again.",
    ),
    "no TLS": (
        Disconnected,
        "The server has no TLS, so nothing was sent to it: its administrator must set it up.",
    ),
    "no PostgreSQL": (
        Disconnected,
        "What answers there is not a PostgreSQL server: check the profile's server name and port.",
    ),
}

_OURS: dict[str, type[QuarterdeckError]] = {
    "QD001": Refused,
    "QD002": Conflict,
    "QD003": Invalid,
    "QD004": NotFound,
    "QD005": Fenced,
}

# A refused sign-in has no SQLSTATE in the driver's error, only libpq's text (English where the server's or libpq's
# catalogue says nothing else), so that these are tried in turn.
_TEXTS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), code)
    for pattern, code in (
        (r"password authentication failed|no password supplied|empty password", "28P01"),
        (r"no pg_hba.conf entry .*no encryption", "only TLS"),
        (r"does not match host name", "other name"),
        (r"root certificate file", "no authority"),
        (r"does not support SSL", "no TLS"),
        (r"invalid response to SSL negotiation|expected authentication request", "no PostgreSQL"),
        (r"is not permitted to log in|no pg_hba.conf entry|permission denied for database|rejected", "28000"),
        (r'database ".*" does not exist', "3D000"),
        (r"starting up|shutting down|not yet accepting connections|recovery mode", "57P03"),
        (r"too many clients|too many connections|remaining connection slots", "53300"),
        (r"terminating connection due to administrator command", "57P01"),
    )
)


def translate(error: psycopg.Error | exc.SQLAlchemyError) -> QuarterdeckError | None:
    """The error as one of ours; None when it is none that a person could do anything about (a bug)."""
    if isinstance(error, exc.TimeoutError):
        return Disconnected("All connections to the server are in use: try again in a moment.")
    driver = error.orig if isinstance(error, exc.DBAPIError) else error
    if not isinstance(driver, psycopg.Error):
        return None
    code = driver.sqlstate or ""
    if code in _OURS:
        kind = _OURS[code]
        message = driver.diag.message_primary or "The database refused."
        if issubclass(kind, Invalid):
            return kind(message, field=driver.diag.column_name)
        return kind(message)
    if code in _SENTENCES:
        made, sentence = _SENTENCES[code]
        return made(sentence)
    if isinstance(driver, psycopg.errors.ConnectionTimeout):
        return Disconnected("The server does not answer: check the network, the server's name and its port.")
    if isinstance(driver, psycopg.DataError) and not code and "NUL" in str(driver):
        made, sentence = _SENTENCES["22021"]  # the driver refuses it before the server can
        return made(sentence)
    if code.startswith("08") or (isinstance(driver, psycopg.OperationalError) and not code):
        return Disconnected(_connection_sentence(str(driver)))
    return None


def _connection_sentence(text: str) -> str:
    for pattern, code in _TEXTS:
        if pattern.search(text):
            return _SENTENCES[code][1]
    lowered = text.lower()
    if "certificate" in lowered or "ssl" in lowered or "tls" in lowered:
        return UNTRUSTED
    if "refused" in lowered:
        return "No server answers at this address: check that it runs, its name and its port."
    if "resolve" in lowered or "translate host name" in lowered or "name or service not known" in lowered:
        return "There is no server of this name: check the profile's server name and the network."
    if "timeout" in lowered or "timed out" in lowered:
        return "The server does not answer: check the network, the server's name and its port."
    if "authentication method" in lowered:
        return "The server does not ask for a password the safe way (scram-sha-256): tell its administrator."
    if "unreachable" in lowered or "no route" in lowered:
        return "The server's network can't be reached from here."
    return "The connection to the server was lost."
