"""Callers of three kinds, and a patient wait."""

from __future__ import annotations

import contextlib
import gc
import inspect
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio

import aiclient

from .family import clients, httpx

PATIENCE = 20.0
CHAT = "/v1/chat/completions"
MODELS = "/v1/models"
# Where nobody is: the port "discard" of the loopback.
NOWHERE = "http://127.0.0.1:9"


class Caller:
    """A client, synchronous or not, with one face for both."""

    def __init__(self, flavour: str, nodes: object, **options: Any) -> None:
        self.is_sync = flavour == "sync"
        kind = clients.Client if self.is_sync else clients.AsyncClient
        self.client: Any = kind(nodes, **options)

    @property
    def balancer(self) -> aiclient.Balancer:
        balancer: aiclient.Balancer = self.client.balancer
        return balancer

    async def request(self, method: str, url: str, **options: Any) -> httpx.Response:
        return await done(self.client.request(method, url, **options))

    async def get(self, url: str = MODELS, **options: Any) -> httpx.Response:
        return await self.request("GET", url, **options)

    async def post(self, url: str = CHAT, **options: Any) -> httpx.Response:
        if not {"content", "json", "data", "files"} & set(options):
            options["json"] = {}
        return await self.request("POST", url, **options)

    @contextlib.asynccontextmanager
    async def stream(self, method: str, url: str, **options: Any) -> AsyncIterator[httpx.Response]:
        if self.is_sync:
            with self.client.stream(method, url, **options) as response:
                yield response
        else:
            async with self.client.stream(method, url, **options) as response:
                yield response

    async def pieces(self, response: httpx.Response) -> AsyncIterator[bytes]:
        if self.is_sync:
            for piece in response.iter_raw():
                yield piece
        else:
            async for piece in response.aiter_raw():
                yield piece

    async def read(self, response: httpx.Response) -> bytes:
        return response.read() if self.is_sync else await response.aread()

    def body(self, *pieces: bytes) -> Any:
        """A body that can be read once."""
        return _now(*pieces) if self.is_sync else _later(*pieces)

    async def close(self, **options: Any) -> None:
        await done((self.client.close if self.is_sync else self.client.aclose)(**options))


def _now(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces


async def _later(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def done(result: Any) -> Any:
    """The result, whether or not it is to be awaited."""
    return await result if inspect.isawaitable(result) else result


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until `condition` holds; fail when it does not within a long time."""
    give_up_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up_at, "the condition never came true"
        await anyio.sleep(0.002)


def patiently(condition: Callable[[], object]) -> None:
    """As `eventually`, blocking."""
    give_up_at = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < give_up_at, "the condition never came true"
        time.sleep(0.002)


def open_files() -> int:
    """Descriptors of this process."""
    return len(os.listdir("/dev/fd"))


def garbage(wanted: Callable[[object], bool]) -> list[object]:
    """What the garbage collector finds of that kind."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return [thing for thing in gc.garbage if wanted(thing)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def in_flight(balancer: aiclient.Balancer) -> int:
    """Over all nodes; the balancer's own total must agree."""
    total = sum(node.in_flight for node in balancer.snapshot())
    assert balancer.in_flight == total
    return total


def nodes_of(*nodes: Any) -> list[aiclient.Endpoint]:
    """Endpoints named a, b, c."""
    return [
        aiclient.Endpoint(node if isinstance(node, str) else node.url, name=name)
        for name, node in zip("abcdefgh", nodes, strict=False)
    ]


class InOrder:
    """A picker that takes the first candidate by name, so that a test knows who is next."""

    def pick(self, candidates: aiclient.NodeSet, context: aiclient.PickContext) -> aiclient.Node:
        return min(candidates, key=lambda node: node.label)


def tried(source: httpx.Response | BaseException) -> list[str]:
    """The names of the nodes that were tried, in order."""
    if isinstance(source, BaseException):
        return [attempt.node for attempt in aiclient.attempts_of(source)]
    return [attempt.node for attempt in source.extensions["aiclient"].attempts]


@contextlib.contextmanager
def blocking(target: Callable[[], object]) -> Iterator[threading.Thread]:
    """`target` in a thread; it must have ended with the block."""
    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(PATIENCE)
        assert not thread.is_alive()
