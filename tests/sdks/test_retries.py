"""The retries of SDKs that are left on: counted with ours, and stopped when no node is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

import aiclient
from aiclient.testing import FakeNode

openai = pytest.importorskip("openai", minversion="3")
httpx2_family = pytest.importorskip("aiclient.httpx2")

MESSAGES = [{"role": "user", "content": "Say something."}]
# What the SDK waits before a retry of its own is not to make the tests slow.
AT_ONCE = {"retry-after-ms": "1"}


@pytest.fixture
def nodes() -> Iterator[list[FakeNode]]:
    """Two quick nodes."""
    with (
        FakeNode(prefill=0, token_time=0, name="a") as a,
        FakeNode(prefill=0, token_time=0, name="b") as b,
    ):
        yield [a, b]


def test_a_retry_of_the_sdk_says_so_and_shares_the_budget(nodes: list[FakeNode]) -> None:
    """Calls of an SDK with retries on do not send more than the budget allows."""
    for node in nodes:
        node.fault("500")
    retry = aiclient.RetryPolicy(attempts=2, budget=0, reserve=1)
    urls = [node.url for node in nodes]
    with httpx2_family.Client(urls, retry=retry, breaker=None) as http:
        sent: list[str] = []
        http.event_hooks["request"].append(
            lambda request: sent.append(request.headers["x-stainless-retry-count"])
        )
        http.event_hooks["response"].append(lambda response: response.headers.update(AT_ONCE))
        client = openai.OpenAI(
            base_url="http://llm/v1", api_key="k", max_retries=2, http_client=http
        )
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="m", messages=MESSAGES)
    assert sent == ["0", "1", "2"]
    assert sum(len(node.requests) for node in nodes) == 2 + 1 + 1


def test_a_retry_of_the_async_sdk_does_so_too(nodes: list[FakeNode]) -> None:
    """The same with `openai.AsyncOpenAI`."""
    for node in nodes:
        node.fault("500")

    async def ask() -> None:
        retry = aiclient.RetryPolicy(attempts=2, budget=0, reserve=1)
        urls = [node.url for node in nodes]
        async with httpx2_family.AsyncClient(urls, retry=retry, breaker=None) as http:

            async def at_once(response: Any) -> None:
                response.headers.update(AT_ONCE)

            http.event_hooks["response"].append(at_once)
            client = openai.AsyncOpenAI(
                base_url="http://llm/v1", api_key="k", max_retries=2, http_client=http
            )
            await client.chat.completions.create(model="m", messages=MESSAGES)

    with pytest.raises(openai.InternalServerError):
        asyncio.run(ask())
    counts = sorted(
        request.headers["x-stainless-retry-count"] for node in nodes for request in node.requests
    )
    assert counts == ["0", "0", "1", "2"]


@pytest.fixture
def redirecting(nodes: list[FakeNode]) -> Iterator[str]:
    """A node that sends every call to another node, by its own address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(307)
            self.send_header("Location", f"{nodes[0].url}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_redirect_to_another_node_stays_in_the_service(
    nodes: list[FakeNode], redirecting: str
) -> None:
    """The SDK follows it, to a node, under the service's name and with the SDK's key."""
    picker = aiclient.RoundRobin()
    two = [redirecting, nodes[0].url]
    with httpx2_family.Client(two, picker=picker, follow_redirects=True) as http:
        client = openai.OpenAI(
            base_url="http://llm/v1", api_key="k", max_retries=0, http_client=http
        )
        urls = set()
        for _ in range(4):
            raw = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
            urls.add(str(raw.http_response.url))
            assert raw.parse().choices
    assert urls == {"http://llm/v1/chat/completions"}
    assert {request.headers["authorization"] for request in nodes[0].requests} == {"Bearer k"}
    assert len(nodes[0].requests) == 4


def test_a_redirect_to_a_stranger_is_refused(nodes: list[FakeNode], redirecting: str) -> None:
    """Nothing is sent there: neither the prompt nor the key."""
    with httpx2_family.Client(redirecting, follow_redirects=True) as http:
        client = openai.OpenAI(
            base_url="http://llm/v1", api_key="k", max_retries=0, http_client=http
        )
        with pytest.raises(openai.APIConnectionError) as caught:
            client.chat.completions.create(model="m", messages=MESSAGES)
    assert isinstance(caught.value.__cause__, aiclient.errors.RedirectRefused)
    assert not nodes[0].requests


def test_no_node_as_an_answer_stops_the_sdks_retries(nodes: list[FakeNode]) -> None:
    """The 503 that stands for "no node available" is not retried, though retries are on."""
    for node in nodes:
        node.fault("refuse")
    outlier = aiclient.OutlierPolicy(fail_fast=True, no_node="answer")
    breaker = aiclient.BreakerPolicy(consecutive_connect=1)
    urls = [node.url for node in nodes]
    with httpx2_family.Client(urls, outlier=outlier, breaker=breaker, retry=None) as http:
        once = openai.OpenAI(base_url="http://llm/v1", api_key="k", max_retries=0, http_client=http)
        for _ in nodes:
            with pytest.raises(openai.APIConnectionError):
                once.chat.completions.create(model="m", messages=MESSAGES)
        sent: list[object] = []
        http.event_hooks["request"].append(sent.append)
        thrice = once.with_options(max_retries=2)
        with pytest.raises(openai.InternalServerError, match=nodes[0].url):
            thrice.chat.completions.create(model="m", messages=MESSAGES)
    assert len(sent) == 1


def test_an_answer_bears_the_name_of_the_service(nodes: list[FakeNode]) -> None:
    """`response.url` and what a redirect leads to are the service's, not the node's."""
    with httpx2_family.Client([node.url for node in nodes]) as http:
        client = openai.OpenAI(
            base_url="http://llm/v1", api_key="k", max_retries=0, http_client=http
        )
        raw = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
    assert str(raw.http_response.url) == "http://llm/v1/chat/completions"
    assert raw.http_response.extensions["aiclient"].attempts[0].outcome == "ok"
