"""The retries of SDKs that are left on: counted with ours, and stopped when no node is left."""

from __future__ import annotations

from collections.abc import Iterator

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
