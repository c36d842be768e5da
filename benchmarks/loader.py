"""A database of a million jobs and a log of ten million lines, made once and kept for the benchmarks of N1 and N3.

    python -m benchmarks.loader [--cache DIR] [--jobs 1000000] [--lines 10000000] [--tasks 1000]
                                [--together 1000] [--chunk 500] [--fresh]

The server lives in a folder of its own (`--cache`, else the environment's QUARTERDECK_BENCH_CACHE, else below the
temporary folder) with the settings that people run, and is stopped after each use. What is made does not depend on
chance: the same sizes give the same rows.

Jobs: fifty people, the first of whom (`PERSON`) has the most, about one in thirteen; a fifth is public; two years up to
now; seven kinds, of which factors are two fifths; about one in a thousand is queued or runs. The log: `tasks` tasks, of
which `together` write at the same time (all, unless told otherwise: the worst case), in chunks of 500 lines of about
80 characters; one line in 1,000 is an error, one in 200 a warning; `RARE` maps a rare word to how often it occurs.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import fcntl
import hashlib
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import psutil
import psycopg
import sqlalchemy as sa

from quarterdeck import admin
from quarterdeck.database import Login
from quarterdeck.job import Level, Stream
from quarterdeck.lines import CHUNK_LINES, encode_lines
from quarterdeck.schema import sql
from quarterdeck.server import Server
from quarterdeck.trigrams import trigrams

PERSON = "person01"
ADMIN = "boss"
PASSWORD = "a password of the benchmark"
RARE = {"xylophone": 1, "zeppelin": 20, "quagga": 10_000}
"""Words and the number of lines that hold them; a line with a rarer word never holds a more frequent one."""

DATABASE = "quarterdeck"
_FORMAT = 5
"""Raise it when what is made changes, so that an older cache is made again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    jobs: int = 1_000_000
    lines: int = 10_000_000
    tasks: int = 1_000
    together: int = 1_000
    chunk: int = CHUNK_LINES


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A running server with the data; `log_job` is the job with the long log."""

    port: int
    log_job: int
    sizes: Sizes

    def login(self, user: str = PERSON) -> Login:
        return Login(host="127.0.0.1", port=self.port, database=DATABASE, user=user, password=PASSWORD)


def arguments(description: str | None = None) -> argparse.ArgumentParser:
    """The options that say which database."""
    parser = argparse.ArgumentParser(description=(description or "").split("\n")[0])
    default = os.environ.get("QUARTERDECK_BENCH_CACHE") or str(Path(tempfile.gettempdir()) / "quarterdeck-bench-cache")
    parser.add_argument("--cache", type=Path, default=Path(default))
    parser.add_argument("--jobs", type=int, default=Sizes().jobs)
    parser.add_argument("--lines", type=int, default=Sizes().lines)
    parser.add_argument("--tasks", type=int, default=Sizes().tasks)
    parser.add_argument("--together", type=int, default=Sizes().together)
    parser.add_argument("--chunk", type=int, default=Sizes().chunk, help="lines of a chunk, 500 at most")
    parser.add_argument("--fresh", action="store_true", help="make the data again")
    return parser


@contextlib.contextmanager
def loaded(options: argparse.Namespace) -> Iterator[Loaded]:
    """The database that the options ask for, made if it is not there; its server runs as long as the context."""
    sizes = Sizes(
        jobs=options.jobs, lines=options.lines, tasks=options.tasks, together=options.together, chunk=options.chunk
    )
    tables = hashlib.sha256(sql("tables.sql").encode()).hexdigest()[:8]
    name = f"{_FORMAT}-{tables}-" + "-".join(str(size) for size in asdict(sizes).values())
    folder = options.cache / name
    mark = folder / "loaded.json"
    folder.mkdir(parents=True, exist_ok=True)
    for one in (options.cache, folder):
        one.chmod(0o755)
    server = Server.at(folder / "server")
    with (folder / "lock").open("w") as lock:
        if _alone(lock):
            server.stop("immediate")  # of a benchmark that was killed
            fresh = options.fresh or not mark.exists()
            if fresh:
                _clear(options.cache, folder)
            started = server.ensure()
            if fresh:
                job = _load(started.conninfo("postgres"), started.conninfo(DATABASE), sizes)
                mark.write_text(json.dumps({"log_job": job}))
            engine = _superuser(started.conninfo(DATABASE))
            admin.upgrade_schema(engine)  # functions and policies of today
            engine.dispose()
        fcntl.flock(lock, fcntl.LOCK_SH)  # others may use it at the same time; while it is being made they wait here
        started = server.ensure()
        try:
            yield Loaded(port=started.port, log_job=json.loads(mark.read_text())["log_job"], sizes=sizes)
        finally:
            if _alone(lock):
                server.stop("fast")


def _alone(lock: IO[str]) -> bool:
    """Whether nobody else holds the lock; then it is ours alone."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _clear(cache: Path, folder: Path) -> None:
    """Remove what a half-made database left in `folder`, and other databases that nobody uses: one is large enough."""
    shutil.rmtree(folder / "server", ignore_errors=True)
    (folder / "loaded.json").unlink(missing_ok=True)
    for old in cache.glob("[0-9]*-*"):
        if old == folder:
            continue
        with (old / "lock").open("w") as lock:
            if _alone(lock):
                Server.at(old / "server").stop("immediate")
                shutil.rmtree(old)


def _superuser(conninfo: str) -> sa.Engine:
    return sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo))


def _load(maintenance: str, conninfo: str, sizes: Sizes) -> int:
    began = time.perf_counter()

    def told(what: str) -> None:
        print(f"  {time.perf_counter() - began:6.1f} s  {what}", flush=True)

    with psycopg.connect(maintenance, autocommit=True) as connection:
        connection.execute(f"create database {DATABASE}".encode())
    engine = _superuser(conninfo)
    admin.create_schema(engine)
    for number in range(1, 51):
        admin.create_user(engine, f"person{number:02}", PASSWORD)
    admin.create_user(engine, ADMIN, PASSWORD, True)
    engine.dispose()
    told("schema and people")
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("set maintenance_work_mem = '512MB'; set work_mem = '256MB'")
        with _bare(connection, "qd.job", "qd.job_detail", "qd.task"):
            _jobs(connection, sizes.jobs)
        told(f"{sizes.jobs:,} jobs with details and tasks")
        job = _log(connection, sizes)
        told(f"{sizes.lines:,} log lines of {sizes.tasks:,} tasks")
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")
        told("vacuum, analyze")
        sizes_of = (
            "select relname, pg_size_pretty(pg_total_relation_size(oid)), pg_size_pretty(pg_relation_size(oid)),"
            " pg_size_pretty(pg_indexes_size(oid))"
            " from pg_class where relnamespace = 'qd'::regnamespace and relkind = 'r'"
            " order by pg_total_relation_size(oid) desc limit 4"
        )
        for table, total, rows, indexes in connection.execute(sizes_of).fetchall():
            told(f"{table}: {total} (rows {rows}, indexes {indexes})")
    memory = psutil.Process().memory_info().rss
    told(f"memory of the loader {memory >> 20} MB")
    return job


@contextlib.contextmanager
def _bare(connection: psycopg.Connection[tuple[object, ...]], *tables: str) -> Iterator[None]:
    """Without triggers and secondary indexes while rows come in; the indexes are built after."""
    found = connection.execute(
        "select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) from pg_index as i"
        " where i.indrelid = any (%s::regclass[])"
        " and not exists (select from pg_constraint as c where c.conindid = i.indexrelid)",
        (list(tables),),
    ).fetchall()
    for name, _ in found:
        connection.execute(f"drop index {name}".encode())
    connection.execute("set session_replication_role = replica")
    yield
    connection.execute("reset session_replication_role")
    for _, definition in found:
        connection.execute(str(definition).encode())


_SHARES = {
    "factor": 40,
    "backtest": 20,
    "evaluation": 15,
    "data_import": 10,
    "attribution": 5,
    "workflow": 5,
    "template": 5,
}
_STATUSES = {"success": 80, "failed": 12, "partially_failed": 4, "terminated": 4}
_WORDS = ("momentum", "reversal", "Value", "quality", "size", "carry", "Beta", "liquidity", "skew", "turnover")
_DATA = ("minute", "daily", "tick", "snapshot")
_COPY_JOB = (
    "copy qd.job (id, kind, name, subject, creator, is_public, status, origin, nodes, node_names, created, started,"
    " ended, progress, backtest_type, backtest_start, backtest_end, data_type, strategy_type) from stdin"
)


def _jobs(connection: psycopg.Connection[tuple[object, ...]], count: int) -> None:
    chance = random.Random(20260105)
    people = [f"person{number:02}" for number in range(1, 51)]
    often = [1 / (number + 5) for number in range(50)]
    now = dt.datetime.now(dt.UTC).replace(microsecond=0)
    step = dt.timedelta(days=730) / count
    day = dt.timedelta(days=1)
    with connection.cursor() as cursor, cursor.copy(_COPY_JOB) as copy:
        for start in range(0, count, 10_000):
            size = min(10_000, count - start)
            kinds = chance.choices(list(_SHARES), list(_SHARES.values()), k=size)
            creators = chance.choices(people, often, k=size)
            statuses = chance.choices(list(_STATUSES), list(_STATUSES.values()), k=size)
            origins = chance.choices(["single", "batch", "workflow", "rerun"], [50, 25, 20, 5], k=size)
            for place in range(size):
                number = start + place
                kind, status = kinds[place], statuses[place]
                draw = chance.random()
                created = now - step * (count - number)
                begun = created + dt.timedelta(microseconds=int(20_000 + 30_000_000 * chance.random() ** 8))
                ended = begun + dt.timedelta(microseconds=int(1000 * 10 ** (1 + 6 * chance.random())))
                # the newest ones are at work, and a few old ones wait
                open_ = number > count - count // 2000 or draw < 0.0005
                if open_:
                    status = "in_progress" if number % 2 else "queued"
                backtest = kind == "backtest"
                name = f"{_WORDS[number % 10]} {chance.randrange(1, 2000)} {chance.choice(_WORDS)}"
                if number % 100_000 == 4_321:
                    name = f"unicorn {name}"  # a rare word to search for
                node = chance.randrange(1, 33)
                nodes = [f"n{node}"] if draw > 0.1 else [f"n{node}", f"n{1 + node % 32}", f"n{1 + (node + 7) % 32}"]
                if status == "queued":
                    nodes = []
                first = created - day * chance.randrange(200, 4000)
                copy.write_row(
                    (
                        number + 1,
                        kind,
                        name,
                        f"alpha_{chance.randrange(5000)}" if kind in ("factor", "evaluation") else "",
                        creators[place],
                        chance.random() < 0.2,
                        status,
                        origins[place],
                        nodes,
                        ",".join(nodes)[:60],
                        created,
                        None if status == "queued" else begun,
                        None if open_ else ended,
                        None if open_ else 1.0,
                        ("real-time" if draw < 0.1 else "historical") if backtest else "",
                        first if backtest else None,
                        first + day * 200 if backtest else None,
                        chance.choice(["minute", "daily", "tick", "snapshot"])
                        if backtest or kind == "template"
                        else "",
                        chance.choice(["stock", "futures", "option", "bond"]) if backtest else "",
                    )
                )
    connection.execute("select setval(pg_get_serial_sequence('qd.job', 'id'), %s)", (count,))
    connection.execute(
        "insert into qd.job_detail (job_id, creator, params)"
        " select id, creator, jsonb_build_object('table', 'prices', 'periods', array[1, 5, 20], 'seed', id) from qd.job"
    )
    connection.execute(
        "insert into qd.task (job_id, creator, ordinal, name, status, node, created, started, ended)"
        " select j.id, j.creator, 0, 'task 0', case j.status when 'partially_failed' then 'failed' else j.status end,"
        " j.nodes[1], j.created, j.started, j.ended from qd.job as j where j.status <> 'results_deleted'"
    )


_BASE = 1_767_600_000_000_000  # 2026-01-05 08:00 UTC
_LINE = 20
"""Microseconds from one line of the whole log to the next."""


def _log(connection: psycopg.Connection[tuple[object, ...]], sizes: Sizes) -> int:
    """The job with the long log. Line k of all is written at _BASE + _LINE * k by one of the tasks at work then."""
    made = connection.execute(
        "insert into qd.job (kind, name, creator, status, created, started, ended, nodes) values ('backtest',"
        " 'the long log', %s, 'success', now(), now(), now(), '{n1,n2}') returning id",
        (PERSON,),
    ).fetchone()
    job = int(str(made[0])) if made else 0
    tasks = [
        int(str(one[0]))
        for one in connection.execute(
            "insert into qd.task (job_id, creator, ordinal, name, status) select %s, %s, g, 'combination ' || g,"
            " 'success' from generate_series(0, %s - 1) as g returning id",
            (job, PERSON, sizes.tasks),
        ).fetchall()
    ]
    each = sizes.lines // sizes.tasks
    rare = _rare(sizes.lines)
    columns = "job_id, task_id, creator, attempt, first_line, lines, time_min, time_max, levels, body, trigrams"
    with connection.cursor() as cursor, cursor.copy(f"copy qd.log_chunk ({columns}) from stdin".encode()) as copy:
        for wave in range(0, sizes.tasks, sizes.together):
            group = tasks[wave : wave + sizes.together]
            width = len(group)
            # tasks don't fill their chunks at the same moment: each one's first chunk has another length
            cuts = [[0, *range(1 + sizes.chunk * place // width, each, sizes.chunk), each] for place in range(width)]
            order = sorted((cut[1 + n], place, n) for place, cut in enumerate(cuts) for n in range(len(cut) - 1))
            for _, place, n in order:
                lines = []
                begin, end = cuts[place][n], cuts[place][n + 1]
                for number in range(begin, end):
                    k = wave * each + number * width + (place * 7 + number * 13) % width
                    level = Level.ERROR if k % 1000 == 777 else Level.WARNING if k % 200 == 5 else Level.INFO
                    text = (
                        f"step {number:6} price {k * 37 % 100_000:5} position {k * 11 % 1000:4} equity "
                        f"{1_000_000 + k % 99_991:8} {_WORDS[k % 10]} {rare.get(k, 'done')}"
                    )
                    lines.append((_BASE + _LINE * k, Stream.STDOUT, level, text))
                chunk = encode_lines(lines)
                row = (job, group[place], PERSON, 1, begin, chunk.lines, chunk.time_min, chunk.time_max)
                copy.write_row((*row, list(chunk.levels), chunk.body, trigrams(chunk.body)))
    return job


def _rare(lines: int) -> dict[int, str]:
    """Which line of all holds which rare word."""
    found: dict[int, str] = {}
    for word, count in sorted(RARE.items(), key=lambda one: -one[1]):
        for n in range(min(count, lines)):
            found[(2 * n + 1) * lines // (2 * count) + 3] = word
    return found


def main() -> None:
    options = arguments(__doc__).parse_args()
    with loaded(options) as made:
        print(f"port {made.port}, job with the long log {made.log_job}")


if __name__ == "__main__":
    main()
