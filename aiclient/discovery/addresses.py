"""Addresses a resolver gave: which of them to believe, and the endpoints they make."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence

from ..endpoint import Endpoint
from ..errors import DiscoveryError
from .target import Target, is_address

__all__ = ["believed", "endpoint_at", "routable"]

_BROADCAST = ipaddress.ip_address("255.255.255.255")


def believed(addresses: Sequence[str], most: int) -> Sequence[str]:
    """The addresses, if this is an answer that may be right.

    Raises:
        DiscoveryError: it is empty or absurd.
    """
    if not addresses:
        raise DiscoveryError("the answer holds no address")
    if len(addresses) > most:
        raise DiscoveryError(f"the answer holds {len(addresses)} addresses; max_nodes={most}")
    seen = set()
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            raise DiscoveryError(f"the answer holds {text!r}, which is no IP address") from None
        # Two spellings of an IPv4 address are one address.
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_unspecified or address.is_multicast or address == _BROADCAST:
            raise DiscoveryError(f"the answer holds {text}, which is no address of a node")
        if address in seen:
            raise DiscoveryError(f"the answer holds {text} twice")
        seen.add(address)
    return addresses


def routable(addresses: Sequence[str]) -> Sequence[str]:
    """Those to which this machine has a route; all of them, if it has none to any.

    A name may have IPv6 addresses and the container no IPv6: these would fail for ever.
    """
    return [address for address in addresses if _has_route(address)] or addresses


def _has_route(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # UDP: nothing is sent
    except OSError:
        return False
    return True


def endpoint_at(
    address: str, target: Target, *, weight: float = 1.0, priority: int = 0
) -> Endpoint:
    """The node at this address, spoken to by the target's name."""
    host = f"[{address}]" if ":" in address else address
    port = "" if target.port is None else f":{target.port}"
    named = not is_address(target.name)
    return Endpoint(
        f"{target.scheme}://{host}{port}{target.path}",
        weight=weight,
        priority=priority,
        tls_name=target.host if named else None,
        host_header=f"{target.host}{port}" if named else None,
    )
