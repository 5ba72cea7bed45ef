"""`EtcdDiscovery` against a real etcd, behind a network that can be cut."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aiclient import ConfigurationError, Endpoint, EtcdDiscovery
from aiclient.testing import FakeNode

from .etcd_server import ETCD, Etcd
from .following import Following, eventually
from .registry import Proxy
from .traffic import FLAVOURS, Traffic

A, B, C = "http://10.0.0.1:8000", "http://10.0.0.2:8000", "http://10.0.0.3:8000"

needs_etcd = pytest.mark.skipif(ETCD is None, reason="etcd is not installed: etcd-server of Debian")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """One etcd for the tests that only register."""
    with Etcd(tmp_path_factory.mktemp("etcd")) as etcd:
        yield etcd


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    """An etcd for a test that does worse."""
    with Etcd(tmp_path) as etcd:
        yield etcd


@needs_etcd
def test_nodes_come_and_go(shared: Etcd) -> None:
    """They register, change, deregister, expire with their lease, and return."""
    shared.put("/come/a", A)
    with Following(EtcdDiscovery(shared.url, "/come/")) as following:
        following.until(A)
        shared.put("/come/b", B)
        following.until(A, B)
        shared.put("/come/a", json.dumps({"url": A, "weight": 3}))
        eventually(lambda: Endpoint(A, weight=3) in following.sets[-1])
        shared.delete("/come/a")
        following.until(B)
        shared.put("/come/c", C, lease=shared.grant(1))
        following.until(B, C)
        following.until(B)
        shared.put("/come/c", C)
        following.until(B, C)
    assert not following.problems


@needs_etcd
def test_only_the_prefix(shared: Etcd) -> None:
    """What stands before or behind it is none of ours."""
    for key in ("/pre", "/pre.", "/pre0", "/pre0/x", "/prf/x"):
        shared.put(key, C)
    shared.put("/pre/a", A)
    shared.put("/pre/\xff/b", B)
    with Following(EtcdDiscovery([shared.url], "/pre/")) as following:
        following.until(A, B)
        shared.put("/pre0", A)
        shared.put("/pre/c", C)
        following.until(A, B, C)
    assert len(following.sets) == 2


@needs_etcd
def test_values(shared: Etcd, caplog: pytest.LogCaptureFixture) -> None:
    """A URL, or an object with any field of an endpoint; what is no node is left out, and said."""
    fields = {
        "url": A,
        "zone": "z",
        "priority": 1,
        "headers": {"Authorization": "Bearer sk-hidden"},
    }
    shared.put("/values/a", json.dumps(fields))
    shared.put("/values/b", f" {B}\n")
    bad = ["", "10.0.0.1:8000", "[1]", "{", "{}", '{"url": "x", "key": "sk-hidden"}', "{" * 100_000]
    with caplog.at_level(logging.WARNING, "aiclient"):
        for number, value in enumerate(bad):
            shared.put(f"/values/bad{number}", value)
        with Following(EtcdDiscovery(shared.url, "/values/")) as following:
            following.until(A, B)
            shared.put("/values/b", "nonsense")
            following.until(A)
    assert following.sets[-1] == (Endpoint(**fields),)  # type: ignore[arg-type]
    assert len(caplog.messages) == len(bad) + 1
    assert "etcd: the value of '/values/b' is no node and left out: " in caplog.text
    assert "sk-hidden" not in caplog.text


@needs_etcd
def test_a_node_that_died_and_came_back(shared: Etcd) -> None:
    """It stands there twice until its old lease expires: the younger entry counts."""
    shared.put("/twice/z", json.dumps({"url": A, "weight": 1}))
    shared.put("/twice/y", json.dumps({"url": A, "weight": 2}))
    with Following(EtcdDiscovery(shared.url, "/twice/")) as following:
        following.until(A)
        assert following.sets[-1][0].weight == 2
        shared.delete("/twice/z")
        eventually(lambda: len(following.sets) == 2)
        assert following.sets[-1][0].weight == 2


@needs_etcd
def test_the_last_node_stays(shared: Etcd) -> None:
    """An empty prefix is a problem, not a set."""
    shared.put("/last/a", A)
    with Following(EtcdDiscovery(shared.url, "/last/")) as following:
        following.until(A)
        shared.delete("/last/a")
        following.problem("no node is registered")
        shared.put("/last/b", B)
        following.until(B)
    assert all(following.sets)


@needs_etcd
def test_a_lost_watch_is_resumed(shared: Etcd) -> None:
    """From the next revision: nothing that happened meanwhile is missed, and nothing listed."""
    shared.put("/lost/a", A)
    with Proxy(shared.port) as proxy, Following(EtcdDiscovery(proxy.url, "/lost/")) as following:
        following.until(A)
        eventually(lambda: b"/v3/watch" in proxy.sent)
        proxy.cut()
        shared.delete("/lost/a")
        shared.put("/lost/b", B)
        following.problem("/v3/watch: ")
        proxy.restore()
        following.until(B)
        assert proxy.sent.count(b"/v3/kv/range") == 1


@needs_etcd
def test_a_compacted_revision(shared: Etcd) -> None:
    """What happened meanwhile is not to be had any more: everything is listed anew."""
    shared.put("/compact/a", A)
    shared.put("/compact/b", B)
    with Proxy(shared.port) as proxy, Following(EtcdDiscovery(proxy.url, "/compact/")) as following:
        following.until(A, B)
        proxy.cut()
        shared.delete("/compact/a")
        revision = shared.put("/compact/c", C)
        shared.call("/kv/compaction", revision=str(revision), physical=True)
        proxy.restore()
        following.until(B, C)
        shared.delete("/compact/b")
        following.until(C)
        assert proxy.sent.count(b"/v3/kv/range") == 2


@needs_etcd
def test_another_member_takes_over(shared: Etcd) -> None:
    """Without a problem worth a word, as long as one of them can be reached."""
    shared.put("/members/1", A)
    with Proxy(shared.port) as one, Proxy(shared.port) as two:
        nobody = "http://127.0.0.1:9"
        discovery = EtcdDiscovery(f"{nobody},{one.url},{two.url}", "/members/")
        with Following(discovery) as following:
            following.until(A)
            for last, now in ((one, [A, B]), (two, [B]), (one, [B, C])):
                last.cut()
                for url in (A, B, C):
                    key = f"/members/{url[14:15]}"
                    shared.put(key, url) if url in now else shared.delete(key)
                following.until(*now)
                last.restore()
            assert not following.problems
            one.cut()
            two.cut()
            problem = following.problem("127.0.0.1:9/v3")
            assert one.url in problem
            assert two.url in problem


@needs_etcd
def test_a_wiped_store(etcd: Etcd) -> None:
    """A store that went back in time is listed anew, though its revisions mean nothing any more."""
    for _ in range(5):
        etcd.put("/llm/a", A)
    with Following(EtcdDiscovery(etcd.url, "/llm/")) as following:
        following.until(A)
        etcd.kill()
        etcd.wipe()
        etcd.start()
        etcd.put("/llm/b", B)
        following.until(B)


@needs_etcd
def test_login(etcd: Etcd) -> None:
    """With the right password; a wrong one is a clear problem, and shown nowhere."""
    etcd.put("/llm/a", A)
    etcd.demand_login("sk-right")
    right = EtcdDiscovery(etcd.url, "/llm/", user="root", password="sk-right")
    wrong = EtcdDiscovery(etcd.url, "/llm/", user="root", password="sk-wrong")
    with (
        Following(right) as following,
        Following(wrong) as refused,
        Following(EtcdDiscovery(etcd.url, "/llm/")) as anonymous,
    ):
        following.until(A)
        etcd.put("/llm/b", B)
        following.until(A, B)
        refused.problem("authentication failed, invalid user ID or password")
        anonymous.problem("user name is empty")
        etcd.kill()
        etcd.start()  # which forgets the tokens it gave out
        etcd.login("sk-right")
        etcd.delete("/llm/a")
        following.until(B)
    assert "sk-" not in repr((right, wrong, refused.problems, following.problems))


@needs_etcd
@pytest.mark.slow
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_no_call_fails(etcd: Etcd, flavour: str) -> None:
    """Nodes register, expire and return, etcd restarts and compacts: calls go on."""
    with FakeNode(prefill=0) as one, FakeNode(prefill=0) as two:
        etcd.put("/llm/one", one.url)
        with Traffic(flavour, EtcdDiscovery(etcd.url, "/llm/")) as traffic:

            def nodes_are(*nodes: FakeNode) -> None:
                wanted = {node.url for node in nodes}
                eventually(
                    lambda: {str(n.endpoint) for n in traffic.balancer.snapshot()} == wanted,
                    str(wanted),
                )
                traffic.more()

            nodes_are(one)
            etcd.put("/llm/two", two.url, lease=etcd.grant(1))
            nodes_are(one, two)
            nodes_are(one)
            etcd.put("/llm/two", two.url)
            nodes_are(one, two)
            etcd.kill()
            eventually(lambda: traffic.problem, "a problem in the snapshot")
            traffic.more()
            etcd.start()
            etcd.call("/kv/compaction", revision=str(etcd.delete("/llm/one")), physical=True)
            nodes_are(two)
            eventually(lambda: not traffic.problem, "the end of the problem")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoints": []}, "nodes: empty"),
        ({"endpoints": "etcd:2379"}, "it needs a scheme"),
        ({"endpoints": "http://root:sk-hidden@etcd:2379"}, "credentials in a node's URL"),
        ({"endpoints": "tcp://etcd:2379"}, r"EtcdDiscovery\.endpoints: 'tcp://etcd:2379'"),
        ({"prefix": ""}, r"EtcdDiscovery\.prefix: '' is not allowed; a non-empty printable str"),
        ({"prefix": b"/llm"}, r"EtcdDiscovery\.prefix"),
        ({"prefix": "\ud800"}, r"EtcdDiscovery\.prefix"),
        ({"user": "root"}, "user, password: both"),
        ({"password": "sk-hidden"}, "user, password: both"),
        ({"headers": {"Authorization": "sk-hidden\n"}}, "the value of 'Authorization'"),
        ({"wait": -1}, r"EtcdDiscovery\.wait: -1 is not allowed; seconds >= 0"),
    ],
)
def test_bad_settings(options: dict[str, Any], message: str) -> None:
    """Each says what is wrong and what is allowed, and no secret."""
    with pytest.raises(ConfigurationError, match=message) as caught:
        EtcdDiscovery(**{"endpoints": "http://etcd:2379", "prefix": "/llm/", **options})
    assert "sk-hidden" not in str(caught.value)
