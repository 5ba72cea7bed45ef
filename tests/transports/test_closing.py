"""The end of a client: in peace, by force, or forgotten."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import aiclient
from aiclient.testing import FakeNode

from .family import clients, httpx
from .helpers import CHAT, MODELS, Caller, blocking, eventually, garbage, in_flight, open_files
from .nodes import ScriptedNode, answer, once
from .places import Sink

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio
STREAM = {"stream": True}


@contextlib.asynccontextmanager
async def under_way(caller: Caller, **request: Any) -> Any:
    """A call that runs beside the block; yields a list that its outcome ends up in."""
    outcome: list[Any] = []

    def call() -> None:
        try:
            outcome.append(caller.client.request(**request))
        except Exception as exc:
            outcome.append(exc)

    async def call_later() -> None:
        try:
            outcome.append(await caller.client.request(**request))
        except Exception as exc:
            outcome.append(exc)

    if caller.is_sync:
        with blocking(call):
            yield outcome
    else:
        async with anyio.create_task_group() as group:
            group.start_soon(call_later)
            yield outcome


async def test_closing_breaks_off_what_runs(calls: Calls, fakes: Fakes) -> None:
    """A waiting call ends at once with an httpx error, without a retry and without blame."""
    node, other = fakes(), fakes()
    node.fault("hang")
    caller = calls([node.url, other.url], picker=aiclient.RoundRobin())
    async with under_way(caller, method="POST", url=CHAT, json={}) as outcome:
        await eventually(lambda: node.active)
        await caller.close()
    assert isinstance(outcome[0], httpx.TransportError)
    assert [seen.failed for seen in caller.balancer.snapshot()] == [0, 0]
    assert in_flight(caller.balancer) == 0
    await eventually(lambda: node.connections == 0)


async def test_closing_breaks_off_an_upload(calls: Calls) -> None:
    """So does one that is blocked while sending."""
    with Sink(reads=False) as sink:
        caller = calls(f"http://127.0.0.1:{sink.port}")
        body = bytes(30_000_000)
        async with under_way(caller, method="PUT", url="/v1/files/1", content=body) as outcome:
            await eventually(lambda: sink.accepted and in_flight(caller.balancer))
            await anyio.sleep(0.1)
            await caller.close()
        assert isinstance(outcome[0], httpx.TransportError)
        assert in_flight(caller.balancer) == 0


async def test_closing_breaks_off_a_handshake(calls: Calls) -> None:
    """A call that is just connecting does not go on to be served by a closed client."""
    with Sink(reads=True) as sink:
        timeout = httpx.Timeout(1)
        caller = calls(f"https://127.0.0.1:{sink.port}", timeout=timeout)
        async with under_way(caller, method="GET", url=MODELS) as outcome:
            await eventually(lambda: sink.accepted)
            await caller.close()
        assert isinstance(outcome[0], httpx.TransportError)
        assert in_flight(caller.balancer) == 0


async def test_closing_empties_the_queue(calls: Calls, fakes: Fakes) -> None:
    """Calls waiting for a connection are not left waiting, nor served."""
    node = fakes()
    node.fault("hang")
    caller = calls(node.url, limits=httpx.Limits(max_connections=1), timeout=httpx.Timeout(15))
    async with under_way(caller, method="GET", url=MODELS) as first:
        await eventually(lambda: node.active)
        async with under_way(caller, method="GET", url=MODELS) as second:
            await eventually(lambda: in_flight(caller.balancer) == 2)
            started = time.monotonic()
            await caller.close()
    assert isinstance(first[0], httpx.TransportError)
    assert isinstance(second[0], httpx.TransportError)
    assert time.monotonic() - started < 10
    assert node.requests.total == 1


async def test_finish_lets_streams_end(calls: Calls, fakes: Fakes) -> None:
    """`close(finish=)` waits for streams under way, but no longer than for them."""
    node = fakes(token_time=0.02, tokens=10)
    caller = calls(node.url)
    async with under_way(caller, method="POST", url=CHAT, json=STREAM) as outcome:
        await eventually(lambda: node.active)
        started = time.monotonic()
        await caller.close(finish=20)
        assert time.monotonic() - started < 10
    assert outcome[0].status_code == 200
    assert outcome[0].text.endswith("data: [DONE]\n\n")


async def test_finish_waits_for_a_call_that_is_connecting(calls: Calls) -> None:
    """A call is under way from its pick on."""
    with Sink(reads=True) as sink:
        caller = calls(f"https://127.0.0.1:{sink.port}", timeout=httpx.Timeout(0.5))
        async with under_way(caller, method="GET", url=MODELS) as outcome:
            await eventually(lambda: sink.accepted)
            await caller.close(finish=20)
            await eventually(lambda: outcome)
        assert isinstance(outcome[0], httpx.ConnectTimeout)


async def test_finish_has_an_end(calls: Calls, fakes: Fakes) -> None:
    """What then still runs is broken off."""
    node = fakes()
    node.fault("hang")
    caller = calls(node.url)
    async with under_way(caller, method="GET", url=MODELS) as outcome:
        await eventually(lambda: node.active)
        await caller.close(finish=0.1)
    assert isinstance(outcome[0], httpx.TransportError)


async def test_a_closed_client(calls: Calls, fakes: Fakes) -> None:
    """Closing twice is harmless; calling is httpx's own RuntimeError."""
    caller = calls(fakes().url)
    await caller.close()
    await caller.close(finish=1)
    with pytest.raises(RuntimeError, match="closed"):
        await caller.get()


async def test_a_closed_balancer(calls: Calls, fakes: Fakes) -> None:
    """A client over a balancer that somebody closed says so, as an httpx error."""
    balancer = aiclient.Balancer([fakes().url])
    caller = calls(balancer)
    balancer.close()
    with pytest.raises(httpx.TransportError, match="balancer is closed") as caught:
        await caller.get()
    assert isinstance(caught.value, aiclient.BalancerError)


async def test_over_a_shared_balancer_calls_go_on(calls: Calls, fakes: Fakes) -> None:
    """Who did not make the balancer does not end it, nor breaks off what runs over it."""
    node = fakes(token_time=0.01, keepalive=3600)
    balancer = aiclient.Balancer([node.url])
    one, other = calls(balancer), calls(balancer)
    async with under_way(one, method="POST", url=CHAT, json=STREAM) as outcome:
        await eventually(lambda: node.active)
        await one.close()
    assert outcome[0].text.endswith("data: [DONE]\n\n")
    await eventually(lambda: node.connections == 0)
    assert (await other.get()).status_code == 200
    assert not balancer.closed


@pytest.mark.usefixtures("no_collector")
async def test_closing_returns_every_descriptor(
    calls: Calls, scripted: Scripted, fakes: Fakes
) -> None:
    """After `close` no socket is left, whatever had happened, without the garbage collector."""
    good, bad = fakes(), scripted(once(b"garbage"))
    files = open_files()
    caller = calls([good.url, bad.url, "http://127.0.0.1:9"])
    for _ in range(10):
        await caller.post()
        await caller.post(json=STREAM)
    await caller.close()
    await eventually(lambda: open_files() <= files)


async def test_a_forgotten_client(flavour: str, fakes: Fakes) -> None:
    """A client that is dropped without being closed leaves no connection."""
    node = fakes()
    caller: Any = Caller(flavour, node.url)
    await caller.get()
    await caller.post(json=STREAM)
    assert node.connections == 1
    del caller
    gc.collect()
    await eventually(lambda: node.connections == 0)


async def test_a_forgotten_loop(fakes: Fakes, flavour: str) -> None:
    """An event loop that ends takes its connections along when the next one begins."""
    if flavour == "sync":
        pytest.skip("no event loop")
    node = fakes()
    client = clients.AsyncClient(node.url)

    async def call() -> int:
        return (await client.get(MODELS)).status_code

    statuses: list[int] = []
    for _ in range(3):
        runner = threading.Thread(target=lambda: statuses.append(anyio.run(call, backend=flavour)))
        runner.start()
        await anyio.to_thread.run_sync(runner.join)
    assert statuses == [200] * 3
    assert node.connections == 1
    await client.aclose()
    await eventually(lambda: node.connections == 0)


# httpx and httpcore leave their generators half-read when a response is dropped.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_forgotten_response(calls: Calls, fakes: Fakes) -> None:
    """A stream dropped half-read gives back slot and connection, and its place in the queue."""
    node = fakes(tokens=1000)
    node.fault("hang_mid_stream")
    caller = calls(node.url, limits=httpx.Limits(max_connections=1), timeout=httpx.Timeout(20))
    request = caller.client.build_request("POST", CHAT, json=STREAM)
    response = caller.client.send(request, stream=True)
    response = response if caller.is_sync else await response
    assert in_flight(caller.balancer) == 1
    del response, request
    gc.collect()
    await eventually(lambda: in_flight(caller.balancer) == 0)
    await eventually(lambda: node.connections == 0)
    node.heal()
    assert (await caller.get()).status_code == 200


@pytest.mark.usefixtures("no_collector")
async def test_failures_leave_no_cycles(calls: Calls, scripted: Scripted) -> None:
    """A failed call's exception, and all it holds, is freed as soon as the caller lets go of it."""
    caller = calls(scripted(once(answer()[:10])).url, retry=None)
    for _ in range(3):
        with contextlib.suppress(httpx.HTTPError):
            await caller.post()
    gc.collect()
    for _ in range(20):
        with contextlib.suppress(httpx.HTTPError):
            await caller.post()
    assert not garbage(lambda thing: isinstance(thing, BaseException))
