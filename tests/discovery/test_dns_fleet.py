"""A fleet behind a name changes while calls are under way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import aiclient
from aiclient import DNSDiscovery, SRVDiscovery

from .dns_server import DNSMASQ, Dnsmasq, NameServer, OwnServer
from .following import Following, eventually, threads
from .traffic import CHAT, FLAVOURS, Answers, Fleet, Traffic

NAME = "llm.test"
SRV = "_llm._tcp.llm.test"


@pytest.fixture(
    params=["own", pytest.param("dnsmasq", marks=pytest.mark.skipif(not DNSMASQ, reason="none"))]
)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NameServer]:
    """A name server of each kind."""
    made: Any = OwnServer() if request.param == "own" else Dnsmasq(tmp_path)
    yield made
    made.close()


@pytest.fixture
def own() -> Iterator[OwnServer]:
    """The name server that can misbehave."""
    made = OwnServer()
    yield made
    made.close()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What `getaddrinfo` says of a name."""
    return Answers(monkeypatch)


@pytest.fixture
def fleets() -> Iterator[Callable[..., Fleet]]:
    """Makes fleets."""
    made: list[Fleet] = []

    def make(size: int, **options: Any) -> Fleet:
        made.append(Fleet(size, **options))
        return made[-1]

    yield make
    for fleet in made:
        fleet.close()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """Whatever a test does, nothing goes on looking after it."""
    yield
    eventually(lambda: not threads(), "the end of the threads")


def discovery(server: NameServer, fleet: Fleet, **options: Any) -> DNSDiscovery:
    """The name, looked up by this server."""
    return DNSDiscovery(
        f"{NAME}:{fleet.port}",
        resolver="dns",
        nameservers=[f"127.0.0.1:{server.port}"],
        **{"min_interval": 0.1, **options},
    )


def scale(traffic: Traffic, fleet: Fleet, tell: Callable[[list[str]], object]) -> None:
    """3 -> 6 -> 2 addresses; every one carries its share, and who left has no connection."""
    for hosts in (fleet.hosts[:3], fleet.hosts[:6], fleet.hosts[4:6]):
        tell(hosts)
        traffic.until(hosts)
        traffic.more()
        shares = traffic.shares()
        assert len(shares) == len(hosts)
        assert min(shares.values()) >= 100 / len(hosts) / 3, shares
        out = [node for node in fleet.nodes if node.host not in hosts]
        for node in out:
            eventually(lambda: node.connections == 0, "the end of the last streams")  # noqa: B023


# The ramp of a new node is another test's.
NO_RAMP: dict[str, Any] = {"breaker": aiclient.BreakerPolicy(slow_start=0)}


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_scaling(flavour: str, server: NameServer, fleets: Callable[..., Fleet]) -> None:
    """With 20 streams under way, no call fails, and each refresh is followed."""
    fleet = fleets(6)
    server.put(NAME, "A", *fleet.hosts[:3])
    with Traffic(flavour, discovery(server, fleet), **NO_RAMP) as traffic:
        scale(traffic, fleet, lambda hosts: server.put(NAME, "A", *hosts))


def test_scaling_by_the_systems_resolver(fleets: Callable[..., Fleet], answers: Answers) -> None:
    """The same by `getaddrinfo`, looked at every 0.2 s."""
    fleet = fleets(6)
    answers[NAME] = fleet.hosts[:3]
    source = DNSDiscovery(f"dns://{NAME}:{fleet.port}", interval=0.2, min_interval=0.1)
    with Traffic("asyncio", source, **NO_RAMP) as traffic:
        scale(traffic, fleet, lambda hosts: answers.update({NAME: hosts}))


def test_long_streams_end_in_peace(server: NameServer, fleets: Callable[..., Fleet]) -> None:
    """A node that leaves keeps the streams it has to their end, and gets no other call."""
    fleet = fleets(2, token_time=0.1)
    server.put(NAME, "A", *fleet.hosts)
    with aiclient.Client(discovery(server, fleet), picker=aiclient.RoundRobin()) as client:
        with (
            client.stream("POST", CHAT, json={"stream": True}) as one,
            client.stream("POST", CHAT, json={"stream": True}) as two,
        ):
            assert fleet.connections() == [1, 1]
            server.put(NAME, "A", fleet.hosts[1])
            eventually(lambda: len(client.balancer.snapshot()) == 1)
            assert one.read().endswith(b"data: [DONE]\n\n")
            assert two.read().endswith(b"data: [DONE]\n\n")
        eventually(lambda: fleet.connections() == [0, 1], "the end of its connection")


def dead(server: NameServer) -> None:
    """Nobody answers."""
    server.stop()


def nothing(server: NameServer) -> None:
    """The name is gone."""
    server.put(NAME, "A")


def empty(server: NameServer) -> None:
    """The name is there, its addresses are not."""
    server.put(NAME, "SRV", f"1 1 80 x.{NAME}.")
    server.put(NAME, "A")


def thousands(server: NameServer) -> None:
    """More than anybody has."""
    server.put(NAME, "A", *(f"10.1.{n // 250}.{n % 250}" for n in range(2000)))


def nobody(server: NameServer) -> None:
    """One of the addresses is a group's."""
    server.put(NAME, "A", "127.0.0.11", "224.0.0.1")


@pytest.mark.parametrize(
    ("begin", "said"),
    [
        (nothing, "A records of llm.test: The DNS query name does not exist"),
        (empty, "A records of llm.test: The DNS response does not contain an answer"),
        (thousands, "2000 addresses; max_nodes=1000"),
        (nobody, "224.0.0.1, which is no address of a node"),
        pytest.param(dead, "A records of llm.test: ", marks=pytest.mark.slow),
    ],
)
def test_trouble(
    begin: Callable[[Any], None], said: str, server: NameServer, fleets: Callable[..., Fleet]
) -> None:
    """Calls go on over the last good set, which is said; after it changes are followed again."""
    fleet = fleets(3)
    server.put(NAME, "A", *fleet.hosts[:2])
    with Traffic("asyncio", discovery(server, fleet)) as traffic:
        traffic.until(fleet.hosts[:2])
        begin(server)
        eventually(lambda: said in traffic.problem, f"{said}: {traffic.problem}")
        traffic.more()
        traffic.until(fleet.hosts[:2])
        if begin is dead:
            server.start()
        server.put(NAME, "A", *fleet.hosts[1:])
        traffic.until(fleet.hosts[1:])
        assert not traffic.problem
        traffic.more()


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("SERVFAIL", "SERVFAIL"),
        ("REFUSED", "REFUSED"),
        ("NXDOMAIN", "does not exist"),
        pytest.param("garbage", "lifetime expired", marks=pytest.mark.slow),
        pytest.param("silent", "lifetime expired", marks=pytest.mark.slow),
        ("repeated", "the same record twice"),
    ],
)
def test_a_misbehaving_server(
    mode: str, said: str, own: OwnServer, fleets: Callable[..., Fleet]
) -> None:
    """The same for what the real one cannot be brought to do."""
    fleet = fleets(3)
    own.put(NAME, "A", *fleet.hosts[:2])
    with Traffic("trio", discovery(own, fleet)) as traffic:
        traffic.until(fleet.hosts[:2])
        own.mode = mode
        eventually(lambda: said in traffic.problem, f"{said}: {traffic.problem}")
        traffic.more()
        traffic.until(fleet.hosts[:2])
        own.put(NAME, "A", *fleet.hosts[1:])
        own.mode = "answer"
        traffic.until(fleet.hosts[1:])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_priorities(flavour: str, server: NameServer, fleets: Callable[..., Fleet]) -> None:
    """The second group gets calls only while the first is out."""
    fleet = fleets(4)
    for number, host in enumerate(fleet.hosts):
        server.put(f"n{number}.llm.test", "A", host)
    levels = [10, 10, 20, 20]
    records = [f"{p} 5 {fleet.port} n{n}.llm.test." for n, p in enumerate(levels)]
    server.put(SRV, "SRV", *records)
    source = SRVDiscovery(
        f"dns+srv://{SRV}", nameservers=[f"127.0.0.1:{server.port}"], min_interval=0.1
    )
    options: dict[str, Any] = {"retry": aiclient.RetryPolicy(reserve=1000)}
    breaker = aiclient.BreakerPolicy(slow_start=0, open_for=0.3, max_open_connect=0.3)
    with Traffic(flavour, source, plain=True, breaker=breaker, **options) as traffic:
        traffic.until(fleet.hosts)
        traffic.more(100)
        assert [node.requests.total > 0 for node in fleet.nodes] == [True, True, False, False]
        for node in fleet.nodes[:2]:
            node.kill()
        eventually(lambda: traffic.only(fleet.hosts[2:]), "the second group")
        for node in fleet.nodes[:2]:
            node.start()
        eventually(lambda: traffic.only(fleet.hosts[:2]), "the first again")


def test_weights(server: NameServer, fleets: Callable[..., Fleet]) -> None:
    """A record's weight is its share; 0 beside others is next to none."""
    fleet = fleets(3)
    for number, host in enumerate(fleet.hosts):
        server.put(f"n{number}.llm.test", "A", host)
    records = [f"10 {weight} {fleet.port} n{n}.llm.test." for n, weight in enumerate((30, 10, 0))]
    server.put(SRV, "SRV", *records)
    source = SRVDiscovery(SRV, nameservers=[f"127.0.0.1:{server.port}"])
    with aiclient.Client(source, picker=aiclient.RoundRobin()) as client:
        for _ in range(40):
            assert client.get("/v1/models").status_code == 200
    assert [node.requests.total for node in fleet.nodes] == [30, 10, 0]


def test_a_time_to_live_of_2_s(server: NameServer) -> None:
    """Is followed, whatever the interval: not a second early, and hardly late."""
    server.put(NAME, "A", "10.0.0.1", ttl=2)
    source = DNSDiscovery(
        NAME, resolver="dns", nameservers=[f"127.0.0.1:{server.port}"], interval=3600
    )
    with Following(source) as following:
        following.until("http://10.0.0.1")
        started = time.monotonic()
        server.put(NAME, "A", "10.0.0.2", ttl=2)
        following.until("http://10.0.0.2")
        assert 1.5 < time.monotonic() - started < 7
