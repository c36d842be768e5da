"""Whatever goes wrong between client and server, a person reads one clear sentence, without the driver's text."""

from __future__ import annotations

import dataclasses
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa

from quarterdeck.database import Fenced, Login, connect_arguments, engine, translate, translated
from quarterdeck.errors import Conflict, Disconnected, Invalid, NotFound, QuarterdeckError, Refused

if TYPE_CHECKING:
    from conftest import Database

pytestmark = pytest.mark.spec("G4", "G5")


@contextmanager
def one_sentence(kind: type[QuarterdeckError], text: str, *secrets: str) -> Iterator[None]:
    with pytest.raises(kind) as caught, translated():
        yield
    said = str(caught.value)
    assert type(caught.value) is kind
    assert text in said
    assert said.count("\n") == 0
    assert said.endswith(".")
    for part in ("psycopg", "FATAL", "ERROR", "sqlalche", "connection to server at", *secrets):
        assert part not in said


def use(login: Login, text: str = "select 1", **options: Any) -> None:
    made = engine(login, **options)
    try:
        with made.connect() as connection:
            connection.execute(sa.text(text))
    finally:
        made.dispose()


def test_a_wrong_password(database: Database) -> None:
    login = dataclasses.replace(database.login("alice"), password="a wrong password")
    with one_sentence(Disconnected, "the user name or the password is wrong", "a wrong password", "alice"):
        use(login)
    with one_sentence(Disconnected, "the user name or the password is wrong"):
        use(dataclasses.replace(login, password=None))
    with one_sentence(Disconnected, "the user name or the password is wrong"):
        use(dataclasses.replace(login, user="nobody_here"))


def test_a_password_is_in_no_representation(database: Database) -> None:
    login = database.login("alice")
    made = engine(login)
    assert login.password is not None
    assert login.password not in repr(login) + repr(made) + repr(made.url)


def test_no_such_database(database: Database) -> None:
    with one_sentence(Disconnected, "no such database"):
        use(dataclasses.replace(database.login("alice"), database="absent"))


def test_nobody_answers_at_the_port() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with one_sentence(Disconnected, "No server answers at this address"):
            use(Login(host="127.0.0.1", port=port, database="x", user="x", password="x"))


def test_an_unknown_host() -> None:
    login = Login(host="no-such-host.invalid", port=5432, database="x", user="x", password="x", tls="verify-full")
    with one_sentence(Disconnected, "There is no server of this name"):
        use(login)


def test_a_server_that_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quarterdeck.database.CONNECT_TIMEOUT", 2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with one_sentence(Disconnected, "The server does not answer"):
            use(Login(host="127.0.0.1", port=silent.getsockname()[1], database="x", user="x", password="x"))


def test_something_else_answers() -> None:
    """As a web server would."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()

        def answer() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with one_sentence(Disconnected, "What answers there is not a PostgreSQL server"):
            use(Login(host="127.0.0.1", port=other.getsockname()[1], database="x", user="x", password="x"))
        thread.join(10)


def test_a_server_without_tls(database: Database, tmp_path: Path) -> None:
    # the embedded server's programs have none
    login = dataclasses.replace(database.login("alice"), tls="verify-full", root_certificate=tmp_path / "absent.pem")
    with one_sentence(Disconnected, "The server has no TLS, so nothing was sent to it"):
        use(login)


def test_the_time_limit_of_a_statement(database: Database) -> None:
    with one_sentence(Conflict, "longer than the time limit"):
        use(database.login("alice"), "select pg_sleep(30)", statement_timeout=0.1)


def test_a_lost_connection_and_the_next_use(database: Database) -> None:
    made = database.engine("alice")
    with one_sentence(Disconnected, "The server closed the connection"), made.connect() as connection:
        connection.execute(sa.text("select 1"))
        database.sql("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'")
        connection.execute(sa.text("select 1"))
    assert database.value("alice", "select 1") == 1
    # lost while it lay in the pool: replaced without a word
    database.sql("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'alice'")
    assert database.value("alice", "select 1") == 1


def test_no_right(database: Database) -> None:
    with one_sentence(Refused, "no right to do that"):
        database.sql("alice", "delete from qd.job")


def test_too_many_connections(database: Database) -> None:
    with one_sentence(Disconnected, "The server has no free connection"):
        for _ in range(41):
            database.connect("alice")


def test_a_full_pool(database: Database) -> None:
    made = engine(database.login("alice"), pool_size=1)
    made.pool._timeout = 0.1  # type: ignore[attr-defined]
    held = [made.connect() for _ in range(6)]
    try:
        with one_sentence(Disconnected, "All connections to the server are in use"):
            made.connect()
    finally:
        for connection in held:
            connection.close()
        made.dispose()


def test_a_database_without_the_schema(database: Database) -> None:
    with one_sentence(Invalid, "was not set up for Quarterdeck"):
        use(dataclasses.replace(database.login("alice")), "select absent.whoami()")
    with one_sentence(Invalid, "does not fit this version of Quarterdeck"):
        use(database.login("alice"), "select qd.what_am_i()")


@pytest.mark.parametrize(
    ("state", "kind"),
    [("QD001", Refused), ("QD002", Conflict), ("QD003", Invalid), ("QD004", NotFound), ("QD005", Fenced)],
)
def test_our_own_errors_speak_for_themselves(database: Database, state: str, kind: type[QuarterdeckError]) -> None:
    text = f"do $$ begin raise exception 'That is 100 %% so.' using errcode = '{state}', column = 'here'; end $$"
    with pytest.raises(kind) as caught:
        database.sql("postgres", text)
    assert str(caught.value) == "That is 100 % so."
    assert type(caught.value) is kind
    assert getattr(caught.value, "field", "here") == "here"


@pytest.mark.parametrize("state", ["57P01", "57P02", "57P03", "53300", "40P01", "40001", "55P03", "53100", "22021"])
def test_errors_that_can_not_be_provoked_here(database: Database, state: str) -> None:
    with pytest.raises(psycopg.Error) as caught:
        database.connect("postgres").execute(f"do $$ begin raise sqlstate '{state}'; end $$".encode())
    known = translate(caught.value)
    assert isinstance(known, (Disconnected, Conflict, Invalid))
    assert str(known).endswith(".")


def test_a_server_that_starts_or_stops() -> None:
    for text in ("the database system is starting up", "the database system is shutting down"):
        error = psycopg.OperationalError(f'connection failed: connection to server at "::1" failed: FATAL:  {text}')
        known = translate(error)
        assert isinstance(known, Disconnected)
        assert "starting up or shutting down" in str(known)


def test_a_bug_is_no_error_for_people(database: Database) -> None:
    with pytest.raises(sa.exc.ProgrammingError):
        database.sql("alice", "selekt 1")


def test_settings_of_a_connection(database: Database) -> None:
    settings = ("application_name", "statement_timeout", "client_encoding", "timezone")
    found = [database.value("alice", f"select current_setting('{name}')") for name in settings]
    assert found == ["quarterdeck", "1min", "UTF8", "UTC"]


@pytest.mark.parametrize(
    "login",
    [
        Login(host="db.example.org", port=5432, database="x", user="x", password="x"),
        Login(host="", port=5432, database="x", user="x", password="x"),
        Login(host="/tmp", port=5432, database="x", user="x", password="x"),
        Login(host="127.0.0.1,evil.example.org", port=5432, database="x", user="x", password="x"),
        Login(host="127.0.0.1", port=0, database="x", user="x", password="x"),
        Login(host="127.0.0.1", port=5432, database="x", user="x", password="a\0b"),
        Login(host="127.0.0.1", port=5432, database="", user="x", password="x"),
    ],
)
def test_logins_that_are_never_tried(login: Login) -> None:
    with pytest.raises(Invalid) as caught:
        connect_arguments(login)
    assert caught.value.field is not None


def test_a_password_only_goes_to_a_server_that_asks_for_it_the_safe_way() -> None:
    """A false server that asks for the password in clear gets none."""
    received = b""
    with socket.socket() as false_server:
        false_server.bind(("127.0.0.1", 0))
        false_server.listen()

        def ask() -> None:
            nonlocal received
            connection, _ = false_server.accept()
            with connection:
                received += connection.recv(1000)
                # AuthenticationCleartextPassword
                connection.sendall(b"R\x00\x00\x00\x08\x00\x00\x00\x03")
                connection.settimeout(10)
                received += connection.recv(1000)

        thread = threading.Thread(target=ask)
        thread.start()
        port = false_server.getsockname()[1]
        with one_sentence(Disconnected, "does not ask for a password the safe way", "my secret"):
            use(Login(host="127.0.0.1", port=port, database="x", user="x", password="my secret"))
        thread.join(10)
    assert b"user" in received
    assert b"my secret" not in received
