"""TLS with a real server: who it is must be proved, or nothing is sent (G5)."""

from __future__ import annotations

import datetime as dt
import logging
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from quarterdeck import database, tls
from quarterdeck.client import Client
from quarterdeck.errors import Disconnected, Invalid, QuarterdeckError
from quarterdeck.feed import Event, Feed, Lost, Resync
from tests.links import Link

if TYPE_CHECKING:
    from tests.security.conftest import TlsServer

pytestmark = pytest.mark.spec("G5")

SECRETS = (b"alice", b"the password of alice", b"quarterdeck")


@pytest.fixture
def server(tls_server: TlsServer) -> TlsServer:
    tls_server.show(tls_server.right.issue(["localhost", "127.0.0.1"]))
    return tls_server


def refused(server: TlsServer, sentence: str, **login: object) -> None:
    """One sentence, and nothing of what is secret was on the wire in clear."""
    with Link(server.port) as link:
        chosen = server.login(login.pop("authority", server.right), port=link.port, **login)  # type: ignore[arg-type]
        with pytest.raises(QuarterdeckError) as caught:
            Client.sign_in(chosen).close()
        sent = link.sent
    said = str(caught.value)
    assert sentence in said
    assert said.endswith(".")
    assert said.count(". ") == 0
    assert "\n" not in said
    assert not any(secret in sent for secret in SECRETS)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_right_certificate_and_name_get_in_and_all_is_encrypted(server: TlsServer, host: str) -> None:
    with Link(server.port) as link:
        with Client.sign_in(server.login(server.right, host, port=link.port)) as client:
            assert client.me.login == "alice"
            with client.engine.connect() as connection:
                row = connection.execute(
                    sa.text("select ssl, version from pg_stat_ssl where pid = pg_backend_pid()")
                ).one()
            assert row.ssl
            assert row.version in ("TLSv1.2", "TLSv1.3")
            assert client.count() == 0
        assert len(link.sent) > 500
        assert not any(secret in link.sent for secret in SECRETS)


def test_the_feed_listens_with_tls_too(server: TlsServer) -> None:
    heard: list[Event] = []
    come = threading.Event()

    def hear(event: Event) -> None:
        heard.append(event)
        come.set()

    with Feed(server.login(server.right), None, hear):
        assert come.wait(10)
    assert heard[0] == Resync()
    heard.clear()
    come.clear()
    with Feed(server.login(server.wrong), None, hear):
        assert come.wait(10)
    assert isinstance(heard[0], Lost)
    assert "certificate" in heard[0].text


def test_a_certificate_of_another_authority(server: TlsServer) -> None:
    refused(server, "comes from an authority that is not trusted", authority=server.wrong)


def test_the_systems_authorities_do_not_know_it(server: TlsServer) -> None:
    refused(server, "comes from an authority that is not trusted", authority=None)


def test_the_systems_authorities_are_trusted_where_none_is_chosen(
    server: TlsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(server.right.file))
    with Client.sign_in(server.login(None)) as client:
        assert client.me.login == "alice"
    monkeypatch.delenv("SSL_CERT_FILE")
    named = database.connect_arguments(server.login(None))["sslrootcert"]
    # a driver with an OpenSSL of its own would look where no system keeps them
    assert named == next(one for one in (*tls._SYSTEM, "system") if one == "system" or Path(one).is_file())


def test_a_certificate_for_another_name(server: TlsServer) -> None:
    server.show(server.right.issue(["db.example.org"]))
    refused(server, "made out to another name")
    server.show(server.right.issue(["localhost"]))
    refused(server, "made out to another name", host="127.0.0.1")


def test_an_expired_certificate(server: TlsServer) -> None:
    server.show(server.right.issue(["localhost"], valid=dt.timedelta(days=-1)))
    refused(server, "has expired")


def test_a_certificate_file_that_is_missing_or_none(server: TlsServer, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("no certificate")
    for file in (tmp_path / "absent.pem", empty):
        refused(server, "certificate can't be read, or its file holds none", root_certificate=file)
        with pytest.raises(Invalid, match="choose"):
            tls.check_certificate(file)
    tls.check_certificate(server.right.file)


def test_a_wrong_password_is_no_matter_of_tls(server: TlsServer) -> None:
    refused(server, "the user name or the password is wrong", password="another one")


def test_a_server_that_asks_for_the_password_in_clear_gets_none_even_inside_tls(server: TlsServer) -> None:
    refused(server, "does not ask for a password the safe way", user="asked_in_clear")


def test_without_tls_such_a_server_lets_nobody_in(server: TlsServer) -> None:
    """On this computer a profile may go without; the password stays unreadable all the same (scram)."""
    with Link(server.port) as link:
        login = server.login(None, "127.0.0.1", port=link.port, tls="loopback")
        with pytest.raises(Disconnected, match="takes connections with TLS only"):
            Client.sign_in(login)
        assert b"the password of alice" not in link.sent


def serve(answer: Callable[[socket.socket], None]) -> tuple[socket.socket, threading.Thread]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def run() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(5)
            answer(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return listener, thread


@pytest.mark.parametrize("answer", [b"N", b"E"])
def test_no_way_leads_down_to_a_connection_in_clear(server: TlsServer, answer: bytes) -> None:
    """Whoever stands in between answers that there is no TLS: the client leaves."""
    received = bytearray()

    def downgrade(connection: socket.socket) -> None:
        received.extend(connection.recv(1000))
        connection.sendall(answer if answer == b"N" else b"E\x00\x00\x00\x0dSFATAL\x00\x00")
        while data := connection.recv(1000):
            received.extend(data)

    listener, thread = serve(downgrade)
    with listener, pytest.raises(Disconnected) as caught:
        Client.sign_in(server.login(server.right, port=listener.getsockname()[1]))
    thread.join(10)
    assert "\n" not in str(caught.value)
    if answer == b"N":
        assert "has no TLS, so nothing was sent to it" in str(caught.value)
    assert not any(secret in received for secret in SECRETS)
    assert len(received) <= 8


@pytest.mark.spec("G4")
def test_something_else_at_the_port(server: TlsServer) -> None:
    def http(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    listener, thread = serve(http)
    with listener, pytest.raises(Disconnected, match="is not a PostgreSQL server: check the profile's server name and"):
        Client.sign_in(server.login(server.right, port=listener.getsockname()[1]))
    thread.join(10)


def test_the_password_is_in_no_text_of_what_fails(server: TlsServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    login = server.login(server.wrong)
    assert login.password is not None
    with pytest.raises(Disconnected) as caught:
        Client.sign_in(login)
    error: BaseException | None = caught.value
    seen = [repr(login), str(login), caplog.text]
    while error is not None:
        seen += [str(error), repr(error)]
        error = error.__cause__ or error.__context__
    assert login.password not in "".join(seen)
