"""How clients and balancers are made, what they refuse and say, and what they look like."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aiclient
from aiclient import (
    BreakerPolicy,
    ConfigurationError,
    Deadlines,
    Endpoint,
    OutlierPolicy,
    RetryPolicy,
)
from aiclient.testing import FakeNode

from .family import clients, httpx

MODELS = "/v1/models"
NODE = "http://10.0.0.1:8000"
BUILDERS: list[Callable[..., Any]] = [
    clients.Client,
    clients.AsyncClient,
    clients.BalancedTransport,
    clients.AsyncBalancedTransport,
]
CLIENTS = BUILDERS[:2]
everywhere = pytest.mark.parametrize("build", BUILDERS)
each_client = pytest.mark.parametrize("build", CLIENTS)


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """A node that takes no time."""
    with FakeNode(prefill=0, token_time=0) as node:
        yield node


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([], "nodes: empty; at least one node is needed"),
        ("", "nodes: empty"),
        (" , ,", "nodes: empty"),
        (None, "nodes: None is not allowed"),
        (5, "nodes: 5 is not allowed"),
        (b"http://x", "nodes: b'http://x' is not allowed"),
        ({"http://x": 1}, "nodes: .* is not allowed"),
        ([5], "nodes: 5 is not allowed; a URL or an Endpoint"),
        ([None], "nodes: None is not allowed"),
        (["10.0.0.1:8000"], r"Endpoint\.url: '10\.0\.0\.1:8000' .*'http://10\.0\.0\.1:8000'\?"),
        (["http://"], r"Endpoint\.url: .* it needs a host"),
        (["http://x:99999"], r"Endpoint\.url: .* it needs a port from 1 to 65535"),
        (["http://x:0"], "it needs a port from 1 to 65535"),
        (["http://x:port"], "it needs a port from 1 to 65535"),
        (["http://[::1"], "cannot be parsed"),
        (["http://a b"], "it needs a host"),
        (["http://x/\n"], None),
        (["http://x/?q=1"], "no query, no fragment"),
        (["http://x/#f"], "no query, no fragment"),
        (["tcp://x:1"], "http:// or https:// for an HTTP client"),
        (["ftp://x:21"], "http:// or https://"),
        ([NODE, NODE], f"nodes: {NODE} stands twice; each node once"),
        ([NODE, NODE + "/"], "stands twice"),
        (f"{NODE},{NODE}", "stands twice"),
        (["dns://llm:8000"], "a discovery URL stands alone"),
    ],
)
@everywhere
def test_bad_nodes(build: Callable[..., Any], nodes: Any, message: str | None) -> None:
    """Each says what is wrong and what is allowed."""
    if message is None:
        build(nodes)  # a line break at the end of a line of a file is no mistake
        return
    with pytest.raises(ConfigurationError, match=message):
        build(nodes)


def test_credentials_in_a_nodes_url_are_refused_and_not_shown() -> None:
    """The message names the place where they belong, not what they are."""
    with pytest.raises(ConfigurationError, match="put them in headers=") as caught:
        clients.Client(["http://me:canary@10.0.0.1:8000"])
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("retry", 3, "retry: 3 is not allowed; a RetryPolicy or None"),
        ("breaker", True, "breaker: True is not allowed; a BreakerPolicy or None"),
        ("outlier", "x", "outlier: 'x' is not allowed; a OutlierPolicy or None"),
        ("deadlines", 20.0, "deadlines: 20.0 is not allowed; a Deadlines or None"),
        ("picker", "random", "picker: 'random' is not allowed"),
        ("picker", aiclient.LeastLoad, "picker: .* is not allowed"),
        ("limits", 100, "limits: 100 is not allowed; an httpx2?.Limits"),
        ("limits", httpx.Limits(max_connections=0), "limits.max_connections: 0 is not allowed"),
        ("limits", httpx.Limits(max_connections=-1), "limits.max_connections"),
        ("limits", httpx.Limits(max_keepalive_connections=-1), "limits.max_keepalive_connections"),
        ("limits", httpx.Limits(keepalive_expiry=-1), "limits.keepalive_expiry"),
        ("limits", httpx.Limits(keepalive_expiry=math.nan), "limits.keepalive_expiry"),
        ("transport_factory", httpx.HTTPTransport(), "transport_factory: .* is not allowed"),
        ("http1", False, "http1: False is not allowed without http2=True"),
        ("verify", 5, "verify, cert: cannot be used"),
    ],
)
@everywhere
def test_bad_settings(build: Callable[..., Any], name: str, value: Any, message: str) -> None:
    """A setting of the wrong kind or range is named, with its value and what is allowed."""
    with pytest.raises(ConfigurationError, match=message):
        build(NODE, **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("proxy", "http://proxy:3128"),
        ("mounts", {"all://": httpx.HTTPTransport()}),
        ("transport", httpx.HTTPTransport()),
    ],
)
@each_client
def test_options_that_would_bypass_the_balancer(
    build: Callable[..., Any], name: str, value: Any
) -> None:
    """Are refused, and the way that works is named."""
    with pytest.raises(ConfigurationError, match=rf"{name}: .*bypass.*transport_factory="):
        build(NODE, **{name: value})
    build(NODE, **{name: None})


@each_client
def test_unknown_options(build: Callable[..., Any]) -> None:
    """A misspelt option is an error that lists the ones there are."""
    with pytest.raises(ConfigurationError, match=r"timeuot: no such option; .*timeout"):
        build(NODE, timeuot=3)
    with pytest.raises(ConfigurationError, match="concurrency"):
        build(NODE, concurrency=5)


@pytest.mark.parametrize(
    "option", [{"verify": False}, {"http2": True}, {"limits": httpx.Limits()}, {"cert": "x"}]
)
@everywhere
def test_connection_options_beside_a_factory(
    build: Callable[..., Any], option: dict[str, Any]
) -> None:
    """They would be ignored: the factory's transports have their own."""
    name = next(iter(option))
    with pytest.raises(ConfigurationError, match=f"{name}: not allowed beside transport_factory"):
        build(NODE, transport_factory=lambda endpoint: httpx.HTTPTransport(), **option)


@pytest.mark.parametrize("name", ["picker", "retry", "breaker", "outlier", "deadlines"])
@everywhere
def test_policies_beside_a_balancer(build: Callable[..., Any], name: str) -> None:
    """A balancer has its own; even None would say something else."""
    balancer = aiclient.Balancer(NODE)
    with pytest.raises(ConfigurationError, match=f"{name}: not allowed beside a Balancer"):
        build(balancer, **{name: None})


@pytest.mark.parametrize(
    ("policy", "settings", "message"),
    [
        (RetryPolicy, {"attempts": 0}, r"RetryPolicy\.attempts: 0 is not allowed; a whole number"),
        (RetryPolicy, {"attempts": 2.5}, r"attempts: 2\.5"),
        (RetryPolicy, {"attempts": True}, "attempts: True"),
        (RetryPolicy, {"budget": 1.5}, r"budget: 1\.5 is not allowed; a share >= 0 and <= 1"),
        (RetryPolicy, {"backoff": math.nan}, "backoff: nan"),
        (RetryPolicy, {"backoff": 0}, "backoff: 0 is not allowed; seconds > 0"),
        (RetryPolicy, {"backoff": 5.0}, r"max_backoff: 2\.0 is not allowed; at least backoff=5"),
        (RetryPolicy, {"idempotent": True}, "idempotent: True is not allowed; a callable"),
        (RetryPolicy, {"retries": 3}, r"RetryPolicy\.retries does not exist; there are: attempts"),
        (BreakerPolicy, {"window": math.inf}, "window: inf"),
        (BreakerPolicy, {"consecutive": "5"}, "consecutive: '5'"),
        (BreakerPolicy, {"stall_after": -1}, "stall_after: -1 is not allowed; .* or None"),
        (OutlierPolicy, {"fail_fast": 1}, "fail_fast: 1 is not allowed; True or False"),
        (OutlierPolicy, {"max_ejected": -0.1}, "max_ejected"),
        (Deadlines, {"total": 0}, "total: 0 is not allowed; seconds > 0, or None"),
        (Deadlines, {"header": "X Timeout"}, "header: 'X Timeout' is not allowed"),
        (Deadlines, {"header": "X-T\r\nEvil"}, "header"),
    ],
)
def test_bad_policies(policy: Callable[..., Any], settings: dict[str, Any], message: str) -> None:
    """Every setting is checked when it is made."""
    with pytest.raises(ConfigurationError, match=message):
        policy(**settings)
    with pytest.raises(ConfigurationError, match="takes keywords only"):
        policy(3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": -1}, r"Endpoint\.weight: -1 is not allowed; a finite number >= 0"),
        ({"weight": math.nan}, "weight: nan"),
        ({"weight": math.inf}, "weight: inf"),
        ({"weight": True}, "weight: True"),
        ({"weight": "2"}, "weight: '2'"),
        ({"headers": {"A b": "c"}}, "headers: 'A b' is not allowed"),
        ({"headers": 5}, "headers: a mapping"),
        ({"name": ""}, "name: ''"),
        ({"name": "a\nb"}, "name"),
        ({"tls_name": 5}, "tls_name: 5"),
        ({"host_header": "a b"}, "host_header: 'a b' is not allowed"),
        ({"host_header": "日本"}, "host_header"),
        ({"host_header": "x\r\nEvil: 1"}, "host_header"),
        ({"labels": {"a": 1}}, "labels"),
    ],
)
def test_bad_endpoints(settings: dict[str, Any], message: str) -> None:
    """So is everything about a node."""
    with pytest.raises(ConfigurationError, match=message):
        Endpoint(NODE, **settings)


def test_a_nodes_headers_are_never_shown() -> None:
    """Neither by a repr nor by an error."""
    endpoint = Endpoint(NODE, headers={"Authorization": "Bearer canary"})
    client = clients.Client([endpoint])
    shown = [repr(endpoint), repr(client), repr(client.balancer), repr(client.balancer.snapshot())]
    with pytest.raises(ConfigurationError) as caught:
        Endpoint(NODE, headers={"Authorization": "canary\n"})
    assert "canary" not in "".join([*shown, str(caught.value)])


def test_an_empty_update_changes_nothing(node: FakeNode) -> None:
    """A mistake cannot delete every node."""
    with clients.Client(node.url) as client:
        for bad in ([], "", None, [node.url, node.url], ["x"]):
            with pytest.raises(ConfigurationError):
                client.balancer.update(bad)
        assert client.get(MODELS).status_code == 200


def test_a_repr_is_a_status_report(node: FakeNode) -> None:
    """What an operator asks first: which nodes, in what state, how busy, and why."""
    endpoints = [Endpoint(node.url, name="a"), Endpoint("http://127.0.0.1:9", name="b")]
    with clients.Client(endpoints) as client:
        client.get(MODELS)
        client.balancer.eject("b", 60)
        client.balancer.drain("a")
        text = repr(client)
        assert text.startswith("<Client <Balancer LeastLoad() in_flight=0: a drained in_flight=0")
        assert "b ejected in_flight=0" in text
        assert "(ejected by hand)" in text
    assert repr(client.balancer).startswith("<Balancer closed ")


@each_client
def test_defaults(build: Callable[..., Any]) -> None:
    """As the AI SDKs have them; the logical service has a URL."""
    client = build(NODE)
    assert client.timeout == httpx.Timeout(600, connect=5)
    assert client.base_url == httpx.URL("http://aiclient.invalid")
    assert build(NODE, timeout=None).timeout == httpx.Timeout(None)
    assert build(NODE, base_url="http://llm/v1").base_url == httpx.URL("http://llm/v1/")
    assert isinstance(client, (httpx.Client, httpx.AsyncClient))


def test_every_way_to_name_nodes() -> None:
    """URLs as text, httpx.URLs, `Endpoint`s, a generator, one comma-separated str, a balancer."""
    other = "http://10.0.0.2:8000"
    for nodes in (
        [NODE, other],
        f"{NODE}, {other}",
        (httpx.URL(NODE), Endpoint(other)),
        (url for url in (NODE, other)),
        {NODE, other},
        aiclient.Balancer([NODE, other]),
    ):
        client = clients.Client(nodes)
        assert {str(endpoint) for endpoint in client.balancer.endpoints} == {NODE, other}


def test_a_client_is_a_context_manager(node: FakeNode) -> None:
    """Leaving the block closes it, and the balancer that was made for it."""
    with clients.Client(node.url) as client:
        assert client.get(MODELS).status_code == 200
    assert client.is_closed
    assert client.balancer.closed


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_an_async_client_is_one_too(node: FakeNode) -> None:
    """On both event loops; and it can be waited for."""
    async with clients.AsyncClient(node.url) as client:
        await client.balancer.await_ready(5)
        assert (await client.get(MODELS)).status_code == 200
        client.balancer.drain(node.url)
        with pytest.raises(TimeoutError, match=r"no node became ready within 0\.05 s: .*drained"):
            await client.balancer.await_ready(0.05)
    assert client.balancer.closed
    with pytest.raises(aiclient.BalancerError, match="closed"):
        await client.balancer.await_ready(5)


@each_client
def test_a_url_is_merged_as_httpx_merges_it_the_second_time_too(build: Callable[..., Any]) -> None:
    """The first time httpx merges it, the second time it is remembered."""
    client = build([NODE], base_url="http://llm/v1")
    bare = httpx.Client(base_url="http://llm/v1")
    for path in ("chat", "/chat", "/chat?a=1&b=%20", "", "http://other/x", "?q=1"):
        expected = bare.build_request("GET", path).url
        for _ in range(2):
            assert client.build_request("GET", path).url == expected
        with_more = bare.build_request("GET", path, params={"p": "1"}).url
        assert client.build_request("GET", path, params={"p": "1"}).url == with_more
        assert client.build_request("GET", path).url == expected


@each_client
def test_a_remembered_url_follows_the_clients_settings(build: Callable[..., Any]) -> None:
    """What was remembered for other settings is not used."""
    client = build([NODE], base_url="http://llm/v1")
    assert str(client.build_request("GET", "/chat").url) == "http://llm/v1/chat"
    client.base_url = "http://llm/v2"
    assert str(client.build_request("GET", "/chat").url) == "http://llm/v2/chat"
    client.params = {"tenant": "a"}
    assert str(client.build_request("GET", "/chat").url) == "http://llm/v2/chat?tenant=a"
    assert str(client.build_request("GET", "/new").url) == "http://llm/v2/new?tenant=a"
    client.params = {}
    assert str(client.build_request("GET", "/new").url) == "http://llm/v2/new"


@each_client
def test_remembered_urls_are_bounded(build: Callable[..., Any]) -> None:
    """Paths may come from outside."""
    client = build([NODE])
    for number in range(1000):
        client.build_request("GET", f"/{number}")
    assert len(client._requests._memory.urls) <= 256
    assert len(client._requests._memory.requests) <= 256
