"""What a balanced call of the openai SDK costs, against the SDK alone, in one run.

    pip install openai 'aiclient[httpx2]'
    python benchmarks/sdks.py                         about eleven minutes
    python benchmarks/sdks.py --quick                 one short round of each: only whether it runs
    python benchmarks/sdks.py --litellm PYTHON        also LiteLLM's Router, which needs an
                                                      environment of its own: its interpreter

CPU is this process's own, per successful call; the nodes are another process that costs next to
nothing. So many callers as are to be in flight make one call after another; after a warm-up what is
spent and done within a window counts. Rounds alternate between the clients, and medians are shown;
a ratio is one of figures of the same round, the last one to the SDK alone at 1 in flight. The SDK
alone runs over an httpx2 client without limits on its connections, and talks to one node; the
others to three.

First nodes take so long that, however many are in flight, 250 calls end each second: all that
differs from row to row is how many are in flight. Then nodes answer at once: next to nothing is in
flight then, and the callers wait for their turn on a CPU that has none left. Beside the threads is
the SDK over a transport that does the least: what that costs, nobody can save who waits in threads.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

MESSAGES: Any = [{"role": "user", "content": "hello " * 50}]
NODES = 3
ALONE = "openai, 1 in flight"
BALANCED = "with aiclient"
LEAST = "least transport"


class Round(NamedTuple):
    cpu: float  # microseconds of CPU per successful call
    rate: float  # successful calls per second
    errors: int


class Size(NamedTuple):
    """So many calls in flight at nodes that take `seconds`."""

    in_flight: int
    seconds: float

    @property
    def warm_up(self) -> float:
        return 0.5 + 1.5 * self.seconds + self.in_flight / 200

    @property
    def alone(self) -> Size:
        """The same with 1 in flight."""
        return Size(1, BETWEEN if self.seconds else 0.0)


BETWEEN = 0.0025  # with what the call itself takes, 250 such calls follow each other in a second
SIZES = [Size(1, BETWEEN), Size(64, 0.25), Size(512, 2.0), Size(1, 0.0), Size(64, 0.0)]
SIZES.append(Size(512, 0.0))
QUICK = [Size(1, BETWEEN), Size(64, 0.25), Size(64, 0.0)]
ROUNDS, WINDOW = 4, 3.0


@contextlib.contextmanager
def node_urls(seconds: float) -> Iterator[list[str]]:
    server = Path(__file__).with_name("server.py")
    command = [sys.executable, str(server), str(NODES), str(seconds)]
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

    with contextlib.ExitStack() as stack:
        transport = httpx2.MockTransport(one_exchange(nodes[0], stack))
        http = stack.enter_context(httpx2.Client(transport=transport))
        client = openai.OpenAI(
            base_url=base_url(nodes, True), api_key="k", max_retries=0, http_client=http
        )
        yield lambda: client.chat.completions.create(model="m", messages=MESSAGES)


def one_exchange(url: str, connections: contextlib.ExitStack) -> Callable[[Any], Any]:
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
            connection = socket.create_connection((host, int(port)))
            mine.socket = connections.enter_context(connection)
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


class Count:
    """What callers have done, and what this process has spent since `begin`."""

    def __init__(self, callers: int) -> None:
        self.stopped = False
        self._done = [0] * callers
        self._failed = [0] * callers

    def note(self, caller: int, *, good: bool) -> None:
        (self._done if good else self._failed)[caller] += 1

    def _now(self) -> tuple[float, float, int, int]:
        return time.process_time(), time.perf_counter(), sum(self._done), sum(self._failed)

    def begin(self) -> None:
        self._began = self._now()

    def end(self) -> Round:
        cpu, wall, good, bad = (
            now - then for now, then in zip(self._now(), self._began, strict=True)
        )
        self.stopped = True
        return Round(cpu / max(good, 1) * 1e6, good / wall, int(bad))


async def measure(make: Callable[[], Any], size: Size, window: float) -> Round:
    count = Count(size.in_flight)
    async with make() as call:
        await call()  # some clients import a great deal by then

        async def caller(number: int) -> None:
            while not count.stopped:
                try:
                    await call()
                except Exception:
                    count.note(number, good=False)
                else:
                    count.note(number, good=True)

        callers = [asyncio.ensure_future(caller(number)) for number in range(size.in_flight)]
        await asyncio.sleep(min(window, size.warm_up))
        count.begin()
        await asyncio.sleep(window)
        taken = count.end()
        await asyncio.gather(*callers)
        return taken


def measure_sync(make: Callable[[], Any], size: Size, window: float) -> Round:
    count = Count(size.in_flight)
    # Among hundreds that are busy it takes a second to start one more.
    started = threading.Barrier(size.in_flight + 1)
    with make() as call:

        def caller(number: int) -> None:
            started.wait()
            while not count.stopped:
                try:
                    call()
                except Exception:
                    count.note(number, good=False)
                else:
                    count.note(number, good=True)

        callers = [threading.Thread(target=caller, args=(n,)) for n in range(size.in_flight)]
        for thread in callers:
            thread.start()
        started.wait()
        time.sleep(min(window, size.warm_up))
        count.begin()
        time.sleep(window)
        taken = count.end()
        for thread in callers:
            thread.join()
        return taken


def routed(python: str, nodes: list[str], size: Size, window: float) -> Round:
    """A round of LiteLLM's Router, in the environment it is installed in."""
    command = [python, __file__, "--router-round", json.dumps([nodes, size, window])]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return Round(*json.loads(done.stdout.splitlines()[-1]))


def one_round(mode: str, nodes: list[str], size: Size, window: float, *, balanced: bool) -> Round:
    make = sync_sdk if mode == "sync" else sdk

    def made() -> Any:
        return make(nodes, balanced=balanced)

    if mode == "sync":
        return measure_sync(made, size, window)
    return asyncio.run(measure(made, size, window))


def compare(mode: str, size: Size, quick: bool, python: str) -> int:
    """Measure and show one line for each client; returns how many balanced calls failed."""
    rounds: dict[str, list[Round]] = {}
    window = 0.3 if quick else WINDOW
    alone = size.alone
    with node_urls(alone.seconds) as one_node, node_urls(size.seconds) as nodes:
        # A machine's speed drifts: what is compared is measured in turn, the SDK alone included.
        for number in range(1 if quick else ROUNDS):
            shown = f"\r{mode} {size.in_flight}, {size.seconds:g} s: round {number + 1} "
            print(shown, end="", file=sys.stderr)
            one = {ALONE: one_round(mode, one_node, alone, window / 2, balanced=False)}
            one["openai"] = one_round(mode, nodes, size, window, balanced=False)
            one[BALANCED] = one_round(mode, nodes, size, window, balanced=True)
            if mode == "sync":
                one[LEAST] = measure_sync(lambda: sync_sdk_at_least(nodes), size, window)
            elif python:
                one["LiteLLM Router"] = routed(python, nodes, size, window)
            for name, taken in one.items():
                rounds.setdefault(name, []).append(taken)
    print("\r" + " " * 40 + "\r", end="", file=sys.stderr)
    show(mode, size, rounds)
    return sum(taken.errors for taken in rounds[BALANCED])


def show(mode: str, size: Size, rounds: dict[str, list[Round]]) -> None:
    for name, taken in rounds.items():
        if name == ALONE:
            continue
        bare, alone = (
            statistics.median(
                one.cpu / other.cpu for one, other in zip(taken, rounds[beside], strict=True)
            )
            for beside in ("openai", ALONE)
        )
        print(
            f"{mode:6}{size.in_flight:9}{1000 * size.seconds:9.1f} ms  {name:15}"
            f"{statistics.median(one.cpu for one in taken):7.0f} us{bare:9.2f} x{alone:11.2f} x"
            f"{statistics.median(one.rate for one in taken):9.0f}/s"
            f"{sum(one.errors for one in taken):8}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--litellm", default="", metavar="PYTHON", help="where litellm is")
    parser.add_argument("--router-round", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.router_round:
        nodes, size, window = json.loads(options.router_round)
        router = measure(lambda: litellm_router(nodes), Size(*size), window)
        print(json.dumps(asyncio.run(router)))
        return
    import httpx2
    import openai

    print(
        f"Python {platform.python_version()}, openai {openai.__version__}, "
        f"httpx2 {httpx2.__version__}, {platform.machine()}"
    )
    print(
        f"{'mode':6}{'in flight':>9}{'nodes take':>12}  {'client':15}{'CPU/call':>10}"
        f"{'to openai':>11}{'to 1 alone':>13}{'calls':>11}{'errors':>8}"
    )
    failed = 0
    for mode in ("async", "sync"):
        for size in QUICK if options.quick else SIZES:
            failed += compare(mode, size, options.quick, options.litellm)
    if failed:
        sys.exit(f"{failed} balanced calls failed")


if __name__ == "__main__":
    main()
