"""The page on a port of its own, for a service that has no web server."""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
import threading
import weakref
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from ..errors import ConfigurationError
from .apps import WSGIApp, wsgi_app
from .picture import Balancers

__all__ = ["StatusServer", "serve"]

logger = logging.getLogger("aiclient")


class _Handler(WSGIRequestHandler):
    timeout = 10  # a client that says nothing holds a thread no longer

    def log_message(self, format: str, *args: object) -> None:
        logger.debug("status page: %s", format % args)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # Not WSGIServer's own: it asks the DNS for the name of this host.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("status page: a client went away", exc_info=True)


class _Server6(_Server):
    address_family = socket.AF_INET6


class StatusServer:
    """A status page on a port, until `close()` or the end of the `with` block.

    Attributes:
        host, port: where it listens.
        url: where a browser on this machine finds it.
    """

    def __init__(self, app: WSGIApp, host: str, port: int) -> None:
        kind = _Server6 if ":" in host else _Server
        self._server = kind((host, port), _Handler)
        self.host = host
        self.port: int = self._server.server_port
        here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        self.url = f"http://[{here}]:{self.port}/" if ":" in here else f"http://{here}:{self.port}/"
        self._server.set_app(_for_this_machine(app) if _is_loopback(host) else app)
        # A daemon: a service that forgets to close it must still come to its end.
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="aiclient status page",
            daemon=True,
        )
        self._thread.start()
        _open.add(self)

    def close(self) -> None:
        """Let go of the port. Harmless when it is closed."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def _after_fork(self) -> None:
        # The thread is the parent's: here nobody would answer who connects.
        self._server.socket.close()

    def __enter__(self) -> StatusServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        exc: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<StatusServer {self.url}>"


def serve(balancer: Balancers, *, port: int, host: str = "127.0.0.1") -> StatusServer:
    """Serve the status page on a port, from a thread in the background.

    Args:
        balancer: a `Balancer`, such as `client.balancer`; or several, as a mapping from names.
        port: 0: the system chooses; the server's `url` tells.
        host: The address to listen on; by default only this machine can reach it. `"0.0.0.0"`
            lets everybody look who reaches the port: there is no log-in.

    Raises:
        ConfigurationError: for a value that is not allowed.
        OSError: the port is taken, or the address is none of this machine's.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port < 65536:
        raise ConfigurationError(f"port: {port!r} is not allowed; a whole number below 65536")
    if not isinstance(host, str):
        raise ConfigurationError(f"host: {host!r} is not allowed; a str")
    return StatusServer(wsgi_app(balancer), host, port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _for_this_machine(app: WSGIApp) -> WSGIApp:
    """Refuse who came by a name: a strange site may let its own name lead here (DNS rebinding),
    and so read with its visitor's browser what only the visitor can reach.
    """

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _is_this_machine(environ.get("HTTP_HOST", "")):
            return app(environ, start_response)
        body = b"Refused: ask for localhost or an IP address\n"
        about = [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))]
        start_response("421 Misdirected Request", about)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    return guarded


def _is_this_machine(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return name.lower() in ("", "localhost") or name.lower().endswith(".localhost")
    return True


_open: weakref.WeakSet[StatusServer] = weakref.WeakSet()


def _close_after_fork() -> None:
    for server in list(_open):
        server._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_after_fork)
