"""Until its first content has been handed over, an answer can be replaced; after that, never."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

import aiclient
from aiclient import RetryPolicy
from aiclient.testing import FakeNode

from .family import httpx
from .helpers import CHAT, MODELS, Caller, in_flight, nodes_of, tried
from .nodes import Connection, Script, ScriptedNode, answer, body_of, chunk, chunked, once, replies

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio

MEBIBYTE = 1024 * 1024
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
GOOD = b'data: {"choices": [{"delta": {"content": "hi"}}]}\n\n'
ERROR = b'data: {"error": {"message": "out of memory"}}\n\n'
DONE = b"data: [DONE]\n\n"
STREAM = {"stream": True}


async def streamed(
    caller: Caller, got: list[bytes] | None = None
) -> tuple[list[bytes], httpx.Response]:
    """The pieces of a stream, and its response."""
    pieces = [] if got is None else got
    async with caller.stream("POST", CHAT, json=STREAM) as response:
        async for piece in caller.pieces(response):
            pieces.append(piece)
    return pieces, response


def stages(*raw: bytes) -> tuple[Script, threading.Semaphore]:
    """Sends one part after the other, each when the semaphore lets it."""
    turn = threading.Semaphore(0)

    def script(connection: Connection) -> None:
        connection.request()
        for data in raw:
            assert turn.acquire(timeout=20)
            connection.send(data)

    return script, turn


@pytest.mark.parametrize(
    "before",
    [
        b"",
        HEAD,
        HEAD + chunk(b": queued\n\n"),
        HEAD + chunk(b": queued\n\n") + chunk(b": still queued\n\n: and"),
        HEAD + chunk(b"\n\n"),
        HEAD + chunk(b"\r\n: x\r\n\r\n"),
        HEAD[:-40],
        HEAD + b"1",
        HEAD + b"20\r\ndata: {",
    ],
)
async def test_a_stream_cut_before_its_first_content_moves(
    calls: Calls, scripted: Scripted, before: bytes
) -> None:
    """However far it came short of content, the caller never learns of it."""
    bad, good = scripted(once(before)), scripted(replies(chunked(GOOD, DONE)))
    caller = calls(nodes_of(bad, good))
    pieces, response = await streamed(caller)
    assert b"".join(pieces) == GOOD + DONE
    assert tried(response) == ["a", "b"]
    assert [node.failed for node in caller.balancer.snapshot()] == [1, 0]
    assert in_flight(caller.balancer) == 0


@pytest.mark.parametrize(
    "event",
    [
        ERROR,
        b"event: error\ndata: {}\n\n",
        b"event:error\r\ndata: overloaded\r\n\r\n",
        b": ping\n\n" + ERROR,
        b'data:{"error":"boom"}\n\n',
        b'data: { "error" : "boom" }\n\n',
    ],
)
async def test_an_error_event_first_moves(calls: Calls, scripted: Scripted, event: bytes) -> None:
    """A good status and then nothing but an error: another node is asked."""
    bad, good = scripted(replies(chunked(event, DONE))), scripted(replies(chunked(GOOD, DONE)))
    caller = calls(nodes_of(bad, good))
    pieces, response = await streamed(caller)
    assert b"".join(pieces) == GOOD + DONE
    assert [attempt.outcome for attempt in response.extensions["aiclient"].attempts] == [
        "error event before content",
        "ok",
    ]


@pytest.mark.parametrize("cut", range(1, len(ERROR)))
async def test_an_error_event_in_two_pieces_moves(
    calls: Calls, scripted: Scripted, cut: int
) -> None:
    """Wherever the network cuts it in two."""
    bad = scripted(replies(HEAD + chunk(ERROR[:cut]) + chunk(ERROR[cut:] + DONE) + b"0\r\n\r\n"))
    good = scripted(replies(chunked(GOOD, DONE)))
    _, response = await streamed(calls(nodes_of(bad, good)))
    assert tried(response) == ["a", "b"]


@pytest.mark.parametrize(
    "event", [b'data: {"error": null, "choices": []}\n\n', b'data: {"errors": 1}\n\n', GOOD]
)
async def test_what_only_looks_like_an_error(
    calls: Calls, scripted: Scripted, event: bytes
) -> None:
    """An `error` field that says none is content."""
    node = scripted(replies(chunked(event, DONE)))
    pieces, response = await streamed(calls(nodes_of(node, node.url + "/other")))
    assert b"".join(pieces) == event + DONE
    assert tried(response) == ["a"]


async def test_the_last_attempts_error_event_is_the_callers(
    calls: Calls, scripted: Scripted
) -> None:
    """When no attempt is left the caller gets the error event itself, and each node a fault."""
    bad = [scripted(replies(chunked(ERROR, DONE))) for _ in range(2)]
    caller = calls(nodes_of(*bad), retry=RetryPolicy(attempts=2))
    pieces, response = await streamed(caller)
    assert b"".join(pieces) == ERROR + DONE
    assert tried(response) == ["a", "b"]
    assert [node.failed for node in caller.balancer.snapshot()] == [1, 1]
    assert in_flight(caller.balancer) == 0


async def test_the_first_chunk_is_handed_over_at_once(calls: Calls, scripted: Scripted) -> None:
    """Holding back costs no time: the first event arrives while the rest is not yet made."""
    script, turn = stages(HEAD + chunk(GOOD), chunk(DONE) + b"0\r\n\r\n")
    caller = calls(nodes_of(scripted(script), "http://127.0.0.1:9"))
    turn.release()
    async with caller.stream("POST", CHAT, json=STREAM) as response:
        pieces = []
        async for piece in caller.pieces(response):
            pieces.append(piece)
            turn.release()
    assert pieces == [GOOD, DONE]


async def test_after_the_first_byte_nothing_is_retried(calls: Calls, fakes: Fakes) -> None:
    """A stream that has begun and breaks is `StreamInterrupted`, with all there is to know."""
    bad, good = fakes(), fakes()
    bad.fault("cut_mid_stream", tokens=3)
    caller = calls(nodes_of(bad, good))
    got: list[bytes] = []
    with pytest.raises(aiclient.StreamInterrupted) as caught:
        await streamed(caller, got)
    assert b"".join(got).count(b"data: ") == 4
    assert isinstance(caught.value, httpx.ReadError)
    assert "a broke off its answer" in str(caught.value)
    assert tried(caught.value) == ["a"]
    assert caught.value.__notes__[0].startswith("aiclient tried 1 time(s): a (")
    assert str(caught.value.request.url) == "http://aiclient.invalid/v1/chat/completions"
    assert good.requests.total == 0
    assert [node.failed for node in caller.balancer.snapshot()] == [1, 0]
    assert in_flight(caller.balancer) == 0


@pytest.mark.parametrize("where", [0, 1, 100, MEBIBYTE // 2, MEBIBYTE - 1])
async def test_a_json_body_cut_anywhere_moves(calls: Calls, scripted: Scripted, where: int) -> None:
    """Up to the limit a JSON answer is read whole before it is handed over."""
    whole = answer(body_of(MEBIBYTE))
    start = len(whole) - MEBIBYTE
    bad, good = scripted(once(whole[: start + where])), scripted(replies(whole))
    response = await calls(nodes_of(bad, good)).post()
    assert len(response.content) == MEBIBYTE
    assert tried(response) == ["a", "b"]


@pytest.mark.parametrize("framing", ["length", "chunks"])
@pytest.mark.parametrize(("size", "moves"), [(MEBIBYTE, True), (MEBIBYTE + 1, False)])
async def test_the_limit_is_exact(
    calls: Calls, scripted: Scripted, framing: str, size: int, moves: bool
) -> None:
    """One byte over 1 MiB is handed over as it comes; its end cannot be repaired any more."""
    body = body_of(size)
    kind = "application/json"
    cut = answer(body)[:-1] if framing == "length" else chunked(body, kind=kind)[:-5]
    bad, good = scripted(once(cut)), scripted(replies(answer(b'{"good": 1}')))
    caller = calls(nodes_of(bad, good))
    if moves:
        assert (await caller.post()).json() == {"good": 1}
        return
    with pytest.raises(aiclient.StreamInterrupted):
        await caller.post()
    assert good.accepted == 0


async def test_a_large_json_body_arrives_whole(calls: Calls, scripted: Scripted) -> None:
    """What was held back when the limit was passed comes first, in order, then the rest."""
    body = body_of(3 * MEBIBYTE)
    pieces = [body[at : at + 1000] for at in range(0, len(body), 1000)]
    node = scripted(replies(chunked(*pieces, kind="application/json"), answer(body)))
    caller = calls(nodes_of(node, "http://127.0.0.1:9"))
    for _ in range(2):
        assert (await caller.post()).content == body
    assert node.accepted == 1


@pytest.mark.parametrize("size", [0, 10])
async def test_hold_body_is_a_setting(calls: Calls, scripted: Scripted, size: int) -> None:
    """0 hands over at once; 10 holds ten bytes."""
    bad = scripted(once(answer(b'{"x": 1234567}')[:-1]))
    good = scripted(replies(answer(b"{}")))
    with pytest.raises(aiclient.StreamInterrupted):
        await calls(nodes_of(bad, good), retry=RetryPolicy(hold_body=size)).post()


@pytest.mark.parametrize("kind", ["application/json", "application/problem+json; charset=utf-8"])
async def test_what_counts_as_json(calls: Calls, scripted: Scripted, kind: str) -> None:
    """By the content type, with or without parameters."""
    bad = scripted(once(answer(b'{"x": 1}', kind=kind)[:-2]))
    good = scripted(replies(answer(b"{}", kind=kind)))
    assert tried(await calls(nodes_of(bad, good)).post()) == ["a", "b"]


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_other_routes_are_not_held(calls: Calls, scripted: Scripted, method: str) -> None:
    """Only inference routes are: elsewhere a body is handed over as it comes."""
    bad, good = scripted(once(answer(b'{"x": 1}')[:-2])), scripted(replies(answer()))
    caller = calls(nodes_of(bad, good))
    with pytest.raises(httpx.ReadError):
        await caller.request(method, MODELS, headers={"Idempotency-Key": "k"})
    assert good.accepted == 0


async def test_a_call_that_may_not_be_repeated_is_not_held(
    calls: Calls, scripted: Scripted
) -> None:
    """`idempotent=False` gets its answer as it comes, and its fault as it is."""
    bad, good = scripted(once(answer(b'{"x": 1}')[:-2])), scripted(replies(answer()))
    options = aiclient.CallOptions(idempotent=False)
    with pytest.raises(aiclient.StreamInterrupted):
        await calls(nodes_of(bad, good)).post(extensions={"aiclient": options})
    assert good.accepted == 0
