"""The spans of a failover read like a story: who was asked, what they did, what followed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

import aiclient
from aiclient import BreakerPolicy, pausing
from aiclient.testing import FakeNode

from .conftest import CHAT, STREAM, Call, InOrder, Spans, named

pytestmark = pytest.mark.anyio
ONE = BreakerPolicy(consecutive=1, consecutive_connect=1, open_for=60)


def events(span: ReadableSpan) -> list[tuple[str, dict[str, Any]]]:
    """What happened during a span."""
    return [(event.name, dict(event.attributes or {})) for event in span.events]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """All of them."""
    return dict(span.attributes or {})


@pytest.mark.parametrize(
    ("fault", "error", "reason", "retry_of"),
    [
        ("500", "500", "consecutive faults", "http 500"),
        ("reset", "ReadError", "consecutive faults", "connection broken"),
        ("error_event", "error event before content", "consecutive faults", None),
        ("refuse", "ConnectError", "cannot connect", "cannot connect"),
    ],
)
async def test_a_failover(
    traced: Spans,
    call: Call,
    nodes: list[FakeNode],
    fault: str,
    error: str,
    reason: str,
    retry_of: str | None,
) -> None:
    """The failed attempt ejected its node; the next one says what it stands in for."""
    nodes[0].fault(fault)
    await call(json=STREAM, breaker=ONE)
    first, second = traced.attempts
    assert events(first) == [("ejected", {"aiclient.node": "a", "aiclient.reason": reason})]
    assert attributes(first)["error.type"] == error
    assert first.status.status_code is StatusCode.ERROR
    assert attributes(second)["aiclient.retry_of"] == (retry_of or error)
    assert attributes(second)["http.request.resend_count"] == 1
    assert [name for name, _ in events(second)] == ["first byte"]
    assert traced.call.status.status_code is StatusCode.UNSET
    assert attributes(traced.call)["aiclient.attempts"] == 2


async def test_a_panic(traced: Spans, call: Call, nodes: list[FakeNode]) -> None:
    """Is an event of the attempt that brought it about."""
    nodes[0].fault("500")
    nodes[1].fault("reset")
    with pytest.raises(Exception, match="attempt"):
        await call(json={}, breaker=ONE, retry=aiclient.RetryPolicy(attempts=2))
    first, second = traced.attempts
    assert [name for name, _ in events(first)] == ["ejected"]
    assert [name for name, _ in events(second)] == ["ejected", "panic"]
    assert events(second)[1] == ("panic", {})


async def test_an_interrupted_stream(traced: Spans, call: Call, nodes: list[FakeNode]) -> None:
    """Ejects its node after the first byte."""
    nodes[0].fault("cut_mid_stream")
    with pytest.raises(aiclient.StreamInterrupted):
        await call(json=STREAM, breaker=ONE)
    (span,) = traced.attempts
    assert [name for name, _ in events(span)] == ["first byte", "ejected"]


def test_what_others_do_is_not_noted(traced: Spans, nodes: list[FakeNode]) -> None:
    """A span tells its own attempt's doings, not what an operator did meanwhile."""
    with aiclient.Client(named(nodes), picker=InOrder()) as client:
        for node in nodes:
            node.set(token_time=0.01, tokens=5)
        with client.stream("POST", CHAT, json=STREAM) as response:
            client.balancer.eject("b", 60)
            response.read()
    (span,) = traced.attempts
    assert [name for name, _ in events(span)] == ["first byte"]


async def test_the_peer_is_named(traced: Spans, call: Call, nodes: list[FakeNode]) -> None:
    """A name stands for several addresses: the span has the one that was used."""
    port = nodes[0].port
    await call(nodes=f"http://localhost:{port}", json={})
    (span,) = traced.attempts
    assert attributes(span)["server.address"] == "localhost"
    assert attributes(span)["network.peer.address"] == "127.0.0.1"
    assert attributes(span)["network.peer.port"] == port


async def test_a_peer_that_breaks_off_is_named(
    traced: Spans, call: Call, nodes: list[FakeNode]
) -> None:
    """One that was never reached is not."""
    nodes[0].fault("reset")
    nodes[1].fault("refuse")
    with pytest.raises(Exception, match="attempt 2"):
        await call(json={}, retry=aiclient.RetryPolicy(attempts=2))
    first, second = traced.attempts
    assert attributes(first)["network.peer.port"] == nodes[0].port
    assert "network.peer.port" not in attributes(second)


async def test_unknown_methods(traced: Spans, call: Call) -> None:
    """Are no names of spans: anybody may make them up."""
    await call("MADEUP", "/v1/models")
    (span,) = traced.attempts
    assert span.name == "HTTP"
    assert attributes(span)["http.request.method"] == "_OTHER"
    assert traced.call.name == "aiclient HTTP"


def test_an_answer_put_by_ends_its_call(
    traced: Spans, nodes: list[FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call that waits for another try, and then gets none, ends with the answer it had."""
    nodes[0].fault("500")
    with aiclient.Balancer(nodes[0].url) as balancer, aiclient.Client(balancer) as client:
        closing = SimpleNamespace(sleep=lambda seconds: balancer.close())
        monkeypatch.setattr(pausing, "time", closing)
        with client.stream("POST", CHAT, json={}) as response:
            assert response.status_code == 500
            assert attributes(traced.call)["http.response.status_code"] == 500
    assert len(traced.attempts) == 1
