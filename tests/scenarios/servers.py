"""The simulated nodes: slots, a queue, and what goes wrong with them."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import attrs

from aiclient.core.attempt import Attempt
from aiclient.core.call import Call
from aiclient.core.node import Node
from aiclient.core.verdict import Failure


@attrs.frozen(kw_only=True)
class Work:
    """What calls ask for. Seconds at normal speed; decoding is lognormal."""

    streaming: float = 0.5  # share of the calls
    prefill: float = 0.25
    decode: float = 2.0  # mean
    sigma: float = 1.0
    stream_decode: float | None = None  # the mean for streams, where it is another one

    def _decode(self, streams: bool) -> float:
        other = self.stream_decode if streams else None
        return self.decode if other is None else other

    def mean(self) -> float:
        """Seconds a call holds a slot."""
        share = self.streaming
        return self.prefill + share * self._decode(True) + (1 - share) * self._decode(False)

    def draw(self, streams: bool, rng: random.Random) -> float:
        mean = self._decode(streams)
        return rng.lognormvariate(math.log(mean) - self.sigma**2 / 2, self.sigma)


@attrs.frozen(kw_only=True)
class Fault:
    """What is wrong with one node, from when to when."""

    kind: str  # slow, stall, refuse, reset, status
    node: int = 0
    at: float = 0.0
    until: float = math.inf
    speed: float = 0.25
    status: int = 500
    after: float = 0.005  # seconds to the bad answer


class Job:
    """One attempt at a node, and what its shell remembers of it."""

    __slots__ = (
        "attempt",
        "call",
        "decode",
        "delivered",
        "due",
        "heard_at",
        "over",
        "started_at",
        "streams",
    )

    def __init__(self, call: Call, attempt: Attempt, streams: bool, decode: float) -> None:
        self.call = call
        self.attempt = attempt
        self.streams = streams
        self.decode = decode
        self.delivered = self.over = False
        self.started_at: float | None = None
        # When its next step is due; while the node is frozen, how long it then still takes.
        self.due = 0.0
        # Since when the shell waits for its next byte.
        self.heard_at = attempt.started


class Shell(Protocol):
    """What a server tells."""

    now: float
    work: Work

    def at(self, when: float, what: Callable[[Any], None], about: Any) -> None: ...
    def wait_for(self, job: Job) -> None: ...
    def delivered(self, job: Job) -> None: ...
    def finished(self, job: Job) -> None: ...
    def answered(self, job: Job, status: int) -> None: ...
    def failed(self, job: Job, failure: Failure) -> None: ...


class Server:
    """One node: so many slots, and a queue in order of arrival."""

    def __init__(self, shell: Shell, slots: int) -> None:
        self.shell = shell
        self.free = slots
        self.speed = 1.0
        self.fault: Fault | None = None
        self.frozen = False
        self.queue: deque[Job] = deque()
        # In order: a run must not depend on where objects lie in memory.
        self.running: dict[Job, None] = {}
        # How many streams are being decoded, by the node as the client knows it.
        self.sending: dict[Node, int] = {}

    def take(self, job: Job) -> None:
        fault = self.fault
        if fault is not None and fault.kind in ("refuse", "reset", "status"):
            self.shell.at(self.shell.now + fault.after, self._fail, job)
        elif self.free and not self.frozen:
            self._start(job)
        else:
            self.queue.append(job)

    def _fail(self, job: Job) -> None:
        fault = self.fault
        if fault is None:
            self.take(job)
        elif fault.kind == "status":
            self.shell.answered(job, fault.status)
        else:
            self.shell.failed(job, Failure.CONNECT if fault.kind == "refuse" else Failure.RESET)

    def _start(self, job: Job) -> None:
        self.free -= 1
        self.running[job] = None
        job.started_at = self.shell.now
        first = self.shell.work.prefill
        self._schedule(job, first if job.streams else first + job.decode)

    def _schedule(self, job: Job, seconds: float) -> None:
        job.due = self.shell.now + seconds / self.speed
        self.shell.at(job.due, self._step, job)

    def _step(self, job: Job) -> None:
        if job.over or self.frozen or job.due != self.shell.now:
            return
        if not job.delivered:
            self.shell.delivered(job)
            if job.streams:
                node = job.attempt.node
                self.sending[node] = self.sending.get(node, 0) + 1
                self._schedule(job, job.decode)
                return
        self.shell.finished(job)
        self.leave(job)

    def leave(self, job: Job) -> None:
        """The job is over, whichever way."""
        if job not in self.running:
            return
        del self.running[job]
        if job.streams and job.delivered:
            self.sending[job.attempt.node] -= 1
        self.free += 1
        self._serve()

    def _serve(self) -> None:
        while self.free and self.queue and not self.frozen:
            job = self.queue.popleft()
            if not job.over:
                self._start(job)

    def tell_bytes(self) -> None:
        """Streams being decoded send all the time: note it where their shells would."""
        if not self.frozen:
            for node, streams in self.sending.items():
                if streams:
                    node.last_byte_at = self.shell.now

    # Faults

    def begin(self, fault: Fault) -> None:
        self.fault = fault
        if fault.kind == "slow":
            self.speed = fault.speed
        elif fault.kind == "stall":
            self._freeze()
        elif fault.kind in ("refuse", "reset"):
            # The process died: whatever it had is broken.
            lost = [*self.running, *self.queue]
            self.queue.clear()
            for job in lost:
                self.shell.failed(job, Failure.RESET)

    def end(self, fault: Fault) -> None:
        self.fault = None
        self.speed = 1.0
        if fault.kind == "stall":
            self.frozen = False
            for job in list(self.running):
                self._schedule(job, job.due)
            self._serve()

    def _freeze(self) -> None:
        self.tell_bytes()
        self.frozen = True
        for job in self.running:
            job.due -= self.shell.now
            if job.delivered:
                job.heard_at = self.shell.now
                self.shell.wait_for(job)
