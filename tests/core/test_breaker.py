"""The circuit breaker by itself."""

from __future__ import annotations

import random

import pytest

from aiclient.core.breaker import Breaker, BreakerState, Trip
from aiclient.core.budget import RetryBudget
from aiclient.settings import BreakerPolicy


def test_the_rate_needs_enough_samples() -> None:
    """Five: four failures say nothing."""
    breaker = Breaker(BreakerPolicy(consecutive=100))
    trips = [breaker.fault(10.0, connect=False) for _ in range(5)]
    assert trips == [None] * 4 + [Trip.SUCCESS_RATE]


def test_the_rate_forgets_what_left_the_window() -> None:
    """Faults of more than a minute ago do not count."""
    breaker = Breaker(BreakerPolicy(consecutive=100))
    for _ in range(4):
        breaker.fault(10.0, connect=False)
    assert breaker.fault(71.0, connect=False) is None
    assert breaker.success_rate(71.0) is None


def test_exactly_half_is_good_enough() -> None:
    """Below 0.5 it opens, at 0.5 not."""
    breaker = Breaker(BreakerPolicy(consecutive=100))
    for _ in range(3):
        breaker.success(10.0)
    assert [breaker.fault(10.0, connect=False) for _ in range(3)] == [None] * 3
    assert breaker.fault(10.0, connect=False) is Trip.SUCCESS_RATE


def test_two_rows_are_counted_apart() -> None:
    """A reset between two refused connections makes two rows of one."""
    breaker = Breaker(BreakerPolicy())
    assert breaker.fault(1.0, connect=True) is None
    assert breaker.fault(1.0, connect=False) is None
    assert breaker.fault(1.0, connect=True) is None
    assert breaker.fault(1.0, connect=True) is Trip.CONNECT


def test_a_success_taken_back_is_a_fault() -> None:
    """In whatever bucket it was."""
    breaker = Breaker(BreakerPolicy(min_samples=1))
    breaker.success(10.0)
    breaker.fault(40.0, connect=False, taken_back=True)
    assert breaker.success_rate(40.0) == 0.0
    assert breaker.success_rate(71.0) == 0.0
    assert breaker.success_rate(110.0) is None


def test_taking_back_what_is_forgotten_changes_nothing() -> None:
    """The sums never become negative."""
    breaker = Breaker(BreakerPolicy(min_samples=1))
    breaker.success(10.0)
    breaker.fault(100.0, connect=False, taken_back=True)
    breaker.forgive(200.0)
    assert breaker.success_rate(200.0) is None
    breaker.success(200.0)
    assert breaker.success_rate(200.0) == 1.0


def test_forgiving_takes_one_back() -> None:
    """From the rate and from the row."""
    breaker = Breaker(BreakerPolicy(min_samples=1))
    for _ in range(4):
        breaker.fault(10.0, connect=False)
    breaker.forgive(10.0)
    breaker.success_rate(10.0)
    assert breaker.fault(10.0, connect=False) is Trip.SUCCESS_RATE
    assert breaker.fault(10.0, connect=False) is Trip.CONSECUTIVE


def test_each_move_is_a_new_generation() -> None:
    """Open, half-open, closed."""
    breaker = Breaker(BreakerPolicy())
    breaker.open(Trip.CONSECUTIVE, 5.0, random.Random(1))
    assert (breaker.state, breaker.generation) == (BreakerState.OPEN, 1)
    assert 10.0 <= breaker.open_until <= 10.5
    breaker.half_open()
    assert (breaker.state, breaker.generation) == (BreakerState.HALF_OPEN, 2)
    breaker.close(11.0)
    assert (breaker.state, breaker.generation, breaker.trip) == (BreakerState.CLOSED, 3, None)


def test_the_budget_is_a_debt() -> None:
    """A retry borrows one, a success pays back a fifth."""
    budget = RetryBudget(0.2, 2, 0.0)
    assert [budget.withdraw(0.0) for _ in range(3)] == [True, True, False]
    for _ in range(4):
        budget.deposit()
    assert not budget.withdraw(0.0)
    budget.deposit()
    assert budget.withdraw(0.0)


def test_time_pays_back_too() -> None:
    """The reserve within ten seconds."""
    budget = RetryBudget(0.2, 20, 0.0)
    for _ in range(20):
        assert budget.withdraw(0.0)
    assert not budget.withdraw(0.4)
    assert budget.withdraw(0.9)
    assert budget.left(10.9) == pytest.approx(20.0)


def test_capacity_follows_the_peak_of_the_last_minute() -> None:
    """So that the death of one node of two is survived; then it shrinks again."""
    budget = RetryBudget(0.2, 20, 0.0)
    budget.observe(500, 1.0)
    assert budget.capacity == 500
    budget.observe(3, 31.0)
    assert budget.capacity == 500
    budget.observe(3, 61.5)
    assert budget.capacity == 20
    budget.observe(100, 62.0)
    budget.observe(3, 500.0)
    assert budget.capacity == 20


def test_what_was_not_used_is_given_back() -> None:
    """And never more than was borrowed."""
    budget = RetryBudget(0.2, 1, 0.0)
    budget.give_back()
    assert budget.withdraw(0.0)
    budget.give_back()
    assert budget.withdraw(0.0)
    assert not budget.withdraw(0.0)


def test_no_reserve_no_retry() -> None:
    """Until something is in flight."""
    budget = RetryBudget(0.2, 0, 0.0)
    assert not budget.withdraw(0.0)
    budget.observe(2, 0.0)
    assert budget.withdraw(0.0)
