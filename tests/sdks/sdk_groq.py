"""The groq SDK, in the httpx family; its paths begin with `/openai`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import groq
import httpx

import aiclient

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk

MESSAGES: Any = [{"role": "user", "content": PROMPT}]
OPTIONS: dict[str, Any] = {"base_url": "http://llm", "api_key": KEY, "max_retries": 0}


@contextmanager
def sync(http: aiclient.Client) -> Iterator[Calls]:
    """Calls of a client."""
    with groq.Groq(**OPTIONS, http_client=http) as client:
        create = client.chat.completions.create

        def ask(headers: Headers) -> str:
            answer = create(model="m", messages=MESSAGES, extra_headers=dict(headers))
            return answer.choices[0].message.content or ""

        def stream(headers: Headers) -> Iterator[str]:
            with create(
                model="m", messages=MESSAGES, stream=True, extra_headers=dict(headers)
            ) as events:
                for event in events:
                    yield event.choices[0].delta.content or ""

        yield Calls(ask, stream)


@asynccontextmanager
async def asynchronous(http: aiclient.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""
    async with groq.AsyncGroq(**OPTIONS, http_client=http) as client:
        create = client.chat.completions.create

        async def ask(headers: Headers) -> str:
            answer = await create(model="m", messages=MESSAGES, extra_headers=dict(headers))
            return answer.choices[0].message.content or ""

        async def stream(headers: Headers) -> AsyncIterator[str]:
            async with await create(
                model="m", messages=MESSAGES, stream=True, extra_headers=dict(headers)
            ) as events:
                async for event in events:
                    yield event.choices[0].delta.content or ""

        yield AsyncCalls(ask, stream)


SDK = Sdk(
    "groq",
    aiclient,
    sync,
    asynchronous,
    interrupted=httpx.ReadError,
    no_node=groq.APIConnectionError,
    answered=groq.InternalServerError,
)
