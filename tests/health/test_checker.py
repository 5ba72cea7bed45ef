"""Health checks beside calls: synchronous, on asyncio and on trio, against real nodes."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable

import pytest
import trustme

import aiclient
from aiclient import EventKind, HealthCheck
from aiclient.testing import FakeNode

from .helpers import CHAT, Caller, eventually, named

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
pytestmark = pytest.mark.anyio
QUICK = HealthCheck(interval=0.1, timeout=5)


def checks(node: FakeNode) -> int:
    """How many the node has seen of the last thousand requests."""
    return sum(request.path == "/health" for request in node.requests)


async def more_checks(*nodes: FakeNode, count: int = 3) -> None:
    """Wait until each of the nodes has been checked so often again."""
    goals = [(node, checks(node) + count) for node in nodes]
    await eventually(lambda: all(checks(node) >= goal for node, goal in goals))


async def test_a_node_whose_check_fails_gets_no_call(calls: Calls, fakes: Fakes) -> None:
    """Not even the first: no user's call ever failed on it."""
    good, dead = fakes(), fakes()
    dead.kill()
    caller = calls(named(good.url, dead.url), health_check=QUICK)
    await caller.balancer.await_ready(5)
    await eventually(lambda: caller.state("b") == "unhealthy")
    assert await caller.tried(10) == ["a"] * 10
    out = caller.balancer.snapshot()[1]
    assert out.picked == out.failed == 0
    assert out.why == "health check: connecting: Connection refused"


async def test_an_idle_client_learns_of_it(calls: Calls, fakes: Fakes) -> None:
    """The node dies while nobody calls; then nobody is sent there."""
    first, second = fakes(), fakes()
    caller = calls(named(first.url, second.url), health_check=QUICK)
    assert sorted(await caller.tried(4)) == ["a", "a", "b", "b"]
    second.kill()
    await eventually(lambda: caller.state("b") == "unhealthy")
    assert await caller.tried(6) == ["a"] * 6
    assert caller.balancer.snapshot()[1].failed == 0


async def test_one_that_recovers_has_its_share_within_two_intervals(
    calls: Calls, fakes: Fakes
) -> None:
    """No matter for how long calls to it would have been waited with."""
    interval = 1.5
    first, second = fakes(), fakes()
    check = HealthCheck(interval=interval, timeout=5)
    breaker = aiclient.BreakerPolicy(open_for=60, max_open_connect=60)
    nodes = named(first.url, second.url)
    caller = calls(nodes, health_check=check, breaker=breaker)
    await caller.tried(2)
    await eventually(lambda: checks(second))
    second.kill()
    await caller.tried(8)
    assert caller.told(EventKind.EJECTED) == ["b"]
    await eventually(lambda: caller.told(EventKind.UNHEALTHY))
    second.start()
    began = time.monotonic()
    while "b" not in await caller.tried(1):
        assert time.monotonic() - began < 2 * interval
    tried = await caller.tried(20)
    assert time.monotonic() - began < 2 * interval
    assert 9 <= tried.count("b") <= 11


async def test_a_good_check_does_not_keep_in_a_node_whose_inference_fails(
    calls: Calls, fakes: Fakes
) -> None:
    """200 at /health, 500 for inference: out it goes, and out it stays."""
    good, bad = fakes(), fakes()
    bad.fault("500", paths=["/v1"])
    breaker = aiclient.BreakerPolicy(open_for=60)
    caller = calls(named(good.url, bad.url), health_check=QUICK, breaker=breaker)
    while caller.state("b") != "ejected":
        await caller.tried(1)
    bad.heal()
    await more_checks(bad, count=5)
    assert caller.state("b") == "ejected"
    assert await caller.tried(6) == ["a"] * 6


async def test_a_node_that_answers_calls_stays_in(calls: Calls, fakes: Fakes) -> None:
    """Its /health is broken, its answers are good: as long as there are any."""
    # Not too quick: a node remembers its last requests only, and the checks are to be among them.
    good, odd = fakes(prefill=0.02), fakes(prefill=0.02)
    check = HealthCheck(interval=0.6, timeout=5)
    caller = calls(named(good.url, odd.url), health_check=check)
    await caller.tried(2)
    odd.fault("500", paths=["/health"])
    failed = checks(odd)
    while checks(odd) < failed + 3:
        await caller.tried(2)
    assert caller.told(EventKind.UNHEALTHY) == []
    await eventually(lambda: caller.state("b") == "unhealthy")
    assert await caller.tried(4) == ["a"] * 4


async def test_when_all_checks_fail_calls_go_on(calls: Calls, fakes: Fakes) -> None:
    """To all nodes; the log says so, and also when it is over."""
    nodes = [fakes(), fakes(), fakes()]
    for node in nodes:
        node.fault("404", paths=["/health"])
    caller = calls(named(*(node.url for node in nodes)), health_check=QUICK)
    await caller.balancer.await_ready(5)
    await eventually(lambda: caller.told(EventKind.CHECKS_IGNORED))
    await more_checks(*nodes)
    assert sorted(await caller.tried(9)) == sorted("abc" * 3)
    for node in nodes:
        node.heal()
    await eventually(lambda: caller.told(EventKind.CHECKS_HEEDED))
    await eventually(lambda: all(caller.state(name) == "ready" for name in "abc"))


async def test_removed_nodes_are_checked_no_longer_and_new_ones_are(
    calls: Calls, fakes: Fakes
) -> None:
    """The new one at once: it has no call before its first check."""
    stays, goes, comes = fakes(), fakes(), fakes()
    endpoints = named(stays.url, goes.url, comes.url)
    caller = calls(endpoints[:2], health_check=QUICK)
    await caller.balancer.await_ready(5)
    await more_checks(stays, goes, count=1)
    comes.kill()
    caller.balancer.update([endpoints[0], endpoints[2]])
    await eventually(lambda: caller.state("c") == "unhealthy")
    await eventually(lambda: goes.active == 0)
    seen = checks(goes)
    await more_checks(stays, count=5)
    assert checks(goes) == seen


async def test_with_a_model_inference_is_what_counts(calls: Calls, fakes: Fakes) -> None:
    """/health is fine, and the node gets no call all the same."""
    good, bad = fakes(), fakes()
    bad.fault("500", paths=["/v1"])
    check = HealthCheck(model="fake-model", interval=0.1, timeout=5)
    caller = calls(named(good.url, bad.url), health_check=check)
    await caller.balancer.await_ready(5)
    await eventually(lambda: caller.state("b") == "unhealthy")
    assert await caller.tried(4) == ["a"] * 4


async def test_no_call_waits_for_a_check(calls: Calls, fakes: Fakes) -> None:
    """All nodes' checks hang, the first ones even; calls are as quick as without them."""
    nodes = [fakes(), fakes()]
    for node in nodes:
        node.fault("hang", paths=["/health"])
    check = HealthCheck(interval=0.1, timeout=60)
    caller = calls(named(*(node.url for node in nodes)), health_check=check)
    began = time.monotonic()
    await caller.tried(20)
    assert time.monotonic() - began < 10
    await eventually(lambda: all(map(checks, nodes)))


async def test_what_the_client_trusts_its_checks_trust(calls: Calls, fakes: Fakes) -> None:
    """Without being told again."""
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    node = fakes(tls=serving)
    caller = calls(named(node.url), health_check=QUICK, verify=trusting)
    await caller.tried(1)
    await more_checks(node)
    assert caller.state("a") == "ready"
    assert caller.told(EventKind.UNHEALTHY) == []


async def test_a_good_node_is_never_spoken_of(calls: Calls, fakes: Fakes) -> None:
    """No event, and its record is that of its calls alone."""
    node = fakes()
    caller = calls(named(node.url), health_check=QUICK)
    await caller.tried(3)
    await more_checks(node, count=5)
    (seen,) = caller.balancer.snapshot()
    assert (seen.picked, seen.succeeded, seen.in_flight, seen.why) == (3, 3, 0, "")
    assert caller.events == []


async def test_of_a_balancer_of_its_own_it_is_an_argument(calls: Calls, fakes: Fakes) -> None:
    """Beside a balancer it is refused, as the other policies are; and leases begin it too."""
    node = fakes()
    with aiclient.Balancer([node.url], health_check=QUICK) as balancer:
        with pytest.raises(aiclient.ConfigurationError, match="health_check"):
            aiclient.BalancedTransport(balancer, health_check=QUICK)
        assert checks(node) == 0
        with balancer.lease():
            pass
        await more_checks(node)
        assert CHAT not in {request.path for request in node.requests}
