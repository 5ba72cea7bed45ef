"""What is told of a call: its attempts, on the answer or on the exception."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from aiclient import RetryPolicy
from aiclient.testing import FakeNode

from .family import httpx
from .helpers import Caller, nodes_of, tried

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
pytestmark = pytest.mark.anyio


async def test_a_report_of_the_attempts(calls: Calls, fakes: Fakes) -> None:
    """`response.extensions["aiclient"]` tells which nodes were tried, why, and how it went."""
    a, b, c = fakes(), fakes(), fakes()
    a.fault("503", retry_after=1)
    b.fault("reset")
    response = await calls(nodes_of(a, b, c)).post()
    report = response.extensions["aiclient"]
    assert report.node == "c"
    first, second, third = report.attempts
    assert [attempt.number for attempt in report.attempts] == [1, 2, 3]
    assert (first.outcome, first.status, first.retry_of) == ("http 503", 503, "")
    assert second.outcome.startswith("connection broken")
    assert (second.status, second.retry_of) == (None, "http 503")
    assert (third.outcome, third.endpoint.url) == ("ok", c.url)
    assert first.started <= second.started <= third.started
    assert third.ttfb is not None
    assert third.duration >= third.ttfb > 0
    assert "b (connection broken" in repr(report)


async def test_a_failed_calls_attempts(calls: Calls, fakes: Fakes) -> None:
    """When all fail the last failure itself is raised; the attempts are attached to it."""
    nodes = [fakes(), fakes()]
    for node in nodes:
        node.fault("reset")
    with pytest.raises(httpx.ReadError) as caught:
        await calls(nodes_of(*nodes), retry=RetryPolicy(attempts=2)).post()
    assert tried(caught.value) == ["a", "b"]
    assert "aiclient tried 2 time(s): a (connection broken" in caught.value.__notes__[0]
    assert caught.value.__cause__ is not None


async def test_the_last_answer_is_the_callers(calls: Calls, fakes: Fakes) -> None:
    """When all answer with an error the last answer is returned, its body complete."""
    nodes = [fakes(), fakes()]
    nodes[0].fault("500")
    nodes[1].fault("502")
    response = await calls(nodes_of(*nodes), retry=RetryPolicy(attempts=2)).post()
    assert response.status_code == 502
    assert response.json()["error"]["code"] == 502
