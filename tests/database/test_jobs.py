"""Submitting, terminating, deleting: what is accepted, what is refused, and what is left behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from quarterdeck.errors import Conflict, Invalid, NotFound, QuarterdeckError, Refused

if TYPE_CHECKING:
    from conftest import Database

SUBMIT = "select qd.submit_job(:kind, cast(:params as jsonb), cast(:facts as jsonb), cast(:tasks as jsonb))"


def test_a_submitted_job_its_tasks_and_their_places_in_the_queue(database: Database) -> None:
    job = database.value(
        "alice",
        SUBMIT,
        kind="backtest",
        params=json.dumps({"fast": 5}),
        facts=json.dumps(
            {
                "name": "  cross ",
                "subject": "MSFT",
                "origin": "batch",
                "public": True,
                "backtest_type": "historical",
                "backtest_start": "2024-01-02",
                "backtest_end": "2024-06-30T15:00:00+08:00",
                "data_type": "daily",
                "strategy_type": "stock",
            }
        ),
        tasks=json.dumps([{"name": "a", "queue": "node:n1", "params": {"x": 1}}, {"name": "b", "restartable": True}]),
    )
    (row,) = database.sql(
        "bob",
        "select name, subject, origin, status, creator, is_public, backtest_start at time zone 'UTC',"
        " backtest_end at time zone 'UTC', data_type, strategy_type, nodes from qd.job where id = :job",
        job=job,
    )
    assert [str(value) for value in row] == [
        "cross", "MSFT", "batch", "queued", "alice", "True", "2024-01-02 00:00:00", "2024-06-30 07:00:00", "daily",
        "stock", "[]",
    ]  # fmt: skip
    tasks = database.sql("alice", "select ordinal, name, queue, params, restartable, creator from qd.task order by id")
    assert [tuple(task) for task in tasks] == [
        (0, "a", "node:n1", {"x": 1}, False, "alice"),
        (1, "b", "any", {}, True, "alice"),
    ]
    queue = database.sql(
        "postgres",
        "select t.ordinal, q.queue_name, q.task_name, q.args ->> 'attempt' from queue.procrastinate_jobs q"
        " join qd.task t on t.queue_id = q.id and t.id = (q.args ->> 'task_id')::bigint order by q.id",
    )
    assert [tuple(row) for row in queue] == [
        (0, "node:n1", "quarterdeck.task", "1"),
        (1, "any", "quarterdeck.task", "1"),
    ]
    lines = database.sql("alice", "select body from qd.log_chunk where job_id = :job", job=job)
    assert [line[0].split("\t")[1:] for line in lines] == [["xi", "queued by alice with 2 tasks"]]


@pytest.mark.spec("G1")
def test_a_rolled_back_submission_leaves_nothing(database: Database) -> None:
    with database.connect("alice", autocommit=False) as connection:
        connection.execute("""select qd.submit_job('factor', '{}', '{"name": "x"}', '[{"name": "t"}]')""")
        connection.rollback()
    tables = ("qd.job", "qd.task", "qd.job_detail", "qd.log_chunk", "queue.procrastinate_jobs")
    assert [database.value("postgres", f"select count(*) from {table}") for table in tables] == [0] * 5


@pytest.mark.spec("G4")
@pytest.mark.parametrize(
    ("change", "field", "message"),
    [
        ({"kind": "poem"}, "kind", "There is no kind of job 'poem'."),
        ({"kind": None}, "kind", "There is no kind"),
        ({"params": [1]}, "params", "must be an object"),
        ({"params": {"x": "y" * 1_100_000}}, "params", "at most 1 MB"),
        ({"facts": {}}, "name", "A job needs a name of 1 to 200 characters."),
        ({"facts": {"name": "  "}}, "name", "A job needs a name"),
        ({"facts": {"name": "x" * 201}}, "name", "A job needs a name"),
        ({"facts": {"name": "x", "public": "yes"}}, "public", "true or false"),
        ({"facts": {"name": "x", "origin": "workflow"}}, "origin", "not 'workflow'"),
        ({"facts": {"name": "x", "backtest_start": "soon"}}, "backtest_start", "is not a time: 'soon'"),
        ({"facts": {"name": "x", "backtest_type": "paper"}}, "backtest_type", "not 'paper'"),
        ({"facts": {"name": "x", "subject": "x" * 1001}}, "subject", "1,000 characters"),
        ({"tasks": []}, "tasks", "1 to 100,000 tasks, not 0"),
        ({"tasks": {}}, "tasks", "must be a list"),
        ({"tasks": [{"name": "ok"}, 7]}, "tasks", "Task 2 of the job is not an object."),
        ({"tasks": [{"queue": "any"}]}, "tasks", "Task 1 of the job needs a name"),
        ({"tasks": [{"name": "t", "queue": "node:" + "x" * 36}]}, "tasks", "a queue is any, node:NAME or label:NAME"),
        ({"tasks": [{"name": "t", "queue": "other"}]}, "tasks", "names the queue 'other'"),
        ({"tasks": [{"name": "t", "params": 3}]}, "tasks", "parameters that are not an object"),
        ({"tasks": [{"name": "t", "params": {"x": "y" * 1_100_000}}]}, "tasks", "more than 1 MB"),
        ({"tasks": [{"name": "t", "restartable": "no"}]}, "tasks", "not true or false"),
    ],
)
def test_what_can_not_be_submitted(database: Database, change: dict[str, Any], field: str, message: str) -> None:
    good: dict[str, Any] = {"kind": "factor", "params": {}, "facts": {"name": "x"}, "tasks": [{"name": "t"}]}
    arguments = {name: v if name == "kind" else json.dumps(v) for name, v in (good | change).items()}
    with pytest.raises(Invalid) as caught:
        database.sql("alice", SUBMIT, **arguments)
    assert message in str(caught.value)
    assert caught.value.field == field
    assert database.value("postgres", "select count(*) from qd.job") == 0


@pytest.mark.spec("R2")
def test_only_ones_own_job_is_run_again(database: Database) -> None:
    secret, public = database.submit("alice"), database.submit("alice", public=True)
    again = "select qd.submit_job('factor', '{}', '{\"name\": \"x\"}', '[{\"name\": \"t\"}]', '{}', :job)"
    copy = database.value("alice", again, job=secret)
    assert database.sql("alice", "select origin, rerun_of from qd.job where id = :copy", copy=copy) == [
        ("rerun", secret)
    ]
    with pytest.raises(NotFound, match=f"There is no job {secret} that you may see"):
        database.sql("bob", again, job=secret)
    with pytest.raises(Refused, match=f"Job {public} belongs to alice"):
        database.sql("bob", again, job=public)
    assert database.value("boss", again, job=secret) > copy


@pytest.mark.spec("S1", "S2", "M5")
@pytest.mark.parametrize(
    ("outcomes", "terminated", "historical", "real_time"),
    [
        # success, failed, terminated tasks; by hand from S1, S2 and M5
        ((2, 0, 0), False, "success", "success"),
        ((1, 1, 0), False, "partially_failed", "partially_failed"),
        ((1, 0, 1), False, "partially_failed", "terminated"),
        ((0, 2, 0), False, "failed", "failed"),
        ((0, 0, 2), False, "failed", "terminated"),
        ((0, 1, 1), False, "failed", "failed"),
        ((2, 0, 0), True, "failed", "terminated"),
        ((1, 0, 1), True, "failed", "terminated"),
        ((0, 0, 1), True, "failed", "terminated"),
        ((0, 1, 1), True, "failed", "terminated"),
    ],
)
def test_combined_status(
    database: Database, outcomes: tuple[int, int, int], terminated: bool, historical: str, real_time: str
) -> None:
    for kind, expected in (("historical", historical), ("real-time", real_time)):
        found = database.value(
            "postgres",
            "select qd.combined_status(:kind, :terminated, :total, :succeeded, :failed)",
            kind=kind,
            terminated=terminated,
            total=sum(outcomes),
            succeeded=outcomes[0],
            failed=outcomes[1],
        )
        assert found == expected


@pytest.mark.spec("M5")
def test_terminating_a_running_job_tells_the_nodes_and_says_who(database: Database) -> None:
    job = database.submit("alice", 3)
    first, second, _ = database.tasks(job)
    for task in (first, second):
        database.sql("node_n1", "select * from queue.procrastinate_fetch_job_v2('{any}', null)")
        database.start("n1", task)
    assert database.value("boss", "select qd.terminate_job(:job)", job=job) == "ending"
    assert database.sql("alice", "select status, ending, terminated_by from qd.job") == [("in_progress", True, "boss")]
    statuses = database.sql("alice", "select status from qd.task order by ordinal")
    assert [row[0] for row in statuses] == ["in_progress", "in_progress", "terminated"]
    asked = database.sql("postgres", "select status::text, abort_requested from queue.procrastinate_jobs order by id")
    assert asked == [("doing", True), ("doing", True)]
    database.end("n1", first, "terminated")
    assert database.value("alice", "select ending from qd.job")
    database.end("n1", second, "terminated")
    assert database.sql("alice", "select status, ending, terminated_by, ended is null from qd.job") == [
        ("failed", False, "boss", False)
    ]
    assert database.value("alice", "select error from qd.job_detail") == "terminated by boss"
    assert database.sql("boss", "select actor, action, job_id from qd.audit where job_id = :job", job=job) == [
        ("boss", "terminate", job)
    ]
    body = "\n".join(row[0] for row in database.sql("alice", "select body from qd.log_chunk order by id"))
    assert "termination requested by boss" in body


@pytest.mark.spec("M5")
def test_a_queued_job_ends_at_once_and_leaves_the_queue(database: Database) -> None:
    job = database.submit("alice", 5)
    assert database.value("alice", "select qd.terminate_job(:job)", job=job) == "ended"
    assert database.value("alice", "select status from qd.job") == "failed"
    assert database.value("postgres", "select count(*) from queue.procrastinate_jobs") == 0
    with pytest.raises(Conflict, match=rf"Job {job} has already ended \(failed\)"):
        database.sql("alice", "select qd.terminate_job(:job)", job=job)


@pytest.mark.spec("M5")
def test_terminating_a_workflow_terminates_its_jobs(database: Database) -> None:
    workflow, child, other = (database.submit("alice") for _ in range(3))
    database.sql("postgres", "update qd.job set workflow_id = :w where id = :c", w=workflow, c=child)
    assert database.value("alice", "select qd.terminate_job(:job)", job=workflow) == "ended"
    assert database.sql("alice", "select id, status from qd.job order by id") == [
        (workflow, "failed"),
        (child, "failed"),
        (other, "queued"),
    ]


@pytest.mark.spec("M4")
def test_deleting_takes_everything_along_and_leaves_an_audit_record(database: Database) -> None:
    ended, running = database.submit("alice", name="old one"), database.submit("bob")
    (task,) = database.tasks(ended)
    database.start("n1", task)
    table = database.value("node_n1", "select qd.open_table(:t, 1, 'factor', 'schema')", t=task)
    database.sql("node_n1", "select qd.write_block(:t, 1, :r, 0, 1, null, null, null, null, 'data')", t=task, r=table)
    database.end("n1", task)
    missing = running + 1000
    (row,) = database.sql("boss", "select * from qd.delete_jobs(:jobs)", jobs=[ended, running, missing])
    assert tuple(row) == (1, [running])
    for name in ("job_detail", "task", "attempt", "log_chunk", "result_table"):
        left = database.value("postgres", f"select count(*) from qd.{name} where job_id = :job", job=ended)
        assert left == 0, name
    assert database.value("postgres", "select count(*) from qd.result_block") == 0
    (record,) = database.sql("boss", "select actor, action, job_id, detail from qd.audit where action = 'delete'")
    assert tuple(record)[:3] == ("boss", "delete", ended)
    assert record[3] | {"created": ""} == {
        "kind": "factor", "name": "old one", "creator": "alice", "status": "success", "created": "",
    }  # fmt: skip
    assert database.value("alice", "select job_id from qd.tombstone") == ended
    assert database.sql("bob", "select job_id from qd.tombstone") == []


@pytest.mark.spec("S2")
def test_of_a_terminated_real_time_backtest_the_summary_is_kept(database: Database) -> None:
    job = database.submit("alice", kind="backtest", backtest_type="real-time")
    (task,) = database.tasks(job)
    database.start("n1", task)
    for name in ("summary", "orders"):
        table = database.value("node_n1", "select qd.open_table(:t, 1, :name, 'schema')", t=task, name=name)
        database.sql("node_n1", "select qd.close_table(:t, 1, :r, null)", t=task, r=table)
    with pytest.raises(Conflict, match="Only a terminated real-time backtest"):
        database.sql("alice", "select qd.delete_results(:job)", job=job)
    database.sql("alice", "select qd.terminate_job(:job)", job=job)
    database.end("n1", task, "terminated")
    assert database.value("alice", "select status from qd.job") == "terminated"
    with pytest.raises(NotFound):
        database.sql("bob", "select qd.delete_results(:job)", job=job)
    database.sql("alice", "select qd.delete_results(:job)", job=job)
    assert database.value("alice", "select status from qd.job") == "results_deleted"
    assert database.sql("alice", "select name from qd.result_table") == [("summary",)]


@pytest.mark.spec("M3", "R1", "R2")
@pytest.mark.parametrize("public", [False, True])
@pytest.mark.parametrize("backtest_type", ["historical", "real-time"])
@pytest.mark.parametrize(
    "status",
    ["queued", "in_progress", "ending", "success", "partially_failed", "failed", "terminated", "results_deleted"],
)
def test_what_is_not_offered_is_refused_and_the_other_way_round(
    database: Database, status: str, backtest_type: str, public: bool
) -> None:
    acts = {
        "terminate": "select qd.terminate_job(:job)",
        "delete": "select * from qd.delete_jobs(array[:job])",
        "delete_results": "select qd.delete_results(:job)",
        "rerun": "select qd.submit_job('backtest', '{}', '{\"name\": \"x\"}', '[{\"name\": \"t\"}]', '{}', :job)",
        "details": "select params from qd.job_detail where job_id = :job",
        "log": "select body from qd.log_chunk where job_id = :job",
    }
    job = database.submit("alice", kind="backtest", backtest_type=backtest_type, public=public)
    database.sql(
        "postgres",
        "update qd.job set status = :status, ending = :ending where id = :job",
        status="in_progress" if status == "ending" else status,
        ending=status == "ending",
        job=job,
    )
    for person in ("alice", "bob", "boss"):
        rows = database.sql(person, "select qd.job_actions(j) from qd.job j where id = :job", job=job)
        offered = set(rows[0][0]) if rows else set()
        assert bool(rows) == (public or person != "bob")
        for act, text in acts.items():
            assert _does(database, person, text, job) == (act in offered), (person, act)


def _does(database: Database, person: str, text: str, job: int) -> bool:
    """Whether the statement does something, tried and rolled back."""
    connection = database.connect(person, autocommit=False)
    try:
        rows = connection.execute(text.replace(":job", str(job)).encode()).fetchall()
    except psycopg.Error as error:
        if error.sqlstate not in ("QD001", "QD002", "QD004"):
            raise
        return False
    finally:
        connection.rollback()
        connection.close()
    return bool(rows) and not (len(rows[0]) == 2 and rows[0][1] == [job])


@pytest.mark.spec("S1")
def test_why_a_job_waits(database: Database) -> None:
    def why(job: int) -> str:
        return str(database.value("alice", "select qd.why_waiting(:job)", job=job))

    anywhere = database.submit("alice")
    there = database.submit("alice", [{"name": "t", "queue": "node:n2"}])
    nowhere = database.submit("alice", [{"name": "t", "queue": "node:n9"}])
    labelled = database.submit("alice", [{"name": "t", "queue": "label:gpu"}])
    assert why(anywhere) == "waits for a node: none is up"
    assert why(there) == "waits for node n2, which is down"
    assert why(nowhere) == "waits for node n9, which this cluster does not have"
    assert why(labelled) == "waits for a node with gpu: none is up"
    database.sql("node_n1", "select qd.register_node(1, '{gpu}', 'h', '0', 1, 1)")
    assert why(anywhere) == "about to start"
    (task,) = database.tasks(labelled)
    database.sql("node_n1", "select * from qd.start_task(:t, 1)", t=task)
    assert why(labelled) == ""
    assert why(anywhere) == "no free slot on any node (1 of 1 busy)"
    later = database.submit("alice")
    assert why(later) == "no free slot on any node (1 of 1 busy); 1 task is ahead"
    with pytest.raises(NotFound):
        database.sql("bob", "select qd.why_waiting(:job)", job=anywhere)
    database.sql("alice", "select qd.terminate_job(:job)", job=labelled)
    assert why(labelled) == "ending: its processes are being stopped"
    database.sql("postgres", "update qd.node set state = 'lost' where name = 'n1'")
    assert why(labelled) == "ending: node n1 unreachable"


@pytest.mark.spec("R2")
@pytest.mark.parametrize("function", ["terminate_job", "delete_results", "why_waiting"])
def test_an_invisible_job_reads_like_none(database: Database, function: str) -> None:
    hidden = database.submit("alice")
    absent = hidden + 1000

    def answer(job: int) -> tuple[type[QuarterdeckError], str]:
        with pytest.raises(NotFound) as caught:
            database.sql("bob", f"select qd.{function}(:job)", job=job)
        return type(caught.value), str(caught.value).replace(str(job), "N")

    assert answer(hidden) == answer(absent)
