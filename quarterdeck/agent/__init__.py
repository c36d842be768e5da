"""The agent: what makes a machine a node of the cluster.

`run` takes tasks from the queue, runs each in a process of its own that has no credentials, brings back what it prints,
its progress and its tables, and ends its whole process tree when it is to end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quarterdeck.database import Login

__all__ = ["run"]


def run(
    login: Login,
    name: str,
    slots: int = 2,
    labels: Sequence[str] = (),
    data: Path | None = None,
    *,
    runs: Mapping[str, str] | None = None,
    spool_limit: int = 256 << 20,
    run_as: str | None = None,
    hidden: Sequence[Path] = (),
) -> None:
    """Be the node `name` until SIGTERM or SIGINT.

    `login` is the node's own (`node_NAME`). `data` holds a folder for each node of this machine: its log, its lock,
    what its tasks write. `runs` maps a kind to the dotted name `module:function` of its run; by default the
    product's kinds. `spool_limit`: bytes that an attempt may have waiting on disk before it is held up.

    `run_as`: the account of the system that tasks run as, which only root can give; without one, tasks of root's node
    run as a number of their own each, those of another account's node as that one. `hidden`: folders and files that
    tasks are not to see, such as where passwords and the database are; on Linux, as far as the system lets us.

    Raises:
        Conflict: a node of that name runs already on this machine.
        Disconnected: the server refuses the sign-in, or does not answer within a minute.
        Invalid: a name, label or number that can't be used, or an account that is not there or can't get to Python.
    """
    # imported here: a task's process imports this package too, and needs no database driver
    from quarterdeck.agent.node import Node

    if data is None:
        from quarterdeck.server import default_data

        data = default_data().with_name("nodes" if default_data().name == "cluster" else "quarterdeck-nodes")
    if runs is None:
        from quarterdeck.kinds import KINDS

        runs = {kind.key: kind.run for kind in KINDS if kind.run}
    node = Node(login, name, slots, labels, data, runs=runs, spool_limit=spool_limit, run_as=run_as, hidden=hidden)
    node.run()
