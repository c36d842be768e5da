"""A node's process: what to be comes as one line of JSON on standard input, so that the password is on no command line
and in no environment. See `quarterdeck.embedded`, which starts it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> int:
    """Be a node; 0 after a signal, 1 with one sentence on standard error where it can't be one."""
    from quarterdeck.agent import process

    process.undumpable()  # before the password is in it
    from quarterdeck import agent
    from quarterdeck.database import Login
    from quarterdeck.errors import QuarterdeckError

    asked: dict[str, Any] = json.loads(sys.stdin.readline())
    sys.stdin.close()
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    certificate = asked["root_certificate"]
    login = Login(**asked["login"], root_certificate=None if certificate is None else Path(certificate))
    try:
        agent.run(
            login,
            asked["name"],
            asked["slots"],
            asked["labels"],
            Path(asked["data"]),
            run_as=asked["run_as"],
            hidden=[Path(one) for one in asked["hidden"]],
        )
    except QuarterdeckError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
