"""One contender through one trial.

    python -m benchmarks.versus.run NAME TRIAL SECONDS WARM_UP SEED

Prints a JSON object: `latencies` and `waits` (seconds, of the calls after the warm-up that were
answered), `errors` (their kinds and counts), `cpu` (microseconds of this process per call, the
callers' side alone); these two of all calls.
"""

from __future__ import annotations

import asyncio
import collections
import json
import logging
import sys
import time
from typing import Any

from aiclient.simulation import Scenario

from .callers import Call, caller
from .fleet import fleet
from .trials import TRIALS, Job, Trial, jobs

_FIRST = 32  # calls: imports and first connections are not the question


async def measure(name: str, trial: Trial, scenario: Scenario, seed: int) -> dict[str, Any]:
    """All of it, with a fleet of its own."""
    with fleet() as nodes:
        async with caller(name, nodes.urls) as call:
            await asyncio.gather(*(call(1) for _ in range(_FIRST)))
            with nodes.living_through(trial, scenario.events):
                return await _replay(call, jobs(scenario, seed), scenario.warm_up)


async def _replay(call: Call, due: list[Job], warm_up: float) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    began = loop.time()
    latencies: list[float] = []
    waits: list[float] = []
    errors: collections.Counter[str] = collections.Counter()

    async def one(job: Job) -> None:
        try:
            await call(job.tokens)
        except Exception as exc:
            errors[_kind(exc)] += 1
        else:
            # From when it was due: a caller that comes late is not let off.
            latency = loop.time() - began - job.at
            if job.at >= warm_up:
                latencies.append(latency)
                waits.append(max(0.0, latency - job.work))

    cpu = time.process_time()
    tasks = []
    for job in due:
        await asyncio.sleep(began + job.at - loop.time())
        tasks.append(asyncio.create_task(one(job)))
    await asyncio.gather(*tasks)
    cpu = time.process_time() - cpu
    return {
        "latencies": latencies,
        "waits": waits,
        "errors": dict(errors),
        "cpu": cpu / len(due) * 1e6,
    }


def _kind(exc: Exception) -> str:
    status = getattr(getattr(exc, "response", None), "status_code", None)
    return f"{type(exc).__name__} {status}" if status else type(exc).__name__


def main() -> None:
    name, trial_name, seconds, warm_up, seed = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    trial = next(trial for trial in TRIALS if trial.name == trial_name)
    scenario = trial.scenario(float(seconds), float(warm_up))
    print(json.dumps(asyncio.run(measure(name, trial, scenario, int(seed)))))


if __name__ == "__main__":
    main()
