import socket
import threading
from typing import Any

import pytest

from aiclient.testing import FakeNode

from .helpers import SECRET, Check, finding


def test_v1_given_twice(check: Check, node: FakeNode) -> None:
    """The SDK's base_url ends in /v1 as well: the node's URL must not."""
    outcome = check("--json", f"{node.url}/v1")
    hint = finding(outcome)["hints"][0]
    assert hint.startswith("/v1 is given twice")
    assert hint.endswith(f"the node's URL is {node.url}")


def test_a_name_with_several_addresses(
    check: Check, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each address is a node of its own; one IPv4 and one IPv6 address are one machine."""
    known = {"llm.test": ["127.0.0.1", "127.0.0.2"], "one.test": ["127.0.0.1", "::1"]}

    def resolve(host: str, port: int, *_: object, **__: object) -> list[tuple[Any, ...]]:
        return [
            (socket.AF_INET6 if ":" in each else socket.AF_INET, 1, 6, "", (each, port))
            for each in known.get(str(host), [str(host)])
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    several = check(f"http://llm.test:{node.port}")
    assert "llm.test has 2 addresses (127.0.0.1, 127.0.0.2), and only one" in several.out
    assert "addresses" not in check(f"http://one.test:{node.port}").out


def test_an_unknown_name(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name the resolver does not know, and one it cannot even be asked for."""

    def resolve(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = finding(check("--json", "http://llm.test:1"))
    assert (found["reachable"], found["health"]["error"]) == (False, "no name")
    monkeypatch.undo()
    assert check("http://a..b:1").status == 1


def test_a_resolver_that_hangs_is_not_waited_for(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--timeout holds for the name too."""
    asked = threading.Event()
    release = threading.Event()

    def resolve(*_: object, **__: object) -> list[object]:
        asked.set()
        release.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    found = finding(check("--json", "--timeout", "0.2", "http://llm.test:1"))
    assert asked.is_set()
    (still_hanging,) = [t for t in threading.enumerate() if t.name == "aiclient resolver"]
    release.set()
    still_hanging.join()
    assert found["health"]["error"] == "no name"


def test_no_connection_within_the_timeout(check: Check) -> None:
    """A machine that does not answer at all: here a listener whose queue is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        outcome = check("--timeout", "0.3", f"http://127.0.0.1:{full.getsockname()[1]}")
        for each in waiting:
            each.close()
    assert outcome.status == 1
    assert "a wrong address, or a firewall" in outcome.out


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("10.0.0.1:8000", "it needs a scheme: 'http://10.0.0.1:8000'?"),
        ("http://", "it needs a host"),
        ("http://h:99999", "a port from 1 to 65535"),
        ("tcp://h:1", "http:// or https:// is needed"),
        ("dns://h:1", "discovery"),
        (f"http://user:{SECRET}@h:1", "...@h:1: no user and no password"),
        (f"user:{SECRET}@h:1", "...@h:1: no user and no password"),
        (f"http://h:1/?key={SECRET}", "http://h:1/...: no query"),
        (f"http://h:1/#{SECRET}", "http://h:1/...: no query"),
        ("", "no URL given"),
        (",", "no URL given"),
    ],
)
def test_a_wrong_url_is_explained(check: Check, url: str, told: str) -> None:
    """Status 2 and what to do, without repeating a password."""
    outcome = check(url)
    assert outcome.status == 2
    assert told in outcome.err
    assert outcome.out == ""


@pytest.mark.parametrize(
    "header", [SECRET, f": {SECRET}", f"a b: {SECRET}", f"a: {SECRET}\r\nb: c", f"a: {SECRET}€"]
)
def test_a_wrong_header_is_explained(check: Check, header: str) -> None:
    """Status 2, without repeating it."""
    outcome = check("--header", header, "http://127.0.0.1:1")
    assert outcome.status == 2
    assert "--header" in outcome.err
