"""A task on its node: start, progress, log, end; late writers; silent nodes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from quarterdeck.database import Fenced
from quarterdeck.errors import Invalid, Refused

if TYPE_CHECKING:
    from conftest import Database


def running(database: Database, *, restartable: bool = False, node: str = "n1") -> tuple[int, int]:
    job = database.submit("alice", [{"name": "t", "restartable": restartable}])
    (task,) = database.tasks(job)
    database.start(node, task)
    return job, task


def silence(database: Database, node: str) -> None:
    database.sql("postgres", "update qd.node set heartbeat = now() - interval '1 minute' where name = :n", n=node)


def reap(database: Database, node: str) -> int:
    database.sql(f"node_{node}", "select qd.node_heartbeat(0.5, 1000)")
    return int(database.value(f"node_{node}", "select qd.reap(10)"))


def log(database: Database, job: int) -> list[str]:
    rows = database.sql("alice", "select body from qd.log_chunk where job_id = :job order by id", job=job)
    return [row[0].split("\t")[-1] for row in rows]


def test_a_started_task_says_all_that_its_run_needs(database: Database) -> None:
    job = database.submit("alice", [{"name": "a", "params": {"x": 1}}, {"name": "b", "queue": "node:n1"}])
    _, task = database.tasks(job)
    assert tuple(database.start("n1", task)) == (job, "factor", "b", 1, {}, {}, "alice", 2)
    assert database.sql("bob", "select * from qd.job") == []
    row = database.sql("alice", "select status, nodes, started is not null, ended from qd.job")
    assert row == [("in_progress", ["n1"], True, None)]
    assert database.sql("alice", "select number, node, outcome, ended from qd.attempt") == [(1, "n1", "", None)]


def test_a_start_whose_answer_got_lost_is_answered_again(database: Database) -> None:
    _, task = running(database)
    assert database.start("n1", task).creator == "alice"
    assert database.value("alice", "select count(*) from qd.attempt") == 1
    database.sql("node_n1", "select qd.task_process(:t, 1, 77, 1.5)", t=task)
    assert [tuple(row) for row in database.sql("node_n1", "select * from qd.open_attempts()")] == [(task, 1, 77, 1.5)]
    assert database.sql("node_n2", "select * from qd.open_attempts()") == []
    with pytest.raises(Fenced):
        database.start("n1", task)


@pytest.mark.spec("R3")
def test_a_node_starts_no_task_of_anothers_queue(database: Database) -> None:
    job = database.submit("alice", [{"name": "t", "queue": "node:n2"}, {"name": "u", "queue": "label:gpu"}])
    first, second = database.tasks(job)
    with pytest.raises(Refused, match="is for node:n2, not for node n1"):
        database.start("n1", first)
    with pytest.raises(Refused, match="is for label:gpu"):
        database.start("n1", second)
    database.sql("node_n2", "select qd.register_node(1, '{gpu}', 'h', '0', 1, 1)")
    database.sql("node_n2", "select * from qd.start_task(:t, 1)", t=second)
    assert database.value("alice", "select nodes from qd.job") == ["n2"]


WRITES = {
    "task_process": "select qd.task_process(:t, :a, 1, 1.0)",
    "write_log": "select qd.write_log(:t, :a, '{0}', '{1}', '{now}', '{now}', '{0,1,0,0}', array['late'])",
    "set_progress": "select qd.set_progress(:t, :a, 0.5, '')",
    "open_table": "select qd.open_table(:t, :a, 'x', 'schema')",
    "write_block": "select qd.write_block(:t, :a, :r, 0, 1, null, null, null, null, 'data')",
    "close_table": "select qd.close_table(:t, :a, :r, 0)",
    "task_dataset": "select * from qd.task_dataset(:t, :a, 'x')",
    "task_result": "select * from qd.task_result(:t, :a, 1, 'x')",
    "task_blocks": "select * from qd.task_blocks(:t, :a, :r, null, null, null, -1, 1)",
    "end_task": "select qd.end_task(:t, :a, 'success', 0, '', null, 1, 1)",
}


@pytest.mark.spec("G3")
@pytest.mark.parametrize("function", WRITES)
def test_a_late_writer_and_a_wrong_node_are_refused(database: Database, function: str) -> None:
    job, task = running(database, restartable=True)
    table = database.value("node_n1", "select qd.open_table(:t, 1, 'x', 'schema')", t=task)
    text = WRITES[function]

    def refused(node: str, attempt: int) -> None:
        arguments = {"t": task, "a": attempt} | ({"r": table} if ":r" in text else {})
        with pytest.raises(Fenced, match=f"Attempt {attempt} of task {task} is over"):
            database.sql(f"node_{node}", text, **arguments)

    refused("n2", 1)
    refused("n1", 2)
    silence(database, "n1")
    assert reap(database, "n2") == 1
    refused("n1", 1)
    refused("n1", 2)
    database.start("n2", task, attempt=2)
    refused("n1", 1)
    refused("n1", 2)
    refused("n2", 1)
    database.end("n2", task, attempt=2)
    refused("n2", 2)
    assert database.value("alice", "select status from qd.job where id = :job", job=job) == "success"
    assert "late" not in "".join(log(database, job))


@pytest.mark.spec("G3")
def test_every_function_that_names_an_attempt_is_tried(database: Database) -> None:
    rows = database.sql(
        "postgres",
        "select proname from pg_proc where pronamespace = 'qd'::regnamespace and has_function_privilege('qd_node', oid,"
        " 'execute') and proargnames @> '{task,attempt}'",
    )
    assert {row[0] for row in rows} == {*WRITES, "start_task"}


@pytest.mark.spec("G3")
def test_a_requeue_waits_for_a_write_under_way_and_then_fences(database: Database) -> None:
    _, task = running(database, restartable=True)
    silence(database, "n1")
    database.sql("node_n2", "select qd.register_node(1, '{}', 'h', '0', 1, 1)")
    writer = database.connect("node_n1", autocommit=False)
    writer.execute("select qd.write_log(%s, 1, '{0}', '{1}', '{now}', '{now}', '{0,1,0,0}', array['last'])", (task,))
    reaped: list[Any] = []
    thread = threading.Thread(target=lambda: reaped.append(database.value("node_n2", "select qd.reap(10)")))
    thread.start()
    watch = database.connect("postgres")
    waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%reap%'"
    for _ in range(1000):
        row = watch.execute(waits).fetchone()
        if row is not None and row[0] == 1:
            break
        thread.join(0.01)
    else:
        pytest.fail("the reaper did not wait for the writer")
    assert reaped == []
    writer.commit()
    thread.join(20)
    assert reaped == [1]
    with pytest.raises(Fenced):
        database.sql("node_n1", WRITES["write_log"], t=task, a=1)


@pytest.mark.spec("G1")
def test_a_lost_nodes_task_fails_or_runs_again_as_its_kind_allows(database: Database) -> None:
    fixed, fixed_task = running(database)
    movable, movable_task = running(database, restartable=True)
    database.value("node_n1", "select qd.open_table(:t, 1, 'half', 'schema')", t=movable_task)
    assert reap(database, "n2") == 0
    silence(database, "n1")
    assert reap(database, "n2") == 2
    assert database.value("alice", "select state from qd.node where name = 'n1'") == "lost"
    rows = database.sql("alice", "select status, attempt, error, node from qd.task order by id")
    assert [tuple(row) for row in rows] == [("failed", 1, "node lost", "n1"), ("queued", 2, "", None)]
    assert database.sql("alice", "select status from qd.job order by id") == [("failed",), ("in_progress",)]
    assert database.sql("alice", "select job_id, outcome from qd.attempt order by 1") == [
        (fixed, "lost"),
        (movable, "lost"),
    ]
    assert database.value("alice", "select error from qd.job_detail where job_id = :job", job=fixed) == "node lost"
    assert "node n1 lost; the task is queued again" in log(database, movable)
    assert database.value("alice", "select count(*) from qd.result_table") == 0
    queue = database.sql("postgres", "select args from queue.procrastinate_jobs where status = 'todo' order by id")
    assert [row[0] for row in queue] == [{"task_id": movable_task, "attempt": 2}]
    assert reap(database, "n2") == 0
    with pytest.raises(Fenced):
        database.end("n1", fixed_task)
    assert database.value("node_n1", "select qd.node_heartbeat(0, 0)") == "up"


@pytest.mark.spec("G1")
def test_a_task_that_kills_its_nodes_is_given_up(database: Database) -> None:
    job, task = running(database, restartable=True)
    for attempt in range(1, 6):
        if attempt > 1:
            database.start("n1", task, attempt)
        database.end("n1", task, "lost", attempt)
    assert database.sql("alice", "select status, attempt, error from qd.task") == [("failed", 5, "node lost")]
    assert database.value("alice", "select count(*) from qd.attempt where job_id = :job", job=job) == 5


@pytest.mark.spec("G1")
def test_a_place_in_the_queue_that_is_gone_is_made_again(database: Database) -> None:
    vanished, fetched, waiting = (database.tasks(database.submit("alice"))[0] for _ in range(3))
    queue_id = "select queue_id from qd.task where id = :t"
    database.sql("postgres", f"delete from queue.procrastinate_jobs where id = ({queue_id})", t=vanished)
    # fetched by a worker that has gone since
    database.sql("postgres", f"update queue.procrastinate_jobs set status = 'doing' where id = ({queue_id})", t=fetched)
    assert reap(database, "n1") == 0
    database.sql("postgres", "update qd.task set created = created - interval '1 minute'")
    assert reap(database, "n1") == 2
    rows = database.sql(
        "postgres",
        "select (args ->> 'task_id')::int, (args ->> 'attempt')::int, status::text from queue.procrastinate_jobs",
    )
    assert sorted(tuple(row) for row in rows) == [(vanished, 2, "todo"), (fetched, 2, "todo"), (waiting, 1, "todo")]
    assert reap(database, "n1") == 0


def test_ended_places_in_the_queue_are_cleared_away(database: Database) -> None:
    _, task = running(database)
    database.sql("postgres", "update queue.procrastinate_jobs set status = 'succeeded'")
    reap(database, "n1")
    assert database.value("postgres", "select count(*) from queue.procrastinate_jobs") == 1
    database.end("n1", task)
    reap(database, "n1")
    assert database.value("postgres", "select count(*) from queue.procrastinate_jobs") == 0


def test_lines_delivered_twice_are_stored_once(database: Database) -> None:
    job, task = running(database)
    text = (
        "select qd.write_log(:t, 1, '{0,2}', '{2,1}', '{2024-01-02 10:00+00,2024-01-02 10:01+00}',"
        " '{2024-01-02 10:00+00,2024-01-02 10:02+00}', '{0,1,0,1,0,0,1,0}', array['a', 'b'])"
    )
    for _ in range(2):
        database.sql("node_n1", text, t=task)
    rows = database.sql(
        "alice",
        "select first_line, lines, levels, body, creator, attempt from qd.log_chunk where first_line >= 0 order by id",
    )
    assert [tuple(row) for row in rows] == [
        (0, 2, [0, 1, 0, 1], "a", "alice", 1),
        (2, 1, [0, 0, 1, 0], "b", "alice", 1),
    ]
    with pytest.raises(Invalid, match="differ in length"):
        database.sql("node_n1", "select qd.write_log(:t, 1, '{0}', '{1}', '{}', '{}', '{}', '{}')", t=task)
    with pytest.raises(Invalid, match="1 to 500 lines"):
        database.sql("node_n1", WRITES["write_log"].replace("'{1}'", "'{501}'"), t=task, a=1)
    assert log(database, job) == ["queued by alice", "started on node n1", "a", "b"]


def test_progress_moves_the_job_at_most_once_a_second(database: Database) -> None:
    _, task = running(database)
    tick = "select qd.set_progress(:t, 1, :p, :m)"
    database.sql("node_n1", tick, t=task, p=0.25, m="a quarter")
    seen = database.sql("alice", "select progress, message, changed from qd.job")
    assert seen[0][:2] == (0.25, "a quarter")
    database.sql("node_n1", tick, t=task, p=0.5, m="half")
    assert database.sql("alice", "select progress, message, changed from qd.job") == seen
    assert database.sql("alice", "select progress, message from qd.task") == [(0.5, "half")]
    database.sql("postgres", "update qd.job set ticked = ticked - interval '1 second'")
    database.sql("node_n1", tick, t=task, p=0.75, m="most")
    assert database.sql("alice", "select progress, message from qd.job") == [(0.75, "most")]
    for bad in (-0.1, 1.1, float("nan")):
        with pytest.raises(Invalid, match="between 0 and 1"):
            database.sql("node_n1", tick, t=task, p=bad, m="")


def test_the_progress_of_a_job_of_many_tasks_is_their_mean(database: Database) -> None:
    job = database.submit("alice", 4)
    first, second, *_ = database.tasks(job)
    for task in (first, second):
        database.start("n1", task)
    database.end("n1", first)
    database.sql("postgres", "update qd.job set ticked = null")
    database.sql("node_n1", "select qd.set_progress(:t, 1, 0.5, '')", t=second)
    assert database.value("alice", "select progress from qd.job") == (1 + 0.5) / 4


def test_the_end_of_a_task_keeps_its_cost_and_its_error(database: Database) -> None:
    job, task = running(database)
    database.sql(
        "node_n1",
        "select qd.end_task(:t, 1, 'failed', 3, 'ValueError: no rows', '{\"processes\": []}', 1.5, 4096)",
        t=task,
    )
    assert database.sql("alice", "select exit_code, cpu_seconds, peak_memory, receipt, outcome from qd.attempt") == [
        (3, 1.5, 4096, {"processes": []}, "failed")
    ]
    assert database.sql("alice", "select status, error, exit_code from qd.task") == [
        ("failed", "ValueError: no rows", 3)
    ]
    assert database.value("alice", "select error from qd.job_detail") == "ValueError: no rows"
    assert log(database, job)[-2:] == ["failed, exit code 3: ValueError: no rows", "ended: failed"]


def test_many_starts_ends_and_a_terminate_do_not_deadlock(database: Database) -> None:
    """Both nodes work off one job's 40 tasks, with logs and progress, while it is terminated half-way."""
    job = database.submit("alice", 40)
    tasks = database.tasks(job)
    errors: list[BaseException] = []
    half = threading.Event()

    def work(node: str, mine: list[int]) -> None:
        connection = database.connect(f"node_{node}")
        connection.execute("select qd.register_node(4, '{}', 'h', '0', 1, 1)")
        for number, task in enumerate(mine):
            if number == len(mine) // 2:
                half.set()
            try:
                connection.execute("select * from qd.start_task(%s, 1)", (task,))
                for text in ("write_log", "set_progress", "end_task"):
                    statement = WRITES[text].replace(":t", str(task)).replace(":a", "1")
                    connection.execute(statement.encode())
                connection.execute("select qd.reap(600)")
            except Exception as error:
                if getattr(error, "sqlstate", None) == "QD005":
                    return
                errors.append(error)
                return

    threads = [threading.Thread(target=work, args=(node, tasks[i::2])) for i, node in enumerate(("n1", "n2"))]
    for thread in threads:
        thread.start()
    assert half.wait(30)
    database.sql("alice", "select qd.terminate_job(:job)", job=job)
    for thread in threads:
        thread.join(30)
    assert errors == []
    left = database.sql("alice", "select distinct status from qd.task order by 1")
    assert {row[0] for row in left} <= {"success", "terminated", "in_progress"}


def test_a_node_registers_beats_drains_and_leaves(database: Database) -> None:
    def state() -> str:
        return str(database.value("alice", "select state from qd.list_nodes() where name = 'n1'"))

    assert state() == "down"
    name = database.value("node_n1", "select qd.register_node(2, '{gpu,big-memory}', 'host', '1.0', 8, 64000)")
    assert name == "n1"
    assert database.value("node_n1", "select qd.node_heartbeat(0.5, 32000)") == "up"
    database.sql("boss", "select qd.drain_node('n1', true)")
    assert database.value("node_n1", "select qd.node_heartbeat(0.5, 32000)") == "draining"
    database.sql("boss", "select qd.drain_node('n1', false)")
    _, task = running(database)
    assert database.sql("bob", "select running, slots, cpus from qd.list_nodes() where name = 'n1'") == [(1, 4, 2)]
    database.end("n1", task)
    silence(database, "n1")
    assert state() == "lost"
    database.sql("node_n1", "select qd.unregister_node()")
    assert state() == "down"
    with pytest.raises(Invalid, match="slots"):
        database.sql("node_n1", "select qd.register_node(0, '{}', '', '', 1, 1)")
    with pytest.raises(Invalid, match="'Big Memory' can't be used"):
        database.sql("node_n1", "select qd.register_node(1, array['Big Memory'], '', '', 1, 1)")
    with pytest.raises(Invalid, match="after 10 to 86,400 seconds"):
        database.sql("node_n1", "select qd.reap(5)")


@pytest.mark.spec("R3")
def test_a_nodes_queues_have_channels_that_only_it_learns(database: Database) -> None:
    database.sql("node_n1", "select qd.register_node(1, '{gpu}', 'h', '0', 1, 1)")
    channels = dict(tuple(row) for row in database.sql("node_n1", "select * from qd.queue_channels()"))
    assert set(channels) == {"any", "node:n1", "label:gpu"}
    listener = database.connect("node_n1")
    for channel in channels.values():
        listener.execute(f"listen {channel}".encode())
    job = database.submit("alice", [{"name": "a", "queue": "node:n1"}] * 3 + [{"name": "b", "queue": "node:n2"}])
    heard = list(listener.notifies(timeout=5, stop_after=1))
    assert [notification.channel for notification in heard] == [channels["node:n1"]]
    assert '"job_inserted"' in heard[0].payload
    (task, *_) = database.tasks(job)
    row = database.sql("node_n1", "select id from queue.procrastinate_fetch_job_v2('{node:n1}', null)")[0][0]
    database.start("n1", task)
    database.sql("alice", "select qd.terminate_job(:job)", job=job)
    (heard_abort,) = listener.notifies(timeout=5, stop_after=1)
    assert heard_abort.channel == channels["node:n1"]
    assert heard_abort.payload == f'{{"type" : "abort_job_requested", "job_id" : {row}}}'
    other = dict(tuple(row) for row in database.sql("node_n2", "select * from qd.queue_channels()"))
    assert set(other) == {"any", "node:n2"}
    assert other["any"] == channels["any"]
