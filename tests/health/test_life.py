"""The checks' threads: when they start, how many there are, and how they end."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import stat
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import aiclient
from aiclient import HealthCheck
from aiclient.testing import FakeNode

from .helpers import checkers, patiently

Fakes = Callable[..., FakeNode]
QUICK = HealthCheck(interval=0.05, timeout=5)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Neither before nor after a test."""
    patiently(lambda: not checkers())
    yield
    gc.collect()
    patiently(lambda: not checkers())


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a node that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def sockets() -> set[int]:
    """The sockets this process has open, by the kernel's numbers."""
    found = set()
    for number in os.listdir("/dev/fd"):
        try:
            about = os.fstat(int(number))
        except OSError:  # that of the listing itself
            continue
        if stat.S_ISSOCK(about.st_mode):
            found.add(about.st_ino)
    return found


def test_they_start_with_the_first_call(fakes: Fakes) -> None:
    """Not with the client: one that is made and never used costs nothing."""
    node = fakes()
    with aiclient.Client(node.url, health_check=QUICK) as client:
        assert checkers() == []
        assert node.requests.total == 0
        client.get("/v1/models")
        patiently(lambda: node.requests.total > 3)


def test_calls_go_on_where_no_thread_can_be_had(
    fakes: Fakes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with aiclient.Client(fakes().url, health_check=QUICK) as client:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        assert [client.get("/v1/models").status_code for _ in range(3)] == [200] * 3
    said = [record.message for record in caplog.records if record.name == "aiclient"]
    assert said == ["there will be no health checks: can't start new thread"]


def test_without_a_health_check_there_are_none(fakes: Fakes) -> None:
    """None is the default."""
    with aiclient.Client(fakes().url) as client:
        client.get("/v1/models")
        assert client.balancer.checker is None
        assert checkers() == []


def test_they_end_with_close(silent: str) -> None:
    """Also in the middle of checks that would take a minute; nothing is left open."""
    before = sockets()
    balancer = aiclient.Balancer([silent], health_check=HealthCheck(timeout=60))
    balancer.wait_ready(5)
    patiently(lambda: len(sockets()) > len(before))
    began = time.monotonic()
    balancer.close()
    patiently(lambda: not checkers())
    assert time.monotonic() - began < 10
    assert sockets() == before


def test_they_end_with_the_balancer(silent: str) -> None:
    """That nobody closed: they hold no reference to it, whatever they do at the moment."""
    before = sockets()
    balancer = aiclient.Balancer([silent], health_check=HealthCheck(timeout=60))
    balancer.wait_ready(5)
    patiently(lambda: len(sockets()) > len(before))
    gone = weakref.ref(balancer)
    del balancer
    gc.collect()
    assert gone() is None
    patiently(lambda: not checkers())
    assert sockets() == before


def test_a_closed_balancer_is_not_checked_again(fakes: Fakes) -> None:
    """Not by asking it whether it is ready either."""
    node = fakes()
    balancer = aiclient.Balancer([node.url], health_check=QUICK)
    balancer.close()
    assert balancer.available
    assert checkers() == []


def test_there_are_64_at_most(silent: str) -> None:
    """Hundreds of nodes that do not answer: the others wait for their turn, and all are judged."""
    nodes = [aiclient.Endpoint(silent, name=f"n{number}") for number in range(300)]
    check = HealthCheck(interval=0.2, timeout=0.2)
    most = 0
    with aiclient.Balancer(nodes, health_check=check) as balancer:
        balancer.wait_ready(5)

        def all_are_out() -> bool:
            nonlocal most
            most = max(most, len(checkers()))
            return {node.state for node in balancer.snapshot()} == {"unhealthy"}

        patiently(all_are_out)
    assert 10 < most <= 65


def test_thousands_of_nodes(fakes: Fakes) -> None:
    """Each is checked; calls go on meanwhile."""
    node = fakes()
    nodes = [aiclient.Endpoint(node.url, name=f"n{number}") for number in range(2000)]
    with aiclient.Client(nodes, health_check=HealthCheck(interval=5, timeout=10)) as client:
        while node.requests.total < 2500:
            assert client.get("/v1/models").status_code == 200
        assert {seen.state.value for seen in client.balancer.snapshot()} == {"ready"}


def in_a_child(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `work` returns in a forked child."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        signal.alarm(60)
        try:
            told = work()
        except BaseException:
            told = {"error": traceback.format_exc()}
        os.write(writer, json.dumps(told).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told = json.loads(pipe.read() or b'{"error": "it was stuck"}')
    os.waitpid(pid, 0)
    return told


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # of this very test's threads
def test_a_forked_child_begins_anew(silent: str) -> None:
    """With none of its parent's threads and sockets; and the parent's checks go on."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        refusing = f"http://127.0.0.1:{gone.getsockname()[1]}"
    before = sockets()
    check = HealthCheck(interval=0.1, timeout=60)
    with aiclient.Balancer([refusing, silent], health_check=check) as balancer:

        def found_out() -> bool:
            return balancer.snapshot()[0].state == "unhealthy"

        balancer.wait_ready(5)
        patiently(lambda: found_out() and len(sockets()) > len(before))

        def work() -> dict[str, Any]:
            found = {"threads": checkers(), "sockets": len(sockets() - before)}
            balancer.restore(refusing)
            balancer.wait_ready(5)
            patiently(found_out)
            balancer.close()
            patiently(lambda: not checkers())
            return {**found, "in the end": len(sockets() - before)}

        assert in_a_child(work) == {"threads": [], "sockets": 0, "in the end": 0}
        balancer.restore(refusing)
        patiently(found_out)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_forks_at_any_moment(fakes: Fakes) -> None:
    """Whatever a check is at: the child's own ones find the node."""
    node = fakes()
    with aiclient.Client(node.url, health_check=HealthCheck(interval=0.001)) as client:
        client.balancer.wait_ready(5)
        for _ in range(20):

            def work() -> dict[str, Any]:
                seen = node.requests.total
                status = client.get("/v1/models").status_code
                client.close()
                patiently(lambda: not checkers())
                return {"status": status, "seen": seen > -1}

            assert in_a_child(work) == {"status": 200, "seen": True}
