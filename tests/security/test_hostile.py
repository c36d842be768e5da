"""A regular user with his own password and any SQL tool gains nothing (R3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors

if TYPE_CHECKING:
    from conftest import Database

pytestmark = pytest.mark.spec("R2", "R3")

SECRET = "the_secret_of_alice"


class Scene:
    """alice's private and public job, running, with logs and tables, and datasets and templates; bob attacks."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.private = self._job(public=False)
        self.public = self._job(public=True)
        for name, public in ((SECRET, False), ("published", True)):
            database.sql(
                "alice",
                "select qd.save_template(:name, cast(:document as jsonb), :public)",
                name=name,
                document=json.dumps({"name": name, "title": name}),
                public=public,
            )
        self.bob = database.connect("bob")

    def _job(self, *, public: bool) -> int:
        database = self.database
        kind = "public" if public else "private"
        job: int = database.value(
            "alice",
            "select qd.submit_job('factor', cast(:params as jsonb), cast(:facts as jsonb), cast(:tasks as jsonb))",
            params=json.dumps({"formula": SECRET}),
            facts=json.dumps({"name": "published" if public else SECRET, "public": public}),
            tasks=json.dumps([{"name": SECRET, "params": {"x": SECRET}}, {"name": SECRET}]),
        )
        first, second = database.tasks(job)
        for task in (first, second):
            database.start("n1", task)
            publish = json.dumps({"name": f"{kind}_prices", "public": public})
            table = database.value(
                "node_n1",
                "select qd.open_table(:t, 1, 'data', :s, cast(:p as jsonb))",
                t=task,
                s=SECRET.encode(),
                p=publish if task == first else None,
            )
            database.sql(
                "node_n1",
                "select qd.write_block(:t, 1, :r, 0, 1, now(), now(), :s, :s, :d)",
                t=task,
                r=table,
                s=SECRET,
                d=SECRET.encode(),
            )
            database.sql(
                "node_n1",
                "select qd.write_log(:t, 1, '{0}', '{1}', '{now}', '{now}', '{0,1,0,0}', array[:line])",
                t=task,
                line=SECRET,
            )
        database.end("n1", first)
        return job

    def attack(self, text: str, *arguments: Any) -> list[tuple[Any, ...]]:
        cursor = self.bob.execute(text.encode(), arguments or None)
        return cursor.fetchall() if cursor.description else []

    def refused(self, text: str, *kinds: type[psycopg.Error]) -> None:
        with pytest.raises(kinds or (errors.InsufficientPrivilege,)) as caught:
            self.attack(text)
        assert SECRET not in str(caught.value)
        self.bob.rollback()

    def unharmed(self) -> None:
        """What the attacks must not have changed."""
        rows = self.database.sql("postgres", "select name, creator, status, ending from qd.job order by id limit 2")
        assert [tuple(row) for row in rows] == [
            (SECRET, "alice", "in_progress", False),
            ("published", "alice", "in_progress", False),
        ]
        assert self.database.value("postgres", "select count(*) from qd.result_block") == 4


@pytest.fixture
def scene(database: Database) -> Iterator[Scene]:
    made = Scene(database)
    yield made
    made.unharmed()


TABLES = {
    # what bob may see of alice's: her public job's row, her public dataset with its parts, her public template
    "job": 1, "job_detail": 0, "task": 0, "attempt": 0, "log_chunk": 0, "dataset": 1, "result_table": 1,
    "result_block": 1, "template": 1, "tombstone": 0,
}  # fmt: skip


# everybody's, one's own, and nobody's
_NEITHER = ("node", "channel", "audit")


def test_table_by_table(scene: Scene) -> None:
    for table, visible in TABLES.items():
        rows = scene.attack(f"select * from qd.{table}")
        assert len(rows) == visible, table
        if table not in ("result_table", "result_block"):
            assert SECRET not in repr(rows), table
    assert scene.attack("select name, is_public from qd.dataset") == [("public_prices", True)]
    assert scene.attack("select is_public, dataset_id is not null from qd.result_table") == [(True, True)]
    scene.refused("select * from qd.audit")
    scene.refused("select * from qd.alembic_version")


def test_every_table_was_tried(scene: Scene) -> None:
    rows = scene.database.sql(
        "postgres", "select relname from pg_class where relnamespace = 'qd'::regnamespace and relkind = 'r'"
    )
    assert {row[0] for row in rows} == {*TABLES, *_NEITHER, "alembic_version"}


_COLUMN = {"node": "name", "channel": "member", "audit": "actor"}
_CHANGES = (
    "alter table qd.{} disable row level security",
    "drop table qd.{}",
    "comment on table qd.{} is 'x'",
    "create policy p on qd.{} using (true)",
    "create index on qd.{} ((1))",
    "create trigger t before insert on qd.{} execute function qd.stamp_changed()",
    "create rule r as on insert to qd.{} do instead nothing",
)


def test_nothing_can_be_written_or_locked(scene: Scene) -> None:
    for table in (*TABLES, *_NEITHER):
        scene.refused(f"insert into qd.{table} default values")
        scene.refused(f"delete from qd.{table}")
        scene.refused(f"truncate qd.{table}")
        scene.refused(f"update qd.{table} set {_COLUMN.get(table, 'creator')} = 'bob'")
        for strength in ("update", "no key update", "share", "key share"):
            scene.refused(f"select * from qd.{table} for {strength}")
        for mode in ("row share", "row exclusive", "share", "exclusive", "access exclusive"):
            with pytest.raises(errors.InsufficientPrivilege):
                scene.bob.execute(f"begin; lock table qd.{table} in {mode} mode".encode())
            scene.bob.rollback()
        for text in _CHANGES:
            scene.refused(text.format(table), errors.InsufficientPrivilege, errors.WrongObjectType)
        if table != "audit":
            # of what he may read: warns, and grants nothing (the catalogue's test knows all grants)
            scene.attack(f"grant select on qd.{table} to bob")
        scene.attack(f"analyze qd.{table}")
    assert len(scene.attack("select * from qd.job")) == 1


def test_function_by_function(scene: Scene) -> None:
    """Every function of qd that bob may call is named here; every other one refuses him."""
    rows = scene.database.sql(
        "postgres",
        "select p.proname, string_agg('null::' || format_type(t.oid, null), ', ' order by t.n) from pg_proc p"
        " left join lateral unnest(p.proargtypes) with ordinality as t(oid, n) on true"
        " where p.pronamespace = 'qd'::regnamespace and p.prorettype <> 'trigger'::regtype"
        " and not has_function_privilege('bob', p.oid, 'execute') group by p.oid, p.proname",
    )
    assert len(rows) > 40
    for name, arguments in rows:
        scene.refused(f"select qd.{name}({arguments or ''})")
    open_to_bob = scene.database.sql(
        "postgres",
        "select proname from pg_proc where pronamespace::regnamespace::text = 'qd'"
        " and has_function_privilege('bob', oid, 'execute')",
    )
    assert {row[0] for row in open_to_bob} == {
        "whoami", "schema_version", "my_channels", "job_actions", "submit_job", "terminate_job", "delete_jobs",
        "delete_results", "why_waiting", "drop_dataset", "list_nodes", "save_template", "delete_template",
    }  # fmt: skip
    hidden, shown = scene.private, scene.public
    again = "select qd.submit_job('factor', '{}', '{\"name\": \"x\"}', '[{\"name\": \"t\"}]', '{}', %s)"
    for job, state in ((hidden, "QD004"), (shown, "QD001")):
        for text in ("select qd.terminate_job(%s)", "select qd.delete_results(%s)", again):
            with pytest.raises(psycopg.Error) as caught:
                scene.attack(text, job)
            assert caught.value.sqlstate == state
            assert SECRET not in str(caught.value)
        with pytest.raises(psycopg.Error) as caught:
            scene.attack("select * from qd.delete_jobs(array[%s::bigint])", job)
        assert caught.value.sqlstate == "QD001"
    for name, state in (("private_prices", "QD004"), ("public_prices", "QD001")):
        with pytest.raises(psycopg.Error) as caught:
            scene.attack("select qd.drop_dataset(%s, 'alice')", name)
        assert caught.value.sqlstate == state
    for name, state in ((SECRET, "QD004"), ("published", "QD001")):
        with pytest.raises(psycopg.Error) as caught:
            scene.attack("select qd.delete_template(%s, 'alice')", name)
        assert caught.value.sqlstate == state
    assert scene.attack("select qd.job_actions(j) from qd.job j") == [([],)]
    # rights come from the session's login, whatever the row says
    forged = 'select qd.job_actions(jsonb_populate_record(null::qd.job, \'{"creator": "alice", "status": "queued"}\'))'
    assert scene.attack(forged) == [([],)]


def test_sequences_tell_nothing(scene: Scene) -> None:
    sequences = scene.database.sql(
        "postgres",
        "select oid::regclass::text from pg_class"
        " where relkind = 'S' and relnamespace::regnamespace::text in ('qd', 'queue')",
    )
    assert len(sequences) > 5
    for (name,) in sequences:
        for text in (
            "select nextval('{}')",
            "select currval('{}')",
            "select setval('{}', 1)",
            "select last_value from {}",
        ):
            scene.refused(text.format(name))
    rows = scene.attack("select last_value from pg_sequences where schemaname in ('qd', 'queue')")
    assert {row[0] for row in rows} == {None}


def test_other_peoples_channels_are_not_learned(scene: Scene) -> None:
    mine = {row[0] for row in scene.attack("select * from qd.my_channels()")}
    assert len(mine) == 2
    assert scene.attack("select member from qd.channel") == [("bob",)]
    everybody = scene.database.sql("postgres", "select member, channel from qd.channel")
    hidden = [channel for member, channel in everybody if member in ("alice", "*admins", "boss")]
    assert not mine & set(hidden)
    assert scene.attack("select * from pg_listening_channels()") == []


def test_forged_notifications_reach_no_node(scene: Scene) -> None:
    node = scene.database.connect("node_n1")
    channels = [row[1] for row in node.execute("select * from qd.queue_channels()").fetchall()]
    for channel in channels:
        node.execute(f"listen {channel}".encode())
    for guess in (
        "procrastinate_queue_v1#any",
        "procrastinate_queue_v1#node:n1",
        "procrastinate_any_queue_v1",
        "any",
        "q",
    ):
        scene.attack('select pg_notify(%s, \'{"type": "abort_job_requested", "job_id": 1}\')', guess)
        scene.bob.execute(f'listen "{guess}"'.encode())
    scene.database.sql("alice", "select qd.submit_job('factor', '{}', '{\"name\": \"y\"}', '[{\"name\": \"t\"}]')")
    heard = list(node.notifies(timeout=10, stop_after=1))
    assert [json.loads(one.payload)["type"] for one in heard] == ["job_inserted"]
    # nor does bob overhear the queue
    scene.attack("select pg_notify('any', 'own')")
    assert {one.payload for one in scene.bob.notifies(timeout=5, stop_after=6)} <= {
        "own",
        '{"type": "abort_job_requested", "job_id": 1}',
    }
    scene.refused("select * from qd.queue_channels()")
    scene.refused("select queue.channel('any')")
    scene.refused("select * from queue.channel_key")


def test_the_queue_is_closed(scene: Scene) -> None:
    rows = scene.database.sql(
        "postgres", "select relname from pg_class where relnamespace = 'queue'::regnamespace and relkind in ('r', 'v')"
    )
    assert len(rows) >= 5
    for (name,) in rows:
        for text in ("select * from queue.{}", "delete from queue.{}", "insert into queue.{} default values"):
            scene.refused(text.format(name))
    functions = scene.database.sql("postgres", "select proname from pg_proc where pronamespace = 'queue'::regnamespace")
    assert len(functions) > 15
    for text in (
        "select queue.procrastinate_cancel_job_v1(1, true, true)",
        "select queue.procrastinate_finish_job_v1(1, 'failed', true)",
        "select * from queue.procrastinate_fetch_job_v2('{any}', null)",
        "select queue.procrastinate_prune_stalled_workers_v1(0)",
        "select null::queue.procrastinate_job_to_defer_v1",
    ):
        scene.refused(text)


def test_nothing_of_ones_own_can_be_made_to_shadow(scene: Scene) -> None:
    """No temporary table, function, operator or schema that a function could be led to use."""
    for text in (
        "create temp table job (id int)",
        "create temp view job as select 1",
        "create table public.job (id int)",
        "create schema mine",
        "create function public.f() returns int language sql as 'select 1'",
        "create function pg_temp.f() returns int language sql as 'select 1'",
        "create function qd.f() returns int language sql as 'select 1'",
        "create operator public.= (leftarg = text, rightarg = text, function = texteq)",
        "create aggregate public.count(*) (sfunc = int8inc, stype = int8)",
        "create type public.job as (id int)",
        "create extension vector",
        "create language plpython3u",
        "create event trigger e on ddl_command_start execute function qd.stamp_changed()",
        "create publication p for all tables",
        "create subscription s connection '' publication p with (connect = false)",
        "create foreign data wrapper w",
        "create database mine",
        "create tablespace t location '/tmp'",
        "select * into temp mine from qd.job",
        "do $$ begin create temp table x (i int); end $$",
    ):
        scene.refused(text, errors.InsufficientPrivilege, errors.FeatureNotSupported, errors.InvalidSchemaName)
    scene.attack("set search_path = pg_temp, public, qd")
    assert scene.attack("select login from qd.whoami()") == [("bob",)]


def test_nobody_becomes_somebody_else(scene: Scene) -> None:
    for role in ("qd_owner", "qd_queue", "qd_accounts", "qd_admin", "qd_node", "alice", "boss", "node_n1", "postgres"):
        scene.refused(f"set role {role}")
        scene.refused(f"set session authorization {role}")
        scene.refused(f"grant {role} to bob")
        scene.refused(f"alter role {role} password 'x'")
        scene.refused(f"alter role {role} set search_path = public")
        scene.refused(f"drop role {role}", errors.InsufficientPrivilege, errors.DependentObjectsStillExist)
        scene.refused(f"drop owned by {role}")
        scene.refused(f"reassign owned by {role} to bob")
    # what he may become changes nothing: rights go by the login
    scene.attack("set role qd_user")
    assert scene.attack("select count(*) from qd.job") == [(1,)]
    assert scene.attack("select login, is_admin from qd.whoami()") == [("bob", False)]
    scene.attack("reset role")
    for text in (
        "create role mine",
        "alter role bob superuser",
        "alter role bob bypassrls",
        "alter role bob createrole",
        "alter role bob connection limit -1",
        "alter role bob rename to alice2",
        "alter role all set row_security = off",
        "alter system set log_statement = 'none'",
        f"alter database {scene.database.name} set row_security = off",
        f"alter database {scene.database.name} rename to x",
        "select pg_reload_conf()",
        "set session_replication_role = replica",
        "set lc_messages = 'C'",
    ):
        scene.refused(text, errors.InsufficientPrivilege, errors.FeatureNotSupported)


def test_row_security_can_not_be_switched_off(scene: Scene) -> None:
    scene.attack("set row_security = off")
    scene.refused("select * from qd.job")
    scene.refused("select * from qd.log_chunk")


def test_copy_obeys(scene: Scene) -> None:
    with scene.bob.cursor() as cursor:
        for table in ("job_detail", "task", "log_chunk"):
            with cursor.copy(f"copy qd.{table} to stdout".encode()) as copy:
                assert b"".join(bytes(part) for part in copy) == b""
        with cursor.copy("copy (select name from qd.job) to stdout") as copy:
            assert b"".join(bytes(part) for part in copy) == b"published\n"
    for text in (
        "copy qd.job from stdin",
        "copy qd.job to '/tmp/jobs'",
        "copy (select 1) to program 'id'",
        "copy qd.job from program 'id'",
    ):
        scene.refused(text)


def test_files_objects_locks_and_sessions_of_others(scene: Scene) -> None:
    (pid,) = scene.database.sql("alice", "select pg_backend_pid()")[0]
    for text in (
        "select pg_read_file('postgresql.conf')",
        "select pg_read_binary_file('postgresql.conf')",
        "select pg_ls_dir('.')",
        "select pg_stat_file('postgresql.conf')",
        "select lo_create(0)",
        "select lo_from_bytea(0, 'x')",
        "select lo_import('/etc/passwd')",
        "select lo_creat(-1)",
        "select pg_advisory_lock(1)",
        "select pg_advisory_xact_lock(g) from generate_series(1, 10) g",
        "select pg_try_advisory_lock_shared(1)",
        f"select pg_terminate_backend({pid})",
        f"select pg_cancel_backend({pid})",
        f"select pg_log_backend_memory_contexts({pid})",
        "select pg_switch_wal()",
        "select pg_create_restore_point('x')",
        "select pg_stat_reset()",
        "select * from pg_authid",
        "select * from pg_statistic",
        "select * from pg_hba_file_rules",
        "select * from pg_file_settings",
        "checkpoint",
    ):
        scene.refused(text)
    assert scene.attack("select count(*) from pg_stats where schemaname in ('qd', 'queue')") == [(0,)]
    queries = scene.attack("select query from pg_stat_activity where usename <> 'bob' or usename is null")
    assert {row[0] for row in queries} <= {"<insufficient privilege>"}
    assert {row[0] for row in scene.attack("select rolpassword from pg_roles")} == {"********"}


def test_a_condition_that_tells_of_hidden_rows_is_not_evaluated_on_them(scene: Scene) -> None:
    """A cast that fails names the text that it failed on: the policy must come first."""
    scene.database.sql("postgres", "analyze")
    with pytest.raises(errors.InvalidTextRepresentation) as caught:
        scene.attack("select * from qd.job where name::int = 0")
    assert "published" in str(caught.value)
    for text in (
        "select * from qd.job where not is_public and name::int = 0",
        "select * from qd.log_chunk where body::int = 0",
        "select * from qd.task where name::int = 0",
        "select * from qd.job_detail where (params ->> 'formula')::int = 0",
        "select * from qd.result_block where not is_public and symbol_min::int = 0",
        "select j.* from qd.job j join qd.task t on t.job_id = j.id and t.name::int = 0",
    ):
        assert scene.attack(text) == []
    for text in ("select * from qd.log_chunk", "select * from qd.job where name > 'a'", "select * from qd.task"):
        plan = scene.attack(f"explain (analyze, verbose, settings) {text}")
        assert SECRET not in repr(plan)


def test_functions_that_run_a_query_run_it_as_their_caller(scene: Scene) -> None:
    assert scene.attack("select * from ts_stat('select to_tsvector(body) from qd.log_chunk')") == []
    assert len(scene.attack("select * from ts_stat('select to_tsvector(name) from qd.job')")) == 1
    found = scene.attack("select query_to_xml('select * from qd.job_detail', true, true, '')::text")
    assert SECRET not in repr(found)


def test_an_old_snapshot_changes_no_job(scene: Scene) -> None:
    scene.attack("set default_transaction_isolation = 'repeatable read'")
    (job,) = scene.attack("select qd.submit_job('factor', '{}', '{\"name\": \"z\"}', '[{\"name\": \"t\"}]')")[0]
    with pytest.raises(psycopg.Error, match="read committed transactions only") as caught:
        scene.attack("select qd.terminate_job(%s)", job)
    assert caught.value.sqlstate == "QD002"


def test_a_session_that_sits_in_a_transaction_is_ended(scene: Scene) -> None:
    scene.attack("set idle_in_transaction_session_timeout = 0")
    scene.bob.execute("begin")
    scene.bob.execute("select qd.submit_job('factor', '{}', '{\"name\": \"z\"}', '[{\"name\": \"t\"}]')")
    database = scene.database
    database.sql("postgres", _close_idle_at_once(database))
    database.sql("node_n2", "select qd.register_node(1, '{}', 'h', '0', 1, 1)")
    database.sql("node_n2", "select qd.reap(600)")
    with pytest.raises(psycopg.OperationalError):
        scene.bob.execute("select 1")


def _close_idle_at_once(database: Database) -> str:
    """The function itself with its patience cut to nothing: two minutes are too long for a test."""
    text = str(database.value("postgres", "select pg_get_functiondef('qd.close_idle_sessions'::regproc)"))
    assert text.count("interval '2 minutes'") == 1
    return text.replace("interval '2 minutes'", "interval '0'")


def test_a_node_reads_and_writes_no_table(scene: Scene) -> None:
    node = scene.database.connect("node_n2")
    for table in (*TABLES, *_NEITHER):
        for text in (f"select * from qd.{table}", f"delete from qd.{table}", f"insert into qd.{table} default values"):
            with pytest.raises(errors.InsufficientPrivilege):
                node.execute(text.encode())
    for text in ("select args from queue.procrastinate_jobs", "select * from queue.procrastinate_jobs",
                 "select * from queue.procrastinate_workers", "update queue.procrastinate_jobs set status = 'todo'",
                 "select * from queue.channel_key", "select queue.procrastinate_cancel_job_v1(1, true, true)",
                 "select queue.procrastinate_retry_job_v2(1, now(), 0, 'any', null)", "select qd.terminate_job(1)",
                 "select qd.submit_job('factor', '{}', '{}', '[]')", "select * from qd.list_users()",
                 "set role qd_owner", "create temp table x (i int)"):  # fmt: skip
        with pytest.raises(errors.InsufficientPrivilege):
            node.execute(text.encode())
    # and n2 holds none of n1's tasks
    for task in scene.database.tasks(scene.private):
        for text in ("select * from qd.task_dataset(%s, 1, 'private_prices')", "select * from qd.start_task(%s, 1)"):
            with pytest.raises(psycopg.Error) as caught:
                node.execute(text.encode(), (task,))
            assert caught.value.sqlstate == "QD005"


def test_an_administrator_writes_through_functions_only(scene: Scene) -> None:
    boss = scene.database.connect("boss")
    assert SECRET in repr(boss.execute("select params from qd.job_detail").fetchall())
    for table in (*TABLES, *_NEITHER):
        for text in (f"delete from qd.{table}", f"insert into qd.{table} default values", f"truncate qd.{table}"):
            with pytest.raises(errors.InsufficientPrivilege):
                boss.execute(text.encode())
    for role in ("qd_owner", "qd_queue", "qd_accounts", "postgres", "alice"):
        with pytest.raises(errors.InsufficientPrivilege):
            boss.execute(f"set role {role}".encode())
