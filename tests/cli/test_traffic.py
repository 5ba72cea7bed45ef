import asyncio
import random
from collections.abc import Callable

import pytest

import aiclient
from aiclient.cli.summary import first_line, shortcomings
from aiclient.cli.traffic import Tally, Traffic
from aiclient.testing import FakeNode

STREAMS_ONLY = 0.0
PLAIN_ONLY = 1.0


class Fixed(random.Random):
    """Random numbers that are none."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


def drive(node: FakeNode, kind: float, meanwhile: Callable[[Traffic], None] | None = None) -> Tally:
    """A moment of calls to one node, tried once each; `meanwhile` after the first content."""

    async def run() -> Tally:
        async with aiclient.AsyncClient([node.url], retry=None, breaker=None) as client:
            traffic = Traffic(client, Fixed(kind))
            driving = asyncio.create_task(traffic.drive(0.1))
            if meanwhile:
                while not traffic.midway(node.url):
                    await asyncio.sleep(0.001)
                meanwhile(traffic)
            await driving
            return traffic.tally

    return asyncio.run(run())


@pytest.mark.parametrize("kind", [STREAMS_ONLY, PLAIN_ONLY])
def test_good_answers_are_counted_by_node(kind: float) -> None:
    """Calls, and which node served how many of which kind."""
    with FakeNode(prefill=0, token_time=0) as node:
        tally = drive(node, kind)
    served = tally.nodes[node.url]
    assert tally.calls == served.served == node.served >= 1
    assert (served.streams, served.plain)[int(kind)] == tally.calls
    assert (tally.failed, tally.running, tally.failures) == (0, 0, [])
    assert (served.first_byte is not None) == (kind == STREAMS_ONLY)


@pytest.mark.parametrize("fault", ["refuse", "reset", "500", "404", "garbage", "error_event"])
@pytest.mark.parametrize("kind", [STREAMS_ONLY, PLAIN_ONLY])
def test_every_failure_counts(kind: float, fault: str) -> None:
    """Nothing that goes wrong is called a success, whatever its form."""
    with FakeNode(prefill=0, token_time=0) as node:
        node.fault(fault)
        tally = drive(node, kind)
    assert tally.failed == tally.calls >= 1
    assert tally.interrupted == 0
    assert tally.failures


@pytest.mark.parametrize("fault", ["cut_mid_stream", "cut_mid_body"])
def test_a_broken_stream_is_a_failure_where_nothing_was_killed(fault: str) -> None:
    """Only a kill excuses a stream that breaks off."""
    with FakeNode(prefill=0, token_time=0) as node:
        node.fault(fault)
        tally = drive(node, STREAMS_ONLY)
    assert (tally.failed, tally.interrupted) == (tally.calls, 0)


def test_streams_on_a_killed_node_are_interrupted_not_failed() -> None:
    """A stream that ran when its node was killed counts as interrupted; a later one fails."""
    with FakeNode(prefill=0, token_time=0) as node:
        node.fault("hang_mid_stream")

        def kill(traffic: Traffic) -> None:
            traffic.killed(node.url)
            node.stop()

        tally = drive(node, STREAMS_ONLY, kill)
    assert tally.interrupted >= 1
    assert tally.interrupted == tally.nodes[node.url].interrupted
    assert tally.failed == tally.calls - tally.interrupted


def test_midway_are_streams_with_a_token_and_more_to_come() -> None:
    """What is looked at before the kill, by node."""
    seen = []
    with FakeNode(prefill=0, token_time=0) as node:
        node.fault("hang_mid_stream", tokens=2)

        def look(traffic: Traffic) -> None:
            seen.append(traffic.midway(node.url))
            seen.append(traffic.running(node.url))
            seen.append(traffic.running("another"))
            node.stop()

        drive(node, STREAMS_ONLY, look)
    assert 1 <= seen[0] <= seen[1]
    assert seen[2] == 0


def test_the_first_line_has_one_form() -> None:
    """Scripts read it."""
    tally = Tally(calls=12, failed=1, retried=3, interrupted=2)
    assert first_line(tally) == "calls: 12  failed: 1  retried: 3  interrupted: 2"


@pytest.mark.parametrize(
    ("tally", "killed", "missing", "broken", "told"),
    [
        (Tally(calls=9, interrupted=2), 2, [], "", []),
        (Tally(calls=9, interrupted=2, failed=1), 2, [], "", ["1 of 9 calls failed"]),
        (Tally(calls=9), 2, [], "", ["the killed node had ended its streams a moment before"]),
        (Tally(calls=9), 0, ["a kill"], "", ["there was no time for: a kill"]),
        (Tally(calls=9), 0, [], "OSError: x", ["the demo itself broke: OSError: x"]),
    ],
)
def test_the_demo_admits_what_it_did_not_show(
    tally: Tally, killed: int, missing: list[str], broken: str, told: list[str]
) -> None:
    """Exit status 1 always comes with its reason."""
    assert shortcomings(tally, killed, missing, broken) == told
