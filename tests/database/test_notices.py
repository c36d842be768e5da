"""Hints and "changed since": who hears of what, how often, and that nothing is missed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

if TYPE_CHECKING:
    from conftest import Database

pytestmark = pytest.mark.spec("M7")


class Ear:
    """A connection that listens to all channels of a user."""

    def __init__(self, database: Database, user: str) -> None:
        self._database = database
        self._connection = database.connect(user)
        self._mark = f"mark_{user}"
        self._connection.execute(f"listen {self._mark}".encode())
        for (channel,) in self._connection.execute("select * from qd.my_channels()").fetchall():
            assert re.fullmatch("c[0-9a-f]{32}", channel)
            self._connection.execute(f"listen {channel}".encode())

    def heard(self) -> list[str]:
        """What came since the last call; a mark sent after it all says when to stop."""
        self._database.sql("postgres", "select pg_notify(:mark, '')", mark=self._mark)
        found = []
        for notification in self._connection.notifies(timeout=10):
            if notification.channel == self._mark:
                return found
            found.append(notification.payload)
        pytest.fail("the mark was not heard")


@pytest.mark.spec("R2")
def test_who_hears_of_which_job(database: Database) -> None:
    ears = {user: Ear(database, user) for user in ("alice", "bob", "boss")}

    def heard() -> dict[str, list[str]]:
        return {user: sorted(set(ear.heard())) for user, ear in ears.items()}

    private = database.submit("alice")
    assert heard() == {"alice": [str(private)], "bob": [], "boss": [str(private)]}
    public = database.submit("alice", public=True)
    assert heard() == {user: [str(public)] for user in ears}
    database.sql("alice", "select qd.terminate_job(:job)", job=private)
    assert heard() == {"alice": [str(private)], "bob": [], "boss": [str(private)]}
    database.sql("alice", "select qd.terminate_job(:job)", job=public)
    database.sql("boss", "select * from qd.delete_jobs(:jobs)", jobs=[private, public])
    both = f"{private},{public}"
    assert heard() == {"alice": [both, str(public)], "bob": [str(public)], "boss": [both, str(public)]}


@pytest.mark.spec("R2")
def test_a_job_that_becomes_private_is_told_to_those_who_saw_it(database: Database) -> None:
    job = database.submit("alice", public=True)
    ear = Ear(database, "bob")
    database.sql("postgres", "update qd.job set is_public = false")
    assert ear.heard() == [str(job)]


def test_hints_are_merged(database: Database) -> None:
    jobs = [database.submit("alice") for _ in range(3)]
    ear = Ear(database, "alice")
    with database.connect("postgres", autocommit=False) as connection:
        for _ in range(50):
            connection.execute("update qd.job set message = message || 'x' where id = %s", (jobs[0],))
        connection.execute("update qd.job set message = ''")
    assert sorted(ear.heard()) == [str(jobs[0]), ",".join(map(str, jobs))]
    with database.connect("postgres") as connection:
        copy = "insert into qd.job (kind, name, creator) select 'factor', 'x', 'alice' from generate_series(1, 101)"
        connection.execute(copy)
    assert ear.heard() == ["*"]


def test_log_lines_and_ticks_of_tasks_tell_nobody(database: Database) -> None:
    job = database.submit("alice")
    (task,) = database.tasks(job)
    database.start("n1", task)
    tick = "select qd.set_progress(:t, 1, :p, '')"
    database.sql("node_n1", tick, t=task, p=0.1)
    ear = Ear(database, "alice")
    for number in range(20):
        database.sql(
            "node_n1",
            "select qd.write_log(:t, 1, array[cast(:n as bigint)], '{1}', '{now}', '{now}', '{0,1,0,0}', array['x'])",
            t=task,
            n=number,
        )
    assert ear.heard() == []
    database.sql("postgres", "update qd.job set ticked = clock_timestamp()")
    ear.heard()
    database.sql("node_n1", tick, t=task, p=0.2)
    assert ear.heard() == []
    database.end("n1", task)
    assert set(ear.heard()) == {str(job)}


def test_channels_differ_and_stay(database: Database) -> None:
    mine = [database.sql(user, "select * from qd.my_channels() order by 1") for user in ("alice", "bob", "boss")]
    assert [len(channels) for channels in mine] == [2, 2, 2]
    everybody = [row[0] for channels in mine for row in channels]
    # alice and bob share the one of public jobs
    assert len(set(everybody)) == 5
    assert database.sql("alice", "select * from qd.my_channels() order by 1") == mine[0]


SINCE = """
select id from qd.job where changed >= pg_snapshot_xmin(%(s)s::pg_snapshot)
   and not pg_visible_in_snapshot(changed, %(s)s::pg_snapshot) order by id
"""


def _snapshot(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("select pg_current_snapshot()::text").fetchone()
    assert row is not None
    return str(row[0])


def test_changed_since_finds_a_transaction_that_commits_late(database: Database) -> None:
    older, newer = database.submit("alice"), database.submit("alice")
    reader = database.connect("alice")
    first, second = (database.connect("postgres", autocommit=False) for _ in range(2))
    first.execute("update qd.job set message = 'older' where id = %s", (older,))
    second.execute("update qd.job set message = 'newer' where id = %s", (newer,))
    before = _snapshot(reader)
    second.commit()
    assert reader.execute(SINCE, {"s": before}).fetchall() == [(newer,)]
    between = _snapshot(reader)
    first.commit()
    # its number is lower than that of what was already seen
    assert reader.execute(SINCE, {"s": between}).fetchall() == [(older,)]
    assert reader.execute(SINCE, {"s": _snapshot(reader)}).fetchall() == []


def test_changed_since_finds_what_the_functions_change(database: Database) -> None:
    reader = database.connect("alice")
    seen = _snapshot(reader)

    def changed() -> list[tuple[int]]:
        nonlocal seen
        since, seen = seen, _snapshot(reader)
        return reader.execute(SINCE, {"s": since}).fetchall()

    job = database.submit("alice")
    assert changed() == [(job,)]
    (task,) = database.tasks(job)
    database.start("n1", task)
    assert changed() == [(job,)]
    # one that runs in a subtransaction
    table = database.value("node_n1", "select qd.open_table(:t, 1, 'x', 'schema', '{\"name\": \"x\"}')", t=task)
    assert table > 0
    assert changed() == []
    database.end("n1", task)
    assert changed() == [(job,)]
    since = seen
    database.sql("boss", "select * from qd.delete_jobs(array[:job])", job=job)
    assert changed() == []
    gone = reader.execute(
        SINCE.replace("select id", "select job_id as id").replace("qd.job", "qd.tombstone"), {"s": since}
    )
    assert gone.fetchall() == [(job,)]


def test_changed_since_walks_the_index(database: Database) -> None:
    database.sql(
        "postgres",
        "insert into qd.job (kind, name, creator) select 'factor', 'x', 'alice' from generate_series(1, 5000)",
    )
    database.sql("postgres", "analyze qd.job")
    reader = database.connect("alice")
    plan = reader.execute("explain " + SINCE.replace("%(s)s", f"'{_snapshot(reader)}'")).fetchall()
    assert any("job_changed" in line for (line,) in plan)
