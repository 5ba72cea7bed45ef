"""What a balanced call of the openai SDK costs, against the SDK alone, in one run.

    pip install openai 'aiclient[httpx2]'
    python benchmarks/sdks.py                         about four minutes
    python benchmarks/sdks.py --quick                 one short round of each: only whether it runs
    python benchmarks/sdks.py --litellm PYTHON        also LiteLLM's Router, which needs an
                                                      environment of its own: its interpreter

CPU is this process's own, per successful call; the nodes are another process that costs next to
nothing. Rounds alternate between the clients, and medians are shown; a ratio is one of figures of
the same round, the last one to the SDK alone at 1 in flight. The SDK alone runs over an httpx2
client without limits on its connections, and talks to one node; the others to three. All threads
begin at the same moment. Beside them is the SDK over a transport that does the least: what that
costs, nobody can save who waits in threads.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

MESSAGES: Any = [{"role": "user", "content": "hello " * 50}]
NODES = 3
ALONE = "openai, 1 in flight"
LEAST = "least transport"


class Round(NamedTuple):
    cpu: float  # microseconds of CPU per successful call
    rate: float  # successful calls per second
    errors: int


class Size(NamedTuple):
    """How many calls a round makes: the SDK alone gets fewer where it would take minutes."""

    rounds: int
    ours: int
    others: int


FULL = {1: Size(15, 300, 300), 64: Size(7, 1500, 800), 512: Size(5, 2500, 1024)}
QUICK = {1: Size(1, 50, 50), 64: Size(1, 128, 128)}
FULL_SYNC = {1: FULL[1], 64: Size(11, 1280, 1280), 512: Size(5, 2560, 1024)}
Call = Callable[[], Awaitable[None]]


@contextlib.contextmanager
def node_urls() -> Iterator[list[str]]:
    server = Path(__file__).with_name("server.py")
    command = [sys.executable, str(server), str(NODES)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield [f"http://127.0.0.1:{port}" for port in map(int, process.stdout.readline().split())]
        process.stdin.close()


# the clients; imported where they are used, since they do not live in one environment


@contextlib.asynccontextmanager
async def sdk(nodes: list[str], *, balanced: bool) -> Any:
    import openai

    async with http_client(nodes, balanced=balanced, sync=False) as http:
        client = openai.AsyncOpenAI(
            base_url=base_url(nodes, balanced), api_key="k", max_retries=0, http_client=http
        )

        async def call() -> None:
            await client.chat.completions.create(model="m", messages=MESSAGES)

        yield call


@contextlib.contextmanager
def sync_sdk_at_least(nodes: list[str]) -> Any:
    import httpx2
    import openai

    with httpx2.Client(transport=httpx2.MockTransport(one_exchange(nodes[0]))) as http:
        client = openai.OpenAI(
            base_url=base_url(nodes, True), api_key="k", max_retries=0, http_client=http
        )
        yield lambda: client.chat.completions.create(model="m", messages=MESSAGES)


def one_exchange(url: str) -> Callable[[Any], Any]:
    """One send and one receive for each call, over a connection for each thread: as little as can
    be. Every request is sent as the first one was, and has the first one's headers for an answer.
    """
    import httpx2

    from aiclient.wire.held import send_some

    host, port = url.removeprefix("http://").split(":")
    mine = threading.local()
    sent: list[bytes] = []
    headers: list[tuple[bytes, bytes]] = []

    def exchange(request: httpx2.Request) -> httpx2.Response:
        if not hasattr(mine, "socket"):
            mine.socket = socket.create_connection((host, int(port)))
        if not sent:
            body = request.read()
            head = b"POST %b HTTP/1.1\r\nhost: llm\r\ncontent-length: %d\r\n\r\n"
            sent.append(head % (request.url.raw_path, len(body)) + body)
        send_some(mine.socket, sent[0])
        head, _, body = mine.socket.recv(65536).partition(b"\r\n\r\n")
        if not headers:
            lines = [line.partition(b": ") for line in head.split(b"\r\n")[1:]]
            headers.extend((name, value) for name, _, value in lines)
        return httpx2.Response(200, headers=headers, content=body)

    return exchange


@contextlib.contextmanager
def sync_sdk(nodes: list[str], *, balanced: bool) -> Any:
    import openai

    with http_client(nodes, balanced=balanced, sync=True) as http:
        client = openai.OpenAI(
            base_url=base_url(nodes, balanced), api_key="k", max_retries=0, http_client=http
        )
        yield lambda: client.chat.completions.create(model="m", messages=MESSAGES)


def base_url(nodes: list[str], balanced: bool) -> str:
    return "http://llm/v1" if balanced else f"{nodes[0]}/v1"


def http_client(nodes: list[str], *, balanced: bool, sync: bool) -> Any:
    import httpx2

    import aiclient.httpx2

    if balanced:
        return (aiclient.httpx2.Client if sync else aiclient.httpx2.AsyncClient)(nodes)
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    timeout = httpx2.Timeout(600, connect=5)
    return (httpx2.Client if sync else httpx2.AsyncClient)(limits=limits, timeout=timeout)


@contextlib.asynccontextmanager
async def litellm_router(nodes: list[str]) -> Any:
    import litellm

    parameters = {"model": "openai/m", "api_key": "k", "max_retries": 0}
    router = litellm.Router(
        model_list=[
            {"model_name": "m", "litellm_params": {**parameters, "api_base": f"{node}/v1"}}
            for node in nodes
        ],
        routing_strategy="least-busy",
        num_retries=2,
    )

    async def call() -> None:
        await router.acompletion(model="m", messages=MESSAGES)

    yield call


# the measuring


async def measure(make: Callable[[], Any], in_flight: int, calls: int) -> Round:
    errors = 0
    async with make() as call:

        async def worker(turns: Iterator[int]) -> None:
            nonlocal errors
            for _ in turns:
                try:
                    await call()
                except Exception:
                    errors += 1

        async def run(count: int) -> None:
            turns = iter(range(count))
            await asyncio.gather(*(worker(turns) for _ in range(in_flight)))

        await run(max(20, min(in_flight, calls // 2)))
        errors = 0
        cpu, start = time.process_time(), time.perf_counter()
        await run(calls)
        return rated(time.process_time() - cpu, time.perf_counter() - start, calls, errors)


def measure_sync(make: Callable[[], Any], threads: int, calls: int) -> Round:
    failed: list[int] = []
    each = calls // threads
    # Threads that are there already, as those of a pool are, and their connections, too.
    ready = threading.Barrier(threads + 1)
    with make() as call:

        def calling(count: int) -> None:
            for _ in range(count):
                try:
                    call()
                except Exception:
                    failed.append(1)

        def worker() -> None:
            calling(max(1, each // 2))
            ready.wait()
            ready.wait()
            calling(each)

        crew = [threading.Thread(target=worker) for _ in range(threads)]
        for thread in crew:
            thread.start()
        ready.wait()
        failed.clear()
        cpu, start = time.process_time(), time.perf_counter()
        ready.wait()
        for thread in crew:
            thread.join()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - start
        return rated(cpu, wall, each * threads, len(failed))


def rated(cpu: float, wall: float, calls: int, errors: int) -> Round:
    good = calls - errors
    return Round(cpu / max(good, 1) * 1e6, good / wall, errors)


def median(rounds: list[Round]) -> Round:
    return Round(
        statistics.median(taken.cpu for taken in rounds),
        statistics.median(taken.rate for taken in rounds),
        sum(taken.errors for taken in rounds),
    )


def routed(python: str, nodes: list[str], in_flight: int, calls: int) -> Round:
    """A round of LiteLLM's Router, in the environment it is installed in."""
    command = [python, __file__, "--router-round", json.dumps([nodes, in_flight, calls])]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return Round(*json.loads(done.stdout.splitlines()[-1]))


def compare(mode: str, in_flight: int, size: Size, nodes: list[str], python: str) -> None:
    """Measure and show one line for each client."""
    rounds: dict[str, list[Round]] = {}
    # A machine's speed drifts: what is compared is measured in turn, the SDK alone included.
    turns = [(ALONE, False, 1, min(300, size.others)), ("openai", False, in_flight, size.others)]
    turns.append(("with aiclient", True, in_flight, size.ours))
    for number in range(size.rounds):
        print(f"\r{mode} {in_flight}: round {number + 1}", end="", file=sys.stderr)
        for name, balanced, at_once, calls in turns:
            taken = one_round(mode, nodes, at_once, calls, balanced=balanced)
            rounds.setdefault(name, []).append(taken)
        if mode == "sync":
            taken = measure_sync(lambda: sync_sdk_at_least(nodes), in_flight, size.ours)
            rounds.setdefault(LEAST, []).append(taken)
        if python and mode == "async" and number < 3:
            taken = routed(python, nodes, in_flight, size.others)
            rounds.setdefault("LiteLLM Router", []).append(taken)
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    show(mode, in_flight, rounds)


def one_round(mode: str, nodes: list[str], at_once: int, calls: int, *, balanced: bool) -> Round:
    make = sync_sdk if mode == "sync" else sdk

    def made() -> Any:
        return make(nodes, balanced=balanced)

    if mode == "sync":
        return measure_sync(made, at_once, calls)
    return asyncio.run(measure(made, at_once, calls))


def show(mode: str, in_flight: int, rounds: dict[str, list[Round]]) -> None:
    for name, taken in rounds.items():
        if name == ALONE:
            continue
        cpu, rate, errors = median(taken)
        bare, alone = (
            statistics.median(one.cpu / other.cpu for one, other in zip(taken, rounds[beside]))  # noqa: B905 - LiteLLM has fewer
            for beside in ("openai", ALONE)
        )
        print(
            f"{mode:6}{in_flight:9}  {name:15}{cpu:9.0f} us{bare:9.2f} x"
            f"{alone:11.2f} x{rate:9.0f}/s{errors:8}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--litellm", default="", metavar="PYTHON", help="where litellm is")
    parser.add_argument("--router-round", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.router_round:
        nodes, in_flight, calls = json.loads(options.router_round)
        print(json.dumps(asyncio.run(measure(lambda: litellm_router(nodes), in_flight, calls))))
        return
    import httpx2
    import openai

    print(
        f"Python {platform.python_version()}, openai {openai.__version__}, "
        f"httpx2 {httpx2.__version__}, {platform.machine()}"
    )
    print(
        f"{'mode':6}{'in flight':>9}  {'client':15}{'CPU/call':>12}{'to openai':>11}"
        f"{'to 1 alone':>13}{'calls':>11}{'errors':>8}"
    )
    with node_urls() as nodes:
        for in_flight, size in (QUICK if options.quick else FULL).items():
            compare("async", in_flight, size, nodes, options.litellm)
        for threads, size in (QUICK if options.quick else FULL_SYNC).items():
            compare("sync", threads, size, nodes, options.litellm)


if __name__ == "__main__":
    main()
