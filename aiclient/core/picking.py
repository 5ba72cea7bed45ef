"""Holds nodes for calls, and gives them back, under the lock."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from ..errors import BalancerError, Overloaded
from .attempt import Attempt
from .guarded import Guarded
from .line import Ticket
from .load import Baseline
from .node import Node, NodeSet

if TYPE_CHECKING:
    from .call import Call

__all__ = ["Picking"]

_PROBE_SECONDS = 30.0
_MOST_KINDS = 4096
# The reasons for which a node must take a call although it has no place for it.
_AT_ONCE = ("probe", "pinned")
# Less than that need not be waited: on a clock that does not move by itself it could take for ever.
_ABOUT_NOW = 0.001
# Of the line: how many are looked at when a place may have become free, and how many of them may
# find none before the rest is left to the next time.
_MOST_SERVED, _MOST_PASSED = 64, 4


class Picking(Guarded):
    """From a call to the node that is held for it."""

    def pick(self, call: Call, *, patient: bool = True) -> Attempt | Ticket | float:
        """Hold a node for the call, or say how it has to wait: in the line, or so many seconds.

        `patient`: it has not waited in the line yet.

        Raises:
            NoNodeAvailable: there is none, and waiting would not help.
            Overloaded: none has a place, and it may wait no longer.
            DiscoveryError: no nodes have been found.
        """
        if self.pending or self.closed or self.source is not None or self.checker is not None:
            wait = self._begin()
            if wait is not None:
                return wait
        now = self.clock()
        with self._lock:
            if self.orphans or self._fleet.next_due <= now:
                self._catch_up(now)
            held: Attempt | Ticket | float
            chosen = self._chooser.choose(call, self.in_flight, now)
            if isinstance(chosen, tuple):
                held = self._place(call, chosen[0], chosen[1], patient, now)
            else:
                held = chosen
        if self._fleet.events or self._served:
            self._deliver()
        return held

    def pin(self, call: Call, name: str) -> Attempt | float:
        """Hold the node of that name, whatever its state, or say how many seconds to wait.

        Raises:
            ConfigurationError: there is no such node.
        """
        wait = self._begin()
        if wait is not None:
            return wait
        now = self.clock()
        with self._lock:
            self._catch_up(now)
            held = self._hold(call, self._find(name), "pinned", now)
        self._deliver()
        return held

    def _begin(self) -> float | None:
        """See to it that there are nodes; the seconds to wait for the first ones."""
        if self.closed:
            raise BalancerError("the balancer is closed")
        if self.source is not None:
            self.source.begin()
            if self.pending:
                return self.source.wait()
        if self.checker is not None:
            self.checker.begin()
        return None

    # The line

    def _place(
        self, call: Call, node: Node, why: str, patient: bool, now: float
    ) -> Attempt | Ticket:
        """Hold the node that was picked, or another one that has a place, or wait in the line."""
        line = self._line
        if line.takes(node) or why in _AT_ONCE:
            return self._hold(call, node, why, now)
        found = self._admitted(call, node, now)
        if isinstance(found, list):
            return self._hold(call, self._one_of(found, call, now), why, now)
        if line.limit is not None:
            self._check_line(patient, found)
        elif not patient or line.sends_anyway(node, now):
            return self._hold(call, node, why, now)
        ticket = Ticket(min(now + found, call.deadline_at), len(line.waiting), self.clock)
        line.waiting[ticket] = call
        return ticket

    def _check_line(self, patient: bool, seconds: float) -> None:
        line = self._line
        what = f"every node has as many calls as it may have ({line.limit})"
        if not patient:
            raise Overloaded(f"{what}, for {seconds:g} s now; {len(line.waiting)} more wait")
        if line.most is not None and len(line.waiting) >= line.most:
            raise Overloaded(f"{what}, and so many wait as may ({line.most})")

    def _admitted(self, call: Call, node: Node, now: float) -> list[Node] | float:
        fleet = self._fleet
        others = fleet.ready
        if self._line.limit is not None and fleet.levels:
            others = self._first_with_places(call)
        elif call.tried or fleet.levels:
            others = fleet.candidates(call.tried)
        baseline = self._baselines.get(call.kind)
        known = baseline is not None and baseline.well_known
        typical = baseline.typical if baseline is not None and known else 0.0
        return self._line.admit(call, node, others, typical, self.in_flight, now)

    def _first_with_places(self, call: Call) -> NodeSet:
        """Under a limit a level that is full cannot take a call: the next one may."""
        left = NodeSet()
        for level in self._fleet.levels.values():
            left = NodeSet([node for node in level.nodes if node not in call.tried])
            if any(self._line.takes(node) for node in left.nodes):
                break
        return left

    def _one_of(self, nodes: list[Node], call: Call, now: float) -> Node:
        node = nodes[0]
        if len(nodes) > 1:
            node = self._chooser.among(NodeSet(nodes), call, self.in_flight, now)
        if node.slowed > 1.0:
            self._line.took(node, now)
        return node

    def _serve(self, now: float) -> None:
        """Hold nodes that have places for those that have waited longest.

        One that may not go where there is a place, having been there, does not keep the others.
        """
        line, passed = self._line, 0
        for ticket, call in list(itertools.islice(line.waiting.items(), _MOST_SERVED)):
            try:
                chosen = self._chooser.choose(call, self.in_flight, now)
            except BalancerError:
                # Waiting would not help it: it hears of that now.
                del line.waiting[ticket]
                self._served.append(ticket)
                continue
            held = self._served_by(call, chosen, now) if isinstance(chosen, tuple) else None
            if held is not None:
                del line.waiting[ticket]
                ticket.attempt = held
                self._served.append(ticket)
                continue
            passed += 1
            if passed >= _MOST_PASSED:
                return

    def _served_by(self, call: Call, chosen: tuple[Node, str], now: float) -> Attempt | None:
        node, why = chosen
        if not self._line.takes(node) and why not in _AT_ONCE:
            found = self._admitted(call, node, now)
            if not isinstance(found, list):
                return None
            node = self._one_of(found, call, now)
        return self._hold(call, node, why, now)

    def claim(self, ticket: Ticket) -> Attempt | Ticket | None:
        """The node held for it; itself, if it has to wait on; None: it has waited long enough."""
        now = self.clock()
        with self._lock:
            self._catch_up(now)
            waiting = self._line.waiting
            expired = now >= ticket.until - _ABOUT_NOW
            if expired or ticket not in waiting:
                self._line.awoke(ticket, now)
            if ticket in waiting:
                self._serve(now)
            waits_on = ticket in waiting and not expired and not self.closed
            if not waits_on:
                waiting.pop(ticket, None)
        self._deliver()  # others may have been served
        return ticket if waits_on else ticket.attempt

    def leave(self, ticket: Ticket) -> None:
        """Its call has been given up."""
        now = self.clock()
        with self._lock:
            self._line.waiting.pop(ticket, None)
            if self._line.waiting:
                self._serve(now)
        self._deliver()
        if ticket.attempt is not None:
            ticket.attempt.release("cancelled while it waited for a place")

    # Holding and giving back

    def _hold(self, call: Call, node: Node, why: str, now: float) -> Attempt:
        baseline = self._baselines.get(call.kind)
        if baseline is None:
            if len(self._baselines) >= _MOST_KINDS:
                self._baselines.clear()
            baseline = self._baselines[call.kind] = Baseline()
        # Whoever picks is an Engine: the class above this one.
        attempt = Attempt(self, node, baseline, now, why)  # type: ignore[arg-type]
        node.in_flight += 1
        node.count_pick(now)
        self.in_flight += 1
        self._fleet.picks += 1
        self._budget.observe(self.in_flight, now)
        if call.watched:
            node.waiting[attempt.serial] = (now, baseline)
            if baseline.known:
                self._fleet.due_by(node, now + baseline.late)
        if why == "probe":
            node.probe = attempt.serial
            node.probe_until = now + max(_PROBE_SECONDS, 3 * baseline.slowest)
            self._fleet.probes.pop(node, None)
            self._fleet.due_by(node, node.probe_until)
        if node.newcomer:
            self._fleet.place(node, now)
        node.rescore()
        return attempt

    def _catch_up(self, now: float) -> None:
        while self.orphans:
            attempt = self.orphans.popleft()
            if not attempt.done and attempt.epoch == self.epoch:
                attempt.error = "dropped without being closed"
                self._end(attempt, now)
        due = self._fleet.next_due <= now
        self._fleet.advance(now)
        if due and self._line.waiting:
            self._serve(now)  # somebody may be back

    def _end(self, attempt: Attempt, now: float) -> None:
        if attempt.epoch == self.epoch:
            self._settlement.ended(attempt, now)
            self.in_flight -= 1
        attempt.done = True
        attempt.ended_at = now
        if self._line.waiting:
            self._serve(now)
