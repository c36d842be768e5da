"""Result tables and datasets: written in turn, published on success, read under the creator's rights."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from quarterdeck.errors import Conflict, Invalid, NotFound, Refused

if TYPE_CHECKING:
    from conftest import Database


class Run:
    """A running task of somebody's that writes and reads tables."""

    def __init__(self, database: Database, creator: str = "alice") -> None:
        self.database = database
        self.job = database.submit(creator)
        (self.task,) = database.tasks(self.job)
        database.start("n1", self.task)

    def open(self, name: str = "x", schema: bytes = b"schema", publication: dict[str, Any] | None = None) -> int:
        table: int = self.database.value(
            "node_n1",
            "select qd.open_table(:t, 1, :name, :schema, cast(:publish as jsonb))",
            t=self.task,
            name=name,
            schema=schema,
            publish=None if publication is None else json.dumps(publication),
        )
        return table

    def write(self, table: int, number: int, data: bytes = b"data", rows: int = 1, **ranges: Any) -> None:
        arguments = {"time_min": None, "time_max": None, "symbol_min": None, "symbol_max": None} | ranges
        self.database.sql(
            "node_n1",
            "select qd.write_block(:t, 1, :table, :number, :rows, cast(:time_min as timestamptz),"
            " cast(:time_max as timestamptz), cast(:symbol_min as text), cast(:symbol_max as text), :data)",
            t=self.task,
            table=table,
            number=number,
            rows=rows,
            data=data,
            **arguments,
        )

    def read(self, function: str, *arguments: Any) -> list[tuple[Any, ...]]:
        names = {f"a{i}": value for i, value in enumerate(arguments)}
        places = "".join(f", :{name}" for name in names)
        rows = self.database.sql("node_n1", f"select * from qd.{function}(:t, 1{places})", t=self.task, **names)
        return [tuple(row) for row in rows]

    def end(self, outcome: str = "success") -> None:
        self.database.end("n1", self.task, outcome)


def publish(
    database: Database, creator: str, name: str, mode: str = "create", *, schema: bytes = b"schema", **more: Any
) -> Run:
    """A run that succeeded in writing the dataset: one block of three rows."""
    run = Run(database, creator)
    table = run.open("data", schema, {"name": name, "mode": mode, **more})
    run.write(table, 0, rows=3)
    run.end()
    return run


def test_blocks_come_in_turn_and_once(database: Database) -> None:
    run = Run(database)
    table = run.open()
    assert run.open() == table
    with pytest.raises(Conflict, match="Table x was opened with other columns"):
        run.open(schema=b"other")
    run.write(table, 0, b"abc", 10, time_min="2024-01-02", time_max="2024-01-03")
    run.write(table, 0, b"abc", 10, time_min="2024-01-02", time_max="2024-01-03")
    with pytest.raises(Invalid, match="Block 2 of table x came out of turn; the next one is 1"):
        run.write(table, 2)
    run.write(table, 1, b"defg", 5, time_min="2023-12-31", time_max="2024-01-01")
    assert database.sql("alice", "select number, first_row, rows, data, creator from qd.result_block order by 1") == [
        (0, 0, 10, b"abc", "alice"),
        (1, 10, 5, b"defg", "alice"),
    ]
    database.sql("node_n1", "select qd.close_table(:t, 1, :r, 2)", t=run.task, r=table)
    (row,) = database.sql("alice", "select rows, bytes, time_min::date::text, time_max::date::text, symbols, complete"
                          " from qd.result_table")  # fmt: skip
    assert tuple(row) == (15, 7, "2023-12-31", "2024-01-03", 2, True)
    run.write(table, 1, b"defg", 5)
    with pytest.raises(Conflict, match="Table x is closed"):
        run.write(table, 2)


@pytest.mark.spec("G4")
def test_what_can_not_be_written(database: Database) -> None:
    run = Run(database)
    for name in ("", "1x", "a.b", "a b", "x" * 64, 'x"', "ä"):
        with pytest.raises(Invalid, match="can't be used"):
            run.open(name=name)
    with pytest.raises(Invalid, match="no description"):
        run.open(schema=b"")
    table = run.open()
    with pytest.raises(Invalid, match="more than 16 MB"):
        run.write(table, 0, b"x" * (16 * 2**20 + 1))
    run.write(table, 0, b"x" * (16 * 2**20))
    with pytest.raises(Invalid, match="more than 200 characters"):
        run.write(table, 1, symbol_min="x" * 201)
    with pytest.raises(NotFound, match="has no table 999999"):
        run.write(999999, 0)
    with pytest.raises(Invalid, match="can't be published that way"):
        run.open("y", publication={"name": "y", "mode": "destroy"})


@pytest.mark.parametrize(
    ("outcome", "left"), [("success", {"done", "half"}), ("failed", {"done"}), ("terminated", {"done"})]
)
def test_what_is_left_of_the_tables_of_an_ended_task(database: Database, outcome: str, left: set[str]) -> None:
    run = Run(database)
    done = run.open("done")
    database.sql("node_n1", "select qd.close_table(:t, 1, :r, null)", t=run.task, r=done)
    run.open("half")
    run.end(outcome)
    rows = database.sql("alice", "select name, complete from qd.result_table")
    assert {row[0] for row in rows} == left
    assert all(row[1] for row in rows)


@pytest.mark.spec("D2", "M4")
def test_a_dataset_outlives_the_job_that_wrote_it(database: Database) -> None:
    run = publish(database, "alice", "prices", public=True, synthetic=True)
    assert database.sql("alice", "select name, is_public, synthetic, job_id from qd.dataset") == [
        ("prices", True, True, run.job)
    ]
    assert database.sql("alice", "select job_id, name, is_public from qd.result_table") == [(run.job, "data", True)]
    database.sql("boss", "select * from qd.delete_jobs(array[:job])", job=run.job)
    assert database.sql("bob", "select name, job_id from qd.dataset") == [("prices", None)]
    assert database.sql("bob", "select rows from qd.result_block") == [(3,)]
    ((_, schema, rows, folder, name),) = Run(database, "bob").read("task_dataset", "prices")
    assert (schema, rows, folder, name) == (b"schema", 3, None, "alice.prices")


@pytest.mark.spec("D2")
def test_create_append_and_replace(database: Database) -> None:
    publish(database, "alice", "prices")
    with pytest.raises(Conflict, match="You already have a table named prices"):
        Run(database).open("data", publication={"name": "prices"})
    publish(database, "alice", "prices", "append")
    with pytest.raises(Conflict, match="Table prices has other columns"):
        publish(database, "alice", "prices", "append", schema=b"other")
    with pytest.raises(NotFound, match="You have no table named prices to append to"):
        publish(database, "bob", "prices", "append")
    parts = Run(database).read("task_dataset", "prices")
    assert [part[2] for part in parts] == [3, 3]
    assert [part[0] for part in parts] == sorted(part[0] for part in parts)
    publish(database, "alice", "prices", "replace", schema=b"other")
    assert [part[1:3] for part in Run(database).read("task_dataset", "prices")] == [(b"other", 3)]
    publish(database, "alice", "archive", "replace", folder="/data/archive")
    ((_, _, _, folder, _),) = Run(database).read("task_dataset", "archive")
    assert folder == "/data/archive"


def test_two_that_create_the_same_dataset_at_once(database: Database) -> None:
    first, second = Run(database), Run(database)
    for run in (first, second):
        run.write(run.open("data", publication={"name": "prices"}), 0)
    first.end()
    second.end()
    rows = database.sql("alice", "select status, error from qd.task order by id")
    assert rows[0] == ("success", "")
    assert rows[1][0] == "failed"
    assert rows[1][1].startswith("You already have a table named prices")
    assert len(Run(database).read("task_dataset", "prices")) == 1


@pytest.mark.spec("R2")
def test_a_run_reads_what_its_creator_may_read(database: Database) -> None:
    publish(database, "alice", "prices", public=True)
    secret = publish(database, "alice", "secret_prices")
    own = publish(database, "bob", "volumes")
    bob = Run(database, "bob")
    assert [part[4] for part in bob.read("task_dataset", "prices")] == ["alice.prices"]
    assert [part[4] for part in bob.read("task_dataset", "alice.prices")] == ["alice.prices"]
    for name in ("secret_prices", "alice.secret_prices"):
        with pytest.raises(NotFound) as caught:
            bob.read("task_dataset", name)
        assert str(caught.value).startswith(f"There is no table {name} that bob may read")
        assert "secret_prices" not in str(caught.value).partition("close names")[2]
    with pytest.raises(NotFound, match=r"no table pricse that bob may read; close names are alice\.prices"):
        bob.read("task_dataset", "pricse")
    with pytest.raises(NotFound, match=f"Job {secret.job} has no table data that bob may read"):
        bob.read("task_result", secret.job, "data")
    assert [row[2:] for row in bob.read("task_result", own.job, "data")] == [(3, 0)]
    with pytest.raises(NotFound, match="has no table data"):
        bob.read("task_result", own.job, "data", 7)
    hidden = database.value("postgres", "select id from qd.result_table where job_id = :job", job=secret.job)
    with pytest.raises(NotFound, match=f"no table {hidden} that bob may read"):
        bob.read("task_blocks", hidden, None, None, None, -1, 10)
    boss = Run(database, "boss")
    assert [part[4] for part in boss.read("task_dataset", "alice.secret_prices")] == ["alice.secret_prices"]
    assert len(boss.read("task_blocks", hidden, None, None, None, -1, 10)) == 1


def test_ones_own_name_comes_first_and_a_public_one_must_be_the_only_one(database: Database) -> None:
    publish(database, "alice", "prices", public=True)
    publish(database, "boss", "prices", public=True)
    bob = Run(database, "bob")
    with pytest.raises(
        Invalid, match=r"Several people have a public table prices: say which by alice\.prices, boss\.prices"
    ):
        bob.read("task_dataset", "prices")
    publish(database, "bob", "prices")
    assert [part[4] for part in bob.read("task_dataset", "prices")] == ["bob.prices"]


def test_blocks_are_pruned_by_time_and_symbol(database: Database) -> None:
    run = Run(database)
    table = run.open()
    run.write(table, 0, b"0", time_min="2024-01-01", time_max="2024-01-31", symbol_min="AAPL", symbol_max="IBM")
    run.write(table, 1, b"1", time_min="2024-02-01", time_max="2024-02-29", symbol_min="IBM", symbol_max="msft")
    run.write(table, 2, b"2")

    def numbers(
        start: str | None, end: str | None, symbols: list[str] | None, after: int = -1, count: int = 9
    ) -> list[int]:
        return [row[0] for row in run.read("task_blocks", table, start, end, symbols, after, count)]

    assert numbers(None, None, None) == [0, 1, 2]
    assert numbers("2024-01-31", None, None) == [0, 1, 2]
    assert numbers("2024-02-01", None, None) == [1, 2]
    assert numbers(None, "2024-01-31 23:00", None) == [0, 2]
    assert numbers(None, None, ["IBM"]) == [0, 1, 2]
    assert numbers(None, None, ["AMD"]) == [0, 2]
    # by code points: capital letters come before small ones
    assert numbers(None, None, ["ZZZ"]) == [1, 2]
    assert numbers(None, None, ["zzz"]) == [2]
    assert numbers(None, None, None, after=0, count=1) == [1]


@pytest.mark.spec("R2")
def test_who_may_drop_a_dataset(database: Database) -> None:
    publish(database, "alice", "mine")
    publish(database, "alice", "ours", public=True)
    drop = "select qd.drop_dataset(:name, :creator)"
    with pytest.raises(Refused, match="Table ours belongs to alice"):
        database.sql("bob", drop, name="ours", creator="alice")
    for name in ("mine", "absent"):
        with pytest.raises(NotFound, match=rf"There is no table alice\.{name} that you may see"):
            database.sql("bob", drop, name=name, creator="alice")
    database.sql("alice", drop, name="mine", creator=None)
    database.sql("boss", drop, name="ours", creator="alice")
    assert database.value("postgres", "select count(*) from qd.result_block") == 0
    assert database.sql("boss", "select actor, detail from qd.audit where action = 'drop_dataset' order by id") == [
        ("alice", {"name": "mine", "creator": "alice"}),
        ("boss", {"name": "ours", "creator": "alice"}),
    ]
