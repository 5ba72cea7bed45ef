"""A client process that keeps calls open: started by `in_flight`, told by lines.

    python -m benchmarks.scale.holder CONTENDER PORT...

It makes a few calls first, so that all is loaded; then, for each line on standard input:
"open N" starts N more calls, "report" tells what they hold, "cpu" what was spent
so far, "finish" waits for all their answers.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
from typing import Any

from .closed_loop import Loop
from .contenders import FAILURES, Caller, endpoints, make
from .machine import raise_file_limit, resident

WARM = 50


class Holder:
    """The calls of this process, and what became of them."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.tasks: list[asyncio.Task[int]] = []

    async def ready(self) -> dict[str, float]:
        warm = Loop(self.caller)
        await warm.run(WARM // 5, WARM)
        if warm.errors:
            raise RuntimeError(f"the first calls failed: {warm.failure}")
        return self.report()

    def open(self, count: int) -> dict[str, float]:
        self.tasks += [asyncio.ensure_future(self.caller.call()) for _ in range(count)]
        return {"started": len(self.tasks)}

    def report(self) -> dict[str, float]:
        gc.collect()
        return {
            "resident": resident(),
            "open": sum(not task.done() for task in self.tasks),
            "cpu": time.process_time(),
        }

    async def finish(self) -> dict[str, Any]:
        good, errors, failure = 0, 0, ""
        for ended in await asyncio.gather(*self.tasks, return_exceptions=True):
            if ended == 200:
                good += 1
            elif isinstance(ended, BaseException) and not isinstance(ended, FAILURES):
                raise ended
            else:
                errors += 1
                failure = failure or (f"http {ended}" if isinstance(ended, int) else repr(ended))
        return {"good": good, "errors": errors, "failure": failure, "cpu": time.process_time()}

    async def obey(self, line: str) -> dict[str, Any]:
        word, _, count = line.strip().partition(" ")
        if word == "open":
            return self.open(int(count))
        if word == "cpu":
            return {"cpu": time.process_time()}
        return await self.finish() if word == "finish" else self.report()


async def main(contender: str, ports: list[int]) -> None:
    raise_file_limit()
    loop = asyncio.get_running_loop()
    # To bring idle connections back, bare httpx counts them once for each of them.
    caller = make(contender, endpoints(ports), keep=contender != "httpx")
    holder = Holder(caller)
    print(json.dumps(await holder.ready()), flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await holder.obey(line)), flush=True)
    for task in holder.tasks:
        task.cancel()
    await caller.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [int(port) for port in sys.argv[2:]]))
