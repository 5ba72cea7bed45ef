"""A client that nobody closed, and that outlives the modules it is made of, says nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, ctypes, sys, types

def keep(module):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(module))

# Modules are emptied in the reverse of the order they were imported in: this one after aiclient's.
early = sys.modules["early"] = types.ModuleType("early")
keep(early)

import {module} as family
from aiclient.testing import FakeNode

async def used(url):
    client = family.AsyncClient([url])
    await client.get("/v1/models")
    return client

with FakeNode() as node:
    early.asynchronous = asyncio.run(used(node.url))
    early.synchronous = family.Client([node.url])
    early.synchronous.get("/v1/models")
for name, module in list(sys.modules.items()):
    if name.startswith("aiclient"):
        keep(module)
"""


@pytest.mark.parametrize("module", ["aiclient", "aiclient.httpx2"])
def test_a_client_that_outlives_its_modules(module: str) -> None:
    """Its finalisers find none of their functions."""
    command = [sys.executable, "-c", PROGRAM.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
