"""Consistent hashing: the same key to the same node, in every process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import Any

import pytest

from aiclient.core.hashing import ConsistentHash
from aiclient.errors import ConfigurationError
from aiclient.facts import RequestFacts

from .helpers import Bench, endpoint

KEYS = [f"user-{number}" for number in range(1000)]


def homes(bench: Bench, keys: list[str] = KEYS) -> dict[str, str]:
    """Where each key goes while nothing else is in flight."""
    found = {}
    for key in keys:
        attempt = bench.attempt(bench.call(key=key))
        found[key] = attempt.node.label
        attempt.release("cancelled")
    return found


def test_a_key_stays_where_it_is() -> None:
    """Whatever the random numbers; and every node has its part of the keys."""
    first = homes(Bench(5, picker=ConsistentHash(), seed=1))
    assert first == homes(Bench(5, picker=ConsistentHash(), seed=2))
    assert all(120 < count < 290 for count in Counter(first.values()).values())


def test_another_process_agrees() -> None:
    """With another PYTHONHASHSEED, and the nodes in another order."""
    script = """
import json, sys
from tests.core.helpers import Bench, endpoint
from tests.core.test_hashing import homes
from aiclient.core.hashing import ConsistentHash
bench = Bench([endpoint(name) for name in "ecabd"], picker=ConsistentHash())
print(json.dumps(homes(bench, [f"user-{number}" for number in range(200)])))
"""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    # The tests are found from the root of the checkout, the package where it is installed.
    path = os.pathsep.join([*sys.path, root])
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == homes(Bench(5, picker=ConsistentHash()), KEYS[:200])


def test_few_keys_move_when_a_node_comes_or_goes() -> None:
    """Only its own: about one in six of six nodes, and none between the others."""
    bench = Bench(5, picker=ConsistentHash())
    before = homes(bench)
    bench.core.update([endpoint(name) for name in "abcdef"])
    bench.core.restore("f")
    after = homes(bench)
    moved = [key for key in KEYS if before[key] != after[key]]
    assert 80 < len(moved) < 270
    assert {after[key] for key in moved} == {"f"}
    bench.core.update([endpoint(name) for name in "abcde"])
    assert homes(bench) == before


def test_a_node_that_is_out_gives_its_keys_to_all_others() -> None:
    """And has them back when it returns."""
    bench = Bench(5, picker=ConsistentHash())
    before = homes(bench)
    bench.core.drain("a")
    after = homes(bench)
    moved = [key for key in KEYS if before[key] != after[key]]
    assert {before[key] for key in moved} == {"a"}
    assert {after[key] for key in moved} == set("bcde")
    bench.core.restore("a")
    assert homes(bench) == before


def test_weights_are_parts_of_the_keys() -> None:
    """3:1."""
    bench = Bench([endpoint("a", weight=3), endpoint("b")], picker=ConsistentHash())
    assert Counter(homes(bench).values())["a"] == pytest.approx(750, abs=80)


def test_load_is_bounded() -> None:
    """One hot key: its node takes 1.25 times the fair part, the rest spreads over the others."""
    bench = Bench(4, picker=ConsistentHash())
    counts = Counter(bench.picks_of("hot", 100))
    assert max(counts.values()) <= 32  # ceil(1.25 * 100 / 4)
    assert len(counts) == 4


def test_the_bound_is_a_setting() -> None:
    """Twice the fair part."""
    bench = Bench(4, picker=ConsistentHash(bound=2.0))
    assert max(Counter(bench.picks_of("hot", 100)).values()) == 50


def test_a_key_from_a_header() -> None:
    """By name, in any case; the call's own key goes first."""
    bench = Bench(5, picker=ConsistentHash("X-User"))
    expected = homes(Bench(5, picker=ConsistentHash()), ["me", "you"])
    headers = [(b"accept", b"*/*"), (b"x-uSER", b"me")]
    by_header = bench.attempt(bench.call(headers=headers))
    assert by_header.node.label == expected["me"]
    by_header.release("cancelled")
    assert bench.attempt(bench.call(headers=headers, key="you")).node.label == expected["you"]


def test_a_key_from_a_function() -> None:
    """Of the request's facts; what it returns is taken as text."""

    def key(facts: RequestFacts) -> str | None:
        return facts.path.rpartition("/")[2] or None

    bench = Bench(5, picker=ConsistentHash(key))
    expected = homes(Bench(5, picker=ConsistentHash()), ["me"])
    assert bench.attempt(bench.call("GET", "/v1/users/me")).node.label == expected["me"]


def test_without_a_key_it_is_random() -> None:
    """No key, an empty one, a missing header: never all to one node."""
    kinds: list[dict[str, Any]] = [{"key": ""}, {}, {"headers": [(b"x-user", b"")]}]
    for options in kinds:
        bench = Bench(5, picker=ConsistentHash("x-user"))
        seen = set()
        for _ in range(60):
            attempt = bench.attempt(bench.call(**options))
            seen.add(attempt.node.label)
            attempt.release("cancelled")
        assert len(seen) == 5


def test_a_key_function_that_raises_falls_back_to_random() -> None:
    """It is user code."""

    def key(facts: RequestFacts) -> str | None:
        raise KeyError(facts.path)

    assert len(set(Bench(3, picker=ConsistentHash(key)).picks(20))) == 3


def test_keys_may_be_any_text() -> None:
    """Surrogates as well: they come from headers."""
    bench = Bench(3, picker=ConsistentHash())
    assert homes(bench, ["\udcff", "ключ", "\0"]) == homes(bench, ["\udcff", "ключ", "\0"])


@pytest.mark.parametrize(
    "options",
    [
        {"key": 5},
        {"key": ""},
        *({"bound": bound} for bound in (1, 0.5, float("nan"), float("inf"), "2", True, None)),
    ],
)
def test_bad_settings(options: dict[str, object]) -> None:
    """Named, shown, and what is allowed."""
    name = next(iter(options))
    with pytest.raises(ConfigurationError, match=rf"ConsistentHash\.{name}: .* is not allowed; "):
        ConsistentHash(**options)  # type: ignore[arg-type]
