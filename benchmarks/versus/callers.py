"""How a caller makes a call through each contender: one coroutine per call, which may raise."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import httpx

import aiclient

from .proxies import PROXIES, is_here, proxy

__all__ = ["CONTENDERS", "caller", "is_installed"]

TIMEOUT = 30.0  # seconds, of every caller
_PATH = "/v1/chat/completions"
_MESSAGES = [{"role": "user", "content": "hello " * 20}]
_STRATEGIES = {
    "litellm": "simple-shuffle",
    "litellm-busy": "least-busy",
    "litellm-latency": "latency-based-routing",
}
CONTENDERS = ("aiclient", "round-robin", *PROXIES, *_STRATEGIES)
Call = Callable[[int], Awaitable[None]]


def is_installed(name: str) -> bool:
    """Whether it can be measured here."""
    if name in PROXIES:
        return is_here(name)
    return name not in _STRATEGIES or importlib.util.find_spec("litellm") is not None


@contextlib.asynccontextmanager
async def caller(name: str, nodes: Sequence[str]) -> AsyncIterator[Call]:
    """Makes a call that asks for so many tokens."""
    if name == "aiclient":
        async with aiclient.AsyncClient(nodes, timeout=TIMEOUT) as client:
            yield lambda tokens: _post(client, _PATH, tokens)
    elif name == "round-robin":
        turns = itertools.cycle(nodes)
        async with _bare() as client:
            yield lambda tokens: _post(client, next(turns) + _PATH, tokens)
    elif name in PROXIES:
        with proxy(name, nodes) as url:
            async with _bare() as client:
                yield lambda tokens: _post(client, url + _PATH, tokens)
    else:
        yield _litellm(nodes, _STRATEGIES[name])


def _bare() -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(timeout=TIMEOUT, limits=limits)


async def _post(client: httpx.AsyncClient, url: str, tokens: int) -> None:
    body = {"model": "fake-model", "messages": _MESSAGES, "max_tokens": tokens}
    answer = await client.post(url, json=body)
    answer.raise_for_status()
    answer.json()


def _litellm(nodes: Sequence[str], strategy: str) -> Call:
    # https://docs.litellm.ai/docs/routing: retries, timeouts, cooldowns
    import litellm

    litellm.suppress_debug_info = True
    parameters: dict[str, Any] = {"model": "openai/fake-model", "api_key": "k", "max_retries": 0}
    router: Any = litellm.Router(
        model_list=[
            {"model_name": "m", "litellm_params": {**parameters, "api_base": f"{node}/v1"}}
            for node in nodes
        ],
        routing_strategy=strategy,  # type: ignore[arg-type, unused-ignore]
        num_retries=3,
        timeout=TIMEOUT,
    )

    async def call(tokens: int) -> None:
        await router.acompletion(model="m", messages=_MESSAGES, max_tokens=tokens)

    return call
