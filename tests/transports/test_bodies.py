"""Bodies in both directions: large, streamed, compressed, absent, and never sent twice."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import socket
import threading
import time
from collections.abc import Callable

import pytest

import aiclient
from aiclient.testing import FakeNode

from .family import httpx
from .helpers import CHAT, NOWHERE, Caller, done, in_flight, nodes_of, tried
from .nodes import Connection, ScriptedNode, answer, chunked, once, replies

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio
MEGABYTE = 1024 * 1024


async def test_a_large_upload(calls: Calls, fakes: Fakes) -> None:
    """20 MB arrive as they were sent."""
    node = fakes()
    body = bytes(range(256)) * (80 * 1024)
    await calls(node.url).request("PUT", "/v1/files/1", content=body)
    assert hashlib.md5(node.requests[-1].body).digest() == hashlib.md5(body).digest()


async def test_a_large_download(calls: Calls, scripted: Scripted) -> None:
    """So do 20 MB in the other direction, plain and in chunks, and the connection is kept."""
    body = bytes(range(256)) * (80 * 1024)
    node = scripted(replies(answer(body, kind=""), chunked(body, body, kind="")))
    caller = calls(node.url)
    assert (await caller.get()).content == body
    assert (await caller.get()).content == body * 2
    assert node.accepted == 1


# httpx leaves its own generators half-read when a caller stops reading, of which trio complains.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_slow_reader_holds_the_node_back(calls: Calls, scripted: Scripted) -> None:
    """What the caller does not read is not fetched: the node blocks, memory does not fill."""
    sent = [0]
    blocked = threading.Event()

    def script(connection: Connection) -> None:
        connection.request()
        connection.sock.settimeout(0.3)
        connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        try:
            while True:
                sent[0] += connection.sock.send(bytes(MEGABYTE))
        except TimeoutError:
            blocked.set()

    node = scripted(script)
    caller = calls(node.url)
    async with caller.stream("GET", "/big") as response:
        await anext(caller.pieces(response))
        blocked.wait(20)
    assert sent[0] < 100 * MEGABYTE
    assert in_flight(caller.balancer) == 0


async def test_a_generator_is_sent_as_it_comes(calls: Calls, scripted: Scripted) -> None:
    """The node has the first piece before the second one is made."""
    first = threading.Event()
    bodies: list[bytes] = []

    def script(connection: Connection) -> None:
        data = b""
        while b"one" not in data:
            data += connection.sock.recv(65536)
        first.set()
        while not data.endswith(b"0\r\n\r\n"):
            data += connection.sock.recv(65536)
        bodies.append(data.partition(b"\r\n\r\n")[2])
        connection.send(answer())

    node = scripted(script)
    caller = calls(node.url)

    def pieces() -> object:
        yield b"one"
        assert first.wait(20)
        yield b"two"

    async def later() -> object:
        for piece in pieces():  # type: ignore[attr-defined]
            yield piece

    body = pieces() if caller.is_sync else later()
    assert (await caller.request("POST", "/v1/files", content=body)).status_code == 200
    assert bodies == [b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"]


@pytest.mark.parametrize("fault", ["reset", "500", "503", "429", "hang"])
async def test_a_generator_is_never_sent_twice(calls: Calls, fakes: Fakes, fault: str) -> None:
    """Once a byte of it may have left, the first outcome is final, even on an inference route."""
    a, b = fakes(), fakes()
    a.fault(fault)
    caller = calls(nodes_of(a, b), timeout=httpx.Timeout(5, read=0.1))
    body = caller.body(b"{", b"}")
    if fault in ("reset", "hang"):
        with pytest.raises(httpx.TransportError):
            await caller.post(content=body)
    else:
        assert (await caller.post(content=body)).status_code == int(fault)
    assert (a.requests.total, b.requests.total) == (1, 0)


async def test_a_generator_goes_elsewhere_where_nothing_was_sent(
    calls: Calls, fakes: Fakes
) -> None:
    """A node that cannot be connected to has not touched the body: another one gets it, whole."""
    node = fakes()
    caller = calls(nodes_of(NOWHERE, node))
    response = await caller.post(content=caller.body(b'{"a":', b"1}"))
    assert tried(response) == ["a", "b"]
    assert node.requests[-1].body == b'{"a":1}'


async def test_multipart(calls: Calls, fakes: Fakes) -> None:
    """Files arrive, and are not sent again after a fault."""
    a, b = fakes(), fakes()
    a.fault("500", times=1)
    caller = calls(nodes_of(a, b))
    response = await caller.post("/v1/audio/transcriptions", files={"file": ("x.wav", b"RIFF")})
    assert response.status_code == 500
    assert b"RIFF" in a.requests[-1].body
    assert b.requests.total == 0


async def test_forms_and_json_are_replayed(calls: Calls, fakes: Fakes) -> None:
    """What httpx encodes into one piece of bytes can be sent again."""
    a, b = fakes(), fakes()
    a.fault("500")
    caller = calls(nodes_of(a, b))
    await caller.post(json={"n": 1})
    assert b.requests[-1].json() == {"n": 1}
    await caller.post("/v1/embeddings", data={"input": "x y"})
    assert b.requests[-1].body == b"input=x+y"


async def test_the_bodys_own_error_is_the_callers(calls: Calls, fakes: Fakes) -> None:
    """An exception out of the body to send is no fault of the node's, and reaches the caller."""
    node = fakes()
    caller = calls(node.url)

    def failing() -> object:
        yield b"x"
        raise FileNotFoundError("no such file")

    async def failing_later() -> object:
        for piece in failing():  # type: ignore[attr-defined]
            yield piece

    with pytest.raises(FileNotFoundError):
        await caller.post(content=failing() if caller.is_sync else failing_later())
    assert [seen.failed for seen in caller.balancer.snapshot()] == [0]
    assert in_flight(caller.balancer) == 0
    assert (await caller.post()).status_code == 200


async def test_an_early_answer_to_a_large_upload(calls: Calls, scripted: Scripted) -> None:
    """A node that refuses a body it has not read gets heard, although it closes at once."""

    def script(connection: Connection) -> None:
        connection.sock.recv(1000)
        connection.send(answer(b"too large", 413, "connection: close"))
        connection.wait_for_the_end()

    caller = calls(scripted(script).url)
    response = await caller.request("PUT", "/v1/files/1", content=bytes(500_000))
    assert (response.status_code, response.content) == (413, b"too large")


async def test_gzip(calls: Calls, scripted: Scripted) -> None:
    """Compressed answers are decoded by httpx, whether they were held back or not."""
    plain = json.dumps({"text": "x" * 1000}).encode()
    node = scripted(replies(answer(gzip.compress(plain), 200, "content-encoding: gzip")))
    caller = calls([node.url, NOWHERE])
    assert (await caller.post()).content == plain
    assert (await caller.get()).content == plain


async def test_head_has_no_body(calls: Calls, scripted: Scripted) -> None:
    """HEAD is answered by headers alone, and the connection is kept."""
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"
    node = scripted(replies(head, answer(b"{}")))
    caller = calls(node.url)
    response = await caller.request("HEAD", "/v1/models")
    assert (response.headers["content-length"], response.content) == ("99", b"")
    assert (await caller.get()).content == b"{}"
    assert node.accepted == 1
    assert in_flight(caller.balancer) == 0


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_a_body(calls: Calls, scripted: Scripted, status: int) -> None:
    """204 and 304 end with their headers."""
    node = scripted(replies(b"HTTP/1.1 %d x\r\netag: y\r\n\r\n" % status))
    caller = calls(node.url)
    for _ in range(2):
        response = await caller.post()
        assert (response.status_code, response.content) == (status, b"")
    assert node.accepted == 1


async def test_informational_answers_come_first(calls: Calls, scripted: Scripted) -> None:
    """100 Continue and 103 Early Hints are passed over."""
    hints = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    node = scripted(replies(hints + answer(b'{"ok":1}')))
    caller = calls(node.url)
    for _ in range(2):
        assert (await caller.post(headers={"Expect": "100-continue"})).json() == {"ok": 1}
    assert node.accepted == 1


async def test_upgraded_connections(calls: Calls, scripted: Scripted) -> None:
    """101 hands over the raw stream; the slot is held until the response is closed."""

    def script(connection: Connection) -> None:
        connection.request()
        connection.send(b"HTTP/1.1 101 Switching\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n")
        while data := connection.sock.recv(100):
            # Of what follows the upgrade the first-byte deadline knows nothing.
            time.sleep(0.15)
            connection.send(data.upper())

    caller = calls(scripted(script).url, deadlines=aiclient.Deadlines(first_byte=0.1))
    headers = {"connection": "upgrade", "upgrade": "echo"}
    async with caller.stream("GET", "/ws", headers=headers) as response:
        assert response.status_code == 101
        stream = response.extensions["network_stream"]
        for word in (b"one", b"two"):
            await done(stream.write(word))
            assert await done(stream.read(100)) == word.upper()
        assert in_flight(caller.balancer) == 1
    assert in_flight(caller.balancer) == 0
    assert [node.failed for node in caller.balancer.snapshot()] == [0]


async def test_http_1_0_and_bodies_that_end_with_the_connection(
    calls: Calls, scripted: Scripted
) -> None:
    """An old server's answer is read to the end of the connection, which is not used again."""
    raw = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n[1]"
    node = scripted(once(raw))
    caller = calls(node.url)
    for _ in range(2):
        response = await caller.get()
        assert (response.json(), response.http_version) == ([1], "HTTP/1.0")
    assert node.accepted == 2


async def test_a_connection_the_node_wants_closed(calls: Calls, fakes: Fakes) -> None:
    """`Connection: close` of either side is obeyed."""
    node = fakes()
    caller = calls(node.url)
    await caller.get(headers={"Connection": "close"})
    assert (await caller.get()).status_code == 200
    assert [request.keep_alive for request in node.requests] == [False, True]


async def test_a_stream_read_to_its_end_frees_its_connection(calls: Calls, fakes: Fakes) -> None:
    """After the last piece the slot is free, even before the response is closed."""
    node = fakes()
    caller = calls(node.url)
    async with caller.stream("POST", CHAT, json={"stream": True}) as response:
        assert in_flight(caller.balancer) == 1
        pieces = [piece async for piece in caller.pieces(response)]
        assert pieces[-1].endswith(b"data: [DONE]\n\n")
        assert in_flight(caller.balancer) == 0
    await caller.get()
    assert node.connections == 1


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as above
@pytest.mark.parametrize("length", [True, False])
async def test_an_early_answer_ends_the_upload(
    calls: Calls, scripted: Scripted, length: bool
) -> None:
    """A node that has heard enough says so and takes no more: that is its answer, and no fault."""

    def too_large(connection: Connection) -> None:
        connection.sock.recv(65536)
        connection.send(
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"
        )
        connection.sock.shutdown(socket.SHUT_WR)
        time.sleep(0.2)

    caller = calls(scripted(too_large).url)
    pieces = [bytes(MEGABYTE)] * 20
    if length:
        headers = {"content-length": str(20 * MEGABYTE)}
        response = await caller.post(content=caller.body(*pieces), headers=headers)
    else:
        response = await caller.post(files={"file": ("a", io.BytesIO(b"".join(pieces)))})
    assert (response.status_code, response.content) == (413, b"big")
    assert [node.failed for node in caller.balancer.snapshot()] == [0]
