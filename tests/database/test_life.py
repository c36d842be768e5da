"""The life of jobs and tasks, played at random against a small model of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from quarterdeck.database import translate
from quarterdeck.errors import Conflict, NotFound, QuarterdeckError, Refused

if TYPE_CHECKING:
    from conftest import Database

pytestmark = pytest.mark.spec("S1", "S2", "M3", "M4", "M5", "G1", "G3")

NODES = ("n1", "n2")
PEOPLE = ("alice", "bob", "boss")


@dataclass
class Task:
    id: int
    queue: str
    restartable: bool
    status: str = "queued"
    attempt: int = 1
    node: str | None = None

    @property
    def open(self) -> bool:
        return self.status in ("queued", "in_progress")


@dataclass
class Job:
    creator: str
    public: bool
    real_time: bool
    tasks: list[Task] = field(default_factory=list)
    ending: bool = False
    begun: bool = False
    terminated: bool = False

    @property
    def open(self) -> bool:
        return any(task.open for task in self.tasks)

    @property
    def status(self) -> str:
        """S1, S2 and M5 in other words than the database's."""
        if self.open:
            return "in_progress" if self.begun else "queued"
        outcomes = {task.status for task in self.tasks}
        if self.terminated:
            return "terminated" if self.real_time else "failed"
        if outcomes == {"success"}:
            return "success"
        if self.real_time and "failed" not in outcomes:
            return "terminated"
        return "partially_failed" if "success" in outcomes else "failed"

    def actions(self, person: str) -> set[str]:
        if person not in (self.creator, "boss"):
            return set()
        found = {"details", "log", "rerun"}
        if self.open and not self.ending:
            found.add("terminate")
        if not self.open and person == "boss":
            found.add("delete")
        if self.real_time and self.status == "terminated":
            found.add("delete_results")
        return found


class Life(RuleBasedStateMachine):
    def __init__(self, database: Database, connections: dict[str, psycopg.Connection[Any]]) -> None:
        super().__init__()
        self.database = database
        self.connections = connections
        self.jobs: dict[int, Job] = {}

    def sql(self, login: str, text: str, *arguments: Any) -> list[tuple[Any, ...]]:
        try:
            cursor = self.connections[login].execute(text.encode(), arguments)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            known = translate(error)
            if known is None:
                raise
            raise known from error

    def refused(self, login: str, text: str, *arguments: Any) -> type[QuarterdeckError] | None:
        """The class of the refusal; None when it was done."""
        try:
            self.sql(login, text, *arguments)
        except QuarterdeckError as error:
            return type(error)
        return None

    @initialize()
    def empty(self) -> None:
        self.sql("postgres", "truncate qd.job, qd.tombstone, queue.procrastinate_jobs cascade")
        self.sql("postgres", "delete from queue.procrastinate_workers")
        self.workers = {node: self.worker(node) for node in NODES}
        for node in NODES:
            self.sql(f"node_{node}", "select qd.register_node(4, '{}', 'here', '0', 2, 1000)")

    def worker(self, node: str) -> int:
        made: int = self.sql(f"node_{node}", "select * from queue.procrastinate_register_worker_v1()")[0][0]
        return made

    def some_task(self, data: st.DataObject, condition: Callable[[Task], bool]) -> tuple[Job, Task] | None:
        found = [(job, task) for job in self.jobs.values() for task in job.tasks if condition(task)]
        return data.draw(st.sampled_from(found)) if found else None

    def fetch(self, node: str) -> tuple[int | None, dict[str, Any] | None]:
        (row,) = self.sql(
            f"node_{node}",
            "select id, args from queue.procrastinate_fetch_job_v2(%s, %s)",
            ["any", f"node:{node}"],
            self.workers[node],
        )
        return row[0], row[1]

    def any_task(self, status: str) -> bool:
        return any(task.status == status for job in self.jobs.values() for task in job.tasks)

    @precondition(lambda self: sum(job.open for job in self.jobs.values()) < 3)
    @rule(
        creator=st.sampled_from(PEOPLE),
        public=st.booleans(),
        real_time=st.booleans(),
        tasks=st.lists(st.tuples(st.sampled_from(["any", "node:n1"]), st.booleans()), min_size=1, max_size=2),
    )
    def submit(self, creator: str, public: bool, real_time: bool, tasks: list[tuple[str, bool]]) -> None:
        facts = {"name": "x", "public": public, "backtest_type": "real-time" if real_time else "historical"}
        plan = [{"name": "t", "queue": queue, "restartable": restartable} for queue, restartable in tasks]
        text = "select qd.submit_job('backtest', '{}', %s::jsonb, %s::jsonb)"
        job = self.sql(creator, text, json.dumps(facts), json.dumps(plan))[0][0]
        ids = [row[0] for row in self.sql("postgres", "select id from qd.task where job_id = %s order by ordinal", job)]
        made = [Task(id=i, queue=q, restartable=r) for i, (q, r) in zip(ids, tasks, strict=True)]
        self.jobs[job] = Job(creator, public, real_time, made)

    @precondition(lambda self: self.any_task("queued"))
    @rule(node=st.sampled_from(NODES))
    def fetch_and_start(self, node: str) -> None:
        waiting = {
            (t.id, t.attempt): (job, t)
            for job in self.jobs.values()
            for t in job.tasks
            if t.status == "queued" and t.queue in ("any", f"node:{node}")
        }
        row, args = self.fetch(node)
        if row is None or args is None:
            assert not waiting
            return
        job, task = waiting[args["task_id"], args["attempt"]]
        self.sql(f"node_{node}", "select * from qd.start_task(%s, %s)", task.id, task.attempt)
        task.status, task.node, job.begun = "in_progress", node, True

    @precondition(lambda self: self.any_task("queued"))
    @rule(node=st.sampled_from(NODES))
    def fetch_and_die(self, node: str) -> None:
        """A node's worker ends between the fetch and the start; another node notices."""
        row, args = self.fetch(node)
        self.sql(f"node_{node}", "select queue.procrastinate_unregister_worker_v1(%s)", self.workers[node])
        self.workers[node] = self.worker(node)
        if row is None or args is None:
            return
        self.reap(node)
        (task,) = (t for job in self.jobs.values() for t in job.tasks if t.id == args["task_id"])
        task.attempt += 1

    @rule(node=st.sampled_from(NODES), data=st.data(), off=st.integers(-1, 1))
    def start_out_of_turn(self, node: str, data: st.DataObject, off: int) -> None:
        found = self.some_task(data, lambda task: task.status != "queued" or off != 0)
        if found is not None:
            _, task = found
            mine = task.status == "in_progress" and task.node == node and off == 0
            done = self.refused(f"node_{node}", "select * from qd.start_task(%s, %s)", task.id, task.attempt + off)
            expected = {None} if mine else {"Fenced", "Refused"}
            assert (None if done is None else done.__name__) in expected

    @precondition(lambda self: self.any_task("in_progress"))
    @rule(data=st.data(), outcome=st.sampled_from(["success", "success", "failed", "terminated", "lost"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        found = self.some_task(data, lambda task: task.status == "in_progress")
        if found is not None:
            job, task = found
            row = self.sql("postgres", "select queue_id from qd.task where id = %s", task.id)[0][0]
            text = "select qd.end_task(%s, %s, %s, 0, 'e', null, 1, 1)"
            self.sql(f"node_{task.node}", text, task.id, task.attempt, outcome)
            if outcome != "lost":
                finish = "select queue.procrastinate_finish_job_v1(%s, 'succeeded', true)"
                self.sql(f"node_{task.node}", finish, row)
            self.over(job, task, outcome)

    @rule(node=st.sampled_from(NODES), data=st.data(), off=st.integers(-1, 1))
    def write_late(self, node: str, data: st.DataObject, off: int) -> None:
        found = self.some_task(data, lambda task: True)
        if found is not None:
            _, task = found
            if task.status == "in_progress" and task.node == node and off == 0:
                return
            for text in (
                "select qd.end_task(%s, %s, 'success', 0, '', null, 1, 1)",
                "select qd.set_progress(%s, %s, 0.5, '')",
                "select qd.open_table(%s, %s, 'late', 'schema')",
                "select qd.write_log(%s, %s, '{0}', '{1}', '{now}', '{now}', '{0,1,0,0}', array['late'])",
            ):
                done = self.refused(f"node_{node}", text, task.id, task.attempt + off)
                assert done is not None
                assert done.__name__ == "Fenced"

    def over(self, job: Job, task: Task, outcome: str) -> None:
        if outcome != "lost":
            task.status = outcome
        elif task.restartable and not job.ending and task.attempt < 5:
            task.status, task.node, task.attempt = "queued", None, task.attempt + 1
        else:
            task.status = "terminated" if job.ending else "failed"
        if not job.open:
            job.ending = False

    @precondition(lambda self: len(self.jobs) > 2)
    @rule(person=st.sampled_from(PEOPLE), data=st.data())
    def terminate(self, person: str, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[number]
        done = self.refused(person, "select qd.terminate_job(%s)", number)
        if person not in (job.creator, "boss"):
            assert done is (Refused if job.public else NotFound)
        elif "terminate" not in job.actions(person):
            assert done is Conflict
        else:
            assert done is None
            job.terminated = job.ending = True
            for task in job.tasks:
                if task.status == "queued":
                    task.status = "terminated"
            if not job.open:
                job.ending = False

    @precondition(lambda self: self.any_task("in_progress"))
    @rule(node=st.sampled_from(NODES))
    def lose(self, node: str) -> None:
        """A node falls silent; the other one's reaper takes its tasks away."""
        self.sql("postgres", "update qd.node set heartbeat = now() - interval '1 hour' where name = %s", node)
        self.reap(node)
        for job in self.jobs.values():
            for task in job.tasks:
                if task.node == node and task.status == "in_progress":
                    self.over(job, task, "lost")
        self.sql(f"node_{node}", "select qd.node_heartbeat(0, 0)")

    def reap(self, silent: str) -> None:
        other = "n2" if silent == "n1" else "n1"
        self.sql(f"node_{other}", "select qd.node_heartbeat(0, 0)")
        self.sql("postgres", "update qd.task set created = created - interval '1 hour'")
        self.sql("postgres", "update qd.attempt set started = started - interval '1 hour'")
        self.sql(f"node_{other}", "select qd.reap(600)")

    @precondition(lambda self: len(self.jobs) > 3)
    @rule(person=st.sampled_from(PEOPLE), data=st.data())
    def delete(self, person: str, data: st.DataObject) -> None:
        chosen = data.draw(st.lists(st.sampled_from(sorted(self.jobs)), min_size=1, max_size=3, unique=True))
        if person != "boss":
            assert self.refused(person, "select * from qd.delete_jobs(%s)", chosen) is Refused
            return
        (row,) = self.sql(person, "select * from qd.delete_jobs(%s)", chosen)
        running = sorted(number for number in chosen if self.jobs[number].open)
        assert row == (len(chosen) - len(running), running)
        for number in chosen:
            if number not in running:
                del self.jobs[number]

    @invariant()
    def jobs_are_as_the_model_says(self) -> None:
        rows = self.sql("postgres", "select id, status, ending, ended is null from qd.job")
        assert {row[0]: row[1:] for row in rows} == {
            number: (job.status, job.ending, job.open) for number, job in self.jobs.items()
        }

    @invariant()
    def tasks_are_as_the_model_says(self) -> None:
        rows = self.sql("postgres", "select id, status, attempt, node from qd.task")
        assert {row[0]: row[1:] for row in rows} == {
            task.id: (task.status, task.attempt, task.node) for job in self.jobs.values() for task in job.tasks
        }

    @invariant()
    def actions_are_as_the_model_says(self) -> None:
        for person in PEOPLE:
            rows = self.sql(person, "select id, qd.job_actions(job) from qd.job")
            assert {row[0]: set(row[1]) for row in rows} == {
                number: job.actions(person)
                for number, job in self.jobs.items()
                if job.public or person in (job.creator, "boss")
            }

    @invariant()
    def the_queue_holds_each_waiting_task_once(self) -> None:
        columns = "(args->>'task_id')::int, (args->>'attempt')::int"
        rows = self.sql("postgres", f"select {columns} from queue.procrastinate_jobs where status = 'todo'")
        assert sorted(rows) == sorted(
            (task.id, task.attempt) for job in self.jobs.values() for task in job.tasks if task.status == "queued"
        )

    @invariant()
    def running_tasks_of_ending_jobs_are_told(self) -> None:
        text = "select (args->>'task_id')::int from queue.procrastinate_jobs where status = 'doing' and abort_requested"
        assert {row[0] for row in self.sql("postgres", text)} >= {
            task.id for job in self.jobs.values() if job.ending for task in job.tasks if task.status == "in_progress"
        }


@pytest.mark.timeout(300)
def test_life(database: Database) -> None:
    logins = ("postgres", *PEOPLE, *(f"node_{node}" for node in NODES))
    connections = {login: database.connect(login) for login in logins}
    run_state_machine_as_test(
        lambda: Life(database, connections),
        settings=settings(
            max_examples=40,
            stateful_step_count=60,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
