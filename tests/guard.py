"""What ends with the test process, however that ends."""

from __future__ import annotations

import subprocess
import sys

from quarterdeck.server import Server

__all__ = ["ended_with_us"]


class ended_with_us:  # noqa: N801 - reads as a statement
    """Ends the server even if the test process is killed: a child waits for our end of its pipe to close."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> None:
        if sys.platform != "win32":
            script = 'read -r done || { kill -QUIT "$1"; rm -rf -- "$2"; }'
            command = ["/bin/sh", "-c", script, "sh", str(self._server.running()), str(self._server.data.parent)]
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)

    def __exit__(self, *_: object) -> None:
        if self._child:
            self._child.communicate(b"done\n", timeout=10)
