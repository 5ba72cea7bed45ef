"""Where a node is: what is taken, what is refused and in which words, what is never shown."""

from __future__ import annotations

import httpx
import pytest

from aiclient.endpoint import Endpoint, endpoints_from
from aiclient.errors import ConfigurationError

GOOD = [
    ("http://10.0.0.1:8000", "http", "10.0.0.1", 8000, "", "10.0.0.1:8000"),
    ("http://node", "http", "node", 80, "", "node"),
    ("https://node", "https", "node", 443, "", "node"),
    ("https://node:443/", "https", "node", 443, "", "node"),
    ("HTTP://Node.Example:80/v1/", "http", "node.example", 80, "/v1", "node.example"),
    ("http://[::1]:8000/a/b", "http", "::1", 8000, "/a/b", "[::1]:8000"),
    ("tcp://10.0.0.1:9000", "tcp", "10.0.0.1", 9000, "", "10.0.0.1:9000"),
    ("  http://node:8000  ", "http", "node", 8000, "", "node:8000"),
]
BAD = [
    "",
    "   ",
    "10.0.0.1:8000",
    "node",
    "http://",
    "http://:8000",
    "http://node:99999",
    "http://node:0",
    "http://node:port",
    "http://[::1",
    "http://no de:80",
    "http://node\n:80",
    "http://nöde:80",
    "tcp://node",
    "http://node/a?b=c",
    "http://node/a#b",
    "http://node/a b",
    "file:///etc/nodes",
    "dns://llm.internal:8000",
    "dns+srv://_llm._tcp.internal",
]


@pytest.mark.parametrize(("url", "scheme", "host", "port", "path", "netloc"), GOOD)
def test_a_url_is_taken_apart(
    url: str, scheme: str, host: str, port: int, path: str, netloc: str
) -> None:
    """Scheme, host, port and path, and how host and port are written together."""
    endpoint = Endpoint(url)
    assert (endpoint.scheme, endpoint.host, endpoint.port) == (scheme, host, port)
    assert (endpoint.path, endpoint.netloc) == (path, netloc)
    assert str(endpoint) == f"{scheme}://{netloc}{path}"


@pytest.mark.parametrize("url", BAD)
def test_a_bad_url_is_refused(url: str) -> None:
    """The message names the field, the value and what is allowed."""
    with pytest.raises(ConfigurationError, match=r"Endpoint\.url: .* is not allowed; \w"):
        Endpoint(url)


@pytest.mark.parametrize("url", [None, 5, b"http://node:80", ["http://node:80"], object()])
def test_a_wrong_type_is_refused(url: object) -> None:
    """Bytes as well."""
    with pytest.raises(ConfigurationError):
        endpoints_from([url])
    with pytest.raises(ConfigurationError, match=r"Endpoint\.url"):
        Endpoint(url)


@pytest.mark.parametrize(
    "weight", [-1, -0.001, float("nan"), float("inf"), "1", None, True, 1j, [1]]
)
def test_a_bad_weight_is_refused(weight: object) -> None:
    """A finite number from 0."""
    with pytest.raises(
        ConfigurationError, match=r"Endpoint\.weight: .* is not allowed; a finite number >= 0"
    ):
        Endpoint("http://node", weight=weight)


@pytest.mark.parametrize("weight", [0, 0.0, 1, 2.5, 1e9])
def test_a_good_weight_is_a_float(weight: float) -> None:
    """0 drains."""
    assert Endpoint("http://node", weight=weight).weight == weight


@pytest.mark.parametrize("name", ["", "a\nb", 5, b"a"])
@pytest.mark.parametrize("field", ["name", "tls_name", "host_header"])
def test_texts_are_printable(field: str, name: object) -> None:
    """They end in logs and in headers."""
    refusal = rf"Endpoint\.{field}: .* is not allowed; .*, or None"
    with pytest.raises(ConfigurationError, match=refusal):
        Endpoint("http://node", **{field: name})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "headers",
    [
        {"a b": "x"},
        {"": "x"},
        {"a": "x\r\nb: y"},
        {"a": "x\n"},
        {"a": "€"},
        {"a": 5},
        {5: "x"},
        [("a",)],
        [5],
        5,
        "ab",
    ],
)
def test_bad_headers_are_refused(headers: object) -> None:
    """Nothing can be smuggled in by them."""
    with pytest.raises(ConfigurationError, match=r"Endpoint\.headers"):
        Endpoint("http://node", headers=headers)


@pytest.mark.parametrize("labels", [{"a": 5}, {5: "a"}, [("a", None)], 5, [5], "ab"])
def test_bad_labels_are_refused(labels: object) -> None:
    """Texts to texts."""
    with pytest.raises(ConfigurationError, match=r"Endpoint\.labels"):
        Endpoint("http://node", labels=labels)


def test_a_secret_is_never_shown() -> None:
    """Neither a header's value, nor a password in a URL, not even in an error."""
    endpoint = Endpoint("http://node", headers={"authorization": "Bearer s3cret"})
    assert "s3cret" not in repr(endpoint) + str(endpoint)
    assert endpoint.headers == (("authorization", "Bearer s3cret"),)
    for url in ("http://user:s3cret@node:80", "http://s3cret@node", "http://a:s3cret@[::1"):
        with pytest.raises(ConfigurationError, match="credentials") as caught:
            Endpoint(url)
        assert "s3cret" not in str(caught.value)
    with pytest.raises(ConfigurationError) as caught:
        Endpoint("http://node", headers={"authorization": "s3cret\n"})
    assert "s3cret" not in str(caught.value)


def test_identity_is_where_it_is() -> None:
    """Not its weight, headers or labels."""
    plain = Endpoint("http://node:8000")
    same = Endpoint("http://NODE:8000/", weight=3, headers={"a": "b"}, labels={"rack": "1"})
    assert plain.identity == same.identity
    for other in (
        Endpoint("https://node:8000"),
        Endpoint("http://node:8001"),
        Endpoint("http://node:8000/v2"),
        Endpoint("http://node:8000", tls_name="x"),
        Endpoint("http://node:8000", host_header="x"),
        Endpoint("http://node:8000", name="x"),
    ):
        assert other.identity != plain.identity


def test_it_is_frozen_and_hashable() -> None:
    """A value."""
    endpoint = Endpoint("http://node", headers={"a": "b"}, labels={"c": "d"})
    with pytest.raises(AttributeError):
        endpoint.url = "http://other"  # type: ignore[misc]
    assert len({endpoint, Endpoint("http://node", headers={"a": "b"}, labels={"c": "d"})}) == 1


def test_nodes_come_in_many_forms() -> None:
    """URLs, Endpoints, httpx's URLs, an iterator, one text with commas."""
    endpoint = Endpoint("http://c:1")
    nodes = endpoints_from(iter(["http://a:1", httpx.URL("http://b:1"), endpoint]))
    assert [str(node) for node in nodes] == ["http://a:1", "http://b:1", "http://c:1"]
    assert [str(node) for node in endpoints_from("http://a:1, http://b:1,")] == [
        "http://a:1",
        "http://b:1",
    ]


@pytest.mark.parametrize("nodes", [[], "", " , ", (), iter([])])
def test_no_nodes_are_refused(nodes: object) -> None:
    """At least one is needed."""
    with pytest.raises(ConfigurationError, match="nodes: empty"):
        endpoints_from(nodes)


@pytest.mark.parametrize("nodes", [None, 5, b"http://a:1", {"http://a:1": 1}, Endpoint("http://a")])
def test_what_is_no_list_of_nodes_is_refused(nodes: object) -> None:
    """Bytes and mappings too."""
    with pytest.raises(ConfigurationError, match=r"nodes: .* is not allowed"):
        endpoints_from(nodes)


@pytest.mark.parametrize(
    "nodes",
    [
        ["http://a:1", "http://a:1"],
        ["http://a:80", "http://A/"],
        ["http://a:1", Endpoint("http://a:1", weight=2)],
    ],
)
def test_a_node_stands_once(nodes: list[object]) -> None:
    """However it is written."""
    with pytest.raises(ConfigurationError, match="stands twice"):
        endpoints_from(nodes)
