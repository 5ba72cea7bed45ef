"""Asking the name servers directly, for what `getaddrinfo` does not tell: SRV records and TTLs.

dnspython, the extra `dns`, is loaded with the first question.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ..errors import ConfigurationError, DiscoveryError
from .options import not_allowed

if TYPE_CHECKING:
    import dns.resolver

__all__ = ["FAMILIES", "Family", "NoSuchRecord", "Resolver", "Service"]

Family = Literal["any", "ipv4", "ipv6"]
FAMILIES = get_args(Family)
_KINDS: dict[Family, tuple[str, ...]] = {
    "any": ("A", "AAAA"),
    "ipv4": ("A",),
    "ipv6": ("AAAA",),
}
# What passes unfragmented nearly everywhere (DNS flag day 2020); what is larger comes by TCP.
_PAYLOAD = 1232
_SERVERS = "IP addresses, with or without a port: '10.0.0.53', '127.0.0.1:5353', '[::1]:5353'"
_SERVER_AND_PORT = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})")


class NoSuchRecord(DiscoveryError):
    """The name servers know for sure that there is none."""


class Service(NamedTuple):
    """One SRV record."""

    priority: int
    weight: int
    port: int
    host: str


class Resolver:
    """Asks the name servers of the system's configuration, or those given.

    Raises:
        ConfigurationError: dnspython is missing, or `nameservers` are no addresses.
    """

    def __init__(self, source: object, nameservers: Iterable[str] | None) -> None:
        if find_spec("dns") is None or find_spec("dns.resolver") is None:
            raise ConfigurationError(
                f"{type(source).__name__} needs dnspython: pip install 'aiclient[dns]'"
            )
        self._servers = None if nameservers is None else _checked_servers(source, nameservers)

    def addresses(self, name: str, family: Family) -> tuple[list[str], float]:
        """The name's addresses, and for how many seconds they hold.

        Raises:
            NoSuchRecord: it has none, or does not exist.
            DiscoveryError: there was no answer, or one for only a part of the question.
        """
        addresses: list[str] = []
        lives: list[float] = []
        missing = []
        for kind in _KINDS[family]:
            try:
                answer = self._ask(name, kind)
            except NoSuchRecord as exc:
                missing.append(str(exc))
                continue
            addresses += [record.address for record in answer]
            lives.append(answer.chaining_result.minimum_ttl)
        if not addresses:
            raise NoSuchRecord("; ".join(dict.fromkeys(missing)))
        return addresses, min(lives)

    def services(self, name: str) -> tuple[list[Service], float]:
        """The name's SRV records, and for how many seconds they hold.

        Raises:
            NoSuchRecord: it has none, or does not exist.
            DiscoveryError: there was no answer.
        """
        answer = self._ask(name, "SRV")
        records = [
            Service(record.priority, record.weight, record.port, record.target.to_text())
            for record in answer
        ]
        return records, answer.chaining_result.minimum_ttl

    def _ask(self, name: str, kind: str) -> dns.resolver.Answer:
        from dns.exception import DNSException
        from dns.resolver import NXDOMAIN, NoAnswer

        try:
            answer = self._stub().resolve(name, kind, search=True)
        except (NXDOMAIN, NoAnswer) as exc:
            raise NoSuchRecord(f"{kind} records of {name}: {exc}") from exc
        except (DNSException, OSError, ValueError) as exc:
            raise DiscoveryError(f"{kind} records of {name}: {exc}") from exc
        _refuse_repeated(answer)
        return answer

    def _stub(self) -> dns.resolver.Resolver:
        # Made for each question: the system's configuration may have changed.
        from dns.nameserver import Do53Nameserver
        from dns.resolver import Resolver as Stub

        stub = Stub(configure=self._servers is None)
        if self._servers is not None:
            stub.nameservers = [Do53Nameserver(host, port) for host, port in self._servers]
        stub.use_edns(0, 0, _PAYLOAD)
        return stub


def _refuse_repeated(answer: dns.resolver.Answer) -> None:
    """dnspython merges records that stand in a message twice, which no sane server sends."""
    wire = answer.response.wire
    kept = sum(len(rrset) for rrset in answer.response.answer)
    if wire is not None and int.from_bytes(wire[6:8], "big") > kept:
        raise DiscoveryError(f"{answer.qname}: the answer holds the same record twice")


def _checked_servers(source: object, nameservers: Iterable[str]) -> list[tuple[str, int]]:
    if isinstance(nameservers, str) or not isinstance(nameservers, Iterable):
        nameservers = [str(nameservers)]
    servers = [_server(source, text) for text in nameservers]
    if not servers:
        raise not_allowed(source, "nameservers", nameservers, "at least one address, or None")
    return servers


def _server(source: object, text: Any) -> tuple[str, int]:
    found = _SERVER_AND_PORT.fullmatch(text) if isinstance(text, str) else None
    host = (found["v6"] or found["host"]) if found else str(text).strip("[]")
    port = int(found["port"]) if found else 53
    try:
        ipaddress.ip_address(host)
    except ValueError:
        port = 0
    if not 0 < port < 65536:
        raise not_allowed(source, "nameservers", text, _SERVERS)
    return host, port
