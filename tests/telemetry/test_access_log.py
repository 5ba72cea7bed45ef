"""The access log: one line of JSON per call, at its end, and off until it is asked for."""

from __future__ import annotations

import gc
import json
import logging
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

import aiclient
from aiclient import RetryPolicy
from aiclient.telemetry import JsonFormatter
from aiclient.testing import FakeNode

from .conftest import CHAT, STREAM, Call, Lines, Spans, named

pytestmark = pytest.mark.anyio


def only(lines: Lines) -> dict[str, Any]:
    """The one call that was logged."""
    (line,) = lines.calls
    return line


async def test_a_call(logged: Lines, call: Call) -> None:
    """Everything that is known of it, and nothing of its query."""
    await call(json={}, base_url="http://llm:99/v1", url="chat/completions?key=canary")
    line = only(logged)
    assert abs(datetime.fromisoformat(line.pop("time")) - datetime.now(UTC)).total_seconds() < 60
    (attempt,) = line.pop("attempts")
    duration = line.pop("duration")
    assert line == {
        "level": "INFO",
        "logger": "aiclient.access",
        "method": "POST",
        "service": "llm",
        "path": "/v1/chat/completions",
        "status": 200,
        "error": None,
        "node": "a",
    }
    assert 0 < attempt.pop("ttfb") <= attempt.pop("duration") <= duration < 60
    assert 0 <= attempt.pop("started") <= duration
    assert attempt == {
        "node": "a",
        "why": "picked",
        "retry_of": None,
        "outcome": "ok",
        "status": None,
    }


async def test_a_retry(logged: Lines, call: Call, nodes: list[FakeNode]) -> None:
    """Is part of its call's line."""
    nodes[0].fault("503")
    await call(json={})
    first, second = only(logged)["attempts"]
    assert (first["node"], first["outcome"], first["status"]) == ("a", "http 503", 503)
    assert (second["node"], second["retry_of"], second["outcome"]) == ("b", "http 503", "ok")


async def test_a_stream(logged: Lines, call: Call, nodes: list[FakeNode]) -> None:
    """Is logged at its end."""
    for node in nodes:
        node.set(token_time=0.02, tokens=10)
    await call(json=STREAM)
    line = only(logged)
    assert line["duration"] - line["attempts"][0]["ttfb"] > 0.1


# httpx leaves its own generators half-read, of which trio complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_stream_closed_half_way(logged: Lines, call: Call) -> None:
    """Is no error, and says so."""
    await call(json=STREAM, stop_after=1)
    line = only(logged)
    assert line["error"] is None
    assert line["attempts"][0]["outcome"] == "closed before its end"


async def test_an_interrupted_stream(logged: Lines, call: Call, nodes: list[FakeNode]) -> None:
    """Is an error, although its status was good."""
    nodes[0].fault("cut_mid_stream")
    with pytest.raises(aiclient.StreamInterrupted):
        await call(json=STREAM)
    line = only(logged)
    assert (line["status"], line["error"]) == (200, "answer cut short")


async def test_a_failed_call(logged: Lines, call: Call, nodes: list[FakeNode]) -> None:
    """Has its exception's name, and what each node did."""
    for node in nodes:
        node.fault("reset")
    with pytest.raises(Exception, match="attempt 2"):
        await call(json={}, retry=RetryPolicy(attempts=2))
    line = only(logged)
    assert (line["status"], line["error"]) == (None, "ReadError")
    assert [attempt["outcome"] for attempt in line["attempts"]] == ["connection broken"] * 2


async def test_a_cancelled_call(logged: Lines, nodes: list[FakeNode], flavour: str) -> None:
    """Is logged like any other."""
    if flavour == "sync":
        pytest.skip("nothing to cancel")
    nodes[0].fault("hang")
    async with aiclient.AsyncClient(nodes[0].url) as client:
        with anyio.move_on_after(0.1):
            await client.post(CHAT, json={})
    line = only(logged)
    assert line["error"] == {"asyncio": "CancelledError", "trio": "Cancelled"}[flavour]
    assert line["attempts"][0]["outcome"] == "cancelled by the caller"


def test_no_node(logged: Lines, nodes: list[FakeNode]) -> None:
    """A call without an attempt is logged, too."""
    with aiclient.Client(nodes[0].url) as client:
        client.balancer.drain(nodes[0].url)
        with pytest.raises(aiclient.NoNodeAvailable):
            client.post(CHAT, json={})
    line = only(logged)
    assert line["attempts"] == []
    assert line["node"] is None
    assert line["error"] == "NoNodeAvailable"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dropped_response(logged: Lines, nodes: list[FakeNode]) -> None:
    """Is logged before the next call."""
    client = aiclient.Client(nodes[0].url)
    nodes[0].fault("hang_mid_stream")
    response = client.send(client.build_request("POST", CHAT, json=STREAM), stream=True)
    del response
    gc.collect()
    nodes[0].heal()
    client.get("/v1/models")
    assert [line["error"] for line in logged.calls] == ["dropped", None]
    client.close()


async def test_the_trace_is_named(logged: Lines, traced: Spans, call: Call) -> None:
    """Where there is one, the line leads to it."""
    await call(json={})
    line = only(logged)
    context = traced.call.context
    assert line["trace_id"] == f"{context.trace_id:032x}"
    assert line["span_id"] == f"{context.span_id:016x}"


async def test_a_call_s_message(
    logged: Lines, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    """Without the formatter there is a line to read."""
    await call(json={})
    (message,) = [
        record.getMessage() for record in caplog.records if record.name == "aiclient.access"
    ]
    assert message.startswith("POST /v1/chat/completions 200 in 0.")
    assert message.endswith(" s by a, attempt 1")


# Off by default


async def test_it_is_off(lines: Lines, call: Call) -> None:
    """A level of a logger above does not switch it on."""
    await call(json={})
    assert not lines.calls


@pytest.mark.parametrize(("level", "on"), [("DEBUG", True), ("INFO", True), ("WARNING", False)])
def test_its_own_level_switches_it_on(
    lines: Lines, nodes: list[FakeNode], level: str, on: bool
) -> None:
    """INFO and below; at any time."""
    with aiclient.Client(nodes[0].url) as client:
        logging.getLogger("aiclient.access").setLevel(level)
        client.get("/v1/models")
        assert bool(lines.calls) is on


# The formatter


def test_events_as_json(lines: Lines, nodes: list[FakeNode]) -> None:
    """What the balancer tells is a line with a message."""
    with aiclient.Balancer(named(nodes)) as balancer:
        balancer.eject("a", 3)
    (line,) = [json.loads(text) for text in lines.text]
    assert line.pop("time")
    assert line == {
        "level": "WARNING",
        "logger": "aiclient",
        "message": "ejected a: by hand, for 3 s",
    }


def test_an_exception_as_json() -> None:
    """Stays on one line."""
    record = logging.LogRecord("aiclient", logging.ERROR, "", 0, "%s", ("a\nb",), None)
    try:
        raise ValueError("canary")
    except ValueError as exc:
        record.exc_info = (type(exc), exc, exc.__traceback__)
    text = JsonFormatter().format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert line["message"] == "a\nb"
    assert line["exception"].startswith("Traceback")
