"""The streams themselves: what no call through a client can bring about at will."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from aiclient.wire import anyio_stream, asyncio_stream, sync_stream
from aiclient.wire.failures import (
    ConnectError,
    ConnectTimeout,
    ReadError,
    ReadTimeout,
    WriteError,
    WriteTimeout,
)
from aiclient.wire.watch import Wait

pytestmark = pytest.mark.anyio


class Overdue(Exception):
    pass


class Deadline:
    """A watch with one deadline."""

    def __init__(self, seconds: float) -> None:
        self.at = time.monotonic() + seconds

    def patience(self, waited: float) -> float | None:
        return self.remaining()

    def remaining(self) -> float | None:
        return max(0.0, self.at - time.monotonic())

    def check(self, waited: float) -> None:
        if time.monotonic() >= self.at:
            raise Overdue


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops."""
    name: str = request.param
    return name


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


Pair = tuple[Any, socket.socket]


async def connected(
    backend: str, place: tuple[str, int], local: str | None = None, options: Any = ()
) -> Any:
    """A stream of the event loop's own kind."""
    if backend == "asyncio":
        loop = asyncio.get_running_loop()
        return await asyncio_stream.connect(loop, *place, 5, local, options)
    return await anyio_stream.connect(*place, 5, local, options)


@pytest.fixture
async def pair(listener: socket.socket, anyio_backend: str) -> AsyncIterator[Pair]:
    """A stream of the event loop's own kind, and the node's end of the connection."""
    small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)]
    stream = await connected(anyio_backend, listener.getsockname(), options=small)
    node, _ = listener.accept()
    yield stream, node
    stream.close()
    node.close()


@pytest.fixture
def sync_pair(listener: socket.socket) -> Iterator[Pair]:
    """The same, blocking."""
    host, port = listener.getsockname()
    stream = sync_stream.connect(host, port, 5, None, ())
    node, _ = listener.accept()
    yield stream, node
    stream.close()
    node.close()


async def test_the_end_is_told_as_often_as_asked(pair: Pair) -> None:
    """Reading on after the end gives the end again, and does not wait for ever."""
    stream, node = pair
    node.sendall(b"last words")
    node.close()
    await anyio.sleep(0.02)
    assert await stream.read(4) == b"last"
    assert await stream.read(100) == b" words"
    for _ in range(3):
        with anyio.fail_after(5):
            assert await stream.read(100) == b""


async def test_closing_under_a_reader(pair: Pair) -> None:
    """Ends its wait at once."""
    stream, _ = pair
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(_ignoring, ReadError, stream.read, 100)
            await anyio.wait_all_tasks_blocked()
            stream.abort()


async def _ignoring(error: type[Exception], call: Callable[..., Any], *args: object) -> None:
    with contextlib.suppress(error):
        await call(*args)


async def test_closing_under_a_writer(pair: Pair) -> None:
    """Ends its wait at once, too, and leaves no trace of its descriptor with the event loop."""
    stream, _ = pair
    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(_ignoring, WriteError, stream.write, bytes(20_000_000))
            await anyio.wait_all_tasks_blocked()
            stream.abort()
    # The system gives the same number to the next socket: the event loop must not know it any more.
    left, right = socket.socketpair()
    with left, right:
        right.send(b"x")
        left.setblocking(False)
        await anyio.wait_readable(left)
        await anyio.wait_writable(left)


async def test_a_deadline_in_a_flood(pair: Pair) -> None:
    """A deadline is kept although there is always something to read."""
    stream, node = pair
    stop = threading.Event()

    def flood() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                node.sendall(bytes(100_000))

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        stream.watch = Deadline(0.1)
        with anyio.fail_after(5), pytest.raises(Overdue):
            await _read_on(stream)
    finally:
        stop.set()
        stream.close()
        thread.join(20)


async def _read_on(stream: Any) -> None:
    while True:
        assert await stream.read(65536)


async def test_a_deadline_for_a_writer(pair: Pair) -> None:
    """A node that takes nothing is waited for until the deadline, and no longer."""
    stream, _ = pair
    stream.watch = Deadline(0.1)
    with anyio.fail_after(5), pytest.raises((Overdue, WriteTimeout)):
        await stream.write(bytes(20_000_000), 60)


async def test_a_cancelled_read_loses_nothing(pair: Pair) -> None:
    """What arrives around a cancellation is there for the next reader."""
    stream, node = pair
    got = b""
    for number in range(200):
        with anyio.move_on_after(0):
            got += await stream.read(100)
        node.send(b"%03d" % number)
        if number % 3 == 0:
            await anyio.lowlevel.checkpoint()
    while len(got) < 600:
        with anyio.fail_after(5):
            got += await stream.read(100)
    assert got == b"".join(b"%03d" % number for number in range(200))


async def test_an_idle_stream_is_alive_until_something_comes(pair: Pair) -> None:
    """The end of it, or bytes nobody asked for, make it useless."""
    stream, node = pair
    stream.idle = True
    assert stream.alive
    node.send(b"x")
    node.close()
    give_up_at = time.monotonic() + 5
    while stream.alive:
        assert time.monotonic() < give_up_at
        await anyio.sleep(0.001)


async def test_a_request_is_corked_until_the_answer_is_awaited(pair: Pair) -> None:
    """Head and body leave together; more than 64 KiB, and whatever follows, at once."""
    stream, node = pair
    node.setblocking(False)
    stream.corked = True
    await stream.write(b"head ")
    await stream.write(b"body")
    with pytest.raises(BlockingIOError):
        node.recv(100)
    with anyio.move_on_after(0.05):
        await stream.read(100)
    assert node.recv(100) == b"head body"
    await stream.write(b"at once")
    await anyio.wait_readable(node)
    assert node.recv(100) == b"at once"


async def test_connecting_to_nobody(anyio_backend: str) -> None:
    """Names that are none, and ports where nobody listens, are ConnectErrors in words."""
    for host, port in (
        ("127.0.0.1", 9),
        ("a..b", 80),
        ("x" * 70, 80),
    ):
        with pytest.raises(ConnectError, match=r"."):
            await connected(anyio_backend, (host, port))
        with pytest.raises(ConnectError, match=r"."):
            sync_stream.connect(host, port, 5, None, ())


async def test_socket_options_that_fail(listener: socket.socket, anyio_backend: str) -> None:
    """Leave no connection."""
    before = len(os.listdir("/dev/fd"))
    bad: Any = [(socket.SOL_SOCKET, 99999, 1)]
    host, port = listener.getsockname()
    with pytest.raises((OSError, ConnectError)):
        await connected(anyio_backend, (host, port), options=bad)
    with pytest.raises((OSError, ConnectError)):
        sync_stream.connect(host, port, 5, None, bad)
    assert len(os.listdir("/dev/fd")) == before


async def test_a_local_address(listener: socket.socket, anyio_backend: str) -> None:
    """`local_address` is where the connection comes from."""
    host, port = listener.getsockname()
    streams: list[Any] = [sync_stream.connect(host, port, 5, "127.0.0.2", ())]
    streams.append(await connected(anyio_backend, (host, port), "127.0.0.2"))
    for stream in streams:
        node, address = listener.accept()
        node.close()
        assert address[0] == "127.0.0.2"
        assert stream.get_extra_info("client_addr")[0] == "127.0.0.2"
        assert stream.get_extra_info("server_addr")[1] == port
        stream.close()
        stream.close()


def test_a_blocking_read_keeps_its_timeout(sync_pair: Pair) -> None:
    """Neither much earlier nor later, whatever the limit before was."""
    stream, _ = sync_pair
    for seconds in (0.05, 0.2, 0.1):
        started = time.monotonic()
        with pytest.raises(ReadTimeout):
            stream.read(100, seconds)
        assert seconds * 0.8 < time.monotonic() - started < seconds + 1


def test_a_blocking_deadline_in_a_flood(sync_pair: Pair) -> None:
    """The same as above for threads."""
    stream, node = sync_pair
    node.setblocking(False)
    stream.watch = Deadline(0.1)

    def read_on() -> None:
        give_up_at = time.monotonic() + 5
        while time.monotonic() < give_up_at:
            node.send(bytes(10))
            stream.read(10)

    with pytest.raises(Overdue):
        read_on()


def test_breaking_off_a_blocking_read(sync_pair: Pair) -> None:
    """`abort` from another thread ends it at once."""
    stream, _ = sync_pair
    timer = threading.Timer(0.05, stream.abort)
    timer.start()
    started = time.monotonic()
    with contextlib.suppress(ReadError):
        assert stream.read(100, 20) == b""
    assert time.monotonic() - started < 5
    timer.join()


def test_connecting_takes_no_longer_than_its_timeout() -> None:
    """A full queue at the other end is a ConnectTimeout."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
            host, port = full.getsockname()
            with pytest.raises(ConnectTimeout, match=r"no connection within 0\.1 s"):
                sync_stream.connect(host, port, 0.1, None, ())


def test_a_wait_asks_when_its_slice_is_empty() -> None:
    """A slice of nothing asks the watch at once instead of racing a timer."""

    class Once:
        asked = 0

        def patience(self, waited: float) -> float | None:
            return None if self.asked else 0.0

        def remaining(self) -> float | None:
            return None

        def check(self, waited: float) -> None:
            self.asked += 1

    watch = Once()
    assert Wait(None, watch).slice() is None
    assert watch.asked == 1
