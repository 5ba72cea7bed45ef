"""Change the nodes while calls run: one joins, one is drained and leaves. No call fails.

Starts its own fake nodes; it would be rude to drain yours.
"""

import threading
import time
from contextlib import ExitStack

import aiclient
from aiclient.testing import FakeNode

BODY = {"model": "fake-model", "messages": [{"role": "user", "content": "hello"}]}
# For the show: by default a new node is brought to its full share over 10 s.
QUICKLY = aiclient.BreakerPolicy(slow_start=0.5)

with ExitStack() as stack:
    old, kept, new = (stack.enter_context(FakeNode(prefill=0.01)) for _ in range(3))
    client = stack.enter_context(aiclient.Client([old.url, kept.url], breaker=QUICKLY))
    balancer = client.balancer
    done = threading.Event()
    outcomes: list[int | str] = []

    def work() -> None:
        while not done.is_set():
            try:
                outcomes.append(client.post("/v1/chat/completions", json=BODY).status_code)
            except Exception as exc:
                outcomes.append(repr(exc))

    crew = [threading.Thread(target=work) for _ in range(4)]
    for thread in crew:
        thread.start()
    time.sleep(0.5)

    balancer.update([old.url, kept.url, new.url])
    print("joined: new")
    time.sleep(0.7)

    balancer.drain(old.url)
    while any(node.in_flight for node in balancer.snapshot() if node.state == "drained"):
        time.sleep(0.01)
    print("drained: old has nothing in flight")

    balancer.update([kept.url, new.url])
    old.stop()
    print("left: old is stopped")
    time.sleep(0.5)

    done.set()
    for thread in crew:
        thread.join()
    failed = [outcome for outcome in outcomes if outcome != 200]
    print(f"calls: {len(outcomes)}  failed: {len(failed)}")
    print(f"served by old {old.served}, kept {kept.served}, new {new.served}")
