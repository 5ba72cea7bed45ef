import http.client
import logging
import os
import socket
import struct
import subprocess
import sys
import threading
import time
import warnings

import httpx
import pytest

import aiclient
from aiclient.status import serve


def test_it_is_served_on_a_port(balancer: aiclient.Balancer) -> None:
    """Page and JSON, until it is closed; closing twice does no harm."""
    with serve(balancer, port=0) as server:
        assert server.url == f"http://127.0.0.1:{server.port}/"
        assert str(server.port) in repr(server)
        page = httpx.get(server.url)
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        found = httpx.get(server.url, headers={"Accept": "application/json"}).json()
        assert (found["kind"], found["process"]) == ("aiclient status", os.getpid())
        assert httpx.head(server.url).content == b""
        assert httpx.post(server.url, content=b"x").status_code == 405
        assert httpx.request("BREW", server.url).status_code == 405
        assert httpx.get(server.url + "x").status_code == 404
    server.close()
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url)
    assert not [each for each in threading.enumerate() if "status page" in each.name]


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_on_ipv6(balancer: aiclient.Balancer) -> None:
    """An address with colons is one of IPv6."""
    with serve(balancer, port=0, host="::1") as server:
        assert server.url == f"http://[::1]:{server.port}/"
        assert httpx.get(server.url).status_code == 200


@pytest.mark.parametrize("port", [-1, 65536, "80", None, True, 1.5])
def test_a_wrong_port_is_refused(balancer: aiclient.Balancer, port: object) -> None:
    """It is named, with what is allowed."""
    with pytest.raises(aiclient.ConfigurationError, match=r"port: .* below 65536"):
        serve(balancer, port=port)  # type: ignore[arg-type]


def test_other_wrong_arguments(balancer: aiclient.Balancer) -> None:
    """A host that is none, something that is no balancer, a port that is taken."""
    with pytest.raises(aiclient.ConfigurationError, match="host: "):
        serve(balancer, port=0, host=None)  # type: ignore[arg-type]
    with pytest.raises(aiclient.ConfigurationError, match="balancer: "):
        serve("http://a:1", port=0)  # type: ignore[arg-type]
    with serve(balancer, port=0) as server, pytest.raises(OSError, match="in use"):
        serve(balancer, port=server.port)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost", 200),
        ("LOCALHOST:8089", 200),
        ("[::1]:8089", 200),
        ("10.1.2.3:80", 200),
        ("me.localhost", 200),
        ("evil.example", 421),
        ("evil.example:8089", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example", 421),
    ],
)
def test_a_strange_site_cannot_lead_here(
    balancer: aiclient.Balancer, host: str, status: int
) -> None:
    """On the loopback address a Host that could be any site's is refused (DNS rebinding)."""
    with serve(balancer, port=0) as server:
        answer = httpx.get(server.url, headers={"Host": host})
        assert answer.status_code == status
        assert ("10.0.0.1" in answer.text) is False
        assert "access-control-allow-origin" not in answer.headers


def test_by_name_where_everybody_may_look(balancer: aiclient.Balancer) -> None:
    """On an address that others reach, they come by whatever name it has for them."""
    with serve(balancer, port=0, host="0.0.0.0") as server:
        answer = httpx.get(server.url, headers={"Host": "status.example"})
        assert answer.status_code == 200


def test_it_says_nothing_on_its_own(
    balancer: aiclient.Balancer,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Neither requests nor clients that send rubbish or go away are written to stderr."""
    caplog.set_level(logging.DEBUG, "aiclient")
    with serve(balancer, port=0) as server:
        httpx.get(server.url)
        for rubbish in (
            b"\x16\x03\x01\x02\x00\r\n\r\n",
            b"GET\r\n\r\n",
            b"A" * 70_000 + b"\r\n\r\n",
        ):
            with socket.create_connection((server.host, server.port), timeout=10) as stranger:
                stranger.sendall(rubbish)
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(4096):
                    pass
        with socket.create_connection((server.host, server.port), timeout=10) as hasty:
            hasty.sendall(b"GET / HT")
            # Closed with a reset instead of an end.
            hasty.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        give_up_at = time.monotonic() + 20
        while "a client went away" not in caplog.text:
            assert time.monotonic() < give_up_at
            time.sleep(0.01)
        assert httpx.get(server.url).status_code == 200
    assert capfd.readouterr() == ("", "")


def test_one_that_says_nothing_holds_up_nobody(balancer: aiclient.Balancer) -> None:
    """Each connection has a thread of its own."""
    with serve(balancer, port=0) as server:
        silent = [socket.create_connection((server.host, server.port)) for _ in range(4)]
        assert httpx.get(server.url, timeout=10).status_code == 200
        for each in silent:
            each.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_lets_go_of_the_port(balancer: aiclient.Balancer) -> None:
    """It has no thread that would answer: the port is free when the parent closes."""
    server = serve(balancer, port=0)
    done_read, done_write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child = os.fork()
    if child == 0:
        os.close(done_write)
        os.read(done_read, 1)
        os._exit(0)
    os.close(done_read)
    try:
        assert httpx.get(server.url).status_code == 200
        server.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port), timeout=5)
    finally:
        os.close(done_write)
        os.waitpid(child, 0)


def test_a_service_that_does_not_close_it_still_ends() -> None:
    """And no warning or traceback is its last word."""
    program = (
        "import aiclient\n"
        "server = aiclient.status.serve(aiclient.Balancer(['http://a:1']), port=0)\n"
        "import http.client\n"
        "connection = http.client.HTTPConnection(server.host, server.port)\n"
        "connection.request('GET', '/')\n"
        "print(connection.getresponse().status)\n"
        "connection.close()"
    )
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "200\n", "")


def test_importing_aiclient_does_not_load_it() -> None:
    """A service without a page does not pay for one."""
    program = (
        "import sys, aiclient; aiclient.Client; assert 'aiclient.status' not in sys.modules\n"
        "assert 'http.server' not in sys.modules; aiclient.status.serve"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_many_lookers_at_once(balancer: aiclient.Balancer) -> None:
    """Twenty clients, each of whom gets the whole answer."""
    found: list[int] = []
    with serve(balancer, port=0) as server:

        def look() -> None:
            for _ in range(5):
                connection = http.client.HTTPConnection(server.host, server.port, timeout=30)
                connection.request("GET", "/status.json")
                found.append(len(connection.getresponse().read()))
                connection.close()

        threads = [threading.Thread(target=look) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(found) == 100
    assert min(found) > 500
