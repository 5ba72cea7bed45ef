"""What a request's headers tell the balancer, the first time a name comes and from then on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import aiclient
from aiclient.core.call import Call
from aiclient.transports import opening
from aiclient.transports.opening import open_call


@pytest.fixture
def balancer() -> Iterator[aiclient.Balancer]:
    """One that nobody calls."""
    balancer = aiclient.Balancer(["http://10.0.0.1:1"])
    yield balancer
    balancer.close()


def opened(balancer: aiclient.Balancer, *headers: tuple[bytes, bytes]) -> Call:
    """A call with these headers."""
    return open_call(balancer, "POST", b"/v1/x", list(headers), b"", None)


def test_each_call_is_heard(balancer: aiclient.Balancer) -> None:
    """A name that says something is not taken for one that does not, nor the other way round."""
    for number in (b"0", b"1", b"0", b"2"):
        call = opened(
            balancer,
            (b"x-plain", b"1"),
            (b"X-Stainless-Retry-Count", number),
            (b"X-AIClient-Key", b"user-" + number),
        )
        assert call.resent is (number != b"0")
        assert call.key == "user-" + number.decode()
    assert opened(balancer, (b"x-plain", b"1")).key is None


def test_the_memory_of_names_is_bounded(balancer: aiclient.Balancer) -> None:
    """They come from outside; those beyond it are looked at each time."""
    for number in range(3000):
        opened(balancer, (b"x-%d" % number, b"1"))
    assert len(opening._silent) <= 1024
    assert opened(balancer, (b"x-new", b"1"), (b"x-aiclient-key", b"k")).key == "k"
