"""Nodes that are known: the set that never changes by itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..endpoint import Endpoint, endpoints_from
from .protocol import Signal

__all__ = ["StaticDiscovery"]


class StaticDiscovery:
    """Always the same nodes; for code that takes any `Discovery`.

    Args:
        nodes: An iterable of URLs and `Endpoint`s, or a str of comma-separated URLs.

    Raises:
        ConfigurationError: for what is no node, or none at all.
    """

    def __init__(self, nodes: object) -> None:
        self._endpoints = endpoints_from(nodes)

    def watch(self, signal: Signal) -> Iterator[Iterable[Endpoint]]:
        """Yield them once."""
        yield self._endpoints
        signal.wait()

    def __repr__(self) -> str:
        return f"StaticDiscovery({[str(endpoint) for endpoint in self._endpoints]})"
