"""A TCP relay: an outage for a server that would forget what it holds if it were stopped."""

from __future__ import annotations

import contextlib
import socket
import threading

_HOST = "127.0.0.1"


class Relay:
    """Passes connections on from one port of this computer to another, while it is open.

    Args:
        port: Where it listens.
        target: Where the server listens.
    """

    def __init__(self, port: int, target: int) -> None:
        self._port, self._target = port, target
        self._sockets: set[socket.socket] = set()

    def open(self) -> None:
        """Accepts connections from now on."""
        self._listener = socket.create_server((_HOST, self._port), backlog=128)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Breaks all connections and refuses others from now on."""
        for one in (self._listener, *self._sockets):
            _shut(one)
        self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # of the listener, when it is closed
            while True:
                near, _ = listener.accept()
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection((_HOST, self._target))
        except OSError:
            near.close()
            return
        self._sockets |= {near, far}
        for ends in ((near, far), (far, near)):
            threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        for one in (source, sink):
            _shut(one)
        self._sockets -= {source, sink}  # the second of the two directions lets go of both, which closes them


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
