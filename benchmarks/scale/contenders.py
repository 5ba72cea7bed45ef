"""Who is measured: the same call, made in several ways."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import httpx

import aiclient

from .raw import RawClient

PATH = "/v1/chat/completions"
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hello " * 50}]}
TIMEOUT = 300.0  # nothing is to time out, however many calls wait

# The first is not ours: what the others are compared to.
TITLES = {
    "httpx": "bare httpx",
    "client": "AsyncClient",
    "pyreqwest": "AsyncClient, pyreqwest",
    "aiohttp": "AsyncClient, httpx-aiohttp",
    "lease": "lease, raw client",
    "litellm": "LiteLLM Router",
}
MODULES = {
    "pyreqwest": "pyreqwest.compatibility.httpx",
    "aiohttp": "httpx_aiohttp",
    "litellm": "litellm",
}
# Ours, and what they are compared to; a router beside them only where it says so.
CLIENTS = ("httpx", "client", "pyreqwest", "aiohttp", "lease")
# What a call may end with; anything else is a mistake in the benchmark and ends it.
FAILURES = (httpx.HTTPError, aiclient.BalancerError, OSError, EOFError)


class Caller(Protocol):
    async def call(self) -> int:
        """Make one call, to its end; the status of its answer."""
        ...

    async def aclose(self) -> None: ...


class HttpxCaller:
    """Any client of httpx's family."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self) -> int:
        return (await self._client.post(PATH, json=REQUEST)).status_code

    async def aclose(self) -> None:
        await self._client.aclose()


class LeaseCaller:
    """A raw client, and the balancer it takes its leases from."""

    def __init__(self, client: RawClient) -> None:
        self._client = client

    async def call(self) -> int:
        return (await self._client.post(PATH, REQUEST))[0]

    async def aclose(self) -> None:
        self._client.close()
        self._client.balancer.close()


class RouterCaller:
    """LiteLLM's Router, with its default strategy and no retries."""

    def __init__(self, nodes: Sequence[aiclient.Endpoint]) -> None:
        litellm: Any = importlib.import_module("litellm")
        common = {"model": "openai/m", "api_key": "k", "max_retries": 0}
        self._router: Any = litellm.Router(
            model_list=[
                {"model_name": "m", "litellm_params": {**common, "api_base": f"{node.url}/v1"}}
                for node in nodes
            ],
            num_retries=0,
            timeout=TIMEOUT,
        )

    async def call(self) -> int:
        await self._router.acompletion(**REQUEST)
        return 200  # it raises for anything else

    async def aclose(self) -> None:
        self._router.discard()


def present(names: Iterable[str] = CLIENTS) -> list[str]:
    """Those of them whose libraries are installed."""
    return [name for name in names if name not in MODULES or installed(MODULES[name])]


def installed(module: str) -> bool:
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def make(name: str, nodes: Sequence[aiclient.Endpoint], *, keep: bool = True) -> Caller:
    """That contender over these nodes; bare httpx has the first one alone.

    `keep`: whether connections are used again. None of them has a limit on open ones.
    """
    # Idle connections are kept as long as a round can last: what expires would be opened anew.
    limits = httpx.Limits(
        max_connections=None,
        max_keepalive_connections=None if keep else 0,
        keepalive_expiry=TIMEOUT,
    )
    if name == "httpx":
        base = nodes[0].url
        return HttpxCaller(httpx.AsyncClient(base_url=base, limits=limits, timeout=TIMEOUT))
    if name == "client":
        return HttpxCaller(aiclient.AsyncClient(nodes, limits=limits, timeout=TIMEOUT))
    if name == "litellm":
        return RouterCaller(nodes)
    if name == "lease":
        return LeaseCaller(RawClient(aiclient.Balancer(nodes), keep=keep))
    factory = FACTORIES[name](keep)
    return HttpxCaller(
        aiclient.AsyncClient(nodes, transport_factory=factory, timeout=TIMEOUT),
    )


def pyreqwest_under(keep: bool) -> Callable[[aiclient.Endpoint], httpx.AsyncBaseTransport]:
    client: Any = importlib.import_module("pyreqwest.client")
    compatible: Any = importlib.import_module(MODULES["pyreqwest"])

    def factory(_: aiclient.Endpoint) -> httpx.AsyncBaseTransport:
        builder = client.ClientBuilder()
        if not keep:
            builder = builder.pool_max_idle_per_host(0)
        transport: httpx.AsyncBaseTransport = compatible.HttpxTransport(builder.build())
        return transport

    return factory


def aiohttp_under(keep: bool) -> Callable[[aiclient.Endpoint], httpx.AsyncBaseTransport]:
    aiohttp: Any = importlib.import_module("aiohttp")
    compatible: Any = importlib.import_module(MODULES["aiohttp"])

    def session() -> Any:
        # No limit (0): its own would let 100 calls in at a time.
        options = {"limit": 0} if keep else {"limit": 0, "force_close": True}
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(**options))

    def factory(_: aiclient.Endpoint) -> httpx.AsyncBaseTransport:
        transport: httpx.AsyncBaseTransport = compatible.AiohttpTransport(client=session)
        return transport

    return factory


FACTORIES = {"pyreqwest": pyreqwest_under, "aiohttp": aiohttp_under}


def endpoints(ports: Sequence[int], count: int | None = None) -> list[aiclient.Endpoint]:
    """A node for each port, or `count` of them, told apart by their names."""
    if count is None:
        return [aiclient.Endpoint(f"http://127.0.0.1:{port}") for port in ports]
    return [
        aiclient.Endpoint(f"http://127.0.0.1:{ports[n % len(ports)]}", name=f"n{n}")
        for n in range(count)
    ]
