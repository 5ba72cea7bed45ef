"""One client, or one balancer, used from wherever Python code runs."""

from concurrent.futures import ThreadPoolExecutor

import anyio
import pytest

import aiclient
from aiclient.testing import NodeProcess

from .load import Book, load_async, load_sync
from .nodes import Fleet, eventually
from .run import open_files

CALLS = 300


@pytest.fixture
def nodes(fleet: Fleet) -> list[NodeProcess]:
    """Three quick nodes."""
    fleet.mend(0.002)
    return fleet.nodes[:3]


def check(balancer: aiclient.Balancer, *books: Book) -> None:
    """All calls were good at once, and nothing is in flight."""
    for book in books:
        assert book.failures == []
        assert book.done == book.attempts == CALLS
    assert not balancer.in_flight
    assert not any(node.in_flight for node in balancer.snapshot())


def connections(nodes: list[NodeProcess]) -> int:
    """How many connections the nodes have open."""
    return sum(node.stats().connections for node in nodes)


def test_sixteen_threads_share_a_client(nodes: list[NodeProcess]) -> None:
    """Each has a connection to itself during a call; what is free is used again."""
    files = open_files()
    book = Book(CALLS)
    with aiclient.Client([node.url for node in nodes]) as client:
        load_sync(client, book, 16)
        check(client.balancer, book)
        assert 3 <= connections(nodes) <= 3 * 16
        assert open_files() == files + connections(nodes)
    assert open_files() == files


def test_threads_asyncio_and_trio_share_a_balancer(nodes: list[NodeProcess]) -> None:
    """Sync and async clients in three threads, at the same time."""
    files = open_files()
    books = [Book(CALLS) for _ in range(3)]

    async def drive(balancer: aiclient.Balancer, book: Book) -> None:
        async with aiclient.AsyncClient(balancer) as client:
            await load_async(client, book, 8)

    def work(balancer: aiclient.Balancer, book: Book) -> None:
        with aiclient.Client(balancer) as client:
            load_sync(client, book, 8)

    with aiclient.Balancer([node.url for node in nodes]) as balancer:
        with ThreadPoolExecutor(3) as pool:
            pool.submit(work, balancer, books[0])
            pool.submit(lambda: anyio.run(drive, balancer, books[1], backend="asyncio"))
            pool.submit(lambda: anyio.run(drive, balancer, books[2], backend="trio"))
        check(balancer, *books)
        assert sum(node.picked for node in balancer.snapshot()) == 3 * CALLS
    assert open_files() == files


@pytest.mark.parametrize(
    "loops",
    [("asyncio",) * 3, ("trio",) * 3, ("asyncio", "trio", "asyncio"), ("trio", "asyncio", "trio")],
    ids="-".join,
)
def test_three_event_loops_in_turn_use_one_client(
    loops: tuple[str, ...], nodes: list[NodeProcess]
) -> None:
    """Each has connections of its own; those of the one before are closed."""
    files = open_files()
    client = aiclient.AsyncClient([node.url for node in nodes])
    for loop in loops:
        book = Book(CALLS)
        anyio.run(load_async, client, book, 8, backend=loop)
        check(client.balancer, book)
        eventually(lambda: open_files() == files + connections(nodes), "only its own are open")
        assert connections(nodes) <= 3 * 8
    anyio.run(client.aclose)
    assert open_files() == files
    eventually(lambda: not connections(nodes), "the nodes see them closed")


def test_two_event_loops_at_once_use_one_client(nodes: list[NodeProcess]) -> None:
    """In two threads; their connections do not mix."""
    files = open_files()
    client = aiclient.AsyncClient([node.url for node in nodes])
    books = [Book(CALLS) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        pool.submit(lambda: anyio.run(load_async, client, books[0], 8, backend="asyncio"))
        pool.submit(lambda: anyio.run(load_async, client, books[1], 8, backend="trio"))
    check(client.balancer, *books)
    anyio.run(client.aclose)
    assert open_files() == files
