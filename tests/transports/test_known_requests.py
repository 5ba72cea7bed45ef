"""A client builds the requests httpx would, the first of a sort and those made after it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from aiclient.testing import FakeNode

from .family import clients, httpx
from .helpers import CHAT, Caller

Fakes = Callable[..., FakeNode]
BASE = "http://me@llm:81/v1"
BODY = b'{"model": "m"}'
MANY = [("Authorization", "Bearer k"), ("accept", "application/json"), ("x-a", "1"), ("X-A", "2")]


SORTS: list[dict[str, Any]] = [
    {},
    {"content": BODY},
    {"content": b""},
    {"content": "text"},
    {"content": BODY, "headers": MANY, "data": None, "files": None, "params": None},
    {"content": BODY, "headers": dict(MANY)},
    {"content": BODY, "headers": httpx.Headers(MANY)},
    {"content": BODY, "headers": [(b"x-a", b"\xff")]},
    {"content": BODY, "headers": tuple(MANY)},
    {"content": BODY, "headers": [["x-list", "1"]]},
    {"content": BODY, "headers": [("Content-Length", str(len(BODY)))]},
    {"content": BODY, "headers": [("content-length", "3")]},
    {"content": BODY, "headers": [("Transfer-Encoding", "chunked")]},
    {"content": BODY, "headers": [("Host", "other")]},
    {"content": BODY, "headers": [("User-Agent", "own"), ("Connection", "close")]},
    {"content": BODY, "timeout": 3},
    {"content": BODY, "timeout": None},
    {"content": BODY, "timeout": httpx.Timeout(1, read=2)},
    {"content": BODY, "extensions": {"a": 1}},
    {"content": BODY, "extensions": {"timeout": {"read": 1}}, "timeout": 3},
    {"content": BODY, "params": {"page": 2}},
    {"content": BODY, "cookies": {"c": "1"}},
    {"json": {"a": 1}},
    {"json": {"\xe4": [1.5, None, True, "\u2028"]}, "headers": MANY, "content": None},
    {"json": {"a": 1}, "headers": [("content-type", "application/vnd.a+json")]},
    {"json": {"a": 1}, "headers": [("Content-Length", "7")]},
    {"json": {"a": 1}, "content": BODY},
    {"json": {"a": 1}, "data": {"b": "2"}},
    {"json": 0},
    {"json": ""},
    {"data": {"a": 1}},
    {"files": {"a": b"1"}, "headers": [("Content-Type", "multipart/form-data; boundary=b")]},
    {"content": (part for part in [b"x"])},
]
URLS = ["/chat", "chat?a=b", "", "http://x/v2/chat", "http://x:99/", httpx.URL("/chat")]


def pair(flavour: str, **options: Any) -> tuple[Any, Any]:
    """Our client, and httpx's own."""
    ours, theirs = (
        (clients.Client, httpx.Client)
        if flavour == "sync"
        else (clients.AsyncClient, httpx.AsyncClient)
    )
    options = {"base_url": BASE, "timeout": 7, **options}
    return ours("http://10.0.0.1:1", **options), theirs(**options)


def described(request: httpx.Request) -> dict[str, Any]:
    """All there is to a request."""
    content = getattr(request, "_content", None)
    return {
        "method": request.method,
        "url": request.url,
        "headers": request.headers.raw,
        "extensions": request.extensions,
        "content": content,
        "stream": type(request.stream),
        "sent": content if content is None else b"".join(request.stream),  # type: ignore[arg-type]
    }


def assert_alike(ours: Any, theirs: Any, method: str, url: Any, options: dict[str, Any]) -> None:
    """Several times, with bodies of several lengths."""
    for length in (3, 1, 2):
        given = dict(options)
        if type(options.get("content")) is bytes and options["content"]:
            given["content"] = BODY * length
        elif "json" in options:
            given["json"] = [options["json"]] * length
        mine = ours.build_request(method, url, **given)
        assert described(mine) == described(theirs.build_request(method, url, **given))
        assert type(mine) is httpx.Request


@pytest.mark.parametrize("flavour", ["sync", "asyncio"])
@pytest.mark.parametrize("options", SORTS, ids=range(len(SORTS)))
def test_each_is_as_httpx_builds_it(flavour: str, options: dict[str, Any]) -> None:
    """Whatever the method, the URL and the arguments."""
    ours, theirs = pair(flavour)
    for _ in range(2):
        for url in URLS:
            for method in ("POST", "get", "PATCH"):
                assert_alike(ours, theirs, method, url, options)


def test_what_changes_on_the_client_changes_its_requests() -> None:
    """Headers, also in place; cookies, parameters, timeout and base URL."""
    clients_ = pair("sync")
    changes: list[Callable[[Any], object]] = [
        lambda client: client.headers.update({"x-new": "1"}),
        lambda client: client.headers.__setitem__("x-new", "2"),
        lambda client: client.headers.pop("user-agent"),
        lambda client: setattr(client, "headers", {"x-all": "3"}),
        lambda client: setattr(client, "timeout", 1),
        lambda client: setattr(client, "base_url", "http://elsewhere/v2"),
        lambda client: client.cookies.set("c", "1"),
        lambda client: client.cookies.clear(),
        lambda client: setattr(client, "params", {"tenant": "t"}),
        lambda client: setattr(client, "params", None),
        lambda client: client.headers.update({"content-length": "3"}),
        lambda client: client.headers.update({"host": "me"}),
    ]
    for change in changes:
        assert_alike(*clients_, "POST", "/chat", {"content": BODY, "headers": MANY})
        for client in clients_:
            change(client)
        assert_alike(*clients_, "POST", "/chat", {"content": BODY, "headers": MANY})


def test_what_is_done_to_one_request_is_not_seen_in_the_next() -> None:
    """They share nothing that can be changed."""
    ours, theirs = pair("sync")
    extensions: dict[str, Any] = {}
    for _ in range(3):
        request = ours.build_request("POST", "/chat", content=BODY, extensions=extensions)
        request.headers["x-hook"] = "\xe4"
        del request.headers["accept"]
        request.extensions["timeout"]["read"] = 99
    assert not extensions
    assert_alike(ours, theirs, "POST", "/chat", {"content": BODY})


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"headers": [("x-a", "\xe4")]}, UnicodeEncodeError),
        ({"headers": [("x-a", 5)]}, TypeError),
        ({"content": 5}, TypeError),
        ({"content": BODY, "nothing": None}, TypeError),
        ({"json": {b"a"}}, TypeError),
        ({"json": float("nan")}, ValueError),
        ({"json": "\ud800"}, UnicodeEncodeError),
    ],
)
def test_errors_are_httpxs(options: dict[str, Any], error: type[Exception]) -> None:
    """Also after a good request."""
    ours, theirs = pair("sync")
    ours.build_request("POST", "/chat", content=BODY)
    ours.build_request("POST", "/chat", json={})
    for client in (ours, theirs, ours):
        with pytest.raises(error):
            client.build_request("POST", "/chat", **options)


def test_the_memory_is_bounded() -> None:
    """A URL or a header that changes with each call does not add up."""
    ours, _ = pair("sync")
    for number in range(1000):
        ours.build_request("POST", f"/{number}", content=BODY, headers={"x-id": str(number)})
        memory = ours._requests._memory
        assert len(memory.urls) <= 256
        assert len(memory.requests) <= 256


@pytest.mark.anyio
async def test_bodies_of_different_lengths_arrive(
    calls: Callable[..., Caller], fakes: Fakes
) -> None:
    """Each with its own length, over one connection."""
    node = fakes()
    caller = calls(node.url)
    for length in (1, 1000, 10):
        body = {"model": "m", "messages": [{"role": "user", "content": "x" * length}]}
        content = json.dumps(body).encode()
        response = await caller.post(CHAT, content=content, headers=MANY)
        assert response.status_code == 200
        assert node.requests[-1].body == content
        assert node.requests[-1].headers["content-length"] == str(len(content))
