"""Several streams at once: which node each one is on, its first token, and the whole.

python examples/async_streaming.py [URL...]
"""

import asyncio
import json
import sys
import time
from contextlib import ExitStack

import aiclient
from aiclient.testing import FakeNode


async def stream(client: aiclient.AsyncClient, model: str, number: int) -> None:
    body = {
        "model": model,
        "stream": True,
        "messages": [{"role": "user", "content": f"Count to {number}."}],
    }
    started = time.monotonic()
    first = 0.0
    words = []
    async with client.stream("POST", "/v1/chat/completions", json=body) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            if not line.startswith("data: {"):
                continue
            choices = json.loads(line.removeprefix("data: "))["choices"]
            if word := choices and choices[0]["delta"].get("content"):
                first = first or time.monotonic() - started
                words.append(word)
        node = response.extensions["aiclient"].node
    took = time.monotonic() - started
    print(f"{node}: first token {first:.2f} s, {len(words)} pieces in {took:.2f} s")


async def main(nodes: list[str]) -> None:
    async with aiclient.AsyncClient(nodes) as client:
        model = (await client.get("/v1/models")).json()["data"][0]["id"]
        await asyncio.gather(*(stream(client, model, number) for number in range(1, 9)))
        for node in client.balancer.snapshot():
            print(f"{node.endpoint}: {node.succeeded} calls, {node.in_flight} in flight")


with ExitStack() as stack:
    asyncio.run(main(sys.argv[1:] or [stack.enter_context(FakeNode()).url for _ in range(3)]))
