"""Whatever bytes a node sends, the caller gets an httpx error or a good node's answer."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

import pytest

import aiclient
from aiclient import Deadlines

from .family import httpx
from .helpers import Caller, eventually, in_flight, nodes_of, tried
from .nodes import Connection, ScriptedNode, answer, chunk, dripping, flooding, once, replies

Calls = Callable[..., Caller]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio

OK = b"HTTP/1.1 200 OK\r\n"
GARBAGE = {
    "nothing": b"",
    "tls alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "ssh": b"SSH-2.0-OpenSSH_9.6\r\n",
    "half a status line": b"HTTP/1.",
    "another protocol's status": b"RTSP/1.0 200 OK\r\n\r\n",
    "no status": b"HTTP/1.1\r\n\r\n",
    "status 0": b"HTTP/1.1 0 x\r\n\r\n",
    "status 099": b"HTTP/1.1 099 x\r\ncontent-length: 0\r\n\r\n",
    "status of words": b"HTTP/1.1 OK OK\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "no colon": OK + b"content-length 0\r\n\r\n",
    "an empty name": OK + b": x\r\n\r\n",
    "a blank in a name": OK + b"content length: 0\r\n\r\n",
    "a zero byte": OK + b"x: a\x00b\r\n\r\n",
    "two lengths": OK + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "a negative length": OK + b"content-length: -1\r\n\r\n",
    "a length in words": OK + b"content-length: many\r\n\r\n",
    "an endless length": OK + b"content-length: " + b"9" * 5000 + b"\r\n\r\n{",
    "a coding nobody knows": OK + b"transfer-encoding: zip\r\n\r\n",
    "a chunk of no size": OK + b"transfer-encoding: chunked\r\n\r\nzz\r\n",
    "a negative chunk": OK + b"transfer-encoding: chunked\r\n\r\n-5\r\n",
    "an endless chunk size": OK + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 100_000,
    "a chunk longer than it says": OK
    + b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "an endless header": OK + b"x: " + b"a" * 200_000,
    "endless headers": OK + b"x: y\r\n" * 40_000,
    "an endless reason": b"HTTP/1.1 200 " + b"a" * 200_000,
}


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_moves_on(calls: Calls, scripted: Scripted, kind: str) -> None:
    """A node that speaks no HTTP is at fault, and another one answers."""
    bad, good = scripted(once(GARBAGE[kind])), scripted(replies(answer(b'{"good": 1}')))
    caller = calls(nodes_of(bad, good))
    response = await caller.post()
    assert response.json() == {"good": 1}
    assert tried(response) == ["a", "b"]
    assert [node.failed for node in caller.balancer.snapshot()] == [1, 0]
    assert in_flight(caller.balancer) == 0


@pytest.mark.parametrize("kind", GARBAGE)
async def test_garbage_from_the_only_node(calls: Calls, scripted: Scripted, kind: str) -> None:
    """With nobody else to ask it is an httpx error that names the node."""
    node = scripted(once(GARBAGE[kind]))
    caller = calls(nodes_of(node), retry=None)
    with pytest.raises(httpx.TransportError, match=r"\ba\b") as caught:
        await caller.post()
    assert not isinstance(caught.value, httpx.LocalProtocolError)
    assert in_flight(caller.balancer) == 0


async def test_random_bytes(calls: Calls, scripted: Scripted) -> None:
    """A good answer with some bytes changed is an answer or an httpx error, nothing else."""
    rng = random.Random(5)
    good = OK + b"content-type: application/json\r\nx: y\r\ntransfer-encoding: chunked\r\n\r\n"
    good += chunk(b'{"a": 1}') + chunk(b" ") + b"0\r\n\r\n"

    def spoiled(connection: Connection) -> None:
        connection.request()
        raw = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(len(raw))] = rng.choice((0, 9, 10, 13, 32, 45, 58, 128, 255, 57))
        connection.send(bytes(raw))

    node = scripted(spoiled)
    caller = calls(node.url, retry=None, breaker=None)
    errors = 0
    for _ in range(150):
        try:
            await caller.get()
        except httpx.HTTPError:
            errors += 1
    assert 0 < errors < 150
    assert in_flight(caller.balancer) == 0


@pytest.mark.parametrize("status", [299, 399, 499, 600, 999])
async def test_statuses_nobody_knows(calls: Calls, scripted: Scripted, status: int) -> None:
    """An unknown status is passed on."""
    caller = calls(scripted(replies(answer(b"{}", status))).url, retry=None)
    assert (await caller.get()).status_code == status


async def test_two_answers_to_one_request(calls: Calls, scripted: Scripted) -> None:
    """What comes after an answer is never taken for the answer to the next request."""
    double = answer(b'{"mine": 1}') + answer(b'{"another": "caller"}')
    node = scripted(replies(double, answer(b'{"mine": 2}')))
    caller = calls(node.url)
    assert (await caller.get()).json() == {"mine": 1}
    assert (await caller.get()).json() == {"mine": 2}


async def test_an_answer_before_the_request(calls: Calls, scripted: Scripted) -> None:
    """Nor is what a node says unasked on an idle connection."""
    said: list[Connection] = []

    def script(connection: Connection) -> None:
        connection.request()
        said.append(connection)
        connection.send(answer(b'{"mine": 1}'))
        connection.wait_for_the_end()

    node = scripted(script)
    caller = calls(node.url)
    await caller.get()
    said[0].send(answer(b'{"another": "caller"}'))
    await eventually(said[0].delivered)
    assert (await caller.get()).json() == {"mine": 1}
    assert node.accepted == 2


ENDLESS = {
    "headers by the byte": dripping(OK, b"x"),
    "informational answers by the piece": dripping(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "informational answers": flooding(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "comments": flooding(
        OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        chunk(b": x\n"),
    ),
    "comments by the piece": dripping(
        OK + b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
        chunk(b": x\n"),
    ),
    "a body": flooding(OK + b"content-length: 1000000000000\r\n\r\n", b"a" * 100),
    "a body by the byte": dripping(OK + b"content-length: 1000000000000\r\n\r\n", b"a"),
    "an error's body": flooding(b"HTTP/1.1 500 x\r\ncontent-length: 99999999999\r\n\r\n", b"a" * 9),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_the_total_deadline_ends_what_never_ends(
    calls: Calls, scripted: Scripted, kind: str
) -> None:
    """A node that keeps sending, slowly or without pause, cannot outlast the deadline."""
    node = scripted(ENDLESS[kind])
    caller = calls(node.url, deadlines=Deadlines(total=0.3), timeout=httpx.Timeout(5))
    with pytest.raises(aiclient.DeadlineExceeded) as caught:
        await caller.post()
    assert isinstance(caught.value, httpx.TimeoutException)
    assert in_flight(caller.balancer) == 0
    if kind != "an error's body":
        assert [node.failed for node in caller.balancer.snapshot()] == [0]


@pytest.mark.parametrize(
    "kind", ["headers by the byte", "informational answers", "comments by the piece"]
)
async def test_the_first_byte_deadline_moves_on(
    calls: Calls, scripted: Scripted, kind: str
) -> None:
    """Bytes that are no content do not count as the first byte."""
    slow, good = scripted(ENDLESS[kind]), scripted(replies(answer(b"{}")))
    caller = calls(nodes_of(slow, good), deadlines=Deadlines(first_byte=0.2))
    response = await caller.post()
    assert tried(response) == ["a", "b"]
    assert [node.failed for node in caller.balancer.snapshot()] == [1, 0]


async def test_no_log_line_shows_what_a_node_said(
    calls: Calls, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    """What a broken node echoes, perhaps a credential, stays out of logs and reports."""
    caplog.set_level(logging.DEBUG, logger="aiclient")
    node = scripted(once(b"HTTP/1.1 200 OK\r\nAuthorization sk-canary\r\n\r\n"))
    caller = calls(node.url, retry=None)
    for _ in range(6):
        with pytest.raises(httpx.HTTPError):
            await caller.post()
    assert "ejected" in caplog.text
    assert "canary" not in caplog.text
    assert "canary" not in repr(caller.balancer)


async def test_a_node_of_another_protocol_costs_no_call(calls: Calls, scripted: Scripted) -> None:
    """A source of nodes names one by mistake: nothing is sent there, and it is soon out."""
    good = scripted(replies(answer(b"{}")))
    caller = calls(good.url)
    stray = aiclient.Endpoint("tcp://127.0.0.1:9", name="a")
    caller.balancer.update([stray, aiclient.Endpoint(good.url, name="b")])
    for _ in range(6):
        assert (await caller.post()).status_code == 200
    found = {str(node.endpoint): node for node in caller.balancer.snapshot()}
    assert found["a"].state == "ejected"
    assert "tcp" in found["a"].why
