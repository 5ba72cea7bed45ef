"""What a service's EndpointSlices say: which of its pods may have calls, and where they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from ..endpoint import Endpoint
from ..errors import ConfigurationError, DiscoveryError

__all__ = ["Slices", "Wanted"]

_FAMILIES = ("IPv4", "IPv6", "FQDN")
_Pod = tuple[str, int, Endpoint]


@attrs.frozen
class Wanted:
    """Which port of a service's pods, and how to speak to it."""

    port: int | str | None
    scheme: str
    path: str
    tls_name: str | None

    def port_of(self, ports: Iterable[Mapping[str, Any]] | None) -> int | None:
        """The number of the port, or None where a slice does not have it.

        Raises:
            DiscoveryError: there are several and none was chosen.
        """
        if isinstance(self.port, int):
            return self.port
        known = {port.get("name") or "": int(port["port"]) for port in ports or ()}
        if self.port is not None:
            return known.get(self.port)
        if len(set(known.values())) > 1:
            names = ", ".join(f"{name!r} ({number})" for name, number in list(known.items())[:10])
            raise DiscoveryError(f"its pods have several ports; port= has to say which: {names}")
        return next(iter(known.values()), None)

    def pods(self, item: Mapping[str, Any]) -> Iterator[_Pod]:
        """The pods of one slice that may have calls: what tells them apart, their family, where."""
        family = _FAMILIES.index(item["addressType"])
        port = self.port_of(item.get("ports"))
        for endpoint in item.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            # Unknown means ready. A pod that ends may be "ready" where a service publishes all.
            if conditions.get("ready") is False or conditions.get("terminating") or port is None:
                continue
            address = endpoint["addresses"][0]
            pod = endpoint.get("targetRef") or {}
            yield str(pod.get("uid") or address), family, self._at(address, port, endpoint, pod)

    def _at(
        self, address: str, port: int, endpoint: Mapping[str, Any], pod: Mapping[str, Any]
    ) -> Endpoint:
        labels = {"pod": pod.get("name"), "node": endpoint.get("nodeName")}
        host = f"[{address}]" if ":" in address else address
        return Endpoint(
            f"{self.scheme}://{host}:{port}{self.path}",
            zone=endpoint.get("zone") or None,
            tls_name=self.tls_name,
            labels={name: value for name, value in labels.items() if value},
        )


class Slices:
    """All slices of a service, as of a version. Raises DiscoveryError for what are none."""

    def __init__(self, wanted: Wanted, answer: Any) -> None:
        self._wanted = wanted
        self._pods: dict[str, list[_Pod]] = {}
        try:
            self.version = str(answer["metadata"]["resourceVersion"])
            for item in answer.get("items") or ():
                self._put(item)
        except _NO_SLICES as exc:
            raise _strange(exc) from None

    def _put(self, item: Mapping[str, Any]) -> None:
        self._pods[item["metadata"]["name"]] = list(self._wanted.pods(item))

    def apply(self, kind: str, item: Any) -> bool:
        """Take in a change of a slice, and say whether it was one."""
        try:
            if kind in ("ADDED", "MODIFIED"):
                self._put(item)
            elif kind == "DELETED":
                self._pods.pop(item["metadata"]["name"], None)
            self.version = str(item["metadata"]["resourceVersion"])
        except _NO_SLICES as exc:
            raise _strange(exc) from None
        return kind != "BOOKMARK"

    def endpoints(self) -> tuple[Endpoint, ...]:
        """The pods that may have calls, each once.

        Raises:
            DiscoveryError: there is none.
        """
        found: dict[str, _Pod] = {}
        for pods in self._pods.values():
            for pod in pods:
                # While a pod moves from one slice to another it is in both; with two families of
                # addresses it always is.
                if pod[0] not in found or pod[1] < found[pod[0]][1]:
                    found[pod[0]] = pod
        if not found:
            what = "no EndpointSlice" if not self._pods else self._none_ready()
            raise DiscoveryError(f"it has {what}")
        return tuple({pod[2].identity: pod[2] for pod in found.values()}.values())

    def _none_ready(self) -> str:
        port = self._wanted.port
        return "no pod that is ready" + (f" with a port {port!r}" if isinstance(port, str) else "")


_NO_SLICES = (KeyError, IndexError, TypeError, ValueError, AttributeError)


def _strange(exc: Exception) -> DiscoveryError:
    why = f": {exc}" if isinstance(exc, ConfigurationError) else ""
    return DiscoveryError(f"an answer that is no EndpointSlice{why}")
