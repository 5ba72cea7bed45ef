"""What OpenTelemetry sees of a failover, told as a story: one call, and below it its attempts.

Needs the SDK: pip install opentelemetry-sdk. Starts its own fake nodes, two of them with a fault.
"""

import sys
from contextlib import ExitStack

try:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
except ModuleNotFoundError:
    sys.exit("this example needs the OpenTelemetry SDK: pip install opentelemetry-sdk")

import aiclient
from aiclient.testing import FakeNode

# The service's own set-up, as for any library that speaks OpenTelemetry.
exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)


def tell(spans: list[ReadableSpan]) -> None:
    begin = min(span.start_time or 0 for span in spans)

    def at(nanoseconds: int | None) -> str:
        return f"{((nanoseconds or begin) - begin) / 1e6:5.0f} ms"

    for span in sorted(spans, key=lambda span: span.start_time or 0):
        seen = {name: str(value) for name, value in (span.attributes or {}).items()}
        if span.kind is trace.SpanKind.INTERNAL:
            print(f"{at(span.start_time)}  {span.name}: {seen['aiclient.attempts']} attempts")
            end = f"{at(span.end_time)}  the caller has {seen['http.response.status_code']}"
            continue
        retry = f", instead of [{seen['aiclient.retry_of']}]" if "aiclient.retry_of" in seen else ""
        print(f"{at(span.start_time)}    {seen['aiclient.picked']} {seen['aiclient.node']}{retry}")
        for event in span.events:
            why = str((event.attributes or {}).get("aiclient.reason", ""))
            print(f"{at(event.timestamp)}      {event.name}{why and ': '}{why}")
        outcome = seen.get("error.type") or seen["http.response.status_code"]
        print(f"{at(span.end_time)}      {outcome}")
    print(end)


with ExitStack() as stack:
    fakes = [stack.enter_context(FakeNode(prefill=0.02, token_time=0.005)) for _ in range(3)]
    fakes[0].fault("refuse")
    fakes[1].fault("500")
    nodes = [
        aiclient.Endpoint(fake.url, name=name) for name, fake in zip("abc", fakes, strict=True)
    ]
    # In turn, and a node is out at its first fault, so that the story is always the same.
    out_at_once = aiclient.BreakerPolicy(consecutive=1, consecutive_connect=1)
    with aiclient.Client(nodes, picker=aiclient.RoundRobin(), breaker=out_at_once) as client:
        body = {"model": "fake-model", "stream": True, "messages": []}
        client.post("/v1/chat/completions", json=body).raise_for_status()
tell(list(exporter.get_finished_spans()))
provider.shutdown()
