"""What an attempt's outcome does to its node. Every method's precondition: the lock is held."""

from __future__ import annotations

import itertools

from ..settings import BreakerPolicy
from .attempt import Attempt
from .breaker import BreakerState, Trip
from .budget import RetryBudget
from .events import EventKind
from .fleet import DRIFT_STEP, MOST_LOOKED_AT, Fleet
from .load import Slowest
from .slots import MOST_SLOTS
from .verdict import Failure

__all__ = ["Settlement"]

_SUSPECT_SECONDS = 10.0
_LOST_SECONDS = 5.0
_SLOWEST_FACTOR = 3.0
# One silent call is weaker evidence than two, and a long answer looks the same.
_SINGLE_WAITER_FACTOR = 9.0
_BUSY_FACTOR = 1.5
# What a call may take of which nothing is known.
_UNKNOWN_SECONDS = 60.0
_MOST_PENALTY = 60.0
# A failure to connect within these seconds is a refusal: it hardly costs its caller anything.
_REFUSED_WITHIN = 0.1


class Settlement:
    """Turns outcomes into what the fleet, the breaker and the budget are told."""

    def __init__(self, fleet: Fleet, budget: RetryBudget, policy: BreakerPolicy | None) -> None:
        self._fleet = fleet
        self._budget = budget
        self._policy = policy
        self._stall_after = policy.stall_after if policy is not None else None
        # Over all kinds of calls.
        self._slowest = Slowest()
        # One more when there were as many first-byte times as there are nodes.
        self._round = 0.0

    def good_first_byte(self, attempt: Attempt, now: float) -> None:
        """The first content of a 2xx answer: the latency sample, and the verdict on the node."""
        node = attempt.node
        attempt.answered = True
        attempt.first_byte_at = node.last_byte_at = now
        node.waiting.pop(attempt.serial, None)
        ttfb = now - attempt.started
        self._slowest.observe(ttfb, now)
        worked = self._worked(attempt, ttfb, now)
        log_ratio = attempt.baseline.observe(node, attempt.started, ttfb, worked, now)
        self._round += 1.0 / max(1, len(self._fleet.members))
        if attempt.generation == node.breaker.generation:
            node.slowness.observe(log_ratio, ttfb, now, self._round, attempt.baseline.sigma)
        self.did_well(attempt, now)
        slow_start = self._policy.slow_start if self._policy else 0.0
        if node.late or node.ramp_from is not None or node not in self._fleet.ready:
            self._fleet.review(node, now)
        else:
            node.reassess(now, slow_start)
            self._fleet.due_by(node, now + DRIFT_STEP)

    def _worked(self, attempt: Attempt, ttfb: float, now: float) -> float:
        """Seconds that the node has worked on the call; what is known of its slots is learnt."""
        node, older, started = attempt.node, attempt.older, attempt.started
        if not node.slots.low <= older < MOST_SLOTS:
            return ttfb
        log = node.ended
        if len(log) == MOST_SLOTS and log[0][0] > started:
            return ttfb  # of such a long call not all is known that ended meanwhile
        ends = [at for at, who in log if who < attempt.serial and at > started]
        return node.slots.learn(older, attempt.abreast, ends, started, now, attempt.baseline)

    def did_well(self, attempt: Attempt, now: float) -> None:
        """The node did what it was asked for, whether or not we know how fast."""
        node = attempt.node
        self.works(attempt, now)
        node.succeeded += 1
        if node.cool_streak:
            node.cool_streak = 0
        if node.newcomer:
            node.newcomer = False
            node.ramp_from = now if self._policy and self._policy.slow_start else None
        if node.suspect_until:
            node.suspect_until = 0.0
            node.why = ""
            self._fleet.tell(EventKind.REVIVED, now, node, "it has sent a byte")
        self._budget.deposit()
        if attempt.permit:
            attempt.permit = False
            self._budget.give_back()

    def works(self, attempt: Attempt, now: float) -> None:
        """The node answered as a working node does."""
        node = attempt.node
        breaker = node.breaker
        if attempt.generation != breaker.generation:
            return
        if breaker.state is not BreakerState.CLOSED:
            self._fleet.close(node, now, f"answered {self._named(attempt)}")
            self._fleet.review(node, now)
            attempt.generation = breaker.generation
        breaker.success(now)

    @staticmethod
    def _named(attempt: Attempt) -> str:
        return "its probe" if attempt.why == "probe" else "a call"

    def fault(self, attempt: Attempt, failure: Failure | None, what: str, now: float) -> None:
        """The node is at fault: count it, and open its breaker if a rule says so."""
        node = attempt.node
        node.failed += 1
        taken_back = attempt.answered
        self.occupy(attempt, now)
        breaker = node.breaker
        if attempt.generation != breaker.generation:
            return
        attempt.charged = True
        connect = failure is Failure.CONNECT
        refused = connect and now - attempt.started < _REFUSED_WITHIN
        if breaker.state is BreakerState.CLOSED:
            self._penalise(attempt, now)
            trip = breaker.fault(now, connect=connect, taken_back=taken_back)
            if trip is not None and self._fleet.may_trip(node, trip, now):
                self._fleet.trip(node, trip, now, what, refused=refused)
        elif breaker.state is BreakerState.HALF_OPEN and node.probe == attempt.serial:
            trip = Trip.CONNECT if connect else Trip.CONSECUTIVE
            self._fleet.trip(node, trip, now, what, refused=refused)

    def _penalise(self, attempt: Attempt, now: float) -> None:
        node = attempt.node
        typical = attempt.baseline.typical if attempt.baseline.known else 0.1
        expected = typical * node.slowness.estimate(now)
        # Neither the answer's own length nor the time a peer took to prove the fault is its delay.
        end = attempt.first_byte_at or attempt.ended_at or now
        seconds = min(_MOST_PENALTY, max(end - attempt.started, 2 * expected))
        self._fleet.due_by(node, node.slowness.penalise(seconds, typical, now))
        node.reassess(now, self._policy.slow_start if self._policy else 0.0)

    def occupy(self, attempt: Attempt, now: float) -> None:
        """A bad answer keeps its slot in the score as long as a good one would have taken.

        Otherwise a node answering 404 within 2 ms would have nothing in flight for ever, and draw
        every call.
        """
        node = attempt.node
        if attempt.done or attempt.first_byte_at is not None or not attempt.baseline.known:
            return
        end = attempt.started + attempt.baseline.typical * node.slowness.estimate(now)
        if end > now:
            node.ghosts.append(end)
            self._fleet.due_by(node, end)

    def cool(self, attempt: Attempt, retry_after: float | None, what: str, now: float) -> None:
        """The node is alive but full: leave it alone for a while."""
        policy = self._policy
        node = attempt.node
        self.occupy(attempt, now)
        if policy is None:
            return
        probed = node.breaker.state is BreakerState.HALF_OPEN and node.probe == attempt.serial
        if probed:
            self._fleet.close(node, now, f"answered its probe: {what}")
        already = now < node.cooling_until
        if already and attempt.started < node.cooling_until - policy.cool_for and not retry_after:
            return  # it left before, or as, the node began to cool: no second offence
        own = policy.cool_for * 2.0 ** min(node.cool_streak, 30)
        seconds = min(policy.max_cool, max(own, retry_after or 0.0))
        if not already:
            node.cool_streak += 1
            node.why = f"full: {what}"
            self._fleet.tell(EventKind.COOLING, now, node, f"{what}, for {seconds:.1f} s")
        node.cooling_until = max(node.cooling_until, now + seconds)
        self._fleet.review(node, now)

    def poison(self, earlier: Attempt, now: float) -> None:
        """Two nodes gave the same 5xx: the request is to blame; take the first charge back."""
        node = earlier.node
        breaker = node.breaker
        node.failed -= 1
        opened_by_it = earlier.generation + 1 == breaker.generation
        if not earlier.charged or not (opened_by_it or earlier.generation == breaker.generation):
            return  # it was not counted, or what it was counted in is over
        breaker.forgive(now)
        if breaker.state is BreakerState.OPEN and opened_by_it and breaker.verdict(now) is None:
            self._fleet.close(node, now, "the request was to blame")
            node.ramp_from = None
            self._fleet.review(node, now)

    def acquit(self, earlier: Attempt, now: float) -> None:
        """Another node answered the same: if it was a probe, it was passed."""
        if earlier.node.probe == earlier.serial:
            self.works(earlier, now)

    def ended(self, attempt: Attempt, now: float) -> None:
        """Give the hold back; the caller has seen to it that this happens once."""
        node = attempt.node
        node.in_flight -= 1
        node.ended.append((now, attempt.serial))
        if node.waiting:
            node.waiting.pop(attempt.serial, None)
        if node.probe == attempt.serial and not attempt.undecided:
            # Neutral: the permit goes to the next call.
            node.probe = 0
            if node.breaker.state is BreakerState.HALF_OPEN and not node.gone:
                self._fleet.probes[node] = None
        if node.late or node not in self._fleet.ready:
            self._fleet.review(node, now)
        else:
            node.rescore()

    # Stall detection

    def stalled(self, attempt: Attempt, now: float) -> bool:
        """Whether the node this attempt waits for has stalled.

        It is silent to everybody, for longer than `_patience_with` allows, while peers answered
        calls of the same kind that started later.
        """
        after = self._stall_after
        if after is None or not self.silent(attempt, now):
            return False
        node, baseline = attempt.node, attempt.baseline
        if self._known_to_stall(attempt):
            return True
        peers = min(2, sum(1 for peer in self._fleet.ready.nodes[:3] if peer is not node))
        if not baseline.known or peers < 1:
            return False
        # What peers answer later is what suspicion rests on; a probe of a node that is out as
        # stalled rests on more. Without this a lone call would wait there for its read timeout.
        probe = node.probe == attempt.serial and node.breaker.trip is Trip.STALLED
        answered = probe or baseline.peers_answered_after(node, attempt.started, peers)
        silence = now - max(node.last_byte_at, attempt.started)
        if not answered or silence < self._patience_with(attempt, after):
            return False
        self._suspect(attempt, silence, now)
        return True

    def silent(self, attempt: Attempt, now: float) -> bool:
        """Whether it is worth asking `stalled`: cheap, and does not need the lock."""
        after = self._stall_after
        if after is None or attempt.answered or attempt.done:
            return False
        silence = now - max(attempt.node.last_byte_at, attempt.started)
        if silence >= after and silence >= _SLOWEST_FACTOR * attempt.baseline.slowest:
            return True
        return self._known_to_stall(attempt)

    @staticmethod
    def _known_to_stall(attempt: Attempt) -> bool:
        node = attempt.node
        known = node.suspect_until or node.breaker.trip is Trip.STALLED
        return bool(known) and node.probe != attempt.serial  # a probe is there to find out again

    def _patience_with(self, attempt: Attempt, stall_after: float) -> float:
        """Seconds of silence that do not mean a stall.

        Other calls may be before this one: plain answers of half a minute each can occupy a node
        whole. Those of this client that wait there are known, those of other clients are not, so
        for up to a minute they are taken to be such as this client's own are.
        """
        node = attempt.node
        limit = _SLOWEST_FACTOR * attempt.baseline.slowest
        if len(node.waiting) < 2 and node.probe != attempt.serial:
            limit = max(2 * stall_after, _SINGLE_WAITER_FACTOR * attempt.baseline.slowest)
        limit = max(limit, min(_UNKNOWN_SECONDS, _BUSY_FACTOR * self._slowest.seconds))
        for _, baseline in itertools.islice(node.waiting.values(), MOST_LOOKED_AT):
            limit = max(
                limit, _BUSY_FACTOR * baseline.slowest if baseline.known else _UNKNOWN_SECONDS
            )
        return limit

    def lost(self, attempt: Attempt, now: float) -> bool:
        """Whether a stream already begun waits in vain.

        Its node is out as stalled, which other nodes' answers have confirmed, and silent since.
        """
        breaker = attempt.node.breaker
        silence = now - attempt.node.last_byte_at
        confirmed = breaker.state is BreakerState.OPEN and breaker.trip is Trip.STALLED
        return confirmed and silence > _LOST_SECONDS

    def _suspect(self, attempt: Attempt, silence: float, now: float) -> None:
        node = attempt.node
        detail = f"silent for {silence:.1f} s with {len(node.waiting)} calls waiting"
        if node.breaker.state is BreakerState.HALF_OPEN and node.probe == attempt.serial:
            # Out for another reason, only an answer elsewhere can tell that it stalls, too: the
            # probe may be a long call.
            if node.breaker.trip is Trip.STALLED:
                self._fleet.trip(node, Trip.STALLED, now, detail)
            return
        node.why = f"stalled: {detail}"
        node.suspect_until = now + _SUSPECT_SECONDS
        self._fleet.tell(EventKind.STALLED, now, node, detail)
        self._fleet.review(node, now)

    def confirm_stall(self, moved: Attempt, took: float, now: float) -> None:
        """A call moved away from a suspect was answered elsewhere within `took` seconds."""
        node = moved.node
        moved_at = moved.ended_at or now
        waited = moved_at - moved.started
        # Bytes from before its silence, to this call or another, do not refute it.
        sent_since = node.last_byte_at > moved_at
        breaker = node.breaker
        probed = breaker.state is BreakerState.HALF_OPEN and moved.generation == breaker.generation
        can_trip = probed or breaker.state is BreakerState.CLOSED
        if took >= waited or sent_since or not can_trip:
            return
        node.failed += 1
        self._fleet.trip(
            node,
            Trip.STALLED,
            now,
            f"a call it left waiting {waited:.1f} s took {took:.1f} s elsewhere",
        )
