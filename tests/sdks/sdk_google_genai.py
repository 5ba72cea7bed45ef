"""The google-genai SDK; it lets exceptions of the client through as they are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
from google import genai
from google.genai import errors, types

import aiclient.httpx2

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk


def call(headers: Headers) -> dict[str, Any]:
    """The arguments of one call."""
    options = types.HttpOptions(headers=dict(headers))
    config = types.GenerateContentConfig(http_options=options)
    return {"model": "m", "contents": PROMPT, "config": config}


@contextmanager
def sync(http: aiclient.httpx2.Client) -> Iterator[Calls]:
    """Calls of a client."""
    options = types.HttpOptions(base_url="http://llm", httpx_client=http)
    with genai.Client(api_key=KEY, http_options=options) as client:

        def ask(headers: Headers) -> str:
            return str(client.models.generate_content(**call(headers)).text)

        def stream(headers: Headers) -> Iterator[str]:
            for part in client.models.generate_content_stream(**call(headers)):
                yield part.text or ""

        yield Calls(ask, stream)


@asynccontextmanager
async def asynchronous(http: aiclient.httpx2.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""
    options = types.HttpOptions(base_url="http://llm", httpx_async_client=http)
    async with genai.Client(api_key=KEY, http_options=options).aio as client:

        async def ask(headers: Headers) -> str:
            return str((await client.models.generate_content(**call(headers))).text)

        async def stream(headers: Headers) -> AsyncIterator[str]:
            async for part in await client.models.generate_content_stream(**call(headers)):
                yield part.text or ""

        yield AsyncCalls(ask, stream)


SDK = Sdk(
    "google-genai",
    aiclient.httpx2,
    sync,
    asynchronous,
    interrupted=httpx2.ReadError,
    no_node=httpx2.ConnectError,
    answered=errors.ServerError,
    key_header="x-goog-api-key",
)
