"""Leases: a node held for a call of any other protocol."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import aiclient
from aiclient import (
    Balancer,
    BalancerError,
    ConfigurationError,
    Endpoint,
    NoNodeAvailable,
    OutlierPolicy,
    RetryPolicy,
)

EXAMPLE = Path(__file__).parent.parent / "examples" / "tcp_lease.py"


class InOrder:
    def pick(self, candidates: aiclient.NodeSet, context: aiclient.PickContext) -> aiclient.Node:
        return min(candidates, key=lambda node: node.label)


def balancer_of(count: int = 2, **options: Any) -> Balancer:
    """A balancer of TCP nodes called a, b, c."""
    endpoints = [Endpoint(f"tcp://10.0.0.1:{9000 + n}", name="abcdef"[n]) for n in range(count)]
    options.setdefault("picker", InOrder())
    return Balancer(endpoints, **options)


def failed(balancer: Balancer) -> list[int]:
    """Each node's faults."""
    return [node.failed for node in balancer.snapshot()]


def in_flight(balancer: Balancer) -> int:
    """Over all nodes; the balancer's own total must agree."""
    total = sum(node.in_flight for node in balancer.snapshot())
    assert total == balancer.in_flight
    return total


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """Both event loops."""
    name: str = request.param
    return name


def test_a_lease_holds_a_node() -> None:
    """From entering the block to leaving it, and says where to connect."""
    balancer = balancer_of()
    with balancer.lease() as lease:
        assert (lease.endpoint.host, lease.endpoint.port) == ("10.0.0.1", 9000)
        assert in_flight(balancer) == 1
        assert "running" in repr(lease)
    assert in_flight(balancer) == 0
    assert [node.succeeded for node in balancer.snapshot()] == [1, 0]


@pytest.mark.anyio
async def test_an_asynchronous_lease() -> None:
    """The same with `async with`, on both event loops."""
    balancer = balancer_of()
    async with balancer.lease() as lease:
        assert lease.endpoint.name == "a"
        assert in_flight(balancer) == 1
    assert in_flight(balancer) == 0


@pytest.mark.parametrize(
    "exc",
    [
        OSError("x"),
        ConnectionRefusedError(),
        ConnectionResetError(),
        BrokenPipeError(),
        TimeoutError(),
        EOFError(),
        asyncio.IncompleteReadError(b"", 4),
        socket.gaierror("x"),
    ],
)
def test_the_networks_exceptions_count_against_the_node(exc: Exception) -> None:
    """And reach the caller as they are."""
    balancer = balancer_of()
    with pytest.raises(type(exc)) as caught, balancer.lease():
        raise exc
    assert caught.value is exc
    assert failed(balancer) == [1, 0]


@pytest.mark.parametrize(
    "exc", [ValueError("mine"), KeyboardInterrupt(), asyncio.CancelledError(), GeneratorExit()]
)
def test_everything_else_is_the_users_own(exc: BaseException) -> None:
    """Cancellation and the user's own errors say nothing about the node."""
    balancer = balancer_of()
    with pytest.raises(type(exc)), balancer.lease():
        raise exc
    assert failed(balancer) == [0, 0]
    assert in_flight(balancer) == 0


@pytest.mark.anyio
async def test_a_cancelled_lease() -> None:
    """Is given back at once, and neutral."""
    balancer = balancer_of()
    with anyio.move_on_after(0.01) as scope:
        async with balancer.lease():
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert in_flight(balancer) == 0
    assert failed(balancer) == [0, 0]


def test_classify_has_the_last_word() -> None:
    """True: the node's fault; False: not; None: as usual."""
    words: dict[type[BaseException], bool] = {ValueError: True, OSError: False}
    balancer = balancer_of()
    for exc, faults in ((ValueError(), 1), (OSError(), 1), (EOFError(), 2), (KeyError(), 2)):
        lease = balancer.lease(classify=lambda exc: words.get(type(exc)))
        with pytest.raises(type(exc)), lease:
            raise exc
        assert failed(balancer)[0] == faults


def test_a_classify_that_raises() -> None:
    """Its error reaches the caller, with the block's own as context; the node is free again."""

    def broken(exc: BaseException) -> bool:
        raise RuntimeError("classify is broken")

    balancer = balancer_of()
    with pytest.raises(RuntimeError, match="broken") as caught, balancer.lease(classify=broken):
        raise OSError
    assert isinstance(caught.value.__context__, OSError)
    assert in_flight(balancer) == 0


def test_a_user_may_report_a_failure() -> None:
    """`lease.fail` counts, although the block ends well."""
    balancer = balancer_of()
    for _ in range(5):
        with balancer.lease(pin="a") as lease:
            lease.fail("answered nonsense")
    assert failed(balancer) == [5, 0]
    assert balancer.snapshot()[0].why.endswith("answered nonsense")


def test_a_first_byte_is_a_sample() -> None:
    """Told, it is the node's latency; a lease that does not tell has none and is never stalled."""
    clock = [0.0]
    balancer = balancer_of(clock=lambda: clock[0])
    with balancer.lease() as lease:
        clock[0] += 0.25
        lease.first_byte()
        clock[0] += 100
        lease.first_byte()
    first, second = balancer.snapshot()
    assert first.ttfb == pytest.approx(0.25)
    assert second.ttfb is None
    with balancer.lease(), balancer.lease():
        clock[0] += 1000
        assert {str(node.state) for node in balancer.snapshot()} == {"ready"}


def test_a_pinned_lease() -> None:
    """Gets its node, whatever its state; an unknown one is an error."""
    balancer = balancer_of()
    balancer.drain("b")
    with balancer.lease(pin="b") as lease:
        assert lease.endpoint.name == "b"
    lost = balancer.lease(pin="z")
    with pytest.raises(ConfigurationError, match="'z' is not one of the nodes"), lost:
        pytest.fail("it was entered")


def test_a_keyed_lease() -> None:
    """The same key, the same node."""
    balancer = balancer_of(5, picker=aiclient.ConsistentHash())
    homes = set()
    for _ in range(10):
        with balancer.lease(key="user-42") as lease:
            homes.add(lease.endpoint.name)
    assert len(homes) == 1


def test_a_forgotten_lease_is_given_back() -> None:
    """A lease entered and dropped does not hold its node for ever."""
    balancer = balancer_of()
    lease: Any = balancer.lease()
    lease.__enter__()
    assert in_flight(balancer) == 1
    del lease
    gc.collect()
    assert in_flight(balancer) == 0


def test_a_lease_is_used_once() -> None:
    """Neither before entering nor for a second block."""
    lease = balancer_of().lease()
    with pytest.raises(RuntimeError, match="enter the lease first"):
        _ = lease.endpoint
    assert repr(lease) == "<Lease not entered>"
    with lease, pytest.raises(RuntimeError, match="entered once"):
        lease.__enter__()
    with pytest.raises(RuntimeError, match="entered once"):
        lease.__enter__()


def test_no_node_at_all() -> None:
    """Raises the plain root, which is no httpx error."""
    balancer = balancer_of(outlier=OutlierPolicy(fail_fast=True))
    for name in "ab":
        balancer.drain(name)
    lease = balancer.lease()
    with pytest.raises(NoNodeAvailable, match=r"a .drained: drained by hand") as caught, lease:
        pytest.fail("it was entered")
    assert type(caught.value) is NoNodeAvailable


def test_a_closed_balancer_leases_nothing() -> None:
    """Neither one by one nor in a loop."""
    balancer = balancer_of()
    balancer.close()
    with pytest.raises(BalancerError, match="closed"), balancer.lease():
        pytest.fail("it was entered")
    with pytest.raises(BalancerError, match="closed"):
        next(iter(balancer.leases()))


# Retries as a loop


def run(balancer: Balancer, work: Callable[[Any], object], **options: Any) -> list[str]:
    """A loop of leases; which nodes it came to."""
    nodes = []
    for lease in balancer.leases(**options):
        nodes.append(str(lease.endpoint))
        with lease:
            work(lease)
    return nodes


def failing(times: int, exc: BaseException) -> Callable[[Any], None]:
    """Work that raises that often and then succeeds."""
    left = [times]

    def work(lease: Any) -> None:
        left[0] -= 1
        if left[0] >= 0:
            raise exc

    return work


def test_each_turn_brings_another_node() -> None:
    """Until one does it; the exceptions before are suppressed."""
    balancer = balancer_of(3)
    assert run(balancer, failing(2, OSError("x"))) == ["a", "b", "c"]
    assert failed(balancer) == [1, 1, 0]
    assert in_flight(balancer) == 0


def test_the_last_exception_is_raised() -> None:
    """With what was tried attached."""
    balancer = balancer_of(3)
    error = ConnectionResetError("reset")
    with pytest.raises(ConnectionResetError) as caught:
        run(balancer, failing(9, error))
    assert caught.value is error
    assert [attempt.node for attempt in aiclient.attempts_of(error)] == ["a", "b", "c"]
    assert "aiclient tried 3 time(s)" in error.__notes__[0]


@pytest.mark.parametrize("exc", [ValueError(), KeyboardInterrupt(), asyncio.CancelledError()])
def test_the_users_own_exceptions_end_the_loop(exc: BaseException) -> None:
    """At once: another node would change nothing."""
    balancer = balancer_of(3)
    with pytest.raises(type(exc)):
        run(balancer, failing(1, exc))
    assert [node.picked for node in balancer.snapshot()] == [1, 0, 0]
    assert in_flight(balancer) == 0


def test_reported_failures_move_on() -> None:
    """`lease.fail` in a loop brings another turn; the last one's is an error."""
    balancer = balancer_of(3)
    assert run(balancer, lambda lease: lease.fail() if str(lease.endpoint) == "a" else 0) == [
        "a",
        "b",
    ]
    with pytest.raises(BalancerError, match="nonsense") as caught:
        run(balancer, lambda lease: lease.fail("nonsense"))
    assert len(aiclient.attempts_of(caught.value)) == 3


def test_a_failure_before_a_wait_does_not_pass_unnoticed() -> None:
    """If after the backoff no turn is left, the loop raises what the last turn had suppressed."""
    clock = [0.0]
    balancer = balancer_of(1, clock=lambda: clock[0])

    def loop() -> None:
        for lease in balancer.leases(deadline=5.5, retry=RetryPolicy(backoff=0.09)):
            with lease:
                clock[0] += 4.99
                raise OSError("the only failure there is")
            clock[0] += 1  # the deadline passes while it waits

    with pytest.raises(OSError, match="the only failure") as caught:
        loop()
    assert len(aiclient.attempts_of(caught.value)) == 1
    assert in_flight(balancer) == 0


def test_leaving_a_loop_half_way() -> None:
    """`break` and `return` inside the block end it well."""
    balancer = balancer_of()
    for lease in balancer.leases():
        with lease:
            break
    for _lease in balancer.leases():
        break
    del _lease
    gc.collect()
    assert in_flight(balancer) == 0
    assert failed(balancer) == [0, 0]


def test_a_turn_that_is_not_entered() -> None:
    """Ends the loop, without blame."""
    balancer = balancer_of()
    assert [str(lease.endpoint) for lease in balancer.leases()] == ["a"]
    assert in_flight(balancer) == 0


def test_each_loop_over_the_same_leases_is_new() -> None:
    """With all its attempts and all its nodes."""
    balancer = balancer_of(3)
    leases = balancer.leases(retry=RetryPolicy(attempts=2))
    for _ in range(3):
        nodes = []
        for lease in leases:
            nodes.append(str(lease.endpoint))
            with lease:
                if len(nodes) == 1:
                    raise OSError
        assert len(nodes) == 2


@pytest.mark.parametrize(
    "options", [{"deadline": 0}, {"retry": 3}, {"key": 5}, {"deadline": "soon"}]
)
def test_bad_options_of_a_loop(options: dict[str, Any]) -> None:
    """Are said when the loop is made."""
    with pytest.raises(ConfigurationError):
        balancer_of().leases(**options)


@pytest.mark.anyio
async def test_the_loop_asynchronously() -> None:
    """The same with `async for`, backoff included, and it may be left half-way on trio."""
    balancer = balancer_of(2)
    nodes = []
    async for lease in balancer.leases(retry=RetryPolicy(attempts=3, backoff=0.001)):
        nodes.append(str(lease.endpoint))
        async with lease:
            if len(nodes) < 3:
                raise EOFError
            break
    assert nodes[:2] == ["a", "b"]
    assert len(nodes) == 3
    assert in_flight(balancer) == 0

    async def loop() -> None:
        async for lease in balancer.leases():
            async with lease:
                raise EOFError

    with pytest.raises(EOFError):
        await loop()


@pytest.mark.anyio
async def test_a_cancelled_loop() -> None:
    """Cancelled in a block or in the backoff, it holds nothing."""
    balancer = balancer_of(1)
    slow = RetryPolicy(attempts=3, backoff=9, max_backoff=9)
    for seconds in (0.0, 0.02):
        with anyio.move_on_after(seconds):
            async for lease in balancer.leases(retry=slow):
                async with lease:
                    await anyio.lowlevel.checkpoint()
                    raise OSError
        assert in_flight(balancer) == 0


# A raw TCP service


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a service that returns what it gets, in capitals."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                sock, _ = listener.accept()
                with sock:
                    data = sock.recv(100)
                    if data == b"stop":
                        return
                    sock.sendall(data.upper())

        thread = threading.Thread(target=serve)
        thread.start()
        port: int = listener.getsockname()[1]
        yield port
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(b"stop")
        thread.join(20)


def test_raw_tcp(echo: int) -> None:
    """One dead node of two: every call succeeds, and the dead one is out after two."""
    balancer = Balancer(
        [
            Endpoint("tcp://127.0.0.1:9", name="a"),
            Endpoint(f"tcp://127.0.0.1:{echo}", name="b"),
        ],
        picker=InOrder(),
    )
    for word in (b"one", b"two", b"three", b"four"):
        for lease in balancer.leases():
            with lease:
                place = (lease.endpoint.host, lease.endpoint.port)
                with socket.create_connection(place, timeout=5) as sock:
                    sock.sendall(word)
                    assert sock.recv(100) == word.upper()
                    lease.first_byte()
    assert [node.picked for node in balancer.snapshot()] == [2, 4]
    assert [str(node.state) for node in balancer.snapshot()] == ["ejected", "ready"]


def test_the_example_runs() -> None:
    """The one in examples/ does what it says."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
