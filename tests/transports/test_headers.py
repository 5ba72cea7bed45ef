"""What a node receives: its own Host and credentials, the caller's headers, nothing of ours."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import aiclient
from aiclient import Endpoint
from aiclient.testing import FakeNode

from .family import httpx
from .helpers import CHAT, MODELS, Caller
from .nodes import ScriptedNode, answer, replies

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio


async def test_each_node_gets_its_own_host(calls: Calls, fakes: Fakes) -> None:
    """The Host header names the node, not the logical service."""
    nodes = [fakes(), fakes()]
    caller = calls([node.url for node in nodes], picker=aiclient.RoundRobin())
    for _ in range(2):
        await caller.get()
    for node in nodes:
        assert node.requests[-1].headers["host"] == f"127.0.0.1:{node.port}"


async def test_a_node_may_want_another_host(calls: Calls, fakes: Fakes) -> None:
    """`host_header` replaces it, and so does no header of the caller's."""
    node = fakes()
    caller = calls([Endpoint(node.url, host_header="llm.internal")])
    await caller.get(headers={"Host": "evil.example"})
    assert node.requests[-1].headers["host"] == "llm.internal"


async def test_a_nodes_own_headers_replace_the_requests(calls: Calls, fakes: Fakes) -> None:
    """Per-node credentials win over the caller's, in whatever case they are written."""
    node = fakes()
    endpoint = Endpoint(node.url, headers={"authorization": "Bearer own", "X-Zone": "a"})
    caller = calls([endpoint], headers={"Authorization": "Bearer caller", "X-Team": "t"})
    await caller.get()
    headers = node.requests[-1].headers
    assert headers["authorization"] == "Bearer own"
    assert (headers["x-zone"], headers["x-team"]) == ("a", "t")


async def test_credentials_go_to_their_own_node_only(calls: Calls, fakes: Fakes) -> None:
    """What one node's `headers` hold is not sent to the next one on a retry."""
    a, b = fakes(), fakes()
    a.fault("503")
    caller = calls(
        [
            Endpoint(a.url, name="a", headers={"Authorization": "Bearer for-a"}),
            Endpoint(b.url, name="b", headers={"X-Key": "for-b"}),
        ]
    )
    assert (await caller.post()).status_code == 200
    assert a.requests[-1].headers["authorization"] == "Bearer for-a"
    assert "authorization" not in b.requests[-1].headers
    assert "x-key" not in a.requests[-1].headers


async def test_our_own_headers_stay_here(calls: Calls, fakes: Fakes) -> None:
    """`x-aiclient-*` is for the balancer and is never sent on."""
    node = fakes()
    await calls(node.url).post(
        headers={"X-AIClient-Key": "user-42", "x-aiclient-idempotent": "false", "x-other": "1"}
    )
    names = set(node.requests[-1].headers)
    assert not [name for name in names if name.startswith("x-aiclient")]
    assert "x-other" in names


async def test_repeated_headers_and_their_order_survive(calls: Calls, fakes: Fakes) -> None:
    """A header given twice arrives twice."""
    node = fakes()
    await calls(node.url).get(headers=[("X-Tag", "one"), ("X-Tag", "two")])
    assert node.requests[-1].headers["x-tag"] == "one, two"


async def test_a_nodes_path_comes_first(calls: Calls, fakes: Fakes) -> None:
    """A node below a prefix gets the prefix before each request's own path and query."""
    node = fakes()
    caller = calls(f"{node.url}/team/a", base_url="http://llm/v1")
    response = await caller.get("/models?x=%2F", params={"x": "a b"})
    assert node.requests[-1].path == "/team/a/v1/models?x=a+b"
    assert str(response.url) == "http://llm/v1/models?x=a+b"


async def test_the_service_stays_logical(calls: Calls, fakes: Fakes) -> None:
    """Neither the request's nor the response's URL names a node."""
    caller = calls(fakes().url)
    response = await caller.get()
    assert str(response.url) == "http://aiclient.invalid/v1/models"
    assert str(response.request.url) == "http://aiclient.invalid/v1/models"
    other = await caller.get("https://user-chosen.example:99/v1/models")
    assert str(other.url) == "https://user-chosen.example:99/v1/models"


async def test_every_authority_goes_to_a_node(calls: Calls, fakes: Fakes) -> None:
    """Whatever host a request names, a node of the service gets it, and nobody else."""
    node = fakes()
    caller = calls(node.url, base_url="http://llm/v1")
    for url in ("models", "http://other/v1/models", "http://127.0.0.1:9/v1/models"):
        assert (await caller.get(url)).status_code == 200
    assert len(node.requests) == 3


async def test_responses_headers_survive(calls: Calls, scripted: Scripted) -> None:
    """Repeated, oddly cased and non-ASCII headers of an answer reach the caller unharmed."""
    node = scripted(replies(answer(b"", 200, "X-Twice: 1", "x-twice: 2", "X-Name: J\xe9r\xf4me")))
    response = await calls(node.url).get()
    assert response.headers.get_list("x-twice") == ["1", "2"]
    assert response.headers["x-name"] == "J\xe9r\xf4me"


async def test_reason_and_version_survive(calls: Calls, scripted: Scripted) -> None:
    """The status line's own words, the version and the time taken are what httpx shows."""
    node = scripted(replies(b"HTTP/1.1 200 Fine By Me\r\ncontent-length: 0\r\n\r\n"))
    response = await calls(node.url).get()
    assert response.reason_phrase == "Fine By Me"
    assert response.http_version == "HTTP/1.1"
    assert response.elapsed.total_seconds() > 0


async def test_bytes_that_are_no_ascii_in_a_requests_header(calls: Calls, fakes: Fakes) -> None:
    """Header values given as bytes are passed on as they are."""
    node = fakes()
    await calls(node.url).get(headers={b"X-Name": "J\xe9r\xf4me".encode("latin-1")})
    assert node.requests[-1].headers["x-name"] == "J\xe9r\xf4me"


async def test_a_header_that_must_not_be_sent(calls: Calls, fakes: Fakes) -> None:
    """An illegal header is the caller's mistake: no retry, no fault, and its value stays secret."""
    node = fakes()
    caller = calls([node.url, fakes().url])
    with pytest.raises(httpx.LocalProtocolError) as caught:
        await caller.post(CHAT, headers={"Authorization": "Bearer sk-canary\n"})
    shown = [str(caught.value), *caught.value.__notes__, repr(caller.balancer)]
    assert not [text for text in shown if "canary" in text]
    assert caught.value.__cause__ is None
    assert len(aiclient.attempts_of(caught.value)) == 1
    assert [node.failed for node in caller.balancer.snapshot()] == [0, 0]
    assert (await caller.get(MODELS)).status_code == 200
