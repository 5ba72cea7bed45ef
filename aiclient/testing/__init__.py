"""A fake AI node and a fake clock, for tests of code that calls AI nodes.

    import httpx
    import pytest
    from aiclient.testing import FakeNode

    @pytest.fixture
    def node():
        with FakeNode(slots=2, prefill=0, token_time=0) as node:
            yield node

    def test_it_survives_a_full_node(node):
        node.fault("429", retry_after=1.0, times=1)
        answer = my_service(node.url + "/v1")
        assert node.served == 1
        assert node.requests[-1].json()["model"] == "my-model"

`FakeNode` runs in this process, `NodeProcess` in one of its own (which can be killed);
both take the faults listed in `aiclient.testing.faults` and the settings described by `Settings`.
`python -m aiclient.testing.node --help` starts one by hand.
"""

from __future__ import annotations

from .clock import FakeClock
from .fakenode import FakeNode
from .http1 import Request
from .process import NodeProcess
from .server import NodeStats
from .settings import Settings

__all__ = ["FakeClock", "FakeNode", "NodeProcess", "NodeStats", "Request", "Settings"]
