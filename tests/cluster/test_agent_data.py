"""Tables that tasks write, datasets that they publish and read."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from quarterdeck.results import decode_block


def stored(cluster: Any, job: int, name: str) -> pa.Table:
    rows = cluster.database.sql(
        "postgres",
        "select b.data from qd.result_block as b join qd.result_table as r on r.id = b.table_id"
        " where r.job_id = :j and r.name = :n and r.complete order by b.number",
        j=job,
        n=name,
    )
    return pa.concat_tables([decode_block(bytes(row[0])) for row in rows])


def prices(rows: int) -> pd.DataFrame:
    """What the run writes, made by pandas."""
    numbers = pd.Series(range(rows))
    return pd.DataFrame(
        {
            "time": pd.Timestamp("2024-01-01", tz="UTC") + pd.to_timedelta(numbers // 4, unit="min"),
            "symbol": [("A", "B", "C", "D")[number % 4] for number in range(rows)],
            "close": 100.0 + numbers,
        }
    )


@pytest.mark.spec("T2")
def test_tables_are_stored_whole_in_blocks(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "tables", "rows": 200_000})
    assert cluster.ended(job) == "success"
    frame = stored(cluster, job, "factor").to_pandas()
    expected = prices(200_000)
    assert len(frame) == 200_000
    assert (frame["close"] == expected["close"]).all()
    assert (frame["symbol"] == expected["symbol"]).all()
    assert (frame["time"].dt.as_unit("us") == expected["time"].dt.as_unit("us")).all()
    small = stored(cluster, job, "small").to_pandas()
    assert small["metric"].tolist() == ["a", "b"]
    assert small["value"][0] == 1.5
    assert pd.isna(small["value"][1])
    row = cluster.database.sql(
        "postgres",
        "select rows, symbols, time_min, time_max,"
        " (select max(rows) from qd.result_block where table_id = r.id) as most,"
        " (select count(*) from qd.result_block where table_id = r.id) as blocks"
        " from qd.result_table as r where job_id = :j and name = 'factor'",
        j=job,
    )[0]
    assert (row.rows, row.symbols) == (200_000, 4)
    assert (row.time_min, row.time_max) == (expected["time"].min(), expected["time"].max())
    assert row.most <= 65_536
    assert row.blocks == 4


@pytest.mark.spec("D2", "R2")
def test_what_one_task_publishes_another_reads_by_time_and_symbol(cluster: Any) -> None:
    cluster.start()
    assert cluster.ended(cluster.submit({"do": "publish", "name": "prices", "rows": 100_000})) == "success"
    job = cluster.submit({"do": "read", "name": "prices"})
    assert cluster.ended(job) == "success"
    said = [json.loads(text) for text in cluster.texts(job, "stdout")]
    expected = prices(100_000)
    chosen = expected[
        (expected["time"] >= pd.Timestamp("2024-01-01 01:00", tz="UTC")) & expected["symbol"].isin(["A", "C"])
    ]
    assert said[0] == {"rows": len(chosen), "first": chosen["close"].iloc[0], "sum": chosen["close"].sum()}
    assert said[1] == {"all": 100_000, "sum": expected["close"].sum()}
    # another person has no such dataset, and is told so in one sentence
    other = cluster.submit({"do": "read", "name": "prices"}, user="bob")
    assert cluster.ended(other) == "failed"
    assert cluster.error(other).startswith("There is no table prices that bob may read")


@pytest.mark.spec("D2", "G4")
def test_a_dataset_of_that_name_is_said_before_anything_is_written(cluster: Any) -> None:
    cluster.start()
    assert cluster.ended(cluster.submit({"do": "publish", "name": "prices"})) == "success"
    job = cluster.submit({"do": "publish", "name": "prices"})
    assert cluster.ended(job) == "failed"
    assert cluster.error(job) == "You already have a table named prices; choose another name, or append or replace."
    assert cluster.ended(cluster.submit({"do": "publish", "name": "prices", "mode": "append"})) == "success"
    read = cluster.submit({"do": "read", "name": "prices"})
    assert cluster.ended(read) == "success"
    assert json.loads(cluster.texts(read, "stdout")[1])["all"] == 2000


@pytest.mark.spec("R2")
def test_a_task_reads_the_result_of_an_earlier_job_of_its_creator(cluster: Any) -> None:
    cluster.start()
    first = cluster.submit({"do": "tables", "rows": 1000}, {"do": "tables", "rows": 500})
    assert cluster.ended(first) == "success"
    job = cluster.submit({"do": "result", "job": first})
    assert cluster.ended(job) == "success"
    total = prices(1000)["close"].sum() + prices(500)["close"].sum()
    assert json.loads(cluster.texts(job, "stdout")[0]) == {"rows": 1500, "sum": total}
    other = cluster.submit({"do": "result", "job": first}, user="bob")
    assert cluster.ended(other) == "failed"
    assert cluster.error(other) == f"Job {first} has no table factor that bob may read."


@pytest.mark.spec("G4")
def test_a_table_that_the_database_refuses_fails_the_task(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "long_symbol"})
    assert cluster.ended(job) == "failed"
    assert cluster.error(job) == "table 'factor': A symbol in table factor has more than 200 characters."


@pytest.mark.spec("G4")
def test_a_failed_task_leaves_no_half_table(cluster: Any) -> None:
    cluster.start()
    job = cluster.submit({"do": "half"})
    assert cluster.ended(job) == "failed"
    assert cluster.error(job) == "the rest is missing"
    rows = cluster.database.sql("postgres", "select name, complete from qd.result_table where job_id = :j", j=job)
    assert [(row.name, row.complete) for row in rows] == [("whole", True)]
