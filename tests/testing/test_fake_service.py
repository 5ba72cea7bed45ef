import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest

from aiclient.testing import FakeNode

from .helpers import RawClient, eventually

CHAT = "/v1/chat/completions"
FOREVER = 3600.0

Connect = Callable[[FakeNode], RawClient]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens connections that are closed when the test ends."""
    opened: list[RawClient] = []

    def open_client(node: FakeNode) -> RawClient:
        opened.append(RawClient(node))
        return opened[-1]

    yield open_client
    for client in opened:
        client.sock.close()


def until_active(node: FakeNode, count: int) -> None:
    """Wait until so many requests are not answered yet."""
    eventually(lambda: node.active == count)


def until_waiting(node: FakeNode, count: int) -> None:
    """Wait until so many requests wait for a slot."""
    eventually(lambda: node.waiting == count)


def test_a_plain_answer_takes_its_time() -> None:
    """Plain: prefill and all tokens pass before anything is sent."""
    with FakeNode(prefill=0.1, token_time=0.05, tokens=4) as node, RawClient(node) as raw:
        start = time.monotonic()
        raw.post()
        raw.read_until(b"\r\n")
        assert time.monotonic() - start >= 0.3


def test_a_stream_sends_each_token_when_due() -> None:
    """Streamed: the role after prefill, then one token after the other."""
    with FakeNode(prefill=0.1, token_time=0.1, tokens=2) as node, RawClient(node) as raw:
        start = time.monotonic()
        raw.post(b'{"stream": true}')
        for mark, due in ((b"assistant", 0.1), (b"tok0", 0.2), (b"tok1", 0.3)):
            raw.read_until(mark)
            assert time.monotonic() - start >= due


def test_a_stream_sends_its_headers_before_prefill() -> None:
    """Streamed: the headers come as soon as there is a slot, as vLLM sends them."""
    with FakeNode(prefill=FOREVER) as node, RawClient(node) as raw:
        raw.post(b'{"stream": true}')
        assert raw.read_head().status == 200
        assert raw.is_silent()


def test_slots_are_served_at_once_and_the_rest_in_order(connect: Connect) -> None:
    """`slots` requests are in service, the others wait first come, first served."""
    with FakeNode(slots=2, prefill=FOREVER, token_time=0, name="n") as node:
        in_service = [connect(node) for _ in range(2)]
        for client in in_service:
            client.post()
        until_active(node, 2)
        queue = [connect(node) for _ in range(3)]
        for place, client in enumerate(queue, 1):
            client.post()
            until_waiting(node, place)
        assert node.active == 5
        node.set(prefill=0)
        in_service[0].sock.close()
        for client in queue:
            assert client.read_response().status == 200
        until_active(node, 1)
        assert node.served == 3


def test_a_client_that_leaves_the_queue_gives_up_its_place(connect: Connect) -> None:
    """A waiting request whose client goes away is forgotten."""
    with FakeNode(slots=1, prefill=FOREVER, token_time=0) as node:
        in_service, impatient, patient = (connect(node) for _ in range(3))
        in_service.post()
        until_active(node, 1)
        for place, client in enumerate((impatient, patient), 1):
            client.post()
            until_waiting(node, place)
        impatient.sock.close()
        until_waiting(node, 1)
        node.set(prefill=0)
        in_service.sock.close()
        assert patient.read_response().status == 200
        assert node.active == 0


def test_a_full_queue_says_busy(connect: Connect) -> None:
    """queue=n: with n waiting, one more is answered 503 at once; queue=0 means none may wait."""
    for limit in (0, 1):
        with FakeNode(slots=1, queue=limit, prefill=FOREVER) as node:
            for count in range(limit + 1):
                connect(node).post()
                until_active(node, count + 1)
            response = httpx.post(node.url + CHAT, json={"stream": True})
            assert response.status_code == 503
            assert response.json()["error"]["message"] == "server busy"
            assert node.active == limit + 1
            assert node.served == 0


def test_more_slots_admit_those_who_wait(connect: Connect) -> None:
    """set(slots=...) takes effect at once."""
    with FakeNode(slots=1, prefill=FOREVER, token_time=0) as node:
        connect(node).post()
        until_active(node, 1)
        waiting = connect(node)
        waiting.post()
        until_waiting(node, 1)
        node.set(slots=2, prefill=0)
        assert waiting.read_response().status == 200


def test_a_stream_takes_up_a_new_speed(connect: Connect) -> None:
    """set(token_time=...) reaches a stream under way with its next token."""
    with FakeNode(prefill=0, token_time=0.05, tokens=10_000) as node:
        client = connect(node)
        client.post(b'{"stream": true}')
        client.read_until(b"tok1")
        node.set(token_time=0)
        client.read_until(b"[DONE]")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"slots": 0}, "slots must be a whole number >= 1"),
        ({"slots": 1.5}, "slots"),
        ({"tokens": True}, "tokens"),
        ({"prefill": -1}, "prefill"),
        ({"token_time": float("nan")}, "token_time"),
        ({"token_time": "1"}, "token_time"),
        ({"model": "m"}, "'model' cannot be changed; allowed: slots, prefill, token_time, tokens"),
    ],
)
def test_a_wrong_speed_is_refused(changes: dict, message: str) -> None:
    """set() with a bad value says what is allowed and changes nothing."""
    with FakeNode(prefill=0, token_time=0) as node:
        with pytest.raises(ValueError, match=message):
            node.set(**changes)
        assert httpx.post(node.url + CHAT, json={}).is_success


@pytest.mark.parametrize(
    "settings",
    [{"queue": -1}, {"keepalive": 0}, {"name": "a\r\nb"}, {"name": "é"}, {"model": None}],
)
def test_wrong_settings_are_refused(settings: dict) -> None:
    """A bad setting is a ValueError that names it."""
    [name] = settings
    with pytest.raises(ValueError, match=name):
        FakeNode(**settings)


def test_the_counters_are_right_once_an_answer_is_there() -> None:
    """Whoever has the answer finds it counted, and its slot free."""
    with FakeNode(prefill=0, token_time=0, tokens=500) as node, httpx.Client() as client:
        for number in range(1, 101):
            client.post(node.url + CHAT, json={"stream": bool(number % 2)})
            assert (node.served, node.active, node.waiting) == (number, 0, 0)


def test_many_clients_at_once() -> None:
    """Threads hammering one node all get their answers, and the books balance."""
    with FakeNode(slots=3, prefill=0.001, token_time=0, tokens=1) as node:

        def work() -> None:
            with httpx.Client(base_url=node.url) as client:
                for number in range(25):
                    response = client.post(CHAT, json={"stream": bool(number % 2)})
                    assert response.is_success

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert node.stats().received == node.served == 200
        eventually(lambda: node.connections == 0)


def test_the_record_is_bounded() -> None:
    """The record forgets the oldest; the count goes on."""
    with FakeNode(prefill=0, token_time=0) as node, RawClient(node) as raw:
        for number in range(1010):
            raw.get(f"/{number}")
            raw.read_response()
        assert len(node.requests) == 1000
        assert node.requests[0].path == "/10"
        assert node.stats().received == 1010
        big = b"x" * (24 * 1024 * 1024)
        for _ in range(3):
            raw.post(big)
            raw.read_response()
        assert [len(request.body) for request in node.requests] == [len(big)] * 2
