"""A request's headers as one node gets them, the first time and from then on."""

from __future__ import annotations

from aiclient import Endpoint
from aiclient.wire import addressing
from aiclient.wire.addressing import Address

HOST = (b"Host", b"node:8000")
OWN = (b"authorization", b"Bearer own")


def test_what_is_replaced_and_what_is_never_sent_on() -> None:
    """In whatever case the caller writes it, each time."""
    address = Address(Endpoint("http://node:8000", headers={"authorization": "Bearer own"}))
    given = [
        (b"HOST", b"llm"),
        (b"X-A", b"1"),
        (b"x-a", b"2"),
        (b"AUTHORIZATION", b"Bearer caller"),
        (b"X-AIClient-Key", b"k"),
        (b"x-aiclient-pin", b"p"),
        (b"TraceParent", b"theirs"),
    ]
    trace = (b"traceparent", b"ours")
    for _ in range(2):
        kept = [HOST, (b"X-A", b"1"), (b"x-a", b"2")]
        assert address.headers(given, [trace]) == [*kept, OWN, trace]
        assert address.headers(given, []) == [*kept, (b"TraceParent", b"theirs"), OWN]


def test_the_memory_of_names_is_bounded() -> None:
    """They come from outside."""
    address = Address(Endpoint("http://node:8000"))
    for number in range(1000):
        header = (b"x-%d" % number, b"1")
        assert address.headers([header, (b"host", b"llm")], []) == [HOST, header]
        assert len(address._kept) <= addressing._MOST_NAMES
