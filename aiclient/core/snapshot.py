"""The whole fleet at one moment: for programs as objects, for the wire as plain JSON."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .events import Event
from .node import NodeSnapshot, NodeState
from .redaction import HIDDEN, credentials_in, names_credential, redacted
from .source import DiscoveryStatus

__all__ = ["Snapshot"]

_Told = Callable[[str], str]


class Snapshot(tuple[NodeSnapshot, ...]):
    """The nodes at one moment, a tuple of `NodeSnapshot`.

    Attributes:
        at: when, on the balancer's clock.
        service: the URL that stands for all nodes together.
        picker: which node gets a call.
        closed: whether the balancer gives out no node any more.
        panic: whether ejections are being ignored because too many nodes are out.
        in_flight: calls picked and not yet ended, over all nodes.
        waiting: calls in the line, for which no node has a place now.
        discovery: How finding them goes, a `DiscoveryStatus`; None where nobody looks for them.
        events: the last 100 `Event`s, oldest first.
    """

    at: float
    service: str
    picker: object
    closed: bool
    panic: bool
    in_flight: int
    waiting: int
    discovery: DiscoveryStatus | None
    events: tuple[Event, ...]

    @classmethod
    def of(cls, nodes: Iterable[NodeSnapshot], **attributes: Any) -> Snapshot:
        """These nodes, and all the attributes."""
        made = cls(nodes)
        vars(made).update(attributes)
        return made

    def as_dict(self, most_nodes: int | None = None) -> dict[str, Any]:
        """All of it in the types of JSON, to be given to `json.dumps`.

        Args:
            most_nodes: Of more nodes than that some are left out, ready ones before others; None
                for all.

        Durations are in seconds, shares from 0 to 1; a number that is not finite is None. Of an
        endpoint its headers are left out, and what looks like a credential is hidden in all text.

        - `at`: when, in seconds since 1970; `service`, `picker`, `closed`, `panic`, `in_flight`,
          `waiting`.
        - `discovery`: None, or `source`, `found_ago` (None: never yet), `updates`, `problem`.
        - `states`: how many nodes are in which state, those left out included.
        - `nodes`, in the order they joined: `name`, `url`, `weight`, `priority`, `zone`, `labels`
          of the endpoint; `state`, `in_flight`, `load`, `share`, `ttfb`, `slowness`, `breaker`,
          `success_rate`, `why`, `picked`, `succeeded`, `failed` as in `NodeSnapshot`; `out_for`:
          for how long it stays out, or None.
        - `events`, oldest first: `ago`, `kind`, `node` (None: all), `detail`.
        """
        credentials = _credentials_of(*self)

        def told(text: str) -> str:
            return redacted(text, credentials)

        return {
            "at": time.time(),
            "service": redacted(self.service),
            "picker": told(_name_of(self.picker)),
            "closed": self.closed,
            "panic": self.panic,
            "in_flight": self.in_flight,
            "waiting": self.waiting,
            "discovery": _discovery(self.discovery, told),
            "states": dict(Counter(node.state.value for node in self)),
            "nodes": [_node(node, self.at) for node in _most_telling(self, most_nodes)],
            "events": [_event(event, self.at, told) for event in self.events],
        }


def _most_telling(nodes: Sequence[NodeSnapshot], most: int | None) -> Sequence[NodeSnapshot]:
    if most is None or len(nodes) <= most:
        return nodes
    ready = [number for number, node in enumerate(nodes) if node.state is NodeState.READY]
    out = len(nodes) - len(ready)
    left = set(ready[max(0, most - out) :])
    return [node for number, node in enumerate(nodes) if number not in left][:most]


def _credentials_of(*nodes: NodeSnapshot) -> list[str]:
    """The longest first: one may be a part of another."""
    found: set[str] = set()
    for node in nodes:
        if node.endpoint.headers:
            found |= credentials_in(node.endpoint.headers)
    return sorted(found, key=len, reverse=True)


def _name_of(picker: object) -> str:
    try:
        return repr(picker)
    except Exception:
        # It may be the user's: a picture is no place to fail at that.
        return type(picker).__name__


def _discovery(status: DiscoveryStatus | None, told: _Told) -> dict[str, Any] | None:
    if status is None:
        return None
    found_at = status.found_at
    return {
        "source": told(status.source),
        # On this clock whatever the balancer's is.
        "found_ago": None if found_at is None else _number(time.monotonic() - found_at),
        "updates": status.updates,
        "problem": told(status.problem),
    }


def _node(node: NodeSnapshot, now: float) -> dict[str, Any]:
    endpoint = node.endpoint
    # Checked when it was given: no user, no query.
    url = f"{endpoint.scheme}://{endpoint.netloc}{endpoint.path}"
    until = node.ejected_until
    return {
        "name": redacted(endpoint.name) if endpoint.name else url,
        "url": url,
        "weight": endpoint.weight,
        "priority": endpoint.priority,
        "zone": redacted(endpoint.zone) if endpoint.zone else None,
        "labels": dict(_label(name, value) for name, value in endpoint.labels),
        "state": node.state.value,
        "in_flight": node.in_flight,
        "load": _number(node.load),
        "share": _number(node.share),
        "ttfb": _number(node.ttfb),
        "slowness": _number(node.slowness),
        "breaker": node.breaker.value,
        "success_rate": _number(node.success_rate),
        "out_for": None if until is None else _number(max(0.0, until - now)),
        # Of what a node is told, it can repeat its own alone.
        "why": redacted(node.why, _credentials_of(node)) if node.why else "",
        "picked": node.picked,
        "succeeded": node.succeeded,
        "failed": node.failed,
    }


def _label(name: str, value: str) -> tuple[str, str]:
    return redacted(name), HIDDEN if names_credential(name) else redacted(value)


def _event(event: Event, now: float, told: _Told) -> dict[str, Any]:
    return {
        "ago": _number(max(0.0, now - event.at)),
        "kind": event.kind.value,
        "node": None if event.node is None else redacted(event.node),
        "detail": told(event.detail),
    }


def _number(value: float | None) -> float | None:
    """Short, and none that JSON cannot say."""
    return round(value, 6) if value is not None and math.isfinite(value) else None
