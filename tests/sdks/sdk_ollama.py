"""The ollama SDK, which builds its own httpx client and takes a transport for it.

It has headers for a client, not for a call: a call with its own gets a client of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import ollama

import aiclient

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk

CALL: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
HOST = "http://llm"
AUTHORIZATION = {"authorization": f"Bearer {KEY}"}


@contextmanager
def sync(http: aiclient.Client) -> Iterator[Calls]:
    """Calls of a client."""

    def make(headers: Headers) -> Any:
        transport = aiclient.BalancedTransport(http.balancer)
        return ollama.Client(HOST, transport=transport, headers={**AUTHORIZATION, **headers})

    with make({}) as usual:

        def ask(headers: Headers) -> str:
            if headers:
                with make(headers) as client:
                    return str(client.chat(**CALL).message.content)
            return str(usual.chat(**CALL).message.content)

        def stream(headers: Headers) -> Iterator[str]:
            for part in (make(headers) if headers else usual).chat(**CALL, stream=True):
                yield part.message.content or ""

        yield Calls(ask, stream)


@asynccontextmanager
async def asynchronous(http: aiclient.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""

    def make(headers: Headers) -> Any:
        transport = aiclient.AsyncBalancedTransport(http.balancer)
        return ollama.AsyncClient(HOST, transport=transport, headers={**AUTHORIZATION, **headers})

    async with make({}) as usual:

        async def ask(headers: Headers) -> str:
            if headers:
                async with make(headers) as client:
                    return str((await client.chat(**CALL)).message.content)
            return str((await usual.chat(**CALL)).message.content)

        async def stream(headers: Headers) -> AsyncIterator[str]:
            async for part in await (make(headers) if headers else usual).chat(**CALL, stream=True):
                yield part.message.content or ""

        yield AsyncCalls(ask, stream)


SDK = Sdk(
    "ollama",
    aiclient,
    sync,
    asynchronous,
    interrupted=httpx.ReadError,
    no_node=ConnectionError,
    answered=ollama.ResponseError,
)
