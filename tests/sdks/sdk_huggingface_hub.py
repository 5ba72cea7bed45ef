"""huggingface_hub, which takes a factory of clients for the whole process.

So only the service's own host is balanced: the Hub itself stays within reach. Its InferenceClient
has headers for a client, not for a call.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError

import aiclient.httpx2

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk

OPTIONS: dict[str, Any] = {"base_url": "http://llm/v1", "api_key": KEY}
CALL: dict[str, Any] = {"messages": [{"role": "user", "content": PROMPT}], "model": "m"}


@contextmanager
def sync(http: aiclient.httpx2.Client) -> Iterator[Calls]:
    """Calls of a client."""

    def factory() -> httpx2.Client:
        transport = aiclient.httpx2.BalancedTransport(http.balancer)
        return httpx2.Client(mounts={"all://llm": transport}, event_hooks=http.event_hooks)

    huggingface_hub.set_client_factory(factory)

    def ask(headers: Headers) -> str:
        client = huggingface_hub.InferenceClient(**OPTIONS, headers=dict(headers))
        return str(client.chat_completion(**CALL).choices[0].message.content)

    def stream(headers: Headers) -> Iterator[str]:
        client = huggingface_hub.InferenceClient(**OPTIONS, headers=dict(headers))
        for event in client.chat_completion(**CALL, stream=True):
            yield event.choices[0].delta.content or ""

    yield Calls(ask, stream)
    huggingface_hub.close_session()


@asynccontextmanager
async def asynchronous(http: aiclient.httpx2.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""

    # Each InferenceClient makes a client, and closes it; the balancer is what they share.
    def factory() -> httpx2.AsyncClient:
        transport = aiclient.httpx2.AsyncBalancedTransport(http.balancer)
        return httpx2.AsyncClient(mounts={"all://llm": transport}, event_hooks=http.event_hooks)

    huggingface_hub.set_async_client_factory(factory)

    async def ask(headers: Headers) -> str:
        async with huggingface_hub.AsyncInferenceClient(**OPTIONS, headers=dict(headers)) as client:
            return str((await client.chat_completion(**CALL)).choices[0].message.content)

    async def stream(headers: Headers) -> AsyncIterator[str]:
        async with huggingface_hub.AsyncInferenceClient(**OPTIONS, headers=dict(headers)) as client:
            async for event in await client.chat_completion(**CALL, stream=True):
                yield event.choices[0].delta.content or ""

    yield AsyncCalls(ask, stream)


SDK = Sdk(
    "huggingface_hub",
    aiclient.httpx2,
    sync,
    asynchronous,
    interrupted=httpx2.ReadError,
    no_node=httpx2.ConnectError,
    answered=HfHubHTTPError,
)
