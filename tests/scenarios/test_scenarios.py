"""The scenario files: 20,000 calls each in virtual time, over ten seeds."""

from __future__ import annotations

import logging
from statistics import mean

import pytest

from .files import Scenario, measured, scenarios


@pytest.mark.slow
@pytest.mark.parametrize("scenario", list(scenarios()), ids=lambda scenario: scenario.name)
def test_scenario(scenario: Scenario, caplog: pytest.LogCaptureFixture) -> None:
    """What the file expects, holds; and no call is left in flight."""
    caplog.set_level(logging.CRITICAL, logger="aiclient")
    results: list[list[float]] = []
    for seed in range(scenario.seeds):
        run = scenario.run(seed)
        assert run.calls >= 20_000
        assert run.in_flight == 0
        results.append([measured(run, check) for check in scenario.expect])
    for check, values in zip(scenario.expect, zip(*results, strict=True), strict=True):
        shown = f"{scenario.what}: {check}: {[round(value, 4) for value in values]}"
        judged = [mean(values)] if check.get("of") == "mean" else values
        assert max(judged) <= check.get("at_most", float("inf")), shown
        assert min(judged) >= check.get("at_least", float("-inf")), shown


def test_a_run_can_be_repeated() -> None:
    """The same seed gives the same run; another one another."""
    scenario = next(scenarios())
    first, second = scenario.run(3), scenario.run(3)
    assert first.picks == second.picks
    assert first.waits != scenario.run(4).waits
