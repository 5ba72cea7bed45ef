"""Where a balancer's nodes come from, if not from its user: what the core needs to know of that."""

from __future__ import annotations

from typing import Protocol

import attrs

__all__ = ["TO_BE_FOUND", "DiscoveryStatus", "Source"]

# In place of nodes: a `Source` will bring them.
TO_BE_FOUND = object()


@attrs.frozen
class DiscoveryStatus:
    """How finding the nodes goes.

    Attributes:
        source: what is followed.
        found_at: when it last gave a good answer, on `time.monotonic`; None: never yet.
        updates: how many of its answers changed the set of nodes.
        problem: why the last answer was not used; empty when it was. The last good set stays.
        errors: how many of its answers could not be used, or did not come.
    """

    source: str
    found_at: float | None
    updates: int
    problem: str
    errors: int = 0


class Source(Protocol):
    """Brings `update`s from somewhere, in the background."""

    @property
    def status(self) -> DiscoveryStatus: ...

    def begin(self) -> None:
        """Start to follow, if that is not done yet; cheap to ask."""

    def hurry(self) -> None:
        """A node cannot be reached: look again soon."""

    def wait(self) -> float:
        """No node is known yet: the seconds until to look again.

        Raises:
            DiscoveryError: it has been long enough.
        """
        ...

    def end(self) -> None:
        """Follow no longer."""

    def forget(self) -> None:
        """In a forked child: what runs in the background is the parent's."""
