"""Who gets the next call."""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from pathlib import Path
from typing import Any

import pytest

from aiclient.core import pickers
from aiclient.core.attempt import Attempt
from aiclient.core.balancer import BalancerCore
from aiclient.core.events import EventKind
from aiclient.core.hashing import ConsistentHash
from aiclient.core.node import Node, NodeSet
from aiclient.core.pickers import (
    LeastLoad,
    LeastRequest,
    PickContext,
    Picker,
    PowerOfTwoChoices,
    Random,
    RoundRobin,
)
from aiclient.errors import ConfigurationError

from .helpers import Bench, endpoint

FREQUENCIES = json.loads((Path(__file__).parent / "frequencies.json").read_text("utf-8"))
PICKS = 7_000


def picker_named(name: str) -> Picker:
    """A built-in one."""
    kind: type[Picker] = getattr(pickers, name, ConsistentHash)
    return kind()


@pytest.mark.parametrize(
    ("row", "name"),
    [
        pytest.param(row, name, id=f"{row['what']}: {name}")
        for row in FREQUENCIES
        for name in row["pickers"]
    ],
)
def test_frequencies(row: dict[str, Any], name: str) -> None:
    """The shares in the data file hold, within its tolerances."""
    nodes = [endpoint(str(n), weight=weight) for n, weight in enumerate(row["weights"])]
    bench = Bench(nodes, picker=picker_named(name), seed=7)
    running: deque[Attempt] = deque()
    counts: Counter[str] = Counter()
    for _ in range(PICKS):
        attempt = bench.attempt()
        counts[attempt.node.label] += 1
        running.append(attempt)
        if len(running) > row["in_flight"]:
            running.popleft().release("cancelled")
    for number, share in enumerate(row["shares"]):
        assert counts[str(number)] / PICKS == pytest.approx(share, abs=row["tolerance"] + 1e-9)


def order(bench: Bench, count: int) -> str:
    """The next picks as one word."""
    return "".join(bench.picks(count))


def test_round_robin_is_smooth() -> None:
    """5:1:1 is a a a b a c a, and not a a a a a b c."""
    nodes = [endpoint("a", weight=5), endpoint("b"), endpoint("c")]
    turns = order(Bench(nodes, picker=RoundRobin()), 70)
    assert "aaaaa" not in turns
    assert Counter(turns) == {"a": 50, "b": 10, "c": 10}


def test_round_robin_is_in_turn() -> None:
    """Alike nodes take strict turns."""
    assert order(Bench(3, picker=RoundRobin()), 7) == "abcabca"


def test_round_robin_gives_no_burst_to_who_returns() -> None:
    """Turns lost while a node was out are lost."""
    bench = Bench(3, picker=RoundRobin())
    bench.core.eject("a", 10)
    assert Counter(bench.picks(30)) == {"b": 15, "c": 15}
    bench.clock.advance(11)
    assert Counter(bench.picks(30)) == {"a": 10, "b": 10, "c": 10}


def test_round_robin_takes_in_who_joins() -> None:
    """And forgets who leaves; also when the newcomer is the only one left."""
    bench = Bench(2, picker=RoundRobin())
    bench.picks(100)
    bench.core.update([endpoint("b"), endpoint("c")])
    assert Counter(bench.picks(20)) == {"b": 10, "c": 10}
    bench.core.update([endpoint("d")])
    assert bench.picks(3) == ["d"] * 3


def test_round_robin_with_nearly_all_of_many_out() -> None:
    """The pick stays quick, and finds the one that is left."""
    bench = Bench([endpoint(f"n{number}") for number in range(1000)], picker=RoundRobin())
    for number in range(1, 1000):
        bench.core.drain(f"n{number}")
    assert set(bench.picks(20)) == {"n0"}


def test_least_request_looks_at_calls_only() -> None:
    """Speed does not enter, weight does."""
    bench = Bench([endpoint("a", weight=2.0), endpoint("b")], picker=LeastRequest())
    for _ in range(9):
        bench.succeed(9.0, bench.call(pin="a"))
        bench.succeed(1.0, bench.call(pin="b"))
    assert Counter(bench.picks(9)) == {"a": 6, "b": 3}


def test_least_load_looks_at_first_byte_times_too() -> None:
    """Of two nodes, one nine times as slow gets a call in eight or so."""
    bench = Bench(2, picker=LeastLoad())
    for _ in range(200):
        bench.succeed(9.0, bench.call(pin="a"))
        bench.succeed(1.0, bench.call(pin="b"))
    assert 4 < bench.see("a").slowness / bench.see("b").slowness <= 9
    counts = Counter(bench.picks(40))
    assert 3 <= counts["a"] <= 7


def test_two_choices_are_distinct() -> None:
    """Of two nodes the less loaded one always wins: none is compared with itself."""
    bench = Bench(2, picker=PowerOfTwoChoices())
    held = bench.attempt(bench.call(pin="a"))
    for _ in range(50):
        bench.attempt().release("cancelled")
    assert bench.see("a").picked == 1
    held.finish()


@pytest.mark.parametrize("kind", [LeastLoad, LeastRequest])
def test_ties_are_broken_at_random(kind: type[Picker]) -> None:
    """Clients that start together do not all go to the first node."""
    firsts = {Bench(8, seed=seed, picker=kind()).attempt().node.label for seed in range(40)}
    assert len(firsts) > 5


@pytest.mark.parametrize("kind", [LeastLoad, LeastRequest])
def test_of_very_many_nodes_a_sample_is_looked_at(kind: type[Picker]) -> None:
    """Loaded nodes are avoided all the same."""
    bench = Bench([endpoint(f"n{number}") for number in range(300)], picker=kind())
    held = bench.picks(200)
    assert max(Counter(held).values()) == 1


def test_random_with_very_uneven_weights() -> None:
    """Rejection gives up after a while; the shares stay right."""
    nodes = [endpoint("big", weight=1e6), *[endpoint(f"n{n}", weight=1e-3) for n in range(50)]]
    bench = Bench(nodes, picker=Random())
    assert bench.picks(50).count("big") == 50


@pytest.mark.parametrize("picker", [LeastLoad, object(), "least", lambda nodes, context: nodes[0]])
def test_what_is_no_picker_is_refused(picker: object) -> None:
    """A class instead of an object above all."""
    with pytest.raises(ConfigurationError, match=r"picker: .*pick\(candidates, context\)"):
        Bench(picker=picker)


class Broken:
    def __init__(self, node: object) -> None:
        self.node = node

    def pick(self, candidates: NodeSet, context: PickContext) -> Node:
        if isinstance(self.node, Exception):
            raise self.node
        return self.node  # type: ignore[return-value]


@pytest.mark.parametrize("result", [ValueError("boom"), None, "a", 0])
def test_a_broken_picker_falls_back_to_random(
    result: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether it raises or returns something else than a candidate; it is told and logged."""
    bench = Bench(3, picker=Broken(result))
    assert len(set(bench.picks(30))) == 3
    assert len(bench.told(EventKind.PICKER_FAILED)) == 30
    assert caplog.records[0].levelname == "ERROR"


def test_a_picker_may_not_choose_who_is_out() -> None:
    """The only node it knows is ejected: another one is taken."""
    bench = Bench(2)
    node = bench.attempt().node
    bench.core.eject("a", 60)
    bench.core._chooser.picker = Broken(node)
    assert bench.attempt().node.label == "b"


def test_a_users_picker_sees_what_it_may_use() -> None:
    """The call's key and facts, all members, its own random numbers."""
    seen: list[tuple[object, ...]] = []

    class Mine:
        def pick(self, candidates: NodeSet, context: PickContext) -> Node:
            facts = context.facts
            assert facts is not None
            seen.append((context.key, facts.path, len(context.members), context.in_flight))
            assert isinstance(context.rng, random.Random)
            assert list(candidates) == [candidates[n] for n in range(len(candidates))]
            return candidates[-1]

    bench = Bench(3, picker=Mine())
    bench.core.eject("a", 60)
    held = [bench.attempt(bench.call(key="k")), bench.attempt()]
    assert seen == [("k", "/v1/chat/completions", 3, 0), (None, "/v1/chat/completions", 3, 1)]
    assert all(attempt.node.label != "a" for attempt in held)


def test_the_same_seed_makes_the_same_choices() -> None:
    """A run can be repeated."""

    def run(seed: int) -> list[str]:
        nodes = [f"http://n{number}:1" for number in range(20)]
        core = BalancerCore(nodes, picker=Random(), rng=random.Random(seed))
        bench = Bench(1)
        bench.core = core
        return bench.picks(50)

    assert run(1) == run(1) != run(2)
