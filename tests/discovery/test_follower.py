"""A source of one's own, polled or pushed, and the thread that follows it."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import httpx
import pytest

import aiclient
from aiclient import (
    ConfigurationError,
    Discovery,
    DiscoveryError,
    Endpoint,
    KubernetesDiscovery,
    Signal,
)
from aiclient.discovery import follower, kubernetes
from aiclient.testing import FakeNode

from .caller import Caller
from .cluster import Cluster, pod
from .following import eventually, threads
from .traffic import FLAVOURS

everybody = pytest.mark.parametrize("flavour", FLAVOURS)
A, B = "http://10.0.0.1:8000", "http://10.0.0.2:8000"


class Polled:
    """Asks a function, now and then."""

    def __init__(self, ask: Callable[[], Any], *, every: float = 0.01) -> None:
        self.ask = ask
        self.every = every
        self.looks = 0

    def watch(self, signal: Signal) -> Iterator[Iterable[Endpoint | str]]:
        while True:
            self.looks += 1
            yield self.ask()
            if not signal.wait(self.every):
                return

    def __repr__(self) -> str:
        return "Polled()"


class Pushed:
    """Is told of changes, by a callback."""

    def __init__(self, *nodes: str) -> None:
        self._nodes = nodes
        self.subscribers: list[Callable[[], None]] = []

    def push(self, *nodes: str) -> None:
        self._nodes = nodes
        for tell in tuple(self.subscribers):
            tell()

    def watch(self, signal: Signal) -> Iterator[Iterable[str]]:
        self.subscribers.append(signal.wake)
        try:
            while True:
                yield self._nodes
                if not signal.wait():
                    return
        finally:
            self.subscribers.remove(signal.wake)


@pytest.fixture(autouse=True)
def nobody_left() -> Iterator[None]:
    """Each test begins and ends without a thread that follows anything."""
    eventually(lambda: not threads(), "the end of the threads of tests before")
    yield
    eventually(lambda: not threads(), "the end of the thread")


@pytest.fixture
def nodes() -> Iterator[list[FakeNode]]:
    """Two nodes that take no time."""
    with FakeNode(prefill=0) as one, FakeNode(prefill=0) as two:
        yield [one, two]


@everybody
def test_a_polled_source(flavour: str, nodes: list[FakeNode]) -> None:
    """It is asked from the first call on, and followed."""
    now = [nodes[0].url]
    source = Polled(lambda: now)
    assert isinstance(source, Discovery)
    with Caller(flavour, source) as caller:
        assert not threads()
        assert caller.get().headers["x-fake-node"] == nodes[0].name
        now[:] = [nodes[1].url]
        eventually(lambda: caller.urls() == {nodes[1].url})
        assert caller.get().headers["x-fake-node"] == nodes[1].name
        status = caller.balancer.snapshot().discovery
        assert status is not None
        assert (status.source, status.updates, status.problem) == ("Polled()", 2, "")


@everybody
def test_a_pushed_source(flavour: str, nodes: list[FakeNode]) -> None:
    """It sleeps until it is told; its end is its own to clean up."""
    source = Pushed(nodes[0].url)
    with Caller(flavour, source) as caller:
        caller.get()
        source.push(nodes[1].url)
        eventually(lambda: caller.urls() == {nodes[1].url})
        assert caller.get().headers["x-fake-node"] == nodes[1].name
    eventually(lambda: not source.subscribers)


@everybody
def test_calls_wait_for_the_first_nodes(flavour: str, nodes: list[FakeNode]) -> None:
    """And for nothing later."""
    source = Pushed()
    with Caller(flavour, source) as caller:
        threading.Timer(0.2, lambda: source.push(nodes[0].url)).start()
        started = time.monotonic()
        assert caller.get().status_code == 200
        assert time.monotonic() - started > 0.1
        source.push()
        eventually(lambda: "empty" in caller.problem)
        assert caller.get().status_code == 200


class Mute:
    """Never names a node."""

    wait = 0.1

    def watch(self, signal: Signal) -> Iterator[Iterable[str]]:
        signal.wait()
        yield from ()

    def __repr__(self) -> str:
        return "Mute()"


@everybody
def test_a_source_that_says_nothing(flavour: str) -> None:
    """The call fails after the wait, with httpx's own kind of error."""
    with Caller(flavour, Mute()) as caller:
        with pytest.raises(DiscoveryError) as caught:
            caller.get()
        assert str(caught.value) == ("Mute() has named no nodes for 0.1 s: there was no answer yet")
        assert isinstance(caught.value, httpx.ConnectError)
        with pytest.raises(TimeoutError, match=r"Mute\(\): there was no answer yet"):
            caller.balancer.wait_ready(0.05)


def test_how_long_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that has no `wait` is waited for all the same."""
    monkeypatch.setattr(follower, "_WAIT", 0.1)
    with (
        aiclient.Client(Polled(lambda: ())) as client,
        pytest.raises(
            DiscoveryError, match=r"Polled\(\) has named no nodes for 0.1 s: nodes: empty"
        ),
    ):
        client.get("/")


@everybody
def test_a_source_that_raises(flavour: str, nodes: list[FakeNode]) -> None:
    """It is said once, in log and snapshot; the nodes stay; when it is well, that is said too."""
    failing = threading.Event()

    def ask() -> list[str]:
        if failing.is_set():
            raise RuntimeError("the registry is away")
        return [nodes[0].url]

    source = Polled(ask)
    events: list[str] = []
    with Caller(flavour, source) as caller:
        caller.get()
        caller.balancer.subscribe(lambda event: events.append(str(event)))
        failing.set()
        eventually(lambda: caller.problem == "the registry is away")
        looks = source.looks
        eventually(lambda: source.looks > looks + 2)
        assert caller.get().status_code == 200
        failing.clear()
        eventually(lambda: not caller.problem)
    said = [event for event in events if "discovery" in event]
    assert len(said) == 2
    assert "Polled(): the registry is away; the last 1 nodes stay" in said[0]
    assert "Polled() answers again" in said[1]


BAD: list[tuple[Any, str]] = [
    ([], "nodes: empty"),
    ("", "nodes: empty"),
    ([A, A], f"nodes: {A} stands twice"),
    ([5], "nodes: 5 is not allowed"),
    (None, "nodes: None is not allowed"),
    ([A, "10.0.0.1"], "it needs a scheme"),
    ([f"http://10.{n >> 16}.{n >> 8 & 255}.{n & 255}:1" for n in range(20_001)], "at most 20000"),
]


@pytest.mark.parametrize(("answer", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_a_bad_set_replaces_nothing(answer: Any, problem: str) -> None:
    """Empty, absurd or no nodes at all."""
    answers: list[Any] = [[A, B]]
    with Caller("sync", Polled(lambda: answers[0])) as caller:
        caller.balancer.wait_ready(5)
        answers[0] = answer
        eventually(lambda: problem in caller.problem)
        assert caller.urls() == {A, B}
        answers[0] = [B]
        eventually(lambda: caller.urls() == {B} and not caller.problem)


class Reporting:
    """Has a problem that is no reason to begin anew."""

    def __init__(self) -> None:
        self.begun = 0
        self.bad = False

    def watch(self, signal: Signal) -> Iterator[Iterable[str]]:
        self.begun += 1
        while not signal.over:
            if self.bad:
                signal.report(DiscoveryError("half an answer"))
            else:
                yield [A]
            signal.wait(0.01)


def test_a_problem_reported_in_passing() -> None:
    """It stands in the snapshot until the next set, and `watch` goes on."""
    source = Reporting()
    with Caller("sync", source) as caller:
        caller.balancer.wait_ready(5)
        source.bad = True
        eventually(lambda: caller.problem == "half an answer")
        assert caller.urls() == {A}
        source.bad = False
        eventually(lambda: not caller.problem)
    assert source.begun == 1


class Odd:
    """Returns something from `watch`."""

    def __init__(self, returned: Any) -> None:
        self._returned = returned

    def watch(self, signal: Signal) -> Any:
        return self._returned


@pytest.mark.parametrize(
    ("returned", "problem"), [([[A]], "it came to its end"), (None, "not iterable")]
)
def test_a_watch_that_ends(returned: Any, problem: str) -> None:
    """It is a problem, and begun anew; what it yielded counts."""
    with Caller("sync", Odd(returned)) as caller:
        eventually(lambda: caller.balancer.available or problem in caller.problem)
        eventually(lambda: problem in caller.problem)
        assert caller.urls() == ({A} if returned else set())


def test_a_watch_that_fails_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time after a good answer: the pauses grow all the same, and so does not the log."""
    source = Odd([[A]])
    began: list[float] = []

    def watch(signal: Signal) -> Any:
        began.append(time.monotonic())
        return [[A]]

    monkeypatch.setattr(source, "watch", watch)
    with Caller("sync", source) as caller:
        caller.balancer.wait_ready(5)
        eventually(lambda: len(began) == 5)
    assert began[4] - began[3] > 2 * (began[1] - began[0])


def test_a_class_is_no_source() -> None:
    """An object of it is."""
    with pytest.raises(ConfigurationError, match="an object of it is"):
        aiclient.Client(Mute)


@everybody
def test_a_node_that_cannot_be_reached(flavour: str, nodes: list[FakeNode]) -> None:
    """The source is called for a look before its time."""
    now = [node.url for node in nodes]
    source = Polled(lambda: list(now), every=3600)
    with Caller(flavour, source) as caller:
        caller.get()
        nodes[0].stop()
        now.pop(0)
        for _ in range(30):  # with fewer, chance may never try the other one
            assert caller.get().headers["x-fake-node"] == nodes[1].name
        eventually(lambda: caller.urls() == {nodes[1].url})
        assert source.looks > 1


@everybody
def test_the_end_of_a_client_nobody_closed(flavour: str) -> None:
    """When it is collected its thread ends; the source is not held by anything."""
    source = Pushed(A)
    caller = Caller(flavour, source)
    caller.balancer.wait_ready(5)
    known = weakref.ref(caller.balancer)
    assert threads()
    caller.client = None
    gc.collect()
    assert known() is None
    eventually(lambda: not threads(), "the end of the thread")
    assert not source.subscribers
    caller.leave()


def test_two_balancers_share_a_source(nodes: list[FakeNode]) -> None:
    """Each follows it in its own time."""
    source = Pushed(nodes[0].url)
    with Caller("sync", source) as one, Caller("sync", source) as two:
        one.get()
        two.get()
        one.close()
        eventually(lambda: len(threads()) == 1)
        source.push(nodes[1].url)
        eventually(lambda: two.urls() == {nodes[1].url})
        assert two.get().status_code == 200


def test_the_service_a_source_stands_for(nodes: list[FakeNode]) -> None:
    """Its `service` is the URL of all nodes together."""
    source = Pushed(nodes[0].url)
    source.service = "http://llm.internal"  # type: ignore[attr-defined]
    with Caller("sync", source) as caller:
        assert str(caller.get().url) == "http://llm.internal/v1/models"


def forked(act: Callable[[], object]) -> int:
    """Run it in a child; the child's process."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        act()
        code = 0
    finally:
        os._exit(code)


def ended_well(child: int) -> bool:
    """Wait for it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
forking = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@needs_fork
@forking
def test_a_forked_child_follows_for_itself(nodes: list[FakeNode]) -> None:
    """From its first call on; the parent's thread goes on."""
    now = [nodes[0].url]
    with Caller("sync", Polled(lambda: list(now))) as caller:
        caller.get()

        def child() -> None:
            assert not threads()
            assert caller.get().status_code == 200
            now[:] = [nodes[1].url]
            eventually(lambda: caller.urls() == {nodes[1].url})
            assert caller.get().headers["x-fake-node"] == nodes[1].name
            caller.close()
            eventually(lambda: not threads())

        assert ended_well(forked(child))
        assert caller.urls() == {nodes[0].url}
        now.append(nodes[1].url)
        eventually(lambda: len(caller.urls()) == 2)


@needs_fork
@forking
def test_a_forked_child_holds_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry sees the end of a watch that the parent has left, whatever the child does."""
    monkeypatch.setattr(kubernetes, "_SILENCE_SECONDS", 0.3)
    with Cluster() as cluster:
        cluster.put("llm-1", [pod("10.0.0.1")])
        source = KubernetesDiscovery("llm", "default", server=cluster.url)
        with Caller("sync", source) as caller:
            caller.balancer.wait_ready(5)
            eventually(lambda: cluster.watches and cluster.open == 1)
            reading, writing = os.pipe()

            def child() -> None:
                os.close(writing)
                os.read(reading, 1)  # until the parent closes its end

            pid = forked(child)
            watches = cluster.watches
            eventually(lambda: cluster.watches == watches + 2)
        try:
            eventually(lambda: not cluster.open, "the end of the watch")
        finally:
            os.close(writing)
            os.close(reading)
        assert ended_well(pid)


def test_signal_waits() -> None:
    """For its time, for a call before it, though not too early, or for the end."""
    signal = Signal()
    started = time.monotonic()
    assert signal.wait(0.05)
    assert time.monotonic() - started >= 0.05
    signal.wake()
    assert signal.wait()
    signal.wake()
    started = time.monotonic()
    assert signal.wait(3600, at_least=0.05)
    assert 0.05 <= time.monotonic() - started < 10
    threading.Timer(0.02, signal.end).start()
    assert not signal.wait()
    assert not signal.wait(3600, at_least=3600)
    assert signal.over


def test_signal_stops_what_blocks_elsewhere() -> None:
    """While it blocks, once; at once if the end has come."""
    signal = Signal()
    stopped: list[str] = []
    with signal.ending(lambda: stopped.append("before")):
        pass
    with signal.ending(lambda: stopped.append("within")):
        signal.end()
        assert stopped == ["within"]
    with signal.ending(lambda: stopped.append("after")):
        assert stopped == ["within", "after"]
    signal.report(RuntimeError("nobody listens"))
