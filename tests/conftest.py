"""What no test may leave behind for the ones after it, in whatever order they run."""

import logging
from collections.abc import Iterator

import pytest

LOGGERS = ("aiclient", "aiclient.access", "httpcore", "httpcore2", "httpx", "httpx2")


def levels() -> dict[str, int]:
    """Of our own loggers, and of those we sit on."""
    return {name: logging.getLogger(name).level for name in LOGGERS}


@pytest.fixture(autouse=True)
def _levels_stay() -> Iterator[None]:
    """A logger left silent would hide what a later test looks for."""
    before = levels()
    yield
    assert levels() == before
