"""The mistralai SDK; it lets exceptions of the client through as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
from mistralai.client import Mistral, errors

import aiclient.httpx2

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk

OPTIONS: dict[str, Any] = {"server_url": "http://llm", "api_key": KEY}
CALL: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}


@contextmanager
def sync(http: aiclient.httpx2.Client) -> Iterator[Calls]:
    """Calls of a client."""
    with Mistral(**OPTIONS, client=http) as client:

        def ask(headers: Headers) -> str:
            answer = client.chat.complete(**CALL, http_headers=dict(headers))
            return str(answer.choices[0].message.content)

        def stream(headers: Headers) -> Iterator[str]:
            with client.chat.stream(**CALL, http_headers=dict(headers)) as events:
                for event in events:
                    yield str(event.data.choices[0].delta.content or "")

        yield Calls(ask, stream)


@asynccontextmanager
async def asynchronous(http: aiclient.httpx2.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""
    async with Mistral(**OPTIONS, async_client=http) as client:

        async def ask(headers: Headers) -> str:
            answer = await client.chat.complete_async(**CALL, http_headers=dict(headers))
            return str(answer.choices[0].message.content)

        async def stream(headers: Headers) -> AsyncIterator[str]:
            async with await client.chat.stream_async(**CALL, http_headers=dict(headers)) as events:
                async for event in events:
                    yield str(event.data.choices[0].delta.content or "")

        yield AsyncCalls(ask, stream)


SDK = Sdk(
    "mistralai",
    aiclient.httpx2,
    sync,
    asynchronous,
    interrupted=httpx2.ReadError,
    no_node=httpx2.ConnectError,
    answered=errors.SDKError,
)
