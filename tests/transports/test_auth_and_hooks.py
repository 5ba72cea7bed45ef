"""What httpx does above the transport works as always: auth, cookies, hooks, parameters."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pytest_httpserver import HTTPServer

import aiclient
from aiclient.testing import FakeNode

from .family import clients, httpx
from .helpers import MODELS, Caller, done, nodes_of, tried
from .nodes import ScriptedNode, answer, replies

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio


async def test_basic_auth(calls: Calls, fakes: Fakes) -> None:
    """Credentials of the client go to every node of the service."""
    nodes = [fakes(), fakes()]
    caller = calls([n.url for n in nodes], auth=("me", "pw"), picker=aiclient.RoundRobin())
    for _ in range(2):
        await caller.get()
    assert [n.requests[-1].headers["authorization"] for n in nodes] == ["Basic bWU6cHc="] * 2


async def test_credentials_in_the_base_url(calls: Calls, fakes: Fakes) -> None:
    """httpx's `user:password@` in the logical URL is basic auth, too."""
    node = fakes()
    await calls(node.url, base_url="http://me:pw@llm").get()
    assert node.requests[-1].headers["authorization"] == "Basic bWU6cHc="


async def test_digest_auth(calls: Calls, scripted: Scripted) -> None:
    """A challenge is answered, although it took a 401 from more than one node to get it."""
    challenge = 'www-authenticate: Digest realm="x", nonce="abc", qop="auth", algorithm=MD5'

    def script(connection: Any) -> None:
        while True:
            allowed = "authorization" in connection.request().headers
            connection.send(answer() if allowed else answer(b"", 401, challenge))

    nodes = [scripted(script), scripted(script)]
    caller = calls(nodes_of(*nodes), auth=httpx.DigestAuth("me", "pw"))
    response = await caller.get()
    assert response.status_code == 200
    sent = response.request.headers["authorization"]
    assert 'nonce="abc"' in sent
    assert 'uri="/v1/models"' in sent


async def test_an_auth_flow_with_a_token_of_its_own(calls: Calls, fakes: Fakes) -> None:
    """A flow may make requests in between; each is balanced like any other."""
    node = fakes(api_key="fresh")

    class Refresh(httpx.Auth):
        requires_response_body = True

        def auth_flow(self, request: httpx.Request) -> Any:
            response = yield request
            if response.status_code == 401:
                token = yield httpx.Request("GET", "http://aiclient.invalid/health")
                assert token.json() == {"status": "ok"}
                request.headers["Authorization"] = "Bearer fresh"
                yield request

    response = await calls(node.url, auth=Refresh()).post()
    assert response.status_code == 200
    assert [request.path for request in node.requests][-2:] == ["/health", "/v1/chat/completions"]


async def test_cookies_belong_to_the_service(calls: Calls, scripted: Scripted) -> None:
    """What one node sets, every node gets: the cookie's domain is the logical service."""
    a = scripted(replies(answer(b"{}", 200, "set-cookie: session=s1; Path=/; HttpOnly")))
    b = scripted(replies(answer()))
    caller = calls(nodes_of(a, b), base_url="http://llm.internal")
    await caller.get()
    caller.balancer.drain("a")
    await caller.get()
    assert b.requests[-1].headers["cookie"] == "session=s1"
    assert [cookie.domain for cookie in caller.client.cookies.jar] == ["llm.internal"]


async def test_cookies_are_given_and_set_as_with_httpx(calls: Calls, scripted: Scripted) -> None:
    """To the client when it is made, to the client later, and replaced as a whole."""
    node = scripted(replies(answer()))
    caller = calls(node.url, base_url="http://llm.internal", cookies={"given": "1"})
    await caller.get()
    assert node.requests[-1].headers["cookie"] == "given=1"
    caller.client.cookies.set("added", "2")
    await caller.get()
    assert node.requests[-1].headers["cookie"] == "given=1; added=2"
    caller.client.cookies = {"new": "3"}
    await caller.get()
    assert node.requests[-1].headers["cookie"] == "new=3"
    assert isinstance(caller.client.cookies, httpx.Cookies)


async def test_a_cookie_for_a_nodes_own_domain_is_refused(calls: Calls, scripted: Scripted) -> None:
    """A node cannot set cookies for its address, which is not the service's name."""
    node = scripted(replies(answer(b"{}", 200, "set-cookie: x=1; Domain=node7.example")))
    caller = calls(node.url, base_url="http://llm.internal")
    await caller.get()
    assert not caller.client.cookies


async def test_event_hooks_see_the_logical_call_once(
    calls: Calls, fakes: Fakes, flavour: str
) -> None:
    """Hooks run once per call of the user's, retries or not."""
    a, b = fakes(), fakes()
    a.fault("503")
    seen: list[str] = []

    def on_request(request: httpx.Request) -> None:
        seen.append(f"> {request.url}")

    def on_response(response: httpx.Response) -> None:
        seen.append(f"< {response.status_code} {tried(response)}")

    async def on_request_later(request: httpx.Request) -> None:
        on_request(request)

    async def on_response_later(response: httpx.Response) -> None:
        on_response(response)

    now = {"request": [on_request], "response": [on_response]}
    later = {"request": [on_request_later], "response": [on_response_later]}
    caller = calls(nodes_of(a, b), event_hooks=now if flavour == "sync" else later)
    await caller.post()
    assert seen == ["> http://aiclient.invalid/v1/chat/completions", "< 200 ['a', 'b']"]


async def test_client_wide_options(calls: Calls, fakes: Fakes) -> None:
    """`params`, `headers`, `cookies` and `base_url` with a path are merged in as ever."""
    node = fakes()
    caller = calls(
        node.url,
        params={"tenant": "t"},
        headers={"X-A": "1"},
        cookies={"c": "2"},
        base_url="http://llm/v1/",
    )
    response = await caller.get("models", params={"page": 3})
    request = node.requests[-1]
    assert request.path == "/v1/models?tenant=t&page=3"
    assert (request.headers["x-a"], request.headers["cookie"]) == ("1", "c=2")
    assert str(response.url) == "http://llm/v1/models?tenant=t&page=3"


async def test_raise_for_status_and_timings(calls: Calls, fakes: Fakes) -> None:
    """The response is as complete as httpx's own."""
    node = fakes()
    node.fault("500")
    response = await calls(node.url, retry=None).get()
    with pytest.raises(httpx.HTTPStatusError, match=r"aiclient\.invalid"):
        response.raise_for_status()
    assert response.elapsed.total_seconds() > 0
    assert response.reason_phrase == "Internal Server Error"


async def test_a_users_own_trace_is_called(calls: Calls, fakes: Fakes, flavour: str) -> None:
    """httpcore's `trace` extension reports the request's steps."""
    steps: list[str] = []

    def trace(name: str, info: Any) -> None:
        steps.append(name)

    async def trace_later(name: str, info: Any) -> None:
        trace(name, info)

    hook = trace if flavour == "sync" else trace_later
    await calls(fakes().url).get(extensions={"trace": hook})
    assert "http11.send_request_headers.started" in steps
    assert "http11.receive_response_body.complete" in steps


async def test_plain_behaviour_against_another_server(calls: Calls, httpserver: HTTPServer) -> None:
    """A server not of our making (werkzeug, which closes each connection) is as good."""
    httpserver.expect_request("/v1/models", query_string="x=1").respond_with_json({"data": []})
    httpserver.expect_request("/v1/echo", method="POST", json={"a": 1}).respond_with_data("done")
    caller = calls(httpserver.url_for(""))
    for _ in range(3):
        assert (await caller.get(MODELS, params={"x": 1})).json() == {"data": []}
    assert (await caller.request("POST", "/v1/echo", json={"a": 1})).text == "done"
    assert (await caller.get("/none")).status_code == 500
    httpserver.clear_assertions()
    httpserver.clear_log()


async def test_a_transport_in_a_plain_httpx_client(fakes: Fakes, flavour: str) -> None:
    """The transports work in httpx's own clients, and mounted for one host of many."""
    node = fakes()
    balancer = aiclient.Balancer([node.url])
    kind: Any = httpx.Client if flavour == "sync" else httpx.AsyncClient
    transport: Any = (
        clients.BalancedTransport if flavour == "sync" else clients.AsyncBalancedTransport
    )
    other = httpx.MockTransport(lambda request: httpx.Response(418))
    client = kind(mounts={"all://llm": transport(balancer)}, transport=other)
    assert (await done(client.get("http://llm/v1/models"))).status_code == 200
    assert (await done(client.get("http://elsewhere/"))).status_code == 418
    await done(client.close() if flavour == "sync" else client.aclose())
    assert not balancer.closed
    assert threading.active_count() < 50


async def test_traced_calls_and_others_take_turns(
    calls: Calls, fakes: Fakes, flavour: str, caplog: pytest.LogCaptureFixture
) -> None:
    """On one connection; and httpcore's own log says what it always said."""
    steps: list[str] = []

    def trace(name: str, info: Any) -> None:
        steps.append(name)

    async def trace_later(name: str, info: Any) -> None:
        trace(name, info)

    node = fakes()
    caller = calls(node.url)
    hook = trace if flavour == "sync" else trace_later
    for turn in range(3):
        assert (await caller.get(extensions={"trace": hook})).status_code == 200
        assert steps.count("http11.receive_response_body.complete") == turn + 1
        plain = await caller.post(content=b"{}")
        assert (plain.http_version, plain.reason_phrase) == ("HTTP/1.1", "OK")
        assert plain.extensions["network_stream"].get_extra_info("server_addr")[1] == node.port
    assert len(steps) == 3 * steps.index("http11.response_closed.complete") + 3
    with caplog.at_level("DEBUG", logger=httpx.__name__.replace("httpx", "httpcore")):
        await caller.get()
    said = [record.message.partition(" ")[0] for record in caplog.records]
    assert "receive_response_headers.complete" in said
    assert node.connections == 1
