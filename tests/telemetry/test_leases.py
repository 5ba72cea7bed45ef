"""Leases in the metrics and in the access log."""

from __future__ import annotations

import pytest

import aiclient
from aiclient import BalancerError

from .conftest import InOrder, Lines, Metrics

NODES = ["http://10.0.0.1:8000", "http://10.0.0.2:8000"]


def test_a_lease_is_in_the_gauges(measured: Metrics) -> None:
    """Although no client of ours is in use."""
    with aiclient.Balancer(NODES, picker=InOrder()) as balancer, balancer.lease():
        held = measured.values("aiclient.node.in_flight", "aiclient.node")
        assert held == {(NODES[0],): 1, (NODES[1],): 0}


def test_a_lease_is_logged(logged: Lines) -> None:
    """At its end, with its exception."""
    with aiclient.Balancer(NODES, picker=InOrder()) as balancer:
        with balancer.lease():
            assert not logged.calls
        with pytest.raises(EOFError), balancer.lease():
            raise EOFError
    first, second = logged.calls
    assert (first["method"], first["path"], first["node"]) == ("LEASE", None, NODES[0])
    assert [line["error"] for line in logged.calls] == [None, "EOFError"]
    assert [line["attempts"][0]["outcome"] for line in (first, second)] == [
        "ok",
        "connection broken",
    ]


async def nothing() -> None:
    """Somebody else's work."""


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_an_asynchronous_lease_is_logged(logged: Lines) -> None:
    """The same."""
    with aiclient.Balancer(NODES) as balancer:
        async with balancer.lease():
            await nothing()
    assert [line["method"] for line in logged.calls] == ["LEASE"]


def test_turns_are_one_record(logged: Lines) -> None:
    """A loop over leases is one call, however many turns it takes."""
    with aiclient.Balancer(NODES, picker=InOrder()) as balancer:
        for turn in balancer.leases():
            with turn:
                if turn.endpoint.url == NODES[0]:
                    raise EOFError
    (line,) = logged.calls
    assert line["error"] is None
    assert [attempt["node"] for attempt in line["attempts"]] == NODES


def test_turns_that_all_fail(logged: Lines) -> None:
    """Have one record with the last exception, or with what was reported."""

    def work(balancer: aiclient.Balancer, attempts: int, error: type[Exception] | None) -> None:
        for turn in balancer.leases(retry=aiclient.RetryPolicy(attempts=attempts)):
            with turn:
                if error is not None:
                    raise error
                turn.fail("it does not do its work")

    with aiclient.Balancer(NODES) as balancer:
        with pytest.raises(EOFError):
            work(balancer, 2, EOFError)
        with pytest.raises(BalancerError):
            work(balancer, 1, None)
    assert [line["error"] for line in logged.calls] == ["EOFError", "BalancerError"]
    assert [len(line["attempts"]) for line in logged.calls] == [2, 1]
