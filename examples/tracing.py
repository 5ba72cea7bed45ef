"""What OpenTelemetry sees: one span per call, and below it one for each attempt, naming its node.

Needs the SDK: pip install opentelemetry-sdk. Starts its own fake nodes, one of them with a fault.
"""

import sys
from collections.abc import Sequence
from contextlib import ExitStack

try:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
except ModuleNotFoundError:
    sys.exit("this example needs the OpenTelemetry SDK: pip install opentelemetry-sdk")

import aiclient
from aiclient.testing import FakeNode


class Printer(SpanExporter):
    """Prints each span as it ends: attempts first, then their call."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        for span in spans:
            took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
            print(f"{'  ' if span.parent else ''}{span.name} ({span.kind.name}) {took:.0f} ms")
            for name, value in (span.attributes or {}).items():
                print(f"{'    ' if span.parent else '  '}{name} = {value!r}")
        return SpanExportResult.SUCCESS


# The service's own set-up, as for any library that speaks OpenTelemetry.
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Printer()))
trace.set_tracer_provider(provider)

with ExitStack() as stack:
    fakes = [stack.enter_context(FakeNode(prefill=0.02, token_time=0)) for _ in range(2)]
    fakes[0].fault("500")
    nodes = [aiclient.Endpoint(fake.url, name=name) for name, fake in zip("ab", fakes, strict=True)]
    # In turn, so that the first attempt meets the fault.
    with aiclient.Client(nodes, picker=aiclient.RoundRobin()) as client:
        body = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}
        client.post("/v1/chat/completions", json=body).raise_for_status()
provider.shutdown()
