import os
import ssl
from pathlib import Path

import pytest
import trustme

from aiclient.testing import FakeNode

from .helpers import Check, finding


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """An authority this machine trusts."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    return authority


def serving(authority: trustme.CA, name: str) -> FakeNode:
    """A node with a certificate for `name`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return FakeNode(prefill=0, token_time=0, tls=context)


def test_https(check: Check, authority: trustme.CA) -> None:
    """A node with a good certificate is good."""
    with serving(authority, "127.0.0.1") as node:
        assert check(node.url).status == 0


def test_a_certificate_for_another_name(check: Check, authority: trustme.CA) -> None:
    """The hint says for which name it would have to be."""
    with serving(authority, "llm.test") as node:
        found = finding(check("--json", node.url))
    assert found["health"]["error"] == "bad cert"
    assert "for another name than 127.0.0.1" in found["hints"][0]


def test_a_certificate_nobody_trusts(check: Check) -> None:
    """The hint says how to trust it."""
    with serving(trustme.CA(), "127.0.0.1") as node:
        found = finding(check("--json", node.url))
    assert found["health"]["error"] == "bad cert"
    assert "SSL_CERT_FILE" in found["hints"][0]


def test_a_certificate_file_that_is_not_there(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong SSL_CERT_FILE is a hint, not a traceback."""
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull + "/nothing")
    found = finding(check("--json", "https://127.0.0.1:1"))
    assert found["health"]["error"] == "not asked"
    assert "cannot be used" in found["hints"][0]


def test_http_spoken_to_a_port_for_https(check: Check, authority: trustme.CA) -> None:
    """The hint gives the URL that works."""
    with serving(authority, "127.0.0.1") as node:
        outcome = check(node.url.replace("https", "http"))
    assert outcome.status == 1
    assert f"https, not http, is spoken on port {node.port}: {node.url}" in outcome.out


def test_https_spoken_to_a_port_for_http(check: Check, node: FakeNode) -> None:
    """The same the other way round."""
    outcome = check("--timeout", "0.5", node.url.replace("http", "https"))
    assert outcome.status == 1
    assert f"http, not https, is spoken on port {node.port}" in outcome.out
