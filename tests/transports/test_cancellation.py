"""10,000 calls cancelled at random moments leave nothing behind: no slot, task, descriptor."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import random
from collections.abc import Awaitable, Callable

import anyio
import pytest

from aiclient.testing import FakeNode

from .family import clients, httpx
from .helpers import CHAT, MODELS, eventually, garbage, in_flight, open_files
from .places import PLACES, Place, place

WORKERS = 40
CALLS = 1000


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops."""
    name: str = request.param
    return name


def tasks() -> int:
    """How many live on this event loop."""
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:
        import trio

        return trio.lowlevel.current_statistics().tasks_living


class Tally:
    """How the calls ended, and how long they are given: longer, if few come far enough."""

    def __init__(self, far: Callable[[], int] | None = None) -> None:
        self.cancelled = 0
        self.done = 0
        self._far = far
        self._rng = random.Random(7)
        self._scale = 0.02

    def seconds(self, number: int) -> float:
        """How long the call with this number may take; a good part of them no time at all."""
        if number % 25 == 24 and self._far is not None and self._far() * 4 < number:
            self._scale = min(1.0, self._scale * 2)
        return (0.0, 1.0, 1.0, 1.0, 3.0)[number % 5] * self._scale * self._rng.random()


async def cancelled_after(seconds: float, call: Awaitable[object], tally: Tally) -> None:
    """Cancel `call` after that long: level-triggered, as trio and anyio do it."""
    with anyio.CancelScope(deadline=anyio.current_time() + seconds) as scope:
        await call
        tally.done += 1
    tally.cancelled += scope.cancelled_caught


async def killed_after(seconds: float, call: Awaitable[object], tally: Tally) -> None:
    """The same as asyncio does it: once, as a task."""
    task = asyncio.ensure_future(call)
    if seconds:
        await asyncio.wait([task], timeout=seconds)
    task.cancel()
    try:
        await task
        tally.done += 1
    except asyncio.CancelledError:
        tally.cancelled += 1


async def cancel_many(
    client: clients.AsyncClient,
    calls: list[Callable[[clients.AsyncClient], Awaitable[object]]],
    count: int,
    backend: str,
    tally: Tally,
) -> None:
    """Make `count` calls, some at a time, each cancelled at a random moment."""
    rng = random.Random(8)
    left = iter(range(count))

    async def worker() -> None:
        for number in left:
            native = backend == "asyncio" and number % 2
            cancel = killed_after if native else cancelled_after
            await cancel(tally.seconds(number), rng.choice(calls)(client), tally)

    async with anyio.create_task_group() as group:
        for _ in range(WORKERS):
            group.start_soon(worker)
    assert tally.done + tally.cancelled == count


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.parametrize("name", PLACES)
@pytest.mark.usefixtures("no_collector")
async def test_calls_cancelled_where_they_hang(name: str, anyio_backend: str) -> None:
    """Wherever a call is when it is cancelled, it takes everything with it, and at once."""
    with place(name) as where, FakeNode(prefill=0, token_time=0) as healthy:
        async with clients.AsyncClient(healthy.url, **where.options) as client:
            await client.get(MODELS)
            client.balancer.update([where.url])
            files, alive = open_files(), tasks()
            tally = Tally(where.reached)
            await cancel_many(client, [where.call], where.calls, anyio_backend, tally)
            assert tally.cancelled == where.calls
            if where.reached is not None:
                assert where.reached() > where.calls / 10
            assert in_flight(client.balancer) == 0
            where.settle()
            await eventually(lambda: open_files() <= files and tasks() <= alive)
            await check_next_call(client, where, healthy)


async def check_next_call(client: clients.AsyncClient, where: Place, healthy: FakeNode) -> None:
    """It succeeds."""
    where.heal()
    if not where.heals:
        client.balancer.update([healthy.url])
    client.balancer.restore(client.balancer.endpoints[0])
    response = await client.post(CHAT, json={})
    assert response.status_code == 200
    assert in_flight(client.balancer) == 0


async def chat(client: clients.AsyncClient) -> object:
    """A plain call."""
    return await client.post(CHAT, json={})


async def stream(client: clients.AsyncClient) -> object:
    """A streamed one, read to its end."""
    async with client.stream("POST", CHAT, json={"stream": True}) as response:
        return [piece async for piece in response.aiter_bytes()]


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.usefixtures("no_collector")
async def test_calls_cancelled_on_working_nodes(anyio_backend: str) -> None:
    """The same while everything works, where any step may be the one that is cancelled."""
    files = open_files()
    with contextlib.ExitStack() as stack:
        nodes = [
            stack.enter_context(FakeNode(prefill=0.003, token_time=0.0005, slots=100))
            for _ in range(3)
        ]
        async with clients.AsyncClient([node.url for node in nodes]) as client:
            alive = tasks()
            tally = Tally(lambda: tally.done)
            await cancel_many(client, [chat, stream], 2 * CALLS, anyio_backend, tally)
            assert min(tally.cancelled, tally.done) > CALLS / 20
            assert in_flight(client.balancer) == 0
            assert (await client.post(CHAT, json={})).status_code == 200
            await eventually(lambda: tasks() <= alive)
            await eventually(lambda: all(node.active == 0 for node in nodes))
    await eventually(lambda: open_files() <= files)


@pytest.mark.anyio
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("name", ["tls", "upload", "headers", "held"])
async def test_cancelled_calls_leave_no_cycles(name: str) -> None:
    """Nothing of a cancelled call is left to the garbage collector: it may hold a large body."""
    with place(name) as where:
        async with clients.AsyncClient(where.url, **where.options) as client:
            for _ in range(5):
                with anyio.move_on_after(0.03):
                    await where.call(client)
            gc.collect()
            for _ in range(5):
                with anyio.move_on_after(0.03):
                    await where.call(client)
            left = garbage(lambda thing: isinstance(thing, httpx.Request))
    assert not left


@pytest.mark.anyio
@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("fault", ["hang", "hang_mid_stream"])
async def test_read_timeouts_leave_nothing(fault: str) -> None:
    """A call that httpx's own timeout ends frees its slot and its connection."""
    with FakeNode(prefill=0, token_time=0) as node:
        timeout = httpx.Timeout(5, read=0.02)
        async with clients.AsyncClient(node.url, timeout=timeout, retry=None) as client:
            await client.get(MODELS)
            files = open_files()
            node.fault(fault)
            for body in ({}, {"stream": True}) * 20:
                with pytest.raises(httpx.TimeoutException if fault == "hang" else httpx.HTTPError):
                    await client.post(CHAT, json=body)
            assert in_flight(client.balancer) == 0
            await eventually(lambda: open_files() <= files)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.anyio
@pytest.mark.usefixtures("no_collector")
async def test_wait_for(anyio_backend: str) -> None:
    """`asyncio.wait_for` and `asyncio.timeout` end a call as cleanly."""
    with FakeNode(prefill=0, token_time=0) as node:
        async with clients.AsyncClient(node.url) as client:
            await client.get(MODELS)
            files, alive = open_files(), tasks()
            node.fault("hang")
            for _ in range(20):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(client.post(CHAT, json={}), 0.005)
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.005):
                        await client.post(CHAT, json={})
            assert in_flight(client.balancer) == 0
            await eventually(lambda: open_files() <= files and tasks() <= alive)
            node.heal()
            assert (await client.get(MODELS)).status_code == 200
