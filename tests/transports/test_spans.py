"""Spans: one per call, one CLIENT span per attempt, each ended once, and nothing secret in them."""

from __future__ import annotations

import contextlib
import gc
import inspect
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

import aiclient
from aiclient import Deadlines, Endpoint, RetryPolicy
from aiclient.telemetry import spans
from aiclient.testing import FakeNode

from .family import clients, httpx

CHAT = "/v1/chat/completions"
STREAM = {"stream": True}
pytestmark = pytest.mark.anyio


class InOrder:
    def pick(self, candidates: aiclient.NodeSet, context: aiclient.PickContext) -> aiclient.Node:
        return min(candidates, key=lambda node: node.label)


class Seen(SpanProcessor):
    """Every span's start and end, and what it held."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.started: Counter[int] = Counter()
        self.ended: Counter[int] = Counter()

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        self.started[span.context.span_id] += 1

    def on_end(self, span: ReadableSpan) -> None:
        assert span.context is not None
        self.ended[span.context.span_id] += 1

    def done(self) -> tuple[ReadableSpan, list[ReadableSpan]]:
        """The one call's span and its attempts', in order; every span was ended exactly once."""
        assert self.started == self.ended
        assert set(self.ended.values()) == {1}
        finished = self.exporter.get_finished_spans()
        calls = [span for span in finished if span.kind is SpanKind.INTERNAL]
        attempts = [span for span in finished if span.kind is SpanKind.CLIENT]
        assert len(calls) == 1
        assert len(calls) + len(attempts) == len(finished)
        for attempt in attempts:
            assert attempt.parent is not None
            assert attempt.parent == calls[0].context
        return calls[0], sorted(attempts, key=lambda span: span.start_time or 0)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """An SDK that remembers all spans."""
    seen = Seen()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(seen.exporter))
    provider.add_span_processor(seen)
    monkeypatch.setattr(spans, "_tracer", provider.get_tracer("aiclient"))
    return seen


@pytest.fixture
def nodes() -> Iterator[list[FakeNode]]:
    """Two nodes that take no time."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(FakeNode(prefill=0, token_time=0)) for _ in range(2)]


@pytest.fixture(params=["sync", "asyncio", "trio"])
def flavour(request: pytest.FixtureRequest) -> str:
    """Who calls."""
    name: str = request.param
    return name


@pytest.fixture
def anyio_backend(flavour: str) -> str:
    """The event loop; a synchronous caller blocks it, the nodes live in other threads."""
    return "asyncio" if flavour == "sync" else flavour


Call = Callable[..., Any]


@pytest.fixture
def call(flavour: str, nodes: list[FakeNode]) -> Call:
    """Makes one call with a client of its own over both nodes, a and b."""

    async def call(
        method: str = "POST", url: str = CHAT, *, stop_after: int | None = None, **options: Any
    ) -> Any:
        request = {name: options.pop(name) for name in _OF_THE_REQUEST if name in options}
        endpoints = [Endpoint(node.url, name=name) for node, name in zip(nodes, "ab", strict=True)]
        options = {"nodes": endpoints, "picker": InOrder(), **options}
        if flavour == "sync":
            with clients.Client(**options) as client:
                with client.stream(method, url, **request) as response:
                    pieces = response.iter_raw()
                    if stop_after is None:
                        response.read()
                    else:
                        [next(pieces) for _ in range(stop_after)]
                return response
        async with clients.AsyncClient(**options) as later:
            async with later.stream(method, url, **request) as response:
                if stop_after is None:
                    await response.aread()
                else:
                    parts = response.aiter_raw()
                    [await anext(parts) for _ in range(stop_after)]
            return response

    return call


_OF_THE_REQUEST = ("json", "headers", "extensions", "content", "params")


def attributes(span: ReadableSpan) -> dict[str, Any]:
    """All of them."""
    return dict(span.attributes or {})


async def test_a_call_and_its_attempt(seen: Seen, call: Call, nodes: list[FakeNode]) -> None:
    """The call's span names the service, the attempt's its node."""
    await call(json={}, base_url="http://llm:99/v1", url="chat/completions?key=x")
    whole, (attempt,) = seen.done()
    assert whole.name == "aiclient POST"
    assert attributes(whole) == {
        "aiclient.service": "llm",
        "aiclient.picker": "InOrder",
        "aiclient.attempts": 1,
        "http.response.status_code": 200,
    }
    assert attempt.name == "POST"
    assert attributes(attempt) == {
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": nodes[0].port,
        "url.full": f"{nodes[0].url}/v1/chat/completions",
        "aiclient.node": "a",
        "aiclient.picked": "picked",
        "aiclient.in_flight": 1,
        "network.peer.address": "127.0.0.1",
        "network.peer.port": nodes[0].port,
        "http.response.status_code": 200,
    }
    assert attempt.status.status_code is StatusCode.UNSET
    assert [event.name for event in attempt.events] == ["first byte"]
    assert (whole.start_time or 0) <= (attempt.start_time or 0)
    assert (whole.end_time or 0) >= (attempt.end_time or 0)


@pytest.mark.parametrize(
    ("fault", "error", "status"),
    [("503", "503", 503), ("reset", "ReadError", None), ("hang", "DeadlineExceeded", None)],
)
async def test_a_retry(
    seen: Seen, call: Call, nodes: list[FakeNode], fault: str, error: str, status: int | None
) -> None:
    """Each attempt has its span, the failed one with its error, the next one with its reason."""
    nodes[0].fault(fault)
    await call(json={}, deadlines=Deadlines(first_byte=0.2))
    whole, (first, second) = seen.done()
    assert attributes(whole)["aiclient.attempts"] == 2
    assert whole.status.status_code is StatusCode.UNSET
    assert first.status.status_code is StatusCode.ERROR
    assert attributes(first)["error.type"] == error
    assert attributes(first).get("http.response.status_code") == status
    assert attributes(second)["http.request.resend_count"] == 1
    assert attributes(second)["aiclient.retry_of"]
    assert attributes(second)["aiclient.node"] == "b"


async def test_an_error_event(seen: Seen, call: Call, nodes: list[FakeNode]) -> None:
    """Is an error of its attempt, although the status was good."""
    nodes[0].fault("error_event")
    await call(json=STREAM)
    _, (first, second) = seen.done()
    assert attributes(first)["error.type"] == "error event before content"
    assert attributes(first)["http.response.status_code"] == 200
    assert second.status.status_code is StatusCode.UNSET


async def test_a_stream_lasts_to_its_end(seen: Seen, call: Call, nodes: list[FakeNode]) -> None:
    """The spans end with the last byte, not with the headers."""
    for node in nodes:
        node.set(token_time=0.02, tokens=10)
    await call(json=STREAM)
    whole, (attempt,) = seen.done()
    first_byte = attempt.events[0].timestamp
    assert (attempt.end_time or 0) - first_byte > 100_000_000
    assert (whole.end_time or 0) >= (attempt.end_time or 0)


# httpx leaves its own generators half-read, of which trio complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_stream_closed_half_way(seen: Seen, call: Call) -> None:
    """Is no error."""
    await call(json=STREAM, stop_after=1)
    whole, (attempt,) = seen.done()
    assert attempt.status.status_code is StatusCode.UNSET
    assert whole.status.status_code is StatusCode.UNSET


async def test_an_interrupted_stream(seen: Seen, call: Call, nodes: list[FakeNode]) -> None:
    """Is an error of both spans."""
    nodes[0].fault("cut_mid_stream")
    with pytest.raises(aiclient.StreamInterrupted):
        await call(json=STREAM)
    whole, (attempt,) = seen.done()
    for span in (whole, attempt):
        assert span.status.status_code is StatusCode.ERROR
        assert attributes(span)["error.type"] == "answer cut short"


async def test_a_failed_call(seen: Seen, call: Call, nodes: list[FakeNode]) -> None:
    """The call's error is the exception's name."""
    for node in nodes:
        node.fault("reset")
    with pytest.raises(httpx.ReadError):
        await call(json={}, retry=RetryPolicy(attempts=2))
    whole, attempts = seen.done()
    assert attributes(whole)["error.type"] == "ReadError"
    assert [attributes(attempt)["error.type"] for attempt in attempts] == ["ReadError"] * 2


async def test_a_call_that_never_starts(seen: Seen, call: Call) -> None:
    """Without a node, or with a bad option, there is a call span alone."""
    with pytest.raises(aiclient.ConfigurationError):
        await call(json={}, headers={"x-aiclient-deadline": "canary"})
    whole, attempts = seen.done()
    assert not attempts
    assert attributes(whole)["error.type"] == "ConfigurationError"


async def test_the_last_answer_is_an_error(seen: Seen, call: Call, nodes: list[FakeNode]) -> None:
    """A status the caller gets is an attribute of the call, not an exception."""
    for node in nodes:
        node.fault("404")
    await call(json={})
    whole, attempts = seen.done()
    assert attributes(whole)["http.response.status_code"] == 404
    assert len(attempts) == 2


async def test_a_cancelled_call(seen: Seen, nodes: list[FakeNode], flavour: str) -> None:
    """Both spans end when the call is cancelled, wherever that happens."""
    if flavour == "sync":
        pytest.skip("nothing to cancel")
    for fault, body in (("hang", {}), ("hang_mid_stream", {}), ("hang_mid_stream", STREAM)):
        nodes[0].fault(fault)
        async with clients.AsyncClient(nodes[0].url) as client:
            with anyio.move_on_after(0.1):
                await client.post(CHAT, json=body)
        whole, (attempt,) = seen.done()
        assert (whole.end_time or 0) >= (attempt.end_time or 0)
        seen.exporter.clear()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_dropped_response(seen: Seen, nodes: list[FakeNode], flavour: str) -> None:
    """A stream nobody closes ends its spans when it is collected."""
    kind: Any = clients.Client if flavour == "sync" else clients.AsyncClient
    client = kind(nodes[0].url)
    nodes[0].fault("hang_mid_stream")
    response = client.send(client.build_request("POST", CHAT, json=STREAM), stream=True)
    response = await response if inspect.isawaitable(response) else response
    assert not seen.ended
    del response
    gc.collect()
    seen.done()
    closed = client.close() if flavour == "sync" else client.aclose()
    assert closed is None or await closed is None


async def test_the_trace_goes_on_at_the_node(seen: Seen, call: Call, nodes: list[FakeNode]) -> None:
    """Each attempt sends its own traceparent, in place of the caller's; baggage goes along."""
    nodes[0].fault("503")
    token = context.attach(baggage.set_baggage("tenant", "t1"))
    try:
        await call(json={}, headers={"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-01"})
    finally:
        context.detach(token)
    whole, attempts = seen.done()
    for node, attempt in zip(nodes, attempts, strict=True):
        sent = node.requests[-1].headers
        assert attempt.context is not None
        assert whole.context is not None
        assert attempt.context.trace_id == whole.context.trace_id
        span = f"00-{attempt.context.trace_id:032x}-{attempt.context.span_id:016x}-"
        assert sent["traceparent"].startswith(span)
        assert sent["baggage"] == "tenant=t1"


async def test_a_trace_that_comes_in_goes_through(call: Call, nodes: list[FakeNode]) -> None:
    """Without an SDK a trace from outside is handed on to the node."""
    parent = trace.SpanContext(0xABC, 0xDEF, is_remote=True, trace_flags=trace.TraceFlags(1))
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    try:
        await call(json={})
    finally:
        context.detach(token)
    assert nodes[0].requests[-1].headers["traceparent"] == f"00-{0xABC:032x}-{0xDEF:016x}-01"


async def test_without_an_sdk_nothing_is_added(call: Call, nodes: list[FakeNode]) -> None:
    """And the caller's own traceparent is left alone."""
    own = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
    await call(json={}, headers={"traceparent": own})
    assert nodes[0].requests[-1].headers["traceparent"] == own


async def test_nothing_secret_is_to_be_seen(
    seen: Seen, call: Call, nodes: list[FakeNode], caplog: pytest.LogCaptureFixture
) -> None:
    """Canaries in credentials, headers, query, key, body and answer show up nowhere."""
    caplog.set_level(logging.DEBUG)
    for theirs in ("httpx", "httpcore", "httpx2", "httpcore2"):
        caplog.set_level(logging.WARNING, theirs)
    nodes[0].fault("500")
    nodes[1].fault("cut_mid_stream")
    endpoints = [
        Endpoint(node.url, name=name, headers={"X-Api-Key": "canary"})
        for node, name in zip(nodes, "ab", strict=True)
    ]
    with pytest.raises(aiclient.StreamInterrupted) as caught:
        await call(
            nodes=endpoints,
            url=f"{CHAT}?api_key=canary",
            base_url="http://canary:canary@llm",
            json={**STREAM, "model": "canary"},
            headers={"Authorization": "Bearer canary", "x-aiclient-key": "canary"},
            cookies={"session": "canary"},
        )
    seen.done()
    shown = [
        *[span.to_json() for span in seen.exporter.get_finished_spans()],
        caplog.text,
        str(caught.value),
        repr(caught.value),
        *caught.value.__notes__,
        repr(aiclient.attempts_of(caught.value)),
    ]
    assert not [text for text in shown if "canary" in text]


async def test_no_sdk_costs_no_span(nodes: list[FakeNode]) -> None:
    """Without an SDK and a trace nothing of it is built."""
    request = httpx.Request("GET", "http://x")
    assert spans.call_span(request, InOrder()) is None
    assert nodes
