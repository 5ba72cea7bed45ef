"""The attempts of a call: which nodes were tried, why, and what each of them did.

Starts its own fake nodes: yours have no faults on demand.
"""

import logging
import sys
from contextlib import ExitStack

import httpx

import aiclient
from aiclient.testing import FakeNode

logging.basicConfig(format="  log: %(message)s", stream=sys.stdout)
logging.getLogger("aiclient").setLevel(logging.INFO)


def tell(attempts: tuple[aiclient.AttemptRecord, ...]) -> None:
    for attempt in attempts:
        why = f"retry of [{attempt.retry_of}]" if attempt.retry_of else attempt.why
        print(f"  {attempt.number}. {attempt.node}: {attempt.outcome} ({why})")


with ExitStack() as stack:
    a, b, c = (stack.enter_context(FakeNode(name=name)) for name in ("a", "b", "c"))
    nodes = [aiclient.Endpoint(fake.url, name=fake.name) for fake in (a, b, c)]
    # In turn, so that the story is always the same.
    client = stack.enter_context(aiclient.Client(nodes, picker=aiclient.RoundRobin()))
    body = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}

    print("one call, two of three nodes in trouble:")
    a.fault("refuse")
    b.fault("503")
    response = client.post("/v1/chat/completions", json=body)
    print(f"  the caller sees: {response.status_code}")
    tell(response.extensions["aiclient"].attempts)

    print("one call, and nobody is there:")
    for node in (a, b, c):
        node.fault("refuse")
    try:
        client.post("/v1/chat/completions", json=body)
    except httpx.HTTPError as exc:
        # The last node's own error: no "retries exhausted" takes its place.
        print(f"  the caller sees: {type(exc).__name__}: {exc}")
        tell(aiclient.attempts_of(exc))

    print("the balancer now:")
    for one in client.balancer.snapshot():
        print(f"  {one.endpoint}: {one.state} {one.why}")
