"""What is read without h11 is read as h11 reads it, and all else is left to h11."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import h11
import httpcore
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiclient.wire.async_http11 import AsyncHTTP11
from aiclient.wire.async_plain import AsyncPlainIncoming
from aiclient.wire.plain import PlainHead, plain_head
from aiclient.wire.sync_http11 import SyncHTTP11

ASKED = h11.Request(method="POST", target="/", headers=[("Host", "x")])
HEAD = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\n"
ANSWER = HEAD + b"hello"


def read_by_h11(data: bytes) -> tuple[PlainHead, bytes, bool]:
    """The head, the body as far as it is there, and whether nothing is left over."""
    http = h11.Connection(h11.CLIENT)
    http.send(ASKED)
    http.send(h11.EndOfMessage())
    http.receive_data(data)
    event = http.next_event()
    assert type(event) is h11.Response
    headers = event.headers.raw_items()
    length = next(int(value) for name, value in headers if name.lower() == b"content-length")
    body = b""
    while type(part := http.next_event()) is h11.Data:
        body += bytes(part.data)
    assert http.their_state is not h11.MUST_CLOSE
    size = len(data) - len(body) - len(http.trailing_data[0])
    head = PlainHead(event.status_code, event.reason, headers, length, size)
    return head, body, not http.trailing_data[0]


@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        b"HTTP/1.1 200\r\ncontent-length:0\r\n\r\n",
        b"HTTP/1.1 404 \r\nCONTENT-LENGTH: \t 2 \r\n\r\n{}",
        b"HTTP/1.1 503 Not \xfcber\tnow\r\nX-A: a  b\t c \t\r\nx-a:\r\nContent-Length: 1\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nX: \x80\xff\r\nContent-Length: 3\r\n\r\nab",
    ],
)
def test_an_ordinary_head(answer: bytes) -> None:
    """Nothing of it is lost or changed."""
    head = plain_head(answer)
    known, body, _ = read_by_h11(answer)
    assert head == known
    assert answer[known.size :] == body


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        HEAD[:-2],  # not all there
        HEAD[:-1],
        HEAD.replace(b"\r\n", b"\n"),
        HEAD.replace(b"1.1", b"1.0"),
        HEAD.replace(b"200", b"100"),
        HEAD.replace(b"200", b"204"),
        HEAD.replace(b"200", b"304"),
        HEAD.replace(b"200", b"20"),
        HEAD.replace(b"Server: x", b"Server : x"),
        HEAD.replace(b"Server: x", b"Server: x\r\n folded"),
        HEAD.replace(b"Server: x", b"Server: x\x00"),
        HEAD.replace(b"Server: x", b"Server: x\ry"),
        HEAD.replace(b"Server: x", b"Server: x\ny: z"),
        HEAD.replace(b"Server: x", b"Connection: close"),
        HEAD.replace(b"Server: x", b"connection: keep-alive, close"),
        HEAD.replace(b"Server: x", b"Transfer-Encoding: chunked"),
        HEAD.replace(b"Server: x", b"content-length: 5"),
        HEAD.replace(b": 5", b": 5, 5"),
        HEAD.replace(b": 5", b": -5"),
        HEAD.replace(b": 5", b": +5"),
        HEAD.replace(b": 5", b": " + b"5" * 19),
        HEAD.replace(b"Content-Length: 5\r\n", b""),  # until it is closed
    ],
)
def test_what_is_left_to_h11(answer: bytes) -> None:
    """What it would refuse, and what it has to find out."""
    assert plain_head(answer + b"hello") is None


@given(st.binary(max_size=12), st.integers(0, len(HEAD)), st.integers(0, 4))
@example(b"\r\n", len(HEAD) - 2, 0)
def test_whatever_passes_means_the_same_to_h11(noise: bytes, at: int, over: int) -> None:
    """Anything within an ordinary head."""
    answer = HEAD[:at] + noise + HEAD[at + over :] + b"hello"
    head = plain_head(answer)
    if head is not None:
        assert head == read_by_h11(answer)[0]


@pytest.mark.parametrize("unit", [b"a ", b"a\t ", b" ", b"a", b"x: y y y\r\n", b"x:\r\n", b":"])
def test_no_head_takes_long(unit: bytes) -> None:
    """Not one made to be tried in many ways, either."""
    for start in (b"HTTP/1.1 200 ", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nx: "):
        answer = start + unit * (64 * 1024 // len(unit)) + b"\0"
        began = time.thread_time()
        assert plain_head(answer) is None
        assert time.thread_time() - began < 0.5


class Pieces:
    """A stream that brings these, and then its end."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.sent = b""
        self.closed = False

    def write(self, data: bytes, timeout: float | None) -> None:
        self.sent += data

    def read(self, most: int, timeout: float | None) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""

    def close(self) -> None:
        self.closed = True


class AsyncPieces:
    """The same, to be waited for."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces
        self.close = pieces.close

    async def write(self, data: bytes, timeout: float | None) -> None:
        self._pieces.write(data, timeout)

    async def read(self, most: int, timeout: float | None) -> bytes:
        return self._pieces.read(most, timeout)


class Exchange:
    """One request and the answer to it, in either mode."""

    def __init__(self, stream: Pieces, asked: h11.Request, *, asynchronous: bool) -> None:
        self._asynchronous = asynchronous
        self.http: Any = (
            AsyncHTTP11(AsyncPieces(stream)) if asynchronous else SyncHTTP11(stream)  # type: ignore[arg-type]
        )
        self._asked = asked
        self.body = b""

    def ask(self) -> Any:
        if self._asynchronous:
            return asyncio.run(self.http.send(self._asked, b"...", None, {}))
        return self.http.send(self._asked, b"...", None, {})

    def read(self, incoming: Any) -> bytes:
        if self._asynchronous:
            return asyncio.run(self._aread(incoming))
        for piece in incoming:
            self.body += piece
        incoming.close()
        return self.body

    async def _aread(self, incoming: Any) -> bytes:
        async for piece in incoming:
            self.body += piece
        await incoming.aclose()
        return self.body

    def drop(self, incoming: Any) -> None:
        if self._asynchronous:
            asyncio.run(incoming.aclose())
        else:
            incoming.close()


both = pytest.mark.parametrize("asynchronous", [False, True])


@both
@pytest.mark.parametrize(
    "pieces",
    [
        (ANSWER,),
        (HEAD, b"hello"),
        (HEAD + b"h", b"ell", b"o"),
        (HEAD[:20], HEAD[20:] + b"hello"),  # h11's, and the next one is not
    ],
)
def test_a_body_in_pieces(pieces: tuple[bytes, ...], asynchronous: bool) -> None:
    """It is whole, and the connection serves the next request."""
    stream = Pieces(*pieces, ANSWER)
    exchange = Exchange(stream, ASKED, asynchronous=asynchronous)
    assert exchange.read(exchange.ask()) == b"hello"
    assert exchange.http.reusable
    assert exchange.read(exchange.ask()) == b"hellohello"
    assert exchange.http.reusable
    assert not stream.closed


@both
def test_only_a_plain_answer_does_without_h11(asynchronous: bool) -> None:
    """Not one in chunks, nor one to HEAD, whose length is another's."""
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    stream = Pieces(ANSWER, chunks, ANSWER)
    exchange = Exchange(stream, ASKED, asynchronous=asynchronous)
    kinds = []
    for _ in range(3):
        incoming = exchange.ask()
        kinds.append(type(incoming).__name__[-13:] == AsyncPlainIncoming.__name__[-13:])
        exchange.read(incoming)
    assert kinds == [True, False, True]
    assert exchange.body == b"hello" * 3
    head = h11.Request(method="HEAD", target="/", headers=[("Host", "x")])
    exchange = Exchange(Pieces(HEAD), head, asynchronous=asynchronous)
    assert exchange.read(exchange.ask()) == b""
    assert exchange.http.reusable


@both
@pytest.mark.parametrize("pieces", [(ANSWER + b"!",), (HEAD, b"hello!"), (HEAD + b"hell", b"o!")])
def test_what_comes_behind_an_answer(pieces: tuple[bytes, ...], asynchronous: bool) -> None:
    """Nobody gets it, and the connection is not used again."""
    stream = Pieces(*pieces)
    exchange = Exchange(stream, ASKED, asynchronous=asynchronous)
    assert exchange.read(exchange.ask()) == b"hello"
    assert stream.closed
    assert not exchange.http.reusable


@both
def test_a_body_cut_short(asynchronous: bool) -> None:
    """It says so in h11's words, and the connection is not used again."""
    stream = Pieces(HEAD + b"hel")
    exchange = Exchange(stream, ASKED, asynchronous=asynchronous)
    incoming = exchange.ask()
    expected = r"without sending complete message body \(received 3 bytes, expected 5\)"
    with pytest.raises(httpcore.RemoteProtocolError, match=expected):
        exchange.read(incoming)
    assert stream.closed
    exchange.drop(incoming)
    assert not exchange.http.reusable


@both
def test_an_answer_dropped_half_read(asynchronous: bool) -> None:
    """Its connection is not used again."""
    stream = Pieces(ANSWER)
    exchange = Exchange(stream, ASKED, asynchronous=asynchronous)
    exchange.drop(exchange.ask())
    assert stream.closed
    assert not exchange.http.reusable
