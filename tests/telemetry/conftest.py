"""An OpenTelemetry SDK that remembers everything, and calls of every flavour to two fake nodes."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import metrics
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

import aiclient
from aiclient import Endpoint
from aiclient.telemetry import JsonFormatter, labels, spans
from aiclient.testing import FakeNode

CHAT = "/v1/chat/completions"
STREAM = {"stream": True}


class InOrder:
    """The first one that may be picked, by name."""

    def pick(self, candidates: aiclient.NodeSet, context: aiclient.PickContext) -> aiclient.Node:
        return min(candidates, key=lambda node: node.label)


class Spans:
    """The spans that have ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def all(self) -> list[ReadableSpan]:
        """In the order they began."""
        finished = self.exporter.get_finished_spans()
        return sorted(finished, key=lambda span: span.start_time or 0)

    @property
    def attempts(self) -> list[ReadableSpan]:
        """The CLIENT spans; each of them is right below a span of ours."""
        ours = {span.context.span_id for span in self.all if span.name.startswith("aiclient")}
        found = [span for span in self.all if span.kind is SpanKind.CLIENT]
        for span in found:
            assert span.parent is not None
            assert span.parent.span_id in ours
        return found

    @property
    def call(self) -> ReadableSpan:
        """The one call's."""
        (found,) = [span for span in self.all if span.name.startswith("aiclient")]
        return found


Points = dict[tuple[Any, ...], Any]


class Metrics:
    """What a reader collects."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader])

    def collect(self) -> dict[str, list[Any]]:
        """All metrics' data points, by name."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def values(self, name: str, *keys: str) -> Points:
        """A metric's values, or its counts, summed up by these attributes."""
        found: Points = {}
        for point in self.collect().get(name, ()):
            key = tuple(point.attributes.get(one) for one in keys)
            value = point.count if hasattr(point, "count") else point.value
            found[key] = found.get(key, 0) + value
        return found


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """A tracing SDK."""
    made = Spans()
    monkeypatch.setattr(spans, "_tracer", made.provider.get_tracer("aiclient"))
    return made


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Iterator[Metrics]:
    """A metrics SDK, and labels as in a new process."""
    made = Metrics()
    monkeypatch.setattr(metrics, "get_meter_provider", lambda: made.provider)
    for bounded in (labels.NODES, labels.SERVICES, labels.MODELS):
        monkeypatch.setattr(bounded, "_known", set())
    yield made
    made.provider.shutdown()


class Lines(logging.Handler):
    """The lines a formatter makes."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.text: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.text.append(self.format(record))

    @property
    def calls(self) -> list[dict[str, Any]]:
        """The access log's lines."""
        lines = [json.loads(line) for line in self.text]
        return [line for line in lines if line["logger"] == "aiclient.access"]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """What comes to the loggers, as JSON; the access log is off."""
    handler = Lines()
    logger = logging.getLogger("aiclient")
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    logging.getLogger("aiclient.access").setLevel(logging.NOTSET)
    yield handler
    logger.setLevel(before)
    logger.removeHandler(handler)
    logging.getLogger("aiclient.access").setLevel(logging.NOTSET)


@pytest.fixture
def logged(lines: Lines) -> Lines:
    """The access log, switched on."""
    logging.getLogger("aiclient.access").setLevel(logging.INFO)
    return lines


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
_OF_THE_REQUEST = ("json", "headers", "extensions", "content", "params")


def named(nodes: list[FakeNode]) -> list[Endpoint]:
    """The nodes as a, b, ..."""
    return [Endpoint(node.url, name=name) for node, name in zip(nodes, "abcdefgh", strict=False)]


@pytest.fixture
def call(flavour: str, nodes: list[FakeNode]) -> Call:
    """Makes one call with a client of its own over the nodes, a and b."""

    async def call(
        method: str = "POST",
        url: str = CHAT,
        *,
        family: Any = aiclient,
        stop_after: int | None = None,
        **options: Any,
    ) -> Any:
        request = {name: options.pop(name) for name in _OF_THE_REQUEST if name in options}
        if not isinstance(options.get("nodes"), aiclient.Balancer):
            options = {"nodes": named(nodes), "picker": InOrder(), **options}
        if flavour == "sync":
            with family.Client(**options) as client:
                with client.stream(method, url, **request) as response:
                    pieces = response.iter_raw()
                    if stop_after is None:
                        response.read()
                    else:
                        [next(pieces) for _ in range(stop_after)]
                return response
        async with family.AsyncClient(**options) as later:
            async with later.stream(method, url, **request) as response:
                if stop_after is None:
                    await response.aread()
                else:
                    parts = response.aiter_raw()
                    [await anext(parts) for _ in range(stop_after)]
            return response

    return call
