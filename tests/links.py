"""A network between a client and the server that a test cuts, or lets drop everything in silence."""

from __future__ import annotations

import selectors
import socket
import threading
from types import TracebackType
from typing import Self

__all__ = ["Link"]


class Link:
    """Passes TCP connections at `port` on to the server's port. A context manager.

    `silent`: it takes what is sent and passes nothing on, closing nothing, like a network whose ends don't know.
    `cut()`: closes all connections and refuses new ones, until `mend()`.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.silent = False
        self.sent = b""
        """All that clients sent so far."""
        self._refusing = False
        self._ended = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._peers: dict[socket.socket, socket.socket | None] = {}
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._thread.join(10)
        self.cut()
        self._listener.close()
        self._selector.close()

    def cut(self) -> None:
        with self._lock:
            self._refusing = True
            for one in list(self._peers):
                self._close(one)

    def mend(self) -> None:
        with self._lock:
            self._refusing = False
        self.silent = False

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.02):
                with self._lock:
                    one = key.fileobj
                    if one is self._listener:
                        self._accept()
                    elif isinstance(one, socket.socket) and one in self._peers:
                        self._pass_on(one)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        if self._refusing:
            client.close()
            return
        if self.silent:
            self._peers[client] = None
        else:
            server = socket.create_connection(("127.0.0.1", self._target), 5)
            self._peers[client], self._peers[server] = server, client
            self._selector.register(server, selectors.EVENT_READ, "server")
        self._selector.register(client, selectors.EVENT_READ, "client")

    def _pass_on(self, one: socket.socket) -> None:
        try:
            data = one.recv(1 << 16)
        except OSError:
            data = b""
        peer = self._peers[one]
        if not data:
            self._close(one)
        elif not self.silent:
            if self._selector.get_key(one).data == "client":
                self.sent += data
            if peer is not None:
                peer.sendall(data)

    def _close(self, one: socket.socket) -> None:
        for end in (one, self._peers.get(one)):
            if end is not None and end in self._peers:
                del self._peers[end]
                self._selector.unregister(end)
                end.close()
