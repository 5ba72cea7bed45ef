"""`EtcdDiscovery` against a gateway that misbehaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from aiclient import EtcdDiscovery
from aiclient.discovery import etcd, session

from .etcd_server import encoded
from .following import Following, eventually
from .registry import Exchange, FakeRegistry

A, B = "http://10.0.0.1:8000", "http://10.0.0.2:8000"
HEADER = {"cluster_id": "7", "member_id": "8", "revision": "5", "raft_term": "2"}


def pair(url: str, revision: int) -> dict[str, str]:
    """A key as a list or an event has it."""
    return {"key": encoded("/llm/a"), "value": encoded(url), "mod_revision": str(revision)}


LISTED = {"header": HEADER, "kvs": [pair(A, 5)], "count": "1"}
CREATED = {"result": {"header": HEADER, "created": True}}


class Gateway(FakeRegistry):
    """Lists one node; its watch begins and is silent, unless `watch` does something else."""

    def __init__(self) -> None:
        super().__init__(self._serve)
        self.listed: Callable[[Exchange], None] = lambda exchange: exchange.answer(LISTED)
        self.watch: Callable[[Exchange], None] = self.silent
        self.tokens = 0

    def silent(self, exchange: Exchange) -> None:
        """Begin, and say no more."""
        exchange.begin()
        exchange.send(CREATED)
        exchange.hold()

    def _serve(self, exchange: Exchange) -> None:
        if exchange.path == "/v3/auth/authenticate":
            self.tokens += 1
            exchange.answer({"header": HEADER, "token": f"sk-token-{self.tokens}"})
        else:
            (self.listed if exchange.path == "/v3/kv/range" else self.watch)(exchange)

    def asked(self, path: str) -> list[Exchange]:
        """The questions to a path."""
        return [exchange for exchange in self.exchanges if exchange.path == f"/v3{path}"]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """One that behaves, so far."""
    with Gateway() as gateway:
        yield gateway


def test_a_silent_watch_is_made_anew(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its other end may be gone. From the last revision, without a list, without a word."""
    monkeypatch.setattr(etcd, "_SILENCE_SECONDS", 0.1)
    with Following(EtcdDiscovery(gateway.url, "/llm/")) as following:
        eventually(lambda: len(gateway.asked("/watch")) == 3)
        assert {e.json["create_request"]["start_revision"] for e in gateway.asked("/watch")} == {
            "5"
        }
        assert len(gateway.asked("/kv/range")) == len(following.sets) == 1
    assert not following.problems
    eventually(lambda: not gateway.open, "the end of the connections")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage",
        b"[]",
        b"null",
        b'{"kvs": []}',
        b'{"header": {"revision": "x"}}',
        b'{"header": {"revision": "1"}, "kvs": [{"value": ""}]}',
        b'{"header": {"revision": "1"}, "kvs": [{"key": 5}]}',
        b"[" * 100_000,
    ],
)
def test_a_list_that_makes_no_sense(gateway: Gateway, answer: bytes) -> None:
    """It is a problem; the next one that does is used."""
    gateway.listed = lambda exchange: exchange.answer(answer)
    with Following(EtcdDiscovery(gateway.url, "/llm/")) as following:
        following.problem("an answer that is n")
        gateway.listed = lambda exchange: exchange.answer(LISTED)
        following.until(A)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"garbage\n", "an answer that is no JSON"),
        (b"5\n", "an answer that is none of etcd's"),
        (b"{}\n", "an answer that is none of etcd's"),
        ({"result": {"events": [{"kv": {}}]}}, "an answer that is none of etcd's"),
        ({"result": {"events": 5}}, "an answer that is none of etcd's"),
        ({"error": {"message": "etcdserver: no leader"}}, "etcdserver: no leader"),
        ({"result": {"canceled": True, "cancel_reason": "denied"}}, "denied"),
        (b"x" * 2000, "a line of more than 1000 bytes"),
    ],
)
def test_a_watch_that_makes_no_sense(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, line: Any, problem: str
) -> None:
    """It is a problem when it happens again; the nodes stay."""
    monkeypatch.setattr(session, "_MOST_BYTES", 1000)

    def wrong(exchange: Exchange) -> None:
        exchange.begin()
        exchange.send(line)
        exchange.hold()

    gateway.watch = wrong
    with Following(EtcdDiscovery(gateway.url, "/llm/")) as following:
        following.problem(problem)
        assert following.urls == {A}
        gateway.watch = gateway.silent
        eventually(lambda: len(following.sets) == 2)


def test_a_large_list_is_refused(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """It never grows beyond what a fleet may need."""
    monkeypatch.setattr(session, "_MOST_BYTES", 1000)
    gateway.listed = lambda exchange: exchange.answer(b" " * 2000)
    with Following(EtcdDiscovery(gateway.url, "/llm/")) as following:
        following.problem("more than 1000 bytes")


def test_a_gateway_that_never_answers(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is given up, and the end comes at once all the same: `Following` looks at its clock."""
    gateway.listed = lambda exchange: exchange.hold()
    with Following(EtcdDiscovery(gateway.url, "/llm/")):
        eventually(lambda: gateway.open)
    eventually(lambda: not gateway.open, "the end of the connection")
    monkeypatch.setattr(session, "_ANSWER_SECONDS", 0.1)
    with Following(EtcdDiscovery(gateway.url, "/llm/")) as following:
        following.problem("no answer for 0.1 s")


def test_a_token_that_expires(gateway: Gateway) -> None:
    """Another is fetched, without a word; it is shown nowhere."""
    refused = {"error": "x", "message": "etcdserver: invalid auth token", "code": 16}

    def watch(exchange: Exchange) -> None:
        if exchange.headers["authorization"] == "sk-token-1":
            exchange.answer(refused, 401)
        else:
            gateway.silent(exchange)

    gateway.watch = watch
    source = EtcdDiscovery(
        gateway.url, "/llm/", user="me", password="sk-mine", headers={"x-key": "sk-header"}
    )
    with Following(source) as following:
        eventually(lambda: gateway.tokens == 2 and len(gateway.asked("/watch")) == 2)
    assert not following.problems
    assert {exchange.headers["x-key"] for exchange in gateway.exchanges} == {"sk-header"}
    assert "sk-" not in repr(source)


@pytest.mark.parametrize("token", ["sk-a\nb", "sk-\u20ac", "sk-\x7f"])
def test_a_token_that_is_none(gateway: Gateway, token: str) -> None:
    """It is a problem, in which it is not shown."""
    gateway.script = lambda exchange: exchange.answer({"header": HEADER, "token": token})
    source = EtcdDiscovery(gateway.url, "/llm/", user="me", password="sk-mine")
    with Following(source) as following:
        following.problem("an answer that is none of etcd's")
    assert "sk-" not in repr(following.problems)


def test_headers_beyond_ascii(gateway: Gateway) -> None:
    """They are sent as they are."""
    with Following(EtcdDiscovery(gateway.url, "/llm/", headers={"x-key": "caf\xe9"})) as following:
        following.until(A)
    assert {exchange.headers["x-key"] for exchange in gateway.exchanges} == {"caf\xe9"}


def test_another_store(gateway: Gateway) -> None:
    """A watch that begins at another cluster, or in an older term, is no resumption."""
    other = [
        {**HEADER, "cluster_id": "8"},
        {**HEADER, "raft_term": "1"},
        {**HEADER, "revision": "4"},
    ]

    def watch(exchange: Exchange) -> None:
        exchange.begin()
        created = other.pop() if other else HEADER
        exchange.send({"result": {"header": created, "created": True}})
        exchange.hold()

    gateway.watch = watch
    with Following(EtcdDiscovery(gateway.url, "/llm/")) as following:
        eventually(lambda: len(gateway.asked("/watch")) == 4)
        assert len(gateway.asked("/kv/range")) == 4
    assert not following.problems


def test_signs_of_life_move_the_revision(gateway: Gateway) -> None:
    """Nothing up to there is told again."""

    def watch(exchange: Exchange) -> None:
        exchange.begin()
        exchange.send(CREATED, {"result": {"header": {**HEADER, "revision": "9"}}})
        exchange.end()

    gateway.watch = watch
    with Following(EtcdDiscovery(gateway.url, "/llm/")):
        eventually(lambda: len(gateway.asked("/watch")) == 2)
    assert gateway.asked("/watch")[1].json["create_request"]["start_revision"] == "9"
