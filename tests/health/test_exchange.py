"""One check of each kind, against real sockets."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import trustme

from aiclient.endpoint import Endpoint
from aiclient.health.exchange import Exchange
from aiclient.health.line import Lines
from aiclient.health_check import HealthCheck
from aiclient.testing import FakeNode

from .helpers import patiently

Fakes = Callable[..., FakeNode]


def ask(
    where: FakeNode | Endpoint | str,
    policy: HealthCheck | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
) -> str | None:
    """What one check finds."""
    endpoint = Endpoint(where.url) if isinstance(where, FakeNode) else where
    endpoint = Endpoint(endpoint) if isinstance(endpoint, str) else endpoint
    return Exchange(policy or HealthCheck(timeout=5), tls).ask(endpoint, Lines())


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A node whose system accepts connections while it does nothing itself."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def url_of(listener: socket.socket) -> str:
    """Where it listens."""
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


# HTTP


def test_a_get_with_the_node_s_own_headers(fakes: Fakes) -> None:
    """Below its own path, with its Host and credentials, on a connection that is closed then."""
    node = fakes(prefix="/llm")
    endpoint = Endpoint(node.url, host_header="llm.test", headers={"Authorization": "Bearer s"})
    assert ask(endpoint) == ""
    (seen,) = node.requests
    assert (seen.method, seen.path) == ("GET", "/llm/health")
    assert seen.headers["host"] == "llm.test"
    assert seen.headers["authorization"] == "Bearer s"
    assert seen.headers["connection"] == "close"
    patiently(lambda: node.connections == 0)


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        ("500", "http 500"),
        ("404", "http 404"),
        ("503", "http 503"),
        ("garbage", "its answer: no valid HTTP/1.1"),
        ("reset", "its answer: Connection reset by peer"),
        ("refuse", "connecting: Connection refused"),
    ],
)
def test_what_is_wrong_is_said(fakes: Fakes, fault: str, finding: str) -> None:
    """And at which step."""
    node = fakes()
    node.fault(fault)
    assert ask(node) == finding


def test_which_statuses_are_good_is_a_setting(fakes: Fakes) -> None:
    """A 401 shows that somebody is there."""
    node = fakes()
    node.fault("401")
    assert ask(node, HealthCheck(statuses=[200, 401])) == ""
    node.heal()
    assert ask(node, HealthCheck(statuses=[401])) == "http 200"


def test_a_silent_node_is_waited_for_no_longer_than_the_timeout(silent: socket.socket) -> None:
    """The connection is there, and no answer."""
    began = time.monotonic()
    found = ask(url_of(silent), HealthCheck(timeout=0.2))
    assert found == "its answer: timed out after 0.2 s"
    assert time.monotonic() - began < 2


def test_a_node_that_drips_is_not_waited_for_any_longer(silent: socket.socket) -> None:
    """The timeout is for all of the check, not for each byte."""

    def drip() -> None:
        connection, _ = silent.accept()
        with connection:
            try:
                for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100_000:
                    connection.sendall(bytes([byte]))
                    time.sleep(0.01)
            except OSError:
                pass

    thread = threading.Thread(target=drip)
    thread.start()
    assert ask(url_of(silent), HealthCheck(timeout=0.3)) == "its answer: timed out after 0.3 s"
    thread.join(20)
    assert not thread.is_alive()


def test_a_name_that_does_not_resolve() -> None:
    """The resolver's words."""
    assert str(ask("http://nobody.invalid:8000")).startswith("connecting: ")


# TCP


def test_only_to_connect(silent: socket.socket) -> None:
    """With `path=None` a node that answers nothing is fine, one that refuses is not."""
    assert ask(url_of(silent), HealthCheck(path=None)) == ""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = url_of(gone)
    assert ask(url, HealthCheck(path=None)) == "connecting: Connection refused"


def test_what_is_no_http_is_only_connected_to(silent: socket.socket) -> None:
    """A node for leases."""
    assert ask(url_of(silent).replace("http", "grpc"), HealthCheck()) == ""


# Its own port


def test_its_own_port(fakes: Fakes) -> None:
    """The node's own is not touched, and Host names the one that is."""
    node, side = fakes(), fakes()
    assert ask(node, HealthCheck(port=side.port)) == ""
    assert (node.requests.total, side.requests.total) == (0, 1)
    assert side.requests[0].headers["host"] == f"127.0.0.1:{side.port}"
    side.fault("500")
    assert ask(node, HealthCheck(port=side.port)) == "http 500"


# Inference


@pytest.mark.parametrize("path", [None, "/v1/completions", "/v1/embeddings"])
def test_one_token(fakes: Fakes, path: str | None) -> None:
    """The model is asked for as little as it can give."""
    node = fakes(model="m")
    check = HealthCheck(model="m", path=path) if path else HealthCheck(model="m")
    assert ask(node, check) == ""
    (seen,) = node.requests
    body = json.loads(seen.body)
    assert (seen.method, seen.path) == ("POST", path or "/v1/chat/completions")
    assert body.pop("model") == "m"
    assert body.pop("max_tokens", 1) == 1
    assert len(body) == 1


def test_an_inference_that_fails(fakes: Fakes) -> None:
    """/health would be fine."""
    node = fakes()
    node.fault("500", paths=["/v1"])
    assert ask(node, HealthCheck(model="m")) == "http 500"
    assert ask(node) == ""
    node.fault("cut_mid_body", paths=["/v1"])
    assert ask(node, HealthCheck(model="m")) == "its answer: no valid HTTP/1.1"
    side = HealthCheck(model="m", path="/v1/chat/completions", statuses=[404])
    node.fault("404", paths=["/v1"])
    assert ask(node, side) == "its answer is no inference"


@pytest.mark.parametrize("status", ["429", "503", "529"])
def test_a_full_node_has_neither_passed_nor_failed(fakes: Fakes, status: str) -> None:
    """It lives: its calls say the rest."""
    node = fakes()
    node.fault(status)
    assert ask(node, HealthCheck(model="m")) is None


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Whom the client trusts."""
    return trustme.CA()


def served(fakes: Fakes, authority: trustme.CA, name: str) -> FakeNode:
    """A node with a certificate for that name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return fakes(tls=context)


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A context that trusts it."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def test_the_certificate_is_verified_for_the_node_s_tls_name(
    fakes: Fakes, authority: trustme.CA
) -> None:
    """By address, as discovery finds nodes; a certificate for another name fails the check."""
    node = served(fakes, authority, "llm.test")
    check = HealthCheck(verify=trusting(authority))
    assert ask(Endpoint(node.url, tls_name="llm.test"), check) == ""
    wrong = str(ask(Endpoint(node.url, tls_name="other.test"), check))
    assert wrong.startswith("TLS: ")
    assert "other.test" in wrong
    assert str(ask(Endpoint(node.url, tls_name="llm.test"))).startswith("TLS: ")
    assert ask(node, HealthCheck(verify=False)) == ""


def test_the_client_s_context_serves_where_the_policy_has_none(
    fakes: Fakes, authority: trustme.CA
) -> None:
    """And only there."""
    node = served(fakes, authority, "127.0.0.1")
    assert ask(node, tls=lambda: trusting(authority)) == ""
    strict = HealthCheck(verify=True)
    assert str(ask(node, strict, lambda: trusting(authority))).startswith("TLS: ")


def test_plain_http_behind_an_https_url(fakes: Fakes) -> None:
    """No TLS there: that is what the text says, without OpenSSL's source lines."""
    found = str(ask(fakes().url.replace("http", "https"), HealthCheck(verify=False)))
    assert found.startswith("TLS: ")
    assert "_ssl.c" not in found


# Cut


def test_a_check_under_way_can_be_cut(silent: socket.socket) -> None:
    """It ends at once, and no other begins on the same lines."""
    lines = Lines()
    exchange = Exchange(HealthCheck(timeout=60), None)
    found: list[str | None] = []
    endpoint = Endpoint(url_of(silent))
    thread = threading.Thread(target=lambda: found.append(exchange.ask(endpoint, lines)))
    thread.start()
    connection, _ = silent.accept()
    with connection:
        assert connection.recv(10)
        lines.cut()
        thread.join(20)
        assert not thread.is_alive()
    assert found
    assert "ended" in str(exchange.ask(endpoint, lines))
