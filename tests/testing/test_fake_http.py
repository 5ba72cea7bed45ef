from collections.abc import Iterator

import httpx
import pytest

from aiclient.testing import FakeNode

from .helpers import RawClient, eventually


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """A node that takes no time and never closes a connection for being idle."""
    with FakeNode(prefill=0, token_time=0, tokens=2, keepalive=3600) as node:
        yield node


@pytest.fixture
def raw(node: FakeNode) -> Iterator[RawClient]:
    """A connection to that node."""
    with RawClient(node) as raw:
        yield raw


def test_a_connection_is_used_again(node: FakeNode, raw: RawClient) -> None:
    """Requests follow each other on one connection."""
    for _ in range(3):
        raw.get()
        assert raw.read_response().status == 200
    assert node.connections == 1


def test_pipelined_requests_are_answered_in_order(node: FakeNode, raw: RawClient) -> None:
    """Requests sent at once get their answers one after the other."""
    one = b"GET /health HTTP/1.1\r\n\r\n"
    raw.send(one + b"GET /nothing HTTP/1.1\r\n\r\n" + one)
    assert [raw.read_response().status for _ in range(3)] == [200, 404, 200]


def test_a_request_may_come_byte_by_byte(node: FakeNode, raw: RawClient) -> None:
    """The parser does not care how the bytes are cut."""
    request = (
        b"\r\nPOST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"1\r\n{\r\n1;a=b\r\n}\r\n0\r\nTrailer: x\r\n\r\n"
    )
    for byte in request:
        raw.send(bytes([byte]))
    assert raw.read_response().status == 200
    assert node.requests[-1].body == b"{}"


def test_a_chunked_body_is_put_together(node: FakeNode) -> None:
    """A body of unknown length arrives whole."""
    httpx.post(node.url + "/v1/completions", content=iter([b'{"prompt"', b': "', b'x"}']))
    assert node.requests[-1].json() == {"prompt": "x"}


def test_a_large_body_is_received(node: FakeNode) -> None:
    """Megabytes are no problem, and the record keeps them."""
    body = b'{"prompt": "' + b"x" * 5_000_000 + b'"}'
    assert httpx.post(node.url + "/v1/completions", content=body).is_success
    assert node.requests[-1].body == body


def test_100_continue_is_said_before_the_body(raw: RawClient) -> None:
    """A client that waits for 100 Continue is told to go on."""
    head = b"POST /v1/completions HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    raw.send(head)
    assert raw.read_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    raw.send(b"{}")
    assert raw.read_response().status == 200
    raw.send(head + b"{}")
    assert raw.read_response().status == 200


def test_connection_close_is_obeyed_and_said(raw: RawClient) -> None:
    """Connection: close ends the connection after the answer."""
    raw.send(b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert raw.read_response().headers["connection"] == "close"
    assert raw.read_rest() == b""


def test_http_1_0_closes_unless_asked_to_keep(raw: RawClient) -> None:
    """HTTP/1.0 keeps the connection only when asked to."""
    raw.send(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert raw.read_response().headers["connection"] == "keep-alive"
    raw.send(b"GET /health HTTP/1.0\r\n\r\n")
    assert raw.read_response().headers["connection"] == "close"
    assert raw.read_rest() == b""


def test_an_http_1_0_stream_has_no_chunks(raw: RawClient) -> None:
    """HTTP/1.0 does not know chunks: the stream ends with the connection."""
    raw.send(
        b"POST /v1/completions HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 15\r\n\r\n"
        b'{"stream":true}'
    )
    head = raw.read_head()
    assert head.headers["connection"] == "close"
    assert "transfer-encoding" not in head.headers
    body = raw.read_rest()
    assert body.startswith(b"data: {")
    assert body.endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 67108865\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 65536, 431),
    ],
)
def test_what_is_no_request_is_refused(
    node: FakeNode, raw: RawClient, request_bytes: bytes, status: int
) -> None:
    """Bytes that make no sense get an answer, the connection is closed, the node lives on."""
    raw.send(request_bytes)
    response = raw.read_response()
    assert response.status == status
    assert response.headers["x-fake-node"] == node.name
    assert raw.read_rest() == b""
    assert httpx.get(node.url + "/health").is_success


def test_a_client_that_goes_away_takes_nothing_with_it(node: FakeNode) -> None:
    """Clients that leave in the middle of a request leave nothing behind."""
    for beginning in (b"", b"GET /hea", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc"):
        with RawClient(node) as raw:
            raw.send(beginning)
    eventually(lambda: node.connections == 0)
    assert httpx.get(node.url + "/health").is_success
    assert len(node.requests) == 1


def test_a_client_that_does_not_read_holds_up_only_itself(node: FakeNode, raw: RawClient) -> None:
    """A stream nobody reads is not generated ahead without limit."""
    raw.post(b'{"stream": true, "max_tokens": 131072}')
    eventually(lambda: node.active == 1)
    assert httpx.post(node.url + "/v1/completions", json={}).is_success
    assert node.active == 1
    raw.read_until(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert node.active == 0


def test_an_idle_connection_is_closed_after_keepalive() -> None:
    """An idle connection is closed; a busy one lives on."""
    with (
        FakeNode(keepalive=0.5, prefill=3600) as node,
        RawClient(node) as busy,
        RawClient(node) as idle,
    ):
        busy.post()
        idle.get()
        assert idle.read_response().status == 200
        assert idle.read_rest() == b""
        eventually(lambda: node.connections == 1)
        assert node.active == 1


def test_the_record_shows_what_was_received(node: FakeNode) -> None:
    """Method, path, headers and body are there to assert on, oldest first."""
    httpx.get(node.url + "/health", headers=[("X-A", "1"), ("X-A", "2")])
    httpx.post(node.url + "/v1/completions", json={"prompt": "x"})
    first, second = node.requests
    assert (first.method, first.path, first.body) == ("GET", "/health", b"")
    assert first.headers["x-a"] == "1, 2"
    assert (second.method, second.path) == ("POST", "/v1/completions")
    assert second.json() == {"prompt": "x"}
    assert node.requests[-1] == second
    assert node.requests[:1] == [first]
    node.requests.clear()
    assert len(node.requests) == 0
    assert node.stats().received == 2
