"""A node dies or misbehaves under load, and no call that could be saved is lost."""

import pytest

from .matrix import Cell, chosen
from .nodes import Fleet
from .run import run


@pytest.mark.slow
@pytest.mark.parametrize("cell", chosen(), ids=str)
def test_nobody_notices(cell: Cell, fleet: Fleet) -> None:
    """No call fails, few are made twice, nothing is left in flight or open."""
    assert run(cell, fleet).problems() == []
