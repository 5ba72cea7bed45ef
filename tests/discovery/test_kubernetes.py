"""`KubernetesDiscovery` against a server that lists and watches as the API does."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from aiclient import ConfigurationError, Endpoint, KubernetesDiscovery
from aiclient.discovery import kubernetes
from aiclient.testing import FakeNode

from .cluster import MAIN_PORT, Cluster, failure, pod
from .following import Following, eventually
from .registry import Exchange, Proxy
from .traffic import FLAVOURS, Traffic

A, B, C = "http://10.0.0.1:8000", "http://10.0.0.2:8000", "http://10.0.0.3:8000"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster whose API server is asked through `kubectl proxy`, as it were."""
    with Cluster() as cluster:
        yield cluster


def followed(cluster: Cluster, port: int | str | None = None, **options: Any) -> Following:
    """Follow its service `llm`."""
    options = {"server": cluster.url, **options}
    return Following(KubernetesDiscovery("llm", "default", port, **options))


def test_pods_come_and_go(cluster: Cluster) -> None:
    """Added, changed and deleted slices of this service, and of no other, are followed."""
    cluster.put("llm-1", [pod("10.0.0.1")])
    cluster.put("other-1", [pod("10.9.9.9")], service="other")
    with followed(cluster) as following:
        following.until(A)
        cluster.put("llm-1", [pod("10.0.0.1"), pod("10.0.0.2")])
        following.until(A, B)
        cluster.put("llm-2", [pod("10.0.0.3")])
        following.until(A, B, C)
        cluster.delete("llm-1")
        following.until(C)
    assert not following.problems
    assert cluster.lists == cluster.watches == 1


def test_a_slice_split_in_two(cluster: Cluster) -> None:
    """A pod that is in both for a while is one node; none is lost at any moment."""
    cluster.put("llm-1", [pod("10.0.0.1"), pod("10.0.0.2")])
    with followed(cluster) as following:
        following.until(A, B)
        cluster.put("llm-2", [pod("10.0.0.2"), pod("10.0.0.3")])
        following.until(A, B, C)
        cluster.put("llm-1", [pod("10.0.0.1")])
        eventually(lambda: len(following.sets) == 3)
    assert following.urls == {A, B, C}
    assert all({A, B} <= {e.url for e in found} for found in following.sets)


@pytest.mark.parametrize(
    ("conditions", "taken"),
    [
        ({"ready": True}, True),
        ({"ready": None}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": True, "serving": True, "terminating": True}, False),
        ({"ready": True, "serving": None, "terminating": None}, True),
    ],
)
def test_readiness(cluster: Cluster, conditions: dict[str, Any], taken: bool) -> None:
    """Ready pods and those of which it is not known; none that is about to end."""
    cluster.put("llm-1", [pod("10.0.0.1"), pod("10.0.0.2", **conditions)])
    with followed(cluster) as following:
        following.until(*([A, B] if taken else [A]))


def test_zone_and_names(cluster: Cluster) -> None:
    """They are taken over; what is missing is missing."""
    cluster.put("llm-1", [pod("10.0.0.1", zone="eu-1a", nodeName="gpu-7")])
    with followed(cluster) as following:
        following.until(A)
    labels = {"pod": "pod-10.0.0.1", "node": "gpu-7"}
    assert following.sets[0] == (Endpoint(A, zone="eu-1a", labels=labels),)


def test_both_families_of_addresses(cluster: Cluster) -> None:
    """A pod with an address of each is one node, at its IPv4 address."""
    both = {**pod("fd00::1"), "targetRef": pod("10.0.0.1")["targetRef"]}
    cluster.put("llm-6", [both, pod("fd00::2")], family="IPv6")
    cluster.put("llm-4", [pod("10.0.0.1")])
    with followed(cluster) as following:
        following.until(A, "http://[fd00::2]:8000")


TWO_PORTS = [*MAIN_PORT, {"name": "metrics", "port": 9000, "protocol": "TCP"}]


@pytest.mark.parametrize(
    ("port", "ports", "number"),
    [
        (None, MAIN_PORT, 8000),
        (None, [{"port": 8000}], 8000),
        ("metrics", TWO_PORTS, 9000),
        ("http", TWO_PORTS, 8000),
        (7000, TWO_PORTS, 7000),
        (7000, None, 7000),
    ],
)
def test_ports(cluster: Cluster, port: int | str | None, ports: Any, number: int) -> None:
    """By name, by number, or the only one."""
    cluster.put("llm-1", [pod("10.0.0.1")], ports=ports)
    with followed(cluster, port) as following:
        following.until(f"http://10.0.0.1:{number}")


@pytest.mark.parametrize(
    ("port", "ports", "problem"),
    [
        (None, TWO_PORTS, r"port= has to say which: 'http' (8000), 'metrics' (9000)"),
        ("grpc", TWO_PORTS, "no pod that is ready with a port 'grpc'"),
        (None, None, "no pod that is ready"),
    ],
)
def test_no_such_port(cluster: Cluster, port: str | None, ports: Any, problem: str) -> None:
    """It says so, and which there are."""
    cluster.put("llm-1", [pod("10.0.0.1")], ports=ports)
    with followed(cluster, port) as following:
        following.problem(problem)


def test_https_nodes(cluster: Cluster) -> None:
    """They are verified by the service's name, or by one that is given."""
    cluster.put("llm-1", [pod("10.0.0.1")])
    for options, name in (({}, "llm.default.svc"), ({"tls_name": "llm.test"}, "llm.test")):
        with followed(cluster, scheme="https", path="/v1", **options) as following:
            following.until("https://10.0.0.1:8000/v1")
        assert following.sets[0][0].tls_name == name


def test_the_last_pod_stays(cluster: Cluster) -> None:
    """No slice, or no pod that is ready, is a problem, not a set."""
    with followed(cluster) as following:
        following.problem("it has no EndpointSlice")
        cluster.put("llm-1", [pod("10.0.0.1", ready=False)])
        following.problem("it has no pod that is ready")
        cluster.put("llm-1", [pod("10.0.0.1")])
        following.until(A)
        cluster.put("llm-1", [])
        cluster.put("llm-1", [pod("10.0.0.2")])
        following.until(B)
    assert all(following.sets)


def test_a_lost_watch_is_resumed(cluster: Cluster) -> None:
    """From the last version: nothing is missed, and nothing listed."""
    cluster.put("llm-1", [pod("10.0.0.1")])
    with Proxy(cluster.port) as proxy, followed(cluster, server=proxy.url) as following:
        following.until(A)
        eventually(lambda: cluster.watches == 1)
        proxy.cut()
        cluster.put("llm-2", [pod("10.0.0.2")])
        cluster.delete("llm-1")
        following.problem("endpointslices: ")
        proxy.restore()
        following.until(B)
        cluster.end_watches()
        cluster.put("llm-3", [pod("10.0.0.3")])
        following.until(B, C)
    assert cluster.lists == 1


def test_gone(cluster: Cluster) -> None:
    """Where the history is lost everything is listed anew, without a word."""
    cluster.put("llm-1", [pod("10.0.0.1")])
    with Proxy(cluster.port) as proxy, followed(cluster, server=proxy.url) as following:
        following.until(A)
        eventually(lambda: cluster.watches == 1)
        proxy.cut()
        cluster.put("llm-2", [pod("10.0.0.2")])
        cluster.delete("llm-1")
        cluster.compact()
        proxy.restore()
        following.until(B)
        cluster.put("llm-3", [pod("10.0.0.3")])
        following.until(B, C)
    assert cluster.lists == 2


def test_gone_as_a_status(cluster: Cluster) -> None:
    """Also where the refusal is the answer's status, not a line of the watch."""
    serve = cluster.script
    refused: list[Exchange] = []

    def script(exchange: Exchange) -> None:
        if "watch" in exchange.query and not refused:
            refused.append(exchange)
            exchange.answer(failure(410, "Expired", "too old resource version"), 410)
        else:
            serve(exchange)

    cluster.script = script
    cluster.put("llm-1", [pod("10.0.0.1")])
    with followed(cluster) as following:
        following.until(A)
        eventually(lambda: cluster.watches == 2)
    assert cluster.lists == 2
    assert not following.problems


def test_bookmarks(cluster: Cluster) -> None:
    """They carry a quiet watch over what others do: it is resumed without a list."""
    cluster.put("llm-1", [pod("10.0.0.1")])
    with followed(cluster) as following:
        following.until(A)
        eventually(lambda: cluster.watches == 1)
        cluster.bookmark()
        version = cluster.compact()
        cluster.end_watches()
        eventually(lambda: cluster.watches == 2)
        cluster.put("llm-1", [pod("10.0.0.2")])
        following.until(B)
    assert cluster.exchanges[-1].query["resourceVersion"] == str(version)
    assert cluster.lists == 1
    assert len(following.sets) == 2


def test_forbidden(cluster: Cluster) -> None:
    """It says which rule is needed; when it is there, all is well."""
    cluster.put("llm-1", [pod("10.0.0.1")])
    cluster.allowed = False
    with followed(cluster) as following:
        problem = following.problem("403 Forbidden: endpointslices.discovery.k8s.io is forbidden")
        cluster.allowed = True
        following.until(A)
    assert "'list' and 'watch' on 'endpointslices' of apiGroup 'discovery.k8s.io'" in problem
    assert "namespace 'default'" in problem


@pytest.fixture
def in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, Path]]:
    """A cluster as a pod sees it: by environment and mounted files, over TLS."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "namespace").write_text("team-a")
    (tmp_path / "token").write_text("sk-first\n")
    with Cluster("team-a", tls=context) as cluster:
        cluster.token = "sk-first"
        monkeypatch.setattr(kubernetes, "_ACCOUNT", str(tmp_path))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(cluster.port))
        cluster.put("llm-1", [pod("10.0.0.1")])
        yield cluster, tmp_path


def test_in_a_pod(in_a_pod: tuple[Cluster, Path]) -> None:
    """The service's name is all that is needed; a token that was renewed is read."""
    cluster, account = in_a_pod
    with Following(KubernetesDiscovery("llm")) as following:
        following.until(A)
        eventually(lambda: cluster.watches == 1)
        cluster.token = "sk-second"
        (account / "token").write_text("sk-second")
        cluster.end_watches()
        cluster.put("llm-1", [pod("10.0.0.2")])
        following.until(B)
        assert not following.problems
        cluster.token = "sk-third"
        cluster.end_watches()
        problem = following.problem("401 Unauthorized")
    assert f"see the token in {account}/token" in problem
    assert "sk-" not in repr((following.problems, following.discovery))
    eventually(lambda: not cluster.open, "the end of the connections")


@pytest.mark.parametrize("missing", ["token", "ca.crt", "namespace"])
def test_a_pod_without_an_account(in_a_pod: tuple[Cluster, Path], missing: str) -> None:
    """Which file is missing, and what says otherwise."""
    _, account = in_a_pod
    (account / missing).unlink()
    with Following(KubernetesDiscovery("llm")) as following:
        following.problem(f"{account / missing}: No such file or directory")


def test_outside_a_cluster(monkeypatch: pytest.MonkeyPatch, in_a_pod: object) -> None:
    """It says what is missing."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with Following(KubernetesDiscovery("llm")) as following:
        following.problem("this is no pod; server= says where the API server is")


def test_an_authority_that_is_not_the_clusters(
    in_a_pod: tuple[Cluster, Path], tmp_path: Path
) -> None:
    """A server with another certificate gets no token."""
    cluster, account = in_a_pod
    trustme.CA().cert_pem.write_to_path(account / "ca.crt")
    with Following(KubernetesDiscovery("llm")) as following:
        following.problem("CERTIFICATE_VERIFY_FAILED")
    assert not cluster.exchanges


@pytest.mark.slow
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_no_call_fails(cluster: Cluster, flavour: str) -> None:
    """Pods come and go, the API server is away and forgets: calls go on."""
    with (
        FakeNode(prefill=0) as one,
        FakeNode(prefill=0, host="127.0.0.2", port=one.port) as two,
        Proxy(cluster.port) as proxy,
    ):
        cluster.put("llm-1", [pod("127.0.0.1")])
        source = KubernetesDiscovery("llm", "default", one.port, server=proxy.url)
        with Traffic(flavour, source) as traffic:
            traffic.until([one.host])
            cluster.put("llm-2", [pod("127.0.0.2")])
            traffic.until([one.host, two.host])
            cluster.put("llm-1", [pod("127.0.0.1", ready=False, terminating=True)])
            traffic.until([two.host])
            proxy.cut()
            eventually(lambda: traffic.problem, "a problem in the snapshot")
            traffic.more()
            cluster.put("llm-1", [pod("127.0.0.1")])
            cluster.delete("llm-2")
            cluster.compact()
            proxy.restore()
            traffic.until([one.host])
            traffic.more()
            assert not traffic.problem


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"service": "LLM"}, r"KubernetesDiscovery\.service: 'LLM' is not allowed; a name"),
        ({"service": "a,b"}, r"KubernetesDiscovery\.service"),
        ({"service": None}, r"KubernetesDiscovery\.service"),
        ({"namespace": "../x"}, r"KubernetesDiscovery\.namespace"),
        ({"port": 0}, "it needs a port from 1 to 65535"),
        ({"port": 1.5}, r"KubernetesDiscovery\.port: 1\.5 is not allowed"),
        ({"port": True}, r"KubernetesDiscovery\.port: True is not allowed"),
        ({"scheme": "tcp"}, r"KubernetesDiscovery\.scheme: 'tcp' .* 'http' or 'https'"),
        ({"path": "/?q"}, "no query, no fragment"),
        ({"server": "api:6443"}, "it needs a scheme"),
        ({"server": "https://me:sk-hidden@api"}, "credentials in a node's URL"),
        ({"wait": "1"}, r"KubernetesDiscovery\.wait: '1' is not allowed; seconds >= 0"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    """Each says what is wrong and what is allowed, and no secret."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        KubernetesDiscovery(**{"service": "llm", **options})
    assert "sk-hidden" not in str(caught.value)
