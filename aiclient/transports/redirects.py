"""Redirects stay within the service: a Location that names a node means the service itself.

httpx follows redirects above the transport, with copies of the request's extensions: there the
first authority is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from ..endpoint import Endpoint
from ..errors import RedirectRefused

__all__ = ["REDIRECTS", "check_authority", "rewritten"]

_AUTHORITY = "aiclient.authority"
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"http": 80, "https": 443}
# Scheme, host as it stands on the wire, port.
Authority = tuple[str, bytes, int | None]


def check_authority(extensions: MutableMapping[str, Any], authority: Authority) -> None:
    """Remember a call's first authority, or see that a redirected one stays with it.

    Raises:
        RedirectRefused: it leaves the service; nothing has been sent.
    """
    first: Authority = extensions.setdefault(_AUTHORITY, authority)
    if first == authority:
        return
    scheme, host, port = first
    if authority[1] == host and scheme == "http" and authority[0] == "https" and port is None:
        return  # an upgrade of the service itself; nodes are dialled as they are configured
    raise RedirectRefused(
        f"a node redirected the call to {_origin(authority)}, which is not a node of "
        f"{_origin(first)}; nothing was sent there"
    )


def _origin(authority: Authority) -> str:
    scheme, host, port = authority
    name = f"[{host.decode()}]" if b":" in host else host.decode()
    return f"{scheme}://{name}" if port is None else f"{scheme}://{name}:{port}"


def rewritten(
    headers: list[tuple[bytes, bytes]],
    authority: Authority,
    node: Endpoint,
    endpoints: Iterable[Endpoint],
) -> list[tuple[bytes, bytes]]:
    """A redirect's headers, with a Location that names a node turned to the service."""
    return [
        (name, _logical(value, authority, node, endpoints))
        if len(name) == 8 and name.lower() == b"location"
        else (name, value)
        for name, value in headers
    ]


def _logical(
    value: bytes, authority: Authority, node: Endpoint, endpoints: Iterable[Endpoint]
) -> bytes:
    try:
        # Nobody encodes them all; whatever is not ASCII goes through as it came.
        location = urlsplit(value.decode("latin-1"))
        host, port = location.hostname, location.port or _PORTS.get(location.scheme)
    except ValueError:
        return value
    path = location.path
    if host is None:
        # Relative: only the node's own path, which the service does not have, is taken off.
        if not node.path or not path.startswith(node.path + "/"):
            return value
        return location._replace(path=path[len(node.path) :]).geturl().encode("latin-1")
    named = next((e for e in endpoints if e.host == host and e.port == port), None)
    if named is None and (node.host_header or "").lower() in (host, f"{host}:{location.port}"):
        named = node
    if named is None:
        return value
    if named.path and path.startswith(named.path + "/"):
        path = path[len(named.path) :]
    scheme, _, netloc = _origin(authority).partition("://")
    return location._replace(scheme=scheme, netloc=netloc, path=path).geturl().encode("latin-1")
