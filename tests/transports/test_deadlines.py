"""Five clocks: first byte, idle, total, the header that hands it on, and httpx's own timeouts."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

import aiclient
from aiclient import CallOptions, Deadlines
from aiclient.testing import FakeNode

from .family import httpx
from .helpers import CHAT, Caller, in_flight, nodes_of, tried
from .nodes import ScriptedNode, answer, replies
from .places import Sink, swamped

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio
STREAM = {"stream": True}


async def read(caller: Caller, body: dict[str, bool], **options: object) -> bytes:
    """The whole of a stream."""
    got = b""
    async with caller.stream("POST", CHAT, json=body, **options) as response:
        async for piece in caller.pieces(response):
            got += piece
    return got


@pytest.mark.parametrize("body", [{}, STREAM])
async def test_first_byte_moves_on(calls: Calls, fakes: Fakes, body: dict[str, bool]) -> None:
    """A node silent for too long is at fault, and the call goes to another one."""
    a, b = fakes(), fakes()
    a.fault("hang")
    caller = calls(nodes_of(a, b), deadlines=Deadlines(first_byte=0.1))
    response = await caller.post(json=body)
    assert tried(response) == ["a", "b"]
    assert response.extensions["aiclient"].attempts[0].outcome == "no first byte in time"
    assert [node.failed for node in caller.balancer.snapshot()] == [1, 0]


async def test_first_byte_on_the_last_attempt(calls: Calls, fakes: Fakes) -> None:
    """With nobody else left it is `DeadlineExceeded`, ours and httpx's at once."""
    a, b = fakes(), fakes()
    a.fault("hang")
    b.fault("hang")
    retry = aiclient.RetryPolicy(attempts=2)
    caller = calls(nodes_of(a, b), deadlines=Deadlines(first_byte=0.1), retry=retry)
    with pytest.raises(aiclient.DeadlineExceeded, match="no first byte in time") as caught:
        await caller.post()
    assert isinstance(caught.value, httpx.TimeoutException)
    assert tried(caught.value) == ["a", "b"]
    assert in_flight(caller.balancer) == 0


async def test_idle(calls: Calls, fakes: Fakes) -> None:
    """Silence in the middle of a stream: the node is at fault, and the caller is told."""
    node = fakes()
    node.fault("hang_mid_stream")
    caller = calls(node.url, deadlines=Deadlines(idle=0.1))
    with pytest.raises(aiclient.StreamInterrupted, match="silent in the middle") as caught:
        await read(caller, STREAM)
    for kind in (aiclient.DeadlineExceeded, httpx.ReadError, httpx.TimeoutException):
        assert isinstance(caught.value, kind)
    assert [node.failed for node in caller.balancer.snapshot()] == [1]
    assert in_flight(caller.balancer) == 0


async def test_idle_does_not_count_before_the_first_byte(calls: Calls, fakes: Fakes) -> None:
    """A long prefill is no idleness."""
    node = fakes(prefill=0.3)
    assert await read(calls(node.url, deadlines=Deadlines(idle=0.1)), STREAM)


async def test_idle_is_between_pieces_not_for_all(calls: Calls, fakes: Fakes) -> None:
    """A stream may last longer than `idle` if it never pauses for so long."""
    node = fakes(token_time=0.05, tokens=8)
    assert await read(calls(node.url, deadlines=Deadlines(idle=0.3)), STREAM)


async def test_total_over_all_attempts(calls: Calls, fakes: Fakes) -> None:
    """Retries do not extend it, and no node is blamed for it."""
    nodes = [fakes() for _ in range(3)]
    nodes[0].fault("reset", delay=0.1)
    for node in nodes[1:]:
        node.fault("hang")
    caller = calls(nodes_of(*nodes), deadlines=Deadlines(total=0.3))
    started = time.monotonic()
    with pytest.raises(aiclient.DeadlineExceeded, match="total deadline passed") as caught:
        await caller.post()
    assert 0.25 < time.monotonic() - started < 5
    assert isinstance(caught.value, httpx.TimeoutException)
    assert not isinstance(caught.value, aiclient.StreamInterrupted)
    assert tried(caught.value) == ["a", "b"]
    assert [node.failed for node in caller.balancer.snapshot()] == [1, 0, 0]


async def test_total_covers_the_answer(calls: Calls, fakes: Fakes) -> None:
    """It ends a stream, too, however lively; the node is not blamed."""
    node = fakes(token_time=0.02, tokens=1000)
    caller = calls(node.url, deadlines=Deadlines(total=0.2))
    with pytest.raises(aiclient.DeadlineExceeded) as caught:
        await read(caller, STREAM)
    assert not isinstance(caught.value, aiclient.StreamInterrupted)
    assert [node.failed for node in caller.balancer.snapshot()] == [0]
    assert in_flight(caller.balancer) == 0


async def test_the_calls_own_deadline_wins(calls: Calls, fakes: Fakes) -> None:
    """`CallOptions(deadline=)` overrides the balancer's total."""
    node = fakes()
    node.fault("hang")
    caller = calls(node.url, deadlines=Deadlines(total=60))
    with pytest.raises(aiclient.DeadlineExceeded):
        await caller.post(extensions={"aiclient": CallOptions(deadline=0.1)})


async def test_total_while_connecting(calls: Calls) -> None:
    """A connection that does not come about within the deadline is `DeadlineExceeded`, too."""
    with swamped() as url:
        caller = calls(url, deadlines=Deadlines(total=0.2))
        with pytest.raises(aiclient.DeadlineExceeded, match="total deadline passed"):
            await caller.post()
        assert [node.failed for node in caller.balancer.snapshot()] == [0]


async def test_total_while_shaking_hands(calls: Calls) -> None:
    """So is a TLS handshake that does not end."""
    with Sink(reads=True) as sink:
        caller = calls(f"https://127.0.0.1:{sink.port}", deadlines=Deadlines(total=0.2))
        started = time.monotonic()
        with pytest.raises(aiclient.DeadlineExceeded, match="total deadline passed"):
            await caller.post()
        assert time.monotonic() - started < 4
        assert [node.failed for node in caller.balancer.snapshot()] == [0]


async def test_total_while_sending(calls: Calls) -> None:
    """And a node that does not take the body."""
    with Sink(reads=False) as sink:
        caller = calls(f"http://127.0.0.1:{sink.port}", deadlines=Deadlines(total=0.2))
        started = time.monotonic()
        with pytest.raises(aiclient.DeadlineExceeded, match="total deadline passed"):
            await caller.request("PUT", "/v1/files/1", content=bytes(30_000_000))
        assert time.monotonic() - started < 5


async def test_first_byte_while_connecting(calls: Calls, fakes: Fakes) -> None:
    """The first-byte deadline starts at the pick: connecting counts, and nothing was sent."""
    node = fakes()
    with swamped() as url:
        caller = calls(nodes_of(url, node), deadlines=Deadlines(first_byte=0.2))
        response = await caller.request("POST", "/v1/files", content=b"x")
        assert tried(response) == ["a", "b"]
        alone = calls(url, deadlines=Deadlines(first_byte=0.2), retry=None)
        with pytest.raises(aiclient.DeadlineExceeded, match="no first byte in time"):
            await alone.post()


async def test_total_while_waiting_for_a_node(calls: Calls, fakes: Fakes) -> None:
    """A call that could only wait beyond its deadline fails at once."""
    node = fakes()
    node.fault("503", retry_after=8)
    caller = calls(node.url)
    assert (await caller.post(extensions={"aiclient": CallOptions(deadline=5)})).status_code == 503
    started = time.monotonic()
    response = await caller.post(extensions={"aiclient": CallOptions(deadline=5)})
    assert response.status_code == 503
    assert time.monotonic() - started < 3


async def test_the_header_hands_it_on(calls: Calls, fakes: Fakes) -> None:
    """The node is told how many milliseconds are left, on each attempt anew."""
    a, b = fakes(), fakes()
    a.fault("reset", delay=0.05)
    caller = calls(nodes_of(a, b), deadlines=Deadlines(total=20, header="X-Request-Timeout-Ms"))
    await caller.post(headers={"x-request-timeout-ms": "1"})
    first, second = (int(n.requests[-1].headers["x-request-timeout-ms"]) for n in (a, b))
    assert 19_000 < second < first <= 20_000
    assert second <= first - 50


async def test_no_header_without_a_deadline(calls: Calls, fakes: Fakes) -> None:
    """Without a total deadline there is nothing to hand on."""
    node = fakes()
    await calls(node.url, deadlines=Deadlines(header="X-Timeout")).post()
    assert "x-timeout" not in node.requests[-1].headers


async def test_httpx_read_timeout_is_its_own(calls: Calls, fakes: Fakes) -> None:
    """`httpx.Timeout(read=)` keeps its meaning and its exception, and blames the node."""
    a, b = fakes(), fakes()
    a.fault("hang")
    caller = calls(nodes_of(a, b), timeout=httpx.Timeout(5, read=0.1))
    assert tried(await caller.post()) == ["a", "b"]
    with pytest.raises(httpx.ReadTimeout) as caught:
        await caller.post(headers={"x-aiclient-pin": "a"})
    assert not isinstance(caught.value, aiclient.BalancerError)


async def test_httpx_read_timeout_mid_stream(calls: Calls, fakes: Fakes) -> None:
    """After the first byte it is both: a stream interrupted, and httpx's own timeout."""
    node = fakes()
    node.fault("hang_mid_stream")
    caller = calls(node.url, timeout=httpx.Timeout(5, read=0.1))
    with pytest.raises(aiclient.StreamInterrupted) as caught:
        await read(caller, STREAM)
    assert isinstance(caught.value, httpx.ReadTimeout)
    assert isinstance(caught.value, httpx.ReadError)
    assert not isinstance(caught.value, aiclient.DeadlineExceeded)


async def test_httpx_connect_timeout(calls: Calls) -> None:
    """Neither TCP nor TLS may take longer than `connect`."""
    with swamped() as slow, Sink(reads=True) as sink:
        for url in (slow, f"https://127.0.0.1:{sink.port}"):
            caller = calls(url, timeout=httpx.Timeout(60, connect=0.1), retry=None)
            with pytest.raises(httpx.ConnectTimeout):
                await caller.post()
            assert [node.failed for node in caller.balancer.snapshot()] == [1]


async def test_httpx_write_timeout(calls: Calls) -> None:
    """A node that takes nothing for too long: httpx's `write`."""
    with Sink(reads=False) as sink:
        timeout = httpx.Timeout(60, write=0.2)
        caller = calls(f"http://127.0.0.1:{sink.port}", timeout=timeout, retry=None)
        with pytest.raises(httpx.WriteTimeout):
            await caller.request("PUT", "/v1/files/1", content=bytes(30_000_000))


async def test_a_timeout_of_none_is_no_timeout(calls: Calls, scripted: Scripted) -> None:
    """`timeout=None` waits as long as it takes."""
    caller = calls(scripted(replies(answer())).url, timeout=None)
    assert (await caller.get()).status_code == 200
    assert (await caller.get(timeout=None)).status_code == 200
