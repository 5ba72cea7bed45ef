"""Connections: how many, how long they are kept, and how a dead one is found before it is used."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

import anyio
import pytest

import aiclient
from aiclient.testing import FakeNode

from .family import httpx
from .helpers import CHAT, MODELS, Caller, eventually, in_flight, nodes_of, tried
from .nodes import Connection, ScriptedNode, answer

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio
STREAM = {"stream": True}


async def many(caller: Caller, count: int, path: str = MODELS, body: object = None) -> list[int]:
    """Calls at the same time; their statuses."""
    statuses: list[int] = []
    method = "GET" if body is None else "POST"

    def call() -> None:
        statuses.append(caller.client.request(method, path, json=body).status_code)

    async def call_later() -> None:
        statuses.append((await caller.request(method, path, json=body)).status_code)

    if caller.is_sync:
        threads = [threading.Thread(target=call) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return statuses
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(call_later)
    return statuses


class Busy:
    """Answers after a moment, and counts how many connections are open at once.

    With `crowd`, it answers nobody before that many are.
    """

    def __init__(self, crowd: int = 0) -> None:
        self.most = 0
        self.open: set[Connection] = set()
        self.crowd = crowd
        self.lock = threading.Condition()

    def __call__(self, connection: Connection) -> None:
        with self.lock:
            self.open.add(connection)
            # This thread may be late to see the end of another one's: its socket knows.
            self.most = max(self.most, sum(not at_its_end(other.sock) for other in self.open))
            self.lock.notify_all()
            self.lock.wait_for(lambda: self.most >= self.crowd, timeout=20)
        try:
            while True:
                connection.request()
                time.sleep(0.01)
                connection.send(answer())
        finally:
            with self.lock:
                self.open.discard(connection)


def at_its_end(sock: socket.socket) -> bool:
    """Whether the client has closed the connection."""
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


async def test_no_cap_by_default(calls: Calls, scripted: Scripted) -> None:
    """As many connections as there are calls at once."""
    busy = Busy(crowd=30)
    caller = calls(scripted(busy).url)
    assert await many(caller, 30) == [200] * 30
    assert busy.most == 30


async def test_max_connections_caps_all_nodes_together(calls: Calls, scripted: Scripted) -> None:
    """The cap is the client's, whatever the number of nodes; idle ones make room."""
    busy = Busy()
    nodes = [scripted(busy) for _ in range(3)]
    limits = httpx.Limits(max_connections=4)
    caller = calls([n.url for n in nodes], limits=limits, picker=aiclient.RoundRobin())
    assert await many(caller, 40) == [200] * 40
    assert busy.most <= 4
    await eventually(lambda: len(busy.open) <= 4)


async def test_an_idle_connection_makes_room_while_others_connect(
    calls: Calls, scripted: Scripted
) -> None:
    """Those being opened count, too: three idle ones and three new calls are never six."""
    first, second = scripted(Busy(crowd=3)), scripted(Busy(crowd=3))
    caller = calls(nodes_of(first, second), limits=httpx.Limits(max_connections=3))
    await many(caller, 3)
    assert first.connections == 3
    caller.balancer.drain("a")
    assert await many(caller, 3) == [200] * 3
    await eventually(lambda: first.connections == 0)
    assert second.connections == 3


async def test_pool_timeout(calls: Calls, fakes: Fakes) -> None:
    """No free connection in time: httpx's PoolTimeout, no retry, and nobody's fault."""
    node = fakes()
    limits, timeout = httpx.Limits(max_connections=1), httpx.Timeout(5, pool=0.1)
    caller = calls(nodes_of(node, fakes()), limits=limits, timeout=timeout)
    async with caller.stream("POST", CHAT, json=STREAM):
        with pytest.raises(httpx.PoolTimeout, match=r"no free connection within 0\.1 s") as caught:
            await caller.get()
        assert len(tried(caught.value)) == 1
        assert in_flight(caller.balancer) == 1
    assert [seen.failed for seen in caller.balancer.snapshot()] == [0, 0]
    assert (await caller.get()).status_code == 200


async def test_the_deadline_holds_for_the_queue(calls: Calls, fakes: Fakes) -> None:
    """Waiting for a connection counts towards the total deadline; and only towards that one."""
    caller = calls(fakes().url, limits=httpx.Limits(max_connections=1))
    options = {"extensions": {"aiclient": aiclient.CallOptions(deadline=0.1)}}
    async with caller.stream("POST", CHAT, json=STREAM):
        with pytest.raises(aiclient.DeadlineExceeded):
            await caller.get(MODELS, **options)
    hasty = calls(
        fakes().url,
        limits=httpx.Limits(max_connections=1),
        deadlines=aiclient.Deadlines(first_byte=0.1),
    )
    async with hasty.stream("POST", CHAT, json=STREAM):
        with pytest.raises(httpx.PoolTimeout):
            await hasty.get()
    assert [seen.failed for seen in hasty.balancer.snapshot()] == [0]


async def test_connections_are_reused(calls: Calls, fakes: Fakes) -> None:
    """One call after the other goes over one connection, streams and errors included."""
    node = fakes()
    caller = calls(node.url)
    await caller.get()
    await caller.post(json=STREAM)
    node.fault("400", times=1)
    await caller.post()
    await caller.get()
    assert node.connections == 1


async def test_the_last_used_is_used_next(calls: Calls, fakes: Fakes) -> None:
    """A stack: what is not needed is left to expire."""
    node = fakes()
    caller = calls(node.url, limits=httpx.Limits(keepalive_expiry=0.4))
    await many(caller, 8)
    before = node.connections
    if before > 1:
        give_up_at = time.monotonic() + 20
        while node.connections > 1:
            await caller.get()
            assert time.monotonic() < give_up_at
    assert node.connections == 1


async def test_keepalive_expiry(calls: Calls, fakes: Fakes) -> None:
    """A connection idle for longer is not used again."""
    node = fakes()
    caller = calls(node.url, limits=httpx.Limits(keepalive_expiry=0.05))
    await caller.get()
    await anyio.sleep(0.1)
    await caller.get()
    await eventually(lambda: node.connections == 1)
    forgetful = calls(node.url, limits=httpx.Limits(keepalive_expiry=0))
    for _ in range(3):
        assert (await forgetful.get()).status_code == 200


async def test_max_keepalive(calls: Calls, fakes: Fakes) -> None:
    """At most so many are kept idle; with none, every call connects anew."""
    node = fakes(prefill=0.02)
    caller = calls(node.url, limits=httpx.Limits(max_keepalive_connections=2))
    await many(caller, 10)
    await eventually(lambda: node.connections <= 2)
    never = calls(node.url, limits=httpx.Limits(max_keepalive_connections=0))
    await never.get()
    await caller.close()
    await eventually(lambda: node.connections == 0)


async def test_a_connection_the_node_closed_is_not_tried(calls: Calls, fakes: Fakes) -> None:
    """Closed while idle: found when it is taken, not by a failed attempt, for any method."""
    node = fakes()
    caller = calls(node.url, retry=None)
    for _ in range(5):
        node.fault("close_idle", times=1)
        assert (await caller.get()).status_code == 200
        await eventually(lambda: node.connections == 0)
        response = await caller.request("POST", "/v1/embeddings", json={"input": "x"})
        assert (response.status_code, tried(response)) == (200, [node.url])


async def test_a_restarted_node(calls: Calls, fakes: Fakes) -> None:
    """After a node's restart none of its old connections costs a call anything."""
    node = fakes()
    caller = calls(node.url)
    await many(caller, 10)
    node.kill()
    node.start()
    for _ in range(10):
        assert len((await caller.get()).extensions["aiclient"].attempts) == 1


async def test_a_gone_nodes_connections_are_closed(calls: Calls, fakes: Fakes) -> None:
    """An update that takes a node away closes its idle connections, and its busy ones when done."""
    old, new = fakes(), fakes()
    caller = calls(old.url, limits=httpx.Limits(keepalive_expiry=0.05))
    await caller.get()
    async with caller.stream("POST", CHAT, json=STREAM) as response:
        caller.balancer.update([new.url])
        assert [piece async for piece in caller.pieces(response)]
    await eventually(lambda: old.connections == 0)
    assert (await caller.get()).status_code == 200


async def test_a_node_that_leaves_and_returns(calls: Calls, fakes: Fakes) -> None:
    """Its connections work again; one given back meanwhile is not lost."""
    node, other = fakes(), fakes()
    caller = calls(node.url)
    async with caller.stream("POST", CHAT, json=STREAM) as response:
        caller.balancer.update([other.url])
        await caller.get()
        caller.balancer.update([node.url])
        await caller.read(response)
    assert (await caller.get()).status_code == 200
    await caller.close()
    await eventually(lambda: node.connections == other.connections == 0)


async def test_new_headers_take_effect_on_old_connections(calls: Calls, fakes: Fakes) -> None:
    """An update of a node's credentials needs no new connection."""
    node = fakes()
    caller = calls([aiclient.Endpoint(node.url, headers={"X-Key": "old"})])
    await caller.get()
    caller.balancer.update([aiclient.Endpoint(node.url, headers={"X-Key": "new"})])
    await caller.get()
    assert [request.headers["x-key"] for request in node.requests] == ["old", "new"]
    assert node.connections == 1
