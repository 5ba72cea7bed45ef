"""Calls that wait in the client for a place, over real sockets, in threads and on event loops."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import anyio
import pytest

import aiclient
from aiclient import Concurrency
from aiclient.testing import FakeNode

from .family import clients, httpx
from .helpers import CHAT, Caller, eventually, in_flight, nodes_of, tried
from .nodes import Connection, ScriptedNode, answer
from .test_limits import many

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio
STREAM = {"stream": True}


class Counted:
    """Takes a moment for each request, and counts how many it has at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, connection: Connection) -> None:
        while True:
            connection.request()
            with self._lock:
                self.now += 1
                self.most = max(self.most, self.now)
            time.sleep(0.01)
            with self._lock:
                self.now -= 1
            connection.send(answer())


async def test_no_node_gets_more_than_the_limit(calls: Calls, scripted: Scripted) -> None:
    """All calls are answered, and nobody polls: each wakes as soon as it has a place."""
    a, b = Counted(), Counted()
    nodes = nodes_of(scripted(a), scripted(b))
    caller = calls(nodes, concurrency=Concurrency(limit=2))
    began = time.monotonic()
    assert await many(caller, 40) == [200] * 40
    # 40 calls of 10 ms at 4 places; one that looked again each second would show.
    assert time.monotonic() - began < 5.0
    assert (a.most, b.most) == (2, 2)
    assert in_flight(caller.balancer) == 0
    assert caller.balancer.snapshot().waiting == 0


async def test_overloaded_is_a_pool_timeout(calls: Calls, fakes: Fakes) -> None:
    """For httpx's users, too; and it says what to do about it."""
    node = fakes()
    caller = calls(node.url, concurrency=Concurrency(limit=1, max_wait=0.1))
    async with caller.stream("POST", CHAT, json=STREAM):
        with pytest.raises(aiclient.Overloaded, match=r"\(1\), for 0\.1 s now") as caught:
            await caller.post()
    assert isinstance(caught.value, httpx.PoolTimeout)
    assert tried(caught.value) == []
    assert (await caller.post()).status_code == 200


async def test_a_lease_and_a_client_share_the_places(calls: Calls, fakes: Fakes) -> None:
    """What ends in one thread or event loop wakes who waits in another."""
    caller = calls(fakes().url, concurrency=Concurrency(limit=1))
    balancer = caller.balancer
    entered = threading.Event()
    leave = threading.Event()

    def hold() -> None:
        with balancer.lease():
            entered.set()
            leave.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    await anyio.to_thread.run_sync(entered.wait)

    def end_it() -> None:
        while not balancer.snapshot().waiting:
            time.sleep(0.001)
        leave.set()

    other = threading.Thread(target=end_it)
    other.start()
    began = time.monotonic()
    assert (await caller.post()).status_code == 200
    assert time.monotonic() - began < 0.9  # woken, not by looking again after a second
    thread.join()
    other.join()
    async with balancer.lease():
        assert in_flight(balancer) == 1


async def test_cancelled_while_it_waits(calls: Calls, fakes: Fakes, flavour: str) -> None:
    """It leaves the line; the place goes to the next one."""
    if flavour == "sync":
        pytest.skip("a thread cannot be cancelled")
    caller = calls(fakes().url, concurrency=Concurrency(limit=1))
    async with caller.stream("POST", CHAT, json=STREAM):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(caller.post)
            await eventually(lambda: caller.balancer.snapshot().waiting == 3)
            assert " in_flight=1 waiting=3:" in repr(caller.balancer)
            group.cancel_scope.cancel()
        assert caller.balancer.snapshot().waiting == 0
        assert in_flight(caller.balancer) == 1
    assert (await caller.post()).status_code == 200
    assert in_flight(caller.balancer) == 0


async def test_interrupted_while_it_waits(calls: Calls, fakes: Fakes, flavour: str) -> None:
    """As a signal handler's exception does to a thread that blocks."""
    if flavour != "sync":
        pytest.skip("see the test above")
    caller = calls(fakes().url, concurrency=Concurrency(limit=1))
    async with caller.stream("POST", CHAT, json=STREAM):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("aiclient.core.line.Ticket.patience", interrupt)
            with pytest.raises(KeyboardInterrupt):
                await caller.post()
        assert caller.balancer.snapshot().waiting == 0
    assert in_flight(caller.balancer) == 0


def interrupt(ticket: object) -> float:
    """In place of the wait."""
    raise KeyboardInterrupt


async def test_closing_ends_the_wait(calls: Calls, fakes: Fakes) -> None:
    """With an error, not after `max_wait`."""
    caller = calls(fakes().url, concurrency=Concurrency(limit=1))

    def close_it() -> None:
        while not caller.balancer.snapshot().waiting:
            time.sleep(0.001)
        caller.balancer.close()

    thread = threading.Thread(target=close_it)
    async with caller.stream("POST", CHAT, json=STREAM):
        thread.start()
        with pytest.raises(httpx.TransportError, match="closed"):
            await caller.post()
    thread.join()


async def test_few_slots_are_learnt_over_sockets(calls: Calls, fakes: Fakes) -> None:
    """Without any setting: two nodes that work on one call at a time get no second one."""
    nodes = nodes_of(*(fakes(slots=1, prefill=0.05) for _ in range(2)))
    caller = calls(nodes, picker=aiclient.LeastLoad())
    waited = 0
    for _ in range(20):
        waited += await most_waiting(caller, 6)
    assert waited > 6
    assert in_flight(caller.balancer) == 0


async def most_waiting(caller: Caller, count: int) -> int:
    """Make so many calls at once; the most that were seen waiting in the line."""
    most = 0
    over = threading.Event()

    def look() -> None:
        nonlocal most
        while not over.wait(0.002):
            most = max(most, caller.balancer.snapshot().waiting)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        assert await many(caller, count, CHAT, {}) == [200] * count
    finally:
        over.set()
        thread.join()
    return most


def test_a_call_whose_event_loop_has_gone_holds_no_place(fakes: Fakes) -> None:
    """The place that it gets is passed on, whatever keeps its task alive."""
    balancer = aiclient.Balancer(fakes().url, concurrency=Concurrency(limit=1))
    lease = balancer.lease()
    lease.__enter__()
    client = clients.AsyncClient(balancer)
    loop = asyncio.new_event_loop()

    async def begin() -> asyncio.Task[object]:
        task: asyncio.Task[object] = asyncio.ensure_future(client.post(CHAT, json={}))
        while not balancer.snapshot().waiting:
            await asyncio.sleep(0.001)
        return task

    task = loop.run_until_complete(begin())
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    lease.__exit__()
    assert in_flight(balancer) == 0
    with balancer.lease():
        pass
