import asyncio
import functools
import os
import socket
import ssl
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trio
import trustme

from aiclient.testing import FakeNode

from .helpers import RawClient, eventually, node_threads

CHAT = "/v1/chat/completions"


def open_files() -> int:
    """File descriptors of this process."""
    return len(os.listdir("/proc/self/fd"))


def is_busy(node: FakeNode) -> bool:
    """Whether the node has a request to answer."""
    return node.active > 0


needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts files by /proc")


def test_it_knows_where_it_is() -> None:
    """url, host, port and name agree, and the port is the system's choice."""
    with FakeNode() as node:
        assert node.host == "127.0.0.1"
        assert node.port > 0
        assert node.url == f"http://127.0.0.1:{node.port}"
        assert node.name == f"node-{node.port}"
        assert httpx.get(node.url + "/health").headers["x-fake-node"] == node.name
        assert node.url in repr(node)


def test_it_does_not_know_its_port_before_the_start() -> None:
    """Asking too early is an error that says what to do."""
    node = FakeNode()
    with pytest.raises(RuntimeError, match="start it first"):
        _ = node.url
    assert "down" in repr(node)
    assert FakeNode(port=1234).url == "http://127.0.0.1:1234"


def test_a_taken_port_is_an_error() -> None:
    """A port somebody listens on is an OSError, and nothing is left behind."""
    with FakeNode() as node, pytest.raises(OSError, match="in use"):
        FakeNode(port=node.port).start()
    assert not node_threads()


def test_it_listens_on_ipv6() -> None:
    """An IPv6 address works and is bracketed in the URL."""
    try:
        node = FakeNode(host="::1", prefill=0, token_time=0).start()
    except OSError:
        pytest.skip("no IPv6 here")
    with node:
        assert node.url == f"http://[::1]:{node.port}"
        assert httpx.get(node.url + "/health").is_success


def test_kill_resets_every_connection_and_start_brings_it_back() -> None:
    """kill(): idle and busy connections are reset, new ones refused; start() on the same port."""
    with FakeNode(prefill=3600) as node, RawClient(node) as idle, RawClient(node) as busy:
        port = node.port
        idle.get()
        idle.read_response()
        busy.post(b'{"stream": true}')
        busy.read_head()
        node.kill()
        for client in (idle, busy):
            with pytest.raises(ConnectionResetError):
                client.read_until(b"x")
        with pytest.raises(ConnectionRefusedError):
            RawClient(node)
        assert (node.active, node.connections) == (0, 0)
        node.kill()
        assert node.start() is node
        assert node.port == port
        assert httpx.get(node.url + "/health").is_success


def test_a_killed_node_comes_back_healthy_and_keeps_its_speed() -> None:
    """A fault does not survive the death of the node; settings do."""
    with FakeNode(prefill=3600, token_time=0) as node:
        node.fault("503")
        node.set(prefill=0, tokens=2)
        node.kill()
        node.set(tokens=1)
        node.start()
        answer = httpx.post(node.url + CHAT, json={}).json()
        assert answer["usage"]["completion_tokens"] == 1


def test_the_port_stays_reserved_while_the_node_is_down() -> None:
    """Nobody is given the port of a killed node, so that it can come back."""
    if sys.platform != "linux":
        pytest.skip("only Linux lets a port be held")
    with FakeNode() as node:
        node.kill()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((node.host, node.port))


def test_stop_and_start_again() -> None:
    """stop() lets go of everything; start() takes the same port again."""
    node = FakeNode(prefill=0, token_time=0)
    for _ in range(3):
        node.start()
        assert node.start() is node
        port = node.port
        assert httpx.get(node.url + "/health").is_success
        node.stop()
        node.stop()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((node.host, port))
    assert node.served == 3


@needs_proc
def test_nothing_is_left_behind() -> None:
    """No thread and no file descriptor remain, whatever the node was doing."""
    with FakeNode():  # what is opened once and for all is open now
        pass
    before = open_files()
    for fault in ("refuse", "hang", "hang_mid_stream", None):
        with FakeNode(prefill=0, token_time=0) as node, RawClient(node) as raw:
            raw.get()
            raw.read_response()
            if fault:
                node.fault(fault)
            if fault in ("hang", "hang_mid_stream"):
                raw.post(b'{"stream": true}')
                eventually(functools.partial(is_busy, node))
            if fault == "hang":
                node.kill()
    assert not node_threads()
    assert open_files() == before


def test_all_nodes_share_one_thread() -> None:
    """Many nodes cost one thread, which ends with the last of them."""
    nodes = [FakeNode().start() for _ in range(8)]
    assert len(node_threads()) == 1
    for node in nodes:
        assert httpx.get(node.url + "/health").is_success
    for node in nodes[:-1]:
        node.stop()
    assert httpx.get(nodes[-1].url + "/health").is_success
    nodes[-1].stop()
    assert not node_threads()


def test_nodes_started_and_stopped_by_many_threads() -> None:
    """The shared thread survives nodes that come and go at the same time."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                with FakeNode(prefill=0, token_time=0) as node, RawClient(node) as raw:
                    raw.get()
                    assert raw.read_response().status == 200
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not node_threads()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_keeps_nothing_of_it_alive() -> None:
    """With a child that holds copies of its sockets, a killed node is as dead as without."""
    go_on, tell = os.pipe()
    with FakeNode(prefill=0, token_time=0) as node, RawClient(node) as raw:
        raw.get()
        raw.read_response()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads while forking
            child = os.fork()
        if child == 0:
            node.stop()  # not the child's to stop, and no reason to hang
            os.read(go_on, 1)
            os._exit(0)
        node.kill()
        with pytest.raises(ConnectionResetError):
            raw.read_until(b"x")
        with pytest.raises(ConnectionRefusedError):
            RawClient(node)
        os.write(tell, b"x")
        assert os.waitpid(child, 0)[1] == 0
        node.start()
        assert httpx.get(node.url + "/health").is_success
    for end in (go_on, tell):
        os.close(end)


async def _talk() -> None:
    async with FakeNode(prefill=0, token_time=0) as node, httpx.AsyncClient() as client:
        async with client.stream("POST", node.url + CHAT, json={"stream": True}) as response:
            assert (await response.aread()).endswith(b"[DONE]\n\n")
        node.fault("503", times=1)
        assert (await client.get(node.url + "/health")).status_code == 503
        assert node.served == 1


def test_it_works_beside_asyncio() -> None:
    """`async with` in an asyncio program."""
    asyncio.run(_talk())


def test_it_works_beside_trio() -> None:
    """`async with` in a trio program."""
    trio.run(_talk)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority."""
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    issued = authority.issue_cert("127.0.0.1")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    return certificate, key


@pytest.fixture
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client's context that trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def tls_node(files: tuple[Path, Path]) -> Iterator[FakeNode]:
    """A node that speaks TLS."""
    with FakeNode(tls=files, prefill=0, token_time=0) as node:
        yield node


def test_tls_with_files(tls_node: FakeNode, trusting: ssl.SSLContext) -> None:
    """tls=(certificate, key): https, verified by the client; a stranger is turned away."""
    assert tls_node.url.startswith("https://")
    with httpx.Client(verify=trusting) as client:
        for _ in range(2):
            assert client.post(tls_node.url + CHAT, json={"stream": True}).is_success
        tls_node.fault("reset", times=1)
        with pytest.raises(httpx.HTTPError):
            client.get(tls_node.url + "/health")
        assert client.get(tls_node.url + "/health").is_success
    with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
        httpx.get(tls_node.url, verify=ssl.create_default_context())


def test_tls_with_a_context(files: tuple[Path, Path], trusting: ssl.SSLContext) -> None:
    """tls=SSLContext is used as it is."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    with FakeNode(tls=context) as node:
        assert httpx.get(node.url + "/health", verify=trusting).is_success


@needs_proc
def test_tls_leaves_nothing_behind(files: tuple[Path, Path], trusting: ssl.SSLContext) -> None:
    """Handshakes that fail or never end do not outlive the node."""
    before = open_files()
    with FakeNode(tls=files) as node, RawClient(node) as plain, RawClient(node) as mute:
        plain.get()
        plain.read_rest()
        eventually(lambda: node.connections == 1)
        assert httpx.get(node.url + "/health", verify=trusting).is_success
        node.stop()
        with pytest.raises((EOFError, ConnectionResetError)):
            mute.read_until(b"x")
        node.start()
        with RawClient(node) as another:
            another.send(b"\x16\x03\x01")
            eventually(lambda: node.connections == 1)
            node.kill()
            assert node.connections == 0
    assert not node_threads()
    assert open_files() == before
