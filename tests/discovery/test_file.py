"""`FileDiscovery`: what it reads, how it follows changes, and what it refuses."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import aiclient
from aiclient import ConfigurationError, Endpoint, FileDiscovery
from aiclient.testing import FakeNode

from .following import Following, eventually, threads

A, B, C = "http://10.0.0.1:8000", "http://10.0.0.2:8000", "http://10.0.0.3:8000"
INTERVAL = 0.02


def replace(path: Path, content: str | bytes) -> None:
    """Put content there as consul-template does: written aside, renamed into place."""
    aside = path.with_name("aside")
    aside.write_bytes(content if isinstance(content, bytes) else content.encode())
    aside.replace(path)


def followed(path: object) -> Following:
    """Follow the file, looking often."""
    return Following(FileDiscovery(path, interval=INTERVAL))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("nodes.json", f'["{A}", "{B}"]'),
        ("nodes.json", f'[{{"url": "{A}"}}, "{B}"]'),
        ("nodes.json", f'{{"version": 3, "endpoints": ["{A}", "{B}"]}}'),
        ("nodes", f'\ufeff["{A}", "{B}"]'),
        ("nodes.toml", f'endpoints = ["{A}", "{B}"]'),
        ("NODES.TOML", f'[[endpoints]]\nurl = "{A}"\n[[endpoints]]\nurl = "{B}"\n'),
    ],
)
def test_forms(tmp_path: Path, name: str, content: str) -> None:
    """A list or an object with one, of URLs or objects, in JSON or TOML."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with followed(path) as following:
        following.until(A, B)
    assert not following.problems


def test_every_field_of_an_endpoint(tmp_path: Path) -> None:
    """Each is taken over, from JSON and from TOML alike."""
    fields: dict[str, Any] = {
        "url": A,
        "name": "a",
        "weight": 2.5,
        "priority": 1,
        "zone": "z1",
        "tls_name": "llm.internal",
        "host_header": "llm",
        "headers": {"Authorization": "Bearer key"},
        "labels": {"gpu": "h200"},
    }
    (tmp_path / "n.json").write_text(json.dumps([fields]))
    head = "\n".join(f"{k} = {json.dumps(v)}" for k, v in fields.items() if type(v) is not dict)
    (tmp_path / "n.toml").write_text(
        f"[[endpoints]]\n{head}\n"
        '[endpoints.headers]\nAuthorization = "Bearer key"\n[endpoints.labels]\ngpu = "h200"\n'
    )
    for name in ("n.json", "n.toml"):
        with followed(tmp_path / name) as following:
            following.until(A)
        assert following.sets == [(Endpoint(**fields),)]


@pytest.mark.parametrize("form", ["{}", "file://{}", "file://localhost{}"])
def test_ways_to_say_where(tmp_path: Path, form: str) -> None:
    """A path, and both forms of a file URL, percent-encoded."""
    path = tmp_path / "the nodes.json"
    path.write_text(json.dumps([A]))
    text = str(path) if form == "{}" else str(path).replace(" ", "%20")
    with followed(form.format(text)) as following:
        following.until(A)


@pytest.mark.parametrize(
    "path",
    ["", "a\0b", 5, None, b"nodes.json", "file://", "file:///", "file://host/x", "file:///x?y=1"],
)
def test_what_is_no_path(path: Any) -> None:
    """It says so at once."""
    with pytest.raises(ConfigurationError, match=r"FileDiscovery\.path: .* is not allowed"):
        FileDiscovery(path)


@pytest.mark.parametrize(
    "options", [{"interval": 0}, {"interval": "1"}, {"wait": -1}, {"wait": 1e999}]
)
def test_bad_settings(options: dict) -> None:
    """They are named, with their value and what is allowed."""
    (name,) = options
    with pytest.raises(ConfigurationError, match=rf"FileDiscovery\.{name}: .* seconds >=? 0"):
        FileDiscovery("nodes.json", **options)


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the process goes elsewhere."""
    (tmp_path / "nodes.json").write_text(json.dumps([A]))
    monkeypatch.chdir(tmp_path)
    discovery = FileDiscovery("nodes.json")
    monkeypatch.chdir("/")
    assert repr(discovery) == f"FileDiscovery('{tmp_path / 'nodes.json'}')"
    with Following(discovery) as following:
        following.until(A)


def written(path: Path, content: str) -> None:
    """Put content there in place."""
    path.write_text(content)


def swapped(path: Path, content: str) -> None:
    """As kubelet does for a ConfigMap: a new directory, and a link to it renamed into place."""
    fresh = path.parent / f"..{len(os.listdir(path.parent))}"
    fresh.mkdir()
    (fresh / path.name).write_text(content)
    link = path.parent / "..data_tmp"
    link.symlink_to(fresh.name)
    link.replace(path.parent / "..data")
    if not path.is_symlink():
        path.symlink_to(f"..data/{path.name}")


@pytest.mark.parametrize("put", [written, replace, swapped])
def test_changes_are_followed(tmp_path: Path, put: Callable[[Path, str], None]) -> None:
    """Whether written in place, renamed over, or swapped behind a symlink."""
    path = tmp_path / "nodes.json"
    put(path, json.dumps([A, B]))
    with followed(path) as following:
        following.until(A, B)
        put(path, json.dumps([A, C]))  # of the same size
        following.until(A, C)
        put(path, json.dumps([A, B, C]))
        following.until(A, B, C)
    assert len(following.sets) == 3
    assert not following.problems


BAD: list[tuple[str | bytes, str]] = [
    ("", "not JSON"),
    (f'["{A}", "htt', "not JSON"),
    (b"\xff\xfe\x00garbage", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ('[{"url": "http://a:1", "weight": ' + "9" * 5000 + "}]", "not JSON"),
    ("null", "a list is needed"),
    ('{"nodes": []}', "a list called 'endpoints'"),
    ("[]", "nodes: empty"),
    ("[1]", "endpoint 1 of 1: a URL or an object with a url is needed, not int"),
    (f'["{A}", {{"weight": 2}}]', "endpoint 2 of 2: it needs a url"),
    (f'["{A}", {{"url": "{B}", "wieght": 2}}]', "endpoint 2 of 2: there is no 'wieght'; there are"),
    (f'[{{"url": "{A}", "weight": -1}}]', r"Endpoint.weight: -1 is not allowed"),
    (f'[{{"url": "{A}", "weight": NaN}}]', r"Endpoint.weight: nan is not allowed"),
    (f'[{{"url": "{A}", "weight": 1{"0" * 400}}}]', "Endpoint.weight: 1000"),
    ('["10.0.0.1:8000"]', "it needs a scheme"),
    ('["dns://llm:8000"]', "a discovery URL stands alone"),
    (f'["{A}", "{A}"]', "stands twice"),
    (json.dumps([A] * 1_000_000), "more than 8388608 bytes"),
]


@pytest.mark.parametrize(("content", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_bad_content_keeps_the_last_good(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    """It is reported once; what is written next is followed."""
    path = tmp_path / "nodes.json"
    path.write_text(json.dumps([A, B]))
    with followed(path) as following:
        following.until(A, B)
        replace(path, content)
        following.problem(problem)
        replace(path, json.dumps([C]))
        following.until(C)
    assert len(following.sets) == 2
    assert len(following.problems) == 1
    assert len(following.problems[0]) < 1000


def test_bad_toml(tmp_path: Path) -> None:
    """As with JSON."""
    path = tmp_path / "nodes.toml"
    path.write_text("[[endpoints]\nurl = 5")
    with followed(path) as following:
        following.problem("not TOML: ")
        replace(path, "[[endpoints]]\nurl = 5")
        following.problem("endpoint 1 of 1: it needs a url, a str")


def test_a_file_that_goes_and_comes_back(tmp_path: Path) -> None:
    """Even the very same one, of a mount that was away, is read again: the problem is over."""
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "nodes.json").write_text(json.dumps([A]))
    with followed(mount / "nodes.json") as following:
        following.until(A)
        mount.rename(tmp_path / "elsewhere")
        following.problem("No such file or directory")
        (tmp_path / "elsewhere").rename(mount)
        eventually(lambda: len(following.sets) == 2)


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_file(tmp_path: Path, kind: str) -> None:
    """A directory or a named pipe is reported; nothing blocks."""
    path = tmp_path / "nodes.json"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    with followed(path) as following:
        following.problem("not a regular file")


def test_half_a_file_is_never_taken(tmp_path: Path) -> None:
    """Not even where half of it makes sense, while somebody writes it bit by bit."""
    path = tmp_path / "nodes.toml"
    bits = [f'[[endpoints]]\nurl = "http://10.0.0.{n}:8000"\n' for n in range(1, 31)]
    pause = threading.Event()
    with Following(FileDiscovery(path, interval=0.3)) as following, path.open("w") as file:
        for bit in bits:
            file.write(bit)
            file.flush()
            pause.wait(0.03)
        eventually(lambda: following.sets)
    assert [len(found) for found in following.sets] == [len(bits)]


def test_credentials_are_never_shown(tmp_path: Path) -> None:
    """Not in a problem, an error or a representation, whatever is wrong with the entry."""
    path = tmp_path / "nodes.json"
    headers = {"Authorization": "Bearer sk-hidden"}
    wrong: list[Any] = [
        [{"url": "http://me:sk-hidden@a:1"}],
        [{"url": "http://a:1/?key=sk-hidden"}],
        [{"url": headers}],
        [{"url": A, "headers": {"Authorization": "sk-hidden\n"}}],
        [{"url": A, "headers": ["sk-hidden"]}],
        [{"url": A, "header": headers}],
        [headers],
        {"endpoint": [headers]},
        [[headers]],
        [{"url": A, "headers": headers}, {"url": A, "headers": headers}],
    ]
    replace(path, json.dumps([B]))
    with followed(path) as following:
        for content in [*map(json.dumps, wrong), json.dumps(wrong[4])[:-3]]:
            known = len(following.problems)
            replace(path, content)
            following.another_problem(known)
        replace(path, json.dumps([{"url": A, "headers": headers}]))
        following.until(A)
    assert "sk-hidden" not in repr((following.problems, following.sets, following.discovery))


def test_calls_follow_the_file(tmp_path: Path) -> None:
    """Nodes come and go by the file; a bad one is in the snapshot, and costs no call."""
    path = tmp_path / "nodes.json"
    with FakeNode(prefill=0) as one, FakeNode(prefill=0) as two:
        path.write_text(json.dumps([one.url]))
        with aiclient.Client(FileDiscovery(path, interval=INTERVAL)) as client:
            assert client.get("/v1/models").headers["x-fake-node"] == one.name
            replace(path, json.dumps([two.url]))
            eventually(lambda: client.get("/v1/models").headers["x-fake-node"] == two.name)
            replace(path, "[")
            eventually(lambda: "not JSON" in str(client.balancer.snapshot().discovery))
            assert client.get("/v1/models").headers["x-fake-node"] == two.name
            replace(path, json.dumps([one.url, two.url]))
            eventually(lambda: len(client.balancer.snapshot()) == 2)
            status = client.balancer.snapshot().discovery
            assert status is not None
            assert (status.source, status.problem) == (f"FileDiscovery('{path}')", "")
    eventually(lambda: not threads(), "the end of the thread")


def test_no_file_at_all(tmp_path: Path) -> None:
    """The call says which file and why, after the wait; a file that comes is used."""
    path = tmp_path / "nodes.json"
    with FakeNode(prefill=0) as node, aiclient.Client(f"file://{path}") as client:
        discovery = FileDiscovery(path, wait=0.1)
        with (
            aiclient.Client(discovery) as impatient,
            pytest.raises(aiclient.DiscoveryError, match="No such file") as caught,
        ):
            impatient.get("/v1/models")
        assert f"FileDiscovery('{path}') has named no nodes for 0.1 s" in str(caught.value)
        threading.Timer(0.1, lambda: replace(path, json.dumps([node.url]))).start()
        assert client.get("/v1/models").status_code == 200
