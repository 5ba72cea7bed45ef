"""TLS: the right name or no call at all."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiclient
from aiclient import Endpoint
from aiclient.testing import FakeNode

from .family import clients, httpx
from .helpers import CHAT, Caller, eventually, in_flight, nodes_of, tried
from .nodes import Connection, ScriptedNode, answer, replies

Calls = Callable[..., Caller]
Fakes = Callable[..., FakeNode]
Scripted = Callable[..., ScriptedNode]
pytestmark = pytest.mark.anyio
STREAM = {"stream": True}


def at_localhost(node: FakeNode | ScriptedNode) -> str:
    """The node's URL by a name instead of its address."""
    return f"https://localhost:{node.port}"


async def test_by_name(calls: Calls, fakes: Fakes, tls: Any) -> None:
    """A certificate for the name in the URL is good; calls, streams and reuse work over it."""
    node = fakes(tls=tls.server_context("localhost"))
    caller = calls(at_localhost(node), verify=tls.trusting())
    assert (await caller.post()).status_code == 200
    assert (await caller.post(json=STREAM)).text.endswith("data: [DONE]\n\n")
    body = bytes(3_000_000)
    await caller.request("PUT", "/v1/files/1", content=body)
    assert node.requests[-1].body == body
    assert node.requests[0].headers["host"] == f"localhost:{node.port}"
    assert node.connections == 1


async def test_a_certificate_for_another_name(calls: Calls, fakes: Fakes, tls: Any) -> None:
    """Is a ConnectError that says so; nothing was sent, and the node is at fault."""
    node = fakes(tls=tls.server_context("other.example"))
    caller = calls(at_localhost(node), verify=tls.trusting(), retry=None)
    with pytest.raises(httpx.ConnectError, match="no valid certificate for 'localhost'"):
        await caller.request("POST", "/v1/files", content=b"secret")
    assert node.requests.total == 0
    assert [seen.failed for seen in caller.balancer.snapshot()] == [1]
    await eventually(lambda: node.connections == 0)


async def test_an_unknown_authority(calls: Calls, fakes: Fakes, tls: Any) -> None:
    """A certificate nobody trusts moves any call to another node: nothing was sent."""
    stranger, good = fakes(tls=tls.server_context()), fakes()
    caller = calls([Endpoint(at_localhost(stranger), name="a"), Endpoint(good.url, name="b")])
    response = await caller.request("POST", "/v1/embeddings", json={"input": "x"})
    assert tried(response) == ["a", "b"]
    outcome = response.extensions["aiclient"].attempts[0].outcome
    assert outcome.startswith("cannot connect: TLS: no valid certificate for 'localhost'")


async def test_verify_false(calls: Calls, fakes: Fakes, tls: Any) -> None:
    """Whoever says so gets no verification."""
    node = fakes(tls=tls.server_context("other.example"))
    assert (await calls(at_localhost(node), verify=False).get()).status_code == 200


async def test_tls_name(calls: Calls, fakes: Fakes, tls: Any) -> None:
    """A node dialled by its address is verified by `tls_name`; Host stays what it was."""
    node = fakes(tls=tls.server_context("llm.internal"))
    caller = calls([Endpoint(node.url, tls_name="llm.internal")], verify=tls.trusting())
    assert (await caller.get()).status_code == 200
    assert node.requests[-1].headers["host"] == f"127.0.0.1:{node.port}"
    wrong = calls([Endpoint(node.url, tls_name="evil.internal")], verify=tls.trusting())
    with pytest.raises(httpx.ConnectError, match=r"no valid certificate for 'evil\.internal'"):
        await wrong.get()


async def test_an_address_in_the_certificate(calls: Calls, fakes: Fakes, tls: Any) -> None:
    """An IP address is verified as such."""
    node = fakes(tls=tls.server_context("127.0.0.1"))
    assert (await calls(node.url, verify=tls.trusting()).get()).status_code == 200


async def test_sni_is_each_nodes_own(calls: Calls, scripted: Scripted, tls: Any) -> None:
    """Two names at one address are two nodes with connections of their own."""
    names: list[str] = []
    context = tls.server_context("a.example", "b.example")
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    node = scripted(replies(answer()), tls=context)
    endpoints = [Endpoint(node.url, tls_name=f"{n}.example", name=n) for n in "ab"]
    caller = calls(endpoints, verify=tls.trusting(), picker=aiclient.RoundRobin())
    used = [tried(await caller.get())[0] for _ in range(4)]
    assert sorted(used) == ["a", "a", "b", "b"]
    assert sorted(names) == ["a.example", "b.example"]


async def test_an_address_gets_no_sni(calls: Calls, scripted: Scripted, tls: Any) -> None:
    """RFC 6066 allows names only."""
    names: list[str | None] = []
    context = tls.server_context("127.0.0.1")
    context.sni_callback = lambda sock, name, ctx: names.append(name)
    node = scripted(replies(answer()), tls=context)
    await calls(node.url, verify=tls.trusting()).get()
    assert names == [None]


@pytest.mark.filterwarnings("ignore:`cert=:DeprecationWarning")
async def test_a_client_certificate(calls: Calls, fakes: Fakes, tls: Any, tmp_path: Path) -> None:
    """`cert=` and a context's own chain are shown to nodes that ask."""
    node = fakes(tls=tls.server_context("localhost", wants_cert=True))
    leaf = tls.client_certificate()
    context = tls.trusting()
    leaf.configure_cert(context)
    assert (await calls(at_localhost(node), verify=context).get()).status_code == 200
    pem = tmp_path / "client.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(str(pem))
    caller = calls(at_localhost(node), verify=False, cert=str(pem))
    assert (await caller.get()).status_code == 200
    with pytest.raises(httpx.TransportError):
        await calls(at_localhost(node), verify=tls.trusting(), retry=None).get()


async def test_a_users_context_is_not_changed(calls: Calls, scripted: Scripted, tls: Any) -> None:
    """Somebody else may be using it: no ALPN, option or verification of ours appears on it."""
    offered: list[str | None] = []
    server = tls.server_context()
    server.set_alpn_protocols(["mine", "http/1.1"])

    def script(connection: Connection) -> None:
        assert isinstance(connection.sock, ssl.SSLSocket)
        offered.append(connection.sock.selected_alpn_protocol())
        replies(answer())(connection)

    node = scripted(script, tls=server)
    context = tls.trusting()
    context.set_alpn_protocols(["mine"])
    before = (context.options, context.verify_mode, context.check_hostname, context.verify_flags)
    assert (await calls(at_localhost(node), verify=context).get()).status_code == 200
    after = (context.options, context.verify_mode, context.check_hostname, context.verify_flags)
    assert before == after
    assert offered == ["mine"]


async def test_a_node_that_speaks_no_tls(
    calls: Calls, fakes: Fakes, scripted: Scripted, tls: Any
) -> None:
    """https to a plain node is a ConnectError, and the other way round an httpx error."""
    node = scripted(lambda connection: connection.send(answer(b"", 400)))
    with pytest.raises(httpx.ConnectError, match="TLS with 'localhost' failed"):
        await calls(at_localhost(node), verify=tls.trusting(), retry=None).get()
    secure = fakes(tls=tls.server_context())
    with pytest.raises(httpx.TransportError):
        await calls(f"http://127.0.0.1:{secure.port}", retry=None).get()


async def test_a_handshake_by_the_byte(calls: Calls, scripted: Scripted) -> None:
    """A node that drags the handshake on is cut off at the connect timeout."""

    def script(connection: Connection) -> None:
        connection.sock.recv(65536)
        connection.sock.settimeout(0.02)
        # The beginning of a record of 16 KB that never becomes whole.
        connection.send(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")
        while True:
            connection.send(b"\x00")
            try:
                if not connection.sock.recv(1):
                    return
            except TimeoutError:
                pass

    node = scripted(script)
    caller = calls(at_localhost(node), timeout=httpx.Timeout(5, connect=0.3), retry=None)
    with pytest.raises(httpx.ConnectTimeout, match=r"no TLS with 'localhost' within 0\.3 s"):
        await caller.get()


async def test_a_connection_closed_while_idle(calls: Calls, fakes: Fakes, tls: Any) -> None:
    """A TLS connection the node has closed is not used again either."""
    node = fakes(tls=tls.server_context())
    caller = calls(at_localhost(node), verify=tls.trusting(), retry=None)
    node.fault("close_idle", times=1)
    await caller.get()
    await eventually(lambda: node.connections == 0)
    assert (await caller.request("POST", CHAT, json={})).status_code == 200


async def test_a_cut_inside_tls(calls: Calls, fakes: Fakes, tls: Any) -> None:
    """A connection cut without a goodbye is no end of an answer."""
    bad, good = (fakes(tls=tls.server_context()) for _ in range(2))
    bad.fault("cut_mid_body")
    caller = calls(nodes_of(at_localhost(bad), at_localhost(good)), verify=tls.trusting())
    assert tried(await caller.post()) == ["a", "b"]
    bad.fault("cut_mid_stream")
    with pytest.raises(aiclient.StreamInterrupted):
        await caller.post(json=STREAM, headers={"x-aiclient-pin": "a"})
    assert in_flight(caller.balancer) == 0


async def test_an_answer_nobody_asked_for(calls: Calls, scripted: Scripted, tls: Any) -> None:
    """A second record right behind an answer is not the answer to the next request."""

    class Doubling:
        turns = 0

        def __call__(self, connection: Connection) -> None:
            assert isinstance(connection.sock, ssl.SSLSocket)
            while True:
                connection.request()
                self.turns += 1
                if self.turns > 1:
                    connection.send(answer(b'{"mine": 2}'))
                    continue
                # Both records in one segment, so that they arrive together.
                connection.send(answer(b'{"mine": 1}'))
                connection.send(answer(b'{"another": "caller"}'))

    node = scripted(Doubling(), tls=tls.server_context())
    caller = calls(at_localhost(node), verify=tls.trusting())
    assert (await caller.get()).json() == {"mine": 1}
    assert (await caller.get()).json() == {"mine": 2}


@pytest.mark.parametrize("name", ["a..b", ".x", "x" * 64 + ".example", "*.example"])
async def test_a_tls_name_that_cannot_be_sent(
    calls: Calls, fakes: Fakes, tls: Any, name: str
) -> None:
    """Is a ConnectError, not another exception, and leaves no connection."""
    node = fakes(tls=tls.server_context())
    caller = calls([Endpoint(node.url, tls_name=name)], verify=tls.trusting(), retry=None)
    with pytest.raises(httpx.ConnectError):
        await caller.get()
    await eventually(lambda: node.connections == 0)


@pytest.mark.parametrize(
    "options",
    [
        {"verify": "/no/such/file"},
        {"cert": "/no/such/file"},
        {"verify": 5},
        {"cert": ("a", "b", "c", "d")},
    ],
)
@pytest.mark.filterwarnings(
    "ignore:`verify=:DeprecationWarning", "ignore:`cert=:DeprecationWarning"
)
async def test_tls_options_that_cannot_work(calls: Calls, options: dict[str, Any]) -> None:
    """A file that is not there is said when the client is made, not at the first call."""
    with pytest.raises(aiclient.ConfigurationError, match="verify, cert"):
        calls("https://llm.example", **options)


def test_tls_is_not_loaded_for_plain_nodes() -> None:
    """Making a context costs 20 ms: http:// nodes do not pay for it."""
    client = clients.Client("http://llm.example")
    shell: Any = client._balanced._shell
    assert shell.wire._options.context.cache_info().currsize == 0
    client.close()
