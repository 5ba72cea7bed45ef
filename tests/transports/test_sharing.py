"""One client, many threads; one balancer, many clients; and what a fork leaves to the child."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aiclient
from aiclient.testing import FakeNode, NodeProcess

from .family import clients, httpx, sync_room
from .helpers import CHAT, MODELS, eventually, in_flight, open_files, patiently
from .nodes import ScriptedNode, answer, replies

Fakes = Callable[..., FakeNode]
Scripted = Callable[..., ScriptedNode]
STREAM = {"stream": True}


@pytest.fixture
def hasty_switches() -> Iterator[None]:
    """Threads are switched as often as can be, which brings races out."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def in_threads(count: int, work: Callable[[int], object]) -> None:
    """Run `work` in that many threads, all started at once; raises what one of them raised."""
    barrier = threading.Barrier(count)
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(20)
            work(number)
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


@pytest.mark.usefixtures("hasty_switches")
def test_sixteen_threads_one_client(fakes: Fakes) -> None:
    """Plain calls and streams of 16 threads over 3 nodes all succeed, each with its own answer."""
    nodes = [fakes(tokens=3) for _ in range(3)]
    files = open_files()
    with clients.Client([node.url for node in nodes]) as client:

        def work(number: int) -> None:
            for turn in range(15):
                body = {"model": f"m{number}-{turn}"}
                assert client.post(CHAT, json=body).json()["model"] == body["model"]
                assert body["model"] in client.post(CHAT, json={**body, **STREAM}).text

        in_threads(16, work)
        assert in_flight(client.balancer) == 0
        assert sum(node.served for node in nodes) == 16 * 15 * 2
    patiently(lambda: open_files() <= files)


@pytest.mark.usefixtures("hasty_switches")
def test_the_first_calls_of_many_threads_at_once(fakes: Fakes) -> None:
    """The very first calls race to set everything up; no connection is lost by it."""
    node = fakes()
    files = open_files()
    for _ in range(10):
        client = clients.Client(node.url)
        in_threads(8, lambda _, client=client: client.get(MODELS))  # type: ignore[misc]
        client.close()
    patiently(lambda: node.connections == 0)
    assert open_files() <= files


def test_the_first_calls_race_for_what_all_need(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with the race made certain: all threads find nothing there and make it."""
    node = fakes()
    slowly(monkeypatch, sync_room, "SyncGate")
    slowly(monkeypatch, sync_room, "Address")
    client = clients.Client(node.url)
    in_threads(8, lambda _: client.get(MODELS))
    assert node.connections > 1
    client.close()
    patiently(lambda: node.connections == 0)


def slowly(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    """Make something take its time."""
    original = getattr(module, name)

    def slow(*args: Any) -> Any:
        time.sleep(0.05)
        return original(*args)

    monkeypatch.setattr(module, name, slow)


@pytest.mark.usefixtures("hasty_switches")
def test_threads_while_nodes_come_and_go(scripted: Scripted) -> None:
    """Updates under load lose neither a call nor a connection."""
    nodes = [scripted(replies(answer())) for _ in range(4)]
    urls = [node.url for node in nodes]
    limits = httpx.Limits(keepalive_expiry=0.01)
    client = clients.Client(urls, limits=limits)

    def work(number: int) -> None:
        for turn in range(40):
            if number == 0:
                client.balancer.update(urls[turn % 4 :] or urls)
            else:
                assert client.get(MODELS).status_code == 200

    in_threads(8, work)
    assert in_flight(client.balancer) == 0
    client.close()
    patiently(lambda: all(node.connections == 0 for node in nodes))


@pytest.mark.usefixtures("hasty_switches")
def test_one_balancer_for_sync_and_async_clients(fakes: Fakes) -> None:
    """Threads and event loops over one balancer see one picture, which adds up."""
    nodes = [fakes() for _ in range(2)]
    balancer = aiclient.Balancer([node.url for node in nodes])

    async def many() -> None:
        async with clients.AsyncClient(balancer) as client:
            responses = await asyncio.gather(*[client.get(MODELS) for _ in range(30)])
            assert {response.status_code for response in responses} == {200}

    def work(number: int) -> None:
        if number % 2:
            asyncio.run(many())
            return
        with clients.Client(balancer) as client:
            for _ in range(30):
                assert client.get(MODELS).status_code == 200

    in_threads(6, work)
    assert sum(node.picked for node in balancer.snapshot()) == 180
    assert in_flight(balancer) == 0
    patiently(lambda: all(node.connections == 0 for node in nodes))


def test_one_async_client_on_several_loops_at_once(fakes: Fakes) -> None:
    """Each event loop has connections of its own; closing the client closes all of them."""
    node = fakes()
    client = clients.AsyncClient(node.url)
    met = threading.Barrier(3)

    async def call() -> None:
        assert (await client.get(MODELS)).status_code == 200
        await asyncio.to_thread(met.wait, 20)
        if threading.current_thread().name == "closer":
            await client.aclose()
        await eventually(lambda: node.connections == 0)

    threads = [
        threading.Thread(target=lambda: asyncio.run(call()), name=name)
        for name in ("closer", "second", "third")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


def test_three_loops_in_turn(fakes: Fakes) -> None:
    """`asyncio.run` again and again with one client, also with streams left open at its end."""
    node = fakes()
    client = clients.AsyncClient(node.url)

    async def call(leave_open: bool) -> None:
        if leave_open:
            request = client.build_request("POST", CHAT, json=STREAM)
            await client.send(request, stream=True)
        else:
            assert (await client.post(CHAT, json=STREAM)).status_code == 200

    for turn in range(3):
        asyncio.run(call(leave_open=turn == 1))
    asyncio.run(client.aclose())
    patiently(lambda: node.connections == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_with_open_connections() -> None:
    """Child and parent go on with connections of their own, and no call is mixed up."""
    with NodeProcess(prefill=0, token_time=0) as node, clients.Client(node.url) as client:
        client.get(MODELS)
        with client.stream("POST", CHAT, json=STREAM) as response:
            pieces = response.iter_bytes()
            next(pieces)
            child = os.fork()
            if not child:
                _in_the_child(client)
            rest = b"".join(pieces)
            _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert rest.endswith(b"data: [DONE]\n\n")
        assert client.get(MODELS).status_code == 200
        assert in_flight(client.balancer) == 0
        assert node.stats().connections == 1


def _in_the_child(client: clients.Client) -> None:
    code = 1
    try:
        assert in_flight(client.balancer) == 0
        for _ in range(3):
            assert client.post(CHAT, json={}).status_code == 200
        assert in_flight(client.balancer) == 0
        client.close()
        code = 0
    finally:
        os._exit(code)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_fork_within_an_event_loop() -> None:
    """An async client's sockets are forgotten in the child without disturbing the parent's loop."""
    with NodeProcess(prefill=0, token_time=0) as node:

        async def parent() -> None:
            async with clients.AsyncClient(node.url) as client:
                await client.get(MODELS)
                child = os.fork()
                if not child:
                    _async_in_the_child(client)
                _, status = await asyncio.to_thread(os.waitpid, child, 0)
                assert os.waitstatus_to_exitcode(status) == 0
                for _ in range(3):
                    assert (await client.post(CHAT, json=STREAM)).status_code == 200
                assert node.stats().connections == 1

        asyncio.run(parent())


def _async_in_the_child(client: clients.AsyncClient) -> None:
    code = 1

    async def call() -> None:
        assert (await client.post(CHAT, json=STREAM)).status_code == 200
        await client.aclose()

    try:
        asyncio.events._set_running_loop(None)
        asyncio.run(call())
        code = 0
    finally:
        os._exit(code)
