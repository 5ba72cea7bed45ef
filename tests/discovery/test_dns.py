"""`DNSDiscovery` and `SRVDiscovery`: what they take, what they believe, and when they look."""

from __future__ import annotations

import gc
import importlib.util
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import aiclient
from aiclient import ConfigurationError, DNSDiscovery, Endpoint, SRVDiscovery
from aiclient.testing import FakeNode

from .dns_server import OwnServer
from .following import Following, eventually, threads
from .traffic import Answers

NAME = "llm.test"
SRV = "_llm._tcp.llm.test"
A, B = "http://10.0.0.1:8000", "http://10.0.0.2:8000"


@pytest.fixture
def own() -> Iterator[OwnServer]:
    """A name server."""
    made = OwnServer()
    yield made
    made.close()


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What `getaddrinfo` says of a name."""
    return Answers(monkeypatch)


def quick(target: str = f"{NAME}:8000", **options: Any) -> DNSDiscovery:
    """The systems's resolver, asked again and again."""
    return DNSDiscovery(target, **{"interval": 0.02, "min_interval": 0.02, **options})


def status(balancer: aiclient.Balancer) -> aiclient.DiscoveryStatus:
    """How its search for nodes goes."""
    found = balancer.snapshot().discovery
    assert found is not None
    return found


def asking(own: OwnServer, target: str = f"{NAME}:8000", **options: Any) -> DNSDiscovery:
    """This name server, asked again and again."""
    servers = [f"127.0.0.1:{own.port}"]
    return quick(target, resolver="dns", nameservers=servers, **options)


def services(own: OwnServer, target: str = SRV, **options: Any) -> SRVDiscovery:
    """This name server, asked for services."""
    servers = [f"127.0.0.1:{own.port}"]
    options = {"interval": 0.02, "min_interval": 0.02, **options}
    return SRVDiscovery(target, nameservers=servers, **options)


@pytest.mark.parametrize(
    ("target", "service", "node"),
    [
        (f"{NAME}:8000", f"http://{NAME}:8000", A),
        (f"dns://{NAME}:8000", f"http://{NAME}:8000", A),
        (f" DNS://{NAME}:8000/ ", f"http://{NAME}:8000", A),
        (f"dns://{NAME}", f"http://{NAME}", "http://10.0.0.1"),
        (f"dns://{NAME}.:8000", f"http://{NAME}:8000", A),
        (f"dns+https://{NAME}", f"https://{NAME}", "https://10.0.0.1"),
        (f"dns+https://{NAME}:8443/a", f"https://{NAME}:8443", "https://10.0.0.1:8443/a"),
        (f"https://{NAME}:8443", f"https://{NAME}:8443", "https://10.0.0.1:8443"),
        (f"http://{NAME}:8000/proxy/a/", f"http://{NAME}:8000", f"{A}/proxy/a"),
    ],
)
def test_forms(answers: Answers, target: str, service: str, node: str) -> None:
    """A name with a port, or a URL; Host and TLS name stay on the name."""
    answers[NAME] = answers[f"{NAME}."] = ["10.0.0.1"]
    discovery = quick(target)
    assert discovery.service == service
    with Following(discovery) as following:
        following.until(node)
    authority = service.partition("://")[2]
    assert following.sets[0] == (Endpoint(node, tls_name=NAME, host_header=authority),)


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("dns://llm:8000", "DNSDiscovery('http://llm:8000')"),
        ("DNS://llm:8000", "DNSDiscovery('http://llm:8000')"),
        ("dns+https://llm/a", "DNSDiscovery('https://llm/a')"),
        ("dns+srv://_llm._tcp.test", "SRVDiscovery('_llm._tcp.test')"),
        (httpx.URL("dns://llm:8000"), "DNSDiscovery('http://llm:8000')"),
    ],
)
def test_urls_stand_for_sources(url: object, source: str) -> None:
    """A client or balancer takes them as its nodes."""
    with aiclient.Balancer(url) as balancer:
        assert status(balancer).source == source


@pytest.mark.parametrize(
    "target",
    [
        *("", ":8000", "dns://", "dns:///llm:8000", "a b", "a..b", "-a", "a-.example", "a" * 64),
        *(f"{NAME}:0", f"{NAME}:65536", f"{NAME}:x", "dns://llm:8000?interval=5", "llm#x"),
        *("bücher.example", "dns+srv://_a._tcp.b", "ftp://llm", "[::1", "::1", ".".join("a" * 128)),
        *(None, 5, b"llm", ["llm"]),
    ],
)
def test_targets_that_are_none(target: Any) -> None:
    """Are refused with what is allowed."""
    with pytest.raises(ConfigurationError, match=r"is not allowed; 'name:port', 'dns://name:port'"):
        DNSDiscovery(target)


def test_a_password_in_the_target_is_not_shown() -> None:
    """Not in the error either."""
    for text in ("dns://user:secret@llm", "dns://llm?key=secret", "user:secret@llm"):
        for kind in (DNSDiscovery, SRVDiscovery):
            with pytest.raises(ConfigurationError) as caught:
                kind(text)
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"interval": 0}, "DNSDiscovery.interval: 0 is not allowed; seconds > 0"),
        ({"min_interval": float("nan")}, "DNSDiscovery.min_interval: nan"),
        ({"wait": "10"}, "DNSDiscovery.wait: '10'"),
        ({"max_nodes": 0}, "DNSDiscovery.max_nodes: 0 is not allowed; a whole number >= 1"),
        ({"family": "ipv5"}, "DNSDiscovery.family: 'ipv5' is not allowed; 'any' or 'ipv4' or"),
        ({"resolver": "mdns"}, "DNSDiscovery.resolver: 'mdns' is not allowed; 'system' or 'dns'"),
        ({"nameservers": ["10.0.0.53"]}, "None, or resolver='dns'"),
        ({"resolver": "dns", "nameservers": ["ns.example"]}, "'ns.example' is not allowed; IP"),
        ({"resolver": "dns", "nameservers": ["10.0.0.53:0"]}, "'10.0.0.53:0' is not allowed"),
        ({"resolver": "dns", "nameservers": []}, "nameservers: .* at least one address"),
    ],
)
def test_settings_that_are_not_allowed(options: dict[str, Any], said: str) -> None:
    """Each is refused by its name, with its value and what is allowed."""
    with pytest.raises(ConfigurationError, match=said):
        DNSDiscovery(NAME, **options)


@pytest.mark.parametrize("target", ["", f"{SRV}:8000", "10.0.0.1", "dns://llm", "dns+srv://"])
def test_srv_targets_that_are_none(target: str) -> None:
    """A record has its own port, and an address has no records."""
    with pytest.raises(ConfigurationError, match=r"SRVDiscovery: .*is not allowed; '_service"):
        SRVDiscovery(target)


def test_without_dnspython(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is said when the source is made, with the command."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("aiclient.discovery.resolver.find_spec", lambda name: None)
    for make in (lambda: DNSDiscovery(NAME, resolver="dns"), lambda: SRVDiscovery(SRV)):
        with pytest.raises(ConfigurationError, match=r"pip install 'aiclient\[dns\]'"):
            make()
    DNSDiscovery(NAME)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([], "holds no address"),
        ([f"10.1.{n // 250}.{n % 250}" for n in range(1001)], "1001 addresses; max_nodes=1000"),
        (["10.0.0.1", "10.0.0.1"], "10.0.0.1 twice"),
        (["10.0.0.1", "::ffff:10.0.0.1"], "::ffff:10.0.0.1 twice"),
        (["10.0.0.1", "0.0.0.0"], "0.0.0.0, which is no address of a node"),
        (["10.0.0.1", "::"], "::, which is no address of a node"),
        (["239.1.2.3"], "239.1.2.3, which is no address of a node"),
        (["ff02::1"], "ff02::1, which is no address of a node"),
        (["255.255.255.255"], "255.255.255.255, which is no address of a node"),
        (["/run/llm.sock"], "'/run/llm.sock', which is no IP address"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (socket.gaierror(-3, "Temporary failure in name resolution"), "Temporary failure"),
        (OSError("no more files"), "no more files"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
def test_an_absurd_answer(answers: Answers, answer: Any, said: str) -> None:
    """Is said, replaces nothing, and the next good one is followed."""
    answers[NAME] = ["10.0.0.1"]
    with aiclient.Balancer(quick()) as balancer:
        balancer.wait_ready(10)
        answers[NAME] = answer
        assert said in eventually(lambda: status(balancer).problem)
        assert [str(node.endpoint) for node in balancer.snapshot()] == [A]
        answers[NAME] = ["10.0.0.2"]
        eventually(lambda: [str(node.endpoint) for node in balancer.snapshot()] == [B])
        assert status(balancer).problem == ""


def test_the_order_is_no_change(answers: Answers) -> None:
    """Resolvers shuffle: an answer in another order changes nothing."""
    turns = iter(range(10**9))
    shuffled = [["10.0.0.2", "10.0.0.1"], ["10.0.0.1", "10.0.0.2"]]
    answers[NAME] = lambda: shuffled[next(turns) % 2]
    with aiclient.Balancer(quick()) as balancer:
        balancer.wait_ready(10)
        asked = answers.asked
        eventually(lambda: answers.asked > asked + 4)
        assert status(balancer).updates == 1


def test_the_first_answer_is_waited_for(answers: Answers) -> None:
    """So long and no longer; the error names the source, the resolver's words, and the time."""
    answers[NAME] = socket.gaierror(-2, "Name or service not known")
    with aiclient.Client(DNSDiscovery(f"{NAME}:8000", wait=0.3)) as client:
        for _ in range(2):
            with pytest.raises(aiclient.DiscoveryError) as caught:
                client.get("/v1/models")
            text = str(caught.value)
            assert f"DNSDiscovery('http://{NAME}:8000') has named no nodes for 0." in text
            assert "Name or service not known" in text


def test_a_resolver_that_hangs(answers: Answers) -> None:
    """Nobody waits for it: not a call beyond `wait`, not `close`, not the garbage collector."""
    released = threading.Event()
    answers[NAME] = lambda: released.wait(60) and ["10.0.0.1"]
    try:
        client = aiclient.Client(DNSDiscovery(f"{NAME}:8000", wait=0.2))
        with pytest.raises(aiclient.DiscoveryError, match="there was no answer yet"):
            client.get("/v1/models")
        started = time.monotonic()
        client.close()
        del client
        other = aiclient.Balancer(DNSDiscovery(f"{NAME}:8000", wait=0.2))
        assert not other.available
        eventually(lambda: answers.asked == 2)
        del other
        gc.collect()
        assert time.monotonic() - started < 5
    finally:
        released.set()
    eventually(lambda: not threads(), "the end of the threads")


def test_an_early_look(answers: Answers) -> None:
    """A node that cannot be reached calls for one, but not before `min_interval`."""
    with FakeNode(host="127.0.0.22", prefill=0, token_time=0) as node:
        answers[NAME] = ["127.0.0.21"]  # nobody is there
        target = f"{NAME}:{node.port}"
        source = DNSDiscovery(target, interval=3600, min_interval=0.3)
        with aiclient.Client(source, retry=None) as client:
            with pytest.raises(httpx.ConnectError):
                client.get("/v1/models")
            first = time.monotonic()
            answers[NAME] = ["127.0.0.22"]
            eventually(lambda: str(client.balancer.snapshot()[0].endpoint) == node.url)
            assert time.monotonic() - first > 0.2
            assert client.get("/v1/models").status_code == 200
            assert node.requests[-1].headers["host"] == target
        assert answers.asked == 2


def test_a_call_for_a_look_makes_none_late(answers: Answers) -> None:
    """`min_interval` is about early looks: the next one is due after `interval` as ever."""
    answers[NAME] = ["10.0.0.1"]
    with Following(quick(interval=0.2, min_interval=3600)) as following:
        following.until(A)
        following.signal.wake()
        answers[NAME] = ["10.0.0.2"]
        following.until(B)


def test_failures_are_not_a_storm(answers: Answers) -> None:
    """Dead nodes and a dead name server together ask no more often than `min_interval`."""
    answers[NAME] = ["127.0.0.21"]
    source = DNSDiscovery(f"{NAME}:9", interval=0.2, min_interval=0.2)
    with aiclient.Client(source, retry=None) as client:
        client.balancer.wait_ready(10)
        answers[NAME] = OSError("dead")
        started, asked = time.monotonic(), answers.asked
        while time.monotonic() < started + 1.1:
            with pytest.raises(httpx.ConnectError):
                client.get("/v1/models")
        assert 3 <= answers.asked - asked <= 6


def test_the_machines_own_hosts_file() -> None:
    """The real `getaddrinfo` knows localhost."""
    with (
        FakeNode(prefill=0, token_time=0) as node,
        aiclient.Client(f"dns://localhost:{node.port}") as client,
    ):
        assert client.get("/v1/models").url == f"http://localhost:{node.port}/v1/models"
        assert node.requests[-1].headers["host"] == f"localhost:{node.port}"
        assert client.get("/v1/models").status_code == 200


def test_an_address_is_its_own_name(own: OwnServer) -> None:
    """There is nothing to look up, by either resolver."""
    for discovery in (quick("dns://[::1]:8000"), asking(own, "dns://[::1]:8000")):
        with Following(discovery) as following:
            following.until("http://[::1]:8000")
        assert following.sets[0] == (Endpoint("http://[::1]:8000"),)
        assert discovery.service == "http://[::1]:8000"
    assert not own.queries


def ipv6() -> bool:
    """Whether this machine has it."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("way", ["system", "dns"])
def test_dual_stack(own: OwnServer, answers: Answers, way: str) -> None:
    """Both kinds of addresses are nodes and get calls; `family` asks for one of them."""
    addresses = ["127.0.0.1", "::1"]
    answers[NAME] = addresses
    own.put(NAME, "A", addresses[0])
    own.put(NAME, "AAAA", addresses[1])
    make: Any = quick if way == "system" else lambda *a, **o: asking(own, *a, **o)
    with FakeNode(prefill=0) as four, FakeNode(host="::1", port=four.port, prefill=0) as six:
        source = make(f"{NAME}:{four.port}")
        with aiclient.Client(source, picker=aiclient.RoundRobin()) as client:
            for _ in range(4):
                assert client.get("/v1/models").status_code == 200
        assert (four.requests.total, six.requests.total) == (2, 2)
    if way == "dns":
        for family, wanted in (("ipv4", "http://127.0.0.1"), ("ipv6", "http://[::1]")):
            with Following(make(NAME, family=family)) as following:
                following.until(wanted)


def test_addresses_without_a_route(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Are no nodes, unless there is no route to any."""
    answers[NAME] = ["10.0.0.1", "fd00:1::1"]
    ways = {"10.0.0.1"}
    monkeypatch.setattr("aiclient.discovery.addresses._has_route", ways.__contains__)
    with Following(quick()) as following:
        following.until(A)
        ways.clear()
        following.until(A, "http://[fd00:1::1]:8000")


def test_nothing_is_left_after_close(own: OwnServer) -> None:
    """No thread and no socket, whichever resolver was asked."""
    own.put(NAME, "A", "127.0.0.1")
    with FakeNode(prefill=0) as node:
        client = aiclient.Client(asking(own, f"{NAME}:{node.port}"))
        assert client.get("/v1/models").status_code == 200
        client.close()
        eventually(lambda: not threads(), "the end of the threads")
        eventually(lambda: node.connections == 0, "the end of the connections")
        before = len(os.listdir("/dev/fd"))
        for target in (asking(own, f"{NAME}:{node.port}"), f"dns://localhost:{node.port}"):
            client = aiclient.Client(target)
            assert client.get("/v1/models").status_code == 200
            client.close()
        eventually(lambda: not threads(), "the end of the threads")
        eventually(lambda: node.connections == 0, "the end of the connections")
        assert len(os.listdir("/dev/fd")) <= before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_looks_for_itself(own: OwnServer) -> None:
    """The parent's thread is not in the child, which starts one with its first call."""
    own.put(NAME, "A", "127.0.0.1")
    with (
        FakeNode(prefill=0) as node,
        FakeNode(host="127.0.0.2", port=node.port, prefill=0) as other,
        aiclient.Client(asking(own, f"{NAME}:{node.port}", family="ipv4")) as client,
    ):
        assert client.get("/v1/models").status_code == 200
        child = os.fork()
        if not child:
            try:
                assert client.get("/v1/models").status_code == 200
                eventually(lambda: str(client.balancer.snapshot()[0].endpoint) == other.url)
                os._exit(0)
            finally:
                os._exit(1)
        own.put(NAME, "A", "127.0.0.2")
        assert os.waitpid(child, 0)[1] == 0


# The extra "dns"


def test_edns_is_on_and_names_end_with_a_dot(own: OwnServer) -> None:
    """A payload that passes everywhere is offered, and both kinds of addresses are asked for."""
    own.put(NAME, "A", "10.0.0.1")
    own.put(NAME, "AAAA", "fd00::1")
    with Following(asking(own, family="any")) as following:
        eventually(lambda: following.sets)
    assert {query[:2] for query in own.queries} == {(f"{NAME}.", "A"), (f"{NAME}.", "AAAA")}
    assert {query[2:] for query in own.queries} == {("udp", 1232)}


def test_search_domains(own: OwnServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short name is completed as the system's configuration says."""
    import dns.name
    import dns.resolver

    def configure(self: Any, path: str) -> None:
        self.search = [dns.name.from_text("ns.svc.test"), dns.name.from_text("svc.test")]
        self.nameservers = ["127.0.0.1"]
        self.port = own.port

    monkeypatch.setattr(dns.resolver.Resolver, "read_resolv_conf", configure)
    own.put("llm.svc.test", "A", "10.0.0.1")
    with Following(quick("llm:8000", resolver="dns")) as following:
        following.until(A)
    assert following.sets[0][0].host_header == "llm:8000"
    assert own.queries[0][0] == "llm.ns.svc.test."


def test_a_truncated_answer(own: OwnServer) -> None:
    """Is asked for again by TCP, and whole."""
    own.put(NAME, "A", "10.0.0.1", "10.0.0.2")
    own.mode = "truncated"
    with Following(asking(own)) as following:
        following.until(A, B)
    assert own.queries[1][2] == "tcp"


def test_an_answer_too_large_for_udp(own: OwnServer) -> None:
    """Hundreds of nodes are no problem; the limit is ours."""
    hosts = [f"10.1.{n // 250}.{n % 250}" for n in range(900)]
    own.put(NAME, "A", *hosts)
    with Following(asking(own)) as following:
        following.until(*(f"http://{host}:8000" for host in hosts))
    with Following(asking(own, max_nodes=899)) as following:
        following.problem("900 addresses; max_nodes=899")


def test_half_an_answer(own: OwnServer) -> None:
    """Addresses of one kind do not replace a good set where the other kind was not answered."""
    own.put(NAME, "A", "10.0.0.1")
    own.put(NAME, "AAAA", "fd00::1")
    own.refused = {"AAAA"}
    with Following(asking(own)) as following:
        assert f"AAAA records of {NAME}" in following.problem("REFUSED")
        assert not following.sets


@pytest.mark.parametrize(
    ("ttl", "interval", "wanted"), [(0, 3600, 1), (1, 3600, 1), (3600, 0.5, 0.5)]
)
def test_the_bounds_of_a_life(own: OwnServer, ttl: int, interval: float, wanted: float) -> None:
    """Never shorter than a second, never longer than `interval`."""
    own.put(NAME, "A", "10.0.0.1", ttl=ttl)
    with Following(asking(own, family="ipv4", interval=interval)):
        eventually(lambda: own.asked() == 1)
        started = time.monotonic()
        eventually(lambda: own.asked() == 2)
    assert wanted - 0.1 < time.monotonic() - started < wanted + 5


# SRV


def test_srv(own: OwnServer) -> None:
    """Priority, weight, port and host of each record; a host's addresses share its weight."""
    own.put(SRV, "SRV", "20 0 8000 a.test.", "10 6 8001 a.test.", "10 0 8002 b.test.")
    own.put("a.test", "A", "10.0.0.1")
    own.put("b.test", "A", "10.0.0.2", "10.0.0.3")
    with Following(services(own, f"dns+srv://{SRV}/v", scheme="https")) as following:
        eventually(lambda: following.sets)
    nodes = [
        ("https://10.0.0.1:8001/v", "a.test", 8001, 6.0, 10),
        ("https://10.0.0.2:8002/v", "b.test", 8002, 0.005, 10),
        ("https://10.0.0.3:8002/v", "b.test", 8002, 0.005, 10),
        ("https://10.0.0.1:8000/v", "a.test", 8000, 1.0, 20),
    ]
    assert following.sets[0] == tuple(
        Endpoint(url, tls_name=host, host_header=f"{host}:{port}", weight=weight, priority=priority)
        for url, host, port, weight, priority in nodes
    )
    assert services(own, scheme="https").service == f"https://{SRV}"


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ((), "does not exist"),
        (("0 0 0 .",), "says that this service is not available"),
        (("1 1 0 a.test.",), "'a.test.', port 0"),
        (("1 1 80 gone.test.",), "does not exist: gone.test"),
        (("1 1 80 multicast.test.",), "224.0.0.1"),
        (("1 1 80 a.test.", "2 1 80 a.test."), "stands twice"),
        (tuple(f"1 1 {n + 1} a.test." for n in range(1001)), "1001 records; max_nodes=1000"),
        (tuple(f"1 1 {n + 1} two.test." for n in range(501)), "1002 addresses; max_nodes=1000"),
    ],
)
def test_absurd_services(own: OwnServer, records: tuple[str, ...], said: str) -> None:
    """Are said and replace nothing."""
    own.put("a.test", "A", "10.0.0.1")
    own.put("two.test", "A", "10.0.0.1", "10.0.0.2")
    own.put("multicast.test", "A", "224.0.0.1")
    own.put(SRV, "SRV", *records)
    with aiclient.Balancer(services(own, family="ipv4")) as balancer:
        assert not balancer.available
        problem = eventually(lambda: status(balancer).problem)
        assert said in problem
        assert not balancer.snapshot()


def test_a_host_that_has_gone(own: OwnServer) -> None:
    """Is left out: its record goes later than it does. One that is not answered is not gone."""
    own.put(SRV, "SRV", "1 1 80 a.test.", "1 1 80 b.test.")
    own.put("a.test", "A", "10.0.0.1")
    own.put("b.test", "A", "10.0.0.2")
    with Following(services(own)) as following:
        following.until("http://10.0.0.1:80", "http://10.0.0.2:80")
        own.put("b.test", "A")
        following.until("http://10.0.0.1:80")
        own.refused = {"A"}
        following.problem("REFUSED")
        assert following.urls == {"http://10.0.0.1:80"}
