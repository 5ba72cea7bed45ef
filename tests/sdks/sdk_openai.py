"""The openai SDK, in the httpx2 family since its version 3."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import openai

import aiclient.httpx2

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk

MESSAGES: Any = [{"role": "user", "content": PROMPT}]
OPTIONS: dict[str, Any] = {"base_url": "http://llm/v1", "api_key": KEY, "max_retries": 0}


@contextmanager
def sync(http: aiclient.httpx2.Client) -> Iterator[Calls]:
    """Calls of a client."""
    with openai.OpenAI(**OPTIONS, http_client=http) as client:
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
async def asynchronous(http: aiclient.httpx2.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""
    async with openai.AsyncOpenAI(**OPTIONS, http_client=http) as client:
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
    "openai",
    aiclient.httpx2,
    sync,
    asynchronous,
    interrupted=openai.APIConnectionError,
    no_node=openai.APIConnectionError,
    answered=openai.InternalServerError,
)
