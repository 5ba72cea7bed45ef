"""A child made by os.fork makes calls of its own and leaves its parent's alone."""

import json
import os
import signal
import stat
import threading
import traceback
from collections.abc import Callable
from typing import Any

import anyio
import pytest

import aiclient
from aiclient.testing import NodeProcess

from .load import CHAT, HEADERS, Book, load_async, load_sync
from .nodes import Fleet

CALLS = 100
LONG_STREAM = b'{"messages": [], "stream": true, "max_tokens": 200}'
DONE = b"data: [DONE]\n\n"
# Seconds after which a child that is stuck is killed.
PATIENCE = 60

Told = dict[str, Any]
# What a child tells that found nothing of its parent's and made all its calls.
FINE = {"at first": [0] * 4, "inherited": [], "failures": [], "done": CALLS, "at last": [0] * 4}


@pytest.fixture
def nodes(fleet: Fleet) -> list[NodeProcess]:
    """Three quick nodes."""
    fleet.mend(0.002)
    return fleet.nodes[:3]


def in_a_child(work: Callable[[], Told]) -> Told:
    """What `work` returns in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE)
        try:
            told = work()
        except BaseException:
            told = {"error": traceback.format_exc()}
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = json.loads(pipe.read() or b'{"error": "it was stuck"}')
    os.waitpid(pid, 0)
    return told


def in_flight(balancer: aiclient.Balancer) -> list[int]:
    """By the balancer, and by each of its nodes."""
    return [balancer.in_flight, *(node.in_flight for node in balancer.snapshot())]


def sockets() -> set[int]:
    """The sockets this process has open, by the kernel's numbers."""
    found = set()
    for number in os.listdir("/dev/fd"):
        try:
            about = os.fstat(int(number))
        except OSError:  # that of the listing itself
            continue
        if stat.S_ISSOCK(about.st_mode):
            found.add(about.st_ino)
    return found


def child_of(
    client: aiclient.Client | aiclient.AsyncClient, parents: set[int], way: str
) -> Callable[[], Told]:
    """Work for a child: its own calls with its parent's client, and what it found."""

    def work() -> Told:
        at_first = in_flight(client.balancer)
        inherited = parents & sockets()
        book = Book(CALLS)
        if isinstance(client, aiclient.Client):
            load_sync(client, book, 8)
        else:
            # In a thread of its own: in this one the parent's event loop is running.
            loop = threading.Thread(
                target=anyio.run, args=(load_async, client, book, 8), kwargs={"backend": way}
            )
            loop.start()
            loop.join()
        return {
            "at first": at_first,
            "inherited": sorted(inherited),
            "failures": book.failures,
            "done": book.done,
            "at last": in_flight(client.balancer),
        }

    return work


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of the threads of other tests
def test_fork_with_open_connections_sync(nodes: list[NodeProcess]) -> None:
    """Idle connections, and one that carries a stream."""
    others = sockets()
    with aiclient.Client([node.url for node in nodes]) as client:
        load_sync(client, Book(CALLS), 8)
        with client.stream("POST", CHAT, content=LONG_STREAM, headers=HEADERS) as response:
            pieces = response.iter_raw()
            body = next(pieces)
            own = sockets() - others
            assert len(own) > 1
            assert in_a_child(child_of(client, own, "sync")) == FINE
            body += b"".join(pieces)
        assert body.endswith(DONE)
        book = Book(CALLS)
        load_sync(client, book, 1)
        assert (book.done, book.failures) == (CALLS, [])
        assert sockets() - others <= own
        assert in_flight(client.balancer) == [0] * 4


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("way", ["asyncio", "trio"])
def test_fork_with_open_connections_async(way: str, nodes: list[NodeProcess]) -> None:
    """In the middle of a running event loop."""
    others = sockets()

    async def parent() -> None:
        before = sockets()
        async with aiclient.AsyncClient([node.url for node in nodes]) as client:
            await load_async(client, Book(CALLS), 8)
            async with client.stream(
                "POST", CHAT, content=LONG_STREAM, headers=HEADERS
            ) as response:
                pieces = response.aiter_raw()
                body = await anext(pieces)
                own = sockets() - before
                assert len(own) > 1
                assert in_a_child(child_of(client, own, way)) == FINE
                async for piece in pieces:
                    body += piece
            assert body.endswith(DONE)
            book = Book(CALLS)
            await load_async(client, book, 1)
            assert (book.done, book.failures) == (CALLS, [])
            assert sockets() - before <= own
            assert in_flight(client.balancer) == [0] * 4

    anyio.run(parent, backend=way)
    assert sockets() == others


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_closes_what_it_has_of_its_parents_stream(nodes: list[NodeProcess]) -> None:
    """Its in-flight counters do not go below zero, and the parent reads on."""
    with aiclient.Client([node.url for node in nodes]) as client:
        with client.stream("POST", CHAT, content=LONG_STREAM, headers=HEADERS) as response:
            pieces = response.iter_raw()
            body = next(pieces)

            def work() -> Told:
                response.close()
                client.close()
                return {"at last": in_flight(client.balancer)}

            assert in_a_child(work) == {"at last": [0] * 4}
            assert sum(in_flight(client.balancer)) == 2
            body += b"".join(pieces)
        assert body.endswith(DONE)
        assert in_flight(client.balancer) == [0] * 4


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_fork_while_sixteen_threads_make_calls(nodes: list[NodeProcess]) -> None:
    """Whatever lock one of them holds at that moment, the child is not stuck."""
    with aiclient.Client([node.url for node in nodes]) as client:
        book = Book(1500)
        threads = threading.Thread(target=load_sync, args=(client, book, 16))
        threads.start()
        book.under_way.wait()
        for _ in range(5):
            assert in_a_child(child_of(client, set(), "sync")) == FINE
        threads.join()
        assert (book.done, book.failures) == (1500, [])
        assert in_flight(client.balancer) == [0] * 4
