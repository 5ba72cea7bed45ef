"""The cohere SDK, version 2 of its API; it lets exceptions of the client through as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import cohere
import httpx
from cohere.core.api_error import ApiError

import aiclient

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk

OPTIONS: dict[str, Any] = {"base_url": "http://llm", "api_key": KEY}


def call(headers: Headers) -> dict[str, Any]:
    """The arguments of one call."""
    options = {"max_retries": 0, "additional_headers": dict(headers)}
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": "m", "messages": messages, "request_options": options}


def said(event: Any) -> str:
    """The text in an event."""
    return str(event.delta.message.content.text) if event.type == "content-delta" else ""


@contextmanager
def sync(http: aiclient.Client) -> Iterator[Calls]:
    """Calls of a client."""
    with cohere.ClientV2(**OPTIONS, httpx_client=http) as client:

        def ask(headers: Headers) -> str:
            return str(client.chat(**call(headers)).message.content[0].text)

        def stream(headers: Headers) -> Iterator[str]:
            for event in client.chat_stream(**call(headers)):
                yield said(event)

        yield Calls(ask, stream)


@asynccontextmanager
async def asynchronous(http: aiclient.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""
    async with cohere.AsyncClientV2(**OPTIONS, httpx_client=http) as client:

        async def ask(headers: Headers) -> str:
            return str((await client.chat(**call(headers))).message.content[0].text)

        async def stream(headers: Headers) -> AsyncIterator[str]:
            async for event in client.chat_stream(**call(headers)):
                yield said(event)

        yield AsyncCalls(ask, stream)


SDK = Sdk(
    "cohere",
    aiclient,
    sync,
    asynchronous,
    interrupted=httpx.ReadError,
    no_node=httpx.ConnectError,
    answered=ApiError,
)
