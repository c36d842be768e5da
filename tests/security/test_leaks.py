"""What a hostile user can learn or break sideways: estimates, values that spoil others' lists, long sessions."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors

from quarterdeck.client import Client
from quarterdeck.errors import Disconnected, Invalid
from quarterdeck.query import Filter

if TYPE_CHECKING:
    from tests.conftest import Database

pytestmark = pytest.mark.spec("R2", "R3")


def rows_expected(connection: psycopg.Connection[Any], condition: str, table: str = "job") -> int:
    """The row counts that EXPLAIN shows for a condition, of all its plan."""
    (plan,) = connection.execute(
        f"explain (format json) select * from qd.{table} where {condition}".encode()
    ).fetchone()
    found = plan[0]["Plan"]
    total = 0
    parts = [found]
    while parts:
        part = parts.pop()
        total += part["Plan Rows"]
        parts += part.get("Plans", [])
    return total


def test_estimates_tell_nothing_of_hidden_names(database: Database) -> None:
    """Statistics know the commonest values and the bounds of the others, and EXPLAIN shows what follows from them."""
    for creator, name, count in (("alice", "'secret ' || chr(97 + i % 26)", 20_000), ("bob", "'mine'", 5_000)):
        database.sql(
            "postgres",
            f"insert into qd.job (kind, name, subject, creator) select 'factor', {name}, {name}, '{creator}'"
            f" from generate_series(1, {count}) as i",
        )
    database.sql(
        "postgres",
        "insert into qd.job_detail (job_id, creator, params) select id, '', jsonb_build_object('x', name) from qd.job",
    )
    connection = database.connect("postgres")
    connection.execute("analyze")
    bob = database.connect("bob")
    for column in ("name", "subject"):
        for sign in ("=", "<", ">", "<>", "like"):
            guesses = {rows_expected(bob, f"{column} {sign} '{guess}'") for guess in ("secret a", "secret m", "zz", "")}
            assert len(guesses) == 1, (column, sign)
    assert len({rows_expected(bob, f'params = \'{{"x": "{x}"}}\'', "job_detail") for x in ("secret a", "no")}) == 1
    # what is kept for quick lists
    assert rows_expected(bob, "creator = 'bob'") != rows_expected(bob, "creator = 'nobody'")


def test_no_statistics_are_kept_of_what_people_write(database: Database) -> None:
    """Of every table, a new one too: a text column is an enumeration that is named here, or has none."""
    kept = database.sql(
        "postgres",
        "select c.relname, a.attname from pg_attribute a join pg_class c on c.oid = a.attrelid"
        " where c.relnamespace = 'qd'::regnamespace and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped"
        " and a.atttypid::regtype::text in ('text', 'jsonb', 'json', 'bytea', 'text[]', 'xml', 'character varying')"
        " and a.attstattarget is distinct from 0",
    )
    assert {row[1] for row in kept} <= {
        "creator", "kind", "status", "origin", "backtest_type", "queue", "node", "nodes", "state", "attribution_status",
        "outcome", "version_num",
    }  # fmt: skip
    # an expression in an index has statistics of its own
    assert database.sql(
        "postgres",
        "select a.attrelid::regclass, a.attname from pg_index i join pg_class c on c.oid = i.indrelid"
        " join pg_attribute a on a.attrelid = i.indexrelid"
        " where c.relnamespace = 'qd'::regnamespace and i.indkey[a.attnum - 1] = 0"
        " and a.attstattarget is distinct from 0",
    ) == []  # fmt: skip
    assert database.sql("postgres", "select from pg_statistic_ext") == []


def removed(connection: psycopg.Connection[Any], table: str, condition: str) -> int:
    """How many rows EXPLAIN ANALYZE says that row security removed after an index found them."""
    connection.execute("set enable_seqscan = off")
    statement = f"explain (analyze, format json) select * from qd.{table} where {condition}"
    (plan,) = connection.execute(statement.encode()).fetchone()
    total, parts = 0, [plan[0]["Plan"]]
    while parts:
        part = parts.pop()
        total += part.get("Rows Removed by Filter", 0) + part.get("Rows Removed by Index Recheck", 0)
        parts += part.get("Plans", [])
    return total


def test_no_name_is_read_out_of_an_index_range_by_range(database: Database) -> None:
    """What an index finds is counted before the policy takes it away."""
    for table, names in (("dataset", "creator, name"), ("template", "creator, name, title, document")):
        more = ", 'x', '{}'" if table == "template" else ""
        database.sql(
            "postgres",
            f"insert into qd.{table} ({names}) select 'alice', 'secret_' || i{more} from generate_series(1, 200) as i",
        )
    job = database.submit("alice")
    (task,) = database.tasks(job)
    database.start("n1", task)
    database.sql("node_n1", "select qd.open_table(:t, 1, 'secret_1', 'x', null)", t=task)
    for one in ("alice", "bob", "boss"):
        database.sql(one, "select * from qd.my_channels()")
    bob = database.connect("bob")
    for table, before in (("dataset", "creator = 'alice' and"), ("template", "creator = 'alice' and"),
                          ("result_table", f"task_id = {task} and attempt = 1 and")):  # fmt: skip
        found = {
            removed(bob, table, f"{before} name {condition}")
            for condition in ("= 'secret_1'", "= 'nothing'", ">= 'secret_1' and name < 'secret_2'", "< 'a'", "> 'a'")
        }
        assert len(found) == 1, table
        hashed = {
            removed(bob, table, f"{before} hashtextextended(name, 0) = hashtextextended('{name}', 0)")
            for name in ("secret_1", "nothing")
        }
        assert len(hashed) == 1, table
    totals = set()
    for condition in ("channel < 'c8'", "channel >= 'c8'", "channel > 'd'"):
        seen = bob.execute(f"select * from qd.channel where {condition}".encode()).fetchall()
        totals.add(removed(bob, "channel", condition) + len(seen))
    assert len(totals) == 1  # only how many there are in all, whatever is asked


def test_indexes_hold_no_text_that_is_hidden(database: Database) -> None:
    """Every key of every index, a new one too: what may be a text and searched by is named here."""
    rows = database.sql(
        "postgres",
        "select c.relname, a.attname from pg_index i join pg_class c on c.oid = i.indrelid"
        " cross join lateral generate_series(0, i.indnkeyatts - 1) as n"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[n]"
        " where c.relnamespace = 'qd'::regnamespace"
        " and a.atttypid::regtype::text in ('text', 'text[]', 'jsonb', 'bytea', 'character varying')",
    )
    assert {f"{row[0]}.{row[1]}" for row in rows} <= {
        "job.creator", "job.kind", "job.status", "task.node", "task.status", "dataset.creator", "template.creator",
        "node.name", "node.login", "channel.member", "alembic_version.version_num",
    }  # fmt: skip
    expressions = database.sql(
        "postgres",
        "select pg_get_expr(i.indexprs, i.indrelid) from pg_index i join pg_class c on c.oid = i.indrelid"
        " where c.relnamespace = 'qd'::regnamespace and i.indexprs is not null",
    )
    assert {row[0] for row in expressions} == {"hashtextextended(name, (0)::bigint)"}
    # that it is not leakproof is what keeps it from being looked up before the policy is asked
    assert database.value("postgres", "select proleakproof from pg_proc where proname = 'hashtextextended'") is False


def submit(database: Database, user: str, **facts: Any) -> int:
    return database.submit(user, kind="backtest", **facts)


@pytest.mark.spec("G4")
@pytest.mark.parametrize("time", ["infinity", "-infinity", "20000-01-01", "4000-01-01 BC", "0999-12-31", "9999-12-31"])
def test_a_time_that_no_client_holds_is_refused(database: Database, time: str) -> None:
    """In a public job it would break the lists of everybody."""
    for field in ("backtest_start", "backtest_end"):
        with pytest.raises(Invalid, match=f"The job's {field} lies outside of the years 1000 to 9999") as caught:
            submit(database, "bob", public=True, **{field: time})
        assert caught.value.field == field
    fine = submit(database, "bob", public=True, backtest_start="1000-01-01", backtest_end="9999-12-30T00:00:00Z")
    with Client.sign_in(database.login("alice")) as client:
        assert [job.id for job in client.list(Filter(kind="backtest"))] == [fine]


@pytest.mark.spec("G4")
def test_names_command_no_terminal_and_turn_no_line(database: Database) -> None:
    wild = "a\x1b[31mb\r\nc\x9b2J\u202egnp\u2066x\x07"
    job = database.submit("bob", [{"name": wild}], public=True, name=wild, subject=wild, data_type=wild[:30])
    row = database.sql("alice", "select name, subject, data_type from qd.job where id = :job", job=job)[0]
    texts = [*row, database.value("bob", "select name from qd.task where job_id = :job", job=job)]
    for text in texts:
        assert not set(text) & set("\x1b\r\n\x9b\u202e\u2066\x07")
    assert row.name == "a [31mb  c 2J gnp x"
    with pytest.raises(Invalid, match="name of 1 to 200"):
        database.submit("bob", name="\x1b\x1b")


@pytest.mark.spec("G4")
def test_what_is_nested_too_deep_to_be_read_is_refused(database: Database) -> None:
    def nested(levels: int) -> str:
        return '{"a": ' + '[{"b": ' * levels + "1" + "}]" * levels + "}"

    statement = (
        "select qd.submit_job('factor', cast(:params as jsonb), '{\"name\": \"x\"}', cast(:tasks as jsonb),"
        " cast(:template as jsonb))"
    )
    task = json.dumps([{"name": "t"}])
    fine = nested(20)
    job = database.value("bob", statement, params=fine, tasks=task, template=fine)
    with Client.sign_in(database.login("boss")) as client:
        assert client.get(job).params == json.loads(fine)
    for deep in (nested(40), nested(1500)):
        for field in ("params", "template", "tasks"):
            given = {"params": "{}", "template": "{}", "tasks": task}
            given[field] = deep if field != "tasks" else '[{"name": "t", "params": ' + deep + "}]"
            with pytest.raises(Invalid, match="nested more than 60 levels deep"):
                database.value("bob", statement, **given)


def test_a_node_does_not_have_others_tasks_ended(database: Database) -> None:
    """n2 can't declare n1 lost between two of its heartbeats."""
    job = database.submit("alice")
    (task,) = database.tasks(job)
    database.start("n1", task)
    database.sql("node_n2", "select qd.register_node(1, '{}', 'h', '0', 1, 1)")
    database.sql(
        "postgres", "update qd.node set heartbeat = clock_timestamp() - interval '5 seconds' where name = 'n1'"
    )
    for seconds in ("1", "9.9", "0", "-1", "null"):
        with pytest.raises(Invalid, match="lost after 10 to 86,400 seconds"):
            database.sql("node_n2", f"select qd.reap({seconds})")
    assert database.value("node_n2", "select qd.reap(10)") == 0
    assert database.value("postgres", "select status from qd.job") == "in_progress"


def test_a_disabled_user_is_out_at_once(database: Database) -> None:
    job = database.submit("bob")
    open_session = database.connect("bob")
    open_session.execute("select 1")
    with Client.sign_in(database.login("bob")) as client:
        assert client.count() == 1
        database.sql("boss", "select qd.disable_user('bob')")
        try:
            with pytest.raises(psycopg.OperationalError):
                open_session.execute("select * from qd.job")
            with pytest.raises(Disconnected):
                client.count()
            with pytest.raises(Disconnected, match="account is disabled"):
                Client.sign_in(database.login("bob"))
            wrong = dataclasses.replace(database.login("bob"), password="a guess")
            with pytest.raises(Disconnected) as caught:
                Client.sign_in(wrong)
            assert "disabled" not in str(caught.value)  # nobody learns that without the password
            assert database.value("boss", "select count(*) from qd.job where id = :job", job=job) == 1
        finally:
            database.sql("boss", "select qd.enable_user('bob')")
    with Client.sign_in(database.login("bob")) as client:
        assert client.count() == 1


def test_a_session_that_never_ends_its_transaction_is_ended(database: Database) -> None:
    """Busy or not: it would keep notifications and dead rows for ever."""
    bob = database.connect("bob")
    bob.execute("set statement_timeout = 0")
    text = str(database.value("postgres", "select pg_get_functiondef('qd.close_idle_sessions'::regproc)"))
    assert text.count("interval '4 hours'") == 1
    database.sql("postgres", text.replace("interval '4 hours'", "interval '0'"))
    pid = bob.info.backend_pid
    bob.pgconn.send_query(b"select pg_sleep(60)")
    database.sql("node_n2", "select qd.register_node(1, '{}', 'h', '0', 1, 1)")
    database.sql("node_n2", "select qd.reap(600)")
    result = bob.pgconn.get_result()
    assert result is not None
    assert b"terminating connection" in result.error_message
    assert database.value("postgres", "select count(*) from pg_stat_activity where pid = :pid", pid=pid) == 0


def test_what_everybody_may_do_on_a_fresh_server_is_closed(database: Database) -> None:
    for user in ("bob", "boss", "node_n1"):
        connection = database.connect(user)
        for text in (
            "select pg_logical_emit_message(false, 'x', repeat('x', 1000))",
            "select lo_create(0)",
            "select pg_advisory_lock(1)",
            "create temp table x (i int)",
            "set temp_file_limit = -1",
            "load 'auto_explain'",
            "set track_activities = off",
            "alter role bob connection limit -1",
            "alter role bob valid until 'infinity'",
            "reindex table qd.job",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(text.encode())
        with pytest.raises(errors.ObjectNotInPrerequisiteState):
            connection.execute("begin; select 1; prepare transaction 'forever'")
        connection.rollback()
    assert database.value("bob", "select current_setting('temp_file_limit')") == "50GB"


OBJECTS = {
    # what there may be in our schemas; anything else comes with a test of its own
    "tables": "relkind = 'r'",
    "indexes": "relkind = 'i'",
    "sequences": "relkind = 'S'",
    "composite types of the queue": "relkind = 'c' and relnamespace = 'queue'::regnamespace",
}


def test_there_is_no_other_kind_of_object(database: Database) -> None:
    """Views, foreign tables, partitions, operators, domains and the like would need checks that are not written."""
    known = " or ".join(f"({one})" for one in OBJECTS.values())
    schemas = "in ('qd'::regnamespace, 'queue'::regnamespace)"
    for text in (
        f"select relname from pg_class where relnamespace {schemas} and not ({known})",
        f"select oprname from pg_operator where oprnamespace {schemas}",
        f"select opcname from pg_opclass where opcnamespace {schemas}",
        f"select collname from pg_collation where collnamespace {schemas}",
        f"select conname from pg_conversion where connamespace {schemas}",
        f"select cfgname from pg_ts_config where cfgnamespace {schemas}",
        f"select typname from pg_type where typnamespace {schemas} and typtype in ('d', 'r', 'm')",
        f"select proname from pg_proc where pronamespace {schemas} and prokind <> 'f'",
        f"select proname from pg_proc where pronamespace {schemas} and proleakproof",
        "select castsource from pg_cast where oid >= 16384",
        "select evtname from pg_event_trigger",
        "select pubname from pg_publication",
        "select fdwname from pg_foreign_data_wrapper",
        "select srvname from pg_foreign_server",
        "select defaclrole from pg_default_acl",
        "select oid from pg_largeobject_metadata",
        "select lanname from pg_language where lanname not in ('plpgsql', 'sql', 'c', 'internal')",
        "select extname from pg_extension where extname <> 'plpgsql'",
        "select nspname from pg_namespace where nspname !~ '^pg_' and nspname not in"
        " ('qd', 'queue', 'public', 'information_schema')",
        "select relname from pg_class where relnamespace = 'public'::regnamespace",
        "select setrole::regrole from pg_db_role_setting where setrole::regrole::text !~ '^node_' and setrole <> 0",
    ):
        assert database.sql("postgres", text) == [], text


def test_what_a_public_jobs_code_says_stays_with_its_creator(database: Database) -> None:
    """The row of a public job is everybody's; its messages are its log's."""
    for public in (True, False):
        job = database.submit("alice", public=public)
        (task,) = database.tasks(job)
        database.start("n1", task)
        database.sql("node_n1", "select qd.set_progress(:task, 1, 0.5, 'fitting the secret')", task=task)
        row = database.sql("alice", "select progress, message from qd.job where id = :job", job=job)[0]
        assert tuple(row) == (0.5, "" if public else "fitting the secret")
        assert database.value("alice", "select message from qd.task where id = :t", t=task) == "fitting the secret"
        assert database.sql("bob", "select message from qd.task where id = :t", t=task) == []


def test_the_first_to_listen_keeps_nobody_waiting(database: Database) -> None:
    """Everybody's channels are there from the beginning; a transaction that stays open locks none of them."""
    bob = database.connect("bob", autocommit=False)
    mine = {row[0] for row in bob.execute("select * from qd.my_channels()").fetchall()}
    alice = database.connect("alice")
    alice.execute("set lock_timeout = '5s'")
    hers = {row[0] for row in alice.execute("select * from qd.my_channels()").fetchall()}
    assert len(mine) == len(hers) == 2
    assert len(mine & hers) == 1
    bob.rollback()


def test_people_who_take_all_connections_leave_some_to_the_nodes(database: Database) -> None:
    """40 are a person's; what is left when several do it is kept for nodes."""
    held = []
    try:

        def take_all() -> None:
            for number in range(120):
                held.append(database.connect(("alice", "bob", "boss")[number % 3]))

        with pytest.raises(psycopg.OperationalError, match=r"reserved for roles with privileges|too many"):
            take_all()
        assert len(held) > 50
        with pytest.raises(psycopg.OperationalError):
            database.connect("alice")
        for name in ("node_n1", "node_n2"):
            assert database.connect(name).execute("select login from qd.whoami()").fetchone() == (name,)
    finally:
        for one in held:
            one.close()
