"""Connection profiles, and where their passwords are kept."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import keyring
import keyring.backend
import keyring.backends.fail
import keyring.errors
import pytest

from quarterdeck import profile
from quarterdeck.errors import Invalid, NotFound
from quarterdeck.profile import Profile


class Kept(keyring.backend.KeyringBackend):
    """A keyring in memory, as a system's own would be."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[tuple[str, str], str] = {}
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        if self.locked:
            raise keyring.errors.KeyringLocked("locked")
        return self.secrets.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked("locked")
        self.secrets[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.locked:
            raise keyring.errors.KeyringLocked("locked")
        if (service, username) not in self.secrets:
            raise keyring.errors.PasswordDeleteError("none")
        del self.secrets[service, username]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("QUARTERDECK_PASSWORD", "QUARTERDECK_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QUARTERDECK_CONFIG", str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def ring() -> Iterator[Kept]:
    before = keyring.get_keyring()
    kept = Kept()
    keyring.set_keyring(kept)
    yield kept
    keyring.set_keyring(before)


@pytest.fixture
def no_ring() -> Iterator[None]:
    before = keyring.get_keyring()
    keyring.set_keyring(keyring.backends.fail.Keyring())
    yield
    keyring.set_keyring(before)


def desk(name: str = "desk", **fields: object) -> Profile:
    return Profile(**{"name": name, "host": "db.example.org", "user": "alice", **fields})  # type: ignore[arg-type]


@pytest.mark.spec("P3", "G5")
def test_passwords_go_to_the_keyring_and_nowhere_else(folder: Path, ring: Kept) -> None:
    assert profile.save(desk(), "s3cret") is None
    assert ring.secrets == {("quarterdeck", "desk"): "s3cret"}
    assert profile.load("desk") == desk()
    assert profile.password(desk()) == "s3cret"
    assert [one.name for one in folder.iterdir()] == ["profiles.json"]
    assert "s3cret" not in (folder / "profiles.json").read_text()


@pytest.mark.spec("P3", "G5")
def test_without_a_keyring_a_file_of_ones_own_keeps_them(folder: Path, no_ring: None) -> None:
    kept = profile.save(desk(), "s3cret")
    assert kept == folder / "credentials"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert profile.password(desk()) == "s3cret"
    profile.save(desk("other"), "an0ther")
    profile.remove("desk")
    assert profile.password(desk()) is None
    assert profile.password(desk("other")) == "an0ther"
    assert "s3cret" not in kept.read_text()


@pytest.mark.skipif(os.name != "posix", reason="Windows has no such modes")
def test_a_file_of_passwords_that_others_can_read_is_refused(folder: Path, no_ring: None) -> None:
    kept = profile.save(desk(), "s3cret")
    assert kept is not None
    kept.chmod(0o640)
    with pytest.raises(Invalid, match="open to other users: close it by 'chmod 600"):
        profile.password(desk())


def test_a_locked_keyring_gives_no_password(folder: Path, ring: Kept) -> None:
    profile.save(desk(), "s3cret")
    ring.locked = True
    assert profile.password(desk()) is None
    kept = profile.save(desk("other"), "an0ther")
    assert kept == folder / "credentials"
    ring.locked = False
    assert profile.save(desk("other"), "an0ther") is None
    assert json.loads((folder / "credentials").read_text()) == {}


def test_the_environment_has_the_last_word(folder: Path, ring: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    profile.save(desk(), "s3cret")
    profile.save(desk("local"), "x")
    monkeypatch.setenv("QUARTERDECK_PASSWORD", "given")
    assert profile.password(desk()) == "given"
    assert profile.load().name == "local"
    monkeypatch.setenv("QUARTERDECK_PROFILE", "desk")
    assert profile.load().name == "desk"
    assert profile.load("local").name == "local"


def test_profiles_are_replaced_listed_and_removed(folder: Path, ring: Kept, tmp_path: Path) -> None:
    assert profile.names() == []
    profile.save(desk("b", root_certificate=tmp_path / "ca.pem"))
    profile.save(desk("a", host="127.0.0.1", tls="loopback", port=1))
    profile.save(desk("b", port=6000, root_certificate=tmp_path / "ca.pem"))
    assert profile.names() == ["a", "b"]
    assert profile.load("b") == desk("b", port=6000, root_certificate=tmp_path / "ca.pem")
    profile.remove("a")
    assert profile.names() == ["b"]
    with pytest.raises(NotFound, match="there is no profile 'a'"):
        profile.remove("a")


@pytest.mark.spec("G4")
def test_what_is_missing_is_said(folder: Path, ring: Kept) -> None:
    with pytest.raises(NotFound, match="no cluster on this computer yet: start one by 'quarterdeck cluster start'"):
        profile.load()
    profile.save(desk())
    with pytest.raises(NotFound, match=r"there is no profile 'dsek' \(saved: desk\)"):
        profile.load("dsek")


@pytest.mark.spec("G4", "G5")
@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"name": "../x"}, "can't be a profile's name"),
        ({"name": ""}, "can't be a profile's name"),
        ({"host": ""}, "host '' can't be used"),
        ({"user": "a b"}, "user 'a b' can't be used"),
        ({"port": 0}, "port 0 is not between 1 and 65535"),
        ({"tls": "off"}, "tls is 'loopback' or 'verify-full', not 'off'"),
        ({"tls": "loopback"}, "db.example.org is another machine, so the connection needs TLS"),
        ({"tls": "loopback", "host": "127.0.0.1.example.org"}, "needs TLS"),
        ({"tls": "loopback", "host": "10.0.0.1"}, "needs TLS"),
    ],
)
def test_profiles_that_can_not_be(fields: dict[str, object], match: str) -> None:
    with pytest.raises(Invalid, match=match):
        desk(**fields) if "name" not in fields else Profile(**{"user": "a", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_loopback(host: str) -> None:
    assert profile.is_loopback(host)


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not a JSON object"),
        ('{"profiles": 3}', "is not a file of profiles"),
        ('{"profiles": {"desk": {"host": "x"}}}', "profile 'desk' in .* can't be used: add it again"),
        ('{"profiles": {"desk": 3}}', "can't be used: add it again"),
    ],
)
def test_a_spoiled_file_is_said(folder: Path, content: str, match: str) -> None:
    folder.mkdir()
    (folder / "profiles.json").write_text(content)
    with pytest.raises(Invalid, match=match):
        profile.load("desk")


@pytest.mark.spec("G4")
def test_a_folder_that_can_not_be_written_is_said(tmp_path: Path, ring: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("QUARTERDECK_CONFIG", str(tmp_path / "file"))
    with pytest.raises(Invalid, match="can't be written"):
        profile.save(desk())


@pytest.mark.spec("P3", "G5")
def test_a_renamed_profile_takes_its_password_along(folder: Path, ring: Kept) -> None:
    profile.save(desk(), "s3cret")
    profile.save(desk("other"), "an0ther")
    profile.rename("desk", desk("floor", port=6000))
    assert profile.names() == ["floor", "other"]
    assert profile.load("floor").port == 6000
    assert ring.secrets == {("quarterdeck", "floor"): "s3cret", ("quarterdeck", "other"): "an0ther"}
    with pytest.raises(Invalid, match="there is a profile 'other' already"):
        profile.rename("floor", desk("other"))
    with pytest.raises(NotFound, match="there is no profile 'desk'"):
        profile.rename("desk", desk("x"))
    assert profile.names() == ["floor", "other"]


@pytest.mark.spec("P3", "G5")
def test_a_locked_keyring_lets_nothing_be_half_done(folder: Path, ring: Kept) -> None:
    profile.save(desk(), "s3cret")
    ring.locked = True
    for act in (
        lambda: profile.rename("desk", desk("floor")),
        lambda: profile.forget("desk"),
        lambda: profile.remove("desk"),
        lambda: profile.kept("desk"),
    ):
        with pytest.raises(Invalid, match="keyring is locked or does not answer: unlock it and try again"):
            act()
    assert profile.names() == ["desk"]
    ring.locked = False
    assert profile.kept("desk") == "keyring"
    profile.forget("desk")
    assert profile.kept("desk") == ""
    profile.forget("desk")  # nothing to forget
    assert profile.names() == ["desk"]


@pytest.mark.spec("P3", "G5")
def test_where_a_password_is_and_would_be(folder: Path, no_ring: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert profile.keeper() == "file"
    profile.save(desk())
    assert profile.kept("desk") == ""
    profile.save(desk(), "s3cret")
    assert profile.kept("desk") == "file"
    profile.rename("desk", desk("floor"))
    assert profile.password(desk("floor")) == "s3cret"
    profile.forget("floor")
    assert profile.password(desk("floor")) is None
    monkeypatch.setenv("QUARTERDECK_PASSWORD", "given")
    assert profile.kept("floor") == "environment"


def test_a_keyring_that_breaks_is_none(folder: Path, ring: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise RuntimeError("the bus is gone")

    profile.save(desk(), "s3cret")
    for name in ("get_password", "set_password", "delete_password"):
        monkeypatch.setattr(ring, name, breaks)
    assert profile.keeper() == "keyring"
    assert profile.password(desk()) is None
    assert profile.save(desk(), "s3cret") == folder / "credentials"
    assert profile.password(desk()) == "s3cret"
