"""The anthropic SDK, which takes no client of the httpx family."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anthropic
import httpx2

import aiclient.httpx2

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk

OPTIONS: dict[str, Any] = {"base_url": "http://llm", "api_key": KEY, "max_retries": 0}
CALL: dict[str, Any] = {
    "model": "m",
    "max_tokens": 4,
    "messages": [{"role": "user", "content": PROMPT}],
}


@contextmanager
def sync(http: aiclient.httpx2.Client) -> Iterator[Calls]:
    """Calls of a client."""
    with anthropic.Anthropic(**OPTIONS, http_client=http) as client:

        def ask(headers: Headers) -> str:
            answer: Any = client.messages.create(**CALL, extra_headers=dict(headers))
            return str(answer.content[0].text)

        def stream(headers: Headers) -> Iterator[str]:
            with client.messages.stream(**CALL, extra_headers=dict(headers)) as events:
                yield from events.text_stream

        yield Calls(ask, stream)


@asynccontextmanager
async def asynchronous(http: aiclient.httpx2.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""
    async with anthropic.AsyncAnthropic(**OPTIONS, http_client=http) as client:

        async def ask(headers: Headers) -> str:
            answer: Any = await client.messages.create(**CALL, extra_headers=dict(headers))
            return str(answer.content[0].text)

        async def stream(headers: Headers) -> AsyncIterator[str]:
            async with client.messages.stream(**CALL, extra_headers=dict(headers)) as events:
                async for text in events.text_stream:
                    yield text

        yield AsyncCalls(ask, stream)


SDK = Sdk(
    "anthropic",
    aiclient.httpx2,
    sync,
    asynchronous,
    interrupted=httpx2.ReadError,
    no_node=anthropic.APIConnectionError,
    answered=anthropic.InternalServerError,
    key_header="x-api-key",
)
