"""https by address: the certificate is for the name, and for the name alone."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import anyio
import httpx
import pytest
import trustme

import aiclient
from aiclient import DNSDiscovery, SRVDiscovery
from aiclient.testing import FakeNode

from .dns_server import OwnServer
from .traffic import FLAVOURS

NAME = "llm.test"
SRV = "_llm._tcp.llm.test"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Signs the nodes' certificates."""
    return trustme.CA()


@pytest.fixture
def pair(authority: trustme.CA) -> Iterator[list[FakeNode]]:
    """Two nodes with a certificate for the name only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(NAME).configure_cert(context)
    with ExitStack() as stack:
        one = stack.enter_context(FakeNode(host="127.0.0.11", prefill=0, tls=context))
        two = FakeNode(host="127.0.0.12", port=one.port, prefill=0, tls=context)
        yield [one, stack.enter_context(two)]


@pytest.fixture
def own(pair: list[FakeNode]) -> Iterator[OwnServer]:
    """Names them by its name, by another one, and as services."""
    made = OwnServer()
    for name in (NAME, "other.test"):
        made.put(name, "A", *(node.host for node in pair))
        made.put(f"_llm._tcp.{name}", "SRV", f"1 1 {pair[0].port} {name}.")
    yield made
    made.close()


def source(kind: str, name: str, own: OwnServer, port: int) -> aiclient.Discovery:
    """The nodes behind a name, by this kind of record."""
    servers = [f"127.0.0.1:{own.port}"]
    if kind == "SRV":
        return SRVDiscovery(f"_llm._tcp.{name}", scheme="https", nameservers=servers)
    return DNSDiscovery(f"dns+https://{name}:{port}", resolver="dns", nameservers=servers)


def call(flavour: str, nodes: object, authority: trustme.CA, times: int) -> list[int]:
    """So many calls by that kind of caller."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    options: dict[str, Any] = {"verify": context, "picker": aiclient.RoundRobin(), "retry": None}
    if flavour == "sync":
        with aiclient.Client(nodes, **options) as client:
            return [client.get("/v1/models").status_code for _ in range(times)]

    async def run() -> list[int]:
        async with aiclient.AsyncClient(nodes, **options) as client:
            return [(await client.get("/v1/models")).status_code for _ in range(times)]

    return anyio.run(run, backend=flavour)


@pytest.mark.parametrize("kind", ["A", "SRV"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_by_name(
    flavour: str, kind: str, own: OwnServer, pair: list[FakeNode], authority: trustme.CA
) -> None:
    """Both verify by it, and are told it as Host."""
    port = pair[0].port
    assert call(flavour, source(kind, NAME, own, port), authority, 4) == [200] * 4
    assert [node.requests.total for node in pair] == [2, 2]
    assert {node.requests[-1].headers["host"] for node in pair} == {f"{NAME}:{port}"}


@pytest.mark.parametrize("kind", ["A", "SRV"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_wrong_name(
    flavour: str, kind: str, own: OwnServer, pair: list[FakeNode], authority: trustme.CA
) -> None:
    """Fails before anything is sent; the error names the node and the name."""
    with pytest.raises(httpx.ConnectError, match=r"no valid certificate for 'other\.test'") as it:
        call(flavour, source(kind, "other.test", own, pair[0].port), authority, 1)
    tried = aiclient.attempts_of(it.value)[0]
    assert tried.node in {node.url for node in pair}
    assert tried.node in str(it.value), (str(it.value), it.value.__notes__)
    assert not any(node.requests.total for node in pair)
