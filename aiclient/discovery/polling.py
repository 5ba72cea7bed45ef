"""Sources that are looked at again and again: when the next look is due."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ..endpoint import Endpoint
from ..errors import ConfigurationError, DiscoveryError
from .protocol import Signal

__all__ = ["Found", "polled"]

_SHORTEST_LIFE = 1.0
_FIRST_PAUSES = (0.1, 0.2, 0.4, 0.8, *[1.0] * 8)


class Found(NamedTuple):
    """What a look has found."""

    endpoints: Sequence[Endpoint]
    # For how many seconds it holds; None: nobody said.
    life: float | None


def polled(
    look: Callable[[], Found], signal: Signal, *, interval: float, min_interval: float
) -> Iterator[Sequence[Endpoint]]:
    """Yield what `look` finds, in an order of ours: resolvers shuffle.

    The next look is due when the answer's life is over, after `interval` at the latest, and
    `min_interval` after the last one if it is called for. A look that fails is reported and
    repeated after `min_interval`; before the first good one sooner, for calls are waiting.
    """
    first_pauses = iter(_FIRST_PAUSES)
    while True:
        at_least = min_interval
        try:
            endpoints, life = look()
        except (ConfigurationError, DiscoveryError) as exc:
            signal.report(exc)
            at_least = pause = min(next(first_pauses, min_interval), min_interval)
        else:
            first_pauses = iter(())
            pause = _pause(life, interval)
            yield sorted(endpoints, key=_order)
        if not signal.wait(pause, at_least=at_least):
            return


def _pause(life: float | None, interval: float) -> float:
    # A little apart from all others that look there.
    spread = 0.1 * random.random()
    if life is not None and life < interval:
        # Not early: a cache would give the old answer once more.
        return max(life, _SHORTEST_LIFE) * (1 + spread)
    return interval * (1 - spread)


def _order(endpoint: Endpoint) -> tuple[int, str, str]:
    return endpoint.priority, endpoint.url, endpoint.host_header or ""
