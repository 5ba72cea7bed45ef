"""Nodes behind a name: all its addresses, followed as they change."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from ..endpoint import Endpoint
from ..errors import DiscoveryError
from .addresses import believed, endpoint_at, routable
from .options import not_allowed, number, one_of, seconds
from .polling import Found, polled
from .protocol import Signal
from .resolver import FAMILIES, Family, Resolver
from .target import target_from

__all__ = ["DNSDiscovery"]

_FAMILIES: dict[Family, socket.AddressFamily] = {
    "any": socket.AF_UNSPEC,
    "ipv4": socket.AF_INET,
    "ipv6": socket.AF_INET6,
}
_SCHEMES = {None: "http", "dns": "http", "dns+https": "https", "http": "http", "https": "https"}
_FORM = "'name:port', 'dns://name:port' or 'dns+https://name:port', with a plain path at most"


class DNSDiscovery:
    """Every address of a name is a node. Host header and TLS stay on the name.

    Args:
        target: `name[:port]`, or `dns://name[:port][/path]`, which means http, or
            `dns+https://...`; `http://` and `https://` are fine, too. Without a port the scheme's
            own.
        resolver: "system", the default, asks as every other program does: hosts file, search
            domains, caches. It does not say how long its answer holds. "dns" asks the name
            servers, which do; it needs `pip install 'aiclient[dns]'`.
        nameservers: With "dns": IP addresses to ask, with or without a port; default: the
            system's.
        family: "ipv4" or "ipv6" for these addresses only; default "any". Nodes that have an
            address of each would otherwise count twice.
        interval: Seconds between two looks, at most, > 0; default 30. With "dns" a shorter time
            to live counts instead, down to 1 s.
        min_interval: Seconds between two looks, at least, where one is called for because a node
            cannot be reached or the last look failed; > 0, default 5.
        wait: Seconds calls wait for the first answer, > 0; then they raise `DiscoveryError`.
            Default 10.
        max_nodes: Answers with more addresses are not believed; >= 1, default 1000.

    Raises:
        ConfigurationError: for a value that is not allowed.
    """

    def __init__(
        self,
        target: str,
        *,
        resolver: Literal["system", "dns"] = "system",
        nameservers: Iterable[str] | None = None,
        family: Literal["any", "ipv4", "ipv6"] = "any",
        interval: float = 30.0,
        min_interval: float = 5.0,
        wait: float = 10.0,
        max_nodes: int = 1000,
    ) -> None:
        self._target = target_from(target, "DNSDiscovery", _SCHEMES, _FORM)
        by_dns = one_of(self, "resolver", resolver, ("system", "dns")) == "dns"
        if nameservers is not None and not by_dns:
            raise not_allowed(self, "nameservers", nameservers, "None, or resolver='dns'")
        self._resolver = Resolver(self, nameservers) if by_dns else None
        self._family = one_of(self, "family", family, FAMILIES)
        self._interval = seconds(self, "interval", interval)
        self._most = number(self, "max_nodes", max_nodes)
        self._min_interval = seconds(self, "min_interval", min_interval)
        self.wait = seconds(self, "wait", wait)

    @property
    def service(self) -> str:
        """The URL that stands for all nodes together."""
        target = self._target
        host = f"[{target.host}]" if ":" in target.host else target.host
        return f"{target.scheme}://{host}" + (f":{target.port}" if target.port else "")

    def watch(self, signal: Signal) -> Iterator[Sequence[Endpoint]]:
        """Yield the nodes, now and with each look.

        Raises:
            DiscoveryError: the name cannot be resolved, or its addresses cannot be right.
        """
        return polled(self._look, signal, interval=self._interval, min_interval=self._min_interval)

    def _look(self) -> Found:
        target = self._target
        life = None
        if self._resolver is None or target.is_address:
            addresses = self._ask_system()
        else:
            addresses, life = self._resolver.addresses(target.name, self._family)
        addresses = routable(believed(addresses, self._most))
        return Found([endpoint_at(address, target) for address in addresses], life)

    def _ask_system(self) -> Sequence[str]:
        name = self._target.name
        try:
            # One kind of socket: each address comes once for every kind.
            found = socket.getaddrinfo(
                name, None, _FAMILIES[self._family], socket.SOCK_STREAM, socket.IPPROTO_TCP
            )
        except (OSError, UnicodeError) as exc:
            raise DiscoveryError(f"cannot resolve {name}: {exc}") from exc
        return [str(address[0]) for _, _, _, _, address in found]

    def __repr__(self) -> str:
        return f"DNSDiscovery({self.service + self._target.path!r})"
