import json
import time
from collections.abc import Iterator

import httpx
import pytest

from aiclient.testing import FakeNode

from .helpers import RawClient, eventually

CHAT = "/v1/chat/completions"
STREAM = b'{"stream": true}'


@pytest.fixture
def node() -> Iterator[FakeNode]:
    """A node that takes no time and never closes a connection for being idle."""
    with FakeNode(prefill=0, token_time=0, tokens=8, keepalive=3600) as node:
        yield node


@pytest.fixture
def raw(node: FakeNode) -> Iterator[RawClient]:
    """A connection to that node."""
    with RawClient(node) as raw:
        yield raw


def status_of(node: FakeNode, path: str = "/health") -> int:
    """The status of a request on a connection of its own."""
    return httpx.get(node.url + path).status_code


def test_refuse_refuses_new_connections_and_closes_idle_ones(
    node: FakeNode, raw: RawClient
) -> None:
    """refuse: nobody listens, idle connections end, and heal() listens on the same port."""
    raw.get()
    raw.read_response()
    node.fault("refuse")
    assert raw.read_rest() == b""
    with pytest.raises(ConnectionRefusedError):
        RawClient(node)
    assert node.connections == 0
    node.heal()
    assert status_of(node) == 200


def test_refuse_lets_a_request_under_way_end(node: FakeNode, raw: RawClient) -> None:
    """refuse: what is being served is answered, then that connection is closed too."""
    node.set(prefill=0.3)
    raw.post()
    eventually(lambda: node.active == 1)
    node.fault("refuse")
    assert raw.read_response().status == 200
    assert raw.read_rest() == b""


def test_another_fault_after_refuse_listens_again(node: FakeNode) -> None:
    """A fault that needs a connection ends the refusing."""
    node.fault("refuse")
    node.fault("503")
    assert status_of(node) == 503


def test_reset_resets_after_the_request_was_read(node: FakeNode, raw: RawClient) -> None:
    """reset: an RST, not a polite end; the request was received."""
    node.fault("reset")
    raw.post()
    with pytest.raises(ConnectionResetError):
        raw.read_head()
    assert node.requests[-1].path == CHAT
    assert node.served == 0


def test_hang_never_answers_and_takes_no_slot(node: FakeNode, raw: RawClient) -> None:
    """hang: silence for that request, also after heal(), while others are served."""
    node.set(slots=1)
    node.fault("hang")
    raw.post()
    eventually(lambda: node.active == 1)
    node.heal()
    assert httpx.post(node.url + CHAT, json={}).is_success
    assert raw.is_silent()
    assert node.active == 1
    raw.sock.close()
    eventually(lambda: node.active == 0)


def test_hang_mid_stream_falls_silent_after_some_tokens(node: FakeNode, raw: RawClient) -> None:
    """hang_mid_stream: so many tokens, then nothing, with the slot kept until the client goes."""
    node.set(slots=1)
    node.fault("hang_mid_stream", tokens=3, times=1)
    raw.post(STREAM)
    assert b"tok2" in raw.read_until(b"tok2")
    raw.read_until(b"\n\n\r\n")
    assert raw.is_silent()
    with RawClient(node) as other:
        other.post()
        eventually(lambda: node.waiting == 1)
        raw.sock.close()
        assert other.read_response().status == 200


def test_hang_mid_stream_stops_a_plain_answer_half_way(node: FakeNode, raw: RawClient) -> None:
    """hang_mid_stream: a plain answer is headers and half of the body."""
    node.fault("hang_mid_stream")
    raw.post()
    size = int(raw.read_head().headers["content-length"])
    raw.read_exactly(size // 2)
    assert raw.is_silent()


def test_cut_mid_stream_closes_after_some_tokens(node: FakeNode, raw: RawClient) -> None:
    """cut_mid_stream: whole chunks, but no end of the stream."""
    node.fault("cut_mid_stream", tokens=3)
    raw.post(STREAM)
    rest = raw.read_rest()
    assert rest.endswith(b"\n\n\r\n")
    assert b"tok2" in rest
    assert b"tok3" not in rest
    assert b"[DONE]" not in rest


@pytest.mark.parametrize("tokens", [8, 100])
def test_a_short_stream_is_cut_too(node: FakeNode, raw: RawClient, tokens: int) -> None:
    """cut_mid_stream: a stream with fewer tokens lacks its last events all the same."""
    node.fault("cut_mid_stream", tokens=tokens)
    raw.post(STREAM)
    rest = raw.read_rest()
    assert b"tok7" in rest
    assert b'"stop"' not in rest


def test_a_stream_can_be_cut_before_its_first_token(node: FakeNode, raw: RawClient) -> None:
    """cut_mid_stream with tokens=0: the headers and the role, no content."""
    node.fault("cut_mid_stream", tokens=0)
    raw.post(STREAM)
    assert raw.read_head().status == 200
    rest = raw.read_rest()
    assert b"assistant" in rest
    assert b"tok" not in rest


def test_cut_mid_body_breaks_its_promise(node: FakeNode, raw: RawClient) -> None:
    """cut_mid_body: Content-Length promised, half of it sent, closed."""
    node.fault("cut_mid_body")
    raw.post()
    size = int(raw.read_head().headers["content-length"])
    assert len(raw.read_rest()) == size // 2


def test_cut_mid_body_cuts_a_stream_inside_a_chunk(node: FakeNode) -> None:
    """cut_mid_body: a stream ends in the middle of a promised chunk."""
    node.fault("cut_mid_body", tokens=1)
    with pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"):
        httpx.post(node.url + CHAT, content=STREAM)


def test_garbage_is_no_http(node: FakeNode) -> None:
    """garbage: bytes an HTTP client cannot make sense of."""
    node.fault("garbage")
    with pytest.raises(httpx.RemoteProtocolError):
        status_of(node)


def test_close_idle_closes_without_saying_so(node: FakeNode, raw: RawClient) -> None:
    """close_idle: a good answer that promises keep-alive, and then the end."""
    node.fault("close_idle")
    raw.post()
    response = raw.read_response()
    assert response.status == 200
    assert "connection" not in response.headers
    assert raw.read_rest() == b""
    assert node.served == 1


@pytest.mark.parametrize("status", [401, 404, 429, 500, 503, 400, 529, 599])
def test_a_status_is_answered_at_once(node: FakeNode, raw: RawClient, status: int) -> None:
    """A status fault: an error object without waiting for a slot; the connection stays."""
    node.set(prefill=3600)
    node.fault(str(status))
    raw.post()
    response = raw.read_response()
    assert response.status == status
    assert json.loads(response.body)["error"]["code"] == status
    assert "retry-after" not in response.headers
    node.heal()
    raw.get()
    assert raw.read_response().status == 200
    assert node.served == 1


@pytest.mark.parametrize(("seconds", "header"), [(2.0, "2"), (0.5, "0.5"), (0, "0")])
def test_retry_after_is_sent(node: FakeNode, seconds: float, header: str) -> None:
    """retry_after becomes the Retry-After header."""
    node.fault("429", retry_after=seconds)
    assert httpx.get(node.url + "/health").headers["retry-after"] == header


def test_error_event_is_a_good_status_and_a_bad_stream(node: FakeNode) -> None:
    """error_event: 200, an event stream, and an error as its first event."""
    node.fault("error_event")
    response = httpx.post(node.url + CHAT, content=STREAM)
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    first, done, _ = response.text.split("\n\n")
    assert json.loads(first.removeprefix("data: "))["error"]["code"] == 500
    assert done == "data: [DONE]"
    assert httpx.post(node.url + CHAT, json={}).status_code == 500
    assert node.served == 0


@pytest.mark.parametrize(("share", "struck"), [(0.1, 2), (0.5, 10), (0.7, 14), (1.0, 20)])
def test_share_strikes_some_of_them(node: FakeNode, share: float, struck: int) -> None:
    """Evenly spread."""
    node.fault("500", share=share)
    assert [httpx.get(node.url + "/health").is_error for _ in range(20)].count(True) == struck


def test_times_heals_by_itself(node: FakeNode) -> None:
    """times: so many requests are struck, then all is well."""
    node.fault("503", times=2)
    assert [status_of(node) for _ in range(4)] == [503, 503, 200, 200]
    assert node.stats().fault is None


def test_after_spares_the_first_requests(node: FakeNode) -> None:
    """after: the first requests are served; times counts from there."""
    node.fault("500", after=2, times=1)
    assert [status_of(node) for _ in range(4)] == [200, 200, 500, 200]


def test_paths_limits_the_fault(node: FakeNode) -> None:
    """paths: only requests below these prefixes are struck or counted."""
    node.fault("500", paths=["/v1/models", "/v1/chat"], times=1)
    assert [status_of(node), status_of(node, "/v1/models")] == [200, 500]
    assert status_of(node, "/v1/models") == 200


def test_delay_comes_before_the_fault(node: FakeNode) -> None:
    """delay: the faulty answer takes its time."""
    node.fault("500", delay=0.2)
    start = time.monotonic()
    assert status_of(node) == 500
    assert time.monotonic() - start >= 0.2


def test_a_new_fault_replaces_the_old_one(node: FakeNode) -> None:
    """There is one fault at a time, and its counts start anew."""
    node.fault("500", after=1)
    assert status_of(node) == 200
    node.fault("404", after=1)
    assert [status_of(node), status_of(node)] == [200, 404]
    assert node.stats().fault == "404"
    node.heal()
    node.heal()
    assert status_of(node) == 200


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("slow", {}, "unknown fault 'slow'; allowed: refuse, reset, .* '400' to '599'"),
        ("200", {}, "unknown fault"),
        ("600", {}, "unknown fault"),
        ("٤٠٤", {}, "unknown fault"),
        (503, {}, "unknown fault"),
        ("reset", {"foo": 1}, "no option 'foo'; allowed: after, delay, paths, share, times"),
        ("reset", {"tokens": 1}, "no option 'tokens'"),
        ("hang", {"retry_after": 1}, "no option 'retry_after'"),
        ("refuse", {"times": 1}, "no option 'times'; allowed: none"),
        ("reset", {"times": 0}, "times must be"),
        ("reset", {"times": True}, "times must be"),
        ("reset", {"after": -1}, "after must be"),
        ("reset", {"after": 1.5}, "after must be"),
        ("reset", {"share": 0}, "share must be"),
        ("reset", {"share": 1.1}, "share must be"),
        ("reset", {"share": float("nan")}, "share must be"),
        ("cut_mid_stream", {"tokens": -1}, "tokens must be"),
        ("reset", {"delay": -0.1}, "delay must be"),
        ("reset", {"delay": float("nan")}, "delay must be"),
        ("429", {"retry_after": -1}, "retry_after must be"),
        ("reset", {"paths": "/v1"}, "paths must be"),
        ("reset", {"paths": [1]}, "paths must be"),
        ("reset", {"paths": 1}, "paths must be"),
    ],
)
def test_a_wrong_fault_is_refused_with_what_is_allowed(
    node: FakeNode, name: str, options: dict, message: str
) -> None:
    """An unknown name or option, or a value out of range, is a ValueError; nothing changes."""
    with pytest.raises(ValueError, match=message):
        node.fault(name, **options)
    assert status_of(node) == 200


def test_a_node_that_is_down_takes_no_fault() -> None:
    """fault() on a node that is not running says so; heal() is harmless."""
    node = FakeNode()
    with pytest.raises(RuntimeError, match="not running"):
        node.fault("500")
    node.heal()
