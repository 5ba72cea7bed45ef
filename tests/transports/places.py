"""The places where a call can be made to hang."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, NamedTuple

import aiclient
from aiclient.testing import FakeNode

from .family import clients, httpx
from .helpers import CHAT, MODELS

PLACES = (
    "connect",
    "tls",
    "pool",
    "upload",
    "headers",
    "held",
    "body",
    "stream",
    "backoff",
)
BIG = bytes(8_000_000)


class Place(NamedTuple):
    """Where calls hang, and how that ends."""

    url: str
    call: Callable[[clients.AsyncClient], Awaitable[object]]
    options: dict[str, Any]
    # Whether `heal` makes the node work.
    heals: bool
    heal: Callable[[], object]
    # Lets go of what the node holds on its own side.
    settle: Callable[[], object]
    # How many calls have come as far as the node; None where few can.
    reached: Callable[[], int] | None
    calls: int = 1000


class Sink:
    """Accepts everything and answers nothing; reads it, or not even that."""

    def __init__(self, *, reads: bool) -> None:
        self._reads = reads
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._held: list[socket.socket] = []
        self.accepted = 0
        self._stopping = False
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run)

    @property
    def port(self) -> int:
        port: int = self._listener.getsockname()[1]
        return port

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(0.05):
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is self._listener:
                    self._accept()
                    continue
                try:
                    data = sock.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    self._selector.unregister(sock)
                    sock.close()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                self.accepted += 1
                if self._reads:
                    self._selector.register(sock, selectors.EVENT_READ)
                else:
                    self._held.append(sock)

    def let_go(self) -> None:
        """Close what was accepted and never read."""
        while self._held:
            self._held.pop().close()

    def __enter__(self) -> Sink:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._stopping = True
        self._thread.join()
        self.let_go()
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()


@contextlib.contextmanager
def swamped() -> Iterator[str]:
    """The URL of a socket whose queue is full: connecting to it takes for ever."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def _chat(client: clients.AsyncClient) -> object:
    return await client.post(CHAT, json={})


async def _get(client: clients.AsyncClient) -> object:
    return await client.get(MODELS)


async def _upload(client: clients.AsyncClient) -> object:
    return await client.put("/v1/files/1", content=BIG)


async def _stream(client: clients.AsyncClient) -> object:
    async with client.stream("POST", CHAT, json={"stream": True}) as response:
        return [piece async for piece in response.aiter_bytes()]


def _nothing() -> None:
    pass


@contextlib.contextmanager
def place(name: str) -> Iterator[Place]:
    """Where a call hangs at this step."""
    if name == "connect":
        with swamped() as url:
            yield Place(url, _chat, {}, False, _nothing, _nothing, None)
    elif name == "tls":
        with Sink(reads=True) as sink:
            url = f"https://127.0.0.1:{sink.port}"
            yield Place(url, _chat, {}, False, _nothing, _nothing, lambda: sink.accepted)
    elif name == "upload":
        with Sink(reads=False) as sink:
            # Each leaves a socket with the sink until it lets go.
            url = f"http://127.0.0.1:{sink.port}"
            yield Place(url, _upload, {}, False, _nothing, sink.let_go, lambda: sink.accepted, 200)
    else:
        with FakeNode(prefill=0, token_time=0, slots=10_000, keepalive=3600) as node:
            yield _hanging(node, name)


def _hanging(node: FakeNode, name: str) -> Place:
    options: dict[str, Any] = {}
    call = _chat
    if name == "backoff":
        node.fault("503", retry_after=30)
        options["retry"] = aiclient.RetryPolicy(max_wait=100)
        # An answer leaves a good connection, which is no leak.
        options["limits"] = httpx.Limits(max_keepalive_connections=0)
    elif name in ("pool", "headers"):
        node.fault("hang")
    else:
        node.fault("hang_mid_stream")
        call = {"held": _chat, "body": _get, "stream": _stream}[name]
    if name == "pool":
        options["limits"] = httpx.Limits(max_connections=3)
    # A call waiting for a connection, or for the node to have room again, never gets there.
    received = node.requests
    reached = None if name in ("pool", "backoff") else lambda: received.total
    return Place(node.url, call, options, True, node.heal, _nothing, reached)
