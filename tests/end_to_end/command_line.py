"""What the tests of the command line share: running it as a person, and a node that does as told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from quarterdeck.blocks import encode_block, schema_bytes
from quarterdeck.job import Level, Stream
from quarterdeck.lines import into_chunks

if TYPE_CHECKING:
    from tests.conftest import Database

FACTOR = ("--set", "name=mom", "--set", "table=prices", "--set", "formula=close/delay(close,20)-1")
START = 1_767_605_400_000_000
VALUES = pa.table(
    {"time": pa.array([START, START + 1], pa.timestamp("us", "UTC")), "symbol": ["A", "B"], "value": [1.5, 2.0]}
)


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


def submitted(run: Run, person: str, *more: str) -> int:
    ran = run(person, "submit", "factor", *FACTOR, *more)
    assert ran.code == 0, ran.err
    return int(ran.out)


def begin(database: Database, job: int) -> list[int]:
    """Node n1 starts all tasks of a job; their ids."""
    database.sql("node_n1", "select qd.register_node(8, '{}', 'host', '1', 2, 1000)")
    tasks = [
        row[0] for row in database.sql("postgres", "select id from qd.task where job_id = :job order by id", job=job)
    ]
    for task in tasks:
        database.sql("node_n1", "select * from qd.start_task(:task, 1)", task=task)
    return tasks


def say(database: Database, task: int, lines: list[tuple[Level, str]]) -> None:
    for first, chunk in into_chunks([(START + n, Stream.STDOUT, level, text) for n, (level, text) in enumerate(lines)]):
        database.sql(
            "node_n1",
            "select qd.write_log(:task, 1, array[:first]::bigint[], array[:n]::int[], array[:a]::timestamptz[],"
            " array[:z]::timestamptz[], cast(:levels as int[]), array[:body]::text[])",
            task=task,
            first=first,
            n=chunk.lines,
            a=chunk.time_min,
            z=chunk.time_max,
            levels=list(chunk.levels),
            body=chunk.body,
        )


def table(database: Database, task: int, name: str) -> None:
    block = encode_block(VALUES)
    node = "node_n1"
    id = database.value(  # noqa: A001
        node, "select qd.open_table(:task, 1, :name, :schema)", task=task, name=name, schema=schema_bytes(VALUES.schema)
    )
    database.sql(
        node,
        "select qd.write_block(:task, 1, :id, 0, 2, :a, :z, 'A', 'B', :data)",
        task=task,
        id=id,
        a=block.time_min,
        z=block.time_max,
        data=block.data,
    )
    database.sql(node, "select qd.close_table(:task, 1, :id, 2)", task=task, id=id)


def end(database: Database, task: int, outcome: str = "success", error: str = "") -> None:
    database.sql(
        "node_n1",
        "select qd.end_task(:task, 1, :outcome, 0, :error, null, 0, 0)",
        task=task,
        outcome=outcome,
        error=error,
    )
