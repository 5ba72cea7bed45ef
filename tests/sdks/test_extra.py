"""The second family is an extra: aiclient without httpx2, and beside its alias for httpx."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

with_httpx2 = pytest.mark.skipif(
    importlib.util.find_spec("httpx2") is None, reason="httpx2 is not installed"
)
CALL_BOTH = """
from aiclient.testing import FakeNode
with FakeNode(prefill=0, token_time=0) as node:
    for family in (aiclient, aiclient.httpx2):
        with family.Client([node.url]) as client:
            assert isinstance(client, httpx2.Client)
            assert client.post("/v1/chat/completions", json={}).status_code == 200
        node.fault("refuse")
        with family.Client([node.url]) as client:
            try:
                client.get("/")
            except httpx2.ConnectError:
                node.heal()
    assert len(node.requests) == 2
"""


def run(program: str) -> None:
    """Run a program in a process of its own; fail with what it wrote if it fails."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_without_httpx2_the_rest_works() -> None:
    """`import aiclient` and `Client` need no httpx2; `aiclient.httpx2` names the command."""
    run("""
import sys
sys.modules["httpx2"] = sys.modules["httpcore2"] = None  # as if they were not installed
import aiclient
from aiclient.testing import FakeNode
with FakeNode(prefill=0, token_time=0) as node, aiclient.Client([node.url]) as client:
    assert client.post("/v1/chat/completions", json={}).status_code == 200
try:
    import aiclient.httpx2
except ImportError as exc:
    assert "pip install 'aiclient[httpx2]'" in str(exc), exc
else:
    raise SystemExit("aiclient.httpx2 was imported")
""")


@with_httpx2
def test_after_alias_httpx_both_work() -> None:
    """Where the application made httpx mean httpx2, both modules hold clients of httpx2."""
    run("import httpx2\nhttpx2.alias_httpx()\nimport aiclient, aiclient.httpx2" + CALL_BOTH)


@with_httpx2
def test_alias_httpx_may_come_after_the_import() -> None:
    """`import aiclient` alone does not load httpx, so the alias still can be made."""
    run("import aiclient, httpx2\nhttpx2.alias_httpx()\nimport aiclient.httpx2" + CALL_BOTH)
