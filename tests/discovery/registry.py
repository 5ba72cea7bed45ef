"""A scripted registry on a real socket, and a proxy that can be cut."""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit


class Exchange:
    """One request, and what is answered to it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self._handler = handler
        parts = urlsplit(handler.path)
        self.method = handler.command
        self.path = parts.path
        self.query = dict(parse_qsl(parts.query))
        self.headers = handler.headers
        length = int(handler.headers.get("content-length") or 0)
        self.json: Any = json.loads(handler.rfile.read(length)) if length else None

    def answer(self, body: Any, status: int = 200) -> None:
        """A whole answer: an object as JSON, or bytes."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._handler.send_response(status)
        self._handler.send_header("content-length", str(len(raw)))
        self._handler.end_headers()
        self._handler.wfile.write(raw)

    def begin(self) -> None:
        """The head of an answer that goes on and on."""
        self._handler.send_response(200)
        self._handler.send_header("transfer-encoding", "chunked")
        self._handler.end_headers()

    def send(self, *lines: Any) -> None:
        """Some lines of it: objects as JSON, or bytes as they are."""
        for line in lines:
            raw = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            self._handler.wfile.write(b"%x\r\n%b\r\n" % (len(raw), raw))
        self._handler.wfile.flush()

    def end(self) -> None:
        """Its regular end."""
        self._handler.wfile.write(b"0\r\n\r\n")

    @property
    def gone(self) -> bool:
        """Whether the client has hung up."""
        # Of a client that says no more, whatever comes is its end.
        return bool(select.select([self._handler.connection], [], [], 0.005)[0])

    def hold(self, until: Callable[[], bool] = lambda: False) -> None:
        """Say nothing until something holds, or the client has hung up."""
        while not until() and not self.gone:
            pass


class FakeRegistry:
    """Answers as `script` does, over TLS with a `tls` context; keeps the exchanges."""

    def __init__(
        self, script: Callable[[Exchange], None], *, tls: ssl.SSLContext | None = None
    ) -> None:
        self.exchanges: list[Exchange] = []
        self.script = script
        self.open = 0
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                exchange = Exchange(self)
                registry.exchanges.append(exchange)
                registry.open += 1
                self.close_connection = True
                try:
                    registry.script(exchange)
                except ConnectionError:
                    pass
                finally:
                    registry.open -= 1

            do_POST = do_GET

            def log_message(self, *_args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Proxy:
    """A TCP proxy before a server: `cut` is a network that fails, `restore` one that is back."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._lock = threading.Lock()
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()  # guarded by _lock
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._cut = False
        self.sent = b""
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._pairs)

    def cut(self) -> None:
        """Break all connections, and every new one."""
        with self._lock:
            self._cut = True
            for pair in self._pairs:
                self._break(pair)

    def restore(self) -> None:
        """Let connections through again."""
        self._cut = False

    def _break(self, pair: tuple[socket.socket, socket.socket]) -> None:
        for end in pair:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._cut:
                    client.close()
                    continue
                try:
                    server = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    client.close()
                    continue
                self._pairs.add((client, server))
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        try:
            while True:
                for source in select.select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        self.sent += data
                    other[source].sendall(data)
        except OSError:
            pass
        finally:
            with self._lock:
                self._pairs.discard((client, server))
            client.close()
            server.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()
