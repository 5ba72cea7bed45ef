"""aiclient: client-side load balancing for AI calls.

A balanced client stands where a load balancer stood: it knows the nodes, their latency and the
calls in flight, takes failing nodes out, retries idempotent inference calls on another node, and
traces every node it chose.

    client = aiclient.Client(["http://10.0.0.1:8000", "http://10.0.0.2:8000"])
    client.post("/v1/chat/completions", json=body)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import errors, httpx2, status
    from .balancer import Balancer
    from .client import AsyncClient, Client
    from .context import options
    from .core.breaker import BreakerState
    from .core.events import Event, EventKind
    from .core.hashing import ConsistentHash
    from .core.node import Node, NodeSet, NodeSnapshot, NodeState
    from .core.pickers import (
        LeastLoad,
        LeastRequest,
        PickContext,
        Picker,
        PowerOfTwoChoices,
        Random,
        RoundRobin,
    )
    from .core.report import CallReport
    from .core.snapshot import Snapshot
    from .core.source import DiscoveryStatus
    from .discovery.dns import DNSDiscovery
    from .discovery.etcd import EtcdDiscovery
    from .discovery.file import FileDiscovery
    from .discovery.kubernetes import KubernetesDiscovery
    from .discovery.protocol import Discovery, Signal
    from .discovery.srv import SRVDiscovery
    from .discovery.static import StaticDiscovery
    from .endpoint import Endpoint
    from .errors import (
        BalancerError,
        ConfigurationError,
        DeadlineExceeded,
        DiscoveryError,
        NoNodeAvailable,
        Overloaded,
        RedirectRefused,
        StreamInterrupted,
        attempts_of,
    )
    from .facts import AttemptRecord, RequestFacts
    from .health_check import HealthCheck
    from .lease import Lease, Leases
    from .settings import (
        BreakerPolicy,
        CallOptions,
        Concurrency,
        Deadlines,
        OutlierPolicy,
        RetryPolicy,
    )
    from .transports.async_transport import AsyncBalancedTransport
    from .transports.sync_transport import BalancedTransport

__version__ = "0.1.0"

__all__ = [
    "AsyncBalancedTransport",
    "AsyncClient",
    "AttemptRecord",
    "BalancedTransport",
    "Balancer",
    "BalancerError",
    "BreakerPolicy",
    "BreakerState",
    "CallOptions",
    "CallReport",
    "Client",
    "Concurrency",
    "ConfigurationError",
    "ConsistentHash",
    "DNSDiscovery",
    "DeadlineExceeded",
    "Deadlines",
    "Discovery",
    "DiscoveryError",
    "DiscoveryStatus",
    "Endpoint",
    "EtcdDiscovery",
    "Event",
    "EventKind",
    "FileDiscovery",
    "HealthCheck",
    "KubernetesDiscovery",
    "Lease",
    "Leases",
    "LeastLoad",
    "LeastRequest",
    "NoNodeAvailable",
    "Node",
    "NodeSet",
    "NodeSnapshot",
    "NodeState",
    "OutlierPolicy",
    "Overloaded",
    "PickContext",
    "Picker",
    "PowerOfTwoChoices",
    "Random",
    "RedirectRefused",
    "RequestFacts",
    "RetryPolicy",
    "RoundRobin",
    "SRVDiscovery",
    "Signal",
    "Snapshot",
    "StaticDiscovery",
    "StreamInterrupted",
    "attempts_of",
    "errors",
    "httpx2",
    "options",
    "status",
]

# Where each name lives. They load when first used: a service that imports aiclient at its start
# pays for httpx and the rest only in the processes that make calls.
_HOMES = {
    "AsyncBalancedTransport": ".transports.async_transport",
    "AsyncClient": ".client",
    "AttemptRecord": ".facts",
    "BalancedTransport": ".transports.sync_transport",
    "Balancer": ".balancer",
    "BreakerState": ".core.breaker",
    "BalancerError": ".errors",
    "BreakerPolicy": ".settings",
    "CallOptions": ".settings",
    "CallReport": ".core.report",
    "Client": ".client",
    "ConfigurationError": ".errors",
    "ConsistentHash": ".core.hashing",
    "DeadlineExceeded": ".errors",
    "DNSDiscovery": ".discovery.dns",
    "Concurrency": ".settings",
    "Deadlines": ".settings",
    "Discovery": ".discovery.protocol",
    "DiscoveryError": ".errors",
    "DiscoveryStatus": ".core.source",
    "Endpoint": ".endpoint",
    "EtcdDiscovery": ".discovery.etcd",
    "Event": ".core.events",
    "EventKind": ".core.events",
    "FileDiscovery": ".discovery.file",
    "KubernetesDiscovery": ".discovery.kubernetes",
    "HealthCheck": ".health_check",
    "Lease": ".lease",
    "Leases": ".lease",
    "LeastLoad": ".core.pickers",
    "LeastRequest": ".core.pickers",
    "NoNodeAvailable": ".errors",
    "Overloaded": ".errors",
    "Node": ".core.node",
    "NodeSet": ".core.node",
    "NodeSnapshot": ".core.node",
    "NodeState": ".core.node",
    "OutlierPolicy": ".settings",
    "PickContext": ".core.pickers",
    "Picker": ".core.pickers",
    "PowerOfTwoChoices": ".core.pickers",
    "Random": ".core.pickers",
    "RedirectRefused": ".errors",
    "RequestFacts": ".facts",
    "RetryPolicy": ".settings",
    "RoundRobin": ".core.pickers",
    "SRVDiscovery": ".discovery.srv",
    "Signal": ".discovery.protocol",
    "Snapshot": ".core.snapshot",
    "StaticDiscovery": ".discovery.static",
    "StreamInterrupted": ".errors",
    "attempts_of": ".errors",
    "options": ".context",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name], __name__), name)
    elif name in ("errors", "httpx2", "status"):
        value = import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module 'aiclient' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
