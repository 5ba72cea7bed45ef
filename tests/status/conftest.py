from collections.abc import Iterator

import pytest

import aiclient


@pytest.fixture
def balancer() -> Iterator[aiclient.Balancer]:
    """Two nodes that nobody calls."""
    with aiclient.Balancer(["http://10.0.0.1:8000", "http://10.0.0.2:8000"]) as balancer:
        yield balancer
