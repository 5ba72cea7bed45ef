"""What telemetry adds to a call: without an SDK, and with one whose exporter does nothing.

    python benchmarks/telemetry.py            all of it, about half a minute
    python benchmarks/telemetry.py --quick    only whether it runs
    python benchmarks/telemetry.py --check    exit status 1 if a figure is above its limit

The same call is made with and without telemetry in turn, over a wire that answers at once, so that
the difference is not lost in the noise of sockets; the quietest tenth of many short rounds counts.
Needs opentelemetry-sdk. Each set-up has a process of its own.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import aiclient

PATH = "/v1/chat/completions"
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hello " * 50}]}
ANSWER = b'{"id": "x", "object": "chat.completion", "choices": [], "usage": {"total_tokens": 7}}'
# Microseconds; None: no limit has been set.
LIMITS = {
    "no SDK": 8.0,
    "no SDK, access log": None,
    "spans": None,
    "metrics": None,
    "spans and metrics": 120.0,
    "spans, metrics, access log": None,
}


class Answer:
    """All of it is here."""

    status = 200
    headers: Sequence[tuple[bytes, bytes]] = [(b"content-type", b"application/json")]

    def __init__(self) -> None:
        self.extensions: dict[str, Any] = {}
        self.parts: Iterator[bytes] = iter([ANSWER])

    def close(self) -> None:
        pass


class Instant:
    """A wire that has the answer before it is asked."""

    busy = idle = 0

    def send(self, attempt: Any, journey: Any, *request: Any) -> Answer:
        journey.known, journey.peer = True, ("127.0.0.1", 8000)
        return Answer()

    def close(self, *, abort: bool) -> None:
        pass


class Deaf:
    """Telemetry that never listens: what a call costs without any."""

    def begin(self, request: Any) -> None:
        return None


class Nowhere(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        self.format(record)
        return True


def set_up(what: str) -> None:
    if "spans" in what:
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
        from opentelemetry.sdk.trace.export import (
            BatchSpanProcessor,
            SpanExporter,
            SpanExportResult,
        )

        class NoOp(SpanExporter):
            def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
                return SpanExportResult.SUCCESS

        tracers = TracerProvider()
        tracers.add_span_processor(BatchSpanProcessor(NoOp()))
        trace.set_tracer_provider(tracers)
    if "metrics" in what:
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        metrics.set_meter_provider(MeterProvider([InMemoryMetricReader()]))
    if "access log" in what:
        from aiclient.telemetry import JsonFormatter

        handler = Nowhere()
        handler.setFormatter(JsonFormatter())
        log = logging.getLogger("aiclient.access")
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False


def client(*, deaf: bool) -> aiclient.Client:
    made = aiclient.Client([f"http://10.0.0.{n}:8000" for n in (1, 2, 3)])
    shell: Any = made._balanced._shell
    shell.wire = Instant()
    if deaf:
        shell._telemetry = Deaf()
    return made


def measure(what: str, rounds: int, calls: int) -> tuple[float, float]:
    """Microseconds of a call without telemetry, and what telemetry adds to it."""
    set_up(what)
    with_it, without = client(deaf=False), client(deaf=True)
    pairs = [(cost(without, calls), cost(with_it, calls)) for _ in range(rounds)]
    # Those that nothing else on the machine disturbed.
    quiet = sorted(pairs, key=sum)[: max(1, rounds // 10)]
    call = statistics.mean(bare for bare, _ in quiet)
    return call, statistics.mean(whole for _, whole in quiet) - call


def cost(one: aiclient.Client, calls: int) -> float:
    """Microseconds of CPU for one call."""
    start = time.process_time()
    for _ in range(calls):
        one.post(PATH, json=REQUEST)
    return (time.process_time() - start) / calls * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--check", action="store_true", help="fail above a limit")
    parser.add_argument("--only", choices=LIMITS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        print(*measure(given.only, *((2, 20) if given.quick else (300, 40))))
        return 0
    too_much = []
    for what, limit in LIMITS.items():
        command = [sys.executable, __file__, "--only", what, *["--quick"] * given.quick]
        call, added = map(float, subprocess.check_output(command, text=True).split())
        bound = f", at most {limit:.0f} us" if limit else ""
        print(f"{what:28} adds {added:6.1f} us to a call of {call:.0f} us{bound}", flush=True)
        if limit and added > limit:
            too_much.append(what)
    return 1 if given.check and too_much else 0


if __name__ == "__main__":
    sys.exit(main())
