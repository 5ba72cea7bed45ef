"""pydantic-ai: an asynchronous client, whichever way the agent is run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
from pydantic_ai import Agent
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

import aiclient.httpx2

from .harness import KEY, PROMPT, AsyncCalls, Headers, Sdk


@asynccontextmanager
async def asynchronous(http: aiclient.httpx2.AsyncClient) -> AsyncIterator[AsyncCalls]:
    """Calls of an asynchronous client."""
    client = openai.AsyncOpenAI(
        base_url="http://llm/v1", api_key=KEY, http_client=http, max_retries=0
    )
    agent: Any = Agent(OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client)))

    async def ask(headers: Headers) -> str:
        settings = {"extra_headers": dict(headers)}
        return str((await agent.run(PROMPT, model_settings=settings)).output)

    async def stream(headers: Headers) -> AsyncIterator[str]:
        settings = {"extra_headers": dict(headers)}
        async with agent.run_stream(PROMPT, model_settings=settings) as result:
            async for text in result.stream_text(delta=True, debounce_by=None):
                yield text

    yield AsyncCalls(ask, stream)


SDK = Sdk(
    "pydantic-ai-slim",
    aiclient.httpx2,
    None,
    asynchronous,
    interrupted=ModelAPIError,
    no_node=ModelAPIError,
    answered=ModelAPIError,
)
