"""Callers of three kinds, a patient wait, and a look at the threads."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import httpx

import aiclient

PATIENCE = 20.0
CHAT = "/v1/chat/completions"


class Caller:
    """A client, synchronous or not, with one face for both."""

    def __init__(self, flavour: str, nodes: object, **options: Any) -> None:
        kind = aiclient.Client if flavour == "sync" else aiclient.AsyncClient
        self.client: Any = kind(nodes, **options)
        self.events: list[aiclient.Event] = []
        self.balancer.subscribe(self.events.append)

    @property
    def balancer(self) -> aiclient.Balancer:
        """The client's."""
        balancer: aiclient.Balancer = self.client.balancer
        return balancer

    async def post(self, **options: Any) -> httpx.Response:
        """One chat."""
        response: httpx.Response = await done(self.client.post(CHAT, json={}, **options))
        return response

    async def tried(self, calls: int) -> list[str]:
        """The nodes of so many calls, all of which went well, in order."""
        nodes = []
        for _ in range(calls):
            response = await self.post()
            assert response.status_code == 200
            nodes += [attempt.node for attempt in response.extensions["aiclient"].attempts]
        return nodes

    def state(self, name: str) -> str:
        """The state that node is in."""
        return next(
            node.state.value for node in self.balancer.snapshot() if str(node.endpoint) == name
        )

    def told(self, kind: aiclient.EventKind) -> list[str | None]:
        """The nodes of the events of this kind, in order."""
        return [event.node for event in self.events if event.kind is kind]

    async def close(self) -> None:
        """As users do."""
        await done(self.client.close() if hasattr(self.client, "close") else self.client.aclose())


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


def checkers() -> list[str]:
    """The threads of health checks in this process."""
    return [
        thread.name for thread in threading.enumerate() if thread.name.startswith("aiclient health")
    ]


def named(*urls: str) -> list[aiclient.Endpoint]:
    """Endpoints named a, b, c."""
    return [aiclient.Endpoint(url, name=name) for name, url in zip("abcdef", urls, strict=False)]
