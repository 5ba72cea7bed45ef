"""What the tests know of an SDK, and how they open a client of it."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

Headers = Mapping[str, str]
KEY = "the-key-of-the-sdk"
PROMPT = "Say something."
# The distributions a session is to test, comma-separated; without it, those that are installed.
CHOSEN = os.environ.get("AICLIENT_SDKS")
MODULES = {
    "openai": "openai",
    "anthropic": "anthropic",
    "mistralai": "mistralai",
    "ollama": "ollama",
    "google-genai": "google.genai",
    "groq": "groq",
    "cohere": "cohere",
    "huggingface_hub": "huggingface_hub",
    "langchain-openai": "langchain_openai",
    "llama-index-llms-openai": "llama_index.llms.openai",
    "pydantic-ai-slim": "pydantic_ai",
    "litellm": "litellm",
}


@dataclass(frozen=True)
class Calls:
    """A client of an SDK: each call takes its extra headers."""

    ask: Callable[[Headers], str]
    stream: Callable[[Headers], Iterator[str]]


@dataclass(frozen=True)
class AsyncCalls:
    """An asynchronous client of an SDK."""

    ask: Callable[[Headers], Awaitable[str]]
    stream: Callable[[Headers], AsyncIterator[str]]


@dataclass(frozen=True)
class Sdk:
    """One SDK.

    - `name`: its distribution.
    - `family`: where the client it takes comes from, `aiclient` or `aiclient.httpx2`.
    - `sync`, `asynchronous`: from a balanced client to calls.
    - `interrupted`: what a stream that had begun raises when its node dies.
    - `no_node`: what a call raises when no node may take it.
    - `answered`: what a call raises for a 503.
    - `key_header`: the header it sends its key in.
    """

    name: str
    family: ModuleType
    sync: Callable[[Any], AbstractContextManager[Calls]] | None
    asynchronous: Callable[[Any], AbstractAsyncContextManager[AsyncCalls]]
    interrupted: type[Exception]
    no_node: type[Exception]
    answered: type[Exception]
    key_header: str = "authorization"


@dataclass(frozen=True)
class Way:
    """An SDK and one of its two kinds of client."""

    sdk: Sdk
    is_async: bool

    def __str__(self) -> str:
        return f"{self.sdk.name}-{'async' if self.is_async else 'sync'}"

    @asynccontextmanager
    async def open(self, nodes: object, **policies: Any) -> AsyncIterator[AsyncCalls]:
        """Calls over a balanced client; those of a synchronous client run in threads."""
        if self.is_async:
            async with (
                self.sdk.family.AsyncClient(nodes, **policies) as http,
                self.sdk.asynchronous(http) as calls,
            ):
                yield calls
            return
        assert self.sdk.sync is not None
        with self.sdk.family.Client(nodes, **policies) as http, self.sdk.sync(http) as calls:
            yield _in_threads(calls)


def _in_threads(calls: Calls) -> AsyncCalls:
    async def ask(headers: Headers) -> str:
        return await asyncio.to_thread(calls.ask, headers)

    async def stream(headers: Headers) -> AsyncIterator[str]:
        texts = calls.stream(headers)
        while (text := await asyncio.to_thread(next, texts, None)) is not None:
            yield text

    return AsyncCalls(ask, stream)


def ways() -> list[Way]:
    """What there is to test here. Fails for an SDK that was named and is not installed."""
    names = CHOSEN.split(",") if CHOSEN else [name for name in MODULES if is_installed(name)]
    found = []
    for name in names:
        module = importlib.import_module(f".sdk_{name.replace('-', '_')}", __package__)
        sdk: Sdk = module.SDK
        found += [Way(sdk, is_async=False)] if sdk.sync else []
        found += [Way(sdk, is_async=True)]
    return found


def is_installed(name: str) -> bool:
    """Whether an SDK is there, in whatever version."""
    try:
        return importlib.util.find_spec(MODULES[name]) is not None
    except ModuleNotFoundError:  # not even its parent
        return False


def chain(exc: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it."""
    current: BaseException | None = exc
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def ours(exc: BaseException, kind: type[Exception]) -> BaseException:
    """The exception of that kind that led to the SDK's own; fails when there is none."""
    found = next((one for one in chain(exc) if isinstance(one, kind)), None)
    assert found is not None, [repr(one) for one in chain(exc)]
    return found
