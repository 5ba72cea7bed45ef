"""langchain-openai, over the openai SDK it finds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import openai
from langchain_openai import ChatOpenAI

import aiclient.httpx2

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk

OPTIONS: dict[str, Any] = {
    "base_url": "http://llm/v1",
    "api_key": KEY,
    "model": "m",
    "max_retries": 0,
}


@contextmanager
def sync(http: aiclient.httpx2.Client) -> Iterator[Calls]:
    """Calls of a client."""
    chat: Any = ChatOpenAI(**OPTIONS, http_client=http)

    def ask(headers: Headers) -> str:
        return str(chat.invoke(PROMPT, extra_headers=dict(headers)).content)

    def stream(headers: Headers) -> Iterator[str]:
        for chunk in chat.stream(PROMPT, extra_headers=dict(headers)):
            yield str(chunk.content)

    yield Calls(ask, stream)


@asynccontextmanager
async def asynchronous(http: aiclient.httpx2.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""
    chat: Any = ChatOpenAI(**OPTIONS, http_async_client=http)

    async def ask(headers: Headers) -> str:
        return str((await chat.ainvoke(PROMPT, extra_headers=dict(headers))).content)

    async def stream(headers: Headers) -> AsyncIterator[str]:
        async for chunk in chat.astream(PROMPT, extra_headers=dict(headers)):
            yield str(chunk.content)

    yield AsyncCalls(ask, stream)


SDK = Sdk(
    "langchain-openai",
    aiclient.httpx2,
    sync,
    asynchronous,
    interrupted=openai.APIConnectionError,
    no_node=openai.APIConnectionError,
    answered=openai.InternalServerError,
)
