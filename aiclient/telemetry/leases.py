"""Leases: their balancer is in the metrics, and each is a record of the access log."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.balancer import BalancerCore
from . import access
from .calls import host_of
from .metrics import instruments

if TYPE_CHECKING:
    from ..core.call import Call
    from ..core.engine import Engine

__all__ = ["lease_begins", "lease_is_over"]


def lease_begins(balancer: Engine) -> None:
    """From now on the balancer is in the metrics, where there are any."""
    meters = instruments()
    if meters is not None and isinstance(balancer, BalancerCore):
        meters.follow(balancer, host_of(balancer))


def lease_is_over(call: Call, error: BaseException | None) -> None:
    """It, or the last turn of it, has ended with this exception."""
    balancer = call.balancer
    if not access.enabled() or not isinstance(balancer, BalancerCore):
        return
    fields = {
        "method": "LEASE",
        "service": host_of(balancer),
        "path": None,
        "status": None,
        "error": None if error is None else type(error).__name__,
        "duration": round(balancer.clock() - call.started, 6),
    }
    access.log_call(fields, call.records())
