"""Replace an SLB: one client over the nodes, in five lines.

python examples/replace_an_slb.py                                  three fake nodes
python examples/replace_an_slb.py http://10.0.0.1:8000 http://...  your own
"""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx

import aiclient
from aiclient.testing import FakeNode

with ExitStack() as stack:
    nodes = sys.argv[1:] or [stack.enter_context(FakeNode()).url for _ in range(3)]

    # Before: httpx.Client(base_url="http://slb.internal:8000")
    with aiclient.Client(nodes) as client:
        model = client.get("/v1/models").json()["data"][0]["id"]
        body = {"model": model, "messages": [{"role": "user", "content": "Say hello."}]}
        response = client.post("/v1/chat/completions", json=body)
        print(response.json()["choices"][0]["message"]["content"])

        # As a service does it: many calls at once, over the one client.
        def ask(_: int) -> httpx.Response:
            return client.post("/v1/chat/completions", json=body).raise_for_status()

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(ask, range(30)))
        for node, count in Counter(r.extensions["aiclient"].node for r in answers).items():
            print(f"{node}: {count} calls")
