"""The balancers at one moment, as the page and `aiclient top` get them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping

from ..balancer import Balancer
from ..core.redaction import redacted
from ..errors import ConfigurationError

__all__ = ["Balancers", "checked", "picture"]

# What a browser can show every second, and a person can look through.
_MOST_NODES = 500
Balancers = Balancer | Mapping[str, Balancer]


def checked(balancer: object) -> dict[str, Balancer]:
    """The balancers by name; the only one's name is empty.

    Raises:
        ConfigurationError: it is neither a `Balancer` nor a mapping of names to such.
    """
    if isinstance(balancer, Balancer):
        return {"": balancer}
    found = dict(balancer) if isinstance(balancer, Mapping) else {}
    named = all(isinstance(name, str) and name for name in found)
    if not found or not named or not all(isinstance(each, Balancer) for each in found.values()):
        raise ConfigurationError(
            f"balancer: {type(balancer).__name__} is not allowed; a Balancer, such as "
            "client.balancer, or a mapping of names to Balancers"
        )
    return found


def picture(balancers: Mapping[str, Balancer]) -> bytes:
    """The JSON: `kind`, `process` (its number), and `balancers`.

    Each of these is its `name` and what `Snapshot.as_dict` gives, with 500 nodes at most.
    """
    found = {
        "kind": "aiclient status",
        "process": os.getpid(),
        "balancers": [
            {"name": redacted(name), **balancer.snapshot().as_dict(_MOST_NODES)}
            for name, balancer in balancers.items()
        ],
    }
    # ASCII: whatever a node calls itself, no byte of it is read as anything but JSON.
    return json.dumps(found, separators=(",", ":"), allow_nan=False).encode("ascii")
