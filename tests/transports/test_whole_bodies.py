"""A body read to its end leaves a response as httpx leaves it."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from .family import FAMILY, httpx
from .helpers import CHAT, MODELS, Caller, done
from .nodes import ScriptedNode, answer, chunked, once, replies

if TYPE_CHECKING or FAMILY == "httpx":
    from aiclient.transports import whole_bodies
else:
    from aiclient.httpx2 import whole_bodies

Calls = Callable[..., Caller]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio
HIDDEN = {"_request", "_elapsed", "stream", "extensions", "headers", "_decoder"}


def state(response: httpx.Response) -> dict[str, Any]:
    """All that a response is, but for what differs from call to call."""
    return {name: value for name, value in vars(response).items() if name not in HIDDEN}


@pytest.mark.parametrize(
    "reply",
    [
        answer(b'{"a": 1}'),
        answer(b""),
        answer(gzip.compress(b'{"a": 1}'), 200, "content-encoding: gzip"),
        answer(b"{}", 200, "content-encoding: identity"),
        answer(b"<html>", 200, "content-type: text/html; charset=latin-1"),
        answer(b"no", 418),
        chunked(b'{"a"', b": 1}"),
    ],
    ids=range(7),
)
@pytest.mark.parametrize("path", [CHAT, MODELS])
async def test_the_response_is_as_httpx_leaves_it(
    calls: Calls, scripted: Scripted, flavour: str, reply: bytes, path: str
) -> None:
    """Content, bytes counted, closed and consumed; and its time is known."""
    node = scripted(replies(reply))
    caller = calls(node.url, retry=None)
    ours = await caller.request("POST", path, content=b"{}")
    kind: Any = httpx.Client if flavour == "sync" else httpx.AsyncClient
    plain = kind(base_url=node.url)
    theirs = await done(plain.request("POST", path, content=b"{}"))
    await done(plain.close() if flavour == "sync" else plain.aclose())
    assert state(ours) == state(theirs)
    assert ours.headers == theirs.headers
    assert ours.elapsed.total_seconds() > 0
    assert ours.text == theirs.text
    assert [*ours.iter_bytes(1)] == [*theirs.iter_bytes(1)]
    with pytest.raises(httpx.StreamConsumed):
        list(ours.iter_raw())
    if flavour == "sync":
        assert ours.read() is ours.content
    else:
        assert await ours.aread() is ours.content


async def test_a_hook_may_read_it_first(calls: Calls, scripted: Scripted, flavour: str) -> None:
    """And what a hook has consumed is not there any more, as in httpx."""
    node = scripted(replies(answer(b"{}")))

    def read(response: Any) -> None:
        response.read()

    async def aread(response: Any) -> None:
        await response.aread()

    def consume(response: Any) -> None:
        list(response.iter_raw())

    async def aconsume(response: Any) -> None:
        [part async for part in response.aiter_raw()]

    hooks = (read, consume) if flavour == "sync" else (aread, aconsume)
    caller = calls(node.url, event_hooks={"response": hooks[:1]})
    assert (await caller.get()).content == b"{}"
    caller = calls(node.url, event_hooks={"response": hooks[1:]})
    with pytest.raises(httpx.StreamConsumed):
        await caller.get()


async def test_an_error_in_the_body_knows_its_request(calls: Calls, scripted: Scripted) -> None:
    """As every error of httpx's does; and the connection is not used again."""
    node = scripted(once(answer(b"{}")[:-1]))
    caller = calls(node.url, retry=None)
    with pytest.raises(httpx.ReadError) as caught:
        await caller.get()
    assert caught.value.request.url.path == MODELS


async def test_a_stream_stays_open(calls: Calls, scripted: Scripted) -> None:
    """What is to be streamed is not read."""
    node = scripted(replies(answer(b"{}")))
    caller = calls(node.url)
    request = caller.client.build_request("GET", MODELS)
    response = await done(caller.client.send(request, stream=True))
    assert not response.is_closed
    assert b"".join([piece async for piece in caller.pieces(response)]) == b"{}"
    assert response.is_closed


async def test_the_log_line_is_httpxs(
    calls: Calls, scripted: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    """Method, URL, version, status and reason."""
    node = scripted(replies(answer(b"{}")))
    with caplog.at_level(logging.INFO, logger=httpx.__name__):
        await calls(node.url).get()
    said = [record.message for record in caplog.records if record.name == httpx.__name__]
    assert said == [f'HTTP Request: GET http://aiclient.invalid{MODELS} "HTTP/1.1 200 Whatever"']


def test_httpx_is_known() -> None:
    """Else everything would be read the long way."""
    assert whole_bodies._known
