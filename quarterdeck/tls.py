"""Whom a connection with TLS trusts, and why it does not trust a server."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path

from quarterdeck.errors import Invalid

__all__ = ["authorities", "check_certificate", "why_untrusted"]

# where systems keep the authorities that they trust: the first that exists is asked, as Go's crypto/x509 does it
_SYSTEM = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

# PostgreSQL's protocol, "Message Formats": SSLRequest; the answer is one byte, S or N
_SSL_REQUEST = bytes.fromhex("00000008 04d2162f")

# OpenSSL's x509_vfy.h
_EXPIRED, _NOT_YET, _OTHER_NAME = 10, 9, (62, 64)


def authorities(chosen: Path | None) -> str:
    """The file of authorities that libpq shall trust: the profile's, else the system's.

    Drivers that bring their own OpenSSL look for the system's in a folder that no system has, so the file is named.
    """
    if chosen is not None:
        return str(chosen)
    named = os.environ.get("SSL_CERT_FILE")
    return next((one for one in (named, *_SYSTEM) if one and Path(one).is_file()), "system")


def check_certificate(file: Path) -> None:
    """Nothing, if the file holds certificates (PEM).

    Raises:
        Invalid: it can't be read, or holds none.
    """
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cafile=file)
        found = bool(context.get_ca_certs()) or "BEGIN CERTIFICATE" in file.read_text("ascii")
    except ssl.SSLError:
        found = False
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise Invalid(f"The certificate {file} can't be read ({why}): choose another file.", field="tls") from None
    if not found:
        raise Invalid(f"{file} holds no certificate: choose the authority's file (PEM).", field="tls")


def why_untrusted(host: str, port: int, root: Path | None, timeout: float = 5.0) -> str | None:
    """What is wrong with a server's certificate, in one sentence; None when nothing is, or it can't be told.

    Begins a connection like the driver's and ends it after TLS's greeting: neither a name nor a password is sent.
    """
    try:
        context = ssl.create_default_context(cafile=authorities(root) if authorities(root) != "system" else None)
        with socket.create_connection((host, port), timeout) as raw:
            raw.sendall(_SSL_REQUEST)
            if raw.recv(1) != b"S":
                return None
            with context.wrap_socket(raw, server_hostname=host):
                return None
    except ssl.SSLCertVerificationError as error:
        return _sentence(error, host)
    except (OSError, ValueError):
        return None


def _sentence(error: ssl.SSLCertVerificationError, host: str) -> str:
    if error.verify_code == _EXPIRED:
        return "The server's certificate has expired: its administrator must renew it."
    if error.verify_code == _NOT_YET:
        return "The server's certificate is not valid yet: check this computer's clock, or tell its administrator."
    if error.verify_code in _OTHER_NAME:
        return f"The server's certificate is made out to another name than {host}: check the profile's server name."
    return (
        "The server's certificate comes from an authority that is not trusted: choose the certificate that its "
        "administrator gave you."
    )
