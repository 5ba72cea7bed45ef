"""Error answers: their bodies, and what their Retry-After says."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

import aiclient
from aiclient.transports.opening import retry_after

from .helpers import Caller, nodes_of, tried
from .nodes import ScriptedNode, answer, dripping, once, replies

Calls = Callable[..., Caller]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio


async def test_an_errors_slow_body_does_not_delay_the_retry(
    calls: Calls, scripted: Scripted
) -> None:
    """An error whose body never ends is judged by its status, within a second or so."""
    slow = scripted(dripping(b"HTTP/1.1 503 x\r\ncontent-length: 1000\r\n\r\n", b"a"))
    good = scripted(replies(answer(b"{}")))
    response = await calls(nodes_of(slow, good)).post()
    assert tried(response) == ["a", "b"]
    assert response.elapsed.total_seconds() < 5


@pytest.mark.parametrize("body", [b"", b'{"error": "half'])
async def test_an_errors_body_that_breaks(calls: Calls, scripted: Scripted, body: bytes) -> None:
    """A 429 cut short is still a 429: retried for any call; and the caller's if it is the last."""
    cut = b"HTTP/1.1 429 x\r\ncontent-length: 1000\r\n\r\n" + body
    good = scripted(replies(answer(b'{"good": 1}')))
    caller = calls(nodes_of(scripted(once(cut)), good))
    response = await caller.post(headers={"x-aiclient-idempotent": "false"})
    assert response.json() == {"good": 1}
    assert [node.failed for node in caller.balancer.snapshot()] == [0, 0]


async def test_a_large_errors_body(calls: Calls, scripted: Scripted) -> None:
    """A 503 with a page of 1 MB moves on as any other; the last one arrives whole."""
    page = b"x" * 1_000_000
    busy = [scripted(replies(answer(page, 503))) for _ in range(2)]
    good = scripted(replies(answer(b"{}")))
    assert (await calls(nodes_of(busy[0], good)).post()).status_code == 200
    retry = aiclient.RetryPolicy(attempts=2)
    response = await calls(nodes_of(*busy), retry=retry).post()
    assert (response.status_code, response.content) == (503, page)
    assert tried(response) == ["a", "b"]


RETRY_AFTERS = {
    b"0": 0.0,
    b"7": 7.0,
    b" 12 ": 12.0,
    b"-1": None,
    b"+5": None,
    b"1.5": None,
    b"9999999999": 3600.0,
    b"9" * 5000: 3600.0,
    b"\xb2": None,
    "٣".encode(): None,
    b"": None,
    b"soon": None,
    b"Wed, 21 Oct 2015 07:28:00 GMT": 0.0,
    b"Fri, 31 Dec 9999 23:59:59 GMT": 3600.0,
    b"Fri, 31 Dec 99999 23:59:59 GMT": None,
    b"Wed, 99 Foo 2015 99:99:99 GMT": None,
    b"Mon, 01 Jan 2024 00:00:00 +9999999999": None,
    b"0, 00 0 0000 00:00:00": None,
    b"\xff\xfe\x00": None,
    b"1,2": None,
    b"," * 1000: None,
}


@pytest.mark.parametrize("value", RETRY_AFTERS)
def test_every_retry_after_is_read_or_ignored(value: bytes) -> None:
    """Whatever stands there, it is a bounded number of seconds or nothing."""
    assert retry_after([(b"x", b"y"), (b"Retry-After", value)]) == RETRY_AFTERS[value]


@pytest.mark.filterwarnings("error")
def test_random_retry_afters() -> None:
    """No value makes the parser of dates raise something else."""
    rng = random.Random(3)
    parts = ["Wed", ",", " ", "21", "Oct", "2015", "07:28:00", "GMT", "-", ":", "+", "0", "99999"]
    for _ in range(5000):
        value = "".join(rng.choices(parts, k=rng.randint(1, 12))).encode()
        seconds = retry_after([(b"retry-after", value)])
        assert seconds is None or 0 <= seconds <= 3600


@pytest.mark.parametrize("value", [b"\xb2", b"9999999999", b"soon"])
async def test_a_full_node_with_a_senseless_retry_after(
    calls: Calls, scripted: Scripted, value: bytes
) -> None:
    """It cools, for no longer than `max_cool`, and the call moves on."""
    full = b"HTTP/1.1 503 x\r\ncontent-length: 0\r\nretry-after: %b\r\n\r\n" % value
    caller = calls(nodes_of(scripted(replies(full)), scripted(replies(answer()))))
    assert tried(await caller.post()) == ["a", "b"]
    until = caller.balancer.snapshot()[0].ejected_until
    assert until is not None
    assert until - caller.balancer.clock() <= 60
