"""Where one node is: a frozen, validated value."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import attrs

from .errors import ConfigurationError

__all__ = ["Endpoint", "endpoints_from"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_DISCOVERY_SCHEMES = ("dns", "dns+https", "dns+srv", "file")
_HOST = re.compile(r"[A-Za-z0-9_.\-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9_.\-]+)?")
_PATH = re.compile(r"[!-~]*")
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_HEADER_VALUE = re.compile(r"[\t -~\x80-\xff]*")


def _bad(field: str, value: object, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"Endpoint.{field}: {value!r} is not allowed; {allowed}")


def _weight(weight: Any) -> float:
    usable = isinstance(weight, (int, float)) and not isinstance(weight, bool)
    # Not math.inf: a whole number may be finite and yet too large for a float.
    if not usable or not (0 <= weight <= sys.float_info.max):
        raise _bad("weight", weight, "a finite number >= 0 (0 drains the node)")
    return float(weight)


def _headers(headers: Any) -> tuple[tuple[str, str], ...]:
    pairs = headers.items() if isinstance(headers, Mapping) else (headers or ())
    try:
        checked = tuple((name, value) for name, value in pairs)
    except (TypeError, ValueError):
        raise ConfigurationError(
            "Endpoint.headers: a mapping of names to values is needed"
        ) from None
    for name, value in checked:
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            raise _bad("headers", name, "names are RFC 9110 tokens")
        # The value may be a credential: it never goes into a message.
        if not (isinstance(value, str) and _HEADER_VALUE.fullmatch(value)):
            raise ConfigurationError(
                f"Endpoint.headers: the value of {name!r} is not allowed; "
                "a str without control characters, encodable as latin-1"
            )
    return checked


def _labels(labels: Any) -> tuple[tuple[str, str], ...]:
    try:
        pairs = tuple(
            (name, value) for name, value in dict(() if labels is None else labels).items()
        )
    except (TypeError, ValueError):
        raise _bad("labels", labels, "a mapping of str to str") from None
    if not all(isinstance(part, str) for pair in pairs for part in pair):
        raise _bad("labels", labels, "a mapping of str to str")
    return pairs


def _optional_text(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value and value.isprintable()):
        raise _bad(attribute.name, value, "a non-empty printable str, or None")


def _level(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    usable = isinstance(value, int) and not isinstance(value, bool)
    if not usable or not 0 <= value < 2**31:
        raise _bad(attribute.name, value, "a whole number >= 0 (0 gets calls first)")


def _host_text(instance: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value and _PATH.fullmatch(value)):
        raise _bad(attribute.name, value, "a host as it stands in a request, or None")


def _clean_url(url: Any) -> str:
    text = str(url).strip() if not isinstance(url, bytes) else ""
    # urlsplit would silently leave out what is not printable.
    if not text or not text.isprintable():
        raise _bad("url", url, "a URL such as 'http://10.0.0.1:8000'")
    return text


@attrs.frozen
class Endpoint:
    """Where one node is, and what is particular to it.

    Args:
        url: `scheme://host[:port][/path]`. `http` and `https` for the HTTP clients; any scheme
            with a port, such as `tcp://10.0.0.1:9000`, for leases. A path is put before each
            request's own. No credentials, query or fragment.
        name: What logs, spans and reports call the node; default: the URL.
        weight: Its share relative to the others, >= 0; 0 drains it. Default 1.
        priority: Its level, >= 0; default 0. A level gets calls only while no node of a lower
            number can take them.
        zone: Where it stands, for the reader of a snapshot.
        tls_name: The name for SNI and certificate verification; default: the host.
        host_header: The Host header; default: host and port of the URL.
        headers: Headers for this node alone, replacing the request's own of that name: the place
            for per-node credentials. Never shown.
        labels: Free notes of the user, carried along in snapshots.

    Raises:
        ConfigurationError: for a value that is not allowed.
    """

    url: str = attrs.field(converter=_clean_url)
    name: str | None = attrs.field(default=None, kw_only=True, validator=_optional_text)
    weight: float = attrs.field(default=1.0, kw_only=True, converter=_weight)
    priority: int = attrs.field(default=0, kw_only=True, validator=_level)
    zone: str | None = attrs.field(default=None, kw_only=True, validator=_optional_text)
    tls_name: str | None = attrs.field(default=None, kw_only=True, validator=_optional_text)
    host_header: str | None = attrs.field(default=None, kw_only=True, validator=_host_text)
    headers: tuple[tuple[str, str], ...] = attrs.field(
        default=(), kw_only=True, converter=_headers, repr=False
    )
    labels: tuple[tuple[str, str], ...] = attrs.field(default=(), kw_only=True, converter=_labels)
    scheme: str = attrs.field(init=False, repr=False, eq=False)
    host: str = attrs.field(init=False, repr=False, eq=False)
    port: int = attrs.field(init=False, repr=False, eq=False)
    path: str = attrs.field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        scheme, host, port, path = _parse(self.url)
        for field, value in (("scheme", scheme), ("host", host), ("port", port), ("path", path)):
            object.__setattr__(self, field, value)

    @property
    def netloc(self) -> str:
        """Host and port as they stand in a URL, the port left out where it is the default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if _DEFAULT_PORTS.get(self.scheme) == self.port else f"{host}:{self.port}"

    @property
    def identity(self) -> tuple[object, ...]:
        """What makes it the same node in an update, whatever its weight, headers and labels."""
        return (
            self.scheme,
            self.host,
            self.port,
            self.tls_name,
            self.path,
            self.host_header,
            self.name,
        )

    def __str__(self) -> str:
        return self.name or f"{self.scheme}://{self.netloc}{self.path}"


def _parse(url: str) -> tuple[str, str, int, str]:
    plain = re.split(r"[?#]", url, maxsplit=1)[0]
    # What may hold a password or a key is never shown: what stands before an @, a query, and
    # what stands where a port should.
    if "@" in plain:
        raise ConfigurationError(
            "Endpoint.url: credentials in a node's URL are not allowed; put them in headers="
        )
    if plain != url:
        raise _bad("url", plain, "a node's URL has a plain path at most: no query, no fragment")
    if "://" not in url:
        raise _bad("url", url, f"it needs a scheme: 'http://{url}'?")
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as exc:
        raise _bad("url", url, f"it cannot be parsed ({exc})") from None
    scheme = parts.scheme.lower()
    if scheme in _DISCOVERY_SCHEMES:
        raise _bad("url", url, "a discovery URL stands alone: nodes='dns://name:port'")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is None:
        port = _DEFAULT_PORTS.get(scheme, 0)
    if not 0 < port < 65536:
        raise _bad("url", f"{scheme}://{host}", "it needs a port from 1 to 65535")
    if not _HOST.fullmatch(host):
        raise _bad("url", url, "it needs a host: a name or an IP address, [..] around IPv6")
    if not _PATH.fullmatch(parts.path):
        raise _bad("url", url, "its path may hold printable ASCII only")
    return scheme, host, port, parts.path.rstrip("/")


def endpoints_from(nodes: object) -> tuple[Endpoint, ...]:
    """The endpoints in `nodes`: an iterable of URLs and `Endpoint`s, or comma-separated URLs.

    Raises:
        ConfigurationError: nothing in it, something else in it, or the same node twice.
    """
    items: Iterable[object]
    if isinstance(nodes, str):
        items = [part for part in nodes.split(",") if part.strip()]
    elif isinstance(nodes, Iterable) and not isinstance(nodes, (bytes, Mapping)):
        items = nodes
    else:
        raise ConfigurationError(
            f"nodes: {nodes!r} is not allowed; an iterable of URLs or Endpoints, "
            "or one str of comma-separated URLs"
        )
    endpoints = tuple(_endpoint(item) for item in items)
    if not endpoints:
        raise ConfigurationError("nodes: empty; at least one node is needed")
    seen: set[tuple[object, ...]] = set()
    for endpoint in endpoints:
        if endpoint.identity in seen:
            raise ConfigurationError(
                f"nodes: {endpoint} stands twice; each node once (weight= gives it a larger share)"
            )
        seen.add(endpoint.identity)
    return endpoints


def _endpoint(item: object) -> Endpoint:
    if isinstance(item, Endpoint):
        return item
    # httpx.URL and httpx2.URL are welcome without being imported here: they print as their URL.
    if isinstance(item, str) or type(item).__name__ == "URL":
        return Endpoint(str(item))
    raise ConfigurationError(f"nodes: {item!r} is not allowed; a URL or an Endpoint")
