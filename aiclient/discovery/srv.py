"""Nodes by SRV records: with ports, priorities and weights of their own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import attrs

from ..endpoint import Endpoint
from ..errors import ConfigurationError, DiscoveryError
from .addresses import believed, endpoint_at, routable
from .options import not_allowed, number, one_of, seconds
from .polling import Found, polled
from .protocol import Signal
from .resolver import FAMILIES, NoSuchRecord, Resolver, Service
from .target import is_name, target_from

__all__ = ["SRVDiscovery"]

_FORM = "'_service._tcp.name' or 'dns+srv://_service._tcp.name', with a plain path at most"
_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*")
# "A very small chance of being selected" beside records with a weight (RFC 2782).
_NEXT_TO_NOTHING = 0.01


class SRVDiscovery:
    """Every address of every host that the name's SRV records list is a node.

    A record's priority is the nodes' `priority`: those of a larger number get calls only while
    none of a smaller one can take them. Its weight is shared by the addresses of its host. Host
    header and TLS stay on the host's name. The records' time to live says when to look again.
    Needs `pip install 'aiclient[dns]'`.

    Args:
        target: `_service._tcp.name`, or `dns+srv://_service._tcp.name[/path]`.
        scheme: How the nodes are spoken to; default "http".
        nameservers: IP addresses to ask, with or without a port; default: the system's.
        family: "ipv4" or "ipv6" for these addresses only; default "any". Nodes that have an
            address of each would otherwise count twice.
        interval: Seconds between two looks, at most, > 0; default 30. A shorter time to live
            counts instead, down to 1 s.
        min_interval: Seconds between two looks, at least, where one is called for because a node
            cannot be reached or the last look failed; > 0, default 5.
        wait: Seconds calls wait for the first answer, > 0; then they raise `DiscoveryError`.
            Default 10.
        max_nodes: Answers with more records or addresses are not believed; >= 1, default 1000.

    Raises:
        ConfigurationError: for a value that is not allowed, or without dnspython.
    """

    def __init__(
        self,
        target: str,
        *,
        scheme: str = "http",
        nameservers: Iterable[str] | None = None,
        family: Literal["any", "ipv4", "ipv6"] = "any",
        interval: float = 30.0,
        min_interval: float = 5.0,
        wait: float = 10.0,
        max_nodes: int = 1000,
    ) -> None:
        if not (isinstance(scheme, str) and _SCHEME.fullmatch(scheme)):
            raise not_allowed(self, "scheme", scheme, "a URL's, such as 'http' or 'https'")
        schemes = {None: scheme, "dns+srv": scheme}
        self._target = target_from(target, "SRVDiscovery", schemes, _FORM)
        if self._target.port is not None or self._target.is_address:
            raise ConfigurationError(f"SRVDiscovery: {target!r} is not allowed; {_FORM}")
        self._resolver = Resolver(self, nameservers)
        self._family = one_of(self, "family", family, FAMILIES)
        self._interval = seconds(self, "interval", interval)
        self._most = number(self, "max_nodes", max_nodes)
        self._min_interval = seconds(self, "min_interval", min_interval)
        self.wait = seconds(self, "wait", wait)

    @property
    def service(self) -> str:
        """The URL that stands for all nodes together."""
        return f"{self._target.scheme}://{self._target.host}"

    def watch(self, signal: Signal) -> Iterator[Sequence[Endpoint]]:
        """Yield the nodes, now and with each look.

        Raises:
            DiscoveryError: the name cannot be resolved, or its records cannot be right.
        """
        return polled(self._look, signal, interval=self._interval, min_interval=self._min_interval)

    def _look(self) -> Found:
        records, life = self._resolver.services(self._target.name)
        if len(records) > self._most:
            raise DiscoveryError(f"the answer holds {len(records)} records; max_nodes={self._most}")
        weighted = {record.priority for record in records if record.weight}
        endpoints: list[Endpoint] = []
        missing = ""
        for record in records:
            # With no weights at all, all weigh the same.
            least = _NEXT_TO_NOTHING if record.priority in weighted else 1.0
            try:
                addresses, holds = self._addresses(record)
            except NoSuchRecord as exc:
                # It has gone from the zone before its record has: the others are still there.
                missing = str(exc)
                continue
            life = min(life, holds)
            endpoints += self._endpoints(record, addresses, record.weight or least)
        if not endpoints:
            raise DiscoveryError(missing or "the answer holds no record")
        if len(endpoints) > self._most:
            raise DiscoveryError(
                f"the answer holds {len(endpoints)} addresses; max_nodes={self._most}"
            )
        return Found(endpoints, life)

    def _addresses(self, record: Service) -> tuple[Sequence[str], float]:
        if record.host == ".":
            raise NoSuchRecord(f"{self._target.name} says that this service is not available")
        if not record.port or not is_name(record.host):
            raise DiscoveryError(f"the answer holds {record.host!r}, port {record.port}")
        addresses, life = self._resolver.addresses(record.host, self._family)
        return routable(believed(addresses, self._most)), life

    def _endpoints(
        self, record: Service, addresses: Sequence[str], weight: float
    ) -> Iterable[Endpoint]:
        at = attrs.evolve(self._target, name=record.host, port=record.port)
        share = weight / len(addresses)
        return [
            endpoint_at(address, at, weight=share, priority=record.priority)
            for address in addresses
        ]

    def __repr__(self) -> str:
        return f"SRVDiscovery({self._target.host + self._target.path!r})"
