"""Commands on the cluster: this computer's own, nodes, users, schema, connections (C1)."""

from __future__ import annotations

import datetime as dt
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quarterdeck.cli.output import AsJson, print_json, print_table, say, write
from quarterdeck.errors import Invalid, QuarterdeckError

if TYPE_CHECKING:
    import sqlalchemy as sa

    from quarterdeck.profile import Profile

__all__ = ["add_to"]

Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The cluster's folder; without it the user's own.")
]
Name = Annotated[str, typer.Argument(metavar="NAME")]
RunAs = Annotated[
    str | None,
    typer.Option(
        "--run-as",
        metavar="ACCOUNT",
        help="Started by root: the system's account that tasks run as; without it each has a number of its own.",
    ),
]
FromInput = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input instead of asking for it.")
]
_NO_TIME = dt.timedelta()


def add_to(app: typer.Typer) -> None:
    """Add these commands."""
    groups: dict[str, tuple[str, dict[str, Any]]] = {
        "cluster": ("The cluster on this computer.", {"start": start, "stop": stop, "status": status}),
        "node": (
            "Nodes of the cluster.",
            {"start": node_start, "list": node_list, "drain": node_drain, "resume": node_resume},
        ),
        "user": (
            "Accounts. Admins only.",
            {
                "add": user_add,
                "list": user_list,
                "disable": user_disable,
                "enable": user_enable,
                "password": user_password,
            },
        ),
        "schema": ("The database's schema.", {"upgrade": schema_upgrade}),
        "profile": ("Connections.", {"add": profile_add, "list": profile_list, "remove": profile_remove}),
    }
    for name, (text, commands) in groups.items():
        group = typer.Typer(help=text, no_args_is_help=True)
        for command, function in commands.items():
            group.command(command)(function)
        app.add_typer(group, name=name)


# --- the cluster on this computer -----------------------------------------------------------------------------------


def start(
    context: typer.Context,
    data: Data = None,
    slots: Annotated[
        int | None, typer.Option("--slots", min=1, max=1024, help="Tasks that run at once; without it one a processor.")
    ] = None,
    run_as: RunAs = None,
) -> None:
    """Start the database server and a node on this computer; the first time, make them.

    The profile 'local' (or the one that --profile names) connects to it.
    """
    from quarterdeck import embedded, profile

    cluster = embedded.start(
        data, profile_name=context.obj.profile or profile.LOCAL, slots=slots, run_as=run_as, said=say
    )
    for remark in cluster.said:
        say(remark)
    nodes = ", ".join(node.name for node in cluster.nodes if node.pid is not None)
    say(f"the cluster runs: port {cluster.port}, nodes {nodes}, folder {cluster.data}, profile {cluster.profile.name}")


def stop(data: Data = None) -> None:
    """Stop this computer's nodes, which ends their tasks, and the database server."""
    from quarterdeck import embedded

    say("the cluster has stopped" if embedded.stop(data, said=say) else "the cluster does not run")


def status(data: Data = None, as_json: AsJson = False) -> None:
    """Say whether this computer's cluster runs; the exit code is 0 if it does, else 3.

    JSON: running, folder, exists, pid, port, nodes (name, pid).
    """
    from quarterdeck import embedded

    found = embedded.status(data)
    if as_json:
        print_json(
            {
                "running": found.running,
                "folder": str(found.data),
                "exists": found.exists,
                "pid": found.pid,
                "port": found.port,
                "nodes": [{"name": node.name, "pid": node.pid} for node in found.nodes],
            }
        )
    elif found.running:
        write(f"the cluster in {found.data} runs: process {found.pid}, port {found.port}")
        for node in found.nodes:
            write(f"node {node.name}: {'down' if node.pid is None else f'process {node.pid}'}")
    else:
        write(f"the cluster in {found.data} does not run" if found.exists else f"there is no cluster in {found.data}")
    if not found.running:
        raise typer.Exit(3)


# --- nodes ----------------------------------------------------------------------------------------------------------


def node_start(
    context: typer.Context,
    name: Annotated[str, typer.Option("--name", help="The node's name: up to 30 small letters, digits, hyphens.")],
    slots: Annotated[int, typer.Option("--slots", min=1, max=1024, help="Tasks that run at once.")] = max(
        2, os.cpu_count() or 2
    ),
    label: Annotated[
        list[str] | None, typer.Option("--label", help="What the node has, such as gpu. May be repeated.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DIR", help="Where the nodes of this machine keep their files.")
    ] = None,
    run_as: RunAs = None,
) -> None:
    """Be a node of the cluster until a signal comes. The profile's user must be an admin.

    The node's login gets a fresh password, which is kept in memory only.
    """
    import dataclasses

    from quarterdeck import admin, agent, embedded
    from quarterdeck.agent.account import Accounts
    from quarterdeck.agent.process import undumpable
    from quarterdeck.session import Session

    undumpable()  # before a password is in it
    Accounts(run_as)
    with context.obj.client() as client:
        session: Session = client
        password = admin.create_node(session.engine, name)
        login = dataclasses.replace(session.login, user=f"node_{name}", password=password)
    say(f"node {name} with {slots} slots works for {login.host}:{login.port}; end it by a signal (Ctrl+C)")
    agent.run(login, name, slots, tuple(label or ()), data, run_as=run_as, hidden=embedded.secret_places())


def node_list(context: typer.Context, as_json: AsJson = False) -> None:
    """List the nodes with their load.

    JSON: name, state, slots, running, labels, host, heartbeat, cpus, load, memory_total, memory_free, version.
    """
    from quarterdeck.cli.output import size_text, time_json
    from quarterdeck.columns import duration_text

    with context.obj.client() as client:
        found = client.nodes()
    if as_json:
        names = ("name", "state", "slots", "running", "host", "cpus", "load", "memory_total", "memory_free", "version")
        print_json(
            [
                {name: getattr(node, name) for name in names}
                | {"labels": list(node.labels), "heartbeat": time_json(node.heartbeat)}
                for node in found
            ]
        )
        return
    now = client.now()
    print_table(
        ["Node", "State", "Running", "Slots", "Labels", "Host", "Load", "Memory Free", "Version", "Heard Of"],
        [
            (
                node.name,
                node.state,
                str(node.running),
                str(node.slots),
                ", ".join(node.labels),
                node.host,
                f"{node.load:.2f} of {node.cpus}",
                f"{size_text(node.memory_free)} of {size_text(node.memory_total)}",
                node.version,
                "never" if node.heartbeat is None else f"{duration_text(max(now - node.heartbeat, _NO_TIME))} ago",
            )
            for node in found
        ],
        right=(2, 3, 6),
    )


def node_drain(context: typer.Context, name: Name) -> None:
    """Let a node take no new tasks; those that run there go on to their end. Admins only."""
    with context.obj.client() as client:
        client.drain(name)
    say(f"node {name} takes no new tasks")


def node_resume(context: typer.Context, name: Name) -> None:
    """Let a drained node take tasks again. Admins only."""
    with context.obj.client() as client:
        client.drain(name, False)
    say(f"node {name} takes tasks again")


# --- users ----------------------------------------------------------------------------------------------------------


def user_add(
    context: typer.Context,
    name: Name,
    is_admin: Annotated[bool, typer.Option("--admin", help="An administrator.")] = False,
    from_input: FromInput = False,
) -> None:
    """Make an account; its password is asked for twice."""
    from quarterdeck import admin

    with context.obj.client() as client:
        admin.create_user(client.engine, name, _new_password(f"Password of {name}", from_input), is_admin)
    say(f"made the account {name}{' (admin)' if is_admin else ''}")


def user_list(context: typer.Context, as_json: AsJson = False) -> None:
    """List the accounts. JSON: name, admin, enabled."""
    from quarterdeck import admin
    from quarterdeck.errors import Refused

    with context.obj.client() as client:
        if not client.me.admin:
            raise Refused("only an administrator may see the accounts")
        found = admin.list_users(client.engine)
    if as_json:
        print_json([{"name": user.name, "admin": user.admin, "enabled": user.enabled} for user in found])
        return
    print_table(
        ["User", "Role", "Account"],
        [(user.name, "admin" if user.admin else "user", "open" if user.enabled else "disabled") for user in found],
    )


def user_disable(context: typer.Context, name: Name) -> None:
    """Close an account: its sessions end, it can't sign in; its jobs stay."""
    from quarterdeck import admin

    with context.obj.client() as client:
        admin.disable_user(client.engine, name)
    say(f"disabled the account {name}")


def user_enable(context: typer.Context, name: Name) -> None:
    """Open an account again."""
    from quarterdeck import admin

    with context.obj.client() as client:
        admin.enable_user(client.engine, name)
    say(f"enabled the account {name}")


def user_password(context: typer.Context, name: Name, from_input: FromInput = False) -> None:
    """Give an account a new password, asked for twice."""
    from quarterdeck import admin

    with context.obj.client() as client:
        admin.set_password(client.engine, name, _new_password(f"New password of {name}", from_input))
    say(f"the account {name} has a new password")


def _new_password(prompt: str, from_input: bool) -> str:
    if from_input:
        return _password_line()
    if not sys.stdin.isatty():
        raise Invalid("there is no terminal to ask for the password: pipe it in and say --password-stdin")
    return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=True, err=True))


def _password_line() -> str:
    password = sys.stdin.readline().rstrip("\r\n")
    if not password:
        raise Invalid("standard input holds no password")
    return password


# --- schema ---------------------------------------------------------------------------------------------------------


def schema_upgrade(
    context: typer.Context,
    superuser: Annotated[
        str | None,
        typer.Option("--superuser", metavar="NAME", help="The server's superuser, whose password is asked for."),
    ] = None,
    from_input: FromInput = False,
) -> None:
    """Bring the database of the profile to this version's schema; make it where there is none.

    Only the server's superuser may. The cluster on this computer needs no call: it does so whenever it starts.
    """
    import dataclasses

    from quarterdeck import admin, database, profile
    from quarterdeck.session import login_of

    chosen = profile.load(context.obj.profile)
    if superuser is None:
        if chosen.name == profile.LOCAL:
            raise Invalid(
                "the cluster on this computer upgrades its schema when it starts: "
                "'quarterdeck cluster stop', then 'quarterdeck cluster start'"
            )
        raise Invalid("name the server's superuser: quarterdeck schema upgrade --superuser postgres")
    if from_input:
        password = _password_line()
    elif sys.stdin.isatty():
        password = str(typer.prompt(f"Password of {superuser} at {chosen.host}", hide_input=True, err=True))
    else:
        raise Invalid("there is no terminal to ask for the password: pipe it in and say --password-stdin")
    login = dataclasses.replace(login_of(chosen, password), user=superuser)
    engine: sa.Engine = database.engine(login, statement_timeout=0)
    try:
        version = admin.upgrade_schema(engine)
    finally:
        engine.dispose()
    say(f"the schema of {chosen.database} at {chosen.host}:{chosen.port} is {version}")


# --- connections ----------------------------------------------------------------------------------------------------


def profile_add(
    name: Name,
    user: Annotated[str, typer.Option("--user", help="Your name on the server.")],
    host: Annotated[str, typer.Option("--host", help="The server's name or address.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port")] = 5432,
    database: Annotated[str, typer.Option("--database")] = "quarterdeck",
    tls: Annotated[
        str | None,
        typer.Option(
            "--tls", help="verify-full, or loopback (no TLS: this computer only); by default as the host needs."
        ),
    ] = None,
    root_certificate: Annotated[
        Path | None, typer.Option("--root-certificate", metavar="FILE", help="The authority that signed the server's.")
    ] = None,
    from_input: FromInput = False,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Save it without signing in first.")] = False,
) -> None:
    """Save a connection; the password is asked for, tried, and kept in the system's keyring."""
    from quarterdeck import profile
    from quarterdeck.session import Session

    if root_certificate is not None and not root_certificate.is_file():
        raise Invalid(f"there is no certificate file {root_certificate}")
    chosen = profile.Profile(
        name=name,
        host=host,
        port=port,
        database=database,
        user=user,
        tls=tls or ("loopback" if profile.is_loopback(host) else "verify-full"),  # type: ignore[arg-type]
        root_certificate=root_certificate,
    )
    if from_input:
        password = _password_line()
    elif sys.stdin.isatty():
        password = str(typer.prompt(f"Password of {user} at {host}", hide_input=True, err=True))
    else:
        raise Invalid("there is no terminal to ask for the password: pipe it in and say --password-stdin")
    if not unchecked:
        Session.connect(chosen, password=password).close()
    kept = profile.save(chosen, password)
    say(f"saved the profile {name}")
    if kept is not None:
        say(f"this system has no keyring: the password is in {kept}, which only you can read")


def profile_list(as_json: AsJson = False) -> None:
    """List the saved connections. JSON: name, host, port, database, user, tls, root_certificate."""
    from quarterdeck import profile

    found: list[Profile] = []
    for name in profile.names():
        try:
            found.append(profile.load(name))
        except QuarterdeckError as error:
            say(str(error))
    if as_json:
        print_json(
            [
                {
                    "name": one.name,
                    "host": one.host,
                    "port": one.port,
                    "database": one.database,
                    "user": one.user,
                    "tls": one.tls,
                    "root_certificate": None if one.root_certificate is None else str(one.root_certificate),
                }
                for one in found
            ]
        )
        return
    print_table(
        ["Profile", "Server", "Database", "User", "TLS"],
        [(one.name, f"{one.host}:{one.port}", one.database, one.user, one.tls) for one in found],
    )


def profile_remove(name: Name) -> None:
    """Forget a connection and its password."""
    from quarterdeck import profile

    profile.remove(name)
    say(f"removed the profile {name}")
