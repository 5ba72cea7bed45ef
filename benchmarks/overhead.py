"""What a balanced call costs, against bare httpx, in one run.

    python benchmarks/overhead.py            all of it, about four minutes
    python benchmarks/overhead.py --quick    one short round of each: only whether it runs

CPU is this process's own, per successful call; the node is another process that costs next to
nothing. Rounds alternate between the clients, and medians are shown. httpx runs without limits on
its connections, as we do; at 512 and more calls in flight its pool takes most of its time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

import aiclient
from aiclient.core.attempt import Attempt
from aiclient.core.call import Call
from aiclient.settings import NO_OPTIONS

PATH = "/v1/chat/completions"
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hello " * 50}]}
NO_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=None)
NODES = 30
CLIENTS = ("httpx", "3 nodes", "30 nodes")


class Round(NamedTuple):
    cpu: float  # microseconds of CPU per successful call
    rate: float  # successful calls per second
    errors: int


class Size(NamedTuple):
    """How many calls a round makes: bare httpx gets fewer where it would take minutes."""

    rounds: int
    ours: int
    httpx: int


FULL = {1: Size(7, 1500, 1500), 64: Size(5, 3000, 1000), 512: Size(3, 5000, 1000)}
FULL[1000] = Size(3, 8000, 1000)
QUICK = {1: Size(1, 200, 200), 64: Size(1, 300, 100)}


@contextlib.contextmanager
def node_ports(count: int) -> Iterator[list[int]]:
    server = Path(__file__).with_name("server.py")
    command = [sys.executable, str(server), str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield [int(port) for port in process.stdout.readline().split()]
        process.stdin.close()


async def measure_async(make: Callable[[], httpx.AsyncClient], in_flight: int, calls: int) -> Round:
    errors = 0
    async with make() as client:

        async def worker(turns: Iterator[int]) -> None:
            nonlocal errors
            for _ in turns:
                try:
                    response = await client.post(PATH, json=REQUEST)
                    errors += response.status_code != 200
                except httpx.HTTPError:
                    errors += 1

        async def run(count: int) -> None:
            turns = iter(range(count))
            await asyncio.gather(*(worker(turns) for _ in range(in_flight)))

        await run(min(in_flight, calls // 2))
        errors = 0
        cpu, start = time.process_time(), time.perf_counter()
        await run(calls)
        return rated(time.process_time() - cpu, time.perf_counter() - start, calls, errors)


def measure_sync(make: Callable[[], httpx.Client], threads: int, calls: int) -> Round:
    failed: list[int] = []
    with make() as client:

        def worker(count: int) -> None:
            for _ in range(count):
                try:
                    if client.post(PATH, json=REQUEST).status_code != 200:
                        failed.append(1)
                except httpx.HTTPError:
                    failed.append(1)

        def run(count: int) -> None:
            crew = [threading.Thread(target=worker, args=(count,)) for _ in range(threads)]
            for thread in crew:
                thread.start()
            for thread in crew:
                thread.join()

        run(2)
        failed.clear()
        each = calls // threads
        cpu, start = time.process_time(), time.perf_counter()
        run(each)
        cpu, wall = time.process_time() - cpu, time.perf_counter() - start
        return rated(cpu, wall, each * threads, len(failed))


def rated(cpu: float, wall: float, calls: int, errors: int) -> Round:
    good = calls - errors
    return Round(cpu / max(good, 1) * 1e6, good / wall, errors)


def makers(ports: list[int], *, sync: bool) -> dict[str, Callable[[], Any]]:
    nodes = [f"http://127.0.0.1:{port}" for port in ports]
    bare = httpx.Client if sync else httpx.AsyncClient
    ours = aiclient.Client if sync else aiclient.AsyncClient
    return {
        "httpx": lambda: bare(base_url=nodes[0], limits=NO_LIMITS, timeout=60),
        "3 nodes": lambda: ours(nodes[:3], timeout=60),
        "30 nodes": lambda: ours(nodes, timeout=60),
    }


def compare(mode: str, in_flight: int, size: Size, ports: list[int]) -> dict[str, Round]:
    rounds: dict[str, list[Round]] = {name: [] for name in CLIENTS}
    for number in range(size.rounds):
        for name, make in makers(ports, sync=mode == "sync").items():
            print(f"\r{mode} {in_flight}: round {number + 1}, {name:10}", end="", file=sys.stderr)
            calls = size.httpx if name == "httpx" else size.ours
            if mode == "sync":
                rounds[name].append(measure_sync(make, in_flight, calls))
            else:
                rounds[name].append(asyncio.run(measure_async(make, in_flight, calls)))
    print("\r" + " " * 50 + "\r", end="", file=sys.stderr)
    return {name: median(taken) for name, taken in rounds.items()}


def median(rounds: list[Round]) -> Round:
    return Round(
        statistics.median(taken.cpu for taken in rounds),
        statistics.median(taken.rate for taken in rounds),
        sum(taken.errors for taken in rounds),
    )


def show(mode: str, in_flight: int, results: dict[str, Round]) -> None:
    bare = results["httpx"].cpu
    for name in CLIENTS:
        cpu, rate, errors = results[name]
        print(
            f"{mode:6}{in_flight:9}  {name:9}{cpu:10.0f} us{cpu / bare:9.2f} x{rate:10.0f}/s"
            f"{errors:8}",
            flush=True,
        )


def pick_cost(nodes: int, rounds: int) -> float:
    """Microseconds of one pick and its release, the best of many short rounds."""
    balancer = aiclient.Balancer(
        [f"http://10.{n >> 16}.{n >> 8 & 255}.{n & 255}:8000" for n in range(nodes)]
    )
    call = Call(balancer, None, NO_OPTIONS)
    best = float("inf")
    for _ in range(40):
        start = time.perf_counter()
        for _ in range(rounds):
            attempt = balancer.pick(call)
            assert isinstance(attempt, Attempt)
            attempt.finish()
        best = min(best, (time.perf_counter() - start) / rounds * 1e6)
    return best


def import_cost(statement: str, rounds: int) -> float:
    """Milliseconds of CPU to run `statement` in a fresh interpreter, the median."""
    code = f"import time; start = time.process_time()\n{statement}\n"
    code += "print(time.process_time() - start)"
    command = [sys.executable, "-c", code]
    taken = [float(subprocess.check_output(command)) * 1000 for _ in range(rounds)]
    return statistics.median(taken)


def show_imports(rounds: int) -> None:
    httpx_client = "import httpx; httpx.Client()"
    our_client = "import aiclient; aiclient.Client('http://127.0.0.1:1')"
    for ours, theirs in (("import aiclient", "import httpx"), (our_client, httpx_client)):
        cost, reference = import_cost(ours, rounds), import_cost(theirs, rounds)
        print(f"{ours}: {cost:.0f} ms CPU; {theirs}: {reference:.0f} ms; {cost / reference:.2f} x")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    quick = parser.parse_args().quick
    print(f"Python {platform.python_version()}, httpx {httpx.__version__}, {platform.machine()}")
    print(
        f"{'mode':6}{'in flight':>9}  {'client':9}{'CPU/call':>13}{'to httpx':>11}"
        f"{'calls':>12}{'errors':>8}"
    )
    results: dict[tuple[str, int], dict[str, Round]] = {}
    with node_ports(NODES) as ports:
        for in_flight, size in (QUICK if quick else FULL).items():
            results["async", in_flight] = compare("async", in_flight, size, ports)
            show("async", in_flight, results["async", in_flight])
        for threads in (1, 64):
            size = QUICK[threads] if quick else FULL[threads]
            results["sync", threads] = compare("sync", threads, size, ports)
            show("sync", threads, results["sync", threads])
    if ("async", 1000) in results:
        for name in CLIENTS[1:]:
            growth = results["async", 1000][name].cpu / results["async", 1][name].cpu
            print(f"{name}: {growth:.2f} x as much CPU per call at 1,000 in flight as at 1")
    for nodes in (3, 10, 100, 1000, 10_000):
        cost = pick_cost(nodes, 50 if quick else 1000)
        print(f"pick and release at {nodes:6} nodes: {cost:5.1f} us")
    show_imports(3 if quick else 15)


if __name__ == "__main__":
    main()
