"""The lease: a node held for a call of any protocol, told about by whoever holds it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from .core.attempt import Attempt
from .core.call import Call, Step
from .core.verdict import Failure
from .errors import BalancerError, note_attempts
from .pausing import async_pause, sync_pause

if TYPE_CHECKING:
    from .core.engine import Engine
    from .core.line import Ticket
    from .endpoint import Endpoint
    from .settings import CallOptions

__all__ = ["Classify", "Lease", "Leases"]

Classify: TypeAlias = "Callable[[BaseException], bool | None]"


class Lease:
    """One node, held from entering the block to leaving it."""

    def __init__(self, balancer: Engine, options: CallOptions, classify: Classify | None) -> None:
        self._call = Call(balancer, None, options, watched=False)
        self._classify = classify
        self._attempt: Attempt | None = None
        self._told: str | None = None

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect; once entered."""
        return self._held.endpoint

    @property
    def _held(self) -> Attempt:
        if self._attempt is None:
            raise RuntimeError("enter the lease first: with balancer.lease() as lease")
        return self._attempt

    def __repr__(self) -> str:
        held = repr(self._attempt) if self._attempt is not None else "not entered"
        return f"<{type(self).__name__} {held}>"

    def first_byte(self) -> None:
        """The node has begun to answer: the latency sample. Without it there is none."""
        self._call.delivered(self._held)

    def fail(self, reason: str = "reported by the user") -> None:
        """The node did not do its work, although no exception says so."""
        self._told = reason

    def __enter__(self) -> Lease:
        step = self._begin()
        while not isinstance(step, Attempt):
            sync_pause(self._call, step)
            step = self._resumed()
        self._attempt = step
        return self

    async def __aenter__(self) -> Lease:
        step = self._begin()
        while not isinstance(step, Attempt):
            await async_pause(self._call, step)
            step = self._resumed()
        self._attempt = step
        return self

    def _begin(self) -> Attempt | Ticket | float:
        if self._attempt is not None:
            raise RuntimeError("a lease is entered once; ask the balancer for another one")
        return begun(self._call)

    def _resumed(self) -> Attempt | Ticket | float:
        step = self._call.resume()
        assert step is not None  # only a call that has been tried can have nothing left
        return step

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        exc: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> bool | None:
        self._end(exc)
        return None

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        exc: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> bool | None:
        return self.__exit__(kind, exc, traceback)

    def _failure(self, exc: BaseException | None) -> Failure | None:
        try:
            return failure_of(exc, self._told, self._classify)
        except BaseException:
            self._held.release("its classify function raised")
            raise

    def _end(self, exc: BaseException | None) -> None:
        attempt = self._held
        failure = self._failure(exc)
        if failure is not None:
            attempt.fault(failure, self._told or str(exc))
        elif exc is not None:
            attempt.release(type(exc).__name__)
        else:
            attempt.finish()
        ended(self._call, exc)


class Leases:
    """The turns of one call; see `Balancer.leases`."""

    def __init__(self, balancer: Engine, options: CallOptions, classify: Classify | None) -> None:
        self._balancer = balancer
        self._options = options
        self._classify = classify

    def __iter__(self) -> Turns:
        return Turns(Call(self._balancer, None, self._options, watched=False), self._classify)

    def __aiter__(self) -> Turns:
        return self.__iter__()


class Turns:
    """Iterates over the turns, either way; no generator, so that a loop may be left half-way."""

    def __init__(self, call: Call, classify: Classify | None) -> None:
        self._call = call
        self._classify = classify
        self._turn: Turn | None = None

    def __iter__(self) -> Turns:
        return self

    def __aiter__(self) -> Turns:
        return self

    def __next__(self) -> Turn:
        step = self._step()
        while not isinstance(step, Attempt):
            if step is None:
                self._raise_suppressed()
                raise StopIteration
            sync_pause(self._call, step)
            step = self._call.resume()
        return self._take(step)

    async def __anext__(self) -> Turn:
        step = self._step()
        while not isinstance(step, Attempt):
            if step is None:
                self._raise_suppressed()
                raise StopAsyncIteration
            await async_pause(self._call, step)
            step = self._call.resume()
        return self._take(step)

    def _step(self) -> Step:
        return begun(self._call) if self._turn is None else self._turn.next_step()

    def _take(self, attempt: Attempt) -> Turn:
        self._turn = Turn(self._call, attempt, self._classify)
        return self._turn

    def _raise_suppressed(self) -> None:
        """After a wait there was no turn left: the last one's failure must not pass unnoticed."""
        turn = self._turn
        if turn is not None and turn.suppressed is not None:
            error, turn.suppressed = turn.suppressed, None
            note_attempts(error, self._call.records())
            raise error


class Turn(Lease):
    """One turn of `Balancer.leases`: a lease that knows whether there will be another.

    Attributes:
        suppressed: what ended its block, kept back because another node was to be tried.
    """

    def __init__(self, call: Call, attempt: Attempt, classify: Classify | None) -> None:
        self._call = call
        self._classify = classify
        self._attempt = attempt
        self._told = None
        self._next: Step = None
        self._entered = False
        self.suppressed: BaseException | None = None

    def __enter__(self) -> Turn:
        self._entered = True
        return self

    async def __aenter__(self) -> Turn:
        return self.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        exc: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> bool | None:
        failure = self._failure(exc)
        if failure is None:
            self._end(exc)
            return None
        self._next = self._call.failed(self._held, failure, self._told or str(exc))
        if self._next is not None:
            self.suppressed = exc if exc is not None else self._reported()
            return True
        ended(self._call, exc if exc is not None else self._reported())
        if exc is None:
            raise self._reported()
        note_attempts(exc, self._call.records())
        return False

    def _reported(self) -> BalancerError:
        last = BalancerError(f"{self._told} ({self.endpoint}, attempt {self._held.number})")
        note_attempts(last, self._call.records())
        return last

    def next_step(self) -> Step:
        """What follows, once the turn's block has ended."""
        if not self._entered or not self._held.done:
            self._held.release("its block was never entered")
        step, self._next = self._next, None
        return step


def begun(call: Call) -> Attempt | Ticket | float:
    """The call's first step; whoever watches the balancer is told."""
    # Here, not above: a balancer alone must not load OpenTelemetry.
    from .telemetry.leases import lease_begins

    lease_begins(call.balancer)
    return call.begin()


def ended(call: Call, exc: BaseException | None) -> None:
    """There will be no other turn."""
    from .telemetry.leases import lease_is_over

    lease_is_over(call, exc)


def failure_of(
    exc: BaseException | None, told: str | None, classify: Classify | None
) -> Failure | None:
    """What the end of a lease's block says against the node, if anything."""
    if told is not None:
        return Failure.REPORTED
    if exc is None:
        return None
    word = classify(exc) if classify is not None else None
    if word is None:
        word = isinstance(exc, (OSError, EOFError))
    if not word:
        return None
    return Failure.CONNECT if _never_connected(exc) else Failure.RESET


def _never_connected(exc: BaseException) -> bool:
    if isinstance(exc, (ConnectionRefusedError, socket.gaierror)):
        return True
    return getattr(exc, "errno", None) in (errno.EHOSTUNREACH, errno.ENETUNREACH)
