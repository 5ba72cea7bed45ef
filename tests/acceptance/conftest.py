from collections.abc import Iterator

import pytest

from .nodes import Fleet


@pytest.fixture(scope="package")
def fleet() -> Iterator[Fleet]:
    """Eight node processes, mended for each test that uses them."""
    with Fleet(8) as fleet:
        yield fleet
