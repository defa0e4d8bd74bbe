"""A relay on a TCP port that notes when the first request for an answer comes by."""

from __future__ import annotations

import socket
import threading
from time import perf_counter
from urllib.parse import urlsplit


class Relay:
    """Hands connections on to the server at `url`; `url` of its own takes the server's place."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._server = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}{parts.path}"
        self.first_s: float | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return  # closed
            server = socket.create_connection(self._server)
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                if self.first_s is None and piece.startswith(b"POST "):
                    self.first_s = perf_counter()
                sink.sendall(piece)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the other side has gone

    def close(self) -> None:
        """Take no more connections."""
        self._listening.close()
