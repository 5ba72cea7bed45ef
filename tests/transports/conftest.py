"""Every test that asks for `flavour` or `calls` runs three times: sync, asyncio and trio."""

from __future__ import annotations

import gc
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trustme

import aiclient
from aiclient.testing import FakeNode

from .helpers import Caller, InOrder
from .nodes import Connection, Script, ScriptedNode


@pytest.fixture(params=["sync", "asyncio", "trio"])
def flavour(request: pytest.FixtureRequest) -> str:
    """Who calls."""
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(flavour: str) -> str:
    """The event loop; a synchronous caller blocks it, the nodes live in other threads."""
    return "asyncio" if flavour == "sync" else flavour


@pytest.fixture
async def calls(flavour: str, anyio_backend: str) -> AsyncIterator[Callable[..., Caller]]:
    """Makes callers of the flavour, closed after the test; nodes are picked in order."""
    callers: list[Caller] = []

    def make(nodes: object, **options: Any) -> Caller:
        if not isinstance(nodes, aiclient.Balancer):
            options.setdefault("picker", InOrder())
        callers.append(Caller(flavour, nodes, **options))
        return callers[-1]

    yield make
    for caller in callers:
        await caller.close()


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedNode]]:
    """Makes running `ScriptedNode`s."""
    nodes: list[ScriptedNode] = []

    def make(script: Script, **options: Any) -> ScriptedNode:
        nodes.append(ScriptedNode(script, **options).__enter__())
        return nodes[-1]

    yield make
    for node in nodes:
        node.__exit__()


@pytest.fixture
def fakes() -> Iterator[Callable[..., FakeNode]]:
    """Makes running `FakeNode`s that take no time."""
    nodes: list[FakeNode] = []

    def make(**options: Any) -> FakeNode:
        nodes.append(
            FakeNode(
                **{"prefill": 0, "token_time": 0, "slots": 1000, "keepalive": 3600, **options}
            ).start()
        )
        return nodes[-1]

    yield make
    for node in nodes:
        node.stop()


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing is freed by the garbage collector while the test runs."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
    gc.collect()


class Authority:
    """A certificate authority, and contexts of its making."""

    def __init__(self) -> None:
        self._ca = trustme.CA()

    def server_context(self, *names: str, wants_cert: bool = False) -> ssl.SSLContext:
        """For a server called that; default `localhost`."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._ca.issue_cert(*(names or ("localhost",))).configure_cert(context)
        if wants_cert:
            self._ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def trusting(self) -> ssl.SSLContext:
        """A client's context that trusts this authority alone."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._ca.configure_trust(context)
        return context

    def client_certificate(self) -> trustme.LeafCert:
        return self._ca.issue_cert("somebody@example.org")


@pytest.fixture(scope="session")
def tls() -> Authority:
    """Keys take a while to make: one authority for all."""
    return Authority()


class H2Server(ScriptedNode):
    """Answers every HTTP/2 request with `{}`."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        super().__init__(self._speak, tls=tls)
        self.seen: list[tuple[bytes, bytes, bytes]] = []

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def _speak(self, connection: Connection) -> None:
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        http.initiate_connection()
        connection.send(http.data_to_send())
        while data := connection.sock.recv(65536):
            for event in http.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    fields = dict(event.headers)
                    self.seen.append((fields[b":method"], fields[b":path"], fields[b":authority"]))
                if isinstance(event, h2.events.StreamEnded):
                    http.send_headers(event.stream_id, [(":status", "200")])
                    http.send_data(event.stream_id, b"{}", end_stream=True)
            connection.send(http.data_to_send())


@pytest.fixture
def h2_server(tls: Authority) -> Iterator[H2Server]:
    """A node that speaks HTTP/2."""
    context = tls.server_context()
    context.set_alpn_protocols(["h2"])
    server = H2Server(context)
    with server:
        yield server
