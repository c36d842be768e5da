"""The verifier of a password, against the RFC's example and against what PostgreSQL makes of the same password."""

from __future__ import annotations

import base64
import hashlib
import hmac

import psycopg
import pytest
from psycopg import sql

from quarterdeck.scram import scram_verifier
from quarterdeck.server import Started


def parts(verifier: str) -> tuple[int, bytes, bytes, bytes]:
    name, numbers, keys = verifier.split("$")
    assert name == "SCRAM-SHA-256"
    iterations, salt = numbers.split(":")
    stored, server = keys.split(":")
    return int(iterations), base64.b64decode(salt), base64.b64decode(stored), base64.b64decode(server)


@pytest.mark.spec("G5")
def test_example_of_rfc_7677() -> None:
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    said = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}".encode()
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    signature = base64.b64decode("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    iterations, used, stored, server = parts(scram_verifier("pencil", salt, 4096))
    assert (iterations, used) == (4096, salt)
    assert hmac.digest(server, said, "sha256") == signature
    client = hmac.digest(stored, said, "sha256")
    assert hashlib.sha256(bytes(a ^ b for a, b in zip(proof, client, strict=True))).digest() == stored


def test_salt_is_fresh() -> None:
    first, second = parts(scram_verifier("pencil")), parts(scram_verifier("pencil"))
    assert len(first[1]) == 16
    assert first[1] != second[1]


PASSWORDS = [
    "pencil",
    'it\'s $a \\ "quoted" one',
    "pässwörd",
    "a\u0308",  # composed by normalization
    "\u2168",  # the roman nine, IX
    "I\u00adX",  # a soft hyphen, left out
    "\u00aa",
    "a\u00a0b",  # a space that is not ASCII
    "\u0627\u0031",  # forbidden mix of directions: taken as it is
    "\u0627\u0031\u0628",
    "\u0007bell",
    "π\u0007",
    "\u00ad",  # nothing is left
    "股票🚢",
    "ﷺ\u200bx",
]


@pytest.mark.spec("G5")
@pytest.mark.parametrize("password", PASSWORDS)
def test_same_as_the_servers_own(postgres: Started, password: str) -> None:
    with psycopg.connect(postgres.conninfo()) as connection:
        connection.execute("create role scram_probe login")
        connection.execute(sql.SQL("alter role scram_probe password {}").format(sql.Literal(password)))
        row = connection.execute("select rolpassword from pg_authid where rolname = 'scram_probe'").fetchone()
        connection.rollback()
    assert row
    iterations, salt, *_ = parts(row[0])
    assert scram_verifier(password, salt, iterations) == row[0]


@pytest.mark.spec("G5")
def test_login(postgres: Started) -> None:
    with psycopg.connect(postgres.conninfo(), autocommit=True) as connection:
        verifier = sql.Literal(scram_verifier("I\u00adX ☃"))
        connection.execute(sql.SQL("create role scram_login login password {}").format(verifier))
        try:
            place = {"host": "127.0.0.1", "port": postgres.port, "user": "scram_login", "dbname": "postgres"}
            for password in ("I\u00adX ☃", "IX ☃", "\u2168 ☃"):
                psycopg.connect(**place, password=password).close()  # type: ignore[arg-type]
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(**place, password="ix ☃")  # type: ignore[arg-type]
        finally:
            connection.execute("drop role scram_login")
