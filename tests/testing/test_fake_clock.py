import threading

import pytest

from aiclient.testing import FakeClock


def test_it_starts_where_told_and_moves_only_when_told() -> None:
    """A clock stands still until it is advanced."""
    clock = FakeClock(start=5.0)
    assert clock() == clock() == 5.0
    assert clock.advance(1.5) == 6.5
    assert clock.advance(0) == clock() == 6.5


def test_it_starts_at_1000_by_default() -> None:
    """The default start is away from zero."""
    assert FakeClock()() == 1000.0


@pytest.mark.parametrize("step", [-0.001, float("nan"), float("inf"), float("-inf")])
def test_it_never_goes_back(step: float) -> None:
    """A step that is negative or no number is refused and changes nothing."""
    clock = FakeClock()
    with pytest.raises(ValueError, match="seconds must be"):
        clock.advance(step)
    assert clock() == 1000.0


def test_it_counts_every_step_of_many_threads() -> None:
    """Steps from several threads all count."""
    clock = FakeClock(0)

    def advance() -> None:
        for _ in range(1000):
            clock.advance(1)

    threads = [threading.Thread(target=advance) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock() == 8000


def test_its_repr_shows_the_time() -> None:
    """A failing test's output says what time it was."""
    assert repr(FakeClock(2)) == "FakeClock(2.0)"
