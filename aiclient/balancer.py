"""The balancer a user holds: the core's decisions, leases, and waiting."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .core.balancer import BalancerCore
from .core.pickers import Picker
from .core.source import TO_BE_FOUND
from .discovery.follower import Follower
from .discovery.sources import source_of
from .errors import BalancerError, ConfigurationError
from .health.checker import HealthChecker
from .health_check import HealthCheck
from .lease import Classify, Lease, Leases
from .settings import BreakerPolicy, CallOptions, Concurrency, Deadlines, OutlierPolicy, RetryPolicy

if TYPE_CHECKING:
    import ssl

__all__ = ["Balancer", "Policy", "balancer_for"]

_POLL_SECONDS = 0.02
_SERVICE = "http://aiclient.invalid"


class _Default:
    def __repr__(self) -> str:
        return "the default"


DEFAULT: Any = _Default()
Policy = Any


class Balancer(BalancerCore):
    """Spreads calls over nodes. Thread-safe; for sync and async clients, and leases, together.

    Args:
        nodes: an iterable of URLs and `Endpoint`s; a str of comma-separated URLs; a discovery URL
            (`dns://name:port`, `dns+https://name:port`, `dns+srv://_service._proto.name`,
            `file:///path`); or any `Discovery`.
        picker: Which node gets a call; default `LeastLoad()`.
        retry, breaker, outlier, deadlines, concurrency: see the classes; None switches one off.
        health_check: Checks the nodes in the background; default None: not at all.
        clock: Seconds that never go back; default `time.monotonic`.
        rng: Random numbers; give a seeded one to repeat a run.

    Raises:
        ConfigurationError: for a value that is not allowed.
    """

    def __init__(
        self,
        nodes: object,
        *,
        picker: Picker | None = None,
        retry: RetryPolicy | None = DEFAULT,
        breaker: BreakerPolicy | None = DEFAULT,
        outlier: OutlierPolicy | None = DEFAULT,
        deadlines: Deadlines | None = None,
        concurrency: Concurrency | None = DEFAULT,
        health_check: HealthCheck | None = None,
        clock: Callable[[], float] = time.monotonic,
        rng: random.Random | None = None,
    ) -> None:
        policies: dict[str, Any] = {"retry": retry, "breaker": breaker, "outlier": outlier}
        policies["concurrency"] = concurrency
        given = {name: value for name, value in policies.items() if value is not DEFAULT}
        discovery = source_of(nodes)
        super().__init__(
            nodes if discovery is None else TO_BE_FOUND,
            picker=picker,
            deadlines=deadlines,
            health_check=health_check,
            clock=clock,
            rng=rng,
            **given,
        )
        # The URL that stands for all nodes together.
        self.service: str = getattr(discovery, "service", _SERVICE)
        if discovery is not None:
            self.source = Follower(self, discovery)
        if health_check is not None:
            self.checker = HealthChecker(self, health_check)

    def lease(
        self,
        *,
        key: str | None = None,
        pin: str | None = None,
        classify: Classify | None = None,
    ) -> Lease:
        """Hold a node for a call of any other protocol, as a context manager, sync or async.

        Args:
            key: for `ConsistentHash`.
            pin: the one node to use, whatever its state.
            classify: A function of the exception that ended the block: True, the node is at
                fault; False, it is not; None, as usual (`OSError`, `EOFError` and `TimeoutError`
                are the node's fault, cancellation and everything else is not).

        Raises, on entering:
            NoNodeAvailable: no node may take it.
        """
        return Lease(self, CallOptions(key=key, pin=pin), classify)

    def leases(
        self,
        *,
        key: str | None = None,
        deadline: float | None = None,
        retry: RetryPolicy | None = None,
        classify: Classify | None = None,
    ) -> Leases:
        """Retries as a loop, `for` or `async for`: each turn brings another node.

        The loop ends with the first lease whose block ends without the node's fault; a block's
        exception is suppressed as long as another node is to be tried, else it is raised.

        Args:
            deadline: Seconds for all turns together.
            retry: A `RetryPolicy` for this loop alone.
            key, classify: as for `lease`.
        """
        options = CallOptions(key=key, deadline=deadline, retry=retry)
        return Leases(self, options, classify)

    def wait_ready(self, timeout: float | None = None) -> None:
        """Block until some node may take a call; `await_ready` in asynchronous code.

        Raises:
            TimeoutError: none within `timeout` seconds.
        """
        give_up_at = None if timeout is None else time.monotonic() + timeout
        while not self.available:
            self._still_waiting(give_up_at, timeout)
            time.sleep(_POLL_SECONDS)

    async def await_ready(self, timeout: float | None = None) -> None:
        """As `wait_ready`, on asyncio or trio."""
        import anyio

        give_up_at = None if timeout is None else time.monotonic() + timeout
        while not self.available:
            self._still_waiting(give_up_at, timeout)
            await anyio.sleep(_POLL_SECONDS)

    def _still_waiting(self, give_up_at: float | None, timeout: float | None) -> None:
        if self.closed:
            raise BalancerError("the balancer is closed")
        if give_up_at is not None and time.monotonic() >= give_up_at:
            nodes = self.snapshot()
            states = "; ".join(f"{n.endpoint} {n.state}: {n.why}" for n in nodes[:10])
            if not nodes and nodes.discovery is not None:
                problem = nodes.discovery.problem or "there was no answer yet"
                states = f"{nodes.discovery.source}: {problem}"
            raise TimeoutError(f"no node became ready within {timeout:g} s: {states}")

    def close(self) -> None:
        """Give out no node any more. Calls under way go on to their end."""
        self.mark_closed()

    def __enter__(self) -> Balancer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        exc: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        """A status report: what an operator asks first."""
        nodes = self.snapshot()
        lines = [
            f"{node.endpoint} {node.state} in_flight={node.in_flight} share={node.share:.0%}"
            + (f" ttfb={node.ttfb * 1000:.0f}ms" if node.ttfb is not None else "")
            + (f" ({node.why})" if node.why else "")
            for node in nodes[:20]
        ]
        if len(nodes) > 20:
            lines.append(f"and {len(nodes) - 20} more")
        if nodes.discovery is not None and nodes.discovery.problem:
            lines.insert(0, f"discovery: {nodes.discovery.problem}")
        elif not nodes and nodes.discovery is not None:
            lines.append(f"no nodes yet from {nodes.discovery.source}")
        state = "closed " if self.closed else "PANIC " if self.panic else ""
        head = f"{state}{self.picker!r} in_flight={self.in_flight}"
        head += f" waiting={nodes.waiting}" if nodes.waiting else ""
        return f"<Balancer {head}: {'; '.join(lines)}>"


def balancer_for(
    nodes: object, policies: dict[str, Any], tls: Callable[[], ssl.SSLContext] | None = None
) -> tuple[Balancer, bool]:
    """The balancer for `nodes`, and whether it was made here, to be closed by who asked.

    `tls`: makes the context for the health checks of https nodes, if they say nothing of it.

    Raises:
        ConfigurationError: a policy was given beside a balancer that has its own.
    """
    given = {name: value for name, value in policies.items() if value is not DEFAULT}
    if not isinstance(nodes, Balancer):
        made = Balancer(nodes, **given)
        if isinstance(made.checker, HealthChecker):
            made.checker.tls = tls
        return made, True
    if given:
        raise ConfigurationError(
            f"{', '.join(given)}: not allowed beside a Balancer, which has its own; "
            "give them to Balancer(...)"
        )
    return nodes, False
