"""Nodes that answer at once, and callers of three kinds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

import aiclient
from aiclient.testing import FakeNode

from .helpers import Caller


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
    """Makes callers of the flavour, closed after the test; nodes take turns."""
    callers: list[Caller] = []

    def make(nodes: object, **options: Any) -> Caller:
        options.setdefault("picker", aiclient.RoundRobin())
        callers.append(Caller(flavour, nodes, **options))
        return callers[-1]

    yield make
    for caller in callers:
        await caller.close()


@pytest.fixture
def fakes() -> Iterator[Callable[..., FakeNode]]:
    """Makes running `FakeNode`s."""
    nodes: list[FakeNode] = []

    def make(**options: Any) -> FakeNode:
        nodes.append(FakeNode(**{"prefill": 0, "token_time": 0, **options}).start())
        return nodes[-1]

    yield make
    for node in nodes:
        node.stop()
