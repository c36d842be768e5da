"""Connection profiles: which server, as whom. Passwords live in the system's keyring, never in the profile (P3, G5)."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import os
import re
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from quarterdeck.errors import Invalid, NotFound

__all__ = [
    "LOCAL",
    "Profile",
    "folder",
    "forget",
    "is_loopback",
    "keeper",
    "kept",
    "load",
    "names",
    "password",
    "remove",
    "rename",
    "save",
]

LOCAL = "local"
"""The profile of the embedded cluster, and the default one."""

_SERVICE = "quarterdeck"
_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """How to reach a cluster's database, without the password.

    `tls` is "loopback" (no TLS: only on this computer) or "verify-full" (the server's certificate and name are
    checked, against `root_certificate` if given, else against the system's authorities).

    Raises:
        Invalid: a name, address or port that can't be used, or an address of another machine without TLS.
    """

    name: str
    host: str = "127.0.0.1"
    port: int = 5432
    database: str = "quarterdeck"
    user: str
    tls: Literal["loopback", "verify-full"] = "verify-full"
    root_certificate: Path | None = None

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise Invalid(
                f"'{self.name[:40]}' can't be a profile's name: use up to 40 letters, digits and _ . -", field="name"
            )
        for field in ("host", "database", "user"):
            value = getattr(self, field)
            if not value or len(value) > 253 or any(ord(char) < 33 for char in value):
                raise Invalid(f"profile '{self.name}': {field} {value!r} can't be used", field=field)
        if not 1 <= self.port <= 65535:
            raise Invalid(f"profile '{self.name}': port {self.port} is not between 1 and 65535", field="port")
        if self.tls not in ("loopback", "verify-full"):
            raise Invalid(f"profile '{self.name}': tls is 'loopback' or 'verify-full', not '{self.tls}'", field="tls")
        if self.tls == "loopback" and not is_loopback(self.host):
            raise Invalid(
                f"profile '{self.name}': {self.host} is another machine, so the connection needs TLS (verify-full)",
                field="tls",
            )


def is_loopback(host: str) -> bool:
    """Does the address mean this computer?"""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def folder() -> Path:
    """Where profiles are kept: the user's configuration folder, or the one that QUARTERDECK_CONFIG names."""
    configured = os.environ.get("QUARTERDECK_CONFIG")
    if configured:
        return Path(configured)
    import platformdirs

    return platformdirs.user_config_path("quarterdeck", appauthor=False)


def names() -> list[str]:
    """The saved profiles' names, in alphabetical order.

    Raises:
        Invalid: the file of profiles can't be read.
    """
    return sorted(_read())


def load(name: str | None = None) -> Profile:
    """The saved profile of that name; without a name, the one that QUARTERDECK_PROFILE names, else the local one.

    Raises:
        NotFound: there is no such profile.
        Invalid: the file of profiles can't be read, or this profile in it can't be used.
    """
    wanted = name or os.environ.get("QUARTERDECK_PROFILE") or LOCAL
    saved = _read()
    if wanted not in saved:
        if wanted == LOCAL:
            raise NotFound(
                "there is no cluster on this computer yet: start one by 'quarterdeck cluster start', "
                "or connect to another by 'quarterdeck profile add'"
            )
        known = ", ".join(sorted(saved)) or "none yet"
        raise NotFound(f"there is no profile '{wanted}' (saved: {known}); add it by 'quarterdeck profile add'")
    return _from_json(wanted, saved[wanted])


def save(profile: Profile, password: str | None = None) -> Path | None:
    """Save a profile, in place of one of the same name, and its password if one is given.

    Returns the file that holds the password where the system has no keyring, or a locked one (a file that only this
    user can read, worth a word to the person), else None.

    Raises:
        Invalid: the folder can't be written.
    """
    saved = _read()
    fields = dataclasses.asdict(profile)
    del fields["name"]
    fields["root_certificate"] = None if profile.root_certificate is None else str(profile.root_certificate.absolute())
    saved[profile.name] = fields
    _write(_profiles_path(), {"profiles": saved})
    return None if password is None else _keep(profile.name, password)


def rename(name: str, profile: Profile) -> None:
    """Replace the profile `name` by one of another name; its kept password goes with it.

    Raises:
        NotFound: there is no profile `name`.
        Invalid: there is one of the new name already, or the keyring is locked: nothing changes.
    """
    saved = _read()
    if name not in saved:
        raise NotFound(f"there is no profile '{name}'")
    if profile.name in saved:
        raise Invalid(f"there is a profile '{profile.name}' already: choose another name", field="name")
    place, secret = _kept(name)
    if place == "locked":
        raise Invalid(_LOCKED)
    save(profile, secret)
    remove(name)


def forget(name: str) -> None:
    """Forget the kept password of a profile, which itself stays.

    Raises:
        Invalid: the keyring is locked, so that the password stays in it.
    """
    _forget_in_file(name)
    keyring = _keyring()
    if keyring is not None:
        from keyring import errors

        try:
            keyring.delete_password(_SERVICE, name)
        except errors.PasswordDeleteError:
            pass  # it held none
        except Exception:  # a keyring's backends raise whatever their systems do
            raise Invalid(_LOCKED) from None


def remove(name: str) -> None:
    """Forget a profile and its password.

    Raises:
        NotFound: there is no such profile.
        Invalid: the keyring is locked, so that the password would stay in it: nothing changes.
    """
    saved = _read()
    if saved.pop(name, None) is None:
        raise NotFound(f"there is no profile '{name}'")
    forget(name)
    _write(_profiles_path(), {"profiles": saved})


def password(profile: Profile) -> str | None:
    """The password of a profile: QUARTERDECK_PASSWORD, else the kept one; None if there is none or it is locked away.

    Raises:
        Invalid: the file of passwords is open to other users of this computer, or can't be read.
    """
    return os.environ.get("QUARTERDECK_PASSWORD") or _kept(profile.name)[1]


def kept(name: str) -> Literal["", "keyring", "file", "environment"]:
    """Where the password of a profile comes from, if it needn't be typed. May wait until its owner opens the keyring.

    Raises:
        Invalid: the keyring is locked; or as by `password`.
    """
    if os.environ.get("QUARTERDECK_PASSWORD"):
        return "environment"
    place, _ = _kept(name)
    if place == "locked":
        raise Invalid(_LOCKED)
    return place


def keeper() -> Literal["keyring", "file"]:
    """Where a password would be kept: the system's keyring, or where there is none a file only this user can read."""
    return "file" if _keyring() is None else "keyring"


_LOCKED = "this computer's keyring is locked or does not answer: unlock it and try again, or type the password"


def _kept(name: str) -> tuple[Literal["", "keyring", "file", "locked"], str | None]:
    found = _credentials().get(name)
    if found is not None:
        return "file", found
    keyring = _keyring()
    if keyring is None:
        return "", None
    try:
        secret = cast("str | None", keyring.get_password(_SERVICE, name))
    except Exception:  # locked, and its owner declined to open it; backends raise whatever their systems do
        return "locked", None
    return ("keyring", secret) if secret is not None else ("", None)


def _profiles_path() -> Path:
    return folder() / "profiles.json"


def _credentials_path() -> Path:
    return folder() / "credentials"


def _keyring() -> Any:
    """The system's keyring, or None on a machine without one."""
    import keyring

    backend = keyring.get_keyring()
    try:
        usable = backend.priority > 0
    except RuntimeError:
        usable = False
    return backend if usable else None


def _keep(name: str, secret: str) -> Path | None:
    keyring = _keyring()
    if keyring is not None:
        try:
            keyring.set_password(_SERVICE, name, secret)
        except Exception:  # backends raise whatever their systems do
            keyring = None
        else:
            _forget_in_file(name)
    if keyring is not None:
        return None
    path = _credentials_path()
    _write(path, {**_credentials(), name: secret})
    return path


def _forget_in_file(name: str) -> None:
    kept = _credentials()
    if kept.pop(name, None) is not None:
        _write(_credentials_path(), kept)


def _credentials() -> dict[str, str]:
    path = _credentials_path()
    try:
        mode = path.stat().st_mode
    except OSError:
        return {}
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise Invalid(f"{path} holds passwords and is open to other users: close it by 'chmod 600 {path}'")
    return {key: value for key, value in _json(path).items() if isinstance(value, str)}


def _read() -> dict[str, dict[str, Any]]:
    path = _profiles_path()
    if not path.exists():
        return {}
    profiles = _json(path).get("profiles")
    if not isinstance(profiles, dict):
        raise Invalid(f"{path} is not a file of profiles: repair or delete it")
    return profiles


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Invalid(f"{path} can't be read: {error.strerror}") from None
    except ValueError:
        raise Invalid(f"{path} is not valid JSON: repair or delete it") from None
    if not isinstance(content, dict):
        raise Invalid(f"{path} is not a JSON object: repair or delete it")
    return content


def _from_json(name: str, fields: Any) -> Profile:
    try:
        certificate = fields.get("root_certificate")
        return Profile(
            name=name,
            host=str(fields["host"]),
            port=int(fields["port"]),
            database=str(fields["database"]),
            user=str(fields["user"]),
            tls=fields["tls"],
            root_certificate=None if certificate is None else Path(certificate),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise Invalid(f"profile '{name}' in {_profiles_path()} can't be used: add it again") from None


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file at once, readable by this user only."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)  # 0600
        part = Path(name)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(content, file, indent=2, sort_keys=True)
                file.write("\n")
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise Invalid(f"{path} can't be written: {error.strerror}") from None
