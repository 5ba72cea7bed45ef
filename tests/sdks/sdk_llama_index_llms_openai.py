"""llama-index-llms-openai, over the openai SDK before its version 3: the httpx family."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import openai
from llama_index.core.llms import ChatMessage
from llama_index.llms.openai import OpenAI

import aiclient

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk

MESSAGES = [ChatMessage(role="user", content=PROMPT)]
# It looks the model up in a table of its own.
OPTIONS: dict[str, Any] = {
    "api_base": "http://llm/v1",
    "api_key": KEY,
    "model": "gpt-4o-mini",
    "max_retries": 0,
}


@contextmanager
def sync(http: aiclient.Client) -> Iterator[Calls]:
    """Calls of a client."""
    llm: Any = OpenAI(**OPTIONS, http_client=http)

    def ask(headers: Headers) -> str:
        return str(llm.chat(MESSAGES, extra_headers=dict(headers)).message.content)

    def stream(headers: Headers) -> Iterator[str]:
        for part in llm.stream_chat(MESSAGES, extra_headers=dict(headers)):
            yield part.delta or ""

    yield Calls(ask, stream)


@asynccontextmanager
async def asynchronous(http: aiclient.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""
    llm: Any = OpenAI(**OPTIONS, async_http_client=http)

    async def ask(headers: Headers) -> str:
        return str((await llm.achat(MESSAGES, extra_headers=dict(headers))).message.content)

    async def stream(headers: Headers) -> AsyncIterator[str]:
        async for part in await llm.astream_chat(MESSAGES, extra_headers=dict(headers)):
            yield part.delta or ""

    yield AsyncCalls(ask, stream)


SDK = Sdk(
    "llama-index-llms-openai",
    aiclient,
    sync,
    asynchronous,
    interrupted=httpx.ReadError,
    no_node=openai.APIConnectionError,
    answered=openai.InternalServerError,
)
