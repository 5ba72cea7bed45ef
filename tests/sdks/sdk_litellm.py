"""litellm, which takes one client of each kind for the whole process, for its openai path.

So only the service's own host is balanced, and what goes elsewhere goes there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import litellm

import aiclient

from .harness import KEY, PROMPT, AsyncCalls, Calls, Headers, Sdk


def call(headers: Headers) -> dict[str, Any]:
    """The arguments of one call."""
    return {
        "model": "openai/m",
        "api_base": "http://llm/v1",
        "api_key": KEY,
        "messages": [{"role": "user", "content": PROMPT}],
        "max_retries": 0,
        "extra_headers": dict(headers),
    }


def forget_clients() -> None:
    """It keeps the clients it made of the last session."""
    litellm.in_memory_llm_clients_cache.flush_cache()


@contextmanager
def sync(http: aiclient.Client) -> Iterator[Calls]:
    """Calls of a client."""
    transport = aiclient.BalancedTransport(http.balancer)
    litellm.client_session = httpx.Client(mounts={"all://llm": transport})
    forget_clients()

    def ask(headers: Headers) -> str:
        answer: Any = litellm.completion(**call(headers))
        return str(answer.choices[0].message.content)

    def stream(headers: Headers) -> Iterator[str]:
        events: Any = litellm.completion(**call(headers), stream=True)
        for event in events:
            yield event.choices[0].delta.content or ""

    with litellm.client_session:
        yield Calls(ask, stream)
    litellm.client_session = None


@asynccontextmanager
async def asynchronous(http: aiclient.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""
    transport = aiclient.AsyncBalancedTransport(http.balancer)
    litellm.aclient_session = httpx.AsyncClient(mounts={"all://llm": transport})
    forget_clients()

    async def ask(headers: Headers) -> str:
        answer: Any = await litellm.acompletion(**call(headers))
        return str(answer.choices[0].message.content)

    async def stream(headers: Headers) -> AsyncIterator[str]:
        events: Any = await litellm.acompletion(**call(headers), stream=True)
        async for event in events:
            yield event.choices[0].delta.content or ""

    async with litellm.aclient_session:
        yield AsyncCalls(ask, stream)
    litellm.aclient_session = None


SDK = Sdk(
    "litellm",
    aiclient,
    sync,
    asynchronous,
    interrupted=litellm.exceptions.MidStreamFallbackError,
    no_node=litellm.exceptions.InternalServerError,
    answered=litellm.exceptions.ServiceUnavailableError,
)
