"""A head composed from known lines is the one h11 writes; what h11 refuses is refused each time."""

from __future__ import annotations

import h11
import pytest

from aiclient.wire.addressing import RawHeaders
from aiclient.wire.head import Heads

HOST = (b"Host", b"node:8000")
LENGTH = (b"Content-Length", b"12")
HEADS = Heads()
compose = HEADS.compose


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        (b"GET", [HOST]),
        (b"POST", [HOST, LENGTH]),
        (b"POST", [HOST, (b"X-A", b"1"), (b"x-a", b"2"), LENGTH, (b"Accept", b"*/*")]),
        (b"POST", [HOST, (b"Connection", b"Keep-Alive"), (b"X-Blank", b""), LENGTH]),
        (b"PUT", [HOST, (b"X-Text", b"\xe4\x80 \t."), LENGTH]),
        (b"HEAD", [HOST, (b"Connection", b"keep-alive")]),
    ],
)
def test_the_bytes_are_h11s(method: bytes, headers: RawHeaders) -> None:
    """The first time and the second; and h11, told of it, expects as long a body."""
    for _ in range(2):
        whole = h11.Request(method=method, target=b"/v1/x?y=z", headers=headers)
        composed = compose(method, b"/v1/x?y=z", headers, None)
        assert composed is not None
        told, written = composed
        assert written == h11.Connection(h11.CLIENT).send(whole)
        http = h11.Connection(h11.CLIENT)
        http.send(told)
        if LENGTH in headers:
            http.send(h11.Data(data=b"x" * 12))
        http.send(h11.EndOfMessage())
        assert http.our_state is h11.DONE


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        (b"POST", [HOST, (b"X-A", b"1"), LENGTH, (b"Accept", b"*/*")], b"x" * 12),
        (b"POST", [HOST, (b"Content-Length", b"0")], b""),
        (b"GET", [HOST], b""),
        (b"HEAD", [HOST], b""),
    ],
)
def test_a_body_that_is_there_goes_along(method: bytes, headers: RawHeaders, body: bytes) -> None:
    """All that h11 would write of it; h11 itself is told of a request that is over."""
    for _ in range(2):
        whole = h11.Connection(h11.CLIENT)
        written = whole.send(h11.Request(method=method, target=b"/v1/x", headers=headers))
        written += whole.send(h11.Data(data=body)) if body else b""
        composed = compose(method, b"/v1/x", headers, body)
        assert composed is not None
        told, data = composed
        assert data == written + whole.send(h11.EndOfMessage())
        http = h11.Connection(h11.CLIENT)
        http.send(told)
        http.send(h11.EndOfMessage())
        assert http.our_state is h11.DONE
        assert told.method == method


@pytest.mark.parametrize("body", [b"", b"x" * 11, b"x" * 13])
def test_a_body_of_another_length_than_it_says(body: bytes) -> None:
    """It is left to httpcore, whose h11 counts."""
    assert compose(b"POST", b"/", [HOST, LENGTH], body) is None


def test_a_body_without_a_length() -> None:
    """So is one of which nothing is said."""
    assert compose(b"POST", b"/", [HOST], b"x") is None


@pytest.mark.parametrize(
    ("method", "header"),
    [
        (b"POST", (b"Transfer-Encoding", b"chunked")),
        (b"POST", (b"content-length", b"12")),  # a second one
        (b"GET", (b"Connection", b"close")),
        (b"GET", (b"connection", b"keep-alive, Upgrade")),
        (b"GET", (b"Upgrade", b"websocket")),
        (b"GET", (b"Expect", b"100-continue")),
        (b"CONNECT", (b"X-A", b"1")),
    ],
)
def test_what_is_out_of_the_ordinary(method: bytes, header: tuple[bytes, bytes]) -> None:
    """It is left to httpcore."""
    for _ in range(2):
        assert compose(method, b"/", [HOST, LENGTH, header], None) is None


def test_a_length_that_is_none() -> None:
    """h11 says so to httpcore."""
    assert compose(b"POST", b"/", [HOST, (b"Content-Length", b"many")], None) is None
    assert compose(b"POST", b"/", [HOST, (b"Content-Length", b"1, 1")], None) is None


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        (b"GET", b"/", [HOST, (b"X A", b"1")]),
        (b"GET", b"/", [HOST, (b"", b"1")]),
        (b"GET", b"/", [HOST, (b"X-A", b"1\r\nX-Smuggled: 2")]),
        (b"GET", b"/", [HOST, (b"X-A", b"1\0")]),
        (b"GET", b"/", [HOST, (b"X-A", b" 1")]),
        (b"GET", b"/", [(b"Host", b"x\r\ny")]),
        (b"GET", b"/ /", [HOST]),
        (b"GET", b"/\n", [HOST]),
        (b"G T", b"/", [HOST]),
    ],
)
def test_what_h11_refuses(method: bytes, target: bytes, headers: RawHeaders) -> None:
    """A header that was refused is not known the next time."""
    for _ in range(2):
        with pytest.raises(h11.LocalProtocolError):
            compose(method, target, headers, None)
        with pytest.raises(h11.LocalProtocolError):
            compose(method, target, headers, b"")


def test_a_length_no_message_has() -> None:
    """h11 has a limit to it."""
    headers = [HOST, (b"Content-Length", b"9" * 30)]
    with pytest.raises(h11.LocalProtocolError):
        compose(b"POST", b"/", headers, None)
    assert compose(b"POST", b"/", [HOST, (b"Content-Length", b"9" * 9999)], b"") is None


def test_the_memory_is_bounded() -> None:
    """Values that change with every call, and long ones, do not add up."""
    for number in range(3000):
        compose(b"GET", b"/%d" % number, [HOST], b"")
        assert len(HEADS._told) <= 1024
        compose(b"GET", b"/", [HOST, (b"X-Request-Id", b"%d" % number)], b"")
        assert len(HEADS._lines) <= 1024
    compose(b"GET", b"/", [HOST, (b"X-Long", b"x" * 5000)], b"")
    assert all(len(line) <= 1024 for line in HEADS._lines.values())
    compose(b"GET", b"/" * 5000, [HOST], b"")
    assert all(len(target) <= 1024 for _, target, _ in HEADS._told)


def test_what_is_remembered_goes_with_its_client() -> None:
    """Credentials are among it."""
    secret = (b"Authorization", b"Bearer sk-secret")
    mine = Heads()
    mine.compose(b"GET", b"/v1?key=secret", [HOST, secret], b"")
    assert mine._lines
    assert not Heads()._lines
    assert secret not in HEADS._lines
