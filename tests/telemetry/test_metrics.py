"""The metrics of calls, attempts and balancers, as a real SDK collects them."""

from __future__ import annotations

import gc
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import pytest
from opentelemetry import metrics

import aiclient
from aiclient import BreakerPolicy, RetryPolicy
from aiclient.telemetry.labels import NODES, OTHER, Labels, reason_of
from aiclient.telemetry.metrics import instruments
from aiclient.testing import FakeNode

from .conftest import CHAT, STREAM, Call, InOrder, Metrics, named

pytestmark = pytest.mark.anyio
DURATION = "http.client.request.duration"


async def test_a_call(measured: Metrics, call: Call, nodes: list[FakeNode]) -> None:
    """One call, one attempt; the node is named, the query is not."""
    await call(json={}, base_url="http://llm:99/v1", url="chat/completions?key=x")
    found = measured.collect()
    (whole,) = found["aiclient.call.duration"]
    assert dict(whole.attributes) == {
        "aiclient.service": "llm",
        "http.response.status_code": 200,
    }
    (attempt,) = found[DURATION]
    assert dict(attempt.attributes) == {
        "aiclient.service": "llm",
        "aiclient.node": "a",
        "http.request.method": "POST",
        "server.address": "127.0.0.1",
        "server.port": nodes[0].port,
        "http.response.status_code": 200,
    }
    assert whole.count == attempt.count == 1
    assert 0 < attempt.sum <= whole.sum
    assert max(attempt.explicit_bounds) == 600
    assert "aiclient.retries" not in found
    assert "aiclient.time_to_first_byte" not in found


@pytest.mark.parametrize(
    ("fault", "error", "reason"),
    [("503", "503", "http 503"), ("reset", "ReadError", "connection broken")],
)
async def test_a_retry(
    measured: Metrics, call: Call, nodes: list[FakeNode], fault: str, error: str, reason: str
) -> None:
    """Each attempt counts by its outcome, the retry by its reason, the call once."""
    nodes[0].fault(fault)
    await call(json={})
    assert measured.values(DURATION, "aiclient.node", "error.type") == {
        ("a", error): 1,
        ("b", None): 1,
    }
    assert measured.values("aiclient.retries", "aiclient.reason") == {(reason,): 1}
    assert measured.values("aiclient.call.duration", "error.type") == {(None,): 1}


async def test_a_stream(measured: Metrics, call: Call, nodes: list[FakeNode]) -> None:
    """Has a first byte of its own, and lasts to its end."""
    for node in nodes:
        node.set(token_time=0.02, tokens=10)
    await call(json=STREAM)
    found = measured.collect()
    (first,), (attempt,) = found["aiclient.time_to_first_byte"], found[DURATION]
    assert dict(first.attributes)["aiclient.node"] == "a"
    assert attempt.sum - first.sum > 0.1


# httpx leaves its own generators half-read, of which trio complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_stream_closed_half_way(measured: Metrics, call: Call) -> None:
    """Is no error."""
    await call(json=STREAM, stop_after=1)
    assert measured.values(DURATION, "error.type") == {(None,): 1}


async def test_a_failed_call(measured: Metrics, call: Call, nodes: list[FakeNode]) -> None:
    """Is one, with an error."""
    for node in nodes:
        node.fault("reset")
    with pytest.raises(Exception, match="attempt 2"):
        await call(json={}, retry=RetryPolicy(attempts=2))
    assert measured.values("aiclient.call.duration", "error.type") == {("ReadError",): 1}
    assert measured.values(DURATION, "error.type") == {("ReadError",): 2}


async def test_a_cancelled_call(measured: Metrics, nodes: list[FakeNode], flavour: str) -> None:
    """Counts once, and its attempt, too."""
    if flavour == "sync":
        pytest.skip("nothing to cancel")
    nodes[0].fault("hang")
    async with aiclient.AsyncClient(nodes[0].url) as client:
        with anyio.move_on_after(0.1):
            await client.post(CHAT, json={})
    error = {"asyncio": "CancelledError", "trio": "Cancelled"}[flavour]
    assert measured.values("aiclient.call.duration", "error.type") == {(error,): 1}
    assert measured.values(DURATION, "error.type") == {(error,): 1}


async def test_a_call_that_never_starts(measured: Metrics, call: Call) -> None:
    """A bad option is no call of the service's."""
    with pytest.raises(aiclient.ConfigurationError):
        await call(json={}, headers={"x-aiclient-deadline": "canary"})
    assert "aiclient.call.duration" not in measured.collect()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dropped_response(measured: Metrics, nodes: list[FakeNode]) -> None:
    """Counts with the next call, not in a finaliser, which may run anywhere."""
    client = aiclient.Client(nodes[0].url)
    nodes[0].fault("hang_mid_stream")
    response = client.send(client.build_request("POST", CHAT, json=STREAM), stream=True)
    del response
    gc.collect()
    assert DURATION not in measured.collect()
    assert [node.in_flight for node in client.balancer.snapshot()] == [0]
    nodes[0].heal()
    client.get("/v1/models")
    assert measured.values(DURATION, "error.type") == {("dropped",): 1, (None,): 1}
    client.close()


def test_many_threads(measured: Metrics, nodes: list[FakeNode]) -> None:
    """None is missed, whoever calls at the same time."""
    with aiclient.Client(named(nodes)) as client:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda _: client.post(CHAT, json=STREAM), range(200)))
        for name in ("aiclient.call.duration", DURATION, "aiclient.time_to_first_byte"):
            assert measured.values(name) == {(): 200}
        assert set(measured.values("aiclient.node.in_flight", "aiclient.node").values()) == {0}


# Balancers


OF_NODE = ("aiclient.service", "aiclient.node")


def test_a_node_s_gauges(measured: Metrics, nodes: list[FakeNode]) -> None:
    """Show what a snapshot shows, at each collection anew."""
    with aiclient.Client(named(nodes), picker=InOrder(), base_url="http://llm") as client:
        client.post(CHAT, json={})
        with client.balancer.lease(pin="b"):
            loads = {("llm", str(node.endpoint)): node.load for node in client.balancer.snapshot()}
            assert measured.values("aiclient.node.load", *OF_NODE) == loads
            held = measured.values("aiclient.node.in_flight", *OF_NODE)
            assert held == {("llm", "a"): 0, ("llm", "b"): 1}
        free = measured.values("aiclient.node.in_flight", *OF_NODE)
        assert free == {("llm", "a"): 0, ("llm", "b"): 0}
        assert measured.values("aiclient.connections", "http.connection.state") == {
            ("active",): 0,
            ("idle",): 1,
        }


def test_an_ejection(measured: Metrics, nodes: list[FakeNode]) -> None:
    """Is counted with its reason; the breaker and the nodes' states follow."""
    nodes[0].stop()
    with aiclient.Client(named(nodes), picker=InOrder()) as client:
        for _ in range(2):
            client.post(CHAT, json={})
        assert measured.values(
            "aiclient.ejections", "aiclient.node", "aiclient.reason", "aiclient.enforced"
        ) == {("a", "cannot connect", True): 1}
        assert measured.values("aiclient.events", "aiclient.event") == {("ejected",): 1}
        breakers = measured.values("aiclient.node.breaker", "aiclient.node")
        assert breakers == {("a",): 2, ("b",): 0}
        states = measured.values("aiclient.nodes", "aiclient.state")
        assert states[("ejected",)] == states[("ready",)] == 1
        assert sum(states.values()) == 2


def test_a_panic(measured: Metrics, nodes: list[FakeNode]) -> None:
    """When too many are out on soft evidence the last ejections are not enforced."""
    breaker = BreakerPolicy(consecutive=2)
    with aiclient.Client(named(nodes), breaker=breaker, retry=None) as client:
        client.post(CHAT, json={})
        assert measured.values("aiclient.panic") == {(): 0}
        for node in nodes:
            node.fault("500")
        while not client.balancer.panic:
            client.post(CHAT, json={})
        assert measured.values("aiclient.panic") == {(): 1}
        assert measured.values("aiclient.ejections", "aiclient.reason", "aiclient.enforced") == {
            ("consecutive faults", True): 1,
            ("consecutive faults", False): 1,
        }


def test_a_spent_budget(measured: Metrics, nodes: list[FakeNode]) -> None:
    """Each retry that was not made is counted."""
    for node in nodes:
        node.fault("500")
    retry = RetryPolicy(reserve=1, budget=0.0)
    with aiclient.Client(named(nodes), retry=retry, breaker=None) as client:
        for _ in range(4):
            client.post(CHAT, json={})
        refused = client.balancer.refused_retries
        assert refused >= 2
        assert measured.values("aiclient.retry_budget.exhausted") == {(): refused}


class Fails:
    """A discovery that brings two sets and then fails."""

    def __init__(self, *sets: list[str]) -> None:
        self.sets = sets

    def watch(self, signal: Any) -> Any:
        yield from self.sets
        raise OSError("no more")


def test_discovery(measured: Metrics, nodes: list[FakeNode]) -> None:
    """Its updates and errors are counted, and never go down, whoever leaves."""
    urls = [node.url for node in nodes]

    def counts() -> tuple[float, float]:
        updates = measured.values("aiclient.discovery.updates")
        return updates[()], measured.values("aiclient.discovery.errors")[()]

    with aiclient.Client(Fails(urls[:1], urls)) as client:
        client.get("/v1/models")
        until(lambda: counts()[1] >= 1)
        updates, errors = counts()
        assert updates == 2
    gone = weakref.ref(client.balancer)
    del client
    until(lambda: gc.collect() >= 0 and gone() is None)
    with aiclient.Client(nodes[0].url) as other:
        other.get("/v1/models")
        assert counts()[0] == updates
        assert counts()[1] >= errors


def until(holds: Callable[[], bool]) -> None:
    """Wait for a condition."""
    give_up_at = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.01)


def test_balancers_are_not_kept(measured: Metrics, nodes: list[FakeNode]) -> None:
    """Metrics keep neither a balancer nor its client; two of one service are shown as one."""
    clients = [aiclient.Client(named(nodes), base_url="http://llm") for _ in range(2)]
    for client in clients:
        client.post(CHAT, json={})
    assert measured.values("aiclient.nodes", "aiclient.service") == {("llm",): 4}
    gone = [weakref.ref(one) for client in clients for one in (client, client.balancer)]
    for client in clients:
        client.close()
    assert not measured.values("aiclient.nodes", "aiclient.service")
    del clients, client
    gc.collect()
    assert [reference() for reference in gone] == [None] * 4


# Bounds


def test_labels_are_bounded() -> None:
    """The first few values are kept, every later one is "other"."""
    bounded = Labels(2)
    assert [bounded(value) for value in "abcab"] == ["a", "b", OTHER, "a", "b"]


def test_nodes_beyond_the_bound(
    measured: Metrics, nodes: list[FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Are shown together, and their addresses with them."""
    monkeypatch.setattr(NODES, "_most", 1)
    with aiclient.Client(named(nodes), picker=aiclient.RoundRobin()) as client:
        for _ in range(4):
            client.request("MADEUP", "/v1/models")
        keys = ("aiclient.node", "server.address", "server.port", "http.request.method")
        assert measured.values(DURATION, *keys) == {
            ("a", "127.0.0.1", nodes[0].port, "_OTHER"): 2,
            (OTHER, OTHER, None, "_OTHER"): 2,
        }
        assert set(measured.values("aiclient.node.in_flight", "aiclient.node")) == {
            ("a",),
            (OTHER,),
        }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("cannot connect: [Errno 111] Connection refused", "cannot connect"),
        ("http 503", "http 503"),
        ("http 401, and a peer did better", "http 401"),
        ("http 99999", OTHER),
        ("success rate: http 500, for 5.0 s", "success rate"),
        ("by hand, for 3 s", "by hand"),
        ("https://user:password@host", OTHER),
        ("", OTHER),
    ],
)
def test_reasons_are_words(text: str, reason: str) -> None:
    """Of a text only a known beginning is left."""
    assert reason_of(text) == reason


# Without an SDK


def test_without_an_sdk_nothing_is_built(nodes: list[FakeNode]) -> None:
    """The API's own provider does nothing, and so do we."""
    assert metrics.get_meter_provider().__class__.__module__.startswith("opentelemetry.metrics")
    assert instruments() is None
    with aiclient.Client(nodes[0].url) as client:
        client.get("/v1/models")
        assert not client.balancer._subscribers


def test_an_sdk_that_comes_later_is_found(
    nodes: list[FakeNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client made before the service has set up its SDK is seen by it all the same."""
    with aiclient.Client(nodes[0].url) as client:
        client.get("/v1/models")
        measured = Metrics()
        monkeypatch.setattr(metrics, "get_meter_provider", lambda: measured.provider)
        client.get("/v1/models")
        assert measured.values(DURATION) == {(): 1}
        assert measured.values("aiclient.nodes") == {(): 1}
