"""The calls of the demo: an open loop through one client, and what became of each call."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiclient

CHAT = "/v1/chat/completions"
STREAM_TOKENS = 24
PLAIN_TOKENS = 8
PREFILL = 0.06
TOKEN_TIME = 0.06
STREAM_SECONDS = PREFILL + STREAM_TOKENS * TOKEN_TIME

_CALLS_PER_SECOND = 14.0
_STREAMED = 0.6
# What a stream's events are beside its tokens: the role first, the finish reason last.
_FRAME = 2
# How much longer than it should a call may take to end when no new ones are made.
_GRACE_SECONDS = 20.0
_MOST_FAILURES = 5
# A new sample's weight in a node's first-byte time.
_FRESHNESS = 0.4


class WrongAnswerError(Exception):
    """An answer that looked good and was not."""


@dataclass(slots=True)
class NodeTally:
    """What one node did.

    - `plain`, `streams`: calls it answered whole.
    - `passed_on`: attempts that failed here and went to another node.
    - `interrupted`: streams that broke off after they had begun.
    - `first_byte`: recent seconds to a stream's first byte.
    """

    plain: int = 0
    streams: int = 0
    passed_on: int = 0
    interrupted: int = 0
    first_byte: float | None = None

    @property
    def served(self) -> int:
        """All calls it answered whole."""
        return self.plain + self.streams

    def sample(self, seconds: float | None) -> None:
        """Note how long a stream's first byte took."""
        if seconds is not None:
            before = seconds if self.first_byte is None else self.first_byte
            self.first_byte = before + _FRESHNESS * (seconds - before)


@dataclass(slots=True)
class Tally:
    """What became of the calls. `failures` says of the first ones why."""

    calls: int = 0
    running: int = 0
    failed: int = 0
    retried: int = 0
    interrupted: int = 0
    failures: list[str] = field(default_factory=list)
    nodes: dict[str, NodeTally] = field(default_factory=lambda: defaultdict(NodeTally))

    def fail(self, why: str) -> None:
        """Count a failed call."""
        self.failed += 1
        if len(self.failures) < _MOST_FAILURES:
            self.failures.append(why)

    def tried(self, attempts: Sequence[aiclient.AttemptRecord]) -> None:
        """Count the attempts of a call that did not bring its answer."""
        self.retried += len(attempts) > 1
        for attempt in attempts[:-1]:
            self.nodes[attempt.node].passed_on += 1


@dataclass(slots=True, eq=False)
class RunningStream:
    """A stream whose caller has received `events` of it from `node`."""

    node: str
    events: int = 0


class Traffic:
    """Chat calls through `client`, evenly mixed, whether or not the earlier ones have ended.

    A stream that breaks off counts as interrupted if it ran on a node when that was `killed`; any
    other counts as failed.
    """

    def __init__(self, client: aiclient.AsyncClient, rng: random.Random) -> None:
        self.tally = Tally()
        self._killed_at: dict[str, float] = {}
        self._client = client
        self._rng = rng
        self._streams: set[RunningStream] = set()

    def running(self, node: str) -> int:
        """How many streams run on `node` that have begun: their callers know a part of them."""
        return sum(stream.node == node for stream in self._streams)

    def midway(self, node: str) -> int:
        """Those of them that are not half through.

        The node may be ahead of what was received: these are safe to be running there too.
        """
        events = range(_FRAME, _FRAME + STREAM_TOKENS // 2)
        return sum(stream.node == node and stream.events in events for stream in self._streams)

    def killed(self, node: str) -> None:
        """Say that `node` is being killed at this moment."""
        self._killed_at[node] = time.monotonic()

    async def drive(self, seconds: float) -> None:
        """Make calls for that long; return when the last one has ended."""
        clock = asyncio.get_running_loop().time
        due = clock()
        end = due + seconds
        try:
            async with asyncio.timeout_at(end + STREAM_SECONDS + _GRACE_SECONDS):
                async with asyncio.TaskGroup() as group:
                    while due < end:
                        await asyncio.sleep(due - clock())
                        group.create_task(self._call(self._rng.random() < _STREAMED))
                        due += self._rng.uniform(0.5, 1.5) / _CALLS_PER_SECOND
        except TimeoutError:
            pass  # each call that was still running has counted itself as failed

    async def _call(self, streamed: bool) -> None:
        tally = self.tally
        tally.calls += 1
        tally.running += 1
        started = time.monotonic()
        try:
            attempts = await (self._stream() if streamed else self._plain())
        except asyncio.CancelledError:
            tally.fail("a call did not come to its end")
            raise
        except Exception as exc:
            self._went_wrong(exc, streamed, started)
        else:
            self._went_well(attempts, streamed)
        finally:
            tally.running -= 1

    async def _plain(self) -> Sequence[aiclient.AttemptRecord]:
        response = await self._client.post(CHAT, json=_body(PLAIN_TOKENS, stream=False))
        if response.status_code != 200:
            raise WrongAnswerError(f"status {response.status_code}")
        if response.json()["usage"]["completion_tokens"] != PLAIN_TOKENS:
            raise WrongAnswerError(f"an answer of another length: {response.text}")
        report: aiclient.CallReport = response.extensions["aiclient"]
        return report.attempts

    async def _stream(self) -> Sequence[aiclient.AttemptRecord]:
        body = _body(STREAM_TOKENS, stream=True)
        async with self._client.stream("POST", CHAT, json=body) as response:
            if response.status_code != 200:
                raise WrongAnswerError(f"status {response.status_code}")
            report: aiclient.CallReport = response.extensions["aiclient"]
            stream = RunningStream(report.node)
            self._streams.add(stream)
            last = ""
            try:
                async for line in response.aiter_lines():
                    if not line:
                        continue
                    last = line
                    stream.events += line.startswith("data: {")
                    if stream.events == 1:
                        self.tally.nodes[stream.node].sample(report.attempts[-1].ttfb)
            finally:
                self._streams.discard(stream)
        if last != "data: [DONE]" or stream.events != STREAM_TOKENS + _FRAME:
            raise WrongAnswerError(f"a stream with {stream.events} events that ended in {last!r}")
        return report.attempts

    def _went_well(self, attempts: Sequence[aiclient.AttemptRecord], streamed: bool) -> None:
        self.tally.tried(attempts)
        node = self.tally.nodes[attempts[-1].node]
        if streamed:
            node.streams += 1
        else:
            node.plain += 1

    def _went_wrong(self, exc: Exception, streamed: bool, started: float) -> None:
        attempts = aiclient.attempts_of(exc)
        self.tally.tried(attempts)
        if streamed and attempts and isinstance(exc, aiclient.StreamInterrupted):
            node = attempts[-1].node
            if started < self._killed_at.get(node, started):
                self.tally.interrupted += 1
                self.tally.nodes[node].interrupted += 1
                return
        kind = "stream" if streamed else "plain call"
        tried = "; ".join(map(str, attempts)) or "no node"
        self.tally.fail(f"{kind}: {type(exc).__name__}: {exc} (tried: {tried})")


def _body(tokens: int, *, stream: bool) -> dict[str, object]:
    question = {"role": "user", "content": "Who notices when a node dies?"}
    return {"model": "demo", "messages": [question], "max_tokens": tokens, "stream": stream}
