"""A service as Prometheus sees it: a balanced client under way, its metrics on a port.

    python scraped.py      prints the port of its metrics and runs until its standard input ends

Everything a dashboard shows happens here again and again: retries, ejections, streams, discovery.
"""

from __future__ import annotations

import itertools
import select
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import httpx
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

import aiclient
from aiclient.testing import FakeNode

CHAT = "/v1/chat/completions"


class Changing:
    """A discovery that has another answer each time, and now and then none."""

    def __init__(self, urls: list[str]) -> None:
        self._urls = urls

    def watch(self, signal: Any) -> Iterator[list[str]]:
        """All nodes but the last, all of them, and a failure."""
        yield self._urls[:-1]
        signal.wait(0.2)
        yield self._urls
        signal.wait(0.2)
        raise OSError("the registry is away")


def stir(nodes: list[FakeNode], turn: int) -> None:
    """Another trouble with each turn."""
    for node in nodes:
        node.heal()
    nodes[turn % len(nodes)].fault(("500", "503", "reset", "refuse")[turn % 4])


def main() -> None:
    """Serve metrics, and make calls of all kinds until nobody listens any more."""
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    server, _ = start_http_server(0, addr="127.0.0.1")
    sys.stdout.write(f"{server.server_port}\n")
    sys.stdout.flush()
    with ExitStack() as stack:
        nodes = [stack.enter_context(FakeNode(prefill=0.005, token_time=0)) for _ in range(4)]
        client = aiclient.Client(
            Changing([node.url for node in nodes]),
            picker=aiclient.RoundRobin(),
            retry=aiclient.RetryPolicy(reserve=3, budget=0.05),
            breaker=aiclient.BreakerPolicy(consecutive=2, open_for=0.3),
        )
        stack.enter_context(client)
        for turn in itertools.count():
            stir(nodes, turn)
            for number in range(20):
                # Some have no second node to go to.
                pinned = nodes[turn % len(nodes)].url if number % 5 == 0 else None
                try:
                    client.post(
                        CHAT,
                        json={"model": "m", "stream": number % 2 == 0},
                        extensions={"aiclient": aiclient.CallOptions(pin=pinned)},
                    )
                except (httpx.HTTPError, aiclient.ConfigurationError):
                    pass
            with client.balancer.lease():
                time.sleep(0.05)
            if select.select([sys.stdin], [], [], 0)[0]:
                return


if __name__ == "__main__":
    main()
