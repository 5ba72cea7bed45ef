"""A node dies or misbehaves under load, and no call that could be saved is lost."""

import pytest

from .matrix import SAMPLE, Cell, chosen
from .nodes import Fleet
from .run import run

# The sample is not slow: it runs on every Python.
CELLS = [
    pytest.param(cell, marks=() if cell in SAMPLE else pytest.mark.slow, id=str(cell))
    for cell in chosen()
]


@pytest.mark.parametrize("cell", CELLS)
def test_nobody_notices(cell: Cell, fleet: Fleet) -> None:
    """No call fails, few are made twice, nothing is left in flight or open."""
    assert run(cell, fleet).problems() == []
