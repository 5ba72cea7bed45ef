"""One logical call: its attempts, and what comes next.

A shell asks `begin`, does what it is told, and reports `failed` or `answered`. Each of them returns
the next step: an attempt to make; seconds to wait before `resume`; a `Ticket`, to wait in the line
until it wakes, and then to `resume`; or None: the last outcome, an answer or a failure, is the
caller's. Of a good answer, `delivered` reports the first content and `complete` the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeAlias

from ..errors import BalancerError, DeadlineExceeded
from ..facts import AttemptRecord, RequestFacts
from ..settings import CallOptions, RetryPolicy
from .attempt import Attempt
from .holdback import Hold, hold_for
from .line import Ticket
from .routes import profile_of
from .verdict import Failure, Health, Retry, Verdict, of_failure, of_status

if TYPE_CHECKING:
    from .engine import Engine
    from .node import Node

__all__ = ["Call", "Step"]

Step: TypeAlias = Attempt | Ticket | float | None
RawHeaders: TypeAlias = Iterable[tuple[bytes, bytes]]


class Call:
    """Used by one task or thread at a time."""

    __slots__ = (
        "_moved",
        "_odd",
        "_owed",
        "_ticket",
        "_waited",
        "attempts",
        "balancer",
        "deadline_at",
        "facts",
        "hold",
        "idempotent",
        "impatient",
        "key",
        "kind",
        "may_probe",
        "may_repeat",
        "most_attempts",
        "pin",
        "policy",
        "reason",
        "replayable",
        "resent",
        "started",
        "tried",
        "watched",
    )

    def __init__(
        self,
        balancer: Engine,
        facts: RequestFacts | None,
        options: CallOptions,
        *,
        watched: bool = True,
        resent: bool = False,
    ) -> None:
        policy: RetryPolicy = options.retry or balancer.retry
        profile = profile_of(facts, options, policy)
        self.balancer = balancer
        self.facts = facts
        self.policy = policy
        self.key = options.key
        self.pin = options.pin
        self.kind = profile.kind
        self.idempotent = profile.idempotent
        self.replayable = facts is None or facts.replayable
        self.watched = watched
        # The caller's SDK has sent this call before: one budget covers its retries and ours.
        self.resent = resent
        self.most_attempts = policy.attempts
        self.started = balancer.clock()
        total = options.deadline or balancer.deadlines.total
        self.deadline_at = math.inf if total is None else self.started + total
        self.attempts: list[Attempt] = []
        self.tried: list[Node] = []
        self.may_probe = self.may_repeat = self.impatient = False
        # Why the next attempt is a retry; empty for the first.
        self.reason = ""
        # Bytes of the answer to hold back until it is whole; 0: hand it over as it comes.
        self.hold = 0
        self._waited = 0.0
        # A permit that has been taken, and not become an attempt yet.
        self._owed = False
        # Its place in the line, while it waits there.
        self._ticket: Ticket | None = None
        self._odd: Attempt | None = None
        self._moved: Attempt | None = None
        if profile.inference and self.replayable and self.idempotent:
            self.hold = policy.hold_body

    # What comes next

    def begin(self) -> Attempt | Ticket | float:
        """The first step.

        Raises:
            NoNodeAvailable: no node may take it.
            DeadlineExceeded: its deadline passes before one could.
            ConfigurationError: it is pinned to a node that does not exist.
        """
        if self.resent:
            self._owed = self.balancer.withdraw()
            if not self._owed:
                self.resent = False  # there is no permit to give back
                self.most_attempts = 1
        step = self._next_or_give_back()
        if step is None:
            raise DeadlineExceeded("no node could take the call before its deadline")
        return step

    def resume(self) -> Step:
        """The step after a wait.

        Raises:
            NoNodeAvailable, DeadlineExceeded: as `begin`, when no attempt was made yet.
        """
        step = self._from_line() if self._ticket is not None else self._again()
        if step is None:
            if not self.attempts:
                raise DeadlineExceeded("no node could take the call before its deadline")
        return step

    def _next_or_give_back(self, *, patient: bool = True) -> Step:
        """What comes next; a permit that is not used for it serves another call."""
        step: Step = None
        try:
            step = self._next(patient=patient)
        finally:
            if step is None:
                self._give_back()
        return step

    def _give_back(self) -> None:
        if self._owed:
            self._owed = False
            self.balancer.give_back()

    def _again(self) -> Step:
        self.may_repeat = True
        return self._next_or_give_back()

    def _from_line(self) -> Step:
        assert self._ticket is not None
        found = self.balancer.claim(self._ticket)
        if isinstance(found, Ticket):
            return found
        self._ticket = None
        return self._made(found) if found is not None else self._next_or_give_back(patient=False)

    def give_up(self) -> None:
        """It waits no longer: whoever made it has been cancelled."""
        if self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            self.balancer.leave(ticket)
        self._give_back()

    def _next(self, *, patient: bool = True) -> Step:
        if self.deadline_at < math.inf and self.balancer.clock() >= self.deadline_at:
            return None
        left = self.most_attempts - len(self.attempts)
        self.may_probe = self.idempotent and self.replayable and left > 1
        while True:
            try:
                found: Attempt | Ticket | float
                if self.pin is not None:
                    found = self.balancer.pin(self, self.pin)
                else:
                    found = self.balancer.pick(self, patient=patient)
            except BalancerError:
                # None left, or closed in the meantime: the last failure is the caller's.
                if self.attempts:
                    return None
                raise
            if isinstance(found, Attempt):
                return self._made(found)
            if isinstance(found, Ticket):
                self._ticket = found
                return found
            if self._can_wait(found):
                if not self.balancer.pending:
                    self._waited += found
                return found
            if self.attempts:
                return None
            self.impatient = True

    def _can_wait(self, seconds: float) -> bool:
        if self.deadline_at < math.inf:
            return self.balancer.clock() + seconds < self.deadline_at
        if self.balancer.pending:
            return True  # for the first nodes calls wait as long as their source says
        return self._waited + seconds <= self.policy.max_wait

    def _made(self, attempt: Attempt) -> Attempt:
        self._owed = False
        self.attempts.append(attempt)
        self.tried.append(attempt.node)
        attempt.number = len(self.attempts)
        attempt.begun = self.started
        attempt.retry_of = self.reason
        attempt.permit = attempt.number > 1 or self.resent
        attempt.deadline_at = self.deadline_at
        self.may_repeat = False
        deadlines = self.balancer.deadlines
        if deadlines.first_byte is not None:
            attempt.first_byte_by = attempt.started + deadlines.first_byte
        if deadlines.idle is not None:
            attempt.idle = deadlines.idle
        if self.watched:
            attempt.watch_for_stall()
        if attempt.number >= self.most_attempts:
            self.hold = 0
        elif self.idempotent and self.replayable and self._moved is None and self.pin is None:
            attempt.movable = True
        return attempt

    # How it went

    def delivered(self, attempt: Attempt) -> None:
        """The first content of a good answer is here, so those before it are judged by it."""
        attempt.first_byte()
        if len(self.attempts) > 1:
            self._judge_earlier(attempt)

    def complete(self, attempt: Attempt) -> None:
        """A good answer is whole, whether or not its first content was `delivered` before."""
        if not attempt.done:
            self.balancer.complete(attempt)
            if len(self.attempts) > 1:
                self._judge_earlier(attempt)

    def _judge_earlier(self, attempt: Attempt) -> None:
        if self._odd is not None:
            self.balancer.charge(self._odd, f"http {self._odd.status}, and a peer did better")
            self._odd = None
        if self._moved is not None and attempt.first_byte_at is not None:
            self.balancer.confirm_stall(self._moved, attempt.first_byte_at - attempt.started)
            self._moved = None

    def failed(self, attempt: Attempt, failure: Failure, detail: str = "") -> Step:
        """It brought no whole answer."""
        if self.balancer.clock() >= self.deadline_at:
            failure = Failure.DEADLINE
        verdict = of_failure(failure)
        what = f"{failure}: {detail}" if detail not in ("", failure) else str(failure)
        self.balancer.settle(attempt, verdict.health, what, failure=failure)
        if failure is Failure.STALLED:
            self._moved = attempt
        # Where nothing was sent the body has not been touched: it need not be replayable.
        untouched = failure is Failure.CONNECT
        # Nor is a call tried again of which the caller has a part.
        if attempt.answered or not self._may_retry(verdict.retry, untouched=untouched):
            return None
        return self._retry(what)

    def could_retry(self, status: int) -> bool:
        """Whether an answer with this status might not be the last one; changes nothing."""
        return self._may_retry(of_status(status).retry)

    def answered(
        self,
        attempt: Attempt,
        status: int,
        retry_after: float | None = None,
        *,
        final: bool = False,
    ) -> Step:
        """It was answered with something else than success: an HTTP status from 300.

        `final`: the caller gets this answer in any case.
        """
        attempt.status = status
        verdict = of_status(status)
        what = f"http {status}" if status >= 400 else ""
        if self._is_poison(attempt, verdict):
            self.balancer.settle(attempt, Health.NEUTRAL, what)
            return None
        again = not final and self._may_retry(verdict.retry)
        once = verdict.retry is Retry.ONCE
        attempt.undecided = once and again
        self.balancer.settle(attempt, verdict.health, what, retry_after=retry_after)
        if once:
            if self._odd is not None:
                self.balancer.acquit(self._odd)
            self._odd = attempt if again else None
        return self._retry(what) if again else None

    def _is_poison(self, attempt: Attempt, verdict: Verdict) -> bool:
        if verdict.health is not Health.FAULT:
            return False
        same = [earlier for earlier in self.attempts if earlier.status == attempt.status]
        if all(earlier.node is attempt.node for earlier in same):
            return False
        # A node that fails other calls, too, says nothing about this one.
        if not self.balancer.is_blameless(attempt):
            return False
        for earlier in same:
            if earlier is not attempt:
                self.balancer.poison(earlier)
        return True

    def _may_retry(self, rule: Retry, *, untouched: bool = False) -> bool:
        if rule is Retry.NEVER or self.pin is not None:
            return False
        if len(self.attempts) >= self.most_attempts:
            return False
        if not (self.replayable or untouched):
            return False
        if rule is not Retry.ALWAYS and not self.idempotent:
            return False
        if rule is Retry.ONCE and self._odd is not None:
            return False
        return self.balancer.clock() < self.deadline_at

    def _retry(self, reason: str) -> Step:
        if not self.balancer.withdraw():
            return None
        self._owed = True
        self.reason = reason
        return self._next_or_give_back()

    def holding(self, status: int, headers: RawHeaders) -> Hold:
        """How much of this answer to read before it is the caller's."""
        method = self.facts.method if self.facts is not None else ""
        return hold_for(self.hold, method, status, headers)

    # What is told about it

    def records(self) -> tuple[AttemptRecord, ...]:
        return tuple(attempt.record() for attempt in self.attempts)

    def deadline_header(self) -> tuple[bytes, bytes] | None:
        """The header that tells the node how many milliseconds are left, if one is to."""
        name = self.balancer.deadlines.header
        if name is None or self.deadline_at == math.inf:
            return None
        left = max(0.0, self.deadline_at - self.balancer.clock())
        return name.encode("ascii"), b"%d" % int(left * 1000)
