import json
import math
import re
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs
import pytest

import aiclient
from aiclient.core.events import EventKind
from aiclient.status.picture import picture
from aiclient.testing import FakeClock, FakeNode

CANARY = "c4n4ry-s3cret"
NODE_FIELDS = [
    *("name", "url", "weight", "priority", "zone", "labels", "state", "in_flight", "load"),
    *("share", "ttfb", "slowness", "breaker", "success_rate", "out_for", "why"),
    *("picked", "succeeded", "failed"),
]


def test_the_fields_have_these_names() -> None:
    """The shape that programs rely on; every field of a node's snapshot is in it."""
    balancer = aiclient.Balancer(["http://10.0.0.1:8000"])
    found = balancer.snapshot().as_dict()
    assert list(found) == [
        *("at", "service", "picker", "closed", "panic", "in_flight", "waiting"),
        *("discovery", "states", "nodes", "events"),
    ]
    assert list(found["nodes"][0]) == NODE_FIELDS
    renamed = {"endpoint", "ejected_until"}
    fields = {field.name for field in attrs.fields(aiclient.NodeSnapshot)}
    assert fields - renamed < set(NODE_FIELDS)
    assert abs(found["at"] - time.time()) < 5


def test_every_field_is_documented() -> None:
    """observability.md names each of them, those of the page's JSON included."""
    page = (Path(__file__).parents[2] / "docs/observability.md").read_text("utf-8")
    section = page.split("### As JSON\n")[1].split("\n### ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    documented = [name for cell in cells for name in re.findall("`([a-z_]+)`", cell)]
    whole = json.loads(picture({"": aiclient.Balancer(["http://a:1"])}))
    (balancer,) = whole["balancers"]
    (node,) = balancer["nodes"]
    assert sorted(documented) == sorted([*whole, *balancer, *node])


def test_it_says_what_the_balancer_knows() -> None:
    """Names, numbers and times, all in seconds."""
    clock = FakeClock()
    nodes = [
        aiclient.Endpoint("http://a:1/x", name="a", zone="eu", labels={"gpu": "H200"}, priority=1),
        "http://b:2",
    ]
    balancer = aiclient.Balancer(nodes, clock=clock)
    with balancer.lease() as lease:
        found = balancer.snapshot().as_dict()
    assert str(lease.endpoint) == "http://b:2"
    assert (found["in_flight"], found["picker"]) == (1, "LeastLoad()")
    a, b = found["nodes"]
    assert (a["name"], a["url"], a["zone"]) == ("a", "http://a:1/x", "eu")
    assert (a["priority"], a["labels"]) == (1, {"gpu": "H200"})
    assert (b["in_flight"], b["picked"], b["share"]) == (1, 1, 1.0)
    assert (b["state"], b["breaker"], b["out_for"]) == ("ready", "closed", None)
    balancer.eject("a", 10)
    clock.advance(4)
    found = balancer.snapshot().as_dict()
    assert found["nodes"][0]["state"] == "ejected"
    assert found["nodes"][0]["out_for"] == pytest.approx(6)
    (event,) = found["events"]
    assert event.pop("ago") == pytest.approx(4)
    assert event == {"kind": "ejected", "node": "a", "detail": "by hand, for 10 s"}
    balancer.close()
    assert balancer.snapshot().as_dict()["closed"] is True


def test_no_number_is_one_that_json_cannot_say() -> None:
    """A drained node's load is infinite."""
    balancer = aiclient.Balancer([aiclient.Endpoint("http://a:1", weight=0)])
    snapshot = balancer.snapshot()
    assert snapshot[0].load == math.inf
    assert snapshot.as_dict()["nodes"][0]["load"] is None
    json.dumps(snapshot.as_dict(), allow_nan=False)


def test_the_last_hundred_events_are_kept() -> None:
    """Whoever comes late sees what has happened, without end."""
    balancer = aiclient.Balancer(["http://a:1"])
    for number in range(150):
        balancer.note(EventKind.DISCOVERY, f"number {number}")
    snapshot = balancer.snapshot()
    assert [event.detail for event in snapshot.events] == [f"number {n}" for n in range(50, 150)]


def test_what_a_real_failure_leaves_behind() -> None:
    """A call over real nodes, of which one is dead."""
    with FakeNode(prefill=0, token_time=0) as good, FakeNode() as dead:
        dead.kill()
        with aiclient.Client([dead.url, good.url], picker=aiclient.RoundRobin()) as client:
            for _ in range(4):
                client.post("/v1/chat/completions", json={"messages": []})
            found = client.balancer.snapshot().as_dict()
    assert found["picker"] == "RoundRobin()"
    first, second = found["nodes"]
    assert (first["state"], second["state"]) == ("ejected", "ready")
    assert "Connection refused" in first["why"]
    assert (first["ttfb"], first["succeeded"], second["failed"]) == (None, 0, 0)
    assert second["ttfb"] > 0
    assert second["succeeded"] == 4
    assert found["events"][-1]["kind"] == "ejected"


class Leaky:
    """A source that shows and says what it should not."""

    def __repr__(self) -> str:
        return f"Leaky(password={CANARY!r})"

    def watch(self, signal: aiclient.Signal) -> Iterator[Iterable[aiclient.Endpoint]]:
        yield [aiclient.Endpoint("http://a:1", headers={"x-mine": CANARY})]
        raise OSError(f"403 for https://user:{CANARY}@registry/nodes?key={CANARY}")


class LeakyPicker:
    def pick(self, candidates: aiclient.NodeSet, context: aiclient.PickContext) -> aiclient.Node:
        return candidates[0]

    def __repr__(self) -> str:
        return f"LeakyPicker(token={CANARY})"


def test_no_credential_is_in_it() -> None:
    """Not of an endpoint's headers, a URL in an error, an event's detail, a label or a repr."""
    with aiclient.Balancer(Leaky(), picker=LeakyPicker()) as balancer:
        balancer.wait_ready(10)
        give_up_at = time.monotonic() + 10
        while not (status := balancer.snapshot().discovery) or not status.problem:
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        balancer.note(EventKind.DISCOVERY, f"it quoted {CANARY} without a word of warning")
        snapshot = balancer.snapshot()
        text = json.dumps(snapshot.as_dict()) + picture({"": balancer}).decode()
    # It was all there.
    assert snapshot.discovery is not None
    assert CANARY in snapshot.discovery.problem + str(snapshot.events) + snapshot.discovery.source
    assert CANARY in str(snapshot[0].endpoint.headers) + repr(snapshot.picker)
    assert CANARY not in text
    for left in ("Leaky(password=", "LeakyPicker", "403 for https://", "it quoted [hidden]"):
        assert left in text


def test_what_a_node_is_out_for_quotes_no_credential_of_its_own() -> None:
    """What went wrong may say what was sent."""
    node = aiclient.Endpoint("http://a:1", headers={"x-mine": CANARY})
    policy = aiclient.BreakerPolicy(consecutive=1)
    balancer = aiclient.Balancer([node], breaker=policy)
    with pytest.raises(OSError, match="bad"), balancer.lease():
        raise OSError(f"a bad header: {CANARY}")
    snapshot = balancer.snapshot()
    assert CANARY in snapshot[0].why
    assert CANARY not in json.dumps(snapshot.as_dict())
    assert "a bad header: [hidden]" in snapshot.as_dict()["nodes"][0]["why"]


def test_a_label_that_names_a_credential_is_hidden() -> None:
    """Other labels are shown."""
    node = aiclient.Endpoint("http://a:1", labels={"api_key": CANARY, "gpu": "H200"})
    found = aiclient.Balancer([node]).snapshot().as_dict()
    assert found["nodes"][0]["labels"] == {"api_key": "[hidden]", "gpu": "H200"}


class NoRepr(LeakyPicker):
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_a_picker_that_cannot_be_shown_is_named() -> None:
    """A user's picker whose repr raises does not take the page with it."""
    balancer = aiclient.Balancer(["http://a:1"], picker=NoRepr())
    assert balancer.snapshot().as_dict()["picker"] == "NoRepr"


def test_of_many_nodes_those_that_are_out_are_shown() -> None:
    """At most 500, in the order they joined; the counts are of all."""
    nodes = [f"http://10.0.{n // 250}.{n % 250}:80" for n in range(1200)]
    balancer = aiclient.Balancer(nodes, outlier=None)
    for node in (*nodes[100:200], nodes[1199]):
        balancer.drain(node)
    (found,) = json.loads(picture({"": balancer}))["balancers"]
    urls = [node["url"].removesuffix(":80") + ":80" for node in found["nodes"]]
    assert urls == [*nodes[:499], nodes[1199]]
    assert found["states"] == {"ready": 1099, "drained": 101}
    for node in nodes[:900]:
        balancer.drain(node)
    (found,) = json.loads(picture({"": balancer}))["balancers"]
    assert len(found["nodes"]) == 500
