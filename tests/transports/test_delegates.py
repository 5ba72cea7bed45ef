"""Transports of the user's own under each node, and HTTP/2."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

import aiclient
from aiclient import ConfigurationError, Deadlines, Endpoint
from aiclient.testing import FakeNode

from .family import clients, httpx
from .helpers import CHAT, MODELS, Caller, eventually, in_flight, nodes_of, tried
from .nodes import flooding

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
pytestmark = pytest.mark.anyio
STREAM = {"stream": True}


def httpx_transport(flavour: str, **options: Any) -> Callable[[Endpoint], Any]:
    """A factory of httpx's own transports."""
    kind = httpx.HTTPTransport if flavour == "sync" else httpx.AsyncHTTPTransport
    return lambda endpoint: kind(**options)


# httpx and httpcore leave their generators half-read, of which trio complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_httpx_transports_under_each_node(calls: Calls, fakes: Fakes, flavour: str) -> None:
    """Retries, streams, hold-back and reports work over any transport."""
    a, b = fakes(), fakes()
    a.fault("cut_mid_body")
    caller = calls(nodes_of(a, b), transport_factory=httpx_transport(flavour))
    assert tried(await caller.post()) == ["a", "b"]
    a.fault("error_event")
    assert tried(await caller.post(json=STREAM)) == ["a", "b"]
    a.heal()
    assert tried(await caller.get()) == ["a"]
    assert in_flight(caller.balancer) == 0


async def test_a_transport_is_made_once_per_node(calls: Calls, fakes: Fakes, flavour: str) -> None:
    """With its `Endpoint`, when it is first needed; and closed with the client."""
    closed: list[str] = []
    made: list[Endpoint] = []
    base: Any = httpx.HTTPTransport if flavour == "sync" else httpx.AsyncHTTPTransport

    class Own(base):  # type: ignore[misc]
        def close(self) -> None:
            closed.append("x")
            super().close()

        async def aclose(self) -> None:
            closed.append("x")
            await super().aclose()

    def factory(endpoint: Endpoint) -> Any:
        made.append(endpoint)
        return Own()

    caller = calls(nodes_of(fakes(), fakes()), transport_factory=factory)
    assert not made
    for _ in range(3):
        await caller.get()
    assert [endpoint.name for endpoint in made] == ["a"]
    await caller.close()
    assert closed == ["x"]


async def test_a_mock_transport(calls: Calls, flavour: str) -> None:
    """httpx's MockTransport sees the request as the node would: URL, Host, headers."""
    seen: list[httpx.Request] = []

    def node(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"url": str(request.url)})

    endpoint = Endpoint(
        "http://10.1.2.3:8000/team", host_header="llm", headers={"Authorization": "own"}
    )
    caller = calls([endpoint], transport_factory=lambda endpoint: httpx.MockTransport(node))
    response = await caller.post(headers={"x-aiclient-key": "k", "authorization": "caller"})
    assert response.json() == {"url": "http://10.1.2.3:8000/team/v1/chat/completions"}
    assert str(response.url) == "http://aiclient.invalid/v1/chat/completions"
    assert seen[0].headers["host"] == "llm"
    assert seen[0].headers["authorization"] == "own"
    assert "x-aiclient-key" not in seen[0].headers


async def test_failures_of_a_transport(calls: Calls, fakes: Fakes) -> None:
    """httpx's own exceptions mean what they say; what is no httpx exception is passed on."""
    outcomes: list[Any] = [httpx.ConnectError("x"), httpx.ReadError("x"), OSError("x")]

    def node(request: httpx.Request) -> httpx.Response:
        if outcomes:
            raise outcomes.pop(0)
        return httpx.Response(200, json={})

    caller = calls(
        ["http://n1", "http://n2", "http://n3", "http://n4"],
        transport_factory=lambda endpoint: httpx.MockTransport(node),
        retry=aiclient.RetryPolicy(attempts=4),
    )
    response = await caller.post()
    kinds = [a.outcome.partition(":")[0] for a in response.extensions["aiclient"].attempts]
    assert kinds == ["cannot connect", "connection broken", "connection broken", "ok"]
    outcomes.append(KeyError("a bug of the transport's"))
    with pytest.raises(KeyError):
        await caller.post()
    assert in_flight(caller.balancer) == 0


async def test_a_node_behind_a_unix_socket(
    calls: Calls, flavour: str, tmp_path: Path, fakes: Fakes
) -> None:
    """One node over a Unix socket, as a side-car has it."""
    node = fakes()
    path = str(tmp_path / "s")
    with _relay(path, node.port):
        factory = httpx_transport(flavour, uds=path)
        caller = calls("http://sidecar", transport_factory=factory)
        assert (await caller.get()).status_code == 200
        assert (await caller.post(json=STREAM)).text.endswith("data: [DONE]\n\n")
        await caller.close()
    assert node.requests[-1].headers["host"] == "sidecar"


class _relay:
    """Passes bytes between a Unix socket and a port."""

    def __init__(self, path: str, port: int) -> None:
        self._port = port
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept)]
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> None:
        self._threads[0].start()

    def __exit__(self, *_exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(20)
        for sock in (self._listener, *self._sockets):
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            self._sockets += [near, far]
            for source, target in ((near, far), (far, near)):
                self._threads.append(threading.Thread(target=self._pump, args=(source, target)))
                self._threads[-1].start()

    @staticmethod
    def _pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


async def test_deadlines_over_a_transport(calls: Calls, fakes: Fakes, flavour: str) -> None:
    """They become that transport's timeouts, and their exceptions ours."""
    a, b = fakes(), fakes()
    a.fault("hang")
    b.fault("hang")
    factory = httpx_transport(flavour)
    caller = calls(nodes_of(a), transport_factory=factory, deadlines=Deadlines(total=0.2))
    with pytest.raises(aiclient.DeadlineExceeded, match="total deadline passed"):
        await caller.post()
    caller = calls(nodes_of(a), transport_factory=factory, deadlines=Deadlines(first_byte=0.2))
    with pytest.raises(aiclient.DeadlineExceeded, match="no first byte in time"):
        await caller.post()
    b.heal()
    caller = calls(nodes_of(a, b), transport_factory=factory, deadlines=Deadlines(first_byte=0.2))
    assert tried(await caller.post()) == ["a", "b"]


# httpx2's transport leaves its generator half-read, of which trio complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_flood_over_a_transport(calls: Calls, scripted: Any, flavour: str) -> None:
    """A stream that never pauses ends at the total deadline also where no wait is ours."""
    endless = b"HTTP/1.1 200 OK\r\ncontent-length: 100000000000\r\n\r\n"
    caller = calls(
        scripted(flooding(endless, bytes(100))).url,
        transport_factory=httpx_transport(flavour),
        deadlines=Deadlines(total=0.2),
    )
    with pytest.raises(aiclient.DeadlineExceeded):
        await caller.get()


async def test_interruptions_over_a_transport(calls: Calls, fakes: Fakes, flavour: str) -> None:
    """A stream that breaks is a `StreamInterrupted` here, too."""
    node = fakes()
    node.fault("cut_mid_stream")
    caller = calls(nodes_of(node), transport_factory=httpx_transport(flavour))
    with pytest.raises(aiclient.StreamInterrupted):
        await caller.post(json=STREAM)
    assert in_flight(caller.balancer) == 0


async def test_cancelled_over_a_transport(fakes: Fakes, flavour: str) -> None:
    """A cancelled call gives its slot back whatever lies below."""
    if flavour == "sync":
        pytest.skip("nothing to cancel")
    node = fakes()
    node.fault("hang")
    async with clients.AsyncClient(node.url, transport_factory=httpx_transport(flavour)) as client:
        with anyio.move_on_after(0.1):
            await client.post(CHAT, json={})
        assert in_flight(client.balancer) == 0
        node.heal()
        assert (await client.get(MODELS)).status_code == 200


@pytest.mark.parametrize("wrong", [None, 5, httpx.Client])
async def test_a_factory_that_makes_no_transport(calls: Calls, fakes: Fakes, wrong: object) -> None:
    """What the factory returns must be a transport of the client's kind."""
    caller = calls(fakes().url, transport_factory=lambda endpoint: wrong)
    with pytest.raises(ConfigurationError, match="transport_factory"):
        await caller.get()
    assert in_flight(caller.balancer) == 0


async def test_a_transport_of_the_wrong_kind(calls: Calls, fakes: Fakes, flavour: str) -> None:
    """A synchronous transport in an asynchronous client, or the other way round, is said."""
    factory = httpx_transport("asyncio" if flavour == "sync" else "sync")
    caller = calls(fakes().url, transport_factory=factory)
    with pytest.raises(ConfigurationError, match=r"transport_factory: .*httpx2?\.\w*BaseTransport"):
        await caller.get()


async def test_a_gone_nodes_transport_is_closed(calls: Calls, fakes: Fakes, flavour: str) -> None:
    """When the next new node is used, at the latest."""
    old, new = fakes(), fakes()
    caller = calls(old.url, transport_factory=httpx_transport(flavour))
    await caller.get()
    assert old.connections == 1
    caller.balancer.update([new.url])
    await caller.get()
    await eventually(lambda: old.connections == 0)


async def test_http2_needs_no_second_connection(
    calls: Calls, h2_server: Any, tls: Any, flavour: str
) -> None:
    """`http2=True`: one connection per node carries all calls at once."""
    caller = calls(h2_server.url, http2=True, verify=tls.trusting())
    for _ in range(3):
        response = await caller.get()
        assert (response.http_version, response.content) == ("HTTP/2", b"{}")
    if flavour != "sync":
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(caller.get)
    assert h2_server.accepted == 1
    authority = f"localhost:{h2_server.port}".encode()
    assert h2_server.seen[0] == (b"GET", MODELS.encode(), authority)
    assert in_flight(caller.balancer) == 0


async def test_http2_with_a_node_that_speaks_only_the_first(
    calls: Calls, fakes: Fakes, tls: Any
) -> None:
    """Without ALPN it is HTTP/1.1."""
    node = fakes(tls=tls.server_context())
    caller = calls(node.url.replace("127.0.0.1", "localhost"), http2=True, verify=tls.trusting())
    response = await caller.get()
    assert (response.http_version, response.status_code) == ("HTTP/1.1", 200)
