"""Beside OpenTelemetry's own instrumentors of httpx and httpx2: no attempt is traced twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anyio
import httpx
import httpx2
import pytest
from opentelemetry import context, propagate
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY
from opentelemetry.instrumentation.httpx import (
    HTTPX2ClientInstrumentor,
    HTTPXClientInstrumentor,
)
from opentelemetry.trace import SpanKind

import aiclient
from aiclient.testing import FakeNode

from .conftest import CHAT, STREAM, Call, InOrder, Spans, named

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["bare", "instrumented"])
def instrumented(request: pytest.FixtureRequest, traced: Spans) -> Iterator[bool]:
    """Without the instrumentors, and with both of them."""
    both = (HTTPXClientInstrumentor(), HTTPX2ClientInstrumentor())
    on: bool = request.param == "instrumented"
    for one in both if on else ():
        one.instrument(tracer_provider=traced.provider)
    yield on
    for one in both if on else ():
        one.uninstrument()


@pytest.fixture(params=["httpx", "httpx2"])
def family(request: pytest.FixtureRequest) -> Any:
    """Whose clients call."""
    return aiclient if request.param == "httpx" else aiclient.httpx2


def test_the_instrumentors_work(traced: Spans, nodes: list[FakeNode]) -> None:
    """The tests below can fail: bare clients of both families are traced."""
    for module, instrumentor in (
        (httpx, HTTPXClientInstrumentor()),
        (httpx2, HTTPX2ClientInstrumentor()),
    ):
        instrumentor.instrument(tracer_provider=traced.provider)
        with module.Client() as client:
            client.get(f"{nodes[0].url}/v1/models")
        instrumentor.uninstrument()
    assert [span.kind for span in traced.all] == [SpanKind.CLIENT] * 2


def nodes_of(traced: Spans) -> list[str]:
    """The nodes of the attempts' spans; there are no others but the call's."""
    assert len(traced.all) == len(traced.attempts) + 1
    for span in traced.attempts:
        assert span.parent == traced.call.context
    return [str((span.attributes or {})["aiclient.node"]) for span in traced.attempts]


# Our own connections, and transports that the instrumentors do patch.
WAYS: dict[str, dict[str, Any]] = {"own": {}, "http2": {"http2": True}}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.usefixtures("instrumented")
class TestEachAttemptHasOneSpan:
    """Whatever becomes of it, over each way to the nodes, in both families."""

    async def test_retried(
        self, traced: Spans, call: Call, nodes: list[FakeNode], family: Any, way: str
    ) -> None:
        """Two attempts, two spans."""
        nodes[0].fault("503")
        await call(json={}, family=family, **WAYS[way])
        assert nodes_of(traced) == ["a", "b"]

    # httpx leaves its own generators half-read, of which trio complains.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    async def test_streamed(
        self, traced: Spans, call: Call, nodes: list[FakeNode], family: Any, way: str
    ) -> None:
        """One, that ends with the stream."""
        for node in nodes:
            node.set(token_time=0.01, tokens=10)
        await call(json=STREAM, family=family, **WAYS[way])
        assert nodes_of(traced) == ["a"]
        (span,) = traced.attempts
        first_byte = span.events[0]
        assert first_byte.name == "first byte"
        assert (span.end_time or 0) - first_byte.timestamp > 50_000_000

    async def test_cancelled(
        self, traced: Spans, nodes: list[FakeNode], flavour: str, family: Any, way: str
    ) -> None:
        """One."""
        if flavour == "sync":
            pytest.skip("nothing to cancel")
        nodes[0].fault("hang")
        async with family.AsyncClient(named(nodes)[:1], **WAYS[way]) as client:
            with anyio.move_on_after(0.1):
                await client.post(CHAT, json={})
        assert nodes_of(traced) == ["a"]


def test_a_transport_of_the_user_s(
    traced: Spans, nodes: list[FakeNode], instrumented: bool, family: Any
) -> None:
    """The node gets our traceparent, not the instrumentor's."""
    module = httpx if family is aiclient else httpx2
    with family.Client(
        named(nodes), picker=InOrder(), transport_factory=lambda endpoint: module.HTTPTransport()
    ) as client:
        client.post(CHAT, json={})
    assert nodes_of(traced) == ["a"]
    (span,) = traced.attempts
    assert span.context is not None
    assert f"{span.context.span_id:016x}" in nodes[0].requests[-1].headers["traceparent"]
    assert (span.attributes or {})["network.peer.port"] == nodes[0].port


def test_a_client_that_is_instrumented_alone(
    traced: Spans, nodes: list[FakeNode], caplog: pytest.LogCaptureFixture
) -> None:
    """`instrument_client` finds that ours traces already."""
    for family, instrumentor in (
        (aiclient, HTTPXClientInstrumentor),
        (aiclient.httpx2, HTTPX2ClientInstrumentor),
    ):
        with family.Client(named(nodes)) as client:
            instrumentor.instrument_client(client, tracer_provider=traced.provider)
            client.post(CHAT, json={})
        assert len(traced.attempts) == 1
        assert len(traced.all) == 2
        traced.exporter.clear()
    assert "already instrumented" in caplog.text


async def test_beside_an_sdk_that_traces_itself(traced: Spans, call: Call) -> None:
    """Its span of the model's operation is the parent of the call's."""
    tracer = traced.provider.get_tracer("an.sdk")
    with tracer.start_as_current_span("chat gpt", kind=SpanKind.CLIENT) as theirs:
        await call(json={})
    assert traced.call.parent == theirs.get_span_context()
    assert [span.name for span in traced.all] == ["chat gpt", "aiclient POST", "POST"]


async def test_beside_an_sdk_that_traces_http_itself(
    traced: Spans, call: Call, nodes: list[FakeNode]
) -> None:
    """One that asks for silence gets it, and its own traceparent arrives."""
    tracer = traced.provider.get_tracer("an.sdk")
    with tracer.start_as_current_span("POST", kind=SpanKind.CLIENT) as theirs:
        headers: dict[str, str] = {}
        propagate.inject(headers)
        token = context.attach(context.set_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY, True))
        await call(json={}, headers=headers)
        context.detach(token)
    assert [span.context for span in traced.all] == [theirs.get_span_context()]
    assert nodes[0].requests[-1].headers["traceparent"] == headers["traceparent"]
