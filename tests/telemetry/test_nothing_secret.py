"""Canaries wherever a credential may be: none of them comes out as a span, a metric or a log."""

from __future__ import annotations

import base64
import logging
from typing import Any

import httpx
import pytest

import aiclient
from aiclient import BreakerPolicy, Endpoint
from aiclient.testing import FakeNode

from .conftest import CHAT, STREAM, Call, InOrder, Lines, Metrics, Spans

pytestmark = pytest.mark.anyio
CANARY = "canary"
# As httpx sends what stands before the @ of a URL.
BASIC = base64.b64encode(f"{CANARY}:{CANARY}".encode()).decode()
SECRETS: dict[str, Any] = {
    "url": f"{CHAT}?api_key={CANARY}",
    "base_url": f"http://{CANARY}:{CANARY}@llm",
    "json": {**STREAM, "messages": [{"role": "user", "content": CANARY}], "user": CANARY},
    "headers": {"Authorization": f"Bearer {CANARY}", "x-aiclient-key": CANARY},
    "cookies": {"session": CANARY},
}


@pytest.fixture
def shown(traced: Spans, measured: Metrics, logged: Lines, caplog: pytest.LogCaptureFixture) -> Any:
    """Everything that telemetry shows, as text."""
    caplog.set_level(logging.WARNING, "httpx")

    def shown() -> list[str]:
        spans = [span.to_json() for span in traced.all]
        points = [str(point) for points in measured.collect().values() for point in points]
        assert spans
        assert points
        assert logged.calls
        return [*spans, *points, *logged.text]

    return shown


def with_keys(nodes: list[FakeNode]) -> list[Endpoint]:
    """The nodes, each with a credential of its own."""
    return [
        Endpoint(node.url, name=name, headers={"X-Api-Key": CANARY})
        for node, name in zip(nodes, "ab", strict=True)
    ]


@pytest.mark.parametrize(
    "fault", ["500", "401", "429", "reset", "refuse", "garbage", "error_event"]
)
async def test_in_a_failover(shown: Any, call: Call, nodes: list[FakeNode], fault: str) -> None:
    """The first node fails one way or another, the second one in mid-stream."""
    nodes[0].fault(fault)
    nodes[1].fault("cut_mid_stream")
    with pytest.raises(aiclient.StreamInterrupted):
        await call(nodes=with_keys(nodes), breaker=BreakerPolicy(consecutive=1), **SECRETS)
    assert not [text for text in shown() if CANARY in text or BASIC in text]


class Careless(httpx.BaseTransport):
    """Says in its errors whatever it was given."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(f"no {request.url}, with {dict(request.headers)}")


def test_in_another_s_errors(shown: Any, nodes: list[FakeNode], logged: Lines) -> None:
    """A user's transport may name anything in its errors."""
    with aiclient.Client(
        with_keys(nodes),
        picker=InOrder(),
        transport_factory=lambda endpoint: Careless(),
        breaker=BreakerPolicy(consecutive=1),
    ) as client:
        headers = {"Authorization": f"Bearer {CANARY}"}
        with pytest.raises(httpx.ReadError, match=CANARY):
            client.post(SECRETS["url"], json={}, headers=headers)
    assert any("ejected a: consecutive faults: " in text for text in logged.text)
    assert not [text for text in shown() if CANARY in text]


def test_the_canaries_arrive(nodes: list[FakeNode]) -> None:
    """The tests above can fail: all of it is sent to the node."""
    with aiclient.Client(
        with_keys(nodes)[:1], base_url=SECRETS["base_url"], cookies=SECRETS["cookies"]
    ) as client:
        client.post(CHAT, json=SECRETS["json"])
    (request,) = nodes[0].requests
    assert CANARY in request.headers["x-api-key"]
    assert CANARY in request.headers["cookie"]
    assert BASIC in request.headers["authorization"]
    assert CANARY in request.body.decode()
