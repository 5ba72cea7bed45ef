"""Redirects stay within the service; one that leaves it carries nothing away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import aiclient
from aiclient import Endpoint

from .family import httpx
from .helpers import MODELS, Caller, nodes_of, tried
from .nodes import Connection, ScriptedNode, answer, replies

Calls = Callable[..., Caller]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio


def redirecting(location: str | bytes, status: int = 307) -> Callable[[Connection], None]:
    """Redirects `/old...`, answers everything else."""
    value = location.encode("latin-1") if isinstance(location, str) else location

    def script(connection: Connection) -> None:
        while True:
            request = connection.request()
            head = b"HTTP/1.1 %d Go\r\ncontent-length: 0\r\nlocation: %b\r\n\r\n" % (status, value)
            connection.send(head if "/old" in request.path else answer(b'{"new": true}'))

    return script


async def test_a_location_that_names_the_node(calls: Calls, scripted: Scripted) -> None:
    """The node's own absolute URL means the service: any node may take the second request."""
    node = scripted(replies(b""))
    node.script = redirecting(f"{node.url}/new?x=1")
    caller = calls(node.url, follow_redirects=True, base_url="http://llm:8000")
    response = await caller.get("/old")
    assert response.json() == {"new": True}
    assert str(response.url) == "http://llm:8000/new?x=1"
    assert response.history[0].headers["location"] == "http://llm:8000/new?x=1"
    assert [request.path for request in node.requests] == ["/old", "/new?x=1"]


async def test_a_location_that_names_another_node(calls: Calls, scripted: Scripted) -> None:
    """So does another node's."""
    other = scripted(redirecting("/"))
    node = scripted(redirecting(f"{other.url}/new"))
    caller = calls(nodes_of(node, other), follow_redirects=True)
    response = await caller.get("/old")
    assert tried(response.history[0]) == ["a"]
    assert response.json() == {"new": True}
    assert str(response.url) == "http://aiclient.invalid/new"


async def test_an_ipv6_service_name(calls: Calls, scripted: Scripted) -> None:
    """A logical authority that is an address of the sixth version keeps its brackets."""
    node = scripted(replies(b""))
    node.script = redirecting(f"{node.url}/new")
    response = await calls(node.url, follow_redirects=True).get("http://[::1]:77/old")
    assert str(response.url) == "http://[::1]:77/new"


async def test_an_international_service_name(calls: Calls, scripted: Scripted) -> None:
    """A logical name outside ASCII survives a redirect."""
    node = scripted(replies(b""))
    node.script = redirecting(f"{node.url}/new")
    caller = calls(node.url, follow_redirects=True, base_url="http://m\xfcnchen.example")
    response = await caller.get("/old")
    assert response.json() == {"new": True}
    assert response.url.host == "m\xfcnchen.example"


@pytest.mark.parametrize("location", ["/team/new", "/new", "new"])
async def test_relative_below_a_prefix(calls: Calls, scripted: Scripted, location: str) -> None:
    """A relative Location with the node's own path prefix does not get the prefix twice."""
    node = scripted(redirecting(location))
    caller = calls(f"{node.url}/team", follow_redirects=True)
    await caller.get("/old")
    assert [request.path for request in node.requests] == ["/team/old", "/team/new"]


async def test_a_location_outside_ascii(calls: Calls, scripted: Scripted) -> None:
    """A path in bare UTF-8 is followed as httpx would follow it."""
    node = scripted(replies(b""))
    node.script = redirecting(f"{node.url}/new/\xfc".encode())
    response = await calls(node.url, follow_redirects=True).get("/old")
    assert str(response.url) == "http://aiclient.invalid/new/%C3%BC"


async def test_a_location_that_names_the_host_header(calls: Calls, scripted: Scripted) -> None:
    """A node told to be `llm.internal` calls itself that in its Location."""
    node = scripted(redirecting("https://llm.internal/new"))
    caller = calls([Endpoint(node.url, host_header="llm.internal")], follow_redirects=True)
    response = await caller.get("/old")
    assert str(response.url) == "http://aiclient.invalid/new"


async def test_upgrade_to_https_is_the_same_service(calls: Calls, scripted: Scripted) -> None:
    """http to https of the logical name stays: nodes are dialled as they are configured."""
    node = scripted(redirecting("https://llm/new"))
    caller = calls(node.url, follow_redirects=True, base_url="http://llm")
    response = await caller.get("/old", headers={"Authorization": "Bearer x"})
    assert str(response.url) == "https://llm/new"
    assert node.requests[-1].headers["authorization"] == "Bearer x"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("scheme", ["{}", "//{}", "http://x@{}", "http://127.0.0.1@{}"])
async def test_leaving_the_service_is_refused(
    calls: Calls, scripted: Scripted, status: int, scheme: str
) -> None:
    """A Location elsewhere raises, and the stranger hears nothing at all."""
    stranger = scripted(replies(answer(b"mine!")))
    place = stranger.url if scheme == "{}" else f"127.0.0.1:{stranger.port}"
    node = scripted(redirecting(scheme.format(place) + "/new", status))
    caller = calls(node.url, follow_redirects=True, cookies={"session": "canary"})
    with pytest.raises(aiclient.RedirectRefused) as caught:
        await caller.request(
            "POST", "/old", content=b"canary", headers={"Authorization": "Bearer canary"}
        )
    assert isinstance(caught.value, httpx.RequestError)
    assert str(stranger.port) in str(caught.value)
    assert "canary" not in str(caught.value)
    assert stranger.accepted == 0
    assert len(node.requests) == 1


async def test_a_stranger_reached_in_two_steps(calls: Calls, scripted: Scripted) -> None:
    """The first authority is remembered through any number of redirects."""
    stranger = scripted(replies(answer()))
    node = scripted(replies(b""))
    node.script = replies(
        b"HTTP/1.1 302 x\r\ncontent-length: 0\r\nlocation: %b/b\r\n\r\n" % node.url.encode(),
        b"HTTP/1.1 302 x\r\ncontent-length: 0\r\nlocation: %b/c\r\n\r\n" % stranger.url.encode(),
    )
    with pytest.raises(aiclient.RedirectRefused):
        await calls(node.url, follow_redirects=True).get("/a")
    assert stranger.accepted == 0


async def test_redirects_not_followed_are_the_callers(calls: Calls, scripted: Scripted) -> None:
    """By default httpx does not follow: the caller sees the Location, turned to the service."""
    node = scripted(replies(b""))
    node.script = redirecting(f"{node.url}/new", 302)
    response = await calls(node.url, base_url="http://llm").get("/old")
    assert response.status_code == 302
    assert response.headers["location"] == "http://llm/new"
    assert response.next_request is not None
    assert response.next_request.url.host == "llm"


async def test_endless_redirects_end(calls: Calls, scripted: Scripted) -> None:
    """httpx's own limit holds, and every hop was a call of its own."""
    node = scripted(redirecting("/old"))
    with pytest.raises(httpx.TooManyRedirects):
        await calls(node.url, follow_redirects=True, max_redirects=5).get("/old")
    assert len(node.requests) == 6


GARBAGE = [
    b"http://127.0.0.1:99999999/",
    b"http://127.0.0.1:-1/",
    b"http://127.0.0.1:port/",
    b"http://[::1/",
    b"http://[zz]/",
    b"http://a b/",
    b"http://\xff\xfe/",
    b"http://exa\tmple/",
    b"http://" + b"a" * 70_000 + b"/",
    b"http://xn--a/",
    b"http://.../",
    b"://",
    b"javascript:alert(1)",
    b"file:///etc/passwd",
    b"//",
    b"http://127.0.0.1:80:80/",
]


@pytest.mark.parametrize("location", GARBAGE)
async def test_a_location_that_makes_no_sense(
    calls: Calls, scripted: Scripted, location: bytes
) -> None:
    """Garbage in a Location is an httpx error, never another exception."""
    node = scripted(redirecting(location))
    caller = calls(node.url, follow_redirects=True)
    with pytest.raises(httpx.HTTPError):
        await caller.get("/old")
    assert (await caller.get(MODELS)).status_code == 200


async def test_a_node_with_a_senseless_location_is_at_fault(
    calls: Calls, scripted: Scripted
) -> None:
    """It is garbage like any other: another node is asked."""
    bad, good = scripted(redirecting(b"http://[zz]/")), scripted(replies(answer()))
    caller = calls(nodes_of(bad, good))
    response = await caller.get("/old")
    assert (response.status_code, tried(response)) == (200, ["a", "b"])
    assert [node.failed for node in caller.balancer.snapshot()] == [1, 0]


async def test_an_empty_location(calls: Calls, scripted: Scripted) -> None:
    """An empty one leads back to the same URL."""
    node = scripted(redirecting(b""))
    with pytest.raises(httpx.TooManyRedirects):
        await calls(node.url, follow_redirects=True, max_redirects=2).get("/old")


async def test_the_body_goes_along(calls: Calls, scripted: Scripted) -> None:
    """307 keeps method and body, on the next node; 303 does not."""
    a, b = scripted(redirecting("/new")), scripted(redirecting("/new", 303))
    for node, method, body in ((a, "POST", b"{}"), (b, "GET", b"")):
        caller = calls(node.url, follow_redirects=True)
        response = await caller.request("POST", "/old", content=b"{}")
        assert node.requests[-1].method == method
        assert node.requests[-1].body == body
        assert tried(response) == [node.url]


async def test_a_one_shot_body_is_not_redirected(calls: Calls, scripted: Scripted) -> None:
    """A generator cannot be sent again: httpx says so, and no half request goes out."""
    node = scripted(redirecting("/new"))
    caller = calls(node.url, follow_redirects=True)
    with pytest.raises(httpx.StreamConsumed):
        await caller.request("POST", "/old", content=caller.body(b"a", b"b"))
    assert node.requests[-1].path == "/old"
    assert (await caller.get(MODELS)).status_code == 200


async def test_options_survive_redirects(calls: Calls, scripted: Scripted) -> None:
    """The second request is pinned as the first one was."""
    other, node = scripted(redirecting("/x")), scripted(redirecting("/new"))
    caller = calls(nodes_of(other, node), follow_redirects=True)
    options = aiclient.CallOptions(pin=node.url)
    response = await caller.get("/old", extensions={"aiclient": options})
    assert [*tried(response.history[0]), *tried(response)] == ["b", "b"]
    assert other.accepted == 0
